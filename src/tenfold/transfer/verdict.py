"""What fine-tuning changed: the frozen and the fine-tuned network on the same validation images, and which to take.

Taken is the one of lower log loss; but the frozen network, which is simpler, also where it is no worse by more than one
standard error of the difference on the same images, over groups where there are some: the rule by which rungs are
chosen, see choice.py. The probabilities of both are calibrated on these images, so both figures are a little too good.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tenfold.estimate import Estimate, to_json
from tenfold.evaluate import compare_runs
from tenfold.evaluate.compare import Difference
from tenfold.run import Run

PART = "validation"
FEWEST = 2
"""Images with a label, no two of them copies, on which two networks can be compared."""


@dataclass(frozen=True)
class Change:
    """One figure of the frozen and of the fine-tuned network."""

    before: Estimate
    after: Estimate
    difference: Estimate
    """After minus before, its interval paired."""

    @classmethod
    def of(cls, found: Difference) -> Change:
        """From a comparison of the fine-tuned with the frozen network."""
        return cls(found.second, found.first, found.difference)


@dataclass(frozen=True)
class Verdict:
    """Which network to take, and what fine-tuning changed."""

    taken: Literal["frozen", "finetuned"]
    reason: str
    """Why that one, a sentence."""
    n: int
    """Validation images that both answered."""
    accuracy: Change
    log_loss: Change
    became_right: int
    """Images that only the fine-tuned network gets right."""
    became_wrong: int
    """Images that only the frozen network gets right."""
    seconds: float
    """Of fine-tuning."""

    def to_json(self) -> dict[str, Any]:
        """JSON values, each Estimate as {"value", "low", "high", "level", "n", "method"}."""
        names = ("taken", "reason", "n", "became_right", "became_wrong", "seconds")
        changes = {name: vars(getattr(self, name)) for name in ("accuracy", "log_loss")}
        content: dict[str, Any] = to_json({name: getattr(self, name) for name in names} | changes)
        return content


def judge(frozen: Run, tuned: Run) -> Verdict | None:
    """Which of two runs to take that were evaluated on their validation part.

    None where they cannot be told apart: by the same answers to all images, or by fewer than FEWEST images.
    """
    if not _can_be_told_apart(frozen, tuned):
        return None
    found = compare_runs([tuned], [frozen], PART)
    loss = found.figures["log_loss"]
    error = math.sqrt(loss.variance.sample)
    assert found.table is not None  # of one run a side
    _, became_right, became_wrong, _ = found.table
    return Verdict(
        "finetuned" if loss.difference.value < -error else "frozen",
        _reason(loss.difference.value, error),
        found.n,
        Change.of(found.figures["accuracy"]),
        Change.of(loss),
        became_right,
        became_wrong,
        float(tuned.history["seconds"].max()),
    )


def _can_be_told_apart(one: Run, other: Run) -> bool:
    frames = [run.predictions(PART) for run in (one, other)]
    first, second = (np.stack(frame["probability"].to_list()) for frame in frames)
    return frames[0]["hash"].nunique() >= FEWEST and not np.array_equal(first, second)


def _reason(difference: float, error: float) -> str:
    """Of log losses, fine-tuned minus frozen, and the standard error of that."""
    apart = f"by {abs(difference):.3f}, and one standard error is {error:.3f}"
    if difference < -error:
        return f"The fine-tuned network: its log loss is lower {apart}."
    if difference < 0:
        return f"The frozen network: fine-tuning lowers the log loss {apart}, within which the simpler one is taken."
    return f"The frozen network: fine-tuning does not lower the log loss, which differs {apart}."
