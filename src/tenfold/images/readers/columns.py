"""Columns of a listing: by which of our names each goes, also where another program called it otherwise.

TensorFlow's examples and Roboflow write filename,width,height,class,xmin,ymin,xmax,ymax, others image_path or
class_name. A file with scores is what some detector found: it is taken for annotations in our own names alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tenfold.errors import DataError

CORNERS = ("x1", "y1", "x2", "y2")
SIDES = ("width", "height")
"""An image's, which the files of others have beside the corners of each box."""

_OTHERS = {
    "path": ("filename", "file_name", "image_path", "filepath", "file_path", "image_name", "image", "file"),
    "label": ("class", "class_name", "cell_type", "category"),
}
_OTHER_CORNERS = (("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"))
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


def taken_note(path: Path, taken: Mapping[str, str]) -> list[str]:
    """A sentence on which columns of others were taken as what; none where there are none."""
    words = ", ".join(f"{name} as {own}" for name, own in taken.items())
    return [f"Columns of {path} that are taken by our names: {words}."] if taken else []


def first_pixel(path: Path, rows: Iterable[Mapping[str, str]]) -> int:
    """The number that the first pixel has in a file with corners of others: 1 or 0.

    Such files are mostly made of Pascal VOC's XML, number by number, and so count from 1, both ends inside. That some
    corner is below 1 tells that this one counts from 0. Raises DataError where all corners are shares of the image.
    """
    low, high = math.inf, -math.inf
    for cells in rows:
        values = [_value(cells.get(name, "")) for name in CORNERS]
        low, high = min(low, *values[:2]), max(high, *values)  # which take no NaN but as the first
    if 0 < high <= 1 and low < 1:  # a click into the first pixel is 1, 1, 1, 1
        raise DataError(
            f"No corner in {path} is above 1, so they look like shares of the image's sides; give them in pixels."
        )
    return 0 if low < 1 else 1


def counted_note(path: Path, first: int) -> str:
    """How the corners of others are taken."""
    if first:
        return (
            f"Corners in {path} are taken as Pascal VOC has them, from which such files come: pixels counted from 1, "
            "both ends inside."
        )
    return f"Corners in {path} are taken as edges in pixels from 0, as some lie below 1, where Pascal VOC has none."


def _value(text: str) -> float:
    """A number; NaN where there is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
