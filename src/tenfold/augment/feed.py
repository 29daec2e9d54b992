"""What a loader's batches are made of: canvases changed by a policy for training, or as they are.

Shapes: N images, C channels, R x S canvas pixels, H x W those of the training size, B boxes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.augment.apply import apply_normalized
from tenfold.augment.boxes import inverse_maps, move_many
from tenfold.augment.device import apply_on_device
from tenfold.augment.draw import Drawn as Plan
from tenfold.augment.draw import Size
from tenfold.augment.memory import Memory
from tenfold.augment.mix import NUMBERS, mix
from tenfold.augment.policy import Policy
from tenfold.augment.tree import Op, op
from tenfold.draws import uniforms
from tenfold.images.loader import Drawn
from tenfold.images.preprocess import Preprocessing, rectangle

_STRAIGHT = 1e-12  # what rounding leaves in the last row of a map without perspective


@dataclass(frozen=True)
class PolicyInput:
    """Canvases changed by a policy, and mixed where it says so. Callable as tenfold.images.loader.Augment.

    The affine maps that it gives are NaN where a perspective has left none.
    """

    policy: Policy
    """With the share of its mixing settled."""
    preprocessing: Preprocessing
    size: Callable[[int], int]
    """Epoch -> the size of that epoch's images, as Preprocessing.size is one."""
    mixes: tuple[str, ...]
    """Names of soft targets that may be mixed; with none there is no mixup and no CutMix."""
    threads: int = 1
    device: torch.device | None = None
    """Where torch makes the images, and where they stay; None: the compiled pass makes them, on the CPU."""
    boxes: tuple[str, ...] = ()
    """Names of targets that are boxes: float32 [N, B, 4], xyxy in pixels of the original image, rows of NaN where an
    image has fewer than B. They come out exact, in pixels of the images; NaN where less than `policy.visible` of one
    lies on the canvas, or of that in the image."""
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    """Where the images of a batch lie on the CPU; used again when they are gone."""

    def __call__(self, drawn: Drawn, epoch: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        policy, canvas = self.on_canvas, (drawn.canvases.shape[1], drawn.canvases.shape[2])
        plan = policy.draw(drawn.keys, *canvas, self.sides(epoch), self.preprocessing.channels)
        images = self._changed(drawn.canvases, plan)
        targets = {name: value[:-1] for name, value in drawn.targets.items()}
        for name in self.boxes:
            seen = boxes_on_canvas(targets[name], drawn.affine[:-1], canvas, policy.visible)
            targets[name] = torch.from_numpy(move_many(seen, plan.total[:-1], plan.size, policy.visible))
        mixing = policy.mix
        if self.mixes and mixing.share > 0 and (mixing.mixup > 0 or mixing.cutmix > 0):
            numbers = uniforms(drawn.keys[:-1], NUMBERS, policy.span)
            images, share = mix(images, mixing, numbers, self._space(len(numbers), plan.size, images.shape[1]))
            for name in self.mixes:
                value = drawn.targets[name]
                weight = share.reshape(-1, *[1] * (value.ndim - 1))
                targets[name] = value[:-1] * weight + value[1:] * (1 - weight)
        else:
            images = images[:-1]
        affine = moved_affine(plan.total, drawn.affine)[:-1]
        return images.contiguous(memory_format=torch.channels_last), targets, affine

    def sides(self, epoch: int) -> Size:
        """H and W of an epoch's images."""
        return rectangle(self.size(epoch), self.preprocessing.aspect)

    @cached_property
    def on_canvas(self) -> Policy:
        """The policy on canvases: one that crops has all of a canvas, another begins at what evaluation sees of it."""
        return on_canvas(self.policy, self.preprocessing)

    def _changed(self, canvases: NDArray[np.uint8], plan: Plan) -> Tensor:
        """Canvases uint8 [N, R, S, C] -> normalized images float32 [N, C, H, W]."""
        made, sampling = self.preprocessing, self.policy.sampling(self.threads)
        if self.device is not None:
            sent = torch.from_numpy(np.ascontiguousarray(canvases)).to(self.device)  # bytes, a quarter of the floats
            return apply_on_device(plan, sent.permute(0, 3, 1, 2), made.mean, made.std, sampling)
        pixels = self.memory.take((len(canvases), *plan.size, canvases.shape[3]))
        apply_normalized(plan, canvases, made.mean, made.std, "NHWC", sampling, out=pixels)
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)  # channels last in memory

    def _space(self, count: int, size: Size, channels: int) -> Tensor | None:
        """Memory for images [N, C, H, W], channels last; None on a device, which keeps its own."""
        if self.device is not None:
            return None
        return torch.from_numpy(self.memory.take((count, *size, channels))).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class PlainInput:
    """No augmentation: the centre of each canvas, normalized. Callable as tenfold.images.loader.Augment."""

    preprocessing: Preprocessing
    device: torch.device | None = None
    """Where the images are normalized, and where they stay; None: on the CPU."""
    boxes: tuple[str, ...] = ()
    """Names of targets that are boxes: see PolicyInput. One of which anything is seen is kept."""

    def __call__(self, drawn: Drawn, epoch: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        made = self.preprocessing
        pixels = np.ascontiguousarray(made.center(drawn.canvases[:-1]))
        affine = np.ascontiguousarray(made.center_affine(drawn.affine[:-1]))
        images = made.normalize(torch.from_numpy(pixels).to(self.device))
        targets = {name: value[:-1] for name, value in drawn.targets.items()}
        for name in self.boxes:
            targets[name] = torch.from_numpy(boxes_on_canvas(targets[name], affine, made.sides, 0.0))
        return images, targets, torch.from_numpy(affine)


def on_canvas(policy: Policy, preprocessing: Preprocessing) -> Policy:
    """The policy as it is to be applied to canvases: unless it always crops, their centre is taken first.

    What turns or shifts the centre then shows what lies beyond it on the canvas, before anything must be filled in.
    """
    (height, width), (rows, columns) = preprocessing.sides, preprocessing.canvas_sides
    across, down = columns - width, rows - height
    crops = any(isinstance(node, Op) and node.name == "crop" and node.probability == 1 for node in policy.ops)
    if across == down == 0 or crops:
        return policy
    center = [op("zoom", {"x": [across / width] * 2, "y": [down / height] * 2})]
    if across % 2 or down % 2:  # evaluation sees whole pixels: half a one further to the left and up than the middle
        center.insert(0, op("shift_pixels", {"x": [across % 2 / 2] * 2, "y": [down % 2 / 2] * 2}))
    return dataclasses.replace(policy, ops=(*center, *policy.ops))


def moved_affine(total: NDArray[np.float64], affine: NDArray[np.float32]) -> Tensor:
    """Maps output -> canvas [N, 3, 3] and original -> canvas [N, 2, 3] -> original -> output, float32 [N, 2, 3].

    NaN where there is no such map: under a perspective, and where an op has flattened the image.
    """
    moved = inverse_maps(total) @ _square(affine)
    moved[(np.abs(total[:, 2, :2]) > _STRAIGHT).any(1)] = np.nan
    return torch.from_numpy((moved[:, :2] / moved[:, 2:, 2:]).astype(np.float32))


def boxes_on_canvas(boxes: Tensor, affine: NDArray[np.float32], canvas: Size, visible: float) -> NDArray[np.float32]:
    """Boxes [N, B, 4] of the original images -> of canvases, whose height and width are `canvas`, as `move_many` does.

    `affine` [N, 2, 3] takes original to canvas. What a canvas does not show of a box, no output can.
    """
    return move_many(boxes.numpy(), inverse_maps(_square(affine)), canvas, visible)


def _square(affine: NDArray[np.float32]) -> NDArray[np.float64]:
    """[N, 2, 3] -> the same maps as float64 [N, 3, 3]."""
    last = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (len(affine), 1, 3))
    return np.concatenate([affine.astype(np.float64), last], 1)
