"""Labels: which of them are likely wrong, by confident learning on predictions for images that were not trained on.

Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels", JAIR 70 (2021),
https://doi.org/10.1613/jair.1.12125. The steps, with their sections:

1. A class's threshold is the mean probability that images labelled so are given for it: what counts as confident is
   asked of each class by itself (3.1).
2. The confident joint counts images labelled i that are confidently of class j (3.1); scaled to the number of images
   of each label it says how many labels i are wrong and ought to be j.
3. As many are pruned (3.2). The paper does so within each class or pair of classes; here it is the images that are
   given the least probability for their label, of all classes together. With a handful of wrong labels a class, its
   number is a guess and their sum is not: of flipped labels of the digits, this found more at the same precision than
   any of cleanlab's five ways (benchmarks/label_errors.py).

One thing is added. A weak network disagrees with most of what it sees, and confident learning then calls a third of
all labels wrong though none is. So the images are taken from the surest prediction down, and only while the network
has agreed with at least SURE of the labels. On the built-in digits with made-up noise this halves false alarms of a
network that is right on 70 % of the images, and changes nothing for one that is right on 95 %.

Shapes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tenfold.check.findings import Evidence, Finding, share
from tenfold.errors import DataError, UsageError
from tenfold.split.ties import texts
from tenfold.words import are, count

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.run import Run

SURE = 0.85
"""The share of labels that a network must agree with for its doubt to say something about a label."""


def doubtful_labels(truth: NDArray[np.int64], probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """The rows of labels that are likely wrong, the surest first: int64 [M].

    `truth` int64 [N] from 0 to K - 1, `probability` float64 [N, K], of a network that was not trained on these images.
    Raises UsageError for other shapes.
    """
    if probability.ndim != 2 or len(truth) != len(probability):
        raise UsageError(f"probability must be [{len(truth)}, K] like the labels, not {list(probability.shape)}.")
    if not len(truth):
        return np.zeros(0, np.int64)
    own = probability[np.arange(len(truth)), truth]
    rivals = probability.copy()
    rivals[np.arange(len(truth)), truth] = -1
    number = round(float(noise_counts(truth, probability).sum()))
    rows = np.argsort(own, kind="stable")[:number]
    rows = rows[((rivals.max(1) > own) & trusted(truth, probability))[rows]]
    order: NDArray[np.int64] = rows[np.argsort((own - rivals.max(1))[rows], kind="stable")]
    return order


def noise_counts(truth: NDArray[np.int64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many images labelled i ought to be j, estimated: float64 [K, K], zeros on the diagonal."""
    classes = probability.shape[1]
    labelled = np.bincount(truth, minlength=classes)
    sums = np.bincount(truth, probability[np.arange(len(truth)), truth], classes)
    threshold = np.where(labelled > 0, sums / np.maximum(labelled, 1), np.inf)
    confident = probability >= threshold
    best = np.where(confident, probability, -1).argmax(1)
    joint = np.zeros((classes, classes))
    np.add.at(joint, (truth[confident.any(1)], best[confident.any(1)]), 1)
    joint *= (labelled / np.maximum(joint.sum(1), 1))[:, None]
    np.fill_diagonal(joint, 0)
    return joint


def trusted(truth: NDArray[np.int64], probability: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The images whose prediction is at least as sure as the last one down to which SURE of the labels agree: [N]."""
    surest = probability.max(1)
    kept: NDArray[np.bool_] = surest >= sure_from(surest, probability.argmax(1) == truth)
    return kept


def sure_from(surest: NDArray[np.float64], agrees: NDArray[np.bool_]) -> float:
    """How sure the last of N predictions is down to which SURE of them agree with the labels; infinite for none."""
    order = np.argsort(-surest, kind="stable")
    agreed = np.cumsum(agrees[order]) / np.arange(1, len(order) + 1)
    last = np.append(np.diff(surest[order]) != 0, True)[: len(order)]  # of those that are as sure, which go together
    enough = np.flatnonzero((agreed >= SURE) & last)
    return float(surest[order[enough[-1]]]) if len(enough) else np.inf


def held_out_predictions(runs: Sequence[Run]) -> dict[str, NDArray[np.float64]]:
    """What the runs say of their validation images: content hash -> probabilities float64 [K].

    Several runs are the folds of one data set; an image that more than one of them tested gets the mean. A run that
    has not been evaluated yet is, on its validation part. Raises DataError where the runs have different classes.
    """
    from tenfold.evaluate import evaluate_run

    refuse_mixed(runs)
    said: dict[str, list[NDArray[np.float64]]] = {}
    for run in runs:
        if "validation" not in run.evaluations:
            evaluate_run(run, "validation")
        frame = run.predictions("validation")
        for digest, values in zip(frame["hash"], frame["probability"], strict=True):
            said.setdefault(digest, []).append(np.asarray(values, np.float64))
    return {digest: np.mean(values, axis=0) for digest, values in said.items()}


def refuse_mixed(runs: Sequence[Run]) -> None:
    """Raise DataError where runs are not of one data set, by their task and their classes."""
    if len({(run.task.name, run.classes) for run in runs}) != 1:
        raise DataError("The runs for label errors must have the same classes; give the folds of one data set.")


def refuse_without_boxes(table: Table, runs: Sequence[Run]) -> None:
    """Raise UsageError where a run is a detector and the table has no boxes that it could tell of."""
    for run in runs:
        if run.task.name == "detection" and table.boxes is None:
            raise UsageError(
                f"{run.path} is a detector, which tells of boxes, and these images are not annotated with any; give "
                "the data that it was trained on, or leave out --run."
            )


def label_finding(table: Table, predictions: Mapping[str, NDArray[np.float64]], classes: tuple[str, ...]) -> Finding:
    """Labels of the table that are likely wrong, by what `held_out_predictions` gave; `classes` are those of the runs.

    The labels are those of the table as it is now: what was put right since training is not named again. Where none is
    doubted, a note says how many could be judged at all: silence is no proof.
    """
    place = {name: number for number, name in enumerate(classes)}
    names, hashes = texts(table, "label"), texts(table, "hash")
    rows = [row for row, name in enumerate(names) if name in place and hashes[row] in predictions]
    probability = np.array([predictions[hashes[row] or ""] for row in rows], np.float64).reshape(-1, len(classes))
    truth = np.array([place[names[row] or ""] for row in rows], np.int64)
    doubtful = doubtful_labels(truth, probability)
    best = probability.argmax(1)
    judged, agreed = int(trusted(truth, probability).sum()), share(float((best == truth).sum()), len(rows))
    if not len(doubtful):
        return _judged(judged, len(rows), len(table), agreed)
    words = (
        f"labelled {classes[truth[at]]} ({probability[at, truth[at]]:.0%}), looks like {classes[best[at]]} "
        f"({probability[at, best[at]]:.0%})"
        for at in doubtful
    )
    number = len(doubtful)
    return Finding(
        kind="label",
        needs_decision=True,
        images=number,
        evidence=f"{count(number, 'label')} of {len(rows):,} that were predicted without being trained on "
        f"{are(number)} likely wrong, the surest first; the network agrees with {agreed} of all, and is sure enough to "
        f"judge {judged:,}.",
        price=f"If all are wrong, accuracy on these images is measured up to {share(number, len(rows))} too low.",
        remedy="Look at each; put the label right, or leave the image out (--fix).",
        sets=tuple(Evidence((rows[at],), text) for at, text in zip(doubtful, words, strict=True)),
    )


def _judged(judged: int, predicted: int, images: int, agreed: str) -> Finding:
    """The note that no label is doubted: of `images` so many were predicted, and of these so many could be judged."""
    known = f"a network that was not trained on them agrees with {agreed} of the {count(predicted, 'label')} it knows"
    if judged:
        return Finding(
            kind="judged",
            needs_decision=False,
            images=judged,
            evidence=f"None of {count(judged, 'label')} is doubted: {known}.",
            price=f"{images - judged:,} others were not judged, and a mistake that the network makes too stays unseen.",
            remedy="Nothing to do; all folds together (tenfold train DATA --folds 5) judge more than one run.",
        )
    weak = f"{known}, and its doubt says something only while it agrees with {100 * SURE:.0f} %"
    return Finding(
        kind="judged",
        needs_decision=False,
        images=images,
        evidence=f"No label could be judged: {weak if predicted else 'the run predicted no image that has one'}.",
        price="Labels that are wrong stay unseen.",
        remedy="Train a better network, or on more images, and check with that run.",
    )
