"""torchvision:NAME: torchvision's networks whose convolutional part is a chain of modules.

https://docs.pytorch.org/vision/stable/models.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from tenfold.errors import UsageError
from tenfold.images.preprocess import Preprocessing
from tenfold.models.backbones.backbone import Backbone, group_layers, layer_names, of_imagenet
from tenfold.models.weights.places import file_hash
from tenfold.models.weights.published import DETECTORS, hash_digits, no_such_network
from tenfold.models.weights.read import Tensors

_RESIDUAL = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")
CHAINS: dict[str, tuple[str, ...]] = {
    "alexnet": ("features",),
    "convnext": ("features",),
    "efficientnet": ("features",),
    "mnasnet": ("layers",),
    "mobilenet": ("features",),
    "regnet": ("stem", "trunk_output"),
    "resnet": _RESIDUAL,
    "resnext": _RESIDUAL,
    "shufflenet": ("conv1", "maxpool", "stage2", "stage3", "stage4", "conv5"),
    "squeezenet": ("features",),
    "vgg": ("features",),
    "wide_resnet": _RESIDUAL,
}
"""How a network's name begins -> its parts that, one after the other, make its last map."""

_OPENED = ("features", "layers", "trunk_output")
"""Parts that hold the whole network: their members are stages, or blocks of them."""


class TorchvisionNetwork(Backbone):
    """A network of torchvision without its classifier."""

    def __init__(self, name: str) -> None:
        import torchvision.models as library

        network = name.partition(":")[2]
        if network in DETECTORS:
            raise UsageError(f"The backbone {name} is a whole detector, which only --model torchvision takes.")
        known = library.list_models(module=library)
        if network not in known:
            raise no_such_network("torchvision", network, known)
        parts = next((parts for start, parts in CHAINS.items() if network.startswith(start)), None)
        if parts is None:
            raise UsageError(
                f"The backbone {name} is no chain of convolutions; of torchvision's networks those work whose name "
                f"begins with one of {', '.join(CHAINS)}. timm may have it: timm:NAME"
            )
        super().__init__(name, _preprocessing(library.get_model_weights(network).DEFAULT))
        built = dict(library.get_model(network, weights=None).named_children())
        self.classifier = tuple(f"{child}." for child in built if child not in parts)
        self.network = nn.ModuleDict({part: built[part] for part in parts})
        self._stages = group_layers(_opened(self.network))
        self.measure()

    def stages(self) -> list[nn.Module]:
        return self._stages

    def take_tensors(self, tensors: Tensors, file: Path) -> None:
        """As `Backbone.take_tensors`; sets the preprocessing that torchvision states for that file, known by its hash.

        For any other file it is that of the weights that torchvision prefers.
        """
        import torchvision.models as library

        super().take_tensors(tensors, file)
        weights, sha256 = library.get_model_weights(self.name.partition(":")[2]), file_hash(file)
        theirs = (each for each in weights if (digits := hash_digits(each.url)) and sha256.startswith(digits))
        self.preprocessing = _preprocessing(next(theirs, weights.DEFAULT))

    def file_names(self, tensors: Tensors) -> Mapping[str, str]:
        return {layer: f"network.{layer}" for layer in layer_names(self.network)}


def _opened(parts: nn.ModuleDict) -> list[nn.Module]:
    """The parts, those that hold the whole network as their members."""
    found: list[nn.Module] = []
    for name, part in parts.items():
        found += part.children() if name in _OPENED else [part]
    return found


def _preprocessing(weights: Any) -> Preprocessing:
    """What torchvision's `ImageClassification` transform says, with its defaults."""
    settings = weights.transforms.keywords
    mode = str(getattr(settings.get("interpolation"), "value", "bilinear"))
    changes = {key: settings[key] for key in ("mean", "std") if key in settings}
    return of_imagenet(settings.get("crop_size", 224), filter="cubic" if mode == "bicubic" else "triangle", **changes)
