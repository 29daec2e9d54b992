"""Optimizers, gradient clipping and averaged weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tenfold.models.contract import Model, Step
from tenfold.recipe import TrainSettings


def make_optimizer(step: Step, settings: TrainSettings) -> torch.optim.Optimizer:
    """The optimizer of one step; weights of one dimension (biases, normalization) do not decay."""
    decayed = [parameter for parameter in step.parameters if parameter.requires_grad and parameter.ndim > 1]
    free = [parameter for parameter in step.parameters if parameter.requires_grad and parameter.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        nesterov = settings.momentum > 0
        return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=nesterov, foreach=True)
    return torch.optim.AdamW(groups, lr=settings.lr, betas=(settings.momentum, 0.999), foreach=True)


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
