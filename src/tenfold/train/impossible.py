"""Training steps that cannot be made or had better not be, in words: too large for the memory, or too small for batch
normalization.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from tenfold.errors import TrainingError, UsageError
from tenfold.models import find_model
from tenfold.recipe import Recipe
from tenfold.train.choose import TINY_BATCH
from tenfold.train.diagnosis.levers import levers
from tenfold.train.progress import several

_TOO_LARGE = ("out of memory", "can't allocate memory")  # CUDA and MPS; a processor's memory
_TOO_SMALL = "more than 1 value per channel"


@contextmanager
def said_plainly(recipe: Recipe) -> Iterator[None]:
    """What PyTorch says of such a step, as one sentence with the settings that help.

    Raises TrainingError where the memory is too small, which a smaller step or a freer machine mends, and UsageError
    where a batch leaves batch normalization a single value of each channel, of which there is no deviation.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        said = str(error)
        if isinstance(error, torch.OutOfMemoryError) or any(words in said for words in _TOO_LARGE):
            raise TrainingError(_too_large(recipe)) from error
        if _TOO_SMALL in said:
            raise UsageError(
                "Batch normalization needs more than one value of each channel in every batch, and here is a batch of "
                f"one image whose map is a single pixel (train.batch_size {recipe.train.batch_size}, image.size "
                f"{recipe.image.size}); set a larger --batch-size or --size, fewer --model.layers, or --model.norm "
                "group."
            ) from error
        raise


def notes_on_norm(given: Recipe, chosen: Recipe) -> tuple[str, ...]:
    """What to say of a batch that is tiny for batch normalization: of `chosen`, in which nothing is open any more."""
    size, norm = chosen.train.batch_size, chosen.model.norm
    has_own = "detect" not in find_model(chosen.model.name).sections and "model.norm" in levers(chosen)
    if size >= TINY_BATCH or norm == "none" or not has_own:
        return ()
    few = f"of {several(size, 'image')} a batch is too few for batch normalization (docs/normalization.md)"
    if norm == "batch":
        return (f"The statistics {few}; set --model.norm group, or a larger --batch-size.",)
    return (f"Group normalization was chosen: the statistics {few}.",) if given.model.norm == "auto" else ()


def _too_large(recipe: Recipe) -> str:
    return (
        f"The memory is too small for a step of {recipe.train.batch_size} images at {recipe.image.size} px; set a "
        "smaller --batch-size or --size, or end other programs that use it, then train again."
    )
