"""Listings of boxes: CSV, TSV or Parquet with path,x1,y1,x2,y2,label and, where known, group, part and ignore.

A row is a box, in xyxy pixels of the upright image, and the rows of one path are one image. A row with neither box nor
label says that there is nothing in the image. `ignore` is 1 or true for a box that is neither to be found nor to be
counted as false. A row with something in the column `reason` is left out, and so is an image without others.

The same columns with `label` before `x1` and no `ignore` may be regions that are samples themselves, as listing.py
reads them: so does Tenfold write them, after path,label,group. Of other programs they are boxes where an image has
several. Files in the names of others (see columns.py) always hold boxes; their images are looked for by name, and those
that are not there are left out; where they have no column that may tell of classes, all boxes are of one. A folder is
read by all such CSV and TSV files in it. An image is then of the part that its folder is called, or else the listing,
or else the listing's folder, as Roboflow and TensorFlow's examples have it. What may be regions, by its columns, makes
no folder one of boxes: it is read with the reader named, if there is no other listing.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np

from tenfold.boxes import CORNERS, from_voc
from tenfold.errors import DataError
from tenfold.images.readers.annotated import (
    Annotated,
    Box,
    ImageFiles,
    folder_part,
    is_image_folder,
    merged,
    named_part,
    noted,
    number,
)
from tenfold.images.readers.columns import (
    SIDES,
    Counting,
    count_corners,
    has_other_corners,
    is_of_one_class,
    taken_note,
)
from tenfold.images.readers.folder import ENDINGS, Found, walk
from tenfold.images.readers.labels import composed, natural_order, part_name
from tenfold.images.readers.listing import (
    COPY_OF,
    KNOWN,
    Disk,
    Listed,
    copied_from,
    find_sources,
    read_header,
    read_rows,
    shortened,
)
from tenfold.images.readers.listing import recognizes as is_listing
from tenfold.images.readers.places import files_near, folders_in
from tenfold.images.readers.reading import Reading, check_damage, table_of
from tenfold.images.table import Table

_ONE_CLASS = "object"

_TRUE, _FALSE = ("1", "true", "yes"), ("", "0", "false", "no")

_OF_REGIONS = (["path", "label", "group", "reason"], ["path", "label", "group", "part"])
"""How the listings begin that Tenfold writes of regions: `check --fix`, `augment --save` and a run's own."""


def recognizes(path: Path) -> bool:
    """True for a listing of boxes, and for a folder with a CSV or TSV of nothing else where annotations may lie."""
    return _holds_boxes(path, alone=True) if is_listing(path) else not path.is_file() and bool(_files(path))


def read(path: Path) -> Table:
    """A table of a listing, or of all in a folder.

    An image with a damaged row is left out, and named. Raises DataError, with the number of the row, where most images
    have one, for a file that is not there, and for a part, group or copy of two minds.
    """
    return table_of(_gather(path, (_files(path) or _files(path, alone=True)) if path.is_dir() else [path]))


def gather(path: Path) -> Reading:
    """What the listings in a folder say, those by which it is recognized."""
    return _gather(path, _files(path))


def _files(folder: Path, *, alone: bool = False) -> list[Path]:
    """The listings of boxes in a folder."""
    files = {str(file): file for file in files_near(folder, (".csv", ".tsv"))}
    ordered = (files[name] for name in natural_order(files))
    return [file for file in ordered if is_listing(file) and _holds_boxes(file, alone=alone)]


def _holds_boxes(path: Path, *, alone: bool) -> bool:
    """Whether a listing's rows are boxes rather than regions, by its columns, or else by its rows if it is `alone`."""
    header, taken = read_header(path)
    if not {"path", "label", *CORNERS} <= set(header):
        return is_of_one_class(header, taken, KNOWN)
    if taken or "ignore" in header or header.index(CORNERS[0]) < header.index("label"):
        return True
    return alone and header[:4] not in _OF_REGIONS and _has_several(path)


def _read_rows(file: Path) -> Listed:
    """A listing; where it has no classes, all its boxes are of one."""
    if not is_of_one_class(*read_header(file), KNOWN):
        return read_rows(file)
    listed = read_rows(file, ["path"])
    rows = [
        (place, cells | {"label": _ONE_CLASS if any(cells[name] for name in CORNERS) else ""})
        for place, cells in listed.rows
    ]
    note = f"{file} has no column of classes; its boxes are of one class, called {_ONE_CLASS}."
    return listed._replace(header=[*listed.header, "label"], rows=rows, notes=[note, *listed.notes])


def _has_several(path: Path) -> bool:
    """Whether some image has several rows, and each row has a label and corners, or neither, and one part an image."""
    try:
        listed = read_rows(path)
    except DataError:
        return False
    rows = _sound_rows(listed)
    parts = dict[str, str]()
    for _, cells in rows:
        part, is_marked = cells.get("part", ""), any(cells[name] for name in CORNERS)
        if is_marked != bool(cells["label"]) or parts.setdefault(cells["path"], part) != part:
            return False
    return len(parts) < len(rows)


def _sound_rows(listed: Listed) -> list[tuple[int, dict[str, str]]]:
    """The rows whose cells can be trusted."""
    return [(place, cells) for place, cells in listed.rows if place not in listed.damaged]


def _gather(path: Path, files: list[Path]) -> Reading:
    """What these listings say, all those of a folder, or the one that is the path itself."""
    if not files:
        raise DataError(f"There is no listing of boxes in {path}: no CSV with path,x1,y1,x2,y2,label or the like.")
    listings = {file: _read_rows(file) for file in files}
    for file, listed in listings.items():
        if CORNERS[0] not in listed.header:
            has = ", ".join(listed.header)
            raise DataError(f"The listing {file} lacks the columns x1,y1,x2,y2 of boxes; it has {has}.")
    counting = _counting(path, listings)
    named = dict.fromkeys(cells["path"] for listed in listings.values() for _, cells in listed.rows)
    places, images, lost, damaged = _Places(path, named), list[Annotated](), list[str](), dict[str, str]()
    for file, listed in listings.items():
        first = counting.first if counting and has_other_corners(listed.taken) else 0
        own, gone, wrong = _read_file(file, listed, first, places)
        images += own
        lost += map(shortened, gone)
        damaged |= wrong
    images, again = merged(places.base, images)
    shown = {image.source for image in images}
    check_damage(path, damaged, len(shown.union(damaged)))
    if not images:
        raise DataError(f"None of the {len(lost)} images of {path} is in {places.base}; the first is {lost[0]}.")
    bare = [name for name in map(str, places.walked()) if name not in shown] if path.is_dir() else []
    notes = [
        *noted(f"Left out of {path}: images that are not in {places.base}", set(lost)),
        *places.notes(),
        *again,
        *_notes(path, listings, counting),
        *(note for listed in listings.values() for note in listed.notes),
    ]
    return Reading(path, places.base, places.found, images, set(map(str, files)), bare, damaged, notes, [])


def _counting(path: Path, listings: Mapping[Path, Listed]) -> Counting | None:
    """From which number pixels count in the listings of others; None where there are none."""
    others = {file: _sound_rows(listed) for file, listed in listings.items() if has_other_corners(listed.taken)}
    return count_corners(path, others) if others else None


def _read_file(
    file: Path, listed: Listed, first: int, places: _Places
) -> tuple[list[Annotated], list[str], dict[str, str]]:
    """The images of a listing, the paths of those that are not there, and what is wrong with the damaged ones."""
    images, lost, damaged = dict[str, Annotated](), dict[str, None](), dict[str, str]()
    boxes: dict[str, list[Box]] = {}
    for (place, cells), source in zip(listed.rows, places.sources(file, listed), strict=True):
        if source is None:
            if place in listed.damaged:  # of which image, cannot be known
                raise DataError(listed.damaged[place])
            lost[cells["path"]] = None
            continue
        if place in listed.damaged:
            damaged.setdefault(source, listed.damaged[place])
            continue
        where = f"Row {place} of {file}"
        part = part_name(cells["part"], where) if cells.get("part") else places.part(file, source, where)
        about = part, composed(cells.get("group", "")) or None, copied_from(cells, where)
        new = Annotated(source, boxes.setdefault(source, []), *about[:2], _size(cells, listed), about[2])
        image = images.setdefault(source, new)
        if (image.part, image.group, image.origin) != about:
            what = "part or group" if image.origin == about[2] else COPY_OF
            raise DataError(f"{where} gives {cells['path']} another {what} than a row above; make them the same.")
        try:
            boxes[source] += _boxes(cells, where, first)
        except DataError as error:  # the first of each image is told
            damaged.setdefault(source, str(error))
    return list(images.values()), list(lost), damaged


def _notes(path: Path, listings: Mapping[Path, Listed], counting: Counting | None) -> list[str]:
    """What the rows were taken for, and the columns and corners of others."""
    taken = {tuple(listed.taken.items()): listed.taken for listed in listings.values()}
    below = [file.relative_to(path).as_posix() for file in listings if file != path]
    names = noted(f"Boxes of {path} are read from", below)
    rows = f"Rows of {path} are boxes on images; with the reader listing each would be a region to classify."
    return [
        *(names or [rows]),
        *(note for each in taken.values() for note in taken_note(path, each)),
        *([counting.note] if counting else []),
    ]


class _Places:
    """Finds the images that listings name: at their paths, and those that others name also by their names alone."""

    def __init__(self, path: Path, named: Collection[str]) -> None:
        """named: the images that all listings of the path name."""
        self.whole = path.is_dir()
        self.base = path if self.whole else path.parent
        self.found = walk(path) if self.whole else Found()
        self._disk = Disk()
        self._named = named
        self._files: ImageFiles | None = None

    def walked(self) -> Iterator[Path]:
        """All images of the folder, where it is one."""
        return (self.base / name for name in self.found.names)

    def sources(self, file: Path, listed: Listed) -> list[str | None]:
        """Each row's image; None where there is none. Raises DataError for one of our own listings then."""
        if "path" not in listed.taken.values():
            return list[str | None](find_sources(file, listed.rows, listed.damaged))
        names = dict.fromkeys(cells["path"] for _, cells in listed.rows)
        found = {name: self._find(file, name) if name else None for name in names}
        return [found[cells["path"]] for _, cells in listed.rows]

    def _find(self, file: Path, name: str) -> str | None:
        source = self._disk.find(os.path.normpath(file.parent / name))
        if source is not None:
            return source
        if self._files is None:
            self._files = self._look()
        near = file.relative_to(self.base).as_posix()
        image = self._files.find(name, near, self.part(file), exact=name.casefold().endswith(ENDINGS))
        return None if image is None else str(self.base / image)

    def notes(self) -> list[str]:
        """What is to be said of images that were found by their names."""
        return self._files.notes() if self._files else []

    def _look(self) -> ImageFiles:
        """The images around; where a listing's folder has none, those of folders of images beside it."""
        names = self.found.names if self.whole else walk(self.base).names
        if not names:
            beside = [folder for folder in folders_in(self.base.parent) if is_image_folder(folder.name)]
            names = [f"{folder.name}/{name}" for folder in beside for name in walk(folder).names]
            self.base = self.base.parent if names else self.base
        return ImageFiles(self.base, names, self._named)

    def part(self, file: Path, source: str = "", where: str = "") -> str | None:
        """The part that the image's folders or the listing's name, or else its folders, tell, below what is read.

        Raises DataError, which begins with `where`, for an image in a folder of another part than the listing's name.
        """
        if not self.whole:
            return None
        named, (own, around) = named_part(file.name), (self._folder_part(one) for one in (Path(source), file))
        if named and own and named != own:
            raise DataError(
                f"{where} names {source}, which by its folder is in the part {own}, by the listing's name in {named}; "
                "say which in a column part, or rename one."
            )
        return own or named or around

    def _folder_part(self, path: Path) -> str | None:
        """The part that the folders of a path below the base name."""
        return folder_part(path.relative_to(self.base).as_posix()) if path.is_relative_to(self.base) else None


def _size(cells: Mapping[str, str], listed: Listed) -> tuple[int, int] | None:
    """The height and width that others say the image has, where they do."""
    sides = [cells.get(name, "") for name in reversed(SIDES)] if has_other_corners(listed.taken) else []
    said = tuple(int(side) if side.isdecimal() else 0 for side in sides)
    return (said[0], said[1]) if said and all(said) else None


def _boxes(cells: Mapping[str, str], where: str, first: int) -> list[Box]:
    """The box of a row, whose first pixel has the number `first`; none where it says that there is nothing."""
    texts = [cells[name] for name in CORNERS]
    label, ignore = composed(cells["label"]), cells.get("ignore", "").casefold()
    if not any(texts) and not label:
        return []
    if not label or not any(texts):
        raise DataError(f"{where} has a {'label without a box' if label else 'box without a label'}; a box needs both.")
    if ignore not in _TRUE + _FALSE:
        raise DataError(f"{where} has ignore {cells['ignore']!r}; it must be 1 or 0.")
    given = [number(text, where, name) for name, text in zip(CORNERS, texts, strict=True)]
    x1, y1, x2, y2 = from_voc(np.array([given])).tolist()[0] if first else given
    return [Box(x1, y1, x2, y2, label, ignore in _TRUE)]
