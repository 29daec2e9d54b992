"""Two models on the same images: how far apart they are, and whether that is more than chance.

What is compared is one difference an image, first minus second: of right answers (-1, 0 or 1; a fraction where each
side is the mean over several runs), or of log losses.

- The test is one rule for everything: if the two were equally good, the sign of each group's difference would be a coin
  toss (Fisher, "The design of experiments", 1935, section 21; for classifiers of text Yeh 2000,
  https://aclanthology.org/C00-2137). Sums of whole numbers have their distribution computed exactly, other figures
  have all signs tried up to 2^14, else 20,000 drawn. For right answers of images without groups it is McNemar's exact
  test.
- The interval of a difference of accuracies adds that of its two halves, the images that only the first and that only
  the second model gets right, each a proportion with the interval of tenfold.estimate ("MOVER": Zou and Donner 2008,
  https://doi.org/10.1002/sim.3095; with Wilson's intervals it is Newcombe's of 1998). It has a width even where the two
  never differ. That of log losses is Student's.
- Seeds: each side's runs differ from one another, and their mean has an error that more images would not mend. It is
  added in squares, with Student's t for so few runs. The flipped signs know nothing of seeds, so that sets of runs are
  tested as that interval is made too, and the larger p counts.

Shapes: N images, U units (images or groups), R runs.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import Estimate, Units, mean_moments, score_interval, standard_errors

MOST_SIGNS = 14
"""Units that differ up to which all their signs are tried."""
DRAWS = 20_000
_LEAST = math.log(1e-300)
MOST_CELLS = 50_000_000
"""Steps up to which the exact distribution of a sum of whole numbers is computed: a second."""


class Spread(NamedTuple):
    """The variance of a difference of mean scores, in its two parts."""

    sample: float
    """As other images would be drawn."""
    seed: float
    """As the recipes would be trained anew; 0 for one run a side, which cannot tell."""
    df: float
    """Degrees of freedom of `seed`; infinite where that is 0."""


class SeedVariance(NamedTuple):
    """The variance of the mean of one side's runs by their seeds."""

    own: float
    """0 at least: without what the few images add, on which runs happen to differ."""
    found: float
    """With it."""
    df: float


def sign_flip(differences: NDArray[np.float64], units: Units, seed: int = 0) -> float:
    """The p-value, 0 to 1, of the two-sided sign-flip test of float64 [N] differences, signs flipped by unit."""
    sums = np.bincount(units.index, differences, units.count)
    sums = np.abs(sums[sums != 0])
    found = abs(float(np.bincount(units.index, differences, units.count).sum()))
    if not len(sums):
        return 1.0
    whole = sums.round()
    if np.array_equal(sums, whole) and len(sums) * whole.sum() <= MOST_CELLS:
        return _whole_tail(whole.astype(np.int64), round(found))
    edge = found * (1 - 1e-9)  # what differs by rounding alone is as extreme
    if len(sums) <= MOST_SIGNS:
        signs = 1 - 2 * (np.arange(2 ** len(sums))[:, None] >> np.arange(len(sums)) & 1)
        return float(np.mean(np.abs(signs @ sums) >= edge))
    rng = np.random.default_rng(seed)
    extreme = sum(
        int(np.sum(np.abs((1 - 2 * rng.integers(0, 2, (100, len(sums)), np.int8)) @ sums) >= edge))
        for _ in range(DRAWS // 100)
    )
    return (1 + extreme) / (1 + DRAWS)


def spread_test(difference: float, spread: Spread, units: Units) -> float:
    """The p-value of a two-sided test of a difference of mean scores that knows the seeds too.

    It is the level at which the interval that adds both in squares, each with Student's t of its own, ends at zero. One
    t on the sum of both variances, by Satterthwaite, told equally good recipes of two runs apart in 8 to 10 % of cases:
    where the runs happen to be alike, it takes the degrees of freedom of the images.
    """
    from scipy.optimize import brentq
    from scipy.special import stdtrit

    parts = [(spread.sample, _freedom(units)), (spread.seed, spread.df)]

    def beyond(log_p: float) -> float:
        reach = (-stdtrit(df, math.exp(log_p) / 2) * math.sqrt(variance) for variance, df in parts if variance)
        return math.hypot(*reach) - abs(difference)

    if not difference:
        return 1.0
    return math.exp(brentq(beyond, _LEAST, 0.0)) if beyond(_LEAST) > 0 else 0.0


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test: images that only one of the two gets right, 0 or more each."""
    from scipy.stats import binomtest

    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def hits_interval(
    differences: NDArray[np.float64], units: Units, spread: Spread, level: float = 0.95
) -> tuple[float, float]:
    """The interval of a difference of accuracies, -1 to 1: (low, high), never of zero width.

    `differences` float64 [N] lie from -1 to 1, see the top of this file.
    """
    halves = [np.maximum(differences, 0.0), np.maximum(-differences, 0.0)]
    one, zero = np.ones(1), np.zeros(1)
    first, second = (
        (half.mean(), *score_interval(half.mean(), *mean_moments(half, units, one, zero), units, level))
        for half in halves
    )
    # An image cannot be in both halves, so they lean against each other; over groups as it is found.
    sums = [np.bincount(units.index, half, units.count).astype(np.float64) for half in halves]
    alike = _correlation(sums[0], sums[1])
    below = _added(first[0] - first[1], second[2] - second[0], alike)
    above = _added(first[2] - first[0], second[0] - second[1], alike)
    reach = seed_reach(spread, level)
    value = float(differences.mean())
    return max(value - math.hypot(below, reach), -1.0), min(value + math.hypot(above, reach), 1.0)


def loss_interval(
    differences: NDArray[np.float64], units: Units, spread: Spread, level: float = 0.95
) -> tuple[float, float]:
    """The interval of a difference of mean losses from float64 [N], not all of them 0: (low, high)."""
    half = standard_errors(level, _freedom(units)) * math.sqrt(spread.sample)
    reach = math.hypot(half, seed_reach(spread, level))
    value = float(differences.mean())
    return value - reach, value + reach


def split_variance(first: NDArray[np.float64], second: NDArray[np.float64], units: Units) -> Spread:
    """The variance of the difference of two sides' mean scores, by images and by seeds.

    `first` and `second` are float64 [R, N], a row a run, R at least 1 on each side. The variance between a side's runs
    holds that of the few images too, on which runs happen to differ; it is taken off (random effects of two crossed
    factors, images and runs), and what is left is 0 at least. Raises UsageError where one side alone has one run.
    """
    if (len(first) == 1) != (len(second) == 1):
        raise UsageError("Sets of runs need at least two runs on each side, so that each shows how its seeds differ.")
    differences = first.mean(0) - second.mean(0)
    sample = _mean_variance(differences, units)
    if len(first) == 1:
        return Spread(sample, 0.0, math.inf)
    seeds = [seed_variance(side, units) for side in (first, second)]
    # Satterthwaite's degrees of freedom, of the variances as they were found.
    bottom = sum(one.found**2 / one.df for one in seeds)
    df = sum(one.found for one in seeds) ** 2 / bottom if bottom else math.inf
    seed = sum(one.own for one in seeds)
    return Spread(sample, seed, df if seed else math.inf)


def seed_variance(scores: NDArray[np.float64], units: Units) -> SeedVariance:
    """How the mean over a side's runs varies by their seeds: `scores` float64 [R, N], R at least 2."""
    runs = len(scores)
    between = float(scores.mean(1).var(ddof=1))
    by_chance = float(np.mean([_mean_variance(row - scores.mean(0), units) for row in scores])) * runs / (runs - 1)
    return SeedVariance(max(between - by_chance, 0.0) / runs, between / runs, runs - 1)


def seed_reach(spread: Spread, level: float = 0.95) -> float:
    """How far the seeds alone make an interval reach to each side."""
    if not spread.seed:
        return 0.0
    from scipy.special import stdtrit

    return float(stdtrit(spread.df, (1 + level) / 2)) * math.sqrt(spread.seed)


def over_seeds(figure: Estimate, scores: NDArray[np.float64], units: Units, span: tuple[float, float]) -> Estimate:
    """The mean over several runs, of scores float64 [R, N], with what their seeds add to its interval within `span`."""
    seeds = seed_variance(scores, units)
    reach = seed_reach(Spread(0.0, seeds.own, seeds.df), figure.level)
    low = max(figure.value - math.hypot(figure.value - figure.low, reach), span[0])
    high = min(figure.value + math.hypot(figure.high - figure.value, reach), span[1])
    return replace(figure, low=low, high=high, method=f"mean of {len(scores)} runs, {figure.method} and seeds")


def _whole_tail(sums: NDArray[np.int64], found: int) -> float:
    """P(|sum of +-sums| >= found), by convolution."""
    total = int(sums.sum())
    chance = np.zeros(2 * total + 1)
    chance[total] = 1.0
    for step in sums:
        chance = (np.roll(chance, step) + np.roll(chance, -step)) / 2
    reached = np.abs(np.arange(-total, total + 1)) >= found
    return float(min(chance[reached].sum(), 1.0))


def _mean_variance(scores: NDArray[np.float64], units: Units) -> float:
    """The variance of the mean of float64 [N] over units drawn anew; a single one is taken as exponential."""
    if units.count < 2:
        return float(scores.mean()) ** 2
    sums = np.bincount(units.index, scores - scores.mean(), units.count)
    return float((sums**2).sum()) / len(scores) ** 2 * units.count / (units.count - 1)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Of two float64 [U]; 0 where one of them does not vary."""
    a, b = one - one.mean(), other - other.mean()
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0


def _added(one: float, other: float, correlation: float) -> float:
    """How far a difference reaches whose two terms reach so far."""
    return math.sqrt(max(one * one + other * other - 2 * correlation * one * other, 0.0))


def _freedom(units: Units) -> float:
    """Degrees of freedom of a variance between images or groups."""
    return units.df or max(units.count - 1, 1)
