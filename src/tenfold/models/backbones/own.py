"""The convolutional part of a network that Tenfold trained from scratch, as a backbone.

What is in a run's model.json and model.safetensors goes in, as data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tenfold.images.preprocess import Preprocessing
from tenfold.models.backbones.backbone import Backbone, group_layers
from tenfold.models.contract import Model
from tenfold.models.plain import PlainNetwork
from tenfold.models.residual import ResidualNetwork

OWN: dict[str, type[Model]] = {"plain": PlainNetwork, "residual": ResidualNetwork}
"""The architectures that have a convolutional part."""


class OwnNetwork(Backbone):
    """The convolutional part of one of OWN; its name says the architecture only, so a run builds it from its card."""

    def __init__(self, architecture: str, model: Model, preprocessing: Preprocessing) -> None:
        super().__init__(architecture, preprocessing)
        parts = (model.features,) if isinstance(model, PlainNetwork) else (model.stem, model.blocks)
        layers = [layer for part in parts for layer in part.children()]  # type: ignore[union-attr]
        self.layers = nn.ModuleList(group_layers(layers))
        self.measure()

    def stages(self) -> list[nn.Module]:
        return list(self.layers)


def own_backbone(card: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Backbone:
    """The convolutional part of the network that a run's card describes, with the run's weights and preprocessing."""
    model = OWN[card["architecture"]](card["channels"], tuple(card["classes"]), card["settings"])
    model.load_state_dict(dict(tensors))
    return OwnNetwork(card["architecture"], model, Preprocessing.from_json(card["preprocessing"]))
