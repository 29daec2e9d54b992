"""Groups from file names: samples of one group (a person, a plant, a session) stay in one part."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.errors import UsageError
from tenfold.images.readers.huggingface import image_names
from tenfold.images.readers.labels import composed

if TYPE_CHECKING:
    from tenfold.images.table import Table


def group_by_name(table: Table, root: Path, pattern: str) -> Table:
    """The table with its groups replaced: what the first bracket of `pattern` matches in a sample's name.

    The name is the path below `root` with forward slashes ("roses/plant3_01.jpg"), or, in a Parquet file, the image's
    original path. A sample whose name the pattern does not match stands alone. Raises UsageError for a pattern that
    is no regular expression, has no bracket, matches nothing, or has no names to work on.
    """
    try:
        expression = re.compile(composed(pattern))
    except re.error as error:
        raise UsageError(f"group_pattern must be a regular expression; {pattern!r} is not: {error}.") from error
    if expression.groups < 1:
        raise UsageError(f"group_pattern must have a bracket around the group, as in '(.+)_\\d+', not {pattern!r}.")
    if table.arrays:
        raise UsageError("group_pattern works on file names, which arrays do not have; give groups instead.")
    names = sample_names(table, root)
    matches = [expression.search(composed(name)) for name in names]
    if not any(matches):
        raise UsageError(f"group_pattern must match file names, but {pattern!r} matches none, such as {names[0]!r}.")
    return table.assign(group=[match.group(1) or None if match else None for match in matches])


def sample_names(table: Table, root: Path) -> list[str]:
    """Each sample's path below `root` with forward slashes, or the original path that a Parquet file keeps of it."""
    start = str(root).rstrip(os.sep) + os.sep
    stored = lru_cache(maxsize=None)(image_names)
    sources, rows = table.samples["source"].tolist(), table.samples["row"]
    if rows.isna().all():
        return [source.removeprefix(start).replace(os.sep, "/") for source in sources]
    return [stored(source)[row] for source, row in zip(sources, rows.tolist(), strict=True)]
