"""What nothing can be learned from, left out and named before a training: classes of which no image can be decoded,
where no check has looked, and images without a label.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tenfold.errors import DataError
from tenfold.words import listed

if TYPE_CHECKING:
    from tenfold.images.table import Table


def without_lost_classes(table: Table, *, allow_truncated: bool = False, refuse: bool = False) -> Table:
    """The table without the classes of which no image can be decoded, and without their images; a note names them.

    A class is that of a sample, or of a box in it. Of each class images are decoded in their order until one can be,
    mostly one: what else cannot be decoded is found when the images are prepared.

    Raises DataError where a class would be left out and the recipe is to `refuse` that, and where all would be.
    """
    from tenfold.environment import cores
    from tenfold.split.fill import noted

    rows_of = _rows_of_classes(table)
    with ThreadPoolExecutor(cores(), thread_name_prefix="tenfold-decode") as pool:
        reasons = list(pool.map(lambda rows: _why_none(table, rows, allow_truncated), rows_of.values()))
    lost = {name: reason for name, reason in zip(rows_of, reasons, strict=True) if reason}
    if not lost:
        return table
    names, first = listed([name for name in table.classes if name in lost]), next(iter(lost.values()))
    if refuse or len(lost) == len(rows_of):
        raise DataError(f"No image of these classes can be read: {names}; the first: {first}")
    kept = table.take(np.setdiff1d(np.arange(len(table)), [row for name in lost for row in rows_of[name]]))
    kept = replace(kept, classes=tuple(name for name in table.classes if name not in lost))
    return noted(kept, f"Left out of the classes, as no image of them can be read: {names}. The first: {first}")


def without_unlabeled(table: Table) -> Table:
    """The table without those images of the training and the validation part that have no label; a note names them.

    Images of the test part stay, as evaluation says how many are in no figure. Images with boxes need none.
    """
    from tenfold.split.fill import noted

    samples = table.samples
    bare = samples["label"].isna() & samples["part"].isin(["train", "validation"])
    if table.boxes is not None or not bare.any():
        return table
    names = listed([Path(source).name for source in samples["source"][bare]], 3)
    kept = table.take(np.flatnonzero(~bare.to_numpy()))
    return noted(kept, f"Left out of training and validation, as they have no label ({int(bare.sum())}): {names}.")


def _rows_of_classes(table: Table) -> dict[str, list[int]]:
    """The rows of the samples of each class that has some, or of those with a box of it."""
    from tenfold.split.ties import texts

    rows = defaultdict[str, list[int]](list)
    for row, label in enumerate(texts(table, "label")):
        if label is not None:
            rows[label].append(row)
    if table.boxes is not None:
        for row, label in table.boxes[["sample", "label"]].dropna().drop_duplicates().itertuples(index=False):
            rows[label].append(row)
    return rows


def _why_none(table: Table, rows: list[int], allow_truncated: bool) -> str:
    """Why the first of these images cannot be decoded, where none of them can; else empty."""
    from tenfold.check.survey import read_pixels

    first = ""
    for row in rows:
        try:
            read_pixels(table, row, allow_truncated=allow_truncated)
        except DataError as error:
            first = first or str(error)
        else:
            return ""
    return first
