"""The best of what pretrained networks allow: the frozen ladder first, then fine-tuning; the better run stays.

    OUT/                        a run of the frozen network, whole from the first minute on
    OUT/ladder.json             how its head was chosen; "finetuning" says that it is not decided yet, or what came out
    OUT/checkpoint/finetuned/   meanwhile, the run of the fine-tuned network
    OUT/frozen/                 the run of the frozen network, where the fine-tuned one was taken

Where the fine-tuned network is better, its files take the place of the frozen one's; then, or where it is not, its
folder goes. The frozen one is kept then: it alone was not trained on the classes, so that some can be held out of it,
and tells which images are of none of them (unknown.py). A kill at any moment costs nothing: the verdict is written
beside the fine-tuned run before anything is replaced, and `resume_best` does again whatever may be half done. The one
moment in which OUT is no whole run is that of the replacement, and then it has no weights, so that nothing takes it for
one.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tenfold.environment import is_shared
from tenfold.errors import DataError, TenfoldError, TrainingError, UsageError
from tenfold.evaluate import evaluate_run
from tenfold.files import write_file
from tenfold.images.content import hashed
from tenfold.images.table import Table
from tenfold.looks import LEDGER
from tenfold.models.backbones import BUILT_IN
from tenfold.models.frozen import refuse_open
from tenfold.models.weights import find_weights
from tenfold.recipe import Recipe, TransferSettings, recipe_dict, recipe_from
from tenfold.run import Run, resume_command, write_json
from tenfold.split.ties import bonds, grouped, join
from tenfold.train import (
    Progress,
    Report,
    closing_seconds,
    compile_kernel,
    is_small_and_grey,
    measure_epoch,
    no_report,
    refuse_missing,
    refuse_taken,
    resume_training,
    train_model,
)
from tenfold.transfer.ladder import AloneError
from tenfold.transfer.rungs import Ladder
from tenfold.transfer.settle import resume_settled, settle_head
from tenfold.transfer.time_left import in_time_left
from tenfold.transfer.unknown import fit_unknown
from tenfold.transfer.verdict import FEWEST, PART, judge

TUNED = Path("checkpoint") / "finetuned"
"""Where in OUT the fine-tuned network is trained."""
KEPT = "frozen"
"""Where in OUT the frozen network stays when the fine-tuned one is taken; ladder.json names it."""
_WEIGHTS, _LADDER, _UNKNOWN = "model.safetensors", "ladder.json", "unknown.safetensors"
_ALIKE = {"table.parquet", "boxes.parquet", "environment.json"}  # what both runs have in common
_OWN = {_WEIGHTS, _LADDER, LEDGER}  # what stays as it is, or comes last: looks at the run count whoever won
_STALE = ("report.html", "README.md", _UNKNOWN)  # what may have been made of the frozen one meanwhile
_LASTING = (_WEIGHTS, "model.json", "recipe.toml", "table.parquet", "environment.json", "history.csv")
"""What the frozen one needs to be a run in KEPT, beside what it made of classes that were held out."""
_FOR_UNKNOWN = 0.1  # of the time that is left, to hold classes out


def tell_nobody(ladder: Ladder) -> None:
    """Hear nothing."""


def train_best(
    table: Table,
    recipe: Recipe,
    out: str | Path,
    *,
    progress: Report = no_report,
    findings: dict[str, Any] | None = None,
    climbed: Callable[[Ladder], None] = tell_nobody,
    started: float | None = None,
) -> Run:
    """Train what a recipe that names no model allows, the cheapest first, and leave the best as one run in `out`.

    The head of a frozen network, and the network where several are named or "auto", is chosen by the ladder, from the
    training part alone; then that network is fine-tuned, in what is left of `train.minutes`, and taken where that is
    better on the validation part, as `judge` says. What is left out is named. Small grey images, and any where the
    built-in network's weights are not here, or too few can be read to judge a head by, get the residual network from
    scratch instead, unless the recipe's [transfer] asks for something, and `progress` hears why. `climbed` is called
    with the ladder when it ends; `findings` are as `train_model` takes them. The minutes count from the moment
    `started` on, by time.monotonic; None: from now on. What was stopped goes on with `resume_best`.

    Raises UsageError where several processes train together, where the recipe settles what the ladder is to choose, and
    where `settle_head` and `train_model` do; DataError likewise.
    """
    started = time.monotonic() if started is None else started
    deadline = started + recipe.train.minutes * 60 if recipe.train.minutes else math.inf
    folder, table = Path(out), hashed(table, unreadable=recipe.data.unreadable)
    _refuse_several()
    refuse_taken(folder)
    refuse_missing(recipe)
    if not len(table.part("train")):
        raise UsageError("The table has no training part; split it first, for example with tenfold.split_table.")

    def from_scratch(reason: str) -> Run:
        progress(Progress("note", f"Model: residual, from scratch. {reason}"))
        scratch = in_time_left(table, recipe.change(model={"name": "residual"}), started, progress)
        return train_model(table, scratch, folder, progress=progress, findings=findings)

    if reason := why_scratch(table, recipe):
        return from_scratch(reason)
    _refuse_settled(recipe)
    try:
        settled = settle_head(table, recipe.change(model={"name": "frozen"}), progress=progress, started=started)
    except AloneError as error:  # only who decodes the images knows how many can be read
        if recipe.transfer != TransferSettings():
            raise
        return from_scratch(str(error))
    ladder, hopeless = settled.ladder, _why_not(table, settled.learns)
    if hopeless:
        ladder = replace(ladder, left_out=(*ladder.left_out, hopeless))
    climbed(ladder)
    left = max((deadline - time.monotonic()) / 60, 1e-9) if recipe.train.minutes else 0.0
    network = {name: getattr(settled.recipe.transfer, name) for name in ("backbone", "weights", "init")}
    tuned = recipe.change(model={"name": "finetuned"}, transfer=network, train={"minutes": left})
    open_still = {"finetuning": _not_decided(tuned)}
    run = train_model(
        table,
        settled.recipe,
        folder,
        progress=progress,
        findings=findings,
        known=settled.known,
        ladder=ladder.to_json() | ({} if hopeless else open_still),
    )
    return run if hopeless else _fine_tune(run, deadline, progress)


def resume_best(out: str | Path, *, progress: Report = no_report) -> Run:
    """Go on with any run that was stopped or killed, the better of two among them.

    On the CPU it decides as one that was not stopped. Raises what `resume_training` raises, and UsageError for the run
    in TUNED of another one.
    """
    folder = Path(out)
    _refuse_inner(folder)
    if not is_undecided(folder):
        run = resume_settled(folder, progress=progress)
        shutil.rmtree(folder / TUNED.parent, ignore_errors=True)  # a kill may have left it
        return run
    _refuse_several()
    minutes = Run(folder).ladder["finetuning"]["recipe"]["train"]["minutes"]
    deadline = time.monotonic() + minutes * 60 if minutes else math.inf
    if not (folder / _WEIGHTS).is_file() and not _is_judged(folder):
        resume_settled(folder, progress=progress)
    return _fine_tune(Run(folder), deadline, progress)


def is_undecided(out: str | Path) -> bool:
    """Whether the run in a folder, whole as it may be, is still to be compared with a fine-tuned one."""
    return Run(Path(out)).ladder.get("finetuning", {}).get("decided") is False


def name_one(table: Table, recipe: Recipe) -> tuple[Recipe, str]:
    """The recipe with its model named, for what needs one fixed procedure, and why that one, a sentence.

    The model is the frozen network with one kind of head, and the residual one where `train_best` takes that. Raises
    UsageError where the recipe leaves several networks open.
    """
    refuse_open(recipe.transfer.backbone)
    if reason := why_scratch(table, recipe):
        return recipe.change(model={"name": "residual"}), f"Model: residual, from scratch. {reason}"
    head = recipe.transfer.head if recipe.transfer.head != "auto" else "logistic"
    named = recipe.change(model={"name": "frozen"}, transfer={"head": head})
    return named, f"Model: frozen, with the head {head}: one fixed procedure is asked for here; --model names another."


def why_scratch(table: Table, recipe: Recipe) -> str:
    """Why a network from scratch is the better bet without trying any other, a sentence; empty where it is not.

    Raises DataError where no training image can be read.
    """
    if recipe.transfer != TransferSettings():  # whoever sets something of a pretrained network wants one
        return ""
    if recipe.image.channels == "grey":
        return "The images are made grey (image.channels), and the built-in network sees colors."
    training = grouped(hashed(table.part("train")))
    if len(training) and is_small_and_grey(training):
        return "All images are small and grey, and a network that knows photos sees little in those; --model tries it."
    if not join(bonds(training)).any():
        return "All training images belong together, so that no head could be judged on images apart from its own."
    try:
        find_weights(BUILT_IN)
    except DataError as error:
        return str(error)
    return ""


def _refuse_several() -> None:
    """Raise UsageError under torchrun: whatever is decided by the time that it takes would come out differently."""
    if is_shared():
        raise UsageError(
            "Several processes train one model together and cannot choose between two; name it: --model finetuned, "
            "frozen, residual or plain."
        )


def _refuse_inner(folder: Path) -> None:
    """Raise UsageError for the fine-tuned network's run inside of another one, which alone can take it."""
    whole = folder.resolve()
    outer = whole.parent.parent
    if whole == outer / TUNED and (outer / "recipe.toml").is_file():
        raise UsageError(f"{folder} is a part of the run {outer}; go on with that one: {resume_command(outer)}")


def _refuse_settled(recipe: Recipe) -> None:
    """Raise UsageError where the recipe says what the ladder is to choose."""
    usual = TransferSettings()
    for name in ("head", "strength", "sharpness"):
        if getattr(recipe.transfer, name) != getattr(usual, name):
            raise UsageError(
                f"transfer.{name} must be left open where no model is named, for the ladder chooses it; or name the "
                "model too: --model frozen"
            )


def _why_not(table: Table, learns: bool) -> str:
    """Why fine-tuning is not to be tried, a sentence; empty where it is."""
    if table.part(PART).samples["hash"].nunique() < FEWEST:
        return f"fine-tuning: there are fewer than {FEWEST} validation images to compare it on."
    return "" if learns else "fine-tuning: this backbone has no layers that can learn."


def _not_decided(recipe: Recipe) -> dict[str, Any]:
    """What ladder.json says while fine-tuning is to come or under way: with what recipe it begins."""
    return {"decided": False, "recipe": recipe_dict(recipe)}


class _LeftOut(Exception):
    """Fine-tuning cannot be had; the text says why."""


def _fine_tune(frozen: Run, deadline: float, progress: Report) -> Run:
    """From a frozen run, whole unless the verdict is written, to the better one in its place."""
    folder = frozen.path
    with _said_of(folder):
        try:
            if not _is_judged(folder):
                _hold_out(frozen, deadline, progress)
                _compare(frozen, deadline, progress)
            if Run(folder / TUNED).ladder["finetuning"]["taken"] == "finetuned":
                _keep_frozen(folder)
                _take(folder)
            _copy(folder, _LADDER)
        except _LeftOut as error:
            progress(Progress("note", f"Left out: {error}"))
            known = {name: value for name, value in frozen.ladder.items() if name != "finetuning"}
            write_json(folder / _LADDER, known | {"left_out": [*known["left_out"], str(error)]})
        shutil.rmtree(folder / TUNED.parent, ignore_errors=True)
    return Run(folder, frozen.table)


def _is_judged(folder: Path) -> bool:
    """Whether the verdict is written beside the fine-tuned run."""
    return Run(folder / TUNED).ladder.get("finetuning", {}).get("decided") is True


def _hold_out(frozen: Run, deadline: float, progress: Report) -> None:
    """Have classes held out of the frozen network, which alone was not trained on them, before another needs the time.

    The better network comes first: a small part of the time that is left must do, and what is left at the end may be
    tried again. Each resume gives another such part, and features that are no longer in the cache take what they need.
    """
    if frozen.unknown is None:
        progress(Progress("prepare", "holding classes out"))
        fit_unknown(Run(frozen.path, frozen.table), seconds=_FOR_UNKNOWN * (deadline - time.monotonic()))


def _compare(frozen: Run, deadline: float, progress: Report) -> None:
    """Train the other network and write the verdict beside it. Raises _LeftOut where that cannot be had."""
    began = time.monotonic()
    evaluate_run(Run(frozen.path, frozen.table), PART)  # of its own, so that no weights stay open
    tuned = _tuned(frozen, deadline - (time.monotonic() - began), progress)  # its evaluation will take as long
    (tuned.path / "evaluation.lock").unlink(missing_ok=True)  # of a kill: nobody else evaluates it here
    evaluate_run(tuned, PART)
    verdict = judge(frozen, tuned)
    if verdict is None:
        raise _LeftOut("fine-tuning: what it answers to the validation images cannot be told from the frozen network.")
    said = {"finetuning": {"decided": True} | verdict.to_json()}
    if verdict.taken == "finetuned":
        said["finetuning"]["kept"] = KEPT
    write_json(tuned.path / _LADDER, frozen.ladder | said)


def _tuned(frozen: Run, deadline: float, progress: Report) -> Run:
    """The run of the fine-tuned network: begun, or gone on with; a deadline counts where it begins.

    Raises _LeftOut where it fails, or cannot be trained with these settings or in this time: the other one stands.
    """
    folder, place = frozen.path, frozen.path / TUNED

    def told(message: Progress) -> None:
        progress(replace(message, text=message.text.replace(str(place), str(folder))))

    try:
        if (place / "recipe.toml").is_file():
            return resume_training(place, progress=told)
        shutil.rmtree(place, ignore_errors=True)  # what was left by a kill before it had begun
        recipe = recipe_from(frozen.ladder["finetuning"]["recipe"], str(folder / _LADDER))
        progress(Progress("note", f"Fine-tuning; until it is shown to be better, {folder} holds the frozen network"))
        recipe = _in_time(frozen.table, recipe, deadline, progress)
        return train_model(frozen.table, recipe, place, progress=told, ladder=frozen.ladder)
    except (TrainingError, UsageError) as error:
        raise _LeftOut(f"fine-tuning: {error}") from error


def _in_time(table: Table, recipe: Recipe, deadline: float, progress: Report) -> Recipe:
    """The recipe with the minutes that are left to train in; _LeftOut where they are too few for one epoch."""
    if math.isinf(deadline):
        return recipe
    if deadline <= time.monotonic():
        raise _LeftOut("fine-tuning: there was no time left for it.")
    compile_kernel(recipe, progress)
    recipe, epoch = measure_epoch(table, recipe)
    left = deadline - time.monotonic()
    after = closing_seconds(table, epoch)
    if left < epoch + after:
        raise _LeftOut(
            f"fine-tuning: an epoch takes about {epoch:.0f} s here, to see what came out {after:.0f} s, and "
            f"{max(left, 0.0):.0f} s were left."
        )
    return recipe.change(train={"minutes": left / 60})


def _keep_frozen(folder: Path) -> None:
    """Keep the frozen network's run beside what takes its place; done again after a kill, it ends the same.

    Once its weights are gone, or OUT's recipe is of another network, it was kept before.
    """
    if not (folder / _WEIGHTS).is_file() or Run(folder).recipe.model.name != "frozen":
        return
    aside, place = folder / TUNED.parent / KEPT, folder / KEPT
    for known in (aside, place):
        shutil.rmtree(known, ignore_errors=True)
    aside.mkdir(parents=True)
    for name in (*_LASTING, *([_UNKNOWN] if (folder / _UNKNOWN).is_file() else [])):
        shutil.copyfile(folder / name, aside / name)
    aside.replace(place)  # complete or absent, as a file is


def _take(folder: Path) -> None:
    """Put the fine-tuned network in the frozen one's place; done again from the start, it ends the same."""
    (folder / _WEIGHTS).unlink(missing_ok=True)
    for name in _STALE:
        (folder / name).unlink(missing_ok=True)
    for file in sorted((folder / TUNED).rglob("*")):
        name = str(file.relative_to(folder / TUNED))
        if file.is_file() and name not in _ALIKE | _OWN:
            _copy(folder, name)
    _copy(folder, _WEIGHTS)


def _copy(folder: Path, name: str) -> None:
    write_file(folder / name, partial(shutil.copyfile, folder / TUNED / name))


@contextmanager
def _said_of(folder: Path) -> Iterator[None]:
    """Errors that name the run by the folder that was asked for, and say how to go on where a disk is full."""
    try:
        yield
    except TenfoldError as error:
        said = str(error).replace(resume_command(folder / TUNED), resume_command(folder))
        raise type(error)(said) from error
    except OSError as error:
        raise DataError(
            f"{folder} cannot be written ({error.strerror or error}); what was written before is whole: see that there "
            f"is room and that it can be written to, then go on with: {resume_command(folder)}"
        ) from error
