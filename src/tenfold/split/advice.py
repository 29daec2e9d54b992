"""Advice: which shares of the images the parts should have, for this problem, and why in words and numbers.

A share is a trade: test and validation images say how good the model is, training images make it good. The usual share
of 15 % stands unless it gives a part too few images to tell anything (then it grows, while a class keeps enough to
learn from) or far more than it needs (then training gets them).

Shapes: K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import FEWEST_GROUPS, wilson
from tenfold.images.content import hashed
from tenfold.images.table import Table
from tenfold.recipe import check_range
from tenfold.split.copies import images_of, refuse_copies_alone
from tenfold.split.fill import part_shares
from tenfold.split.parts import split_table
from tenfold.split.ties import Together, bonds, class_counts, join, strata, together

USUAL, LARGEST = 0.15, 0.3
MOST_HELD_OUT = 0.95
"""Validation and test together: what a split leaves to training at least is the rest."""
WIDE = 0.05
"""Points to each side of the test figure from which on a part is worth enlarging."""
TELLS_LITTLE = 0.1
"""Points to each side from which on folds are advised: two good models then look alike."""
KEPT = 20
"""Training images that the middle class keeps when the other parts grow."""
FEWEST = 3
"""Separate images or groups that a class needs to be in the training, the validation and the test part."""
FOLDS, REPEATS = 5, 2
PLENTY, PLENTY_A_CLASS = 2_000, 10
"""Test images that are enough: an accuracy of 90 % is then known to 1.3 points."""


@dataclass(frozen=True)
class Advice:
    """Shares for the parts of one data set, and what they come to."""

    validation: float
    test: float
    expected: float
    """The accuracy, from 0 to 1, at which the width is judged."""
    width: float
    """Half the 95 % interval of the test accuracy, at the expected accuracy, from 0 to 1, if images say nothing of each
    other; 0.5, which is not to know anything, without a test part."""
    tested: int
    """Images in the test part, about."""
    kept: tuple[int, int]
    """Training images that the smallest and the largest class keep, about."""
    separate: int
    """As how many the images count: the sets that are kept together, and the images that stand alone."""
    folds: str
    """What --folds should be, "5x2", where cross-validation would tell more than the test part; empty elsewhere."""
    reasons: tuple[str, ...]
    """Why, a sentence each."""

    def to_json(self) -> dict[str, Any]:
        """JSON values; shares, accuracy and width from 0 to 1."""
        return {
            "validation": self.validation,
            "test": self.test,
            "expected_accuracy": self.expected,
            "half_width": self.width,
            "test_images": self.tested,
            "training_images_per_class": {"least": self.kept[0], "most": self.kept[1]},
            "separate_images": self.separate,
            "folds": self.folds or None,
            "reasons": self.reasons,
        }


def advise_split(
    table: Table, *, expected: float = 0.9, validation: float | None = None, test: float | None = None
) -> Advice:
    """The shares of validation and test that fit the table's images, their groups and classes.

    `expected` is the accuracy, from 0 to 1, at which the width of the test figure's interval is judged. A share that is
    given stays as it is. Augmented copies of images do not count.
    Raises UsageError for an accuracy outside 0 to 1 or an impossible share, DataError where no image can be read or all
    are such copies.
    """
    check_range("expected", expected, 0, 1)
    part_shares(validation or 0, test or 0)
    table = hashed(table)
    refuse_copies_alone(table, [name for name, share in (("validation", validation), ("test", test)) if share != 0])
    table = images_of(table)
    blocks = join(bonds(table))
    found = together(blocks)
    counts = class_counts(table, [""] * len(table), [""])[0, : len(table.classes)]
    counts = counts if len(counts) else np.array([len(table)])
    share = advised_share(len(table), len(table.classes), float(np.median(counts)), expected)
    share = min(share, round(MOST_HELD_OUT - (validation or test or 0), 6))
    held, tests = (share if given is None else given for given in (validation, test))
    tested = max(round(tests * len(table)), 1) if tests else 0
    width = half_width(expected, tested) if tested else 0.5
    advice = Advice(held, tests, expected, width, tested, _kept(counts, held, tests), found.separate, "", ())
    if too_few := _too_few(table, blocks):
        return replace(advice, reasons=(too_few,))
    return _with_reasons(advice, table, found, (validation is not None, test is not None))


def advised_share(images: int, classes: int, typical: float, expected: float = 0.9) -> float:
    """The share of validation and of test for so many images and classes, of which the middle one has `typical`."""
    enough = max(PLENTY, PLENTY_A_CLASS * classes)
    if USUAL * images > enough:
        return max(math.ceil(1000 * enough / images) / 1000, 0.01)
    wanted = images_needed(expected, WIDE) / max(images, 1)
    if wanted <= USUAL:
        return USUAL
    affordable = (1 - KEPT / typical) / 2 if typical > 0 else 0.0  # both parts grow alike
    return max(USUAL, math.floor(20 * min(wanted, affordable, LARGEST)) / 20)


def half_width(accuracy: float, images: int, level: float = 0.95) -> float:
    """Half of Wilson's interval for an accuracy on so many independent images."""
    low, high = wilson(accuracy * images, images, level)
    return (high - low) / 2


def images_needed(accuracy: float, width: float) -> int:
    """The fewest independent images for which the interval reaches at most `width` to each side."""
    low, high = 1, 1
    while half_width(accuracy, high) > width:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if half_width(accuracy, middle) <= width else (middle, high)
    return high


def _kept(counts: NDArray[np.int64], validation: float, test: float) -> tuple[int, int]:
    """Training images that the smallest and the largest class keep, about: each part gets one of a class of FEWEST."""
    most = counts - (validation > 0) - (test > 0)
    kept = np.where(counts < FEWEST, counts, np.minimum(np.round((1 - validation - test) * counts), most))
    return int(kept.min()), int(kept.max())


def _too_few(table: Table, blocks: NDArray[np.int64]) -> str:
    """Why no split gives a test figure, in a sentence; nothing where one does. `blocks` [N] is what stays together."""
    separate = int(blocks.max(initial=-1)) + 1
    if separate < FEWEST:
        verb = "is" if separate == 1 else "are"
        return (
            f"Training, validation and test need {FEWEST} separate images or groups, and here {verb} {separate}: no "
            "split gives a test figure; add images, of other groups where there are groups."
        )
    samples, labels = strata(table)
    held = np.unique(np.stack([labels, blocks[samples]]), axis=1)[0]
    of_class = np.bincount(held, minlength=len(table.classes))[: len(table.classes)]
    if not len(of_class) or of_class.max() >= FEWEST:
        return ""
    return (
        f"No class has {FEWEST} separate images or groups, so none can be in training, validation and test: no split "
        "gives a test figure; add images of each class."
    )


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _with_reasons(advice: Advice, table: Table, found: Together, asked: tuple[bool, bool]) -> Advice:
    """The advice with its reasons, and with folds where these tell more; `asked`: which shares were given."""
    if table.boxes is not None:  # the rest is of a class an image, as accuracy and folds are
        return replace(advice, reasons=(_shares(advice, len(table), asked),))
    reasons = [_shares(advice, len(table), asked), _measures(advice)]
    grouped = 2 * found.separate <= len(table)
    groups = advice.test * found.separate if grouped else math.inf
    if grouped and advice.test:
        reasons.append(_groups(advice, found, groups))
    if not advice.test or (advice.width <= TELLS_LITTLE and groups >= FEWEST_GROUPS):
        return replace(advice, reasons=tuple(reasons))
    rest = split_table(table, validation=advice.validation, test=advice.test).without("test")
    dealt = f"{min(FOLDS, together(join(bonds(rest))).separate)}x{REPEATS}"
    wider = "" if grouped else f", at best {100 * half_width(advice.expected, len(rest)):.1f} points to each side"
    reasons.append(
        f"Cross-validation measures on each of the {_many(len(rest), 'other image')} in turn and tells more{wider}: "
        f"tenfold train DATA --folds {dealt}"
    )
    return replace(advice, folds=dealt, reasons=tuple(reasons))


def _shares(advice: Advice, images: int, asked: tuple[bool, bool]) -> str:
    given = [" (as asked)" if there else "" for there in asked]
    return (
        f"Advised for {_many(images, 'image')}: {_percent(1 - advice.validation - advice.test)} train, "
        f"{_percent(advice.validation)} validation{given[0]}, {_percent(advice.test)} test{given[1]}."
    )


def _measures(advice: Advice) -> str:
    least, most = advice.kept
    spread = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    keeps = f"a class keeps {spread} training image{'' if spread == '1' else 's'}"
    if not advice.test:
        return f"Without a test part no figure will be of images that were kept apart; {keeps}."
    return (
        f"At an accuracy of {_percent(advice.expected)} the test figure will be known to about "
        f"{100 * advice.width:.1f} points to each side ({_many(advice.tested, 'image')}), and {keeps}."
    )


def _groups(advice: Advice, found: Together, groups: float) -> str:
    """What it means that the images are `found.separate` ones only, of which the test part gets about `groups`."""
    alone = f", and {_many(found.alone, 'image')} alone" if found.alone else ""
    sets = f"These images count as {found.separate:,}: {found.sets_in_words}{alone}"
    few = max(round(groups), 1)
    if groups < FEWEST_GROUPS:
        return (
            f"{sets}. Of these {found.separate:,} the test part gets about {few}: its figure depends on which, and the "
            "interval will be wide."
        )
    return (
        f"{sets}. If those of one are all alike, the test figure will be known to about "
        f"{100 * half_width(advice.expected, few):.1f} points only."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
