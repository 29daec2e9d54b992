"""The loader: rows of a Table in, batches out, fed by threads.

What a batch holds depends on (seed, epoch, image hash, draw) and its place in the epoch's order only: not on the
number of threads, of ranks, or on a restart. The order itself does not depend on the batch size.

Shapes: N images, H x W pixels, C channels.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.draws import Keys, draw_keys, epoch_order
from tenfold.images.batch import Batch
from tenfold.images.cache import Canvases

Rows = NDArray[np.int64]


class Drawn(NamedTuple):
    """What a loader hands to the augmentation, all of one batch and, last, the image after it in the epoch."""

    canvases: NDArray[np.uint8]
    """[N + 1, H, W, C]"""
    targets: dict[str, Tensor]
    """First dimension N + 1."""
    keys: Keys
    """[N + 1]"""
    affine: NDArray[np.float32]
    """[N + 1, 2, 3]: original image -> canvas."""


Augment = Callable[[Drawn, int], tuple[Tensor, dict[str, Tensor], Tensor]]
"""(drawn, epoch) -> images float32 [N, C, H, W], targets of N, affine float32 [N, 2, 3]. The last image drawn is only
there to be mixed in. Pure: two threads call it at once."""


@dataclass(frozen=True)
class Plan:
    """Which images an epoch has, in which order, and how they are cut into batches."""

    rows: Rows
    keys: Keys
    cuts: list[int]
    """Where batches begin and end: batch b is `rows[cuts[b]:cuts[b + 1]]`."""


class Loader:
    """Batches of a set of images."""

    def __init__(
        self,
        canvases: Canvases,
        targets: dict[str, NDArray[np.generic]],
        hashes: Keys,
        augment: Augment,
        batch_size: int,
        *,
        workers: int = 1,
        choose: Callable[[int], tuple[Rows, Keys]] | None = None,
    ) -> None:
        """`choose(epoch)` gives the epoch's rows and their draw keys, in order; None: every row once, as it lies.

        With 0 workers the batches are made where they are taken: faster where the model needs all cores itself.
        """
        self.canvases = canvases
        self.targets = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in targets.items()}
        self.hashes = hashes
        self.augment = augment
        self.batch_size = batch_size
        self.workers = workers
        self.choose = choose

    def plan(self, epoch: int) -> Plan:
        """The epoch's images and batches. Batches differ by one image at most, so that no last one is tiny."""
        if self.choose is None:
            rows, keys = np.arange(len(self.canvases)), self.hashes
        else:
            rows, keys = self.choose(epoch)
        count = max(1, -(-len(rows) // self.batch_size))
        return Plan(rows, keys, [len(rows) * index // count for index in range(count + 1)])

    def batches(self, epoch: int = 0, first: int = 0, rank: int = 0, ranks: int = 1) -> Iterator[Batch]:
        """The batches of an epoch from batch `first` on; each of several ranks gets its share of every batch."""
        plan = self.plan(epoch)
        tasks = (_share(plan, index, rank, ranks) for index in range(first, len(plan.cuts) - 1))
        if self.workers == 0:
            for start, stop in tasks:
                yield self._make(plan, start, stop, epoch)
            return
        waiting: deque[Future[Batch]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="tenfold-loader") as pool:
            try:
                for start, stop in tasks:
                    waiting.append(pool.submit(self._make, plan, start, stop, epoch))
                    if len(waiting) > self.workers + 1:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _make(self, plan: Plan, start: int, stop: int, epoch: int) -> Batch:
        places = np.arange(start, stop + 1) % len(plan.rows)
        rows = plan.rows[places]
        canvases, affine = self.canvases.take(rows)
        index = torch.from_numpy(rows)
        targets = {name: value[index] for name, value in self.targets.items()}
        drawn = Drawn(canvases, targets, plan.keys[places], affine)
        images, mixed, moved = self.augment(drawn, epoch)
        return Batch(images, mixed, rows[:-1], plan.keys[places][:-1], moved)


def _share(plan: Plan, index: int, rank: int, ranks: int) -> tuple[int, int]:
    """Where one rank's share of a batch begins and ends in the epoch."""
    start, stop = plan.cuts[index], plan.cuts[index + 1]
    return start + (stop - start) * rank // ranks, start + (stop - start) * (rank + 1) // ranks


def shuffled(hashes: Keys, seed: int) -> Callable[[int], tuple[Rows, Keys]]:
    """Every image once an epoch, in the epoch's order."""

    def choose(epoch: int) -> tuple[Rows, Keys]:
        rows = epoch_order(seed, epoch, hashes)
        return rows, draw_keys(seed, epoch, hashes)[rows]

    return choose


def balanced(hashes: Keys, labels: NDArray[np.int64], seed: int) -> Callable[[int], tuple[Rows, Keys]]:
    """As many images an epoch, every class equally often: small classes repeat, each time with another draw."""

    def choose(epoch: int) -> tuple[Rows, Keys]:
        order = epoch_order(seed, epoch, hashes)
        classes = np.unique(labels)
        share = -(-len(labels) // len(classes))
        picked = []
        for name in classes:
            own = order[labels[order] == name]
            picked.append(np.resize(own, share))
        rows = np.concatenate(picked)
        draws = np.concatenate([np.arange(share) // len(np.unique(own)) for own in picked]).astype(np.uint64)
        place = epoch_order(seed, epoch, hashes[rows], draws)
        return rows[place], draw_keys(seed, epoch, hashes[rows], draws)[place]

    return choose
