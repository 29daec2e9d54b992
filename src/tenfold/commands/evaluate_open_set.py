"""What `tenfold evaluate` says of images of other classes (--unknown) and of pairs of images (--pairs)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.commands.output import show_table

if TYPE_CHECKING:
    from tenfold.estimate import Estimate
    from tenfold.images.table import Table
    from tenfold.run import Run


def read_unknown(source: str) -> Table:
    """Images of a folder as they lie there, or whatever `read_table` reads, labelled where that says what they are."""
    from tenfold.images.readers import find_images, read_images, read_table

    folder = Path(source).expanduser().absolute()
    if folder.is_dir() and all(Path(name).parent == folder for name in find_images([folder])[0]):
        return read_images(folder)
    return read_table(source)


def show_unknown(found: Mapping[str, Any], run: Run) -> None:
    """A row for each threshold, and whose the score is where it is not the run's own."""
    from tenfold.report.open_set import say_scorer, say_unsupported, threshold_words

    rows = [
        (threshold_words(row), row["threshold"], *(_written(name, row[name]) for name in ("far", "dir", "refused")))
        for row in found["rows"]
    ]
    title = f"{found['strangers']:,} images of other classes beside {found['known']:,} of the run's"
    if clause := say_scorer(run):
        title += f"; {clause}"
    show_table(("Threshold", "Score", "False alarms (FAR)", "Named rightly (DIR)", "Refused"), rows, title)
    if sentence := say_unsupported(found["supported"]):
        print(f"{sentence}\n")


def show_pairs(found: Mapping[str, Any]) -> None:
    """A row for each false match rate."""
    from tenfold.report.open_set import say_unsupported_pairs, write_rate

    rows = [
        (write_rate(row["rate"]), row["threshold"], *(_written(name, row[name]) for name in ("fmr", "fnmr")))
        for row in found["rows"]
    ]
    title = f"{found['genuine']:,} pairs of one class and {found['impostor']:,} of two, {found['classes']} classes"
    show_table(("False match rate", "Score", "False matches (FMR)", "False non-matches (FNMR)"), rows, title)
    if sentence := say_unsupported_pairs(found):
        print(f"{sentence}\n")


def _written(name: str, figure: Estimate) -> str:
    from tenfold.report.figures import write_interval, write_value

    return f"{write_value(name, figure.value)} ({write_interval(name, figure)})"
