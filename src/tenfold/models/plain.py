"""The plain convolutional network of the lecture, every choice a setting.

Shapes: N images, C channels, H x W pixels, W0 = width, K classes.

    images                                        [N, C, H, W]
    layer 1: convolution 3x3, norm, activation    [N, W0, H, W]
             pool 2x2                             [N, W0, H/2, W/2]
    layer 2 ...                                   [N, 2 W0, H/4, W/4]
    layer s                                       [N, min(2^(s-1), 8) W0, H/2^s, W/2^s]
    mean over the map                             [N, F]
    fully connected layers `hidden`, dropout      [N, U]
    last layer: logits                            [N, K]

With `pool_every` = p only each p-th layer is followed by a pool, and the width doubles after it (p = 2: the first
blocks of VGG, Simonyan and Zisserman 2015, section 2.1).

After LeCun et al., "Gradient-based learning applied to document recognition", 1998, section II.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from tenfold.models.classifier import Classifier
from tenfold.models.layers import make_activation, make_convolution, make_head, make_norm, start_weights

OF_PRETRAINED = (
    *("transfer.views", "transfer.crop", "transfer.spread"),
    *("transfer.head", "transfer.strength", "transfer.sharpness"),
    *("transfer.frozen", "transfer.thawed", "transfer.rate_decay"),
)
"""Settings that are of pretrained networks alone, beside those that name one."""


class PlainNetwork(Classifier):
    """Layers of convolution, normalization, activation and pooling; then fully connected layers."""

    unread: ClassVar[tuple[str, ...]] = OF_PRETRAINED

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        activation, norm, pool = (settings[name] for name in ("activation", "norm", "pool"))
        layers: list[nn.Module] = []
        for layer in range(settings["layers"] or 4):
            width = settings["width"] * min(2 ** (layer // settings["pool_every"]), 8)
            pools = (layer + 1) % settings["pool_every"] == 0
            stride = 2 if pools and pool == "stride" else 1
            layers += [make_convolution(channels, width, 3, stride, norm), make_norm(norm, width)]
            layers += [make_activation(activation), *(_pooling(pool) if pools else [])]
            channels = width
        self.features = nn.Sequential(*layers)
        self.head = make_head(channels, tuple(settings["hidden"]), len(classes), settings)
        start_weights(self, activation)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.features(images)
        logits: Tensor = self.head(maps.mean((2, 3)))
        return logits


def _pooling(name: str) -> list[nn.Module]:
    """Halve the map, an odd last row or column kept, so that small images survive many layers."""
    if name == "max":
        return [nn.MaxPool2d(2, ceil_mode=True)]
    return [nn.AvgPool2d(2, ceil_mode=True)] if name == "average" else []
