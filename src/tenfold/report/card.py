"""The model card: the run's README.md, for whoever is handed the folder and was not there when it was made.

It answers in plain words what Mitchell et al. ask of one ("Model Cards for Model Reporting", 2019,
https://doi.org/10.1145/3287560.3287596): what the model is, what it learned from, how good it is and for which classes
less so, what it is not for, whose weights they are. Its commands are typed in the folder itself, so moving it breaks
nothing. The words are in card.md.j2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from tenfold.estimate import Estimate, from_json
from tenfold.files import write_file
from tenfold.images.table import PARTS
from tenfold.models.card import network_words
from tenfold.report.blocks.per_class import counted_by
from tenfold.report.context import Context, render_file
from tenfold.report.headline import headline
from tenfold.report.page import evaluable, figure_rows, found_together, group_counts, parameter_words, training_again
from tenfold.report.thumbnails import Thumbnails
from tenfold.words import count

if TYPE_CHECKING:
    from tenfold.run import Run

MOST_CLASSES = 50
"""Classes that the card names; model.json has every one."""
MOST_FIGURES = 6
"""Figures that the card shows; the report has every one."""
NOTHING_HELD_BACK = (
    "more images of each class, split anew, and another training give it both; with five images or more of each, "
    "tenfold train DATA --folds 5x2 measures the procedure."
)
"""What the card says where nothing can be evaluated."""
WEAKEST = 3
"""Classes named as those that the model finds least often."""


def write_card(run: Run) -> Path:
    """Write `README.md` into the run's folder and return its path.

    Like the report, it tells of the test part where that has been evaluated, else of the validation part. Raises
    DataError where a file of the run is damaged.
    """
    target = run.path / "README.md"
    write_file(target, card(run) + "\n")
    return target


def card(run: Run) -> str:
    """The text of the model card, Markdown."""
    evaluations: dict[str, Any] = from_json(run.evaluations)
    evaluated = [name for name in ("test", "validation") if name in evaluations]
    context = Context(run, evaluations[evaluated[0]], Thumbnails(run.table)) if evaluated else None
    figures = figure_rows(evaluations)
    fitted: dict[str, Any] = run.card.get("calibration", {})
    calibrated = "the other folds" if "others" in fitted else "its validation part" if "temperature" in fitted else ""
    return render_file(
        "card.md.j2",
        calibrated=calibrated,
        unknown=run.teller.unknown is not None,
        md=markdown,
        name=run.path.resolve().name,
        headline=headline(run, context),
        task=run.task.name,
        network=network_words(run.card),
        parameters=parameter_words(run),
        sides=run.preprocessing.sides,
        channels=run.preprocessing.channels,
        classes=run.classes,
        shown=run.classes[:MOST_CLASSES],
        data=run.recipe.data.path,
        images={part: len(run.table.part(part)) for part in PARTS},
        groups=group_counts(run),
        separation=separation(run),
        unreadable=_unreadable(run),
        evaluated=evaluated,
        figures=figures[:MOST_FIGURES],
        more=len(figures) > MOST_FIGURES,
        part_to_look_at=(evaluable(run) or [""])[0],
        nothing_held_back=NOTHING_HELD_BACK,
        weakest=weakest_classes(context) if context else [],
        basis=basis,
        score=context.details.get("score") if context else None,
        weights=run.card.get("weights", {}),
        again=Markup(training_again(run, Path(), "../again")),  # stands in a block of code, where nothing is markup
        made=made(run.environment),
    )


def markdown(text: object) -> Markup:
    """A text as it is, on one line, in CommonMark and in GitHub's Markdown: nothing in it is markup or HTML."""
    return Markup(re.sub(r"([\\`*_\[\]<>#|~$&])", r"\\\1", " ".join(str(text).splitlines())))


def separation(run: Run) -> list[str]:
    """How far the parts have nothing in common: sentences, true of this run's table."""
    given, together = bool(group_counts(run)), found_together(run)
    groups, copies = _shared(run, "group"), _shared(run, "hash")
    sentences = []
    if not given:
        sentences.append(
            "No groups were given. Where several images show the same thing, one may have been learned and another "
            "tested, and the figures then flatter the model."
        )
    if together:
        sentences.append(together)
    if groups:
        what = "Groups" if given else "Such sets"
        sentences.append(f"{what} with images in more than one part: {groups:,}. The figures flatter the model.")
    elif given:
        sentences.append("Images of one group are all in one part.")
    if copies:
        sentences.append(f"Images with identical copies in another part: {copies:,}. The figures flatter the model.")
    return sentences


def made(environment: Mapping[str, Any]) -> str:
    """When and with which versions."""
    packages = {"Python": environment.get("python"), **environment.get("packages", {})}
    versions = ", ".join(f"{name} {version}" for name, version in packages.items() if version)
    return " ".join(filter(None, ["Made", environment.get("time"), "with" if versions else "", versions]))


def basis(figure: Estimate) -> str:
    """What a class's figure is of: "20", or "20 in 2 groups" where it is counted by these."""
    groups = counted_by(figure)
    return f"{figure.n}" if groups is None else f"{figure.n} in {count(groups, 'group')}"


def weakest_classes(context: Context) -> list[tuple[str, Estimate]]:
    """(class, recall) of those with the lowest recall, the lowest first; none that was always found."""
    rows = [(row["class"], row["recall"]) for row in context.details.get("per_class", []) if row["recall"]]
    missed = [(name, recall) for name, recall in rows if recall.value < 1]
    return sorted(missed, key=lambda row: float(row[1].value))[:WEAKEST]


def _unreadable(run: Run) -> int:
    """Images that could not be decoded: by the check before training, or where there was none by the training."""
    found = run.findings.get("findings", [])
    checked = sum(int(one["images"]) for one in found if one["kind"] == "unreadable")
    return max(len(run.environment.get("unreadable", {})), checked)


def _shared(run: Run, column: str) -> int:
    """How many values of a column of the samples stand in more than one part."""
    return int((run.table.samples.groupby(column)["part"].nunique() > 1).sum())
