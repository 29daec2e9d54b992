"""What `tenfold predict` does with a classifier: the class of each image. Imports no pandas: that takes a second."""

from __future__ import annotations

import csv
import math
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tenfold.commands.output import counted, say, show_json, show_table
from tenfold.errors import DataError, UsageError

if TYPE_CHECKING:
    from tenfold.estimate import Estimate
    from tenfold.metrics.unknown import HeldOut
    from tenfold.models.contract import Prediction
    from tenfold.run import Run

Answer = dict[str, Any]
"""{"path", "class", "probability", "top": [{"class", "probability"}]}; the first class is None where the model is not
sure enough to answer, or where "known", which stands there with "score" for --false-accept, is False."""

UNSURE = "I do not know"
NOBODY = "none of these"
CHOSEN_BY = (
    "They also had a say in what was trained (epoch, temperature, which model), so that it may be somewhat more: the "
    "test part, which had none, tells."
)


class Limits(NamedTuple):
    """From where on a model answers."""

    confidence: float = 0.0
    """The least probability."""
    score: float | None = None
    """The least score of an image of a known class; None: every image is of one."""


class Wanted(NamedTuple):
    """What was asked for."""

    form: str
    """table, csv or json."""
    top_k: int
    max_error: float | None
    false_accept: float | None


def show_classes(run: Run, paths: list[str], wanted: Wanted, failed: dict[str, str]) -> None:
    """Print an answer for each image; those that cannot be read go into `failed`."""
    max_error, false_accept = wanted.max_error, wanted.false_accept
    teller = run if false_accept is None else run.teller
    least = Limits(
        0.0 if max_error is None else _least_confidence(run, max_error),
        None if false_accept is None else _least_score(run, teller, false_accept),
    )
    seen = _seen(run, teller, [Path(path) for path in paths])
    predicted = counted(seen, len(paths), "Images", printed=wanted.form == "csv")
    answers = _answers(run, predicted, wanted.top_k, least, failed)
    if wanted.form == "json":
        results = list(answers)
        unsure = {} if max_error is None else {"max_error": max_error, "least_confidence": least.confidence}
        nobody = {} if false_accept is None else {"false_accept": false_accept, "least_score": least.score}
        show_json({"run": run.path, **unsure, **nobody, "images": results, "unreadable": failed})
        return
    further = range(2, min(wanted.top_k, len(run.classes)) + 1)
    header = ["path", "class", "probability", *(f"{name}_{n}" for n in further for name in ("class", "probability"))]
    header += ["score", "known"] if false_accept is not None else []
    if wanted.form == "csv":
        _print_csv(header, answers)
        return
    rows = [_row(answer | {"class": answer["class"] or _no_class(answer)}) for answer in answers]
    if rows:
        show_table([name.replace("_", " ").capitalize() for name in header], rows)


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
        supported = f"{images} support at most {limit} wrong"
        say(f"Answers from a confidence of {step.confidence:.3f} on: {supported}. {CHOSEN_BY}")
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


def least_percent(held: HeldOut) -> float:
    """The lowest share that --false-accept takes of a run, in percent, to a tenth."""
    return math.ceil(1000 * held.supported()) / 10


def tell_least(run: Run, held: HeldOut) -> None:
    """Say with which share a run's images of unknown classes are told apart, the lowest that it supports."""
    say(
        f"Images of no known class: tenfold predict {shlex.quote(str(run.path))} IMAGES --false-accept "
        f"{least_percent(held):g}% says so; no lower share is supported by {held.classes} classes."
    )


def classes_needed(held: HeldOut, share: float) -> str:
    """ "about 90 classes": how many a share needs."""
    from tenfold.metrics.open_set import MOST_PEOPLE

    needed = held.needed(share)
    return f"about {needed:,} classes" if needed <= MOST_PEOPLE else f"more than {MOST_PEOPLE:,} classes"


def _least_score(run: Run, teller: Run, false_accept: float) -> float:
    """From which score on an image gets a class, as held-out classes support it; UsageError where they do not.

    The score is that of `teller`'s network.
    """
    if teller.recipe.model.name != "frozen":
        raise UsageError(
            "--false-accept needs a network that was not itself trained on the classes, so that some can be held out, "
            f"and {run.path} is of the model {run.recipe.model.name}; train with --model frozen."
        )
    held, limit = teller.unknown, f"{100 * false_accept:.4g} %"
    if held is None:
        raise UsageError(
            f"--false-accept needs what training measures on classes that it holds out, and {run.path} has none of it: "
            f"{_why_unmeasured(teller)}."
        )
    strangers, known = len(held.strangers), int(held.known.sum())
    grouped = " (one of each group)" if strangers < known else ""
    images = f"{strangers} images{grouped} of {held.classes} classes that training held out"
    if 0 < false_accept < held.supported():
        least = f"{least_percent(held):g}"
        raise UsageError(
            f"--false-accept {limit} is less than {run.path} supports: {images} support "
            f"{least} % at best, as a share is only as sure as there are classes that stood for others; {limit} needs "
            f"{classes_needed(held, false_accept)} with as many images each: give --false-accept {least}%, or train on "
            "more classes."
        )
    score = held.threshold(false_accept)
    figures = held.figures(score)
    whose = "" if teller is run else f" All of that is of the frozen network in {teller.path}, which gives the score."
    say(
        f"Images get a class from a score of {score:.3f} on. {100 * figures['far'].value:.1f} % of {images} reach it, "
        f"so that, at a level of 95 %, at most {limit} of images of unknown classes like these do. Of images of known "
        f"classes {_percent(figures['dir'])} reach it and are named rightly; the interval is at 95 %, by class.{whose}"
    )
    return score


def _why_unmeasured(run: Run) -> str:
    """Why a frozen run has nothing of classes that were held out, and what to do."""
    from tenfold.run import resume_command
    from tenfold.transfer.unknown import why_not

    again = resume_command(run.path)
    return why_not(run) or f"training did not come to it, as it was stopped or had no time left; to do it now: {again}"


def _percent(figure: Estimate) -> str:
    low, value, high = (100 * number for number in (figure.low, figure.value, figure.high))
    return f"{value:.1f} % ({low:.1f} to {high:.1f})"


def _no_class(answer: Answer) -> str:
    return UNSURE if answer.get("known", True) else NOBODY


def _seen(run: Run, teller: Run, paths: list[Path]) -> Iterator[tuple[Path, Prediction | DataError]]:
    """What the run makes of each image, but the logits are `teller`'s; or what is wrong with it."""
    if teller is run:
        yield from run.predict_files(paths)
        return
    for (path, own), (_, told) in zip(run.predict_files(paths), teller.predict_files(paths), strict=True):
        if isinstance(own, DataError):
            yield path, own
        else:
            yield path, told if isinstance(told, DataError) else own | {"logits": told["logits"]}


def _answers(
    run: Run,
    predicted: Iterable[tuple[Path, Prediction | DataError]],
    top_k: int,
    least: Limits,
    failed: dict[str, str],
) -> Iterator[Answer]:
    """An answer for each image that can be read; the others are told of and go into `failed`."""
    from tenfold.metrics.unknown import known_score

    for path, prediction in predicted:
        if isinstance(prediction, DataError):
            failed[str(path)] = str(prediction)
            say(f"error: {prediction}")
            continue
        for row in run.task.tabulate(prediction, run.classes):
            ranked = sorted(zip(row["probability"], run.classes, strict=True), key=lambda pair: -pair[0])
            top = [{"class": name, "probability": share} for share, name in ranked[:top_k]]
            answer = {"path": str(path), "class": top[0]["class"], "probability": top[0]["probability"], "top": top}
            if least.score is not None:
                score = float(known_score(prediction["logits"][None])[0])
                answer |= {"score": score, "known": score >= least.score}
            if answer["probability"] < least.confidence or not answer.get("known", True):
                answer["class"] = None
            yield answer


def _row(answer: Answer) -> list[object]:
    further = (value for choice in answer["top"][1:] for value in (choice["class"], choice["probability"]))
    own = [answer["score"], "yes" if answer["known"] else "no"] if "known" in answer else []
    return [answer["path"], answer["class"], answer["probability"], *further, *own]


def _print_csv(header: list[str], answers: Iterable[Answer]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    for answer in answers:
        writer.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in _row(answer)])
        sys.stdout.flush()
