"""Rungs: what each way to answer gave, which one to take, and what the choice is worth.

Shapes: N images, K classes, R repeats of the folds, C candidates (a rung with one strength each).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import Estimate, Units, mean_moments, score_interval, to_json
from tenfold.evaluate.folds import overlap_factor
from tenfold.metrics.intervals import mean_estimate
from tenfold.metrics.probability import log_losses
from tenfold.models.heads import Answers, best_answers
from tenfold.transfer.choice import choices_without, choose_candidate

BLIND = "majority"
"""The head that looks at no image, against which all others are held."""
_UNTOLD = (
    "It is not better than the majority class by more than one standard error, so these images do not show yet that it "
    "has learned anything; more would tell."
)
_CORRECTED = ", folds overlap, corrected for the choice"


@dataclass(frozen=True)
class Exam:
    """What every rung is asked: the same images, by the same folds."""

    labels: NDArray[np.int64]
    """[N], 0 to `classes` - 1."""
    classes: int
    folds: NDArray[np.int64]
    """[R, N], the fold of each image; as many folds in each repeat."""
    units: Units
    """What is drawn independently: images, or groups of them."""
    level: float = 0.95

    @property
    def fold_count(self) -> int:
        """Folds of a repeat."""
        return len(np.unique(self.folds[0]))

    @property
    def widen(self) -> float:
        """What standard errors are multiplied by, as folds share training images."""
        return math.sqrt(overlap_factor(self.fold_count, len(self.folds)))

    @property
    def shared(self) -> Units:
        """The units with the variance that figures over all folds have."""
        return replace(self.units, overlap=self.widen**2)


@dataclass(frozen=True)
class Tried:
    """One rung as it was climbed."""

    words: str
    settings: dict[str, Any]
    """As `Rung.settings`, without "strength" and "sharpness"."""
    cost: int
    """Multiply-adds of the network for an image; those of the heads on it, the majority class too, are as good as none:
    of one network whatever answers best is taken."""
    answers: list[Answers]
    """With each strength."""
    seconds: float


@dataclass(frozen=True)
class Rung:
    """One way to answer, and how good it is."""

    words: str
    settings: dict[str, Any]
    """What a recipe's [transfer] says: those of its source, "head", "strength" and "sharpness"."""
    log_loss: Estimate
    accuracy: Estimate
    seconds: float
    """Of all its fits, and of its source's features where it is the first to need them."""


@dataclass(frozen=True)
class Ladder:
    """The rungs that were climbed, which one to take, and what the choice is worth."""

    rungs: tuple[Rung, ...]
    chosen: int
    """Place in `rungs`."""
    reason: str
    """Why that one, a sentence."""
    log_loss: Estimate
    """Of the whole procedure, choice included."""
    accuracy: Estimate
    folds: int
    repeats: int
    seconds: float
    left_out: tuple[str, ...] = ()
    """What was not climbed and why, a sentence each."""
    flattered: str = ""
    """Why the rungs' figures are too good, a sentence; empty where they are not."""

    @property
    def best(self) -> Rung:
        """The rung to take."""
        return self.rungs[self.chosen]

    def to_json(self) -> dict[str, Any]:
        """JSON values, each Estimate as {"value", "low", "high", "level", "n", "method"}."""
        names = ("words", "settings", "log_loss", "accuracy", "seconds")
        rungs = [{name: getattr(rung, name) for name in names} for rung in self.rungs]
        own = ("chosen", "reason", "log_loss", "accuracy", "folds", "repeats", "seconds", "left_out", "flattered")
        content: dict[str, Any] = to_json({"rungs": rungs, **{name: getattr(self, name) for name in own}})
        return content


def choose_rung(tried: Sequence[Tried], exam: Exam, seconds: float, left_out: Sequence[str] = ()) -> Ladder:
    """Choose among all rungs, each with any of its strengths, and say what every rung and the choice are worth.

    A rung's own figures allow for its strength having been chosen, those of the whole for the rung too.
    """
    columns = [(rung, answers) for rung, own in enumerate(tried) for answers in own.answers]
    costs = np.array([tried[rung].cost for rung, _ in columns], np.int64)
    losses = np.stack([answers.loss for _, answers in columns], 1)
    chosen, kept = columns[choose_candidate(losses, costs, exam.units, exam.widen)]
    rungs = []
    for place, own in enumerate(tried):
        taken = kept if place == chosen else best_answers(own.answers)
        figures = _figures(own.answers, np.zeros(len(own.answers), np.int64), taken, exam)
        settings = own.settings | {"strength": taken.strength, "sharpness": taken.sharpness}
        rungs.append(Rung(own.words, settings, *figures, own.seconds))
    whole = _figures([answers for _, answers in columns], costs, kept, exam)
    lowest = columns[int(losses.mean(0).argmin())][0]
    reason = _reason(tried[chosen], tried[lowest], min(costs))
    blind = next((answers.loss for rung, answers in columns if tried[rung].settings["head"] == BLIND), None)
    if blind is not None and tried[chosen].settings["head"] != BLIND:
        pair, dearer = np.stack([blind, kept.loss], 1), np.array([0, 1], np.int64)
        if choose_candidate(pair, dearer, exam.units, exam.widen) == 0:
            reason = f"{reason} {_UNTOLD}"
    return Ladder(tuple(rungs), chosen, reason, *whole, exam.fold_count, len(exam.folds), seconds, tuple(left_out))


def _reason(chosen: Tried, lowest: Tried, least: int) -> str:
    """Why that one: what is compared is each at its best strength, which the rungs' own figures allow for."""
    if lowest is not chosen:
        return (
            f"{chosen.words}: the best on the cheapest network that, with each at its best strength, is within one "
            f"standard error of the lowest log loss, which {lowest.words} has."
        )
    cheaper = ", and nothing on a cheaper network is within one standard error of it" if chosen.cost > least else ""
    return f"{chosen.words}: with each at its best strength its log loss is the lowest{cheaper}."


def _figures(
    candidates: list[Answers], costs: NDArray[np.int64], taken: Answers, exam: Exam
) -> tuple[Estimate, Estimate]:
    """Log loss and accuracy of a choice among candidates, of which `taken` was chosen."""
    losses = np.stack([answers.loss for answers in candidates], 1)
    hits = np.stack([answers.hits for answers in candidates], 1)
    shares = choices_without(losses, costs, exam.units, exam.widen)
    return _loss_estimate((shares * losses).sum(1), taken, exam), _share_estimate((shares * hits).sum(1), exam)


def _loss_estimate(judged: NDArray[np.float64], taken: Answers, exam: Exam) -> Estimate:
    """The mean of losses float64 [N]; how far it could be off is told by the probabilities of the chosen candidate."""
    order = np.argsort(taken.probability, axis=1, kind="stable")
    right, wrong = (log_losses(order[:, place], taken.probability, order[:, place]) for place in (-1, -2))
    doubt = 1 - taken.probability.max(1)
    found = mean_estimate(judged, right, wrong, doubt, exam.shared, exam.level, (0.0, math.inf))
    return Estimate(found.value, found.low, found.high, exam.level, found.n, f"{found.method}{_CORRECTED}")


def _share_estimate(judged: NDArray[np.float64], exam: Exam) -> Estimate:
    """The mean of hits float64 [N], which are fractions where choices or repeats differed."""
    value = float(judged.mean())
    moments = mean_moments(judged, exam.units, np.ones(1), np.zeros(1))
    low, high = score_interval(value, *moments, exam.shared, exam.level)
    return Estimate(value, low, high, exam.level, len(judged), f"Wilson {exam.units.words}{_CORRECTED}")
