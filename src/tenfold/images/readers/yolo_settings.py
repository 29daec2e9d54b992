"""What a YOLO data set's data.yaml says: the classes by number, and the images of each part.

`train`, `val` and `test` are a folder, a text file with a path in each line, or a list of these, from the folder `path`
or, without it, from that of the file; `names` are a list, or a mapping of numbers to names. With `kpt_shape` the boxes
are followed by keypoints. Without a yaml file classes.txt and obj.names list the classes, and train.txt, val.txt and
test.txt the images, as for darknet.
https://docs.ultralytics.com/datasets/detect/
https://docs.ultralytics.com/datasets/pose/
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tenfold.errors import DataError
from tenfold.images.readers.annotated import annotation_files, nested_folders
from tenfold.images.readers.folder import ENDINGS, absolute, walk
from tenfold.images.readers.labels import PART_NAMES, composed
from tenfold.images.readers.text import read_start, read_text
from tenfold.images.readers.yolo_files import class_files, darknet_folders, lists_images

_KEYS = re.compile(r"""^["']?(?:names|nc)["']?\s*:""", re.MULTILINE)
_FLOW_KEYS = re.compile(r"""[{,]\s*["']?(?:names|nc)["']?\s*:""")
_START = 2**16  # bytes of a yaml file in which its keys are looked for
_NOTHING = ("", "~", "null")  # what yaml has for a key without a value


class Settings(NamedTuple):
    """What data.yaml and its like say."""

    names: list[str]
    """The classes by number; empty where nothing names them."""
    lists: dict[str, set[str]]
    """Part -> the absolute paths of its images; empty where nothing names parts."""
    base: Path
    lost: list[str]
    """Folders and images of parts that are not there."""
    file: Path | None = None
    read: tuple[Path, ...] = ()
    """Lists of classes, and of images of parts, that are read beside it."""
    keypoints: int = 0
    """Values that follow a box in its line; 0 where boxes have no keypoints."""


def is_settings(path: Path) -> bool:
    """Whether a yaml file names classes."""
    if path.suffix.casefold() not in (".yaml", ".yml"):
        return False
    try:
        start = read_start(path, _START)
    except OSError:
        return False
    keys = _FLOW_KEYS if start.lstrip().startswith("{") else _KEYS
    return keys.search(start) is not None


def settings_files(folder: Path) -> list[Path]:
    """The yaml files of a folder that name classes; data.yaml alone where it is among them."""
    files = [file for file in annotation_files(folder, (".yaml", ".yml"), 0) if is_settings(file)]
    return [file for file in files if file.name.casefold() in ("data.yaml", "data.yml")][:1] or files


def read_settings(path: Path) -> Settings:
    """What a yaml file, or that in a folder, says; else what the lists of classes and of images do.

    Raises DataError, with the file and line, for one that is damaged or names no classes, and where there are several.
    """
    files = [path] if path.is_file() else next(filter(None, map(settings_files, nested_folders(path))), [])
    if len(files) > 1:
        raise DataError(f"{path} holds {files[0].name} and {files[1].name}; give the path of the one that is meant.")
    if not files:
        return _without_yaml(path)
    content, home = _parse(files[0]), files[0].parent
    start = content.get("path", "")
    base = absolute(home / start) if isinstance(start, str) else home
    base = base if base.is_dir() else home
    lists: dict[str, set[str]] = {}
    lost, read = list[str](), list[Path]()
    for key, part in PART_NAMES.items():
        given = content.get(key) or []
        for value in given if isinstance(given, list) else [given]:
            if not isinstance(value, str):  # nor is it written out, as what repeats itself can fill the memory
                raise DataError(f"{files[0]} must give {key} as a path or a list of paths; put it right.")
            if value not in _NOTHING:
                place = _resolve(value, base, home)
                lists.setdefault(part, set()).update(_images_of(place, base, lost))
                read += [place] if place.is_file() else []
    lists = {part: images for part, images in lists.items() if images}
    names, keypoints = _class_names(content, files[0]), _keypoint_values(content, files[0])
    return Settings(names, lists, base, lost, files[0], tuple(read), keypoints)


def _without_yaml(root: Path) -> Settings:
    """The classes that a file of their own lists, and the images that train.txt and its like do."""
    names, read = _listed_classes(root)
    lists: dict[str, set[str]] = {}
    lost = list[str]()
    for folder in nested_folders(root):
        # CVAT writes the parts as folders, and lists whose paths are those of no disk.
        for file in () if darknet_folders(folder) else annotation_files(folder, (".txt",), 0):
            part = PART_NAMES.get(file.stem.casefold())
            if part and lists_images(file):
                lists.setdefault(part, set()).update(_images_of(file, root, lost))
                read.append(file)
    return Settings(names, {part: images for part, images in lists.items() if images}, root, lost, None, tuple(read))


def _resolve(value: str, base: Path, home: Path) -> Path:
    """Where a part lies; "../train/images" is often meant from the folder above, as Ultralytics reads it."""
    value = value.replace("\\", "/")
    places = [absolute(start / name) for start in (base, home) for name in (value, value.removeprefix("../"))]
    return next((place for place in places if place.exists()), places[0])


def _images_of(place: Path, base: Path, lost: list[str]) -> list[str]:
    """The images of a folder, or of a text file with a path in each line; what is not there joins the `lost`."""
    if place.is_dir():
        return [str(place / name) for name in walk(place).names]
    if place.suffix.casefold() != ".txt" or not place.is_file():
        lost.append(str(place))
        return []
    lines = (line.strip().replace("\\", "/") for line in read_text(place).split("\n"))
    paths = [_listed_image(line, place.parent, base) for line in lines if line]
    images = [path for path in paths if path.name.casefold().endswith(ENDINGS) and path.is_file()]
    lost += map(str, sorted(set(paths) - set(images)))
    return list(map(str, images))


def _listed_image(line: str, home: Path, base: Path) -> Path:
    """The image in a line of a list in the folder `home`: from there, from the base, or as from above a folder data.

    darknet's own lists say data/obj/a.jpg, in data/train.txt.
    """
    from_above = [line.removeprefix(f"{name}/") for name in (home.name, "data")]
    places = [absolute(start) for start in (home / line, base / line, *(home / name for name in from_above))]
    return next((place for place in places if place.is_file()), places[0])


def _class_names(content: dict[str, Any], path: Path) -> list[str]:
    """The classes by number, from a list, a mapping of numbers to names, or their number alone."""
    names = content.get("names", [str(place) for place in range(_count(content.get("nc")))])
    if isinstance(names, dict):
        numbers = {int(key): name for key, name in names.items() if str(key).isdecimal()}
        names = [numbers.get(place) for place in range(len(names))]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{path} must name the classes under names, as a list or by number from 0 on; put it right.")
    number = _count(content.get("nc"))
    if number and number != len(names):  # which Ultralytics refuses too, as the names may be those of other numbers
        raise DataError(
            f"{path} gives nc, the number of classes, as {number}, and {len(names)} under names; make them agree."
        )
    return [composed(name.strip()) for name in names]


def _count(value: object) -> int:
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 6 else 0


def _keypoint_values(content: dict[str, Any], path: Path) -> int:
    """How many values the keypoints of a box have, from their number and the values of each; 0 where it has none."""
    shape = content.get("kpt_shape", "")
    if isinstance(shape, str) and shape in _NOTHING:
        return 0
    counts = list(map(_count, shape)) if isinstance(shape, list) else []
    if len(counts) != 2 or not all(counts):
        raise DataError(
            f"{path} must give kpt_shape as how many keypoints a box has and how many values each of them, as in "
            "[17, 3]; put it right."
        )
    return counts[0] * counts[1]


def _listed_classes(root: Path) -> tuple[list[str], list[Path]]:
    """The classes in the files that list them, and these files; none where there is none.

    Raises DataError where the lists beside several folders of labels give a number different classes; one may go on
    where another ends, as LabelImg writes them while classes are added.
    """
    files = next(filter(None, map(class_files, nested_folders(root))), [])
    lists = [[composed(line.strip()) for line in read_text(file).split("\n") if line.strip()] for file in files]
    longest = max(lists, key=len, default=[])
    for names, file in zip(lists, files, strict=True):
        if names != longest[: len(names)]:
            other = files[lists.index(longest)]
            raise DataError(
                f"{file} and {other} list different classes for the same numbers; put the labels of both folders into "
                "one numbering, or read each folder on its own."
            )
    return longest, files


def _parse(path: Path) -> dict[str, Any]:
    """The mapping in a yaml file, every value as text: a class may be called no, or 007.

    The base loader builds nothing but text, lists and mappings, even less than the safe one.
    """
    try:
        content = yaml.load(read_text(path), Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise DataError(
            f"{path}{line} is damaged, or the file ends too early ({error.problem}); put it right."
        ) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be read as yaml: {error}.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold keys and values, such as names and train.")
    return content
