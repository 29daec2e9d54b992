"""How the learning rate and the image size go over a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.recipe import Recipe

FIRST_SIZE, GROWN = 0.5, 0.8
"""The share of the final size that training starts at, and the share of the epochs after which it is reached: after
Howard's progressive resizing (DAWNBench 2018)."""
FIXED = 0.3
"""The share of an epoch's seconds at full size that is there at any size, until it is measured: Muon's steps and the
crops from the canvas take the same time at any size. Flowers at 72 px with bfloat16 on an AMD EPYC: 0.44."""
_FADE = 0.85  # what an epoch counts in that measurement, times one that is later by one


@dataclass
class Schedule:
    """A training's plan. Only a time limit changes it on the way, through `epochs`."""

    recipe: Recipe
    epochs: int
    """How many there will be."""
    fixed: float = FIXED
    """As FIXED says; `measure_pace` sets it."""

    def rate(self, done: float) -> float:
        """The learning rate after a share `done` (0 to 1) of the training.

        "onecycle": up and down along cosines, as Smith and Topin 2019; it starts at 1/25 of the peak. "cosine": up
        along a line from 0, down along a cosine (Loshchilov and Hutter 2017). Both end at 1/1000 of the peak.
        """
        peak, warmup = self.recipe.train.lr, self.recipe.train.warmup
        if done < warmup:
            rise = done / warmup
            if self.recipe.train.schedule == "cosine":
                return peak * rise
            return peak * (1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * rise)) / 2)
        fall = (min(done, 1.0) - warmup) / (1 - warmup) if warmup < 1 else 1.0
        return peak * (1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * fall)) / 2)

    def size(self, epoch: int) -> int:
        """Height and width of the training images in this epoch (from 0); a multiple of 8 before the last size."""
        return int(self._sizes(np.array([epoch]))[0])

    def share(self, epoch: int) -> float:
        """The work of this epoch (from 0) as a share of one at full size."""
        return float(self._shares(np.array([epoch]))[0])

    def work(self, first: int = 0) -> float:
        """The work from epoch `first` on, in epochs at full size."""
        return float(self._shares(np.arange(first, self.epochs)).sum())

    def measure_pace(self, times: Sequence[tuple[int, float]]) -> float:
        """Seconds of an epoch at full size, by those of the epochs so far, as (size, seconds); sets `fixed`.

        Least squares of seconds = a + b (size / full size)^2 with a and b not below 0, the latest epochs weighing
        most, and one weak equation more: that a / (a + b) is what it was.
        """
        from scipy.optimize import nnls

        sizes, seconds = np.array(times, np.float64).T
        weights = np.sqrt(_FADE ** np.arange(len(times) - 1, -1, -1))
        rows = np.stack([np.ones(len(times)), (sizes / self.recipe.image.size) ** 2], 1) * weights[:, None]
        rows = np.vstack([rows, 0.05 * np.array([1 - self.fixed, -self.fixed])])
        (still, moving), _ = nnls(rows, np.append(seconds * weights, 0.0))
        self.fixed = float(still / (still + moving)) if still + moving > 0 else FIXED
        return float(still + moving)

    def _shares(self, epochs: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.fixed + (1 - self.fixed) * (self._sizes(epochs) / self.recipe.image.size) ** 2

    def _sizes(self, epochs: NDArray[np.int64]) -> NDArray[np.int64]:
        size = self.recipe.image.size
        if self.recipe.train.grow != "on":
            return np.full(len(epochs), size)
        done = epochs / (self.epochs - 1) if self.epochs > 1 else np.ones(len(epochs))
        share = FIRST_SIZE + (1 - FIRST_SIZE) * done / GROWN
        growing = np.maximum(8, np.round(size * share / 8).astype(np.int64) * 8)
        return np.where(done >= GROWN, size, growing)

    def fit(self, first: int, seconds: float, seconds_an_epoch: float) -> None:
        """Set `epochs` so that the work from epoch `first` on takes at most `seconds`; at least `first` + 1 in all.

        `seconds_an_epoch` is that of an epoch at full size.
        """
        most = first + 1 + 2 * int(seconds / max(seconds_an_epoch, 1e-9))
        few, many = first + 1, max(first + 1, most)
        while few < many:
            self.epochs = (few + many + 1) // 2
            if self.work(first) * seconds_an_epoch <= seconds:
                few = self.epochs
            else:
                many = self.epochs - 1
        self.epochs = few
