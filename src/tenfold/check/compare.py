"""Compare: do two aligned views show the same pixels, or only the same kind of thing?

Two photographs of one scene agree in what is large and differ in what is small: leaves move, noise is new each time. A
copy agrees in both, whatever was done to it. So what decides is the correlation of the detail that is left when each
view's own blur is taken off. It counts nothing where either view is cut off at white or black, and a second time
without the rectangle of at most a tenth of the view that differs most: a mark that somebody put there.

Shapes: P pairs, S x S pixels, W windows.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from tenfold.check.alignment import Alignment, lay_over

_BLUR = 5
_CELL = 16  # a view is 16 x 16 cells, of which a mark covers a rectangle
_MARKS = ((5, 5), (4, 6), (6, 4), (3, 8), (8, 3), (2, 13), (13, 2))
_WHITE, _BLACK, _LEEWAY = 250, 4, 16  # grey levels


@dataclass(frozen=True)
class Comparison:
    """What was found of each of P pairs, float32 [P]."""

    detail: Tensor
    """Correlation of the detail."""
    unmarked: Tensor
    """The same outside the rectangle that differs most."""
    mark: Tensor
    """Part of the difference that lies within that rectangle, 0 to 1."""
    agreement: Tensor
    """Mean over windows of how alike they are in structure, -1 to 1; the worst sixth of them left out."""
    contrast: Tensor
    """Standard deviation of the flatter of the two views, grey levels."""
    richness: Tensor
    """About how many details of the plainer view are independent of one another: 40 or less for a written digit."""
    overlap: Tensor
    """Part of the first view that the second one covers."""

    def take(self, rows: Tensor) -> Comparison:
        """These pairs; positions, or a bool a pair."""
        return Comparison(*(getattr(self, field.name)[rows] for field in fields(self)))


def compare_views(first: Tensor, second: Tensor, found: Alignment) -> Comparison:
    """Compare float32 views [P, S, S], S a multiple of 16, the second one laid under the first."""
    moved, inside = lay_over(second, found)
    expected = found.gain[:, None, None] * moved + found.bias[:, None, None]
    weight = (inside & ~_cut_off(first, moved, expected)).float()
    expected = expected.clamp(0, 255)
    fine, fine_expected = _detail(first), _detail(expected)
    outside, mark = _without_mark(weight, (fine - fine_expected) ** 2)
    contrast = torch.minimum(_variance(first, inside.float()), _variance(moved, inside.float())).sqrt()
    return Comparison(
        _correlation(fine, fine_expected, weight),
        _correlation(fine, fine_expected, outside),
        mark,
        _agreement(first, expected, weight),
        contrast,
        torch.minimum(_richness(fine), _richness(fine_expected)),
        inside.float().mean((1, 2)),
    )


def _cut_off(first: Tensor, moved: Tensor, expected: Tensor) -> Tensor:
    """Pixels cut off at white or black in one view, and rightly so by what the other one shows there."""
    white = ((first >= _WHITE) & (expected > first - _LEEWAY)) | ((moved >= _WHITE) & (first > expected - _LEEWAY))
    black = ((first <= _BLACK) & (expected < first + _LEEWAY)) | ((moved <= _BLACK) & (first < expected + _LEEWAY))
    return white | black


def _detail(views: Tensor) -> Tensor:
    edge = _BLUR // 2
    padded = F.pad(views[:, None], (edge, edge, edge, edge), mode="replicate")
    return views - F.avg_pool2d(padded, _BLUR, 1)[:, 0]


def _without_mark(weight: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
    """The weights without the rectangle that holds most of the difference, and which part of it it holds."""
    cell = weight.shape[-1] // _CELL
    cells = F.avg_pool2d((difference * weight)[:, None], cell)
    best = torch.full((len(weight),), -1.0)
    kept = weight
    place = torch.arange(_CELL)
    for height, width in _MARKS:
        sums = F.avg_pool2d(cells, (height, width), 1)[:, 0] * (height * width)
        most, where = sums.flatten(1).max(1)
        top, left = where // sums.shape[2], where % sums.shape[2]
        rows = (place >= top[:, None]) & (place < top[:, None] + height)
        columns = (place >= left[:, None]) & (place < left[:, None] + width)
        covered = (rows[:, :, None] & columns[:, None, :]).repeat_interleave(cell, 1).repeat_interleave(cell, 2)
        better = most > best
        kept = torch.where(better[:, None, None], weight * ~covered, kept)
        best = torch.where(better, most, best)
    return kept, best / cells.sum((1, 2, 3)).clamp(min=1e-6)


def _agreement(first: Tensor, expected: Tensor, weight: Tensor) -> Tensor:
    """The structure term of SSIM (Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861) of small windows."""
    size = first.shape[-1] // 8

    def mean(values: Tensor) -> Tensor:
        return F.avg_pool2d((values * weight)[:, None], size, max(size // 2, 1))[:, 0].flatten(1)

    share = mean(torch.ones_like(first)).clamp(min=1e-6)
    a, b = mean(first) / share, mean(expected) / share
    variances = (mean(first**2) / share - a**2).clamp(min=0) + (mean(expected**2) / share - b**2).clamp(min=0)
    covariance = mean(first * expected) / share - a * b
    alike = (2 * covariance + 8) / (variances + 8)
    worth = variances.sqrt()
    worth = torch.minimum(worth, 2 * worth.median(1, keepdim=True).values + 4) * (share > 0.5)
    order = alike.argsort(1)
    worth, alike = worth.gather(1, order), alike.gather(1, order)
    kept = worth * (worth.cumsum(1) > worth.sum(1, keepdim=True) / 6)
    return (kept * alike).sum(1) / kept.sum(1).clamp(min=1e-6)


def _correlation(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    product = (first * second * weight).sum((1, 2))
    energy = (first**2 * weight).sum((1, 2)) * (second**2 * weight).sum((1, 2))
    return product / energy.sqrt().clamp(min=1e-3)


def _richness(fine: Tensor) -> Tensor:
    """How many pixels hold detail (its participation ratio), times the part of them that the neighbors do not tell.

    A scale and a shift that are free to choose lay one smooth stroke over another as well as over its copy.
    """
    energy = (fine**2).sum((1, 2)).clamp(min=1e-3)
    held = energy**2 / (fine**4).sum((1, 2)).clamp(min=1e-6)
    slopes = (fine.diff(dim=1) ** 2).sum((1, 2)) + (fine.diff(dim=2) ** 2).sum((1, 2))
    return held * slopes / energy / 4


def _variance(views: Tensor, weight: Tensor) -> Tensor:
    total = weight.sum((1, 2)).clamp(min=1)
    mean = (views * weight).sum((1, 2)) / total
    return ((views**2 * weight).sum((1, 2)) / total - mean**2).clamp(min=0)
