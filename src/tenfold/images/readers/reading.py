"""What a reader of boxes found in a folder, before it is a Table: damaged annotations, and several formats in one.

An image whose annotation is damaged is left out and named; it is never taken to show nothing. Where more annotations
are damaged than sound, it is the format that was mistaken, or the disk, and nothing is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tenfold.errors import DataError
from tenfold.images.readers.annotated import Annotated, Box, annotated_table, noted, walk_notes
from tenfold.images.readers.folder import Found
from tenfold.images.table import Table

FORMATS = {"voc": "Pascal VOC", "coco": "COCO", "yolo": "YOLO", "boxes": "CSV"}
"""Reader -> what its annotations are called, in the order in which they count where an image has several."""

_NEAR = 1.1  # pixels: programs count from 1 or from 0, and round
_TOLD = 8  # damaged annotations that are told with their reasons


class Reading(NamedTuple):
    """What the annotations of one format say. Paths are absolute, and images go by theirs."""

    path: Path
    """What was to be read: a folder, or a file that describes one."""
    base: Path
    """The folder that was walked."""
    found: Found
    images: list[Annotated]
    used: set[str]
    """The files that the format consists of."""
    bare: list[str]
    """Images without an annotation; those among `images` are taken to show nothing."""
    damaged: dict[str, str]
    """What is left out, an image or an annotation without one -> the sentence that says why."""
    notes: list[str]
    classes: list[str]
    """The classes by number, those without a box too; empty where nothing gives an order."""
    named: bool = True
    """False where classes are mere numbers."""


def check_damage(path: Path, damaged: Mapping[str, str], count: int) -> None:
    """Raise DataError where more than half of `count` annotations are damaged."""
    if 2 * len(damaged) > count:
        first = next(iter(damaged.values()))
        many = f"{len(damaged)} of {count} annotations in {path} are damaged, too many to leave out; the first: "
        raise DataError(f"{many if count > 1 else ''}{first}")


def table_of(reading: Reading) -> Table:
    """The table of one format. Raises DataError where there is no image, or one is annotated twice."""
    images = [image for image in reading.images if image.source not in reading.damaged]  # it may be annotated twice
    shown = {image.source for image in images}
    bare = [source for source in reading.bare if source in shown]
    notes = [
        *noted(f"Images of {reading.path} without a label file, taken to show nothing", _below(bare, reading.base)),
        *_left_bare(reading, shown),
        *_left_damaged(reading.damaged, reading.base),
        *reading.notes,
        *_walked(reading, reading.used),
    ]
    return annotated_table(reading.path, images, reading.classes, notes, named=reading.named)


def joined_table(path: Path, readings: Mapping[str, Reading], refused: Mapping[str, str]) -> Table:
    """The table of a folder with annotations in several formats: reader -> what it found, or why it found nothing.

    An image that several annotate has the boxes of the first in FORMATS; one that none does is left out, also where
    YOLO alone would take it to show nothing. A part that the first does not name is taken from the next. Raises
    DataError where no format can be read.
    """
    if not readings:
        raise DataError(next(iter(refused.values())))
    first = next(iter(readings.values()))
    images, owners = dict[str, list[Annotated]](), dict[str, str]()
    damaged, parts = dict[str, str](), dict[str, str | None]()
    taken, several, others, nameless = dict[str, Annotated](), set[str](), set[str](), list[str]()
    for name, reading in readings.items():
        unsound = {*reading.bare, *reading.damaged}
        own = [image for image in reading.images if image.source not in unsound]
        for image in reading.images:  # those without a label file too, as data.yaml names their parts
            parts[image.source] = parts.get(image.source) or image.part
        again = [image for image in own if image.source in owners]
        several.update(image.source for image in again)
        others.update(image.source for image in again if not _agree(image, taken[image.source], named=reading.named))
        # An empty annotation beside a damaged one would make background of an image that may show something.
        fresh = [image for image in own if image.source not in owners and (image.boxes or image.source not in damaged)]
        if not reading.named and owners:
            nameless += [image.source for image in fresh if image.boxes]
            fresh = [image for image in fresh if not image.boxes]
        images[name] = fresh
        owners.update((image.source, name) for image in fresh)
        taken.update((image.source, image) for image in fresh)
        damaged = reading.damaged | damaged
    notes = [
        _shares(path, images, len(several)),
        *noted("Images to which another format gives other boxes than those that are taken", _below(others, path)),
        *(f"Left out: the {FORMATS[name]} annotations, as they cannot be read: {why}" for name, why in refused.items()),
        *noted("Left out, as their YOLO labels have numbers and no names for classes", _below(nameless, path)),
        *_left_bare(first._replace(damaged=damaged), {*owners, *nameless}),
        *_left_damaged({source: why for source, why in damaged.items() if source not in owners}, path),
        *_taken_otherwise(path, damaged, owners),
        *(note for reading in readings.values() for note in reading.notes),
        *_walked(first, set().union(*(reading.used for reading in readings.values()))),
    ]
    chosen = [image._replace(part=image.part or parts.get(image.source)) for own in images.values() for image in own]
    classes = [name for reading in readings.values() if reading.named or reading is first for name in reading.classes]
    return annotated_table(path, chosen, list(dict.fromkeys(classes)), notes)


def _agree(image: Annotated, other: Annotated, *, named: bool) -> bool:
    """Whether two annotations have the same boxes, but for rounding; of classes without names the boxes alone count."""
    rest = list(other.boxes)
    for box in image.boxes:
        same = next((place for place, one in enumerate(rest) if _are_near(box, one, named=named)), None)
        if same is None:
            return False
        del rest[same]
    return not rest


def _are_near(box: Box, other: Box, *, named: bool) -> bool:
    if named and box.label != other.label:
        return False
    return all(abs(own - one) <= _NEAR for own, one in zip(box[:4], other[:4], strict=True))


def _taken_otherwise(path: Path, damaged: Mapping[str, str], owners: Mapping[str, str]) -> list[str]:
    """A sentence for each image that has a damaged annotation and a sound one."""
    return [
        f"{_short(source, path)} is taken as {FORMATS[owners[source]]} has it; another annotation is damaged: {why}"
        for source, why in damaged.items()
        if source in owners
    ]


def _shares(path: Path, images: Mapping[str, list[Annotated]], several: int) -> str:
    taken = ", ".join(f"{FORMATS[name]} {len(own)}" for name, own in images.items())
    return (
        f"{path} has annotations in several formats; images taken from each: {taken}; those that have others too, "
        f"which are not read: {several}. Name one reader to take its format alone."
    )


def _left_bare(reading: Reading, annotated: Iterable[str]) -> list[str]:
    known = {*annotated, *reading.damaged}
    left = {source for source in reading.bare if source not in known}
    return noted(f"Left out of {reading.base}: images without an annotation", _below(left, reading.base))


def _left_damaged(damaged: Mapping[str, str], base: Path) -> list[str]:
    """A sentence for each thing that is left out, up to a number of them."""
    told = [
        f"Left out: {_short(source, base)}, as its annotation is damaged: {why}"
        for source, why in list(damaged.items())[:_TOLD]
    ]
    return [*told, *noted("Left out likewise", _below(list(damaged)[_TOLD:], base))]


def _walked(reading: Reading, used: Iterable[str]) -> list[str]:
    return walk_notes(reading.base, reading.found, _below(used, reading.base))


def _below(sources: Iterable[str], base: Path) -> list[str]:
    return [_short(source, base) for source in sources]


def _short(source: str, base: Path) -> str:
    """A path as seen from the base, with forward slashes, where it lies below it."""
    path = Path(source)
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else path.as_posix()
