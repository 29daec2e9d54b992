"""Batch: what the loader gives and every model takes.

Shapes: N images, C channels, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

COPIES = "copy"
"""The name, among the targets of a part that has some, of which images are augmented copies: bool [N]."""
GROUPS = "group"
"""The name, among the targets of a part some of whose images belong together, of numbers equal for those: int64 [N]."""


@dataclass(frozen=True)
class Batch:
    """Images with their targets, and the way back from pixels to the original images."""

    images: Tensor
    """float32 [N, C, H, W], normalized, channels last in memory."""
    targets: dict[str, Tensor]
    """What the task's `targets` gives for these samples, the first dimension N; class labels are soft: [N, K]."""
    rows: NDArray[np.int64]
    """[N], positions in the Table that the loader reads."""
    keys: NDArray[np.uint64]
    """[N], the draw key of each image: see draws.py."""
    affine: Tensor
    """float32 [N, 2, 3]: (x, y) of the original upright image -> (x, y) of `images`, pixel edges at integers; NaN where
    a policy's perspective leaves no such map."""

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def judged(self) -> NDArray[np.bool_]:
        """Which of them are images, by which something may be chosen, and not augmented copies: [N]."""
        copies = self.targets.get(COPIES)
        return np.ones(len(self), np.bool_) if copies is None else ~copies.cpu().numpy()

    @property
    def groups(self) -> NDArray[np.int64]:
        """Equal numbers for images that belong together, as copies of one do, here and in other batches: [N]."""
        numbers = self.targets.get(GROUPS)
        return self.rows if numbers is None else numbers.cpu().numpy()

    def to(self, device: torch.device) -> Batch:
        """The same batch with its tensors on `device`."""
        targets = {name: value.to(device, non_blocking=True) for name, value in self.targets.items()}
        images = self.images.to(device, non_blocking=True)
        return Batch(images, targets, self.rows, self.keys, self.affine.to(device))
