"""Folds: a Table + a Recipe -> a run for each fold of a repeated cross-validation, in one folder.

    OUT/recipe.toml           the recipe that was asked for
    OUT/repeat1-fold1/ ...    a run each, with the fold as its validation part; the test part is in none of them

What is there already is kept: the same call goes on where an interrupted one stopped. When all folds of a repeat are
trained, the temperature of each run is fitted anew, on the folds of the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tenfold.environment import choose_device
from tenfold.errors import UsageError
from tenfold.images.table import Table
from tenfold.recipe import Recipe, read_recipe, write_recipe
from tenfold.run import Run
from tenfold.split import fold_tables
from tenfold.train.calibrate import calibrate_folds
from tenfold.train.progress import Progress, Report, no_report
from tenfold.train.ranks import join_ranks
from tenfold.train.start import resume_training, train_model


def train_folds(
    table: Table,
    recipe: Recipe,
    out: str | Path,
    *,
    folds: int = 5,
    repeats: int = 1,
    task: str = "classification",
    progress: Report = no_report,
) -> list[Run]:
    """Train the recipe `repeats` x `folds` times, each on all but one fold of what is not in the test part.

    Blocks of images that belong together stay whole. Each run has a seed of its own, counted up from the recipe's, so
    that the spread over runs holds what chance in training does too. Each run's probabilities are calibrated by what
    the other folds of its repeat say, so that the figures of its own fold do not flatter them. The runs come repeat by
    repeat.
    Raises UsageError where `out` holds something else or there are fewer separate images than folds, and what
    `train_model` raises.
    """
    refuse_boxes(table, "A cross-validation")
    folder, numbers = Path(out), list(_numbers(folds, repeats))
    tables = fold_tables(table, folds, repeats=repeats, seed=recipe.train.seed)
    claim_folder(folder, recipe)
    runs = []
    for count, ((repeat, fold), part) in enumerate(zip(numbers, tables, strict=True)):
        name = f"repeat{repeat}-fold{fold}"
        progress(Progress("note", f"Fold {count + 1} of {len(numbers)}: {name}"))
        seeded = recipe.change(train={"seed": recipe.train.seed + count})
        runs.append(train_or_resume(part, seeded, folder / name, task, progress))
        if fold == folds and join_ranks(choose_device(recipe.train.device)).is_first:
            runs[-folds:] = calibrate_folds(runs[-folds:])
    return runs


def _numbers(folds: int, repeats: int) -> Iterator[tuple[int, int]]:
    for repeat in range(1, repeats + 1):
        for fold in range(1, folds + 1):
            yield repeat, fold


def refuse_boxes(table: Table, what: str) -> None:
    """Raise UsageError for images with boxes: what is made of several runs is made of images with a class each."""
    if table.boxes is not None:
        raise UsageError(f"{what} is for images with a class each, and these have boxes; train a detector by itself.")


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


def train_or_resume(table: Table, recipe: Recipe, folder: Path, task: str, progress: Report) -> Run:
    """A new run in the folder, or the one that stands there, which goes on if it has not ended.

    Raises UsageError where that one was begun with other parts, as with another number of folds or other images.
    """
    if (folder / "recipe.toml").is_file():
        asked = dict(zip(table.samples["hash"], table.samples["part"], strict=True))
        known = Run(folder).table.samples[["hash", "part"]].itertuples(index=False, name=None)
        if any(asked.get(digest) != part for digest, part in known):
            raise UsageError(f"{folder} holds a run with other images in its parts; name another folder than its own.")
        return resume_training(folder, progress=progress)
    return train_model(table, recipe, folder, task=task, progress=progress)
