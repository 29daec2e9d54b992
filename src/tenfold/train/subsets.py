"""Subsets: a Table + a Recipe -> runs on growing shares of the training images, for a learning curve.

    OUT/recipe.toml                    the recipe that was asked for
    OUT/share0.125-seed0/ ...          a run each; all have the same validation part

What is there already is kept: the same call goes on where an interrupted one stopped.

Shapes: N training images, B blocks of those that belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenfold.draws import Keys
from tenfold.errors import UsageError
from tenfold.images.content import hashed
from tenfold.images.table import Table
from tenfold.recipe import Recipe
from tenfold.run import Run
from tenfold.split.ties import block_keys, bonds, join
from tenfold.train.folds import PLAIN, Trainer, claim_folder, train_or_resume
from tenfold.train.progress import Progress, Report, no_report

SHARES = (0.125, 0.25, 0.5, 1.0)
_DRAW = 3  # number of the draw, apart from those of the split


def train_subsets(
    table: Table,
    recipe: Recipe,
    out: str | Path,
    *,
    shares: Sequence[float] = SHARES,
    seeds: int = 2,
    task: str = "classification",
    progress: Report = no_report,
    trainer: Trainer = PLAIN,
) -> list[Run]:
    """Train the recipe on each share of the training images, with `seeds` seeds counted up from the recipe's.

    With one seed the images of a smaller share are among those of a larger one, so that runs can be compared in pairs;
    the validation part is always the same and the test part in none of them. Shares are drawn as `share_tables` says.
    `trainer` is as for `train_folds`.
    Raises UsageError for impossible shares or seeds, shares between which there is no separate image or group, without
    a validation part, or where `out` holds something else; and what `train_model` does.
    """
    if seeds < 1 or not shares or not all(0 < share <= 1 for share in shares):
        raise UsageError(f"shares must be above 0 and at most 1 and seeds at least 1, not {shares} and {seeds}.")
    refuse_boxes(table)
    if not len(table.part("validation")):
        raise UsageError("A learning curve needs a validation part, and the table has none; split it with a share.")
    folder, shares, runs = Path(out), sorted(shares), list[Run]()
    table = hashed(table.without("test"), unreadable=recipe.data.unreadable)
    numbers = [recipe.train.seed + number for number in range(seeds)]
    drawn = {seed: share_tables(table, shares, seed=seed) for seed in numbers}
    _check_sizes(shares, drawn[numbers[0]])
    claim_folder(folder, recipe)
    for seed, parts in drawn.items():
        for share, part in zip(shares, parts, strict=True):
            name = f"share{share:.4g}-seed{seed}"
            progress(Progress("note", f"Training {len(runs) + 1} of {seeds * len(shares)}: {name}"))
            seeded = recipe.change(train={"seed": seed})
            runs.append(train_or_resume(part, seeded, folder / name, task, progress, trainer))
    return runs


def refuse_boxes(table: Table) -> None:
    """Raise UsageError for images with boxes, of which there is no learning curve."""
    if table.boxes is not None:
        raise UsageError(
            "A learning curve is for images with a class each, and these have boxes; train a detector by itself."
        )


def share_tables(table: Table, shares: Sequence[float], *, seed: int = 0) -> list[Table]:
    """The table with each share, above 0 and at most 1, of its training images; the others are left out of it.

    Blocks are drawn as wholes, as in a split: an image's copies and its group come with it, so that a share holds as
    many different things as its size says. Of every class a share has its part, to within half a block, and at least
    one image. With one seed a smaller share is among a larger one. Validation and test are as before.
    """
    table = hashed(table)
    rows = np.flatnonzero(table.samples["part"] == "train")
    training = table.take(rows)
    blocks = join(bonds(training))
    begin = _begin_shares(blocks, block_keys(training, blocks, seed, _DRAW), training.labels() + 1)[blocks]
    tables = []
    for share in shares:
        parts = table.samples["part"].to_numpy(object, copy=True)
        parts[rows[begin >= share]] = None
        tables.append(table.assign(part=parts))
    return tables


def _begin_shares(blocks: NDArray[np.int64], keys: Keys, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Above which share each block is drawn: float64 [B], 0 to 1.

    `blocks` int64 [N] are drawn in the order of their `keys` [B]. A block's place is where its middle lies in the row
    of all images of a class, `labels` int64 [N] from 0 on; of several classes the mean, each image with equal weight.
    """
    width = int(labels.max(initial=0)) + 1
    rank = np.empty(len(keys), np.int64)
    rank[np.argsort(keys, kind="stable")] = np.arange(len(keys))
    pairs, counts = np.unique(labels * len(keys) + rank[blocks], return_counts=True)  # class by class, in drawn order
    label, place = np.divmod(pairs, len(keys))
    totals = np.bincount(label, counts, width)
    before = np.cumsum(counts) - counts - (np.cumsum(totals) - totals)[label]
    middle = (before + counts / 2) / totals[label]
    begin = np.bincount(place, middle * counts, len(keys)) / np.bincount(place, counts, len(keys))
    for number in np.unique(label):
        of_class = place[label == number]
        begin[of_class[begin[of_class].argmin()]] = 0.0  # however small the share, there is one of each class
    return begin[rank]


def _check_sizes(shares: Sequence[float], parts: Sequence[Table]) -> None:
    """Refuse, before any training, shares that are the same images."""
    sizes = [len(part.part("train")) for part in parts]
    if len(set(sizes)) < len(set(shares)):
        found = ", ".join(f"{size:,}" for size in sizes)
        raise UsageError(
            f"Each share must add images to the one before, and these are of {found} training images: there are too "
            "few separate images or groups; ask for fewer shares, or train on more images."
        )
