"""Sets: which images belong together, as copies of one another or as shots in a row.

Shapes: N images, M of them readable, F of them with contents of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.check.bursts import find_bursts
from tenfold.check.duplicates import find_duplicates
from tenfold.check.findings import Evidence
from tenfold.check.survey import Survey, read_pixels
from tenfold.split.ties import join, texts

if TYPE_CHECKING:
    from tenfold.check.signature import Signatures
    from tenfold.images.table import Table

SAME = "the same file"


class Surveyed(NamedTuple):
    """A table, and what the survey found of it."""

    table: Table
    survey: Survey
    allow_truncated: bool = False


def copy_sets(data: Surveyed) -> list[Evidence]:
    """The sets of images that are copies of one another, byte by byte or by looks."""
    firsts = _firsts(data.survey.hashes)
    near = find_duplicates(_signatures(data, firsts), pixels=_pixels(data, firsts))
    pairs = [(firsts[pair.first], firsts[pair.second], pair.relation) for pair in near]
    return _joined(data.survey.hashes, pairs)


def shared_sets(data: Surveyed, other: Surveyed) -> list[Evidence]:
    """The sets of copies that reach from one data set into another: `rows` here and `others` there."""
    firsts, theirs = _firsts(data.survey.hashes), _firsts(other.survey.hashes)
    near = find_duplicates(
        _signatures(data, firsts),
        _signatures(other, theirs),
        pixels=_pixels(data, firsts),
        against_pixels=_pixels(other, theirs),
    )
    start = len(data.table)
    pairs = [(firsts[pair.first], theirs[pair.second] + start, pair.relation) for pair in near]
    halves = [
        Evidence(
            tuple(row for row in item.rows if row < start),
            item.words,
            tuple(row - start for row in item.rows if row >= start),
        )
        for item in _joined((*data.survey.hashes, *other.survey.hashes), pairs)
    ]
    return [item for item in halves if item.rows and item.others]


def burst_sets(data: Surveyed) -> list[Evidence]:
    """The sets of shots in a row: by one camera within seconds, or numbered one after the other and alike."""
    rows = data.survey.rows
    frame = data.table.samples.iloc[rows]
    places = frame["row"].astype(object).where(frame["row"].notna(), "").tolist()
    names = [f"{source}#{place}".rstrip("#") for source, place in zip(frame["source"], places, strict=True)]
    facts = data.survey.facts[rows]
    cameras = [camera or None for camera in facts["camera"].tolist()]
    bursts = find_bursts(names, data.survey.signatures, facts["time"], cameras)
    return [Evidence(tuple(sorted(int(rows[place]) for place in burst)), "taken in a row") for burst in bursts]


def blocks_of(table: Table, sets: Iterable[Evidence]) -> NDArray[np.int64]:
    """What must stay together, copies and the groups of the table, as numbers: int64 [N]."""
    ties = [[f"group {group}"] if group else [] for group in texts(table, "group")]
    for place, item in enumerate(sets):
        for row in item.rows:
            ties[row].append(f"set {place}")
    return join(ties)


def _firsts(hashes: Sequence[str | None]) -> list[int]:
    """The first row of each content: F rows."""
    found: dict[str, int] = {}
    for row, text in enumerate(hashes):
        if text is not None:
            found.setdefault(text, row)
    return list(found.values())


def _signatures(data: Surveyed, rows: Sequence[int]) -> Signatures:
    return data.survey.signatures.take(np.searchsorted(data.survey.rows, rows))


def _pixels(data: Surveyed, rows: Sequence[int]) -> Callable[[int], NDArray[np.uint8]]:
    return lambda place: read_pixels(data.table, rows[place], allow_truncated=data.allow_truncated)


def _joined(hashes: Sequence[str | None], pairs: Sequence[tuple[int, int, str]]) -> list[Evidence]:
    """Sets of at least two rows that pairs and equal hashes join, along chains; the words say how they are alike."""
    ties = [[text or f"row {row}"] for row, text in enumerate(hashes)]
    for place, (one, other, _) in enumerate(pairs):
        ties[one].append(f"pair {place}")
        ties[other].append(f"pair {place}")
    blocks = join(ties)
    relations: dict[int, set[str]] = {}
    for one, _, relation in pairs:
        relations.setdefault(int(blocks[one]), set()).add(relation)
    order = np.argsort(blocks, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1) if len(order) else []
    return [
        Evidence(tuple(rows.tolist()), ", ".join(sorted(relations.get(int(blocks[rows[0]]), {SAME}))))
        for rows in members
        if len(rows) > 1
    ]
