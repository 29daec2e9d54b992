"""What is said of a detector's training beside its learning rate: by AP50 on both parts, as the last weights see them.

A detector's validation loss rises while its AP50 does too, as it grows surer of what it has long found. So a rise alone
is no overfitting; it is where the training images are known much better than those of the validation part.

Shapes: K classes.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from tenfold.estimate import Estimate, wilson
from tenfold.metrics.intervals import share
from tenfold.train.diagnosis.advice import (
    HOLD_BACK,
    LOOK_AT_BOXES,
    LOOK_FOR_LEAKS,
    annotate,
    enlarge,
    go_on,
    narrow_boxes,
    tighten_boxes,
)
from tenfold.train.diagnosis.case import Case, Diagnosis
from tenfold.train.diagnosis.curves import gap
from tenfold.train.diagnosis.validation import not_bent
from tenfold.train.evidence import Outcome

_WEAK, _POOR = 0.5, 0.3  # AP50 on training images: they are badly known; the same where it was still improving
_HEART, _APART = 0.1, 0.05  # of AP50 surely between both parts: learned by heart; apart at all
_RISEN, _SCATTERS = 0.1, 3.0  # a rise of the validation loss that matters: of its lowest, and by how it scatters
_WIDE, _WANTED = 0.1, 0.05  # one side of the interval of AP50: too wide, and wide enough
_ROSE = 0.01  # a change of AP50 that matters
_EASIER = 0.05  # of AP50 by which validation is certainly better: not by chance

Evidence = dict[str, Estimate | float]


class BoxCase(Case):
    """The training of a detector with what most of its findings need."""

    @cached_property
    def apart(self) -> Estimate | None:
        """By how much AP50 is higher on training images than on the validation part."""
        return None if self.validation is None else gap(self.training, self.validation)

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
    def both(self) -> Evidence:
        """AP50 of both parts as evidence."""
        known = {"training_ap50": self.training, "validation_ap50": self.validation, "ap50_gap": self.apart}
        return {name: figure for name, figure in known.items() if figure is not None}

    @property
    def both_words(self) -> str:
        """The same in words."""
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
    says = f"{case.both_words}: most of the error is made on images that it learned from."
    return [Diagnosis("underfitting", says, case.both, enlarge(case.facts.recipe))]


def overfitting(case: BoxCase) -> list[Diagnosis]:
    """Much of what was learned is no use on the validation part, or its loss rose and the parts are apart."""
    if case.apart is None:
        return []
    heart, rise = case.apart.low > _HEART, _rise(case)
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


def _rise(case: BoxCase) -> tuple[int, float, float] | None:
    """(epoch, loss there, last loss) from where the validation loss was lowest, if it rose by more than it scatters.

    How it scatters is told from one validation to the next, by the median, as few of them jump.
    """
    if "validation_loss" not in case.history or case.curve is None:
        return None
    seen = case.history.dropna(subset=["validation_loss", "train_loss"])
    loss = seen["validation_loss"].to_numpy(np.float64)
    if len(loss) < 3 or not np.isfinite(loss).all():
        return None
    lowest = int(loss.argmin())
    scatter = float(np.median(np.abs(np.diff(loss)))) / (0.6745 * math.sqrt(2))  # of a normal distribution
    rose = loss[-1] - loss[lowest] > max(_RISEN * loss[lowest], _SCATTERS * scatter)
    learning = seen["train_loss"].iloc[-1] < seen["train_loss"].iloc[lowest]
    return (int(seen["epoch"].iloc[lowest]), float(loss[lowest]), float(loss[-1])) if rose and learning else None


def never_found(case: BoxCase) -> list[Diagnosis]:
    """Classes of which no object was found at any score, where that is no bad luck: one finding for all of them."""
    facts, looks = case.facts, _looks(case)
    if looks and not any(outcome.hits.any() for _, outcome in looks):
        return [_nothing_found(looks)]
    lost = [place for place in range(len(facts.classes)) if _luck(case, place) < 0.05 / len(facts.classes)]
    if not lost or len(lost) > len(facts.classes) / 2:
        return []
    names = [facts.classes[place] for place in lost]
    listed = ", ".join(f"{facts.classes[place]} ({facts.images[place]} training images)" for place in lost[:5])
    more = f" and {len(lost) - 5} more" if len(lost) > 5 else ""
    evidence: Evidence = {}
    for place, name in zip(lost[:5], names, strict=False):
        part, seen = max(_misses(case, place), key=lambda one: one[1])
        method = "Wilson over images"
        evidence[f"{part}_images_found: {name}"] = Estimate(0.0, *wilson(0, seen), 0.95, seen, method)
    says = (
        f"Not one object was found, at any score, of {listed}{more}. If they were as easy as the others, some would "
        "have been."
    )
    return [Diagnosis("class never learned", says, evidence, annotate(names))]


def _nothing_found(looks: list[tuple[str, Outcome]]) -> Diagnosis:
    """Of no class an object was found, so that there is nothing to hold one against."""
    where = " and ".join(f"{outcome.part.images} {name}" for name, outcome in looks if outcome.part)
    says = f"Not one object was found, at any score, in {where} images."
    evidence: Evidence = {f"{name}_ap50": outcome.ap50 for name, outcome in looks}
    return Diagnosis("class never learned", says, evidence, LOOK_AT_BOXES)


def _luck(case: BoxCase, place: int) -> float:
    """How likely it is that an image with a class never had one found, if each were as likely as those of the others.

    Of the others the lower end of the interval is taken. 1 where one was found on the validation part, or there is no
    other.
    """
    luck = 1.0
    for name, outcome in _looks(case):
        own = outcome.truth == place
        others = np.flatnonzero(~own)
        if not outcome.hits[own].any():
            likely = share(outcome.hits[others], outcome.units.take(others), 0.95).low if len(others) else 0.0
            luck *= (1 - likely) ** int(own.sum())
        elif name == "validation":
            return 1.0
    return luck


def _looks(case: BoxCase) -> list[tuple[str, Outcome]]:
    """What was looked at with the kept weights, by part."""
    parts = (("training", case.facts.each), ("validation", case.facts.kept.validation))
    return [(name, outcome) for name, outcome in parts if outcome is not None and len(outcome.truth)]


def _misses(case: BoxCase, place: int) -> list[tuple[str, int]]:
    """(part, its images with a class) of the parts where no image had one found."""
    seen = [(name, outcome.truth == place, outcome.hits) for name, outcome in _looks(case)]
    return [(name, int(own.sum())) for name, own, hits in seen if not hits[own].any()]


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
    elif (found := not_bent(case)) and _lowest_at_the_end(case):
        what, evidence = f"{found[0]}, and the validation loss was lowest at the end", found[1]
    else:
        return []
    says = f"{what}. A longer training may do better; how much cannot be read from one whose learning rate came down."
    return [Diagnosis("still improving", says, evidence, go_on(facts.recipe), alarm=False)]


def _lowest_at_the_end(case: BoxCase) -> bool:
    if "validation_loss" not in case.history:
        return False
    losses = case.history["validation_loss"].dropna().to_numpy(np.float64)
    return len(losses) > 0 and bool(losses[-1] <= losses.min())


def converged(case: BoxCase) -> list[Diagnosis]:
    """AP50 changed by nothing that matters or is sure over the last epochs, or early stopping ended the training."""
    facts, last, change = case.facts, case.facts.last, case.change
    moved = change is not None and abs(change.value) >= _ROSE and not change.low <= 0 <= change.high
    if case.apart is None or moved:
        return []
    evidence: Evidence = {}
    if change is not None and facts.earlier is not None:
        evidence["validation_ap50_change"] = change
        flat = (
            f"From epoch {facts.earlier[0]} to {last.epoch} AP50 on the validation part changed by {plain(change)}. "
            "The learning rate had come down by then, which flattens any curve: a longer training is another one, and "
            "may end elsewhere."
        )
    elif 0 < facts.recipe.train.patience <= last.epoch - facts.kept.epoch:
        flat = (
            f"The training stopped {last.epoch - facts.kept.epoch} epochs after the lowest validation loss, as asked."
        )
    else:
        return []
    says = f"{flat} {case.both_words}."
    return [Diagnosis("converged", says, evidence | case.both, narrow_boxes(case.apart), alarm=False)]


def easier(case: BoxCase) -> list[Diagnosis]:
    """The validation part is better known than training images, both as they are, which is not as it should be."""
    if case.apart is None or case.apart.high >= -_EASIER:
        return []
    says = f"{case.both_words}: the validation images are easier."
    return [Diagnosis("validation better than training", says, case.both, f"{LOOK_FOR_LEAKS} {LOOK_AT_BOXES}")]


def plain(figure: Estimate) -> str:
    """ "0.914 (0.886 to 0.937)"."""
    return f"{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f})"
