"""Augmented images a second, uint8 in and normalized float32 out, against OpenCV, torchvision, Albumentations, Keras.

    python benchmarks/augment.py        about 5 min with all contenders

Each contender that is not installed is left out, and a line says so. For all of them, in an environment of its own:

    uv venv --python 3.11 /tmp/venv-augment
    uv pip install --python /tmp/venv-augment/bin/python -e . torchvision==0.29.1 opencv-python-headless \
        albumentations==2.0.8 keras==3.15.1 kornia==0.9.0
    KERAS_BACKEND=torch /tmp/venv-augment/bin/python benchmarks/augment.py

28 November 2026, AMD EPYC (virtual, Zen 5 with AVX-512, 2 cores), Python 3.11, Numba 0.68.1, OpenCV 5.0.0, nothing
else running, 21 rounds, 1 min 50 s in all: images/s of one thread, and the time over that of ours and of the floor,
medians:

    recipe 1                   32 px                    128 px                   224 px
    tenfold                    128289   1.00   0.93      15968   1.00   0.86       5802   1.00   0.64
    floor: bare cv2 warp       126454   1.08   1.00      13734   1.16   1.00       3709   1.56   1.00
    tenfold Policy              88844   1.48   1.46      15501   1.06   0.89       5643   1.02   0.65
    tenfold, new NCHW array    148075   0.91   0.85      16566   1.00   0.85       5817   1.00   0.64
    cv2 warp, NumPy             56133   2.38   2.28       4907   3.27   2.88       1521   3.79   2.43
    cv2 warp, table             99829   1.31   1.29      10777   1.52   1.24       3037   1.92   1.20
    torch grid_sample           63951   1.97   1.99       2685   6.00   5.44        589   9.84   6.16
    Albumentations              12291   10.6   10.4       5302   3.02   2.65       2247   2.58   1.65
    Kornia                      28544   4.47   4.37       1464   11.0   9.41        350   16.3   10.4
    torchvision                  7174   18.4   17.8       2565   6.42   5.79       1101   5.15   3.33
    torchvision, one draw       62953   2.13   2.11       2632   6.18   5.35        440   13.1   8.11
    Keras                        7223   18.0   17.4        952   16.9   14.4        337   17.2   11.0
    recipe 2
    tenfold                    109870   1.00   1.18      25427   1.00   1.43      12423   1.00   1.17
    floor: cv2 resize, color   130968   0.85   1.00      36598   0.70   1.00      14708   0.85   1.00
    tenfold Policy              83849   1.25   1.57      25753   1.04   1.40      11816   1.03   1.20
    torch grid_sample           57540   1.85   2.29       3635   7.51   9.94        836   14.7   16.3
    Albumentations              12135   9.08   10.6       5301   4.93   7.12       2459   5.04   6.00
    Kornia                      13502   8.14   9.69        829   32.6   46.5        136   87.3   96.5
    torchvision                  2740   40.6   48.6       1042   24.7   36.5        426   29.3   34.6
    torchvision, one draw       16488   6.86   8.39        742   34.5   45.1        158   75.0   79.0

Quartiles of the time of ours over the floor's: recipe 1 0.86 to 1.06, 0.77 to 0.91, 0.62 to 0.66; recipe 2 1.07 to
1.39, 1.25 to 1.53, 1.11 to 1.27.
Recipe 2 at 128 px misses its goal of 1.1 on this processor: OpenCV's resize uses AVX-512 and writes a quarter of the
bytes. Alone, with its output in the caches, ours takes 18 to 28 microseconds an image, in turns 39; the floor 27. On an
EPYC with AVX2, before the kernel was made quicker, it was 1.03 (and 0.90, 0.65, 0.59 in recipe 1), with ours always the
first in a round, which finds the coldest caches.
Two threads over one, recipe 1 at 32, 128, 224 px: ours 0.78, 1.31, 1.55 (quartiles at 224 px 1.13 to 1.75), the bare
warp 0.72, 1.39, 1.76; recipe 2: ours 0.77, 1.19, 1.38, the resize 0.51, 0.90, 1.30. So the goal of 1.8 is missed, by
the floor too: these two cores are a virtual machine's, and memory is shared (Keras 1.9 and Kornia 2.9, which compute
more for each byte). A batch of small images is too little work for a second thread.
First batch of a second process, with the imports of NumPy and Numba, three tries: the kernel 0.37 s (0.36 to 0.39), a
Policy 0.42 (0.42 to 0.44), ImageDataGenerator 0.43 (0.43 to 0.44); 1.9 s where Python may write no .pyc files.
A pixel of recipe 1 is 3 bytes read and 12 written, 0.13 ns at 128 px where memory is copied, 10.4 vector operations and
4 loads; ours takes 3.8 ns there, 31 times the copy (14 at 224 px): arithmetic and the fetching of neighbors bound it.

Recipe 1: rotation 20 degrees, shift 0.1, shear 10, zoom 0.1, horizontal flip, nearest fill, bilinear, normalized.
Recipe 2: a random resized crop (area 0.08 to 1, aspect 3/4 to 4/3, as torchvision's) of an image of the same size,
flip, brightness, contrast and saturation 0.4, hue 0.1, normalized. Ours turns hue in YIQ and stretches contrast about
mid-gray, which keeps colour one matrix; torchvision and Albumentations do it in HSV and about the image's mean.

In each round every contender does the same batch of 64, one after the other in an order drawn anew, so that a busy
moment of the machine and what another one leaves in the caches hit them alike; a ratio is the median over rounds of
two times in the same round. Drawing the parameters is timed for all. Two threads are halves of the batch.
`--clock thread` counts the processor time of one thread, for a busy machine.
The floors do less than the recipe: a bare uint8 warp by the same matrices;
a bare uint8 resize and colour matrix, of the same boxes. "One draw" gives the whole batch the same parameters.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.kernel import warp_normalized
from tenfold.augment.policy import Policy
from tenfold.augment.tree import op
from tenfold.draws import draw_keys, uniforms

BATCH, CHANNELS = 64, 3
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
ROTATION, SHIFT, SHEAR, ZOOM, JITTER, HUE = 20.0, 0.1, 10.0, 0.1, 0.4, 0.1
LUMA = np.array([0.299, 0.587, 0.114])
YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])

Images = NDArray[np.uint8]
CLOCKS = {"wall": time.perf_counter, "thread": time.thread_time}
Contender = Callable[[Images, NDArray[np.uint64]], object]
"""A batch uint8 [N, H, W, 3] and its draw keys uint64 [N] -> something that holds the result."""


def main() -> None:
    options = argparse.ArgumentParser(description="images/s of augmentation")
    options.add_argument("--sizes", type=int, nargs="*", default=[32, 128, 224])
    options.add_argument("--rounds", type=int, default=21)
    options.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    options.add_argument("--recipes", type=int, nargs="*", default=[1, 2])
    options.add_argument("--clock", choices=CLOCKS, default="wall", help="thread: processor time, one thread only")
    asked = options.parse_args()
    if asked.clock == "thread" and asked.threads != [1]:
        options.error("--clock thread needs --threads 1, as it counts one thread's time")
    print(f"{processor()}, {os.cpu_count()} cores; batch {BATCH}; {asked.rounds} rounds; {asked.clock} time")
    first_batch()
    for recipe in asked.recipes:
        for size in asked.sizes:
            contenders = {name: made for name, make in MAKERS[recipe].items() if (made := make(size)) is not None}
            rates = measure(contenders, size, asked.threads, asked.rounds, CLOCKS[asked.clock])
            print(f"\nrecipe {recipe}, {size} px, medians (quartiles): images/s, time / ours, / floor, gain of threads")
            show(rates)
            if recipe == 1:
                show_floor(size, statistics.median(rates["tenfold", asked.threads[0]]))


# The random parameters, as arrays


def affine_matrices(keys: NDArray[np.uint64], size: int) -> NDArray[np.float64]:
    """Recipe 1's maps, output -> input, in pixels with edges at whole numbers: [N, 3, 3]."""
    angle, right, down, shear, zoom_x, zoom_y, mirror = uniforms(keys, 7).T * 2 - 1
    angle, shear = np.deg2rad(ROTATION) * angle, np.deg2rad(SHEAR) * shear
    across, along = (1 + ZOOM * zoom_x) * np.where(mirror < 0, -1, 1), 1 + ZOOM * zoom_y
    matrices = np.zeros((len(keys), 3, 3))
    matrices[:, 0, 0], matrices[:, 0, 1] = np.cos(angle) * across, -np.sin(angle + shear) * along
    matrices[:, 1, 0], matrices[:, 1, 1] = np.sin(angle) * across, np.cos(angle + shear) * along
    shifts = np.stack([right, down], 1) * SHIFT
    matrices[:, :2, 2] = size * (0.5 + shifts - matrices[:, :2, :2].sum(2) / 2)
    matrices[:, 2, 2] = 1
    return matrices


def crop_boxes(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Recipe 2's crops as shares of the image: left, top, width, height, and whether mirrored: [5, N]."""
    area, aspect, left, top, mirror = uniforms(keys, 5).T
    scale, stretch = np.sqrt(0.08 + 0.92 * area), np.exp((2 * aspect - 1) * np.log(4 / 3) / 2)
    width, height = np.minimum(scale * stretch, 1), np.minimum(scale / stretch, 1)
    return np.stack([left * (1 - width), top * (1 - height), width, height, mirror < 0.5])


def crop_matrices(keys: NDArray[np.uint64], size: int) -> NDArray[np.float64]:
    left, top, width, height, mirror = crop_boxes(keys)
    matrices = np.zeros((len(keys), 3, 3))
    matrices[:, 0, 0], matrices[:, 0, 2] = np.where(mirror, -width, width), np.where(mirror, left + width, left) * size
    matrices[:, 1, 1], matrices[:, 1, 2], matrices[:, 2, 2] = height, top * size, 1
    return matrices


def color_maps(keys: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Brightness, contrast and saturation as one matrix and offset, hue a turn in YIQ: [N, 3, 4]."""
    brightness, contrast, saturation, hue = uniforms(keys, 4, 5).T * 2 - 1
    strength = ((1 + JITTER * brightness) * (1 + JITTER * contrast))[:, None, None]
    turn = np.zeros((len(keys), 3, 3))
    turn[:, 0, 0], cos, sin = 1, np.cos(2 * np.pi * HUE * hue), np.sin(2 * np.pi * HUE * hue)
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cos, -sin, sin, cos
    turn[:, 1:] *= (1 + JITTER * saturation)[:, None, None]
    offset = np.broadcast_to((-128 * JITTER * contrast)[:, None, None], (len(keys), 3, 1))
    return np.concatenate([strength * (np.linalg.inv(YIQ) @ turn @ YIQ), offset], 2)


def normalized(color: NDArray[np.float64]) -> NDArray[np.float32]:
    """The colour map, then the normalization, as one."""
    color = color / STD[:, None]
    color[..., 3] -= MEAN / STD
    return color.astype(np.float32)


# The contenders of recipe 1


def ours_1(size: int) -> Contender:
    plain = normalized(np.tile(np.eye(3, 4), (BATCH, 1, 1)))
    space = np.empty((BATCH, size, size, CHANNELS), np.float32)

    def augment(images: Images, keys: NDArray[np.uint64], threads: int = 1) -> object:
        matrices = affine_matrices(keys, size)
        return warp_normalized(images, matrices, (size, size), plain, fill="nearest", threads=threads, out=space)

    return augment


def ours_1_new(size: int) -> Contender:
    plain = normalized(np.tile(np.eye(3, 4), (BATCH, 1, 1)))

    def augment(images: Images, keys: NDArray[np.uint64], threads: int = 1) -> object:
        matrices = affine_matrices(keys, size)
        return warp_normalized(images, matrices, (size, size), plain, fill="nearest", layout="NCHW", threads=threads)

    return augment


def ours_policy(size: int, policy: Policy) -> Contender:
    """The public way: whatever a policy says is drawn, checked and composed, then the same pass."""
    mean, std = (MEAN / 255).tolist(), (STD / 255).tolist()
    space = np.empty((BATCH, size, size, CHANNELS), np.float32)

    def augment(images: Images, keys: NDArray[np.uint64], threads: int = 1) -> object:
        return policy.batch_normalized(images, keys, mean=mean, std=std, threads=threads, out=space)

    return augment


def ours_policy_1(size: int) -> Contender:
    flip, zoom = op("flip", "horizontal", 0.5), op("zoom", {"both": [0, 0], "x": ZOOM, "y": ZOOM})
    ops = (op("rotate", ROTATION), op("shift", SHIFT), op("shear", SHEAR), zoom, flip)
    return ours_policy(size, Policy("recipe 1", ops, fill="nearest"))


def cv2_warps(images: Images, keys: NDArray[np.uint64]) -> list[Images]:
    import cv2

    matrices = affine_matrices(keys, images.shape[1])[:, :2]
    matrices[:, :, 2] += matrices[:, :, :2].sum(2) / 2 - 0.5  # OpenCV's pixels have their centers at whole numbers
    flags, size = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, images.shape[2:0:-1]
    pairs = zip(images, matrices, strict=True)
    return [cv2.warpAffine(image, m, size, flags=flags, borderMode=cv2.BORDER_REPLICATE) for image, m in pairs]


def bare_warp(size: int) -> Contender | None:
    return cv2_warps if opencv() else None


def warp_and_numpy(size: int) -> Contender | None:
    scale, offset = (1 / STD).astype(np.float32), (MEAN / STD).astype(np.float32)
    return (lambda images, keys: [image * scale - offset for image in cv2_warps(images, keys)]) if opencv() else None


def warp_and_table(size: int) -> Contender | None:
    if not opencv():
        return None
    import cv2

    table = ((np.arange(256)[:, None] - MEAN) / STD).astype(np.float32)[None]
    return lambda images, keys: [cv2.LUT(image, table) for image in cv2_warps(images, keys)]


def grid_sample(size: int, recipe: int) -> Contender | None:
    """torch's affine_grid and grid_sample over the whole batch, drawn an image; then its colour map, or the means."""
    if torchvision() is None:
        return None
    import torch
    from torch.nn import functional as F

    plain = normalized(np.tile(np.eye(3, 4), (BATCH, 1, 1)))

    def augment(images: Images, keys: NDArray[np.uint64]) -> object:
        matrices = affine_matrices(keys, size) if recipe == 1 else crop_matrices(keys, size)
        maps = matrices[:, :2].copy()  # to places from -1 to 1
        maps[:, :, 2] = maps[:, :, :2].sum(2) + 2 * maps[:, :, 2] / size - 1
        color = torch.from_numpy(plain[: len(keys)] if recipe == 1 else normalized(color_maps(keys)))
        grid = F.affine_grid(torch.from_numpy(maps.astype(np.float32)), [len(keys), CHANNELS, size, size], False)
        planes = torch.from_numpy(images).permute(0, 3, 1, 2).float()
        sampled = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
        if recipe == 1:
            scale, offset = color[0].diagonal()[None, :, None, None], color[0, :, 3][None, :, None, None]
            return sampled.mul_(scale).add_(offset)
        return torch.baddbmm(color[:, :, 3:], color[:, :, :3], sampled.flatten(2))

    return augment


def kornia_batches(changes: Callable[[Any], list[Any]]) -> Contender | None:
    """Kornia on the batch as floats, which draws for each image of it."""
    if torchvision() is None:
        return None
    try:
        import kornia.augmentation as K
    except ImportError as error:
        return absent("Kornia", error)
    import torch

    mean, std = torch.tensor(MEAN / 255).float(), torch.tensor(STD / 255).float()
    compose = torch.nn.Sequential(*changes(K), K.Normalize(mean, std))

    def augment(images: Images, keys: NDArray[np.uint64]) -> object:
        with torch.no_grad():
            return compose(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)

    return augment


def kornia_1(size: int) -> Contender | None:
    zoom = (1 - ZOOM, 1 + ZOOM)
    return kornia_batches(
        lambda K: [
            K.RandomAffine(ROTATION, (SHIFT, SHIFT), zoom, SHEAR, padding_mode="border", p=1.0),
            K.RandomHorizontalFlip(p=0.5),
        ]
    )


def kornia_2(size: int) -> Contender | None:
    return kornia_batches(
        lambda K: [
            K.RandomResizedCrop((size, size), p=1.0),
            K.RandomHorizontalFlip(p=0.5),
            K.ColorJitter(JITTER, JITTER, JITTER, HUE, p=1.0),
        ]
    )


def torchvision_1(size: int, batched: bool = False) -> Contender | None:
    if (v2 := torchvision()) is None:
        return None
    affine = v2.RandomAffine(
        ROTATION, (SHIFT, SHIFT), (1 - ZOOM, 1 + ZOOM), SHEAR, v2.InterpolationMode.BILINEAR
    )  # fills with a constant; it has no other way
    return torch_batches(v2, [affine, v2.RandomHorizontalFlip()], batched)


def albumentations_1(size: int) -> Contender | None:
    if (A := albumentations()) is None:
        return None
    zoom, shift = (1 - ZOOM, 1 + ZOOM), (-SHIFT, SHIFT)
    turn, shear = (-ROTATION, ROTATION), (-SHEAR, SHEAR)
    replicate = 1  # cv2.BORDER_REPLICATE
    affine = A.Affine(scale=zoom, translate_percent=shift, rotate=turn, shear=shear, border_mode=replicate, p=1)
    compose = A.Compose([affine, A.HorizontalFlip(p=0.5), A.Normalize()])
    return lambda images, keys: [compose(image=image)["image"] for image in images]


def keras_1(size: int) -> Contender | None:
    try:
        from keras.src.legacy.preprocessing.image import ImageDataGenerator
    except (ImportError, RuntimeError) as error:
        return absent("Keras", error)
    generator = ImageDataGenerator(
        rotation_range=ROTATION, width_shift_range=SHIFT, height_shift_range=SHIFT, shear_range=SHEAR, zoom_range=ZOOM,
        horizontal_flip=True, fill_mode="nearest", featurewise_center=True, featurewise_std_normalization=True,
    )  # fmt: skip
    generator.mean, generator.std = MEAN.astype(np.float32), STD.astype(np.float32)
    return lambda images, keys: [
        generator.standardize(generator.random_transform(image.astype(np.float32))) for image in images
    ]


# The contenders of recipe 2


def ours_2(size: int) -> Contender:
    space = np.empty((BATCH, size, size, CHANNELS), np.float32)

    def augment(images: Images, keys: NDArray[np.uint64], threads: int = 1) -> object:
        matrices, color = crop_matrices(keys, size), normalized(color_maps(keys))
        return warp_normalized(images, matrices, (size, size), color, threads=threads, out=space)

    return augment


def ours_policy_2(size: int) -> Contender:
    crop = op("crop", {"scale": [0.08, 1], "aspect": [3 / 4, 4 / 3]})
    colors = (op(name, JITTER) for name in ("brightness", "contrast", "saturation"))
    return ours_policy(size, Policy("recipe 2", (crop, op("flip", "horizontal", 0.5), *colors, op("hue", HUE))))


def resize_and_color(size: int) -> Contender | None:
    if not opencv():
        return None
    import cv2

    def augment(images: Images, keys: NDArray[np.uint64]) -> object:
        boxes = np.rint(crop_boxes(keys)[:4] * size).astype(int).T
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 1)
        results = []
        for image, (left, top, width, height), color in zip(images, boxes, color_maps(keys), strict=True):
            crop = cv2.resize(image[top : top + height, left : left + width], (size, size))
            results.append(cv2.transform(crop, color))
        return results

    return augment


def torchvision_2(size: int, batched: bool = False) -> Contender | None:
    if (v2 := torchvision()) is None:
        return None
    crop = v2.RandomResizedCrop(size, antialias=False)
    return torch_batches(v2, [crop, v2.RandomHorizontalFlip(), v2.ColorJitter(JITTER, JITTER, JITTER, HUE)], batched)


def albumentations_2(size: int) -> Contender | None:
    if (A := albumentations()) is None:
        return None
    strength = (1 - JITTER, 1 + JITTER)
    jitter = A.ColorJitter(brightness=strength, contrast=strength, saturation=strength, hue=(-HUE, HUE), p=1)
    crop = A.RandomResizedCrop(size=(size, size), p=1)
    compose = A.Compose([crop, A.HorizontalFlip(p=0.5), jitter, A.Normalize()])
    return lambda images, keys: [compose(image=image)["image"] for image in images]


MAKERS: dict[int, dict[str, Callable[[int], Contender | None]]] = {
    1: {
        "tenfold": ours_1,
        "floor: bare cv2 warp": bare_warp,
        "tenfold Policy": ours_policy_1,
        "tenfold, new NCHW array": ours_1_new,
        "cv2 warp, NumPy": warp_and_numpy,
        "cv2 warp, table": warp_and_table,
        "torch grid_sample": lambda size: grid_sample(size, 1),
        "Albumentations": albumentations_1,
        "Kornia": kornia_1,
        "torchvision": torchvision_1,
        "torchvision, one draw": lambda size: torchvision_1(size, batched=True),
        "Keras": keras_1,
    },
    2: {
        "tenfold": ours_2,
        "floor: cv2 resize, color": resize_and_color,
        "tenfold Policy": ours_policy_2,
        "torch grid_sample": lambda size: grid_sample(size, 2),
        "Albumentations": albumentations_2,
        "Kornia": kornia_2,
        "torchvision": torchvision_2,
        "torchvision, one draw": lambda size: torchvision_2(size, batched=True),
    },
}


def opencv() -> bool:
    try:
        import cv2
    except ImportError as error:
        absent("OpenCV", error)
        return False
    cv2.setNumThreads(1)
    return True


def torchvision() -> Any:
    try:
        import torch
        from torchvision.transforms import v2
    except ImportError as error:
        return absent("torchvision", error)
    torch.set_num_threads(1)
    return v2


def torch_batches(v2: Any, changes: list[Any], batched: bool) -> Contender:
    """torchvision on uint8 tensors, an image at a time, or with one draw for the whole batch."""
    import torch

    mean, std = (MEAN / 255).tolist(), (STD / 255).tolist()
    compose = v2.Compose([*changes, v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])

    def augment(images: Images, keys: NDArray[np.uint64]) -> object:
        planes = torch.from_numpy(images).permute(0, 3, 1, 2)
        return compose(planes) if batched else [compose(image) for image in planes]

    return augment


def albumentations() -> Any:
    try:
        import albumentations as A
    except ImportError as error:
        return absent("Albumentations", error)
    opencv()
    return A


def absent(name: str, error: Exception) -> None:
    print(f"{name} is left out: {error}")


def measure(
    contenders: dict[str, Contender], size: int, threads: list[int], rounds: int, clock: Callable[[], float]
) -> dict[tuple[str, int], list[float]]:
    """Images a second of each contender on each number of threads, one number a round."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH, size // 8 + 1, size // 8 + 1, CHANNELS), dtype=np.uint8)
    images = np.ascontiguousarray(images.repeat(8, 1).repeat(8, 2)[:, :size, :size])
    hashes = np.arange(BATCH, dtype=np.uint64)
    rates: dict[tuple[str, int], list[float]] = {(name, count): [] for name in contenders for count in threads}
    pool = ThreadPoolExecutor(max(threads))
    shuffled = random.Random(0)
    for turn in range(rounds + 1):
        keys = draw_keys(0, turn, hashes)
        for (name, count), values in shuffled.sample(sorted(rates.items()), len(rates)):
            images.sum()  # in the caches for all, and not for those alone that come after one who leaves them there
            begun = clock()
            run(contenders[name], images, keys, count, pool)
            if turn:  # the first one warms up
                values.append(BATCH / (clock() - begun))
    return rates


def run(contender: Any, images: Images, keys: NDArray[np.uint64], threads: int, pool: ThreadPoolExecutor) -> None:
    if contender.__module__ == __name__ and contender.__qualname__.startswith("ours"):
        contender(images, keys, threads)  # deals to threads by itself
    elif threads == 1:
        contender(images, keys)
    else:
        parts = np.array_split(np.arange(BATCH), threads)
        list(pool.map(lambda part: contender(images[part[0] : part[-1] + 1], keys[part]), parts))


def show(rates: dict[tuple[str, int], list[float]]) -> None:
    floor = next((name for name, _ in rates if name.startswith("floor")), "tenfold")
    single = min(threads for _, threads in rates)
    for (name, threads), values in rates.items():
        rate = spread(values, 0)
        to_ours, to_floor = ratios(rates["tenfold", threads], values), ratios(rates[floor, threads], values)
        gain = ratios(values, rates[name, single]) if threads > single else ""
        title = f"{name}, {threads} thread{'s' * (threads > 1)}"
        print(f"{title:36s} {rate:24s} {to_ours:20s} {to_floor:20s} {gain}")


def ratios(numerator: list[float], denominator: list[float]) -> str:
    """Over the rounds, of two times in the same round."""
    return spread([a / b for a, b in zip(numerator, denominator, strict=True)], 2)


def spread(values: list[float], digits: int) -> str:
    """The median and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def show_floor(size: int, rate: float) -> None:
    """What the pass cannot do without, a pixel: 3 bytes read, 12 written, 4 neighbours fetched, its arithmetic."""
    source, target = np.ones(BATCH * size * size * 15 // 16, np.float64), np.empty(BATCH * size * size * 15 // 16)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        np.copyto(target, source)
        times.append(time.perf_counter() - begun)
    pixels = BATCH * size * size
    copy = min(times) / pixels * 1e9
    # On vectors of 8: place 2 x (multiply-add, clamp 2, floor, subtract), in float64 so twice; 12 bytes to floats, 3
    # operations each; 3 means of 3 subtractions and 3 multiply-adds; 3 x 3 multiply-adds of colour.
    operations = (2 * 5 * 2 + 12 * 3 + 3 * 6 + 9) / 8
    print(
        f"  floor a pixel: 3 + 12 bytes, {copy:.2f} ns where memory is copied; {operations:.1f} vector operations, 2 a "
        f"cycle, and 4 loads; ours {1e9 / rate / size**2:.2f} ns, {1e9 / rate / size**2 / copy:.1f} times the copy"
    )


FIRST = {
    "kernel": "from tenfold.augment.kernel import warp_normalized as warp; "
    "warp(images, np.tile(np.eye(3), (64, 1, 1)), (128, 128), np.zeros((64, 3, 4), np.float32))",
    "Policy": "from tenfold.augment.published import named_policy; keys = np.arange(64, dtype=np.uint64); "
    "named_policy('standard').batch_normalized(images, keys, mean=[0.5] * 3, std=[0.25] * 3)",
    "keras": "from tenfold.keras import ImageDataGenerator as Generator; "
    "next(Generator(rotation_range=20, rescale=1 / 255).flow(images, batch_size=64))",
}


def first_batch() -> None:
    """Seconds from the import of NumPy to the first batch, in a process of its own, when another one has compiled."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for name, code in FIRST.items():
        timed = (
            "import time; begun = time.perf_counter(); import numpy as np; "
            f"images = np.zeros((64, 128, 128, 3), np.uint8); {code}; print(time.perf_counter() - begun)"
        )
        command = [sys.executable, "-c", timed]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True, env=kept) for _ in range(4)]
        times = sorted(float(run.stdout) for run in runs[1:])
        print(f"first batch of a second process, {name}: {times[1]:.2f} s ({times[0]:.2f} to {times[2]:.2f})")


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
