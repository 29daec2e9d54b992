"""Subsets: a Table + a Recipe -> runs on growing shares of the training images, for a learning curve.

    OUT/recipe.toml                    the recipe that was asked for
    OUT/share0.125-seed0/ ...          a run each; all have the same validation part

What is there already is kept: the same call goes on where an interrupted one stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tenfold.errors import UsageError
from tenfold.images.table import Table
from tenfold.recipe import Recipe
from tenfold.run import Run
from tenfold.split import shrink_table
from tenfold.train.folds import claim_folder, train_or_resume
from tenfold.train.progress import Progress, Report, no_report

SHARES = (0.125, 0.25, 0.5, 1.0)


def train_subsets(
    table: Table,
    recipe: Recipe,
    out: str | Path,
    *,
    shares: Sequence[float] = SHARES,
    seeds: int = 2,
    task: str = "classification",
    progress: Report = no_report,
) -> list[Run]:
    """Train the recipe on each share of the training images, with `seeds` seeds counted up from the recipe's.

    With one seed the images of a smaller share are among those of a larger one, so that runs can be compared in pairs;
    the validation part is always the same and the test part in none of them.
    Raises UsageError for impossible shares or seeds, without a validation part, or where `out` holds something else;
    and what `train_model` does.
    """
    if seeds < 1 or not shares or not all(0 < share <= 1 for share in shares):
        raise UsageError(f"shares must be above 0 and at most 1 and seeds at least 1, not {shares} and {seeds}.")
    if not len(table.part("validation")):
        raise UsageError("A learning curve needs a validation part, and the table has none; split it with a share.")
    folder = Path(out)
    claim_folder(folder, recipe)
    table, runs = table.without("test"), list[Run]()
    for number in range(seeds):
        seed = recipe.train.seed + number
        for share in sorted(shares):
            name = f"share{share:.4g}-seed{seed}"
            progress(Progress("note", f"Training {len(runs) + 1} of {seeds * len(shares)}: {name}"))
            part, seeded = shrink_table(table, share, seed=seed), recipe.change(train={"seed": seed})
            runs.append(train_or_resume(part, seeded, folder / name, task, progress))
    return runs
