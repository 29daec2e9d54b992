"""What `tenfold evaluate` says of images of other classes (--unknown) and of pairs of images (--pairs)."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.commands.output import say, show_table

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


def tell_supported(run: Run, part: str, *, unknown: bool, pairs: bool) -> list[str]:
    """Say before the time is spent which rates so few classes do not support, and how many would: these sentences.

    Raises UsageError where a run is of a task or a model that has no answer to what is asked for.
    """
    from tenfold.commands.predict_classes import classes_needed
    from tenfold.estimate import COUNTED_BY
    from tenfold.evaluate.open_set import check_beyond
    from tenfold.metrics.pairs import supported_by
    from tenfold.metrics.unknown import RATES
    from tenfold.report.open_set import say_unsupported, say_unsupported_pairs, write_rate

    check_beyond(run, unknown=unknown, pairs=pairs)
    sentences = []
    if unknown:
        held = run.teller.unknown
        lacking = [rate for rate in RATES if held and rate < held.supported()]
        needed = " and ".join(f"{write_rate(rate)} needs {classes_needed(held, rate)}" for rate in lacking if held)
        said = say_unsupported(held.supported() if held else None)
        each = f" Of as many images each, {needed}." if needed else ""
        sentences.append(f"{said}{each}")
    if pairs:
        labels = run.table.part(part).labels()
        classes = len(set(labels[labels >= 0].tolist()))
        sentences.append(say_unsupported_pairs(supported_by(classes), classes) if classes >= COUNTED_BY else "")
    sentences = [sentence for sentence in sentences if sentence]
    for sentence in sentences:
        say(sentence)
    return sentences


def show_unknown(found: Mapping[str, Any], run: Run) -> None:
    """A row for each threshold, and whose the score is where it is not the run's own."""
    from tenfold.report.open_set import say_scorer, say_units, threshold_words

    rows = [
        (threshold_words(row), row["threshold"], *(_written(name, row[name]) for name in ("far", "dir", "refused")))
        for row in found["rows"]
    ]
    title = f"{found['strangers']:,} images of other classes beside {found['known']:,} of the run's"
    if clause := say_scorer(run):
        title += f"; {clause}"
    show_table(("Threshold", "Score", "False alarms (FAR)", "Named rightly (DIR)", "Refused"), rows, title)
    print(f"{say_units(found['rows'][0])}\n")


def show_pairs(found: Mapping[str, Any], told: Container[str] = ()) -> None:
    """A row for each false match rate; `told` is what `tell_supported` has said already."""
    from tenfold.report.open_set import say_units_of_pairs, say_unsupported_pairs, write_rate

    rows = [
        (write_rate(row["rate"]), row["threshold"], *(_written(name, row[name]) for name in ("fmr", "fnmr")))
        for row in found["rows"]
    ]
    title = f"{found['genuine']:,} pairs of one class and {found['impostor']:,} of two, {found['classes']} classes"
    show_table(("False match rate", "Score", "False matches (FMR)", "False non-matches (FNMR)"), rows, title)
    print(f"{say_units_of_pairs(found['rows'][0])}\n")
    sentence = say_unsupported_pairs(found["supported"], found["classes"])
    if sentence and sentence not in told:
        print(f"{sentence}\n")


def _written(name: str, figure: Estimate) -> str:
    from tenfold.report.figures import write_interval, write_value

    return f"{write_value(name, figure.value)} ({write_interval(name, figure)})"
