"""`tenfold.keras` argument by argument: cases whose answer is known by hand, and the rest beside Keras 3."""

import inspect
import threading
from collections import Counter
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tenfold.keras as ours

pytestmark = pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras itself

FILLS = ["nearest", "constant", "reflect", "wrap"]
CLASSES = ["DataFrameIterator", "DirectoryIterator", "ImageDataGenerator", "Iterator", "NumpyArrayIterator"]
METHODS = [
    *("apply_transform", "fit", "flow", "flow_from_dataframe", "flow_from_directory", "get_random_transform"),
    *("random_transform", "standardize"),
]
FUNCTIONS = [
    *("apply_affine_transform", "apply_brightness_shift", "apply_channel_shift", "flip_axis", "random_brightness"),
    *("random_channel_shift", "random_rotation", "random_shear", "random_shift", "random_zoom"),
    *("transform_matrix_offset_center", "validate_filename"),
]
FILE_FUNCTIONS = ["array_to_img", "img_to_array", "save_img"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """12 images of four modes in two classes, and a third class without any."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "none"):
        (root / name).mkdir()
    for number in range(12):
        place = root / ("cat" if number % 2 else "dog")
        pixels = rng.integers(0, 2**16, (20, 24, 3), np.uint16)
        if number % 4 == 0:
            Image.fromarray(pixels[:, :, 0]).save(place / f"{number:02}.png")  # 16 bits
        elif number % 4 == 1:
            Image.fromarray(pixels[:, :, 0].astype(np.int32)).save(place / f"{number:02}.tif")  # 32 bits
        else:
            Image.fromarray(pixels.astype(np.uint8)[:, :, : 1 + 2 * (number % 4 == 2)].squeeze()).save(
                place / f"{number:02}.bmp"
            )
    return root


def smooth(count: int = 1, height: int = 32, width: int = 32, channels: int = 3) -> np.ndarray:
    """Gentle waves with values from 20 to 235: float32 [N, H, W, C]."""
    rng = np.random.default_rng(count + channels)
    rows, columns = np.mgrid[0:height, 0:width]
    phases = rng.uniform(0, 6, (2, count, 1, 1, channels))
    waves = np.sin(rows[..., None] / 4 + phases[0]) + np.cos(columns[..., None] / 5 + phases[1])
    return (127.5 + 53 * waves).astype(np.float32)


def defaults(function) -> dict[str, object]:
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {each.name: each.default for each in parameters if each.kind not in kinds}


def assert_takes(mine, keras):
    """The same arguments in the same places with the same defaults, where Keras does not take them from its settings.

    Others may follow.
    """
    got, expected = defaults(mine), defaults(keras)
    assert list(got)[: len(expected)] == list(expected)
    for name, default in expected.items():
        if not (name in ("data_format", "dtype") and default is None):
            assert got[name] == default, name


@pytest.mark.parametrize("name", CLASSES)
def test_classes_take_the_arguments_of_keras(theirs, name):
    assert_takes(getattr(ours, name).__init__, getattr(theirs, name).__init__)


@pytest.mark.parametrize("name", METHODS)
def test_methods_take_the_arguments_of_keras(theirs, name):
    assert_takes(getattr(ours.ImageDataGenerator, name), getattr(theirs.ImageDataGenerator, name))


@pytest.mark.parametrize("name", FUNCTIONS + FILE_FUNCTIONS)
def test_functions_take_the_arguments_of_keras(theirs, name):
    module = theirs.image_utils if name in FILE_FUNCTIONS else theirs
    assert_takes(getattr(ours, name), getattr(module, name))


def test_attributes_are_those_of_keras(theirs):
    settings = {"zoom_range": 0.2, "brightness_range": [1, 2], "rescale": 0.5, "dtype": np.dtype("float64")}
    expected = vars(theirs.ImageDataGenerator(**settings))
    got = vars(ours.ImageDataGenerator(**settings))
    assert {name: got[name] for name in expected} == expected


AXES = [(0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 1, 0)]


@pytest.mark.parametrize("axes", AXES)
@pytest.mark.parametrize(("given", "moved"), [("tx", (0, -1)), ("ty", (-1, 0))])
def test_a_shift_shows_what_lies_that_far_to_the_right_or_below(axes, given, moved):
    """Whole numbers stay whole; `tx` goes along the columns and `ty` along the rows, also where axes are exchanged."""
    image = np.zeros((4, 5), np.int64)
    image[1, 2] = 7
    shaped = np.expand_dims(image, axes[2])
    names = dict(zip(("row_axis", "col_axis", "channel_axis"), axes, strict=True))
    if axes[0] > axes[1]:
        given = {"tx": "ty", "ty": "tx"}[given]  # x goes along the first of the two axes' names then
    for pixels in (1, -1):
        got = ours.apply_affine_transform(shaped, **{given: pixels}, **names)
        assert got.dtype == np.int64
        np.testing.assert_array_equal(got.squeeze(axes[2]), np.roll(image, np.multiply(moved, pixels), (0, 1)))


@pytest.mark.parametrize("side", [2, 3, 8, 48])
def test_quarter_turns_turn_counter_clockwise_about_the_centre(side):
    image = smooth(height=side, width=side)[0]
    for quarters in (-1, 1, 2, 3):
        for fill in ("nearest", "reflect"):
            generator = ours.ImageDataGenerator(fill_mode=fill)
            got = generator.apply_transform(image, {"theta": 90 * quarters})
            np.testing.assert_allclose(got, np.rot90(image, quarters), atol=1e-2)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("order", [0, 1, 3])
def test_edges_that_fall_on_edges_are_decided_as_in_keras(theirs, fill, order):
    """After quarter turns, mirroring zooms and whole shifts, a rounding error says what comes from outside."""
    settings = {"fill_mode": fill, "cval": -50.0, "interpolation_order": order}
    mine, keras = ours.ImageDataGenerator(**settings), theirs.ImageDataGenerator(**settings)
    for side in (31, 48):
        image = smooth(height=side, width=side)[0]
        for parameters in (
            {"theta": 90},
            {"theta": -90, "flip_horizontal": True},
            {"theta": 180, "flip_vertical": True},
            {"theta": 270, "tx": 2, "ty": -1},
            {"theta": 90, "shear": 45},
            {"zx": -1, "zy": 1},
            {"tx": side - 1},
            {"ty": 0.5 - side, "zx": 2},
        ):
            expected = keras.apply_transform(image, parameters)
            distance = np.abs(mine.apply_transform(image, parameters) - expected)
            assert np.mean(distance.max(-1) <= 1) >= 0.99, parameters


def test_a_constant_takes_no_part_in_what_is_inside():
    ones = np.ones((3, 3, 3))
    got = ours.ImageDataGenerator(fill_mode="constant").apply_transform(ones, {"theta": 45})
    np.testing.assert_allclose(got[:, :, 0], [[0, 1, 0], [1, 1, 1], [0, 1, 0]])


@pytest.mark.parametrize("value", [128, 1024, -1024])
def test_brightness_one_changes_nothing_and_stretching_a_constant_gives_zeros(value):
    image = np.full((2, 2, 3), float(value))
    np.testing.assert_array_equal(ours.random_brightness(image, [1, 1], False), image)
    np.testing.assert_array_equal(ours.random_brightness(image, [1, 1], True), 0 * image)


def test_a_zoom_of_one_and_a_transform_of_nothing_give_the_image():
    image = smooth()[0]
    np.testing.assert_array_equal(ours.random_zoom(image.transpose(2, 0, 1), (1, 1)), image.transpose(2, 0, 1))
    generator = ours.ImageDataGenerator()
    still = generator.get_random_transform(image.shape, 1)
    assert still == {
        **dict.fromkeys(("theta", "tx", "ty", "shear"), 0),
        **dict.fromkeys(("zx", "zy"), 1),
        **dict.fromkeys(("flip_horizontal", "flip_vertical"), False),
        **dict.fromkeys(("channel_shift_intensity", "brightness")),
    }
    got = generator.apply_transform(image, still)
    np.testing.assert_array_equal(got, image)
    assert got is image


def test_a_random_transform_is_the_one_that_its_seed_draws():
    generator = ours.ImageDataGenerator(rotation_range=40, zoom_range=[0.5, 1.5], channel_shift_range=30)
    image = smooth()[0]
    drawn = generator.get_random_transform(image.shape, 11)
    np.testing.assert_array_equal(generator.random_transform(image, 11), generator.apply_transform(image, drawn))
    assert drawn != generator.get_random_transform(image.shape, 12)


@pytest.mark.parametrize("setting", [{"fill_mode": "mirror"}, {"fill_mode": "grid-wrap"}, {"interpolation_order": 5}])
def test_what_scipy_knows_besides_works_too(theirs, setting):
    image = smooth()[0]
    expected = theirs.ImageDataGenerator(**setting).apply_transform(image, {"theta": 30})
    np.testing.assert_allclose(ours.ImageDataGenerator(**setting).apply_transform(image, {"theta": 30}), expected)


@pytest.mark.parametrize("setting", [{"fill_mode": "mirrored"}, {"interpolation_order": 6}])
def test_what_scipy_does_not_know_is_an_error_of_its_type(theirs, setting):
    for module, text in ((ours, f"`{next(iter(setting))}` must be"), (theirs, "not supported")):
        with pytest.raises(RuntimeError, match=text):
            module.ImageDataGenerator(**setting).apply_transform(smooth()[0], {"theta": 30})


@pytest.mark.parametrize(
    "settings",
    [
        {"zoom_range": 0.3},
        {"zoom_range": (0.5, 0.5)},
        {"zoom_range": [1.0, 2]},
        {"rotation_range": 30, "shear_range": 10.0, "rescale": 1 / 255},
        {"channel_shift_range": 40.0},
        {"brightness_range": [0.4, 1.6]},
        {"rotation_range": 20, "channel_shift_range": 9.0, "brightness_range": (0.8, 1.2), "vertical_flip": True},
        {"rotation_range": 90.0, "fill_mode": "constant", "cval": 200, "horizontal_flip": True, "zoom_range": 0.4},
        {"rotation_range": 25, "fill_mode": "wrap", "interpolation_order": 0},
        {"rescale": 0, "samplewise_center": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", [None, "float64"])
def test_batches_without_a_seed_follow_numpys_state_as_in_keras(theirs, settings, dtype):
    images = smooth(7)
    batches, states = [], []
    for module in (ours, theirs):
        flow = module.ImageDataGenerator(**settings, dtype=dtype).flow(images, np.arange(7), batch_size=3)
        np.random.seed(4)
        batches.append([next(flow) for _ in range(4)])
        states.append(np.random.random())
    assert states[0] == states[1]
    for (got, labels), (expected, their_labels) in zip(*batches, strict=True):
        np.testing.assert_array_equal(labels, their_labels)
        assert got.dtype == expected.dtype
        assert np.mean(np.abs(got - expected).max(-1) <= 1) >= 0.99


def test_images_and_masks_with_one_seed_move_alike():
    images = smooth(9)
    masks = (images[..., :1] > 130) * np.float32(255)
    settings = {"rotation_range": 40, "zoom_range": 0.3, "width_shift_range": 0.2, "horizontal_flip": True}
    generators = [ours.ImageDataGenerator(**settings) for _ in range(2)]
    flows = [it.flow(x, batch_size=4, seed=3) for it, x in zip(generators, (images, masks), strict=True)]
    for _ in range(4):
        moved, mask = (next(flow) for flow in flows)
        assert len(moved) == len(mask)
        same = (moved[..., :1] > 130) == (mask > 127)
        assert np.mean(same) > 0.97  # but for pixels on the border of the mask


def test_normalizations_come_in_the_order_of_keras(theirs):
    images = np.random.default_rng(0).uniform(0, 255, (40, 6, 6, 3)).astype(np.float32)
    results = []
    for module in (ours, theirs):
        generator = module.ImageDataGenerator(
            featurewise_center=True,
            samplewise_center=True,
            samplewise_std_normalization=True,
            zca_whitening=True,
            zca_epsilon=0.1,
            rescale=1 / 50,
            preprocessing_function=lambda image: np.sqrt(image),
        )
        generator.fit(images)
        results.append(next(generator.flow(images, shuffle=False, batch_size=40)))
    np.testing.assert_allclose(*results, atol=2e-3)


def test_standardize_changes_floats_in_place_and_refuses_whole_numbers_as_keras_does(theirs):
    for module in (ours, theirs):
        generator, image = module.ImageDataGenerator(rescale=0.5, samplewise_center=True), smooth()[0]
        assert generator.standardize(image) is image
        assert abs(image.mean()) < 1e-3
        with pytest.raises(TypeError):
            generator.standardize(np.ones((2, 2, 3), np.uint8))


def test_fit_learns_only_what_is_asked_for():
    generator = ours.ImageDataGenerator(rescale=2)
    images = smooth(3)
    images[0, 0, 0, 0] = np.nan
    generator.fit(images)
    assert (generator.mean, generator.std, generator.zca_whitening_matrix) == (None, None, None)
    generator = ours.ImageDataGenerator(featurewise_center=True, rescale=2)
    generator.fit(smooth(3).tolist())
    np.testing.assert_allclose(generator.mean.ravel(), 2 * smooth(3).mean((0, 1, 2)), rtol=1e-5)
    assert generator.std is None


@pytest.mark.parametrize("subset", ["training", "validation"])
def test_weights_of_subsets_are_those_of_keras_and_wrong_ones_are_said(theirs, subset):
    """Keras does not split them: the training images get the weights of the first ones."""
    given = {"sample_weight": np.arange(10.0), "subset": subset, "seed": 1, "batch_size": 3, "ignore_class_split": True}
    said = pytest.warns(UserWarning, match="^`sample_weight` is not split") if subset == "training" else nullcontext()
    with said:
        flow = ours.ImageDataGenerator(validation_split=0.3).flow(smooth(10), np.arange(10), **given)
    keras = theirs.ImageDataGenerator(validation_split=0.3).flow(smooth(10), np.arange(10), **given)
    for _ in range(len(keras)):
        for got, expected in zip(next(flow), next(keras), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_half_precision_does_not_overflow():
    """In it, the squares of Keras add up to infinity, and its images to nothing."""
    settings = {"samplewise_center": True, "samplewise_std_normalization": True, "horizontal_flip": True}
    exact, got = (
        next(ours.ImageDataGenerator(**settings, dtype=dtype).flow(smooth(3, 64, 64), seed=1))
        for dtype in ("float64", "float16")
    )
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, exact, atol=5e-3)


@pytest.mark.parametrize("dtype", ["float16", "float64", "uint8", "int32"])
@pytest.mark.parametrize("halve", [False, True], ids=["batch", "one by one"])
def test_files_are_changed_in_single_precision_and_then_get_their_dtype(theirs, folder, dtype, halve):
    settings = {"rotation_range": 30, "rescale": 0.5, "dtype": dtype}
    settings |= {"preprocessing_function": (lambda image: image / 2) if halve else None}
    given = {"target_size": (16, 16), "seed": 1, "color_mode": "rgba", "class_mode": "sparse"}
    flows = [module.ImageDataGenerator(**settings).flow_from_directory(folder, **given) for module in (ours, theirs)]
    (got, labels), (expected, their_labels) = map(next, flows)
    assert (got.dtype, labels.dtype) == (expected.dtype, their_labels.dtype)
    assert np.mean(np.abs(got.astype(float) - expected).max(-1) <= 1) >= 0.99


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
@pytest.mark.parametrize("settings", [{}, {"rotation_range": 30}, {"channel_shift_range": 20}], ids=str)
def test_an_iterators_own_dtype_counts(theirs, dtype, settings):
    results = []
    for module in (ours, theirs):
        generator = module.ImageDataGenerator(**settings)
        results.append(next(module.NumpyArrayIterator(smooth(5), None, generator, dtype=dtype, seed=2)))
    assert results[0].dtype == results[1].dtype == dtype
    assert np.mean(np.abs(results[0].astype(float) - results[1]).max(-1) <= 1) >= 0.99


@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
def test_files_of_many_bits_and_classes_without_files(theirs, folder, color_mode):
    given = {"color_mode": color_mode, "target_size": (20, 24), "batch_size": 12, "shuffle": False}
    flows = [module.ImageDataGenerator().flow_from_directory(str(folder), **given) for module in (ours, theirs)]
    (got, labels), (expected, their_labels) = map(next, flows)
    np.testing.assert_array_equal(got, expected)
    np.testing.assert_array_equal(labels, their_labels)
    assert labels.shape == (12, 3)
    assert flows[0].class_indices == {"cat": 0, "dog": 1, "none": 2}


def test_a_batch_may_be_saved_for_channels_first_too(tmp_path, folder):
    generator = ours.ImageDataGenerator(data_format="channels_first")
    flow = generator.flow(
        smooth(2, 6, 8).transpose(0, 3, 1, 2), save_to_dir=tmp_path, save_prefix="a b", save_format="jpg"
    )
    next(flow)
    next(generator.flow_from_directory(folder, save_to_dir=tmp_path, target_size=(6, 8), batch_size=3, seed=0))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert sum(name.startswith("a b_") and name.endswith(".jpg") for name in names) == 2
    assert sum(name.startswith("_") and name.endswith(".png") for name in names) == 3
    for name in names:
        with Image.open(tmp_path / name) as image:
            assert image.size == (8, 6)
    with pytest.raises(FileNotFoundError):
        next(generator.flow_from_directory(folder, save_to_dir=tmp_path / "missing"))


def test_threads_share_an_iterator():
    flow = ours.ImageDataGenerator().flow(smooth(20), np.arange(20), batch_size=3, shuffle=False)
    seen: list[int] = []

    def take():
        for _ in range(7):  # an epoch each
            seen.extend(flow.next()[1].tolist())

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(Counter(seen).values()) == {4}


def test_reset_begins_an_epoch_and_a_number_asks_for_any_batch():
    flow = ours.ImageDataGenerator().flow(smooth(10), np.arange(10), batch_size=4, shuffle=False)
    next(flow)
    assert (flow.batch_index, flow.total_batches_seen) == (1, 1)
    flow.reset()
    assert next(flow)[1].tolist() == [0, 1, 2, 3]
    assert flow[2][1].tolist() == [8, 9]
    assert next(flow)[1].tolist() == [4, 5, 6, 7]  # which the number did not disturb


def test_a_table_without_files_and_the_order_of_its_classes():
    table = pd.DataFrame({"filename": ["gone/A.jpg", "gone/B.jpg"], "class": ["A", "B"]})
    generator, found = ours.ImageDataGenerator(), []
    for classes in (None, ["A", "B"], ["B", "A"]):
        with pytest.warns(UserWarning, match="are missing"):
            iterator = generator.flow_from_dataframe(table, classes=classes)
        assert (iterator.n, len(iterator)) == (0, 0)
        found.append(iterator.class_indices)
    assert found == [{}, {"A": 0, "B": 1}, {"B": 0, "A": 1}]


def test_labels_may_be_tuples_lists_and_words_in_one_table(theirs, folder):
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*"))
    labels = ["b", ("a", "b"), ["a"], ("c",), ["c", "a"], "a"] * 2
    table = pd.DataFrame({"filename": names, "class": labels})
    for classes in (None, ["c", "a"]):
        flows = [
            module.ImageDataGenerator().flow_from_dataframe(table, str(folder), classes=classes, shuffle=False)
            for module in (ours, theirs)
        ]
        np.testing.assert_array_equal(*(next(flow)[1] for flow in flows))
        assert flows[0].class_indices == flows[1].class_indices


def test_arguments_that_keras_ignores_are_named(folder):
    table = pd.DataFrame({"filename": ["cat/01.tif"], "class": ["cat"]})
    with pytest.warns(UserWarning, match="^flow_from_dataframe has no argument `follow_links`: it is ignored"):
        assert ours.ImageDataGenerator().flow_from_dataframe(table, folder, follow_links=True).n == 1
