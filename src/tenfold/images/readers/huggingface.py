"""Parquet in the Hugging Face image layout: a column image{bytes,path}, and label; one file or a folder of shards.

A folder holds its shards itself or in data/, named as `datasets` writes them: train-00000-of-00006.parquet. The names
of classes come from the schema's own description of `label` where it has one (a ClassLabel), else from the values.
Only labels are read here; images stay where they are and are read by row: see content.py.
https://huggingface.co/docs/hub/datasets-image
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.errors import DataError
from tenfold.images.content import image_column
from tenfold.images.readers.labels import PART_NAMES, class_order, composed, natural_order

if TYPE_CHECKING:
    import pyarrow as pa

    from tenfold.images.table import Table


def recognizes(path: Path) -> bool:
    """True where the file, or the first one in the folder, is Parquet with a column of images."""
    shards = _shards(path)
    if not shards:
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return image_column(pq.read_schema(shards[0])) is not None
    except (OSError, pa.ArrowException):
        return False


def read(path: Path) -> Table:
    """A table of all shards, in the natural order of their names.

    The parts are those in the file names, where there is more than one; a column `group` is taken over. Raises
    DataError for a file that cannot be read, a label that has no name, or a file whose part is not clear.
    """
    from tenfold.images.table import Table, make_samples

    shards = _shards(path)
    if not shards:
        raise DataError(f"There is no Parquet file in {path} or {path / 'data'}.")
    parts = _parts(shards)
    columns: dict[str, list[Any]] = {"source": [], "row": [], "label": [], "group": [], "part": []}
    declared: list[str] = []
    for shard, part in zip(shards, parts, strict=True):
        labels, groups, names = _read_shard(shard)
        columns["source"] += [str(shard)] * len(labels)
        columns["row"] += range(len(labels))
        columns["label"] += labels
        columns["group"] += groups
        columns["part"] += [part] * len(labels)
        declared += names
    if not columns["row"]:
        raise DataError(f"The Parquet files of {path} have no rows.")
    classes = class_order(columns["label"], declared)
    absent = natural_order(set(declared) - set(classes))
    notes = (f"Classes of {path} without an image ({len(absent)}): {', '.join(absent[:8])}.",) if absent else ()
    return Table(make_samples(dict(columns), len(columns["row"])), classes=classes, notes=notes)


def image_names(source: str) -> list[str]:
    """The original file name of each image of a file, "" where none is stored. Raises DataError as `read` does."""
    rows = _load(Path(source), ["path"])
    images = rows.column(0).to_pylist() if rows.num_columns else [None] * rows.num_rows
    return [(image or {}).get("path") or "" for image in images]


def _shards(path: Path) -> list[Path]:
    if path.is_file():
        return [path] if path.suffix.casefold() == ".parquet" else []
    files = {file.name: file for folder in (path, path / "data") for file in folder.glob("*.parquet")}
    return [files[name] for name in natural_order(files) if not name.startswith(".")]


def _parts(shards: Sequence[Path]) -> list[str | None]:
    """Each file's part by its name's first word; all missing unless two parts or more occur."""
    parts = [PART_NAMES.get(re.split(r"[-_.]", shard.name)[0].casefold()) for shard in shards]
    if len(set(parts) - {None}) < 2:
        return [None] * len(shards)
    if None in parts:
        which = shards[parts.index(None)]
        raise DataError(f"The part of {which} is not clear; its name must begin with train, validation or test.")
    return parts


def _read_shard(shard: Path) -> tuple[list[str | None], list[str | None], list[str]]:
    """Label and group of each row, and the class names that the schema declares."""
    rows = _load(shard, [])
    names = _class_names(rows.schema)
    labels = _column(rows, "label")
    groups = [None if value is None else composed(str(value)) for value in _column(rows, "group")]
    return [_label(value, names, shard, row) for row, value in enumerate(labels)], groups, names


def _load(shard: Path, fields: Iterable[str]) -> pa.Table:
    """The given fields of the images, or, where none is given, label and group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(shard) as file:
            images = image_column(file.schema_arrow)
            if images is None:
                raise DataError(f"{shard} has no column of images (a struct with `bytes`).")
            wanted = [f"{images}.{field}" for field in fields] or ["label", "group"]
            return file.read(columns=wanted)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{shard} cannot be read as Parquet: {error}.") from error


def _column(rows: pa.Table, name: str) -> list[Any]:
    values: list[Any] = rows.column(name).to_pylist() if name in rows.column_names else [None] * rows.num_rows
    return values


def _class_names(schema: pa.Schema) -> list[str]:
    """The names that `datasets` keeps for a ClassLabel; none where labels are plain numbers or text."""
    try:
        described = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = described["info"]["features"]["label"]["names"]
    except (ValueError, KeyError, TypeError):
        return []
    return [composed(str(name)) for name in names]


def _label(value: Any, names: list[str], shard: Path, row: int) -> str | None:
    if value is None or (names and value == -1):  # `datasets` writes -1 where a label is withheld
        return None
    if not isinstance(value, int | str):
        raise DataError(f"{shard}, row {row} has the label {value!r}; it must be one number or text an image.")
    if isinstance(value, str) or not names:
        return composed(str(value))
    if not 0 <= value < len(names):
        raise DataError(f"{shard}, row {row} has the label {value}, but its schema names {len(names)} classes.")
    return names[value]
