"""Training steps that cannot be made, in words: too large for the memory, or too small for batch normalization."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tenfold.environment import is_memory_full
from tenfold.errors import TrainingError, UsageError
from tenfold.images.preprocess import size_words
from tenfold.recipe import Recipe

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
        if is_memory_full(error):
            raise TrainingError(_too_large(recipe)) from error
        if _TOO_SMALL in str(error):
            raise UsageError(
                "Batch normalization needs more than one value of each channel in every batch, and here is a batch of "
                f"one image whose map is a single pixel (train.batch_size {recipe.train.batch_size}, image.size "
                f"{recipe.image.size}); set a larger --batch-size or --size, fewer --model.layers, or --model.norm "
                "group."
            ) from error
        raise


def _too_large(recipe: Recipe) -> str:
    size = size_words(recipe.image.size, recipe.image.aspect or 1.0)
    return (
        f"The memory is too small for a step of {recipe.train.batch_size} images at {size} px; set a smaller "
        "--batch-size or --size, or end other programs that use it, then train again."
    )
