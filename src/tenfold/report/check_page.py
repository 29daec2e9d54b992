"""Findings -> one self-contained HTML page: each finding in words, and the images it names side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from tenfold.check.findings import ABREAST, Evidence, Finding, Findings, Marked, Sample
from tenfold.report.context import render_file, stylesheet
from tenfold.report.thumbnails import Boxed, Thumbnail, Thumbnails
from tenfold.words import are, count

if TYPE_CHECKING:
    from tenfold.images.table import Table

SHOWN = 24
"""Sets of images that the page shows of one finding."""


class Look(Protocol):
    """How an image is shown."""

    def __call__(self, row: int, marked: Sequence[Marked], *, upright: bool) -> Thumbnail:
        """Place in the table that was checked, and its boxes in question -> the image there.

        Not `upright`: as the file has it, before EXIF turns it.
        """


class Picture(NamedTuple):
    """An image of a set."""

    thumbnail: Thumbnail
    sample: Sample
    note: str = ""
    """What is special about it."""

    @property
    def about(self) -> list[str]:
        """Its label and part, where they are known, its number of boxes, and what is special about it."""
        drawing = self.thumbnail.drawing
        boxes = count(drawing.boxes, "box") if drawing else ""
        return [*filter(None, (self.sample.label, self.sample.part, boxes, self.note))]


class Shown(NamedTuple):
    """A set of images as the page shows it."""

    pictures: list[Picture]
    words: str
    more: int
    """Images that are not shown."""

    @property
    def has_doubts(self) -> bool:
        """Whether a box in question is drawn."""
        return any(picture.thumbnail.drawing and picture.thumbnail.drawing.marks for picture in self.pictures)


def check_page(name: str, findings: Findings, table: Table, other: Table | None = None, price: str = "") -> str:
    """The page on the data called `name`; `price` is the sentence on what a leak was worth to a run."""
    here, there = look_at(table), None if other is None else look_at(other)
    return render_file(
        "check_page.html.j2",
        css=stylesheet(),
        name=name,
        headline=headline(findings),
        price=price,
        notes=[*table.notes, *(other.notes if other else ())],
        findings=[(finding, shown_sets(finding, findings, here, there, SHOWN)) for finding in findings.found],
        limit=SHOWN,
    )


def look_at(table: Table, thumbnails: Thumbnails | None = None) -> Look:
    """How the images of a table are shown: with their boxes, if it has any. `thumbnails` may hold some already."""
    if table.boxes is not None:
        return Boxed(table)
    made = thumbnails or Thumbnails(table)

    def whole(row: int, marked: Sequence[Marked], *, upright: bool) -> Thumbnail:
        return made[row]

    return whole


def headline(findings: Findings) -> str:
    """What was found, in one sentence."""
    number, notes = len(findings.decisions), len(findings.found) - len(findings.decisions)
    verb = "needs" if number == 1 else "need"
    first = f"{count(number, 'finding')} {verb} a decision" if number else "Nothing needs a decision"
    more = f", and there {are(notes)} {count(notes, 'note')}" if notes else ""
    return f"{first} in {count(findings.images, 'image')}{more}."


def shown_sets(finding: Finding, findings: Findings, here: Look, there: Look | None, limit: int) -> list[Shown]:
    """The first sets of a finding with their pictures."""
    as_stored = finding.kind in ("box_rotated", "rotated")
    return [_shown(item, findings, here, there, as_stored=as_stored) for item in finding.sets[:limit]]


def _shown(item: Evidence, findings: Findings, here: Look, there: Look | None, *, as_stored: bool) -> Shown:
    """A set with its pictures; `as_stored`: each with a box in question beside what it is before EXIF turns it."""
    rows, others = item.rows[:ABREAST], item.others[:ABREAST] if there else ()
    pictures = []
    for row in rows:
        sample, marked = findings.samples[row], [box for box in item.boxes if box.row == row]
        pictures.append(Picture(here(row, marked, upright=True), sample))
        if as_stored and marked:
            pictures.append(Picture(here(row, marked, upright=False), sample, "as it is stored"))
    if there is not None:
        pictures += [Picture(there(row, (), upright=True), findings.others[row], "other data") for row in others]
    return Shown(pictures, item.words, len(item.rows) + len(item.others) - len(rows) - len(others))
