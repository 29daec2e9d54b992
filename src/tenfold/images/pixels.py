"""Pixels: an image that Pillow has decoded -> a flat, upright uint8 array; the rules are those of decode.py.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tenfold.errors import DataError

Channels = Literal["grey", "rgb", "bgr"]

CHANNELS: dict[Channels, int] = {"grey": 1, "rgb": 3, "bgr": 3}
"""The orders of channels, and how many each has."""


def flatten(image: Image.Image, background: int, name: str) -> Image.Image:
    """The image with 8 bits a channel and nothing transparent: mode L or RGB."""
    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image, name)
    if image.has_transparency_data:
        image = image if image.mode == "RGBA" else image.convert("RGBA")  # which would copy it all the same
        flat = Image.new("RGB", image.size, (background, background, background))
        flat.paste(image, mask=image)
        return flat
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """16-bit grey -> mode L, or LA where one value is transparent."""
    if image.mode == "F" or (image.mode == "I" and image.format != "PPM"):
        raise DataError(
            f"Cannot decode {name}: its pixels are 32-bit, signed or floating-point numbers without a stated range; "
            "save it with 8 or 16 bits a channel."
        )
    values = np.asarray(image).astype(np.uint16)
    tags = getattr(image, "tag_v2", {})  # TIFF
    bits = tags.get(ExifTags.Base.BitsPerSample, (16,))[0]
    grey = (values >> (bits - 8)).astype(np.uint8)
    if tags.get(ExifTags.Base.PhotometricInterpretation) == 0:
        grey = 255 - grey  # white is zero: Pillow inverts that for 8 bits, not for 16
    transparent = image.info.get("transparency")
    if transparent is None:
        return Image.fromarray(grey)
    return Image.merge("LA", (Image.fromarray(grey), Image.fromarray(np.uint8(255) * (values != transparent))))


def pixels_of(image: Image.Image, channels: Channels) -> NDArray[np.uint8]:
    """A flat image as a writable array uint8 [H, W, C]."""
    mode = "L" if channels == "grey" else "RGB"
    pixels = np.array(image if image.mode == mode else image.convert(mode))
    if channels == "bgr":
        return np.ascontiguousarray(pixels[..., ::-1])
    return pixels if pixels.ndim == 3 else pixels[..., None]


def turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112); 5 to 8 swap height and width."""
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
