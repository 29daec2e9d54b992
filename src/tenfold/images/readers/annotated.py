"""What the readers of boxes share: what a file says of one image, images found by their names, and the Table of all."""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, pairwise, takewhile
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tenfold.errors import DataError
from tenfold.images.content import read_bytes
from tenfold.images.readers.folder import ENDINGS, NO_IMAGES, Found
from tenfold.images.readers.labels import PART_NAMES, class_order, composed, natural_key, natural_order
from tenfold.images.table import AREA, BOX_COLUMNS, PARTS, Table, make_samples
from tenfold.words import listed

FARTHEST = 1e9
"""Pixels; a coordinate beyond is taken for damage, as areas must not overflow."""

_DEEP = 3  # folders around everything that are looked through
_LIKELY = ("annotation", "label", "image", "jpegimages", "voc", "xml")  # how folders that hold annotations begin
_IMAGE_FOLDERS = {"jpegimages", "images", "image", "imgs", "img"}
_MARK_FOLDERS = ("annotation", "label", "xml")  # how folders begin that hold annotations, and tell no images apart
_PART_FOLDER = re.compile(rf"({'|'.join(PART_NAMES)})(?:(?:19|20)\d\d)?")
_ABSOLUTE = re.compile("/|[A-Za-z]:")
_FOLDERS = 1024  # comparisons that are kept in mind, as many images lie in one folder
_HEADER = 2**18  # bytes of a JPEG in which its size stands, but for files with a very large preview


class Box(NamedTuple):
    """A box of an image: the columns of BOX_COLUMNS but `sample`, and AREA."""

    x1: float
    y1: float
    x2: float
    y2: float
    label: str
    ignore: bool = False
    area: float = math.nan


class Annotated(NamedTuple):
    """What a file says of one image."""

    source: str
    boxes: Sequence[Box]
    part: str | None = None
    group: str | None = None
    size: tuple[int, int] | None = None
    """Height and width that the annotations say the image has."""
    origin: str | None = None
    """Content hash of the image that it is a changed copy of."""


def merged(root: Path, images: Iterable[Annotated]) -> tuple[list[Annotated], list[str]]:
    """The images, those that several annotations give the same boxes once, and what is to be said of these.

    A file that describes all images often lies beside one of each part: an image has the part that either names. Where
    annotations differ, all stay, for `annotated_table` to refuse.
    """
    several: dict[str, list[Annotated]] = {}
    for image in images:
        several.setdefault(image.source, []).append(image)
    kept, again = list[Annotated](), list[str]()
    for source, own in several.items():
        one = _in_one(own) if len(own) > 1 else None
        kept += [one] if one else own
        if one:
            place = Path(source)
            again.append((place.relative_to(root) if place.is_relative_to(root) else place).as_posix())
    return kept, noted(f"Annotated more than once below {root} with the same boxes, and read once", again)


def _in_one(images: Sequence[Annotated]) -> Annotated | None:
    """What several annotations of an image say together; None where they contradict each other."""
    said = [sorted((*box[:6], -1 if math.isnan(box.area) else box.area) for box in image.boxes) for image in images]
    about = {name: {getattr(image, name) for image in images} - {None} for name in ("part", "group")}
    origins = {image.origin for image in images}
    if any(other != said[0] for other in said) or len(origins) > 1 or any(len(named) > 1 for named in about.values()):
        return None
    part, group = (next(iter(named), None) for named in about.values())
    return images[0]._replace(part=part, group=group, size=next((one.size for one in images if one.size), None))


def annotated_table(
    root: Path,
    images: Iterable[Annotated],
    declared: Sequence[str] = (),
    notes: Iterable[str] = (),
    *,
    named: bool = True,
) -> Table:
    """The table of all images, in the natural order of their paths; the boxes of each are in the order of its file.

    The classes are those that occur, in the `declared` order if all are declared, else in natural order; the declared
    ones keep their numbers. Where they are mere numbers, not `named`, nothing is said of those without a box. Raises
    DataError where there is no image, or one is annotated twice, and not alike: see `merged`.
    """
    import pandas as pd

    ordered = sorted(images, key=lambda image: natural_key(image.source))
    if not ordered:
        raise DataError(f"There are no annotated images in {root} (looked for {', '.join(sorted(ENDINGS))}).")
    twice = next((one.source for one, other in pairwise(ordered) if one.source == other.source), None)
    if twice:
        raise DataError(
            f"{twice} is annotated more than once below {root}, with other boxes or in another part; keep one "
            "annotation of each image, or give the path of one annotation file."
        )
    rows = [(place, *box) for place, image in enumerate(ordered) for box in image.boxes]
    fields = ("source", "part", "group", "origin")
    columns = {name: [getattr(image, name) for image in ordered] for name in fields}
    columns["copy"] = [image.origin is not None for image in ordered]
    classes = class_order((row[5] for row in rows), declared)
    absent = set(declared).difference(classes) if named else ()
    boxes = pd.DataFrame(rows, columns=[*BOX_COLUMNS, AREA]).astype(BOX_COLUMNS | {AREA: "float64"})
    return Table(
        make_samples(dict(columns), len(ordered)),
        classes,
        boxes if boxes[AREA].notna().any() else boxes.drop(columns=AREA),
        notes=(*notes, *noted(f"Classes of {root} without a box", absent)),
        said_sizes={image.source: image.size for image in ordered if image.size},
        declared=tuple(declared),
    )


def noted(what: str, names: Iterable[str]) -> list[str]:
    """The sentence about these names, with how many they are; none where there is no name."""
    ordered = natural_order(names)
    return [f"{what} ({len(ordered)}): {listed(ordered)}."] if ordered else []


def walk_notes(root: Path, found: Found, used: Iterable[str]) -> list[str]:
    """What a walk left out, but for the annotations that were `used`."""
    rest = sorted(set(found.left.pop(NO_IMAGES, [])) - set(used))
    if rest:
        found.left[NO_IMAGES] = rest
    return found.notes(root)


def number(text: str, where: str, what: str) -> float:
    """A finite number; `where` begins the DataError about anything else, `what` says what it should be."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not abs(found) <= FARTHEST:
        raise DataError(f"{where} has {what} {text!r}, which must be a number, at most {FARTHEST:.0e}; put it right.")
    return found


class ImageFiles:
    """The images below a folder, found by name from the place of the annotation that names them.

    A folder tells images apart if some annotated name lies in it on the disk too: camA does where camA/2.jpg is named
    and there, so that camB/1.jpg is not camA/1.jpg. Of D:/old/camB/1.jpg, of another machine, camB counts where camA
    was in D:/old too.
    """

    def __init__(self, root: Path, names: Iterable[str], named: Iterable[str] = ()) -> None:
        """names: of the images, relative to the root; `named`: all names that annotations give images."""
        self.root = root
        self.places: dict[str, list[str]] = {}
        for name in names:
            self.places.setdefault(stem(name), []).append(name)
        self._elsewhere, self._others = set[str](), dict[str, str]()
        self._telling, self._parents = set[str](), set[Sequence[str]]()
        self._learn(map(_plain, named))

    def find(
        self, wanted: str, near: str, part: str | None = None, *, exact: bool = False, beside: bool = False
    ) -> str | None:
        """The image called `wanted`, whatever its ending unless `exact`; None where there is none.

        An image in another folder than the one that is named is another image, even if it is the only one of that name,
        where either folder tells images apart, or they are of two parts, as train and val. Where annotations lie
        `beside` images, a file for each, the folders of `near` name those of the image too, and either may be right.

        A disk may write an ending otherwise than an annotation, a.JPG for a.jpg: that counts where none is the same. Of
        several images the one of the same folders, then that closest to the annotation `near`: first by the folders
        around both, then by the folders right above, as in images/cat/1.jpg and annotations/cat/1.xml, then by a folder
        of images and by the part. Names are relative to the root. Raises DataError where two are equally close.
        """
        wanted = _plain(wanted)
        last = PurePosixPath(wanted).name
        told = [place for place in (wanted, near if beside else "") if _folders(place)] or [wanted]
        names = [
            name
            for name in self.places.get(stem(wanted), ())
            if not all(self._are_apart(place, name) for place in told)
        ]
        if exact:
            lasts = {name: composed(name).rpartition("/")[2] for name in names}
            same = [name for name in names if lasts[name] == last]
            names = same or [name for name in names if lasts[name].casefold() == last.casefold()]
        image = self._closest(names, wanted, near, part) if len(names) > 1 else next(iter(names), None)
        self._others.pop(key := near if beside else wanted, None)  # another name of the same may have been tried before
        if image is None and (alike := self.places.get(stem(wanted))):
            self._others[key] = f"{told[0]}, not {alike[0]}"
        if image and (self._telling or not beside) and all(_are_other(place, image) for place in told):
            self._elsewhere.add(f"{told[0]} as {image}")
        return image

    def notes(self) -> list[str]:
        """The sentences about images elsewhere than annotations say, taken where nothing tells of which, or not."""
        lost = "Images that are not where annotations say, and one of that name is taken for another"
        return [
            *noted("Images that are not where annotations say, and were found elsewhere", self._elsewhere),
            *noted(lost, self._others.values()),
        ]

    def _learn(self, named: Iterable[str]) -> None:
        """Note the folders that tell images apart, as some of these names lie in them on the disk."""
        ends: dict[tuple[str, str], list[str]] = {}
        for key, names in self.places.items():
            for name in names:
                if folders := _folders(name):
                    ends.setdefault((key, folders[-1]), []).append(name)
        for one in named:
            if folders := _folders(one):
                for name in ends.get((stem(one), folders[-1]), ()):
                    same, own, _ = _compared(one, name)
                    self._telling.update(same)
                    self._parents.add(own)

    def _closest(self, names: Sequence[str], wanted: str, near: str, part: str | None) -> str:
        """The one of several names that is meant: see `find`."""
        wanted_in, near_in = wanted.split("/")[:-1], near.split("/")[:-1]

        def closeness(name: str) -> tuple[bool, int, int, int, bool, bool, bool]:
            folders = name.split("/")[:-1]
            named = f"/{composed(name)}".endswith(f"/{wanted}")
            return (
                "/" in wanted and named,
                _alike(folders, near_in),
                _alike(reversed(folders), reversed(wanted_in)),
                _alike(reversed(folders), reversed(near_in)),
                any(map(is_image_folder, folders)),
                part is not None and folder_part(name) == part,
                named,
            )

        first, second, *_ = sorted(names, key=closeness, reverse=True)
        if closeness(first) == closeness(second):
            raise DataError(
                f"{self.root / near} may mean {first} or {second}; give images of one name different names."
            )
        return first

    def _are_apart(self, wanted: str, name: str) -> bool:
        """Whether an image lies in another folder than the one that `wanted` names: see `find`."""
        _, own, other = _compared(wanted, name)
        if not own or own[-1] in other:
            return False
        pair = {own[-1], *(folder for folder in other[-1:] if folder not in own)}
        tells = not pair.isdisjoint(self._telling)
        if _ABSOLUTE.match(wanted):  # of another machine, whose parts need not be those of the disk
            return tells and own[-1] not in PARTS and own[:-1] in self._parents
        return tells or (len(pair) > 1 and pair <= set(PARTS))


def _plain(name: str) -> str:
    """A name that an annotation gives an image, as names below the root are written."""
    return composed(name.replace("\\", "/").removeprefix("./"))


def _folders(name: str) -> tuple[str, ...]:
    """The folders of a name in lower case, parts by their name in a Table, but for those of images and annotations."""
    return _kept_folders(name.rpartition("/")[0])


def _compared(wanted: str, name: str) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """The folders that both names end with, and those that each has before these."""
    return _compared_folders(wanted.rpartition("/")[0], name.rpartition("/")[0])


@lru_cache(_FOLDERS)
def _kept_folders(place: str) -> tuple[str, ...]:
    folders = (folder for folder in composed(place).casefold().split("/") if folder.strip("."))
    kept = (one for one in folders if not is_image_folder(one) and not one.startswith(_MARK_FOLDERS))
    return tuple(PART_NAMES[match[1]] if (match := _PART_FOLDER.fullmatch(folder)) else folder for folder in kept)


@lru_cache(_FOLDERS)
def _compared_folders(wanted: str, place: str) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    own, other = _kept_folders(wanted), _kept_folders(place)
    same = _alike(reversed(own), reversed(other))
    return own[len(own) - same :], own[: len(own) - same], other[: len(other) - same]


def _are_other(wanted: str, name: str) -> bool:
    """Whether two names on one machine have other folders, whatever these tell; a folder more is none."""
    _, own, other = _compared(wanted, name)
    return bool(own and other) and own[-1] not in other and other[-1] not in own and not _ABSOLUTE.match(wanted)


def _alike(folders: Iterable[str], others: Iterable[str]) -> int:
    """How many of these are the same, up to the first that differ."""
    pairs = zip(map(composed, folders), map(composed, others), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def stem(name: str) -> str:
    """What an image, its annotation and its line in a list have in common: the name without folders and ending.

    Only the ending of an image or of XML is one: that of shot_10.12.33, as Label Studio names an image, is none.
    """
    last = PurePosixPath(composed(name)).name
    return PurePosixPath(last).stem if last.casefold().endswith((*ENDINGS, ".xml")) else last


def folder_part(name: str) -> str | None:
    """The part that the folders of a relative path name: train, val2017 ...; None where none does."""
    matches = (_PART_FOLDER.fullmatch(folder.casefold()) for folder in reversed(name.split("/")[:-1]))
    return next((PART_NAMES[match[1]] for match in matches if match), None)


def is_image_folder(name: str) -> bool:
    """Whether a folder is called as those of images are, beside one of annotations."""
    return name.casefold() in _IMAGE_FOLDERS


def is_mark_folder(name: str) -> bool:
    """Whether a folder is called as those of annotations are."""
    return name.casefold().startswith(_MARK_FOLDERS)


def is_likely_folder(name: str) -> bool:
    """Whether a folder is called as those that hold annotations, or folders of these, are."""
    return name.casefold().startswith(_LIKELY) or _PART_FOLDER.fullmatch(name.casefold()) is not None


def named_part(name: str) -> str | None:
    """The part in the words of a file's name: instances_train2017; None where there is none, or several are named."""
    words = re.findall("[a-z]+", name.casefold())
    named = {PART_NAMES[word] for word in words if word in PART_NAMES}
    return named.pop() if len(named) == 1 else None


def one_part(lists: dict[str, set[str]]) -> tuple[dict[str, str], list[str]]:
    """The part of each name from the names of each part: the later one where several name it; and those names."""
    parts = {name: part for part in PARTS for name in lists.get(part, ())}
    counted = Counter(chain.from_iterable(lists.values()))
    return parts, sorted(name for name, times in counted.items() if times > 1)


def upright_size(source: str) -> tuple[int, int]:
    """Height and width of a file's upright image. Raises DataError where its header cannot be read."""
    from tenfold.images.decode import image_size  # takes Pillow, which `tenfold predict` needs later if at all

    try:
        with Path(source).open("rb") as file:
            start = file.read(_HEADER)
        if start[:2] == b"\xff\xd8":
            return image_size(start, source)
    except (OSError, DataError):  # `read_bytes` says what is wrong, or finds a header that stands further back
        pass
    return image_size(read_bytes(source), source)


def nested_folders(root: Path) -> Iterator[Path]:
    """The folder, then the one folder in it, and so on: an unpacked archive often has one around everything."""
    for _ in range(_DEEP + 1):
        yield root
        folders = [entry for entry in _entries(root) if _is_folder(entry)]
        if len(folders) != 1:
            return
        root = root / folders[0].name


def annotation_files(root: Path, endings: tuple[str, ...], depth: int = 2) -> Iterator[Path]:
    """Files with these endings in a folder, and in folders below that are called as those that hold annotations are."""
    entries = _entries(root)
    yield from (root / entry.name for entry in entries if entry.name.casefold().endswith(endings))
    for entry in entries if depth else ():
        if is_likely_folder(entry.name) and _is_folder(entry):
            yield from annotation_files(root / entry.name, endings, depth - 1)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder and is not hidden, by name; nothing where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir() and entry.name.casefold() != "__macosx"
    except OSError:
        return False
