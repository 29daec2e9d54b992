"""Classes of which nothing was recognized, or found, with the kept weights, where that is no bad luck.

A class is held against the others of its part, by the lower end of their interval, and one of K that could have been
lost by chance (Bonferroni). Images of one group are one chance, not several.

Shapes: K classes.
"""

from __future__ import annotations

import numpy as np

from tenfold.estimate import Estimate, wilson
from tenfold.metrics.intervals import share
from tenfold.train.diagnosis.case import Case, Evidence
from tenfold.train.evidence import Outcome

_SHOWN = 5  # classes that are named


def looks(case: Case) -> list[tuple[str, Outcome]]:
    """What was looked at with the kept weights, by part."""
    parts = (("training", case.facts.each), ("validation", case.facts.kept.validation))
    return [(name, outcome) for name, outcome in parts if outcome is not None and len(outcome.truth)]


def lost_classes(case: Case) -> list[int]:
    """Their places among the classes; none where they would be most, for then it is not about classes."""
    count = len(case.facts.classes)
    lost = [place for place in range(count) if _luck(case, place) < 0.05 / count]
    return [] if len(lost) > count / 2 else lost


def say_lost(case: Case, lost: list[int], verb: str, place: str) -> str:
    """ "Not one was recognized of the validation images of ring (40 training images)": by the parts where it is so.

    `verb` is "was recognized", `place` the preposition after it.
    """
    groups: dict[str, list[str]] = {}
    for one in lost[:_SHOWN]:
        missed = [part for part, _ in _misses(case, one)]
        known = "training" not in missed and bool((case.facts.each.truth == one).any())
        alone = ", known on those alone" if known else ""
        copies = f" and {made} copies of them" if (made := _copies(case, one)) else ""
        named = f"{case.facts.classes[one]} ({case.facts.images[one]} training images{copies}{alone})"
        groups.setdefault(" and ".join(missed), []).append(named)
    where = [f"{place} the {parts} images of {', '.join(names)}" for parts, names in groups.items()]
    more = f", and so of {len(lost) - _SHOWN} more classes" if len(lost) > _SHOWN else ""
    easy = "If they were as easy as the others, some would have been."
    return f"Not one {verb} {', nor '.join(where)}{more}. {easy}"


def _copies(case: Case, place: int) -> int:
    """The augmented copies of a class's training images."""
    return 0 if case.facts.copies is None else int(case.facts.copies[place])


def evidence_of(case: Case, lost: list[int], figure: str) -> Evidence:
    """The interval of each class that is named, of the part that says most."""
    evidence: Evidence = {}
    for place in lost[:_SHOWN]:
        part, seen = max(_misses(case, place), key=lambda one: one[1])
        found = Estimate(0.0, *wilson(0, seen), 0.95, seen, "Wilson over images")
        evidence[f"{part}_{figure}: {case.facts.classes[place]}"] = found
    return evidence


def _luck(case: Case, place: int) -> float:
    """How likely it is that no image of a class was right, if each were as likely right as those of the others.

    Training images count too where none of them was right; 1 where any validation image was, or there is no other.
    """
    luck = 1.0
    for name, outcome in looks(case):
        own = outcome.truth == place
        others = np.flatnonzero(~own)
        if not outcome.hits[own].any():
            likely = share(outcome.hits[others], outcome.units.take(others), 0.95).low if len(others) else 0.0
            luck *= (1 - likely) ** len(np.unique(outcome.units.index[own]))
        elif name == "validation":
            return 1.0
    return luck


def _misses(case: Case, place: int) -> list[tuple[str, int]]:
    """(part, its images of a class) of the parts that have such images, and none of them right."""
    seen = [(name, outcome.truth == place, outcome.hits) for name, outcome in looks(case)]
    return [(name, int(own.sum())) for name, own, hits in seen if own.any() and not hits[own].any()]
