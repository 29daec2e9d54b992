r"""Folds: the runs of a repeated cross-validation -> figures of the procedure that made them.

What is estimated is the procedure: this recipe, trained on as many images as the folds leave, and not one of the
models. Accuracy and figures of counts (F1 and its kin) are taken over all images of a repeat at once, for a fold may
hold none of a rare class; so is the calibration error, which in a fold of few images is mostly chance cut off at 0.
Areas and the means of probabilities are averaged over folds: scores of different models have no common scale (Forman
and Scholz, "Apples-to-apples in cross-validation studies", 2010, https://doi.org/10.1145/1882471.1882479).

Each fold's probabilities are calibrated by a temperature that `train_folds` fitted on the other folds, so that log
loss, Brier score and calibration error are those of images that had no say in it. One say is left to a fold's images:
each training keeps the epoch that did best on them.

Every image is tested once a repeat, but the training sets overlap, so that the folds' errors are not independent and
the interval of so many independent images would be too narrow. Nadeau and Bengio (2003,
https://doi.org/10.1023/A:1024068626366) enlarge the variance of the mean over k folds and r repeats from 1 / (k r) to
1 / (k r) + n_validation / n_train fold variances. Here a fold's variance is that of its images (or groups), known much
better than from k r values, and n_validation / n_train is 1 / (k - 1). The k folds together being one test of all
images, the variance over all of them is multiplied by

    c = k (1 / (k r) + 1 / (k - 1)) = 1 / r + k / (k - 1)        1.75 for 5 folds twice, 2.25 for 5 folds once

and a score interval depends on quantile^2 x variance alone, so it is the same interval at a level whose quantile is
sqrt(c) times as large: the normal one, or over groups Student's t with their degrees of freedom. An area of a rare
class has fewer degrees than its images or groups (Welch), so that its quantile grows by more and its interval is wider
than it need be. benchmarks/folds.py simulates how often intervals hold the truth.

Shapes: J = k r runs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.errors import UsageError
from tenfold.estimate import Estimate, check_level, standard_errors, to_json, units_of
from tenfold.evaluate.evaluation import evaluate_run
from tenfold.images.table import Table, stack_tables
from tenfold.metrics import METRICS
from tenfold.run import Run

if TYPE_CHECKING:
    import pandas as pd

AVERAGED = ("log_loss", "brier", "roc_auc", "average_precision")
"""Figures that are averaged over folds; all others are of the images of a repeat together."""


@dataclass(frozen=True)
class CrossValidation:
    """What a procedure is worth, by repeated cross-validation."""

    folds: int
    repeats: int
    n: int
    """Images, each tested once a repeat."""
    n_train: int
    """Images that a model was trained on, on average."""
    figures: dict[str, Estimate]
    """The headline first."""
    spread: dict[str, list[float]]
    """The figure of each run, repeat by repeat; of a run where it is not defined there is none."""

    @property
    def basis(self) -> str:
        """What the figures are of, in words."""
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        return f"this procedure at {self.n_train:,} training images, by {self.folds} folds{times}, {self.n:,} images"

    def to_json(self) -> dict[str, Any]:
        """JSON values, each Estimate as {"value", "low", "high", "level", "n", "method"}."""
        names = ("folds", "repeats", "n", "n_train", "basis", "figures", "spread")
        content: dict[str, Any] = to_json({name: getattr(self, name) for name in names})
        return content


def evaluate_folds(runs: Sequence[Run], folds: int, *, level: float = 0.95, **options: Any) -> CrossValidation:
    """Evaluate each run on its fold and say what their common procedure is worth.

    `runs` come repeat by repeat, `folds` a repeat, as `train_folds` gives them; `options` go to the task's figures.
    Raises UsageError unless the runs are whole repeats of at least two folds, and what `evaluate_run` raises.
    """
    check_level(level)
    if folds < 2 or not runs or len(runs) % folds:
        raise UsageError(f"runs must be whole repeats of at least two folds, not {len(runs)} runs for {folds} folds.")
    repeats = len(runs) // folds
    evaluations = [evaluate_run(run, "validation", level=level, **options) for run in runs]
    stacks = [_stack(runs[place : place + folds]) for place in range(0, len(runs), folds)]
    wider = overlap_level(level, folds, repeats, _degrees(stacks[0][1]))
    pooled = [runs[0].task.findings(*stack, {"level": wider, **options}) for stack in stacks]
    spread = {
        name: [float(found.figures[name].value) for found in evaluations if name in found.figures]
        for name in pooled[0].figures
    }
    figures = {
        name: _combine(name, [found.figures[name] for found in pooled], spread[name], level)
        for name in pooled[0].figures
        if all(name in found.figures for found in pooled) and (name not in AVERAGED or spread[name])
    }
    trained = np.mean([len(run.table.part("train")) for run in runs])
    return CrossValidation(folds, repeats, next(iter(figures.values())).n, round(float(trained)), figures, spread)


def overlap_level(level: float, folds: int, repeats: int, df: float | None = None) -> float:
    """The level at which an interval that takes images for independent is so wide as one at `level` has to be.

    `df` are the degrees of freedom of Student's t, None for the normal distribution.
    """
    quantile = standard_errors(level, df) * math.sqrt(1 / repeats + folds / (folds - 1))
    if df is None:
        return 2 * NormalDist().cdf(quantile) - 1
    from scipy.special import stdtr

    return 1 - 2 * float(stdtr(df, -quantile))


def _stack(runs: Sequence[Run]) -> tuple[pd.DataFrame, Table]:
    """The predictions of one repeat for the images of all its folds, and these images."""
    import pandas as pd

    frames, tables, start = [], [], 0
    for run in runs:
        frame = run.predictions("validation")
        rows, place = np.unique(frame["sample"].to_numpy(), return_inverse=True)
        frames.append(frame.assign(sample=place + start))
        tables.append(run.table.take(rows))
        start += len(rows)
    return pd.concat(frames, ignore_index=True), stack_tables(tables)


def _degrees(table: Table) -> float | None:
    """Degrees of freedom of figures over the images that have a label, in their groups."""
    groups = table.samples["group"].to_numpy(object)[table.labels() >= 0]
    return units_of(groups, len(groups)).df


def _combine(name: str, pooled: list[Estimate], single: list[float], level: float) -> Estimate:
    """One estimate from that of each repeat; ends of intervals are averaged, as every repeat is of the same images."""
    value, low, high = (float(np.mean([getattr(found, end) for found in pooled])) for end in ("value", "low", "high"))
    method = f"{pooled[0].method}, folds overlap"
    found = Estimate(value, low, high, level, pooled[0].n, method)
    if name not in AVERAGED:
        return found
    mean = float(np.mean(single))
    bottom, top = METRICS[name].span
    # As far to each side as around the pooled figure, but within the figure's range.
    return replace(found, value=mean, low=max(mean - (value - low), bottom), high=min(mean + (high - value), top))
