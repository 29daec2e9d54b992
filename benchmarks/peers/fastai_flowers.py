r"""fastai from images on disk to a trained model: a contender of benchmarks/flowers_scratch.py.

    python benchmarks/peers/fastai_flowers.py --data flowers --split flowers.split.csv --epochs 20 \
        --out result.json --started $(date +%s)

Network `own` trains an xresnet18 from scratch by one of three recipes: fastai's own recipe for Imagenette, its usual
one-cycle training with `aug_transforms`, and one that adds what fastai's courses teach for short trainings, growing
images and mixup. Network `same` trains Tenfold's residual network (PYTHONPATH must hold Tenfold's `src`).

fastai's mixed precision asks for CUDA. To be fair to it, `--precision bfloat16` brings a callback that does on the
CPU what fastai's does on a GPU. Data loading is fastai's own: a DataBlock that decodes with Pillow in worker processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback
from fastai.callback.mixup import MixUp
from fastai.callback.schedule import Learner  # from here it has fit_one_cycle and fit_flat_cos
from fastai.data.all import ColReader, ColSplitter, DataBlock, DataLoaders, Normalize
from fastai.layers import Mish
from fastai.losses import CrossEntropyLossFlat, LabelSmoothingCrossEntropyFlat
from fastai.metrics import accuracy
from fastai.optimizer import Adam, ranger
from fastai.torch_core import set_seed
from fastai.vision.augment import FlipItem, RandomResizedCrop, Resize, aug_transforms
from fastai.vision.core import imagenet_stats
from fastai.vision.data import CategoryBlock, ImageBlock
from fastai.vision.models.xresnet import xresnet18
from job import PARTS, Answer, Job, read_job, write_answer

PACKAGES = ("fastai", "torch", "torchvision", "pillow", "numpy")


@dataclass(frozen=True)
class Recipe:
    """What is tuned. The learning rates are those of fastai's own examples."""

    lr: float
    weight_decay: float = 0.05
    crops: bool = True
    """Random crops and flips of each image by itself, as for Imagenette; else `aug_transforms` of whole batches."""
    ranger: bool = False
    """Mish, ranger and a flat learning rate with a cosine at the end; else ReLU, Adam and one cycle."""
    mixup: float = 0.0
    grow: bool = False
    """The first half of the epochs at two thirds of the side."""


RECIPES = {
    "onecycle": Recipe(lr=3e-3, crops=False),
    "imagenette": Recipe(lr=8e-3, weight_decay=0.01, ranger=True),
    "growing": Recipe(lr=5e-3, mixup=0.2, grow=True),
}
PLAIN = Recipe(lr=3e-3)
"""For the same network without augmentation, where only time is compared."""


class Bfloat16(Callback):  # type: ignore[misc]
    """fastai's MixedPrecision for the CPU: bfloat16 needs no loss scaling."""

    order = 10

    def before_batch(self) -> None:
        self.context = ExitStack()
        self.context.enter_context(torch.autocast("cpu", torch.bfloat16))

    def after_pred(self) -> None:
        self.learn.pred = self.pred.float()

    def after_loss(self) -> None:
        self.context.close()


class Stopwatch(Callback):  # type: ignore[misc]
    """Seconds of each epoch, validation included."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def before_epoch(self) -> None:
        self.began = time.perf_counter()

    def after_epoch(self) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def main() -> None:
    job = read_job(tuple(RECIPES))
    recipe = RECIPES[job.recipe] if job.network == "own" else PLAIN
    set_seed(job.seed)
    phases = _phases(job, recipe)
    loaders = make_loaders(job, recipe, phases[0][0])
    stopwatch = Stopwatch()
    learner = make_learner(job, recipe, loaders, stopwatch)
    with learner.no_bar(), learner.no_logging():
        for place, (size, epochs) in enumerate(phases):
            if place:
                learner.dls = make_loaders(job, recipe, size)
            fit = learner.fit_flat_cos if recipe.ranger else learner.fit_one_cycle
            fit(epochs, recipe.lr, wd=recipe.weight_decay)
        torch.save(learner.model.state_dict(), job.out.with_suffix(".pth"))
        total = time.time() - job.started
        answer = Answer(
            parameters=sum(p.numel() for p in learner.model.parameters() if p.requires_grad),
            train_seconds=sum(stopwatch.seconds),
            total_seconds=total,
            seconds_per_epoch=_epoch_cost(stopwatch.seconds, phases),
            validation_accuracy=float(learner.validate(dl=learner.dls.valid)[1]),
            test_accuracy=None if job.sealed else _test(job, learner),
        )
    write_answer("fastai", job, PACKAGES, answer)


def make_loaders(job: Job, recipe: Recipe, size: int) -> DataLoaders:
    """fastai's data path: a data frame of file names, decoded and cropped by worker processes."""
    rows = [(*sample, part == "validation") for part in PARTS[:2] for sample in job.samples[part]]
    item: list[Any] = [Resize(size)]
    batch: list[Any] = []
    if job.augment and recipe.crops:
        item = [RandomResizedCrop(size, min_scale=0.35), FlipItem(0.5)]
    elif job.augment:  # larger first, then one resampling of the whole batch ("presizing")
        item, batch = [Resize(size * 4 // 3)], aug_transforms(size=size, min_scale=0.5)
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=job.classes)),
        get_x=ColReader(0),
        get_y=ColReader(1),
        splitter=ColSplitter(2),
        item_tfms=item,
        batch_tfms=[*batch, Normalize.from_stats(*imagenet_stats)],
    )
    return block.dataloaders(pd.DataFrame(rows), bs=job.batch_size, seed=job.seed)


def make_learner(job: Job, recipe: Recipe, loaders: DataLoaders, stopwatch: Stopwatch) -> Learner:
    """The network, loss, optimizer and callbacks."""
    callbacks: list[Any] = [ChannelsLast(), stopwatch]
    if job.precision == "bfloat16":
        callbacks.append(Bfloat16())
    if recipe.mixup and job.augment:
        callbacks.append(MixUp(recipe.mixup))
    smooth: Callable[[], Any] = LabelSmoothingCrossEntropyFlat if job.augment else CrossEntropyLossFlat
    network = _tenfold_network(job) if job.network == "same" else _own_network(job, recipe)
    optimizer = partial(ranger, mom=0.95, sqr_mom=0.99, eps=1e-6, beta=0.0) if recipe.ranger else Adam
    return Learner(loaders, network, smooth(), optimizer, metrics=accuracy, cbs=callbacks)


def _own_network(job: Job, recipe: Recipe) -> torch.nn.Module:
    network: torch.nn.Module = xresnet18(n_out=len(job.classes), **({"act_cls": Mish} if recipe.ranger else {}))
    return network


def _tenfold_network(job: Job) -> torch.nn.Module:
    """Tenfold's residual network as its default recipe builds it; wrapped, so that fastai sees a bare module."""
    from dataclasses import asdict

    from tenfold.models.residual import ResidualNetwork, halvings_for
    from tenfold.recipe import ModelSettings

    settings = asdict(ModelSettings(norm="batch")) | {"halvings": halvings_for(job.size)}
    return torch.nn.Sequential(ResidualNetwork(3, tuple(job.classes), settings))


def _phases(job: Job, recipe: Recipe) -> list[tuple[int, int]]:
    """(size, epochs) of each phase."""
    if not (recipe.grow and job.epochs > 1):
        return [(job.size, job.epochs)]
    return [(job.size * 2 // 3, job.epochs // 2), (job.size, job.epochs - job.epochs // 2)]


def _epoch_cost(seconds: list[float], phases: list[tuple[int, int]]) -> float:
    """The mean over the phases of the last epoch of each: the first of all holds what is done once."""
    lasts = [seconds[sum(epochs for _, epochs in phases[: place + 1]) - 1] for place in range(len(phases))]
    return sum(lasts) / len(lasts)


def _test(job: Job, learner: Learner) -> float:
    rows = pd.DataFrame([(*sample, False) for sample in job.samples["test"]])
    loader = learner.dls.test_dl(rows, with_labels=True)
    return float(learner.validate(dl=loader)[1])


if __name__ == "__main__":
    main()
