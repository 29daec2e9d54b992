"""What is said of a detector's training beside its learning rate: by AP50 on both parts, as the last weights see them.

A detector's validation loss rises while its AP50 does too, as it grows surer of what it has long found. So a rise alone
is no overfitting; it is where the training images are known much better than those of the validation part.

Shapes: K classes.
"""

from __future__ import annotations

import math
from functools import cached_property

from tenfold.estimate import Estimate
from tenfold.train.diagnosis.advice import (
    ENOUGH_WITH_BOXES,
    HOLD_BACK,
    LOOK_AT_BOXES,
    LOOK_FOR_LEAKS,
    annotate,
    enlarge,
    go_on,
    narrow,
    tighten_boxes,
)
from tenfold.train.diagnosis.case import Case, Diagnosis, Evidence
from tenfold.train.diagnosis.lost import evidence_of, looks, lost_classes, say_lost
from tenfold.train.diagnosis.validation import not_bent, say_flat
from tenfold.train.evidence import Outcome

_WEAK, _POOR = 0.5, 0.3  # AP50 on training images: they are badly known; the same where it was still improving
_HEART, _APART = 0.1, 0.05  # of AP50 surely between both parts: learned by heart; apart at all
_WIDE, _WANTED = 0.1, 0.05  # one side of the interval of AP50: too wide, and wide enough
_ROSE = 0.01  # a change of AP50 that matters
_LEFT = 0.03  # of AP50 surely between both parts, so that there is something left to gain
_EASIER = 0.05  # of AP50 by which validation is certainly better: not by chance


class BoxCase(Case):
    """The training of a detector with what most of its findings need."""

    @cached_property
    def change(self) -> Estimate | None:
        """By how much AP50 on the validation part changed over the last epochs, on the same images."""
        from tenfold.metrics.detection_ap50 import ap50_change  # which compiles, and classes need none of it

        earlier, last = self.facts.earlier, self.facts.last.validation
        if earlier is None or last is None:
            return None
        assert earlier[1].part is not None
        assert last.part is not None
        assert last.images is not None
        return ap50_change(earlier[1].part.matches, last.part.matches, last.images)

    @property
    def both_words(self) -> str:
        """AP50 of both parts in words."""
        words = f"With the last weights AP50 is {plain(self.training)} on training images, as they are"
        return words if self.validation is None else f"{words}, and {plain(self.validation)} on the validation part"


def diagnose_boxes(case: BoxCase) -> list[Diagnosis]:
    """The findings of a training that did not go astray."""
    badly_fitted = [*underfitting(case), *overfitting(case)]
    found = [*badly_fitted, *never_found(case), *noisy(case)]
    found += still_improving(case) or ([] if badly_fitted or noisy(case) else converged(case))
    return [*found, *easier(case)]


def underfitting(case: BoxCase) -> list[Diagnosis]:
    """Objects in training images are badly found, and that is most of the validation error too; one at most."""
    improving = bool(still_improving(case))
    missing = 1 - case.training.value
    most = case.validation is None or missing > (1 - case.validation.value) / 2
    if case.training.high >= (_POOR if improving else _WEAK) or not most:
        return []
    says = f"{case.badly_known}."
    return [Diagnosis("underfitting", says, case.both, enlarge(case.facts))]


def overfitting(case: BoxCase) -> list[Diagnosis]:
    """Much of what was learned is no use on the validation part, or its loss rose and the parts are apart."""
    if case.apart is None or underfitting(case):  # one of both: what to do is the opposite
        return []
    heart, rise = case.apart.low > _HEART, case.rise
    if not heart and (rise is None or case.apart.low <= _APART):
        return []
    says = ""
    evidence = dict(case.both)
    if rise is not None:
        epoch, low, last = rise
        evidence = {"validation_loss_lowest": low, "validation_loss_last": last, **evidence}
        says = f"From epoch {epoch} on the validation loss rose from {low:.3g} to {last:.3g}, while training went on. "
    says += f"{case.both_words}: {plain(case.apart)} apart"
    says += ", so much of what was learned holds for the training images alone." if heart else "."
    return [Diagnosis("overfitting", says, evidence, tighten_boxes(case.facts.recipe))]


def never_found(case: BoxCase) -> list[Diagnosis]:
    """Classes of which no object was found at any score, where that is no bad luck: one finding for all of them."""
    seen, lost = looks(case), lost_classes(case)
    if seen and not any(outcome.hits.any() for _, outcome in seen):
        return [_nothing_found(seen)]
    if not lost:
        return []
    says = say_lost(case, lost, "object was found, at any score,", "in")
    advice = annotate([case.facts.classes[place] for place in lost])
    return [Diagnosis("class never learned", says, evidence_of(case, lost, "images_found"), advice)]


def _nothing_found(seen: list[tuple[str, Outcome]]) -> Diagnosis:
    """Of no class an object was found, so that there is nothing to hold one against."""
    where = " and ".join(f"{outcome.part.images} {name}" for name, outcome in seen if outcome.part)
    says = f"Not one object was found, at any score, in {where} images."
    evidence: Evidence = {f"{name}_ap50": outcome.ap50 for name, outcome in seen}
    return Diagnosis("class never learned", says, evidence, LOOK_AT_BOXES)


def noisy(case: BoxCase) -> list[Diagnosis]:
    """AP50 on the validation part is known too badly to choose by; said how many images would do."""
    kept = case.facts.kept.validation
    if kept is None or kept.part is None:
        return []
    found, count = kept.ap50, kept.part.images
    side = max(found.value - found.low, found.high - found.value)
    if side <= _WIDE:
        return []
    enough = math.ceil(count * (side / _WANTED) ** 2)
    says = (
        f"{count} validation image{'s say' if count != 1 else ' says'} little: AP50 is {plain(found)}. With about "
        f"{enough} such images it would be known to {_WANTED:g}."
    )
    evidence: Evidence = {"validation_ap50": found, "images_that_would_do": float(enough)}
    return [Diagnosis("noisy validation", says, evidence, HOLD_BACK)]


def still_improving(case: BoxCase) -> list[Diagnosis]:
    """AP50 rose over the last epochs, or both losses were still on their way down; one at most."""
    facts, change = case.facts, case.change
    if facts.last.validation is None or facts.kept.epoch != facts.last.epoch:
        return []
    if change is not None and facts.earlier is not None and change.low > 0 and change.value >= _ROSE:
        what = (
            f"From epoch {facts.earlier[0]} to {facts.last.epoch} AP50 on the validation part rose by {plain(change)}"
        )
        evidence: Evidence = {"validation_ap50_change": change}
    elif case.ends_low() and (found := not_bent(case)):
        what, evidence = found
    else:
        return []
    says = f"{what}. A longer training may do better; how much cannot be read from one whose learning rate came down."
    return [Diagnosis("still improving", says, evidence, go_on(facts), alarm=False)]


def converged(case: BoxCase) -> list[Diagnosis]:
    """AP50 changed by nothing that matters or is sure over the last epochs, or early stopping ended the training."""
    change = case.change
    moved = change is not None and abs(change.value) >= _ROSE and not change.low <= 0 <= change.high
    if case.apart is None or moved:
        return []
    evidence: Evidence = {} if change is None else {"validation_ap50_change": change}
    flat = say_flat(case, "" if change is None else f"AP50 on the validation part changed by {plain(change)}")
    if not flat:
        return []
    says, left = f"{flat} {case.both_words}.", f"an AP50 of {plain(case.apart)}"
    advice = narrow(case.apart, left, _LEFT) or ENOUGH_WITH_BOXES
    return [Diagnosis("converged", says, evidence | case.both, advice, alarm=False)]


def easier(case: BoxCase) -> list[Diagnosis]:
    """The validation part is better known than training images, both as they are, which is not as it should be."""
    if case.apart is None or case.apart.high >= -_EASIER:
        return []
    says = f"{case.both_words}: the validation images are easier."
    return [Diagnosis("validation better than training", says, case.both, f"{LOOK_FOR_LEAKS} {LOOK_AT_BOXES}")]


def plain(figure: Estimate) -> str:
    """ "0.914 (0.886 to 0.937)"."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
