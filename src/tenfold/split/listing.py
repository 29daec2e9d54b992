"""Listing: the written split, a CSV file that a person can read and edit, and that is the authority once it stands.

A line says which part an image has: `hash,part,label,group,path`. The hash alone says which image is meant, so neither
a new name nor a new place moves it. An empty part leaves the image out on purpose. `group` ties new images to old ones,
and fills the groups that the reader does not know; `label` and `path` are there for the reader of the file. Where a
check found near copies or shots in a row, a column `alike` names the set that an image is in, and ties like a group.
"""

from __future__ import annotations

import csv
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError, UsageError, unknown
from tenfold.files import write_file
from tenfold.images.content import hashed
from tenfold.images.readers.labels import natural_key
from tenfold.images.table import PARTS, Table
from tenfold.recipe import check_range
from tenfold.split.copies import Followers, images_of, refuse_copies_alone
from tenfold.split.fill import (
    LEFT_OUT,
    assigned,
    fill_parts,
    named,
    noted,
    open_shares,
    part_shares,
    spread_note,
    tied_parts,
    torn_note,
)
from tenfold.split.ties import bond, bonds, is_found, join, texts


class Entry(NamedTuple):
    """A line of a written split."""

    hash: str
    """32 hexadecimal digits of the image's content."""
    part: str
    """train, validation or test; empty where the image is left out."""
    label: str = ""
    group: str = ""
    path: str = ""
    """From the folder of the file where the image lies in it; then, after a #, the row of a file of several images."""
    alike: str = ""
    """The set of near copies or shots in a row that the image is in."""


def split_path(source: str | Path) -> Path:
    """Where the split of these data is to be written: beside them, or in the current directory if that is read-only."""
    beside, here = _places(Path(source))
    return beside if _writable(beside.parent) else here


def find_split(source: str | Path) -> Path | None:
    """The written split of these data, looked for beside them, then in the current directory; None where none is."""
    return next((path for path in _places(Path(source)) if path.is_file()), None)


def read_split(path: str | Path) -> list[Entry]:
    """The lines of a written split, comma, semicolon or tab between columns; all but `hash` and `part` may be missing.

    Raises DataError, with the line, for what is no content hash, an unknown part, or two parts of one image.
    """
    path = Path(path)
    try:
        content = path.read_bytes().decode("utf-8-sig")  # spreadsheets write a mark in front
        separator = max(",;\t", key=content.partition("\n")[0].count)
        reader = csv.reader(StringIO(content, newline=""), delimiter=separator, strict=True)
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The split {path} cannot be read: {error}; repair it, or remove it to split anew.") from error
    names = tuple(name.strip().lower() for name in rows[0][1]) if rows else ()
    if "path" in names and "hash" not in names:
        raise DataError(
            f"{path} is a listing of images, not a split, which has the columns hash and part; give the listing as the "
            "data, and for the split the name of a file that tenfold split wrote or is to write."
        )
    if not {"hash", "part"} <= set(names) <= set(Entry._fields) or len(set(names)) < len(names):
        raise DataError(
            f"The first line of the split {path} must name the columns hash and part, and of the others only label, "
            f"group, path and alike, not {', '.join(names) or 'nothing'}; repair it, or remove the file to split anew."
        )
    entries = [_entry(names, row, f"line {line} of {path}") for line, row in rows[1:]]
    _check_agreement(entries, [line for line, _ in rows[1:]], path)
    return entries


def write_split(table: Table, path: str | Path) -> None:
    """Write the parts of the table to a CSV file, a line a sample in the natural order of the paths.

    Lines of a file that stands there already stay if their images are not in the table, so that an image that comes
    back finds its part. An image that is left out and not in that file gets no line there: it is placed once what was
    amiss, such as an unknown group, is put right. Nor does an augmented copy of an image that is not in training get
    one, or a copy that is the same as an image: the line of the image says what becomes of it.

    Raises UsageError for a table without parts, DataError where the old file is damaged or an image without a hash
    cannot be read.
    """
    path, table = Path(path), hashed(table, unreadable="refuse")  # a file has no room for notes on what is left out
    columns = [[text or "" for text in texts(table, name)] for name in ("hash", "part", "label", "group")]
    if len(table) and not any(columns[1]):
        raise UsageError(f"A table needs parts to be written to {path}, and this one has none; split_table gives them.")
    columns += [_paths(table, path), [table.alike.get(digest, "") for digest in columns[0]]]
    old = read_split(path) if path.exists() else []
    known, here = {entry.hash for entry in old}, set(columns[0])
    silent = _silent_copies(table, known)
    entries = [Entry(*cells) for row, cells in enumerate(zip(*columns, strict=True)) if row not in silent]
    if path.exists():
        entries = [entry for entry in entries if entry.part or entry.hash in known]
        entries += [entry for entry in old if entry.hash not in here]
    width = len(Entry._fields) if any(entry.alike for entry in entries) else Entry._fields.index("alike")
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Entry._fields[:width])
    entries.sort(key=lambda entry: (natural_key(entry.path), entry.hash))
    writer.writerows(entry[:width] for entry in entries)
    write_file(path, text.getvalue())


def apply_split(
    table: Table, path: str | Path, *, validation: float = 0.15, test: float = 0.15, seed: int = 0
) -> Table:
    """Give each image the part that the written split says; place those that are not in it.

    An old image never moves. A new one joins the part of its group, of what it was made from or of what it is alike
    (`table.alike`); if that ties it to more than one part it is left out; else it fills the part in which its class
    falls shortest of the wanted shares. What the reader says of a new image's part holds. A new image without a group
    is left out, for its group may be in any part, where every image of the file has one, or some have and the reader
    found none at all; sets that a check found are no groups in this.

    Augmented copies (`tenfold augment --save`) are not placed: each is in training where its image is, unless the file
    leaves it out, and is left out elsewhere.

    The caller writes the result back, with `write_split`, before limiting the training part, so that what was new is
    old the next time. `notes` tell what was new, gone or left out.
    """
    path, shares = Path(path), part_shares(validation, test)
    check_range("seed", seed, 0, 2**63 - 1)
    entries = read_split(path)
    table = hashed(table)
    refuse_copies_alone(table, [part for part in PARTS[1:] if shares[part] > 0])
    needed = _groups_needed(_owners([entry.group for entry in entries]), any(_owners(texts(table, "group"))))
    table = _with_ties(table, entries)
    known: dict[str | None, str] = {entry.hash: entry.part for entry in entries}
    hashes, groups = texts(table, "hash"), {entry.group for entry in entries if entry.group}
    if known and known.keys().isdisjoint(hashes) and groups.isdisjoint(texts(table, "group")):
        raise UsageError(
            f"None of the {len(table)} images that were read ({_first(_paths(table, path))}) is among the {len(known)} "
            f"of the split {path} ({_first([entry.path for entry in entries])}), which was written for other data; "
            "give the data that it is for, name another split (tenfold split --out, tenfold train --split), or remove "
            "this one to split anew."
        )
    lone = set(_alone(table, known.keys()) if needed else [])
    copies = Followers(table, [(entry.hash, entry.part, _ties_of(entry)) for entry in entries])
    images, rows = images_of(table), np.flatnonzero(~copies.copies).tolist()
    own = {hashes[row] for row in np.flatnonzero(copies.copies).tolist()} - {hashes[row] for row in rows}
    standing = [entry for entry in entries if entry.hash not in own]
    places = [place for place, row in enumerate(rows) if row in lone]
    parts, notes = _placed(images, path, standing, places, shares, seed)
    if images is table:
        return noted(assigned(table, parts), *notes)
    followed = copies.parts(copies.spread(parts))
    silent = {row for row, part in enumerate(followed) if part and known.get(hashes[row]) == LEFT_OUT}
    out = silent | {row for row in lone if copies.rows[row] < 0}
    final = [None if row in out and copies.copies[row] else part for row, part in enumerate(followed)]
    count = int(copies.copies[list(silent)].sum())
    return noted(
        assigned(table, final),
        *notes,
        f"{path.name} leaves out {count} augmented copies: they have an empty part in it." if count else "",
        copies.note(table, followed),
    )


def _placed(
    table: Table, path: Path, entries: Sequence[Entry], lone: list[int], shares: dict[str, float], seed: int
) -> tuple[list[str], list[str]]:
    """The parts of images by the lines of a file, of which none is of a copy, and what is to be said of it.

    `lone` are new images that may belong to any group.
    """
    known: dict[str | None, str] = {entry.hash: entry.part for entry in entries}
    hashes, given = texts(table, "hash"), texts(table, "part")
    left = open_shares(given, shares)
    ties = bonds(table) + [_ties_of(entry) for entry in entries]
    # A new image in the reader's training part may have a group whose images went to validation.
    fixed = [known.get(digest, None if part == "train" else part) for digest, part in zip(hashes, given, strict=True)]
    fixed += [entry.part for entry in entries]
    for row in lone:
        fixed[row] = given[row] = LEFT_OUT
    new = [None if digest in known else part for digest, part in zip(hashes, given, strict=True)]
    clash = _clashes(new, ties, fixed, left)
    for row in clash:
        fixed[row] = LEFT_OUT
    parts, torn = fill_parts(table, ties, fixed, left, seed)
    absent = len(known.keys() - set(hashes))
    added = Counter(part for part, digest in zip(parts, hashes, strict=True) if part and digest not in known)
    silent = sum(known.get(digest) == LEFT_OUT for digest in hashes)
    kept = [row for row, digest in enumerate(hashes) if parts[row] and digest not in known]
    return parts, [
        _new_note(added, _count_tied(ties, kept), path),
        f"{path.name} has {absent} images that are not among those read; they keep their parts." if absent else "",
        f"{path.name} leaves out {silent} images: they have an empty part in it." if silent else "",
        spread_note(table, ties, fixed, f"{path.name} gives", "a new split keeps such images together"),
        torn_note(table, np.union1d(torn, clash)),
        _lone_note(table, lone, path),
    ]


def _ties_of(entry: Entry) -> list[str]:
    return bond(entry.hash, entry.group, entry.alike)


def _silent_copies(table: Table, known: Set[str]) -> set[int]:
    """The rows of augmented copies that get no line; `known` are the hashes of the lines that stand already."""
    copies, hashes, parts = Followers(table), texts(table, "hash"), texts(table, "part")
    if not copies.copies.any():
        return set()
    followed, shown = copies.parts(parts), {digest for digest, part in zip(hashes, parts, strict=True) if part}
    images = {digest for digest, copy in zip(hashes, copies.copies, strict=True) if not copy}
    return {
        row
        for row, digest in enumerate(hashes)
        if copies.copies[row]
        and (digest in images or (not parts[row] and (digest in shown or not (followed[row] or digest in known))))
    }


def _places(source: Path) -> tuple[Path, Path]:
    """Beside the data, and in the current directory; a source that is no path, such as "digits", has one place."""
    whole = source.resolve()
    name = f"{whole.name or 'images'}.split.csv"
    return whole.parent / name, Path.cwd() / name


def _writable(folder: Path) -> bool:
    try:
        # Asking for permissions says nothing reliable of folders on Windows and network drives.
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _entry(names: tuple[str, ...], cells: list[str], where: str) -> Entry:
    if len(cells) != len(names):
        raise DataError(f"There must be {len(names)} columns in {where}, as in its first line, not {len(cells)}.")
    fields = dict(zip(names, cells, strict=True))
    fields["hash"], fields["part"] = fields["hash"].strip().lower(), fields["part"].strip().lower()
    if re.fullmatch("[0-9a-f]{32}", fields["hash"]) is None:
        raise DataError(f"The hash in {where} must be 32 hexadecimal digits, not {fields['hash']!r}; remove that line.")
    if fields["part"] not in (*PARTS, LEFT_OUT):
        raise DataError(str(unknown(f"The part in {where}", fields["part"], PARTS)))
    return Entry(**fields)


def _check_agreement(entries: list[Entry], lines: list[int], path: Path) -> None:
    seen: dict[str, tuple[str, int]] = {}
    for entry, line in zip(entries, lines, strict=True):
        part, first = seen.setdefault(entry.hash, (entry.part, line))
        if part != entry.part:
            raise DataError(
                f"Lines {first} and {line} of {path} are copies of one image and must have one part, "
                f"not {part or 'none'} and {entry.part or 'none'}."
            )


def _paths(table: Table, path: Path) -> list[str]:
    """The samples as a person would name them: from the split's folder, with row and region where they have one."""
    folder = f"{path.absolute().parent.as_posix().rstrip('/')}/"
    names = []
    for source, row, *corners in table.samples[["source", "row", "x1", "y1", "x2", "y2"]].astype(object).to_numpy():
        name = Path(source).as_posix().removeprefix(folder)
        name += f"#{row}" if isinstance(row, int) else ""
        region = f" [{' '.join(f'{corner:g}' for corner in corners)}]" if isinstance(corners[0], float) else ""
        names.append(name + region)
    return names


def _first(paths: list[str]) -> str:
    """The first of these images by name; a split that a person made may name none."""
    first = next(filter(None, paths), "")
    return f"the first: {first}" if first else "without names"


def _with_ties(table: Table, entries: list[Entry]) -> Table:
    """The table with the groups of the file where the reader knows none, and with its sets of what is alike.

    A set that was found again keeps the name that it has in the file, as members that are not here have it too.
    """
    groups = {entry.hash: entry.group or None for entry in entries}
    pairs = zip(texts(table, "group"), texts(table, "hash"), strict=True)
    old = {entry.hash: entry.alike for entry in entries if entry.alike}
    names: dict[str, str] = {}
    for digest, name in table.alike.items():
        if digest in old:
            names[name] = min(old[digest], names.get(name, old[digest]))
    alike = old | {digest: names.get(name, name) for digest, name in table.alike.items()}
    return replace(table.assign(group=[group or groups.get(digest or "") for group, digest in pairs]), alike=alike)


def _owners(groups: Sequence[str | None]) -> list[str]:
    """The groups that the owner of the images gave; empty where there is none, or only a set that a check found."""
    return ["" if not group or is_found(group) else group for group in groups]


def _groups_needed(groups: list[str], found: bool) -> bool:
    """Whether a new image must have a group, as the lines of the file have these; `found`: the reader knows some."""
    return any(groups) and (all(groups) or not found)


def _alone(table: Table, known: Set[str | None]) -> list[int]:
    """The samples without a group that are neither in the file nor made from an image of it."""
    cells = zip(_owners(texts(table, "group")), *(texts(table, name) for name in ("hash", "origin")), strict=True)
    return [row for row, (group, *hashes) in enumerate(cells) if not group and not known & set(hashes)]


def _lone_note(table: Table, rows: list[int], path: Path) -> str:
    if not rows:
        return ""
    return (
        f"Left out, as the images in the split {path.name} have groups and these, not yet in it, have none "
        f"({len(rows)}): {named(table, np.array(rows, np.int64))}; give --groups-from to tenfold split or "
        "--data.group-pattern to tenfold train, or as the data a listing that names their groups."
    )


def _clashes(
    new: list[str | None], ties: list[list[str]], fixed: list[str | None], left: Iterable[str]
) -> NDArray[np.int64]:
    """The new samples whose ties are to other parts than the one that the reader found for them."""
    clash: set[int] = set()
    allowed = {part: {part} for part in PARTS} | {"train": set(left)}
    for names in (PARTS[1:], PARTS[:1]):  # what is left out at first ties no training image
        standing = [LEFT_OUT if row in clash else part for row, part in enumerate(fixed)]
        tied = tied_parts(ties, standing)
        clash |= {row for row, part in enumerate(new) if part in names and tied[row] - allowed[part or ""]}
    return np.array(sorted(clash), np.int64)


def _count_tied(ties: list[list[str]], rows: list[int]) -> int:
    """How many of the samples at these rows share a block with another member."""
    blocks = join(ties)
    return int((np.bincount(blocks)[blocks[rows]] > 1).sum()) if rows else 0


def _new_note(added: Counter[str], tied: int, path: Path) -> str:
    if not added:
        return ""
    counts = ", ".join(f"{added[part]} to {part}" for part in PARTS if added[part])
    kept = f"; {tied} of them with what they belong to, by group, as copies or as shots in a row" if tied else ""
    return f"New images, not yet in {path.name}: {counts}{kept}."
