"""PyTorch's optimizers without its compiler, whose import takes 3 s at the start of a training."""

from __future__ import annotations

import inspect
from typing import TypeVar

import torch

_Optimizer = TypeVar("_Optimizer", bound=torch.optim.Optimizer)


def light(kind: type[_Optimizer]) -> type[_Optimizer]:
    """The same optimizer; its methods do not import torch._dynamo first, only to tell it to keep off them.

    The methods are those that PyTorch has wrapped so. Where a later PyTorch wraps them no more, nothing changes.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict", "step")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    methods["step"] = torch.no_grad()(methods["step"])
    made: type[_Optimizer] = type(kind.__name__, (kind,), methods)
    return made
