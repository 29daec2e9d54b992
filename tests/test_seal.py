"""Ways round the seal: a start from a run that knows the test images, the climb, proposals, folds that choose."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tenfold.__main__ import main
from tenfold.commands import proposals as proposals_command
from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.models.backbones.taught import NOTE, Taught, known_rows, taught_by
from tenfold.proposals import make_proposer
from tenfold.recipe import Recipe, read_recipe, write_recipe
from tenfold.run import Run, load_run
from tenfold.split import split_table, write_split
from tenfold.train import train_model
from tenfold.transfer import best as best_module
from tenfold.transfer.best import train_best
from tenfold.transfer.settle import settle_head
from tests.frozen import TinyBackbone
from tests.test_frozen_classifier import ORIGIN
from tests.test_ledger import Sealed
from tests.test_proposals import write_voc
from tests.toys import quick_recipe, shapes_table, write_shapes


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path_factory.getbasetemp() / "seal-cache"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return hashed(shapes_table(tmp_path_factory.mktemp("seal") / "shapes", 10))


@pytest.fixture(scope="module")
def earlier(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network from scratch."""
    place = tmp_path_factory.mktemp("seal-run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        return train_model(table, quick_recipe(train={"epochs": 1}), place / "earlier")


@pytest.fixture
def first(earlier: Run, tmp_path: Path) -> Run:
    return load_run(shutil.copytree(earlier.path, tmp_path / "first"))


def from_run(run: Run) -> Recipe:
    settings = {"precision": "float32", "threads": 1}
    transfer = {"init": str(run.path), "head": "logistic", "strength": 0.01}
    return Recipe().change(model={"name": "frozen"}, transfer=transfer, train=settings, augment={"policy": "none"})


def dealt_anew(table: Table, seed: int = 1) -> Table:
    return split_table(table.assign(part=[None] * len(table)), validation=0.2, test=0.2, seed=seed)


def hashes(table: Table, *parts: str) -> set[str]:
    return set(table.samples["hash"][table.samples["part"].isin(parts)])


def others(folder: Path) -> Table:
    """Images that are none of `table`, in three parts."""
    generator = np.random.default_rng(3)
    for name in ("bar", "disc", "ring"):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(generator.integers(0, 255, (20, 20, 3), np.uint8)).save(folder / name / f"{number}.png")
    return hashed(split_table(read_table(folder), validation=0.2, test=0.2))


# A start from a run


def test_a_network_that_learned_from_test_images_is_no_start(first: Run, table: Table, tmp_path: Path) -> None:
    other = dealt_anew(table)
    count = len(hashes(table, "train", "validation") & hashes(other, "test"))
    assert 0 < count < 6
    sentence = (
        rf"a run that has seen none of the test images, and .*first, .* learned from or chose by {count} of these 6"
    )
    with pytest.raises(UsageError, match=sentence):
        train_model(other, from_run(first), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    made_of_them = other.assign(hash=[f"{row:032x}" for row in range(len(other))], origin=other.samples["hash"])
    with pytest.raises(UsageError, match=rf"chose by {count} of these 6"):
        train_model(made_of_them, from_run(first), tmp_path / "run")


def test_on_the_same_split_it_is_and_the_run_keeps_what_taught_it(first: Run, table: Table, tmp_path: Path) -> None:
    heard = []
    run = train_model(table, from_run(first), tmp_path / "run", progress=heard.append)
    assert not any("learned from" in message.text for message in heard)
    assert taught_by(first.path) == Taught(frozenset(hashes(table, "train")), frozenset(hashes(table, "validation")))
    noted = Taught.from_json(json.loads((run.path / NOTE).read_text()))
    assert noted == taught_by(run.path) == taught_by(first.path)
    assert known_rows(table, noted.every).tolist() == (table.samples["part"] != "test").tolist()
    assert not (first.path / NOTE).exists()


def test_validation_images_that_taught_it_are_told_of(first: Run, table: Table, tmp_path: Path) -> None:
    parts = table.samples["part"].to_numpy(object, copy=True)
    moved = np.flatnonzero(parts == "train")[:2]
    parts[[*moved, *np.flatnonzero(parts == "validation")[:1]]] = ["validation", "validation", "train"]
    heard = []
    run = train_model(table.assign(part=parts), from_run(first), tmp_path / "run", progress=heard.append)
    said = (
        f"The network of {first.path} learned from 2 of the 7 validation images, so figures on them flatter the model"
    )
    assert [message.text.startswith(said) for message in heard].count(True) == 1
    assert any(note.startswith(said) for note in run.environment["notes"])


def test_it_is_known_of_the_whole_chain_when_the_first_is_gone(first: Run, table: Table, tmp_path: Path) -> None:
    second = train_model(others(tmp_path / "others"), from_run(first), tmp_path / "second")
    assert taught_by(second.path).every >= hashes(table, "train", "validation")
    shutil.rmtree(first.path)
    with pytest.raises(UsageError, match=r"and .*second, or a run that it started from, learned from or chose by"):
        train_model(dealt_anew(table), from_run(second), tmp_path / "third")
    (second.path / NOTE).write_text('{"train": 1}')
    with pytest.raises(
        DataError, match=r"earlier\.json, the images of earlier runs, is damaged .*; train that run again"
    ):
        taught_by(second.path)


def test_of_runs_without_a_note_the_recipes_are_followed(first: Run, table: Table, tmp_path: Path) -> None:
    second = train_model(others(tmp_path / "others"), from_run(first), tmp_path / "second")
    whole = taught_by(second.path)
    (second.path / NOTE).unlink()  # an earlier version made it
    assert taught_by(second.path) == whole
    write_recipe(
        read_recipe(first.path / "recipe.toml").change(transfer={"init": str(second.path)}), first.path / "recipe.toml"
    )
    assert taught_by(second.path) == whole._replace(gone=(str(second.path),))  # another one was there then
    shutil.rmtree(first.path)
    own = taught_by(second.path)
    assert own.gone == (str(first.path),)
    assert own.every.isdisjoint(hashes(table, "train"))
    heard = []
    train_model(dealt_anew(table), from_run(second), tmp_path / "third", progress=heard.append)
    assert any(f"goes back to {first.path}, which is no longer there: whether" in message.text for message in heard)


def test_the_command_refuses_it(
    first: Run, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Path(table.samples["source"].iloc[0]).parents[1]
    write_split(table, tmp_path / "a.split.csv")
    write_split(dealt_anew(table), tmp_path / "b.split.csv")
    command = ["train", str(folder), "--no-check", "--model", "frozen", "--transfer.head", "mean", "--init", "first"]
    assert main([*command, "--split", "b.split.csv", "--out", "b"]) == 2
    assert "must be a run that has seen none of the test images" in " ".join(capsys.readouterr().err.split())
    assert main([*command, "--split", "a.split.csv", "--out", "a"]) == 0


# The climb


def test_the_climb_takes_no_test_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ladder, the frozen run, fine-tuning, the choice between both and what is calibrated."""
    for module in (frozen_module, finetuned_module):
        monkeypatch.setattr(module, "bare_backbone", lambda name: TinyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))
    monkeypatch.setattr(best_module, "settle_head", partial(settle_head, heads=("majority", "mean")))
    files = shapes_table(tmp_path / "shapes", 10)
    images = [np.array(Image.open(source)) for source in files.samples["source"]]
    labels = files.samples["label"].tolist()
    whole = hashed(split_table(read_table(images, labels=labels), validation=0.2, test=0.2))
    sealed = set(np.flatnonzero(whole.samples["part"] == "test").tolist())
    assert len(sealed) == 6
    (name,) = whole.arrays
    guarded = replace(whole, arrays={name: Sealed(images, sealed)})
    settings = {"precision": "float32", "threads": 1, "epochs": 1}
    recipe = Recipe().change(transfer={"backbone": "tiny"}, augment={"policy": "none"}, train=settings)
    run = train_best(guarded, recipe, tmp_path / "run")
    assert "taken" in run.ladder["finetuning"]
    with pytest.raises(AssertionError, match="was taken"):
        guarded.arrays[name][min(sealed)]
    # Nor does what it says of them: other labels, the same weights.
    turned = whole.samples["label"].to_numpy(object, copy=True)
    turned[sorted(sealed)] = None
    again = train_best(guarded.assign(label=turned), recipe, tmp_path / "again")
    one, other = (load_file(found.path / "model.safetensors") for found in (run, again))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


# Proposals


def test_a_network_is_not_measured_on_its_test_images_by_its_proposals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = write_voc(tmp_path / "cells")
    table = hashed(read_table(cells))
    run = Run(tmp_path / "run", table.assign(part=["train", "validation", "test"]))
    taught = Taught(frozenset(table.samples["hash"][:1]), frozenset(table.samples["hash"][1:2]))
    monkeypatch.setattr("tenfold.models.backbones.taught.taught_by", lambda folder: taught)
    made = make_proposer("random", count=50), run
    monkeypatch.setattr(proposals_command, "_proposer", lambda method, version, count: made)
    command = ["proposals", str(cells), "--method", str(tmp_path), "--out", str(tmp_path / "out"), "--json"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    result = json.loads(out)
    said = " ".join(err.split())
    assert f"Left out of the figures, as they are in the test part of {run.path}: 1 images" in said
    assert f"1 of these images are those that {run.path} learned from" in said
    kept = table.take([0, 1])
    assert (result["images"], result["sealed"], result["objects"]) == (3, 1, len(kept.boxes))
    assert result["objects"] < len(table.boxes)
    assert (tmp_path / "out" / "proposals.html").read_text().count("data:image/jpeg") < 3 + 3
    # All of them test images, under other names: there is nothing to measure by.
    copies = Path(shutil.copytree(cells, tmp_path / "copies"))
    made = make_proposer("random", count=50), Run(tmp_path / "run", table.assign(part=["test"] * 3))
    assert main(["proposals", str(copies), "--method", str(tmp_path), "--save", str(tmp_path / "p.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys().isdisjoint({"objects", "by_class"})
    assert len((tmp_path / "p.csv").read_text().splitlines()) > 3


# Folds


def test_folds_that_chose_the_epochs_of_their_models_are_said_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 6)
    options = "--size 16 --model plain --model.width 4 --epochs 1 --train.precision float32 --train.threads 1".split()
    command = ["train", "shapes", "--no-check", "--folds", "2", "--json", *options]
    said = {}
    for keep in ("best", "last"):
        assert main([*command, "--train.keep", keep, "--out", keep]) == 0
        said[keep] = json.loads(capsys.readouterr().out)["notes"]
    assert [note.startswith("Each training kept the epoch that did best on its own fold") for note in said["best"]] == [
        False,
        True,
    ]
    assert len(said["last"]) == 1


def test_folds_that_have_ended_need_the_run_no_more_that_they_started_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train_model(others(tmp_path / "others"), quick_recipe(train={"epochs": 1}), tmp_path / "first")
    write_shapes(tmp_path / "shapes", 6)
    options = "--model frozen --transfer.head mean --init first --train.precision float32 --train.threads 1".split()
    command = ["train", "shapes", "--no-check", "--folds", "2", "--out", "cv", "--json", *options]
    assert main(command) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    (tmp_path / "first").rename(tmp_path / "moved")
    assert main(command) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == figures
    assert main(["train", "cv/recipe.toml", "--folds", "2", "--out", "cv", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == figures
    assert main([*command[:4], "3", *command[5:]]) == 3  # a third fold would have to be trained
    shutil.rmtree(tmp_path / "cv" / "repeat1-fold2")
    assert main(command) == 3
