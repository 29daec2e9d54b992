"""The iterators of `tenfold.keras`: arrays, folders and tables, beside Keras 3 on the same files."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tenfold.keras as ours
from tenfold.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras itself

SIZE = (14, 18)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """24 images of three modes in two classes, with subfolders, and files that are no images."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for number in range(24):
        place = root / f"class-{number % 2}" / ["", "deep", "deep/er"][number % 3]
        place.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (20, 24, [3, 4, 1][number % 3]), np.uint8)
        Image.fromarray(pixels.squeeze()).save(place / f"image-{number:02}.png")
    (root / "class-0" / "notes.txt").write_text("no image")
    (root / "loose.png").write_bytes(b"in no class")
    return root


@pytest.fixture
def table(folder: Path) -> pd.DataFrame:
    names = sorted(str(path.relative_to(folder)) for path in folder.glob("class-*/**/*.png"))
    frame = pd.DataFrame({"filename": names, "class": [name[6] for name in names]})
    frame["weight"] = np.arange(len(names)) % 3
    frame["angle"], frame["speed"] = np.arange(len(names)) / 7, np.arange(len(names)) ** 2
    frame["tags"] = [["a", "b"] if number % 2 else ["b"] for number in range(len(names))]
    frame["pair"] = [np.array([number, 1.5]) for number in range(len(names))]
    return frame


def arrays(count: int = 10) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (count, 12, 12, 3)).astype(np.float32)


def assert_same_batches(mine, keras, count: int = 3):
    """The first batches, targets and weights too, and the one asked for by number."""
    assert len(mine) == len(keras)
    for _ in range(count):
        assert_same(next(mine), next(keras))
    assert_same(mine[0], keras[0])


def assert_same(got, expected):
    if isinstance(expected, tuple | list):
        assert type(got) is type(expected)
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert_same(one, other)
    else:
        assert got.dtype == expected.dtype
        np.testing.assert_allclose(got, expected, atol=0.6)


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 32])
def test_the_order_and_the_end_of_an_epoch_are_those_of_keras(theirs, batch_size, shuffle):
    mine, keras = (module.Iterator(10, batch_size, shuffle, 7) for module in (ours, theirs))
    for _ in range(25):
        np.testing.assert_array_equal(next(mine.index_generator), next(keras.index_generator))
        assert (mine.batch_index, mine.total_batches_seen) == (keras.batch_index, keras.total_batches_seen)
    assert len(mine) == len(keras)
    mine.reset()
    assert mine.batch_index == 0


@pytest.mark.parametrize("batch_size", [0, 32])
def test_no_samples_are_empty_batches(batch_size):
    assert next(ours.Iterator(0, batch_size, False, 0).index_generator).size == 0


def test_a_batch_by_number_and_a_new_order_each_epoch():
    flow = ours.ImageDataGenerator().flow(arrays(), np.arange(10), batch_size=4, seed=3)
    assert [len(flow[number][1]) for number in range(len(flow))] == [4, 4, 2]
    first = flow[0][1]
    flow.on_epoch_end()
    assert list(first) != list(flow[0][1])
    for number in (3, -1):
        text = rf"^The batch asked for must be from 0 to below 3, the batches of an epoch, not {number}\.$"
        with pytest.raises(ValueError, match=text):
            flow[number]
    with pytest.raises(NotImplementedError, match="must define _get_batches_of_transformed_samples"):
        ours.Iterator(3, 1, False, None).next()
    assert iter(flow) is flow


def test_the_same_seed_gives_the_same_batches_and_another_does_not():
    generator = ours.ImageDataGenerator(rotation_range=40, zoom_range=0.2)
    one, same, other = (generator.flow(arrays(), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first := next(one), next(same))
    assert not np.array_equal(first, next(other))
    np.random.seed(8)
    free = next(generator.flow(arrays()))
    np.random.seed(8)
    np.testing.assert_array_equal(free, next(generator.flow(arrays())))


@pytest.mark.parametrize("weights", [None, np.arange(10.0)], ids=["plain", "weighted"])
@pytest.mark.parametrize("misc", ["none", "one", "two"])
@pytest.mark.parametrize("labels", [None, np.arange(10)], ids=["images", "labels"])
def test_arrays_with_further_inputs_and_weights(theirs, labels, misc, weights):
    further = {"one": np.arange(10) / 3, "two": [np.arange(10), np.ones((10, 2, 3))]}
    x = arrays() if misc == "none" else (arrays(), further[misc])
    given = {"batch_size": 4, "seed": 1, "sample_weight": weights}
    mine, keras = (module.ImageDataGenerator(rescale=0.5).flow(x, labels, **given) for module in (ours, theirs))
    assert_same_batches(mine, keras)


@pytest.mark.parametrize("subset", ["training", "validation", None])
@pytest.mark.parametrize("split", [0.2, 0.5, 0.75])
def test_subsets_of_arrays(theirs, split, subset):
    labels = np.arange(10) % 2
    generators = [module.ImageDataGenerator(validation_split=split) for module in (ours, theirs)]
    mine, keras = (generator.flow(arrays(), labels, subset=subset, seed=0, batch_size=3) for generator in generators)
    assert mine.n == keras.n
    assert_same_batches(mine, keras)


def test_arrays_that_are_refused():
    generator, x = ours.ImageDataGenerator(validation_split=0.5), arrays()
    with pytest.raises(UsageError, match="Training and validation subsets have different number of classes after the"):
        generator.flow(x, np.arange(10) // 5, subset="validation")
    assert len(generator.flow(x, np.arange(10) // 5, subset="training", ignore_class_split=True).y) == 5
    with pytest.raises(UsageError, match="`subset` must be one of training, validation, not 'foo'"):
        generator.flow(x, np.arange(10), subset="foo")
    with pytest.raises(
        UsageError, match="All of the arrays in `x` should have the same length, not 10 images beside 9"
    ):
        generator.flow((x, np.arange(9)))
    with pytest.raises(UsageError, match=r"`x` \(images tensor\) and `y` \(labels\) should have the same length"):
        generator.flow(x, np.arange(11))
    with pytest.raises(UsageError, match=r"`x` \(images tensor\) and `sample_weight` should have the same length"):
        generator.flow(x, sample_weight=np.arange(11))
    with pytest.raises(UsageError, match=r"`x` must have rank 4, a batch of images, not the shape \(32,\)"):
        generator.flow(np.arange(32))
    with pytest.warns(UserWarning, match="`x` should have 1, 3 or 4 channels on axis 1"):
        ours.ImageDataGenerator(data_format="channels_first").flow(x)


def test_batches_are_of_the_generators_dtype():
    generator = ours.ImageDataGenerator(dtype="float64", rotation_range=20)
    assert next(generator.flow(arrays().astype(np.uint8))).dtype == np.float64
    labels = np.arange(4).repeat(36).reshape(1, 12, 12, 1)
    turned = next(ours.ImageDataGenerator(rotation_range=90, interpolation_order=0).flow(labels, seed=1))
    assert set(np.unique(turned)) == {0, 1, 2, 3}


@pytest.mark.parametrize("save_format", ["png", "jpeg"])
def test_batches_are_saved(tmp_path, save_format):
    flow = ours.ImageDataGenerator().flow(
        arrays(3), shuffle=False, save_to_dir=str(tmp_path), save_prefix="aug", save_format=save_format
    )
    batch = next(flow)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.rsplit("_", 1)[0] for name in names] == ["aug_0", "aug_1", "aug_2"]
    assert all(name.endswith("." + save_format) for name in names)
    if save_format == "png":
        saved = ours.img_to_array(ours.load_img(tmp_path / names[1]))
        np.testing.assert_allclose(saved, np.floor(ours.utils.stretched(batch[1])), atol=1)


@pytest.mark.parametrize("class_mode", ["categorical", "binary", "sparse", "input", None])
@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
def test_folders_give_the_batches_of_keras(theirs, folder, class_mode, color_mode):
    given = {"target_size": SIZE, "class_mode": class_mode, "color_mode": color_mode, "seed": 4, "batch_size": 5}
    mine, keras = (module.ImageDataGenerator().flow_from_directory(str(folder), **given) for module in (ours, theirs))
    for name in ("filenames", "filepaths", "class_indices", "num_classes", "samples", "image_shape", "n"):
        assert getattr(mine, name) == getattr(keras, name), name
    np.testing.assert_array_equal(mine.classes, keras.classes)
    np.testing.assert_array_equal(mine.labels, keras.labels)
    assert_same_batches(mine, keras)


@pytest.mark.parametrize(
    "given",
    [
        {"interpolation": "bilinear"},
        {"interpolation": "lanczos", "keep_aspect_ratio": True},
        {"classes": ["class-1", "class-0"]},
        {"classes": ["class-1"]},
        {"shuffle": False},
        {"subset": "training"},
        {"subset": "validation"},
    ],
    ids=str,
)
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_folders_with_options(theirs, folder, given, data_format):
    generators = [module.ImageDataGenerator(data_format=data_format, validation_split=0.3) for module in (ours, theirs)]
    mine, keras = (it.flow_from_directory(str(folder), target_size=SIZE, seed=1, **given) for it in generators)
    assert mine.filenames == keras.filenames
    assert_same_batches(mine, keras, 2)


def test_folders_say_what_they_found_and_refuse_what_keras_refuses(folder, capsys):
    generator = ours.ImageDataGenerator()
    generator.flow_from_directory(folder)
    assert capsys.readouterr().out == "Found 24 images belonging to 2 classes.\n"
    with pytest.raises(UsageError, match=r"^`color_mode` must be one of rgb, rgba, grayscale, not 'cmyk'"):
        generator.flow_from_directory(folder, color_mode="cmyk")
    with pytest.raises(
        UsageError, match=r"^`class_mode` must be one of None, binary, categorical, input, sparse, not 'o"
    ):
        generator.flow_from_directory(folder, class_mode="output")
    with pytest.raises(UsageError, match="`subset` must be one of"):
        generator.flow_from_directory(folder, subset="foo")
    with pytest.raises(FileNotFoundError):
        generator.flow_from_directory(folder / "missing")


def test_links_are_followed_when_asked(folder, tmp_path):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "there").symlink_to(folder / "class-0", target_is_directory=True)
    generator = ours.ImageDataGenerator()
    assert generator.flow_from_directory(tmp_path).samples == 0
    assert generator.flow_from_directory(tmp_path, follow_links=True).samples == 12


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"class_mode": "binary"},
        {"class_mode": "sparse", "weight_col": "weight"},
        {"class_mode": "input", "y_col": None, "weight_col": "weight"},
        {"class_mode": None},
        {"class_mode": "raw", "y_col": "angle"},
        {"class_mode": "raw", "y_col": ["angle", "speed"]},
        {"class_mode": "multi_output", "y_col": ["angle", "pair"]},
        {"class_mode": "categorical", "y_col": "tags"},
        {"class_mode": "categorical", "y_col": "tags", "classes": ["b", "a"]},
        {"class_mode": "categorical", "y_col": "tags", "classes": ["a"]},
        {"class_mode": "sparse", "classes": ["1"]},
        {"class_mode": "sparse", "subset": "validation"},
        {"class_mode": "sparse", "subset": "training", "validate_filenames": False},
    ],
    ids=str,
)
def test_tables_give_the_batches_of_keras(theirs, folder, table, given):
    generators = [module.ImageDataGenerator(validation_split=0.3) for module in (ours, theirs)]
    options = {"target_size": SIZE, "seed": 2, "batch_size": 7} | given
    mine, keras = (it.flow_from_dataframe(table, str(folder), **options) for it in generators)
    assert mine.filenames == keras.filenames
    assert mine.filepaths == keras.filepaths
    for name in ("class_indices", "classes"):
        assert getattr(mine, name, None) == getattr(keras, name, None), name
    assert_same_batches(mine, keras)


def test_a_table_is_used_by_position_and_left_as_it_was(folder, table):
    generator, before = ours.ImageDataGenerator(), table.copy()
    batches = []
    for index in (table.index, np.arange(1, len(table) + 1), table["filename"]):
        frame = table.set_index(pd.Index(index))
        batches.append(next(generator.flow_from_dataframe(frame, folder, y_col="tags", classes=["a"], seed=1)))
    for images, labels in batches[1:]:
        np.testing.assert_array_equal(images, batches[0][0])
        np.testing.assert_array_equal(labels, batches[0][1])
    pd.testing.assert_frame_equal(table, before)


def test_absolute_paths_and_no_generator(folder, table):
    table["filename"] = [str(folder / name) for name in table["filename"]]
    iterator = ours.DataFrameIterator(table, class_mode=None, target_size=SIZE, shuffle=False)
    image = ours.img_to_array(ours.load_img(table["filename"][0], target_size=SIZE))
    np.testing.assert_array_equal(next(iterator)[0], image)


def test_files_that_are_not_there_are_left_out(folder, table, capsys):
    more = pd.concat([table, pd.DataFrame({"filename": ["gone.png", "class-0/notes.txt"]})])
    with pytest.warns(UserWarning, match=r"^2 image filename\(s\) of `x_col`, 'filename', are missing or have no"):
        iterator = ours.ImageDataGenerator().flow_from_dataframe(more, folder, class_mode=None)
    assert iterator.n == len(table)
    assert capsys.readouterr().out == f"Found {len(table)} validated image filenames.\n"
    ours.ImageDataGenerator().flow_from_dataframe(table, folder, validate_filenames=False)
    assert capsys.readouterr().out == f"Found {len(table)} non-validated image filenames belonging to 2 classes.\n"


@pytest.mark.parametrize(
    ("change", "given", "error", "text"),
    [
        ({}, {"class_mode": "output"}, UsageError, "`class_mode` must be one of None, binary, categorical, input, mul"),
        ({}, {"color_mode": "cmyk"}, UsageError, "`color_mode` must be one of"),
        ({}, {"subset": "foo"}, UsageError, "`subset` must be one of"),
        ({}, {"class_mode": "multi_output", "y_col": "angle"}, TypeError, "`y_col` must be a list with class_mode="),
        ({}, {"x_col": ["filename"]}, TypeError, "All values of `x_col`, .'filename'., must be strings"),
        ({}, {"x_col": ["filename"], "class_mode": None}, TypeError, "All values of `x_col`, .'filename'., must be st"),
        ({}, {"y_col": ["class"], "class_mode": "sparse"}, TypeError, "All values of `y_col`, .'class'., must be stri"),
        ({}, {"y_col": ["class"], "class_mode": "binary"}, TypeError, "All values of `y_col`, .'class'., must be stri"),
        ({}, {"y_col": ["class"]}, TypeError, "All values of `y_col`, .'class'., must be strings, lists or tuples"),
        ({"filename": 3}, {}, TypeError, "All values of `x_col`, 'filename', must be strings"),
        ({"class": 3}, {"class_mode": "sparse"}, TypeError, "All values of `y_col`, 'class', must be strings with"),
        ({"class": 3}, {}, TypeError, "All values of `y_col`, 'class', must be strings, lists or tuples"),
        ({"class": "a"}, {"class_mode": "binary"}, UsageError, "there must be 2 classes, not 1"),
        ({}, {"class_mode": "binary", "classes": ["0", "1", "2"]}, UsageError, "there must be 2 classes, not 3"),
        ({"weight": "heavy"}, {"weight_col": "weight"}, TypeError, "All values of `weight_col`, 'weight', must be num"),
    ],
    ids=str,
)
def test_tables_that_are_refused(theirs, folder, table, change, given, error, text):
    with pytest.raises(error, match=text):
        ours.ImageDataGenerator().flow_from_dataframe(table.assign(**change), folder, **given)
    with pytest.raises(TypeError if error is TypeError else ValueError):
        theirs.ImageDataGenerator().flow_from_dataframe(table.assign(**change), folder, **given)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"has_ext": True}, "`has_ext` is deprecated"),
        ({"sort": True}, "`sort` is deprecated"),
        ({"drop_duplicates": True}, "`drop_duplicates` is deprecated"),
        ({"class_mode": "other", "y_col": "angle"}, 'class_mode="other" is deprecated, use "raw"'),
    ],
)
def test_what_is_deprecated_still_works(folder, table, given, text):
    with pytest.warns(DeprecationWarning, match=text):
        iterator = ours.ImageDataGenerator().flow_from_dataframe(table, folder, **given)
    assert iterator.n == len(table)
    with pytest.warns(UserWarning, match="`classes` is ignored with class_mode='raw'"):
        ours.ImageDataGenerator().flow_from_dataframe(table, folder, y_col="angle", class_mode="raw", classes=["0"])


def test_another_thread_may_ask_for_the_images_at_any_moment():
    class Disturbed(ours.NumpyArrayIterator):
        def __getattribute__(self, name):
            found = super().__getattribute__(name)
            if name == "_bytes" and found is not None:  # what the other thread leaves behind
                self._x, self._bytes = found.astype(np.float32), None
            return found

    images = arrays().astype(np.uint8)
    for changes in ({}, {"rotation_range": 20}):
        for ask in (lambda iterator: next(iterator), lambda iterator: iterator.x):
            alone, disturbed = (ours.ImageDataGenerator(**changes).flow(images, seed=1) for _ in range(2))
            disturbed.__class__ = Disturbed
            assert np.array_equal(ask(disturbed), ask(alone))
