"""Pairs: which images are near copies of one another, each two compared once and then known from the cache.

Beside the survey's files lies one for each set of images that was searched: the digests of their pixels, and the pairs
among them. Where some of the images were searched before, only the others are compared, with one another and with
those; so a few new images cost little, and fewer images cost nothing.

The images come in the order of their digests, so neither names nor their order in a table matter. An image is compared
with those that it is most like: where many are alike, it may matter a little which of them were searched first.

Shapes: F different images.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.check.signature import VERSION as SIGNATURE_VERSION
from tenfold.check.stored import read_arrays, store_folder, stored_files, text_key, write_arrays

if TYPE_CHECKING:
    from tenfold.check.signature import Signatures

VERSION = 1
"""Goes up whenever other pairs would be found among the same images."""

_REVERSED = {"turned by 90°": "turned by 270°", "brighter": "darker"}
_REVERSED |= {other: one for one, other in _REVERSED.items()}

_KIND, _ARRAYS = "pairs", ("hashes", "first", "second", "relations")


class Pair(NamedTuple):
    """Two images of which one is a copy of the other."""

    first: int
    second: int
    relation: str
    """What became of the first in the second."""

    def ordered(self) -> Pair:
        """The same with first < second."""
        if self.first < self.second:
            return self
        return Pair(self.second, self.first, _REVERSED.get(self.relation, self.relation))


def near_pairs(
    signatures: Signatures, pixels: Callable[[int], NDArray[np.uint8]], *, allow_truncated: bool = False
) -> list[Pair]:
    """The near copies among F images whose pixels all differ, first < second.

    `signatures` are in the order of their digests; `pixels` gives an image uint8 [H, W, 3] by its place, from several
    threads at once. `allow_truncated` says how they are decoded, and is part of the cache's key.
    """
    digests = [digest.tobytes().hex() for digest in signatures.digest]
    place = {digest: number for number, digest in enumerate(digests)}
    folder = store_folder(f"{_KIND} {VERSION} {SIGNATURE_VERSION} {allow_truncated}")
    before = _searched_before(folder, place.keys())
    pairs = [Pair(place[one], place[two], what) for one, two, what in before.pairs if {one, two} <= place.keys()]
    new = [number for digest, number in place.items() if digest not in before.digests]
    if new:
        old = [number for digest, number in place.items() if digest in before.digests]
        pairs += _search(signatures, pixels, new, old)
        if _store(folder, digests, pairs) and before.path is not None and before.digests < place.keys():
            with suppress(OSError):
                before.path.unlink()
    return sorted(pairs)


class _Searched(NamedTuple):
    """Images that were compared with one another, and which are copies."""

    path: Path | None
    digests: Set[str]
    pairs: list[tuple[str, str, str]]


def _searched_before(folder: Path, wanted: Set[str]) -> _Searched:
    """The search that had most of the wanted images."""
    best = _Searched(None, frozenset(), [])
    for path in stored_files(folder, _KIND):
        arrays = read_arrays(path, *_ARRAYS)
        if arrays is None:
            continue
        digests = arrays["hashes"].astype(str).tolist()
        if len(wanted & set(digests)) > len(wanted & best.digests):
            ends = ([digests[place] for place in arrays[name].tolist()] for name in ("first", "second"))
            best = _Searched(path, set(digests), list(zip(*ends, arrays["relations"].tolist(), strict=True)))
    return best


def _search(
    signatures: Signatures, pixels: Callable[[int], NDArray[np.uint8]], new: list[int], old: list[int]
) -> list[Pair]:
    """The copies among the images at `new`, and between them and those at `old`."""
    from tenfold.check.duplicates import find_duplicates  # PyTorch takes seconds, and a check from the cache needs none

    def seen(places: list[int]) -> Callable[[int], NDArray[np.uint8]]:
        return lambda number: pixels(places[number])

    fresh = signatures.take(new)
    found = [(new[item.first], new[item.second], item.relation) for item in find_duplicates(fresh, pixels=seen(new))]
    if old:
        known = signatures.take(old)
        across = find_duplicates(fresh, known, pixels=seen(new), against_pixels=seen(old))
        found += [(new[item.first], old[item.second], item.relation) for item in across]
    return [Pair(*item).ordered() for item in found]


def _store(folder: Path, digests: list[str], pairs: list[Pair]) -> bool:
    arrays = {
        "hashes": np.array(digests, "S32"),
        "first": np.array([pair.first for pair in pairs], np.int32),
        "second": np.array([pair.second for pair in pairs], np.int32),
        "relations": np.array([pair.relation for pair in pairs], "U40"),
    }
    return write_arrays(folder / f"{_KIND}-{text_key(''.join(digests))}.npz", arrays)
