"""Heads: from the features that a frozen network gives to logits; fitted at once, kept as tensors.

head.py       what a head is: a linear map, or the nearest training images
fits.py       the ways to fit one, by scikit-learn where it has them: HEADS
descent.py    softmax regression by gradient
sharpness.py  what turns the scores of a nearest mean, an SVM or a ridge into logits
strength.py   how strongly to regularize, chosen on images that a head was not fitted on

To add a head, write a function in fits.py (or your own file) and a line in HEADS.
"""

from tenfold.models.heads.fits import HEADS, Kind, find_head, fit_head, make_head
from tenfold.models.heads.head import Head, LinearHead, NeighborHead, unit_rows
from tenfold.models.heads.sharpness import fit_sharpness
from tenfold.models.heads.strength import Answers, best_answers, can_hold_out, choose_strength, held_out_answers

__all__ = [
    "HEADS",
    "Answers",
    "Head",
    "Kind",
    "LinearHead",
    "NeighborHead",
    "best_answers",
    "can_hold_out",
    "choose_strength",
    "find_head",
    "fit_head",
    "fit_sharpness",
    "held_out_answers",
    "make_head",
    "unit_rows",
]
