"""Checkpoints: all that training needs to go on, as one safetensors file written aside and renamed.

Nothing is pickled. What is random is a function of (seed, epoch, image, step), so no random state is kept.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tenfold.errors import DataError
from tenfold.files import write_file
from tenfold.models.contract import Model
from tenfold.train.optimizer import AveragedWeights

Row = dict[str, float]


@dataclass
class State:
    """Where a training stands, apart from its tensors."""

    step: int = 0
    """Batches done in all."""
    epoch: int = 0
    """Epochs done in full."""
    batch: int = 0
    """Batches done of the epoch after them."""
    epochs: int = 0
    """Epochs planned; a time limit may have changed them."""
    seconds: float = 0.0
    """Time since the start, over all sittings."""
    began: float = 0.0
    """At which of those seconds the epoch began."""
    pace: float = 0.0
    """Seconds of an epoch at full size, by the latest epochs; 0: none has ended yet."""
    times: list[tuple[int, float]] = field(default_factory=list)
    """Image size and seconds of each epoch done."""
    sums: Row = field(default_factory=dict)
    """Sums over the images of the epoch so far of each loss and figure; "images" is their number."""
    rows: list[Row] = field(default_factory=list)
    """The rows of history.csv."""
    best_loss: float | None = None
    best_epoch: int = 0
    """Epochs done when it was found."""
    earlier_epoch: int = 0
    """Epochs done when weights were set aside for the diagnosis; 0: not yet."""
    threads: int = 0
    """Processor threads that may still be halved; 0: what the recipe says."""
    most: int = 0
    """Epochs at most, however much time is left; 0: as many as fit."""
    closing: float = 0.0
    """Seconds of a time limit that are kept for what comes after the last step."""


def checkpoint_file(folder: Path) -> Path:
    """The file that the training of the run in `folder` goes on from."""
    return folder / "checkpoint" / "state.safetensors"


def clear_checkpoint(folder: Path) -> None:
    """Remove what a kill left of the training of a run that has ended. A folder there, a run of its own, stays."""
    place = checkpoint_file(folder).parent
    with suppress(OSError):
        for path in place.iterdir():
            if path.is_file():
                path.unlink(missing_ok=True)
        place.rmdir()


def save_checkpoint(
    path: Path,
    state: State,
    model: Model,
    averaged: AveragedWeights,
    optimizers: list[torch.optim.Optimizer],
) -> None:
    """Write model, averaged weights, optimizers and state to `path`."""
    tensors: dict[str, Tensor] = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"averaged.{name}": value for name, value in averaged.state.items()}
    for index, optimizer in enumerate(optimizers):
        for number, values in optimizer.state_dict()["state"].items():
            tensors |= {
                f"optimizer.{index}.{number}.{name}": value
                for name, value in values.items()
                if isinstance(value, Tensor)
            }
    tidy = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_file(path, save(tidy, {"state": json.dumps(asdict(state))}))


def load_checkpoint(
    path: Path, model: Model, averaged: AveragedWeights, optimizers: list[torch.optim.Optimizer]
) -> State:
    """Fill model, averaged weights and optimizers from `path`. Raises DataError where the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            state = State(**json.loads(file.metadata()["state"]))
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 - the file is freed
        model.load_state_dict(_under("model.", tensors))
        for name, value in _under("averaged.", tensors).items():
            averaged.state[name].copy_(value)
        for index, optimizer in enumerate(optimizers):
            content = optimizer.state_dict()
            content["state"] = _nested(_under(f"optimizer.{index}.", tensors))
            optimizer.load_state_dict(content)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"The checkpoint {path} is damaged ({reason}); delete it to start the run anew.") from error
    return state


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _nested(tensors: dict[str, Tensor]) -> dict[int, dict[str, Any]]:
    nested: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        number, _, key = name.partition(".")
        nested.setdefault(int(number), {})[key] = value
    return nested
