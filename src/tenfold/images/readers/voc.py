"""Pascal VOC: `Annotations/*.xml`, an image each, `JPEGImages/`, and lists of the parts in `ImageSets/Main/*.txt`.

The annotation goes with the image of its name; the XML files may as well lie beside the images, and images and folders
may be called otherwise and lie in folders train, valid and test. An object that is `difficult` is one to ignore. Images
in `trainval.txt` alone are training images. XML is read without its document types, as entities that are declared there
can fill the memory (https://docs.python.org/3/library/xml.html#xml-security).
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np

from tenfold.boxes import from_voc
from tenfold.errors import DataError
from tenfold.images.content import read_bytes
from tenfold.images.readers.annotated import (
    Annotated,
    Box,
    ImageFiles,
    annotated_table,
    annotation_files,
    folder_part,
    nested_folders,
    noted,
    number,
    one_part,
    walk_notes,
)
from tenfold.images.readers.folder import ENDINGS, NO_IMAGES, walk
from tenfold.images.readers.labels import composed
from tenfold.images.table import Table

CORNERS = ("xmin", "ymin", "xmax", "ymax")
LISTS = {"train": "train", "trainval": "train", "val": "validation", "test": "test"}
"""The lists of ImageSets/Main that are read -> the part of their images; the others are of single classes."""

_LINE = "line"  # the attribute in which the reader notes an element's line; VOC has no attributes of its own


class _Sheet(NamedTuple):
    """What one XML file says."""

    filename: str
    size: tuple[int, int] | None
    boxes: list[Box]


def recognizes(path: Path) -> bool:
    """True for a folder with XML files in it, or in folders that are called as those that hold annotations are."""
    return any(next(annotation_files(folder, (".xml",)), None) is not None for folder in nested_folders(path))


def read(path: Path) -> Table:
    """A table of all images that have an annotation; the others are named in its notes.

    Raises DataError, with the file and line, for an annotation that is damaged or does not say what it must.
    """
    found = walk(path)
    others = found.left.get(NO_IMAGES, [])
    sheets = _read_sheets(path, others)
    lists, twice = one_part(_lists(path, others))
    files = ImageFiles(path, found.names)
    images, lost = dict[str, Annotated](), list[str]()
    for name, sheet in sheets.items():
        own = sheet.filename if _key(sheet.filename) == _key(name) else name
        image = files.find(own, name) or files.find(sheet.filename, name)
        if image is None:
            lost.append(name)
        else:
            part = lists.get(_key(name)) if lists else folder_part(name)
            images[name] = Annotated(str(path / image), sheet.boxes, part, size=sheet.size)
    if not images:
        raise DataError(f"None of the {len(sheets)} annotations in {path} has an image there; the first is {lost[0]}.")
    used = {Path(image.source).relative_to(path).as_posix() for image in images.values()}
    keys = {_key(name) for name in sheets}
    notes = [
        *noted(f"Left out of {path}: annotations without an image", lost),
        *noted(f"Left out of {path}: images without an annotation", _unused(found.names, used, keys)),
        *noted("In several lists of ImageSets/Main, and put in the later part", twice),
        *noted("In a list of ImageSets/Main, without an annotation", set(lists) - keys),
        *walk_notes(path, found, [*sheets, *filter(_is_list, others)]),
    ]
    return annotated_table(path, images.values(), notes=notes)


def _read_sheets(root: Path, names: Iterable[str]) -> dict[str, _Sheet]:
    """What the XML files among these names say; those of another kind are left out."""
    read = {name: _read_sheet(root / name) for name in names if name.casefold().endswith(".xml")}
    sheets = {name: sheet for name, sheet in read.items() if sheet is not None}
    if not sheets:
        raise DataError(f"There are no Pascal VOC annotations in {root}: no XML file whose root is <annotation>.")
    return sheets


def _unused(names: Iterable[str], used: set[str], keys: set[str]) -> list[str]:
    """The images without an annotation; not the masks of VOC's segmentation, which have those of their images."""
    return [name for name in names if name not in used and _key(name) not in keys]


def _lists(root: Path, names: Iterable[str]) -> dict[str, set[str]]:
    """The names of images in each part, as the lists have them."""
    named: dict[str, set[str]] = {}
    for name in names:
        if _is_list(name):
            text = read_bytes(root / name).decode("utf-8-sig", "replace")
            lines = (line.strip() for line in text.split("\n"))
            named.setdefault(PurePosixPath(name).stem, set()).update(_key(line) for line in lines if line)
    lists: dict[str, set[str]] = {}
    both = named.get("train", set()) | named.get("val", set())
    for stem, listed in named.items():
        lists.setdefault(LISTS[stem], set()).update(listed - both if stem == "trainval" else listed)
    return lists


def _key(name: str) -> str:
    """What an image, its annotation and its line in a list have in common."""
    last = composed(PurePosixPath(name).name)
    return PurePosixPath(last).stem if last.casefold().endswith((*ENDINGS, ".xml")) else last


def _is_list(name: str) -> bool:
    pieces = PurePosixPath(name).parts
    return len(pieces) > 2 and pieces[-3:-1] == ("ImageSets", "Main") and pieces[-1].removesuffix(".txt") in LISTS


def _read_sheet(path: Path) -> _Sheet | None:
    """What a file says; None where it is an XML file of another kind."""
    root = _parse(path)
    if root.tag != "annotation":
        return None
    size = root.find("size")
    sides = [] if size is None else [_text(size, name) for name in ("height", "width")]
    said = tuple(int(side) if side.isdecimal() else 0 for side in sides)
    rows, labels = [], list[tuple[str, bool]]()
    for element in root.findall("object"):
        where = f"{path}, line {element.get(_LINE)}"
        label, corners = composed(_text(element, "name")), element.find("bndbox")
        if not label or corners is None:
            raise DataError(f"{where} has an object without {'a bndbox' if label else 'a name'}; it needs both.")
        rows.append([_corner(corners, name, path) for name in CORNERS])
        labels.append((label, _text(element, "difficult") == "1"))
    boxes = from_voc(np.array(rows, np.float64).reshape(-1, 4)).tolist()
    return _Sheet(
        _text(root, "filename"),
        (said[0], said[1]) if len(said) == 2 and all(said) else None,
        [Box(x1, y1, x2, y2, *about) for (x1, y1, x2, y2), about in zip(boxes, labels, strict=True)],
    )


def _corner(corners: Element, name: str, path: Path) -> float:
    element = corners.find(name)
    if element is None:
        raise DataError(
            f"{path}, line {corners.get(_LINE)} has a bndbox without {name}; it needs {', '.join(CORNERS)}."
        )
    return number((element.text or "").strip(), f"{path}, line {element.get(_LINE)}", name)


def _text(element: Element, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _parse(path: Path) -> Element:
    """The tree of an XML file, each element with the line it stands in. Raises DataError where it is damaged."""
    builder, parser = TreeBuilder(), expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(tag, {_LINE: str(parser.CurrentLineNumber)})

    def refuse(*_: object) -> None:
        raise DataError(
            f"{path}, line {parser.CurrentLineNumber} declares a document type, which is not read; delete it."
        )

    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(read_bytes(path), True)
    except expat.ExpatError as error:
        raise DataError(
            f"{path}, line {error.lineno} is damaged, or the file ends too early ({expat.ErrorString(error.code)}); "
            "put it right, or delete the file."
        ) from None
    except (ValueError, LookupError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as XML: {error}.") from error
    return builder.close()
