"""A head's strength is chosen in a training with images that belong together in one fold."""

import numpy as np
import pytest

from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.recipe import Recipe
from tenfold.train import train_model
from tests.frozen import TinyBackbone
from tests.test_frozen_classifier import ORIGIN
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
