"""Boxes: findings on those of no area, outside the image, drawn twice, on an image that EXIF turns, or in another size.

Tenfold keeps every box as its file has it, and repairs none: only its owner knows what was meant. Of the findings on
single boxes a box has one, the first that fits.

Shapes: N images, B boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import THIN, box_iou, sound_boxes
from tenfold.check.findings import Evidence, Finding, Marked, marked_boxes, share, singles
from tenfold.check.quality import rotated
from tenfold.check.sets import Surveyed
from tenfold.words import are, count, listed

if TYPE_CHECKING:
    from tenfold.images.table import Table

MARGIN = 1.0
"""Pixels by which a box may reach over the edge: programs count from 0 or from 1, and round."""

SAME = 0.95
"""Intersection over union above which two boxes of one label are one that was drawn twice."""

_LISTED = 3  # boxes of one image that are named

Corners = NDArray[np.float64]
Mask = NDArray[np.bool_]


class _Boxes(NamedTuple):
    """The boxes of a table, and what is known of the images they are in."""

    table: Table
    owners: NDArray[np.int64]
    """[B], places in the table."""
    corners: Corners
    """xyxy [B, 4]."""
    labels: list[str]
    height: NDArray[np.float64]
    """[N], of the upright image; infinite where it cannot be read."""
    width: NDArray[np.float64]

    def sets(self, places: Iterable[int]) -> tuple[Evidence, ...]:
        """Evidence of boxes, an entry for each image."""
        marked = marked_boxes(self.table, places)
        return tuple(Evidence((row,), _listed(boxes), boxes=tuple(boxes)) for row, boxes in marked.items())


def box_findings(data: Surveyed, copies: Sequence[Evidence]) -> list[Finding | None]:
    """All findings on boxes; none for a table without. `copies` are the sets of images that are copies of another."""
    table, facts = data.table, data.survey.facts
    if table.boxes is None:
        return []
    sizes = (np.where(data.survey.readable, facts[name], np.inf).astype(np.float64) for name in ("height", "width"))
    corners = table.boxes[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    boxes = _Boxes(table, table.boxes["sample"].to_numpy(np.int64), corners, table.boxes["label"].tolist(), *sizes)
    turned = turned_images(boxes, facts["orientation"])
    untold, likely = _untold(boxes, facts["orientation"], turned)
    resized = resized_images(boxes, facts["orientation"]) & ~turned
    free = ~turned[boxes.owners]
    found: list[Finding | None] = [
        _turned(boxes, np.flatnonzero(turned), facts["orientation"], _others_likely(untold, likely=likely)),
        _turned_alone(boxes, rotated(data.survey, turned), untold, likely=likely),
        _resized(boxes, np.flatnonzero(resized)),
    ]
    for kind, mask in (
        ("box_corners", swapped(corners)),
        ("box_empty", thin(corners)),
        ("box_outside", _outside(boxes) & ~resized[boxes.owners]),
    ):
        found.append(_of_boxes(kind, boxes, np.flatnonzero(free & mask)))
        free &= ~mask
    twice = _of_boxes("box_twice", boxes, doubles(boxes.owners, corners, boxes.labels))
    return [*found, twice, _half_annotated(boxes, copies), _without(boxes, data.survey.rows)]


def swapped(corners: Corners) -> Mask:
    """Which boxes [B, 4] have x2 < x1 or y2 < y1: bool [B]."""
    return (corners[:, 2] < corners[:, 0]) | (corners[:, 3] < corners[:, 1])


def thin(corners: Corners) -> Mask:
    """Which boxes [B, 4] are at most a pixel wide or high: bool [B]."""
    mask: Mask = np.minimum(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]) <= THIN
    return mask


def excess(corners: Corners, height: NDArray[np.float64], width: NDArray[np.float64]) -> NDArray[np.float64]:
    """By how many pixels boxes [B, 4] reach over the edges of images of these sizes [B]: float64 [B], at least 0."""
    over = np.stack([-corners[:, ::2].min(1), -corners[:, 1::2].min(1)], 1)
    beyond = np.stack([corners[:, ::2].max(1) - width, corners[:, 1::2].max(1) - height], 1)
    reach: NDArray[np.float64] = np.maximum(np.concatenate([over, beyond], 1).max(1), 0)
    return reach


def doubles(owners: NDArray[np.int64], corners: Corners, labels: Sequence[str]) -> list[int]:
    """The boxes that lie on an earlier one of the same image and label: places in [B]."""
    found = []
    order = np.argsort(owners, kind="stable")
    order = order[sound_boxes(corners[order])]
    for places in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
        iou = np.tril(box_iou(corners[places], corners[places]), -1)
        same = [one for one, other in np.argwhere(iou > SAME) if labels[places[one]] == labels[places[other]]]
        found += sorted({int(places[one]) for one in same})
    return found


def turned_images(boxes: _Boxes, orientation: NDArray[np.int8]) -> Mask:
    """Which images have boxes that fit the image as it is stored, but not as EXIF turns it: bool [N].

    The size that the annotations state tells, and where they state none, boxes that reach outside the upright image
    and lie inside the stored one. Of images that are turned upside down or mirrored alone neither can tell: `_untold`
    has these.
    """
    upright, stored = (
        excess(boxes.corners, height[boxes.owners], width[boxes.owners]) > MARGIN
        for height, width in ((boxes.height, boxes.width), (boxes.width, boxes.height))
    )
    table = boxes.table
    outside, fits = np.zeros(len(table), bool), np.ones(len(table), bool)
    np.logical_or.at(outside, boxes.owners, upright)
    np.logical_and.at(fits, boxes.owners, ~stored)
    mask, held = np.zeros(len(table), bool), set(boxes.owners.tolist())
    sources = table.samples["source"].tolist()
    for row in np.flatnonzero((orientation >= 5) & (boxes.height != boxes.width)).tolist():
        said = table.said_sizes.get(sources[row])
        as_stored = said == (boxes.width[row], boxes.height[row])
        unsaid = said != (boxes.height[row], boxes.width[row])
        mask[row] = row in held and (as_stored or (unsaid and outside[row] and fits[row]))
    return mask


def _untold(boxes: _Boxes, orientation: NDArray[np.int8], turned: Mask) -> tuple[Mask, bool]:
    """Which other images that EXIF turns have boxes of which nothing tells whether they fit the stored image: bool [N];
    and whether those of the set that tell all do, so that these likely do too.

    A stated size tells of quarter turns alone. Where all that tell fit as they are turned, none is in doubt. Boxes that
    lie inside the upright image tell nothing: YOLO gives shares of its sides, whichever these were.
    """
    sources, held = boxes.table.samples["source"].tolist(), np.isin(np.arange(len(turned)), boxes.owners)
    sizes = zip(boxes.height.tolist(), boxes.width.tolist(), strict=True)
    as_said = [boxes.table.said_sizes.get(source) == sides for source, sides in zip(sources, sizes, strict=True)]
    upright = held & (orientation >= 5) & (boxes.height != boxes.width) & np.array(as_said, bool)
    untold = held & (orientation > 1) & ~turned & ~upright
    return untold & (turned.any() or not upright.any()), bool(turned.any() and not upright.any())


def resized_images(boxes: _Boxes, orientation: NDArray[np.int8]) -> Mask:
    """Which images have boxes for a size that is not theirs, by what their annotations state: bool [N].

    The stated size is neither that of the upright image nor that of the stored one, and all boxes fit it: where one
    reaches beyond it, it is the statement that is wrong. A pixel more or less is none.
    """
    said = np.full((len(boxes.table), 2), np.nan)
    for row, source in enumerate(boxes.table.samples["source"].tolist()):
        said[row] = boxes.table.said_sizes.get(source, said[row])
    real = np.stack([boxes.height, boxes.width], 1)
    is_real, is_stored = ((np.abs(said - sides) <= MARGIN).all(1) for sides in (real, real[:, ::-1]))
    beyond = np.zeros(len(said), bool)
    np.logical_or.at(beyond, boxes.owners, excess(boxes.corners, *said[boxes.owners].T) > MARGIN)
    known = np.isfinite(said).all(1) & np.isfinite(real).all(1) & np.isin(np.arange(len(said)), boxes.owners)
    mask: Mask = known & ~is_real & ~(is_stored & (orientation >= 5)) & ~beyond
    return mask


def _outside(boxes: _Boxes) -> Mask:
    mask: Mask = excess(boxes.corners, boxes.height[boxes.owners], boxes.width[boxes.owners]) > MARGIN
    return mask


_LEFT_OUT = "left out of training and of every figure, so a detector that finds such a thing counts as wrong"

_WORDS = {  # kind -> evidence, price and remedy
    "box_corners": (
        "the second corner is left of the first, or above it",
        f"They have no area and are {_LEFT_OUT}.",
        "Put the corners right in their files: x1 < x2 and y1 < y2.",
    ),
    "box_empty": (
        "at most one pixel wide or high, as from a click",
        "",  # see _price_of_thin
        "Draw them anew in their files, or delete them there; no file is changed by itself.",
    ),
    "box_outside": (
        "more than a pixel outside of the image",
        "Nothing can be seen of what lies outside, so even a perfect detector overlaps such a box less, or not at all.",
        "See whether they were drawn on another image, or on the image in another size.",
    ),
    "box_twice": (
        f"another of the same label lies on it (IoU above {SAME})",
        "One thing counts as two: a detector that finds it has missed one all the same.",
        "Delete one of each pair.",
    ),
}


def _of_boxes(kind: str, boxes: _Boxes, places: Sequence[int] | NDArray[np.int64]) -> Finding | None:
    if not len(places):
        return None
    sets = boxes.sets(map(int, places))
    what, price, remedy = _WORDS[kind]
    price = price or _price_of_thin(sound_boxes(boxes.corners[places]))
    return Finding(
        kind=kind,
        needs_decision=True,
        images=len(sets),
        evidence=f"{len(places):,} of {count(len(boxes.labels), 'box')}: {what}.",
        price=price,
        remedy=remedy,
        sets=sets,
    )


def _price_of_thin(sound: Mask) -> str:
    """What boxes without a pixel's width or height cost, which of them are sound: bool [B]."""
    flat, clicks = int((~sound).sum()), int(sound.sum())
    lost = f"{flat:,} {'has' if flat == 1 else 'have'} no area at all and {are(flat)} {_LEFT_OUT}."
    missed = f"{clicks:,} of up to a pixel can hardly be found: in the test part each counts as missed."
    return " ".join([*([lost] if flat else []), *([missed] if clicks else [])])


def _others_likely(untold: Mask, *, likely: bool) -> str:
    number = int(untold.sum())
    if not number:
        return ""
    verb = "were very likely" if likely else "may have been"
    return (
        f" Of {number:,} more that EXIF turns, as by 180° or mirrored, no stated size can tell it; their boxes {verb} "
        "drawn on the stored image too."
    )


def _turned_alone(boxes: _Boxes, note: Finding | None, untold: Mask, *, likely: bool) -> Finding | None:
    """The note on images that EXIF turns, and what to do where nothing tells which way up their boxes were drawn."""
    if note is None or not untold.any():
        return note
    marked = marked_boxes(boxes.table, np.flatnonzero(untold[boxes.owners]))
    sets = [item._replace(boxes=tuple(marked.get(item.rows[0], ()))) for item in note.sets]
    doubt = "nothing tells whether their boxes were drawn on the upright image, as it is read, or as it is stored"
    if likely:
        doubt = "as other images of the set tell, their boxes were very likely drawn on the image as it is stored"
    return replace(
        note,
        price="None to the images: they are turned when read. A box that was drawn on the image as it is stored lies "
        "beside its thing.",
        remedy=f"Look at {int(untold.sum()):,} of them (--page): {doubt}. Where boxes lie beside the things, remove "
        "the EXIF orientation from the file.",
        sets=tuple(sorted(sets, key=lambda item: not item.boxes)),
    )


def _turned(boxes: _Boxes, rows: NDArray[np.int64], orientation: NDArray[np.int8], others: str) -> Finding | None:
    if not len(rows):
        return None
    marked = marked_boxes(boxes.table, np.flatnonzero(np.isin(boxes.owners, rows)))
    sets = [
        Evidence(
            (row,),
            f"EXIF orientation {orientation[row]}: upright {boxes.width[row]:g} x {boxes.height[row]:g} pixels",
            boxes=tuple(marked[row]),
        )
        for row in rows.tolist()
    ]
    return Finding(
        kind="box_rotated",
        needs_decision=True,
        images=len(rows),
        evidence=f"The boxes of {count(len(rows), 'image')} of {len(boxes.table):,} fit the image as it is stored, not "
        f"as EXIF turns it.{others}",
        price="The boxes lie beside the things: training learns wrong places, and what is found right counts as wrong.",
        remedy="Remove the EXIF orientation from these files, which then fit their boxes, or draw the boxes anew.",
        sets=tuple(sets),
    )


def _resized(boxes: _Boxes, rows: NDArray[np.int64]) -> Finding | None:
    if not len(rows):
        return None
    marked = marked_boxes(boxes.table, np.flatnonzero(np.isin(boxes.owners, rows)))
    sources, factors, sets = boxes.table.samples["source"].tolist(), Counter[str](), []
    for row in rows.tolist():
        (high, wide), height, width = boxes.table.said_sizes[sources[row]], boxes.height[row], boxes.width[row]
        factor = _factor(width / wide, height / high, slack=MARGIN / min(wide, high))
        factors[factor] += 1
        words = f"stated {wide} x {high} pixels, the image has {width:g} x {height:g}: {factor}"
        sets.append(Evidence((row,), words, boxes=tuple(marked[row])))
    factor, often = factors.most_common(1)[0]
    return Finding(
        kind="box_size",
        needs_decision=True,
        images=len(rows),
        evidence=f"The annotations of {count(len(rows), 'image')} of {len(boxes.table):,} state another size than the "
        f"image has: {factor}{'' if often == len(rows) else f' in {often:,} of them'}.",
        price="Where images were resized after they were annotated, the boxes lie beside the things: training learns "
        "wrong places, and what is found right counts as wrong.",
        remedy="Look at them (--page). Where the boxes lie beside the things, multiply them by these factors in their "
        "files, or take the images in the stated size; where they fit, put the stated size right.",
        sets=tuple(sets),
    )


def _factor(wide: float, high: float, slack: float) -> str:
    """How many times a stated size an image has; sides that differ by less than the `slack` of rounding are alike."""
    if abs(wide - high) <= slack:
        return f"it is {max(wide, high):.3g} times as wide and high"
    return f"it is {wide:.3g} times as wide and {high:.3g} times as high"


def _half_annotated(boxes: _Boxes, copies: Sequence[Evidence]) -> Finding | None:
    """Copies of one picture of which some have boxes and others none: these are likely not annotated."""
    with_boxes = set(boxes.owners.tolist())
    sets = tuple(item for item in copies if 0 < len(with_boxes.intersection(item.rows)) < len(item.rows))
    if not sets:
        return None
    bare = {row for item in sets for row in item.rows} - with_boxes
    return Finding(
        kind="box_copies",
        needs_decision=True,
        images=len(bare),
        evidence=f"{count(len(bare), 'image')} without a box {are(len(bare))} a copy of one that has boxes.",
        price="The same thing is to be found in one and not to be found in the other, so no detector is right on both.",
        remedy="Annotate them, or leave them out.",
        sets=sets,
    )


def _without(boxes: _Boxes, rows: NDArray[np.int64]) -> Finding | None:
    bare = np.setdiff1d(rows, boxes.owners)
    if not len(bare):
        return None
    return Finding(
        kind="no_box",
        needs_decision=False,
        images=len(bare),
        evidence=f"{count(len(bare), 'image')} ({share(len(bare), len(rows))}) {are(len(bare))} annotated with no box.",
        price="None if there is nothing in them: they teach what is no object. One that nobody annotated teaches that "
        "its objects are none.",
        remedy="Look at some of them; leave out what was not annotated.",
        sets=singles(bare, ("no box" for _ in bare)),
    )


def _listed(boxes: Sequence[Marked]) -> str:
    """ "RBC 503,336,504,337; RBC 180,328,181,329 and 1 more"."""
    return listed([str(box) for box in boxes], _LISTED, "; ")
