"""R-CNN: each region that somebody else has proposed is warped to a square and seen by a network as an image.

Shapes: N images, C channels, H x W pixels, P proposals of an image, R of all images, S pixels of a square's side,
D features, E features with their place, D' detections, K classes.

    images, and proposals                                        [N, C, H, W], [N, P, 4]
    each region with what lies around it, warped                 [R, C, S, S]
    backbone: what there is, and what there is where             [R, D], [R, E]
    linear SVMs: margins; ridge regressions: boxes               [R, K], [R, K, 4]
    the best of each class, less what overlaps them: detections  [N, D', 4]

Girshick et al., "Rich feature hierarchies for accurate object detection and semantic segmentation", 2014,
https://arxiv.org/abs/1311.2524: the network sections 2.1 and 2.2, its training section 2.3, warping appendix A, the
SVMs appendix B, box regression appendix C. All that is fitted here is fitted at once, and the backbone stays as it
comes: as it was pretrained (the paper's "without fine-tuning", section 3.2), or with transfer.init as an earlier run
has it, which tenfold.detect.train_regions fine-tunes on regions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from tenfold.errors import DataError, UsageError
from tenfold.images.batch import Batch
from tenfold.images.cache import Prepared, cache_folder, open_cache
from tenfold.models.backbones import bare_backbone
from tenfold.models.contract import Losses, Model, Prediction, Step, Usual
from tenfold.models.detection.coding import PROPOSAL_WEIGHTS, decode_boxes
from tenfold.models.detection.detector import decode_detections, image_size, need_maps
from tenfold.models.detection.kernels import cut_squares
from tenfold.models.detection.matching import read_truths
from tenfold.models.detection.outside import (
    KNOWN,
    FileProposals,
    Propose,
    file_proposals,
    selective_proposals,
    selective_proposer,
)
from tenfold.models.detection.region_fits import Linear, Regions, fit_moves, fit_svms
from tenfold.models.detection.roi import DETECTIONS, Limits, best_boxes, list_regions
from tenfold.models.detection.watched import IMAGES, Watch, Watched, unwatched
from tenfold.models.frozen import OnBackbone

VERSION = 1
"""Goes up whenever the same region would give other features."""

_PROPOSALS = 2000  # section 2.1
_CONTEXT, _OF = 16, 227  # appendix A: so many pixels of context on each side of a square of so many
_SIDE, _OVERLAP = 64, 0.3
_PLACES = 4
"""Side of the grid of features with their place."""
_AT_ONCE = {"cpu": 32, "cuda": 1024}
"""Squares that the backbone sees at once: on a CPU with several threads more are slower, as maps of many MiB are memory
that the system clears anew each time. ONNX Runtime is no quicker by enough to be worth another engine's last bits:
benchmarks/crops.py."""
_BLOCK = 8
"""Images after which features are stored."""
_NO_MAP = np.eye(2, 3, dtype=np.float32)


class Seen(NamedTuple):
    """What the backbone sees in R regions."""

    whole: Tensor
    """float32 [R, D], the mean over the last map."""
    places: Tensor
    """float32 [R, E], the last map but one, on a grid of _PLACES x _PLACES."""


class RCNN(Watched, OnBackbone, Model):
    """Settings: "backbone", "weights", "init" of [transfer]; "proposals", "proposals_from", "regions", "crop",
    "finetune", "score", "overlap", "detections" of [detect]; "proposals_sha256" of the file of proposals.

    Proposals come from where Fast R-CNN has them.
    """

    task: ClassVar[str] = "detection"
    usual: ClassVar[Usual] = Usual(epochs=(1, 1), size=416, aspect=0.0, margin=1.0, fit="squash", policy="none")
    sections: ClassVar[tuple[str, ...]] = ("model", "transfer", "detect")
    reads: ClassVar[tuple[str, ...]] = (
        "proposals",
        "proposals_from",
        "regions",
        "crop",
        "finetune",
        "score",
        "overlap",
        "detections",
    )
    proposer: Propose | None = None
    file: FileProposals | None = None

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        if settings["finetune"] and not settings["init"]:
            raise UsageError(
                "detect.finetune is a training before this one: call tenfold.detect.train_rcnn, or name a run of "
                "train_regions as transfer.init (--init)."
            )
        self.backbone = bare_backbone(settings["backbone"]).requires_grad_(False)
        need_maps(self.backbone)
        self.side = square_side(settings["crop"])
        self.take_proposals(proposal_count(settings["proposals"]))
        grids = self.backbone.channels[-2:][0] * _PLACES**2
        self.width = self.backbone.channels[-1]  # of the maps; a network's own vectors may be longer or shorter
        self.svms = nn.Linear(self.width, len(classes))
        self.moves = nn.Linear(grids, 4 * len(classes))
        self.limits = Limits(settings["score"], settings["overlap"] or _OVERLAP, settings["detections"] or DETECTIONS)

    def take_proposals(self, count: int) -> None:
        """Look at the first `count` proposals of an image from now on."""
        self.proposals, counts = count, self.file.counts if self.file else ""
        self.file = file_proposals(self.settings, count)
        if self.file:
            self.file.counts = counts
        self.foreknown = self.file.foreknown if self.file else selective_proposals(count)

    def describe(self) -> str:
        """Where its proposals come from, if that is a file."""
        return self.file.describe() if self.file else ""

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """As `best_boxes` has them: "boxes" [N, D', 4] xyxy in input pixels, "score" [N, D'], "label" [N, D'].

        A score is the logistic function of a margin: 0.5 where the SVM is undecided.
        """
        return self.detect(images, self.propose(images))

    def batch_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """What `outputs` gives for the batch's images, with the proposals among its targets where these are known."""
        return self.detect(batch.images, self._of_batch(batch))

    def detect(self, images: Tensor, proposals: Tensor) -> dict[str, Tensor]:
        """What is found in images [N, C, H, W] among proposals [N, P, 4], as KNOWN has them; `watch` hears of each."""
        regions = list_regions(proposals[:, : self.proposals])
        seen = self.look(images, regions, self.watch)
        self.watch(IMAGES, len(images), len(images))
        margins = self.svms(seen.whole)  # [R, K]
        deltas = self.moves(seen.places).view(len(regions), len(self.classes), 4)
        boxes = decode_boxes(deltas, regions[:, None, 1:], PROPOSAL_WEIGHTS)
        return best_boxes(margins.sigmoid(), boxes, regions[:, 0], len(images), image_size(images), self.limits)

    @torch.no_grad()
    def look(self, images: Tensor, regions: Tensor, watch: Watch = unwatched) -> Seen:
        """What there is in regions float32 [R, 5] (place of the image, xyxy in input pixels) of images, in order."""
        images, parts = images.float().contiguous(), list[Seen]()
        wide = with_context(regions)
        many = _AT_ONCE.get(images.device.type, 32)
        for start in range(0, max(len(regions), 1), many):
            watch(IMAGES, int(regions[start, 0]) if len(regions) else 0, len(images))
            parts.append(self._look(cut_squares(images, wide[start : start + many], self.side)))
        return Seen(*(torch.cat(values) for values in zip(*parts, strict=True)))

    def _look(self, squares: Tensor) -> Seen:
        maps = self.backbone.maps(squares.contiguous(memory_format=torch.channels_last))
        places = F.adaptive_avg_pool2d(maps[-2:][0], _PLACES)
        return Seen(maps[-1].mean((2, 3)).float(), places.flatten(1).float())

    def propose(self, images: Tensor) -> Tensor:
        """The proposals of images [N, C, H, W], as KNOWN has them. Raises UsageError where nobody can make them."""
        if self.proposer is not None:
            return self.proposer(images)
        if self.file is not None:
            raise self.file.missing("R-CNN")
        if self.preprocessing is None:
            raise UsageError(
                f"R-CNN needs proposals for its images: hand in its `proposer`, or a batch with {KNOWN!r}."
            )
        return selective_proposer(self.preprocessing, self.proposals)(images)

    def decode(self, outputs: dict[str, Tensor], affine: Tensor) -> list[Prediction]:
        """As `Detector.decode`: "boxes" [D', 4] in pixels of the original image, "score" [D'] and "label" [D']."""
        return decode_detections(outputs, affine, self.temperature)

    def losses(self, batch: Batch) -> Losses:
        """ "hinge", the SVMs' mean over true boxes and the first "regions" proposals of each image, or all it looks at
        where these are fewer: a batch may hold more, which were found before a time limit left so many.
        """
        count = min(self.settings["regions"], self.proposals)
        costs = [self._hinge(image) for image in self._regions(batch, count, stored=False)]
        cost = torch.cat(costs) if costs else torch.zeros(0)
        return Losses({"hinge": cost.sum() / max(len(cost), 1)}, {})

    def steps(self) -> list[Step]:
        return []

    def train(self, mode: bool = True) -> RCNN:
        """Training mode never reaches the backbone, whose batch normalization keeps its statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """See all regions of all images, from the cache where it holds them; then fit SVMs and box regression.

        `watch` hears of each image, and of each class in each of the three steps after them.
        """
        images = [image for batch in batches for image in self._regions(batch, self.proposals, stored=True)]
        _take(self.svms, fit_svms(images, len(self.classes), self.watch))
        _take(self.moves, fit_moves(images, len(self.classes), self.watch))

    def _of_batch(self, batch: Batch) -> Tensor:
        known = batch.targets.get(KNOWN)
        return self.propose(batch.images) if known is None else known

    def _hinge(self, image: Regions) -> Tensor:
        """What the margins of an image's regions cost, of those that are right or wrong for a class: [M]."""
        margins = self.svms(torch.from_numpy(image.whole).float().to(self.svms.weight.device))
        costs = [torch.zeros(0, device=margins.device)]
        for kind in range(len(self.classes)):
            costs.append(F.relu(1 - margins[torch.from_numpy(image.positives(kind)), kind]))
            costs.append(F.relu(1 + margins[torch.from_numpy(image.negatives(kind)), kind]))
        return torch.cat(costs)

    @torch.no_grad()
    def _regions(self, batch: Batch, count: int, *, stored: bool) -> Iterator[Regions]:
        """The first `count` proposals and the true boxes of each image; features come from the cache if `stored`."""
        truths, proposals = read_truths(batch), self._of_batch(batch)[:, :count]
        there = (truths.real | truths.ignored)[..., None]
        wanted = torch.where(there, truths.boxes, -1.0)
        regions = list_regions(torch.cat([proposals, wanted], 1))
        own = [regions[regions[:, 0] == place] for place in range(len(batch))]
        rows = self._stored(batch.images, own) if stored else [self._vectors(batch.images, one) for one in own]
        for place, (found, vectors) in enumerate(zip(own, rows, strict=True)):
            mask = there[place, :, 0]
            label, ignore = truths.label[place][mask], truths.ignored[place][mask]
            pooled, spatial = np.split(vectors, [self.width], axis=1)
            yield Regions(
                found[:, 1:].cpu().numpy(),
                truths.boxes[place][mask].cpu().numpy(),
                label.cpu().numpy(),
                ignore.cpu().numpy(),
                pooled,
                spatial,
            )

    def _vectors(self, images: Tensor, regions: Tensor) -> NDArray[np.float16]:
        """[R, D + E]"""
        vectors: NDArray[np.float16] = torch.cat(self.look(images, regions), 1).half().cpu().numpy()
        return vectors

    def _stored(self, images: Tensor, regions: Sequence[Tensor]) -> list[NDArray[np.float16]]:
        """[R, D + E] for each of N images, by the cache: what was stopped goes on from there."""
        weights = _digest(list(self.backbone.state_dict().values()))
        key = json.dumps(["regions", VERSION, self.backbone.name, weights, self.side])
        try:
            starts = range(0, len(images), _BLOCK)
            blocks = [self._block(key, images, regions, range(len(images))[at : at + _BLOCK]) for at in starts]
        except OSError as error:
            raise DataError(
                f"The cache of regions' features in {cache_folder()} cannot be written ({error.strerror or error}); "
                "make room, point TENFOLD_CACHE to another folder, or set TENFOLD_CACHE_GIB=0 to do without."
            ) from error
        self.watch(IMAGES, len(images), len(images))
        return [vectors for block in blocks for vectors in block]

    def _block(
        self, key: str, images: Tensor, regions: Sequence[Tensor], rows: Sequence[int]
    ) -> list[NDArray[np.float16]]:
        """Those of the images in `rows`, which are stored together."""

        def one(place: int) -> Prepared:
            row = rows[place]
            self.watch(IMAGES, row, len(images))
            own = regions[row] - F.pad(regions[row][:, :1], (0, 4))  # of this image alone
            return self._vectors(images[row : row + 1], own).view(np.uint8)[..., None], _NO_MAP

        hashes = [_digest([images[row], regions[row][:, 1:]]) for row in rows]
        found = open_cache(key, hashes, one, lambda places: map(one, places), "regions")
        return [found.image(place)[0][..., 0].view(np.float16) for place in range(len(hashes))]


def proposal_count(proposals: int) -> int:
    """Proposals of an image that it looks at, by the setting detect.proposals."""
    return proposals or _PROPOSALS


def square_side(crop: int) -> int:
    """Pixels of a side of the squares, by the setting detect.crop."""
    return crop or _SIDE


def with_context(regions: Tensor) -> Tensor:
    """Regions [R, 5] grown so that, warped, _CONTEXT of _OF pixels on each side are of what lies around them."""
    middle = (regions[:, 1:3] + regions[:, 3:]) / 2
    half = (regions[:, 3:] - regions[:, 1:3]) / 2 * (_OF / (_OF - 2 * _CONTEXT))
    return torch.cat([regions[:, :1], middle - half, middle + half], 1)


@torch.no_grad()
def _take(layer: nn.Linear, fitted: Linear) -> None:
    weight, bias = torch.from_numpy(fitted.weight), torch.from_numpy(fitted.bias)
    layer.weight.copy_(weight.reshape(layer.weight.shape))
    layer.bias.copy_(bias.reshape(layer.bias.shape))


def _digest(tensors: Sequence[Tensor]) -> str:
    """32 hexadecimal digits of what tensors hold."""
    found = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        found.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).data)
    return found.hexdigest()
