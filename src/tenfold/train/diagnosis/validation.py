"""What the validation part says: too little, better than training, still improving, converged.

Shapes: N images.
"""

from __future__ import annotations

import math

import numpy as np

from tenfold.estimate import Estimate, wilson
from tenfold.train.diagnosis.advice import LOOK_FOR_LEAKS, go_on, harder, narrow, widen
from tenfold.train.diagnosis.case import MATERIAL, Case, Diagnosis, number, percent
from tenfold.train.diagnosis.curves import change, gap
from tenfold.train.evidence import Outcome

_WIDE, _WANTED = 0.1, 0.05  # one side of the interval of the validation accuracy: too wide, and wide enough
_BENT = 0.3  # fall of the training loss over the second half of the summed rate, over that of the first half
_EASIER = 0.025  # points by which validation is certainly better on images as they are: not by chance


def noisy(case: Case) -> list[Diagnosis]:
    """The accuracy on the validation part is known too badly to choose by; said how many images would do."""
    kept = case.facts.kept.validation
    if kept is None or not np.isfinite(kept.loss).all():
        return []
    accuracy, count = kept.accuracy, len(kept.truth)
    if max(accuracy.value - accuracy.low, accuracy.high - accuracy.value) <= _WIDE:
        return []
    enough = _enough(kept)
    says = (
        f"{count} validation image{'s say' if count != 1 else ' says'} little: the accuracy is {percent(accuracy)}, "
        f"and the best epoch is chosen by luck. With about {enough} such images it would be known to "
        f"{100 * _WANTED:.0f} points."
    )
    evidence: dict[str, Estimate | float] = {"validation_accuracy": accuracy, "images_that_would_do": float(enough)}
    return [Diagnosis("noisy validation", says, evidence, widen(case.facts, count))]


def _enough(seen: Outcome) -> int:
    """Images at which the interval reaches _WANTED to each side, for those at hand and two right and two wrong more.

    The four are Agresti and Coull's (1998), https://doi.org/10.2307/2685469. Images in groups say less than as many
    alone, so that more are needed.
    """
    hits, count, found = float(seen.hits.sum()), len(seen.truth), seen.accuracy
    share = (hits + 2) / (count + 4)
    low, high = wilson(hits, count)
    fewer = ((found.high - found.low) / (high - low)) ** 2
    return math.ceil(1.96**2 * share * (1 - share) / _WANTED**2 * max(fewer, 1.0))


def better_than_training(case: Case) -> list[Diagnosis]:
    """In the curves, which is usual and said why; or on images as they are, which is not."""
    if case.validation is None:
        return []
    alike = gap(case.training, case.validation)
    evidence: dict[str, Estimate | float] = {"training_accuracy": case.training, "validation_accuracy": case.validation}
    both = f"{percent(case.training)} of the training images and {percent(case.validation)} of the validation images"
    if alike.high < -_EASIER:
        says = f"The last weights get {both} right, both as they are: the validation images are easier."
        return [Diagnosis("validation better than training", says, evidence, LOOK_FOR_LEAKS)]
    seen = case.history["train_accuracy"].iloc[-1] if "train_accuracy" in case.history else math.nan
    count = int(case.facts.images.sum())
    if not 0 <= seen <= 1:
        return []
    curve = Estimate(float(seen), *wilson(seen * count, count), 0.95, count, "Wilson over images")
    if gap(curve, case.validation).high >= 0:
        return []
    why = harder(case.facts.recipe)
    says = (
        f"In the curves the training accuracy ends at {100 * curve.value:.1f} %, below validation. That can be right: "
        f"training figures are measured {why}. Measured alike, the last weights get {both} right."
    )
    return [
        Diagnosis("validation better than training", says, {"training_curve_accuracy": curve, **evidence}, alarm=False)
    ]


def still_improving(case: Case) -> list[Diagnosis]:
    """The validation loss was lowest at the end, and it or the training loss was still on its way down; one at most."""
    facts, last = case.facts, case.facts.last
    if last.validation is None or facts.kept.epoch != last.epoch:
        return []
    found = _fell_at_the_end(case) or not_bent(case)
    if found is None:
        return []
    says = (
        f"{found[0]}, and the validation loss was lowest at the end. A longer training may do better; how much cannot "
        "be read from one whose learning rate came down."
    )
    return [Diagnosis("still improving", says, found[1], go_on(facts.recipe), alarm=False)]


def _fell_at_the_end(case: Case) -> tuple[str, dict[str, Estimate | float]] | None:
    """The validation loss fell over the last epochs, by more than its error and enough to matter."""
    last, earlier = case.facts.last, case.facts.earlier
    if earlier is None or last.validation is None:
        return None
    fall = change(earlier[1].loss, last.validation.loss, last.validation.units)
    if fall.high >= 0 or -fall.value < MATERIAL * float(last.validation.loss.mean()):
        return None
    says = f"From epoch {earlier[0]} to {last.epoch} the validation loss changed by {number(fall)}"
    return says, {"validation_loss_change": fall}


def not_bent(case: Case) -> tuple[str, dict[str, Estimate | float]] | None:
    """The training loss had not flattened by the learning rate spent: the last fifth of a short training hides that."""
    curve = case.curve
    if curve is None or len(curve.loss) <= 3 or not case.has_room:
        return None
    early, late = curve.halves
    if not 0 < _BENT * early < late:
        return None
    says = (
        f"The training loss fell by {early:.2g} while the first half of the summed learning rate was spent, and by "
        f"{late:.2g} over the second"
    )
    losses = {"first": curve.first, "middle": curve.middle, "last": curve.last}
    return says, {f"training_loss_{name}": value for name, value in losses.items()}


def converged(case: Case) -> list[Diagnosis]:
    """The end of the curve is flat, or early stopping ended it."""
    facts, last = case.facts, case.facts.last
    if last.validation is None or case.validation is None:
        return []
    evidence: dict[str, Estimate | float] = {}
    if facts.earlier is not None:
        epoch, before = facts.earlier
        moved = change(before.loss, last.validation.loss, last.validation.units)
        evidence["validation_loss_change"] = moved
        flat = (
            f"From epoch {epoch} to {last.epoch} the validation loss changed by {number(moved)}. The learning rate had "
            "come down by then, which flattens any curve: a longer training is another one, and may end elsewhere."
        )
    elif 0 < facts.recipe.train.patience <= last.epoch - facts.kept.epoch:
        flat = (
            f"The training stopped {last.epoch - facts.kept.epoch} epochs after the lowest validation loss, as asked."
        )
    else:
        return []
    apart = gap(case.training, case.validation)
    evidence |= {"training_accuracy": case.training, "validation_accuracy": case.validation, "accuracy_gap": apart}
    says = (
        f"{flat} The last weights get {percent(case.training)} of the training images right, as they are, and "
        f"{percent(case.validation)} of the validation images."
    )
    return [Diagnosis("converged", says, evidence, narrow(apart), alarm=False)]
