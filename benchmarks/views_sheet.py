"""The pictures of docs/views.md: each view of two photos that come with scikit-learn, and the time of each view.

    python benchmarks/views_sheet.py        about 5 s; writes docs/views-china.jpg and docs/views-flower.jpg

2026-11-26, AMD EPYC (virtual, 2 cores, other programs beside it), 224 x 224 RGB, OMP_NUM_THREADS=1, ms, median of 51
repeats (quartiles):

                      china                   flower
    decolorize         0.5 (0.5 to 0.5)        0.3 (0.3 to 0.5)
    detexturize       18.4 (16.4 to 19.4)     18.1 (14.7 to 19.0)
    enhance_edges      1.9 (1.3 to 5.2)        2.0 (1.8 to 5.8)
    salient_edges     25.6 (21.6 to 28.9)     25.6 (23.4 to 28.0)
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_image

from tenfold.augment.views import VIEWS

DOCS = Path(__file__).parents[1] / "docs"
SIZE, LABEL, GAP, COLUMNS, REPEATS = 224, 22, 6, 4, 51
LEFT = {"china": 0, "flower": 110}  # of the square that is cut from each photo

Pixels = NDArray[np.uint8]


def main() -> None:
    for name in LEFT:
        photo = load_photo(name)
        draw_sheet(photo).save(DOCS / f"views-{name}.jpg", quality=88, optimize=True)
        for view in VIEWS:
            print(f"{name:8s}{view:15s}{measure(view, photo)}")


def load_photo(name: str) -> Pixels:
    """A square of the photo: uint8 [224, 224, 3]."""
    photo = load_sample_image(f"{name}.jpg")
    side = len(photo)
    square = Image.fromarray(photo[:, LEFT[name] : LEFT[name] + side])
    return np.asarray(square.resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def draw_sheet(photo: Pixels) -> Image.Image:
    """The photo, its views, and a flip and two rotations, four beside each other."""
    tilted = np.asarray(Image.fromarray(photo[:, ::-1]).rotate(20, Image.Resampling.BICUBIC))
    panels = {"photo": photo} | {name: view(photo) for name, view in VIEWS.items()}
    panels |= {"flip": photo[:, ::-1], "rotate by 90 degrees": np.rot90(photo), "flip, rotate by 20 degrees": tilted}
    rows = -(-len(panels) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (SIZE + GAP) - GAP, rows * (SIZE + LABEL)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    for number, (name, pixels) in enumerate(panels.items()):
        x, y = number % COLUMNS * (SIZE + GAP), number // COLUMNS * (SIZE + LABEL)
        sheet.paste(Image.fromarray(np.ascontiguousarray(pixels)), (x, y))
        pen.text((x + 2, y + SIZE + 2), name, "black", font)
    return sheet


def measure(view: str, photo: Pixels) -> str:
    VIEWS[view](photo)  # compiled, or loaded from the cache
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        VIEWS[view](photo)
        seconds.append(time.perf_counter() - start)
    low, middle, high = (1000 * value for value in statistics.quantiles(seconds, n=4))
    return f"{middle:5.1f} ms ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
