"""Proposals from outside of the network, which Fast R-CNN and R-CNN look at: those of Selective Search, or of a file.

Those of Selective Search are of the image as the network sees it, resized and perhaps padded, in training and in
prediction alike; so they need nothing but the network's input, and what is found does not hang on the size of the file.
Those of a file are of the original image, and whoever predicts must have some for each image. In training they are
known of the image without augmentation, and moved with it: there a turned box is the hull of its corners.

Shapes: N images, C channels, H x W pixels, P proposals of an image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.environment import cores
from tenfold.errors import DataError, UsageError
from tenfold.images.prepared import PreparedTable
from tenfold.images.preprocess import Preprocessing
from tenfold.models.contract import Foreknown
from tenfold.models.detection.rpn import pad_boxes
from tenfold.models.weights.places import file_hash

KNOWN = "proposals"
"""Name of a batch's proposals among its targets, where they were found before: float32 [N, P, 4], xyxy in input pixels,
the best first, rows of -1 or NaN where an image has fewer."""

Find = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""An RGB image uint8 [H, W, 3] -> its proposals float32 [P, 4], xyxy in its pixels, the best first."""

Propose = Callable[[Tensor], Tensor]
"""Images as the network sees them, float32 [N, C, H, W] -> their proposals, as KNOWN has them."""


def selective_proposals(count: int) -> Foreknown:
    """The first `count` boxes of Selective Search's version "fast", as what a model must know of its images."""

    def find(
        prepared: PreparedTable, preprocessing: Preprocessing, watch: Callable[[int, int], None]
    ) -> NDArray[np.float32]:
        from tenfold.proposals import make_proposer, propose_prepared

        every = propose_prepared(prepared, preprocessing, make_proposer(), watch)
        affine = np.stack([prepared.canvases.image(row)[1] for row in range(len(every))])
        return _in_originals([boxes[:count] for boxes in every], preprocessing.center_affine(affine))

    return Foreknown(KNOWN, find, _inventor(count))


class FileProposals:
    """The first `count` boxes that a file has of each image: see tenfold.proposals.files."""

    def __init__(self, path: str, count: int, sha256: str = "") -> None:
        """`sha256` is the file's, hexadecimal, where it must still be the one that a training began with."""
        self.path, self.count, self.sha256 = path, count, sha256
        self.counts = ""
        """How many there were, in words, when they were last looked up."""
        self.foreknown = Foreknown(KNOWN, self._find, _inventor(count))

    def describe(self) -> str:
        """Where the proposals come from, in words for people."""
        return f"its proposals come from the file {self.path}{self.counts}"

    def missing(self, network: str) -> UsageError:
        """What to raise where they are asked for images of which nothing else is known."""
        return UsageError(
            f"The proposals of this {network} come from the file {self.path}, and nobody finds them in other images: "
            f"predict with its run, hand in its `proposer`, or a batch with {KNOWN!r}."
        )

    def _find(
        self, prepared: PreparedTable, preprocessing: Preprocessing, watch: Callable[[int, int], None]
    ) -> NDArray[np.float32]:
        from tenfold.proposals import read_proposals

        self._refuse_changed()
        given = read_proposals(self.path).of_table(prepared.table, watch)
        kept = [boxes[: self.count] for boxes in given.boxes]
        lost = f", {given.left_out:,} rows that are no box in their image left out" if given.left_out else ""
        self.counts = f" ({sum(map(len, kept)):,} of {len(kept):,} images{lost})"
        return stack_boxes(kept)

    def _refuse_changed(self) -> None:
        """Raise DataError where the file has gone since the training began, or is another."""
        if not Path(self.path).is_file():
            raise DataError(
                f"The proposals of this training come from {self.path}, which is not there; put it back, then go on."
            )
        if self.sha256 and file_hash(Path(self.path)) != self.sha256:
            raise DataError(
                f"{self.path} is no longer the file of proposals that this training began with; put that one back, "
                "then go on, or begin a new training."
            )


def file_proposals(settings: dict[str, Any], count: int) -> FileProposals | None:
    """Those that a model's settings "proposals_from" and "proposals_sha256" name; runs of before have neither."""
    path = settings.get("proposals_from", "")
    return FileProposals(path, count, settings.get("proposals_sha256", "")) if path else None


def _inventor(count: int) -> Callable[[Tensor], Tensor]:
    """What gives images `count` boxes anywhere, to measure speed on."""

    def invent(images: Tensor) -> Tensor:
        from tenfold.proposals import random_boxes

        boxes = torch.from_numpy(random_boxes((images.shape[2], images.shape[3]), count))
        return boxes.expand(len(images), -1, -1).to(images.device)

    return invent


def selective_proposer(preprocessing: Preprocessing, count: int) -> Propose:
    """A proposer that finds in a network's input what `selective_proposals` finds in the same image."""
    from tenfold.proposals import make_proposer, propose_pixels

    method = make_proposer()
    return proposer_from(lambda pixels: propose_pixels(pixels, "rgb", method), preprocessing, count)


def proposer_from(find: Find, preprocessing: Preprocessing, count: int) -> Propose:
    """A proposer that shows `find` each image as pixels again, and takes the first `count` of what it finds.

    What it is shown is the network's input, resized and perhaps padded, not the original image. Several threads call
    `find` at once.
    """

    def propose(images: Tensor) -> Tensor:
        with ThreadPoolExecutor(cores(), thread_name_prefix="tenfold-proposals") as pool:
            every = pool.map(find, shown_pixels(images, preprocessing))
            found = [torch.from_numpy(boxes[:count]) for boxes in every]
        return pad_boxes(found, max([len(boxes) for boxes in found], default=0)).to(images.device)

    return propose


def shown_pixels(images: Tensor, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """The inverse of `Preprocessing.normalize`, in RGB: float32 [N, C, H, W] -> uint8 [N, H, W, 3]."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
    levels = ((images.float() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
    pixels = levels.permute(0, 2, 3, 1).cpu().numpy()
    if preprocessing.channels == "bgr":
        pixels = pixels[..., ::-1]
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:3], 3)))


def _in_originals(boxes: list[NDArray[np.float32]], affine: NDArray[np.float32]) -> NDArray[np.float32]:
    """Boxes [P, 4] of N inputs -> [N, P, 4] of the original images, NaN where there are fewer.

    `affine` float32 [N, 2, 3] takes original to input, by a scale and a shift of each axis.
    """
    found = stack_boxes(boxes)
    scale = affine[:, [0, 1], [0, 1]][:, None]  # [N, 1, 2]
    shift = affine[:, :, 2][:, None]
    return np.divide(found - np.tile(shift, 2), np.tile(scale, 2), dtype=np.float32)


def stack_boxes(boxes: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Boxes [P, 4] of N images -> [N, P, 4], rows of NaN where an image has fewer."""
    stacked = np.full((len(boxes), max(map(len, boxes), default=0), 4), np.nan, np.float32)
    for image, own in enumerate(boxes):
        stacked[image, : len(own)] = own
    return stacked
