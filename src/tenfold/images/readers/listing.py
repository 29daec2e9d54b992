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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tenfold.boxes import CORNERS
from tenfold.errors import DataError
from tenfold.images.readers.columns import (
    SIDES,
    count_corners,
    has_other_corners,
    renamed,
    taken_note,
)
from tenfold.images.readers.labels import class_order, composed, part_name
from tenfold.images.readers.text import encoding, no_text, read_start
from tenfold.words import listed

if TYPE_CHECKING:
    import pyarrow as pa

    from tenfold.images.table import Table

NEEDED = ("path", "label")
COPY_OF = "copy_of"
KNOWN = (*NEEDED, "group", "part", "reason", "ignore", *CORNERS, COPY_OF)

_TOLD = 200  # characters of a path that a message has, as a cell may hold a whole image
_LONGEST = 4096  # characters of a path; no longer one is looked for
_REGIONS = "Rows of {} are regions, each a sample to classify; with the reader boxes they would be boxes to detect."
_LINE = 2**16  # bytes in which a header is looked for, as a file without lines may hold gigabytes

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
    damaged: dict[int, str]
    """Number of a row with more cells than columns, of which none can be trusted -> the sentence that says so."""


def recognizes(path: Path) -> bool:
    """True for a CSV, TSV or Parquet file."""
    return path.is_file() and path.suffix.casefold() in (".csv", ".tsv", ".parquet")


def read(path: Path) -> Table:
    """A table of a listing. Raises DataError, with the number of the row, for the first thing that is wrong."""
    from tenfold.images.table import Table, make_samples

    header, rows, notes, taken, damaged = read_rows(path)
    if damaged:
        raise DataError(next(iter(damaged.values())))
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
        counting = count_corners(path, {path: rows}) if has_other_corners(taken) else None
        first = counting.first if counting else 0
        regions = [_region(cells, f"Row {number} of {path}", first) for number, cells in rows]
        columns.update({name: list(values) for name, values in zip(CORNERS, zip(*regions, strict=True), strict=True)})
        if any(x1 is not None for x1, *_ in regions):
            notes = [_REGIONS.format(path), *([counting.note] if counting else []), *notes]
    notes = [*taken_note(path, taken), *notes]
    return Table(make_samples(columns, len(rows)), classes=class_order(labels), notes=tuple(notes))


def read_rows(path: Path, needed: Sequence[str] = NEEDED) -> Listed:
    """A listing as it stands in its file. Raises DataError as `read`, and where a `needed` column is not there."""
    is_parquet, damaged = path.suffix.casefold() == ".parquet", dict[int, str]()
    header, rows = _read_parquet(path) if is_parquet else _read_text(path, damaged)
    taken = renamed(header)
    if taken:
        header = [taken.get(name, name) for name in header]
        rows = [(place, {taken.get(name, name): text for name, text in cells.items()}) for place, cells in rows]
    _check_header(path, header, needed)
    if not rows:
        raise DataError(f"The listing {path} has no rows.")
    left = [shortened(cells["path"]) for number, cells in rows if cells.get("reason") and number not in damaged]
    rows = [(number, cells) for number, cells in rows if not cells.get("reason") or number in damaged]
    if not rows:
        raise DataError(
            f"The listing {path} gives a reason to leave out every row; empty the reason where there is none."
        )
    used = (*KNOWN, *SIDES) if has_other_corners(taken) else KNOWN
    unused = [name for name in header if name not in used]
    notes = [f"Columns of {path} that were not used: {', '.join(unused)}."] if unused else []
    if left:
        notes.append(f"Left out, as {path} gives a reason ({len(left)}): {listed(left)}.")
    return Listed(header, rows, notes, taken, damaged)


def read_header(path: Path) -> tuple[list[str], dict[str, str]]:
    """The columns by our names, and those that the file calls otherwise; none where they cannot be read."""
    try:
        if path.suffix.casefold() == ".parquet":
            import pyarrow.parquet as pq

            header = _header(pq.read_schema(path).names)
        else:
            header = _first_cells(read_start(path, _LINE).partition("\n")[0])[1]
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


def _read_text(path: Path, damaged: dict[int, str]) -> tuple[list[str], Rows]:
    """Header and rows of a CSV; what is wrong with a row goes into `damaged`."""
    try:
        with path.open(encoding=_encoding(path), newline="") as file:
            separator, _ = _first_cells(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=separator)
            header = _header(next(reader, []))
            rows: Rows = []
            for cells in reader:
                if any(cells[len(header) :]):
                    damaged[reader.line_num] = (
                        f"Row {reader.line_num} of {path} has {len(cells)} cells, the header {len(header)}; put quotes "
                        "around a name that holds the separator."
                    )
                if any(cells):
                    texts = [cell.strip() for cell in cells[: len(header)]] + [""] * (len(header) - len(cells))
                    rows.append((reader.line_num, dict(zip(header, texts, strict=True))))
    except UnicodeDecodeError:
        raise DataError(no_text(path)) from None
    except (OSError, csv.Error) as error:
        raise DataError(f"The listing {path} cannot be read: {error}.") from error
    return header, rows


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        return encoding(file.read(2))


def _header(cells: list[str]) -> list[str]:
    return [cell.strip().strip('"').casefold() for cell in cells]


def _read_parquet(path: Path) -> tuple[list[str], Rows]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
        header = _header(schema.names)
        _check_paths(path, dict(zip(header, schema.types, strict=True)))
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read as Parquet: {error}.") from error
    wanted = {*KNOWN, *renamed(header), *SIDES}
    columns = {name: table.column(index).to_pylist() for index, name in enumerate(header) if name in wanted}
    texts = {name: [_text(value) for value in values] for name, values in columns.items()}
    return header, [(number + 1, {name: texts[name][number] for name in texts}) for number in range(table.num_rows)]


def _check_paths(path: Path, types: Mapping[str, pa.DataType]) -> None:
    """Raise DataError where the column of paths holds anything but text, as that of whole images does."""
    import pyarrow as pa

    taken = renamed(list(types))
    for name, kind in types.items():
        stored = kind.value_type if pa.types.is_dictionary(kind) else kind
        is_text = pa.types.is_string(stored) or pa.types.is_large_string(stored) or pa.types.is_string_view(stored)
        if taken.get(name, name) == "path" and not is_text:
            raise DataError(
                f"The column {name} of {path} must hold the paths of images as text, but holds {shortened(str(kind))}; "
                "write the images into files and give their paths."
            )


def _text(value: object) -> str:
    """A cell as a CSV would hold it; a whole number that is stored as a float (beside missing ones) stays whole."""
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _check_header(path: Path, header: list[str], needed: Sequence[str]) -> None:
    twice = next((name for name in header if name in KNOWN and header.count(name) > 1), None)
    if twice:
        raise DataError(f"The listing {path} has the column {twice} more than once.")
    corners = [name for name in CORNERS if name in header]
    missing = [name for name in (*needed, *(CORNERS if corners else ())) if name not in header]
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


def find_sources(path: Path, rows: Rows, damaged: Mapping[int, str] | None = None) -> list[str]:
    """Each row's file as an absolute path. Each folder is listed once: far faster than asking for each file.

    Raises DataError for a path that is no file: what is wrong with its row, where that is known.
    """
    disk = Disk()
    sources = []
    for number, cells in rows:
        if not cells["path"]:
            raise DataError(f"Row {number} of {path} has no path.")
        wanted = os.path.normpath(path.parent / cells["path"])
        source = disk.find(wanted)
        if source is None:
            lacking = f"names {shortened(cells['path'])}, but there is no file {shortened(wanted)}."
            raise DataError((damaged or {}).get(number, f"Row {number} of {path} {lacking}"))
        sources.append(source)
    return sources


def shortened(text: str) -> str:
    """A path as a message has it."""
    return text if len(text) <= _TOLD else f"{text[:_TOLD]}..."


class Disk:
    """Finds files by name in whichever Unicode form the disk spells them (a listing from a Mac often has the other)."""

    def __init__(self) -> None:
        self.folders: dict[str, tuple[str, dict[str, str]]] = {}
        self.seen = set[str]()
        """The folders in these."""

    def find(self, wanted: str) -> str | None:
        """The path of the file that exists, or None, as for a folder."""
        found = self._locate(wanted) if len(wanted) <= _LONGEST else None
        return None if found in self.seen else found

    def _locate(self, wanted: str) -> str | None:
        """The path of a file or folder that exists, or None."""
        folder, name = os.path.split(wanted)
        if not name:
            return None
        located, names = self._entries(folder)
        found = names.get(name) or names.get(composed(name))
        if found is not None:
            return str(Path(located, found))
        try:
            return wanted if Path(wanted).is_file() else None  # a disk that ignores case
        except OSError:  # a name longer than any
            return None

    def _entries(self, folder: str) -> tuple[str, dict[str, str]]:
        """The folder as the disk spells it, and its entries: their names and the composed forms of those -> names."""
        if folder not in self.folders:
            located, entries = None, list[os.DirEntry[str]]()
            with suppress(OSError):  # a name longer than any, or a folder that cannot be listed
                located = folder if Path(folder).is_dir() else self._locate(folder)
                entries = list(os.scandir(located)) if located else []
                self.seen |= {entry.path for entry in entries if entry.is_dir()}
            names = [entry.name for entry in entries]
            self.folders[folder] = (located or folder, {composed(name): name for name in names} | {n: n for n in names})
        return self.folders[folder]
