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
    assert (advice.validation, advice.test, advice.folds) == (0.15, 0.15, "")
    assert "70 % train, 15 % validation, 15 % test" in advice.reasons[0]


def test_a_part_that_would_tell_little_grows_while_classes_keep_enough():
    advice = advise_split(made([150, 150]))
    assert 0.15 < advice.test <= 0.3
    assert (1 - advice.validation - advice.test) * 150 >= 20


def test_few_images_a_class_are_not_taken_from_training():
    advice = advise_split(made([10] * 6))
    assert (advice.validation, advice.test, advice.folds) == (0.15, 0.15, "5x2")
    rest = len(split_table(made([10] * 6)).without("test"))
    assert advice.reasons[-1] == (
        f"Cross-validation measures on each of the {rest} other images in turn and tells more, at best "
        f"{100 * half_width(0.9, rest):.1f} points to each side: tenfold train DATA --folds 5x2"
    )


def test_a_large_set_gives_the_rest_to_training():
    advice = advise_split(made([20_000, 30_000]))
    assert advice.test == pytest.approx(2_000 / 50_000)
    assert advise_split(made([120] * 400)).test == pytest.approx(4_000 / 48_000, abs=0.001)  # ten a class


def test_few_groups_are_told_of_and_do_not_change_the_shares():
    alone, few = advise_split(made([500, 500])), advise_split(made([500, 500], group_size=20))
    assert few.test == alone.test
    assert (alone.folds, few.folds) == ("", "5x2")
    assert few.reasons[2].startswith(
        "These images count as 50: 50 groups, sets of copies or rows of shots. Of these 50 the test part gets about 8:"
    )
    many = advise_split(made([500, 500], group_size=4))
    assert not many.folds
    assert many.reasons[-1] == (
        "These images count as 250: 250 groups, sets of copies or rows of shots. If those of one are all alike, the "
        f"test figure will be known to about {100 * half_width(0.9, 38):.1f} points only."
    )
    assert [advice.separate for advice in (alone, few, many)] == [1000, 50, 250]


def test_groups_and_images_alone_are_told_apart():
    table = made([67, 68]).assign(group=[f"g{row // 15}" if row < 131 else None for row in range(135)])
    advice, split = advise_split(table), split_table(table)
    assert "131 images belong to 9 groups, sets of copies or rows of shots" in split.notes[0]
    assert split.notes[0].endswith("each kept in one part; 4 more are tied to none.")
    assert (
        "These images count as 13: 9 groups, sets of copies or rows of shots, and 4 images alone. Of these 13"
        in (advice.reasons[2])
    )


def test_a_share_that_is_given_stays_and_the_reasons_are_of_what_results():
    table = made([600, 700, 900, 800, 670])
    advice = advise_split(table, test=0.3)
    assert (advice.validation, advice.test, advice.tested, advice.kept) == (0.15, 0.3, 1101, (330, 495))
    assert advice.reasons[0].endswith("55 % train, 15 % validation, 30 % test (as asked).")
    assert "(1,101 images), and a class keeps 330 to 495 training images." in advice.reasons[1]
    assert advise_split(table, validation=0.9).test == pytest.approx(0.05)
    none = advise_split(table, test=0.0)
    assert (none.test, none.width, none.tested, none.folds) == (0, 0.5, 0, "")
    assert none.reasons[1].startswith("Without a test part no figure")
    with pytest.raises(UsageError, match=r"test must be from 0 to 0\.9, not 20"):
        advise_split(table, test=20)


def test_the_numbers_are_there_as_numbers():
    advice = advise_split(made([600, 700, 900, 800, 670]), expected=0.8)
    assert advice.to_json() == {
        "validation": 0.15,
        "test": 0.15,
        "expected_accuracy": 0.8,
        "half_width": pytest.approx(half_width(0.8, 550)),
        "test_images": 550,
        "training_images_per_class": {"least": 420, "most": 630},
        "separate_images": 3670,
        "folds": None,
        "reasons": advice.reasons,
    }


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
    assert (advice.validation, advice.test, advice.folds) == (0.15, 0.15, "")


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
    assert "keeps 1 to 2 training images" in reasons  # of four one each is in the other parts


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
