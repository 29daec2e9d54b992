"""Optimizers: Muon against the singular value decomposition, the light ones against PyTorch's own."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tenfold.errors import UsageError
from tenfold.models.contract import Step
from tenfold.recipe import TrainSettings
from tenfold.train import muon
from tenfold.train.light import light
from tenfold.train.muon import orthogonalize
from tenfold.train.optimizer import LEARNING_RATES, make_optimizer, set_rate


@pytest.mark.parametrize(("precision", "blur"), [("float32", 0.02), ("bfloat16", 0.06)])
@pytest.mark.parametrize("shape", [(8, 72), (64, 32), (16, 16), (256, 2304)])
def test_orthogonalize_brings_every_singular_value_near_one_and_keeps_the_directions(shape, precision, blur):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    made = orthogonalize(3e-4 * matrix, precision)
    inside = u.T @ made @ v.T
    wide = values > 0.02 * values.max()
    assert made.shape == shape
    assert made.dtype == torch.float32
    assert ((inside.diag() > 0.6) & (inside.diag() < 1.25))[wide].all()
    assert (inside - torch.diag(inside.diag())).abs().max() < blur


def test_an_optimizer_that_is_left_open_is_refused():
    with pytest.raises(UsageError, match="must be muon, adamw or sgd here"):
        make_optimizer(Step("only", lambda batch: None, parameters((2, 2))), TrainSettings())


def test_orthogonalize_of_nothing_is_nothing():
    assert orthogonalize(torch.zeros(4, 9)).abs().max() == 0


def test_muon_steps_in_the_precision_of_the_training(monkeypatch):
    asked = []
    monkeypatch.setattr(muon, "orthogonalize", lambda matrix, precision: asked.append(precision) or matrix)
    [weight] = parameters((8, 8, 3, 3))
    weight.grad = torch.ones_like(weight)
    settings = TrainSettings(optimizer="muon", lr=0.01, precision="bfloat16")
    make_optimizer(Step("only", lambda batch: None, [weight]), settings).step()
    assert asked == ["bfloat16"]


def parameters(*shapes):
    generator = torch.Generator().manual_seed(1)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in shapes]


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
def test_a_step_has_rates_of_its_own(name):
    weights = parameters((8, 8, 3, 3), (8, 8, 3, 3), (5, 8), (5, 8))
    alone = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    settings = TrainSettings(optimizer=name, lr=0.01, weight_decay=0.0)
    both = make_optimizer(Step("both", lambda batch: None, weights, [1.0, 0.1, 1.0, 0.1]), settings)
    each = [make_optimizer(Step("one", lambda batch: None, [weight]), settings) for weight in alone]
    for weight, twin in zip(weights, alone, strict=True):
        weight.grad = torch.sin(37 * weight.detach())
        twin.grad = weight.grad.clone()
    set_rate(both, 0.01)
    both.step()
    for optimizer, rate in zip(each, [0.01, 0.001, 0.01, 0.001], strict=True):
        set_rate(optimizer, rate)
        optimizer.step()
    for weight, twin in zip(weights, alone, strict=True):
        torch.testing.assert_close(weight, twin)


def test_muon_turns_hidden_kernels_and_adamw_does_the_rest():
    weights = parameters((16, 3, 3, 3), (32, 16, 3, 3), (32,), (5, 32))
    optimizer = make_optimizer(
        Step("only", lambda batch: None, weights), TrainSettings(optimizer="muon", lr=0.04, momentum=0.9)
    )
    before = [weight.detach().clone() for weight in weights]
    twins = [torch.nn.Parameter(weight.detach().clone()) for weight in weights]
    oracle = torch.optim.AdamW(
        [{"params": twins[::3], "weight_decay": 0.05}, {"params": twins[2:3], "weight_decay": 0.0}], lr=0.005
    )
    for weight, twin in zip(weights, twins, strict=True):
        weight.grad = torch.sin(37 * weight.detach())
        twin.grad = weight.grad.clone()
    gradient = weights[1].grad.flatten(1).double()
    set_rate(optimizer, 0.04)
    optimizer.step()
    oracle.step()
    for place in (0, 2, 3):
        torch.testing.assert_close(weights[place], twins[place])
    u, _, v = torch.linalg.svd(gradient, full_matrices=False)
    moved = (before[1] * (1 - 0.04 * 0.05) - weights[1].detach()).flatten(1).double() / 0.04
    assert torch.nn.functional.cosine_similarity(moved.flatten(), (u @ v).flatten(), dim=0) > 0.95
    assert weights[1].grad is None


@pytest.mark.parametrize(("name", "kind"), [("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)])
def test_the_light_optimizers_step_as_pytorchs_own(name, kind):
    weights, twins = parameters((4, 3), (4,)), parameters((4, 3), (4,))
    settings = TrainSettings(optimizer=name, lr=LEARNING_RATES[name], weight_decay=0.0, momentum=0.9)
    options = {"nesterov": True, "momentum": 0.9} if name == "sgd" else {"weight_decay": 0.0}
    ours, theirs = (
        make_optimizer(Step("only", lambda batch: None, weights), settings),
        kind(twins, settings.lr, **options),
    )
    for number in range(5):
        for weight, twin in zip(weights, twins, strict=True):
            weight.grad = torch.cos(weight.detach() + number)
            twin.grad = weight.grad.clone()
        ours.step()
        theirs.step()
    for weight, twin in zip(weights, twins, strict=True):
        torch.testing.assert_close(weight, twin)
    content = ours.state_dict()
    again = make_optimizer(Step("only", lambda batch: None, weights), settings)
    again.load_state_dict(content)
    assert again.state_dict()["state"].keys() == content["state"].keys()


def test_a_light_optimizer_does_not_import_the_compiler():
    code = (
        "import sys, torch; from tenfold.train.light import light; "
        "o = light(torch.optim.AdamW)([torch.nn.Parameter(torch.ones(2))], lr=0.1); o.param_groups[0]['params'][0].grad"
        " = torch.ones(2); o.step(); o.zero_grad(); o.load_state_dict(o.state_dict()); "
        "print('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_light_is_the_same_kind():
    optimizer = light(torch.optim.SGD)([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    assert isinstance(optimizer, torch.optim.SGD)
    assert np.isclose(optimizer.param_groups[0]["lr"], 0.1)
