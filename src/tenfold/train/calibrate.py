"""What is fitted to the finished model on images that it was not trained on; the test part never comes here.

A single run has one part for that, its validation part, and figures of calibration on that part are of the images that
it was fitted to. In a cross-validation there are others: what is chosen for each run, its temperature and the score
from which on its detections are shown, is chosen on what the other runs of its repeat answered to their own folds, so
that no image has a say in its own probabilities and the figures of the folds are honest. The models differ, but they
are of one procedure and of nearly as many images.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch

from tenfold.environment import choose_device, exact_on
from tenfold.images.prepared import PreparedTable, sample_size
from tenfold.images.table import Table, stack_tables
from tenfold.models.contract import Model, Prediction
from tenfold.models.detection.watched import looking
from tenfold.recipe import Recipe
from tenfold.run import Run, read_card, write_json
from tenfold.tasks import Task
from tenfold.train.data import prepare_images, rows_loader, with_foreknown
from tenfold.train.progress import no_report

_PART = "validation"

Answered = tuple[list[Prediction], Table]
"""A model's predictions, not calibrated, for all images of a table, and these images."""


def calibrate(
    model: Model, recipe: Recipe, prepared: PreparedTable, task: Task, device: torch.device
) -> dict[str, Any]:
    """What `Run.calibration` holds; empty without a validation part, or for a task in which nothing is fitted."""
    if task.calibrate is None or not (prepared.table.samples["part"] == _PART).any():
        return {}
    predictions, table = _answered(model, recipe, prepared, task, device)
    return {"part": _PART, "n": len(table), **task.calibrate(predictions, table)}


def calibrate_folds(runs: Sequence[Run]) -> list[Run]:
    """Calibrate each run of one repeat of a cross-validation, at least two, on the folds of the others.

    Gives the runs as they then are; those that have been through this already are left as they are. A kill in between
    costs nothing: the predictions are not calibrated, and the same call fits them all again.
    """
    task = runs[0].task
    if task.calibrate is None or all("others" in run.calibration for run in runs):
        return list(runs)
    seen = [_fold(run) for run in runs]
    for place, run in enumerate(runs):
        predictions, table = seen[place]
        rest, others = _joined(seen[:place] + seen[place + 1 :])
        fitted = task.calibrate(predictions, table, (rest, others))
        content = {"part": _PART, "n": len(table), "others": len(others), **fitted}
        write_json(run.path / "model.json", read_card(run.path) | {"calibration": content})
    return [Run(run.path, run.table) for run in runs]


def _fold(run: Run) -> Answered:
    """What a run's model predicts for its validation part, not calibrated, and that part."""
    device = choose_device(run.recipe.train.device)
    model = Run(run.path).model.to(device)  # of its own, so that the run keeps none in memory
    model.temperature = 1.0
    prepared = prepare_images(run.table.part(_PART), run.recipe, no_report)
    return _answered(model, run.recipe, with_foreknown(prepared, model, run.recipe, no_report), run.task, device)


def _joined(folds: list[Answered]) -> Answered:
    return list(chain.from_iterable(predictions for predictions, _ in folds)), stack_tables([own for _, own in folds])


def _answered(model: Model, recipe: Recipe, prepared: PreparedTable, task: Task, device: torch.device) -> Answered:
    """The model's predictions for the validation part, and that part.

    The images go through the network as those of a prediction will: in float32, whatever training used.
    """
    rows = np.flatnonzero(prepared.table.samples["part"] == _PART)
    table = prepared.table.take(rows)
    found: list[Prediction] = []
    model.eval()
    with torch.no_grad(), exact_on(device), looking(model, "validation images", len(rows)):
        for batch in rows_loader(recipe, prepared, task, rows).batches():
            moved = batch.to(device)
            outputs = {name: value.cpu() for name, value in model.batch_outputs(moved).items()}
            found += model.decode(outputs, batch.affine.cpu())
    if task.cut is None or recipe.image.fit != "pad":  # else the network saw nothing but the image
        return found, table
    return [task.cut(prediction, sample_size(table, row)) for row, prediction in enumerate(found)], table
