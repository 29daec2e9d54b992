"""How a run's folder begins: whether one can, and its first files, of which recipe.toml comes last.

A kill before that leaves nothing to go on with, and must not be in the way either: the empty folder `checkpoint`, made
before any file, says that what lies beside it is such a beginning, which the next run in the folder takes away.
"""

from __future__ import annotations

import csv
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Any

from tenfold.boxes import CORNERS
from tenfold.errors import DataError, UsageError
from tenfold.files import file_above, write_file
from tenfold.images.readers.listing import COPY_OF
from tenfold.images.table import Table, write_table
from tenfold.models.backbones.taught import NOTE
from tenfold.recipe import Recipe, write_recipe
from tenfold.run import write_json

_MARK, _LAST = "checkpoint", "recipe.toml"
_FIRST = (
    "table.parquet",
    "boxes.parquet",
    "environment.json",
    "model.json",
    "findings.json",
    "ladder.json",
    NOTE,
)


def listing_file(folder: Path) -> Path:
    """Where a run keeps a listing of its own images, if its recipe reads them from there: NAME/NAME.csv."""
    return folder.absolute() / f"{folder.resolve().name}.csv"


def refuse_taken(folder: Path) -> None:
    """Raise UsageError unless a new run can be begun in the folder: a new one, an empty one, or what a kill left."""
    if file := file_above(folder):
        raise UsageError(
            f"out must be a new or empty folder, and {folder} cannot be one, as {file} is a file; name another."
        )
    if (folder / _LAST).exists():
        raise UsageError(f"out must be a new folder, and {folder} holds a run; name another, or resume that one.")
    if folder.exists() and not (folder.is_dir() and _is_free(folder)):
        raise UsageError(f"out must be a new or empty folder, and {folder} holds something else; name another.")


def begin_run(
    folder: Path,
    table: Table,
    environment: dict[str, Any],
    card: dict[str, Any],
    recipe: Recipe,
    notes: dict[str, dict[str, Any] | None],
) -> None:
    """Write what a run begins with, those of the notes, by file, that there are, and the listing that the recipe names.

    Raises UsageError as `refuse_taken`, and DataError where it cannot be written; then nothing of it stays.
    """
    assert notes.keys() <= {*_FIRST}, "what is not known to be of a beginning would be in the way after a kill"
    refuse_taken(folder)
    try:
        (folder / _MARK).mkdir(parents=True, exist_ok=True)
        _clear(folder)
        write_table(table, folder / "table.parquet")
        write_json(folder / "environment.json", environment)
        write_json(folder / "model.json", card)
        for name, content in notes.items():
            if content is not None:
                write_json(folder / name, content)
        if recipe.data.path == str(listing_file(folder)):
            write_file(listing_file(folder), _listing(table))
        write_recipe(recipe, folder / _LAST)
    except OSError as error:
        with suppress(OSError):
            _clear(folder)
            (folder / _MARK).rmdir()
        raise DataError(
            f"The run cannot be written to {folder} ({error.strerror or error}), and nothing of it stays there; make "
            "room or name another folder for it, then train again."
        ) from error


def _listing(table: Table) -> str:
    """The images of a table as a listing that the reader of listings reads."""
    regions = table.samples["x1"].notna().any()
    copies = table.samples["copy"]
    names = ("source", "label", "group", "part", *(CORNERS if regions else ()), *([COPY_OF] if copies.any() else []))
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", *names[1:]])
    frame = table.samples.assign(**{COPY_OF: table.samples["origin"].where(copies)})[list(names)].astype(object)
    writer.writerows(frame.where(frame.notna(), "").itertuples(index=False, name=None))
    return text.getvalue()


def _is_free(folder: Path) -> bool:
    """Whether a folder holds nothing but a beginning that a kill cut short, or nothing at all."""
    mark, own = folder / _MARK, _beginning(folder)
    entries = set(folder.iterdir())
    return not entries or (mark.is_dir() and not any(mark.iterdir()) and entries == {mark, *own})


def _clear(folder: Path) -> None:
    for path in _beginning(folder):
        path.unlink()


def _beginning(folder: Path) -> list[Path]:
    """Files of a beginning, whole ones and those that a kill left beside them; see tenfold.files."""
    first = (*_FIRST, listing_file(folder).name)
    aside = tuple(f".{name}." for name in (*first, _LAST))
    return [path for path in folder.iterdir() if path.name in first or path.name.startswith(aside)]
