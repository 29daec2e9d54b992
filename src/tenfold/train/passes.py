"""What is fitted at once, by one pass over the training part as it is; and what whoever watches is told meanwhile."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from tenfold.images.batch import Batch
from tenfold.images.loader import Loader
from tenfold.images.prepared import PreparedTable
from tenfold.models.contract import Model
from tenfold.models.detection.watched import Watch, Watched, looking
from tenfold.recipe import Recipe
from tenfold.tasks import Task
from tenfold.train.data import plain_loader
from tenfold.train.progress import Progress, Report, no_report

_PACED = 8
"""Steps behind whose pace the time left goes by: the first ones may have been in the cache."""


@dataclass(frozen=True)
class PlainPass:
    """One pass over some images as they are."""

    loader: Loader | None
    device: torch.device
    progress: Report
    """Hears how far whoever takes the batches is."""

    @property
    def images(self) -> int:
        """How many there are."""
        return len(self.loader.canvases) if self.loader else 0

    def __iter__(self) -> Iterator[Batch]:
        done, last, of = 0, (time.monotonic(), 1), self.images
        for batch in self.loader.batches() if self.loader else ():
            if done:  # at the pace of the batch before: the first ones may have been in the cache
                left = (time.monotonic() - last[0]) / last[1] * (of - done)
                text = f"images of the training part, {done} of {of}: about {left:.0f} s left"
                self.progress(Progress("prepare", text, step=done, steps=of, seconds_left=left))
            last = (time.monotonic(), len(batch))
            yield batch.to(self.device)
            done += len(batch)


def plain_pass(
    recipe: Recipe, prepared: PreparedTable, task: Task, device: torch.device, progress: Report = no_report
) -> PlainPass:
    """One pass over the training part without augmentation."""
    return PlainPass(plain_loader(recipe, prepared, task, "train"), device, progress)


def fit_model(model: Model, batches: PlainPass, progress: Report) -> None:
    """`Model.fit`, in evaluation mode; `progress` hears of its steps where the model tells of them."""
    model.eval()
    if isinstance(model, Watched):
        model.watch = tell_steps(progress)
        batches = replace(batches, progress=no_report)  # the model tells of each image
    with looking(model, "features of images", batches.images):
        model.fit(batches)


def tell_steps(progress: Report) -> Watch:
    """What a model calls before each of `of` like steps, `done` of them behind it, and after the last."""
    behind: dict[str, deque[tuple[float, int]]] = {}

    def watch(what: str, done: int, of: int) -> None:
        marks = behind.setdefault(what, deque(maxlen=_PACED + 1))
        if marks and done < marks[-1][1]:  # the same once more
            marks.clear()
        if not marks or done > marks[-1][1]:
            marks.append((time.monotonic(), done))
        (since, first), (now, last) = marks[0], marks[-1]
        left = (now - since) / (last - first) * (of - done) if last > first else 0.0
        paced = f": about {left:.0f} s left" if last > first else ""
        progress(Progress("prepare", f"{what}, {done} of {of}{paced}", step=done, steps=of, seconds_left=left))

    return watch
