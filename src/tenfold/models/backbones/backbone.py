"""Backbone: a convolutional network without its classifier.

Shapes: N images, C channels, H x W pixels, D features; level i of the maps has C_i channels and stride s_i.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from tenfold.images.pixels import CHANNELS
from tenfold.images.preprocess import Preprocessing
from tenfold.models.weights.load import load_tensors
from tenfold.models.weights.read import Tensors, read_tensors

_PROBE = 128
"""Side of the image, in pixels, that a network's levels are measured on."""


class Backbone(nn.Module):
    """What every backbone is. A subclass builds its layers, gives its `stages`, and calls `measure` at last.

    Training mode leaves batch normalization in evaluation mode, so that its statistics stay those of the pretraining,
    unless `keep_statistics` is false: those of small batches are worse. A layer whose statistics are folded into the
    convolution before it (mean 0, variance 1) stays so in any case.
    """

    keep_statistics = True
    classifier: tuple[str, ...] = ()
    """How the names of the classifier's tensors begin in files of weights; they are left out."""

    def __init__(self, name: str, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.name = name
        """What `bare_backbone` makes this network from."""
        self.preprocessing = preprocessing
        """What the weights were trained with: order of channels, mean, standard deviation, filter, usual size. The
        canvas is no larger than the size; `dataclasses.replace` makes another of it."""
        self.width = 0
        """D, the length of a feature vector."""
        self.channels: tuple[int, ...] = ()
        """C_i, fine to coarse."""
        self.strides: tuple[int, ...] = ()
        """s_i, fine to coarse: pixels of the image that one pixel of the map stands for."""
        self._levels: tuple[int, ...] = ()

    @property
    def fixed_size(self) -> int:
        """The one side S of images [N, C, S, S], in pixels, that the network can be shown; 0: it takes any."""
        return 0

    def stages(self) -> list[nn.Module]:
        """The layers in the order of computation, the stem first: what staged unfreezing and learning rates go by."""
        raise NotImplementedError

    def chain(self) -> list[nn.Module]:
        """The modules that, one after the other, make the last map of an image; by default the stages."""
        return self.stages()

    def maps(self, images: Tensor) -> list[Tensor]:
        """float32 [N, C, H, W] -> the deepest map of each stride from 2 up, [N, C_i, H / s_i, W / s_i]."""
        found = []
        for place, module in enumerate(self.chain()):
            images = module(images)
            if place in self._levels:
                found.append(images)
        return found

    def features(self, images: Tensor) -> Tensor:
        """float32 [N, C, H, W] -> [N, D], the mean over the last map."""
        for module in self.chain():
            images = module(images)
        return images.mean((2, 3))

    def take(self, file: Path) -> None:
        """Load a file of weights, in any naming that the network knows; sets the preprocessing that they want.

        Raises DataError where they do not fit.
        """
        self.take_tensors(read_tensors(file), file)

    def take_tensors(self, tensors: Tensors, file: Path) -> None:
        """Load what `read_tensors` read of a file; as `take`."""
        layers = layer_names(self) if next(iter(self.state_dict())) in tensors else self.file_names(tensors)
        load_tensors(self, tensors, layers, self.classifier, f"The weights {file} of {self.name}")

    def file_names(self, tensors: Tensors) -> Mapping[str, str]:
        """Names of layers in a published file, one that holds these tensors -> names of layers here."""
        raise NotImplementedError

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d) and (self.keep_statistics or is_folded(module)):
                module.eval()
        return self

    @torch.no_grad()
    def measure(self) -> None:
        """Find the maps' channels and strides, and the width, by one small image."""
        self.eval()
        images = torch.zeros(1, CHANNELS[self.preprocessing.channels], _PROBE, _PROBE)
        deepest: dict[int, tuple[int, int]] = {}
        for place, module in enumerate(self.chain()):
            images = module(images)
            deepest[map_stride(_PROBE, images)] = (place, images.shape[1])
        if len(deepest) > 1:
            deepest.pop(1, None)
        self.strides = tuple(deepest)
        self._levels, self.channels = (tuple(values) for values in zip(*deepest.values(), strict=True))
        self.width = self.channels[-1]


def layer_names(network: nn.Module) -> dict[str, str]:
    """The names of a network's own layers, each to itself."""
    return {layer: layer for layer in dict.fromkeys(key.rpartition(".")[0] for key in network.state_dict())}


def map_stride(side: int, found: Tensor) -> int:
    """How many pixels of an image, `side` wide, one pixel of the map [N, C, H, W] stands for: a power of two."""
    return 1 << round(math.log2(side / found.shape[3]))


def group_layers(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Modules in the order of computation -> stages: a block is one, single layers are joined from convolution on."""
    stages: list[nn.Module] = []
    single: list[nn.Module] = []
    for module in modules:
        is_block = any(any(True for _ in child.parameters()) for child in module.children())
        if single and (is_block or isinstance(module, nn.Conv2d)):
            stages.append(nn.Sequential(*single))
            single = []
        if is_block:
            stages.append(module)
        else:
            single.append(module)
    if single:
        stages.append(nn.Sequential(*single))
    return stages


def of_imagenet(size: int, **changes: object) -> Preprocessing:
    """The usual preprocessing of networks trained on ImageNet: mean and standard deviation of its colors."""
    usual = {
        "channels": "rgb",
        "size": size,
        "canvas": size,
        "fit": "crop",
        "filter": "triangle",
        "background": 255,
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
        "origin": "of the pretrained weights: ImageNet's colors",
    }
    return Preprocessing(**{**usual, **changes})  # type: ignore[arg-type]


def to_plus_minus_one(size: int, **changes: object) -> Preprocessing:
    """The preprocessing of Google's mobile networks: pixels / 127.5 - 1."""
    half = (0.5, 0.5, 0.5)
    return of_imagenet(size, mean=half, std=half, origin="of the pretrained weights: pixels / 127.5 - 1", **changes)


def is_folded(norm: nn.BatchNorm2d) -> bool:
    """Whether a batch normalization divides by 1 and takes nothing away: its statistics are in the layer before it."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return not mean.any() and bool(((variance - 1).abs() <= 2 * norm.eps).all())
