"""Contract tests over every network, and each setting's effect."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import nn

from tenfold.errors import UsageError
from tenfold.images.batch import Batch
from tenfold.models import MODELS, find_model
from tenfold.models.cost import Cost, count_cost
from tenfold.models.layers import ACTIVATIONS, soft_accuracy, soft_cross_entropy
from tenfold.models.residual import halvings_for
from tenfold.recipe import ModelSettings

CLASSES = ("a", "b", "c")
FROM_SCRATCH = [name for name, kind in MODELS.items() if "transfer" not in kind.sections]


def build(name, channels=3, **settings):
    torch.manual_seed(0)
    settings = {"width": 8, "norm": "batch"} | settings
    return MODELS[name](channels, CLASSES, dataclasses.asdict(ModelSettings(**settings)))


def batch(channels=3, size=24, count=4):
    torch.manual_seed(1)
    label = torch.eye(3)[torch.arange(count) % 3]
    keys = np.arange(count, dtype=np.uint64)
    affine = torch.eye(2, 3).expand(count, 2, 3)
    return Batch(torch.randn(count, channels, size, size), {"label": label}, np.arange(count), keys, affine)


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_the_contract_holds(name):
    model, given = build(name), batch()
    outputs = model.outputs(given.images)
    assert outputs["logits"].shape == (4, 3)
    predictions = model.predict(given.images, given.affine)
    assert len(predictions) == 4
    assert predictions[0]["probability"].sum() == pytest.approx(1, abs=1e-12)
    losses = model.losses(given)
    total = sum(losses.minimize.values())
    total.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert [step.name for step in model.steps()] == ["model"]


@pytest.mark.parametrize("name", FROM_SCRATCH)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 15, 33])
def test_small_and_odd_sizes_work(name, channels, size):
    assert build(name, channels, layers=3).outputs(torch.zeros(2, channels, size, size))["logits"].shape == (2, 3)


@pytest.mark.parametrize("name", FROM_SCRATCH)
def test_outputs_can_be_traced(name):
    model = build(name).eval()
    images = batch().images
    traced = torch.export.export(model, (images,)).module()
    torch.testing.assert_close(traced(images), model(images))


@pytest.mark.parametrize("name", FROM_SCRATCH)
@pytest.mark.parametrize(
    ("norm", "activation"),
    [
        (norm, name)
        for name in ACTIVATIONS
        for norm in ("batch", "group", "none")
        if (norm, name) != ("none", "sigmoid")
    ],
)
def test_every_setting_descends(name, norm, activation):
    """Not sigmoid without normalization: its gradients vanish, as the lecture says."""
    model, given = build(name, norm=norm, activation=activation, hidden=(16,)), batch(size=12)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    first = model.losses(given).minimize["loss"].item()
    for _ in range(12):
        optimizer.zero_grad()
        loss = model.losses(given).minimize["loss"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.98 * first


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "tanh"])
def test_the_start_keeps_the_signal_through_many_layers(activation):
    torch.manual_seed(0)
    settings = ModelSettings(width=32, layers=5, norm="none", pool="stride", activation=activation)
    model = MODELS["plain"](3, CLASSES, dataclasses.asdict(settings))
    scales = []
    signal = torch.randn(16, 3, 64, 64)
    for layer in model.features:
        signal = layer(signal)
        if isinstance(layer, nn.Conv2d):
            scales.append(signal.std().item())
    assert scales[-1] / scales[0] > 0.2
    assert scales[-1] / scales[0] < 5


def test_pool_dropout_and_hidden_layers_are_where_they_should_be():
    model = build("plain", pool="average", dropout=0.5, hidden=(20, 10), layers=2)
    kinds = [type(layer).__name__ for layer in [*model.features, *model.head]]
    assert kinds.count("AvgPool2d") == 2
    assert kinds[-6:] == ["Linear", "ReLU", "Linear", "ReLU", "Dropout", "Linear"]
    assert not any(isinstance(layer, nn.MaxPool2d) for layer in build("plain", pool="stride").modules())


def test_the_plain_network_halves_its_maps_and_doubles_its_width_as_often_as_it_is_told():
    model = build("plain", layers=5, pool_every=2)
    assert [layer.out_channels for layer in model.features if isinstance(layer, nn.Conv2d)] == [8, 8, 16, 16, 32]
    assert model.features(torch.zeros(1, 3, 16, 16)).shape == (1, 32, 4, 4)
    strided = build("plain", layers=5, pool_every=2, pool="stride").features(torch.zeros(1, 3, 16, 16))
    assert strided.shape == (1, 32, 4, 4)


@pytest.mark.parametrize(("size", "halvings", "last"), [(28, 2, 7), (32, 2, 8), (48, 3, 6), (64, 3, 8), (96, 4, 6)])
@pytest.mark.parametrize("pool", ["max", "stride", "average"])
def test_the_residual_network_halves_its_maps_as_often_as_the_images_allow(size, halvings, last, pool):
    assert halvings_for(size) == halvings
    settings = dataclasses.asdict(ModelSettings(width=4, norm="batch", pool=pool)) | {"halvings": halvings}
    model = MODELS["residual"](3, CLASSES, settings)
    assert model.blocks(model.stem(torch.zeros(1, 3, size, size))).shape == (1, 32, last, last)


def test_the_residual_network_has_strides_for_maxima_and_before_there_was_a_choice():
    settings = dataclasses.asdict(ModelSettings(width=4, norm="batch"))
    networks = [{"pool": "max", "halvings": 3}, {"pool": "stride", "halvings": 3}, {"pool": "average"}, {"pool": "max"}]
    answers = []
    for change in networks:
        torch.manual_seed(0)
        model = MODELS["residual"](3, CLASSES, settings | change).eval()
        answers.append(model(torch.ones(1, 3, 32, 32)))
    for answer in answers[1:]:
        torch.testing.assert_close(answer, answers[0], rtol=0, atol=0)


def test_averages_in_the_place_of_strides_let_a_shift_by_a_pixel_change_less():
    settings = dataclasses.asdict(ModelSettings(width=16, norm="batch")) | {"halvings": 3}
    images = torch.rand(16, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    changes = {}
    for pool in ("stride", "average"):
        torch.manual_seed(0)
        model = MODELS["residual"](3, CLASSES, settings | {"pool": pool}).eval()
        for block in model.blocks:
            nn.init.ones_(block.second_norm.weight)
        with torch.no_grad():
            maps = [model.blocks(model.stem(one)).mean((2, 3)) for one in (images, images.roll(1, 3))]
        changes[pool] = float((maps[1] - maps[0]).norm() / maps[0].norm())
    assert changes["average"] < 0.8 * changes["stride"]


def test_cost_is_counted_as_by_hand():
    model = build("plain", layers=1, pool="stride")
    cost = count_cost(model, 10)
    assert cost.parameters == 3 * 8 * 9 + 2 * 8 + 8 * 3 + 3
    assert cost.multiply_adds == 3 * 8 * 9 * 25 + 8 * 3
    assert str(Cost(10, 0, 10, 2)) == "10 parameters, beside the network of the file, which is not counted"


def test_soft_cross_entropy_is_torch_s_own():
    torch.manual_seed(0)
    logits, label = torch.randn(6, 4), torch.softmax(torch.randn(6, 4), 1)
    ours = soft_cross_entropy(logits, label, 0.1, None)
    torch.testing.assert_close(ours, nn.functional.cross_entropy(logits, label, label_smoothing=0.1))
    hard, weights = torch.arange(6) % 4, torch.tensor([1.0, 2.0, 3.0, 4.0])
    ours = soft_cross_entropy(logits, torch.eye(4)[hard], 0.0, weights)
    torch.testing.assert_close(ours, nn.functional.cross_entropy(logits, hard, weights))
    assert soft_accuracy(torch.eye(4), torch.eye(4)) == 1


def test_smoothing_is_weighted_by_the_image_and_not_by_the_class():
    torch.manual_seed(0)
    logits, hard, weights = torch.randn(6, 4), torch.arange(6) % 4, torch.tensor([0.3, 31.0, 1.0, 2.0])
    each = nn.functional.cross_entropy(logits, hard, label_smoothing=0.1, reduction="none")
    expected = sum(weights[kind] * loss for kind, loss in zip(hard, each, strict=True)) / weights[hard].sum()
    torch.testing.assert_close(soft_cross_entropy(logits, torch.eye(4)[hard], 0.1, weights), expected)


def test_the_best_answer_to_a_common_class_is_no_rare_one():
    answer = torch.zeros(1, 4, requires_grad=True)
    for _ in range(200):
        loss = soft_cross_entropy(answer, torch.eye(4)[:1], 0.1, torch.tensor([0.3, 31.0, 1.0, 2.0]))
        (slope,) = torch.autograd.grad(loss, answer)
        answer = (answer - slope).detach().requires_grad_()
    torch.testing.assert_close(answer.softmax(1)[0], torch.tensor([0.925, 0.025, 0.025, 0.025]), atol=0.01, rtol=0)


def test_label_smoothing_and_weights_count_in_training_only():
    settings = dataclasses.asdict(ModelSettings(width=8, norm="batch"))
    settings |= {"label_smoothing": 0.2, "class_weights": [1.0, 5.0, 1.0]}
    torch.manual_seed(0)
    model = MODELS["plain"](3, CLASSES, settings | {"norm": "none"})
    given = batch()
    smoothed = model.losses(given).minimize["loss"]
    plain = model.eval().losses(given).minimize["loss"]
    torch.testing.assert_close(plain, nn.functional.cross_entropy(model(given.images), given.targets["label"]))
    assert not math.isclose(smoothed.item(), plain.item())
    assert "class_weights" not in model.state_dict()


def test_an_unknown_model_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'residual'"):
        find_model("residul")
