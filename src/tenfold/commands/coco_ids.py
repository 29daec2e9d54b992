"""The ids that a COCO json gives to images and categories, for `predict --format coco --ids`."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tenfold.errors import DataError, UsageError
from tenfold.words import listed

_NAMED = 3  # images named in a message

Id = int | float | str
"""What an image or a category goes by in a COCO json; pandas writes 1.0 for 1."""


class CocoIds(NamedTuple):
    """Which ids a COCO json gives to the images that are predicted, and to categories."""

    images: dict[str, Id]
    """By the image's absolute path."""
    categories: dict[str, Id]

    @classmethod
    def of(cls, file: Path, classes: tuple[str, ...], paths: Sequence[str]) -> CocoIds:
        """Names are compared as the reader of such a json does.

        Raises DataError for another file, UsageError where it lacks one of the classes or images, or has one id for
        two images.
        """
        from tenfold.images.readers.labels import composed

        try:
            content = json.loads(file.read_bytes())
            images = [_Image.of(_plain(one["file_name"]), _id(one)) for one in content["images"]]
            # Of several categories with one name the first, so it is the last that is written.
            categories = {composed(str(one["name"]).strip()): _id(one) for one in reversed(content["categories"])}
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise DataError(f"--ids {file} is no COCO json with images and categories: {error!r}.") from error
        if missing := [name for name in classes if name not in categories]:
            raise UsageError(f"--ids {file} must have a category of each class of the run; it lacks {missing[0]!r}.")
        return cls(_image_ids(images, paths), categories)


class _Image(NamedTuple):
    """An image as a COCO json describes it."""

    name: str
    """With the folders that the json gives, / between them."""
    placed: bool
    """Whether these are more than a folder of images, or of another machine."""
    id: Id

    @classmethod
    def of(cls, name: str, number: Id) -> _Image:
        from tenfold.images.readers.annotated import is_image_folder

        *folders, _ = (below := _below(name)).split("/")
        absolute = re.match("/|[A-Za-z]:", name)
        return cls(below, not absolute and not all(map(is_image_folder, folders)), number)


def _plain(path: str) -> str:
    """A path as it is compared: / between folders, and composed Unicode, whichever way a disk spells its accents."""
    from tenfold.images.readers.labels import composed

    return composed(path.replace("\\", "/"))


def _below(path: str) -> str:
    """What there is of a path below where it starts: ./images/1.jpg, ../images/1.jpg and /images/1.jpg are as one."""
    return re.sub(r"^(\.\./|/)+", "", posixpath.normpath(path))


def _id(described: dict[str, Any]) -> Id:
    found = described["id"]
    if not isinstance(found, Id):
        raise TypeError(f"the id {found!r}")
    return found


def _image_ids(images: Iterable[_Image], paths: Sequence[str]) -> dict[str, Id]:
    """The id of each absolute path: of the image whose name it ends with, folders and all.

    As the reader has it, a.JPG may be a.jpg where nothing is a.JPG, and folders that say nothing need not be there.
    Raises UsageError where there is none, or several, and where two paths have one id.
    """
    known = dict[str, list[_Image]]()
    for image in images:
        known.setdefault(posixpath.basename(image.name).casefold(), []).append(image)
    ids = dict[str, Id]()
    owners = dict[Id, str]()
    for path in paths:
        place = f"/{_below(_plain(path))}"
        alike = known.get(posixpath.basename(place).casefold(), [])
        found = (
            [image.id for image in alike if place.endswith(f"/{image.name}")]
            or [image.id for image in alike if place.casefold().endswith(f"/{image.name}".casefold())]
            or [image.id for image in alike if not image.placed]
        )
        if len(found) != 1:
            others = f", only {listed([image.name for image in alike], _NAMED)}" if alike and not found else ""
            raise UsageError(f"--ids must name each image once, and {path} is there {len(found)} times{others}.")
        ids[path] = found[0]
        if owners.setdefault(found[0], path) != path:
            raise UsageError(
                f"--ids must have an id for each image, and {owners[found[0]]} and {path} would both have "
                f"{found[0]!r}; name the images in it with their folders, or predict only those that it means."
            )
    return ids
