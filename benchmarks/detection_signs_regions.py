"""What R-CNN's network sees in the images of detection_signs.py, stored; and the lines of its results.

Training images go through the product's own cache, validation images into a file each. D features and E with their
place are those of tenfold.models.detection.rcnn.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import tenfold
from tenfold.check import check_table
from tenfold.environment import choose_device, processor_name
from tenfold.files import write_file
from tenfold.images.batch import Batch
from tenfold.images.content import hashed
from tenfold.images.prepared import PreparedTable
from tenfold.images.table import Table
from tenfold.models.detection import RCNN
from tenfold.models.detection.detector import image_size
from tenfold.models.detection.rcnn import VERSION
from tenfold.models.detection.region_fits import Regions
from tenfold.models.detection.roi import list_regions
from tenfold.models.detection.watched import watching
from tenfold.split.ties import grouped
from tenfold.tasks import TASKS
from tenfold.train import Progress, choose_settings, prepare_images
from tenfold.train.choose import fresh_model, make_card
from tenfold.train.data import plain_loader, rows_loader, with_foreknown, with_statistics

_TASK = TASKS["detection"]
_EVERY = 10.0  # seconds between two lines of progress

Entry = dict[str, Any]


class Setup(NamedTuple):
    """The model with its starting weights, and the images that it sees."""

    model: RCNN
    prepared: PreparedTable
    recipe: tenfold.Recipe
    device: torch.device

    def rows(self, part: str) -> NDArray[np.int64]:
        return np.flatnonzero(self.prepared.table.samples["part"] == part)

    def batch(self, row: int) -> Batch:
        """An image by itself."""
        loader = rows_loader(self.recipe, self.prepared, _TASK, np.array([row]))
        return next(iter(loader.batches())).to(self.device)


class Seen(NamedTuple):
    """What the network sees in P proposals of a validation image."""

    boxes: NDArray[np.float32]
    """[P, 4], xyxy in pixels of the input."""
    whole: NDArray[np.float16]
    places: NDArray[np.float16]
    affine: NDArray[np.float32]
    """[2, 3], original to input."""
    size: NDArray[np.int64]
    """Height and width of the input."""


def chosen_images(options: argparse.Namespace) -> Table:
    """The training and validation images, or some of each; copies and shots in a row are groups, as in a training."""
    table = hashed(tenfold.read_table(options.data).without("test"))
    parts, new = table.samples["part"].to_numpy(object), np.full(len(table), None, object)
    for part, most in (("train", options.train_images), ("validation", options.judged_images)):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(parts == part))
        if not len(rows):
            raise SystemExit(f"{options.data} must come with a part {part}; write a split for it first.")
        new[rows[: most or None]] = part
    table = table.assign(part=new).take(np.flatnonzero(new != None))  # noqa: E711 - by element
    return grouped(check_table(table).keep_together(table))


def set_up(options: argparse.Namespace) -> Setup:
    """The images with their proposals, and the model, as a training begins with them."""
    table = chosen_images(options)
    recipe = tenfold.Recipe().change(model={"name": "rcnn"}, detect={"proposals": options.proposals})
    recipe = choose_settings(recipe, table.part("train"))
    tell = Teller()
    prepared = prepare_images(table, recipe, tell.progress)
    recipe = with_statistics(recipe, prepared)
    model = fresh_model(make_card(recipe, prepared.table.part("train"), "detection"), recipe)
    assert isinstance(model, RCNN)
    model.load_pretrained()
    prepared = with_foreknown(prepared, model, recipe, tell.progress)
    device = choose_device(recipe.train.device)
    return Setup(model.to(device).eval(), prepared, recipe, device)


class Teller:
    """Lines on stderr, one every _EVERY seconds."""

    def __init__(self) -> None:
        self.last = time.monotonic()

    def __call__(self, line: str, *, now: bool = False) -> None:
        if now or time.monotonic() - self.last >= _EVERY:
            self.last = time.monotonic()
            print(line, file=sys.stderr, flush=True)

    def progress(self, message: Progress) -> None:
        self(message.text, now=message.phase == "note")


def paced(rows: NDArray[np.int64], what: str) -> Iterator[int]:
    """The rows one after another, telling how many are done, at which pace of the last eight."""
    tell, times = Teller(), deque([time.monotonic()], 9)
    for done, row in enumerate(rows.tolist(), 1):
        yield row
        times.append(time.monotonic())
        pace = (times[-1] - times[0]) / (len(times) - 1)
        left = f"about {pace * (len(rows) - done):.0f} s left"
        tell(f"{what}: {done} of {len(rows)} images, {pace:.1f} s an image, {left}", now=done == len(rows))


@torch.no_grad()
def find_features(options: argparse.Namespace, setup: Setup) -> None:
    """See what was not seen before, and say how much there is."""
    began, looked, size = time.monotonic(), list[int](), {"train": 0, "validation": 0}
    with watching(setup.model, lambda what, done, of: looked.append(done) if done < of else None):  # if not cached
        for row in paced(setup.rows("train"), "training regions"):
            for image in stored_regions(setup, setup.batch(row)):
                size["train"] += image.whole.nbytes + image.places.nbytes
    for row in paced(setup.rows("validation"), "validation regions"):
        file = file_of(options, setup, row)
        if not file.exists():
            looked.append(row)
            write_seen(file, setup, setup.batch(row))
        size["validation"] += file.stat().st_size
    mib = {part: round(count / 2**20) for part, count in size.items()}
    print(f"Features: {mib['train']} MiB of training images in the cache, {mib['validation']} MiB in {options.results}")
    if looked:
        seconds = time.monotonic() - began
        note(options, setup, {"stage": "features", "mib": mib, "computed": len(looked)}, seconds)
        print(f"{seconds / len(looked):.1f} s an image of {len(looked)}")


def stored_regions(setup: Setup, batch: Batch) -> Iterator[Regions]:
    """Those of a batch's training images by the model's own way, so that they are in its cache under its own names."""
    return setup.model._regions(batch, setup.model.proposals, stored=True)


def training_regions(setup: Setup) -> list[Regions]:
    """Those of all training images; features lie in the cache and are mapped into memory."""
    loader = plain_loader(setup.recipe, setup.prepared, _TASK, "train")
    assert loader is not None
    return [image for batch in loader.batches() for image in stored_regions(setup, batch.to(setup.device))]


def file_of(options: argparse.Namespace, setup: Setup, row: int) -> Path:
    """Where the features of a validation image lie, with all in its name that they depend on."""
    height, width = setup.recipe.image.size, setup.recipe.image.aspect
    kind = f"{setup.model.backbone.name}-{VERSION}-{setup.model.side}-{height}-{width:g}-{options.proposals}"
    return options.results / "regions" / kind / f"{setup.prepared.table.samples['hash'].iloc[row]}.npz"


def write_seen(file: Path, setup: Setup, batch: Batch) -> None:
    """See the proposals of an image and store that."""
    regions = list_regions(batch.targets["proposals"][:, : setup.model.proposals])
    seen = setup.model.look(batch.images, regions)
    found = Seen(
        regions[:, 1:].cpu().numpy(),
        seen.whole.half().cpu().numpy(),
        seen.places.half().cpu().numpy(),
        batch.affine[0].cpu().numpy(),
        np.array(image_size(batch.images)),
    )
    write_arrays(file, found._asdict())


def write_arrays(file: Path, arrays: dict[str, NDArray[Any]]) -> None:
    def write(aside: Path) -> None:
        with aside.open("wb") as stream:
            np.savez(stream, **arrays)

    file.parent.mkdir(parents=True, exist_ok=True)
    write_file(file, write)


def read_entries(options: argparse.Namespace) -> list[Entry]:
    file = options.results / "signs.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def note(options: argparse.Namespace, setup: Setup | None, entry: Entry, seconds: float) -> None:
    """A line of results, with what it was of."""
    if setup is not None:
        counts = {"train": len(setup.rows("train")), "judged": len(setup.rows("validation"))}
        entry = {**entry, "proposals": options.proposals, **counts}
    entry |= {"seconds": round(seconds, 1), "processor": processor_name(), "at": time.strftime("%Y-%m-%dT%H:%M:%S")}
    with (options.results / "signs.jsonl").open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
