"""What the diagnosis of a training looks at besides the curves: how images as they are came out, image by image.

The training figures of history.csv are means over an epoch in which the weights changed, of images that were cropped,
mixed and smoothed, with dropout: they cannot be set against those of the validation part. So after the last epoch the
same weights look at both parts alike. Of the training part a sample is enough, and of a detector, which takes long for
an image, a small one. In all that is up to three looks at the validation part, for three epochs' weights, two at the
sample, and one at a few images of each class.

Shapes: N images, or pairs of an image and a class that is in it (see tenfold.tasks.Scores), K classes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.draws import epoch_order, hash_numbers
from tenfold.environment import torch_threads
from tenfold.estimate import Estimate, Units, units_of
from tenfold.images.prepared import PreparedTable, sample_size
from tenfold.images.table import Table
from tenfold.metrics.intervals import area_estimate, share
from tenfold.metrics.ranking import Area
from tenfold.models.contract import Model, Prediction
from tenfold.recipe import Recipe
from tenfold.split.copies import are_copies
from tenfold.split.ties import strata
from tenfold.tasks import Task, table_objects
from tenfold.train.data import rows_loader

if TYPE_CHECKING:
    from tenfold.metrics.detection import Part

FEWEST_SAMPLED, MOST_SAMPLED = 200, 1000
"""Training images that are looked at: as many as there are validation images, within these bounds."""
FEWEST_WITH_BOXES, MOST_WITH_BOXES = 20, 100
"""The same of a detector, but that the fewest hold an object, where so many do, even if the sample grows by them."""
OF_EACH = 5
"""Training images of every class that are looked at, so that small classes are; of a detector MOST_WITH_BOXES in all,
or one of each class where there are more classes than that."""

_LOOKS = 6
"""Looks at the validation part after the last step: for the last row of the history, at three epochs' weights for the
diagnosis, to calibrate, and to evaluate the run."""
_LOOK = 1 / 3
"""What it takes to look at an image, as a share of what learning from it does; the loop goes by it too."""


def closing_seconds(table: Table, epoch: float) -> float:
    """About how long a training of a table with parts looks at images after its last step, and its evaluation does.

    `epoch` is how many seconds an epoch takes. The evaluation is taken to run where the training does.
    """
    training, classes, has_boxes = len(table.part("train")), len(table.classes), table.boxes is not None
    validation = len(table.part("validation"))
    fewest, most = (FEWEST_WITH_BOXES, MOST_WITH_BOXES) if has_boxes else (FEWEST_SAMPLED, MOST_SAMPLED)
    sample = min(training, min(max(validation, fewest), most) + fewest * has_boxes)
    each = min(training, max(most, classes) if has_boxes else OF_EACH * classes)
    return (_LOOKS * validation + 2 * sample + each) * _LOOK * epoch / max(training, 1)


@dataclass(frozen=True)
class Outcome:
    """How the images of one part, without augmentation, came out with some weights."""

    loss: NDArray[np.float64]
    """[N], without label smoothing or class weights."""
    truth: NDArray[np.int64]
    """[N], places in the classes."""
    predicted: NDArray[np.int64]
    """[N], places in the classes; -1 where no object of the class was found."""
    units: Units
    part: Part | None = None
    """Which detection found which object, of a detector."""
    images: Units | None = None
    """The units of the images, of a detector."""

    @property
    def hits(self) -> NDArray[np.float64]:
        """[N], 1 where the predicted class is the right one."""
        hits: NDArray[np.float64] = (self.truth == self.predicted).astype(np.float64)
        return hits

    @property
    def accuracy(self) -> Estimate:
        """The share of hits."""
        return share(self.hits, self.units, 0.95)

    @cached_property
    def balanced_accuracy(self) -> Estimate:
        """The mean over the classes that there are images of, of their shares of hits."""
        _, place, sizes = np.unique(self.truth, return_inverse=True, return_counts=True)
        shares = np.bincount(place, self.hits) / sizes
        influence = (self.hits - shares[place]) / (len(sizes) * sizes[place])
        trials = len(sizes) ** 2 / float((1 / sizes).sum())  # a mean of so many proportions varies as one of these
        return area_estimate(Area(float(shares.mean()), influence, trials, self.truth), self.units, 0.95)

    @cached_property
    def ap50(self) -> Estimate:
        """AP at an IoU of 0.5, of a detector that looked at images with an object at least."""
        from tenfold.metrics.detection_ap50 import ap50

        assert self.part is not None
        assert self.images is not None
        return ap50(self.part.matches, self.images)


NOTHING = Outcome(np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64), Units(np.empty(0, np.int64), 0, False, ""))
"""Nothing was looked at."""


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
    """int64 [K], the training images of each class, or with an object of it, without augmented copies of them."""
    last: Measured
    """With the last weights."""
    kept: Measured
    """With those that the run keeps, of the epoch with the lowest validation loss."""
    each: Outcome
    """Up to OF_EACH training images of every class, with the kept weights; see there."""
    earlier: tuple[int, Outcome] | None = None
    """An epoch about four fifths through the training, and what its weights made of the validation part."""
    tried: frozenset[str] = frozenset()
    """The settings, as "model.name", whose other values the run is compared with anyway: no advice."""
    copies: NDArray[np.int64] | None = None
    """int64 [K], the augmented copies of these images (`tenfold augment --save`) that were trained on; None: none."""

    @property
    def trained(self) -> NDArray[np.int64]:
        """int64 [K], images and copies together: what the training loss is of."""
        return self.images if self.copies is None else self.images + self.copies


@dataclass(frozen=True)
class Examiner:
    """Looks at a run's images with whatever weights its model has at the time.

    A detector that is fitted at once, as R-CNN, is not looked at: it has no curve, and its fit is mostly such a look.
    """

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
        fewest, most = (FEWEST_WITH_BOXES, MOST_WITH_BOXES) if self.task.boxes else (FEWEST_SAMPLED, MOST_SAMPLED)
        count = min(max(len(validation), fewest), most)
        rows = self._shuffled()
        sample = rows[:count]
        if self.task.boxes:  # AP50 is of nothing where all is background
            objects, _ = table_objects(self.prepared.table)
            holding = rows[np.isin(rows, objects.image[~objects.ignore])]
            sample = np.union1d(sample, holding[:fewest])
        return Measured(epoch, self._outcome(sample), self.validation())

    def validation(self) -> Outcome | None:
        """The validation part alone; None where there is nothing in it."""
        seen = self._outcome(self._rows("validation"))
        return seen if len(seen.truth) else None

    def each_class(self) -> Outcome:
        """Up to OF_EACH training images of every class: the first of each, then the second of each, and so on."""
        rows, classes = self._shuffled(), self.prepared.table.classes
        owners, labels = strata(self.prepared.table.take(rows))
        own = [owners[labels == label] for label in range(len(classes))]
        turns = [image for turn in range(OF_EACH) for images in own for image in images[turn : turn + 1].tolist()]
        most = max(MOST_WITH_BOXES, len(classes)) if self.task.boxes else None
        first = list(dict.fromkeys(turns))[:most]
        return self._outcome(rows[np.array(sorted(first), np.int64)])

    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The training images of each class, or with an object of it, and their augmented copies: two int64 [K].

        Copies without any image count as images.
        """
        table = self.prepared.table
        part = table.take(self._rows("train"))
        images, copies = (
            np.bincount(strata(part.take(np.flatnonzero(own)))[1], minlength=len(table.classes) + 1)[:-1]
            for own in (~are_copies(part), are_copies(part))
        )
        return (images, copies) if images.any() else (copies, images)

    def _rows(self, part: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.prepared.table.samples["part"] == part)

    def _shuffled(self) -> NDArray[np.int64]:
        """The rows of the training part, in an order that depends on their content and the seed only.

        Without augmented copies, as the validation part has none; but where there are no images with them.
        """
        rows = self._rows("train")
        images = rows[~are_copies(self.prepared.table.take(rows))]
        rows = images if len(images) else rows
        hashes = hash_numbers(self.prepared.table.samples["hash"].iloc[rows].tolist())
        return rows[epoch_order(self.recipe.train.seed, 0, hashes)]

    def _outcome(self, rows: NDArray[np.int64]) -> Outcome:
        assert self.task.scores is not None
        if not len(rows) or (self.task.boxes and not self.model.steps()):
            return NOTHING
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
        table = self.prepared.table.take(rows)
        scores = self.task.scores(self._cut(predictions, table), table)
        if not len(scores.image):
            return NOTHING
        images = units_of(table.samples["group"].to_numpy(object), len(rows))
        units = images.take(scores.image)
        return Outcome(scores.loss, scores.truth, scores.predicted, units, scores.part, scores.part and images)

    def _cut(self, predictions: list[Prediction], table: Table) -> list[Prediction]:
        """The predictions without what lies in the padding of an image."""
        cut = self.task.cut
        if cut is None or self.recipe.image.fit != "pad":
            return predictions
        return [cut(prediction, sample_size(table, row)) for row, prediction in enumerate(predictions)]
