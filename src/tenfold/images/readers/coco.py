"""COCO json: `annotations/*.json` beside folders of images; one file, or one for each part.

The part is in the file's name (instances_train2017.json) or its folder's (train/_annotations.coco.json). Of the files
of COCO itself, those called instances_* are read. `iscrowd` is a box to ignore; an image without a box has nothing in
it. Classes stand in the order of their ids, which may have gaps and are not kept, over all files (a name that has
several ids, by that in the first); those that no box has are declared and no more. An image with a damaged annotation
is left out, and named. The `area` that a box is given, as that of a mask, stays where it is another than the box's.
Where there is no `bbox`, polygons in `segmentation` are read as the box around them. In a folder, a file of images
without annotations, as one to be submitted is, is left out beside others.
https://cocodataset.org/#format-data
"""

from __future__ import annotations

import json
import mmap
import re
from collections import Counter
from collections.abc import Collection, Container, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeGuard

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import Boxes, box_areas, from_coco
from tenfold.errors import DataError
from tenfold.images.content import read_bytes
from tenfold.images.readers.annotated import (
    FARTHEST,
    Annotated,
    Box,
    ImageFiles,
    folder_part,
    merged,
    named_part,
    noted,
)
from tenfold.images.readers.folder import NO_IMAGES, walk
from tenfold.images.readers.labels import composed
from tenfold.images.readers.places import files_near
from tenfold.images.readers.reading import Reading, check_damage, table_of
from tenfold.images.readers.text import MARKS, decoded
from tenfold.images.table import Table

KEYS = ("images", "annotations", "categories")

_FOLDERS = ("ann", "label", "json", "bbox")
"""How folders begin whose json files describe the images beside them."""

_NO_AREAS = (
    "{:,} of {:,} boxes in {} are given an area that is no number of pixels above 0; theirs is that of the box, and "
    "pycocotools' figures for small, medium and large objects may be others."
)

_AROUND = "{:,} of {:,} boxes in {} are those around polygons, as no bbox is given."

_KEY = re.compile(rb'"(images|annotations|categories)"\s*:\s*\[')
_LARGEST = 1e10  # pixels; pycocotools knows no larger object
_ENDS = 2**16  # bytes at either end in which a key is looked for first, as a file may hold half a gigabyte


class _Sheet(NamedTuple):
    """What one json file says."""

    images: list[dict[str, Any]]
    boxes: dict[Any, list[Box]]
    """Image id -> its boxes."""
    classes: dict[str, Any]
    """Name -> id."""
    damaged: dict[Any, str]
    """Image id -> what is wrong with its annotations."""
    marked: int
    """Images with annotations, damaged or not."""
    unsized: int
    """Boxes with an area of their own that are given one that cannot be."""
    around: int
    """Boxes that are those around polygons."""
    strays: list[Any]
    """Ids of images that annotations name and the file does not describe, as one that was cut to fewer images has."""


def recognizes(path: Path) -> bool:
    """True for a json file with the keys of COCO, and for a folder with one."""
    if path.is_file():
        return path.suffix.casefold() == ".json" and _looks_right(path)
    return any(map(_looks_right, files_near(path, (".json",))))


def read(path: Path) -> Table:
    """A table of a json file or of all in a folder.

    Raises DataError, which names the file, for one that is damaged, and where most of the annotations are.
    """
    return table_of(gather(path))


def gather(path: Path) -> Reading:
    """What a json file says, or all in a folder."""
    root = _folder_of(path)
    found = walk(root)
    others = found.left.get(NO_IMAGES, [])
    names = [path.relative_to(root).as_posix()] if path.is_file() else _chosen(root, others)
    if not names:
        raise DataError(f"There is no COCO json in {path}: no file with the keys {', '.join(KEYS)}.")
    sheets = {name: _read_sheet(root / name) for name in names}
    wanted = (image["file_name"] for sheet in sheets.values() if sheet for image in sheet.images)
    files = ImageFiles(root, found.names, wanted)
    images, lost, declared, damaged, count = list[Annotated](), list[str](), dict[str, Any](), dict[str, str](), 0
    strays, unmarked = list[str](), list[str]()
    unsized = around = of = 0
    for name, sheet in sheets.items():
        part = _part(name)
        if sheet is None:
            unmarked.append(name)
            continue
        declared = sheet.classes | declared
        count, unsized, of = count + sheet.marked, unsized + sheet.unsized, of + sum(map(len, sheet.boxes.values()))
        around += sheet.around
        strays += (f"{name}, image {key!r}" for key in sheet.strays)
        wrong = dict(sheet.damaged)
        for image in sheet.images:
            file = files.find(image["file_name"], name, part, exact=True)
            why = wrong.pop(image["id"], None)
            if file is None:
                lost.append(image["file_name"])
            elif why:
                damaged[str(root / file)] = why
            else:
                own_part = part or folder_part(file)  # where the json tells of none, or of several
                images.append(Annotated(str(root / file), sheet.boxes[image["id"]], own_part, size=_size(image)))
        damaged |= {f"{name}, image {key!r}": why for key, why in wrong.items()}
    if len(unmarked) == len(names):
        raise _lacking(root / names[0], "annotations")
    check_damage(path, damaged, count)
    images, again = merged(root, images)
    if lost and not images:
        raise DataError(f"None of the {len(lost)} images of {path} is in {root}; the first is {lost[0]}.")
    used = {Path(image.source).relative_to(root).as_posix() for image in images}
    notes = [
        *noted(f"Left out of {path}: images that are not in {root}", set(lost)),
        *noted(f"Left out of {path}: files without a list of annotations", unmarked),
        *files.notes(),
        *noted(f"Left out of {path}: annotations of images that their file does not describe", strays),
        *again,
        *([_AROUND.format(around, of, path)] if around else []),
        *([_NO_AREAS.format(unsized, of, path)] if unsized else []),
    ]
    bare = [str(root / name) for name in found.names if name not in used]
    own = {str(root / name) for name in names}
    classes = sorted(declared, key=lambda name: _id_key(declared[name]))
    return Reading(path, root, found, images, own, bare, damaged, notes, classes)


def _folder_of(path: Path) -> Path:
    """The folder in which the images are looked for: of a json file in a folder for annotations the one above."""
    if path.is_dir():
        return path
    return path.parent.parent if path.parent.name.casefold().startswith(_FOLDERS) else path.parent


def _part(name: str) -> str | None:
    return named_part(name.rpartition("/")[2]) or folder_part(name)


def _chosen(root: Path, names: Iterable[str]) -> list[str]:
    """The files of COCO's form; of those of COCO itself, the same images with captions and key points are not read."""
    names = [name for name in names if name.casefold().endswith(".json") and _looks_right(root / name)]
    instances = [name for name in names if name.rpartition("/")[2].startswith("instances_")]
    return sorted(instances or names)


def _looks_right(path: Path) -> bool:
    """Whether a file has two of the keys with lists, or one and ends too early, which `read` then says."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as stored:
            content = stored[:].replace(b"\0", b"") if stored[:2] in MARKS else stored  # as letters of a byte
            ends = content[:_ENDS].lstrip(b"\xff\xfe\xef\xbb\xbf \t\r\n"), content[-_ENDS:].rstrip()
            if not ends[0].startswith(b"{") or not any(map(_KEY.search, ends)):
                return False
            return not ends[1].endswith(b"}") or len(set(_KEY.findall(content))) > 1
    except (OSError, ValueError):  # an empty file cannot be mapped
        return False


def _lacking(path: Path, key: str) -> DataError:
    return DataError(f"{path} has no list of {key}; COCO json needs {', '.join(KEYS)}.")


def _read_sheet(path: Path) -> _Sheet | None:
    """What a file says; None where it has no annotations at all, not even an empty list."""
    content = _parse(path)
    if isinstance(content, dict) and "annotations" not in content:
        return None
    lists = [content.get(key) if isinstance(content, dict) else None for key in KEYS]
    for key, found in zip(KEYS, lists, strict=True):
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise _lacking(path, key)
    images, annotations, categories = (list[dict[str, Any]](found or []) for found in lists)
    _check_ids(path, images, categories)
    classes = {category["id"]: composed(str(category["name"]).strip()) for category in categories}
    boxes: dict[Any, list[Box]] = {image["id"]: [] for image in images}
    sound, corners, damaged = list[dict[str, Any]](), list[list[float]](), dict[Any, str]()
    strays = _strays(path, annotations, boxes)
    for place, annotation in enumerate(annotations, 1):
        if _owner(annotation) in strays:
            continue
        try:
            corners.append(_corners(path, place, annotation, boxes, classes))
            sound.append(annotation)
        except DataError as error:  # the first of each image is told
            damaged.setdefault(_owner(annotation), str(error))
    found_boxes = from_coco(np.array(corners, np.float64).reshape(-1, 4))
    areas, unsized = _areas(sound, box_areas(found_boxes))
    for annotation, (x1, y1, x2, y2), area in zip(sound, found_boxes.tolist(), areas.tolist(), strict=True):
        label, ignore = classes[annotation["category_id"]], bool(annotation.get("iscrowd") or annotation.get("ignore"))
        boxes[annotation["image_id"]].append(Box(x1, y1, x2, y2, label, ignore, area))
    ids = {classes[place]: place for place in sorted(classes, key=_id_key, reverse=True)}  # of several the first
    marked = len({_owner(annotation) for annotation in annotations}.difference(strays))
    around = sum(not annotation.get("bbox") for annotation in sound)
    return _Sheet(images, boxes, ids, damaged, marked, unsized, around, list(strays))


def _strays(path: Path, annotations: Sequence[dict[str, Any]], images: Collection[object]) -> dict[Any, None]:
    """The ids of images that annotations name and the file does not describe.

    Raises DataError where no annotation is of an image that it does: the ids are of two kinds then, such as 1 and "1",
    and every image would be taken to show nothing.
    """
    owners = [annotation.get("image_id") for annotation in annotations]
    strays = {owner: None for owner in owners if _is_id(owner) and owner not in images}
    if images and strays and not any(_is_id(owner) and owner in images for owner in owners):
        place = next(place for place, owner in enumerate(owners) if _is_id(owner))
        raise DataError(
            f"{_where(path, place + 1, annotations[place])} has image_id {owners[place]!r}, which the file does not "
            "describe, and no other annotation has one that it does; give annotations the ids of their images."
        )
    return strays


def _where(path: Path, place: int, annotation: dict[str, Any]) -> str:
    return f"{path}, annotation {annotation.get('id', f'number {place}')!r}"


def _areas(annotations: Sequence[dict[str, Any]], own: Boxes) -> tuple[NDArray[np.float64], int]:
    """The areas that annotations give [B], NaN for those `own` of their boxes [B], or for none; and how many cannot be.

    Rounding is another area too: 1,024 px are small and medium, and a thousandth more is medium alone.
    """
    given = [annotation.get("area") for annotation in annotations]
    areas = np.array([value if _is_area(value) else np.nan for value in given], np.float64)
    impossible = np.array([value is not None and not _is_area(value) for value in given], bool) & (own > 0)
    return np.where(areas == own, np.nan, areas), int(impossible.sum())


def _is_area(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= _LARGEST


def _owner(annotation: dict[str, Any]) -> object:
    value = annotation.get("image_id")
    return value if _is_id(value) else repr(value)


def _parse(path: Path) -> Any:
    """The values of a json file. Raises DataError where it is damaged or holds NaN."""

    def refuse(text: str) -> NoReturn:
        raise DataError(f"{path} holds {text}, which is no number; put it right.")

    try:
        return json.loads(decoded(path, read_bytes(path)), parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}, line {error.lineno} is damaged, or the file ends too early ({error.msg}, column {error.colno}); "
            "get it again."
        ) from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as json: {error}.") from error


def _check_ids(path: Path, images: Sequence[dict[str, Any]], categories: Sequence[dict[str, Any]]) -> None:
    """Raise DataError for an image or category without an id of its own or a name."""
    for kind, name, items in (("image", "file_name", images), ("category", "name", categories)):
        for place, item in enumerate(items):
            if not _is_id(item.get("id")) or not _is_name(item.get(name), numbers=kind == "category"):
                raise DataError(f"{path}, {kind} {place + 1} lacks an id or a {name}; each needs both.")
        twice = [key for key, times in Counter(item["id"] for item in items).items() if times > 1]
        if twice:
            raise DataError(f"{path} has the {kind} id {twice[0]!r} more than once; give each its own.")


def _id_key(key: Any) -> tuple[bool, Any]:
    """What ids sort by: numbers, then text."""
    return isinstance(key, str), key


def _is_id(value: object) -> bool:
    return isinstance(value, int | float | str)  # pandas writes ids as 1.0, which is 1


def _is_name(value: object, *, numbers: bool) -> bool:
    return (isinstance(value, str) and bool(value.strip())) or (numbers and type(value) is int)


def _corners(
    path: Path, place: int, annotation: dict[str, Any], images: Container[object], classes: Container[object]
) -> list[float]:
    """The bbox of an annotation, or else that around its polygons.

    Raises DataError where there is neither, or the annotation is of an image or a class that is not there.
    """
    where = _where(path, place, annotation)
    for name, known in (("image_id", images), ("category_id", classes)):
        value = annotation.get(name)
        if not _is_id(value) or value not in known:
            raise DataError(f"{where} has {name} {value!r}, which the file does not describe; put it right.")
    bbox = annotation.get("bbox")
    found = bbox or _around(annotation.get("segmentation"))
    if not _are_pixels(found) or len(found) != 4:
        raise DataError(
            f"{where} has the bbox {bbox!r}; it must be four numbers, x, y, width and height; put it right."
        )
    return found


def _around(polygons: object) -> list[float] | None:
    """The bbox around polygons, each x, y, x, y ... of three points or more; None for anything else."""
    if not isinstance(polygons, list) or not polygons:
        return None
    if not all(_are_pixels(polygon) and len(polygon) > 5 and len(polygon) % 2 == 0 for polygon in polygons):
        return None
    xs, ys = ([value for polygon in polygons for value in polygon[start::2]] for start in (0, 1))
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _are_pixels(values: object) -> TypeGuard[list[float]]:
    """Whether that is a list of numbers that an image can have."""
    return isinstance(values, list) and all(
        isinstance(value, int | float) and abs(value) <= FARTHEST for value in values
    )


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    height, width = image.get("height"), image.get("width")
    return (height, width) if isinstance(height, int) and isinstance(width, int) and height > 0 < width else None
