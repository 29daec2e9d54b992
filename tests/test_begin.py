"""How a run's folder begins: a kill on the way leaves nothing that either way on needs a hand for."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import DataError, UsageError
from tenfold.images.table import Table
from tenfold.run import Run, load_run
from tenfold.train import refuse_taken, resume_training, train_model
from tenfold.train.begin import begin_run
from tests.toys import quick_recipe, shapes_table

RECIPE = quick_recipe(train={"epochs": 1})
FILES = ("table.parquet", "environment.json", "model.json", "findings.json", "recipe.toml")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        return shapes_table(tmp_path_factory.mktemp("shapes") / "data", 10)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path_factory.getbasetemp() / "shared-cache"))


def killed_at(place: int, folder: Path, patch: pytest.MonkeyPatch, begin: Any) -> None:
    """Call `begin`, killed when it renames file number `place` of the folder into its place; that one stays aside."""
    real, files = Path.replace, count()

    def replace(path: Path, target: Path) -> Path:
        if Path(target).parent == folder and next(files) == place:
            shutil.copyfile(path, path.with_name(f".{Path(target).name}.left{path.suffix}"))
            raise SystemExit("killed")
        return real(path, target)

    patch.setattr(Path, "replace", replace)
    with pytest.raises(SystemExit, match="killed"):
        begin()
    patch.setattr(Path, "replace", real)


@pytest.mark.parametrize("place", range(len(FILES)))
def test_killed_before_it_began_a_run_begins_anew_in_the_same_folder(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    out = tmp_path / "run"
    killed_at(place, out, monkeypatch, lambda: train_model(table, RECIPE, out, findings={"found": []}))
    assert any(path.name.startswith(f".{FILES[place]}.") for path in out.iterdir())
    with pytest.raises(DataError, match="holds no run to go on with"):
        resume_training(out)
    run = train_model(table, RECIPE, out)
    assert load_run(out).classes == run.classes
    assert not (out / "findings.json").exists()  # it was of the other training
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_an_annotated_table_leaves_no_boxes_to_one_that_is_not(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    (out / "checkpoint").mkdir(parents=True)
    (out / "boxes.parquet").write_bytes(b"of a detector")
    begin_run(out, table, {}, {}, RECIPE, {})
    assert Run(out).recipe == RECIPE
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint", "environment.json", "model.json", "recipe.toml", "table.parquet",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        ["table.parquet"],  # somebody's data
        ["model.json", ".model.json.abc.json"],
        ["checkpoint/", "table.parquet", "notes.txt"],
        ["checkpoint/", "checkpoint/state.safetensors", "table.parquet"],
        ["checkpoint/", "table.parquet.backup"],
        ["checkpoint/", "history.csv"],
        [".hidden"],
    ],
)
def test_what_is_anybody_else_s_is_neither_taken_nor_touched(table: Table, tmp_path: Path, names: list[str]) -> None:
    for name in names:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for begin in (lambda: refuse_taken(tmp_path), lambda: begin_run(tmp_path, table, {}, {}, RECIPE, {})):
        with pytest.raises(UsageError, match=r"must be a new or empty folder, and .* holds something else"):
            begin()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_run_that_began_meanwhile_is_not_written_over(table: Table, tmp_path: Path) -> None:
    begin_run(tmp_path, table, {"of": "the first"}, {}, RECIPE, {})
    with pytest.raises(UsageError, match="holds a run; name another, or resume that one"):
        begin_run(tmp_path, table, {"of": "the second"}, {}, RECIPE, {})
    assert Run(tmp_path).environment == {"of": "the first"}


def test_what_cannot_be_written_leaves_nothing(table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tenfold.train.begin.write_recipe", refuse)
    with pytest.raises(DataError, match=r"No space left on device.*nothing of it stays there"):
        begin_run(tmp_path / "run", table, {}, {}, RECIPE, {})
    assert list((tmp_path / "run").iterdir()) == []


def test_a_recipe_cut_off_between_two_lines_is_named(table: Table, tmp_path: Path) -> None:
    run = train_model(table, quick_recipe(train={"epochs": 1}), tmp_path / "run")
    (run.path / "model.safetensors").unlink()
    recipe = run.path / "recipe.toml"
    text = recipe.read_text("utf-8")
    recipe.write_text(text[: text.index("optimizer = ")], "utf-8")
    with pytest.raises(DataError, match=r"recipe\.toml is damaged: it lacks what the run has settled; put it back"):
        resume_training(run.path)
