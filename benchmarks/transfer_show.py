"""The tables of transfer.py: each figure with n, its mean and its spread, and what was wanted beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import mean, median, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.commands.output import show_table
from tenfold.estimate import units_of
from tenfold.metrics.paired import hits_interval, split_variance

Entry = dict[str, Any]
Key = tuple[Any, ...]
WANTED = {("flowers", 10): 80.0, ("flowers", 50): 88.0, ("orl", 5): 99.3, ("cifar", 50): 66.5}
"""Test accuracy in per cent by stage and images a class."""
MINUTES = {"flowers": 3.0, "orl": 3.0, "cifar": 60.0}
"""Processor minutes of a training, at most."""
SHARE, MARGIN = 0.2, -1.0
"""Of fastai's wall time, at most; lower end of the difference to it in points, at least."""
_LEVEL = 0.95
_HEADS = ("", "a class", "n", "accuracy %", "least to most", "seconds", "processor seconds", "wanted")


def show(entries: list[Entry]) -> None:
    """Print what is there, stage by stage."""
    for name in sorted({entry["processor"] for entry in entries}):
        print(f"Processor: {name} ({sum(entry['processor'] == name for entry in entries)} trainings)\n")
    tuned = [entry for entry in entries if entry["judged"] == "validation"]
    _show_stage("Settings, judged by the validation part", [entry for entry in tuned if entry["stage"] == "tune"])
    _show_stage("fastai's recipes, judged by the validation part", [e for e in tuned if e["stage"] == "fastai"])
    judged = [entry for entry in entries if entry["judged"] == "test"]
    for stage, words in (
        ("flowers", "Flowers, test part"),
        ("fastai", "Flowers, test part, fastai"),
        ("orl", "ORL faces, 5 images a person"),
        ("cifar", "CIFAR-10 from scratch, whole test part"),
    ):
        _show_stage(words, [entry for entry in judged if entry["stage"] == stage])
    _show_against([e for e in judged if e["stage"] == "flowers"], [e for e in judged if e["stage"] == "fastai"])


def _show_stage(title: str, entries: list[Entry]) -> None:
    """A row a contender and number of images: mean and standard deviation over trainings, medians of the times."""
    rows = []
    for (*who, per_class), group in _grouped(entries, _what).items():
        scores = [100 * entry["accuracy"] for entry in group]
        spread = f"{mean(scores):.1f} +- {stdev(scores):.1f}" if len(scores) > 1 else f"{scores[0]:.1f}"
        used = [entry["processor_seconds"] for entry in group]
        cells = (per_class, len(group), spread, f"{min(scores):.1f} to {max(scores):.1f}")
        wall = f"{median(entry['seconds'] for entry in group):.0f}"
        wanted = _wanted(group[0]["stage"], per_class)
        rows.append((_named(*who, entries), *cells, wall, f"{median(used):.0f} ({max(used):.0f})", wanted))
    if rows:
        sizes = sorted({entry["n"] for entry in entries})
        judged = " or ".join(f"{size:,}" for size in sizes)
        show_table(_HEADS, rows, f"{title}: {judged} images; seconds are medians, in brackets the most")


def _wanted(stage: str, per_class: int) -> str:
    if (stage, per_class) not in WANTED:
        return ""
    return f">= {WANTED[stage, per_class]:g}, < {60 * MINUTES[stage]:.0f} s"


def _named(contender: str, options: str, validated: bool, entries: list[Entry]) -> str:
    """The contender, its options too where it was tried with others, and whether it chose by other images."""
    others = {entry["options"] for entry in entries if entry["contender"] == contender}
    words = f"{contender}: {options}" if len(others) > 1 else contender
    return f"{words} (chosen on the validation part)" if validated else words


def _show_against(ours: list[Entry], theirs: list[Entry]) -> None:
    """The difference in right answers on the same images after the same training images, and the ratio of times."""
    rows = []
    for (*who, per_class), group in _grouped(ours, _what).items():
        pairs = _paired(group, [entry for entry in theirs if entry["per_class"] == per_class])
        if not pairs:
            continue
        value, low, high = _difference(pairs)
        ratios = [own["seconds"] / other["seconds"] for own, other in pairs]
        gap = f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
        met = "both" if low > MARGIN and median(ratios) <= SHARE else "accuracy" if low > MARGIN else "no"
        words = (_named(*who, ours), pairs[0][1]["options"], per_class, len(pairs))
        rows.append((*words, gap, f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", met))
    if rows:
        heads = ("", "fastai's recipe", "a class", "pairs", "points, 95 % interval", "time over fastai's", "met")
        wanted = f"wanted: above {MARGIN:g} point, at most {SHARE:g} of the wall time"
        show_table(heads, rows, f"Against fastai on the same images, paired by image and by training; {wanted}")


def _paired(ours: list[Entry], theirs: list[Entry]) -> list[tuple[Entry, Entry]]:
    """Those that were trained on and judged by the same images."""
    found = {(entry["sample"], entry["images"]): entry for entry in theirs}
    pairs = [(entry, found.get((entry["sample"], entry["images"]))) for entry in ours]
    return [(own, other) for own, other in pairs if other is not None]


def _difference(pairs: list[tuple[Entry, Entry]]) -> tuple[float, float, float]:
    """Points that the first has more, and the interval over images and trainings.

    The unit of the seeds is a pair, since both sides of it were trained on the same images.
    """
    wrong = [tuple(set(entry["wrong"]) for entry in pair) for pair in pairs]
    images = sorted(set().union(*(names for pair in wrong for names in pair)))
    gaps = np.zeros((len(pairs), pairs[0][0]["n"]))  # of images that nobody gets wrong: 0
    for row, (own, other) in enumerate(wrong):
        gaps[row, : len(images)] = [(name in other) - (name in own) for name in images]
    units = units_of(None, gaps.shape[1])
    spread = split_variance(gaps, np.zeros_like(gaps), units)
    means: NDArray[np.float64] = gaps.mean(0)
    low, high = hits_interval(means, units, spread, _LEVEL)
    return 100 * float(means.mean()), 100 * low, 100 * high


def _what(entry: Entry) -> Key:
    return (entry["contender"], entry["options"], entry["validated"], entry["per_class"])


def _grouped(entries: Iterable[Entry], key: Callable[[Entry], Key]) -> dict[Key, list[Entry]]:
    """In the order in which they came, but by the number of images first."""
    groups: dict[Key, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: int(entry["per_class"])):
        groups.setdefault(key(entry), []).append(entry)
    return groups
