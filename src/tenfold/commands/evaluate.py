"""tenfold evaluate: what a run is worth on one part of its images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tenfold.commands.live import looking_at
from tenfold.commands.options import Share, Whole, refuse_foreign
from tenfold.commands.output import next_command, say, show_figures, show_json, show_table

if TYPE_CHECKING:
    from tenfold.estimate import Estimate
    from tenfold.evaluate import Evaluation

MOST_CLASSES = 12
"""Classes up to which a terminal shows the confusion matrix; the report shows every one."""


def evaluate(
    run: Path,
    /,
    *,
    part: Literal["validation", "test"] = "validation",
    positive: str | None = None,
    threshold: float | None = None,
    level: Share = 0.95,
    top_k: Whole | None = None,
    score: float | None = None,
    unknown: str | None = None,
    pairs: bool = False,
    proposals: Path | None = None,
    device: str = "cpu",
    json: bool = False,
) -> int:
    """Measure a run on one part of its images, with an interval for each figure.

    Each look at the test part is counted in ledger.jsonl, beside the runs, beside the
    written split and in the run, by the images looked at and what was shown, whichever
    run, folder or part they were in: every further look makes its intervals wider, so that those
    of all looks hold together. The same model again, with the same figures, is no
    further look. While you are still choosing, look at the validation part. Images
    without a label are predicted and counted, and are in no figure.

    With --unknown, images of other classes say how many of them are given a class
    all the same, and how many of the part's are refused, at the thresholds that
    held-out classes choose (tenfold predict --false-accept). With --pairs, every two
    images of the part say how well the network's features tell whether they are of
    one class. Of the test part both are shown with the figures as one look, and
    later as a further one; the figures alone, later, are none.

    For example:

        tenfold evaluate runs/flowers-1
        tenfold evaluate runs/flowers-1 --part test
        tenfold evaluate runs/smears-1 --part test --positive sick --threshold 0.3
        tenfold evaluate runs/cells-1 --part test --score 0.5
        tenfold evaluate runs/faces-1 --part test --unknown strangers --pairs

    Parameters
    ----------
    run
        The folder that `tenfold train` wrote.
    part
        The part to look at.
    positive
        Of a classifier of two classes the one that is looked for; by default the second one.
    threshold
        Probability from which on an image counts as positive, for two classes.
    level
        Level of the intervals, from 0 to 1.
    top_k
        Also count an image as right when its class is among so many likeliest.
    score
        Of a detector: the score, 0 to 1, from which on detections count in precision, recall, the confusion matrix and
        the kinds of mistakes; by default the one with the best F1 on the validation part. Average precision looks at
        all.
    unknown
        Of a classifier: images of none of its classes, a folder or whatever else can be trained on, better with a
        folder for each class: intervals are by class. What is of a class of the run, or among its own images, is left
        out and named.
    pairs
        Of a frozen or fine-tuned network: also compare every two images of the part, and give the false non-match rate
        (FNMR) at a false match rate (FMR) of 1 % and 0.1 %.
    proposals
        Of a detector that was trained on proposals from a file (--detect.proposals-from): another file of them, where
        that one has none of these images or lies elsewhere.
    device
        cpu, cuda, cuda:1, mps, or auto for the first GPU there is: where the model looks at the images. Their last
        digits differ, so the same images on another device are a further look at the test part.
    json
        Print one JSON object.
    """
    import numpy as np

    from tenfold.commands.evaluate_open_set import read_unknown, show_pairs, show_unknown, tell_supported
    from tenfold.evaluate import evaluate_run
    from tenfold.images.table import given_areas
    from tenfold.looks import ledger_note
    from tenfold.report import write_card
    from tenfold.report.crowded import crowded_note
    from tenfold.report.headline import say_looks
    from tenfold.report.leaked import leaked_images
    from tenfold.run import load_run

    opened = load_run(run, device, proposals)
    if note := opened.proposals_note:
        say(note)
    foreign = {"--positive": positive, "--threshold": threshold, "--top-k": top_k, "--unknown": unknown}
    refuse_foreign(opened, foreign | {"--pairs": pairs or None}, {"--score": score})
    asked = {"positive": positive, "threshold": threshold, "top_k": top_k, "score": score}
    options = {name: value for name, value in asked.items() if value is not None}
    strangers = None if unknown is None else read_unknown(unknown)
    for note in strangers.notes if strangers else ():
        say(note)
    told = tell_supported(opened, part, unknown=strangers is not None, pairs=pairs)
    with looking_at(opened, part, f"Evaluating {run} on its {part} part"):
        evaluation = evaluate_run(opened, part, unknown=strangers, pairs=pairs, speed=True, level=level, **options)
        write_card(opened)
    besides = evaluation.details.get("open_set", {})
    unreadable = [*evaluation.unreadable.values(), *besides.get("unreadable", ())]
    for reason in unreadable:
        say(f"left out: {reason}")
    for sentence in besides.get("left_out", ()):
        say(sentence)
    if lost := evaluation.details.get("no_boxes"):
        say(f"{lost} proposals of these images are no box in their image, and were left out.")
    if note := crowded_note(opened, evaluation.details):
        say(note)
    leaked = leaked_images(opened, part, evaluation.unreadable)
    if leaked.images:
        say(f"Of these {part} images, {leaked.words}. {leaked.advice}")
    elif leaked.advice:
        say(leaked.advice)
    speed = evaluation.details.get("speed")
    if speed is None:
        say(f"How long a prediction takes is left out: {evaluation.details['no_speed']}")
    if json:
        show_json({"run": run, **evaluation.to_json()})
    else:
        show_figures(evaluation.figures, evaluation.basis)
        if opened.task.name == "detection":
            with_areas = bool(np.isfinite(given_areas(opened.table.part(part))).any())
            _show_boxes(evaluation, opened.calibration.get("score"), chosen=score is None, with_areas=with_areas)
        else:
            _show_classes(evaluation)
        if besides:
            show_unknown(besides, opened)
        if pairs:
            show_pairs(evaluation.details["pairs"], told)
        if speed:
            print(_say_speed(speed, opened.task.name))
            if speed.get("disturbed"):
                say(speed["disturbed"])
        if evaluation.look:
            print(say_looks(evaluation.look, level, next(iter(evaluation.figures)), evaluation.widened))
            if note := ledger_note(opened.path):
                say(note)
        next_command("tenfold", "report", run)
    return 1 if unreadable else 0


def _say_speed(speed: dict[str, Any], task: str) -> str:
    """The median seconds of each stage, in a sentence."""
    from tenfold.report.speed import stage_words

    each = ((stage_words(name, task)[0].lower(), found["median"]) for name, found in speed["stages"].items())
    stages = ", ".join(f"{name} {seconds:.3g}" for name, seconds in each)
    total, count = speed["total"]["median"], speed["images"]
    return f"Seconds an image, one after another: {total:.3g}, of which {stages} (medians of {count} images).\n"


def _show_classes(evaluation: Evaluation) -> None:
    """The positive class, the figures that are left out, and the confusion matrix."""
    details = evaluation.details
    if details.get("positive") is not None:
        print(f"Positive class: {details['positive']}, from a probability of {details['threshold']:g} on.\n")
    for name, reason in details.get("undefined", {}).items():
        print(f"No {name.replace('_', ' ')}: {reason}")
    classes = details.get("classes", ())
    if 0 < len(classes) <= MOST_CLASSES:
        rows = [(name, *row) for name, row in zip(classes, details["confusion"], strict=True)]
        show_table(("Truth, then predicted as", *classes), rows)


def _show_boxes(evaluation: Evaluation, settled: float | None, *, chosen: bool, with_areas: bool) -> None:
    """Each class, the kinds of mistakes and the confusion matrix of a detector, from a score on that is told.

    `with_areas`: the part's annotations give areas of their own, by which COCO's sizes then go.
    """
    from tenfold.report.detected import NAMES
    from tenfold.report.figures import figure_label, write_interval, write_value

    def written(name: str, figure: Estimate | None) -> str:
        return f"{write_value(name, figure.value)} ({write_interval(name, figure)})" if figure else ""

    details = evaluation.details
    if names := [figure_label(name) for name in details["undefined"]]:
        print(f"Left out, as there is no object of that size: {'; '.join(names)}.\n")
    if flat := details.get("no_area"):
        print(f"Left out, as they have no area: {flat:,} box{'es' * (flat > 1)}, which tenfold check names.\n")
    area = "the area of the box"
    if with_areas:
        area = "the area that an annotation gives, as of a mask, and by that of the box where it gives none"
    print(f"Small, medium and large go by {area}.\n")
    why = "as it was given"
    if chosen:
        why = "the best F1 on the validation part" if settled is not None else "as training chose none"
    print(f"What follows counts detections with a score from {details['score']:.3f} on, {why}; AP50 looks at all.\n")
    rows = [
        (row["class"], row["objects"], *(written(name, row[name]) for name in ("ap50", "precision", "recall")))
        for row in details["per_class"]
    ]
    show_table(("Class", "Objects", "AP50", "Precision", "Recall"), rows)
    mistakes = [(NAMES[row["kind"]], row["count"], written("ap50", row["gain"])) for row in details["errors"]]
    show_table(("Mistake", "Number", "AP50 gained without it"), mistakes)
    classes = details["classes"]
    if len(classes) <= MOST_CLASSES:
        table = [(name, *row) for name, row in zip([*classes, "nothing"], details["confusion"], strict=True)]
        table[-1] = (*table[-1][:-1], "")
        show_table(("Truth, then detected as", *classes, "missed"), table)
