"""Measures of one image: what its file's header says, and how sharp, bright, rich in contrast and in information it is.

The measures are taken on the grey image at the size at which a network would see it, at most SIDE pixels, so that
megapixels that are soft one by one do not count as blurred.

Shapes: H x W pixels.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tenfold.images.content import Content
from tenfold.images.decode import open_image
from tenfold.images.jpeg import read_header

SIDE = 256
"""Longest side, in pixels, of the grey image that is measured; a smaller one is measured as it is."""

_EDGE = 0.001  # the share of pixels, and of steps between neighbors, that count as stray at either end
_BRIGHT = 0.01
_WITH_EXIF = {"JPEG", "MPO", "TIFF", "WEBP", "HEIF", "AVIF"}
_ARRAY_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


class Header(NamedTuple):
    """What a file says of itself."""

    mode: str
    """Pillow's name of the color mode: L (grey), RGB, RGBA, CMYK, P (palette), I;16 ..."""
    orientation: int = 1
    """EXIF orientation, 1 (upright) to 8."""
    time: float = np.nan
    """When it was taken, in seconds since 1970 by the camera's own clock; NaN where the file does not say."""
    camera: str = ""
    """Maker and model."""


class Measures(NamedTuple):
    """What can be said of pixels without knowing what they show."""

    sharpness: float
    """The steepest step between neighbors as a share of the image's range of grey: an edge blurred by a Gaussian of
    s pixels gives 0.4 / s. The steepest thousandth counts, so a soft background takes nothing from a sharp flower."""
    brightness: float
    """Grey level of the brightest hundredth, 0 to 1."""
    contrast: float
    """Range of grey levels without the outer thousandths, 0 to 1."""
    information: float
    """Entropy of the steps between neighbors in bits, which is what a simple lossless coder would need a pixel."""


def read_facts(content: Content, name: str) -> Header:
    """What the header says. Raises DataError, which names the image, where it cannot be read."""
    if isinstance(content, np.ndarray):
        return Header(_ARRAY_MODES.get(content.shape[2] if content.ndim == 3 else 1, "RGB"))
    found = read_header(content)
    if found is not None and b"Exif\0\0" not in content[: 2**16]:
        return Header("L" if found.components == 1 else "RGB", found.orientation)
    image, orientation = open_image(content, name)
    if image.format not in _WITH_EXIF:
        return Header(image.mode, orientation)
    try:
        exif = image.getexif()
        more = exif.get_ifd(ExifTags.IFD.Exif)
    except Exception:  # Pillow lets through whatever goes wrong in parsing; such a file has a picture all the same
        return Header(image.mode, orientation)
    taken = more.get(ExifTags.Base.DateTimeOriginal) or exif.get(ExifTags.Base.DateTime)
    maker = (str(exif.get(tag) or "").strip(" \0") for tag in (ExifTags.Base.Make, ExifTags.Base.Model))
    return Header(image.mode, orientation, _seconds(taken, more), " ".join(filter(None, maker)))


def measure(image: NDArray[np.uint8]) -> Measures:
    """The measures of upright pixels uint8 [H, W, 3]."""
    look = Image.fromarray(image).convert("L")
    if max(look.size) > SIDE:
        scale = SIDE / max(look.size)
        width, height = (max(round(side * scale), 1) for side in look.size)
        look = look.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2)
    return measure_grey(np.asarray(look))


def measure_grey(grey: NDArray[np.uint8]) -> Measures:
    """The measures of grey pixels uint8 [H, W], as they are."""
    levels = np.bincount(grey.ravel(), minlength=256)
    wide = grey.astype(np.int16)
    steps = np.concatenate([np.diff(wide, axis=0).ravel(), np.diff(wide, axis=1).ravel()])
    signed = np.bincount(steps + 255, minlength=511)
    slopes = signed[255:] + np.append(0, signed[254::-1])
    reach = _upper(levels, _EDGE) - (255 - _upper(levels[::-1], _EDGE))
    return Measures(
        sharpness=_upper(slopes, _EDGE) / max(reach, 1),
        brightness=_upper(levels, _BRIGHT) / 255,
        contrast=reach / 255,
        information=_entropy(signed),
    )


def _upper(counts: NDArray[np.int64], share: float) -> int:
    """The largest value that at least this share of all, and at least one, reaches; `counts` by value, from 0."""
    reaching = np.cumsum(counts[::-1])[::-1]
    return max(int(np.count_nonzero(reaching >= max(share * reaching[0], 1))) - 1, 0)


def _entropy(counts: NDArray[np.int64]) -> float:
    """Shannon's entropy in bits of values that occur so often."""
    share = counts[counts > 0] / max(counts.sum(), 1)
    return float(abs((share * np.log2(share)).sum()))


def _seconds(taken: object, exif: dict[int, object]) -> float:
    """EXIF's "2024:05:01 12:30:00", and the fraction that stands apart, as seconds; cameras rarely know their zone."""
    try:
        whole = datetime.strptime(str(taken).strip(" \0"), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return float("nan")
    digits = str(exif.get(ExifTags.Base.SubsecTimeOriginal) or "").strip(" \0")
    return whole + (float(f"0.{digits}") if digits.isascii() and digits.isdigit() else 0.0)
