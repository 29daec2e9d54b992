"""Templates: one direction an identity, in a space in which images of one identity scatter alike in all directions.

Images of one identity differ more in some directions of an embedding (pose, light) than in others. Their scatter, the
same for all identities, is estimated from those that are enrolled and divided out, so that what varies anyway counts
less: within-class covariance normalization (Hatch, Kajarekar and Stolcke, "Within-class covariance normalization for
SVM-based speaker recognition", Interspeech 2006), which is Fisher's linear discriminant (1936) without a choice of
directions. As few images say little about D directions, the estimate is that of these images and of D more that scatter
evenly. What all identities have in common tells none from another: the direction of their mean is taken for one of
scatter, as far as that mean is longer than chance makes it (James and Stein 1961). So of three people with two images
each next to nothing is changed.

A template is the direction of the mean of an identity's embeddings, and a score the cosine of the angle between it and
an image. Why not the most alike of all images: the mean direction is the most likely center of directions that scatter
evenly around it (von Mises and Fisher); a search costs one small matrix product however many images each has; the best
of many images grows with their number, so that whoever has more images would be found more often in strangers; and one
wrong image cannot speak for itself alone. Where scatter is not divided out the best image was better, where it is both
were alike (benchmarks/gallery.py --faces).

Shapes: N images, G identities, D features, K folds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 10
"""Parts of the identities, of which each is judged by a scatter that it has no part in."""
_BLOCK = 1024  # images at a time
_NOTHING = 1e-12  # variance of vectors of length 1 that is none, but rounding

Whitening = NDArray[np.float32]
"""float32 [D, D]: an embedding's row times it lies in the space in which scores are cosines."""


def whitening_of(embeddings: NDArray[np.float32], numbers: NDArray[np.int64]) -> Whitening:
    """What divides out the scatter of N > 0 embeddings float32 [N, D] within identities, `numbers` int64 [N]."""
    return _whitening(*_means_and_scatter(embeddings, numbers), len(numbers))


def whitenings_without(embeddings: NDArray[np.float32], numbers: NDArray[np.int64]) -> list[Whitening]:
    """For each fold of identities, as `fold_of` deals them, what divides out the others' scatter; two folds or more."""
    folds = fold_of(numbers, int(numbers.max()) + 1)
    parts = [_means_and_scatter(embeddings[folds == fold], numbers[folds == fold]) for fold in range(folds.max() + 1)]
    total = np.sum([scatter for _, scatter in parts], 0)
    found = []
    for fold, (_, scatter) in enumerate(parts):
        means = np.concatenate([others for other, (others, _) in enumerate(parts) if other != fold])
        found.append(_whitening(means, total - scatter, int((folds != fold).sum())))
    return found


def fold_of(numbers: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The fold of each number of an identity, as G = `count` are dealt in turns to FOLDS, or to G if that is less."""
    return numbers % min(FOLDS, count)


def sums_of(embeddings: NDArray[np.float32], numbers: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """The sum of each identity's embeddings, float64 [G, D], added in the order of the rows, so that it matters."""
    sums = np.zeros((count, embeddings.shape[1]))
    np.add.at(sums, numbers, embeddings)
    return sums


def placed(vectors: NDArray[np.floating[Any]], whitening: Whitening) -> NDArray[np.float32]:
    """Embeddings, or sums of them, [M, D], as directions in the space of scores: float32 [M, D], of length 1.

    Embeddings that cancel out have none: they become zeros, which are like nobody.
    """
    moved = vectors.astype(np.float32, copy=False) @ whitening
    lengths = np.linalg.norm(moved, axis=1, keepdims=True)
    directions = moved / np.where(lengths > 0, lengths, np.float32(1))
    return directions.astype(np.float32, copy=False)


def _means_and_scatter(
    embeddings: NDArray[np.float32], numbers: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Identities' means, float64 [G, D], and the sum of the products of images' distances from them, [D, D]."""
    place = np.unique(numbers, return_inverse=True)[1]
    means = sums_of(embeddings, place, int(place.max()) + 1) / np.bincount(place)[:, None]
    scatter = np.zeros((embeddings.shape[1],) * 2)
    for start in range(0, len(place), _BLOCK):
        apart = embeddings[start : start + _BLOCK] - means[place[start : start + _BLOCK]]
        scatter += apart.T @ apart
    return means, scatter


def _whitening(means: NDArray[np.float64], scatter: NDArray[np.float64], images: int) -> Whitening:
    width, count = len(scatter), len(means)
    freedom = images - count
    within = np.eye(width)
    even = float(np.trace(scatter)) / width / max(freedom, 1)
    if freedom and even > _NOTHING:  # in units of the mean scatter in a direction
        within = (scatter / even + width * within) / (freedom + width)
    middle = means.mean(0)
    length = float(middle @ middle)
    chance = float(np.sum((means - middle) ** 2)) / (count * (count - 1)) if count > 1 else length
    if length > chance:
        within += width * (1 - chance / length) * np.outer(middle, middle) / length
    whitening: Whitening = np.ascontiguousarray(np.linalg.inv(np.linalg.cholesky(within)).T, np.float32)
    return whitening
