"""Areas under curves, and the curves: how well a score ranks the images of a class above all others.

An area comes with each image's influence on it, from which its variance follows without resampling: the jackknife
(Efron 1982, chapters 3 and 6), whose infinitesimal form is for the ROC area the method of DeLong et al. (1988,
https://doi.org/10.2307/2531595).

Shapes: N images, P of them positive, Q = N - P negative, T different scores.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 200


class Ranked(NamedTuple):
    """Images in the order of their score for a class: at least one positive (of the class) and one negative."""

    positive: NDArray[np.bool_]
    """bool [N]."""
    step: NDArray[np.int64]
    """int64 [N]: which of the T different scores each image has, 0 for the highest."""
    hits: NDArray[np.float64]
    """float64 [T]: positives with each score."""
    images: NDArray[np.float64]
    """float64 [T]: all images with each score."""


class Area(NamedTuple):
    """An area and what its interval needs."""

    value: float
    """0 to 1."""
    influence: NDArray[np.float64]
    """float64 [N], sum 0: how the area moves per unit of weight of each image."""
    trials: float
    """The area is in its kind a proportion of so many images: what one more of them can tell."""
    strata: NDArray[Any]
    """[N]: images with equal values are of one kind, whose number says how well its part of the variance is known."""
    rough: bool = False
    """Whether the luckiest of many models is further off than influences say, so that after several looks half of the
    trials are counted, and the interval even then only holds nearly so often as it says."""


def ranked(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Ranked:
    """Sort once for all functions below: bool [N] with both values in it, float64 [N]."""
    different, step = np.unique(-score, return_inverse=True)
    hits, images = np.bincount(step, positive, len(different)), np.bincount(step)
    return Ranked(positive, step.astype(np.int64), hits.astype(np.float64), images.astype(np.float64))


def roc_auc(order: Ranked) -> Area:
    """Probability that a positive image scores higher than a negative one, ties counting half.

    The influences are DeLong's placement values: the share of the negatives that a positive outranks, of the
    positives that outrank a negative. Near 1 the variance found in few images is often 0 where the true one is not;
    there Hanley and McNeil's formula, made symmetric by Newcombe (2006, https://doi.org/10.1002/sim.2324), comes close
    to (1 - area) (P + Q) / (4 P Q), which is the variance of a proportion of 4 P Q / (P + Q) images.
    """
    misses = order.images - order.hits
    positives, negatives = order.hits.sum(), misses.sum()
    outranked = (negatives - np.cumsum(misses) + misses / 2) / negatives
    outranking = (np.cumsum(order.hits) - order.hits / 2) / positives
    value = float((order.hits * outranked).sum() / positives)
    influence = np.where(
        order.positive, (outranked[order.step] - value) / positives, (outranking[order.step] - value) / negatives
    )
    return Area(value, influence, float(4 * positives * negatives / (positives + negatives)), order.positive)


def average_precision(order: Ranked) -> Area:
    """Mean over the positive images of the precision among all that score at least as high (no interpolation).

    A positive has precision A / B (A: positives that score at least as high, B: all such images). The influences say
    by how much the area falls when an image is left out (the jackknife): derivatives find too little variance where a
    few images at the top decide. A single positive cannot be left out and has no influence. At most two trials a
    positive are counted, so many as the ROC area has with equally many negatives; Boyd, Eng and Page, "Area under the
    precision-recall curve" (ECML PKDD 2013), count one, which near 1 is too wide by far.
    """
    hits, true, seen = order.hits, np.cumsum(order.hits), np.cumsum(order.images)
    count, positives = seen[-1], true[-1]
    terms = hits * true / seen
    value = float(terms.sum() / positives)
    above = np.cumsum(terms) - terms
    fewer = np.maximum(seen - 1, 1)
    # What is left when one image of a step is left out: of the steps above it all, of its own and those below less.
    without_negative = (above + _from_the_end(hits * true / fewer)) / positives
    kept = hits * (true - 1) / fewer
    own = (hits - 1) * (true - 1) / fewer
    below = _from_the_end(kept) - kept
    without_positive = (above + own + below) / (positives - 1) if positives > 1 else np.full(len(hits), value)
    left = np.where(order.positive, without_positive[order.step], without_negative[order.step])
    influence = (count - 1) / count * (left.mean() - left)
    trials = 2 * positives * min(1.0, 2 * (count - positives) / count)
    return Area(value, influence, float(trials), order.positive, rough=True)


def roc_curve(order: Ranked) -> dict[str, list[float]]:
    """{"fpr", "tpr"} from (0, 0) to (1, 1): at most MOST_POINTS points."""
    true = np.append(0.0, np.cumsum(order.hits))
    false = np.append(0.0, np.cumsum(order.images - order.hits))
    # Points between two equal steps lie on the line between their neighbors.
    corner = np.concatenate(([True], (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0), [True]))
    return {"fpr": _thinned(false[corner] / false[-1]), "tpr": _thinned(true[corner] / true[-1])}


def precision_recall_curve(order: Ranked) -> dict[str, list[float]]:
    """{"recall", "precision"} from recall 0 (precision 1 by convention) to recall 1: at most MOST_POINTS points."""
    true = np.cumsum(order.hits)
    recall = np.append(0.0, true / true[-1])
    return {"recall": _thinned(recall), "precision": _thinned(np.append(1.0, true / np.cumsum(order.images)))}


def _from_the_end(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value and all after it, summed."""
    sums: NDArray[np.float64] = np.cumsum(values[::-1])[::-1]
    return sums


def _thinned(values: NDArray[np.float64]) -> list[float]:
    """At most MOST_POINTS of the values, evenly spread and with both ends, to six digits: plenty for a picture."""
    kept = np.linspace(0, len(values) - 1, min(len(values), MOST_POINTS)).round().astype(np.int64)
    points: list[float] = values[kept].round(6).tolist()
    return points
