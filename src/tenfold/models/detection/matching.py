"""Which boxes are of which object, by how far they overlap: what a detector learns from.

Shapes: N images, A boxes (anchors or proposals), M rows of true boxes an image, at least one, the last of them padding;
boxes are xyxy in input pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.boxes import THIN
from tenfold.images.batch import Batch
from tenfold.models.detection.coding import clip_boxes

_THINNEST = 0.1
"""Pixels of the input; a true box with a side below it, clipped to the image, has no area that could be learnt."""
_ROUNDING = 0.01  # of a click's side, which float32 may lengthen where it lies far from the corner

POSITIVE, BACKGROUND, NEITHER = 1, 0, -1
"""The states of a box."""


class Truths(NamedTuple):
    """The true boxes of N images."""

    boxes: Tensor
    """float32 [N, M, 4], clipped to the image, without NaN: what is not real is all 0."""
    label: Tensor
    """int64 [N, M], places in the classes; 0 where there is none."""
    real: Tensor
    """bool [N, M]: an object to be found."""
    ignored: Tensor
    """bool [N, M]: a box in which nothing is right or wrong, as a crowd."""


class Matched(NamedTuple):
    """What the A boxes of N images are."""

    state: Tensor
    """int64 [N, A]: POSITIVE, BACKGROUND or NEITHER."""
    truth: Tensor
    """int64 [N, A], the place of the true box that a positive one belongs to."""


@dataclass(frozen=True)
class Rule:
    """From which overlaps (IoU with the best true box) on a box is of an object, or of the background."""

    positive: float
    """An overlap from here on, above 0, makes a box positive."""
    background: tuple[float, float]
    """[from, below) is background. In an image without any true box the background begins at 0."""
    best: bool = False
    """Whether the boxes that overlap a true box most are positive in any case."""


PROPOSAL_RULE = Rule(0.7, (0.0, 0.3), best=True)
"""Of anchors: Ren et al. 2015, section 3.1.2."""


def region_rule(background_from: float) -> Rule:
    """Of proposals: Girshick 2015, section 2.3, where `background_from` is 0.1.

    So a small box deep in an object, or one far from all, is never learned to be background; with 0 it is.
    """
    return Rule(0.5, (background_from, 0.5))


def read_truths(batch: Batch) -> Truths:
    """The true boxes among a batch's targets "boxes" [N, M, 4] (NaN or no label: padding), "label" and "ignore".

    Boxes without area in the image are taken for padding, and so is what is THIN at most in the original image, as a
    crop may leave it of a box. Clicks are not among the targets in the first place: turned, a thin one has a wide hull.
    """
    size = batch.images.shape[2], batch.images.shape[3]
    given, label, ignore = batch.targets["boxes"], batch.targets["label"], batch.targets["ignore"]
    if not label.shape[1]:
        given, label, ignore = F.pad(given, (0, 0, 0, 1)), F.pad(label, (0, 1), value=-1), F.pad(ignore, (0, 1))
    boxes = clip_boxes(given, size)
    sides = boxes[..., 2:] - boxes[..., :2]
    least = click_sides(batch.affine)[:, None].to(sides) * (1 + _ROUNDING)
    there = (label >= 0) & (sides >= _THINNEST).all(-1) & (sides > least).all(-1)  # a comparison with NaN is false
    boxes = torch.where(there[..., None], boxes, 0.0)
    return Truths(boxes, label.clamp(min=0), there & ~ignore, there & ignore)


def click_sides(affine: Tensor) -> Tensor:
    """Width and height in the input of a box of THIN by THIN in the original images, or of the hull of a turned one.

    float32 [N, 2, 3], as Batch.affine -> [N, 2]; 0 where no affine map is known.
    """
    return (affine[:, :, :2].abs().sum(2) * THIN).nan_to_num(nan=0.0)


def match_boxes(boxes_xyxy: Tensor, truths: Truths, rule: Rule) -> Matched:
    """What each of the boxes float32 [N, A, 4], or [1, A, 4] for all images, is by the rule.

    A box without area, as padding, is NEITHER, and so is background of which the share `rule.background[1]` or more
    lies in an ignored box: nobody knows what is there.
    """
    states, places = [], []
    for image in range(len(truths.boxes)):
        own = boxes_xyxy[image if len(boxes_xyxy) > 1 else 0]
        state, place = _match(own, truths.boxes[image], truths.real[image], truths.ignored[image], rule)
        states.append(state)
        places.append(place)
    return Matched(torch.stack(states), torch.stack(places))


def intersections(boxes_xyxy: Tensor, others_xyxy: Tensor) -> Tensor:
    """Areas that boxes [A, 4] and [M, 4] share: [A, M]."""
    first = torch.maximum(boxes_xyxy[:, None, :2], others_xyxy[None, :, :2])
    last = torch.minimum(boxes_xyxy[:, None, 2:], others_xyxy[None, :, 2:])
    return (last - first).clamp(min=0).prod(2)


def areas(boxes_xyxy: Tensor) -> Tensor:
    """[..., 4] -> [...]; 0 where the corners are the wrong way round."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0).prod(-1)


def _match(boxes: Tensor, truth: Tensor, real: Tensor, ignored: Tensor, rule: Rule) -> tuple[Tensor, Tensor]:
    """State and place int64 [A] of the boxes [A, 4] of one image."""
    size = areas(boxes)  # [A]
    shared = intersections(boxes, truth)  # [A, M]
    union = size[:, None] + areas(truth) - shared
    iou = torch.where(real & (union > 0), shared / union.clamp(min=1e-9), 0.0)
    best, place = iou.max(1)
    start, stop = rule.background
    state = torch.full_like(place, NEITHER)
    state[(best >= (start if real.any() else 0.0)) & (best < stop)] = BACKGROUND
    state[best >= rule.positive] = POSITIVE
    if rule.best:
        top = iou.amax(0)
        state[((iou == top) & (top > 0)).any(1)] = POSITIVE
    inside = torch.where(ignored, shared / size.clamp(min=1e-9)[:, None], 0.0).amax(1)
    state[(state == BACKGROUND) & (inside >= stop)] = NEITHER
    state[~(size > 0)] = NEITHER  # NaN too
    return state, place
