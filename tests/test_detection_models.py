"""The detectors: what they learn, what they refuse, what they give."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tenfold.environment import torch_threads
from tenfold.errors import UsageError
from tenfold.images.batch import Batch
from tenfold.images.preprocess import Preprocessing
from tenfold.models.backbones import bare_backbone
from tenfold.models.backbones.backbone import Backbone, of_imagenet
from tenfold.models.detection import FasterRCNN, FastRCNN, detector, proposer_from
from tenfold.models.detection.coding import clip_boxes
from tenfold.models.detection.matching import PROPOSAL_RULE, match_boxes, read_truths
from tenfold.models.detection.outside import shown_pixels
from tenfold.models.detection.rpn import pad_boxes
from tests.detecting import batch_of, iou, some_boxes

SETTINGS = {
    "backbone": "toy",
    "weights": "",
    "init": "",
    "frozen": 0.25,
    "thawed": 0.5,
    "rate_decay": 0.5,
    "pyramid": True,
    "pyramid_width": 16,
    "stride": 4,
    "fixed_stride": 2,
    "anchors": 3,
    "proposals": 50,
    "regions": 64,
    "units": 32,
    "pool": "auto",
    "score": 0.05,
    "overlap": 0.5,
    "detections": 10,
}
CLASSES = ("red", "green")


class ToyBackbone(Backbone):
    """Three layers, of strides 2, 4 and 8."""

    def __init__(self):
        super().__init__("toy", of_imagenet(64))
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.ModuleList(self._layer(*pair) for pair in ((3, 8), (8, 16), (16, 24)))
        self.measure()

    @staticmethod
    def _layer(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 5, 2, 2), nn.BatchNorm2d(outputs), nn.ReLU())

    def stages(self):
        return list(self.layers)


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setattr(detector, "bare_backbone", lambda name: ToyBackbone())


def build(kind=FasterRCNN, **settings):
    torch.manual_seed(0)
    return kind(3, CLASSES, SETTINGS | settings)


def squares():
    """Two images with a red and a green square, and one with nothing: the third true box of each row is padding."""
    images, nan = torch.zeros(3, 3, 64, 64), [math.nan] * 4
    boxes = [[[4, 8, 24, 28], [36, 30, 60, 54], nan], [[30, 2, 54, 26], [6, 40, 26, 60], nan], [nan, nan, nan]]
    label = [[0, 1, -1], [1, 0, -1], [-1, -1, -1]]
    for image, (own, kinds) in enumerate(zip(boxes, label, strict=True)):
        for (x1, y1, x2, y2), kind in zip(own, kinds, strict=True):
            if kind >= 0:
                images[image, kind, y1:y2, x1:x2] = 1
    return batch_of(images, boxes, label)


def near_boxes(batch):
    """Proposals as a good searcher finds them, [N, P, 4]: near the objects and anywhere, of unequal number."""
    grid = torch.tensor([[x, y, x + s, y + s] for s in (16, 28) for x in range(0, 40, 8) for y in range(0, 40, 8)])
    near = [
        torch.cat([boxes[~boxes.isnan().any(1)] + shift for shift in (-2.0, 1.0, 3.0)] + [grid.float()])
        for boxes in batch.targets["boxes"]
    ]
    return pad_boxes(near, 60)


def train(model, batch, steps, rate=1e-2):
    optimizer = torch.optim.Adam(model.parameters(), rate)
    model.train()
    with torch_threads(1):
        for step in range(steps):
            torch.manual_seed(step)
            optimizer.zero_grad()
            sum(model.losses(batch).minimize.values()).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (FasterRCNN, {}),
        (FasterRCNN, {"pyramid": False, "stride": 8, "pool": "pool"}),
        (FastRCNN, {}),
        (FastRCNN, {"pool": "align"}),
    ],
)
def test_it_learns_two_images_by_heart(kind, settings):
    batch, model = squares(), build(kind, **settings)
    if kind is FastRCNN:
        batch.targets["proposals"] = near_boxes(batch)
    else:
        model.begin([batch])
    train(model, batch, 120)
    with torch.no_grad():
        outputs = model.batch_outputs(batch)
        found = model.decode(outputs, batch.affine)
    assert {name: tuple(value.shape) for name, value in outputs.items()} == {
        "boxes": (3, 10, 4),
        "score": (3, 10),
        "label": (3, 10),
    }
    for image in range(2):
        for label in (0, 1):
            surest = found[image]["label"].tolist().index(label)
            place = batch.targets["label"][image].tolist().index(label)
            box, truth = found[image]["boxes"][surest], batch.targets["boxes"][image, place]
            assert found[image]["score"][surest] > 0.5
            assert iou(box.tolist(), truth.tolist()) > 0.5
    assert not (found[2]["score"] > 0.5).any()
    assert {name: value.dtype for name, value in found[0].items()} == {
        "boxes": np.float32,
        "score": np.float32,
        "label": np.int64,
    }


NAN = [math.nan] * 4


@pytest.mark.parametrize("kind", [FasterRCNN, FastRCNN])
@pytest.mark.parametrize(
    ("boxes", "label", "ignore"),
    [
        ([[NAN], [NAN]], [[-1], [-1]], [[False], [False]]),
        ([[], []], [[], []], [[], []]),
        ([[[5, 5, 5, 40], [5, 5, 30, 5]], [[90, 90, 99, 99], NAN]], [[0, 1], [1, -1]], [[False] * 2] * 2),
        ([[[0, 0, 64, 64]], [[3, 3, 30, 30]]], [[0], [1]], [[True], [True]]),
        ([[[10, 10, 10.2, 40]], [[3, 3, 3000, 30]]], [[0], [1]], [[False], [False]]),
    ],
    ids=["no boxes", "no rows", "degenerate", "ignored", "thin and wide"],
)
@pytest.mark.parametrize("learning", [True, False])
def test_losses_are_finite_whatever_the_boxes_are(kind, boxes, label, ignore, learning):
    images = torch.rand(2, 3, 64, 64)
    count = len(label[0])
    batch = batch_of(images, boxes, label, ignore)
    batch.targets["boxes"] = batch.targets["boxes"].reshape(2, count, 4)
    batch.targets["label"] = batch.targets["label"].reshape(2, count).long()
    batch.targets["ignore"] = batch.targets["ignore"].reshape(2, count).bool()
    batch.targets["proposals"] = torch.stack([some_boxes(20), torch.full((20, 4), -1.0)])
    model = build(kind).train(learning)
    losses = model.losses(batch).minimize
    assert set(losses) == ({"rpn_class", "rpn_box", "class", "box"} if kind is FasterRCNN else {"class", "box"})
    assert all(value.isfinite() and value.ndim == 0 for value in losses.values())
    sum(losses.values()).backward()
    gradients = [value.grad for value in model.heads.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_proposals_may_be_none_at_all():
    batch, model = squares(), build(FastRCNN)
    for padding in (torch.full((3, 5, 4), -1.0), torch.full((3, 5, 4), math.nan), torch.zeros(3, 0, 4)):
        batch.targets["proposals"] = padding
        assert all(value.isfinite() for value in model.losses(batch).minimize.values())
        assert (model.eval().batch_outputs(batch)["label"] == -1).all()
    batch.targets["proposals"] = torch.full((3, 5, 4), -1.0)
    batch.targets["boxes"][:] = math.nan
    losses = model.losses(batch).minimize
    assert [value.item() for value in losses.values()] == [0.0, 0.0]
    sum(losses.values()).backward()


def test_what_lies_in_an_ignored_box_teaches_nothing():
    images = torch.rand(1, 3, 64, 64)
    crowd = batch_of(images, [[[0, 0, 64, 64]]], [[0]], [[True]])
    losses = build().losses(crowd).minimize
    assert losses["rpn_box"].item() == losses["box"].item() == 0.0
    every = torch.cat(build().anchors(build().maps(images)))
    state = match_boxes(every[None], read_truths(crowd), PROPOSAL_RULE).state
    inside = clip_boxes(every, (64, 64))
    share = (inside[:, 2:] - inside[:, :2]).prod(1) / (every[:, 2:] - every[:, :2]).prod(1)
    assert torch.equal(state[0] == -1, share >= 0.3)


@pytest.mark.parametrize("kind", [FastRCNN, FasterRCNN])
def test_what_lies_deep_in_an_object_is_background_unless_that_begins_where_they_overlap_more(kind):
    images, large, small = torch.rand(1, 3, 64, 64), [0.0, 0, 64, 64], [30.0, 30, 36, 36]  # an IoU of 0.009
    batch = batch_of(images, [[large]], [[0]])
    batch.targets["proposals"] = torch.tensor([[small]])
    seen = []
    for settings in ({"background_from": 0.0}, {"background_from": 0.1}, {}):  # {}: runs of before
        model = build(kind, **settings)
        model.heads.register_forward_hook(lambda _, given, __: seen.append(given[1][:, 1:].tolist()))
        if kind is FasterRCNN:
            model.lesson = replace(model.lesson, regions=10_000)
        model.losses(batch)
    if kind is FastRCNN:
        assert seen == [[large, small], [large], [large]]
    else:
        assert len(seen[1]) < len(seen[0]) == len(seen[2])


def test_validation_losses_are_the_same_each_time():
    batch, model = squares(), build().eval()
    first = model.losses(batch).minimize
    torch.rand(7)
    assert model.losses(batch).minimize == first
    torch.manual_seed(1)
    model.train()
    learnt = model.losses(batch).minimize
    torch.manual_seed(1)
    assert model.losses(batch).minimize == learnt


def test_begin_fits_the_anchors_which_the_weights_carry():
    batch, model = squares(), build(anchors=1)
    before = model.anchors.shapes.clone()
    model.begin([batch, batch, batch])
    assert model.anchors.fitted[0] == 12
    assert not torch.equal(model.anchors.shapes, before)
    torch.testing.assert_close(model.anchors.shapes[0, 0], torch.tensor([21.9, 21.9]), atol=0.1, rtol=0)
    other = build(anchors=1)
    other.load_state_dict(model.state_dict())
    assert other.anchors.describe() == model.anchors.describe()
    other.begin([])
    assert torch.equal(other.anchors.shapes, model.anchors.shapes)


def test_found_boxes_come_back_through_the_affine_map():
    model = build()
    outputs = {
        "boxes": torch.tensor([[[10.0, 20, 30, 60], [0, 0, 5, 5], [0, 0, 0, 0]]]).expand(2, 3, 4),
        "score": torch.tensor([[0.9, 0.2, -1.0]]).expand(2, 3),
        "label": torch.tensor([[1, 0, -1]]).expand(2, 3),
    }
    affine = torch.tensor([[[0.5, 0, 2], [0, 0.25, 4]], [[-0.5, 0, 64], [0, 1, 0]]])
    first, second = model.decode(outputs, affine)
    assert first["boxes"].tolist() == [[16, 64, 56, 224], [0, 0, 6, 4]]
    assert second["boxes"].tolist() == [[68, 20, 108, 60], [118, 0, 128, 5]]
    assert first["label"].tolist() == [1, 0]
    assert first["score"] == pytest.approx([0.9, 0.2])
    model.temperature = 2.0
    assert model.decode(outputs, affine)[0]["score"] == pytest.approx([0.75, 1 / 3])  # odds 9 and 1/4, their roots


def test_predictions_are_of_any_size():
    model = build()
    for size in ((64, 64), (45, 77)):
        found = model.predict(torch.rand(2, 3, *size), torch.eye(2, 3).expand(2, 2, 3))
        assert len(found) == 2
        for one in found:
            assert (one["boxes"] <= np.array([size[1], size[0]] * 2)).all()
            assert (np.diff(one["score"]) <= 0).all()


def test_the_backbone_learns_in_stages_and_keeps_its_statistics():
    model, batch = build(), squares()
    stages = model.backbone.stages()

    def learning(done):
        model.learn(done)
        return [all(weight.requires_grad for weight in stage.parameters()) for stage in stages]

    [step] = model.steps()
    every = {id(weight) for weight in model.parameters()}
    assert every - {id(weight) for weight in step.parameters} == {id(weight) for weight in stages[0].parameters()}
    rates = dict(zip(map(id, step.parameters), step.rates, strict=True))
    assert [rates[id(next(stage.parameters()))] for stage in stages[1:]] == [0.25, 0.5]
    assert rates[id(model.heads.classes.weight)] == rates[id(model.rpn.slide.weight)] == 1.0
    assert learning(0.0) == [False] * 3
    assert learning(0.25) == [False, False, True]
    assert learning(0.49) == [False, False, True]
    assert learning(0.5) == [False, True, True]
    assert len(build(fixed_stride=0).steps()[0].parameters) == len(every)
    train(model, batch, 1)
    assert not model.backbone.layers[0][1].running_mean.any()
    assert not model.train().backbone.training


def test_levels_are_those_from_a_stride_on():
    strides = (2, 4, 8, 16, 32)
    assert detector.choose_levels(strides, 0, True) == [2, 3, 4]
    assert detector.choose_levels(strides, 4, True) == [1, 2, 3, 4]
    assert detector.choose_levels(strides, 0, False) == [3]
    assert detector.choose_levels((2, 4), 0, True) == [1]
    with pytest.raises(UsageError, match=r"detect.stride must be one of the backbone's strides 2, 4, 8, or 0, not 64"):
        build(stride=64)


def test_a_backbone_without_layers_is_refused(monkeypatch):
    monkeypatch.setattr(ToyBackbone, "stages", lambda self: [])
    monkeypatch.setattr(ToyBackbone, "chain", lambda self: list(self.layers))
    with pytest.raises(
        UsageError,
        match=r"^transfer\.backbone \(--backbone\) must be a network whose layers can learn, .*, not toy; leave it out "
        r"\(and its --weights\) for efficientnet-lite0\.$",
    ):
        build()


@pytest.mark.parametrize(
    ("name", "why"),
    [("vit_tiny_patch16_224", "any size, not of 224 px alone"), ("test_vit", "maps of an image, not a row of vectors")],
)
def test_a_network_without_maps_of_any_size_is_refused(name, why, monkeypatch):
    pytest.importorskip("timm")
    monkeypatch.setattr(detector, "bare_backbone", bare_backbone)
    with pytest.raises(
        UsageError, match=rf"^transfer\.backbone .* {why}, to find objects with, not timm:{name}; leave"
    ):
        FasterRCNN(3, ("a",), SETTINGS | {"backbone": f"timm:{name}"})


@pytest.mark.parametrize(
    ("name", "strides", "idle"),
    [
        ("timm:resnet18", (2, 4, 8, 16, 32), ()),
        ("timm:mobilenetv3_small_100", (2, 4, 8, 16, 16, 32, 32, 0), ("network.conv_head",)),
        ("mobilefacenet", (2, 2, 4, 8, 8, 16, 16, 16, 0), ("embedding",)),
    ],
)
def test_a_network_learns_all_that_makes_its_maps_and_no_more(name, strides, idle, monkeypatch):
    """timm goes past the layers that are joined to stages here, and some of all belong to the classifier alone."""
    if name.startswith("timm:"):
        pytest.importorskip("timm")
    monkeypatch.setattr(detector, "bare_backbone", bare_backbone)
    torch.manual_seed(0)
    backbone = bare_backbone(name)
    assert tuple(detector.stage_strides(backbone)) == strides
    assert not any(layer._forward_hooks for layer in backbone.modules())
    model = FasterRCNN(3, CLASSES, SETTINGS | {"backbone": name, "fixed_stride": 0}).train()
    model.learn(1.0)
    sum(model.losses(squares()).minimize.values()).backward()
    for layer, weight in model.backbone.named_parameters():
        assert (weight.grad is None) == layer.startswith(idle or ("none",)), layer


def test_maps_with_their_channels_last_have_the_stride_that_they_have():
    backbone = ToyBackbone()
    backbone.layers[2].register_forward_hook(lambda layer, given, found: found.movedim(1, 3))
    assert detector.stage_strides(backbone) == [2, 4, 8]


def test_many_images_are_seen_a_few_at_a_time():
    model, images = build().eval(), torch.rand(19, 3, 32, 32)
    with torch.no_grad():
        some = model.maps(images)
    for level, wanted in zip(some, model.maps(images), strict=True):
        torch.testing.assert_close(level, wanted.detach())


def test_faster_r_cnn_proposes_too():
    found = build().propose(torch.rand(2, 3, 64, 64))
    assert found.shape == (2, 50, 4)


# Proposals from outside.


def test_fast_r_cnn_without_proposals_says_so():
    with pytest.raises(
        UsageError, match="needs proposals for its images: hand in its `proposer`, or a batch with 'prop"
    ):
        build(FastRCNN).outputs(torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
def test_a_proposer_sees_the_pixels_again(channels):
    count = 1 if channels == "grey" else 3
    made = Preprocessing(channels, 32, 32, "squash", "triangle", 255, (0.4, 0.5, 0.6)[:count], (0.2, 0.3, 0.25)[:count])
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, count), np.uint8)
    shown = shown_pixels(made.normalize(torch.from_numpy(pixels)), made)
    assert np.array_equal(shown, np.repeat(pixels, 4 - count, 3)[..., :: -1 if channels == "bgr" else 1][..., :3])


def test_a_proposer_gives_what_was_found_first():
    made = of_imagenet(32)

    def find(pixels):
        assert pixels.dtype == np.uint8
        return some_boxes(1 if (pixels == pixels[0, 0]).all() else 4, 32).numpy()

    images = torch.rand(2, 3, 32, 32)
    images[1] = 0
    found = proposer_from(find, made, 3)(images)
    assert found.shape == (2, 3, 4)
    assert torch.equal(found[0], some_boxes(4, 32)[:3])
    assert (found[1, 1:] == -1).all()
    model = build(FastRCNN).eval()
    model.proposer = lambda images: found
    known = Batch(images, {"proposals": found}, np.arange(2), np.arange(2, dtype=np.uint64), torch.eye(2, 3)[None])
    for one, other in zip(model.outputs(images).values(), model.batch_outputs(known).values(), strict=True):
        assert torch.equal(one, other)


def test_half_precision_gives_losses_in_full():
    batch, model = squares(), build()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model.losses(batch).minimize
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    assert F.relu(losses["box"]) == losses["box"]
