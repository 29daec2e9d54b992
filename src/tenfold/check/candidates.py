"""Candidates: which pairs of images are worth a comparison of their pixels, among all pairs there are.

The descriptor of an image is a perceptual hash kept as numbers: the lowest frequencies of the cosine transform of its
grey view (as in pHash, Zauner 2010, http://phash.org/docs/pubs/thesis_zauner.pdf), without the mean and at unit length.
Brightness and contrast drop out and fine detail never enters. Turning or mirroring the image only swaps and negates
its numbers, so all eight turns of an image are had for nothing. A tenth cut off moves what is left by up to a tenth,
which is more than such a descriptor bears; so each image has five more, of parts of it, and a crop resembles one.

Cost: up to ALL_PAIRS pairs a product of matrices in blocks, 18 cosines a pair, without approximation. Beyond, the
search by cells (cells.py), whose time grows with N ** 1.5: 100,000 images took 69 s of processor time instead of 173,
and 98.9 % of the copies remained (benchmarks/scale.py). Memory is 10 KB an image.

Shapes: N images, M images to search, T = 8 turns, Q = 5 parts, D numbers of a descriptor, F * F = D, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct

from tenfold.check.cells import build_cells, search_cells
from tenfold.check.threads import in_threads

FREQUENCIES, TURNS = 8, 8

PARTS = ((0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5))
"""Where the parts lie: rows and columns, 0 at the beginning, 1 at the end."""

ALL_PAIRS = 10**9
"""Up to so many pairs all are compared: 31,000 images among themselves, from where on cells are quicker."""

_SIDE, _PART = 32, 29  # pixels that the transform is taken from, and of a part of it: 0.906 of the side
_BLOCK = 256  # images that are described at a time
_ROWS = 64  # images that are compared with all others at a time
_PAIRS = 4096  # pairs that are looked at again at a time
_DEEPER = 8  # descriptors that are looked for in place of one image, which has up to 13 alike

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Described:
    """Descriptors of unit length; of a blank image all zero."""

    whole: Floats
    """[N, D]"""
    parts: Floats
    """[N, Q, D]"""


@dataclass(frozen=True)
class Candidates:
    """P pairs, and where to begin with their alignment: the first, turned, looks like the second, or like a part."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    turn: NDArray[np.int64]
    """0 to 7, as `turn_views` has it."""
    scale: Floats
    """Side of the part of the second image that the first one shows; above 1 where the first shows more."""
    shift: Floats
    """[P, 2], rows and columns, how far the middle of that part is from the middle, in sides of the second image."""
    likeness: Floats
    """Cosine of the descriptors."""

    def take(self, rows: NDArray[np.int64]) -> Candidates:
        """These pairs."""
        return Candidates(*(getattr(self, field.name)[rows] for field in fields(self)))


def turn_views(views: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Views [..., V, V] turned: turn & 1 mirrors left and right, & 2 upside down, then & 4 swaps the axes."""
    if turn & 1:
        views = views[..., ::-1]
    if turn & 2:
        views = views[..., ::-1, :]
    return views.swapaxes(-1, -2) if turn & 4 else views


def describe(views: NDArray[np.uint8]) -> Described:
    """The descriptors of grey views uint8 [N, V, V], V a multiple of 32."""
    side = views.shape[-1] // _SIDE
    whole = np.empty((len(views), FREQUENCIES**2), np.float32)
    parts = np.empty((len(views), len(PARTS), FREQUENCIES**2), np.float32)

    def fill(start: int) -> None:
        block = views[start : start + _BLOCK].reshape(-1, _SIDE, side, _SIDE, side).mean((2, 4), dtype=np.float32)
        whole[start : start + _BLOCK] = _transform(block)
        for index, (row, column) in enumerate(PARTS):
            top, left = round(row * (_SIDE - _PART)), round(column * (_SIDE - _PART))
            parts[start : start + _BLOCK, index] = _transform(block[:, top : top + _PART, left : left + _PART])

    in_threads(fill, range(0, len(views), _BLOCK))
    return Described(whole, parts)


def _transform(views: Floats) -> Floats:
    """Views [N, S, S] -> [N, D]. What is far from the median is cut off: a mark must not outweigh all the rest."""
    waves = dct(np.eye(views.shape[-1]), axis=0, norm="ortho")[:FREQUENCIES].astype(np.float32)
    centered = views - np.median(views, (1, 2), keepdims=True)
    limit = 1 + 1.5 * np.median(np.abs(centered), (1, 2), keepdims=True)
    found = waves @ np.clip(centered, -limit, limit) @ waves.T
    found[:, 0, 0] = 0
    length = np.sqrt((found**2).sum((1, 2), keepdims=True))
    vectors: Floats = (found / np.maximum(length, 1e-3)).reshape(len(views), -1)
    return vectors


def all_turns(whole: Floats) -> Floats:
    """Descriptors [N, D] of all turns of the images: float32 [N, T, D]."""
    square = whole.reshape(-1, FREQUENCIES, FREQUENCIES)
    signs = np.where(np.arange(FREQUENCIES) % 2, -1, 1).astype(np.float32)
    mirrored = [square, square * signs, square * signs[:, None], square * signs * signs[:, None]]
    turned = np.stack([*mirrored, *(image.swapaxes(1, 2) for image in mirrored)], 1)
    return turned.reshape(len(whole), TURNS, FREQUENCIES**2)


def find_candidates(
    queries: Described, against: Described | None, *, nearest: int, likeness: float, limit: int = ALL_PAIRS
) -> Candidates:
    """The `nearest` most alike of each image where the cosine is at least `likeness`.

    Without `against`, the pairs of the N images themselves, first < second. Up to `limit` pairs all are compared; of
    more, those that lie in cells near one another (cells.py), which loses few.
    """
    base = queries if against is None else against
    whole = torch.from_numpy(base.whole)
    if len(queries.whole) * len(whole) <= limit:
        return _begun(queries, base, *_by_product(queries, base, against is None, nearest, likeness))
    deep = _DEEPER * nearest
    first, second = search_cells(build_cells(_kinds(queries)), whole, nearest=deep, likeness=likeness)
    if against is None:
        other = first != second
        first, second = torch.minimum(first, second)[other], torch.maximum(first, second)[other]
    else:
        cells, own = build_cells(torch.from_numpy(base.parts)), torch.from_numpy(queries.whole)
        of_part, cropped = search_cells(cells, own, nearest=deep, likeness=likeness)
        first, second = torch.cat([first, cropped]), torch.cat([second, of_part])
    keys = torch.unique(first * len(whole) + second)
    return _likest_of_each(_begun(queries, base, keys // len(whole), keys % len(whole)), nearest)


def _kinds(described: Described) -> torch.Tensor:
    """All turns and all parts of the images: [N, T + Q, D]."""
    return torch.from_numpy(np.concatenate([all_turns(described.whole), described.parts], 1))


def _likest_of_each(pairs: Candidates, nearest: int) -> Candidates:
    """Of each first image the `nearest` pairs that are most alike."""
    order = np.lexsort((-pairs.likeness, pairs.first))
    first = pairs.first[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    return pairs.take(order[rank < nearest])


def _by_product(queries: Described, base: Described, same: bool, nearest: int, likeness: float) -> torch.Tensor:
    """First and second of each pair, [2, P], by the cosines of all; `same` where an image must not find itself."""
    own, whole, parts = _kinds(queries), torch.from_numpy(base.whole), torch.from_numpy(base.parts)

    def search(start: int) -> torch.Tensor:
        skipped = start + 1 if same else 0
        if skipped >= len(whole):
            return torch.zeros(2, 0, dtype=torch.int64)
        best = _likest(own[start : start + _ROWS], whole[skipped:], parts[skipped:])
        if same:  # within the block, a later image must not find an earlier one
            own_columns = best[:, :_ROWS]
            own_columns.masked_fill_(torch.ones_like(own_columns, dtype=torch.bool).tril(-1), -1)
        values, places = best.topk(min(nearest, best.shape[1]))
        rows, columns = torch.nonzero(values >= likeness, as_tuple=True)
        return torch.stack([rows + start, places[rows, columns] + skipped])

    return torch.cat([torch.zeros(2, 0, dtype=torch.int64), *in_threads(search, range(0, len(own), _ROWS))], 1)


def _likest(own: torch.Tensor, whole: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    """The greatest of the 18 cosines of each pair: [B, M]."""
    best = own[:, 0] @ whole.T
    for kind in range(1, own.shape[1]):
        torch.maximum(best, own[:, kind] @ whole.T, out=best)
    for part in range(parts.shape[1]):
        torch.maximum(best, own[:, 0] @ parts[:, part].T, out=best)
    return best


def _begun(queries: Described, base: Described, first: torch.Tensor, second: torch.Tensor) -> Candidates:
    """Each pair with the turn or the part that made it alike."""
    ones, others = first.numpy(), second.numpy()

    def look(start: int) -> tuple[NDArray[np.int64], Floats]:
        one, other = ones[start : start + _PAIRS], others[start : start + _PAIRS]
        kinds = _kinds(Described(queries.whole[one], queries.parts[one])).numpy()
        turned = np.einsum("pkd,pd->pk", kinds, base.whole[other])
        cropped = np.einsum("pd,pkd->pk", queries.whole[one], base.parts[other])
        cosines = np.concatenate([turned, cropped], 1)
        return cosines.argmax(1), cosines.max(1)

    found = in_threads(look, range(0, len(ones), _PAIRS))
    kind = np.concatenate([np.zeros(0, np.int64), *(kinds for kinds, _ in found)])
    likeness = np.concatenate([np.zeros(0, np.float32), *(cosines for _, cosines in found)])
    count, ratio = len(PARTS), _PART / _SIDE
    middles = np.array(PARTS, np.float32) * (1 - ratio) + ratio / 2 - 0.5
    turn = np.concatenate([np.arange(TURNS), np.zeros(2 * count, np.int64)])
    scale = np.repeat([1, 1 / ratio, ratio], [TURNS, count, count]).astype(np.float32)
    shift = np.concatenate([np.zeros((TURNS, 2), np.float32), -middles / ratio, middles])
    return Candidates(ones, others, turn[kind], scale[kind], shift[kind], likeness)
