"""AP at an IoU of 0.5 alone: of one look at images, of two looks at the same images, and with and without some of them.

Shapes: N images, K classes, B resamples.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import Estimate, Units, freedom, standard_errors
from tenfold.metrics.detection import Part, match_part
from tenfold.metrics.detection_areas import COCO_RECALLS, Draws, average_precisions
from tenfold.metrics.detection_estimates import (
    DRAWS,
    Figures,
    Matches,
    Resampled,
    mean_estimates,
    over_classes,
    resampled,
)
from tenfold.metrics.detection_matching import Detections, Judged

_LEAST = 1e-12  # what is less is rounding


class WithAndWithout(NamedTuple):
    """AP50 of a part with all its images and without some, over the classes of which an object is left."""

    whole: Estimate
    without: Estimate
    difference: Estimate
    """The first less the second."""
    gone: tuple[str, ...]
    """The classes of which none is left; they are in no figure."""


def ap50(matches: Matches, units: Units, level: float = 0.95, draws: int = DRAWS) -> Estimate:
    """The mean over the classes, with the interval that `detection_findings` gives it.

    `units` are those of the images, at least one of which holds an object that counts.
    """
    return mean_estimates(_looked(matches, units, draws), matches, units, level)["ap50"]


def ap50_change(
    before: Matches, after: Matches, units: Units, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """By how much AP50 changed between two looks at the same images: after minus before, a paired bootstrap.

    As `compare_detectors` compares two detectors.
    """
    first, last = (_looked(matches, units, draws, seed, side) for side, matches in enumerate((before, after)))
    value, drawn = (
        over_classes(late["ap50"]) - over_classes(early["ap50"]) for early, late in zip(first, last, strict=True)
    )
    return _difference(float(value[0]), drawn, units, units.df or max(units.count - 1, 1), level)


def ap50_without(
    part: Part, left_out: NDArray[np.bool_], units: Units, level: float = 0.95, draws: int = DRAWS, seed: int = 0
) -> WithAndWithout:
    """AP50 with and without some of the images, bool [N], of which some must be left that hold an object that counts.

    Both are measured on the same resamples of all images, as the images that are left out are among those with them.
    The degrees of freedom of the difference are those of the fewer images: three that are left out say little.
    """
    rows = np.flatnonzero(~left_out)
    rest = images_of(part, rows)
    every, fewer = _at_half(part.matches), _at_half(rest.matches)

    def measured(draws: Draws) -> Figures:
        own = Draws(*(times[:, rows] for times in draws))
        return {"whole": _by_class(every, draws), "without": _by_class(fewer, own)}

    found = resampled(measured, units, draws, seed)
    left = np.isfinite(found.value["without"][0])
    whole, without = (
        Resampled(*({"ap50": np.where(left, figures[name], np.nan)} for figures in found))
        for name in ("whole", "without")
    )
    value, gaps = (over_classes(more["ap50"] - less["ap50"]) for more, less in zip(whole, without, strict=True))
    df = min(freedom(units.index[left_out]), freedom(units.index[~left_out]))
    return WithAndWithout(
        mean_estimates(whole, part.matches, units, level)["ap50"],
        mean_estimates(without, rest.matches, units.take(rows), level)["ap50"],
        _difference(float(value[0]), gaps, units, df, level),
        tuple(name for name, is_left in zip(part.classes, left, strict=True) if not is_left),
    )


def images_of(part: Part, rows: NDArray[np.int64]) -> Part:
    """Some of the images of a part, int64 [M], by themselves."""
    place = np.full(part.images, -1)
    place[rows] = np.arange(len(rows))
    objects, found = part.objects, part.detections
    own, theirs = place[objects.image], place[found.image]
    kept, seen = own >= 0, theirs >= 0
    return match_part(
        objects.take(kept)._replace(image=own[kept]),
        Detections(theirs[seen], found.box[seen], found.label[seen], found.score[seen]),
        part.classes,
        len(rows),
    )


def _at_half(matches: Matches) -> list[Judged]:
    """By the first of COCO's rules alone: all areas, an IoU of 0.5."""
    return [
        Judged(one.place, one.image, one.rank, one.verdict[:1], one.partner[:1], one.wanted[:1]) for one in matches.coco
    ]


def _looked(matches: Matches, units: Units, draws: int, seed: int = 0, side: int = 0) -> Resampled:
    judged = _at_half(matches)
    return resampled(lambda times: {"ap50": _by_class(judged, times)}, units, draws, seed, side)


def _by_class(judged: list[Judged], draws: Draws) -> NDArray[np.float64]:
    """float64 [B, K], NaN where a resample has no such object."""
    return np.concatenate([average_precisions(one, draws, COCO_RECALLS) for one in judged], 1)


def _difference(value: float, drawn: NDArray[np.float64], units: Units, df: float, level: float) -> Estimate:
    """A difference from -1 to 1 with Student's interval from its spread over resamples, float64 [B]."""
    error = max(float(drawn[np.isfinite(drawn)].std()), _LEAST)
    reach = standard_errors(level, df) * error
    low, high = max(value - reach, -1.0), min(value + reach, 1.0)
    return Estimate(value, low, high, level, len(units.index), f"paired bootstrap {units.words}")
