"""JPEG's fast path: what the header says, and ordinary files decoded by libjpeg-turbo without Pillow around it.

Both Pillow and simplejpeg carry libjpeg-turbo and use its accurate integer transform and smooth chroma upsampling,
so a file has the same pixels either way; simplejpeg skips Pillow's copies and so takes a third of the time.
What is not ordinary (four inks, arithmetic or lossless coding, 12 bits) is left to Pillow.

Shapes: H x W pixels, C channels.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

import numpy as np
import simplejpeg
from numpy.typing import NDArray

from tenfold.errors import DataError

_FRAMES = {0xC0, 0xC1, 0xC2}  # start of frame: baseline, extended sequential, progressive; all Huffman coded
_OTHER_FRAMES = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_BARE = {0x01, *range(0xD0, 0xD9)}  # markers that no length follows
SAVE_AGAIN = "save it again; training takes what is there with data.allow_truncated (--data.allow-truncated)"
"""What to do about a file that is damaged or ends too early."""
_DAMAGED = re.compile("premature end|bad Huffman code|instead of RST", re.IGNORECASE)
_XMP_ORIENTATION = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_ORIENTATION_TAG = 0x0112
_INTEGERS = {1: "B", 3: "H", 4: "I"}  # TIFF field type -> struct format


class JpegHeader(NamedTuple):
    """What stands before the first scan of an ordinary JPEG."""

    height: int
    width: int
    """Pixels as they are stored, before the orientation is applied."""
    components: int
    """1: grey; 3: colour."""
    orientation: int
    """EXIF orientation, 1 (upright) to 8."""


def read_header(content: bytes) -> JpegHeader | None:
    """The header of an ordinary JPEG; None for any other file, which Pillow then reads or refuses."""
    if content[:2] != b"\xff\xd8":
        return None
    exif, xmp, position = b"", b"", 2
    while (position := content.find(b"\xff", position)) >= 0 and position + 9 < len(content):
        marker = content[position + 1]
        if marker in _FRAMES:
            depth, height, width, components = struct.unpack_from(">BHHB", content, position + 4)
            if depth != 8 or components not in (1, 3) or height == 0 or width == 0:
                return None
            return JpegHeader(height, width, components, _orientation(exif, xmp))
        if marker in _OTHER_FRAMES or marker in (0xD9, 0xDA):
            return None
        if marker in _BARE or marker in (0x00, 0xFF):
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(content[position + 2 : position + 4], "big")
        if marker == 0xE1:
            payload = content[position + 4 : end]
            if payload.startswith(b"Exif\0\0"):
                exif += payload[6:]  # one block may be spread over several segments
            elif payload.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
                xmp = payload
        position = end
    return None


def decode_jpeg(content: bytes, colors: str, allow_truncated: bool, name: str) -> NDArray[np.uint8] | None:
    """Decode an ordinary JPEG as stored, not yet upright: uint8 [H, W, C]; `colors` is "gray", "rgb" or "bgr".

    None where libjpeg-turbo reports something that Pillow must judge: harmless irregularities, unusual sampling.
    Raises DataError where the pixels are damaged or end too early, unless allowed.
    """
    try:
        whole: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, colors)
        return whole
    except ValueError as error:
        reason = str(error)
    if allow_truncated:
        return _decode_rest(content, colors)
    if _DAMAGED.search(reason):
        reason = reason.removeprefix("Corrupt JPEG data: ")
        raise DataError(f"Cannot decode {name}: it is damaged or ends too early ({reason}); {SAVE_AGAIN}.")
    return None


def _decode_rest(content: bytes, colors: str) -> NDArray[np.uint8] | None:
    """What libjpeg-turbo makes of a damaged file, the missing rows grey; None where that is nothing at all."""
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content, colors, strict=False)
    except ValueError:
        return None
    return None if pixels.min() == pixels.max() else pixels


def _orientation(exif: bytes, xmp: bytes) -> int:
    found = _exif_orientation(exif)
    if found is None and (match := _XMP_ORIENTATION.search(xmp)):
        found = int(match[1])
    return found if found is not None and 1 <= found <= 8 else 1


def _exif_orientation(tiff: bytes) -> int | None:
    """The orientation tag in the first directory of an EXIF block (TIFF 6.0, section 2); None where there is none."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, place)
            if tag == _ORIENTATION_TAG and kind in _INTEGERS:
                return int(struct.unpack_from(order + _INTEGERS[kind], tiff, place + 8)[0])
    except struct.error:  # the block ends inside the directory: what was not found is not there
        return None
    return None
