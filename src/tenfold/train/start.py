"""From a Table and a Recipe to a run's folder, through the loop; and going on with a run that was stopped."""

from __future__ import annotations

import csv
import io
import math
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from tenfold.environment import describe_environment
from tenfold.errors import DataError, UsageError, unknown
from tenfold.files import write_file
from tenfold.images.content import hashed
from tenfold.images.prepared import PreparedTable
from tenfold.images.table import Table, load_table, write_table
from tenfold.models import find_model
from tenfold.models.contract import Model
from tenfold.models.cost import count_cost
from tenfold.recipe import Recipe, read_recipe, write_recipe
from tenfold.run import FORMAT, Run, build_model, read_card, resume_command, write_json, write_weights
from tenfold.tasks import TASKS, Task
from tenfold.train.checkpoint import Row, State, load_checkpoint
from tenfold.train.choose import (
    choose_device,
    choose_mixing,
    choose_settings,
    model_settings,
    shrink_images,
    start_preprocessing,
)
from tenfold.train.data import noise_batch, plain_loader, prepare_images, training_loader, with_statistics
from tenfold.train.events import event_writer
from tenfold.train.loop import Loop
from tenfold.train.measure import PRECISIONS, find_learning_rate, measure_pace
from tenfold.train.progress import Progress, Report, no_report, several
from tenfold.train.ranks import Ranks, join_ranks
from tenfold.train.schedule import Schedule

_BEST = Path("checkpoint") / "best.safetensors"
_SHRUNK_FROM, _ENOUGH_EPOCHS = 96, 40  # image sizes that may be shrunk; epochs below which they are


def train_model(
    table: Table,
    recipe: Recipe | None = None,
    out: str | Path = "runs/run",
    *,
    task: str = "classification",
    progress: Report = no_report,
) -> Run:
    """Train the recipe's model on the table's training part and leave a run in the folder `out`.

    The table needs its parts (`split_table`); samples without a part are not used. The test part is only noted: its
    images are hashed where that was not done before, and never decoded. Ctrl-C saves and raises Interrupted;
    `resume_training(out)` goes on.

    Raises UsageError where `out` already holds a run, a part is missing or a setting does not fit; DataError where
    images cannot be read; TrainingError where a loss is no longer finite.

    >>> import tenfold
    >>> table = tenfold.split_table(tenfold.read_table("digits"), per_class=20)
    >>> recipe = tenfold.Recipe().change(model={"name": "plain", "width": 8}, train={"epochs": 1})
    >>> run = tenfold.train_model(table, recipe, "runs/digits")
    >>> run.history["epoch"].tolist(), (run.path / "model.safetensors").exists()
    ([1], True)
    """
    started = time.monotonic()
    folder, recipe = Path(out), recipe or Recipe()
    if (folder / "recipe.toml").exists():
        raise UsageError(f"out must be a new folder, and {folder} holds a run; name another, or resume that one.")
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"out must be a new or empty folder, and {folder} holds something else; name another.")
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    find_model(recipe.model.name)
    table = table.take(np.flatnonzero(table.samples["part"].notna()))
    table = hashed(table, unreadable=recipe.data.unreadable)
    if not len(table.part("train")):
        raise UsageError("The table has no training part; split it first, for example with tenfold.split_table.")
    TASKS[task].targets(table.without("test"))  # refuses what cannot be learnt from, before any work
    ranks = join_ranks(choose_device(recipe.train.device))
    given, recipe = recipe, choose_settings(recipe, table.part("train"))
    left = ranks.first(recipe.train.minutes * 60 - (time.monotonic() - started))
    recipe, seconds = _fit_size(recipe, given.image.size == 0, table, TASKS[task], ranks, left, progress)
    seen = np.flatnonzero(table.samples["part"] != "test")
    prepared = prepare_images(table.take(seen), recipe, progress)
    table = table.take(np.setdiff1d(np.arange(len(table)), np.delete(seen, prepared.rows)))
    recipe = with_statistics(recipe, prepared)
    card = _make_card(recipe, prepared.table.part("train"), task)
    model = _fresh_model(card, recipe)
    progress(Progress("note", f"{recipe.model.name} network: {count_cost(model, recipe.image.size)}"))
    most = recipe.train.epochs if recipe.train.minutes else 0
    if seconds:
        left = ranks.first(recipe.train.minutes * 60 - (time.monotonic() - started))
        if left <= 0:
            limit = f"The time limit of {several(recipe.train.minutes, 'minute')}"
            raise UsageError(f"{limit} was over before the first step; give more, or try again: the images are cached.")
        epochs = _epochs_within(recipe, left, seconds)
        recipe = recipe.change(train={"epochs": min(recipe.train.epochs or epochs, epochs)})
        progress(
            Progress("measure", f"{several(recipe.train.epochs, 'epoch')} in {several(recipe.train.minutes, 'minute')}")
        )
    recipe = choose_mixing(recipe)
    if recipe.train.find_lr:
        recipe = _with_found_rate(recipe, model, prepared, TASKS[task], ranks, progress)
    if ranks.is_first:
        environment = describe_environment() | {"unreadable": prepared.unreadable, "notes": list(table.notes)}
        write_table(table, folder / "table.parquet")
        write_json(folder / "environment.json", environment)
        write_json(folder / "model.json", card)
        write_recipe(recipe, folder / "recipe.toml")
    state = State(epochs=recipe.train.epochs, most=most)
    state.threads = 0 if given.train.threads else recipe.train.threads
    state.seconds = state.began = time.monotonic() - started
    _run_loop(folder, recipe, model, prepared, TASKS[task], ranks, state, progress)
    return Run(folder, table)


def resume_training(out: str | Path, *, progress: Report = no_report) -> Run:
    """Go on with a run that was stopped or killed; on the CPU it ends with the same bits as one that was not.

    A run that has ended is given back as it is. Raises DataError where the folder holds no run or the images are no
    longer what they were.
    """
    folder = Path(out)
    if not (folder / "recipe.toml").is_file():
        raise DataError(f"{folder} holds no run to go on with (no recipe.toml); start it with: tenfold train DATA")
    if (folder / "model.safetensors").is_file():
        return Run(folder)
    recipe, card = read_recipe(folder / "recipe.toml"), read_card(folder)
    table = load_table(folder / "table.parquet", tuple(card["classes"])).without("test")
    prepared = prepare_images(table, recipe, progress)
    if prepared.unreadable:
        raise DataError(f"The images have changed since training began: {next(iter(prepared.unreadable.values()))}")
    model = _fresh_model(card, recipe)
    task, ranks = Run(folder).task, join_ranks(choose_device(recipe.train.device))
    _run_loop(folder, recipe, model, prepared, task, ranks, State(epochs=recipe.train.epochs), progress)
    return Run(folder)


def _run_loop(
    folder: Path,
    recipe: Recipe,
    model: Model,
    prepared: PreparedTable,
    task: Task,
    ranks: Ranks,
    state: State,
    progress: Report,
) -> None:
    """Train from `state`, or from the checkpoint where there is one, to the run's last file."""
    device = choose_device(recipe.train.device)
    schedule = Schedule(recipe, recipe.train.epochs)
    loop = Loop(
        model=model.to(device).to(memory_format=torch.channels_last),
        recipe=recipe,
        schedule=schedule,
        train=training_loader(recipe, prepared, task, schedule.size),
        validation=plain_loader(recipe, prepared, task, "validation"),
        device=device,
        folder=folder,
        save_best=lambda tensors: write_weights(folder / _BEST, tensors),
        save_history=_save_history(folder, recipe),
        report=progress if ranks.is_first else no_report,
        ranks=ranks,
    )
    loop.state = state
    if loop.checkpoint.exists():
        loop.state = load_checkpoint(loop.checkpoint, model, loop.averaged, loop.optimizers)
        schedule.epochs = loop.state.epochs
    try:
        loop.run()
        _finish(loop, prepared, task)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error.strerror or error}); what was written before is whole: make room, "
            f"then go on with: {resume_command(folder)}"
        ) from error
    ranks.wait()
    progress(Progress("done", f"Trained in {loop.state.seconds:.0f} s: {folder}"))


def _finish(loop: Loop, prepared: PreparedTable, task: Task) -> None:
    """Take the best weights, fit what is fitted in closed form, and write the model; the checkpoint goes last."""
    model, recipe, folder = loop.model, loop.recipe, loop.folder
    if loop.state.best_loss is not None:
        loop.ranks.wait()
        model.load_state_dict(load_file(folder / _BEST, str(loop.device)))
    fitting = plain_loader(recipe, prepared, task, "train")
    if fitting is not None:
        model.eval().fit(batch.to(loop.device) for batch in fitting.batches())
    if not loop.ranks.is_first:
        return
    if not loop.steps:
        means = {f"validation_{name}": value for name, value in loop.validate(model).items()}
        _write_history(folder / "history.csv", [{"epoch": 1, "step": 0, "seconds": 0.0, **means}])
    write_weights(folder / "model.safetensors", model.state_dict())
    if recipe.train.minutes:  # whoever repeats the run trains as long as it did, whatever the machine
        write_recipe(recipe.change(train={"epochs": loop.state.epoch, "minutes": 0.0}), folder / "recipe.toml")
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def _measure_speed(recipe: Recipe, table: Table, task: Task, ranks: Ranks, progress: Report) -> tuple[Recipe, float]:
    """The recipe with precision and threads settled, and the seconds of an epoch, where they count, else 0.

    Measured on images of noise with real targets, before any image is decoded.
    """
    part = table.part("train")
    model = _fresh_model(_make_card(recipe, part, task.name), recipe)
    settings, device = recipe.train, choose_device(recipe.train.device)
    settled = settings.precision != "auto" and not settings.minutes and (settings.threads or device.type != "cpu")
    if settled or not any(step.parameters for step in model.steps()):
        kept = "float32" if settings.precision == "auto" else settings.precision
        return recipe.change(train={"precision": kept}), 0.0
    batch = noise_batch(recipe, part.take(np.arange(settings.batch_size)), task)
    pace = measure_pace(model, batch, recipe, device)
    precision = PRECISIONS[int(ranks.first(PRECISIONS.index(pace.precision)))]  # ranks that differ would drift apart
    seconds = ranks.first(pace.seconds)
    what = f"precision {precision}, {pace.threads} of {os.cpu_count()} cores" if pace.threads else precision
    size = f"a batch of {settings.batch_size} at {recipe.image.size} px"
    progress(Progress("measure", f"{what}: {seconds:.3f} s {size} here"))
    epoch = 1.3 * seconds * math.ceil(len(part) / settings.batch_size)  # with augmentation and validation
    changed = recipe.change(train={"precision": precision, "threads": pace.threads})
    return changed, epoch if settings.minutes else 0.0


def _fit_size(
    recipe: Recipe, is_open: bool, table: Table, task: Task, ranks: Ranks, left: float, progress: Report
) -> tuple[Recipe, float]:
    """The recipe with precision and image size settled, and the seconds of an epoch.

    Where the size `is_open` and a time limit leaves too few epochs, the images are made smaller: of flowers, 120 s on
    2 cores allow 19 epochs at 96 px (77.5 % of the validation part right) or 28 at 72 px (80.0 %).
    """
    measured, seconds = _measure_speed(recipe, table, task, ranks, progress)
    if not seconds or not is_open or recipe.image.size < _SHRUNK_FROM:
        return measured, seconds
    if _epochs_within(measured, left, seconds) >= min(_ENOUGH_EPOCHS, recipe.train.epochs or _ENOUGH_EPOCHS):
        return measured, seconds
    return _measure_speed(shrink_images(recipe), table, task, ranks, progress)


def _with_found_rate(
    recipe: Recipe, model: Model, prepared: PreparedTable, task: Task, ranks: Ranks, progress: Report
) -> Recipe:
    """The recipe with the learning rate that a range test finds."""
    loader = training_loader(recipe, prepared, task, lambda epoch: recipe.image.size)
    batches = (batch for epoch in range(100) for batch in loader.batches(epoch))
    device = choose_device(recipe.train.device)
    rate = ranks.first(find_learning_rate(model.to(device), batches, recipe, device))
    progress(Progress("measure", f"learning rate {rate:.2g} by the range test"))
    return recipe.change(train={"lr": rate, "find_lr": False})


def _epochs_within(recipe: Recipe, left: float, seconds: float) -> int:
    """How many epochs fit into `left` seconds; `seconds` are those of an epoch at full size."""
    schedule = Schedule(recipe, 0)
    schedule.fit(0, left, seconds)
    return schedule.epochs


def _make_card(recipe: Recipe, training: Table, task: str) -> dict[str, Any]:
    """The content of model.json."""
    preprocessing = start_preprocessing(recipe)
    return {
        "format": FORMAT,
        "task": task,
        "architecture": recipe.model.name,
        "channels": len(preprocessing.mean),
        "classes": list(training.classes),
        "settings": model_settings(recipe, training),
        "preprocessing": preprocessing.to_json(),
        "weights": {"origin": "trained from scratch", "licence": None},
    }


def _fresh_model(card: dict[str, Any], recipe: Recipe) -> Model:
    """The model with its starting weights, which depend on the seed only."""
    torch.manual_seed(recipe.train.seed)
    return build_model(card)


def _save_history(folder: Path, recipe: Recipe) -> Callable[[list[Row]], None]:
    """What the loop calls after each epoch: history.csv and, where they are wanted, TensorBoard's events."""
    write_event = event_writer(folder / "tensorboard") if recipe.train.tensorboard else None

    def save(rows: list[Row]) -> None:
        _write_history(folder / "history.csv", rows)
        if write_event is not None:
            write_event(rows[-1])

    return save


def _write_history(path: Path, rows: list[Row]) -> None:
    """history.csv: one line an epoch; a figure that an epoch does not have is left empty."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_file(path, text.getvalue())
