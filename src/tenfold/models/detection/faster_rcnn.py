"""Faster R-CNN: a network that proposes regions and one that names them, on the same maps, trained together.

Shapes: N images, C channels, H x W pixels, L levels, P proposals of an image, R of all images, D detections, K classes.

    images                                                       [N, C, H, W]
    backbone and pyramid: maps                                   [N, W0, H / s, W / s], L times
    region proposal network: proposals                           [N, P, 4]
    heads on the regions cut out of the maps: classes, boxes     [R, K + 1], [R, K, 4]
    the best of each class, less what overlaps them: detections  [N, D, 4]

Ren et al., "Faster R-CNN: towards real-time object detection with region proposal networks", 2015,
https://arxiv.org/abs/1506.01497: the networks section 3, approximate joint training section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor

from tenfold.images.batch import Batch
from tenfold.models.contract import Losses
from tenfold.models.detection.anchors import Anchors
from tenfold.models.detection.detector import Detector, image_size
from tenfold.models.detection.matching import read_truths, region_rule
from tenfold.models.detection.roi import Lesson, detections, list_regions, region_losses
from tenfold.models.detection.rpn import BETA, RegionProposalNetwork, proposal_boxes, proposal_losses
from tenfold.models.detection.sampling import evaluation_generator

_PROPOSALS, _CHOICE = 300, 3  # regions that are looked at: section 3.3; or for each detection, if that is more
_LEARNT_FROM = 500  # in training they are more, so that some are wrong
_POSITIVE_SHARE = 0.25
_WITHOUT_PYRAMID = 3  # times as many anchors at a place, as one map must do for all sizes: section 3.1.1


class FasterRCNN(Detector):
    """Settings: those of Detector, and "anchors" of [detect], the number of anchors at a place of a map."""

    reads: ClassVar[tuple[str, ...]] = (*Detector.reads, "anchors")

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        each = settings["anchors"] * (1 if settings["pyramid"] else _WITHOUT_PYRAMID)
        self.anchors = Anchors(self.strides, each)
        self.rpn = RegionProposalNetwork(self.width, each)
        self.proposals = settings["proposals"] or max(_PROPOSALS, _CHOICE * self.limits.count)
        rule = region_rule(settings.get("background_from", 0.0))  # runs of before have none
        self.lesson = Lesson(rule, settings["regions"], _POSITIVE_SHARE, BETA)

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Fit the anchors to the true boxes of the training part."""
        sides, labels = [], []
        for batch in batches:
            truths = read_truths(batch)
            boxes = truths.boxes[truths.real]
            sides.append(boxes[:, 2:] - boxes[:, :2])
            labels.append(truths.label[truths.real])
        if sides:
            self.anchors.fit(torch.cat(sides), torch.cat(labels))

    def describe(self) -> str:
        """What the anchors are and where they come from."""
        return self.anchors.describe()

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """As `detections` has them: "boxes" [N, D, 4] xyxy in input pixels, "score" [N, D], "label" [N, D]."""
        maps = self.maps(images)
        proposals = proposal_boxes(self.rpn(maps), self.anchors(maps), image_size(images), self.proposals)
        regions = list_regions(proposals)
        logits, deltas = self.heads(maps, regions)
        return detections(logits, deltas, regions, len(images), image_size(images), self.limits)

    def propose(self, images: Tensor) -> Tensor:
        """The proposals alone, the best first: float32 [N, P, 4] xyxy in input pixels, padded with -1."""
        maps = self.maps(images)
        return proposal_boxes(self.rpn(maps), self.anchors(maps), image_size(images), self.proposals)

    def losses(self, batch: Batch) -> Losses:
        truths, generator = read_truths(batch), None if self.training else evaluation_generator()
        maps = self.maps(batch.images)
        raw, anchors = self.rpn(maps), self.anchors(maps)
        proposed = proposal_losses(raw, anchors, truths, generator)
        count = max(self.proposals, _LEARNT_FROM)
        proposals = proposal_boxes(raw, anchors, image_size(batch.images), count)
        named, right = region_losses(self.heads, maps, proposals, truths, self.lesson, generator)
        return Losses(proposed | named, {"region_accuracy": right})
