r"""Folds: the runs of a repeated cross-validation -> figures of the procedure that made them.

What is estimated is the procedure: this recipe, trained on as many images as the folds leave, and not one of the
models. Accuracy and figures of counts (F1 and its kin) are taken over all images of a repeat at once, for a fold may
hold none of a rare class; so is the calibration error, which in a fold of few images is mostly chance cut off at 0.
Areas and the means of probabilities are averaged over folds: scores of different models have no common scale (Forman
and Scholz, "Apples-to-apples in cross-validation studies", 2010, https://doi.org/10.1145/1882471.1882479).

A detector's figures (AP and AR) are pooled: the detections in all images of a repeat are ranked together, each image
answered by the model that has not seen it. That scores have no common scale makes a pooled AP too low, if anything; but
an AP averaged over folds is too high, since its envelope takes the best precision at a recall or beyond, which among
few objects is mostly luck, and a class is left out wherever a fold has no object of it. benchmarks/box_folds.py
compares both with the truth.

Each fold's probabilities are calibrated by a temperature that `train_folds` fitted on the other folds, so that log
loss, Brier score and calibration error are those of images that had no say in it. One say is left to a fold's images:
each training keeps the epoch that did best on them, unless its recipe keeps the last one.

Every image is tested once a repeat, but the training sets overlap, so that the folds' errors are not independent and
the interval of so many independent images would be too narrow. Nadeau and Bengio (2003,
https://doi.org/10.1023/A:1024068626366) enlarge the variance of the mean over k folds and r repeats from 1 / (k r) to
1 / (k r) + n_validation / n_train fold variances. Here a fold's variance is that of its images (or groups), known much
better than from k r values, and n_validation / n_train is 1 / (k - 1). The k folds together being one test of all
images, the variance over all of them is multiplied by

    c = k (1 / (k r) + 1 / (k - 1)) = 1 / r + k / (k - 1)        1.75 for 5 folds twice, 2.25 for 5 folds once

which every interval knows as `Units.overlap`: it is that of c times fewer images, with the degrees of freedom that the
figure has. What is no mean over images, as an AP, is one nearly: of what each image adds to it (its influence), whose
variance the resamples of images show. benchmarks/folds.py and benchmarks/box_folds.py simulate how often intervals hold
the truth.

Shapes: J = k r runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tenfold.errors import UsageError
from tenfold.estimate import Estimate, check_level, to_json
from tenfold.evaluate.evaluation import answer_part, evaluate_answers
from tenfold.images.table import Table, stack_tables
from tenfold.metrics import METRICS
from tenfold.run import Run
from tenfold.split.copies import are_copies

if TYPE_CHECKING:
    import pandas as pd

AVERAGED = ("log_loss", "brier", "roc_auc", "average_precision")
"""Figures that are averaged over folds; all others are of the images of a repeat together."""

_PART = "validation"


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
    n_copies: int = 0
    """Augmented copies of these that a model was trained on as well, on average."""

    @property
    def basis(self) -> str:
        """What the figures are of, in words."""
        times = f", {self.repeats} times" if self.repeats > 1 else ""
        copies = f" and {self.n_copies:,} copies of them" if self.n_copies else ""
        folds = f"{self.folds} folds{times}, {self.n:,} images"
        return f"this procedure at {self.n_train:,} training images{copies}, by {folds}"

    @property
    def estimand(self) -> str:
        """What the figures estimate, a sentence."""
        copies = f" and {self.n_copies:,} copies of them" if self.n_copies else ""
        return (
            f"What models of this recipe, each trained on {self.n_train:,} such images{copies}, reach on new ones on "
            f"average; it is said of none of these {self.folds * self.repeats} models alone."
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values, each Estimate as {"value", "low", "high", "level", "n", "method"}."""
        names = ("folds", "repeats", "n", "n_train", "n_copies", "basis", "estimand", "figures", "spread")
        content: dict[str, Any] = to_json({name: getattr(self, name) for name in names})
        return content


class _Fold(NamedTuple):
    """What a run is worth on its fold alone, and what it answered there."""

    figures: dict[str, Estimate]
    """Empty where nothing in the fold can be measured, as no image of it has an object."""
    predictions: pd.DataFrame
    table: Table


def evaluate_folds(runs: Sequence[Run], folds: int, *, level: float = 0.95, **options: Any) -> CrossValidation:
    """Evaluate each run on its fold and say what their common procedure is worth.

    `runs` come repeat by repeat, `folds` a repeat, as `train_folds` gives them; `options` go to the task's figures.
    Each run has its predictions and figures written into it, as by `evaluate_run`; the latter are left out where its
    fold has nothing to be measured by. Raises UsageError unless the runs are whole repeats of at least two folds, and
    what `evaluate_run` raises of all folds together.
    """
    check_level(level)
    if folds < 2 or not runs or len(runs) % folds:
        raise UsageError(f"runs must be whole repeats of at least two folds, not {len(runs)} runs for {folds} folds.")
    repeats, options = len(runs) // folds, {"level": level, **options}
    single = [_evaluate(run, options) for run in runs]
    stacks = [_stack(single[place : place + folds]) for place in range(0, len(runs), folds)]
    factor = overlap_factor(folds, repeats)
    pooled = [runs[0].task.findings(*stack, options, overlap=factor).figures for stack in stacks]
    spread = {name: [float(one.figures[name].value) for one in single if name in one.figures] for name in pooled[0]}
    figures = {
        name: _combine(name, [found[name] for found in pooled], spread[name])
        for name in pooled[0]
        if all(name in found for found in pooled) and (name not in AVERAGED or spread[name])
    }
    copied = [are_copies(run.table.part("train")) for run in runs]
    trained, copies = (
        round(float(np.mean([own.sum() for own in rows]))) for rows in ([~own for own in copied], copied)
    )
    return CrossValidation(folds, repeats, next(iter(figures.values())).n, trained, figures, spread, copies)


def overlap_factor(folds: int, repeats: int) -> float:
    """By how much the variance over all images grows as folds share training images: c, see the top of this file."""
    return 1 / repeats + folds / (folds - 1)


def _evaluate(run: Run, options: dict[str, Any]) -> _Fold:
    answered = answer_part(run, _PART)
    try:
        figures = evaluate_answers(run, _PART, answered, options).figures
    except UsageError:  # of a fold without objects; whatever else is wrong, is so of all folds together
        figures = {}
    return _Fold(figures, answered.predictions, answered.prepared.table)


def _stack(folds: Sequence[_Fold]) -> tuple[pd.DataFrame, Table]:
    """The predictions of one repeat for the images of all its folds, and these images, those without any among them."""
    import pandas as pd

    starts = np.cumsum([0, *(len(fold.table) for fold in folds)]).tolist()
    frames = [
        fold.predictions.assign(sample=fold.predictions["sample"] + start)
        for fold, start in zip(folds, starts, strict=False)
    ]
    filled = [frame for frame in frames if len(frame)] or frames[:1]  # one without rows lacks the others' columns
    return pd.concat(filled, ignore_index=True), stack_tables([fold.table for fold in folds])


def _combine(name: str, pooled: list[Estimate], single: list[float]) -> Estimate:
    """One estimate from that of each repeat; ends of intervals are averaged, as every repeat is of the same images."""
    value, low, high = (float(np.mean([getattr(found, end) for found in pooled])) for end in ("value", "low", "high"))
    found = replace(pooled[0], value=value, low=low, high=high, method=f"{pooled[0].method}, folds overlap")
    if name not in AVERAGED:
        return found
    mean = float(np.mean(single))
    bottom, top = METRICS[name].span
    # As far to each side as around the pooled figure, but within the figure's range.
    return replace(found, value=mean, low=max(mean - (value - low), bottom), high=min(mean + (high - value), top))
