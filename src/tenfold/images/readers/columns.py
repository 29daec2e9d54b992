"""Columns of a listing: by which of our names each goes, also where another program called it otherwise.

TensorFlow's examples and Roboflow write filename,width,height,class,xmin,ymin,xmax,ymax, others image_path, image_id
or class_name. A file with scores is what some detector found: it is taken for annotations in our own names alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tenfold.boxes import CORNERS
from tenfold.errors import DataError

SIDES = ("width", "height")
"""An image's, which the files of others have beside the corners of each box."""

_OTHERS = {
    "path": (
        *("filename", "file_name", "image_path", "filepath", "file_path", "image_name", "image", "file"),
        *("img", "image_id", "imageid"),
    ),
    "label": ("class", "class_name", "cell_type", "category"),
}
_OTHER_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"))
_ROW_NUMBERS = ("", "unnamed: 0", "index", "id")
_SCORES = ("score", "confidence", "probability")


def renamed(header: Sequence[str]) -> dict[str, str]:
    """Which columns of a header, in lower case, are ours under another name: what the file calls each -> our name.

    Ours count where both are there, and of corners all four have to be there.
    """
    if set(_SCORES).intersection(header):
        return {}
    found = dict[str, str]()
    for own, others in _OTHERS.items():
        other = None if own in header else next((name for name in others if name in header), None)
        found |= {other: own} if other else {}
    for corners in () if set(CORNERS).intersection(header) else _OTHER_CORNERS:
        if set(corners) <= set(header):
            return found | dict(zip(corners, CORNERS, strict=True))
    return found


def has_other_corners(taken: Mapping[str, str]) -> bool:
    """Whether the corners are among the columns that were `renamed`."""
    return CORNERS[0] in taken.values()


def is_of_one_class(header: Sequence[str], taken: Mapping[str, str], known: Sequence[str]) -> bool:
    """Whether a header by our names, with corners of others, has no column of classes, nor any that may be one."""
    rest = set(header).difference(known, SIDES, _ROW_NUMBERS)
    return has_other_corners(taken) and "path" in header and "label" not in header and not rest


def taken_note(path: Path, taken: Mapping[str, str]) -> list[str]:
    """A sentence on which columns of others were taken as what; none where there are none."""
    words = ", ".join(f"{name} as {own}" for name, own in taken.items())
    return [f"Columns of {path} that are taken by our names: {words}."] if taken else []


class Counting(NamedTuple):
    """From where the corners of others count."""

    first: int
    """The number of the first pixel, 1 or 0."""
    note: str


def count_corners(path: Path, files: Mapping[Path, Iterable[tuple[int, Mapping[str, str]]]]) -> Counting:
    """From which number pixels count in files with corners of others, which are taken to be of one mind.

    files: file -> its rows, each with its number and its cells; `path` is what they are read for.

    Such files are mostly made of Pascal VOC's XML, number by number, and so count from 1, both ends inside. That a box
    begins below 1 tells that they count from 0; a row whose corners are damaged, or no box from 0, tells nothing.
    Raises DataError where all corners of a file are shares of the image.
    """
    below = list[str]()
    number = 0
    for file, rows in files.items():
        sound = {place: box for place, cells in rows if (box := _sound_box(cells))}
        if sound and 0 < max(max(box) for box in sound.values()) <= 1:
            raise DataError(
                f"No corner in {file} is above 1, so they look like shares of the image's sides; give them in pixels."
            )
        number += len(sound)
        below += [
            f"row {place} of {file} has {','.join(f'{value:g}' for value in box)}"
            for place, box in sound.items()
            if min(box[:2]) < 1
        ]
    if not below:
        return Counting(
            1,
            f"Corners in {path} are taken as Pascal VOC has them, from which such files come: pixels counted from 1, "
            "both ends inside.",
        )
    return Counting(
        0,
        f"Corners in {path} are taken as edges in pixels from 0, as {len(below):,} of {number:,} boxes begin below 1, "
        f"where Pascal VOC has none: {below[0]}.",
    )


def _sound_box(cells: Mapping[str, str]) -> tuple[float, ...] | None:
    """The corners of a row, counted from 0; None where they are damaged or no box."""
    try:
        x1, y1, x2, y2 = box = tuple(float(cells.get(name, "")) for name in CORNERS)
    except ValueError:
        return None
    return box if x1 < x2 and y1 < y2 and all(map(math.isfinite, box)) else None
