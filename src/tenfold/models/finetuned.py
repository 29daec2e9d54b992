"""FineTunedNetwork: a pretrained ConvNet with new layers on it, which learn first; then it learns too.

As the lecture draws it. The new convolutions and the fully connected layers are those of the recipe ([model] layers,
width, hidden); without any, one last layer stands on the ConvNet's features, and starts as the logistic regression
that is fitted to them (LP-FT): Kumar et al., "Fine-tuning can distort pretrained features and underperform
out-of-distribution", 2022, https://arxiv.org/abs/2202.10054, section 4.

Shapes: N images, C channels, H x W pixels, D features, W0 = width, K classes.

    images                                                     [N, C, H, W]
    backbone: its last map                                     [N, C', H/32, W/32]
    new layers: convolution 3x3, norm, activation, `layers` x  [N, W0, H/32, W/32]
    mean over the map                                          [N, W0], without new layers the features [N, D]
    fully connected layers `hidden`, dropout                   [N, U]
    last layer: logits                                         [N, K]

Learning goes down from the head: during the share `frozen` of the training the new layers alone; then one stage of the
ConvNet after the other, the last one first, each at `rate_decay` times the rate of the one after it (Howard and Ruder,
"Universal language model fine-tuning", 2018, https://arxiv.org/abs/1801.06146, sections 3.2 and 3.3); after the share
`thawed` all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tenfold.errors import UsageError
from tenfold.images.batch import Batch
from tenfold.models.backbones import bare_backbone
from tenfold.models.classifier import Classifier
from tenfold.models.contract import Step, Usual
from tenfold.models.frozen import OnBackbone
from tenfold.models.heads import LinearHead, choose_strength, fit_head
from tenfold.models.layers import make_activation, make_convolution, make_head, make_norm, start_weights

_START = "logistic"
_MOST, _EACH = 2000, 10
"""Images that the last layer starts from, about, and of each class at least, where it has them. Its strength is chosen
by fits whose time grows with them: with the 26,000 regions of 205 images they took half an hour."""


class FineTunedNetwork(OnBackbone, Classifier):
    """Settings: "backbone", "weights", "init", "layers", "width", "hidden", "activation", "norm", "dropout", "frozen",
    "thawed", "rate_decay".
    """

    usual: ClassVar[Usual] = Usual("adamw", 0.1, images=6_000, epochs=(5, 40), size=160, keep="last")
    sections: ClassVar[tuple[str, ...]] = ("model", "transfer")
    unread: ClassVar[tuple[str, ...]] = (
        "image.filter",  # that of the weights' own training is taken
        *("model.pool", "model.pool_every"),
        *("transfer.views", "transfer.crop", "transfer.spread"),
        *("transfer.head", "transfer.strength", "transfer.sharpness"),
    )

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        self.backbone = bare_backbone(settings["backbone"])
        if not self.backbone.stages():
            name = self.backbone.name
            raise UsageError(f"The model finetuned needs a backbone whose layers can learn, not {name}; take frozen.")
        width, norm = settings["width"], settings["norm"]
        inputs = self.backbone.channels[-1]
        layers: list[nn.Module] = []
        for _ in range(settings["layers"]):
            layers += [make_convolution(inputs, width, 3, 1, norm), make_norm(norm, width)]
            layers += [make_activation(settings["activation"])]
            inputs = width
        self.layers = nn.Sequential(*layers)
        self.head: nn.Module = LinearHead(self.backbone.width, len(classes))
        if layers or settings["hidden"]:
            features = inputs if layers else self.backbone.width
            self.head = make_head(features, tuple(settings["hidden"]), len(classes), settings)
            start_weights(self.head, settings["activation"])
        start_weights(self.layers, settings["activation"])

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        logits: Tensor = self.head(features[:, None] if isinstance(self.head, LinearHead) else features)
        return logits

    def features(self, images: Tensor) -> Tensor:
        """What the fully connected layers see: [N, W0], or [N, D] without new convolutions."""
        if not len(self.layers):
            return self.backbone.features(images)
        maps: Tensor = self.layers(self.backbone.maps(images)[-1])
        return maps.mean((2, 3))

    def steps(self) -> list[Step]:
        parameters = [*self.layers.parameters(), *self.head.parameters()]
        rates = [1.0] * len(parameters)
        for depth, stage in enumerate(reversed(self.backbone.stages()), 1):
            own = list(stage.parameters())
            parameters += own
            rates += [self.settings["rate_decay"] ** depth] * len(own)
        return [Step("model", self.losses, parameters, rates)]

    def learn(self, done: float) -> None:
        """Let the stages learn that are due after the share `done` of the training."""
        stages = self.backbone.stages()
        frozen = self.settings["frozen"]
        thawed = max(frozen, self.settings["thawed"])
        for depth, stage in enumerate(reversed(stages)):
            due = frozen + (thawed - frozen) * depth / max(len(stages) - 1, 1)
            stage.requires_grad_(done >= due)

    @torch.no_grad()
    def begin(self, batches: Iterable[Batch]) -> None:
        """Start the last layer as the logistic regression on the features, where nothing new stands before it."""
        if not isinstance(self.head, LinearHead):
            return
        features, labels, judged, groups = [], [], [], []
        for batch in batches:
            features.append(self.features(batch.images)[:, None].float().cpu().numpy())
            labels.append(batch.targets["label"].argmax(1).cpu().numpy())
            judged.append(batch.judged)
            groups.append(batch.groups)
        rows, truth = np.concatenate(features), np.concatenate(labels)
        images, whole = np.concatenate(judged), np.concatenate(groups)
        few = _some_of_each(truth)
        rows, truth, images, whole = rows[few], truth[few], images[few], whole[few]
        found = choose_strength(_START, rows, truth, len(self.classes), images=images, groups=whole)
        fitted = fit_head(_START, rows, truth, len(self.classes), found.strength)
        self.head.load_state_dict(fitted.state_dict())


def _some_of_each(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of labels [N], drawn, about _MOST: of each class its share of them, and _EACH or all if that is more."""
    order, sizes = np.random.default_rng(0).permutation(len(labels)), np.bincount(labels)
    kept = np.maximum(np.minimum(sizes, _EACH), sizes * min(_MOST, len(labels)) // max(len(labels), 1))
    return np.sort(np.concatenate([order[labels[order] == label][:count] for label, count in enumerate(kept)]))
