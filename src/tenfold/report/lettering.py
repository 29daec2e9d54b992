"""Fonts that have the letters of a text, as classes are named in any language.

Pillow's own font has the letters of English alone, and draws an empty box for every other. So any other text is in
DejaVu Sans, which comes with matplotlib and has Latin with all its marks (Vietnamese too), Greek, Cyrillic, Hebrew and
Arabic; or else, as Chinese, Japanese, Korean and the languages of India need, in the first font of this computer that
has all its letters. What is written from the right or with marks of its own needs Raqm besides, which most builds of
Pillow have: without it letters would stand apart, and in the wrong order.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from PIL import ImageFont, features

from tenfold.images.readers.labels import composed

Letters = frozenset[str]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_BESIDE = frozenset("0123456789.")  # of a score, which stands in the same font
_OWN = ""  # stands for Pillow's font
_BLANK = ("lastresort", "adobeblank")  # fonts that have a placeholder for every letter
_CHANGED = ("bold", "italic", "oblique", "light", "thin", "black")
_TRIED = 20  # pixels; fonts of pictures alone, as of emoji, cannot be opened at any size


class Lettering:
    """The fonts for some texts, looked up once."""

    def __init__(self, texts: Iterable[str]) -> None:
        wanted = {letters_of(text) for text in texts}
        self._files = {letters: _OWN for letters in wanted if not letters}
        missing = {letters for letters in wanted if letters and _can_lay_out(letters)}
        files = _font_files()
        while missing and (file := next(files, "")):
            found = _written_by(file, missing)
            self._files |= dict.fromkeys(found, file)
            missing -= found

    def has(self, text: str) -> bool:
        """Whether there is a font for one of the texts."""
        return letters_of(text) in self._files

    def font(self, text: str, size: float) -> Font:
        """The font, so many pixels high, of one of the texts, a number added or not; Pillow's own where none is."""
        file = self._files.get(letters_of(text), _OWN)
        return ImageFont.truetype(file, size) if file else ImageFont.load_default(size)


def plain_font(size: float) -> Font:
    """The font, so many pixels high, of what is said in English beside names, which most of these are in too."""
    return ImageFont.truetype(next(_font_files()), size)


def letters_of(text: str) -> Letters:
    """What a font must have to write a text, and digits beside it; empty where Pillow's own does."""
    if text.isascii():
        return frozenset()
    seen = (letter for letter in composed(text) if unicodedata.category(letter) not in ("Cc", "Cf", "Zs"))
    return _BESIDE.union(seen)


def _can_lay_out(letters: Letters) -> bool:
    """Whether letters can be put side by side as their language has them."""
    marked = any(unicodedata.category(letter).startswith("M") for letter in letters)
    return bool(features.check("raqm")) or not (from_right(letters) or marked)


def from_right(letters: Iterable[str]) -> bool:
    """Whether a script among letters is written from the right, as Hebrew (R) and Arabic (AL)."""
    return any(unicodedata.bidirectional(letter) in ("R", "AL") for letter in letters)


def _font_files() -> Iterator[str]:
    """Files of fonts, matplotlib's first, whose others are only asked for where that one does not do."""
    import matplotlib as mpl

    yield str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    yield from sorted(_system_fonts(), key=_plainness)


def _system_fonts() -> list[str]:
    """Files of the fonts that are installed, as matplotlib finds them on each system."""
    from matplotlib.font_manager import findSystemFonts

    return findSystemFonts()


def _plainness(file: str) -> tuple[bool, bool, str]:
    """By which fonts are tried: upright ones of usual weight, without serifs, first."""
    name = Path(file).stem.casefold()
    return any(word in name for word in _CHANGED), not ("sans" in name or "gothic" in name), file


def _written_by(file: str, wanted: set[Letters]) -> set[Letters]:
    """Those of which a font has every letter; none where it cannot be used."""
    from matplotlib.ft2font import FT2Font

    if any(name in Path(file).stem.casefold() for name in _BLANK):
        return set()
    try:
        ImageFont.truetype(file, _TRIED)
        font = FT2Font(file)
    except (OSError, RuntimeError):  # a damaged file, or a form that one of them does not know
        return set()
    return {letters for letters in wanted if all(font.get_char_index(ord(letter)) for letter in letters)}
