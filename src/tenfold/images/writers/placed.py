"""What the writers share: each image's name in the new folder, its size and boxes, and its file linked or copied.

Shapes: B boxes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError, UsageError
from tenfold.images.readers.annotated import upright_size
from tenfold.images.table import Table, given_areas
from tenfold.words import are, count

if TYPE_CHECKING:
    import pandas as pd

PART_NAMES = {"train": "train", "validation": "val", "test": "test"}
"""Part -> what all three layouts call it."""

Place = Callable[[str, Path], None]
"""Puts the file at a path to another one, whose folder is there."""


class Placed(NamedTuple):
    """An image and its boxes, as they are to be written."""

    source: str
    name: str
    """Its file's name in the new folder; no other image has the same before the ending, whatever the case."""
    part: str
    """A value of PART_NAMES; empty where it has none."""
    height: int
    width: int
    boxes: NDArray[np.float64]
    """xyxy [B, 4], pixels of the upright image."""
    labels: list[str]
    ignore: list[bool]
    areas: NDArray[np.float64]
    """[B], those that annotations give, as `given_areas` has them."""


def placed_images(table: Table) -> tuple[list[Placed], list[str]]:
    """The images of a table, in its order, and a note for each that is left out as it cannot be read.

    Raises UsageError for images without boxes or that are no files of their own, DataError where none can be read.
    """
    if table.boxes is None:
        raise UsageError(
            "Only images with boxes can be converted, and these have none; read boxes as VOC, COCO or YOLO."
        )
    if table.samples[["row", "x1"]].notna().any(axis=None) or table.arrays:
        raise UsageError("Only images that are files of their own can be converted, not rows, regions or arrays.")
    owners = table.boxes["sample"].to_numpy()
    order = np.argsort(owners, kind="stable")
    ends = np.searchsorted(owners[order], np.arange(len(table) + 1))
    corners = table.boxes[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    labels, ignore, areas = table.boxes["label"].tolist(), table.boxes["ignore"].tolist(), given_areas(table)
    parts = [PART_NAMES.get(part, "") for part in table.samples["part"].astype(object)]
    sources = table.samples["source"].tolist()
    images, notes = list[Placed](), list[str]()
    for row, (source, name, part) in enumerate(zip(sources, unique_names(sources), parts, strict=True)):
        mine = order[ends[row] : ends[row + 1]]
        try:
            height, width = upright_size(source)
        except DataError as error:
            notes.append(f"Left out: {error}")
            continue
        about = [labels[place] for place in mine], [bool(ignore[place]) for place in mine], areas[mine]
        images.append(Placed(source, name, part, height, width, corners[mine], *about))
    if not images:
        raise DataError(
            f"None of the {len(table)} images can be read, so there is nothing to write. {' '.join(notes[:1])}"
        )
    return images, notes


def lost_ties(samples: pd.DataFrame) -> list[str]:
    """The sentences about what ties samples of a Table together, for which no layout has a place; none of none.

    A group of one sample ties nothing. Where no sample has a part, whoever splits what is written does not know of it.
    """
    found, groups = list[str](), samples["group"][samples["group"].duplicated(keep=False) & samples["group"].notna()]
    if len(groups):
        found.append(f"the groups of {count(len(groups), 'image')} ({count(groups.nunique(), 'group')})")
    copies = np.flatnonzero(samples["copy"])
    if len(copies):
        what = "an augmented copy" if len(copies) == 1 else "augmented copies"
        found.append(f"that {count(len(copies), 'image')} {are(len(copies))} {what} of others")
    if not found:
        return []
    advice = " A later split would tear these apart: run tenfold split first, so that parts are written."
    without = samples["part"].isna().all()
    return [f"Left out, as the layout has no place for it: {' and '.join(found)}.{advice if without else ''}"]


def unique_names(sources: Iterable[str]) -> list[str]:
    """A file name for each path, its own where that is free, else with the folders above it: train_1.jpg."""
    taken, names = set[str](), list[str]()
    for source in sources:
        path = Path(source)
        folders = path.parts[1:]
        wanted = ["_".join(folders[-depth:]) for depth in range(1, len(folders) + 1)]
        numbered = (f"{path.stem}_{number}{path.suffix}" for number in range(2, len(taken) + 3))
        name = next(name for name in (*wanted, *numbered) if Path(name).stem.casefold() not in taken)
        taken.add(Path(name).stem.casefold())
        names.append(name)
    return names


def plain(value: float, decimals: int = 9) -> str:
    """A number as briefly as its decimals allow: 3, 0.25."""
    return f"{value + 0.0:.{decimals}f}".rstrip("0").rstrip(".")


def copy_file(source: str, target: Path) -> None:
    """Copy a file's content."""
    shutil.copyfile(source, target)


def link_file(source: str, target: Path) -> None:
    """Link a file: a hard link, or a symbolic one to another disk. Raises DataError where the disk knows neither."""
    real = Path(source).resolve()
    try:
        os.link(real, target)
    except OSError:
        try:
            target.symlink_to(real)
        except OSError as error:
            raise DataError(f"{real} cannot be linked from {target.parent} ({error.strerror}); use --copy.") from error
