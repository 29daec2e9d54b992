"""Preprocessing: what lands where on the canvas, normalization, and the stored numbers."""

import json
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from tenfold.errors import DataError, UsageError
from tenfold.images.preprocess import FITS, Preprocessing
from tenfold.images.resize import resize

PLAIN = Preprocessing(
    channels="rgb",
    size=32,
    canvas=40,
    fit="squash",
    filter="triangle",
    background=7,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
)
GREY = replace(PLAIN, channels="grey", mean=(0.5,), std=(0.2,))
SHAPES = [(90, 130), (130, 90), (64, 64), (20, 33), (41, 40), (40, 40)]


def prepare_block(preprocessing, shape, box):
    """Where a white block x1, y1, x2, y2 on black lands: the edges told from the canvas, and from the affine map."""
    x1, y1, x2, y2 = box
    image = np.zeros((*shape, 1), np.uint8)
    image[y1:y2, x1:x2] = 255
    canvas, affine = preprocessing.prepare(image)
    weight = canvas[..., 0].astype(float) / 255
    columns, rows = weight.max(0), weight.max(1)  # coverage of each column and row, fractional at the edges
    centers = np.arange(preprocessing.canvas) + 0.5
    seen = (columns @ centers / columns.sum(), rows @ centers / rows.sum(), columns.sum(), rows.sum())
    (left, top), (right, bottom) = (affine @ (x1, y1, 1), affine @ (x2, y2, 1))
    told = ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    return seen, told


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_affine_map_says_where_a_block_lands(shape, fit):
    height, width = shape
    middle_y, middle_x, half = height // 2, width // 2, min(shape) // 4
    box = (middle_x - half, middle_y - half + 2, middle_x + half - 1, middle_y + half)
    seen, told = prepare_block(replace(GREY, fit=fit, background=0), shape, box)
    np.testing.assert_allclose(seen, told, atol=0.12)  # pixels


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_affine_maps_are_exact(shape, fit):
    height, width = shape
    _, affine = replace(GREY, fit=fit).prepare(np.zeros((*shape, 1), np.uint8))
    corners = affine @ np.array([(0, 0, 1), (width, height, 1)]).T
    side = 40
    if fit == "squash":
        expected = [(0, 0), (side, side)]
    elif fit == "crop":  # the middle square of whole pixels becomes the canvas
        short = min(shape)
        left, top = (width - short) // 2, (height - short) // 2
        expected = [(-left, -top), (width - left, height - top)]
        expected = np.array(expected) * side / short
    else:  # whole pixels of the canvas hold the image
        columns, rows = (max(round(length * side / max(shape)), 1) for length in (width, height))
        left, top = (side - columns) // 2, (side - rows) // 2
        expected = [(left, top), (left + columns, top + rows)]
    np.testing.assert_allclose(corners.T, expected, atol=1e-4)
    assert affine.dtype == np.float32


def test_squash_and_crop_are_plain_resizes():
    image = np.random.default_rng(0).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    np.testing.assert_array_equal(PLAIN.prepare(image)[0], resize(image, 40, 40))
    np.testing.assert_array_equal(replace(PLAIN, fit="crop").prepare(image)[0], resize(image[:, 10:60], 40, 40))


def test_pad_surrounds_with_the_background():
    image = np.full((10, 20, 3), 200, np.uint8)
    canvas, _ = replace(PLAIN, fit="pad").prepare(image)
    assert (canvas[10:30] == 200).all()
    assert (canvas[:10] == 7).all()
    assert (canvas[30:] == 7).all()
    thin, _ = replace(PLAIN, fit="pad").prepare(np.full((1, 500, 3), 200, np.uint8))
    assert (thin == 200).sum() == 40 * 3  # at least one row is left of it


def test_prepare_refuses_other_channels():
    with pytest.raises(UsageError, match=r"^prepare needs an image \[H, W, 1\] for grey, not \[5, 5, 3\]; decode it"):
        GREY.prepare(np.zeros((5, 5, 3), np.uint8))


def test_center_is_a_view_and_moves_the_map():
    canvases = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    centers = PLAIN.center(canvases)
    assert np.shares_memory(centers, canvases)
    np.testing.assert_array_equal(centers, canvases[:, 4:36, 4:36])
    affine = np.random.default_rng(1).random((3, 2, 3)).astype(np.float32)
    moved = PLAIN.center_affine(affine)
    point = np.array([3.0, 5.0, 1.0])
    np.testing.assert_allclose(moved @ point, affine @ point - 4, atol=1e-5)
    assert moved.dtype == np.float32
    odd = replace(PLAIN, size=31)
    np.testing.assert_array_equal(odd.center(canvases), canvases[:, 4:35, 4:35])


@pytest.mark.parametrize("preprocessing", [PLAIN, GREY], ids=["rgb", "grey"])
def test_normalize_is_the_formula_channels_last(preprocessing):
    count = len(preprocessing.mean)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 6, 5, count), dtype=np.uint8))
    result = preprocessing.normalize(pixels)
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    truth = ((pixels.numpy() / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.numpy(), truth, rtol=1e-5, atol=1e-6)
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_normalize_takes_a_view_and_leaves_it():
    canvases = np.random.default_rng(0).integers(0, 256, (2, 40, 40, 3), dtype=np.uint8)
    before = canvases.copy()
    view = PLAIN.center(canvases)
    torch.testing.assert_close(
        PLAIN.normalize(torch.from_numpy(view)), PLAIN.normalize(torch.from_numpy(np.ascontiguousarray(view)))
    )
    np.testing.assert_array_equal(canvases, before)


def test_json_there_and_back():
    stored = json.loads(json.dumps(PLAIN.to_json()))
    assert Preprocessing.from_json(stored) == PLAIN
    assert stored["sixteen_bit_divisor"] == 256


def test_frozen():
    with pytest.raises(FrozenInstanceError):
        PLAIN.size = 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"channels": "gray"},
            "preprocessing.channels must be one of grey, rgb, bgr, not 'gray'; did you mean 'grey'?",
        ),
        ({"channels": "hsv"}, "preprocessing.channels must be one of grey, rgb, bgr, not 'hsv'."),
        ({"filter": "box"}, "preprocessing.filter must be one of triangle, cubic, not 'box'."),
        ({"canvas": 31}, "preprocessing.canvas must be from 32 to 8192, not 31."),
        ({"size": 0}, "preprocessing.size must be from 1 to 8192, not 0."),
        ({"background": 256}, "preprocessing.background must be from 0 to 255, not 256."),
        ({"mean": (0.5,)}, "preprocessing.mean must be 3 finite numbers for rgb, not (0.5,)."),
        ({"mean": (0.5, float("nan"), 0)}, "preprocessing.mean must be 3 finite numbers for rgb, not (0.5, nan, 0)."),
        ({"std": (0.2, 0.0, 0.3)}, "preprocessing.std must be above 0 in every channel, not (0.2, 0.0, 0.3)."),
        ({"sixteen_bit_divisor": 257}, "preprocessing.sixteen_bit_divisor must be 256, not 257."),
    ],
)
def test_impossible_numbers_are_refused(change, message):
    with pytest.raises(UsageError) as caught:
        replace(PLAIN, **change)
    assert str(caught.value) == message
    with pytest.raises(DataError) as caught:
        Preprocessing.from_json(PLAIN.to_json() | {name: listed(value) for name, value in change.items()})
    assert str(caught.value) == f"The stored preprocessing cannot be used: {message}"


def listed(value):
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ([1], "must be a JSON object, not [1]."),
        ({"size": "32"}, "'s size must be of type int, not '32'."),
        ({"size": True}, "'s size must be of type int, not True."),
        ({"fit": 3}, "'s fit must be of type str, not 3."),
        ({"mean": [1, "x", 3]}, "'s mean must be of type list, not [1, 'x', 3]."),
        ({"median": 1}, "see median."),
    ],
)
def test_damaged_json_is_refused(stored, message):
    damaged = PLAIN.to_json() | stored if isinstance(stored, dict) else stored
    with pytest.raises(DataError) as caught:
        Preprocessing.from_json(damaged)
    assert str(caught.value).startswith("The stored preprocessing")
    assert str(caught.value).endswith(message)


def test_a_missing_field_is_named():
    stored = PLAIN.to_json()
    del stored["canvas"]
    with pytest.raises(DataError, match=r"see canvas\.$"):
        Preprocessing.from_json(stored)


def test_geometry_holds_what_the_canvas_depends_on_and_no_more():
    image = np.random.default_rng(0).integers(0, 256, (50, 71, 3), dtype=np.uint8)
    same = [{"size": 30}, {"mean": (0.1, 0.1, 0.1)}, {"std": (1.0, 1.0, 1.0)}, {"origin": "the training part"}]
    other = [{"canvas": 48}, {"fit": "crop"}, {"fit": "pad"}, {"filter": "cubic"}]
    for change in same:
        assert replace(PLAIN, **change).geometry() == PLAIN.geometry()
        np.testing.assert_array_equal(replace(PLAIN, **change).prepare(image)[0], PLAIN.prepare(image)[0])
    for change in [*other, {"background": 0}, {"channels": "bgr"}]:
        assert replace(PLAIN, **change).geometry() != PLAIN.geometry()
    json.dumps(PLAIN.geometry())
