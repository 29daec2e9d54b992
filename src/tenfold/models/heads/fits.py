"""The ways to fit a head to the features of training images, by scikit-learn where it has them.

Every function here takes rows float64 [M, D] (centered, of length 1 or means of such), labels int64 [M], the number of
classes K and strengths, and yields a head for each strength, in order, so that one fit can start where the last ended.

- The strength of a linear head is the weight of the squared coefficients beside the *mean* loss, mean + strength / 2
  times |W|^2, so that it means the same for few and for many images, in a fold and in the whole. In scikit-learn's
  terms C is 1 / (strength M) and ridge's alpha strength M.
- Such a fit does not change where the features are turned, and only the directions that the M rows span count: with
  fewer rows than features it is done in those, which is the same and faster by the ratio.
- A class without a row (one that a fold lacks) gets a score that no training row has lower.

Shapes: N images, V views, D features, K classes, M training rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.errors import UsageError, unknown
from tenfold.models.heads.descent import descend
from tenfold.models.heads.head import Head, LinearHead, NeighborHead, unit_rows

Rows = NDArray[np.float64]
Labels = NDArray[np.int64]
Path = Callable[[Rows, Labels, int, Sequence[float]], Iterator[Head]]

_PENALTIES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
_WEAK = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)
"""From strong to weak: each fit starts where the one before ended. Logistic regression, whose scores must be as large
as logarithms of probabilities, needs long coefficients for features of length 1."""
_STEPS = 10_000
_ENDED = 1e-5
"""Largest component of the gradient at which logistic regression has ended. Scikit-learn's own 1e-4 is more than the
whole gradient where rows have length 1 and the penalty is weak: such a fit would stay where the stronger one ended."""
_LARGE = 2**24
"""Values of features from which on a fit's products of matrices are worth more than one thread."""


@dataclass(frozen=True)
class Kind:
    """A way to fit a head."""

    words: str
    path: Path
    strengths: tuple[float, ...] = (1.0,)
    """Among which to choose: weights of the penalty, or numbers of neighbors; one where there is nothing to choose."""
    is_calibrated: bool = True
    """Scores are logarithms of probabilities as they are; else a sharpness has to be fitted: see sharpness.py."""
    is_linear: bool = True

    @property
    def is_penalized(self) -> bool:
        """Whether the strength is the weight of a penalty."""
        return self.is_linear and len(self.strengths) > 1


def fit_head(
    name: str,
    features: NDArray[np.float32],
    labels: Labels,
    classes: int,
    strength: float,
    *,
    sharpness: float = 1.0,
    spread: bool = False,
) -> Head:
    """Fit a head of HEADS to features float32 [N, V, D] of labels int64 [N], 0 to `classes` - 1.

    `spread`: each view is a training row of its own (not for neighbors), else their mean is one. Raises UsageError for
    an unknown name, an impossible strength or sharpness, and without an image.
    """
    if not (strength > 0 and sharpness > 0):
        given = f"{strength:g} and {sharpness:g}"
        raise UsageError(f"transfer.strength and transfer.sharpness must be above 0 to fit a head, not {given}.")
    with few_threads(features):
        head = next(fit_path(name, features, labels, classes, (strength,), spread=spread))
    head.sharpness.fill_(sharpness)
    return head


def few_threads(features: NDArray[np.float32]) -> AbstractContextManager[object]:
    """Within it the linear algebra of fits has one thread, unless there is much to be done.

    A fit makes thousands of small products, and threads wait for each other at every one: with 50 images, beside
    another program on 2 cores, logistic regression took 8 to 13 s with two threads and 0.3 s with one.
    """
    from threadpoolctl import threadpool_limits

    return nullcontext() if features.size >= _LARGE else threadpool_limits(1)


def fit_path(
    name: str,
    features: NDArray[np.float32],
    labels: Labels,
    classes: int,
    strengths: Sequence[float],
    *,
    spread: bool = False,
) -> Iterator[Head]:
    """A head for each strength, fitted as `fit_head` says, each of sharpness 1."""
    if features.ndim != 3 or not len(labels) or len(labels) != len(features):
        raise UsageError(f"features must be [N, V, D], with a label each, not {features.shape} for {len(labels)}.")
    kind = find_head(name)
    exact = torch.from_numpy(features.astype(np.float64))
    center = exact.mean((0, 1))
    views = unit_rows(exact, center)
    if spread and kind.is_linear:
        rows, labels = views.flatten(0, 1), np.repeat(labels, views.shape[1])
    else:
        rows = views.mean(1)
    # Of one class alone there is nothing to learn, which scikit-learn refuses to do.
    path = majority_path if kind.is_penalized and len(np.unique(labels)) == 1 else kind.path
    for head in path(rows.numpy(), labels, classes, strengths):
        head.center.copy_(center)
        yield head.requires_grad_(False)


def make_head(name: str, width: int, classes: int, strength: float) -> Head:
    """A head of that kind that is not fitted yet: what stored tensors are loaded into."""
    if find_head(name).is_linear:
        return LinearHead(width, classes)
    return NeighborHead(width, classes, max(round(strength), 1))


def majority_path(rows: Rows, labels: Labels, classes: int, strengths: Sequence[float]) -> Iterator[Head]:
    """The frequencies of the classes, by Laplace's rule, whatever the image."""
    counts = np.bincount(labels, minlength=classes)
    bias = np.log((counts + 1) / (len(labels) + classes))
    for _ in strengths:
        yield _linear(np.zeros((classes, rows.shape[1])), bias)


def mean_path(rows: Rows, labels: Labels, classes: int, strengths: Sequence[float]) -> Iterator[Head]:
    """The nearest mean of a class: minus half the squared distance, but for what all classes share, which is linear."""
    present = np.unique(labels)
    means = np.stack([rows[labels == place].mean(0) for place in present])
    for _ in strengths:
        yield _linear(*_all_classes(means, -(means**2).sum(1) / 2, present, classes, rows))


def neighbor_path(rows: Rows, labels: Labels, classes: int, strengths: Sequence[float]) -> Iterator[Head]:
    """The nearest neighbors, as many as the strength says."""
    for strength in strengths:
        head = NeighborHead(rows.shape[1], classes, max(round(strength), 1))
        head.rows, head.labels = _tensor(rows), torch.from_numpy(labels.copy())
        yield head


def logistic_path(rows: Rows, labels: Labels, classes: int, strengths: Sequence[float]) -> Iterator[Head]:
    """Multinomial logistic regression with squared coefficients penalized, the intercept not."""
    from sklearn.linear_model import LogisticRegression

    turn, turned = _spanned(rows)
    model = LogisticRegression(tol=_ENDED, warm_start=True, max_iter=_STEPS)
    for strength in strengths:
        model.set_params(C=1 / (strength * len(rows))).fit(turned, labels)
        yield _linear(*_all_classes(*_each(model.coef_ @ turn, model.intercept_), model.classes_, classes, rows))


def svm_path(rows: Rows, labels: Labels, classes: int, strengths: Sequence[float]) -> Iterator[Head]:
    """Linear support vector machines, each class against the rest, squared hinge loss, intercept penalized."""
    from sklearn.svm import LinearSVC

    turn, turned = _spanned(rows)
    for strength in strengths:
        model = LinearSVC(C=1 / (strength * len(rows)), dual=False, tol=1e-5, max_iter=_STEPS).fit(turned, labels)
        yield _linear(*_all_classes(*_each(model.coef_ @ turn, model.intercept_), model.classes_, classes, rows))


def ridge_path(rows: Rows, labels: Labels, classes: int, strengths: Sequence[float]) -> Iterator[Head]:
    """Least squares to 1 for the class and -1 for the others, squared coefficients penalized, the intercept not."""
    from sklearn.linear_model import RidgeClassifier

    turn, turned = _spanned(rows)
    for strength in strengths:
        model = RidgeClassifier(alpha=strength * len(rows)).fit(turned, labels)
        coefficients = np.atleast_2d(model.coef_) @ turn
        yield _linear(*_all_classes(*_each(coefficients, model.intercept_), model.classes_, classes, rows))


def softmax_path(rows: Rows, labels: Labels, classes: int, strengths: Sequence[float]) -> Iterator[Head]:
    """What `logistic_path` fits, by gradient steps over all rows.

    Of two classes scikit-learn penalizes the one row of their difference, which is twice as strong as its two halves.
    """
    present, places = np.unique(labels, return_inverse=True)
    strengths = [strength * (2 if len(present) == 2 else 1) for strength in strengths]
    for weight, bias in descend(_tensor(rows, torch.float64), torch.from_numpy(places), len(present), strengths):
        yield _linear(*_all_classes(weight.numpy(), bias.numpy(), present, classes, rows))


HEADS: dict[str, Kind] = {
    "majority": Kind("majority class", majority_path),
    "mean": Kind("nearest class mean", mean_path, is_calibrated=False),
    "neighbors": Kind("nearest neighbors", neighbor_path, (1.0, 3.0, 5.0, 10.0, 20.0), is_linear=False),
    "svm": Kind("linear SVM", svm_path, _PENALTIES, is_calibrated=False),
    "logistic": Kind("logistic regression", logistic_path, _WEAK),
    "ridge": Kind("ridge", ridge_path, _PENALTIES, is_calibrated=False),
    "softmax": Kind("softmax by gradient", softmax_path, _WEAK),
}
"""The heads by name, the cheapest first."""


def find_head(name: str) -> Kind:
    """The kind of that name; a UsageError names the nearest one."""
    if name not in HEADS:
        raise unknown("transfer.head", name, HEADS)
    return HEADS[name]


def _spanned(rows: Rows) -> tuple[Rows, Rows]:
    """A basis [R, D] of the space that the rows span, and the rows in it [M, R]; R is at most M and D."""
    if len(rows) >= rows.shape[1]:
        return np.eye(rows.shape[1]), rows
    basis, turned = np.linalg.qr(rows.T)
    return basis.T, turned.T


def _each(weight: Rows, bias: Rows) -> tuple[Rows, Rows]:
    """One row a class: of two classes scikit-learn gives one row, the second class's lead over the first."""
    if len(weight) > 1:
        return weight, bias
    return np.concatenate([-weight, weight]) / 2, np.concatenate([-np.ravel(bias), np.ravel(bias)]) / 2


def _all_classes(weight: Rows, bias: Rows, present: Labels, classes: int, rows: Rows) -> tuple[Rows, Rows]:
    """Rows for all classes [K, D] and [K] from those of the classes that were there."""
    if len(present) == classes:
        return weight, bias
    every = np.zeros((classes, weight.shape[1]))
    least = np.full(classes, (rows @ weight.T + bias).min())
    every[present], least[present] = weight, bias
    return every, least


def _linear(weight: Rows, bias: Rows) -> LinearHead:
    head = LinearHead(weight.shape[1], len(weight))
    with torch.no_grad():
        head.weight.copy_(_tensor(weight))
        head.bias.copy_(_tensor(bias))
    return head


def _tensor(values: Rows, kind: torch.dtype = torch.float32) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(kind)
