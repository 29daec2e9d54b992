"""What `fit` learns from images: mean and deviation of each channel, and the matrix of ZCA whitening.

Shapes: N images, H x W pixels, C channels; D = H W C features.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tenfold.augment.standardize import Statistics
from tenfold.augment.whiten import Whitening, fit_whitening
from tenfold.errors import UsageError
from tenfold.keras.files import Array

_TINY = 1e-30  # in place of a zca_epsilon of 0
_DECIDED = 100  # a zca_epsilon of so many times the rounding errors of Keras decides what Keras divides by


def channel_statistics(images: Array, channel_axis: int) -> Statistics:
    """Mean and deviation of each channel of images of four axes, in their own dtype; those of no images are NaN.

    Raises TypeError for whole numbers, from which no mean can be taken away in place.
    """
    if images.dtype.kind != "f":
        raise TypeError(f"`fit` needs a generator whose `dtype` is a float to learn means, not {images.dtype}.")
    known = images if len(images) else np.full((1, *images.shape[1:]), np.nan, images.dtype)
    return Statistics.fit(known, channel_axis=channel_axis, dtype=images.dtype, finite=False)


def whitening_matrix(images: Array, epsilon: float, channel_axis: int) -> Array:
    """The matrix [D, D] that whitens a centered image as a row, in the images' dtype, float32 or float64.

    In float64 by the formula of Keras as it stands, and nearly as slow. In float32 by tenfold.augment.whiten, which
    gives directions in which no image varies a gain of 0. Keras divides there by `epsilon` and its rounding errors: so
    does this as far as `epsilon` is large enough to decide the result. Raises TypeError for other dtypes, and a
    ValueError for no images or a value that is not finite.
    """
    if images.dtype not in (np.float32, np.float64):
        raise TypeError(f"`zca_whitening` needs a generator whose `dtype` is float32 or float64, not {images.dtype}.")
    count = len(images)
    if not count:
        raise UsageError("`zca_whitening` needs at least one image to `fit`, but none came.")
    if images.dtype == np.float64:
        return _by_svd(images, epsilon, channel_axis)
    # A single image is taken twice: sqrt(2) s is then its singular value, and sqrt(2) / (sqrt(2) s + sqrt(2) epsilon)
    # the same gain, 1 / (s + epsilon).
    seen, epsilon = (images, epsilon) if count > 1 else (np.repeat(images, 2, 0), math.sqrt(2) * epsilon)
    whitening = fit_whitening(seen, max(epsilon, _TINY), formula="keras", channel_axis=channel_axis, memory=math.inf)
    return _with_still_directions(whitening, len(seen)).matrix


def _with_still_directions(whitening: Whitening, count: int) -> Whitening:
    """With the gain of Keras where no image varies, if there are images enough for Keras to whiten these directions."""
    gains, root = whitening.gains, math.sqrt(count)
    largest = root / gains[gains > 0].min() - whitening.epsilon if gains.any() else 0.0  # singular value
    decided = whitening.epsilon > _DECIDED * np.finfo(np.float32).eps * largest
    if count < len(whitening.vectors) or not decided:
        return whitening
    return replace(whitening, gains=np.where(gains > 0, gains, root / whitening.epsilon))


def _by_svd(images: Array, epsilon: float, channel_axis: int) -> Array:
    axes = tuple(axis for axis in range(4) if axis != channel_axis)
    flat = (images - images.mean(axes, keepdims=True)).reshape(len(images), -1)
    # With more images than features, the triangle R of flat = Q R has the same singular values and directions.
    root: Any = np.linalg.qr(flat, mode="r") if len(flat) > flat.shape[1] else flat
    directions, sizes, _ = np.linalg.svd(root.T, full_matrices=False)
    matrix: Array = (directions * (math.sqrt(len(images)) / (sizes + epsilon))) @ directions.T
    return matrix


def deviation(x: Array) -> float:
    """The standard deviation of all values; several times as fast as NumPy's where their mean is about 0 already."""
    if x.dtype.kind != "f" or x.dtype.itemsize < 4:  # the squares of half precision do not add up in it
        return float(np.std(x, dtype=np.float64))
    mean, power = float(np.mean(x)), float(np.vdot(x, x)) / x.size
    return math.sqrt(power) if mean**2 < 0.1 * np.finfo(x.dtype).eps * power else float(np.std(x))
