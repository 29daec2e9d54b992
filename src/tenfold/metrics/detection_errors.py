"""What a detector's mistakes are, what mending each kind would gain, and what it takes for what.

The kinds are those of TIDE: Bolya, Foley, Hays and Hoffman, "TIDE: a general toolbox for identifying object detection
errors" (ECCV 2020, section 2, https://arxiv.org/abs/2008.08115), with their thresholds: an object is found from an IoU
of 0.5 on, and what overlaps nothing by more than 0.1 is background. A gain is the AP at 0.5 with that one kind mended
(their oracles: the best detection that a wrong class or place kept from an object finds it, and the others of the kind
are taken away; missed objects are not counted, as if they were found as precisely as the others) less the AP as it is,
so that gains of several kinds do not add up.

Shapes: N images, K classes, G objects, D detections.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import box_iou
from tenfold.metrics.detection_areas import COCO_RECALLS, Draws, average_precisions
from tenfold.metrics.detection_estimates import Figures, over_classes
from tenfold.metrics.detection_matching import FALSE, FOUND, IGNORED, Detections, Judged, Objects, by_image, ranks

KINDS = ("class", "location", "both", "duplicate", "background", "missed")
"""A wrong class on an object; the right class, badly placed; both; an object found twice; nothing there; an object that
nothing found and no detection of the first two kinds is about."""
CLASS, LOCATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(KINDS))
NEAR, FAR = 0.5, 0.1
"""IoU from which an object is found, and up to which a detection is of the background."""


class Mistakes(NamedTuple):
    """How each detection came out, by COCO's rule at an IoU of 0.5 and of any area."""

    verdict: NDArray[np.uint8]
    """[D], FOUND, FALSE or IGNORED, as are those beyond the number that the rule looks at."""
    kind: NDArray[np.int64]
    """[D], the place in KINDS of one that is FALSE, else -1."""
    partner: NDArray[np.int64]
    """[D], the object that was found, or that a wrong class or place kept from being found; else -1."""
    other: NDArray[np.int64]
    """[D], of a FALSE one, the object of another class with the highest IoU, where that is at least 0.5; else -1."""


def find_mistakes(objects: Objects, detections: Detections, coco: list[Judged]) -> Mistakes:
    """From what `match_coco` gave for the same."""
    count = len(detections.image)
    verdict = np.full(count, IGNORED, np.uint8)
    kind, partner, other = (np.full(count, -1, np.int64) for _ in range(3))
    for judged in coco:
        verdict[judged.place] = judged.verdict[0]
        partner[judged.place] = np.where(judged.verdict[0] == FOUND, judged.partner[0], -1)
    there = by_image(np.where(objects.ignore, -1, objects.image))
    false = np.flatnonzero(verdict == FALSE)
    kind[false] = BACKGROUND
    for image, places in by_image(detections.image[false]).items():
        if image in there:
            rows, wanted = false[places], there[image]
            kind[rows], partner[rows], other[rows] = _kinds(objects, detections, rows, wanted)
    return Mistakes(verdict, kind, partner, other)


def missed_objects(objects: Objects, detections: Detections, mistakes: Mistakes, score: float) -> NDArray[np.bool_]:
    """Which objects are missed by the detections from `score` on: bool [G]; those to ignore never are."""
    seen = mistakes.partner[(detections.score >= score) & (mistakes.partner >= 0)]
    missed = ~objects.ignore
    missed[seen] = False
    return missed


def error_counts(objects: Objects, detections: Detections, mistakes: Mistakes, score: float) -> dict[str, int]:
    """How many mistakes of each kind the detections from `score` on make."""
    shown = mistakes.kind[detections.score >= score]
    counts = np.bincount(shown[shown >= 0], minlength=len(KINDS))
    counts[MISSED] = missed_objects(objects, detections, mistakes, score).sum()
    return dict(zip(KINDS, counts.tolist(), strict=True))


class Mended(NamedTuple):
    """A detector's classes as they are and with each kind of mistake mended, in the order of KINDS."""

    now: list[Judged]
    mended: list[list[Judged]]

    def gains(self, draws: Draws) -> Figures:
        """Kind -> what mending it would add to the AP at 0.5, float64 [B, 1]; 0 to 1."""
        base, *better = (_precisions(judged, draws) for judged in (self.now, *self.mended))
        # A class of which all objects were missed has none left where these are taken off: nothing to find is perfect.
        better = [np.where(np.isnan(one) & ~np.isnan(base), 1.0, one) for one in better]
        gains = [np.maximum(over_classes(one) - over_classes(base), 0.0)[:, None] for one in better]
        return dict(zip(KINDS, gains, strict=True))


def mend(objects: Objects, detections: Detections, mistakes: Mistakes, images: int, classes: int) -> Mended:
    """Each kind of mistake mended in its turn, to be measured by `Mended.gains`."""
    wanted = np.zeros((classes, images))
    np.add.at(wanted, (objects.label[~objects.ignore], objects.image[~objects.ignore]), 1)
    missed = missed_objects(objects, detections, mistakes, -np.inf)
    fewer = wanted.copy()
    np.subtract.at(fewer, (objects.label[missed], objects.image[missed]), 1)
    mended = []
    for kind in range(MISSED):
        verdict, label = _mend(objects, detections, mistakes, kind)
        mended.append(_ranked(detections, label, verdict, wanted))
    mended.append(_ranked(detections, detections.label, mistakes.verdict, fewer))
    return Mended(_ranked(detections, detections.label, mistakes.verdict, wanted), mended)


def confusion_at(
    objects: Objects, detections: Detections, mistakes: Mistakes, score: float, classes: int
) -> NDArray[np.int64]:
    """Objects (rows) against detections from `score` on (columns): int64 [K + 1, K + 1].

    The last row is the background, the last column what was missed. A detection that is false for its class stands at
    the object of another class that it overlaps by half or more, unless that was found or given away already, by score.
    """
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    shown = detections.score >= score
    found = np.flatnonzero(shown & (mistakes.verdict == FOUND))
    np.add.at(matrix, (detections.label[found], detections.label[found]), 1)
    free = ~objects.ignore
    free[mistakes.partner[found]] = False
    false = np.flatnonzero(shown & (mistakes.verdict == FALSE))
    for place in false[np.argsort(-detections.score[false], kind="stable")].tolist():
        taken = int(mistakes.other[place])
        row = classes
        if taken >= 0 and free[taken]:
            row, free[taken] = int(objects.label[taken]), False
        matrix[row, detections.label[place]] += 1
    matrix[:classes, classes] = np.bincount(objects.label[free], minlength=classes)
    return matrix


def _kinds(
    objects: Objects, detections: Detections, rows: NDArray[np.int64], wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Kind, partner and other of FALSE detections of one image, whose objects `wanted` are, at least one."""
    iou = box_iou(detections.box[rows], objects.box[wanted])
    same = detections.label[rows][:, None] == objects.label[wanted]
    own, foreign = np.where(same, iou, -1.0), np.where(same, -1.0, iou)
    near_own, near_foreign = own.max(1), foreign.max(1)
    found_own, found_foreign = wanted[own.argmax(1)], wanted[foreign.argmax(1)]
    cases = [
        ((near_own >= FAR) & (near_own < NEAR), LOCATION),
        (near_foreign >= NEAR, CLASS),
        (near_own >= NEAR, DUPLICATE),
        (iou.max(1) <= FAR, BACKGROUND),
    ]
    kind = np.select([case for case, _ in cases], [name for _, name in cases], BOTH).astype(np.int64)
    partner = np.where(kind == LOCATION, found_own, np.where(kind == CLASS, found_foreign, -1))
    return kind, partner, np.where(near_foreign >= NEAR, found_foreign, -1)


def _mend(
    objects: Objects, detections: Detections, mistakes: Mistakes, kind: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Verdicts and labels, [D] each, with one kind of false detection mended."""
    verdict, label = mistakes.verdict.copy(), detections.label.copy()
    rows = np.flatnonzero(mistakes.kind == kind)
    verdict[rows] = IGNORED
    if kind in (CLASS, LOCATION):
        rows = rows[np.argsort(-detections.score[rows], kind="stable")]
        wanted, first = np.unique(mistakes.partner[rows], return_index=True)
        found = mistakes.partner[mistakes.verdict == FOUND]
        best = rows[first[~np.isin(wanted, found)]]
        verdict[best], label[best] = FOUND, objects.label[mistakes.partner[best]]
    return verdict, label


def _ranked(
    detections: Detections, label: NDArray[np.int64], verdict: NDArray[np.uint8], wanted: NDArray[np.float64]
) -> list[Judged]:
    """K classes, by one rule."""
    judged = []
    for name, objects in enumerate(wanted):
        place = np.flatnonzero((label == name) & (verdict != IGNORED))
        place = place[np.lexsort((detections.image[place], -detections.score[place]))]
        image, none = detections.image[place], np.full((1, len(place)), -1, np.int64)
        judged.append(Judged(place, image, ranks(image), verdict[None, place], none, objects[None]))
    return judged


def _precisions(judged: list[Judged], draws: Draws) -> NDArray[np.float64]:
    """The AP of each class, float64 [B, K]."""
    return np.concatenate([average_precisions(one, draws, COCO_RECALLS) for one in judged], 1)
