"""Judge: candidates -> the pairs that are copies, by a comparison of pixels from coarse to fine.

Every pair is aligned at 16 pixels a side; nearly all that are no copies end there. The rest are compared at 64 (or 32
for small images), and where that leaves a doubt and the images themselves can be had, at up to 128.

The limits were set on copies made of 400 flowers and 1,000 CIFAR-10 images, and on what resembles each other most
among flowers, CIFAR-10 images, faces (ORL) and handwritten digits; see `benchmarks/duplicates.py`.

Shapes: N and M images, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.check.alignment import Alignment, align_views, reduce_views
from tenfold.check.candidates import Candidates, turn_views
from tenfold.check.closeup import CloseUp, close_up
from tenfold.check.compare import Comparison, compare_views
from tenfold.check.signature import Signatures
from tenfold.check.threads import in_threads

Pixels = Callable[[int], NDArray[np.uint8]]
"""Position -> the upright image, uint8 [H, W, 3]; called from several threads."""

FLAT = 6.0
"""Grey levels: a view whose standard deviation is smaller is blank, and nothing but equal pixels makes it a copy."""


class Limits(NamedTuple):
    """What a copy reaches at one size of comparison."""

    detail: float
    agreement: float


_COARSE = 0.6  # agreement at 16 pixels
_LIMITS = {16: Limits(0.97, 0.95), 32: Limits(0.86, 0.9), 64: Limits(0.92, 0.85), 128: Limits(0.89, 0.8)}
_PLAIN, _RICH = 25.0, 60.0  # richness up to which nearly all detail must agree, and from which on the limits hold
_MARKED, _MARK = 0.9, 0.75  # detail outside the mark, and the part of the difference that the mark must hold
_OVERLAP = 0.6  # of the first view: two tenths cut off, one of each side, leave 0.65
_SURE, _HOPELESS = 0.985, 0.75  # detail of the views beyond which nobody looks closer
_CHUNK = 256


@dataclass(frozen=True)
class Judged:
    """A pair of copies."""

    first: int
    second: int
    turn: int
    scale: tuple[float, float]
    shift: tuple[float, float]
    detail: float
    marked: bool


def judge_pairs(
    pairs: Candidates, first: Signatures, second: Signatures, pixels: tuple[Pixels, Pixels] | None
) -> list[Judged]:
    """The pairs that are copies, in the order of `pairs`; `pixels` of the first and of the second images."""

    def judge(start: int) -> list[Judged]:
        some = pairs.take(np.arange(start, min(start + _CHUNK, len(pairs.first))))
        return _judge(some, first, second, pixels)

    return [pair for judged in in_threads(judge, range(0, len(pairs.first), _CHUNK)) for pair in judged]


def _judge(
    pairs: Candidates, first: Signatures, second: Signatures, pixels: tuple[Pixels, Pixels] | None
) -> list[Judged]:
    one, other = _turned(first.view, pairs), torch.from_numpy(second.view[pairs.second]).float()
    found = align_views(one, other, _begin(pairs), (16,))
    coarse = compare_views(reduce_views(one, 16), reduce_views(other, 16), found)
    kept = torch.nonzero((coarse.agreement >= _COARSE) & (coarse.contrast >= FLAT) & (coarse.overlap >= _OVERLAP))[:, 0]
    judged: list[tuple[int, Judged]] = []
    sides = np.minimum(first.size[pairs.first].min(1), second.size[pairs.second].min(1))[kept.numpy()]
    for size, chosen in _by_size(sides):
        rows = kept[chosen]
        fine, rough = reduce_views(one[rows], size), reduce_views(other[rows], size)
        laid = align_views(fine, rough, found.take(rows), tuple(s for s in (32, 64) if s <= size))
        compared = compare_views(fine, rough, laid)
        doubtful = _is_doubtful(compared) if pixels is not None and size == 64 else torch.zeros(len(rows)).bool()
        sure = _is_copy(compared, size) & ~doubtful
        judged += _listed(pairs, rows[sure], laid.take(sure), compared.take(sure))
        if pixels is not None and doubtful.any():
            judged += _look_closer(pairs, rows[doubtful], laid.take(doubtful), pixels)
    return [pair for _, pair in sorted(judged, key=lambda item: item[0])]


def _by_size(sides: NDArray[np.int32]) -> Iterator[tuple[int, Tensor]]:
    """The size at which to compare, and which pairs: no finer than the smaller image is, or twice as fine at most."""
    sizes = np.select([sides >= 64, sides >= 24], [64, 32], 16)
    for size in (16, 32, 64):
        chosen = torch.from_numpy(np.flatnonzero(sizes == size))
        if len(chosen):
            yield size, chosen


def _look_closer(
    pairs: Candidates, rows: Tensor, found: Alignment, pixels: tuple[Pixels, Pixels]
) -> list[tuple[int, Judged]]:
    """Decode the images of these pairs and compare what both of them show."""

    def open_pair(place: int) -> CloseUp:
        row = int(rows[place])
        one = turn_views(pixels[0](int(pairs.first[row])).transpose(2, 0, 1), int(pairs.turn[row])).transpose(1, 2, 0)
        return close_up(one, pixels[1](int(pairs.second[row])), found.take(torch.tensor([place])))

    opened = [open_pair(place) for place in range(len(rows))]
    judged: list[tuple[int, Judged]] = []
    for size in (64, 128):
        places = [place for place, item in enumerate(opened) if item.first.shape[-1] == size]
        if places:
            one = torch.cat([opened[place].first for place in places])
            other = torch.cat([opened[place].second for place in places])
            start = Alignment.join([opened[place].start for place in places])
            compared = compare_views(one, other, align_views(one, other, start, (size,)))
            chosen = torch.tensor(places)[copies := _is_copy(compared, size)]
            judged += _listed(pairs, rows[chosen], found.take(chosen), compared.take(copies))
    return judged


def _is_copy(compared: Comparison, size: int) -> Tensor:
    limits = _LIMITS[size]
    ease = ((compared.richness - _PLAIN) / (_RICH - _PLAIN)).clamp(0.1, 1)
    least = 1 - (1 - limits.detail) * ease
    alike = (compared.detail >= least) | (_is_marked(compared) & (compared.unmarked >= least))
    return alike & (compared.agreement >= limits.agreement) & (compared.overlap >= _OVERLAP)


def _is_marked(compared: Comparison) -> Tensor:
    return (compared.unmarked >= _MARKED) & (compared.mark >= _MARK)


def _is_doubtful(compared: Comparison) -> Tensor:
    likely = (compared.detail >= _HOPELESS) | ((compared.unmarked >= 0.8) & (compared.mark >= 0.5))
    return likely & ((compared.detail < _SURE) | (compared.agreement < 0.95))


def _listed(pairs: Candidates, rows: Tensor, found: Alignment, compared: Comparison) -> list[tuple[int, Judged]]:
    marked = _is_marked(compared)
    listed = []
    for place, row in enumerate(rows.tolist()):
        (height, width), (down, right) = found.scale[place].tolist(), found.shift[place].tolist()
        detail = float(compared.unmarked[place] if marked[place] else compared.detail[place])
        pair = Judged(
            int(pairs.first[row]),
            int(pairs.second[row]),
            int(pairs.turn[row]),
            (height, width),
            (down, right),
            detail,
            bool(marked[place]),
        )
        listed.append((row, pair))
    return listed


def _turned(views: NDArray[np.uint8], pairs: Candidates) -> Tensor:
    """The first views of all pairs, turned: float32 [P, V, V]."""
    turned = views[pairs.first]
    for turn in range(1, 8):
        rows = pairs.turn == turn
        turned[rows] = turn_views(turned[rows], turn)
    return torch.from_numpy(turned).float()


def _begin(pairs: Candidates) -> Alignment:
    scale, shift = torch.from_numpy(pairs.scale)[:, None].repeat(1, 2), torch.from_numpy(pairs.shift)
    return replace(Alignment.unmoved(len(pairs.first)), scale=scale, shift=shift)
