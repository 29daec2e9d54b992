"""How often the intervals hold the truth: every kind of figure, few and many images, independent and in groups.

    python benchmarks/intervals.py --results intervals.json [--repeats 500] [--seconds 110]
    python benchmarks/intervals.py --results intervals.json --show

What is not in the results yet is simulated until the seconds are over; call it again to go on.

Seen on 24 November 2026 (2 cores of an Intel Xeon, 8 min in all), 500 repeats a cell, so that a cell of 95 is known to
within 1: per cent of intervals that hold the truth. None of the intervals had no width.

              n  acc.      acc. balanc.      F1     MCC logloss   Brier calibr.     ROC      AP
    images    30  0.6       97.8    96.8    97.0    96.6    93.8    94.0    97.2    96.2    94.4
    images    30  0.8       96.2    94.8    95.0    94.6    93.8    93.2    96.4    96.6    95.6
    images    30  0.9       96.6    96.4    96.2    96.0    97.0    96.6    97.8    96.8    97.6
    images    30  0.95      93.0    94.6    93.2    93.8    98.0    96.0    99.0    96.4    97.2
    images    30  0.99      97.0    97.0    97.0    97.0    97.4    95.8   100.0    96.8    97.6
    images   100  0.6       96.0    96.4    96.0    96.4    94.8    95.2    96.4    96.2    93.4
    images   100  0.8       95.0    96.2    95.6    95.6    94.2    94.4    96.6    94.6    94.0
    images   100  0.9       92.8    93.6    93.8    93.4    94.6    93.0    95.8    95.0    96.0
    images   100  0.95      96.2    95.6    96.0    96.0    97.4    94.4    95.6    96.6    97.0
    images   100  0.99      91.6    95.6    93.0    93.2    99.4    97.0    99.2    99.0    99.2
    images 1,000  0.6       94.4    93.8    94.4    94.2    94.4    94.6    96.6    94.6    94.6
    images 1,000  0.8       94.2    94.6    94.8    94.8    94.6    94.2    95.8    94.0    95.8
    images 1,000  0.9       96.4    96.2    96.6    96.6    95.8    96.0    95.4    96.0    95.0
    images 1,000  0.95      95.0    95.2    95.0    95.0    95.4    95.6    94.8    95.0    95.6
    images 1,000  0.99      96.4    95.2    94.8    94.8    98.8    94.0    92.2    99.8    99.4
    groups    30  0.6       96.2    96.8    95.0    95.2    95.2    95.0    98.8    96.6    98.2
    groups    30  0.8       98.2    98.6    97.6    98.0    98.6    97.8   100.0    98.6    99.8
    groups    30  0.9       98.4    98.2    97.6    97.6    98.2    97.8   100.0    97.8    98.4
    groups    30  0.95      98.2    98.6    98.0    97.8    99.0    98.0   100.0    98.4    99.2
    groups    30  0.99      96.6    97.2    97.2    96.6    99.4    97.2   100.0    99.6    99.0
    groups   100  0.6       95.4    94.6    94.8    95.0    95.0    95.2    98.0    93.0    94.0
    groups   100  0.8       94.6    94.6    94.8    94.6    93.8    92.6    99.4    94.4    96.0
    groups   100  0.9       96.6    96.8    96.4    96.2    98.6    97.2   100.0    98.2    99.0
    groups   100  0.95      95.6    97.0    96.6    96.2    98.8    97.8   100.0    98.2    98.0
    groups   100  0.99      97.2    97.4    97.4    97.4   100.0    98.2   100.0   100.0    99.8
    groups 1,000  0.6       94.4    95.4    95.2    95.2    95.0    95.0    97.0    94.6    93.6
    groups 1,000  0.8       97.0    96.4    96.4    96.6    95.4    95.2    96.6    95.0    95.6
    groups 1,000  0.9       96.2    95.8    96.0    96.0    95.4    96.0    96.2    95.6    95.8
    groups 1,000  0.95      94.0    94.6    94.2    94.2    95.0    94.6    97.6    95.8    97.0
    groups 1,000  0.99      96.6    97.0    96.6    96.8    99.4    97.4    96.4    99.8    99.4
    mean                    95.8    96.0    95.7    95.7    96.5    95.6    97.6    96.6    96.8

Of 100 images or more two cells are below 92: Wilson's own 91.6 (its exact coverage there is 92.1) and, where one image
in 10 is positive, 91.2 of average precision at 100 images. A calibrated model's calibration error is 0, the end of its
range, which only the lower end can miss: what is promised there is 97.5. Others, mean and range of all sizes:

                     log loss              Brier                 calibration error
    too sure         95.6 (92.6 to 98.6)   94.7 (92.6 to 96.6)   97.0 (94.0 to 100.0)
    doubtful         96.0 (93.0 to 99.6)   95.2 (93.0 to 97.6)   98.1 (95.4 to 100.0)
                     ROC area              average precision
    1 in 10          97.3 (93.6 to 99.6)   96.4 (91.2 to 99.8)
    1 in 10, groups  98.7 (94.8 to 100.0)  97.7 (94.2 to 100.0)
    1 in 50          98.0 (92.4 to 100.0)  96.9 (92.0 to 100.0)
    1 in 50, groups  99.3 (95.9 to 100.0)  98.6 (94.9 to 100.0)

Without Welch's degrees of freedom rare classes in groups went down to 63 (ROC area) and 66 (average precision).

Few groups, and groups of unequal size, 26 November 2026 (1,000 images and fewer, 500 repeats, mean and range; the rows
above were not run again: of equal groups, 10 and more, nothing has changed). None had no width.

                     accuracy              log loss              Brier
    3 groups         99.1 (95.4 to 100.0)  99.0 (95.2 to 100.0)  98.8 (95.0 to 100.0)
    5 groups         97.7 (94.6 to 99.4)   98.1 (94.4 to 100.0)  97.5 (94.4 to 99.4)
    9 groups         96.5 (93.2 to 99.2)   97.4 (92.8 to 100.0)  96.5 (92.4 to 99.2)
    uneven groups    96.3 (93.6 to 98.6)   97.2 (94.2 to 99.8)   96.6 (94.0 to 99.0)
    9 uneven groups  96.9 (92.8 to 99.2)   97.1 (91.8 to 99.8)   96.5 (91.2 to 99.0)
    30, alike        94.5 (90.0 to 98.6)   95.5 (89.4 to 99.2)   94.3 (89.6 to 98.6)

What remains is in the last row: 30 groups of very unequal size, whose images have 60 % of their logits' variance in
common (right answers correlate by 0.27 to 0.37): at 1,000 images and accuracies up to 0.95 accuracy holds in 90.0 to
92.6. A few largest groups then decide, and they are fewer than Kish's number of groups allows for.

Looks: 250 equally good models on 200 images, 500 rounds. How often the model that looks best has its truth held when
all looks count; when none does; and how many times as wide the interval is.

                          accuracy         macro F1         log loss            Brier         ROC area               AP
    images   0.6    97.6    0 1.92   98.0    1 1.92   95.0    0 1.91   95.0    0 1.91   97.8    0 1.93   89.0    0 1.90
    groups   0.6    98.6    2 2.04   99.4    4 2.04   98.4    2 2.08   98.4    2 2.09   98.0    1 2.02   96.8    0 1.91
    too sure 0.6    97.8    0 1.92   98.2    0 1.92   91.0    1 1.91   93.8    1 1.91   96.6    0 1.93   91.2    0 1.90
    images   0.8    99.2    1 1.92   98.4    1 1.92   95.0    0 1.97   96.2    0 1.94   96.2    0 1.94   98.6    0 1.98
    groups   0.8    97.2    2 2.05   98.6    6 2.05  100.0    2 2.29  100.0    1 2.19  100.0    1 2.10  100.0    1 2.17
    too sure 0.8    97.4    1 1.92   97.0    0 1.92   96.0    1 2.00   96.0    0 1.94   97.4    0 1.95   97.8    0 1.99
    images   0.9    99.6    1 1.94   98.8    1 1.94  100.0    1 2.21   97.6    0 2.00  100.0    1 2.05  100.0    1 2.52
    groups   0.9   100.0    4 2.08  100.0    8 2.08  100.0    8 2.90  100.0    2 2.38  100.0   95 2.43  100.0  100 3.32
    too sure 0.9    98.6    1 1.94   98.0    1 1.94  100.0    1 2.26   96.6    1 1.97  100.0    1 2.05  100.0    0 2.53
    images   0.95   99.0   12 1.96   99.0    8 1.96  100.0    7 2.73  100.0    1 2.09  100.0  100 2.41  100.0  100 4.00
    groups   0.95  100.0   23 2.12  100.0   33 2.12  100.0  100 3.86  100.0   20 2.71  100.0  100 2.92  100.0  100 4.93
    too sure 0.95   98.4   10 1.96   98.4    6 1.96  100.0   30 2.79  100.0    1 2.02  100.0  100 2.39  100.0  100 3.89

For accuracy and other proportions of independent images the interval is exact, so that at least 95 is a promise, and it
is at most twice as wide (40 groups need Student's t: a tenth more). Only at the edge is it wider: 2.13 times at 199
right of 200, where no exact interval could have less than 1.995, and 2.39 times at 200, where none could have less than
2.21 (tests/test_estimate.py). The others rest on a variance that is estimated: with log loss, Brier score and areas 95
held but of models that are twice as sure as they should be (91.0 and 93.8 at an accuracy of 60 %) and of average
precision far from 1 (89.0), whose method says "approximate"; near perfection they are wider than they need be.

The classifier is a toy whose truth is known: two classes, its logits are those of two normal distributions so far apart
that the accuracy is what the table says, its probabilities calibrated; of one that is too sure they are those of twice
the logits, of a doubtful one of half. Groups are of 5 images (of 3 where there are 30) unless their number is said:
all of one class, and as hard as one another by a normal effect that is 30 % of the variance of the logits; of uneven
ones the sizes are spread as an exponential distribution's. Both classes are equally frequent but where one is said to
be rare. Intervals are the product's own, tenfold.metrics, at 95 %; those of balanced accuracy, F1 and Matthews'
correlation from 400 resamples instead of 2,000.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import level_of_each, units_of
from tenfold.files import write_file
from tenfold.metrics import METRICS
from tenfold.metrics.answers import Answers
from tenfold.metrics.confusion import macro_f1
from tenfold.metrics.intervals import Undefined

Floats = NDArray[np.float64]

FIGURES = ("accuracy", "balanced_accuracy", "macro_f1", "mcc", "log_loss", "brier", "calibration_error", "roc_auc")
FIGURES += ("average_precision",)
SCORED = ("log_loss", "brier", "calibration_error")
AREAS = ("roc_auc", "average_precision")
PLAIN = ("accuracy", "log_loss", "brier")
"""Figures that are defined even where all groups are of one class."""
SIZES = (30, 100, 1000)
ACCURACIES = (0.6, 0.8, 0.9, 0.95, 0.99)
LEVEL = 0.95
DRAWS = 400
TRUTH_IMAGES = 2_000_000
CHUNK = 50
"""Repeats between two looks at the clock."""

LOOKS, LOOK_IMAGES = 250, 200
LOOK_FIGURES = ("accuracy", "macro_f1", "log_loss", "brier", "roc_auc", "average_precision")
LOOK_ROUNDS = 500


@dataclass(frozen=True)
class Kind:
    """A kind of toy, and which of its figures are simulated."""

    grouped: bool = False
    sharpness: float = 1.0
    """What the calibrated logits are multiplied by."""
    share: float = 0.5
    """Of the positive class."""
    groups: int = 0
    """How many groups there are; 0: as many as there are fives of images."""
    within: float = 0.3
    """Share of the logits' variance that the images of a group have in common."""
    uneven: bool = False
    """Sizes of groups are spread as an exponential distribution's, so that a fifth of them has half of the images."""
    figures: tuple[str, ...] = FIGURES


KINDS = {
    "images": Kind(),
    "groups": Kind(grouped=True),
    "too sure": Kind(sharpness=2.0, figures=SCORED),
    "doubtful": Kind(sharpness=0.5, figures=SCORED),
    "3 groups": Kind(grouped=True, groups=3, figures=PLAIN),
    "5 groups": Kind(grouped=True, groups=5, figures=PLAIN),
    "9 groups": Kind(grouped=True, groups=9, figures=PLAIN),
    "uneven groups": Kind(grouped=True, uneven=True, figures=PLAIN),
    "9 uneven groups": Kind(grouped=True, groups=9, uneven=True, figures=PLAIN),
    "30, alike": Kind(grouped=True, groups=30, within=0.6, uneven=True, figures=PLAIN),
    "1 in 10": Kind(share=0.1, figures=AREAS),
    "1 in 10, groups": Kind(grouped=True, share=0.1, figures=AREAS),
    "1 in 50": Kind(share=0.02, figures=AREAS),
    "1 in 50, groups": Kind(grouped=True, share=0.02, figures=AREAS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=110)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args()
    results = json.loads(options.results.read_text()) if options.results.exists() else {}
    if not options.show:
        until = time.monotonic() + options.seconds
        for _ in simulate(results, options.kinds, options.repeats):
            if time.monotonic() > until:
                write_file(options.results, json.dumps(results, indent=1))
                print("not all of it yet: call it again")
                return
        write_file(options.results, json.dumps(results, indent=1))
    show(results)


def simulate(results: dict[str, Any], kinds: list[str], repeats: int) -> Iterator[None]:
    """Fill in what is missing of these kinds, yielding after each piece."""
    for kind in kinds:
        for accuracy in ACCURACIES:
            if f"truth {kind} {accuracy}" not in results:
                results[f"truth {kind} {accuracy}"] = true_figures(KINDS[kind], accuracy)
                yield
    for start in range(0, repeats, CHUNK):  # all cells a little, then all cells again
        for name, kind, n, accuracy in cells(kinds):
            empty = {figure: [0, 0, 0] for figure in KINDS[kind].figures} | {"repeats": 0}
            cell = results.setdefault(name, empty)
            if cell["repeats"] <= start:
                repeat(cell, results[f"truth {kind} {accuracy}"], KINDS[kind], n, accuracy)
                yield
    for accuracy in (0.6, 0.8, 0.9, 0.95):
        for kind in [kind for kind in ("images", "groups", "too sure") if kind in kinds]:
            empty = {figure: [0, 0, 0.0] for figure in LOOK_FIGURES} | {"rounds": 0}
            cell = results.setdefault(f"looks {kind} {accuracy}", empty)
            while cell["rounds"] < LOOK_ROUNDS:
                look(cell, results[f"truth {kind} {accuracy}"], KINDS[kind], accuracy)
                yield


def cells(kinds: Iterable[str] = KINDS) -> Iterator[tuple[str, str, int, float]]:
    for kind in kinds:
        for n in SIZES:
            for accuracy in ACCURACIES:
                if n * KINDS[kind].share >= 2:
                    yield f"{kind} {n} {accuracy}", kind, n, accuracy


def draw(rng: np.random.Generator, kind: Kind, n: int, accuracy: float, models: int = 1) -> tuple[Floats, Floats]:
    """What toys answer to n images each: labels, 0 or 1, and the probability of the right class, [models, n] both."""
    skill = math.sqrt(2) * NormalDist().inv_cdf(accuracy)
    groups, shared = groups_of(kind, n), kind.within if kind.grouped else 0.0
    truth = (rng.random((models, n)) < kind.share)[:, groups]
    effect = rng.standard_normal((models, n))[:, groups] * math.sqrt(2 * shared)
    # Of the right class over the other one.
    margin = skill + effect + rng.standard_normal((models, n)) * math.sqrt(2 * (1 - shared))
    return truth.astype(np.float64), 1 / (1 + np.exp(-kind.sharpness * skill * margin))


def groups_of(kind: Kind, n: int) -> NDArray[np.int64]:
    """The group of each image, [n]."""
    if not kind.grouped:
        return np.arange(n)
    if not kind.groups and not kind.uneven:
        return np.arange(n) // (3 if n < 50 else 5)
    count = kind.groups or n // (3 if n < 50 else 5)
    middle = (np.arange(count) + 0.5) / count
    sizes = -np.log1p(-middle) if kind.uneven else np.ones(count)
    ends = np.cumsum(sizes) / sizes.sum()
    return np.searchsorted(ends, (np.arange(n) + 0.5) / n)


def answers_of(kind: Kind, truth: Floats, right: Floats, exact: bool = False) -> Answers:
    """One toy's answers, from [n] each."""
    labels = truth.astype(np.int64)
    probability = np.where(np.arange(2) == labels[:, None], right[:, None], 1 - right[:, None])
    groups = groups_of(kind, len(labels)).astype(object) if kind.grouped else None
    units = units_of(groups, len(labels), exact)
    return Answers(labels, probability, probability.argmax(1), units, positive=1, draws=DRAWS)


def true_figures(kind: Kind, accuracy: float) -> dict[str, float]:
    """The figures of very many images."""
    alone = replace(kind, grouped=False)
    truth, right = (values[0] for values in draw(np.random.default_rng(1), alone, TRUTH_IMAGES, accuracy))
    answers = replace(answers_of(alone, truth, right), draws=1)
    found = {name: METRICS[name].interval(METRICS[name], answers, LEVEL).value for name in FIGURES}
    sure = np.maximum(right, 1 - right)
    logit = np.log(sure) - np.log1p(-np.minimum(sure, 1 - 1e-15))
    gap = sure - 1 / (1 + np.exp(-logit / kind.sharpness))
    return found | {"accuracy": accuracy, "calibration_error": float(np.sqrt(np.mean(gap**2)))}


def repeat(cell: dict[str, Any], truth: dict[str, float], kind: Kind, n: int, accuracy: float) -> None:
    """CHUNK repeats of a cell: of each figure how often it was defined, covered, and of no width."""
    seed = [n, round(1000 * accuracy), kind.grouped, round(10 * kind.sharpness), round(100 * kind.share)]
    labels, right = draw(np.random.default_rng([*seed, cell["repeats"]]), kind, n, accuracy, CHUNK)
    for one, other in zip(labels, right, strict=True):
        answers = answers_of(kind, one, other)
        for name in kind.figures:
            try:
                figure = METRICS[name].interval(METRICS[name], answers, LEVEL)
            except Undefined:
                continue
            cell[name][0] += 1
            cell[name][1] += int(figure.low <= truth[name] + 1e-12 and truth[name] <= figure.high)
            cell[name][2] += int(figure.high <= figure.low)
    cell["repeats"] += CHUNK


def look(cell: dict[str, Any], truth: dict[str, float], kind: Kind, accuracy: float) -> None:
    """One round: 250 equally good models on 200 images each; how the one that looks best is covered.

    Of each figure: how often with all looks counted, how often with none, and the ratio of the first model's widths.
    """
    seed = [250, round(1000 * accuracy), kind.grouped, round(10 * kind.sharpness), cell["rounds"]]
    labels, right = draw(np.random.default_rng(seed), kind, LOOK_IMAGES, accuracy, LOOKS)
    for name, values in values_of(labels, right).items():
        best = int(values.argmin() if name in ("log_loss", "brier") else values.argmax())
        for place, figure in enumerate(both_intervals(name, kind, labels[best], right[best])):
            cell[name][place] += int(figure.low <= truth[name] <= figure.high)
        wide, plain = both_intervals(name, kind, labels[0], right[0])
        cell[name][2] += (wide.high - wide.low) / (plain.high - plain.low)
    cell["rounds"] += 1


def both_intervals(name: str, kind: Kind, truth: Floats, right: Floats) -> tuple[Any, Any]:
    """With all looks counted, and with none."""
    metric, exact = METRICS[name], answers_of(kind, truth, right, exact=True)
    plain = replace(exact, units=replace(exact.units, exact=False))
    return metric.interval(metric, exact, level_of_each(LEVEL, LOOKS)), metric.interval(metric, plain, LEVEL)


def values_of(truth: Floats, right: Floats) -> dict[str, Floats]:
    """LOOK_FIGURES of many models at once, [models] each."""
    hits = (right > 0.5).astype(np.float64)
    predicted = np.where(hits > 0, truth, 1 - truth)
    counts = [
        np.stack([(part * (which == label)).sum(1) for label in (0, 1)], 1)
        for part, which in ((hits, truth), (np.ones_like(hits), truth), (np.ones_like(hits), predicted))
    ]
    order = np.argsort(-np.where(truth == 1, right, 1 - right), axis=1)
    ranked = np.take_along_axis(truth, order, axis=1)
    found = np.cumsum(ranked, axis=1)
    positives = found[:, -1]
    return {
        "accuracy": hits.mean(1),
        "macro_f1": macro_f1(*counts),
        "log_loss": -np.log(right).mean(1),
        "brier": ((1 - right) ** 2).mean(1),
        "roc_auc": ((1 - ranked) * found).sum(1) / (positives * (truth.shape[1] - positives)),
        "average_precision": (ranked * found / np.arange(1, truth.shape[1] + 1)).sum(1) / positives,
    }


def show(results: dict[str, Any]) -> None:
    """Tables of what is there: per cent of intervals that hold the truth."""
    names = ("acc.", "balanc.", "F1", "MCC", "logloss", "Brier", "calibr.", "ROC", "AP")
    every: dict[str, list[float]] = {}
    empty, repeats = 0, set()
    print(f"{'':15}    n  acc.   " + "".join(f"{name:>8}" for name in names))
    for name, kind, n, accuracy in cells():
        if cell := results.get(name):
            shares = {figure: 100 * cell[figure][1] / max(cell[figure][0], 1) for figure in KINDS[kind].figures}
            for figure, share in shares.items():
                every.setdefault(figure if kind in ("images", "groups") else f"{figure}, {kind}", []).append(share)
            empty += sum(cell[figure][2] for figure in KINDS[kind].figures)
            repeats.add(cell["repeats"])
            cellular = "".join(f"{shares[figure]:8.1f}" if figure in shares else f"{'':8}" for figure in FIGURES)
            print(f"{kind:15}{n:>5,}  {accuracy:<5}  {cellular}")
    for figure, shares in every.items():
        print(f"mean of {figure}: {np.mean(shares):.1f} ({min(shares):.1f} to {max(shares):.1f})")
    print(f"repeats {sorted(repeats)}, {empty} intervals without width")
    for name, cell in results.items():
        if name.startswith("looks") and (rounds := cell["rounds"]):
            parts = [
                f"{figure} {100 * covered / rounds:.1f} {100 * plain / rounds:.1f} {ratio / rounds:.2f}"
                for figure, (covered, plain, ratio) in ((figure, cell[figure]) for figure in LOOK_FIGURES)
            ]
            print(f"{name}, {rounds} rounds: " + " | ".join(parts))


if __name__ == "__main__":
    main()
