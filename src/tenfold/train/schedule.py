"""How the learning rate and the image size go over a training, as functions of the share that is done."""

from __future__ import annotations

import math

from tenfold.recipe import Recipe


def learning_rate(recipe: Recipe, done: float) -> float:
    """The learning rate after a share `done` (0 to 1) of the steps.

    "onecycle": up and down along cosines, as Smith and Topin 2019; it starts at 1/25 of the peak. "cosine": up along
    a line from 0, down along a cosine (Loshchilov and Hutter 2017). Both end at 1/1000 of the peak.
    """
    peak, warmup = recipe.train.lr, recipe.train.warmup
    if done < warmup:
        rise = done / warmup
        if recipe.train.schedule == "cosine":
            return peak * rise
        return peak * (1 / 25 + (1 - 1 / 25) * (1 - math.cos(math.pi * rise)) / 2)
    fall = (done - warmup) / (1 - warmup) if warmup < 1 else 1.0
    return peak * (1e-3 + (1 - 1e-3) * (1 + math.cos(math.pi * fall)) / 2)


GROWTH = ((0.35, 0.75), (0.65, 0.875), (1.0, 1.0))
"""(until this share of the epochs, share of the final size); after Howard's progressive resizing (DAWNBench 2018)."""


def training_size(recipe: Recipe, epoch: int) -> int:
    """Height and width of the training images in this epoch (from 0), a multiple of 8 where it is not the last size."""
    size, epochs = recipe.image.size, max(recipe.train.epochs, 1)
    if recipe.train.grow != "on":
        return size
    share = next(share for until, share in GROWTH if (epoch + 1) / epochs <= until or until == 1.0)
    return size if share == 1.0 else max(8, round(size * share / 8) * 8)


def relative_work(recipe: Recipe) -> float:
    """Multiply-adds of the whole training over those of as many epochs at full size."""
    epochs = max(recipe.train.epochs, 1)
    return sum((training_size(recipe, epoch) / recipe.image.size) ** 2 for epoch in range(epochs)) / epochs
