"""Learnable: images of which nothing can be learned; training refuses them before a split of them is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.commands.output import say
from tenfold.errors import DataError
from tenfold.words import count

if TYPE_CHECKING:
    from tenfold.images.table import Table


def refuse_unlearnable(table: Table) -> None:
    """Raise DataError where `unlearnable` says why, with the table's notes said before."""
    if why := unlearnable(table):
        for note in table.notes:  # what was left out or not read, and which images were taken to show nothing
            say(note)
        raise DataError(why)


def unlearnable(table: Table) -> str:
    """Why a classifier has nothing to tell apart, or a detector no box to learn from; empty where it has."""
    if table.boxes is None:
        if len(table.classes) != 1:
            return ""
        return (
            "A classifier needs images of at least two classes, and all of these are of one, "
            f"{table.classes[0]!r}; add images of another class, in a folder (or with a label) of its own."
        )
    from tenfold.tasks import teaching_boxes

    if teaching_boxes(table.boxes).any():
        return ""
    from tenfold.boxes import THIN

    images, boxes = count(len(table), "image"), count(len(table.boxes), "box")
    found = f"none of {boxes} on {images} is one" if len(table.boxes) else f"there is no box on {images}"
    return (
        f"A detector needs a box to learn from, over {THIN:g} px wide and high and not to be ignored, and {found}; "
        "annotate objects, or put their annotations where they are found."
    )
