"""What is left of the minutes that a user gave, when a training begins that counts its own time from there."""

from __future__ import annotations

import math
import time

from tenfold.environment import is_shared
from tenfold.errors import UsageError
from tenfold.images.table import Table
from tenfold.recipe import Recipe
from tenfold.train import Report, compile_kernel, name_model, no_report


def in_time_left(table: Table, recipe: Recipe, started: float, progress: Report = no_report) -> Recipe:
    """The recipe for `train_model`, with what is left of its minutes since the moment `started`, by time.monotonic.

    The kernel of augmentation is compiled within that time, where it must be. A recipe without a limit stays as it is;
    so does that of a frozen network, of which the ladder alone takes long, and has a clock of its own; and so do those
    of several processes that train together, which would stop at different steps. Raises UsageError where nothing is
    left.
    """
    name, minutes = name_model(recipe, table).model.name, recipe.train.minutes
    if not minutes or name == "frozen" or is_shared():
        return recipe
    compile_kernel(recipe.change(model={"name": name}), progress)
    left = minutes - (time.monotonic() - started) / 60
    if left <= 0:
        raise UsageError(
            f"The time limit of {60 * minutes:g} s was over before the training began; give more (--minutes), or try "
            "again: what was read is cached."
        )
    return recipe.change(train={"minutes": math.floor(100 * left) / 100 or left})  # as people read them; 0: no limit
