"""The lecture's views of an image: without color, without texture, with its edges enhanced, its salient edges alone.

They are the figure of Ahmad, Muhammad and Baik, "Data augmentation-assisted deep learning of hand-drawn partially
colored sketches for visual search", PLoS ONE 12(8) e0183838, 2017, who made such images for retrieval by sketches: a
network that has seen a photo without color and texture knows a drawing of it again. The filters are this project's
choice, each with its source, and need not be those of the paper. docs/views.md shows them on photos.

Each is a pure function uint8 [H, W, C] -> uint8 [H, W, C], C 1 (grey) or 3 (RGB), without any chance in it, and keeps
a constant image as it is, but for `salient_edges`, which makes it black: it has no edges.

Shapes: H x W pixels, C channels; planes are float32 [C, H, W] from 0 to 255.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError

Image = NDArray[np.uint8]
Planes = NDArray[np.float32]
Function = TypeVar("Function", bound=Callable[..., Any])

_PASSES = 2  # of the domain transform along each axis; more remove faint stripes that only wide smoothing has
_ROUNDS = 4  # of rolling guidance; its authors find that 3 to 5 settle
_STRONG = 99.0  # percentile of the strengths of edges that becomes white
_FAINT = 10.0  # but no strength below this does: a step of 2 grey levels, 5 CIELAB units from the mean color


def decolorize(image: Image) -> Image:
    """Grey in all channels: the luma 0.299 R + 0.587 G + 0.114 B of ITU-R BT.601, rounded.

    uint8 [H, W, C] -> uint8 [H, W, C]. Raises UsageError for other images.
    """
    _check(image, "decolorize")
    if image.shape[2] == 1:
        return image.copy()
    red, green, blue = np.moveaxis(image.astype(np.uint32), 2, 0)
    luma = (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16  # the weights times 2^16
    return np.repeat(luma.astype(np.uint8)[:, :, None], 3, 2)


def detexturize(image: Image, *, size: float = 4.0, contrast: float = 8.0) -> Image:
    """Flat areas instead of texture, edges where they were: rolling guidance with the domain transform.

    uint8 [H, W, C] -> uint8 [H, W, C]. `size`, in pixels, 0.5 to 64: structures finer than about that are removed,
    however strong. `contrast`, in grey levels (the mean over the channels), 0.5 to 255: a weaker step between what
    remains is smoothed too. Raises UsageError for other images or values.

    Zhang, Shen, Xu and Jia, "Rolling guidance filter", ECCV 2014: blur until the texture is gone, then filter the
    image again and again guided by the last result, which brings back the edges of what was large enough to survive.
    The guided filter is the recursive domain transform of Gastal and Oliveira, "Domain transform for edge-aware image
    and video processing", SIGGRAPH 2011, section 5.
    """
    _check(image, "detexturize")
    _check_range("size of detexturize", size, 0.5, 64)
    _check_range("contrast of detexturize", contrast, 0.5, 255)
    return _to_image(_structure(_to_planes(image), size, contrast))


def enhance_edges(image: Image, *, amount: float = 2.0, size: float = 1.5) -> Image:
    """Edges drawn stronger: an unsharp mask of the luma, added to all channels alike, so that the hue stays.

    uint8 [H, W, C] -> uint8 [H, W, C]. The difference to a Gaussian blur of standard deviation `size` (pixels, 0.3 to
    16) is added `amount` times (0 to 10). Raises UsageError for other images or values.

    Gonzalez and Woods, "Digital image processing", 4th edition 2018, section 3.6 (unsharp masking).
    """
    from scipy.ndimage import gaussian_filter

    _check(image, "enhance_edges")
    _check_range("amount of enhance_edges", amount, 0, 10)
    _check_range("size of enhance_edges", size, 0.3, 16)
    planes = _to_planes(image)
    luma = _luma(planes)
    return _to_image(planes + amount * (luma - gaussian_filter(luma, size, mode="nearest")))


def salient_edges(image: Image, *, size: float = 3.0) -> Image:
    """The outlines of what stands out, white on black.

    uint8 [H, W, C] -> uint8 [H, W, C] with equal channels: 0 where there is no edge, 255 for the strongest
    hundredth of the edges.
    `size`, in pixels, 0.5 to 64: edges of structures finer than about that are left out. Raises UsageError for other
    images or values.

    An edge is where the gradient of the image without texture (`detexturize`) is greatest along its own direction
    (Canny, "A computational approach to edge detection", IEEE PAMI 8(6), 1986); its strength is the gradient times
    the saliency there: the distance of the blurred color to the image's mean color in CIELAB (Achanta, Hemami,
    Estrada and Suesstrunk, "Frequency-tuned salient region detection", CVPR 2009).
    """
    from scipy.ndimage import gaussian_filter

    _check(image, "salient_edges")
    _check_range("size of salient_edges", size, 0.5, 64)
    planes = _structure(_to_planes(image), size, 8.0)
    strength = _thin_edges(_gradient(planes)) * _saliency(planes, size)
    strength = gaussian_filter(strength, 0.7, mode="nearest")
    white = max(np.percentile(strength[strength > 0], _STRONG), _FAINT) if strength.any() else _FAINT
    edges = np.minimum(strength * np.float32(255 / white), 255)
    return _to_image(np.broadcast_to(edges, planes.shape))


VIEWS: dict[str, Callable[[Image], Image]] = {
    "decolorize": decolorize,
    "detexturize": detexturize,
    "enhance_edges": enhance_edges,
    "salient_edges": salient_edges,
}


def _structure(planes: Planes, size: float, contrast: float) -> Planes:
    """Rolling guidance: [C, H, W] -> [C, H, W] without structures finer than `size` pixels."""
    guide = np.zeros_like(planes)  # no edges: the first round only blurs
    for _ in range(_ROUNDS):
        guide = _domain_transform(planes, guide, np.float32(size), np.float32(contrast))
    return guide


def _compiled(function: Function) -> Function:
    """Numba without the lock; what is compiled is kept in `__pycache__` for the next process."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))


@_compiled
def _domain_transform(planes: Planes, guide: Planes, size: np.float32, contrast: np.float32) -> Planes:
    """Smooth `planes` over `size` pixels, but not across steps of `guide` that are large against `contrast`.

    Recursive variant, equations 11, 14 and 21: neighbors are 1 + size / contrast |step| apart, and what is passed on
    falls as exp(-sqrt(2) distance / sigma), sigma halving from pass to pass so that the squares sum to size^2.
    """
    channels, height, width = planes.shape
    planes = planes.copy()
    sigma = size * np.float32(math.sqrt(3) * 2 ** (_PASSES - 1) / math.sqrt(4**_PASSES - 1))
    across = np.zeros((height, width), np.float32)  # from the pixel on the left
    down = np.zeros((height, width), np.float32)  # from the pixel above
    for c in range(channels):
        for y in range(height):
            for x in range(1, width):
                across[y, x] += abs(guide[c, y, x] - guide[c, y, x - 1])
        for y in range(1, height):
            for x in range(width):
                down[y, x] += abs(guide[c, y, x] - guide[c, y - 1, x])
    slope = size / (contrast * np.float32(channels))
    for weights in (across, down):
        for y in range(height):
            for x in range(width):
                distance = np.float32(1) + slope * weights[y, x]
                weights[y, x] = np.exp(np.float32(-math.sqrt(2)) / sigma * distance)
    for number in range(_PASSES):
        if number > 0:  # half the sigma squares the weights
            across *= across
            down *= down
        _smooth_across(planes, across)
        _smooth_down(planes, down)
    return planes


@_compiled
def _smooth_across(planes: Planes, weights: NDArray[np.float32]) -> None:
    """Recursive smoothing of each row from left to right and back, in place: [C, H, W] by weights [H, W]."""
    channels, height, width = planes.shape
    for y in range(height):
        for x in range(1, width):
            for c in range(channels):
                planes[c, y, x] += weights[y, x] * (planes[c, y, x - 1] - planes[c, y, x])
        for x in range(width - 2, -1, -1):
            for c in range(channels):
                planes[c, y, x] += weights[y, x + 1] * (planes[c, y, x + 1] - planes[c, y, x])


@_compiled
def _smooth_down(planes: Planes, weights: NDArray[np.float32]) -> None:
    """The same of each column from top to bottom and back."""
    channels, height, width = planes.shape
    for c in range(channels):
        for y in range(1, height):
            for x in range(width):
                planes[c, y, x] += weights[y, x] * (planes[c, y - 1, x] - planes[c, y, x])
        for y in range(height - 2, -1, -1):
            for x in range(width):
                planes[c, y, x] += weights[y + 1, x] * (planes[c, y + 1, x] - planes[c, y, x])


@_compiled
def _gradient(planes: Planes) -> Planes:
    """Scharr's gradient (x, y) of the channel that changes most, grey levels a pixel: [C, H, W] -> [2, H, W]."""
    channels, height, width = planes.shape
    gradient = np.zeros((2, height, width), np.float32)
    middle, side = np.float32(10 / 32), np.float32(3 / 32)
    for c in range(channels):
        for y in range(height):
            above, below = planes[c, max(y - 1, 0)], planes[c, min(y + 1, height - 1)]
            here = planes[c, y]
            for x in range(width):
                left, right = max(x - 1, 0), min(x + 1, width - 1)
                dx = middle * (here[right] - here[left])
                dx += side * (above[right] - above[left] + below[right] - below[left])
                dy = middle * (below[x] - above[x])
                dy += side * (below[left] - above[left] + below[right] - above[right])
                if dx * dx + dy * dy > gradient[0, y, x] ** 2 + gradient[1, y, x] ** 2:
                    gradient[0, y, x], gradient[1, y, x] = dx, dy
    return gradient


@_compiled
def _thin_edges(gradient: Planes) -> NDArray[np.float32]:
    """The length of gradients [2, H, W] where no neighbor along the gradient has a greater one, else 0: [H, W]."""
    _, height, width = gradient.shape
    length: NDArray[np.float32] = np.sqrt(gradient[0] ** 2 + gradient[1] ** 2)
    thin = np.zeros_like(length)
    for y in range(height):
        for x in range(width):
            dx, dy = gradient[0, y, x], gradient[1, y, x]
            tilt = np.float32(0.4142)  # tan 22.5 degrees: the nearest of the eight neighbors
            right = 0 if abs(dx) < tilt * abs(dy) else (1 if dx > 0 else -1)
            down = 0 if abs(dy) < tilt * abs(dx) else (1 if dy > 0 else -1)
            ahead = length[min(max(y + down, 0), height - 1), min(max(x + right, 0), width - 1)]
            behind = length[min(max(y - down, 0), height - 1), min(max(x - right, 0), width - 1)]
            if length[y, x] >= ahead and length[y, x] > behind:
                thin[y, x] = length[y, x]
    return thin


def _saliency(planes: Planes, size: float) -> NDArray[np.float32]:
    """Distance to the mean color in CIELAB, at an edge that of its farther side: [C, H, W] -> [H, W]."""
    from scipy.ndimage import maximum_filter

    lab = _lab(planes[:, ::2, ::2])  # smooth, and known to about `size` pixels only: half the resolution will do
    distance = np.sqrt(np.square(lab - lab.mean((1, 2), keepdims=True)).sum(0))
    near = maximum_filter(distance, 2 * math.ceil(size / 2) + 1, mode="nearest")
    whole: NDArray[np.float32] = near.repeat(2, 0).repeat(2, 1)[: planes.shape[1], : planes.shape[2]]
    return whole


def _lab(planes: Planes) -> Planes:
    """sRGB or grey [C, H, W] -> CIELAB under D65: [3, H, W]. IEC 61966-2-1 and CIE 15."""
    share = np.broadcast_to(planes, (3, *planes.shape[1:])) / np.float32(255)
    bright = ((share + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    linear = np.where(share > 0.04045, bright, share / np.float32(12.92))
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
    xyz = np.tensordot(to_xyz / to_xyz.sum(1, keepdims=True), linear, 1)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), xyz * np.float32(841 / 108) + np.float32(4 / 29))
    lab: Planes = np.stack([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])
    return lab


def _luma(planes: Planes) -> NDArray[np.float32]:
    """BT.601: [C, H, W] -> [H, W]."""
    weights = np.array([0.299, 0.587, 0.114], np.float32)
    luma: NDArray[np.float32] = planes[0] if len(planes) == 1 else np.tensordot(weights, planes, 1)
    return luma


def _to_planes(image: Image) -> Planes:
    return np.ascontiguousarray(image.transpose(2, 0, 1)).astype(np.float32)


def _to_image(planes: Planes) -> Image:
    rounded = np.clip(planes + np.float32(0.5), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(rounded.transpose(1, 2, 0))


def _check(image: Image, what: str) -> None:
    if image.ndim != 3 or image.shape[2] not in (1, 3) or image.dtype != np.uint8 or image.size == 0:
        raise UsageError(
            f"{what} needs an image uint8 [H, W, 1 or 3], not {image.dtype} {list(image.shape)}; take an alpha channel "
            "off first."
        )


def _check_range(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{what} must be from {low:g} to {high:g}, not {value:g}.")
