"""Calibration: the error against slow oracles and its interval in simulation; the temperature against scipy's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from tenfold.errors import UsageError
from tenfold.estimate import units_of
from tenfold.metrics.answers import Answers
from tenfold.metrics.calibration import (
    calibration_error,
    equal_bins,
    fit_temperature,
    probabilities,
    reliability,
)


def network(
    rng: np.random.Generator, count: int, classes: int = 5, skill: float = 2.5, temperature: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits float64 [N, K] that are right when divided by `temperature`, and labels int64 [N]."""
    truth = rng.integers(0, classes, count)
    seen = rng.standard_normal((count, classes))
    seen[np.arange(count), truth] += skill
    return seen * skill * temperature, truth


def log_loss(logits: NDArray[np.float64], truth: NDArray[np.int64], temperature: float) -> float:
    return float(-log_softmax(logits / temperature, axis=1)[np.arange(len(truth)), truth].mean())


def test_probabilities_are_the_softmax() -> None:
    logits = np.random.default_rng(0).normal(0, 300, (20, 4))
    assert probabilities(logits, 2.5) == pytest.approx(np.exp(log_softmax(logits / 2.5, axis=1)), abs=1e-15)
    assert probabilities(logits).sum(1) == pytest.approx(np.ones(20))


@pytest.mark.parametrize(("count", "bins"), [(1, 1), (2, 1), (5, 2), (30, 6), (100, 9), (551, 15), (50_000, 15)])
def test_bins_hold_equally_many(count: int, bins: int) -> None:
    confidence = np.random.default_rng(1).random(count)
    found = equal_bins(confidence)
    sizes = [len(rows) for rows in found]
    assert len(found) == bins
    assert max(sizes) - min(sizes) <= 1
    assert sorted(np.concatenate(found).tolist()) == list(range(count))
    assert all(confidence[a].max() <= confidence[b].min() for a, b in pairwise(found))


def slow_error(confidence: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Bin by bin and image by image; the expected square of a mean is that of its expectation and its variance."""
    order = sorted(range(len(right)), key=lambda row: confidence[row])
    total, start, bins = 0.0, 0, len(equal_bins(confidence))
    for number in range(bins):
        stop = start + len(right) // bins + (number < len(right) % bins)
        gaps = [right[row] - confidence[row] for row in order[start:stop]]
        total += len(gaps) * (np.mean(gaps) ** 2 - np.var(gaps, ddof=1) / len(gaps))
        start = stop
    return float(np.sqrt(max(total / len(right), 0)))


@pytest.mark.parametrize("count", [4, 31, 200, 1000])
def test_the_error_is_that_of_a_slow_loop(count: int) -> None:
    rng = np.random.default_rng(count)
    confidence = rng.uniform(0.5, 1, count)
    right = (rng.random(count) < confidence - 0.2).astype(float)
    found = calibration_error(confidence, right, units_of(None, count))
    assert found.value == pytest.approx(slow_error(confidence, right))
    assert found.n == count
    assert found.method == f"debiased, {len(equal_bins(confidence))} bins over images"


def test_the_square_is_debiased() -> None:
    """On average it is the square of the true distance, where the usual estimate is far above."""
    rng, squares, biased = np.random.default_rng(3), [], []
    for _ in range(2000):
        confidence = rng.uniform(0.6, 1, 60)
        gaps = (rng.random(60) < confidence - 0.1).astype(float) - confidence
        bins = equal_bins(confidence)
        biased.append(np.mean([gaps[rows].mean() ** 2 for rows in bins]))
        squares.append(np.mean([gaps[rows].mean() ** 2 - gaps[rows].var(ddof=1) / len(rows) for rows in bins]))
    assert np.mean(squares) == pytest.approx(0.1**2, abs=0.0015)
    assert np.mean(biased) > 3 * 0.1**2


TOYS = {
    "calibrated": lambda sure: sure,
    "too sure by 0.05": lambda sure: sure - 0.05,
    "too sure by 0.15": lambda sure: sure - 0.15,
    "not sure enough": lambda sure: 1 / (1 + ((1 - sure) / sure) ** 2),
}


@pytest.mark.parametrize("accuracy", [0.6, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("toy", TOYS)
def test_the_interval_holds_the_truth(toy: str, accuracy: float) -> None:
    """Rounds of a fixed seed: 93 to 100 % of them, of which the calibrated and nearly perfect ones are the 100 %."""
    rng, rounds = np.random.default_rng(5), 120

    def confidences(count: int) -> NDArray[np.float64]:
        place = (accuracy - 0.2) / 0.8
        return np.clip(0.2 + 0.8 * rng.beta(8 * place, 8 * (1 - place), count), 0.201, 1 - 1e-6)

    many = confidences(100_000)
    true = float(np.sqrt(np.mean((TOYS[toy](many) - many) ** 2)))
    for count in (30, 100, 1000):
        covered = 0
        for _ in range(rounds):
            sure = confidences(count)
            right = (rng.random(count) < TOYS[toy](sure)).astype(float)
            found = calibration_error(sure, right, units_of(None, count))
            assert 0 <= found.low <= found.value <= found.high <= 1
            assert found.high - found.low > 0.3 / count
            covered += found.low <= true <= found.high
        assert covered >= 0.9 * rounds, count


def test_images_of_one_group_err_together() -> None:
    """Groups that are right or wrong as wholes: counted one by one they would look miscalibrated."""
    rng, covered, naive = np.random.default_rng(6), 0, 0
    for _ in range(100):
        groups = np.repeat(np.arange(40), 10)
        sure = np.clip(rng.uniform(0.6, 0.95, 40)[groups] + rng.normal(0, 0.02, 400), 0.5, 1)
        right = (rng.random(40) < sure.reshape(40, 10).mean(1)).astype(float)[groups]
        covered += calibration_error(sure, right, units_of(groups.astype(object), 400)).low == 0
        naive += calibration_error(sure, right, units_of(None, 400)).low == 0
    assert covered >= 90
    assert naive < 50


@pytest.mark.parametrize(("sure", "right"), [([0.7], [1.0]), ([1.0] * 50, [1.0] * 50), ([0.5] * 20, [0.0] * 20)])
def test_no_interval_has_no_width(sure: list[float], right: list[float]) -> None:
    found = calibration_error(np.array(sure), np.array(right), units_of(None, len(sure)))
    assert found.low < found.high
    assert found.low <= abs(np.mean(right) - np.mean(sure)) <= found.high


def test_the_reliability_curve_is_what_the_bins_hold() -> None:
    rng = np.random.default_rng(7)
    logits, truth = network(rng, 300)
    probability = probabilities(logits)
    answers = Answers(truth, probability, probability.argmax(1), units_of(None, 300))
    curve = reliability(answers, 0.9)
    assert sum(row["accuracy"].n for row in curve) == 300
    assert [row["confidence"] for row in curve] == sorted(row["confidence"] for row in curve)
    assert curve[-1]["accuracy"].level == 0.9
    rows = np.argsort(probability.max(1))[-curve[-1]["accuracy"].n :]
    assert curve[-1]["accuracy"].value == np.mean(probability.argmax(1)[rows] == truth[rows])


@pytest.mark.parametrize("temperature", [0.4, 1.6, 3.0])
def test_of_many_images_the_temperature_is_the_most_likely_one(temperature: float) -> None:
    logits, truth = network(np.random.default_rng(8), 20_000, temperature=temperature)
    best = minimize_scalar(lambda guess: log_loss(logits, truth, guess), bounds=(0.1, 10), method="bounded").x
    assert fit_temperature(logits, truth) == pytest.approx(best, rel=0.07)
    assert fit_temperature(logits, truth) == pytest.approx(temperature, rel=0.07)


def test_the_temperature_minimizes_the_penalized_loss() -> None:
    """The objective of its docstring, by another optimizer, over the inverse of the temperature."""
    for seed, temperature in ((0, 0.6), (1, 1.5), (2, 2.5)):
        logits, truth = network(np.random.default_rng(seed), 80, temperature=temperature)
        probability = probabilities(logits)
        mean = (probability * logits).sum(1, keepdims=True)
        slopes = mean[:, 0] - logits[np.arange(80), truth]
        error = np.sqrt(max((probability * (logits - mean) ** 2).sum(), (slopes**2).sum()))

        def objective(sharpness: float, logits=logits, truth=truth, error=error) -> float:
            return 80 * log_loss(logits, truth, 1 / sharpness) + 1.5 * error * abs(sharpness - 1)

        best = minimize_scalar(objective, bounds=(0.05, 20), method="bounded", options={"xatol": 1e-9}).x
        assert 1 / fit_temperature(logits, truth) == pytest.approx(best, abs=1e-4)


def test_of_thirty_images_little_is_believed() -> None:
    """Ten draws each: a right model stays within 30 % of 1, and held-out loss is not worse by more than a bit."""
    for temperature in (0.8, 1.0, 1.25, 2.0):
        rng, gains = np.random.default_rng(9), []
        held_out, labels = network(rng, 5000, temperature=temperature)
        for _ in range(10):
            found = fit_temperature(*network(rng, 30, temperature=temperature))
            gains.append(log_loss(held_out, labels, 1.0) - log_loss(held_out, labels, found))
            assert temperature != 1 or 1 / 1.3 < found < 1.3
        assert np.mean(gains) >= -0.001
        assert temperature != 2 or np.mean(gains) > 0.02


@pytest.mark.parametrize("count", [1, 3, 30])
def test_all_right_or_all_wrong_gives_a_temperature_in_range(count: int) -> None:
    logits = np.tile([4.0, 0.0, -1.0], (count, 1))
    assert 0.5 < fit_temperature(logits, np.zeros(count, int)) <= 1
    assert 1 <= fit_temperature(logits, np.full(count, 2)) <= 20
    # One image, however wrong, is no evidence: its slope is no larger than its error.
    assert fit_temperature(np.tile([400.0, 0.0], (count, 1)), np.ones(count, int)) == (20 if count > 1 else 1)
    assert fit_temperature(np.zeros((count, 3)), np.zeros(count, int)) == 1


def test_groups_count_as_less_evidence() -> None:
    logits, truth = network(np.random.default_rng(10), 40, temperature=1.5)
    repeated, labels = np.repeat(logits, 12, axis=0), np.repeat(truth, 12)
    groups = np.repeat(np.arange(40), 12).astype(object)
    alone, together = fit_temperature(repeated, labels), fit_temperature(repeated, labels, groups)
    assert 1 <= together < alone


@pytest.mark.parametrize(
    ("logits", "truth"), [(np.zeros((0, 2)), np.zeros(0, int)), (np.zeros(3), np.zeros(3, int)),
                          (np.full((2, 2), np.nan), np.zeros(2, int)), (np.zeros((3, 2)), np.zeros(2, int))]
)  # fmt: skip
def test_what_is_not_logits_is_refused(logits: NDArray[np.float64], truth: NDArray[np.int64]) -> None:
    with pytest.raises(UsageError, match="logits must be finite, a row for each of the labels, not"):
        fit_temperature(logits, truth)
