"""Price: what a leak was worth, as a run's figure with and without the images that it had seen in training.

The figure is accuracy, or of a detector AP50.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tenfold.check.findings import Findings
from tenfold.check.leaks import leaked_rows
from tenfold.estimate import Estimate, level_of_each, to_json, units_of
from tenfold.looks import DIGITS, image_hashes, ledger_path
from tenfold.metrics.intervals import share

if TYPE_CHECKING:
    import pandas as pd

    from tenfold.images.table import Table
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
    """Accuracy, or AP50, on all images of the part."""
    clean: Estimate
    """The same without the leaked ones."""
    worth: Estimate
    """The first less the second."""
    figure: str = "accuracy"
    """accuracy or ap50"""
    gone: tuple[str, ...] = ()
    """Classes of a detector of which no object is left without the leak: they are in no figure."""

    def __str__(self) -> str:
        if self.figure == "accuracy":
            shown = f"{100 * self.whole.value:.1f} %, without {100 * self.clean.value:.1f} %"
            worth = f"{100 * self.worth.value:.1f} points ({100 * self.worth.low:.1f} to {100 * self.worth.high:.1f})"
        else:
            shown = f"AP50 {self.whole.value:.3f}, without {self.clean.value:.3f}"
            worth = f"{self.worth.value:.3f} ({self.worth.low:.3f} to {self.worth.high:.3f})"
        sentence = f"With the leak {shown}: the leak was worth {worth}"
        gone = f" Without it there is no {' and no '.join(self.gone)}, so neither figure has it." if self.gone else ""
        return f"{sentence}, by {self.leaked:,} of {self.images:,} {self.part} images.{gone}"

    def to_json(self) -> dict[str, Any]:
        """JSON values, each Estimate as {"value", "low", "high", "level", "n", "method"}."""
        names = ("part", "images", "leaked", "look", "figure", "whole", "clean", "worth", "gone")
        content: dict[str, Any] = to_json({name: getattr(self, name) for name in names})
        return content | {"sentence": str(self)}


class Answers(Protocol):
    """What a run answered on N images of a part, some of which are leaked."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """[N], which are leaked."""

    @property
    def clean(self) -> Table:
        """The images that are not."""

    @property
    def shown(self) -> str:
        """What a look at these shows."""

    def worth(self, level: float, *, exact: bool) -> dict[str, Any]:
        """The fields whole, clean, worth, and others of a LeakPrice where they are not as usual."""


def leaked_hashes(findings: Findings, part: str, kinds: Sequence[str] = _LEAKS) -> set[str]:
    """The images of a part that have a copy, or one of their group or row of shots, in an earlier part.

    With `kinds` of findings only what these say.
    """
    sets = [item for kind in kinds if (found := findings.find(kind)) for item in found.sets]
    parts: dict[int, str | None] = {row: sample.part for row, sample in findings.samples.items()}
    width = max(parts, default=-1) + 1
    rows = leaked_rows(sets, [parts.get(row) for row in range(width)])[part]
    return {findings.samples[row].hash for row in rows}


def labelled_leaks(run: Run, leaked: set[str], part: str) -> NDArray[np.bool_]:
    """Which of the labelled images of a part, of a detector those with an object, are leaked: bool [N].

    `leaked` are the hashes of these. Where there are some, images that cannot be read are not among the N, as they are
    in no figure. Raises DataError where none can be read.
    """
    table = run.table.part(part)
    if table.samples["hash"].isin(leaked).any():
        from tenfold.images.prepared import prepare_table

        table = prepare_table(table, run.preprocessing, allow_truncated=run.recipe.data.allow_truncated).table
    if run.task.name == "detection":
        from tenfold.check.price_boxes import rows_with_objects

        labelled = rows_with_objects(table)
    else:
        labelled = np.flatnonzero(table.samples["label"].isin(run.classes))
    known: NDArray[np.bool_] = table.samples["hash"].iloc[labelled].isin(leaked).to_numpy(bool)
    return known


def price_leak(run: Run, leaked: set[str], part: str, level: float = 0.95) -> LeakPrice | None:
    """Evaluate a part with and without its leaked images, given by their hashes.

    Of the test part the figure without them is a look of its own, beside that with them, and both are counted; the
    intervals allow for all looks there have been. None, and no look, where none or all of the labelled images that can
    be read are leaked, so that there is nothing to compare.
    """
    from tenfold.evaluate import evaluate_run

    known = labelled_leaks(run, leaked, part)
    if not known.any() or known.all():
        return None
    evaluation = evaluate_run(run, part, level=level)
    answers: Answers
    if run.task.name == "detection":
        from tenfold.check.price_boxes import box_answers

        answers = box_answers(run, part, leaked, evaluation.unreadable)
    else:
        answers = _ClassAnswers(run, run.predictions(part), leaked)
    look = _look_without_leak(run, answers) if part == "test" else 0
    figures = answers.worth(level_of_each(level, max(look, 1)), exact=look > 1)
    return LeakPrice(part, len(answers.seen), int(answers.seen.sum()), look, **figures)


def _look_without_leak(run: Run, answers: Answers) -> int:
    """Note the look at the images that are not leaked; gives how many there were at these."""
    from tenfold.evaluate.ledger import record_look

    shown = hashlib.sha256(answers.shown.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]
    return record_look(ledger_path(run.path), run.path, image_hashes(answers.clean), f"{shown}:price")


class _ClassAnswers:
    """One class an image: `Answers` of the rows of predictions.parquet of a part."""

    def __init__(self, run: Run, frame: pd.DataFrame, leaked: set[str]) -> None:
        self._table, self._frame = run.table, frame[frame["label"].isin(run.classes)]
        self.seen: NDArray[np.bool_] = self._frame["hash"].isin(leaked).to_numpy(bool)

    @property
    def clean(self) -> Table:
        return self._table.take(self._frame["sample"].to_numpy(np.int64)[~self.seen])

    @property
    def shown(self) -> str:
        answers = self._frame[["hash", "label", "predicted"]][~self.seen].sort_values(["hash", "label"])
        return str(answers.to_json(orient="values"))

    def worth(self, level: float, *, exact: bool) -> dict[str, Any]:
        hits = np.asarray(self._frame["predicted"] == self._frame["label"], np.float64)
        groups = self._table.samples["group"].to_numpy(object)[self._frame["sample"].to_numpy()]
        units = units_of(groups, len(hits), exact=exact)
        whole, clean, cheap = (
            share(hits[rows], units.take(np.flatnonzero(rows)), level)
            for rows in (self.seen | True, ~self.seen, self.seen)
        )
        return {"whole": whole, "clean": clean, "worth": leak_worth(cheap, clean)}


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
