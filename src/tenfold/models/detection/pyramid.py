"""Feature pyramid: maps of one width at several strides, each with the meaning of the coarsest.

Shapes: N images, C_i channels and H_i x W_i places of level i, W0 = width.

    maps of the backbone, fine to coarse       [N, C_i, H_i, W_i]
    1x1 to the width, plus the coarser level   [N, W0, H_i, W_i]
    3x3 against the traces of enlarging        [N, W0, H_i, W_i]

Lin et al., "Feature pyramid networks for object detection", 2017, section 3, https://arxiv.org/abs/1612.03144.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn


class Pyramid(nn.Module):
    """The way down from the coarsest map, with what each finer one adds from the side."""

    def __init__(self, channels: Sequence[int], width: int) -> None:
        super().__init__()
        self.sideways = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        for layer in (*self.sideways, *self.smooth):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        levels = [layer(level) for layer, level in zip(self.sideways, maps, strict=True)]
        for place in range(len(levels) - 2, -1, -1):
            finer = levels[place]
            levels[place] = finer + F.interpolate(levels[place + 1], size=finer.shape[2:], mode="nearest")
        return [layer(level) for layer, level in zip(self.smooth, levels, strict=True)]
