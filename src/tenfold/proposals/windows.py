"""Sliding windows and random boxes: proposals that look at nothing but the image's size, for others to be held against.

Hosang, Benenson, Dollár and Schiele, "What makes for effective detection proposals?", TPAMI 38 (2016),
https://arxiv.org/abs/1502.05082, sections 2.3 and 2.4. Both are in random order, as no box is likelier than another.

Shapes: H x W pixels, P proposals.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tenfold.draws import draw_keys, uniforms
from tenfold.errors import UsageError

ASPECTS = (0.5, 1.0, 2.0)
"""Width over height of sliding windows."""
SMALLEST = 16
"""Pixels of a side that boxes have at least, where the image has as many."""

_STRIDES = np.geomspace(0.05, 40.0, 200)

Boxes = NDArray[np.float32]


def sliding_windows(size: tuple[int, int], count: int = 2000, number: int = 0) -> Boxes:
    """At most `count` windows float32 [P, 4] (xyxy, exclusive) of an image of `size` (H, W).

    Areas halve from the whole image down to SMALLEST x SMALLEST, and each has an equal share of the windows (with one
    stride for all areas nearly all windows would be of the smallest one): its stride, in sides of the window, is the
    least for which no more fit. `number` stands for the image in the random order. Raises UsageError.
    """
    _check(size, count)
    levels = _window_shapes(size)
    strides = [_stride(size, shapes, count / len(levels)) for shapes in levels]
    grids = [_grid(size, shape, s) for shapes, s in zip(levels, strides, strict=True) for shape in shapes]
    boxes = np.concatenate(grids)
    order = np.argsort(uniforms(_key(number), len(boxes))[0], kind="stable")
    return boxes[order][:count].astype(np.float32)


def random_boxes(size: tuple[int, int], count: int = 2000, number: int = 0) -> Boxes:
    """`count` boxes float32 [P, 4] (xyxy, exclusive) of an image of `size` (H, W), drawn for the image `number`.

    The square root of the area, the logarithm of width over height (1/2 to 2) and the place are uniform; what would
    be wider or higher than the image is as wide or high as it. Raises UsageError.
    """
    _check(size, count)
    height, width = size
    draws = uniforms(_key(number), 4 * count)[0].reshape(count, 4)
    least, most = min(SMALLEST, height, width), math.sqrt(height * width)
    root = least + draws[:, 0] * (most - least)
    stretch = 2.0 ** (draws[:, 1] - 0.5)
    w, h = np.minimum(root * stretch, width), np.minimum(root / stretch, height)
    x, y = draws[:, 2] * (width - w), draws[:, 3] * (height - h)
    return np.stack([x, y, x + w, y + h], 1).astype(np.float32)


def _window_shapes(size: tuple[int, int]) -> list[list[tuple[float, float]]]:
    """Of each area, the largest first, (width, height) of the windows that fit into the image."""
    height, width = size
    levels = [[(float(width), float(height))]]
    root = math.sqrt(height * width / 2)
    while root >= SMALLEST:
        sides = [(root * math.sqrt(aspect), root / math.sqrt(aspect)) for aspect in ASPECTS]
        levels.append([(w, h) for w, h in sides if w <= width and h <= height])
        root /= math.sqrt(2)
    return [shapes for shapes in levels if shapes]


def _stride(size: tuple[int, int], shapes: list[tuple[float, float]], most: float) -> float:
    """The least stride with which at most so many windows of these shapes fit; the largest where none is so large."""
    fitting = (s for s in _STRIDES if sum(math.prod(_steps(size, shape, s)) for shape in shapes) <= most)
    return float(next(fitting, _STRIDES[-1]))


def _steps(size: tuple[int, int], shape: tuple[float, float], stride: float) -> tuple[int, int]:
    """How many places there are along x and along y."""
    (height, width), (w, h) = size, shape
    return 1 + math.ceil((width - w) / (stride * w)), 1 + math.ceil((height - h) / (stride * h))


def _grid(size: tuple[int, int], shape: tuple[float, float], stride: float) -> NDArray[np.float64]:
    (height, width), (w, h) = size, shape
    columns, rows = _steps(size, shape, stride)
    x, y = np.meshgrid(np.linspace(0, width - w, columns), np.linspace(0, height - h, rows))
    return np.stack([x, y, x + w, y + h], -1).reshape(-1, 4)


def _key(number: int) -> NDArray[np.uint64]:
    return draw_keys(0, 0, np.array([number], np.uint64))


def _check(size: tuple[int, int], count: int) -> None:
    if min(size) < 1 or count < 1:
        raise UsageError(
            f"Boxes need a size of at least 1 x 1 pixel and a count of at least 1, not {size} and {count}."
        )
