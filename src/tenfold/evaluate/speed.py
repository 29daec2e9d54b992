"""How long each stage of a prediction takes, one image after another, as whoever waits for one answer has it.

    read       from the image's file to the network's input: decoded, resized, normalized
    proposals  what comes before the network's first layer, in a detector that finds regions outside of its network
    network    from its first layer to its last one
    answer     what follows: boxes less what overlaps a better one, probabilities

The stages are told apart by hooks on the layers, which are there only while somebody measures. On a GPU its own clock
tells the time, at which it comes to the work rather than gets it.

Whether the machine had other things to do is told by the thread that measures: on one that is left in peace it computes
all the time that is measured, and elsewhere it waits for a processor, or for its helpers, which wait for one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from tenfold.environment import processor_name
from tenfold.images.prepared import read_sample
from tenfold.models.detection.watched import unwatched, watch_of, watched, watching

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.run import Run

IMAGES = 20
"""Images that are measured, at most."""
SECONDS = 10.0
"""After so long none is begun any more."""
STAGES = ("read", "proposals", "network", "answer")
_TIMED = "images whose prediction is timed"
"""What a model's watch hears of here."""
PEACE = 0.8
"""Of the time that is measured, the share that the thread computes at least on a machine that is left in peace."""


def measure_speed(run: Run, table: Table) -> dict[str, Any]:
    """The seconds that an image takes in each stage, over some images of a table, after one to warm up.

    {"stages": {stage: {"median", "least", "most"}}, with those of STAGES that there are, and "total" of the same form;
    "images": n, "device", "threads": PyTorch's, "proposals_from": the file that they are looked up in, or empty,
    "computed": the share of the time that the measuring thread computed, of a GPU while it read, without proposals that
    threads of their own find; "disturbed": a sentence where that is less than on a machine left in peace, or empty}.
    Whoever watches the model hears of each of these images before it, and of nothing within it, which would be in the
    times. Raises DataError where an image cannot be read.
    """
    rows = np.unique(np.linspace(0, len(table) - 1, IMAGES).astype(int)).tolist()
    clock, began = _Clock(run.device), time.monotonic()
    times: list[dict[str, float]] = []
    tell = watch_of(run.model)
    with clock.watching(run.model), watching(run.model, unwatched):
        tell(_TIMED, 0, len(rows))
        _one(run, table, rows[0], clock)
        clock.wall = clock.computed = 0.0
        for place in watched(tell, _TIMED, len(rows)):
            if not times or time.monotonic() - began < SECONDS:
                times.append(_one(run, table, rows[place], clock))
    stages = {name: _spread([each[name] for each in times]) for name in STAGES if name in times[0]}
    computed = min(clock.computed / clock.wall, 1.0) if clock.wall > 0 else 1.0
    return {
        "stages": stages,
        "total": _spread([sum(each.values()) for each in times]),
        "images": len(times),
        "device": _device_name(run.device),
        "threads": torch.get_num_threads(),
        "proposals_from": str(run.proposals.path) if run.proposals else "",
        "computed": computed,
        "disturbed": _say_disturbed(computed),
    }


def _say_disturbed(computed: float) -> str:
    """What is to be said beside times of which the measuring thread computed this share; empty where it is enough."""
    if computed >= PEACE:
        return ""
    return (
        f"The machine was busy, or its disk slow: this program computed for {100 * computed:.0f} % of the time that "
        "was measured and waited for the rest, so these times are too long; evaluate again when nothing else runs."
    )


def _one(run: Run, table: Table, row: int, clock: _Clock) -> dict[str, float]:
    """Stage -> seconds of one image."""
    boxes = run.proposals.of_table(table.take([row])).boxes if run.proposals else None
    made, truncated = run.preprocessing, run.recipe.data.allow_truncated
    with clock.counted():
        began = clock.moment()
        inputs = run.predictor.inputs([made.prepare(read_sample(table, row, made, truncated))], boxes)
        ready = clock.moment()
    clock.forget()
    with clock.counted(on_device=True):
        run.predictor.look(inputs)
        done = clock.moment()
    first, last = clock.first or ready, clock.last or done  # of a model without layers all is the network's
    found = {"read": clock.seconds(began, ready), "answer": clock.seconds(last, done)}
    if run.model.foreknown is None or run.proposals is not None:
        return found | {"network": clock.seconds(ready, last)}
    return found | {"proposals": clock.seconds(ready, first), "network": clock.seconds(first, last)}


class _Clock:
    """Moments on a device, those of a model's first and last layer among them."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.first: Any = None
        """When the first layer began since `forget`; None: none has."""
        self.last: Any = None
        """When the last one ended."""
        self.wall = self.computed = 0.0
        """Seconds that were `counted`, and for how many of them this thread computed."""
        self._start = (0.0, 0.0)

    def moment(self) -> Any:
        if self.device.type == "cpu":
            return time.perf_counter()
        event = torch.get_device_module(self.device).Event(enable_timing=True)
        with torch.cuda.device(self.device) if self.device.type == "cuda" else nullcontext():
            event.record()
        return event

    def seconds(self, one: Any, other: Any) -> float:
        """Between two moments."""
        if self.device.type == "cpu":
            return float(other - one)
        other.synchronize()
        return float(one.elapsed_time(other)) / 1000

    def forget(self) -> None:
        self.first = self.last = None

    @contextmanager
    def counted(self, on_device: bool = False) -> Iterator[None]:
        """Count what is done meanwhile; of what is done `on_device`, from the first layer on, and on a processor only.

        What comes before the first layer may be done by other threads, for which this one waits in peace.
        """
        self._start = _seconds_here()
        yield
        if not on_device or self.device.type == "cpu":
            (wall, computed), end = self._start, _seconds_here()
            self.wall, self.computed = self.wall + end[0] - wall, self.computed + end[1] - computed

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Note the layers of a model: those of its modules that have no others in them."""
        layers = [layer for layer in model.modules() if not list(layer.children())]
        hooks = [layer.register_forward_pre_hook(self._begins) for layer in layers]
        hooks += [layer.register_forward_hook(self._ends) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _begins(self, layer: nn.Module, inputs: object) -> None:
        if self.first is None:
            self.first, self._start = self.moment(), _seconds_here()

    def _ends(self, layer: nn.Module, inputs: object, output: object) -> None:
        self.last = self.moment()


def _seconds_here() -> tuple[float, float]:
    """By the clock, and of this thread computing."""
    return time.perf_counter(), time.thread_time()


def _spread(seconds: list[float]) -> dict[str, float]:
    return {"median": float(np.median(seconds)), "least": min(seconds), "most": max(seconds)}


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"{device.type}, {processor_name()}"
