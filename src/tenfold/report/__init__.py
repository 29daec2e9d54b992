"""Run -> one self-contained HTML page: no script, no request, readable on a phone, in the dark and on paper.

    context.py     what a block may read: the run, one evaluation and its predictions
    headline.py    the result in words
    figures.py     what each figure is called and how it is written
    diagnosis.py   what the training said about itself
    training.py    the curves of training
    weights.py     whose pretrained weights the network started from
    open_set.py    what it makes of images of other classes, and of pairs of images
    speed.py       how long a prediction takes, stage by stage
    findings.py    what a check found of the images before training
    leaked.py      images of a part that the model is known to have seen already
    plots.py       matplotlib -> SVG that follows the page's colors
    thumbnails.py  images small enough to lie inside the page
    boxed.py       boxes over a picture of the page, those in question in a color of warning
    drawn.py       boxes drawn on a picture
    lettering.py   fonts that have the letters of words on pictures
    labels.py      where the words at boxes go, so that they hide neither each other nor the boxes
    outlined.py    boxes over a picture of the page, a line of its own for each kind, in the words of outlined.html.j2
    detected.py    what a detector found on the images of a part, as such boxes; its surest mistakes
    crowded.py     images with more objects of a class than COCO looks at detections
    page.py        the sections in their order, into report.html.j2 and report.css
    card.py        the model card, README.md, in the words of card.md.j2
    policy_sheet.py  what a policy makes of images, as a page, a picture or a section
    contact_sheet.py  pictures in rows with words in any script, as one picture
    check_page.py  findings on data -> a page of their own, in the words of check_page.html.j2
    blocks/        one file a block: what one task shows of its evaluation and another does not

A new block is a file in `blocks/` and a line in BLOCKS; a task names its blocks in tenfold.tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.files import write_file
from tenfold.report.blocks.calibration import calibration
from tenfold.report.blocks.confusion import confusion
from tenfold.report.blocks.curves import curves
from tenfold.report.blocks.detection_classes import detection_classes
from tenfold.report.blocks.detection_curves import detection_curves
from tenfold.report.blocks.detection_errors import detection_errors
from tenfold.report.blocks.detection_images import detection_images
from tenfold.report.blocks.mistakes import mistakes
from tenfold.report.blocks.per_class import per_class
from tenfold.report.card import write_card
from tenfold.report.context import Context, Section
from tenfold.report.page import page

if TYPE_CHECKING:
    from tenfold.run import Run

__all__ = ["BLOCKS", "write_card", "write_report"]

BLOCKS: dict[str, Callable[[Context], Section]] = {
    "confusion": confusion,
    "per_class": per_class,
    "curves_roc": curves,
    "calibration": calibration,
    "mistakes": mistakes,
    "detection_classes": detection_classes,
    "detection_curves": detection_curves,
    "detection_errors": detection_errors,
    "detection_images": detection_images,
}


def write_report(run: Run) -> Path:
    """Write `report.html` into the run's folder and return its path.

    It tells of the test part where that has been evaluated, else of the validation part, else of training alone.
    Raises DataError where a file of the run is damaged; an image that cannot be read leaves a box that says so.
    """
    target = run.path / "report.html"
    write_file(target, page(run, {name: BLOCKS[name] for name in run.task.blocks}))
    return target
