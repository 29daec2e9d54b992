"""MobileFaceNet: a face of 112 x 112 pixels -> a vector whose directions tell people apart.

Shapes: N images, H x W pixels (112 x 112).

    images                                                     [N, 3, H, W]
    stem: convolution 3x3, stride 2                            [N, 64, H/2, W/2]
    separable: depthwise 3x3, convolution 1x1, ReLU            [N, 64, H/2, W/2]
    five rows of inverted residuals                            [N, 128, H/16, W/16]
    widen: convolution 1x1                                     [N, 512, H/16, W/16]
    embedding: each channel's own weighted mean over 7x7,
               then a linear layer                             [N, 128]

Chen et al., "MobileFaceNets: efficient CNNs for accurate real-time face verification on mobile devices", 2018, table 1
and section 3.1 (why no plain mean), https://arxiv.org/abs/1804.07573. Batch normalization is folded into the
convolutions and ReLU stands for PReLU, as in the published file, an ONNX graph that can only be run; its weights are
taken out of it here, so that they can be trained.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from tenfold.errors import UsageError
from tenfold.models.backbones.backbone import Backbone, of_imagenet
from tenfold.models.backbones.inverted_residual import Row, Style, convolution, convolution_names, make_rows
from tenfold.models.weights.read import Tensors

_ROWS = (Row(2, 64, 5, 2), Row(4, 128, 1, 2), Row(2, 128, 6, 1), Row(4, 128, 1, 2), Row(2, 128, 2, 1))
_STYLE = Style(same=False, epsilon=None)
_SIDE = 7
"""Pixels of the last map's side, which the embedding needs."""


class MobileFaceNet(Backbone):
    """Stem, separable convolution, five stages, widening, embedding; the width is 128."""

    def __init__(self, name: str) -> None:
        super().__init__(name, of_imagenet(112))
        self.stem = convolution(3, 64, 3, _STYLE, stride=2)
        self.separable = nn.Sequential(
            nn.Conv2d(64, 64, 3, padding=1, groups=64),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 1),
            nn.ReLU(inplace=True),
        )
        self.blocks = make_rows(64, _ROWS, _STYLE)
        self.widen = convolution(128, 512, 1, _STYLE)
        self.embedding = nn.Sequential(nn.Conv2d(512, 512, _SIDE, groups=512), nn.Conv2d(512, 128, 1), nn.Flatten())
        self.measure()
        self.width = 128

    def stages(self) -> list[nn.Module]:
        return [*self.chain(), self.embedding]

    def chain(self) -> list[nn.Module]:
        return [self.stem, self.separable, *self.blocks, self.widen]

    def features(self, images: Tensor) -> Tensor:
        """float32 [N, 3, 112, 112] -> the embedding, [N, 128]. Raises UsageError for another size."""
        for module in self.chain():
            images = module(images)
        if tuple(images.shape[2:]) != (_SIDE, _SIDE):
            raise UsageError(
                f"image.size must be {_SIDE * 16} for {self.name}, which embeds faces of that many pixels; a map of "
                f"{images.shape[2]} x {images.shape[3]} came, not {_SIDE} x {_SIDE}."
            )
        embedded: Tensor = self.embedding(images)
        return embedded

    def file_names(self, tensors: Tensors) -> Mapping[str, str]:
        """The graph's convolutions, in its order, are this network's in its own."""
        theirs = dict.fromkeys(key.rpartition(".")[0] for key in tensors)
        return dict(zip(theirs, convolution_names(self), strict=False))
