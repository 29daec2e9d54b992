"""Pretrained weights: what is published, whose it is, where it lies, and how a file becomes tensors.

published.py  the files that networks are published in: size, hash, licence, where to get them
places.py     where such a file lies on this machine
fetch.py      a download that goes on where it broke off, and is checked
read.py       a file -> named tensors; nothing in it is executed
load.py       named tensors -> a network, or one sentence about the first that does not fit
packages.py   packages that are an extra
"""

from tenfold.models.weights.fetch import fetch_weights
from tenfold.models.weights.places import find_weights, keep_weights
from tenfold.models.weights.published import PUBLISHED, Origin, Published

__all__ = ["PUBLISHED", "Origin", "Published", "fetch_weights", "find_weights", "keep_weights"]
