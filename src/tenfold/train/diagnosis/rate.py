"""Trainings that went astray: diverged, learning rate too high or too low."""

from __future__ import annotations

import numpy as np

from tenfold.recipe import Recipe
from tenfold.train.diagnosis.advice import calm, hurry
from tenfold.train.diagnosis.case import FAR, Case, Diagnosis, Evidence, usual_rate

_ABOVE = 1.5  # of the blind loss: no training ends there that has not run away
_ROSE = 0.4  # of the blind loss: a rise of the training loss that chance does not make
_STUCK = 0.85  # of the first loss: there was no progress while the rate was high
_STRAIGHT = 0.75  # fall of the second half over the first: the curve has not bent yet
_MOVED = 0.05  # of the first loss: less has hardly moved


def strayed(case: Case) -> list[Diagnosis]:
    """At most one finding; where there is one, the others would only describe what it led to."""
    found = _diverged(case) or _too_high(case) or _too_low(case)
    return [found] if found else []


def say_diverged(recipe: Recipe, what: str) -> str:
    """`what` was seen, a loss that is no number, and why, and what to do; for the loop, which ends there."""
    usual = usual_rate(recipe)
    peak = f"the run's peak learning rate is {recipe.train.lr:.3g} (the usual one here is {usual:g})"
    return f"{what}: the training has diverged, and needs a lower --lr; {peak}. {calm(recipe)}"


def _diverged(case: Case) -> Diagnosis | None:
    """The last weights give no numbers, or a training loss far above that of looking at no image."""
    last, curve = case.facts.last, case.curve
    seen = [outcome for outcome in (last.training, last.validation) if outcome]
    broken = not all(np.isfinite(outcome.loss).all() for outcome in seen)
    if broken or curve is None or not np.isfinite(curve.loss).all():
        return _ran_away(case, "The last weights give losses that are no numbers", {}) if broken else None
    climbed = case.is_far or curve.last - curve.first > _ROSE * case.blind
    if not climbed or curve.last <= _ABOVE * case.blind or len(curve.loss) < 2:
        return None
    evidence: Evidence = {"training_loss_first": curve.first, "training_loss_last": curve.last}
    ended = f"The training loss ended at {curve.last:.3g}, above the {case.blind:.3g} of {case.blind_words}"
    return _ran_away(case, ended, evidence)


def _ran_away(case: Case, ended: str, evidence: Evidence) -> Diagnosis:
    says = f"{ended}: with {case.rate_words} the training ran away and did not come back."
    evidence = {**evidence, **({} if case.finds_boxes else {"loss_without_looking": case.blind}), **case.rates}
    return Diagnosis("diverged", says, evidence, calm(case.facts.recipe))


def _too_high(case: Case) -> Diagnosis | None:
    """The training loss rose; or with a rate far from the usual one it did not fall, to the training's harm, or nothing
    was learned.
    """
    curve = case.curve
    if curve is None or len(curve.loss) < 2:
        return None
    low, high = curve.rise()
    if float(curve.loss[high] - curve.loss[low]) > _ROSE * case.blind:
        ends = [f"{curve.loss[place]:.3g} in epoch {curve.epoch[place]}" for place in (low, high)]
        says = f"The training loss rose from {ends[0]} to {ends[1]}, with {case.rate_words}."
    elif case.is_far and case.has_room and len(curve.loss) > 3 and curve.middle >= _STUCK * curve.first:
        says = (
            f"With {case.rate_words} the training loss did not fall while the rate was high: {curve.first:.3g} in "
            f"epoch 1, {curve.middle:.3g} in epoch {curve.middle_epoch}."
        )
    elif case.is_far and case.knows_nothing:
        says = f"With {case.rate_words} the network knows its own training images no better than by chance."
    else:
        return None
    evidence: Evidence = {
        "training_loss_before": float(curve.loss[low]),
        "training_loss_highest": float(curve.loss[high]),
        "training_loss_last": curve.last,
        f"training_{case.figure}": case.training,
        **case.rates,
    }
    return Diagnosis("learning rate too high", says, evidence, calm(case.facts.recipe))


def _too_low(case: Case) -> Diagnosis | None:
    """With a rate far below the usual one the loss has hardly moved, or fell as fast at the end as at the start."""
    curve = case.curve
    if curve is None or case.rate > case.usual_rate / FAR:
        return None
    early, late = curve.halves
    fallen = (early + late) / curve.first
    straight = len(curve.loss) > 3 and late > _STRAIGHT * early > 0
    if not case.has_room or not (straight or fallen < _MOVED):
        return None
    with_rate = f"With {case.rate_words} the training loss "
    if fallen < _MOVED:
        says = f"{with_rate}has hardly moved: {curve.first:.3g} in epoch 1, {curve.last:.3g} at the end."
    else:
        says = (
            f"{with_rate}fell by {early:.2g} while the first half of the summed rate was spent and by {late:.2g} over "
            "the second: the curve has not begun to bend, so larger steps would have come further."
        )
    evidence: Evidence = {
        "training_loss_first": curve.first,
        "training_loss_middle": curve.middle,
        "training_loss_last": curve.last,
        f"training_{case.figure}": case.training,
        **case.rates,
    }
    return Diagnosis("learning rate too low", says, evidence, hurry(case.facts.recipe))
