"""Everything that is said about a detector on one part: figures, and the details behind them.

    detection_matching.py   which detection found which object: COCO's rule and VOC's
    detection_areas.py      judged detections -> average precision and recall, of thousands of resamples
    detection_estimates.py  the figures with their intervals; two detectors on the same images
    detection_errors.py     kinds of mistakes and what mending each would gain; the confusion matrix
    detection_scores.py     scores: thresholds and reliability
    detection_ap50.py       AP50 alone: of two looks, and with and without some images

Shapes: N images, K classes, G objects, D detections.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import Estimate, Units, level_of_each, units_of
from tenfold.metrics.detection_errors import (
    Mistakes,
    confusion_at,
    error_counts,
    find_mistakes,
    mend,
)
from tenfold.metrics.detection_estimates import (
    DRAWS,
    Matches,
    Resampled,
    class_estimates,
    estimate,
    mean_estimates,
    measure,
    resampled,
)
from tenfold.metrics.detection_matching import (
    FALSE,
    FOUND,
    IGNORED,
    Detections,
    Objects,
    check_boxes,
    crowded_images,
    match_coco,
    match_voc,
)
from tenfold.metrics.detection_scores import best_f1, detection_units, score_reliability
from tenfold.metrics.intervals import share

NAMES = ("ap50", "ap", "ap75")
"""What is said of each class by itself."""
CURVE_POINTS = 200
SHOWN_FROM = 0.5
"""The score from which on detections are shown, unless one was chosen on other images."""


class Part(NamedTuple):
    """The images of a part, what is in them and what was found, matched once."""

    objects: Objects
    detections: Detections
    classes: tuple[str, ...]
    images: int
    matches: Matches
    mistakes: Mistakes

    def judged(self, name: int | None = None) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Which detections (of one class) are right or false, and which of these are right: int64 and bool [D]."""
        own = self.mistakes.verdict != IGNORED
        rows = np.flatnonzero(own if name is None else own & (self.detections.label == name))
        return rows, self.mistakes.verdict[rows] == FOUND


def match_part(objects: Objects, detections: Detections, classes: Sequence[str], images: int) -> Part:
    """Match the detections on `images` images to their objects, by both rules. Raises UsageError for unsound boxes."""
    if not images or not len(classes):
        raise UsageError(
            f"A detector's figures need at least one image and one class, and images is {images}, classes "
            f"{list(classes)}."
        )
    check_boxes(objects, detections, images, len(classes))
    coco = match_coco(objects, detections, images, len(classes))
    voc = match_voc(objects, detections, images, len(classes))
    mistakes = find_mistakes(objects, detections, coco)
    return Part(objects, detections, tuple(classes), images, Matches(coco, voc), mistakes)


def detection_findings(  # noqa: PLR0913 - all but four have a default that fits most
    objects: Objects,
    detections: Detections,
    classes: Sequence[str],
    images: int,
    groups: NDArray[np.object_] | None = None,
    *,
    level: float = 0.95,
    score: float = SHOWN_FROM,
    looks: int = 1,
    overlap: float = 1.0,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Figures by name, AP at an IoU of 0.5 first, and the details that a report shows.

    objects     what is in the images; of no area none, and at least one that counts
    detections  what was found, with scores from 0 to 1
    classes     names, in the order of the labels
    images      N, at least 1, those without objects and without detections among them
    groups      object [N], equal values are one group, None or NaN an image on its own; None: no groups
    level       of every interval
    score       from which on detections count in the confusion matrix, the errors' numbers and those of each class
    looks       as for classification_findings
    overlap     as for classification_findings
    draws       bootstrap resamples

    Details: "classes", "score", "confusion" (rows objects, columns detections, background and missed last),
    "per_class", "precision_recall" (at an IoU of 0.5), "errors" (kind, number from `score` on, gain in AP at 0.5 over
    all detections), "best_f1" and "reliability" (of all classes together, see detection_scores.py; None where nothing
    was detected), "crowded" (what COCO's limit of detections costs, see detection_matching.py), and "undefined": the
    figures that are left out, with the reason.
    Raises UsageError for arguments that are not as said here.
    """
    level = level_of_each(level, looks)
    if len(detections.score) and not 0 <= detections.score.min() <= detections.score.max() <= 1:
        least, most = detections.score.min(), detections.score.max()
        raise UsageError(f"detections.score must lie from 0 to 1, not {least:g} to {most:g}; hand in probabilities.")
    if not 0 <= score <= 1:
        raise UsageError(f"score must lie from 0 to 1, not {score:g}.")
    if objects.ignore.all():
        raise UsageError("A detector's figures need at least one object that is not to be ignored.")
    part = match_part(objects, detections, classes, images)
    units = units_of(groups, images, looks > 1, overlap)
    found = resampled(partial(measure, part.matches), units, draws, seed)
    figures = mean_estimates(found, part.matches, units, level)
    mended = mend(objects, detections, part.mistakes, images, len(classes))
    details = {
        "classes": list(part.classes),
        "score": score,
        "confusion": confusion_at(objects, detections, part.mistakes, score, len(classes)).tolist(),
        "per_class": [_class_line(part, found, place, score, units, level) for place in range(len(part.classes))],
        "precision_recall": _curves(part),
        "errors": _errors(part, score, resampled(mended.gains, units, draws, seed), units, level),
        "crowded": crowded_images(objects),
        "undefined": {name: "needs an object of that size" for name in found.value if name not in figures},
        **_scores(part, units, level),
    }
    return figures, details


def _errors(part: Part, score: float, gains: Resampled, units: Units, level: float) -> list[dict[str, Any]]:
    """A line for each kind of mistake, in the order of KINDS."""
    counts = error_counts(part.objects, part.detections, part.mistakes, score)
    return [
        {"kind": kind, "count": count, "gain": estimate(float(gains.value[kind][0, 0]), drawn[:, 0], units, level)}
        for (kind, count), drawn in zip(counts.items(), gains.drawn.values(), strict=True)
    ]


def _scores(part: Part, units: Units, level: float) -> dict[str, Any]:
    """{"best_f1", "reliability"} of all classes together."""
    rows, right = part.judged()
    if not len(rows):
        return {"best_f1": None, "reliability": None}
    score, own = part.detections.score[rows], detection_units(part.detections.image[rows], units)
    best = best_f1(score, right, int((~part.objects.ignore).sum()))
    return {
        "best_f1": best._asdict() if best else None,
        "reliability": score_reliability(score, right, own, level),
    }


def _class_line(part: Part, found: Resampled, place: int, score: float, units: Units, level: float) -> dict[str, Any]:
    """One class: its figures, and what the detections from `score` on make of it; None where nothing is there."""
    rows, right = part.judged(place)
    shown = part.detections.score[rows] >= score
    wanted = np.flatnonzero((part.objects.label == place) & ~part.objects.ignore)
    best = best_f1(part.detections.score[rows], right, len(wanted))

    def rate(hits: NDArray[np.bool_], image: NDArray[np.int64]) -> Estimate | None:
        return share(hits.astype(np.float64), detection_units(image, units), level) if len(hits) else None

    return {
        "class": part.classes[place],
        "images": len(np.unique(part.objects.image[wanted])),
        "objects": len(wanted),
        "shown": int(shown.sum()),
        **class_estimates(found, part.matches, place, units, level, NAMES),
        "precision": rate(right[shown], part.detections.image[rows[shown]]),
        "recall": rate(~missed_boxes(part, score)[wanted], part.objects.image[wanted]),
        "best_f1": best._asdict() if best else None,
    }


def _curves(part: Part) -> list[dict[str, Any]]:
    """Precision, recall and score along each class's ranking, at most CURVE_POINTS of it, at an IoU of 0.5."""
    curves = []
    for name, judged in zip(part.classes, part.matches.coco, strict=True):
        wanted = int(judged.wanted[0].sum())
        kept = judged.verdict[0] != IGNORED
        if not wanted or not kept.any():
            continue
        hits = np.cumsum(judged.verdict[0][kept] == FOUND)
        precision, recall = hits / np.arange(1, len(hits) + 1), hits / wanted
        rows = np.unique(np.linspace(0, len(hits) - 1, CURVE_POINTS).astype(int))
        score = part.detections.score[judged.place[kept]]
        curve = {"precision": precision[rows], "recall": recall[rows], "score": score[rows]}
        curves.append({"class": name, **{what: values.tolist() for what, values in curve.items()}})
    return curves


def image_mistakes(part: Part, score: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many detections from `score` on are false, and how many objects they missed, in each image: two int64 [N]."""
    shown = part.detections.score >= score
    false = part.detections.image[shown & (part.mistakes.verdict == FALSE)]
    missed = part.objects.image[missed_boxes(part, score)]
    return np.bincount(false, minlength=part.images), np.bincount(missed, minlength=part.images)


def missed_boxes(part: Part, score: float) -> NDArray[np.bool_]:
    """Which objects no detection from `score` on found: bool [G]; those to ignore never are."""
    found = (part.detections.score >= score) & (part.mistakes.verdict == FOUND)
    missed = ~part.objects.ignore
    missed[part.mistakes.partner[found]] = False
    return missed
