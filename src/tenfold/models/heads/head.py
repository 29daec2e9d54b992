"""What a head is: features -> logits, its tensors all that was fitted.

Features are centered by the training images' mean and scaled to length 1, which makes the nearest mean and the
nearest neighbors of few images much better (Wang et al., "SimpleShot", 2019, https://arxiv.org/abs/1911.04623) and
gives regularization one meaning for every network.

Shapes: N images, V views, D features, K classes, M training rows.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Head(nn.Module):
    """A map from features float32 [N, V, D] to logits [N, K]."""

    center: Tensor
    sharpness: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(width))
        self.register_buffer("sharpness", torch.ones(()))

    def forward(self, features: Tensor) -> Tensor:
        """Logits: `sharpness` times the scores of the mean of an image's views."""
        return self.sharpness * self.scores(unit_rows(features, self.center).mean(1))

    def scores(self, rows: Tensor) -> Tensor:
        """[N, D], centered, of length 1 or means of such -> [N, K], the higher the likelier."""
        raise NotImplementedError


class LinearHead(Head):
    """Scores by one weighted sum a class."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__(width)
        self.weight = nn.Parameter(torch.zeros(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))

    def scores(self, rows: Tensor) -> Tensor:
        return F.linear(rows, self.weight, self.bias)


class NeighborHead(Head):
    """Scores by the classes of the nearest training rows.

    A class with v of k votes has the probability (v + 1) / (k + K), by Laplace's rule of succession, and its score is
    the logarithm of that: without the added votes one wrong answer would have cost an infinite log loss.
    """

    rows: Tensor
    labels: Tensor

    def __init__(self, width: int, classes: int, neighbors: int) -> None:
        super().__init__(width)
        self.classes = classes
        self.neighbors = neighbors
        self.register_buffer("rows", torch.zeros(1, width))
        self.register_buffer("labels", torch.zeros(1, dtype=torch.int64))

    def votes(self, rows: Tensor) -> Tensor:
        """How many of the nearest training rows are of each class: int64 [N, K]."""
        distances = self.rows.square().sum(1) - 2 * rows @ self.rows.T  # squared, less a number that is each row's own
        nearest = distances.topk(min(self.neighbors, len(self.rows)), dim=1, largest=False).indices
        return F.one_hot(self.labels[nearest], self.classes).sum(1)

    def scores(self, rows: Tensor) -> Tensor:
        votes = self.votes(rows)
        return ((votes + 1) / (votes.sum(1, keepdim=True) + self.classes)).log().to(rows.dtype)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Take as many rows as are stored: how many there are is known only after the fit."""
        for name in ("rows", "labels"):
            stored = state_dict.get(prefix + name)
            if stored is not None:
                setattr(self, name, torch.empty_like(stored, device=self.rows.device))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def unit_rows(features: Tensor, center: Tensor) -> Tensor:
    """[..., D] less the center [D], each scaled to length 1; what lies at the center stays there."""
    return F.normalize(features - center, dim=-1)
