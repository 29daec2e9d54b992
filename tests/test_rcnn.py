"""R-CNN against slow oracles: warping, what SVMs and box regression learn from; and the whole way through a run."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tenfold.errors import UsageError
from tenfold.evaluate import evaluate_run
from tenfold.models.backbones import bare_backbone
from tenfold.models.cost import count_cost
from tenfold.models.detection import RCNN, region_fits
from tenfold.models.detection import rcnn as rcnn_module
from tenfold.models.detection.coding import PROPOSAL_WEIGHTS, decode_boxes
from tenfold.models.detection.kernels import cut_squares
from tenfold.models.detection.rcnn import with_context
from tenfold.models.detection.region_fits import Regions, fit_moves, fit_svm, fit_svms, hard_negatives, length_scale
from tenfold.run import load_run
from tenfold.train import data as data_module
from tenfold.train import resume_training, train_model
from tests.detecting import batch_of, iou, some_boxes
from tests.test_detection_models import SETTINGS
from tests.test_fast_rcnn_training import recipe_of, squares_table, toy  # noqa: F401 - a fixture


def build(**settings):
    torch.manual_seed(0)
    return RCNN(3, ("red", "green"), {**SETTINGS, "crop": 16, "finetune": False, **settings}).eval()


# Warping.


def slow_square(image, box, side):
    """A box [4] of an image [C, H, W] warped to a square, 16 of 227 px on each side context, 0 outside: [C, S, S]."""
    x1, y1, x2, y2 = box
    per = side / 227
    scale = (side - 32 * per) / np.array([x2 - x1, y2 - y1])  # of the square's pixels to the image's
    result = np.zeros((len(image), side, side))
    steps = [math.ceil(side / scale[axis] / side - 1e-9) for axis in (0, 1)]
    for row in range(side):
        for column in range(side):
            points = [
                ((column + (i + 0.5) / steps[0] - 16 * per) / scale[0] + x1 - 0.5,
                 (row + (j + 0.5) / steps[1] - 16 * per) / scale[1] + y1 - 0.5)
                for i in range(steps[0])
                for j in range(steps[1])
            ]  # fmt: skip
            result[:, row, column] = np.mean([interpolated(image, x, y) for x, y in points], 0)
    return result


def interpolated(image, x, y):
    height, width = image.shape[1:]
    if x < -1 or y < -1 or x > width or y > height:
        return np.zeros(len(image))
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    left, top = min(int(x), width - 2), min(int(y), height - 2)
    across, down = x - left, y - top
    upper = image[:, top, left] * (1 - across) + image[:, top, left + 1] * across
    lower = image[:, top + 1, left] * (1 - across) + image[:, top + 1, left + 1] * across
    return upper * (1 - down) + lower * down


def test_regions_are_warped_with_context():
    images = torch.rand(2, 3, 30, 40, dtype=torch.float64).float()
    boxes = torch.tensor([[5.0, 6, 25, 16], [0, 0, 40, 30], [30, 20, 39, 30], [10.5, 3.25, 13, 6]])
    regions = torch.cat([torch.tensor([[0.0], [1], [0], [1]]), boxes], 1)
    squares = cut_squares(images, with_context(regions), 9)
    for place, (image, *box) in enumerate(regions.tolist()):
        slow = slow_square(images[int(image)].numpy(), box, 9)
        np.testing.assert_allclose(squares[place], slow, atol=1e-4)


def test_features_are_those_of_each_square_alone(monkeypatch):
    from tenfold.models.detection import rcnn

    monkeypatch.setattr(rcnn, "_AT_ONCE", {"cpu": 3})
    model, images = build(), torch.rand(2, 3, 64, 64)
    regions = torch.cat([torch.arange(8).remainder(2)[:, None].float(), some_boxes(8)], 1)
    seen = model.look(images, regions)
    squares = cut_squares(images, with_context(regions), 16)
    for place in range(8):
        maps = model.backbone.maps(squares[place : place + 1])
        torch.testing.assert_close(seen.whole[place], maps[-1].mean((2, 3))[0])
        torch.testing.assert_close(seen.places[place].reshape(16, 4, 4), maps[1][0], rtol=1e-4, atol=1e-5)
    assert model.look(images, regions[:0]).whole.shape == (0, 24)


# What is learnt from.


def regions_of(seed, count=60, true=4, classes=2, features=6, places=8):
    draw = np.random.default_rng(seed)
    boxes = some_boxes(true, seed=seed, least=12).numpy()
    near = np.repeat(boxes, 6, 0) + draw.normal(0, 1.5, (6 * true, 4)).astype(np.float32)
    every = np.concatenate([near, some_boxes(count, seed=seed + 100).numpy(), boxes])
    label = draw.integers(0, classes, true)
    ignore = np.arange(true) == 1
    whole = draw.normal(0, 1, (len(every), features)).astype(np.float16)
    return Regions(every, boxes, label, ignore, whole, draw.normal(0, 1, (len(every), places)).astype(np.float16))


def inside(image, row, other):
    """How much of a region lies in a true box."""
    box, true = image.boxes[row].tolist(), image.true[other].tolist()
    sides = [max(0.0, min(box[side + 2], true[side + 2]) - max(box[side], true[side])) for side in (0, 1)]
    return sides[0] * sides[1] / ((box[2] - box[0]) * (box[3] - box[1]))


def test_what_lies_in_a_crowd_is_no_negative_of_its_class():
    crowd, boxes = np.float32([[0, 0, 400, 300]]), np.float32([[10, 10, 50, 90], [390, 10, 420, 90], [0, 0, 400, 300]])
    nothing = np.zeros((3, 3), np.float16)
    image = Regions(boxes, crowd, np.zeros(1, np.int64), np.ones(1, bool), nothing, nothing)
    assert image.negatives(0).tolist() == [1]
    assert image.negatives(1).tolist() == [0, 1]


@pytest.mark.parametrize("seed", range(4))
def test_positives_negatives_and_what_is_near_by_a_loop(seed):
    image = regions_of(seed)
    for kind in range(2):
        own = [g for g in range(len(image.true)) if image.label[g] == kind]
        positive = [image.proposed + g for g in own if not image.ignore[g]]
        negative, near = [], []
        for row in range(image.proposed):
            overlap = [iou(image.boxes[row].tolist(), box) for box in image.true.tolist()]
            crowds = [g for g in own if image.ignore[g]]
            if all(overlap[g] < 0.3 for g in own) and all(inside(image, row, g) < 0.5 for g in crowds):
                negative.append(row)
            best = max((g for g in range(len(overlap)) if not image.ignore[g]), key=lambda g: overlap[g])
            if overlap[best] > 0.6 and image.label[best] == kind:
                near.append((row, best))
        assert image.positives(kind).tolist() == positive
        assert image.negatives(kind).tolist() == negative
        rows, true = image.near(kind)
        assert list(zip(rows.tolist(), true.tolist(), strict=True)) == near


def test_an_image_without_objects_is_all_negative():
    empty = np.empty((0, 4), np.float32)
    boxes = some_boxes(5).numpy()
    nothing = np.zeros((5, 3), np.float16)
    image = Regions(boxes, empty, np.empty(0, np.int64), np.empty(0, bool), nothing, nothing)
    assert image.negatives(0).tolist() == [0, 1, 2, 3, 4]
    assert not len(image.positives(0))
    assert not len(image.near(0)[0])


def test_hard_negatives_are_those_that_cost_and_were_not_seen(monkeypatch):
    images = [regions_of(seed) for seed in range(3)]
    weight, bias = np.random.default_rng(5).normal(0, 1, 6), 0.1
    monkeypatch.setattr(region_fits, "_EASY", 10)
    expected = []
    for image in images:
        negative = image.negatives(0).tolist()
        seen = negative[:: math.ceil(len(negative) / 10)]
        for row in negative:
            margin = float(image.whole[row].astype(np.float64) @ weight + bias)
            if row not in seen and margin > -1:
                expected.append((margin, image.whole[row].astype(np.float32)))
    expected.sort(key=lambda pair: -pair[0])
    found = hard_negatives(images, 0, weight, bias)
    np.testing.assert_array_equal(found, [row for _, row in expected])
    monkeypatch.setattr(region_fits, "_MOST_ROWS", 7)
    assert len(hard_negatives(images, 0, weight, bias)) == 7


def test_an_svm_is_least_of_what_it_minimizes():
    draw = np.random.default_rng(0)
    positive, negative = draw.normal(6, 6, (30, 5)), draw.normal(-4, 6, (90, 5))

    def cost(weight, bias):
        hinge = (
            2 * np.maximum(1 - positive @ weight - bias, 0).sum() + np.maximum(1 + negative @ weight + bias, 0).sum()
        )
        return (weight @ weight + (bias / 10) ** 2) / 2 + 1e-3 * hinge

    weight, bias = fit_svm(positive, negative)
    least = cost(weight, bias)
    for _ in range(200):
        assert cost(weight + draw.normal(0, 0.02, 5), bias + draw.normal(0, 0.02)) > least - 1e-6


def test_a_second_svm_knows_the_hard_negatives(monkeypatch):
    monkeypatch.setattr(region_fits, "_EASY", 2)
    images = [regions_of(seed) for seed in range(4)]
    fitted = fit_svms(images, 2)
    scale = length_scale([image.whole for image in images])
    for kind in range(2):
        positive = np.concatenate([image.whole[image.positives(kind)] for image in images]).astype(np.float32)
        easy = np.concatenate([r.whole[r.negatives(kind)[:: math.ceil(len(r.negatives(kind)) / 2)]] for r in images])
        weight, bias = fit_svm(positive * scale, easy.astype(np.float32) * scale)
        hard = hard_negatives(images, kind, weight * scale, bias)
        weight, bias = fit_svm(positive * scale, np.concatenate([easy.astype(np.float32), hard]) * scale)
        np.testing.assert_allclose(fitted.weight[kind], weight * scale, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(fitted.bias[kind], bias, rtol=1e-4)


def test_a_class_without_objects_is_never_found():
    images = [regions_of(seed) for seed in range(2)]
    fitted, moves = fit_svms(images, 3), fit_moves(images, 3)
    assert (fitted.weight[2] == 0).all()
    assert fitted.bias[2] == -10
    assert (moves.weight[2] == 0).all()
    assert (moves.bias[2] == 0).all()


def test_box_regression_is_the_ridge_of_the_paper():
    images = [regions_of(seed) for seed in range(5)]
    fitted = fit_moves(images, 2)
    scale = length_scale([image.places for image in images])
    for kind in range(2):
        rows, targets = [], []
        for image in images:
            for row, true in zip(*image.near(kind), strict=True):
                (x1, y1, x2, y2), (a1, b1, a2, b2) = image.boxes[row].tolist(), image.true[true].tolist()
                w, h = x2 - x1, y2 - y1
                move = [((a1 + a2) - (x1 + x2)) / 2 / w, ((b1 + b2) - (y1 + y2)) / 2 / h]
                targets.append([*move, math.log((a2 - a1) / w), math.log((b2 - b1) / h)])
                rows.append(image.places[row].astype(np.float64) * scale)
        x, y = np.array(rows), np.array(targets)
        centered = x - x.mean(0)
        weight = np.linalg.solve(centered.T @ centered + 1000 * np.eye(8), centered.T @ (y - y.mean(0)))
        np.testing.assert_allclose(fitted.weight[kind], weight.T * scale, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(fitted.bias[kind], y.mean(0) - x.mean(0) @ weight, rtol=1e-3, atol=1e-5)


# The model.


@torch.no_grad()
def test_what_it_finds_is_what_its_parts_say():
    model, images = build(overlap=0.0, score=0.3), torch.rand(1, 3, 64, 64)
    torch.nn.init.normal_(model.moves.weight, std=0.01)
    boxes = some_boxes(12, least=8)[None]
    found = model.batch_outputs(batch_of(images, boxes[:, :1], [[0]], proposals=boxes))
    seen = model.look(images, torch.cat([torch.zeros(12, 1), boxes[0]], 1))
    candidates = []
    for row in range(12):
        for kind in range(2):
            score = float((seen.whole[row] @ model.svms.weight[kind] + model.svms.bias[kind]).sigmoid())
            deltas = model.moves(seen.places[row]).view(2, 4)[kind]
            box = decode_boxes(deltas, boxes[0, row], PROPOSAL_WEIGHTS).clamp(0, 64).tolist()
            if score >= 0.3:
                candidates.append((score, kind, box))
    kept = []
    for score, kind, box in sorted(candidates, reverse=True):
        if all(kind != other or iou(box, better) <= 0.3 for _, other, better in kept):
            kept.append((score, kind, box))
    there = found["label"][0] >= 0
    assert found["label"][0][there].tolist() == [kind for _, kind, _ in kept][: model.limits.count]
    torch.testing.assert_close(found["score"][0][there], torch.tensor([score for score, _, _ in kept])[:10])


@torch.no_grad()
def test_the_hinge_is_of_what_is_right_or_wrong():
    model, images = build(regions=3), torch.rand(1, 3, 64, 64)
    true, proposals = torch.tensor([[[4.0, 4, 30, 30]]]), torch.tensor([[[5.0, 4, 30, 30], [36, 36, 60, 60]]])
    cost = model.losses(batch_of(images, true, [[1]], proposals=proposals)).minimize["hinge"]
    seen = model.look(images, torch.cat([torch.zeros(3, 1), torch.cat([proposals, true], 1)[0]], 1))
    margins = model.svms(seen.whole.half().float())
    wanted = [(0, 0, -1), (1, 0, -1), (1, 1, -1), (2, 1, 1)]  # the first proposal is neither for the second class
    costs = [max(0.0, 1 - sign * float(margins[row, kind])) for row, kind, sign in wanted]
    assert float(cost) == pytest.approx(sum(costs) / 4, rel=1e-3)


@torch.no_grad()
def test_its_loss_is_of_no_proposal_that_it_no_longer_looks_at():
    """A time limit takes fewer than were found before; a run that is resumed or repeated finds as many as are taken."""
    model, images = build(regions=8), torch.rand(1, 3, 64, 64)
    true, found = torch.tensor([[[4.0, 4, 30, 30]]]), some_boxes(10, least=8)[None]

    def loss(proposals):
        return float(model.losses(batch_of(images, true, [[1]], proposals=proposals)).minimize["hinge"])

    whole = loss(found)
    model.take_proposals(3)
    assert loss(found) == loss(found[:, :3]) != whole


def test_without_anything_to_find_proposals_it_says_so():
    with pytest.raises(UsageError, match="R-CNN needs proposals for its images: hand in its `proposer`, or a batch"):
        build().outputs(torch.zeros(1, 3, 64, 64))


def test_fine_tuning_is_a_training_before():
    with pytest.raises(
        UsageError, match=r"finetune is a training before this one: call tenfold\.detect\.train_rcnn, or"
    ):
        build(finetune=True)
    build(finetune=True, init="runs/regions")


def test_a_network_without_maps_is_refused(monkeypatch):
    monkeypatch.setattr(rcnn_module, "bare_backbone", bare_backbone)
    with pytest.raises(
        UsageError,
        match=r"^transfer\.backbone .* a network that makes maps of an image, .*, not onnx:24:5; leave it out",
    ):
        build(backbone="onnx:24:5")


def test_it_goes_by_the_maps_whatever_the_length_of_a_networks_own_vectors(monkeypatch):
    monkeypatch.setattr(rcnn_module, "bare_backbone", bare_backbone)
    model = build(backbone="mobilefacenet", crop=32)
    assert (model.backbone.width, model.svms.in_features) == (128, 512)
    images, proposals = torch.rand(1, 3, 64, 64), torch.tensor([[[4.0, 4, 40, 40], [20, 10, 60, 50]]])
    assert model.detect(images, proposals)["boxes"].shape == (1, 10, 4)


def test_regions_that_a_network_would_halve_away_are_refused(monkeypatch):
    monkeypatch.setattr(rcnn_module, "bare_backbone", bare_backbone)
    model = build(backbone="vgg16", crop=16)
    with pytest.raises(UsageError, match=r"^detect\.crop must be larger for this network, .* regions so small: "):
        count_cost(model, 64)


def test_it_is_fitted_killed_resumed_and_evaluated(tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "_plain_batch", lambda size: 4)
    table, recipe = squares_table(tmp_path), recipe_of("rcnn", detect={"crop": 16, "proposals": 60})
    looked = []
    vectors = RCNN._vectors
    monkeypatch.setattr(RCNN, "_vectors", lambda self, *given: looked.append(0) or vectors(self, *given))

    def kill(message):
        if message.text.startswith("features of images, 8 of 12"):
            raise SystemExit

    with pytest.raises(SystemExit):
        train_model(table, recipe, tmp_path / "killed", progress=kill)
    assert len(looked) == 8
    run = resume_training(tmp_path / "killed")
    assert len(looked) == 12 + 4  # and those of the validation part, for its loss
    straight = train_model(table, recipe, tmp_path / "straight")
    one, other = (load_file(path / "model.safetensors") for path in (run.path, straight.path))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert run.history["validation_hinge"].iloc[0] < 1
    assert run.calibration["temperature"] > 0
    ap50 = evaluate_run(load_run(run.path), "validation").figures["ap50"]
    assert ap50.value > 0.5


def test_whoever_watches_hears_of_each_step(tmp_path, monkeypatch):
    monkeypatch.setattr(data_module, "_plain_batch", lambda size: 5)  # several batches, and a last one that is smaller
    heard, recipe = [], recipe_of("rcnn", detect={"crop": 16, "proposals": 60})
    train_model(squares_table(tmp_path), recipe, tmp_path / "run", progress=heard.append)
    images = [message for message in heard if message.phase == "prepare" and " of classes" not in message.text]
    for what, of in (("proposals of images", 16), ("features of images", 12), ("validation images", 4)):
        done = [message.step for message in images if message.text.startswith(f"{what}, ")]
        assert {message.steps for message in images if message.text.startswith(f"{what}, ")} == {of}
        assert done == sorted(done)
        assert set(done) | {0} == set(range(of + 1))
    assert not any("images of the training part" in message.text for message in images)
    told = [message for message in heard if message.phase == "prepare" and " of classes" in message.text]
    steps = ("linear SVMs of classes", "hard negatives of classes", "box regressions of classes")
    assert [message.text.partition(",")[0] for message in told] == [step for step in steps for _ in range(3)]
    assert [(message.step, message.steps) for message in told] == [(0, 2), (1, 2), (2, 2)] * 3
    for message in told:
        paced = f": about {message.seconds_left:.0f} s left" if message.step else ""
        assert message.text.endswith(f", {message.step} of 2{paced}")


def test_the_time_left_is_at_the_pace_of_the_steps_behind(monkeypatch):
    from tenfold.train import passes

    now, heard = [10.0], []
    monkeypatch.setattr(passes.time, "monotonic", lambda: now[0])
    watch = passes.tell_steps(heard.append)
    for done in range(3):
        watch("linear SVMs of classes", done, 4)
        now[0] += 5
    watch("box regressions of classes", 0, 4)
    assert [message.seconds_left for message in heard] == [0, 15, 10, 0]
    assert heard[1].text == "linear SVMs of classes, 1 of 4: about 15 s left"
    for done in range(0, 300, 100):  # out of the cache
        watch("features of images", done, 400)
    for done in range(201, 214):
        now[0] += 5
        watch("features of images", done, 400)
    assert heard[-1].seconds_left == 5 * (400 - 213)  # at the pace of the last eight
    watch("features of images", 0, 400)  # another time
    assert heard[-1].text == "features of images, 0 of 400"
