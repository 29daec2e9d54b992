"""YOLO: `images/` beside `labels/`, a text file an image, and a `data.yaml` with the classes and the parts' folders.

A line of a label file is `class x y width height`: the class by number, then the center and the sides of the box as
shares of the upright image's width and height. An empty label file says that there is nothing in the image; so does,
as with Ultralytics, a missing one, but these are counted in a note. Polygons, `class x y x y x y ...`, are read as the
boxes around them; keypoints, where the yaml has `kpt_shape`, are left out. Labels may lie beside the images too, and in
other folders called labels (yolo_files.py). Without a data.yaml the classes are those of classes.txt, there or in the
folders of labels, and the parts those of train.txt and its like, if any. Classes stand in the order of their numbers;
those that no box has are declared, so that the others keep their numbers. An image whose label file is damaged is left
out, and named; labels in pixels are refused. CVAT's and darknet's forms, `obj.names` beside folders such as
`obj_train_data` or `obj`, are read as well.
https://docs.ultralytics.com/datasets/detect/
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tenfold.boxes import from_yolo
from tenfold.errors import DataError
from tenfold.images.readers.annotated import (
    Annotated,
    Box,
    folder_part,
    nested_folders,
    noted,
    number,
    one_part,
    upright_size,
)
from tenfold.images.readers.folder import walk
from tenfold.images.readers.labels import PART_NAMES
from tenfold.images.readers.reading import Reading, check_damage, table_of
from tenfold.images.readers.text import read_text
from tenfold.images.readers.yolo_files import (
    CLASS_FILES,
    DARKNET,
    darknet_folders,
    has_labels,
    label_folders,
    pair_labels,
)
from tenfold.images.readers.yolo_settings import Settings, is_settings, read_settings, settings_files
from tenfold.images.table import Table

_MOST = 10_000  # classes without names
_FAR = 4  # shares of a side; a box with more is in pixels, where hardly any has less, or lies far outside

_KITTI = (15, 16)  # values in a line, the last the score of a detection
_DIGIT = re.compile(r"[-+.\d]")

_DARKNET_FILES = ("obj.data", *(f"{part}.txt" for part in PART_NAMES))


class _Labels(NamedTuple):
    """What one label file says: the class of each box, and its center and sides as shares of the image."""

    file: Path | None
    classes: list[int]
    shares: list[list[float]]
    polygons: int = 0


def recognizes(path: Path) -> bool:
    """True for a yaml file that names classes, a folder with one, and a folder with label files: see `has_labels`."""
    if path.is_file():
        return is_settings(path)
    return any(settings_files(folder) or has_labels(folder) for folder in nested_folders(path))


def read(path: Path) -> Table:
    """A table of all images of the parts, and of those elsewhere that have a label file.

    Raises DataError, with the file and line, where most labels are damaged or of a class that has no name.
    """
    return table_of(gather(path))


def gather(path: Path) -> Reading:
    """What the label files of a folder, or of the images that a yaml file names, say."""
    settings = read_settings(path)
    base, names = settings.base, settings.names
    found = walk(base)
    listed: set[str] = set().union(*settings.lists.values())
    files, strays = pair_labels(base, found, sorted(listed.union(str(base / name) for name in found.names)))
    known = settings.file is not None or (names and any(files.values()))
    if not known and not any(map(has_labels, nested_folders(path))):
        raise DataError(
            f"There are no YOLO labels in {path}: neither a data.yaml nor text files in a folder labels, nor beside "
            "images with a classes.txt there or in the folder above."
        )
    if strays and not any(files.values()):
        raise DataError(
            f"None of the {len(strays)} label files in {base} goes with an image of its own; the first is {strays[0]}. "
            "Give each the name of its image, and put them into labels beside images, or beside the images."
        )
    chosen = [source for source, file in files.items() if file or not listed or source in listed]
    labels, damaged = _sound_labels(path, settings, {source: files[source] for source in chosen})
    parts, notes = _parts(settings, chosen)
    images, unread = _in_pixels(labels, names, parts)
    notes = [
        *unread,
        *noted(f"Folders and images of parts that {path} names and that are not there", settings.lost),
        *noted(f"Left out of {base}: label files without an image of their own", strays),
        *noted("Label files that were taken for several images", _shared(files, base)),
        *notes,
        *([] if names else [f"Nothing in {path} names the classes, so they go by number."]),
        *(["Polygons are read as the boxes around them."] if any(label.polygons for label in labels.values()) else []),
        *(["Keypoints are left out; the boxes alone are read."] if settings.keypoints else []),
    ]
    used = {str(file) for file in (settings.file, *settings.read, *files.values(), *map(base.joinpath, strays)) if file}
    used |= {str(file.with_name("obj.data")) for file in settings.read}  # darknet's own settings
    around = [place for folder in nested_folders(base) for place in (folder, *label_folders(folder))]
    used |= {str(folder / name) for folder in around for name in CLASS_FILES}
    used |= {str(folder / name) for folder in around if darknet_folders(folder) for name in _DARKNET_FILES}
    bare = [source for source in chosen if files[source] is None]
    classes = names or _numbers(labels.values())
    return Reading(path, base, found, images, used, bare, damaged, notes, classes, named=bool(names))


def _shared(files: Mapping[str, Path | None], base: Path) -> list[str]:
    """The label files of several images, as a.txt is of a.jpg and a.png."""
    counted = Counter(file for file in files.values() if file)
    return [_below(str(file), base) for file, times in counted.items() if times > 1]


def _numbers(labels: Iterable[_Labels]) -> list[str]:
    """The numbers of classes up to the highest, so that each keeps its own; none where they are no count of classes."""
    highest = max((kind for label in labels for kind in label.classes), default=-1)
    return list(map(str, range(highest + 1))) if highest < _MOST else []


def _sound_labels(
    path: Path, settings: Settings, files: dict[str, Path | None]
) -> tuple[dict[str, _Labels], dict[str, str]]:
    """What the label files of images say, and what is wrong with the damaged ones."""
    labels, damaged = dict[str, _Labels](), dict[str, str]()
    for source, file in files.items():
        try:
            labels[source] = _read_labels(file, len(settings.names), settings.keypoints)
        except DataError as error:
            damaged[source] = str(error)
    check_damage(path, damaged, len(damaged) + sum(bool(label.classes) for label in labels.values()))
    _refuse_pixels(path, labels.values())
    return labels, damaged


def _refuse_pixels(path: Path, labels: Iterable[_Labels]) -> None:
    """Raise DataError where most boxes are in pixels; a few that lie outside of their images are for `check`."""
    boxes = [(label.file, values) for label in labels for values in label.shares]
    far = [(file, values) for file, values in boxes if max(values) > _FAR]
    if 2 * len(far) > len(boxes):
        file, values = far[0]
        raise DataError(
            f"{len(far):,} of {len(boxes):,} boxes in {path} have a value above {_FAR}, so they look like pixels; the "
            f"first, in {file}, is {' '.join(f'{value:g}' for value in values)}. Give the center, the width and the "
            "height as shares of the image's sides, from 0 to 1."
        )


def _parts(settings: Settings, sources: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The part of each image that has one, and what is to be said of it."""
    lists = settings.lists
    if settings.file is None and len(lists) == 1 and set().union(*lists.values()).issuperset(sources):
        lists = {}  # darknet has to have a list, also where nobody chose parts
    if not lists:
        named = ((source, _place_part(_below(source, settings.base))) for source in sources)
        parts = {source: part for source, part in named if part}
        # CVAT writes obj_train_data where nobody chose parts.
        return ({} if settings.file is None and _is_darknet(parts) and len(set(parts.values())) == 1 else parts), []
    alike = [part for part, images in lists.items() if images == lists.get("train")]
    undecided = len(alike) > 1  # small examples name one folder twice, as Ultralytics wants both parts
    parts, twice = one_part({part: images for part, images in lists.items() if not undecided or part not in alike})
    return parts, [
        *([f"{' and '.join(alike)} are the same images, which are in no part yet."] if undecided else []),
        *noted("In several parts, and put in the later one", (_below(source, settings.base) for source in twice)),
    ]


def _place_part(name: str) -> str | None:
    """The part that the folders of a relative path name, those of darknet too."""
    matches = (DARKNET.fullmatch(folder.casefold()) for folder in name.split("/")[:-1])
    return folder_part(name) or next((PART_NAMES.get(match[1]) for match in matches if match), None)


def _is_darknet(sources: Iterable[str]) -> bool:
    return all(any(DARKNET.fullmatch(piece.casefold()) for piece in Path(source).parts) for source in sources)


def _in_pixels(
    labels: dict[str, _Labels], names: Sequence[str], parts: dict[str, str]
) -> tuple[list[Annotated], list[str]]:
    """The images with their boxes, and which cannot be read: boxes in shares need the image's size.

    Such an image stays, without its boxes, so that a check names it; whatever takes it has to decode it first, and so
    leaves it out.
    """
    images, unread = list[Annotated](), list[str]()
    for source, label in labels.items():
        try:
            size = upright_size(source) if label.classes else (1, 1)
        except DataError as error:
            unread.append(f"The boxes of an image cannot be placed, and it is to be left out: {error}")
            images.append(Annotated(source, [], parts.get(source)))
            continue
        boxes = from_yolo(np.array(label.shares, np.float64).reshape(-1, 4), *size).tolist()
        named = [names[place] if names else str(place) for place in label.classes]
        found = [Box(x1, y1, x2, y2, name) for (x1, y1, x2, y2), name in zip(boxes, named, strict=True)]
        images.append(Annotated(source, found, parts.get(source)))
    return images, unread


def _read_labels(path: Path | None, classes: int, keypoints: int) -> _Labels:
    """What a label file says, of so many `classes`, 0 where nothing names them; boxes may have values of keypoints."""
    labels = _Labels(path, [], [])
    for place, line in enumerate(read_text(path).split("\n") if path else (), 1):
        cells = line.split()
        if not cells:
            continue
        where = f"{path}, line {place}"
        if len(cells) in _KITTI and not _DIGIT.match(cells[0]):
            raise DataError(
                f"{where} looks like KITTI, the name of a class and {len(cells) - 1} values, which is not read; "
                "convert the labels to YOLO, Pascal VOC or COCO json."
            )
        _check_length(len(cells), keypoints, where)
        kind, *values = (number(cell, where, "the value") for cell in (cells[:5] if keypoints else cells))
        if kind != int(kind) or kind < 0 or (classes and kind >= classes):
            highest = f"to {classes - 1}" if classes else "on"
            raise DataError(
                f"{where} has the class {cells[0]}; it must be a whole number from 0 {highest}; put it right."
            )
        if len(values) > 4:
            low, high = np.reshape(values, (-1, 2)).min(0), np.reshape(values, (-1, 2)).max(0)
            values = [*((low + high) / 2).tolist(), *(high - low).tolist()]
            labels = labels._replace(polygons=labels.polygons + 1)
        labels.classes.append(int(kind))
        labels.shares.append(values)
    return labels


def _check_length(count: int, keypoints: int, where: str) -> None:
    """Raise DataError unless a line of so many values can be a box, or a polygon where boxes have no keypoints."""
    if count == 5 or (count == 5 + keypoints if keypoints else count >= 7 and count % 2):
        return
    box = "a box has five, class, x, y, width and height"
    if keypoints:
        raise DataError(f"{where} has {count} values; {box}, and {keypoints} more by kpt_shape; put it right.")
    if count == 6:
        raise DataError(f"{where} has 6 values; {box}. The sixth may be the score of a detection; take it away.")
    raise DataError(
        f"{where} has {count} values; {box}, and a polygon the class and three points or more; put it right."
    )


def _below(source: str, base: Path) -> str:
    """A path as seen from the base where it lies below it."""
    return source.removeprefix(f"{base}{os.sep}").replace(os.sep, "/")
