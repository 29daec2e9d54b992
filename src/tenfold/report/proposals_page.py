"""Proposals -> one self-contained HTML page: the figures, the best box of each object, and what nothing covers.

Shapes: H x W pixels.
"""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from tenfold.errors import DataError
from tenfold.proposals.recall import Coverage
from tenfold.proposals.stored import read_pixels
from tenfold.report.context import render_file, stylesheet
from tenfold.report.figures import figure_label
from tenfold.report.plots import DASHES, SERIES, draw, percent_axis

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from tenfold.proposals.stored import Proposed

SHOWN_IMAGES = 12
"""Images of which the page shows the best box of each object, from all of the data in even steps."""
SHOWN_OBJECTS = 36
"""Objects that it shows of those that nothing covers."""

_SIDE = {"image": 640, "object": 200}
"""Longest side of a picture in pixels."""


class Mark(NamedTuple):
    """A box that is drawn over a picture."""

    kind: str
    """object or proposal."""
    x: float
    y: float
    width: float
    height: float
    words: str


class Panel(NamedTuple):
    """A picture, or a part of one, with boxes over it."""

    name: str
    address: str
    """Empty where the image cannot be shown."""
    frame: tuple[int, int, int, int]
    """x, y, width and height of what is shown, in pixels of the image."""
    marks: list[Mark]
    words: str


def proposals_page(name: str, method: str, proposed: Proposed, coverage: Coverage) -> str:
    """The page on the proposals that a `method` made of the data called `name`."""
    panels = _Panels(proposed, coverage)
    missed = coverage.worst()
    images = np.unique(coverage.images)
    shown = images[np.unique(np.linspace(0, len(images) - 1, SHOWN_IMAGES).round().astype(np.int64))]
    by_count = coverage.by_count()
    return render_file(
        "proposals_page.html.j2",
        css=stylesheet(),
        name=name,
        method=method,
        headline=headline(coverage),
        curve=_curve(coverage),
        names=list(by_count[0][1]),
        tables=[
            ("Boxes", "Number of boxes", [(f"{count:,}", figures) for count, figures in by_count]),
            ("Class", "Classes, with all boxes", list(coverage.by_class().items())),
            ("Size", "Sizes, with all boxes", list(coverage.by_size().items())),
        ],
        how=by_count[0][1]["mabo"],
        left_out=coverage.left_out,
        images=[panels.image(int(row)) for row in shown],
        missed=[panels.missed(int(place)) for place in missed[:SHOWN_OBJECTS]],
        missed_count=len(missed),
        unreadable=proposed.unreadable,
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
        """A whole image with all its objects and the best box of each."""
        places = np.flatnonzero(self.coverage.images == row)
        marks = [mark for place in places for mark in self._marks(int(place))]
        worst = float(self.coverage.best[places].min())
        return self._panel(row, None, marks, f"objects: {len(places)}, the lowest IoU: {worst:.2f}", "image")

    def missed(self, place: int) -> Panel:
        """An object with what is around it, and the box that is nearest."""
        x1, y1, x2, y2 = self.coverage.objects[place]
        margin = max(x2 - x1, y2 - y1)
        around = np.array([x1 - margin, y1 - margin, x2 + margin, y2 + margin])
        label = self.coverage.classes[self.coverage.labels[place]]
        words = f"{label}, IoU {self.coverage.best[place]:.2f}"
        return self._panel(int(self.coverage.images[place]), around, self._marks(place), words, "object")

    def _marks(self, place: int) -> list[Mark]:
        label = self.coverage.classes[self.coverage.labels[place]]
        marks = [_mark("object", self.coverage.objects[place], label)]
        nearest = self.coverage.nearest[place]
        if nearest >= 0:
            box = self.proposed.boxes[self.coverage.images[place]][nearest]
            words = f"box {nearest + 1:,}, IoU {self.coverage.best[place]:.2f} with {label}"
            marks.append(_mark("proposal", box.astype(np.float64), words))
        return marks

    def _panel(self, row: int, around: NDArray[np.float64] | None, marks: list[Mark], words: str, kind: str) -> Panel:
        name = PurePath(str(self.proposed.table.samples["source"].iat[row])).name
        try:
            pixels = read_pixels(self.proposed.table, row, allow_truncated=True)
        except DataError:
            return Panel(name, "", (0, 0, 1, 1), [], words)
        height, width = pixels.shape[:2]
        x1, y1, x2, y2 = 0, 0, width, height
        if around is not None:
            x1, y1 = (min(max(int(side), 0), most - 1) for side, most in zip(around[:2], (width, height), strict=True))
            x2, y2 = min(max(int(around[2]), x1 + 1), width), min(max(int(around[3]), y1 + 1), height)
        address = _address(pixels[y1:y2, x1:x2], _SIDE[kind])
        return Panel(name, address, (x1, y1, x2 - x1, y2 - y1), marks, words)


def _mark(kind: str, box: NDArray[np.float64], words: str) -> Mark:
    x1, y1, x2, y2 = (round(float(side), 1) for side in box)
    return Mark(kind, x1, y1, round(x2 - x1, 1), round(y2 - y1, 1), words)


def _address(pixels: NDArray[np.uint8], side: int) -> str:
    """uint8 [H, W, 3] -> a JPEG whose longest side has at most `side` pixels, as an address."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = BytesIO()
    picture.save(file, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


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
    return draw("coverage", f"Figures against the number of boxes; with {coverage.counts[-1]:,}: {last}.", paint)
