"""Backbones: convolutional networks without their classifiers, pretrained or bare.

backbone.py           what every backbone is: maps, features, stages
inverted_residual.py  the block of the mobile networks
efficientnet_lite.py  EfficientNet-Lite 0 to 2; the first is built in
mobilenet.py          MobileNetV2
mobilefacenet.py      MobileFaceNet, which embeds faces
vgg.py                VGG-16
own.py                the networks that Tenfold trains from scratch
from_torchvision.py   torchvision:NAME
from_timm.py          timm:NAME
from_onnx.py          any ONNX graph that gives one vector an image, frozen
from_run.py           what an earlier run's folder holds
taught.py             which images have taught its network, or had a say in it

To add a network: write a file here with a subclass of `Backbone` and add its line to BACKBONES, and those of its
weights to PUBLISHED in ../weights/published.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tenfold.errors import DataError, UsageError
from tenfold.images.preprocess import Preprocessing
from tenfold.models.backbones.backbone import Backbone
from tenfold.models.backbones.efficientnet_lite import EfficientNetLite
from tenfold.models.backbones.from_onnx import PREPARATION, OnnxNetwork
from tenfold.models.backbones.from_run import damaged, read_earlier
from tenfold.models.backbones.from_timm import TimmNetwork
from tenfold.models.backbones.from_torchvision import TorchvisionNetwork
from tenfold.models.backbones.mobilefacenet import MobileFaceNet
from tenfold.models.backbones.mobilenet import MobileNetV2
from tenfold.models.backbones.own import OWN, OwnNetwork, own_backbone
from tenfold.models.backbones.vgg import VGG16
from tenfold.models.weights.places import file_hash, find_published, known_file, origin_of
from tenfold.models.weights.published import Origin, no_such_name
from tenfold.models.weights.read import READERS, Tensors, read_graph, read_tensors

__all__ = [
    "BACKBONES",
    "BUILT_IN",
    "NAMES",
    "OWN",
    "Backbone",
    "backbone_of_run",
    "bare_backbone",
    "make_backbone",
    "network_of_file",
    "take_backbone",
]

BackboneMaker = Callable[[str], Backbone]
"""Makes the network of that whole name, with weights that were never trained."""

BACKBONES: dict[str, BackboneMaker] = {
    "efficientnet-lite0": EfficientNetLite,
    "efficientnet-lite1": EfficientNetLite,
    "efficientnet-lite2": EfficientNetLite,
    "mobilenetv2": MobileNetV2,
    "mobilenetv2-google": MobileNetV2,
    "mobilefacenet": MobileFaceNet,
    "vgg16": VGG16,
    "torchvision": TorchvisionNetwork,
    "timm": TimmNetwork,
    "onnx": OnnxNetwork,
}
"""Name -> how it is made. What needs to be said beside the name follows a colon: "torchvision:resnet18"."""
_MORE_SAID = ("torchvision", "timm", "onnx")
NAMES = [name for name in BACKBONES if name not in _MORE_SAID]
"""The networks whose name says it all."""
BUILT_IN = "efficientnet-lite0"
"""The one whose weights come with Tenfold: what is meant where none is named."""


def make_backbone(name: str, weights: Path | None = None) -> tuple[Backbone, Origin]:
    """A pretrained backbone in evaluation mode, and whose weights it has; built again by `bare_backbone(its .name)`.

    `name` is a key of BACKBONES, "torchvision:NAME" or "timm:NAME"; "onnx" needs `weights`. `weights` is a file as
    `read_tensors` reads it; without it the published weights are taken, which must be on this machine. Raises
    UsageError for a name that is not known, DataError where weights are not here (the text says how to get them) or
    do not fit.
    """
    backbone = bare_backbone(name)
    if weights is None:
        found = find_published(name)
        backbone.take(found.path)
        return backbone.eval(), found.published.origin(found.sha256)
    backbone.take(weights)
    digest = _digest(weights)
    origin = origin_of(name, weights, digest)
    if isinstance(backbone, OnnxNetwork) and not known_file(weights, digest):
        origin = replace(origin, note=f"{origin.note}; {PREPARATION}")
    return backbone.eval(), origin


def network_of_file(file: Path) -> str:
    """Whose weights a file holds: a key of BACKBONES that needs no more said, found by trying each in turn.

    A file that is published is known by its hash; any other .onnx is a graph to be run. Raises UsageError where the
    weights fit none of these networks, DataError where they fit one but hold numbers that are not finite, and what
    `read_tensors` raises.
    """
    if published := known_file(file, file_hash(file)):
        return published.backbone
    if file.suffix.lower() == ".onnx":
        return "onnx"
    tensors = read_tensors(file)
    if name := _fitting(NAMES, tensors, file):
        return name
    finite = {key: torch.nan_to_num(value) for key, value in tensors.items()}
    if name := _fitting(NAMES, finite, file):
        bare_backbone(name).take_tensors(tensors, file)  # raises, and says which numbers are not
    raise UsageError(
        f"The weights {file} fit none of {', '.join(NAMES)}; say whose they are, --backbone torchvision:NAME or "
        "--backbone timm:NAME, and where they are an earlier run's, name its folder instead: --init RUN"
    )


def _fitting(named: Sequence[str], tensors: Tensors, file: Path) -> str:
    """The first of these networks that tensors of a file fit; empty where none is."""
    for name in named:
        try:
            bare_backbone(name).take_tensors(tensors, file)
        except DataError:
            continue
        return name
    return ""


def _digest(file: Path) -> str:
    """SHA-256 of a file of weights, hexadecimal; of an ONNX file with what it keeps in other files."""
    return hashlib.sha256(read_graph(file)).hexdigest() if file.suffix.lower() == ".onnx" else file_hash(file)


def bare_backbone(name: str) -> Backbone:
    """The network of that name with weights that were never trained: what a run's weights are loaded into."""
    family = name.partition(":")[0]
    if family in OWN:
        return OwnNetwork(name)
    if family not in BACKBONES or (family in NAMES and family != name):
        raise _no_such(name)
    return BACKBONES[family](name)


def _no_such(name: str) -> UsageError:
    """The error for what is no network's name; it may be that of a file or a run."""
    if (Path(name) / "model.json").is_file():
        return UsageError(
            f"The backbone must be a network's name, and {name} is a run: to train on its network give --init {name}"
        )
    if name.lower().endswith(tuple(READERS)) or Path(name).is_file():
        return UsageError(
            f"The backbone must be a network's name, and {name} is a file: give it by --weights {name}, and no "
            "--backbone where the network is to be found by what the file holds."
        )
    return no_such_name("The backbone", name, NAMES)


def take_backbone(folder: Path) -> tuple[Backbone, Origin]:
    """The backbone inside the folder of an earlier run, as `backbone_of_run` gives it, and whose weights it has.

    Raises DataError where that is no run, or damaged, UsageError where its model has no backbone.
    """
    earlier = read_earlier(folder)
    try:
        return backbone_of_run(earlier.card, earlier.tensors), earlier.origin
    except (KeyError, TypeError, RuntimeError) as error:
        raise damaged(folder, error) from error


def backbone_of_run(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    """The backbone inside an earlier run, from its model.json and its model.safetensors, in evaluation mode.

    That is the convolutional part of a network trained from scratch, or the backbone that the run had itself, as it
    was trained there; with the run's preprocessing. Raises UsageError for a run whose model has none.
    """
    settings = card["settings"]
    if "backbone" in settings:
        backbone = bare_backbone(settings["backbone"])
        inside = {key.removeprefix("backbone."): value for key, value in tensors.items() if key.startswith("backbone.")}
        backbone.load_state_dict(inside)
        backbone.preprocessing = Preprocessing.from_json(card["preprocessing"])
    elif card["architecture"] in OWN:
        backbone = own_backbone(card, tensors)
    else:
        raise UsageError(
            f"--init must be a run with a backbone or with one of {', '.join(OWN)}, not with {card['architecture']}."
        )
    return backbone.eval()
