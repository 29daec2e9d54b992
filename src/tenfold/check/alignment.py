"""Alignment: lay one grey view over another by scale, shift, gain and bias, many pairs at once.

Gauss-Newton on the grey values (Lucas and Kanade 1981; Baker and Matthews 2004, International Journal of Computer
Vision 56:221) from coarse to fine. Per pair it finds scale and shift of each axis (a crop that was squeezed back to a
square is just that) and the gain and bias that explain A by B:

    A(u) = gain * B(scale * u + shift) + bias,   u in -1/2 to 1/2 along each axis, rows first

Pixels that the model does not explain (a mark, a clipped highlight) weigh less from step to step.

Shapes: P pairs, S x S pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_SCALE, LARGEST_SHIFT = 1.3, 0.2

_STEPS = {16: 6, 32: 4, 64: 2, 128: 2}
"""Steps at each size, coarse to fine."""


@dataclass(frozen=True)
class Alignment:
    """How each of P second views lies under its first view."""

    scale: Tensor
    """[P, 2], rows and columns; below 1 where the first is a part of the second."""
    shift: Tensor
    """[P, 2], as a part of the side."""
    gain: Tensor
    """[P]"""
    bias: Tensor
    """[P], grey levels"""

    @classmethod
    def unmoved(cls, pairs: int) -> Alignment:
        """Views that lie as they are."""
        return cls(torch.ones(pairs, 2), torch.zeros(pairs, 2), torch.ones(pairs), torch.zeros(pairs))

    @classmethod
    def join(cls, parts: Sequence[Alignment]) -> Alignment:
        """Alignments of several sets of pairs as one."""
        scale, shift = torch.cat([part.scale for part in parts]), torch.cat([part.shift for part in parts])
        return cls(scale, shift, torch.cat([part.gain for part in parts]), torch.cat([part.bias for part in parts]))

    def take(self, rows: Tensor) -> Alignment:
        """These pairs; positions, or a bool a pair."""
        return Alignment(self.scale[rows], self.shift[rows], self.gain[rows], self.bias[rows])


def align_views(first: Tensor, second: Tensor, start: Alignment, sizes: tuple[int, ...]) -> Alignment:
    """The alignment of float32 views [P, S, S], refined at each of these sizes (divisors of S) in turn."""
    found = start
    for size in sizes:
        fine, rough = reduce_views(first, size), reduce_views(second, size)
        for _ in range(_STEPS[size]):
            found = _step(fine, rough, found)
    return found


def reduce_views(views: Tensor, size: int) -> Tensor:
    """Views [P, S, S] at a smaller size, by averaging."""
    return views if views.shape[-1] == size else F.avg_pool2d(views[:, None], views.shape[-1] // size)[:, 0]


def lay_over(second: Tensor, found: Alignment) -> tuple[Tensor, Tensor]:
    """The second views [P, S, S] moved under the first, and where they have pixels there: bool [P, S, S]."""
    size = second.shape[-1]
    pixels = torch.arange(size)
    at = found.scale[..., None] * ((pixels + 0.5) / size - 0.5) + found.shift[..., None]
    inside = at.abs() <= 0.5
    place = ((at + 0.5) * size - 0.5).clamp(0, size - 1)
    weights = (1 - (place[..., None] - pixels).abs()).clamp(min=0)
    moved = weights[:, 0] @ second @ weights[:, 1].mT
    return moved, inside[:, 0, :, None] & inside[:, 1, None, :]


def _step(first: Tensor, second: Tensor, found: Alignment) -> Alignment:
    """One weighted least-squares step for all six numbers of each pair: the slopes of B carry scale and shift."""
    moved, inside = lay_over(second, found)
    size = first.shape[-1]
    residual = (first - found.gain[:, None, None] * moved - found.bias[:, None, None]) * inside
    spread = residual.abs().sum((1, 2), keepdim=True) / inside.sum((1, 2), keepdim=True).clamp(min=1)
    weight = inside / (1 + (residual / (2.5 * spread + 1)) ** 2)
    rows, columns = (slope * size for slope in torch.gradient(moved, dim=(1, 2)))
    u = (torch.arange(size) + 0.5) / size - 0.5
    terms = [moved, torch.ones_like(moved), rows * u[:, None], columns * u, rows, columns]
    basis = torch.stack([term.flatten(1) for term in terms], 1)
    weighted = basis * weight.flatten(1)[:, None]
    normal, target = weighted @ basis.mT, weighted @ first.flatten(1)[..., None]
    # Along an edge the image says nothing of its own shift; a small cost keeps it where it is.
    variance = (weighted[:, 0] * basis[:, 0]).sum(1) - weighted[:, 0].sum(1) ** 2 / weighted[:, 1].sum(1).clamp(min=1)
    cost = torch.tensor([0.0, 0.0, 0.3, 0.3, 0.1, 0.1]) * variance.clamp(min=1)[:, None]
    solved = torch.linalg.solve(normal + torch.diag_embed(cost + 1e-3), target)[..., 0]
    gain = solved[:, 0].clamp(0.2, 5)
    moves = solved[:, 2:] / gain[:, None] * found.scale.repeat(1, 2)
    scale = (found.scale + moves[:, :2].clamp(-0.1, 0.1)).clamp(1 / LARGEST_SCALE, LARGEST_SCALE)
    shift = (found.shift + moves[:, 2:].clamp(-0.1, 0.1)).clamp(-LARGEST_SHIFT, LARGEST_SHIFT)
    return Alignment(scale, shift, gain, solved[:, 1])
