"""Duplicates: signatures -> pairs of images of which one is a copy of the other, and how it differs.

Two stages: candidates.py finds for each image the few that resemble it, in any of eight turns or as a crop, and
judge.py lays the pixels of each such pair over each other and decides.

Shapes: N images, M images to search, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tenfold.check.candidates import describe, find_candidates
from tenfold.check.judge import Judged, Pixels, judge_pairs
from tenfold.check.signature import SAME_PIXELS, Signatures

TURNED = {
    1: "mirrored",
    2: "mirrored upside down",
    3: "turned by 180°",
    4: "mirrored and turned by 270°",
    5: "turned by 270°",
    6: "turned by 90°",
    7: "mirrored and turned by 90°",
}
"""What is said of each turn of candidates.py; clockwise, from the first image to the second."""

NEAREST, LIKENESS = 8, 0.5
"""How many candidates an image gets, and how alike they are at least."""


@dataclass(frozen=True)
class Duplicate:
    """Two images of which one is a copy of the other."""

    first: int
    second: int
    relation: str
    """What became of the first in the second, in words; where several things did, the most conspicuous."""
    distance: float
    """1 minus the correlation of their detail; 0 for the same pixels."""


def find_duplicates(
    signatures: Signatures,
    against: Signatures | None = None,
    *,
    pixels: Pixels | None = None,
    against_pixels: Pixels | None = None,
) -> list[Duplicate]:
    """The copies among N images, first < second; or those of N images among M others, `second` being one of these.

    Found are copies that were turned by quarters, mirrored, resized, recompressed, cut by up to a tenth of each side,
    made brighter or darker, turned grey or given a mark of up to a twentieth of the area. `pixels` gives an image
    uint8 [H, W, 3] by its position, from several threads at once; with it (and `against_pixels`), what the signatures
    leave in doubt is decided on the images themselves, and fewer shots of one scene are taken for copies.

    Images with the same pixels are pairs with the first of them, and only that one is compared with others in a search
    among N; so sets of copies hang together, but not every two of a set are a pair. A blank image (white, black, one
    color) tells nothing of where it came from: only equal pixels make it a copy.

    Memory grows with N, time with N * N (or N * M) up to 31,000 images, with N ** 1.5 beyond; see candidates.py.
    """
    own, theirs = _Firsts(signatures), None if against is None else _Firsts(against)
    other, other_pixels = (own, pixels) if theirs is None else (theirs, against_pixels)
    both = None if pixels is None or other_pixels is None else (own.of(pixels), other.of(other_pixels))
    pairs = find_candidates(
        describe(own.signatures.view),
        None if theirs is None else describe(theirs.signatures.view),
        nearest=NEAREST,
        likeness=LIKENESS,
    )
    found = list(own.repeated() if theirs is None else own.shared(theirs))
    equal = {(pair.first, pair.second) for pair in found}
    for pair in judge_pairs(pairs, own.signatures, other.signatures, both):
        relation = _relation(pair, own.signatures, other.signatures)
        second = int(other.rows[pair.second])
        firsts = own.rows[pair.first : pair.first + 1] if theirs is None else own.members(pair.first)
        near = [Duplicate(int(row), second, relation, round(max(1 - pair.detail, 0), 4)) for row in firsts]
        found += [item for item in near if (item.first, item.second) not in equal]
    return sorted(found, key=lambda item: (item.first, item.second))


class _Firsts:
    """The first image of each set of equal pixels, in the order of the images."""

    def __init__(self, signatures: Signatures) -> None:
        keys = np.ascontiguousarray(signatures.digest).view("V16").ravel()
        _, rows, inverse = np.unique(keys, return_index=True, return_inverse=True)
        self.rows: NDArray[np.int64] = np.sort(rows)
        self.place: NDArray[np.int64] = np.searchsorted(self.rows, rows[inverse])
        """[N], which of the first images each image equals."""
        self.signatures = signatures.take(self.rows)

    def members(self, place: int) -> NDArray[np.int64]:
        return np.flatnonzero(self.place == place)

    def of(self, pixels: Pixels) -> Pixels:
        return lambda place: pixels(int(self.rows[place]))

    def repeated(self) -> Iterator[Duplicate]:
        """Each image with the first one that has its pixels."""
        for row, first in enumerate(self.rows[self.place].tolist()):
            if first != row:
                yield Duplicate(first, row, SAME_PIXELS, 0.0)

    def shared(self, others: _Firsts) -> Iterator[Duplicate]:
        """Each image with the first of the others that has its pixels."""
        known = {digest.tobytes(): int(row) for digest, row in zip(others.signatures.digest, others.rows, strict=True)}
        for row, place in enumerate(self.place.tolist()):
            second = known.get(self.signatures.digest[place].tobytes())
            if second is not None:
                yield Duplicate(row, second, SAME_PIXELS, 0.0)


def _relation(pair: Judged, first: Signatures, second: Signatures) -> str:
    """What sets the second image apart from the first, the most conspicuous first."""
    one, other = first.colors[pair.first].astype(float), second.colors[pair.second].astype(float)
    if pair.turn:
        return TURNED[pair.turn]
    if max(abs(side - 1) for side in pair.scale) > 0.025 or max(abs(move) for move in pair.shift) > 0.015:
        return "cropped"
    if pair.marked:
        return "with a mark"
    vivid = np.ptp(one, axis=2).mean(), np.ptp(other, axis=2).mean()
    if min(vivid) < 3 and max(vivid) > 8:
        return "turned grey"
    casts = [image.mean((0, 1)) / (image.mean() + 1) for image in (one, other)]
    if np.abs(casts[0] - casts[1]).max() > 0.12:
        return "other colors"
    brighter = (other.mean() + 1) / (one.mean() + 1)
    if not 0.93 < brighter < 1.07:
        return "brighter" if brighter > 1 else "darker"
    same_size = (first.size[pair.first] == second.size[pair.second]).all()
    return "recompressed" if same_size else "resized"
