"""What R-CNN fits to features of regions: a linear SVM and a ridge regression of the box, for each class.

Girshick et al., "Rich feature hierarchies for accurate object detection and semantic segmentation", 2014,
https://arxiv.org/abs/1311.2524: the SVMs section 2.3 and appendix B, box regression appendix C. The constants that the
paper does not give are those of the authors' program, https://github.com/rbgirshick/rcnn.

Shapes: R regions of an image, its true boxes last; G true boxes, D features, E features with their place, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.boxes import box_coverage, box_iou
from tenfold.models.detection.coding import PROPOSAL_WEIGHTS, encode_boxes
from tenfold.models.detection.watched import Watch, unwatched, watched

NEGATIVE_BELOW = 0.3
"""A proposal is a negative of a class whose true boxes it all overlaps by less (IoU): section 2.3. Each `Regions` may
say otherwise."""
INSIDE_FROM = 0.5
"""Nor is it one where it lies by this share in a box of the class that is to be ignored, as a crowd is."""
NEAR_ABOVE = 0.6
"""Box regression learns from proposals that overlap a true box by more (IoU): appendix C."""
PENALTY = 1000.0
"""Lambda of the ridge: appendix C."""
NORM = 20.0
"""The mean length that features are scaled to: the penalties are good for that."""
HARD_ABOVE = -1.0
"""A negative whose margin is above is hard: it costs something."""

_C, _OF_POSITIVES, _BIAS = 1e-3, 2.0, 10.0
_EASY = 64
"""Negatives of an image that the first SVM sees."""
_MOST_ROWS = 30_000
"""Rows of negatives, or of the box regression, of a class; of more the hardest are taken, or every so many."""
_ROUNDS = 20_000
_NEVER = -10.0
"""The margin of a class without a true box to learn from."""


@dataclass(frozen=True, eq=False)
class Regions:
    """The regions of one image, with what the network sees in them."""

    boxes: NDArray[np.float32]
    """[R, 4], xyxy in pixels of the input: proposals, then the G true boxes."""
    true: NDArray[np.float32]
    """[G, 4]"""
    label: NDArray[np.int64]
    """[G]"""
    ignore: NDArray[np.bool_]
    """[G], true boxes in which nothing is right or wrong."""
    whole: NDArray[np.float16]
    """[R, D], what there is in a region."""
    places: NDArray[np.float16]
    """[R, E], what there is where."""
    negative_below: float = NEGATIVE_BELOW
    """The IoU below which proposals are `negatives`: above 0 as float32, as IoUs may be."""

    @cached_property
    def overlap(self) -> NDArray[np.floating[Any]]:
        """IoU [R, G] with the true boxes."""
        return box_iou(self.boxes, self.true)

    @property
    def proposed(self) -> int:
        """How many of the regions are proposals."""
        return len(self.boxes) - len(self.true)

    def positives(self, kind: int) -> NDArray[np.int64]:
        """Rows of a class's true boxes."""
        return self.proposed + np.flatnonzero((self.label == kind) & ~self.ignore)

    def negatives(self, kind: int) -> NDArray[np.int64]:
        """Rows of proposals that overlap no true box of a class, to be ignored or not, by `negative_below`, and do not
        lie by half in one to be ignored.
        """
        own, crowds = self.overlap[: self.proposed, self.label == kind], (self.label == kind) & self.ignore
        inside = box_coverage(self.boxes[: self.proposed], self.true[crowds])
        apart = own.max(1, initial=0.0) < self.negative_below
        return np.flatnonzero(apart & (inside.max(1, initial=0.0) < INSIDE_FROM))

    def near(self, kind: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of proposals whose nearest true box is of a class, and above NEAR_ABOVE; and which box that is."""
        overlap = np.where(self.ignore, 0.0, self.overlap[: self.proposed])
        if not len(self.true):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        best = overlap.argmax(1)
        rows = np.flatnonzero((overlap.max(1) > NEAR_ABOVE) & (self.label[best] == kind))
        return rows, best[rows]


@dataclass(frozen=True, eq=False)
class Linear:
    """A linear map of features as they are: weights float32 [K, D], or [K, 4, E], and bias [K], or [K, 4]."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def fit_svms(images: Sequence[Regions], classes: int, watch: Watch = unwatched) -> Linear:
    """A linear SVM for each class: on a few negatives of each image, then once more with the hard ones of all."""
    scale = length_scale([image.whole for image in images])
    first = [_fit_class(images, kind, scale) for kind in watched(watch, "linear SVMs of classes", classes)]
    kinds = watched(watch, "hard negatives of classes", classes)
    fitted = [_fit_hard(images, kind, scale, *first[kind]) for kind in kinds]
    weights, biases = zip(*fitted, strict=True)
    return Linear((np.stack(weights) * scale).astype(np.float32), np.array(biases, np.float32))


def fit_moves(images: Sequence[Regions], classes: int, watch: Watch = unwatched) -> Linear:
    """The ridge regression of `encode_boxes` for each class; nothing moves a class without a proposal nearby."""
    from sklearn.linear_model import Ridge

    scale, size = length_scale([image.places for image in images]), images[0].places.shape[1]
    weight, bias = np.zeros((classes, 4, size), np.float32), np.zeros((classes, 4), np.float32)
    for kind in watched(watch, "box regressions of classes", classes):
        rows, targets = near_pairs(images, kind)
        if len(rows):
            ridge = Ridge(alpha=PENALTY).fit(rows * scale, targets)
            weight[kind], bias[kind] = ridge.coef_ * scale, ridge.intercept_
    return Linear(weight, bias)


def near_pairs(images: Sequence[Regions], kind: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What a class's box regression learns from: features [M, E] and targets [M, 4]; of too many every so many."""
    found = [(image, *image.near(kind)) for image in images]
    every = -(-sum(len(rows) for _, rows, _ in found) // _MOST_ROWS) or 1
    features, targets = [], []
    for image, rows, true in found:
        features.append(image.places[rows[::every]].astype(np.float32))
        wanted, boxes = image.true[true[::every]], image.boxes[rows[::every]]
        targets.append(encode_boxes(torch.from_numpy(wanted), torch.from_numpy(boxes), PROPOSAL_WEIGHTS).numpy())
    return np.concatenate(features), np.concatenate(targets)


def hard_negatives(
    images: Sequence[Regions], kind: int, weight: NDArray[np.float64], bias: float
) -> NDArray[np.float32]:
    """Features [M, D] of a class's negatives with a margin above HARD_ABOVE, the hardest where there are too many.

    Those that `fit_svms` begins with are not among them.
    """
    rows, margins = [], []
    for image in images:
        negative = image.negatives(kind)
        own = image.whole[np.setdiff1d(negative, _spread(negative))].astype(np.float32)
        margin = own @ weight + bias
        rows.append(own[margin > HARD_ABOVE])
        margins.append(margin[margin > HARD_ABOVE])
    hardest = np.argsort(-np.concatenate(margins), kind="stable")[:_MOST_ROWS]
    return np.concatenate(rows)[hardest]


def length_scale(features: Sequence[NDArray[np.float16]]) -> float:
    """What makes rows [R, D] of several images NORM long on average."""
    lengths = np.concatenate([np.linalg.norm(rows.astype(np.float32), axis=1) for rows in features])
    mean = float(lengths.mean()) if len(lengths) else 0.0
    return NORM / mean if mean > 0 else 1.0


def _fit_class(images: Sequence[Regions], kind: int, scale: float) -> tuple[NDArray[np.float64], float]:
    """Weights [D] of features times `scale`, and bias, by a few negatives of each image."""
    positive, negative = _some(images, kind)
    if not len(positive):
        return np.zeros(positive.shape[1]), _NEVER
    if not len(negative):
        return np.zeros(positive.shape[1]), 1.0
    return fit_svm(positive * scale, negative * scale)


def _fit_hard(
    images: Sequence[Regions], kind: int, scale: float, weight: NDArray[np.float64], bias: float
) -> tuple[NDArray[np.float64], float]:
    """The same with the hard negatives too, if there are any; `weight` and `bias` are those of `_fit_class`."""
    positive, negative = _some(images, kind)
    if not len(positive) or not len(negative):
        return weight, bias
    hard = hard_negatives(images, kind, weight * scale, bias)
    return fit_svm(positive * scale, np.concatenate([negative, hard]) * scale) if len(hard) else (weight, bias)


def _some(images: Sequence[Regions], kind: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features of a class's true boxes [P, D], and of a few negatives of each image [M, D]."""
    positive = np.concatenate([image.whole[image.positives(kind)] for image in images]).astype(np.float32)
    negative = np.concatenate([image.whole[_spread(image.negatives(kind))] for image in images]).astype(np.float32)
    return positive, negative


def fit_svm(
    positive: NDArray[np.floating[Any]], negative: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], float]:
    """Weights [D] and bias of a linear SVM for rows [M, D] of NORM on average; positives count twice."""
    from sklearn.svm import LinearSVC

    labels = np.repeat([1, -1], [len(positive), len(negative)])
    weights = {1: _OF_POSITIVES, -1: 1.0}
    svm = LinearSVC(C=_C, loss="hinge", class_weight=weights, intercept_scaling=_BIAS, max_iter=_ROUNDS, random_state=0)
    svm.fit(np.concatenate([positive, negative]), labels)
    return svm.coef_[0], float(svm.intercept_[0])


def _spread(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Up to _EASY of the rows, from first to last."""
    return rows[:: max(-(-len(rows) // _EASY), 1)]
