"""The fused pass over the pixels: all geometry, all linear colour and the normalization, each image read once.

passes.py   the compiled loops, their order, and how exact they are

The cubic kernel is Keys' with a = -1/2 (Keys 1981, IEEE Trans. ASSP 29:1153). Nothing here filters before it shrinks:
an image that is to become much smaller goes through tenfold.images.resize first.

The arguments are checked here, and images dealt to threads. Numba compiles on the first call and keeps the result in
`__pycache__` beside passes.py, or in the user's cache folder where that cannot be written; so the first call ever takes
seconds, the first one of a later process a fraction of one.

Shapes: N images, H x W pixels in, h x w pixels out, C channels in, K channels out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.kernel.passes import recolor_images, warp_images
from tenfold.errors import UsageError, unknown

Array = NDArray[Any]

INTERPOLATIONS = {"nearest": 1, "bilinear": 2, "bicubic": 4}
"""Neighbours along each axis."""

FILLS = ("nearest", "constant", "reflect", "wrap", "wrap-scipy")
"""What lies outside: aaa|abcd|ddd, kkk|abcd|kkk, dcba|abcd|dcba, abcd|abcd|abcd, and the "wrap" of scipy.ndimage, which
Keras' generator is made of: its period is a pixel too short."""

LAYOUTS = ("NHWC", "NCHW")


def warp(
    images: Array,
    matrices: NDArray[np.float64],
    size: tuple[int, int],
    *,
    interpolation: str = "bilinear",
    fill: str = "reflect",
    value: float | Array = 0.0,
    threads: int = 1,
    out: Array | None = None,
) -> Array:
    """Resample images uint8 or float32 [N, H, W, C] to [N, h, w, C] of the same dtype; `size` is (h, w), C 1 to 4.

    `matrices` float64 [N, 3, 3] take (x, y, 1) of the output to the input, both in pixels with pixel edges at whole
    numbers: the first pixel's center is (0.5, 0.5). The last row may make a perspective. `value`, a number or one a
    channel, in the images' units, is what "constant" fills with. Floats must be finite; bytes are rounded to nearest.
    The result is the same for any number of `threads`; it is written to `out` where given. Raises UsageError.
    """
    images, size = _checked_images(images), _checked_size(size)
    matrices = _checked_matrices(matrices, images)
    out = _checked_out(out, (len(images), *size, images.shape[3]), images.dtype)
    sampling = _sampling(images, interpolation, fill, value)
    color = np.empty((len(images), 0, 0), np.float32)  # none
    _in_threads(warp_images, threads, (_as_bytes(images), matrices, color, out), sampling, size, False)
    return out


def warp_normalized(  # noqa: PLR0913  one pass has all that `warp` and `recolor` have
    images: NDArray[np.uint8],
    matrices: NDArray[np.float64],
    size: tuple[int, int],
    color: NDArray[np.float32],
    *,
    interpolation: str = "bilinear",
    fill: str = "reflect",
    value: float | Array = 0.0,
    layout: str = "NHWC",
    threads: int = 1,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """As `warp` for uint8, then the colour map of `recolor` on what was interpolated: float32 [N, h, w, K] or NCHW."""
    images, size = _checked_images(images, bytes_only=True), _checked_size(size)
    matrices, color = _checked_matrices(matrices, images), _checked_color(color, images)
    out = _checked_out(out, _shape(len(images), size, color.shape[1], layout), np.dtype(np.float32))
    sampling = _sampling(images, interpolation, fill, value)
    _in_threads(warp_images, threads, (_as_bytes(images), matrices, color, out), sampling, size, layout == "NCHW")
    return out


def recolor(
    images: NDArray[np.uint8],
    color: NDArray[np.float32],
    *,
    layout: str = "NHWC",
    threads: int = 1,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """An affine colour map of images uint8 [N, H, W, C]: float32 [N, H, W, K] or [N, K, H, W].

    `color` float32 [N, K, C + 1] gives output channel k as the sum over c of color[n, k, c] * image[n, y, x, c], plus
    color[n, k, C]: brightness, contrast, saturation, hue, grey and the normalization multiplied into one, on 0 to 255.
    """
    images = _checked_images(images, bytes_only=True)
    color = _checked_color(color, images)
    out = _checked_out(out, _shape(len(images), images.shape[1:3], color.shape[1], layout), np.dtype(np.float32))
    _in_threads(recolor_images, threads, (images, color, out), layout == "NCHW")
    return out


def recolor_bytes(
    images: NDArray[np.uint8],
    color: NDArray[np.float32],
    *,
    threads: int = 1,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """As `recolor`, cut to 0 to 255 and rounded to nearest: uint8 [N, H, W, K]."""
    images = _checked_images(images, bytes_only=True)
    color = _checked_color(color, images)
    out = _checked_out(out, (*images.shape[:3], color.shape[1]), np.dtype(np.uint8))
    _in_threads(recolor_images, threads, (images, color, out), False)
    return out


def compile_passes() -> None:
    """Compile what training needs where no earlier process has: 10 to 20 s once, later a fraction of one."""
    image, still = np.zeros((1, 2, 2, 3), np.uint8), np.eye(3)[None]
    warp_normalized(image, still, (2, 2), np.eye(3, 4, dtype=np.float32)[None])
    warp(image, still, (2, 2))


def _in_threads(work: Callable[..., None], threads: int, arrays: tuple[Array, ...], *rest: Any) -> None:
    """Call `work` on a few images at a time; each image's result depends on that image alone."""
    count = len(arrays[0])
    if threads < 1:
        raise UsageError(f"threads must be at least 1, not {threads}.")
    if threads == 1:
        work(*arrays, *rest)
        return
    step = max(1, -(-count // (4 * threads)))  # smaller than a thread's share, so that a slow core does not hold up all
    parts = [slice(start, start + step) for start in range(0, count, step)]
    list(_pool(threads, os.getpid()).map(lambda part: work(*(array[part] for array in arrays), *rest), parts))


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that stay; `process` is a key because a forked process has none of its parent's threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="tenfold-kernel")


def _checked_images(images: Array, bytes_only: bool = False) -> Array:
    allowed = ("uint8",) if bytes_only else ("uint8", "float32")
    fits = images.ndim == 4 and images.dtype.name in allowed and images.size and images.shape[3] <= 4
    if not fits or (images.shape[1] + 8) * (images.shape[2] + 8) >= 2**31:
        raise UsageError(
            f"images must be {' or '.join(allowed)} [N, H, W, C] with C from 1 to 4 and under 2**31 pixels an image, "
            f"not {images.dtype} {list(images.shape)}."
        )
    return np.ascontiguousarray(images)


def _checked_matrices(matrices: NDArray[np.float64], images: Array) -> NDArray[np.float64]:
    matrices = np.asarray(matrices, np.float64)
    if matrices.shape != (len(images), 3, 3):
        raise UsageError(f"matrices must be float64 [{len(images)}, 3, 3], one an image, not {list(matrices.shape)}.")
    if not np.isfinite(matrices).all():
        raise UsageError("matrices must be finite numbers, but some are infinite or NaN.")
    scale = matrices[:, 2:, 2:]  # 1 of an affine map, and of a perspective whose scale is not 0
    return np.ascontiguousarray(matrices / np.where(scale == 0, 1.0, scale))


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    height, width = (int(side) for side in size)
    if height < 1 or width < 1:
        raise UsageError(f"size must be a height and a width of at least 1 pixel, not {(height, width)}.")
    return height, width


def _checked_color(color: NDArray[np.float32], images: Array) -> NDArray[np.float32]:
    color = np.ascontiguousarray(color, np.float32)
    count, channels = len(images), images.shape[3]
    if color.ndim != 3 or color.shape[0] != count or color.shape[1] < 1 or color.shape[2] != channels + 1:
        raise UsageError(
            f"color must be float32 [{count}, K, {channels + 1}], a factor a channel and an offset for each of K "
            f"output channels, not {list(color.shape)}."
        )
    return color


def _checked_out(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not (out.flags.c_contiguous and out.flags.writeable):
        raise UsageError(
            f"out must be a writeable, C-contiguous {dtype} {list(shape)}, not {out.dtype} {list(out.shape)}."
        )
    return out


def _shape(count: int, size: tuple[int, ...], channels: int, layout: str) -> tuple[int, ...]:
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    return (count, *size, channels) if layout == "NHWC" else (count, channels, *size)


def _sampling(images: Array, interpolation: str, fill: str, value: float | Array) -> tuple[Any, ...]:
    """Neighbours an axis, number of the fill rule, whether pixels are floats, and the constant as packed words."""
    if interpolation not in INTERPOLATIONS:
        raise unknown("interpolation", interpolation, INTERPOLATIONS)
    if fill not in FILLS:
        raise unknown("fill", fill, FILLS)
    channels, floats = images.shape[3], images.dtype == np.float32
    given = np.asarray(value, np.float64)
    if given.shape not in ((), (channels,)) or not np.isfinite(given).all():
        raise UsageError(f"value must be one finite number or one for each of {channels} channels, not {value}.")
    if not floats and (given.min() < 0 or given.max() > 255):
        raise UsageError(f"value must be from 0 to 255 for uint8 images, not {value}.")
    pixel = np.broadcast_to(given if floats else np.floor(given + 0.5), channels).astype(images.dtype)
    padded = np.zeros(16, np.uint8)
    padded[: pixel.nbytes] = pixel.view(np.uint8)
    return (
        INTERPOLATIONS[interpolation],
        FILLS.index(fill),
        bool(floats),
        padded.view("<u4")[: channels if floats else 1],
    )


def _as_bytes(images: Array) -> NDArray[np.uint8]:
    """uint8 [N, H, W, bytes a pixel]."""
    return images.view(np.uint8)
