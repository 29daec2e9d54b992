"""Writers: a Table whose samples have boxes -> a folder in the layout of others, which the readers read back.

voc.py     Pascal VOC: an XML file an image, and lists of the parts
coco.py    COCO: a json file a part
yolo.py    YOLO: a text file an image, and data.yaml
placed.py  what they share: each image's name in the folder, its size and boxes, and its file linked or copied

To add a writer, write a file with `write`, and add its line to WRITERS.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from tenfold.errors import UsageError, unknown
from tenfold.images.readers.folder import absolute
from tenfold.images.table import Table
from tenfold.images.writers import coco, voc, yolo
from tenfold.images.writers.placed import Place, Placed, copy_file, link_file, lost_ties, placed_images

__all__ = ["WRITERS", "Written", "write_boxes"]

Writer = Callable[[Sequence[Placed], Sequence[str], Path, Place], list[str]]
"""Images, classes by number, an empty folder, and what puts an image's file there -> notes on what is not held."""

WRITERS: dict[str, Writer] = {"voc": voc.write, "coco": coco.write, "yolo": yolo.write}


class Written(NamedTuple):
    """What was written."""

    images: int
    boxes: int
    notes: tuple[str, ...]
    """What was left out, and why, a sentence each."""


def write_boxes(table: Table, folder: str | os.PathLike[str], layout: str, *, copy: bool = False) -> Written:
    """Write the images of a table, their boxes and parts as `layout`, a name in WRITERS; the folder must not exist yet.

    The files of images are linked, or copied; a linked file is the same as the old one, so a program that changes it
    changes both. The folder is complete or absent. Coordinates come back as they were if they have at most 9 decimals
    (YOLO: 6, in images of up to 5,000 pixels); boxes that are not sound are written as they are. In COCO and
    YOLO, classes keep the order that the table's annotations declare, those without a box too. No layout has a place
    for groups, or for which images are augmented copies; the notes say so.

    Raises UsageError for another layout, a folder that is not empty, or a table that is not of files with boxes, and
    DataError where no image can be read.
    """
    if layout not in WRITERS:
        raise unknown("layout", layout, WRITERS)
    target = absolute(folder)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{target} is there already; give the name of a new folder.")
    images, notes = placed_images(table)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", ignore_cleanup_errors=True) as aside:
        made = Path(aside) / target.name
        made.mkdir()
        written = table.samples[table.samples["source"].isin({image.source for image in images})]
        notes += lost_ties(written) + WRITERS[layout](images, table.numbered, made, copy_file if copy else link_file)
        if target.exists():
            target.rmdir()
        made.rename(target)
    return Written(len(images), sum(len(image.labels) for image in images), tuple(notes))
