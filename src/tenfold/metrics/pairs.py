"""Pairs: how well features tell whether two images are of one class. FNMR at FMR, as tenfold.metrics.open_set has them.

Every two images are compared. The threshold is the one that keeps a false match rate on these very comparisons, as
benchmarks do (`threshold_at`), and intervals are those of the threshold as it stands. Comparisons of one class are
alike, so that classes are drawn as wholes: the "subsets bootstrap" of Bolle, Ratha and Pankanti ("Error analysis of
pattern recognition systems: the subsets bootstrap", 2004, https://doi.org/10.1016/j.cviu.2003.08.002), here in closed
form and for comparisons of two classes by the jackknife of tenfold.metrics.open_set.

As the comparisons of the same two classes are alike, K classes support a false match rate of 1 / (pairs of them + 1)
at best, the rule of `fit_threshold`: 1 % from 15 classes on, 0.1 % from 46 on.

Shapes: N images, P comparisons, D features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.estimate import CLASS
from tenfold.metrics.detection_matching import ranks
from tenfold.metrics.open_set import Comparisons, compared, threshold_at, verification_figures

RATES = (0.01, 0.001)
"""False match rates at which false non-matches are counted."""
MOST_COMPARED = 2000
"""Images that are compared two by two: 1,999,000 comparisons."""


def supported_by(classes: int) -> float:
    """The lowest false match rate that so many classes support, two or more, where all are compared with all."""
    return 1 / (math.comb(classes, 2) + 1)


def classes_needed(rate: float) -> int:
    """How many classes support a false match rate, above 0 and below 1."""
    return next(classes for classes in count(2) if supported_by(classes) <= rate)


def compared_rows(labels: NDArray[np.int64], hashes: Sequence[str], most: int = MOST_COMPARED) -> NDArray[np.int64]:
    """Which of N images are compared, int64 [M] in order: two of each class, two more of each, and so on up to `most`.

    labels  int64 [N], the class of each image
    hashes  content hashes, in whose order classes and images are taken, as names may say when they were made
    """
    order = np.argsort(np.array(hashes), kind="stable")
    _, first, place = np.unique(labels[order], return_index=True, return_inverse=True)
    before = ranks(place)  # how many of its class come before each
    return np.sort(order[np.lexsort((before, first[place], before // 2))[:most]])


def compare_features(
    vectors: NDArray[np.floating[Any]], labels: NDArray[np.int64], alike: Sequence[str]
) -> Comparisons:
    """Every two of N images by the cosine of their features, but those that are alike anyway.

    vectors  float [N, D], of length 1
    labels   int64 [N], the class of each image
    alike    equal for images of one group, and for copies: their comparisons would be too easy
    """
    comparisons = compared(vectors @ vectors.T, labels)
    group = np.unique(np.array(alike), return_inverse=True)[1]
    one, other = np.triu_indices(len(labels), 1)
    return comparisons.take(group[one] != group[other])


def pair_details(comparisons: Comparisons, level: float = 0.95, exact: bool = False) -> dict[str, Any]:
    """{"classes", "genuine", "impostor": how many comparisons, "supported", "rows"}.

    A row is {"rate", "threshold", "fnmr", "fmr"} for each of RATES that so many classes support, or else for the
    lowest one that they do, "supported". Estimates are at `level`, `exact` as in `units_of`. Three classes or more must
    have genuine comparisons, as intervals of fewer would be those of comparisons that stand alone.
    """
    impostors = comparisons.impostors
    supported = 1 / (int(impostors.pairs().max()) + 2)
    rows = []
    for rate in [rate for rate in RATES if rate >= supported] or [supported]:
        threshold = threshold_at(impostors.score, rate)
        rows.append(
            {"rate": rate, "threshold": threshold, **verification_figures(comparisons, threshold, level, exact, CLASS)}
        )
    return {
        "classes": len(np.unique([comparisons.first, comparisons.second])),
        "genuine": len(comparisons.score) - len(impostors.score),
        "impostor": len(impostors.score),
        "supported": supported,
        "rows": rows,
    }
