"""tenfold predict: what is in images that nobody has labelled. Imports no pandas: that alone takes a second."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from tenfold.commands.options import Share, Whole
from tenfold.commands.output import command_line, say, show_json, show_table
from tenfold.errors import DataError, UsageError

if TYPE_CHECKING:
    from tenfold.run import Run

Answer = dict[str, Any]
"""{"path", "class", "probability", "top": [{"class", "probability"}]}; the first class is None where the model is not
sure enough to answer."""

UNKNOWN = "I do not know"


def predict(
    run: Path,
    images: Annotated[list[str], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    top_k: Whole = 1,
    max_error: Share | None = None,
    format: Literal["table", "csv", "json"] = "table",
    json: bool = False,
) -> int:
    """Tell what is in images: the class and its probability.

    An image that cannot be read is named on stderr and skipped; the exit code is
    then 1.

    For example:

        tenfold predict runs/flowers-1 photo.jpg
        tenfold predict runs/flowers-1 holiday garden --top-k 3 --format csv
        tenfold predict runs/flowers-1 holiday --max-error 2%
        find . -name "*.jpg" | tenfold predict runs/flowers-1 - --json

    Parameters
    ----------
    run
        The folder that `tenfold train` wrote.
    images
        Files, folders with all images in and below them, or - for a list of them on standard input, one a line, or
        as find -print0 writes them.
    top_k
        How many classes an image, the likeliest first.
    max_error
        Leave out the class of images that the model is not sure enough of, so that at most this share of its answers
        is wrong: 2% or 0.02. The validation part must support that at a level of 95 %, and images must be like its
        own.
    format
        How to print; csv prints each line as soon as it is known.
    json
        The same as --format json.
    """
    _refuse_options(images)
    _refuse_swapped(run, images)
    if top_k < 1:
        raise UsageError(f"--top-k must be at least 1, not {top_k}.")
    from tenfold.images.readers import find_images
    from tenfold.run import load_run

    model = load_run(run)
    least = 0.0 if max_error is None else _least_confidence(model, max_error)
    paths, notes = find_images(_listed(images))
    for note in notes:
        say(note)
    if not paths:
        raise DataError(f"There are no images in {', '.join(images)}.")
    failed: dict[str, str] = {}
    answers = _answers(model, paths, top_k, least, failed)
    if json or format == "json":
        results = list(answers)
        limit = {} if max_error is None else {"max_error": max_error, "least_confidence": least}
        show_json({"run": run, **limit, "images": results, "unreadable": failed})
        return 1 if failed else 0
    further = range(2, min(top_k, len(model.classes)) + 1)
    header = ["path", "class", "probability", *(f"{name}_{n}" for n in further for name in ("class", "probability"))]
    if format == "csv":
        _print_csv(header, answers)
    else:
        rows = [[UNKNOWN if value is None else value for value in _row(answer)] for answer in answers]
        if rows:
            show_table([name.replace("_", " ").capitalize() for name in header], rows)
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


def _refuse_options(images: Iterable[str]) -> None:
    """Since "-" is allowed among the images, an option that does not exist arrives there too."""
    for name in images:
        if name.startswith("-") and name != "-":
            near = get_close_matches(name, ("--top-k", "--max-error", "--format", "--json"), n=1)
            raise UsageError(f"Unknown option: {name}." + (f" Did you mean {near[0]}?" if near else ""))


def _refuse_swapped(run: Path, images: list[str]) -> None:
    """Say so where the run stands among the images and an image in its place."""
    runs = [name for name in images if (Path(name) / "model.json").is_file()]
    if len(runs) == 1 and not (run / "model.json").is_file():
        others = [name for name in images if name != runs[0]]
        right = command_line("tenfold", "predict", runs[0], run, *others)
        raise UsageError(f"The run comes before the images, and {run} is no run but {runs[0]} is one: {right}")


def _least_confidence(run: Run, max_error: float) -> float:
    """From which confidence on the model answers, as its validation part supports; UsageError where it does not."""
    from tenfold.metrics.abstention import Step, choose_step, images_needed, supported_error

    steps = [Step(*step) for step in run.calibration.get("steps", ())]
    if not steps:
        raise UsageError(
            f"--max-error needs what training measures on a validation part, and {run.path} has none of it; train with "
            "a validation part."
        )
    step, count, limit = choose_step(steps, max_error), steps[-1].answered, f"{100 * max_error:.4g} %"
    images = f"{count} validation images" + (" (one of each group)" if count < run.calibration.get("n", count) else "")
    if step is not None:
        say(f"Answers from a confidence of {step.confidence:.3f} on: {images} support at most {limit} wrong.")
        return step.confidence
    needed, other = images_needed(max_error), supported_error(steps, max_error)
    advice = "train with a larger validation part" if other is None else f"they do support {100 * other:g} %"
    if count < needed:
        raise UsageError(
            f"--max-error {limit} needs at least {needed} validation images, all of them answered rightly, and "
            f"{run.path} has {images}; {advice}."
        )
    raise UsageError(
        f"--max-error {limit} is more than {images} of {run.path} support: too many of the surest answers are wrong; "
        f"{advice}."
    )


def _answers(run: Run, paths: Iterable[str], top_k: int, least: float, failed: dict[str, str]) -> Iterator[Answer]:
    """An answer for each image that can be read; the others are told of and go into `failed`."""
    for path, prediction in run.predict_files(map(Path, paths)):
        if isinstance(prediction, DataError):
            failed[str(path)] = str(prediction)
            say(f"error: {prediction}")
            continue
        for row in run.task.tabulate(prediction, run.classes):
            ranked = sorted(zip(row["probability"], run.classes, strict=True), key=lambda pair: -pair[0])
            top = [{"class": name, "probability": share} for share, name in ranked[:top_k]]
            known = top[0]["class"] if top[0]["probability"] >= least else None
            yield {"path": str(path), "class": known, "probability": top[0]["probability"], "top": top}


def _row(answer: Answer) -> list[object]:
    further = (value for choice in answer["top"][1:] for value in (choice["class"], choice["probability"]))
    return [answer["path"], answer["class"], answer["probability"], *further]


def _print_csv(header: list[str], answers: Iterable[Answer]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    for answer in answers:
        writer.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in _row(answer)])
        sys.stdout.flush()
