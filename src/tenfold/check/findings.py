"""Findings: what a check found, each with its evidence, its price and its remedy.

A finding needs a decision where only its owner can know what is right, or where the result would be flattered if
nothing were done. Everything else is a note: Tenfold copes with it by itself, and says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from tenfold.errors import DataError
from tenfold.split.copies import are_copies
from tenfold.split.fill import kept_whole, short_name
from tenfold.split.ties import Together, bond, bonds, join, texts
from tenfold.words import listed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tenfold.images.table import Table

TITLES = {
    "unreadable": "Files that cannot be read",
    "two_labels": "One image under two labels",
    "leak": "Copies in two parts",
    "group_leak": "Groups in two parts",
    "against": "Images that are in both data sets",
    "label": "Labels that are likely wrong",
    "box_label": "Boxes whose label is likely wrong",
    "box_missing": "Things that likely lack their box",
    "box_rotated": "Boxes drawn before EXIF turned the image",
    "box_size": "Boxes for the image in another size",
    "box_corners": "Boxes with swapped corners",
    "box_empty": "Boxes of no area",
    "box_outside": "Boxes outside of the image",
    "box_twice": "Boxes drawn twice",
    "box_copies": "Copies without the boxes of the other",
    "one_class": "Fewer than two classes",
    "names": "Classes of nearly one name",
    "slips": "Rare classes a slip from another's name",
    "small_class": "Classes too small for the split",
    "dark": "Dark images",
    "blank": "Images with next to nothing in them",
    "blurred": "Blurred images",
    "copies": "Copies",
    "augmented": "Augmented copies",
    "bursts": "Shots in a row",
    "series": "Long rows of shots",
    "scene": "Numbered images of one scene",
    "judged": "Labels that were judged",
    "box_judged": "Boxes that were judged",
    "unlabeled": "Images without a label",
    "no_box": "Images without a box",
    "imbalance": "Classes of very different size",
    "mode": "Rare color modes",
    "bits": "16 bits of which few are used",
    "size": "Odd sizes",
    "rotated": "Turned by EXIF alone",
}
"""Kind of finding -> what it is called, the gravest first: the order in which findings are shown."""

KEPT = ("two_labels", "leak", "copies", "bursts")
"""Kinds of findings whose sets tenfold split keeps in one part."""

ONE_PICTURE = ("two_labels", "leak", "against", "copies", "box_copies")
"""Kinds of findings whose sets are of one picture each."""

LOOSE = ("series", "scene")
"""Kinds of findings whose images may belong together and are kept so by no split of itself: what would flatter the
result, to be said before the split stands."""

UNTOLD = Together(0, 0, 0)

ABREAST = 6
"""Images of one set that are shown, and whose boxes in question are named."""


class Sample(NamedTuple):
    """An image that a finding names."""

    name: str
    """Its folder and file, and its row where the file holds several."""
    hash: str
    """Its content's hash, by which it is found in any table; empty where it cannot be read."""
    label: str = ""
    part: str = ""
    path: str = ""
    """Its file, absolute, and after a # its row where the file holds several."""


class Marked(NamedTuple):
    """A box in question, as its file has it."""

    row: int
    """Place of its image in the table that was checked."""
    label: str
    x1: float
    y1: float
    x2: float
    y2: float

    def __str__(self) -> str:
        """ "RBC 503,336,504,337"."""
        return f"{self.label} {self.x1:g},{self.y1:g},{self.x2:g},{self.y2:g}"


class Evidence(NamedTuple):
    """Images that belong together: one doubtful image, or all copies of one."""

    rows: tuple[int, ...]
    """Places in the table that was checked."""
    words: str = ""
    """What is amiss with these."""
    others: tuple[int, ...] = ()
    """Places in the table that it was checked against."""
    boxes: tuple[Marked, ...] = ()
    """The boxes that it is about, of the first ABREAST of these images; none where it is about whole images."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    kind: str
    """A key of TITLES."""
    needs_decision: bool
    images: int
    """How many images it concerns."""
    evidence: str
    """What was seen, in one sentence."""
    price: str
    """What it costs if nothing is done."""
    remedy: str
    """What to do."""
    sets: tuple[Evidence, ...] = ()
    """The images, the clearest cases first; none where a finding is about classes."""

    @property
    def title(self) -> str:
        """What this kind of finding is called."""
        return TITLES[self.kind]


@dataclass(frozen=True)
class Findings:
    """All that a check found, the gravest first."""

    images: int
    """How many images were checked."""
    found: tuple[Finding, ...] = ()
    samples: dict[int, Sample] = field(default_factory=dict)
    """The images that the findings name, by their place in the table."""
    others: dict[int, Sample] = field(default_factory=dict)
    """Those of the table that it was checked against."""
    together: Together = UNTOLD
    """What tenfold split keeps together, counted as split counts it; UNTOLD where an older file does not say."""

    @property
    def decisions(self) -> tuple[Finding, ...]:
        """The findings that need a decision."""
        return tuple(finding for finding in self.found if finding.needs_decision)

    def find(self, kind: str) -> Finding | None:
        """The finding of this kind, if there is one."""
        return next((finding for finding in self.found if finding.kind == kind), None)

    def example(self, finding: Finding) -> str:
        """The first images of a finding by name; what is said of them where there are none."""
        if not finding.sets:
            return ""
        first = finding.sets[0]
        named = [self.samples[row].name for row in first.rows] + [self.others[row].name for row in first.others]
        return listed(named, 2, " = " if finding.kind in ONE_PICTURE else ", ") or first.words

    def groups(self) -> list[tuple[int, ...]]:
        """Rows that must stay in one part: the sets of copies and of shots in a row; a row may be in several.

        Rows of shots that are too long for that are not among them.
        """
        return [item.rows for item in kept_sets(self.found)]

    def keep_together(self, table: Table) -> Table:
        """The table with a note, in `alike`, of which images belong together, so that no split tears these apart.

        The images are known by their content, so it may be any table of them. A set is named after the smallest hash
        in it. Groups that the table has stay as they are, and tie too.

        >>> import tenfold
        >>> table = tenfold.read_table("digits")
        >>> table = tenfold.split_table(tenfold.check_table(table).keep_together(table))
        """
        ties: dict[str, list[str]] = {}
        for place, rows in enumerate(self.groups()):
            for row in rows:
                ties.setdefault(self.samples[row].hash, []).append(f"{place}")
        sets: dict[int, list[str]] = {}
        hashes = sorted(ties)
        for digest, block in zip(hashes, join(ties[digest] for digest in hashes).tolist(), strict=True):
            sets.setdefault(block, []).append(digest)
        named = {digest: set_name(members) for members in sets.values() for digest in members if members[1:]}
        return replace(table, alike=table.alike | named)

    def to_json(self) -> dict[str, Any]:
        """JSON values. Each set has the paths of its images beside their rows; `samples` and `others` say more of them.
        Its `boxes` are those in question, xyxy in pixels of the upright image, each with its row and label; of a set of
        many images those of the first 6 alone.

        `together` counts what tenfold split keeps together: images, the sets that these are in, and images alone.
        """
        return {
            "images": self.images,
            "decisions": len(self.decisions),
            "together": self.together._asdict(),
            "findings": [self._finding_json(finding) for finding in self.found],
            "samples": {str(row): sample._asdict() for row, sample in self.samples.items()},
            "others": {str(row): sample._asdict() for row, sample in self.others.items()},
        }

    def _finding_json(self, finding: Finding) -> dict[str, Any]:
        names = ("kind", "title", "needs_decision", "images", "evidence", "price", "remedy")
        sets = [
            {
                "rows": item.rows,
                "paths": [self.samples[row].path for row in item.rows],
                "words": item.words,
                "others": item.others,
                "other_paths": [self.others[row].path for row in item.others],
                "boxes": [box._asdict() for box in item.boxes],
            }
            for item in finding.sets
        ]
        return {name: getattr(finding, name) for name in names} | {"sets": sets}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Findings:
        """The inverse of `to_json`. Raises DataError for anything else."""
        try:
            found = tuple(_finding(**values) for values in content["findings"])
            samples, others = (
                {int(row): Sample(**values) for row, values in content[name].items()} for name in ("samples", "others")
            )
            kept = Together(**content["together"]) if "together" in content else UNTOLD
            return cls(int(content["images"]), found, samples, others, kept)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"The findings are damaged or of another version ({error}); check the data anew.") from None


def gather(table: Table, found: Iterable[Finding | None], other: Table | None = None) -> Findings:
    """Findings in their order, with the images that they name."""
    order = list(TITLES)
    kept = sorted(
        (finding for finding in found if finding is not None),
        key=lambda finding: (not finding.needs_decision, order.index(finding.kind)),
    )
    rows = sorted({row for finding in kept for item in finding.sets for row in item.rows})
    others = sorted({row for finding in kept for item in finding.sets for row in item.others})
    named = (_samples(table, rows), _samples(other, others) if other else {})
    images = ~are_copies(table)  # no split deals with augmented copies: each goes where its image is
    parts = [part for part, own in zip(texts(table, "part"), images, strict=True) if own]
    return Findings(len(table), tuple(kept), *named, kept_whole(blocks_of(table, kept_sets(kept))[images], parts))


def kept_sets(found: Iterable[Finding | None]) -> list[Evidence]:
    """The sets that tenfold split keeps in one part: copies, and rows of shots that are not too long for that."""
    known = {finding.kind: finding for finding in found if finding is not None}
    return [item for kind in KEPT if kind in known for item in known[kind].sets]


def set_name(hashes: Iterable[str]) -> str:
    """The name of a set of what is alike, after the smallest content hash in it.

    So it keeps its name whatever else is found, and no other set ever has it; `tenfold.split.ties.is_found` knows it.
    """
    return f"alike-{min(hashes)[:12]}"


def blocks_of(table: Table, sets: Iterable[Evidence]) -> NDArray[np.int64]:
    """What must stay together, these sets and what the table itself ties, as numbers from 0: int64 [N]."""
    if table.samples[["x1", "origin"]].isna().all(axis=None):  # the ties of whole originals are few and quick to find
        ties = [bond(None, group, None) for group in texts(table, "group")]
    else:
        ties = bonds(table)
    for place, item in enumerate(sets):
        for row in item.rows:
            ties[row].append(f"set {place}")
    return join(ties)


def singles(rows: Iterable[int], words: Iterable[str]) -> tuple[Evidence, ...]:
    """Evidence of images that stand alone."""
    return tuple(Evidence((int(row),), text) for row, text in zip(rows, words, strict=True))


def marked_boxes(table: Table, places: Iterable[int]) -> dict[int, list[Marked]]:
    """The boxes at these places among a table's boxes, by the row of their image."""
    assert table.boxes is not None
    found: dict[int, list[Marked]] = {}
    columns = ["sample", "label", "x1", "y1", "x2", "y2"]
    for row, label, *corners in table.boxes[columns].iloc[list(places)].itertuples(index=False, name=None):
        found.setdefault(int(row), []).append(Marked(int(row), str(label), *map(float, corners)))
    return found


def share(part: float, whole: float) -> str:
    """ "0.4 %" of the whole."""
    return f"{100 * part / max(whole, 1):.1f} %"


def _samples(table: Table, rows: Sequence[int]) -> dict[int, Sample]:
    frame = table.samples.iloc[list(rows)]
    columns = frame[["source", "row", "hash", "label", "part"]].astype(object)
    cells = columns.where(columns.notna(), "").itertuples(index=False, name=None)
    return {
        row: Sample(short_name(source, place), digest, label, part, source + ("" if place == "" else f"#{place}"))
        for row, (source, place, digest, label, part) in zip(rows, cells, strict=True)
    }


def _finding(*, title: str, sets: list[dict[str, Any]], kind: str, **values: Any) -> Finding:
    if title != TITLES[kind]:
        raise ValueError(f"{kind} is not {title!r}")
    return Finding(kind=kind, sets=tuple(_evidence(**item) for item in sets), **values)


def _evidence(
    *, rows: list[int], words: str, others: list[int], boxes: Sequence[dict[str, Any]] = (), **_: Any
) -> Evidence:
    """One set of `to_json`; an older file does not say which boxes are in question."""
    return Evidence(tuple(rows), words, tuple(others), tuple(Marked(**box) for box in boxes))
