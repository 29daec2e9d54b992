"""Where YOLO's text files lie: the label file of each image, and the lists of classes.

A label file goes with the image of its name: in `labels`, however that is written, where the image is in `images` or in
a folder called alike, or else beside it. Where a folder of images has none in either place, label files in other
folders are found by name: `photos/a.jpg` and `labels/a.txt`, `a.jpg` and `labels/a.txt`. One that goes with no image so
is named, as its image would be taken to show nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

from tenfold.errors import DataError
from tenfold.images.readers.annotated import ImageFiles, annotation_files, folder_part, is_image_folder
from tenfold.images.readers.folder import ENDINGS, NO_IMAGES, Found
from tenfold.images.readers.labels import natural_order
from tenfold.images.readers.places import files_in_set, folders_in, sets_among
from tenfold.images.readers.text import read_start

CLASS_FILES = ("classes.txt", "obj.names")
"""Files with the name of a class in each line."""

DARKNET = re.compile(r"obj_(\w+)_data")
"""A folder of one part, images and label files together, as CVAT writes it beside obj.names."""

_LABEL_FOLDERS = ("label", "annotation")  # how folders begin in which label files are found by name
_START = 2**12  # bytes of a text file that show what it holds


def has_labels(folder: Path) -> bool:
    """Whether there are text files in a folder labels, or beside images with a list of classes there or above."""
    files = annotation_files(folder, (".txt",))
    if any("labels" in (piece.casefold() for piece in file.relative_to(folder).parts[:-1]) for file in files):
        return True
    if _own_class_file(folder) and (
        any(_beside(folder))
        or any(next(place.rglob("*.txt"), None) for place in darknet_folders(folder))
        or _hold_boxes(_two_below(folder))
    ):
        return True
    return any(_class_files_below(folder)) or bool(_label_sets(folders_in(folder)))


def class_files(folder: Path) -> list[Path]:
    """The lists of classes of a folder: its own first, then those of folders directly below with labels in them."""
    own = _own_class_file(folder)
    return [*([own] if own else []), *(file for file in _class_files_below(folder) if file != own)]


def darknet_folders(folder: Path) -> list[Path]:
    """The folders of a part, as CVAT has them, directly in a folder."""
    return [place for place in folders_in(folder) if DARKNET.fullmatch(place.name.casefold())]


def label_folders(folder: Path) -> list[Path]:
    """The folders called labels directly in a folder, the one in lower case first."""
    found = [place for place in folders_in(folder) if place.name.casefold() == "labels"]
    return sorted(found, key=lambda place: place.name != "labels")


def lists_images(file: Path) -> bool:
    """Whether a text file begins with the path of an image."""
    return _first_line(file).casefold().endswith(ENDINGS)


def pair_labels(base: Path, found: Found, sources: Iterable[str]) -> tuple[dict[str, Path | None], list[str]]:
    """The label file of each image, None where it has none; and the label files that go with no image of their own.

    found: what the walk of the folder `base` gave; `sources` are absolute, those of `found` and others.
    """
    folders = cache(label_folders)
    files = {source: _by_place(Path(source), folders) for source in sources}
    taken = {file for file in files.values() if file}
    rest = [name for name in found.left.get(NO_IMAGES, ()) if _may_label(name) and base / name not in taken]
    if not rest:
        return files, []
    # Where some images of a folder have their label files, the others of it show nothing.
    settled = {Path(source).parent for source, file in files.items() if file}
    unsettled = [name for name in found.names if (base / name).parent not in settled]
    images = ImageFiles(base, unsettled, (str(PurePosixPath(name).with_suffix("")) for name in rest))
    strays = list[str]()
    for name in sorted(natural_order(rest), key=lambda name: "labels" not in name.casefold().split("/")):
        image = _by_name(images, name)
        source = "" if image is None else str(base / image)
        if source in files and files[source] is None:
            files[source] = base / name
        elif _is_box(_first_line(base / name)):
            strays.append(name)
    return files, natural_order(strays)


def _by_place(source: Path, labels_in: Callable[[Path], list[Path]]) -> Path | None:
    """The label file of an image: in `labels` where the image is in `images`, or else beside it."""
    beside = source.with_suffix(".txt")
    pieces = beside.parts
    place = next((place for place in range(len(pieces) - 2, 0, -1) if is_image_folder(pieces[place])), 0)
    folders = labels_in(Path(*pieces[:place])) if place else []
    files = (*(folder.joinpath(*pieces[place + 1 :]) for folder in folders), beside)
    return next((file for file in files if file.is_file()), None)


def _by_name(images: ImageFiles, name: str) -> str | None:
    """The image that is called as a label file is, and in no other part; None where there is none, or several are."""
    part = folder_part(name)
    try:
        image = images.find(PurePosixPath(name).stem, name, part, beside=True)
    except DataError:
        return None
    parts = {part, None if image is None else folder_part(image)} - {None}
    return image if len(parts) < 2 else None


def _may_label(name: str) -> bool:
    """Whether a file is to be found by name: a text file in a folder of labels that lists no classes."""
    *folders, last = name.casefold().split("/")
    return (
        last.endswith(".txt")
        and last not in CLASS_FILES
        and any(folder.startswith(_LABEL_FOLDERS) for folder in folders)
    )


def _own_class_file(folder: Path) -> Path | None:
    """The list of classes in a folder, or in that of its labels."""
    return next(filter(None, map(_class_file, (folder, *label_folders(folder)))), None)


def _class_file(folder: Path) -> Path | None:
    return next((folder / name for name in CLASS_FILES if (folder / name).is_file()), None)


def _class_files_below(folder: Path) -> Iterator[Path]:
    """The lists of classes in folders directly below with labels in them: a class folder may have a list as well."""
    folders = folders_in(folder)
    sets = _label_sets(folders)
    for place in folders:
        file = _class_file(place / "labels") or _class_file(place)
        if file and (file.parent != place or place in sets or _hold_boxes([place, *folders_in(place)])):
            yield file


def _label_sets(folders: list[Path]) -> list[Path]:
    """The sets among folders if they have labels and no yaml files, each of which may number the classes otherwise."""
    sets = sets_among(folders)
    files = (file for place in sets for file in files_in_set(place, (".txt",)) if file.name not in CLASS_FILES)
    lines = filter(None, map(_first_line, files))
    settled = any(next(annotation_files(place, (".yaml", ".yml"), 0), None) for place in sets)
    return sets if not settled and _is_box(next(lines, "")) else []


def _two_below(folder: Path) -> Iterator[Path]:
    for place in folders_in(folder):
        yield place
        yield from folders_in(place)


def _hold_boxes(folders: Iterable[Path]) -> bool:
    """Whether text files beside the images in these folders hold boxes, by the first with anything in it.

    Text beside images may also be what is said of them, in folders of classes.
    """
    lines = (_first_line(file) for folder in folders for file in _beside(folder))
    return _is_box(next(filter(None, lines), ""))


def _beside(folder: Path) -> Iterator[Path]:
    """The text files in a folder that have an image of their name there."""
    texts = {file.stem: file for file in annotation_files(folder, (".txt",), 0)}
    for image in annotation_files(folder, ENDINGS, 0) if texts else ():
        if image.stem in texts:
            yield texts[image.stem]


def _first_line(file: Path) -> str:
    """The first line of a text file with anything in it; empty where there is none, or it cannot be read."""
    try:
        text = read_start(file, _START)
    except OSError:
        return ""
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


def _is_box(line: str) -> bool:
    """Whether a line may be a box: a class, and four numbers or more."""
    cells = line.split()
    try:
        return len([float(cell) for cell in cells[1:5]]) == 4
    except ValueError:
        return False
