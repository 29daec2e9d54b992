"""Color: linear ops change an affine map of red, green and blue, tone curves are tables.

An image of one channel counts as one whose three channels are equal, and keeps the luma of what comes out. Nothing is
clipped between linear ops that follow each other.

Shapes: n images; columns float64 [n]; maps float64 [3, 4, n], from (red, green, blue, 1), grey levels 0 to 255, the
images last, so that one call treats all of them. Each linear op gives the map that is followed by it.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LUMA = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue, ITU-R BT.601."""

MIDDLE = 128.0
"""The grey level that a change of contrast keeps."""

_LEVELS = np.arange(256)


def brightness(maps: Array, change: Array) -> Array:
    """Every channel times 1 + change."""
    return maps * (1 + change)


def contrast(maps: Array, change: Array) -> Array:
    """The distance from grey level 128 times 1 + change: linear, where torchvision's is about the image's mean."""
    maps = maps * (1 + change)
    maps[:, 3] -= MIDDLE * change
    return maps


def saturation(maps: Array, change: Array) -> Array:
    """The distance from grey, the luma in all channels, times 1 + change."""
    luma = maps[0] * LUMA[0] + maps[1] * LUMA[1] + maps[2] * LUMA[2]
    result: Array = maps * (1 + change) - luma * change
    return result


def grey(maps: Array, amount: Array) -> Array:
    """Towards the luma in all channels; 1: all the way."""
    return saturation(maps, -amount)


def hue(maps: Array, turn: Array) -> Array:
    """A turn about the grey axis, as a share of the circle.

    Linear; HSV's hue, which torchvision turns, follows a hexagon. Both agree at thirds of the circle.
    """
    cos, sin = np.cos(2 * math.pi * turn), np.sin(2 * math.pi * turn)
    mean = (maps[0] + maps[1] + maps[2]) / 3
    across = (maps[[2, 0, 1]] - maps[[1, 2, 0]]) / math.sqrt(3)
    result: Array = cos * maps + sin * across + (1 - cos) * mean
    return result


def channel_shift(maps: Array, red: Array, green: Array, blue: Array) -> Array:
    """Grey levels added to each channel."""
    maps = maps.copy()
    maps[:, 3] += np.stack([red, green, blue])
    return maps


def invert(maps: Array, amount: Array) -> Array:
    """255 - x; amount 0.5 gives grey level 127.5 everywhere."""
    maps = maps * (1 - 2 * amount)
    maps[:, 3] += 255 * amount
    return maps


def solarize(threshold: Array) -> NDArray[np.uint8]:
    """255 - x from the threshold on."""
    return np.where(threshold[:, None] <= _LEVELS, 255 - _LEVELS, _LEVELS).astype(np.uint8)


def posterize(bits: Array) -> NDArray[np.uint8]:
    """Only the first bits of each value, rounded to a whole number of them."""
    lost = 8 - np.rint(bits).astype(np.int64)
    return ((_LEVELS >> lost[:, None]) << lost[:, None]).astype(np.uint8)


def gamma(exponent: Array) -> NDArray[np.uint8]:
    """255 (x / 255) ** exponent."""
    return np.rint(255 * (_LEVELS / 255) ** exponent[:, None]).astype(np.uint8)
