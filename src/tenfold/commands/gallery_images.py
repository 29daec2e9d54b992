"""The images that `tenfold gallery` is given, and the network that looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.commands.options import whose_weights
from tenfold.commands.output import say, waiting
from tenfold.errors import DataError, UsageError

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.transfer.embed import Embedded, Embedder
    from tenfold.transfer.gallery import Gallery


def load_network(standing: Gallery | None, backbone: str, weights: str) -> Embedder:
    """The network that was asked for, which must be the gallery's; without a word the gallery's own."""
    from tenfold.models.backbones import BUILT_IN
    from tenfold.transfer import embed

    file = str(Path(weights).expanduser().absolute()) if weights else ""
    if standing is not None and not backbone:
        backbone, file = standing.origin.backbone, file or standing.origin.file
    if file and not backbone:
        backbone = whose_weights(file)
    with waiting("Loading the network"):
        embedder = embed.load_embedder(backbone or BUILT_IN, file)
    if standing is not None:
        standing.refuse_other(embedder.origin)
    return embedder


def to_enroll(items: Sequence[str], name: str, reader: str) -> tuple[Table, list[str]]:
    """Images with hashes and whose they are, and why others have no hash."""
    from dataclasses import replace

    from tenfold.images.content import hashed
    from tenfold.images.readers import read_images
    from tenfold.images.readers.labels import composed

    if name:
        if reader or not name.strip():
            raise UsageError("--as takes a name, and is for images and folders of them, which need no --reader.")
        table = read_images(items)
        table = table.assign(label=[composed(name.strip())] * len(table))
    elif len(items) > 1:
        raise UsageError(f"Enroll one folder or listing at a time, or say with --as whose these {len(items)} are.")
    else:
        table = _read_named(items[0], reader or "auto")
    for note in table.notes:
        say(note)
    table = hashed(replace(table, notes=()))
    lost = [note.removeprefix("Left out: ") for note in table.notes]
    for reason in lost:
        say(f"error: {reason}")
    return table, lost


def look_at(known: Gallery, items: Sequence[str], weights: str, *, tell: bool = True) -> Embedded:
    """Embeddings of files and folders by the gallery's network; those that cannot be read are told of, with `tell`."""
    from tenfold.images.readers import read_images

    table = read_images(items)
    for note in table.notes:
        say(note)
    return embedded(load_network(known, "", weights), table, tell=tell)


def embedded(embedder: Embedder, table: Table, *, tell: bool = True) -> Embedded:
    """Embeddings of a table's images, and why some cannot be read, which is told with `tell`."""
    with waiting(f"Looking at {len(table)} images"):
        found = embedder.embed(table)
    for reason in found.unreadable if tell else ():
        say(f"error: {reason}")
    return found


def _read_named(item: str, reader: str) -> Table:
    """A table whose labels say who is in each image. Raises what `read_table` does, which tells of --as if it helps."""
    from tenfold.images.readers import read_table
    from tenfold.images.readers.folder import lies_bare

    try:
        return read_table(item, reader)
    except DataError as error:
        if reader != "auto" or not lies_bare(item):
            raise
        raise DataError(f"{error} Images of one identity are read with --as NAME.") from error
