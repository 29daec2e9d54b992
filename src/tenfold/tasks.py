"""Tasks: all that differs between classification and anything else, one literal a task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tenfold.boxes import CORNERS, THIN, box_areas, clip_boxes, large_enough, sound_boxes
from tenfold.errors import UsageError, unknown

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tenfold.estimate import Estimate, Units
    from tenfold.images.table import Table
    from tenfold.metrics.detection import Part
    from tenfold.metrics.detection_matching import Detections, Objects


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
    """How each of N images came out; where they have boxes, each of N pairs of an image and a class that is in it."""

    loss: NDArray[np.float64]
    """[N], without label smoothing or class weights; of a pair the share of the objects that was missed."""
    truth: NDArray[np.int64]
    """[N], places in the classes."""
    predicted: NDArray[np.int64]
    """[N], places in the classes; of a pair its own, or -1 where none of its objects was found."""
    image: NDArray[np.int64]
    """[N], places among the images."""
    part: Part | None = None
    """Which detection found which object, where they have boxes."""


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

    With `looks=k` the intervals are such that those of k models looked at on these images hold together; with
    `overlap=c` every variance is c times as large, as the models of a cross-validation answered (tenfold.estimate).

    Raises UsageError for an option that the task does not have, an impossible value of one, or a part without labels.
    """
    boxes: tuple[str, ...] = ()
    """Names of targets that are boxes: float32 [N, M, 4], xyxy in pixels of the original upright image, rows of NaN
    where a sample has fewer than M. What makes batches moves them with the image, so that a model's `losses` finds them
    in pixels of its input, cut to it, with a row of NaN for one of which a policy has left too little. Boxes that are
    not named here reach a model as they are, which then moves them by Batch.affine itself."""
    mixes: tuple[str, ...] = ()
    """Names of soft targets, which mixup and CutMix may mix; with none, images are not mixed."""
    blocks: tuple[str, ...] = ()
    """The task's blocks of the report, names in tenfold.report.BLOCKS, in order."""
    calibrate: Callable[..., dict[str, Any]] | None = None
    """The finished model's predictions for the images of the validation part and their Table -> what `Run.calibration`
    holds of it, JSON values; None: nothing is fitted. A third argument, predictions and Table of the other folds of a
    cross-validation, is what is chosen on instead; what this very model is worth is still measured on the first two."""
    settled: tuple[str, ...] = ()
    """Which of these values `findings` takes as options, on every part, unless they are given."""
    cut: Callable[[dict[str, NDArray[np.generic]], tuple[int, int]], dict[str, NDArray[np.generic]]] | None = None
    """One image's prediction and its height and width -> the prediction without what lies outside; None: nothing does.
    """
    scores: Callable[[list[dict[str, NDArray[np.generic]]], Table], Scores] | None = None
    """Predictions of images and their Table -> how each came out, by which training is diagnosed; None: it is not."""


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
        raise UsageError(f"Every image needs a label to learn from, and {which} has none; label it, or leave it out.")
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


def class_scores(predictions: list[dict[str, NDArray[np.generic]]], table: Table) -> Scores:
    """The logarithm of the probability that the right class was given, its sign turned, and both classes."""
    probability = np.stack([prediction["probability"] for prediction in predictions]).astype(np.float64)
    truth, images = table.labels(), np.arange(len(table))
    chosen = probability[images, truth]
    return Scores(-np.log(np.maximum(chosen, np.finfo(np.float64).tiny)), truth, probability.argmax(1), images)


def class_calibration(
    predictions: list[dict[str, NDArray[np.generic]]],
    table: Table,
    others: tuple[list[dict[str, NDArray[np.generic]]], Table] | None = None,
) -> dict[str, Any]:
    """{"temperature", "steps"}: what makes probabilities right, and what answering only from a confidence on gives.

    The temperature is fitted on the logits for `others` where they are given, the steps are those of `table`.
    """
    from tenfold.metrics.abstention import answer_steps
    from tenfold.metrics.calibration import fit_temperature, probabilities

    def logits(answered: list[dict[str, NDArray[np.generic]]]) -> NDArray[np.float64]:
        return np.stack([prediction["logits"] for prediction in answered]).astype(np.float64)

    truth, groups = table.labels(), table.samples["group"].to_numpy(object)
    fitted, seen = others or (predictions, table)
    temperature = fit_temperature(logits(fitted), seen.labels(), seen.samples["group"].to_numpy(object))
    probability = probabilities(logits(predictions), temperature)
    steps = answer_steps(probability.max(1), probability.argmax(1) == truth, groups)
    return {"temperature": temperature, "steps": [list(step) for step in steps]}


CLASS_OPTIONS = ("level", "positive", "threshold", "top_k")
"""What `class_findings` takes as options: see tenfold.metrics.classification."""


def class_findings(
    predictions: pd.DataFrame, table: Table, options: dict[str, Any], looks: int = 1, overlap: float = 1.0
) -> Findings:
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
        labels[known], probability, table.classes, groups, looks=looks, overlap=overlap, **options
    )
    return Findings(figures, details, int((~known).sum()))


def box_targets(table: Table) -> dict[str, NDArray[np.generic]]:
    """What is in N images of at most M boxes, M at least 1.

    "boxes" float32 [N, M, 4], xyxy pixels of the original image, NaN for padding; "label" int64 [N, M], places in the
    classes, -1 for padding; "ignore" bool [N, M]. Boxes of no area and clicks, at most tenfold.boxes.THIN pixels wide
    or high, are left out: nothing can be learnt from them, however wide the hull of a turned one would be.

    Raises UsageError where the images are not annotated, there is no class, or a box has no label.
    """
    found, _ = table_objects(table)
    if not table.classes:
        raise UsageError("A detector needs at least one box to learn from, and here is none.")
    from tenfold.metrics.detection_matching import ranks

    kept = large_enough(found.box)
    image = found.image[kept]
    place = ranks(image)
    shape = len(table), int(place.max(initial=0)) + 1
    boxes, label = np.full((*shape, 4), np.nan, np.float32), np.full(shape, -1, np.int64)
    ignore = np.zeros(shape, np.bool_)
    for target, values in ((boxes, found.box), (label, found.label), (ignore, found.ignore)):
        target[image, place] = values[kept]
    return {"boxes": boxes, "label": label, "ignore": ignore}


def teaching_boxes(boxes: pd.DataFrame) -> NDArray[np.bool_]:
    """Which boxes of a Table a detector can learn from, large enough and not to be ignored: bool [B]."""
    return ~boxes["ignore"].to_numpy(np.bool_) & large_enough(boxes[[*CORNERS]].to_numpy(np.float64))


def refuse_untaught(training: Table) -> None:
    """Raise UsageError where a training part has no box that a detector could learn from: see `box_targets`."""
    if training.boxes is not None and not teaching_boxes(training.boxes).any():
        raise UsageError(
            f"table must have a box to learn from in its training part, over {THIN:g} px wide and high and not to be "
            f"ignored, and none of the {len(training.boxes):,} there is one; annotate objects there, or move images "
            "that have some into it."
        )


def box_rows(prediction: dict[str, NDArray[np.generic]], classes: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row a detection: its corners in pixels of the original image, its class and its score."""
    return [
        {"x1": x1, "y1": y1, "x2": x2, "y2": y2, "predicted": classes[label], "score": score}
        for (x1, y1, x2, y2), label, score in zip(
            prediction["boxes"].tolist(), prediction["label"].tolist(), prediction["score"].tolist(), strict=True
        )
    ]


def cut_boxes(prediction: dict[str, NDArray[np.generic]], size: tuple[int, int]) -> dict[str, NDArray[np.generic]]:
    """A prediction cut to an image of this height and width; a detection that lies outside is left out."""
    boxes = clip_boxes(prediction["boxes"].astype(np.float32, copy=False), *size)
    kept = sound_boxes(boxes)
    return {name: values[kept] for name, values in (prediction | {"boxes": boxes}).items()}


def box_calibration(
    predictions: list[dict[str, NDArray[np.generic]]],
    table: Table,
    others: tuple[list[dict[str, NDArray[np.generic]]], Table] | None = None,
) -> dict[str, Any]:
    """{"temperature", "score_steps", "score"}; empty where nothing was detected, no "score" where no object was found.

    The temperature divides the log odds of scores, so that they are how often a detection is right. Of scores as they
    then are: the one from which on F1 is highest, and steps for `tenfold.metrics.detection_scores.choose_score`. Both
    the temperature and that score are chosen on `others` where they are given, the steps are those of `table`.
    """
    from tenfold.metrics.detection_scores import best_f1, fit_score_temperature, score_steps, tempered

    own = _judged(predictions, table)
    seen = own if others is None else _judged(*others)
    if seen is None:
        return {}
    temperature = fit_score_temperature(seen.score, seen.right, seen.units)
    best = best_f1(tempered(seen.score, temperature), seen.right, seen.wanted)
    steps = score_steps(tempered(own.score, temperature), own.right, own.units) if own else []
    fitted = {"temperature": temperature, "score_steps": [list(step) for step in steps]}
    return fitted | ({"score": best.score} if best else {})


class _JudgedScores(NamedTuple):
    """The D detections in some images that are right or false."""

    score: NDArray[np.float64]
    right: NDArray[np.bool_]
    units: Units
    """Of the detections."""
    wanted: int
    """How many objects there are."""


def _judged(predictions: list[dict[str, NDArray[np.generic]]], table: Table) -> _JudgedScores | None:
    """Of a model's predictions of all images of a table; None where nothing was detected."""
    from tenfold.estimate import units_of
    from tenfold.metrics.detection_scores import detection_units

    part = _matched(predictions, table)
    rows, right = part.judged()
    if not len(rows):
        return None
    images = units_of(table.samples["group"].to_numpy(object), len(table))
    units = detection_units(part.detections.image[rows], images)
    return _JudgedScores(part.detections.score[rows], right, units, int((~part.objects.ignore).sum()))


def box_scores(predictions: list[dict[str, NDArray[np.generic]]], table: Table) -> Scores:
    """Pairs of an image and a class of which it holds an object that counts, found by detections of any score."""
    from tenfold.metrics.detection import missed_boxes

    part = _matched(predictions, table)
    wanted, missed = ~part.objects.ignore, missed_boxes(part, 0.0)
    pairs = part.objects.image * len(part.classes) + part.objects.label
    pairs, own = np.unique(pairs[wanted], return_inverse=True)
    loss = np.bincount(own, missed[wanted]) / np.bincount(own)
    image, truth = np.divmod(pairs, len(part.classes))
    return Scores(loss, truth, np.where(loss < 1, truth, -1), image, part)


def _matched(predictions: list[dict[str, NDArray[np.generic]]], table: Table) -> Part:
    """What a model's predictions of all images of a table found in them."""
    from tenfold.metrics.detection import match_part
    from tenfold.metrics.detection_matching import Detections

    counts = [len(prediction["score"]) for prediction in predictions]
    parts = ([prediction[name] for prediction in predictions] for name in ("boxes", "label", "score"))
    box, label, score = (np.concatenate(part) for part in parts)
    image = np.repeat(np.arange(len(counts)), counts)
    found = Detections(image, box.astype(np.float64), label.astype(np.int64), score.astype(np.float64))
    return match_part(table_objects(table)[0], found, table.classes, len(table))


BOX_OPTIONS = ("level", "score")
"""What `box_findings` takes as options: see tenfold.metrics.detection."""


def box_findings(
    predictions: pd.DataFrame, table: Table, options: dict[str, Any], looks: int = 1, overlap: float = 1.0
) -> Findings:
    """The figures of tenfold.metrics.detection, over all images of the part, those with nothing in them too."""
    from tenfold.metrics.detection import detection_findings

    for name in options:
        if name not in BOX_OPTIONS:
            raise unknown("An option of a detection's figures", name, BOX_OPTIONS)
    objects, flat = table_objects(table)
    if objects.ignore.all():
        part = table.samples["part"].iat[0]
        raise UsageError(f"The {part} part has no object that could be found; use tenfold predict.")
    found = box_detections(predictions, table.classes)
    groups = table.samples["group"].to_numpy(object)
    figures, details = detection_findings(
        objects, found, table.classes, len(table), groups, looks=looks, overlap=overlap, **options
    )
    return Findings(figures, details | {"no_area": flat})


def table_objects(table: Table) -> tuple[Objects, int]:
    """The boxes of a Table that have an area, and how many have none.

    Raises UsageError where the images are not annotated or a box has no label.
    """
    from tenfold.images.table import given_areas
    from tenfold.metrics.detection_matching import Objects

    if table.boxes is None:
        raise UsageError("A detector needs images with boxes, and these are not annotated with any.")
    place = {name: index for index, name in enumerate(table.classes)}
    label = np.array([place.get(name, -1) for name in table.boxes["label"]], np.int64)
    image = table.boxes["sample"].to_numpy(np.int64)
    if (label < 0).any():
        which = table.samples["source"].iloc[image[int(np.argmax(label < 0))]]
        raise UsageError(f"Every box needs a label that is one of the classes; one of {which} has none.")
    box = table.boxes[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    kept = sound_boxes(box)
    ignore, given = table.boxes["ignore"].to_numpy(np.bool_), given_areas(table)
    area = None if np.isnan(given).all() else np.where(np.isnan(given), box_areas(box), given)
    return Objects(image, box, label, ignore, area).take(kept), int((~kept).sum())


def box_detections(predictions: pd.DataFrame, classes: tuple[str, ...]) -> Detections:
    """The rows of `box_rows`, with the sample that each is of, as arrays; there may be none."""
    from tenfold.metrics.detection_matching import Detections

    if not len(predictions):  # then there are no columns
        return Detections(np.empty(0, np.int64), np.empty((0, 4)), np.empty(0, np.int64), np.empty(0))
    place = {name: index for index, name in enumerate(classes)}
    return Detections(
        predictions["sample"].to_numpy(np.int64),
        predictions[["x1", "y1", "x2", "y2"]].to_numpy(np.float64),
        np.array([place[name] for name in predictions["predicted"]], np.int64),
        predictions["score"].to_numpy(np.float64),
    )


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
    "detection": Task(
        name="detection",
        targets=box_targets,
        tabulate=box_rows,
        findings=box_findings,
        boxes=("boxes",),
        calibrate=box_calibration,
        settled=("score",),
        cut=cut_boxes,
        scores=box_scores,
        blocks=("detection_classes", "detection_curves", "detection_errors", "detection_images"),
    ),
}
