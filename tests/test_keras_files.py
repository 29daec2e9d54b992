"""Image files and arrays in `tenfold.keras`, beside Keras 3."""

import io
import os
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import tenfold.keras as ours
from tenfold.errors import UsageError


@pytest.fixture
def theirs(theirs: ModuleType) -> ModuleType:
    """What it has for files and arrays."""
    return theirs.image_utils


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).uniform(-20, 300, shape)


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first", None])
@pytest.mark.parametrize("scale", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_arrays_become_the_images_of_keras_and_come_back(theirs, channels, scale, data_format):
    array = np.clip(noise(10, 8, channels), 0, 255) if not scale else noise(10, 8, channels)
    if data_format == "channels_first":
        array = array.transpose(2, 0, 1)
    image, expected = ours.array_to_img(array, data_format, scale), theirs.array_to_img(array, data_format, scale)
    assert (image.mode, image.size) == (expected.mode, expected.size)
    np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))
    np.testing.assert_array_equal(ours.img_to_array(image, data_format), theirs.img_to_array(image, data_format))


@pytest.mark.parametrize("dtype", ["int16", "int32"])
def test_grey_of_many_bits_survives_a_file(tmp_path, dtype):
    limits = np.iinfo(dtype)
    array = np.random.default_rng(0).integers(limits.min, limits.max, (30, 20, 1), dtype)
    path = tmp_path / "grey.tiff"
    ours.array_to_img(array, scale=False, dtype=dtype).save(path)
    image = ours.load_img(path, color_mode="grayscale")
    np.testing.assert_array_equal(ours.img_to_array(image, dtype=dtype), array)
    assert ours.load_img(path, color_mode="grayscale", target_size=(5, 6)).size == (6, 5)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
@pytest.mark.parametrize("color_mode", ["rgb", "rgba", "grayscale"])
def test_files_are_read_as_by_keras(theirs, tmp_path, color_mode, interpolation, keep):
    path = tmp_path / "image.png"
    Image.fromarray(noise(30, 41, 4).astype(np.uint8)).save(path)
    for target_size in (None, (30, 41), (12, 9), (50, 70)):
        given = {"target_size": target_size, "interpolation": interpolation, "keep_aspect_ratio": keep}
        expected = theirs.load_img(path, color_mode, **given)
        image = ours.load_img(str(path), color_mode=color_mode, **given)
        assert image.mode == expected.mode
        np.testing.assert_array_equal(np.asarray(image), np.asarray(expected))


def test_a_path_may_be_bytes_or_a_file_in_memory_and_files_are_closed(tmp_path):
    path = tmp_path / "image.png"
    ours.save_img(path, noise(6, 5, 3))
    expected = np.asarray(ours.load_img(path))
    np.testing.assert_array_equal(np.asarray(ours.load_img(os.fsencode(path))), expected)
    np.testing.assert_array_equal(np.asarray(ours.load_img(io.BytesIO(path.read_bytes()))), expected)
    path.unlink()  # and what was read stays
    with pytest.raises(TypeError, match="`path` must be a path"):
        ours.load_img(3)


def test_files_are_written_in_the_format_that_is_asked_for(tmp_path):
    ours.save_img(tmp_path / "a.jpg", noise(6, 5, 3))
    ours.save_img(str(tmp_path / "b"), noise(6, 5, 3), file_format="bmp")
    ours.save_img(tmp_path / "c.png", noise(3, 6, 5), data_format="channels_first", scale=True)
    with pytest.warns(UserWarning, match="JPEG has no alpha channel"):
        ours.save_img(tmp_path / "d.jpg", noise(6, 5, 4), quality=90)
    held = io.BytesIO()
    ours.save_img(held, noise(6, 5, 1), file_format="png")
    files = [tmp_path / name for name in ("a.jpg", "b", "c.png", "d.jpg")]
    for file, written in zip([*files, held], ["JPEG", "BMP", "PNG", "JPEG", "PNG"], strict=True):
        with Image.open(file) as image:
            assert (image.format, image.size) == (written, (5, 6))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: ours.array_to_img(np.zeros((4, 4))), r"`x` must have rank 3, one image, not the shape \(4, 4\)"),
        (lambda: ours.array_to_img(np.zeros((4, 4, 5))), "`x` must have 1, 3 or 4 channels, not 5"),
        (lambda: ours.array_to_img(np.zeros((4, 4, 3)), "channels"), "`data_format` must be one of"),
        (lambda: ours.img_to_array(np.zeros((4, 4, 3)), "channels"), "`data_format` must be one of"),
        (lambda: ours.img_to_array(np.zeros((4, 4, 3, 2))), "`img` must have two or three axes, not the shape"),
    ],
)
def test_arrays_that_are_refused(call, text):
    with pytest.raises(UsageError, match=text):
        call()


def test_ways_to_read_that_are_refused_or_deprecated(tmp_path):
    path = tmp_path / "image.png"
    ours.save_img(path, noise(6, 5, 3))
    ours.load_img(path, interpolation="unsupported")  # nothing is resized
    with pytest.raises(UsageError, match="`interpolation` must be one of nearest, bilinear, bicubic"):
        ours.load_img(path, target_size=(3, 3), interpolation="unsupported")
    with pytest.raises(UsageError, match="`color_mode` must be one of rgb, rgba, grayscale, not 'cmyk'"):
        ours.load_img(path, color_mode="cmyk")
    with pytest.warns(UserWarning, match="`grayscale` is deprecated"):
        assert ours.load_img(path, grayscale=True).mode == "L"


def test_which_files_are_images(tmp_path):
    names = ["a.png", "b.JPG", "c-1.jpeg", "2.bmp", "d.ppm", "e.tif", "f.tiff", "g.gif", "h.txt", "png"]
    for place in (tmp_path, tmp_path / "below"):
        place.mkdir(exist_ok=True)
        for name in names:
            (place / name).touch()
    assert len(ours.list_pictures(tmp_path)) == 14
    assert {os.path.basename(path) for path in ours.list_pictures(str(tmp_path), ext="png")} == {"a.png"}  # noqa: PTH119
    assert len(ours.list_pictures(tmp_path, ext=("gif", "txt"))) == 4
    assert ours.validate_filename(str(tmp_path / "b.JPG"), ("jpg", "png"))
    assert not ours.validate_filename(str(tmp_path / "h.txt"), ("jpg", "png"))
    assert not ours.validate_filename(str(tmp_path / "missing.png"), ("jpg", "png"))
