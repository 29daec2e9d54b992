"""Table: images in a data frame, one row a sample. What every stage before training takes and gives."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.errors import DataError
from tenfold.files import write_file

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

PARTS = ("train", "validation", "test")

COLUMNS = {
    "source": "str",  # the file that holds the image, absolute; or the name of an entry of Table.arrays
    "row": "Int64",  # which image of that file or array; missing where the file is the image
    "x1": "Float64",  # the region of the upright image that is the sample, xyxy pixels; missing for all of it
    "y1": "Float64",
    "x2": "Float64",
    "y2": "Float64",
    "hash": "str",  # 32 hexadecimal digits of the image's bytes (and region); missing until `hashed` fills it
    "origin": "str",  # hash of the image that this one was made from; missing for an original
    "label": "str",  # missing where it is not known
    "group": "str",  # samples of one group stay in one part; missing where the sample stands alone
    "part": "str",  # train, validation or test; missing where not yet split
    "copy": "bool",  # an augmented copy of the image `origin` (tenfold augment --save): for training alone
}

BOX_COLUMNS = {
    "sample": "int64",  # position in Table.samples
    "x1": "float64",  # xyxy pixels of the upright stored image, x1 < x2 and y1 < y2 where the box is sound
    "y1": "float64",
    "x2": "float64",
    "y2": "float64",
    "label": "str",
    "ignore": "bool",  # VOC difficult, COCO crowd: neither to be found nor to be counted as false
}

AREA = "area"
"""The column of Table.boxes beside those of BOX_COLUMNS: float64, pixels of the upright image. COCO's small, medium and
large go by it. There only where annotations give an area, as of a mask, that is another than the box's; missing (NaN)
in a row without such a one."""

_DECLARED = b"tenfold.declared"


@dataclass(frozen=True)
class Table:
    """Images, one row a sample, and what is known of each. Never changed in place: every step gives a new one."""

    samples: pd.DataFrame
    """The columns of COLUMNS with their dtypes; the index is 0 to N - 1."""
    classes: tuple[str, ...] = ()
    """The classes in their natural order; empty where nothing is labelled."""
    boxes: pd.DataFrame | None = None
    """The columns of BOX_COLUMNS, and AREA where annotations give areas. None: not annotated. A sample without a row
    here: annotated, nothing in it."""
    arrays: dict[str, Sequence[NDArray[np.uint8]] | NDArray[np.uint8]] = field(default_factory=dict)
    """Images in memory: name -> uint8 [N, H, W], [N, H, W, C], or a list of [H, W] and [H, W, C]."""
    notes: tuple[str, ...] = ()
    """What the reader saw and left out, a sentence each (hidden files, files that are no images)."""
    alike: dict[str, str] = field(default_factory=dict)
    """Content hash -> name of the set of near copies or shots in a row that the image is in, where it is in one: what
    a check found. Such images stay in one part, as those of a group do."""
    said_sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Source -> the image's height and width as its annotations of boxes give them, where they do."""
    declared: tuple[str, ...] = ()
    """The classes in the order that was asked for, or of their numbers in the annotations of boxes, those without a box
    too; empty where there is neither."""

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def numbered(self) -> tuple[str, ...]:
        """The classes in the order in which files for other programs number them.

        So a class keeps its place where others have no box: of the `declared`, if these hold all, else `classes`. Where
        files number from 0 without gaps, as YOLO's do, it keeps its number; the ids of COCO are not kept.
        """
        return self.declared if set(self.classes) <= set(self.declared) else self.classes

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Table:
        """The samples at these positions, in this order, with their boxes."""
        positions = np.asarray(rows, np.int64)
        samples = self.samples.iloc[positions].reset_index(drop=True)
        boxes = self.boxes
        if boxes is not None:
            place = np.full(len(self.samples), -1, np.int64)
            place[positions] = np.arange(len(positions))
            moved = boxes.assign(sample=place[boxes["sample"].to_numpy()])
            boxes = moved[moved["sample"] >= 0].sort_values("sample", kind="stable").reset_index(drop=True)
        return replace(self, samples=samples, boxes=boxes)

    def part(self, name: str) -> Table:
        """The samples of one part."""
        return self.take(np.flatnonzero((self.samples["part"] == name).to_numpy(bool, na_value=False)))

    def without(self, name: str) -> Table:
        """All samples but those of one part: `table.without("test")` is what training may see."""
        return self.take(np.flatnonzero(~(self.samples["part"] == name).to_numpy(bool, na_value=False)))

    def assign(self, **columns: Any) -> Table:
        """The same samples with columns replaced, each cast to its dtype in COLUMNS."""
        samples = self.samples.assign(**columns)
        return replace(self, samples=samples.astype({name: COLUMNS[name] for name in columns}))

    def labels(self) -> NDArray[np.int64]:
        """Each sample's class as its place in `classes`: int64 [N], -1 where it is unknown."""
        place = {name: index for index, name in enumerate(self.classes)}
        return np.array([place.get(label, -1) for label in self.samples["label"]], np.int64)


def make_samples(columns: dict[str, object], count: int) -> pd.DataFrame:
    """A frame with every column of COLUMNS, those not given all missing; `copy` is then False."""
    import pandas as pd

    index, columns = pd.RangeIndex(count), {"copy": False} | columns
    frame = {name: pd.Series(columns.get(name), index=index, dtype=dtype) for name, dtype in COLUMNS.items()}
    return pd.DataFrame(frame)


def given_areas(table: Table) -> NDArray[np.float64]:
    """The areas that annotations give, in the order of the table's boxes: float64 [B], NaN where they give none."""
    if table.boxes is None or AREA not in table.boxes:
        return np.full(0 if table.boxes is None else len(table.boxes), np.nan)
    areas: NDArray[np.float64] = table.boxes[AREA].to_numpy(np.float64)
    return areas


def lost_areas(areas: NDArray[np.float64]) -> list[str]:
    """The sentence about areas [B] as `given_areas` has them, by whoever writes boxes without; none of none."""
    count = int(np.isfinite(areas).sum())
    what = f"the areas of {count:,} boxes, as of masks, by which COCO's small, medium and large go"
    return [f"Left out, as the layout has no place for them: {what}."] if count else []


def stack_tables(tables: Sequence[Table]) -> Table:
    """The samples of all tables, at least one, in order; they have the same classes."""
    import pandas as pd

    starts = np.cumsum([0, *(len(table) for table in tables)]).tolist()
    boxes = [
        table.boxes.assign(sample=table.boxes["sample"] + start)
        for table, start in zip(tables, starts, strict=False)
        if table.boxes is not None
    ]
    return replace(
        tables[0],
        samples=pd.concat([table.samples for table in tables], ignore_index=True),
        boxes=pd.concat(boxes, ignore_index=True) if boxes else None,
        arrays={name: images for table in tables for name, images in table.arrays.items()},
        alike={digest: name for table in tables for digest, name in table.alike.items()},
        said_sizes={source: size for table in tables for source, size in table.said_sizes.items()},
    )


def write_table(table: Table, path: Path) -> None:
    """Write `table.parquet` and, where there are boxes, `boxes.parquet` beside it; images in memory are not written.

    The classes that are `declared` stand in the metadata of the boxes, as JSON.
    """
    write_file(path, lambda aside: table.samples.to_parquet(aside, index=False))
    if table.boxes is None:
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    boxes = pa.Table.from_pandas(table.boxes, preserve_index=False)
    known = boxes.schema.metadata or {}
    boxes = boxes.replace_schema_metadata(known | {_DECLARED: json.dumps(table.declared).encode()})
    write_file(path.with_name("boxes.parquet"), lambda aside: pq.write_table(boxes, aside))


def load_table(path: Path, classes: tuple[str, ...]) -> Table:
    """What `write_table` wrote. Raises DataError where a file is missing or damaged."""
    import pandas as pd

    def read(file: Path, columns: dict[str, str]) -> pd.DataFrame:
        try:
            frame = pd.read_parquet(file)
            if "copy" in columns and "copy" not in frame:  # a table of an older version, which knew of none
                frame = frame.assign(copy=False)
            if AREA in frame:
                columns = columns | {AREA: "float64"}
            return frame[list(columns)].astype(columns)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{file} is missing or damaged: {error}.") from error

    samples, boxes = read(path, COLUMNS), path.with_name("boxes.parquet")
    if not boxes.exists():
        return Table(samples, classes)
    return Table(samples, classes, read(boxes, BOX_COLUMNS), declared=_read_declared(boxes))


def _read_declared(path: Path) -> tuple[str, ...]:
    """The classes that a file of boxes declares; none in one of an older version."""
    import pyarrow.parquet as pq

    return tuple(json.loads((pq.read_schema(path).metadata or {}).get(_DECLARED, b"[]")))
