"""Evaluate a run on one part: predict once, store the predictions, give figures with intervals."""

from __future__ import annotations

import hashlib
import html
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.errors import UsageError, unknown
from tenfold.estimate import Estimate, from_json, to_json
from tenfold.evaluate.ledger import locked, record_look
from tenfold.files import write_file
from tenfold.images.prepared import PreparedTable, prepare_table, sample_size
from tenfold.looks import DIGITS, image_hashes, ledger_path
from tenfold.run import Run, read_frame, write_json

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tenfold.images.table import Table
    from tenfold.tasks import Findings

PARTS = ("validation", "test")

_SAME = 12  # digits after the point to which two figures are the same


@dataclass(frozen=True)
class Evaluation:
    """What a run is worth on one part."""

    part: str
    n: int
    """Images that the figures are of."""
    look: int
    """How many looks there had been at these test images, this one among them; 0 for validation."""
    figures: dict[str, Estimate]
    """Each with its interval, the headline first."""
    details: dict[str, Any] = field(default_factory=dict)
    """What the report shows besides: confusion matrix, figures by class, curves."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Images of the part that could not be read and are not in the figures: source -> why."""
    unlabeled: int = 0
    """Images of the part that have no label: they are predicted, and are not in the figures."""
    widened: float = 1.0
    """How many times as wide the looks made the headline's interval: 1 at the first look."""

    @property
    def basis(self) -> str:
        """What the figures are of, in words."""
        more = f" ({self.unlabeled} more without a label left out)" if self.unlabeled else ""
        return f"{self.n} {self.part} images{more}"

    def to_json(self) -> dict[str, Any]:
        """JSON values, each Estimate as {"value", "low", "high", "level", "n", "method"}."""
        names = ("part", "n", "look", "figures", "details", "unreadable", "unlabeled", "widened")
        content: dict[str, Any] = to_json({name: getattr(self, name) for name in names})
        return content

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Evaluation:
        """The inverse of `to_json`."""
        return cls(**from_json(content))

    def __str__(self) -> str:
        name, headline = next(iter(self.figures.items()))
        return f"{name.replace('_', ' ')} {headline} on {self.basis}"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td>{figure.value:.3f}</td>"
            f"<td>{figure.low:.3f} to {figure.high:.3f}</td><td>{html.escape(figure.method)}</td></tr>"
            for name, figure in self.figures.items()
        )
        head = "<tr><th>figure</th><th>value</th><th>interval</th><th>method</th></tr>"
        return f"<p>{self.basis}</p><table>{head}{rows}</table>"


def evaluate_run(run: Run, part: str = "validation", **options: Any) -> Evaluation:
    """Predict one part of the run's table and say what that is worth.

    `options` go to the task's figures; a classification takes `level` (0.95), `positive` and `threshold` (two classes)
    and `top_k`, a detection `level` and `score`. Writes predictions.parquet and evaluation.json into the run; a look at
    the test part goes into the ledger before its figures are shown or written, and from the second look on the
    intervals are such that those of all looks hold together (see tenfold.looks). Images without a label are predicted,
    and are in no figure. Raises UsageError for an unknown part, one without images or labels, an unknown option or
    an impossible value of one, DataError where the images cannot be read or the look cannot be noted.

    >>> import tenfold
    >>> run = tenfold.load_run("runs/digits")  # as the example of train_model left it
    >>> evaluation = tenfold.evaluate_run(run, "validation", level=0.9)
    >>> print(evaluation)  # doctest: +ELLIPSIS
    accuracy 0... (0... to 0...) on 277 validation images
    >>> evaluation.figures["log_loss"].level
    0.9
    """
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    rows = np.flatnonzero(run.table.samples["part"] == part)
    if not len(rows):
        raise UsageError(f"{run.path} has no {part} part; split the data with a {part} share above 0.")
    truncated = run.recipe.data.allow_truncated
    prepared = prepare_table(run.table.take(rows), run.preprocessing, allow_truncated=truncated)
    predictions = _predict(run, prepared)
    options = {name: run.calibration[name] for name in run.task.settled if name in run.calibration} | options
    first = findings = run.task.findings(predictions, prepared.table, options)
    answered = _part_rows(part, predictions, prepared.table, rows[prepared.rows])
    _others(run, part)  # a damaged file is refused before it costs a look
    look = 0
    if part == "test":
        shown = _fingerprint(answered, first)
        look = record_look(ledger_path(run.path), run.path, image_hashes(prepared.table), shown)
    if look > 1:
        findings = run.task.findings(predictions, prepared.table, options, looks=look)
    evaluation = Evaluation(
        part,
        len(prepared.table) - findings.unlabeled,
        look,
        findings.figures,
        findings.details,
        prepared.unreadable,
        findings.unlabeled,
        _width(findings) / _width(first),
    )
    _store(run, answered, evaluation)
    return evaluation


def _predict(run: Run, prepared: PreparedTable) -> pd.DataFrame:
    """A row a sample (its place in the prepared table) and instance, with what the task tabulates."""
    import pandas as pd

    images = (prepared.canvases.image(row) for row in range(len(prepared.table)))
    rows = []
    cut = run.task.cut if run.preprocessing.fit == "pad" else None  # else the network saw nothing but the image
    for sample, found in enumerate(run.predict_canvases(images)):
        prediction = cut(found, sample_size(prepared.table, sample)) if cut else found
        for instance, values in enumerate(run.task.tabulate(prediction, run.classes)):
            rows.append({"sample": sample, "instance": instance, **values})
    frame = pd.DataFrame(rows, columns=None if rows else ["sample", "instance"])
    return frame.astype({"sample": "int64", "instance": "int64"})


def _part_rows(part: str, predictions: pd.DataFrame, table: Table, rows: NDArray[np.int64]) -> pd.DataFrame:
    """The lines of predictions.parquet for one part; `rows` are the samples' places in the run's table."""
    import pandas as pd

    sample = predictions["sample"].to_numpy()
    seen = table.samples[["hash", "source", "row", "label"]].iloc[sample].reset_index(drop=True)
    return pd.concat([predictions.assign(part=part, sample=rows[sample]), seen], axis=1)


def _others(run: Run, part: str) -> tuple[list[pd.DataFrame], dict[str, Any]]:
    """The predictions and evaluations that the run holds of the other parts."""
    path = run.path / "predictions.parquet"
    stored = read_frame(path, "part") if path.exists() else None
    frames = [] if stored is None else [stored[stored["part"] != part]]
    return frames, {name: found for name, found in run.evaluations.items() if name != part}


def _store(run: Run, answered: pd.DataFrame, evaluation: Evaluation) -> None:
    """Write the predictions and figures of one part into the run, beside those of the other."""
    import pandas as pd

    with locked(run.path / "evaluation.lock"):  # another process may be writing what it found on the other part
        frames, evaluations = _others(run, evaluation.part)
        stored = pd.concat([*frames, answered], ignore_index=True)
        write_file(run.path / "predictions.parquet", lambda aside: stored.to_parquet(aside, index=False))
        write_json(run.path / "evaluation.json", evaluations | {evaluation.part: evaluation.to_json()})


def _fingerprint(answered: pd.DataFrame, shown: Findings) -> str:
    """A hash of what a look shows: the answer to each image and what would have been right, the figures, the confusion.

    Neither where the images lie is in it, nor the level of the intervals, nor whether an option was left out or given
    as it is anyway.
    """
    telling = answered.drop(columns=["part", "sample", "source", "row"])
    ordered = telling.sort_values([name for name in ("hash", "instance", "label") if name in telling])
    said: dict[str, Any] = {name: round(figure.value, _SAME) for name, figure in shown.figures.items()}
    content = json.dumps([said, shown.details.get("confusion")]) + ordered.to_json(orient="split", double_precision=15)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:DIGITS]


def _width(findings: Findings) -> float:
    """How wide the headline's interval is."""
    headline = next(iter(findings.figures.values()))
    return headline.high - headline.low
