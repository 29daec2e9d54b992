"""Evaluate a run on one part: predict once, store the predictions, give figures with intervals."""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tenfold.errors import DataError, UsageError
from tenfold.errors import unknown as none_of
from tenfold.estimate import Estimate, from_json, level_of_each, to_json
from tenfold.evaluate.ledger import record_look
from tenfold.evaluate.open_set import check_beyond, class_answers, compare_part, find_strangers
from tenfold.evaluate.speed import measure_speed
from tenfold.files import locked, write_file
from tenfold.images.prepared import PreparedTable, prepare_table, sample_size
from tenfold.looks import DIGITS, for_looks, image_hashes, ledger_path
from tenfold.metrics.pairs import pair_details
from tenfold.metrics.unknown import open_set_details
from tenfold.run import Run, read_frame, write_json

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tenfold.images.table import Table
    from tenfold.proposals import Given
    from tenfold.tasks import Findings

PARTS = ("validation", "test")

Measure = Callable[[float, bool], Any]
"""(level of each interval, whether it is an exact one) -> a detail of the evaluation."""

_SAME = 12  # digits after the point to which two figures are the same
_ASKED_FOR = ("open_set", "pairs", "speed")  # details that not every evaluation has
_SHOWN = ("dir", "refused", "fnmr", "fmr")  # what rows of details say of the part itself


class Answered(NamedTuple):
    """What a run predicts for the images of a part that can be read."""

    predictions: pd.DataFrame
    """A row a sample (its place in the prepared table) and instance, with what the task tabulates."""
    prepared: PreparedTable
    rows: NDArray[np.int64]
    """Places of the prepared images in the run's table."""
    no_boxes: int | None
    """Of a run with proposals from a file, how many rows of it, of these images, are no box."""


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


def evaluate_run(
    run: Run,
    part: str = "validation",
    *,
    unknown: Table | None = None,
    pairs: bool = False,
    speed: bool = False,
    **options: Any,
) -> Evaluation:
    """Predict one part of the run's table and say what that is worth.

    With `unknown`, images of none of the run's classes, labelled by what they are or not, the detail "open_set" says
    how many of them are given a class, and how many of the part's are named or refused, at thresholds (see
    tenfold.metrics.unknown); what of them the run knows is left out and named there. Of a fine-tuned run that keeps the
    frozen one the score is the frozen network's, as it is of `tenfold predict --false-accept`. With `pairs` the detail
    "pairs" says how well features tell whether two images of the part are of one class (tenfold.metrics.pairs). With
    `speed` the detail "speed" says how long each stage of a prediction takes here (tenfold.evaluate.speed), or where an
    image cannot be read any more "no_speed" says so. Of a run with proposals from a file the detail "no_boxes" is how
    many rows of it, of these images, are no box.

    `options` go to the task's figures; a classification takes `level` (0.95), `positive` and `threshold` (two classes)
    and `top_k`, a detection `level` and `score`. Writes predictions.parquet and evaluation.json into the run; the look
    goes into the ledger before its figures are shown or written, and of the test part from the second look on the
    intervals are such that those of all looks hold together (see tenfold.looks). Where the answers are the same as
    before, what evaluation.json has of unknown images, pairs and speed stays. Images without a label are predicted, and
    are in no figure. Raises UsageError for an unknown part, one without images or labels, an unknown option or
    an impossible value of one, DataError where the images cannot be read or the look cannot be noted.

    >>> import tenfold
    >>> run = tenfold.load_run("runs/digits")  # as the example of train_model left it
    >>> evaluation = tenfold.evaluate_run(run, "validation", level=0.9)
    >>> print(evaluation)  # doctest: +ELLIPSIS
    accuracy 0... (0... to 0...) on 277 validation images
    >>> evaluation.figures["log_loss"].level
    0.9
    """
    rows = _rows(run, part)
    check_beyond(run, unknown=unknown is not None, pairs=pairs)
    answered = _answer(run, rows)

    def besides() -> dict[str, Measure]:
        found = _besides(run, answered.prepared, answered.predictions, unknown, pairs)
        return found | (_speed(run, answered.prepared.table) if speed else {})

    return evaluate_answers(run, part, answered, options, besides)


def answer_part(run: Run, part: str) -> Answered:
    """Predict one part of the run's table. Raises as `evaluate_run` for a part that is unknown or not there."""
    return _answer(run, _rows(run, part))


def evaluate_answers(
    run: Run,
    part: str,
    answered: Answered,
    options: dict[str, Any],
    measured: Callable[[], dict[str, Measure]] = dict,
) -> Evaluation:
    """What the answers to a part are worth, stored in the run as `evaluate_run` says, which makes use of this.

    `measured` is called for what is measured besides the task's figures, when its options have proved possible.
    """
    predictions, prepared = answered.predictions, answered.prepared
    options = {name: run.calibration[name] for name in run.task.settled if name in run.calibration} | options
    first = run.task.findings(predictions, prepared.table, options)
    besides, level = measured(), options.get("level", 0.95)
    besides |= _settled("no_boxes", answered.no_boxes) if answered.no_boxes is not None else {}
    first = findings = _with_details(first, besides, level, looks=1)
    written = _part_rows(part, predictions, prepared.table, answered.rows)
    _stored(run)  # a damaged file is refused before it costs a look
    shown = _fingerprints(written, first)
    noted = record_look(ledger_path(run.path), run.path, image_hashes(prepared.table), *shown, part=part)
    look = noted if part == "test" else 0  # who chooses by the validation part knows that it is not the last word
    if look > 1:
        findings = run.task.findings(predictions, prepared.table, options, looks=look)
        findings = _with_details(findings, besides, level, looks=look)
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
    _store(run, written, evaluation)
    return evaluation


def _rows(run: Run, part: str) -> NDArray[np.int64]:
    """Places of a part's images in the run's table, at least one."""
    if part not in PARTS:
        raise none_of("part", part, PARTS)
    rows = np.flatnonzero(run.table.samples["part"] == part)
    if not len(rows):
        raise UsageError(f"{run.path} has no {part} part; split the data with a {part} share above 0.")
    return rows


def _answer(run: Run, rows: NDArray[np.int64]) -> Answered:
    truncated = run.recipe.data.allow_truncated
    prepared = prepare_table(run.table.take(rows), run.preprocessing, allow_truncated=truncated)
    given = run.proposals.of_table(prepared.table) if run.proposals else None
    predictions = _predict(run, prepared, given)
    return Answered(predictions, prepared, rows[prepared.rows], given.left_out if given else None)


def _besides(
    run: Run, prepared: PreparedTable, predictions: pd.DataFrame, unknown: Table | None, pairs: bool
) -> dict[str, Measure]:
    """What is measured besides the task's figures, and is made anew for each number of looks: by name."""
    found: dict[str, Measure] = {}
    if unknown is not None:
        found["open_set"] = _open_set(run, prepared, predictions, unknown)
    if pairs:
        found["pairs"] = partial(pair_details, compare_part(run, prepared))
    return found


def _open_set(run: Run, prepared: PreparedTable, predictions: pd.DataFrame, unknown: Table) -> Measure:
    """What becomes of images of other classes and of the part's, as `tenfold predict --false-accept` would answer."""
    strangers = find_strangers(run, unknown)
    others = prepare_table(strangers.table, run.preprocessing, allow_truncated=run.recipe.data.allow_truncated)
    known = prepared.table.labels()[predictions["sample"].to_numpy()] >= 0
    told, answers = _told(run, prepared.table, predictions), _predict(run, others)
    own = class_answers(predictions[known], told[known], prepared.table, run.classes)
    theirs = class_answers(answers, _told(run, others.table, answers), others.table, run.classes)
    lost = {"left_out": [*strangers.left_out], "unreadable": [*strangers.unreadable, *others.unreadable.values()]}
    measure = partial(open_set_details, own, theirs, run.teller.unknown)
    return lambda level, exact: measure(level, exact) | lost


def _told(run: Run, table: Table, answers: pd.DataFrame) -> pd.DataFrame:
    """What the network that tells makes of images that the run gave these answers to, a row each; they must be there
    still, as it may look at them otherwise.
    """
    teller = run.teller
    if teller is run:
        return answers
    prepared = prepare_table(table, teller.preprocessing, allow_truncated=teller.recipe.data.allow_truncated)
    for reason in prepared.unreadable.values():
        raise DataError(reason)
    return _predict(teller, prepared)


def _settled(name: str, detail: Any) -> dict[str, Measure]:
    """A detail that is the same whatever the level of the intervals."""
    return {name: lambda level, exact: detail}


def _speed(run: Run, table: Table) -> dict[str, Measure]:
    """How long a prediction takes, or why that is not known: images that moved away may lie in the cache still."""
    try:
        return _settled("speed", measure_speed(run, table))
    except DataError as error:
        return _settled("no_speed", str(error))


def _with_details(findings: Findings, besides: dict[str, Measure], level: float, looks: int) -> Findings:
    each = level_of_each(level, looks)
    own = {name: measure(each, looks > 1) for name, measure in besides.items()}
    return replace(findings, details=findings.details | own)


def _predict(run: Run, prepared: PreparedTable, given: Given | None = None) -> pd.DataFrame:
    """A row a sample (its place in the prepared table) and instance, with what the task tabulates."""
    import pandas as pd

    images = (prepared.canvases.image(row) for row in range(len(prepared.table)))
    rows = []
    cut = run.task.cut if run.preprocessing.fit == "pad" else None  # else the network saw nothing but the image
    for sample, found in enumerate(run.predict_canvases(images, given.boxes if given else None)):
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


def _stored(run: Run) -> tuple[pd.DataFrame | None, dict[str, Any]]:
    """The predictions and evaluations that the run holds."""
    path = run.path / "predictions.parquet"
    return read_frame(path, "part") if path.exists() else None, run.evaluations


def _store(run: Run, answered: pd.DataFrame, evaluation: Evaluation) -> None:
    """Write the predictions and figures of one part into the run, beside those of the other."""
    import pandas as pd

    with locked(run.path / "evaluation.lock"):  # another process may be writing what it found on the other part
        stored, evaluations = _stored(run)
        part, frames = evaluation.part, [answered]
        if stored is not None:
            frames = [stored[stored["part"] != part], answered]
            before = stored[stored["part"] == part].reset_index(drop=True).reindex(columns=answered.columns)
            if part in evaluations and _telling(before) == _telling(answered):
                evaluation = _with_earlier(evaluation, evaluations[part])
        frame = pd.concat(frames, ignore_index=True)
        write_file(run.path / "predictions.parquet", lambda aside: frame.to_parquet(aside, index=False))
        write_json(run.path / "evaluation.json", evaluations | {part: evaluation.to_json()})


def _with_earlier(evaluation: Evaluation, earlier: dict[str, Any]) -> Evaluation:
    """With what was asked for earlier alone, of the same answers; its intervals allow for the looks since."""
    details = from_json(earlier["details"])
    own = {name: details[name] for name in _ASKED_FOR if name in details}
    return replace(evaluation, details=_widened(own, max(earlier["look"], 1), evaluation.look) | evaluation.details)


def _widened(value: Any, before: int, looks: int) -> Any:
    """Nested dicts and lists, each Estimate in them as `for_looks` has it."""
    if isinstance(value, dict):
        return {name: _widened(item, before, looks) for name, item in value.items()}
    if isinstance(value, list):
        return [_widened(item, before, looks) for item in value]
    return for_looks(value, before, looks) if isinstance(value, Estimate) else value


def _telling(answered: pd.DataFrame) -> str:
    """The answer to each image and what would have been right, wherever the images lie, as JSON."""
    telling = answered.drop(columns=["part", "sample", "source", "row"])
    ordered = telling.sort_values([name for name in ("hash", "instance", "label") if name in telling])
    return str(ordered.to_json(orient="split", double_precision=15))


def _fingerprints(answered: pd.DataFrame, shown: Findings) -> list[str]:
    """A hash of what a look shows: the answer to each image and what would have been right, the figures, the confusion;
    and one of each detail that was asked for besides.

    Neither where the images lie is in them, nor the level of the intervals, nor whether an option was left out or given
    as it is anyway.
    """
    said: dict[str, Any] = {name: round(figure.value, _SAME) for name, figure in shown.figures.items()}
    told, parts = _telling(answered), [[said, shown.details.get("confusion")]]
    for name in ("open_set", "pairs"):
        if found := shown.details.get(name):
            rows = [[round(row[kind].value, _SAME) for kind in _SHOWN if kind in row] for row in found["rows"]]
            parts.append([name, rows])
    contents = [(json.dumps(part) + told).encode("utf-8", "surrogatepass") for part in parts]
    return [hashlib.sha256(content).hexdigest()[:DIGITS] for content in contents]


def _width(findings: Findings) -> float:
    """How wide the headline's interval is."""
    headline = next(iter(findings.figures.values()))
    return headline.high - headline.low
