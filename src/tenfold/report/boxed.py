"""What is drawn over a picture of an image with boxes, as vectors: those in question, and all the others.

Shapes: B boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tenfold.check.findings import Marked

NAMED = 3
"""Boxes in question whose labels are written on the picture."""

_BEYOND = 0.5  # of the image's sides: so far around it what lies outside of it is shown
_FEW = 0.04  # of the frame's longer side: a box up to that has a ring around it, or nobody would see it
_RING, _TEXT, _LETTER = 0.045, 0.045, 0.75  # a ring's radius, a letter's height, and its width by that

Frame = tuple[float, float, float, float]
"""x, y, width and height."""


class Mark(NamedTuple):
    """A box in question, in pixels of the image."""

    x: float
    y: float
    width: float
    height: float
    words: str
    """Its label and corners."""
    ring: tuple[float, float, float] | None
    """Center and radius of a ring around it, where it is too small to be seen."""
    label: tuple[float, float, str] | None
    """Where its label is written, and what; None where there are many."""


class Drawing(NamedTuple):
    """What is drawn over a picture."""

    size: tuple[int, int]
    """Width and height of the image in pixels."""
    frame: Frame
    """What is shown, in pixels of the image: all of it, and what lies around it where a box in question does."""
    boxes: int
    """How many boxes the image has."""
    others: str
    """The boxes that are not in question, as the path of an SVG."""
    marks: list[Mark]
    letter: float
    """Height of a letter in pixels of the image."""


def draw_over(size: tuple[int, int], boxes_xyxy: NDArray[np.float64], marked: Sequence[Marked]) -> Drawing:
    """What is drawn over an image of this width and height that has boxes [B, 4], of which some are in question."""
    doubtful = {(box.x1, box.y1, box.x2, box.y2) for box in marked}
    others = [box for box in boxes_xyxy.tolist() if tuple(box) not in doubtful]
    frame = _frame(size, marked)
    side = max(frame[2:])
    marks = [_mark(box, frame, named=place < NAMED) for place, box in enumerate(marked)]
    return Drawing(size, frame, len(boxes_xyxy), "".join(map(_outline, others)), marks, _short(_TEXT * side))


def _frame(size: tuple[int, int], marked: Sequence[Marked]) -> Frame:
    """The image and, up to _BEYOND of it on each side, the boxes in question."""
    left, right = _span(size[0], [side for box in marked for side in (box.x1, box.x2)])
    top, bottom = _span(size[1], [side for box in marked for side in (box.y1, box.y2)])
    return left, top, _short(right - left), _short(bottom - top)


def _span(length: float, sides: Sequence[float]) -> tuple[float, float]:
    """Where the frame begins and ends, of an image so long and boxes with these sides along it."""
    margin = _BEYOND * length
    return _short(max(min([0.0, *sides]), -margin)), _short(min(max([length, *sides]), length + margin))


def _mark(box: Marked, frame: Frame, *, named: bool) -> Mark:
    x, y = min(box.x1, box.x2), min(box.y1, box.y2)
    width, height = abs(box.x2 - box.x1), abs(box.y2 - box.y1)
    side = max(frame[2:])
    ring = None
    if max(width, height) <= _FEW * side:
        ring = _short(x + width / 2), _short(y + height / 2), _short(_RING * side)
    margin = _RING * side if ring else 0.0
    text = f"{box.label}{_beyond(x, y, width, height, frame)}"
    label = (*_place(x, y - margin, y + height + margin, len(text), frame), text) if named else None
    return Mark(_short(x), _short(y), _short(width), _short(height), str(box), ring, label)


def _beyond(x: float, y: float, width: float, height: float, frame: Frame) -> str:
    """An arrow to where a box lies that is not in the frame at all; empty for one that is."""
    left, top, right, bottom = frame[0], frame[1], frame[0] + frame[2], frame[1] + frame[3]
    out = {" →": x >= right, " ←": x + width <= left, " ↓": y >= bottom, " ↑": y + height <= top}
    return next((arrow for arrow, is_out in out.items() if is_out), "")


def _place(x: float, top: float, bottom: float, letters: int, frame: Frame) -> tuple[float, float]:
    """Where a text begins, its base line: above a box, or below or in it where the frame ends; always in the frame."""
    letter = _TEXT * max(frame[2:])
    left = min(max(x, frame[0]), max(frame[0] + frame[2] - letters * letter * _LETTER, frame[0]))
    base = top - 0.3 * letter
    if base - letter < frame[1]:
        base = bottom + 1.1 * letter
    return _short(left), _short(min(max(base, frame[1] + letter), frame[1] + frame[3] - 0.3 * letter))


def _outline(box: Sequence[float]) -> str:
    x1, y1, x2, y2 = (_short(side) for side in box)
    return f"M{x1:g} {y1:g}H{x2:g}V{y2:g}H{x1:g}z"


def _short(number: float) -> float:
    """A tenth of a pixel is enough to be seen."""
    return round(float(number), 1)
