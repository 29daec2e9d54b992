"""What `tenfold train --folds` does: a run a fold, and what their common procedure is worth."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.commands.live import Watch
from tenfold.commands.output import command_line, is_first, next_command, say, show_figures, show_json, waiting
from tenfold.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from tenfold.check import Looked
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe


def cross_validate(
    table: Table, recipe: Recipe, out: Path, wanted: tuple[int, int], json: bool, looked: Looked | None = None
) -> int:
    """Train and evaluate all folds, `wanted` (folds, repeats), and write folds.json beside their runs.

    What was seen of the images is written into each run, as findings on its own parts.
    """
    from tenfold.check import findings_of, parts_of
    from tenfold.evaluate import evaluate_folds
    from tenfold.run import write_json
    from tenfold.train import train_folds

    folds, repeats = wanted
    recipe = named(table, recipe)
    try:
        with Watch() as watch:
            runs = train_folds(table, recipe, out, folds=folds, repeats=repeats, progress=watch)
    except (Interrupted, KeyboardInterrupt):
        again = command_line("tenfold", "train", out / "recipe.toml", "--folds", f"{folds}x{repeats}", "--out", out)
        raise Interrupted(f"Stopped by Ctrl-C; the folds that are done stay: go on with: {again}") from None
    if not is_first():
        return 0
    with waiting("Evaluating the folds"):
        found = evaluate_folds(runs, folds)
    write_json(out / "folds.json", found.to_json())
    if looked:
        for run in runs:
            findings = findings_of(looked, parts_of(looked.data.table, run.table))
            write_json(run.path / "findings.json", findings.to_json())
    if json:
        show_json({"out": out, "runs": [run.path for run in runs], **found.to_json()})
        return 0
    show_figures(found.figures, found.basis[0].upper() + found.basis[1:])
    accuracy = next(iter(found.spread.values()))
    say(f"Between the {len(runs)} models: {min(accuracy):.3f} to {max(accuracy):.3f}.")
    print(f"Folds: {out}")
    next_command("tenfold", "train", out / "recipe.toml", when="for the model to use")
    return 0


def named(table: Table, recipe: Recipe) -> Recipe:
    """The recipe with its model named, which is said with the reason where it was left open."""
    if recipe.model.name != "auto":
        return recipe
    from tenfold.transfer.best import name_one

    recipe, sentence = name_one(table, recipe)
    say(sentence)
    return recipe


def read_folds(text: str) -> tuple[int, int]:
    """ "5x2" as (5, 2): folds and how often they are dealt anew; "5" as (5, 1)."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip().lower())
    if not found or int(found[1]) < 2 or int(found[2] or 1) < 1:
        raise UsageError(f"--folds must be a number from 2 on, such as 5, or 5x2 to deal them twice, not {text!r}.")
    return int(found[1]), int(found[2] or 1)
