"""Images small enough to lie inside the page, as data addresses.

Shapes: H x W pixels.
"""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from PIL import Image

from tenfold.errors import TenfoldError
from tenfold.images.content import encoded
from tenfold.images.decode import decode_image
from tenfold.images.prepared import cut_region

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tenfold.images.table import Table

SIDE = 128
"""Longest side in pixels: sharp at 96 on most screens."""
TINY = 48
"""Images up to this side are kept pixel by pixel as PNG and shown enlarged without smoothing."""


class Thumbnail(NamedTuple):
    """One image of the page; `address` is empty where it cannot be shown."""

    name: str
    address: str = ""
    tiny: bool = False
    why: str = "cannot be read"
    """What is said of it where there is no address."""


class Thumbnails:
    """The thumbnails of a table's samples, each made once."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._made: dict[int, Thumbnail] = {}

    def __getitem__(self, row: int) -> Thumbnail:
        if row not in self._made:
            self._made[row] = self._make(row)
        return self._made[row]

    def _make(self, row: int) -> Thumbnail:
        sample = self._table.samples.iloc[row]
        known = sample.notna()
        name = PurePath(sample["source"]).name
        if known["row"]:
            name = f"{name}, image {int(sample['row'])}"
        try:
            image = decode_image(encoded(self._table, row), channels="rgb", allow_truncated=True, name=name)
            if known["x1"]:
                image = cut_region(image, tuple(float(sample[side]) for side in ("x1", "y1", "x2", "y2")), name)
        except (TenfoldError, OSError):
            return Thumbnail(name)
        return Thumbnail(name, data_address(image), max(image.shape[:2]) <= TINY)


def data_address(image: NDArray[np.uint8]) -> str:
    """uint8 [H, W, 3] -> "data:image/...": PNG where it is tiny, else JPEG of at most SIDE pixels."""
    picture = Image.fromarray(image)
    file = BytesIO()
    if max(picture.size) <= TINY:
        picture.save(file, "PNG", optimize=True)
        return png_address(file.getvalue())
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def png_address(content: bytes) -> str:
    """The bytes of a PNG file as an address."""
    return "data:image/png;base64," + base64.b64encode(content).decode()
