"""Price: what a leak was worth, as the accuracy of a run with and without the images that it had seen in training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.check.findings import Findings
from tenfold.check.leaks import leaked_rows
from tenfold.estimate import Estimate, level_of_each, to_json, units_of
from tenfold.metrics.intervals import share

if TYPE_CHECKING:
    from tenfold.run import Run

_LEAKS = ("leak", "group_leak")


@dataclass(frozen=True)
class LeakPrice:
    """What a run owes to the images of a part that it had seen in training."""

    part: str
    images: int
    leaked: int
    look: int
    """How many looks there had been at these images, this one among them; 0 for validation."""
    whole: Estimate
    """Accuracy on all images of the part."""
    clean: Estimate
    """Accuracy without the leaked ones."""
    worth: Estimate
    """The first less the second."""

    def __str__(self) -> str:
        low, high = 100 * self.worth.low, 100 * self.worth.high
        sentence = (
            f"With the leak {100 * self.whole.value:.1f} %, without {100 * self.clean.value:.1f} %: the leak was worth "
            f"{100 * self.worth.value:.1f} points ({low:.1f} to {high:.1f})"
        )
        return f"{sentence}, by {self.leaked:,} of {self.images:,} {self.part} images."

    def to_json(self) -> dict[str, Any]:
        """JSON values, each Estimate as {"value", "low", "high", "level", "n", "method"}."""
        names = ("part", "images", "leaked", "look", "whole", "clean", "worth")
        content: dict[str, Any] = to_json({name: getattr(self, name) for name in names})
        return content | {"sentence": str(self)}


def leaked_hashes(findings: Findings, part: str) -> set[str]:
    """The images of a part that have a copy, or one of their group, in an earlier part."""
    sets = [item for kind in _LEAKS if (found := findings.find(kind)) for item in found.sets]
    parts: dict[int, str | None] = {row: sample.part for row, sample in findings.samples.items()}
    width = max(parts, default=-1) + 1
    rows = leaked_rows(sets, [parts.get(row) for row in range(width)])[part]
    return {findings.samples[row].hash for row in rows}


def price_leak(run: Run, leaked: set[str], part: str, level: float = 0.95) -> LeakPrice | None:
    """Evaluate a part with and without its leaked images, given by their hashes.

    This is a look at the part and counted as one; the intervals allow for all looks there have been. None, and no look,
    where none or all of its images are leaked, so that there is nothing to compare.
    """
    from tenfold.evaluate import evaluate_run

    samples = run.table.part(part).samples
    known = samples["hash"].isin(leaked)[samples["label"].isin(run.classes)]
    if not known.any() or known.all():
        return None
    look = evaluate_run(run, part, level=level).look
    level = level_of_each(level, max(look, 1))
    frame = run.predictions(part)
    frame = frame[frame["label"].isin(run.classes)]
    seen = frame["hash"].isin(leaked).to_numpy(bool)
    hits = np.asarray(frame["predicted"] == frame["label"], np.float64)
    groups = run.table.samples["group"].to_numpy(object)[frame["sample"].to_numpy()]
    units = units_of(groups, len(hits), exact=look > 1)
    whole, clean, cheap = (
        share(hits[rows], units.take(np.flatnonzero(rows)), level) for rows in (seen | True, ~seen, seen)
    )
    return LeakPrice(part, len(hits), int(seen.sum()), look, whole, clean, leak_worth(cheap, clean))


def leak_worth(known: Estimate, clean: Estimate) -> Estimate:
    """What a share of known images adds to the accuracy of a part: share x (accuracy on them - on the others).

    Both are of the same predictions; the images of either are others, so that their errors are independent. The
    interval of the difference is put together from the two by their distances squared (Newcombe 1998, method 10,
    https://doi.org/10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I), and so has never zero width.
    The share is taken as it is: the question is what this leak was worth in this part.
    """
    portion = known.n / (known.n + clean.n)
    apart = known.value - clean.value
    low = apart - math.hypot(known.value - known.low, clean.high - clean.value)
    high = apart + math.hypot(known.high - known.value, clean.value - clean.low)
    method = f"Newcombe from {known.method} and {clean.method}"
    return Estimate(portion * apart, portion * low, portion * high, clean.level, known.n + clean.n, method)
