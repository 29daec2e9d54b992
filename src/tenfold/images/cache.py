"""The decoded cache: each image is decoded and resized once, for all runs that prepare it alike.

A folder a preparation (`Preprocessing.geometry`), in it one shard for each set of images that was missing when a run
asked: `NAME.npy`, the pixels of all images one after another (uint8, so images may differ in size), and `NAME.npz`,
where each begins, its size, affine map, content hash and checksum. Both are written aside and renamed, the index
last, so two processes may build the same shard at once: each sees a complete one. Shards that were not used for
longest go first when the cache grows over its limit (TENFOLD_CACHE_GIB, by default 20).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.files import write_file

Pixels = NDArray[np.uint8]
Prepared = tuple[Pixels, NDArray[np.float32]]
"""An image ready for the loader: uint8 [H, W, C] and its affine map, float32 [2, 3]."""


def cache_folder() -> Path:
    """Where the cache lies: TENFOLD_CACHE, else the user's cache folder."""
    given = os.environ.get("TENFOLD_CACHE")
    if given:
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_cache_dir("tenfold", appauthor=False))


def cache_limit() -> int:
    """Most bytes that decoded images may take: TENFOLD_CACHE_GIB gibibytes, by default 20; 0 switches it off."""
    text = os.environ.get("TENFOLD_CACHE_GIB", "20")
    try:
        return int(float(text) * 2**30)
    except ValueError:
        raise UsageError(f"TENFOLD_CACHE_GIB must be a number of gibibytes, not {text!r}.") from None


@dataclass(frozen=True)
class Entry:
    """One shard, as `tenfold cache` shows it."""

    path: Path
    bytes: int
    images: int
    used: float
    """When it was last used, in seconds since 1970."""


class Shard:
    """The prepared images of one shard, memory-mapped; read-only and safe to share between threads."""

    def __init__(self, index: Path) -> None:
        """Open and check a shard. Raises OSError or ValueError where it is damaged."""
        with index.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            self.hashes: list[str] = arrays["hashes"].tolist()
            self.offsets: NDArray[np.int64] = arrays["offsets"]
            self.shapes: NDArray[np.int32] = arrays["shapes"]
            self.affines: NDArray[np.float32] = arrays["affines"]
            checksum = int(arrays["checksum"])
        self.pixels: Pixels = np.load(index.with_suffix(".npy"), mmap_mode="r", allow_pickle=False)
        if zlib.crc32(self.pixels) != checksum:
            raise ValueError(f"{index} does not match its checksum")
        os.utime(index)

    def image(self, place: int) -> Prepared:
        """The image at this place of the shard, a view of the file."""
        start = self.offsets[place]
        shape = tuple(self.shapes[place])
        return self.pixels[start : start + int(np.prod(shape))].reshape(shape), self.affines[place]


class Canvases:
    """Prepared images by row, from the cache or, where they do not fit into it, prepared again at each reading."""

    def __init__(self, places: Sequence[tuple[Shard, int] | None], prepare: Callable[[int], Prepared]) -> None:
        self.places = places
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.places)

    @property
    def is_cached(self) -> bool:
        """Whether no image is ever prepared again."""
        return all(place is not None for place in self.places)

    def image(self, row: int) -> Prepared:
        """Pixels uint8 [H, W, C] and affine map float32 [2, 3] of one image."""
        place = self.places[row]
        return self.prepare(row) if place is None else place[0].image(place[1])

    def subset(self, rows: NDArray[np.int64]) -> Canvases:
        """The images at these rows, in their order."""
        return Canvases([self.places[int(row)] for row in rows], lambda place: self.prepare(int(rows[place])))

    def take(self, rows: NDArray[np.int64]) -> tuple[Pixels, NDArray[np.float32]]:
        """Images of one size: uint8 [N, H, W, C] and float32 [N, 2, 3]."""
        images = [self.image(int(row)) for row in rows]
        return np.stack([pixels for pixels, _ in images]), np.stack([affine for _, affine in images])


def open_cache(
    name: str,
    hashes: Sequence[str],
    prepare: Callable[[int], Prepared],
    prepare_many: Callable[[Sequence[int]], Iterator[Prepared | None]],
) -> Canvases:
    """The images of these content hashes, prepared as `name` says; what the cache lacks is prepared and added.

    `prepare_many` yields the images at the given positions of `hashes`, in their order, None for one that cannot be
    read: that one stays out of the cache. `name` must name every setting that the pixels depend on.
    """
    folder = cache_folder() / "images" / hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    known = _known_images(folder)
    first: dict[str, int] = {}
    for row, text in enumerate(hashes):
        first.setdefault(text, row)
    missing = [row for text, row in first.items() if text not in known]
    if missing and cache_limit() > 0:
        shard = _add_shard(folder, [hashes[row] for row in missing], prepare_many(missing))
        if shard is not None:
            known.update({text: (shard, place) for place, text in enumerate(shard.hashes)})
    return Canvases([known.get(text) for text in hashes], prepare)


def cache_entries() -> list[Entry]:
    """Every shard, the one used last first; a damaged one counts no images."""
    entries = []
    for index in (cache_folder() / "images").glob("*/[!.]*.npz"):
        try:
            with index.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                count = len(arrays["offsets"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            count = 0
        size = sum(path.stat().st_size for path in (index, index.with_suffix(".npy")) if path.exists())
        entries.append(Entry(index, size, count, index.stat().st_mtime))
    return sorted(entries, key=lambda entry: -entry.used)


def clear_cache() -> int:
    """Delete every decoded image; gives the bytes that were freed."""
    freed = sum(entry.bytes for entry in cache_entries())
    shutil.rmtree(cache_folder() / "images", ignore_errors=True)
    return freed


def _known_images(folder: Path) -> dict[str, tuple[Shard, int]]:
    """Where each image lies; a damaged shard is deleted and its images count as missing."""
    known: dict[str, tuple[Shard, int]] = {}
    for index in sorted(folder.glob("[!.]*.npz")):  # those with a dot are being written
        try:
            shard = Shard(index)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            _delete_shard(index)
            continue
        known.update({text: (shard, place) for place, text in enumerate(shard.hashes)})
    return known


def _add_shard(folder: Path, hashes: list[str], images: Iterator[Prepared | None]) -> Shard | None:
    """Write the images as a shard; None where they would take more than the whole cache may."""
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.blake2b("".join(hashes).encode(), digest_size=8).hexdigest()
    shapes: list[tuple[int, ...]] = []
    affines: list[NDArray[np.float32]] = []
    kept: list[str] = []
    checksum = size = 0
    aside = folder / f".{name}.{os.getpid()}.{threading.get_ident()}.raw"
    try:
        with aside.open("wb") as file:
            for text, prepared in zip(hashes, images, strict=True):
                if prepared is None:
                    continue
                data = np.ascontiguousarray(prepared[0])
                size += data.nbytes
                if size > cache_limit():
                    return None
                checksum = zlib.crc32(data.data, checksum)
                file.write(data.data)
                kept.append(text)
                shapes.append(data.shape)
                affines.append(prepared[1])
        if not kept:
            return None
        _make_room(size)
        write_file(folder / f"{name}.npy", lambda path: _wrap_raw(aside, path, size))
    finally:
        aside.unlink(missing_ok=True)
    lengths = [int(np.prod(shape)) for shape in shapes]
    arrays = {
        "hashes": np.array(kept),
        "offsets": np.cumsum([0, *lengths[:-1]], dtype=np.int64),
        "shapes": np.array(shapes, np.int32),
        "affines": np.array(affines, np.float32),
        "checksum": np.array(checksum, np.uint32),
    }
    write_file(folder / f"{name}.npz", lambda path: _save_arrays(path, arrays))
    return Shard(folder / f"{name}.npz")


def _wrap_raw(raw: Path, path: Path, size: int) -> None:
    """Copy raw bytes into a .npy file, which says its length and type."""
    with raw.open("rb") as source, path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
        np.lib.format.write_array_header_1_0(file, header)
        shutil.copyfileobj(source, file, 1 << 22)


def _save_arrays(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _make_room(size: int) -> None:
    """Delete the shards that were not used for longest until `size` more bytes fit."""
    entries = cache_entries()
    total = sum(entry.bytes for entry in entries) + size
    while entries and total > cache_limit():
        total -= entries[-1].bytes
        _delete_shard(entries.pop().path)


def _delete_shard(index: Path) -> None:
    index.unlink(missing_ok=True)
    index.with_suffix(".npy").unlink(missing_ok=True)
