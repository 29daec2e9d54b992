"""What regions look like: color and texture of every pixel as numbers of bins, counted for each region.

Uijlings et al. (2013), section 3.2. Color: 25 bins a plane. Texture: Gaussian derivatives with sigma 1 in 8 directions,
the negative half of each cut off, in 10 bins of 10 grey levels; a step from black to white gives 93. Two opposite
directions are one derivative with two signs, so a pixel has 4 numbers of bins, each from 0 to 19: below 10 the first
direction's bin, where the other one has nothing, and from 10 on the other way round. All weights are whole numbers of
256ths, so that derivatives along the axes are exact.

A region's histogram has 105 numbers a plane: 25 of color for each plane, then 8 times 10 of texture for each plane.

Shapes: C planes of H x W pixels, R regions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tenfold.proposals.compiled import compiled

COLOR_BINS = 25
DIRECTIONS = 8
TEXTURE_BINS = 10
TEXTURE = DIRECTIONS * TEXTURE_BINS

BELL = np.array([102, 62, 14, 1], np.float32)
"""A Gaussian at 0 to 3 pixels, in 256ths; with its mirror image it sums to 256."""
SLOPE = np.array([0, 62, 28, 3], np.float32)
"""Its derivative, turned so that brighter to the right is positive; a rise of 1 a pixel gives 254 / 256."""

_REACH = 3
_SCALE = np.float32(1 / 65536)
_DIAGONAL = np.float32(0.70710678)
_TENTH = np.float32(1 / TEXTURE_BINS)
_LAST = np.float32(TEXTURE_BINS - 1)


def pixel_features(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [C, H, W] -> uint8 [C, 5, H, W]: the bin of color, and of texture to the right, down and the diagonals."""
    features: NDArray[np.uint8] = _features(np.ascontiguousarray(planes), BELL, SLOPE)
    return features


def region_histograms(labels: NDArray[np.int32], features: NDArray[np.uint8], count: int) -> NDArray[np.int32]:
    """How many pixels of each region are in each bin: int32 [R, 105 C] for labels int32 [H, W] from 0 to R - 1."""
    flat = features.reshape(*features.shape[:2], -1)
    histograms: NDArray[np.int32] = _count(labels.reshape(-1), flat, count)
    return histograms


@compiled
def _features(planes, bell, slope):
    C, H, W = planes.shape
    result = np.empty((C, 5, H, W), np.uint8)
    smooth, steep = np.empty(W + 2 * _REACH, np.float32), np.empty(W + 2 * _REACH, np.float32)
    right, down, diagonal = np.empty(W, np.float32), np.empty(W, np.float32), np.empty(W, np.float32)
    for c in range(C):
        for y in range(H):
            for x in range(W):
                result[c, 0, y, x] = np.uint32(planes[c, y, x]) * np.uint32(COLOR_BINS) >> np.uint32(8)
            _clear(smooth)
            _clear(steep)
            for i in range(_REACH + 1):
                above, below = planes[c, max(y - i, 0)], planes[c, min(y + i, H - 1)]
                half = np.float32(0.5) if i == 0 else np.float32(1)
                _add_sum(above, below, bell[i] * half, smooth[_REACH : _REACH + W])
                _add_difference(above, below, slope[i], steep[_REACH : _REACH + W])
            for line in (smooth, steep):
                for x in range(_REACH):
                    line[x], line[_REACH + W + x] = line[_REACH], line[_REACH + W - 1]
            _clear(right)
            _clear(down)
            for i in range(_REACH + 1):
                half = np.float32(0.5) if i == 0 else np.float32(1)
                before, after = _REACH - i, _REACH + i
                _add_difference(smooth[before : before + W], smooth[after : after + W], slope[i], right)
                _add_sum(steep[before : before + W], steep[after : after + W], bell[i] * half, down)
            _put_bins(right, _SCALE, result[c, 1, y])
            _put_bins(down, _SCALE, result[c, 2, y])
            for x in range(W):
                diagonal[x] = right[x] + down[x]
            _put_bins(diagonal, _SCALE * _DIAGONAL, result[c, 3, y])
            for x in range(W):
                diagonal[x] = down[x] - right[x]
            _put_bins(diagonal, _SCALE * _DIAGONAL, result[c, 4, y])
    return result


@compiled
def _clear(line):
    for x in range(len(line)):
        line[x] = 0


@compiled
def _add_sum(first, second, factor, total):
    for x in range(len(total)):
        total[x] += factor * (np.float32(first[x]) + np.float32(second[x]))


@compiled
def _add_difference(first, second, factor, total):
    for x in range(len(total)):
        total[x] += factor * (np.float32(second[x]) - np.float32(first[x]))


@compiled
def _put_bins(values, scale, target):
    for x in range(len(target)):
        value = values[x] * scale
        place = np.int32(min(abs(value) * _TENTH, _LAST))
        target[x] = np.uint8(place if value >= 0 else place + TEXTURE_BINS)


@compiled
def _count(labels, features, count):
    C = len(features)
    width = C * (COLOR_BINS + TEXTURE)
    counts = np.zeros(count * width, np.int32)
    for c in range(C):
        color, first, second = features[c, 0], features[c, 1], features[c, 2]
        third, fourth = features[c, 3], features[c, 4]
        colors, textures = c * COLOR_BINS, C * COLOR_BINS + c * TEXTURE
        for p in range(len(labels)):
            row = np.int64(labels[p]) * width
            counts[row + colors + color[p]] += 1
            row += textures
            counts[row + first[p]] += 1
            counts[row + 20 + second[p]] += 1
            counts[row + 40 + third[p]] += 1
            counts[row + 60 + fourth[p]] += 1
    result = counts.reshape(count, width)
    for r in range(count):
        for start in range(C * COLOR_BINS, width, 2 * TEXTURE_BINS):
            _share_nothing(result[r, start : start + 2 * TEXTURE_BINS])
    return result


@compiled
def _share_nothing(pair):
    """Pixels that have something in one of two opposite directions have nothing, bin 0, in the other one."""
    first, second = pair[:TEXTURE_BINS].sum(), pair[TEXTURE_BINS:].sum()
    pair[0] += second
    pair[TEXTURE_BINS] += first
