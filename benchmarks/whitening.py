"""ZCA whitening of 32x32x3 images, fit and transform, against Keras 3's ImageDataGenerator: seconds and peak memory.

    python benchmarks/whitening.py [--count N] [--file IMAGES.npy] [--only CONTENDER ...]

2026-11-28, AMD EPYC with AVX-512 (virtual, 2 cores, nothing else running), CIFAR-10, 50,000 images of bytes, Keras 3.15
on torch, two threads, n = 1:

    32x32x3                    fit and transform, s    CPU s    peak MiB
      tenfold                   12.2 (fit 7.3)          23.8     869
      tenfold, from floats      15.3 (fit 9.7)          29.9     857
      keras                     85.8 (fit 77.6)        157.6    7437
      keras / tenfold            7.0                     6.6
      largest difference of 1,572,864 whitened values: 4.8e-4
      a second run: 10.9 s, Keras 82.4 s, 7.6 times as long, 7.1 in CPU seconds; 866 and 7,370 MiB; 4.8e-4

2026-11-26, AMD EPYC with AVX2, other programs beside it, the middle 16x16x3, one thread, n = 3: 3.5 s (1.8 to 3.9),
Keras 42.0 (23.7 to 47.1), 12.1 times as long (12.0 to 13.2); 236 and 2,438 MiB; at most 1.9e-4 apart.

Each contender is a process of its own, so that its peak memory can be read (with the Python and the libraries that it
loads, its images as bytes and its whitened images as float32), and they take turns. Images are CIFAR-10's training
images (TENFOLD_DATA), an array of bytes from --file, or made correlated noise. Keras gets them less 128: it sums in
float32, and of 50,000 images of bytes the mean of a channel comes out wrong (see src/tenfold/augment/standardize.py).
Whitening does not depend on what is subtracted before. CPU seconds are those of all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "shared" / "data"))
SHOWN = 512  # whitened images that are compared
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


def main() -> None:
    options = parser().parse_args()
    if options.child:
        print(json.dumps(run_one(options.child, options.file, options.count)))
        return
    names = options.only or [name for name in CONTENDERS if name != "keras" or find_spec("keras")]
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or Path(folder) / "images.npy"
        if options.file is None:
            np.save(file, load_cifar() if (DATA / "cifar10").is_dir() else make_images(options.count))
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(options.repeats):
            for name in names:
                results[name].append(in_own_process(name, file, options.count))
                print(name, {key: value for key, value in results[name][-1].items() if key != "shown"}, flush=True)
        show(results)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="ZCA whitening against Keras 3")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--file", type=Path)
    parser.add_argument("--only", choices=CONTENDERS, nargs="+")
    parser.add_argument("--child", choices=CONTENDERS, help=argparse.SUPPRESS)
    return parser


def ours(images: Bytes) -> tuple[float, Floats]:
    from tenfold.augment.whiten import fit_whitening

    whitening = fit_whitening(images, formula="keras")
    fitted = time.perf_counter()
    return fitted, whitening.apply(images)


def ours_floats(images: Bytes) -> tuple[float, Floats]:
    """The same from float32 on the 0 to 1 scale, in batches of 256: a stream, and no exact sums of bytes."""
    from tenfold.augment.whiten import fit_whitening

    parts = [slice(start, start + 256) for start in range(0, len(images), 256)]
    whitening = fit_whitening((images[part] / np.float32(255) for part in parts), formula="keras")
    fitted = time.perf_counter()
    whitened = np.empty(images.shape, np.float32)
    for part in parts:
        whitened[part] = whitening.apply(images[part] / np.float32(255))
    return fitted, whitened


def keras(images: Bytes) -> tuple[float, Floats]:
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    values = images.astype(np.float32)
    values -= 128
    generator = ImageDataGenerator(featurewise_center=True, zca_whitening=True)
    generator.fit(values)
    fitted = time.perf_counter()
    return fitted, generator.standardize(values)


CONTENDERS: dict[str, Callable[[Bytes], tuple[float, Floats]]] = {
    "tenfold": ours,
    "tenfold-floats": ours_floats,
    "keras": keras,
}


def run_one(name: str, file: Path, count: int) -> dict[str, Any]:
    images = np.load(file)[:count]
    CONTENDERS[name](images[:64, :4, :4])  # imports are not timed
    start, cpu = time.perf_counter(), time.process_time()
    fitted, whitened = CONTENDERS[name](images)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = {"images": len(images), "fit": fitted - start, "all": seconds, "cpu": cpu, "peak MiB": mib}
    return {key: round(value, 1) for key, value in found.items()} | {"shown": whitened[:SHOWN].tolist()}


def in_own_process(name: str, file: Path, count: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", name, "--file", str(file), "--count", str(count)]
    environment = {"KERAS_BACKEND": "torch"} | os.environ
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment)
    result: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return result


def show(results: dict[str, list[dict[str, Any]]]) -> None:
    for name, runs in results.items():
        middle = {key: statistics.median(run[key] for run in runs) for key in ("fit", "all", "cpu", "peak MiB")}
        print(f"{name:15s} median of {len(runs)}: {middle}")
    if {"tenfold", "keras"} <= results.keys():
        pairs = list(zip(results["tenfold"], results["keras"], strict=True))
        for key in ("all", "cpu"):
            print(f"Keras / Tenfold, {key}: {statistics.median(theirs[key] / own[key] for own, theirs in pairs):.1f}")
        own, theirs = (np.array(results[name][0]["shown"]) for name in ("tenfold", "keras"))
        print(f"largest difference of {own.size} whitened values: {np.abs(own - theirs).max():.1e}")


def load_cifar() -> Bytes:
    """CIFAR-10's training images: uint8 [50000, 32, 32, 3]."""
    import io

    import pandas as pd
    from PIL import Image

    files = sorted((DATA / "cifar10").rglob("train*.parquet"))
    cells = [cell for file in files for cell in pd.read_parquet(file, columns=["image"])["image"]]
    return np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB")) for cell in cells])


def make_images(count: int) -> Bytes:
    """Noise that is alike at neighboring pixels and channels: uint8 [count, 32, 32, 3]."""
    from scipy.ndimage import gaussian_filter

    generator = np.random.default_rng(0)
    images = np.empty((count, 32, 32, 3), np.uint8)
    for start in range(0, count, 1000):
        noise = generator.normal(size=images[start : start + 1000].shape)
        smooth = gaussian_filter(noise, (0, 1.5, 1.5, 0.5), mode="nearest") * 5 + 0.3 * noise
        images[start : start + 1000] = np.clip(128 + 40 * smooth, 0, 255)
    return images


if __name__ == "__main__":
    main()
