"""The decoded cache: each image is decoded and resized once, for all runs that prepare it alike.

A folder a preparation (`Preprocessing.geometry`), whose name begins with the kind of what it holds, and in it one shard
for each set of images that was missing when a run asked: `NAME.npy`, the pixels of all images one after another (uint8,
so images may differ in size), and the index `NAME.npz`, where each begins, its size, affine map, content hash and
checksum. Both are written aside and renamed, the index last, so two processes may build the same shard at once: each
sees a complete one. A run checks the shards that hold its images, and marks them as used; shards that were not used for
longest go first when the cache grows over its limit (TENFOLD_CACHE_GIB, by default 20). What a killed process left
behind goes after a day.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.files import write_file

Pixels = NDArray[np.uint8]
Prepared = tuple[Pixels, NDArray[np.float32]]
"""An image ready for the loader: uint8 [H, W, C] and its affine map, float32 [2, 3]."""

_DAMAGE = (
    *(ValueError, KeyError, EOFError, RuntimeError, SyntaxError),
    *(struct.error, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)
"""What reading a damaged file raises. An OSError says that it cannot be read now, by this user, and nothing of it."""
_DAY = 24 * 60 * 60.0

WEIGHTS = "weights"
"""The folder beside the decoded images that holds fetched weights, which are neither counted nor cleared."""


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
    except (ValueError, OverflowError):
        raise UsageError(f"TENFOLD_CACHE_GIB must be a number of gibibytes, not {text!r}.") from None


@dataclass(frozen=True)
class Entry:
    """One shard, or what lies in the cache besides, as `tenfold cache` shows it."""

    path: Path
    bytes: int
    images: int
    used: float
    """When it was last used, in seconds since 1970."""

    @property
    def kind(self) -> str:
        """ "pixels", "features", "regions", "proposals" or "check"; empty where an earlier version made it."""
        return self.path.parent.name.rpartition("-")[0]


class Shard:
    """The prepared images of one shard, memory-mapped; read-only and safe to share between threads."""

    def __init__(self, path: Path) -> None:
        """Read the index, which says what the shard holds. Raises OSError, or one of _DAMAGE where it is damaged."""
        self.path = path
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            self.hashes: list[str] = arrays["hashes"].tolist()
            self.offsets: NDArray[np.int64] = arrays["offsets"]
            self.shapes: NDArray[np.int32] = arrays["shapes"]
            self.affines: NDArray[np.float32] = arrays["affines"]
            self.checksum = int(arrays["checksum"])
        self.pixels: Pixels = np.zeros(0, np.uint8)

    def map_pixels(self) -> None:
        """Map the pixels into memory, check them, and note that they were used. Raises as `__init__` does."""
        file = self.path.with_suffix(".npy")
        if not file.exists():
            raise ValueError(f"{file} is gone")
        size = int(self.offsets[-1] + np.prod(self.shapes[-1]))
        self.pixels = np.memmap(file, np.uint8, "r")[-size:]  # the header before them is for other programs
        if zlib.crc32(self.pixels.data) != self.checksum:
            raise ValueError(f"{file} does not match its checksum")
        with suppress(OSError):  # a cache that others own can be read all the same
            os.utime(self.path)

    def image(self, place: int) -> Prepared:
        """The image at this place of the shard, a view of the file."""
        start = self.offsets[place]
        shape = tuple(self.shapes[place])
        return self.pixels[start : start + int(np.prod(shape))].reshape(shape), self.affines[place]


class Canvases:
    """Prepared images by row, from the cache or, where they do not fit into it, prepared again at each reading."""

    def __init__(
        self,
        places: Sequence[tuple[Shard, int] | None],
        prepare: Callable[[int], Prepared],
        damaged: Sequence[Path] = (),
    ) -> None:
        self.places = places
        self.prepare = prepare
        self.damaged = damaged
        """Files of the cache that were damaged; their images were prepared anew."""

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
        return Canvases(
            [self.places[int(row)] for row in rows], lambda place: self.prepare(int(rows[place])), self.damaged
        )

    def take(self, rows: NDArray[np.int64]) -> tuple[Pixels, NDArray[np.float32]]:
        """Images of one size: uint8 [N, H, W, C] and float32 [N, 2, 3]."""
        images = [self.image(int(row)) for row in rows]
        return np.stack([pixels for pixels, _ in images]), np.stack([affine for _, affine in images])


def open_cache(
    name: str,
    hashes: Sequence[str],
    prepare: Callable[[int], Prepared],
    prepare_many: Callable[[Sequence[int]], Iterator[Prepared | None]],
    kind: str = "pixels",
) -> Canvases:
    """The images of these content hashes, prepared as `name` says; what the cache lacks is prepared and added.

    `prepare_many` yields the images at the given positions of `hashes`, in their order, None for one that cannot be
    read: that one stays out of the cache. `name` must name every setting that the pixels depend on, and `kind`, as
    `Entry.kind` has it, is what they are in truth.
    """
    folder = _folder(name, kind)
    damaged: list[Path] = []
    known = _known_images(folder, set(hashes), damaged)
    first: dict[str, int] = {}
    for row, text in enumerate(hashes):
        first.setdefault(text, row)
    missing = [row for text, row in first.items() if text not in known]
    if missing and cache_limit() > 0:
        lacking = [hashes[row] for row in missing]
        try:
            _add_shard(folder, lacking, prepare_many(missing))
        except FileNotFoundError:  # another process cleared the cache, or the clock jumped by a day: see _make_room
            _add_shard(folder, lacking, prepare_many(missing))
        known |= _known_images(folder, set(lacking), damaged)
    return Canvases([known.get(text) for text in hashes], prepare, damaged)


def cache_entries() -> list[Entry]:
    """All that lies in the cache, what was used last first.

    What is damaged, is being written, or was left behind by a killed process, counts no images.
    """
    entries = []
    for path in (cache_folder() / "images").glob("*/*"):
        if path.suffix == ".npy" and path.with_suffix(".npz").exists():
            continue  # counted with its index
        files = (path, path.with_suffix(".npy")) if _is_index(path) else (path,)
        with suppress(FileNotFoundError):  # another process may delete as well
            size = sum(file.stat().st_size for file in files if file.exists())
            entries.append(Entry(path, size, _count_images(path), path.stat().st_mtime))
    return sorted(entries, key=lambda entry: -entry.used)


def clear_cache() -> int:
    """Delete all that `cache_entries` tells of, as far as this user may; gives the bytes that were freed."""
    before = sum(entry.bytes for entry in cache_entries())
    shutil.rmtree(cache_folder() / "images", ignore_errors=True)
    return before - sum(entry.bytes for entry in cache_entries())


def _folder(name: str, kind: str) -> Path:
    """Where what is prepared as `name` says lies; what an earlier version made is used on where it is."""
    root, digest = cache_folder() / "images", hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    earlier = root / digest
    return earlier if earlier.is_dir() else root / f"{kind}-{digest}"


def _known_images(folder: Path, wanted: set[str], damaged: list[Path]) -> dict[str, tuple[Shard, int]]:
    """Where the wanted images lie; a damaged shard is noted, deleted, and its images count as missing."""
    known: dict[str, tuple[Shard, int]] = {}
    found_damaged = []
    for path in filter(_is_index, sorted(folder.glob("*.npz"))):
        lacking = wanted - known.keys()
        try:
            shard = Shard(path)
            found = {text: (shard, place) for place, text in enumerate(shard.hashes) if text in lacking}
            if found:  # to check every shard would take as long as the whole cache is large
                shard.map_pixels()
        except _DAMAGE:
            found_damaged.append(path)
        except OSError:
            continue
        else:
            known |= found
    for path in found_damaged:  # now that nothing holds them open
        _delete(path)
    damaged += found_damaged
    return known


class _NoShard(Exception):
    """There is nothing to store, or more than the whole cache may hold."""


def _add_shard(folder: Path, hashes: list[str], images: Iterator[Prepared | None]) -> None:
    """Write the images as a shard, unless they would take more than the whole cache may."""
    name = hashlib.blake2b("".join(hashes).encode(), digest_size=8).hexdigest()
    index: dict[str, NDArray[np.generic]] = {}
    try:
        write_file(folder / f"{name}.npy", lambda path: index.update(_write_pixels(path, hashes, images)))
    except _NoShard:
        return
    try:
        write_file(folder / f"{name}.npz", lambda path: _save_arrays(path, index))
    except OSError:
        if not (folder / f"{name}.npz").exists():  # pixels without an index only fill the disk
            (folder / f"{name}.npy").unlink(missing_ok=True)
        raise


def _write_pixels(path: Path, hashes: list[str], images: Iterator[Prepared | None]) -> dict[str, NDArray[np.generic]]:
    """Write the pixels of the images that could be read; gives the arrays of their index."""
    kept: list[str] = []
    shapes: list[tuple[int, ...]] = []
    affines: list[NDArray[np.float32]] = []
    offsets = [0]
    checksum = 0
    with path.open("wb") as file:
        _write_header(file, 0)
        for text, prepared in zip(hashes, images, strict=True):
            if prepared is None:
                continue
            data = np.ascontiguousarray(prepared[0])
            offsets.append(offsets[-1] + data.nbytes)
            if offsets[-1] > cache_limit():
                raise _NoShard
            checksum = zlib.crc32(data.data, checksum)
            file.write(data.data)
            kept.append(text)
            shapes.append(data.shape)
            affines.append(prepared[1])
        if not kept:
            raise _NoShard
        file.seek(0)
        _write_header(file, offsets[-1])
    _make_room(path.stat().st_mtime)
    return {
        "hashes": np.array(kept),
        "offsets": np.array(offsets[:-1], np.int64),
        "shapes": np.array(shapes, np.int32),
        "affines": np.array(affines, np.float32),
        "checksum": np.array(checksum, np.uint32),
    }


def _write_header(file: BinaryIO, size: int) -> None:
    """The header of a .npy file of `size` bytes; NumPy leaves room in it for any size, so it can be written again."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_1_0(file, header)


def _save_arrays(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def _make_room(now: float) -> None:
    """Delete what killed processes left behind, and the shards that were not used for longest until the rest fits.

    `now` is by the clock of the disk, which on a network is not this machine's.
    """
    entries = cache_entries()
    total = sum(entry.bytes for entry in entries)
    for entry in reversed(entries):
        unwanted = total > cache_limit() if _is_index(entry.path) else entry.used < now - _DAY
        if unwanted and _delete(entry.path):
            total -= entry.bytes


def _delete(path: Path) -> bool:
    """Delete a shard by its index, or a single file; False where it stays, as on Windows what another process uses."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.with_suffix(".npy").unlink(missing_ok=True)
    return not path.exists()


def _is_index(path: Path) -> bool:
    return path.suffix == ".npz" and not path.name.startswith(".")  # those with a dot are being written


def _count_images(index: Path) -> int:
    if not _is_index(index):
        return 0
    try:
        with index.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return len(arrays["hashes"])
    except (OSError, *_DAMAGE):
        return 0
