"""Calibration: how far the probability of the predicted class is from how often it is right, and what mends it.

- The error is the root mean square of that distance over bins with equally many images, without the part that chance
  alone adds to a square: the debiased estimator of Kumar, Liang and Ma, "Verified uncertainty calibration" (NeurIPS
  2019, https://arxiv.org/abs/1909.10155). The usual, biased error of a perfectly calibrated model is well above 0 with
  few images and falls as they become more. Bins of equal width would leave most images in one of them.
- Its interval is Wilson's idea carried over to the square: all values from which the one found is not too far, where
  "far" is measured by the variance that each of those values would give. Of a calibrated model the truth is 0, the end
  of the range, so that only the lower end can miss it and 97.5 % is what an interval of 95 % promises there. How often
  it holds is simulated in benchmarks/intervals.py and tests/test_calibration.py.
- Temperature: Guo et al., "On calibration of modern neural networks" (ICML 2017, https://arxiv.org/abs/1706.04599).

Shapes: N images, K classes, B bins, U units.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import Estimate, Units, standard_errors, units_of
from tenfold.metrics.intervals import Metric, share

if TYPE_CHECKING:
    from tenfold.metrics.answers import Answers

MOST_BINS = 15
"""As most papers have; fewer where that would leave fewer than a handful of images in each."""

_CAUTION = 1.5  # standard errors; with 1 the mean loss on toys could grow by 0.002, with 2 half of the gain is lost
_SHARPEST = 20.0  # 1 / temperature stays between 1 / 20 and 20
_PRIOR = 10  # with 5 or 20 the intervals of toys hold as often on average, with 20 less often where models are too sure


def probabilities(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """The softmax of logits / temperature: float64 [N, K], rows that sum to 1."""
    scaled = (logits - logits.max(1, keepdims=True)) / temperature
    power = np.exp(scaled)
    shares: NDArray[np.float64] = power / power.sum(1, keepdims=True)
    return shares


def fit_temperature(
    logits: NDArray[np.float64], truth: NDArray[np.int64], groups: NDArray[np.object_] | None = None
) -> float:
    """What to divide logits by so that held-out probabilities are right: 1 unless the images say otherwise.

    logits  float64 [N, K]
    truth   int64 [N], 0 to K - 1; at least one image
    groups  object [N], as for `tenfold.estimate.units_of`

    Minimizes the log loss in b = 1 / temperature, in which it is convex, plus |b - 1| times 1.5 standard errors of the
    log loss's slope at b = 1. So b stays exactly 1 where the slope is that near to 0, and otherwise gives back as much
    of the way: of 30 images little is believed, of thousands nearly all. Without that penalty the temperature of a
    model that needs none costs 1 / (2 N) in held-out log loss, with it a twentieth of that (benchmarks/calibration.py).
    The standard error is that of Rao's score test, as if the probabilities were right, which 30 right answers in a row
    do not make 0; or that of the slopes found (over groups where there are some), where it is larger. The temperature
    lies between 0.05 and 20.
    Raises UsageError for arguments that are not as said here.
    """
    logits, truth = np.asarray(logits, np.float64), np.asarray(truth, np.int64)
    if logits.ndim != 2 or not len(logits) or truth.shape != logits.shape[:1] or not np.isfinite(logits).all():
        raise UsageError(f"logits must be finite, a row for each of the labels, not {logits.shape} for {truth.shape}.")
    from scipy.optimize import brentq  # not at the top: `tenfold predict` never fits, and this takes half a second

    own = np.take_along_axis(logits, truth[:, None], axis=1)[:, 0]

    def slopes(sharpness: float) -> NDArray[np.float64]:
        """Derivative of each image's log loss by the sharpness, 1 / temperature."""
        found: NDArray[np.float64] = (probabilities(logits, 1 / sharpness) * logits).sum(1) - own
        return found

    units = units_of(groups, len(truth))
    at_one = slopes(1.0)
    pull, weight = float(at_one.sum()), _CAUTION * _slope_error(logits, at_one, units)
    if abs(pull) <= weight:
        return 1.0
    sharper = pull < 0
    penalty = weight if sharper else -weight
    end = _SHARPEST if sharper else 1 / _SHARPEST

    def slope(sharpness: float) -> float:
        return float(slopes(sharpness).sum() + penalty)

    if slope(end) * slope(1.0) > 0:
        return 1 / end
    return 1 / float(brentq(slope, 1.0, end, xtol=1e-12))


def calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.float64], units: Units, level: float = 0.95
) -> Estimate:
    """Root mean square distance of confidence and accuracy, debiased: 0 (calibrated) to 1, with its interval.

    `confidence` float64 [N] is the probability of the predicted class, `right` float64 [N] 1 where it is the label's;
    at least one image. Where chance alone would make the distance found, the value is 0.
    """
    bins = equal_bins(confidence)
    weight = np.array([len(rows) for rows in bins]) / len(right)
    distance, chance, spread = np.array([_bin_moments(confidence, right, rows, units, len(bins)) for rows in bins]).T
    square = max(float(weight @ (distance**2 - chance)), 0.0)
    # The variance of a bin's square is 2 v^2 + 4 d^2 v, where d is the true distance and v its error's variance. Which
    # images are drawn, hence how many of each distance, adds the variance of d^2 between images. `moving` is the second
    # term as a multiple of the mean square: mostly that of the bins whose distances make the square.
    between = float(weight @ (distance**2 - weight @ distance**2) ** 2) / units.count
    still = 2 * float(weight**2 @ spread**2) + between
    moving = 4 * float(weight**2 @ ((distance**2 + spread) * spread)) / float(weight @ (distance**2 + spread))
    z = standard_errors(level, units.df) * math.sqrt(units.overlap)
    middle = square + z * z * moving / 2
    half = math.sqrt(max(middle**2 - square**2, 0.0) + z * z * still)
    low, high = math.sqrt(max(middle - half, 0.0)), math.sqrt(min(middle + half, 1.0))
    value = math.sqrt(square)
    method = f"debiased, {len(bins)} bins {units.words}"
    return Estimate(value, min(low, value), max(high, value), level, len(right), method)


def by_confidence(metric: Metric, answers: Answers, level: float) -> Estimate:
    """`metric.function` is `calibration_error`, or another function of its four arguments."""
    estimate: Estimate = metric.function(*confidences(answers), answers.units, level)
    return estimate


def confidences(answers: Answers) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The probability of the predicted class and 1 where that is right: two float64 [N]."""
    confidence = np.take_along_axis(answers.probability, answers.predicted[:, None], axis=1)[:, 0]
    return confidence, (answers.predicted == answers.truth).astype(np.float64)


def reliability(answers: Answers, level: float) -> list[dict[str, Any]]:
    """The reliability curve: {"confidence": mean in the bin, "accuracy": Estimate} of each bin, rising."""
    confidence, right = confidences(answers)
    return [
        {
            "confidence": float(confidence[rows].mean()),
            "accuracy": share(right[rows], answers.units.take(rows), level),
        }
        for rows in equal_bins(confidence)
    ]


def equal_bins(confidence: NDArray[np.float64]) -> list[NDArray[np.int64]]:
    """The rows of each of B bins with equally many images (within one), from low to high confidence.

    B is about twice the cube root of N, at most MOST_BINS, and no bin has fewer than two images but an only one.
    Images of one confidence are in one bin, and bins then fewer and less equal: cut apart, they would lie in bins by
    their order in the table, which is that of the classes, and so of what is right.
    """
    count = len(confidence)
    bins = max(min(int(2 * count ** (1 / 3)), MOST_BINS, count // 2), 1)
    order = np.argsort(confidence, kind="stable").astype(np.int64)
    cuts = np.cumsum([len(rows) for rows in np.array_split(order, bins)])[:-1]
    sure = confidence[order]
    first, last = (np.searchsorted(sure, sure[cuts], side) for side in ("left", "right"))
    kept = [0]
    for cut in np.where(cuts - first <= last - cuts, first, last).tolist():
        if kept[-1] + 2 <= cut <= count - 2:
            kept.append(cut)
    return np.split(order, kept[1:])


def _bin_moments(
    confidence: NDArray[np.float64],
    right: NDArray[np.float64],
    rows: NDArray[np.int64],
    units: Units,
    bins: int,
) -> tuple[float, float, float]:
    """Mean distance in a bin, and the variance of that mean twice: as found, without bias; and for the interval.

    The latter is shrunk towards a calibrated model's, which counts as that of _PRIOR units (an inverse gamma prior, as
    Smyth 2004, https://doi.org/10.2202/1544-6115.1027), so that ten right answers in a row do not make it 0; and it has
    the bin's share of the added image of tenfold.estimate, half right and half wrong.
    """
    sure, count = confidence[rows], len(rows)
    residual = right[rows] - sure
    mean = float(residual.mean())
    sums = np.bincount(units.index[rows], residual - mean, units.count)
    drawn = len(np.unique(units.index[rows]))
    found = float(sums @ sums) * drawn / max(drawn - 1, 1)
    shrunk = (found * (drawn - 1) + float(sure @ (1 - sure)) * _PRIOR) / (drawn - 1 + _PRIOR)
    # Images of a group err together, of which a calibrated model's variance, that of single ones, knows nothing.
    spread = (max(shrunk, found) if units.grouped else shrunk) + units.extra**2 / bins / 4
    return mean, found / count**2, spread / count**2


def _slope_error(logits: NDArray[np.float64], slopes: NDArray[np.float64], units: Units) -> float:
    """Standard error of the sum of slopes at temperature 1."""
    probability = probabilities(logits)
    mean = (probability * logits).sum(1, keepdims=True)
    expected = float((probability * (logits - mean) ** 2).sum())
    sums = np.bincount(units.index, slopes, units.count)
    return math.sqrt(max(expected, float(sums @ sums)))
