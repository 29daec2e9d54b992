"""Boxes: things that lack one, and boxes of likely another class, by detectors that were not trained on their images.

Two of the mistakes of metrics/detection_errors.py speak against the annotation and not against the detector, where it
is sure of them: a detection of the background, which no box touches (IoU up to 0.1), and one on a box of another class
(IoU from 0.5 on). How sure that is, is asked as labels.py asks it of whole images: detections are taken from the
highest score down, and only while at least SURE of them have found a box of their class. What lacks its box counts as
wrong there, so that the more boxes are missing, the surer a detection must be, and the fewer of them are named.
benchmarks/box_labels.py takes boxes of blood cells away, and flips labels.

Boxes to ignore, and those of a class that the detector does not know, absorb what lies on them: that counts neither
way. Where several runs tested an image, as of folds that are dealt twice, all of them must doubt the same.

Shapes: N images, each as often as runs tested it; G objects, D detections.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import CORNERS, box_coverage, box_iou, sound_boxes
from tenfold.check.findings import Evidence, Finding, Marked, marked_boxes, share
from tenfold.check.labels import SURE, refuse_mixed, sure_from
from tenfold.metrics.detection_errors import BACKGROUND, CLASS, FAR, NEAR, find_mistakes
from tenfold.metrics.detection_matching import FALSE, FOUND, Detections, Objects, by_image, match_coco
from tenfold.split.ties import texts
from tenfold.tasks import box_detections
from tenfold.words import are, count

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.run import Run

_DIGITS = 1  # of a pixel, in the corners of a detection that is named
_NONE = np.empty(0, np.int64)
_NOTHING = Detections(_NONE, np.empty((0, 4)), _NONE, np.empty(0))


class Doubts(NamedTuple):
    """What D detections speak against; places among them, the surest first."""

    missing: NDArray[np.int64]
    """Those where no box is."""
    mistaken: NDArray[np.int64]
    """Those on a box of another class that no surer one has found."""
    partner: NDArray[np.int64]
    """[D], the object that it found, or on which a `mistaken` one lies; else -1."""
    score: float
    """From which on detections are sure enough to judge; infinite where none is."""
    sure: int
    """Detections from there on that are right or wrong."""
    right: int
    """Of these."""


def doubtful_boxes(objects: Objects, detections: Detections, images: int, classes: int) -> Doubts:
    """What detectors that were not trained on N images speak against there."""
    mistakes = find_mistakes(objects, detections, match_coco(objects, detections, images, classes))
    score, right = detections.score, mistakes.verdict == FOUND
    counted = right | ((mistakes.verdict == FALSE) & ~_absorbed(objects, detections))
    bar = sure_from(score[counted], right[counted])
    sure, surest = counted & (score >= bar), np.argsort(-score, kind="stable")
    found = np.full(len(objects.image), -np.inf)  # the score with which its own class found each object
    np.maximum.at(found, mistakes.partner[right], score[right])
    missing, mistaken = (surest[(sure & (mistakes.kind == kind))[surest]] for kind in (BACKGROUND, CLASS))
    mistaken = mistaken[score[mistaken] > found[mistakes.partner[mistaken]]]
    return Doubts(missing, mistaken, mistakes.partner, bar, int(sure.sum()), int((sure & right).sum()))


def _absorbed(objects: Objects, detections: Detections) -> NDArray[np.bool_]:
    """Which detections lie on a box to ignore, of whatever class: bool [D]."""
    mask = np.zeros(len(detections.image), bool)
    there = by_image(np.where(objects.ignore, objects.image, -1))
    for image, rows in by_image(detections.image).items():
        if image in there:
            pair = detections.box[rows], objects.box[there[image]]
            mask[rows] = ((box_iou(*pair) > FAR) | (box_coverage(*pair) >= NEAR)).any(1)
    return mask


def held_out_detections(runs: Sequence[Run]) -> list[dict[str, Detections]]:
    """What each run finds in its validation images that can be read: content hash -> detections, of image 0.

    Several runs are the folds of one data set. A run whose evaluation of that part is not stored, as of a fold without
    objects, is asked. Raises DataError where the runs have different classes.
    """
    refuse_mixed(runs)
    return [_found_by(run) for run in runs]


def _found_by(run: Run) -> dict[str, Detections]:
    from tenfold.evaluate.evaluation import answer_part

    samples = run.table.samples
    if stored := run.evaluations.get("validation"):
        frame = run.predictions("validation", *CORNERS, "predicted", "score")
        rows = np.flatnonzero((samples["part"] == "validation") & ~samples["source"].isin(list(stored["unreadable"])))
    else:
        answered = answer_part(run, "validation")
        frame, rows = answered.predictions, answered.rows
        frame = frame.assign(sample=rows[frame["sample"].to_numpy(np.int64)])
    found = box_detections(frame, run.classes)
    places, hashes = by_image(found.image), samples["hash"].tolist()
    return {hashes[row]: _some(found, places.get(row, _NONE)) for row in rows.tolist()}


def _some(found: Detections, rows: NDArray[np.int64]) -> Detections:
    return Detections(np.zeros(len(rows), np.int64), found.box[rows], found.label[rows], found.score[rows])


def box_label_findings(
    table: Table, found: Sequence[Mapping[str, Detections]], classes: tuple[str, ...]
) -> list[Finding]:
    """What `held_out_detections` of runs with these classes speak against in the table, as its boxes are now.

    Where nothing is doubted, a note says by how much that was judged: silence is no proof.
    """
    hashes = texts(table, "hash")
    tests = [(row, one[digest]) for one in found for row, digest in enumerate(hashes) if digest and digest in one]
    rows = [row for row, _ in tests]
    objects, boxes = _objects(table, rows, classes)
    detections = _joined([one for _, one in tests])
    doubts = doubtful_boxes(objects, detections, len(rows), len(classes))
    label, score = [classes[place] for place in detections.label.tolist()], detections.score.tolist()

    def missing(place: int) -> _Doubt:
        test = int(detections.image[place])
        marked = Marked(rows[test], label[place], *detections.box[place].round(_DIGITS).tolist())
        return _Doubt(test, -1, marked, f"{marked} (score {score[place]:.2f})")

    def mistaken(place: int) -> _Doubt:
        box = int(boxes[doubts.partner[place]])
        [[marked]] = marked_boxes(table, [box]).values()
        words = f"{marked} looks like {label[place]} (score {score[place]:.2f})"
        return _Doubt(int(detections.image[place]), box, marked, words)

    times, images = Counter(rows), len(set(rows))
    basis = (
        f"of {count(doubts.sure, 'detection')} from a score of {doubts.score:.2f} on, in {count(images, 'image')} that "
        f"the detector was not trained on, {share(doubts.right, doubts.sure)} found a box of their class"
    )
    wrong = _finding("box_label", _agreed(map(mistaken, doubts.mistaken.tolist()), times), basis)
    lacking = _finding("box_missing", _agreed(map(missing, doubts.missing.tolist()), times), basis)
    return [one for one in (wrong, lacking) if one] or [_judged(doubts, images, len(table), basis)]


class _Doubt(NamedTuple):
    """One detection that speaks against the boxes."""

    test: int
    """Which of the N it is in."""
    box: int
    """Which of the table's boxes it is about; -1 where one is missing."""
    marked: Marked
    """The box in question, or where one is missing."""
    words: str


def _agreed(doubts: Iterable[_Doubt], times: Mapping[int, int]) -> list[_Doubt]:
    """Of those that mean the same the surest, which comes first, where each of the tests of its image has one.

    `times` says how often each image was tested, by its place in the table.
    """
    groups: dict[tuple[int, int], list[list[_Doubt]]] = {}
    every = []
    for doubt in doubts:
        here = groups.setdefault((doubt.marked.row, doubt.box), [])
        group = next((one for one in here if _overlap(one[0].marked, doubt.marked) >= NEAR), None)
        if group is None:
            group = []
            here.append(group)
            every.append(group)
        group.append(doubt)
    return [one[0] for one in every if len({doubt.test for doubt in one}) == times[one[0].marked.row]]


def _overlap(one: Marked, other: Marked) -> float:
    return float(box_iou(np.array([one[2:]]), np.array([other[2:]]))[0, 0])


def _objects(table: Table, rows: Sequence[int], classes: Sequence[str]) -> tuple[Objects, NDArray[np.int64]]:
    """The boxes that have an area in these images, and which of the table's each is: int64 [G]."""
    assert table.boxes is not None
    frame, known = table.boxes, {name: place for place, name in enumerate(classes)}
    corners = frame[[*CORNERS]].to_numpy(np.float64)
    label = np.array([known.get(name, -1) for name in frame["label"]], np.int64)
    ignore = frame["ignore"].to_numpy(np.bool_) | (label < 0)
    own = by_image(np.where(sound_boxes(corners), frame["sample"].to_numpy(np.int64), -1))
    there = [own.get(row, _NONE) for row in rows]
    image = np.repeat(np.arange(len(rows)), [len(places) for places in there])
    boxes = np.concatenate([_NONE, *there])
    return Objects(image, corners[boxes], label[boxes].clip(0), ignore[boxes]), boxes


def _joined(found: Sequence[Detections]) -> Detections:
    """The detections of N images, each of image 0, as one."""
    image = np.repeat(np.arange(len(found)), [len(one.image) for one in found])
    every = (_NOTHING, *found)
    box, label, score = (np.concatenate([getattr(one, name) for one in every]) for name in ("box", "label", "score"))
    return Detections(image, box, label, score)


_WORDS = {  # kind -> what is found, what is said of it, its price and its remedy
    "box_label": (
        "box",
        "likely of another class",
        "A detector that is right about them counts as wrong, and one that learns them learns a wrong class.",
        "Look at each (--page) and put the right label into its file; --fix changes none.",
    ),
    "box_missing": (
        "thing",
        "seen where no box is",
        "They are taught as background, and a detector that finds them counts as wrong.",
        "Look at each (--page) and draw the boxes that are missing in their files; --fix draws none.",
    ),
}


def _finding(kind: str, doubts: Sequence[_Doubt], basis: str) -> Finding | None:
    if not doubts:
        return None
    what, said, price, remedy = _WORDS[kind]
    images, number = len({doubt.marked.row for doubt in doubts}), len(doubts)
    return Finding(
        kind=kind,
        needs_decision=True,
        images=images,
        evidence=f"{count(number, what)} in {count(images, 'image')} {are(number)} {said}, the surest first: {basis}.",
        price=price,
        remedy=remedy,
        sets=tuple(Evidence((one.marked.row,), one.words, boxes=(one.marked,)) for one in doubts),
    )


def _judged(doubts: Doubts, tested: int, images: int, basis: str) -> Finding:
    """The note that nothing is doubted: of `images` so many were `tested`."""
    if doubts.sure:
        return Finding(
            kind="box_judged",
            needs_decision=False,
            images=tested,
            evidence=f"No box is doubted, and none is missed: {basis}.",
            price=f"What such a detector overlooks too stays unseen; {images - tested:,} other images were not judged.",
            remedy="Nothing to do; all folds together (tenfold train DATA --folds 5) judge more than one run.",
        )
    weak = f"the doubt of a detector says something only while {100 * SURE:.0f} % of its detections find a box"
    return Finding(
        kind="box_judged",
        needs_decision=False,
        images=images,
        evidence=f"No box could be judged: {weak}, and not even its surest do so.",
        price="Boxes that are missing or of a wrong class stay unseen.",
        remedy="Train a better detector, or on more images, and check with that run.",
    )
