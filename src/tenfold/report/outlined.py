"""Boxes over a picture of the page, as vectors: a line of its own for each kind, and words where there is room.

Lines differ by their dashes and widths too, for eyes that see few colors and for paper. The words of a box are its
tooltip as well, so that no room on the picture loses none of them.

Shapes: B boxes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tenfold.report.labels import place_labels

MOST = 400
"""Boxes drawn over one picture, the first ones: of more nobody could tell one from another, and the page would grow."""
MOST_LABELS = 40
"""The same of labels."""
FEW = 10
"""Up to so many labels the letters are large, and may hide more."""

_LETTER, _SMALL = 11.5, 9.0  # height of a letter in pixels of the page
_PAD = 0.3  # of a letter, on each side of a text
_TALL = 1.3  # height of a text's ground in letters
_HIDDEN, _CROWDED = 0.4, 0.15  # how much of a box a text may hide, where there are few texts and where many
_LONGEST = 22  # letters of a class's name on a picture
_SHARP, _MOST_SIDE = 1.5, 640  # pixels of a picture by pixel of the page, up to so many
_AROUND = 0.6  # of the longer side of what is in question: how much is shown on each side of it
_LEAST = 0.12  # of the image's longer side: the least that is shown
_THIN, _WIDE = frozenset("iljtfrI.,:;'|!()[] "), frozenset("mwMW@%…")

Corners = tuple[float, float, float, float]
"""xyxy in pixels of the image."""


class Line(NamedTuple):
    """How the boxes of one kind are drawn; lengths are pixels of the page."""

    color: str
    width: float
    dashes: tuple[float, ...]
    """On and off in turns; none: solid. With no length and round ends a dash is a dot."""
    ground: str
    """Color of a solid line below it, so that it is seen on any image."""
    around: float
    """How much wider that is."""
    tag: str
    """Color below its words."""
    text: str


LINES = {
    "true": Line("#ffffff", 1.3, (3.5, 3.5), "#000000", 0.0, "#ffffff", "#000000"),
    "found": Line("#0072b2", 2.0, (), "#ffffff", 1.6, "#005f96", "#ffffff"),
    "missed": Line("#f0b000", 3.6, (0.0, 5.4), "#000000", 0.8, "#f0b000", "#000000"),
    "false": Line("#d55e00", 2.8, (8.0, 4.0), "#ffffff", 1.2, "#b84f00", "#ffffff"),
}
"""Kind -> line, in the order in which they are drawn. Okabe and Ito's colors; words have a contrast of 4.5 and more."""


class Box(NamedTuple):
    """A box to be drawn."""

    kind: str
    """One of LINES."""
    corners: Corners
    words: str
    """All that is said of it."""
    label: str = ""
    """What is written at it on the picture, where there is room; nothing: nothing."""


class Outline(NamedTuple):
    """A box as it is drawn."""

    x: float
    y: float
    width: float
    height: float
    words: str


class Tag(NamedTuple):
    """A label as it is drawn, on a ground."""

    kind: str
    x: float
    y: float
    width: float
    text: str


class Outlined(NamedTuple):
    """A picture with boxes over it."""

    address: str
    """Empty where the image cannot be shown."""
    image: Corners
    """x, y, width and height of what the picture shows, in pixels of the image."""
    unit: float
    """Pixels of the image by pixel of the page, where the picture is as wide as is usual."""
    letter: float
    """Height of a letter in pixels of the image."""
    outlines: dict[str, list[Outline]]
    """Kind -> its boxes, in the order of LINES."""
    tags: list[Tag]
    left_out: int
    """Boxes beyond MOST."""

    @property
    def frame(self) -> Corners:
        """x, y, width and height of the drawing: a line's width more than the image, for boxes at its border."""
        x, y, width, height = self.image
        rim = 2 * self.unit
        return _short(x - rim), _short(y - rim), _short(width + 2 * rim), _short(height + 2 * rim)

    @property
    def lines(self) -> dict[str, Line]:
        """Those of LINES that are drawn."""
        return {kind: LINES[kind] for kind in self.outlines}

    @property
    def pad(self) -> float:
        return _short(_PAD * self.letter)

    @property
    def high(self) -> float:
        """Height of a tag."""
        return _short(_TALL * self.letter)


def outlined(address: str, image: Corners, boxes: Sequence[Box], wide: float) -> Outlined:
    """A picture of the part `image` (x, y, width, height) of an image with `boxes` over it, the weightiest first.

    `wide` is how many pixels of the page its longest side usually takes.
    """
    shown = boxes[:MOST]
    unit = max(image[2:]) / wide
    few = sum(bool(box.label) for box in shown) <= FEW
    letter = (_LETTER if few else _SMALL) * unit
    outlines: dict[str, list[Outline]] = {}
    for kind in LINES:
        if own := [_outline(box) for box in shown if box.kind == kind]:
            outlines[kind] = own
    tags = _tags(shown, image, letter, _HIDDEN if few else _CROWDED)
    return Outlined(address, image, unit, letter, outlines, tags, len(boxes) - len(shown))


def square_around(boxes: Sequence[Box], width: int, height: int) -> tuple[int, int, int, int]:
    """x, y, width and height of a square with boxes and what is around them, as far as the image reaches."""
    corners = np.array([box.corners for box in boxes], np.float64)
    low, high = corners[:, :2].min(0), corners[:, 2:].max(0)
    side = max(float((high - low).max()) * (1 + 2 * _AROUND), _LEAST * max(width, height), 8.0)
    spans = []
    for middle, most in zip(((low + high) / 2).tolist(), (width, height), strict=True):
        long = min(round(side), most)
        spans.append((round(min(max(middle - long / 2, 0), most - long)), long))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def picture_side(wide: int) -> int:
    """Longest side in pixels of a picture that is `wide` on the page: more where it is small, for finer screens."""
    return min(round(_SHARP * wide), max(_MOST_SIDE, wide))


def cut_label(name: str) -> str:
    """A class's name, cut where it is too long to be written on a picture."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _outline(box: Box) -> Outline:
    x1, y1, x2, y2 = box.corners
    return Outline(_short(x1), _short(y1), _short(x2 - x1), _short(y2 - y1), box.words)


def _tags(boxes: Sequence[Box], image: Corners, letter: float, hidden: float) -> list[Tag]:
    """Labels on their grounds, where they hide no more than that of any box."""
    corners = np.array([box.corners for box in boxes], np.float64).reshape(-1, 4)
    wide = [(_width(box.label) + 2 * _PAD) * letter if box.label else 0.0 for box in boxes]
    sizes = np.stack([np.array(wide), np.full(len(boxes), _TALL * letter)], 1)
    spots = place_labels(corners, sizes, image, hidden, MOST_LABELS)
    return [
        Tag(box.kind, _short(spot[0]), _short(spot[1]), _short(across), box.label)
        for box, spot, across in zip(boxes, spots, wide, strict=True)
        if spot is not None
    ]


def _width(text: str) -> float:
    """How wide a text is in letters' heights, in the sans serif letters of most systems."""
    return sum(_letter_width(letter) for letter in text)


def _letter_width(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.0
    return 0.36 if letter in _THIN else 0.97 if letter in _WIDE else 0.7 if letter.isupper() else 0.62


def _short(number: float) -> float:
    """A hundredth of a pixel is more than is seen."""
    return round(float(number), 2)
