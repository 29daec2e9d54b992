"""What a run's model.json says of its model, and what is wrong with one that was damaged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_KINDS = {
    "task": str,
    "architecture": str,
    "channels": int,
    "classes": list,
    "settings": dict,
    "preprocessing": dict,
    "weights": dict,
}
"""What it holds besides its format, as JSON values. With "calibration" it holds a dict too: see tenfold.run.Run."""


def card_fault(card: Mapping[str, Any]) -> str:
    """What is wrong with the content of a model.json, in words; empty where nothing is."""
    for name, kind in _KINDS.items():
        if not isinstance(card.get(name), kind):
            return f"it has no {name!r}, or one that is no {kind.__name__}"
    return "" if _is_calibration(card.get("calibration", {})) else "its 'calibration' is not what training writes"


def network_words(card: Mapping[str, Any]) -> str:
    """ "residual", or "3 residual networks side by side"."""
    members, name = card.get("settings", {}).get("members", 1), str(card["architecture"])
    return f"{members} {name} networks side by side" if members > 1 else name


def _is_calibration(value: Any) -> bool:
    """Whether a temperature, a score and steps, where they are there, can be used."""
    try:
        for name, count in (("steps", 3), ("score_steps", 5)):
            if any(len([float(number or 0) for number in step]) != count for step in value.get(name, ())):
                return False
        return 0 < float(value.get("temperature", 1.0)) < math.inf and 0 <= float(value.get("score", 0)) <= 1
    except (AttributeError, TypeError, ValueError):
        return False
