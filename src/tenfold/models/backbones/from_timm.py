"""timm:NAME: any network of timm, PyTorch Image Models, that gives its maps.

https://huggingface.co/docs/timm. The feature vector is what timm's own pooling makes of the last map, which for some
networks is more than its mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.errors import UsageError
from tenfold.images.preprocess import Preprocessing
from tenfold.models.backbones.backbone import Backbone, group_layers, layer_names, map_stride, of_imagenet
from tenfold.models.weights.packages import need_package
from tenfold.models.weights.published import no_such_network
from tenfold.models.weights.read import Tensors

_OPENED = ("blocks", "features", "layers", "stages", "trunk")
"""Parts that hold the whole network: their members are stages."""


class TimmNetwork(Backbone):
    """A network of timm without its classifier."""

    def __init__(self, name: str) -> None:
        timm = need_package("timm", f"The backbone {name}")
        network = name.partition(":")[2]
        if not timm.is_model(network.partition(".")[0]):
            raise no_such_network("timm", network, timm.list_models())
        built = timm.create_model(network, num_classes=0).eval()
        about = built.pretrained_cfg
        if not hasattr(built, "forward_intermediates"):
            raise UsageError(f"The backbone {name} gives no maps in timm {timm.__version__}; choose another network.")
        super().__init__(name, _preprocessing(about))
        layers = about.get("classifier") or ()
        self.classifier = tuple(f"{layer}." for layer in ([layers] if isinstance(layers, str) else layers))
        self.network: Any = built
        self._stages = group_layers(_opened(built))
        self._fixed_size = _fixed_size(built, about)
        self.measure()

    @property
    def fixed_size(self) -> int:
        return self._fixed_size

    def stages(self) -> list[nn.Module]:
        return self._stages

    def maps(self, images: Tensor) -> list[Tensor]:
        last, found = self.network.forward_intermediates(images, indices=list(self._levels))
        return [*found[:-1], last if last.shape[2:] == found[-1].shape[2:] else found[-1]]

    def features(self, images: Tensor) -> Tensor:
        """float32 [N, C, H, W] -> [N, D], as timm pools."""
        found: Tensor = self.network(images)
        return found

    def file_names(self, tensors: Tensors) -> Mapping[str, str]:
        return {layer: f"network.{layer}".rstrip(".") for layer in layer_names(self.network)}

    @torch.no_grad()
    def measure(self) -> None:
        size = self.preprocessing.size
        images = torch.zeros(1, 3, size, size)
        deepest = {info["reduction"]: place for place, info in enumerate(self.network.feature_info)}
        if len(deepest) > 1:
            deepest.pop(1, None)
        self._levels = tuple(deepest.values())
        maps = self.maps(images)
        self.channels = tuple(found.shape[1] for found in maps)
        self.strides = tuple(map_stride(size, found) for found in maps)
        self.width = self.features(images).shape[1]


def _opened(network: nn.Module) -> list[nn.Module]:
    """The parts with weights, those that hold the whole network as their members."""
    found: list[nn.Module] = []
    for name, part in network.named_children():
        members = list(part.children()) if name in _OPENED else [part]
        found += [member for member in members if any(True for _ in member.parameters())]
    return found


def _fixed_size(network: Any, about: Mapping[str, Any]) -> int:
    """The one side of images that a network takes, 0 for any: what it was built as counts, then what timm states."""
    fixed = getattr(getattr(network, "patch_embed", None), "strict_img_size", about.get("fixed_input_size", False))
    return int(about["input_size"][1]) if fixed and not getattr(network, "dynamic_img_size", False) else 0


def _preprocessing(about: Mapping[str, Any]) -> Preprocessing:
    """What timm was told of the network's pretraining."""
    channels, size, _ = about["input_size"]
    if channels != 3:
        raise UsageError(f"The backbone must take images of 3 channels, not of {channels} ({about['architecture']}).")
    return of_imagenet(
        size,
        mean=tuple(about["mean"]),
        std=tuple(about["std"]),
        filter="cubic" if about["interpolation"] == "bicubic" else "triangle",
        origin="of the pretrained weights, as timm states",
    )
