"""Layers that several networks share, and how their weights start.

Shapes: N images, C channels, H x W pixels, U units.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tenfold.errors import UsageError

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}

_GAINS = {"tanh": 5 / 3, "sigmoid": 1.0, "leaky_relu": math.sqrt(2 / (1 + 0.01**2))}
"""By what an activation shrinks the signal (torch.nn.init.calculate_gain); the rectifiers' sqrt(2) is the default."""


def make_activation(name: str) -> nn.Module:
    """A fresh activation layer of that name."""
    inplace = {"inplace": True} if name in ("relu", "leaky_relu", "silu") else {}
    return ACTIVATIONS[name](**inplace)


def make_norm(name: str, channels: int) -> nn.Module:
    """Batch normalization (Ioffe and Szegedy 2015), group normalization (Wu and He 2018) or none: [N, C, H, W].

    Raises UsageError for "auto", which `choose_settings` settles.
    """
    if name == "auto":
        raise UsageError("model.norm must be batch, group or none here; choose_settings settles auto.")
    if name == "batch":
        return nn.BatchNorm2d(channels)
    if name == "group":
        return nn.GroupNorm(math.gcd(channels, 8), channels)
    return nn.Identity()


def make_convolution(inputs: int, outputs: int, size: int, stride: int, norm: str) -> nn.Conv2d:
    """A convolution that keeps H and W at stride 1; it has a bias only where no normalization follows."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=norm == "none")


def start_weights(network: nn.Module, activation: str) -> None:
    """Start every convolution and linear layer so that the signal keeps its variance through `activation`.

    He et al. 2015 (fan in) for the rectifiers, Glorot and Bengio 2010 (both fans) for tanh and sigmoid.
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            if activation in ("tanh", "sigmoid"):
                nn.init.xavier_normal_(layer.weight, gain=_GAINS[activation])
            else:
                gain = _GAINS.get(activation, math.sqrt(2))
                nn.init.normal_(layer.weight, std=gain / math.sqrt(layer.weight[0].numel()))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def make_head(features: int, hidden: tuple[int, ...], classes: int, settings: dict[str, Any]) -> nn.Sequential:
    """[N, features] -> fully connected layers of `hidden` units, dropout before the last -> logits [N, classes]."""
    layers: list[nn.Module] = []
    for units in hidden:
        layers += [nn.Linear(features, units), make_activation(settings["activation"])]
        features = units
    if settings["dropout"] > 0:
        layers.append(nn.Dropout(settings["dropout"]))
    return nn.Sequential(*layers, nn.Linear(features, classes))


def soft_cross_entropy(logits: Tensor, target: Tensor, smoothing: float, weights: Tensor | None) -> Tensor:
    """Mean cross-entropy of logits [N, K] and soft labels [N, K], computed in float32.

    `weights` [K] scales what a label has of each class, and the mean is one by these weights. `smoothing` is a share of
    that, spread evenly over the classes: were it weighted by class, as in torch's cross_entropy, a class 30 times rarer
    than the rest would be the best answer to every image.
    """
    mass = target if weights is None else target * weights
    spread = mass * (1 - smoothing) + smoothing * mass.mean(1, keepdim=True)
    return -(spread * F.log_softmax(logits.float(), dim=1)).sum() / mass.sum()


@torch.no_grad()
def soft_accuracy(logits: Tensor, target: Tensor) -> Tensor:
    """Share of the images whose highest logit is at the label's largest component: a scalar."""
    return (logits.argmax(1) == target.argmax(1)).float().mean()
