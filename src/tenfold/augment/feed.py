"""What a loader's batches are made of: canvases changed by a policy for training, or as they are.

Shapes: N images, C channels, S canvas pixels of a side, T those of the training size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.augment.apply import apply_normalized
from tenfold.augment.mix import NUMBERS, mix
from tenfold.augment.policy import Policy
from tenfold.augment.tree import Op, op
from tenfold.draws import uniforms
from tenfold.images.loader import Drawn
from tenfold.images.preprocess import Preprocessing


@dataclass(frozen=True)
class PolicyInput:
    """Canvases changed by a policy, and mixed where it says so. Callable as tenfold.images.loader.Augment."""

    policy: Policy
    """With the share of its mixing settled."""
    preprocessing: Preprocessing
    size: Callable[[int], int]
    """Epoch -> T, the size of that epoch's images."""
    mixes: tuple[str, ...]
    """Names of soft targets that may be mixed; with none there is no mixup and no CutMix."""
    threads: int = 1

    def __call__(self, drawn: Drawn, epoch: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        side, policy, made = self.size(epoch), self.on_canvas, self.preprocessing
        height, width = drawn.canvases.shape[1:3]
        plan = policy.draw(drawn.keys, height, width, (side, side), made.channels)
        pixels = apply_normalized(plan, drawn.canvases, made.mean, made.std, "NHWC", policy.sampling(self.threads))
        images = torch.from_numpy(pixels).permute(0, 3, 1, 2)  # channels last in memory
        targets = {name: value[:-1] for name, value in drawn.targets.items()}
        mixing = policy.mix
        if self.mixes and mixing.share > 0 and (mixing.mixup > 0 or mixing.cutmix > 0):
            numbers = uniforms(drawn.keys[:-1], NUMBERS, sum(node.span for node in policy.ops))
            images, share = mix(images, mixing, numbers)
            for name in self.mixes:
                value = drawn.targets[name]
                weight = share.reshape(-1, *[1] * (value.ndim - 1))
                targets[name] = value[:-1] * weight + value[1:] * (1 - weight)
        else:
            images = images[:-1]
        affine = moved_affine(plan.total, drawn.affine)[:-1]
        return images.contiguous(memory_format=torch.channels_last), targets, affine

    @cached_property
    def on_canvas(self) -> Policy:
        """The policy on canvases: one that crops has all of a canvas, another begins at what evaluation sees of it."""
        return on_canvas(self.policy, self.preprocessing)


@dataclass(frozen=True)
class PlainInput:
    """No augmentation: the centre of each canvas, normalized. Callable as tenfold.images.loader.Augment."""

    preprocessing: Preprocessing

    def __call__(self, drawn: Drawn, epoch: int) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        pixels = np.ascontiguousarray(self.preprocessing.center(drawn.canvases[:-1]))
        affine = np.ascontiguousarray(self.preprocessing.center_affine(drawn.affine[:-1]))
        images = self.preprocessing.normalize(torch.from_numpy(pixels))
        return images, {name: value[:-1] for name, value in drawn.targets.items()}, torch.from_numpy(affine)


def on_canvas(policy: Policy, preprocessing: Preprocessing) -> Policy:
    """The policy as it is to be applied to canvases: unless it always crops, their centre is taken first.

    What turns or shifts the centre then shows what lies beyond it on the canvas, before anything must be filled in.
    """
    larger = preprocessing.canvas / preprocessing.size - 1
    crops = any(isinstance(node, Op) and node.name == "crop" and node.probability == 1 for node in policy.ops)
    if larger == 0 or crops:
        return policy
    center = op("zoom", [larger, larger])
    return dataclasses.replace(policy, ops=(center, *policy.ops))


def moved_affine(total: NDArray[np.float64], affine: NDArray[np.float32]) -> Tensor:
    """Maps output -> canvas [N, 3, 3] and original -> canvas [N, 2, 3] -> original -> output, float32 [N, 2, 3].

    Of a perspective it is the affine part only.
    """
    last = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (len(affine), 1, 3))
    square = np.concatenate([affine.astype(np.float64), last], 1)
    moved = np.linalg.inv(total) @ square
    return torch.from_numpy((moved[:, :2] / moved[:, 2:, 2:]).astype(np.float32))
