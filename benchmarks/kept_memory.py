"""What it is worth that freed memory stays with the process while it trains: `tenfold.environment.kept_memory`.

    python benchmarks/kept_memory.py
    python benchmarks/kept_memory.py --models finetuned --threads 1

Steps of a training on noise, forward and backward, a process for each model and way, the ways in turns: seconds of a
step, pages that the system had to clear for it, and the largest resident size. Each network sees images of its usual
size in batches of --batch. Only Linux with glibc has anything to show.

29 November 2026, 2 cores of an AMD EPYC without AVX-512 (Zen 3) whose neighbors make steps of one process differ by a
third, three turns: pages cleared in a step of Faster R-CNN 64,331 and 0, of the fine-tuned network 23,523 and 0;
seconds kept to plain 1.15 (0.85 to 1.35) and 0.94 (0.85 to 1.06), which tells nothing. With two trainings of Faster
R-CNN side by side, one thread each, 14 to 21 % of the processors' time was the system's before, and 0 to 2 % since
(vmstat). The largest sizes are equal.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import asdict

SIDES = {"residual": 96, "finetuned": 160, "faster-rcnn": 416}
WAYS = ("plain", "kept")


def steps(model: str, way: str, batch: int, count: int, threads: int) -> dict[str, float]:
    """Seconds and page faults of a step, medians of `count` after two to warm up, and GiB of the largest size."""
    import numpy as np
    import torch

    from tenfold.environment import kept_memory, torch_threads
    from tenfold.images.batch import Batch
    from tenfold.models import make_model
    from tenfold.recipe import Recipe

    recipe, side = Recipe(), SIDES[model]
    settings = asdict(recipe.model) | asdict(recipe.transfer) | asdict(recipe.detect)
    settings |= {"backbone": "efficientnet-lite0", "norm": "batch", "label_smoothing": 0.1, "halvings": 4}
    torch.manual_seed(0)
    network = make_model(model, 3, ("one", "two"), settings).to(memory_format=torch.channels_last).train()
    images = torch.rand(batch, 3, side, side).contiguous(memory_format=torch.channels_last)
    targets = {"label": torch.eye(2)[torch.arange(batch) % 2]}
    if model == "faster-rcnn":
        corners = torch.rand(batch, 12, 2) * (side - 80)
        boxes = torch.cat([corners, corners + 20 + 60 * torch.rand(batch, 12, 2)], 2)
        targets = {"boxes": boxes, "label": torch.arange(batch * 12).view(batch, 12) % 2}
        targets["ignore"] = torch.zeros(batch, 12, dtype=torch.bool)
    given = Batch(
        images, targets, np.arange(batch), np.arange(batch, dtype=np.uint64), torch.eye(2, 3).expand(batch, 2, 3)
    )
    network.learn(1.0)
    times, faults = [], []
    with torch_threads(threads), kept_memory() if way == "kept" else nullcontext():
        for _ in range(count + 2):
            began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            network.zero_grad()
            sum(network.losses(given).minimize.values()).backward()  # type: ignore[union-attr]
            times.append(time.perf_counter() - began)
            faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": statistics.median(times[2:]), "pages": statistics.median(faults[2:]), "gib": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8, help="of each turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as PyTorch has them")
    parser.add_argument("--way", choices=WAYS, help="this one alone, as JSON")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(steps(options.models[0], options.way, options.batch, options.steps, options.threads)))
        return
    for model in options.models:
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(options.turns):
            for way in WAYS:
                wanted = ["--models", model, "--way", way, "--batch", options.batch, "--steps", options.steps]
                command = [sys.executable, __file__, *map(str, [*wanted, "--threads", options.threads])]
                found[way].append(json.loads(subprocess.run(command, capture_output=True, check=True).stdout))
        ratios = [kept["seconds"] / plain["seconds"] for plain, kept in zip(*found.values(), strict=True)]
        for way, turns in found.items():
            told = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
            print(f"{model}, {way}: {told['seconds']:.3f} s a step, {told['pages']:,.0f} pages, {told['gib']:.2f} GiB")
        print(f"    kept takes {statistics.median(ratios):.3f} of it ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
