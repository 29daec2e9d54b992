"""The parts of the detectors against oracles: slow ones written here, and torchvision's own."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from tenfold.check.box_findings import thin
from tenfold.environment import torch_threads
from tenfold.models.detection import roi
from tenfold.models.detection.anchors import (
    Anchors,
    best_overlap,
    fit_anchors,
    place_anchors,
    usual_shapes,
)
from tenfold.models.detection.coding import PROPOSAL_WEIGHTS, REGION_WEIGHTS, clip_boxes, decode_boxes, encode_boxes
from tenfold.models.detection.matching import PROPOSAL_RULE, match_boxes, read_truths, region_rule
from tenfold.models.detection.pyramid import Pyramid
from tenfold.models.detection.roi import (
    Lesson,
    Limits,
    RegionHeads,
    detections,
    list_regions,
    region_levels,
    region_losses,
    truncate_heads,
    truncate_layer,
)
from tenfold.models.detection.roi_align import roi_align
from tenfold.models.detection.rpn import Raw, pad_boxes, proposal_boxes, proposal_losses
from tenfold.models.detection.sampling import draw_boxes, evaluation_generator
from tests.detecting import batch_of, iou, some_boxes, truths_of

# Box regression.


@pytest.mark.parametrize("weights", [PROPOSAL_WEIGHTS, REGION_WEIGHTS])
def test_box_regression_there_and_back_is_torchvision_s(weights):
    from torchvision.models.detection._utils import BoxCoder

    boxes, wanted = some_boxes(40), some_boxes(40, seed=1)
    deltas = encode_boxes(wanted, boxes, weights)
    torch.testing.assert_close(decode_boxes(deltas, boxes, weights), wanted)
    torch.testing.assert_close(deltas, BoxCoder(weights).encode_single(wanted, boxes))
    wild = torch.randn(40, 4) * 20
    theirs = BoxCoder(weights).decode_single(wild, boxes)
    torch.testing.assert_close(decode_boxes(wild, boxes, weights), theirs)
    assert decode_boxes(torch.full((40, 4), 1e4), boxes, weights).isfinite().all()


def test_clipped_boxes_lie_in_the_image():
    clipped = clip_boxes(torch.tensor([[-3.0, -4, 70, 20], [65, 10, 90, 20], [1, 2, 3, 4]]), (30, 60))
    assert clipped.tolist() == [[0, 0, 60, 20], [60, 10, 60, 20], [1, 2, 3, 4]]


# Anchors.


def test_anchors_stand_around_the_middle_of_each_place():
    from torchvision.models.detection.anchor_utils import AnchorGenerator

    maps = [torch.zeros(2, 8, 5, 7), torch.zeros(2, 8, 3, 4)]
    anchors = Anchors((8, 16), 3)
    generator = AnchorGenerator(((32,), (64,)), ((0.5, 1.0, 2.0),) * 2)
    anchors.shapes.copy_(torch.stack([cell[:, 2:] - cell[:, :2] for cell in generator.cell_anchors]))
    theirs = generator.grid_anchors([(5, 7), (3, 4)], [(8, 8), (16, 16)])
    for ours, corner, stride in zip(anchors(maps), theirs, (8, 16), strict=True):
        torch.testing.assert_close(ours, corner + stride / 2)  # theirs stand around a place's corner
    slow = [
        [(x + 0.5) * 8 - w / 2, (y + 0.5) * 8 - h / 2, (x + 0.5) * 8 + w / 2, (y + 0.5) * 8 + h / 2]
        for y in range(5)
        for x in range(7)
        for w, h in anchors.shapes[0].tolist()
    ]
    torch.testing.assert_close(place_anchors(anchors.shapes[0], (5, 7), 8), torch.tensor(slow))


def test_the_usual_shapes_have_three_ratios_and_the_level_s_size():
    shapes = usual_shapes((8, 16), 6)
    ratios = shapes[..., 1] / shapes[..., 0]
    torch.testing.assert_close(ratios, torch.tensor([0.5, 1, 2] * 2).expand(2, 6))
    torch.testing.assert_close(shapes[1], 2 * shapes[0])
    torch.testing.assert_close(shapes[0].prod(1).sqrt(), torch.tensor([45.28] * 3 + [90.56] * 3), rtol=1e-4, atol=0)
    assert usual_shapes((16,), 1)[0, 0, 0] == usual_shapes((16,), 1)[0, 0, 1]


def test_anchors_are_fitted_to_the_boxes_each_class_weighing_the_same():
    torch.manual_seed(0)
    groups = [(20.0, 40.0, 900), (40.0, 20.0, 30), (100.0, 60.0, 300)]
    sides = torch.cat([torch.tensor([w, h]) * (1 + 0.02 * torch.randn(n, 2)) for w, h, n in groups])
    labels = torch.cat([torch.full((n,), place) for place, (_, _, n) in enumerate(groups)])
    shapes = fit_anchors(sides, labels, (8, 16, 32), 2)
    torch.testing.assert_close(
        shapes[0][shapes[0][:, 0].argsort()], torch.tensor([[20.0, 40], [40, 20]]), atol=1, rtol=0
    )
    torch.testing.assert_close(shapes[1], torch.tensor([[100.0, 60], [100, 60]]), atol=4, rtol=0)
    assert torch.equal(shapes[2], usual_shapes((32,), 2)[0])  # no box is for this level
    assert best_overlap(sides, shapes).mean() > 0.95 > 0.8 > best_overlap(sides, usual_shapes((8, 16, 32), 2)).mean()
    assert torch.equal(shapes, fit_anchors(sides, labels, (8, 16, 32), 2))
    order = torch.randperm(len(sides))
    torch.testing.assert_close(shapes, fit_anchors(sides[order], labels[order], (8, 16, 32), 2), atol=1e-3, rtol=0)


def test_anchors_say_what_they_are():
    anchors = Anchors((8,), 1)
    assert anchors.describe() == "the usual anchor boxes, width x height: 45x45 at stride 8 px"
    anchors.fit(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    assert "usual anchor boxes" in anchors.describe()
    anchors.fit(torch.tensor([[30.0, 20.0]]).expand(10, 2), torch.zeros(10, dtype=torch.long))
    assert anchors.describe() == (
        "anchor boxes fitted to the 10 boxes of the training part, width x height: 30x20 at stride 8 px; a box's best "
        "one overlaps it by 1.00 (IoU, mean), with the usual ones 0.29"
    )


# Matching and sampling.


def match_slowly(box, truths, real, ignored, rule, best_of_truth):
    """State and place of one box by the words of the rule; `best_of_truth` is the best overlap of each true box."""
    if box[2] <= box[0] or box[3] <= box[1]:
        return -1, None
    overlaps = [iou(box, truth) if is_real else 0.0 for truth, is_real in zip(truths, real, strict=True)]
    best = max(overlaps, default=0.0)
    place = overlaps.index(best) if overlaps else None
    lifted = any(own == top > 0 for own, top in zip(overlaps, best_of_truth, strict=True))
    if best >= rule.positive or (rule.best and lifted):
        return 1, place
    if not (rule.background[0] if any(real) else 0.0) <= best < rule.background[1]:
        return -1, None
    area = (box[2] - box[0]) * (box[3] - box[1])
    for truth, is_ignored in zip(truths, ignored, strict=True):
        shared = max(min(box[2], truth[2]) - max(box[0], truth[0]), 0) * max(
            min(box[3], truth[3]) - max(box[1], truth[1]), 0
        )
        if is_ignored and shared / area >= rule.background[1]:
            return -1, None
    return 0, None


@pytest.mark.parametrize("rule", [PROPOSAL_RULE, region_rule(0.0), region_rule(0.1)])
def test_matching_is_what_the_rule_says(rule):
    seen = set()
    for seed in range(6):
        boxes = torch.stack([some_boxes(60, seed=10 * seed + image).round() for image in range(3)])
        boxes[0, 5], boxes[0, 6] = -1, torch.tensor([5.0, 5, 5, 9])
        truth = torch.stack([some_boxes(4, seed=100 + 10 * seed + image, least=12).round() for image in range(3)])
        boxes[1, :4] = truth[1] + torch.tensor([1.0, 0, 1, 0])
        real = torch.tensor([[True, True, True, False], [True, False, True, False], [False] * 4])
        ignored = torch.tensor([[False, False, False, True], [False, True, False, False], [True, False, False, False]])
        found = match_boxes(boxes.double(), truths_of(truth.double(), real, ignored), rule)
        for image in range(3):
            own = boxes[image].tolist(), truth[image].tolist(), real[image].tolist(), ignored[image].tolist()
            tops = [
                max(iou(box, one) for box in own[0] if box[2] > box[0]) if is_real else 0.0
                for one, is_real in zip(own[1], own[2], strict=True)
            ]
            for place, box in enumerate(own[0]):
                state, which = match_slowly(box, *own[1:], rule, tops)
                seen.add(state)
                assert found.state[image, place] == state
                if which is not None:
                    assert found.truth[image, place] == which
    assert seen == {-1, 0, 1}


def test_matching_is_torchvision_s_where_nothing_is_ignored():
    from torchvision.models.detection._utils import Matcher
    from torchvision.ops import box_iou

    boxes, truth = some_boxes(300), some_boxes(7, seed=1, least=10)
    theirs = Matcher(0.7, 0.3, allow_low_quality_matches=True)(box_iou(truth, boxes))
    ours = match_boxes(boxes[None], truths_of(truth[None]), PROPOSAL_RULE)
    assert torch.equal(ours.state[0], torch.where(theirs >= 0, 1, torch.where(theirs == -1, 0, -1)))
    assert torch.equal(ours.truth[0][theirs >= 0], theirs[theirs >= 0])


def test_without_true_boxes_all_is_background():
    truths = read_truths(batch_of(torch.zeros(2, 3, 8, 8), torch.zeros(2, 0, 4), torch.zeros(2, 0).long()))
    for rule in (PROPOSAL_RULE, region_rule(0.0), region_rule(0.1)):
        found = match_boxes(some_boxes(5)[None], truths, rule)
        assert found.state.tolist() == [[0] * 5] * 2


def test_true_boxes_are_read_clipped_and_without_those_that_have_no_area():
    nan = [math.nan] * 4
    boxes = [[[-5, 2, 10, 90], [3, 3, 3, 9], [70, 5, 80, 9], nan, [1, 1, 9, 9], [2, 2, 8, 8]]]
    batch = batch_of(torch.zeros(1, 3, 32, 64), boxes, [[1, 0, 0, 1, -1, 0]], [[False] * 5 + [True]])
    truths = read_truths(batch)
    assert truths.real.tolist() == [[True, False, False, False, False, False]]
    assert truths.ignored.tolist() == [[False] * 5 + [True]]
    assert truths.boxes[0, 0].tolist() == [0, 2, 10, 32]
    assert truths.label[0, 0] == 1
    assert truths.boxes.isfinite().all()


@pytest.mark.parametrize("scale", [(1.0, 1.0), (0.65, 0.866), (3.0, 0.2)])
def test_what_the_check_calls_a_click_is_not_learned(scale):
    """At any scale of the input, where it is turned by a quarter, and as the hull of a turned one."""
    draw = np.random.default_rng(0)
    first = draw.integers(0, 500, (400, 2))
    corners = np.concatenate([first, first + draw.choice([0.5, 1, 1.02, 2, 3, 40], (400, 2))], 1)
    clicks = thin(corners)
    assert 0 < clicks.sum() < 400
    straight = [[scale[0], 0, 5], [0, scale[1], 7]]
    quarter = [[0, scale[0], 5], [scale[1], 0, 7]]
    for affine in (straight, quarter):
        moved = moved_boxes(corners, np.array(affine))
        batch = batch_of(torch.zeros(1, 3, 2000, 2000), moved[None], torch.zeros(1, 400).long())
        kept = read_truths(replace(batch, affine=torch.tensor([affine]))).real[0].numpy()
        seen = (moved[:, 2:] - moved[:, :2]).min(1) >= 0.1
        np.testing.assert_array_equal(kept, ~clicks & seen)
    turn = scale[0] * np.array([[math.cos(0.3), -math.sin(0.3), 200], [math.sin(0.3), math.cos(0.3), 90]])
    sides = np.array([[1.0, 1], [0.7, 1], [3, 3]])
    hulls = moved_boxes(np.concatenate([first[:3], first[:3] + sides], 1), turn) + 20
    batch = batch_of(torch.zeros(1, 3, 2000, 2000), hulls[None], torch.zeros(1, 3).long())
    truths = read_truths(replace(batch, affine=torch.tensor(turn[None], dtype=torch.float32)))
    assert truths.real.tolist() == [[False, False, True]]
    unknown = replace(batch, affine=torch.full((1, 2, 3), math.nan))
    assert read_truths(unknown).real.tolist() == [[True] * 3]


def moved_boxes(corners, affine):
    """The hulls of boxes [B, 4] after an affine map [2, 3]: [B, 4]."""
    points = corners[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] @ affine[:, :2].T + affine[:, 2]
    return np.concatenate([points.min(1), points.max(1)], 1)


def test_a_draw_keeps_to_its_share_and_comes_from_the_global_generator():
    state = torch.full((3, 400), -1)
    state[0, :100], state[0, 100:300] = 1, 0
    state[1, :5], state[1, 5:15] = 1, 0
    torch.manual_seed(3)
    drawn = draw_boxes(state, 64, 0.25, None)
    assert drawn.there.sum(1).tolist() == [64, 15, 0]
    assert (drawn.positive & drawn.there).sum(1).tolist() == [16, 5, 0]
    for image in range(3):
        own = drawn.place[image][drawn.there[image]]
        assert len(own.unique()) == len(own)
        assert torch.equal(state[image, own] == 1, drawn.positive[image][drawn.there[image]])
    torch.manual_seed(3)
    assert torch.equal(draw_boxes(state, 64, 0.25, None).place, drawn.place)
    assert not torch.equal(draw_boxes(state, 64, 0.25, None).place[0], drawn.place[0])
    first, second = (draw_boxes(state, 64, 0.25, evaluation_generator()) for _ in range(2))
    assert torch.equal(first.place, second.place)


# The networks' parts.


def test_the_pyramid_is_torchvision_s():
    from torchvision.ops import FeaturePyramidNetwork

    torch.manual_seed(0)
    ours, theirs = Pyramid((4, 6, 8), 5), FeaturePyramidNetwork([4, 6, 8], 5)
    for place in range(3):
        theirs.inner_blocks[place][0].load_state_dict(ours.sideways[place].state_dict())
        theirs.layer_blocks[place][0].load_state_dict(ours.smooth[place].state_dict())
    maps = [torch.randn(2, 4, 13, 18), torch.randn(2, 6, 7, 9), torch.randn(2, 8, 4, 5)]
    expected = theirs(dict(enumerate(maps)))
    for level, wanted in zip(ours(maps), expected.values(), strict=True):
        torch.testing.assert_close(level, wanted)


def raw_of(counts, images=2):
    torch.manual_seed(0)
    shapes = [(images, count) for count in counts]
    return Raw([torch.randn(shape) for shape in shapes], [0.5 * torch.randn(*shape, 4) for shape in shapes])


def test_proposals_are_torchvision_s():
    from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork

    raw, anchors = raw_of((800, 200)), [some_boxes(800), some_boxes(200, seed=1)]
    tops = dict.fromkeys(("training", "testing"), 1000), dict.fromkeys(("training", "testing"), 80)
    theirs = RegionProposalNetwork(AnchorGenerator(), nn.Identity(), 0.7, 0.3, 256, 0.5, *tops, 0.7)
    theirs.min_size = 1.0
    decoded = decode_boxes(torch.cat(raw.deltas, 1), torch.cat(anchors).expand(2, -1, 4), PROPOSAL_WEIGHTS)
    expected, _ = theirs.filter_proposals(decoded, torch.cat(raw.objectness, 1), [(50, 64)] * 2, [800, 200])
    torch.testing.assert_close(proposal_boxes(raw, anchors, (50, 64), 80), torch.stack(expected))
    short = proposal_boxes(raw, anchors, (50, 64), 3000)
    assert short.shape == (2, 3000, 4)
    assert (short[:, -1] == -1).all()


def test_as_many_proposals_are_compared_as_are_asked_for():
    first = torch.arange(1500.0)
    apart = torch.stack([first * 10, first * 0, first * 10 + 8, first * 0 + 8], 1)
    raw = Raw([torch.randn(1, 1500)], [torch.zeros(1, 1500, 4)])
    found = proposal_boxes(raw, [apart], (8, 15_000), 1200)
    assert (found >= 0).all()


def test_the_proposals_losses_are_torchvision_s():
    from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork

    raw, anchors = raw_of((90, 30)), [some_boxes(90), some_boxes(30, seed=1)]
    truth = torch.stack([some_boxes(3, seed=seed, least=10) for seed in (2, 3)])
    ones = dict.fromkeys(("training", "testing"), 1)
    theirs = RegionProposalNetwork(AnchorGenerator(), nn.Identity(), 0.7, 0.3, 256, 0.5, ones, ones, 0.7)
    every = torch.cat(anchors)
    labels, wanted = theirs.assign_targets_to_anchors([every] * 2, [{"boxes": boxes} for boxes in truth])
    targets = theirs.box_coder.encode(wanted, [every] * 2)
    flat = torch.cat(raw.objectness, 1).flatten(), torch.cat(raw.deltas, 1).flatten(0, 1)
    expected = theirs.compute_loss(flat[0][:, None], flat[1], labels, targets)
    ours = proposal_losses(raw, anchors, truths_of(truth), None)
    torch.testing.assert_close(ours["rpn_class"], expected[0])
    torch.testing.assert_close(ours["rpn_box"], expected[1])


def test_a_region_is_cut_out_of_the_level_for_its_size():
    from torchvision.ops.poolers import LevelMapper

    sizes = torch.tensor([3.0, 60, 111.9, 112, 150, 223.9, 224, 447, 448, 2000])
    boxes = torch.stack([sizes * 0, sizes * 0, sizes, sizes], 1)
    assert torch.equal(region_levels(boxes, (8, 16, 32)), LevelMapper(3, 5)([boxes]))
    assert region_levels(boxes, (4, 16)).tolist() == [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("pool", ["align", "pool"])
def test_heads_cut_regions_as_one_by_one(pool, monkeypatch):
    from torchvision import ops

    torch.manual_seed(0)
    heads = RegionHeads(6, (8, 16), 3, 10, pool)
    maps = [torch.randn(2, 6, 40, 40), torch.randn(2, 6, 20, 20)]
    boxes = pad_boxes([torch.tensor([[0.0, 0, 300, 300], [4, 4, 50, 70]]), torch.tensor([[9.0, 7, 260, 300]])], 4)
    regions = list_regions(boxes)
    assert regions[:, 0].tolist() == [0, 0, 1]
    for cut, region, level in zip(heads.cut(maps, regions), regions, (1, 0, 1), strict=True):
        scale = 1 / (8, 16)[level]
        args = (maps[level], region[None], 7, scale)
        expected = ops.roi_pool(*args) if pool == "pool" else ops.roi_align(*args, sampling_ratio=2, aligned=True)
        torch.testing.assert_close(cut, expected[0])
    logits, deltas = heads(maps, regions)
    assert logits.shape == (3, 4)
    assert deltas.shape == (3, 3, 4)
    monkeypatch.setattr(roi, "_AT_ONCE", 2)
    with torch.no_grad():
        torch.testing.assert_close(heads(maps, regions), (logits.detach(), deltas.detach()))
        assert heads(maps, regions[:0])[1].shape == (0, 3, 4)


@pytest.mark.parametrize(("size", "count"), [((24, 31), 200), ((1, 1), 5), ((1, 9), 40), ((7, 5), 0)])
def test_roi_align_is_torchvision_s_forward_and_backward(size, count):
    from torchvision import ops

    torch.manual_seed(0)
    maps = torch.randn(3, 10, *size).contiguous(memory_format=torch.channels_last)
    corners = torch.rand(count, 2) * torch.tensor([260.0, 200.0]) - 20  # some lie partly or wholly outside
    regions = torch.cat([torch.randint(3, (count, 1)), corners, corners + 1 + 90 * torch.rand(count, 2)], 1)
    given, results = torch.randn(count, 10, 7, 7), []
    for name in ("ours", "more threads", "theirs"):
        leaf = maps.clone().requires_grad_()
        with torch_threads(3 if name == "more threads" else 1):
            if name == "theirs":
                cut = ops.roi_align(leaf, regions, 7, 1 / 8, 2, True)
            else:
                cut = roi_align(leaf, regions, 7, 8)
            cut.backward(given)
        results.append((cut.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    torch.testing.assert_close(results[0], results[2], rtol=1e-4, atol=1e-4)


def test_the_heads_losses_are_torchvision_s():
    from torchvision.models.detection.roi_heads import fastrcnn_loss

    torch.manual_seed(0)
    heads, maps = RegionHeads(6, (8,), 2, 10, "align"), [torch.randn(2, 6, 8, 8)]
    truth = torch.stack([some_boxes(3, seed=seed, least=10) for seed in (2, 3)])
    truths = truths_of(truth, label=torch.tensor([[0, 1, 1], [1, 0, 0]]))
    proposals = torch.stack([some_boxes(30, seed=5), some_boxes(30, seed=6)])
    proposals[:, :3] = truth + 1.5
    losses, right = region_losses(heads, maps, proposals, truths, Lesson(region_rule(0.0), 1000, 0.5, 1 / 9), None)
    every = torch.cat([proposals, truth], 1)
    matched = match_boxes(every, truths, region_rule(0.0))
    regions = list_regions(every)
    logits, deltas = heads(maps, regions)
    positive = matched.state.flatten() == 1
    label = truths.label.gather(1, matched.truth).flatten()
    theirs_label = torch.where(positive, label + 1, 0)  # their background is class 0
    wanted = truth.gather(1, matched.truth[..., None].expand(-1, -1, 4)).flatten(0, 1)
    targets = torch.where(positive[:, None], encode_boxes(wanted, regions[:, 1:], REGION_WEIGHTS), 0.0)
    theirs_deltas = torch.cat([torch.zeros(len(deltas), 1, 4), deltas], 1).flatten(1)
    theirs = fastrcnn_loss(logits.roll(1, 1), theirs_deltas, [theirs_label], [targets])
    torch.testing.assert_close(losses["class"], theirs[0])
    torch.testing.assert_close(losses["box"], theirs[1])
    assert right == (logits.argmax(1) == torch.where(positive, label, 2)).float().mean()


def test_what_is_found_is_torchvision_s():
    from torchvision.models.detection._utils import BoxCoder
    from torchvision.models.detection.roi_heads import RoIHeads

    torch.manual_seed(0)
    boxes = torch.stack([some_boxes(40), some_boxes(40, seed=1)])
    logits, deltas = 2 * torch.randn(80, 4), 0.5 * torch.randn(80, 3, 4)
    theirs = RoIHeads(None, None, None, 0.5, 0.5, 64, 0.25, None, 0.1, 0.4, 25)
    theirs.box_coder = BoxCoder(REGION_WEIGHTS)
    full = torch.cat([torch.zeros(80, 1, 4), deltas], 1).flatten(1)
    expected = theirs.postprocess_detections(logits.roll(1, 1), full, list(boxes), [(50, 64)] * 2)
    found = detections(logits, deltas, list_regions(boxes), 2, (50, 64), Limits(0.1, 0.4, 25))
    for image in range(2):
        torch.testing.assert_close(found["boxes"][image], expected[0][image])
        torch.testing.assert_close(found["score"][image], expected[1][image])
        assert torch.equal(found["label"][image], expected[2][image] - 1)
    few = detections(logits, deltas, list_regions(boxes), 3, (50, 64), Limits(0.1, 0.4, 300))
    assert few["boxes"].shape == (3, 300, 4)
    assert (few["label"][2] == -1).all()
    assert (few["score"][2] == -1).all()


def test_truncated_layers_say_almost_the_same_with_fewer_numbers():
    torch.manual_seed(0)
    layer, inputs = nn.Linear(30, 20), torch.randn(5, 30)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(20, 4) @ torch.randn(4, 30))
    first, second = truncate_layer(layer, 4)
    torch.testing.assert_close(second(first(inputs)), layer(inputs), atol=1e-4, rtol=1e-4)
    assert truncate_layer(layer, 12) == [layer]  # 12 * 50 numbers are no fewer than 600
    heads = RegionHeads(6, (8,), 2, 40, "align")
    before = heads([torch.ones(1, 6, 8, 8)], torch.tensor([[0.0, 0, 0, 40, 40]]))[0]
    count = sum(value.numel() for value in heads.hidden.parameters())
    truncate_heads(heads, 10)
    assert sum(value.numel() for value in heads.hidden.parameters()) < count / 2
    assert heads([torch.ones(1, 6, 8, 8)], torch.tensor([[0.0, 0, 0, 40, 40]]))[0].shape == before.shape
