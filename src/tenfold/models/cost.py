"""What a network costs: parameters and multiply-adds, counted before training."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from tenfold.errors import UsageError
from tenfold.images.batch import Batch
from tenfold.images.preprocess import Sides
from tenfold.models.contract import Model


class Cost(NamedTuple):
    """What one image costs."""

    parameters: int
    """Trainable numbers."""
    multiply_adds: int
    """Of convolutions and linear layers in one forward pass of one image, all views of it."""
    every: int
    """All numbers, those that stay as they are too."""
    views: int
    """How often the network looks at an image."""

    def __str__(self) -> str:
        fitted = f"{self.parameters:,} of {self.every:,} parameters are fitted"
        count = fitted if self.every > self.parameters else f"{self.parameters:,} parameters"
        seen = f" in {self.views} views" if self.views > 1 else ""
        if not self.multiply_adds:  # a graph of ONNX has no layers to count
            return f"{count}, beside the network of the file, which is not counted"
        return f"{count}, {self.multiply_adds / 1e6:,.1f} million multiply-adds an image{seen}"


@torch.no_grad()
def count_cost(model: Model, height: int, width: int = 0) -> Cost:
    """Count by one forward pass of one image of so many pixels, 0: a square; the model is left as it was.

    Raises UsageError where the network cannot look at images of that size, mostly as its layers halve them too often.
    """
    counted = 0

    def count(layer: nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal counted
        if isinstance(layer, nn.Conv2d):
            counted += output.numel() * layer.weight[0].numel()
        elif isinstance(layer, nn.Linear):
            counted += output.numel() * layer.in_features  # of all regions of the image, where it is cut into such

    hooks = [layer.register_forward_hook(count) for layer in model.modules() if not list(layer.children())]
    was, device = model.training, next((p.device for p in model.parameters()), torch.device("cpu"))
    model.eval()
    try:
        model.batch_outputs(_blank_batch(model, (height, width or height), device))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        sides = f"{height} x {width or height} pixels"
        whole = "image.size (--size), or transfer.crop where views are cut out,", sides
        wanted, seen = ("detect.crop", "regions so small") if "crop" in model.reads else whole  # it sees regions alone
        raise UsageError(
            f"{wanted} must be larger for this network, which cannot look at {seen}: "
            f"{str(error).splitlines()[0].rstrip('.')}."
        ) from error
    finally:
        model.train(was)
        for hook in hooks:
            hook.remove()
    every = [(p.numel(), p.requires_grad) for p in model.parameters()]
    learns, views = sum(number for number, own in every if own), len(getattr(model, "views", ())) or 1
    return Cost(learns, counted, sum(number for number, _ in every), views)


def _blank_batch(model: Model, sides: Sides, device: torch.device) -> Batch:
    """One black image, with what the model must know of images beforehand."""
    images = torch.zeros(1, model.channels, *sides, device=device)
    known = model.foreknown
    targets = {known.name: known.invent(images)} if known else {}
    return Batch(images, targets, np.zeros(1, np.int64), np.zeros(1, np.uint64), torch.eye(2, 3, device=device)[None])
