"""TensorBoard events, for those who watch trainings there (an extra)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tenfold.models.weights.packages import need_package
from tenfold.recipe import Recipe


def refuse_missing(recipe: Recipe) -> None:
    """Raise UsageError where the recipe wants events and TensorBoard is not installed."""
    if recipe.train.tensorboard:
        need_package("tensorboard", "train.tensorboard")


def event_writer(folder: Path) -> Callable[[dict[str, float]], None]:
    """A function that writes a row of the history as events. Raises UsageError where TensorBoard is not installed."""
    need_package("tensorboard", "train.tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))

    def write(row: dict[str, float]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "step"):
                writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return write
