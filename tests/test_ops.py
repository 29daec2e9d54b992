"""Each op against torchvision at the same magnitude, and against slow oracles where torchvision has none."""

from __future__ import annotations

import io
import math
from importlib.util import find_spec

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy import ndimage

from tenfold.augment.draw import draw
from tenfold.augment.ops import OPS, Range, color, geometry, pixels
from tenfold.augment.policy import Policy
from tenfold.augment.tree import Op, op
from tenfold.draws import draw_keys

KEYS = draw_keys(0, 0, np.arange(8, dtype=np.uint64))

needs_torchvision = pytest.mark.skipif(find_spec("torchvision") is None, reason="needs torchvision")


@pytest.fixture(scope="module")
def photo():
    """Smooth shapes with some texture, like a photo: uint8 [48, 64, 3]."""
    generator = np.random.default_rng(0)
    coarse = generator.uniform(20, 235, (6, 8, 3))
    smooth = ndimage.zoom(coarse, (8, 8, 1), order=3)
    return np.clip(smooth + generator.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def fixed(name, **values):
    """An op whose parameters have one value each."""
    return op(name, {key: [value, value] for key, value in values.items()})


def changed(node, image, **settings):
    """The image after one op, black outside, sampled as `settings` say."""
    policy = Policy("one", (node,), fill="constant", **settings)
    return policy(image, key=1).image


# The reference's arguments are those that mean the same there. Tolerances are mean absolute differences in grey levels:
# torchvision cuts where we round to nearest, which is 0.5 on average where values are not whole.
EXACT, LINEAR = 0.0, 0.6
TWICE = 1.0  # it cuts the luma too
COLOR = [
    ("brightness", {"change": 0.3}, lambda F, x: F.adjust_brightness(x, 1.3), LINEAR),
    ("brightness", {"change": -0.6}, lambda F, x: F.adjust_brightness(x, 0.4), LINEAR),
    ("saturation", {"change": 0.5}, lambda F, x: F.adjust_saturation(x, 1.5), TWICE),
    ("saturation", {"change": -0.7}, lambda F, x: F.adjust_saturation(x, 0.3), TWICE),
    ("contrast_about_mean", {"change": 0.5}, lambda F, x: F.adjust_contrast(x, 1.5), TWICE),
    ("contrast_about_mean", {"change": -0.5}, lambda F, x: F.adjust_contrast(x, 0.5), TWICE),
    # Its luma weights have 4 digits.
    ("grey", {"amount": 1}, lambda F, x: F.rgb_to_grayscale(x, 3), LINEAR),
    ("invert", {"amount": 1}, lambda F, x: F.invert(x), EXACT),
    ("solarize", {"threshold": 100}, lambda F, x: F.solarize(x, 100), EXACT),
    ("solarize", {"threshold": 178.5}, lambda F, x: F.solarize(x, 178.5), EXACT),
    ("posterize", {"bits": 3}, lambda F, x: F.posterize(x, 3), EXACT),
    ("gamma", {"exponent": 1.7}, lambda F, x: F.adjust_gamma(x, 1.7), LINEAR),
    ("equalize", {}, lambda F, x: F.equalize(x), EXACT),
    ("autocontrast", {}, lambda F, x: F.autocontrast(x), LINEAR),
    ("sharpness", {"change": 0.8}, lambda F, x: F.adjust_sharpness(x, 1.8), LINEAR),
    ("sharpness", {"change": -0.9}, lambda F, x: F.adjust_sharpness(x, 0.1), LINEAR),
    ("blur", {"sigma": 1.5}, lambda F, x: F.gaussian_blur(x, [13, 13], [1.5, 1.5]), LINEAR),
    # Linear where HSV follows a hexagon: equal at thirds of the circle; test_a_hue_turn_... has what lies between.
    ("hue", {"turn": 1 / 3}, lambda F, x: F.adjust_hue(x, 1 / 3), 1.0),
    ("hue", {"turn": -1 / 3}, lambda F, x: F.adjust_hue(x, -1 / 3), 1.0),
]


@needs_torchvision
@pytest.mark.parametrize(("name", "values", "reference", "tolerance"), COLOR, ids=lambda value: str(value)[:24])
def test_a_color_op_is_torchvisions(name, values, reference, tolerance, photo):
    found = changed(fixed(name, **values) if values else op(name), photo)
    wanted = by_torchvision(reference, photo)
    assert np.abs(found.astype(float) - wanted).mean() <= tolerance


@needs_torchvision
@pytest.mark.parametrize("turn", [0.05, -0.1, 0.25])
def test_a_hue_turn_gives_the_hue_of_torchvision(turn, photo):
    """Theirs keeps the largest channel and ours the mean of all, so that brightness and saturation differ."""
    from matplotlib.colors import rgb_to_hsv

    grey = photo.mean(2, keepdims=True)
    pale = (grey / 2 + 64 + (photo - grey) * 0.4).astype(np.uint8)
    found, wanted = changed(fixed("hue", turn=turn), pale), by_torchvision(lambda F, x: F.adjust_hue(x, turn), pale)
    colorful = np.ptp(pale, axis=2) > 30  # where a rounding hardly turns the hue
    apart = (rgb_to_hsv(found / 255) - rgb_to_hsv(wanted / 255))[colorful][:, 0]
    apart = np.abs((apart + 0.5) % 1 - 0.5)
    assert apart.mean() < 0.01
    assert apart.max() < 0.04


def affine(F, x, angle=0.0, translate=(0, 0), scale=1.0, shear=(0.0, 0.0), center=None):
    return F.affine(x, angle, list(translate), scale, list(shear), F.InterpolationMode.BILINEAR, [0], center)


# Compared where no fill is blended in: torchvision multiplies the border by its weight twice.
GEOMETRY = [
    ("rotate", {"degrees": 20}, lambda F, x: F.rotate(x, 20, F.InterpolationMode.BILINEAR, fill=[0])),
    ("rotate", {"degrees": -135}, lambda F, x: F.rotate(x, -135, F.InterpolationMode.BILINEAR, fill=[0])),
    ("shift", {"x": 0.125, "y": -0.25}, lambda F, x: affine(F, x, translate=(8, -12))),
    ("shift_pixels", {"x": -5, "y": 3}, lambda F, x: affine(F, x, translate=(-5, 3))),
    ("shear", {"x": 15, "y": 0}, lambda F, x: affine(F, x, shear=(15.0, 0.0))),
    ("shear", {"x": 10, "y": -20}, lambda F, x: affine(F, x, shear=(10.0, -20.0))),
    ("skew", {"x": 0.3, "y": 0}, lambda F, x: affine(F, x, shear=(math.degrees(math.atan(0.3)), 0.0), center=[0, 0])),
    ("skew", {"x": 0, "y": -0.3}, lambda F, x: affine(F, x, shear=(0.0, math.degrees(math.atan(-0.3))), center=[0, 0])),
    ("zoom", {"both": 0.3, "x": 0, "y": 0}, lambda F, x: affine(F, x, scale=1.3)),
    ("zoom", {"both": -0.2, "x": 0, "y": 0}, lambda F, x: affine(F, x, scale=0.8)),
]


@needs_torchvision
@pytest.mark.parametrize(("name", "values", "reference"), GEOMETRY, ids=lambda value: str(value)[:24])
def test_a_geometric_op_is_torchvisions(name, values, reference, photo):
    found, wanted = changed(fixed(name, **values), photo).astype(float), by_torchvision(reference, photo)
    inside = changed(fixed(name, **values), np.full_like(photo, 255)) == 255
    assert np.abs(found - wanted)[inside].max() <= 1
    outside = changed(fixed(name, **values), np.full_like(photo, 255)) == 0
    assert (wanted[outside] == 0).all()


@needs_torchvision
def test_a_perspective_is_torchvisions(photo):
    places = [0.3, 0.9, 0.1, 0.5, 0.8, 0.2, 0.6, 0.7]
    node = fixed("perspective", distortion=0.5, **{f"corner_{n}": value for n, value in enumerate(places, 1)})
    height, width = photo.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * np.reshape(places, (4, 2)) * [width, height] * 0.25
    wanted = by_torchvision(
        lambda F, x: F.perspective(
            x, corners.tolist(), (corners + inward).tolist(), F.InterpolationMode.BILINEAR, fill=[0]
        ),
        photo,
    )
    inside = changed(node, np.full_like(photo, 255)) == 255
    assert np.abs(changed(node, photo) - wanted)[inside].max() <= 1


@needs_torchvision
def test_a_crop_is_torchvisions_resized_crop(photo):
    node = fixed("crop", scale=0.25, aspect=1.0, x=0.5, y=1.0)  # of the output's shape: 32 x 24 at (16, 24)
    wanted = by_torchvision(lambda F, x: F.resized_crop(x, 24, 16, 24, 32, [48, 64], antialias=False), photo)
    found = Policy("one", (node,), fill="nearest")(photo, key=1).image.astype(float)
    inside = np.s_[1:-1, 1:-1]  # beyond a crop's border we sample the image, torchvision repeats the border
    assert np.abs(found - wanted)[inside].max() <= 1


def by_torchvision(reference, image):
    import torch
    from torchvision.transforms.v2 import functional

    result = reference(functional, torch.from_numpy(image).permute(2, 0, 1).contiguous())
    return result.permute(1, 2, 0).numpy().astype(float)


def test_flips_turns_and_pads_move_whole_pixels(photo):
    square = np.ascontiguousarray(photo[:, :48])
    assert (changed(op("flip", "horizontal"), photo) == photo[:, ::-1]).all()
    assert (changed(op("flip", "vertical"), photo) == photo[::-1]).all()
    for quarters in range(4):
        assert (changed(op("turn", quarters), square) == np.rot90(square, quarters)).all()
    turned = Policy("one", (op("turn", 1),))(photo, key=1, size=(64, 48)).image
    assert (turned == np.rot90(photo)).all()
    padded = Policy("one", (op("pad", 0.25),), fill="constant", value=(7.0,))(photo, key=1, size=(72, 96)).image
    assert (padded == np.pad(photo, ((12, 12), (16, 16), (0, 0)), constant_values=7)).all()


def test_a_zoom_may_stretch_one_side(photo):
    found = changed(fixed("zoom", both=0, x=1.0, y=0), photo, interpolation="nearest")
    assert (found == np.repeat(photo[:, 16:48], 2, 1)).all()


@pytest.mark.parametrize(("ours", "theirs"), [("equalize", ImageOps.equalize), ("autocontrast", ImageOps.autocontrast)])
def test_histogram_ops_are_pillows(ours, theirs, photo):
    found = OPS[ours].apply(photo)
    wanted = np.asarray(theirs(Image.fromarray(photo)))
    assert np.abs(found.astype(int) - wanted).max() <= (0 if ours == "equalize" else 1)


@pytest.mark.parametrize("name", ["equalize", "autocontrast", "sharpness", "contrast_about_mean"])
def test_a_flat_image_stays_flat(name):
    flat = np.full((5, 6, 3), 90, np.uint8)
    assert (OPS[name].apply(flat, *[0.5] * len(OPS[name].parameters)) == flat).all()


def test_a_channel_shift_adds_to_each_channel(photo):
    found = changed(fixed("channel_shift", red=20, green=-30, blue=0), photo)
    assert (found == np.clip(photo.astype(int) + np.array([20, -30, 0]), 0, 255)).all()


def test_contrast_keeps_grey_level_128(photo):
    found = changed(fixed("contrast", change=0.5), photo)
    wanted = np.floor(np.clip((photo.astype(float) - 128) * 1.5 + 128, 0, 255) + 0.5)
    assert (found == wanted).all()


def test_noise_is_gaussian_of_that_sigma():
    flat = np.full((200, 200, 3), 128, np.uint8)
    added = pixels.noise(flat, 12.0, 0.3).astype(float) - 128
    assert added.std() == pytest.approx(math.hypot(12, 1 / math.sqrt(12)), rel=0.02)
    assert abs(added.mean()) < 0.15
    assert (np.abs(added) < 12).mean() == pytest.approx(0.683, abs=0.03)  # whole levels: a step of 0.03
    assert abs(np.corrcoef(added[..., 0].ravel(), added[..., 1].ravel())[0, 1]) < 0.02
    assert not (pixels.noise(flat, 12.0, 0.4) == pixels.noise(flat, 12.0, 0.3)).all()


@pytest.mark.parametrize("quality", [20, 60, 95])
def test_jpeg_is_pillows(quality, photo):
    """torchvision 0.29 deprecates its own."""
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    assert (changed(op("jpeg", [quality, quality]), photo) == np.asarray(Image.open(file))).all()


def test_cutout_and_erase_change_the_share_that_was_asked_for():
    flat = np.full((40, 60, 1), 10, np.uint8)
    cut = pixels.cutout(flat, 0.5, 0.5, 0.5, 200.0)
    assert (cut == 200).sum() == 20 * 20
    assert (cut[10:30, 20:40] == 200).all()
    assert (pixels.cutout(flat, 0.5, 0.0, 0.0, 200.0) == 200).sum() == 10 * 10
    erased = pixels.erase(flat, 0.25, 1.5, 1.0, 0.0, 0.5)
    changed_rows, changed_columns, _ = np.nonzero(erased != 10)
    assert changed_rows.max() < 20
    assert changed_columns.min() >= 30
    assert 0.97 * 600 < (erased != 10).sum() <= 600


@pytest.mark.parametrize("name", OPS)
def test_every_op_works_on_rgb_and_grey_and_leaves_its_input(name, photo):
    node = some(name)
    for image in (photo, np.ascontiguousarray(photo[..., :1])):
        before = image.copy()
        result = changed(node, image)
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        assert (image == before).all()


# Random for each channel, blind to single channels, or a view, which has its own tests.
BY_CHANNEL = {"noise", "erase", "jpeg", "channel_shift", "detexture", "decolor", "edges", "saliency"}


@pytest.mark.parametrize(
    "name", [name for name, kind in OPS.items() if kind.stage != "geometry" and name not in BY_CHANNEL]
)
def test_a_grey_image_is_one_with_equal_channels(name, photo):
    single = np.ascontiguousarray(photo[..., :1])
    triple = changed(some(name), np.repeat(single, 3, 2)).astype(int)
    assert np.abs(triple - changed(some(name), single)).max() <= 1


def some(name):
    """The op with a value in the middle of each parameter's usual range."""
    given = []
    for parameter in OPS[name].parameters:
        low, high = max(parameter.low, -0.4), min(parameter.high, 6)
        middle = round((low + high) / 2) if parameter.whole or parameter.choices else (low + high) / 2
        middle = {"change": 0.4, "both": 0.2, "x": 0.2, "y": 0.1, "turn": 0.1, "threshold": 90}.get(
            parameter.name, middle
        )
        given.append(Range(float(middle), float(middle)))
    return Op(name, tuple(given))


def test_linear_color_ops_compose_into_one_map():
    nodes = (op("brightness", 0.4), op("hue", 0.2), op("contrast", 0.4), op("invert"), op("saturation", 0.5))
    drawn = draw(nodes, KEYS, (4, 4), (4, 4))
    assert drawn.steps == ()
    point = np.array([200.0, 30, 90])
    for row in range(8):
        wanted = point
        for done in drawn.done:
            alone = done.op.kind.apply(np.eye(3, 4)[:, :, None], *done.values[:, row : row + 1])
            wanted = alone[:, :3, 0] @ wanted + alone[:, 3, 0]
        np.testing.assert_allclose(drawn.color[row] @ [*point, 1], wanted, rtol=1e-4, atol=1e-3)


def test_geometric_ops_compose_into_one_matrix():
    """As if each op had sampled the output of the one before."""
    nodes = (op("crop", [0.3, 0.9]), op("turn", [0, 3]), op("rotate", 40), op("pad", 0.1), op("zoom", {"x": 0.3}))
    nodes += (op("perspective", 0.4), op("shear", {"x": 10, "y": 5}), op("shift", 0.2), op("flip", "vertical"))
    drawn = draw(nodes, KEYS, (30, 50), (20, 24))
    assert drawn.steps == ()
    for row in range(8):
        point, size, maps = np.array([5.0, 7, 1]), np.array([50.0, 30]), []
        for done in drawn.done:
            frame = geometry.Frame.whole(1, *size[::-1], shape=24 / 20)
            done.op.kind.apply(frame, *done.values[:, row : row + 1])
            size = np.array([frame.width[0], frame.height[0]])
            maps.append(frame.matrices(tuple(size[::-1]))[0])
        point[:2] *= size / [24, 20]
        for matrix in reversed(maps):
            point = matrix @ point
        found = drawn.matrices[row] @ [5, 7, 1]
        np.testing.assert_allclose(found[:2] / found[2], point[:2] / point[2], rtol=1e-9)


def test_a_homography_takes_each_point_to_its_own():
    generator = np.random.default_rng(0)
    start = np.array([[0, 0], [10, 0], [10, 10], [0, 10]]) + generator.uniform(-2, 2, (5, 4, 2))
    end = np.array([[0, 0], [8, 0], [8, 9], [0, 9]]) + generator.uniform(-2, 2, (5, 4, 2))
    moved = np.concatenate([start, np.ones((5, 4, 1))], 2) @ geometry.homography(start, end).transpose(0, 2, 1)
    np.testing.assert_allclose(moved[..., :2] / moved[..., 2:], end, atol=1e-9)


def test_a_hue_turn_keeps_grey_and_comes_back():
    turned = color.hue(np.eye(3, 4)[:, :, None], np.array([0.2]))
    np.testing.assert_allclose(turned[..., 0] @ [90, 90, 90, 1], [90, 90, 90])
    np.testing.assert_allclose(color.hue(turned, np.array([-0.2]))[..., 0], np.eye(3, 4), atol=1e-12)
