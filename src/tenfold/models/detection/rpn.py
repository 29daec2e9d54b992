"""Region proposal network: where something may be, from each place of each map.

Shapes: N images, C channels, L levels of H x W places, A anchors at a place, P proposals of an image.

    maps                                                [N, C, H, W], L times
    convolution 3x3, the same for all levels            [N, C, H, W]
    objectness and box regression, 1x1                  [N, H * W * A], [N, H * W * A, 4]
    the best, less what overlaps them in their level    [N, P, 4]

Ren et al., "Faster R-CNN: towards real-time object detection with region proposal networks", 2015, section 3.1,
https://arxiv.org/abs/1506.01497.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.models.detection.coding import PROPOSAL_WEIGHTS, clip_boxes, decode_boxes, encode_boxes
from tenfold.models.detection.kernels import suppress
from tenfold.models.detection.matching import PROPOSAL_RULE, Truths, match_boxes
from tenfold.models.detection.sampling import draw_boxes

_DRAWN, _POSITIVE_SHARE = 256, 0.5  # anchors that an image's loss is of: section 3.1.3
_BEFORE = 1000  # proposals of an image that are compared, within a level, with one another; or twice the wanted
_OVERLAP = 0.7  # section 3.3
_LEAST = 1.0  # pixels; a proposal with a shorter side shows nothing
BETA = 1 / 9
"""Where smooth L1 turns from square to straight: sigma = 3 in the authors' code, py-faster-rcnn."""


class Raw(NamedTuple):
    """What the network says of each anchor, level by level."""

    objectness: list[Tensor]
    """float32 [N, H * W * A], logits."""
    deltas: list[Tensor]
    """float32 [N, H * W * A, 4]."""


class RegionProposalNetwork(nn.Module):
    """A small network that slides over the maps."""

    def __init__(self, channels: int, each: int) -> None:
        """`channels` of the maps, `each` is A."""
        super().__init__()
        self.slide = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, each, 1)
        self.deltas = nn.Conv2d(channels, 4 * each, 1)
        for layer in (self.slide, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> Raw:
        seen = [F.relu(self.slide(level)) for level in maps]
        objectness = [_each_anchor(self.objectness(level), 1).squeeze(2) for level in seen]
        return Raw(objectness, [_each_anchor(self.deltas(level), 4) for level in seen])


def proposal_boxes(raw: Raw, anchors: Sequence[Tensor], size: tuple[int, int], count: int) -> Tensor:
    """The proposals of N images, float32 [N, P, 4] xyxy in input pixels, the best first; P is `count`, padded with -1.

    No gradient goes through them: approximate joint training, section 3.2.
    """
    every = torch.cat(list(anchors))
    level = torch.cat([torch.full((len(own),), place, device=own.device) for place, own in enumerate(anchors)])
    scores, best = torch.cat(raw.objectness, 1).detach().topk(min(max(_BEFORE, 2 * count), len(every)), dim=1)
    deltas = torch.cat(raw.deltas, 1).detach().gather(1, best[..., None].expand(-1, -1, 4))
    boxes = clip_boxes(decode_boxes(deltas, every[best], PROPOSAL_WEIGHTS), size)
    kept = [_best_of_image(*values, count) for values in zip(boxes, scores, level[best], strict=True)]
    return pad_boxes(kept, count)


def proposal_losses(
    raw: Raw, anchors: Sequence[Tensor], truths: Truths, generator: torch.Generator | None
) -> dict[str, Tensor]:
    """ "rpn_class" and "rpn_box", scalars: section 3.1.2, over some anchors of each image."""
    every = torch.cat(list(anchors))
    matched = match_boxes(every[None], truths, PROPOSAL_RULE)
    drawn = draw_boxes(matched.state, _DRAWN, _POSITIVE_SHARE, generator)
    image, slot = drawn.there.nonzero(as_tuple=True)
    place, positive = drawn.place[image, slot], drawn.positive[image, slot]
    objectness = torch.cat(raw.objectness, 1)[image, place]
    count = max(len(place), 1)
    losses = F.binary_cross_entropy_with_logits(objectness, positive.to(objectness.dtype), reduction="sum")
    image, place = image[positive], place[positive]
    wanted = encode_boxes(truths.boxes[image, matched.truth[image, place]], every[place], PROPOSAL_WEIGHTS)
    moves = F.smooth_l1_loss(torch.cat(raw.deltas, 1)[image, place], wanted, beta=BETA, reduction="sum")
    return {"rpn_class": losses / count, "rpn_box": moves / count}


def pad_boxes(boxes: Sequence[Tensor], count: int) -> Tensor:
    """Boxes [B, 4] of N images, B at most `count` -> [N, count, 4], rows of -1 where an image has fewer."""
    return torch.stack([F.pad(own, (0, 0, 0, count - len(own)), value=-1.0) for own in boxes])


def _best_of_image(boxes: Tensor, scores: Tensor, levels: Tensor, count: int) -> Tensor:
    """What is left of an image's boxes without the small and those that overlap a better one: [up to count, 4]."""
    large = ((boxes[:, 2:] - boxes[:, :2]) >= _LEAST).all(1)
    boxes, scores, levels = boxes[large], scores[large], levels[large]
    return boxes[suppress(boxes, scores, levels, _OVERLAP)[:count]]


def _each_anchor(found: Tensor, numbers: int) -> Tensor:
    """[N, A * numbers, H, W] -> float32 [N, H * W * A, numbers]."""
    return found.float().permute(0, 2, 3, 1).reshape(len(found), -1, numbers)
