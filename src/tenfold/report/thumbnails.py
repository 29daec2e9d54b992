"""Images small enough to lie inside the page, as data addresses.

Shapes: H x W pixels.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from tenfold.errors import TenfoldError
from tenfold.images.content import encoded
from tenfold.images.decode import decode_image, open_image
from tenfold.images.pixels import turn_upright
from tenfold.images.prepared import cut_region
from tenfold.report.boxed import Drawing, draw_over

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tenfold.check.findings import Marked
    from tenfold.images.table import Table

SIDE = 128
"""Longest side in pixels: sharp at 96 on most screens."""
BOXED_SIDE = 400
"""The same of an image with boxes in question."""
TINY = 48
"""Images up to this side are kept pixel by pixel as PNG and shown enlarged without smoothing."""


_BACK = {6: 8, 8: 6}  # the two quarter turns undo each other, every other orientation itself


class Thumbnail(NamedTuple):
    """One image of the page; `address` is empty where it cannot be shown."""

    name: str
    address: str = ""
    tiny: bool = False
    why: str = "cannot be read"
    """What is said of it where there is no address."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the image itself."""
    drawing: Drawing | None = None
    """What is drawn over it."""


class Thumbnails:
    """The thumbnails of a table's samples, each made once."""

    def __init__(self, table: Table, side: int = SIDE, *, upright: bool = True) -> None:
        """`side` is the longest one of a picture in pixels; not `upright`: as the file has it, before EXIF turns it."""
        self._table, self._side, self._upright = table, side, upright
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
            content = encoded(self._table, row)
            image = decode_image(content, channels="rgb", allow_truncated=True, name=name)
            if not self._upright and isinstance(content, bytes):
                orientation = open_image(content, name)[1]
                image = turn_upright(image, _BACK.get(orientation, orientation))
            if known["x1"]:
                image = cut_region(image, tuple(float(sample[side]) for side in ("x1", "y1", "x2", "y2")), name)
        except (TenfoldError, OSError):
            return Thumbnail(name)
        height, width = image.shape[:2]
        address = data_address(image, self._side)
        return Thumbnail(name, address, max(height, width) <= TINY, size=(width, height))


class Boxed:
    """The images of a table with boxes: called with a row and its boxes in question, gives the picture.

    It is a large one where there are such boxes, and SIDE as of any other image where there are none.
    Not `upright`: as the file has it, before EXIF turns it; with the boxes at the same places.
    """

    def __init__(self, table: Table) -> None:
        assert table.boxes is not None
        self._pictures = {
            (side, upright): Thumbnails(table, side, upright=upright)
            for side in (SIDE, BOXED_SIDE)
            for upright in (True, False)
        }
        self._owners = table.boxes["sample"].to_numpy(np.int64)
        self._corners = table.boxes[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)

    def __call__(self, row: int, marked: Sequence[Marked], *, upright: bool) -> Thumbnail:
        picture = self._pictures[BOXED_SIDE if marked else SIDE, upright][row]
        own = self._corners[self._owners == row]
        return picture._replace(drawing=draw_over(picture.size, own, marked)) if picture.address else picture


def data_address(image: NDArray[np.uint8], side: int = SIDE) -> str:
    """uint8 [H, W, 3] -> "data:image/...": PNG where it is tiny, else JPEG of at most `side` pixels."""
    picture = Image.fromarray(image)
    file = BytesIO()
    if max(picture.size) <= TINY:
        picture.save(file, "PNG", optimize=True)
        return png_address(file.getvalue())
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    picture.save(file, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def png_address(content: bytes) -> str:
    """The bytes of a PNG file as an address."""
    return "data:image/png;base64," + base64.b64encode(content).decode()
