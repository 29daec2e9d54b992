"""Our training loop against a bare PyTorch loop over tensors already in memory.

    python benchmarks/loop.py

Same residual network, batch of 64, images of 64x64, AdamW, float32 and bfloat16 autocast, no augmentation, in turns
in one process. Ours reads a memory-mapped cache, normalizes, checks the loss, clips, averages weights and reports.

Last figures, PyTorch 2.14.1, seven rounds, median (range). 27 November 2026, 2 cores of an AMD EPYC with AVX-512
bfloat16 units:
float32: bare 158 images/s (128 to 171), ours 155 (143 to 164), ratio 0.956 (0.838 to 1.282)
bfloat16: bare 359 images/s (354 to 362), ours 351 (347 to 355), ratio 0.979 (0.972 to 0.987)
24 November 2026, 2 cores of an Intel Xeon with AMX:
float32: bare 123 images/s (111 to 137), ours 126 (100 to 129), ratio 1.016 (0.728 to 1.140)
bfloat16: bare 309 images/s (290 to 314), ours 295 (288 to 300), ratio 0.957 (0.934 to 1.008)
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from tenfold.augment.feed import PlainInput
from tenfold.environment import processor_name
from tenfold.images.cache import Canvases
from tenfold.images.loader import Loader, shuffled
from tenfold.images.preprocess import Preprocessing
from tenfold.models import MODELS
from tenfold.recipe import AugmentSettings, Recipe
from tenfold.train.loop import Loop
from tenfold.train.progress import no_report
from tenfold.train.schedule import Schedule

STILL = AugmentSettings("none")
IMAGES, SIZE, BATCH, CLASSES, ROUNDS = 768, 64, 64, 5, 7


def make_model() -> torch.nn.Module:
    torch.manual_seed(0)
    settings = dataclasses.asdict(Recipe().change(model={"norm": "batch"}).model)
    return MODELS["residual"](3, tuple("abcde"), settings).to(memory_format=torch.channels_last).train()


def bare_loop(images: torch.Tensor, labels: torch.Tensor, precision: str) -> float:
    """Images a second of forward, backward and optimizer step, nothing else."""
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, foreach=True)
    start = time.perf_counter()
    for first in range(0, IMAGES, BATCH):
        context = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
        with context:
            loss = functional.cross_entropy(model(images[first : first + BATCH]), labels[first : first + BATCH])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return IMAGES / (time.perf_counter() - start)


def our_loop(pixels: np.ndarray, labels: np.ndarray, precision: str, folder: Path) -> float:
    """Images a second of one epoch of tenfold's loop."""
    preprocessing = Preprocessing("rgb", SIZE, SIZE, "crop", "triangle", 255, (0.5,) * 3, (0.25,) * 3)
    affine = np.eye(2, 3, dtype=np.float32)
    hashes = np.arange(IMAGES, dtype=np.uint64)
    loader = Loader(
        Canvases([None] * IMAGES, lambda row: (pixels[row], affine)),
        {"label": np.eye(CLASSES, dtype=np.float32)[labels]},
        hashes,
        PlainInput(preprocessing),
        BATCH,
        workers=0,
        choose=shuffled(hashes, 0),
    )
    recipe = dataclasses.replace(Recipe(), augment=STILL).change(
        image={"size": SIZE},
        train={
            "epochs": 1,
            "optimizer": "adamw",
            "lr": 1e-3,
            "precision": precision,
            "batch_size": BATCH,
            "grow": "off",
        },
    )
    loop = Loop(
        model=make_model(),
        recipe=recipe,
        schedule=Schedule(recipe, 1),
        train=loader,
        validation=None,
        device=torch.device("cpu"),
        folder=folder,
        save_best=lambda tensors: None,
        save_history=lambda rows: None,
        report=no_report,
    )
    start = time.perf_counter()
    loop.run()
    return IMAGES / (time.perf_counter() - start)


def main() -> None:
    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pixels.npy"
        np.save(file, generator.integers(0, 256, (IMAGES, SIZE, SIZE, 3), np.uint8))
        pixels = np.load(file, mmap_mode="r")
        labels = generator.integers(0, CLASSES, IMAGES)
        images = (torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
        images = images.contiguous(memory_format=torch.channels_last)
        print(f"{processor_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {ROUNDS} rounds")
        for precision in ("float32", "bfloat16"):
            bare, ours = [], []
            for number in range(ROUNDS + 1):
                one = bare_loop(images, torch.from_numpy(labels), precision)
                other = our_loop(pixels, labels, precision, Path(folder))
                if number:  # the first round warms up
                    bare.append(one)
                    ours.append(other)
            ratios = [other / one for one, other in zip(bare, ours, strict=True)]
            print(
                f"{precision}: bare {statistics.median(bare):.0f} images/s ({min(bare):.0f} to {max(bare):.0f}), ours "
                f"{statistics.median(ours):.0f} ({min(ours):.0f} to {max(ours):.0f}), ratio "
                f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            )


if __name__ == "__main__":
    main()
