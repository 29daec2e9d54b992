"""tenfold convert: images with boxes in the layout that another program reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tenfold.commands.output import next_command, say, show_json, show_table, waiting

if TYPE_CHECKING:
    from tenfold.images.table import Table


def convert(
    data: str,
    out: Path,
    /,
    *,
    to: Literal["voc", "coco", "yolo"] = "coco",
    copy: bool = False,
    split: Path | None = None,
    reader: str = "auto",
    json: bool = False,
) -> int:
    """Write images with boxes as Pascal VOC, COCO json or YOLO.

    Parts are kept: those of the written split where there is one, else those that
    the data give. Boxes are written as they are, degenerate ones too; tenfold
    check names these. Classes keep their order, those without a box too, except in VOC,
    which lists none: YOLO numbers them from 0, and COCO from 1, whatever ids they had.
    Areas of masks, which a COCO json gives, stay in COCO. No layout has a place for
    groups, or for which images are augmented copies: run tenfold split first, so that
    parts are written. What a layout cannot hold is said.

    For example:

        tenfold convert cells cells-yolo --to yolo
        tenfold convert boxes.csv cells-voc --to voc --copy

    Parameters
    ----------
    data
        Images with boxes: Pascal VOC, COCO json, YOLO, or a listing (path,x1,y1,x2,y2,label[,part,group,ignore], or
        as others write it: filename,class,xmin,ymin,xmax,ymax).
    out
        The folder to write, which must be new or empty.
    to
        The layout.
    copy
        Copy the images. By default they are linked: no room is taken, but a program that changes one changes both.
    split
        The split whose parts count; by default NAME.split.csv beside the data.
    reader
        How to read the data; auto looks at the path.
    json
        Print one JSON object.
    """
    from tenfold.images.readers import read_table
    from tenfold.images.writers import write_boxes

    with waiting(f"Reading {data}"):
        table = _in_parts(read_table(data, reader), data, split)
    for note in table.notes:
        say(note)
    with waiting(f"Writing {out}"):
        written = write_boxes(table, out, to, copy=copy)
    for note in written.notes:
        say(note)
    if json:
        show_json({"out": out, "layout": to, **written._asdict(), "classes": table.classes})
        return 0
    show_table(("Part", "Images", "Boxes"), _counts(table))
    print(f"{written.images:,} images with {written.boxes:,} boxes of {len(table.classes)} classes: {out}")
    next_command("tenfold", "check", out)
    return 0


def _in_parts(table: Table, data: str, split: Path | None) -> Table:
    """The table in the parts of the written split, if there is one; images that it leaves out have none."""
    from tenfold.images.content import hashed
    from tenfold.split import find_split, read_split

    path = split or find_split(Path(data))
    if path is None:
        return table
    say(f"Split: {path}")
    parts = {entry.hash: entry.part or None for entry in read_split(path)}
    table = hashed(table)
    return table.assign(part=[parts.get(digest) for digest in table.samples["hash"]])


def _counts(table: Table) -> list[tuple[str, int, int]]:
    """Part, images and boxes; the parts in their order, then what has none."""
    from tenfold.images.table import PARTS

    parts = table.samples["part"].astype(object).where(table.samples["part"].notna(), "none")
    owners = parts if table.boxes is None else parts.iloc[table.boxes["sample"].to_numpy()]
    rows = [(part, int((parts == part).sum()), int((owners == part).sum())) for part in (*PARTS, "none")]
    return [row for row in rows if row[1]]
