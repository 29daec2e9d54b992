"""What cannot be decoded is left out and named before anything is dealt to parts, folds or heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING

from tenfold.errors import DataError
from tenfold.words import listed

if TYPE_CHECKING:
    from tenfold.check import Looked
    from tenfold.images.table import Table

_TOLD = 8
"""Reasons that have a note of their own."""


def without_unreadable(table: Table, looked: Looked, *, refuse: bool = False, known: Container[str] = ()) -> Table:
    """The table, at which a check looked, without the images that it could not decode; `notes` say why.

    Dealt like others they would take the places of images: of a class of three the training image may be the broken
    one. Images with one of the hashes `known` stay: their pixels may be in the cache where their files have gone. A
    class that has no other image is none of the classes any more, and a note says so.

    Raises DataError where one would be left out and the recipe is to `refuse` that.
    """
    from tenfold.split.fill import noted

    hashes = table.samples["hash"].tolist()
    lost = {row: why for row, why in looked.data.survey.unreadable.items() if hashes[row] not in known}
    if not lost:
        return table
    if refuse:
        first = next(iter(lost.values()))
        raise DataError(f"{len(lost)} of {len(table)} images cannot be read; the first: {first}")
    kept = table.take([row for row in range(len(table)) if row not in lost])
    lacking = _classes_in(table) - _classes_in(kept)
    classes = tuple(name for name in table.classes if name not in lacking)
    gone = [name for name in table.classes if name in lacking]
    said = f"Left out of the classes, as no image of them can be read: {listed(gone)}." if gone else ""
    return noted(replace(kept, classes=classes), *_left_out(table, lost), said)


def _left_out(table: Table, lost: dict[int, str]) -> list[str]:
    """A note for each of the first few reasons, as one may hold for many images, and one that names further images."""
    import numpy as np

    from tenfold.split.fill import named

    counts = Counter(lost.values())
    told = [*counts][:_TOLD]
    first = [f"Left out{f' ({counts[why]} images)' if counts[why] > 1 else ''}: {why}" for why in told]
    rest = np.array([row for row, why in lost.items() if why not in told], np.int64)
    return [*first, *([f"Left out likewise ({len(rest)}): {named(table, rest)}."] if len(rest) else [])]


def _classes_in(table: Table) -> set[str]:
    """The classes that an image has, or a box in one."""
    frames = [table.samples, *([] if table.boxes is None else [table.boxes])]
    return {label for frame in frames for label in frame["label"].dropna()}
