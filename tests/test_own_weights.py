"""A file of weights alone: which network it is of; ONNX graphs as exporters write them; what a short option does."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from markupsafe import escape
from safetensors.torch import save_file
from torch import Tensor, nn

from tenfold.__main__ import main
from tenfold.commands.options import SHORT, chosen_recipe
from tenfold.errors import DataError, UsageError
from tenfold.models.backbones import bare_backbone, make_backbone, network_of_file
from tenfold.models.backbones.from_onnx import PREPARATION
from tenfold.models.weights import places
from tenfold.models.weights.published import Published
from tenfold.models.weights.read import read_tensors
from tenfold.run import Run
from tests.toys import write_shapes

VGG = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), *[(512, 512)] * 5]
"""Inputs and outputs of VGG-16's convolutions."""
MOBILE = ("mobilenetv2", "mobilenetv2-google")
IN_TORCH = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
IN_KERAS = (11, 12, 21, 22, 31, 32, 33, 41, 42, 43, 51, 52, 53)


def vgg_of_torchvision(file: Path) -> Path:
    """Zeros under torchvision's names, as its ImageNet example saves a checkpoint."""
    tensors = {"module.classifier.0.bias": torch.zeros(4)}
    for place, (inputs, outputs) in zip(IN_TORCH, VGG, strict=True):
        tensors[f"module.features.{place}.weight"] = torch.zeros(outputs, inputs, 3, 3)
        tensors[f"module.features.{place}.bias"] = torch.zeros(outputs)
    torch.save({"epoch": 3, "arch": "vgg16", "best_acc1": 0.5, "state_dict": tensors}, file)
    return file


def vgg_of_keras(file: Path) -> Path:
    if importlib.util.find_spec("h5py") is None:
        pytest.skip("needs h5py")
    import h5py

    with h5py.File(file, "w") as content:
        for place, (inputs, outputs) in zip(IN_KERAS, VGG, strict=True):
            layer = f"block{place // 10}_conv{place % 10}"
            content[f"{layer}/{layer}_W_1:0"] = np.zeros((3, 3, inputs, outputs), np.float32)
            content[f"{layer}/{layer}_b_1:0"] = np.zeros(outputs, np.float32)
    return file


def own_file(name: str, file: Path) -> Path:
    """As if trained: batch normalization has statistics that are not 0 and 1, but where it is folded, as Google's."""
    tensors = bare_backbone(name).state_dict()
    if name != "mobilenetv2-google":
        tensors = {key: value + 0.1 if "running" in key else value for key, value in tensors.items()}
    save_file(tensors, file)
    return file


# Whose weights


@pytest.mark.parametrize("write", [vgg_of_torchvision, vgg_of_keras])
def test_a_vgg_is_known_by_its_names(write, tmp_path, capsys):
    file = write(tmp_path / ("vgg.pth.tar" if write is vgg_of_torchvision else "vgg.h5"))
    recipe = chosen_recipe(None, {"transfer__weights": str(file)})
    assert recipe.transfer.backbone == "vgg16"
    assert capsys.readouterr().err == f"Network: vgg16, whose weights {file} holds; --backbone names another.\n"


@pytest.mark.parametrize("name", [*("efficientnet-lite0", "efficientnet-lite1", "mobilefacenet"), *MOBILE])
def test_each_network_of_ours_is_told_from_the_others(name, tmp_path):
    assert network_of_file(own_file(name, tmp_path / "file.safetensors")) == name


def test_a_published_file_is_known_by_its_hash_whatever_its_name(tmp_path, monkeypatch):
    file = tmp_path / "any.onnx"
    file.write_bytes(b"a graph")
    assert network_of_file(file) == "onnx"
    known = Published("mobilefacenet", "x.onnx", places.file_hash(file), 0.0, "MIT", "us")
    monkeypatch.setattr(places, "PUBLISHED", (known,))
    assert network_of_file(file) == "mobilefacenet"


def test_weights_of_nobody_are_refused_with_what_to_type(tmp_path):
    save_file({"layer.weight": torch.zeros(2, 2)}, tmp_path / "odd.safetensors")
    with pytest.raises(UsageError) as caught:
        chosen_recipe(None, {"transfer__weights": str(tmp_path / "odd.safetensors")})
    assert re.search(
        r"odd\.safetensors fit none of efficientnet-lite0, .*, vgg16; say whose they are, --backbone torchvision:NAME "
        r"or --backbone timm:NAME, and where they are an earlier run's, name its folder instead: --init RUN$",
        str(caught.value),
    )
    with pytest.raises(DataError, match=r"none\.h5 cannot be read: No such file"):
        chosen_recipe(None, {"transfer__weights": str(tmp_path / "none.h5")})


def test_a_file_or_a_run_given_as_a_backbone_is_refused_with_what_to_type(tmp_path):
    file = own_file("mobilenetv2", tmp_path / "file.safetensors")
    for name in (str(file), str(tmp_path / "gone.onnx")):
        with pytest.raises(UsageError) as caught:
            bare_backbone(name)
        assert str(caught.value).startswith(f"The backbone must be a network's name, and {name} is a file: give it by ")
        assert f"--weights {name}, and no --backbone" in str(caught.value)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.json").write_text("{}")
    with pytest.raises(UsageError, match=r"run is a run: to train on its network give --init .*run$"):
        bare_backbone(str(tmp_path / "run"))
    with pytest.raises(UsageError, match="not 'resnet18'; did you mean 'torchvision:resnet18'"):
        bare_backbone("resnet18")


def test_right_weights_with_a_number_that_is_none_are_refused_for_that(tmp_path):
    file = own_file("mobilenetv2", tmp_path / "file.safetensors")
    tensors = read_tensors(file)
    tensors["stem.0.weight"][0, 0, 0, 0] = torch.nan
    save_file(tensors, file)
    with pytest.raises(DataError, match=r"of mobilenetv2 cannot be used: stem\.0\.weight holds numbers that are not"):
        network_of_file(file)


def test_a_network_that_is_named_stays(tmp_path, capsys):
    file = own_file("mobilenetv2", tmp_path / "file.safetensors")
    named = {"transfer__backbone": "efficientnet-lite0"}
    for settings in (named, {"model__name": "torchvision"}, {"model__name": "residual"}):
        recipe = chosen_recipe(None, {"transfer__weights": str(file), **settings})
        assert recipe.transfer.backbone == settings.get("transfer__backbone", "")
    other = chosen_recipe(None, {"transfer__weights": str(file), "transfer__backbone": "timm:resnet18"})
    assert other.transfer.backbone == "timm:resnet18"
    assert capsys.readouterr().err == ""
    frozen = chosen_recipe(None, {"transfer__weights": str(file), "model__name": "frozen"})
    assert frozen.transfer.backbone == "mobilenetv2"


def test_what_lies_in_the_home_folder_is_found_there(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    own_file("mobilenetv2", tmp_path / "file.safetensors")
    recipe = chosen_recipe(None, {"transfer__weights": "~/file.safetensors"})
    assert (recipe.transfer.weights, recipe.transfer.backbone) == (str(tmp_path / "file.safetensors"), "mobilenetv2")
    assert chosen_recipe(None, {"transfer__init": "~/run"}).transfer.init == str(tmp_path / "run")
    assert chosen_recipe(None, {"transfer__init": "a~/run"}).transfer.init == "a~/run"


def test_the_options_of_the_issue_are_short():
    assert {SHORT["transfer.weights"], SHORT["transfer.backbone"]} == {"--weights", "--backbone"}


def test_training_on_a_graph_needs_its_file_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 10)
    file = write_graph(tmp_path / "tiny.onnx", ["N", 3, "height", "width"])
    options = ["--model", "frozen", "--transfer.head", "mean", "--size", "24", "--no-check", "--out", "run"]
    assert main(["train", "shapes", "--weights", file.name, *options]) == 0
    assert "Network: onnx, whose weights tiny.onnx holds" in capsys.readouterr().err
    run = Run(tmp_path / "run")
    assert run.recipe.transfer.backbone == "onnx:224:5"
    assert run.card["weights"]["origin"] == "onnx:224:5, file tiny.onnx"
    assert main(["report", "run"]) == 0
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert run.card["weights"]["sha256"] in page
    assert f"Ask whoever made the file what it may be used for; {escape(PREPARATION)}." in page


# Files


def test_a_whole_keras_model_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(UsageError, match=r"vgg\.keras is a whole Keras model: .* model\.save_weights\('vgg\.weights"):
        read_tensors(tmp_path / "vgg.keras")
    with pytest.raises(UsageError, match=r"must end in .*\.pth\.tar, .* not in '\.tar'"):
        read_tensors(tmp_path / "vgg.tar")


# ONNX


def write_graph(file: Path, dims: list[int | str], kind: str = "FLOAT", **options: Any) -> Path:
    """A convolution, ReLU and mean over the map for images of these `dims`: vectors of length 5.

    `inputs`: names of more inputs; `shape`: the map is brought into this first, which only one size of images allows.
    Further options are `onnx.save`'s.
    """
    if importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("needs onnx and onnxruntime")
    import onnx
    from onnx import helper, numpy_helper

    more, shape = options.pop("inputs", ()), options.pop("shape", None)
    number = np.float16 if kind == "FLOAT16" else np.float32
    weight, bias = kernel()
    stored = [numpy_helper.from_array(weight.numpy().astype(number), "w")]
    stored.append(numpy_helper.from_array(bias.numpy().astype(number), "b"))
    nodes = [
        helper.make_node("Conv", ["images", "w", "b"], ["c"], name="first"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["m" if shape else "r"], ["vectors"]),
    ]
    if shape:
        stored.append(numpy_helper.from_array(np.array(shape), "s"))
        nodes.insert(2, helper.make_node("Reshape", ["r", "s"], ["m"]))
    if kind == "UINT8":
        nodes[0].input[0] = "floats"
        nodes.insert(0, helper.make_node("Cast", ["images"], ["floats"], to=1))
    nodes += [helper.make_node("Identity", [name], [f"{name} too"]) for name in more]
    typed = getattr(onnx.TensorProto, kind)
    result = typed if kind == "FLOAT16" else onnx.TensorProto.FLOAT
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, typed, dims) for name in ("images", *more)],
        [helper.make_tensor_value_info("vectors", result, [dims[0], 5, 1, 1])],
        stored,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, file, **options)
    return file


def kernel() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(5, 3, 3, 3), torch.randn(5)


def images(count: int, height: int, width: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(count, 3, height, width)


def expected(pixels: Tensor) -> Tensor:
    return torch.relu(nn.functional.conv2d(pixels, *kernel())).mean((2, 3))


def test_a_graph_whose_sides_have_two_names_takes_any_size(tmp_path):
    backbone, _ = make_backbone("onnx", write_graph(tmp_path / "any.onnx", ["batch", 3, "height", "width"]))
    assert (backbone.name, backbone.fixed_size) == ("onnx:224:5", 0)
    for side in (24, 31):
        torch.testing.assert_close(backbone.features(images(3, side, side)), expected(images(3, side, side)))


def test_a_graph_with_one_side_in_numbers_has_that_size(tmp_path):
    backbone, _ = make_backbone("onnx", write_graph(tmp_path / "half.onnx", ["N", 3, "height", 24]))
    assert (backbone.name, backbone.fixed_size) == ("onnx:24:5", 24)
    with pytest.raises(DataError, match=r"must take images \[N, 3, S, S\], not \['N', 3, 24, 32\]"):
        make_backbone("onnx", write_graph(tmp_path / "oblong.onnx", ["N", 3, 24, 32]))


@pytest.mark.parametrize("count", [0, 1, 4, 6])
def test_a_graph_for_four_images_is_shown_four_at_a_time(count, tmp_path):
    backbone, _ = make_backbone("onnx", write_graph(tmp_path / "four.onnx", [4, 3, 24, 24]))
    found = backbone.features(images(count, 24, 24))
    assert found.shape == (count, 5)
    torch.testing.assert_close(found, expected(images(count, 24, 24)))


def test_a_graph_in_half_precision_is_given_what_it_takes(tmp_path):
    backbone, _ = make_backbone("onnx", write_graph(tmp_path / "half.onnx", ["N", 3, 24, 24], "FLOAT16"))
    found = backbone.features(images(2, 24, 24))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected(images(2, 24, 24)), rtol=1e-2, atol=1e-2)


OUTSIDE = {"save_as_external_data": True, "location": "net.onnx.data", "size_threshold": 0}


def test_weights_in_a_file_beside_are_taken_in(tmp_path):
    """As torch.onnx.export writes a network by default."""
    dims = ["N", 3, 24, 24]
    backbone, origin = make_backbone("onnx", write_graph(tmp_path / "net.onnx", dims, **OUTSIDE))
    assert (tmp_path / "net.onnx.data").is_file()
    data = np.frombuffer((tmp_path / "net.onnx.data").read_bytes(), np.float32)
    (tmp_path / "net.onnx.data").unlink()
    again = bare_backbone(backbone.name)
    again.load_state_dict(backbone.state_dict())
    torch.testing.assert_close(again.features(images(2, 24, 24)), expected(images(2, 24, 24)))
    with pytest.raises(DataError, match=r"net\.onnx keeps weights in other files, which must lie beside it") as caught:
        make_backbone("onnx", tmp_path / "net.onnx")
    assert "\n" not in str(caught.value)
    (tmp_path / "net.onnx.data").write_bytes((data / 2).tobytes())  # the same graph of other weights
    halved, other = make_backbone("onnx", tmp_path / "net.onnx")
    assert origin.sha256 != other.sha256
    assert not torch.allclose(halved.features(images(2, 24, 24)), expected(images(2, 24, 24)))


def test_one_file_has_the_hash_of_the_file(tmp_path):
    file = write_graph(tmp_path / "one.onnx", ["N", 3, 24, 24])
    assert make_backbone("onnx", file)[1].sha256 == places.file_hash(file)


def test_weights_beside_are_read_for_a_network_of_ours_too(tmp_path):
    tensors = read_tensors(write_graph(tmp_path / "net.onnx", ["N", 3, 24, 24], **OUTSIDE))
    assert torch.equal(tensors["first.weight"], kernel()[0])


@pytest.mark.parametrize(
    ("dims", "options", "sentence"),
    [
        (
            [1, 3, 24, 24],
            {"kind": "UINT8"},
            r"numbers of type tensor\(float\), .*, not tensor\(uint8\); export",
        ),
        ([1, 3, 24, 24], {"inputs": ("scale",)}, r"must take one input, the images, not 2: images, scale\."),
        (["N", 3, "H", "W"], {"shape": [1, 5, 22, 22]}, r"\[1, 3, 224, 224\]: .*; export x\.onnx for images of one"),
    ],
)
def test_a_graph_that_cannot_be_used_is_refused_in_one_sentence(dims, options, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence) as caught:
        make_backbone("onnx", write_graph(tmp_path / "x.onnx", dims, **options))
    assert "\n" not in str(caught.value)


def test_a_graph_that_fails_at_a_size_says_which_option_sets_it(tmp_path):
    backbone, _ = make_backbone("onnx", write_graph(tmp_path / "x.onnx", ["N", 3, "H", "W"], shape=[-1, 5, 222, 222]))
    with pytest.raises(DataError, match=r"onnx:224:5 cannot be run on images \[2, 3, 24, 24\]: .*, set that: --size$"):
        backbone.features(images(2, 24, 24))


def test_a_gallery_knows_the_network_of_its_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    write_shapes(tmp_path / "shapes", 3)
    file = write_graph(tmp_path / "tiny.onnx", ["N", 3, "height", "width"])
    enroll = ["gallery", "enroll", str(tmp_path / "g"), str(tmp_path / "shapes"), "--weights", str(file), "--json"]
    assert main(enroll) == 0
    shutil.rmtree(tmp_path / "shapes")
    assert "Network: onnx, whose weights" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", ["efficientnet-lite9", "efficientnet-lite9 --model finetuned", "efficientnet-lite0,efficientnet-lite9"]
)
def test_a_network_that_is_not_known_is_refused_before_images_are_looked_at(tmp_path, capsys, options):
    assert main(["train", str(tmp_path / "no-folder"), "--backbone", *options.split()]) == 2
    sentence = capsys.readouterr().err
    assert "efficientnet-lite9" in sentence
    assert "no-folder" not in sentence
