"""Fill: parts that stand, and samples without one -> a part for each, or left out where it would tie two parts.

Shapes: N samples, E further members of blocks that are not in the table, B blocks, P parts, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenfold.images.readers.labels import natural_order
from tenfold.images.table import PARTS, Table
from tenfold.recipe import check_range
from tenfold.split.deal import deal_blocks, gather_blocks
from tenfold.split.ties import Together, block_keys, class_counts, join, strata, together
from tenfold.words import listed

LEFT_OUT = ""
"""The part of a sample that is left out; None is the part of one that is not yet decided."""

_DRAW = 0


def part_shares(validation: float, test: float) -> dict[str, float]:
    """The share of each part; raises UsageError for impossible ones."""
    check_range("validation", validation, 0, 0.9)
    check_range("test", test, 0, 0.9)
    check_range("validation + test", validation + test, 0, 0.95)
    return {"train": 1 - validation - test, "validation": validation, "test": test}


def open_shares(given: Sequence[str | None], shares: dict[str, float]) -> dict[str, float]:
    """The parts that may get samples, with their shares: train, and those that the reader did not find."""
    taken = {part: shares[part] for part in PARTS[1:] if shares[part] > 0 and part not in given}
    return {"train": 1 - sum(taken.values())} | taken


def tied_parts(ties: Sequence[Sequence[str]], parts: Sequence[str | None]) -> list[set[str]]:
    """The parts of all members that share a tie with each member, itself included: N sets."""
    held: dict[str, set[str]] = {}
    for names, part in zip(ties, parts, strict=True):
        for name in names if part else ():
            held.setdefault(name, set()).add(part or "")
    return [set().union(*(held.get(name, ()) for name in names)) for names in ties]


def block_parts(blocks: NDArray[np.int64], parts: Sequence[str | None]) -> list[set[str]]:
    """The parts of all members of each member's block: N sets, one object a block."""
    held: list[set[str]] = [set() for _ in range(int(blocks.max(initial=-1)) + 1)]
    for block, part in zip(blocks.tolist(), parts, strict=True):
        if part:
            held[block].add(part)
    return [held[block] for block in blocks.tolist()]


def kept_whole(blocks: NDArray[np.int64], parts: Sequence[str | None]) -> Together:
    """How far N samples are separate ones, without the blocks that these parts tear: what is torn is not kept together.

    `blocks` int64 [N]; `parts` [N] are those that stand before a split, None where none does.
    """
    return together(blocks[[len(held) < 2 for held in block_parts(blocks, parts)]])


def fill_parts(
    table: Table, ties: Sequence[Sequence[str]], fixed: Sequence[str | None], shares: dict[str, float], seed: int
) -> tuple[list[str], NDArray[np.int64]]:
    """A part for each sample, LEFT_OUT included, and the positions of those left out as they tie two parts together.

    `ties` [N + E] and `fixed` [N + E] are the ties and the part that stands of the samples and of absent members.
    What is not decided joins the part of its block, or is dealt to the parts of `shares` where its block has none.
    An image that is left out ties nothing: where it alone joins two parts, its neighbors join the part of their own.
    """
    parts = list(fixed)
    tied = tied_parts(ties, parts)
    torn = [row for row in range(len(table)) if parts[row] is None and len(tied[row]) > 1]
    for row in torn:
        parts[row] = LEFT_OUT
    blocks = join([() if part == LEFT_OUT else names for names, part in zip(ties, parts, strict=True)])
    for row, standing in enumerate(block_parts(blocks, parts)[: len(table)]):
        if parts[row] is None and standing:
            parts[row] = next(iter(standing)) if len(standing) == 1 else LEFT_OUT
            torn += [row] if len(standing) > 1 else []
    parts = parts[: len(table)]
    for row, part in _dealt(table, blocks[: len(table)], parts, shares, seed):
        parts[row] = part
    return [part or LEFT_OUT for part in parts], np.array(sorted(torn), np.int64)


def _dealt(
    table: Table, blocks: NDArray[np.int64], parts: Sequence[str | None], shares: dict[str, float], seed: int
) -> list[tuple[int, str]]:
    """The rows that have no part yet, with the part that each gets."""
    names = list(shares)
    rows = np.array([row for row, part in enumerate(parts) if part is None], np.int64)
    if len(rows) == 0:
        return []
    free = np.full(len(table), -1, np.int64)
    free[rows] = np.unique(blocks[rows], return_inverse=True)[1]
    keys = block_keys(table.take(rows), free[rows], seed, _DRAW)
    samples, labels = strata(table)
    mine = free[samples] >= 0
    counts = gather_blocks(free[samples[mine]], labels[mine], len(keys))
    dealt = deal_blocks(counts, keys, np.array(list(shares.values())), class_counts(table, parts, names))
    return [(row, names[part]) for row, part in zip(rows.tolist(), dealt[free[rows]].tolist(), strict=True)]


def assigned(table: Table, parts: Sequence[str | None]) -> Table:
    """The table with these parts, LEFT_OUT and None as missing."""
    return table.assign(part=[part or None for part in parts])


def noted(table: Table, *sentences: str) -> Table:
    """The table with further notes; empty ones are dropped."""
    return replace(table, notes=table.notes + tuple(sentence for sentence in sentences if sentence))


def named(table: Table, rows: NDArray[np.int64]) -> str:
    """The samples at these positions by the last two parts of their path, in natural order."""
    places = table.samples.iloc[rows]
    return listed(natural_order(short_name(*place) for place in zip(places["source"], places["row"], strict=True)))


def short_name(source: str, row: object) -> str:
    """A sample's file and folder, and the row where the file holds several."""
    name = "/".join(Path(source).parts[-2:])
    return f"{name}#{row}" if isinstance(row, (int, np.integer)) else name


def torn_note(table: Table, torn: NDArray[np.int64]) -> str:
    """The sentence about samples that were left out as they tie two parts together; empty where there are none."""
    if len(torn) == 0:
        return ""
    tie = "a group, a copy or a row of shots"
    return f"Left out, as {tie} ties each to more than one part ({len(torn)}): {named(table, torn)}."


def spread_note(
    table: Table, ties: Sequence[Sequence[str]], parts: Sequence[str | None], what: str, remedy: str
) -> str:
    """The sentence about samples whose parts stand though their ties reach into another; empty where there are none.

    `ties` and `parts` may go on with members that are not in the table; `what` is what gave those parts.
    """
    tied = tied_parts(ties, parts)[: len(table)]
    rows = [row for row, held in enumerate(tied) if parts[row] and len(held) > 1]
    if not rows:
        return ""
    names = named(table, np.array(rows, np.int64))
    flatters = "images that belong together to several parts, which flatters the result"
    return f"{what} {flatters} ({len(rows)}): {names}; {remedy}."
