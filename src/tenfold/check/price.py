"""Price: what a leak was worth, as the accuracy of a run with and without the images that it had seen in training."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.check.findings import Findings
from tenfold.check.leaks import leaked_rows
from tenfold.estimate import Estimate, level_of_each, to_json, units_of
from tenfold.looks import DIGITS, image_hashes, ledger_path
from tenfold.metrics.intervals import share

if TYPE_CHECKING:
    import pandas as pd

    from tenfold.run import Run

_LEAKS = ("leak", "group_leak", "bursts", "series")


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
    """The images of a part that have a copy, or one of their group or row of shots, in an earlier part."""
    sets = [item for kind in _LEAKS if (found := findings.find(kind)) for item in found.sets]
    parts: dict[int, str | None] = {row: sample.part for row, sample in findings.samples.items()}
    width = max(parts, default=-1) + 1
    rows = leaked_rows(sets, [parts.get(row) for row in range(width)])[part]
    return {findings.samples[row].hash for row in rows}


def labelled_leaks(run: Run, leaked: set[str], part: str) -> NDArray[np.bool_]:
    """Which of the labelled images of a part are leaked, given by their hashes: bool [N]."""
    samples = run.table.part(part).samples
    known: NDArray[np.bool_] = samples["hash"].isin(leaked)[samples["label"].isin(run.classes)].to_numpy(bool)
    return known


def price_leak(run: Run, leaked: set[str], part: str, level: float = 0.95) -> LeakPrice | None:
    """Evaluate a part with and without its leaked images, given by their hashes.

    Of the test part the figure without them is a look of its own, beside that with them, and both are counted; the
    intervals allow for all looks there have been. None, and no look, where none or all of the labelled images are
    leaked, so that there is nothing to compare.
    """
    from tenfold.evaluate import evaluate_run

    known = labelled_leaks(run, leaked, part)
    if not known.any() or known.all():
        return None
    look = evaluate_run(run, part, level=level).look
    frame = run.predictions(part)
    frame = frame[frame["label"].isin(run.classes)]
    seen = frame["hash"].isin(leaked).to_numpy(bool)
    if part == "test":
        look = _look_without_leak(run, frame[~seen])
    level = level_of_each(level, max(look, 1))
    hits = np.asarray(frame["predicted"] == frame["label"], np.float64)
    groups = run.table.samples["group"].to_numpy(object)[frame["sample"].to_numpy()]
    units = units_of(groups, len(hits), exact=look > 1)
    whole, clean, cheap = (
        share(hits[rows], units.take(np.flatnonzero(rows)), level) for rows in (seen | True, ~seen, seen)
    )
    return LeakPrice(part, len(hits), int(seen.sum()), look, whole, clean, leak_worth(cheap, clean))


def _look_without_leak(run: Run, clean: pd.DataFrame) -> int:
    """Note the look at the images that are not leaked; gives how many there were at these."""
    from tenfold.evaluate.ledger import record_look

    hashes = image_hashes(run.table.take(clean["sample"].to_numpy(np.int64)))
    answers = clean[["hash", "label", "predicted"]].sort_values(["hash", "label"]).to_json(orient="values")
    shown = hashlib.sha256(answers.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
    return record_look(ledger_path(run.path), run.path, hashes, f"{shown}:price")


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
