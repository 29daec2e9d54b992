"""Resize against its formula, written out slowly, and against a graph of two matrix products in ONNX Runtime."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from PIL import Image

from tenfold.errors import UsageError
from tenfold.images.resize import SUPPORT, resize, resize_weights

FILTERS = list(SUPPORT)
SIZES = [(24, 24), (17, 40), (80, 9), (60, 70)]  # smaller, mixed and larger than the 48 x 37 pixels below
EXTREMES = [((1, 1), (9, 5)), ((1, 50), (7, 7)), ((900, 700), (3, 2)), ((5, 8), (5, 3))]


def kernel(x, filter):
    x = abs(x)
    if filter == "triangle":
        return max(0.0, 1 - x)
    a = -0.5  # Keys 1981, equation 15
    if x < 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def slow_weights(length, size, filter):
    scale = length / size
    rows = []
    for i in range(size):
        center = (i + 0.5) * scale
        row = [kernel((j + 0.5 - center) / max(scale, 1), filter) for j in range(length)]
        rows.append([value / sum(row) for value in row])
    return np.array(rows)


def slow_resize(image, height, width, filter):
    values = image.astype(float)
    values = np.einsum("ih,hwc->iwc", slow_weights(image.shape[0], height, filter), values)
    values = np.einsum("jw,iwc->ijc", slow_weights(image.shape[1], width, filter), values)
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)


def hard_images(height=48, width=37, channels=3):
    """Images that resizing finds hard: noise, black and white noise, blocks with sharp edges."""
    draw = np.random.default_rng(5)
    noise = draw.integers(0, 256, (height, width, channels), dtype=np.uint8)
    blocks = np.kron(draw.integers(0, 2, (height // 6 + 1, width // 6 + 1, 1)) * 255, np.ones((6, 6, channels)))
    return [noise, (noise > 127).astype(np.uint8) * np.uint8(255), blocks[:height, :width].astype(np.uint8)]


def assert_close(result, truth):
    assert result.shape == truth.shape
    assert result.dtype == np.uint8
    far = np.abs(result.astype(int) - truth) > 1
    assert far.mean() <= 0.001


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(("length", "size"), [(37, 12), (12, 37), (9, 9), (1, 5), (7, 1), (100, 3)])
def test_weights_are_the_formula(length, size, filter):
    np.testing.assert_allclose(
        resize_weights(length, size, 0, length, filter), slow_weights(length, size, filter), atol=1e-12
    )


@pytest.mark.parametrize("filter", FILTERS)
def test_weights_of_a_cut_see_nothing_outside_it(filter):
    weights = resize_weights(30, 8, 4, 21, filter)
    np.testing.assert_allclose(weights[:, 4:21], slow_weights(17, 8, filter), atol=1e-12)
    assert not weights[:, :4].any()
    assert not weights[:, 21:].any()


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize("size", SIZES)
def test_resize_follows_the_formula(size, filter):
    for image in hard_images():
        assert_close(resize(image, *size, filter), slow_resize(image, *size, filter))


@pytest.mark.parametrize("filter", FILTERS)
def test_resize_follows_the_formula_in_grey(filter):
    for image in hard_images(channels=1):
        result = resize(image, 20, 31, filter)
        assert_close(result, slow_resize(image, 20, 31, filter))


@pytest.mark.parametrize("filter", FILTERS)
@pytest.mark.parametrize(("shape", "size"), EXTREMES)
def test_resize_follows_the_formula_at_extremes(shape, size, filter):
    image = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert_close(resize(image, *size, filter), slow_resize(image, *size, filter))


@pytest.mark.parametrize("filter", FILTERS)
def test_resize_follows_the_formula_on_photos(shared_data, filter):
    for path in sorted((shared_data / "flowers").glob("*/*.jpg"))[::400]:
        image = np.array(Image.open(path).convert("RGB"))
        assert_close(resize(image, 96, 96, filter), slow_resize(image, 96, 96, filter))


@pytest.mark.parametrize("filter", FILTERS)
def test_a_graph_of_two_products_agrees(filter):
    session = onnxruntime.InferenceSession(two_products().SerializeToString())
    for size in SIZES:
        for image in hard_images():
            rows = resize_weights(image.shape[0], size[0], 0, image.shape[0], filter).astype(np.float32)
            columns = resize_weights(image.shape[1], size[1], 0, image.shape[1], filter).astype(np.float32)
            (result,) = session.run(None, {"image": image, "rows": rows, "columns": columns.T})
            assert_close(resize(image, *size, filter), result)
            assert_close(result, slow_resize(image, *size, filter))


def two_products():
    """Graph of image [H, W, C], rows [h, H], columns [W, w] -> uint8 [h, w, C]."""
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["planes"], perm=[2, 0, 1]),
        helper.make_node("MatMul", ["rows", "planes"], ["short"]),
        helper.make_node("MatMul", ["short", "columns"], ["small"]),
        helper.make_node("Add", ["small", "half"], ["raised"]),
        helper.make_node("Floor", ["raised"], ["whole"]),
        helper.make_node("Clip", ["whole", "black", "white"], ["cut"]),
        helper.make_node("Transpose", ["cut"], ["pixels"], perm=[1, 2, 0]),
        helper.make_node("Cast", ["pixels"], ["resized"], to=TensorProto.UINT8),
    ]
    constants = {"half": 0.5, "black": 0.0, "white": 255.0}
    graph = helper.make_graph(
        nodes,
        "resize",
        [
            helper.make_tensor_value_info("image", TensorProto.UINT8, [None, None, None]),
            helper.make_tensor_value_info("rows", TensorProto.FLOAT, [None, None]),
            helper.make_tensor_value_info("columns", TensorProto.FLOAT, [None, None]),
        ],
        [helper.make_tensor_value_info("resized", TensorProto.UINT8, [None, None, None])],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("filter", FILTERS)
def test_a_region_is_resized_as_its_copy(filter):
    image = hard_images(60, 80)[0]
    image.setflags(write=False)  # as a memory-mapped array is
    region = image[5:41, 7:70]
    np.testing.assert_array_equal(resize(region, 20, 20, filter), resize(region.copy(), 20, 20, filter))
    rows, columns = resize_weights(60, 20, 5, 41, filter), resize_weights(80, 20, 7, 70, filter)
    whole = np.einsum("ih,hwc,jw->ijc", rows, image.astype(float), columns)
    assert_close(resize(region, 20, 20, filter), np.clip(np.floor(whole + 0.5), 0, 255).astype(np.uint8))


def test_an_image_of_the_size_already_stays_as_it_is():
    image = hard_images()[0]
    assert resize(image, *image.shape[:2]) is image


@pytest.mark.parametrize("filter", FILTERS)
def test_threads_give_the_same_and_hold_no_lock(filter):
    image = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    alone = resize(image, 600, 700, filter)
    seen, results = [], []

    def work():
        seen.append("begun")
        for _ in range(200):  # on a busy machine the other thread may sleep through the first ones
            results[:] = [resize(image, 600, 700, filter)]
            if "between" in seen:
                break
        seen.append("done")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(600)  # from here on a thread runs only when another gives up the lock by itself
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while "done" not in seen:
            if "begun" in seen:
                seen.append("between")
            time.sleep(0.0005)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert "between" in seen
    np.testing.assert_array_equal(results[0], alone)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in /proc, which only Linux has")
def test_resize_starts_no_threads():
    code = """
import os, numpy, torch
torch.set_num_threads(4)
from tenfold.images.resize import resize
before = len(os.listdir("/proc/self/task"))
image = numpy.zeros((1000, 1200, 3), numpy.uint8)
for view in (image, image[:, 100:1100], image[..., :1]):
    for filter in ("triangle", "cubic"):
        resize(view, 500, 500, filter)
print(len(os.listdir("/proc/self/task")) - before)
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "0"


def test_errors_say_what_is_allowed():
    image = hard_images()[0]
    with pytest.raises(UsageError, match=r"^filter of resize must be one of triangle, cubic, not 'cubik'; did you"):
        resize(image, 4, 4, "cubik")
    with pytest.raises(UsageError, match=r"^resize needs a height and width of at least 1 pixel, not 0 x 4\.$"):
        resize(image, 0, 4)
    with pytest.raises(UsageError, match=r"^resize needs an image uint8 \[H, W, 1 or 3\], not float32 \[48, 37, 3\]"):
        resize(image.astype(np.float32), 4, 4)
    with pytest.raises(UsageError, match=r"^resize_weights needs 0 <= start < stop <= length and size >= 1, not start"):
        resize_weights(10, 4, 5, 5, "triangle")
