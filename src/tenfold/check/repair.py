"""Repair: a listing of the images that leaves out what is doubtful, with the reason, and groups what belongs together.

The listing is read as any other: `path,label,group,reason`, where a row with a reason is left out. To take an image in
after all, empty its reason; to put a label right, write the right one and empty the reason. Of images with boxes a row
is a box, and none is left out by itself. A listing that is written anew keeps the old one beside it, so that what was
put right by hand is not lost.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.boxes import CORNERS
from tenfold.check.findings import Findings, set_name
from tenfold.errors import UsageError
from tenfold.files import write_file
from tenfold.images.readers.listing import COPY_OF
from tenfold.images.table import PARTS
from tenfold.split.fill import short_name
from tenfold.split.ties import bond, is_found, join, texts

if TYPE_CHECKING:
    from tenfold.images.table import Table

DOUBTFUL = {
    "unreadable": "cannot be read",
    "two_labels": "there under two labels",
    "against": "also in the other data",
    "dark": "too dark",
    "blank": "nearly empty",
    "blurred": "blurred",
    "label": "label likely wrong",
}
"""Kinds of findings whose images are left out -> the reason, before the words of the single image."""

HEADER = ("path", "label", "group", "reason")
"""The first columns of a repaired listing."""


def is_repaired(path: str | Path) -> bool:
    """Whether a file is a listing that `write_repaired` wrote, by its first line."""
    start = ",".join(HEADER).encode()
    try:
        with Path(path).open("rb") as file:
            return file.readline(len(start) + 5).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n,") == start
    except OSError:
        return False


def refuse_rows(table: Table) -> None:
    """Raise UsageError where images are rows of a file or arrays, which no listing of files can name."""
    if table.samples["row"].notna().any():
        raise UsageError("--fix writes a listing of files, and these images are no files of their own.")


def write_repaired(table: Table, findings: Findings, path: str | Path) -> dict[str, Any]:
    """Write the repaired listing of a table of files; gives {"kept", "left_out", "grouped"}, numbers of images.

    Copies and shots in a row get a group, rows of shots that no split keeps together by itself too. Parts that the
    table has are kept, and of copies in two parts those in the later one, so pass the table as it was read, without the
    parts of a split that can be made anew. A file that stands there with other content is kept under a name of its own,
    which `before` gives. Raises UsageError for images that are not files.
    """
    refuse_rows(table)
    path, parts = Path(path), texts(table, "part")
    reasons = _reasons(findings) | _earlier_copies(findings, table, parts)
    groups = _groups(table, findings)
    columns, rows = _rows(table)
    copies, origins = table.samples["copy"].tolist(), texts(table, "origin")
    more = [*(["part"] if any(parts) else []), *([COPY_OF] if any(copies) else []), *columns]
    sources = table.samples["source"].tolist()
    text = StringIO(newline="")
    writer = csv.DictWriter(text, [*HEADER, *more], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row, cells in rows:
        about = {"path": _relative(sources[row], path), "group": groups[row], "reason": reasons.get(row, "")}
        about[COPY_OF] = (origins[row] or "") if copies[row] else ""
        writer.writerow(about | {"part": parts[row] or ""} | cells)
    aside = _set_aside(path, text.getvalue().encode())
    write_file(path, text.getvalue())
    return ({"before": aside} if aside else {}) | {
        "kept": len(table) - len(reasons),
        "left_out": len(reasons),
        "grouped": sum(bool(group) and row not in reasons for row, group in enumerate(groups)),
    }


def _set_aside(path: Path, content: bytes) -> Path | None:
    """Copy a file that has another content than this to the first NAME.bak, NAME.bak2, ... that is free."""
    if not path.exists() or (old := path.read_bytes()) == content:
        return None
    names = (path.with_name(f"{path.name}.bak{number if number > 1 else ''}") for number in count(1))
    aside = next(name for name in names if not name.exists())
    write_file(aside, old)
    return aside


def _reasons(findings: Findings) -> dict[int, str]:
    """Why each doubtful image is left out; the gravest reason counts."""
    reasons: dict[int, str] = {}
    for finding in findings.found:
        for item in finding.sets if finding.kind in DOUBTFUL else ():
            for row in item.rows:
                reasons.setdefault(row, f"{DOUBTFUL[finding.kind]}: {item.words}")
    return reasons


def _earlier_copies(findings: Findings, table: Table, parts: Sequence[str | None]) -> dict[int, str]:
    """Copies in an earlier part than one of theirs: the later part is the one that must not be known."""
    place = {part: number for number, part in enumerate(PARTS)}
    reasons: dict[int, str] = {}
    sources, found = table.samples["source"].tolist(), findings.find("leak")
    for item in found.sets if found else ():
        standing = [(place[part], row) for row in item.rows if (part := parts[row]) in place]
        last, kept = max(standing, default=(0, 0))
        name = short_name(sources[kept], None)
        reasons |= {
            row: f"copy of {name} in the {PARTS[last]} part: {item.words}" for number, row in standing if number < last
        }
    return reasons


def _groups(table: Table, findings: Findings) -> list[str]:
    """A group for each image that is in a set or had one; sets and groups that share an image become one.

    It has the names of the groups that somebody gave; where there is none, that of the set, after its smallest hash.
    """
    own, series = texts(table, "group"), findings.find("series")
    ties = [bond(None, name, None) for name in own]
    names: list[set[str]] = [{name} if name else set() for name in own]
    for place, rows in enumerate([*findings.groups(), *(item.rows for item in (series.sets if series else ()))]):
        found = set_name(findings.samples[row].hash for row in rows)
        for row in rows:
            ties[row].append(f"set {place}")
            names[row].add(found)
    blocks = join(ties).tolist()
    known: dict[int, set[str]] = {}
    for block, here in zip(blocks, names, strict=True):
        known.setdefault(block, set()).update(here)
    called = {block: _name(here) for block, here in known.items()}
    return [called[block] for block in blocks]


def _name(groups: set[str]) -> str:
    """One name for the groups and sets of a block; empty where there are none."""
    given = {group for group in groups if not is_found(group)}
    if len(given) < 2:
        return min(given or groups, default="")
    return " + ".join(sorted({name for group in given for name in group.split(" + ")}))


def _rows(table: Table) -> tuple[list[str], list[tuple[int, dict[Any, Any]]]]:
    """The further columns, and the rows as (image, cells): one an image, with its region, or one a box."""
    if table.boxes is None:
        frame = table.samples[["label", *CORNERS]].astype(object)
        rows = frame.where(frame.notna(), "").to_dict("records")
        return [] if frame["x1"].isna().all() else [*CORNERS], list(enumerate(rows))
    columns = [*CORNERS, "ignore"]
    boxes = table.boxes[["label", *columns]].astype({"ignore": int}).to_dict("records")
    owners = table.boxes["sample"].tolist()
    blank = dict.fromkeys(("label", *columns), "")
    bare = [(row, blank) for row in sorted(set(range(len(table))) - set(owners))]
    return columns, sorted([*zip(owners, boxes, strict=True), *bare], key=lambda item: int(item[0]))


def _relative(source: str, listing: Path) -> str:
    """The path as seen from the listing where the file lies below its folder, so that both can be moved together."""
    folder, file = listing.absolute().parent, Path(source)
    return (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()
