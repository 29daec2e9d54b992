"""How many proposals of an image an R-CNN looks at where its time is limited.

An R-CNN takes no gradient steps that could end sooner: it sees all regions of the training images, fits its SVMs and
box regressions to them, and then looks at the validation images for its loss, for the scores of its detections and for
the evaluation of the run, which finds the proposals of these once more. All of that goes by the number of regions. So a
few images are timed first, and as many proposals of each image are taken as fit into what is left of the limit, the
likeliest first, in training and in prediction alike.

Shapes: N images.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.environment import choose_device, torch_threads
from tenfold.errors import UsageError
from tenfold.images.prepared import PreparedTable
from tenfold.models.detection.outside import KNOWN
from tenfold.models.detection.rcnn import RCNN
from tenfold.recipe import Recipe
from tenfold.tasks import Task
from tenfold.train.data import rows_loader
from tenfold.train.progress import Progress, Report, several
from tenfold.train.ranks import Ranks

_TIMED, _SAMPLE = 3, 100
"""Training images that are timed, and proposals of each: on a slow machine 2,000 take a minute."""
_FEWEST = 100
"""Proposals of an image; with fewer, most objects have no box near them."""
_ROUND = 10
_FIT = 5e-5
"""Seconds that the fits of a class take for a region, on a processor: of 12 images of BCCD with 400 proposals each they
took 1.6e-5 on one core of an AMD EPYC, and with more images there are more hard negatives."""
_LOOKS = 2
"""At all regions of the validation images, to calibrate and to evaluate."""
_REST = 10.0
"""Seconds that go by no region: scikit-learn's start, the figures and their intervals, what is written. With a limit of
45 s and nothing kept for it, six images of BCCD took 56 s, on two busy cores."""
_MORE = "give more (--minutes)"


@dataclass(frozen=True)
class Work:
    """What is to be done, and how fast that goes here."""

    training: NDArray[np.int64]
    """[N], how many proposals each training image has."""
    validation: NDArray[np.int64]
    """[N], the same of the validation images."""
    boxes: tuple[int, int]
    """True boxes of both parts, at which the fits and the loss look too."""
    loss: int
    """Proposals of a validation image that its loss is of."""
    region: float
    """Seconds that the network takes for a region."""
    fit: float
    """Seconds that the fits of all classes take for a region."""
    search: float
    """Seconds in which the proposals of an image are found."""

    def seconds(self, proposals: int) -> float:
        """About how long all takes with at most so many proposals of an image."""
        seen = np.minimum(self.validation, proposals)
        learned = np.minimum(self.training, proposals).sum() + self.boxes[0]
        looked = _LOOKS * seen.sum() + np.minimum(seen, self.loss).sum() + self.boxes[1]
        return float(learned * (self.region + self.fit) + looked * self.region + len(seen) * self.search) + _REST

    def most(self, seconds: float, proposals: int) -> int:
        """The most proposals of an image that take so long, of at most `proposals`; 0 where the fewest take longer."""
        tried = range(_ROUND * (proposals // _ROUND), _least_of(proposals) - 1, -_ROUND)
        return next((count for count in tried if self.seconds(count) <= seconds), 0)


def _least_of(proposals: int) -> int:
    """The proposals of an image that must fit where there are `proposals` of it: all of them, if that is few."""
    return min(_FEWEST, proposals)


def settle_proposals(
    model: RCNN, recipe: Recipe, prepared: PreparedTable, task: Task, left: float, progress: Report, ranks: Ranks
) -> int:
    """The proposals of an image that fit into the seconds that are `left` of the recipe's limit; `progress` hears why.

    The first of several processes decides for all, by its own clock: one that refused alone would leave the others
    waiting for it. Raises UsageError, in each, where nothing is left, too few proposals would fit, or fewer than the
    recipe asks for.
    """
    if left <= 0:
        raise UsageError(
            f"The time limit was over before the R-CNN saw its first region; {_MORE}, or try again: the proposals are "
            "cached."
        )
    began = time.monotonic()
    wanted, work = model.proposals, _measure(model, recipe, prepared, task)
    left = ranks.first(max(left - (time.monotonic() - began), 0.0))
    whole = ranks.first(work.seconds(wanted))
    count = int(ranks.first(wanted if whole <= left else work.most(left, wanted)))
    text = (
        f"With {wanted:,} proposals of an image the R-CNN takes about {_words(whole)} from here (images to learn from: "
        f"{len(work.training):,}, to validate: {len(work.validation):,}), and {_words(left)} of the time limit are left"
    )
    if count < wanted and (not count or recipe.detect.proposals):
        few = f"take fewer images: not even {several(_least_of(wanted), 'proposal')} fit"
        raise UsageError(f"{text}; {_MORE}, or {f'set --detect.proposals {count}' if count else few}.")
    if count < wanted:
        text += f": the first {count:,} of each image are taken, here and in prediction; {_MORE} for all"
    progress(Progress("note", text))
    return count


@torch.no_grad()
def _measure(model: RCNN, recipe: Recipe, prepared: PreparedTable, task: Task) -> Work:
    """The pace on a few training images, after a look at the same: the first at so many regions prepares for them."""
    table, device = prepared.table, choose_device(recipe.train.device)
    proposals = np.isfinite(prepared.known[KNOWN]).all(2).sum(1)  # [N]
    assert table.boxes is not None
    boxes = np.bincount(table.boxes["sample"], minlength=len(table))
    training, validation = (np.flatnonzero(table.samples["part"] == part) for part in ("train", "validation"))
    timed = training[np.linspace(0, len(training) - 1, min(_TIMED, len(training))).astype(int)]
    batch = next(iter(rows_loader(recipe, prepared, task, timed).batches())).to(device)
    some = batch.targets[KNOWN][:, :_SAMPLE]
    model.eval().to(device)
    with torch_threads(recipe.train.threads):
        model.detect(batch.images, some)
        began = time.monotonic()
        model.detect(batch.images, some)
        seen = time.monotonic()
        if model.file is None:
            model.propose(batch.images)
        found = time.monotonic()
    regions = int(np.minimum(proposals[timed], min(_SAMPLE, model.proposals)).sum())
    return Work(
        proposals[training],
        proposals[validation],
        (int(boxes[training].sum()), int(boxes[validation].sum())),
        model.settings["regions"],
        (seen - began) / max(regions, 1),
        _FIT * len(model.classes),
        (found - seen) / len(timed),
    )


def _words(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
