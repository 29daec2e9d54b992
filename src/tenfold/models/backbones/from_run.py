"""An earlier run as a source of weights: what its folder holds, and whose its weights are."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

from tenfold.errors import DataError
from tenfold.models.weights.places import file_hash
from tenfold.models.weights.published import Origin
from tenfold.models.weights.read import Tensors, read_tensors


class Earlier(NamedTuple):
    """What is in a run's folder, as data."""

    card: dict[str, Any]
    """model.json."""
    tensors: Tensors
    """model.safetensors."""
    origin: Origin


def read_earlier(folder: Path) -> Earlier:
    """The network of a run whose training has ended.

    Raises DataError where the folder is gone or no run, the training has not ended, or a file is damaged.
    """
    described, weights = folder / "model.json", folder / "model.safetensors"
    if not described.is_file():
        raise DataError(
            f"transfer.init (--init) must be the folder of a run, which has a model.json, and {folder} has none; if "
            "the run was moved or deleted, bring it back there, or start anew from another one."
        )
    if not weights.is_file():
        again = shlex.join(["tenfold", "train", "--resume", str(folder)])
        raise DataError(f"transfer.init (--init) must be a run whose training has ended; end that of {folder}: {again}")
    try:
        card = json.loads(described.read_text("utf-8"))
        origin = _origin(folder, card["weights"], file_hash(weights))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, error) from error
    return Earlier(card, read_tensors(weights), origin)


def damaged(folder: Path, error: Exception) -> DataError:
    """The error for a run whose files do not fit one another."""
    reason = " ".join(str(error).split()).rstrip(".")
    return DataError(f"The run {folder} (transfer.init) is damaged, or of another version of Tenfold: {reason}.")


def _origin(folder: Path, said: dict[str, Any], sha256: str) -> Origin:
    """Whose the weights are: the run's, with what its own card says of where it had them from."""
    note, licence = said.get("note", ""), said["licence"]
    if licence is None:  # trained from scratch
        licence, note = "none stated", "what the owners of that run's images allow decides"
    return Origin(f"the run {folder.resolve().name}", said["origin"], licence, sha256, note)
