"""Learning curve: errors at growing numbers of training images -> what twice as many images are expected to bring.

The error of a classifier falls with the number n of its training images about as

    error(n) = a + b n^-c        a: what no number of images removes; c: how fast the rest falls

(Hestness et al. 2017, https://arxiv.org/abs/1712.00409; Mahmood et al. 2022, https://arxiv.org/abs/2207.01725, on how
uncertain extrapolations of it are). A handful of points does not settle three parameters, so all curves of a grid are
weighed by how well they fit, with the exponents that such studies report taken as more likely before; the band and the
expected gain are those of the weighed curves together, not of the best one.

All trainings are judged by the same validation images. By as much as these happen to be easier or harder than others,
the whole curve lies too high or too low, and however many trainings there are tell nothing of it. So to the band of an
accuracy that of as many validation images is added, Wilson's, each side in squares ("MOVER": Zou and Donner 2008,
https://doi.org/10.1002/sim.3095). A gain is moved as it would be were the odds of all errors changed alike: most of the
luck falls out of it, but where errors look too small by a third, so does what more images take off them.

How much of the chance among images is shared is not known from counts. The curves are weighed as if none were, and
moved as if all were: in simulation (tests/test_learning_curve.py) accuracies lie in their bands in 97 to 100 % of
cases, which is wider than need be, and gains in 87 to 100 %, least where a curve flattens sooner than is usual.

benchmarks/learning_curve.py holds what half of the images predict against what all of them gave.

Shapes: M trainings, G curves.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import Estimate, check_level, level_percent, standard_errors, to_json, wilson
from tenfold.evaluate.evaluation import evaluate_run
from tenfold.run import Run
from tenfold.split.copies import images_of

Floats = NDArray[np.float64]

FLOORS = 0.999 * np.linspace(0.0, 1.0, 60) ** 1.6
"""a, as a share of the lowest error: denser near 0, where error falls on as far as anyone has looked."""
EXPONENTS = np.geomspace(0.03, 2.0, 80)
TYPICAL, SPREAD = 0.35, 1.2
"""Middle and spread of the exponents before anything is seen, on the logarithmic scale."""
MISFIT = 0.03
"""By which share of itself an error may be off the curve, as no training follows a power law exactly."""
HEIGHTS = np.linspace(-4.0, 4.0, 41)
"""b, in standard errors around the one that fits best."""


@dataclass(frozen=True)
class Point:
    """One training on part of the images."""

    images: int
    """Training images, without augmented copies of them."""
    hits: int
    """Validation images that were told right."""
    n: int
    """Validation images."""
    seed: int
    worth: float = 0.0
    """How many independent validation images would say as much: fewer than n where they are in groups; 0 is n."""
    share: float = 0.0
    """Of the training images, as asked for; 0: not known. Drawn in whole groups, it is of other sizes by seed."""

    @property
    def trials(self) -> float:
        """As many independent images as the validation part is worth."""
        return self.worth or float(self.n)

    @property
    def accuracy(self) -> Estimate:
        """The share of hits."""
        share = self.hits / self.n
        low, high = wilson(share * self.trials, self.trials)
        return Estimate(share, low, high, 0.95, self.n, f"Wilson over {self.trials:.0f} images' worth")

    @property
    def error(self) -> float:
        """With half a right and half a wrong answer added, so that it is neither 0 nor 1."""
        return (self.n - self.hits + 0.5) / (self.n + 1)


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Curves through the points, weighed."""

    points: tuple[Point, ...]
    level: float = 0.95
    repeated: int = 0
    """Trainings that are no points, as they came out as another one on the same images did."""

    @property
    def most(self) -> int:
        """The most images that were trained on."""
        return max(point.images for point in self.points)

    def accuracy(self, images: float) -> Estimate:
        """The accuracy expected at so many training images, from 0 to 1, on any validation images."""
        found = self._estimate(1 - self._errors(images))
        low, high = self._chance(found.value)
        return _widened(found, found.value - low, high - found.value)

    def gain(self, images: float) -> Estimate:
        """How much the accuracy is expected to rise from the most images that were trained on to so many."""
        found = self._estimate(self._errors(self.most) - self._errors(images))
        before, after = (float((1 - self._errors(number)) @ self._weights) for number in (self.most, images))
        unlucky, lucky = (_moved(after, before, end) - end for end in self._chance(before))
        small, large = sorted((unlucky, lucky, found.value))[::2]
        return _widened(found, found.value - small, large - found.value)

    def luck(self, images: float) -> float:
        """By how much the accuracy of one training on so many images may differ from the expected one; 0: not known."""
        error = float(self._errors(images) @ self._weights)
        return standard_errors(self.level, None) * math.sqrt(self._between) * error

    def to_json(self) -> dict[str, Any]:
        """Points, the curve at some numbers of images, and the gain of twice as many."""
        numbers = np.unique(np.geomspace(min(point.images for point in self.points), 4 * self.most, 25).astype(int))
        content: dict[str, Any] = to_json(
            {
                "points": [vars(point) for point in self.points],
                "repeated": self.repeated,
                "curve": [{"images": number, "accuracy": self.accuracy(number)} for number in numbers.tolist()],
                "double": 2 * self.most,
                "gain": self.gain(2 * self.most),
                "luck": self.luck(2 * self.most),
            }
        )
        return content

    def _estimate(self, values: Floats) -> Estimate:
        order = np.argsort(values)
        below = np.cumsum(self._weights[order])
        tail = (1 - self.level) / 2
        low, high = (float(values[order][np.searchsorted(below, share)]) for share in (tail, 1 - tail))
        value = float(np.sum(values * self._weights))
        count = max(point.n for point in self.points)  # the same images for all
        return Estimate(value, min(low, value), max(high, value), self.level, count, "power law, weighed curves")

    def _chance(self, accuracy: float) -> tuple[float, float]:
        """Between which accuracies the truth may lie for the choice of validation images alone."""
        trials = float(np.median([point.trials for point in self.points]))
        return wilson(min(max(accuracy, 0.0), 1.0) * trials, trials, self.level)

    def _errors(self, images: float) -> Floats:
        a, b, c = self._curves
        return np.clip(a + b * (images / self.most) ** -c, 0.0, 1.0)

    @cached_property
    def _fit(self) -> tuple[tuple[Floats, Floats, Floats], Floats]:
        """The curves (a, b, c), each float64 [G], with images counted in units of the most; and their weights [G]."""
        images = np.array([point.images / self.most for point in self.points])
        errors = np.array([point.error for point in self.points])
        variances = self._variances(errors)
        floor, exponent = (grid.ravel() for grid in np.meshgrid(FLOORS * errors.min(), EXPONENTS, indexing="ij"))
        powers = images[None, :] ** -exponent[:, None]
        precision = np.sum(powers**2 / variances, 1)
        best = np.sum(powers * (errors - floor[:, None]) / variances, 1) / precision
        height = best[:, None] + HEIGHTS[None, :] / np.sqrt(precision)[:, None]
        misfit = np.sum((errors - floor[:, None] - best[:, None] * powers) ** 2 / variances, 1)
        prior = -0.5 * (np.log(exponent / TYPICAL) / SPREAD) ** 2
        # A curve's height b is integrated over: its Gaussian around the best one, whose width is precision^-1/2.
        log_weight = (prior - 0.5 * misfit - 0.5 * np.log(precision))[:, None] - 0.5 * HEIGHTS[None, :] ** 2
        log_weight = np.where(height > 0, log_weight, -np.inf)
        weight = np.exp(log_weight - log_weight.max())
        a, c = (np.repeat(values, len(HEIGHTS)) for values in (floor, exponent))
        return (a, height.ravel(), c), (weight / weight.sum()).ravel()

    @cached_property
    def _between(self) -> float:
        """The variance of a training's error, as a share of the squared error, as far as seeds show it; else 0."""
        errors = np.array([point.error for point in self.points])
        drawn = np.array([(point.share, 0 if point.share else point.images) for point in self.points])
        groups = [errors[(drawn == one).all(1)] for one in np.unique(drawn, axis=0)]
        repeated = [group for group in groups if len(group) > 1]
        return float(np.mean([group.var(ddof=1) / group.mean() ** 2 for group in repeated])) if repeated else 0.0

    @property
    def _curves(self) -> tuple[Floats, Floats, Floats]:
        return self._fit[0]

    @property
    def _weights(self) -> Floats:
        return self._fit[1]

    def _variances(self, errors: Floats) -> Floats:
        """Of each error: chance among validation images, and chance in training as far as seeds show it.

        Seeds differ in proportion to the error: at 40 training images by tens of points, at 300 by tenths. One spread
        for all sizes would let the curve pass by the last points, which matter most. Seeds are held against each other
        within a share, whose draws of whole groups differ by some images; where none is known, at one number of images.

        The validation images are the same for all points, so that errors at two sizes vary less against each other
        than two independent ones; to take them for independent is cautious for a gain. For an accuracy it alone would
        be bold, as many points may agree on an error that they all share: see `_chance`.
        """
        sampling = errors * (1 - errors) / np.array([point.trials + 1 for point in self.points])
        variances: Floats = sampling + (self._between + MISFIT**2) * errors**2
        return variances


def fit_learning_curve(points: Sequence[Point], *, level: float = 0.95) -> LearningCurve:
    """The learning curve through trainings on at least three different numbers of images.

    Raises UsageError for fewer, for impossible counts, or for a level outside 0 to 1.

    >>> counts = {50: 60, 100: 70, 200: 78, 400: 84}
    >>> curve = fit_learning_curve([Point(images, hits, 100, seed=0) for images, hits in counts.items()])
    >>> 0 < curve.gain(800).low < curve.gain(800).value < 0.1
    True
    """
    check_level(level)
    if len({point.images for point in points}) < 3:
        raise UsageError("A learning curve needs trainings on at least three different numbers of images.")
    for point in points:
        if not (point.images > 0 and 0 <= point.hits <= point.n and point.n > 0 and point.share >= 0):
            raise UsageError(f"A point needs images > 0, 0 <= hits <= n, n > 0 and share >= 0, not {point}.")
    # All images are the same ones with every seed: a head on frozen features that is fitted to them again is no news.
    told = {(point.share, point.images, point.hits if point.share == 1 else point): point for point in points}
    return LearningCurve(tuple(told.values()), level, len(points) - len(told))


def evaluate_subsets(runs: Sequence[Run], *, level: float = 0.95) -> LearningCurve:
    """The learning curve of runs on growing shares of the training images, as `train_subsets` gives them.

    Each is evaluated on its validation part; its first figure, a share of right answers, is the curve's. The share of
    the training images that a run is of stands in its folder's name. Augmented copies are no images, and not counted.
    """
    points = []
    for run in runs:
        evaluation = evaluate_run(run, "validation", level=level)
        accuracy = next(iter(evaluation.figures.values()))
        hits = round(accuracy.value * evaluation.n)
        worth = min(images_worth(accuracy), float(evaluation.n))
        images, seed = len(images_of(run.table.part("train"))), run.recipe.train.seed
        points.append(Point(images, hits, evaluation.n, seed, worth, share_of(run)))
    return fit_learning_curve(points, level=level)


def share_of(run: Run) -> float:
    """The share of the training images that `train_subsets` gave a run, as its folder says; 0 for any other run."""
    named = re.fullmatch(r"share(\d+(?:\.\d+)?(?:e[+-]?\d+)?)-seed\d+", run.path.name)
    return float(named[1]) if named else 0.0


def images_worth(share: Estimate) -> float:
    """Of how many independent images Wilson's interval would end where that of a proportion does."""
    end = share.low if share.low < share.value else share.high
    return standard_errors(share.level, None) ** 2 * end * (1 - end) / (share.value - end) ** 2


def _moved(accuracy: float, start: float, end: float) -> float:
    """The accuracy that images have on which one of `start` becomes `end`: the odds of all change alike."""
    right, wrong = accuracy * end * (1 - start), (1 - accuracy) * (1 - end) * start
    return right / (right + wrong)


def _widened(found: Estimate, below: float, above: float) -> Estimate:
    """The interval with another error, independent of its own, that reaches so far; within 0 to 1."""
    low = found.value - math.hypot(found.value - found.low, below)
    high = found.value + math.hypot(found.high - found.value, above)
    return replace(found, low=max(low, 0.0), high=min(high, 1.0))


def say_repeated(curve: LearningCurve) -> str:
    """Why there are fewer points than trainings, a sentence; empty where there are as many."""
    if not curve.repeated:
        return ""
    one = curve.repeated == 1
    return (
        f"{curve.repeated} training{'' if one else 's'} on all images {'is' if one else 'are'} not among these: with "
        "another seed the images are the same ones, and as many were told right, which is no news."
    )


def say_gain(curve: LearningCurve) -> str:
    """What twice as many images are expected to bring, in a sentence, and in another what follows from it."""
    double = 2 * curve.most
    gain = curve.gain(double)
    low, value, high, luck = (100 * share for share in (gain.low, gain.value, gain.high, curve.luck(double)))
    single = f", and one training may differ from that by {luck:.1f}" if luck else ""
    now, then = (100 * curve.accuracy(images).value for images in (curve.most, double))
    text = (
        f"Twice as many training images ({double:,} instead of {curve.most:,}) are expected to raise the accuracy by "
        f"{value:.1f} points, from about {now:.1f} to {then:.1f} %; {low:.1f} to {high:.1f} points are possible "
        f"({level_percent(gain.level)} % band){single}."
    )
    if high < 1:
        return f"{text} So more images of this kind would hardly help; look at the labels, the network or the recipe."
    if low > 1:
        return f"{text} So more images would help."
    return (
        f"{text} So it is open whether more images help much; more seeds (--seeds) or a larger validation part would "
        "narrow the band."
    )
