"""Whitening and standardization against NumPy's covariance in float64, and against Keras.

Shapes: N images, H x W pixels, C channels; D = H W C features.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from tenfold.augment.standardize import Statistics, center_samples, rescale_images, scale_samples
from tenfold.augment.whiten import FORMULAS, Whitening, fit_whitening
from tenfold.errors import DataError, UsageError

SHAPE = (6, 5, 3)
MANY, FEW = 2500, 40  # more and fewer images than the 90 features


def photos(count: int, kind: str = "bytes", seed: int = 0) -> NDArray[Any]:
    """Noise that is alike at neighbors, with another mean in each corner; as bytes, 0 to 1, or far from 0."""
    noise = np.random.default_rng(seed).normal(size=(count, *SHAPE))
    smooth = gaussian_filter(noise, (0, 1, 1, 0.4), mode="nearest") + 0.2 * noise
    values = np.clip(110 + 60 * smooth + 8 * np.arange(6)[:, None, None], 0, 255).astype(np.uint8)
    scaled = {"bytes": values, "unit": values.astype(np.float32) / 255, "far": values / 255.0 + 1000}
    return scaled[kind]


def whiten_slowly(images: NDArray[Any], new: NDArray[Any], epsilon: float) -> NDArray[np.float64]:
    """The covariance formula word by word, in float64, with the D x D matrix whatever N is."""
    rows = images.reshape(len(images), -1).astype(np.float64)
    variances, vectors = np.linalg.eigh(np.cov(rows.T, bias=True))
    matrix = vectors @ np.diag(1 / np.sqrt(np.maximum(variances, 0) + epsilon)) @ vectors.T
    return ((new.reshape(len(new), -1) - rows.mean(0)) @ matrix).reshape(new.shape)


def batches(images: NDArray[Any], size: int) -> Iterator[NDArray[Any]]:
    return (images[start : start + size] for start in range(0, len(images), size))


@pytest.fixture(scope="module")
def keras_generator() -> type:
    keras_backend = pytest.MonkeyPatch()
    keras_backend.setenv("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras' own
        image = pytest.importorskip("keras.src.legacy.preprocessing.image")
    keras_backend.undo()
    generator: type = image.ImageDataGenerator
    return generator


@pytest.mark.parametrize("kind", ["bytes", "unit"])
@pytest.mark.parametrize("count", [MANY, FEW, 91, 90, 89, 2])
def test_whitening_is_the_covariance_formula(kind: str, count: int):
    images, new = photos(count, kind), photos(50, kind, seed=1)
    epsilon = 10.0 if kind == "bytes" else 1e-3
    whitening = fit_whitening(images, epsilon)
    for some in (images[:50], new):
        expected = whiten_slowly(images, some, epsilon)
        np.testing.assert_allclose(whitening.apply(some), expected, atol=2e-4 * np.abs(expected).max())


@pytest.mark.parametrize("count", [MANY, FEW])
def test_values_far_from_zero_lose_nothing_in_the_sums(count: int):
    images = photos(count, "far")  # 1000 to 1001: the squares' means are 1e6, their variances about 0.01
    variances = np.linalg.eigvalsh(np.cov(images.reshape(count, -1).T, bias=True))[-min(count - 1, 90) :]
    found = 1 / fit_whitening(images, 1e-6).gains ** 2 - 1e-6
    np.testing.assert_allclose(found, variances, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("count", [MANY, FEW])
def test_whitening_equals_keras(count: int, scale: int, keras_generator: type):
    images = photos(count).astype(np.float32) * np.float32(scale / 255)
    new = photos(50, seed=1).astype(np.float32) * np.float32(scale / 255)
    generator = keras_generator(featurewise_center=True, zca_whitening=True)
    generator.fit(images)
    whitening = fit_whitening(images, generator.zca_epsilon, formula="keras")
    matrix = generator.zca_whitening_matrix
    np.testing.assert_allclose(whitening.matrix, matrix, atol=1e-3 * np.abs(matrix).max())
    np.testing.assert_allclose(whitening.apply(new), generator.standardize(new.copy()), atol=1e-3)
    np.testing.assert_allclose(whitening.apply(images), generator.standardize(images.copy()), atol=1e-3)


def test_keras_formula_with_channels_first(keras_generator: type):
    images = photos(300).astype(np.float32).transpose(0, 3, 1, 2)
    generator = keras_generator(featurewise_center=True, zca_whitening=True, data_format="channels_first")
    generator.fit(images)
    whitening = fit_whitening(images, generator.zca_epsilon, formula="keras", channel_axis=1)
    np.testing.assert_allclose(whitening.apply(images), generator.standardize(images.copy()), atol=1e-3)


def test_keras_formula_leaves_out_directions_in_which_no_image_varies():
    images = photos(MANY)
    images[:, :, 0, :2] = images[:, :, 1, :2]  # 12 features too many
    whitening = fit_whitening(images, formula="keras")
    assert (whitening.gains == 0).sum() == 12
    whitened = whitening.apply(images)
    rows = whitened.reshape(MANY, -1).astype(np.float64)
    moments = np.linalg.eigvalsh(rows.T @ rows / MANY)  # about 0, which is the channels' mean, not the features'
    np.testing.assert_allclose(moments, np.repeat([0, 1], [12, 78]), atol=1e-3)
    np.testing.assert_allclose(whitening.invert(whitened), images, atol=0.01)


def test_whitened_images_have_the_identity_as_covariance():
    images = photos(MANY)
    whitened = fit_whitening(images, 1e-6).apply(images)
    np.testing.assert_allclose(whitened.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(whitened.reshape(MANY, -1).T, bias=True), np.eye(90), atol=1e-3)


@pytest.mark.parametrize("count", [MANY, FEW])
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_stream_gives_what_the_array_gives_however_it_is_cut(formula: str, count: int):
    images = photos(count)
    whole = fit_whitening(images, 1.0, formula=formula)
    for size in (1, 7, 33, 1024, 1500):
        streamed = fit_whitening(batches(images, size), 1.0, formula=formula)
        np.testing.assert_array_equal(streamed.mean, whole.mean)
        np.testing.assert_allclose(streamed.apply(images[:9]), whole.apply(images[:9]), atol=1e-5)


def test_bytes_sum_exactly_and_as_floats_alike():
    images = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (3000, *SHAPE))  # the worst case
    images[:, 1:] = images[:, :1]
    whitening = fit_whitening(images, 5.0)
    same = fit_whitening(images.astype(np.float32), 5.0)
    np.testing.assert_array_equal(whitening.gains, same.gains)
    expected = whiten_slowly(images, images[:20], 5.0)
    np.testing.assert_allclose(whitening.apply(images[:20]), expected, atol=1e-4)


def test_a_stream_that_turns_from_bytes_to_fractions():
    images = photos(MANY).astype(np.float64)
    images[1500:] += 0.25
    expected = whiten_slowly(images, images[:20], 1.0)
    np.testing.assert_allclose(fit_whitening(batches(images, 500), 1.0).apply(images[:20]), expected, atol=1e-4)


@pytest.mark.parametrize("count", [MANY, FEW])
@pytest.mark.parametrize("formula", FORMULAS)
def test_invert_gives_the_images_back(formula: str, count: int):
    images = photos(count)
    whitening = fit_whitening(images, 1.0, formula=formula)
    np.testing.assert_allclose(whitening.invert(whitening.apply(images)), images, atol=0.01)


@pytest.mark.parametrize("count", [MANY, FEW])
def test_one_image_is_whitened_as_in_a_batch(count: int):
    images = photos(count)
    whitening = fit_whitening(images, 1.0)
    batch = whitening.apply(images[:4])
    assert batch.dtype == np.float32
    one = whitening.apply(images[2])
    assert one.shape == SHAPE
    np.testing.assert_allclose(one, batch[2], atol=1e-4)
    np.testing.assert_allclose(whitening.invert(one), images[2], atol=0.01)


def test_few_images_make_no_square_matrix():
    images = np.random.default_rng(0).integers(0, 256, (30, 64, 64, 3), dtype=np.uint8)  # D x D would take 600 MB
    whitening = fit_whitening(images, 1.0, memory=0.02)
    assert whitening.vectors.shape == (12288, 29)
    whitened = whitening.apply(images)
    assert not {"matrix", "inverse"} & vars(whitening).keys()
    rows = whitened.reshape(30, -1).astype(np.float64)
    variances = np.linalg.eigvalsh(rows @ rows.T / 30)[1:]  # those along the images; the first is the mean's, 0
    np.testing.assert_allclose(variances, 1, atol=1e-2)


def test_save_and_load(tmp_path: Path):
    whitening = fit_whitening(photos(FEW), 1.0)
    whitening.save(tmp_path / "whitening.npz")
    loaded = Whitening.load(tmp_path / "whitening.npz")
    np.testing.assert_array_equal(loaded.apply(photos(5)), whitening.apply(photos(5)))
    assert (loaded.rest, loaded.epsilon) == (1.0, 1.0)
    assert {value.dtype for value in (loaded.mean, loaded.vectors)} == {np.dtype(np.float32)}


def test_load_refuses_what_is_no_whitening(tmp_path: Path):
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", mean=np.zeros(3))
    for name in ("text.npz", "other.npz", "missing.npz"):
        with pytest.raises(DataError, match=rf"{name} cannot be read as a whitening \(.*\); fit and save it again\."):
            Whitening.load(tmp_path / name)


@pytest.mark.parametrize(
    ("images", "settings", "message"),
    [
        (photos(1), {}, "fit_whitening needs at least 2 images, not 1."),
        ([], {}, "fit_whitening needs at least 2 images, not 0."),
        (photos(3)[0], {}, "fit_whitening needs images as arrays of numbers [N, H, W, C], not uint8 [6, 5, 3]."),
        ([photos(3).tolist()], {}, "fit_whitening needs images as arrays of numbers [N, H, W, C], not list."),
        (
            [photos(3), photos(3)[:, 1:]],
            {},
            "fit_whitening needs images of one shape, but after [6, 5, 3] came [5, 5, 3].",
        ),
        (photos(3), {"epsilon": 0}, "epsilon of fit_whitening must be above 0 and finite, not 0."),
        (photos(3), {"formula": "pca"}, "formula of fit_whitening must be one of covariance, keras, not 'pca'."),
        (
            photos(FEW),
            {"memory": 1e-5},
            "fit_whitening needs 8.6e-05 GiB for 40 or more images of 90 features (6 x 5 x 3), but memory allows 1e-05 "
            "GiB; allow more, or give fewer or smaller images.",
        ),
    ],
)
def test_what_cannot_be_fitted_is_refused(images: Any, settings: dict[str, Any], message: str):
    with pytest.raises(UsageError) as caught:
        fit_whitening(images, **settings)
    assert str(caught.value) == message


def test_images_that_are_not_finite_or_of_another_shape_are_refused():
    images = photos(FEW, "unit")
    whitening = fit_whitening(images)
    for call in (whitening.apply, whitening.invert):
        with pytest.raises(UsageError, match=rf"Whitening.{call.__name__} needs images \[6, 5, 3\], one or a batch"):
            call(images[:, 1:])
    images[3, 1, 1, 1] = np.nan
    for fit in (fit_whitening, Statistics.fit):
        with pytest.raises(DataError, match=r"needs finite values, but an image holds NaN or infinity; leave"):
            fit(images)


@pytest.mark.parametrize("kind", ["bytes", "unit", "far"])
@pytest.mark.parametrize("size", [1, 33, 1024, MANY])
def test_statistics_are_numpys(kind: str, size: int):
    images = photos(MANY, kind)
    for per, axes in (("channel", (0, 1, 2)), ("feature", 0)):
        statistics = Statistics.fit(batches(images, size), per)
        np.testing.assert_allclose(statistics.mean, images.mean(axes, np.float64, keepdims=True)[0], rtol=1e-6)
        np.testing.assert_allclose(statistics.std, images.std(axes, np.float64, keepdims=True)[0], rtol=1e-6)
        assert statistics.mean.shape == ((1, 1, 3) if per == "channel" else SHAPE)
        scaled = statistics.apply(images)
        np.testing.assert_allclose(statistics.invert(scaled), images, rtol=1e-6, atol=1e-4)
        np.testing.assert_allclose(statistics.apply(images[3]), scaled[3])


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_statistics_equal_keras(data_format: str, keras_generator: type):
    images = photos(300).astype(np.float32)
    images = images if data_format == "channels_last" else images.transpose(0, 3, 1, 2)
    generator = keras_generator(featurewise_center=True, featurewise_std_normalization=True, data_format=data_format)
    generator.fit(images)
    statistics = Statistics.fit(images, channel_axis=-1 if data_format == "channels_last" else 1)
    assert statistics.mean.shape == generator.mean.shape
    np.testing.assert_allclose(statistics.mean, generator.mean, rtol=1e-5)
    np.testing.assert_allclose(statistics.std, generator.std, rtol=1e-5)
    np.testing.assert_allclose(statistics.apply(images), generator.standardize(images.copy()), atol=1e-4)


def test_sample_wise_equals_keras(keras_generator: type):
    images = photos(20)
    generator = keras_generator(samplewise_center=True, samplewise_std_normalization=True, rescale=1 / 255)
    expected = np.stack([generator.standardize(image.astype(np.float32)) for image in images])
    found = scale_samples(center_samples(rescale_images(images, 1 / 255)))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(scale_samples(center_samples(rescale_images(images[3], 1 / 255))), found[3], atol=1e-6)
    np.testing.assert_allclose(found.mean((1, 2, 3)), 0, atol=1e-6)
    np.testing.assert_array_equal(scale_samples(center_samples(np.full((2, *SHAPE), 9, np.uint8))), 0)


def test_statistics_refuse_what_they_cannot_use():
    with pytest.raises(UsageError, match=r"per of Statistics\.fit must be one of channel, feature, not 'pixel'"):
        Statistics.fit(photos(3), "pixel")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"Statistics.fit needs at least one image, but none came\."):
        Statistics.fit([])
