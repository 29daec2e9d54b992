"""What is said of whole trainings: made to show one thing, or sound."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tenfold.errors import DataError, TrainingError
from tenfold.images.readers import read_table
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.run import load_run
from tenfold.split import split_table
from tenfold.train import loop as loop_module
from tenfold.train import resume_training, train_model
from tests.frozen import TinyBackbone
from tests.test_diagnosis import STILL
from tests.test_frozen_classifier import ORIGIN
from tests.toys import quick_recipe, write_shapes


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    os.environ["TENFOLD_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    folder = write_shapes(tmp_path_factory.mktemp("shapes") / "data", 100)
    return split_table(read_table(folder), validation=0.4, test=0.1)


QUICK = quick_recipe(train={"epochs": 12, "optimizer": "adamw", "lr": 0.01}, augment={"mix_share": 0.0})


def without(table, part, label, kept):
    """The table with the first `kept` images of a part, or of one class in it."""
    is_it = (table.samples["part"] == part) & ((table.samples["label"] == label) | (label is None))
    return table.take(np.setdiff1d(np.arange(len(table)), np.flatnonzero(is_it)[kept:]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_sound_training_gives_no_alarm(shapes, tmp_path, seed):
    run = train_model(shapes, QUICK.change(train={"seed": seed, "lr": 0.02}), tmp_path / "run")
    assert {found["kind"] for found in run.diagnosis} & {"converged", "still improving"}
    assert [found["kind"] for found in run.diagnosis if found["alarm"]] == []


@pytest.mark.parametrize("sections", [{"optimizer": "muon", "lr": 0.04}, {"balance": "weights"}])
def test_a_sound_training_gives_no_alarm_with_the_usual_optimizer_or_few_of_a_class(shapes, tmp_path, sections):
    table = without(shapes, "train", "disc", 12) if "balance" in sections else shapes
    run = train_model(table, QUICK.change(train={"epochs": 24, "lr": 0.02, **sections}), tmp_path / "run")
    assert run.diagnosis
    assert [found["kind"] for found in run.diagnosis if found["alarm"]] == []


def test_few_epochs_are_still_improving_and_many_have_converged(shapes, tmp_path):
    short = train_model(shapes, QUICK.change(train={"epochs": 6, "lr": 0.003}), tmp_path / "short")
    [found] = [found for found in short.diagnosis if found["kind"] == "still improving"]
    assert found["next"] == "Train again with --epochs 12."
    long = train_model(shapes, QUICK.change(train={"epochs": 40, "lr": 0.02}), tmp_path / "long")
    assert "converged" in [found["kind"] for found in long.diagnosis]
    assert all(found["next"] for found in [*short.diagnosis, *long.diagnosis])


def test_wrong_training_labels_make_the_validation_part_the_better_known_one(shapes, tmp_path):
    labels, draw = shapes.samples["label"].to_numpy(object).copy(), np.random.default_rng(0)
    rows = draw.permutation(np.flatnonzero(shapes.samples["part"] == "train"))[:60]
    labels[rows] = draw.permutation(labels[rows])
    run = train_model(shapes.assign(label=labels), QUICK.change(train={"lr": 0.02}), tmp_path / "run")
    assert "validation better than training" in [found["kind"] for found in run.diagnosis if found["alarm"]]


def test_pretrained_networks_are_advised_what_they_heed(shapes, tmp_path, monkeypatch):
    for module in (frozen_module, finetuned_module):
        monkeypatch.setattr(module, "bare_backbone", lambda name: TinyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))
    recipe = QUICK.change(image={"size": 20}, model={"layers": 0}, train={"lr": 0.0, "optimizer": "auto"})
    random = shapes.assign(label=np.random.default_rng(0).permutation(shapes.samples["label"].to_numpy(object)))
    frozen = train_model(random, recipe.change(model={"name": "frozen"}), tmp_path / "frozen")
    [found] = [found for found in frozen.diagnosis if found["kind"] == "underfitting"]
    assert "--model finetuned" in found["next"]
    assert "--model.width" not in found["next"]
    assert "--epochs" not in found["next"]
    tuned = train_model(shapes, recipe.change(model={"name": "finetuned"}, train={"epochs": 3}), tmp_path / "tuned")
    assert tuned.diagnosis
    assert not any("--model.width" in found["next"] for found in tuned.diagnosis)


@pytest.mark.parametrize(
    ("kind", "sections"),
    [
        ("learning rate too high", {"train": {"lr": 10.0}}),
        ("learning rate too low", {"train": {"lr": 1e-6}}),
        ("underfitting", {"model": {"width": 1}, "train": {"lr": 0.005}}),
    ],
)
def test_settings_made_to_show_it(shapes, tmp_path, kind, sections):
    run = train_model(shapes, QUICK.change(**sections), tmp_path / "run")
    assert run.diagnosis[0]["kind"] == kind
    assert run.diagnosis[0]["alarm"]


def test_random_labels_are_learned_by_heart(shapes, tmp_path):
    labels = np.random.default_rng(0).permutation(shapes.samples["label"].to_numpy(object))
    recipe = QUICK.change(model={"width": 16, "layers": 3}, augment=STILL, train={"epochs": 25, "label_smoothing": 0.0})
    run = train_model(shapes.assign(label=labels), recipe, tmp_path / "run")
    found = run.diagnosis[0]
    assert found["kind"] == "overfitting"
    rise, apart = found["evidence"]["validation_loss_rise"], found["evidence"]["accuracy_gap"]
    assert 0 < rise["low"] < rise["high"]
    assert apart["low"] > 0.3


def test_three_validation_images_say_little(shapes, tmp_path):
    run = train_model(without(shapes, "validation", None, 3), QUICK, tmp_path / "run")
    assert "noisy validation" in [found["kind"] for found in run.diagnosis]


def test_a_class_of_two_training_images_is_not_learned(shapes, tmp_path):
    recipe = QUICK.change(train={"balance": "none"})
    run = train_model(without(shapes, "train", "disc", 2), recipe, tmp_path / "run")
    [found] = [found for found in run.diagnosis if found["kind"] == "class never learned"]
    assert "disc (2 training images)" in found["says"]


def test_a_diverged_training_says_when_and_what_to_type(shapes, tmp_path):
    recipe = QUICK.change(train={"lr": 100.0, "optimizer": "sgd", "clip": 0.0, "warmup": 0.0}, model={"norm": "none"})
    words = r"is (nan|inf) at step \d+ of .*epoch \d+.*diverged.*--lr 0.1 --train.clip 1 --model.norm batch"
    with pytest.raises(TrainingError, match=words):
        train_model(shapes, recipe, tmp_path / "run")


def test_a_resumed_training_says_the_same(shapes, tmp_path, monkeypatch):
    straight = train_model(shapes, QUICK.change(train={"epochs": 4}), tmp_path / "straight")
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)

    def stop(message):
        if message.phase == "step" and message.epoch == 4:
            raise SystemExit("power lost")

    with pytest.raises(SystemExit):
        train_model(shapes, QUICK.change(train={"epochs": 4}), tmp_path / "run", progress=stop)
    resumed = resume_training(tmp_path / "run")
    assert straight.diagnosis
    assert resumed.diagnosis == straight.diagnosis


def test_a_damaged_diagnosis_is_named(shapes, tmp_path):
    run = train_model(shapes, QUICK.change(train={"epochs": 1}), tmp_path / "run")
    (run.path / "diagnosis.json").write_text('[{"kind": 1}]')
    with pytest.raises(DataError, match=r"diagnosis.json is damaged: not a list of findings"):
        _ = load_run(run.path).diagnosis
    (run.path / "diagnosis.json").unlink()
    assert load_run(run.path).diagnosis == []
