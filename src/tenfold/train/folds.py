"""Folds: a Table + a Recipe -> a run for each fold of a repeated cross-validation, in one folder.

    OUT/recipe.toml                the recipe that was asked for
    OUT/repeat1-fold1/ ...         a run each, with the fold as its validation part; the test part is in none of them
    OUT/repeat1-fold1.split.csv    the parts of its images: its recipe names them, and so repeats the run

What is there already is kept: the same call goes on where an interrupted one stopped. When all folds of a repeat are
trained, what each run has chosen on its own fold, its temperature and a detector's score, is chosen anew on the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tenfold.environment import choose_device
from tenfold.errors import UsageError
from tenfold.images.content import hashed
from tenfold.images.table import Table
from tenfold.models.backbones.taught import known_rows, taught_by
from tenfold.recipe import Recipe, read_recipe, write_recipe
from tenfold.run import Run
from tenfold.split import fold_tables, write_split
from tenfold.train.calibrate import calibrate_folds
from tenfold.train.progress import Progress, Report, no_report
from tenfold.train.ranks import join_ranks
from tenfold.train.start import resume_training, train_model


class Trainer(NamedTuple):
    """How runs are made, `train_model` or what first settles what the recipe leaves open, and gone on with."""

    train: Callable[..., Run] = train_model
    """Called as train(table, recipe, out, task=..., progress=...)."""
    resume: Callable[..., Run] = resume_training
    """Called as resume(out, progress=...)."""


PLAIN = Trainer()


def train_folds(
    table: Table,
    recipe: Recipe,
    out: str | Path,
    *,
    folds: int = 5,
    repeats: int = 1,
    task: str = "",
    progress: Report = no_report,
    trainer: Trainer = PLAIN,
) -> list[Run]:
    """Train the recipe `repeats` x `folds` times, each on all but one fold of what is not in the test part.

    Blocks of images that belong together stay whole; of every class, that of the objects in images with boxes too, each
    fold gets its share. Each run has a seed of its own, counted up from the recipe's, so that the spread over runs
    holds what chance in training does too. Each run's probabilities are calibrated by what the other folds of its
    repeat say, so that the figures of its own fold do not flatter them. The runs come repeat by repeat. `task` as for
    `train_model`. Each run is made by `trainer`, whose validation part is the fold: what it chooses, it must choose
    by the training part alone.
    Where all have ended nothing is trained, and the run that they started from may have gone.
    Raises UsageError where `out` holds something else, there are fewer separate images than folds, a training has two
    stages, or the network to start from has learned from these images; and what `train_model` raises.
    """
    _refuse_stages(recipe)
    if not folds_ended(out, folds, repeats):
        _refuse_learned(table, recipe)
    folder, numbers = Path(out), list(_numbers(folds, repeats))
    table = hashed(table)
    tables = fold_tables(table, folds, repeats=repeats, seed=recipe.train.seed)
    claim_folder(folder, recipe)
    runs = []
    for count, ((repeat, fold), part) in enumerate(zip(numbers, tables, strict=True)):
        name = f"repeat{repeat}-fold{fold}"
        progress(Progress("note", f"Fold {count + 1} of {len(numbers)}: {name}"))
        file = _write_parts(table, part, folder / f"{name}.split.csv")
        own = recipe.change(train={"seed": recipe.train.seed + count}, split={"file": file})
        runs.append(train_or_resume(part, own, folder / name, task, progress, trainer))
        if fold == folds and join_ranks(choose_device(recipe.train.device)).is_first:
            runs[-folds:] = calibrate_folds(runs[-folds:])
    return runs


def folds_ended(out: str | Path, folds: int, repeats: int) -> bool:
    """Whether the runs of all these folds stand in a folder and have ended, so that nothing is left to be trained."""
    names = (f"repeat{repeat}-fold{fold}" for repeat, fold in _numbers(folds, repeats))
    return all((Path(out) / name / "model.safetensors").is_file() for name in names)


def _write_parts(table: Table, part: Table, file: Path) -> str:
    """The file of a fold's parts, written where it does not stand; images of the test part are in it as such."""
    if not file.exists():
        parts: Any = table.samples["part"].copy()
        parts[(parts != "test").fillna(True)] = part.samples["part"].to_numpy()
        write_split(table.assign(part=parts), file)
    return str(file.absolute())


def _numbers(folds: int, repeats: int) -> Iterator[tuple[int, int]]:
    for repeat in range(1, repeats + 1):
        for fold in range(1, folds + 1):
            yield repeat, fold


def _refuse_stages(recipe: Recipe) -> None:
    """Raise UsageError where a run is more than one training, as its first one would be of no fold; or of fewer images
    than its fold has.
    """
    if recipe.split.per_class:
        raise UsageError(
            "split.per_class must be 0 for a cross-validation, whose trainings take all images of the other folds, not "
            f"{recipe.split.per_class}; leave it out, or measure with fewer images by tenfold curve."
        )
    if recipe.model.name == "rcnn" and recipe.detect.finetune:
        raise UsageError(
            "detect.finetune must be false for a cross-validation, which trains once a fold, and it is true: that is "
            "a training before the other; leave it out, or take --model fast-rcnn, which trains its network at once."
        )


def _refuse_learned(table: Table, recipe: Recipe) -> None:
    """Raise UsageError where the earlier run `transfer.init` knows images that a fold would judge its network by."""
    init = recipe.transfer.init
    if not init:
        return
    if count := int(known_rows(hashed(table.without("test")), taught_by(Path(init)).every).sum()):
        raise UsageError(
            f"transfer.init (--init) must be a run that has seen none of these images, and {init}, or a run that it "
            f"started from, learned from or chose by {count:,} of them, on which the folds would judge its network; "
            "leave it out."
        )


def claim_folder(folder: Path, recipe: Recipe) -> None:
    """Note the recipe in the folder, or make sure that what stands there was begun with the same one."""
    noted = folder / "recipe.toml"
    if noted.is_file() and not (folder / "model.json").exists():
        if read_recipe(noted) != recipe:
            raise UsageError(f"out must be a new folder, and {folder} holds runs of another recipe; name another.")
        return
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise UsageError(f"out must be a new or empty folder, and {folder} holds something else; name another.")
    write_recipe(recipe, noted)


def train_or_resume(
    table: Table,
    recipe: Recipe,
    folder: Path,
    task: str,
    progress: Report,
    trainer: Trainer = PLAIN,
) -> Run:
    """A new run in the folder, made by `train`, or the one that stands there, which goes on if it has not ended.

    Raises UsageError where that one was begun with other parts, as with another number of folds or other images.
    """
    if (folder / "recipe.toml").is_file():
        given = table.samples[table.samples["part"].notna()]  # a copy that is the same as its image has no part
        asked = dict(zip(given["hash"], given["part"], strict=True))
        known = Run(folder).table.samples[["hash", "part"]].itertuples(index=False, name=None)
        if any(asked.get(digest) != part for digest, part in known):
            raise UsageError(f"{folder} holds a run with other images in its parts; name another folder than its own.")
        return trainer.resume(folder, progress=progress)
    return trainer.train(table, recipe, folder, task=task, progress=progress)
