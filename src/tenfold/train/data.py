"""Table -> prepared images -> the loaders that training reads.

Training and validation only: a Table with test samples never comes here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.augment.chosen import chosen_policy
from tenfold.augment.device import ops_on_cpu
from tenfold.augment.feed import PlainInput, PolicyInput
from tenfold.draws import hash_numbers
from tenfold.environment import choose_device, usable_threads
from tenfold.errors import DataError
from tenfold.images.batch import COPIES, GROUPS, Batch
from tenfold.images.loader import Augment, Loader, balanced, shuffled
from tenfold.images.prepared import PreparedTable, channel_statistics, prepare_table
from tenfold.images.table import Table
from tenfold.models.contract import Model
from tenfold.recipe import Recipe
from tenfold.split.ties import bonds, join
from tenfold.tasks import Task
from tenfold.train.choose import start_preprocessing
from tenfold.train.progress import Progress, Report

_PLAIN, _USUAL_SIZE = 64, 224


def prepare_images(table: Table, recipe: Recipe, progress: Report) -> PreparedTable:
    """Decode through the cache; unreadable images are left out and told of, or refused as the recipe says."""

    def watch(done: int, of: int) -> None:
        progress(Progress("prepare", f"decoding images {done} of {of}", step=done, steps=of))

    prepared = prepare_table(
        table,
        start_preprocessing(recipe),
        allow_truncated=recipe.data.allow_truncated,
        workers=recipe.train.workers + 1,
        watch=watch,
    )
    _refuse_vanished(table, prepared)
    for file in prepared.canvases.damaged:
        progress(Progress("note", f"The cache file {file} was damaged; what it held is decoded again"))
    if prepared.unreadable and recipe.data.unreadable == "refuse":
        raise DataError(f"{len(prepared.unreadable)} images cannot be read: {next(iter(prepared.unreadable.values()))}")
    for reason in prepared.unreadable.values():
        progress(Progress("note", f"left out: {reason}"))
    return prepared


def _refuse_vanished(table: Table, prepared: PreparedTable) -> None:
    """Refuse to train on the rest where files have gone since they were hashed, as with a drive that was unplugged."""
    missing = table.samples["source"].iloc[np.setdiff1d(np.arange(len(table)), prepared.rows)]
    gone = [source for source in missing if source not in table.arrays and not Path(source).exists()]
    if gone:
        raise DataError(
            f"{len(gone)} of {len(table)} images have vanished since they were first read, for example {gone[0]}; see "
            "that their folder is there, then run the same command again."
        )


def with_foreknown(prepared: PreparedTable, model: Model, recipe: Recipe, progress: Report) -> PreparedTable:
    """The images with what the model must know of them before it is trained, which is found here."""
    wanted, began = model.foreknown, time.monotonic()
    if wanted is None:
        return prepared

    def watch(done: int, of: int) -> None:
        left = (time.monotonic() - began) / done * (of - done)
        text = f"{wanted.name} of images, {done} of {of}: about {left:.0f} s left"
        progress(Progress("prepare", text, step=done, steps=of, seconds_left=left))

    found = wanted.find(prepared, start_preprocessing(recipe), watch)
    took = f"{time.monotonic() - began:.0f} s"
    progress(Progress("note", f"{wanted.name}: up to {found.shape[1]} an image, of {len(found)} images ({took})"))
    known = prepared.known | {wanted.name: found}
    return replace(prepared, known=known, boxes=(*prepared.boxes, wanted.name))


def with_statistics(recipe: Recipe, prepared: PreparedTable) -> Recipe:
    """The recipe with mean and standard deviation of the training part, where they are not given."""
    rows = np.flatnonzero(prepared.table.samples["part"] == "train")
    if not len(rows):
        raise DataError("None of the training images can be read.")
    mean, std = channel_statistics(prepared.canvases, start_preprocessing(recipe), rows)
    return recipe.change(image={"mean": recipe.image.mean or mean, "std": recipe.image.std or std})


def training_loader(recipe: Recipe, prepared: PreparedTable, task: Task, size: Callable[[int], int]) -> Loader:
    """The training part in each epoch's order, augmented; `size(epoch)` is that of its images."""
    rows = np.flatnonzero(prepared.table.samples["part"] == "train")
    part = prepared.table.take(rows)
    hashes = hash_numbers(part.samples["hash"].tolist())
    device = _batch_device(recipe)
    boxes = (*task.boxes, *prepared.boxes)
    augment: Augment = PlainInput(start_preprocessing(recipe), device, boxes)
    policy, feeders = chosen_policy(recipe.augment), _feeders(recipe, prepared)
    if policy.ops or policy.mix.is_on or recipe.train.grow == "on":
        threads = 1 if feeders else recipe.train.threads or usable_threads()
        device = None if ops_on_cpu(policy.ops) else device  # to wait for the device twice a batch costs more
        augment = PolicyInput(policy, start_preprocessing(recipe), size, task.mixes, threads, device, boxes)
    choose = shuffled(hashes, recipe.train.seed)
    if recipe.train.balance == "sampling":
        choose = balanced(hashes, part.labels(), recipe.train.seed)
    return Loader(
        prepared.canvases.subset(rows),
        task.targets(part) | {name: prepared.known[name][rows] for name in prepared.boxes},
        hashes,
        augment,
        recipe.train.batch_size,
        workers=feeders,
        choose=choose,
    )


def plain_loader(recipe: Recipe, prepared: PreparedTable, task: Task, part: str) -> Loader | None:
    """One part as it is, without augmentation; None where the part is empty."""
    rows = np.flatnonzero(prepared.table.samples["part"] == part)
    return rows_loader(recipe, prepared, task, rows) if len(rows) else None


def rows_loader(recipe: Recipe, prepared: PreparedTable, task: Task, rows: NDArray[np.int64]) -> Loader:
    """Some of the images, int64 [N] in that order, as they are, without augmentation."""
    table = prepared.table.take(rows)
    known = {name: values[rows] for name, values in prepared.known.items()}
    known |= {COPIES: copies} if (copies := table.samples["copy"].to_numpy(bool, copy=True)).any() else {}
    if table.samples["group"].notna().any():
        known[GROUPS] = join(bonds(table))  # however few: no image may be answered by what its own group taught
    return Loader(
        prepared.canvases.subset(rows),
        task.targets(table) | known,
        hash_numbers(table.samples["hash"].tolist()),
        PlainInput(start_preprocessing(recipe), _batch_device(recipe), (*task.boxes, *prepared.boxes)),
        max(_plain_batch(recipe.image.size), recipe.train.batch_size),
        workers=_feeders(recipe, prepared),
    )


def noise_batch(recipe: Recipe, table: Table, task: Task, model: Model) -> Batch:
    """A batch as the training loader would give of `table`, its images noise: to measure on before any is decoded."""
    made, count = start_preprocessing(recipe), len(table)
    images = torch.rand(count, len(made.mean), *made.sides, generator=torch.Generator().manual_seed(0))
    targets = {name: torch.from_numpy(value) for name, value in task.targets(table).items()}
    if model.foreknown:
        targets[model.foreknown.name] = model.foreknown.invent(images)
    keys = hash_numbers(table.samples["hash"].tolist())
    affine = torch.eye(2, 3).expand(count, 2, 3)
    images = images.contiguous(memory_format=torch.channels_last)
    return Batch(images, targets, np.arange(count), keys, affine)


def _plain_batch(size: int) -> int:
    """Images of a batch without augmentation: as many as hold the pixels of _PLAIN of usual size, at most so many."""
    return max(8, min(_PLAIN, _PLAIN * _USUAL_SIZE**2 // size**2))


def _batch_device(recipe: Recipe) -> torch.device | None:
    """The GPU that batches are made on, from bytes; None: on the CPU, for Apple's mps too, which has no float64."""
    device = choose_device(recipe.train.device)
    if device.type != "cuda":
        return None
    # A thread that makes batches begins at the first GPU, whichever this process has taken.
    return device if device.index is not None else torch.device("cuda", torch.cuda.current_device())


def _feeders(recipe: Recipe, prepared: PreparedTable) -> int:
    """Threads that make batches: none on the CPU, where the network needs every core (with one, 535 images/s instead
    of 660 at 72 px), unless images must be decoded each time.
    """
    on_cpu = choose_device(recipe.train.device).type == "cpu"
    return 0 if on_cpu and prepared.canvases.is_cached else recipe.train.workers
