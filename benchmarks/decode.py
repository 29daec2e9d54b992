"""JPEG 500x375 -> 224x224 antialiased, images a second on one thread and on two, against torchvision, Pillow, OpenCV.

    python benchmarks/decode.py        about 30 s; torchvision and opencv-python-headless if they are to be compared

2026-11-27, AMD EPYC with AVX-512 (virtual, 2 cores, nothing else running), images/s, median of 81 repeats (quartiles):

                  one thread           two threads             ours / theirs, 1 and 2   two threads / one
    tenfold      1597 (1574 to 1615)   3038 (2957 to 3087)                              1.89
    torchvision  1555 (1542 to 1569)   2919 (2847 to 2996)     1.03, 1.03               1.88
    Pillow        736 (731 to 744)     1425 (1389 to 1444)     2.17, 2.13               1.94
    SHA-256, which holds no lock, as a control of the machine                           2.01

2026-11-24, Intel Xeon with AMX (virtual, 2 cores, nothing else running), likewise:

    tenfold       913 (901 to 920)     1672 (1571 to 1713)                              1.83
    torchvision   834 (825 to 840)     1555 (1510 to 1589)     1.09, 1.07               1.87
    Pillow        501 (496 to 507)      987 (944 to 1006)      1.82, 1.70               1.94
    OpenCV        680 (673 to 683)     1292 (1270 to 1311)     1.34, 1.29               1.90
    SHA-256, which holds no lock, as a control of the machine                           1.96

Ours is the whole product path: `decode_image` and `Preprocessing.prepare`. The photos are mosaics of four flower
photos (synthetic ones where those are missing), JPEG quality 90, 4:2:0. In each of the repeats every contender decodes
all photos once, one after the other, so that a busy moment of the machine hits them alike; a ratio is the median over
repeats of ours to theirs in the same repeat. PyTorch and OpenCV may use one thread of their own each.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tenfold.images.decode import decode_image
from tenfold.images.preprocess import Preprocessing

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "shared" / "data"))
PHOTOS, REPEATS, SIZE = 16, 81, 224
HEIGHT, WIDTH = 375, 500

Contender = Callable[[bytes], object]


def main() -> None:
    torch.set_num_threads(1)
    photos = make_photos()
    contenders = {name: prepare for name, make in MAKERS.items() if (prepare := make()) is not None}
    size = sum(map(len, photos)) / len(photos) / 1024
    print(f"{processor()}, {os.cpu_count()} cores; {len(photos)} photos of {size:.0f} KiB; {REPEATS} repeats")
    check(contenders, photos[0])
    show(measure(contenders | {"SHA-256, a control": control}, photos))


def ours() -> Contender:
    zero, one = (0.0,) * 3, (1.0,) * 3
    preprocessing = Preprocessing("rgb", SIZE, SIZE, "squash", "triangle", 255, zero, one)
    return lambda content: preprocessing.prepare(decode_image(content, channels="rgb"))[0]


def torchvision() -> Contender | None:
    try:
        from torchvision.io import ImageReadMode, decode_jpeg
        from torchvision.transforms.v2.functional import resize
    except ImportError:
        return None

    def prepare(content: bytes) -> object:
        encoded = torch.from_numpy(np.frombuffer(content, np.uint8).copy())
        return resize(decode_jpeg(encoded, mode=ImageReadMode.RGB), [SIZE, SIZE], antialias=True).permute(1, 2, 0)

    return prepare


def pillow() -> Contender:
    def prepare(content: bytes) -> object:
        image = Image.open(io.BytesIO(content)).convert("RGB")
        return np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    return prepare


def opencv() -> Contender | None:
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)

    def prepare(content: bytes) -> object:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
        return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)  # its only filter that antialiases

    return prepare


def control(content: bytes) -> object:
    """Work without a lock and without memory: what a second thread can give on this machine at this moment."""
    return hashlib.sha256(content * 8).digest()


MAKERS: dict[str, Callable[[], Contender | None]] = {
    "tenfold": ours,
    "torchvision": torchvision,
    "Pillow": pillow,
    "OpenCV, area filter": opencv,
}


def make_photos() -> list[bytes]:
    """JPEG files, HEIGHT x WIDTH."""
    paths = sorted((DATA / "flowers").glob("*/*.jpg"))
    draw = np.random.default_rng(0)
    photos = []
    for _ in range(PHOTOS):
        if paths:
            tiles = [tile(Image.open(paths[place])) for place in draw.integers(0, len(paths), 4)]
        else:
            tiles = [synthetic(draw) for _ in range(4)]
        rows = [np.concatenate(tiles[:2], 1), np.concatenate(tiles[2:], 1)]
        buffer = io.BytesIO()
        Image.fromarray(np.concatenate(rows)[:HEIGHT]).save(buffer, "JPEG", quality=90)
        photos.append(buffer.getvalue())
    return photos


def tile(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.convert("RGB").resize((WIDTH // 2, HEIGHT // 2 + 1), Image.Resampling.BICUBIC))


def synthetic(draw: np.random.Generator) -> NDArray[np.uint8]:
    """Noise at several scales, as photos have: amplitude falls with frequency."""
    total = np.zeros((HEIGHT // 2 + 1, WIDTH // 2, 3))
    for side in (2, 4, 8, 16, 32, 64, 128):
        noise = Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8))
        total += (np.asarray(noise.resize((WIDTH // 2, HEIGHT // 2 + 1), Image.Resampling.BICUBIC)) - 128.0) / side**0.7
    return np.clip(128 + total, 0, 255).astype(np.uint8)


def check(contenders: dict[str, Contender], photo: bytes) -> None:
    """All contenders do the same work: the mean difference from Pillow's pixels, in grey levels."""
    truth = np.asarray(contenders["Pillow"](photo)).astype(int)
    for name, prepare in contenders.items():
        print(f"{name}: {np.abs(np.asarray(prepare(photo)) - truth).mean():.2f} grey levels from Pillow on average")


def measure(contenders: dict[str, Contender], photos: list[bytes]) -> dict[tuple[str, int], list[float]]:
    """Images a second of each contender on each number of threads, one number a repeat."""
    rates: dict[tuple[str, int], list[float]] = {(name, threads): [] for name in contenders for threads in (1, 2)}
    pools = {threads: ThreadPoolExecutor(threads) for threads in (1, 2)}
    for repeat in range(REPEATS + 1):
        for (name, threads), values in rates.items():
            begun = time.perf_counter()
            list(pools[threads].map(contenders[name], photos))
            if repeat:  # the first one warms up
                values.append(len(photos) / (time.perf_counter() - begun))
    return rates


def show(rates: dict[tuple[str, int], list[float]]) -> None:
    print("images/s: median (quartiles), best   ours / theirs: median, best   two threads / one: median, best")
    for (name, threads), values in rates.items():
        low, middle, high = statistics.quantiles(values, n=4)
        gain = ratios(rates["tenfold", threads], values)
        speedup = ratios(values, rates[name, 1]) if threads > 1 else ""
        title = f"{name}, {threads} thread{'s' * (threads > 1)}"
        print(f"{title:30s} {middle:5.0f} ({low:.0f} to {high:.0f}), {max(values):.0f}   {gain}   {speedup}")


def ratios(numerator: list[float], denominator: list[float]) -> str:
    """The median over repeats, and the ratio of the best repeats, which a busy machine disturbs least."""
    middle = statistics.median(a / b for a, b in zip(numerator, denominator, strict=True))
    return f"{middle:.2f}, {max(numerator) / max(denominator):.2f}"


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
