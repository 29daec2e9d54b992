"""What the validation part says: too little, better than training, still improving, converged.

Shapes: N images.
"""

from __future__ import annotations

import math

import numpy as np

from tenfold.estimate import Estimate, wilson
from tenfold.train.diagnosis.advice import ENOUGH, GO_BY_VALIDATION, LOOK_FOR_LEAKS, go_on, harder, narrow, widen
from tenfold.train.diagnosis.case import MATERIAL, Case, Diagnosis, Evidence, number, percent, points
from tenfold.train.diagnosis.curves import change, gap
from tenfold.train.evidence import Outcome

_WIDE, _WANTED = 0.1, 0.05  # one side of the interval of the validation accuracy: too wide, and wide enough
_BENT = 0.3  # fall of the training loss over the second half of the summed rate, over that of the first half
_EASIER = 0.025  # points by which validation is certainly better on images as they are: not by chance
_APART = 0.05  # of accuracy surely between both parts, so that there is something left to gain


def noisy(case: Case) -> list[Diagnosis]:
    """The accuracy on the validation part is known too badly to choose by; said how many images would do."""
    kept = case.facts.kept.validation
    if kept is None or not np.isfinite(kept.loss).all():
        return []
    accuracy, count = kept.accuracy, len(kept.truth)
    if max(accuracy.value - accuracy.low, accuracy.high - accuracy.value) <= _WIDE:
        return []
    enough = _enough(kept)
    chosen = case.curve is not None and case.facts.recipe.train.keep != "last"
    luck = ", and the best epoch is chosen by luck" if chosen else ""
    says = (
        f"{count} validation image{'s say' if count != 1 else ' says'} little: the accuracy is {percent(accuracy)}"
        f"{luck}. With about {enough} such images it would be known to {100 * _WANTED:.0f} points."
    )
    evidence: Evidence = {"validation_accuracy": accuracy, "images_that_would_do": float(enough)}
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
    seen = case.facts.last.validation
    if seen is None or case.apart is None:
        return []
    if case.apart.high < -_EASIER:
        says = f"{case.both_words}: the validation images are easier."
        return [Diagnosis("validation better than training", says, case.both, LOOK_FOR_LEAKS)]
    right = case.history["train_accuracy"].iloc[-1] if "train_accuracy" in case.history else math.nan
    count = int(case.facts.images.sum())
    if not 0 <= right <= 1:
        return []
    curve = Estimate(float(right), *wilson(right * count, count), 0.95, count, "Wilson over images")
    if gap(curve, seen.accuracy).high >= 0:  # the curves show plain accuracy, whatever the rest is measured by
        return []
    others = ", and of the classes in other shares" if case.has_other_shares else ""
    says = (
        f"In the curves the training accuracy ends at {100 * curve.value:.1f} %, below validation. That can be right: "
        f"training figures are measured {harder(case.facts.recipe)}{others}. Measured alike: {case.both_words}."
    )
    evidence = {"training_curve_accuracy": curve, **case.both}
    return [Diagnosis("validation better than training", says, evidence, GO_BY_VALIDATION, alarm=False)]


def still_improving(case: Case) -> list[Diagnosis]:
    """The validation loss ended at or near its lowest, and it or the training loss was on its way down; one at most."""
    if case.facts.last.validation is None:
        return []
    found = _fell_at_the_end(case) or (not_bent(case) if case.ends_low() else None)
    if found is None:
        return []
    says = (
        f"{found[0]}. A longer training may do better; how much cannot be read from one whose learning rate came down."
    )
    return [Diagnosis("still improving", says, found[1], go_on(case.facts), alarm=False)]


def _fell_at_the_end(case: Case) -> tuple[str, Evidence] | None:
    """The validation loss fell over the last epochs, by more than its error and enough to matter, to its lowest."""
    last, moved = case.facts.last.validation, _moved(case)
    if last is None or moved is None or not case.ends_low(MATERIAL):
        return None
    epoch, fall = moved
    if fall.high >= 0 or -fall.value < MATERIAL * float(last.loss.mean()):
        return None
    says = f"From epoch {epoch} to {case.facts.last.epoch} the validation loss changed by {number(fall)}"
    lowest = "was lowest at the end" if case.ends_low() else "ended near its lowest"
    return f"{says}, and {lowest}", {"validation_loss_change": fall}


def _moved(case: Case) -> tuple[int, Estimate] | None:
    """(an epoch a while before the end, the change of the validation loss from there to the last)."""
    earlier, last = case.facts.earlier, case.facts.last.validation
    return None if earlier is None or last is None else (earlier[0], change(earlier[1].loss, last.loss, last.units))


def not_bent(case: Case) -> tuple[str, Evidence] | None:
    """The training loss had not flattened by the learning rate spent: the last fifth of a short training hides that."""
    curve = case.curve
    if curve is None or len(curve.loss) <= 3 or not case.has_room:
        return None
    early, late = curve.halves
    if not 0 < _BENT * early < late:
        return None
    says = (
        f"The training loss fell by {early:.2g} while the first half of the summed learning rate was spent, and by "
        f"{late:.2g} over the second, and the validation loss was lowest at the end"
    )
    losses = {"first": curve.first, "middle": curve.middle, "last": curve.last}
    return says, {f"training_loss_{name}": value for name, value in losses.items()}


def converged(case: Case) -> list[Diagnosis]:
    """The end of the curve is flat, or early stopping ended it."""
    last = case.facts.last
    if last.validation is None or case.apart is None:
        return []
    evidence: Evidence = {}
    words = ""
    if (found := _moved(case)) is not None:
        moved = found[1]
        is_sure = not moved.low <= 0 <= moved.high
        if is_sure and abs(moved.value) > case.matters(float(last.validation.loss.mean())):
            return []
        evidence["validation_loss_change"] = moved
        words = f"the validation loss changed by {number(moved)}"
    flat = say_flat(case, words)
    if not flat:
        return []
    says, left = f"{flat} {case.both_words}.", points(case.apart)
    advice = narrow(case.apart, left, _APART) or ENOUGH
    return [Diagnosis("converged", says, evidence | case.both, advice, alarm=False)]


def say_flat(case: Case, moved: str) -> str:
    """Why the end of the curve is taken for flat: what changed over the last epochs, in words, or early stopping.

    Empty where nothing is known of either.
    """
    facts, last = case.facts, case.facts.last.epoch
    if moved and facts.earlier is not None:
        return (
            f"From epoch {facts.earlier[0]} to {last} {moved}. The learning rate had come down by then, which flattens "
            "any curve: a longer training is another one, and may end elsewhere."
        )
    if 0 < facts.recipe.train.patience <= last - facts.kept.epoch:
        return f"The training stopped {last - facts.kept.epoch} epochs after the lowest validation loss, as asked."
    return ""
