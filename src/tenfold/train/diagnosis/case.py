"""A finding about a training, and a training with what most findings need.

Shapes: N images, K classes, E epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from tenfold.estimate import Estimate, to_json
from tenfold.models import find_model
from tenfold.recipe import Recipe
from tenfold.train.diagnosis.curves import Curve, blind_loss, read_curve
from tenfold.train.evidence import Facts
from tenfold.train.optimizer import LEARNING_RATES

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal[
    "diverged",
    "learning rate too high",
    "learning rate too low",
    "underfitting",
    "overfitting",
    "class never learned",
    "noisy validation",
    "validation better than training",
    "still improving",
    "converged",
]
FAR = 3.0
"""A learning rate so many times the usual one, or a share so small of it, is far from it."""
_ROOM = 0.15  # of the blind loss: training images, as they are, that are better known leave nothing to learn
_UNKNOWN = 0.01  # AP50 on training images: a detector with less knows nothing of them
MATERIAL = 0.05
"""A change of the loss by so large a share of it matters."""


@dataclass(frozen=True)
class Diagnosis:
    """One finding."""

    kind: Kind
    says: str
    """One to three sentences."""
    evidence: dict[str, Estimate | float] = field(default_factory=dict)
    """Numbers by name; "accuracy" in a name says that it is a share. A class that it is of follows after ": "."""
    next: str = ""
    """What to do or type; empty where nothing is to be done."""
    alarm: bool = True
    """Whether something should be done; else it is information."""

    def to_json(self) -> dict[str, Any]:
        """`{"kind", "alarm", "says", "evidence", "next"}`, JSON values."""
        names = ("kind", "alarm", "says", "evidence", "next")
        content: dict[str, Any] = to_json({name: getattr(self, name) for name in names}, "the diagnosis")
        return content


@dataclass(frozen=True)
class Case:
    """A training with what most findings need."""

    history: pd.DataFrame
    facts: Facts

    @cached_property
    def curve(self) -> Curve | None:
        """The training loss by epoch."""
        return read_curve(self.history)

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        return self.facts.recipe.train.lr

    @property
    def finds_boxes(self) -> bool:
        """Whether it is the training of a detector."""
        return self.facts.last.training.part is not None

    @cached_property
    def usual_rate(self) -> float:
        """What the recipe's model has by default with its optimizer."""
        return usual_rate(self.facts.recipe)

    @property
    def is_far(self) -> bool:
        """Whether the rate is far above the usual one."""
        return self.rate >= FAR * self.usual_rate

    @cached_property
    def blind(self) -> float:
        """The training loss of a network that looks at no image; of a detector, where none is known, its first one."""
        if self.finds_boxes:
            return self.curve.first if self.curve else math.nan
        train = self.facts.recipe.train
        return blind_loss(self.facts.images, train.label_smoothing, balanced=train.balance in ("weights", "sampling"))

    @property
    def blind_words(self) -> str:
        """Whose loss `blind` is."""
        return "its first epoch" if self.finds_boxes else "looking at no image at all"

    @property
    def figure(self) -> str:
        """What the parts are measured by: "accuracy" or "ap50"."""
        return "ap50" if self.finds_boxes else "accuracy"

    @cached_property
    def training(self) -> Estimate:
        """Accuracy, or AP50, of the last weights on training images as they are."""
        found: Estimate = getattr(self.facts.last.training, self.figure)
        return found

    @cached_property
    def validation(self) -> Estimate | None:
        """Accuracy, or AP50, of the last weights on the validation part."""
        return getattr(self.facts.last.validation, self.figure) if self.facts.last.validation else None

    @property
    def knows_nothing(self) -> bool:
        """Whether the last weights know their own training images no better than by chance."""
        return self.training.value < _UNKNOWN if self.finds_boxes else self.skill(self.training.low) <= 0

    @cached_property
    def base(self) -> float:
        """The share of the training images that are of the largest class."""
        return float(self.facts.images.max() / self.facts.images.sum())

    def skill(self, accuracy: float) -> float:
        """How far an accuracy has come from always naming the largest class (0) to all right (1)."""
        return (accuracy - self.base) / max(1 - self.base, 1e-9)

    @property
    def has_room(self) -> bool:
        """Whether there is something left to learn on the training images themselves."""
        if self.finds_boxes:
            return self.curve is not None and self.curve.last > _ROOM * self.blind
        return float(self.facts.last.training.loss.mean()) > _ROOM * self.blind

    @cached_property
    def is_useless(self) -> bool:
        """Whether the kept weights may be no better on validation than always naming the largest class."""
        seen = self.facts.kept.validation
        return seen is not None and self.skill(seen.accuracy.low) <= 0

    @property
    def rates(self) -> dict[str, Estimate | float]:
        """Both as evidence."""
        return {"learning_rate": self.rate, "usual_learning_rate": self.usual_rate}

    @property
    def rate_words(self) -> str:
        """Both in words."""
        return f"a learning rate of {self.rate:.2g} (the usual one here is {self.usual_rate:g})"


def usual_rate(recipe: Recipe) -> float:
    """The peak learning rate that a recipe's model has by default with its optimizer."""
    return LEARNING_RATES[recipe.train.optimizer] * find_model(recipe.model.name).usual.rate


def percent(share: Estimate) -> str:
    """ "84.2 % (80.9 to 87.0)"."""
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def points(difference: Estimate) -> str:
    """ "4.1 points (1.0 to 7.2)"."""
    return f"{100 * difference.value:.1f} points ({100 * difference.low:.1f} to {100 * difference.high:.1f})"


def number(found: Estimate) -> str:
    """ "0.91 (0.64 to 1.19)"."""
    return f"{found.value:.2g} ({found.low:.2g} to {found.high:.2g})"
