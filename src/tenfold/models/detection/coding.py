"""Box regression: what a network says of a box is where another one lies, seen from it.

    dx = (x* - x) / w    dy = (y* - y) / h    dw = log(w* / w)    dh = log(h* / h)

with the centers x, y and the sides w, h of a box, and those of the one it should become with a star: Girshick et al.,
"Rich feature hierarchies for accurate object detection and semantic segmentation", 2014, appendix C,
https://arxiv.org/abs/1311.2524. Each number is multiplied by a weight, which makes its spread over a training about 1.

Shapes: any number of leading dimensions; a box is xyxy in pixels, x1 < x2, y1 < y2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

Weights = tuple[float, float, float, float]
"""What dx, dy, dw and dh are multiplied by."""

PROPOSAL_WEIGHTS: Weights = (1.0, 1.0, 1.0, 1.0)
"""Of the region proposal network (Ren et al. 2015, section 3.1.2)."""
REGION_WEIGHTS: Weights = (10.0, 10.0, 5.0, 5.0)
"""Of the heads on regions: targets of spread 1, as Fast R-CNN has them (Girshick 2015, section 2.3)."""

LARGEST = math.log(1000 / 16)
"""dw and dh are cut here, so that no exponential runs away: a box becomes at most 62 times as wide."""


def encode_boxes(wanted_xyxy: Tensor, boxes_xyxy: Tensor, weights: Weights) -> Tensor:
    """What makes each of `boxes_xyxy` the one of `wanted_xyxy` at its place: float32 [..., 4] each -> [..., 4].

    Both need an area; without one the result is not finite.
    """
    center, sides = _center_and_sides(boxes_xyxy)
    wanted_center, wanted_sides = _center_and_sides(wanted_xyxy)
    moved = (wanted_center - center) / sides
    scaled = torch.log(wanted_sides / sides)
    return torch.cat([moved, scaled], -1) * moved.new_tensor(weights)


def decode_boxes(deltas: Tensor, boxes_xyxy: Tensor, weights: Weights) -> Tensor:
    """The inverse of `encode_boxes`: float32 [..., 4] each -> boxes [..., 4], which may reach out of the image."""
    center, sides = _center_and_sides(boxes_xyxy)
    plain = deltas / deltas.new_tensor(weights)
    new_center = center + plain[..., :2] * sides
    half = sides * torch.exp(plain[..., 2:].clamp(max=LARGEST)) / 2
    return torch.cat([new_center - half, new_center + half], -1)


def clip_boxes(boxes_xyxy: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes [..., 4] cut to an image of `size` (height, width); one that lies outside keeps no area."""
    height, width = size
    return torch.stack(
        [
            boxes_xyxy[..., 0].clamp(0, width),
            boxes_xyxy[..., 1].clamp(0, height),
            boxes_xyxy[..., 2].clamp(0, width),
            boxes_xyxy[..., 3].clamp(0, height),
        ],
        -1,
    )


def _center_and_sides(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """[..., 4] -> (x, y) and (w, h), [..., 2] each."""
    first, last = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return (first + last) / 2, last - first
