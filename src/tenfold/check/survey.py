"""Survey: one pass over the images of a table; every file is read and decoded once, and never again.

What was found of an image is kept in the cache folder by the hash of its content, beside the decoded images, so that
`tenfold cache` shows and clears both. A block of images is stored as soon as it is measured: what was stopped goes on.

Shapes: N images, M of them readable.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.check.measures import SIDE, measure, read_facts
from tenfold.check.signature import VERSION as SIGNATURE_VERSION
from tenfold.check.signature import Signature, Signatures, sign_image, stack_signatures
from tenfold.check.stored import store_folder, write_arrays
from tenfold.environment import cores
from tenfold.errors import DataError
from tenfold.images.cache import cache_limit
from tenfold.images.content import Content, content_hash, encoded
from tenfold.images.decode import decode_image
from tenfold.split.ties import texts

if TYPE_CHECKING:
    from tenfold.images.table import Table

VERSION = 1
"""Goes up whenever the same image would give other facts."""

FACTS = np.dtype(
    [
        ("height", np.int32),
        ("width", np.int32),
        ("mode", "U8"),
        ("orientation", np.int8),
        ("time", np.float64),
        ("camera", "U64"),
        ("sharpness", np.float32),
        ("brightness", np.float32),
        ("contrast", np.float32),
        ("information", np.float32),
    ]
)
"""What is known of each image: the upright size in pixels, then what `Header` and `Measures` hold."""

BLOCK = 4096
"""Images after which what was found is stored."""

_PREFIX = "signature_"

Region = tuple[float, ...] | None
Progress = Callable[[int, int], None]
"""Called with (images done, of how many)."""


@dataclass(frozen=True)
class Survey:
    """What one pass over the images of a table found."""

    hashes: tuple[str | None, ...]
    """[N], of the content; None where it cannot be read."""
    facts: NDArray[np.void]
    """[N] of FACTS; zeros where an image cannot be read."""
    rows: NDArray[np.int64]
    """[M], the places of the readable images in the table."""
    signatures: Signatures
    """[M], of the readable images."""
    unreadable: dict[int, str]
    """Place -> why the image cannot be read."""

    @property
    def readable(self) -> NDArray[np.bool_]:
        """bool [N]."""
        mask = np.zeros(len(self.facts), bool)
        mask[self.rows] = True
        return mask


def survey_table(
    table: Table,
    *,
    known: Survey | None = None,
    allow_truncated: bool = False,
    threads: int = 0,
    progress: Progress | None = None,
) -> Survey:
    """Read, decode and measure every image of the table, or take what was found of it before.

    That is in `known`, a survey of some of these images, or in the cache. `threads` 0: as many as there are cores.
    """
    reader, folder = _Reader(table, allow_truncated), _folder(allow_truncated)
    with ThreadPoolExecutor(threads or cores(), thread_name_prefix="tenfold-check") as pool:
        hashes: list[str | DataError] = [text for text in reader.hashes if text]
        if len(hashes) < len(table):
            hashes = list(pool.map(reader.hash, range(len(table))))
        first: dict[str | DataError, int] = {}
        for row, text in enumerate(hashes):
            first.setdefault(text, row)
        wanted = {text for text in hashes if isinstance(text, str)}
        pages = [] if known is None else [_page(known)]
        pages += _known(folder, wanted.difference(*(page.hashes.tolist() for page in pages)))
        found_before = {text for page in pages for text in page.hashes.tolist()}
        missing = [(text, row) for text, row in first.items() if isinstance(text, str) and text not in found_before]
        failed: dict[str, DataError] = {}
        for start in range(0, len(missing), BLOCK):
            block = missing[start : start + BLOCK]
            made: dict[str, _Found] = {}
            for done, ((text, _), found) in enumerate(zip(block, pool.map(reader.look, block), strict=True), start + 1):
                if isinstance(found, DataError):
                    failed[text] = found
                else:
                    made[text] = found
                if progress is not None:
                    progress(done, len(missing))
            if made:
                pages.append(_store(folder, made))
    return _assemble([failed.get(text, text) if isinstance(text, str) else text for text in hashes], pages)


def hash_images(table: Table) -> Table:
    """The table with the hash of every image that can be read, so that no file is read again for it; None elsewhere."""
    reader = _Reader(table, allow_truncated=False)
    with ThreadPoolExecutor(cores(), thread_name_prefix="tenfold-check") as pool:
        found = list(pool.map(reader.hash, range(len(table))))
    return table.assign(hash=[text if isinstance(text, str) else None for text in found])


def read_pixels(table: Table, row: int, *, allow_truncated: bool = False) -> NDArray[np.uint8]:
    """One image, upright, cut to its region: uint8 [H, W, 3]. Raises DataError where it cannot be read."""
    name = str(table.samples["source"].iat[row])
    return _pixels(encoded(table, row), regions(table, [row])[0], name, allow_truncated)


def regions(table: Table, rows: Iterable[int]) -> list[Region]:
    """The region of each of these samples; None for all of the image."""
    frame = table.samples[["x1", "y1", "x2", "y2"]].iloc[list(rows)]
    corners = frame.to_numpy(np.float64, na_value=np.nan)
    return [None if np.isnan(sides[0]) else tuple(sides.tolist()) for sides in corners]


class _Found(NamedTuple):
    facts: tuple[Any, ...]
    signature: Signature


@dataclass(frozen=True)
class _Pages:
    """What was found of some images."""

    hashes: NDArray[np.str_]
    facts: NDArray[np.void]
    signatures: dict[str, NDArray[np.generic]]

    def take(self, places: NDArray[np.int64]) -> _Pages:
        """Those at these places."""
        signatures = {name: array[places] for name, array in self.signatures.items()}
        return _Pages(self.hashes[places], self.facts[places], signatures)


class _Reader:
    """Looks at one sample after the other; safe in several threads."""

    def __init__(self, table: Table, allow_truncated: bool) -> None:
        self.table = table
        self.allow_truncated = allow_truncated
        self.hashes = texts(table, "hash")
        self.sources = table.samples["source"].tolist()
        self.regions = regions(table, range(len(table)))

    def hash(self, row: int) -> str | DataError:
        """The content's hash, as the table has it or from the file."""
        try:
            return self.hashes[row] or content_hash(encoded(self.table, row), self.regions[row])
        except DataError as error:
            return error

    def look(self, item: tuple[str, int]) -> _Found | DataError:
        """What is found of the sample that has this hash and stands in this row; the error where it cannot be read."""
        text, row = item
        name = self.sources[row]
        try:
            content = encoded(self.table, row)
            if content_hash(content, self.regions[row]) != text:
                raise DataError(f"{name} has changed since it was first read; check the images as they are now.")
            header = read_facts(content, name)
            image = _pixels(content, self.regions[row], name, self.allow_truncated)
            return _Found((*image.shape[:2], *header, *measure(image)), sign_image(image))
        except DataError as error:
            return error


def _pixels(content: Content, region: Region, name: str, allow_truncated: bool) -> NDArray[np.uint8]:
    image = decode_image(content, channels="rgb", allow_truncated=allow_truncated, name=name)
    if region is None:
        return image
    from tenfold.images.prepared import cut_region  # which imports PyTorch

    return cut_region(image, region, name)


def _assemble(hashes: list[str | DataError], pages: list[_Pages]) -> Survey:
    """Bring what was found into the order of the table."""
    unreadable = {row: str(text) for row, text in enumerate(hashes) if isinstance(text, DataError)}
    place = {text: number for number, text in enumerate(text for page in pages for text in page.hashes.tolist())}
    rows = np.array([row for row in range(len(hashes)) if row not in unreadable], np.int64)
    places = np.array([place[text] for text in hashes if isinstance(text, str)], np.int64)
    facts = np.zeros(len(hashes), FACTS)
    if not pages:
        return Survey(tuple(None for _ in hashes), facts, rows, stack_signatures([]), unreadable)
    shapes = {name: (array.shape[1:], array.dtype) for name, array in pages[0].signatures.items()}
    arrays = {name: np.empty((len(rows), *shape), dtype) for name, (shape, dtype) in shapes.items()}
    start = 0
    for page in pages:  # one by one: what is in memory twice meanwhile is a page, not all
        mine = np.flatnonzero((start <= places) & (places < start + len(page.hashes)))
        facts[rows[mine]] = page.facts[places[mine] - start]
        for name, array in arrays.items():
            array[mine] = page.signatures[name][places[mine] - start]
        start += len(page.hashes)
    found = tuple(text if isinstance(text, str) else None for text in hashes)
    return Survey(found, facts, rows, Signatures.from_arrays(arrays), unreadable)


def _page(known: Survey) -> _Pages:
    """What an earlier survey found."""
    hashes = np.array([known.hashes[row] for row in known.rows], "U32")
    return _Pages(hashes, known.facts[known.rows], known.signatures.to_arrays())


def _folder(allow_truncated: bool) -> Path:
    """One folder for all that would find the same; beside the decoded images, which are cleared with it."""
    return store_folder(f"check {VERSION} {SIGNATURE_VERSION} {SIDE} {allow_truncated}")


def _known(folder: Path, wanted: set[str]) -> list[_Pages]:
    """What the cache knows of the wanted images; a damaged file is deleted, and what it held is found anew."""
    pages: list[_Pages] = []
    lacking = set(wanted)
    for path in sorted(folder.glob("[!.]*.npz")) if cache_limit() > 0 else ():
        try:
            page = _load(path, lacking)
        except OSError:  # it cannot be read now, which says nothing of it
            continue
        except Exception:  # zipfile, zlib and NumPy have a dozen kinds of errors for a damaged file
            with suppress(OSError):
                path.unlink()
            continue
        if page is not None:
            pages.append(page)
            lacking -= set(page.hashes.tolist())
            with suppress(OSError):
                os.utime(path)  # what was not used for longest goes first
    return pages


def _load(path: Path, wanted: set[str]) -> _Pages | None:
    """The wanted images of one file; None where it has none. Their pages are read only if it has some."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        hashes = arrays["hashes"]
        places = np.array([place for place, text in enumerate(hashes.tolist()) if text in wanted], np.int64)
        if not len(places):
            return None
        signatures = {name.removeprefix(_PREFIX): arrays[name] for name in arrays if name.startswith(_PREFIX)}
        Signatures.from_arrays(signatures)
        return _Pages(hashes, arrays["facts"].astype(FACTS), signatures).take(places)


def _store(folder: Path, made: dict[str, _Found]) -> _Pages:
    """Write what was found into a file of its own."""
    hashes = np.array(list(made), "U32")
    facts = np.array([found.facts for found in made.values()], FACTS)
    signatures = stack_signatures([found.signature for found in made.values()]).to_arrays()
    name = hashlib.blake2b("".join(made).encode(), digest_size=8).hexdigest()
    arrays: dict[str, Any] = {"hashes": hashes, "facts": facts}
    arrays |= {f"{_PREFIX}{key}": array for key, array in signatures.items()}
    write_arrays(folder / f"{name}.npz", arrays)
    return _Pages(hashes, facts, signatures)
