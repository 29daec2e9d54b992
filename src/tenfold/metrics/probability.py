"""Figures that are a mean of one score an image.

Every function takes truth int64 [N], probability float64 [N, K] and predicted int64 [N], and gives one score for each
image, float64 [N] (0 or 1 where the figure is a proportion).

Shapes: N images, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]
Scores = NDArray[np.float64]


def hits(truth: Labels, probability: Scores, predicted: Labels) -> Scores:
    """1 where the prediction is right: its mean is the accuracy."""
    right: Scores = (truth == predicted).astype(np.float64)
    return right


def top_hits(truth: Labels, probability: Scores, k: int) -> Scores:
    """1 where the label is among the `k` most probable classes; of equally probable ones the first in order wins."""
    own = np.take_along_axis(probability, truth[:, None], axis=1)
    before = (probability > own).sum(1)
    ties = ((probability == own) & (np.arange(probability.shape[1]) < truth[:, None])).sum(1)
    among: Scores = (before + ties < k).astype(np.float64)
    return among


def log_losses(truth: Labels, probability: Scores, predicted: Labels) -> Scores:
    """Minus the natural logarithm of the label's probability, which counts as at least 2.2e-16 (as scikit-learn's)."""
    own = np.take_along_axis(probability, truth[:, None], axis=1)[:, 0]
    losses: Scores = -np.log(np.clip(own, np.finfo(np.float64).eps, 1.0))
    return losses


def brier_scores(truth: Labels, probability: Scores, predicted: Labels) -> Scores:
    """Squared distance of the probabilities from the label's (0 ... 1 ... 0), 0 to 2; for two classes half of it.

    Brier (1950), https://doi.org/10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; halved for two classes, as
    scikit-learn and most texts do, which makes it the squared error of one probability.
    """
    wanted = np.eye(probability.shape[1])[truth]
    squares: Scores = ((probability - wanted) ** 2).sum(1)
    return squares / 2 if probability.shape[1] == 2 else squares
