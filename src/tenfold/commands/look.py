"""The check within split and train: what it is about to do, what it found, and how to see that."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.commands.output import command_line, console, say

if TYPE_CHECKING:
    from tenfold.check import Findings, Looked
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe

SOON = 2.0
"""Seconds after which it is told that images are checked, and that it took time."""


def look_over(table: Table, data: object, *, allow_truncated: bool = False) -> tuple[Looked, Table]:
    """Look at the images of a table, and note in it which of them belong together."""
    from tenfold.check import findings_of, look_at_table

    with watched(f"Checking {data}", "; --no-check leaves it out") as progress:
        looked = look_at_table(table, allow_truncated=allow_truncated, progress=progress)
    return looked, findings_of(looked).keep_together(table)


def findings_line(findings: Findings, recipe: Recipe, seconds: float, source: object) -> str:
    """What was found, the command that shows it, and what it took where a time limit could be thought to hold that."""
    number, notes = len(findings.decisions), len(findings.found) - len(findings.decisions)
    took = ""
    if recipe.train.minutes and seconds > SOON:
        took = f" It took {seconds:.0f} s, which are not of the {recipe.train.minutes:g} minutes of training."
    if not findings.found:
        return f"Check: nothing found.{took}"
    return f"Check: {number} to decide, notes: {notes}; to see them: {_command(recipe, source)}{took}"


def _command(recipe: Recipe, source: object) -> str:
    """The check on the same images, groups and parts, with a page."""
    from tenfold.split import find_split

    data, file = recipe.data, recipe.split.file
    found = find_split(Path(data.path))
    words: list[object] = ["tenfold", "check", source]
    if found is None or found.absolute() != Path(file).absolute():
        words += ["--split", file]
    if data.group_pattern:
        words += ["--groups-from", data.group_pattern]
    if data.reader != "auto":
        words += ["--reader", data.reader]
    return command_line(*words, "--page", "check.html")


@contextmanager
def watched(message: str, hint: str = "") -> Iterator[Callable[[int, int], None]]:
    """Show how many images have been read: on a terminal all the time, elsewhere one line where it takes long."""
    if sys.stderr.isatty():
        with console(sys.stderr).status(message, spinner="line") as status:
            yield lambda done, of: status.update(
                f"{message}: {done:,} of {of:,} images" if done < of else f"{message}: comparing the images"
            )
        return
    began, told = time.monotonic(), False

    def tell(done: int, of: int) -> None:
        nonlocal told
        if not told and time.monotonic() - began > SOON:
            told = True
            say(f"{message}: looking at {of:,} images; what is seen of them is cached{hint}")

    yield tell
