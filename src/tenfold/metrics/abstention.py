"""Abstention: from which confidence on a model may answer, so that few of its answers are wrong.

Of N validation images the model answers the k surest, of which some are wrong. If it were wrong in a share E of all
such cases, there would be so few wrong ones with the probability that the binomial distribution gives; k is supported
where that is at most alpha, which is to say where the upper end of the exact (Clopper and Pearson 1934) interval is at
most E. Looking at many k and taking the largest one that passes would be too kind. So alpha is lowered until the chance
that any k passes, for a model that is wrong in a share E of its answers whatever their confidence, is 1 - level. That
chance is found exactly, by following the number of wrong answers from one k to the next, as for trials that are looked
at repeatedly (Armitage, McPherson and Rowe 1969, https://doi.org/10.2307/2343787); with one k alpha is 1 - level. It
is the family-wise control of "Learn then test" (Angelopoulos et al. 2021, https://arxiv.org/abs/2110.01052) with a
correction smaller than Bonferroni's, as neighboring k mostly count the same images.

The promise holds for images drawn as the validation ones were, and where surer answers are not wrong more often than
less sure ones (then the case above is the least favorable one; else it holds nearly, see tests/test_abstention.py).

NumPy and the standard library only, as `tenfold predict` must start fast.

Shapes: N images, G steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.estimate import Units, check_level
from tenfold.metrics.intervals import share

_RATIO = 0.95  # of the images answered at one step to those at the next
_CURVE_POINTS = 20
_LADDER = (0.01, 0.02, 0.03, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)


class Step(NamedTuple):
    """A confidence from which on a model might answer, and what came of that on validation images."""

    confidence: float
    """The least one that is answered, 0 to 1."""
    answered: int
    wrong: int
    """Of those answered."""


def answer_steps(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], groups: NDArray[np.object_] | None = None
) -> list[Step]:
    """Steps from few images answered to all N, each about 5 % more than the one before: small enough for model.json.

    confidence  float64 [N], probability of the predicted class
    right       bool [N], whether that is the label
    groups      object [N], equal values are one group, None or NaN an image on its own

    Of each group one image, drawn at random, counts: those of one group are right or wrong together.
    """
    rows = _one_of_each(groups, len(confidence))
    order = rows[np.argsort(-confidence[rows], kind="stable")]
    ranked, wrong = confidence[order], np.cumsum(~right[order])
    steps: dict[float, Step] = {}
    for count in _counts(len(order)):
        # Whoever is as sure as the last one that is answered is answered too.
        answered = int(np.searchsorted(-ranked, -ranked[count - 1], side="right"))
        least = float(ranked[count - 1])
        steps[least] = Step(least, answered, int(wrong[answered - 1]))
    return list(steps.values())


def choose_step(steps: Sequence[Step], max_error: float, level: float = 0.95) -> Step | None:
    """The step that answers most images of those at which at most `max_error` are wrong, at `level`; None for none.

    `steps` are those of `answer_steps`; both numbers lie between 0 and 1. Raises UsageError where they do not.
    """
    check_level(level)
    _check_error(max_error)
    tests = [step for step in steps if step.answered >= images_needed(max_error, level)]
    if not tests:
        return None
    limits = _limits([step.answered for step in tests], max_error, 1 - level)
    passed = [step for step, limit in zip(tests, limits, strict=True) if step.wrong <= limit]
    return passed[-1] if passed else None


def images_needed(max_error: float, level: float = 0.95) -> int:
    """The fewest images, all answered rightly, that support at most `max_error`: 149 for 2 % at 95 %.

    About 3 / max_error: the rule of three (Hanley and Lippman-Hand 1983, https://doi.org/10.1001/jama.1983.03330370053031).
    """
    return math.ceil(math.log(1 - level) / math.log1p(-max_error))


def supported_error(steps: Sequence[Step], above: float, level: float = 0.95) -> float | None:
    """The smallest error of a few round ones, larger than `above`, that the steps support; None where there is none."""
    return next((error for error in _LADDER if error > above and choose_step(steps, error, level)), None)


def accuracy_by_coverage(
    confidence: NDArray[np.float64], right: NDArray[np.float64], units: Units, level: float
) -> list[dict[str, Any]]:
    """Accuracy of the surest images alone: {"coverage", "confidence", "accuracy": Estimate}, from few to all.

    `right` float64 [N] is 1 where the answer is right; "coverage" is the share of images answered, "confidence" the
    least of theirs. At most 20 points. Their intervals hold for each point by itself, not for the best of them.
    """
    order = np.argsort(-confidence, kind="stable")
    counts = np.unique(np.ceil(np.linspace(0, 1, _CURVE_POINTS + 1)[1:] * len(order) - 1e-9).astype(int))
    return [
        {
            "coverage": count / len(order),
            "confidence": float(confidence[order[count - 1]]),
            "accuracy": share(right[order[:count]], units.take(order[:count]), level),
        }
        for count in counts.tolist()
    ]


def _check_error(max_error: float) -> None:
    if not 0 < max_error < 1:
        raise UsageError(f"max_error must lie between 0 and 1, for example 0.02, not {max_error:g}.")


def _one_of_each(groups: NDArray[np.object_] | None, count: int) -> NDArray[np.int64]:
    """One row of each group, drawn by a fixed seed, and every row without one."""
    drawn = np.random.default_rng(0).permutation(count)
    if groups is None:
        return drawn
    seen: set[object] = set()
    rows = []
    for row in drawn.tolist():
        name = groups[row]
        if name is None or name != name:
            rows.append(row)
        elif name not in seen:
            seen.add(name)
            rows.append(row)
    return np.array(rows, np.int64)


def _counts(count: int) -> list[int]:
    """How many images the steps answer, rising to `count`."""
    counts = [count]
    while counts[-1] > 1:
        counts.append(min(math.ceil(counts[-1] * _RATIO), counts[-1] - 1))
    return counts[::-1]


def _limits(counts: list[int], error: float, chance: float) -> list[int]:
    """The most wrong answers with which each count passes, -1 for none: any passes with at most `chance`."""
    below = [np.cumsum(_binomial(count, error)[: int(count * error) + 2]) for count in counts]

    def limits(alpha: float) -> list[int]:
        return [int(np.searchsorted(sums, alpha, side="right")) - 1 for sums in below]

    if _any_passes(counts, limits(chance), error) <= chance:
        return limits(chance)
    low, high = math.log(chance / len(counts)), math.log(chance)  # Bonferroni's is surely small enough
    for _ in range(20):
        middle = (low + high) / 2
        if _any_passes(counts, limits(math.exp(middle)), error) <= chance:
            low = middle
        else:
            high = middle
    return limits(math.exp(low))


def _any_passes(counts: list[int], limits: list[int], error: float) -> float:
    """Probability that the wrong answers, each with probability `error`, are within the limit at any of the counts."""
    most = max(limits)
    if most < 0:
        return 0.0
    alive, before, passed = np.ones(1), 0, 0.0  # alive[w]: w wrong so far, and no count has passed
    for count, limit in zip(counts, limits, strict=True):
        if limit < 0:
            continue
        alive = np.convolve(alive, _binomial(count - before, error))[: most + 1]
        passed += float(alive[: limit + 1].sum())
        alive[: limit + 1] = 0.0
        before = count
    return passed


def _binomial(count: int, error: float) -> NDArray[np.float64]:
    """Probabilities of 0, 1, ... wrong answers among `count`, up to where they no longer matter."""
    spread = math.sqrt(count * error * (1 - error))
    wrong = np.arange(min(count, int(count * error + 12 * spread + 30)) + 1)
    factorials = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, count + 1)))))
    ways = factorials[count] - factorials[wrong] - factorials[count - wrong]
    chances: NDArray[np.float64] = np.exp(ways + wrong * math.log(error) + (count - wrong) * math.log1p(-error))
    return chances
