"""Frozen features of a Table's images: computed once, for all runs that see them alike.

They are kept in the cache of images, a folder for each view, backbone and preprocessing: an image's features are found
by the hash of its content, its vector lying in the file like a picture of 4 D bytes. So they are memory-mapped,
checked, complete or absent, safe with two processes, and shown, limited and cleared by `tenfold cache` like pixels.
Neither a file's name nor its place matters; a changed image has another hash, other weights have another digest.

Shapes: N images, V views, D features.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.errors import DataError, UsageError
from tenfold.images.cache import Prepared, cache_folder, open_cache
from tenfold.images.prepared import PreparedTable
from tenfold.images.preprocess import Preprocessing
from tenfold.models.views import View, cut_view
from tenfold.transfer.engines import Engine, choose_engine, torch_engine

if TYPE_CHECKING:
    from tenfold.models.backbones import Backbone

VERSION = 1
"""Goes up whenever the same image would give other features."""
BLOCK = 512
"""Images after which features are stored: what was stopped goes on from there."""
_BATCH = {"cpu": 32, "cuda": 256, "mps": 128}
_TIMED = 8  # images whose looks are timed
_NO_MAP = np.eye(2, 3, dtype=np.float32)

Watch = Callable[[int, int], None]
"""Called with (views of images done, of how many); may raise to stop."""


def watch_nothing(done: int, of: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Extractor:
    """All that an image's features depend on, besides its content."""

    backbone: Backbone
    digest: str
    """SHA-256 of its weights, hexadecimal."""
    preprocessing: Preprocessing
    """`size` is what views are cut from, in pixels."""
    views: tuple[View, ...]
    crop: int = 0
    """Pixels of a view's side; 0: the whole image."""
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        if not self.digest or not self.views:
            raise UsageError("An Extractor needs the digest of its backbone's weights and at least one view.")
        if not 0 <= self.crop <= self.preprocessing.size:
            size = self.preprocessing.size
            raise UsageError(f"transfer.crop must be from 0 to the image's size of {size} pixels, not {self.crop}.")

    @property
    def side(self) -> int:
        """Pixels of a view's side."""
        return self.crop or self.preprocessing.size

    def key(self, view: View) -> str:
        """What the cache keeps the features of one view under."""
        seen = {name: value for name, value in self.preprocessing.to_json().items() if name != "origin"}
        what = ["features", VERSION, self.backbone.name, self.digest, seen, self.side, view, self.allow_truncated]
        return json.dumps(what, sort_keys=True)


def table_features(
    prepared: PreparedTable, extractor: Extractor, *, device: str = "cpu", watch: Watch = watch_nothing
) -> NDArray[np.float32]:
    """Features float32 [N, V, D] of images that were prepared as `extractor.preprocessing` says.

    What the cache lacks is computed and added. Raises DataError where the cache cannot be written, TrainingError where
    the device's memory does not hold the network and one image.
    """
    reader = _Reader(prepared, extractor, torch.device(device), watch)
    try:
        return np.stack([reader.view(view) for view in extractor.views], 1)
    except OSError as error:
        raise DataError(
            f"The cache of features in {cache_folder()} cannot be written ({error.strerror or error}); make room, "
            "point TENFOLD_CACHE to another folder, or set TENFOLD_CACHE_GIB=0 to do without."
        ) from error


def seconds_to_look(prepared: PreparedTable, extractor: Extractor, tick: Callable[[], float] = time.monotonic) -> float:
    """Seconds that an image takes, all its views, where the network looks as it does in a run: by PyTorch on the CPU.

    Measured on the first few images; the cache is not asked. `tick` gives seconds that never go back.
    """
    rows = np.arange(min(_TIMED, len(prepared.table)))
    reader = _Reader(prepared, extractor, torch.device("cpu"), watch_nothing)
    views = [reader.images(view, rows) for view in extractor.views]
    engine = torch_engine(extractor.backbone, reader.device, torch.channels_last)
    engine.look(views[0])  # warms up
    began = tick()
    for images in views:
        engine.look(images)
    return (tick() - began) / len(rows)


class _Reader:
    """Features of the images of a table, view by view."""

    def __init__(self, prepared: PreparedTable, extractor: Extractor, device: torch.device, watch: Watch) -> None:
        self.hashes: list[str] = prepared.table.samples["hash"].tolist()
        self.canvases, self.extractor, self.device, self.watch = prepared.canvases, extractor, device, watch
        self.of = len(self.hashes) * len(extractor.views)
        self.done = 0
        self.engine: Engine | None = None

    def view(self, view: View) -> NDArray[np.float32]:
        """[N, D]"""
        found = [self._block(view, start) for start in range(0, len(self.hashes), BLOCK)]
        return np.concatenate(found)

    def _block(self, view: View, start: int) -> NDArray[np.float32]:
        """Features of up to BLOCK images from `start` on."""
        hashes, before = self.hashes[start : start + BLOCK], self.done

        def many(rows: Sequence[int]) -> Iterator[Prepared | None]:
            size = _BATCH.get(self.device.type, 32)
            for first in range(0, len(rows), size):
                batch = np.asarray(rows[first : first + size], np.int64) + start
                for vector in self._look(view, batch):
                    yield vector.view(np.uint8).reshape(1, -1, 1), _NO_MAP
                self.done = min(self.done + len(batch), before + len(hashes))
                self.watch(self.done, self.of)

        def one(row: int) -> Prepared:
            [prepared] = many([row])
            assert prepared is not None
            return prepared

        stored = open_cache(self.extractor.key(view), hashes, one, many, "features")
        vectors = np.stack([stored.image(row)[0].reshape(-1).view(np.float32) for row in range(len(hashes))])
        self.done = before + len(hashes)
        self.watch(self.done, self.of)
        return vectors

    def images(self, view: View, rows: NDArray[np.int64]) -> Tensor:
        """What the network sees in a view: [B] -> float32 [B, C, T, T]"""
        preprocessing = self.extractor.preprocessing
        canvases = self.canvases.take(rows)[0]
        if canvases.shape[1] != preprocessing.canvas:
            raise UsageError(
                f"The images must be prepared as the extractor says, on {preprocessing.canvas} pixels a side, not on "
                f"{canvases.shape[1]}."
            )
        pixels = np.ascontiguousarray(preprocessing.center(canvases))
        return cut_view(preprocessing.normalize(torch.from_numpy(pixels)), view, self.extractor.side)

    def _look(self, view: View, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """[B] -> [B, D]"""
        images = self.images(view, rows)
        if self.engine is None:
            self.engine = choose_engine(self.extractor.backbone, images, self.of - self.done, self.device)
        vectors = np.ascontiguousarray(self.engine.look(images).numpy())
        if not np.isfinite(vectors).all():
            name = self.extractor.backbone.name
            raise DataError(f"The backbone {name} gives features that are no finite numbers; its weights are damaged.")
        return vectors
