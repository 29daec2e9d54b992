"""tenfold evaluate: what a run is worth on one part of its images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tenfold.commands.options import Share, Whole
from tenfold.commands.output import next_command, say, show_figures, show_json, show_table, waiting

if TYPE_CHECKING:
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
    json: bool = False,
) -> int:
    """Measure a run on one part of its images, with an interval for each figure.

    Each look at the test part is counted in ledger.jsonl beside the run and in it,
    by the images looked at and what was shown: every further look makes its
    intervals wider, so that those of all looks hold together. The same model again,
    with the same figures, is no further look. While you are still choosing, look at
    the validation part. Images without a label are predicted and counted, and are in
    no figure.

    For example:

        tenfold evaluate runs/flowers-1
        tenfold evaluate runs/flowers-1 --part test
        tenfold evaluate runs/cells-1 --part test --positive sick --threshold 0.3

    Parameters
    ----------
    run
        The folder that `tenfold train` wrote.
    part
        The part to look at.
    positive
        Of two classes the one that is looked for; by default the second one.
    threshold
        Probability from which on an image counts as positive, for two classes.
    level
        Level of the intervals, from 0 to 1.
    top_k
        Also count an image as right when its class is among so many likeliest.
    json
        Print one JSON object.
    """
    from tenfold.evaluate import evaluate_run
    from tenfold.report import write_card
    from tenfold.run import load_run

    asked = {"positive": positive, "threshold": threshold, "top_k": top_k}
    options = {name: value for name, value in asked.items() if value is not None}
    with waiting(f"Evaluating {run} on its {part} part"):
        opened = load_run(run)
        evaluation = evaluate_run(opened, part, level=level, **options)
        write_card(opened)
    for reason in evaluation.unreadable.values():
        say(f"left out: {reason}")
    if json:
        show_json({"run": run, **evaluation.to_json()})
    else:
        _show(evaluation, level)
        next_command("tenfold", "report", run)
    return 1 if evaluation.unreadable else 0


def _show(evaluation: Evaluation, level: float) -> None:
    from tenfold.report.headline import say_looks

    show_figures(evaluation.figures, evaluation.basis)
    details = evaluation.details
    if details.get("positive") is not None:
        print(f"Positive class: {details['positive']}, from a probability of {details['threshold']:g} on.\n")
    for name, reason in details.get("undefined", {}).items():
        print(f"No {name.replace('_', ' ')}: {reason}")
    classes = details.get("classes", ())
    if 0 < len(classes) <= MOST_CLASSES:
        rows = [(name, *row) for name, row in zip(classes, details["confusion"], strict=True)]
        show_table(("Truth, then predicted as", *classes), rows)
    if evaluation.look:
        print(say_looks(evaluation.look, level, next(iter(evaluation.figures)), evaluation.widened))
