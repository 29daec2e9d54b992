"""What the diagnosis of a training looks at besides the curves: how images as they are came out, image by image.

The training figures of history.csv are means over an epoch in which the weights changed, of images that were cropped,
mixed and smoothed, with dropout: they cannot be set against those of the validation part. So after the last epoch the
same weights look at both parts alike. Of the training part a sample is enough. That costs less than an epoch.

Shapes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.draws import epoch_order, hash_numbers
from tenfold.environment import torch_threads
from tenfold.estimate import Estimate, Units, units_of
from tenfold.images.prepared import PreparedTable
from tenfold.metrics.intervals import share
from tenfold.models.contract import Model, Prediction
from tenfold.recipe import Recipe
from tenfold.tasks import Task
from tenfold.train.data import rows_loader

FEWEST_SAMPLED, MOST_SAMPLED = 200, 1000
"""Training images that are looked at: as many as there are validation images, within these bounds."""
OF_EACH = 5
"""Training images of every class that are looked at, so that small classes are."""


@dataclass(frozen=True)
class Outcome:
    """How the images of one part, without augmentation, came out with some weights."""

    loss: NDArray[np.float64]
    """[N], without label smoothing or class weights."""
    truth: NDArray[np.int64]
    """[N], places in the classes."""
    predicted: NDArray[np.int64]
    """[N], places in the classes."""
    units: Units

    @property
    def hits(self) -> NDArray[np.float64]:
        """[N], 1 where the predicted class is the right one."""
        hits: NDArray[np.float64] = (self.truth == self.predicted).astype(np.float64)
        return hits

    @property
    def accuracy(self) -> Estimate:
        """The share of hits."""
        return share(self.hits, self.units, 0.95)


@dataclass(frozen=True)
class Measured:
    """What the averaged weights after some epoch made of both parts."""

    epoch: int
    training: Outcome
    validation: Outcome | None


@dataclass(frozen=True)
class Facts:
    """All that is known of a training but its curves."""

    recipe: Recipe
    classes: tuple[str, ...]
    images: NDArray[np.int64]
    """int64 [K], the training images of each class."""
    last: Measured
    """With the last weights."""
    kept: Measured
    """With those that the run keeps, of the epoch with the lowest validation loss."""
    each: Outcome
    """Up to OF_EACH training images of every class, with the kept weights."""
    earlier: tuple[int, Outcome] | None = None
    """An epoch about four fifths through the training, and what its weights made of the validation part."""


@dataclass(frozen=True)
class Examiner:
    """Looks at a run's images with whatever weights its model has at the time."""

    model: Model
    recipe: Recipe
    prepared: PreparedTable
    task: Task
    device: torch.device
    context: Callable[[], AbstractContextManager[object]]
    """In which the forward pass runs: see tenfold.train.measure."""
    threads: int = 0
    """Processor threads; 0: as many as there are."""

    def measure(self, epoch: int) -> Measured:
        """Both parts, with the weights of this epoch, which the model holds."""
        validation = self._rows("validation")
        count = min(max(len(validation), FEWEST_SAMPLED), MOST_SAMPLED)
        training = self._outcome(self._shuffled()[:count])
        return Measured(epoch, training, self.validation())

    def validation(self) -> Outcome | None:
        """The validation part alone; None where it is empty."""
        rows = self._rows("validation")
        return self._outcome(rows) if len(rows) else None

    def each_class(self) -> Outcome:
        """Up to OF_EACH training images of every class."""
        rows = self._shuffled()
        labels = self.prepared.table.labels()[rows]
        return self._outcome(np.concatenate([rows[labels == label][:OF_EACH] for label in np.unique(labels)]))

    def counts(self) -> NDArray[np.int64]:
        """The training images of each class: int64 [K]."""
        table = self.prepared.table
        return np.bincount(table.labels()[self._rows("train")], minlength=len(table.classes))

    def _rows(self, part: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.prepared.table.samples["part"] == part)

    def _shuffled(self) -> NDArray[np.int64]:
        """The rows of the training part, in an order that depends on their content and the seed only."""
        rows = self._rows("train")
        hashes = hash_numbers(self.prepared.table.samples["hash"].iloc[rows].tolist())
        return rows[epoch_order(self.recipe.train.seed, 0, hashes)]

    def _outcome(self, rows: NDArray[np.int64]) -> Outcome:
        assert self.task.scores is not None
        predictions: list[Prediction] = []
        loader = rows_loader(self.recipe, self.prepared, self.task, rows)
        was = self.model.training
        self.model.eval()
        with torch_threads(self.threads), torch.no_grad():
            for batch in loader.batches():
                moved = batch.to(self.device)
                with self.context():
                    predictions += self.model.decode(self.model.batch_outputs(moved), moved.affine)
        self.model.train(was)
        targets = {name: value.numpy() for name, value in loader.targets.items()}
        groups = self.prepared.table.samples["group"].to_numpy(object)[rows]
        return Outcome(*self.task.scores(predictions, targets), units_of(groups, len(rows)))
