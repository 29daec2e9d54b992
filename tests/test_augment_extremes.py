"""Whatever a policy allows works: both ends of each range, tiny, empty and strided images, no and every image, threads.

Every op is compared at its ends with the code for a device, which is another one.
"""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from tenfold.augment.apply import Sampling, apply, apply_normalized
from tenfold.augment.boxes import inverse_maps, move_boxes, move_points
from tenfold.augment.device import apply_on_device
from tenfold.augment.ops import OPS, Range, pixels
from tenfold.augment.policy import Policy
from tenfold.augment.published import NAMED, named_policy
from tenfold.augment.torch_data import AugmentedDataset, PolicyTransform
from tenfold.augment.tree import Blend, Chain, Choose, Node, Op, op
from tenfold.draws import draw_keys
from tenfold.errors import UsageError

from .toys import scene

TINY = [(1, 1), (1, 7), (7, 1), (2, 3)]
# Ops that make more of the one grey level by which the two may see an image's luma.
TOLERANCE = {"contrast_about_mean": 11.1}


def keys(count: int, seed: int = 0) -> np.ndarray:
    return draw_keys(seed, 0, np.arange(count, dtype=np.uint64))


def photos(count: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.stack([scene(seed, 20, 16)[:height, :width, :channels] for seed in range(count)])


def at(name: str, end: str) -> Op:
    """The op with each parameter at its least or its most."""
    return Op(name, tuple(Range(*[getattr(part, end)] * 2) for part in OPS[name].parameters))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("end", ["low", "high"])
@pytest.mark.parametrize("name", OPS)
def test_an_op_at_the_ends_of_its_ranges_on_tiny_images(name: str, end: str, channels: int) -> None:
    policy = Policy("end", (at(name, end),))
    for size in TINY:
        images = photos(3, *size, channels)
        result = policy.batch(images, keys(3))
        assert result.images.shape == images.shape
        assert result.images.dtype == np.uint8
        mean, std = (0.0,) * channels, (1 / 255,) * channels
        given = torch.from_numpy(images).permute(0, 3, 1, 2)
        here = apply_on_device(result.drawn, given, mean, std, policy.sampling())
        there = apply_normalized(result.drawn, images, mean, std, "NCHW", policy.sampling())
        assert np.abs(here.numpy() - there).max() < TOLERANCE.get(name, 1.1)


@pytest.mark.parametrize("fill", ["nearest", "constant", "reflect", "wrap"])
def test_geometry_makes_no_grey_level_that_is_not_there(fill: Any) -> None:
    """Means of neighbors and of the constant lie between them, however far a place is folded back."""
    ops = tuple(at(name, end) for name in ("shift", "zoom", "shear", "skew", "pad") for end in ("low", "high"))
    images = photos(8, 12, 15) // 3 + 80
    for interpolation in ("nearest", "bilinear"):
        for node in ops:
            policy = Policy("far", (node, op("rotate", 180)), fill=fill, value=(100.0,), interpolation=interpolation)
            result = policy.batch(images, keys(8), size=(9, 9)).images
            assert result.min() >= images.min()
            assert result.max() <= images.max()


@pytest.mark.parametrize("name", NAMED)
def test_no_image_is_a_batch_too(name: str) -> None:
    policy = named_policy(name)
    images = np.empty((0, 10, 12, 3), np.uint8)
    result = policy.batch(images, keys(0), boxes=[], size=(8, 9))
    assert result.images.shape == (0, 8, 9, 3)
    assert result.drawn.trace() == []
    mean = std = (0.5,) * 3
    assert apply_normalized(result.drawn, images, mean, std, "NHWC", policy.sampling()).shape == (0, 8, 9, 3)
    given = torch.from_numpy(images).permute(0, 3, 1, 2)
    assert apply_on_device(result.drawn, given, mean, std, policy.sampling()).shape == (0, 3, 8, 9)


@pytest.mark.parametrize("name", ["standard", "strong", "randaugment", "augmix"])
def test_images_may_lie_in_memory_as_they_like(name: str) -> None:
    policy, whole = named_policy(name), photos(5, 16, 20)
    strided = whole[:, ::-1, 4::2]
    read_only = np.asfortranarray(strided)
    read_only.flags.writeable = False
    expected = policy.batch(np.ascontiguousarray(strided), keys(5)).images
    assert np.array_equal(policy.batch(strided, keys(5)).images, expected)
    assert np.array_equal(policy.batch(read_only, keys(5)).images, expected)
    assert np.array_equal(whole, photos(5, 16, 20))


@pytest.mark.parametrize(
    "node",
    [
        op("invert"),
        op("noise", 20),
        op("rotate", [90, 90]),
        Chain((op("invert"),)),
        Choose(1, 1, (op("invert"),)),
        Blend(1, Choose(1, 1, (op("invert"),))),
    ],
    ids=lambda node: type(node).__name__ + getattr(node, "name", ""),
)
def test_never_is_never_and_always_is_always(node: Node) -> None:
    images = photos(40, 6, 6)
    none, every = (dataclasses.replace(node, probability=chance) for chance in (0.0, 1.0))
    never = Policy("never", (none,)).batch(images, keys(40))
    assert np.array_equal(never.images, images)
    assert not any(never.drawn.trace())
    assert all(Policy("always", (every,)).draw(keys(40), 6, 6).trace())


@pytest.mark.parametrize("name", ["strong", "augmix", "autoaugment-imagenet"])
def test_threads_may_share_a_policy(name: str) -> None:
    policy, images = named_policy(name), photos(12, 16, 20)
    expected = policy.batch(images, keys(12)).images
    fresh = named_policy(name)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fresh.batch(images, keys(12), threads=2).images, range(8)))
    assert all(np.array_equal(one, expected) for one in found)


def test_threads_may_share_a_transform() -> None:
    """The same image comes out otherwise each time, whoever asks."""
    transform, image = PolicyTransform(named_policy("strong")), torch.from_numpy(scene(0, 20, 16)).permute(2, 0, 1)
    wanted = [transform(image).numpy().tobytes() for _ in range(24)]
    assert len(set(wanted)) == 24
    transform.set_epoch(0)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: transform(image).numpy().tobytes(), range(24)))
    assert sorted(found) == sorted(wanted)


def test_no_two_draws_of_noise_are_alike() -> None:
    policy = Policy("noisy", (op("noise", 10), op("noise", 10), op("erase", 0.3)))
    seeds = np.concatenate([done.values[-1] for done in policy.draw(keys(2000), 8, 8).done])
    assert len(np.unique(seeds)) == 6000


def test_an_op_of_no_strength_changes_nothing() -> None:
    still = {"change", "sigma", "area", "size", "amount", "turn", "x", "y", "both", "share", "distortion", "degrees"}
    still |= {"quarters", "red", "green", "blue"}
    images = photos(2, 9, 11)
    for name, kind in OPS.items():
        if kind.parameters and kind.parameters[0].name in still:
            zero = [Range(0.0, 0.0) if part.name in still else Range(part.high, part.high) for part in kind.parameters]
            changed = Policy("still", (Op(name, tuple(zero)),)).batch(images, keys(2)).images
            assert np.array_equal(changed, images), name


def test_a_rectangle_too_thin_for_a_pixel_erases_none() -> None:
    image = np.full((9, 9, 3), 10, np.uint8)
    assert (pixels.erase(image, 0.002, 1.0, 0.5, 0.5, 0.3) == 10).all()
    assert (pixels.erase(image, 0.02, 1.0, 0.5, 0.5, 0.3) != 10).any()


def test_a_turn_is_by_the_quarters_that_its_caption_says() -> None:
    policy = Policy("turned", (Op("turn", (Range(0.6, 2.4),)),))
    image = photos(1, 12, 12)[0]
    for key in keys(20):
        result = policy(image, key=int(key))
        quarters = int(result.trace[0][1].split()[0])
        assert np.array_equal(result.image, np.rot90(image, quarters))


def test_captions_are_english() -> None:
    assert Policy("p", (op("turn", 1), op("turn", 2), op("posterize", [1, 1])))(photos(1, 5, 5)[0], key=0).trace == [
        ("turn", "1 quarter"),
        ("turn", "2 quarters"),
        ("posterize", "1 bit"),
    ]
    assert str(Policy("p", (op("turn", 1),))).endswith("turn: 1 quarter")
    assert OPS["rotate"].words(np.array([-0.0])) == "0°"
    assert OPS["shift_pixels"].words(np.array([1234.4, -0.0])) == "x 1234 px, y 0 px"
    assert "x -4096 to 4096 px" in str(Policy("p", (op("shift_pixels", 4096),)))


def test_an_image_flattened_into_a_line_has_no_boxes_and_no_points() -> None:
    policy = Policy("flat", (op("skew", {"x": [1, 1], "y": [1, 1]}),))
    result = policy(
        photos(1, 12, 12)[0], np.array([[2, 2, 8, 9]], np.float32), key=0, points=np.ones((1, 2), np.float32)
    )
    assert len(result.boxes) == len(result.points) == 0
    assert move_boxes(np.array([[2, 2, 8, 9]], np.float32), np.zeros((3, 3)), (9, 9), 0.0)[1].tolist() == []
    assert move_points(np.ones((1, 2), np.float32), np.zeros((3, 3)), (9, 9))[1].tolist() == []


def test_inverse_maps_are_inverses_where_there_are_any() -> None:
    far = np.array([[0.01, 0, 8000], [0.02, 0.03, 8000], [0, 0, 1]])
    nearly = np.array([[0.3, 0.7 * 0.3, 20], [0.1, 0.7 * 0.1, 30], [0, 0, 1]])  # flat but for rounding
    inverse = inverse_maps(np.stack([np.diag([2.0, 4.0, 1.0]), far, np.zeros((3, 3)), nearly]))
    np.testing.assert_allclose(inverse[0], np.diag([0.5, 0.25, 1]))
    np.testing.assert_allclose(inverse[1] @ far, np.eye(3), atol=1e-9)
    assert np.isnan(inverse[2:]).all()


def test_strong_perspectives_are_finite() -> None:
    policy = Policy("far", (op("perspective", 0.95),))
    drawn = policy.draw(keys(500), 30, 40)
    assert np.isfinite(drawn.matrices).all()
    images = np.full((500, 30, 40, 1), 90, np.uint8)
    drawn = policy.draw(keys(500), 30, 40, channels="grey")
    assert (apply(drawn, images, policy.sampling()) == 90).all()


def test_a_constant_fill_is_red_first_in_images_with_blue_first() -> None:
    policy = Policy("far", (op("shift", {"x": [2, 2]}),), fill="constant", value=(10.0, 100.0, 200.0))
    images, mean, std = photos(2, 6, 6), (0.0,) * 3, (1 / 255,) * 3
    drawn = policy.draw(keys(2), 6, 6, channels="bgr")
    assert apply(drawn, images, policy.sampling())[0, 0, 0].tolist() == [200, 100, 10]
    floats = apply_normalized(drawn, images, mean, std, "NHWC", policy.sampling())
    assert floats[0, 0, 0].tolist() == pytest.approx([200, 100, 10])
    given = torch.from_numpy(images).permute(0, 3, 1, 2)
    there = apply_on_device(drawn, given, mean, std, policy.sampling())
    assert there[0, :, 0, 0].tolist() == pytest.approx([200, 100, 10])
    assert policy.batch(images, keys(2)).images[0, 0, 0].tolist() == [10, 100, 200]


def test_keys_may_be_any_whole_numbers_from_0_on() -> None:
    policy, images = named_policy("strong"), photos(3, 8, 8)
    expected = policy.batch(images, np.arange(3, dtype=np.uint64)).images
    assert np.array_equal(policy.batch(images, np.arange(3)).images, expected)  # type: ignore[arg-type]
    assert np.array_equal(policy(images[2], key=2).image, expected[2])
    for wrong in (np.arange(3.0), np.arange(3) - 1, np.zeros((3, 1), np.uint64)):
        with pytest.raises(UsageError, match=r"The keys must be whole numbers \[N\] from 0 to 2\*\*64 - 1"):
            policy.batch(images, wrong)  # type: ignore[arg-type]
    for key in (-1, 2**64):
        with pytest.raises(UsageError, match=rf"key must be a whole number from 0 to 2\*\*64 - 1.*, not {key}\."):
            policy(images[0], key=key)


def test_numbers_that_nothing_can_be_drawn_from_are_refused() -> None:
    for make in (lambda: PolicyTransform(Policy("none"), -1), lambda: AugmentedDataset([], Policy("none"), -1)):
        with pytest.raises(UsageError, match=r"seed must be from 0 to .*, not -1"):
            make()
    with pytest.raises(UsageError, match=r"epoch must be from 0 to .*, not -1"):
        PolicyTransform(Policy("none")).set_epoch(-1)
    with pytest.raises(UsageError, match="rotate's degrees needs 2 steps or more from 0 to 9, not 1"):
        op("rotate", {"low": 0, "high": 9, "steps": 1})


def test_mean_and_std_are_one_a_channel() -> None:
    drawn = Policy("none").draw(keys(2), 5, 5)
    with pytest.raises(UsageError, match="mean and std must have 3 numbers, one a channel, not 1 and 3"):
        apply_normalized(drawn, photos(2, 5, 5), (0.5,), (0.5,) * 3, "NHWC", Sampling())
