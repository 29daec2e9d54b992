"""`tenfold.keras.ImageDataGenerator` against Keras 3's own: flow, and ZCA whitening, with the same arguments, in turns.

    python benchmarks/keras_generator.py                 flow and zca, about half a minute; needs keras
    python benchmarks/keras_generator.py zca-full        50,000 images of 32 x 32 x 3: Keras takes long over it

2026-11-28, AMD EPYC with AVX-512 (virtual, 2 cores), Keras 3.15.1 on torch, nothing else running. flow at 128 px, batch
32, rotation 20, shifts 0.1, shear 10, zoom 0.1, horizontal flip, nearest fill; images/s, median of 9 repeats
(quartiles), and the ratio of the same repeat, median (quartiles):

    rescale                 16641 (15782 to 17268)   Keras 934 (927 to 948)   17.6 (15.6 to 19.5)
    samplewise              11624 (11376 to 12206)         891 (888 to 897)   13.1 (12.5 to 14.0)
    rescale, constant fill  15983 (15342 to 16474)         985 (981 to 996)   16.3 (15.1 to 17.6)
    brightness              13686 (13390 to 14240)         867 (860 to 870)   15.8 (14.5 to 17.2)
    images in fractions     11889 (10535 to 12028)         958 (946 to 962)   12.4 (10.4 to 13.0)

Ours takes two threads, Keras one; with one thread ours made four fifths of it (27 November).

ZCA, fit and whiten 10,000 images of 20 x 20 x 3, once: 0.5 s, Keras 2.4 s, 4.4 times as fast; on an EPYC with AVX2,
two runs, 7.2 and 5.8 times. Results are at most 1e-5 apart. The images are about 0 on purpose: from some ten million
pixels on the means of Keras fall short, and with them its whitening (tenfold/augment/standardize.py says why).
`whitening.py` has 50,000 of 32 x 32 x 3.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

import tenfold.keras

SIZE, BATCH, REPEATS = 128, 32, 9
BATCHES = {"tenfold": 32, "keras": 4}  # of a turn, so that both take about a tenth of a second
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
    images = np.random.default_rng(0).integers(0, 256, (4 * BATCH, SIZE, SIZE, 3), np.uint8)
    print(f"flow, {SIZE} px, batch {BATCH}, {REPEATS} repeats: images/s, median (quartiles)")
    for ending, settings in ENDINGS.items():
        x = images / np.float32(255) if "fractions" in ending else images
        flows = {
            name: module.ImageDataGenerator(**RECIPE | settings).flow(x, batch_size=BATCH, seed=0)
            for name, module in modules.items()
        }
        rates = in_turns(flows)
        ratio = [ours / theirs for ours, theirs in zip(rates["tenfold"], rates["keras"], strict=True)]
        print(f"    {ending:24}" + "".join(f"{name} {summary(each)}   " for name, each in rates.items()), end="")
        print(f"ratio {statistics.median(ratio):.1f} ({min(ratio):.1f} to {max(ratio):.1f})", flush=True)


def in_turns(flows: dict[str, Iterator[object]]) -> dict[str, list[float]]:
    """Images a second of each flow in each of the repeats, after one that does not count.

    As in training, a batch is let go before the next one is made: memory that is new to the process costs as much time
    as the changes do.
    """
    rates: dict[str, list[float]] = {name: [] for name in flows}
    for repeat in range(REPEATS + 1):
        for name, flow in flows.items():
            start = time.perf_counter()
            for _ in range(BATCHES[name]):
                next(flow)
            if repeat:
                rates[name].append(BATCHES[name] * BATCH / (time.perf_counter() - start))
    return rates


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
