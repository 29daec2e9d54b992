"""What is fitted to the finished model on the validation part; the test part never comes here."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from tenfold.images.prepared import PreparedTable
from tenfold.models.contract import Model
from tenfold.recipe import Recipe
from tenfold.tasks import Task
from tenfold.train.data import rows_loader

_PART = "validation"


def calibrate(
    model: Model, recipe: Recipe, prepared: PreparedTable, task: Task, device: torch.device
) -> dict[str, Any]:
    """What `Run.calibration` holds; empty without a validation part, or for a task in which nothing is fitted.

    The images go through the network as those of a prediction will: in float32, whatever training used.
    """
    rows = np.flatnonzero(prepared.table.samples["part"] == _PART)
    if task.calibrate is None or not len(rows):
        return {}
    found: dict[str, list[torch.Tensor]] = {}
    model.eval()
    with torch.no_grad():
        for batch in rows_loader(recipe, prepared, task, rows).batches():
            for name, value in model.outputs(batch.to(device).images).items():
                found.setdefault(name, []).append(value.float().cpu())
    outputs = {name: torch.cat(values).numpy() for name, values in found.items()}
    return {"part": _PART, "n": len(rows), **task.calibrate(outputs, prepared.table.take(rows))}
