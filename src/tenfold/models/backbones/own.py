"""The convolutional part of a network that Tenfold trained from scratch, as a backbone.

What is in a run's model.json and model.safetensors goes in, as data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from tenfold.errors import UsageError
from tenfold.images.preprocess import Preprocessing
from tenfold.models.backbones.backbone import Backbone, group_layers, of_imagenet
from tenfold.models.contract import Model
from tenfold.models.plain import PlainNetwork
from tenfold.models.residual import ResidualNetwork, halvings_of
from tenfold.models.weights.read import Tensors
from tenfold.recipe import Recipe

OWN: dict[str, type[Model]] = {"plain": PlainNetwork, "residual": ResidualNetwork}
"""The architectures that have a convolutional part."""

SHAPE: dict[str, tuple[str, ...]] = {
    "plain": ("channels", "width", "layers", "pool", "pool_every", "activation", "norm"),
    "residual": ("channels", "width", "layers", "halvings", "pool", "activation", "norm"),
}
"""What each one's convolutional part is built from: a run's channels, and settings."""

_BEFORE = ("channels", "width", "layers", "stem_stride", "activation", "norm")
"""What the residual network of a run from before 28 November 2026 is named by."""

_SIZE = 96  # of images in pixels, where no run says it


class OwnNetwork(Backbone):
    """The convolutional part of one of OWN.

    Its name says how it is built, each of SHAPE: "residual:channels=3,width=32,...". Without `model`, a network of that
    shape, its weights are new.
    """

    def __init__(self, name: str, model: Model | None = None) -> None:
        architecture, shape = _read_name(name)
        channels, halvings = shape.pop("channels"), shape.pop("halvings", 3)
        half = (0.5,) * channels
        colors = {"channels": "grey" if channels == 1 else "rgb", "mean": half, "std": half}
        super().__init__(name, of_imagenet(_SIZE, **colors, origin="none: never trained"))
        if model is None:
            # Its last layers, which are not taken, are whatever they are by default.
            settings = asdict(Recipe().change(model=shape).model)  # refuses what no run can have
            model = OWN[architecture](channels, ("one",), settings | {"halvings": halvings})
        parts = (model.features,) if isinstance(model, PlainNetwork) else (model.stem, model.blocks)
        layers = [layer for part in parts for layer in part.children()]  # type: ignore[union-attr]
        self.layers = nn.ModuleList(group_layers(layers))
        self.measure()

    def stages(self) -> list[nn.Module]:
        return list(self.layers)

    def file_names(self, tensors: Tensors) -> Mapping[str, str]:
        raise UsageError(f"The weights of {self.name} come out of a run: name its folder with --init.")


def own_backbone(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    """The convolutional part of the network that a run's card describes, with the run's weights and preprocessing."""
    architecture = card["architecture"]
    if (members := card["settings"].get("members", 1)) > 1:
        raise UsageError(f"transfer.init (--init) must be a run with one network, and that one has {members}.")
    model = OWN[architecture](card["channels"], tuple(card["classes"]), card["settings"])
    model.load_state_dict(dict(tensors))
    settings = card["settings"]
    # Runs from before keep the name that the recipes made of them have. What they do not say had no other value.
    names = _BEFORE if architecture == "residual" and "halvings" not in settings else SHAPE[architecture]
    known = {"stem_stride": 1, **settings, "channels": card["channels"]}
    shape = ",".join(f"{name}={known[name]}" for name in names)
    backbone = OwnNetwork(f"{architecture}:{shape}", model)
    backbone.preprocessing = Preprocessing.from_json(card["preprocessing"])
    return backbone


def _read_name(name: str) -> tuple[str, dict[str, Any]]:
    """Architecture and shape of "residual:channels=3,width=32,..."."""
    architecture, _, text = name.partition(":")
    pairs = [pair.partition("=")[::2] for pair in text.split(",")]
    shape = {key: int(value) if value.isdecimal() else value for key, value in pairs}
    if tuple(shape) == _BEFORE and shape["stem_stride"] in (1, 2):
        shape |= {"halvings": halvings_of(shape), "pool": "stride"}
        del shape["stem_stride"]
    known = set(shape) == set(SHAPE[architecture])
    if not known or shape["channels"] not in (1, 3) or shape.get("halvings", 3) not in (2, 3, 4):
        wanted = ",".join(f"{key}=..." for key in SHAPE[architecture])
        raise UsageError(f"The backbone must be {architecture}:{wanted}, as a run names it, not {name!r}.")
    return architecture, shape
