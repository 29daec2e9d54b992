"""Folds of a recipe that leaves its head open: each chooses inside its own training part, and recipes repeat runs."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tenfold import train as train_module
from tenfold.__main__ import main
from tenfold.commands import train as train_command
from tenfold.images import readers
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.recipe import Recipe, read_recipe
from tenfold.run import load_run
from tenfold.train import start as start_module
from tenfold.transfer import settle as settle_module
from tests.test_frozen_classifier import quick, tiny  # noqa: F401  (fixtures: a tiny backbone, a ladder of few rungs)
from tests.toys import write_shapes

OPTIONS = "--transfer.backbone tiny --no-check --split.validation 0.25 --split.test 0.25 --train.precision float32"


def parts_of(run):
    return dict(zip(run.table.samples["hash"], run.table.samples["part"], strict=True))


@pytest.mark.usefixtures("quick")
def test_each_fold_chooses_and_every_recipe_repeats(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 12)
    assert main(["train", "shapes", "--folds", "2", "--model", "frozen", "--out", "cv", *OPTIONS.split()]) == 0
    said = capsys.readouterr().err
    assert "Each fold had its head chosen by the ladder inside its own training part" in said
    runs = [load_run(tmp_path / "cv" / f"repeat1-fold{fold}") for fold in (1, 2)]
    chosen = [run.ladder["rungs"][run.ladder["chosen"]] for run in runs]
    assert f"Chosen in {1 + (chosen[0]['words'] == chosen[1]['words'])} of 2 folds: {chosen[0]['words']}." in said
    assert all(note in said for note in json.loads((tmp_path / "cv" / "folds.json").read_text("utf-8"))["notes"])
    for run, rung in zip(runs, chosen, strict=True):
        assert run.ladder["accuracy"]["n"] == len(run.table.part("train"))
        assert run.recipe.transfer.head == rung["settings"]["head"] != "auto"
        assert run.recipe.transfer.strength == rung["settings"]["strength"] > 0

    whole = read_recipe("cv/recipe.toml")  # the procedure: as open as it was
    assert (whole.transfer.head, whole.transfer.strength) == ("auto", 0)
    assert main(["train", "cv/recipe.toml", "--out", "whole", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["ladder"]
    assert [rung["words"] for rung in found["rungs"]] == [rung["words"] for rung in runs[0].ladder["rungs"]]

    assert main(["train", "cv/repeat1-fold2/recipe.toml", "--out", "again"]) == 0  # one fold: the same images and head
    again = load_run(tmp_path / "again")
    assert parts_of(again) == parts_of(runs[1]) | {
        digest: part for digest, part in parts_of(again).items() if part == "test"
    }
    assert again.recipe == runs[1].recipe
    for name, value in runs[1].model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, atol=1e-4, rtol=1e-3)


@pytest.mark.usefixtures("quick")
def test_a_killed_fold_goes_on_with_the_features_that_its_ladder_had(tmp_path, monkeypatch):
    """As from ONNX Runtime, whose last digits are not those that PyTorch would give."""

    def other_digits(prepared, extractor, **options):
        features = real(prepared, extractor, **options)
        return features + np.linspace(0, 0.5, features.shape[-1], dtype=np.float32)

    def kill(*given, **options):
        raise SystemExit(137)

    real = settle_module.table_features
    monkeypatch.setattr(settle_module, "table_features", other_digits)
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 12)
    command = ["train", "shapes", "--folds", "2", "--model", "frozen", *OPTIONS.split(), "--out"]
    assert main([*command, "straight"]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(start_module, "calibrate", kill)
        with pytest.raises(SystemExit):
            main([*command, "killed"])
    assert not (tmp_path / "killed" / "repeat1-fold1" / "model.safetensors").exists()
    assert main([*command, "killed"]) == 0
    one, other = (load_run(tmp_path / name / "repeat1-fold1").model.state_dict() for name in ("straight", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("quick")
def test_a_curve_is_of_the_same_procedure(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 16)
    options = [*OPTIONS.split(), "--steps", "3", "--seeds", "1"]
    assert main(["curve", "shapes", "--model", "frozen", "--out", "curve", *options]) == 0
    runs = [load_run(folder) for folder in sorted((tmp_path / "curve").glob("share*"))]
    assert [run.ladder["accuracy"]["n"] for run in runs] == [len(run.table.part("train")) for run in runs]
    assert np.unique([len(run.table.part("train")) for run in runs]).size == 3
    assert "took the strength" not in capsys.readouterr().err
    last = max(runs, key=lambda run: len(run.table.part("train")))
    again = ["curve", str(last.path / "recipe.toml"), "--steps", "3", "--seeds", "1", "--no-check", "--out", "again"]
    assert main(again) == 0
    said = (
        f"Every training took the strength {last.recipe.transfer.strength:g} (transfer.strength): where an earlier fit "
        "to these images chose it, they had a say in it; --transfer.strength 0 leaves the choice to each training."
    )
    assert said in capsys.readouterr().err
    assert said in json.loads((tmp_path / "again" / "curve.json").read_text("utf-8"))["notes"]


@pytest.mark.usefixtures("quick")
def test_the_clock_starts_with_the_command_and_counts_the_check(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 12)
    clock, seen = SimpleNamespace(now=1000.0), []
    read, look, settle = readers.read_table, train_command.look_over, settle_module.settle_head

    def slowly(function, seconds):
        def slow(*given, **options):
            clock.now += seconds
            return function(*given, **options)

        return slow

    def watched(*given, started, **options):
        seen.append(started)
        return settle(*given, **options)

    monkeypatch.setattr(train_command, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(readers, "read_table", slowly(read, 100))
    monkeypatch.setattr(train_command, "look_over", slowly(look, 40))
    monkeypatch.setattr(settle_module, "settle_head", watched)
    options = OPTIONS.replace("--no-check ", "").split()
    assert main(["train", "shapes", "--model", "frozen", "--minutes", "30", "--out", "run", *options]) == 0
    assert seen == [1000]  # 100 s of reading count, and 40 of checking


def test_a_strength_that_nothing_could_choose_is_said(tmp_path, monkeypatch):
    """Of a head that is named, in the command and in each fold; with a second group of a class it is chosen."""
    table = hashed(read_table(write_shapes(tmp_path / "shapes", 4))).assign(part="train")
    table = table.assign(group=table.samples["label"])
    named = Recipe().change(model={"name": "frozen"}, transfer={"backbone": "tiny", "head": "logistic"})
    monkeypatch.setattr(settle_module, "train_model", lambda *given, **options: "run")
    monkeypatch.setattr(train_module, "train_model", lambda *given, **options: "run")
    monkeypatch.setattr(settle_module, "known_features", lambda *given: None)
    heard = []
    monkeypatch.setattr(train_command, "say", heard.append)

    def said_of(table, recipe):
        heard.clear()
        assert train_command._trained(table, recipe, tmp_path / "run", None, None, 0.0) == "run"
        assert settle_module.train_settled(table, recipe, tmp_path / "run", progress=heard.append) == "run"
        return [getattr(one, "text", one) for one in heard]

    [note, again] = said_of(table, named)
    assert note == again
    assert note == (
        "No class has two training images that do not belong together, on one of which a strength could be tried: the "
        "strongest penalty, 0.01, is taken, which leans least on so few; --transfer.strength names another."
    )
    groups = table.samples["group"].tolist()
    groups[0] = "another day"
    assert said_of(table.assign(group=groups), named) == []
    assert said_of(table, named.change(transfer={"strength": 0.1})) == []
    assert said_of(table, named.change(transfer={"head": "mean"})) == []
