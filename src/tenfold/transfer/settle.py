"""From a table and a recipe with a frozen network to the recipe with its head settled, by the ladder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.images.prepared import PreparedTable
from tenfold.images.table import Table
from tenfold.models.frozen import KNOWN, named_backbone
from tenfold.models.views import find_views
from tenfold.recipe import Recipe
from tenfold.train import Report, choose_device, choose_settings, no_report, start_preprocessing
from tenfold.transfer.features import Extractor, table_features
from tenfold.transfer.ladder import LADDER, Eye, climb_table
from tenfold.transfer.rungs import Ladder

SOURCE = ("backbone", "weights", "init", "views", "crop", "spread")
"""The settings of a recipe's [transfer] that say how a frozen network looks at an image."""


class Settled(NamedTuple):
    """What the ladder has settled."""

    recipe: Recipe
    """With the head that it chose."""
    ladder: Ladder
    known: Callable[[PreparedTable], dict[str, NDArray[np.generic]]]
    """As `train_model` takes it: the features of prepared images, from the cache where they are there."""
    learns: bool
    """Whether the backbone has layers that can be fine-tuned."""


def settle_head(
    table: Table, recipe: Recipe, *, heads: Sequence[str] = LADDER, progress: Report = no_report
) -> Settled:
    """Climb the ladder of these heads on the training part.

    The validation and the test part are left alone. `train.minutes` limits the ladder too. Raises DataError where the
    backbone's weights are not here, and what `climb_table` raises.
    """
    wanted = recipe.transfer
    backbone, origin = named_backbone(asdict(wanted))
    chosen = choose_settings(recipe, table.part("train"))
    extractor = Extractor(
        backbone,
        origin.sha256,
        start_preprocessing(chosen),
        find_views(wanted.views),
        wanted.crop,
        recipe.data.allow_truncated,
    )
    device = choose_device(recipe.train.device).type
    eye = Eye(extractor, {name: value for name, value in asdict(wanted).items() if name in SOURCE})
    ladder = climb_table(
        table,
        [eye],
        heads=heads,
        minutes=recipe.train.minutes,
        seed=recipe.train.seed,
        workers=chosen.train.workers,
        device=device,
        progress=progress,
    )
    best = {name: value for name, value in ladder.best.settings.items() if name not in SOURCE}

    def known(prepared: PreparedTable) -> dict[str, NDArray[np.generic]]:
        return {KNOWN: table_features(prepared, extractor, device=device)}

    return Settled(recipe.change(transfer=best), ladder, known, bool(backbone.stages()))
