"""Changes to one image as an array: turn, shift, shear, zoom, flip, channel shift, brightness.

Each is what `keras_preprocessing.image` had under this name, computed as Keras 3 does it: x goes along the columns, y
along the rows, angles are degrees, and the matrix maps an output pixel to the place in the input that it shows.
The `random_` functions draw from NumPy's global state, which is part of their interface.

Shapes: H x W pixels, C channels; an image has three axes, named by `row_axis`, `col_axis` and `channel_axis` (the
first or the last), by default [C, H, W].
"""
# ruff: noqa: PLR0913 - the arguments are those of the interface

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenfold.errors import UsageError, unknown
from tenfold.keras.files import COLOR_MODES, Array, check_data_format, stretched

try:  # the original says with an ImportError at the call that one of these is missing
    import scipy
except ImportError:
    scipy = None  # type: ignore[assignment]
try:
    from PIL import ImageEnhance
except ImportError:
    ImageEnhance = None  # type: ignore[assignment]

Matrix = NDArray[np.float64]

_FILL_MODES = ("nearest", "constant", "reflect", "wrap", "mirror", "grid-mirror", "grid-constant", "grid-wrap")
_ORDERS = range(6)


def flip_axis(x: Array, axis: int) -> Array:
    """The array with one axis the other way round (a view)."""
    return np.flip(np.asarray(x), axis)


def random_rotation(
    x: Array,
    rg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Array:
    """Turn an image by an angle from -`rg` to `rg` degrees."""
    axes = (row_axis, col_axis, channel_axis)
    return _moved(x, {"theta": np.random.uniform(-rg, rg)}, axes, fill_mode, cval, interpolation_order)


def random_shift(
    x: Array,
    wrg: float,
    hrg: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Array:
    """Shift an image by up to `wrg` of its width and `hrg` of its height, either way."""
    down = np.random.uniform(-hrg, hrg) * x.shape[row_axis]
    right = np.random.uniform(-wrg, wrg) * x.shape[col_axis]
    axes = (row_axis, col_axis, channel_axis)
    return _moved(x, {"tx": right, "ty": down}, axes, fill_mode, cval, interpolation_order)


def random_shear(
    x: Array,
    intensity: float,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Array:
    """Shear an image by an angle from -`intensity` to `intensity` degrees."""
    axes = (row_axis, col_axis, channel_axis)
    return _moved(x, {"shear": np.random.uniform(-intensity, intensity)}, axes, fill_mode, cval, interpolation_order)


def random_zoom(
    x: Array,
    zoom_range: Sequence[float],
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    interpolation_order: int = 1,
) -> Array:
    """Zoom an image, each direction by its own factor from `zoom_range` (low, high); above 1 it shows more."""
    if len(zoom_range) != 2:
        raise UsageError(f"`zoom_range` must be two numbers, not {zoom_range}.")
    zx, zy = (1.0, 1.0) if tuple(zoom_range) == (1, 1) else np.random.uniform(zoom_range[0], zoom_range[1], 2)
    axes = (row_axis, col_axis, channel_axis)
    return _moved(x, {"zx": zx, "zy": zy}, axes, fill_mode, cval, interpolation_order)


def _moved(
    x: Array, parameters: Mapping[str, Any], axes: tuple[int, int, int], fill_mode: str, cval: float, order: int
) -> Array:
    row_axis, col_axis, channel_axis = axes
    return apply_affine_transform(
        x,
        **parameters,
        row_axis=row_axis,
        col_axis=col_axis,
        channel_axis=channel_axis,
        fill_mode=fill_mode,
        cval=cval,
        order=order,
    )


def apply_channel_shift(x: Array, intensity: float, channel_axis: int = 0) -> Array:
    """Add `intensity` to every value, kept between the smallest and the largest of the image."""
    return np.clip(x + intensity, np.min(x), np.max(x))


def random_channel_shift(x: Array, intensity_range: float, channel_axis: int = 0) -> Array:
    """Add a number from -`intensity_range` to `intensity_range`, as `apply_channel_shift`."""
    return apply_channel_shift(x, np.random.uniform(-intensity_range, intensity_range), channel_axis)


def apply_brightness_shift(x: Array, brightness: float, scale: bool = True) -> Array:
    """Multiply whole numbers from 0 to 255 by `brightness`, as Pillow's ImageEnhance.Brightness: float32, same shape.

    `x` is [H, W, C] with 1, 3 or 4 channels; a fourth, alpha, stays. Only where the program has set Keras to
    "channels_first" is it [C, H, W]. With `scale`, or where a value is below 0 or above 255, the image is first
    stretched to 0 to 255; without `scale` its own range is given back after.
    """
    from tenfold.keras.loops import brighten

    if ImageEnhance is None:
        raise ImportError("apply_brightness_shift needs Pillow; install it.")
    x = np.asarray(x)
    shape, channel_axis = ("[H, W, C]", 2) if check_data_format(None) == "channels_last" else ("[C, H, W]", 0)
    if x.ndim != 3 or x.shape[channel_axis] not in COLOR_MODES.values():
        raise UsageError(
            f"A change of brightness needs one image {shape} with 1, 3 or 4 channels, not an array of shape {x.shape}."
        )
    low, high = np.min(x), np.max(x)
    outside = bool(low < 0 or high > 255)
    values = np.asarray(x, np.float32)
    grey = np.ascontiguousarray(stretched(values) if outside or scale else values)
    bright: Array = brighten(grey, np.float32(brightness))
    if x.shape[channel_axis] == COLOR_MODES["rgba"]:
        alpha = (slice(None),) * channel_axis + (3,)
        bright[alpha] = np.trunc(grey[alpha])
    result: Array = bright / 255 * (high - low) + low if outside and not scale else bright
    return result


def random_brightness(x: Array, brightness_range: Sequence[float], scale: bool = True) -> Array:
    """Multiply the brightness by a number from `brightness_range` (low, high), as `apply_brightness_shift`."""
    if len(brightness_range) != 2:
        raise UsageError(f"`brightness_range` must be two numbers, not {brightness_range}.")
    return apply_brightness_shift(x, np.random.uniform(brightness_range[0], brightness_range[1]), scale)


def transform_matrix_offset_center(matrix: Matrix, x: float, y: float) -> Matrix:
    """A matrix [..., 3, 3] about the origin as one about the centre of an image of `x` by `y` pixels."""
    there, back = np.eye(3), np.eye(3)
    there[:2, 2] = x / 2 - 0.5, y / 2 - 0.5
    back[:2, 2] = -there[:2, 2]
    return there @ matrix @ back


def affine_matrix(
    theta: ArrayLike = 0,
    tx: ArrayLike = 0,
    ty: ArrayLike = 0,
    shear: ArrayLike = 0,
    zx: ArrayLike = 1,
    zy: ArrayLike = 1,
) -> Matrix:
    """Rotation, shift, shear and zoom as one matrix [3, 3], output to input, of (x, y, 1) about the centre.

    Of arrays [N], all six of them, [N, 3, 3].
    """
    tx, ty, zx, zy = (np.asarray(value, np.float64) for value in (tx, ty, zx, zy))
    turn, slant = np.deg2rad(theta), np.deg2rad(shear)
    cos, sin = np.cos(turn), np.sin(turn)
    lean, flatten = -np.sin(slant), np.cos(slant)
    matrix = np.zeros((*np.shape(theta), 3, 3))
    matrix[..., 0, 0] = cos * zx
    matrix[..., 0, 1] = (cos * lean - sin * flatten) * zy
    matrix[..., 0, 2] = cos * tx - sin * ty
    matrix[..., 1, 0] = sin * zx
    matrix[..., 1, 1] = (sin * lean + cos * flatten) * zy
    matrix[..., 1, 2] = sin * tx + cos * ty
    matrix[..., 2, 2] = 1
    return matrix


def as_rows_and_columns(matrix: Matrix) -> Matrix:
    """A matrix [..., 3, 3] of (x, y, 1) as that of (row, column, 1), which scipy counts."""
    return matrix[..., [1, 0, 2], :][..., [1, 0, 2]]


def apply_affine_transform(
    x: Array,
    theta: float = 0,
    tx: float = 0,
    ty: float = 0,
    shear: float = 0,
    zx: float = 1,
    zy: float = 1,
    row_axis: int = 1,
    col_axis: int = 2,
    channel_axis: int = 0,
    fill_mode: str = "nearest",
    cval: float = 0.0,
    order: int = 1,
) -> Array:
    """Turn, shift, shear and zoom an image by scipy's spline of `order` 0 to 5: same shape and dtype.

    `theta` and `shear` are degrees; `tx` and `ty` pixels, along the columns and the rows; `zx` and `zy` above 1 show
    more. `fill_mode` ("nearest", "constant" with `cval`, "reflect", "wrap", or another of scipy's) says what lies
    outside. An image that is not square turns about (W / 2, H / 2) taken as (row, column), as in Keras 3. Raises
    RuntimeError, as scipy does, for another `order` or `fill_mode` where there is something to move.
    """
    if scipy is None:
        raise ImportError("apply_affine_transform needs scipy; install it.")
    _check_axes(x, row_axis, col_axis, channel_axis)
    if not (theta or tx or ty or shear or zx != 1 or zy != 1):
        return x
    from scipy import ndimage

    matrix = affine_matrix(theta, tx, ty, shear, zx, zy)
    matrix = transform_matrix_offset_center(matrix, x.shape[row_axis], x.shape[col_axis])
    if col_axis > row_axis:
        matrix = as_rows_and_columns(matrix)
    options: dict[str, Any] = {"order": order, "mode": fill_mode, "cval": cval}
    try:
        channels = [
            ndimage.affine_transform(channel, matrix[:2, :2], matrix[:2, 2], **options)
            for channel in np.moveaxis(x, channel_axis, 0)
        ]
    except RuntimeError as error:
        raise _refusal(error, fill_mode, order) from error
    return np.stack(channels, channel_axis)


def _refusal(error: RuntimeError, fill_mode: str, order: int) -> RuntimeError:
    """scipy's error, which looks at the order first, in a sentence."""
    if order not in _ORDERS:
        return RuntimeError(f"`interpolation_order` must be from 0 to 5, not {order}.")
    if fill_mode not in _FILL_MODES:
        return RuntimeError(str(unknown("`fill_mode`", str(fill_mode), _FILL_MODES)))
    return RuntimeError(str(error))


def _check_axes(x: Array, row_axis: int, col_axis: int, channel_axis: int) -> None:
    axes = (row_axis, col_axis, channel_axis)
    if len(set(axes)) != 3:
        raise UsageError(f"`row_axis`, `col_axis` and `channel_axis` must be distinct, not {axes}.")
    if set(axes) != {0, 1, 2}:
        raise UsageError(f"`row_axis`, `col_axis` and `channel_axis` must be 0, 1 and 2 in some order, not {axes}.")
    check_image(x)
    if channel_axis == 1:
        raise UsageError("`channel_axis` must be the first axis or the last, 0 or 2, not 1.")


def check_image(x: Array) -> None:
    """A UsageError where `x` has not three axes."""
    if np.ndim(x) != 3:
        raise UsageError(f"`x` must be one image with three axes, not of the shape {np.shape(x)}.")
