"""TensorBoard events, for those who watch trainings there (an extra)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tenfold.errors import UsageError


def event_writer(folder: Path) -> Callable[[dict[str, float]], None]:
    """A function that writes a row of the history as events. Raises UsageError where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "train.tensorboard needs TensorBoard; install it with: pip install 'tenfold[tensorboard]'"
        ) from error
    writer = SummaryWriter(str(folder))

    def write(row: dict[str, float]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "step"):
                writer.add_scalar(name, value, int(row["step"]))
        writer.flush()

    return write
