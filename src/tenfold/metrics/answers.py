"""Answers: what a classifier said about the images of a part, and resamples of it.

Shapes: N images, K classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import RESAMPLES, Units, resamples
from tenfold.metrics.ranking import Ranked, ranked


@dataclass(frozen=True, eq=False)
class Answers:
    """Labels, probabilities and predictions of N images; `checked` makes sure of what is said here."""

    truth: NDArray[np.int64]
    """int64 [N], 0 to K - 1."""
    probability: NDArray[np.float64]
    """float64 [N, K], finite, rows that sum to 1."""
    predicted: NDArray[np.int64]
    """int64 [N], 0 to K - 1: the most probable class, or what a threshold says."""
    units: Units
    positive: int | None = None
    """The class whose areas are shown; None: the mean over all classes."""
    top_k: int = 5
    seed: int = 0
    """Of all resamples."""
    draws: int = RESAMPLES
    """R."""

    def ranked(self, place: int) -> Ranked | None:
        """The images in the order of one class's probability; None unless there are images of it and of others."""
        positive = self.truth == place
        return ranked(positive, self.probability[:, place]) if 0 < positive.sum() < len(positive) else None

    @property
    def classes(self) -> int:
        """K."""
        return int(self.probability.shape[1])

    @cached_property
    def second(self) -> NDArray[np.int64]:
        """The most probable class but for the predicted one, int64 [N]: the label of the added image when wrong."""
        others = self.probability.copy()
        np.put_along_axis(others, self.predicted[:, None], -1.0, axis=1)
        runner_up: NDArray[np.int64] = np.argmax(others, axis=1)
        return runner_up

    @cached_property
    def counts(self) -> NDArray[np.float64]:
        """Hits, labels and predictions of each class: float64 [3, K]."""
        return self._counts(self.truth, self.predicted, np.ones(len(self.truth)))

    @cached_property
    def resampled_counts(self) -> NDArray[np.float64]:
        """The same of every resample: float64 [3, R, K]."""
        drawn = np.empty((3, self.draws, self.classes))
        for row, (weights, added, labels) in enumerate(self.resampled()):
            extra = np.full(len(added), self.units.extra)
            drawn[:, row] = self._counts(self.truth, self.predicted, weights.astype(np.float64))
            if len(added):
                drawn[:, row] += self._counts(labels, self.predicted[added], extra)
        return drawn

    def resampled(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """Each resample as (weights int64 [N], added int64 [A], labels int64 [A]).

        `weights` says how often each image is in. The added image of tenfold.estimate is any of the images, `added`,
        which counts `units.extra` times and has one of two labels with equal chance: the predicted class, or the
        second most probable one.
        """
        rng = np.random.default_rng(self.seed + 1)
        for weights, count in resamples(self.units, self.seed, self.draws):
            added = rng.integers(0, len(self.truth), count)
            right = rng.random(count) < 0.5
            yield weights, added, np.where(right, self.predicted[added], self.second[added])

    def _counts(
        self, truth: NDArray[np.int64], predicted: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        hit = np.where(truth == predicted, weights, 0.0)
        columns = ((truth, hit), (truth, weights), (predicted, weights))
        return np.stack([np.bincount(label, weight, self.classes) for label, weight in columns])


def checked(truth: NDArray[np.int64], probability: NDArray[np.float64], classes: int) -> None:
    """Raise UsageError unless int64 [N] labels and float64 [N, K] probabilities are sound and N is at least 1."""
    if probability.ndim != 2 or probability.shape[1] != classes or classes < 2:
        raise UsageError(f"probability must have a column for each of at least two classes, not {probability.shape}.")
    if truth.shape != probability.shape[:1] or not len(truth):
        raise UsageError(
            f"truth must be one label for each row of probability, not {truth.shape} for "
            f"{probability.shape}; at least one image is needed."
        )
    if truth.min() < 0 or truth.max() >= classes:
        raise UsageError(f"truth must lie from 0 to {classes - 1}, not {truth.min()} to {truth.max()}.")
    if not np.isfinite(probability).all():
        row = int(np.argmin(np.isfinite(probability).all(1)))
        raise UsageError(f"probability must be finite; row {row} is {probability[row].tolist()}.")
    sums = probability.sum(1)
    worst = int(np.argmax(np.abs(sums - 1)))
    if probability.min() < 0 or abs(sums[worst] - 1) > 1e-3:
        raise UsageError(
            f"Rows of probability must be at least 0 and sum to 1 within 0.001; the sum of row {worst} is "
            f"{sums[worst]:g} and the lowest value {probability.min():g}: are these logits?"
        )
