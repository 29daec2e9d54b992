"""Ties: which samples belong together, and what each part should have its share of.

Shapes: N samples, B blocks, K classes, M pairs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.draws import Keys, draw_keys, hash_numbers

if TYPE_CHECKING:
    from tenfold.images.table import Table


class Together(NamedTuple):
    """How far the samples of a table are separate ones."""

    images: int
    """Samples that share a block with another."""
    sets: int
    """The blocks that these are in."""
    alone: int
    """Samples that are a block of their own."""

    @property
    def separate(self) -> int:
        """As how many samples they count."""
        return self.sets + self.alone

    @property
    def sets_in_words(self) -> str:
        """ "9 groups, sets of copies or rows of shots"."""
        return "1 group, set of copies or row of shots" if self.sets == 1 else f"{self.sets:,} {_SETS}"

    def __str__(self) -> str:
        """What tenfold split does with them, in a sentence; empty where all are alone."""
        if not self.sets:
            return ""
        one = " (those with an image in common are one)" if self.sets > 1 else ""
        verb = "is" if self.alone == 1 else "are"
        rest = f"; {self.alone:,} more {verb} tied to none" if self.alone else ""
        return f"{self.images:,} images belong to {self.sets_in_words}{one}, each kept in one part{rest}."


_SETS = "groups, sets of copies or rows of shots"
_AND = " + "
_LONGEST = 2**24
"""Characters that the names of joined groups may take in all samples of a block together: each has all of them."""
_DIGITS = 12
_FOUND = re.compile(f"alike-[0-9a-f]{{{_DIGITS}}}")

_SPLIT = 0x5B117  # keeps these draws apart from what training draws for the same image under the same seed


def texts(table: Table, column: str) -> list[str | None]:
    """A column of strings as a list, None where the value is missing."""
    return [value if isinstance(value, str) else None for value in table.samples[column].to_numpy(object)]


def bonds(table: Table) -> list[list[str]]:
    """What ties each sample to others: samples with a text in common belong together."""
    columns = ("hash", "origin", "group", "source")
    rows = table.samples["row"].astype(object)
    return [
        bond(digest, group, table.alike.get(digest or ""))
        + ([f"hash {origin}"] if origin else [])
        + [f"image {source} {row}"]
        for digest, origin, group, source, row in zip(*(texts(table, name) for name in columns), rows, strict=True)
    ]


def grouped(table: Table) -> Table:
    """The table with its blocks as groups, so that what a split keeps whole counts as one in every interval.

    Each sample that shares its block with another gets the block's name as its group: the group that its members were
    given, "p + q" where they were given several, and where none was, one that `is_found` knows: `alike-` and the first
    digits of the smallest hash. All others keep their group. `table` has hashes. A second time changes nothing. Where
    thousands of groups are one block, naming all in every sample would fill the memory: it has a name that `is_found`
    knows too, and a note says that those of its groups are lost.
    """
    blocks = join(bonds(table))
    shared = np.flatnonzero(np.bincount(blocks)[blocks] > 1) if len(blocks) else blocks
    groups, hashes = texts(table, "group"), texts(table, "hash")
    given: dict[int, set[str]] = {}
    smallest: dict[int, str] = {}
    for row, block in zip(shared.tolist(), blocks[shared].tolist(), strict=True):
        group, digest = groups[row], hashes[row] or ""
        given.setdefault(block, set()).update([group] if group and not is_found(group) else [])
        smallest[block] = min(smallest.get(block, digest), digest)
    sizes = np.bincount(blocks).tolist()
    joined = {block: _joined(known, sizes[block]) for block, known in given.items()}
    names = {block: name or f"alike-{smallest[block][:_DIGITS]}" for block, name in joined.items()}
    every = enumerate(blocks.tolist())
    own = [names.get(block) or groups[row] or table.alike.get(hashes[row] or "") for row, block in every]
    lost = tuple(_lost_note(given[block], names[block]) for block, name in joined.items() if given[block] and not name)
    return table if own == groups else replace(table.assign(group=own), notes=(*table.notes, *lost))


def is_found(group: str) -> bool:
    """Whether nobody gave this group: `grouped` named it, or a check a set of near copies or shots in a row."""
    return _FOUND.fullmatch(group) is not None


def bond(digest: str | None, group: str | None, alike: str | None) -> list[str]:
    """The ties by content hash, by group and by a set of near copies or shots in a row.

    A group "p + q" is both p and q, which `grouped` and a check's repaired listing found to be one.
    """
    ties = [f"hash {digest}"] if digest else []
    ties += _group_ties(group) if group else ()
    return ties + ([f"alike {alike}"] if alike else [])


@lru_cache(maxsize=1024)
def _group_ties(group: str) -> tuple[str, ...]:
    """Kept, as all samples of a large block have the same long name."""
    return tuple(f"group {name}" for name in single_groups(group))


def single_groups(group: str) -> list[str]:
    """The groups that one of the name "p + q" is."""
    return [name for name in group.split(_AND) if name] or [group]


def _joined(groups: set[str], samples: int) -> str:
    """One name for several groups; empty where there is none, or where it would be too long in so many samples."""
    if len(groups) == 1:
        return next(iter(groups))
    name = _AND.join(sorted({name for group in groups for name in single_groups(group)}))
    return name if len(name) * samples <= _LONGEST else ""


def _lost_note(groups: set[str], name: str) -> str:
    """What is said of groups whose names a block cannot keep."""
    return (
        f"{len(groups):,} groups have images in common and count as one, {name}: they are too many to be named in each "
        "of its images, so that a later image of one of them is not known to belong to it."
    )


def join(ties: Iterable[Iterable[str]]) -> NDArray[np.int64]:
    """The block of each item, int64 [N] from 0 to B - 1: items with a tie in common are in one, and so on along chains.

    Union-find with path halving (Tarjan and van Leeuwen, JACM 1984, https://doi.org/10.1145/62.2160).
    """
    parent: list[int] = []
    first: dict[str, int] = {}

    def root(item: int) -> int:
        while parent[item] != item:
            parent[item] = item = parent[parent[item]]
        return item

    for item, names in enumerate(ties):
        parent.append(item)
        for name in names:
            parent[root(first.setdefault(name, item))] = root(item)
    roots = np.array([root(item) for item in range(len(parent))], np.int64)
    return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def together(blocks: NDArray[np.int64]) -> Together:
    """From the block of each sample, int64 [N]."""
    sizes = np.bincount(blocks)
    shared = sizes[sizes > 1]
    return Together(int(shared.sum()), len(shared), int((sizes == 1).sum()))


def sample_keys(table: Table, seed: int, draw: int) -> Keys:
    """A random number a sample, uint64 [N], that depends on the seed, the draw and the image's hash alone."""
    return draw_keys(seed ^ _SPLIT, 0, hash_numbers(table.samples["hash"].tolist()), draw)


def block_keys(table: Table, blocks: NDArray[np.int64], seed: int, draw: int) -> Keys:
    """A random number a block, uint64 [B]: that of its smallest hash, so that neither order nor names matter."""
    numbers = hash_numbers(table.samples["hash"].tolist())
    smallest = np.full(int(blocks.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(smallest, blocks, numbers)
    return draw_keys(seed ^ _SPLIT, 0, smallest, draw)


def strata(table: Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What each sample has: pairs of a sample and a class, two int64 [M]; class K stands for "none that is known".

    A sample with boxes and no label of its own counts once for each class among its boxes.
    """
    samples, labels = np.arange(len(table)), table.labels()
    if table.boxes is not None:
        inside = replace(table, samples=table.boxes).labels()
        owners = table.boxes["sample"].to_numpy()
        counted = (inside >= 0) & (labels[owners] < 0)
        pairs = np.unique(np.stack([owners[counted], inside[counted]]), axis=1)
        alone = ~np.isin(samples, pairs[0])
        samples = np.concatenate([samples[alone], pairs[0]])
        labels = np.concatenate([labels[alone], pairs[1]])
    return samples, np.where(labels < 0, len(table.classes), labels)


def class_counts(table: Table, parts: Sequence[str | None], names: Sequence[str]) -> NDArray[np.int64]:
    """How many samples of each class the parts of these names have: int64 [P, K + 1]."""
    samples, labels = strata(table)
    place = {name: index for index, name in enumerate(names)}
    rows = np.array([place.get(part or "", -1) for part in parts], np.int64)[samples]
    counts = np.zeros((len(names), len(table.classes) + 1), np.int64)
    np.add.at(counts, (rows[rows >= 0], labels[rows >= 0]), 1)
    return counts
