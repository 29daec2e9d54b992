"""How well the two parts are known: underfitting, overfitting, classes that were never learned.

Shapes: N images, K classes.
"""

from __future__ import annotations

from tenfold.train.diagnosis.advice import feed, loosen, tighten
from tenfold.train.diagnosis.case import Case, Diagnosis, Evidence, number, points
from tenfold.train.diagnosis.curves import change
from tenfold.train.diagnosis.lost import evidence_of, lost_classes, say_lost
from tenfold.train.diagnosis.validation import still_improving

_WEAK = 0.8  # of the way from always the same class to all right: below, training images are badly known
_POOR = 0.5  # the same of a training that was still improving, to which that is said anyway
_HEART = 0.25  # of what was learned on the training part is missing on validation: learned by heart
_APART = 0.05  # of accuracy surely between both parts: apart at all


def underfitting(case: Case) -> list[Diagnosis]:
    """Training images, as they are, are badly known, and that is most of the validation error too; one at most."""
    training, validation = case.training, case.validation
    most = validation is None or 1 - training.value > (1 - validation.value) / 2
    improving = bool(still_improving(case))
    weak = case.skill(training.high) < (_POOR if improving else _WEAK)
    if not weak or not most or _rise(case) is not None:  # what got worse by more training wants no more of it
        return []
    says = f"{case.badly_known}. Always naming the same class would get {100 * case.base:.1f} % of these."
    return [Diagnosis("underfitting", says, case.both, loosen(case.facts, longer=improving))]


def overfitting(case: Case) -> list[Diagnosis]:
    """The validation loss rose while training went on, or much of what was learned is no use there; one at most."""
    if case.apart is None:
        return []
    learned = (1 - case.base) * case.skill(case.training.value)
    heart = case.apart.low > max(_HEART * learned, _APART)
    rise = _rise(case)
    if rise is None and (not heart or underfitting(case)):  # one of both: what to do is the opposite
        return []
    says, evidence = rise or ("", {})
    says += f"{case.both_words}: {points(case.apart)} apart"
    says += ", so much of what was learned holds for the training images alone." if heart else "."
    advice = tighten(case.facts, useless=case.is_useless, rose=rise is not None)
    return [Diagnosis("overfitting", says, evidence | case.both, advice)]


def _rise(case: Case) -> tuple[str, Evidence] | None:
    """The rise of the validation loss since its lowest, where it is more than luck, matters, and training went on.

    Where the weights of the lowest are kept, that is a paired difference. Else, as of a fine-tuned network, there is
    the history alone, and the parts must be apart as well.
    """
    kept, last, apart = case.facts.kept, case.facts.last, case.apart
    if last.validation is None or kept.validation is None or apart is None:
        return None
    if last.epoch <= kept.epoch:
        if case.rise is None or apart.low <= _APART:
            return None
        epoch, low, end = case.rise
        says = f"From epoch {epoch} on the validation loss rose from {low:.3g} to {end:.3g}, while training went on. "
        return says, {"validation_loss_lowest": low, "validation_loss_last": end}
    looks = max(1, int(case.history["validation_loss"].notna().sum()))
    rise = change(kept.validation.loss, last.validation.loss, kept.validation.units, 1 - 0.05 / looks)
    learning = float(last.training.loss.mean()) < float(kept.training.loss.mean())
    if not learning or rise.low <= 0 or rise.value <= case.matters(float(kept.validation.loss.mean())):
        return None
    says = (
        f"From epoch {kept.epoch} on the validation loss rose by {number(rise)}, an interval that allows for the "
        "lowest of many being low by luck, while the training images became better known. "
    )
    return says, {"validation_loss_rise": rise}


def never_learned(case: Case) -> list[Diagnosis]:
    """Classes of which no image was recognized, where that is no bad luck: one finding for all of them."""
    lost = lost_classes(case)
    if not lost:
        return []
    advice = feed(case.facts.recipe, [case.facts.classes[place] for place in lost])
    says = say_lost(case, lost, "was recognized", "of")
    return [Diagnosis("class never learned", says, evidence_of(case, lost, "accuracy"), advice)]
