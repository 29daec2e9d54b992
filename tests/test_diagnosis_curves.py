"""What the diagnosis computes from curves and looks, held against other ways to compute it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tenfold.estimate import Estimate, units_of, wilson
from tenfold.train.diagnosis.curves import blind_loss, change, gap


def test_a_change_is_a_paired_t_test():
    draw = np.random.default_rng(0)
    before, later = draw.exponential(1, 40), draw.exponential(1, 40)
    found = change(before, later, units_of(None, 40), 0.9)
    expected = stats.ttest_rel(later, before).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    groups = np.repeat(np.arange(20), 2).astype(object)  # twins: their sums are what varies
    means = (later - before).reshape(20, 2).mean(1)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    found = change(before, later, units_of(groups, 40))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_change_is_never_without_an_error():
    one = np.ones(1)
    assert change(one, one, units_of(None, 1)).high > 1e6
    same = change(np.ones(5), np.ones(5), units_of(None, 5))
    assert same.low < 0 < same.high


def test_a_gap_is_newcombe_s_tenth_method():
    """The first example in the paper: 56 of 70 against 48 of 80."""
    one, other = (
        Estimate(right / count, *wilson(right, count), 0.95, count, "") for right, count in ((56, 70), (48, 80))
    )
    found = gap(one, other)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("balanced", [False, True])
def test_no_blind_network_has_a_lower_loss(smoothing, balanced):
    images = np.array([70, 20, 10, 0])
    weight = np.where(images > 0, 1 / np.maximum(images, 1), 0) if balanced else np.ones(4)
    weight = images * weight / (images * weight).sum()
    targets = (1 - smoothing) * np.eye(4) + smoothing / 4
    found = blind_loss(images, smoothing, balanced=balanced)
    best = weight @ targets
    assert found == pytest.approx(-(best[best > 0] * np.log(best[best > 0])).sum())
    for seed in range(50):
        other = np.random.default_rng(seed).dirichlet(np.ones(4))
        assert found <= -(weight @ targets @ np.log(other)) + 1e-12
