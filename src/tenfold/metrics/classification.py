"""Everything that is said about a classifier on one part: figures, and the details behind them.

Shapes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError, unknown
from tenfold.estimate import Estimate, level_of_each, units_of
from tenfold.metrics import METRICS
from tenfold.metrics.abstention import accuracy_by_coverage
from tenfold.metrics.answers import Answers, checked
from tenfold.metrics.calibration import confidences, reliability
from tenfold.metrics.confusion import confusion_matrix
from tenfold.metrics.intervals import Undefined, area_estimate, share
from tenfold.metrics.ranking import Area, Ranked, average_precision, precision_recall_curve, roc_auc, roc_curve


def classification_findings(  # noqa: PLR0913 - all but three have a default that fits most
    truth: NDArray[np.int64],
    probability: NDArray[np.float64],
    classes: Sequence[str],
    groups: NDArray[np.object_] | None = None,
    *,
    level: float = 0.95,
    positive: str | None = None,
    threshold: float | None = None,
    top_k: int | None = None,
    looks: int = 1,
    overlap: float = 1.0,
) -> tuple[dict[str, Estimate], dict[str, Any]]:
    """Figures by name, in the order of METRICS, and the details that a report shows.

    truth        int64 [N], the label's place in `classes`; at least one image
    probability  float64 [N, K], rows that sum to 1
    groups       object [N], equal values are one group, None or NaN an image on its own; None: no groups
    level        of every interval
    positive     two classes only: the class whose areas are shown; the second where nothing is said
    threshold    two classes only: between 0 and 1; `positive` is predicted where its probability is at least that
    top_k        of top-k accuracy; 5 where nothing is said, 2 where there are fewer than 6 classes
    looks        how many models these images have been looked at with, this one among them: the intervals of all of
                 them hold together at `level`, each one at 1 - (1 - level) / looks, and are exact from 2 on
    overlap      what variances are multiplied by, as several models with overlapping training sets answered; 1: one did

    The predicted class is the most probable one, of equally probable ones the first in order; with `positive` or
    `threshold` given it is `positive` where that has at least the threshold (0.5 where only `positive` is given).

    Details: "classes", "confusion" (rows labels, columns predictions), "per_class", "roc", "precision_recall" (each
    class against all others; for two classes of the positive one), "reliability" (see calibration.py), "coverage"
    (abstention.py), "positive", "threshold", and "undefined": the figures that are left out, with the reason. In
    "per_class" what is 0 / 0 is None.
    Raises UsageError for arguments that are not as said here.
    """
    truth, probability = np.asarray(truth, np.int64), np.asarray(probability, np.float64)
    level = level_of_each(level, looks)
    checked(truth, probability, len(classes))
    predicted, place, cut = _decision(probability, classes, positive, threshold)
    if top_k is not None and top_k < 1:
        raise UsageError(f"top_k must be at least 1, not {top_k}.")
    k = top_k or (5 if len(classes) > 5 else 2)
    answers = Answers(truth, probability, predicted, units_of(groups, len(truth), looks > 1, overlap), place, k)
    figures, undefined = _figures(answers, level)
    if top_k is None and len(classes) == 2:
        undefined.pop("top_2_accuracy")  # nobody asked
    roc, precision_recall = _curves(answers, classes)
    details = {
        "classes": list(classes),
        "confusion": confusion_matrix(truth, predicted, len(classes)).tolist(),
        "per_class": [_class_figures(answers, number, name, level) for number, name in enumerate(classes)],
        "roc": roc,
        "precision_recall": precision_recall,
        "reliability": reliability(answers, level),
        "coverage": accuracy_by_coverage(*confidences(answers), answers.units, level),
        "positive": None if place is None else classes[place],
        "threshold": cut,
        "undefined": undefined,
    }
    return figures, details


def _decision(
    probability: NDArray[np.float64], classes: Sequence[str], positive: str | None, threshold: float | None
) -> tuple[NDArray[np.int64], int | None, float | None]:
    """Predicted classes int64 [N], the place of the positive class and the threshold (None but for two classes)."""
    likely: NDArray[np.int64] = np.argmax(probability, axis=1)
    if threshold is not None and not 0 < threshold < 1:
        raise UsageError(f"threshold must lie between 0 and 1, not {threshold:g}.")
    if len(classes) != 2:
        if positive is not None or threshold is not None:
            given = "threshold" if positive is None else "positive"
            raise UsageError(f"{given} is for two classes, and there are {len(classes)}; leave it out.")
        return likely, None, None
    if positive is not None and positive not in classes:
        raise unknown("positive", positive, classes)
    place = 1 if positive is None else list(classes).index(positive)
    cut = 0.5 if threshold is None else threshold
    asked = positive is not None or threshold is not None
    return np.where(probability[:, place] >= cut, place, 1 - place) if asked else likely, place, cut


def _figures(answers: Answers, level: float) -> tuple[dict[str, Estimate], dict[str, str]]:
    """The figures that are defined, and why the others are not."""
    figures: dict[str, Estimate] = {}
    undefined: dict[str, str] = {}
    for line, metric in METRICS.items():
        name = line.replace("top_k", f"top_{answers.top_k}")
        try:
            figures[name] = metric.interval(metric, answers, level)
        except Undefined as reason:
            undefined[name] = str(reason)
    return figures, undefined


def _class_figures(answers: Answers, number: int, name: str, level: float) -> dict[str, Any]:
    """One class against all others: its line of "per_class"."""
    actual, called = answers.truth == number, answers.predicted == number
    order = answers.ranked(number)

    def among(hits: NDArray[np.bool_], images: NDArray[np.bool_]) -> Estimate | None:
        rows = np.flatnonzero(images)
        return share(hits[rows].astype(np.float64), answers.units.take(rows), level) if len(rows) else None

    def under(curve: Callable[[Ranked], Area]) -> Estimate | None:
        return area_estimate(curve(order), answers.units, level) if order else None

    return {
        "class": name,
        "support": int(actual.sum()),
        "tp": int((actual & called).sum()),
        "fp": int((~actual & called).sum()),
        "fn": int((actual & ~called).sum()),
        "tn": int((~actual & ~called).sum()),
        "precision": among(actual, called),
        "recall": among(called, actual),
        "specificity": among(~called, ~actual),
        "f1": _f1(among(actual & called, actual | called)),
        "roc_auc": under(roc_auc),
        "average_precision": under(average_precision),
    }


def _f1(jaccard: Estimate | None) -> Estimate | None:
    """F1 = 2 J / (1 + J) rises with J, the proportion of hits among images of the class or called so; so do its ends.

    J is a plain proportion, so that Wilson's interval holds for F1 too; a bootstrap of few images a class would not.
    """
    if jaccard is None:
        return None
    value, low, high = (2 * end / (1 + end) for end in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value, low, high, jaccard.level, jaccard.n, f"F1 by {jaccard.method}")


def _curves(answers: Answers, classes: Sequence[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """ROC and precision-recall curves of the positive class, or of every class, where they are defined."""
    roc, precision_recall = [], []
    for number in range(len(classes)) if answers.positive is None else (answers.positive,):
        if order := answers.ranked(number):
            roc.append({"class": classes[number], **roc_curve(order)})
            precision_recall.append({"class": classes[number], **precision_recall_curve(order)})
    return roc, precision_recall
