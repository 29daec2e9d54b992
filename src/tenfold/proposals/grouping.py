"""Hierarchical grouping: the two neighbors that are most alike become one region, until one is left.

Uijlings et al. (2013), algorithm 1 and section 3.2. How alike two regions are is the sum of up to four measures, each
from 0 to 1:

    color    what their histograms of color share, each with a sum of 1
    texture  the same of texture
    size     1 - the share of the image that both fill together, so that small regions join first
    fill     1 - the share of the image that the box around both has and they have not

What a joined region looks like is known from what it was made of. Of pairs that are equally alike, the one with the
lower numbers goes first. Shares are whole numbers of 65,535ths, so that sums are exact in any order.

The pairs wait in a binary heap; one that names a region that is gone is dropped when it comes up. A region's neighbors
are a linked list; joining two regions appends one list to the other, and reading it drops the doubles, so that all
lists together never have more than two entries for each pair of neighbors in the segmentation.

Shapes: R regions in the segmentation, then R - 1 joined ones; E pairs of neighbors; B bins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.proposals.compiled import compiled
from tenfold.proposals.features import COLOR_BINS, DIRECTIONS

FULL = 65535.0

MEASURES = {"C": "color", "T": "texture", "S": "size", "F": "fill"}
"""The measures by their letters in the paper."""


class Regions(NamedTuple):
    """The regions of a segmentation."""

    sizes: NDArray[np.int32]
    """int32 [R], pixels."""
    boxes: NDArray[np.int32]
    """int32 [R, 4], xyxy pixels; x2 and y2 are exclusive."""
    neighbors: NDArray[np.int32]
    """int32 [E, 2]: regions that share a side of a pixel, the lower number first, each pair once."""


def find_regions(labels: NDArray[np.int32], count: int) -> Regions:
    """The regions of labels int32 [H, W] from 0 to `count` - 1, each of which occurs."""
    sizes, boxes = _measure(labels, count)
    return Regions(sizes, boxes, _neighbors(labels, count))


def group_regions(
    regions: Regions, histograms: NDArray[np.int32], measures: str, planes: int, pixels: int
) -> NDArray[np.int32]:
    """The boxes of all regions, int32 [2 R - 1, 4]: those of the segmentation, then each that was joined, in order.

    `histograms` int32 [R, B] as features.py counts them over `planes` planes; `measures` are letters of MEASURES,
    for example "CTSF"; `pixels` is the image's size.
    """
    used = np.array([letter in measures for letter in MEASURES])
    # Numbers of other files are handed over, as compiled code would keep those of the day when it was compiled.
    scales = (planes * COLOR_BINS, FULL * planes, FULL * planes * DIRECTIONS, float(pixels))
    boxes: NDArray[np.int32] = _group(*regions, histograms, used, scales)
    return boxes


@compiled
def _measure(labels, count):
    H, W = labels.shape
    sizes, boxes = np.zeros(count, np.int32), np.zeros((count, 4), np.int32)
    for r in range(count):
        boxes[r, 0], boxes[r, 1] = W, H
    for y in range(H):
        start = 0
        for x in range(1, W + 1):
            label = labels[y, start]
            if x == W or labels[y, x] != label:  # the end of a run of one region
                sizes[label] += x - start
                boxes[label, 0], boxes[label, 1] = min(boxes[label, 0], start), min(boxes[label, 1], y)
                boxes[label, 2], boxes[label, 3] = max(boxes[label, 2], x), max(boxes[label, 3], y + 1)
                start = x
    return sizes, boxes


@compiled
def _neighbors(labels, count):
    """Pairs sorted into one bucket for each lower number; then the doubles in each bucket are dropped."""
    H, W = labels.shape
    starts = np.zeros(count + 2, np.int64)
    for y in range(H):
        for x in range(W):
            for right, down in ((1, 0), (0, 1)):
                if x + right < W and y + down < H:
                    here, there = labels[y, x], labels[y + down, x + right]
                    if here != there:
                        starts[min(here, there) + 2] += 1
    for r in range(count):
        starts[r + 2] += starts[r + 1]
    higher = np.empty(starts[count + 1], np.int32)
    for y in range(H):
        for x in range(W):
            for right, down in ((1, 0), (0, 1)):
                if x + right < W and y + down < H:
                    here, there = labels[y, x], labels[y + down, x + right]
                    if here != there:
                        lower = min(here, there)
                        higher[starts[lower + 1]] = max(here, there)
                        starts[lower + 1] += 1  # which makes it the end of its bucket
    return _distinct(higher, starts, count)


@compiled
def _distinct(higher, starts, count):
    pairs, seen, found = np.empty((len(higher), 2), np.int32), np.full(count, -1, np.int32), 0
    for lower in range(count):
        for place in range(starts[lower], starts[lower + 1]):
            other = higher[place]
            if seen[other] != lower:
                seen[other] = lower
                pairs[found, 0], pairs[found, 1] = lower, other
                found += 1
    return pairs[:found].copy()


@compiled
def _group(sizes, boxes, pairs, histograms, used, scales):
    R = len(sizes)
    total = 2 * R - 1
    size, box = np.zeros(total, np.int64), np.zeros((total, 4), np.int32)
    for r in range(R):
        size[r] = sizes[r]
        for k in range(4):
            box[r, k] = boxes[r, k]
    slot = np.arange(total)  # the row of a region's histogram; a joined region takes over that of its first half
    counts, shares = histograms.copy(), np.empty(histograms.shape, np.uint16)
    for r in range(len(counts)):
        _share(counts[r], size[r], shares[r])
    looks = (size, box, slot, shares)
    parent, seen = np.full(total, -1, np.int64), np.full(total, -1, np.int64)
    lists, near = _lists(pairs, total), np.empty(R, np.int64)
    values, names = np.empty(2 * len(pairs) + 1, np.float64), np.empty(2 * len(pairs) + 1, np.int64)
    waiting, made = 0, R
    for e in range(len(pairs)):
        i, j = np.int64(pairs[e, 0]), np.int64(pairs[e, 1])
        _push(values, names, waiting, _alike(i, j, looks, used, scales), i << 32 | j)
        waiting += 1
    while waiting > 0:
        a, b = names[0] >> 32, names[0] & 0xFFFFFFFF
        waiting = _pop(values, names, waiting)
        if parent[a] >= 0 or parent[b] >= 0:
            continue
        c, made = made, made + 1
        parent[a], parent[b] = c, c
        _join(a, b, c, size, box, slot)
        if len(counts) > 0:
            for k in range(counts.shape[1]):
                counts[slot[a], k] += counts[slot[b], k]
            _share(counts[slot[c]], size[c], shares[slot[c]])
        found = _append(a, b, c, lists, parent, seen, near)
        while waiting + found > len(values):
            values, names = _doubled(values), _doubled(names)
        for k in range(found):
            n = near[k]
            _push(values, names, waiting, _alike(n, c, looks, used, scales), n << 32 | c)
            waiting += 1
    return box


@compiled
def _append(a, b, c, lists, parent, seen, near):
    """Append the neighbors of b to those of a, as those of c, without doubles: into `near`; gives how many."""
    who, following, first, last = lists
    first[c], following[last[a]] = first[a], first[b]
    found, before, node = 0, -1, first[c]
    while node >= 0:
        n = _alive(parent, who[node])
        if n == c or seen[n] == c:  # a and b were neighbors, or both were neighbors of n
            if before < 0:
                first[c] = following[node]
            else:
                following[before] = following[node]
        else:
            seen[n], who[node], before, near[found] = c, n, node, n
            found += 1
        node = following[node]
    last[c] = before
    return found


@compiled
def _lists(pairs, total):
    """Linked lists of neighbors: node -> who it is and the node that follows (-1: none); first and last node."""
    who, following = np.empty(2 * len(pairs), np.int64), np.full(2 * len(pairs), -1, np.int64)
    first, last = np.full(total, -1, np.int64), np.full(total, -1, np.int64)
    for e in range(len(pairs)):
        for side in range(2):
            node, own = 2 * e + side, pairs[e, side]
            who[node] = pairs[e, 1 - side]
            if first[own] < 0:
                first[own] = node
            else:
                following[last[own]] = node
            last[own] = node
    return who, following, first, last


@compiled
def _join(a, b, c, size, box, slot):
    size[c], slot[c] = size[a] + size[b], slot[a]
    for k in range(2):
        box[c, k] = min(box[a, k], box[b, k])
        box[c, 2 + k] = max(box[a, 2 + k], box[b, 2 + k])


@compiled
def _share(counts, size, shares):
    scale = FULL / size
    for k in range(len(counts)):
        shares[k] = np.uint16(counts[k] * scale + 0.5)


@compiled
def _alike(i, j, looks, used, scales):
    size, box, slot, shares = looks
    split, all_color, all_texture, pixels = scales
    both, value = size[i] + size[j], 0.0
    if used[0]:
        value += _overlap(shares[slot[i], :split], shares[slot[j], :split]) / all_color
    if used[1]:
        value += _overlap(shares[slot[i], split:], shares[slot[j], split:]) / all_texture
    if used[2]:
        value += 1 - both / pixels
    if used[3]:
        width = max(box[i, 2], box[j, 2]) - min(box[i, 0], box[j, 0])
        height = max(box[i, 3], box[j, 3]) - min(box[i, 1], box[j, 1])
        value += 1 - (width * height - both) / pixels
    return value


@compiled
def _overlap(first, second):
    total = np.uint32(0)
    for k in range(len(first)):
        total = np.uint32(total + np.uint32(min(first[k], second[k])))
    return total


@compiled
def _alive(parent, r):
    """The region that holds region `r` now."""
    while parent[r] >= 0:
        if parent[parent[r]] >= 0:
            parent[r] = parent[parent[r]]
        r = parent[r]
    return r


@compiled
def _doubled(array):
    longer = np.empty(2 * len(array), array.dtype)
    longer[: len(array)] = array
    return longer


@compiled
def _earlier(value, name, other, other_name):
    return value > other or (value == other and name < other_name)


@compiled
def _push(values, names, place, value, name):
    """Put a pair at the end of the heap, and move it up."""
    while place > 0:
        above = (place - 1) >> 1
        if not _earlier(value, name, values[above], names[above]):
            break
        values[place], names[place] = values[above], names[above]
        place = above
    values[place], names[place] = value, name


@compiled
def _pop(values, names, count):
    """Take the first pair out of the heap; gives how many are left."""
    count -= 1
    value, name, place = values[count], names[count], 0
    while True:
        below = 2 * place + 1
        if below >= count:
            break
        if below + 1 < count and _earlier(values[below + 1], names[below + 1], values[below], names[below]):
            below += 1
        if not _earlier(values[below], names[below], value, name):
            break
        values[place], names[place] = values[below], names[below]
        place = below
    values[place], names[place] = value, name
    return count
