"""Metrics: arrays in, figures out.

    confusion.py       hits, labels and predictions of each class -> precision, recall, F1, MCC, ...
    probability.py     probabilities -> one score an image: log loss, Brier score, top-k hits
    ranking.py         scores -> areas under curves, and the curves
    calibration.py     confidence against accuracy; the temperature
    abstention.py      from which confidence on few answers are wrong
    open_set.py        who is it, or none of these; are two the same: rates at a threshold
    unknown.py         from which score on an image is of a known class
    pairs.py           whether features tell that two images are of one class
    answers.py         what a classifier answered on N images, checked once, and its resamples
    intervals.py       how each kind of metric gets its interval
    paired.py          two models on the same images: tests and intervals
    classification.py  all of it for one part: `classification_findings`
    proposals.py       how many objects the best of an image's boxes cover, and how well
    detection.py       the same of a detector: `detection_findings`; detection_*.py are its parts

To add a metric, write a function in one of these files (or your own) and a line in METRICS. Any function
(truth int64 [N], probability float64 [N, K], predicted int64 [N]) -> float will do: `Metric(function)` gives it an
interval by drawing images anew 2,000 times. The other kinds in intervals.py are faster and hold better near 1.
A figure that is NaN on a part is undefined there, and left out with the reason.
"""

import math

from tenfold.metrics.calibration import by_confidence, calibration_error
from tenfold.metrics.confusion import (
    balanced_accuracy,
    macro_f1,
    macro_precision,
    macro_recall,
    matthews,
    weighted_f1,
    weighted_precision,
)
from tenfold.metrics.intervals import Metric, area, counted, mean, proportion, top_proportion
from tenfold.metrics.probability import brier_scores, hits, log_losses, top_hits
from tenfold.metrics.ranking import average_precision, roc_auc

METRICS: dict[str, Metric] = {
    "accuracy": Metric(hits, proportion),
    "balanced_accuracy": Metric(balanced_accuracy, counted),
    "top_k_accuracy": Metric(top_hits, top_proportion),
    "macro_precision": Metric(macro_precision, counted),
    "macro_recall": Metric(macro_recall, counted),
    "macro_f1": Metric(macro_f1, counted),
    "weighted_precision": Metric(weighted_precision, counted),
    "weighted_recall": Metric(hits, proportion),  # recall weighted by the number of images is accuracy
    "weighted_f1": Metric(weighted_f1, counted),
    "mcc": Metric(matthews, counted, (-1.0, 1.0), "needs two classes among the labels and among the predictions"),
    "log_loss": Metric(log_losses, mean, (0.0, math.inf)),
    "brier": Metric(brier_scores, mean, (0.0, 2.0)),
    "calibration_error": Metric(calibration_error, by_confidence),
    "roc_auc": Metric(roc_auc, area, needs="needs images of at least two classes"),
    "average_precision": Metric(average_precision, area, needs="needs images of at least two classes"),
}
"""The figures of a classifier, in the order in which they are shown."""

__all__ = ["METRICS", "Metric"]
