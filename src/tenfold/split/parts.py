"""Parts: a Table -> the same Table with each sample in train, validation, test, or left out.

Shapes: N samples, B blocks, P parts, K classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.images.table import PARTS, Table
from tenfold.recipe import check_range
from tenfold.split.copies import Followers, are_copies, images_of, refuse_copies_alone
from tenfold.split.deal import deal_folds, gather_blocks
from tenfold.split.fill import (
    LEFT_OUT,
    assigned,
    block_parts,
    fill_parts,
    kept_whole,
    named,
    noted,
    open_shares,
    part_shares,
    spread_note,
    torn_note,
)
from tenfold.split.ties import block_keys, bonds, class_counts, join, sample_keys, strata, texts
from tenfold.words import listed

if TYPE_CHECKING:
    import pandas as pd

_LIMIT, _FOLD = 1, 2  # numbers of the draws; each repeat of the folds adds its own
_REMEDY = "name one part for each in the data; of copies, tenfold check DATA --fix OUT.csv keeps the later one"


def split_table(
    table: Table, *, validation: float = 0.15, test: float = 0.15, per_class: int = 0, seed: int = 0
) -> Table:
    """Fill `part`: train, validation and test, stratified by class as well as blocks of samples allow.

    Byte-identical images, images of one group and those of one set in `table.alike` (near copies and shots in a row,
    which `tenfold.check_table(table).keep_together(table)` notes there) stay in one part. A class of images that stand
    alone is split to within one image of its shares, and a class with three or more separate images or groups is in all
    three parts. Parts that the reader found are kept; those that it did not are taken from the rest, of which
    `validation` and `test` then are the shares. The result depends on `seed` and the images' contents, not on their
    order or names. Augmented copies (`tenfold augment --save`) are not dealt, and change nothing of this: those of
    training images are in training, and those of others are left out.

    `per_class` limits the training part, as `limit_table` does. `notes` say what could not be done and why, and which
    images are left out as they cannot be read.
    Raises UsageError for impossible shares, DataError where there is no image, none can be read, or all are copies.

    >>> import tenfold
    >>> table = tenfold.split_table(tenfold.read_table("digits"), per_class=20)
    >>> [len(table.part(name)) for name in ("train", "validation", "test")]
    [200, 277, 276]
    """
    if len(table) == 0:
        raise DataError("A split needs at least one image, and the table has none; check what the reader left out.")
    check_range("per_class", per_class, 0, 2**31)
    check_range("seed", seed, 0, 2**63 - 1)
    shares = part_shares(validation, test)
    table = hashed(table)
    refuse_copies_alone(table, [part for part in PARTS[1:] if shares[part] > 0])
    images = images_of(table)
    parts, notes = _dealt(images, shares, seed)
    if images is not table:
        copies = Followers(table)
        parts = copies.parts(copies.spread(parts))
        notes = (*notes, copies.note(table, parts))
    split = noted(assigned(table, parts), *notes)
    return limit_table(split, per_class, seed=seed) if per_class else split


def _dealt(table: Table, shares: dict[str, float], seed: int) -> tuple[Sequence[str | None], tuple[str, ...]]:
    """A part for each sample of a table without augmented copies, and what is to be said of it, sentences or empty."""
    given, moved = _united(table, texts(table, "part"))
    ties = bonds(table)
    blocks = join(ties)
    wide = [len(parts) > 1 for parts in block_parts(blocks, given)]
    # Training images are free to become validation or test, unless their block is in several parts already.
    fixed = [None if part == "train" and not several else part for part, several in zip(given, wide, strict=True)]
    left = open_shares(given, shares)
    parts, torn = fill_parts(table, ties, fixed, left, seed)
    return parts, (
        _given_note(given, left),
        str(kept_whole(blocks, given)),
        moved,
        spread_note(table, ties, given, "The data give", _REMEDY),
        torn_note(table, torn),
        _absence_note(assigned(table, parts), shares),
    )


def limit_table(table: Table, per_class: int, *, seed: int = 0) -> Table:
    """Keep `per_class` training images of each class, drawn by `seed`; the other training images are left out.

    The draw is nested: with one seed the images kept for 10 are among those kept for 20. Copies of an image and what is
    alike are drawn only when no other image is left. Samples of unknown class, validation and test are as before.
    An image with boxes is kept if it is among the first `per_class` of any class among its boxes, so that each class
    has at least so many. Augmented copies are not counted: those of images that are kept stay. One whose image is not
    in the table counts as an image.
    """
    check_range("per_class", per_class, 1, 2**31)
    table = hashed(table)
    parts = texts(table, "part")
    copies = Followers(table)
    follows = copies.copies & (copies.rows >= 0)
    held: dict[int, list[int]] = {}
    for row, label in zip(*(numbers.tolist() for numbers in strata(table)), strict=True):
        held.setdefault(row, []).extend([label] if label < len(table.classes) else [])
    drawn = [0] * len(table.classes)
    for row in _limit_order(table, np.flatnonzero(~follows), seed):
        if parts[row] == "train" and held[row]:
            parts[row] = "train" if min(drawn[label] for label in held[row]) < per_class else LEFT_OUT
            for label in held[row]:
                drawn[label] += 1
    followed = copies.parts(parts)
    parts = [part if followed[row] or not follows[row] else LEFT_OUT for row, part in enumerate(parts)]
    short = [f"{name} ({count})" for name, count in zip(table.classes, drawn, strict=True) if count < per_class]
    sentence = f"Classes with fewer than {per_class} training images: {listed(short)}." if short else ""
    return noted(assigned(table, parts), sentence)


def _limit_order(table: Table, rows: NDArray[np.int64], seed: int) -> list[int]:
    """These rows in the order in which they are drawn: by random number, further copies of an image at the end."""
    keys, copies = sample_keys(table, seed, _LIMIT).tolist(), are_copies(table)
    hashes, sources, origins = (texts(table, name) for name in ("hash", "source", "origin"))
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, int, int]] = []
    for row in sorted(rows.tolist(), key=lambda row: (keys[row], hashes[row], sources[row])):
        digest = (origins[row] if copies[row] else hashes[row]) or ""
        shown = table.alike.get(digest, digest)
        ranked.append((seen[shown], len(ranked), row))
        seen[shown] += 1
    return [row for _, _, row in sorted(ranked)]


def fold_tables(table: Table, k: int, *, repeats: int = 1, seed: int = 0) -> Iterator[Table]:
    """Cross-validation: `repeats` x `k` tables, each with another fold as validation and the rest as train.

    The test part is not in them. Blocks stay whole and each is in validation once a repeat. Samples without a part stay
    left out, unless no sample has one yet: then all take part. Folds are dealt to images alone: their augmented copies
    are in training where the image is, those that a split left out as their image is in validation among them, and have
    no part in the table of its fold; those of test images are in no training.
    Raises UsageError where there are fewer separate images or groups than folds, DataError where all are such copies.
    """
    check_range("repeats", repeats, 1, 10_000)
    check_range("seed", seed, 0, 2**63 - 1)
    table, used = _taking_part(table)
    refuse_copies_alone(table, PARTS[1:2])
    members = table.take(np.flatnonzero(used & ~are_copies(table)))
    blocks = join(bonds(members))
    separate = _count_blocks(blocks)
    if separate < 2:
        raise UsageError(
            f"k, the number of folds, is {k}, and of {len(members)} images there are not two that do not belong to one "
            "group; add images of other groups."
        )
    if not 2 <= k <= separate:
        raise UsageError(
            f"k, the number of folds, must be from 2 to {separate}, as many as there are separate images or groups, "
            f"not {k}; take fewer folds, or add images."
        )
    return _folds(table, used, (members, blocks), k, repeats, seed)


def count_separate(table: Table) -> int:
    """As how many separate images or groups those outside of the test part count, which is the most folds of them."""
    return _count_blocks(join(bonds(images_of(table.without("test")))))


def _count_blocks(blocks: NDArray[np.int64]) -> int:
    return int(blocks.max(initial=-1)) + 1


def _taking_part(table: Table) -> tuple[Table, NDArray[np.bool_]]:
    """The table without its test part, and which of its samples may be in a fold: bool [N]."""
    if are_copies(table).any():  # a copy is known by its image, which may be in the test part
        table = hashed(table)
    rest = np.flatnonzero([part != "test" for part in texts(table, "part")])
    whole, table = table, hashed(table.take(rest))
    used = table.samples["part"].notna().to_numpy(bool)
    used, is_new = (used, False) if used.any() else (np.ones(len(table), bool), True)
    copies = Followers(whole)
    if not copies.copies.any():
        return table, used
    parts = texts(whole, "part")
    now = copies.parts(parts)
    free = copies.parts(["train" if part == "validation" or (is_new and not part) else part for part in parts])
    # One that has no part though its image is in training was left out on purpose; others only as their image was not.
    follows = np.array([bool(may) and not there for may, there in zip(free, now, strict=True)])
    allowed = np.array([bool(may) for may in free])
    return table, np.where(copies.copies[rest], allowed[rest] & (used | follows[rest]), used)


def _folds(
    table: Table,
    used: NDArray[np.bool_],
    dealt_to: tuple[Table, NDArray[np.int64]],
    k: int,
    repeats: int,
    seed: int,
) -> Iterator[Table]:
    members, blocks = dealt_to
    samples, labels = strata(members)
    counts = gather_blocks(blocks[samples], labels, _count_blocks(blocks))
    copies = Followers(table)
    for repeat in range(repeats):
        keys = block_keys(members, blocks, seed, _FOLD + repeat)
        dealt = deal_folds(counts, keys, k, len(table.classes) + 1)
        for fold in range(k):
            parts = np.full(len(table), None, object)
            parts[used & ~copies.copies] = np.where(dealt[blocks] == fold, "validation", "train")
            followed = copies.parts(parts.tolist())
            parts[used] = np.array(followed, object)[used]
            yield noted(table.assign(part=parts), copies.note(table, followed))


def part_counts(table: Table) -> pd.DataFrame:
    """How many samples each part has: a row a class, then "(all)"; a column a part, and "left out" where any are.

    A sample of no known class is counted in the row "(no label)"; one with boxes once for each class among them.
    """
    import pandas as pd

    parts = [part or LEFT_OUT for part in texts(table, "part")]
    columns = [part for part in (*PARTS, LEFT_OUT) if part or LEFT_OUT in parts]
    counts = class_counts(table, parts, columns).T
    rows = [*table.classes, "(no label)"] if counts[-1].any() else list(table.classes)
    counts = np.vstack([counts[: len(rows)], [parts.count(part) for part in columns]])
    index = pd.Index([*rows, "(all)"], name="class")
    return pd.DataFrame(counts, index, pd.Index([part or "left out" for part in columns], name="part"))


def _united(table: Table, given: list[str | None]) -> tuple[list[str | None], str]:
    """One part for all copies of an image: test before validation before train; and the sentence that says so."""
    hashes = texts(table, "hash")
    best: dict[str | None, int] = {}
    for digest, part in zip(hashes, given, strict=True):
        if part:
            best[digest] = max(best.get(digest, 0), PARTS.index(part))
    united = [PARTS[best[digest]] if digest in best else None for digest in hashes]
    moved = np.flatnonzero([bool(old) and old != new for old, new in zip(given, united, strict=True)])
    if len(moved) == 0:
        return united, ""
    return united, f"Copies of images that the data give to a later part, and moved there: {named(table, moved)}."


def _given_note(given: list[str | None], left: dict[str, float]) -> str:
    found = [part for part in PARTS if part in given]
    taken = [part for part in left if part not in given]
    if not found or not taken:
        return ""
    verb = "is" if len(taken) == 1 else "are"
    source = "the training images and those without a part"
    return f"The data give {' and '.join(found)}; {' and '.join(taken)} {verb} taken from {source}."


def _absence_note(table: Table, shares: dict[str, float]) -> str:
    """The classes that are absent from a part that should have them."""
    parts = texts(table, "part")
    wanted = [part for part in PARTS if shares[part] > 0 or part in parts]
    there = class_counts(table, parts, wanted) > 0
    absent = [
        f"{name} (none in {', '.join(part for part, has in zip(wanted, there[:, k], strict=True) if not has)})"
        for k, name in enumerate(table.classes)
        if not there[:, k].all()
    ]
    if not absent:
        return ""
    need = f"at least {len(wanted)} separate images or groups are needed for it"
    return f"Classes that are not in every part, as {need}: {listed(absent)}."
