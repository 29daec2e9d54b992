"""Several networks side by side, each trained by itself; their mean probability is the answer.

With few images that can be worth more than one network that is trained for longer in the same time: of 500 images of
CIFAR-10 two networks learned what 65.9 % of 3,000 others show, log loss 1.077, and one for twice as many epochs 65.0 %,
1.121 (n = 1, benchmarks/transfer.py). Lakshminarayanan, Pritzel and Blundell, "Simple and scalable predictive
uncertainty estimation using deep ensembles", 2017; Brigato and Iocchi, "On the effectiveness of deep ensembles for
small data tasks", 2021.

The networks see the same batches, and differ by how their weights began.

Shapes: M networks, N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from tenfold.images.batch import Batch
from tenfold.models.classifier import Classifier
from tenfold.models.contract import Losses, Model


class Ensemble(Classifier):
    """M networks of a kind, "members" of the settings: [N, C, H, W] -> logits [N, K], logarithms of probabilities."""

    def __init__(self, kind: type[Model], channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        self.members = nn.ModuleList(kind(channels, classes, settings) for _ in range(settings["members"]))

    def forward(self, images: Tensor) -> Tensor:
        every = torch.stack([member(images).float().log_softmax(1) for member in self.members])
        return every.logsumexp(0) - math.log(len(every))

    def losses(self, batch: Batch) -> Losses:
        """In training the mean of the networks' own, so that each learns as it would alone; else the ensemble's.

        The gradients are an M-th of those alone, which Muon and AdamW do not heed; SGD wants M times the rate. They are
        clipped (`train.clip`) all together.
        """
        if not self.training:
            return super().losses(batch)
        every = [member.losses(batch) for member in self.members]  # type: ignore[operator]
        return Losses(
            {name: torch.stack([own.minimize[name] for own in every]).mean() for name in every[0].minimize},
            {name: torch.stack([own.watch[name] for own in every]).mean() for name in every[0].watch},
        )
