"""The ladder of `tenfold train --model frozen`: which head stands on the pretrained network, and what each is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenfold.commands.output import say

if TYPE_CHECKING:
    from tenfold.estimate import Estimate
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe
    from tenfold.train import Report
    from tenfold.transfer import Ladder
    from tenfold.transfer.settle import Settled


def climb(table: Table, recipe: Recipe, progress: Report) -> Settled | None:
    """Choose the head of a frozen network by the ladder, and show it; None where the recipe asks for none."""
    if recipe.model.name != "frozen" or recipe.transfer.head != "auto":
        return None
    from tenfold.transfer.settle import settle_head

    settled = settle_head(table, recipe, progress=progress)
    for line in ladder_lines(settled.ladder):
        say(line)
    return settled


def ladder_lines(ladder: Ladder) -> list[str]:
    """Every rung, which was chosen and why, and what the choice is worth."""
    lines = ["Ladder: of the training images alone, each answered by heads that were fitted without it"]
    for place, rung in enumerate(ladder.rungs):
        mark = "*" if place == ladder.chosen else " "
        lines.append(f"{mark} {rung.words}: {_figures(rung.accuracy, rung.log_loss)}, {rung.seconds:.1f} s")
    lines += [f"  not tried: {sentence}" for sentence in ladder.left_out]
    lines.append(f"Chosen: {ladder.reason}")
    lines.append(f"The choice included: {_figures(ladder.accuracy, ladder.log_loss)}")
    return lines


def _figures(accuracy: Estimate, log_loss: Estimate) -> str:
    from tenfold.report.figures import write_interval, write_value

    return ", ".join(
        f"{words} {write_value(name, figure.value)} ({write_interval(name, figure)})"
        for name, words, figure in (("accuracy", "accuracy", accuracy), ("log_loss", "log loss", log_loss))
    )
