"""A listing: a CSV, TSV or Parquet file with the columns path,label and, where known, group, part and x1,y1,x2,y2.

Paths are relative to the listing. An empty label, group or part is a missing one; x1,y1,x2,y2 are the region of the
upright image that is the sample (xyxy pixels, x1 < x2 and y1 < y2), all four empty for the whole image. A row with
something in the column `reason`, as `tenfold check --fix` writes it, is left out. One with something in `copy_of`, as
`tenfold augment --save` writes it, is a changed copy of the image with that content hash. Names that others have for
these columns are taken too: see columns.py.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tenfold.errors import DataError
from tenfold.images.readers.columns import (
    CORNERS,
    SIDES,
    counted_note,
    first_pixel,
    has_other_corners,
    renamed,
    taken_note,
)
from tenfold.images.readers.labels import class_order, composed, part_name

if TYPE_CHECKING:
    from tenfold.images.table import Table

NEEDED = ("path", "label")
COPY_OF = "copy_of"
KNOWN = (*NEEDED, "group", "part", "reason", "ignore", *CORNERS, COPY_OF)

_LISTED = 8  # names that a note lists
_LINE = 2**16  # characters of a header that are looked at, as a file without lines may hold gigabytes

Rows = list[tuple[int, dict[str, str]]]
"""Each row's number as a person finds it (the line of a CSV, whose header is line 1), and its cells by column."""


class Listed(NamedTuple):
    """What a listing holds, its columns by our names."""

    header: list[str]
    rows: Rows
    """Those without a reason to leave them out, at least one."""
    notes: list[str]
    taken: dict[str, str]
    """The columns that the file calls otherwise -> our names."""


def recognizes(path: Path) -> bool:
    """True for a CSV, TSV or Parquet file."""
    return path.is_file() and path.suffix.casefold() in (".csv", ".tsv", ".parquet")


def read(path: Path) -> Table:
    """A table of a listing. Raises DataError, with the number of the row, for the first thing that is wrong."""
    from tenfold.images.table import Table, make_samples

    header, rows, notes, taken = read_rows(path)
    labels = [composed(cells["label"]) or None for _, cells in rows]
    origins = [copied_from(cells, f"Row {n} of {path}") for n, cells in rows]
    columns: dict[str, object] = {
        "source": find_sources(path, rows),
        "label": labels,
        "group": [composed(cells.get("group", "")) or None for _, cells in rows],
        "part": [part_name(cells["part"], f"Row {n} of {path}") if cells.get("part") else None for n, cells in rows],
        "origin": origins,
        "copy": [origin is not None for origin in origins],
    }
    if CORNERS[0] in header:
        first = first_pixel(path, (cells for _, cells in rows)) if has_other_corners(taken) else 0
        regions = [_region(cells, f"Row {number} of {path}", first) for number, cells in rows]
        columns.update({name: list(values) for name, values in zip(CORNERS, zip(*regions, strict=True), strict=True)})
        notes = [*_region_notes(path, first, taken), *notes] if any(x1 is not None for x1, *_ in regions) else notes
    notes = [*taken_note(path, taken), *notes]
    return Table(make_samples(columns, len(rows)), classes=class_order(labels), notes=tuple(notes))


def _region_notes(path: Path, first: int, taken: Mapping[str, str]) -> list[str]:
    """That rows are regions, and how their corners are taken where others wrote them."""
    note = (
        f"Rows of {path} are regions, each a sample to classify; with the reader boxes they would be boxes to detect."
    )
    return [note, *([counted_note(path, first)] if has_other_corners(taken) else [])]


def read_rows(path: Path) -> Listed:
    """A listing as it stands in its file. Raises DataError as `read`."""
    header, rows = _read_parquet(path) if path.suffix.casefold() == ".parquet" else _read_text(path)
    taken = renamed(header)
    if taken:
        header = [taken.get(name, name) for name in header]
        rows = [(place, {taken.get(name, name): text for name, text in cells.items()}) for place, cells in rows]
    _check_header(path, header)
    if not rows:
        raise DataError(f"The listing {path} has no rows.")
    left = [cells["path"] for _, cells in rows if cells.get("reason")]
    rows = [(number, cells) for number, cells in rows if not cells.get("reason")]
    if not rows:
        raise DataError(
            f"The listing {path} gives a reason to leave out every row; empty the reason where there is none."
        )
    used = (*KNOWN, *SIDES) if has_other_corners(taken) else KNOWN
    unused = [name for name in header if name not in used]
    notes = [f"Columns of {path} that were not used: {', '.join(unused)}."] if unused else []
    if left:
        more = f" and {len(left) - _LISTED} more" if len(left) > _LISTED else ""
        notes.append(f"Left out, as {path} gives a reason ({len(left)}): {', '.join(left[:_LISTED])}{more}.")
    return Listed(header, rows, notes, taken)


def read_header(path: Path) -> tuple[list[str], dict[str, str]]:
    """The columns by our names, and those that the file calls otherwise; none where they cannot be read."""
    try:
        if path.suffix.casefold() == ".parquet":
            import pyarrow.parquet as pq

            header = _header(pq.read_schema(path).names)
        else:
            with path.open(encoding="utf-8-sig", newline="") as file:
                header = _first_cells(file.readline(_LINE))[1]
    except (OSError, ValueError):  # what is no text, or what pyarrow calls invalid
        return [], {}
    taken = renamed(header)
    return [taken.get(name, name) for name in header], taken


def _first_cells(line: str) -> tuple[str, list[str]]:
    """The separator (comma, tab or semicolon) that makes a column of paths, and the header of a CSV."""
    headers = {mark: _header(line.rstrip("\r\n").split(mark)) for mark in ",\t;"}
    with_paths = (mark for mark, header in headers.items() if "path" in (*header, *renamed(header).values()))
    separator = next(with_paths, ",")
    return separator, headers[separator]


def _read_text(path: Path) -> tuple[list[str], Rows]:
    """Header and rows of a CSV."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            separator, _ = _first_cells(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=separator)
            header = _header(next(reader, []))
            rows: Rows = []
            for cells in reader:
                if any(cells[len(header) :]):
                    raise DataError(
                        f"Row {reader.line_num} of {path} has {len(cells)} cells, the header {len(header)}; put quotes "
                        "around a name that holds the separator."
                    )
                if any(cells):
                    texts = [cell.strip() for cell in cells[: len(header)]] + [""] * (len(header) - len(cells))
                    rows.append((reader.line_num, dict(zip(header, texts, strict=True))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"The listing {path} cannot be read as UTF-8 text: {error}.") from error
    return header, rows


def _header(cells: list[str]) -> list[str]:
    return [cell.strip().strip('"').casefold() for cell in cells]


def _read_parquet(path: Path) -> tuple[list[str], Rows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        header = _header(pq.read_schema(path).names)
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}.") from error
    wanted = {*KNOWN, *renamed(header), *SIDES}
    columns = {name: table.column(index).to_pylist() for index, name in enumerate(header) if name in wanted}
    texts = {name: [_text(value) for value in values] for name, values in columns.items()}
    return header, [(number + 1, {name: texts[name][number] for name in texts}) for number in range(table.num_rows)]


def _text(value: object) -> str:
    """A cell as a CSV would hold it; a whole number that is stored as a float (beside missing ones) stays whole."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _check_header(path: Path, header: list[str]) -> None:
    twice = next((name for name in header if name in KNOWN and header.count(name) > 1), None)
    if twice:
        raise DataError(f"The listing {path} has the column {twice} more than once.")
    corners = [name for name in CORNERS if name in header]
    missing = [name for name in (*NEEDED, *(CORNERS if corners else ())) if name not in header]
    if missing:
        raise DataError(
            f"The listing {path} lacks the column {missing[0]}; it needs path,label and may have group, part and "
            f"x1,y1,x2,y2 (or has filename,class,xmin,ymin,xmax,ymax), but has {', '.join(header) or 'none'}."
        )


def copied_from(cells: dict[str, str], where: str) -> str | None:
    """The content hash of the image that a row's image was made from; None where it is an image itself."""
    digest = cells.get(COPY_OF, "").casefold()
    if digest and not re.fullmatch("[0-9a-f]{32}", digest):
        raise DataError(
            f"{where} has {COPY_OF} {cells[COPY_OF]!r}; it must be the content hash of an image, 32 hexadecimal "
            "digits as tenfold augment --save writes it, or empty."
        )
    return digest or None


def _region(cells: dict[str, str], where: str, first: int) -> tuple[float | None, ...]:
    """The region of a row, whose first pixel has the number `first`; nothing four times for the whole image."""
    texts = [cells[name] for name in CORNERS]
    if not any(texts):
        return (None,) * 4
    try:
        x1, y1, x2, y2 = (float(text) - minus for text, minus in zip(texts, (first, first, 0, 0), strict=True))
    except ValueError:
        x1 = y1 = x2 = y2 = math.nan
    if not (x1 < x2 and y1 < y2 and math.isfinite(x1 + y1 + x2 + y2)):
        raise DataError(
            f"{where} has the region {','.join(texts)}; x1,y1,x2,y2 must be four numbers with x1 < x2 and y1 < y2, "
            "or all empty."
        )
    return x1, y1, x2, y2


def find_sources(path: Path, rows: Rows) -> list[str]:
    """Each row's file as an absolute path. Each folder is listed once: far faster than asking for each file."""
    disk = Disk()
    sources = []
    for number, cells in rows:
        if not cells["path"]:
            raise DataError(f"Row {number} of {path} has no path.")
        wanted = os.path.normpath(path.parent / cells["path"])
        source = disk.find(wanted)
        if source is None:
            raise DataError(f"Row {number} of {path} names {cells['path']}, but there is no file {wanted}.")
        sources.append(source)
    return sources


class Disk:
    """Finds files by name in whichever Unicode form the disk spells them (a listing from a Mac often has the other)."""

    def __init__(self) -> None:
        self.folders: dict[str, tuple[str, dict[str, str]]] = {}

    def find(self, wanted: str) -> str | None:
        """The path that exists, or None."""
        folder, name = os.path.split(wanted)
        if not name:
            return None
        located, names = self._entries(folder)
        found = names.get(name) or names.get(composed(name))
        if found is not None:
            return str(Path(located, found))
        return wanted if Path(wanted).exists() else None  # a disk that ignores case

    def _entries(self, folder: str) -> tuple[str, dict[str, str]]:
        """The folder as the disk spells it, and its entries: their names and the composed forms of those -> names."""
        if folder not in self.folders:
            located = folder if Path(folder).is_dir() else self.find(folder)
            try:
                names = [entry.name for entry in Path(located).iterdir()] if located else []
            except OSError:
                names = []
            self.folders[folder] = (located or folder, {composed(name): name for name in names} | {n: n for n in names})
        return self.folders[folder]
