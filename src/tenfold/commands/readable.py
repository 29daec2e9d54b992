"""What cannot be decoded is left out and named before anything is dealt to parts, folds or heads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from dataclasses import replace
from typing import TYPE_CHECKING

from tenfold.errors import DataError

if TYPE_CHECKING:
    from tenfold.check import Looked
    from tenfold.images.table import Table


def without_unreadable(table: Table, looked: Looked, *, refuse: bool = False, known: Container[str] = ()) -> Table:
    """The table, at which a check looked, without the images that it could not decode; `notes` name each and say why.

    Dealt like others they would take the places of images: of a class of three the training image may be the broken
    one. Images with one of the hashes `known` stay: their pixels may be in the cache where their files have gone.

    Raises DataError where one would be left out and the recipe is to `refuse` that.
    """
    hashes = table.samples["hash"].tolist()
    lost = {row: why for row, why in looked.data.survey.unreadable.items() if hashes[row] not in known}
    if not lost:
        return table
    if refuse:
        first = next(iter(lost.values()))
        raise DataError(f"{len(lost)} of {len(table)} images cannot be read; the first: {first}")
    kept = table.take([row for row in range(len(table)) if row not in lost])
    counts = Counter(lost.values())
    notes = (f"Left out{f' ({images} images)' if images > 1 else ''}: {why}" for why, images in counts.items())
    return replace(kept, notes=(*table.notes, *notes))
