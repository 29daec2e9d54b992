"""`tenfold.keras.ImageDataGenerator` against Keras 3's own: flow, and ZCA whitening, with the same arguments, in turns.

    python benchmarks/keras_generator.py                 flow and zca, about 2 minutes; needs keras
    python benchmarks/keras_generator.py zca-full        50,000 images of 32 x 32 x 3: Keras takes long over it

2026-11-26, AMD EPYC (virtual, 2 cores, other programs running beside it: load 9), Keras 3.15.1 on torch.
flow at 128 px, batch 32, rotation 20, shifts 0.1, shear 10, zoom 0.1, horizontal flip, nearest fill; images/s, median
of 9 repeats (quartiles), and the ratio of the same repeat, median (smallest to largest):

    rescale                  1907 (1612 to 1980)   Keras 138 (132 to 153)   13.4 (4.1 to 16.0)
    samplewise               1732 (1551 to 1944)         147 (135 to 159)   12.2 (9.9 to 14.0)
    rescale, constant fill    932 (836 to 1017)          145 (137 to 157)    6.5 (5.1 to 7.1)
    rescale, brightness      1559 (1489 to 1785)         111 (102 to 117)   14.6 (12.4 to 23.9)
    images in fractions       975 (927 to 1053)          152 (143 to 171)    6.1 (4.8 to 8.7)

Images of whole numbers go through the kernel as bytes; those in fractions, as from 0 to 1, do not. Ours takes two
threads, Keras one. Where scipy's constant lies is looked up in scipy's own arithmetic, which costs a third of the time.

ZCA, fit and whiten 10,000 images of 20 x 20 x 3, two runs: 1.4 and 1.7 s, Keras 9.9 and 9.3 s, 7.2 and 5.8 times as
fast; results at most 1e-5 apart. The images are about 0 on purpose: from some ten million pixels on the means of Keras
fall short, and with them its whitening (tenfold/augment/standardize.py says why).
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

import tenfold.keras

SIZE, BATCH, BATCHES, REPEATS = 128, 32, 4, 9
RECIPE = {
    "rotation_range": 20,
    "width_shift_range": 0.1,
    "height_shift_range": 0.1,
    "shear_range": 10,
    "zoom_range": 0.1,
    "horizontal_flip": True,
    "fill_mode": "nearest",
}
ENDINGS = {
    "rescale": {"rescale": 1 / 255},
    "samplewise": {"samplewise_center": True, "samplewise_std_normalization": True},
    "rescale, constant fill": {"rescale": 1 / 255, "fill_mode": "constant"},
    "brightness": {"rescale": 1 / 255, "brightness_range": (0.7, 1.3)},
    "images in fractions": {},
}
SIZES = {"zca": (10_000, (20, 20, 3)), "zca-full": (50_000, (32, 32, 3))}


def main() -> None:
    chosen = sys.argv[1:] or ["flow", "zca"]
    warnings.simplefilter("ignore")  # Keras calls scipy by a deprecated name
    modules = {"tenfold": tenfold.keras, "keras": keras_module()}
    if "flow" in chosen:
        show_flow(modules)
    for name, (count, shape) in SIZES.items():
        if name in chosen:
            show_zca(modules, natural_images(count, shape))


def keras_module() -> ModuleType:
    os.environ.setdefault("KERAS_BACKEND", "torch" if importlib.util.find_spec("torch") else "numpy")
    from keras.src.legacy.preprocessing import image

    return image


def show_flow(modules: dict[str, ModuleType]) -> None:
    """Images a second of `flow`, ours on two threads and Keras on its one, and the ratio of each repeat."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH * BATCHES, SIZE, SIZE, 3), np.uint8)
    print(f"flow, {SIZE} px, batch {BATCH}, {BATCHES} batches, {REPEATS} repeats: images/s, median (quartiles)")
    for ending, settings in ENDINGS.items():
        x = images / np.float32(255) if "fractions" in ending else images
        flows = {
            name: module.ImageDataGenerator(**RECIPE | settings).flow(x, batch_size=BATCH, seed=0)
            for name, module in modules.items()
        }
        taken = in_turns({name: lambda flow=flow: [next(flow) for _ in range(BATCHES)] for name, flow in flows.items()})
        rates = {name: [len(images) / seconds for seconds in each] for name, each in taken.items()}
        ratio = [ours / theirs for ours, theirs in zip(rates["tenfold"], rates["keras"], strict=True)]
        print(f"    {ending:24}" + "".join(f"{name} {summary(each)}   " for name, each in rates.items()), end="")
        print(f"ratio {statistics.median(ratio):.1f} ({min(ratio):.1f} to {max(ratio):.1f})")


def in_turns(contenders: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Seconds of each contender in each of the repeats, after one that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for repeat in range(REPEATS + 1):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            if repeat:
                taken[name].append(time.perf_counter() - start)
    return taken


def summary(values: list[float]) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.0f} ({low:.0f} to {high:.0f})"


def show_zca(modules: dict[str, ModuleType], images: NDArray[np.float32]) -> None:
    """Seconds to fit images and to whiten them, once each; and how far the results are apart."""
    print(f"zca, images {list(images.shape)}, fit and standardize all, once each")
    results, seconds = {}, {}
    for name, module in modules.items():
        generator = module.ImageDataGenerator(featurewise_center=True, zca_whitening=True)
        start = time.perf_counter()
        generator.fit(images)
        fitted = time.perf_counter()
        results[name] = generator.standardize(images.copy())
        end = time.perf_counter()
        seconds[name] = end - start
        print(
            f"    {name:8} fit {fitted - start:.1f} s, whiten {end - fitted:.1f} s, mean {generator.mean.ravel()}",
            flush=True,
        )
    apart = np.abs(results["tenfold"] - results["keras"])
    ratio = seconds["keras"] / seconds["tenfold"]
    print(f"    ratio {ratio:.1f}; apart at most {apart.max():.2g}, in the mean {apart.mean():.2g}")


def natural_images(count: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Images whose spectrum falls as that of photos, about 0, so that Keras' float32 sums hold too: [N, H, W, C]."""
    rng = np.random.default_rng(0)
    height, width, _ = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    amplitude = (1 / np.maximum(frequency, 1 / height))[None, :, :, None]
    images = np.empty((count, *shape), np.float32)
    for start in range(0, count, 5000):
        noise = rng.normal(size=(min(5000, count - start), *shape))
        images[start : start + 5000] = np.fft.irfft2(
            np.fft.rfft2(noise, axes=(1, 2)) * amplitude, (height, width), (1, 2)
        )
    return images / images.std() * 60


if __name__ == "__main__":
    main()
