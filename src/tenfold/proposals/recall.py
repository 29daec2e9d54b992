"""Which objects of a Table its proposals cover, and the figures on that, for all objects, each class and each size.

Shapes: O objects, P proposals of an image, M numbers of boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import CORNERS, box_areas, sound_boxes
from tenfold.errors import DataError
from tenfold.estimate import Estimate
from tenfold.images.table import Table
from tenfold.metrics.proposals import SIZES, best_overlaps, proposal_figures, size_names
from tenfold.proposals.windows import Boxes

COUNTS = (10, 30, 100, 300, 1000, 3000, 10000)
"""Numbers of boxes at which figures are given, as far as there are so many."""

LINE = ("path", "label", *CORNERS, "iou", *(f"box_{name}" for name in CORNERS))
"""What is told of an object: where it is, and the highest IoU of a box with it, and that box; no box where none meets
it."""

Figures = dict[str, Estimate]


@dataclass(frozen=True, eq=False)
class Coverage:
    """Every object that is to be found, and the best of its image's proposals."""

    images: NDArray[np.int64]
    """int64 [O]: place of the object's image in the Table."""
    labels: NDArray[np.int64]
    """int64 [O]: place of its class in `classes`."""
    objects: NDArray[np.float64]
    """float64 [O, 4], xyxy pixels."""
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    """M numbers of boxes."""
    overlaps: NDArray[np.float64]
    """float64 [O, M]: the highest IoU with one of the first so many proposals."""
    nearest: NDArray[np.int64]
    """int64 [O]: place of the box of that IoU among the first `counts[-1]`; -1 where none meets the object."""
    left_out: int
    """Boxes of the Table that are none to be found: those to ignore, and those without an area."""

    @property
    def best(self) -> NDArray[np.float64]:
        """float64 [O]: the highest IoU with any of the proposals."""
        best: NDArray[np.float64] = self.overlaps[:, -1]
        return best

    def by_count(self) -> list[tuple[int, Figures]]:
        """(number of boxes, figures of all objects)."""
        columns = enumerate(self.counts)
        return [(n, proposal_figures(self.overlaps[:, m], self.images, self.labels)) for m, n in columns]

    def by_class(self) -> dict[str, Figures]:
        """The figures of each class that occurs, with all boxes."""
        return dict(self._groups(np.array(self.classes, object)[self.labels], self.classes))

    def by_size(self) -> dict[str, Figures]:
        """The figures of small, medium and large objects, of which there are any, with all boxes."""
        return dict(self._groups(size_names(box_areas(self.objects).astype(np.float64)), tuple(SIZES)))

    def worst(self, below: float = 0.5) -> NDArray[np.int64]:
        """The objects int64 [...] that no proposal covers with an IoU of `below`, the least covered first."""
        order: NDArray[np.int64] = np.argsort(self.best, kind="stable")
        return order[self.best[order] < below]

    def lines(self, table: Table, proposals: Sequence[Boxes]) -> list[list[object]]:
        """A line for each object, under LINE: what was covered is its Table and the proposals."""
        paths = table.samples["source"].tolist()
        lines = []
        for image, label, corners, iou, place in zip(
            self.images, self.labels, self.objects.tolist(), self.best.tolist(), self.nearest, strict=True
        ):
            box = [""] * 4 if place < 0 else [round(value, 2) for value in proposals[image][place].tolist()]
            lines.append([paths[image], self.classes[label], *corners, round(iou, 4), *box])
        return lines

    def to_json(self) -> dict[str, Any]:
        """All figures, with the number of objects."""
        return {
            "objects": len(self.objects),
            "left_out": self.left_out,
            "by_count": {str(count): figures for count, figures in self.by_count()},
            "by_class": self.by_class(),
            "by_size": self.by_size(),
        }

    def _groups(self, names: NDArray[Any], order: Sequence[str]) -> Iterator[tuple[str, Figures]]:
        for name in order:
            rows = np.flatnonzero(names == name)
            if len(rows):
                yield name, proposal_figures(self.best[rows], self.images[rows])


def cover_objects(table: Table, proposals: Sequence[Boxes], most: int) -> Coverage:
    """What the first `most` proposals of each sample, float32 [P, 4], cover of its boxes.

    Raises DataError where the table is not annotated with boxes or has none that is to be found.
    """
    if table.boxes is None:
        raise DataError("The images have no boxes, so there is nothing to measure proposals by; give annotated images.")
    frame = table.boxes
    corners = frame[[*CORNERS]].to_numpy(np.float64)
    kept = np.flatnonzero(sound_boxes(corners) & ~frame["ignore"].to_numpy(bool))
    if not len(kept):
        raise DataError(f"None of the {len(frame)} boxes has an area and is to be found; check the annotations.")
    images, objects = frame["sample"].to_numpy(np.int64)[kept], corners[kept]
    classes = tuple(dict.fromkeys([*table.classes, *frame["label"].iloc[kept]]))
    labels = np.array([classes.index(name) for name in frame["label"].iloc[kept]], np.int64)
    counts = (*(count for count in COUNTS if count < most), most)
    overlaps, nearest = np.zeros((len(kept), len(counts))), np.full(len(kept), -1, np.int64)
    for image in np.unique(images):
        rows = np.flatnonzero(images == image)
        overlaps[rows], nearest[rows] = best_overlaps(objects[rows], proposals[image][:most], counts)
    return Coverage(images, labels, objects, classes, counts, overlaps, nearest, len(frame) - len(kept))
