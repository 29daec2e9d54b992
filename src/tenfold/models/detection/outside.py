"""Proposals from outside of the network, which Fast R-CNN and R-CNN look at: those of Selective Search.

They are of the image as the network sees it, resized and perhaps padded, in training and in prediction alike; so they
need nothing but the network's input, and what is found does not hang on the size of the file. In training they are
found once, in the image without augmentation, and moved with it: there a turned box is the hull of its corners.

Shapes: N images, C channels, H x W pixels, P proposals of an image.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.images.prepared import PreparedTable
from tenfold.images.preprocess import Preprocessing
from tenfold.models.contract import Foreknown
from tenfold.models.detection.rpn import pad_boxes

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

    def invent(images: Tensor) -> Tensor:
        from tenfold.proposals import random_boxes

        boxes = torch.from_numpy(random_boxes((images.shape[2], images.shape[3]), count))
        return boxes.expand(len(images), -1, -1).to(images.device)

    return Foreknown(KNOWN, find, invent)


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
        with ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="tenfold-proposals") as pool:
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
    found = np.full((len(boxes), max(map(len, boxes), default=0), 4), np.nan, np.float32)
    for image, own in enumerate(boxes):
        found[image, : len(own)] = own
    scale = affine[:, [0, 1], [0, 1]][:, None]  # [N, 1, 2]
    shift = affine[:, :, 2][:, None]
    return np.divide(found - np.tile(shift, 2), np.tile(scale, 2), dtype=np.float32)
