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

Parts = Callable[["Table"], list[str | None]]
"""Gives each sample of a table, whose hashes are known, its part."""


def look_over(
    table: Table, data: object, *, allow_truncated: bool = False, split: Path | None = None
) -> tuple[Looked, Table]:
    """Look at the images of a table, and note in it which of them belong together; say what no split keeps together.

    That is said before a split stands, as it would flatter the result. `split`: the written split that is followed.
    """
    looked, table, told = look_closely(table, data, allow_truncated, split)
    for line in told:
        say(line)
    return looked, table


def look_closely(
    table: Table, data: object, allow_truncated: bool, split: Path | None
) -> tuple[Looked, Table, list[str]]:
    """The same, with what there is to say instead of saying it."""
    from tenfold.check import LOOSE, findings_of, look_at_table

    with watched(f"Checking {data}", "; --no-check leaves it out") as progress:
        looked = look_at_table(table, allow_truncated=allow_truncated, progress=progress)
    parts = parts_in(split)(looked.data.table) if split and split.is_file() else None
    findings = findings_of(looked, parts)
    loose = [finding for finding in findings.found if finding.kind in LOOSE]
    told = [f"{item.title}: {item.evidence} {item.price} {item.remedy}" for item in loose]
    return looked, findings.keep_together(table), told


def parts_in(split: Path) -> Parts:
    """The parts that a written split gives."""
    from tenfold.split import read_split

    parts = {entry.hash: entry.part or None for entry in read_split(split)}
    return lambda table: [parts.get(digest) for digest in table.samples["hash"]]


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
    words += same_images(data.group_pattern, data.reader, data.allow_truncated)
    return command_line(*words, "--page", "check.html")


def same_images(groups_from: str, reader: str, allow_truncated: bool, *, train: bool = False) -> list[str]:
    """The options by which check and split, or train, read the same images with the same groups."""
    groups, kind, cut = "--groups-from", "--reader", "--allow-truncated"
    if train:
        groups, kind, cut = "--data.group-pattern", "--data.reader", "--data.allow-truncated"
    words = [f"{groups}={groups_from}"] if groups_from else []  # a pattern may begin with a dash
    words += [kind, reader] if reader != "auto" else []
    return words + ([cut] if allow_truncated else [])


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
