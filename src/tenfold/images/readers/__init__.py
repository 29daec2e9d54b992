"""Readers: a path or arrays -> Table.

labels.py       text as it is compared, the natural order of classes, the names of parts
text.py         text files, in UTF-8 or UTF-16
groups.py       groups from file names
folder.py       a folder for each class; also the walk that finds images to predict
voc.py          boxes as Pascal VOC has them: an XML file an image
coco.py         boxes as COCO has them: one json file, or one a part
yolo.py         boxes as YOLO has them: a text file an image
yolo_settings.py  what YOLO's data.yaml, or lists in its place, say: classes and parts
yolo_files.py   where YOLO's text files lie: the label file of each image, and the lists of classes
box_listing.py  boxes in CSV, TSV or Parquet with path,x1,y1,x2,y2,label[,group,part,ignore,copy_of], or as others have
annotated.py    what the readers of boxes share
places.py       where annotations of boxes may lie
reading.py      what annotations say before it is a Table; damaged ones, and several formats in one folder
listing.py      CSV, TSV or Parquet with path,label[,group,part,copy_of]
columns.py      the columns of listings, and what others call them
huggingface.py  Parquet in the Hugging Face image layout
digits.py       scikit-learn's handwritten digits, built in
arrays.py       images in memory

To add a reader, write a file with `recognizes` and `read`, and add its line to READERS.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.errors import DataError, UsageError, unknown
from tenfold.images.readers import box_listing, coco, digits, folder, huggingface, listing, voc, yolo
from tenfold.images.readers.annotated import is_image_folder, nested_folders, noted
from tenfold.images.readers.arrays import ArraySource, read_arrays
from tenfold.images.readers.folder import absolute, find_images, read_images, refuse_odd_names
from tenfold.images.readers.groups import group_by_name
from tenfold.images.readers.labels import composed, natural_order
from tenfold.images.readers.places import files_beside, files_near, folders_in, sets_among
from tenfold.images.readers.reading import Reading, joined_table
from tenfold.images.readers.text import no_text, read_start
from tenfold.images.readers.yolo_files import class_files

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

_GATHER = {"voc": voc.gather, "coco": coco.gather, "yolo": yolo.gather, "boxes": box_listing.gather}
"""Readers of which several may recognize a path: what each finds is joined, in this order."""

_ABOUT_BOXES = (".xml", ".json", ".txt", ".yaml", ".yml", ".csv")
"""Endings of files that may hold boxes, in a form that no reader knows."""

_LOOKED = 100  # images in class folders, spread over all, for which files of boxes are looked for
_YOLO_LINE = re.compile(r"\s*\d+(?:\s+[-+.\deE]+){4,}\s*")
_LINE = 2**12  # bytes of a line that are looked at

_PROSE = ("readme", "license", "licence", "requirements")


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
        refuse_odd_names([root])
        table = _read(Path(source).expanduser(), root, reader)
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


def _read(path: Path, root: Path, name: str) -> Table:
    """The table of a path that goes by `root` from the disk's root on."""
    if name != "auto":
        if name not in READERS:
            raise unknown("reader", name, ["auto", *READERS])
        return READERS[name].read(root)
    fitting = [reader for reader in _GATHER if READERS[reader].recognizes(path)] if path.is_dir() else []
    if len(fitting) > 1:
        table = _read_several(root, fitting)
    else:
        reader = _choose_reader(path)
        table = _read_folder(root) if reader.name == "folder" else reader.read(root)
    return replace(table, notes=(*table.notes, *_sets_note(root))) if fitting else table


def _read_several(root: Path, formats: Iterable[str]) -> Table:
    """The table of a folder with boxes in several formats; one that cannot be read is named in the notes."""
    readings, refused = dict[str, Reading](), dict[str, str]()
    for name in formats:
        try:
            readings[name] = _GATHER[name](root)
        except DataError as error:
            refused[name] = str(error)
    return joined_table(root, readings, refused)


def _read_folder(root: Path) -> Table:
    """The table of class folders; where there are none, or one alone, files that may hold boxes are pointed to."""
    try:
        table = folder.read(root)
    except DataError as error:
        hint = _boxes_hint(root)
        if not hint:
            raise
        raise DataError(f"{error} {hint}") from error
    if len(table.classes) > 1:
        hint = _unread_hint(root, table.samples["source"].tolist())
    else:
        own = {Path(source).parent for source in table.samples["source"]}
        hint = _boxes_hint(root, () if is_image_folder(table.classes[0]) else own)
    return replace(table, notes=(*table.notes, hint)) if hint else table


def _unread_hint(root: Path, sources: Sequence[str]) -> str:
    """A sentence on the boxes that half of the images in class folders or more have; empty where they have none.

    Files beside images may as well be what a program wrote of them, so the folders stay classes.
    """
    looked = sources[:: -(-len(sources) // _LOOKED)]
    yolo_way = f"put a data.yaml with the names of the classes into {root}"
    if any(map(class_files, nested_folders(root))):
        yolo_way = _naming("yolo")
    for ending, are_boxes, form, way in (
        (".xml", voc.looks_right, "Pascal VOC", _naming("voc")),
        (".txt", _is_yolo, "YOLO", yolo_way),
    ):
        found = (next(filter(are_boxes, files_beside(root, Path(source), ending)), None) for source in looked)
        files = [file for file in found if file]
        if 2 * len(files) >= len(looked):
            return (
                f"Folders are taken for classes, and no boxes are read; but {len(files)} of {len(looked)} images that "
                f"were looked at have some as {form} has them, as {files[0]}. To read boxes, {way}."
            )
    return ""


def _naming(reader: str) -> str:
    return f"name the reader {reader} (--reader {reader}; for train --data.reader {reader})"


def _is_yolo(file: Path) -> bool:
    """Whether a text file begins with a box of YOLO: a class by number, and the box in numbers."""
    try:
        return bool(_YOLO_LINE.fullmatch(read_start(file, _LINE).partition("\n")[0]))
    except OSError:
        return False


def _sets_note(root: Path) -> list[str]:
    """A sentence on folders that are taken for sets of boxes where they might be classes."""
    *_, last = nested_folders(root)
    names = [place.relative_to(root).as_posix() for place in sets_among(folders_in(last))]
    return noted("Folders of images beside annotations, taken for sets of boxes and not for classes", names)


def _boxes_hint(root: Path, but: Container[Path] = ()) -> str:
    """A sentence on the first file that may hold boxes and lies in none of these folders; empty where there is none."""
    files = (file for file in files_near(root, _ABOUT_BOXES) if not file.name.casefold().startswith(_PROSE))
    file = next((file for file in files if file.parent not in but), None)
    if file is None:
        return ""
    if file.suffix.casefold() == ".csv" and (trouble := no_text(file)):
        return f"No boxes are read: {trouble}"
    if box_listing.recognizes(file):
        return f"{file} may hold boxes, or regions of images; for boxes give its path, or name the reader boxes."
    return (
        f"If {file} holds boxes, it is in no form that is read: Pascal VOC (an XML file an image, its root "
        f"<annotation>), COCO json ({', '.join(coco.KEYS)}), YOLO (text files in a folder labels, or beside images "
        "with a classes.txt there or in the folder above), or a CSV with the columns path,x1,y1,x2,y2,label or "
        "filename,class,xmin,ymin,xmax,ymax."
    )


def _choose_reader(path: Path) -> Reader:
    for reader in READERS.values():
        if reader.recognizes(path):
            return reader
    if not path.exists():
        raise DataError(f"There is no file or folder {path}; give a folder, a listing, a Parquet file or digits.")
    raise DataError(
        f"{path} is none of what can be read: a folder with a folder for each class, a CSV, TSV or Parquet listing "
        "with path,label, Parquet with images, or boxes as Pascal VOC, COCO json, YOLO or CSV."
    )


def _with_classes(table: Table, classes: Sequence[str]) -> Table:
    order = tuple(composed(name) for name in classes)
    if len(set(order)) != len(order):
        raise UsageError("classes must not hold a class twice.")
    strange = natural_order(set(table.classes) - set(order))
    if strange:
        raise UsageError(f"classes must hold every label of the images; it lacks {', '.join(strange[:8])}.")
    return replace(table, classes=order, declared=order)
