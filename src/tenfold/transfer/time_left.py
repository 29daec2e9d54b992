"""What is left of the minutes that a user gave, when a training begins that counts its own time from there.

A training stops its steps when its time is over, and then looks at images: to diagnose itself, to calibrate, and to be
evaluated. So what that takes is kept back.
"""

from __future__ import annotations

import math
import os
import time

from tenfold.errors import UsageError
from tenfold.images.table import Table
from tenfold.recipe import Recipe
from tenfold.train import Report, compile_kernel, measure_epoch, name_model, no_report

_LOOK = 1 / 3
"""What it takes to look at an image, as a share of what learning from it does; tenfold.train.loop goes by it too."""
_LOOKS, _EVALUATION = 5, 1
"""Looks at the validation part after the last step: for the last row of the history, at three epochs' weights for the
diagnosis (tenfold.train.evidence), and to calibrate; and one more to evaluate the run."""
_SAMPLED, _SAMPLED_WITH_BOXES = (200, 1000), (20, 100)
"""Training images that the diagnosis looks at, twice: as many as there are validation images, within these bounds."""
_OF_EACH = 5  # training images of each class, at which it looks once


def in_time_left(table: Table, recipe: Recipe, started: float, progress: Report = no_report) -> Recipe:
    """The recipe for `train_model`, with what is left of its minutes since the moment `started`, by time.monotonic.

    The kernel of augmentation is compiled within that time, where it must be, the pace is measured, and what comes
    after the training is kept back by it. A recipe without a limit stays as it is; so does that of a frozen network, of
    which the ladder alone takes long, and has a clock of its own; and so do those of several processes that train
    together, which would stop at different steps. Raises UsageError where nothing is left, and what `measure_epoch`
    raises.
    """
    name, minutes = name_model(recipe, table).model.name, recipe.train.minutes
    if not minutes or name == "frozen" or is_shared():
        return recipe
    named = recipe.change(model={"name": name})
    compile_kernel(named, progress)
    if minutes - (time.monotonic() - started) / 60 <= 0:
        raise UsageError(
            f"The time limit of {60 * minutes:g} s was over before the training began; give more (--minutes), or try "
            "again: what was read is cached."
        )
    measured, epoch = measure_epoch(table, named)
    after = closing_seconds(table, epoch, looks=_LOOKS + _EVALUATION)
    left = minutes - (time.monotonic() - started + after) / 60
    if left <= 0:
        raise UsageError(
            f"The time limit of {60 * minutes:g} s leaves none to train in, as to see what came out would take about "
            f"{after:.0f} s of it; give more (--minutes)."
        )
    settled = {"precision": measured.train.precision} if epoch else {}
    limit = math.floor(100 * left) / 100 or left  # as people read them; 0: no limit
    return recipe.change(train={"minutes": limit} | settled)


def closing_seconds(table: Table, epoch: float, *, looks: int = _LOOKS) -> float:
    """About how long a training looks at images after its last step, where an epoch of it takes so many seconds.

    `looks` are those at the validation part.
    """
    training, classes, has_boxes = len(table.part("train")), len(table.classes), table.boxes is not None
    validation, (fewest, most) = len(table.part("validation")), _SAMPLED_WITH_BOXES if has_boxes else _SAMPLED
    sample = min(training, min(max(validation, fewest), most))
    each = min(training, max(most, classes) if has_boxes else _OF_EACH * classes)
    return (looks * validation + 2 * sample + each) * _LOOK * epoch / max(training, 1)


def is_shared() -> bool:
    """Whether several processes train together, as under torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1
