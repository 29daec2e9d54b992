"""tenfold train: from images, or a recipe, to a run."""

from __future__ import annotations

import dataclasses
import math
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.commands.decodable import without_lost_classes, without_unlabeled
from tenfold.commands.folds import cross_validate, read_folds
from tenfold.commands.ladder import climb, show_ladder, verdict_lines
from tenfold.commands.learnable import refuse_unlearnable
from tenfold.commands.live import Watch, looking_at
from tenfold.commands.look import SOON, findings_line, look_over
from tenfold.commands.new_folder import new_folder
from tenfold.commands.options import chosen_recipe, refuse_unread, with_settings
from tenfold.commands.output import is_first, next_look, say, show_figures, show_json, waiting
from tenfold.commands.predict_classes import tell_least
from tenfold.commands.readable import without_unreadable
from tenfold.commands.split import counts, given_note, parted, settled, standing_note
from tenfold.environment import is_shared
from tenfold.errors import Interrupted, UsageError
from tenfold.recipe import SplitSettings

if TYPE_CHECKING:
    from tenfold.check import Findings, Looked
    from tenfold.evaluate import Evaluation
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

    Without --model it climbs: heads on a pretrained network's features, then
    fine-tuning, as far as --minutes allows, and the better model is kept. Images
    with boxes (Pascal VOC, COCO json, YOLO, or a listing) get Faster R-CNN.
    What is not set is chosen from the images and by measurement on this machine;
    the run's recipe.toml holds what was chosen, so that training on that file
    repeats the run. Options count before the recipe, the recipe before defaults.
    The images are checked first, which takes a while the first time; what cannot be
    decoded is left out and named, and what else is found stands in the run's report
    and stops nothing. The test part is not trained on, and not measured. Ctrl-C
    saves and says how to go on.

    For example:

        tenfold train flowers
        tenfold train flowers --minutes 5
        tenfold train flowers --model plain --size 64 --out runs/plain
        tenfold train runs/flowers-1/recipe.toml --seed 1 --train.optimizer sgd
        tenfold train flowers --folds 5x2
        tenfold train cells --minutes 10
        tenfold train --resume runs/flowers-1

    Parameters
    ----------
    source
        The images: a folder with a folder for each class, a listing, Parquet with images, or digits; a folder with
        boxes; or a recipe.
    out
        The run's folder, a new one; by default runs/NAME-NUMBER. Looks are counted beside the written split too,
        whatever this folder.
    resume
        Go on with this run, with the settings that it has.
    folds
        Cross-validate instead: 5, or 5x2 for five folds dealt twice, a run each, on all but the test part. It
        measures the procedure, on images with boxes too, and leaves no model to use.
    json
        Print one JSON object.
    settings
        Settings of the recipe, as `with_settings` makes them.
    """
    if resume is not None:
        if source or out or folds or settings:
            raise UsageError("--resume goes on with the settings that the run has; give no data, option or setting.")
        return _resume(resume, json)
    began, wanted = time.monotonic(), read_folds(folds) if folds else None
    done = wanted is not None and out is not None and _folds_ended(out, wanted)
    counted = None if wanted or is_shared() else began  # each fold has its own time, and so have several processes
    recipe, table, looked = read_checked(source, settings, is_trained=done, began=counted)
    with new_folder(out, Path(recipe.data.path)) as folder:
        if wanted is not None:
            return cross_validate(table, recipe, folder, wanted, json, settings, looked)
        findings = found_in(looked, table).to_json() if looked else None
        started = time.monotonic() if counted is None else counted
        deadline = started + 60 * recipe.train.minutes if recipe.train.minutes else math.inf
        with _stop_told(folder):
            with Watch() as watch:
                run = _trained(table, recipe, folder, watch, findings, started)
            return _finish(run, json, evaluated=True, deadline=deadline)


def _trained(
    table: Table, recipe: Recipe, folder: Path, watch: Watch, findings: dict[str, Any] | None, started: float
) -> Run:
    """The run of the recipe's model, with the head that the ladder chooses; or of the best one.

    The time counts from `started` on, by time.monotonic.
    """
    from tenfold.train import refuse_taken, train_model
    from tenfold.transfer.best import train_best
    from tenfold.transfer.settle import known_features, note_on_strength
    from tenfold.transfer.time_left import in_time_left

    if recipe.model.name == "auto" and table.boxes is None:
        return train_best(
            table, recipe, folder, progress=watch, findings=findings, climbed=show_ladder, started=started
        )
    refuse_taken(folder)
    recipe = in_time_left(table, recipe, started, watch)
    if recipe.model.name == "rcnn" and recipe.detect.finetune and not recipe.transfer.init:
        from tenfold.detect import train_rcnn

        return train_rcnn(table, recipe, folder, progress=watch, findings=findings)
    settled = climb(table, recipe, watch, started)
    if settled is None:
        if note := note_on_strength(recipe, table.part("train")):
            say(note)
        known = known_features(recipe, table.part("train"), watch)
        return train_model(table, recipe, folder, progress=watch, findings=findings, known=known)
    ladder = settled.ladder.to_json()
    return train_model(
        table, settled.recipe, folder, progress=watch, findings=findings, known=settled.known, ladder=ladder
    )


def _folds_ended(out: Path, wanted: tuple[int, int]) -> bool:
    """Whether a folder holds all these folds, trained: then no PyTorch is needed to know that none is to begin."""
    from tenfold.train import folds_ended

    return folds_ended(out, *wanted)


def _resume(folder: Path, json: bool) -> int:
    """Go on with a run, or say that there is nothing left to do."""
    from tenfold.transfer.best import is_undecided, resume_best

    goes_on = is_undecided(folder)
    if not goes_on and (folder / "model.safetensors").is_file():
        say(f"{folder} has ended; this is what it gave.")
    with _stop_told(folder):
        with Watch() as watch:
            run = resume_best(folder, progress=watch)
        return _finish(run, json, evaluated=goes_on)


@contextmanager
def _stop_told(folder: Path) -> Iterator[None]:
    """Say after a Ctrl-C outside the loop, which tells its own, whether there is something to go on with."""
    try:
        yield
    except KeyboardInterrupt:
        if (folder / "recipe.toml").exists():
            from tenfold.run import resume_command
            from tenfold.transfer.best import is_undecided

            is_whole = (folder / "model.safetensors").is_file() and not is_undecided(folder)
            said = "; the training is done, and what it gave is seen with" if is_whole else "; go on with"
            raise Interrupted(f"Stopped by Ctrl-C{said}: {resume_command(folder)}") from None
        raise Interrupted("Stopped by Ctrl-C before the first step; nothing was written, start again.") from None


def read_parted(source: str, settings: dict[str, Any], *, of_classes: bool = False) -> tuple[Recipe, Table]:
    """The recipe with its data and split named in full, and the table with its parts; raises as `read_checked`."""
    return read_checked(source, settings, of_classes=of_classes)[:2]


def read_checked(
    source: str,
    settings: dict[str, Any],
    *,
    of_classes: bool = False,
    is_trained: bool = False,
    began: float | None = None,
) -> tuple[Recipe, Table, Looked | None]:
    """The same, and what a check saw of the table's images, if the recipe wants one.

    What the check could not decode is in no part, and the table's notes name it; without a check, a class of which
    nothing can be decoded is none. Where all `is_trained` already, the run to start from is not asked for. The
    recipe's minutes count from `began` on, by time.monotonic; None: from later on. Raises what `refuse_boxes` raises
    where it must be `of_classes`, UsageError where the check has taken all of the minutes, and what
    `refuse_unlearnable` raises.
    """
    from tenfold.images.content import hashed
    from tenfold.images.readers import read_table
    from tenfold.models.backbones.taught import learn_from
    from tenfold.split import find_split, limit_table, split_path
    from tenfold.train import refuse_boxes, refuse_other_task

    file = Path(source) if source.lower().endswith(".toml") else None
    if source and file is None:
        settings = {"data__path": source} | settings
    recipe = chosen_recipe(file, settings)
    if recipe.model.name != "auto":
        refuse_unread(recipe, settings)
    if recipe.model.name not in ("auto", "frozen"):
        from tenfold.models.frozen import refuse_open

        refuse_open(recipe.transfer.backbone)
    if not is_trained:
        from tenfold.transfer.at_hand import refuse_networks

        refuse_networks(recipe)  # before images are looked at
    data = recipe.data
    if not data.path:
        raise UsageError("Say what to train on: a folder of images, a listing, a recipe, or digits (built in).")
    path = Path(recipe.split.file or find_split(Path(data.path)) or split_path(Path(data.path)))
    if recipe.split.file and not path.is_file():
        raise UsageError(f"split.file must be a file that `tenfold split` wrote; there is no {path}.")
    recipe = recipe.change(data={"path": _full(data.path)}, split={"file": _full(path)})
    is_new = not path.exists()
    shares = _wanted_shares(recipe, settings)
    if path.exists() and shares:
        say(standing_note(path, shares))
    with waiting(f"Reading {data.path}"):
        table = read_table(data.path, data.reader, group_pattern=data.group_pattern)
        refuse_other_task(recipe, table)
        if of_classes:
            refuse_boxes(table)
        refuse_unlearnable(table)
        table = hashed(table, unreadable=data.unreadable)
    checking, looked = time.monotonic(), None
    if data.check:
        looked, table = look_over(table, data.path, allow_truncated=data.allow_truncated, split=path)
        table = without_unreadable(table, looked, refuse=data.unreadable == "refuse")
    else:
        table = without_lost_classes(table, allow_truncated=data.allow_truncated, refuse=data.unreadable == "refuse")
    refuse_unlearnable(table)
    seconds = time.monotonic() - checking
    if looked and began is not None:
        _tell_time(recipe.train.minutes, seconds, time.monotonic() - began)
        seconds = 0.0  # told, and counted
    with waiting(f"Splitting {data.path}"):
        shares_chosen, advice = settled(table, recipe.split)
        recipe = dataclasses.replace(recipe, split=shares_chosen)
        given = given_note(data.path, set(table.samples["part"].dropna()), recipe.split, shares) if is_new else []
        table = without_unlabeled(parted(table, recipe.split, recipe.train.seed))
        if recipe.split.per_class:
            table = limit_table(table, recipe.split.per_class, seed=recipe.train.seed)
    if not is_trained:
        learn_from(table, recipe.transfer.init)  # refused before the ladder climbs
    for note in (*given, *table.notes, *(advice if is_new else ())):
        say(note.replace("tenfold train DATA --folds", "--folds"))  # the diagnosis gives the command in full
    say(f"Split: a new one, written to {path}" if is_new else f"Split: {path}")
    say("Images: " + ", ".join(f"{images} {part}" for part, images in counts(table)["(all)"].items()))
    if looked:
        say(findings_line(found_in(looked, table), recipe, seconds, settings.get("data__path", data.path)))
    return recipe, table, looked


def _tell_time(minutes: float, checking: float, spent: float) -> None:
    """Say how much of the minutes a long check took; raises UsageError where nothing is left of them."""
    cached = "what it saw of the images is cached, and a second time it is quick"
    if minutes and spent >= 60 * minutes:
        again = f"run the same command again ({cached}), or give more (--minutes)"
        raise UsageError(
            f"The time limit of {60 * minutes:g} s was over after the images were read and checked, which took "
            f"{spent - checking:.0f} and {checking:.0f} s; {again if checking > SOON else 'give more (--minutes)'}."
        )
    if minutes and checking > SOON:
        say(f"The check took {checking:.0f} s of the {minutes:g} minutes; {cached}.")


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


def _finish(run: Run, json: bool, *, evaluated: bool, deadline: float = math.inf) -> int:
    """Evaluate on the validation part, unless what the run has of that is of just now, and say what came out.

    Classes are held out after that, and only where it ends before the deadline, by time.monotonic.
    """
    from tenfold.report import write_card
    from tenfold.run import resume_command
    from tenfold.transfer.unknown import fit_unknown, why_not

    if not is_first():
        return 0
    parts, ladder = counts(run.table)["(all)"], run.ladder
    with looking_at(run, "validation", "Evaluating on the validation part"):
        evaluation = _evaluation(run, evaluated) if parts["validation"] else None
    with waiting("Holding classes out"):
        teller = run.teller
        held = teller.unknown or fit_unknown(teller, seconds=deadline - time.monotonic())
        is_late = deadline < math.inf and not held and teller.recipe.model.name == "frozen" and not why_not(teller)
    write_card(run)
    for line in verdict_lines(ladder):
        say(line)
    if json:
        found = {"validation": evaluation.to_json()} if evaluation else {}
        shown = {"run": run.path, "images": parts, "evaluation": found, "diagnosis": run.diagnosis, "ladder": ladder}
        show_json(shown | {"unknown": held.to_json() if held else None})
        return 0
    if evaluation:
        show_figures(evaluation.figures, evaluation.basis)
    elif not parts["validation"]:
        say("There is no validation part, so nothing says yet how good the run is.")
    if (score := run.calibration.get("score")) is not None:
        say(f"Detections from a score of {score:.3f} on give the best F1 there; tenfold predict shows these.")
    for line in _warnings(run):
        say(line)
    if held:
        tell_least(run, held)
    elif is_late:
        say(
            "Left out: holding classes out, which predict --false-accept needs, as no time was left for it; to do it "
            f"now: {resume_command(run.path)}"
        )
    print(f"Run: {run.path}")
    next_look(run)
    return 0


def _evaluation(run: Run, evaluated: bool) -> Evaluation | None:
    """What the run is worth on its validation part; None, with the reason told, where nothing there can be measured."""
    from tenfold.evaluate import Evaluation, evaluate_run

    stored = run.evaluations.get("validation") if evaluated else None
    try:
        return Evaluation.from_json(stored) if stored else evaluate_run(run, "validation")
    except UsageError as error:  # a few images may have no object among them; the run is whole all the same
        say(f"Nothing says yet how good the run is: {error}")
        return None


def _warnings(run: Run) -> list[str]:
    """What a newcomer would not see in the figures themselves."""
    lines, history = [], run.history
    if "validation_loss" in history and run.recipe.train.keep != "last":
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
