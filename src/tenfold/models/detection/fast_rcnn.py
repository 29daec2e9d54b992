"""Fast R-CNN: one pass over the image, then a small network on each region that somebody else has proposed.

Shapes: N images, C channels, H x W pixels, L levels, P proposals of an image, R of all images, D detections, K classes.

    images, and proposals                                        [N, C, H, W], [N, P, 4]
    backbone and pyramid: maps                                   [N, W0, H / s, W / s], L times
    heads on the regions cut out of the maps: classes, boxes     [R, K + 1], [R, K, 4]
    the best of each class, less what overlaps them: detections  [N, D, 4]

Girshick, "Fast R-CNN", 2015, https://arxiv.org/abs/1504.08083: the network section 2.1, its training section 2.3, and
section 3.1 truncated singular value decomposition, which is `truncate_heads` in roi.py.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from tenfold.errors import UsageError
from tenfold.images.batch import Batch
from tenfold.models.contract import Losses
from tenfold.models.detection.detector import Detector, image_size
from tenfold.models.detection.kernels import Pool
from tenfold.models.detection.matching import read_truths, region_rule
from tenfold.models.detection.outside import KNOWN, Propose, file_proposals, selective_proposals, selective_proposer
from tenfold.models.detection.roi import Lesson, detections, list_regions, region_losses
from tenfold.models.detection.sampling import evaluation_generator

_PROPOSALS = 2000  # section 4.1
_POSITIVE_SHARE, _BETA = 0.25, 1.0  # section 2.3


class FastRCNN(Detector):
    """Settings: those of Detector; "proposals_from" of [detect], that file's "proposals_sha256".

    Proposals are part of what it sees. They come with the batch; else from `proposer`, if one is handed in; else from
    Selective Search, where `preprocessing` says how the input can be seen as pixels again. Where "proposals_from" names
    a file they come with the batch or from `proposer` only.
    """

    reads: ClassVar[tuple[str, ...]] = (*Detector.reads, "proposals_from")
    usual_pool: ClassVar[Pool] = "pool"
    proposer: Propose | None = None

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        self.proposals = settings["proposals"] or _PROPOSALS
        self.file = file_proposals(settings, self.proposals)
        self.foreknown = self.file.foreknown if self.file else selective_proposals(self.proposals)
        rule = region_rule(settings.get("background_from", 0.1))  # which runs of before had
        self.lesson = Lesson(rule, settings["regions"], _POSITIVE_SHARE, _BETA)

    def describe(self) -> str:
        """Where its proposals come from, if that is a file."""
        return self.file.describe() if self.file else ""

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """As `detections` has them: "boxes" [N, D, 4] xyxy in input pixels, "score" [N, D], "label" [N, D]."""
        return self.detect(images, self.propose(images))

    def batch_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """What `outputs` gives for the batch's images, with the proposals among its targets where these are known."""
        return self.detect(batch.images, self._of_batch(batch))

    def detect(self, images: Tensor, proposals: Tensor) -> dict[str, Tensor]:
        """What is found in images [N, C, H, W] among proposals [N, P, 4], as KNOWN has them."""
        maps = self.maps(images)
        regions = list_regions(proposals[:, : self.proposals])
        logits, deltas = self.heads(maps, regions)
        return detections(logits, deltas, regions, len(images), image_size(images), self.limits)

    def propose(self, images: Tensor) -> Tensor:
        """The proposals of images [N, C, H, W], as KNOWN has them. Raises UsageError where nobody can make them."""
        if self.proposer is not None:
            return self.proposer(images)
        if self.file is not None:
            raise self.file.missing("Fast R-CNN")
        if self.preprocessing is None:
            raise UsageError(
                f"Fast R-CNN needs proposals for its images: hand in its `proposer`, or a batch with {KNOWN!r}."
            )
        return selective_proposer(self.preprocessing, self.proposals)(images)

    def losses(self, batch: Batch) -> Losses:
        truths, generator = read_truths(batch), None if self.training else evaluation_generator()
        maps, proposals = self.maps(batch.images), self._of_batch(batch)[:, : self.proposals]
        named, right = region_losses(self.heads, maps, proposals, truths, self.lesson, generator)
        return Losses(named, {"region_accuracy": right})

    def _of_batch(self, batch: Batch) -> Tensor:
        known = batch.targets.get(KNOWN)
        return self.propose(batch.images) if known is None else known
