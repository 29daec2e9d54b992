"""The range test for the learning rate starts and learns as the training will that it is for."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.models.contract import Losses, Model, Step
from tenfold.models.finetuned import FineTunedNetwork
from tenfold.recipe import Recipe
from tenfold.train import measure as measure_module
from tenfold.train.measure import find_learning_rate
from tests.frozen import TinyBackbone
from tests.test_finetuned import SETTINGS
from tests.test_frozen_classifier import ORIGIN, batch_of

CPU = torch.device("cpu")
RECIPE = Recipe().change(train={"optimizer": "sgd", "lr": 0.125})


class Told(Model):
    """One weight, and a list of what became of it."""

    events: ClassVar[list[tuple]] = []

    def __init__(self) -> None:
        super().__init__(3, ("a", "b"), {})
        self.weight = nn.Parameter(torch.zeros(1))

    def begin(self, batches) -> None:
        self.events.append(("begin", self.training, [len(batch) for batch in batches]))

    def learn(self, done: float) -> None:
        self.events.append(("learn", done))

    def steps(self) -> list[Step]:
        return [Step("model", self.losses, [self.weight])]

    def losses(self, batch) -> Losses:
        self.events.append(("losses", self.training, float(self.weight.detach())))
        return Losses({"loss": ((self.weight - 1) ** 2).sum()}, {})


def test_the_trial_begins_and_learns_as_the_loop_lets_it(monkeypatch):
    monkeypatch.setattr(Told, "events", [])
    model = Told()
    rate = find_learning_rate(model, iter([batch_of(2)] * 100), RECIPE, CPU, [batch_of(2), batch_of(1)])
    assert Told.events[0] == ("begin", False, [2, 1])
    learned, seen = Told.events[1::2], Told.events[2::2]
    assert learned == [("learn", index / 100) for index in range(len(learned))]
    assert len(learned) > 50  # of the hundred; the last ones are too fast
    assert all(event[:2] == ("losses", True) for event in seen)
    assert seen[0] == ("losses", True, 0.0)
    assert seen[-1][2] != 0
    assert float(model.weight.detach()) == 0  # a copy is tried
    assert 1e-6 < rate < 1


def test_a_model_without_steps_keeps_its_rate_and_sees_no_batch(monkeypatch):
    def nothing():
        raise AssertionError("a batch was asked for")
        yield

    monkeypatch.setattr(Told, "steps", lambda model: [])
    assert find_learning_rate(Told(), nothing(), RECIPE, CPU, nothing()) == 0.125


@pytest.fixture
def tiny(monkeypatch):
    for module in (frozen_module, finetuned_module):
        monkeypatch.setattr(module, "bare_backbone", lambda name: TinyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))


def test_a_pretrained_network_is_tried_with_the_head_and_the_stages_of_its_training(tiny, monkeypatch):
    """Its last layer is fitted before the first step, and stages that are frozen then are so in the trial too."""
    whole = batch_of()
    model = FineTunedNetwork(3, ("a", "b", "c"), SETTINGS | {"frozen": 0.3, "thawed": 0.6})
    losses, loose = [], []
    real = FineTunedNetwork.losses

    def told(trial, batch):
        found = real(trial, batch)
        losses.append(float(found.minimize["loss"].detach()))
        loose.append([all(weight.requires_grad for weight in stage.parameters()) for stage in trial.backbone.stages()])
        return found

    monkeypatch.setattr(FineTunedNetwork, "losses", told)
    monkeypatch.setattr(measure_module, "_RANGE", 10)
    find_learning_rate(model, iter([whole] * 10), RECIPE, CPU, [whole])
    started = model.eval()
    started.begin([whole])
    assert losses[0] == pytest.approx(float(real(started.train(), whole).minimize["loss"].detach()), rel=1e-4)
    assert losses[0] < 0.9 * np.log(3)
    assert loose[2] == [False, False]
    assert loose[4] == [False, True]
    assert loose[7] == [True, True]
