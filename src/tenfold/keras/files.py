"""Image files as Pillow images and arrays, and which files of a folder are images.

Shapes: H x W pixels, C channels; "channels_last" is [H, W, C], "channels_first" is [C, H, W].
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from PIL import Image

from tenfold.errors import UsageError, unknown

Array = NDArray[Any]

WHITE_LIST_FORMATS = ("png", "jpg", "jpeg", "bmp", "ppm", "tif", "tiff")
COLOR_MODES = {"rgb": 3, "rgba": 4, "grayscale": 1}
_GREY_MODES = ("L", "I;16", "I")  # read as they are; every other mode becomes 8-bit grey
_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "hamming": Image.Resampling.HAMMING,
    "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS,
}


def check_data_format(data_format: str | None) -> str:
    """`data_format`, or "channels_last" for None; a UsageError for anything else."""
    if data_format is None:
        return "channels_last"
    if data_format not in ("channels_first", "channels_last"):
        raise unknown("`data_format`", str(data_format), ["channels_first", "channels_last"])
    return data_format


def array_to_img(
    x: ArrayLike, data_format: str | None = "channels_last", scale: bool = True, dtype: DTypeLike = "float32"
) -> Image.Image:
    """An array of one image, [H, W, C] or [C, H, W] with 1, 3 or 4 channels, as a Pillow image.

    With `scale` its values are moved and stretched to 0 to 255, else they are cut to whole numbers as they are. One
    channel with values over 255 becomes a 32-bit grey image (mode "I").
    """
    data_format = check_data_format(data_format)
    pixels = np.asarray(x, dtype="float32" if dtype is None else dtype)
    if pixels.ndim != 3:
        raise UsageError(f"`x` must have rank 3, one image, not the shape {pixels.shape}.")
    if data_format == "channels_first":
        pixels = pixels.transpose(1, 2, 0)
    channels = pixels.shape[2]
    if channels not in COLOR_MODES.values():
        raise UsageError(f"`x` must have 1, 3 or 4 channels, not {channels} (data_format={data_format!r}).")
    if scale:
        pixels = stretched(pixels)
    if channels > 1:
        return Image.fromarray(pixels.astype(np.uint8))
    return Image.fromarray(pixels[:, :, 0].astype(np.int32 if pixels.max() > 255 else np.uint8))


def stretched(pixels: Array) -> Array:
    """The values moved and scaled to 0 to 255; all 0 where they are all the same."""
    pixels = pixels - pixels.min()
    top = pixels.max()
    return (pixels / top if top != 0 else pixels) * 255


def img_to_array(
    img: Image.Image | ArrayLike, data_format: str | None = "channels_last", dtype: DTypeLike = "float32"
) -> Array:
    """A Pillow image (or an array, [H, W] or of three axes) as an array [H, W, C] or [C, H, W]."""
    data_format = check_data_format(data_format)
    pixels = np.asarray(img, dtype="float32" if dtype is None else dtype)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif pixels.ndim != 3:
        raise UsageError(f"`img` must have two or three axes, not the shape {pixels.shape}.")
    return pixels.transpose(2, 0, 1) if data_format == "channels_first" else pixels


def save_img(
    path: str | Path | io.BytesIO,
    x: ArrayLike,
    data_format: str | None = "channels_last",
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array as an image file; `file_format` is otherwise taken from the name, `kwargs` go to Pillow."""
    if file_format is None and isinstance(path, str | os.PathLike):
        file_format = Path(path).suffix[1:]
    file_format = "jpeg" if (file_format or "").lower() == "jpg" else file_format
    img = array_to_img(x, data_format, scale)
    if img.mode == "RGBA" and (file_format or "").lower() == "jpeg":
        warnings.warn("JPEG has no alpha channel: the image is written as RGB.", stacklevel=2)
        img = img.convert("RGB")
    img.save(path, format=file_format or None, **kwargs)


def load_img(
    path: str | bytes | os.PathLike[str] | io.BytesIO,
    grayscale: bool = False,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image.Image:
    """Read an image file; it is closed again before this returns.

    `color_mode` is "rgb", "rgba" or "grayscale" (8, 16 and 32 bits stay what they are); `target_size` is (height,
    width); with `keep_aspect_ratio` the middle of the target's shape is cut out before resizing.
    """
    if isinstance(grayscale, str):  # Keras 3 has `color_mode` in this place
        raise UsageError(f"`grayscale` must be True or False, not {grayscale!r}; name color_mode={grayscale!r}.")
    if grayscale is True:
        warnings.warn('`grayscale` is deprecated, use color_mode="grayscale".', stacklevel=2)
        color_mode = "grayscale"
    img = _in_color_mode(_opened(path), color_mode)
    if target_size is None or img.size == (target_size[1], target_size[0]):
        return img
    if interpolation not in _RESAMPLING:
        raise unknown("`interpolation`", str(interpolation), _RESAMPLING)
    box = _middle(img.size, target_size) if keep_aspect_ratio else None
    return img.resize((target_size[1], target_size[0]), _RESAMPLING[interpolation], box=box)


def _opened(path: str | bytes | os.PathLike[str] | io.BytesIO) -> Image.Image:
    if isinstance(path, io.BytesIO):
        return Image.open(path)
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(f"`path` must be a path or io.BytesIO, not {type(path).__name__}.")
    return Image.open(io.BytesIO(Path(os.fsdecode(path)).read_bytes()))


def _in_color_mode(img: Image.Image, color_mode: str) -> Image.Image:
    if color_mode not in COLOR_MODES:
        raise unknown("`color_mode`", str(color_mode), COLOR_MODES)
    if color_mode == "grayscale":
        return img if img.mode in _GREY_MODES else img.convert("L")
    return img if img.mode == color_mode.upper() else img.convert(color_mode.upper())


def _middle(size: tuple[int, int], target_size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest box of the target's (height, width) shape in the middle of an image of `size` (width, height)."""
    width, height = size
    crop_height = min(height, width * target_size[0] // target_size[1])
    crop_width = min(width, height * target_size[1] // target_size[0])
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height


def validate_filename(filename: str, white_list_formats: str | tuple[str, ...]) -> bool:
    """Whether `filename` is a file and ends, in any case, in one of the formats."""
    return filename.lower().endswith(white_list_formats) and Path(filename).is_file()


def list_pictures(directory: str | Path, ext: str | Sequence[str] = WHITE_LIST_FORMATS) -> list[str]:
    """The paths of all images in a folder and its subfolders, by extension (one or several, without the dot)."""
    endings = tuple(f".{name}" for name in ([ext] if isinstance(ext, str) else ext))
    return [
        os.path.join(root, name)  # noqa: PTH118
        for root, _, names in os.walk(directory)
        for name in names
        if name.lower().endswith(endings)
    ]


def valid_files(directory: str, formats: tuple[str, ...], follow_links: bool) -> Iterator[str]:
    """Paths of a folder's images, relative to it, subfolders included, sorted by folder and then by name."""
    for root, _, names in sorted(os.walk(directory, followlinks=follow_links)):
        for name in sorted(names):
            if name.lower().endswith(".tiff"):
                warnings.warn('".tiff" files with several bands come out distorted; check the images.', stacklevel=2)
            if name.lower().endswith(formats):
                yield os.path.relpath(os.path.join(root, name), directory)  # noqa: PTH118
