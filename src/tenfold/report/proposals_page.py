"""Proposals -> one self-contained HTML page: the figures, the best box of each object, and what nothing covers.

Shapes: H x W pixels.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tenfold.errors import DataError
from tenfold.proposals.recall import Coverage
from tenfold.proposals.stored import read_pixels
from tenfold.report.context import render_file, stylesheet
from tenfold.report.figures import figure_label
from tenfold.report.outlined import LINES, Box, Outlined, cut_label, outlined, picture_side, square_around
from tenfold.report.plots import DASHES, SERIES, draw, percent_axis
from tenfold.report.thumbnails import data_address
from tenfold.words import count

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

    from tenfold.proposals.stored import Proposed

SHOWN_IMAGES = 12
"""Images of which the page shows the best box of each object, from all of the data in even steps; half as many where
they have more than MANY objects, as a picture of these has a row of its own."""
MANY = 20
SHOWN_OBJECTS = 36
"""Objects that it shows of those that nothing covers."""
NAMED_UNREADABLE = 10
"""Images that cannot be read of which it says why."""
COVERED = 0.5
"""IoU from which on a box covers an object."""
MEANINGS = {
    "true": "an object",
    "found": "the box with the highest IoU",
    "missed": "an object that no box covers with an IoU of 0.5",
    "false": "the box nearest to such an object",
}

_SIZE = (4.6, 3.0)  # of the drawing, in inches
_NARROW, _WIDE, _WIDEST = 165, 440, 900
"""How wide pictures of an object, of an image and of one with many objects usually are on the page, in pixels."""


class Panel(NamedTuple):
    """A picture, or a part of one, with boxes over it."""

    name: str
    drawing: Outlined | None
    """None where the image cannot be read."""
    words: str
    """What stands below it."""
    seen: str
    """What is seen on it, for those who do not see it."""
    many: bool = False
    """Whether it has a row of its own."""


def proposals_page(name: str, method: str, proposed: Proposed, coverage: Coverage) -> str:
    """The page on the proposals that a `method` made of the data called `name`."""
    panels = _Panels(proposed, coverage)
    missed = coverage.worst()
    images = np.unique(coverage.images)
    count = SHOWN_IMAGES if len(coverage.images) <= MANY * len(images) else SHOWN_IMAGES // 2
    shown = images[np.unique(np.linspace(0, len(images) - 1, count).round().astype(np.int64))]
    by_count = coverage.by_count()
    return render_file(
        "proposals_page.html.j2",
        css=stylesheet(),
        name=name,
        method=method,
        headline=headline(coverage),
        curve=_curve(coverage) if len(by_count) > 1 else None,
        names=list(by_count[0][1]),
        tables=[
            ("Boxes", "Number of boxes", [(f"{count:,}", figures) for count, figures in by_count]),
            ("Class", "Classes, with all boxes", list(coverage.by_class().items())),
            ("Size", "Sizes, with all boxes", list(coverage.by_size().items())),
        ],
        how=by_count[0][1]["mabo"],
        left_out=coverage.left_out,
        images=[panels.image(int(row)) for row in shown],
        image_count=len(images),
        missed=[panels.missed(int(place)) for place in missed[:SHOWN_OBJECTS]],
        missed_count=len(missed),
        unreadable=proposed.unreadable[:NAMED_UNREADABLE],
        more_unreadable=max(len(proposed.unreadable) - NAMED_UNREADABLE, 0),
        legend=[(LINES[kind], words) for kind, words in MEANINGS.items() if len(missed) or kind in ("true", "found")],
    )


def headline(coverage: Coverage) -> str:
    """What is covered, in one sentence."""
    total, missed = len(coverage.objects), len(coverage.worst())
    boxes = f"the first {coverage.counts[-1]:,} boxes of each image"
    return f"{total - missed:,} of {total:,} objects are covered by {boxes} with an IoU of at least 0.5."


class _Panels:
    """The pictures of the page; each image is read once at a time."""

    def __init__(self, proposed: Proposed, coverage: Coverage) -> None:
        self.proposed, self.coverage = proposed, coverage

    def image(self, row: int) -> Panel:
        """A whole image with all its objects and the best box of each, the least covered first."""
        places = np.flatnonzero(self.coverage.images == row)
        places = places[np.argsort(self.coverage.best[places], kind="stable")]
        own = [self._boxes(int(place)) for place in places]
        boxes = [box for pair in own for box in pair if box.label] + [
            box for pair in own for box in pair if not box.label
        ]
        worst = float(self.coverage.best[places[0]])
        lost = int((self.coverage.best[places] < COVERED).sum())
        words = f"{count(len(places), 'object')}, the lowest IoU {worst:.2f}"
        seen = f"{words}; {lost} covered by no box, each of the others with its best box"
        many = len(places) > MANY
        return self._panel(row, boxes, words, seen, _WIDEST if many else _WIDE)._replace(many=many)

    def missed(self, place: int) -> Panel:
        """An object with what is around it, and the box that is nearest."""
        words = f"{self._label(place)}, IoU {self.coverage.best[place]:.2f}"
        nearest = "the nearest box" if self.coverage.nearest[place] >= 0 else "no box that meets it"
        row, boxes = int(self.coverage.images[place]), self._boxes(place)
        return self._panel(row, boxes, words, f"{words}, with {nearest}", _NARROW, boxes[:1])

    def _label(self, place: int) -> str:
        return str(self.coverage.classes[self.coverage.labels[place]])

    def _boxes(self, place: int) -> list[Box]:
        """An object, and the best box where one meets it; the label stands at the one that is in question."""
        name, iou, nearest = self._label(place), float(self.coverage.best[place]), int(self.coverage.nearest[place])
        covered, label = iou >= COVERED, f"{cut_label(name)} {iou:.2f}"
        x1, y1, x2, y2 = self.coverage.objects[place].tolist()
        what = f"{name}: the best box has an IoU of {iou:.2f}"
        boxes = [Box("true" if covered else "missed", (x1, y1, x2, y2), what, "" if covered else label)]
        if nearest >= 0:
            x1, y1, x2, y2 = self.proposed.boxes[self.coverage.images[place]][nearest].tolist()
            words = f"box {nearest + 1:,}, IoU {iou:.2f} with {name}"
            boxes.append(Box("found" if covered else "false", (x1, y1, x2, y2), words, label if covered else ""))
        return boxes

    def _panel(
        self, row: int, boxes: list[Box], words: str, seen: str, wide: int, around: list[Box] | None = None
    ) -> Panel:
        name = PurePath(str(self.proposed.table.samples["source"].iat[row])).name
        try:
            pixels = read_pixels(self.proposed.table, row, allow_truncated=True)
        except DataError:
            return Panel(name, None, words, seen)
        height, width = pixels.shape[:2]
        x, y, across, down = square_around(around, width, height) if around else (0, 0, width, height)
        address = data_address(np.ascontiguousarray(pixels[y : y + down, x : x + across]), picture_side(wide))
        drawing = outlined(address, (x, y, across, down), boxes, wide)
        left_out = f"; {drawing.left_out:,} boxes are not drawn" if drawing.left_out else ""
        return Panel(name, drawing, words + left_out, seen)


def _curve(coverage: Coverage) -> Markup:
    """Recall at each IoU, average recall and MABO against the number of boxes."""
    by_count = coverage.by_count()

    def paint(axes: Axes) -> None:
        for index, name in enumerate(by_count[0][1]):
            values = [figures[name].value for _, figures in by_count]
            axes.plot(coverage.counts, values, color=SERIES[index], linestyle=DASHES[index], marker="o", markersize=3)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda count, _: f"{count:,.0f}")
        axes.xaxis.set_minor_formatter(lambda *_: "")
        axes.set_ylim(0, 1)
        percent_axis(axes.yaxis)
        axes.set_xlabel("boxes of an image")

    last = ", ".join(f"{figure_label(name)} {figure.value:.2f}" for name, figure in by_count[-1][1].items())
    words = f"Figures against the number of boxes; with {coverage.counts[-1]:,}: {last}."
    return draw("coverage", words, paint, size=_SIZE)
