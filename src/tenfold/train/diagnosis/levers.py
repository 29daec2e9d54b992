"""What the model of a recipe can be advised: the settings that its training heeds.

A head that is fitted at once sees the images as they are, each once; a pretrained network without new layers has
nothing that a width or dropout could change. An option that changes nothing is no advice.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from tenfold.recipe import Recipe

_OF_TRAINING = {"augment.policy", "augment.mix_share", "train.balance"}
_OF_LAYERS = {"model.norm", "model.width"}


def levers(recipe: Recipe) -> frozenset[str]:
    """The settings, of those that the diagnosis advises, that the recipe's model heeds: names as "model.width"."""
    model = recipe.model
    if model.name == "frozen":
        return frozenset({"model.name", "transfer.backbone", "transfer.views"})
    if model.name == "finetuned":
        new = {"model.dropout"} if model.layers or model.hidden else set()
        new |= _OF_LAYERS if model.layers else set()
        return frozenset({"transfer.backbone", "transfer.frozen"} | _OF_TRAINING | new)
    return frozenset({"model.dropout"} | _OF_TRAINING | _OF_LAYERS)


def compared(ladder: dict[str, Any]) -> frozenset[str]:
    """The settings whose other values a run's ladder.json compares, or is about to: trying them again is no advice."""
    found = {"model.name"} if "finetuning" in ladder else set()
    several = len({rung["settings"]["backbone"] for rung in ladder.get("rungs", ())}) > 1
    return frozenset(found | ({"transfer.backbone"} if several else set()))


def heeded(recipe: Recipe, wanted: dict[str, str], tried: Collection[str] = ()) -> list[str]:
    """Of options by the setting that they are for, those that the recipe's model heeds; empty ones are none.

    Nor are those for settings that were `tried`.
    """
    able = levers(recipe) - set(tried)
    return [option for setting, option in wanted.items() if option and setting in able]
