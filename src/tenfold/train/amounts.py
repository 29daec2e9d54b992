"""How much a training is given, by what there is to learn from: images a step, epochs; what a detector may find."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tenfold.boxes import CORNERS
from tenfold.errors import DataError
from tenfold.images.content import encoded
from tenfold.images.decode import image_size
from tenfold.images.preprocess import LARGEST_SIZE, WHOLE, Sides, rectangle, size_words
from tenfold.images.table import Table
from tenfold.models.contract import Usual
from tenfold.models.detection.roi import DETECTIONS
from tenfold.recipe import ImageSettings, Recipe
from tenfold.tasks import teaching_boxes

STEPS = 500
"""A detector takes at least about so many steps where the recipe leaves that open."""
_LEAST, _USUAL, _MOST = 2, 8, 64
"""Images of a batch: of a detector, a process's at least; of a classifier at least; and at most."""
_OF_REGIONS = 128
"""Regions of a batch where a quarter of them are objects: Girshick et al. 2014, section 2.3."""
_ROOM = 2
"""Detections for each box of the fullest training image."""
_SEEN = 8
"""Pixels of the network's image that an object's shorter side needs: the finest map of a detector has a cell for so
many."""
_LOOKED_AT = 200
"""Images whose headers tell how large images and objects are."""


def some_of(count: int) -> NDArray[np.int64]:
    """Places of so many images, spread over all of them, of which headers are read: int64 [at most _LOOKED_AT]."""
    return np.linspace(0, count - 1, _LOOKED_AT).astype(np.int64) if count > _LOOKED_AT else np.arange(count)


def choose_amounts(recipe: Recipe, training: Table, usual: Usual, processes: int) -> tuple[int, int]:
    """Images of a batch, and epochs: what the recipe says of a batch, else by the number of training images.

    A batch is a power of 2: a 20th of the images, from 8 to 64. Those of a detector, whose batch normalization keeps
    its statistics, may be smaller: they are halved, down to 2 images for each of the `processes`, while the model's
    usual epochs have fewer than STEPS of them. What is still lacking more epochs make up for, until the images that
    are looked at are `usual.images` in all. A recipe's own epochs change none of this.
    """
    count, (fewest, most) = len(training), usual.epochs
    epochs = int(min(most, max(fewest, usual.images // count)))
    of_regions = _OF_REGIONS if recipe.train.balance == "background" else 0
    by_count = int(min(_MOST, max(_USUAL, 2 ** int(np.log2(max(count / 20, 1))))))
    batch = recipe.train.batch_size or of_regions or by_count
    if training.boxes is None or most == 1:  # of one epoch is what takes no step at all
        return min(batch, count), epochs
    while not recipe.train.batch_size and batch >= 2 * _LEAST * processes and epochs * _batches(count, batch) < STEPS:
        batch //= 2
    batch = min(batch, count)
    return batch, max(epochs, min(math.ceil(STEPS / _batches(count, batch)), usual.images // count))


def with_room(recipe: Recipe, training: Table) -> Recipe:
    """The recipe with as many detections of an image as its objects need.

    Where it leaves them open: twice the boxes of the fullest training image, at least 100.
    """
    if training.boxes is None:
        return recipe
    detections = recipe.detect.detections or max(DETECTIONS, _ROOM * most_boxes(training))
    return recipe.change(detect={"detections": detections})


def notes_on_room(given: Recipe, chosen: Recipe, training: Table) -> tuple[str, ...]:
    """What to say of how many objects a detector may find, and of objects too small for it to tell.

    In `chosen` nothing is open.
    """
    if training.boxes is None:
        return ()
    return (*_notes_on_detections(given, chosen, training), *_notes_on_tiny(chosen.image, training))


def _notes_on_detections(given: Recipe, chosen: Recipe, training: Table) -> tuple[str, ...]:
    """That detections are more than usual, or that the recipe allows fewer than there are objects."""
    most, detections = most_boxes(training), chosen.detect.detections
    if detections < most:
        return (
            f"detect.detections allows {detections} detections of an image, and a training image has {most} boxes: "
            f"what is more can never be found; leave it open, or set --detect.detections {_ROOM * most}.",
        )
    if given.detect.detections or detections == DETECTIONS:
        return ()
    return (f"Up to {detections} detections of an image, as a training image has {most} boxes.",)


def _notes_on_tiny(image: ImageSettings, training: Table) -> tuple[str, ...]:
    """That half of the objects have a side under _SEEN in what the network sees."""
    sides = _shorter_sides(image, training)
    middle = float(np.median(sides)) if len(sides) else math.inf
    if middle >= _SEEN:
        return ()
    # A step more, as the sides of a rectangle are rounded.
    larger = WHOLE * (math.ceil(image.size * _SEEN / middle / WHOLE) + 1)
    way = f"set a larger --size ({larger} or more makes them about {_SEEN} px), or " if larger <= LARGEST_SIZE else ""
    return (
        f"Half of the objects are under {middle:.1f} px wide or high at {size_words(image.size, image.aspect)} px, "
        f"which the network can hardly tell; {way}cut the images into tiles.",
    )


def _shorter_sides(image: ImageSettings, training: Table) -> NDArray[np.float64]:
    """The shorter side of each object of some images, in pixels of what the network sees: float64 [B]."""
    assert training.boxes is not None
    boxes = training.boxes[teaching_boxes(training.boxes)]
    owners, corners = boxes["sample"].to_numpy(np.int64), boxes[[*CORNERS]].to_numpy(np.float64)
    rows = np.unique(owners)
    found = [np.empty(0)]
    for row in rows[some_of(len(rows))].tolist():
        try:
            down, across = _scales(image, _sides(training, row))
        except DataError:  # it is left out where images are decoded, and named there
            continue
        x1, y1, x2, y2 = corners[owners == row].T
        found.append(np.minimum((x2 - x1) * across, (y2 - y1) * down))
    return np.concatenate(found)


def _sides(table: Table, row: int) -> Sides:
    """Height and width of an image, as its annotations state them or by its header."""
    source = str(table.samples["source"].iat[row])
    return table.said_sizes.get(source) or image_size(encoded(table, row), source)


def _scales(image: ImageSettings, sides: Sides) -> tuple[float, float]:
    """How many times as high and as wide the network sees an image of these sides."""
    down, across = (seen / own for seen, own in zip(rectangle(image.size, image.aspect), sides, strict=True))
    if image.fit == "squash":
        return down, across
    both = min(down, across) if image.fit == "pad" else max(down, across)
    return both, both


def most_boxes(table: Table) -> int:
    """The number of boxes of the image that has most; 0 where none has any."""
    return 0 if table.boxes is None else int(table.boxes["sample"].value_counts().max() if len(table.boxes) else 0)


def _batches(count: int, batch: int) -> int:
    return math.ceil(count / min(batch, count))
