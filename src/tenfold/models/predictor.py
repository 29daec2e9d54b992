"""From images to predictions: decoded, prepared and put before the model, some at a time.

Shapes: N images, C channels, H x W pixels, P boxes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.environment import exact_on
from tenfold.errors import DataError, UsageError
from tenfold.images.batch import Batch
from tenfold.images.content import Content, read_bytes
from tenfold.images.decode import decode_image
from tenfold.images.preprocess import Preprocessing, Sides
from tenfold.models.contract import Model, Prediction

AT_ONCE = 64
"""Images that the model sees at once, at most."""

Canvas = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""Pixels and the map to them, as `Preprocessing.prepare` gives them."""

Cut = Callable[[Prediction, tuple[int, int]], Prediction]
"""As Task.cut."""

Find = Callable[[Content, str | None, tuple[int, int]], NDArray[np.float32]]
"""An image's content, its path if it is a file, its height and width -> what Model.foreknown wants of it, float32
[P, 4], in its own pixels; raises DataError where that is not known."""


class Seen(NamedTuple):
    """An image on its way to the model."""

    canvas: Canvas
    size: tuple[int, int]
    """Its own height and width."""
    boxes: NDArray[np.float32] | None = None
    """What a `Find` gave."""


class Inputs(NamedTuple):
    """N images as the model takes them."""

    images: Tensor
    """float32 [N, C, H, W], on the model's device."""
    affine: Tensor
    """float32 [N, 2, 3], as Batch.affine, on the CPU."""
    boxes: Tensor | None = None
    """float32 [N, P, 4] in pixels of `images`, rows of NaN where an image has fewer; None: the model knows none."""


@dataclass(frozen=True)
class Predictor:
    """A model and what images need on the way to it."""

    model: Model
    preprocessing: Preprocessing
    device: torch.device
    cut: Cut | None = None
    """What takes from a prediction what lies outside of its image; None: nothing does."""
    allow_truncated: bool = False
    find: Find | None = None
    """Where the model's `foreknown` comes from; None: it finds that itself, or needs nothing."""

    def arrays(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Of images in memory, as `decode_image` takes arrays."""
        groups = (images[start : start + AT_ONCE] for start in range(0, len(images), AT_ONCE))
        return [found for group in groups for found in self.answer([self.see(image, None) for image in group])]

    def canvases(
        self, images: Iterable[Canvas], boxes: Iterable[NDArray[np.float32]] | None = None
    ) -> Iterator[Prediction]:
        """Of prepared images, with what a `Find` would give of each, if that is needed; nothing is cut.

        Raises UsageError where `boxes` are needed and not there, or the other way round.
        """
        if boxes is None and self.find is not None:
            raise UsageError(
                "boxes must be given for prepared images: the model takes its proposals from a file, and only the "
                "images as they were before can be looked up there (run.proposals.of_table, run.proposals.of_image)."
            )
        if boxes is not None and self.model.foreknown is None:
            raise UsageError("boxes is for a model that must be told where to look, and this one is not; leave it out.")
        return self._canvases(images, boxes)

    def _canvases(self, images: Iterable[Canvas], boxes: Iterable[NDArray[np.float32]] | None) -> Iterator[Prediction]:
        waiting, known = iter(images), None if boxes is None else iter(boxes)
        while group := list(islice(waiting, AT_ONCE)):
            own = None if known is None else list(islice(known, len(group)))
            yield from self.look(self.inputs(group, own))

    def see(self, content: Content, path: str | None) -> Seen:
        """Decode and prepare an image; `path` is its file's. Raises DataError where it cannot be read or used."""
        image = decode_image(
            content,
            channels=self.preprocessing.channels,
            background=self.preprocessing.background,
            allow_truncated=self.allow_truncated,
            name=path or "the image",
        )
        size = image.shape[0], image.shape[1]
        boxes = None if self.find is None else self.find(content, path, size)
        return Seen(self.preprocessing.prepare(image), size, boxes)

    def inputs(self, group: Sequence[Canvas], boxes: Sequence[NDArray[np.float32]] | None = None) -> Inputs:
        """Prepared images, at least one, as the model takes them, with what is known of each."""
        pixels = self.preprocessing.center(np.stack([pixels for pixels, _ in group]))
        affine = self.preprocessing.center_affine(np.stack([affine for _, affine in group]))
        images = self.preprocessing.normalize(torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device))
        known = None if boxes is None else _moved(boxes, affine, self.preprocessing.sides).to(self.device)
        return Inputs(images, torch.from_numpy(np.ascontiguousarray(affine)), known)

    def look(self, inputs: Inputs) -> list[Prediction]:
        """What the model predicts, not cut."""
        with exact_on(self.device):
            if inputs.boxes is None:
                return self.model.predict(inputs.images, inputs.affine)
            return self._look_with(inputs, inputs.boxes)

    @torch.no_grad()
    def _look_with(self, inputs: Inputs, boxes: Tensor) -> list[Prediction]:
        """The same as `Model.predict`, with what it must know of the images; the model is in evaluation mode."""
        assert self.model.foreknown is not None
        count, targets = len(inputs.images), {self.model.foreknown.name: boxes}
        batch = Batch(inputs.images, targets, np.arange(count), np.zeros(count, np.uint64), inputs.affine)
        found = {name: value.cpu() for name, value in self.model.batch_outputs(batch).items()}
        return self.model.decode(found, inputs.affine)

    def answer(self, group: Sequence[Seen]) -> list[Prediction]:
        """What the model predicts of images, at least one, cut to them."""
        known = [one.boxes for one in group if one.boxes is not None]  # of all or of none
        found, cut = self.look(self.inputs([one.canvas for one in group], known or None)), self.cut
        return [cut(own, one.size) for own, one in zip(found, group, strict=True)] if cut else found


def predict_files(
    paths: Iterable[Path], needed: Callable[[], Predictor]
) -> Iterator[tuple[Path, Prediction | DataError]]:
    """Predict image files, in order; for one that cannot be read its error comes instead.

    `needed` gives the predictor, and is called once a file can be read, by one thread at a time.
    """
    waiting, lock = iter(paths), Lock()

    def see(path: Path) -> Seen | DataError:
        try:
            content = read_bytes(path)
        except DataError as error:
            return error
        with lock:
            predictor = needed()
        try:
            return predictor.see(content, str(path))
        except DataError as error:
            return error

    with ThreadPoolExecutor(2, thread_name_prefix="tenfold-decode") as pool:
        while group := list(islice(waiting, AT_ONCE)):
            seen = list(pool.map(see, group))
            good = [one for one in seen if not isinstance(one, DataError)]
            results = iter(needed().answer(good) if good else ())
            for path, one in zip(group, seen, strict=True):
                yield path, one if isinstance(one, DataError) else next(results)


def _moved(boxes: Sequence[NDArray[np.float32]], affine: NDArray[np.float32], sides: Sides) -> Tensor:
    """Boxes [P, 4] of N original images -> of what the model sees of them, as training moves them: [N, P, 4]."""
    from tenfold.augment.feed import boxes_on_canvas
    from tenfold.models.detection.outside import stack_boxes

    return torch.from_numpy(boxes_on_canvas(torch.from_numpy(stack_boxes(boxes)), affine, sides, 0.0))
