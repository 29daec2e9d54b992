"""RoI align on a processor, forward and backward, beside torchvision's: the same maps and regions, in turns.

    python benchmarks/roi_align.py
    python benchmarks/roi_align.py --threads 1

A map as Faster R-CNN has it in training, 8 images of 480 x 352 px at stride 8, and 128 regions of each, of 20 to 100
px; both get the layout that they want without a copy. Shown are the median, the least and the most milliseconds of a
pass forward, and of one forward and back, and the largest difference of the results.

Last figures, 29 November 2026, 2 cores of an AMD EPYC without AVX-512 (Zen 3), PyTorch 2.14.1, other trainings halted
meanwhile, n = 15 turns: two threads, forward 20.6 ms (14.5 to 33.6) and torchvision 109.8 (64.8 to 121.0), forward and
back 40.4 (31.2 to 62.7) and 644.9 (489.5 to 676.0); one thread 30.9 (19.1 to 34.6) and 102.0 (63.1 to 140.4), 60.9
(46.1 to 67.6) and 617.0 (460.4 to 679.1). The results differ by 1.7e-5 forward and 2.6e-5 back at most, as their sums
come in another order.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tenfold.environment import torch_threads

IMAGES, CHANNELS, HEIGHT, WIDTH, STRIDE, SIDE, EACH = 8, 96, 44, 60, 8, 7, 128


def given() -> tuple[Tensor, Tensor, Tensor]:
    """A map [N, C, H, W], regions [R, 5] within the images, and a gradient [R, C, S, S]."""
    torch.manual_seed(0)
    size = torch.tensor([WIDTH * STRIDE, HEIGHT * STRIDE])
    count = IMAGES * EACH
    corner = torch.rand(count, 2) * (size - 20)
    end = torch.minimum(corner + 20 + 80 * torch.rand(count, 2), size)
    regions = torch.cat([(torch.arange(count) // EACH)[:, None], corner, end], 1)
    return torch.randn(IMAGES, CHANNELS, HEIGHT, WIDTH), regions, torch.randn(count, CHANNELS, SIDE, SIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--threads", type=int, default=0, help="0: as PyTorch has them")
    options = parser.parse_args()
    from torchvision import ops

    from tenfold.models.detection.roi_align import roi_align

    maps, regions, gradient = given()
    ways: dict[str, tuple[Tensor, Callable[[Tensor], Tensor]]] = {
        "ours": (
            maps.contiguous(memory_format=torch.channels_last),
            lambda values: roi_align(values, regions, SIDE, STRIDE),
        ),
        "torchvision": (maps, lambda values: ops.roi_align(values, regions, SIDE, 1 / STRIDE, 2, True)),
    }
    times: dict[tuple[str, str], list[float]] = {}
    results: dict[str, list[Tensor]] = {}
    with torch_threads(options.threads):
        for turn in range(options.turns + 1):
            for way, (values, cut) in ways.items():
                leaf = values.requires_grad_()
                began = time.perf_counter()
                found = cut(leaf)
                forward = time.perf_counter()
                (back,) = torch.autograd.grad(found, leaf, gradient)
                end = time.perf_counter()
                results[way] = [found.detach(), back]
                if turn:  # the first warms up
                    times.setdefault((way, "forward"), []).append(forward - began)
                    times.setdefault((way, "forward and back"), []).append(end - began)
    for (way, what), seconds in times.items():
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{way:12} {what:16} {1e3 * middle:7.1f} ms ({1e3 * low:.1f} to {1e3 * high:.1f})")
    for what, *pair in zip(("forward", "back"), *results.values(), strict=True):
        print(f"largest difference {what}: {(pair[0] - pair[1]).abs().max():.1e}")


if __name__ == "__main__":
    main()
