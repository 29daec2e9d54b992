"""Heads on regions: what each region of an image is, and where exactly.

Shapes: N images, C channels, L levels of H x W places, P proposals of an image, R regions of all images, S = 7 places
of a pooled region's side, U units, D detections of an image, K classes; class K is the background.

    maps                                            [N, C, H, W], L times
    regions, each cut out of the level for its size [R, C, S, S]
    two fully connected layers                      [R, U]
    class, box regression for each class            [R, K + 1], [R, K, 4]

Girshick, "Fast R-CNN", 2015, sections 2.1 to 2.3, https://arxiv.org/abs/1504.08083; the level by Lin et al., "Feature
pyramid networks for object detection", 2017, equation 1, https://arxiv.org/abs/1612.03144.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.models.detection.coding import REGION_WEIGHTS, clip_boxes, decode_boxes, encode_boxes
from tenfold.models.detection.kernels import Pool, lay_out, pool_region, suppress
from tenfold.models.detection.matching import Rule, Truths, match_boxes
from tenfold.models.detection.sampling import draw_boxes

_SIDE = 7
_CANONICAL_SIZE, _CANONICAL_STRIDE = 224, 16  # a region of 224 px is cut out of the level of stride 16
_AT_ONCE = 4096
"""Regions that the layers see at once in evaluation; a pooled one of 96 channels takes 18 KiB."""
DETECTIONS = 100
"""Detections of an image at most, where the settings leave it open: COCO judges no more of a class."""
NOTHING = -1
"""Score and label of what pads an image's detections."""


@dataclass(frozen=True)
class Lesson:
    """What the heads learn from."""

    rule: Rule
    regions: int
    """Regions of an image that its loss is of."""
    share: float
    """The most of them that are positive."""
    beta: float
    """Where smooth L1 turns from square to straight."""


@dataclass(frozen=True)
class Limits:
    """What counts as found."""

    score: float
    """Detections with less are left out."""
    overlap: float
    """Of two detections of a class that overlap by more (IoU) the lower goes."""
    count: int
    """D, the most that an image has."""


class RegionHeads(nn.Module):
    """Pooling, two fully connected layers, and what they say."""

    def __init__(self, channels: int, strides: Sequence[int], classes: int, units: int, pool: Pool) -> None:
        super().__init__()
        self.strides, self.count, self.pool = tuple(strides), classes, pool
        self.hidden: nn.Module = nn.Sequential(
            nn.Linear(channels * _SIDE**2, units), nn.ReLU(inplace=True), nn.Linear(units, units), nn.ReLU(inplace=True)
        )
        self.classes = nn.Linear(units, classes + 1)
        self.deltas = nn.Linear(units, 4 * classes)
        for layer, spread in ((self.classes, 0.01), (self.deltas, 0.001)):  # section 2.3
            nn.init.normal_(layer.weight, std=spread)
            nn.init.zeros_(layer.bias)

    def forward(self, maps: Sequence[Tensor], regions: Tensor) -> tuple[Tensor, Tensor]:
        """Regions float32 [R, 5] (place of the image, xyxy in input pixels) -> logits [R, K + 1], deltas [R, K, 4]."""
        maps = [lay_out(level.float(), self.pool) for level in maps]  # once, not for each part
        step = max(len(regions), 1) if torch.is_grad_enabled() else _AT_ONCE
        parts = [regions[start : start + step] for start in range(0, max(len(regions), 1), step)]
        seen = torch.cat([self.hidden(self.cut(maps, part).flatten(1)) for part in parts])
        return self.classes(seen).float(), self.deltas(seen).float().view(len(regions), self.count, 4)

    def cut(self, maps: Sequence[Tensor], regions: Tensor) -> Tensor:
        """float32 [N, C, H, W], L times, and [R, 5] -> [R, C, S, S], each from the level that is for its size."""
        if len(maps) == 1:
            return pool_region(maps[0], regions, _SIDE, self.strides[0], self.pool)
        level = region_levels(regions[:, 1:], self.strides)
        rows = [(level == place).nonzero().squeeze(1) for place in range(len(maps))]
        parts = [
            pool_region(values, regions[own], _SIDE, stride, self.pool)
            for values, own, stride in zip(maps, rows, self.strides, strict=True)
        ]
        return torch.cat(parts)[torch.cat(rows).argsort()]


def region_levels(boxes_xyxy: Tensor, strides: Sequence[int]) -> Tensor:
    """The level that each region [R, 4] is cut out of, int64 [R]: twice the size, twice the stride."""
    size = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1).clamp(min=1e-6).sqrt()
    stride = 2 ** torch.floor(torch.log2(_CANONICAL_STRIDE * size / _CANONICAL_SIZE) + 1e-6)
    known = stride.new_tensor(list(strides))
    return ((stride[:, None] >= known).sum(1) - 1).clamp(min=0)


def list_regions(boxes_xyxy: Tensor) -> Tensor:
    """Padded boxes float32 [N, P, 4] -> those with an area, float32 [R, 5], each after its image's place."""
    there = ((boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]) > 0).all(-1)  # neither -1 nor NaN
    image = there.nonzero()[:, 0]
    return torch.cat([image[:, None].to(boxes_xyxy.dtype), boxes_xyxy[there]], 1)


def region_losses(
    heads: RegionHeads,
    maps: Sequence[Tensor],
    proposals: Tensor,
    truths: Truths,
    lesson: Lesson,
    generator: torch.Generator | None,
) -> tuple[dict[str, Tensor], Tensor]:
    """ "class" and "box", scalars, over some proposals [N, P, 4] of each image: section 2.3. And how many are right.

    The true boxes are proposals too. The last is the share of the regions whose class is right, a scalar.
    """
    wanted = torch.where(truths.real[..., None], truths.boxes, -1.0)
    every = torch.cat([proposals, wanted], 1)
    matched = match_boxes(every, truths, lesson.rule)
    drawn = draw_boxes(matched.state, lesson.regions, lesson.share, generator)
    image, slot = drawn.there.nonzero(as_tuple=True)
    place, positive = drawn.place[image, slot], drawn.positive[image, slot]
    boxes, truth = every[image, place], matched.truth[image, place]
    logits, deltas = heads(maps, torch.cat([image[:, None].to(boxes.dtype), boxes], 1))
    background = deltas.shape[1]
    label = torch.where(positive, truths.label[image, truth], background)
    count = max(len(label), 1)
    named = F.cross_entropy(logits, label, reduction="sum") / count
    target = encode_boxes(truths.boxes[image, truth][positive], boxes[positive], REGION_WEIGHTS)
    moves = F.smooth_l1_loss(deltas[positive, label[positive]], target, beta=lesson.beta, reduction="sum") / count
    right = (logits.detach().argmax(1) == label).sum() / count
    return {"class": named, "box": moves}, right


def detections(
    logits: Tensor, deltas: Tensor, regions: Tensor, images: int, size: tuple[int, int], limits: Limits
) -> dict[str, Tensor]:
    """What the heads say of regions -> what is found in N images of `size` (height, width), as `best_boxes` has it."""
    boxes = decode_boxes(deltas, regions[:, None, 1:], REGION_WEIGHTS)
    return best_boxes(logits.softmax(1)[:, :-1], boxes, regions[:, 0], images, size, limits)


def best_boxes(
    score: Tensor, boxes: Tensor, image: Tensor, images: int, size: tuple[int, int], limits: Limits
) -> dict[str, Tensor]:
    """Scores [R, K] and boxes [R, K, 4] of each class -> the best: "boxes" float32 [N, D, 4], "score" float32 [N, D]
    and "label" int64 [N, D].

    `image` [R] is the place of each region's image, `images` is N, `size` the input's height and width. The highest
    score comes first; what pads has score and label -1.
    """
    boxes = clip_boxes(boxes, size)
    good = (score >= limits.score) & ((boxes[..., 2:] - boxes[..., :2]) > 0).all(-1)
    row, label = good.nonzero(as_tuple=True)
    image, score, boxes = image[row].long(), score[good], boxes[good]
    found: dict[str, list[Tensor]] = {"boxes": [], "score": [], "label": []}
    for place in range(images):
        own = (image == place).nonzero().squeeze(1)
        own = own[suppress(boxes[own], score[own], label[own], limits.overlap)[: limits.count]]
        missing = limits.count - len(own)
        found["boxes"].append(F.pad(boxes[own], (0, 0, 0, missing)))
        found["score"].append(F.pad(score[own], (0, missing), value=NOTHING))
        found["label"].append(F.pad(label[own], (0, missing), value=NOTHING))
    return {name: torch.stack(values) for name, values in found.items()}


def truncate_heads(heads: RegionHeads, rank: int) -> None:
    """Make the hidden layers quicker: each weight matrix by its `rank` largest singular values (section 3.1).

    A layer whose two smaller ones would not be smaller stays as it is.
    """
    _replace_linear(heads, lambda layer: truncate_layer(layer, rank))


def narrow_heads(heads: RegionHeads, rank: int) -> None:
    """Give the hidden layers the shapes that `truncate_heads` gives them, for weights that are still to come."""
    _replace_linear(heads, lambda layer: _narrow_layer(layer, rank))


def _replace_linear(heads: RegionHeads, replace: Callable[[nn.Linear], list[nn.Module]]) -> None:
    layers: list[nn.Module] = []
    for layer in heads.hidden.children():
        layers += replace(layer) if isinstance(layer, nn.Linear) else [layer]
    heads.hidden = nn.Sequential(*layers)


@torch.no_grad()
def truncate_layer(layer: nn.Linear, rank: int) -> list[nn.Module]:
    """A linear layer as two, W = U (S V^T), of the `rank` largest singular values; or as it is, where that costs less.

    The second has the bias; no activation stands between them.
    """
    layers = _narrow_layer(layer, rank)
    if len(layers) == 1:
        return layers
    left, values, right = torch.linalg.svd(layer.weight.cpu().double(), full_matrices=False)  # mps has none
    weights = {"0.weight": values[:rank, None] * right[:rank], "1.weight": left[:, :rank]}
    nn.Sequential(*layers).load_state_dict(weights | ({} if layer.bias is None else {"1.bias": layer.bias}))
    return layers


def _narrow_layer(layer: nn.Linear, rank: int) -> list[nn.Module]:
    """Two layers of these shapes, or the layer itself, as `truncate_layer` says; their weights are any."""
    outputs, inputs = layer.weight.shape
    if rank * (outputs + inputs) >= outputs * inputs:
        return [layer]
    device = layer.weight.device
    return [
        nn.Linear(inputs, rank, bias=False, device=device),
        nn.Linear(rank, outputs, bias=layer.bias is not None, device=device),
    ]
