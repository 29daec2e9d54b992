"""FineTunedNetwork: new layers on a pretrained network, trained in stages by the one loop."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tenfold.errors import UsageError
from tenfold.evaluate import evaluate_run
from tenfold.images.readers import read_table
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.models.finetuned import FineTunedNetwork
from tenfold.models.heads import LinearHead, choose_strength, fit_head
from tenfold.recipe import Recipe
from tenfold.split import split_table
from tenfold.train import train_model
from tests.frozen import TinyBackbone
from tests.test_frozen_classifier import ORIGIN, batch_of
from tests.test_seams import train_killed_and_resumed
from tests.toys import shapes_table, write_shapes

SETTINGS = {
    "backbone": "tiny",
    "weights": "",
    "layers": 0,
    "width": 6,
    "hidden": [],
    "activation": "relu",
    "norm": "batch",
    "dropout": 0.0,
    "frozen": 0.2,
    "thawed": 0.6,
    "rate_decay": 0.5,
}


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    put_tiny(monkeypatch)


def put_tiny(patch):
    for module in (frozen_module, finetuned_module):
        patch.setattr(module, "bare_backbone", lambda name: TinyBackbone())
    patch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))


def build(**settings):
    torch.manual_seed(0)
    return FineTunedNetwork(3, ("a", "b", "c"), SETTINGS | settings).eval()


def test_a_backbone_without_layers_is_refused(monkeypatch):
    monkeypatch.setattr(TinyBackbone, "stages", lambda self: [])
    with pytest.raises(UsageError, match="needs a backbone whose layers can learn, not tiny"):
        build()


def test_without_new_layers_it_starts_as_logistic_regression_on_the_features():
    model, batch = build(), batch_of()
    assert isinstance(model.head, LinearHead)
    model.begin([batch])
    with torch.no_grad():
        features = TinyBackbone().eval().features(batch.images)[:, None]
        found = choose_strength("logistic", features.numpy(), np.arange(30) % 3, 3)
        expected = fit_head("logistic", features.numpy(), np.arange(30) % 3, 3, found.strength)(features)
        torch.testing.assert_close(model(batch.images), expected, atol=1e-4, rtol=1e-3)


def test_of_many_images_it_starts_from_some_of_each_class(monkeypatch):
    """With all 26,000 regions of a detector's training the fits took half an hour."""
    labels = np.array([0] * 40_000 + [1] * 9_000 + [2] * 4 + [3] * 50)
    some = finetuned_module._some_of_each(labels)
    assert np.bincount(labels[some]).tolist() == [1630, 366, 4, 10]
    assert (np.diff(some) > 0).all()
    assert finetuned_module._some_of_each(labels[:1500]).tolist() == list(range(1500))
    monkeypatch.setattr(finetuned_module, "_MOST", 12)
    monkeypatch.setattr(finetuned_module, "_EACH", 2)
    model, batch = build(), batch_of()
    model.begin([batch])
    few = finetuned_module._some_of_each(np.arange(30) % 3)
    assert len(few) == 12
    with torch.no_grad():
        features = TinyBackbone().eval().features(batch.images)[:, None]
        found = choose_strength("logistic", features.numpy()[few], few % 3, 3)
        expected = fit_head("logistic", features.numpy()[few], few % 3, 3, found.strength)(features)
        torch.testing.assert_close(model(batch.images), expected, atol=1e-4, rtol=1e-3)


def test_one_image_a_class_starts_it_too():
    model, batch = build(), batch_of(3)
    model.begin([batch])
    with torch.no_grad():
        assert model(batch.images).argmax(1).tolist() == [0, 1, 2]


def test_new_convolutions_and_hidden_layers_stand_on_the_last_map():
    model, batch = build(layers=2, hidden=[5, 4]), batch_of()
    shapes = [tuple(layer.weight.shape) for layer in model.layers if isinstance(layer, torch.nn.Conv2d)]
    assert shapes == [(6, 12, 3, 3), (6, 6, 3, 3)]
    assert [tuple(layer.weight.shape) for layer in model.head if isinstance(layer, torch.nn.Linear)] == [
        (5, 6),
        (4, 5),
        (3, 4),
    ]
    before = [weight.clone() for weight in model.head.parameters()]
    model.begin([batch])  # nothing to be fitted
    assert all(torch.equal(one, other) for one, other in zip(before, model.head.parameters(), strict=True))
    traced = torch.export.export(model, (batch.images,)).module()
    torch.testing.assert_close(traced(batch.images), model(batch.images))


def test_no_stage_learns_before_the_share_for_which_all_stay():
    model = build(frozen=0.8, thawed=0.6)
    first, last = model.backbone.stages()
    for done, wanted in ((0.79, False), (0.8, True)):
        model.learn(done)
        assert {weight.requires_grad for stage in (first, last) for weight in stage.parameters()} == {wanted}


def test_the_stages_learn_one_after_the_other_and_the_deeper_the_slower():
    model = build()
    first, last = model.backbone.stages()

    def learning(done):
        model.learn(done)
        return [all(weight.requires_grad for weight in stage.parameters()) for stage in (first, last)]

    assert learning(0.0) == [False, False]
    assert learning(0.2) == [False, True]
    assert learning(0.59) == [False, True]
    assert learning(0.6) == [True, True]
    assert all(weight.requires_grad for weight in model.head.parameters())
    [step] = model.steps()
    rates = dict(zip(map(id, step.parameters), step.rates, strict=True))
    assert {rates[id(weight)] for weight in model.head.parameters()} == {1.0}
    assert {rates[id(weight)] for weight in last.parameters()} == {0.5}
    assert {rates[id(weight)] for weight in first.parameters()} == {0.25}


@pytest.mark.parametrize("layers", [0, 1])
def test_a_training_of_it_is_resumed_to_the_same_bits(layers, tmp_path, monkeypatch):
    table = shapes_table(tmp_path / "data", 20)
    recipe = Recipe().change(
        model={"name": "finetuned", "layers": layers, "width": 8},
        transfer={"backbone": "tiny"},
        train={"precision": "float32", "threads": 1, "epochs": 4, "batch_size": 16},
    )
    run = train_killed_and_resumed(monkeypatch, table, recipe, tmp_path, "classification")
    assert run.recipe.train.optimizer == "adamw"
    assert run.recipe.train.lr == pytest.approx(0.0005)
    assert run.recipe.train.grow == "off"
    assert run.card["weights"]["origin"] == "tiny, made by hand"
    moved = run.model.backbone.first.weight - TinyBackbone().first.weight
    assert moved.abs().max() > 0  # the last weights are kept, and then every stage has learned
    assert run.recipe.train.keep == "last"
    assert torch.equal(run.model.backbone.norm.running_mean, TinyBackbone().norm.running_mean)
    assert evaluate_run(run, "validation").figures["accuracy"].n == len(table.part("validation"))


def test_a_time_limit_makes_it_no_longer(tmp_path):
    recipe = Recipe().change(
        model={"name": "finetuned", "layers": 1, "width": 4},
        transfer={"backbone": "tiny"},
        train={"precision": "float32", "threads": 1, "batch_size": 64, "minutes": 5.0},
    )
    heard = []
    run = train_model(shapes_table(tmp_path / "data", 10), recipe, tmp_path / "run", progress=heard.append)
    assert len(run.history) == FineTunedNetwork.usual.epochs[1]
    assert "40 epochs, which take less than 5 minutes" in [message.text for message in heard]


def test_the_fit_that_it_starts_from_counts_as_time(tmp_path, monkeypatch):
    begin = FineTunedNetwork.begin

    def slow(self, batches):
        time.sleep(3)
        begin(self, batches)

    monkeypatch.setattr(FineTunedNetwork, "begin", slow)
    table, recipe = shapes_table(tmp_path / "data", 10), STAGED.change(model={"layers": 0}, train={"epochs": 2})
    seconds = train_model(table, recipe, tmp_path / "run").history["seconds"]
    assert seconds.iloc[0] > 3
    assert seconds.iloc[1] - seconds.iloc[0] < 3  # and but once


STAGED = Recipe().change(
    model={"name": "finetuned", "layers": 1, "width": 8, "norm": "group"},
    transfer={"backbone": "tiny", "frozen": 0.3, "thawed": 0.6},
    augment={"policy": "none"},
    train={"precision": "float32", "threads": 1, "epochs": 6, "batch_size": 16, "lr": 0.01, "ema": 0.0},
)


def train_staged(data: str | Path, out: str | Path) -> None:
    """What each rank does in a process of its own."""
    with pytest.MonkeyPatch.context() as patch:
        put_tiny(patch)
        table = split_table(read_table(Path(data)), validation=0.2, test=0.2)
        train_model(table, STAGED, out)


def test_two_ranks_thaw_the_stages_as_one_does(tmp_path):
    """A stage is frozen when DistributedDataParallel first sees its gradients missing, and must be averaged later.

    Group normalization, since batch statistics are each rank's own; float sums differ in their order only.
    """
    data = write_shapes(tmp_path / "data", 20)
    script = "import sys; from tests.test_finetuned import train_staged; train_staged(*sys.argv[1:])"
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
    command = [sys.executable, "-c", script, data, tmp_path / "together"]
    ranks = [subprocess.Popen(command, env=os.environ | place | {"RANK": str(rank)}) for rank in range(2)]
    train_staged(data, tmp_path / "alone")
    assert [rank.wait(timeout=120) for rank in ranks] == [0, 0]
    alone, together = (load_file(tmp_path / name / "model.safetensors") for name in ("alone", "together"))
    before = TinyBackbone().state_dict()
    for name, weight in alone.items():
        torch.testing.assert_close(together[name], weight, rtol=1e-3, atol=1e-4)
        stage = name.removeprefix("backbone.")
        if stage in {"first.weight", "second.weight"}:
            assert (weight - before[stage]).abs().mean() > 0.001  # each stage has learned, far more than that
