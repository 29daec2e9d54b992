"""The proposals of a Table's images, from the cache where it holds them.

They are of original images, or of what a network sees of them. They lie in the cache of images, a folder for each
method and its settings, by the hash of an image's content: P boxes like a picture of P rows of 16 bytes. So they are
memory-mapped, checked, complete or absent, and shown, limited and cleared by `tenfold cache`, like pixels and features.

Shapes: N images, P proposals of an image.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tenfold.draws import hash_numbers
from tenfold.environment import cores
from tenfold.errors import DataError, UsageError, unknown
from tenfold.images.cache import Prepared, cache_folder, open_cache
from tenfold.images.content import hashed
from tenfold.images.pixels import Channels
from tenfold.images.prepared import PreparedTable, read_sample
from tenfold.images.preprocess import Preprocessing, one_or_both
from tenfold.images.table import Table
from tenfold.proposals.selective_search import VERSIONS
from tenfold.proposals.windows import Boxes, random_boxes, sliding_windows

VERSION = 1
"""Goes up whenever the same image would get other boxes."""
BLOCK = 256
"""Images after which proposals are stored: what was stopped goes on from there."""

METHODS = ("selective-search", "windows", "random")

_LOOK = Preprocessing("rgb", 1, 1, "squash", "triangle", 255, (0.0,) * 3, (1.0,) * 3)  # channels and background count
_NO_MAP = np.eye(2, 3, dtype=np.float32)

Watch = Callable[[int, int], None]
"""Called with (images done, of how many); may raise to stop."""


def watch_nothing(done: int, of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Proposer:
    """A way to propose boxes."""

    name: str
    settings: str
    """All that the boxes of an image depend on, besides its content and the method's name, as JSON."""
    propose: Callable[[NDArray[np.uint8], int], Boxes]
    """(upright RGB image uint8 [H, W, 3], its number) -> float32 [P, 4], P >= 1, the likeliest first."""

    @property
    def key(self) -> str:
        """What the cache keeps the boxes under."""
        return json.dumps(["proposals", VERSION, self.name, self.settings])


@dataclass(frozen=True, eq=False)
class Proposed:
    """The samples that could be read, with hashes, their proposals, and why others could not be read."""

    table: Table
    boxes: list[Boxes]
    """float32 [P, 4] of each sample, xyxy pixels of the upright image (of its region, where it has one)."""
    unreadable: tuple[str, ...] = field(default=())
    """A sentence each."""


def make_proposer(method: str = "selective-search", version: str = "fast", count: int = 2000) -> Proposer:
    """A method in METHODS. `version` is that of Selective Search; `count` is how many windows or random boxes.

    Selective Search gives all its boxes, whatever `count` says: the first ones are the likeliest. Raises UsageError.
    """
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if version not in VERSIONS:
        raise unknown("version", version, VERSIONS)
    if count < 1:
        raise UsageError(f"count must be at least 1, not {count}.")
    if method == "selective-search":
        search = VERSIONS[version]
        return Proposer(method, json.dumps(search.to_json()), search.boxes)
    draw = sliding_windows if method == "windows" else random_boxes
    return Proposer(method, str(count), lambda image, number: draw(image.shape[:2], count, number))


def propose_table(
    table: Table,
    proposer: Proposer,
    *,
    allow_truncated: bool = False,
    workers: int = 0,
    watch: Watch = watch_nothing,
) -> Proposed:
    """The proposals of every sample that can be read; what the cache lacks is made and added.

    `workers` threads work side by side, 0: one a core. Raises DataError where no image can be read or the cache
    cannot be written.
    """
    kept = hashed(table)
    reasons = [note.removeprefix("Left out: ") for note in kept.notes[len(table.notes) :]]
    hashes: list[str] = kept.samples["hash"].tolist()

    def propose(row: int) -> Boxes:
        return proposer.propose(read_pixels(kept, row, allow_truncated), int(hash_numbers([hashes[row]])[0]))

    key = json.dumps([proposer.key, allow_truncated])
    found = _Reader(hashes, key, propose, workers or cores(), watch).every()
    good = [row for row, boxes in enumerate(found) if not isinstance(boxes, DataError)]
    reasons += [str(boxes) for boxes in found if isinstance(boxes, DataError)]
    if not good:
        raise DataError(f"None of the {len(table)} images can be read; the first: {reasons[0]}")
    return Proposed(kept.take(good), [boxes for boxes in found if not isinstance(boxes, DataError)], tuple(reasons))


def propose_prepared(
    prepared: PreparedTable, preprocessing: Preprocessing, proposer: Proposer, watch: Watch = watch_nothing
) -> list[Boxes]:
    """The proposals of prepared images as a network sees them, xyxy in pixels of its input; through the cache.

    They are what `propose_pixels` gives of the same pixels. Raises DataError where an image cannot be read any more,
    or the cache cannot be written.
    """
    hashes: list[str] = prepared.table.samples["hash"].tolist()

    def propose(row: int) -> Boxes:
        canvas = prepared.canvases.image(row)[0]
        return propose_pixels(preprocessing.center(canvas[None])[0], preprocessing.channels, proposer)

    key = json.dumps([proposer.key, preprocessing.geometry(), one_or_both(preprocessing.sides)], sort_keys=True)
    found = _Reader(hashes, key, propose, cores(), watch).every()
    for boxes in found:
        if isinstance(boxes, DataError):
            raise boxes
    return [boxes for boxes in found if not isinstance(boxes, DataError)]


def propose_pixels(pixels: NDArray[np.uint8], channels: Channels, proposer: Proposer) -> Boxes:
    """The proposals of uint8 [H, W, C], a function of these pixels alone: the number of the image is their hash."""
    ordered = pixels[..., ::-1] if channels == "bgr" else pixels
    image = np.ascontiguousarray(np.broadcast_to(ordered, (*pixels.shape[:2], 3)))
    number = int.from_bytes(hashlib.blake2b(image.data, digest_size=8).digest(), "big")
    return proposer.propose(image, number)


class _Reader:
    """The proposals of images with hashes, block by block."""

    def __init__(
        self, hashes: list[str], key: str, propose: Callable[[int], Boxes], workers: int, watch: Watch
    ) -> None:
        """`propose(row)` makes those of one image, or raises DataError; `key` names all that they depend on."""
        self.hashes, self.key, self.propose = hashes, key, propose
        self.workers, self.watch = workers, watch

    def every(self) -> list[Boxes | DataError]:
        """Boxes of all images, or why there are none. Raises DataError where the cache cannot be written."""
        try:
            return [boxes for start in range(0, len(self.hashes), BLOCK) for boxes in self.block(start)]
        except OSError as error:
            raise DataError(
                f"The cache of proposals in {cache_folder()} cannot be written ({error.strerror or error}); make room, "
                "point TENFOLD_CACHE to another folder, or set TENFOLD_CACHE_GIB=0 to do without."
            ) from error

    def block(self, start: int) -> list[Boxes | DataError]:
        """Boxes of up to BLOCK images from `start` on, or why there are none."""
        hashes = self.hashes[start : start + BLOCK]

        def one(place: int) -> Prepared:
            return _as_picture(self.propose(start + place))

        def many(places: Sequence[int]) -> Iterator[Prepared | None]:
            for done, made in enumerate(self._side_by_side(one, places), 1):
                yield None if isinstance(made, DataError) else made
                self.watch(start + done, len(self.hashes))

        stored = open_cache(self.key, hashes, one, many, "proposals")
        pictures = list(self._side_by_side(stored.image, range(len(hashes))))
        self.watch(start + len(hashes), len(self.hashes))
        return [picture if isinstance(picture, DataError) else _from_picture(picture) for picture in pictures]

    def _side_by_side(self, work: Callable[[int], Prepared], places: Sequence[int]) -> Iterator[Prepared | DataError]:
        """`work` of each place, in order; who stops listening, stops the work."""
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="tenfold-proposals")
        try:
            yield from pool.map(lambda place: _attempt(work, place), places)
        finally:
            pool.shutdown(cancel_futures=True)


def read_pixels(table: Table, row: int, allow_truncated: bool = False) -> NDArray[np.uint8]:
    """A sample as proposals are made of it: upright RGB uint8 [H, W, 3]; raises as `read_sample`."""
    return read_sample(table, row, _LOOK, allow_truncated)


def _attempt(work: Callable[[int], Prepared], place: int) -> Prepared | DataError:
    try:
        return work(place)
    except DataError as error:
        return error


def _as_picture(boxes: Boxes) -> Prepared:
    return np.ascontiguousarray(boxes, np.float32).view(np.uint8).reshape(-1, 16, 1), _NO_MAP


def _from_picture(picture: Prepared) -> Boxes:
    """float32 [P, 4]; a copy, as a file that stays open cannot be deleted everywhere, and its place may be odd."""
    return np.frombuffer(picture[0].tobytes(), np.float32).reshape(-1, 4)
