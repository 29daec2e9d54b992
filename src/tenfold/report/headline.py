"""The result in words: what was measured, against what, and how far it can be believed."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tenfold.estimate import COUNTED_BY, FEWEST_GROUPS, Estimate, wilson
from tenfold.looks import count_looks, for_looks, image_hashes
from tenfold.report.figures import figure_label, figure_wording, write_interval, write_level, write_value
from tenfold.report.ladder import CHOSEN_BY_VALIDATION
from tenfold.report.leaked import leaked_images
from tenfold.split.ties import is_found
from tenfold.words import count

if TYPE_CHECKING:
    from tenfold.report.context import Context
    from tenfold.run import Run

PHRASES = {
    "accuracy": "the model named the right class {value} of the time",
    "ap50": "the model's AP50 is {value}, where 1 is every object found and nothing else",
}
"""How the headline says a figure; one that is not listed is called by its label."""


class Headline(NamedTuple):
    """The top of the page."""

    sentence: str
    interval: str
    """Stands in brackets after the sentence."""
    facts: list[str]
    """Sentences below it."""
    figure: Estimate | None
    """Set where it is a share, so that the page can draw it on a scale from 0 to 100 %."""
    baseline: Estimate | None


def headline(run: Run, context: Context | None) -> Headline:
    """The first figure of the evaluation, or the statement that there is none yet."""
    if context is None or not context.figures:
        return Headline("This model has not been evaluated yet.", "", [_sealed(run)], None, None)
    name, found = next(iter(context.figures.items()))
    looks = looks_so_far(run, context)
    before = max(int(context.evaluation["look"]), 1)
    figure, level = for_looks(found, before, looks), round(1 - (1 - found.level) * before, 9)
    images = count(figure.n, f"{context.part} image")
    value = write_value(name, figure.value)
    phrase = PHRASES.get(name, f"the model's {figure_label(name)} is {{value}}").format(value=value)
    leaked = leaked_images(run, context.part, context.evaluation.get("unreadable", {}))
    seen = " it had never seen" if context.part == "test" else " held back from training"
    seen = f", of which {leaked.words}" if leaked.images else seen
    baseline = largest_class(run, context, level) if "confusion" in context.details else None
    widened = float(context.evaluation.get("widened", 1.0))
    return Headline(
        f"On {images}{seen}, {phrase}",
        f"{write_interval(name, figure)}, {write_level(figure.level)} {_method(figure)}",
        [
            *([leaked.advice] if leaked.images else []),
            *_baseline_fact(baseline),
            *_standing(run, context, say_looks(looks, level, name, widened * _width(figure) / _width(found))),
            *_later_looks(run, looks - before),
            *_few_groups(run, context),
            *_unreadable(context),
            *_unlabeled(context),
            *([leaked.advice] if leaked.advice and not leaked.images else []),
        ],
        figure if figure_wording(name).percent else None,
        baseline[1] if baseline else None,
    )


def largest_class(run: Run, context: Context, level: float) -> tuple[str, Estimate] | None:
    """The class that most training images have, and how often naming it always is right on the evaluated part."""
    training = run.table.part("train").labels()
    truth = np.array(context.details["confusion"], np.int64).sum(1)
    if not (training >= 0).any() or not truth.sum():
        return None
    largest = int(np.bincount(training[training >= 0]).argmax())
    right, count = int(truth[largest]), int(truth.sum())
    return run.classes[largest], Estimate(right / count, *wilson(right, count, level), level, count, "Wilson")


def looks_so_far(run: Run, context: Context) -> int:
    """How many models these test images have judged by now, which may be more than when this one was evaluated."""
    if context.part != "test":
        return 0
    counted = count_looks(run.path, image_hashes(run.table.part("test")))
    return max(counted, int(context.evaluation["look"]))


def say_looks(looks: int, level: float, name: str, widened: float) -> str:
    """How many looks there were at a test part, and that the intervals of all hold at `level` together.

    The interval of the figure `name` is `widened` times as wide for it as at the first look.
    """
    if looks <= 1:
        return (
            "This is look 1 at this test part: no other look at these images is known here, so the interval is not "
            "widened."
        )
    label = figure_label(name)
    return (
        f"This test part has had {looks} looks: for the intervals of all of them to hold at {write_level(level)} "
        f"together, that of the {label if label.isupper() else label.lower()} is {widened:.1f} times as wide as at the "
        "first look. What this does not cover: choosing the recipe by what an earlier look showed (adaptive re-use)."
    )


def _baseline_fact(baseline: tuple[str, Estimate] | None) -> list[str]:
    if baseline is None:
        return []
    name, share = baseline
    often = f"{write_value('accuracy', share.value)} of the time ({write_interval('accuracy', share)})"
    return [f"Always answering the largest class, {name}, would be right {often}."]


def _standing(run: Run, context: Context, said: str) -> list[str]:
    if context.part == "test":
        return [said]
    kept = "Training kept the epoch that did best on these images, so the figure flatters the model a little."
    best = run.recipe.train.keep != "last" and run.history["step"].any()
    chose = [CHOSEN_BY_VALIDATION] if run.ladder.get("finetuning", {}).get("decided") else []
    return [*([kept] if best else []), *chose, _sealed(run)]


def _later_looks(run: Run, count: int) -> list[str]:
    if count <= 0:
        return []
    again = f"tenfold evaluate {shlex.quote(str(run.path))} --part test"
    return [
        f"{count} of these came after this one, which only the headline's interval allows for; {again} does the same "
        "for the other figures, and is no further look."
    ]


def _width(figure: Estimate) -> float:
    return figure.high - figure.low


def _method(figure: Estimate) -> str:
    """ "Wilson", or "bootstrap over 23 groups": that images were counted singly goes without saying in a headline."""
    return figure.method.partition(" over images")[0]


def _few_groups(run: Run, context: Context) -> list[str]:
    """Images of one group are alike; few groups tell little of others."""
    groups = run.table.part(context.part).samples["group"]
    count = groups.nunique() + int(groups.isna().sum())
    if groups.isna().all() or count >= FEWEST_GROUPS:
        return []
    found = groups.map(is_found, na_action="ignore").eq(True).any()  # nobody gave these: copies and shots in a row
    if found:
        alone = "one image or set of images that belong together"
        noun = alone if count == 1 else f"only {count} images or sets of images that belong together"
        other, others, same = "another one", "others", "sets"
    else:
        noun = "one group" if count == 1 else f"only {count} groups"
        other, others, same = "another group", "other groups", "groups"
    if count < COUNTED_BY:
        return [
            f"These images come from {noun} and are counted as if each stood alone; {other} may do better or worse "
            "than the interval says."
        ]
    return [
        f"These images come from {noun}: the interval is wide, as {others} may do better or worse, and more images of "
        f"the same {same} would not narrow it much."
    ]


def _unreadable(context: Context) -> list[str]:
    count = len(context.evaluation.get("unreadable", {}))
    return [f"{count:,} of its images could not be read and are not in the figures."] if count else []


def _unlabeled(context: Context) -> list[str]:
    count = int(context.evaluation.get("unlabeled", 0))  # an evaluation of before this was counted has none
    return [f"{count:,} more of its images have no label and are not in the figures."] if count else []


def _sealed(run: Run) -> str:
    count = len(run.table.part("test"))
    if not count:
        return "This run has no test part, so nothing measures it on images that chose nothing."
    return f"The test part ({count:,} images) is still sealed: this run has not looked at it."
