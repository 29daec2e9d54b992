"""Every network that Tenfold trains.

contract.py    what a model is: outputs, decode, losses, steps, fit
layers.py      layers that several networks share, and how weights start
classifier.py  what all networks that name one class an image have in common
plain.py       the lecture's convolutional network, every choice a setting
residual.py    the better default from scratch
ensemble.py    several networks from scratch side by side
backbones/     pretrained networks without their classifiers
weights/       where their weights come from
heads/         what is fitted to features at once
views.py       the squares of an image that a frozen network sees
frozen.py      a frozen backbone with a head
finetuned.py   a backbone that learns too, with new layers on it
detection/     R-CNN, Fast and Faster R-CNN and torchvision's detectors, which find objects in boxes
card.py        what a run's model.json says of it
cost.py        parameters and multiply-adds
predictor.py   from images to predictions, some at a time

To add a model: write a file here with a subclass of `Model` (or `Classifier`) and add its line to MODELS.
"""

from __future__ import annotations

from typing import Any

from tenfold.errors import unknown
from tenfold.models.contract import Model
from tenfold.models.detection import RCNN, FasterRCNN, FastRCNN
from tenfold.models.detection.torchvision_detector import TorchvisionDetector
from tenfold.models.ensemble import Ensemble
from tenfold.models.finetuned import FineTunedNetwork
from tenfold.models.frozen import FrozenClassifier
from tenfold.models.plain import PlainNetwork
from tenfold.models.residual import ResidualNetwork

MODELS: dict[str, type[Model]] = {
    "plain": PlainNetwork,
    "residual": ResidualNetwork,
    "frozen": FrozenClassifier,
    "finetuned": FineTunedNetwork,
    "faster-rcnn": FasterRCNN,
    "fast-rcnn": FastRCNN,
    "rcnn": RCNN,
    "torchvision": TorchvisionDetector,
}


def find_model(name: str) -> type[Model]:
    """The class of the model of that name; a UsageError names the nearest one."""
    if name not in MODELS:
        raise unknown("model.name", name, MODELS)
    return MODELS[name]


def make_model(name: str, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> Model:
    """A fresh network, or as many side by side as the settings' "members", which runs before 28 November 2026 lack."""
    kind = find_model(name)
    several = settings.get("members", 1) > 1
    return Ensemble(kind, channels, classes, settings) if several else kind(channels, classes, settings)
