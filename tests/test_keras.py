"""`tenfold.keras` against Keras 3, where the original lives on as `keras.src.legacy.preprocessing.image`."""

import re
import sys

import numpy as np
import pytest
from scipy import ndimage

import tenfold.keras as ours
from tenfold.errors import UsageError
from tenfold.keras.batches import Sampling

pytestmark = pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras itself

FILLS = ["nearest", "constant", "reflect", "wrap"]
ORDERS = [0, 1, 3]
FORMATS = ["channels_last", "channels_first"]
RECIPE = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "shear_range": 10,
    "zoom_range": 0.1,
    "horizontal_flip": True,
}
PARAMETERS = {
    "nothing": {},
    "rotation": {"theta": 33.3},
    "shift": {"tx": 4.3, "ty": -7.6},
    "whole shift": {"tx": -3, "ty": 5},
    "shear": {"shear": -14.0},
    "zoom out": {"zx": 1.3, "zy": 1.1},
    "zoom in": {"zx": 0.6, "zy": 0.8},
    "flips": {"flip_horizontal": True, "flip_vertical": True},
    "channel shift": {"channel_shift_intensity": 23.7},
    "brightness": {"brightness": 1.37},
    "darkness": {"brightness": 0.41},
    "all": {
        "theta": -12.0,
        "tx": 2.6,
        "ty": 3.1,
        "shear": 7.0,
        "zx": 0.93,
        "zy": 1.08,
        "flip_horizontal": True,
        "channel_shift_intensity": -9.0,
        "brightness": 1.2,
    },
}


def photo(height: int = 48, width: int = 48, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Smooth shapes and some noise, 0 to 255: float32 [H, W, C]."""
    rng = np.random.default_rng(seed)
    blurred = ndimage.gaussian_filter(rng.uniform(0, 255, (height, width, channels)), (3, 3, 0))
    stretched = (blurred - blurred.min()) / (blurred.max() - blurred.min()) * 235
    return (stretched + rng.uniform(0, 20, stretched.shape)).astype(np.float32)


def in_format(image: np.ndarray, data_format: str) -> np.ndarray:
    return image if data_format == "channels_last" else np.ascontiguousarray(np.moveaxis(image, -1, -3))


def assert_same_pixels(one: np.ndarray, other: np.ndarray, scale: float = 1.0):
    """Every channel within 1 grey level on 99 % of the pixels, and the values half a level apart in the mean."""
    assert one.shape == other.shape
    distance = np.abs(one.astype(np.float64) - other) / scale
    channels = -1 if one.shape[-1] in (1, 3, 4) else -3
    assert np.mean(distance.max(channels) <= 1) >= 0.99
    assert np.mean(distance) < 0.5


@pytest.mark.parametrize("size", [(48, 48), (40, 56)], ids=["square", "wide"])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("fill", FILLS)
def test_the_same_parameters_give_the_pixels_of_keras(theirs, fill, order, data_format, size):
    settings = {"fill_mode": fill, "cval": 77.0, "interpolation_order": order, "data_format": data_format}
    mine, keras = ours.ImageDataGenerator(**settings), theirs.ImageDataGenerator(**settings)
    image = in_format(photo(*size), data_format)
    for name, parameters in PARAMETERS.items():
        if data_format == "channels_first" and "brightness" in parameters:
            for generator in (mine, keras):  # which take the columns for channels
                with pytest.raises(ValueError, match=r"needs one image \[H, W, C\] with 1, 3 or 4|Unsupported channel"):
                    generator.apply_transform(image, parameters)
            continue
        expected = keras.apply_transform(image.copy(), parameters)
        got = mine.apply_transform(image, parameters)
        assert got.dtype == np.float32, name
        assert_same_pixels(got, expected)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_channels_and_dtypes_are_as_in_keras(theirs, dtype, channels):
    image = photo(channels=channels).astype(dtype)
    for left_out in ((), ("brightness",), ("brightness", "channel_shift_intensity")):
        parameters = {key: value for key, value in PARAMETERS["all"].items() if key not in left_out}
        got = ours.ImageDataGenerator().apply_transform(image, parameters)
        expected = theirs.ImageDataGenerator().apply_transform(image.copy(), parameters)
        assert_same_pixels(got, expected)
        assert got.dtype == expected.dtype


def test_brightness_for_channels_first_where_keras_is_set_to_it(theirs):
    keras = sys.modules["keras"]
    before = keras.config.image_data_format()
    parameters = PARAMETERS["all"]
    try:
        keras.config.set_image_data_format("channels_first")
        for channels in (3, 4):
            image = in_format(photo(40, 56, channels), "channels_first")
            mine, other = ours.ImageDataGenerator(), theirs.ImageDataGenerator()  # of that format both
            assert mine.data_format == other.data_format == "channels_first"
            assert_same_pixels(mine.apply_transform(image, parameters), other.apply_transform(image, parameters))
    finally:
        keras.config.set_image_data_format(before)


@pytest.mark.parametrize("low", [0, -40, 60])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("brightness", [0, 0.5, 1, 1.7, -1])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_brightness_is_that_of_pillow(theirs, channels, brightness, scale, low):
    image = photo(channels=channels) + low
    expected = theirs.apply_brightness_shift(image.copy(), brightness, scale)
    np.testing.assert_allclose(ours.apply_brightness_shift(image, brightness, scale), expected, atol=1e-3)


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("fill", FILLS)
def test_a_batch_gives_the_pixels_of_its_images(fill, data_format):
    images = np.stack([in_format(photo(seed=seed), data_format) for seed in range(len(PARAMETERS))])
    before = images.copy()
    first = data_format == "channels_first"
    cases = [{name: own[name] for name in own if not (first and name == "brightness")} for own in PARAMETERS.values()]
    sampling = Sampling(first, fill, 33.0, 1, "float32")
    batch = sampling.transform(images, cases)
    for image, parameters, got in zip(images, cases, batch, strict=True):
        np.testing.assert_allclose(got, sampling.transform(image[None], [parameters])[0], atol=1e-3)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize(
    "settings", [RECIPE, RECIPE | {"fill_mode": "constant"}, {}, {"rotation_range": 9, "dtype": "float64"}]
)
def test_bytes_and_the_same_numbers_as_floats_give_the_same_batches(settings):
    images = np.stack([photo(seed=seed) for seed in range(6)]).astype(np.uint8)
    flows = [ours.ImageDataGenerator(**settings).flow(x, seed=1) for x in (images, images.astype(np.float64))]
    got, same = map(next, flows)
    np.testing.assert_array_equal(got, same)
    assert got.dtype == settings.get("dtype", np.float32)
    nearly = ours.ImageDataGenerator(**settings).flow(images + np.float32(1e-4), seed=1)  # no bytes: the other kernel
    np.testing.assert_allclose(next(nearly), got, atol=1e-2)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "settings",
    [
        RECIPE,
        {"brightness_range": (0.5, 1.5), "channel_shift_range": 20.0},
        {"vertical_flip": True},
        {"zoom_range": (1, 2)},
    ],
    ids=["recipe", "colour", "flip", "zoom"],
)
def test_a_seed_draws_what_keras_draws_and_shifts_go_where_they_say(theirs, settings, seed):
    got = ours.ImageDataGenerator(**settings).get_random_transform((40, 56, 3), seed)
    expected = theirs.ImageDataGenerator(**settings).get_random_transform((40, 56, 3), seed)
    expected["tx"], expected["ty"] = expected["ty"], expected["tx"]
    assert got == pytest.approx(expected)


@pytest.mark.parametrize("extent", [3, 2.5, 0.25, [1, 7], [0.1, 0.3], 0, [], -2])
def test_every_way_to_give_a_shift_draws_as_in_keras(theirs, extent):
    mine, keras = (
        ours.ImageDataGenerator(height_shift_range=extent),
        theirs.ImageDataGenerator(height_shift_range=extent),
    )
    for seed in range(8):
        expected = keras.get_random_transform((40, 40, 3), seed)["tx"]
        assert mine.get_random_transform((40, 40, 3), seed)["ty"] == expected


def test_a_height_shift_moves_along_the_height():
    image = np.zeros((21, 31, 1), np.float32)
    image[10, 15] = 1
    for settings, axis in (({"height_shift_range": [4]}, 0), ({"width_shift_range": [4]}, 1)):
        moved = ours.ImageDataGenerator(**settings).random_transform(image, seed=1)
        offset = np.argwhere(moved[:, :, 0] == 1)[0] - (10, 15)
        assert abs(offset[axis]) == 4
        assert offset[1 - axis] == 0


@pytest.mark.parametrize("data_format", FORMATS)
def test_seeded_batches_are_those_of_keras(theirs, data_format):
    images = np.stack([in_format(photo(seed=seed), data_format) for seed in range(11)])
    settings = {key: value for key, value in RECIPE.items() if "shift" not in key} | {"rescale": 1 / 255}
    settings |= {"data_format": data_format, "samplewise_center": True}
    mine = ours.ImageDataGenerator(**settings).flow(images, np.arange(11), batch_size=4, seed=5)
    keras = theirs.ImageDataGenerator(**settings).flow(images, np.arange(11), batch_size=4, seed=5)
    for _ in range(5):
        (got, labels), (expected, their_labels) = next(mine), next(keras)
        np.testing.assert_array_equal(labels, their_labels)
        assert_same_pixels(got, expected, 1 / 255)


NORMALIZATIONS = [
    {"rescale": 1 / 255},
    {"samplewise_center": True},
    {"samplewise_center": True, "samplewise_std_normalization": True},
    {"featurewise_center": True},
    {"featurewise_center": True, "featurewise_std_normalization": True, "rescale": 1 / 255},
    {"featurewise_center": True, "zca_whitening": True, "rescale": 1 / 255},
    {"featurewise_center": True, "zca_whitening": True, "zca_epsilon": 0.1, "samplewise_center": True},
]


@pytest.mark.parametrize("count", [40, 260], ids=["fewer images than values", "more images than values"])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("settings", NORMALIZATIONS, ids=lambda settings: " ".join(settings))
def test_normalization_is_that_of_keras(theirs, settings, data_format, count):
    images = np.stack([in_format(photo(8, 8, seed=seed), data_format) for seed in range(count)])
    mine = ours.ImageDataGenerator(**settings, data_format=data_format)
    keras = theirs.ImageDataGenerator(**settings, data_format=data_format)
    mine.fit(images)
    keras.fit(images)
    expected = np.stack([keras.standardize(image.copy()) for image in images])
    np.testing.assert_allclose(next(mine.flow(images, batch_size=count, shuffle=False)), expected, atol=2e-3)
    np.testing.assert_allclose(mine.standardize(images.copy()), keras.standardize(images.copy()), atol=2e-3)
    for name in ("mean", "std"):
        if getattr(keras, name) is not None:
            assert getattr(mine, name).shape == getattr(keras, name).shape


def test_fit_on_transformed_images_and_rounds(theirs):
    images = np.stack([photo(12, 12, seed=seed) for seed in range(6)])
    settings = {"rotation_range": 30, "horizontal_flip": True, "featurewise_center": True}
    mine, keras = ours.ImageDataGenerator(**settings), theirs.ImageDataGenerator(**settings)
    mine.fit(images, augment=True, rounds=3, seed=4)
    keras.fit(images, augment=True, rounds=3, seed=4)
    np.testing.assert_allclose(mine.mean, keras.mean, atol=0.05)


def test_means_of_many_pixels_are_exact():
    images = np.full((1100, 128, 128, 1), 201.0, np.float32)
    images[::2] += 1
    generator = ours.ImageDataGenerator(featurewise_center=True, featurewise_std_normalization=True)
    generator.fit(images)
    assert generator.mean == pytest.approx(201.5)
    assert generator.std == pytest.approx(0.5, rel=1e-4)


class Recorder(ours.ImageDataGenerator):
    """A user's subclass: what it overrides is called for each image."""

    def apply_transform(self, x, transform_parameters):
        return super().apply_transform(x, transform_parameters) + 1000

    def standardize(self, x):
        return super().standardize(x) / 2


def test_overridden_methods_are_called_for_each_image():
    images = np.stack([photo(seed=seed) for seed in range(5)])
    plain = next(ours.ImageDataGenerator(**RECIPE).flow(images, seed=2))
    np.testing.assert_allclose(next(Recorder(**RECIPE).flow(images, seed=2)), (plain + 1000) / 2, atol=1e-3)
    assert ours.ImageDataGenerator().takes_batches
    assert not Recorder().takes_batches


def test_methods_set_on_an_object_and_drawing_overrides_count_too():
    images = np.stack([photo(seed=seed) for seed in range(3)])
    generator = ours.ImageDataGenerator()
    generator.standardize = lambda x: x * 0
    assert not next(generator.flow(images)).any()

    class Turned(ours.ImageDataGenerator):
        def get_random_transform(self, img_shape, seed=None):
            return {"flip_vertical": True}

    np.testing.assert_array_equal(next(Turned().flow(images, shuffle=False)), images[:, ::-1])


def test_a_preprocessing_function_sees_one_transformed_image():
    seen = []

    def halve(image):
        seen.append(image.shape)
        return image / 2

    images = np.stack([photo(seed=seed) for seed in range(3)])
    generator = ours.ImageDataGenerator(preprocessing_function=halve, rescale=0.5)
    np.testing.assert_allclose(next(generator.flow(images, shuffle=False)), images / 4)
    assert seen == [(48, 48, 3)] * 3


def test_anything_with_the_three_methods_can_stand_for_a_generator(theirs):
    images = np.stack([photo(seed=seed) for seed in range(3)])
    iterator = ours.NumpyArrayIterator(images, None, theirs.ImageDataGenerator(rescale=0.5))
    np.testing.assert_allclose(next(iterator), images / 2)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("random_rotation", (30,)),
        ("random_shear", (20,)),
        ("random_zoom", ((0.7, 1.4),)),
        ("random_zoom", ((1, 1),)),
        ("random_channel_shift", (30.0,)),
    ],
)
def test_random_functions_are_those_of_keras(theirs, name, arguments):
    image = np.moveaxis(photo(40, 40), 2, 0)
    np.random.seed(3)
    expected = getattr(theirs, name)(image, *arguments)
    np.random.seed(3)
    np.testing.assert_allclose(getattr(ours, name)(image, *arguments), expected, atol=1e-3)


def test_random_shift_and_brightness():
    image = np.moveaxis(photo(40, 40), 2, 0)
    np.random.seed(3)
    down, right = np.random.uniform(-0.3, 0.3) * 40, np.random.uniform(-0.1, 0.1) * 40
    np.random.seed(3)
    got = ours.random_shift(image, 0.1, 0.3, interpolation_order=1)
    expected = ndimage.shift(image, (0, -down, -right), order=1, mode="nearest")
    np.testing.assert_allclose(got, expected, atol=1e-2)
    np.testing.assert_array_equal(ours.random_brightness(photo(), (0, 0)), 0 * photo())


def test_affine_axes_may_come_in_any_order(theirs):
    image = photo(32, 32)
    for rows, columns, channels in ((0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0)):
        axes = {"row_axis": rows, "col_axis": columns, "channel_axis": channels}
        own = np.moveaxis(image, 2, channels)
        for parameters in ({"theta": 20}, {"tx": 3, "ty": 1}, {"shear": 9, "zx": 0.9}):
            expected = theirs.apply_affine_transform(own, **parameters, **axes)
            np.testing.assert_allclose(ours.apply_affine_transform(own, **parameters, **axes), expected, atol=1e-2)
    np.testing.assert_array_equal(
        ours.transform_matrix_offset_center(np.diag([2.0, 3, 1]), 5, 8),
        theirs.transform_matrix_offset_center(np.diag([2.0, 3, 1]), 5, 8),
    )
    np.testing.assert_array_equal(ours.flip_axis(image, 1), image[:, ::-1])


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"data_format": "channels"}, "`data_format` must be one of channels_first, channels_last, not 'channels'"),
        ({"validation_split": 5}, "`validation_split` must be strictly between 0 and 1, not 5."),
        ({"zoom_range": (1, 2, 3)}, "`zoom_range` must be a number or two numbers (low, high), not (1, 2, 3)."),
        ({"brightness_range": 0.1}, "`brightness_range` must be two numbers (low, high) or None, not 0.1."),
    ],
)
def test_settings_that_are_refused(theirs, settings, text):
    with pytest.raises(ValueError, match="^" + re.escape(text)):
        ours.ImageDataGenerator(**settings)
    with pytest.raises(ValueError):  # noqa: PT011 - the case is the same, the sentence is theirs
        theirs.ImageDataGenerator(**settings)


@pytest.mark.parametrize(
    ("settings", "implied"),
    [
        ({"zca_whitening": True}, {"featurewise_center": True}),
        ({"zca_whitening": True, "featurewise_center": True, "featurewise_std_normalization": True},
         {"featurewise_std_normalization": False}),
        ({"featurewise_std_normalization": True}, {"featurewise_center": True}),
        ({"samplewise_std_normalization": True}, {"samplewise_center": True}),
    ],
)  # fmt: skip
def test_settings_that_imply_others(settings, implied):
    with pytest.warns(UserWarning, match="`.*` sets `.*` to"):
        generator = ours.ImageDataGenerator(**settings)
    for name, value in implied.items():
        assert getattr(generator, name) is value


def test_statistics_that_were_not_fit_are_said():
    generator = ours.ImageDataGenerator(featurewise_center=True)
    with pytest.warns(UserWarning, match="`featurewise_center` does nothing before `fit`"):
        np.testing.assert_array_equal(next(generator.flow(photo()[None])), photo()[None])


def test_images_that_are_refused():
    generator = ours.ImageDataGenerator()
    with pytest.raises(UsageError, match=r"^`x` must have rank 4, a batch of images, not the shape \(3, 10, 10\)\.$"):
        generator.fit(np.zeros((3, 10, 10)))
    with pytest.warns(UserWarning, match="`x` should have 1, 3 or 4 channels on axis 3"):
        generator.fit(np.zeros((2, 4, 4, 5)))
    with pytest.raises(UsageError, match=r"^`x` must be one image with three axes, not of the shape \(4, 4\)\.$"):
        generator.apply_transform(np.zeros((4, 4)), {})
    with pytest.raises(UsageError, match="must be distinct"):
        ours.apply_affine_transform(np.zeros((3, 4, 4)), row_axis=1, col_axis=1)
    with pytest.raises(UsageError, match="in some order"):
        ours.apply_affine_transform(np.zeros((3, 4, 4)), row_axis=1, col_axis=2, channel_axis=3)
    with pytest.raises(UsageError, match="the first axis or the last"):
        ours.apply_affine_transform(np.zeros((3, 4, 4)), row_axis=0, col_axis=2, channel_axis=1)
    with pytest.raises(UsageError, match="`zoom_range` must be two numbers"):
        ours.random_zoom(np.zeros((3, 4, 4)), (1,))
    with pytest.raises(UsageError, match="`brightness_range` must be two numbers"):
        ours.random_brightness(np.zeros((4, 4, 3)), (1,))
    with pytest.raises(UsageError, match="1, 3 or 4 channels"):
        ours.apply_brightness_shift(np.zeros((4, 4, 2)), 2)


@pytest.mark.parametrize("library", ["scipy", "ImageEnhance"])
def test_a_missing_library_is_an_import_error(monkeypatch, library):
    from tenfold.keras import affine_transformations

    monkeypatch.setattr(affine_transformations, library, None)
    call = ours.apply_affine_transform if library == "scipy" else lambda x: ours.apply_brightness_shift(x, 1)
    with pytest.raises(ImportError, match="install it"):
        call(photo())
