"""Evaluation: a look is counted when it is shown and only then, and the ledger survives whatever its writers do not."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenfold import files
from tenfold.errors import DataError, UsageError
from tenfold.evaluate import Evaluation, evaluate_run, evaluation, ledger
from tenfold.evaluate.ledger import record_look
from tenfold.looks import Looks, count_looks, ledger_path
from tenfold.report import write_report
from tenfold.run import Run
from tenfold.train import train_model
from tests.toys import quick_recipe, shapes_table

HASHES = [f"{number:032x}" for number in range(2**64, 2**64 * 2000, 2**64 * 100)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return ledger_path(tmp_path / "run")


def look(path: Path, hashes: list[str] = HASHES, name: str = "run") -> int:
    return record_look(path, path.parent / name, hashes)


# The ledger


def test_looks_are_counted_by_the_images_and_not_by_the_name(path: Path) -> None:
    assert [look(path), look(path, name="copy"), look(path, HASHES[:1]), look(path, HASHES[1:])] == [1, 2, 3, 3]
    assert look(path, ["f" * 32]) == 1
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [(line["run"], line["look"], line["images"]) for line in lines[:2]] == [("run", 1, 20), ("copy", 2, 20)]
    assert list(path.parent.iterdir()) == [path]  # no lock is left


def test_a_name_of_any_characters_is_one_line(path: Path) -> None:
    names = ["hoa hồng 🌹", "line\u2028break\x85", "no unicode \udce9"]
    assert [look(path, name=name) for name in names] == [1, 2, 3]
    lines = path.read_bytes().split(b"\n")
    assert [json.loads(line)["run"] for line in lines[:-1]] == names
    assert names[0].encode() in lines[0]


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_line_that_was_cut_off_does_not_count_and_goes(path: Path, left: int) -> None:
    look(path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:left])
    assert count_looks(path, HASHES) == 1
    assert path.read_bytes() == whole + whole[:left]  # counting changes nothing
    assert look(path) == 2
    assert path.read_bytes().startswith(whole)
    assert [json.loads(line)["look"] for line in path.read_bytes().splitlines()] == [1, 2]


def test_a_damaged_line_among_others_is_refused(path: Path) -> None:
    look(path)
    path.write_bytes(b'{"time": \n' + path.read_bytes())
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"The ledger of looks .* is damaged"):
        look(path)
    assert path.read_bytes() == before
    assert not path.with_suffix(".lock").exists()


def test_a_full_disk_is_told_of_and_loses_no_look(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    look(path)
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: real(handle, data[:30]))
    with pytest.raises(DataError, match=rf"cannot be noted in .* \({os.strerror(errno.ENOSPC)}\)"):
        look(path)
    monkeypatch.undo()
    assert look(path) == 2


def test_looks_at_once_get_numbers_of_their_own(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = ledger.looks_at

    def slowly(run: Path, hashes: list[str]) -> Looks:
        found = real(run, hashes)
        time.sleep(0.02)
        return found

    monkeypatch.setattr(ledger, "looks_at", slowly)
    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(lambda _: look(path), range(6))) == [1, 2, 3, 4, 5, 6]
    assert len(path.read_bytes().splitlines()) == 6


def test_another_writer_is_waited_for_but_not_forever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = path.with_suffix(".lock")
    lock.touch()
    removal = threading.Timer(0.2, lock.unlink)
    removal.start()
    assert look(path) == 1
    removal.join()
    lock.touch()
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    with pytest.raises(DataError, match=r"holds .*ledger\.lock; where none is running, one was killed: remove"):
        look(path)
    assert lock.exists()  # it is not ours
    assert count_looks(path, HASHES) == 1


# What counts as a look


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("evaluate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(folder / "cache"))
        return train_model(shapes_table(folder / "data", 10), quick_recipe(train={"epochs": 1}), folder / "run")


@pytest.fixture
def fresh(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run without a look or an evaluation yet."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    for name in ("predictions.parquet", "evaluation.json", "ledger.jsonl"):
        (run.path / name).unlink(missing_ok=True)
    ledger_path(run.path).unlink(missing_ok=True)
    return run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 2}, "level"),
        ({"positive": "typo"}, "positive is for two classes"),
        ({"threshold": 1.5}, "threshold must lie between 0 and 1"),
        ({"top_k": 0}, "top_k must be at least 1"),
        ({"levle": 0.9}, r"must be one of level, positive, threshold, top_k, not 'levle'; did you mean 'level'\?"),
    ],
)
def test_a_wrong_option_is_no_look(fresh: Run, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        evaluate_run(fresh, "test", **options)
    assert not ledger_path(fresh.path).exists()
    assert fresh.evaluations == {}
    assert evaluate_run(fresh, "test").look == 1


def test_what_cannot_be_noted_is_not_shown(fresh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Callable[..., int]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "write", refuse)
    with pytest.raises(DataError, match=r"cannot be noted in .* \(Permission denied\), so its figures are not shown"):
        evaluate_run(fresh, "test")
    assert fresh.evaluations == {}
    assert not (fresh.path / "predictions.parquet").exists()


@pytest.mark.parametrize("name", ["predictions.parquet", "evaluation.json"])
def test_a_damaged_file_of_the_run_costs_no_look(fresh: Run, name: str) -> None:
    (fresh.path / name).write_bytes(b"{")
    with pytest.raises(DataError, match=rf"{name} is damaged"):
        evaluate_run(fresh, "test")
    assert not ledger_path(fresh.path).exists()


@pytest.mark.parametrize("column", ["sample", "label", "predicted", "probability"])
def test_a_report_names_predictions_that_lack_a_column(fresh: Run, column: str) -> None:
    evaluate_run(fresh, "test")
    file = fresh.path / "predictions.parquet"
    pd.read_parquet(file).drop(columns=column).to_parquet(file)
    with pytest.raises(DataError, match=rf"predictions\.parquet is damaged: it has no column {column}; delete it"):
        write_report(fresh)


def unlabeled(run: Run, rows: list[int]) -> Run:
    """The run with these images of its test part without a label."""
    test = np.flatnonzero(run.table.samples["part"] == "test")
    labels = run.table.samples["label"].to_numpy(object, copy=True)
    labels[test[rows]] = None
    return Run(run.path, run.table.assign(label=labels))


def test_images_without_a_label_are_counted_apart(fresh: Run) -> None:
    whole = evaluate_run(fresh, "test")
    count = whole.n
    part = evaluate_run(unlabeled(fresh, [0, 3]), "test")
    assert (whole.unlabeled, part.unlabeled, part.n) == (0, 2, count - 2)
    assert part.figures["accuracy"].n == part.n == np.sum(part.details["confusion"])
    assert whole.basis == f"{count} test images"
    assert str(part).endswith(f" on {count - 2} test images (2 more without a label left out)")
    assert fresh.evaluations["test"]["unlabeled"] == 2
    assert Evaluation.from_json(fresh.evaluations["test"]).basis == part.basis
    assert len(fresh.predictions("test")) == count


def test_a_part_without_any_label_is_refused_and_no_look(fresh: Run) -> None:
    count = len(fresh.table.part("test"))
    with pytest.raises(UsageError, match=r"^The test part has no labelled image; use tenfold predict\.$"):
        evaluate_run(unlabeled(fresh, list(range(count))), "test")
    assert not ledger_path(fresh.path).exists()
    assert fresh.evaluations == {}


def test_the_validation_part_is_free_to_look_at(fresh: Run) -> None:
    assert [evaluate_run(fresh, "validation").look for _ in range(2)] == [0, 0]
    assert len(ledger_path(fresh.path).read_bytes().splitlines()) == 1  # for whom these images are test images
    assert evaluate_run(fresh, "test").look == 1
    assert evaluate_run(fresh, "validation").figures["accuracy"].method == "Wilson over images"


# Two at once


def test_two_evaluations_of_one_run_at_once_lose_nothing(fresh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    real = evaluation.record_look

    def meanwhile(*arguments: Any, part: str) -> int:
        """What another process does after this one has read what the run holds."""
        if part == "test":
            evaluate_run(Run(fresh.path, fresh.table), "validation")
        return real(*arguments, part=part)

    monkeypatch.setattr(evaluation, "record_look", meanwhile)
    evaluate_run(fresh, "test")
    assert set(fresh.evaluations) == {"validation", "test"}
    assert [len(fresh.predictions(part)) for part in ("validation", "test")] == [6, 6]
    assert not list(fresh.path.glob("*.lock"))


def test_an_evaluation_waits_for_another_that_is_writing(fresh: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = evaluate_run(fresh, "validation")
    before = (fresh.path / "predictions.parquet").read_bytes()
    lock = fresh.path / "evaluation.lock"
    lock.touch()
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    with pytest.raises(DataError, match=r"holds .*evaluation\.lock; where none is running, one was killed: remove"):
        evaluate_run(fresh, "test")
    assert (fresh.path / "predictions.parquet").read_bytes() == before
    assert set(fresh.evaluations) == {"validation"}
    monkeypatch.undo()
    removal = threading.Timer(0.2, lock.unlink)
    removal.start()
    assert evaluate_run(fresh, "test").look == 1  # noted before, and shown only now
    removal.join()
    assert Evaluation.from_json(fresh.evaluations["validation"]).figures == first.figures
