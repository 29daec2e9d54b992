"""Quality: a survey -> findings on images that are dark, empty, blurred, of odd sizes, modes or bits, or turned.

An image needs a decision only where it is bad by an absolute limit and far from the other images besides: a set of
night shots is dark on purpose. The limits were chosen on the 3,670 flowers, which are clean by hand, and on damage
done to 150 of them:

    measure       limit   lowest of 3,670 flowers   where it is crossed
    brightness    0.15    0.294                     at 15 % of the light by 8 in 10 images, at 10 % by all
    contrast      0.10    0.302                     a wall, or noise of 10 grey levels on nothing
    information   0.8     1.318                     even noise of 2 grey levels has 2.0 bits a pixel
    sharpness     0.08    0.122                     from a Gaussian blur of 4 pixels on at 500 x 375 pixels by most

and each of them is also at least four times less than in the middle image of the set.

Shapes: N images.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.check.findings import Evidence, Finding, share, singles
from tenfold.check.survey import Survey
from tenfold.words import are, count

FAR = 4.0
"""How many times less than the middle image of the set a measure must be, besides being under its limit."""


class Limit(NamedTuple):
    """When an image is bad by one measure."""

    kind: str
    measure: str
    lowest: float
    words: str
    """What is said of one image, with its value."""


LIMITS = (  # an image has one finding, the first that fits: what is dark has little contrast and information as well
    Limit("dark", "brightness", 0.15, "the brightest hundredth has {:.0%} of white"),
    Limit("blank", "contrast", 0.10, "its grey levels span {:.0%} of the range"),
    Limit("blank", "information", 0.8, "{:.1f} bits a pixel"),
    Limit("blurred", "sharpness", 0.08, "its steepest edge rises {:.0%} a pixel"),
)

_PRICES = {
    "dark": "What cannot be seen cannot be learned; in the test part it counts as a mistake that says nothing.",
    "blank": "There is nothing in it to learn from; the network can only learn it by heart.",
    "blurred": "Detail by which classes differ is gone; in the test part it measures the camera, not the model.",
}
_SMALL, _LONG = 4.0, 4.0  # times smaller, or longer for its height, than the middle image
_RARE = 0.05  # the share of images up to which a color mode is rare
_FEW = 1 / 8  # the share of the grey levels of 16 bits that the best image uses: of 12-bit data it is a sixteenth


def quality_findings(survey: Survey, *, with_boxes: bool = False) -> list[Finding | None]:
    """All findings that one image gives by itself; `with_boxes`: a detector would see it, not a classifier.

    Of images with boxes what EXIF turns is for `box_findings` to tell.
    """
    looks = (*_bad_looks(survey), _modes(survey), _few_bits(survey), _sizes(survey, with_boxes=with_boxes))
    return [_unreadable(survey), *looks, None if with_boxes else rotated(survey)]


def _unreadable(survey: Survey) -> Finding | None:
    if not survey.unreadable:
        return None
    number, all_images = len(survey.unreadable), len(survey.facts)
    first = next(iter(survey.unreadable.values()))
    return Finding(
        kind="unreadable",
        needs_decision=True,
        images=number,
        evidence=f"{count(number, 'file')} of {all_images:,} cannot be read as an image{'; the first' * (number > 1)}: "
        f"{first}",
        price=f"{share(number, all_images)} of the images are lost to training and to every figure.",
        remedy="Save them again, or leave them out (--fix); --allow-truncated takes what is left of a cut "
        "one (of train and recipes data.allow_truncated).",
        sets=singles(survey.unreadable, survey.unreadable.values()),
    )


def _bad_looks(survey: Survey) -> list[Finding | None]:
    free = survey.readable
    found: dict[str, list[Evidence]] = {}
    for limit in LIMITS:
        values = survey.facts[limit.measure]
        bad = free & is_far_below(values, limit.lowest, survey.rows)
        free = free & ~bad
        rows = np.flatnonzero(bad)
        rows = rows[np.argsort(values[rows], kind="stable")]
        found.setdefault(limit.kind, []).extend(singles(rows, (limit.words.format(values[row]) for row in rows)))
    return [_bad_look(kind, sets, len(survey.rows)) for kind, sets in found.items() if sets]


def is_far_below(values: NDArray[np.float32], lowest: float, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values [N] are under a limit and FAR times less than the middle one of those at `rows`: bool [N]."""
    middle = float(np.median(values[rows])) if len(rows) else 0.0
    below: NDArray[np.bool_] = (values < lowest) & (values * FAR < middle)
    return below


def _bad_look(kind: str, sets: list[Evidence], images: int) -> Finding:
    adjective = {"dark": "so dark that hardly anything shows", "blank": "nearly empty", "blurred": "blurred all over"}
    return Finding(
        kind=kind,
        needs_decision=True,
        images=len(sets),
        evidence=f"{count(len(sets), 'image')} of {images:,} {are(len(sets))} {adjective[kind]}, far from the others.",
        price=_PRICES[kind],
        remedy="Look at them; keep what the model will meet in use, leave out the rest (--fix).",
        sets=tuple(sets),
    )


def _modes(survey: Survey) -> Finding | None:
    modes = survey.facts["mode"][survey.rows].tolist()
    counts = Counter(modes)
    rare = {mode: number for mode, number in counts.items() if number <= _RARE * len(modes)}
    if not rare:
        return None
    rows = [row for row, mode in zip(survey.rows.tolist(), modes, strict=True) if mode in rare]
    listed = ", ".join(f"{mode} ({number:,})" for mode, number in counts.most_common())
    return Finding(
        kind="mode",
        needs_decision=False,
        images=len(rows),
        evidence=f"The images have {len(counts)} color modes: {listed}.",
        price="None by itself: all are read alike. A mode that goes with a class would be learned in its place.",
        remedy="See whether the rare ones belong to one class or come from another source.",
        sets=singles(rows, survey.facts["mode"][rows].tolist()),
    )


def _few_bits(survey: Survey) -> Finding | None:
    """All images of 16 bits use a small share of these, as those of 10, 12 or 14 bits that were saved as they are."""
    modes, reach = survey.facts["mode"], survey.facts["contrast"]
    rows = np.flatnonzero(survey.readable & np.char.startswith(modes, "I"))  # readable, it is none of 32 bits
    widest = float(reach[rows].max(initial=0))
    if not len(rows) or widest >= _FEW:
        return None
    return Finding(
        kind="bits",
        needs_decision=False,
        images=len(rows),
        evidence=f"{count(len(rows), 'image')} of {len(survey.rows):,} {are(len(rows))} of 16 bits, and "
        f"the grey levels of none span more than {share(widest, 1)} of that range, but for stray pixels.",
        price=f"The upper 8 bits are read, whatever an image uses: at most {widest * 255 + 1:.0f} grey levels are "
        "left, and what differs by less is gone.",
        remedy="Save them with their levels spread over all 16 bits: times 16 where the data have 12 bits, times 64 "
        "where they have 10.",
        sets=singles(rows, (f"its grey levels span {share(reach[row], 1)} of 16 bits" for row in rows)),
    )


def _sizes(survey: Survey, *, with_boxes: bool) -> Finding | None:
    if not len(survey.rows):
        return None
    height, width = (survey.facts[name].astype(np.float64) for name in ("height", "width"))
    short, long = np.minimum(height, width), np.maximum(height, width)
    aspect = long / np.maximum(short, 1)
    odd = short * _SMALL < np.median(short[survey.rows])
    odd |= aspect > _LONG * np.median(aspect[survey.rows])
    rows = np.flatnonzero(odd & survey.readable)
    if not len(rows):
        return None
    price, remedy = "cut to a square they lose most of what they show", "pad or squash keeps all of a long image"
    if with_boxes:  # a detector cuts nothing off
        price, remedy = "squeezed into the shape of the others they show objects out of theirs", "pad keeps their shape"
    return Finding(
        kind="size",
        needs_decision=False,
        images=len(rows),
        evidence=f"{count(len(rows), 'image')} of {len(survey.rows):,} {are(len(rows))} {_SMALL:.0f} times smaller, "
        "or longer for the height, than usual.",
        price=f"Enlarged they are blurred; {price}.",
        remedy=f"Look at them; image.fit = {remedy}.",
        sets=singles(rows, (f"{width[row]:.0f} x {height[row]:.0f} pixels" for row in rows)),
    )


def rotated(survey: Survey, but: NDArray[np.bool_] | None = None) -> Finding | None:
    """The note on images that EXIF turns, `but` for some [N]."""
    rows = np.flatnonzero((survey.facts["orientation"] > 1) & (True if but is None else ~but))
    if not len(rows):
        return None
    return Finding(
        kind="rotated",
        needs_decision=False,
        images=len(rows),
        evidence=f"{count(len(rows), 'image')} of {len(survey.rows):,} lie on their side or mirrored in the file, and "
        "EXIF says how to turn them.",
        price="None here: they are turned when read. A program that ignores EXIF sees them as they lie.",
        remedy="Nothing to do for Tenfold; turn the files for good if others read them too.",
        sets=singles(rows, (f"EXIF orientation {value}" for value in survey.facts["orientation"][rows])),
    )
