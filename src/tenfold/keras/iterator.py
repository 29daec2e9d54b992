"""Batches without end: the order of the samples, and batches of image files.

With a seed, batch b (of all that were taken) is drawn after `numpy.random.seed(seed + b)`: order, transformations and
names of saved files are then the same each time, and those of Keras 3. Without one they follow NumPy's global state.

Shapes: N samples, B of them in a batch, H x W pixels, C channels, K classes.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, Self, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tenfold.augment.memory import Memory
from tenfold.errors import UsageError, unknown
from tenfold.keras.batches import space
from tenfold.keras.files import (
    COLOR_MODES,
    WHITE_LIST_FORMATS,
    Array,
    array_to_img,
    check_data_format,
    img_to_array,
    load_img,
)

Indices = NDArray[np.int64]


class Transforms(Protocol):
    """What an iterator asks of an ImageDataGenerator, or of anything in its place."""

    def get_random_transform(self, img_shape: tuple[int, ...]) -> Mapping[str, Any]: ...

    def apply_transform(self, x: Array, transform_parameters: Mapping[str, Any]) -> Array: ...

    def standardize(self, x: Array) -> Array: ...


class Iterator:
    """Batches of `n` samples without end, also indexed within an epoch: `len(it)` batches, `it[0]` is the first.

    A subclass makes a batch in `_get_batches_of_transformed_samples`. Where the program has imported Keras before, the
    iterator is one of its data sets too (`keras.utils.PyDataset`), so `fit`, `evaluate` and `predict` of a Keras model
    take it as it is. Keras itself is never imported here.
    """

    white_list_formats = WHITE_LIST_FORMATS

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        keras = sys.modules.get("keras")
        dataset = getattr(getattr(keras, "utils", None), "Sequence", None)  # its name in Keras 2, PyDataset's in 3
        return super().__new__(cls if dataset is None else cast("type[Self]", _with_parent(cast("type", cls), dataset)))

    def __init__(self, n: int, batch_size: int, shuffle: bool, seed: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # workers and the like, where this is a data set of Keras
        self.n = n
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.seed = seed
        self.batch_index = 0
        self.total_batches_seen = 0
        self.lock = threading.Lock()
        self.memory = Memory()  # of batches, used again when they are gone
        self.index_array: Indices | None = None
        self.index_generator = self._flow_index()

    def __len__(self) -> int:
        """Batches an epoch, the last one perhaps smaller."""
        return -(-self.n // self.batch_size)

    def __iter__(self) -> Self:
        return self

    def __getitem__(self, idx: int) -> Any:
        if not 0 <= idx < len(self):
            raise UsageError(
                f"The batch asked for must be from 0 to below {len(self)}, the batches of an epoch, not {idx}."
            )
        self._seed_batch()
        start = self.batch_size * idx
        return self._get_batches_of_transformed_samples(self._order()[start : start + self.batch_size])

    def __next__(self) -> Any:
        return self.next()

    def next(self) -> Any:
        """The next batch; several threads may ask."""
        with self.lock:
            indices = next(self.index_generator)
        return self._get_batches_of_transformed_samples(indices)

    def on_epoch_end(self) -> None:
        """Shuffle anew (with `shuffle`)."""
        self._set_index_array()

    def reset(self) -> None:
        """Begin again with the first batch of an epoch."""
        self.batch_index = 0

    def _set_index_array(self) -> None:
        self.index_array = np.random.permutation(self.n) if self.shuffle else np.arange(self.n)

    def _order(self) -> Indices:
        if self.index_array is None:
            self._set_index_array()
        assert self.index_array is not None
        return self.index_array

    def _seed_batch(self) -> None:
        if self.seed is not None:
            np.random.seed(self.seed + self.total_batches_seen)
        self.total_batches_seen += 1

    def _flow_index(self) -> Generator[Indices]:
        self.reset()
        while True:
            self._seed_batch()
            if self.batch_index == 0:
                self._set_index_array()
            start = self.batch_index * self.batch_size % max(self.n, 1)
            stop = start + self.batch_size
            self.batch_index = self.batch_index + 1 if stop < self.n else 0
            yield self._order()[start:stop]

    def _get_batches_of_transformed_samples(self, index_array: Indices) -> Any:
        """The batch of the samples in `index_array` int64 [B]."""
        raise NotImplementedError(f"{type(self).__name__} must define _get_batches_of_transformed_samples.")


@cache
def _with_parent(cls: type, parent: type) -> type:
    """`cls` as a subclass of `parent` too, under its own name."""
    if issubclass(cls, parent):
        return cls
    return type(cls.__name__, (cls, parent), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def transform_samples(generator: Transforms, images: Array, dtype: DTypeLike, memory: Memory) -> Array:
    """A batch, changed at random and standardized in `dtype`: a new array of it; `images` may be written over.

    All images at once, or one by one where `generator` needs that.
    """
    if takes_batches(generator):
        result: Array = generator.transform_batch(images, dtype, memory)  # type: ignore[attr-defined]
        return result
    changed = space(images.shape, dtype, memory)
    for place, image in enumerate(images):
        moved = generator.apply_transform(image, generator.get_random_transform(image.shape))
        changed[place] = generator.standardize(moved)
    return changed


def takes_batches(generator: Any) -> bool:
    """Whether it has `transform_batch`, and that does what its methods would do image by image."""
    return bool(getattr(generator, "takes_batches", False))


def save_samples(iterator: Any, images: Array, indices: Indices, names: int) -> None:
    """Write a batch into `save_to_dir`, if there is one, as PREFIX_INDEX_NUMBER.FORMAT with numbers below `names`."""
    if iterator.save_to_dir:
        for image, index in zip(images, indices, strict=True):
            name = f"{iterator.save_prefix}_{index}_{np.random.randint(names)}.{iterator.save_format}"
            array_to_img(image, iterator.data_format).save(Path(iterator.save_to_dir) / name)


class BatchFromFilesMixin:
    """Batches of image files, for an Iterator with `filepaths`, `labels`, `sample_weight`, `class_mode` and `dtype`."""

    class_mode: str | None
    dtype: Any
    memory: Memory
    classes: Any
    class_indices: dict[str, int]

    def set_processing_attrs(  # noqa: PLR0913 - the arguments are those of the interface
        self,
        image_data_generator: Any,
        target_size: Sequence[int],
        color_mode: str,
        data_format: str | None,
        save_to_dir: str | Path | None,
        save_prefix: str,
        save_format: str,
        subset: str | None,
        interpolation: str,
        keep_aspect_ratio: bool = False,
    ) -> None:
        """Set how files become a batch; `image_shape` is then [H, W, C] or [C, H, W] and `split` the subset's share."""
        if color_mode not in COLOR_MODES:
            raise unknown("`color_mode`", str(color_mode), COLOR_MODES)
        self.image_data_generator = image_data_generator
        try:
            self.target_size = tuple(target_size)
        except TypeError as error:
            raise TypeError(f"`target_size` must be two numbers, height and width, not {target_size!r}.") from error
        self.color_mode = color_mode
        self.data_format = check_data_format(data_format)
        channels = (COLOR_MODES[color_mode],)
        last = self.data_format == "channels_last"
        self.image_shape = self.target_size + channels if last else channels + self.target_size
        self.save_to_dir, self.save_prefix, self.save_format = save_to_dir, save_prefix, save_format
        self.interpolation = interpolation
        self.keep_aspect_ratio = keep_aspect_ratio
        self.subset = subset
        self.split = None if subset is None else subset_share(subset, image_data_generator)

    def _get_batches_of_transformed_samples(self, index_array: Indices) -> Any:
        images = self._read(index_array)
        if self.image_data_generator:
            images = transform_samples(self.image_data_generator, images, images.dtype, self.memory)
        images = images.astype(self.dtype, copy=False)
        save_samples(self, images, index_array, 10**7)
        if self.class_mode is None:
            return images
        targets = self._targets(images, index_array)
        if self.sample_weight is None:
            return images, targets
        return images, targets, self.sample_weight[index_array]

    def _read(self, index_array: Indices) -> Array:
        """float32 [B, H, W, C] or [B, C, H, W]."""
        paths = self.filepaths
        images = self.memory.take((len(index_array), *self.image_shape))
        for place, index in enumerate(index_array):
            img = load_img(
                paths[index],
                color_mode=self.color_mode,
                target_size=(self.target_size[0], self.target_size[1]),
                interpolation=self.interpolation,
                keep_aspect_ratio=self.keep_aspect_ratio,
            )
            images[place] = img_to_array(img, self.data_format)
        return images

    def _targets(self, images: Array, index_array: Indices) -> Any:
        if self.class_mode == "input":
            return images.copy()
        if self.class_mode in ("binary", "sparse"):
            return np.array([self.classes[index] for index in index_array], self.dtype)
        if self.class_mode == "categorical":
            rows = np.zeros((len(images), len(self.class_indices)), self.dtype)
            for row, index in zip(rows, index_array, strict=True):
                row[self.classes[index]] = 1
            return rows
        if self.class_mode == "multi_output":
            return [output[index_array] for output in self.labels]
        return self.labels[index_array]

    @property
    def filepaths(self) -> Sequence[str]:
        """The path of each sample."""
        raise NotImplementedError(f"{type(self).__name__} must define `filepaths`.")

    @property
    def labels(self) -> Any:
        """The label of each sample."""
        raise NotImplementedError(f"{type(self).__name__} must define `labels`.")

    @property
    def sample_weight(self) -> Array | None:
        """The weight of each sample [N], or None."""
        raise NotImplementedError(f"{type(self).__name__} must define `sample_weight`.")


def subset_share(subset: str, generator: Any) -> tuple[float, float]:
    """The (start, stop) of a subset as shares of the samples: validation comes first."""
    if subset not in ("training", "validation"):
        raise unknown("`subset`", str(subset), ["training", "validation"])
    split = float(generator._validation_split)
    return (0.0, split) if subset == "validation" else (split, 1.0)
