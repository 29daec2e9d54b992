"""What Keras 3 refuses is refused with an error of the same type, in a sentence; what it lets pass, passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tenfold.keras as ours

pytestmark = pytest.mark.filterwarnings("ignore:Please import `affine_transform`:DeprecationWarning")  # Keras itself

PHOTO = np.random.default_rng(0).uniform(0, 255, (12, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("images")
    (root / "roses").mkdir()
    for number in range(3):
        Image.fromarray(PHOTO.astype(np.uint8)).save(root / "roses" / f"{number}.png")
    return root


SETTINGS = [
    (
        {"fill_mode": "refl", "rotation_range": 20},
        RuntimeError,
        "`fill_mode` must be one of nearest, .*did you mean",
    ),
    (
        {"interpolation_order": 9, "rotation_range": 20},
        RuntimeError,
        "`interpolation_order` must be from 0 to 5",
    ),
    ({"rotation_range": (5, 10)}, TypeError, r"`rotation_range` must be a number, not \(5, 10\)"),
    ({"rotation_range": "20"}, TypeError, "`rotation_range` must be a number, not '20'"),
    ({"shear_range": [5]}, TypeError, r"`shear_range` must be a number, not \[5\]"),
    ({"channel_shift_range": (5, 10)}, TypeError, r"`channel_shift_range` must be a number, not \(5, 10\)"),
    ({"width_shift_range": "0.2"}, TypeError, "`width_shift_range` must be a number or a list of them, not '0.2'"),
    ({"height_shift_range": {"a": 1}}, TypeError, "`height_shift_range` must be a number or a list of them, not {'a'"),
]


@pytest.mark.parametrize(("settings", "error", "sentence"), SETTINGS, ids=str)
def test_settings_are_refused_where_keras_refuses_them(theirs: Any, settings: Any, error: Any, sentence: str) -> None:
    for module, text in ((ours, "^" + sentence), (theirs, None)):
        generator = module.ImageDataGenerator(**settings)  # neither looks at them before they are used
        with pytest.raises(error, match=text):
            generator.random_transform(PHOTO)


def test_a_size_is_two_numbers(theirs: Any, folder: Path) -> None:
    table = pd.DataFrame({"filename": ["roses/0.png"], "class": ["roses"]})
    for module, text in ((ours, r"^`target_size` must be two numbers, height and width, not 16\.$"), (theirs, None)):
        with pytest.raises(TypeError, match=text):
            module.ImageDataGenerator().flow_from_directory(str(folder), target_size=16)
        with pytest.raises(TypeError, match=text):
            module.ImageDataGenerator().flow_from_dataframe(table, str(folder), target_size=16)


COLUMNS = [
    {"x_col": "path"},
    {"y_col": "label"},
    {"y_col": "label", "class_mode": "sparse"},
    {"y_col": "label", "class_mode": "raw"},
    {"y_col": ["label", "class"], "class_mode": "raw"},
    {"y_col": ["class", "label"], "class_mode": "multi_output"},
    {"weight_col": "weight"},
]


@pytest.mark.parametrize("given", COLUMNS, ids=str)
def test_columns_that_are_not_there_are_named(theirs: Any, folder: Path, given: Any) -> None:
    table = pd.DataFrame({"filename": ["roses/0.png"], "class": ["roses"]})
    name = next(name for name in given if name != "class_mode")
    text = f"`{name}` must name columns of the table, filename, class, not .*(path|label|weight)"
    for module, match in ((ours, text), (theirs, None)):
        with pytest.raises(KeyError, match=match):
            module.ImageDataGenerator().flow_from_dataframe(table, str(folder), **given)
    for mode in (None, "input"):  # a column that is not used need not be there
        for module in (ours, theirs):
            made = module.ImageDataGenerator().flow_from_dataframe(table, str(folder), y_col="label", class_mode=mode)
            assert made.n == 1


def test_a_folder_that_is_not_there_is_named(theirs: Any, folder: Path) -> None:
    for name, error in (("missing", FileNotFoundError), ("roses/0.png", NotADirectoryError)):
        caught = []
        for module in (ours, theirs):
            with pytest.raises(error) as found:
                module.ImageDataGenerator().flow_from_directory(str(folder / name))
            caught.append(found.value)
        mine, keras = caught
        assert (mine.errno, mine.filename) == (keras.errno, keras.filename)
        assert "`directory` must be a folder that holds one for each class" in str(mine)


def test_what_keras_lets_pass_in_silence_passes(theirs: Any, folder: Path, tmp_path: Path) -> None:
    for module in (ours, theirs):
        generator, how = module.ImageDataGenerator(), {"target_size": (16, 16)}
        named = generator.flow_from_directory(str(folder), classes=["roses", "tulips"], **how)
        assert named.class_indices == {"roses": 0, "tulips": 1}
        assert next(named)[1].tolist() == [[1, 0]] * 3
        nothing = generator.flow_from_directory(str(tmp_path), **how)
        assert (nothing.samples, len(nothing)) == (0, 0)
        assert [next(nothing)[0].shape for _ in range(3)] == [(0, 16, 16, 3)] * 3
        never = generator.flow_from_directory(str(folder), batch_size=0, **how)
        assert [next(never)[0].shape for _ in range(3)] == [(0, 16, 16, 3)] * 3
        with pytest.raises(ZeroDivisionError):
            len(never)
