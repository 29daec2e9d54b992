"""What training tells whoever watches it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Progress:
    """One message. `phase` says which of the later fields are filled."""

    phase: Literal["note", "prepare", "measure", "step", "epoch", "done"]
    text: str = ""
    """A sentence for the user: always filled but for "step"."""
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    """Steps done in all; in "prepare" images prepared."""
    steps: int = 0
    loss: float | None = None
    accuracy: float | None = None
    """On the validation part in "epoch", else on the training batches; None where the task has none."""
    images_per_second: float = 0.0
    seconds_left: float = 0.0


Report = Callable[[Progress], None]


def no_report(message: Progress) -> None:
    """Tell nobody."""


def several(number: float, noun: str) -> str:
    """ "1 epoch", "3 epochs", "0.5 minutes"."""
    return f"{number:g} {noun}{'' if number == 1 else 's'}"
