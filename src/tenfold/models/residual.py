"""A small residual network: the better default from scratch.

Shapes: N images, C channels, H x W pixels, W0 = width, K classes; defaults W0 = 32, one block a stage.

    images                                   [N, C, H, W]
    stem: convolution 3x3                    [N, W0, H, W]
    stage 1: block                           [N, W0, H, W]
    stage 2: block that halves the map       [N, 2 W0, H/2, W/2]
    stage 3: block that halves the map       [N, 4 W0, H/4, W/4]
    stage 4: block that halves the map       [N, 8 W0, H/8, W/8]
    mean over the map                        [N, 8 W0]
    last layer: logits                       [N, K]

That is with three `halvings`; a fourth is the stem's stride, and with two the last stage does not halve. So images of
less than 48 px end in a map of H/4, those from 72 px up in one of H/16 (`halvings_for`).

A block is two 3x3 convolutions with normalization; its input is added before the last activation (He et al.,
"Deep residual learning for image recognition", 2016, section 3.3). Where shapes differ the short cut is a 2x2
average and a 1x1 convolution (He et al., "Bag of tricks", 2019, section 4: ResNet-D). The last normalization of
each block starts at zero, so that every block starts as the identity (Goyal et al. 2017, section 5.1).

A block halves the map by the stride of its first convolution, or, with `pool` "average", by a 2x2 average after it:
fewer of the network's answers then change when an image is shifted by a pixel (Zhang, "Making convolutional networks
shift-invariant again", 2019), for half as much time again at 96 px, an eighth at 32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from tenfold.models.classifier import Classifier
from tenfold.models.layers import make_activation, make_convolution, make_head, make_norm, start_weights
from tenfold.models.plain import OF_PRETRAINED


class Block(nn.Module):
    """[N, inputs, H, W] -> [N, outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int, pool: str, activation: str, norm: str) -> None:
        super().__init__()
        averages = stride > 1 and pool == "average"
        self.first = make_convolution(inputs, outputs, 3, 1 if averages else stride, norm)
        self.first_norm = make_norm(norm, outputs)
        self.second = make_convolution(outputs, outputs, 3, 1, norm)
        self.second_norm = make_norm(norm, outputs)
        self.activation = make_activation(activation)
        self.pool = nn.AvgPool2d(2, ceil_mode=True) if averages else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            halve: list[nn.Module] = [nn.AvgPool2d(2, ceil_mode=True)] if stride > 1 else []
            self.shortcut = nn.Sequential(
                *halve, make_convolution(inputs, outputs, 1, 1, norm), make_norm(norm, outputs)
            )

    def forward(self, maps: Tensor) -> Tensor:
        residual = self.pool(self.activation(self.first_norm(self.first(maps))))
        residual = self.second_norm(self.second(residual))
        result: Tensor = self.activation(self.shortcut(maps) + residual)
        return result


class ResidualNetwork(Classifier):
    """Stem, four stages of residual blocks, mean over the map, last layer."""

    unread: ClassVar[tuple[str, ...]] = (*OF_PRETRAINED, "model.pool_every")

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        width, activation, norm = settings["width"], settings["activation"], settings["norm"]
        halvings = halvings_of(settings)
        pool = settings["pool"] if "halvings" in settings else "stride"  # whatever was said before there was a choice
        self.stem = nn.Sequential(
            make_convolution(channels, width, 3, 2 if halvings > 3 else 1, norm),
            make_norm(norm, width),
            make_activation(activation),
        )
        blocks: list[nn.Module] = []
        inputs = width
        for stage in range(4):
            for block in range(settings["layers"] or 1):
                stride = 2 if 0 < stage <= halvings and block == 0 else 1
                blocks.append(Block(inputs, width * 2**stage, stride, pool, activation, norm))
                inputs = width * 2**stage
        self.blocks = nn.Sequential(*blocks)
        self.head = make_head(inputs, tuple(settings["hidden"]), len(classes), settings)
        start_weights(self, activation)
        for part in self.blocks:
            if isinstance(part, Block) and norm != "none":
                nn.init.zeros_(part.second_norm.weight)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        maps = self.blocks(self.stem(images))
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


def halvings_for(size: int) -> int:
    """How often images of so many pixels are halved: 28 and 32 to 7 and 8, 64 to 8, 96 to 6, 224 to 14."""
    return 2 if size < 48 else 3 if size < 72 else 4


def halvings_of(settings: Mapping[str, Any]) -> int:
    """How often a network of these settings halves: runs from before 28 November 2026 have "stem_stride" instead."""
    known: int = settings.get("halvings", 2 + settings.get("stem_stride", 1))
    return known
