"""Beyond the classes of a run: images of others beside one of its parts, and whether two images are of one class.

Shapes: N images, D features.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from tenfold.environment import exact_on
from tenfold.errors import UsageError
from tenfold.estimate import CLASS, COUNTED_BY, GROUP, Noun
from tenfold.images.content import hashed
from tenfold.images.prepared import PreparedTable
from tenfold.looks import image_hashes
from tenfold.metrics.open_set import Comparisons
from tenfold.metrics.pairs import compare_features, compared_rows
from tenfold.metrics.unknown import Answered, known_score
from tenfold.models.backbones.taught import taught_by
from tenfold.models.finetuned import FineTunedNetwork
from tenfold.models.frozen import FrozenClassifier
from tenfold.models.heads import Head, unit_rows
from tenfold.models.predictor import AT_ONCE
from tenfold.run import Run
from tenfold.split.ties import texts
from tenfold.words import count, listed

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from tenfold.images.table import Table

_SOME_UNLABELED = Noun("class or image without a label", "classes and images without a label")


def check_beyond(run: Run, *, unknown: bool, pairs: bool) -> None:
    """Raise UsageError where a run is of a task or a model that has no answer to what is asked for."""
    if unknown and run.task.name != "classification":
        raise UsageError(
            f"unknown is for classifiers, as it asks whether an image gets a class, and {run.path} is of the task "
            f"{run.task.name}; leave it out."
        )
    if pairs:
        _pretrained(run)


class Strangers(NamedTuple):
    """Images of none of a run's classes."""

    table: Table
    left_out: tuple[str, ...]
    """What is not one of them, a sentence each."""
    unreadable: tuple[str, ...]
    """Why images could not be read, a sentence each."""


def find_strangers(run: Run, table: Table) -> Strangers:
    """The images of a table, labelled or not, that a run's classifier does not know.

    Left out are those of a class of the run, whatever its capitals, and those that the run has among its own. Raises
    UsageError where none is left, DataError where none can be read.
    """
    own = {name.casefold() for name in run.classes}
    labels = texts(table, "label")
    known = np.array([label is not None and label.casefold() in own for label in labels], np.bool_)
    kept = hashed(replace(table.take(np.flatnonzero(~known)), notes=()))
    have = {*image_hashes(run.table), *taught_by(run.path).every}
    digests = zip(texts(kept, "hash"), texts(kept, "origin"), strict=True)
    seen = np.array([not have.isdisjoint(pair) for pair in digests], np.bool_)
    left_out = []
    if known.any():
        counts = Counter(label for label, is_known in zip(labels, known, strict=True) if is_known)
        names = listed([f"{name} ({count(number, 'image')})" for name, number in counts.items()])
        left_out.append(f"Left out of the unknown images, as {run.path} knows their class: {names}.")
    if seen.any():
        names = listed(kept.take(np.flatnonzero(seen)).samples["source"].tolist())
        images = count(int(seen.sum()), "image")
        left_out.append(f"Left out of the unknown images, as {run.path} has them among its own: {images} ({names}).")
    if seen.all():
        raise UsageError(
            f"unknown must have images of none of the classes of {run.path}, and none is left of these. "
            f"{' '.join(left_out)}".rstrip()
        )
    notes = tuple(note.removeprefix("Left out").replace(": ", " ", 1).lstrip() for note in kept.notes)
    return Strangers(kept.take(np.flatnonzero(~seen)), tuple(left_out), notes)


def class_answers(predictions: pd.DataFrame, told: pd.DataFrame, table: Table, classes: tuple[str, ...]) -> Answered:
    """What a classifier of these classes answered to images of a table, a row of `predictions` each.

    The score is by the logits of `told`, a row for the same image each: of the network that tells which are of no class
    (`Run.teller`), which may be another. Intervals are by class, as the labels say it, where an image without one
    stands alone; where there are fewer than COUNTED_BY labels they are by group, which copies are too.
    """
    seen = table.take(predictions["sample"].to_numpy())
    label = np.array(texts(seen, "label"), object)
    own, scored = (np.array(frame["logits"].tolist(), np.float64) for frame in (predictions, told))
    named = np.array(classes, object)[own.argmax(1)]
    score, right, names = known_score(scored), named == label, set(label)
    if len(names - {None}) < COUNTED_BY:
        return Answered(score, right, np.array(_alike(seen), object), GROUP)
    return Answered(score, right, label, _SOME_UNLABELED if None in names else CLASS)


def compare_part(run: Run, prepared: PreparedTable) -> Comparisons:
    """Every two labelled images of a part, or of some of them where there are many, by the run's features.

    Raises UsageError for a network that was not pretrained, and where fewer than COUNTED_BY classes have a pair.
    """
    labelled = np.flatnonzero(prepared.table.labels() >= 0)
    hashes = prepared.table.samples["hash"].to_numpy(object)[labelled].tolist()
    rows = labelled[compared_rows(prepared.table.labels()[labelled], hashes)]
    table = prepared.table.take(rows)
    labels, alike = table.labels(), _alike(table)
    apart = Counter(label for label, _ in set(zip(labels.tolist(), alike, strict=True)))
    if (paired := sum(count > 1 for count in apart.values())) < COUNTED_BY:
        raise UsageError(
            f"pairs needs {COUNTED_BY} classes with two images that are of no common group and no copies, as intervals "
            f"are by class, and {run.path} has {paired} in this part; leave it out."
        )
    return compare_features(part_features(run, prepared, rows), labels, alike)


def part_features(run: Run, prepared: PreparedTable, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The features of some of the images, as the run's head sees them, centered where it does that: float32 [N, D], of
    length 1.
    """
    model = _pretrained(run)
    center = model.head.center if isinstance(model.head, Head) else torch.zeros(1, device=run.device)
    found = []
    for start in range(0, len(rows), AT_ONCE):
        canvases = [prepared.canvases.image(row) for row in rows[start : start + AT_ONCE].tolist()]
        with torch.no_grad(), exact_on(run.device):
            features = model.features(run.predictor.inputs(canvases).images)
        views = unit_rows(features if features.ndim == 3 else features[:, None], center)  # [B, V, D]
        found.append(F.normalize(views.mean(1), dim=1).float().cpu().numpy())
    return np.concatenate(found)


def _pretrained(run: Run) -> FrozenClassifier | FineTunedNetwork:
    if not isinstance(run.model, FrozenClassifier | FineTunedNetwork):
        raise UsageError(
            f"pairs compares the features of a pretrained network, and {run.path} is of the model "
            f"{run.recipe.model.name}; train with --model frozen or finetuned."
        )
    return run.model


def _alike(table: Table) -> list[str]:
    """The group of each image, or its hash: equal for those that belong together."""
    pairs = zip(texts(table, "group"), texts(table, "hash"), strict=True)
    return [f"hash {digest}" if group is None else f"group {group}" for group, digest in pairs]
