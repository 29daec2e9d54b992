"""Advice on the shares of the parts: what each kind of problem gets, and that the reasons are true."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tenfold.errors import UsageError
from tenfold.estimate import wilson
from tenfold.images.table import Table, make_samples
from tenfold.split import advise_split, fold_tables, split_table
from tenfold.split.advice import half_width, images_needed


def made(counts: list[int], group_size: int = 1) -> Table:
    """A table of that many images a class, in groups where their size is above 1."""
    labels = [f"class {number}" for number, count in enumerate(counts) for _ in range(count)]
    columns: dict[str, object] = {
        "source": [f"{row}.png" for row in range(len(labels))],
        "hash": [f"{row:032x}" for row in range(len(labels))],
        "label": labels,
    }
    if group_size > 1:
        columns["group"] = [f"group {row // group_size}" for row in range(len(labels))]
    return Table(make_samples(columns, len(labels)), tuple(f"class {number}" for number in range(len(counts))))


def test_a_usual_problem_gets_the_usual_shares():
    advice = advise_split(made([600, 700, 900, 800, 670]))
    assert (advice.validation, advice.test, advice.folds) == (0.15, 0.15, False)
    assert "70 % train, 15 % validation, 15 % test" in advice.reasons[0]


def test_a_part_that_would_tell_little_grows_while_classes_keep_enough():
    advice = advise_split(made([150, 150]))
    assert 0.15 < advice.test <= 0.3
    assert (1 - advice.validation - advice.test) * 150 >= 20


def test_few_images_a_class_are_not_taken_from_training():
    advice = advise_split(made([10] * 6))
    assert (advice.validation, advice.test, advice.folds) == (0.15, 0.15, True)
    assert "tenfold train DATA --folds 5x2" in advice.reasons[-1]


def test_a_large_set_gives_the_rest_to_training():
    advice = advise_split(made([20_000, 30_000]))
    assert advice.test == pytest.approx(2_000 / 50_000)
    assert advise_split(made([120] * 400)).test == pytest.approx(4_000 / 48_000, abs=0.001)  # ten a class


def test_few_groups_are_told_of_and_do_not_change_the_shares():
    alone, few = advise_split(made([500, 500])), advise_split(made([500, 500], group_size=20))
    assert few.test == alone.test
    assert (alone.folds, few.folds) == (False, True)
    assert "These images are 50 groups, of which the test part gets about 8" in few.reasons[2]
    many = advise_split(made([500, 500], group_size=4))
    assert not many.folds
    assert "These images are 250 groups" in many.reasons[-1]


@pytest.mark.parametrize(
    ("table", "here"),
    [
        (made([30, 30], group_size=60), "here is 1:"),
        (made([30, 30], group_size=30), "here are 2:"),
        (made([1, 1]), "here are 2:"),
        (made([1]), "here is 1:"),
    ],
)
def test_too_few_separate_images_for_three_parts_are_all_that_is_said(table, here):
    advice = advise_split(table)
    [reason] = advice.reasons
    assert reason.startswith(f"Training, validation and test need 3 separate images or groups, and {here} no split")
    assert (advice.validation, advice.test, advice.folds) == (0.15, 0.15, False)


@pytest.mark.parametrize("table", [made([1, 1, 1]), made([2] * 7), made([20, 20, 20], group_size=10)])
def test_classes_that_cannot_be_in_three_parts_are_all_that_is_said(table):
    [reason] = advise_split(table).reasons
    assert reason.startswith("No class has 3 separate images or groups, so none can be in training, validation and")
    assert "no split gives a test figure" in reason


@pytest.mark.parametrize("table", [made([3, 3]), made([3]), made([40, 40], group_size=16), made([4, 2, 1]), made([10])])
def test_the_folds_that_are_advised_can_be_dealt(table):
    advice = advise_split(table)
    folds, repeats = map(int, re.search(r"--folds (\d)x(\d)$", advice.reasons[-1]).groups())
    split = split_table(table, validation=advice.validation, test=advice.test)
    assert len(list(fold_tables(split, folds, repeats=repeats))) == folds * repeats
    if folds < 5:
        with pytest.raises(UsageError, match="the number of folds"):
            fold_tables(split, folds + 1)


def test_one_of_a_kind_is_said_in_the_singular():
    reasons = " ".join(advise_split(made([4, 2, 1])).reasons)
    assert "to each side (1 image)" in reasons
    assert "keeps 1 to 3 training images" in reasons


def test_the_width_said_is_that_of_the_interval():
    advice = advise_split(made([500, 500]), expected=0.8)
    tested = round(1000 * advice.test)
    low, high = wilson(0.8 * tested, tested)
    assert advice.width == pytest.approx((high - low) / 2)
    assert f"about {100 * advice.width:.1f} points" in advice.reasons[1]
    assert f"keeps {500 - tested} training images" in advice.reasons[1]


@pytest.mark.parametrize("accuracy", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("width", [0.3, 0.05, 0.01])
def test_images_needed_is_the_fewest(accuracy, width):
    found = images_needed(accuracy, width)
    assert half_width(accuracy, found) <= width
    assert found == 1 or half_width(accuracy, found - 1) > width


def test_an_impossible_accuracy_is_refused():
    with pytest.raises(UsageError, match="expected must be from 0 to 1"):
        advise_split(made([5, 5]), expected=90)


def test_advice_needs_no_class():
    table = Table(made([40]).assign(label=[None] * 40).samples, ())
    assert np.isfinite(advise_split(table).width)
