"""Where annotations of boxes may lie: in a folder, in those below it whose names tell, and in those of no images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tenfold.images.readers.annotated import (
    annotation_files,
    is_image_folder,
    is_likely_folder,
    is_mark_folder,
    nested_folders,
)
from tenfold.images.readers.folder import ENDINGS


def files_near(path: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """Files with these endings where annotations may lie; each may come twice.

    A folder directly below that holds no images is looked through whatever it is called: json, ann, bbox. A class
    folder is not, so that files beside its images do not make boxes of classes. See also `sets_among`.
    """
    folders = list(nested_folders(path))
    for folder in folders:
        yield from annotation_files(folder, endings)
    inside = folders_in(folders[-1])
    for folder in inside:
        yield from _files_without_images(folder, endings)
    for folder in sets_among(inside):
        yield from files_in_set(folder, endings)


def sets_among(folders: list[Path]) -> list[Path]:
    """All folders in a folder if each holds one of images beside one of annotations, as classes hardly do; else none.

    None also where all are called as folders of parts and the like, in which annotations are looked for anyway.
    """
    are_sets = not all(is_likely_folder(place.name) for place in folders) and all(map(_is_set, folders))
    return folders if are_sets else []


def files_in_set(folder: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """The files with these endings in the folders of annotations directly in a folder."""
    for place in folders_in(folder):
        if is_mark_folder(place.name):
            yield from annotation_files(place, endings, 0)


def _is_set(folder: Path) -> bool:
    """Whether a folder holds one of images and one of annotations, and no image itself, which ends the look."""
    names = list[str]()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.casefold().endswith(ENDINGS):
                    return False
                names += [entry.name] if entry.is_dir() else []
    except OSError:
        return False
    return any(map(is_image_folder, names)) and any(map(is_mark_folder, names))


def files_beside(root: Path, image: Path, ending: str) -> Iterator[Path]:
    """Files with the name of an image below `root`: beside it, and in folders beside the folder of images it is in."""
    name = image.relative_to(root).with_suffix(ending)
    places = [root / name]
    inside = next((part for part in name.parents if is_image_folder(part.name)), None)
    if inside is not None:
        places += [folder / name.relative_to(inside) for folder in folders_in(root / inside.parent)]
    yield from (place for place in places if place.is_file())


def folders_in(folder: Path) -> list[Path]:
    """The folders directly in a folder that are not hidden, by name; none where it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    except OSError:
        return []
    return [folder / name for name in sorted(names) if name.casefold() != "__macosx"]


def _files_without_images(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """The files with these endings in a folder, by name; none where there is an image, which ends the look."""
    names = list[str]()
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.casefold().endswith(ENDINGS):
                    return []
                if entry.name.casefold().endswith(endings) and not entry.name.startswith("."):
                    names.append(entry.name)
    except OSError:
        return []
    return [folder / name for name in sorted(names)]
