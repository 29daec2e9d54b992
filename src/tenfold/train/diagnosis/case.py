"""A finding about a training, and a training with what most findings need.

Shapes: N images, K classes, E epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tenfold.estimate import Estimate, to_json
from tenfold.models import find_model
from tenfold.recipe import Recipe
from tenfold.train.diagnosis.curves import Curve, Rise, blind_loss, ends_low, gap, read_curve, read_rise
from tenfold.train.diagnosis.levers import levers
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
_RISEN = 0.03  # of the blind loss: a change of the validation loss that matters, however small that loss was
_OTHER_SHARES = 0.1  # of the images that would have to be of another class for both parts to hold the classes alike

Evidence = dict[str, Estimate | float]


@dataclass(frozen=True)
class Diagnosis:
    """One finding."""

    kind: Kind
    says: str
    """One to three sentences."""
    evidence: Evidence = field(default_factory=dict)
    """Numbers by name; "accuracy" in a name says that it is a share. A class that it is of follows after ": "."""
    next: str = ""
    """What to do or type; or that nothing is to be done."""
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

    @property
    def badly_known(self) -> str:
        """That training images are badly known, in words."""
        mostly = ": most of the error is made on images that it learned from"
        return self.both_words + (mostly if self.validation is not None else ", though it learned from these")

    @cached_property
    def blind(self) -> float:
        """The training loss of a network that looks at no image; of a detector, where none is known, its first one."""
        if self.finds_boxes:
            return self.curve.first if self.curve else math.nan
        return blind_loss(self.facts.trained, self.facts.recipe.train.label_smoothing, balanced=self._is_balanced)

    @property
    def blind_words(self) -> str:
        """Whose loss `blind` is."""
        return "its first epoch" if self.finds_boxes else "looking at no image at all"

    @property
    def figure(self) -> str:
        """What the parts are measured by: "accuracy", "balanced_accuracy" or "ap50"."""
        return "ap50" if self.finds_boxes else "balanced_accuracy" if self.counts_alike else "accuracy"

    @cached_property
    def counts_alike(self) -> bool:
        """Whether each class counts alike in what both parts are measured by, however many images it has.

        It does where training counts so, by class weights or sampling: held against always naming the largest class, a
        network that was kept from doing that would seem to know nothing. And where the parts hold the classes in other
        shares, as with few training images of each class: the part with more of the easy ones would seem better known.
        """
        return self._is_balanced or self.has_other_shares

    @cached_property
    def has_other_shares(self) -> bool:
        """Whether the validation part holds the classes in other shares than training does."""
        seen = self.facts.last.validation
        if seen is None:
            return False
        shares = np.bincount(seen.truth, minlength=len(self.facts.images)) / len(seen.truth)
        return float(np.abs(shares - self.facts.images / self.facts.images.sum()).sum()) / 2 > _OTHER_SHARES

    @property
    def _is_balanced(self) -> bool:
        recipe = self.facts.recipe
        return recipe.train.balance in ("weights", "sampling") and "train.balance" in levers(recipe)

    @cached_property
    def training(self) -> Estimate:
        """The figure of the last weights on training images as they are."""
        found: Estimate = getattr(self.facts.last.training, self.figure)
        return found

    @cached_property
    def validation(self) -> Estimate | None:
        """The figure of the last weights on the validation part."""
        return getattr(self.facts.last.validation, self.figure) if self.facts.last.validation else None

    @cached_property
    def apart(self) -> Estimate | None:
        """By how much it is higher on training images than on the validation part."""
        return None if self.validation is None else gap(self.training, self.validation)

    @property
    def both(self) -> Evidence:
        """The figure of both parts as evidence."""
        name = self.figure
        known = {f"training_{name}": self.training, f"validation_{name}": self.validation, f"{name}_gap": self.apart}
        return {name: found for name, found in known.items() if found is not None}

    @property
    def both_words(self) -> str:
        """The same in words."""
        words = f"The last weights get {percent(self.training)} of the training images right, as they are"
        if self.validation is not None:
            words += f", and {percent(self.validation)} of the validation images"
        return f"{words}, each class counted alike" if self.counts_alike else words

    @property
    def knows_nothing(self) -> bool:
        """Whether the last weights know their own training images no better than by chance."""
        return self.training.value < _UNKNOWN if self.finds_boxes else self.skill(self.training.low) <= 0

    @cached_property
    def base(self) -> float:
        """The accuracy of always naming the same class, the largest one, on training images."""
        images = self.facts.images
        return float(1 / (images > 0).sum() if self.counts_alike else images.max() / images.sum())

    def skill(self, accuracy: float) -> float:
        """How far an accuracy has come from always naming the same class (0) to all right (1)."""
        return (accuracy - self.base) / max(1 - self.base, 1e-9)

    @property
    def has_room(self) -> bool:
        """Whether there is something left to learn on the training images themselves."""
        if self.finds_boxes:
            return self.curve is not None and self.curve.last > _ROOM * self.blind
        return float(self.facts.last.training.loss.mean()) > _ROOM * self.blind

    @cached_property
    def is_useless(self) -> bool:
        """Whether the kept weights may be no better on validation than always naming the same class."""
        seen = self.facts.kept.validation
        return seen is not None and self.skill(getattr(seen, self.figure).low) <= 0

    @cached_property
    def rise(self) -> Rise | None:
        """The rise of the validation loss in the history, if more than scatter and no matter of calibration."""
        return read_rise(self.history)

    def matters(self, loss: float) -> float:
        """A change of the validation loss that matters, of a loss of so much, and however small that is."""
        return max(MATERIAL * loss, _RISEN * self.blind)

    def ends_low(self, slack: float = 0.0) -> bool:
        """Whether the validation loss ended at its lowest, or above it by a share `slack` of that at most."""
        return ends_low(self.history, slack)

    @property
    def rates(self) -> Evidence:
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
