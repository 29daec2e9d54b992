"""Learnable: images of which nothing can be learned are refused before a split of them is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.commands.output import say
from tenfold.errors import DataError
from tenfold.words import count

if TYPE_CHECKING:
    from tenfold.images.table import Table


def refuse_unlearnable(table: Table) -> None:
    """Raise DataError where a classifier has nothing to tell apart, or a detector no box to learn from."""
    if table.boxes is None:
        if len(table.classes) == 1:
            raise DataError(
                "A classifier needs images of at least two classes, and all of these are of one, "
                f"{table.classes[0]!r}; add images of another class, in a folder (or with a label) of its own."
            )
        return
    from tenfold.tasks import teaching_boxes

    if not teaching_boxes(table.boxes).any():
        from tenfold.boxes import THIN

        for note in table.notes:  # what was left out, and which images were taken to show nothing
            say(note)
        images, boxes = count(len(table), "image"), count(len(table.boxes), "box")
        found = f"none of {boxes} on {images} is one" if len(table.boxes) else f"there is no box on {images}"
        raise DataError(
            f"A detector needs a box to learn from, over {THIN:g} px wide and high and not to be ignored, and {found}; "
            "annotate objects, or put their annotations where they are found."
        )
