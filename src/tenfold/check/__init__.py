"""Check: a Table -> findings, each with its evidence, its price and its remedy, before anything is trained.

measures.py    what one image says of itself: header, sharpness, brightness, contrast, information
signature.py   the small part of an image by which its copies are found
survey.py      one pass over all images, kept in the cache
candidates.py  signatures -> pairs that may be copies
cells.py       the index that candidates of many images are found by
alignment.py   a pair's pixels -> whether one is made from the other
duplicates.py  signatures -> copies
pairs.py       the copies among images, from the cache where they were compared before
stored.py      arrays in the cache
bursts.py      signatures, names, times -> shots in a row
findings.py    what a finding is
sets.py        which images of a table belong together
quality.py     unreadable, dark, empty, blurred, odd
classes.py     too small, uneven, of nearly one name
box_findings.py  boxes of no area, outside the image, drawn twice, before EXIF turned it or in another size
leaks.py       copies and groups in two parts, two labels, two data sets
labels.py      labels that are likely wrong, by confident learning
box_labels.py  things that likely lack their box, and boxes whose label is likely wrong, by detectors
price.py       what a leak was worth to a run
price_boxes.py  the same of a detector
repair.py      the listing without what is doubtful
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tenfold.check.box_findings import box_findings
from tenfold.check.classes import class_findings
from tenfold.check.findings import LOOSE, Evidence, Finding, Findings, Sample, blocks_of, gather, kept_sets
from tenfold.check.labels import held_out_predictions, label_finding, refuse_without_boxes
from tenfold.check.leaks import against_finding, parts_of, set_findings
from tenfold.check.price import LeakPrice, labelled_leaks, leaked_hashes, price_leak
from tenfold.check.quality import quality_findings
from tenfold.check.repair import is_repaired, refuse_rows, write_repaired
from tenfold.check.sets import Looked, Surveyed, copy_sets, known_copies, shared_sets, shot_sets
from tenfold.check.survey import Progress, Survey, hash_images, survey_table
from tenfold.errors import DataError

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.run import Run

__all__ = [
    "LOOSE",
    "Evidence",
    "Finding",
    "Findings",
    "LeakPrice",
    "Looked",
    "Sample",
    "check_table",
    "findings_of",
    "hash_images",
    "is_repaired",
    "labelled_leaks",
    "leaked_hashes",
    "look_at_table",
    "parts_of",
    "price_leak",
    "refuse_rows",
    "refuse_without_boxes",
    "write_repaired",
]


def check_table(
    table: Table,
    *,
    against: Table | None = None,
    parts: Callable[[Table], Sequence[str | None]] | None = None,
    runs: Sequence[Run] = (),
    looked: Looked | None = None,
    allow_truncated: bool = False,
    progress: Progress | None = None,
) -> Findings:
    """Look at every image of the table, and at what they are to one another.

    against: another table, such as the published test images; what is in both is found.
    parts: gives each sample of the table, whose hashes are known by then, the part that counts for it.
    runs: runs that were trained on these images, whose predictions for their validation part tell which labels are
        likely wrong, and those of detectors which boxes are missing or of another class; several are the folds of one
        data set, and then all images are told of.
    looked: what `look_at_table` saw of this table, which is then not looked at again.
    allow_truncated: whether a file that ends too early counts as readable.
    progress: called with (images done, of how many) while images are read; none are that were read before.

    Raises DataError where no image can be read, UsageError for detectors and images without boxes. The rows of the
    findings are places in this table.

    >>> import tenfold
    >>> from tenfold.check import check_table
    >>> findings = check_table(tenfold.read_table("digits"))
    >>> findings.images, len(findings.decisions)
    (1797, 0)
    """
    refuse_without_boxes(table, runs)
    looked = looked or look_at_table(table, allow_truncated=allow_truncated, progress=progress)
    data = looked.data if parts is None else looked.data.in_parts(parts(looked.data.table))
    found, other = _found(data, looked), None
    if against is not None:
        other = _surveyed(against, allow_truncated, progress)
        found.append(against_finding(data.table, shared_sets(data, other), len(against)))
    if runs and runs[0].task.name == "detection":
        from tenfold.check.box_labels import box_label_findings, held_out_detections  # SciPy, by the metrics of boxes

        found += box_label_findings(data.table, held_out_detections(runs), runs[0].classes)
    elif runs:
        found.append(label_finding(data.table, held_out_predictions(runs), runs[0].classes))
    return gather(data.table, found, other.table if other else None)


def look_at_table(
    table: Table, *, known: Looked | None = None, allow_truncated: bool = False, progress: Progress | None = None
) -> Looked:
    """The part of a check that takes time; whatever parts the images are in then, `findings_of` says what is amiss.

    known: what was seen before of a table with these images, or most of them; of those nothing is decoded or compared
        again, with or without a cache.
    """
    data = _surveyed(table, allow_truncated, progress, known.data.survey if known else None)
    copies = known_copies(data, known) if known else None
    return Looked(data, copy_sets(data) if copies is None else copies, *shot_sets(data))


def findings_of(looked: Looked, parts: Sequence[str | None] | None = None) -> Findings:
    """The findings on images that were looked at, in these parts [N], by default in those that they had then."""
    data = looked.data if parts is None else looked.data.in_parts(parts)
    return gather(data.table, _found(data, looked))


def _found(data: Surveyed, looked: Looked) -> list[Finding | None]:
    sets = set_findings(data.table, looked.copies, looked.bursts, looked.scenes)
    blocks = blocks_of(data.table, kept_sets(sets))
    blocks[~data.survey.readable] = -1
    boxes = box_findings(data, looked.copies)
    looks = quality_findings(data.survey, with_boxes=data.table.boxes is not None)
    return [*looks, *sets, *class_findings(data.table, blocks), *boxes]


def _surveyed(table: Table, allow_truncated: bool, progress: Progress | None, known: Survey | None = None) -> Surveyed:
    survey = survey_table(table, known=known, allow_truncated=allow_truncated, progress=progress)
    if not len(survey.rows):
        first = next(iter(survey.unreadable.values()), "there is none")
        raise DataError(f"None of the {len(table)} images can be read; the first: {first}")
    return Surveyed(table.assign(hash=list(survey.hashes)), survey, allow_truncated)
