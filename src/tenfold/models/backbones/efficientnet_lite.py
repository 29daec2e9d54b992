"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, ReLU6 for Swish, stem and head not scaled.

Shapes: N images, H x W pixels; the numbers are those of Lite0.

    images                                       [N, 3, H, W]
    stem: convolution 3x3, stride 2              [N, 32, H/2, W/2]
    seven rows of inverted residuals             [N, 320, H/32, W/32]
    head: convolution 1x1                        [N, 1280, H/32, W/32]

Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks", 2019, table 1 and section 3.3,
https://arxiv.org/abs/1905.11946; the Lite versions: https://github.com/tensorflow/tpu/tree/master/models/official/
efficientnet/lite. Weights in the names of the Python packages and in those of timm's `tf_efficientnet_lite*`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from tenfold.models.backbones.backbone import Backbone, to_plus_minus_one
from tenfold.models.backbones.inverted_residual import Row, Style, convolution, make_rows
from tenfold.models.weights.read import Tensors

_B0 = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 40, 2, 2, 5),
    Row(6, 80, 3, 2),
    Row(6, 112, 3, 1, 5),
    Row(6, 192, 4, 2, 5),
    Row(6, 320, 1, 1),
)
_STYLE = Style(same=True, epsilon=1e-3)


class _Scale(NamedTuple):
    width: float
    depth: float
    size: int
    """Pixels of the images that it was trained on."""


_SCALES = {
    "efficientnet-lite0": _Scale(1.0, 1.0, 224),
    "efficientnet-lite1": _Scale(1.0, 1.1, 240),
    "efficientnet-lite2": _Scale(1.1, 1.2, 260),
}


class EfficientNetLite(Backbone):
    """Stem, seven stages, head."""

    classifier = ("_fc.", "classifier.")

    def __init__(self, name: str) -> None:
        scale = _SCALES[name]
        super().__init__(name, to_plus_minus_one(scale.size, filter="cubic"))
        rows = _scaled(scale)
        self.stem = convolution(3, 32, 3, _STYLE, stride=2)
        self.blocks = make_rows(32, rows, _STYLE)
        self.head = convolution(rows[-1].outputs, 1280, 1, _STYLE)
        self.measure()

    def stages(self) -> list[nn.Module]:
        return [self.stem, *self.blocks, self.head]

    def file_names(self, tensors: Tensors) -> Mapping[str, str]:
        return self._of_package() if "_conv_stem.weight" in tensors else self._of_timm()

    def _of_package(self) -> dict[str, str]:
        """ "_blocks.4._bn1" -> "blocks.2.1.depthwise.1": blocks are numbered through."""
        names = {"_conv_stem": "stem.0", "_bn0": "stem.1", "_conv_head": "head.0", "_bn1": "head.1"}
        parts = {
            **{"_expand_conv": "expand.0", "_bn0": "expand.1", "_depthwise_conv": "depthwise.0"},
            **{"_bn1": "depthwise.1", "_project_conv": "project.0", "_bn2": "project.1"},
        }
        for place, block in enumerate(self._block_names()):
            names |= {f"_blocks.{place}.{theirs}": f"{block}.{ours}" for theirs, ours in parts.items()}
        return names

    def _of_timm(self) -> dict[str, str]:
        """ "blocks.2.1.bn2" -> "blocks.2.1.depthwise.1"; the first row, which does not expand, counts from there."""
        names = {"conv_stem": "stem.0", "bn1": "stem.1", "conv_head": "head.0", "bn2": "head.1"}
        first = {"conv_dw": "depthwise.0", "bn1": "depthwise.1", "conv_pw": "project.0", "bn2": "project.1"}
        other = {
            **{"conv_pw": "expand.0", "bn1": "expand.1", "conv_dw": "depthwise.0", "bn2": "depthwise.1"},
            **{"conv_pwl": "project.0", "bn3": "project.1"},
        }
        for block in self._block_names():
            parts = first if block.startswith("blocks.0.") else other
            names |= {f"{block}.{theirs}": f"{block}.{ours}" for theirs, ours in parts.items()}
        return names

    def _block_names(self) -> list[str]:
        return [f"blocks.{row}.{place}" for row, blocks in enumerate(self.blocks) for place in range(len(blocks))]  # type: ignore[arg-type]


def _scaled(scale: _Scale) -> tuple[Row, ...]:
    """Table 1, wider and deeper; the first and the last row keep their depth."""
    last = len(_B0) - 1
    return tuple(
        row._replace(
            outputs=_round_to_eight(row.outputs * scale.width),
            blocks=row.blocks if place in (0, last) else math.ceil(row.blocks * scale.depth),
        )
        for place, row in enumerate(_B0)
    )


def _round_to_eight(channels: float) -> int:
    """The nearest multiple of 8 that takes away no more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * channels else rounded + 8
