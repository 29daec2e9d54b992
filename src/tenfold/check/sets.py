"""Sets: which images belong together, as copies of one another or as shots in a row.

Shapes: N images, M of them readable, F of them with contents of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.check.bursts import VERSION as BURSTS_VERSION
from tenfold.check.bursts import Shots, find_shots, series_of
from tenfold.check.findings import Evidence
from tenfold.check.pairs import Pair, near_pairs
from tenfold.check.signature import SAME_PIXELS
from tenfold.check.signature import VERSION as SIGNATURE_VERSION
from tenfold.check.stored import read_arrays, store_folder, stored_files, text_key, write_arrays
from tenfold.check.survey import Survey, read_pixels
from tenfold.split.ties import join

if TYPE_CHECKING:
    from tenfold.check.signature import Signatures
    from tenfold.images.table import Table

SAME = "the same file"


class Surveyed(NamedTuple):
    """A table, and what the survey found of it."""

    table: Table
    survey: Survey
    allow_truncated: bool = False

    def in_parts(self, parts: Sequence[str | None]) -> Surveyed:
        """The same images in other parts."""
        return self._replace(table=self.table.assign(part=list(parts)))


class Looked(NamedTuple):
    """What was seen of images, and of what they are to one another, before anything is said of it."""

    data: Surveyed
    copies: list[Evidence]
    bursts: list[Evidence]
    scenes: Sequence[Evidence] = ()


def copy_sets(data: Surveyed) -> list[Evidence]:
    """The sets of images that are copies of one another, byte by byte or by looks."""
    firsts = _firsts(data.survey.hashes)
    digests = data.survey.signatures.digest[np.searchsorted(data.survey.rows, firsts)]
    _, different, equal = np.unique(
        np.ascontiguousarray(digests).view("V16").ravel(), return_index=True, return_inverse=True
    )
    rows = [firsts[place] for place in different]
    near = near_pairs(_signatures(data, rows), _pixels(data, rows), allow_truncated=data.allow_truncated)
    pairs = [Pair(rows[first], rows[second], relation).ordered() for first, second, relation in near]
    same = ((rows[number], row) for number, row in zip(equal.tolist(), firsts, strict=True))
    return _joined(data.survey.hashes, [*pairs, *((one, row, SAME_PIXELS) for one, row in same if one != row)])


def known_copies(data: Surveyed, known: Looked) -> list[Evidence] | None:
    """The sets of copies among images all of which were looked at before; None where one of them was not.

    Images of one set stay one where another that linked them is not here: they are copies of one picture all the same.
    """
    sets: dict[str | None, Evidence] = {}
    for item in known.copies:
        sets |= {known.data.survey.hashes[row]: item for row in item.rows}
    if not {*data.survey.hashes} <= {*known.data.survey.hashes, None}:
        return None
    members: dict[str | Evidence, list[int]] = {}
    for row, text in enumerate(data.survey.hashes):
        if text is not None:
            members.setdefault(sets.get(text, text), []).append(row)
    return [
        Evidence(tuple(rows), SAME if isinstance(item, str) else item.words)
        for item, rows in members.items()
        if len(rows) > 1
    ]


def shared_sets(data: Surveyed, other: Surveyed) -> list[Evidence]:
    """The sets of copies that reach from one data set into another: `rows` here and `others` there."""
    from tenfold.check.duplicates import find_duplicates  # PyTorch takes seconds to import

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


def shot_sets(data: Surveyed) -> tuple[list[Evidence], list[Evidence]]:
    """The sets of shots in a row, by one camera within seconds, or numbered one after the other and alike; and scenes,
    numbered and alike in any order.
    """
    rows = data.survey.rows
    frame = data.table.samples.iloc[rows]
    places = frame["row"].astype(object).where(frame["row"].notna(), "").tolist()
    names = [f"{source}#{place}".rstrip("#") for source, place in zip(frame["source"], places, strict=True)]
    facts = data.survey.facts[rows]
    cameras = [camera or None for camera in facts["camera"].tolist()]

    def find() -> Shots:
        return find_shots(names, data.survey.signatures, facts["time"], cameras)

    hashes = [data.survey.hashes[row] or "" for row in rows]
    known = zip(names, hashes, facts["time"].tolist(), cameras, strict=True)
    shots = _remembered(hashes, str(list(known)), find) if any(series_of(names)) else find()
    return _evidence(rows, shots.bursts, "taken in a row"), _evidence(rows, shots.scenes, "numbered, and all alike")


def _evidence(rows: NDArray[np.int64], shots: Sequence[tuple[int, ...]], words: str) -> list[Evidence]:
    return [Evidence(tuple(sorted(rows[list(places)].tolist())), words) for places in shots]


def _remembered(hashes: list[str], known: str, find: Callable[[], Shots]) -> Shots:
    """The shots of these images, from the cache where they were found before, with all that was `known` the same."""
    path = store_folder(f"bursts {BURSTS_VERSION} {SIGNATURE_VERSION}") / f"bursts-{text_key(known)}.npz"
    if path in stored_files(path.parent, "bursts") and (arrays := read_arrays(path, "members", "ends", "bursts")):
        every = [tuple(part.tolist()) for part in np.split(arrays["members"], arrays["ends"])[:-1]]
        return Shots(every[: int(arrays["bursts"])], every[int(arrays["bursts"]) :])
    shots = find()
    every = [*shots.bursts, *shots.scenes]
    members = np.array([place for images in every for place in images], np.int64)
    ends = np.cumsum([len(images) for images in every], dtype=np.int64)
    content = {"hashes": np.array(hashes, "S32"), "bursts": np.array(len(shots.bursts))}
    write_arrays(path, content | {"members": members, "ends": ends})
    return shots


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
