"""Scores of detections: from which one on few are false, and how often a score is right.

A detection is right where it found an object at an IoU of 0.5 by COCO's rule. Those of one image are right or wrong
together, so images (or groups of them) are the units of every interval here.

A score is supported for a precision P at a level if fewer false detections than there are would have been that lucky:
the lower end of Clopper and Pearson's interval of the precision from that score on, with the effective number of
detections of tenfold.estimate, is at least P. Of G steps that are looked at, each has to hold at 1 - (1 - level) / G,
so that whichever is chosen keeps the promise ("Learn then test" with Bonferroni's correction: Angelopoulos et al. 2021,
https://arxiv.org/abs/2110.01052). abstention.py follows single answers more sharply, which need to be independent.

Shapes: D detections that are right or false, those to ignore left out; G steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import Units, check_level, clopper_pearson, mean_moments, units_of
from tenfold.metrics.calibration import calibration_error, equal_bins, fit_temperature
from tenfold.metrics.intervals import share

_FEWEST = 20  # detections at the first step
_RATIO = 0.75  # of the detections at one step to those at the next
_EDGE = 1e-6  # scores of 0 and 1 have no log odds


class ScoreStep(NamedTuple):
    """A score from which on detections might be shown, and what came of that on validation images."""

    score: float
    """The lowest one that is shown."""
    shown: int
    false: int
    """Of those shown."""
    trials: float
    """How many independent detections would say as much as those shown."""
    df: float | None
    """Degrees of freedom of that; None: as many as one likes."""


class BestF1(NamedTuple):
    """The score with the highest F1, and what it gives."""

    score: float
    f1: float
    precision: float
    recall: float


def detection_units(image: NDArray[np.int64], units: Units) -> Units:
    """The units of D detections, `image` int64 [D], from those of the images; at least one detection."""
    found = units_of(units.index[image].astype(object), len(image), units.exact, units.overlap)
    return found if units.grouped else _of_images(found)


def score_steps(score: NDArray[np.float64], right: NDArray[np.bool_], units: Units) -> list[ScoreStep]:
    """Steps from few detections shown to all D, about a third more each; empty with fewer than 20 detections.

    `score` float64 [D], `right` bool [D]; `units` are those of `detection_units`.
    """
    order = np.argsort(-score, kind="stable")
    ranked, steps = score[order], {}
    count = len(order)
    while count >= _FEWEST:
        # What has the same score as the last one that is shown is shown too.
        shown = int(np.searchsorted(-ranked, -ranked[count - 1], side="right"))
        rows = order[:shown].astype(np.int64)
        own = units.take(rows)
        hits = right[rows].astype(np.float64)
        mean, variance = mean_moments(hits, own, np.ones(1), np.zeros(1))
        trials = min(mean * (1 - mean) / variance, shown)
        steps[shown] = ScoreStep(float(ranked[count - 1]), shown, int(shown - hits.sum()), float(trials), own.df)
        count = min(int(count * _RATIO), count - 1)
    return [steps[shown] for shown in sorted(steps)]


def choose_score(steps: Sequence[ScoreStep], precision: float, level: float = 0.95) -> ScoreStep | None:
    """The step that shows most of those at which at least `precision` is right, at `level`; None for none.

    Both numbers lie between 0 and 1. Raises UsageError where they do not.
    """
    check_level(level)
    if not 0 < precision < 1:
        raise UsageError(f"precision must lie between 0 and 1, for example 0.95, not {precision:g}.")
    passed = []
    for step in steps:
        right = (1 - step.false / step.shown) * step.trials
        two_sided = 1 - 2 * (1 - level) / len(steps)
        if two_sided > 0 and clopper_pearson(right, step.trials, two_sided, step.df)[0] >= precision:
            passed.append(step)
    return max(passed, key=lambda step: step.shown) if passed else None


def best_f1(score: NDArray[np.float64], right: NDArray[np.bool_], wanted: int) -> BestF1 | None:
    """The score that gives the highest F1 (of equal ones the highest); None without a right detection.

    Scores are float64 [D] from 0 to 1. The one given lies halfway between the lowest that is shown and the next below,
    so that rounding decides nothing. `wanted` is how many objects there are, each with at most one right detection.
    """
    order = np.argsort(-score, kind="stable")
    ranked, found = score[order], np.cumsum(right[order])
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if len(ranked) else np.empty(0, np.int64)
    if not len(last) or not found[-1]:
        return None
    f1 = 2 * found[last] / (last + 1 + wanted)
    best = int(np.argmax(f1))
    hits, shown = int(found[last[best]]), int(last[best]) + 1
    cut = (ranked[shown - 1] + (ranked[shown] if shown < len(ranked) else 0.0)) / 2
    return BestF1(float(cut), float(f1[best]), hits / shown, hits / wanted)


def score_reliability(
    score: NDArray[np.float64], right: NDArray[np.bool_], units: Units, level: float = 0.95
) -> dict[str, Any]:
    """{"error": the calibration error, "bins": [{"score": mean in the bin, "right": Estimate}]}, scores rising.

    `score` float64 [D] from 0 to 1, `right` bool [D], at least one; `units` are those of `detection_units`.
    """
    hits = right.astype(np.float64)
    bins = [
        {"score": float(score[rows].mean()), "right": share(hits[rows], _some(units, rows), level)}
        for rows in equal_bins(score)
    ]
    return {"error": calibration_error(score, hits, units, level), "bins": bins}


def fit_score_temperature(score: NDArray[np.float64], right: NDArray[np.bool_], units: Units) -> float:
    """What to divide the log odds of a score by so that it is how often a detection is right: see `fit_temperature`.

    `score` float64 [D] from 0 to 1, `right` bool [D], at least one; `units` are those of `detection_units`.
    """
    odds = _log_odds(score)
    logits = np.stack([np.zeros(len(odds)), odds], 1)
    return fit_temperature(logits, right.astype(np.int64), units.index.astype(object) if units.grouped else None)


def tempered(score: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Scores float64 [D], 0 to 1, whose log odds are divided by the temperature."""
    chances: NDArray[np.float64] = 1 / (1 + np.exp(-_log_odds(score) / temperature))
    return chances if temperature != 1 else score


def _some(units: Units, rows: NDArray[np.int64]) -> Units:
    """The units of some of the detections."""
    found = units.take(rows)
    return _of_images(found) if units.words.endswith("images") else found


def _of_images(units: Units) -> Units:
    """The same, called what they are: images that have several detections."""
    return replace(units, words=f"over {units.count} images") if units.grouped else units


def _log_odds(score: NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(score, _EDGE, 1 - _EDGE)
    odds: NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
    return odds
