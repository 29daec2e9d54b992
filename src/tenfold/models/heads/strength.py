"""How strongly to regularize, and how sharp to be: chosen on images that a head was not fitted on.

The images of every fold are answered by heads that were fitted on the other folds. Which images make a fold is given,
so that it can keep together what belongs together. A sharpness is fitted on what was answered to all folds but the
one that it is used for, so that no image's own answer is among those; the heads differ, but are of one procedure.

Shapes: N images, V views, D features, K classes, R repeats of the folds, S strengths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.metrics.calibration import probabilities
from tenfold.metrics.probability import hits, log_losses
from tenfold.models.heads.fits import few_threads, find_head, fit_path
from tenfold.models.heads.head import unit_rows
from tenfold.models.heads.sharpness import fit_sharpness

_FOLDS = 5


@dataclass(frozen=True)
class Answers:
    """What heads of one kind and strength answered to images that they were not fitted on."""

    strength: float
    sharpness: float
    """Fitted to all of these answers: that of a head that is fitted to all images."""
    probability: NDArray[np.float64]
    """[N, K], the mean over the repeats."""
    loss: NDArray[np.float64]
    """[N], the log loss, the mean over the repeats."""
    hits: NDArray[np.float64]
    """[N], the share of the repeats in which the answer was right."""


def held_out_answers(
    name: str,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    classes: int,
    *,
    spread: bool = False,
    strengths: Sequence[float] = (),
    before_fit: Callable[[], None] = lambda: None,
) -> list[Answers]:
    """The answers of a kind of head with each of its strengths, or of those given, from strong to weak: S of them.

    features  float32 [N, V, D]
    labels    int64 [N], 0 to `classes` - 1
    folds     int64 [R, N], the fold of each image, at least two a repeat
    spread    as for `fit_head`

    `before_fit` is called before each fit, and may raise to stop. Raises UsageError for folds that are not as said.
    """
    kind = find_head(name)
    strengths = strengths or kind.strengths
    if folds.ndim != 2 or folds.shape[1] != len(labels) or any(len(np.unique(row)) < 2 for row in folds):
        raise UsageError(f"folds must be [R, N], two or more folds a repeat, not {folds.shape} for {len(labels)}.")
    scores = np.zeros((len(strengths), *folds.shape, classes))  # [S, R, N, K]
    pieces = [(repeat, folds[repeat] == fold) for repeat in range(len(folds)) for fold in np.unique(folds[repeat])]
    with few_threads(features):
        for repeat, out in pieces:
            before_fit()
            seen = torch.from_numpy(features[out])
            path = fit_path(name, features[~out], labels[~out], classes, strengths, spread=spread)
            for place, head in enumerate(path):
                scores[place, repeat, out] = head.scores(unit_rows(seen, head.center).mean(1)).numpy()
                before_fit()
    return [
        _answers(strength, own, labels, folds, kind.is_calibrated)
        for strength, own in zip(strengths, scores, strict=True)
    ]


def choose_strength(
    name: str,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    classes: int,
    *,
    spread: bool = False,
    strengths: Sequence[float] = (),
    images: NDArray[np.bool_] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> Answers:
    """The answers with the best strength by five folds, into which the images of each class are dealt in turn.

    Where no ladder has chosen. Of one of `strengths` alone it is the sharpness that is fitted. Arguments and errors as
    in `held_out_answers`.

    images    bool [N], which are images and no augmented copies of one (`tenfold augment --save`): these alone are
              dealt, fitted and answered, as a copy tells what its image is; None, or none: all are
    groups    int64 [N], equal for images that belong together, as copies of one do: they count as one and lie in one
              fold; None: each stands alone

    Where no class has two images, or groups, nothing can be held out. Then the strength is the first of the kind's: the
    strongest penalty, which of all heads leans least on the one image that a class has, or one neighbor, as more would
    be of other classes. The sharpness is 1, and the answers are of no image: N is 0.
    """
    whole = np.arange(len(labels)) if groups is None else groups
    if images is not None and images.any():
        features, labels, whole = features[images], labels[images], whole[images]
    folds = _dealt(labels, whole)
    if len(labels) and not folds.any():
        strength, none = (strengths or find_head(name).strengths)[0], np.zeros(0)
        return Answers(strength, 1.0, np.zeros((0, classes)), none, none)
    found = held_out_answers(name, features, labels, folds[None], classes, spread=spread, strengths=strengths)
    return best_answers(found)


def can_hold_out(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> bool:
    """Whether a class has two images that do not belong together, so that a head that knows one can answer the other.

    labels  int64 [N]
    groups  int64 [N], equal for images that belong together
    """
    return bool(_dealt(labels, groups).any())


def _dealt(labels: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """The fold of each image, int64 [N]: each group of a class goes where the fewest groups of that class are so far.

    The class with the most groups comes first, so that all are in fold 0 only where no class has two groups. One of
    several classes is dealt with the first of them.
    """
    fold_of: dict[int, int] = {}
    inside = [list(dict.fromkeys(groups[labels == label].tolist())) for label in np.unique(labels)]
    for own in sorted(inside, key=len, reverse=True):
        taken = Counter(fold_of[group] for group in own if group in fold_of)
        for group in (group for group in own if group not in fold_of):
            fold_of[group] = min(range(_FOLDS), key=lambda fold: taken[fold])
            taken[fold_of[group]] += 1
    return np.array([fold_of[group] for group in groups.tolist()], np.int64)


def best_answers(found: list[Answers]) -> Answers:
    """Those with the lowest log loss; of equal ones the first, which are of the strongest regularization."""
    return min(found, key=lambda answers: float(answers.loss.mean()))


def _answers(
    strength: float,
    scores: NDArray[np.float64],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    is_calibrated: bool,
) -> Answers:
    """Answers from scores [R, N, K]."""
    repeats, classes = len(scores), scores.shape[2]
    found = np.stack(
        [_probability(own, labels, fold_of, is_calibrated) for own, fold_of in zip(scores, folds, strict=True)]
    )
    loss = np.stack([log_losses(labels, own, own.argmax(1)) for own in found])
    right = np.stack([hits(labels, own, own.argmax(1)) for own in found])
    sharpness = 1.0 if is_calibrated else fit_sharpness(scores.reshape(-1, classes), np.tile(labels, repeats))
    return Answers(strength, sharpness, found.mean(0), loss.mean(0), right.mean(0))


def _probability(
    scores: NDArray[np.float64], labels: NDArray[np.int64], fold_of: NDArray[np.int64], is_calibrated: bool
) -> NDArray[np.float64]:
    """[N, K] -> probabilities [N, K], each fold's with the sharpness that the other folds ask for."""
    if is_calibrated:
        return probabilities(scores)
    found = np.empty_like(scores)
    for fold in np.unique(fold_of):
        out = fold_of == fold
        found[out] = probabilities(scores[out], 1 / fit_sharpness(scores[~out], labels[~out]))
    return found
