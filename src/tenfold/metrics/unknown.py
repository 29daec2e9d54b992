"""None of these: from which score on an image counts as of one of the classes that a classifier knows.

What a classifier makes of classes that it does not know is seen on classes of its own that were held out: heads that
were fitted without them answer their images; images of known classes are answered by heads that were fitted without
those images (tenfold.transfer.unknown does both). Figures are those of tenfold.metrics.open_set, by class.

Images of one class are alike, and what is drawn are classes: so intervals are by class, and the threshold for a share
of unknown images that may be accepted is that at which the interval of this share ends there (`sure_threshold`). A few
classes say little about what else there is, and support no small share, however many images they have.

Where images of other classes are at hand, `open_set_details` says what such thresholds are worth on them.

Arrays and NumPy only, as `tenfold predict` must start fast.

Shapes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import CLASS, GROUP, Estimate, Noun, to_json, units_of
from tenfold.metrics.intervals import share
from tenfold.metrics.open_set import (
    Search,
    identification_figures,
    people_needed,
    sure_rate,
    sure_threshold,
    threshold_at,
)
from tenfold.metrics.ranking import ranked, roc_curve

RATES = (0.1, 0.01)
"""Shares of unknown images at which a run's report says how many known ones are still named."""
_KINDS = {"score": "f", "label": "i", "known": "b", "right": "b"}


def known_score(logits: NDArray[Any]) -> NDArray[np.float64]:
    """How much an image is like one of the classes, the higher the more: float [N, K], K > 1 -> float64 [N].

    The lead of the best logit over the mean of the others. It hardly depends on how many classes there are, and so is
    the same for a head that knows some less: logits of a softmax, which sum to about zero, are smaller the fewer there
    are, and those of a support vector machine for each class are higher, as more of the images are of that class.
    """
    values = logits.astype(np.float64)
    count = values.shape[1]
    lead: NDArray[np.float64] = (count * values.max(1) - values.sum(1)) / (count - 1)
    return lead


@dataclass(frozen=True)
class HeldOut:
    """What images scored, some by heads that knew their class and some by heads that did not; some of each."""

    score: NDArray[np.float32]
    """float32 [N]: see `known_score`."""
    label: NDArray[np.int32]
    """int32 [N]: the class of each, 0 to K - 1."""
    known: NDArray[np.bool_]
    """bool [N]: whether the head knew that class."""
    right: NDArray[np.bool_]
    """bool [N]: whether it gave that class; False where it did not know it."""

    @property
    def strangers(self) -> NDArray[np.float64]:
        """Scores of images of unknown classes."""
        return self.score[~self.known].astype(np.float64)

    @property
    def classes(self) -> int:
        """How many classes were held out."""
        return len(np.unique(self.label[~self.known]))

    def supported(self, level: float = 0.95) -> float:
        """The lowest share for which `threshold` finds one."""
        return sure_rate(self.label[~self.known], level)

    def needed(self, share: float, level: float = 0.95) -> int:
        """How many classes `threshold` needs for a share, in whose numbers of images they differ as those do that were
        held out, and never fewer than those; more than MOST_PEOPLE are MOST_PEOPLE + 1.
        """
        return people_needed(share, np.unique(self.label[~self.known], return_counts=True)[1], level)

    def threshold(self, share: float, level: float = 0.95) -> float:
        """The lowest one that accepts at most a `share` of unknown images, at `level`; raises UsageError for none."""
        return sure_threshold(self.strangers, self.label[~self.known], share, level)

    def figures(self, threshold: float, level: float = 0.95) -> dict[str, Estimate]:
        """ "dir", "far" and "rank_1" as tenfold.metrics.open_set has them, at a threshold; intervals by class."""
        search = Search(self.score.astype(np.float64), self.right, self.known)
        return identification_figures(search, self.label, threshold, level, noun=CLASS)

    def refused(self, threshold: float, level: float = 0.95) -> Estimate:
        """The share of images of known classes that a threshold refuses; the interval is by class."""
        below = (self.score[self.known].astype(np.float64) < threshold).astype(np.float64)
        return share(below, units_of(self.label[self.known].astype(object), len(below), noun=CLASS), level)

    def rows(self, level: float = 0.95) -> list[dict[str, Any]]:
        """ "of", "rate", "threshold", "far", "dir" and "refused" as in `open_set_details`, on these very images."""
        return [
            {"of": of, "rate": rate, "threshold": threshold, "refused": self.refused(threshold, level)}
            | {name: figure for name, figure in self.figures(threshold, level).items() if name in ("far", "dir")}
            for of, rate, threshold in self.thresholds()
        ]

    def thresholds(self) -> list[tuple[str, float, float]]:
        """(what chose it, share, threshold): "held_out" and "predict" of `open_set_details`."""
        found = [("held_out", rate, threshold_at(self.strangers, rate)) for rate in RATES]
        return found + [("predict", rate, self.threshold(rate)) for rate in RATES if rate >= self.supported()]

    def at_rates(self, level: float = 0.95) -> dict[float, dict[str, Estimate]]:
        """For each of RATES, "dir" and "far" at the threshold that keeps it on these very images, as benchmarks do."""
        found = {rate: self.figures(threshold_at(self.strangers, rate), level) for rate in RATES}
        return {rate: {name: figures[name] for name in ("far", "dir")} for rate, figures in found.items()}

    def to_json(self) -> dict[str, Any]:
        """{"classes", "images", "supported", "at_far": {"0.1": {"far", "dir"}, ...}}: what is reported of it."""
        rates = {f"{rate:g}": figures for rate, figures in self.at_rates().items()}
        counts = {"classes": self.classes, "images": len(self.strangers), "supported": self.supported()}
        values: dict[str, Any] = to_json(counts | {"at_far": rates})
        return values

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The fields by name: what a run stores."""
        return {name: getattr(self, name) for name in _KINDS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], classes: Sequence[str]) -> HeldOut:
        """The inverse of `arrays`, for these K classes. Raises KeyError or ValueError for what it does not give."""
        found = cls(*(arrays[name] for name in _KINDS))
        for name, kind in _KINDS.items():
            if arrays[name].dtype.kind != kind or arrays[name].shape != (found.score.size,):
                raise ValueError(f"its {name!r} is not what training writes")
        if not (found.known.any() and (~found.known).any()):
            raise ValueError("it lacks images of known or of unknown classes")
        if not np.isfinite(found.score).all() or found.label.min() < 0 or found.label.max() >= len(classes):
            raise ValueError("it has scores or classes that cannot be")
        if (found.right & ~found.known).any():
            raise ValueError("it has images of unknown classes that were named rightly")
        return found


class Answered(NamedTuple):
    """What a classifier answered to N > 0 images, all of classes that it knows, or none of them."""

    score: NDArray[np.float64]
    """float64 [N]: see `known_score`."""
    right: NDArray[np.bool_]
    """bool [N]: whether it gave the image's class; False where it does not know that."""
    units: NDArray[np.object_]
    """object [N]: equal for images that are alike, by which intervals are; None for one that stands alone."""
    noun: Noun = GROUP
    """What images that are alike have in common."""


def open_set_details(
    known: Answered, strangers: Answered, held: HeldOut | None, level: float = 0.95, exact: bool = False
) -> dict[str, Any]:
    """What a classifier makes of strangers, images of classes that it does not know, beside images that it knows.

    {"known", "strangers": how many images, "supported": `HeldOut.supported`, "rows", "curve"}. A row is a threshold:

    "of"         what chose it: "held_out" and "strangers" keep their share on the images that were held out, or on
                 these strangers themselves, as benchmarks do; "predict" is what `tenfold predict --false-accept` takes,
                 and is there where the held-out classes support the share
    "rate"       that share, one of RATES
    "threshold"  scores at or above it are accepted
    "dir"        of the known images those that are accepted and named rightly; "far": of strangers those accepted;
                 "refused": of the known images those that are not accepted; Estimates at `level`, `exact` as in
                 `units_of`, of the threshold as it stands

    "curve" is {"far", "dir"}: what all thresholds give on these images, from the highest on. Without `held` only the
    rows of "strangers" are there, and "supported" is None.
    """
    own = units_of(known.units, len(known.score), exact, noun=known.noun)
    theirs = units_of(strangers.units, len(strangers.score), exact, noun=strangers.noun)
    chosen = [] if held is None else held.thresholds()
    chosen += [("strangers", rate, threshold_at(strangers.score, rate)) for rate in RATES]
    rows = []
    for of, rate, threshold in chosen:
        hits = {
            "dir": (known.right & (known.score >= threshold), own),
            "far": (strangers.score >= threshold, theirs),
            "refused": (known.score < threshold, own),
        }
        figures = {name: share(hit.astype(np.float64), units, level) for name, (hit, units) in hits.items()}
        rows.append({"of": of, "rate": rate, "threshold": threshold, **figures})
    return {
        "known": len(known.score),
        "strangers": len(strangers.score),
        "supported": held.supported() if held else None,
        "rows": rows,
        "curve": _curve(known, strangers),
    }


def _curve(known: Answered, strangers: Answered) -> dict[str, list[float]]:
    """The ROC curve of what is named rightly against strangers, its height the share that is named rightly at all."""
    best = float(known.right.mean())
    if not best:
        return {"far": [0.0, 1.0], "dir": [0.0, 0.0]}
    score = np.concatenate([known.score[known.right], strangers.score])
    curve = roc_curve(ranked(np.arange(len(score)) < known.right.sum(), score))
    return {"far": curve["fpr"], "dir": [round(best * height, 6) for height in curve["tpr"]]}
