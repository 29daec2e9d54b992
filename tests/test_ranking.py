"""Areas and curves against scikit-learn, derivatives, DeLong's formula and simulation."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn import metrics as oracle

from tenfold.estimate import units_of
from tenfold.metrics.intervals import area_estimate
from tenfold.metrics.ranking import MOST_POINTS, average_precision, precision_recall_curve, ranked, roc_auc, roc_curve


def problem(count: int, digits: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Positives and scores; few `digits` give ties."""
    rng = np.random.default_rng(3)
    positive = rng.random(count) < 0.4
    return positive, (rng.standard_normal(count) + 1.2 * positive).round(digits)


@pytest.mark.parametrize("digits", [12, 1])
@pytest.mark.parametrize("area", [roc_auc, average_precision])
def test_influences_are_derivatives_and_roc_variance_is_delongs(area: Any, digits: int) -> None:
    positive, score = problem(30, digits)
    judge = oracle.roc_auc_score if area is roc_auc else oracle.average_precision_score
    found = area(ranked(positive, score))
    step = 1e-6
    for row in range(len(score)):
        weights = np.ones(len(score))
        weights[row] += step
        slope = (judge(positive, score, sample_weight=weights) - judge(positive, score)) / step
        assert found.influence[row] == pytest.approx(slope, abs=1e-5)
    if area is roc_auc:
        wins = (score[positive][:, None] > score[~positive]) + 0.5 * (score[positive][:, None] == score[~positive])
        delong = wins.mean(1).var() / positive.sum() + wins.mean(0).var() / (~positive).sum()
        assert np.sum(found.influence**2) == pytest.approx(delong)


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


@pytest.mark.parametrize("count", [30, 100])
@pytest.mark.parametrize("skill", [0.5, 1.645])  # ROC areas 0.64 and 0.99
def test_intervals_of_areas_hold_the_truth_near_one(count: int, skill: float) -> None:
    rng = np.random.default_rng(3)
    units = units_of(None, count)

    def drawn(images: int) -> Any:
        positive = np.arange(images) % 2 == 0
        return ranked(positive, rng.standard_normal(images) + 2 * skill * positive)

    for area in (roc_auc, average_precision):
        truth, rounds = area(drawn(400_000)).value, 400
        figures = [area_estimate(area(drawn(count)), units, 0.95) for _ in range(rounds)]
        assert np.mean([figure.low <= truth <= figure.high for figure in figures]) >= 0.92
        assert all(figure.low < figure.high for figure in figures)
