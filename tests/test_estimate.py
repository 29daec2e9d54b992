"""Intervals against SciPy, published values, equations that they solve, and simulation; estimates as JSON."""

import json
import math
from statistics import NormalDist

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binom, binomtest, norm
from scipy.stats import t as student

from tenfold.errors import UsageError
from tenfold.estimate import (
    RESAMPLES,
    Estimate,
    clopper_pearson,
    from_json,
    mean_moments,
    resamples,
    score_interval,
    to_json,
    units_of,
    wilson,
)
from tenfold.metrics.intervals import share


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe (1998), "Two-sided confidence intervals for the single proportion", table I, method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_gives_the_published_values(successes: int, n: int, low: float, high: float) -> None:
    assert wilson(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 30, 1000])
@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
def test_wilson_agrees_with_scipy(n: int, level: float) -> None:
    for successes in {0, 1, n // 2, n}:
        expected = binomtest(successes, n).proportion_ci(level, method="wilson")
        assert wilson(successes, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)
        assert 0 <= wilson(successes, n, level)[0] < wilson(successes, n, level)[1] <= 1


@pytest.mark.parametrize("df", [None, 1, 3, 20])
def test_wilson_ends_where_the_score_test_just_rejects(df: int | None) -> None:
    reach = NormalDist().inv_cdf(0.975) if df is None else student.ppf(0.975, df)
    for successes, n in [(3.3, 12.5), (20, 25)]:
        for end in wilson(successes, n, 0.95, df):
            assert abs(successes / n - end) == pytest.approx(reach * math.sqrt(end * (1 - end) / n))


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5), (math.nan, 5), (1, math.inf)])
def test_wilson_refuses_impossible_counts(successes: float, n: float) -> None:
    with pytest.raises(UsageError, match="0 <= successes <= n"):
        wilson(successes, n)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
def test_a_level_lies_between_0_and_1(level: float) -> None:
    with pytest.raises(UsageError, match="level must lie between 0 and 1"):
        wilson(1, 2, level)


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (17, 30), (100, 100), (999, 1000)])
def test_for_a_proportion_of_images_the_added_image_changes_nothing(right: int, n: int) -> None:
    hits = np.repeat([1.0, 0.0], [right, n - right])
    units = units_of(None, n)
    moments = mean_moments(hits, units, np.ones(1), np.zeros(1))
    assert score_interval(right / n, *moments, units) == pytest.approx(wilson(right, n))


def test_the_interval_moves_and_stretches_with_its_span() -> None:
    units = units_of(None, 50)
    low, high = score_interval(0.9, 0.89, 0.002, units)
    moved = score_interval(-1 + 4 * 0.9, -1 + 4 * 0.89, 16 * 0.002, units, span=(-1.0, 3.0))
    assert moved == pytest.approx((-1 + 4 * low, -1 + 4 * high))


def test_an_open_span_is_the_limit_of_a_wide_one() -> None:
    units = units_of(None, 50)
    wide = score_interval(0.4, 0.5, 0.02, units, span=(0.0, 1e7))
    assert score_interval(0.4, 0.5, 0.02, units, span=(0.0, math.inf)) == pytest.approx(wide, rel=1e-5)


@pytest.mark.parametrize("span", [(0.0, 1.0), (-1.0, 1.0), (0.0, math.inf)])
@pytest.mark.parametrize("n", [1, 20])
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_no_interval_has_zero_width_even_without_variance(span: tuple[float, float], n: int, value: float) -> None:
    low, high = score_interval(value, 0.7 * value + 0.1, 0.0, units_of(None, n), span=span)
    assert span[0] <= low <= value <= high <= span[1]
    assert high - low > 0.1 / n


@pytest.mark.parametrize(
    ("count", "words"),
    [(10, "over 10 groups"), (3, "over 3 groups")],
)
def test_units_are_groups_from_three_on(count: int, words: str) -> None:
    names = np.array([f"g{row % count}" for row in range(30)], object)
    units = units_of(names, 30)
    assert (units.count, units.grouped, units.words) == (count, True, words)
    assert units.df == pytest.approx(count - 1)
    assert units.extra == pytest.approx(math.sqrt(30 / count))
    assert len(np.unique(units.index[::count])) == 1


@pytest.mark.parametrize(("count", "few"), [(1, "1 group is"), (2, "2 groups are")])
def test_images_of_one_or_two_groups_are_counted_singly_and_that_is_said(count: int, few: str) -> None:
    units = units_of(np.array([f"g{row % count}" for row in range(30)], object), 30)
    assert (units.count, units.df, units.words) == (30, None, f"over images ({few} too few to count by)")


def test_images_without_a_group_stand_alone() -> None:
    units = units_of(np.array(["a", None, "a", math.nan, float("nan"), *"bcdefgh"], object), 12)
    assert units.count == 11
    assert units.index[0] == units.index[2]
    assert units_of(np.array([None] * 4, object), 4).words == "over images"
    part = units.take(np.array([0, 2, *range(5, 12), 1, 3]))
    assert (part.count, part.index.tolist()[:3], part.words) == (10, [0, 0, 3], "over 10 groups")
    few = units.take(np.array([0, 2, 5]))
    assert (few.count, few.df, few.words) == (2, 1, "over 2 groups")
    assert (units.take(np.array([0, 2])).count, units.take(np.array([0, 2])).words) == (1, "over 1 group")
    alone = units.take(np.array([0, 5, 6, 1]))  # no two share a group
    assert (alone.count, alone.df, alone.words) == (4, None, "over images")
    two = units_of(np.array(["a", "b"] * 5, object), 10)  # all images are of two groups: the parts say so too
    assert two.take(np.array([0, 1, 2])).words == two.words == "over images (2 groups are too few to count by)"
    with pytest.raises(UsageError, match="one value for each of the 5 images, not 2"):
        units_of(np.array(["a", "b"], object), 5)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("truth", [0.7, 0.9])
def test_a_class_in_one_or_two_of_many_groups_is_hardly_known(groups: int, truth: float) -> None:
    """Of 50 images each; right answers within a group correlate by 0.5."""
    rng, rounds, held, single = np.random.default_rng(groups), 400, 0, 0
    names = np.repeat(np.arange(20), 50).astype(object)
    rows = np.arange(50 * groups)
    units = units_of(names, 1000).take(rows)
    for _ in range(rounds):
        chance = rng.beta(truth, 1 - truth, groups)
        hits = (rng.random(len(rows)) < np.repeat(chance, 50)).astype(float)
        figure, plain = share(hits, units, 0.95), share(hits, units_of(None, len(rows)), 0.95)
        held += figure.low <= truth <= figure.high
        single += plain.low <= truth <= plain.high
    assert held / rounds >= 0.95
    assert single / rounds < 0.5


def test_groups_of_unequal_size_leave_fewer_degrees_of_freedom() -> None:
    assert units_of(np.repeat(np.arange(8), 5).astype(object), 40).df == pytest.approx(7)
    uneven = units_of(np.repeat(np.arange(5), [60, 10, 10, 10, 10]).astype(object), 100)
    assert uneven.df == pytest.approx(1 / (0.6**2 + 4 * 0.1**2) - 1)
    assert units_of(np.repeat(np.arange(3), [98, 1, 1]).astype(object), 100).df == 1


def test_resamples_draw_groups_as_wholes_and_depend_on_the_seed_only() -> None:
    units = units_of(np.array([f"g{row % 12}" for row in range(40)], object), 40)
    drawn = list(resamples(units, seed=3))
    assert len(drawn) == RESAMPLES
    weights = np.stack([weight for weight, _ in drawn])
    for unit in range(12):
        assert (np.ptp(weights[:, units.index == unit], axis=1) == 0).all()
    first = [np.flatnonzero(units.index == unit)[0] for unit in range(12)]
    added = np.array([count for _, count in drawn])
    assert (weights[:, first].sum(1) + added == 12).all()
    assert added.mean() == pytest.approx(12 / 13, abs=0.1)
    again = np.stack([weight for weight, _ in resamples(units, seed=3)])
    other = np.stack([weight for weight, _ in resamples(units, seed=4)])
    assert (again == weights).all()
    assert (other != weights).any()


@pytest.mark.parametrize("grouped", [False, True])
def test_moments_of_a_mean_are_those_of_a_long_bootstrap(grouped: bool) -> None:
    rng = np.random.default_rng(1)
    count = 24
    names = np.array([f"g{row // 2}" for row in range(count)], object)
    units = units_of(names if grouped else None, count)
    scores, right, wrong = rng.exponential(size=count), np.zeros(1), np.array([2.0, 4.0])
    means = []
    for weights, added in resamples(units, count=10_000):
        extra = rng.choice([0.0, 0.0, 2.0, 4.0], added)
        total = weights.sum() + units.extra * added
        means.append(((weights * scores).sum() + units.extra * extra.sum()) / total)
    mean, variance = mean_moments(scores, units, right, wrong)
    assert mean == pytest.approx(np.mean(means), rel=0.01)
    # The closed form is that of the linearized mean, times (U + 1) / U for the degree of freedom that it costs.
    assert variance == pytest.approx(np.var(means) * (units.count + 1) / units.count, rel=0.1)


def test_wrong_answers_of_the_added_image_have_chances_and_it_may_count_more() -> None:
    """Against drawing from the images and three further ones, each half right and half wrong."""
    rng = np.random.default_rng(2)
    units, scores = units_of(None, 24), rng.exponential(size=24)
    right, wrong, chance = np.array([0.0, 0.5]), np.array([1.0, 3.0, 9.0]), np.array([0.6, 0.3, 0.1])
    drawn = rng.integers(0, 27, (20_000, 24))
    worse = rng.random(drawn.shape) < 0.5
    extra = np.where(worse, rng.choice(wrong, drawn.shape, p=chance), rng.choice(right, drawn.shape))
    means = np.where(drawn < 24, np.append(scores, [0.0] * 3)[drawn], extra).mean(1)
    mean, variance = mean_moments(scores, units, right, wrong, chance, 3.0)
    assert mean == pytest.approx(means.mean(), rel=0.01)
    assert variance == pytest.approx(means.var(), rel=0.03)


@pytest.mark.parametrize("added", [1.0, 3.6])
@pytest.mark.parametrize("right", [0, 17, 30])
def test_however_often_the_added_image_counts_a_proportion_is_of_its_images(right: int, added: float) -> None:
    hits = np.repeat([1.0, 0.0], [right, 30 - right])
    mean, variance = mean_moments(hits, units_of(None, 30), np.ones(1), np.zeros(1), None, added)
    assert mean * (1 - mean) / variance == pytest.approx(30)


def test_the_added_image_counts_more_at_the_levels_of_several_looks() -> None:
    plain, exact = units_of(None, 50), units_of(None, 50, exact=True)
    assert plain.added(0.95) == plain.added(0.9998) == exact.added(0.95) == 1
    assert exact.added(0.9998) == pytest.approx((norm.ppf(0.9999) / norm.ppf(0.975)) ** 2)


@pytest.mark.parametrize(("right", "least"), [(199, 1.99), (200, 2.2)])
def test_no_exact_interval_of_nearly_all_is_much_less_than_twice_as_wide(right: int, least: float) -> None:
    """What 250 looks at 200 images cost at the very edge is not Clopper and Pearson's fault.

    Whatever the method, if its ends rise with the number of right answers, it must hold every truth from which so many
    or more, and so many or fewer, come with a chance above 0.05 / 250.
    """
    chance, images = 0.05 / 250, 200
    low = brentq(lambda truth: binom.sf(right - 1, images, truth) - chance, 1e-9, 1 - 1e-9)
    high = 1.0 if right == images else brentq(lambda truth: binom.cdf(right, images, truth) - chance, 0.5, 1 - 1e-12)
    plain = wilson(right, images)
    assert (high - low) / (plain[1] - plain[0]) > least
    ours = clopper_pearson(right, images, 1 - chance)
    assert ours[0] < low < high <= ours[1]
    assert (ours[1] - ours[0]) / (high - low) < 1.09


def sizes_of(kind: str, groups: int, mean: int, rng: np.random.Generator) -> np.ndarray:
    """Images in each of the groups."""
    if kind == "even":
        return np.full(groups, mean)
    if kind == "geometric":
        return rng.geometric(1 / mean, groups)
    return np.array([mean * groups // 2] + [mean // 2] * (groups - 1))  # one has half of all


@pytest.mark.parametrize(
    ("sizes", "groups", "mean", "correlation"),
    [
        ("even", 30, 20, 0.0), ("even", 30, 20, 0.3), ("even", 12, 10, 0.1),
        ("even", 3, 20, 0.3), ("even", 5, 20, 0.1), ("even", 9, 20, 0.3),
        ("geometric", 30, 20, 0.1), ("geometric", 12, 20, 0.1), ("geometric", 5, 20, 0.3),
        ("one large", 12, 20, 0.3), ("one large", 30, 20, 0.05),
    ],
)  # fmt: skip
@pytest.mark.parametrize("accuracy", [0.7, 0.9, 0.99])
def test_accuracy_over_groups_is_covered(
    sizes: str, groups: int, mean: int, correlation: float, accuracy: float
) -> None:
    rng = np.random.default_rng(0)
    covered, plain, rounds = 0, 0, 300
    for _ in range(rounds):
        count = sizes_of(sizes, groups, mean, rng)
        units = units_of(np.repeat(np.arange(groups), count).astype(object), count.sum())
        chance = np.full(groups, accuracy)
        if correlation:
            strength = 1 / correlation - 1
            chance = rng.beta(accuracy * strength, (1 - accuracy) * strength, groups)
        hits = (rng.random(len(units.index)) < chance[units.index]).astype(float)
        moments = mean_moments(hits, units, np.ones(1), np.zeros(1))
        low, high = score_interval(hits.mean(), *moments, units)
        covered += low <= accuracy <= high
        low, high = wilson(hits.sum(), len(hits))
        plain += low <= accuracy <= high
    assert covered / rounds > 0.91
    if (groups, correlation) == (30, 0.3):
        assert plain / rounds < 0.75  # what forgetting the groups would cost


def test_estimates_pass_through_json() -> None:
    figure = Estimate(0.9, 0.8, 0.95, 0.95, 40, "Wilson over images")
    content = {"accuracy": figure, "rows": [{"recall": figure, "tp": np.int64(3)}, None], "name": "é", "on": True}
    text = json.dumps(to_json(content), allow_nan=False)
    assert json.loads(text)["accuracy"] == {
        "value": 0.9,
        "low": 0.8,
        "high": 0.95,
        "level": 0.95,
        "n": 40,
        "method": "Wilson over images",
    }
    assert from_json(json.loads(text)) == {**content, "rows": [{"recall": figure, "tp": 3}, None]}
    assert to_json((np.arange(3), np.float32(0.5), np.bool_(True))) == [[0, 1, 2], 0.5, True]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1.0, math.nan]}, r"the value\['a'\]\[1\] must be a finite number to be written as JSON, not nan"),
        ({"b": np.array([math.inf])}, r"the value\['b'\]\[0\] must be a finite number"),
        ({"c": Estimate(math.nan, 0, 1, 0.95, 1, "")}, r"the value\['c'\]\['value'\] must be a finite number"),
        ({1: 2}, "must have keys that are text"),
        ({"d": {1, 2}}, r"the value\['d'\] must be a number, a text, a list, a dict or an Estimate, not set"),
    ],
)
def test_json_refuses_what_it_cannot_hold(value: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        to_json(value)


def test_an_estimate_is_said_as_people_say_it() -> None:
    figure = Estimate(0.912, 0.88, 0.9361, 0.95, 200, "Wilson over images")
    assert str(figure) == "0.912 (0.880 to 0.936)"
