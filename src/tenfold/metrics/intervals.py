"""How each kind of metric gets its interval; what they share is in tenfold.estimate.

    proportion      a mean of zeros and ones         Wilson
    mean            a mean of any score an image     bootstrap, whose variance for a mean has a closed form
    counted         a function of counts a class     bootstrap, all resamples in one call
    area            an area with its influences      jackknife (for the ROC area DeLong's), Student's t by Welch
    resampled       any other function               bootstrap, one call a resample, percentiles

All but the last are Wilson's interval with the effective number of images, after several looks at the images Clopper
and Pearson's, which then is exact for proportions of independent images alone; benchmarks/intervals.py says how often
each kind holds the truth. Percentiles would be too narrow near 1: of 30 images with a ROC area of 0.99 most resamples
are perfect, and they contain the truth in 60 of 100 cases. They are left to functions of which not even the range is
known.

Shapes: N images, K classes, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import Estimate, Units, freedom, mean_moments, score_interval, trials_interval
from tenfold.metrics.answers import Answers
from tenfold.metrics.ranking import Area

IN_TAIL = 10
"""Resamples beyond each percentile; of a level that leaves fewer, the ends are stretched as a normal curve's."""


class Undefined(Exception):
    """The figure is not defined on these images; the text says why, as the rest of a sentence."""


def resampled(metric: Metric, answers: Answers, level: float) -> Estimate:
    """`metric.function` is (truth int64 [N], probability float64 [N, K], predicted int64 [N]) -> float."""
    value = _defined(metric, metric.function(answers.truth, answers.probability, answers.predicted))
    found = np.array([metric.function(*drawn) for drawn in _drawn(answers)], np.float64)
    found = found[np.isfinite(found)]
    shown = min(level, 1 - 2 * IN_TAIL / answers.draws)
    low, high = np.quantile(found, [(1 - shown) / 2, (1 + shown) / 2]) if len(found) else (value, value)
    stretch = NormalDist().inv_cdf((1 + level) / 2) / NormalDist().inv_cdf((1 + shown) / 2)
    stretch *= math.sqrt(answers.units.overlap)
    low, high = (value + stretch * (float(end) - value) for end in (min(low, value), max(high, value)))
    if not low < high:
        raise Undefined("is the same whichever of these images are drawn, so that no interval can be given")
    return Estimate(value, low, high, level, len(answers.truth), f"bootstrap {answers.units.words}, percentiles")


@dataclass(frozen=True)
class Metric:
    """A figure of merit: a line of METRICS."""

    function: Callable[..., Any]
    """What `interval` calls, with the arguments that it says."""
    interval: Callable[[Metric, Answers, float], Estimate] = resampled
    """(metric, answers, level) -> Estimate: one of the functions of this file."""
    span: tuple[float, float] = (0.0, 1.0)
    """Lowest and highest possible value (`resampled` does without)."""
    needs: str = "is not a finite number on these images"
    """Why the figure may be undefined (NaN), as the rest of a sentence."""


def proportion(metric: Metric, answers: Answers, level: float) -> Estimate:
    """`metric.function` is (truth, probability, predicted) -> zeros and ones, float64 [N]."""
    return share(metric.function(answers.truth, answers.probability, answers.predicted), answers.units, level)


def top_proportion(metric: Metric, answers: Answers, level: float) -> Estimate:
    """`metric.function` is (truth, probability, k) -> zeros and ones, float64 [N]."""
    if answers.top_k >= answers.classes:
        raise Undefined(f"needs more than {answers.top_k} classes")
    return share(metric.function(answers.truth, answers.probability, answers.top_k), answers.units, level)


def mean(metric: Metric, answers: Answers, level: float) -> Estimate:
    """`metric.function` is (truth, probability, predicted) -> one score an image, float64 [N]."""
    scores, right, wrong = (
        metric.function(labels, answers.probability, answers.predicted)
        for labels in (answers.truth, answers.predicted, answers.second)
    )
    _defined(metric, scores.mean())
    doubt = 1 - np.take_along_axis(answers.probability, answers.predicted[:, None], axis=1)[:, 0]
    return mean_estimate(scores, right, wrong, doubt, answers.units, level, metric.span)


def counted(metric: Metric, answers: Answers, level: float) -> Estimate:
    """`metric.function` is (hits, truth, predicted), each float64 [..., K] -> float64 [...]; see confusion.py."""
    value = _defined(metric, metric.function(*answers.counts))
    found = metric.function(*answers.resampled_counts)
    found = found[np.isfinite(found)]
    low, high = score_interval(value, found.mean(), found.var(), answers.units, level, metric.span)
    return Estimate(value, low, high, level, len(answers.truth), f"bootstrap {answers.units.words}")


def area(metric: Metric, answers: Answers, level: float) -> Estimate:
    """`metric.function` is (Ranked) -> Area, see ranking.py: of the positive class, else the mean over the classes.

    The mean is over the classes of which there are images, each against all the others, each with the same weight.
    """
    wanted = range(answers.classes) if answers.positive is None else (answers.positive,)
    orders = (answers.ranked(place) for place in wanted)
    areas: list[Area] = [metric.function(order) for order in orders if order]
    if not areas:
        raise Undefined(metric.needs)
    influence = sum((found.influence for found in areas), np.zeros(len(answers.truth))) / len(areas)
    # Proportions of so many trials each, were they independent, would have a mean that varies as one of:
    trials = len(areas) ** 2 / sum(1 / found.trials for found in areas)
    value = sum(found.value for found in areas) / len(areas)
    strata = areas[0].strata if len(areas) == 1 else answers.truth
    rough = any(found.rough for found in areas)
    return area_estimate(Area(value, influence, trials, strata, rough), answers.units, level)


def area_estimate(found: Area, units: Units, level: float) -> Estimate:
    """An area with Wilson's interval for the number of images at which a proportion would vary as much."""
    sums = np.bincount(units.index, found.influence, units.count)
    variance = float(np.sum(sums**2)) * units.count / max(units.count - 1, 1)
    # The added image of tenfold.estimate, half right and half wrong, as if the area were a proportion of the trials.
    times, rough = units.added(level), units.exact and found.rough
    trials = found.trials / 2 if rough else found.trials
    total = trials + times * units.extra
    mean = (trials * found.value + times * units.extra / 2) / total
    added = times * units.extra**2 * (mean**2 + (1 - mean) ** 2) / 2
    variance = (variance * trials**2 + added) / total**2
    effective = mean * (1 - mean) / variance
    low, high = trials_interval(found.value * effective, effective, units, level, _freedom(found, units, mean))
    method = f"jackknife {units.words}" + (", approximate" if rough else "")
    return Estimate(found.value, low, high, level, len(found.influence), method)


def mean_estimate(
    scores: NDArray[np.float64],
    right: NDArray[np.float64],
    wrong: NDArray[np.float64],
    doubt: NDArray[np.float64],
    units: Units,
    level: float,
    span: tuple[float, float],
) -> Estimate:
    """The mean of `scores` float64 [N], each in `span`, with its interval.

    `right` and `wrong`, float64 [N], are the scores that the images would have were their answer right and were it
    wrong, `doubt` float64 [N] the probability of the latter by the model's own word.
    """
    value = float(scores.mean())
    moments = mean_moments(scores, units, right, wrong, _chances(doubt, units), units.added(level))
    low, high = score_interval(value, *moments, units, level, span)
    return Estimate(value, low, high, level, len(scores), f"bootstrap {units.words}")


def share(hits: NDArray[np.float64], units: Units, level: float) -> Estimate:
    """The proportion of ones among zeros and ones, float64 [N], N > 0, with Wilson's interval."""
    right, wrong = np.ones(1), np.zeros(1)
    value = float(hits.mean())
    low, high = score_interval(value, *mean_moments(hits, units, right, wrong), units, level)
    name = "Clopper-Pearson" if units.exact else "Wilson"
    return Estimate(value, low, high, level, len(hits), f"{name} {units.words}")


def _freedom(found: Area, units: Units, mean: float) -> float:
    """Degrees of freedom of an area's variance, by Welch and Satterthwaite from what each stratum adds to it.

    A few units may happen to differ in nothing, so that each stratum's variance has that of one more unit added, as if
    the area were a proportion: one of two units counts as hardly known, and among hundreds it changes nothing.
    """
    variances, freedoms = [], []
    for name in np.unique(found.strata):
        rows = found.strata == name
        sums = np.bincount(units.index[rows], found.influence[rows], units.count)
        count = len(np.unique(units.index[rows]))
        variances.append(float(sums @ sums) + mean * (1 - mean) / count**2)
        freedoms.append(freedom(units.index[rows]))
    return sum(variances) ** 2 / sum(each**2 / free for each, free in zip(variances, freedoms, strict=True))


def _chances(doubt: NDArray[np.float64], units: Units) -> NDArray[np.float64] | None:
    """How likely each image's answer is to be the wrong one of the added image: float64 [N], sum 1, or all equally.

    In one half of the cases it is any image's, in the other one as the model's own doubts have it. With any image's
    alone the log loss of a good model would be dominated by mistakes that it is surest not to make, and intervals be
    too wide; with the doubts alone a model that is too sure would be believed: twice as sure as is right, 83 % of its
    intervals of 30 images held the truth at an accuracy of 90 %. After several looks it is any image's, to be safe.
    """
    if units.exact or not doubt.sum() > 0:
        return None
    chances: NDArray[np.float64] = (1 / len(doubt) + doubt / doubt.sum()) / 2
    return chances


def _defined(metric: Metric, value: float) -> float:
    if not math.isfinite(value):
        raise Undefined(metric.needs)
    return float(value)


def _drawn(answers: Answers) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]]:
    """The arguments of a plain metric, resample by resample."""
    times = round(answers.units.extra)
    for weights, added, labels in answers.resampled():
        rows = np.concatenate([np.repeat(np.arange(len(weights)), weights), np.repeat(added, times)])
        truth = np.concatenate([np.repeat(answers.truth, weights), np.repeat(labels, times)])
        yield truth, answers.probability[rows], answers.predicted[rows]
