"""Open set: who of those enrolled is it, or none of them (identification); are these two the same one (verification)?

Error rates are those of ISO/IEC 19795-1:2021 as NIST counts them (Face Recognition Vendor Test, part 1: Verification,
https://pages.nist.gov/frvt/html/frvt11.html; part 2: Identification, https://doi.org/10.6028/NIST.IR.8271), under the
names of Phillips, Grother and Micheals ("Evaluation methods in face recognition", Handbook of face recognition, 2011):

- Scores are similarities. One at or above the threshold is accepted (ISO leaves equality open, NIST accepts it).
- Identification: a probe is searched for among all identities that are enrolled. Detection and identification rate,
  DIR: of the probes whose identity is enrolled (mated), those for which it ranks first and is accepted; 1 - DIR is
  ISO's FNIR at rank 1. False alarm rate, FAR: of strangers' probes, those for which any identity is accepted; ISO's
  FPIR. Rank-1: of the mated probes, those for which their identity ranks first, whatever its score. An identity that
  another equals does not rank first, as a rank counts all that score at least as high.
- Verification: FMR is the share of impostor comparisons (of two identities) that are accepted, FNMR that of genuine
  comparisons (of one identity) that are not.
- All are rates of comparisons: what could not be read has no score and is in none of them.

DIR and FNMR are measured at a threshold, and intervals are those of the threshold as it stands, by identity.
`threshold_at` is the convention of benchmarks: the threshold at which a rate is kept on the very scores that are
judged. `fit_threshold` is for those who are yet to come. What is drawn are strangers, as images of one are alike, and
the next one is equally likely to have any place among the G that were seen. So where the shares of images that each of
them has above a threshold add up to rate x (G + 1) - 1 at most, an image of the next one is accepted with that rate at
most (Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023,
https://arxiv.org/abs/2306.06342; with one image each it is the rank among n + 1 of Wilks 1941,
https://doi.org/10.1214/aoms/1177731788). G strangers support 1 / (G + 1) at best.
That is so on the average over those who were seen; `sure_threshold` keeps a rate at a level, as its interval says: at
95 % in 88 to 100 of 100 simulated sets (5 strangers of 40 images to 40 of 5, of whose scores' variance up to 60 % was
between them; tests/test_open_set.py has some of them).

An impostor comparison belongs to two identities, either of which may be one that others are often taken for. So the
variance of FMR is the jackknife's, which leaves out an identity with all its comparisons at a time; it is never too
small on the average (Efron and Stein 1981, https://doi.org/10.1214/aos/1176345462). From it follows the effective
number of comparisons of Wilson's interval, as Fogliato, Patil and Perona advise (2023,
https://arxiv.org/abs/2306.01198), who find it to hold where others fail; and as few identities may have most of the
false matches, Student's t has the degrees of freedom that the fourth power of each identity's part says. Where each of
the two identities of a comparison is behind a sixth of the variance of its score, it held the truth in 89 or more of
100 simulated sets (5 to 100 identities, rates of 0.1 to 10 %; tests/test_open_set.py has some of them); where behind a
third, in 86 or more. All else is as tenfold.estimate says.

Shapes: N probes or images, G identities enrolled, P comparisons, U identities that were compared.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import COUNTED_BY, IDENTITY, Estimate, Noun, Units, trials_interval, units_of
from tenfold.metrics.intervals import share

MOST_PEOPLE = 10_000
"""People up to whom `people_needed` counts."""
_ROUNDING = 1e-9  # 0.29 x 100 is a little less than 29 in binary, and so are sums of thirds


class Search(NamedTuple):
    """What searches for N probes gave."""

    best: NDArray[np.float64]
    """float64 [N]: the highest score of any identity."""
    first: NDArray[np.bool_]
    """bool [N]: whether the probe's own identity has it, and no other; False for strangers."""
    mated: NDArray[np.bool_]
    """bool [N]: whether the probe's own identity is enrolled."""


class Comparisons(NamedTuple):
    """P comparisons of two images, or of an image and an identity; or P searches for strangers, on both sides."""

    score: NDArray[np.float64]
    """float64 [P]."""
    first: NDArray[np.int64]
    """int64 [P]: the identity on one side; comparisons of one identity are genuine."""
    second: NDArray[np.int64]
    """int64 [P]: the identity on the other side."""

    def take(self, rows: NDArray[np.bool_]) -> Comparisons:
        """Those that are true in bool [P]."""
        return Comparisons(self.score[rows], self.first[rows], self.second[rows])

    @property
    def impostors(self) -> Comparisons:
        """The comparisons of two identities."""
        return self.take(self.first != self.second)

    def pairs(self) -> NDArray[np.int64]:
        """Which pair of identities each is of, whichever side they are on: int64 [P], every number from 0 on."""
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        return np.unique(low * (high.max(initial=0) + 1) + high, return_inverse=True)[1].astype(np.int64)


def searched(scores: NDArray[np.floating[Any]], mate: NDArray[np.int64]) -> Search:
    """The searches of float [N, G] scores; `mate` int64 [N] is the column of a probe's own identity, -1 for none.

    Raises UsageError where a score is not finite, or a mate is no column.
    """
    if scores.ndim != 2 or mate.shape != scores.shape[:1] or scores.size == 0:
        raise UsageError(f"searched needs scores [N, G] and one mate a row, not {scores.shape} and {mate.shape}.")
    if mate.min() < -1 or mate.max() >= scores.shape[1]:
        raise UsageError(f"mate must lie from -1 to {scores.shape[1] - 1}, not {mate.min()} to {mate.max()}.")
    values = _finite(scores)
    rows = np.flatnonzero(mate >= 0)
    first = np.zeros(len(values), bool)
    own = values[rows, mate[rows]]
    first[rows] = (values[rows] >= own[:, None]).sum(1) == 1
    return Search(values.max(1), first, mate >= 0)


def compared(scores: NDArray[np.floating[Any]], identity: NDArray[np.int64]) -> Comparisons:
    """Every two of N images once, from float [N, N] scores and the identity of each image, int64 [N]."""
    if scores.shape != (len(identity),) * 2:
        raise UsageError(f"compared needs scores [N, N] for {len(identity)} images, not {scores.shape}.")
    one, other = np.triu_indices(len(identity), 1)
    return Comparisons(_finite(scores[one, other]), identity[one], identity[other])


def identification_figures(
    search: Search,
    people: NDArray[Any],
    threshold: float | NDArray[np.float64],
    level: float = 0.95,
    exact: bool = False,
    noun: Noun = IDENTITY,
) -> dict[str, Estimate]:
    """{"dir", "far", "rank_1"}: see the top of this file; without mated probes only "far", without strangers not that.

    `people` [N] holds the identity of every probe, strangers included: intervals are by it. `threshold` is one number,
    or one a probe, float64 [N]; `exact` as in `units_of`, and `noun`, what an identity is.
    """
    accepted = search.best >= threshold
    columns = {
        "dir": (search.mated, accepted & search.first),
        "far": (~search.mated, accepted),
        "rank_1": (search.mated, search.first),
    }
    names = people.astype(object)
    return {
        name: share(hit[rows].astype(np.float64), units_of(names[rows], int(rows.sum()), exact, noun=noun), level)
        for name, (rows, hit) in columns.items()
        if rows.any()
    }


def verification_figures(
    comparisons: Comparisons,
    threshold: float | NDArray[np.float64],
    level: float = 0.95,
    exact: bool = False,
    noun: Noun = IDENTITY,
) -> dict[str, Estimate]:
    """{"fnmr", "fmr"}: see the top of this file; one of them alone where there are no comparisons of the other kind.

    `threshold` is one number, or one a comparison, float64 [P]; `exact` as in `units_of`, and `noun`, what an identity
    is.
    """
    noun = noun._replace(single="comparisons")
    accepted = comparisons.score >= threshold
    genuine = comparisons.first == comparisons.second
    figures = {}
    if genuine.any():
        missed = (~accepted[genuine]).astype(np.float64)
        units = units_of(comparisons.first[genuine].astype(object), len(missed), exact, noun=noun)
        figures["fnmr"] = share(missed, units, level)
    if not genuine.all():
        others = comparisons.impostors
        hits = accepted[~genuine].astype(np.float64)
        figures["fmr"] = pair_share(hits, others.first, others.second, level, exact, noun)
    return figures


def pair_share(
    hits: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    level: float = 0.95,
    exact: bool = False,
    noun: Noun = IDENTITY,
) -> Estimate:
    """The proportion of ones among P > 0 comparisons of two identities each, zeros and ones float64 [P]."""
    noun = noun._replace(single="comparisons")
    names, index = np.unique(np.concatenate([first, second]), return_inverse=True)
    if len(names) < COUNTED_BY:
        return share(hits, units_of(first.astype(object), len(hits), exact, noun=noun), level)
    units = Units(index.astype(np.int64), len(names), True, f"over {len(names)} {noun.many}", exact, noun=noun)
    mean, variance, df = _pair_moments(hits, units)
    value, effective = float(hits.mean()), mean * (1 - mean) / variance
    low, high = trials_interval(value * effective, effective, units, level, df)
    name = "Clopper-Pearson" if exact else "Wilson"
    return Estimate(value, low, high, level, len(hits), f"{name} {units.words}, two a comparison")


def threshold_at(scores: NDArray[np.floating[Any]], rate: float) -> float:
    """The lowest threshold that accepts at most a share `rate`, above 0 and below 1, of float [N] scores themselves.

    Scores that are equal are accepted together, or not at all.
    """
    _check_rate(rate)
    values = np.sort(_finite(scores))[::-1]
    if not len(values):
        raise UsageError("threshold_at needs at least one score.")
    return _above(values, np.ones(len(values)), rate * len(values))


def sure_threshold(scores: NDArray[np.floating[Any]], people: NDArray[Any], rate: float, level: float = 0.95) -> float:
    """The lowest threshold of which one can be sure, at `level`, that it accepts at most a share `rate` of strangers'.

    `scores` float [N] are of strangers' images, `people` [N] says whose; `rate` lies above 0 and below 1. It is the
    last, from the highest on, at which the interval of the share that is accepted, by identity, ends at `rate` or
    below: whoever stops at the first that fails may look at as many as there are (fixed sequence testing: Angelopoulos
    et al., "Learn then test", 2021, https://arxiv.org/abs/2110.01052). Raises UsageError where there are too few.
    """
    _check_rate(rate)
    if (supported := sure_rate(people, level)) > rate:
        raise UsageError(
            f"A false accept rate of {rate:g} at a level of {level:g} needs more strangers, or more images of them: "
            f"{len(people)} images of {len(np.unique(people))} support {supported:.2g}; give more or a higher rate."
        )
    values = _finite(scores)
    order = np.argsort(-values, kind="stable")
    units, hits, accepted = units_of(people[order].astype(object), len(order)), np.zeros(len(order)), 0
    while (tried := accepted + max(1, accepted // 50)) < len(order):  # in steps of 2 %, as each takes a moment
        hits[accepted:tried] = 1
        if _highest(hits, units, level) > rate:
            break
        accepted = tried
    return _above(values[order], np.ones(len(order)), accepted)


def sure_rate(people: NDArray[Any], level: float = 0.95) -> float:
    """The lowest rate for which `sure_threshold` finds a threshold, with images of these people [N], N > 0."""
    return _highest(np.zeros(len(people)), units_of(people.astype(object), len(people)), level)


def people_needed(rate: float, images: int | NDArray[np.int64], level: float = 0.95) -> int:
    """How many people, with so many `images` each, `sure_rate` needs for a rate; MOST_PEOPLE + 1 for more than that.

    Of int64 [G] images, one number for each of G people, further people have the same numbers again, the lowest first:
    a few with most of the images support less than as many with equally many. G are needed then, or more.
    """
    _check_rate(rate)
    sizes = np.sort(np.atleast_1d(images))  # so that from the first number of people that does on, all do

    def supported(people: int) -> float:
        index = np.repeat(np.arange(people), np.resize(sizes, people))
        return _highest(np.zeros(len(index)), Units(index, people, len(index) > people, ""), level)

    least = min(max(COUNTED_BY, len(sizes)), MOST_PEOPLE + 1)
    return bisect_left(range(MOST_PEOPLE + 1), -rate, lo=least, key=lambda people: -supported(people))


def fit_threshold(strangers: Comparisons, rate: float) -> float:
    """The lowest threshold that accepts a new stranger's image with probability `rate` at most, above 0 and below 1.

    `strangers` are what was seen of others: searches, with the stranger on both sides, or impostor comparisons, where
    what is new is a pair of identities. Each stranger counts equally, with however many images. Raises UsageError
    where there are too few to support the rate.
    """
    score, _, pair = _ranked(strangers)
    sizes = np.bincount(pair)
    return _above(score, 1 / sizes[pair], _allowed(len(sizes), rate))


def fit_without_each(strangers: Comparisons, rate: float, count: int) -> NDArray[np.float64]:
    """`fit_threshold` for each of U = `count` identities, without the comparisons that it is in: float64 [U].

    At these thresholds each identity can be judged as one that had no say. Raises UsageError as `fit_threshold`.
    """
    score, sides, pair = _ranked(strangers)
    sizes, own = np.bincount(pair), _involved(strangers, count)
    weights = 1 / sizes[pair]
    reached = np.cumsum(weights)
    found = np.empty(count)
    for identity in range(count):
        allowed = _allowed(len(sizes) - int(own[identity]), rate)
        # Where all that is left out stood above it, the threshold would be so far down.
        end = int(np.searchsorted(reached, allowed + own[identity] + _ROUNDING, side="right")) + 1
        kept = (sides[:end] != identity).all(1)
        found[identity] = _above(score[:end][kept], weights[:end][kept], allowed)
    return found


def supported_rate(strangers: Comparisons, count: int) -> float:
    """The lowest rate for which `fit_without_each` finds thresholds; 1, which is none, where an identity is in all."""
    own = _involved(strangers, count)
    return 1 / (int(strangers.pairs().max()) + 1 - int(own.max()) + 1)


def _highest(hits: NDArray[np.float64], units: Units, level: float) -> float:
    """The upper end of the interval of a share that has only this end."""
    if not 0.5 < level < 1:
        raise UsageError(f"level must lie between 0.5 and 1, for example 0.95, not {level:g}.")
    return share(hits, units, 2 * level - 1).high


def _ranked(comparisons: Comparisons) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Scores float64 [P], the highest first, both sides' identities int64 [P, 2], and the pairs int64 [P]."""
    score = _finite(comparisons.score)
    if not len(score):
        raise UsageError("A threshold needs at least one score of a stranger.")
    order = np.argsort(-score, kind="stable")
    return score[order], np.stack([comparisons.first, comparisons.second], 1)[order], comparisons.pairs()[order]


def _involved(comparisons: Comparisons, count: int) -> NDArray[np.int64]:
    """In how many pairs each identity is: int64 [U]."""
    if not len(comparisons.score) or max(comparisons.first.max(), comparisons.second.max()) >= count:
        raise UsageError(f"There must be comparisons, of identities below {count}.")
    _, rows = np.unique(comparisons.pairs(), return_index=True)
    first, second = comparisons.first[rows], comparisons.second[rows]
    return np.bincount(first, minlength=count) + np.bincount(second[first != second], minlength=count)


def _allowed(count: int, rate: float) -> float:
    """How many of `count` strangers may be accepted, each counting the share of its images that are."""
    _check_rate(rate)
    allowed = rate * (count + 1) - 1
    if allowed < -_ROUNDING:
        needed = math.ceil(1 / rate - _ROUNDING) - 1
        raise UsageError(
            f"A false accept rate of {rate:g} needs at least {needed} strangers, or pairs of identities, not {count}, "
            f"which support {1 / (count + 1):.2g}; give more or a higher rate."
        )
    return max(allowed, 0.0)


def _above(values: NDArray[np.float64], weights: NDArray[np.float64], allowed: float) -> float:
    """The lowest number above so many of the values, float64 [P], the highest first, that the rest weighs `allowed`."""
    place = int(np.searchsorted(np.cumsum(weights), allowed + _ROUNDING, side="right"))
    return float(np.nextafter(values[min(place, len(values) - 1)], np.inf))


def _pair_moments(hits: NDArray[np.float64], units: Units) -> tuple[float, float, float]:
    """Mean, variance of the mean and its degrees of freedom, of float64 [P] with the added one of tenfold.estimate.

    `units.index`, int64 [2 P], is the identity on one side of each comparison, then that on the other side.
    """
    total = len(hits) + units.extra
    mean = (hits.sum() + units.extra / 2) / total
    apart = hits - mean
    sums = np.bincount(units.index, np.concatenate([apart, apart]), units.count)
    parts = (sums / (total - np.bincount(units.index, minlength=units.count))) ** 2  # of each mean without one, squared
    added = (units.extra / total) ** 2 * (mean**2 + (1 - mean) ** 2) / 2
    df = 3 * parts.sum() ** 2 / np.sum(parts**2) - 1 if parts.any() else math.inf  # 3: of a normal distribution
    return float(mean), float(parts.sum() * (units.count - 1) / units.count + added), max(float(df), 1.0)


def _finite(scores: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    values = scores.astype(np.float64)
    if not np.isfinite(values).all():
        raise UsageError("Scores must be finite numbers.")
    return values


def _check_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise UsageError(f"A false accept rate must be above 0 and below 1, for example 0.01, not {rate:g}.")
