"""Inverted residuals: the block of MobileNetV2, EfficientNet and MobileFaceNet.

Shapes: N images, H x W pixels.

    maps                                                       [N, inputs, H, W]
    expand: convolution 1x1, ReLU6 (none where widen is 1)     [N, widen inputs, H, W]
    depthwise: each channel on its own, size x size, ReLU6     [N, widen inputs, H / stride, W / stride]
    project: convolution 1x1, no activation                    [N, outputs, H / stride, W / stride]
    the input is added where it has the same shape

Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018, section 3.3,
https://arxiv.org/abs/1801.04381.
"""

from __future__ import annotations

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class Style(NamedTuple):
    """How a family of networks writes its convolutions."""

    same: bool
    """Where a stride leaves an odd number of pixels to pad, TensorFlow ("same") puts one more behind; else both sides
    get the same."""
    epsilon: float | None
    """Of the batch normalization after each convolution; None: a bias instead."""


class Row(NamedTuple):
    """A row of a paper's table: so many `blocks`, the first of them with the stride."""

    widen: int
    outputs: int
    blocks: int
    stride: int
    size: int = 3


class SameConvolution(nn.Conv2d):
    """A convolution padded as TensorFlow does: ceil(H / stride) rows come out, an odd pixel of padding goes behind."""

    def forward(self, maps: Tensor) -> Tensor:
        pads = []
        for length, size, stride in zip(maps.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-length // stride) - 1) * stride + size - length, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(maps, pads))


def convolution(
    inputs: int, outputs: int, size: int, style: Style, *, stride: int = 1, groups: int = 1, activate: bool = True
) -> nn.Sequential:
    """A convolution, its normalization if the style has one, and ReLU6 if it is to `activate`."""
    same = style.same and stride > 1  # at stride 1 both ways pad alike
    kind = SameConvolution if same else nn.Conv2d
    padding = 0 if same else size // 2
    layers: list[nn.Module] = [kind(inputs, outputs, size, stride, padding, groups=groups, bias=style.epsilon is None)]
    if style.epsilon is not None:
        layers.append(nn.BatchNorm2d(outputs, eps=style.epsilon))
    return nn.Sequential(*layers, nn.ReLU6(inplace=True)) if activate else nn.Sequential(*layers)


class InvertedResidual(nn.Module):
    """[N, inputs, H, W] -> [N, row.outputs, H / stride, W / stride]."""

    def __init__(self, inputs: int, row: Row, stride: int, style: Style) -> None:
        super().__init__()
        wide = inputs * row.widen
        self.expand = convolution(inputs, wide, 1, style) if row.widen > 1 else nn.Identity()
        self.depthwise = convolution(wide, wide, row.size, style, stride=stride, groups=wide)
        self.project = convolution(wide, row.outputs, 1, style, activate=False)
        self.adds = stride == 1 and inputs == row.outputs

    def forward(self, maps: Tensor) -> Tensor:
        result: Tensor = self.project(self.depthwise(self.expand(maps)))
        return maps + result if self.adds else result


def make_rows(inputs: int, rows: tuple[Row, ...], style: Style) -> nn.ModuleList:
    """A sequence of blocks for each row of the table."""
    stages = nn.ModuleList()
    for row in rows:
        blocks = []
        for place in range(row.blocks):
            blocks.append(InvertedResidual(inputs, row, row.stride if place == 0 else 1, style))
            inputs = row.outputs
        stages.append(nn.Sequential(*blocks))
    return stages


def convolution_names(network: nn.Module) -> list[str]:
    """The names of a network's convolutions, in the order of its layers."""
    return [name for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)]
