"""A figure with its interval: no bare accuracy is ever shown.

All intervals here are Wilson's score interval, or that interval carried over to other figures by asking how many
independent images would be as informative as those at hand:

- A proportion of independent images: Wilson (1927), https://doi.org/10.1080/01621459.1927.10502953.
- Images in groups (patients, plants, cameras) say less than as many independent ones. Their effective number comes
  from the variance between groups, with Student's t for few groups: Korn and Graubard, "Confidence intervals for
  proportions with small expected number of positive counts", Survey Methodology 24 (1998); compared by Saha, Miller
  and Wang (2016), https://doi.org/10.1515/ijb-2015-0024. Where a few large groups make up most of the images, these
  alone say how groups differ, so the degrees of freedom are those of Kish's effective number of groups, N^2 over the
  sum of squared sizes, less one ("Survey sampling", 1965). One or two groups show nothing of how groups differ: where
  all images are of so few, these are counted singly, the method says so, and the interval speaks of those groups only.
  A class that has images of one or two among many groups is still said of other groups too, so that it is counted by
  them, and its interval, at one degree of freedom, says hardly anything.
- Any other figure with a range: the effective number n for which a proportion at the same place in that range would
  vary as much as the figure does, value (1 - value) / n = variance. Where the range is open above (log loss) the
  variance grows in proportion to the figure, which is the limit of the same formula.
- A variance of zero says only that there are too few images. So each variance is that of the images at hand and one
  more, half of it a right answer and half a wrong one (Jeffreys' prior: Brown, Cai and DasGupta, "Interval estimation
  for a binomial proportion", 2001, https://doi.org/10.1214/ss/1009213286). For a proportion of independent images
  this changes nothing: the effective number stays the number of images exactly. Between groups of m images the added
  one counts sqrt(m) times: one image would say that groups do not differ, a whole group that they differ wholly.
- Answers of several models whose training sets overlap (cross-validation) vary more than those of one model to as many
  images: by `Units.overlap`, a multiple of every variance, which tenfold.evaluate.folds derives.
- What is rare says little, however many images there are: a variance that rests on three images of a class, or on
  three groups with such images, is as good as unknown. Where a figure's parts can be told apart (areas), Student's t
  has the degrees of freedom of Welch (1947, https://doi.org/10.1093/biomet/34.1-2.28) and Satterthwaite (1946).
- Of several looks at the same images, by k models, the luckiest is remembered. So that all k intervals hold together,
  each is made for 1 - (1 - level) / k (Bonferroni; Dunn 1961, https://doi.org/10.1080/01621459.1961.10482090). So far
  out in the tails score intervals are too short; there the exact interval takes their place: Clopper and Pearson
  (1934, https://doi.org/10.1093/biomet/26.4.404), with the effective number of images as Korn and Graubard do, and
  where the range is open above its limit, Garwood's for a Poisson count (1936, https://doi.org/10.2307/2333958). Exact
  it is for proportions of independent images. Of any other figure the variance is estimated, and the luckiest model is
  one whose variance came out small too; against that the added image counts quantile^2 / 1.96^2 times, as the z^2 of
  Agresti and Coull (1998, https://doi.org/10.2307/2685469) grows with the level. How often that holds is simulated in
  benchmarks/intervals.py. What no interval covers is a model made because of what an earlier look showed (adaptive
  re-use: Dwork et al. 2015, https://doi.org/10.1126/science.aaa9375).

Shapes: N images, U units (images or groups).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError

FEWEST_GROUPS = 10
"""With fewer groups than this, intervals hold the truth but are so wide that more groups should be advised."""
COUNTED_BY = 3
"""The fewest groups that an interval counts by: of two it could only say that nothing can be told."""

RESAMPLES = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure, the interval that holds its true value at `level`, how it was found and on how many images."""

    value: float
    low: float
    high: float
    level: float
    n: int
    method: str

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def to_json(self) -> dict[str, float | int | str]:
        """`{"value", "low", "high", "level", "n", "method"}`: the form of every figure in JSON."""
        return asdict(self)


class Noun(NamedTuple):
    """What a unit of several images is called."""

    one: str
    many: str
    single: str = "images"
    """What they are made of, and what is counted where there are too few of them."""


GROUP, CLASS, IDENTITY = Noun("group", "groups"), Noun("class", "classes"), Noun("identity", "identities")


@dataclass(frozen=True)
class Units:
    """What is drawn independently: the images themselves, or groups of them."""

    index: NDArray[np.int64]
    """The unit of each image: int64 [N], every number from 0 to `count` - 1 at least once."""
    count: int
    grouped: bool
    words: str
    """"over images", "over 23 groups", "over 23 classes": the end of every method."""
    exact: bool = False
    """Intervals are exact ones, not score intervals: for the levels that several looks need."""
    overlap: float = 1.0
    """What every variance is multiplied by: above 1 where several models with overlapping training sets answered."""
    noun: Noun = GROUP
    """What a unit is, where it is no image."""

    @property
    def extra(self) -> float:
        """How many images the added half-right, half-wrong one counts for: the root of the mean size of a unit."""
        return math.sqrt(len(self.index) / self.count)

    def added(self, level: float) -> float:
        """How often the added image counts: once, and more often at the levels that several looks need."""
        return (standard_errors(level, None) / standard_errors(0.95, None)) ** 2 if self.exact else 1.0

    @property
    def df(self) -> float | None:
        """Degrees of freedom for Student's t; None, which is the normal distribution, where units are images."""
        return freedom(self.index) if self.grouped else None

    def take(self, rows: NDArray[np.int64]) -> Units:
        """The units of some of the images (at least one): groups, however few, where all the images are in groups."""
        found = _numbered(self.index[rows], self.exact, self.overlap, self.noun, fewest=1)
        return found if self.grouped else replace(found, words=self.words)


def units_of(
    groups: NDArray[np.object_] | None, count: int, exact: bool = False, overlap: float = 1.0, noun: Noun = GROUP
) -> Units:
    """The units of `count` images: groups where there are at least COUNTED_BY and two images share one, else images.

    `groups` is object [N]: equal values are one group, None and NaN an image that is a group of its own; `noun` says
    what these groups are.
    """
    if groups is not None and len(groups) != count:
        raise UsageError(f"groups must have one value for each of the {count} images, not {len(groups)}.")
    place: dict[object, int] = {}
    names = [None] * count if groups is None else groups.tolist()
    alone = [name is None or name != name for name in names]
    keys = [("alone", row) if alone[row] else ("group", name) for row, name in enumerate(names)]
    return _numbered(np.array([place.setdefault(key, len(place)) for key in keys], np.int64), exact, overlap, noun)


def freedom(index: NDArray[np.int64]) -> float:
    """Degrees of freedom, at least 1, of a variance between units, from the unit of each image, int64 [N].

    One less than Kish's effective number of units, which is their number where all have equally many images.
    """
    sizes = np.unique(index, return_counts=True)[1]
    return max(float(sizes.sum()) ** 2 / float(sizes @ sizes) - 1, 1.0)


def wilson(successes: float, n: float, level: float = 0.95, df: float | None = None) -> tuple[float, float]:
    """Wilson's score interval for a proportion: (low, high), 0 <= low < high <= 1.

    `n` > 0 trials, of which 0 <= `successes` <= `n`; neither has to be whole. With `df`, Student's t takes the place
    of the normal distribution. Raises UsageError for numbers outside these ranges.
    """
    _check_trials("wilson", successes, n)
    z = standard_errors(level, df)
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # Rounding must not push an end past the proportion itself, nor out of the range.
    return max(min(center - half, share), 0.0), min(max(center + half, share), 1.0)


def clopper_pearson(successes: float, n: float, level: float = 0.95, df: float | None = None) -> tuple[float, float]:
    """The exact interval for a proportion: (low, high), 0 <= low < high <= 1; arguments as for `wilson`.

    It holds the truth at least so often as `level` says, for every number of trials. With `df` there are fewer trials,
    by the ratio that Student's t would widen a symmetric interval by (Korn and Graubard).
    """
    from scipy.special import betaincinv  # half a second to import, and most parts have one look

    _check_trials("clopper_pearson", successes, n)
    shrink = (standard_errors(level, None) / standard_errors(level, df)) ** 2
    successes, failures, tail = successes * shrink, (n - successes) * shrink, (1 - level) / 2
    low = float(betaincinv(successes, failures + 1, tail)) if successes > 0 else 0.0
    # From the other end, as 1 - tail would lose the digits of a small tail.
    high = 1 - float(betaincinv(failures, successes + 1, tail)) if failures > 0 else 1.0
    return low, high


def trials_interval(
    successes: float, n: float, units: Units, level: float = 0.95, df: float | None = None
) -> tuple[float, float]:
    """The interval for a proportion that varies as one of `n` images does: (low, high), exact where units are so.

    `df` are the degrees of freedom of its variance, where there are fewer than the units have.
    """
    interval = clopper_pearson if units.exact else wilson
    known = [degrees for degrees in (df, units.df) if degrees is not None]
    right = min(max(successes, 0.0), n)
    return interval(right / units.overlap, n / units.overlap, level, min(known, default=None))


def level_of_each(level: float, looks: int) -> float:
    """At what level each of `looks` intervals has to be made for all of them to hold together at `level`."""
    check_level(level)
    if looks < 1:
        raise UsageError(f"looks must be at least 1, not {looks}.")
    return 1 - (1 - level) / looks


def score_interval(
    value: float,
    mean: float,
    variance: float,
    units: Units,
    level: float = 0.95,
    span: tuple[float, float] = (0.0, 1.0),
) -> tuple[float, float]:
    """Wilson's interval for any figure in `span` (its upper end may be infinite): (low, high), never of zero width.

    Where `units.exact`, Clopper and Pearson's takes its place, of the effective number of images, and Garwood's.

    `mean` and `variance` are the figure's, with the added image (see the top of this file); `value` without it.
    Where the variance is zero even so, the largest one takes its place that U images can have at that mean (Bhatia
    and Davis 2000, https://doi.org/10.2307/2589180), or that of an exponential distribution if the span is infinite.
    """
    bottom, top = span
    place = min(max(mean, bottom), top) - bottom
    if math.isinf(top):
        spread = units.overlap * (variance / place if variance > 1e-12 * place**2 else place / units.count)
        low, high = (_garwood if units.exact else _open_wilson)(value - bottom, spread, level, units.df)
        return bottom + low, bottom + high
    width = top - bottom
    largest = place * (width - place)
    effective = largest / variance if variance > 1e-12 * largest > 0 else float(units.count)
    low, high = trials_interval((value - bottom) / width * effective, effective, units, level)
    return bottom + width * low, bottom + width * high


def mean_moments(
    scores: NDArray[np.float64],
    units: Units,
    right: NDArray[np.float64],
    wrong: NDArray[np.float64],
    chance: NDArray[np.float64] | None = None,
    added: float = 1.0,
) -> tuple[float, float]:
    """Mean and variance of the mean of `scores` float64 [N] over units drawn anew, with the added image.

    `right` and `wrong` hold the scores that the added image may have, any number of each, all equally likely unless
    `chance` says how likely each of the wrong ones is (sum 1). It counts `added` times. This is what infinitely many
    bootstrap resamples would give.
    """
    chance = np.full(len(wrong), 1 / len(wrong)) if chance is None else chance
    sums = np.bincount(units.index, scores, units.count)
    sizes = np.bincount(units.index, minlength=units.count)
    total = len(scores) + added * units.extra
    mean = (scores.sum() + added * units.extra * (right.mean() + chance @ wrong) / 2) / total
    square = (np.mean((right - mean) ** 2) + chance @ (wrong - mean) ** 2) / 2
    squares = np.sum((sums - mean * sizes) ** 2) + added * units.extra**2 * square
    return float(mean), float(squares / total**2 * (units.count + added) / units.count)


def resamples(units: Units, seed: int = 0, count: int = RESAMPLES) -> Iterator[tuple[NDArray[np.int64], int]]:
    """`count` bootstrap resamples of U draws from U units and the added one: (weights, added) each.

    `weights` is int64 [N], how often each image is in; `added` how often the added image was drawn (once on average).
    Efron (1979), https://doi.org/10.1214/aos/1176344552; groups are drawn as wholes.
    """
    rng = np.random.default_rng(seed)
    for _ in range(count):
        drawn = np.bincount(rng.integers(0, units.count + 1, units.count), minlength=units.count + 1)
        yield drawn[units.index], int(drawn[-1])


def level_percent(level: float) -> str:
    """A level in percent, rounded down, as no interval has more than it says; with as many decimals as 100 needs.

    >>> level_percent(0.95), level_percent(1 - 0.05 / 3), level_percent(1 - 0.05 / 500)
    ('95', '98.3', '99.99')
    """
    decimals = max(1, math.ceil(-math.log10(100 * (1 - level))))
    return f"{math.floor(100 * level * 10**decimals + 1e-6) / 10**decimals:.{decimals}f}".rstrip("0").rstrip(".")


def check_level(level: float) -> None:
    """Raise UsageError unless `level` is a confidence level."""
    if not 0 < level < 1:
        raise UsageError(f"level must lie between 0 and 1, for example 0.95, not {level:g}.")


def to_json(value: Any, name: str = "the value") -> Any:
    """Nested dicts and lists as JSON values: an Estimate becomes a dict, NumPy's scalars and arrays Python's.

    Raises UsageError where a number is NaN or infinite, or for what JSON cannot hold; `name` is its place in words.
    """
    if isinstance(value, Estimate):
        return to_json(value.to_json(), name)
    if isinstance(value, dict):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise UsageError(f"{name} must have keys that are text to be written as JSON, not {wrong[0]!r}.")
        return {key: to_json(item, f"{name}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item, f"{name}[{place}]") for place, item in enumerate(value)]
    if isinstance(value, np.ndarray | np.generic):
        return to_json(value.tolist(), name)
    if isinstance(value, float) and not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number to be written as JSON, not {value}; leave it out instead.")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UsageError(f"{name} must be a number, a text, a list, a dict or an Estimate, not {type(value).__name__}.")


def from_json(value: Any) -> Any:
    """What `to_json` was given, with lists for tuples and arrays: each dict of an Estimate's six keys becomes one."""
    if isinstance(value, dict):
        if value.keys() == {field.name for field in fields(Estimate)}:
            return Estimate(**value)
        return {key: from_json(item) for key, item in value.items()}
    return [from_json(item) for item in value] if isinstance(value, list) else value


def _numbered(names: NDArray[np.int64], exact: bool, overlap: float, noun: Noun, fewest: int = COUNTED_BY) -> Units:
    """Units from a number for each image, equal where images belong together."""
    kept, index = np.unique(names, return_inverse=True)
    count = len(kept)
    if count == len(names):
        return Units(index.astype(np.int64), count, False, f"over {noun.single}", exact, overlap, noun)
    if count < fewest:
        few = f"{count} {f'{noun.many} are' if count > 1 else f'{noun.one} is'} too few to count by"
        return Units(np.arange(len(names)), len(names), False, f"over {noun.single} ({few})", exact, overlap, noun)
    words = f"over {count} {noun.many if count > 1 else noun.one}"
    return Units(index.astype(np.int64), count, True, words, exact, overlap, noun)


def _open_wilson(value: float, spread: float, level: float, df: float | None) -> tuple[float, float]:
    """The limit of `wilson` where the range is open above: the variance is `value` times `spread`."""
    z = standard_errors(level, df)
    shift = z * z * spread / 2
    half = z * math.sqrt(spread * value + z * z * spread**2 / 4)
    return max(value + min(shift - half, 0.0), 0.0), value + shift + half


def _garwood(value: float, spread: float, level: float, df: float | None) -> tuple[float, float]:
    """The limit of `clopper_pearson`: `value` is a count of Poisson times `spread`."""
    from scipy.special import gammainccinv, gammaincinv

    spread *= (standard_errors(level, df) / standard_errors(level, None)) ** 2
    count, tail = value / spread, (1 - level) / 2
    low = float(gammaincinv(count, tail)) if count > 0 else 0.0
    return spread * low, spread * float(gammainccinv(count + 1, tail))


def _check_trials(name: str, successes: float, n: float) -> None:
    if not (0 < n < math.inf and 0 <= successes <= n):
        raise UsageError(f"{name} needs 0 <= successes <= n and n > 0, not {successes:g} of {n:g}.")


def standard_errors(level: float, df: float | None) -> float:
    """How many standard errors an interval at `level` reaches to each side."""
    check_level(level)
    upper = (1 + level) / 2
    if df is None:
        return NormalDist().inv_cdf(upper)
    from scipy.special import stdtrit  # half a second to import, and few parts have groups

    return float(stdtrit(df, upper))
