"""Table -> prepared images: decoded and resized by threads, through the cache; those that cannot be read are named."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError
from tenfold.images.cache import Canvases, Pixels, Prepared, cache_folder, open_cache
from tenfold.images.content import content_hash, encoded
from tenfold.images.decode import MADE, decode_image, image_size
from tenfold.images.preprocess import Preprocessing
from tenfold.images.table import Table


@dataclass(frozen=True)
class PreparedTable:
    """The samples that could be read, and why the others could not."""

    table: Table
    canvases: Canvases
    rows: NDArray[np.int64]
    """Where each of them stood in the table that was to be prepared."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Sample (its source, and its row where the source holds several) -> the sentence that says what is wrong."""
    known: dict[str, NDArray[np.generic]] = field(default_factory=dict)
    """What was computed of the images before, by name, the first dimension the samples: it comes with their targets."""
    boxes: tuple[str, ...] = ()
    """Which of that are boxes, as tenfold.tasks.Task.boxes has them: they move with an image that is augmented, while
    the rest is known of images as they are only."""


def prepare_table(
    table: Table,
    preprocessing: Preprocessing,
    *,
    allow_truncated: bool = False,
    workers: int = 2,
    watch: Callable[[int, int], None] | None = None,
) -> PreparedTable:
    """The prepared images of a table with hashes; `watch(done, of)` hears of progress.

    Raises DataError where the cache folder cannot be written or no image can be read.
    """
    errors: dict[int, str] = {}
    attempted: set[int] = set()

    def prepare(row: int) -> Prepared:
        return preprocessing.prepare(read_sample(table, row, preprocessing, allow_truncated))

    def attempt(row: int) -> Prepared | None:
        attempted.add(row)
        try:
            return prepare(row)
        except DataError as error:
            errors[row] = str(error)
            return None

    def prepare_many(rows: Sequence[int]) -> Iterator[Prepared | None]:
        for done, prepared in enumerate(_in_threads(attempt, rows, workers), 1):
            if watch is not None:
                watch(done, len(rows))
            yield prepared

    name = json.dumps([preprocessing.geometry(), allow_truncated, MADE], sort_keys=True)
    hashes = table.samples["hash"].tolist()
    try:
        canvases = open_cache(name, hashes, prepare, prepare_many)
    except OSError as error:
        raise DataError(
            f"The cache of decoded images in {cache_folder()} cannot be written ({error.strerror or error}); make "
            "room, point TENFOLD_CACHE to another folder, or set TENFOLD_CACHE_GIB=0 to do without."
        ) from error
    first = {text: row for row, text in reversed(list(enumerate(hashes)))}
    streamed = [row for row in first.values() if canvases.places[row] is None and row not in attempted]
    for _ in prepare_many(streamed):  # what the cache does not hold is tried once, so that no error comes later
        pass
    return _without_unreadable(table, canvases, errors)


def read_sample(table: Table, row: int, preprocessing: Preprocessing, allow_truncated: bool) -> Pixels:
    """Decode one sample, cut to its region where it has one: uint8 [H, W, C].

    Raises DataError with its name where it cannot be read, or is no longer the image that its hash says.
    """
    name, region, content = _name(table, row), _region(table, row), encoded(table, row)
    if content_hash(content, region) != table.samples["hash"].iat[row]:
        raise DataError(f"{name} has changed since it was first read; train anew on the images as they are now.")
    image = decode_image(
        content,
        channels=preprocessing.channels,
        background=preprocessing.background,
        allow_truncated=allow_truncated,
        name=name,
    )
    return image if region is None else cut_region(image, region, name)


def sample_size(table: Table, row: int) -> tuple[int, int]:
    """Height and width of one sample, upright and cut to its region, from the header of its file.

    Raises DataError where that cannot be read.
    """
    height, width = image_size(encoded(table, row), _name(table, row))
    region = _region(table, row)
    if region is None:
        return height, width
    x1, y1, x2, y2 = (max(round(side), 0) for side in region)
    return min(y2, height) - y1, min(x2, width) - x1


def cut_region(image: Pixels, region: tuple[float, ...], name: str) -> Pixels:
    """A region x1, y1, x2, y2 of an upright image uint8 [H, W, C], edges rounded to pixels and clipped."""
    x1, y1, x2, y2 = (max(round(side), 0) for side in region)
    part = image[y1:y2, x1:x2]
    if part.size == 0:
        raise DataError(f"The region ({x1}, {y1}, {x2}, {y2}) of {name} holds no pixel of its image.")
    return part


def _region(table: Table, row: int) -> tuple[float, ...] | None:
    from pandas import NA

    sides: list[Any] = [table.samples[side].iat[row] for side in ("x1", "y1", "x2", "y2")]
    return None if sides[0] is NA else tuple(float(side) for side in sides)


def channel_statistics(
    canvases: Canvases, preprocessing: Preprocessing, rows: NDArray[np.int64]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel on the 0 to 1 scale, over the centres of these images.

    A channel of one value gets 1/255 for its deviation, so that nothing is divided by zero.
    """
    total = squares = np.zeros(1)
    count = 0
    for start in range(0, len(rows), 256):
        pixels = preprocessing.center(canvases.take(rows[start : start + 256])[0]).astype(np.float64) / 255
        total = total + pixels.sum((0, 1, 2))
        squares = squares + (pixels**2).sum((0, 1, 2))
        count += pixels[..., 0].size
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, (1 / 255) ** 2))
    return tuple(mean.round(6).tolist()), tuple(deviation.round(6).tolist())


def _without_unreadable(table: Table, canvases: Canvases, errors: dict[int, str]) -> PreparedTable:
    if not errors:
        return PreparedTable(table, canvases, np.arange(len(table)))
    bad = {table.samples["hash"].iloc[row]: text for row, text in errors.items()}
    reasons = [bad.get(text) for text in table.samples["hash"]]
    good = np.array([row for row, reason in enumerate(reasons) if reason is None], np.int64)
    if not len(good):
        raise DataError(f"None of the {len(table)} images can be read; the first: {next(iter(errors.values()))}")
    unreadable = {_name(table, row): reason for row, reason in enumerate(reasons) if reason is not None}
    return PreparedTable(table.take(good), canvases.subset(good), good, unreadable)


def _name(table: Table, row: int) -> str:
    from pandas import NA

    source, place = table.samples["source"].iat[row], table.samples["row"].iat[row]
    return str(source) if place is NA else f"{source}, row {place}"


def _in_threads(work: Callable[[int], Prepared | None], rows: Sequence[int], workers: int) -> Iterator[Prepared | None]:
    """`work` of each row, in order, a few ahead of whoever takes them."""
    waiting: deque[Future[Prepared | None]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="tenfold-decode") as pool:
        for row in rows:
            waiting.append(pool.submit(work, row))
            if len(waiting) > 8 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
