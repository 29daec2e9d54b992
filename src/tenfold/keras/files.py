"""Image files as Pillow images and arrays, and which files of a folder are images; `tenfold.keras.utils` too.

Shapes: H x W pixels, C channels; "channels_last" is [H, W, C], "channels_first" is [C, H, W].
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray
from PIL import Image

from tenfold.errors import UsageError, unknown

Array = NDArray[Any]
Source = str | bytes | os.PathLike[str] | io.BytesIO

pil_image: Any = Image  # the name that the original has for it; None there where Pillow is missing

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
    """`data_format`, or the default for None; a UsageError for anything else."""
    if data_format is None:
        return _default("image_data_format", "channels_last")
    if data_format not in ("channels_first", "channels_last"):
        raise unknown("`data_format`", str(data_format), ["channels_first", "channels_last"])
    return data_format


def check_dtype(dtype: DTypeLike | None) -> DTypeLike:
    """`dtype`, or the default for None."""
    return _default("floatx", "float32") if dtype is None else dtype


def _default(setting: str, without: str) -> str:
    """What Keras is set to, where the program has imported it (it is not imported here), else `without`."""
    ask = getattr(getattr(sys.modules.get("keras"), "config", None), setting, None)
    return without if ask is None else str(ask())


def array_to_img(
    x: ArrayLike, data_format: str | None = None, scale: bool = True, dtype: DTypeLike | None = None
) -> Image.Image:
    """An array of one image, [H, W, C] or [C, H, W] with 1, 3 or 4 channels, as a Pillow image.

    With `scale` its values are moved and stretched to 0 to 255, else they are cut to whole numbers as they are. One
    channel with values over 255 becomes a 32-bit grey image (mode "I").
    """
    _check_pillow("array_to_img")
    data_format = check_data_format(data_format)
    pixels = np.asarray(x, dtype=check_dtype(dtype))
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


def img_to_array(img: Image.Image | ArrayLike, data_format: str | None = None, dtype: DTypeLike | None = None) -> Array:
    """A Pillow image (or an array, [H, W] or of three axes) as an array [H, W, C] or [C, H, W]."""
    data_format = check_data_format(data_format)
    pixels = np.asarray(img, dtype=check_dtype(dtype))
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    elif pixels.ndim != 3:
        raise UsageError(f"`img` must have two or three axes, not the shape {pixels.shape}.")
    return pixels.transpose(2, 0, 1) if data_format == "channels_first" else pixels


def save_img(
    path: str | Path | io.BytesIO,
    x: ArrayLike,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array as an image file; `kwargs` go to Pillow.

    `file_format` is Pillow's name of a format or the ending of its files ("jpg"); without it the path's ending tells,
    and one that Pillow does not know is its ValueError.
    """
    img = array_to_img(x, data_format, scale)
    ending = Path(path).suffix[1:] if file_format is None and isinstance(path, str | os.PathLike) else file_format or ""
    written = pil_image.registered_extensions().get(f".{ending.lower()}", file_format)
    if img.mode == "RGBA" and (written or "").lower() == "jpeg":
        warnings.warn("JPEG has no alpha channel: the image is written as RGB.", stacklevel=2)
        img = img.convert("RGB")
    img.save(path, format=written, **kwargs)


@overload
def load_img(
    path: Source,
    grayscale: bool = False,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image.Image: ...


@overload
def load_img(
    path: Source,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Image.Image: ...


def load_img(path: Source, *args: Any, **kwargs: Any) -> Image.Image:
    """Read an image file; it is closed again before this returns.

    `color_mode` is "rgb", "rgba" or "grayscale" (8, 16 and 32 bits stay what they are); `target_size` is (height,
    width); with `keep_aspect_ratio` the middle of the target's shape is cut out before resizing. `grayscale` is
    deprecated. Arguments without a name come in the order of Keras 3 where the first of them is a text, a color mode,
    and else in that of the original, which has `grayscale` before it.
    """
    order = _ARGUMENTS if args and isinstance(args[0], str) else ("grayscale", *_ARGUMENTS)
    if len(args) > len(order):
        raise TypeError(f"load_img takes `path` and up to {len(order)} more arguments, not {len(args)}.")
    return _load(path, **dict(zip(order, args, strict=False)), **kwargs)


_ARGUMENTS = ("color_mode", "target_size", "interpolation", "keep_aspect_ratio")


def _load(
    path: Source,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
    grayscale: bool = False,
) -> Image.Image:
    if grayscale is True:
        warnings.warn('`grayscale` is deprecated, use color_mode="grayscale".', stacklevel=3)
        color_mode = "grayscale"
    _check_pillow("load_img")
    img = _in_color_mode(_opened(path), color_mode)
    if target_size is None or img.size == (target_size[1], target_size[0]):
        return img
    if interpolation not in _RESAMPLING:
        raise unknown("`interpolation`", str(interpolation), _RESAMPLING)
    box = _middle(img.size, target_size) if keep_aspect_ratio else None
    return img.resize((target_size[1], target_size[0]), _RESAMPLING[interpolation], box=box)


def _check_pillow(what: str) -> None:
    if pil_image is None:
        raise ImportError(f"{what} needs Pillow; install it.")


def _opened(path: Source) -> Image.Image:
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


def get_extension(filename: str | Path) -> str:
    """The ending of a file's name, in small letters and without the dot."""
    return Path(filename).suffix[1:].lower()


def validate_filename(filename: str, white_list_formats: str | tuple[str, ...]) -> bool:
    """Whether `filename` is a file and ends, in any case, in one of the formats."""
    return filename.lower().endswith(white_list_formats) and Path(filename).is_file()


def list_pictures(directory: str | Path, ext: str | Sequence[str] = WHITE_LIST_FORMATS) -> list[str]:
    """The paths of all images in a folder and its subfolders, by extension without the dot.

    Several of them are a sequence, or a text with bars between them ("jpg|png"), as in early releases.
    """
    endings = tuple(f".{name}" for name in (ext.split("|") if isinstance(ext, str) else ext))
    return [
        os.path.join(root, name)  # noqa: PTH118
        for root, _, names in os.walk(directory)
        for name in names
        if name.lower().endswith(endings)
    ]


def _iter_valid_files(
    directory: str | Path, white_list_formats: tuple[str, ...], follow_links: bool
) -> Iterator[tuple[str, str]]:
    """Folder and name of a folder's images, subfolders included, sorted by folder and then by name."""
    for root, _, names in sorted(os.walk(directory, followlinks=follow_links)):
        for name in sorted(names):
            if name.lower().endswith(".tiff"):
                warnings.warn('".tiff" files with several bands come out distorted; check the images.', stacklevel=2)
            if name.lower().endswith(tuple(white_list_formats)):
                yield root, name


def _list_valid_filenames_in_directory(
    directory: str | Path,
    white_list_formats: tuple[str, ...],
    split: tuple[float, float] | None,
    class_indices: Mapping[str, int],
    follow_links: bool,
) -> tuple[list[int], list[str]]:
    """The class of each image of a class's folder, and its path from the folder above; of `split` only that share."""
    found = list(_iter_valid_files(directory, white_list_formats, follow_links))
    if split:
        start, stop = (int(share * len(found)) for share in split)
        found = found[start:stop]
    name = os.path.basename(directory)  # noqa: PTH119 - str in, str out
    paths = [os.path.relpath(os.path.join(root, file), directory) for root, file in found]  # noqa: PTH118
    return [class_indices[name]] * len(found), [os.path.join(name, path) for path in paths]  # noqa: PTH118
