"""tenfold predict: what is in images that nobody has labelled. Imports no pandas: that alone takes a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tenfold.commands.options import Share, Whole, refuse_foreign
from tenfold.commands.output import command_line, say
from tenfold.errors import DataError, UsageError, nearest

Format = Literal["table", "csv", "json", "coco", "yolo"]

_OPTIONS = (
    *("--top-k", "--max-error", "--false-accept"),
    *("--score", "--precision", "--draw", "--out", "--ids"),
    *("--proposals", "--format", "--device", "--json"),
)


def predict(
    run: Path,
    images: Annotated[list[str], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    top_k: Whole | None = None,
    max_error: Share | None = None,
    false_accept: Share | None = None,
    score: float | None = None,
    precision: Share | None = None,
    draw: Path | None = None,
    format: Format = "table",
    out: Path | None = None,
    ids: Path | None = None,
    proposals: Path | None = None,
    device: str = "auto",
    json: bool = False,
) -> int:
    """Tell what is in images: the class and its probability, or the objects and their boxes.

    A classifier gives each image a class, a detector a row for each object. An
    image that cannot be read is named on stderr and skipped; the exit code is
    then 1.

    For example:

        tenfold predict runs/flowers-1 photo.jpg
        tenfold predict runs/flowers-1 holiday garden --top-k 3 --format csv
        tenfold predict runs/flowers-1 holiday --max-error 2%
        tenfold predict runs/flowers-1 holiday --false-accept 10%
        tenfold predict runs/cells-1 slides --draw drawn
        tenfold predict runs/cells-1 slides --precision 95% --format yolo --out labels
        find . -name "*.jpg" | tenfold predict runs/flowers-1 - --json

    Parameters
    ----------
    run
        The folder that `tenfold train` wrote.
    images
        Files, folders with all images in and below them, or - for a list of them on standard input, one a line, or
        as find -print0 writes them.
    top_k
        Of a classifier: how many classes an image, the likeliest first; by default one.
    max_error
        Of a classifier: leave out the class of images that the model is not sure enough of, so that at most this share
        of its answers is wrong: 2% or 0.02. The validation part must support that at a level of 95 %, and images must
        be like its own. As that part also had a say in the epoch, the temperature and which model was kept, the share
        may be somewhat higher; the report on the test part, which had none, says what it is there.
    false_accept
        Of a classifier: say "none of these" of images that look like none of the classes, so that at most this share
        of images of unknown classes is given a class: 10% or 0.1. Classes that were held out in training must support
        that at a level of 95 %; what else there is may be easier to tell from the classes than these, or harder. For
        the model frozen, and for a fine-tuned one that `tenfold train` compared with it: the frozen one that it keeps
        tells.
    score
        Of a detector: the score, 0 to 1, from which on objects are shown; by default the one with the best F1 on the
        validation part.
    precision
        Of a detector: show objects from the score on at which at least this share of them is right: 95% or 0.95. The
        validation part must support that at a level of 95 %, and images must be like its own. As that part also had a
        say in the epoch and in how scores are calibrated, the share may be somewhat lower.
    draw
        Of a detector: write copies of the images with boxes, classes and scores drawn on them into this folder, a new
        or empty one.
    format
        How to print; csv prints each line as soon as it is known. Of a detector also coco, the results that COCO's
        evaluation reads (with --score 0 it has all of them), and yolo, a text file an image in --out, and beside them
        classes.txt with the class of each number.
    out
        With --format yolo: the folder for the text files, a new or empty one. Where images lie in folders below IMAGES,
        their text files lie in the same ones below it.
    ids
        With --format coco: a COCO json whose ids of images and categories, by their names, are taken; where it names
        an image with its folders, these count too, but for those of images and of another machine. By default an
        image's id is its name, as a number where all are numbers, and categories count from 1 in the order of the
        data's own classes, those without a box too.
    proposals
        Of a detector that was trained on proposals from a file (--detect.proposals-from): a file with those of these
        images, as tenfold proposals IMAGES --save FILE writes it.
    device
        auto, cpu, cuda, cuda:1 or mps: where the model looks at the images.
    json
        The same as --format json.
    """
    _refuse_unknown(images)
    _refuse_swapped(run, images)
    form = "json" if json else format
    from tenfold.images.readers import find_images
    from tenfold.run import load_run

    model = load_run(run, device, proposals)
    if note := model.proposals_note:
        say(note)
    own = {"--top-k": top_k, "--max-error": max_error, "--false-accept": false_accept}
    others: dict[str, object] = {"--score": score, "--precision": precision, "--draw": draw, "--out": out, "--ids": ids}
    others["--format"] = form if form in ("coco", "yolo") else None
    refuse_foreign(model, own, others)
    if top_k is not None and top_k < 1:
        raise UsageError(f"--top-k must be at least 1, not {top_k}.")
    given = list(_listed(images))
    paths, notes = find_images(given)
    for note in notes:
        say(note)
    if not paths:
        raise DataError(f"There are no images in {', '.join(images)}.")
    if model.proposals is not None:
        model.proposals.refuse_lacking(paths)
    failed: dict[str, str] = {}
    if model.task.name == "detection":
        from tenfold.commands.predict_boxes import Asked, show_boxes

        show_boxes(model, paths, Asked(form, score, precision, draw, out, ids, given), failed)
    else:
        from tenfold.commands.predict_classes import Wanted, show_classes

        show_classes(model, paths, Wanted(form, top_k or 1, max_error, false_accept), failed)
    return 1 if failed else 0


def _listed(images: Iterable[str]) -> Iterator[str]:
    """The paths given, and those that standard input lists where "-" stands."""
    for name in images:
        if name != "-":
            yield name
            continue
        content = sys.stdin.buffer.read()
        lines = content.split(b"\0") if b"\0" in content else content.replace(b"\r\n", b"\n").split(b"\n")
        yield from (os.fsdecode(path) for path in lines if path)


def _refuse_unknown(images: Iterable[str]) -> None:
    """Since "-" is allowed among the images, an option that does not exist arrives there too."""
    for name in images:
        if name.startswith("-") and name != "-":
            raise UsageError(f"Unknown option: {name}. Did you mean {nearest(name, _OPTIONS)}?")


def _refuse_swapped(run: Path, images: list[str]) -> None:
    """Say so where the run stands among the images and an image in its place."""
    runs = [name for name in images if (Path(name) / "model.json").is_file()]
    if len(runs) == 1 and not (run / "model.json").is_file():
        others = [name for name in images if name != runs[0]]
        right = command_line("tenfold", "predict", runs[0], run, *others)
        raise UsageError(f"The run comes before the images, and {run} is no run but {runs[0]} is one: {right}")
