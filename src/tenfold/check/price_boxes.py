"""What a leak was worth to a detector: AP50 with and without the images that it had seen in training.

Shapes: N images.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import units_of
from tenfold.looks import image_hashes
from tenfold.metrics.detection import Part, match_part
from tenfold.metrics.detection_ap50 import ap50_without
from tenfold.tasks import box_detections, table_objects

if TYPE_CHECKING:
    from collections.abc import Collection

    from tenfold.images.table import Table
    from tenfold.metrics.detection_matching import Detections, Objects
    from tenfold.run import Run

_DIGITS = 3  # of a pixel, a thousandth of which no look tells apart
_SCORE_DIGITS = 12


@dataclass(frozen=True)
class BoxAnswers:
    """What a detector found in N images of a part, some of which are leaked."""

    table: Table
    part: Part
    seen: NDArray[np.bool_]
    """[N], which are leaked."""

    @property
    def clean(self) -> Table:
        """The images that are not."""
        return self.table.take(np.flatnonzero(~self.seen))

    @property
    def shown(self) -> str:
        """What a look at these shows: their objects, and what was found."""
        objects = self._lines(self.part.objects, self.part.objects.ignore)
        found = self._lines(self.part.detections, self.part.detections.score.round(_SCORE_DIGITS))
        return json.dumps([sorted(image_hashes(self.clean)), objects, found])

    def _lines(self, boxes: Objects | Detections, last: NDArray[Any]) -> list[tuple[Any, ...]]:
        """(hash, class, corners, one thing more) of each box in an image that is not leaked, sorted."""
        hashes = self.table.samples["hash"].to_numpy(object)[boxes.image].tolist()
        every = zip(hashes, boxes.label.tolist(), boxes.box.round(_DIGITS).tolist(), last.tolist(), strict=True)
        return sorted(line for line, seen in zip(every, self.seen[boxes.image], strict=True) if not seen)

    def worth(self, level: float, *, exact: bool) -> dict[str, Any]:
        """The fields of a LeakPrice that say it."""
        units = units_of(self.table.samples["group"].to_numpy(object), len(self.table), exact=exact)
        found = ap50_without(self.part, self.seen, units, level)
        told = {"whole": found.whole, "clean": found.without, "worth": found.difference, "gone": found.gone}
        return told | {"figure": "ap50"}


def rows_with_objects(table: Table) -> NDArray[np.int64]:
    """The images of a table that hold an object that counts: int64."""
    objects, _ = table_objects(table)
    rows: NDArray[np.int64] = np.unique(objects.image[~objects.ignore])
    return rows


def box_answers(run: Run, part: str, leaked: set[str], unreadable: Collection[str]) -> BoxAnswers:
    """What `evaluate_run` stored of a part; the hashes of the leaked images, and the sources of the unreadable."""
    samples = run.table.samples
    rows = np.flatnonzero((samples["part"] == part) & ~samples["source"].isin(list(unreadable)))
    table, place = run.table.take(rows), np.full(len(samples), -1)
    place[rows] = np.arange(len(rows))
    frame = run.predictions(part)
    found = box_detections(frame.assign(sample=place[frame["sample"].to_numpy(np.int64)]), run.classes)
    matched = match_part(table_objects(table)[0], found, run.classes, len(table))
    return BoxAnswers(table, matched, table.samples["hash"].isin(leaked).to_numpy(bool))
