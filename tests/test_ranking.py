"""Areas and curves against scikit-learn, derivatives, DeLong's formula, Welch's test and simulation."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import ttest_ind
from sklearn import metrics as oracle

from tenfold.estimate import units_of
from tenfold.metrics.intervals import _freedom, area_estimate
from tenfold.metrics.ranking import (
    MOST_POINTS,
    Area,
    average_precision,
    precision_recall_curve,
    ranked,
    roc_auc,
    roc_curve,
)


def problem(count: int, digits: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Positives and scores; few `digits` give ties."""
    rng = np.random.default_rng(3)
    positive = rng.random(count) < 0.4
    return positive, (rng.standard_normal(count) + 1.2 * positive).round(digits)


@pytest.mark.parametrize("digits", [12, 1])
def test_the_influences_of_the_roc_area_are_derivatives_and_its_variance_delongs(digits: int) -> None:
    positive, score = problem(30, digits)
    found = roc_auc(ranked(positive, score))
    step = 1e-6
    for row in range(len(score)):
        weights = np.ones(len(score))
        weights[row] += step
        judge = oracle.roc_auc_score(positive, score, sample_weight=weights) - oracle.roc_auc_score(positive, score)
        assert found.influence[row] == pytest.approx(judge / step, abs=1e-5)
    wins = (score[positive][:, None] > score[~positive]) + 0.5 * (score[positive][:, None] == score[~positive])
    delong = wins.mean(1).var() / positive.sum() + wins.mean(0).var() / (~positive).sum()
    assert np.sum(found.influence**2) == pytest.approx(delong)


@pytest.mark.parametrize(("count", "digits"), [(30, 12), (30, 1), (6, 12), (5, 0)])
def test_the_influences_of_average_precision_are_a_jackknifes(count: int, digits: int) -> None:
    positive, score = problem(count, digits)
    positive[:2] = True, False
    found = average_precision(ranked(positive, score))
    left = np.full(count, found.value)
    for row in range(count):
        rest = np.arange(count) != row
        if positive[rest].any():
            left[row] = oracle.average_precision_score(positive[rest], score[rest])
    assert found.influence == pytest.approx((count - 1) / count * (left.mean() - left))
    jackknife = (count - 1) / count * np.sum((left - left.mean()) ** 2)
    assert np.sum(found.influence**2) * count / (count - 1) == pytest.approx(jackknife)


def test_a_single_positive_image_has_an_interval_that_says_how_little_it_is() -> None:
    positive = np.arange(50) == 7
    score = np.random.default_rng(0).random(50)
    score[7] = 2.0
    for area in (roc_auc, average_precision):
        found = area_estimate(area(ranked(positive, score)), units_of(None, 50), 0.95)
        assert (found.value, found.high) == (1.0, 1.0)
        assert found.low < 0.2


def test_degrees_of_freedom_are_welchs() -> None:
    """Of placement values in two classes, as those of a t-test that allows for unequal variances."""
    rng = np.random.default_rng(1)
    positive = np.arange(600) < 60
    found = roc_auc(ranked(positive, rng.standard_normal(600) + positive))
    parts = [found.influence[rows] * rows.sum() for rows in (positive, ~positive)]
    expected = ttest_ind(*parts, equal_var=False).df
    assert _freedom(found, units_of(None, 600), found.value) == pytest.approx(expected, rel=0.05)
    groups = np.arange(600).astype(object) // 5  # influences that come in fives: a fifth of the units
    same = Area(found.value, np.repeat(found.influence[::5], 5), found.trials, positive)
    parts = [found.influence[::5][rows[::5]] * rows.sum() for rows in (positive, ~positive)]
    expected = ttest_ind(*parts, equal_var=False).df
    assert _freedom(same, units_of(groups, 600), found.value) == pytest.approx(expected, rel=0.15)


def test_curves_are_scikit_learns_and_short() -> None:
    positive, score = problem(60, 1)
    fpr, tpr, _ = oracle.roc_curve(positive, score, drop_intermediate=False)
    found = roc_curve(ranked(positive, score))
    points = set(zip(found["fpr"], found["tpr"], strict=True))
    assert points <= set(zip(fpr.round(6).tolist(), tpr.round(6).tolist(), strict=True))
    assert np.trapezoid(found["tpr"], found["fpr"]) == pytest.approx(oracle.roc_auc_score(positive, score), abs=1e-5)
    precision, recall, _ = oracle.precision_recall_curve(positive, score)
    both = precision_recall_curve(ranked(positive, score))
    assert both["recall"] == pytest.approx(recall[::-1], abs=1e-6)
    assert both["precision"] == pytest.approx(precision[::-1], abs=1e-6)
    order = ranked(*problem(5000, 12))
    for curve in (roc_curve(order), precision_recall_curve(order)):
        assert {len(values) for values in curve.values()} == {MOST_POINTS}
    assert (roc_curve(order)["fpr"][0], roc_curve(order)["tpr"][-1]) == (0.0, 1.0)


@pytest.mark.parametrize(("count", "least"), [(30, 0.9), (100, 0.92)])
@pytest.mark.parametrize("skill", [0.5, 1.645])  # ROC areas 0.64 and 0.99
def test_intervals_of_areas_hold_the_truth_near_one(count: int, least: float, skill: float) -> None:
    rng = np.random.default_rng(3)
    units = units_of(None, count)

    def drawn(images: int) -> Any:
        positive = np.arange(images) % 2 == 0
        return ranked(positive, rng.standard_normal(images) + 2 * skill * positive)

    for area in (roc_auc, average_precision):
        truth, rounds = area(drawn(400_000)).value, 400
        figures = [area_estimate(area(drawn(count)), units, 0.95) for _ in range(rounds)]
        assert np.mean([figure.low <= truth <= figure.high for figure in figures]) >= least
        assert all(figure.low < figure.high for figure in figures)


@pytest.mark.parametrize("area", [roc_auc, average_precision])
def test_few_positive_groups_are_known_to_say_little(area: Any) -> None:
    """One in 50 of 300 images in groups of 5: without Welch's degrees of freedom 60 to 85 % held the truth."""
    rng = np.random.default_rng(4)
    units = units_of((np.arange(300) // 5).astype(object), 300)

    def drawn(groups: int) -> Any:
        positive = np.repeat(rng.random(groups) < 0.02, 5)
        effect = np.repeat(rng.standard_normal(groups), 5) * np.sqrt(0.3)
        score = effect + rng.standard_normal(5 * groups) * np.sqrt(0.7) + 0.5 * positive
        return ranked(positive, score) if 0 < positive.sum() < len(positive) else None

    truth = area(drawn(100_000)).value
    figures = [area_estimate(area(order), units, 0.95) for _ in range(400) if (order := drawn(60))]
    assert np.mean([figure.low <= truth <= figure.high for figure in figures]) >= 0.92
