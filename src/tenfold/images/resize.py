"""Resize: one formula, two small matrix products, and its fast path.

With n pixels resized to m along one axis, s = n / m and r = max(s, 1), output pixel i is the weighted mean of input
pixels j, whose weights are k((j + 1/2 - c) / r) with center c = (i + 1/2) s, divided by their sum over the pixels
that exist. k is the triangle max(0, 1 - |x|), or Keys' cubic with a = -1/2 (Keys 1981, IEEE Trans. ASSP 29:1153).
Pixel centers lie at halves, and r widens the kernel when the image shrinks, so nothing aliases. With R the weights
of the rows and C those of the columns, the result is R image C^T, rounded half up and cut to 0 to 255, once.

`resize_weights` is R or C, which an exported graph can multiply by; `resize` gives the same within one grey level.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from tenfold.errors import UsageError, unknown

Filter = Literal["triangle", "cubic"]

SUPPORT: dict[Filter, int] = {"triangle": 1, "cubic": 2}
"""Half the width of each kernel, in pixels of the smaller image."""


def resize_weights(length: int, size: int, start: int, stop: int, filter: Filter) -> NDArray[np.float64]:
    """The weights that make `size` pixels of the pixels start to stop - 1 of `length`: float64 [size, length].

    Each row sums to 1; the columns outside start to stop - 1 are 0, so cutting an image and then resizing it is one
    product. Needs 0 <= start < stop <= length and size >= 1, else raises UsageError.
    """
    if filter not in SUPPORT:
        raise unknown("filter of resize_weights", filter, SUPPORT)
    if not (0 <= start < stop <= length and size >= 1):
        raise UsageError(
            "resize_weights needs 0 <= start < stop <= length and size >= 1, "
            f"not start {start}, stop {stop}, length {length}, size {size}."
        )
    scale = (stop - start) / size
    centers = (np.arange(size) + 0.5) * scale
    distances = np.abs((np.arange(stop - start) + 0.5 - centers[:, None]) / max(scale, 1.0))
    kernel = _triangle(distances) if filter == "triangle" else _cubic(distances)
    weights = np.zeros((size, length))
    weights[:, start:stop] = kernel / kernel.sum(1, keepdims=True)
    return weights


def resize(image: NDArray[np.uint8], height: int, width: int, filter: Filter = "triangle") -> NDArray[np.uint8]:
    """Resize uint8 [H, W, C], C 1 or 3, to uint8 [height, width, C]; a view (a region of an image) will do.

    Holds no lock while it works and starts no threads of its own, so that several threads may call it at once. An
    image that has the size already comes back as it is. Raises UsageError for an impossible size or filter.
    """
    if filter not in SUPPORT:
        raise unknown("filter of resize", filter, SUPPORT)
    if height < 1 or width < 1:
        raise UsageError(f"resize needs a height and width of at least 1 pixel, not {height} x {width}.")
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8 or image.size == 0:
        raise UsageError(f"resize needs an image uint8 [H, W, 1 or 3], not {image.dtype} {list(image.shape)}.")
    if image.shape[:2] == (height, width):
        return image
    return _resize_triangle(image, height, width) if filter == "triangle" else _resize_cubic(image, height, width)


def _resize_triangle(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """PyTorch's vectorized kernel for bytes, on one thread; it rounds between the axes, an error of at most one."""
    image = np.require(image, requirements=["C", "W"])  # a copy by PyTorch would start threads
    # Viewed as a batch before its axes are swapped, it counts as channels last, and the result comes out so too.
    planes = torch.from_numpy(image).view(1, *image.shape).permute(0, 3, 1, 2)
    resized = F.interpolate(planes, size=(height, width), mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def _resize_cubic(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Pillow's kernel for floats, a channel at a time.

    The cubic kernel overshoots at edges. Kernels for bytes cut that off between the axes, and so miss the formula by
    up to 10 grey levels on photos (0.1 to 0.7 % of values by more than one); PyTorch's for floats starts threads.
    """
    resized = np.empty((height, width, image.shape[2]), np.uint8)
    for channel in range(image.shape[2]):
        plane = Image.fromarray(image[..., channel].astype(np.float32))
        values = np.asarray(plane.resize((width, height), Image.Resampling.BICUBIC))
        resized[..., channel] = np.clip(values + 0.5, 0, 255)
    return resized


def _triangle(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1 - x, 0)


def _cubic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys' kernel with a = -1/2, for x >= 0."""
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0))
