"""Mixing of images and of their soft labels: mixup and CutMix.

Shapes: N images, C channels, T pixels of a side.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.augment.policy import Mix

NUMBERS = 5
"""How many random numbers an image's mixing takes."""


def mix(images: Tensor, mixing: Mix, numbers: NDArray[np.float64], out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mix each image with the one after it: [N + 1, C, T, T] -> [N, C, T, T] and the share of the own label [N].

    `numbers` [N, 5], each from 0 to 1; `mixing.share` must be settled. The images stay on their device and are written
    to `out` where given; the shares are on the CPU, as targets are. mixup: Zhang et al. 2018, section 2. CutMix: Yun et
    al. 2019, section 3.1; the label's share is that of the pixels which stayed.
    """
    own, other = images[:-1], images[1:]
    mixed = numbers[:, 0] < mixing.share
    both = mixing.mixup > 0 and mixing.cutmix > 0
    cut = numbers[:, 1] < 0.5 if both else np.full(len(numbers), mixing.cutmix > 0)
    share = np.where(cut, _beta(numbers[:, 2], mixing.cutmix), _beta(numbers[:, 2], mixing.mixup))
    share = np.where(mixed, share, 1.0)
    boxes, kept = _cut_boxes(1 - share, numbers[:, 3], numbers[:, 4], images.shape[2])
    weight = torch.from_numpy(np.where(cut, 1.0, share).astype(np.float32)).to(images.device)
    result = torch.lerp(other, own, weight[:, None, None, None], out=out)
    for row in np.flatnonzero(cut & (kept < 1)).tolist():
        x1, y1, x2, y2 = boxes[row].tolist()
        result[row, :, y1:y2, x1:x2] = other[row, :, y1:y2, x1:x2]
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
