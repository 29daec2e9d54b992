"""Sharpness: what the scores of a nearest mean, an SVM or a ridge are multiplied by to become logits.

One number for all classes, as in Platt scaling ("Probabilistic outputs for support vector machines", 1999) without an
offset, fitted by log loss to scores of images that the head was not fitted on: to its own training images an SVM's
margins look far too sure. As there, the targets are not 0 and 1 but what N right answers in a row would support, so
that the sharpness stays finite where every answer is right.

Shapes: N images, K classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.metrics.calibration import probabilities

SOFTEST, SHARPEST = 1e-3, 1e4


def fit_sharpness(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The sharpness, SOFTEST to SHARPEST, for scores [N, K] of labels int64 [N], at least one image.

    Minimizes the cross-entropy of softmax(sharpness x scores), which is convex in it, with (N + 1) / (N + K) as the
    target of the label's class and 1 / (N + K) as that of each other.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or not len(scores) or labels.shape != scores.shape[:1] or not np.isfinite(scores).all():
        raise UsageError(f"scores must be finite, a row for each of the labels, not {scores.shape} for {labels.shape}.")
    from scipy.optimize import brentq  # half a second to import, and a stored head needs no fit

    count, classes = scores.shape
    scores = scores - scores.max(1, keepdims=True)
    own = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    wanted = (scores.sum(1) + count * own) / (count + classes)

    def slope(logarithm: float) -> float:
        """Derivative of the mean cross-entropy by the sharpness."""
        shares = probabilities(scores, math.exp(-logarithm))
        return float(((shares * scores).sum(1) - wanted).mean())

    low, high = math.log(SOFTEST), math.log(SHARPEST)
    if slope(low) >= 0:
        return SOFTEST
    if slope(high) <= 0:
        return SHARPEST
    return math.exp(float(brentq(slope, low, high, xtol=1e-4)))
