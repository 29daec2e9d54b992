"""TorchvisionDetector: torchvision's own detectors, with their COCO weights, as models like the others.

Shapes: N images, H x W pixels, T true boxes of an image, D detections, K classes; torchvision's class 0 is background.

    images                                             [N, 3, H, W]
    in training, with the true boxes of each image     [T, 4], [T]
        torchvision's network: named losses            scalars
    else torchvision's network: detections of each     up to [D, 4], [D], [D]
        padded, classes counted from 0                 [N, D, 4], [N, D], [N, D]

The networks, their papers and what they reach on COCO: https://docs.pytorch.org/vision/stable/models.html, "Object
detection". What torchvision does to images before the network, resizing and normalizing, the run's preprocessing does
here: image.size is what the network sees, and mean and standard deviation are the weights' own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.errors import DataError, UsageError, unknown
from tenfold.images.batch import Batch
from tenfold.images.preprocess import Preprocessing
from tenfold.models.backbones.backbone import map_stride, of_imagenet
from tenfold.models.contract import Losses, Model, Prediction, Pretrained, Step, Usual
from tenfold.models.detection.detector import Detector, decode_detections, image_size
from tenfold.models.detection.matching import read_truths
from tenfold.models.detection.roi import DETECTIONS, NOTHING
from tenfold.models.weights.places import file_hash, find_published
from tenfold.models.weights.published import DETECTORS, Origin, published_files
from tenfold.models.weights.read import Tensors, read_tensors

_LIBRARY = "torchvision:"
_USUAL = "fasterrcnn_mobilenet_v3_large_320_fpn"
_PROBE = 128
"""Side of the image, in pixels, that the stages' strides are measured on."""
_AT_ONCE = 8
"""Images that are looked at at once in evaluation: a thousand regions of each are 50 MB in Faster R-CNN."""
_LEAST = {"ssd300_vgg16": 268}
"""Pixels of a side below which nothing is left of a network's last map."""
_WITHOUT_EPSILON = ("fasterrcnn_resnet50_fpn", "retinanet_resnet50_fpn")
"""Networks whose weights are of a time when torchvision's frozen batch normalization added nothing to the variance:
https://github.com/pytorch/vision/pull/2933"""
_LOSSES = {
    "loss_classifier": "class",
    "classification": "class",
    "loss_box_reg": "box",
    "bbox_regression": "box",
    "bbox_ctrness": "center",
    "loss_objectness": "rpn_class",
    "loss_rpn_box_reg": "rpn_box",
}
"""torchvision's names of losses -> those that they have in the other detectors."""
_OF_CLASSES = ("roi_heads.box_predictor.", "head.classification_head.")
"""How the names of tensors begin whose shapes may depend on the number of classes."""


class TorchvisionDetector(Model):
    """A detector of torchvision.

    Settings: "backbone" (torchvision:NAME, a name in DETECTORS; empty stands for
    fasterrcnn_mobilenet_v3_large_320_fpn) and "weights" (a file, or empty: the published ones) of [transfer];
    "fixed_stride", "score", "overlap" (0: torchvision's own) and "detections" of [detect].

    torchvision knows no ignored boxes, as crowds are: they are left out of what it learns from, so that what lies in
    them counts as background. Batch normalization keeps its statistics. All is computed in float32, whatever
    train.precision says: in bfloat16 torchvision's boxes would be off by pixels.
    """

    task: ClassVar[str] = "detection"
    usual: ClassVar[Usual] = Detector.usual._replace(rate=0.02)
    sections: ClassVar[tuple[str, ...]] = ("model", "transfer", "detect")
    reads: ClassVar[tuple[str, ...]] = ("fixed_stride", "score", "overlap", "detections")

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        if channels != 3:
            raise UsageError("torchvision's detectors see colors: image.channels must be rgb, bgr or auto, not grey.")
        self.name = detector_name(settings["backbone"])
        self.network = bare_network(self.name, len(classes))
        fix_stages(self.network.backbone, settings["fixed_stride"])
        limits = getattr(self.network, "roi_heads", self.network)
        limits.score_thresh = settings["score"]
        limits.nms_thresh = settings["overlap"] or limits.nms_thresh
        limits.detections_per_img = self.detections = settings["detections"] or DETECTIONS
        _look_at_more(self.network, self.detections / DETECTIONS)

    @classmethod
    def pretrained(cls, settings: dict[str, Any]) -> Pretrained:
        """Of the network's weights, which must be here."""
        name = detector_name(settings["backbone"])
        find_source(name, settings)
        # SSD's networks were trained on images squeezed to squares, and their anchors are shares of the sides.
        return Pretrained(own_preprocessing(name), _LIBRARY + name, is_square=name.startswith("ssd"))

    def load_pretrained(self) -> dict[str, Any]:
        """Load the weights of the whole network.

        The layers that name classes start anew where the file's are for another number of classes.
        """
        file, origin = find_source(self.name, self.settings)
        anew = load_network(self.network, read_tensors(file), f"The weights {file} of {self.name}")
        return {
            "origin": f"{origin.name}, {origin.source}",
            "licence": origin.licence,
            "sha256": origin.sha256,
            "note": f"{origin.note}; the layers that name classes start anew" if anew else origin.note,
        }

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """As `detections` has them: "boxes" [N, D, 4] xyxy in input pixels, "score" [N, D], "label" [N, D]."""
        starts = range(0, len(images), _AT_ONCE)
        every = [found for start in starts for found in self._run(images[start : start + _AT_ONCE])]
        padded = [pad_detections(found, self.detections) for found in every]
        return {name: torch.stack([found[name] for found in padded]) for name in ("boxes", "score", "label")}

    def decode(self, outputs: dict[str, Tensor], affine: Tensor) -> list[Prediction]:
        """As `Detector.decode`."""
        return decode_detections(outputs, affine, self.temperature)

    def losses(self, batch: Batch) -> Losses:
        """torchvision's losses. In evaluation mode the boxes that they are of are drawn in the same way each time."""
        truths = read_truths(batch)
        rows = zip(truths.boxes, truths.label, truths.real, strict=True)
        targets = [{"boxes": boxes[real], "labels": label[real] + 1} for boxes, label, real in rows]
        found = self._run(batch.images, targets) if self.training else self._evaluated(batch.images, targets)
        return Losses({_LOSSES[name]: loss for name, loss in found.items()}, {})

    def _evaluated(self, images: Tensor, targets: list[dict[str, Tensor]]) -> Any:
        """The losses in evaluation mode, in which torchvision gives none."""
        self.train()
        try:
            with same_draws(images.device):
                return self._run(images, targets)
        finally:
            self.eval()

    def train(self, mode: bool = True) -> Self:
        """Training mode never reaches batch normalization, which keeps its statistics."""
        super().train(mode)
        for norm in batch_norms(self.network):
            norm.eval()
        return self

    def steps(self) -> list[Step]:
        return [Step("model", self.losses, [value for value in self.parameters() if value.requires_grad])]

    def _run(self, images: Tensor, targets: list[dict[str, Tensor]] | None = None) -> Any:
        """What torchvision gives for images: their losses in training mode, which needs targets, else detections."""
        side, least = min(image_size(images)), _LEAST.get(self.name, 1)
        if side < least:
            raise UsageError(f"image.size (--size) must be at least {least} for {self.name}, not {side}.")
        with torch.autocast(images.device.type, enabled=False):
            return self.network(list(images), targets)


def detector_name(backbone: str) -> str:
    """The name in DETECTORS that transfer.backbone stands for; empty stands for the usual one.

    Raises UsageError for another, which names the nearest.
    """
    if not backbone:
        return _USUAL
    if backbone.removeprefix(_LIBRARY) not in DETECTORS:
        names = [_LIBRARY + name for name in DETECTORS]
        raise unknown("transfer.backbone of the model torchvision", backbone, names)
    return backbone.removeprefix(_LIBRARY)


def bare_network(name: str, classes: int) -> Any:
    """torchvision's network for so many classes, with weights that were never trained.

    Its own resizing and normalizing are off: images [N, 3, H, W] come as they are to be seen.
    """
    import torchvision.models as library

    network = library.get_model(name, weights=None, weights_backbone=None, num_classes=classes + 1)
    network.transform.normalize = lambda image: image
    network.transform.resize = lambda image, target=None: (image, target)
    if name in _WITHOUT_EPSILON:
        for norm in batch_norms(network):
            norm.eps = 0.0
    return network


def batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    """A network's batch normalizations."""
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


@torch.no_grad()
def fix_stages(backbone: Any, stride: int) -> None:
    """Keep the backbone's first stages from learning: those whose maps have at most this stride."""
    stages = backbone.body if hasattr(backbone, "body") else backbone.features
    stages.eval()
    maps = torch.zeros(1, 3, _PROBE, _PROBE)
    for stage in stages.children():
        maps = stage(maps)
        if map_stride(_PROBE, maps) <= stride:
            stage.requires_grad_(False)
    stages.train()


def _look_at_more(network: Any, times: float) -> None:
    """Have a network choose among so many times its usual candidates, at least as many, for so many times detections.

    fasterrcnn_mobilenet_v3_large_320_fpn looks at 150 regions of an image, and could never find more than 150 objects.
    """
    if times <= 1:
        return
    if hasattr(network, "rpn"):
        for most in (network.rpn._pre_nms_top_n, network.rpn._post_nms_top_n):
            most["testing"] = round(times * most["testing"])
    else:
        network.topk_candidates = round(times * network.topk_candidates)


def own_preprocessing(name: str) -> Preprocessing:
    """What a network's published weights were trained with; the size is that of the shorter side."""
    with torch.device("meta"):
        own = bare_network(name, 1).transform
    return of_imagenet(
        own.min_size[-1],
        fit="squash",
        mean=tuple(own.image_mean),
        std=tuple(own.image_std),
        origin=f"of {_LIBRARY}{name}",
    )


def find_source(name: str, settings: dict[str, Any]) -> tuple[Path, Origin]:
    """The file that a recipe's [transfer] names, or the published one, and whose its weights are.

    Raises UsageError where an earlier run is named, DataError where the file is not here.
    """
    if settings.get("init"):
        raise UsageError(
            "The model torchvision starts from a file, not from a run (transfer.init, --init); give --transfer.weights "
            "FILE, for example the model.safetensors of an earlier run of it."
        )
    if not settings["weights"]:
        found = find_published(_LIBRARY + name)
        return found.path, found.published.origin(found.sha256)
    file = Path(settings["weights"])
    sha256 = file_hash(file)
    for published in published_files(_LIBRARY + name):
        if published.is_file(sha256):
            return file, published.origin(sha256)
    note = "ask whoever made the file what it may be used for"
    return file, Origin(_LIBRARY + name, f"file {file.name}", "not stated", sha256, note)


def load_network(network: nn.Module, tensors: Tensors, what: str) -> bool:
    """Load named tensors into one of torchvision's networks; whether layers that name classes were left as they are.

    The names are torchvision's, those of its earlier versions too, or a run's own. `what` names file and network in
    errors. Raises DataError for a tensor that is missing, too many, of another shape, or holds no finite numbers.
    """
    tensors = {key.removeprefix("network."): value for key, value in tensors.items()}
    anew = {
        key: value
        for key, value in network.state_dict().items()
        if key.startswith(_OF_CLASSES) and key in tensors and tensors[key].shape != value.shape
    }
    for key, value in tensors.items():
        if not torch.isfinite(value).all():
            raise DataError(f"{what} cannot be used: {key} holds numbers that are not finite.")
    try:
        lacking, strange = network.load_state_dict(tensors | anew, strict=False)  # it knows its earlier names
    except RuntimeError as error:  # a line for each shape that is another, after one that only says so
        raise DataError(f"{what} do not fit: {str(error).splitlines()[1].strip()}") from error
    if lacking or strange:
        which = f"lacks {lacking[0]}" if lacking else f"has {strange[0]}, which that network lacks"
        raise DataError(f"{what} do not fit: the file {which}; it is another network's.")
    return bool(anew)


@contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """torch's generators give the same numbers inside, each time, and go on outside as if nothing had been drawn."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(0)
        yield


def pad_detections(found: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """What torchvision found in an image, at most `count`, as `best_boxes` has one: [count, 4], [count], [count].

    What it says is background, and boxes of no area, are left out.
    """
    boxes = found["boxes"]
    there = (found["labels"] > 0) & ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
    missing = count - int(there.sum())
    return {
        "boxes": F.pad(boxes[there], (0, 0, 0, missing)),
        "score": F.pad(found["scores"][there], (0, missing), value=NOTHING),
        "label": F.pad(found["labels"][there] - 1, (0, missing), value=NOTHING),
    }
