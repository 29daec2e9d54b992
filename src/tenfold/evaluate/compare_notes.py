"""What a reader of a comparison has to know besides its sentence: notes, a sentence each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tenfold.estimate import COUNTED_BY, FEWEST_GROUPS

if TYPE_CHECKING:
    from tenfold.metrics.paired import Spread
    from tenfold.run import Run


def common_notes(counts: Sequence[int], part: str, common: int, relabeled: int) -> list[str]:
    """`counts`: the labelled images of each run's part, of which `common` are the same, and labelled alike."""
    notes = []
    if relabeled:
        notes.append(f"{relabeled} more images have other labels in one run than in another and are left out.")
    if common + relabeled < max(counts):
        notes.append(f"All have {common} images in common, of {min(counts)} to {max(counts)} in their {part} parts.")
    return notes


def look_notes(looks: int, runs: int) -> list[str]:
    """How many looks there have been at the test images of so many runs."""
    if looks <= runs:
        return []
    return [
        f"These test images have had {looks} looks. Each side's own intervals allow for them; that of the difference "
        "is for runs that were chosen before any of them."
    ]


def seed_notes(first: Sequence[Run], second: Sequence[Run], found: Spread, figure: str = "accuracy") -> list[str]:
    """What the runs' seeds do; `found` is of the difference in that figure."""
    if len(first) == 1:
        return [
            "This is about these two trained models. With another seed either recipe may come out otherwise; to "
            "compare the recipes, train each with several seeds: tenfold compare A1 A2 A3 --with B1 B2 B3"
        ]
    notes = []
    whole = found.sample + found.seed
    if whole:
        seed = 100 * found.seed / whole
        notes.append(
            f"Of the variance of the difference in {figure} {seed:.0f} % is due to the seed and {100 - seed:.0f} % to "
            f"the images: more {'seeds' if seed > 50 else 'images'} would narrow the interval most."
        )
    for side in (first, second):
        bare = [run.recipe.change(train={"seed": 0}) for run in side]
        if any(recipe != bare[0] for recipe in bare):
            names = ", ".join(str(run.path) for run in side)
            notes.append(
                f"The recipes of {names} differ in more than the seed, and what that does counts as the seed's."
            )
    return notes


def group_notes(blocks: int) -> list[str]:
    """`blocks`: groups, and images without one."""
    if blocks >= FEWEST_GROUPS:
        return []
    few = f"These images are of {'one group' if blocks == 1 else f'{blocks} groups'} only"
    if blocks < COUNTED_BY:
        return [f"{few} and are counted as if each stood alone; with another group the difference may be another."]
    return [f"{few}: how much chance there is in the difference can hardly be told from so few."]
