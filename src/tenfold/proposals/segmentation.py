"""Graph segmentation: regions whose border is stronger than what they hold inside.

Felzenszwalb and Huttenlocher, "Efficient graph-based image segmentation", IJCV 59 (2004),
https://doi.org/10.1023/B:VISI.0000022288.19776.77. The edges between all pixels and their 8 neighbors are taken in the
order of their weight, the distance of the two colors. An edge joins two components C where its weight is at most
Int(C) + k / |C| of both (section 4), Int(C) being the heaviest edge that joined C, so that larger k makes larger
regions. At last, components of fewer pixels than the smallest are joined to a neighbor, over the lightest edge first.

Two things differ from the authors' program and change nothing that matters. Weights are whole numbers of 1/64 grey
level, so that one pass of counting sorts them, and the smoothing has whole weights of 256ths: every machine gives the
same regions. And an edge that was inside a component when its turn came is not looked at a second time.

One plane counts as three that are equal, as in the authors' program for grey images, so that k means the same.

Shapes: C planes of H x W pixels, E edges; pixel number p is y * W + x, its edge d has number 4 p + d.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.proposals.compiled import compiled

UNIT = 64
"""Weights are whole numbers of 1 / UNIT grey levels."""
HEAVIEST = 32768
"""Above every weight: sqrt(3) * 255 * UNIT is 28,267."""
LARGEST_SIGMA = 4.0
LARGEST_IMAGE = 2**28
"""Pixels."""

_ONE, _HALF = np.float32(1 / 1024), np.float32(0.5)


class Edges(NamedTuple):
    """The edges between the pixels of an image in the order of their weights."""

    order: NDArray[np.uint32]
    """uint32 [E]: number of the pixel times 4, plus 0 for its edge to the right, 1 down, 2 down and right, 3 down and
    left. Of equal weights, the lower number comes first."""
    starts: NDArray[np.int64]
    """int64 [HEAVIEST + 1]: where the edges of each weight begin in `order`."""
    size: tuple[int, int]
    """Height and width."""


def sort_edges(planes: NDArray[np.uint8], sigma: float = 0.8) -> Edges:
    """The edges of uint8 [C, H, W] after smoothing by a Gaussian of `sigma` pixels, 0 to 4.

    They serve for any k. Raises UsageError for a sigma or planes that are not allowed.
    """
    if planes.ndim != 3 or planes.dtype != np.uint8 or not planes.size > 0 or planes[0].size > LARGEST_IMAGE:
        raise UsageError(
            f"planes must be uint8 [C, H, W] of 1 to 2**28 pixels, not {planes.dtype} {list(planes.shape)}."
        )
    taps = gaussian_taps(sigma)
    smooth = _smooth(np.ascontiguousarray(planes), taps)
    order, starts = _sort(_weigh(smooth, np.float32(3 / len(planes))))
    return Edges(order, starts, (planes.shape[1], planes.shape[2]))


def segment(edges: Edges, k: float, smallest: int) -> tuple[NDArray[np.int32], int]:
    """Regions of at least `smallest` pixels: labels int32 [H, W] from 0, in the order of first pixels, and how many.

    `k` > 0 is in grey levels times pixels; the larger it is, the larger are the regions. Raises UsageError.
    """
    if not (0 < k < math.inf and smallest >= 1):
        raise UsageError(f"segment needs k above 0 and smallest of at least 1, not {k:g} and {smallest}.")
    labels, count = _segment(edges.order, edges.starts, edges.size[0], edges.size[1], float(k), smallest)
    return labels, int(count)


def gaussian_taps(sigma: float) -> NDArray[np.float32]:
    """A Gaussian's weights at 0, 1, 2, ... pixels in whole 256ths; with its mirror image they sum to 256."""
    if not 0 <= sigma <= LARGEST_SIGMA:
        raise UsageError(f"sigma must be from 0 to {LARGEST_SIGMA:g} pixels, not {sigma:g}.")
    if sigma == 0:
        return np.array([256], np.float32)
    bell = np.exp(-0.5 * (np.arange(math.ceil(4 * sigma) + 1) / sigma) ** 2)
    sides = np.floor(256 * bell / (bell[0] + 2 * bell[1:].sum()) + 0.5)[1:]
    sides = sides[sides > 0]
    return np.array([256 - 2 * sides.sum(), *sides], np.float32)


@compiled
def _smooth(planes, taps):
    """float32 [C, H, W] in units of 1/64 grey level; all products and sums are whole numbers below 2**24, so exact."""
    C, H, W = planes.shape
    reach = len(taps) - 1
    result, line = np.empty((C, H, W), np.float32), np.empty(W + 2 * reach, np.float32)
    for c in range(C):
        for y in range(H):
            _add_scaled(planes[c, y], planes[c, y], taps[0] * _HALF, True, line[reach : reach + W])
            for i in range(1, reach + 1):
                above, below = planes[c, max(y - i, 0)], planes[c, min(y + i, H - 1)]
                _add_scaled(above, below, taps[i], False, line[reach : reach + W])
            line[:reach] = line[reach]
            line[reach + W :] = line[reach + W - 1]
            middle = line[reach : reach + W]
            _add_scaled(middle, middle, taps[0] * _HALF * _ONE, True, result[c, y])
            for i in range(1, reach + 1):
                left, right = line[reach - i : reach - i + W], line[reach + i : reach + i + W]
                _add_scaled(left, right, taps[i] * _ONE, False, result[c, y])
    return result


@compiled
def _add_scaled(first, second, factor, fresh, total):
    for x in range(len(total)):
        both = factor * (np.float32(first[x]) + np.float32(second[x]))
        total[x] = both if fresh else total[x] + both


@compiled
def _weigh(smooth, factor):
    """Weights uint16 [4, H, W] of the edges of each pixel; those that would leave the image are not set."""
    C, H, W = smooth.shape
    weights, total = np.empty((4, H, W), np.uint16), np.empty(W, np.float32)
    for y in range(H):
        for d in range(4):
            down, first, last, shift = _reach(d, W)
            if y + down == H:
                continue
            line = total[first:last]
            line[:] = 0
            for c in range(C):
                here, there = smooth[c, y, first:last], smooth[c, y + down, first + shift : last + shift]
                for x in range(len(line)):
                    step = there[x] - here[x]
                    line[x] += step * step
            target = weights[d, y, first:last]
            for x in range(len(line)):
                target[x] = np.uint16(np.sqrt(line[x] * factor) + _HALF)
    return weights


@compiled
def _reach(d, W):
    """Of edge d: rows down, first and one past the last column that has it, columns to the right."""
    if d == 0:
        return 0, 0, W - 1, 1
    if d == 1:
        return 1, 0, W, 0
    return (1, 0, W - 1, 1) if d == 2 else (1, 1, W, -1)


@compiled
def _sort(weights):
    _, H, W = weights.shape
    starts = np.zeros(HEAVIEST + 1, np.int64)
    for y in range(H):
        for d in range(4):
            down, first, last, _ = _reach(d, W)
            if y + down < H:
                for x in range(first, last):
                    starts[np.int64(weights[d, y, x]) + 1] += 1
    for w in range(HEAVIEST):
        starts[w + 1] += starts[w]
    order, places = np.empty(starts[HEAVIEST], np.uint32), starts.astype(np.uint32)
    for y in range(H):
        lowest = y + 1 == H
        for x in range(W):
            for d in range(4):
                rightmost = x + 1 == W and (d == 0 or d == 2)
                if rightmost or (d > 0 and lowest) or (d == 3 and x == 0):
                    continue
                place = weights[d, y, x]
                order[places[place]] = 4 * (y * W + x) + d
                places[place] += 1
    return order, starts


@compiled
def _segment(order, starts, H, W, k, smallest):
    pixels, steps = H * W, np.array([1, W, W + 1, W - 1])
    parent = np.full(pixels, -1, np.int32)  # of a root: minus the size of its component
    limit = np.full(pixels, UNIT * k, np.float32)
    passed, left = np.empty(len(order), np.uint32), 0
    for w in range(HEAVIEST):
        for e in range(starts[w], starts[w + 1]):
            p = np.int64(order[e] >> 2)
            a, b = _root(parent, p), _root(parent, p + steps[order[e] & 3])
            if a == b:
                continue
            if w <= limit[a] and w <= limit[b]:
                root = _join(parent, a, b)
                limit[root] = w + UNIT * k / -parent[root]
            else:
                passed[left] = order[e]
                left += 1
    for e in range(left):
        p = np.int64(passed[e] >> 2)
        a, b = _root(parent, p), _root(parent, p + steps[passed[e] & 3])
        if a != b and (-parent[a] < smallest or -parent[b] < smallest):
            _join(parent, a, b)
    return _number(parent, H, W)


@compiled
def _root(parent, p):
    """The root of a pixel's tree; each pixel on the way is hung one step higher."""
    above = parent[p]
    while above >= 0:
        higher = parent[above]
        if higher < 0:
            return np.int64(above)
        parent[p] = higher
        p = np.int64(higher)
        above = parent[p]
    return p


@compiled
def _join(parent, a, b):
    """The root of both, which is that of the larger component, the first one of equals."""
    if parent[b] < parent[a]:
        a, b = b, a
    parent[a] += parent[b]
    parent[b] = a
    return a


@compiled
def _number(parent, H, W):
    labels, numbers, count = np.empty((H, W), np.int32), np.full(H * W, -1, np.int32), 0
    for y in range(H):
        for x in range(W):
            root = _root(parent, y * W + x)
            if numbers[root] < 0:
                numbers[root] = count
                count += 1
            labels[y, x] = numbers[root]
    return labels, count
