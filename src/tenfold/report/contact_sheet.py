"""Pictures in rows, words under each and a key of colors above them, as one picture.

Words may hold names in any language. Each is written in a font that has its letters, as at drawn boxes (lettering.py);
a name that no font can write is called "name 1", "name 2" and so on, which the foot of the picture says.

Shapes: H x W pixels of a picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tenfold.images.readers.labels import composed
from tenfold.report.lettering import Font, Lettering, from_right, letters_of, plain_font
from tenfold.report.thumbnails import TINY

DPI = 150
Color = tuple[int, int, int]

_SIDE, _GAP, _LINE = 195, 22, 20  # pixels of a picture, between two, and of a line under one
_HEAD = 60  # of the title
_LETTERS, _TITLE = 12, 19  # pixels of a letter
_KEY = 12  # of the square of a color
_INK = (0, 0, 0)


class Cell(NamedTuple):
    """A picture and the lines under it."""

    pixels: NDArray[np.uint8]
    """[H, W, 3], red first."""
    lines: Sequence[str]


class Piece(NamedTuple):
    """Letters of one font, side by side."""

    text: str
    font: Font
    fixed: bool
    """Not to be taken apart into words, as a script that is written from the right turns their order round."""

    @property
    def width(self) -> float:
        return self.font.getlength(self.text)


class Words:
    """How texts are written that hold names of any script, in letters of some height."""

    def __init__(self, texts: Iterable[str], names: Iterable[str]) -> None:
        foreign = {composed(name) for name in names if letters_of(name)}
        longest_first = sorted(foreign, key=lambda name: (-len(name), name))
        self._names = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        parts = dict.fromkeys(part for text in texts for part in self._parts(composed(text)))
        self._lettering = Lettering(parts)
        lacking = [part for part in parts if not self._lettering.has(part)]
        self.called = {name: f"name {number}" for number, name in enumerate(lacking, 1)}
        """What stands for names that no font can write."""

    def pieces(self, text: str, size: int) -> list[Piece]:
        """A text, in letters so many pixels high."""
        return [self._piece(part, size) for part in self._parts(composed(text))]

    def wrapped(self, text: str, size: int, width: float) -> list[list[Piece]]:
        """A text in lines that are no wider than that, unless a single word is."""
        lines: list[list[Piece]] = [[]]
        room = width
        for piece in self.pieces(text, size):
            words = [piece.text] if piece.fixed else re.findall(r"\S+\s*|\s+", piece.text)
            for word in words:
                part = piece._replace(text=word)
                if lines[-1] and piece.font.getlength(word.rstrip()) > room:
                    lines.append([])
                    room = width
                lines[-1].append(part)
                room -= part.width
        return lines

    def _piece(self, part: str, size: int) -> Piece:
        foreign = letters_of(part) and part not in self.called
        font = self._lettering.font(part, size) if foreign else plain_font(size)
        return Piece(self.called.get(part, part), font, from_right(part))

    def _parts(self, text: str) -> list[str]:
        """The names of a text that Pillow's own font lacks, and what stands around them."""
        ends = [place for found in self._names.finditer(text) for place in found.span()]
        return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True) if start < end]


def contact_sheet(
    title: str, rows: Sequence[Sequence[Cell]], key: Sequence[tuple[Color, str]], names: Iterable[str]
) -> tuple[Image.Image, dict[str, str]]:
    """The picture, and what stands on it for names that no font of this computer can write: {name: "name 1"}.

    `rows` have a cell or more each; `key` says what colors mean; `names` are those that any of the words may hold.
    """
    texts = [title, *(text for _, text in key), *(line for row in rows for cell in row for line in cell.lines)]
    words = Words(texts, names)
    columns = max(len(row) for row in rows)
    width = columns * (_SIDE + _GAP) + _GAP
    under = [[_caption(words, cell) for cell in row] for row in rows]
    tall = [_SIDE + _LINE * (max(2, *(len(caption) for caption in row)) + 1) for row in under]
    keys = [_cut(words.pieces(text, _LETTERS), width - 3 * _GAP) for _, text in key]
    room = 3 * _GAP + max((sum(piece.width for piece in pieces) for pieces in keys), default=0)
    across = max(1, int((width - _GAP) // room))
    head = _HEAD + _LINE * -(-len(key) // across)
    foot = words.wrapped(_lacking(words.called), _LETTERS, width - 2 * _GAP) if words.called else []
    sheet = Image.new("RGB", (width, head + sum(tall) + _LINE * len(foot) + _LINE // 2), "white")
    pen = ImageDraw.Draw(sheet)
    _write(pen, _cut(words.pieces(title, _TITLE), width - 2 * _GAP), _GAP, _HEAD * 0.6)
    for place, ((color, _), pieces) in enumerate(zip(key, keys, strict=True)):
        left, base = _GAP + room * (place % across), _HEAD + _LINE * (place // across + 0.4)
        pen.rectangle((left, base - _KEY, left + _KEY, base), outline=color, width=3)
        _write(pen, pieces, left + 2 * _KEY, base)
    top = head
    for row, captions, high in zip(rows, under, tall, strict=True):
        for place, (cell, caption) in enumerate(zip(row, captions, strict=True)):
            left = _GAP + place * (_SIDE + _GAP)
            picture = _scaled(cell.pixels)
            sheet.paste(picture, (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2))
            for number, pieces in enumerate(caption):
                _write(pen, pieces, left, top + _SIDE + _LINE * (number + 0.8))
        top += high
    for number, pieces in enumerate(foot):
        _write(pen, pieces, _GAP, top + _LINE * (number + 0.5))
    return sheet, words.called


def _lacking(called: dict[str, str]) -> str:
    which = ", ".join(called.values())
    return f"No font of this computer has the letters of {which}; a page (.html) shows them in those of the browser."


def _caption(words: Words, cell: Cell) -> list[list[Piece]]:
    """The lines under a picture, none wider than it."""
    lines = [line for text in cell.lines for line in words.wrapped(text, _LETTERS, _SIDE)]
    return [_cut(line, _SIDE + _GAP / 2) for line in lines]


def _cut(pieces: list[Piece], width: float) -> list[Piece]:
    """The first letters of a line that would be wider than that, and three dots."""
    if sum(piece.width for piece in pieces) <= width:
        return pieces
    kept, room = list[Piece](), width - pieces[0].font.getlength("...")
    for piece in pieces:
        text = piece.text
        while text and piece.font.getlength(text) > room:
            text = text[:-1]
        kept.append(piece._replace(text=text if text == piece.text else f"{text}..."))
        room -= kept[-1].width
        if text != piece.text:
            break
    return kept


def _write(pen: ImageDraw.ImageDraw, pieces: list[Piece], left: float, base: float) -> None:
    """A line from its left end on, on its base line, in pixels."""
    for piece in pieces:
        pen.text((left, base), piece.text, font=piece.font, fill=_INK, anchor="ls")
        left += piece.width


def _scaled(pixels: NDArray[np.uint8]) -> Image.Image:
    """In its own shape, its longer side _SIDE."""
    (height, width), longer = pixels.shape[:2], max(pixels.shape[:2])
    how = Image.Resampling.NEAREST if longer <= TINY else Image.Resampling.LANCZOS
    sides = max(1, round(_SIDE * width / longer)), max(1, round(_SIDE * height / longer))
    return Image.fromarray(pixels).resize(sides, how)
