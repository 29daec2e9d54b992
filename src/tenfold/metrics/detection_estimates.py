"""A detector's figures with their intervals, and two detectors on the same images.

The interval of a figure is that of tenfold.estimate: Wilson's, for as many images as vary as much as the figure does
from one bootstrap resample of the images (or groups) to another. Percentiles would be too narrow near 1. Two detectors
are measured on the same resamples, and their difference has Student's interval from its spread over them, with the
p-value of the same distribution. Of several runs of one recipe it is the mean over them that is measured, and how their
seeds differ is added to the intervals and the test as tenfold.metrics.paired does it for classifiers.

Shapes: N images, K classes, B resamples, R runs of one side; A areas and T overlaps as in detection_matching.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.environment import cores
from tenfold.estimate import Estimate, Units, freedom, level_of_each, standard_errors, trials_interval, units_of
from tenfold.metrics.detection_areas import (
    COCO_RECALLS,
    ENVELOPE,
    VOC_RECALLS,
    Draws,
    as_they_are,
    average_precisions,
    draw_images,
    recalls_within,
)
from tenfold.metrics.detection_matching import AREAS, MOST, OVERLAPS, Judged
from tenfold.metrics.paired import Spread, over_seeds, seed_reach, split_variance, spread_test

DRAWS = 1000
"""Resamples: the standard error that they give is itself known to 2 %."""

_THREADS = 8
_LEAST = 1e-12  # what is less is rounding

Figures = dict[str, NDArray[np.float64]]
"""Name -> a value for each resample and class, float64 [B, K], NaN where the resample has no such object."""


class Matches(NamedTuple):
    """A detector's detections on N images as both rules judge them."""

    coco: list[Judged]
    """K classes, by `match_coco`."""
    voc: list[Judged]
    """K classes, by `match_voc`."""


class Resampled(NamedTuple):
    """Figures of the images as they are and of resamples of them."""

    value: Figures
    """B = 1."""
    drawn: Figures


class Compared(NamedTuple):
    """One figure of two detectors, or of two recipes by several runs each."""

    first: Estimate
    """Of several runs their mean, its interval over their seeds too."""
    second: Estimate
    difference: Estimate
    """First minus second; with several runs a side its interval allows for their seeds too."""
    p: float
    """Of a difference so far from 0, were there none: 0 to 1."""
    variance: Spread


def measure(matches: Matches, draws: Draws) -> Figures:
    """Every figure of COCO and VOC, AP at an IoU of 0.5 first, by class."""
    shape = (-1, len(AREAS), len(OVERLAPS))
    precision = np.stack([average_precisions(one, draws, COCO_RECALLS).reshape(shape) for one in matches.coco], 1)
    recall = {
        most: np.stack([recalls_within(one, draws, most).reshape(shape) for one in matches.coco], 1).mean(-1)
        for most in (1, 10, MOST)
    }
    sizes = list(enumerate(AREAS))[1:]
    figures = {"ap50": precision[:, :, 0, 0], "ap": precision[:, :, 0].mean(-1), "ap75": precision[:, :, 0, 5]}
    figures |= {f"ap_{name}": precision[:, :, place].mean(-1) for place, name in sizes}
    figures |= {f"ar_{most}": found[:, :, 0] for most, found in recall.items()}
    figures |= {f"ar_{name}": recall[MOST][:, :, place] for place, name in sizes}
    for name, recalls in (("voc2007", VOC_RECALLS), ("voc2010", ENVELOPE)):
        figures[name] = np.concatenate([average_precisions(one, draws, recalls) for one in matches.voc], 1)
    return figures


def resampled(
    measured: Callable[[Draws], Figures], units: Units, draws: int = DRAWS, seed: int = 0, side: int = 0
) -> Resampled:
    """What `measured` gives for the images as they are and for `draws` resamples of them."""
    value = measured(as_they_are(len(units.index)))  # which compiles what the threads then share
    chunks = draw_images(units, draws, seed, side)
    parts: list[Figures] = []
    threads = min(cores(), _THREADS)
    with ThreadPoolExecutor(threads) as pool:  # the compiled pass holds no lock
        while some := list(islice(chunks, threads)):
            parts += pool.map(measured, some)
    return Resampled(value, {name: np.concatenate([part[name] for part in parts]) for name in value})


def over_classes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean over the classes that there are: float64 [B, K] -> [B], NaN where there is none."""
    known = np.isfinite(values)
    count = known.sum(-1)
    sums = np.where(known, values, 0.0).sum(-1)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def estimate(value: float, drawn: NDArray[np.float64], units: Units, level: float, df: float | None = None) -> Estimate:
    """A figure from 0 to 1 with its interval, `drawn` float64 [B] being the same of resamples; NaN among them is out.

    `units` are those of the images that it is of, `df` the degrees of freedom of its variance where these are fewer.
    """
    drawn = drawn[np.isfinite(drawn)]
    mean, variance = (float(drawn.mean()), float(drawn.var())) if len(drawn) else (value, 0.0)
    largest = mean * (1 - mean)
    effective = largest / variance if variance > _LEAST * largest > 0 else float(units.count)
    low, high = trials_interval(value * effective, effective, units, level, df)
    return Estimate(value, low, high, level, len(units.index), f"bootstrap {units.words}")


def mean_estimates(found: Resampled, matches: Matches, units: Units, level: float) -> dict[str, Estimate]:
    """Each figure's mean over the classes; one of which there is no object is left out.

    Degrees of freedom are Welch's and Satterthwaite's, from what each class adds to the variance (see
    tenfold.estimate): that of a class in three images is as good as unknown.
    """
    free = [class_freedom(judged, units) for judged in matches.coco]
    estimates = {}
    for name, values in found.value.items():
        value = float(over_classes(values)[0])
        if math.isfinite(value):
            known = np.isfinite(values[0])
            spread = _spread(found.drawn[name][:, known])
            own = np.array([one[_area(name)] for one in free])[known]
            df = float(spread.sum() ** 2 / (spread**2 / own).sum()) if spread.any() else float(own.min())
            estimates[name] = estimate(value, over_classes(found.drawn[name]), units, level, df)
    return estimates


def class_estimates(
    found: Resampled, matches: Matches, place: int, units: Units, level: float, names: tuple[str, ...]
) -> dict[str, Estimate | None]:
    """One class's figures, over the images that hold it; None where there is no such object."""
    judged = matches.coco[place]
    holding, free = np.flatnonzero(judged.wanted[0] > 0), class_freedom(judged, units)
    estimates: dict[str, Estimate | None] = dict.fromkeys(names)
    for name in names:
        value = float(found.value[name][0, place])
        if math.isfinite(value):
            own = units.take(holding)
            estimates[name] = estimate(value, found.drawn[name][:, place], own, level, free[_area(name)])
    return estimates


def class_freedom(judged: Judged, units: Units) -> dict[str, float]:
    """Degrees of freedom of a class's figures by range of area: of the images that hold such an object, at least 1."""
    rows = judged.wanted[:: len(OVERLAPS)] > 0
    return {name: freedom(units.index[row]) if row.any() else 1.0 for name, row in zip(AREAS, rows, strict=True)}


def _spread(drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """The variance of each class's figure over resamples, float64 [B, K] -> [K]; 0 where there is none."""
    return np.array([float(own[np.isfinite(own)].var()) if np.isfinite(own).any() else 0.0 for own in drawn.T])


def _area(name: str) -> str:
    """The range of area that a figure is of."""
    last = name.rpartition("_")[2]
    return last if last in AREAS else "all"


def compare_detectors(
    first: Matches,
    second: Matches,
    units: Units,
    level: float = 0.95,
    looks: int = 1,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Compared]:
    """Each figure of two detectors whose detections on the same images were matched to the same objects.

    `units` are those of the images. `looks`: of each side's own figures, see tenfold.looks; the intervals of their
    differences are for detectors that were chosen before any of them.
    """
    return compare_sets([first], [second], units, level, looks, draws, seed)


def compare_sets(
    first: Sequence[Matches],
    second: Sequence[Matches],
    units: Units,
    level: float = 0.95,
    looks: int = 1,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, Compared]:
    """As `compare_detectors`, of the mean over R runs of one recipe on each side; R may differ.

    Raises UsageError where one side alone has one run.
    """
    from scipy.special import stdtr

    sides = first, second
    runs = [
        [resampled(partial(measure, run), units, draws, seed, place) for run in side]
        for place, side in enumerate(sides)
    ]
    found = [_mean_run(side) for side in runs]
    own = replace(units, exact=looks > 1), level_of_each(level, looks)
    shown = [mean_estimates(side, matches[0], *own) for side, matches in zip(found, sides, strict=True)]
    df = units.df or max(units.count - 1, 1)
    compared = {}
    for name in shown[0]:
        figures = [side[name] for side in shown]
        value = figures[0].value - figures[1].value
        gaps = over_classes(found[0].drawn[name]) - over_classes(found[1].drawn[name])
        error = max(float(gaps[np.isfinite(gaps)].std()), _LEAST)
        spread = Spread(error**2, 0.0, math.inf)
        if len(first) + len(second) > 2:
            scores = [_as_scores(side, name, np.isfinite(gaps)) for side in runs]
            spread = split_variance(scores[0], scores[1], _draws_of(scores[0]))._replace(sample=error**2)
            figures = [
                over_seeds(figure, side, _draws_of(side), (0.0, 1.0))
                for figure, side in zip(figures, scores, strict=True)
            ]
        reach = math.hypot(standard_errors(level, df) * error, seed_reach(spread, level))
        ends = max(value - reach, -1.0), min(value + reach, 1.0)
        difference = Estimate(value, *ends, level, len(units.index), f"paired bootstrap {units.words}")
        p = spread_test(value, spread, units) if spread.seed else float(2 * stdtr(df, -abs(value) / error))
        compared[name] = Compared(figures[0], figures[1], difference, p, spread)
    return compared


def _mean_run(runs: Sequence[Resampled]) -> Resampled:
    """The mean over runs that were measured on the same resamples."""
    value, drawn = (
        {name: np.mean([run[name] for run in part], 0) for name in part[0]} for part in zip(*runs, strict=True)
    )
    return Resampled(value, drawn)


def _as_scores(runs: Sequence[Resampled], name: str, kept: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A figure of R runs as tenfold.metrics.paired takes it: float64 [R, B], of the resamples `kept`, bool [B].

    Each run's scores have its figure as their mean, which varies as the figure does from one resample to another: the
    variance of a mean of B scores is theirs over B, so they are spread by the root of B.
    """
    value = np.concatenate([over_classes(run.value[name]) for run in runs])
    drawn = np.stack([over_classes(run.drawn[name])[kept] for run in runs])
    scores: NDArray[np.float64] = value[:, None] + math.sqrt(drawn.shape[1]) * (drawn - drawn.mean(1, keepdims=True))
    return scores


def _draws_of(scores: NDArray[np.float64]) -> Units:
    """What scores float64 [R, B] of `_as_scores` are drawn by: each resample by itself."""
    return units_of(None, scores.shape[1])
