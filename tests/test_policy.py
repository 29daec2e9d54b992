"""Policies as data: files, words, errors; what they do to images, boxes and points depends on the key alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from tenfold.augment.apply import Sampling, apply, apply_normalized
from tenfold.augment.boxes import move_boxes, move_points
from tenfold.augment.ops import OPS
from tenfold.augment.policy import Mix, Policy
from tenfold.augment.published import NAMED, named_policy
from tenfold.augment.tree import Blend, Chain, Choose, Op, op
from tenfold.draws import draw_keys
from tenfold.errors import DataError, UsageError

MINE = """
name = "mine"
fill = "constant"
value = [10, 20, 30]
interpolation = "bicubic"
visible = 0.5

[[op]]
rotate = 20

[[op]]
flip = "horizontal"
probability = 0.5

[[op]]
crop = { scale = [0.5, 1], aspect = [0.75, 1.33] }

[[op]]
equalize = true

[[op]]
choose = [1, 2]
of = [
  { shift = { x = 0.1, y = [0, 0.2] } },
  { chain = [{ posterize = [3, 8] }, { noise = 10, probability = 0.25 }] },
  { solarize = { low = 100, high = 250, steps = 4 } },
]

[[op]]
blend = 2
depth = 1
alpha = 0.5
of = [{ skew = { low = 0, high = 0.3, signed = true } }, { hue = 0.1 }]

[mix]
mixup = 0.4
cutmix = 1.0
share = 0.5
"""

POLICIES = [*NAMED, "mine"]


def policy_of(name):
    return Policy.from_toml(MINE) if name == "mine" else named_policy(name)


def keys(count, seed=0):
    return draw_keys(seed, 0, np.arange(count, dtype=np.uint64))


@pytest.fixture(scope="module")
def images():
    """uint8 [6, 24, 32, 3]"""
    coarse = np.random.default_rng(0).uniform(0, 255, (6, 6, 8, 3))
    return np.clip(ndimage.zoom(coarse, (1, 4, 4, 1), order=1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", POLICIES)
def test_a_policys_file_gives_it_back(name, tmp_path):
    policy = policy_of(name)
    text = policy.to_toml()
    assert Policy.from_toml(text) == policy
    assert Policy.from_toml(text).to_toml() == text
    policy.write(tmp_path / "policy.toml")
    assert Policy.from_toml(tmp_path / "policy.toml") == policy
    assert Policy.from_toml(str(tmp_path / "policy.toml")) == policy


@pytest.mark.parametrize("name", OPS)
def test_any_op_in_its_shortest_form_comes_back(name):
    kind = OPS[name]
    magnitudes = [True] if kind.has_defaults else []
    if kind.lead and not kind.lead[0].choices:
        parameter = kind.lead[0]
        high = 0.4 if parameter.spread == "either" else max(min(parameter.high, 2.0), 4 * parameter.low)
        magnitudes += [high, [max(parameter.low, -0.3), high], {parameter.name: [high, high]}]
        magnitudes += [{"low": high / 4, "high": high, "steps": 3}]
    elif kind.lead:
        magnitudes = list(kind.lead[0].choices)
    for magnitude in magnitudes:
        policy = Policy("one", (op(name, magnitude, 0.25),))
        assert Policy.from_toml(policy.to_toml()) == policy, magnitude


def test_a_policy_means_what_its_file_says():
    policy = Policy.from_toml(MINE)
    assert policy == Policy(
        "mine",
        (
            op("rotate", [-20, 20]),
            op("flip", "horizontal", 0.5),
            op("crop", {"scale": [0.5, 1], "aspect": [0.75, 1.33]}),
            op("equalize"),
            Choose(
                1,
                2,
                (
                    op("shift", {"x": [-0.1, 0.1], "y": [0, 0.2]}),
                    Chain((op("posterize", 3), op("noise", [0, 10], 0.25))),
                    op("solarize", {"threshold": {"low": 100, "high": 250, "steps": 4}}),
                ),
            ),
            Blend(2, Choose(1, 1, (op("skew", {"low": 0, "high": 0.3, "signed": True}), op("hue", 0.1))), 0.5),
        ),
        Mix(0.4, 1.0, 0.5),
        fill="constant",
        value=(10.0, 20.0, 30.0),
        interpolation="bicubic",
        visible=0.5,
    )
    assert hash(policy) == hash(Policy.from_toml(MINE))


def test_a_policy_in_words():
    assert str(Policy.from_toml(MINE)) == (
        "Policy mine (outside the image: grey level 10, 20, 30; bicubic sampling)\n"
        "  rotate: -20 to 20°\n"
        "  flip: horizontal, on 50 % of the images\n"
        "  crop: scale 0.5 to 1, aspect 0.75 to 1.33\n"
        "  equalize\n"
        "  1 to 2 of these, drawn anew for each image:\n"
        "    shift: x -0.1 to 0.1, y 0 to 0.2\n"
        "    one after the other:\n"
        "      posterize: 3 to 8 bits\n"
        "      noise: 0 to 10, on 25 % of the images\n"
        "    solarize: 100 to 250 in 4 steps\n"
        "  blended with 2 copies (alpha 0.5), each changed by 1 of these:\n"
        "    skew: x either sign of 0 to 0.3, y 0\n"
        "    hue: -0.1 to 0.1\n"
        "  mixes images with labels (training, Policy.mix_batch, MixCollate): "
        "mixup (Beta 0.4) or cutmix (Beta 1), 50 % of the images"
    )
    assert "every image stays as it is" in str(named_policy("none"))
    assert "a share of the images chosen by training" in str(named_policy("standard"))


WRONG = [
    ("[[op]]\nrotat = 20", "An op of the policy must be one of .* not 'rotat'; did you mean 'rotate'?"),
    ("[[op]]\ntranslate = 0.1", "not 'translate'; here it is called 'shift'."),
    (
        "[[op]]\nrotate = 20\nprobabilty = 0.5",
        "must be one of probability, not 'probabilty'; did you mean 'probability'",
    ),
    ("[[op]]\nrotate = 20\nprobability = 2", "rotate's probability must be from 0 to 1, not 2"),
    ("[[op]]\nrotate = 20\nflip = 'horizontal'", "exactly one op, not rotate and flip"),
    ("[[op]]\nprobability = 0.5", "exactly one op, not an empty one"),
    ("[[op]]\nrotate = 'far'", "rotate's degrees must be a finite number, not 'far'"),
    ("[[op]]\nrotate = true", "rotate must be a number, a pair of numbers or a table of parameters, not true"),
    ("[[op]]\nrotate = [1, 2, 3]", r"rotate's degrees must be a number or a pair \[low, high\], not \[1, 2, 3\]"),
    (
        "[[op]]\nrotate = [20, 10]",
        "rotate's degrees must lie from -360 to 360, the lower number first, not from 20 to 10",
    ),
    ("[[op]]\nrotate = 400", "rotate's degrees must lie from -360 to 360"),
    ("[[op]]\nflip = 'sideways'", "flip's direction must be one of horizontal, vertical, not 'sideways'"),
    ("[[op]]\nequalize = 3", "equalize must be true, not 3"),
    ("[[op]]\ncrop = { scal = 0.5 }", "A parameter of crop must be one of scale, .* did you mean 'scale'"),
    ("[[op]]\ncrop = { aspect = 1.3 }", "crop needs its parameter scale"),
    ("[[op]]\nsolarize = { low = 3, high = 9, step = 2 }", "did you mean 'steps'"),
    ("[[op]]\nsolarize = { threshold = { low = 3 } }", "solarize's threshold as a table needs low and high, not low"),
    ("[[op]]\nsolarize = { low = 3, high = 9, steps = 2.5 }", "needs a whole number of steps"),
    ("[[op]]\nchoose = 2", "choose needs a list of ops, as of = .*, and has none"),
    ("[[op]]\nchoose = 2\nof = []", "choose needs a list `of` of at least one op"),
    (
        "[[op]]\nchoose = [3, 2]\nof = [{ equalize = true }]",
        "choose must be from 0 to 64, the lower number first, not 3 to 2",
    ),
    ("[[op]]\nchoose = 1.5\nof = [{ equalize = true }]", "choose must be a whole number or a pair of them, not 1.5"),
    ("[[op]]\nchoose = 1\noff = [{ equalize = true }]", "A key of choose in the policy must be one of of, probability"),
    ("[[op]]\nblend = [1, 2]\nof = [{ equalize = true }]", "blend must be a whole number of copies"),
    ("[[op]]\nblend = 0\nof = [{ equalize = true }]", "blend must be from 1 to 64 copies, not 0"),
    ("[[op]]\nblend = 2\nalpha = 0\nof = [{ equalize = true }]", "blend's alpha must be from 0.05 to 100, not 0"),
    ("op = 3", r"ops must be tables \[\[op\]\]"),
    ("op = [3]", "An op of the policy must be a table, not 3"),
    ("fil = 'wrap'", "A setting of a policy must be one of name, .* did you mean 'fill'"),
    ("fill = 'mirror'", "A policy's fill must be one of nearest, constant, reflect, wrap, not 'mirror'"),
    ("interpolation = 'cubic'", "did you mean 'bicubic'"),
    ("value = 300", "A policy's value must be from 0 to 255, not 300"),
    ("value = [1, 2]", r"A policy's value must be one grey level or three, not \[1.0, 2.0\]"),
    ("value = 'red'", "A policy's value must be a number, not 'red'"),
    ("visible = 2", "A policy's visible must be from 0 to 1, not 2"),
    ("name = 3", "A policy's name must be text, not 3"),
    ("[mix]\nmixup = -1", "mix.mixup must be from 0 to 100, not -1"),
    ("[mix]\nshare = 2", "mix.share must be from 0 to 1, not 2"),
    ("[mix]\ncutmx = 1", "did you mean 'cutmix'"),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[text for text, _ in WRONG])
def test_what_is_wrong_is_named(text, message):
    with pytest.raises(UsageError, match=message):
        Policy.from_toml(text)


def test_what_only_python_can_say_is_checked_too():
    with pytest.raises(UsageError, match="blend's change must have probability 1"):
        Blend(2, Choose(1, 1, (op("equalize"),), 0.5))
    with pytest.raises(UsageError, match="rotate has 1 parameters, not 0"):
        Op("rotate")
    with pytest.raises(UsageError, match="did you mean 'rotate'"):
        Op("rotat")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match=r"The policy .*missing.toml cannot be read"):
        Policy.from_toml(tmp_path / "missing.toml")
    with pytest.raises(DataError, match="cannot be read"):
        Policy.from_toml("[[op]\nrotate = 3")


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("size", [(24, 32), (16, 20)])
def test_an_image_comes_out_the_same_alone_and_in_any_batch(name, size, images):
    policy = policy_of(name)
    together = policy.batch(images, keys(6), size=size)
    assert together.images.shape == (6, *size, 3)
    order = np.array([3, 0, 5, 1])
    shuffled = policy.batch(images[order], keys(6)[order], size=size, threads=2).images
    assert (shuffled == together.images[order]).all()
    for row in range(6):
        alone = policy(images[row], key=int(keys(6)[row]), size=size)
        assert (alone.image == together.images[row]).all()
        assert alone.trace == together.drawn.trace()[row]


@pytest.mark.parametrize("name", [name for name in POLICIES if name != "none"])
def test_another_key_gives_another_image(name, images):
    policy = policy_of(name)
    same = np.repeat(images[:1], 20, 0)
    assert len(np.unique(policy.batch(same, keys(20)).images.reshape(20, -1), axis=0)) > 10


@pytest.mark.parametrize("name", POLICIES)
def test_one_more_op_at_the_end_changes_no_other(name):
    policy = policy_of(name)
    longer = dataclasses.replace(policy, ops=(*policy.ops, op("shear", 5), op("noise", 3)))
    before, after = policy.draw(keys(30), 20, 20).trace(), longer.draw(keys(30), 20, 20).trace()
    for short, long in zip(before, after, strict=True):
        assert long[: len(short)] == short
        assert [name for name, _ in long[len(short) :]] == ["shear", "noise"]


def test_without_ops_nothing_changes(images):
    result = named_policy("none").batch(images, keys(6))
    assert (result.images == images).all()
    assert result.drawn.trace() == [[]] * 6


def test_probability_and_magnitudes_are_even():
    policy = Policy("one", (op("rotate", [-30, 10], 0.3), op("crop", {"scale": 0.5, "aspect": 2})))
    done = policy.draw(keys(10_000), 8, 8).done
    assert len(done[0].rows) == pytest.approx(3000, abs=4 * np.sqrt(10_000 * 0.21))
    counts = np.histogram(done[0].values[0], 10, (-30, 10))[0]
    assert chi_square(counts, len(done[0].rows) / 10) < 27.9  # 0.999 with 9 degrees of freedom
    scale, aspect = done[1].values[:2]
    assert chi_square(np.histogram(scale, 10, (0.5, 1))[0], 1000) < 27.9
    assert chi_square(np.histogram(np.log(aspect), 10, (-np.log(2), np.log(2)))[0], 1000) < 27.9


def test_signs_and_steps_are_even():
    policy = Policy("one", (op("rotate", {"low": 0, "high": 30, "steps": 4, "signed": True}), op("turn", [0, 3])))
    degrees, quarters = (done.values[0] for done in policy.draw(keys(8000), 8, 8).done)
    values, counts = np.unique(degrees + 0.0, return_counts=True)  # -0 and 0 are one
    np.testing.assert_allclose(values, [-30, -20, -10, 0, 10, 20, 30])
    assert chi_square(counts, np.array([1, 1, 1, 2, 1, 1, 1]) * 1000) < 22.5  # 0.999 with 6
    values, counts = np.unique(quarters, return_counts=True)
    assert values.tolist() == [0, 1, 2, 3]
    assert chi_square(counts, 2000) < 16.3  # 0.999 with 3


def chi_square(counts, expected):
    return ((counts - expected) ** 2 / expected).sum()


FUSED = Policy("fused", named_policy("strong").without("cutout").ops)


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(
    "policy", [FUSED, named_policy("none"), Policy.from_toml(MINE)], ids=lambda policy: policy.name
)
def test_normalized_pixels_are_those_of_the_bytes(policy, layout, images):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    gentle = images // 2 + 64  # so that nothing is cut to 0 or 255, which bytes are and floats are not
    policy = policy.without("brightness", "contrast", "saturation", "hue", "grey")
    drawn = policy.draw(keys(6), 24, 32, (20, 20))
    found = apply_normalized(drawn, gentle, mean, std, layout, policy.sampling())
    wanted = (apply(drawn, gentle, policy.sampling()) / 255 - mean) / std
    assert found.dtype == np.float32
    found = found if layout == "NHWC" else found.transpose(0, 2, 3, 1)
    outside = policy.name == "mine"  # a byte between two passes is rounded once more
    assert np.abs(found - wanted).max() < (1.6 if outside else 0.51) / 255 / min(std)


def test_a_fused_policy_is_one_matrix_and_one_color_map():
    assert FUSED.is_fused
    drawn = FUSED.draw(keys(64), 100, 120, (50, 60))
    assert drawn.steps == ()
    assert drawn.matrices.shape == (64, 3, 3)
    assert drawn.matrices.dtype == np.float64
    assert drawn.color.shape == (64, 3, 4)
    assert drawn.color.dtype == np.float32
    assert (drawn.matrices == drawn.total).all()
    assert not named_policy("randaugment").is_fused
    assert not Policy.from_toml(MINE).is_fused


def test_channels_in_another_order_give_the_same_colors(images):
    policy = Policy("color", (op("hue", 0.4), op("saturation", 0.5), op("contrast_about_mean", 0.4), op("invert")))
    rgb = apply(policy.draw(keys(6), 24, 32), images, policy.sampling())
    turned = np.ascontiguousarray(images[..., ::-1])
    bgr = apply(policy.draw(keys(6), 24, 32, channels="bgr"), turned, policy.sampling())
    assert np.abs(bgr[..., ::-1].astype(int) - rgb).max() <= 1


def test_what_was_drawn_for_other_images_is_refused(images):
    drawn = FUSED.draw(keys(6), 24, 32)
    with pytest.raises(UsageError, match=r"must be uint8 \[6, H, W, 3\], as they were drawn for"):
        apply(drawn, images[:5], Sampling())
    with pytest.raises(UsageError, match="with 1 or 3 channels"):
        FUSED.batch(images[..., :2], keys(6))
    with pytest.raises(UsageError, match="6 images need as many keys"):
        FUSED.batch(images, keys(5))


@pytest.mark.parametrize("name", ["strong", "standard", "mine-moving"])
def test_boxes_and_points_move_with_the_pixels(name):
    """A bright block is found again where its box and its centre are said to be."""
    moving = Policy("mine-moving", (op("perspective", 0.3), op("equalize"), op("turn", [0, 3]), op("shear", 10)))
    policy = (
        moving if name == moving.name else named_policy(name).without("brightness", "contrast", "saturation", "hue")
    )
    policy = dataclasses.replace(policy.without("cutout") if name == "strong" else policy, fill="constant")
    image = np.zeros((64, 64, 1), np.uint8)
    image[24:36, 28:46] = 255
    boxes = np.array([[28, 24, 46, 36]], np.float32)
    seen = 0
    for key in keys(40):
        result = policy(image, boxes, key=int(key), points=np.array([[37, 30]], np.float32), size=(96, 96))
        rows, columns = np.nonzero(result.image[..., 0] > 127)
        if len(result.kept) == 0 or not len(rows):
            continue
        hull = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        x1, y1, x2, y2 = result.boxes[0]
        assert x1 - 2 <= hull[0] < hull[2] <= x2 + 2  # smaller where a corner of the block lies outside
        assert y1 - 2 <= hull[1] < hull[3] <= y2 + 2
        if len(result.kept_points) and min(hull) > 2 and max(hull) < 94:
            np.testing.assert_allclose(result.boxes[0], hull, atol=2.1)
            np.testing.assert_allclose(result.points[0], [columns.mean() + 0.5, rows.mean() + 0.5], atol=1.5)
            seen += 1
    assert seen > 15


def test_boxes_are_clipped_and_dropped_under_the_visible_share():
    matrix = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])  # the output is the image from x = 10 on
    boxes = np.array([[0, 0, 9, 9], [8, 2, 12, 6], [5, 2, 11, 6], [12, 3, 15, 5]], np.float32)
    moved, kept = move_boxes(boxes, matrix, (20, 20), 0.3)
    assert kept.tolist() == [1, 3]
    assert moved.tolist() == [[0, 2, 2, 6], [2, 3, 5, 5]]
    assert moved.dtype == np.float32
    assert move_boxes(boxes, matrix, (20, 20), 0.0)[1].tolist() == [1, 2, 3]
    assert move_boxes(boxes, matrix, (20, 20), 0.6)[1].tolist() == [3]
    points, kept = move_points(np.array([[9, 0], [12, 3], [40, 4]], np.float32), matrix, (20, 20))
    assert kept.tolist() == [1]
    assert points.tolist() == [[2, 3]]


def test_a_turned_box_is_the_hull_of_its_corners():
    angle = np.deg2rad(30)
    matrix = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    corners = np.array([[20, 30], [30, 30], [30, 34], [20, 34]]) @ matrix[:2, :2]  # its inverse, transposed
    moved, _ = move_boxes(np.array([[20, 30, 30, 34]], np.float32), matrix, (50, 50))
    np.testing.assert_allclose(moved[0], [*corners.min(0), *corners.max(0)], rtol=1e-6)


def test_what_lies_behind_the_viewer_has_no_box():
    matrix = np.linalg.inv(np.array([[1.0, 0, 0], [0, 1, 0], [-0.05, 0, 1]]))
    boxes = np.array([[5, 5, 10, 10], [25, 5, 30, 10]], np.float32)
    assert move_boxes(boxes, matrix, (40, 40), 0)[1].tolist() == [0]


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[5, 5, 3, 9]], "x1 < x2 and y1 < y2"),
        ([[5, 5, 9]], r"finite numbers \[B, 4\]"),
        ([[5, 5, np.nan, 9]], r"finite numbers \[B, 4\]"),
    ],
)
def test_boxes_of_another_form_are_refused(boxes, message):
    with pytest.raises(UsageError, match=message):
        move_boxes(np.array(boxes, np.float32), np.eye(3), (9, 9))


def test_points_of_another_form_are_refused():
    with pytest.raises(UsageError, match=r"finite numbers \[P, 2\]"):
        move_points(np.zeros((2, 3), np.float32), np.eye(3), (9, 9))


def test_an_op_can_be_left_out():
    assert "flip" not in str(named_policy("standard").without("flip"))
    with pytest.raises(UsageError, match="did you mean 'flip'"):
        named_policy("standard").without("flipp")


def test_the_documentation_has_every_op_as_it_is():
    text = (Path(__file__).parents[1] / "docs" / "policies.md").read_text(encoding="utf-8")
    for name, kind in OPS.items():
        parameters = "; ".join(parameter_words(parameter) for parameter in kind.parameters if parameter.spoken)
        assert f"| `{name}` | {lone_words(kind)} | {parameters} | {kind.about} |" in text
    for name in NAMED:
        assert f"| `{name}` |" in text


def lone_words(kind):
    """What a number says for an op."""
    if not kind.lead or kind.lead[0].choices:
        return " or ".join(f"`{word}`" for word in (kind.lead[0].choices if kind.lead else ["true"]))
    text = {
        "either": "-m to m",
        "up to": "0 to m",
        "down to": f"m to {kind.lead[0].high:g}",
        "exactly": "m",
        "ratio": "1/m to m",
    }
    return f"{text[kind.lead[0].spread]}{kind.lead[0].unit} ({', '.join(part.name for part in kind.lead)})"


def parameter_words(parameter):
    """A parameter with its bounds, and what it is unless given."""
    given = "" if parameter.default is None else f", else {parameter.range_words(parameter.default)}"
    return f"{parameter.name}: {' or '.join(parameter.choices) or f'{parameter.low:g} to {parameter.high:g}'}{given}"


@pytest.mark.parametrize("block", ["# mine.toml", "# two.toml"])
def test_the_documentations_policies_can_be_read(block):
    text = (Path(__file__).parents[1] / "docs" / "policies.md").read_text(encoding="utf-8")
    example = text.split(f"```toml\n{block}\n")[1].split("```")[0]
    policy = Policy.from_toml(example)
    assert policy.ops
    if block == "# mine.toml":
        assert str(policy) in text
