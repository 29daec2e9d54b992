"""Images in memory, as the Python API takes them: NumPy arrays, or lists of arrays or of file paths.

Shapes: N images, H x W pixels, C channels (1, 3 or 4).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError
from tenfold.images.readers.folder import absolute
from tenfold.images.readers.labels import class_order, composed

if TYPE_CHECKING:
    from tenfold.images.table import Table

ArraySource = NDArray[np.uint8] | Sequence[NDArray[np.uint8]] | Sequence[str | os.PathLike[str]]

NAME = "images"
"""The entry of Table.arrays, and the `source` of each sample."""


def read_arrays(
    images: ArraySource,
    labels: Iterable[Any] | None = None,
    groups: Iterable[Any] | None = None,
    classes: Sequence[str] | None = None,
) -> Table:
    """A table of images in memory.

    images: uint8 [N, H, W] or [N, H, W, C], or a list of [H, W] and [H, W, C] whose sizes may differ, or a list of
        file paths. Arrays are kept as they are, not copied, so they must not be changed afterwards.
    labels: N labels, text or integers, None where one is not known. An integer counts into `classes` where those are
        given, else it is its own name.
    groups: N groups, anything that prints; None where an image stands alone.
    Raises UsageError for anything else.
    """
    from tenfold.images.table import Table, make_samples

    count = len(images)
    if count == 0:
        raise UsageError("source must hold at least one image; it is empty.")
    columns: dict[str, object] = {
        "label": _labels(labels, count, classes),
        "group": [None if _missing(group) else composed(str(group)) for group in _column("groups", groups, count)],
    }
    arrays: dict[str, Any] = {}
    if all(isinstance(image, str | os.PathLike) for image in images):
        columns["source"] = [str(absolute(path)) for path in images]  # type: ignore[arg-type]
    else:
        _check_images(images)
        arrays[NAME] = images
        columns |= {"source": [NAME] * count, "row": range(count)}
    samples = make_samples(columns, count)
    return Table(samples, classes=class_order(columns["label"]), arrays=arrays)  # type: ignore[arg-type]


def _check_images(images: Any) -> None:
    if isinstance(images, np.ndarray):
        if images.ndim not in (3, 4):
            raise UsageError(f"source must have the shape [N, H, W] or [N, H, W, C], not {list(images.shape)}.")
        _check_image(images[0], "source")
        return
    for index, image in enumerate(images):
        if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
            came = f"shape {list(image.shape)}" if isinstance(image, np.ndarray) else type(image).__name__
            raise UsageError(f"source[{index}] must be an array [H, W] or [H, W, C], not {came}.")
        _check_image(image, f"source[{index}]")


def _check_image(image: NDArray[Any], name: str) -> None:
    if image.dtype != np.uint8:
        raise UsageError(
            f"{name} must hold uint8 values from 0 to 255, not {image.dtype}; convert it yourself, since only you "
            "know its range (from 0 to 1: (255 * images).round().astype('uint8'))."
        )
    if image.ndim == 3 and image.shape[2] not in (1, 3, 4):
        raise UsageError(
            f"{name} must have 1, 3 or 4 channels in its last axis, but an image has the shape {list(image.shape)}; "
            "where channels come first, move them: np.moveaxis(images, -3, -1)."
        )
    if image.size == 0:
        raise UsageError(f"{name} must have at least one pixel, but an image has the shape {list(image.shape)}.")


def _labels(labels: Iterable[Any] | None, count: int, classes: Sequence[str] | None) -> list[str | None]:
    return [None if _missing(label) else _label(label, classes) for label in _column("labels", labels, count)]


def _label(label: Any, classes: Sequence[str] | None) -> str:
    if isinstance(label, str):
        return composed(label)
    if isinstance(label, bool | np.bool_) or not isinstance(label, int | np.integer):
        raise UsageError(f"labels must hold one text or integer an image, or None, not {label!r}.")
    if classes is None:
        return str(label)
    if not 0 <= label < len(classes):
        raise UsageError(
            f"labels that are integers must be from 0 to {len(classes) - 1}, places in classes; {label} is not."
        )
    return composed(classes[int(label)])


def _column(name: str, values: Iterable[Any] | None, count: int) -> list[Any]:
    if values is None:
        return [None] * count
    column = list(values)
    if len(column) != count:
        raise UsageError(f"{name} must have one value for each of the {count} images, not {len(column)}.")
    return column


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value) or type(value).__name__ == "NAType"
