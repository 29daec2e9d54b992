"""Mixing of images and of their soft labels: mixup and CutMix.

Shapes: N images H x W, C channels; K classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.augment.mix_settings import Mix
from tenfold.draws import Keys, uniforms
from tenfold.errors import UsageError

NUMBERS = 5
"""How many random numbers an image's mixing takes."""


class Mixed(NamedTuple):
    """A batch after mixing."""

    images: Tensor
    """[N, C, H, W], of the dtype that came in."""
    labels: Tensor
    """float32 [N, K]"""
    shares: Tensor
    """float32 [N]: how much of each image is its own."""


def mix(images: Tensor, mixing: Mix, numbers: NDArray[np.float64], out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Mix each image with the one after it: [N + 1, C, H, W] -> [N, C, H, W] and the share of the own label [N].

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
    boxes, kept = _cut_boxes(1 - share, numbers[:, 3], numbers[:, 4], (images.shape[2], images.shape[3]))
    weight = torch.from_numpy(np.where(cut, 1.0, share).astype(np.float32)).to(images.device)
    result = torch.lerp(other, own, weight[:, None, None, None], out=out)
    for row in np.flatnonzero(cut & (kept < 1)).tolist():
        x1, y1, x2, y2 = boxes[row].tolist()
        result[row, :, y1:y2, x1:x2] = other[row, :, y1:y2, x1:x2]
    return result, torch.from_numpy(np.where(cut, kept, share).astype(np.float32))


def mix_tensors(images: Tensor, labels: Tensor, keys: Keys, mixing: Mix, first: int) -> Mixed:
    """Mix a batch [N, C, H, W], uint8 or float32, and its soft labels float32 [N, K], each with the one after it.

    The last is mixed with the first. `first` is the number of the keys' streams with which mixing begins:
    `policy.span`. Raises UsageError where the share is not settled, or for another form of images, labels or keys.
    """
    if images.ndim != 4 or images.dtype not in (torch.uint8, torch.float32):
        raise UsageError(f"Images to mix must be a batch of uint8 or float32, not {_form(images)}.")
    if labels.ndim != 2 or not len(images) == len(labels) == len(keys):
        raise UsageError(
            f"{len(images)} images to mix need as many keys and soft labels [N, K], not {len(keys)} keys and labels "
            f"{list(labels.shape)}."
        )
    if not (mixing.is_on and len(images)):
        return Mixed(images, labels, torch.ones(len(images)))
    if mixing.share == -1:
        raise UsageError(
            "The policy leaves the share of the images that are mixed to training; give share, from 0 to 1 (tenfold "
            "train takes 0.25 from 20 epochs on and 0.5 from 40)."
        )
    whole = images.float() if images.dtype == torch.uint8 else images
    pixels, shares = mix(torch.cat([whole, whole[:1]]), mixing, uniforms(keys, NUMBERS, first))
    weights = shares.to(labels.device)[:, None]
    soft = labels * weights + labels.roll(-1, 0) * (1 - weights)
    return Mixed(pixels.round().to(torch.uint8) if images.dtype == torch.uint8 else pixels, soft, shares)


def mix_arrays(
    images: NDArray[Any], labels: NDArray[Any], keys: Keys, mixing: Mix, first: int, classes: int
) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[np.float32]]:
    """The same for arrays: images uint8 or float32 [N, H, W, C], labels as `soft_labels` takes them."""
    given = np.asarray(labels)
    if given.dtype.kind not in "iuf":
        raise UsageError(f"Labels to mix must be numbers, not {given.dtype} {list(given.shape)}.")
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32):
        raise UsageError(
            f"Images to mix must be uint8 or float32 [N, H, W, C], not {images.dtype} {list(images.shape)}."
        )
    soft = soft_labels(torch.from_numpy(given.astype(np.float32 if given.dtype.kind == "f" else np.int64)), classes)
    mixed = mix_tensors(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2), soft, keys, mixing, first)
    pixels = np.ascontiguousarray(mixed.images.permute(0, 2, 3, 1).numpy())
    return pixels, mixed.labels.numpy(), mixed.shares.numpy()


def soft_labels(labels: Tensor, classes: int) -> Tensor:
    """Whole numbers [N] below `classes` as one-hot float32 [N, K]; labels [N, K] that are floats already as float32."""
    if labels.ndim == 2 and labels.is_floating_point():
        return labels.float()
    whole = labels.ndim == 1 and not (labels.is_floating_point() or labels.dtype == torch.bool)
    if not whole or classes < 1 or (len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes):
        raise UsageError(
            f"Labels to mix must be floats [N, K], or whole numbers [N] from 0 to classes - 1 with classes given, "
            f"not {_form(labels)} with classes {classes}."
        )
    return torch.nn.functional.one_hot(labels.long(), classes).float()


def _form(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)}"


def _beta(numbers: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Uniform numbers -> the symmetric Beta distribution, by its inverse."""
    if alpha in (0.0, 1.0):
        return numbers
    from scipy.special import betaincinv

    values: NDArray[np.float64] = betaincinv(alpha, alpha, numbers)
    return values


def _cut_boxes(
    area: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Boxes of a share `area` of the image about (x, y), clipped: xyxy int64 [N, 4]; and the share outside [N].

    `size` is the image's height and width; a box has its shape.
    """
    height, width = size
    half_x, half_y = np.sqrt(area) * width / 2, np.sqrt(area) * height / 2
    corners = np.stack([x * width - half_x, y * height - half_y, x * width + half_x, y * height + half_y], 1)
    boxes = np.clip(np.round(corners), 0, [width, height, width, height]).astype(np.int64)
    covered = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return boxes, 1 - covered / (height * width)
