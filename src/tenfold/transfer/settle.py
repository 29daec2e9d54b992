"""From a table and a recipe with frozen networks to the recipe with one of them and its head settled, by the ladder;
and to the run of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.environment import choose_device
from tenfold.errors import UsageError
from tenfold.images.content import hashed
from tenfold.images.prepared import PreparedTable
from tenfold.images.table import Table
from tenfold.models.backbones.taught import known_rows, taught_by
from tenfold.models.frozen import KNOWN, named_backbone
from tenfold.models.heads import can_hold_out, find_head
from tenfold.models.views import find_views
from tenfold.recipe import Recipe, read_recipe
from tenfold.run import Run
from tenfold.split.copies import images_of
from tenfold.split.ties import bonds, grouped, join
from tenfold.train import (
    Known,
    Progress,
    Report,
    Trainer,
    choose_settings,
    no_report,
    resume_training,
    start_preprocessing,
    train_model,
)
from tenfold.transfer.at_hand import wanted_networks
from tenfold.transfer.clock import Clock
from tenfold.transfer.features import Extractor, table_features
from tenfold.transfer.ladder import LADDER, Eye, climb_table
from tenfold.transfer.rungs import Ladder
from tenfold.transfer.unknown import is_trained

SOURCE = ("backbone", "weights", "init", "views", "crop", "spread")
"""The settings of a recipe's [transfer] that say how a frozen network looks at an image."""


class Settled(NamedTuple):
    """What the ladder has settled."""

    recipe: Recipe
    """With the backbone and the head that it chose."""
    ladder: Ladder
    known: Known
    """As `train_model` takes it: the features of prepared images, from the cache where they are there."""
    learns: bool
    """Whether the backbone has layers that can be fine-tuned."""


def settle_head(
    table: Table,
    recipe: Recipe,
    *,
    heads: Sequence[str] = LADDER,
    progress: Report = no_report,
    started: float | None = None,
) -> Settled:
    """Climb the ladder of these heads on the training part, over the backbone that the recipe names or over several.

    The validation and the test part are left alone. Whose the weights are and under what licence is told before any
    image is decoded. `train.minutes` limits the ladder too, from the moment `started` on, by time.monotonic; None: from
    now on. Raises what `refuse_chosen`, `wanted_networks` and `climb_table` raise, and DataError where a named
    backbone's weights are not here.
    """
    refuse_chosen(recipe)
    clock = Clock(recipe.train.minutes * 60, started=started)
    training, wanted = table.part("train"), wanted_networks(recipe.transfer)
    if len(wanted.names) > 1:
        progress(Progress("note", f"Networks to choose from: {', '.join(wanted.names)}"))
    named = [choose_settings(recipe.change(transfer={"backbone": name}), training) for name in wanted.names]
    eyes = [_eye(chosen, progress) for chosen in named]
    device = str(choose_device(recipe.train.device))
    ladder = climb_table(
        table,
        eyes,
        heads=heads,
        clock=clock,
        seed=recipe.train.seed,
        workers=named[0].train.workers,
        device=device,
        progress=progress,
    )
    left_out = (*wanted.left_out, *ladder.left_out)
    ladder = replace(ladder, left_out=left_out, flattered=_why_flattered(recipe.transfer.init, training))
    best = ladder.best.settings
    [taken] = [eye.extractor for eye in eyes if eye.settings["backbone"] == best["backbone"]]
    return Settled(recipe.change(transfer=best), ladder, _known(taken, device), bool(taken.backbone.stages()))


def resume_settled(out: str | Path, *, progress: Report = no_report) -> Run:
    """`resume_training`; a frozen network's head with the features that it had, if the cache still has them."""
    folder, known = Path(out), None
    if (folder / "recipe.toml").is_file() and not (folder / "model.safetensors").is_file():
        known = known_features(read_recipe(folder / "recipe.toml"))
    return resume_training(folder, progress=progress, known=known)


def known_features(recipe: Recipe, training: Table | None = None, progress: Report = no_report) -> Known | None:
    """As `train_model` takes it: a frozen network's features, from the cache where they are there; None for others.

    What the recipe leaves open is chosen from the training part, or nothing is open, as in that of a run. `progress`
    hears whose the network's weights are, and under what licence.
    """
    if recipe.model.name != "frozen":
        return None
    chosen = recipe if training is None else choose_settings(recipe, training)
    return _known(_eye(chosen, progress).extractor, str(choose_device(recipe.train.device)))


def _known(extractor: Extractor, device: str) -> Known:
    def known(prepared: PreparedTable) -> dict[str, NDArray[np.generic]]:
        return {KNOWN: table_features(prepared, extractor, device=device)}

    return known


def note_on_strength(recipe: Recipe, training: Table) -> str:
    """What to say where a head that a recipe names has its strength chosen, and nothing can be held out to choose it.

    `choose_strength` takes the strongest penalty then. Empty elsewhere.
    """
    look = recipe.transfer
    if recipe.model.name != "frozen" or is_open(recipe) or look.strength or not find_head(look.head).is_penalized:
        return ""
    table = images_of(grouped(hashed(training)))
    if not len(table) or can_hold_out(table.labels(), join(bonds(table))):
        return ""
    return (
        "No class has two training images that do not belong together, on one of which a strength could be tried: the "
        f"strongest penalty, {find_head(look.head).strengths[0]:g}, is taken, which leans least on so few; "
        "--transfer.strength names another."
    )


def is_open(recipe: Recipe) -> bool:
    """Whether a recipe leaves the head of a frozen network to the ladder."""
    return recipe.model.name == "frozen" and recipe.transfer.head == "auto"


def refuse_chosen(recipe: Recipe) -> None:
    """Raise UsageError where a recipe for the ladder says what that chooses together with the head."""
    for name in ("strength", "sharpness"):
        if value := getattr(recipe.transfer, name):
            raise UsageError(
                f"transfer.{name} must be left open where the ladder chooses the head, and is {value:g}; name the head "
                "too (--transfer.head logistic), or leave it out."
            )


def train_settled(
    table: Table, recipe: Recipe, out: str | Path, *, task: str = "", progress: Report = no_report
) -> Run:
    """`train_model`, but the ladder settles first what the recipe leaves open, on this table's training part alone.

    So where it is called for each fold of a cross-validation, every fold chooses without its own images, and what is
    estimated is the procedure, choice included, that the same recipe stands for on all of them. Raises what
    `settle_head` and `train_model` raise.
    """
    if not is_open(recipe):
        if note := note_on_strength(recipe, table.part("train")):
            progress(Progress("note", note))
        known = known_features(recipe, table.part("train"), progress)
        return train_model(table, recipe, out, task=task, progress=progress, known=known)
    settled = settle_head(table, recipe, progress=progress)
    progress(Progress("note", f"Chosen: {settled.ladder.reason}"))
    ladder = settled.ladder.to_json()
    return train_model(table, settled.recipe, out, task=task, progress=progress, known=settled.known, ladder=ladder)


SETTLED = Trainer(train_settled, resume_settled)
"""What folds and shares are trained by where the recipe may leave a head open."""


def _why_flattered(init: str, training: Table) -> str:
    """What to say where an earlier run, whose network the rungs stand on, learned from images they are judged by."""
    known = int(known_rows(hashed(training), taught_by(Path(init)).train).sum()) if is_trained(init) else 0
    if not known:
        return ""
    return (
        f"The network of {init} learned from {known:,} of these {len(training):,} images, so these figures flatter it; "
        "those on images that it has not seen do not."
    )


def _eye(chosen: Recipe, progress: Report) -> Eye:
    """The backbone of a recipe of which everything is chosen but the head; `progress` hears whose its weights are."""
    look = chosen.transfer
    backbone, origin = named_backbone(asdict(look))
    whose = (f"{origin.name}, {origin.source}", f"licence {origin.licence}", origin.note)
    progress(Progress("note", f"Pretrained network: {'; '.join(filter(None, whose))}"))
    preprocessing, truncated = start_preprocessing(chosen), chosen.data.allow_truncated
    extractor = Extractor(backbone, origin.sha256, preprocessing, find_views(look.views), look.crop, truncated)
    return Eye(extractor, {name: getattr(look, name) for name in SOURCE})
