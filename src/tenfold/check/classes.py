"""Classes: how many separate images each has, how even they are, and whether two of them are one by their names.

Shapes: N images, K classes, M pairs of an image and a class that it holds.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tenfold.check.findings import ABREAST, Evidence, Finding, marked_boxes, share
from tenfold.split.advice import FEWEST
from tenfold.split.copies import are_copies
from tenfold.split.ties import strata
from tenfold.words import count, listed

if TYPE_CHECKING:
    import pandas as pd

    from tenfold.images.table import Table

BELIEVED = math.ceil(math.log(0.025, 0.5))
"""Separate images from which on something can be believed of a class: 6. With fewer, the 95 % interval of its recall
reaches below one half even if each image were tested in turn and all were right (see `least_recall`), so that no split,
and no folds, can tell whether the class is found more often than not."""

UNEVEN = 3.0
"""Times from which on the largest class is called much larger than the smallest; training balances from here on."""

RARE = 0.05
"""Share of another class's images or boxes below which a class of nearly its name is taken for a slip in writing."""

SHORTEST = 5
"""Letters from which on names that differ in one are likely the same; of short ones many do: car and cat."""

_PLAIN = str.maketrans({"đ": "d", "ø": "o", "ł": "l", "ı": "i", "æ": "ae", "œ": "oe"})  # NFKD takes none of them apart

_GAP = re.compile(r"(?<=[^\W\d_])[\s_-]+(?=\w)")


def class_findings(table: Table, blocks: NDArray[np.int64]) -> list[Finding | None]:
    """Findings on the classes; `blocks` int64 [N] numbers what a split keeps together, from 0; -1 cannot be read."""
    classes = table.classes
    rows, held = strata(table)
    small = _small(table, rows, held, blocks)
    if table.boxes is not None:
        return [None if classes else _no_boxes(len(table)), small, _names(table), _slips(table)]
    labels = table.labels()
    about = _names(table), _slips(table), _unlabeled(labels)
    return [_alone(classes, len(table)), small, _uneven(classes, labels[~are_copies(table)]), *about]


def _alone(classes: Sequence[str], images: int) -> Finding | None:
    if len(classes) > 1:
        return None
    return Finding(
        kind="one_class",
        needs_decision=True,
        images=images,
        evidence=f"All images that have a label are of one class, {classes[0]!r}."
        if classes
        else "No image has a label.",
        price="A classifier has nothing to tell apart, so tenfold train refuses.",
        remedy="Add images of another class, each class in a folder of its own, or name the classes in a listing.",
    )


def _no_boxes(images: int) -> Finding:
    return Finding(
        kind="one_class",
        needs_decision=True,
        images=images,
        evidence="No image has a box.",
        price="A detector has nothing to learn.",
        remedy="See whether the annotations are those of these images.",
    )


def least_recall(images: int) -> float:
    """Where the exact 95 % interval of a class's recall begins if all of so many images, at least one, are right.

    Clopper and Pearson's lower end: the recall at which that happens by luck once in forty times.
    """
    return float(0.025 ** (1 / images))


def _small(
    table: Table, rows: NDArray[np.int64], labels: NDArray[np.int64], blocks: NDArray[np.int64]
) -> Finding | None:
    """From pairs of an image and a class that it holds, `rows` and `labels` int64 [M]."""
    classes = table.classes
    members = [rows[labels == place] for place in range(len(classes))]
    separate = [len(np.unique(blocks[own[blocks[own] >= 0]])) for own in members]
    small = [place for place, number in enumerate(separate) if number < BELIEVED]
    if not small:
        return None
    words = [f"{classes[place]} ({separate[place]})" for place in small]
    return Finding(
        kind="small_class",
        needs_decision=True,
        images=len(np.unique(rows[np.isin(labels, small)])),
        evidence=f"Of {count(len(small), 'class')} there are fewer than {BELIEVED} separate images: {listed(words)}.",
        price=_price_of_few(classes, separate, small),
        remedy="Add images of it, join it with another class, or leave it out.",
        sets=tuple(
            _holding(table, tuple(members[place].tolist()), [classes[place]], classes[place]) for place in small
        ),
    )


def _price_of_few(classes: Sequence[str], separate: Sequence[int], small: Sequence[int]) -> str:
    """What can be said of classes with so few separate images, [K]."""
    said = []
    if any(separate[place] < FEWEST for place in small):
        said.append(f"A class of fewer than {FEWEST} is missing from training, validation or test.")
    largest = max(small, key=separate.__getitem__)
    if number := separate[largest]:
        tested = "its one image were tested and" if number == 1 else f"all {number} images were tested and all"
        said.append(
            f"Nothing can be believed of {classes[largest]}, however it is split: even if {tested} right, its "
            f"recall could still be {100 * least_recall(number):.0f} % (95 % interval)."
        )
    return " ".join(said)


def _uneven(classes: Sequence[str], labels: NDArray[np.int64]) -> Finding | None:
    counts = np.bincount(labels[labels >= 0], minlength=len(classes))
    if len(counts) < 2 or counts.max() < UNEVEN * max(counts.min(), 1):
        return None
    most, least = int(counts.argmax()), int(counts.argmin())
    ratio = counts[most] / max(counts[least], 1)
    return Finding(
        kind="imbalance",
        needs_decision=False,
        images=int(counts.sum()),
        evidence=f"{classes[most]} has {counts[most]:,} images, {ratio:.1f} times as many as {classes[least]} "
        f"({counts[least]:,}).",
        price=f"A model that always says {classes[most]} is right on {share(counts[most], counts.sum())} of them.",
        remedy="Training weighs the classes by itself (train.balance); judge by balanced accuracy and F1.",
    )


def _names(table: Table) -> Finding | None:
    alike: dict[str, list[str]] = {}
    for name in table.classes:
        alike.setdefault(plain_name(name), []).append(name)
    pairs = [names for names in alike.values() if len(names) > 1]
    if not pairs:
        return None
    labels, owners = _labeled(table)
    counts = labels.value_counts()
    images = len(np.unique(owners[labels.isin([name for names in pairs for name in names]).to_numpy(bool)]))
    words = [" and ".join(f"{name!r} ({counts.get(name, 0):,})" for name in names) for names in pairs]
    firsts = [tuple(int(owners[(labels == name).argmax()]) for name in names) for names in pairs]
    return Finding(
        kind="names",
        needs_decision=True,
        images=images,
        evidence=f"Classes whose names differ in case, accents or spaces alone: {listed(words)}.",
        price="If they are one class, the model is made to tell apart what is the same, and every such image may count "
        "as a mistake.",
        remedy="Rename one to the other if they are the same; keep them if they are not.",
        sets=tuple(_holding(table, rows, names, text) for rows, names, text in zip(firsts, pairs, words, strict=True)),
    )


def _labeled(table: Table) -> tuple[pd.Series, NDArray[np.int64]]:
    """The label of each image, or of each box, and the images that these are of."""
    if table.boxes is None:
        return table.samples["label"], np.arange(len(table))
    return table.boxes["label"], table.boxes["sample"].to_numpy(np.int64)


def _slips(table: Table) -> Finding | None:
    """Rare classes whose name is a slip in writing that of a far larger one."""
    labels, owners = _labeled(table)
    counts = {str(name): int(times) for name, times in labels.value_counts().items()}
    meant: dict[str, str] = {}
    for pair in near_names(table.classes):
        few, many = sorted(pair, key=lambda name: counts.get(name, 0))
        if 0 < counts.get(few, 0) < RARE * counts[many] and counts[many] > counts.get(meant.get(few, ""), 0):
            meant[few] = many
    if not meant:
        return None
    meant = {name: meant[name] for name in table.classes if name in meant}
    words = [f"{few!r} ({counts[few]:,}) and {many!r} ({counts[many]:,})" for few, many in meant.items()]
    rows = [np.unique(owners[(labels == few).to_numpy(bool, na_value=False)]) for few in meant]
    return Finding(
        kind="slips",
        needs_decision=False,
        images=len(np.unique(np.concatenate(rows))),
        evidence=f"Classes a letter away from the name of one that is over {1 / RARE:.0f} times as large: "
        f"{listed(words)}.",
        price="If that is a slip in writing, these are learned and counted as a class of their own, and a model that "
        "gives them their right name is counted as wrong.",
        remedy="Rename them if they are the same; leave them as they are if not.",
        sets=tuple(
            _holding(table, tuple(own.tolist()), [few], text) for own, few, text in zip(rows, meant, words, strict=True)
        ),
    )


def near_names(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of names of at least SHORTEST letters that are one slip apart, but for case, accents and gaps; no digit.

    Names one slip apart are one text once a letter of either, or of both, is taken out, so few pairs are compared.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    plain = {name: plain_name(name) for name in names}
    for name, text in plain.items():
        if len(text) >= SHORTEST:
            digits = "".join(filter(str.isdigit, text))
            for part in dict.fromkeys([text, *(text[:place] + text[place + 1 :] for place in range(len(text)))]):
                alike.setdefault((part, digits), []).append(name)
    pairs = dict.fromkeys(pair for own in alike.values() for pair in combinations(own, 2))
    return (pair for pair in pairs if is_slip(*(plain[name] for name in pair)))


def is_slip(one: str, other: str) -> bool:
    """Whether texts differ by one letter that is left out, put in or another, or by two neighbors that are swapped."""
    differing = (place for place, (letter, wanted) in enumerate(zip(one, other, strict=False)) if letter != wanted)
    start = next(differing, min(len(one), len(other)))
    rest, wanted = one[start:], other[start:]
    if not rest and not wanted:
        return False
    swapped = rest[:2] == wanted[1::-1] and rest[2:] == wanted[2:]
    return rest[1:] in (wanted, wanted[1:]) or rest == wanted[1:] or swapped


def _holding(table: Table, rows: tuple[int, ...], names: Sequence[str], words: str) -> Evidence:
    """Evidence of images that are, or hold, something of these classes; what they hold of them is in question.

    A class may be in thousands of images of one video, so boxes are named of the first ABREAST alone.
    """
    if table.boxes is None:
        return Evidence(rows, words)
    own = (table.boxes["sample"].isin(rows[:ABREAST]) & table.boxes["label"].isin(names)).to_numpy(bool)
    marked = marked_boxes(table, np.flatnonzero(own))
    return Evidence(rows, words, boxes=tuple(box for boxes in marked.values() for box in boxes))


def plain_name(name: str) -> str:
    """A name without case, accents, and the gaps between its words: "Hoa-Hồng " and "hoahong" are the same.

    What tells numbers and languages apart stays: 1-2 is not 12, and c is neither c++ nor c#.
    """
    apart = unicodedata.normalize("NFKD", name.strip().casefold().translate(_PLAIN))
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return _GAP.sub("", bare)


def _unlabeled(labels: NDArray[np.int64]) -> Finding | None:
    rows = np.flatnonzero(labels < 0)
    if not len(rows) or len(rows) == len(labels):
        return None
    return Finding(
        kind="unlabeled",
        needs_decision=False,
        images=len(rows),
        evidence=f"{count(len(rows), 'image')} of {len(labels):,} have no label.",
        price="They cannot be learned from, and are in no figure.",
        remedy="Label them, or leave them out.",
        sets=tuple(Evidence((int(row),), "no label") for row in rows),
    )
