"""The transformations of a whole batch in one pass over the pixels: one matrix an image, flips included.

Shapes: N images, H x W pixels, C channels; a batch is [N, H, W, C], or [N, C, H, W] for channels first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tenfold.augment.memory import Memory
from tenfold.environment import cores
from tenfold.errors import UsageError
from tenfold.keras.affine_transformations import (
    affine_matrix,
    apply_affine_transform,
    apply_brightness_shift,
    apply_channel_shift,
    as_rows_and_columns,
    flip_axis,
    transform_matrix_offset_center,
)
from tenfold.keras.files import COLOR_MODES, Array

Parameters = Mapping[str, Any]
"""What ImageDataGenerator.get_random_transform draws for one image; a missing one changes nothing."""

_FILLS = {"nearest": "nearest", "constant": "nearest", "reflect": "reflect", "wrap": "wrap-scipy"}
"""The kernel's fills for those of Keras; the constant, which scipy does not blend with the image, is set after."""

_WORTH_A_THREAD = 8  # images
_GEOMETRY = {"theta": 0, "tx": 0, "ty": 0, "shear": 0, "zx": 1, "zy": 1}


@dataclass(frozen=True)
class Sampling:
    """How pixels between and outside those of the input are made."""

    channels_first: bool
    fill_mode: str
    cval: float
    order: int
    dtype: DTypeLike
    """Of the result; bytes in are taken for the same numbers in this type."""
    memory: Memory | None = None
    """Where results in float32 lie, whose memory is then used again when they are gone."""

    @property
    def channel_axis(self) -> int:
        """Of one image."""
        return 0 if self.channels_first else 2

    def transform(self, images: Array, parameters: Sequence[Parameters]) -> Array:
        """Images changed by the parameters of each: a new array of the same shape and of `dtype`.

        Parameters: "theta" and "shear" in degrees, "tx" and "ty" in pixels along columns and rows, "zx" and "zy" (above
        1 shows more), "flip_horizontal", "flip_vertical", "channel_shift_intensity", "brightness" (a factor on 0 to
        255), in this order.
        """
        moved = self.move(images, parameters)
        for image, own in zip(moved, parameters, strict=True):
            recolored = self.recolor(image, own)
            if recolored is not image:
                image[...] = recolored
        return moved

    def recolor(self, image: Array, own: Parameters) -> Array:
        """The channel shift and the brightness of `transform`, in the dtype that Keras gives; or `image` itself.

        Raises UsageError where the brightness is to change and the channels are not where `apply_brightness_shift`
        takes them from.
        """
        if own.get("channel_shift_intensity") is not None:
            image = apply_channel_shift(image, own["channel_shift_intensity"], self.channel_axis)
        if own.get("brightness") is not None:
            image = apply_brightness_shift(image, own["brightness"], False)
        return image

    def move(self, images: Array, parameters: Sequence[Parameters]) -> Array:
        """The geometry of `transform`: a new array of the same shape and of `dtype`."""
        if all(is_still(own) and not _flips(own) for own in parameters):
            return self._copied(images)
        if self._is_fast(images):
            return self._interpolate(images, parameters)
        pixels = self._channels_last(images).astype(self.dtype, copy=False)
        move = self._pick if self.order == 0 else self._move_one
        moved = np.stack([move(image, own) for image, own in zip(pixels, parameters, strict=True)])
        return self._copied(moved.transpose(0, 3, 1, 2)) if self.channels_first else moved

    def _channels_last(self, images: Array) -> Array:
        """A view [N, H, W, C]."""
        return images.transpose(0, 2, 3, 1) if self.channels_first else images

    def _copied(self, images: Array) -> Array:
        """The same numbers in a new C-contiguous array of `dtype`."""
        copy = self._space(images.shape)
        copy[...] = images
        return copy

    def _space(self, shape: tuple[int, ...]) -> Array:
        return space(shape, self.dtype, self.memory)

    def _is_fast(self, images: Array) -> bool:
        """Whether the kernel does it."""
        known = self.order == 1 and self.fill_mode in _FILLS and images.shape[self.channel_axis + 1] <= 4
        return known and self.dtype == np.float32 and images.dtype in (np.uint8, np.float32)

    def _interpolate(self, images: Array, parameters: Sequence[Parameters]) -> Array:
        """Bilinear, uint8 or float32 -> float32, by the kernel, which is faster on bytes by far."""
        from tenfold.augment.kernel import warp, warp_normalized

        found = as_bytes(images)
        pixels = self._channels_last(images if found is None else found)
        count, height, width, channels = pixels.shape
        how: dict[str, Any] = {"interpolation": "bilinear", "fill": _FILLS[self.fill_mode]}
        how["threads"] = min(cores(), 1 + count // _WORTH_A_THREAD)
        matrices = output_to_input(parameters, height, width)
        if found is None:
            moved = warp(pixels, matrices, (height, width), out=self._space(pixels.shape), **how)
            moved = self._copied(moved.transpose(0, 3, 1, 2)) if self.channels_first else moved
        else:
            same = np.tile(np.eye(channels, channels + 1, dtype=np.float32), (count, 1, 1))
            how |= {"layout": "NCHW" if self.channels_first else "NHWC", "out": self._space(images.shape)}
            moved = warp_normalized(pixels, matrices, (height, width), same, **how)
        if self.fill_mode == "constant":
            self._fill(self._channels_last(moved), parameters)
        return moved

    def _fill(self, images: Array, parameters: Sequence[Parameters]) -> None:
        """Write the constant wherever a pixel of float32 [N, H, W, C] comes from outside."""
        from tenfold.keras.loops import fill_outside

        matrices = transform_matrix_offset_center(affine_matrix(**_geometries(parameters)), *images.shape[1:3])
        flips = np.stack([_flags(parameters, "flip_vertical"), _flags(parameters, "flip_horizontal")], 1)
        fill_outside(images, np.ascontiguousarray(as_rows_and_columns(matrices)), flips, float(self.cval))

    def _pick(self, image: Array, own: Parameters) -> Array:
        """The nearest pixels of [H, W, C]: scipy moves their numbers, so that ties fall as they do there."""
        numbers = np.arange(image[..., 0].size, dtype=np.float64).reshape(*image.shape[:2], 1)
        found = replace(self, cval=-1.0)._move_one(numbers, own)[..., 0].astype(np.int64)
        picked = image.reshape(-1, image.shape[2])[found]
        picked[found < 0] = self.cval
        return picked

    def _move_one(self, image: Array, own: Parameters) -> Array:
        """[H, W, C] by scipy: any dtype, any order, any of its fill modes."""
        how = {"fill_mode": self.fill_mode, "cval": self.cval, "order": self.order}
        how |= {"row_axis": 0, "col_axis": 1, "channel_axis": 2}
        return flipped(apply_affine_transform(image, **_geometry(own) | how), own)


def check_images(images: Array, data_format: str) -> None:
    """A UsageError where `images` has not four axes, a warning where it has not 1, 3 or 4 channels."""
    if images.ndim != 4:
        raise UsageError(f"`x` must have rank 4, a batch of images, not the shape {images.shape}.")
    axis = 3 if data_format == "channels_last" else 1
    if images.shape[axis] not in COLOR_MODES.values():
        warnings.warn(
            f"`x` should have 1, 3 or 4 channels on axis {axis} (data_format={data_format!r}), not the shape "
            f"{images.shape}.",
            stacklevel=4,
        )


def space(shape: tuple[int, ...], dtype: DTypeLike, memory: Memory | None) -> Array:
    """A new array, holding anything; where `memory` has what is needed, float32, it lies in there."""
    return np.empty(shape, dtype) if memory is None or np.dtype(dtype) != np.float32 else memory.take(shape)


def as_bytes(images: Array, rows: NDArray[np.int64] | None = None) -> NDArray[np.uint8] | None:
    """Images, or the `rows` of them, as uint8 where all values are whole numbers from 0 to 255, else None."""
    from tenfold.keras.loops import pack

    if images.dtype == np.uint8:
        return images if rows is None else images[rows]
    rows = np.arange(len(images)) if rows is None else rows
    known = images.dtype in (np.float32, np.float64)
    if not known or not images.flags.c_contiguous:
        images, rows = np.ascontiguousarray(images[rows], None if known else np.float64), np.arange(len(rows))
    length = math.prod(images.shape[1:])
    packed = np.empty((len(rows), *images.shape[1:]), np.uint8)
    whole = pack(images.reshape(len(images), length), rows, packed.reshape(len(rows), length))
    return packed if whole else None


def output_to_input(parameters: Sequence[Parameters], height: int, width: int) -> NDArray[np.float64]:
    """The matrices [N, 3, 3] of (x, y, 1), pixel edges at whole numbers, that move and then flip images.

    The centre is (height / 2, width / 2) as (x, y), which Keras 3 takes too where they differ.
    """
    matrices = affine_matrix(**_geometries(parameters))
    center = np.array([height / 2, width / 2])
    matrices[:, :2, 2] += center - matrices[:, :2, :2] @ center
    for column, (name, side) in enumerate((("flip_horizontal", width), ("flip_vertical", height))):
        flipped = _flags(parameters, name)
        matrices[flipped, :, 2] += side * matrices[flipped, :, column]
        matrices[flipped, :, column] *= -1
    return matrices


def _geometries(parameters: Sequence[Parameters]) -> dict[str, NDArray[np.float64]]:
    """Each parameter of the geometry [N]."""
    return {
        name: np.array([own.get(name, still) for own in parameters], np.float64) for name, still in _GEOMETRY.items()
    }


def _flags(parameters: Sequence[Parameters], name: str) -> NDArray[np.bool_]:
    return np.array([bool(own.get(name)) for own in parameters])


def flipped(image: Array, own: Parameters, row_axis: int = 0, col_axis: int = 1) -> Array:
    """The flips of the parameters: a view, or the image itself."""
    image = flip_axis(image, col_axis) if own.get("flip_horizontal") else image
    return flip_axis(image, row_axis) if own.get("flip_vertical") else image


def is_still(own: Parameters) -> bool:
    """Whether nothing moves but by flips."""
    return all(own.get(name, still) == still for name, still in _GEOMETRY.items())


def _flips(own: Parameters) -> bool:
    return bool(own.get("flip_horizontal") or own.get("flip_vertical"))


def _geometry(own: Parameters) -> dict[str, Any]:
    return {name: own.get(name, still) for name, still in _GEOMETRY.items()}
