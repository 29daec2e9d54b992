"""Optimizers, gradient clipping and averaged weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.errors import UsageError
from tenfold.models.contract import Model, Step
from tenfold.recipe import TrainSettings
from tenfold.train.light import light
from tenfold.train.muon import Muon

LEARNING_RATES = {"muon": 0.04, "adamw": 0.005, "sgd": 0.1}
"""The default peak of each optimizer."""

_FEW_INPUTS = 4  # kernels over so few channels (images, or one channel each) are not of the hidden layers
_REST = LEARNING_RATES["adamw"] / LEARNING_RATES["muon"]

_SGD, _ADAMW = light(torch.optim.SGD), light(torch.optim.AdamW)


def make_optimizer(step: Step, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of one step; weights of one dimension (biases, normalization) do not decay.

    Muon is for the kernels of hidden convolutions; all else is stepped by AdamW, at an eighth of its rate. The step's
    own `rates` come on top. Raises UsageError for "auto", which `choose_settings` settles.
    """
    if settings.optimizer == "auto":
        raise UsageError("train.optimizer must be muon, adamw or sgd here; choose_settings settles auto.")
    with_muon = settings.optimizer == "muon"
    rest = _REST if with_muon else 1.0
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for weight, rate in zip(step.parameters, step.rates or [1.0] * len(step.parameters), strict=True):
        if not weight.requires_grad:
            continue
        orthogonal = with_muon and weight.ndim == 4 and weight.shape[1] > _FEW_INPUTS
        decay = settings.weight_decay if weight.ndim > 1 else 0.0
        groups.setdefault((decay, rate if orthogonal else rate * rest, orthogonal), []).append(weight)
    made = [
        {"params": weights, "weight_decay": decay, "factor": factor, "orthogonal": orthogonal}
        for (decay, factor, orthogonal), weights in groups.items()
    ]
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return _SGD(made, lr=settings.lr, momentum=settings.momentum, nesterov=nesterov, foreach=True)
    usual: dict[str, Any] = {"lr": settings.lr, "betas": (settings.momentum, 0.999), "foreach": True}
    return Muon(made, precision=settings.precision, **usual) if with_muon else _ADAMW(made, **usual)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of the next step."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]


def clip_gradients(parameters: Iterable[nn.Parameter], most: float) -> None:
    """Scale the gradients down so that their common norm is at most `most`; 0 leaves them."""
    if most > 0:
        torch.nn.utils.clip_grad_norm_(parameters, most, foreach=True)


class AveragedWeights:
    """An exponential moving average of a model's state (Polyak averaging), buffers included."""

    def __init__(self, model: Model) -> None:
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: Model, step: int, horizon: float) -> None:
        """Take in the weights after `step` steps (from 1), averaged over about the last `horizon` steps.

        Over fewer in the beginning, so that the start is forgotten; a horizon of at most 1 averages nothing.
        """
        weight = max(1 / max(horizon, 1.0), 1 - (1 + step) / (10 + step)) if horizon > 1 else 1.0
        state = model.state_dict()
        floats = [name for name, value in state.items() if value.is_floating_point()]
        old: list[Tensor] = [self.state[name] for name in floats]
        torch._foreach_lerp_(old, [state[name] for name in floats], weight)
        for name in state.keys() - set(floats):
            self.state[name].copy_(state[name])
