"""FrozenClassifier: a pretrained network that stays as it is, and a head that is fitted to its features at once.

The whole way from pixels to logits, so that a run of it predicts and exports like any other.

Shapes: N images, C channels, S pixels of an image's side, T of a view's side, V views, D features, K classes.

    images                                     [N, C, S, S]
    views: squares, some mirrored, V times     [N, C, T, T]
    backbone, frozen                           [N, V, D]
    head: centered, length 1, mean of views    [N, D]
          weighted sums, or nearest neighbors  [N, K]

After Donahue et al., "DeCAF: a deep convolutional activation feature for generic visual recognition", 2014.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from tenfold.errors import DataError, UsageError
from tenfold.images.batch import Batch
from tenfold.models.backbones import BUILT_IN, Backbone, bare_backbone, make_backbone, network_of_file, take_backbone
from tenfold.models.classifier import Classifier
from tenfold.models.contract import Losses, Pretrained, Step, Usual
from tenfold.models.heads import choose_strength, find_head, fit_head, make_head
from tenfold.models.layers import soft_accuracy, soft_cross_entropy
from tenfold.models.views import cut_view, find_views
from tenfold.models.weights import Origin

KNOWN = "features"
"""Name of a batch's features float32 [N, V, D] among its targets, where they were computed before."""
LAYERS = ("width", "layers", "hidden", "activation", "norm", "pool", "pool_every", "dropout")
"""Settings of [model] that are of layers which learn in steps."""
STEPS = (
    *("epochs", "lr", "optimizer", "momentum", "weight_decay", "schedule", "warmup", "label_smoothing", "balance"),
    *("clip", "ema", "grow", "patience", "keep", "tensorboard"),
)
"""Settings of [train] that are of optimizer steps alone, of which a head that is fitted at once takes none."""
AUTO = "auto"
"""What a recipe names instead of backbones to have the ladder climbed on all that are at hand."""


class OnBackbone:
    """A model's first base where it stands on a pretrained network, its `backbone`: where the weights come from."""

    backbone: Backbone
    settings: dict[str, Any]

    @classmethod
    def pretrained(cls, settings: dict[str, Any]) -> Pretrained:
        """What the weights want that a recipe's [transfer] names; raises what `named_backbone` raises."""
        backbone, _ = named_backbone(settings)
        return Pretrained(backbone.preprocessing, backbone.name, backbone.fixed_size)

    def load_pretrained(self) -> dict[str, Any]:
        """Put these weights into the backbone; gives what the run's model.json says of them under "weights".

        Raises what `named_backbone` raises, and DataError for weights that do not fit.
        """
        pretrained, origin = named_backbone(self.settings)
        try:
            self.backbone.load_state_dict(pretrained.state_dict())
        except RuntimeError as error:
            raise DataError(
                f"The weights of {origin.name} do not fit the backbone {self.settings['backbone']!r} of this model "
                f"({' '.join(str(error).split())}); name the backbone that they are of."
            ) from error
        return {
            "origin": f"{origin.name}, {origin.source}",
            "licence": origin.licence,
            "sha256": origin.sha256,
            "note": origin.note,
        }


class FrozenClassifier(OnBackbone, Classifier):
    """A frozen backbone and a head.

    Settings: "backbone" (its name), "weights" (a file, or empty), "init" (an earlier run's folder, or empty), "views"
    (a name in VIEWS), "crop" (pixels of a view's side, 0: the whole image), "head" (a name in HEADS), "strength" and
    "sharpness" (0: chosen by `choose_strength`, each or both) and "spread" (see `fit_head`). Its network has the
    weights of a backbone only after `load_pretrained`, or as a run stores them.
    """

    usual: ClassVar[Usual] = Usual(epochs=(1, 1), size=160, margin=1.0, policy="none")
    sections: ClassVar[tuple[str, ...]] = ("model", "transfer")
    unread: ClassVar[tuple[str, ...]] = (
        "image.filter",  # that of the weights' own training is taken
        *("augment.policy", "augment.mix_share"),
        *(f"model.{name}" for name in LAYERS),
        *("transfer.frozen", "transfer.thawed", "transfer.rate_decay"),
        *(f"train.{name}" for name in STEPS),
    )

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__(channels, classes, settings)
        self.backbone = bare_backbone(settings["backbone"]).requires_grad_(False)
        self.views = find_views(settings["views"])
        if not (settings["strength"] or find_head(settings["head"]).is_linear):
            raise UsageError("The head neighbors needs their number: set transfer.strength, or leave the head open.")
        self.head = make_head(settings["head"], self.backbone.width, len(classes), settings["strength"])

    def features(self, images: Tensor) -> Tensor:
        """[N, C, S, S] -> [N, V, D]."""
        size = self.settings["crop"] or images.shape[2]
        return torch.stack([self.backbone.features(cut_view(images, view, size)) for view in self.views], 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(images))
        return logits

    def batch_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """What `outputs` gives for the batch's images, from their features where these are known."""
        known = batch.targets.get(KNOWN)
        return self.outputs(batch.images) if known is None else {"logits": self.head(known)}

    def losses(self, batch: Batch) -> Losses:
        logits, label = self.batch_outputs(batch)["logits"], batch.targets["label"]
        return Losses(
            {"loss": soft_cross_entropy(logits, label, 0.0, None)}, {"accuracy": soft_accuracy(logits, label)}
        )

    def train(self, mode: bool = True) -> FrozenClassifier:
        """Training mode never reaches the backbone, whose batch normalization keeps its statistics."""
        super().train(mode)
        self.backbone.eval()
        return self

    def steps(self) -> list[Step]:
        return []

    @torch.no_grad()
    def fit(self, batches: Iterable[Batch]) -> None:
        """Fit the head, of the strength and sharpness that the settings say, or that are chosen here.

        What is chosen stands in the settings then, so that whoever repeats the fit has no choice to make.
        """
        features, labels, judged, groups = [], [], [], []
        for batch in batches:
            known = batch.targets.get(KNOWN)
            features.append((self.features(batch.images) if known is None else known).float().cpu().numpy())
            labels.append(batch.targets["label"].argmax(1).cpu().numpy())
            judged.append(batch.judged)
            groups.append(batch.groups)
        rows, truth = np.concatenate(features), np.concatenate(labels)
        name, classes, spread = self.settings["head"], len(self.classes), self.settings["spread"]
        strength, sharpness = self.settings["strength"], self.settings["sharpness"]
        if not strength or not (sharpness or find_head(name).is_calibrated):
            given = (strength,) if strength else ()
            images, whole = np.concatenate(judged), np.concatenate(groups)
            found = choose_strength(
                name, rows, truth, classes, spread=spread, strengths=given, images=images, groups=whole
            )
            if given and not len(found.loss):
                raise UsageError(
                    f"transfer.sharpness must be given for the head {name} where no class has two images that do not "
                    "belong together, on one of which it could be fitted; give it, such as 1, or more images."
                )
            strength, sharpness = found.strength, sharpness or found.sharpness
            self.settings |= {"strength": strength, "sharpness": sharpness}
        head = fit_head(name, rows, truth, classes, strength, sharpness=sharpness or 1.0, spread=spread)
        self.head = head.to(self.head.center.device)


def leaves_open(backbone: str) -> bool:
    """Whether a recipe's transfer.backbone leaves it to the ladder which network is taken: "auto", or names, names."""
    return backbone == AUTO or "," in backbone


def refuse_open(backbone: str) -> None:
    """Raise UsageError where a recipe's transfer.backbone leaves open which network is taken."""
    if leaves_open(backbone):
        raise UsageError(
            f"transfer.backbone must name one network here, not {backbone!r}: only the ladder chooses among several, "
            "which tenfold train climbs without --model, or with --model frozen and the head left open."
        )


def named_backbone(settings: dict[str, Any]) -> tuple[Backbone, Origin]:
    """The backbone that a recipe's [transfer] names, with its weights, and whose they are.

    That of the earlier run "init", or else "backbone", with the file "weights" or the published ones; where no name is
    given, that of the file, or the built-in one. Raises what `take_backbone`, `network_of_file` and `make_backbone`
    raise, and UsageError where a run comes with another backbone or with weights, or where several backbones are left
    open, among which only the ladder chooses.
    """
    init, name, weights = settings.get("init", ""), settings["backbone"], settings["weights"]
    if not init:
        refuse_open(name)
        file = Path(weights) if weights else None
        return make_backbone(name or (network_of_file(file) if file else BUILT_IN), file)
    backbone, origin = take_backbone(Path(init))
    if weights or name not in ("", backbone.name):
        given = f"transfer.weights ({weights})" if weights else f"transfer.backbone ({name})"
        raise UsageError(
            f"transfer.init (--init) brings a network with its weights, and {given} names another; drop one."
        )
    return backbone, origin
