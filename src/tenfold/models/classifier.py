"""Classifier: what all networks that name one class an image have in common.

Shapes: N images, C channels, H x W pixels, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from tenfold.images.batch import Batch
from tenfold.models.contract import Losses, Model, Prediction
from tenfold.models.layers import soft_accuracy, soft_cross_entropy


class Classifier(Model):
    """A model with `forward(images [N, C, H, W]) -> logits [N, K]`, trained by cross-entropy on soft labels."""

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        self.class_weights: Tensor | None
        weights = settings.get("class_weights")
        self.register_buffer("class_weights", torch.tensor(weights) if weights else None, persistent=False)

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self(images)}

    def decode(self, outputs: dict[str, Tensor], affine: Tensor) -> list[Prediction]:
        """One image's prediction: "logits" float32 [K], and "probability" float64 [K], calibrated, which sums to 1."""
        logits = outputs["logits"].float().cpu()
        probability = torch.softmax(logits.double() / self.temperature, dim=1)
        return [{"logits": a.numpy(), "probability": b.numpy()} for a, b in zip(logits, probability, strict=True)]

    def losses(self, batch: Batch) -> Losses:
        logits, label = self(batch.images), batch.targets["label"]
        smoothing = float(self.settings.get("label_smoothing", 0.0)) if self.training else 0.0
        weights = self.class_weights if self.training else None
        loss = soft_cross_entropy(logits, label, smoothing, weights)
        return Losses({"loss": loss}, {"accuracy": soft_accuracy(logits, label)})
