"""Several networks side by side: each learns as it would alone, and their mean probability is the answer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tenfold.errors import UsageError
from tenfold.images.batch import Batch
from tenfold.images.table import Table
from tenfold.models import MODELS, make_model
from tenfold.models.backbones import take_backbone
from tenfold.models.ensemble import Ensemble
from tenfold.recipe import ModelSettings, Recipe
from tenfold.report import write_card
from tenfold.run import load_run
from tenfold.train import choose_settings, resume_training, train_model
from tests.toys import quick_recipe, shapes_table

CLASSES = ("a", "b", "c")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return shapes_table(tmp_path_factory.mktemp("data"), 8)


def settings(members: int, **others: Any) -> dict[str, Any]:
    return asdict(ModelSettings(width=4, norm="batch", members=members)) | {"halvings": 2, **others}


def batch() -> Batch:
    torch.manual_seed(1)
    label, affine = torch.eye(3)[[0, 1, 2, 0]], torch.eye(2, 3).expand(4, 2, 3)
    return Batch(torch.randn(4, 3, 24, 24), {"label": label}, np.arange(4), np.arange(4, dtype=np.uint64), affine)


@pytest.mark.parametrize("name", ["plain", "residual"])
def test_the_answer_is_the_mean_probability_of_networks_that_began_differently(name: str) -> None:
    torch.manual_seed(0)
    model, images = make_model(name, 3, CLASSES, settings(3)).eval(), batch().images
    assert isinstance(model, Ensemble)
    with torch.no_grad():
        each = torch.stack([member(images).softmax(1) for member in model.members])
        torch.testing.assert_close(model(images).softmax(1), each.mean(0))
        torch.testing.assert_close(torch.export.export(model, (images,)).module()(images), model(images))
    assert (each[0] - each[1]).abs().max() > 1e-4
    assert all(type(member) is MODELS[name] for member in model.members)


def test_each_network_learns_as_it_would_alone() -> None:
    torch.manual_seed(0)
    model, given = make_model("residual", 3, CLASSES, settings(2, label_smoothing=0.1)), batch()
    assert isinstance(model, Ensemble)
    model.losses(given).minimize["loss"].backward()
    for member in model.members:
        alone = make_model("residual", 3, CLASSES, settings(1, label_smoothing=0.1))
        alone.load_state_dict(member.state_dict())
        alone.losses(given).minimize["loss"].backward()
        for mine, its in zip(member.parameters(), alone.parameters(), strict=True):
            assert mine.grad is not None
            torch.testing.assert_close(2 * mine.grad, its.grad, rtol=1e-4, atol=1e-6)


def test_it_is_judged_by_the_ensemble_s_own_loss() -> None:
    torch.manual_seed(0)
    model, given = make_model("residual", 3, CLASSES, settings(2, label_smoothing=0.1)).eval(), batch()
    with torch.no_grad():
        expected = -(given.targets["label"] * model(given.images).log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(model.losses(given).minimize["loss"], expected)


def test_a_run_holds_all_of_it_and_goes_on_where_it_was_stopped(table: Table, tmp_path: Path) -> None:
    recipe = quick_recipe(model={"name": "residual", "width": 4, "members": 2}, train={"epochs": 2})
    said: list[str] = []
    run = train_model(table, recipe, tmp_path / "run", progress=lambda message: said.append(message.text))
    assert any(text.startswith("Network: 2 residual networks side by side, ") for text in said)
    assert "- Network: 2 residual networks side by side, " in write_card(run).read_text("utf-8")
    again = load_run(run.path)
    assert isinstance(again.model, Ensemble)
    assert len(again.model.members) == again.recipe.model.members == 2
    image = np.zeros((20, 24, 3), np.uint8)
    np.testing.assert_array_equal(run.predict([image])[0]["probability"], again.predict([image])[0]["probability"])
    with pytest.raises(UsageError, match="must be a run with one network, and that one has 2"):
        take_backbone(run.path)

    class StoppedError(Exception):
        pass

    def stop(message: Any) -> None:
        if "epoch 1 " in message.text:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_model(table, recipe, tmp_path / "stopped", progress=stop)
    resumed = resume_training(tmp_path / "stopped")
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[name], value, rtol=0, atol=0)


def test_only_networks_from_scratch_stand_side_by_side(table: Table) -> None:
    with pytest.raises(UsageError, match=r"model\.members must be 1 for finetuned, as only networks from scratch"):
        choose_settings(Recipe().change(model={"name": "finetuned", "members": 2}), table.part("train"))
