"""A head's strength is chosen in a training with images that belong together in one fold."""

import numpy as np
import pytest
import torch

from tenfold.errors import UsageError
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.models.heads import HEADS
from tenfold.recipe import Recipe
from tenfold.train import train_model
from tests.frozen import TinyBackbone
from tests.test_frozen_classifier import ORIGIN, batch_of, build
from tests.toys import shapes_table


@pytest.mark.parametrize("model", ["frozen", "finetuned"])
def test_groups_count_as_one_in_a_training(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    for module in (frozen_module, finetuned_module):
        monkeypatch.setattr(module, "bare_backbone", lambda name: TinyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))
    table, seen = shapes_table(tmp_path / "data", 10), []
    module = {"frozen": frozen_module, "finetuned": finetuned_module}[model]
    real = module.choose_strength
    monkeypatch.setattr(module, "choose_strength", lambda *a, **k: seen.append(k["groups"]) or real(*a, **k))
    recipe = Recipe().change(
        model={"name": model},
        transfer={"backbone": "tiny"} | ({"head": "logistic"} if model == "frozen" else {}),
        augment={"policy": "none"},
        train={"precision": "float32", "threads": 1, "epochs": 1},
    )
    train_model(table, recipe, tmp_path / "alone")
    count = len(table.part("train"))
    assert len(np.unique(seen.pop())) == count
    groups = [f"{part}-{row // 2}" for row, part in enumerate(table.samples["part"])]
    own = [group for group, part in zip(groups, table.samples["part"], strict=True) if part == "train"]
    train_model(table.assign(group=groups), recipe, tmp_path / "grouped")
    found = seen.pop()
    assert len(found) == count
    same = np.array(own)[:, None] == np.array(own)[None]
    assert np.array_equal(found[:, None] == found[None], same)
    assert same.sum() > count


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(frozen_module, "bare_backbone", lambda name: TinyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))


@pytest.mark.parametrize("count", [1, 2])
def test_so_few_groups_count_as_one_each_too(count, tiny, tmp_path, monkeypatch):
    """Two plants, or one: then nothing can be held out."""
    table, seen = shapes_table(tmp_path / "data", 10), []
    real = frozen_module.choose_strength
    monkeypatch.setattr(frozen_module, "choose_strength", lambda *a, **k: seen.append(k["groups"]) or real(*a, **k))
    recipe = Recipe().change(
        model={"name": "frozen"},
        transfer={"backbone": "tiny", "head": "logistic"},
        train={"precision": "float32", "threads": 1},
    )
    groups = [f"{part}-{row % count}" for row, part in enumerate(table.samples["part"])]
    run = train_model(table.assign(group=groups), recipe, tmp_path / "run")
    [found] = seen
    own = [group for group, part in zip(groups, table.samples["part"], strict=True) if part == "train"]
    assert np.array_equal(found[:, None] == found[None], np.array(own)[:, None] == np.array(own)[None])
    assert count == 2 or run.recipe.transfer.strength == HEADS["logistic"].strengths[0]


def test_of_one_group_a_class_no_sharpness_can_be_fitted(tiny):
    model = build(strength=1.0, sharpness=0.0, head="mean")
    with pytest.raises(UsageError, match=r"sharpness must be given for the head mean where no class has two images"):
        model.fit([batch_of(group=torch.arange(30) % 3)])
    model.fit([batch_of(group=torch.arange(30) // 3)])
    assert model.settings["sharpness"] > 0
