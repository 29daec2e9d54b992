"""What is fitted to the finished model on images that it was not trained on; the test part never comes here.

A single run has one part for that, its validation part, and figures of calibration on that part are of the images that
the temperature was fitted on. With folds there are others: each run's temperature is fitted on what the other runs of
its repeat answered to their own folds, so that no image has a say in its own probabilities and the figures of the
folds are honest. The models differ, but they are of one procedure and of nearly as many images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tenfold.environment import choose_device, exact_on
from tenfold.images.prepared import PreparedTable, sample_size
from tenfold.images.table import Table, stack_tables
from tenfold.models.contract import Model, Prediction
from tenfold.recipe import Recipe
from tenfold.run import Run, read_card, write_json
from tenfold.tasks import Task
from tenfold.train.data import prepare_images, rows_loader
from tenfold.train.progress import no_report

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Outputs = dict[str, NDArray[np.generic]]

_PART = "validation"


def calibrate(
    model: Model, recipe: Recipe, prepared: PreparedTable, task: Task, device: torch.device
) -> dict[str, Any]:
    """What `Run.calibration` holds; empty without a validation part, or for a task in which nothing is fitted."""
    rows = np.flatnonzero(prepared.table.samples["part"] == _PART)
    if not len(rows) or (task.calibrate is None and task.settle is None):
        return {}
    table = prepared.table.take(rows)
    if task.settle is not None:
        fitted = task.settle(_predictions(model, recipe, prepared, task, device), table)
    else:
        assert task.calibrate is not None
        fitted = task.calibrate(_outputs(model, recipe, prepared, task, device), table)
    return {"part": _PART, "n": len(rows), **fitted}


def calibrate_folds(runs: Sequence[Run]) -> list[Run]:
    """Calibrate each run of one repeat of a cross-validation, at least two, on the folds of the others.

    Gives the runs as they then are; those that have been through this already are left as they are. A kill in between
    costs nothing: the outputs are not calibrated, and the same call fits them all again.
    """
    task = runs[0].task
    if task.calibrate is None or all("others" in run.calibration for run in runs):
        return list(runs)
    seen = [_fold(run) for run in runs]
    for place, run in enumerate(runs):
        outputs, table = seen[place]
        rest, others = _joined(seen[:place] + seen[place + 1 :])
        fitted = task.calibrate(outputs, table, (rest, others))
        content = {"part": _PART, "n": len(table), "others": len(others), **fitted}
        write_json(run.path / "model.json", read_card(run.path) | {"calibration": content})
    return [Run(run.path, run.table) for run in runs]


def _fold(run: Run) -> tuple[Outputs, Table]:
    """What a run's model gives for its validation part, and that part."""
    prepared = prepare_images(run.table.part(_PART), run.recipe, no_report)
    device = choose_device(run.recipe.train.device)
    model = Run(run.path).model.to(device)  # of its own, so that the run keeps none in memory
    return _outputs(model, run.recipe, prepared, run.task, device), prepared.table


def _joined(folds: list[tuple[Outputs, Table]]) -> tuple[Outputs, Table]:
    outputs = {name: np.concatenate([part[name] for part, _ in folds]) for name in folds[0][0]}
    return outputs, stack_tables([table for _, table in folds])


def _outputs(model: Model, recipe: Recipe, prepared: PreparedTable, task: Task, device: torch.device) -> Outputs:
    """The model's outputs for the validation part, not calibrated.

    The images go through the network as those of a prediction will: in float32, whatever training used.
    """
    rows = np.flatnonzero(prepared.table.samples["part"] == _PART)
    found: dict[str, list[torch.Tensor]] = {}
    model.eval()
    with torch.no_grad(), exact_on(device):
        for batch in rows_loader(recipe, prepared, task, rows).batches():
            for name, value in model.batch_outputs(batch.to(device)).items():
                found.setdefault(name, []).append(value.float().cpu())
    return {name: torch.cat(values).numpy() for name, values in found.items()}


def _predictions(
    model: Model, recipe: Recipe, prepared: PreparedTable, task: Task, device: torch.device
) -> list[Prediction]:
    """The model's predictions for the validation part, not calibrated, in float32 as well."""
    rows = np.flatnonzero(prepared.table.samples["part"] == _PART)
    found: list[Prediction] = []
    model.eval()
    with torch.no_grad(), exact_on(device):
        for batch in rows_loader(recipe, prepared, task, rows).batches():
            moved = batch.to(device)
            outputs = {name: value.cpu() for name, value in model.batch_outputs(moved).items()}
            found += model.decode(outputs, batch.affine.cpu())
    if task.cut is None or recipe.image.fit != "pad":  # else the network saw nothing but the image
        return found
    table = prepared.table.take(rows)
    return [task.cut(prediction, sample_size(table, row)) for row, prediction in enumerate(found)]
