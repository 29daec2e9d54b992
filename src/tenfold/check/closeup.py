"""Close-up: what two images both show, cut out of the images themselves.

A view of the whole image, moved under another, is blurred by being resampled twice; cut out first and then made small
once, both show their detail as it is, and at twice the size.

Shapes: H x W pixels, S x S pixels of a view.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenfold.check.alignment import Alignment
from tenfold.check.signature import grey
from tenfold.images.resize import resize


class CloseUp(NamedTuple):
    """Two grey views of about the same thing, and how exactly they lie."""

    first: Tensor
    """float32 [1, S, S], S 128 or, where an image has fewer pixels, 64."""
    second: Tensor
    start: Alignment
    """Of one pair: what whole pixels could not hit."""


class _Span(NamedTuple):
    """A part of an axis, in pixels and in sides of the image."""

    start: int
    stop: int
    middle: float
    length: float


def close_up(first: NDArray[np.uint8], second: NDArray[np.uint8], found: Alignment) -> CloseUp:
    """Cut two upright images uint8 [H, W, 3], the first one turned already, to what both show by their alignment."""
    scale, shift = found.scale[0].numpy(), found.shift[0].numpy()
    low, high = np.maximum(-0.5, (-0.5 - shift) / scale), np.minimum(0.5, (0.5 - shift) / scale)
    ours = [_span(low[axis], high[axis], first.shape[axis]) for axis in (0, 1)]
    under_low, under_high = scale * low + shift, scale * high + shift
    theirs = [_span(under_low[axis], under_high[axis], second.shape[axis]) for axis in (0, 1)]
    size = 128 if min(span.stop - span.start for span in ours + theirs) >= 128 else 64
    finer_scale = [scale[axis] * ours[axis].length / theirs[axis].length for axis in (0, 1)]
    finer_shift = [
        (scale[axis] * ours[axis].middle + shift[axis] - theirs[axis].middle) / theirs[axis].length for axis in (0, 1)
    ]
    start = Alignment(
        torch.tensor([finer_scale], dtype=torch.float32),
        torch.tensor([finer_shift], dtype=torch.float32),
        found.gain,
        found.bias,
    )
    return CloseUp(_cut(first, ours, size), _cut(second, theirs, size), start)


def _span(low: float, high: float, length: int) -> _Span:
    """The whole pixels nearest to -1/2 <= low < high <= 1/2 of an axis."""
    start = min(max(round((low + 0.5) * length), 0), length - 1)
    stop = min(max(round((high + 0.5) * length), start + 1), length)
    return _Span(start, stop, (start + stop) / 2 / length - 0.5, (stop - start) / length)


def _cut(image: NDArray[np.uint8], spans: list[_Span], size: int) -> Tensor:
    rows, columns = spans
    part = np.ascontiguousarray(image[rows.start : rows.stop, columns.start : columns.stop])
    return torch.from_numpy(grey(resize(part, size, size))).float()[None]
