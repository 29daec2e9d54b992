"""Every random choice about an image, as a pure function of (seed, epoch, image hash, draw).

No generator is carried along, so a choice depends neither on the batch size nor on threads, ranks or a restart.
The mixing function is splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators",
OOPSLA 2014), whose outputs pass BigCrush.

Shapes: N images, D numbers an image.
"""

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def draw_keys(seed: int, epoch: int, hashes: Keys, draw: int | Keys = 0) -> Keys:
    """One key an image: uint64 [N] from `hashes` uint64 [N] and `draw` (a number, or uint64 [N])."""
    with np.errstate(over="ignore"):
        key = _mix(np.asarray(seed, np.uint64) + _GOLDEN)
        key = _mix(key ^ (np.asarray(epoch, np.uint64) * _FIRST + _GOLDEN))
        key = _mix(key ^ hashes)
        return _mix(key ^ (np.asarray(draw, np.uint64) * _SECOND + _GOLDEN))


def uniforms(keys: Keys, count: int, first: int = 0) -> NDArray[np.float64]:
    """Numbers `first` to `first + count - 1` of each key's stream: float64 [N, count] in [0, 1)."""
    steps = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        bits = _mix(keys[:, None] + steps[None, :] * _GOLDEN)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def epoch_order(seed: int, epoch: int, hashes: Keys, draw: int | Keys = 0) -> NDArray[np.int64]:
    """A permutation int64 [N]: images sorted by a key of their own, so that one more image moves no other."""
    return np.argsort(draw_keys(seed ^ 0x5EED, epoch, hashes, draw), kind="stable")


def hash_numbers(hashes: list[str]) -> Keys:
    """The first 16 hexadecimal digits of content hashes as numbers: uint64 [N]."""
    return np.array([int(text[:16], 16) for text in hashes], np.uint64)


def _mix(value: Keys) -> Keys:
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    mixed: Keys = value ^ (value >> np.uint64(31))
    return mixed
