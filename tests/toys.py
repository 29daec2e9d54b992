"""Small image sets that tests draw themselves."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.recipe import Recipe
from tenfold.split import split_table

SHAPES = ("bar", "disc", "ring")


def scene(seed: int, width: int = 120, height: int = 90) -> np.ndarray:
    """A picture like no other: 60 bright and dark discs and boxes, and noise as a camera has it; uint8 [H, W, 3]."""
    return drawn_scene(seed, width, height).copy()


@cache
def drawn_scene(seed: int, width: int, height: int) -> np.ndarray:
    """Drawn once, as many tests ask for the same ones; not to be written into."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.full((height, width, 3), draw.uniform(60, 180, 3))
    for _ in range(60):
        at, reach = draw.uniform(0, (width, height)), draw.uniform(4, 25)
        inside = np.maximum(abs(x - at[0]), abs(y - at[1])) if draw.random() < 0.5 else np.hypot(x - at[0], y - at[1])
        image[inside < reach] = draw.uniform(0, 255, 3)
    return (image + draw.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


def save(path: Path, image: np.ndarray, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def write_scenes(folder: Path, classes: tuple[str, ...] = ("cat", "dog"), each: int = 8) -> Path:
    for number, name in enumerate(classes):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            (folder / name / f"{index}.png").write_bytes(scene_png(100 * number + index))
    return folder


@cache
def scene_png(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(scene(seed)).save(file, "png")
    return file.getvalue()


def draw_shape(name: str, generator: np.random.Generator, size: int = 20) -> np.ndarray:
    """A bright shape at a random place on a noisy ground: uint8 [size, size, 3]."""
    y, x = np.mgrid[:size, :size]
    center = generator.uniform(size * 0.35, size * 0.65, 2)
    distance = np.hypot(x - center[0], y - center[1])
    masks = {"bar": abs(x - center[0]) < 2, "disc": distance < 4.5, "ring": abs(distance - 5.5) < 1.3}
    image = generator.normal(70, 20, (size, size, 3))
    image[masks[name]] += generator.uniform(90, 140)
    return image.clip(0, 255).astype(np.uint8)


def write_shapes(folder: Path, count: int = 30, size: int = 20) -> Path:
    """A folder a class, `count` PNG files each."""
    generator = np.random.default_rng(0)
    for name in SHAPES:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(draw_shape(name, generator, size)).save(folder / name / f"{number:03}.png")
    return folder


def shapes_table(folder: Path, count: int = 30) -> Table:
    """The same as a Table with parts."""
    return split_table(read_table(write_shapes(folder, count)), validation=0.2, test=0.2)


def quick_recipe(**sections: dict) -> Recipe:
    """A recipe that trains a small network for a moment, in float32."""
    recipe = Recipe().change(
        image={"size": 16, "margin": 1.25},
        model={"name": "plain", "width": 8, "layers": 2},
        train={"epochs": 3, "batch_size": 8, "precision": "float32", "ema": 0.3, "grow": "off", "threads": 1},
    )
    return recipe.change(**sections)
