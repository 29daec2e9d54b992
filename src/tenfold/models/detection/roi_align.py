"""RoI align on a processor, forward and backward: regions of a map, each as S x S places, by interpolation.

The values of a place's channels lie together, so that each of the points that a place is the mean of is one short loop
over the channels, in vector instructions; regions go to several threads, in the backward pass images, so that the sums
come in the same order whatever their number. torchvision's loops go from place to place of one channel after another,
and its backward pass has one thread.

Numba keeps what it compiled until the file of the function that is called changes and does not look at the files of
others; so compiled functions call only those of their own file.

Shapes: N images, H x W places of a map, C channels, R regions, S places of a pooled region's side.

He et al., "Mask R-CNN", 2017, section 3, https://arxiv.org/abs/1703.06870.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar, cast

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])

_AT_ONCE = 32  # regions, or more where there are many: a share of the work that is worth a thread's start


def roi_align(maps: Tensor, regions: Tensor, side: int, stride: int) -> Tensor:
    """Maps float32 [N, C, H, W], best with the channels last, and regions float32 [R, 5] -> [R, C, S, S].

    A region is the place of its image and xyxy in input pixels, of which a place of the map has `stride`. Each place of
    the result is the mean of 2 x 2 points. Gradients go to the maps.
    """
    pooled: Tensor = _RoIAlign.apply(maps, regions, side, stride)
    return pooled


class _RoIAlign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: Tensor, regions: Tensor, side: int, stride: int) -> Tensor:
        source, where = _channels_last(maps), regions.detach().numpy().astype(np.float64)
        pooled = np.empty((len(regions), maps.shape[1], side, side), np.float32)
        step = max(_AT_ONCE, -(-len(regions) // (4 * torch.get_num_threads())))
        _in_threads(lambda first: _pool(source, where, 1 / stride, pooled, first, first + step), len(regions), step)
        ctx.save_for_backward(regions)
        ctx.shape, ctx.stride = maps.shape, stride
        return torch.from_numpy(pooled)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        N, C, H, W = ctx.shape
        where = ctx.saved_tensors[0].numpy().astype(np.float64)
        given, result = gradient.contiguous().numpy(), np.zeros((N, H, W, C), np.float32)
        _in_threads(lambda image: _spread(given, where, 1 / ctx.stride, result, image), N, 1)
        return torch.from_numpy(result).permute(0, 3, 1, 2), None, None, None


def _channels_last(maps: Tensor) -> NDArray[np.float32]:
    """[N, C, H, W] -> [N, H, W, C], without a copy where the channels lie together."""
    values: NDArray[np.float32] = maps.detach().permute(0, 2, 3, 1).contiguous().numpy()
    return values


def _in_threads(work: Callable[[int], None], count: int, step: int) -> None:
    """Call `work` with 0, `step`, 2 `step` and so on below `count`, in as many threads as PyTorch computes with."""
    starts, threads = range(0, count, step), torch.get_num_threads()
    if threads == 1 or len(starts) < 2:
        for start in starts:
            work(start)
    else:
        list(_threads(threads, os.getpid()).map(work, starts))


@cache
def _threads(count: int, process: int) -> ThreadPoolExecutor:
    """Threads that stay; `process` is a key because a forked process has none of its parent's threads."""
    return ThreadPoolExecutor(count, thread_name_prefix="tenfold-regions")


def _compiled(function: Function) -> Function:
    """Numba without the lock. Only a * b + c may be contracted to one rounding; no other liberty is taken."""
    compiler = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"})
    return cast(Function, compiler(function))


@_compiled
def _points(start: float, end: float, size: int, low: NDArray[np.int64], weight: NDArray[np.float32]) -> None:
    """Along one axis: the place before each of the 2 S points, int64 [2 S], and what it and the next weigh, [2 S, 2].

    A point up to one place outside of the map counts as on its edge, and one further outside is 0. Together the two
    points of a place weigh 1.
    """
    step = (end - start) / len(low)
    for p in range(len(low)):
        at = start + (p + 0.5) * step
        inside = np.float32(0.5 if -1 <= at <= size else 0.0)
        at = min(max(at, 0.0), size - 1.0)
        low[p] = max(min(int(at), size - 2), 0)
        beyond = np.float32(at - low[p])
        weight[p, 0], weight[p, 1] = inside * (1 - beyond), inside * beyond


@_compiled
def _pool(
    maps: NDArray[np.float32],
    regions: NDArray[np.float64],
    scale: float,
    pooled: NDArray[np.float32],
    first: int,
    last: int,
) -> None:
    """Fill `pooled` [R, C, S, S] for the regions [R, 5] from `first` up to `last`; `maps` is [N, H, W, C]."""
    _, H, W, C = maps.shape
    S = pooled.shape[2]
    rows, columns = np.empty(2 * S, np.int64), np.empty(2 * S, np.int64)
    down, right = np.empty((2 * S, 2), np.float32), np.empty((2 * S, 2), np.float32)
    total = np.empty(C, np.float32)
    for r in range(first, min(last, len(regions))):
        image = maps[int(regions[r, 0])]
        _points(regions[r, 1] * scale - 0.5, regions[r, 3] * scale - 0.5, W, columns, right)
        _points(regions[r, 2] * scale - 0.5, regions[r, 4] * scale - 0.5, H, rows, down)
        for y in range(S):
            for x in range(S):
                total[:] = 0
                for p in range(4 * y, 4 * y + 4):  # two points, and of each the place before it and the next
                    for q in range(4 * x, 4 * x + 4):
                        weight = down[p // 2, p % 2] * right[q // 2, q % 2]
                        if weight != 0:
                            values = image[rows[p // 2] + p % 2, columns[q // 2] + q % 2]
                            for c in range(C):
                                total[c] += weight * values[c]
                for c in range(C):
                    pooled[r, c, y, x] = total[c]


@_compiled
def _spread(
    gradient: NDArray[np.float32],
    regions: NDArray[np.float64],
    scale: float,
    maps: NDArray[np.float32],
    image: int,
) -> None:
    """The way back: add the gradient [R, C, S, S] of this image's regions to that of its map, `maps` [N, H, W, C]."""
    _, H, W, C = maps.shape
    S = gradient.shape[2]
    rows, columns = np.empty(2 * S, np.int64), np.empty(2 * S, np.int64)
    down, right = np.empty((2 * S, 2), np.float32), np.empty((2 * S, 2), np.float32)
    own = np.empty(C, np.float32)
    for r in range(len(regions)):
        if int(regions[r, 0]) != image:
            continue
        _points(regions[r, 1] * scale - 0.5, regions[r, 3] * scale - 0.5, W, columns, right)
        _points(regions[r, 2] * scale - 0.5, regions[r, 4] * scale - 0.5, H, rows, down)
        for y in range(S):
            for x in range(S):
                for c in range(C):
                    own[c] = gradient[r, c, y, x]
                for p in range(4 * y, 4 * y + 4):
                    for q in range(4 * x, 4 * x + 4):
                        weight = down[p // 2, p % 2] * right[q // 2, q % 2]
                        if weight != 0:
                            values = maps[image, rows[p // 2] + p % 2, columns[q // 2] + q % 2]
                            for c in range(C):
                                values[c] += weight * own[c]
