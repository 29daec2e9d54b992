"""Decode: the bytes of an image file, or an array, -> upright uint8 pixels.

Ordinary JPEG goes through `jpeg.py`, every other format through Pillow; the pixels are the same either way. Rules:

- EXIF orientation is applied once. Of several frames or pages the first one counts. Color profiles are not applied.
- 16 bits become 8 by keeping the high byte, so 0 to 65535 is always the full range, and an 8-bit value that was
  stretched to 16 bits comes back unchanged; a PGM with another largest value is stretched first. 32-bit and
  floating-point pixels have no stated range and are refused.
- What is transparent is laid over a background of one grey level. (Pillow does not see the one transparent color
  that a PNG with 16-bit color or 2- or 4-bit grey may name.)
- Grey is ITU-R 601 luma of red, green and blue, as Pillow computes it: (19595 R + 38470 G + 7471 B + 32768) >> 16.
- JPEG's reduced-size decoding, which an exported graph cannot follow, is never used.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from tenfold.environment import install_command
from tenfold.errors import DataError, unknown
from tenfold.images.content import Content
from tenfold.images.jpeg import SAVE_AGAIN, JpegHeader, decode_jpeg, read_header
from tenfold.images.pixels import CHANNELS, Channels, flatten, pixels_of, turn_upright
from tenfold.recipe import check_range

MADE = 1
"""To be counted up when the same bytes come to be decoded to other pixels, so that nothing cached before is used."""

MAX_PIXELS = 178_956_970 // 2
"""Most pixels of an image, the limit at which Pillow begins to warn: a quarter of a GiB of 24-bit pixels."""

LARGE = 2**25
"""Pixels from which on images are decoded one at a time: with alpha one of MAX_PIXELS takes nearly 1 GB meanwhile."""
_ONE_AT_A_TIME = Lock()

# Formats that describe pixels and nothing else: EPS, for one, would start an interpreter.
# The first five come with Pillow's core; only for the others it loads all its plugins.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "WEBP", "TIFF", "JPEG2000", "AVIF", "ICO", "TGA")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_GREY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "F"}
_PNG_METADATA = (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp")


def decode_image(
    content: Content,
    *,
    channels: Channels,
    background: int = 255,
    allow_truncated: bool = False,
    name: str = "the image",
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """Decode a file's bytes, or convert an array, to upright pixels: uint8 [H, W, C].

    `content` is the whole file, or uint8 [H, W], [H, W, 1], [H, W, 3] (RGB) or [H, W, 4] (RGBA). `channels` is what
    comes out: grey has C = 1, rgb and bgr C = 3. `background` is the grey level, 0 to 255, under what is transparent.
    `allow_truncated` takes a file that ends too early: what is missing is grey in an ordinary JPEG and zero elsewhere;
    a file of which nothing can be read is refused all the same. Safe in several threads; the decoders hold no lock.

    Raises DataError, which names the image by `name`, for what is no image, is damaged or truncated, has pixels
    without a stated range, or has more than `max_pixels` pixels (told from the header, before memory is taken; above
    twice MAX_PIXELS only JPEG). Raises UsageError for other channels or background.
    """
    if channels not in CHANNELS:
        raise unknown("channels of decode_image", channels, CHANNELS)
    check_range("background of decode_image", background, 0, 255)
    if isinstance(content, np.ndarray):
        return _convert_array(content, channels, background, name)
    header = read_header(content)
    if header is not None:
        _check_pixels(header.height * header.width, max_pixels, name)
        with _turn(header.height * header.width):
            pixels = _from_jpeg(content, header, channels, allow_truncated, name)
        if pixels is not None:
            return pixels
    image = _open(content, name, max_pixels)
    with _turn(image.width * image.height):
        flat = _load(image, background, allow_truncated, name)
        orientation = _orientation(image, content)
        del image  # what is transparent was copied, and is as large again
        return turn_upright(pixels_of(flat, channels), orientation)


def _turn(pixels: int) -> AbstractContextManager[object]:
    """The turn of an image of so many pixels: large ones are decoded one at a time, however many threads there are."""
    return _ONE_AT_A_TIME if pixels > LARGE else nullcontext()


def _from_jpeg(
    content: bytes, header: JpegHeader, channels: Channels, allow_truncated: bool, name: str
) -> NDArray[np.uint8] | None:
    grey = channels == "grey" and header.components == 1
    colors = "gray" if grey else "rgb" if channels == "grey" else channels
    pixels = decode_jpeg(content, colors, allow_truncated, name)
    if pixels is None:
        return None
    if channels == "grey" and not grey:
        pixels = pixels_of(Image.fromarray(pixels), channels)
    return turn_upright(pixels, header.orientation)


def image_size(content: Content, name: str = "the image") -> tuple[int, int]:
    """Height and width of the upright image, from its header alone. Raises DataError where that cannot be read."""
    if isinstance(content, np.ndarray):
        return _check_array(content, name).shape[:2]
    header = read_header(content)
    if header is not None:
        height, width, orientation = header.height, header.width, header.orientation
    else:
        image, orientation = open_image(content, name)
        width, height = image.size
    return (width, height) if orientation >= 5 else (height, width)


def open_image(content: bytes, name: str = "the image") -> tuple[Image.Image, int]:
    """The image with its header read and nothing decoded, and its EXIF orientation, 1 to 8; raises as `image_size`."""
    image = _open(content, name, MAX_PIXELS)
    return image, _orientation(image, content)


def is_grey(content: Content, name: str = "the image") -> bool:
    """Whether the image is stored as grey: one channel (with or without alpha), or a palette of greys only.

    The header tells; a color file whose pixels all happen to be grey counts as color, since only decoding every image
    could tell otherwise, and one such file must not decide how a network is built. Raises DataError as `image_size`.
    """
    if isinstance(content, np.ndarray):
        return bool(_check_array(content, name).shape[2] == 1)
    header = read_header(content)
    if header is not None:
        return header.components == 1
    image = _open(content, name, MAX_PIXELS)
    if image.mode in ("P", "PA"):
        palette = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    if image.format == "PNG":
        return not content[25] & 2  # the color type; Pillow makes RGBA of grey with alpha of 16 bits
    return image.mode in _GREY_MODES


def _check_array(array: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """The array as [H, W, C]."""
    pixels = array[..., None] if array.ndim == 2 else array
    if array.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or array.size == 0:
        raise DataError(
            f"Cannot use {name}: an array must be uint8 [H, W] or [H, W, C] with C 1, 3 or 4 and at least one pixel, "
            f"not {array.dtype} {list(array.shape)}."
        )
    return pixels


def _convert_array(array: NDArray[np.uint8], channels: Channels, background: int, name: str) -> NDArray[np.uint8]:
    pixels = _check_array(array, name)
    depth = pixels.shape[2]
    if depth == CHANNELS[channels] and channels != "bgr":
        return pixels
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if depth == 1 else pixels))
    return pixels_of(flatten(image, background, name), channels)


def _open(content: bytes, name: str, max_pixels: int) -> Image.Image:
    """Read the header and check the size. Nothing is decoded yet."""
    too_many: tuple[type[Exception], ...] = (Image.DecompressionBombError, Image.DecompressionBombWarning)
    try:
        image = _open_heif(content, name) if _is_heif(content) else Image.open(io.BytesIO(content), formats=_FORMATS)
    except DataError:
        raise
    except too_many:
        raise _too_large(max_pixels, name) from None
    except UnidentifiedImageError:
        raise DataError(f"Cannot decode {name}: it is no image of a known format, or its header is damaged.") from None
    except Exception as error:  # Pillow's readers let through whatever goes wrong in their parsing
        raise _undecodable(error, name) from error
    _check_pixels(image.width * image.height, max_pixels, name)
    return image


def _load(image: Image.Image, background: int, allow_truncated: bool, name: str) -> Image.Image:
    """Decode the pixels; gives the flat image, mode L or RGB, not yet upright."""
    try:
        _split_wide(image)
        try:
            image.load()
        except OSError as error:
            if not (allow_truncated and _is_truncated(error)):
                raise
            _keep_rows(image, name)
        return flatten(image, background, name)
    except DataError:
        raise
    except Exception as error:  # as in `_open`
        raise _undecodable(error, name) from error


def _keep_rows(image: Image.Image, name: str) -> None:
    """Settle for the rows that Pillow could read of a truncated file.

    Pillow's own switch for this, LOAD_TRUNCATED_IMAGES, holds for all threads at once. Without tiles Pillow asks for
    no more data and keeps what it has.
    """
    if isinstance(image, ImageFile.ImageFile):
        image.tile = []
        image.load()
    if image.getbbox() is None:
        raise DataError(f"Cannot decode {name}: it ends before its first row of pixels; save it again.")


def _split_wide(image: Image.Image) -> None:
    """Have the high bytes of a 16-bit PPM taken as they lie there; Pillow would round value by value, in Python."""
    if image.format == "PPM" and isinstance(image, ImageFile.ImageFile):
        tile = image.tile[0]
        if tile.codec_name == "ppm" and tile.args == ("RGB", 65535):
            image.tile = [tile._replace(codec_name="raw", args="RGB;16B")]


def _open_heif(content: bytes, name: str) -> Image.Image:
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise DataError(
            f"Cannot decode {name}: HEIC needs the optional package pillow-heif: {install_command('pillow-heif')}"
        ) from None
    open_file: Callable[[io.BytesIO], Image.Image] = HeifImageFile
    return open_file(io.BytesIO(content))


def _is_heif(content: bytes) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in _HEIF_BRANDS and b"avif" not in content[8:64]


def _is_truncated(error: Exception) -> bool:
    return "truncated" in str(error).lower()


def _check_pixels(count: int, max_pixels: int, name: str) -> None:
    if count > max_pixels:
        raise _too_large(max_pixels, name)


def _too_large(max_pixels: int, name: str) -> DataError:
    return DataError(
        f"Cannot decode {name}: its header claims more than the {max_pixels:,} pixels that are allowed; scale it down."
    )


def _undecodable(error: Exception, name: str) -> DataError:
    if _is_truncated(error):
        advice = f"it is damaged or ends too early; {SAVE_AGAIN}"
    else:
        advice = f"it is damaged or unusual ({str(error).rstrip('.') or type(error).__name__}); save it again"
    return DataError(f"Cannot decode {name}: {advice}.")


def _orientation(image: Image.Image, content: bytes) -> int:
    """EXIF orientation, 1 to 8, of an opened image; only a PNG with such metadata is decoded for it."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFF itself
    if image.format == "PNG" and not any(key in content for key in _PNG_METADATA):
        return 1  # without this, Pillow decodes the image in search of metadata behind the pixels
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as in `_open`; no viewer turns an image whose metadata cannot be read
        return 1
    return found if found in range(1, 9) else 1
