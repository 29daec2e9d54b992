"""Preprocessing: the one way from decoded pixels to what a network sees, as numbers that are stored in the run.

An image becomes a canvas (`prepare`), square or a rectangle, which the cache keeps; the network sees the canvas's
center (`center`), or what an augmentation draws from it, normalized (`normalize`).

Shapes: N images, H x W pixels, C channels; an affine map is [2, 3] and takes (x, y, 1), pixel edges at integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.errors import DataError, UsageError, unknown
from tenfold.images.pixels import CHANNELS, Channels
from tenfold.images.resize import SUPPORT, Filter, resize
from tenfold.recipe import check_range

Fit = Literal["squash", "crop", "pad"]
FITS: tuple[Fit, ...] = ("squash", "crop", "pad")

Sides = tuple[int, int]
"""Height and width, in pixels."""

LARGEST_SIZE = 8192
"""Pixels; the largest canvas, as `canvas` says it."""

ASPECTS = (0.25, 4.0)
"""The least and the most that width over height may be."""

WHOLE = 32
"""Pixels of which the sides of a rectangle are multiples: the stride of a detector's coarsest map."""

SIXTEEN_BIT_DIVISOR = 256
"""16-bit values are divided by this, rounding down, to become 8-bit values (see decode.py)."""


@dataclass(frozen=True)
class Preprocessing:
    """Every number that decides which pixels the network sees. Raises UsageError where one is impossible."""

    channels: Channels
    """Grey (C = 1), or the order of red, green and blue (C = 3)."""
    size: int
    """Height and width that the network sees, in pixels; of a rectangle those of the square of as many: see `sides`.
    """
    canvas: int
    """The same of the canvas, at least `size`: the room for random crops. See `canvas_sides`."""
    fit: Fit
    """How an image of another shape becomes the canvas. squash: its sides are scaled each on its own. crop: it covers
    the canvas, and its middle is kept. pad: all of it lies in the canvas, the rest is background."""
    filter: Filter
    """The resize kernel, see resize.py."""
    background: int
    """Grey level, 0 to 255, around padded images and under transparent pixels."""
    mean: tuple[float, ...]
    """Mean of each channel on the 0 to 1 scale, in the order of `channels`."""
    std: tuple[float, ...]
    """Standard deviation of each channel on the 0 to 1 scale."""
    origin: str = ""
    """Where mean and std come from, in words for people."""
    sixteen_bit_divisor: int = SIXTEEN_BIT_DIVISOR
    """How 16 bits become 8. Stored so that a run says it; no other value is known."""
    aspect: float = 1.0
    """Width over height of what the network sees, about; 1: exactly square."""

    def __post_init__(self) -> None:
        for name, allowed in (("channels", CHANNELS), ("fit", FITS), ("filter", SUPPORT)):
            if getattr(self, name) not in allowed:
                raise unknown(f"preprocessing.{name}", str(getattr(self, name)), allowed)
        check_range("preprocessing.size", self.size, 1, LARGEST_SIZE)
        check_range("preprocessing.canvas", self.canvas, self.size, LARGEST_SIZE)
        check_range("preprocessing.background", self.background, 0, 255)
        check_range("preprocessing.aspect", self.aspect, *ASPECTS)
        if self.sixteen_bit_divisor != SIXTEEN_BIT_DIVISOR:
            raise UsageError(
                f"preprocessing.sixteen_bit_divisor must be {SIXTEEN_BIT_DIVISOR}, not {self.sixteen_bit_divisor}."
            )
        count = CHANNELS[self.channels]
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) != count or not all(math.isfinite(value) for value in values):
                raise UsageError(
                    f"preprocessing.{name} must be {count} finite numbers for {self.channels}, not {values}."
                )
        if min(self.std) <= 0:
            raise UsageError(f"preprocessing.std must be above 0 in every channel, not {self.std}.")

    @property
    def sides(self) -> Sides:
        """What the network sees."""
        return rectangle(self.size, self.aspect)

    @property
    def canvas_sides(self) -> Sides:
        """The canvas, at least `sides`."""
        height, width = self.sides
        return round(height * self.canvas / self.size), round(width * self.canvas / self.size)

    def prepare(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """An upright image uint8 [H, W, C] -> its canvas and the affine map from the image to the canvas.

        Canvas: uint8 [*canvas_sides, C]; map: float32 [2, 3], (x, y) of the image -> (x, y) of the canvas. Raises
        UsageError where the channels do not fit. Several threads may call it at once.
        """
        if image.ndim != 3 or image.shape[2] != CHANNELS[self.channels]:
            raise UsageError(
                f"prepare needs an image [H, W, {CHANNELS[self.channels]}] for {self.channels}, "
                f"not {list(image.shape)}; decode it with channels={self.channels!r}."
            )
        if self.fit == "crop":
            return self._crop(image)
        if self.fit == "pad":
            return self._pad(image)
        (height, width), (rows, columns) = image.shape[:2], self.canvas_sides
        return resize(image, rows, columns, self.filter), _scale_and_shift(columns / width, rows / height, 0, 0)

    def center(self, canvases: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The middle of each canvas, without a copy: uint8 [N, *canvas_sides, C] -> [N, *sides, C]."""
        (top, left), (height, width) = self._before_center(), self.sides
        return canvases[:, top : top + height, left : left + width]

    def center_affine(self, affine: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps from images to canvases [N, 2, 3] -> maps from images to the canvases' centers."""
        top, left = self._before_center()
        moved = affine.copy()
        moved[:, :, 2] -= np.array([left, top], np.float32)
        return moved

    def normalize(self, pixels: Tensor) -> Tensor:
        """uint8 [N, H, W, C] -> (pixels / 255 - mean) / std, float32 [N, C, H, W], channels last in memory."""
        mean, std = np.array(self.mean), np.array(self.std)
        count, height, width, channels = pixels.shape
        # A factor for each byte of a row rather than each channel: the innermost loop is long enough to vectorize.
        factor = torch.from_numpy((1 / (255 * std)).astype(np.float32)).to(pixels.device).repeat(width)
        offset = torch.from_numpy((-mean / std).astype(np.float32)).to(pixels.device).repeat(width)
        rows = pixels.reshape(count, height, width * channels).float().mul_(factor).add_(offset)
        return rows.view(pixels.shape).permute(0, 3, 1, 2)

    def geometry(self) -> dict[str, Any]:
        """All that the canvas's pixels depend on, as JSON values: the cache's key beside the image's content."""
        unrelated = ("size", "aspect", "mean", "std", "origin")
        found = {name: value for name, value in self.to_json().items() if name not in unrelated}
        return found | {"canvas": one_or_both(self.canvas_sides)}

    def to_json(self) -> dict[str, Any]:
        """Every field as a JSON value; tuples as lists. A square has no "aspect", as before there were rectangles."""
        values = asdict(self) | {"mean": list(self.mean), "std": list(self.std)}
        if self.aspect == 1:
            del values["aspect"]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_json`. Raises DataError for a field that is missing, unknown, of another type or range."""
        names = {field.name for field in fields(cls)} - {"aspect"}
        if not isinstance(values, Mapping):
            raise DataError(f"The stored preprocessing must be a JSON object, not {values!r}.")
        if set(values) - {"aspect"} != names:
            wrong = ", ".join(sorted((set(values) - {"aspect"}) ^ names))
            raise DataError(f"The stored preprocessing must have the fields {', '.join(sorted(names))}; see {wrong}.")
        for name, value in values.items():
            kind = _KINDS.get(name, str)
            good = isinstance(value, kind) and not isinstance(value, bool)
            if not good or (kind is list and not all(type(item) in (int, float) for item in value)):
                raise DataError(f"The stored preprocessing's {name} must be of type {kind.__name__}, not {value!r}.")
        try:
            return cls(**{**values, "mean": tuple(values["mean"]), "std": tuple(values["std"])})
        except UsageError as error:
            raise DataError(f"The stored preprocessing cannot be used: {error}") from error

    def _crop(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        (height, width), (rows, columns) = image.shape[:2], self.canvas_sides
        scale = max(rows / height, columns / width)
        high, wide = max(round(rows / scale), 1), max(round(columns / scale), 1)  # of the image, in its pixels
        top, left = (height - high) // 2, (width - wide) // 2
        pixels = resize(image[top : top + high, left : left + wide], rows, columns, self.filter)
        scale_x, scale_y = columns / wide, rows / high
        return pixels, _scale_and_shift(scale_x, scale_y, -left * scale_x, -top * scale_y)

    def _pad(self, image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        (height, width), sides = image.shape[:2], self.canvas_sides
        scale = min(sides[0] / height, sides[1] / width)
        rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
        top, left = (sides[0] - rows) // 2, (sides[1] - columns) // 2
        pixels = np.full((*sides, image.shape[2]), self.background, np.uint8)
        pixels[top : top + rows, left : left + columns] = resize(image, rows, columns, self.filter)
        return pixels, _scale_and_shift(columns / width, rows / height, left, top)

    def _before_center(self) -> Sides:
        """Pixels of the canvas above and left of its center."""
        (rows, columns), (height, width) = self.canvas_sides, self.sides
        return (rows - height) // 2, (columns - width) // 2


def rectangle(size: int, aspect: float) -> Sides:
    """The sides of a rectangle `aspect` times as wide as high, of about as many pixels as the square of `size`.

    Of the aspect 1 it is this square. Else its sides are multiples of WHOLE next to the exact ones, the pair that is
    nearest, a wrong shape weighing twice as much as a wrong area; or the square where that is nearer. A run stores size
    and aspect only, so what they stand for must never change.
    """
    if aspect == 1:
        return size, size

    def off(sides: Sides) -> float:
        height, width = sides
        return abs(math.log(width / height / aspect)) + abs(math.log(height * width / size**2)) / 2

    exact = (size / math.sqrt(aspect) / WHOLE, size * math.sqrt(aspect) / WHOLE)
    heights, widths = ((WHOLE * max(math.floor(side), 1), WHOLE * math.ceil(side)) for side in exact)
    return min([(size, size), *product(heights, widths)], key=off)


def one_or_both(sides: Sides) -> int | list[int]:
    """The side of a square, or height and width: a JSON value that for squares is what it was before rectangles."""
    height, width = sides
    return height if height == width else [height, width]


def size_words(size: int, aspect: float) -> str:
    """What `rectangle` gives, in words: "416", or width and height, "480 x 352"."""
    height, width = rectangle(size, aspect)
    return f"{size}" if height == width else f"{width} x {height}"


_KINDS: dict[str, type] = {
    "size": int,
    "canvas": int,
    "background": int,
    "mean": list,
    "std": list,
    "sixteen_bit_divisor": int,
    "aspect": float,
}
"""JSON types of the fields that are not text."""


def _scale_and_shift(scale_x: float, scale_y: float, shift_x: float, shift_y: float) -> NDArray[np.float32]:
    return np.array([[scale_x, 0, shift_x], [0, scale_y, shift_y]], np.float32)
