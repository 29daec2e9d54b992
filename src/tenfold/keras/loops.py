"""Compiled loops: the fill "constant", brightness, and whole numbers as bytes.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_PIECE = 4096  # values


def _fill_outside(
    images: NDArray[np.float32], matrices: NDArray[np.float64], flips: NDArray[np.bool_], value: float
) -> None:
    """Set pixels of `images` [N, H, W, C] that come from beyond the outermost input pixels' centers to `value`.

    `matrices` [N, 3, 3] take (row, column, 1) of the output, before flips, to the input; `flips` [N, 2] say whether
    the image was then flipped vertically and horizontally. A place is summed in the order of scipy's
    NI_GeometricTransform: after a quarter turn it lies on the edge but for a rounding error, which decides. Rounding
    is monotone, so what lies inside is one piece of each line.
    """
    count, height, width, channels = images.shape
    for n in range(count):
        for y in range(height):
            down = height - 1 - y if flips[n, 0] else y
            first_row = matrices[n, 0, 2] + down * matrices[n, 0, 0]
            first_column = matrices[n, 1, 2] + down * matrices[n, 1, 0]
            start = 0
            for step in (1, -1):
                x = start if step > 0 else width - 1
                while start <= x < width:
                    right = width - 1 - x if flips[n, 1] else x
                    row, column = first_row + right * matrices[n, 0, 1], first_column + right * matrices[n, 1, 1]
                    if 0 <= row <= height - 1 and 0 <= column <= width - 1:
                        break
                    for channel in range(channels):
                        images[n, y, x, channel] = value
                    x += step
                start = x


def _brighten(grey: NDArray[np.float32], factor: np.float32) -> NDArray[np.float32]:
    """Values from 0 to 255 without their fraction, times `factor`, cut to 0 to 255, without their fraction again.

    Pillow, in whose bytes Keras does it, blends with black in single precision and cuts off.
    """
    bright = np.empty_like(grey)
    source, target = grey.reshape(-1), bright.reshape(-1)
    for place in range(source.size):
        value = np.float32(np.int32(source[place])) * factor
        value = min(max(value, np.float32(0)), np.float32(255))
        target[place] = np.float32(np.int32(value))
    return bright


def _pack(values: NDArray[Any], rows: NDArray[np.int64], packed: NDArray[np.uint8]) -> bool:
    """Write `rows` of float `values` [M, D] into `packed` [N, D]; False where one is no whole number from 0 to 255.

    In pieces, so that values in fractions are found out by the first; a piece is a loop that the compiler can make of
    vector instructions, 0.14 ns a value. What does not fit becomes some other byte.
    """
    for place in range(len(rows)):
        for start in range(0, values.shape[1], _PIECE):
            source = values[rows[place], start : start + _PIECE]
            target = packed[place, start : start + _PIECE]
            others = np.uint8(0)
            for i in range(len(source)):
                byte = np.uint8(np.int32(source[i]))
                target[i] = byte
                others |= np.uint8(0) if np.float32(byte) == source[i] else np.uint8(1)
            if others:
                return False
    return True


_compiled: Any = numba.njit(cache=True, nogil=True)
fill_outside, brighten, pack = _compiled(_fill_outside), _compiled(_brighten), _compiled(_pack)
