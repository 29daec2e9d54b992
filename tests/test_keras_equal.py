"""`tenfold.keras` and Keras 3 in corners: dtypes, constant and single images, arrays that change; old names, orders."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tenfold.keras as ours
from tenfold.augment.memory import Memory

pytestmark = pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras itself


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 255, shape)


def fitted(module, images: np.ndarray, **settings):
    generator = module.ImageDataGenerator(featurewise_center=True, **settings)
    generator.fit(images)
    return generator


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("count", [1, 6, 120], ids=["one", "fewer than values", "more than values"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_fit_has_the_dtype_and_the_precision_of_keras(theirs, dtype, count, data_format):
    images = noise(count, 5, 6, 3) if data_format == "channels_last" else noise(count, 3, 5, 6)
    exact = 2e-6 if dtype == "float32" else 1e-13
    for settings in ({"featurewise_std_normalization": True}, {"zca_whitening": True}):
        mine, keras = (
            fitted(module, images, **settings, dtype=dtype, data_format=data_format) for module in (ours, theirs)
        )
        for name in ("mean", "std", "zca_whitening_matrix"):
            got, expected = getattr(mine, name), getattr(keras, name)
            if expected is None:
                assert got is None
                continue
            assert (got.dtype, got.shape) == (np.dtype(dtype), expected.shape)
            loose = 1e3 if "zca" in name else 1
            np.testing.assert_allclose(got, expected, rtol=exact * loose, atol=exact * loose * np.abs(expected).max())
        flows = (each.flow(images, shuffle=False, batch_size=count) for each in (mine, keras))
        got, expected = map(next, flows)
        assert got.dtype == dtype
        np.testing.assert_allclose(got, expected, atol=2e-3 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 7.0, 0.1, 254.3])
def test_constant_images_are_scaled_as_in_keras(theirs, value, dtype):
    images = np.full((3, 4, 4, 3), value, dtype)
    for settings in (
        {"featurewise_center": True, "featurewise_std_normalization": True},
        {"samplewise_center": True, "samplewise_std_normalization": True},
        {"samplewise_center": True},
    ):
        generators = [module.ImageDataGenerator(**settings, dtype=dtype) for module in (ours, theirs)]
        for generator in generators:
            generator.fit(images)
        got, expected = (generator.standardize(images[0].copy()) for generator in generators)
        # Rounding errors of the mean, which Keras sums in single precision, divided by 0 + 1e-6.
        unit = 20 * np.spacing(np.asarray(value, dtype)) / 1e-6
        np.testing.assert_allclose(got, expected, atol=float(unit))
        np.testing.assert_allclose(next(generators[0].flow(images)), next(generators[1].flow(images)), atol=float(unit))


def test_whitening_where_no_image_varies_is_that_of_keras_if_epsilon_decides_it(theirs):
    images = np.floor(noise(200, 6, 6, 1)) / 256
    images = np.concatenate([images, 1 - images])  # their mean is 0.5 exactly
    images[:, :, 0] = 0.5  # a column that is always the same
    other = noise(4, 6, 6, 1, seed=1) / 255  # and others, in which it varies
    for epsilon in (0.1, 1e-6):
        mine, keras = (
            fitted(module, images, zca_whitening=True, zca_epsilon=epsilon).standardize(other.astype(np.float32))
            for module in (ours, theirs)
        )
        if epsilon == 0.1:
            np.testing.assert_allclose(mine, keras, rtol=2e-2, atol=2e-2)
            assert np.abs(mine[:, :, 0]).max() > 10
        else:
            assert np.abs(keras[:, :, 0]).max() > 1e4  # its own rounding errors, amplified
            assert np.abs(mine[:, :, 0]).max() < 1e-2


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of means of nothing
def test_not_finite_and_no_images_give_nan_as_in_keras(theirs):
    images = noise(4, 3, 3, 3).astype(np.float32)
    images[1, 1, 1, 1] = np.nan
    images[2, 0, 0, 2] = np.inf
    for x in (images, images[:0]):
        with np.errstate(all="ignore"):
            mine, keras = (fitted(module, x, featurewise_std_normalization=True) for module in (ours, theirs))
        np.testing.assert_allclose(mine.mean, keras.mean, rtol=1e-6)
        np.testing.assert_allclose(mine.std, keras.std, rtol=1e-6)
    for module in (ours, theirs):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"finite values|did not converge"):
            fitted(module, images, zca_whitening=True)
        with pytest.raises(ValueError, match=r"at least one image|cannot reshape"):
            fitted(module, images[:0], zca_whitening=True)


@pytest.mark.parametrize(("dtype", "settings"), [("uint8", {}), ("int32", {}), ("float16", {"zca_whitening": True})])
def test_dtypes_that_cannot_be_fit(theirs, dtype, settings):
    for module in (ours, theirs):
        with pytest.raises(TypeError, match=r"needs a generator whose `dtype` is|Cannot cast|unsupported in linalg"):
            fitted(module, noise(3, 4, 4, 3), dtype=dtype, **settings)


def test_fit_on_transformed_images_keeps_the_dtype_and_the_images(theirs):
    images = noise(4, 8, 8, 3)
    before = images.copy()
    results = []
    for module in (ours, theirs):
        generator = module.ImageDataGenerator(featurewise_center=True, brightness_range=(0.5, 0.9), dtype="float64")
        generator.fit(images, augment=True, rounds=2, seed=3)
        results.append(generator.mean)
        generator.fit(images, augment=True, rounds=0) if module is ours else None
        assert module is not ours or np.isnan(generator.mean).all()
    assert results[0].dtype == results[1].dtype == np.float64
    np.testing.assert_allclose(*results, rtol=1e-12)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("channels", [2, 5])
@pytest.mark.filterwarnings("ignore:.*channels")
def test_brightness_of_other_channels_is_an_error(theirs, channels):
    for module in (ours, theirs):
        flow = module.ImageDataGenerator(brightness_range=(0.5, 2)).flow(noise(3, 8, 8, channels))
        with pytest.raises(ValueError, match=r"with 1, 3 or 4 channels, not an array of|Unsupported channel number"):
            next(flow)


def test_what_nothing_changes_is_the_image_itself_and_a_flip_is_a_view(theirs):
    image = noise(6, 5, 3)
    for module in (ours, theirs):
        generator = module.ImageDataGenerator()
        assert generator.apply_transform(image, {}) is image
        flipped = generator.apply_transform(image, {"flip_horizontal": True, "flip_vertical": True})
        np.testing.assert_array_equal(flipped, image[::-1, ::-1])
        assert np.shares_memory(flipped, image)
        assert not np.shares_memory(generator.apply_transform(image, {"tx": 1}), image)
    first = ours.ImageDataGenerator(data_format="channels_first")
    np.testing.assert_array_equal(first.apply_transform(image, {"flip_horizontal": True}), image[:, :, ::-1])


KINDS = ["float32", "float64", "uint8", "int64", "float32 fractions"]


@pytest.mark.parametrize("function", [None, lambda image: image], ids=["batches", "one by one"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_that_change_after_flow(theirs, kind, dtype, function):
    """What Keras shares with the caller it sees change; what it has copied it does not."""
    settings = {"horizontal_flip": True, "dtype": dtype, "preprocessing_function": function}
    batches = []
    for module in (ours, theirs):
        x = np.floor(noise(6, 5, 4, 3)) / (2 if "fractions" in kind else 1)
        x = x.astype(kind.split()[0])
        flow = module.ImageDataGenerator(**settings).flow(x, batch_size=4, seed=1)
        seen = [next(flow)]
        x[2] = 7
        seen.append(next(flow))
        x[3:] = x[3:] // 2 + (0 if "uint8" in (dtype, kind) or kind == "int64" else 0.5)
        seen += [next(flow), flow[0]]
        flow.x[1] = 9
        seen += [next(flow), flow[0], next(flow)]
        flow.x = flow.x[::-1].copy()
        batches.append([*seen, next(flow), flow[0]])
    for got, expected in zip(*batches, strict=True):
        assert got.dtype == expected.dtype
        np.testing.assert_array_equal(got, expected)


class Counting(Memory):
    """Remembers where what it handed out lies."""

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        array = super().take(shape)
        self.places = [*getattr(self, "places", []), place(array)]
        return array


def place(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("function", [None, lambda image: image], ids=["batches", "one by one"])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("kind", ["uint8", "whole", "fractions"])
def test_memory_of_batches_is_used_again_when_they_are_gone_and_not_before(data_format, kind, function):
    shape = (16, 12, 4) if data_format == "channels_last" else (4, 16, 12)
    images = np.floor(noise(24, *shape)).astype("uint8" if kind == "uint8" else "float32")
    images = images / np.float32(2) if kind == "fractions" else images
    settings = {"rotation_range": 30, "fill_mode": "constant", "data_format": data_format, "samplewise_center": True}
    settings["preprocessing_function"] = function
    kept, dropped = (ours.ImageDataGenerator(**settings).flow(images, batch_size=8, seed=3) for _ in range(2))
    batches = [next(kept) for _ in range(6)]
    copies = [batch.copy() for batch in batches]
    dropped.memory = memory = Counting()
    for batch, copy in zip(batches, copies, strict=True):
        again = next(dropped)
        np.testing.assert_array_equal(again, copy)
        np.testing.assert_array_equal(batch, copy)
        assert again.flags.c_contiguous
        assert again.flags.writeable
        assert place(again) in memory.places
        del again
    assert len(memory.places) >= 6
    assert len(set(memory.places)) <= 3
    half = dropped[0][:4]
    first = half.copy()
    for number in (1, 2, 0, 1):
        dropped[number]
    np.testing.assert_array_equal(half, first)  # a view holds it


def test_load_img_takes_both_orders_of_its_arguments(theirs, tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(noise(9, 12, 4).astype(np.uint8)).save(path)
    load = theirs.image_utils.load_img
    for given in ((), ("rgba",), ("grayscale", (4, 5)), ("rgb", (4, 6), "bilinear"), ("rgb", (4, 6), "bilinear", True)):
        got, expected = ours.load_img(path, *given), load(path, *given)
        assert got.mode == expected.mode
        np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))
    named = ours.load_img(path, "rgba", target_size=(4, 6), interpolation="box")
    np.testing.assert_array_equal(named, load(path, "rgba", target_size=(4, 6), interpolation="box"))
    old = ours.load_img(path, False, "rgba", (4, 6), "bilinear")
    np.testing.assert_array_equal(old, load(path, "rgba", (4, 6), "bilinear"))
    with pytest.raises(TypeError, match="multiple values for keyword argument 'color_mode'"):
        ours.load_img(path, "rgba", color_mode="rgb")
    with pytest.raises(TypeError, match="up to 4 more arguments, not 5"):
        ours.load_img(path, "rgba", (4, 4), "box", True, 1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        ours.load_img(path, colour="rgb")


@pytest.mark.parametrize(
    ("name", "written"), [("a.tif", "TIFF"), ("a.TIFF", "TIFF"), ("a.jpe", "JPEG"), ("a.JPG", "JPEG"), ("a.ppm", "PPM")]
)
def test_images_are_saved_by_every_ending_that_pillow_knows(tmp_path, name, written):
    ours.save_img(tmp_path / name, noise(6, 5, 3))
    ours.save_img(str(tmp_path / "none"), noise(6, 5, 3), file_format=name[2:])
    for path in (tmp_path / name, tmp_path / "none"):
        with Image.open(path) as image:
            assert (image.format, image.size) == (written, (5, 6))
    if written == "JPEG":
        with pytest.warns(UserWarning, match="JPEG has no alpha channel"):
            ours.save_img(tmp_path / name, noise(6, 5, 4))
    with pytest.raises(ValueError, match="unknown file extension"):
        ours.save_img(tmp_path / "a.unheard", noise(6, 5, 3))


def test_pictures_may_be_listed_as_in_early_releases(tmp_path):
    for name in ("a.png", "b.JPG", "c.jpeg", "d.txt"):
        (tmp_path / name).touch()
    assert {Path(path).name for path in ours.list_pictures(tmp_path, ext="jpg|png")} == {"a.png", "b.JPG"}


def test_the_originals_module_of_helpers(monkeypatch, tmp_path):
    utils = importlib.import_module("tenfold.keras.utils")
    assert utils is ours.utils
    assert utils.load_img is ours.load_img
    assert [utils.get_extension(name) for name in ("a/b.PNG", "b.tar.gz", "c")] == ["png", "gz", ""]
    for name in ("b/y.png", "b/x.JPG", "a.png", "n.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    formats = ("png", "jpg")
    found = list(utils._iter_valid_files(str(tmp_path), formats, False))
    assert found == [(str(tmp_path), "a.png"), (str(tmp_path / "b"), "x.JPG"), (str(tmp_path / "b"), "y.png")]
    given = (str(tmp_path), formats, (0.4, 1.0), {tmp_path.name: 5}, False)
    names = [f"{tmp_path.name}/b/x.JPG", f"{tmp_path.name}/b/y.png"]
    assert utils._list_valid_filenames_in_directory(*given) == ([5, 5], names)
    monkeypatch.setattr(utils, "pil_image", None)
    for call in (lambda: ours.array_to_img(noise(3, 3, 3)), lambda: ours.load_img(tmp_path / "a.png")):
        with pytest.raises(ImportError, match="needs Pillow; install it"):
            call()


def test_the_helpers_list_what_those_of_keras_list(theirs, tmp_path):
    for number, name in enumerate(("b/y.png", "b/deep/x.bmp", "a.png", "n.txt", "z.JPEG")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(str(number))
    formats = ours.Iterator.white_list_formats
    for split in (None, (0.0, 0.5), (0.5, 1.0)):
        given = (str(tmp_path), formats, split, {tmp_path.name: 2}, False)
        expected = theirs._list_valid_filenames_in_directory(*given)
        assert ours.utils._list_valid_filenames_in_directory(*given) == expected


def test_the_whitening_matrix_has_the_name_of_the_original_too():
    generator = fitted(ours, noise(5, 4, 4, 3), zca_whitening=True)
    assert generator.principal_components is generator.zca_whitening_matrix
    generator.principal_components = np.eye(48, dtype=np.float32)
    np.testing.assert_array_equal(generator.zca_whitening_matrix, np.eye(48))


def test_arguments_without_names_in_the_order_of_the_original(tmp_path):
    generator, x, y = ours.ImageDataGenerator(validation_split=0.25), noise(8, 4, 4, 3), np.arange(8) % 2
    flow = generator.flow(x, y, 2, False, None, None, None, "", "png", "validation")
    assert flow.n == 2
    before = (x, y, generator, 2, False, None, None, "channels_last", None, "", "png", None)
    assert ours.NumpyArrayIterator(*before, "float64").dtype == "float64"
    assert ours.NumpyArrayIterator(*before, True, "float64").dtype == "float64"  # Keras 3
    (tmp_path / "c").mkdir()
    ours.save_img(tmp_path / "c" / "a.png", x[0])
    given = ((4, 4), "rgb", None, None, 2, False, None, "channels_last", None, "", "png", False, None, "nearest")
    assert ours.DirectoryIterator(tmp_path, generator, *given, "float64").dtype == "float64"
    assert ours.DirectoryIterator(tmp_path, generator, *given, True, "float64").keep_aspect_ratio
    table = pd.DataFrame({"filename": ["c/a.png", "c/gone.png"]})
    given = ("filename", "class", None, *given[:-3], None, "nearest")
    old = ours.DataFrameIterator(table, tmp_path, generator, *given, "float64", False)
    assert (old.dtype, old.n, old.keep_aspect_ratio) == ("float64", 2, False)
    new = ours.DataFrameIterator(table, tmp_path, generator, *given, True, "float64", False)
    assert (new.dtype, new.n, new.keep_aspect_ratio) == ("float64", 2, True)


def test_without_a_format_or_a_dtype_what_keras_is_set_to_counts(theirs):
    config = sys.modules["keras"].config
    before = config.image_data_format(), config.floatx()
    try:
        config.set_image_data_format("channels_first")
        config.set_floatx("float64")
        for module in (ours, theirs):
            generator = module.ImageDataGenerator()
            assert (generator.data_format, generator.dtype) == ("channels_first", "float64")
            assert next(generator.flow(noise(2, 3, 5, 5))).dtype == np.float64
            assert module.NumpyArrayIterator(noise(2, 3, 5, 5), None, generator).dtype == "float64"
        assert ours.img_to_array(np.zeros((4, 5, 3))).shape == (3, 4, 5)
        assert ours.array_to_img(np.zeros((3, 4, 5))).size == (5, 4)
    finally:
        config.set_image_data_format(before[0])
        config.set_floatx(before[1])
    assert ours.ImageDataGenerator().dtype == "float32"


def test_an_iterator_takes_the_settings_of_a_keras_dataset(theirs):
    class Own(ours.Iterator):
        pass

    assert Own(3, 2, False, None, workers=2, max_queue_size=4).workers == 2


def test_an_aspect_ratio_that_keras_ignores_for_tables_is_ignored_and_named(theirs, tmp_path):
    ours.save_img(tmp_path / "a.png", noise(6, 12, 3))
    table = pd.DataFrame({"filename": ["a.png"]})
    given = {"class_mode": None, "target_size": (4, 4), "keep_aspect_ratio": True}
    with pytest.warns(UserWarning, match="has no argument `keep_aspect_ratio`: it is ignored"):
        flow = ours.ImageDataGenerator().flow_from_dataframe(table, tmp_path, **given)
    np.testing.assert_array_equal(
        next(flow), next(theirs.ImageDataGenerator().flow_from_dataframe(table, tmp_path, **given))
    )
