"""What every model is: the only things that the loop, the run, evaluation, export and the server know about one.

Shapes: N images, C channels, H x W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tenfold.images.batch import Batch
from tenfold.images.prepared import PreparedTable
from tenfold.images.preprocess import Fit, Preprocessing

Prediction = dict[str, NDArray[np.generic]]
"""What is predicted for one image; arrays only. The task's `tabulate` makes rows of it."""


class Losses(NamedTuple):
    """What a forward pass over a batch gives: scalars (0-dimensional tensors), each a mean over the batch."""

    minimize: dict[str, Tensor]
    """Named losses. Their sum is what a step descends, and on the validation part what early stopping watches."""
    watch: dict[str, Tensor]
    """Named figures that are only recorded in `history.csv`, as "accuracy"."""


@dataclass(frozen=True)
class Step:
    """One optimizer step of a batch: which losses, over which parameters."""

    name: str
    losses: Callable[[Batch], Losses]
    parameters: list[nn.Parameter] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    """For each parameter, what the learning rate is multiplied by; empty: 1 for all."""


class Usual(NamedTuple):
    """What a training of a model has where the recipe leaves it open. The defaults are for networks from scratch."""

    optimizer: str = "muon"
    rate: float = 1.0
    """What the optimizer's default learning rate is multiplied by."""
    images: int = 150_000
    """Images to train on in all, of which the epochs follow: five minutes for flowers on 2 cores with bfloat16."""
    epochs: tuple[int, int] = (10, 150)
    """At least and at most so many."""
    size: int = 96
    """Image size in pixels, at most; smaller images are enlarged to it for weights that were trained elsewhere."""
    aspect: float = 1.0
    """Width over height of what it sees; 0: that of the training images, for a model that can be shown rectangles."""
    margin: float = 1.15
    fit: Fit = "crop"
    policy: str = "standard"
    keep: Literal["best", "last"] = "best"
    """Which weights stay, where the recipe has no patience."""


class Pretrained(NamedTuple):
    """What weights that were trained elsewhere want."""

    preprocessing: Preprocessing
    backbone: str
    """The network's whole name, which builds it again."""
    fixed_size: int = 0
    """The one side of images, in pixels, that the network can be shown; 0: it takes any."""
    is_square: bool = False
    """Whether the weights know squares only."""


@dataclass(frozen=True)
class Foreknown:
    """Boxes in the images that a model must know before it looks at them, and that are no part of what it learns."""

    name: str
    """Among a batch's targets, float32 [N, P, 4] in pixels of its images, rows of NaN where an image has fewer."""
    find: Callable[[PreparedTable, Preprocessing, Callable[[int, int], None]], NDArray[np.float32]]
    """(images, how they become the model's input, watch) -> their boxes float32 [N, P, 4], xyxy in pixels of the
    original images. Called before each training; `watch(done, of)` hears of progress."""
    invent: Callable[[Tensor], Tensor]
    """Images float32 [N, C, H, W] -> as many boxes as they may have, [N, P, 4], but anywhere: to measure speed on."""


class Model(nn.Module):
    """A network, or something fitted in closed form, that can be trained, stored, evaluated and exported.

    Built as `Class(channels, classes, settings)`; `settings` is a dict of JSON values, since the run stores it.
    State beyond weights (a replay pool, running figures) is kept in buffers, which the checkpoint holds. Randomness
    comes from torch's global generator, which the loop seeds at each step from (seed, step).
    """

    task: ClassVar[str] = "classification"
    """A name in tenfold.tasks.TASKS: what it is for, unless whoever trains it says otherwise."""
    usual: ClassVar[Usual] = Usual()
    sections: ClassVar[tuple[str, ...]] = ("model",)
    """The sections of a recipe that its settings come from."""
    reads: ClassVar[tuple[str, ...]] = ()
    """What it goes by of [detect]: a recipe that sets anything else there is refused."""
    unread: ClassVar[tuple[str, ...]] = ()
    """Settings outside of [detect], as "train.epochs", that it does not go by: one that is typed for it is refused. A
    recipe may hold any of them, as that of a run holds what was chosen for all models alike.
    """

    foreknown: Foreknown | None = None
    """What it must know of images besides their pixels; with it, `losses` and `batch_outputs` find it in the batch."""
    preprocessing: Preprocessing | None = None
    """How images become its input, for a model that looks at their pixels itself; whoever builds it for a run, sets it.
    """
    temperature: float = 1.0
    """What `decode` divides logits by before they become probabilities. No part of the weights: it is fitted when they
    are final, and the run, which keeps it in model.json, sets it."""

    def __init__(self, channels: int, classes: tuple[str, ...], settings: dict[str, Any]) -> None:
        super().__init__()
        self.channels = channels
        self.classes = classes
        self.settings = settings

    @classmethod
    def pretrained(cls, settings: dict[str, Any]) -> Pretrained | None:
        """What weights that were trained elsewhere want; None: the model starts from scratch.

        `settings` are those of a recipe's [transfer]. Raises DataError where the weights are not here.
        """
        return None

    def load_pretrained(self) -> dict[str, Any] | None:
        """Called on a fresh model before its training: load weights that were trained elsewhere, if it has such.

        Gives what the run's model.json says of them under "weights". Raises DataError where they are not here.
        """
        return None

    def outputs(self, images: Tensor) -> dict[str, Tensor]:
        """float32 [N, C, H, W] -> named tensors, first dimension N. Traceable; this is what is exported."""
        raise NotImplementedError

    def batch_outputs(self, batch: Batch) -> dict[str, Tensor]:
        """What `outputs` gives for the batch's images, perhaps from what its targets have of them already."""
        return self.outputs(batch.images)

    def decode(self, outputs: dict[str, Tensor], affine: Tensor) -> list[Prediction]:
        """Outputs -> one prediction an image, in the coordinates of the original image.

        `affine` is Batch.affine, float32 [N, 2, 3]: original (x, y) -> input (x, y).
        """
        raise NotImplementedError

    def losses(self, batch: Batch) -> Losses:
        """Named losses of a batch. In evaluation mode without label smoothing, class weights or dropout."""
        raise NotImplementedError

    def steps(self) -> list[Step]:
        """The optimizer steps of each batch, in order. A GAN has two; one that is fitted in closed form has none."""
        return [Step("model", self.losses, list(self.parameters()))]

    def begin(self, batches: Iterable[Batch]) -> None:
        """Called once before the first optimizer step, with one pass over the training part as it is, in evaluation
        mode: where a pretrained network's new last layer starts from.
        """

    def describe(self) -> str:
        """What `begin` has fitted, in a sentence for people; empty: nothing that they need to know."""
        return ""

    def learn(self, done: float) -> None:
        """Called before each batch with the share of the training that is done, 0 to 1: a network that is trained in
        stages sets `requires_grad` here. Parameters without it keep their values, and their optimizer state.
        """

    def fit(self, batches: Iterable[Batch]) -> None:
        """Closed form: called once, with one pass over the training part, after the last optimizer step if any."""

    @torch.no_grad()
    def predict(self, images: Tensor, affine: Tensor) -> list[Prediction]:
        """`outputs` on the device of the images, then `decode` on the CPU, where `affine` is; in evaluation mode."""
        was = self.training
        self.eval()
        try:
            found = {name: value.cpu() for name, value in self.outputs(images).items()}
            return self.decode(found, affine)
        finally:
            self.train(was)
