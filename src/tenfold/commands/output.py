"""What commands print: results on stdout, as tables or as one JSON object; messages and progress on stderr."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from tenfold.words import count, listed

if TYPE_CHECKING:
    from rich.console import Console

    from tenfold.estimate import Estimate
    from tenfold.images.table import Table
    from tenfold.run import Run

Item = TypeVar("Item")

WIDE = 120
"""Columns of a table where no terminal sets a limit, as in a file or a pipe; more where its words need them."""

FOLDED = 5
"""Images of each class from which on cross-validation is advised, and the folds, where there can be so many."""

TALL = 12
"""Lines of a cell from which on a table rather becomes wider."""


def is_first() -> bool:
    """Of several processes that train together under torchrun, only the first speaks."""
    return os.environ.get("RANK", "0") == "0"


def say(message: str) -> None:
    """A message for whoever watches: stderr, so that stdout holds results alone."""
    if is_first():
        print(message, file=sys.stderr, flush=True)


def show_json(results: Mapping[str, Any]) -> None:
    """Print one JSON object. Whatever has `to_json` is written as that says, paths as text."""
    escape = "utf" not in (sys.stdout.encoding or "").lower()  # an escape is legal JSON in every encoding
    print(json.dumps(results, indent=2, ensure_ascii=escape, allow_nan=False, default=_plain))


def show_table(header: Sequence[str], rows: Iterable[Sequence[object]], title: str = "") -> None:
    """Print an aligned table; columns of numbers stand to the right, and what is too long is wrapped between words."""
    from rich import box
    from rich.table import Table

    cells = [[_cell(value) for value in row] for row in rows]
    between = 3 * (len(header) - 1)
    columns = list(zip(header, *cells, strict=True))
    limit = console(sys.stdout).width - between
    widths = column_widths(columns, limit)
    cut = sum(widths) > limit and sys.stdout.isatty()  # a terminal that is too narrow: rich cuts words
    wraps = any(len(text) > width for row in cells for text, width in zip(row, widths, strict=True))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, leading=int(wraps))
    for name, column, width in zip(header, columns, widths, strict=True):
        numbers = bool(cells) and all(map(_is_number, column[1:]))
        table.add_column(name, justify="right" if numbers else "left", overflow="fold", width=None if cut else width)
    for row in cells:
        table.add_row(*row)
    if title:
        print(title)
    console(sys.stdout, 0 if cut else sum(widths) + between).print(table)
    print()


def column_widths(columns: Sequence[Sequence[str]], room: int) -> list[int]:
    """The width of each column, at most `room` in all, in which the longest cell takes the fewest lines.

    No word is cut and no cell is higher than about TALL lines: where these need it, the columns are wider than `room`.
    """
    from rich.cells import cell_len

    whole = [max(cell_len(line) for text in column for line in (text.splitlines() or [" "])) for column in columns]
    words = [max(cell_len(word) for text in column for word in (text.split() or [" "])) for column in columns]

    def widths(lines: int) -> list[int]:
        return [max(word, -(-length // lines)) for word, length in zip(words, whole, strict=True)]

    room = max(room, round(1.1 * sum(widths(TALL))))
    return next(found for lines in range(1, TALL + 1) if sum(found := widths(lines)) <= room)


def show_figures(figures: Mapping[str, Estimate], title: str) -> None:
    """Print figures, all of one level, with their intervals."""
    from tenfold.report.figures import figure_label, write_figure, write_interval, write_level

    rows = [
        (figure_label(name), write_figure(name, figure), write_interval(name, figure), figure.method)
        for name, figure in figures.items()
    ]
    level = write_level(next(iter(figures.values())).level)
    show_table(("Figure", "Value", f"{level} interval", "Method"), rows, title)


def next_command(*words: object, when: str = "") -> None:
    """Print the command that most people want next, as their shell takes it, and when they should."""
    command = command_line(*words)
    print(f"Next, {when}: {command}" if when else f"Next: {command}")


def next_look(run: Run) -> None:
    """Print how to look at a trained run's test part; where there is none, how to come by a figure."""
    test, split, table = len(run.table.part("test")), run.recipe.split, run.table
    if test:
        next_command("tenfold", "evaluate", run.path, "--part", "test", when="when you have done choosing")
        return
    from tenfold.split.parts import count_separate

    counts = table.without("test").samples["label"].value_counts()
    folds = min(FOLDED, count_separate(table))
    again = f"remove {split.file} and train again"
    ways = [f"{again} with --split.test 15%" if split.test == 0 else f"add images of each class, {again}"]
    if folds > 1 and (table.boxes is not None or (len(counts) and counts.min() >= FOLDED)):
        again = command_line("tenfold", "train", run.recipe.data.path, "--folds", f"{folds}x2")
        ways.append(f"or cross-validate: {again}")
    print(f"Next, as there is no test part: {'; '.join(ways)}")


def box_counts(table: Table) -> dict[str, int] | None:
    """Boxes of each class, the most frequent first; None where images are not annotated with boxes."""
    if table.boxes is None:
        return None
    counts = {str(name): int(number) for name, number in table.boxes["label"].value_counts().items()}
    return {name: counts[name] for name in sorted(counts, key=lambda name: (-counts[name], name))}


def box_words(counts: dict[str, int]) -> str:
    """ "218 boxes of 3 classes (RBC 190, WBC 15, Platelets 13)"."""
    boxes = count(sum(counts.values()), "box")
    if not counts:
        return boxes
    each = listed([f"{name} {number:,}" for name, number in counts.items()])
    return f"{boxes} of {count(len(counts), 'class')} ({each})"


def command_line(*words: object) -> str:
    """A command as the user's shell takes it, with quotes where they are needed."""
    texts = [str(word) for word in words]
    return subprocess.list2cmdline(texts) if os.name == "nt" else shlex.join(texts)


@contextmanager
def waiting(message: str) -> Iterator[None]:
    """Show on a terminal that something goes on that may take seconds."""
    if not sys.stderr.isatty():
        yield
        return
    with console(sys.stderr).status(message, spinner="line"):
        yield


def counted(items: Iterable[Item], of: int, what: str, *, printed: bool = False) -> Iterator[Item]:
    """Pass items on; a terminal sees meanwhile how many have come, and how long the others will take.

    `printed`: each is printed to stdout at once, which shows enough where that is the terminal too.
    """
    if not sys.stderr.isatty() or (printed and sys.stdout.isatty()):
        yield from items
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(bar_width=20), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(sys.stderr), transient=True, redirect_stdout=False) as bars:
        yield from bars.track(items, of)


def console(stream: TextIO, least: int = 0) -> Console:
    """A rich console that takes text as it is: a class may be called [bold] or :smile:.

    Where the stream is no terminal, it has WIDE columns, or `least` if that is more.
    """
    from rich.console import Console

    width = None if stream.isatty() else max(WIDE, least)
    return Console(file=stream, width=width, markup=False, emoji=False, highlight=False)


def readable_bytes(count: int) -> str:
    """As people say it: "1.5 GiB"."""
    if count < 1024:
        return f"{count} bytes"
    power = min((count.bit_length() - 1) // 10, 4)
    return f"{count / 1024**power:.1f} {('KiB', 'MiB', 'GiB', 'TiB')[power - 1]}"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _is_number(text: str) -> bool:
    return not text or text.replace(".", "", 1).replace("-", "", 1).isdigit()


def _plain(value: object) -> object:
    if hasattr(value, "to_json"):
        return value.to_json()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in JSON.")
