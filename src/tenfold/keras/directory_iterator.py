"""Batches of image files that lie in a folder per class."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tenfold.errors import UsageError
from tenfold.keras.files import _list_valid_filenames_in_directory, check_dtype
from tenfold.keras.iterator import BatchFromFilesMixin, Iterator


class DirectoryIterator(BatchFromFilesMixin, Iterator):
    """Batches of the images in `directory`, one subfolder a class; what was found is written to standard output.

    `classes` names the subfolders, in the order of their numbers; without it they are sorted. `class_mode` says what
    the targets are: "categorical" [B, K], "binary" or "sparse" [B], "input" (the images again), or None for none. Of
    each folder's images, sorted, "validation" is the first `validation_split`.
    """

    allowed_class_modes: ClassVar[set[str | None]] = {"categorical", "binary", "sparse", "input", None}

    def __init__(  # noqa: PLR0913 - the arguments are those of the interface
        self,
        directory: str | Path,
        image_data_generator: Any,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        if not isinstance(keep_aspect_ratio, bool):  # the original, without it, has `dtype` in its place
            keep_aspect_ratio, dtype = False, keep_aspect_ratio
        self.set_processing_attrs(
            image_data_generator,
            target_size,
            color_mode,
            data_format,
            save_to_dir,
            save_prefix,
            save_format,
            subset,
            interpolation,
            keep_aspect_ratio,
        )
        self.class_mode = checked_class_mode(class_mode, self.allowed_class_modes)
        self.directory = directory
        self.dtype = check_dtype(dtype)
        names = list(classes) if classes else _folders(directory)
        self.num_classes = len(names)
        self.class_indices = {name: number for number, name in enumerate(names)}
        self._find(names, follow_links)
        self.samples = len(self.filenames)
        sys.stdout.write(f"Found {self.samples} images belonging to {self.num_classes} classes.\n")
        Iterator.__init__(self, self.samples, batch_size, shuffle, seed)

    def _find(self, names: Sequence[str], follow_links: bool) -> None:
        self.filenames: list[str] = []
        numbers: list[int] = []
        for name in names:
            folder = os.path.join(self.directory, name)  # noqa: PTH118 - str in, str out
            classes, found = _list_valid_filenames_in_directory(
                folder, self.white_list_formats, self.split, self.class_indices, follow_links
            )
            numbers += classes
            self.filenames += found
        self.classes: NDArray[np.int32] = np.array(numbers, np.int32)
        self._filepaths = [os.path.join(self.directory, file) for file in self.filenames]  # noqa: PTH118

    @property
    def filepaths(self) -> list[str]:
        return self._filepaths

    @property
    def labels(self) -> NDArray[np.int32]:
        return self.classes

    @property
    def sample_weight(self) -> None:
        return None


def _folders(directory: str | Path) -> list[str]:
    """The names of the folders in one, sorted; an OSError of the same type as Python's, in a sentence, without it."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError) as error:
        sentence = "`directory` must be a folder that holds one for each class, and this is none"
        raise type(error)(error.errno, sentence, error.filename) from error


def checked_class_mode(class_mode: str | None, allowed: set[str | None]) -> str | None:
    """`class_mode`, or a UsageError where it is not allowed."""
    if class_mode not in allowed:
        names = ", ".join(sorted(map(str, allowed)))
        raise UsageError(f"`class_mode` must be one of {names}, not {class_mode!r}.")
    return class_mode
