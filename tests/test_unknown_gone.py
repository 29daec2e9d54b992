"""`evaluate --unknown` where an image has gone that the frozen network beside a fine-tuned one would have to see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tenfold.__main__ import main
from tenfold.errors import DataError
from tenfold.evaluate import evaluate_run
from tenfold.images.readers import read_table
from tenfold.run import Run, load_run
from tenfold.train import train_model
from tests.test_unknown import run, tiny, trained  # noqa: F401 - fixtures
from tests.toys import quick_recipe, write_shapes


@pytest.fixture
def tuned(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:  # noqa: F811 - the fixture
    """A run that keeps a frozen one, which sees images otherwise: only its own are in the cache."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    tuned = train_model(run.table, quick_recipe(image={"size": 12}, train={"epochs": 1}), tmp_path / "tuned")
    shutil.copytree(run.path, tuned.path / "frozen")
    (tuned.path / "ladder.json").write_text(json.dumps({"finetuning": {"decided": True, "kept": "frozen"}}), "utf-8")
    return load_run(tuned.path)


def test_an_image_that_is_gone_is_named_and_nothing_is_written(
    tuned: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = write_shapes(tmp_path / "others", 4)
    gone = Path(tuned.table.part("validation").samples["source"].iloc[0])
    content = gone.read_bytes()
    gone.unlink()
    with pytest.raises(DataError, match=rf"{gone.name}"):
        evaluate_run(tuned, "validation", unknown=read_table(others))
    assert main(["evaluate", str(tuned.path), "--unknown", str(others)]) == 3
    assert gone.name in capsys.readouterr().err
    assert tuned.evaluations == {}
    evaluation = evaluate_run(tuned, "validation")  # its own network has the image in the cache
    assert evaluation.unreadable == {}
    gone.write_bytes(content)
    assert evaluate_run(tuned, "validation", unknown=read_table(others)).details["open_set"]["known"] == evaluation.n


def test_an_unknown_image_that_is_gone_is_left_out_and_named(tuned: Run, tmp_path: Path) -> None:
    """Where it goes before it is first read, and where only the frozen network's look at it fails."""
    others = read_table(write_shapes(tmp_path / "others", 4))
    whole = evaluate_run(tuned, "validation", unknown=others).details["open_set"]["strangers"]
    shutil.rmtree(tmp_path / "cache")
    gone = Path(others.samples["source"].iloc[0])
    gone.unlink()
    found = evaluate_run(tuned, "validation", unknown=others).details["open_set"]
    assert found["strangers"] == whole - 1
    assert [gone.name in reason for reason in found["unreadable"]] == [True]
