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

import math
from typing import NamedTuple, cast

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


class Convolution(nn.Conv2d):
    """A convolution that can be done with other weights and biases than its own, of the same shapes."""

    def forward(self, maps: Tensor, weight: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
        weight, bias = self.weight if weight is None else weight, self.bias if bias is None else bias
        return F.conv2d(self.pad(maps), weight, bias, self.stride, self.padding, self.dilation, self.groups)

    def pad(self, maps: Tensor) -> Tensor:
        """The maps with what is put around them beside `padding` on all sides."""
        return maps


class SameConvolution(Convolution):
    """A convolution padded as TensorFlow does: ceil(H / stride) rows come out, an odd pixel of padding goes behind."""

    def pad(self, maps: Tensor) -> Tensor:
        pads = []
        for length, size, stride in zip(maps.shape[:1:-1], self.kernel_size[::-1], self.stride[::-1], strict=True):
            total = max((-(-length // stride) - 1) * stride + size - length, 0)
            pads += [total // 2, total - total // 2]
        return F.pad(maps, pads)


class NormalizedConvolution(nn.Sequential):
    """A convolution, its batch normalization, and maybe an activation: the layers "0", "1" and "2".

    With statistics that are kept the normalization is a factor and an offset of each channel. Where the weights are
    fewer than the values of the map they are multiplied by it instead, which saves a pass over the map, and in training
    another one back.
    """

    def forward(self, maps: Tensor) -> Tensor:
        layer, norm = cast(Convolution, self[0]), cast(nn.BatchNorm2d, self[1])
        if norm.training or _is_costly(layer, maps):
            normalized: Tensor = norm(layer(maps))
        else:
            factor = norm.weight * (norm.get_buffer("running_var") + norm.eps).rsqrt()
            weight = layer.weight * factor[:, None, None, None]
            normalized = layer(maps, weight, norm.bias - norm.get_buffer("running_mean") * factor)
        _, _, *others = self
        for activation in others:
            normalized = activation(normalized)
        return normalized


def _is_costly(layer: nn.Conv2d, maps: Tensor) -> bool:
    """Whether a convolution has more weights than the map [N, C, H, W] that it makes of these has values."""
    places = len(maps) * maps.shape[2] * maps.shape[3] / math.prod(layer.stride)
    return layer.weight[0].numel() > places


def convolution(
    inputs: int, outputs: int, size: int, style: Style, *, stride: int = 1, groups: int = 1, activate: bool = True
) -> nn.Sequential:
    """A convolution, its normalization if the style has one, and ReLU6 if it is to `activate`."""
    same = style.same and stride > 1  # at stride 1 both ways pad alike
    kind = SameConvolution if same else Convolution
    padding = 0 if same else size // 2
    layers: list[nn.Module] = [kind(inputs, outputs, size, stride, padding, groups=groups, bias=style.epsilon is None)]
    if style.epsilon is not None:
        layers.append(nn.BatchNorm2d(outputs, eps=style.epsilon))
    if activate:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers) if style.epsilon is None else NormalizedConvolution(*layers)


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
