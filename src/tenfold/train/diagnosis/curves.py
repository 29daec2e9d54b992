"""What is read from the curves of a training, and how two looks at the same or other images differ.

Shapes: N images, K classes, E epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import Estimate, Units

if TYPE_CHECKING:
    import pandas as pd

_RISEN, _SCATTERS = 0.1, 3.0  # a rise of the validation loss that matters: of its lowest, and by how it scatters


class Rise(NamedTuple):
    """A rise of the validation loss from where it was lowest to the end."""

    epoch: int
    """The one with the lowest."""
    low: float
    last: float


@dataclass(frozen=True)
class Curve:
    """The training loss by epoch."""

    epoch: NDArray[np.int64]
    """int64 [E], from 1."""
    loss: NDArray[np.float64]
    """float64 [E]; not finite where the training went astray."""
    spent: NDArray[np.float64]
    """float64 [E], the share of the summed learning rate that was spent when the epoch ended; the last is 1."""

    @property
    def first(self) -> float:
        """The mean loss of the first epoch."""
        return float(self.loss[0])

    @property
    def last(self) -> float:
        """The mean loss of the last epoch."""
        return float(self.loss[-1])

    @property
    def middle(self) -> float:
        """The loss when half of the summed learning rate was spent: a training goes by that, not by the clock."""
        return float(np.interp(0.5, self.spent, self.loss))

    @property
    def halves(self) -> tuple[float, float]:
        """By how much the loss fell over the first half of the summed learning rate, and over the second."""
        return self.first - self.middle, self.middle - self.last

    @property
    def middle_epoch(self) -> int:
        """The epoch in which half of the summed learning rate was spent."""
        return int(self.epoch[np.searchsorted(self.spent, 0.5)])

    def rise(self) -> tuple[int, int]:
        """The places, in order, between which the loss rose most; twice the same where it never rose."""
        lowest = np.minimum.accumulate(self.loss)
        high = int(np.argmax(self.loss - lowest))
        return int(np.argmin(self.loss[: high + 1])), high


def read_curve(history: pd.DataFrame) -> Curve | None:
    """The curve of history.csv; None where no epoch has a training loss."""
    if "train_loss" not in history or not len(history):
        return None
    steps = np.diff(history["step"].to_numpy(np.float64), prepend=0.0)
    spent = np.cumsum(history["lr"].to_numpy(np.float64) * steps)
    return Curve(history["epoch"].to_numpy(np.int64), history["train_loss"].to_numpy(np.float64), spent / spent[-1])


def read_rise(history: pd.DataFrame) -> Rise | None:
    """The rise of the validation loss in history.csv, if it is more than scatter while training went on; or None.

    How it scatters is told from one validation to the next, by the median, as few of them jump. Where more of the
    validation images are right at the end than were at its lowest, the loss rose as the probabilities are too sure,
    which calibration mends: that is none.
    """
    if "validation_loss" not in history or "train_loss" not in history:
        return None
    seen = history.dropna(subset=["validation_loss", "train_loss"])
    loss = seen["validation_loss"].to_numpy(np.float64)
    if len(loss) < 3 or not np.isfinite(loss).all():
        return None
    lowest = int(loss.argmin())
    scatter = float(np.median(np.abs(np.diff(loss)))) / (0.6745 * math.sqrt(2))  # of a normal distribution
    rose = loss[-1] - loss[lowest] > max(_RISEN * loss[lowest], _SCATTERS * scatter)
    learning = seen["train_loss"].iloc[-1] < seen["train_loss"].iloc[lowest]
    right = seen["validation_accuracy"].to_numpy(np.float64) if "validation_accuracy" in seen else np.zeros(len(loss))
    if not rose or not learning or right[-1] > right[lowest]:
        return None
    return Rise(int(seen["epoch"].iloc[lowest]), float(loss[lowest]), float(loss[-1]))


def ends_low(history: pd.DataFrame, slack: float = 0.0) -> bool:
    """Whether the validation loss of history.csv ended at its lowest, or at most a share `slack` of that above it."""
    if "validation_loss" not in history:
        return False
    losses = history["validation_loss"].dropna().to_numpy(np.float64)
    return len(losses) > 0 and bool(losses[-1] <= (1 + slack) * losses.min())


def blind_loss(images: NDArray[np.int64], smoothing: float, *, balanced: bool) -> float:
    """The training loss of giving every image the same probabilities, the best there are without looking at it.

    `images` int64 [K] are those of each class, `smoothing` is that of the labels. Mixing images does not change it.
    """
    known = images[images > 0]
    share = np.full(len(known), 1 / len(known)) if balanced else known / known.sum()
    smooth = (1 - smoothing) * share + smoothing / len(images)
    spread = smoothing / len(images) * (len(images) - len(known))  # on classes that have no image
    rest = spread * math.log(smoothing / len(images)) if spread else 0.0
    return float(-(smooth * np.log(smooth)).sum() - rest)


def change(before: NDArray[np.float64], after: NDArray[np.float64], units: Units, level: float = 0.95) -> Estimate:
    """The mean change of a score, float64 [N] each, on the same images, with Student's interval over the units.

    The interval is at least as wide as one image's worth of rounding, so that it is never of zero width. It needs two
    units; of one the change has no error that could be estimated, and its interval is as wide as can be written.
    """
    from scipy.special import stdtrit  # a third of a second to import, once a training

    difference = after - before
    mean = float(difference.mean())
    if units.count < 2:
        return Estimate(mean, mean - 1e9, mean + 1e9, level, len(difference), "one image has no error")
    sums = np.bincount(units.index, difference - mean, units.count)
    error = math.sqrt(float((sums**2).sum()) * units.count / (units.count - 1)) / len(difference)
    half = float(stdtrit(units.count - 1, (1 + level) / 2)) * max(error, 1e-12)
    return Estimate(mean, mean - half, mean + half, level, len(difference), f"paired Student {units.words}")


def gap(high: Estimate, low: Estimate) -> Estimate:
    """The difference of two shares of other images: Newcombe (1998), method 10.

    https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8%3C873::AID-SIM779%3E3.0.CO;2-I
    """
    value = high.value - low.value
    down = math.hypot(high.value - high.low, low.high - low.value)
    up = math.hypot(high.high - high.value, low.value - low.low)
    return Estimate(value, value - down, value + up, high.level, min(high.n, low.n), "Newcombe")
