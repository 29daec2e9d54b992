"""What is fitted at once, by one pass over the training part as it is; and what whoever watches is told meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch

from tenfold.images.batch import Batch
from tenfold.images.prepared import PreparedTable
from tenfold.models.contract import Model
from tenfold.models.detection.watched import Watched
from tenfold.recipe import Recipe
from tenfold.tasks import Task
from tenfold.train.data import plain_loader
from tenfold.train.progress import Progress, Report, no_report


def plain_pass(
    recipe: Recipe, prepared: PreparedTable, task: Task, device: torch.device, progress: Report = no_report
) -> Iterator[Batch]:
    """One pass over the training part without augmentation; `progress` hears how far whoever takes the batches is."""
    loader, done, last = plain_loader(recipe, prepared, task, "train"), 0, (time.monotonic(), 1)
    of = len(loader.canvases) if loader else 0
    for batch in loader.batches() if loader else ():
        if done:  # at the pace of the batch before: the first ones may have been in the cache
            left = (time.monotonic() - last[0]) / last[1] * (of - done)
            text = f"images of the training part, {done} of {of}: about {left:.0f} s left"
            progress(Progress("prepare", text, step=done, steps=of, seconds_left=left))
        last = (time.monotonic(), len(batch))
        yield batch.to(device)
        done += len(batch)


def fit_model(model: Model, batches: Iterator[Batch], progress: Report) -> None:
    """`Model.fit`, in evaluation mode; `progress` hears of its steps where the model tells of them."""
    model.eval()
    if isinstance(model, Watched):
        model.watch = tell_steps(progress)
    model.fit(batches)


def tell_steps(progress: Report) -> Callable[[str, int, int], None]:
    """What a model calls before each of `of` like steps, `done` of them behind it, and after the last."""
    began: dict[str, float] = {}

    def watch(what: str, done: int, of: int) -> None:
        passed = time.monotonic() - began.setdefault(what, time.monotonic())
        left = passed / done * (of - done) if done else 0.0
        paced = f": about {left:.0f} s left" if done else ""
        progress(Progress("prepare", f"{what}, {done} of {of}{paced}", step=done, steps=of, seconds_left=left))

    return watch
