"""Bursts: images taken in a row, which must not be split apart: by one camera within seconds, or numbered and alike.

Shapes: N images.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tenfold.check.candidates import describe
from tenfold.check.signature import Signatures
from tenfold.errors import UsageError
from tenfold.split.ties import join

SECONDS = 3.0
"""Longest time between one image of a burst and the next."""

ALIKE = 0.8
"""Least cosine of the descriptors of two images numbered in a row. Of neighbors in a shuffled set, one in a thousand
reaches it (flowers 0.8, CIFAR-10 1.6 in 1,000); of faces of one person that follow each other (ORL), two thirds."""

_NUMBERED = re.compile(r"^(?P<before>.*?)(?P<number>\d+)(?P<after>\D*)$", re.DOTALL)
_ENDING = re.compile(r"\.[A-Za-z]\w{0,4}$")


def find_bursts(
    names: Sequence[str], signatures: Signatures, times: NDArray[np.float64], cameras: Sequence[str | None]
) -> list[tuple[int, ...]]:
    """The bursts among N images, each as its images' positions in order, at least two; each image is in at most one.

    `names` are paths or anything else that ends in a number, `times` float64 [N] seconds on any one clock, NaN where
    unknown, `cameras` names the camera of each image, None where unknown; an image that lacks either is judged by its
    number alone. Two images with the same camera at most SECONDS apart belong together, as do two whose names differ
    only in numbers that follow each other, if their looks reach ALIKE; and so on along chains.
    """
    if not len(names) == len(signatures) == len(times) == len(cameras):
        raise UsageError(
            "find_bursts needs as many names as signatures, times and cameras, "
            f"not {len(names)}, {len(signatures)}, {len(times)} and {len(cameras)}."
        )
    ties: list[list[str]] = [[] for _ in names]
    for place, pair in enumerate([*_within_seconds(times, cameras), *_numbered_and_alike(names, signatures)]):
        for image in pair:
            ties[image].append(f"{place}")
    members: dict[int, list[int]] = {}
    for image, block in enumerate(join(ties).tolist()):
        members.setdefault(block, []).append(image)
    return [tuple(images) for images in members.values() if len(images) > 1]


def _within_seconds(times: NDArray[np.float64], cameras: Sequence[str | None]) -> Iterator[tuple[int, int]]:
    """Pairs of one camera that follow each other by the clock."""
    known = [image for image, camera in enumerate(cameras) if camera is not None and np.isfinite(times[image])]
    known.sort(key=lambda image: (cameras[image] or "", times[image]))
    for one, other in pairwise(known):
        if cameras[one] == cameras[other] and times[other] - times[one] <= SECONDS:
            yield one, other


def _numbered_and_alike(names: Sequence[str], signatures: Signatures) -> Iterator[tuple[int, int]]:
    pairs = np.array(list(_numbered(names)), np.int64).reshape(-1, 2)
    for start in range(0, len(pairs), 4096):
        some = pairs[start : start + 4096]
        images, places = np.unique(some, return_inverse=True)
        described = describe(signatures.view[images]).whole[places.reshape(-1, 2)]
        alike = np.einsum("pd,pd->p", described[:, 0], described[:, 1]) >= ALIKE
        yield from ((one, other) for one, other in some[alike].tolist())


def _numbered(names: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs whose names differ in their last number only, by one."""
    series: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for image, name in enumerate(names):
        found = _NUMBERED.match(_ENDING.sub("", name))
        if found:
            series.setdefault((found["before"], found["after"]), []).append((int(found["number"]), image))
    for numbered in series.values():
        numbered.sort()
        for (number, one), (following, other) in pairwise(numbered):
            if following - number == 1:
                yield one, other
