"""What a detector found on the images of a part and what is there, as boxes to be drawn; and its surest mistakes.

    found_again  the images that were evaluated, and what was found on them, matched anew
    image_boxes  everything in one image
    examples     the surest mistakes of each kind, each with what is around it

Shapes: N images, B boxes.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import CORNERS, box_iou
from tenfold.errors import TenfoldError
from tenfold.images.content import encoded
from tenfold.images.decode import decode_image
from tenfold.metrics.detection_errors import BACKGROUND, BOTH, CLASS, DUPLICATE, KINDS, MISSED, missed_objects
from tenfold.metrics.detection_matching import FALSE, FOUND
from tenfold.report.outlined import Box, Corners, Outlined, cut_label, outlined, picture_side, square_around
from tenfold.report.thumbnails import data_address
from tenfold.tasks import box_detections, table_objects

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.metrics.detection import Part
    from tenfold.report.context import Context

EXAMPLES = 4
"""Mistakes of a kind that are shown."""
NAMES = {
    "class": "Wrong class",
    "location": "Badly placed",
    "both": "Both",
    "duplicate": "Twice",
    "background": "Nothing there",
    "missed": "Missed",
}
"""Each of KINDS, as it is called."""

_NAMED = 5  # boxes of a kind that are named


class Detected(NamedTuple):
    """What was found on the images of a part."""

    part: Part
    score: float
    """From which on detections are shown."""
    lost: NDArray[np.bool_]
    """[G], the objects that no such detection found; none to be ignored."""


class Example(NamedTuple):
    """A mistake of one kind."""

    row: int
    """Of the images of the part."""
    boxes: list[Box]
    """The box in question first, then what it has to do with, then what else is there."""
    about: int
    """How many of the boxes are no others."""
    words: str
    """What is wrong."""


class Picture(NamedTuple):
    """An image, or a part of it, with boxes over it."""

    name: str
    """Of the image's file."""
    drawing: Outlined | None
    """None where the image cannot be read."""


def found_again(context: Context) -> tuple[Table, Detected]:
    """The images that were evaluated, and what was found on them, matched anew."""
    from tenfold.metrics.detection import match_part, missed_boxes

    samples = context.run.table.samples
    unreadable = list(context.evaluation.get("unreadable", {}))
    rows = np.flatnonzero((samples["part"] == context.part) & ~samples["source"].isin(unreadable))
    table, place = context.run.table.take(rows), np.full(len(samples), -1)
    place[rows] = np.arange(len(rows))
    frame = context.run.predictions(context.part, *CORNERS, "predicted", "score")
    frame = frame.assign(sample=place[frame["sample"].to_numpy(np.int64)])
    found = box_detections(frame, context.run.classes)
    part, score = match_part(table_objects(table)[0], found, context.run.classes, len(table)), context.details["score"]
    return table, Detected(part, score, missed_boxes(part, score))


def image_boxes(found: Detected, row: int) -> list[Box]:
    """All boxes of an image: what is wrong first, and the true boxes last."""
    part = found.part
    own = np.flatnonzero((part.detections.image == row) & (part.detections.score >= found.score))
    own = own[np.argsort(-part.detections.score[own], kind="stable")]
    verdict, there = part.mistakes.verdict[own], np.flatnonzero(part.objects.image == row)
    return [
        *(_detection(part, place) for place in own[verdict == FALSE].tolist()),
        *(_object(found, place) for place in there[found.lost[there]].tolist()),
        *(_detection(part, place) for place in own[verdict == FOUND].tolist()),
        *(_object(found, place)._replace(label="") for place in there[~found.lost[there]].tolist()),
    ]


def examples(found: Detected) -> dict[str, list[Example]]:
    """Kind -> up to EXAMPLES of its mistakes, of which there are any.

    Of detections the surest, of missed objects the largest; from different images, as far as there are such.
    """
    part = found.part
    missed = missed_objects(part.objects, part.detections, part.mistakes, found.score)
    area = (part.objects.box[:, 2:] - part.objects.box[:, :2]).prod(1)
    shown = part.detections.score >= found.score
    chosen: dict[str, list[Example]] = {}
    for number, kind in enumerate(KINDS):
        if number == MISSED:
            places = _worst(np.flatnonzero(missed), area, part.objects.image)
            own = [_missed(found, place) for place in places]
        else:
            places = _worst(
                np.flatnonzero(shown & (part.mistakes.kind == number)), part.detections.score, part.detections.image
            )
            own = [_false(found, place) for place in places]
        if own:
            chosen[kind] = own
    return chosen


def picture(table: Table, row: int, boxes: list[Box], wide: int, around: list[Box] | None = None) -> Picture:
    """An image with boxes, `wide` pixels on the page; with `around` the part of it where these are."""
    name = PurePath(table.samples["source"].iloc[row]).name
    try:
        pixels = decode_image(encoded(table, row), channels="rgb", allow_truncated=True, name=name)
    except (TenfoldError, OSError):
        return Picture(name, None)
    height, width = pixels.shape[:2]
    x, y, across, down = (0, 0, width, height) if around is None else square_around(around, width, height)
    address = data_address(np.ascontiguousarray(pixels[y : y + down, x : x + across]), picture_side(wide))
    return Picture(name, outlined(address, (x, y, across, down), boxes, wide))


def counted(boxes: list[Box]) -> str:
    """How many boxes of each kind there are, and what the wrong ones are, in words for who does not see them."""
    words = [f"{sum(box.kind == 'found' for box in boxes)} found"]
    for kind, what in (("false", "false"), ("missed", "not found")):
        own = [box.label for box in boxes if box.kind == kind]
        named = f" ({', '.join(own[:_NAMED])}{', …' if len(own) > _NAMED else ''})" if own else ""
        words.append(f"{len(own)} {what}{named}")
    return ", ".join(words)


def _detection(part: Part, place: int) -> Box:
    name, score = part.classes[part.detections.label[place]], part.detections.score[place]
    kind = int(part.mistakes.kind[place])
    right = part.mistakes.verdict[place] == FOUND
    words = f"{name}, score {score:.2f}: {'found' if right else NAMES[KINDS[kind]].lower()}"
    label = f"{cut_label(name)} {score:.2f}"
    return Box("found" if right else "false", _corners(part.detections.box[place]), words, label)


def _object(found: Detected, place: int) -> Box:
    """An object: "missed" where nothing found it, else "true", also where it is to be ignored."""
    part, lost = found.part, bool(found.lost[place])
    name = part.classes[part.objects.label[place]]
    what = "to be ignored" if part.objects.ignore[place] else "not found" if lost else "the true box"
    return Box("missed" if lost else "true", _corners(part.objects.box[place]), f"{name}: {what}", cut_label(name))


def _worst(places: NDArray[np.int64], worst: NDArray[np.float64], image: NDArray[np.int64]) -> list[int]:
    """Up to EXAMPLES of the places, the highest first, where an image comes again only after all others."""
    ranked = places[np.argsort(-worst[places], kind="stable")]
    turn = np.zeros(len(ranked), np.int64)
    for one in np.unique(image[ranked]):
        own = image[ranked] == one
        turn[own] = np.arange(own.sum())
    chosen: list[int] = ranked[np.argsort(turn, kind="stable")][:EXAMPLES].tolist()
    return chosen


def _missed(found: Detected, place: int) -> Example:
    row, name = int(found.part.objects.image[place]), found.part.classes[found.part.objects.label[place]]
    return Example(row, [_object(found, place), *_others(found, row, [place])], 1, f"{name}, not found")


def _false(found: Detected, place: int) -> Example:
    """A false detection, the object that it has to do with, and the detection that had found this already."""
    part = found.part
    row, kind, box = int(part.detections.image[place]), int(part.mistakes.kind[place]), _detection(part, place)
    said = f"{part.classes[part.detections.label[place]]} {part.detections.score[place]:.2f}"
    if kind == BACKGROUND:
        return Example(row, [box, *_others(found, row, [])], 1, f"{said}, where nothing is")
    about, overlap = _about(part, place)
    boxes, words = [box, _object(found, about)], f"{said}, overlap (IoU) {overlap:.2f}"
    if kind in (CLASS, BOTH):
        truth = part.classes[part.objects.label[about]]
        words = f"{said}, is {truth}" if kind == CLASS else f"{words} with {truth}"
    if kind == DUPLICATE:
        finder = np.flatnonzero((part.mistakes.partner == about) & (part.mistakes.verdict == FOUND))
        boxes += [_detection(part, int(first)) for first in finder]
        words = f"{said}, found with {part.detections.score[finder].max(initial=0):.2f} already"
    return Example(row, [*boxes, *_others(found, row, [about])], len(boxes), words)


def _about(part: Part, place: int) -> tuple[int, float]:
    """The object that a false detection has to do with, and how much of it that overlaps (IoU)."""
    there = np.flatnonzero((part.objects.image == part.detections.image[place]) & ~part.objects.ignore)
    iou = box_iou(part.detections.box[place][None], part.objects.box[there])[0]
    partner = int(part.mistakes.partner[place])
    wanted = iou
    if partner >= 0:
        wanted = np.where(there == partner, 1.0, 0.0)
    elif part.mistakes.kind[place] == DUPLICATE:
        wanted = np.where(part.objects.label[there] == part.detections.label[place], iou, -1.0)
    nearest = int(wanted.argmax())
    return int(there[nearest]), float(iou[nearest])


def _others(found: Detected, row: int, without: list[int]) -> list[Box]:
    """The other objects of an image, as what is there, without a label."""
    there = np.setdiff1d(np.flatnonzero(found.part.objects.image == row), without)
    return [_object(found, place)._replace(kind="true", label="") for place in there.tolist()]


def _corners(box: NDArray[np.float64]) -> Corners:
    x1, y1, x2, y2 = box.tolist()
    return x1, y1, x2, y2
