"""MobileNetV2.

Shapes: N images, H x W pixels.

    images                                       [N, 3, H, W]
    stem: convolution 3x3, stride 2              [N, 32, H/2, W/2]
    seven rows of inverted residuals             [N, 320, H/32, W/32]
    head: convolution 1x1                        [N, 1280, H/32, W/32]

Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018, table 2,
https://arxiv.org/abs/1801.04381. Weights in torchvision's names. Google's own, "mobilenetv2-google", were trained on
pixels / 127.5 - 1 with TensorFlow's padding, which matters (of 150 photos of daisies they name 85 % with it and 81 %
padded evenly, log loss 0.68 and 1.09), and come with their batch normalization folded into the convolutions.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from tenfold.errors import DataError
from tenfold.models.backbones.backbone import Backbone, is_folded, of_imagenet, to_plus_minus_one
from tenfold.models.backbones.inverted_residual import Row, Style, convolution, make_rows
from tenfold.models.weights.read import Tensors

_ROWS = (
    Row(1, 16, 1, 1),
    Row(6, 24, 2, 2),
    Row(6, 32, 3, 2),
    Row(6, 64, 4, 2),
    Row(6, 96, 3, 1),
    Row(6, 160, 3, 2),
    Row(6, 320, 1, 1),
)
_STYLES = {"mobilenetv2": Style(same=False, epsilon=1e-5), "mobilenetv2-google": Style(same=True, epsilon=1e-5)}


class MobileNetV2(Backbone):
    """Stem, seven stages, head."""

    classifier = ("classifier.",)

    def __init__(self, name: str) -> None:
        style = _STYLES[name]
        super().__init__(name, to_plus_minus_one(224) if style.same else of_imagenet(224))
        self.stem = convolution(3, 32, 3, style, stride=2)
        self.blocks = make_rows(32, _ROWS, style)
        self.head = convolution(320, 1280, 1, style)
        self.measure()

    def stages(self) -> list[nn.Module]:
        return [self.stem, *self.blocks, self.head]

    def take_tensors(self, tensors: Tensors, file: Path) -> None:
        super().take_tensors(tensors, file)
        norm = self.stem[1]
        assert isinstance(norm, nn.BatchNorm2d)
        if is_folded(norm) != (self.name == "mobilenetv2-google"):
            other = next(name for name in _STYLES if name != self.name)
            raise DataError(
                f"The weights {file} have batch normalization that is {'' if is_folded(norm) else 'not '}folded, so "
                f"they want other padding and colors than {self.name}; name the backbone {other}."
            )

    def file_names(self, tensors: Tensors) -> Mapping[str, str]:
        """ "features.3.conv.1.0" -> "blocks.1.1.depthwise.0": stem, blocks and head are numbered through."""
        names: dict[str, str] = {}
        for place in (0, 1):
            names |= {f"features.0.{place}": f"stem.{place}", f"features.18.{place}": f"head.{place}"}
        first = {"0.0": "depthwise.0", "0.1": "depthwise.1", "1": "project.0", "2": "project.1"}
        other = {
            **{"0.0": "expand.0", "0.1": "expand.1", "1.0": "depthwise.0", "1.1": "depthwise.1"},
            **{"2": "project.0", "3": "project.1"},
        }
        blocks = [f"blocks.{row}.{place}" for row, made in enumerate(_ROWS) for place in range(made.blocks)]
        for number, block in enumerate(blocks, start=1):
            parts = first if number == 1 else other
            names |= {f"features.{number}.conv.{theirs}": f"{block}.{ours}" for theirs, ours in parts.items()}
        return names
