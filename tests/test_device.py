"""What a device makes of a drawn policy is what apply.py makes of it; held on torch's CPU backend."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from tenfold.augment.apply import Sampling, apply_normalized
from tenfold.augment.device import apply_on_device, ops_on_cpu
from tenfold.augment.draw import Drawn, Fill, Interpolation
from tenfold.augment.ops import OPS
from tenfold.augment.policy import Policy
from tenfold.augment.published import NAMED, named_policy
from tenfold.augment.tree import Blend, Choose, op
from tenfold.draws import draw_keys
from tenfold.errors import UsageError

from .toys import scene

GREY_LEVELS = (0.0,), (1 / 255,)
"""Mean and standard deviation that leave grey levels as they are."""
SMOOTH = 0.02
"""Largest difference in grey levels where no byte is rounded on the way."""


def photos(count: int = 3, height: int = 40, width: int = 52) -> np.ndarray:
    return np.stack([scene(seed, width, height) for seed in range(count)])


def drawn_for(policy: Policy, images: np.ndarray, size: tuple[int, int] | None = None, seed: int = 0) -> Drawn:
    keys = draw_keys(seed, 0, np.arange(len(images), dtype=np.uint64))
    return policy.draw(keys, *images.shape[1:3], size, "grey" if images.shape[3] == 1 else "rgb")


def both(policy: Policy, images: np.ndarray, size: tuple[int, int] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """By the device's code and by NumPy and the kernel, in grey levels: float32 [N, C, h, w] twice."""
    drawn, (mean, std) = drawn_for(policy, images, size), GREY_LEVELS
    mean, std = mean * images.shape[3], std * images.shape[3]
    here = apply_on_device(drawn, torch.from_numpy(images).permute(0, 3, 1, 2), mean, std, policy.sampling())
    expected = apply_normalized(drawn, images, mean, std, "NCHW", policy.sampling())
    assert here.dtype == torch.float32
    assert here.shape == expected.shape
    return here.numpy(), expected


def magnitude(name: str) -> object:
    """Something that the op can be given."""
    by_name = {"flip": "horizontal", "turn": 1, "crop": {"scale": [0.3, 0.9]}, "perspective": 0.6, "posterize": [2, 6]}
    by_name |= {"solarize": [60, 200], "gamma": [0.5, 2], "jpeg": [20, 60], "rotate": 40, "hue": 0.3, "blur": [0, 4]}
    by_name |= {"noise": [5, 20], "shear": 20, "shift_pixels": [-9, 9], "erase": {"area": [0.1, 0.4]}, "cutout": 0.5}
    by_name |= {"channel_shift": [-40, 40], "pad": 0.2}
    if name in by_name:
        return by_name[name]
    return True if OPS[name].has_defaults else [-0.4, 0.4]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", OPS)
def test_every_op_is_the_same_as_on_the_cpu(name: str, channels: int) -> None:
    images = photos()[..., :channels]
    here, expected = both(Policy("one", (op(name, magnitude(name)),)), np.ascontiguousarray(images))
    if OPS[name].stage == "pixels":  # bytes, a few of which fall on the other side of a half
        assert np.abs(here - expected).mean() < 0.02
        assert np.abs(here - expected).max() < 1.1
    else:
        assert np.abs(here - expected).max() < SMOOTH


@pytest.mark.parametrize("name", NAMED)
def test_every_named_policy_is_the_same_as_on_the_cpu(name: str) -> None:
    here, expected = both(named_policy(name), photos(16), (32, 36))
    assert np.abs(here - expected).mean() < 0.1  # an edge of a tone curve makes more of one grey level
    assert (np.abs(here - expected) > 1.1).mean() < 0.002


FILLS = [(fill, (90.0,)) for fill in get_args(Fill)] + [("constant", (10.4, 120.5, 250.0))]


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize(("fill", "value"), FILLS)
def test_every_fill_and_interpolation(fill: Fill, value: tuple[float, ...], interpolation: Interpolation) -> None:
    ops = (op("rotate", 180), op("zoom", [-0.7, 0.3]), op("shift", {"x": 1, "y": 1}), op("perspective", 0.4))
    here, expected = both(Policy("far", ops, fill=fill, value=value, interpolation=interpolation), photos(6))
    off = np.abs(here - expected)
    if interpolation == "nearest":  # a place in the middle of two pixels may be either
        assert (off > SMOOTH).mean() < 1e-4
    else:
        assert off.max() < SMOOTH


@pytest.mark.parametrize("interpolation", get_args(Interpolation))
@pytest.mark.parametrize("fill", get_args(Fill))
def test_images_smaller_than_the_kernel(fill: Fill, interpolation: Interpolation) -> None:
    images = photos(3, 40, 52)[:, :1, :2]
    policy = Policy("far", (op("rotate", 90), op("zoom", [-0.8, 0])), fill=fill, interpolation=interpolation)
    here, expected = both(policy, np.ascontiguousarray(images), (5, 7))
    assert np.abs(here - expected).max() < SMOOTH


@pytest.mark.parametrize("size", [(40, 52), (20, 26), (10, 13), (80, 104)])
def test_nearest_takes_the_same_pixel_where_places_lie_between_two(size: tuple[int, int]) -> None:
    here, expected = both(Policy("half", (op("flip", "horizontal"),), interpolation="nearest"), photos(), size)
    np.testing.assert_allclose(here, expected, atol=1e-4)  # at half the size every place does


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_it_normalizes_and_takes_either_layout_of_the_memory(layout: str) -> None:
    images, policy = photos(), named_policy("standard")
    drawn, mean, std = drawn_for(policy, images), (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    given = torch.from_numpy(images).permute(0, 3, 1, 2)
    given = given.contiguous() if layout == "NCHW" else given
    here = apply_on_device(drawn, given, mean, std, policy.sampling())
    expected = apply_normalized(drawn, images, mean, std, "NCHW", policy.sampling())
    np.testing.assert_allclose(here.numpy(), expected, atol=0.001)
    assert torch.equal(given.permute(0, 2, 3, 1), torch.from_numpy(images))  # left as they were


def test_an_image_is_the_same_alone_and_in_any_batch() -> None:
    images, policy = photos(6), named_policy("randaugment")
    keys = draw_keys(0, 0, np.arange(6, dtype=np.uint64))
    given, (mean, std) = torch.from_numpy(images).permute(0, 3, 1, 2), GREY_LEVELS
    whole = apply_on_device(policy.draw(keys, 40, 52), given, mean * 3, std * 3, policy.sampling())
    for n in range(6):
        plan = policy.draw(keys[n : n + 1], 40, 52)
        alone = apply_on_device(plan, given[n : n + 1], mean * 3, std * 3, policy.sampling())
        np.testing.assert_allclose(alone[0].numpy(), whole[n].numpy(), atol=SMOOTH)


def test_ops_of_the_pixels_know_red_first_in_images_with_blue_first() -> None:
    images, policy = photos(), Policy("luma", (op("contrast_about_mean", [0.5, 0.9]), op("saturation", [-0.5, 0])))
    drawn = policy.draw(draw_keys(0, 0, np.arange(3, dtype=np.uint64)), 40, 52, None, "bgr")
    given, (mean, std) = torch.from_numpy(images).permute(0, 3, 1, 2), GREY_LEVELS
    here = apply_on_device(drawn, given, mean * 3, std * 3, policy.sampling())
    expected = apply_normalized(drawn, images, mean * 3, std * 3, "NCHW", policy.sampling())
    assert np.abs(here.numpy() - expected).max() < 1.1


def test_blends_within_blends() -> None:
    inner = Blend(2, Choose(1, 2, (op("rotate", 30), op("posterize", 3), op("blur", 2))))
    policy = Policy("deep", (op("crop", {"scale": [0.5, 1]}), Blend(2, Choose(1, 1, (inner, op("invert", True))))))
    here, expected = both(policy, photos(8), (30, 30))
    assert np.abs(here - expected).mean() < 0.1


@pytest.mark.parametrize("sigma", [0.0, 0.2, 1.0, 7.5, 64.0])
@pytest.mark.parametrize("size", [(40, 52), (2, 9), (1, 1)])
def test_blur_is_that_of_scipy_however_wide(sigma: float, size: tuple[int, int]) -> None:
    images = np.ascontiguousarray(photos(1)[:, : size[0], : size[1]])
    here = both(Policy("wide", (op("blur", {"low": sigma, "high": sigma}),)), images)[0]
    expected = gaussian_filter(images.astype(np.float32), (0, sigma, sigma, 0), mode="mirror")
    assert np.abs(here - expected.transpose(0, 3, 1, 2)).max() < 0.51  # rounded


def test_flat_images_keep_what_a_histogram_cannot_stretch() -> None:
    images = np.full((2, 16, 16, 3), 77, np.uint8)
    for name in ("equalize", "autocontrast"):
        assert (np.rint(both(Policy("flat", (op(name, True),)), images)[0]) == 77).all()


def test_which_ops_go_back_to_the_cpu() -> None:
    assert ops_on_cpu(Policy("all", tuple(op(name, magnitude(name)) for name in OPS)).ops) == (
        "detexture",
        "edges",
        "jpeg",
        "saliency",
    )
    assert all(not ops_on_cpu(named_policy(name).ops) for name in NAMED)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 3, 8, 8), r"uint8 \[3, 3, H, W\], as they were drawn for, not float32 \[3, 3, 8, 8\]"),
        (torch.zeros(3, 8, 8, 3, dtype=torch.uint8), r"not uint8 \[3, 8, 8, 3\]"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"not uint8 \[2, 3, 8, 8\]"),
    ],
)
def test_other_images_are_refused(images: torch.Tensor, message: str) -> None:
    drawn = drawn_for(named_policy("light"), photos())
    with pytest.raises(UsageError, match=message):
        apply_on_device(drawn, images, (0.5,) * 3, (0.5,) * 3, Sampling())


def test_a_constant_of_three_levels_needs_three_channels() -> None:
    images = np.ascontiguousarray(photos()[..., :1])
    given, sampling = torch.from_numpy(images).permute(0, 3, 1, 2), Sampling("constant", (1, 2, 3))
    with pytest.raises(UsageError, match="constant must be one grey level or one for each of 1 channels, not 3"):
        apply_on_device(drawn_for(named_policy("light"), images), given, (0.5,), (0.5,), sampling)
