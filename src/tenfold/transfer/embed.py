"""Embeddings: one vector of length 1 an image, whose products say how alike two images are; and what gave them.

Nothing of an image is kept in the cache: who leaves a gallery leaves no features behind, and who was only looked at
none at all.

Shapes: N images, V views, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.images.prepared import read_sample
from tenfold.images.table import Table
from tenfold.models.views import cut_view, find_views
from tenfold.models.weights import Origin
from tenfold.transfer.engines import choose_engine
from tenfold.transfer.features import Extractor

VIEWS = "flip"
"""The image and its mirror image."""
_BATCH = 32


@dataclass(frozen=True)
class EmbeddingOrigin:
    """The network that gave embeddings. Only those of one network, looking in one way, can be compared."""

    backbone: str
    """As `make_backbone` takes it."""
    file: str
    """Where the weights were read from, where a file was given; else empty."""
    weights: Origin
    """Whose the weights are: hash, licence, source."""
    views: str
    """A name in VIEWS of tenfold.models.views."""
    preprocessing: dict[str, Any]
    """As `Preprocessing.to_json` gives it."""

    def agrees(self, other: EmbeddingOrigin) -> bool:
        """Whether the embeddings of both can be compared, wherever their weights lie."""
        return self._look() == other._look()

    def _look(self) -> tuple[object, ...]:
        seen = {name: value for name, value in self.preprocessing.items() if name != "origin"}
        return self.backbone, self.weights.sha256, self.views, seen

    def __str__(self) -> str:
        return f"{self.backbone} (weights sha256 {self.weights.sha256[:8]}, views {self.views!r})"

    def to_json(self) -> dict[str, Any]:
        """Every field as a JSON value."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> EmbeddingOrigin:
        """The inverse of `to_json`. Raises KeyError or TypeError for a field that is missing, unknown or no such."""
        for name in ("backbone", "file", "views"):
            if not isinstance(values[name], str):
                raise TypeError(f"its network's {name} is no text")
        return cls(**{**values, "weights": Origin(**values["weights"])})


class Embedded(NamedTuple):
    """The images of a table that could be read."""

    table: Table
    vectors: NDArray[np.float32]
    """float32 [N, D], of length 1."""
    unreadable: tuple[str, ...]
    """A sentence for each image that could not be read."""


@dataclass(frozen=True)
class Embedder:
    """A network that gives embeddings."""

    origin: EmbeddingOrigin
    embed: Callable[[Table], Embedded]
    """Raises DataError where no image of the table can be read."""


def load_embedder(backbone: str, file: str = "", views: str = VIEWS) -> Embedder:
    """A pretrained backbone as an embedder; arguments as in EmbeddingOrigin. Raises what `make_backbone` raises."""
    from tenfold.models.backbones import make_backbone

    network, weights = make_backbone(backbone, Path(file) if file else None)
    # The whole image, as what tells one from another may lie at its rim: a crop would lose hair and chin of a face.
    preprocessing = replace(network.preprocessing, fit="pad")
    extractor = Extractor(network, weights.sha256, preprocessing, find_views(views))
    origin = EmbeddingOrigin(backbone, file, weights, views, preprocessing.to_json())
    return Embedder(origin, lambda table: embed_table(table, extractor))


def embed_table(table: Table, extractor: Extractor) -> Embedded:
    """Embeddings of a table's images. Raises DataError where none can be read."""
    kept = hashed(table)
    preprocessing = extractor.preprocessing
    engine = None
    reasons = [note.removeprefix("Left out: ") for note in kept.notes[len(table.notes) :]]
    rows, vectors = list[int](), list[NDArray[np.float32]]()
    for batch, canvases in _prepared(kept, extractor, reasons):
        pixels = np.ascontiguousarray(preprocessing.center(canvases))
        images = preprocessing.normalize(torch.from_numpy(pixels))
        views = [cut_view(images, view, extractor.side) for view in extractor.views]
        if engine is None:
            looks = len(kept) * len(views)
            engine = choose_engine(extractor.backbone, views[0], looks, torch.device("cpu"))
        features = np.stack([engine.look(view).numpy() for view in views], 1)
        vectors.append(mean_direction(features))
        rows += batch
    if not rows:
        raise DataError(f"None of the {len(table)} images can be read; the first: {reasons[0]}")
    return Embedded(kept.take(rows), np.concatenate(vectors), tuple(reasons))


def mean_direction(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """The direction of the mean of an image's views, each of length 1: float32 [N, V, D] -> [N, D], of length 1."""
    return unit_rows(unit_rows(features).mean(1))


def unit_rows(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """float [..., D] -> float32, of length 1. Raises UsageError where one is not finite or has no direction."""
    values = vectors.astype(np.float64)
    lengths = np.linalg.norm(values, axis=-1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise UsageError("An embedding must be finite and not all zeros, to have a direction; see what gives it.")
    directions: NDArray[np.float32] = (values / lengths).astype(np.float32)
    return directions


def _prepared(table: Table, extractor: Extractor, reasons: list[str]) -> Iterator[tuple[list[int], NDArray[np.uint8]]]:
    """(rows, canvases) of a batch at a time; why others cannot be read goes into `reasons`."""
    preprocessing = extractor.preprocessing

    def attempt(row: int) -> NDArray[np.uint8] | DataError:
        try:
            return preprocessing.prepare(read_sample(table, row, preprocessing, extractor.allow_truncated))[0]
        except DataError as error:
            return error

    with ThreadPoolExecutor(2, thread_name_prefix="tenfold-decode") as pool:
        for start in range(0, len(table), _BATCH):
            rows = range(start, min(start + _BATCH, len(table)))
            found = dict(zip(rows, pool.map(attempt, rows), strict=True))
            reasons += [str(error) for error in found.values() if isinstance(error, DataError)]
            good = {row: canvas for row, canvas in found.items() if not isinstance(canvas, DataError)}
            if good:
                yield list(good), np.stack(list(good.values()))
