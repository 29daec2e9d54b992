"""The fused pass against a slow oracle in float64, one pixel after the other, and against scipy.ndimage."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage

from tenfold.augment.kernel import FILLS, INTERPOLATIONS, recolor, recolor_bytes, warp, warp_normalized
from tenfold.errors import UsageError

SIZES = [((9, 7), (6, 11)), ((1, 8), (5, 3)), ((8, 1), (3, 5)), ((1, 1), (4, 4)), ((40, 30), (17, 19))]
SCIPY = {  # ours -> scipy's
    "nearest": "nearest",
    "constant": "grid-constant",
    "reflect": "reflect",
    "wrap": "grid-wrap",
    "wrap-scipy": "wrap",
}


def make_images(dtype, count, height, width, channels):
    values = np.random.default_rng(height * 100 + width).integers(0, 256, (count, height, width, channels))
    return values.astype(dtype)


def make_matrices(source, size, perspective=False):
    """Turned, sheared, zoomed, flipped and shifted about the center; the last one looks at nothing of the image."""
    (H, W), (h, w) = source, size
    draw = np.random.default_rng(H + 10 * W)
    matrices = np.zeros((4, 3, 3))
    for matrix in matrices:
        linear = np.diag([W / w, H / h]) @ (np.eye(2) + draw.uniform(-0.4, 0.4, (2, 2)))
        shift = np.array([W, H]) * (0.5 + draw.uniform(-0.4, 0.4, 2)) - linear @ [w / 2, h / 2]
        matrix[:2] = np.column_stack([linear, shift])
        matrix[2] = [*draw.uniform(-0.3, 0.3, 2) / (w, h), 1] if perspective else [0, 0, 1]
    matrices[1] = [[-W / w, 0, W + 0.3], [0, 0.8 * H / h, 0.1], [0, 0, 1]]  # rows stay rows
    matrices[3, :2, 2] += (7.3 * W, -5.4 * H)
    return matrices


def stand_in(place, length, fill):
    """The pixel that stands for the one at `place`, or None for the constant."""
    if 0 <= place < length:
        return place
    if fill == "nearest":
        return min(max(place, 0), length - 1)
    if fill == "reflect":
        return (list(range(length)) + list(range(length))[::-1])[place % (2 * length)]
    if fill == "wrap":
        return place % length
    return place % max(length - 1, 1) if fill == "wrap-scipy" else None


def neighbors(place, length, interpolation, fill):
    """(pixel or None, weight) of each neighbor along one axis."""
    if fill == "wrap-scipy" and length > 1 and not 0 <= place <= length - 1:
        periods = math.floor(place / (length - 1)) if place > 0 else math.ceil(place / (length - 1)) - 1
        place -= periods * (length - 1)
    if interpolation == "nearest":
        return [(stand_in(math.floor(place + 0.5), length, fill), 1.0)]
    reach = 1 if interpolation == "bilinear" else 2
    first = math.floor(place) - reach + 1
    return [(stand_in(i, length, fill), kernel(abs(place - i), reach)) for i in range(first, first + 2 * reach)]


def kernel(x, reach):
    if reach == 1:
        return 1 - x
    a = -0.5  # Keys 1981, equation 15
    return (a + 2) * x**3 - (a + 3) * x**2 + 1 if x < 1 else a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a


def slow_warp(image, matrix, size, interpolation, fill, value=0.0):
    H, W, C = image.shape
    result = np.zeros((*size, C))
    for y, x in np.ndindex(*size):
        across, down, depth = matrix @ [x + 0.5, y + 0.5, 1]
        for row, row_weight in neighbors(down / depth - 0.5, H, interpolation, fill):
            for column, weight in neighbors(across / depth - 0.5, W, interpolation, fill):
                inside = row is not None and column is not None
                result[y, x] += row_weight * weight * (image[row, column] if inside else np.asarray(value))
    return result


def assert_rounded(result, truth):
    """Equal to the rounded truth, but where that is within 1e-3 of a half."""
    clear = np.abs(truth - np.floor(truth) - 0.5) > 1e-3
    rounded = np.clip(np.floor(truth + 0.5), 0, 255)
    np.testing.assert_array_equal(result[clear], rounded[clear])
    assert np.abs(result - rounded).max() <= 1


@pytest.mark.parametrize("perspective", [False, True], ids=["affine", "perspective"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("fill", FILLS)
def test_it_is_what_the_oracle_gives(fill, interpolation, perspective):
    for number, (source, size) in enumerate(SIZES[: 4 if interpolation == "bicubic" else 5]):
        channels = number % 4 + 1
        value = np.arange(channels) * 40.0 + 3
        matrices = make_matrices(source, size, perspective)
        images = make_images(np.uint8, 4, *source, channels)
        options = {"interpolation": interpolation, "fill": fill, "value": value}
        in_bytes = warp(images, matrices, size, **options)
        in_floats = warp(images.astype(np.float32), matrices, size, **options)
        assert in_bytes.dtype == np.uint8
        assert in_floats.dtype == np.float32
        for n in range(4):
            truth = slow_warp(images[n], matrices[n], size, interpolation, fill, value)
            np.testing.assert_allclose(in_floats[n], truth, atol=2e-3)
            assert_rounded(in_bytes[n], truth)


def test_a_photo_differs_from_the_oracle_in_next_to_no_byte():
    images = make_images(np.uint8, 1, 60, 50, 3)
    matrix = make_matrices((60, 50), (50, 60))[:1]
    truth = np.floor(slow_warp(images[0], matrix[0], (50, 60), "bilinear", "reflect") + 0.5)
    assert (warp(images, matrix, (50, 60))[0] == truth).mean() > 0.999


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("fill", FILLS)
def test_it_is_what_scipy_gives(fill, order):
    source, size = (23, 31), (29, 20)
    images = make_images(np.float32, 4, *source, 2)
    for matrices in (make_matrices(source, size), np.tile(shift(-20, 45), (4, 1, 1))):
        result = warp(images, matrices, size, interpolation=("nearest", "bilinear")[order], fill=fill, value=7)
        for image, matrix, ours in zip(images, matrices, result, strict=True):
            swapped = matrix[[1, 0, 2]][:, [1, 0, 2]]
            offset = swapped[:2, :2].sum(1) / 2 + swapped[:2, 2] - 0.5
            for c in range(2):
                theirs = ndimage.affine_transform(
                    image[..., c], swapped[:2, :2], offset, size, order=order, mode=SCIPY[fill], cval=7
                )
                np.testing.assert_allclose(ours[..., c], theirs, atol=2e-3)


def shift(right, down):
    return np.array([[1.0, 0, right], [0, 1, down], [0, 0, 1]])


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_identity_changes_no_bit(dtype, channels, fill, interpolation):
    images = make_images(dtype, 2, 19, 300, channels)
    matrices = np.tile(np.eye(3), (2, 1, 1))
    matrices[1] *= 2  # the same map
    result = warp(images, matrices, (19, 300), interpolation=interpolation, fill=fill)
    np.testing.assert_array_equal(result, images)


def test_a_matrix_that_keeps_rows_rows_gives_what_any_other_gives():
    images = make_images(np.float32, 3, 40, 600, 3)
    matrices = np.tile(np.diag([0.7, 0.9, 1.0]), (3, 1, 1))
    matrices[1] = [[-1.3, 0, 620], [0, -0.4, 37], [0, 0, 1]]
    matrices[2, :2, 2] = (30, -12)
    turned = matrices.copy()
    turned[:, 0, 1] = turned[:, 1, 0] = 1e-12
    for fill in FILLS:
        straight, general = (warp(images, each, (50, 520), fill=fill) for each in (matrices, turned))
        np.testing.assert_allclose(straight, general, atol=1e-3)


def make_color(count, outputs, channels):
    color = np.random.default_rng(3).normal(size=(count, outputs, channels + 1)).astype(np.float32)
    color[..., channels] *= 50
    return color


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize(("channels", "outputs"), [(3, 3), (1, 1), (3, 1), (1, 3), (4, 1), (4, 2), (2, 4)])
def test_color_is_the_map_of_what_was_interpolated(channels, outputs, layout):
    images, color = make_images(np.uint8, 4, 21, 33, channels), make_color(4, outputs, channels)
    matrices = make_matrices((21, 33), (30, 27))
    plain = warp(images.astype(np.float32), matrices, (30, 27), fill="constant", value=9)
    truth = np.einsum("nkc,nhwc->nhwk", color[..., :-1].astype(float), plain) + color[:, None, None, :, -1]
    result = warp_normalized(images, matrices, (30, 27), color, fill="constant", value=9, layout=layout)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result if layout == "NHWC" else result.transpose(0, 2, 3, 1), truth, atol=5e-3)


@pytest.mark.parametrize(("channels", "outputs"), [(3, 3), (1, 1), (3, 1), (4, 3)])
def test_recolor_is_the_map_alone(channels, outputs):
    images, color = make_images(np.uint8, 3, 17, 41, channels), make_color(3, outputs, channels)
    truth = np.einsum("nkc,nhwc->nhwk", color[..., :-1].astype(float), images) + color[:, None, None, :, -1]
    np.testing.assert_allclose(recolor(images, color), truth, atol=1e-3)
    np.testing.assert_array_equal(recolor(images, color, layout="NCHW"), recolor(images, color).transpose(0, 3, 1, 2))
    assert_rounded(recolor_bytes(images, color), truth)


def test_threads_out_and_views_change_nothing():
    images = make_images(np.uint8, 7, 24, 24, 3)
    matrices, color = np.concatenate([make_matrices((24, 24), (20, 28))] * 2)[:7], make_color(7, 3, 3)
    calls = {
        "warp": lambda images, **options: warp(images, matrices, (20, 28), **options),
        "warp_normalized": lambda images, **options: warp_normalized(images, matrices, (20, 28), color, **options),
        "recolor": lambda images, **options: recolor(images, color, **options),
        "recolor_bytes": lambda images, **options: recolor_bytes(images, color, **options),
    }
    wide = np.zeros((7, 24, 48, 3), np.uint8)
    wide[:, :, ::2] = images
    for call in calls.values():
        alone = call(images)
        np.testing.assert_array_equal(call(images, threads=3), alone)
        np.testing.assert_array_equal(call(wide[:, :, ::2], threads=2), alone)
        space = np.full_like(alone, 99)
        assert call(images, out=space) is space
        np.testing.assert_array_equal(space, alone)


@pytest.mark.parametrize("fill", FILLS)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_no_matrix_reaches_outside_of_memory(interpolation, fill):
    images = np.full((6, 5, 6, 3), 200, np.uint8)
    matrices = np.tile(np.eye(3), (6, 1, 1))
    matrices[0] *= 1e300
    matrices[1, :2] = 1e308
    matrices[2, 2] = [1, -1, 0]  # the horizon crosses the image
    matrices[3, 2] = 0
    matrices[4, :2, :2] = 1e17
    matrices[5, :2] = [[-1e300, 1e300, 0], [1e300, -1e300, 1e300]]
    result = warp(images, matrices, (7, 7), interpolation=interpolation, fill=fill, value=200)
    assert (result == 200).all()


PLAIN = """
import numpy as np
from tenfold.augment.kernel import recolor, warp, warp_normalized

general = [[0.9, 0.2, -1], [-0.1, 0.8, 2], [0, 0, 1]]
aligned = [[-0.8, 0, 9.5], [0, 1.3, -1], [0, 0, 1]]
matrices = np.array([general, aligned], np.float64)
for channels in (1, 2, 3, 4):
    images = np.arange(2 * 9 * 10 * channels).reshape(2, 9, 10, channels).astype(np.uint8)
    for interpolation in ("nearest", "bilinear", "bicubic"):
        warp(images.astype(np.float32), matrices, (3, 100), interpolation=interpolation, fill="constant")
        for outputs in (1, 5):
            color = np.ones((2, outputs, channels + 1), np.float32)
            warp_normalized(images, matrices, (3, 100), color, interpolation=interpolation, fill="wrap")
    recolor(np.resize(images, (1, 3, 100, channels)), color[:1], layout="NCHW")
print("within")
"""
"""More pixels than a block, twice: compiled code looks at no bounds, so it is run as Python, where NumPy does."""


def test_no_index_leaves_its_array():
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", PLAIN], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("within\n", "")


def test_errors_say_what_is_allowed():
    images, matrices, color = np.zeros((2, 4, 5, 3), np.uint8), np.zeros((2, 3, 3)), np.zeros((2, 3, 4), np.float32)
    matrices[:] = np.eye(3)
    with pytest.raises(
        UsageError, match=r"^images must be uint8 or float32 \[N, H, W, C\].*, not float64 \[2, 4, 5, 3"
    ):
        warp(images.astype(float), matrices, (4, 4))
    with pytest.raises(UsageError, match=r"^images must be uint8 \[N, H, W, C\] with C from 1 to 4 .*, not float32 \["):
        recolor(images.astype(np.float32), color)
    with pytest.raises(UsageError, match=r"^images must be .*, not uint8 \[4, 5, 3\]\.$"):
        warp(images[0], matrices, (4, 4))
    with pytest.raises(UsageError, match=r"^matrices must be float64 \[2, 3, 3\], one an image, not \[1, 3, 3\]\.$"):
        warp(images, matrices[:1], (4, 4))
    with pytest.raises(UsageError, match=r"^matrices must be finite numbers, but some are infinite or NaN\.$"):
        warp(images, matrices * np.nan, (4, 4))
    with pytest.raises(
        UsageError, match=r"^interpolation must be one of nearest, bilinear, bicubic, not 'bicubik'; did"
    ):
        warp(images, matrices, (4, 4), interpolation="bicubik")
    with pytest.raises(UsageError, match=r"^fill must be one of nearest, .*, not 'wrapp'; did you mean 'wrap'"):
        warp(images, matrices, (4, 4), fill="wrapp")
    with pytest.raises(
        UsageError, match=r"^value must be one finite number or one for each of 3 channels, not \[1, 2\]"
    ):
        warp(images, matrices, (4, 4), value=[1, 2])
    with pytest.raises(UsageError, match=r"^value must be from 0 to 255 for uint8 images, not 256\.$"):
        warp(images, matrices, (4, 4), value=256)
    with pytest.raises(UsageError, match=r"^size must be a height and a width of at least 1 pixel, not \(0, 4\)\.$"):
        warp(images, matrices, (0, 4))
    with pytest.raises(UsageError, match=r"^color must be float32 \[2, K, 4\], .*, not \[2, 3, 3\]\.$"):
        recolor(images, color[..., :3])
    with pytest.raises(UsageError, match=r"^layout must be one of NHWC, NCHW, not 'NHCW'; did you mean"):
        recolor(images, color, layout="NHCW")
    with pytest.raises(
        UsageError, match=r"^out must be a writeable, C-contiguous uint8 \[2, 4, 4, 3\], not float32 \[2"
    ):
        warp(images, matrices, (4, 4), out=np.zeros((2, 4, 4, 3), np.float32))
    with pytest.raises(UsageError, match=r"^threads must be at least 1, not 0\.$"):
        warp(images, matrices, (4, 4), threads=0)
