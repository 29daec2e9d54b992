"""What is measured before training: precision, threads, image size, epochs, learning rate."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np

from tenfold.environment import choose_device, cores
from tenfold.errors import UsageError
from tenfold.images.prepared import PreparedTable
from tenfold.images.preprocess import size_words
from tenfold.images.table import Table
from tenfold.models.contract import Model
from tenfold.models.detection import RCNN
from tenfold.recipe import Recipe
from tenfold.tasks import Task
from tenfold.train.background import in_quarters
from tenfold.train.choose import fresh_model, make_card, shrink_images
from tenfold.train.data import noise_batch, plain_loader, training_loader
from tenfold.train.evidence import closing_seconds
from tenfold.train.measure import PRECISIONS, find_learning_rate, measure_pace
from tenfold.train.progress import Progress, Report, several
from tenfold.train.proposals_in_time import settle_proposals
from tenfold.train.ranks import Ranks
from tenfold.train.schedule import Schedule

_SHRUNK_FROM, _ENOUGH_EPOCHS = 96, 40  # image sizes that may be shrunk; epochs below which they are


@dataclass
class Plan:
    """A training that is being planned: each method settles a part of `recipe`."""

    recipe: Recipe
    task: Task
    ranks: Ranks
    started: float
    """When the training was asked for, by time.monotonic."""
    progress: Report
    epoch_seconds: float = 0.0
    """What an epoch at full size takes, as measured; 0 where it does not count."""
    closing: float = 0.0
    """Seconds of a time limit that are kept for what comes after the last step."""

    def settle_speed(self, table: Table, *, may_shrink: bool) -> None:
        """Settle precision and threads for a table with parts, and the image size where it may be shrunk.

        Where a time limit leaves too few epochs, the images are made smaller: of flowers, 120 s on 2 cores allow 19
        epochs at 96 px (77.5 % of the validation part right, with AdamW) or 28 at 72 px (80.0 %).
        """
        self._measure(table)
        settings = self.recipe.train
        if not self.epoch_seconds or not may_shrink or self.recipe.image.size < _SHRUNK_FROM:
            return
        if self._epochs_left() < min(_ENOUGH_EPOCHS, settings.epochs or _ENOUGH_EPOCHS):
            self.recipe = shrink_images(self.recipe)
            self._measure(table)

    def settle_epochs(self) -> None:
        """Under a time limit, plan as many epochs as fit into what is left of it.

        Raises UsageError where nothing is left.
        """
        if not self.epoch_seconds:
            return
        settings = self.recipe.train
        limit = _minutes_words(settings.minutes)
        if self._seconds_left() <= 0:
            over = f"The time limit of {limit} was over before the first step"
            kept = f" ({self.closing:.0f} s of it are kept to see what came out)" if self.closing >= 1 else ""
            raise UsageError(f"{over}{kept}; give more, or try again: the images are cached.")
        fitting = self._epochs_left()
        epochs = min(settings.epochs or fitting, fitting)
        self.recipe = self.recipe.change(train={"epochs": epochs})
        # One step on noise is all that is known here: layers that learn only later make the first epochs quicker.
        fits = f"about {several(epochs, 'epoch')} fit into {limit} by this first measurement; training goes by its pace"
        text = fits if epochs == fitting else f"{several(epochs, 'epoch')}, which take less than {limit}"
        self.progress(Progress("measure", text))

    def settle_rate(self, model: Model, prepared: PreparedTable) -> None:
        """Find the learning rate by a range test on the batches of the training, where the recipe asks for it."""
        if not self.recipe.train.find_lr:
            return
        if not any(step.parameters for step in model.steps()):
            self.recipe = self.recipe.change(train={"find_lr": False})
            self.progress(Progress("note", "train.find_lr: no rate to find, as this model takes no gradient steps"))
            return
        loader = training_loader(self.recipe, prepared, self.task, lambda epoch: self.recipe.image.size)
        loader = in_quarters(loader, self.recipe, prepared)
        batches = (batch for epoch in range(100) for batch in loader.batches(epoch))
        device = choose_device(self.recipe.train.device)
        still = plain_loader(self.recipe, prepared, self.task, "train")
        found = find_learning_rate(model.to(device), batches, self.recipe, device, still.batches() if still else None)
        rate = self.ranks.first(found)
        self.recipe = self.recipe.change(train={"lr": rate, "find_lr": False})
        self.progress(Progress("measure", f"learning rate {rate:.2g} by the range test"))

    def settle_proposals(self, model: Model, prepared: PreparedTable) -> None:
        """Under a time limit, have an R-CNN take as many proposals as fit into what is left of it."""
        if not (isinstance(model, RCNN) and self.recipe.train.minutes):
            return
        left = self._seconds_left()
        count = settle_proposals(model, self.recipe, prepared, self.task, left, self.progress, self.ranks)
        if count < model.proposals:
            model.take_proposals(count)
            model.settings["proposals"] = count  # which the run stores, so that it predicts with as many
            self.recipe = self.recipe.change(detect={"proposals": count})

    def _measure(self, table: Table) -> None:
        """Settle precision and threads, on images of noise with real targets, before any image is decoded."""
        settings, device = self.recipe.train, choose_device(self.recipe.train.device)
        training = table.part("train")
        model = fresh_model(make_card(self.recipe, training, self.task.name), self.recipe)
        threads_count = device.type == "cpu" and not settings.threads
        settled = settings.precision != "auto" and not settings.minutes and not threads_count
        if settled or not any(step.parameters for step in model.steps()):
            kept = "float32" if settings.precision == "auto" else settings.precision
            self.recipe = self.recipe.change(train={"precision": kept})
            return
        batch = noise_batch(self.recipe, training.take(np.arange(settings.batch_size)), self.task, model)
        pace = measure_pace(model, batch, self.recipe, device)
        # Ranks that differ would drift apart.
        precision = PRECISIONS[int(self.ranks.first(PRECISIONS.index(pace.precision)))]
        seconds = self.ranks.first(pace.seconds)
        self.recipe = self.recipe.change(train={"precision": precision, "threads": pace.threads})
        what = f"precision {precision}, {pace.threads} of {cores()} cores" if pace.threads else precision
        image = self.recipe.image
        size = f"a batch of {settings.batch_size} at {size_words(image.size, image.aspect or 1.0)} px"
        self.progress(Progress("measure", f"{what}: {seconds:.3f} s {size} here"))
        if settings.minutes:  # with augmentation and validation
            self.epoch_seconds = 1.3 * seconds * math.ceil(len(training) / settings.batch_size)
            self.closing = closing_seconds(table, self.epoch_seconds)

    def _seconds_left(self) -> float:
        spent = time.monotonic() - self.started
        return self.ranks.first(self.recipe.train.minutes * 60 - self.closing - spent)

    def _epochs_left(self) -> int:
        schedule = Schedule(self.recipe, 0)
        schedule.fit(0, self._seconds_left(), self.epoch_seconds)
        return schedule.epochs


def _minutes_words(minutes: float) -> str:
    """ "5 minutes", "4 min 52 s", "33 s", "0.6 s": whole ones as they are given, what was left of them in seconds."""
    if minutes == int(minutes):
        return several(minutes, "minute")
    seconds = 60 * minutes
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole, rest = divmod(round(seconds), 60)
    return " ".join(filter(None, [f"{whole} min" if whole else "", f"{rest} s" if rest else ""]))
