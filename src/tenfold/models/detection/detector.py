"""Detector: what all networks that find objects in boxes have in common.

Shapes: N images, C channels, H x W pixels, L levels, D detections of an image, K classes.

    images                              [N, C, H, W]
    backbone: its maps                  [N, C_i, H / s_i, W / s_i]
    pyramid, or one of the maps as is   [N, W0, H / s, W / s], L times

The backbone keeps the statistics of its batch normalization, since batches of detectors are small. Its stages up to the
stride `fixed_stride` never learn: they see edges and colors, and most of a step's time would go into them (Girshick,
"Fast R-CNN", 2015, section 4.5). The others learn one after the other, the last one after the share `frozen` of the
training, all after the share `thawed`; and slower the deeper, at `rate_decay` times the rate for each halving of maps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from tenfold.errors import UsageError
from tenfold.images.batch import Batch
from tenfold.images.pixels import CHANNELS
from tenfold.models.backbones import BUILT_IN, Backbone, bare_backbone
from tenfold.models.backbones.backbone import map_stride
from tenfold.models.contract import Model, Prediction, Step, Usual
from tenfold.models.detection.kernels import Pool
from tenfold.models.detection.pyramid import Pyramid
from tenfold.models.detection.roi import DETECTIONS, Limits, RegionHeads, narrow_heads, truncate_heads
from tenfold.models.frozen import OnBackbone

_PROBE = 128
"""Side of the image, in pixels, that the stages' strides are measured on."""
_AT_ONCE = 8
"""Images that the backbone sees at once in evaluation; its first maps take tens of MiB each."""
_PYRAMID_FROM, _SINGLE = 8, 16
"""The stride of a pyramid's finest map, and that of the one map without a pyramid, where the settings leave it open."""

_OVERLAP = 0.5


class Detector(OnBackbone, Model):
    """A backbone, a pyramid on it, and heads on regions.

    Settings: "backbone", "weights", "init", "frozen", "thawed", "rate_decay" of [transfer]; "pyramid", "pyramid_width",
    "stride", "fixed_stride", "proposals", "regions", "background_from", "units", "rank", "pool", "score", "overlap",
    "detections" of [detect].
    """

    task: ClassVar[str] = "detection"
    usual: ClassVar[Usual] = Usual(
        "adamw",
        0.08,
        images=5_000,
        epochs=(8, 60),
        size=416,
        aspect=0.0,
        margin=1.0,
        fit="squash",
        policy="light",
        keep="last",
    )
    sections: ClassVar[tuple[str, ...]] = ("model", "transfer", "detect")
    reads: ClassVar[tuple[str, ...]] = (
        "pyramid",
        "pyramid_width",
        "stride",
        "fixed_stride",
        "proposals",
        "regions",
        "background_from",
        "units",
        "rank",
        "pool",
        "score",
        "overlap",
        "detections",
    )
    usual_pool: ClassVar[Pool] = "align"
    """How regions are cut out where the settings leave it open."""

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        self.backbone = bare_backbone(settings["backbone"])
        if not self.backbone.stages():
            raise _unfit(self.backbone, "whose layers can learn")
        if self.backbone.fixed_size:
            raise _unfit(self.backbone, f"that takes images of any size, not of {self.backbone.fixed_size} px alone")
        every = zip(self.backbone.stages(), stage_strides(self.backbone), strict=True)
        self.learning = [(stage, stride) for stage, stride in every if stride > settings["fixed_stride"]]
        self.backbone.requires_grad_(False)
        for stage, _ in self.learning:
            stage.requires_grad_(True)
        self.levels = choose_levels(self.backbone.strides, settings["stride"], settings["pyramid"])
        self.strides = tuple(self.backbone.strides[place] for place in self.levels)
        inputs = [self.backbone.channels[place] for place in self.levels]
        self.width = settings["pyramid_width"] if settings["pyramid"] else inputs[0]
        self.pyramid = Pyramid(inputs, self.width) if settings["pyramid"] else None
        pool: Pool = self.usual_pool if settings["pool"] == "auto" else settings["pool"]
        self.heads = RegionHeads(self.width, self.strides, len(classes), settings["units"], pool)
        self.limits = Limits(settings["score"], settings["overlap"] or _OVERLAP, settings["detections"] or DETECTIONS)
        self.rank: int = settings.get("rank", 0)  # runs of before have none

    def maps(self, images: Tensor) -> list[Tensor]:
        """What the heads see: [N, W0, H / s, W / s] of each level, fine to coarse."""
        if torch.is_grad_enabled() or len(images) <= _AT_ONCE:
            return self._maps(images)
        parts = [self._maps(images[start : start + _AT_ONCE]) for start in range(0, len(images), _AT_ONCE)]
        return [torch.cat(level) for level in zip(*parts, strict=True)]

    def _maps(self, images: Tensor) -> list[Tensor]:
        found = self.backbone.maps(images)
        chosen = [found[place] for place in self.levels]
        levels: list[Tensor] = self.pyramid(chosen) if self.pyramid else chosen
        return levels

    @torch.no_grad()
    def decode(self, outputs: dict[str, Tensor], affine: Tensor) -> list[Prediction]:
        """One image's prediction: D' detections, the surest first.

        "boxes" float32 [D', 4] xyxy in pixels of the original image, "score" float32 [D'] from 0 to 1, calibrated where
        a temperature was fitted, and "label" int64 [D'], places in the classes. The boxes lie within what the network
        sees and right of and below 0; where an image was padded, they may reach into that on the right and below, as
        the image's own size is not known here: whoever has it cuts them there.
        """
        return decode_detections(outputs, affine, self.temperature)

    def train(self, mode: bool = True) -> Self:
        """Training mode never reaches the backbone, whose batch normalization keeps its statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def steps(self) -> list[Step]:
        parameters = [value for name, value in self.named_parameters() if not name.startswith("backbone.")]
        rates = [1.0] * len(parameters)
        for stage, stride in self.learning:
            own = list(stage.parameters())
            depth = 1 + math.log2(self.backbone.strides[-1] / stride)
            parameters += own
            rates += [self.settings["rate_decay"] ** depth] * len(own)
        return [Step("model", self.losses, parameters, rates)]

    def learn(self, done: float) -> None:
        """Let the stages of the backbone learn that are due after the share `done` of the training."""
        frozen = self.settings["frozen"]
        thawed = max(frozen, self.settings["thawed"])
        for depth, (stage, _) in enumerate(reversed(self.learning)):
            due = frozen + (thawed - frozen) * depth / max(len(self.learning) - 1, 1)
            stage.requires_grad_(done >= due)

    def fit(self, batches: Iterable[Batch]) -> None:
        """Make the heads quicker, once they are trained, where "rank" says so."""
        if self.rank:
            truncate_heads(self.heads, self.rank)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Those of a run that has ended are of truncated heads, where "rank" says so; all others of whole ones."""
        if self.rank and _hidden(state_dict) != _hidden(self.state_dict()):
            narrow_heads(self.heads, self.rank)
        return super().load_state_dict(state_dict, strict, assign)


def _hidden(state: Mapping[str, Any]) -> set[str]:
    """The names of tensors of the heads' hidden layers."""
    return {name for name in state if name.startswith("heads.hidden.")}


@torch.no_grad()
def stage_strides(backbone: Backbone) -> list[int]:
    """The stride of what each stage of a backbone gives, by one small image; 0 where its maps are made without it.

    Such are an embedding after the maps, and the layers that timm has for the classifier alone: nothing would teach
    them. A stage that the network goes through part by part gives what its last part does: timm calls the single layers
    that `group_layers` joins to one.
    """
    found: dict[int, Tensor] = {}
    whole = set[int]()

    def note(place: int, stage: nn.Module, module: nn.Module, inputs: object, output: object) -> None:
        if place in whole or not isinstance(output, Tensor):
            return
        if module is stage:
            whole.add(place)
            _need_map(backbone, output)
        found[place] = output

    stages = backbone.stages()
    hooks = [
        module.register_forward_hook(partial(note, place, stage))
        for place, stage in enumerate(stages)
        for module in stage.modules()
    ]
    try:
        backbone.maps(torch.zeros(1, CHANNELS[backbone.preprocessing.channels], _PROBE, _PROBE))
    finally:
        for hook in hooks:
            hook.remove()
    for output in found.values():
        _need_map(backbone, output)
    return [map_stride(_PROBE, _channels_first(found[place])) if place in found else 0 for place in range(len(stages))]


def _channels_first(output: Tensor) -> Tensor:
    """A map of a square image, [N, C, S, S] or [N, S, S, C] as some networks of timm have it -> [N, C, S, S]."""
    return output if output.shape[2] == output.shape[3] else output.movedim(3, 1)


def _need_map(backbone: Backbone, output: Tensor) -> None:
    if output.ndim != 4:
        raise _unfit(backbone, "that makes maps of an image, not a row of vectors")


def need_maps(backbone: Backbone) -> None:
    """Raise UsageError for a network that makes no maps, as an ONNX graph, which gives a vector an image."""
    if not backbone.channels:
        raise _unfit(backbone, "that makes maps of an image")


def _unfit(backbone: Backbone, wanted: str) -> UsageError:
    return UsageError(
        f"transfer.backbone (--backbone) must be a network {wanted}, to find objects with, not {backbone.name}; "
        f"leave it out (and its --weights) for {BUILT_IN}."
    )


def choose_levels(strides: Sequence[int], stride: int, pyramid: bool) -> list[int]:
    """Which of a backbone's maps, of these strides, a detector uses: those from `stride` on, or without a pyramid it.

    0 stands for the usual stride, or the backbone's largest where that is less. Raises UsageError where there is none.
    """
    if stride and stride not in strides:
        known = ", ".join(map(str, strides))
        raise UsageError(f"detect.stride must be one of the backbone's strides {known}, or 0, not {stride}.")
    least = stride or min(_PYRAMID_FROM if pyramid else _SINGLE, strides[-1])
    found = [place for place, own in enumerate(strides) if own >= least]
    return found if pyramid else found[:1]


@torch.no_grad()
def decode_detections(outputs: dict[str, Tensor], affine: Tensor, temperature: float) -> list[Prediction]:
    """What `best_boxes` gives of N images -> their predictions, as `Detector.decode` has them."""
    label, score = outputs["label"].cpu(), outputs["score"].float().cpu()
    boxes = original_boxes(outputs["boxes"].cpu(), affine.cpu()).float()
    if temperature != 1:
        score = torch.sigmoid(torch.logit(score.clamp(0, 1)) / temperature)
    found = {"boxes": boxes, "score": score, "label": label}
    there = label >= 0
    return [
        {name: values[image][there[image]].numpy() for name, values in found.items()} for image in range(len(there))
    ]


def original_boxes(boxes_xyxy: Tensor, affine: Tensor) -> Tensor:
    """Boxes [N, D, 4] of the network's input -> of the original images, none of it left of or above 0: [N, D, 4].

    `affine` [N, 2, 3] takes original to input; where it turns, the result is the hull of the turned corners.
    """
    corners = boxes_xyxy.double()[..., [[0, 1], [2, 1], [2, 3], [0, 3]]]  # [N, D, 4, 2]
    shift, scale = affine[:, None, None, :, 2].double(), affine[:, :, :2].double()
    points = (corners - shift) @ torch.linalg.inv(scale).transpose(1, 2)[:, None]
    return torch.cat([points.amin(2), points.amax(2)], -1).clamp(min=0)


def image_size(images: Tensor) -> tuple[int, int]:
    """Height and width of images [N, C, H, W]."""
    return images.shape[2], images.shape[3]
