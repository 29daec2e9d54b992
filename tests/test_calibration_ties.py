"""Calibration where images have equal probabilities, as of a network that knows nothing, or is as sure as can be."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tenfold.estimate import Estimate, units_of
from tenfold.metrics.calibration import calibration_error, equal_bins
from tenfold.report.blocks.calibration import _plots, _verdict

Numbers = NDArray[np.float64]


def error_of(confidence: Numbers, right: Numbers) -> Estimate:
    return calibration_error(confidence, right, units_of(None, len(right)))


def test_a_model_that_knows_nothing_and_says_so_is_calibrated_in_whatever_order() -> None:
    """Five classes, each with the probability 0.2, in a table in the order of the classes."""
    found = error_of(np.full(200, 0.2), np.repeat([1.0, 0, 0, 0, 0], 40))
    assert found.value == 0
    assert 0.03 < found.high < 0.15


def test_a_model_that_is_as_sure_of_all_is_off_by_what_it_lacks() -> None:
    right = np.repeat([1.0, 0], 100)
    found = error_of(np.full(200, 0.9), right)
    assert found.value == pytest.approx(np.sqrt(0.4**2 - right.var(ddof=1) / 200))
    assert found.low < 0.4 < found.high
    assert found.method == "debiased, 1 bins over images"


@pytest.mark.parametrize("levels", [1, 2, 3, 7, 40])
def test_the_order_of_the_table_does_not_matter(levels: int) -> None:
    rng = np.random.default_rng(levels)
    confidence = rng.choice(np.linspace(0.3, 1, levels), 300)
    right = (rng.random(300) < confidence - 0.1).astype(float)
    by_class = np.argsort(-right, kind="stable")
    found, other = error_of(confidence, right), error_of(confidence[by_class], right[by_class])
    assert (found.value, found.low, found.high) == pytest.approx((other.value, other.low, other.high))
    bins = equal_bins(confidence)
    assert sorted(np.concatenate(bins).tolist()) == list(range(300))
    assert all(len(rows) >= 2 for rows in bins)
    held = [set(confidence[rows].tolist()) for rows in bins]
    assert sum(len(values) for values in held) == len(set().union(*held))  # none is in two bins
    if levels <= 3:
        assert len(bins) == levels


def test_a_lone_confidence_is_no_bin_of_its_own() -> None:
    for confidence in ([0.1] + [0.9] * 99, [0.1] * 99 + [0.9], [0.1] + [0.5] * 98 + [0.9]):
        assert [len(rows) for rows in equal_bins(np.array(confidence))] == [100]
    assert [len(rows) for rows in equal_bins(np.array([0.1] * 2 + [0.9] * 98))] == [2, 98]


def test_an_error_of_zero_is_no_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images, one of them right, at a confidence of 0.9: off by 0.4 as far as anyone sees, which may be chance."""
    error = error_of(np.array([0.9, 0.91]), np.array([1.0, 0]))
    assert error.value == 0
    bins = [{"confidence": 0.905, "accuracy": Estimate(0.5, 0.1, 0.9, 0.95, 2, "Wilson over images")}]
    context: Any = SimpleNamespace(details={"reliability": bins}, figures={"calibration_error": error})
    said = _verdict(context).replace("\u00a0", " ")
    assert said == (
        "The model is 90.5 % sure on average and right in 50.0 %. Chance alone makes as much of 2 images: that its "
        "probabilities are off at all cannot be told, and they may be off by up to 100.0 %."
    )


def test_points_of_unequal_size_say_their_sizes() -> None:
    def drawing(*sizes: int) -> str:
        bins = [
            {"confidence": 0.5 + 0.1 * place, "accuracy": Estimate(0.5, 0.4, 0.6, 0.95, size, "Wilson over images")}
            for place, size in enumerate(sizes)
        ]
        coverage = [{"coverage": 1.0, "accuracy": bins[0]["accuracy"]}]
        return _plots({"reliability": bins, "coverage": coverage})[0][2]

    assert "Each point is about 21 images" in drawing(21, 20)
    assert "Each point is 4 to 90 images" in drawing(4, 90)
