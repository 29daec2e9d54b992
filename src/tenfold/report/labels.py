"""Where the words at boxes go on a picture, so that they hide neither each other nor what they are about.

Shapes: B boxes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Corner = tuple[float, float]
"""x and y of a label's upper left corner."""


def place_labels(
    boxes_xyxy: NDArray[np.float64],
    sizes: NDArray[np.float64],
    image: tuple[float, float, float, float],
    hidden: float,
    most: int | None = None,
) -> list[Corner | None]:
    """Where the label of each box begins, the first ones served first; None where it has no room.

    boxes_xyxy  float64 [B, 4], x1 <= x2 and y1 <= y2, in the unit of all arguments
    sizes       float64 [B, 2], width and height of each label; a width of 0 is no label
    image       x, y, width and height of where labels may lie
    hidden      how much of a box's area a label may hide, of its own and of any other: 0 to 1
    most        how many labels are placed at most; None: all that have room

    A label lies above its box, or else below, beside or in it.
    """
    area = np.maximum((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1), 1e-9)
    corners: list[Corner | None] = [None] * len(boxes_xyxy)
    taken = np.empty((0, 4))
    for place, (wide, high) in enumerate(sizes.tolist()):
        if len(taken) == most:
            break
        if not 0 < wide <= image[2]:
            continue
        for x, y in _spots(boxes_xyxy[place].tolist(), wide, high, image):
            own = np.array([x, y, x + wide, y + high])
            if not _shared(own, taken).any() and (_shared(own, boxes_xyxy) <= hidden * area).all():
                taken, corners[place] = np.vstack([taken, own]), (x, y)
                break
    return corners


def _spots(box: list[float], wide: float, high: float, image: tuple[float, float, float, float]) -> Iterator[Corner]:
    """Corners of a label that lies in the image: above the box, below it, beside it, in it."""
    x1, y1, x2, y2 = box
    left, top, right, bottom = image[0], image[1], image[0] + image[2], image[1] + image[3]
    for x, y in (
        (x1, y1 - high),
        (x2 - wide, y1 - high),
        (x1, y2),
        (x2 - wide, y2),
        (x2, y1),
        (x1 - wide, y1),
        (x1, y1),
        (x1, y2 - high),
    ):
        if top <= y <= bottom - high:
            yield min(max(x, left), right - wide), y


def _shared(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that a box [4] shares with each of others [B, 4]."""
    sides = np.minimum(one[2:], others[:, 2:]) - np.maximum(one[:2], others[:, :2])
    shared: NDArray[np.float64] = np.maximum(sides, 0).prod(1)
    return shared
