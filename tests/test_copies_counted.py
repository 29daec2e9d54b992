"""Augmented copies are counted apart from images: in a check, in folds and in a learning curve."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenfold.augment.policy import Policy
from tenfold.augment.save import Saving, save_augmented
from tenfold.augment.tree import op
from tenfold.check import check_table
from tenfold.check.findings import Evidence, gather
from tenfold.check.leaks import set_findings
from tenfold.estimate import Estimate
from tenfold.evaluate import folds as folds_module
from tenfold.evaluate import learning_curve
from tenfold.evaluate.learning_curve import Point, fit_learning_curve, say_repeated
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.recipe import Recipe
from tests.test_augment_command import MADE, flowers, own_cache, table_of  # noqa: F401 - fixtures
from tests.test_copies import with_copies
from tests.test_split import table_of as labelled

FAINT = Policy("faint", (op("brightness", 0.02),))
"""What it makes of an image is a copy of it to whoever looks."""


# A check


def test_copies_that_a_listing_declares_are_no_doubles(flowers: Path, tmp_path: Path) -> None:  # noqa: F811
    table = read_table(save_augmented(table_of(flowers), FAINT, MADE, tmp_path / "out", Saving(count=2)).listing)
    found = check_table(table)
    assert found.find("copies") is None
    declared = found.find("augmented")
    assert declared is not None
    assert (declared.images, declared.needs_decision) == (48, False)
    assert declared.evidence == "48 of the 72 are augmented copies of 24 images, as the listing says (copy_of)."
    assert found.together.sets == 0  # images stand alone, whatever is made of them
    hidden = table.assign(copy=[False] * 72, origin=[None] * 72)  # as where nothing declares them
    doubles = check_table(hidden).find("copies")
    assert doubles is not None
    assert (doubles.images, len(doubles.sets)) == (72, 24)


def test_of_a_set_with_declared_copies_the_pictures_are_counted() -> None:
    """Rows 0 to 3 are images, 4 and 5 copies of 0, 6 and 7 of 1, and so on."""
    table = with_copies(labelled(["a", "a", "b", "b"]), 2)
    copies = [Evidence((0, 1, 4, 5, 6), "resized"), Evidence((2, 8), "cropped"), Evidence((3, 9), "cropped")]
    found = gather(table, set_findings(table, copies, []))
    doubles = found.find("copies")
    assert doubles is not None
    assert [item.rows for item in doubles.sets] == [(0, 1, 4, 5, 6), (3, 9)]  # 9 is made of 2, and looks like 3
    assert doubles.images == 4
    assert doubles.evidence.startswith("4 images are copies or near copies of one another, in 2 sets.")
    assert doubles.price.startswith("The data hold 2 images fewer")
    same = labelled(["a", "a"])
    same = same.assign(hash=[same.samples["hash"][0]] * 2)
    [twice] = [one for one in set_findings(same, [Evidence((0, 1), "the same file")], []) if one]
    assert (twice.kind, twice.images) == ("copies", 2)  # two files with the same bytes: none is declared


def test_classes_are_as_uneven_as_their_images() -> None:
    table = labelled(["a"] * 40 + ["b"] * 10)
    assert check_kinds(table) == check_kinds(with_copies(table, 3)) - {"augmented"}
    few = with_copies(labelled(["a"] * 20 + ["b"] * 20), 5)
    assert "imbalance" not in check_kinds(few.take([row for row in range(240) if row < 40 or row >= 140]))


def check_kinds(table: Table) -> set[str]:
    from tenfold.check.classes import class_findings

    blocks = np.arange(len(table))
    about = [*class_findings(table, blocks), *set_findings(table, [], [])]
    return {finding.kind for finding in about if finding is not None}


# Folds and learning curves


def run_of(table: Table, name: str = "run") -> Any:
    figure = Estimate(0.5, 0.4, 0.6, 0.95, 8, "Wilson over images")
    task = SimpleNamespace(findings=lambda *a, **k: SimpleNamespace(figures={"accuracy": figure}))
    return SimpleNamespace(table=table, task=task, path=Path(name), recipe=Recipe())


def test_folds_say_copies_beside_images(monkeypatch: pytest.MonkeyPatch) -> None:
    table = labelled(["a", "b"] * 4)
    parted = table.assign(part=["train"] * 6 + ["validation"] * 2)
    copied = with_copies(parted, 3, parts=True)
    figure = Estimate(0.5, 0.4, 0.6, 0.95, 8, "Wilson over images")
    fold = folds_module._Fold({"accuracy": figure}, pd.DataFrame({"sample": [0]}), table)
    monkeypatch.setattr(folds_module, "_evaluate", lambda run, options: fold)
    found = folds_module.evaluate_folds([run_of(copied), run_of(copied)], 2)
    assert (found.n_train, found.n_copies) == (6, 18)
    assert found.basis == "this procedure at 6 training images and 18 copies of them, by 2 folds, 8 images"
    assert "each trained on 6 such images and 18 copies of them, reach on new ones" in found.estimand
    assert found.to_json()["n_copies"] == 18
    alone = folds_module.evaluate_folds([run_of(parted), run_of(parted)], 2)
    assert alone.basis == "this procedure at 6 training images, by 2 folds, 8 images"
    assert "copies" not in alone.estimand


def test_a_learning_curve_is_over_images(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = Estimate(0.5, 0.4, 0.6, 0.95, 100, "Wilson over images")
    answer = SimpleNamespace(figures={"accuracy": figure}, n=100)
    monkeypatch.setattr(learning_curve, "evaluate_run", lambda *a, **k: answer)
    runs = []
    for number, share in ((4, 0.25), (8, 0.5), (16, 1)):
        table = labelled(["a", "b"] * (number // 2)).assign(part=["train"] * number)
        runs.append(run_of(with_copies(table, 3, parts=True), f"share{share}-seed0"))
    found = learning_curve.evaluate_subsets(runs)
    assert [point.images for point in found.points] == [4, 8, 16]


def test_a_training_that_is_missing_from_the_curve_is_accounted_for() -> None:
    points = [Point(10 * share, 40 + share, 100, seed, share=share / 8) for share in (2, 4) for seed in (0, 1)]
    last = [Point(80, 60, 100, seed, share=1) for seed in range(3)]
    found = fit_learning_curve([*points, *last])
    assert (len(found.points), found.repeated, found.to_json()["repeated"]) == (5, 2, 2)
    assert say_repeated(found) == (
        "2 trainings on all images are not among these: with another seed the images are the same ones, and as many "
        "were told right, which is no news."
    )
    other = fit_learning_curve([*points, last[0], Point(80, 61, 100, 1, share=1)])
    assert (len(other.points), say_repeated(other)) == (6, "")
