"""Batches of image files that a pandas DataFrame names, with their targets."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from tenfold.errors import UsageError
from tenfold.keras.directory_iterator import checked_class_mode
from tenfold.keras.files import Array, check_dtype, validate_filename
from tenfold.keras.iterator import BatchFromFilesMixin, Iterator

if TYPE_CHECKING:
    import pandas as pd

_BY_CLASS = {"binary", "categorical", "sparse"}
_DEPRECATED = {
    "has_ext": "filenames have to be those on disk",
    "sort": "rows keep their order with shuffle=False",
    "drop_duplicates": "use pandas.DataFrame.drop_duplicates",
}


class DataFrameIterator(BatchFromFilesMixin, Iterator):
    """Batches of the images in a table's column `x_col`; what was found is written to standard output.

    Paths are relative to `directory`, or absolute without it; with `validate_filenames` rows without such a file are
    left out with a warning. `class_mode` says what column `y_col` holds and what the targets are: "categorical" (a
    class, or a list of classes) [B, K], "binary" or "sparse" (a class) [B], "raw" (numbers of one or several columns),
    "multi_output" (a list of columns, a list of arrays), "input" (the images again), or None for none. `weight_col`
    names a column of sample weights. `classes` are the classes to keep, in the order of their numbers. Of the rows,
    "validation" is the first `validation_split`.
    """

    allowed_class_modes: ClassVar[set[str | None]] = {*_BY_CLASS, "input", "multi_output", "raw", None}

    def __init__(  # noqa: PLR0913 - the arguments are those of the interface
        self,
        dataframe: pd.DataFrame,
        directory: str | Path | None = None,
        image_data_generator: Any = None,
        x_col: str = "filename",
        y_col: Any = "class",
        weight_col: str | None = None,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        data_format: str | None = "channels_last",
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
        dtype: DTypeLike = "float32",
        validate_filenames: bool = True,
    ) -> None:
        if not isinstance(keep_aspect_ratio, bool):  # the original is without it: what follows stands a place earlier
            keep_aspect_ratio, dtype, validate_filenames = False, keep_aspect_ratio, _second(dtype, validate_filenames)
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
        self.directory = directory or ""
        self.class_mode = checked_class_mode(class_mode, self.allowed_class_modes)
        self.dtype = check_dtype(dtype)
        self._check_columns(dataframe, x_col, y_col, weight_col, classes)
        table = self._with_files(dataframe, x_col) if validate_filenames else dataframe
        by_class = class_mode in _BY_CLASS
        if by_class:
            table, names = _with_classes(table, y_col, classes)
            self.class_indices = {name: number for number, name in enumerate(names)}
        if self.split:
            start, stop = (int(share * len(table)) for share in self.split)
            table = table.iloc[start:stop]
        if by_class:
            self.classes = [_numbers(label, self.class_indices) for label in table[y_col]]
        self._set_targets(table, y_col)
        self._sample_weight = table[weight_col].to_numpy() if weight_col else None
        self.filenames: list[str] = table[x_col].tolist()
        self._filepaths = [os.path.join(self.directory, name) for name in self.filenames]  # noqa: PTH118
        self.samples = len(self.filenames)
        found = f"Found {self.samples} {'validated' if validate_filenames else 'non-validated'} image filenames"
        sys.stdout.write(found + (f" belonging to {len(self.class_indices)} classes.\n" if by_class else ".\n"))
        Iterator.__init__(self, self.samples, batch_size, shuffle, seed)

    def _check_columns(
        self, table: pd.DataFrame, x_col: str, y_col: Any, weight_col: str | None, classes: Sequence[str] | None
    ) -> None:
        """Errors where the columns do not hold what `class_mode` needs."""
        mode = self.class_mode
        if mode == "multi_output" and not isinstance(y_col, list):
            raise TypeError(f'`y_col` must be a list with class_mode="multi_output", not {type(y_col).__name__}.')
        if not _all_are(_column(table, x_col, "x_col"), str):
            raise TypeError(f"All values of `x_col`, {x_col!r}, must be strings.")
        if mode in ("binary", "sparse") and not _all_are(_column(table, y_col, "y_col"), str):
            raise TypeError(f'All values of `y_col`, {y_col!r}, must be strings with class_mode="{mode}".')
        if mode == "categorical" and not _all_are(_column(table, y_col, "y_col"), (str, list, tuple)):
            raise TypeError(
                f'All values of `y_col`, {y_col!r}, must be strings, lists or tuples with class_mode="categorical".'
            )
        if mode == "binary":
            count = len(set(classes)) if classes else table[y_col].nunique()
            if count != 2:
                raise UsageError(f'With class_mode="binary" there must be 2 classes, not {count}.')
        if classes and mode not in _BY_CLASS:
            warnings.warn(f"`classes` is ignored with class_mode={mode!r}.", stacklevel=3)
        if weight_col and not issubclass(_column(table, weight_col, "weight_col").dtype.type, np.number):
            raise TypeError(f"All values of `weight_col`, {weight_col!r}, must be numbers.")

    def _with_files(self, table: pd.DataFrame, x_col: str) -> pd.DataFrame:
        """The rows whose file is there and has an allowed extension."""
        paths = [os.path.join(self.directory, name) for name in table[x_col]]  # noqa: PTH118
        valid = np.array([validate_filename(path, self.white_list_formats) for path in paths], bool)
        if not valid.all():
            warnings.warn(
                f"{np.sum(~valid)} image filename(s) of `x_col`, {x_col!r}, are missing or have no allowed extension; "
                "they are left out.",
                stacklevel=3,
            )
        return table[valid]

    def _set_targets(self, table: pd.DataFrame, y_col: Any) -> None:
        self._targets_given: Any = None
        if self.class_mode == "multi_output":
            self._targets_given = [np.array(_column(table, column, "y_col").tolist()) for column in y_col]
        elif self.class_mode == "raw":
            self._targets_given = _column(table, y_col, "y_col").to_numpy()

    @property
    def filepaths(self) -> list[str]:
        return self._filepaths

    @property
    def labels(self) -> Any:
        return self._targets_given if self.class_mode in ("multi_output", "raw") else self.classes

    @property
    def sample_weight(self) -> Array | None:
        return self._sample_weight


def _second(dtype: Any, validate_filenames: bool) -> bool:
    """`validate_filenames` of arguments in the order of the original, where it may stand in the place of `dtype`."""
    return dtype if isinstance(dtype, bool) else validate_filenames


def _column(table: pd.DataFrame, column: Any, argument: str) -> Any:
    """The column of a name, or the columns of a list of them; a KeyError that names the argument without it."""
    try:
        return table[column]
    except KeyError as error:
        names = ", ".join(map(str, table.columns))
        raise KeyError(f"`{argument}` must name columns of the table, {names}, not {column!r}.") from error


def _all_are(values: pd.Series[Any] | pd.DataFrame, kind: type | tuple[type, ...]) -> bool:
    """Whether these are one column, and of `kind`; a list of a single name gives a table."""
    return values.ndim == 1 and all(isinstance(value, kind) for value in values)


def _with_classes(table: pd.DataFrame, y_col: str, classes: Sequence[str] | None) -> tuple[pd.DataFrame, list[str]]:
    """The rows that have a class among `classes`, with those only, and the classes; all of them, sorted, without it."""
    labels = table[y_col].tolist()
    if not classes:
        names = {name for label in labels for name in ([label] if isinstance(label, str) else label)}
        return table, sorted(names)
    kept = [_kept(label, set(classes)) for label in labels]
    has_class = np.array([bool(label) for label in kept], bool)
    column = np.empty(len(kept), object)
    column[:] = kept
    return table.assign(**{y_col: column})[has_class], list(dict.fromkeys(classes))


def _kept(label: Any, classes: set[str]) -> Any:
    if isinstance(label, str):
        return label if label in classes else None
    return [name for name in label if name in classes]


def _numbers(label: Any, indices: dict[str, int]) -> Any:
    return indices[label] if isinstance(label, str) else [indices[name] for name in label]


def warn_of_ignored(arguments: Mapping[str, Any]) -> None:
    """Warn of what `flow_from_dataframe` takes and ignores, as Keras does: its old arguments, and any other."""
    for name in arguments:
        if name in _DEPRECATED:
            warnings.warn(f"`{name}` is deprecated: {_DEPRECATED[name]}.", DeprecationWarning, stacklevel=3)
        else:
            warnings.warn(f"flow_from_dataframe has no argument `{name}`: it is ignored.", stacklevel=3)
