"""What a training says about itself, in words: each finding with its evidence and the next step.

`diagnose` is pure: history.csv and what evidence.py measured -> findings, the gravest first. A sound training gives no
alarm: it has converged, or was still improving.

What is taken as evidence, and what is not:

- Training figures of the history are harder than those of validation (augmentation, mixing, smoothed labels, dropout,
  weights that changed within the epoch). So they are only set against each other, and against the loss of a network
  that looks at no image; both parts are set against each other as the last weights see them, alike.
- A validation loss has risen where its rise is larger than its error. Both ends are measured on the same images, so
  the error is that of a paired difference; and as the lowest of m epochs is low by luck too, the interval is at level
  1 - 0.05/m (Bonferroni). A class that was never recognized is one of K that could have been.
- Where the last weights are kept, those of the lowest loss are gone: the rise must stand out of how the history
  scatters, it is none while more of the validation images become right, and both parts must be apart as well.
- Against classes of unequal size training sets weights, or draws them equally often: such a network is held against
  what it was asked for, the accuracy in which each class counts alike. So are parts that hold the classes in other
  shares, as no other figure would compare them.
- At the end of a training the learning rate is nearly nothing, which flattens every curve. So a flat end is called
  flat, not the best that is possible, and what more epochs would bring is not foretold.
- Underfitting and overfitting exclude each other, as their next steps do. Advised is what changes the training of
  this model, see levers.py.
- A detector has no loss of looking at no image, so its first epoch's stands for that, and AP50 for accuracy.
- Networks with normalization learn at rates a hundred times apart, so a rate is only called too high or too low where
  the curve shows harm, and where that could have other reasons too, if it is far from the usual one as well.

The bounds were chosen on the runs of benchmarks/diagnosis.py and others like them; those of detectors on made-up
histories and two trainings of Faster R-CNN, one of them on 12 images.

    curves.py       what is read from the curves, and how two looks differ
    case.py         a finding, and a training with what most findings need
    rate.py         diverged, learning rate too high or too low
    lost.py         classes without one image that was recognized
    levers.py       what a model can be advised
    fit.py          underfitting, overfitting, a class never learned
    validation.py   too few validation images, better than training, still improving, converged
    boxes.py        all of these of a detector
    advice.py       the next step of each

Shapes: N images, K classes, E epochs.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING

from tenfold.train.diagnosis.boxes import BoxCase, diagnose_boxes
from tenfold.train.diagnosis.boxes import noisy as noisy_boxes
from tenfold.train.diagnosis.case import Case, Diagnosis
from tenfold.train.diagnosis.fit import never_learned, overfitting, underfitting
from tenfold.train.diagnosis.levers import compared
from tenfold.train.diagnosis.rate import say_diverged, strayed
from tenfold.train.diagnosis.validation import better_than_training, converged, noisy, still_improving

if TYPE_CHECKING:
    import pandas as pd

    from tenfold.train.evidence import Facts

__all__ = ["Diagnosis", "compared", "diagnose", "say_diverged"]


def diagnose(history: pd.DataFrame, facts: Facts) -> list[Diagnosis]:
    """The findings of one training, the gravest first; none of a detector that was not looked at, as R-CNN.

    `history` is history.csv, with NaN where it is empty. Commands in the next steps name the data by the recipe's path,
    or as DATA where that has none.
    """
    path = facts.recipe.data.path
    found = _found(history, facts)
    return [replace(one, next=_with_path(one.next, path)) for one in found] if path else found


def _with_path(advice: str, path: str) -> str:
    """An advice whose commands have the path of the data in place of DATA, as a shell takes it."""
    return re.sub(r"\b(tenfold \w+) DATA\b", lambda match: f"{match[1]} {shlex.quote(path)}", advice)


def _found(history: pd.DataFrame, facts: Facts) -> list[Diagnosis]:
    if not len(facts.last.training.truth):
        return []
    if facts.last.training.part is not None:
        boxes = BoxCase(history, facts)
        astray = strayed(boxes)
        found = [*astray, *noisy_boxes(boxes)] if astray else diagnose_boxes(boxes)
        return sorted(found, key=lambda one: not one.alarm)
    case = Case(history, facts)
    if astray := strayed(case):
        return [*astray, *noisy(case)]
    badly_fitted = [*underfitting(case), *overfitting(case)]
    by_chance = bool(badly_fitted) and case.is_useless  # then it is chance too which classes have no hit
    found = [*badly_fitted, *([] if by_chance else never_learned(case)), *noisy(case)]
    found += still_improving(case) or ([] if badly_fitted or noisy(case) else converged(case))
    found += better_than_training(case)
    return sorted(found, key=lambda one: not one.alarm)
