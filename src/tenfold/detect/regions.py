"""Regions of images as samples of a classifier: the ordinary training on them is what R-CNN calls fine-tuning.

Girshick et al., "Rich feature hierarchies for accurate object detection and semantic segmentation", 2014, section 2.3
and appendix B, https://arxiv.org/abs/1311.2524: K classes and the background, a proposal being of the class of the true
box that it overlaps by 0.5 or more (IoU), and three regions of background for each of an object. The network of the run
that comes out is what `--init` hands to an R-CNN, as `train_rcnn` does.

Two things differ from what the R-CNN then sees: proposals are found in the original images, and where a region with its
context reaches out of its image, it is cut rather than filled.

Shapes: N images, P proposals of an image, Q true boxes of it, R regions.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.policy import Policy
from tenfold.augment.published import named_policy
from tenfold.boxes import CORNERS, box_coverage, box_iou, large_enough
from tenfold.draws import draw_keys, hash_numbers, uniforms
from tenfold.errors import UsageError
from tenfold.images.content import hashed
from tenfold.images.table import Table, make_samples
from tenfold.models.detection.rcnn import proposal_count, square_side
from tenfold.models.detection.sampling import BACKGROUND_CLASS
from tenfold.proposals import Proposed, make_proposer, propose_table, read_proposals
from tenfold.recipe import DetectSettings, Recipe, TransferSettings
from tenfold.run import Run
from tenfold.tasks import refuse_untaught, table_objects
from tenfold.train import (
    Progress,
    Report,
    choose_settings,
    no_report,
    prepare_images,
    refuse_taken,
    train_model,
)
from tenfold.transfer.time_left import in_time_left

if TYPE_CHECKING:
    import pandas as pd

BACKGROUND = BACKGROUND_CLASS
"""The class of a region in which no object is."""

POSITIVE_FROM = 0.5
"""IoU from which on a region is of an object: appendix B."""

_OBJECTS, _TIMES = 32, 3  # regions of objects an image at most, and of the background for each of them
_CONTEXT = 16 / (227 - 32)  # of a box's side on each side of it: appendix A


def train_rcnn(
    table: Table,
    recipe: Recipe,
    out: str | Path,
    *,
    progress: Report = no_report,
    findings: dict[str, Any] | None = None,
) -> Run:
    """Both stages: `train_regions` in the folder OUT-regions, then the R-CNN on its network in `out`.

    `train.minutes` limits both together: half of them is for the first, and what that leaves for the second. Whoever
    stops in the first stage goes on with it, then trains the R-CNN with that run as `transfer.init`; so does whoever
    is refused between the two. Raises UsageError where either folder is taken or nothing of the time is left, and what
    `train_regions` and `train_model` raise.
    """
    folder = Path(out)
    refuse_taken(folder)
    regions = folder.with_name(f"{folder.name}-regions")
    _refuse_taken_beside(folder, regions)
    _refuse(table, recipe)
    began, minutes = time.monotonic(), recipe.train.minutes
    first = recipe.change(train={"minutes": minutes / 2})
    half = f", with half of the time, {minutes / 2:g} minutes," * (minutes > 0)
    text = (
        f"first of two: the network is fine-tuned on regions{half} in {regions}; if that is stopped, end it, then train"
    )
    progress(Progress("note", f"{text} with --model rcnn --init {regions}"))
    run = train_regions(table, first, regions, progress=progress)
    usual = TransferSettings()
    started = {"init": str(run.path.absolute()), "backbone": usual.backbone, "weights": usual.weights}
    try:
        second = in_time_left(table, recipe.change(transfer=started), began, progress)
        return train_model(table, second, folder, progress=progress, findings=findings)
    except UsageError as error:  # the same command would be refused too, as the folder of the first is taken now
        reason, own = str(error).rstrip("."), " and minutes for the R-CNN alone" * (minutes > 0)
        raise UsageError(
            f"{reason}; the first of the two trainings is done: go on with --model rcnn --init {regions}{own} in the "
            "place of --detect.finetune."
        ) from error


def train_regions(table: Table, recipe: Recipe, out: str | Path, *, progress: Report = no_report) -> Run:
    """Fine-tune the recipe's backbone on regions of the table's training part, and leave a run in the folder `out`.

    The recipe is that of the R-CNN: what it says of backbone, weights, side of the squares and training holds. Images
    are prepared as for the R-CNN itself, and those that cannot be read are left out or refused as there. Its minutes
    count from here on, the proposals with them. A batch has 32 regions of objects and 96 of background, and regions are
    mirrored and a little brighter or darker but not cropped, which would make background of objects, unless the recipe
    says otherwise. Before any image is decoded it raises UsageError where `out` is taken, the recipe is of
    another model, or the table has no boxes, no box to learn from in its training part, a box without a class or a
    class called (background); then what `propose_table` and `train_model` raise.
    """
    refuse_taken(Path(out))
    _refuse(table, recipe)
    began = time.monotonic()

    def watch(done: int, of: int) -> None:
        left = (time.monotonic() - searched) / max(done, 1) * (of - done)
        text = f"proposals of images, {done} of {of}: about {left:.0f} s left"
        progress(Progress("prepare", text, step=done, steps=of, seconds_left=left))

    table = hashed(table.without("test"), unreadable=recipe.data.unreadable)
    chosen = choose_settings(recipe, table)
    seen = prepare_images(table, chosen, progress).table
    searched = time.monotonic()
    if file := recipe.detect.proposals_from:
        proposed = Proposed(seen, read_proposals(file).of_table(seen, watch).boxes)
    else:
        truncated = recipe.data.allow_truncated
        proposed = propose_table(seen, make_proposer(), allow_truncated=truncated, watch=watch)
    most = proposal_count(chosen.detect.proposals)
    proposed = replace(proposed, boxes=[boxes[:most] for boxes in proposed.boxes])
    regions = region_table(proposed, recipe.train.seed)
    _refuse_without_background(regions, recipe)
    squares = {"size": square_side(chosen.detect.crop), "aspect": 1.0, "fit": "squash", "margin": 1.0}
    train = {"balance": "background"} if recipe.train.balance == "auto" else {}
    augment = {"policy": _uncut().to_dict()} if recipe.augment.policy == "auto" else {}
    detect = asdict(DetectSettings())  # a classifier goes by none of them
    own = recipe.change(model={"name": "finetuned"}, image=squares, detect=detect, train=train, augment=augment)
    return train_model(
        regions, in_time_left(regions, own, began, progress), out, task="classification", progress=progress
    )


def _uncut() -> Policy:
    return named_policy("light").without("crop")


def region_table(proposed: Proposed, seed: int = 0) -> Table:
    """Some regions of each image, with context, as samples: up to 32 of objects, three of background for each of them.

    Among those of objects are the true boxes. A region keeps the part of its image, and regions of one image are a
    group. Raises UsageError where the images have no boxes, or one of these has no class.
    """
    table = proposed.table
    _refuse_unannotated(table)
    classes = np.array([*table.classes, BACKGROUND], object)
    keys = draw_keys(seed, 0, hash_numbers(table.samples["hash"].tolist()))
    image, boxes, label = [], [], []
    for row, own in enumerate(proposed.boxes):
        every, kinds = named_regions(table, row, own)
        kept = _draw(kinds, len(table.classes), uniforms(keys[row : row + 1], len(every))[0])
        image.append(np.full(len(kept), row))
        boxes.append(every[kept])
        label.append(classes[kinds[kept]])
    samples = _samples(table, np.concatenate(image), np.concatenate(boxes), np.concatenate(label))
    return replace(table, samples=samples, classes=tuple(classes), boxes=None)


def named_regions(
    table: Table, row: int, proposals: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """An image's proposals [P, 4] and true boxes, [R, 4], and what they are: int64 [R].

    A place in the classes; their number for the background; -1 for what lies by half in a box to be ignored and is of
    no object. True boxes of which nothing can be learned, at most THIN wide or high, are not among them.
    """
    assert table.boxes is not None
    frame = table.boxes[table.boxes["sample"] == row]
    true = frame[[*CORNERS]].to_numpy(np.float64)
    kept = large_enough(true)
    true, ignore = true[kept], frame["ignore"].to_numpy(np.bool_)[kept]
    kinds = np.array([table.classes.index(name) for name in frame["label"].to_numpy(object)[kept]], np.int64)
    every = np.concatenate([proposals.astype(np.float64), true[~ignore]])
    found = np.full(len(every), len(table.classes), np.int64)
    if ignore.any():
        found[box_coverage(every, true[ignore]).max(1) >= POSITIVE_FROM] = -1
    if not ignore.all():
        overlap = box_iou(every, true[~ignore])
        near = overlap.max(1) >= POSITIVE_FROM
        found[near] = kinds[~ignore][overlap.argmax(1)[near]]
    return every, found


def _refuse_taken_beside(folder: Path, regions: Path) -> None:
    """Raise UsageError where the folder of the first stage, beside that of the second, is not free."""
    try:
        refuse_taken(regions)
    except UsageError:
        raise UsageError(
            f"out must leave {regions} free for the first of the two trainings, and something is there; name another "
            f"than {folder}, or train the R-CNN on a run of regions that is there with --init {regions}."
        ) from None


def _refuse(table: Table, recipe: Recipe) -> None:
    """Raise UsageError for a recipe or a table that no R-CNN can be fine-tuned by."""
    if recipe.model.name != "rcnn":
        raise UsageError(
            "model.name must be rcnn to fine-tune a network on regions, as no other model is trained in two stages, "
            f"and it is {recipe.model.name}; set --model rcnn."
        )
    _refuse_unannotated(table)
    if BACKGROUND in table.classes:
        raise UsageError(
            f"table must have no class {BACKGROUND}, as regions without an object are called so, and it has one; give "
            "that class another name."
        )
    training = table.part("train")
    if not len(training):
        raise UsageError(
            f"table must have a training part, and none of its {len(table):,} images is in it; split it first, for "
            "example with tenfold.split_table."
        )
    refuse_untaught(training)


def _refuse_unannotated(table: Table) -> None:
    if table.boxes is None:
        raise UsageError(
            "table must have boxes to cut regions by, and its images are not annotated with any; read annotated images."
        )
    table_objects(table)  # which refuses a box without a class


def _refuse_without_background(regions: Table, recipe: Recipe) -> None:
    """Raise UsageError where a batch of a quarter objects was not asked for, and cannot be made all the same."""
    count = int((regions.part("train").samples["label"] == BACKGROUND).sum())
    if recipe.train.balance == "auto" and count < _TIMES:
        source = recipe.detect.proposals_from or "Selective Search"
        raise UsageError(
            f"The proposals must hold {_TIMES} regions of background in the training part, which overlap no object by "
            f"{POSITIVE_FROM:g} (IoU), and those of {source} hold {count}; give more proposals, or set train.balance "
            "to none."
        )


def _draw(kinds: NDArray[np.int64], background: int, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places of the regions that are taken, by the lowest numbers; of an image without objects, three."""
    order = np.argsort(numbers, kind="stable")
    objects = order[(kinds[order] >= 0) & (kinds[order] < background)][:_OBJECTS]
    others = order[kinds[order] == background][: _TIMES * max(len(objects), 1)]
    return np.sort(np.concatenate([objects, others]))


def _samples(
    table: Table, image: NDArray[np.int64], boxes: NDArray[np.float64], label: NDArray[np.object_]
) -> pd.DataFrame:
    """A row a region; a sample that is a region itself moves those that were found in it."""
    rows = table.samples.iloc[image].reset_index(drop=True)
    shift = rows[["x1", "y1"]].fillna(0).to_numpy(np.float64).round().clip(min=0)
    context = np.tile((boxes[:, 2:] - boxes[:, :2]) * _CONTEXT, 2) * [-1, -1, 1, 1]
    columns = dict(zip(CORNERS, (boxes + context + np.tile(shift, 2)).T, strict=True))
    columns |= {"source": rows["source"], "row": rows["row"], "part": rows["part"], "origin": rows["hash"]}
    columns |= {"group": rows["group"].fillna(rows["hash"]), "label": label}
    return make_samples(columns, len(rows))
