"""Truncated heads in a run: trained whole, truncated at the end, stored and loaded as such."""

import pytest
import torch
from safetensors.torch import load_file

from tenfold.errors import DataError
from tenfold.models.detection.roi import truncate_heads
from tenfold.run import load_run, read_card, write_json
from tenfold.train import train_model
from tests.test_fast_rcnn_training import recipe_of, squares_table, toy  # noqa: F401 - a fixture
from tests.test_seams import train_killed_and_resumed

RANK = 6


@pytest.mark.parametrize("name", ["fast-rcnn", "faster-rcnn"])
def test_a_run_is_trained_whole_and_stored_truncated(name, tmp_path, monkeypatch):
    table = squares_table(tmp_path)
    recipe = recipe_of(name, policy="light", train={"epochs": 3})
    whole = load_run(train_model(table, recipe, tmp_path / "whole").path)
    run = train_killed_and_resumed(monkeypatch, table, recipe.change(detect={"rank": RANK}), tmp_path, "detection")
    stored = load_file(run.path / "model.safetensors")
    hidden = {key: tuple(value.shape) for key, value in stored.items() if key.startswith("heads.hidden.")}
    inputs = 16 * 7 * 7
    assert list(hidden.values()).count((RANK, inputs)) == 1
    assert list(hidden.values()).count((32, RANK)) == 2
    assert (32, inputs) not in hidden.values()
    truncate_heads(whole.model.heads, RANK)
    images = torch.rand(2, 3, 64, 64)
    for one, other in zip(whole.model.outputs(images).values(), run.model.outputs(images).values(), strict=True):
        torch.testing.assert_close(one, other)
    losses = run.history["train_loss"].to_numpy(), whole.history["train_loss"].to_numpy()
    assert losses[0].tolist() == losses[1].tolist()
    assert run.recipe.detect.rank == RANK


def test_weights_of_another_rank_are_refused(tmp_path):
    recipe = recipe_of(train={"epochs": 1}, detect={"rank": RANK})
    run = train_model(squares_table(tmp_path), recipe, tmp_path / "run")
    card = read_card(run.path)
    for rank in (RANK + 1, 0):
        write_json(run.path / "model.json", card | {"settings": card["settings"] | {"rank": rank}})
        with pytest.raises(DataError, match=r"model\.safetensors is damaged"):
            _ = load_run(run.path).model
