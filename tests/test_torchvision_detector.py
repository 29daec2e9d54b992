"""torchvision's detectors behind the model contract, held against torchvision's own way of running them."""

import json
import math
import re
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models._api import WeightsEnum
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator

from tenfold.__main__ import main
from tenfold.errors import DataError, UsageError
from tenfold.evaluate import evaluate_run
from tenfold.models.detection import torchvision_detector as module
from tenfold.models.detection.torchvision_detector import TorchvisionDetector
from tenfold.models.weights import keep_weights, published
from tenfold.models.weights.places import file_hash
from tenfold.models.weights.published import DETECTORS, published_files
from tests.detecting import batch_of
from tests.test_detect_commands import write_squares
from tests.test_fast_rcnn_training import recipe_of, squares_table
from tests.test_seams import train_killed_and_resumed

SETTINGS = {"weights": "", "init": "", "fixed_stride": 4, "score": 0.02, "overlap": 0.0, "detections": 20}
LITE, FASTER = "ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn"
SIDES = {"ssd300_vgg16": 268}
COCO = tuple(f"class {number}" for number in range(90))
NAN = [math.nan] * 4


@pytest.fixture(autouse=True)
def homes(tmp_path, monkeypatch):
    """Every folder that weights are looked for in is the test's own."""
    for name in ("TENFOLD_CACHE", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))


def build(name, classes=("red", "green"), **settings):
    torch.manual_seed(0)
    return TorchvisionDetector(3, classes, SETTINGS | {"backbone": f"torchvision:{name}"} | settings)


@torch.no_grad()
def lively_state(name, side):
    """Weights for COCO's classes that are random, but such that scores and boxes differ, as a trained network's do."""
    torch.manual_seed(0)
    network = module.bare_network(name, len(COCO))
    for key, value in network.named_parameters():
        if value.dim() > 1 and not key.startswith("backbone."):
            nn.init.kaiming_normal_(value)
            value *= 0.03 if "bbox" in key else 1.0
    norms = module.batch_norms(network)
    for norm in norms:
        norm.momentum, norm.eps = 1.0, 1e-5  # no epsilon at all is refused where statistics are taken
    if norms:
        network.train().backbone(torch.randn(2, 3, side, side))
    return network.state_dict()


def hasten(network):
    """Fewer proposals, where there are any."""
    if hasattr(network, "rpn"):
        network.rpn._post_nms_top_n = {"training": 40, "testing": 40}
    return network.double()


@contextmanager
def unset_weights():
    """New layers are left as they are in memory: drawing the weights of a large network takes longer than using it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in dir(nn.init):
            if name.endswith("_") and not name.startswith("_"):
                patch.setattr(nn.init, name, lambda tensor, *given, **named: tensor)
        yield


def theirs(name, state, side, monkeypatch):
    """The network as torchvision makes it for its COCO weights, in whose place `state` is loaded, for square images."""
    monkeypatch.setattr(WeightsEnum, "get_state_dict", lambda *given, **options: state)
    with unset_weights():
        network = torchvision.models.get_model(name, weights="DEFAULT")
    network.transform.min_size, network.transform.max_size = (side,), side
    network.transform.fixed_size = (side, side) if name.startswith("ssd") else None
    network.transform._skip_resize = True  # of training, which draws a size
    limits = getattr(network, "roi_heads", network)
    limits.score_thresh, limits.detections_per_img = SETTINGS["score"], SETTINGS["detections"]
    return hasten(network)


@pytest.mark.parametrize("name", DETECTORS)
def test_it_gives_what_torchvision_gives(name, tmp_path, monkeypatch):
    """In float64: untrained networks make much of the last digits."""
    side = SIDES.get(name, 96)
    state = lively_state(name, side)
    torch.save(state, tmp_path / "coco.pth")
    with unset_weights():
        ours = build(name, COCO, weights=str(tmp_path / "coco.pth"))
    assert ours.load_pretrained()["note"].endswith("may be used for")  # nothing starts anew
    hasten(ours.network)
    other = theirs(name, state, side, monkeypatch)
    plain = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, side, side))) / 255.0
    seen = ours.pretrained(ours.settings).preprocessing
    (tmp_path / "coco.pth").unlink()  # of up to 170 MB
    mean, std = (torch.tensor(values, dtype=torch.float64)[:, None, None] for values in (seen.mean, seen.std))
    shown = (plain.double() - mean) / std

    with torch.no_grad():
        found = ours.eval().decode(ours.outputs(shown), torch.eye(2, 3).expand(2, 2, 3))
        wanted = other.eval()(list(plain.double()))
    assert sum(len(one["score"]) for one in found) > 5
    for one, right in zip(found, wanted, strict=True):
        sides = right["boxes"][:, 2:] - right["boxes"][:, :2]
        real = (right["labels"] > 0) & (sides > 0).all(1)  # no background, and no box outside the image
        np.testing.assert_allclose(one["score"], right["scores"][real], atol=1e-5)
        np.testing.assert_allclose(one["boxes"], right["boxes"][real], atol=1e-3)
        np.testing.assert_array_equal(one["label"], right["labels"][real] - 1)

    boxes = torch.tensor([[[4, 8, 60, 40], [50, 20, 90, 96], [1, 1, 30, 30], [40.0, 40, 40, 60]], [NAN] * 4]).double()
    boxes *= side / 100
    ignore = [[False, False, True, False], [False] * 4]
    batch = batch_of(shown, boxes, [[0, 89, 3, 2], [-1] * 4], ignore)
    batch.targets["boxes"] = boxes
    targets = [
        {"boxes": boxes[0, :2], "labels": torch.tensor([1, 90])},
        {"boxes": torch.zeros(0, 4, dtype=torch.float64), "labels": torch.zeros(0, dtype=torch.int64)},
    ]
    other.train()
    for norm in module.batch_norms(other):
        norm.eval()
    torch.manual_seed(0)
    right = {module._LOSSES[kind]: loss.item() for kind, loss in other(list(plain.double()), targets).items()}
    torch.manual_seed(0)
    losses = ours.train().losses(batch).minimize
    assert {kind: loss.item() for kind, loss in losses.items()} == pytest.approx(right, rel=1e-5)


def test_losses_in_evaluation_are_the_same_each_time_and_leave_no_trace(small):
    model, images = build(FASTER), torch.randn(2, 3, 64, 64)
    batch = batch_of(images, [[[4, 8, 40, 30]], [[10, 20, 60, 60]]], [[0], [1]])
    torch.manual_seed(0)
    trained = model.train().losses(batch).minimize
    torch.manual_seed(7)
    evaluated = [model.eval().losses(batch).minimize for _ in range(2)]
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(7)))
    assert not any(part.training for part in model.modules())
    assert evaluated[0].keys() == trained.keys() == {"class", "box", "rpn_class", "rpn_box"}
    assert all(trained[kind] == evaluated[0][kind] == evaluated[1][kind] for kind in trained)


@pytest.mark.parametrize("name", [FASTER, LITE, "retinanet_resnet50_fpn"])
def test_only_the_layers_that_name_classes_start_anew_for_other_classes(name, tmp_path):
    state = module.bare_network(name, len(COCO)).state_dict()
    torch.save(state, tmp_path / "coco.pth")
    fresh = build(name, weights=str(tmp_path / "coco.pth"))
    before = {key: value.clone() for key, value in fresh.network.state_dict().items()}
    assert fresh.load_pretrained()["note"].endswith("; the layers that name classes start anew")
    after = fresh.network.state_dict()
    anew = {key for key, value in after.items() if value.shape != state[key].shape}
    assert anew
    assert all(key.startswith(("roi_heads.box_predictor.", "head.classification_head.")) for key in anew)
    assert all(torch.equal(value, before[key] if key in anew else state[key]) for key, value in after.items())


def test_stages_and_batch_norms_are_fixed():
    model = build(FASTER).train()
    body = model.network.backbone.body
    learning = [any(value.requires_grad for value in stage.parameters()) for stage in body.children()]
    assert learning == [False] * 4 + [True] * (len(learning) - 4)  # the fifth is the first of stride 8
    assert not any(norm.training for norm in module.batch_norms(model))
    assert all(value.requires_grad for value in model.steps()[0].parameters)
    assert all(value.requires_grad for value in build(FASTER, fixed_stride=0).parameters())


def test_for_more_detections_more_candidates_are_looked_at():
    few, many = (build(FASTER, detections=count).eval().network.rpn for count in (100, 400))
    assert (few.pre_nms_top_n(), few.post_nms_top_n()) == (150, 150)
    assert (many.pre_nms_top_n(), many.post_nms_top_n()) == (600, 600)
    assert [build(LITE, detections=count).network.topk_candidates for count in (20, 100, 200)] == [300, 300, 600]


def test_many_images_are_looked_at_in_parts(small, monkeypatch):
    model, images = build(FASTER, score=0.0).eval(), torch.randn(5, 3, 64, 64)
    with torch.no_grad():
        together = model.outputs(images)
        monkeypatch.setattr(module, "_AT_ONCE", 2)
        apart = model.outputs(images)
    assert {name: tuple(value.shape) for name, value in apart.items()} == {
        "boxes": (5, 20, 4),
        "score": (5, 20),
        "label": (5, 20),
    }
    torch.testing.assert_close(together["score"], apart["score"])


def test_bfloat16_does_not_reach_it(small):
    model, images = build(FASTER, score=0.0).eval(), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        plain = model.outputs(images)
        with torch.autocast("cpu", torch.bfloat16):
            same = model.outputs(images)
    assert all(torch.equal(plain[name], same[name]) for name in plain)


def test_what_torchvision_calls_background_is_no_detection():
    found = {
        "boxes": torch.tensor([[0.0, 0, 9, 9], [1, 1, 5, 5], [2, 2, 2, 8]]),
        "scores": torch.tensor([0.9, 0.5, 0.4]),
        "labels": torch.tensor([0, 2, 1]),
    }
    padded = module.pad_detections(found, 2)
    assert padded["boxes"].tolist() == [[1, 1, 5, 5], [0, 0, 0, 0]]
    assert padded["score"].tolist() == [0.5, -1]
    assert padded["label"].tolist() == [1, -1]


# Weights.


def test_files_of_torchvision_s_earlier_versions_and_of_runs_are_read():
    network, state = module.bare_network(FASTER, 2), module.bare_network(FASTER, 2).state_dict()
    old = {
        key.replace("conv.0.0.", "conv.").replace(".0.weight", ".weight").replace(".0.bias", ".bias")
        if key.startswith(("rpn.head.conv.", "backbone.fpn."))
        else key: value
        for key, value in state.items()
    }
    assert {"rpn.head.conv.weight", "backbone.fpn.inner_blocks.0.weight"} <= old.keys() - state.keys()
    for tensors in (old, {f"network.{key}": value for key, value in state.items()}):
        nn.init.zeros_(network.rpn.head.conv[0][0].weight)
        assert not module.load_network(network, tensors, "It")
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("rpn.head.bbox_pred.bias", None, "the file lacks rpn.head.bbox_pred.bias; it is another network's."),
        ("extra.bias", torch.zeros(1), "the file has extra.bias, which that network lacks; it is another network's."),
        ("backbone.features.0.0.bias", torch.zeros(1), "do not fit: size mismatch for backbone.features.0.0.bias"),
        ("backbone.features.0.0.bias", torch.full((8,), math.nan), "0.0.bias holds numbers that are not finite."),
    ],
)
def test_a_file_that_does_not_fit_is_refused(key, value, sentence, small):
    state = torch.load(small, weights_only=True) | {key: value}
    torch.save({name: one for name, one in state.items() if one is not None}, small)
    with pytest.raises(DataError, match=rf"The weights .*small.pth of {FASTER} .*{re.escape(sentence)}"):
        build(FASTER, weights=str(small)).load_pretrained()


def test_every_network_is_published_with_its_size_hash_and_place():
    for name in DETECTORS:
        (file,) = published_files(f"torchvision:{name}")
        assert file.url == f"https://download.pytorch.org/models/{file.file}"
        assert len(file.sha256) == 8
        assert file.sha256 in file.file
        assert file.megabytes > 10
        assert (file.licence, "COCO" in file.note) == ("BSD-3-Clause", True)


def test_without_its_weights_it_says_how_to_get_them():
    name = f"torchvision:{FASTER}"
    with pytest.raises(DataError) as caught:
        TorchvisionDetector.pretrained(SETTINGS | {"backbone": ""})
    assert str(caught.value) == (
        f"The weights of {name} are not on this machine: fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth, 78 MB, "
        "sha256 907ea3f9, from https://download.pytorch.org/models/fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth; "
        f"fetch them with: tenfold weights fetch {name}; without a network bring the file and type: tenfold weights "
        f"import {name} fasterrcnn_mobilenet_v3_large_320_fpn-907ea3f9.pth"
    )


def test_weights_that_were_brought_are_found_and_said_whose_they_are(small, monkeypatch):
    name = f"torchvision:{FASTER}"
    monkeypatch.setattr(published, "hash_digits", lambda published_name: file_hash(small)[:8])
    given = build(FASTER, weights=str(small)).load_pretrained()
    keep_weights(name, small)
    kept = build(FASTER).load_pretrained()
    assert given == kept
    assert kept["origin"] == f"{name}, torchvision's FasterRCNN_MobileNet_V3_Large_320_FPN_Weights.COCO_V1"
    assert (kept["licence"], kept["sha256"]) == ("BSD-3-Clause", file_hash(small))
    assert kept["note"].startswith("trained on COCO, whose photos are Flickr's")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            {"backbone": "torchvision:ssdlite"},
            "must be one of torchvision:fasterrcnn.*, not 'torchvision:ssdlite'; did",
        ),
        (
            {"init": "runs/one"},
            r"starts from a file, not from a run \(transfer.init, --init\); give --transfer.weights F",
        ),
    ],
)
def test_what_it_cannot_start_from_is_refused(settings, sentence):
    with pytest.raises(UsageError, match=sentence):
        TorchvisionDetector.pretrained(SETTINGS | {"backbone": f"torchvision:{LITE}"} | settings)


def test_images_that_it_cannot_see_are_refused():
    with pytest.raises(UsageError, match=r"image.channels must be rgb, bgr or auto, not grey"):
        TorchvisionDetector(1, ("a", "b"), SETTINGS | {"backbone": LITE})
    small = module._LEAST["ssd300_vgg16"]
    model = build("ssd300_vgg16").eval()
    with torch.no_grad():
        model.outputs(torch.zeros(1, 3, small, small))
        with pytest.raises(UsageError, match=rf"image.size \(--size\) must be at least {small} for ssd300_vgg16, not"):
            model.outputs(torch.zeros(1, 3, small, small - 1))
        with pytest.raises(RuntimeError, match="Kernel size"):
            model.network([torch.zeros(3, small, small - 1)])


# Through the loop and the commands, with a small Faster R-CNN.


class SmallMaps(nn.Module):
    """Maps of stride 8."""

    out_channels = 16

    def __init__(self):
        super().__init__()
        layers = [nn.Sequential(nn.Conv2d(*pair, 5, 2, 2), nn.BatchNorm2d(pair[1]), nn.ReLU()) for pair in self.pairs]
        self.features = nn.Sequential(*layers)

    pairs = ((3, 8), (8, 16), (16, 16))

    def forward(self, images):
        return self.features(images)


def small_network(name, weights, weights_backbone, num_classes):
    heads = torchvision.models.detection.faster_rcnn
    return FasterRCNN(
        SmallMaps(),
        rpn_anchor_generator=AnchorGenerator(((12, 20, 28),), ((1.0,),)),
        box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], 5, 2),
        box_head=heads.TwoMLPHead(16 * 25, 32),
        box_predictor=heads.FastRCNNPredictor(32, num_classes),
        rpn_post_nms_top_n_train=50,
        rpn_post_nms_top_n_test=50,
        box_batch_size_per_image=32,
    )


@pytest.fixture
def small(monkeypatch, tmp_path) -> Path:
    """A file of its weights, for three classes."""
    monkeypatch.setattr(torchvision.models, "get_model", small_network)
    torch.manual_seed(3)
    torch.save(small_network("", None, None, 4).state_dict(), tmp_path / "small.pth")
    return tmp_path / "small.pth"


def test_it_goes_through_the_loop_is_killed_resumed_and_evaluated(small, tmp_path, monkeypatch):
    recipe = recipe_of("torchvision", policy="light", train={"epochs": 8})
    recipe = recipe.change(transfer={"backbone": f"torchvision:{FASTER}", "weights": str(small)})
    run = train_killed_and_resumed(monkeypatch, squares_table(tmp_path), recipe, tmp_path, "detection")
    losses = run.history["train_loss"].to_numpy()
    assert losses[-1] < 0.7 * losses[0]
    assert run.history["validation_loss"].iloc[-1] < run.history["validation_loss"].iloc[0]
    assert {"train_class", "validation_rpn_box"} <= set(run.history.columns)
    assert evaluate_run(run, "validation").figures["ap50"].n
    assert run.card["settings"]["backbone"] == run.recipe.transfer.backbone == f"torchvision:{FASTER}"


def test_every_command_takes_it(small, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path / "squares")
    quick = "--epochs 2 --size 64 --batch-size 4 --train.threads 1 --detect.detections 5".split()
    for seed in "01":
        given = ["--model", "torchvision", "--transfer.weights", str(small), "--seed", seed, "--out", f"runs/{seed}"]
        assert main(["train", "squares/boxes.csv", *quick, *given]) == 0
    said = capsys.readouterr().err
    assert f"Weights: torchvision:{FASTER}, file small.pth; licence not stated; " in said
    assert "the layers that name classes start anew" in said
    assert main(["evaluate", "runs/0", "--part", "test", "--json"]) == 0
    assert "ap50" in json.loads(capsys.readouterr().out)["figures"]
    assert main(["compare", "runs/0", "runs/1"]) == 0
    assert main(["report", "runs/0"]) == 0
    assert "Loss: proposed boxes" in (tmp_path / "runs/0/report.html").read_text("utf-8")
    assert main(["predict", "runs/0", "squares/00.png", "--json"]) == 0
    capsys.readouterr()
    again = ["--model", "torchvision", "--transfer.weights", "runs/0/model.safetensors", "--out", "runs/again"]
    assert main(["train", "squares/boxes.csv", *quick, *again]) == 0
    assert "start anew" not in capsys.readouterr().err
