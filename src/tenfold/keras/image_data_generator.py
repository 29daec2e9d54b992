"""`ImageDataGenerator`: random transformations and normalization of images, batch by batch.

Shapes: N images, H x W pixels, C channels; an image is [H, W, C], or [C, H, W] for "channels_first".
"""
# ruff: noqa: PLR0913 - the arguments are those of the interface

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from tenfold.augment.memory import Memory
from tenfold.augment.standardize import STD_FLOOR
from tenfold.errors import UsageError
from tenfold.keras.affine_transformations import check_image
from tenfold.keras.batches import Sampling, check_images, flipped, is_still
from tenfold.keras.dataframe_iterator import DataFrameIterator, warn_of_ignored
from tenfold.keras.directory_iterator import DirectoryIterator
from tenfold.keras.files import Array, check_data_format, check_dtype
from tenfold.keras.fitted import channel_statistics, deviation, whitening_matrix
from tenfold.keras.numpy_array_iterator import NumpyArrayIterator
from tenfold.keras.parameters import checked_brightness, checked_zoom, shift, symmetric, zoom

if TYPE_CHECKING:
    import pandas as pd

_OVERRIDES = ("apply_transform", "standardize")  # a subclass that changes one of these is asked image by image


class ImageDataGenerator:
    """Batches of images, changed at random and normalized; the arguments and their meaning are those of Keras.

    Normalization, in this order:
        preprocessing_function: called with each image after its transformation; gives an image of the same shape.
        rescale: a factor on all values; none for None or 0.
        samplewise_center, samplewise_std_normalization: mean 0 and standard deviation 1 of each image.
        featurewise_center, featurewise_std_normalization: mean 0, standard deviation 1 of each channel, after `fit`.
        zca_whitening, zca_epsilon: ZCA whitening, after `fit`.

    Transformations, drawn uniformly for each image:
        rotation_range: degrees, up to this either way.
        width_shift_range, height_shift_range: below 1 a share of the width or height, from 1 pixels; an int draws
            whole pixels below it, a list draws one of its values; either way each.
        shear_range: degrees, up to this either way.
        zoom_range: (low, high), or z for (1 - z, 1 + z); each direction by its own factor, above 1 shows more.
        horizontal_flip, vertical_flip: half of the images.
        channel_shift_range: a number up to this either way is added to all values, within the image's range.
        brightness_range: (low, high), a factor on values from 0 to 255, of images with their channels last.
        fill_mode, cval: what lies outside: "nearest", "reflect", "wrap" (scipy's, whose period is one pixel short) or
            "constant", which is `cval`.
        interpolation_order: 0 nearest, 1 bilinear, 2 to 5 splines.

    `data_format` is "channels_last", the default, or "channels_first"; `validation_split` the share, below 1, that a
    `subset` "validation" takes; `dtype` that of the batches. The top of the package says what differs from Keras 3.
    """

    def __init__(
        self,
        featurewise_center: bool = False,
        samplewise_center: bool = False,
        featurewise_std_normalization: bool = False,
        samplewise_std_normalization: bool = False,
        zca_whitening: bool = False,
        zca_epsilon: float = 1e-6,
        rotation_range: float = 0,
        width_shift_range: float | Sequence[float] = 0.0,
        height_shift_range: float | Sequence[float] = 0.0,
        brightness_range: Sequence[float] | None = None,
        shear_range: float = 0.0,
        zoom_range: float | Sequence[float] = 0.0,
        channel_shift_range: float = 0.0,
        fill_mode: str = "nearest",
        cval: float = 0.0,
        horizontal_flip: bool = False,
        vertical_flip: bool = False,
        rescale: float | None = None,
        preprocessing_function: Callable[[Array], Array] | None = None,
        data_format: str | None = None,
        validation_split: float = 0.0,
        interpolation_order: int = 1,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.featurewise_center = featurewise_center
        self.samplewise_center = samplewise_center
        self.featurewise_std_normalization = featurewise_std_normalization
        self.samplewise_std_normalization = samplewise_std_normalization
        self.zca_whitening = zca_whitening
        self.zca_epsilon = zca_epsilon
        self.rotation_range = rotation_range
        self.width_shift_range = width_shift_range
        self.height_shift_range = height_shift_range
        self.brightness_range = checked_brightness(brightness_range)
        self.shear_range = shear_range
        self.zoom_range = checked_zoom(zoom_range)
        self.channel_shift_range = channel_shift_range
        self.fill_mode = fill_mode
        self.cval = cval
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.rescale = rescale
        self.preprocessing_function = preprocessing_function
        self.data_format = check_data_format(data_format)
        self.interpolation_order = interpolation_order
        self.dtype = check_dtype(dtype)
        last = self.data_format == "channels_last"
        self.row_axis, self.col_axis, self.channel_axis = (1, 2, 3) if last else (2, 3, 1)
        if validation_split and not 0 < validation_split < 1:
            raise UsageError(f"`validation_split` must be strictly between 0 and 1, not {validation_split}.")
        self._validation_split = validation_split
        self.mean: Array | None = None
        self.std: Array | None = None
        self.zca_whitening_matrix: Array | None = None
        self._settle()

    def _settle(self) -> None:
        """What one normalization implies for another, with a warning."""
        if self.zca_whitening:
            self._override("zca_whitening", "featurewise_center", True)
            self._override("zca_whitening", "featurewise_std_normalization", False)
        if self.featurewise_std_normalization:
            self._override("featurewise_std_normalization", "featurewise_center", True)
        if self.samplewise_std_normalization:
            self._override("samplewise_std_normalization", "samplewise_center", True)

    def _override(self, by: str, name: str, value: bool) -> None:
        if bool(getattr(self, name)) != value:
            setattr(self, name, value)
            warnings.warn(f"`{by}` sets `{name}` to {value}.", stacklevel=4)

    def flow(
        self,
        x: Any,
        y: Any = None,
        batch_size: int = 32,
        shuffle: bool = True,
        sample_weight: Any = None,
        seed: int | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        ignore_class_split: bool = False,
        subset: str | None = None,
    ) -> NumpyArrayIterator:
        """Batches of arrays: images `x` [N, H, W, C] (or images and further inputs), labels `y` [N, ...] or None."""
        if isinstance(ignore_class_split, str):  # the original, without it, has `subset` in its place
            ignore_class_split, subset = False, ignore_class_split
        return NumpyArrayIterator(
            x,
            y,
            self,
            batch_size=batch_size,
            shuffle=shuffle,
            sample_weight=sample_weight,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            ignore_class_split=ignore_class_split,
            subset=subset,
            dtype=self.dtype,
        )

    def flow_from_directory(
        self,
        directory: str | Path,
        target_size: Sequence[int] = (256, 256),
        color_mode: str = "rgb",
        classes: Sequence[str] | None = None,
        class_mode: str | None = "categorical",
        batch_size: int = 32,
        shuffle: bool = True,
        seed: int | None = None,
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        follow_links: bool = False,
        subset: str | None = None,
        interpolation: str = "nearest",
        keep_aspect_ratio: bool = False,
    ) -> DirectoryIterator:
        """Batches of image files in a folder per class, resized to `target_size` (height, width)."""
        return DirectoryIterator(
            directory,
            self,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            follow_links=follow_links,
            subset=subset,
            interpolation=interpolation,
            keep_aspect_ratio=keep_aspect_ratio,
            dtype=self.dtype,
        )

    def flow_from_dataframe(
        self,
        dataframe: pd.DataFrame,
        directory: str | Path | None = None,
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
        save_to_dir: str | Path | None = None,
        save_prefix: str = "",
        save_format: str = "png",
        subset: str | None = None,
        interpolation: str = "nearest",
        validate_filenames: bool = True,
        **kwargs: Any,
    ) -> DataFrameIterator:
        """Batches of image files that a table names, resized to `target_size` (height, width)."""
        warn_of_ignored(kwargs)
        if class_mode == "other":
            warnings.warn('class_mode="other" is deprecated, use "raw".', DeprecationWarning, stacklevel=2)
            class_mode = "raw"
        return DataFrameIterator(
            dataframe,
            directory,
            self,
            x_col=x_col,
            y_col=y_col,
            weight_col=weight_col,
            target_size=target_size,
            color_mode=color_mode,
            classes=classes,
            class_mode=class_mode,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            data_format=self.data_format,
            save_to_dir=save_to_dir,
            save_prefix=save_prefix,
            save_format=save_format,
            subset=subset,
            interpolation=interpolation,
            dtype=self.dtype,
            validate_filenames=validate_filenames,
        )

    def standardize(self, x: Array) -> Array:
        """An image, or a batch of images taken as one sample, normalized; `x` is changed in place where it can be."""
        if self.preprocessing_function:
            x = self.preprocessing_function(x)
        return self._standardize_features(self._standardize_sample(x))

    def _standardize_sample(self, x: Array) -> Array:
        if self.rescale:
            x *= self.rescale
        if self.samplewise_center:
            x -= np.mean(x)
        if self.samplewise_std_normalization:
            x /= deviation(x) + STD_FLOOR
        return x

    def _standardize_features(self, x: Array) -> Array:
        """By what `fit` found; `x` is one image or a batch."""
        if self.featurewise_center and self._is_fit("featurewise_center", self.mean):
            x -= self.mean
        if self.featurewise_std_normalization and self._is_fit("featurewise_std_normalization", self.std):
            assert self.std is not None
            x /= self.std + STD_FLOOR
        if self.zca_whitening and self._is_fit("zca_whitening", self.zca_whitening_matrix):
            assert self.zca_whitening_matrix is not None
            flat = x.reshape(-1, math.prod(x.shape[-3:]))
            x = (flat @ self.zca_whitening_matrix).reshape(x.shape)
        return x

    def _is_fit(self, name: str, value: Array | None) -> bool:
        if value is None:
            warnings.warn(f"`{name}` does nothing before `fit` was called with images.", stacklevel=4)
        return value is not None

    def get_random_transform(self, img_shape: Sequence[int], seed: int | None = None) -> dict[str, Any]:
        """The parameters of one image of `img_shape`, drawn from NumPy's global state (after seeding it, with `seed`).

        "theta", "shear" in degrees; "tx", "ty" in pixels along columns and rows; "zx", "zy" factors;
        "flip_horizontal", "flip_vertical"; "channel_shift_intensity" and "brightness", a number or None.
        """
        if seed is not None:
            np.random.seed(seed)
        theta = symmetric(self.rotation_range, "rotation_range")
        down = shift(self.height_shift_range, img_shape[self.row_axis - 1], "height_shift_range")
        right = shift(self.width_shift_range, img_shape[self.col_axis - 1], "width_shift_range")
        shear = symmetric(self.shear_range, "shear_range")
        zx, zy = zoom(*self.zoom_range)
        mirror, overturn = np.random.random(), np.random.random()
        lift = symmetric(self.channel_shift_range, "channel_shift_range") if self.channel_shift_range else None
        return {
            "theta": theta,
            "tx": right,
            "ty": down,
            "shear": shear,
            "zx": zx,
            "zy": zy,
            "flip_horizontal": bool(mirror < 0.5 and self.horizontal_flip),
            "flip_vertical": bool(overturn < 0.5 and self.vertical_flip),
            "channel_shift_intensity": lift,
            "brightness": np.random.uniform(*self.brightness_range) if self.brightness_range else None,
        }

    def apply_transform(self, x: Array, transform_parameters: Mapping[str, Any]) -> Array:
        """An image changed by parameters as `get_random_transform` gives them: of the same shape.

        It is `x` itself where nothing changes, and a view of it where it is only flipped. It has the dtype of `x`, but
        after a channel shift that which NumPy gives the sum, and after a change of brightness float32 (float64 where
        values of `x` lie outside 0 to 255).
        """
        check_image(x)
        sampling = self._sampling(x.dtype)
        if is_still(transform_parameters):
            moved = flipped(x, transform_parameters, self.row_axis - 1, self.col_axis - 1)
        else:
            moved = sampling.move(x[None], [transform_parameters])[0]
        return sampling.recolor(moved, transform_parameters)

    def random_transform(self, x: Array, seed: int | None = None) -> Array:
        """An image changed at random: `apply_transform` with parameters of `get_random_transform`."""
        return self.apply_transform(x, self.get_random_transform(x.shape, seed))

    @property
    def takes_batches(self) -> bool:
        """Whether `transform_batch` does what the methods would do image by image."""
        if self.preprocessing_function is not None:
            return False
        methods = ((getattr(self, name), getattr(ImageDataGenerator, name)) for name in _OVERRIDES)
        return all(getattr(method, "__func__", None) is original for method, original in methods)

    def transform_batch(self, images: Array, dtype: DTypeLike | None = None, memory: Memory | None = None) -> Array:
        """Images [N, H, W, C] or [N, C, H, W], each changed at random and normalized: a new array of `dtype`.

        That is the generator's unless given. Bytes are taken for the same numbers in `dtype`, and are faster. With
        `memory` the result lies in there, where it is float32.
        """
        dtype = self.dtype if dtype is None else dtype
        parameters = [self.get_random_transform(images.shape[1:]) for _ in images]
        changed = self._sampling(dtype, memory).transform(images, parameters)
        for image in changed:
            self._standardize_sample(image)
        return self._standardize_features(changed).astype(dtype, copy=False)

    def _sampling(self, dtype: DTypeLike, memory: Memory | None = None) -> Sampling:
        first = self.data_format == "channels_first"
        return Sampling(first, self.fill_mode, self.cval, self.interpolation_order, np.dtype(dtype), memory)

    def fit(self, x: ArrayLike, augment: bool = False, rounds: int = 1, seed: int | None = None) -> None:
        """Learn mean, standard deviation and whitening from images `x` [N, H, W, C] or [N, C, H, W], after `rescale`.

        With `augment` they are learned from `rounds` random transformations of each image instead.
        """
        images = self._samples(x)
        if seed is not None:
            np.random.seed(seed)
        if augment:
            drawn = np.empty((rounds * len(images), *images.shape[1:]), images.dtype)
            for place in range(len(drawn)):
                drawn[place] = self.random_transform(images[place % len(images)].copy())
            images = drawn
        if self.featurewise_center or self.featurewise_std_normalization:
            statistics = channel_statistics(images, self.channel_axis)
            self.mean = statistics.mean if self.featurewise_center else self.mean
            self.std = statistics.std if self.featurewise_std_normalization else self.std
        if self.zca_whitening:
            self.zca_whitening_matrix = whitening_matrix(images, self.zca_epsilon, self.channel_axis)

    @property
    def principal_components(self) -> Array | None:
        """The original's name of `zca_whitening_matrix`."""
        return self.zca_whitening_matrix

    @principal_components.setter
    def principal_components(self, matrix: Array | None) -> None:
        self.zca_whitening_matrix = matrix

    def _samples(self, x: ArrayLike) -> Array:
        """What `fit` was given, checked and rescaled."""
        images = np.asarray(x, dtype=self.dtype)
        check_images(images, self.data_format)
        return np.multiply(images, self.rescale, dtype=images.dtype) if self.rescale else images
