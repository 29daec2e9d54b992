"""Proposals as a file: Parquet with a row a box, so that detectors may take those of any other program.

Columns: `hash` (the image's, 32 hexadecimal digits as in Table.samples), `rank` (from 0, the likeliest first), and
`x1 y1 x2 y2` (float32 pixels of the upright image, exclusive).

Shapes: N images, P proposals of an image.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tenfold.errors import DataError
from tenfold.files import write_file
from tenfold.images.table import Table
from tenfold.proposals.stored import Proposed
from tenfold.proposals.windows import Boxes

CORNERS = ["x1", "y1", "x2", "y2"]


def write_proposals(path: Path, proposed: Proposed, most: int) -> None:
    """Write the first `most` boxes of every image; of images with the same content, one."""
    import pandas as pd

    hashes: list[str] = proposed.table.samples["hash"].tolist()
    first = {text: boxes[:most] for text, boxes in zip(hashes, proposed.boxes, strict=True)}
    lengths = [len(boxes) for boxes in first.values()]
    frame = pd.DataFrame(np.concatenate(list(first.values())), columns=CORNERS)
    frame.insert(0, "rank", np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]))
    frame.insert(0, "hash", np.repeat(np.array(list(first)), lengths))
    write_file(path, lambda aside: frame.to_parquet(aside, index=False))


def read_proposals(path: Path, table: Table) -> list[Boxes]:
    """The boxes float32 [P, 4] of each sample of a table with hashes, the likeliest first.

    Raises DataError where the file cannot be read, a box is no box, or an image of the table is not in it.
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path, columns=["hash", "rank", *CORNERS])
        corners = frame[CORNERS].to_numpy(np.float32)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} cannot be read as proposals with hash, rank, x1, y1, x2, y2: {error}.") from error
    wrong = ~np.isfinite(corners).all(1) | (corners[:, :2] >= corners[:, 2:]).any(1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{path} holds {int(wrong.sum())} rows that are no box (finite, x1 < x2, y1 < y2); the first is row {row}, "
            f"{corners[row].tolist()}."
        )
    order = np.argsort(frame["rank"].to_numpy(), kind="stable")
    places = frame["hash"].iloc[order].groupby(frame["hash"].iloc[order]).indices
    lacking = [text for text in table.samples["hash"] if text not in places]
    if lacking:
        raise DataError(
            f"{path} has no proposals for {len(lacking)} of {len(table)} images, the first with hash {lacking[0]}; "
            "make them of these images with tenfold proposals."
        )
    return [corners[order[places[text]]] for text in table.samples["hash"]]
