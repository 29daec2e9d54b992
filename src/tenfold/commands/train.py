"""tenfold train: from images, or a recipe, to a run."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.commands.folds import cross_validate, read_folds
from tenfold.commands.ladder import climb
from tenfold.commands.live import Watch
from tenfold.commands.look import findings_line, look_over
from tenfold.commands.options import chosen_recipe, with_settings
from tenfold.commands.output import is_first, next_command, say, show_figures, show_json, waiting
from tenfold.commands.split import counts, parted, settled, standing_note
from tenfold.errors import Interrupted, UsageError
from tenfold.recipe import SplitSettings

if TYPE_CHECKING:
    from tenfold.check import Findings, Looked
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe
    from tenfold.run import Run


_FEW_EPOCHS, _FEW_STEPS = 10, 1000  # a training below both has hardly begun


@with_settings
def train(
    source: str = "",
    /,
    *,
    out: Path | None = None,
    resume: Path | None = None,
    folds: str = "",
    json: bool = False,
    **settings: Any,
) -> int:
    """Train a network on images, or go on with a run that was stopped.

    What is not set is chosen from the images and by measurement on this machine;
    the run's recipe.toml holds what was chosen, so that training on that file
    repeats the run. Options count before the recipe, the recipe before defaults.
    The images are checked first, which takes a while the first time; what is found
    stands in the run's report and stops nothing. The test part is not trained on,
    and not measured. Ctrl-C saves and says how to go on.

    For example:

        tenfold train flowers
        tenfold train flowers --model frozen
        tenfold train flowers --model plain --size 64 --minutes 5 --out runs/plain
        tenfold train runs/flowers-1/recipe.toml --seed 1 --train.optimizer sgd
        tenfold train flowers --folds 5x2
        tenfold train --resume runs/flowers-1

    Parameters
    ----------
    source
        The images: a folder with a folder for each class, a listing, Parquet with images, or digits; or a recipe.
    out
        The run's folder, a new one; by default runs/NAME-NUMBER.
    resume
        Go on with this run, with the settings that it has.
    folds
        Cross-validate instead: 5, or 5x2 for five folds dealt twice, a run each, on all but the test part.
    json
        Print one JSON object.
    settings
        Settings of the recipe, as `with_settings` makes them.
    """
    from tenfold.run import write_json
    from tenfold.train import resume_training, train_model

    if resume is not None:
        if source or out or folds or settings:
            raise UsageError("--resume goes on with the settings that the run has; give no data, option or setting.")
        if (resume / "model.safetensors").is_file():
            say(f"{resume} has ended, and nothing is left to be done; this is what it gave.")
        with _stop_told(resume), Watch() as watch:
            run = resume_training(resume, progress=watch)
        return _finish(run, json)
    wanted = read_folds(folds) if folds else None
    recipe, table, looked = read_checked(source, settings)
    folder = out or free_folder(Path(recipe.data.path))
    if wanted is not None:
        return cross_validate(table, recipe, folder, wanted, json, looked)
    findings = found_in(looked, table).to_json() if looked else None
    with _stop_told(folder), Watch() as watch:
        settled = climb(table, recipe, watch)
        if settled:
            recipe = settled.recipe
        known = settled.known if settled else None
        run = train_model(table, recipe, folder, progress=watch, findings=findings, known=known)
    if settled and is_first():
        write_json(run.path / "ladder.json", settled.ladder.to_json())
    return _finish(run, json)


@contextmanager
def _stop_told(folder: Path) -> Iterator[None]:
    """Say after a Ctrl-C outside the loop, which tells its own, whether there is something to go on with."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / "recipe.toml").exists():
            from tenfold.run import resume_command

            raise Interrupted(f"Stopped by Ctrl-C; go on with: {resume_command(folder)}") from None
        raise Interrupted("Stopped by Ctrl-C before the first step; nothing was written, start again.") from None


def read_parted(source: str, settings: dict[str, Any]) -> tuple[Recipe, Table]:
    """The recipe with its data and split named in full, and the table with its parts."""
    return read_checked(source, settings)[:2]


def read_checked(source: str, settings: dict[str, Any]) -> tuple[Recipe, Table, Looked | None]:
    """The same, and what a check saw of the table's images, if the recipe wants one."""
    from tenfold.images.content import hashed
    from tenfold.images.readers import read_table
    from tenfold.models import find_model
    from tenfold.split import find_split, limit_table, split_path

    file = Path(source) if source.lower().endswith(".toml") else None
    if source and file is None:
        settings = {"data__path": source} | settings
    recipe = chosen_recipe(file, settings)
    find_model(recipe.model.name)
    data = recipe.data
    if not data.path:
        raise UsageError("Say what to train on: a folder of images, a listing, a recipe, or digits (built in).")
    path = Path(recipe.split.file or find_split(Path(data.path)) or split_path(Path(data.path)))
    if recipe.split.file and not path.is_file():
        raise UsageError(f"split.file must be a file that `tenfold split` wrote; there is no {path}.")
    recipe = recipe.change(data={"path": _full(data.path)}, split={"file": _full(path)})
    is_new = not path.exists()
    if path.exists() and (shares := _wanted_shares(recipe, settings)):
        say(standing_note(path, shares))
    with waiting(f"Reading {data.path}"):
        table = read_table(data.path, data.reader, group_pattern=data.group_pattern)
        table = hashed(table, unreadable=data.unreadable)
    began, looked = time.monotonic(), None
    if data.check:
        looked, table = look_over(table, data.path, allow_truncated=data.allow_truncated)
    seconds = time.monotonic() - began
    with waiting(f"Splitting {data.path}"):
        shares_chosen, advice = settled(table, recipe.split)
        recipe = dataclasses.replace(recipe, split=shares_chosen)
        table = parted(table, recipe.split, recipe.train.seed)
        if recipe.split.per_class:
            table = limit_table(table, recipe.split.per_class, seed=recipe.train.seed)
    for note in (*table.notes, *(advice if is_new else ())):
        say(note)
    say(f"Split: a new one, written to {path}" if is_new else f"Split: {path}")
    say("Images: " + ", ".join(f"{images} {part}" for part, images in counts(table)["(all)"].items()))
    if looked:
        say(findings_line(found_in(looked, table), recipe, seconds, settings.get("data__path", data.path)))
    return recipe, table, looked


def found_in(looked: Looked, table: Table) -> Findings:
    """The findings on the images of a table, or on those of which it has some, in the parts that it gives them."""
    from tenfold.check import findings_of, parts_of

    return findings_of(looked, parts_of(looked.data.table, table))


def _wanted_shares(recipe: Recipe, settings: dict[str, Any]) -> list[str]:
    """The options for the shares of the parts that were typed, or that the recipe has a value of its own for."""
    usual = SplitSettings()
    return [
        f"--split.{name}"
        for name in ("validation", "test")
        if f"split__{name}" in settings or getattr(recipe.split, name) != getattr(usual, name)
    ]


def _full(path: str | Path) -> str:
    """An absolute path, so that the recipe works from anywhere; what is no path, as "digits", stays as it is."""
    return str(Path(path).absolute()) if Path(path).exists() or isinstance(path, Path) else path


def free_folder(data: Path) -> Path:
    """runs/NAME-1, or the first number that is free."""
    name = data.resolve().name.split(".")[0] or "images"
    return next(folder for n in count(1) if not (folder := Path("runs") / f"{name}-{n}").exists())


def _finish(run: Run, json: bool) -> int:
    """Evaluate on the validation part and say what came out."""
    from tenfold.evaluate import evaluate_run
    from tenfold.report import write_card

    if not is_first():
        return 0
    parts = counts(run.table)["(all)"]
    with waiting("Evaluating on the validation part"):
        evaluation = evaluate_run(run, "validation") if parts["validation"] else None
        write_card(run)
    if json:
        found = {"validation": evaluation.to_json()} if evaluation else {}
        show_json({"run": run.path, "images": parts, "evaluation": found, "diagnosis": run.diagnosis})
        return 0
    if evaluation:
        show_figures(evaluation.figures, evaluation.basis)
    else:
        say("There is no validation part, so nothing says yet how good the run is.")
    for line in _warnings(run):
        say(line)
    print(f"Run: {run.path}")
    next_command("tenfold", "evaluate", run.path, "--part", "test", when="when you have done choosing")
    return 0


def _warnings(run: Run) -> list[str]:
    """What a newcomer would not see in the figures themselves."""
    lines, history = [], run.history
    if "validation_loss" in history:
        validated = history.dropna(subset=["validation_loss"]).sort_values("validation_loss", kind="stable")
        kept, last = int(validated["epoch"].iloc[0]), int(validated["epoch"].max())
        if kept != last:
            lines.append(f"The weights are those of epoch {kept}, where the validation loss was least.")
    if 0 < history["step"].max() < _FEW_STEPS and len(history) < _FEW_EPOCHS:
        return [*lines, f"The training was very short (epochs: {len(history)}), too short to judge; give it more time."]
    return [*lines, *_diagnosed(run)]


def _diagnosed(run: Run) -> list[str]:
    """The kind and next step of each alarm in the run's diagnosis, or of its first finding where there is none."""
    alarms = [found for found in run.diagnosis if found["alarm"]]
    lines = [f"Diagnosis: {found['kind']}. {found['next']}".rstrip() for found in alarms or run.diagnosis[:1]]
    return [*lines, f"The report says why: tenfold report {shlex.quote(str(run.path))}"] if alarms else lines
