"""Pascal VOC: `Annotations/*.xml`, an image each, `JPEGImages/`, and lists of the parts in `ImageSets/Main/*.txt`.

The annotation goes with the image of its name; the XML files may as well lie beside the images, and images and folders
may be called otherwise and lie in folders train, valid and test. An object that is `difficult` is one to ignore. Images
in `trainval.txt` alone are training images. An image whose annotation is damaged is left out, and named. XML is read
without its document types, as entities that are declared there can fill the memory
(https://docs.python.org/3/library/xml.html#xml-security).
http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
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
    folder_part,
    merged,
    noted,
    number,
    one_part,
    stem,
)
from tenfold.images.readers.folder import NO_IMAGES, walk
from tenfold.images.readers.labels import PART_NAMES, composed, natural_order
from tenfold.images.readers.places import files_near
from tenfold.images.readers.reading import Reading, check_damage, table_of
from tenfold.images.readers.text import decoded, read_text
from tenfold.images.table import Table

CORNERS = ("xmin", "ymin", "xmax", "ymax")
LISTS = {"trainval": "train", **PART_NAMES}
"""The lists of ImageSets/Main that are read -> the part of their images; the others are of single classes."""

_HOMES = ("ImageSets/Main", "ImageSets")
"""Where the lists lie, the first that holds one; other folders of ImageSets are of other tasks."""

_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_ELEMENT = re.compile(rb"<([^\s<>/!?]+)")
_OF_ITS_OWN = re.compile(rb"\s*<\?xml[^>]*encoding\s*=\s*['\"](?!utf)", re.IGNORECASE)  # an encoding, by its first line
_STRANGE = expat.errors.codes[expat.errors.XML_ERROR_INVALID_TOKEN]
_START = 2**12  # bytes of an XML file in which its root stands
_LINE = "line"  # the attribute in which the reader notes an element's line; VOC has no attributes of its own


class _Sheet(NamedTuple):
    """What one XML file says."""

    filename: str
    size: tuple[int, int] | None
    boxes: list[Box]


def recognizes(path: Path) -> bool:
    """True for a folder with XML files whose root is <annotation>, in it or in a folder below."""
    return any(map(looks_right, files_near(path, (".xml",))))


def read(path: Path) -> Table:
    """A table of all images that have an annotation; the others are named in its notes.

    Raises DataError, with the file and line, where most annotations are damaged or do not say what they must.
    """
    return table_of(gather(path))


def gather(path: Path) -> Reading:
    """What the annotations in a folder say."""
    found = walk(path)
    others = found.left.get(NO_IMAGES, [])
    files = ImageFiles(path, found.names, (name for name in others if name.casefold().endswith(".xml")))
    sheets, damaged = _read_sheets(path, others, files)
    home = next((home for home in _HOMES if any(_is_list(name, home) for name in others)), _HOMES[0])
    keys = {stem(name) for name in (*sheets, *damaged)}
    lists, twice = one_part(_lists(path, others, home, keys))
    images, lost = _images_of(sheets, files, lists)
    images, again = merged(path, images)
    if not images:
        first = lost[0] if lost else next(iter(damaged))
        raise DataError(
            f"None of the {len(sheets) + len(damaged)} annotations in {path} has an image there; the first is {first}."
        )
    used = {Path(image.source).relative_to(path).as_posix() for image in images}
    elsewhere = [name for name in others if _of_another_task(name)]
    notes = [
        *noted(f"Left out of {path}: annotations without an image", lost),
        *files.notes(),
        *again,
        *noted("In several lists of ImageSets/Main, and put in the later part", twice),
        *noted("In a list of ImageSets/Main, without an annotation", set(lists) - keys),
        *([] if lists else noted("Lists of parts that are not in ImageSets/Main, and are not read", elsewhere)),
    ]
    return Reading(
        path,
        path,
        found,
        images,
        {str(path / name) for name in (*sheets, *damaged, *elsewhere, *(one for one in others if _is_list(one, home)))},
        [str(path / name) for name in _unused(found.names, used, keys)],
        {str(path / (_image_of(name, files) or name)): why for name, why in damaged.items()},
        notes,
        [],
    )


def _images_of(
    sheets: dict[str, _Sheet], files: ImageFiles, lists: dict[str, str]
) -> tuple[list[Annotated], list[str]]:
    """The images that annotations are of, with their parts, and the annotations without an image."""
    images, lost = list[Annotated](), list[str]()
    for name, sheet in sheets.items():
        own = sheet.filename if stem(sheet.filename) == stem(name) else name
        part = folder_part(name)
        image = files.find(own, name, part, beside=True) or files.find(sheet.filename, name, part, beside=True)
        if image is None:
            lost.append(name)
        else:
            part = lists.get(stem(name)) if lists else part or folder_part(image)
            images.append(Annotated(str(files.root / image), sheet.boxes, part, size=sheet.size))
    return images, lost


def _read_sheets(root: Path, names: Iterable[str], files: ImageFiles) -> tuple[dict[str, _Sheet], dict[str, str]]:
    """What the XML files among these names say, and what is wrong with the damaged ones; other kinds are left out."""
    sheets, damaged = dict[str, _Sheet](), dict[str, str]()
    for name in natural_order(name for name in names if name.casefold().endswith(".xml")):
        try:
            sheet = _read_sheet(root / name)
        except DataError as error:
            if looks_right(root / name) or _image_of(name, files):
                damaged[name] = str(error)
        else:
            sheets.update({name: sheet} if sheet else {})
    if not sheets and not damaged:
        raise DataError(f"There are no Pascal VOC annotations in {root}: no XML file whose root is <annotation>.")
    check_damage(root, damaged, len(sheets) + len(damaged))
    return sheets, damaged


def looks_right(path: Path) -> bool:
    """Whether a file begins as an annotation does, damaged or not."""
    try:
        with path.open("rb") as file:
            start = file.read(_START).replace(b"\0", b"")  # which UTF-16 has between letters
    except OSError:
        return False
    root = _ELEMENT.search(_COMMENT.sub(b"", start))
    return root is not None and root[1] == b"annotation"


def _image_of(name: str, files: ImageFiles) -> str | None:
    """The image that an annotation has by its name, where that can be told."""
    try:
        return files.find(name, name, folder_part(name), beside=True)
    except DataError:
        return None


def _unused(names: Iterable[str], used: set[str], keys: set[str]) -> list[str]:
    """The images without an annotation; not the masks of VOC's segmentation, which have those of their images."""
    return [name for name in names if name not in used and stem(name) not in keys]


def _lists(root: Path, names: Iterable[str], home: str, keys: Collection[str]) -> dict[str, set[str]]:
    """The names of images in each part, as the lists in a folder called `home` have them.

    A line is the name of an annotation, one of `keys`, as it stands, as photo.jpg of photo.jpg.xml, or else without its
    ending.
    """
    named: dict[str, set[str]] = {}
    for name in names:
        if _is_list(name, home):
            lines = (composed(line.strip()) for line in read_text(root / name).split("\n"))
            own = (line if line in keys else stem(line) for line in lines if line)
            named.setdefault(PurePosixPath(name).stem, set()).update(own)
    lists: dict[str, set[str]] = {}
    both = set[str]().union(*(named[name] for name in named if LISTS[name] != "test" and name != "trainval"))
    for name, listed in named.items():
        lists.setdefault(LISTS[name], set()).update(listed - both if name == "trainval" else listed)
    return lists


def _is_list(name: str, home: str) -> bool:
    pieces = PurePosixPath(name).parts
    inside = "/".join(pieces[:-1])
    return f"/{inside}".endswith(f"/{home}") and pieces[-1].removesuffix(".txt") in LISTS


def _of_another_task(name: str) -> bool:
    """Whether a file is a list of parts in another folder of ImageSets than those that are read."""
    pieces = PurePosixPath(name).parts
    listed = len(pieces) > 2 and pieces[-3] == "ImageSets" and pieces[-1].removesuffix(".txt") in LISTS
    return listed and pieces[-2] != "Main"


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
    content = read_bytes(path)
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        if error.code == _STRANGE and not _OF_ITS_OWN.match(content):
            decoded(path, content)  # says so where the bytes are no text
        raise DataError(
            f"{path}, line {error.lineno} is damaged, or the file ends too early ({expat.ErrorString(error.code)}); "
            "put it right, or delete the file."
        ) from None
    except (ValueError, LookupError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as XML: {error}.") from error
    return builder.close()
