"""A listing of boxes: a CSV, TSV or Parquet file with path,x1,y1,x2,y2,label and, where known, group, part and ignore.

A row is a box, in xyxy pixels of the upright image, and the rows of one path are one image. A row with neither box nor
label says that there is nothing in the image. `ignore` is 1 or true for a box that is neither to be found nor to be
counted as false. The same columns are regions that are samples themselves where `label` stands before `x1` and there is
no `ignore`: see listing.py. A row with something in the column `reason` is left out, and so is an image without others.
"""

from __future__ import annotations

from pathlib import Path

from tenfold.errors import DataError
from tenfold.images.readers.annotated import Annotated, Box, annotated_table, number
from tenfold.images.readers.labels import composed, part_name
from tenfold.images.readers.listing import COPY_OF, CORNERS, copied_from, find_sources, read_header, read_rows
from tenfold.images.readers.listing import recognizes as is_listing
from tenfold.images.table import Table

_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")


def recognizes(path: Path) -> bool:
    """True for a listing whose columns of a box stand before its label, or that has the column `ignore`."""
    header = read_header(path) if is_listing(path) else []
    if not {"path", "label", *CORNERS} <= set(header):
        return False
    return "ignore" in header or header.index(CORNERS[0]) < header.index("label")


def read(path: Path) -> Table:
    """A table of a listing. Raises DataError, with the number of the row, for the first thing that is wrong."""
    header, rows, notes = read_rows(path)
    if CORNERS[0] not in header:
        raise DataError(f"The listing {path} lacks the columns x1,y1,x2,y2 of boxes; it has {', '.join(header)}.")
    images: dict[str, Annotated] = {}
    boxes: dict[str, list[Box]] = {}
    for (place, cells), source in zip(rows, find_sources(path, rows), strict=True):
        where = f"Row {place} of {path}"
        part = part_name(cells["part"], where) if cells.get("part") else None
        group = composed(cells.get("group", "")) or None
        new = Annotated(source, boxes.setdefault(source, []), part, group, origin=copied_from(cells, where))
        image = images.setdefault(source, new)
        if (image.part, image.group, image.origin) != (part, group, new.origin):
            what = "part or group" if image.origin == new.origin else COPY_OF
            raise DataError(f"{where} gives {cells['path']} another {what} than a row above; make them the same.")
        boxes[source] += _boxes(cells, where)
    note = f"Rows of {path} are boxes on images; with the reader listing each would be a region to classify."
    return annotated_table(path, images.values(), notes=[note, *notes])


def _boxes(cells: dict[str, str], where: str) -> list[Box]:
    """The box of a row; none where it says that there is nothing in the image."""
    texts = [cells[name] for name in CORNERS]
    label, ignore = composed(cells["label"]), cells.get("ignore", "").casefold()
    if not any(texts) and not label:
        return []
    if not label or not any(texts):
        raise DataError(f"{where} has a {'label without a box' if label else 'box without a label'}; a box needs both.")
    if ignore not in _TRUE + _FALSE:
        raise DataError(f"{where} has ignore {cells['ignore']!r}; it must be 1 or 0.")
    x1, y1, x2, y2 = (number(text, where, name) for name, text in zip(CORNERS, texts, strict=True))
    return [Box(x1, y1, x2, y2, label, ignore in _TRUE)]
