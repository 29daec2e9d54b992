"""Selective Search: regions that were joined step by step, in several ways, each in its box.

Uijlings, van de Sande, Gevers and Smeulders, "Selective search for object recognition", IJCV 104 (2013),
https://doi.org/10.1007/s11263-013-0620-5. A strategy is a color space, a k of the first segmentation and a choice of
measures by which regions are alike (`SelectiveSearch`); the versions are those of the paper's table 5:

    single   HSV, C+T+S+F, k = 100
    fast     HSV and Lab; C+T+S+F and T+S+F; k = 50 and 100
    quality  HSV, Lab, rgI, hue and grey; C+T+S+F, T+S+F, F and S; k = 50, 100, 150 and 300

The order of the boxes is that of section 3.3: the i-th last region of a hierarchy gets the value i times a random
number from 0 to 1; the lowest values come first, and of equal boxes only the first one stays. The random numbers are a
function of the image's hash, so the boxes of an image are always the same ones. As in the authors' program, regions
have at least k pixels and images are smoothed with a sigma of 0.8.

The first call ever compiles for 10 to 15 s; later processes load what it left. Times in one thread are in
benchmarks/proposals.py.

Shapes: H x W pixels, P proposals, R regions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.draws import draw_keys, uniforms
from tenfold.errors import UsageError, unknown
from tenfold.images.resize import resize
from tenfold.proposals.colors import SPACES, color_planes
from tenfold.proposals.features import pixel_features, region_histograms
from tenfold.proposals.grouping import MEASURES, find_regions, group_regions
from tenfold.proposals.segmentation import LARGEST_SIGMA, segment, sort_edges

LARGEST_SIDE = 4096
"""Pixels; the largest value of `SelectiveSearch.side`."""

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class SelectiveSearch:
    """The strategies: every combination of spaces, scales and measures. Raises UsageError for what is not allowed."""

    spaces: tuple[str, ...] = ("hsv", "lab")
    """Color spaces, see colors.py."""
    measures: tuple[str, ...] = ("CTSF", "TSF")
    """How regions are alike: letters of color, texture, size and fill, summed."""
    scales: tuple[int, ...] = (50, 100)
    """k of the segmentation in grey levels times pixels, and the fewest pixels of a region."""
    sigma: float = 0.8
    """Of the Gaussian before the segmentation, in pixels, 0 to 4."""
    side: int = 500
    """The longest side, in pixels, at which images are looked at: larger ones are scaled down, smaller ones left."""

    def __post_init__(self) -> None:
        for name in ("spaces", "measures", "scales"):
            if not getattr(self, name):
                raise UsageError(f"{name} of SelectiveSearch must name at least one.")
        for space in self.spaces:
            if space not in SPACES:
                raise unknown("spaces of SelectiveSearch", space, SPACES)
        for letters in self.measures:
            if not letters or len(set(letters)) < len(letters) or not set(letters) <= MEASURES.keys():
                raise UsageError(
                    f"measures of SelectiveSearch must be letters of {''.join(MEASURES)}, each once, not {letters!r}."
                )
        if min(self.scales) < 1:
            raise UsageError(f"scales of SelectiveSearch must be at least 1, not {min(self.scales)}.")
        if not 0 <= self.sigma <= LARGEST_SIGMA:
            raise UsageError(f"sigma of SelectiveSearch must be from 0 to {LARGEST_SIGMA:g}, not {self.sigma:g}.")
        if not 1 <= self.side <= LARGEST_SIDE:
            raise UsageError(f"side of SelectiveSearch must be from 1 to {LARGEST_SIDE}, not {self.side}.")

    @property
    def strategies(self) -> int:
        """How many hierarchies are made."""
        return len(self.spaces) * len(self.measures) * len(self.scales)

    def to_json(self) -> dict[str, Any]:
        """Every setting."""
        return asdict(self)

    def boxes(self, image: NDArray[np.uint8], number: int = 0) -> Boxes:
        """Proposals of an RGB image uint8 [H, W, 3], the likeliest first: float32 [P, 4], xyxy, x2 and y2 exclusive.

        The first box is mostly the whole image. `number`, 0 to 2**64 - 1, stands for the image where the order is
        random: the first digits of its hash (draws.hash_numbers). Holds no lock for most of its time. Raises
        UsageError for another image.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise UsageError(f"Selective Search needs an image uint8 [H, W, 3], not {image.dtype} {list(image.shape)}.")
        height, width = image.shape[:2]
        factor = min(self.side / max(height, width), 1.0)
        small = resize(image, max(round(height * factor), 1), max(round(width * factor), 1))
        boxes = ranked(list(self.hierarchies(small)), number)
        scale = np.array([width / small.shape[1], height / small.shape[0]] * 2)
        scaled: Boxes = (boxes * scale).astype(np.float32)
        return scaled

    def hierarchies(self, image: NDArray[np.uint8]) -> Iterator[NDArray[np.int32]]:
        """Of each strategy, the boxes of all regions in the order in which they were made: int32 [2 R - 1, 4]."""
        for space in self.spaces:
            planes = color_planes(image, space)
            edges = sort_edges(planes, self.sigma)
            looks = {"C", "T"} & set("".join(self.measures))
            features = pixel_features(planes) if looks else None
            for scale in self.scales:
                labels, count = segment(edges, scale, scale)
                regions = find_regions(labels, count)
                nothing = np.empty((0, 0), np.int32)
                histograms = nothing if features is None else region_histograms(labels, features, count)
                for letters in self.measures:
                    seen = histograms if {"C", "T"} & set(letters) else nothing
                    yield group_regions(regions, seen, letters, len(planes), labels.size)


VERSIONS = {
    "single": SelectiveSearch(("hsv",), ("CTSF",), (100,)),
    "fast": SelectiveSearch(),
    "quality": SelectiveSearch(("hsv", "lab", "rgi", "hue", "grey"), ("CTSF", "TSF", "F", "S"), (50, 100, 150, 300)),
}


def selective_search(image: NDArray[np.uint8], version: str = "fast", number: int = 0) -> Boxes:
    """The boxes of a version in VERSIONS, as `SelectiveSearch.boxes` gives them. Raises UsageError."""
    if version not in VERSIONS:
        raise unknown("version of Selective Search", version, VERSIONS)
    return VERSIONS[version].boxes(image, number)


def ranked(hierarchies: list[NDArray[np.int32]], number: int) -> NDArray[np.int32]:
    """The boxes int32 [P, 4] of hierarchies [2 R - 1, 4] in random order of their position, each box once."""
    values = []
    for draw, boxes in enumerate(hierarchies):
        key = draw_keys(0, 0, np.array([number], np.uint64), draw)
        values.append(uniforms(key, len(boxes))[0] * np.arange(len(boxes), 0, -1))
    ordered = np.concatenate(hierarchies)[np.argsort(np.concatenate(values), kind="stable")]
    x1, y1, x2, y2 = ordered.T.astype(np.int64)
    _, first = np.unique(((x1 << 14 | y1) << 14 | x2) << 14 | y2, return_index=True)
    unique: NDArray[np.int32] = ordered[np.sort(first)]
    return unique
