"""What a run's head makes of classes that it does not know: each class is held out, and the head fitted without it.

The classes are dealt into folds, a class each where there are at most FOLDS of them. The head is fitted again without
a fold's classes, as it was fitted in the run, and their images are answered: to that head they are of no class at all.
Images of known classes are answered out of fold, by heads that were fitted to images of all classes but not to them or
others of their group. Then both kinds are answered by heads that never saw them, which the run's own head, fitted to
all, will be to new images too. As strangers' heads know a few classes less, and known images' heads a few images less,
new strangers may be accepted a little more often, and new images of known classes too. Near copies and other images of
a group are alike, so that of unknown ones each group counts once.

This can only be done with features of a network that was not itself trained on these classes: not with what was trained
from scratch or fine-tuned, nor with what an earlier run trained, perhaps on the same images.

Shapes: N images, V views, D features, K classes.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.images.content import hashed
from tenfold.images.prepared import prepare_table
from tenfold.images.table import Table
from tenfold.metrics.unknown import HeldOut, known_score
from tenfold.models.frozen import FrozenClassifier
from tenfold.models.heads import choose_strength, fit_head
from tenfold.run import Run, write_weights
from tenfold.split.ties import bonds, grouped, join
from tenfold.transfer.features import Extractor, table_features
from tenfold.transfer.ladder import fold_numbers

FOLDS = 10
"""Into so many folds classes are dealt, or fewer."""
FEWEST_CLASSES = 4
"""One is held out, and of the others there must be three: the scores of two classes are of another scale, as one row
says which of them it is."""
_FOLDS_OF_IMAGES = 5


@dataclass(frozen=True)
class Fit:
    """How a head was fitted; see `fit_head`."""

    head: str
    classes: int
    strength: float
    sharpness: float
    spread: bool


def fit_unknown(run: Run, *, seconds: float = math.inf) -> HeldOut | None:
    """Hold the classes of a run's training part out, one after another, and store in the run what that gave.

    The images must lie where they did at the training; their features are taken from the cache, or computed again.
    None, with nothing stored, for a model other than "frozen", a network that an earlier run has trained, a head that
    does not look at the images, fewer than FEWEST_CLASSES classes, images that all belong together, and where it would
    take more than `seconds`. Features that the cache lacks are computed to the end before the time is looked at, so
    that they alone may take longer than that; then they are in the cache. Raises DataError where no image can be read
    or the cache cannot be written.
    """
    ends = time.monotonic() + seconds
    model = run.model
    if seconds <= 0 or not isinstance(model, FrozenClassifier) or why_not(run):
        return None
    table, features = _training_features(run, model)
    images = np.flatnonzero(~table.samples["copy"].to_numpy(bool))
    if len(images):  # a copy tells what its image is
        table, features = table.take(images), features[images]
    units, labels = join(bonds(table)), table.labels()
    if not units.any():
        return None
    head, strength, spread = (model.settings[name] for name in ("head", "strength", "spread"))
    if not strength:  # the run's head was fitted with what this chooses
        strength = choose_strength(head, features, labels, len(run.classes), spread=spread).strength
    how = Fit(head, len(run.classes), strength, float(model.head.sharpness), spread)
    folds = fold_numbers(table, _FOLDS_OF_IMAGES, 1, seed=run.recipe.train.seed)[0]
    found = hold_out(features, labels, folds, units, how, seconds=ends - time.monotonic())
    if found is not None:
        arrays = {name: torch.from_numpy(values) for name, values in found.arrays().items()}
        write_weights(run.path / "unknown.safetensors", arrays)
    return found


def why_not(run: Run) -> str:
    """Why no class of a frozen run can be held out, and what to do, clauses; empty where that takes time alone."""
    if run.card["settings"]["head"] == "majority":
        return "its head, majority, does not look at the images; train with another head"
    if is_trained(run.recipe.transfer.init):
        return (
            "an earlier run has trained its network, perhaps on these classes; train with a pretrained network as it "
            "was published, without --init"
        )
    table = run.table.part("train")
    labels, units = table.labels(), join(bonds(table))
    classes = len(np.unique(labels))
    if classes < FEWEST_CLASSES:
        return f"it was trained on {classes} classes, and no fewer than {FEWEST_CLASSES} will do; train on more classes"
    if len(np.unique(np.stack([labels, units]), axis=1).T) == classes:
        return "all training images of each class belong together; train on several groups of each class"
    return ""


def hold_out(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    units: NDArray[np.int64],
    how: Fit,
    *,
    seconds: float = math.inf,
) -> HeldOut | None:
    """Answers to images of known and of unknown classes; None where that takes too long or one kind is lacking.

    features  float32 [N, V, D]
    labels    int64 [N]
    folds     int64 [N], the fold of each image: those of a group are in one
    units     int64 [N], equal for images of a group, of whose unknown ones one is kept, drawn by a fixed seed
    """
    if seconds <= 0:
        return None
    began, rounds = time.monotonic(), _rounds(labels, folds)
    parts = []
    for done, (out, knows) in enumerate(rounds, 1):
        score, best, is_known = _answers(features, labels, out, how)
        rows = np.flatnonzero(is_known == knows)  # a class that is in one fold alone is unknown there: no word on it
        rows = rows if knows else rows[_one_of_each(units[out][rows])]
        truth = labels[out][rows]
        parts.append((score[rows], truth, np.full(len(rows), knows), (best[rows] == truth) & knows))
        if (time.monotonic() - began) / done * len(rounds) > seconds:
            return None
    score, label, known, right = (np.concatenate(column) for column in zip(*parts, strict=True))
    if known.all() or not known.any():
        return None
    return HeldOut(score.astype(np.float32), label.astype(np.int32), known, right)


def is_trained(init: str) -> bool:
    """Whether the run in a folder, or one that it started from, trained its network, or may have: one that is gone.

    Not of an empty name, as `transfer.init` is where a network begins as it was published.
    """
    seen = {""}
    while init not in seen:
        seen.add(init)
        run = Run(Path(init))
        if not (run.path / "recipe.toml").is_file() or run.recipe.model.name != "frozen":
            return True
        init = run.recipe.transfer.init
    return bool(init)


def _rounds(labels: NDArray[np.int64], folds: NDArray[np.int64]) -> list[tuple[NDArray[np.bool_], bool]]:
    """What a head is fitted without, bool [N], and whether it still knows the classes of those images."""
    present, place = np.unique(labels, return_inverse=True)
    dealt = place % min(FOLDS, len(present))
    return [(of == fold, knows) for of, knows in ((folds, True), (dealt, False)) for fold in np.unique(of)]


def _answers(
    features: NDArray[np.float32], labels: NDArray[np.int64], out: NDArray[np.bool_], how: Fit
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """For the images that are left out: score, class that is named, and whether the head knows the true one."""
    seen, present = labels[~out], np.unique(labels[~out])
    sharpness, spread = how.sharpness, how.spread
    head = fit_head(how.head, features[~out], seen, how.classes, how.strength, sharpness=sharpness, spread=spread)
    with torch.no_grad():
        logits = head(torch.from_numpy(features[out])).numpy()[:, present]  # a class without images has a score too
    return known_score(logits), present[logits.argmax(1)], np.isin(labels[out], present)


def _one_of_each(units: NDArray[np.int64]) -> NDArray[np.int64]:
    """A row of each unit, drawn by a fixed seed."""
    drawn = np.random.default_rng(0).permutation(len(units))
    return np.sort(drawn[np.unique(units[drawn], return_index=True)[1]])


def _training_features(run: Run, model: FrozenClassifier) -> tuple[Table, NDArray[np.float32]]:
    """The training images that can be read, and their features float32 [N, V, D], seen as the run sees them."""
    truncated = run.recipe.data.allow_truncated
    table = grouped(hashed(run.table.part("train")))
    prepared = prepare_table(table, run.preprocessing, allow_truncated=truncated)
    digest = run.card["weights"]["sha256"]
    extractor = Extractor(model.backbone, digest, run.preprocessing, model.views, model.settings["crop"], truncated)
    return prepared.table, table_features(prepared, extractor)
