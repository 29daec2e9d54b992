"""The plain augmentation against slow oracles."""

import math

import numpy as np
import pytest
import torch

from tenfold.augment.plain import PlainInput, crop_matrices, mix, recolor, resample
from tenfold.draws import draw_keys, uniforms
from tenfold.images.loader import Drawn
from tenfold.images.preprocess import Preprocessing
from tenfold.recipe import AugmentSettings

STILL = AugmentSettings(rotate=0, shift=0, scale=1, aspect=1, color=0, mixup=0, cutmix=0)
RGB = Preprocessing("rgb", 8, 10, "crop", "triangle", 255, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def keys(count, seed=0):
    return draw_keys(seed, 0, np.arange(count, dtype=np.uint64))


def test_without_strength_nothing_moves():
    matrix = crop_matrices(STILL, False, uniforms(keys(5), 8))
    assert np.allclose(matrix, np.tile(np.eye(2, 3), (5, 1, 1)))
    canvases = np.random.default_rng(0).integers(0, 256, (5, 10, 10, 3), np.uint8)
    affine = np.tile(np.array([[0.5, 0, 1], [0, 2, 0]], np.float32), (5, 1, 1))
    images, moved = resample(canvases, affine, matrix, 10)
    assert torch.equal(images.permute(0, 2, 3, 1).round().byte(), torch.from_numpy(canvases))
    torch.testing.assert_close(moved, torch.from_numpy(affine))


def test_pixels_and_affine_map_move_together():
    """A bright block is found again where the affine map says."""
    settings = AugmentSettings(rotate=15, shift=0.1, scale=0.7, aspect=1.2)
    canvases = np.zeros((40, 64, 64, 1), np.uint8)
    canvases[:, 28:32, 34:38] = 255
    affine = np.tile(np.array([[2, 0, 3], [0, 4, 5]], np.float32), (40, 1, 1))
    matrix = crop_matrices(settings, True, uniforms(keys(40), 8))
    images, moved = resample(canvases, affine, matrix, 48)
    place = torch.arange(48) + 0.5
    weight = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    found = torch.stack([(weight.sum(1) * place).sum(1), (weight.sum(2) * place).sum(1)], 1)
    original = torch.tensor([(36 - 3) / 2, (30 - 5) / 4, 1.0])
    torch.testing.assert_close(moved @ original, found, atol=0.3, rtol=0)
    mirrored = torch.linalg.det(moved[:, :, :2]) < 0
    assert 8 < mirrored.sum() < 32


def test_a_crop_keeps_the_share_that_was_asked_for():
    settings = AugmentSettings(rotate=0, shift=0, scale=0.4, aspect=1.5)
    matrix = crop_matrices(settings, False, uniforms(keys(4000), 8))
    width, height = matrix[:, 0, 0], matrix[:, 1, 1]
    assert (np.abs(matrix[:, 0, 2]) <= 1 - width + 1e-9).all()
    assert (np.abs(matrix[:, 1, 2]) <= 1 - height + 1e-9).all()
    assert (width * height).min() > 0.3
    assert (width / height).max() < 1.5 + 1e-9
    unclipped = (width < 1) & (height < 1)
    assert (width * height)[unclipped].min() > 0.4 - 1e-9


@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
def test_color_is_brightness_contrast_saturation_in_turn(channels):
    count = 1 if channels == "grey" else 3
    mean, std = (0.5, 0.4, 0.3)[:count], (0.2, 0.25, 0.3)[:count]
    preprocessing = Preprocessing(channels, 8, 8, "crop", "triangle", 255, mean, std)
    images = torch.rand(3, count, 4, 4) * 255
    numbers = uniforms(keys(3), 4)
    result = recolor(images, preprocessing, 0.4, numbers)
    for index in range(3):
        brightness, contrast, saturation = 1 + 0.4 * (2 * numbers[index, :3] - 1)
        pixels = images[index].double()
        if count == 3:
            red, green, blue = pixels if channels == "rgb" else pixels.flip(0)
            grey = 0.299 * red + 0.587 * green + 0.114 * blue
            pixels = pixels * saturation + grey * (1 - saturation)
        pixels = pixels * brightness
        pixels = (pixels - 128) * contrast + 128
        wanted = (pixels / 255 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
        torch.testing.assert_close(result[index].double(), wanted, atol=2e-5, rtol=1e-5)


def test_plain_input_is_the_normalized_centre():
    canvases = np.random.default_rng(0).integers(0, 256, (4, 10, 10, 3), np.uint8)
    drawn = Drawn(canvases, {"label": torch.eye(4)}, keys(4), np.tile(np.eye(2, 3, dtype=np.float32), (4, 1, 1)))
    images, targets, affine = PlainInput(RGB)(drawn, 0)
    wanted = (canvases[:3, 1:9, 1:9] / 255 - np.array(RGB.mean)) / np.array(RGB.std)
    np.testing.assert_allclose(images.permute(0, 2, 3, 1).numpy(), wanted, atol=1e-5)
    assert len(targets["label"]) == 3
    assert torch.equal(affine, torch.tensor([[1.0, 0, -1], [0, 1, -1]]).expand(3, 2, 3))


def test_cutmix_share_is_the_pixels_that_stayed():
    images = torch.stack([torch.full((1, 16, 16), float(index)) for index in range(301)])
    settings = AugmentSettings(mixup=0, cutmix=1, mix_share=0.8)
    mixed, share = mix(images, settings, keys(300))
    stayed = (mixed[:, 0] == torch.arange(300.0)[:, None, None]).float().mean((1, 2))
    torch.testing.assert_close(share, stayed)
    assert 0.15 < (share == 1).float().mean() < 0.3
    assert share.min() < 0.1


def test_mixup_shares_follow_the_beta_distribution():
    images = torch.stack([torch.full((1, 2, 2), float(index)) for index in range(2001)])
    settings = AugmentSettings(mixup=0.4, cutmix=0, mix_share=1)
    mixed, share = mix(images, settings, keys(2000))
    torch.testing.assert_close(mixed[:, 0, 0, 0], torch.arange(2000) + 1 - share, rtol=1e-5, atol=1e-3)
    assert share.mean() == pytest.approx(0.5, abs=0.03)
    assert share.var() == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)


def test_rotation_is_by_at_most_what_was_asked_for():
    settings = AugmentSettings(rotate=30, shift=0, scale=1, aspect=1)
    matrix = crop_matrices(settings, False, uniforms(keys(2000), 8))
    angles = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    assert 29 < angles.max() <= 30
    assert -30 <= angles.min() < -29
    assert math.isclose(float(np.hypot(matrix[:, 0, 0], matrix[:, 1, 0]).max()), 1)
