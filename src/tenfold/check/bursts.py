"""Bursts: images taken in a row, which must not be split apart: by one camera within seconds, or numbered and alike.

Numbers tell only where what follows each other is more alike than what does not: where all images of a folder are
alike, as faces of one person or frames of a camera that stands still, its numbers say nothing of when they were taken.
Such a series is a scene: told, for it may be one video, and tied by nobody but its owner.

Shapes: N images, S series of numbered names, P pairs, D numbers of a descriptor.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.check.signature import Signatures
from tenfold.errors import UsageError
from tenfold.split.ties import join

VERSION = 3
"""Goes up whenever other bursts would be found among the same images."""

SECONDS = 3.0
"""Longest time between one image of a burst and the next."""

ALIKE = 0.8
"""Least cosine of the descriptors of two images numbered in a row. Of neighbors in a shuffled set, one in a thousand
reaches it (flowers 0.8, CIFAR-10 1.6 in 1,000); of faces of one person that follow each other (ORL), two thirds."""

OFTEN = 2.0
"""How many times as often following images of a series must be alike as images half the series apart, for its numbers
to tell. Measured: faces of one person (ORL) 69 % and 67 %, landscapes (summer2winter) 3.7 % and 3.0 %, CIFAR-10 1.5 and
1.7 in 1,000, all of which were numbered in no order."""

MOSTLY = 0.5
"""The share of following images of a series that are alike, from which on it is a scene where its numbers do not tell.
"""

REGULAR = 3
"""Fewest gaps of one width, and at least half of all, that make it the step of a series: every tenth frame of a video
was kept. Elsewhere images follow each other where their numbers do."""

_NUMBERED = re.compile(r"^(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)$", re.DOTALL)
_ENDING = re.compile(r"\.[A-Za-z]\w{0,4}$")
_BLOCK = 4096  # images that are described at a time

Series = list[tuple[int, int]]
"""(number, image) of names that differ in their last number only, by number."""


class Shots(NamedTuple):
    """What was taken in a row, each as its images' positions in order, at least two."""

    bursts: list[tuple[int, ...]]
    """Images that must not be split apart; each is in at most one."""
    scenes: list[tuple[int, ...]]
    """Series of numbered names whose images are mostly alike, the following ones no more than others."""


def find_shots(
    names: Sequence[str], signatures: Signatures, times: NDArray[np.float64], cameras: Sequence[str | None]
) -> Shots:
    """The bursts and the scenes among N images.

    `names` are paths or anything else that ends in a number, `times` float64 [N] seconds on any one clock, NaN where
    unknown, `cameras` names the camera of each image, None where unknown; an image that lacks either is judged by its
    number alone. Two images with the same camera at most SECONDS apart belong together, as do two whose names differ
    only in numbers that follow each other, if their looks reach ALIKE, in a series where that is OFTEN times as usual
    as between images that do not follow each other; and so on along chains. A series where that is not so, though
    MOSTLY of what follows each other is alike, is a scene.
    """
    if not len(names) == len(signatures) == len(times) == len(cameras):
        raise UsageError(
            "find_shots needs as many names as signatures, times and cameras, "
            f"not {len(names)}, {len(signatures)}, {len(times)} and {len(cameras)}."
        )
    ties: list[list[str]] = [[] for _ in names]
    numbered, scenes = _numbered_and_alike(names, signatures)
    for place, pair in enumerate([*_within_seconds(times, cameras), *numbered]):
        for image in pair:
            ties[image].append(f"{place}")
    members: dict[int, list[int]] = {}
    for image, block in enumerate(join(ties).tolist()):
        members.setdefault(block, []).append(image)
    return Shots([tuple(images) for images in members.values() if len(images) > 1], scenes)


def _within_seconds(times: NDArray[np.float64], cameras: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Pairs of one camera that follow each other by the clock."""
    known = [image for image, camera in enumerate(cameras) if camera is not None and np.isfinite(times[image])]
    known.sort(key=lambda image: (cameras[image] or "", times[image]))
    for one, other in pairwise(known):
        if cameras[one] == cameras[other] and times[other] - times[one] <= SECONDS:
            yield one, other


def _numbered_and_alike(
    names: Sequence[str], signatures: Signatures
) -> tuple[list[tuple[int, int]], list[tuple[int, ...]]]:
    """Pairs of images that follow each other and are alike, of the series whose numbers tell; and the scenes."""
    found = list(series_of(names))
    near = np.array([pair for number, series in enumerate(found) for pair in _following(number, series)], np.int64)
    far = np.array([pair for number, series in enumerate(found) for pair in _apart(number, series)], np.int64)
    if not len(near):
        return [], []
    pairs = np.concatenate([near, far.reshape(-1, 3)])
    alike = _cosines(signatures, pairs[:, 1:]) >= ALIKE
    shares = []
    for some, hits in ((near, alike[: len(near)]), (pairs[len(near) :], alike[len(near) :])):
        counts = np.bincount(some[:, 0], minlength=len(found))
        shares.append(np.bincount(some[:, 0], hits, len(found)) / np.maximum(counts, 1))
    telling = shares[0] >= OFTEN * shares[1]
    kept = near[alike[: len(near)] & telling[near[:, 0]]]
    alike_in_any_order = np.flatnonzero(~telling & (shares[0] >= MOSTLY)).tolist()
    scenes = [tuple(image for _, image in found[number]) for number in alike_in_any_order]
    return [(one, other) for _, one, other in kept.tolist()], scenes


def series_of(names: Sequence[str]) -> Iterator[Series]:
    """The series among names, those of at least two."""
    series: dict[tuple[str, str], Series] = {}
    for image, name in enumerate(names):
        found = _NUMBERED.match(_ENDING.sub("", name))
        if found:
            series.setdefault((found["before"], found["after"]), []).append((int(found["number"]), image))
    return (sorted(numbered) for numbered in series.values() if len(numbered) > 1)


def _following(number: int, series: Series) -> Iterator[tuple[int, int, int]]:
    """(number of the series, image, image) whose numbers follow each other, by the step of the series."""
    gaps = Counter(then - at for (at, _), (then, _) in pairwise(series) if then > at)  # 1.jpg and 1.png are no row
    width, times = gaps.most_common(1)[0] if gaps else (1, 0)
    step = width if times >= REGULAR and 2 * times >= len(series) - 1 else 1
    return ((number, one, other) for (at, one), (then, other) in pairwise(series) if 0 < then - at <= step)


def _apart(number: int, series: Series) -> Iterator[tuple[int, int, int]]:
    """(number of the series, image, image) half the series apart; none where these would follow each other."""
    half = len(series) // 2
    pairs = zip(series, series[half:], strict=False) if half > 1 else ()
    return ((number, one, other) for (_, one), (_, other) in pairs)


def _cosines(signatures: Signatures, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
    """The cosines of the descriptors of each pair of images: float32 [P]."""
    from tenfold.check.candidates import describe  # PyTorch takes seconds, and names without numbers need none

    images, places = np.unique(pairs, return_inverse=True)
    blocks = range(0, len(images), _BLOCK)
    described = np.concatenate([describe(signatures.view[images[start : start + _BLOCK]]).whole for start in blocks])
    one, other = places.reshape(-1, 2).T
    cosines: NDArray[np.float32] = np.einsum("pd,pd->p", described[one], described[other])
    return cosines
