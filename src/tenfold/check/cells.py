"""Cells: of many descriptors those nearest to a query, by a look at a small part of them.

An inverted file (Jégou, Douze and Schmid 2011, https://doi.org/10.1109/TPAMI.2010.57) without what makes it small: each
descriptor lies in the cell of the center that it is most like, and a query is compared with what lies in the PROBES
cells whose centers are most like the query. The centers are descriptors picked by chance, so they lie close together
where the descriptors do; moving them to the middle of what lies around them (k-means) was tried, and found no more at
the same cost. faiss, which has all this, brings an OpenMP of its own that can crash beside PyTorch's on macOS
(https://github.com/faiss-wheels/faiss-wheels/issues/73).

With 4 sqrt(N) cells, finding the cells of all descriptors and looking into some cells both take time that grows with
N ** 1.5. benchmarks/scale.py says what is lost.

Shapes: N images, K descriptors of each, D numbers of a descriptor, C cells, B queries at a time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from tenfold.check.threads import in_threads

PROBES = 24
"""How many cells a query looks into: of 100,000 images, about 3 % of all descriptors."""

_OF_ONE = 0.5  # the part of the nearest that one cell gives at most: sorting out takes longer than comparing
_DENSITY = 4  # cells, in square roots of the number of images
_QUERIES = 2048  # descriptors that are compared with all centers at a time
_PLACED = 2**18  # descriptors that are given their cells at a time
_PRODUCT = 2**22  # cosines that are held at a time


@dataclass(frozen=True)
class Cells:
    """Descriptors of N images, those of one cell in a row."""

    centers: Tensor
    """float32 [C, D]"""
    entries: Tensor
    """float32 [E, D], the descriptors that lie in a cell, by cells."""
    images: Tensor
    """int64 [E], of which image each is."""
    spans: tuple[tuple[int, int], ...]
    """[C], where the entries of each cell begin and end."""


def build_cells(descriptors: Tensor) -> Cells:
    """Descriptors float32 [N, K, D], of unit length or all zero, by cells; what is zero lies in none."""
    images, kinds, numbers = descriptors.shape
    entries = descriptors.reshape(-1, numbers)
    used = torch.nonzero(torch.linalg.vector_norm(entries, dim=1) > 0.5)[:, 0]
    count = min(len(used), math.ceil(_DENSITY * math.sqrt(images)))
    picked = torch.randperm(len(used), generator=torch.Generator().manual_seed(0))[:count]
    centers = entries[used[picked]]
    places = torch.cat([_homes(centers, entries[some]) for some in torch.split(used, _PLACED)])
    ends = torch.bincount(places, minlength=count).cumsum(0).tolist()
    order = used[places.argsort(stable=True)]
    return Cells(centers, entries[order], order // kinds, tuple(pairwise([0, *ends])))


def search_cells(cells: Cells, queries: Tensor, *, nearest: int, likeness: float) -> Tensor:
    """Which images have a descriptor near to which of the queries float32 [M, D]: (image, query) int64 [2, P].

    Of each query up to `nearest` of the likest descriptors count, where the cosine is at least `likeness`; an image of
    which several do comes once.
    """
    if not len(cells.centers):
        return torch.zeros(2, 0, dtype=torch.int64)
    # Queries that look into the same cells look together: fewer and larger products.
    order = _homes(cells.centers, queries).argsort(stable=True)

    def look(start: int) -> Tensor:
        rows = order[start : start + _QUERIES]
        values, images = _look(cells, queries[rows], nearest)
        which, column = torch.nonzero(values >= likeness, as_tuple=True)
        pairs = torch.unique(images[which, column] << 32 | rows[which])
        return torch.stack([pairs >> 32, pairs & 0xFFFFFFFF])

    return torch.cat([torch.zeros(2, 0, dtype=torch.int64), *in_threads(look, range(0, len(order), _QUERIES))], 1)


def _homes(centers: Tensor, descriptors: Tensor) -> Tensor:
    """The center that each descriptor [M, D] is most like: int64 [M]."""
    homes = np.empty(len(descriptors), np.int64)

    # Into one array: small results that threads keep one by one hold on to the memory of the large ones around them.
    def find(start: int) -> None:
        cosines = (descriptors[start : start + _QUERIES] @ centers.T).numpy()
        cosines.argmax(1, out=homes[start : start + _QUERIES])  # NumPy's takes a tenth of the time of PyTorch's

    in_threads(find, range(0, len(descriptors), _QUERIES))
    return torch.from_numpy(homes)


def _look(cells: Cells, queries: Tensor, nearest: int) -> tuple[Tensor, Tensor]:
    """Of each of B queries the likest entries: their cosines, -1 where there is none, and images: [B, nearest]."""
    probes = min(PROBES, len(cells.centers))
    deep = math.ceil(nearest * _OF_ONE)
    visited = (queries @ cells.centers.T).topk(probes).indices.flatten()
    values = torch.full((len(visited), deep), -1.0)
    images = torch.zeros(len(visited), deep, dtype=torch.int64)
    in_order, visits = visited.sort(stable=True)
    open_cells, counts = torch.unique_consecutive(in_order, return_counts=True)
    for cell, visitors in zip(open_cells.tolist(), torch.split(visits, counts.tolist()), strict=True):
        start, stop = cells.spans[cell]
        depth = min(deep, stop - start)
        for some in torch.split(visitors, max(_PRODUCT // max(stop - start, 1), 1)):
            found, at = (queries[some // probes] @ cells.entries[start:stop].T).topk(depth)
            values[some, :depth] = found
            images[some, :depth] = cells.images[start + at]
    best, at = values.view(len(queries), -1).topk(min(nearest, probes * deep))
    return best, images.view(len(queries), -1).gather(1, at)
