"""How well the two parts are known: underfitting, overfitting, classes that were never learned.

Shapes: N images, K classes.
"""

from __future__ import annotations

from tenfold.estimate import Estimate, wilson
from tenfold.train.diagnosis.advice import feed, loosen, tighten
from tenfold.train.diagnosis.case import MATERIAL, Case, Diagnosis, number, percent, points
from tenfold.train.diagnosis.curves import change, gap
from tenfold.train.diagnosis.validation import still_improving
from tenfold.train.evidence import Facts

_WEAK = 0.8  # of the way from the largest class to all right: below, training images are badly known
_POOR = 0.5  # the same of a training that was still improving, to which that is said anyway
_RISEN = 0.03  # of the blind loss: a rise of the validation loss that matters, however small that loss was
_HEART = 0.35  # of what was learned on the training part is missing on validation: learned by heart


def underfitting(case: Case) -> list[Diagnosis]:
    """Training images, as they are, are badly known, and that is most of the validation error too; one at most."""
    training, validation = case.training, case.validation
    missing = 1 - training.value
    most = validation is None or missing > (1 - validation.value) / 2
    improving = bool(still_improving(case))
    if case.skill(training.high) >= (_POOR if improving else _WEAK) or not most:
        return []
    says = f"The last weights get only {percent(training)} of the training images right, without any augmentation"
    evidence: dict[str, Estimate | float] = {"training_accuracy": training}
    if validation is not None:
        apart = gap(training, validation)
        says += f", and {percent(validation)} of the validation images: most of the error is made on images that it saw"
        evidence |= {"validation_accuracy": validation, "accuracy_gap": apart}
    return [Diagnosis("underfitting", f"{says}.", evidence, loosen(case.facts.recipe, longer=improving))]


def overfitting(case: Case) -> list[Diagnosis]:
    """The validation loss rose while training went on, or much of what was learned is no use there; one at most."""
    kept, last = case.facts.kept, case.facts.last
    if case.validation is None or last.validation is None or kept.validation is None:
        return []
    apart = gap(case.training, case.validation)
    evidence: dict[str, Estimate | float] = {
        "training_accuracy": case.training,
        "validation_accuracy": case.validation,
        "accuracy_gap": apart,
    }
    heart = apart.low > _HEART * (1 - case.base) * case.skill(case.training.value)
    says, rise = "", _rise(case)
    if rise is not None:
        evidence = {"validation_loss_rise": rise, **evidence}
        says = (
            f"From epoch {kept.epoch} on the validation loss rose by {number(rise)}, an interval that allows for the "
            "lowest of many being low by luck, while the training images became better known. "
        )
    elif not heart:
        return []
    says += (
        f"The last weights get {percent(case.training)} of the training images right, as they are, and "
        f"{percent(case.validation)} of the validation images: {points(apart)} apart"
    )
    says += ", so much of what was learned holds for the training images alone." if heart else "."
    return [Diagnosis("overfitting", says, evidence, tighten(case.facts, useless=case.is_useless))]


def _rise(case: Case) -> Estimate | None:
    """The rise of the validation loss since its lowest, where it is more than luck, matters, and training went on."""
    kept, last = case.facts.kept, case.facts.last
    if last.epoch <= kept.epoch or last.validation is None or kept.validation is None:
        return None
    looks = max(1, int(case.history["validation_loss"].notna().sum()))
    rise = change(kept.validation.loss, last.validation.loss, kept.validation.units, 1 - 0.05 / looks)
    matters = max(MATERIAL * float(kept.validation.loss.mean()), _RISEN * case.blind)
    learning = float(last.training.loss.mean()) < float(kept.training.loss.mean())
    return rise if learning and rise.low > 0 and rise.value > matters else None


def never_learned(case: Case) -> list[Diagnosis]:
    """Classes of which no image was recognized, where that is no bad luck: one finding for all of them."""
    facts = case.facts
    lost = [place for place in range(len(facts.classes)) if _luck(facts, place) < 0.05 / len(facts.classes)]
    if not lost or len(lost) > len(facts.classes) / 2:
        return []
    names = [facts.classes[place] for place in lost]
    counts = [int(facts.images[place]) for place in lost]
    listed = ", ".join(f"{name} ({count} training images)" for name, count in zip(names[:5], counts, strict=False))
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    evidence: dict[str, Estimate | float] = {}
    for place, name in zip(lost[:5], names, strict=False):
        part, seen = _seen(facts, place)[-1]
        evidence[f"{part}_accuracy: {name}"] = Estimate(0.0, *wilson(0, seen), 0.95, seen, "Wilson over images")
    says = f"Not one image was recognized of {listed}{more}. If they were as easy as the others, some would have been."
    return [Diagnosis("class never learned", says, evidence, feed(facts.recipe, names))]


def _luck(facts: Facts, place: int) -> float:
    """How likely it is that no image of a class is right, if each were as likely right as the others of its part.

    Training images count too where none of them is right; 1 where any validation image is, or none was looked at.
    """
    luck = 1.0
    for name, outcome in (("validation", facts.kept.validation), ("training", facts.each)):
        if outcome is None:
            continue
        own = outcome.truth == place
        if not outcome.hits[own].any():
            luck *= (1 - outcome.accuracy.value) ** int(own.sum())
        elif name == "validation":
            return 1.0
    return luck


def _seen(facts: Facts, place: int) -> list[tuple[str, int]]:
    """(part, how many images of a class were looked at) where none of them was right; the part that says more last."""
    parts = [("training", facts.each)] + ([("validation", facts.kept.validation)] if facts.kept.validation else [])
    found = [(name, outcome.truth == place, outcome.hits) for name, outcome in parts]
    return sorted(((name, int(own.sum())) for name, own, hits in found if not hits[own].any()), key=lambda one: one[1])
