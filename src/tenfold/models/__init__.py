"""Every network that Tenfold trains.

contract.py    what a model is: outputs, decode, losses, steps, fit
layers.py      layers that several networks share, and how weights start
classifier.py  what all networks that name one class an image have in common
plain.py       the lecture's convolutional network, every choice a setting
residual.py    the better default from scratch
cost.py        parameters and multiply-adds

To add a model: write a file here with a subclass of `Model` (or `Classifier`) and add its line to MODELS.
"""

from __future__ import annotations

from tenfold.errors import unknown
from tenfold.models.contract import Model
from tenfold.models.plain import PlainNetwork
from tenfold.models.residual import ResidualNetwork

MODELS: dict[str, type[Model]] = {
    "plain": PlainNetwork,
    "residual": ResidualNetwork,
}


def find_model(name: str) -> type[Model]:
    """The class of the model of that name; a UsageError names the nearest one."""
    if name not in MODELS:
        raise unknown("model.name", name, MODELS)
    return MODELS[name]
