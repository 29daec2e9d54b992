"""Average precision and recall from judged detections, of the images as they are and of thousands of resamples.

A resample does not match again: an image that is in it twice counts each of its detections and objects twice. All
average precisions of a class, by every rule and of every resample, are one compiled pass over its ranked detections.

- COCO: the precision at 101 recalls, each the highest one at that recall or beyond, and their mean.
- VOC 2007: the same at 11 recalls. VOC 2010: the area under that envelope (Everingham et al. 2010, section 4.2.1).
- Average recall: the share of objects found by an image's best 1, 10 or 100 detections of a class.

Shapes: N images, D detections, R rules, B resamples, M recalls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import Units, resamples
from tenfold.metrics.detection_matching import Judged

Function = TypeVar("Function", bound=Callable[..., Any])

COCO_RECALLS = np.linspace(0.0, 1.0, 101)
VOC_RECALLS = np.arange(11) / 10
ENVELOPE = np.empty(0)
"""In place of recalls: the area under the whole envelope."""

_AT_ONCE = 50  # resamples whose weights lie in memory together
_NEAR = 1e-12  # two numbers that differ by less, relatively, may be the same but for rounding
_TINY = float(np.spacing(1))  # what pycocotools adds to a denominator


class Draws(NamedTuple):
    """How often each image is in each of B resamples, and how often as the added image of tenfold.estimate."""

    times: NDArray[np.float64]
    """[B, N]"""
    right: NDArray[np.float64]
    """[B, N], as an image that was answered rightly: what was found in it, and nothing else."""
    wrong: NDArray[np.float64]
    """[B, N], as one that was answered wrongly: all its objects missed, and its false detections as they are."""


def as_they_are(images: int) -> Draws:
    """Every image once: B = 1."""
    return Draws(np.ones((1, images)), np.zeros((1, images)), np.zeros((1, images)))


def draw_images(units: Units, count: int, seed: int = 0, side: int = 0) -> Iterator[Draws]:
    """`count` resamples of the images, some at a time; those of one seed have the same images on every `side`.

    The added image is any one, half of the time right and half of the time wrong, which is tossed for each side.
    """
    pick, toss = np.random.default_rng(seed + 1), np.random.default_rng([seed, side])
    images, rows = len(units.index), resamples(units, seed, count)
    for start in range(0, count, _AT_ONCE):
        draws = Draws(*(np.zeros((min(_AT_ONCE, count - start), images)) for _ in range(3)))
        for row, (times, added) in zip(range(len(draws.times)), rows, strict=False):
            draws.times[row] = times
            extra, heads = pick.integers(0, images, added), toss.random(added) < 0.5
            np.add.at(draws.right[row], extra[heads], units.extra)
            np.add.at(draws.wrong[row], extra[~heads], units.extra)
        yield draws


def average_precisions(judged: Judged, draws: Draws, recalls: NDArray[np.float64]) -> NDArray[np.float64]:
    """By each rule, in each resample: float64 [B, R], NaN where it has no object of the class."""
    wanted = _wanted(judged, draws, len(judged.image))
    counted = np.stack([draws.times + draws.right, draws.times + draws.wrong], 2)
    result = np.empty(wanted.shape)
    _areas(judged.image, *judged.counting, counted, wanted, recalls, result)
    return result


def recalls_within(judged: Judged, draws: Draws, most: int) -> NDArray[np.float64]:
    """The share of objects found by each image's best `most` detections: float64 [B, R], NaN without an object."""
    wanted = _wanted(judged, draws, most)
    found = (draws.times + draws.right) @ judged.found_within(most).T
    shares: NDArray[np.float64] = np.where(wanted > 0, found / np.where(wanted > 0, wanted, 1), np.nan)
    return shares


def _wanted(judged: Judged, draws: Draws, most: int) -> NDArray[np.float64]:
    """Objects to be found, in an image that was answered rightly those that were: float64 [B, R]."""
    whole: NDArray[np.float64] = (draws.times + draws.wrong) @ judged.wanted.T
    return whole + draws.right @ judged.found_within(most).T


def _compiled(function: Function) -> Function:
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@_compiled
def _beyond(recall: float, hits: float, total: float) -> bool:
    """Whether the recall is more than hits / total, rounded as pycocotools rounds, which divides."""
    reached = recall * total
    if abs(reached - hits) > _NEAR * total:
        return reached > hits
    return recall > hits / total


@_compiled
def _areas(
    image: NDArray[np.int64],
    rows: NDArray[np.int64],
    found: NDArray[np.bool_],
    starts: NDArray[np.int64],
    counted: NDArray[np.float64],
    wanted: NDArray[np.float64],
    recalls: NDArray[np.float64],
    result: NDArray[np.float64],
) -> None:
    """What counts by rule r is `rows[starts[r]:starts[r + 1]]`, in order, and `found` says which of it hit.

    `counted` [B, N, 2]: how often hits and how often false detections of an image count. No branch depends on a
    detection, as none could be foreseen: that would take four times as long.
    """
    D, M = len(image), len(recalls)
    own = np.empty((D, 2))
    right, wrong = np.empty(D + 1), np.empty(D + 1)  # up to each hit
    for b in range(len(wanted)):
        for d in range(D):
            own[d, 0], own[d, 1] = counted[b, image[d], 0], counted[b, image[d], 1]
        for r in range(wanted.shape[1]):
            total = wanted[b, r]
            if not total > 0:
                result[b, r] = np.nan
                continue
            hits, false, points = 0.0, 0.0, 0
            for s in range(starts[r], starts[r + 1]):
                hit, d = int(found[s]), rows[s]
                hits += hit * own[d, 0]
                false += (1 - hit) * own[d, 1]
                right[points], wrong[points] = hits, false  # written over until there is a hit
                points += hit * int(own[d, 0] > 0)
            # From the end, so that `best` is the highest precision at a recall or beyond: the envelope.
            best, area, mark = 0.0, 0.0, M - 1
            for p in range(points - 1, -1, -1):
                while mark >= 0 and _beyond(recalls[mark], right[p], total):
                    area += best
                    mark -= 1
                best = max(best, right[p] / (wrong[p] + right[p] + _TINY))
                if M == 0:
                    area += best * (right[p] - (right[p - 1] if p > 0 else 0.0)) / total
            result[b, r] = area if M == 0 else (area + best * (mark + 1)) / M
