"""Anchors: the boxes that a region proposal network starts from, some at each place of each map.

Ren et al., "Faster R-CNN: towards real-time object detection with region proposal networks", 2015, section 3.1.1,
https://arxiv.org/abs/1506.01497. There they have three sizes and three ratios, set by hand for photos of 600 px; here
they are fitted to the boxes of the training part, as they lie in the network's input.

Shapes: L maps (levels), A anchors at a place, B boxes, H x W places of a map; a shape is (width, height) in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LEAST, _BETWEEN = 4.0, 5.66
"""A level of stride s is for boxes whose sides, as the root of their area, are 4 s to 8 s; their middle is 5.66 s."""
_ENOUGH = 5
"""A level's shapes are fitted to at least so many boxes an anchor; with fewer it keeps the usual ones."""
_ROUNDS = 100


class Anchors(nn.Module):
    """The anchor shapes of each level; they are part of a model's state, since its weights are good for them only."""

    def __init__(self, strides: Sequence[int], each: int) -> None:
        """`strides` of the levels, fine to coarse; `each` is A. The shapes are the usual ones until `fit`."""
        super().__init__()
        self.strides, self.each = tuple(strides), each
        self.shapes: Tensor
        self.fitted: Tensor
        self.register_buffer("shapes", usual_shapes(self.strides, each))
        self.register_buffer("fitted", torch.zeros(3))
        # Boxes that the shapes were fitted to, the mean IoU of these with their best shape, and with the usual ones.

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps [N, C, H, W] of the levels -> their anchors float32 [H * W * A, 4], the anchors of a place together."""
        return [
            place_anchors(shapes, (level.shape[2], level.shape[3]), stride)
            for shapes, level, stride in zip(self.shapes, maps, self.strides, strict=True)
        ]

    @torch.no_grad()
    def fit(self, sides: Tensor, labels: Tensor) -> None:
        """Take the shapes of boxes, float32 [B, 2] (width, height) in input pixels, of the classes int64 [B]."""
        if not len(sides):
            return
        usual = self.shapes.new_tensor(usual_shapes(self.strides, self.each).tolist())
        shapes = fit_anchors(sides, labels, self.strides, self.each)
        quality = [float(best_overlap(sides, found).mean()) for found in (shapes, usual)]
        self.shapes.copy_(shapes)
        self.fitted.copy_(torch.tensor([float(len(sides)), *quality]))

    def describe(self) -> str:
        """What the anchors are and where they come from, in a sentence for people."""
        of_levels = (
            f"{', '.join(f'{width:.0f}x{height:.0f}' for width, height in shapes.tolist())} at stride {stride}"
            for shapes, stride in zip(self.shapes, self.strides, strict=True)
        )
        boxes, fitted, usual = self.fitted.tolist()
        text = f"{'; '.join(of_levels)} px"
        if not boxes:
            return f"the usual anchor boxes, width x height: {text}"
        quality = f"a box's best one overlaps it by {fitted:.2f} (IoU, mean), with the usual ones {usual:.2f}"
        return f"anchor boxes fitted to the {boxes:.0f} boxes of the training part, width x height: {text}; {quality}"


def usual_shapes(strides: Sequence[int], each: int) -> Tensor:
    """Shapes for boxes of which nothing is known, float32 [L, A, 2]: heights 1/2, 1 and 2 times the width.

    Three are of one size, that in the middle of the level's; every three more are twice as large as those before.
    """
    place = torch.arange(each)
    ratio = 2.0 ** (place % 3 - 1) if each > 1 else torch.ones(1)
    size = _BETWEEN * 2.0 ** (place // 3)
    shapes = torch.stack([size / ratio.sqrt(), size * ratio.sqrt()], -1)
    return torch.tensor(strides, dtype=torch.float32)[:, None, None] * shapes


def fit_anchors(sides: Tensor, labels: Tensor, strides: Sequence[int], each: int) -> Tensor:
    """Shapes float32 [L, A, 2] fitted to boxes of `sides` float32 [B, 2] (width, height) and classes int64 [B].

    Each box belongs to the level that is for its size, the finest and the coarsest taking what is smaller and larger.
    A level's shapes are the centers of its boxes by k-means with 1 - IoU as the distance (Redmon and Farhadi,
    "YOLO9000: better, faster, stronger", 2016, section 2, https://arxiv.org/abs/1612.08242), each class weighing the
    same, sorted by area. A level with few boxes has its `usual_shapes`. Nothing is random.
    """
    shapes = usual_shapes(strides, each).to(sides.device)
    weights = 1.0 / labels.bincount(minlength=1).clamp(min=1)[labels]
    level = _levels(sides, strides)
    for place in range(len(strides)):
        own = level == place
        if own.sum() >= _ENOUGH * each:
            shapes[place] = _cluster(sides[own], weights[own], each)
    return shapes


def place_anchors(shapes: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Shapes [A, 2] around the middle of each of the places H x W of a map: xyxy [H * W * A, 4], input pixels."""
    height, width = size
    y = (torch.arange(height, device=shapes.device, dtype=shapes.dtype) + 0.5) * stride
    x = (torch.arange(width, device=shapes.device, dtype=shapes.dtype) + 0.5) * stride
    center = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], -1)  # [H, W, 2]
    corners = torch.cat([-shapes, shapes], 1) / 2  # [A, 4]
    return (center.repeat(1, 1, 2)[:, :, None] + corners).reshape(-1, 4)


def shape_iou(sides: Tensor, shapes: Tensor) -> Tensor:
    """IoU of boxes with one center: (width, height) [B, 2] and [A, 2] -> [B, A]."""
    shared = torch.minimum(sides[:, None], shapes).prod(2)
    return shared / (sides.prod(1)[:, None] + shapes.prod(1) - shared)


def best_overlap(sides: Tensor, shapes: Tensor) -> Tensor:
    """The IoU of each box of `sides` [B, 2] with the best of the shapes [L, A, 2], their centers on it: [B]."""
    return shape_iou(sides, shapes.flatten(0, 1)).amax(1)


def _levels(sides: Tensor, strides: Sequence[int]) -> Tensor:
    """The level that is for each box: int64 [B]."""
    size = sides.prod(1).sqrt()[:, None]
    least = _LEAST * torch.tensor(strides, device=sides.device)
    return ((size >= least).sum(1) - 1).clamp(min=0)


def _cluster(sides: Tensor, weights: Tensor, count: int) -> Tensor:
    """Weighted k-means of boxes [B, 2] by IoU: [count, 2], sorted by area.

    It starts from quantiles of the area, and from those of the ratio; the better result counts.
    """
    wanted = (torch.arange(count, device=sides.device) + 0.5) / count
    found: list[tuple[float, Tensor]] = []
    for value in (sides.prod(1), sides[:, 1] / sides[:, 0]):
        order = value.argsort(stable=True)
        share = weights[order].cumsum(0) / weights.sum()
        start = sides[order][torch.searchsorted(share, wanted).clamp(max=len(sides) - 1)]
        centers = _move_centers(sides, weights, start)
        found.append((float((shape_iou(sides, centers).amax(1) * weights).sum()), centers))
    _, centers = max(found, key=lambda pair: pair[0])
    return centers[centers.prod(1).argsort(stable=True)]


def _move_centers(sides: Tensor, weights: Tensor, centers: Tensor) -> Tensor:
    """Each center to the geometric mean of the boxes that overlap it most, until none moves; one without stays."""
    count = len(centers)
    for _ in range(_ROUNDS):
        nearest = shape_iou(sides, centers).argmax(1)
        mass = weights.new_zeros(count).index_add(0, nearest, weights)
        sums = sides.new_zeros(count, 2).index_add(0, nearest, sides.log() * weights[:, None])
        moved = torch.where(mass[:, None] > 0, (sums / mass[:, None]).exp(), centers)
        if torch.equal(moved, centers):
            break
        centers = moved
    return centers
