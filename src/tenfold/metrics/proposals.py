"""Region proposals: how many objects are covered by the best of their boxes, and how well.

    recall          the share of objects with a box whose intersection over union (IoU) is at least 0.5, 0.7, 0.8
    average recall  the mean of recall over all IoUs from 0.5 to 1: Hosang et al., "What makes for effective detection
                    proposals?", TPAMI 38 (2016), https://arxiv.org/abs/1502.05082, section 5.3; of all figures the
                    one that follows a detector's average precision most closely
    MABO            mean average best overlap: each object's highest IoU, the mean over each class, the mean over the
                    classes: Uijlings et al., "Selective search for object recognition", IJCV 104 (2013), section 5;
                    ABO of one class, or of all objects alike

Intervals are over images, as objects of one image stand or fall together: what is drawn anew is an image with all its
objects. The kinds are those of intervals.py: Wilson's for shares, the bootstrap's closed form for means, the jackknife
for MABO, whose classes may be rare.

Shapes: O objects, P proposals of an image, Q objects of an image, K classes, M numbers of boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import Boxes, box_iou
from tenfold.errors import UsageError
from tenfold.estimate import Estimate, Units, mean_moments, score_interval, units_of
from tenfold.metrics.intervals import area_estimate, share
from tenfold.metrics.ranking import Area

THRESHOLDS = (0.5, 0.7, 0.8)
"""IoUs of which the recall is given."""

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
"""Name -> area in pixels from (inclusive) and to (exclusive): COCO's, https://cocodataset.org/#detection-eval."""


def best_overlaps(
    objects_xyxy: Boxes, proposals_xyxy: Boxes, counts: Sequence[int]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The highest IoU of each object [Q, 4] with the first n proposals [P, 4]: float64 [Q, M] for the n in `counts`.

    And which of all proposals is nearest: int64 [Q], -1 where none meets the object. Raises UsageError for a count
    below 1.
    """
    if not counts or min(counts) < 1:
        raise UsageError(f"counts must be numbers of boxes of at least 1, not {list(counts)}.")
    if not len(proposals_xyxy):
        return np.zeros((len(objects_xyxy), len(counts))), np.full(len(objects_xyxy), -1, np.int64)
    overlaps = box_iou(objects_xyxy.astype(np.float64), proposals_xyxy.astype(np.float64))
    best = np.stack([overlaps[:, :count].max(1) for count in counts], 1)
    nearest = np.where(overlaps.max(1) > 0, overlaps.argmax(1), -1)
    return best, nearest.astype(np.int64)


def proposal_figures(
    overlaps: NDArray[np.float64],
    images: NDArray[np.int64],
    labels: NDArray[np.int64] | None = None,
    level: float = 0.95,
) -> dict[str, Estimate]:
    """`recall_50`, `recall_70`, `recall_80`, `average_recall` and `mabo` of objects, at least one.

    `overlaps` float64 [O] are their highest IoUs, `images` and `labels` int64 [O] which image and class they are of.
    Without labels the last figure is `abo`, the average best overlap of all, whatever their class. Raises UsageError
    for other arrays.
    """
    shapes = {array.shape for array in (overlaps, images, labels) if array is not None}
    if overlaps.ndim != 1 or not len(overlaps) or len(shapes) > 1:
        raise UsageError(
            "proposal_figures needs an overlap and an image, and a label if any, for each of at least one object, not "
            f"arrays of the shapes {sorted(shapes)}."
        )
    units = _over_images(images)
    figures = {
        f"recall_{round(100 * threshold)}": share((overlaps >= threshold).astype(np.float64), units, level)
        for threshold in THRESHOLDS
    }
    figures["average_recall"] = _mean(np.maximum(2 * overlaps - 1, 0), units, level)
    if labels is None:
        return figures | {"abo": _mean(overlaps, units, level)}
    return figures | {"mabo": _mean_over_classes(overlaps, labels, units, level)}


def size_names(areas: NDArray[np.float64]) -> NDArray[np.str_]:
    """Each object's name in SIZES by its area in pixels, float64 [O]: str [O]."""
    edges = [low for low, _ in SIZES.values()][1:]
    return np.array(list(SIZES))[np.searchsorted(edges, areas, side="right")]


def _over_images(images: NDArray[np.int64]) -> Units:
    units = units_of(images.astype(object), len(images))
    return replace(units, words=f"over {units.count} images") if units.grouped else units


def _mean(scores: NDArray[np.float64], units: Units, level: float) -> Estimate:
    """The mean of scores from 0 to 1, of which the added image has one of 1 or of 0."""
    value = float(scores.mean())
    moments = mean_moments(scores, units, np.ones(1), np.zeros(1))
    low, high = score_interval(value, *moments, units, level)
    return Estimate(value, low, high, level, len(scores), f"bootstrap {units.words}")


def _mean_over_classes(
    overlaps: NDArray[np.float64], labels: NDArray[np.int64], units: Units, level: float
) -> Estimate:
    _, place = np.unique(labels, return_inverse=True)
    sizes = np.bincount(place)
    means = np.bincount(place, overlaps) / sizes
    influence = (overlaps - means[place]) / (sizes[place] * len(sizes))
    trials = len(sizes) ** 2 / float((1 / sizes).sum())
    return area_estimate(Area(float(means.mean()), influence, trials, labels), units, level)
