"""Content: the stored bytes of a sample, and their hash.

A sample's content is a file as it lies on the disk, the bytes in one row of a Parquet file, or an array in memory.
Nothing is decoded here, and neither pandas nor pyarrow is imported before it is needed.

Shapes: N samples, H x W pixels, C channels.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.environment import cores
from tenfold.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from tenfold.images.table import Table

Content = bytes | NDArray[np.uint8]
"""A file's bytes, or an array [H, W] or [H, W, C]."""

Arrays = dict[str, Sequence[NDArray[np.uint8]] | NDArray[np.uint8]]
"""As Table.arrays."""

Place = tuple[str, int | None, tuple[float, ...] | None]
"""Where a sample's content lies: source, row (None: the file is the image) and region (None: all of it)."""


class Digest(NamedTuple):
    """What a sample's content is known by."""

    hash: str
    origin: str | None
    """Of a region, the hash of the whole content that it is cut from."""


LARGEST_FILE = 2**30
"""Bytes; a larger file is refused, so that no image can exhaust the memory."""

KEPT_BYTES = 2**28
"""Bytes of Parquet row groups that stay in memory, of all files together."""

_CHUNK = 256  # samples that a thread hashes at a time: neighbors mostly lie in one row group


def encoded(table: Table, row: int) -> Content:
    """The stored bytes of a sample, or its array uint8 [H, W] or [H, W, C]; its region is not cut out.

    Raises DataError, which names the file, where it cannot be read. Safe to call from several threads.
    """
    import pandas as pd

    source: Any = table.samples["source"].iat[row]
    place: Any = table.samples["row"].iat[row]
    return _read_content(source, None if place is pd.NA else int(place), table.arrays)


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """A whole file. Raises DataError where it is missing, cannot be read, is no plain file or is over 1 GiB."""
    try:
        info = Path(path).stat()
        if not stat.S_ISREG(info.st_mode):  # opening a named pipe would wait forever
            raise DataError(f"{os.fspath(path)} is not a file, so it cannot be read as an image.")
        if info.st_size > LARGEST_FILE:
            size = info.st_size / 2**30
            raise DataError(f"{os.fspath(path)} has {size:.1f} GiB; an image file of more than 1 GiB is not read.")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{os.fspath(path)} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def hashed(table: Table, threads: int = 0, *, unreadable: Literal["skip", "refuse"] = "skip") -> Table:
    """The table with every missing `hash` filled in: 32 hexadecimal digits of BLAKE2b over the content.

    The hash covers the file's bytes (or an array's shape, type and values) and, where there is one, the region. Equal
    files have equal hashes, whatever their names and wherever they lie. A region that is hashed here and has no
    `origin` gets that of the whole content: cut otherwise, or to all of the image, it is still known to be of it.
    `threads` 0: as many as there are cores.

    A sample whose content cannot be read is left out, and `notes` name it and say why. Raises DataError, which names
    the file, where that is so of every sample, or of one and `unreadable` is "refuse".
    """
    missing = np.flatnonzero(table.samples["hash"].isna().to_numpy(bool))
    if not len(missing):
        return table
    places = _places(table, missing)
    chunks = [places[start : start + _CHUNK] for start in range(0, len(places), _CHUNK)]

    def digest(chunk: list[Place]) -> list[Digest | DataError]:
        return [_digest_at(place, table.arrays) for place in chunk]

    with ThreadPoolExecutor(threads or cores(), thread_name_prefix="tenfold-hash") as pool:
        digests = [found for part in pool.map(digest, chunks) for found in part]
    errors = {
        row: str(found) for row, found in zip(missing.tolist(), digests, strict=True) if isinstance(found, DataError)
    }
    if errors and (unreadable == "refuse" or len(errors) == len(table)):
        first = next(iter(errors.values()))
        raise DataError(f"{len(errors)} of {len(table)} images cannot be read; the first: {first}")
    values, origins = (table.samples[name].to_numpy(object, copy=True) for name in ("hash", "origin"))
    for row, found in zip(missing.tolist(), digests, strict=True):
        if not isinstance(found, DataError):
            values[row] = found.hash
            origins[row] = origins[row] if isinstance(origins[row], str) else found.origin
    return _left_out(table.assign(hash=values, origin=origins), errors)


def _left_out(table: Table, errors: dict[int, str]) -> Table:
    """The table without these samples, and a note for each reason: all rows of a lost Parquet file have the same."""
    if not errors:
        return table
    counts = Counter(errors.values())
    notes = [f"Left out{f' ({count} images)' if count > 1 else ''}: {reason}" for reason, count in counts.items()]
    kept = table.take(np.setdiff1d(np.arange(len(table)), list(errors)))
    return replace(kept, notes=(*table.notes, *notes))


def _places(table: Table, rows: NDArray[np.int64]) -> list[Place]:
    """Where the samples' content lies, as plain Python values: a data frame is slow to ask one by one."""
    samples = table.samples.iloc[rows]
    numbers = samples["row"].astype(object).where(samples["row"].notna(), None)
    corners = samples[["x1", "y1", "x2", "y2"]]
    regions: list[Any] = [None] * len(samples)
    for index in np.flatnonzero(corners["x1"].notna().to_numpy(bool)):
        regions[index] = tuple(float(value) for value in corners.iloc[index])
    return list(zip(samples["source"].tolist(), numbers.tolist(), regions, strict=True))


def content_hash(content: Content, region: tuple[float, ...] | None = None) -> str:
    """The hash of a sample's content: 32 hexadecimal digits of BLAKE2b; see `hashed`."""
    return _digest(content, region).hash


def _digest(content: Content, region: tuple[float, ...] | None) -> Digest:
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(content, bytes):
        digest.update(content)
    else:
        digest.update(f"{content.dtype} {content.shape} ".encode())
        digest.update(np.ascontiguousarray(content).reshape(-1).data)
    if region is None:
        return Digest(digest.hexdigest(), None)
    whole = digest.hexdigest()
    digest.update(b" region " + struct.pack("<4d", *region))
    return Digest(digest.hexdigest(), whole)


def _digest_at(place: Place, arrays: Arrays) -> Digest | DataError:
    """The hash of what lies there, or why there is none: one lost file must not end the reading of all others."""
    source, row, region = place
    try:
        return _digest(_read_content(source, row, arrays), region)
    except DataError as error:
        return error


def _read_content(source: str, row: int | None, arrays: Arrays) -> Content:
    if row is None:
        return read_bytes(source)
    if source in arrays:
        return arrays[source][row]
    if not Path(source).is_absolute():
        raise DataError(f"{source}, row {row} was an array in memory, which is not stored; read the arrays again.")
    return _parquet_bytes(source, row)


def image_column(schema: pa.Schema) -> str | None:
    """The first column that is a struct with a binary field `bytes`, as Hugging Face stores images; None: none is."""
    import pyarrow as pa

    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            kind = field.type.field("bytes").type
            if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
                return str(field.name)
    return None


class _Shard:
    """One open Parquet file and where its row groups begin. pyarrow's reader is not safe to share, hence the lock."""

    def __init__(self, path: str) -> None:
        import pyarrow.parquet as pq

        self.file = pq.ParquetFile(path)
        self.column = image_column(self.file.schema_arrow)
        if self.column is None:
            raise DataError(f"{path} has no column of images (a struct with `bytes`).")
        meta = self.file.metadata
        self.starts = list(accumulate((meta.row_group(i).num_rows for i in range(meta.num_row_groups)), initial=0))
        self.lock = Lock()

    def read(self, group: int) -> pa.ChunkedArray:
        rows = self.file.read_row_group(group, columns=[f"{self.column}.bytes"], use_threads=False)
        return rows.flatten().column(0)


class _RecentGroups:
    """The row groups that were read last, as long as they fit into a number of bytes; the newest always stays."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.groups: OrderedDict[tuple[str, int, int], pa.ChunkedArray] = OrderedDict()
        self.lock = Lock()

    def get(self, key: tuple[str, int, int]) -> pa.ChunkedArray | None:
        with self.lock:
            if key in self.groups:
                self.groups.move_to_end(key)
            return self.groups.get(key)

    def put(self, key: tuple[str, int, int], group: pa.ChunkedArray) -> None:
        with self.lock:
            self.groups[key] = group
            total = sum(kept.nbytes for kept in self.groups.values())
            while total > self.limit and len(self.groups) > 1:
                total -= self.groups.popitem(last=False)[1].nbytes


_recent = _RecentGroups(KEPT_BYTES)


@lru_cache(maxsize=16)
def _open_shard(path: str, changed: int) -> _Shard:
    """An open file; `changed` is its modification time, so that a rewritten file is opened anew."""
    return _Shard(path)


def _parquet_bytes(path: str, row: int) -> bytes:
    """The image in one row. Reading it reads its whole row group, so neighbors come almost for free."""
    import pyarrow as pa

    try:
        changed = Path(path).stat().st_mtime_ns
        shard = _open_shard(path, changed)
        if not 0 <= row < shard.starts[-1]:
            raise DataError(f"{path} has {shard.starts[-1]} rows, so there is no row {row}.")
        number = bisect_right(shard.starts, row) - 1
        with shard.lock:  # a second thread that needs the same group waits for the first instead of reading it too
            group = _recent.get((path, changed, number))
            if group is None:
                group = shard.read(number)
                _recent.put((path, changed, number), group)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    content = group[row - shard.starts[number]].as_py()
    if content is None:
        raise DataError(f"{path}, row {row} holds no image bytes.")
    return bytes(content)
