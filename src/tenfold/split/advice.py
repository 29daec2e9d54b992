"""Advice: which shares of the images the parts should have, for this problem, and why in words.

A share is a trade: test and validation images say how good the model is, training images make it good. The usual share
of 15 % stands unless it gives a part too few images to tell anything (then it grows, while a class keeps enough to
learn from) or far more than it needs (then training gets them).

Shapes: K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import FEWEST_GROUPS, wilson
from tenfold.images.content import hashed
from tenfold.images.table import Table
from tenfold.recipe import check_range
from tenfold.split.parts import split_table
from tenfold.split.ties import bonds, class_counts, join, strata

USUAL, LARGEST = 0.15, 0.3
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
    """Shares for the parts of one data set."""

    validation: float
    test: float
    width: float
    """Half the 95 % interval of the test accuracy, at the expected accuracy, from 0 to 1."""
    folds: bool
    """Whether repeated cross-validation would tell more than the test part."""
    reasons: tuple[str, ...]
    """Why, a sentence each."""


def advise_split(table: Table, *, expected: float = 0.9) -> Advice:
    """The shares of validation and test that fit the table's images, their groups and classes.

    `expected` is the accuracy, from 0 to 1, at which the width of the test figure's interval is judged.
    Raises UsageError for an accuracy outside 0 to 1, DataError where no image can be read.
    """
    check_range("expected", expected, 0, 1)
    table = hashed(table)
    blocks = _block_count(table)
    counts = class_counts(table, [""] * len(table), [""])[0, : len(table.classes)]
    typical = float(np.median(counts)) if len(counts) else float(len(table))
    share = _share(len(table), len(counts), typical, expected)
    width = half_width(expected, max(round(share * len(table)), 1))
    if too_few := _too_few(table, blocks):
        return Advice(share, share, width, False, (too_few,))
    grouped = 2 * blocks <= len(table)
    groups = share * blocks if grouped else math.inf
    folds = width > TELLS_LITTLE or groups < FEWEST_GROUPS
    reasons = [*_reasons(share, len(table), counts, expected, width)]
    if groups < FEWEST_GROUPS:
        reasons.append(
            f"These images are {_many(blocks, 'group')}, of which the test part gets about {max(round(groups), 1)}: "
            "its figure depends on which, and the interval will be wide."
        )
    elif grouped:
        reasons.append(f"These images are {blocks:,} groups; images of one group say less, so it may be wider.")
    if folds:
        rest = split_table(table, validation=share, test=share).without("test")
        dealt = f"{min(FOLDS, _block_count(rest))}x{REPEATS}"
        reasons.append(f"Cross-validation on all the other images tells more: tenfold train DATA --folds {dealt}")
    return Advice(share, share, width, folds, tuple(reasons))


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


def _block_count(table: Table) -> int:
    """How many separate images and groups there are."""
    return int(join(bonds(table)).max(initial=-1)) + 1


def _too_few(table: Table, blocks: int) -> str:
    """Why no split gives a test figure, in a sentence; nothing where one does."""
    if blocks < FEWEST:
        verb = "is" if blocks == 1 else "are"
        return (
            f"Training, validation and test need {FEWEST} separate images or groups, and here {verb} {blocks}: no "
            "split gives a test figure; add images, of other groups where there are groups."
        )
    samples, labels = strata(table)
    held = np.unique(np.stack([labels, join(bonds(table))[samples]]), axis=1)[0]
    separate = np.bincount(held, minlength=len(table.classes))[: len(table.classes)]
    if not len(separate) or separate.max() >= FEWEST:
        return ""
    return (
        f"No class has {FEWEST} separate images or groups, so none can be in training, validation and test: no split "
        "gives a test figure; add images of each class."
    )


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _share(images: int, classes: int, typical: float, expected: float) -> float:
    enough = max(PLENTY, PLENTY_A_CLASS * classes)
    if USUAL * images > enough:
        return max(math.ceil(1000 * enough / images) / 1000, 0.01)
    wanted = images_needed(expected, WIDE) / max(images, 1)
    if wanted <= USUAL:
        return USUAL
    affordable = (1 - KEPT / typical) / 2 if typical > 0 else 0.0  # both parts grow alike
    return max(USUAL, math.floor(20 * min(wanted, affordable, LARGEST)) / 20)


def _reasons(share: float, images: int, counts: NDArray[np.int64], expected: float, width: float) -> tuple[str, str]:
    train, part = _percent(1 - 2 * share), _percent(share)
    kept = np.round((1 - 2 * share) * (counts if len(counts) else np.array([images]))).astype(int)
    spread = f"{kept.min():,}" if kept.min() == kept.max() else f"{kept.min():,} to {kept.max():,}"
    return (
        f"Advised for {_many(images, 'image')}: {train} train, {part} validation, {part} test.",
        f"At an accuracy of {_percent(expected)} the test figure will be known to about {100 * width:.1f} points to "
        f"each side ({_many(max(round(share * images), 1), 'image')}), and a class keeps {spread} training "
        f"image{'' if spread == '1' else 's'}.",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
