"""Where annotations of boxes may lie: in a folder, in those below it whose names tell, and in those of no images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tenfold.images.readers.annotated import annotation_files, is_image_folder, nested_folders
from tenfold.images.readers.folder import ENDINGS


def files_near(path: Path, endings: tuple[str, ...]) -> Iterator[Path]:
    """Files with these endings where annotations may lie; each may come twice.

    A folder directly below that holds no images is looked through whatever it is called: json, ann, bbox. A class
    folder is not, so that files beside its images do not make boxes of classes.
    """
    folders = list(nested_folders(path))
    for folder in folders:
        yield from annotation_files(folder, endings)
    for folder in folders_in(folders[-1]):
        yield from _files_without_images(folder, endings)


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
