"""The views against what their names promise, on made images and on the photos that come with scikit-learn.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation
from sklearn.datasets import load_sample_image

from tenfold.augment.views import VIEWS, decolorize, detexturize, enhance_edges, salient_edges
from tenfold.errors import UsageError

View = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
Photo = NDArray[np.uint8]

every = pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)


@pytest.fixture(scope="module")
def flower() -> Photo:
    """One orange dahlia before a dark, blurred background: uint8 [210, 320, 3]."""
    photo = Image.fromarray(load_sample_image("flower.jpg"))
    return np.asarray(photo.resize((320, 210), Image.Resampling.BOX))


def noise(height: int, width: int, channels: int, spread: float, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(0, spread, (height, width, channels))


def to_image(values: NDArray[np.float64]) -> Photo:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def step(channels: int, texture: float = 0.0) -> Photo:
    """Grey level 70 on the left, 180 on the right of column 40, with noise: uint8 [60, 80, C]."""
    flat = np.where(np.arange(80) < 40, 70.0, 180.0)[None, :, None]
    return to_image(np.broadcast_to(flat, (60, 80, channels)) + noise(60, 80, channels, texture))


def test_the_order_is_the_figures():
    assert list(VIEWS) == ["decolorize", "detexturize", "enhance_edges", "salient_edges"]


@every
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 1), (2, 2, 3), (3, 5, 1), (17, 40, 3)], ids=str)
def test_any_size_gives_the_same_shape_and_leaves_the_input_alone(view: View, shape: tuple[int, ...]):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    result = view(image)
    assert result.shape == shape
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.flags.writeable
    np.testing.assert_array_equal(image, before)
    assert not np.shares_memory(result, image)


@every
def test_identical_input_gives_identical_output_whatever_its_layout(view: View, flower: Photo):
    image = np.ascontiguousarray(flower[20:90, 100:200])
    expected = view(image)
    np.testing.assert_array_equal(view(flower[20:90, 100:200]), expected)
    np.testing.assert_array_equal(view(np.asfortranarray(image)), expected)


@every
@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (7,), (200, 60, 31)], ids=str)
def test_a_constant_image_stays_constant(view: View, color: tuple[int, ...]):
    image = np.tile(np.array(color, np.uint8), (31, 24, 1))
    result = view(image)
    expected = {decolorize: decolorize(image[:1, :1]), salient_edges: np.zeros(1)}.get(view, image[:1, :1])
    np.testing.assert_array_equal(result, np.broadcast_to(expected, image.shape))


@every
def test_grey_as_one_channel_or_three_is_the_same(view: View, flower: Photo):
    grey = decolorize(flower[:100, :120])
    one, three = view(grey[:, :, :1]), view(grey)
    assert np.abs(one.astype(int) - three).max() <= 1
    assert (three == three[:, :, :1]).all()


@every
@pytest.mark.parametrize(
    ("image", "came"),
    [
        (np.zeros((4, 5, 4), np.uint8), r"uint8 \[4, 5, 4\]"),
        (np.zeros((4, 5), np.uint8), r"uint8 \[4, 5\]"),
        (np.zeros((4, 5, 3), np.float32), r"float32 \[4, 5, 3\]"),
        (np.zeros((0, 5, 3), np.uint8), r"uint8 \[0, 5, 3\]"),
    ],
    ids=["alpha", "flat", "float", "empty"],
)
def test_other_images_are_refused(view: View, image: NDArray[np.generic], came: str):
    with pytest.raises(UsageError, match=rf"needs an image uint8 \[H, W, 1 or 3\], not {came}; take an alpha channel"):
        view(image)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda image: detexturize(image, size=0), "size of detexturize must be from 0.5 to 64, not 0."),
        (lambda image: detexturize(image, contrast=0), "contrast of detexturize must be from 0.5 to 255, not 0."),
        (lambda image: enhance_edges(image, amount=-1), "amount of enhance_edges must be from 0 to 10, not -1."),
        (lambda image: enhance_edges(image, size=99), "size of enhance_edges must be from 0.3 to 16, not 99."),
        (
            lambda image: salient_edges(image, size=float("nan")),
            "size of salient_edges must be from 0.5 to 64, not nan.",
        ),
    ],
)
def test_values_out_of_range_are_refused(call: View, message: str):
    with pytest.raises(UsageError) as caught:
        call(np.zeros((4, 4, 3), np.uint8))
    assert str(caught.value) == message


def test_decolorized_is_the_luma_of_bt601(flower: Photo):
    image = np.concatenate([flower[:40, :60], to_image(noise(40, 60, 3, 80) + 128)])
    grey = decolorize(image)
    assert (grey == grey[:, :, :1]).all()
    np.testing.assert_array_equal(grey[:, :, 0], np.asarray(Image.fromarray(image).convert("L")))
    exact = image @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey[:, :, 0] - exact).max() <= 0.51


@pytest.mark.parametrize("channels", [1, 3])
def test_detexturize_flattens_texture_and_keeps_the_step(channels: int):
    image = step(channels, texture=15)
    smooth = detexturize(image).astype(float)
    left, right = smooth[8:-8, 8:32], smooth[8:-8, 48:72]
    assert left.std() < image[8:-8, 8:32].std() / 5
    assert right.std() < image[8:-8, 48:72].std() / 5
    near = smooth[:, 42:44].mean() - smooth[:, 36:38].mean()  # two pixels from the step a blur would have lost half
    assert near == pytest.approx(110, abs=12)


def test_detexturize_removes_fine_stripes_stronger_than_the_step_that_it_keeps():
    stripes = 60 * (np.indices((60, 80)).sum(0) % 2)[:, :, None]
    image = to_image(np.where(np.arange(80) < 40, 50.0, 130.0)[None, :, None] + stripes)
    smooth = detexturize(np.repeat(image, 3, 2))[:, :, 0].astype(float)
    assert smooth[8:-8, 8:30].std() < 3
    assert smooth[:, 44].mean() - smooth[:, 35].mean() > 0.8 * 80


def test_detexturize_of_a_photo_loses_variation_in_the_petals_and_none_across_the_outline(flower: Photo):
    smooth = detexturize(flower)
    change = np.abs(np.diff(flower.astype(int), axis=1)).sum(2)
    left = np.abs(np.diff(smooth.astype(int), axis=1)).sum(2)
    strong, weak = change > 200, change < 60
    assert left[weak].mean() < 0.65 * change[weak].mean()
    assert left[strong].mean() > 0.7 * change[strong].mean()


@pytest.mark.parametrize("channels", [1, 3])
def test_enhance_edges_raises_the_gradient_at_a_step_and_nothing_far_from_it(channels: int):
    soft = np.interp(np.arange(80), [36, 44], [70, 180])[None, :, None]  # a ramp of 13.75 grey levels a pixel
    image = to_image(np.broadcast_to(soft, (20, 80, channels)))
    sharp = enhance_edges(image).astype(int)
    assert np.diff(sharp, axis=1).max() > 1.5 * np.diff(image.astype(int), axis=1).max()
    np.testing.assert_array_equal(sharp[:, :24], image[:, :24])
    np.testing.assert_array_equal(sharp[:, 56:], image[:, 56:])


def test_enhance_edges_adds_the_same_to_all_channels(flower: Photo):
    image = np.clip(flower[60:150, 60:200], 80, 170)
    change = enhance_edges(image, amount=0.5).astype(int) - image
    assert np.abs(change).max() > 10
    assert np.ptp(change, axis=2).max() <= 1
    np.testing.assert_array_equal(enhance_edges(image, amount=0), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_salient_edges_are_brighter_on_the_object_than_on_the_texture_around(channels: int):
    y, x = np.indices((120, 120)) - 60
    radius = np.hypot(y, x)[:, :, None]
    color = np.array([210.0, 60, 50] if channels == 3 else [200.0])
    image = to_image(np.where(radius < 30, color, 100.0) + noise(120, 120, channels, 20))
    edges = salient_edges(image)[:, :, 0].astype(float)
    outline = np.abs(radius[:, :, 0] - 29.5) < 1.5
    away = (radius[:, :, 0] > 38) | (radius[:, :, 0] < 21)
    assert edges[outline].mean() > 80
    assert edges[outline].mean() > 20 * edges[away].mean()


def test_salient_edges_prefer_what_differs_from_the_mean_color():
    image = np.full((90, 160, 3), 120, np.uint8)
    image[30:60, 20:50] = (120, 120, 170)  # both squares differ in one channel by 50
    image[30:60, 110:140] = (120, 120, 120)
    image[:, 80:] = (110, 120, 120)
    image[30:60, 110:140] = (130, 120, 120)
    edges = salient_edges(image)[:, :, 0].astype(float)
    assert edges[25:65, 15:55].max() > 4 * edges[25:65, 105:145].max()


def test_salient_edges_of_a_photo_lie_on_the_flower(flower: Photo):
    edges = salient_edges(flower)
    assert (edges == edges[:, :, :1]).all()
    orange = flower[:, :, 0].astype(int) - flower[:, :, 2] > 60
    on = binary_dilation(orange, iterations=3)
    assert 0.1 < on.mean() < 0.7
    assert edges[on].mean() > 15 * edges[~on].mean()
