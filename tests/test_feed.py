"""What training is fed with: canvases changed by a policy, mixed, and what a batch says about where its pixels were."""

import dataclasses

import numpy as np
import pytest
import torch

from tenfold.augment.feed import PlainInput, PolicyInput, on_canvas
from tenfold.augment.mix import NUMBERS, mix
from tenfold.augment.policy import Mix, Policy
from tenfold.augment.published import NAMED, named_policy
from tenfold.augment.tree import op
from tenfold.draws import draw_keys, uniforms
from tenfold.images.loader import Drawn
from tenfold.images.preprocess import Preprocessing
from tests.toys import scene

RGB = Preprocessing("rgb", 8, 10, "crop", "triangle", 255, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))
NONE = Policy("none")
CROP, FLIP = op("crop", {"scale": [0.7, 1], "aspect": 1.2}), op("flip", "horizontal", 0.5)
FAR = Policy("far", (op("shift", 0.1), CROP, op("rotate", 15), FLIP))


def keys(count, seed=0):
    return draw_keys(seed, 0, np.arange(count, dtype=np.uint64))


def drawn_from(canvases, affine=((1, 0, 0), (0, 1, 0))):
    count = len(canvases)
    maps = np.tile(np.asarray(affine, np.float32), (count, 1, 1))
    return Drawn(canvases, {"label": torch.eye(count)}, keys(count), maps)


def still(preprocessing, policy=NONE, size=None, mixes=("label",), **settings):
    return PolicyInput(policy, preprocessing, lambda epoch: size or preprocessing.size, mixes, **settings)


@pytest.mark.parametrize("canvas", [8, 9, 10, 11])
@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
def test_a_policy_that_changes_nothing_gives_what_evaluation_sees(channels, canvas):
    count = 1 if channels == "grey" else 3
    made = dataclasses.replace(RGB, channels=channels, canvas=canvas, mean=RGB.mean[:count], std=RGB.std[:count])
    canvases = np.random.default_rng(0).integers(0, 256, (5, canvas, canvas, count), np.uint8)
    drawn = drawn_from(canvases, [[0.5, 0, 1], [0, 2, 0]])
    images, targets, affine = still(made)(drawn, 0)
    plain, labels, maps = PlainInput(made)(drawn, 0)
    torch.testing.assert_close(images, plain, atol=1e-4, rtol=0)
    torch.testing.assert_close(affine, maps)
    assert torch.equal(targets["label"], labels["label"])
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_pixels_and_affine_map_move_together():
    """A bright block is found again where the affine map says."""
    canvases = np.zeros((41, 64, 64, 1), np.uint8)
    canvases[:, 28:32, 34:38] = 255
    made = Preprocessing("grey", 56, 64, "crop", "triangle", 255, (0.0,), (1.0,))
    images, _, moved = still(made, FAR, size=48)(drawn_from(canvases, [[2, 0, 3], [0, 4, 5]]), 0)
    place = torch.arange(48) + 0.5
    weight = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    found = torch.stack([(weight.sum(1) * place).sum(1), (weight.sum(2) * place).sum(1)], 1)
    original = torch.tensor([(36 - 3) / 2, (30 - 5) / 4, 1.0])
    torch.testing.assert_close(moved @ original, found, atol=0.3, rtol=0)
    mirrored = torch.linalg.det(moved[:, :, :2]) < 0
    assert 8 < mirrored.sum() < 32


def test_what_turns_the_centre_shows_the_canvas_beyond_it():
    """A quarter of a turn of a canvas whose border differs: the centre alone would be filled by mirroring."""
    canvases = np.full((2, 40, 40, 1), 200, np.uint8)
    canvases[:, 10:30, 10:30] = 0
    made = Preprocessing("grey", 20, 40, "crop", "triangle", 255, (0.0,), (1.0,))
    images, _, _ = still(made, Policy("turned", (op("rotate", [45, 45]),)))(drawn_from(canvases), 0)
    assert images[0, 0, 0, 0] == pytest.approx(200 / 255, abs=1e-3)
    assert images[0, 0, 10, 10] == 0


def test_only_a_policy_that_always_crops_has_all_of_a_canvas():
    whole = Policy("always", (CROP,))
    assert on_canvas(whole, RGB) is whole
    for policy in (NONE, Policy("at times", (dataclasses.replace(CROP, probability=0.5),))):
        first, *rest = on_canvas(policy, RGB).ops
        assert (first.name, tuple(rest)) == ("zoom", policy.ops)


@pytest.mark.parametrize("name", NAMED)
def test_every_named_policy_feeds_a_batch_that_does_not_depend_on_its_neighbors(name):
    policy = named_policy(name)
    policy = dataclasses.replace(policy, mix=dataclasses.replace(policy.mix, share=0.0))
    canvases = np.random.default_rng(1).integers(0, 256, (6, 10, 10, 3), np.uint8)
    whole = drawn_from(canvases)
    images, _, affine = still(RGB, policy)(whole, 0)
    part = Drawn(canvases[2:5], {"label": torch.eye(3)}, whole.keys[2:5], whole.affine[2:5])
    some, _, maps = still(RGB, policy)(part, 0)
    assert torch.equal(images[2:4], some)
    assert torch.equal(affine[2:4], maps)
    assert images.shape == (5, 3, 8, 8)
    assert images.isfinite().all()


def test_plain_input_is_the_normalized_centre():
    canvases = np.random.default_rng(0).integers(0, 256, (4, 10, 10, 3), np.uint8)
    images, targets, affine = PlainInput(RGB)(drawn_from(canvases), 0)
    wanted = (canvases[:3, 1:9, 1:9] / 255 - np.array(RGB.mean)) / np.array(RGB.std)
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), wanted, atol=1e-5)
    assert len(targets["label"]) == 3
    assert torch.equal(affine, torch.tensor([[1.0, 0, -1], [0, 1, -1]]).expand(3, 2, 3))


def test_labels_are_mixed_as_the_pixels_are():
    canvases = np.repeat(np.arange(0, 250, 10, dtype=np.uint8), 100).reshape(25, 10, 10, 1)
    made = Preprocessing("grey", 8, 10, "crop", "triangle", 255, (0.0,), (1.0,))
    policy = Policy("mixed", (), Mix(mixup=1.0, share=1.0))
    images, targets, _ = still(made, policy)(drawn_from(canvases), 0)
    values = torch.arange(0, 250, 10) / 255
    torch.testing.assert_close(targets["label"] @ values, images.mean((1, 2, 3)), atol=1e-4, rtol=0)


def test_cutmix_share_is_the_pixels_that_stayed():
    images = torch.stack([torch.full((1, 16, 16), float(index)) for index in range(301)])
    mixed, share = mix(images, Mix(cutmix=1.0, share=0.8), uniforms(keys(300), NUMBERS))
    stayed = (mixed[:, 0] == torch.arange(300.0)[:, None, None]).float().mean((1, 2))
    torch.testing.assert_close(share, stayed)
    assert 0.15 < (share == 1).float().mean() < 0.3
    assert share.min() < 0.15


def test_mixup_shares_follow_the_beta_distribution():
    images = torch.stack([torch.full((1, 2, 2), float(index)) for index in range(2001)])
    mixed, share = mix(images, Mix(mixup=0.4, share=1.0), uniforms(keys(2000), NUMBERS))
    torch.testing.assert_close(mixed[:, 0, 0, 0], torch.arange(2000) + 1 - share, rtol=1e-5, atol=1e-3)
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)


# On a device


@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
@pytest.mark.parametrize("name", NAMED)
def test_a_device_gives_what_the_compiled_pass_gives(name, channels):
    """The device is the CPU here: the same code, the same parameters; see test_device.py for how near they are."""
    count = 1 if channels == "grey" else 3
    made = dataclasses.replace(RGB, channels=channels, mean=RGB.mean[:count], std=RGB.std[:count])
    policy = dataclasses.replace(named_policy(name), mix=Mix(mixup=0.4, cutmix=1.0, share=0.6))
    drawn = drawn_from(np.ascontiguousarray(np.stack([scene(seed, 10, 10)[..., :count] for seed in range(17)])))
    images, targets, affine = still(made, policy)(drawn, 0)
    here, same_targets, same_affine = still(made, policy, device=torch.device("cpu"))(drawn, 0)
    off = (here - images).abs() * 255 * torch.tensor(made.std)[:, None, None]
    if policy.is_fused:
        assert off.max() < 0.02
    else:
        assert off.mean() < 0.1
        assert (off > 1.1).float().mean() < 0.005
    assert torch.equal(same_targets["label"], targets["label"])
    assert torch.equal(same_affine, affine)
    assert here.is_contiguous(memory_format=torch.channels_last)


def test_what_a_device_makes_stays_there_and_targets_do_not_go():
    """A tensor on "meta" has no values, and meets one of the CPU in no op: as on a GPU, nothing may come back."""
    policy = dataclasses.replace(named_policy("strong"), mix=Mix(mixup=0.4, cutmix=1.0, share=0.8))
    drawn = drawn_from(np.zeros((9, 10, 10, 3), np.uint8))
    images, targets, affine = still(RGB, policy, device=torch.device("meta"))(drawn, 0)
    assert images.device.type == "meta"
    assert images.shape == (8, 3, 8, 8)
    assert targets["label"].device.type == affine.device.type == "cpu"
    plain, labels, _ = PlainInput(RGB, torch.device("meta"))(drawn, 0)
    assert plain.device.type == "meta"
    assert labels["label"].device.type == "cpu"


# Boxes


BENT = Policy("bent", (op("perspective", 0.5), op("rotate", 20), op("zoom", [-0.3, 0.3])), visible=0.0)
FRAMED = Preprocessing("grey", 56, 64, "crop", "triangle", 255, (0.0,), (1.0,))


def with_boxes(canvases, boxes, affine):
    drawn = drawn_from(canvases, affine)
    tiled = np.tile(np.asarray(boxes, np.float32), (len(canvases), 1, 1))
    return drawn._replace(targets=drawn.targets | {"box": torch.from_numpy(tiled)})


def test_a_box_is_where_its_pixels_are_under_a_perspective():
    canvases = np.zeros((61, 64, 64, 1), np.uint8)
    canvases[:, 24:36, 28:46] = 255
    original = [[(28 - 3) / 2, (24 - 5) / 4, (46 - 3) / 2, (36 - 5) / 4]]
    policy = dataclasses.replace(BENT, fill="constant")
    given = with_boxes(canvases, original, [[2, 0, 3], [0, 4, 5]])
    images, targets, _ = still(FRAMED, policy, size=96, boxes=("box",))(given, 0)
    seen = 0
    for image, (box,) in zip(images[:, 0].numpy(), targets["box"].numpy(), strict=True):
        rows, columns = np.nonzero(image > 0.5)
        hull = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        if hull.min() > 2 and hull.max() < 94:
            np.testing.assert_allclose(box, hull, atol=2.5)
            seen += 1
    assert seen > 30


def test_boxes_are_the_clipped_hulls_of_their_projected_corners():
    """The oracle solves for each corner: the output's point whose place on the canvas is the corner's."""
    boxes = [[2, 3, 9, 8], [20, 1, 31, 14], [np.nan] * 4, [-9, -9, -1, -1]]
    given = with_boxes(np.zeros((21, 64, 64, 1), np.uint8), boxes, [[2, 0, 1], [0, 4, 2]])
    feed = still(FRAMED, BENT, size=40, boxes=("box",))
    _, targets, affine = feed(given, 0)
    totals = feed.on_canvas.draw(given.keys, 64, 64, (40, 40), "grey").total
    assert np.isnan(affine.numpy()).all()
    for found, total in zip(targets["box"].numpy(), totals[:-1], strict=True):
        for place, (x1, y1, x2, y2) in enumerate(boxes[:2]):
            corners = np.array([[x, y] for x in (x1, x2) for y in (y1, y2)]) * [2, 4] + [1, 2]
            corners = np.clip(corners, 0, 64)  # the canvas does not show what lies outside it
            moved = [np.linalg.solve(total, [*corner, 1]) for corner in corners]
            moved = np.array([point[:2] / point[2] for point in moved])
            hull = np.clip([*moved.min(0), *moved.max(0)], 0, 40)
            if (hull[:2] < hull[2:]).all():
                np.testing.assert_allclose(found[place], hull, atol=1e-3)
            else:
                assert np.isnan(found[place]).all()
        assert np.isnan(found[2:]).all()


def test_boxes_are_dropped_under_the_visible_share():
    shifted = Policy("shifted", (op("shift", {"x": [0.5, 0.5]}),), visible=0.25)
    made = dataclasses.replace(FRAMED, size=64)
    given = with_boxes(np.zeros((3, 64, 64, 1), np.uint8), [[0, 0, 40, 9], [20, 0, 60, 9]], [[1, 0, 0], [0, 1, 0]])
    for policy, kept in ((shifted, [True, True]), (dataclasses.replace(shifted, visible=0.5), [True, False])):
        _, targets, _ = still(made, policy, boxes=("box",))(given, 0)
        assert (~targets["box"].isnan().any(2)).tolist() == [kept] * 2
    assert targets["box"][0, 0].tolist() == [32, 0, 64, 9]


def test_boxes_of_images_as_they_are_move_to_the_centre():
    boxes = [[1, 1, 3, 4], [0, 0, 0.5, 0.5], [np.nan] * 4]
    given = with_boxes(np.zeros((3, 64, 64, 1), np.uint8), boxes, [[10, 0, 0], [0, 10, 0]])
    _, targets, affine = PlainInput(FRAMED, boxes=("box",))(given, 0)
    assert targets["box"][1, 0].tolist() == [6, 6, 26, 36]
    assert targets["box"][1, 1].tolist() == [0, 0, 1, 1]
    assert targets["box"][:, 2].isnan().all()
    corner = affine[0] @ torch.tensor([3.0, 4, 1])
    assert corner.tolist() == [26, 36]


def test_only_a_perspective_leaves_no_affine_map():
    drawn = drawn_from(np.zeros((9, 10, 10, 3), np.uint8))
    mixed = Policy("mixed", (op("rotate", 30), op("perspective", 0.3, 0.5), op("crop", [0.5, 1])))
    feed = still(RGB, mixed)
    affine = feed(drawn, 0)[2]
    bent = np.isin(np.arange(8), feed.on_canvas.draw(drawn.keys, 10, 10, (8, 8)).done[1].rows)
    assert 0 < bent.sum() < 8
    assert affine.isnan().any(2).any(1).tolist() == bent.tolist()
    flat = Policy("flat", (op("skew", {"x": [1, 1], "y": [1, 1]}),))
    assert still(RGB, flat)(drawn, 0)[2].isnan().all()
