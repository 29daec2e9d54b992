"""Softmax regression by gradient: the same optimum as logistic regression's, with nothing but matrix products.

Accelerated gradient descent (Nesterov 1983), restarted where it overshoots (O'Donoghue and Candes, "Adaptive restart
for accelerated gradient schemes", 2015, https://doi.org/10.1007/s10208-013-9150-3). The step is one over the largest
curvature, so that there is no rate to be set.

Shapes: M rows, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

STEPS = 5000
"""At most."""
TOLERANCE = 1e-7
"""Largest component of the gradient at which a descent ends."""


def descend(rows: Tensor, labels: Tensor, classes: int, strengths: Sequence[float]) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight [K, D] and bias [K] that minimize the mean cross-entropy + strength / 2 |weight|^2, for each strength.

    `rows` float64 [M, D]; `labels` int64 [M], 0 to `classes` - 1.
    """
    design = torch.cat([rows, torch.ones_like(rows[:, :1])], 1)
    target = torch.nn.functional.one_hot(labels, classes).to(rows.dtype)
    # Half the largest eigenvalue of the second moments bounds the curvature of a mean cross-entropy (Boehning 1992).
    curvature = float(torch.linalg.matrix_norm(design, 2) ** 2) / len(rows) / 2
    found = torch.zeros(classes, design.shape[1], dtype=rows.dtype, device=rows.device)
    for strength in strengths:
        found = _minimize(design, target, found, strength, 1 / (curvature + strength))
        yield found[:, :-1], found[:, -1]


def _minimize(design: Tensor, target: Tensor, start: Tensor, strength: float, rate: float) -> Tensor:
    """The optimum [K, D + 1], the last column the bias, which is not penalized."""
    penalty = torch.full_like(start, strength)
    penalty[:, -1] = 0
    current, ahead, momentum = start, start, 1.0
    for _ in range(STEPS):
        gradient = (torch.softmax(design @ ahead.T, 1) - target).T @ design / len(design) + penalty * ahead
        if float(gradient.abs().max()) < TOLERANCE:
            return ahead
        stepped = ahead - rate * gradient
        if float((gradient * (stepped - current)).sum()) > 0:
            momentum = 1.0
        grown = (1 + (1 + 4 * momentum**2) ** 0.5) / 2
        ahead = stepped + (momentum - 1) / grown * (stepped - current)
        current, momentum = stepped, grown
    return current
