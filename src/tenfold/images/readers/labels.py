"""Labels: text as it is compared and shown, classes in their natural order, and the names that parts go by."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from tenfold.errors import DataError

PART_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""What a part may be called, in lower case -> its name in a Table."""


def composed(text: str) -> str:
    """The text in Unicode's composed form (NFC): "Mèo" is one label, whichever way a disk spells its accents."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def natural_key(text: str) -> tuple[list[Any], str]:
    """A sorting key by which s2 comes before s10 and upper case does not come before lower case."""
    pieces: list[Any] = re.split(r"(\d+)", composed(text).casefold())
    pieces[1::2] = map(_number, pieces[1::2])
    return pieces, text


def _number(digits: str) -> tuple[int, str]:
    """What sorts as the number does; int itself refuses more than 4,300 digits."""
    plain = (digits if digits.isascii() else "".join(str(int(digit)) for digit in digits)).lstrip("0")
    return len(plain), plain


def natural_order(names: Iterable[str]) -> list[str]:
    """The names as people sort them: a, B, s1, s2, s10."""
    return sorted(names, key=natural_key)


def class_order(labels: Iterable[str | None], declared: Iterable[str] = ()) -> tuple[str, ...]:
    """The classes that occur among the labels: in the `declared` order if all are declared, else in natural order."""
    present = {label for label in labels if label is not None}
    order = tuple(dict.fromkeys(name for name in declared if name in present))
    return order if len(order) == len(present) else tuple(natural_order(present))


def part_name(text: str, where: str) -> str:
    """A part by any of its names; `where` begins the DataError about another one."""
    name = PART_NAMES.get(text.casefold())
    if name is None:
        raise DataError(f"{where} has the part {text!r}; it must be train, validation (or val, valid) or test.")
    return name
