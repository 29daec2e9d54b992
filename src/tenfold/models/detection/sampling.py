"""A few boxes of thousands: as many of objects as a share allows, and background for the rest.

Shapes: N images, A boxes of an image, S boxes drawn of each.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from tenfold.models.detection.matching import BACKGROUND, POSITIVE

BACKGROUND_CLASS = "(background)"
"""The class of a region in which no object is, where regions are images to be classified."""


class Drawn(NamedTuple):
    """The boxes drawn of N images."""

    place: Tensor
    """int64 [N, S], places among the A boxes; any where `there` is false."""
    there: Tensor
    """bool [N, S]: an image may have fewer."""
    positive: Tensor
    """bool [N, S]."""


def draw_boxes(state: Tensor, count: int, share: float, generator: torch.Generator | None) -> Drawn:
    """Draw up to `count` boxes of each image, at most the `share` of them positive: states int64 [N, A] -> Drawn.

    Each set is as likely as another. `generator` is one of the CPU; None is torch's global one, which the training
    loop seeds at each step.
    """
    numbers = torch.rand(state.shape, generator=generator).to(state.device)
    most = int(count * share)
    positive, chosen = _first(state == POSITIVE, numbers, most)
    left = count - chosen.sum(1, keepdim=True)
    background, others = _first(state == BACKGROUND, numbers, count)
    others &= torch.arange(others.shape[1], device=state.device) < left
    return Drawn(
        torch.cat([positive, background], 1),
        torch.cat([chosen, others], 1),
        torch.cat([chosen, torch.zeros_like(others)], 1),
    )


def evaluation_generator() -> torch.Generator:
    """What draws in evaluation mode: the same each time, so that validation losses can be compared."""
    return torch.Generator().manual_seed(0)


def _first(among: Tensor, numbers: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Places of the `most` largest numbers where `among` holds, int64 [N, S], and whether there are so many."""
    values, place = numbers.masked_fill(~among, -1.0).topk(min(most, numbers.shape[1]), dim=1)
    return place, values >= 0
