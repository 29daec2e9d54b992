"""Repair: a listing of the images that leaves out what is doubtful, with the reason, and groups what belongs together.

The listing is read as any other: `path,label,group,reason`, where a row with a reason is left out. To take an image in
after all, empty its reason; to put a label right, write the right one and empty the reason. Of images with boxes a row
is a box, and none is left out by itself.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.check.findings import Findings
from tenfold.errors import UsageError
from tenfold.files import write_file
from tenfold.images.table import PARTS
from tenfold.split.fill import short_name
from tenfold.split.ties import join, texts

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

CORNERS = ("x1", "y1", "x2", "y2")

HEADER = ("path", "label", "group", "reason")
"""The first columns of a repaired listing."""


def is_repaired(path: str | Path) -> bool:
    """Whether a file is a listing that `write_repaired` wrote, by its first line."""
    start = ",".join(HEADER).encode()
    try:
        with Path(path).open("rb") as file:
            return file.readline(len(start) + 1).rstrip(b"\n,") == start
    except OSError:
        return False


def write_repaired(table: Table, findings: Findings, path: str | Path) -> dict[str, int]:
    """Write the repaired listing of a table of files; gives {"kept", "left_out", "grouped"}, numbers of images.

    Parts that the table has are kept, and of copies in two parts those in the later one, so pass the table as it was
    read, without the parts of a split that can be made anew. Raises UsageError for images that are not files.
    """
    if table.samples["row"].notna().any():
        raise UsageError("--fix writes a listing of files, and these images are no files of their own.")
    path, parts = Path(path), texts(table, "part")
    reasons = _reasons(findings) | _earlier_copies(findings, table, parts)
    groups = _groups(table, findings)
    columns, rows = _rows(table)
    more = [*(["part"] if any(parts) else []), *columns]
    sources = table.samples["source"].tolist()
    text = StringIO(newline="")
    writer = csv.DictWriter(text, [*HEADER, *more], extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for row, cells in rows:
        about = {"path": _relative(sources[row], path), "group": groups[row], "reason": reasons.get(row, "")}
        writer.writerow(about | {"part": parts[row] or ""} | cells)
    write_file(path, text.getvalue())
    return {
        "kept": len(table) - len(reasons),
        "left_out": len(reasons),
        "grouped": sum(bool(group) and row not in reasons for row, group in enumerate(groups)),
    }


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
    """A group for each image that is in a set or had one; sets and groups that share an image become one."""
    own = texts(table, "group")
    ties = [[f"group {name}"] if name else [] for name in own]
    for place, rows in enumerate(findings.groups()):
        for row in rows:
            ties[row].append(f"set {place}")
    blocks = join(ties).tolist()
    names: dict[int, set[str]] = {}
    for row, tie in enumerate(ties):
        if tie:
            names.setdefault(blocks[row], set()).update(filter(None, [own[row]]))
    taken = set(filter(None, own))
    free = (name for number in range(1, len(table) + len(taken) + 1) if (name := f"alike-{number}") not in taken)
    called = {block: " + ".join(sorted(known)) or next(free) for block, known in names.items()}
    return [called.get(block, "") for block in blocks]


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
