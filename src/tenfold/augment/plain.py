"""A plain augmentation for training from scratch: crop, rotation, shift, flip, colour, mixup and CutMix.

All geometry is one affine map, sampled once from the canvas; all colour and the normalization are one matrix.

Shapes: N images, C channels, S canvas pixels, T pixels of the training size, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from tenfold.draws import Keys, uniforms
from tenfold.images.loader import Drawn
from tenfold.images.preprocess import Preprocessing
from tenfold.recipe import AugmentSettings

_GEOMETRY, _COLOR, _MIX = 8, 4, 5  # numbers that each part may take from a key's stream, in this order
_LUMA = torch.tensor([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True)
class PlainAugmentation:
    """Callable as tenfold.images.loader.Augment."""

    settings: AugmentSettings
    preprocessing: Preprocessing
    flip: bool
    size: Callable[[int], int]
    """Epoch -> T, the size of that epoch's images."""
    mixes: tuple[str, ...]
    """Names of soft targets that may be mixed; with none there is no mixup and no CutMix."""

    def __call__(self, drawn: Drawn, epoch: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        matrix = crop_matrices(self.settings, self.flip, uniforms(drawn.keys, _GEOMETRY))
        if self.settings.scale == 1:  # no crop: what evaluation sees, the canvas's centre
            matrix[:, :, :2] *= self.preprocessing.size / self.preprocessing.canvas
        images, affine = resample(drawn.canvases, drawn.affine, matrix, self.size(epoch))
        images = recolor(images, self.preprocessing, self.settings.color, uniforms(drawn.keys, _COLOR, _GEOMETRY))
        targets = {name: value[:-1] for name, value in drawn.targets.items()}
        if self.mixes and self.settings.mix_share > 0 and (self.settings.mixup > 0 or self.settings.cutmix > 0):
            images, share = mix(images, self.settings, drawn.keys[:-1])
            for name in self.mixes:
                value = drawn.targets[name]
                weight = share.reshape(-1, *[1] * (value.ndim - 1))
                targets[name] = value[:-1] * weight + value[1:] * (1 - weight)
        else:
            images = images[:-1]
        return images.contiguous(memory_format=torch.channels_last), targets, affine[:-1]


@dataclass(frozen=True)
class PlainInput:
    """No augmentation: the centre of each canvas, normalized. Callable as tenfold.images.loader.Augment."""

    preprocessing: Preprocessing

    def __call__(self, drawn: Drawn, epoch: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        pixels = np.ascontiguousarray(self.preprocessing.center(drawn.canvases[:-1]))
        affine = np.ascontiguousarray(self.preprocessing.center_affine(drawn.affine[:-1]))
        images = self.preprocessing.normalize(torch.from_numpy(pixels))
        return images, {name: value[:-1] for name, value in drawn.targets.items()}, torch.from_numpy(affine)


def crop_matrices(settings: AugmentSettings, flip: bool, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """Random affine maps, output -> canvas, both with corners at -1 and 1: float64 [N, 2, 3] from numbers [N, 8]."""
    area, aspect, left, top, angle, shift_x, shift_y, mirror = numbers.T
    scale = np.sqrt(settings.scale + (1 - settings.scale) * area)
    stretch = np.exp((2 * aspect - 1) * math.log(settings.aspect) / 2)
    width, height = np.minimum(scale * stretch, 1), np.minimum(scale / stretch, 1)
    radians = np.deg2rad(settings.rotate) * (2 * angle - 1)
    cos, sin = np.cos(radians), np.sin(radians)
    sign = np.where(flip & (mirror < 0.5), -1.0, 1.0)
    x = (1 - width) * (2 * left - 1) + 2 * settings.shift * (2 * shift_x - 1)
    y = (1 - height) * (2 * top - 1) + 2 * settings.shift * (2 * shift_y - 1)
    rows = [[cos * width * sign, -sin * height, x], [sin * width * sign, cos * height, y]]
    return np.moveaxis(np.array(rows), 2, 0)


def resample(
    canvases: NDArray[np.uint8], affine: NDArray[np.float32], matrix: NDArray[np.float64], size: int
) -> tuple[Tensor, Tensor]:
    """Sample canvases uint8 [N, S, S, C] bilinearly at `matrix` [N, 2, 3]: float32 [N, C, T, T] from 0 to 255.

    Outside the canvas it is mirrored. Gives the maps from the original images to the output too: float32 [N, 2, 3].
    """
    theta = torch.from_numpy(matrix.astype(np.float32))
    pixels = torch.from_numpy(canvases).permute(0, 3, 1, 2).float()
    grid = F.affine_grid(theta, [len(matrix), canvases.shape[3], size, size], align_corners=False)
    images = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    to_unit = np.array([[2 / canvases.shape[2], 0, -1], [0, 2 / canvases.shape[1], -1], [0, 0, 1]])
    from_unit = np.array([[size / 2, 0, size / 2], [0, size / 2, size / 2], [0, 0, 1]])
    moved = from_unit @ np.linalg.inv(_square(matrix)) @ to_unit @ _square(affine.astype(np.float64))
    return images, torch.from_numpy(moved[:, :2].astype(np.float32))


def recolor(images: Tensor, preprocessing: Preprocessing, strength: float, numbers: NDArray[np.float64]) -> Tensor:
    """Brightness, contrast (about grey level 128) and saturation, then the normalization, as one matrix an image.

    `images` float32 [N, C, T, T] from 0 to 255; `numbers` [N, 4]. Values are not clipped to 0 to 255: the network
    needs no clipping, and the maps stay linear.
    """
    count, channels = images.shape[:2]
    change = torch.from_numpy((1 + strength * (2 * numbers - 1)).astype(np.float32))
    brightness, contrast, saturation = change[:, 0], change[:, 1], change[:, 2]
    matrix = torch.eye(channels).expand(count, channels, channels)
    if channels == 3:
        luma = _LUMA if preprocessing.channels == "rgb" else _LUMA.flip(0)
        grey = luma.expand(3, 3)
        matrix = matrix * saturation[:, None, None] + grey * (1 - saturation)[:, None, None]
    matrix = matrix * (brightness * contrast)[:, None, None]
    offset = (128 * (1 - contrast))[:, None].expand(count, channels)
    mean, std = torch.tensor(preprocessing.mean) * 255, torch.tensor(preprocessing.std) * 255
    matrix, offset = matrix / std[:, None], (offset - mean) / std
    flat = torch.baddbmm(offset[:, :, None], matrix, images.flatten(2))
    return flat.reshape(images.shape)


def mix(images: Tensor, settings: AugmentSettings, keys: Keys) -> tuple[Tensor, Tensor]:
    """Mix each image with the one after it: [N + 1, C, T, T] -> [N, C, T, T] and the share of the own label [N].

    mixup: Zhang et al. 2018, section 2. CutMix: Yun et al. 2019, section 3.1; the label's share is that of the
    pixels which stayed.
    """
    own, other = images[:-1], images[1:]
    numbers = uniforms(keys, _MIX, _GEOMETRY + _COLOR)
    mixed = numbers[:, 0] < settings.mix_share
    both = settings.mixup > 0 and settings.cutmix > 0
    cut = numbers[:, 1] < 0.5 if both else np.full(len(keys), settings.cutmix > 0)
    share = np.where(cut, _beta(numbers[:, 2], settings.cutmix), _beta(numbers[:, 2], settings.mixup))
    share = np.where(mixed, share, 1.0)
    boxes, kept = _cut_boxes(1 - share, numbers[:, 3], numbers[:, 4], images.shape[2])
    place = np.arange(images.shape[2])
    inside_x = (place >= boxes[:, 0, None]) & (place < boxes[:, 2, None])
    inside_y = (place >= boxes[:, 1, None]) & (place < boxes[:, 3, None])
    inside = inside_y[:, :, None] & inside_x[:, None, :]
    weight = np.where(cut[:, None, None], ~inside, share[:, None, None]).astype(np.float32)
    result = torch.lerp(other, own, torch.from_numpy(weight)[:, None])
    return result, torch.from_numpy(np.where(cut, kept, share).astype(np.float32))


def _beta(numbers: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Uniform numbers -> the symmetric Beta distribution, by its inverse."""
    if alpha in (0.0, 1.0):
        return numbers
    from scipy.special import betaincinv

    values: NDArray[np.float64] = betaincinv(alpha, alpha, numbers)
    return values


def _cut_boxes(
    area: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Boxes of a share `area` of the image about (x, y), clipped: xyxy int64 [N, 4]; and the share outside [N]."""
    half = np.sqrt(area) * size / 2
    corners = np.stack([x * size - half, y * size - half, x * size + half, y * size + half], 1)
    boxes = np.clip(np.round(corners), 0, size).astype(np.int64)
    covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return boxes, 1 - covered / size**2


def _square(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, 2, 3] -> [N, 3, 3]."""
    last = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (len(maps), 1, 3))
    return np.concatenate([maps, last], 1)
