"""Ops that need neighbors, a histogram or an image of their own: uint8 [H, W, C] -> uint8 [H, W, C], C 1 or 3 (RGB).

No function changes the image that it is given.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.ops.color import LUMA
from tenfold.draws import uniforms

Image = NDArray[np.uint8]


def equalize(image: Image) -> Image:
    """Each channel's histogram made even, by the rule of Pillow's ImageOps.equalize."""
    return _by_channel(image, _equalizing)


def autocontrast(image: Image) -> Image:
    """Each channel stretched from its least and most to 0 and 255."""
    return _by_channel(image, _stretching)


def contrast_about_mean(image: Image, change: float) -> Image:
    """The distance from the image's mean luma times 1 + change, as torchvision and Pillow change contrast."""
    grey = image[..., 0] if image.shape[2] == 1 else np.floor(image @ LUMA)
    levels = np.arange(256) * (1 + change) - grey.mean() * change
    return _round(levels)[image]


def sharpness(image: Image, change: float) -> Image:
    """The distance from a smoothed image times 1 + change; the smoothing is Pillow's (3 x 3, centre 5 of 13)."""
    if min(image.shape[:2]) < 3:
        return image.copy()
    pixels = image.astype(np.float32)
    columns = pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    middle = pixels[1:-1, 1:-1]
    smooth = np.rint((columns[:-2] + columns[1:-1] + columns[2:] + 4 * middle) / 13)
    result = image.copy()
    result[1:-1, 1:-1] = _round(smooth + (1 + change) * (middle - smooth))
    return result


def blur(image: Image, sigma: float) -> Image:
    """Gaussian, sigma in pixels, the border mirrored."""
    from scipy.ndimage import gaussian_filter

    return _round(gaussian_filter(image.astype(np.float32), (sigma, sigma, 0), mode="mirror"))


def noise(image: Image, sigma: float, seed: float) -> Image:
    """Gaussian, sigma in grey levels, each value on its own; `seed` from 0 to 1 says which noise."""
    key = np.array([int(seed * 2**53)], np.uint64)
    half = -(-image.size // 2)
    radius, angle = uniforms(key, 2 * half).reshape(2, half)
    radius, angle = np.sqrt(-2 * np.log1p(-radius)), 2 * math.pi * angle  # Box and Muller 1958
    normal = np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[: image.size]
    return _round(image + sigma * normal.reshape(image.shape))


def jpeg(image: Image, quality: float) -> Image:
    """Stored as JPEG of that quality (1 to 100, chroma halved) and read again."""
    from PIL import Image as Pillow

    file = io.BytesIO()
    Pillow.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(
        file, "JPEG", quality=round(quality), subsampling="4:2:0"
    )
    return np.asarray(Pillow.open(file)).reshape(image.shape)


def cutout(image: Image, size: float, x: float, y: float, value: float) -> Image:
    """A square set to a grey level, its side a share of the image's shorter one, its centre anywhere."""
    height, width = image.shape[:2]
    half = size * min(height, width) / 2
    result = image.copy()
    top, bottom = (max(round(y * height + step), 0) for step in (-half, half))
    left, right = (max(round(x * width + step), 0) for step in (-half, half))
    result[top:bottom, left:right] = round(value)
    return result


def erase(image: Image, area: float, aspect: float, x: float, y: float, seed: float) -> Image:
    """A rectangle inside the image filled with noise; aspect is width over height. Too thin for a pixel, it is none."""
    height, width = image.shape[:2]
    columns = min(round(math.sqrt(area * height * width * aspect)), width)
    rows = min(round(math.sqrt(area * height * width / aspect)), height)
    top, left = round(y * (height - rows)), round(x * (width - columns))
    shape = (rows, columns, image.shape[2])
    numbers = uniforms(np.array([int(seed * 2**53)], np.uint64), math.prod(shape))
    result = image.copy()
    result[top : top + rows, left : left + columns] = (256 * numbers).astype(np.uint8).reshape(shape)
    return result


def detexture(image: Image) -> Image:
    """Without texture, see views.py."""
    from tenfold.augment.views import detexturize

    return detexturize(image)


def decolor(image: Image) -> Image:
    """Without color, see views.py."""
    from tenfold.augment.views import decolorize

    return decolorize(image)


def edges(image: Image) -> Image:
    """With stronger edges, see views.py."""
    from tenfold.augment.views import enhance_edges

    return enhance_edges(image)


def saliency(image: Image) -> Image:
    """The map of salient edges, see views.py."""
    from tenfold.augment.views import salient_edges

    return salient_edges(image)


def _by_channel(image: Image, table_of: Callable[[NDArray[np.int64]], Image]) -> Image:
    """Each channel through the table uint8 [256] that its histogram [256] gives."""
    channels = [image[..., channel] for channel in range(image.shape[2])]
    return np.stack([table_of(np.bincount(values.ravel(), minlength=256))[values] for values in channels], 2)


def _equalizing(histogram: NDArray[np.int64]) -> Image:
    brightest = histogram[histogram > 0][-1]
    step = (histogram.sum() - brightest) // 255
    if step == 0:
        return np.arange(256, dtype=np.uint8)
    below = np.cumsum(histogram) - histogram
    table: Image = np.minimum((step // 2 + below) // step, 255).astype(np.uint8)
    return table


def _stretching(histogram: NDArray[np.int64]) -> Image:
    darkest, brightest = np.flatnonzero(histogram)[[0, -1]]
    levels = np.arange(256)
    if darkest == brightest:
        return levels.astype(np.uint8)
    return _round((levels - darkest) * (255 / (brightest - darkest)))


def _round(values: NDArray[np.floating]) -> Image:
    rounded: Image = np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    return rounded
