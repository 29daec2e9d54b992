"""Findings -> one self-contained HTML page: each finding in words, and the images it names side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from tenfold.check.findings import Evidence, Finding, Findings, Sample, are, count
from tenfold.report.context import render_file, stylesheet
from tenfold.report.thumbnails import Thumbnail, Thumbnails

if TYPE_CHECKING:
    from tenfold.images.table import Table

SHOWN = 24
"""Sets of images that the page shows of one finding."""

ABREAST = 6
"""Images that it shows of one set."""

Look = Callable[[int], Thumbnail]
"""Place in the table that was checked -> the image there."""


class Picture(NamedTuple):
    """An image of a set."""

    thumbnail: Thumbnail
    sample: Sample
    other: bool
    """Whether it is of the data that were checked against."""

    @property
    def about(self) -> list[str]:
        """Its label and part, where they are known, and where it lies if not in the data."""
        return [*filter(None, (self.sample.label, self.sample.part)), *(["other data"] if self.other else [])]


class Shown(NamedTuple):
    """A set of images as the page shows it."""

    pictures: list[Picture]
    words: str
    more: int
    """Images that are not shown."""


def check_page(name: str, findings: Findings, table: Table, other: Table | None = None, price: str = "") -> str:
    """The page on the data called `name`; `price` is the sentence on what a leak was worth to a run."""
    here = Thumbnails(table).__getitem__
    there = None if other is None else Thumbnails(other).__getitem__
    return render_file(
        "check_page.html.j2",
        css=stylesheet(),
        name=name,
        headline=headline(findings),
        price=price,
        findings=[(finding, shown_sets(finding, findings, here, there, SHOWN)) for finding in findings.found],
        limit=SHOWN,
    )


def headline(findings: Findings) -> str:
    """What was found, in one sentence."""
    number, notes = len(findings.decisions), len(findings.found) - len(findings.decisions)
    verb = "needs" if number == 1 else "need"
    first = f"{count(number, 'finding')} {verb} a decision" if number else "Nothing needs a decision"
    more = f", and there {are(notes)} {count(notes, 'note')}" if notes else ""
    return f"{first} in {count(findings.images, 'image')}{more}."


def shown_sets(finding: Finding, findings: Findings, here: Look, there: Look | None, limit: int) -> list[Shown]:
    """The first sets of a finding with their pictures."""
    return [_shown(item, findings, here, there) for item in finding.sets[:limit]]


def _shown(item: Evidence, findings: Findings, here: Look, there: Look | None) -> Shown:
    pictures = [Picture(here(row), findings.samples[row], False) for row in item.rows[:ABREAST]]
    if there is not None:
        pictures += [Picture(there(row), findings.others[row], True) for row in item.others[:ABREAST]]
    return Shown(pictures, item.words, len(item.rows) + len(item.others) - len(pictures))
