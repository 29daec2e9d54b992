"""Proposals: an image -> boxes that may hold an object, whatever its class, the likeliest first.

    compiled.py          how the loops of this package are compiled
    colors.py            RGB -> the color spaces that Selective Search looks at
    segmentation.py      Felzenszwalb and Huttenlocher's graph segmentation
    features.py          color and texture of pixels, counted for each region
    grouping.py          neighbors, and the hierarchy that grows by joining the two most alike
    selective_search.py  strategies, versions, the order of the boxes
    windows.py           sliding windows and random boxes, which any method must beat
    stored.py            the proposals of a Table, from the cache where it holds them
    files.py             proposals as a file, those of other programs too
    recall.py            which objects of a Table its proposals cover

Boxes are float32 [P, 4], xyxy pixels of the upright image, where pixel 0 reaches from 0 to 1: x2 and y2 are exclusive,
so that a box around one pixel has an area of 1, and the box of a whole image is (0, 0, W, H).
"""

from tenfold.proposals.files import Given, ProposalFile, choose_proposals, read_proposals, write_proposals
from tenfold.proposals.recall import Coverage, cover_objects
from tenfold.proposals.selective_search import VERSIONS, SelectiveSearch, selective_search
from tenfold.proposals.stored import (
    METHODS,
    Proposed,
    Proposer,
    make_proposer,
    propose_pixels,
    propose_prepared,
    propose_table,
)
from tenfold.proposals.windows import random_boxes, sliding_windows

__all__ = [
    "METHODS",
    "VERSIONS",
    "Coverage",
    "Given",
    "ProposalFile",
    "Proposed",
    "Proposer",
    "SelectiveSearch",
    "choose_proposals",
    "cover_objects",
    "make_proposer",
    "propose_pixels",
    "propose_prepared",
    "propose_table",
    "random_boxes",
    "read_proposals",
    "selective_search",
    "sliding_windows",
    "write_proposals",
]
