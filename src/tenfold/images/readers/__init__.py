"""Readers: a path or arrays -> Table.

labels.py       text, the natural order of classes, the names of parts
groups.py       groups from file names
folder.py       a folder for each class; also the walk that finds images to predict
voc.py          boxes as Pascal VOC has them: an XML file an image
coco.py         boxes as COCO has them: one json file, or one a part
yolo.py         boxes as YOLO has them: a text file an image
yolo_settings.py  what YOLO's data.yaml says: classes and parts
box_listing.py  boxes in a CSV, TSV or Parquet with path,x1,y1,x2,y2,label[,group,part,ignore]
annotated.py    what the readers of boxes share
listing.py      CSV, TSV or Parquet with path,label[,group,part]
huggingface.py  Parquet in the Hugging Face image layout
digits.py       scikit-learn's handwritten digits, built in
arrays.py       images in memory

To add a reader, write a file with `recognizes` and `read`, and add its line to READERS.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.errors import DataError, UsageError, unknown
from tenfold.images.readers import box_listing, coco, digits, folder, huggingface, listing, voc, yolo
from tenfold.images.readers.arrays import ArraySource, read_arrays
from tenfold.images.readers.folder import absolute, find_images, read_images
from tenfold.images.readers.groups import group_by_name
from tenfold.images.readers.labels import composed, natural_order

if TYPE_CHECKING:
    from tenfold.images.table import Table

__all__ = ["READERS", "Reader", "find_images", "read_images", "read_table"]


@dataclass(frozen=True)
class Reader:
    """One layout on the disk."""

    name: str
    recognizes: Callable[[Path], bool]
    """Whether a path looks like this layout; cheap, and never raises."""
    read: Callable[[Path], Table]
    """The table of an absolute path. Raises DataError where the path is not in this layout after all."""


READERS: dict[str, Reader] = {  # in the order in which they are tried
    "digits": Reader("digits", digits.recognizes, digits.read),
    "huggingface": Reader("huggingface", huggingface.recognizes, huggingface.read),
    "voc": Reader("voc", voc.recognizes, voc.read),
    "coco": Reader("coco", coco.recognizes, coco.read),
    "yolo": Reader("yolo", yolo.recognizes, yolo.read),
    "boxes": Reader("boxes", box_listing.recognizes, box_listing.read),
    "listing": Reader("listing", listing.recognizes, listing.read),
    "folder": Reader("folder", folder.recognizes, folder.read),
}

BOX_FORMATS = ("voc", "coco", "yolo")
"""Readers of which only one may recognize a path: the boxes of another format must not be left out in silence."""


def read_table(
    source: str | os.PathLike[str] | ArraySource,
    reader: str = "auto",
    *,
    labels: Iterable[Any] | None = None,
    groups: Iterable[Any] | None = None,
    group_pattern: str = "",
    classes: Sequence[str] | None = None,
) -> Table:
    """A table of images, one row a sample; nothing is decoded.

    source: a folder, a listing, a Parquet file, "digits" (built in), or images in memory: see `read_arrays`.
    reader: a name in READERS; auto takes the first that recognizes the path.
    labels, groups: one an image, for images in memory only.
    group_pattern: a regular expression on the file name; what its first bracket matches is the image's group.
    classes: the classes and their order; by default those that occur, in natural order.

    Raises UsageError for an argument that is not allowed, DataError for data that cannot be read.

    >>> import tenfold
    >>> table = tenfold.read_table("digits")
    >>> len(table), table.classes[:3]
    (1797, ('0', '1', '2'))
    """
    if isinstance(source, str | os.PathLike):
        if labels is not None or groups is not None:
            raise UsageError("labels and groups are for images in memory; a path's reader finds its own.")
        root = absolute(source)
        table = _choose_reader(Path(source).expanduser(), reader).read(root)
    else:
        if reader != "auto":
            raise UsageError(f"reader must be auto for images in memory, not {reader!r}.")
        root = Path.cwd()
        table = read_arrays(source, labels, groups, classes)
    if classes is not None:
        table = _with_classes(table, classes)
    if group_pattern:
        table = group_by_name(table, root if root.is_dir() else root.parent, group_pattern)
    return table


def _choose_reader(path: Path, name: str) -> Reader:
    if name != "auto":
        if name not in READERS:
            raise unknown("reader", name, ["auto", *READERS])
        return READERS[name]
    fitting = [reader for reader in BOX_FORMATS if READERS[reader].recognizes(path)]
    if len(fitting) > 1:
        raise DataError(
            f"{path} has annotations in several formats, {' and '.join(fitting)}; say with reader which are meant, or "
            "keep one format in a folder."
        )
    for reader in READERS.values():
        if reader.recognizes(path):
            return reader
    if not path.exists():
        raise DataError(f"There is no file or folder {path}; give a folder, a listing, a Parquet file or digits.")
    raise DataError(
        f"{path} is none of what can be read: a folder with a folder for each class, a CSV, TSV or Parquet listing "
        "with path,label, Parquet with images, or boxes as Pascal VOC, COCO json or YOLO."
    )


def _with_classes(table: Table, classes: Sequence[str]) -> Table:
    order = tuple(composed(name) for name in classes)
    if len(set(order)) != len(order):
        raise UsageError("classes must not hold a class twice.")
    strange = natural_order(set(table.classes) - set(order))
    if strange:
        raise UsageError(f"classes must hold every label of the images; it lacks {', '.join(strange[:8])}.")
    return replace(table, classes=order)
