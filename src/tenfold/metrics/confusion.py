"""Figures that depend on three counts of each class only.

    hits       images of the class that were predicted as it (true positives)
    truth      images of the class
    predicted  images predicted as the class

Every function takes these three arrays, float64 [..., K], and gives float64 [...]: one figure for each set of counts,
so that thousands of resamples are one call. Counts need not be whole.

Means over classes (macro) are taken over the classes that occur among the labels or the predictions; a class that
occurs but was never predicted has precision 0, one predicted but not among the labels recall 0. Balanced accuracy
alone is the mean over the classes among the labels. These are scikit-learn's rules with `zero_division=0`.

Shapes: K classes; ... any number of leading dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.float64]


def confusion_matrix(truth: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Images by label (rows) and prediction (columns): int64 [K, K] from two int64 [N] with values below `classes`."""
    cells = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def balanced_accuracy(hits: Counts, truth: Counts, predicted: Counts) -> Counts:
    """Mean recall of the classes among the labels (Brodersen et al. 2010, https://doi.org/10.1109/ICPR.2010.764)."""
    return _mean(_ratio(hits, truth), truth > 0)


def macro_precision(hits: Counts, truth: Counts, predicted: Counts) -> Counts:
    """Mean share of right answers among those that name a class, over the classes."""
    return _mean(_ratio(hits, predicted), truth + predicted > 0)


def macro_recall(hits: Counts, truth: Counts, predicted: Counts) -> Counts:
    """Mean share of a class's images that are found, over the classes."""
    return _mean(_ratio(hits, truth), truth + predicted > 0)


def macro_f1(hits: Counts, truth: Counts, predicted: Counts) -> Counts:
    """Mean of the classes' F1 (not the F1 of mean precision and mean recall)."""
    return _mean(_ratio(2 * hits, truth + predicted), truth + predicted > 0)


def weighted_precision(hits: Counts, truth: Counts, predicted: Counts) -> Counts:
    """Mean precision, each class weighted by its number of images."""
    return _ratio((_ratio(hits, predicted) * truth).sum(-1), truth.sum(-1))


def weighted_f1(hits: Counts, truth: Counts, predicted: Counts) -> Counts:
    """Mean F1, each class weighted by its number of images."""
    return _ratio((_ratio(2 * hits, truth + predicted) * truth).sum(-1), truth.sum(-1))


def matthews(hits: Counts, truth: Counts, predicted: Counts) -> Counts:
    """Matthews' correlation for K classes, -1 to 1; NaN where labels or predictions are all of one class.

    Gorodkin (2004), https://doi.org/10.1016/j.compbiolchem.2004.09.006. scikit-learn says 0 where it is 0 / 0.
    """
    total = truth.sum(-1)
    covariance = hits.sum(-1) * total - (truth * predicted).sum(-1)
    # Within-label and within-prediction variances; the square of the total minus the sum of squares is exact for
    # counts below 2^26, so that one class alone gives 0 and not a rounding error.
    variance = (total**2 - (truth**2).sum(-1)) * (total**2 - (predicted**2).sum(-1))
    undefined = variance <= 0
    found: Counts = np.where(undefined, np.nan, covariance / np.sqrt(np.where(undefined, 1.0, variance)))
    return found


def _ratio(part: Counts, whole: Counts) -> Counts:
    """`part` / `whole`, 0 where both are 0."""
    ratio: Counts = part / np.where(whole > 0, whole, 1.0)
    return ratio


def _mean(values: Counts, counted: NDArray[np.bool_]) -> Counts:
    """Mean over the classes that are counted."""
    return _ratio(np.where(counted, values, 0.0).sum(-1), counted.sum(-1).astype(np.float64))
