"""Open set: rates and thresholds against slow loops, ties included; how often intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from tenfold.errors import UsageError
from tenfold.estimate import Units, units_of
from tenfold.metrics import open_set
from tenfold.metrics.intervals import share
from tenfold.metrics.open_set import (
    Comparisons,
    Search,
    compared,
    fit_threshold,
    fit_without_each,
    identification_figures,
    pair_share,
    searched,
    supported_rate,
    sure_rate,
    sure_threshold,
    threshold_at,
    verification_figures,
)

Floats = NDArray[np.float64]


def problem(count: int, identities: int, digits: int, seed: int = 0) -> tuple[Floats, NDArray[np.int64]]:
    """Scores of probes, a third of them strangers'; few `digits` give ties."""
    rng = np.random.default_rng(seed)
    mate = rng.integers(-identities // 2, identities, count).clip(-1)
    scores = rng.standard_normal((count, identities))
    scores[np.arange(count)[mate >= 0], mate[mate >= 0]] += 2
    return scores.round(digits), mate


# Figures


@pytest.mark.parametrize("digits", [12, 1, 0])
@pytest.mark.parametrize("threshold", [-9.0, 0.5, 2.0, 9.0])
def test_identification_is_what_a_loop_counts(digits: int, threshold: float) -> None:
    scores, mate = problem(60, 7, digits)
    counts = {"dir": [0, 0], "far": [0, 0], "rank_1": [0, 0]}
    for row, own in zip(scores.tolist(), mate.tolist(), strict=True):
        if own < 0:
            counts["far"][1] += 1
            counts["far"][0] += any(score >= threshold for score in row)
            continue
        rank = sum(score >= row[own] for score in row)
        for name, hit in (("dir", rank == 1 and row[own] >= threshold), ("rank_1", rank == 1)):
            counts[name][0] += hit
            counts[name][1] += 1
    figures = identification_figures(searched(scores, mate), np.arange(60), threshold)
    assert {name: (figure.value, figure.n) for name, figure in figures.items()} == {
        name: (pytest.approx(hits / of), of) for name, (hits, of) in counts.items()
    }
    assert all(figure.low < figure.high for figure in figures.values())


@pytest.mark.parametrize("digits", [12, 1, 0])
def test_verification_is_what_a_loop_counts(digits: int) -> None:
    rng = np.random.default_rng(1)
    identity = rng.integers(0, 5, 20)
    scores = (rng.standard_normal((20, 20)) + 2 * (identity[:, None] == identity)).round(digits)
    missed, false = [], []
    for one in range(20):
        for other in range(one + 1, 20):
            accepted = scores[one, other] >= 1.0
            if identity[one] == identity[other]:
                missed.append(not accepted)
            else:
                false.append(accepted)
    figures = verification_figures(compared(scores, identity), 1.0)
    assert (figures["fnmr"].value, figures["fnmr"].n) == (pytest.approx(np.mean(missed)), len(missed))
    assert (figures["fmr"].value, figures["fmr"].n) == (pytest.approx(np.mean(false)), len(false))
    assert "5 identities" in figures["fnmr"].method
    assert "5 identities" in figures["fmr"].method


def test_a_mate_that_ties_does_not_rank_first_and_a_score_at_the_threshold_is_accepted() -> None:
    scores = np.array([[0.7, 0.7, 0.1], [0.8, 0.2, 0.1], [0.1, 0.5, 0.3]])
    search = searched(scores, np.array([0, 0, -1]))
    assert search.first.tolist() == [False, True, False]
    figures = identification_figures(search, np.array(list("aab")), 0.5)
    assert (figures["dir"].value, figures["far"].value, figures["rank_1"].value) == (0.5, 1.0, 0.5)
    just_above = identification_figures(search, np.array(list("aab")), float(np.nextafter(0.5, 1)))
    assert just_above["far"].value == 0.0


def test_each_probe_may_have_its_own_threshold_and_what_there_is_none_of_is_left_out() -> None:
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.8]])
    search = searched(scores, np.array([0, 0, 1]))
    figures = identification_figures(search, np.array([0, 0, 1]), np.array([0.5, 0.95, 0.8]))
    assert {name: figure.value for name, figure in figures.items()} == {"dir": pytest.approx(2 / 3), "rank_1": 1.0}
    strangers = searched(scores, np.full(3, -1))
    assert identification_figures(strangers, np.arange(3), 0.85).keys() == {"far"}
    alone = Comparisons(np.array([0.2, 0.4]), np.array([0, 1]), np.array([0, 1]))
    assert verification_figures(alone, 0.3).keys() == {"fnmr"}
    assert verification_figures(alone._replace(second=np.array([1, 2])), 0.3).keys() == {"fmr"}


def test_probes_of_one_identity_count_as_a_group() -> None:
    search = Search(np.repeat([0.9, 0.1, 0.9, 0.9], 10), np.ones(40, bool), np.ones(40, bool))
    apart = identification_figures(search, np.arange(40), 0.5)["dir"]
    together = identification_figures(search, np.repeat(np.arange(4), 10), 0.5)["dir"]
    assert apart.value == together.value == 0.75
    assert together.high - together.low > 2 * (apart.high - apart.low)


# Thresholds


def accepted_share(scores: Floats, threshold: float) -> float:
    return float(np.mean(scores >= threshold))


@pytest.mark.parametrize("digits", [12, 1, 0])
@pytest.mark.parametrize("rate", [0.01, 0.1, 0.29, 0.5, 0.99])
def test_a_threshold_on_the_scores_themselves_is_the_lowest_that_keeps_the_rate(digits: int, rate: float) -> None:
    scores = np.random.default_rng(2).standard_normal(100).round(digits)
    found = threshold_at(scores, rate)
    assert accepted_share(scores, found) <= rate
    lower = scores[scores < found]
    assert accepted_share(scores, lower.max()) > rate


def alone(scores: Floats) -> Comparisons:
    """Searches for as many strangers."""
    return Comparisons(scores, np.arange(len(scores)), np.arange(len(scores)))


@pytest.mark.parametrize(("count", "rate"), [(99, 0.01), (100, 0.01), (199, 0.01), (9, 0.1), (27, 0.1), (99, 0.29)])
def test_of_strangers_that_could_be_exchanged_a_new_one_is_accepted_at_the_rate(count: int, rate: float) -> None:
    """Each of n + 1 strangers in turn is the new one; how many are accepted is what the ranks say, exactly."""
    scores = np.random.default_rng(3).standard_normal(count + 1)
    accepted = sum(scores[new] >= fit_threshold(alone(np.delete(scores, new)), rate) for new in range(count + 1))
    assert accepted == math.floor(rate * (count + 1) + 1e-9)


@pytest.mark.parametrize("digits", [12, 0])
@pytest.mark.parametrize(("strangers", "rate"), [(10, 0.1), (20, 0.1), (30, 0.25), (12, 0.5)])
def test_images_of_one_stranger_count_as_one(strangers: int, rate: float, digits: int) -> None:
    """The same with one to six images of each: the share of the new one's images that is accepted, over all of them."""
    rng = np.random.default_rng(7)
    who = np.repeat(np.arange(strangers), rng.integers(1, 7, strangers))
    scores = (rng.standard_normal(strangers)[who] + 0.5 * rng.standard_normal(len(who))).round(digits)
    shares = []
    for new in range(strangers):
        others = who != new
        threshold = fit_threshold(Comparisons(scores[others], who[others], who[others]), rate)
        assert threshold == slow_fit(scores[others], who[others], rate)
        shares.append(np.mean(scores[~others] >= threshold))
    assert np.mean(shares) <= rate


def slow_fit(scores: Floats, who: NDArray[np.int64], rate: float) -> float:
    """Of all thresholds, the lowest one above which the strangers' shares add up to little enough."""
    names = np.unique(who)
    for score in np.unique(scores):
        threshold = float(np.nextafter(score, np.inf))
        shares = sum(np.mean(scores[who == name] >= threshold) for name in names)
        if shares <= rate * (len(names) + 1) - 1 + 1e-9:
            return threshold
    raise AssertionError("no threshold is high enough")


def test_too_few_strangers_are_refused_and_said_what_they_support() -> None:
    strangers = alone(np.arange(50.0))
    with pytest.raises(
        UsageError, match=r"of 0.01 needs at least 99 strangers, or pairs of identities, not 50, which s"
    ):
        fit_threshold(strangers, 0.01)
    assert fit_threshold(strangers, 1 / 51) == np.nextafter(49.0, 50)
    with pytest.raises(UsageError, match="must be above 0 and below 1"):
        fit_threshold(strangers, 0.0)
    with pytest.raises(UsageError, match="must be above 0 and below 1"):
        threshold_at(strangers.score, 1.0)
    with pytest.raises(UsageError, match="at least one score"):
        threshold_at(np.empty(0), 0.1)
    with pytest.raises(UsageError, match="at least one score"):
        fit_threshold(alone(np.empty(0)), 0.1)


def scattered(people: int, images: int, seed: int, alike: float = 0.3) -> tuple[Floats, NDArray[np.int64]]:
    """Scores of strangers' images, of variance 1, of which a share `alike` is between people."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), images)
    own = math.sqrt(alike) * rng.standard_normal(people)
    return own[who] + math.sqrt(1 - alike) * rng.standard_normal(len(who)), who


@pytest.mark.parametrize(("rate", "digits"), [(0.15, 12), (0.3, 12), (0.3, 0)])
def test_a_sure_threshold_is_the_last_whose_interval_ends_at_the_rate(rate: float, digits: int) -> None:
    scores, who = scattered(10, 20, seed=1)
    scores = scores.round(digits)
    found = sure_threshold(scores, who, rate)
    units = units_of(who.astype(object), len(who))
    passed = [
        value
        for value in np.unique(scores).tolist()
        if all(
            share((scores > higher).astype(np.float64), units, 0.9).high <= rate
            for higher in np.unique(scores[scores >= value])
        )
    ]
    accepted = [int((scores > threshold).sum()) for threshold in (passed[0], np.nextafter(found, -np.inf))]
    assert 0.98 * accepted[0] - 1 <= accepted[1] <= accepted[0]  # it goes in steps of 2 %
    assert found == np.nextafter(np.sort(scores)[::-1][accepted[1]], np.inf)


@pytest.mark.parametrize(("people", "images", "alike", "rate"), [(5, 40, 0.1, 0.2), (12, 20, 0.3, 0.1)])
def test_a_sure_threshold_keeps_its_rate_for_people_who_are_yet_to_come(
    people: int, images: int, alike: float, rate: float
) -> None:
    kept = [norm.sf(sure_threshold(*scattered(people, images, seed, alike), rate)) <= rate for seed in range(150)]
    assert np.mean(kept) >= 0.9


def test_a_sure_threshold_needs_strangers() -> None:
    scores, who = scattered(5, 40, seed=0)
    supported = sure_rate(who)
    units = units_of(who.astype(object), 200)
    assert supported == share(np.zeros(200), units, 0.9).high
    accepted = scores >= sure_threshold(scores, who, supported)
    assert share(accepted.astype(np.float64), units, 0.9).high <= supported
    assert sure_rate(np.repeat(np.arange(100), 10)) < 0.01 < sure_rate(np.arange(200))
    with pytest.raises(
        UsageError,
        match=r"of 0.1 at a level of 0.95 needs more strangers, or more images of them: 200 images of 5 support 0.15;",
    ):
        sure_threshold(scores, who, 0.1)
    with pytest.raises(UsageError, match="must be above 0 and below 1"):
        sure_threshold(scores, who, 1.0)
    with pytest.raises(UsageError, match=r"level must lie between 0\.5 and 1, for example 0\.95, not 0\.3\."):
        sure_threshold(scores, who, 0.5, 0.3)


@pytest.mark.parametrize("digits", [12, 0])
@pytest.mark.parametrize("pairs", [True, False])
def test_thresholds_without_each_identity_are_those_of_the_others_comparisons(digits: int, pairs: bool) -> None:
    rng = np.random.default_rng(4)
    first = rng.integers(0, 6, 300)
    second = rng.integers(0, 6, 300) if pairs else first
    strangers = Comparisons(rng.standard_normal(300).round(digits), first, second)
    for rate in (supported_rate(strangers, 6), 0.3, 0.6):
        found = fit_without_each(strangers, rate, 6)
        for identity in range(6):
            others = (first != identity) & (second != identity)
            kept = strangers.take(others)
            assert found[identity] == fit_threshold(kept, rate)
            pair = 10 * np.minimum(kept.first, kept.second) + np.maximum(kept.first, kept.second)
            assert found[identity] == slow_fit(kept.score, pair, rate)
    with pytest.raises(UsageError, match="false accept rate"):
        fit_without_each(strangers, 0.9 * supported_rate(strangers, 6), 6)


def test_a_threshold_from_one_set_keeps_its_rate_on_another() -> None:
    rng = np.random.default_rng(5)
    rates = [norm.sf(fit_threshold(alone(rng.standard_normal(149)), 0.1)) for _ in range(300)]
    assert abs(np.mean(rates) - 0.1) < 3 * np.std(rates) / math.sqrt(300)


# Intervals


def test_the_variance_of_pairs_is_that_of_leaving_out_each_identity() -> None:
    rng = np.random.default_rng(6)
    first, second = np.array([(a, b) for a in range(6) for b in range(a) for _ in range(1 + (a + b) % 3)]).T
    effect = rng.standard_normal(6)
    hits = (effect[first] + effect[second] + rng.standard_normal(len(first)) > 0.5).astype(float)
    units = Units(np.concatenate([first, second]), 6, True, "")
    mean, variance, df = open_set._pair_moments(hits, units)
    extra = math.sqrt(2 * len(hits) / 6)
    total = len(hits) + extra
    assert mean == pytest.approx((hits.sum() + extra / 2) / total)
    parts = []
    for identity in range(6):
        kept = (first != identity) & (second != identity)
        # By how much the mean of what is left, the added one with the mean's own value in it, differs from the mean.
        parts.append(((hits[~kept] - mean).sum() / (kept.sum() + extra)) ** 2)
    # Without an added one it is the mean without the identity, less the mean.
    jackknife = [hits[(first != one) & (second != one)].mean() - hits.mean() for one in range(6)]
    bare = [
        (hits[(first == one) | (second == one)] - hits.mean()).sum() / ((first != one) & (second != one)).sum()
        for one in range(6)
    ]
    assert np.negative(bare) == pytest.approx(jackknife)
    added = extra**2 * ((1 - mean) ** 2 + mean**2) / 2 / total**2
    assert variance == pytest.approx(5 / 6 * np.sum(parts) + added)
    assert df == pytest.approx(3 * np.sum(parts) ** 2 / np.sum(np.square(parts)) - 1)
    swapped = pair_share(hits, np.maximum(first, second), np.minimum(first, second))
    assert swapped == pair_share(hits, np.minimum(first, second), np.maximum(first, second))


@pytest.mark.parametrize("hits", [np.zeros(45), np.ones(45)])
def test_no_interval_is_of_zero_width(hits: Floats) -> None:
    first, second = np.triu_indices(10, 1)
    found = pair_share(hits, first, second)
    assert found.high - found.low > 0.02
    two = pair_share(hits, np.zeros(45, np.int64), np.ones(45, np.int64))
    assert two.low < two.high
    assert "too few to count by" in two.method


def simulated_pairs(
    people: int, images: int, rate: float, seed: int
) -> tuple[Floats, NDArray[np.int64], NDArray[np.int64]]:
    """Impostor comparisons, a share `rate` of which is falsely accepted; some identities are taken for others more."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), images)
    one, other = np.triu_indices(people * images, 1)
    apart = who[one] != who[other]
    first, second = who[one[apart]], who[other[apart]]
    alike, seen = rng.standard_normal(people), rng.standard_normal(people * images)
    both = rng.standard_normal((people, people))
    score = 0.4 * (alike[first] + alike[second]) + 0.4 * (seen[one[apart]] + seen[other[apart]])
    score += 0.4 * both[first, second] + math.sqrt(1 - 5 * 0.16) * rng.standard_normal(len(first))
    return (score >= norm.isf(rate)).astype(np.float64), first, second


@pytest.mark.parametrize(("people", "rate"), [(12, 0.1), (30, 0.1), (30, 0.01), (60, 0.01)])
def test_intervals_of_false_matches_hold_the_truth(people: int, rate: float) -> None:
    found = [pair_share(*simulated_pairs(people, 2, rate, seed)) for seed in range(400)]
    held = np.mean([figure.low <= rate <= figure.high for figure in found])
    assert held >= 0.92


def test_intervals_of_identification_hold_the_truth() -> None:
    """Five probes of each of 30 people, enrolled or not, who differ in how hard they are."""
    held = {"dir": 0, "far": 0}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        score = (rng.standard_normal((60, 1)) + rng.standard_normal((60, 5))).ravel() / math.sqrt(2)
        mated = np.repeat(np.arange(60) < 30, 5)
        people = np.repeat(np.arange(60), 5)
        # A mate ranks first wherever its score is positive, so that DIR is the share at the threshold or above.
        search = Search(np.where(mated, score, score - 2), mated & (score > -3), mated)
        figures = identification_figures(search, people, -1.0)
        for name, truth in (("dir", norm.sf(-1)), ("far", norm.sf(1))):
            held[name] += figures[name].low <= truth <= figures[name].high
    assert min(held.values()) >= 184


# What is refused


def test_what_is_no_set_of_scores_is_refused() -> None:
    scores = np.ones((3, 2))
    with pytest.raises(UsageError, match=r"scores \[N, G\] and one mate a row, not \(3, 2\) and \(2,\)"):
        searched(scores, np.zeros(2, np.int64))
    with pytest.raises(UsageError, match="mate must lie from -1 to 1, not 0 to 2"):
        searched(scores, np.array([0, 1, 2]))
    with pytest.raises(UsageError, match="finite"):
        searched(scores * np.nan, np.zeros(3, np.int64))
    with pytest.raises(UsageError, match=r"scores \[N, N\] for 2 images"):
        compared(scores, np.zeros(2, np.int64))
    with pytest.raises(UsageError, match="comparisons, of identities below 2"):
        supported_rate(Comparisons(np.ones(1), np.array([2]), np.array([0])), 2)
