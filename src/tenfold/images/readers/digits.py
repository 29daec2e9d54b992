"""Scikit-learn's handwritten digits, written out as image files, so that the folder reader reads them as any other.

1,797 grey images of 8 x 8 pixels: the test part of UCI's "Optical Recognition of Handwritten Digits" (Alpaydin and
Kaynak 1998, https://archive.ics.uci.edu/dataset/80), which 13 people wrote, one after another. Who wrote which is not
recorded. So the order is cut into 13 contiguous blocks, as equal as possible, and a block is a group: an image's
neighbors, mostly of the same hand, stay in one part. The true borders lie elsewhere, so at the border of two blocks
one writer's images may still fall into two parts.
"""

from __future__ import annotations

import gzip
import struct
import tempfile
import zlib
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError
from tenfold.images.cache import cache_folder
from tenfold.images.readers.folder import absolute
from tenfold.images.readers.folder import read as read_folder
from tenfold.images.readers.groups import group_by_name

if TYPE_CHECKING:
    from tenfold.images.table import Table

COUNT = 1797
BLOCKS = 13

GROUP_PATTERN = r"(block-\d+)"
"""What of a file's name is its group; the name is <class>/<place in the original order>_<block>.png."""


def recognizes(path: Path) -> bool:
    """True for "digits", unless something here has that name."""
    return path == Path("digits") and not path.exists()


def read(path: Path) -> Table:
    """The digits, whatever `path` is. Raises DataError where they cannot be written to the cache folder."""
    root = write_digits(absolute(cache_folder() / "digits"))
    table = read_folder(root)
    if len(table) != COUNT:
        raise DataError(f"{root} holds {len(table)} of the {COUNT} digits; delete that folder, and it is written anew.")
    note = f"The {BLOCKS} writers are not recorded; groups are {BLOCKS} contiguous blocks of the original order."
    return replace(group_by_name(table, root, GROUP_PATTERN), notes=(*table.notes, note))


def write_digits(root: Path) -> Path:
    """The folder of the digits, written first where it does not exist.

    Written aside, then renamed: of two processes that do it at once, one wins and both find a complete folder.
    """
    if root.is_dir():
        return root
    try:
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent, prefix=".digits.", ignore_cleanup_errors=True) as aside:
            _write_files(Path(aside) / "digits")
            try:
                (Path(aside) / "digits").rename(root)
            except OSError:
                if not root.is_dir():  # else another process was faster
                    raise
    except OSError as error:
        raise DataError(
            f"The built-in digits cannot be written to {root} ({error.strerror or error}); point TENFOLD_CACHE to a "
            "folder that can."
        ) from error
    return root


def _write_files(root: Path) -> None:
    pixels, labels = load_digits()
    for label in range(10):
        (root / str(label)).mkdir(parents=True)
    blocks = np.array_split(np.arange(COUNT), BLOCKS)
    for block, places in enumerate(blocks, 1):
        for place in places:
            path = root / str(labels[place]) / f"{place:04}_block-{block:02}.png"
            path.write_bytes(grey_png(pixels[place]))


def load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pixels uint8 [1797, 8, 8] and labels int64 [1797], in the original order.

    A pixel counts the ink in 4 x 4 dots, 0 to 16; 0 to 255 is that times 255 / 16, rounded half up, so ink is bright.
    The file is read from scikit-learn's folder without importing it, which takes three seconds.
    """
    spec = find_spec("sklearn")
    places = spec.submodule_search_locations if spec else None
    path = Path(places[0] if places else "sklearn") / "datasets" / "data" / "digits.csv.gz"
    try:
        with gzip.open(path, "rt") as file:
            values = np.loadtxt(file, delimiter=",", dtype=np.float64).astype(np.int64)
    except (OSError, ValueError) as error:
        raise DataError(f"The built-in digits cannot be read from scikit-learn: {path}: {error}.") from error
    return ((values[:, :64] * 255 + 8) // 16).astype(np.uint8).reshape(-1, 8, 8), values[:, 64]


def grey_png(pixels: NDArray[np.uint8]) -> bytes:
    """A grey uint8 image [H, W] as a PNG that is not compressed (https://www.w3.org/TR/png-3/).

    Every build of zlib compresses in its own way. Stored as they are, the files are the same everywhere, hence their
    hashes, and hence the splits and draws that follow from those.
    """
    height, width = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # 0: the row is not filtered
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
