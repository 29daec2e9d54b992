"""Training steps that cannot be made are one sentence that names the settings which help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tenfold.errors import TrainingError, UsageError
from tenfold.images.table import Table
from tenfold.models.plain import PlainNetwork
from tenfold.train import train_model
from tenfold.train.impossible import said_plainly
from tests.toys import quick_recipe, shapes_table

TOO_SMALL = (
    r"^Batch normalization needs more than one value .*train\.batch_size 1, image\.size 8.* --model\.norm group\.$"
)
TOO_LARGE = r"^The memory is too small for a step of 8 images at 16 px; set a smaller --batch-size or --size, "
SINGLE: dict[str, dict[str, Any]] = {
    "image": {"size": 8},
    "model": {"layers": 4, "norm": "batch"},
    "train": {"batch_size": 1},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return shapes_table(tmp_path_factory.mktemp("shapes") / "data", 6)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def test_a_single_value_for_batch_normalization(table: Table, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=TOO_SMALL):
        train_model(table, quick_recipe(**SINGLE), tmp_path / "run")
    measured = SINGLE | {"train": {"batch_size": 1, "threads": 0}}
    with pytest.raises(UsageError, match=TOO_SMALL):
        train_model(table, quick_recipe(**measured), tmp_path / "measured")
    assert not (tmp_path / "measured").exists()  # it was found out before anything was written
    helped = SINGLE | {"model": {"layers": 4, "norm": "group"}}
    train_model(table, quick_recipe(**helped).change(train={"epochs": 1}), tmp_path / "group")


@pytest.mark.parametrize("threads", [0, 1])
def test_a_step_that_is_too_large_for_the_memory(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    def losses(*_: object) -> None:
        torch.empty(2**55)  # what an allocator says where there is not so much

    monkeypatch.setattr(PlainNetwork, "losses", losses)
    with pytest.raises(TrainingError, match=TOO_LARGE):
        train_model(table, quick_recipe(train={"threads": threads}), tmp_path / "run")


def test_every_device_s_words_are_known_and_other_errors_pass() -> None:
    recipe = quick_recipe()
    cuda = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
    for error in (cuda, RuntimeError("MPS backend out of memory (MPS allocated: 1.2 GB)")):
        with pytest.raises(TrainingError, match=TOO_LARGE), said_plainly(recipe):
            raise error
    for other in (RuntimeError("size mismatch"), ValueError("no"), UsageError("no"), TrainingError("no")):
        with pytest.raises(type(other)) as caught, said_plainly(recipe):
            raise other
        assert caught.value is other
