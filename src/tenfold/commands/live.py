"""What is seen while training: one live line on a terminal, now and then a plain line elsewhere; all on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tenfold.commands.output import console, is_first, say, waiting

if TYPE_CHECKING:
    from types import TracebackType

    from tenfold.run import Run
    from tenfold.train import Progress

PAUSE = 2.0
"""Seconds between plain lines, at least."""

LONG_PAUSE = 30.0
"""Seconds without a plain line after which one comes within an epoch."""

WHOSE = ("Pretrained network: ", "Weights: ")
"""How notes begin that say whose weights these are and under what licence: the ladder, the frozen network and the
fine-tuned one each say it, and once is enough."""


class Watch:
    """Shows the messages of a training; to be called with each, inside a `with`."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bars

        line = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[state]}"))
        bars = Bars(*line, console=console(sys.stderr), transient=True, refresh_per_second=4)
        self.bars = bars if sys.stderr.isatty() and is_first() else None
        self.task = bars.add_task("", visible=False, state="", total=None)
        self.shown = time.monotonic()
        self.last: Progress | None = None
        self.checked = ""
        self.whose: set[str] = set()

    def __enter__(self) -> Watch:
        if self.bars:
            self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bars:
            self.bars.stop()

    def __call__(self, message: Progress) -> None:
        """Show one message."""
        if message.phase in ("note", "measure", "done"):
            if not self._is_told(message.text):
                self._say(message.text)
        elif self.bars:
            self._show(message)
        elif self._is_due(message):
            self._say(self._state(message) if message.phase != "prepare" else message.text)
        if message.phase == "step":
            self.last = message

    def _is_told(self, text: str) -> bool:
        """Whether a note says of the same weights what another has said."""
        whose = next((text.removeprefix(start).rstrip("; ") for start in WHOSE if text.startswith(start)), "")
        told = whose in self.whose
        self.whose |= {whose} if whose else set()
        return told

    def _show(self, message: Progress) -> None:
        assert self.bars is not None
        if message.phase == "epoch":
            self.checked = f"validation {_figures(message)}" if _figures(message) else self.checked
            return
        name = message.text if message.phase == "prepare" else f"epoch {message.epoch} of {message.epochs}"
        state = self._state(message) if message.phase == "step" else ""
        self.bars.update(
            self.task, description=name, state=state, completed=message.step, total=message.steps, visible=True
        )

    def _is_due(self, message: Progress) -> bool:
        waited = time.monotonic() - self.shown
        if message.phase == "epoch":
            return waited > PAUSE or message.epoch == message.epochs
        return waited > LONG_PAUSE

    def _state(self, message: Progress) -> str:
        """Where training stands; an epoch's message has validation figures, and its time left is the last step's."""
        from tenfold.report.figures import write_seconds

        last = self.last or message
        left = message.seconds_left if message.phase == "step" else last.seconds_left
        pieces = [_figures(message), self.checked if self.bars else ""]
        pieces += [f"{message.images_per_second:.0f} images/s", f"{write_seconds(left)} left"]
        text = ", ".join(filter(None, pieces))
        if self.bars:
            return text
        kind = " (validation)" if message.phase == "epoch" and message.loss is not None else ""
        return f"epoch {message.epoch} of {message.epochs}{kind}: {text}"

    def _say(self, text: str) -> None:
        self.shown = time.monotonic()
        if self.bars:
            self.bars.console.print(text)
        else:
            say(text)


@contextmanager
def looking_at(run: Run, part: str, message: str) -> Iterator[None]:
    """Show `message` while a run's model looks at a part; of one that takes long for an image, as R-CNN, each image."""
    from tenfold.models.detection.watched import Watched, looking, watching
    from tenfold.train import tell_steps

    if not (run.task.boxes and isinstance(model := run.model, Watched)):
        with waiting(message):
            yield
        return
    named, count = f"{part} images to evaluate", len(run.table.part(part))
    with Watch() as watch, watching(model, tell_steps(watch)), looking(model, named, count):
        yield


def _figures(message: Progress) -> str:
    named = (("loss", message.loss), ("accuracy", message.accuracy))
    return ", ".join(f"{name} {value:.3f}" for name, value in named if value is not None)
