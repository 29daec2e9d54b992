"""Tasks: all that differs between classification and anything else, one literal a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tenfold.errors import UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tenfold.estimate import Estimate
    from tenfold.images.table import Table


@dataclass(frozen=True)
class Findings:
    """What a part of the data says about a model."""

    figures: dict[str, Estimate]
    """The headline first."""
    details: dict[str, Any] = field(default_factory=dict)
    """JSON values that the report's blocks read; an Estimate may stand anywhere in them."""
    unlabeled: int = 0
    """Images of the part that are in no figure, as it is not known what is right for them."""


class Scores(NamedTuple):
    """How each of N images came out."""

    loss: NDArray[np.float64]
    """[N], without label smoothing or class weights."""
    truth: NDArray[np.int64]
    """[N], places in the classes."""
    predicted: NDArray[np.int64]
    """[N], places in the classes."""


@dataclass(frozen=True)
class Task:
    """The few functions by which one task differs from another."""

    name: str
    targets: Callable[[Table], dict[str, NDArray[np.generic]]]
    """Table -> named arrays, first dimension the samples; the loader takes a batch's rows of each and makes tensors."""
    tabulate: Callable[[dict[str, NDArray[np.generic]], tuple[str, ...]], list[dict[str, Any]]]
    """One image's prediction and the classes -> rows of predictions.parquet, one an instance."""
    findings: Callable[..., Findings]
    """Predictions (columns `sample`, `instance` and what `tabulate` gives), the part's Table, options -> figures.

    With `looks=k` the intervals are such that those of k models looked at on these images hold together.

    Raises UsageError for an option that the task does not have, an impossible value of one, or a part without labels.
    """
    mixes: tuple[str, ...] = ()
    """Names of soft targets, which mixup and CutMix may mix; with none, images are not mixed."""
    blocks: tuple[str, ...] = ()
    """The task's blocks of the report, names in tenfold.report.BLOCKS, in order."""
    calibrate: Callable[..., dict[str, Any]] | None = None
    """The finished model's outputs on the validation part and that part's Table -> what `Run.calibration` holds of it,
    JSON values; None: nothing is fitted. A third argument, outputs and Table of the other folds of a cross-validation,
    is what probabilities are fitted on instead."""
    scores: Callable[[list[dict[str, NDArray[np.generic]]], dict[str, NDArray[np.generic]]], Scores] | None = None
    """Predictions of N images and their targets -> how each came out, by which training is diagnosed; None: it is not.
    """


def class_targets(table: Table) -> dict[str, NDArray[np.generic]]:
    """{"label": float32 [N, K]}, one row a sample with a 1 at its class.

    Raises UsageError where a label is missing or there are fewer than two classes.
    """
    if len(table.classes) < 2:
        found = f"only {table.classes[0]!r}" if table.classes else "none"
        raise UsageError(f"A classifier needs images of at least two classes, and here is {found}.")
    labels = table.labels()
    if (labels < 0).any():
        which = table.samples["source"].iloc[int(np.argmax(labels < 0))]
        raise UsageError(f"Every image needs a label to learn from; {which} has none.")
    return {"label": np.eye(len(table.classes), dtype=np.float32)[labels]}


def class_rows(prediction: dict[str, NDArray[np.generic]], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row: the class with the highest probability, all probabilities and logits in the order of `classes`."""
    probability = prediction["probability"]
    return [
        {
            "predicted": classes[int(np.argmax(probability))],
            "probability": probability.tolist(),
            "logits": prediction["logits"].tolist(),
        }
    ]


def class_scores(predictions: list[dict[str, NDArray[np.generic]]], targets: dict[str, NDArray[np.generic]]) -> Scores:
    """The logarithm of the probability that the right class was given, its sign turned, and both classes."""
    probability = np.stack([prediction["probability"] for prediction in predictions]).astype(np.float64)
    truth = targets["label"].argmax(1)
    chosen = probability[np.arange(len(truth)), truth]
    return Scores(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)), truth, probability.argmax(1))


def class_calibration(
    outputs: dict[str, NDArray[np.generic]],
    table: Table,
    others: tuple[dict[str, NDArray[np.generic]], Table] | None = None,
) -> dict[str, Any]:
    """{"temperature", "steps"}: what makes probabilities right, and what answering only from a confidence on gives.

    The temperature is fitted on the outputs for `others` where they are given, the steps are those of `table`.
    """
    from tenfold.metrics.abstention import answer_steps
    from tenfold.metrics.calibration import fit_temperature, probabilities

    logits, truth = outputs["logits"].astype(np.float64), table.labels()
    groups = table.samples["group"].to_numpy(object)
    fitted, seen = others or (outputs, table)
    kin = seen.samples["group"].to_numpy(object)
    temperature = fit_temperature(fitted["logits"].astype(np.float64), seen.labels(), kin)
    probability = probabilities(logits, temperature)
    steps = answer_steps(probability.max(1), probability.argmax(1) == truth, groups)
    return {"temperature": temperature, "steps": [list(step) for step in steps]}


CLASS_OPTIONS = ("level", "positive", "threshold", "top_k")
"""What `class_findings` takes as options: see tenfold.metrics.classification."""


def class_findings(predictions: pd.DataFrame, table: Table, options: dict[str, Any], looks: int = 1) -> Findings:
    """The figures of tenfold.metrics for one predicted class an image, over the images that have a label."""
    from tenfold.metrics.classification import classification_findings

    for name in options:
        if name not in CLASS_OPTIONS:
            raise unknown("An option of a classification's figures", name, CLASS_OPTIONS)
    labels = table.labels()[predictions["sample"].to_numpy()]
    known = labels >= 0
    if not known.any():
        part = table.samples["part"].iat[0]
        raise UsageError(f"The {part} part has no labelled image; use tenfold predict.")
    probability = np.array(predictions["probability"].tolist(), np.float64).reshape(len(predictions), -1)[known]
    groups = table.samples["group"].to_numpy(object)[predictions["sample"].to_numpy()][known]
    figures, details = classification_findings(
        labels[known], probability, table.classes, groups, looks=looks, **options
    )
    return Findings(figures, details, int((~known).sum()))


TASKS: dict[str, Task] = {
    "classification": Task(
        name="classification",
        targets=class_targets,
        tabulate=class_rows,
        findings=class_findings,
        mixes=("label",),
        calibrate=class_calibration,
        scores=class_scores,
        blocks=("confusion", "per_class", "curves_roc", "calibration", "mistakes"),
    ),
}
