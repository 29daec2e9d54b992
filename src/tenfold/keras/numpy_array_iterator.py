"""Batches of images that are in memory.

Shapes: N images, B in a batch, H x W pixels, C channels.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tenfold.errors import UsageError
from tenfold.keras.batches import as_bytes, check_images, space
from tenfold.keras.files import Array, check_data_format, check_dtype
from tenfold.keras.iterator import Indices, Iterator, save_samples, subset_share, takes_batches, transform_samples


class NumpyArrayIterator(Iterator):
    """Batches `x`, `(x, y)` or `(x, y, sample_weight)` of arrays; `x` is a list where there are further inputs.

    `x` is [N, H, W, C] or [N, C, H, W], or a pair of that and a further input [N, ...] or a list of them, which are
    only cut into batches. The `subset` "validation" is the first `validation_split` of the samples.
    """

    def __init__(  # noqa: PLR0913 - the arguments are those of the interface
        self,
        x: Any,
        y: Any,
        image_data_generator: Any,
        batch_size: int = 32,
        shuffle: bool = False,
        sample_weight: Any = None,
        seed: int | None = None,
        data_format: str | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        ignore_class_split: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        if not isinstance(ignore_class_split, bool):  # the original, without it, has `dtype` in its place
            ignore_class_split, dtype = False, ignore_class_split
        self.dtype = check_dtype(dtype)
        images, misc = _inputs(x)
        _check_lengths(images, y, sample_weight)
        part = slice(None)
        if subset is not None:
            part = _part(subset, image_data_generator, len(images))
            if y is not None and not ignore_class_split:
                _check_classes(y, part)
        images = np.asarray(images[part])
        count = len(images)
        self._hold(images)
        self.x_misc = [values[part] for values in misc]
        self.y = None if y is None else np.asarray(y[part])
        self.sample_weight = None if sample_weight is None else np.asarray(sample_weight)
        if subset == "training" and sample_weight is not None:
            warnings.warn(
                "`sample_weight` is not split, as in Keras: image i of the training subset gets weight i of all, which "
                "is that of another image; split `x`, `y` and `sample_weight` before, without `subset`.",
                stacklevel=3,
            )
        self.data_format = check_data_format(data_format)
        check_images(images, self.data_format)
        self.image_data_generator = image_data_generator
        self.save_to_dir, self.save_prefix, self.save_format = save_to_dir, save_prefix, save_format
        super().__init__(count, batch_size, shuffle, seed)

    def _hold(self, images: Array) -> None:
        """Keep the images: in `dtype`, where they have it already the very array, whose later changes then count.

        A copy that is nobody else's is kept as bytes, where it can be.
        """
        self._x: Array | None = images
        self._bytes: NDArray[np.uint8] | None = None
        if images.dtype != self.dtype:
            whole = as_bytes(images) if np.dtype(self.dtype).kind == "f" else None
            self._bytes = images.copy() if whole is images else whole
            self._x = images.astype(self.dtype) if self._bytes is None else None

    @property
    def x(self) -> Array:
        """The images, in `dtype`; who has asked for them may change them."""
        whole = self._bytes  # once: another thread may ask for the images too
        if whole is not None:
            self._x, self._bytes = whole.astype(self.dtype), None
        assert self._x is not None
        return self._x

    @x.setter
    def x(self, images: Array) -> None:
        self._x, self._bytes = images, None

    def _taken(self, index_array: Indices) -> Array:
        """A copy of some images: bytes where the generator takes these and they are the same numbers, else `dtype`."""
        whole, kept = takes_batches(self.image_data_generator), self._bytes
        if kept is not None:
            return kept[index_array] if whole else kept[index_array].astype(self.dtype)
        assert self._x is not None
        found = as_bytes(self._x, index_array) if whole and self._x.dtype.kind == "f" else None
        if found is not None:
            return found
        copy = space((len(index_array), *self._x.shape[1:]), self._x.dtype, self.memory)
        return np.take(self._x, index_array, 0, out=copy, mode="clip")  # "raise" would buffer it

    def _get_batches_of_transformed_samples(self, index_array: Indices) -> Any:
        images = transform_samples(self.image_data_generator, self._taken(index_array), self.dtype, self.memory)
        save_samples(self, images, index_array, 10**4)
        inputs = [images, *(values[index_array] for values in self.x_misc)] if self.x_misc else images
        if self.y is None:
            return inputs
        if self.sample_weight is None:
            return inputs, self.y[index_array]
        return inputs, self.y[index_array], self.sample_weight[index_array]


def _inputs(x: Any) -> tuple[Any, list[Array]]:
    """The images, and the further inputs that are batched beside them."""
    if not isinstance(x, tuple | list):
        return x, []
    further = x[1] if isinstance(x[1], list) else [x[1]]
    misc = [np.asarray(values) for values in further]
    for values in misc:
        if len(values) != len(x[0]):
            raise UsageError(
                f"All of the arrays in `x` should have the same length, not {len(x[0])} images beside {len(values)}."
            )
    return x[0], misc


def _check_lengths(images: Any, y: Any, sample_weight: Any) -> None:
    for name, values in (("`y` (labels)", y), ("`sample_weight`", sample_weight)):
        if values is not None and len(values) != len(images):
            raise UsageError(
                f"`x` (images tensor) and {name} should have the same length, not {len(images)} and {len(values)}."
            )


def _part(subset: str, generator: Any, count: int) -> slice:
    start, stop = subset_share(subset, generator)
    return slice(int(start * count), int(stop * count))


def _check_classes(y: Any, part: slice) -> None:
    """Both sides of the split have the same labels."""
    edge = part.stop if part.start == 0 else part.start
    if not np.array_equal(np.unique(y[:edge]), np.unique(y[edge:])):
        raise UsageError(
            "Training and validation subsets have different number of classes after the split; shuffle `x` and `y`, "
            "or pass ignore_class_split=True."
        )
