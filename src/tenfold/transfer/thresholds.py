"""Thresholds of a gallery, one for each question that it answers, and what they are worth on its own images.

Strangers are made of those who are enrolled: each identity in turn is left out, and its images are searched for among
the others. Each image is also searched for with its own identity's template made without it. Whatever an identity is
judged by had no part of it: the scatter comes from the other folds (templates.py), the threshold from the others'
scores. See tenfold.metrics.open_set for the figures.

Shapes: N images, G identities, D features.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import Estimate, from_json, to_json
from tenfold.metrics.open_set import (
    Comparisons,
    Search,
    compared,
    fit_threshold,
    fit_without_each,
    identification_figures,
    supported_rate,
    verification_figures,
)
from tenfold.transfer.templates import Whitening, fold_of, placed, sums_of, whitenings_without

FEWEST_IDENTITIES = 3
"""One is left out as a stranger, and of the others there must be two to be told apart."""
NO_THRESHOLD = (
    f"No threshold yet: at least {FEWEST_IDENTITIES} identities must be enrolled, so that some play strangers."
)
MOST_COMPARED = 1000
"""Images that are compared two by two: 499,500 comparisons, which tell more than there are identities to vary."""
QUESTIONS = {
    "identify": "is it anyone enrolled",
    "verify_identity": "does an image pass as an identity",
    "verify_images": "do two images pass as one identity",
}
_BLOCK = 1024  # images that are searched for at a time
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Point:
    """A threshold, and what it is worth."""

    threshold: float
    """Scores at or above it are accepted."""
    false_accept: float
    """The probability with which it accepts an image of a new stranger at most (two images of two identities, where
    these are compared): what was asked, or the lowest that so few identities support."""
    figures: dict[str, Estimate]
    """As tenfold.metrics.open_set names them. "far" and "fmr" come out near `false_accept` or below it, for which each
    identity's threshold is fitted on all others: what they tell is in their intervals."""

    def to_json(self) -> dict[str, Any]:
        """Every field as a JSON value."""
        values: dict[str, Any] = to_json(
            {"threshold": self.threshold, "false_accept": self.false_accept, "figures": self.figures}
        )
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Point:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for other values."""
        return cls(float(values["threshold"]), float(values["false_accept"]), from_json(values["figures"]))


@dataclass(frozen=True)
class Enrolled:
    """Images whose identities are known, and what each is judged by."""

    embeddings: NDArray[np.float32]
    """float32 [N, D], of length 1."""
    numbers: NDArray[np.int64]
    """int64 [N], the identity of each image, 0 to G - 1."""
    folds: NDArray[np.int64]
    """int64 [N], which of the whitenings has no part of the image's identity."""
    whitenings: Sequence[Whitening]

    @property
    def count(self) -> int:
        """G."""
        return int(self.numbers.max()) + 1

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], Whitening]]:
        """Rows of images that are judged by the same whitening, some at a time, and that."""
        for fold, whitening in enumerate(self.whitenings):
            rows = np.flatnonzero(self.folds == fold)
            for start in range(0, len(rows), _BLOCK):
                yield rows[start : start + _BLOCK], whitening

    def some(self, hashes: Sequence[str], fewest: int) -> Enrolled:
        """Whole identities, about MOST_COMPARED images of them, as `_some_rows` chooses them."""
        rows = _some_rows(self.numbers, hashes, fewest)
        place = np.unique(self.numbers[rows], return_inverse=True)[1].astype(np.int64)
        return Enrolled(self.embeddings[rows], place, self.folds[rows], self.whitenings)


def fit_points(
    embeddings: NDArray[np.float32], numbers: NDArray[np.int64], hashes: Sequence[str], false_accept: float
) -> dict[str, Point]:
    """A Point for each of QUESTIONS; none where there are fewer than FEWEST_IDENTITIES identities.

    embeddings    float32 [N, D], of length 1
    numbers       int64 [N], the identity of each image, 0 to G - 1, each at least once
    hashes        content hashes; where there are many images, they choose which identities are compared two by two
    false_accept  above 0 and below 1
    """
    count = int(numbers.max(initial=-1)) + 1
    if count < FEWEST_IDENTITIES:
        return {}
    enrolled = Enrolled(embeddings, numbers, fold_of(numbers, count), whitenings_without(embeddings, numbers))
    few = enrolled.some(hashes, min(identities_paired(false_accept), MOST_COMPARED // 2))
    return {
        "identify": _identification(enrolled, false_accept),
        "verify_identity": _verification(_with_templates(few), false_accept),
        "verify_images": _verification(_with_images(few), false_accept),
    }


def least_rate(identities: int) -> float:
    """The lowest false accept rate that so many identities support for every one of QUESTIONS; 1: none at all.

    Each identity is judged without itself: by searches for G - 1 others, and by the pairs of these.
    """
    if identities < FEWEST_IDENTITIES:
        return 1.0
    return max(1 / identities, _pair_rate(identities))


def identities_needed(false_accept: float) -> int:
    """How many identities support a rate above 0 and below 1."""
    fewest = max(FEWEST_IDENTITIES, math.ceil(1 / false_accept - _ROUNDING))
    return next(count for count in itertools.count(fewest) if least_rate(count) <= false_accept)


def identities_paired(false_accept: float) -> int:
    """How many identities must be compared two by two for their pairs, without those of one, to support a rate."""
    counts = itertools.count(max(FEWEST_IDENTITIES, math.isqrt(math.ceil(2 / false_accept))))  # fewer do not
    return next(count for count in counts if _pair_rate(count) <= false_accept)


def _pair_rate(identities: int) -> float:
    """The lowest rate that comparisons of every two identities support, without those of one."""
    return 1 / (math.comb(identities - 1, 2) + 1)


def own_and_other(enrolled: Enrolled) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Each image's score for its own identity without it, and the highest one for another identity: float64 [N] each.

    An identity of one image has no score without it: -inf.
    """
    own, other = np.empty(len(enrolled.numbers)), np.empty(len(enrolled.numbers))
    for rows, mine, scores in _scores(enrolled):
        here = np.arange(len(rows)), mine
        own[rows] = scores[here]
        scores[here] = -np.inf
        other[rows] = scores.max(1)
    return own, other


def _scores(enrolled: Enrolled) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]:
    """Some rows, their identities, and their scores for all, float64 [rows, G]; for their own they are left out."""
    sums = sums_of(enrolled.embeddings, enrolled.numbers, enrolled.count)
    sizes = np.bincount(enrolled.numbers, minlength=enrolled.count)
    for rows, whitening in enrolled.blocks():
        images, mine = enrolled.embeddings[rows], enrolled.numbers[rows]
        probes = placed(images, whitening)
        scores = (probes @ placed(sums, whitening).T).astype(np.float64)
        without = np.einsum("nd,nd->n", probes, placed(sums[mine] - images, whitening))
        scores[np.arange(len(rows)), mine] = np.where(sizes[mine] > 1, without, -np.inf)
        yield rows, mine, scores


def _identification(enrolled: Enrolled, false_accept: float) -> Point:
    """Each image is searched for twice: with its identity enrolled, without the image; and as a stranger's."""
    own, other = own_and_other(enrolled)
    numbers, count = enrolled.numbers, enrolled.count
    strangers = Comparisons(other, numbers, numbers)
    rate = max(false_accept, supported_rate(strangers, count))
    mated = np.isfinite(own)
    search = Search(
        np.concatenate([np.maximum(own, other)[mated], other]),
        np.concatenate([(own > other)[mated], np.zeros(len(other), bool)]),
        np.arange(mated.sum() + len(other)) < mated.sum(),
    )
    people = np.concatenate([numbers[mated], numbers])
    each = fit_without_each(strangers, rate, count)
    figures = identification_figures(search, people, each[people])
    return Point(fit_threshold(strangers, rate), rate, figures)


def _verification(comparisons: Comparisons, false_accept: float) -> Point:
    count = int(max(comparisons.first.max(), comparisons.second.max())) + 1
    impostors = comparisons.impostors
    rate = max(false_accept, supported_rate(impostors, count))
    each = fit_without_each(impostors, rate, count)
    figures = verification_figures(comparisons, each[comparisons.first])
    return Point(fit_threshold(impostors, rate), rate, figures)


def _with_templates(enrolled: Enrolled) -> Comparisons:
    """Every image with every identity, with its own where that has another image."""
    scores = np.empty((len(enrolled.numbers), enrolled.count))
    for rows, _, found in _scores(enrolled):
        scores[rows] = found
    first, second = np.indices(scores.shape, np.int64).reshape(2, -1)
    comparisons = Comparisons(scores.reshape(-1), enrolled.numbers[first], second)
    return comparisons.take(np.isfinite(comparisons.score))


def _with_images(enrolled: Enrolled) -> Comparisons:
    """Every two images, judged by what the identity of the first has no part in."""
    scores = np.empty((len(enrolled.numbers),) * 2, np.float32)
    for rows, whitening in enrolled.blocks():
        scores[rows] = placed(enrolled.embeddings[rows], whitening) @ placed(enrolled.embeddings, whitening).T
    return compared(scores, enrolled.numbers)


def _some_rows(numbers: NDArray[np.int64], hashes: Sequence[str], fewest: int = FEWEST_IDENTITIES) -> NDArray[np.int64]:
    """Rows of whole identities, about MOST_COMPARED images of `fewest` identities or more, in order.

    Identities are taken in the order of their lowest hash, as their names may say when or where they were enrolled; of
    one with many images a share of MOST_COMPARED counts, and two at least.
    """
    each = max(2, MOST_COMPARED // fewest)
    if len(numbers) <= MOST_COMPARED:
        return np.arange(len(numbers))
    rows: dict[int, list[int]] = {}
    for row in sorted(range(len(numbers)), key=lambda row: hashes[row]):
        mine = rows.setdefault(int(numbers[row]), [])
        if len(mine) < each:
            mine.append(row)
    taken = list[int]()
    for place, mine in enumerate(rows.values()):
        if place >= fewest and len(taken) + len(mine) > MOST_COMPARED:
            break
        taken += mine
    return np.sort(np.array(taken, np.int64))
