"""Which detection found which object: COCO's rule by pycocotools, and VOC's.

Both go through one class's detections in one image from the highest score down, and differ in what a detection may
take. COCO (https://cocodataset.org/#detection-eval): the object of the highest IoU among those not taken yet, so that
a second detection of an object may have its neighbor. VOC (Everingham et al. 2010, section 4.2,
https://doi.org/10.1007/s11263-009-0275-4): the object of the highest IoU, taken or not, and if it is taken, the
detection is false. So one matching cannot serve both where objects of a class overlap by half; each is kept exact here,
and everything beyond VOC's two figures (curves, errors, confusion, thresholds) comes of COCO's.

A box to ignore (VOC difficult, COCO crowd) counts neither way in both. For VOC a detection whose best object it is
counts for nothing; for COCO one that found nothing else, and lies in it by the threshold's share of its own area.

pycocotools (BSD) and not faster-coco-eval (Apache-2.0, C++): the latter keeps its matches where Python cannot read
them, and torchmetrics asks one of these two.

Shapes: N images, K classes, G objects, D detections, R rules; T = 10 thresholds of IoU, A = 4 ranges of area.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import box_iou
from tenfold.errors import UsageError

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""COCO's thresholds of IoU; a detection has found an object from that on."""
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""COCO's ranges of area in pixels of the original image, both ends included: of an object the one that it is given, as
that of a mask, or else its box's; of a detection its box's. One beyond, as of a slip in a coordinate, counts as the
highest."""
MOST = 100
"""Detections of a class in an image, the best ones, that COCO looks at."""
IGNORED, FOUND, FALSE = 0, 1, 2


class Objects(NamedTuple):
    """What is in N images."""

    image: NDArray[np.int64]
    """[G], 0 to N - 1."""
    box: NDArray[np.float64]
    """[G, 4], xyxy in pixels, x1 < x2 and y1 < y2."""
    label: NDArray[np.int64]
    """[G], 0 to K - 1."""
    ignore: NDArray[np.bool_]
    """[G], neither to be found nor to be counted as false."""
    area: NDArray[np.float64] | None = None
    """[G], pixels, by which it is small, medium or large; None: that of its box."""

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Objects:
        """Some of the objects, by their places or by a mask."""
        area = None if self.area is None else self.area[rows]
        return Objects(self.image[rows], self.box[rows], self.label[rows], self.ignore[rows], area)


class Detections(NamedTuple):
    """What a detector says is in N images."""

    image: NDArray[np.int64]
    """[D], 0 to N - 1."""
    box: NDArray[np.float64]
    """[D, 4], xyxy in pixels, x1 <= x2 and y1 <= y2."""
    label: NDArray[np.int64]
    """[D], 0 to K - 1."""
    score: NDArray[np.float64]
    """[D], any finite number."""


@dataclass(frozen=True, eq=False)
class Judged:
    """The detections of one class, the highest score first (of equal ones as they came), and how R rules judge them."""

    place: NDArray[np.int64]
    """[D], which of the detections each is."""
    image: NDArray[np.int64]
    """[D]"""
    rank: NDArray[np.int64]
    """[D], its place among those of its class in its image, from 0."""
    verdict: NDArray[np.uint8]
    """[R, D], IGNORED, FOUND or FALSE."""
    partner: NDArray[np.int64]
    """[R, D], which object it found, or was ignored for; -1 for none."""
    wanted: NDArray[np.float64]
    """[R, N], how many objects of the class each image has that count."""
    _found: dict[int, NDArray[np.float64]] = field(default_factory=dict, repr=False)

    @cached_property
    def counting(self) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """What counts by each rule, rule after rule: which detections, whether each found its object, and where the
        rules begin (and the last one ends): int64 [S], bool [S], int64 [R + 1].
        """
        rows = [np.flatnonzero(verdict != IGNORED) for verdict in self.verdict]
        found = [verdict[own] == FOUND for verdict, own in zip(self.verdict, rows, strict=True)]
        return np.concatenate(rows), np.concatenate(found), np.cumsum([0, *map(len, rows)])

    def found_within(self, most: int) -> NDArray[np.float64]:
        """How many objects of each image its best `most` detections of the class found: float64 [R, N]."""
        if most not in self._found:
            hits = ((self.verdict == FOUND) & (self.rank < most)).astype(np.float64)
            images = self.wanted.shape[1]
            self._found[most] = np.stack([np.bincount(self.image, row, images) for row in hits])
        return self._found[most]


def check_boxes(objects: Objects, detections: Detections, images: int, classes: int) -> None:
    """Raise UsageError unless both are as their fields say."""
    for name, found in (("objects", objects), ("detections", detections)):
        if found.box.shape != (len(found.image), 4) or not np.isfinite(found.box).all():
            odd = _first(~np.isfinite(found.box).all(-1), found.box) or f"their shape is {list(found.box.shape)}"
            raise UsageError(
                f"The boxes of the {name} must be finite numbers [{len(found.image)}, 4], xyxy in pixels, and {odd}."
            )
        for what, values, most in (("image", found.image, images), ("label", found.label, classes)):
            if len(values) and not 0 <= values.min() <= values.max() < most:
                raise UsageError(
                    f"The {what} of the {name} must lie from 0 to {most - 1}, not {values.min()} to {values.max()}."
                )
    area = objects.area
    if area is not None and (area.shape != objects.image.shape or not np.isfinite(area).all() or (area < 0).any()):
        raise UsageError(
            f"The areas of the objects must be finite numbers [{len(objects.image)}], 0 or more, in pixels."
        )
    if not (objects.box[:, :2] < objects.box[:, 2:]).all():
        flat = _first(~(objects.box[:, :2] < objects.box[:, 2:]).all(1), objects.box)
        raise UsageError(
            f"The boxes of the objects must have x1 < x2 and y1 < y2, and {flat}; leave out those of no area."
        )
    if not (detections.box[:, :2] <= detections.box[:, 2:]).all():
        turned = _first(~(detections.box[:, :2] <= detections.box[:, 2:]).all(1), detections.box)
        raise UsageError(
            f"The boxes of the detections must have x1 <= x2 and y1 <= y2, and {turned}; is it their width that came?"
        )
    if not np.isfinite(detections.score).all():
        odd = _first(~np.isfinite(detections.score), detections.score)
        raise UsageError(f"The scores of the detections must be finite numbers, and {odd}.")


def _first(wrong: NDArray[np.bool_] | np.bool_, values: NDArray[Any]) -> str:
    """The first row that is wrong, and its values, in words; empty where none is."""
    rows = np.flatnonzero(wrong)
    return f"row {rows[0]} is {values[rows[0]].tolist()}" if len(rows) else ""


def match_coco(objects: Objects, detections: Detections, images: int, classes: int) -> list[Judged]:
    """By each of COCO's areas and overlaps, R = A * T rules, the overlap running fastest; K classes in order."""
    from pycocotools.cocoeval import COCOeval

    rule = COCOeval(iouType="bbox")
    rule.params.maxDets = [MOST]
    for place, box in enumerate(objects.box):
        ignore = int(objects.ignore[place])
        entry = _entry(place, box) | {"ignore": ignore, "iscrowd": ignore}
        if objects.area is not None:
            entry["area"] = _area(float(objects.area[place]))
        rule._gts[int(objects.image[place]), int(objects.label[place])].append(entry)
    for place, box in enumerate(detections.box):
        entry = _entry(place, box) | {"score": float(detections.score[place])}
        rule._dts[int(detections.image[place]), int(detections.label[place])].append(entry)
    pairs = sorted({*rule._gts, *rule._dts})
    return [
        _joined(detections, [(image, _by_area(rule, image, label)) for image, label in pairs if label == name], images)
        for name in range(classes)
    ]


def match_voc(
    objects: Objects, detections: Detections, images: int, classes: int, overlap: float = 0.5
) -> list[Judged]:
    """By VOC's rule at one IoU, R = 1; K classes in order. With no limit to the number of detections."""
    best = _best_objects(objects, detections, overlap)
    judged = []
    for name in range(classes):
        place = np.flatnonzero(detections.label == name)
        place = place[np.lexsort((detections.image[place], -detections.score[place]))]
        found = best[place]
        verdict = np.full(len(place), FALSE, np.uint8)
        _, first = np.unique(found, return_index=True)  # of several detections of one object, the highest score
        verdict[first] = FOUND
        verdict[found < 0] = FALSE
        verdict[(found >= 0) & objects.ignore[found] if len(objects.ignore) else found >= 0] = IGNORED
        counts = objects.image[(objects.label == name) & ~objects.ignore]
        wanted = np.bincount(counts, minlength=images).astype(np.float64)
        image = detections.image[place]
        judged.append(Judged(place, image, ranks(image), verdict[None], found[None], wanted[None]))
    return judged


def crowded_images(objects: Objects) -> dict[str, int] | None:
    """What COCO's limit of MOST detections of a class in an image costs, whatever was detected; None: nothing.

    {"images": how many hold more objects of one class, "most": objects of one class in the fullest, "beyond": objects
    that can never count as found, "objects": all of them}; objects to ignore are not among them.
    """
    wanted = ~objects.ignore
    places = np.stack([objects.image[wanted], objects.label[wanted]], 1)
    pairs, counts = np.unique(places, axis=0, return_counts=True)
    over = counts > MOST
    if not over.any():
        return None
    images, beyond = len(np.unique(pairs[over, 0])), int((counts[over] - MOST).sum())
    return {"images": images, "most": int(counts.max()), "beyond": beyond, "objects": int(wanted.sum())}


def ranks(image: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the same image come before each: int64 [D]."""
    order = np.argsort(image, kind="stable")
    ordered = image[order]
    starts = np.searchsorted(ordered, ordered)
    result = np.empty(len(image), np.int64)
    result[order] = np.arange(len(image)) - starts
    return result


def by_image(image: NDArray[np.int64]) -> dict[int, NDArray[np.int64]]:
    """The places of each image, int64 [D], that has any."""
    order = np.argsort(image, kind="stable")
    names, starts = np.unique(image[order], return_index=True)
    return dict(zip(names.tolist(), np.split(order, starts[1:]), strict=True)) if len(image) else {}


def _best_objects(objects: Objects, detections: Detections, overlap: float) -> NDArray[np.int64]:
    """The object of its class and image that each detection overlaps most, -1 below `overlap`: int64 [D]."""
    best = np.full(len(detections.image), -1, np.int64)
    there = by_image(objects.image)
    for image, rows in by_image(detections.image).items():
        if image not in there:
            continue
        wanted = there[image]
        same = detections.label[rows][:, None] == objects.label[wanted]
        iou = np.where(same, box_iou(detections.box[rows], objects.box[wanted]), -1.0)
        highest = iou.argmax(1)
        best[rows] = np.where(iou.max(1) >= overlap, wanted[highest], -1)
    return best


def _entry(place: int, box: NDArray[np.float64]) -> dict[str, Any]:
    """A box as pycocotools has it; its ids begin at 1, as it takes 0 for no match."""
    x1, y1, x2, y2 = box.tolist()
    return {"id": place + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": _area((x2 - x1) * (y2 - y1))}


def _area(pixels: float) -> float:
    """An area within COCO's range of all; an object beyond would count in no figure, not even as missed."""
    return min(pixels, AREAS["all"][1])


def _by_area(rule: Any, image: int, label: int) -> list[dict[str, Any] | None]:
    """What pycocotools says of one class in one image by each range of area; None where all boxes lie outside."""
    overlaps = rule.computeIoU(image, label)
    # Two boxes of no area give 0 / 0 there; they have nothing in common.
    rule.ious[image, label] = np.nan_to_num(overlaps) if len(overlaps) else overlaps
    areas = np.array([entry["area"] for entry in (*rule._gts[image, label], *rule._dts[image, label])])
    results: list[dict[str, Any] | None] = []
    for low, high in AREAS.values():
        inside = (areas >= low) & (areas <= high)
        if not inside.any():
            results.append(None)
        elif inside.all() and results:
            results.append(results[0])  # the same as of all areas, without the time
        else:
            results.append(rule.evaluateImg(image, label, [low, high], MOST))
    return results


def _joined(detections: Detections, found: Sequence[tuple[int, list[dict[str, Any] | None]]], images: int) -> Judged:
    """One class, from what pycocotools says of each image in which there is any of it."""
    rules = len(AREAS) * len(OVERLAPS)
    wanted = np.zeros((len(AREAS), images))
    places: list[NDArray[np.int64]] = []
    verdicts, partners = [], []
    for row, results in found:
        whole = results[0]
        assert whole is not None  # every area lies in the range of all
        place = np.array(whole["dtIds"], np.int64) - 1
        shape = (len(AREAS), len(OVERLAPS), len(place))
        verdict, partner = np.full(shape, IGNORED, np.uint8), np.full(shape, -1, np.int64)
        for area, result in enumerate(results):
            if result is not None:
                wanted[area, row] = np.count_nonzero(np.asarray(result["gtIgnore"]) == 0)
                matched = result["dtMatches"]
                verdict[area] = np.where(result["dtIgnore"], IGNORED, np.where(matched > 0, FOUND, FALSE))
                partner[area] = matched.astype(np.int64) - 1
        places.append(place)
        verdicts.append(verdict.reshape(rules, -1))
        partners.append(partner.reshape(rules, -1))
    place = np.concatenate([np.empty(0, np.int64), *places])
    order = np.argsort(-detections.score[place], kind="stable")
    place = place[order]
    image = detections.image[place]
    return Judged(
        place,
        image,
        ranks(image),
        np.concatenate([np.empty((rules, 0), np.uint8), *verdicts], 1)[:, order],
        np.concatenate([np.empty((rules, 0), np.int64), *partners], 1)[:, order],
        np.repeat(wanted, len(OVERLAPS), 0),
    )
