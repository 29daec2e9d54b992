"""The ladder as `tenfold train` shows it: which head stands on the pretrained network, and what fine-tuning changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenfold.commands.output import say

if TYPE_CHECKING:
    from tenfold.estimate import Estimate
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe
    from tenfold.train import Report
    from tenfold.transfer import Ladder
    from tenfold.transfer.settle import Settled


def climb(table: Table, recipe: Recipe, progress: Report, started: float) -> Settled | None:
    """Choose the head of a frozen network by the ladder, and show it; None where the recipe asks for none.

    Its time counts from `started` on, by time.monotonic.
    """
    from tenfold.transfer.settle import is_open, settle_head

    if not is_open(recipe):
        return None
    settled = settle_head(table, recipe, progress=progress, started=started)
    show_ladder(settled.ladder)
    return settled


def show_ladder(ladder: Ladder) -> None:
    """Say `ladder_lines`."""
    for line in ladder_lines(ladder):
        say(line)


def ladder_lines(ladder: Ladder) -> list[str]:
    """Every rung, which was chosen and why, how that goes with the rungs' figures, and what the choice is worth."""
    from tenfold.report.ladder import COMPARED

    lines = ["Ladder: of the training images alone, each answered by heads that were fitted without it"]
    for place, rung in enumerate(ladder.rungs):
        mark = "*" if place == ladder.chosen else " "
        lines.append(f"{mark} {rung.words}: {_figures(rung.accuracy, rung.log_loss)}, {rung.seconds:.1f} s")
    lines += [f"  left out: {sentence}" for sentence in ladder.left_out]
    lines.append(f"Chosen: {ladder.reason}")
    lines += [COMPARED] if len(ladder.rungs) > 1 else []
    lines.append(f"The choice included: {_figures(ladder.accuracy, ladder.log_loss)}")
    lines += [ladder.flattered] if ladder.flattered else []
    return lines


def verdict_lines(ladder: dict[str, Any]) -> list[str]:
    """What fine-tuning changed and which network was taken, of a run's ladder; none where that was not compared."""
    from tenfold.estimate import from_json
    from tenfold.report.figures import figure_label, write_interval, write_seconds, write_value
    from tenfold.report.ladder import CHOSEN_BY_VALIDATION, write_difference

    found = from_json(ladder.get("finetuning", {}))
    if not found.get("decided"):
        return []
    lines = [f"Fine-tuning, {write_seconds(found['seconds'])}: frozen, then fine-tuned, {found['n']} validation images"]
    for name in ("accuracy", "log_loss"):
        sides = (found[name][side] for side in ("before", "after"))
        before, after = (f"{write_value(name, side.value)} ({write_interval(name, side)})" for side in sides)
        apart = write_difference(name, found[name]["difference"])
        lines.append(f"  {figure_label(name).lower()} {before}, then {after}; difference {apart}")
    lines.append(f"  images that became right: {found['became_right']}, that became wrong: {found['became_wrong']}")
    return [*lines, f"Taken: {found['reason']}", CHOSEN_BY_VALIDATION]


def _figures(accuracy: Estimate, log_loss: Estimate) -> str:
    from tenfold.report.figures import write_interval, write_value

    return ", ".join(
        f"{words} {write_value(name, figure.value)} ({write_interval(name, figure)})"
        for name, words, figure in (("accuracy", "accuracy", accuracy), ("log_loss", "log loss", log_loss))
    )
