"""Boxes: areas, intersection over union, clipping, and the formats of others.

Inside Tenfold a box is xyxy: x1, y1, x2, y2 in float pixels of the upright image, edges rather than pixel centers, so
that the first pixel reaches from 0 to 1, an image of W pixels from 0 to W, and a box's width is x2 - x1. A box is sound
where x1 < x2 and y1 < y2. One that is not has no area: it meets nothing, and no figure of it is NaN.

Shapes: B boxes, C other boxes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.floating[Any]]
"""[B, 4], finite."""

CORNERS = ("x1", "y1", "x2", "y2")
"""The names of a box's four numbers, in that order, where they are columns: of a Table's samples and boxes, of
predictions, of files of proposals, and of the listings that Tenfold writes."""

THIN = 1.0
"""Pixels up to which a side is none: a click in Pascal VOC, whose corners are both inside, gives a box of one pixel.
Of such a box nothing can be learned."""

_DUST = 9
"""Decimals of a pixel that are kept when a format is changed: 236.98 + 24.7 - 236.98 is to be 24.7 again."""

_YOLO_DUST = 6  # fewer, as a share of ten decimals comes back only to a millionth of a pixel


def sound_boxes(boxes_xyxy: Boxes) -> NDArray[np.bool_]:
    """Which boxes [B, 4] have x1 < x2 and y1 < y2: bool [B]; a NaN is never sound."""
    return (boxes_xyxy[:, 0] < boxes_xyxy[:, 2]) & (boxes_xyxy[:, 1] < boxes_xyxy[:, 3])


def large_enough(boxes_xyxy: Boxes) -> NDArray[np.bool_]:
    """Which boxes [B, 4], in pixels of the original image, are over THIN wide and high, so as to be learned: bool [B].

    A click, whose sides are at most THIN, is none, and neither is a box with a NaN.
    """
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return (sides[:, 0] > THIN) & (sides[:, 1] > THIN)


def box_areas(boxes_xyxy: Boxes) -> Boxes:
    """Areas [B] of boxes [B, 4] in square pixels; 0 for a box that is not sound."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    areas: Boxes = sides[:, 0] * sides[:, 1]
    return areas


def box_intersections(boxes_xyxy: Boxes, others_xyxy: Boxes) -> Boxes:
    """The area that each of boxes [B, 4] has in common with each of others [C, 4]: [B, C], square pixels."""
    low = np.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    high = np.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    sides = np.maximum(high - low, 0)
    common: Boxes = sides[..., 0] * sides[..., 1]
    return common


def box_iou(boxes_xyxy: Boxes, others_xyxy: Boxes) -> Boxes:
    """Intersection over union of each of boxes [B, 4] with each of others [C, 4]: [B, C], 0 to 1; 0 without an area."""
    common = box_intersections(boxes_xyxy, others_xyxy)
    union = box_areas(boxes_xyxy)[:, None] + box_areas(others_xyxy)[None, :] - common
    return _share(common, union)


def box_coverage(boxes_xyxy: Boxes, others_xyxy: Boxes) -> Boxes:
    """Intersection over area: the share of each of boxes [B, 4] that lies inside each of others [C, 4]: [B, C], 0 to 1.

    COCO judges by it whether a found box lies in a crowd.
    """
    common = box_intersections(boxes_xyxy, others_xyxy)
    return _share(common, np.broadcast_to(box_areas(boxes_xyxy)[:, None], common.shape))


def clip_boxes(boxes_xyxy: Boxes, height: float, width: float) -> Boxes:
    """Boxes [B, 4] cut to an image of this size in pixels; one that lies outside has no area then."""
    return np.clip(boxes_xyxy, 0, np.array([width, height, width, height], boxes_xyxy.dtype))


def from_voc(boxes: Boxes) -> Boxes:
    """Pascal VOC's xmin, ymin, xmax, ymax [B, 4] -> xyxy.

    VOC names the first and the last pixel, counted from 1, both inside: one pixel in the corner is 1, 1, 1, 1
    (VOC 2007 development kit, section 6.1, http://host.robots.ox.ac.uk/pascal/VOC/voc2007/devkit_doc_07-Jun-2007.pdf).
    """
    xyxy: Boxes = np.round(boxes - np.array([1.0, 1.0, 0.0, 0.0]), _DUST)
    return xyxy


def to_voc(boxes_xyxy: Boxes) -> Boxes:
    """The inverse of `from_voc`."""
    corners: Boxes = np.round(boxes_xyxy + np.array([1.0, 1.0, 0.0, 0.0]), _DUST)
    return corners


def from_coco(boxes: Boxes) -> Boxes:
    """COCO's x, y, width, height [B, 4] -> xyxy; x, y is the upper left corner (https://cocodataset.org/#format-data)."""
    return np.round(np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1), _DUST)


def to_coco(boxes_xyxy: Boxes) -> Boxes:
    """The inverse of `from_coco`."""
    return np.round(np.concatenate([boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]], 1), _DUST)


def from_yolo(boxes: Boxes, height: int, width: int) -> Boxes:
    """YOLO's center x, center y, width, height [B, 4], shares of the image's width and height -> xyxy."""
    center, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.round(np.concatenate([center - half, center + half], 1) * [width, height, width, height], _YOLO_DUST)


def to_yolo(boxes_xyxy: Boxes, height: int, width: int) -> Boxes:
    """The inverse of `from_yolo`."""
    low, high = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    shares: Boxes = np.concatenate([(low + high) / 2, high - low], 1) / [width, height, width, height]
    return shares


def _share(part: Boxes, whole: Boxes) -> Boxes:
    """Part by whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
