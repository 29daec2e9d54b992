"""What `tenfold train --folds` does: a run a fold, and what their common procedure is worth."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.commands.live import Watch
from tenfold.commands.options import refuse_unread
from tenfold.commands.output import command_line, is_first, next_command, say, show_figures, show_json, waiting
from tenfold.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from tenfold.check import Looked
    from tenfold.evaluate import CrossValidation
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe
    from tenfold.run import Run


def cross_validate(
    table: Table,
    recipe: Recipe,
    out: Path,
    wanted: tuple[int, int],
    json: bool,
    settings: Mapping[str, object],
    looked: Looked | None = None,
) -> int:
    """Train and evaluate all folds, `wanted` (folds, repeats), and write folds.json beside their runs.

    `settings` are those that were typed: see `named`. What was seen of the images is written into each run, as findings
    on its own parts.
    """
    from tenfold.check import findings_of, parts_of
    from tenfold.evaluate import evaluate_folds
    from tenfold.run import write_json
    from tenfold.train import train_folds
    from tenfold.transfer.settle import SETTLED

    folds, repeats = wanted
    recipe = named(table, recipe, settings)
    try:
        with Watch() as watch:
            runs = train_folds(
                table,
                recipe,
                out,
                folds=folds,
                repeats=repeats,
                progress=watch,
                trainer=SETTLED,
            )
    except (Interrupted, KeyboardInterrupt):
        again = command_line("tenfold", "train", out / "recipe.toml", "--folds", f"{folds}x{repeats}", "--out", out)
        raise Interrupted(f"Stopped by Ctrl-C; the folds that are done stay: go on with: {again}") from None
    if not is_first():
        return 0
    with waiting("Evaluating the folds"):
        found = evaluate_folds(runs, folds)
    notes = [found.estimand, *_chosen(runs), *_flattered(runs), *given(recipe, "fold")]
    content = found.to_json() | {"notes": notes}
    write_json(out / "folds.json", content)
    if looked:
        for run in runs:
            findings = findings_of(looked, parts_of(looked.data.table, run.table))
            write_json(run.path / "findings.json", findings.to_json())
    if json:
        show_json({"out": out, "runs": [run.path for run in runs], **content})
        return 0
    show_figures(found.figures, found.basis[0].upper() + found.basis[1:])
    for note in notes:
        say(note)
    say(_spread_line(found))
    print(f"Folds: {out}")
    next_command("tenfold", "train", out / "recipe.toml", when="for the model to use")
    return 0


def _chosen(runs: Sequence[Run]) -> list[str]:
    """What the folds chose, the most frequent first, and so what the figures are of; none where nothing was open."""
    ladders = [run.ladder for run in runs if run.ladder]
    if not ladders:
        return []
    counts = Counter(ladder["rungs"][ladder["chosen"]]["words"] for ladder in ladders)
    return [
        "Each fold had its head chosen by the ladder inside its own training part, so the figures are of that "
        "procedure, choice included; the recipe that stands for it leaves the head open too.",
        *(f"Chosen in {count} of {len(runs)} folds: {words}." for words, count in counts.most_common()),
    ]


def given(recipe: Recipe, each: str) -> list[str]:
    """What is said of a strength that is given to `each` "fold" or "training" of several, a sentence or none.

    A run's recipe gives the one that its fit chose.
    """
    look = recipe.transfer
    if recipe.model.name != "frozen" or not look.strength:
        return []
    return [
        f"Every {each} took the strength {look.strength:g} (transfer.strength): where an earlier fit to these images "
        f"chose it, they had a say in it; --transfer.strength 0 leaves the choice to each {each}."
    ]


def _flattered(runs: Sequence[Run]) -> list[str]:
    """What is said where the images of a fold chose the epoch of the model that they measure, a sentence or none."""
    if not any(run.recipe.train.keep != "last" and run.history["step"].any() for run in runs):
        return []
    return [
        "Each training kept the epoch that did best on its own fold, so the figures flatter the procedure a little; "
        "with --train.keep last no fold has a say in the model that it measures."
    ]


def _spread_line(found: CrossValidation) -> str:
    """How far the models are apart in the headline, each on its own fold."""
    from tenfold.report.figures import figure_label

    name, values = next(iter(found.spread.items()))
    models = found.folds * found.repeats
    which = f"{len(values)} of the {models}" if len(values) < models else f"the {models}"
    return f"{figure_label(name)} of {which} models, each on its own fold: {min(values):.3f} to {max(values):.3f}."


def named(table: Table, recipe: Recipe, settings: Mapping[str, object]) -> Recipe:
    """The recipe with its model named, which is said with the reason where it was left open.

    Raises UsageError for one of the `settings`, as they were typed, that the model so named does not go by.
    """
    if recipe.model.name != "auto":
        return recipe
    if table.boxes is not None:
        from tenfold.train import name_model

        recipe = name_model(recipe, table)
        say(f"Model: {recipe.model.name}, as the images have boxes; --model names another.")
        return recipe
    from tenfold.transfer.best import name_one

    recipe, sentence = name_one(table, recipe)
    say(sentence)
    refuse_unread(recipe, settings)
    return recipe


def read_folds(text: str) -> tuple[int, int]:
    """ "5x2" as (5, 2): folds and how often they are dealt anew; "5" as (5, 1)."""
    found = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip().lower())
    if not found or int(found[1]) < 2 or int(found[2] or 1) < 1:
        raise UsageError(f"--folds must be a number from 2 on, such as 5, or 5x2 to deal them twice, not {text!r}.")
    return int(found[1]), int(found[2] or 1)
