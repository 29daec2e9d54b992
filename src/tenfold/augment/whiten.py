"""ZCA whitening: the linear map, nearest to the identity, after which all features are uncorrelated with variance 1.

With mean m and covariance C = V diag(l) V^T of the training images as rows of D features, an image x becomes
V diag(g) V^T (x - m) (Bell and Sejnowski 1997, "The independent components of natural scenes are edge filters",
section 3; Krizhevsky 2009, "Learning multiple layers of features from tiny images", appendix A). Two formulas for
the gains g:

    covariance    g = 1 / sqrt(l + epsilon), m the mean of each feature; directions in which no image varies get
                  1 / sqrt(epsilon)
    keras         g = sqrt(N) / (s + epsilon), s = sqrt(N l) the singular values of the centered images, m the mean
                  of each channel only, so that C is the second moment about it. With N < D, Keras' thin SVD leaves
                  out what is orthogonal to all images: gain 0. With N >= D and directions in which no image varies,
                  Keras divides by rounding noise; here such directions (l <= D 2^-52 max l) get gain 0 too.

With at least as many images as features, C is streamed. With fewer, the images' Gram matrix Y Y^T has the same
nonzero eigenvalues, and V = Y^T U diag(N l)^-1/2 with U its eigenvectors; the map is then the identity times the gain
of the directions without variance, plus one of low rank, and no D x D matrix is made.

Shapes: N images, H x W pixels, C channels; D = H W C features; R directions with a gain of their own, R <= min(N, D).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.standardize import BLOCK, Images, image_blocks, other_axes
from tenfold.errors import DataError, UsageError, unknown
from tenfold.files import write_file

Formula = Literal["covariance", "keras"]
FORMULAS: tuple[Formula, ...] = ("covariance", "keras")

_SQUARES = 44  # bytes an element of C: the sum, LAPACK's copy, work space and vectors (float64), and float32 results
_MIDDLE = 128  # of the range of a byte


@dataclass(frozen=True)
class Whitening:
    """A fitted whitening; `apply` and `invert` take one image or a batch, of any real type, and give float32."""

    mean: NDArray[np.float32]
    """[H, W, C]."""
    vectors: NDArray[np.float32]
    """[D, R], orthonormal columns."""
    gains: NDArray[np.float64]
    """[R]: the factor along each of the vectors."""
    rest: float
    """The factor along everything that is orthogonal to the vectors."""
    epsilon: float

    @cached_property
    def matrix(self) -> NDArray[np.float32]:
        """[D, D], symmetric: a centered image as a row, times it, is whitened. Made when first asked for."""
        return _matrix(self.vectors, self.gains, self.rest)

    @cached_property
    def inverse(self) -> NDArray[np.float32]:
        """[D, D]: the inverse of `matrix` where it has one; directions of gain 0 stay 0."""
        return _matrix(self.vectors, _reciprocal(self.gains), float(_reciprocal(np.array(self.rest))))

    def apply(self, images: Images) -> NDArray[np.float32]:
        """Whiten [N, H, W, C] or one image [H, W, C]: float32 of that shape. Raises UsageError for other shapes."""
        flat = self._rows(images, "apply")
        whitened = np.empty(flat.shape, np.float32)
        for rows in _slices(len(flat)):
            centered = flat[rows].astype(np.float32)
            centered -= self.mean.reshape(-1)
            if self._dense:
                np.matmul(centered, self.matrix, out=whitened[rows])
            else:
                whitened[rows] = self._low_rank(centered, self.gains, self.rest)
        return whitened.reshape(images.shape)

    def invert(self, images: Images) -> NDArray[np.float32]:
        """The images that were whitened into `images`, of the same shape: float32. Raises UsageError as `apply`.

        What lay along directions of gain 0 is lost; images that the whitening was fitted on have nothing there.
        """
        flat = self._rows(images, "invert")
        restored = np.empty(flat.shape, np.float32)
        rest = float(_reciprocal(np.array(self.rest)))
        for rows in _slices(len(flat)):
            values = flat[rows].astype(np.float32)
            if self._dense:
                np.matmul(values, self.inverse, out=restored[rows])
            else:
                restored[rows] = self._low_rank(values, _reciprocal(self.gains), rest)
            restored[rows] += self.mean.reshape(-1)
        return restored.reshape(images.shape)

    def save(self, path: str | Path) -> None:
        """Write the fields as plain arrays into the NumPy archive `path`, which ends in .npz."""
        arrays = {field.name: np.asarray(getattr(self, field.name)) for field in fields(self)}

        def write(aside: Path) -> None:
            with aside.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)

        write_file(path, write)

    @classmethod
    def load(cls, path: str | Path) -> Whitening:
        """Read what `save` wrote. Raises DataError where `path` is no such archive."""
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {field.name: archive[field.name] for field in fields(cls)}
            mean, vectors, gains = arrays["mean"], arrays["vectors"], arrays["gains"]
            if mean.ndim != 3 or vectors.shape != (mean.size, len(gains)):
                raise ValueError("shapes do not fit together")
            return cls(mean, vectors, gains, float(arrays["rest"]), float(arrays["epsilon"]))
        except (OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path} cannot be read as a whitening ({error}); fit and save it again.") from error

    @property
    def _dense(self) -> bool:
        """Whether one product with a D x D matrix is less work than two with the vectors."""
        return 2 * len(self.gains) > len(self.vectors)

    def _low_rank(self, rows: NDArray[np.float32], gains: NDArray[np.float64], rest: float) -> NDArray[np.float32]:
        along: NDArray[np.float32] = rows @ self.vectors  # [N, R]
        along *= (gains - rest).astype(np.float32)
        result: NDArray[np.float32] = along @ self.vectors.T
        result += np.float32(rest) * rows
        return result

    def _rows(self, images: Images, what: str) -> Images:
        if images.shape[-3:] != self.mean.shape or images.ndim not in (3, 4):
            raise UsageError(
                f"Whitening.{what} needs images {list(self.mean.shape)}, one or a batch of them, as it was fitted on, "
                f"not {list(images.shape)}."
            )
        return images.reshape(-1, self.mean.size)


def fit_whitening(
    images: Images | Iterable[Images],
    epsilon: float = 1e-6,
    *,
    formula: Formula = "covariance",
    channel_axis: int = -1,
    memory: float = 2.0,
) -> Whitening:
    """Fit on images [N, H, W, C] of real numbers, or on a stream of such batches, seen once.

    `epsilon` > 0 is on the scale of the images' variance (covariance) or singular values (keras). `channel_axis` says
    along which axis the keras formula keeps its means apart. `memory` is how many GiB the fit may take beside the
    images of an array: by 44 D^2 bytes where N >= D, 0.4 for 32 x 32 x 3 and 2.7 for 52 x 52 x 3.

    Raises UsageError where the arguments or shapes are not allowed, fewer than two images came or `memory` is too
    small; DataError where a value is not finite.
    """
    if formula not in FORMULAS:
        raise unknown("formula of fit_whitening", formula, FORMULAS)
    if not 0 < epsilon < math.inf:
        raise UsageError(f"epsilon of fit_whitening must be above 0 and finite, not {epsilon}.")
    held: list[Images] = []
    moments: _Moments | None = None
    count, shape = 0, (0, 0, 0)
    for block in image_blocks(images, "fit_whitening"):
        count, shape = count + len(block), block.shape[1:]
        features = math.prod(shape)
        _check_memory(count, shape, block.itemsize, memory)
        held.append(block.reshape(len(block), features))
        if count >= features:  # from here on the covariance of the features is the smaller matrix
            moments = moments or _Moments(features)
            for rows in held:
                moments.add(rows)
            held = []
    if count < 2:
        raise UsageError(f"fit_whitening needs at least 2 images, not {count}.")
    mean = moments.mean if moments else np.sum([rows.sum(0, np.float64) for rows in held], 0) / count
    center = mean.reshape(1, *shape)
    if formula == "keras":
        center = np.broadcast_to(center.mean(other_axes(4, channel_axis), keepdims=True), center.shape)
    middle = center.reshape(-1)
    variances, vectors = _eigen_features(moments, middle) if moments else _eigen_samples(held, middle)
    gains, rest = _gains(variances, count, epsilon, formula)
    return Whitening(center[0].astype(np.float32), vectors, gains, rest, epsilon)


class _Moments:
    """Streamed sums of products of features, about a shift near the mean, so that nothing cancels.

    With z = x - shift and d its mean, the second moment about any center c is
    sum z z^T / N - d d^T + (mean - c)(mean - c)^T.

    Bytes minus 128 are at most 128 large, so the products of 1,024 images sum to at most 2^24: float32 holds every
    integer up to there, and single precision, twice as fast, gives these sums exactly.
    """

    def __init__(self, features: int) -> None:
        self.count = 0
        self.shift: NDArray[np.float64] | None = None
        self.total = np.zeros(features)  # of z
        self.products = np.zeros((features, features))  # of z z^T

    @property
    def mean(self) -> NDArray[np.float64]:
        assert self.shift is not None
        return self.shift + self.total / self.count

    def add(self, rows: Images) -> None:
        """Take in up to 1,024 images as rows [n, D]."""
        exact = _are_bytes(rows)
        if self.shift is None:
            self.shift = np.full(rows.shape[1], float(_MIDDLE)) if exact else rows.mean(0, np.float64)
        exact = exact and bool((self.shift == _MIDDLE).all())
        shifted: NDArray[Any] = rows.astype(np.float32 if exact else np.float64)
        shifted -= self.shift.astype(shifted.dtype)
        self.products += shifted.T @ shifted
        self.total += shifted.sum(0, np.float64)
        self.count += len(rows)


def _are_bytes(rows: Images) -> bool:
    """Whether all values are whole numbers from 0 to 255, of whatever type."""
    if rows.dtype == np.uint8:
        return True
    return bool(rows.min() >= 0 and rows.max() <= 255 and (rows == np.rint(rows)).all())


def _eigen_features(moments: _Moments, center: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Variances [D] and vectors [D, D] of the features' second moment about `center`; uses up `moments`."""
    mean, off = moments.mean, moments.total / moments.count
    covariance = moments.products
    covariance /= moments.count
    covariance -= np.outer(off, off)
    covariance += np.outer(mean - center, mean - center)
    variances, vectors = np.linalg.eigh(covariance)
    return _cut_noise(variances), vectors.astype(np.float32)


def _eigen_samples(held: list[Images], center: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """The same from fewer images than features, by their Gram matrix: variances [R] and vectors [D, R]."""
    rows = np.concatenate(held)
    count, features = rows.shape
    columns = [slice(start, start + BLOCK) for start in range(0, features, BLOCK)]
    gram = np.zeros((count, count))
    for part in columns:
        centered = rows[:, part] - center[part]
        gram += centered @ centered.T
    variances, mixture = np.linalg.eigh(gram / count)
    real = _cut_noise(variances) > 0
    variances, mixture = variances[real], mixture[:, real]
    mixture /= np.sqrt(count * variances)
    vectors = np.empty((features, len(variances)), np.float32)
    for part in columns:
        vectors[part] = (rows[:, part] - center[part]).T @ mixture
    return variances, vectors


def _cut_noise(variances: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is no larger than the rounding errors of an eigendecomposition, or below 0 because of them, becomes 0."""
    floor = len(variances) * np.finfo(np.float64).eps * variances.max()
    return np.where(variances > floor, variances, 0.0)


def _gains(
    variances: NDArray[np.float64], count: int, epsilon: float, formula: Formula
) -> tuple[NDArray[np.float64], float]:
    """The factors along the vectors [R], and along all else."""
    if formula == "covariance":
        return 1 / np.sqrt(variances + epsilon), 1 / math.sqrt(epsilon)
    gains = math.sqrt(count) / (np.sqrt(count * variances) + epsilon)
    return np.where(variances > 0, gains, 0.0), 0.0


def _check_memory(count: int, shape: tuple[int, ...], itemsize: int, memory: float) -> None:
    features = math.prod(shape)
    if count >= features:
        needed = _SQUARES * features**2
    else:  # the images (held and joined), the vectors, the Gram matrix
        needed = count * features * (2 * itemsize + 4) + _SQUARES * count**2
    if needed > memory * 2**30:
        raise UsageError(
            f"fit_whitening needs {needed / 2**30:.2g} GiB for {count} or more images of {features} features "
            f"({' x '.join(map(str, shape))}), but memory allows {memory:g} GiB; allow more, or give fewer or smaller "
            "images."
        )


def _matrix(vectors: NDArray[np.float32], gains: NDArray[np.float64], rest: float) -> NDArray[np.float32]:
    """V diag(g) V^T, and `rest` times the identity on what is orthogonal to the vectors: float32 [D, D]."""
    complete = vectors.shape[0] == vectors.shape[1]
    base = 0.0 if complete else rest
    matrix: NDArray[np.float32] = (vectors * (gains - base).astype(np.float32)) @ vectors.T
    if base:
        matrix[np.diag_indices(len(matrix))] += np.float32(base)
    return matrix


def _reciprocal(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / g, and 0 where g is 0."""
    return np.divide(1, gains, out=np.zeros_like(gains), where=gains > 0)


def _slices(count: int) -> list[slice]:
    return [slice(start, start + BLOCK) for start in range(0, count, BLOCK)]
