"""Batches of which a quarter is regions of objects and the rest background: R-CNN's fine-tuning.

Girshick et al., "Rich feature hierarchies for accurate object detection and semantic segmentation", 2014, section 2.3,
https://arxiv.org/abs/1311.2524: 32 windows of objects, over all classes, and 96 of background, drawn for each step.

Shapes: N regions, P of objects, Q of background.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tenfold.draws import draw_keys, epoch_order
from tenfold.errors import UsageError
from tenfold.images.loader import Loader, Rows
from tenfold.images.prepared import PreparedTable
from tenfold.images.table import Table
from tenfold.models.detection.sampling import BACKGROUND_CLASS
from tenfold.recipe import Recipe

_EACH = 3  # regions of background for one of an object


def in_quarters(loader: Loader, recipe: Recipe, prepared: PreparedTable) -> Loader:
    """The loader of the training part with the batches that train.balance = background asks for, else as it is."""
    if recipe.train.balance == "background":
        background, seed = background_rows(prepared.table.part("train")), recipe.train.seed

        def choose(epoch: int) -> tuple[Rows, NDArray[np.uint64]]:
            order = epoch_order(seed, epoch, loader.hashes)
            is_object = ~background[order]
            rows = quarter_order(order[is_object], order[~is_object], loader.batch_size)
            return rows, draw_keys(seed, epoch, loader.hashes)[rows]

        loader.choose = choose
    return loader


def quarter_order(objects: Rows, background: Rows, batch: int) -> Rows:
    """Rows [P] of objects and [Q] of background, each in the order of an epoch -> the rows of that epoch.

    One of an object, then three of background, again and again: so in any share of a batch. They fill whole batches, if
    there are enough for one; what is left over has its turn in another epoch, whose order is another.
    """
    count, whole = min(len(objects), len(background) // _EACH), max(batch // (1 + _EACH), 1)
    count -= count % whole if count > whole else 0
    beside = background[: _EACH * count].reshape(count, _EACH)
    return np.concatenate([objects[:count, None], beside], 1).reshape(-1)


def background_rows(training: Table) -> NDArray[np.bool_]:
    """Which of the training part's regions are background: [N].

    Raises UsageError where there are none of it, or of objects, so that no such batch could be made.
    """
    names = training.samples["label"].to_numpy(object)
    found: NDArray[np.bool_] = names == BACKGROUND_CLASS
    if found.sum() < _EACH or found.all():
        raise UsageError(
            f"train.balance = background needs regions of objects and at least {_EACH} of the class "
            f"{BACKGROUND_CLASS} in the training part, which has {int((~found).sum())} and {int(found.sum())}; leave "
            "it open."
        )
    return found
