"""VGG-16, as the lecture uses it: the convolutional part is kept, the fully connected layers are off.

Shapes: N images, H x W pixels.

    images                                           [N, 3, H, W]
    block 1: two convolutions 3x3                    [N, 64, H, W]
    block 2: pool 2x2, two convolutions              [N, 128, H/2, W/2]
    block 3: pool, three convolutions                [N, 256, H/4, W/4]
    block 4: pool, three convolutions                [N, 512, H/8, W/8]
    block 5: pool, three convolutions                [N, 512, H/16, W/16]
    pool                                             [N, 512, H/32, W/32]

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015, table 1, column D,
https://arxiv.org/abs/1409.1556. Weights in the names of torchvision and timm, which train on ImageNet's colors, or of
Keras, whose files hold the authors' own: blue, green and red minus their means, not scaled. torchvision also gives out
a file of the convolutions alone, from an SSD, which wants such colors too; only its hash tells it from the other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import nn

from tenfold.models.backbones.backbone import Backbone, of_imagenet
from tenfold.models.backbones.inverted_residual import convolution_names
from tenfold.models.weights.places import file_hash
from tenfold.models.weights.read import Tensors

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_TORCH = [f"features.{place}" for place in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
_KERAS = [f"block{b}_conv{c}" for b, block in enumerate(_BLOCKS, 1) for c in range(1, len(block) + 1)]
_KERAS_3 = ["conv2d", *(f"conv2d_{place}" for place in range(1, len(_KERAS)))]

AUTHORS = of_imagenet(
    224,
    channels="bgr",
    mean=(103.939 / 255, 116.779 / 255, 123.68 / 255),
    std=(1 / 255, 1 / 255, 1 / 255),
    origin="of the pretrained weights: blue, green and red minus 103.939, 116.779 and 123.68, not scaled",
)
"""The preprocessing of the authors' weights (`keras.applications.vgg16.preprocess_input`)."""

CONVOLUTIONS = "88682ab5"
"""How the sha256 of vgg16_features-amdegroot-88682ab5.pth begins, torchvision's `VGG16_Weights.IMAGENET1K_FEATURES`."""
UNSCALED = of_imagenet(
    224,
    mean=(0.48235, 0.45882, 0.40784),
    std=(1 / 255, 1 / 255, 1 / 255),
    origin="of the pretrained weights: red, green and blue minus 123, 117 and 104, not scaled",
)
"""The preprocessing of that file, as torchvision states it."""


class VGG16(Backbone):
    """Five blocks of convolutions; the last map is that after the last pool."""

    classifier = ("classifier.", "pre_logits.", "head.", "fc", "predictions", "dense")

    def __init__(self, name: str) -> None:
        super().__init__(name, of_imagenet(224))
        inputs = 3
        self.blocks = nn.ModuleList()
        for place, block in enumerate(_BLOCKS):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if place else []
            for outputs in block:
                layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
                inputs = outputs
            self.blocks.append(nn.Sequential(*layers))
        self.pool = nn.MaxPool2d(2)
        self.measure()

    def stages(self) -> list[nn.Module]:
        return list(self.blocks)

    def chain(self) -> list[nn.Module]:
        return [*self.blocks, self.pool]

    def take_tensors(self, tensors: Tensors, file: Path) -> None:
        super().take_tensors(tensors, file)
        if file.suffix.lower() in (".h5", ".hdf5"):
            self.preprocessing = AUTHORS
        else:
            self.preprocessing = UNSCALED if file_hash(file).startswith(CONVOLUTIONS) else of_imagenet(224)

    def file_names(self, tensors: Tensors) -> Mapping[str, str]:
        theirs = next((names for names in (_KERAS, _KERAS_3) if f"{names[0]}.weight" in tensors), _TORCH)
        return dict(zip(theirs, convolution_names(self), strict=True))
