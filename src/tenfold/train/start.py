"""From a Table and a Recipe to a run's folder, through the loop; and going on with a run that was stopped."""

from __future__ import annotations

import csv
import io
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from tenfold.environment import choose_device, describe_environment, torch_threads
from tenfold.errors import DataError, UsageError, unknown
from tenfold.files import write_file
from tenfold.images.content import hashed
from tenfold.images.prepared import PreparedTable
from tenfold.images.table import Table, load_table
from tenfold.models import find_model
from tenfold.models.backbones.taught import NOTE, learn_from
from tenfold.models.card import network_words
from tenfold.models.contract import Model
from tenfold.models.cost import count_cost
from tenfold.recipe import Recipe, read_recipe, write_recipe
from tenfold.run import Run, read_card, resume_command, write_json, write_weights
from tenfold.split.ties import grouped
from tenfold.tasks import TASKS, Task, refuse_untaught
from tenfold.train.amounts import notes_on_room
from tenfold.train.background import in_quarters
from tenfold.train.begin import begin_run, refuse_taken
from tenfold.train.calibrate import calibrate
from tenfold.train.checkpoint import Row, State, checkpoint_file, clear_checkpoint, load_checkpoint
from tenfold.train.choose import (
    choose_mixing,
    choose_settings,
    fresh_model,
    make_card,
    name_model,
    notes_on_norm,
    refuse_other_task,
    start_preprocessing,
)
from tenfold.train.data import plain_loader, prepare_images, training_loader, with_foreknown, with_statistics
from tenfold.train.diagnosis import compared, diagnose
from tenfold.train.events import event_writer, refuse_missing
from tenfold.train.evidence import Examiner, Facts, Measured, Outcome
from tenfold.train.loop import Loop
from tenfold.train.passes import fit_model, plain_pass
from tenfold.train.plan import Plan
from tenfold.train.progress import Progress, Report, no_report
from tenfold.train.ranks import Ranks, join_ranks
from tenfold.train.schedule import Schedule

Known = Callable[[PreparedTable], dict[str, NDArray[np.generic]]]

_BEST = Path("checkpoint") / "best.safetensors"
_EARLIER = Path("checkpoint") / "earlier.safetensors"
_SOON = 4.0  # seconds that loading a compiled kernel does not take


def train_model(
    table: Table,
    recipe: Recipe | None = None,
    out: str | Path = "runs/run",
    *,
    task: str = "",
    progress: Report = no_report,
    findings: dict[str, Any] | None = None,
    known: Known | None = None,
    ladder: dict[str, Any] | None = None,
) -> Run:
    """Train the recipe's model on the table's training part and leave a run in the folder `out`.

    A recipe that names no model ("auto") gets the residual network, or Faster R-CNN where the images have boxes;
    `tenfold.transfer.best.train_best` tries more. `task` is a name in TASKS; empty: what the model is for.

    The table needs its parts (`split_table`); samples without a part are not used. The test part is only noted: its
    images are hashed where that was not done before, and never decoded. Ctrl-C saves and raises Interrupted;
    `resume_training(out)` goes on. `findings` are those of a check, as their `to_json` gives them, for the report.
    `known` gives what was computed of the images before, as frozen features; `ladder` is how the recipe's head was
    chosen, as `tenfold.transfer.Ladder.to_json` gives it, for the report too. For a recipe
    that reads its images from `listing_file(out)`, that is written before the training.

    Raises UsageError where `out` already holds a run, a part is missing, a setting does not fit or images of the test
    part have taught the run that it starts from (`transfer.init`, its own start included); DataError where images
    cannot be read; TrainingError where a loss is no longer finite.

    >>> import tenfold
    >>> table = tenfold.split_table(tenfold.read_table("digits"), per_class=20)
    >>> recipe = tenfold.Recipe().change(model={"name": "plain", "width": 8}, train={"epochs": 1})
    >>> run = tenfold.train_model(table, recipe, "runs/digits")
    >>> run.history["epoch"].tolist(), (run.path / "model.safetensors").exists()
    ([1], True)
    """
    folder, recipe = Path(out), name_model(recipe or Recipe(), table)
    refuse_taken(folder)
    refuse_missing(recipe)
    if not task:
        refuse_other_task(recipe, table)
    task = task or find_model(recipe.model.name).task
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    compile_kernel(recipe, progress)
    started = time.monotonic()
    table = table.take(np.flatnonzero(table.samples["part"].notna()))
    table = grouped(hashed(table, unreadable=recipe.data.unreadable))
    if not len(table.part("train")):
        raise UsageError("The table has no training part; split it first, for example with tenfold.split_table.")
    TASKS[task].targets(table.without("test"))  # refuses what cannot be learnt from, before any work
    refuse_untaught(table.part("train"))
    ranks = join_ranks(choose_device(recipe.train.device))
    training = table.part("train")
    given, recipe = recipe, choose_settings(recipe, training, ranks.count)
    taught, notes = learn_from(table, recipe.transfer.init)
    notes = (*notes, *notes_on_norm(given, recipe, len(training), ranks.count), *notes_on_room(given, recipe, training))
    for note in notes:
        progress(Progress("note", note))
    table = replace(table, notes=(*table.notes, *notes))
    most = recipe.train.epochs
    plan = Plan(recipe, TASKS[task], ranks, started, progress)
    scale_is_free = "transfer" not in find_model(recipe.model.name).sections  # pretrained weights know one
    plan.settle_speed(table, may_shrink=given.image.size == 0 and scale_is_free)
    seen = np.flatnonzero(table.samples["part"] != "test")
    prepared = prepare_images(table.take(seen), plan.recipe, progress)
    prepared = replace(prepared, known=known(prepared)) if known else prepared
    table = table.take(np.setdiff1d(np.arange(len(table)), np.delete(seen, prepared.rows)))
    plan.recipe = with_statistics(plan.recipe, prepared)
    card = make_card(plan.recipe, prepared.table.part("train"), task)
    model = fresh_model(card, plan.recipe)
    if weights := model.load_pretrained():
        card["weights"] = weights
        whose = (weights["origin"], f"licence {weights['licence']}", weights["note"])
        progress(Progress("note", f"Weights: {'; '.join(filter(None, whose))}"))
    cost = count_cost(model, *start_preprocessing(plan.recipe).sides)
    progress(Progress("note", f"Network: {network_words(card)}, {cost}"))
    prepared = with_foreknown(prepared, model, plan.recipe, progress)
    plan.settle_epochs()
    plan.recipe = choose_mixing(plan.recipe)
    plan.settle_proposals(model, prepared)
    plan.settle_rate(model, prepared)
    recipe = plan.recipe
    if ranks.is_first:
        environment = describe_environment() | {"unreadable": prepared.unreadable, "notes": list(table.notes)}
        facts = {"findings.json": findings, "ladder.json": ladder, NOTE: taught.to_json() if taught else None}
        # Under a time limit the run keeps the epochs that were asked for: how many fit is measured once more if this
        # is killed before its first checkpoint, which has both.
        begin_run(folder, table, environment, card, recipe.change(train={"epochs": most}), facts)
    state = State(epochs=recipe.train.epochs, most=most, threads=0 if given.train.threads else recipe.train.threads)
    state.closing = plan.closing
    state.seconds = state.began = time.monotonic() - started
    _run_loop(folder, recipe, model, prepared, TASKS[task], ranks, state, progress)
    return Run(folder, table)


def measure_epoch(table: Table, recipe: Recipe) -> tuple[Recipe, float]:
    """The recipe with its precision settled, and about how many seconds an epoch of it takes here, by a few steps.

    0 where the model has no step. Raises what `train_model` raises before it decodes images.
    """
    training = table.part("train")
    limited = choose_settings(recipe, training).change(train={"minutes": 1.0})  # only then does an epoch's time count
    plan = Plan(limited, TASKS[find_model(limited.model.name).task], Ranks(), time.monotonic(), no_report)
    plan.settle_speed(table, may_shrink=False)
    return recipe.change(train={"precision": plan.recipe.train.precision}), plan.epoch_seconds


def compile_kernel(recipe: Recipe, progress: Report = no_report) -> None:
    """Have the kernel of augmentation ready, as `train_model` does before it begins to count its time.

    `progress` hears of it where that was work, as it is once on a machine.
    """
    usual = find_model(recipe.model.name).usual.policy
    if (usual if recipe.augment.policy == "auto" else recipe.augment.policy) == "none":
        return
    from tenfold.augment.kernel import compile_passes

    began = time.monotonic()
    compile_passes()
    took = time.monotonic() - began
    if took > _SOON:
        progress(Progress("note", f"compiled the kernel of augmentation, once for this machine: {took:.0f} s"))


def resume_training(out: str | Path, *, progress: Report = no_report, known: Known | None = None) -> Run:
    """Go on with a run that was stopped or killed; on the CPU it ends with the same bits as one that was not.

    A run that has ended is given back as it is. `known` as for `train_model`, where that had it. Raises DataError where
    the folder holds no run, or several, or the images are no longer what they were.
    """
    folder, started = Path(out), time.monotonic()
    if not (folder / "recipe.toml").is_file():
        raise DataError(f"{folder} holds no run to go on with (no recipe.toml); start it with: tenfold train DATA")
    if (folder / "model.safetensors").is_file():
        _note_epochs(folder)  # a kill may have come between the two, or before the last
        clear_checkpoint(folder)
        return Run(folder)
    if not (folder / "model.json").is_file():
        raise DataError(
            f"{folder} is no run: it has a recipe and no model.json, as a folder of several runs has (--folds, tenfold "
            f"curve); give the command that began it once more, with --out {folder}: what is done stays."
        )
    recipe, card = read_recipe(folder / "recipe.toml"), read_card(folder)
    if "auto" in (recipe.train.optimizer, recipe.train.precision):  # cut off between two lines it is read all the same
        raise DataError(f"{folder / 'recipe.toml'} is damaged: it lacks what the run has settled; put it back whole.")
    table = load_table(folder / "table.parquet", tuple(card["classes"])).without("test")
    prepared = prepare_images(table, recipe, progress)
    if prepared.unreadable:
        changed = next(iter(prepared.unreadable.values())).rstrip(".")
        raise DataError(
            f"The images of {folder} have changed since its training began: {changed}; or put the image back as it was "
            f"and go on: {resume_command(folder)}"
        )
    prepared = replace(prepared, known=known(prepared)) if known else prepared
    model = fresh_model(card, recipe)
    if not checkpoint_file(folder).exists():
        model.load_pretrained()
    prepared = with_foreknown(prepared, model, recipe, progress)
    task, ranks = Run(folder).task, join_ranks(choose_device(recipe.train.device))
    state = State(epochs=recipe.train.epochs, most=recipe.train.epochs)
    if recipe.train.minutes and not checkpoint_file(folder).exists():  # nothing is done yet: its time begins anew
        plan = Plan(recipe, task, ranks, started, progress)
        plan.settle_speed(table, may_shrink=False)  # what is kept, and how many epochs, follow from the pace
        plan.settle_epochs()
        recipe = recipe.change(train={"epochs": plan.recipe.train.epochs})
        state.epochs, state.closing, state.seconds = recipe.train.epochs, plan.closing, time.monotonic() - started
    _run_loop(folder, recipe, model, prepared, task, ranks, state, progress)
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
    schedule = Schedule(recipe, state.epochs)
    model = model.to(device).to(memory_format=torch.channels_last)
    if not checkpoint_file(folder).exists():
        began = time.monotonic()
        model.eval().begin(plain_pass(recipe, prepared, task, device))
        state.seconds = state.began = state.seconds + time.monotonic() - began
        if said := model.describe():
            progress(Progress("note", said))
    loop = Loop(
        model=model,
        recipe=recipe,
        schedule=schedule,
        train=in_quarters(training_loader(recipe, prepared, task, schedule.size), recipe, prepared),
        validation=plain_loader(recipe, prepared, task, "validation"),
        device=device,
        folder=folder,
        save_best=lambda tensors: write_weights(folder / _BEST, tensors),
        save_history=_save_history(folder, recipe),
        save_earlier=lambda tensors: write_weights(folder / _EARLIER, tensors),
        report=progress if ranks.is_first else no_report,
        ranks=ranks,
    )
    loop.state = state
    if loop.checkpoint.exists():
        loop.state = load_checkpoint(loop.checkpoint, model, loop.averaged, loop.optimizers)
        schedule.epochs = loop.state.epochs
    try:
        _run(loop)
        _finish(loop, prepared, task)
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error.strerror or error}); what was written before is whole: see that "
            f"there is room and that it can be written to, then go on with: {resume_command(folder)}"
        ) from error
    ranks.wait()
    progress(Progress("done", f"Trained in {loop.state.seconds:.0f} s: {folder}"))


def _run(loop: Loop) -> None:
    try:
        loop.run()
    except DataError as error:  # images that do not fit into the cache are read in each epoch, and may have gone
        reason = str(error).rstrip(".")
        raise DataError(
            f"{reason}; the training so far is saved: put that right, then go on with: {resume_command(loop.folder)}"
        ) from error


def _finish(loop: Loop, prepared: PreparedTable, task: Task) -> None:
    """Take the best weights, fit what is fitted in closed form, and write the model; the checkpoint goes last."""
    model, recipe, folder = loop.model, loop.recipe, loop.folder
    threads = loop.state.threads or recipe.train.threads
    examiner = Examiner(model, recipe, prepared, task, loop.device, loop.context, threads) if task.scores else None
    last, earlier = _look_back(loop, examiner) if examiner and loop.ranks.is_first else (None, None)
    if loop.state.best_loss is not None:
        loop.ranks.wait()
        model.load_state_dict(_load_weights(folder / _BEST, loop.device))
    began, before = time.monotonic(), dict(model.settings)
    with torch_threads(threads):
        fit_model(model, plain_pass(recipe, prepared, task, loop.device, loop.report), loop.report)
    loop.state.seconds += time.monotonic() - began
    if not loop.ranks.is_first:
        return
    recipe = _note_chosen(folder, recipe, model, before)
    rows = loop.state.rows
    if not loop.steps:
        means = {f"validation_{name}": value for name, value in loop.validate(model).items()}
        rows = [{"epoch": 1, "step": 0, "seconds": 0.0, **means}]
        _write_history(folder / "history.csv", rows)
    if examiner:
        kept = examiner.measure(loop.state.best_epoch or loop.state.epoch)
        classes, (images, copies) = prepared.table.classes, examiner.counts()
        tried = compared(Run(folder).ladder)
        facts = Facts(recipe, classes, images, last or kept, kept, examiner.each_class(), earlier, tried, copies)
        write_json(folder / "diagnosis.json", [found.to_json() for found in diagnose(pd.DataFrame(rows), facts)])
    if fitted := calibrate(model, recipe, prepared, task, loop.device):
        write_json(folder / "model.json", read_card(folder) | {"calibration": fitted})
    write_weights(folder / "model.safetensors", model.state_dict())
    _note_epochs(folder)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)


def _note_epochs(folder: Path) -> None:
    """Put the epochs that an ended run took in the place of its time limit: to repeat it is to train as long."""
    recipe = read_recipe(folder / "recipe.toml")
    if recipe.train.minutes:
        history = Run(folder).history
        epochs = int(history["epoch"].max()) if history["step"].any() else 0
        write_recipe(recipe.change(train={"epochs": epochs, "minutes": 0.0}), folder / "recipe.toml")


def _note_chosen(folder: Path, recipe: Recipe, model: Model, before: dict[str, Any]) -> Recipe:
    """What a fit has chosen of its settings, which were `before`, written into the run: the recipe with that."""
    chosen = {name: value for name, value in model.settings.items() if value != before.get(name)}
    for section in model.sections if chosen else ():
        known = vars(getattr(recipe, section)).keys() & chosen
        recipe = recipe.change(**{section: {name: chosen[name] for name in known}})
    if chosen:
        write_recipe(recipe, folder / "recipe.toml")  # first: after a kill the model chooses again, and the same
        write_json(folder / "model.json", (card := read_card(folder)) | {"settings": card["settings"] | chosen})
    return recipe


def _look_back(loop: Loop, examiner: Examiner) -> tuple[Measured | None, tuple[int, Outcome] | None]:
    """What the last weights, where others are kept, and those of a while before the end make of the images.

    The model holds the last weights before and after.
    """
    state, model, file = loop.state, loop.model, loop.folder / _EARLIER
    last = examiner.measure(state.epoch) if state.best_loss is not None and state.best_epoch < state.epoch else None
    if not 0 < state.earlier_epoch < state.epoch or not file.exists() or loop.validation is None:
        return last, None
    model.load_state_dict(_load_weights(file, loop.device))
    seen = examiner.validation()
    model.load_state_dict(loop.averaged.state)
    return last, (state.earlier_epoch, seen) if seen else None


def _load_weights(file: Path, device: torch.device) -> dict[str, Tensor]:
    """Weights that the loop set aside."""
    try:
        return load_file(file, str(device))
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"The checkpoint {file} is damaged ({error}); delete {file.parent} to start the run anew, then go on with: "
            f"{resume_command(file.parent.parent)}"
        ) from error


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
