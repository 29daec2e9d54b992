"""A folder for each class, with train|validation|test folders above them where the parts are given.

The same walk finds the images to predict. A folder is read once however many symbolic links lead to it, and what lies
inside a class folder at any depth belongs to the class. What is left out is counted and listed in Table.notes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tenfold.errors import DataError
from tenfold.images.readers.labels import PART_NAMES, class_order, composed, natural_key, natural_order
from tenfold.words import LISTED, listed

if TYPE_CHECKING:
    from tenfold.images.table import Table

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff"),
    *(".tga", ".pgm", ".ppm", ".pbm", ".pnm", ".heic", ".heif", ".avif", ".jp2", ".j2k"),
)
"""Endings, in lower case, of files that are taken for images; whether one can be decoded shows later."""

_LITTER = frozenset({"thumbs.db", "desktop.ini", "__macosx"})  # hidden on the systems that leave them behind
NO_IMAGES = "files that are no images"
"""The reason for which a walk leaves out files by their ending."""


@dataclass
class Found:
    """What a walk found, as paths relative to its root with forward slashes."""

    names: list[str] = field(default_factory=list)
    """Images, in natural order."""
    folders: list[str] = field(default_factory=list)
    """Every folder that was entered; the root is ""."""
    left: dict[str, list[str]] = field(default_factory=dict)
    """What was left out: the reason -> names."""

    def leave(self, reason: str, name: str) -> None:
        self.left.setdefault(reason, []).append(name)

    def notes(self, root: Path) -> list[str]:
        """A sentence for each reason, with the number of names and the first of them."""
        return [_note(root, reason, natural_order(names)) for reason, names in sorted(self.left.items())]


def walk(root: Path) -> Found:
    """Every image in a folder and those below. Raises DataError where a folder cannot be listed.

    Links to folders are followed last, so that a folder inside the root goes by its own name rather than a link's;
    a link that leads up, to the root or above it, is not followed.
    """
    found = Found()
    entered = {str(parent) for parent in Path(os.path.realpath(root)).parents}
    folders, links = [""], list[str]()
    while folders:
        name = folders.pop()
        path = root / name
        real = os.path.realpath(path)
        if real in entered:
            found.leave("links to a folder that was read already or lies above", name)
        else:
            entered.add(real)
            found.folders.append(name)
            _list_folder(path, name, found, folders, links)
        if not folders:
            folders, links = natural_order(links)[::-1], []
    found.names.sort(key=natural_key)
    return found


def _list_folder(path: Path, name: str, found: Found, folders: list[str], links: list[str]) -> None:
    """Sort one folder's entries into images, folders to enter, links to folders, and what is left out."""
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                _place_entry(entry, f"{name}/{entry.name}" if name else entry.name, found, folders, links)
    except OSError as error:
        raise DataError(f"The folder {path} cannot be listed: {error.strerror or error}.") from error


def _place_entry(entry: os.DirEntry[str], name: str, found: Found, folders: list[str], links: list[str]) -> None:
    link = entry.is_symlink()
    if not _is_text(entry.name):
        found.leave("names that are not valid Unicode", ascii(name))
    elif entry.name.startswith(".") or entry.name.casefold() in _LITTER:
        found.leave("hidden files and folders", name)
    elif entry.is_dir(follow_symlinks=False):
        folders.append(name)
    elif link and os.path.isdir(entry):  # noqa: PTH112 (Path.is_dir raises where a target cannot be looked at)
        links.append(name)
    elif link and not os.path.exists(entry):  # noqa: PTH110 (likewise)
        found.leave("links that lead nowhere", name)
    elif not entry.name.casefold().endswith(ENDINGS) or not (link or entry.is_file()):
        found.leave(NO_IMAGES, name)
    else:
        found.names.append(name)


def _is_text(name: str) -> bool:
    """False for the rare file name whose bytes are not in the system's encoding: no table can hold it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def refuse_odd_names(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Raise DataError where one of these paths is no text: see `_is_text`."""
    if odd := [ascii(os.fspath(path)) for path in paths if not _is_text(os.fspath(path))]:
        raise DataError(
            "Images and their folders must have names that are valid Unicode, as no table can hold others; rename "
            f"{listed(odd, 3)}."
        )


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path from the root of the disk, ~ and .. resolved, symbolic links left as they are."""
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 (Path.resolve follows links)


def recognizes(path: Path) -> bool:
    """True for a folder."""
    return path.is_dir()


def read(path: Path) -> Table:
    """A table of a folder. Raises DataError where it holds no images in class folders."""
    from tenfold.images.table import Table, make_samples

    found = walk(path)
    level, parted = _class_level(path, found.names)
    names, labels, parts = [], list[str](), list[str | None]()
    for name in found.names:
        pieces = name.split("/")
        if len(pieces) < level + 2:
            found.leave("images outside of the class folders", name)
            continue
        names.append(name)
        labels.append(composed(pieces[level]))
        parts.append(PART_NAMES[pieces[level - 1].casefold()] if parted else None)
    for folder in _empty_folders(found, level, names):
        found.leave("class folders without an image", folder)
    notes = found.notes(path)
    if level - parted:
        notes.insert(0, f"The class folders lie in {path / Path(*names[0].split('/')[: level - parted])}.")
    columns: dict[str, object] = {"source": [str(path / name) for name in names], "label": labels, "part": parts}
    return Table(make_samples(columns, len(names)), classes=class_order(labels), notes=tuple(notes))


def _class_level(root: Path, names: list[str]) -> tuple[int, bool]:
    """How many folders lie above the class folders, and whether the last of those is the part."""
    deep = [name.split("/") for name in names if "/" in name]
    if not deep:
        raise _no_classes(root, names)
    level = 0
    # An unpacked archive often has one folder around everything.
    while len({pieces[level] for pieces in deep}) == 1 and all(len(pieces) > level + 2 for pieces in deep):
        if deep[0][level].casefold() in PART_NAMES:
            break
        level += 1
    tops = {pieces[level] for pieces in deep}
    parts = {top for top in tops if top.casefold() in PART_NAMES}
    holding = {pieces[level] for pieces in deep if pieces[level] in parts and len(pieces) > level + 2}
    if parts == tops and not holding:
        raise _no_classes(root / Path(*deep[0][: level + 1]), names)
    if holding and parts != tops:
        others = ", ".join(natural_order(tops - parts)[:LISTED])
        raise DataError(
            f"{root} has folders named as parts ({', '.join(natural_order(parts))}) beside others ({others}); keep "
            "either part folders with class folders in each, or class folders alone, with other names."
        )
    return (level + 1, True) if holding else (level, False)


def _no_classes(folder: Path, names: list[str]) -> DataError:
    if not names:
        return DataError(f"There are no images in {folder} (looked for {', '.join(sorted(ENDINGS))}).")
    example = folder / "daisy" / names[0].rpartition("/")[2]
    return DataError(
        f"The images in {folder} lie in no class folders; make a folder for each class, such as {example}, or give a "
        "CSV with the columns path,label."
    )


def _empty_folders(found: Found, level: int, names: list[str]) -> list[str]:
    """The folders at the level of classes without any image."""
    filled = {"/".join(name.split("/")[: level + 1]) for name in names}
    above = {"/".join(name.split("/")[:level]) for name in names}
    at_level = (name for name in found.folders if name and name.count("/") == level)
    return [name for name in at_level if name not in filled and name.rpartition("/")[0] in above]


def find_images(paths: Iterable[str | os.PathLike[str]]) -> tuple[list[str], list[str]]:
    """Absolute paths of the images to predict, and notes on what was left out; imports no pandas.

    A folder gives every image in it and below. A path that is not a folder is kept as it is, whatever its ending and
    even if it does not exist: reading it then names it. An image that is named again, by itself, by its folder or by a
    link to that, is there once, where it was named first.
    """
    sources, notes = [], list[str]()
    for path in map(absolute, paths):
        if path.is_dir():
            found = walk(path)
            sources += [str(path / name) for name in found.names]
            notes += found.notes(path)
        else:
            sources.append(str(path))
    once, again = _told_apart(sources)
    if again:
        notes.append(f"Named more than once, and taken once ({len(again)}): {listed(again)}.")
    return once, notes


def _told_apart(sources: Iterable[str]) -> tuple[list[str], list[str]]:
    """The paths of different images, and those that name one of them again."""
    folders = dict[str, str]()
    places = dict[tuple[str, str], str]()
    again = []
    for source in sources:
        folder, name = os.path.split(source)
        if folder not in folders:
            folders[folder] = os.path.realpath(folder)
        if places.setdefault((folders[folder], name), source) is not source:
            again.append(source)
    return list(places.values()), again


def read_images(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> Table:
    """A table without labels: files, folders with all below them, or a list of both (see `find_images`).

    Raises DataError where there is no image at all.
    """
    from tenfold.images.table import Table, make_samples

    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    sources, notes = find_images(given)
    refuse_odd_names(sources)
    if not sources:
        raise DataError(f"There are no images in {', '.join(os.fspath(path) for path in given) or 'an empty list'}.")
    return Table(make_samples({"source": sources}, len(sources)), notes=tuple(notes))


def lies_bare(path: str | os.PathLike[str]) -> bool:
    """Whether that is an image, or a folder with images of which none lies in a folder below: no folder labels them."""
    place = absolute(path)
    if place.is_file():
        return place.suffix.lower() in ENDINGS
    names = walk(place).names if place.is_dir() else []
    return bool(names) and not any("/" in name for name in names)


def _note(root: Path, reason: str, names: list[str]) -> str:
    return f"Left out of {root}: {reason} ({len(names)}): {listed(names)}."
