"""Color spaces: RGB -> planes of 0 to 255, in which different borders of objects stand out.

    hsv   hue (a full turn is 0 to 255), saturation, value
    lab   CIE L*a*b* of sRGB under D65: L* from 0 to 100 stretched to 255, a* and b* with 128 for 0
    rgi   red and green as shares of red + green + blue (black: a third), and grey
    hue   hue alone
    grey  ITU-R 601 luma

These are five of the eight of Uijlings et al. (2013, table 2), those of their versions; hue and saturation do not
change with the light's strength, rg nor with shadows. Values are rounded half up to whole numbers.

Shapes: H x W pixels, C planes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import unknown
from tenfold.proposals.compiled import compiled

STEPS = 4096
"""The cube root of L*a*b* is a line between the points of a table, off by less than 0.01 grey levels."""


def color_planes(image: NDArray[np.uint8], space: str) -> NDArray[np.uint8]:
    """RGB, uint8 [H, W, 3] -> uint8 [C, H, W] of a space in SPACES. Raises UsageError for another one."""
    if space not in SPACES:
        raise unknown("The color space", space, SPACES)
    convert, planes = SPACES[space]
    result = np.empty((planes, *image.shape[:2]), np.uint8)
    convert(np.ascontiguousarray(image), result)
    return result


@compiled
def _convert_hsv(image, planes):
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            red, green, blue = np.int64(image[y, x, 0]), np.int64(image[y, x, 1]), np.int64(image[y, x, 2])
            high, low = max(red, green, blue), min(red, green, blue)
            planes[0, y, x] = _hue(red, green, blue, high, high - low)
            planes[1, y, x] = _share(high - low, high, 0)
            planes[2, y, x] = high


@compiled
def _convert_hue(image, planes):
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            red, green, blue = np.int64(image[y, x, 0]), np.int64(image[y, x, 1]), np.int64(image[y, x, 2])
            high = max(red, green, blue)
            planes[0, y, x] = _hue(red, green, blue, high, high - min(red, green, blue))


@compiled
def _hue(red, green, blue, high, spread):
    """0 to 255 once around the circle; 0 for grey."""
    if spread == 0:
        return 0
    if high == red:
        sixth = green - blue if green >= blue else green - blue + 6 * spread
    elif high == green:
        sixth = 2 * spread + blue - red
    else:
        sixth = 4 * spread + red - green
    return (255 * sixth + 3 * spread) // (6 * spread)


@compiled
def _share(part, whole, empty):
    """255 times a share, rounded half up."""
    return (510 * part + whole) // (2 * whole) if whole > 0 else empty


@compiled
def _grey(red, green, blue):
    return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16


@compiled
def _convert_rgi(image, planes):
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            red, green, blue = np.int64(image[y, x, 0]), np.int64(image[y, x, 1]), np.int64(image[y, x, 2])
            total = red + green + blue
            planes[0, y, x] = _share(red, total, 85)
            planes[1, y, x] = _share(green, total, 85)
            planes[2, y, x] = _grey(red, green, blue)


@compiled
def _convert_grey(image, planes):
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            planes[0, y, x] = _grey(np.int64(image[y, x, 0]), np.int64(image[y, x, 1]), np.int64(image[y, x, 2]))


@compiled
def _fill_lab(image, linear, matrix, roots, planes):
    """`linear` float64 [256] undoes the gamma, `roots` float64 [STEPS + 2] is f of CIE 15 at steps from 0 to 1."""
    f = np.empty(3)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            red, green, blue = linear[image[y, x, 0]], linear[image[y, x, 1]], linear[image[y, x, 2]]
            for k in range(3):
                place = (matrix[k, 0] * red + matrix[k, 1] * green + matrix[k, 2] * blue) * STEPS
                step = min(int(place), STEPS)
                f[k] = roots[step] + (place - step) * (roots[step + 1] - roots[step])
            lab = (2.55 * (116 * f[1] - 16), 500 * (f[0] - f[1]) + 128, 200 * (f[1] - f[2]) + 128)
            for k in range(3):
                planes[k, y, x] = int(min(max(lab[k], 0.0), 255.0) + 0.5)


def _lab_tables() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    value = np.arange(256) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    t = np.arange(STEPS + 2) / STEPS
    roots = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    return linear, to_xyz / to_xyz.sum(1, keepdims=True), roots


_LAB = _lab_tables()


def _convert_lab(image: NDArray[np.uint8], planes: NDArray[np.uint8]) -> None:
    _fill_lab(image, *_LAB, planes)


SPACES = {
    "hsv": (_convert_hsv, 3),
    "lab": (_convert_lab, 3),
    "rgi": (_convert_rgi, 3),
    "hue": (_convert_hue, 1),
    "grey": (_convert_grey, 1),
}
"""Name -> (function that fills the planes, their number)."""
