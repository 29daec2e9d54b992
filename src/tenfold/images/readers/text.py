"""Text files: UTF-8, or UTF-16 where its byte order mark says so, as Windows' programs write it."""

from __future__ import annotations

from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from pathlib import Path

from tenfold.errors import DataError
from tenfold.images.content import read_bytes

MARKS = (BOM_UTF16_LE, BOM_UTF16_BE)
"""What a file in UTF-16 begins with."""

_CUT = ("unexpected end of data", "truncated data")  # what Python calls a last letter that is not whole


def encoding(start: bytes) -> str:
    """What a text file that begins so is decoded with; the byte order mark is no part of the text."""
    return "utf-16" if start.startswith(MARKS) else "utf-8-sig"


def decoded(path: Path, content: bytes) -> str:
    """The text of a file with this content. Raises DataError, with the line, where it is none."""
    try:
        return content.decode(encoding(content))
    except UnicodeDecodeError as error:
        before = _with_newlines(error.object[: error.start].decode(error.encoding, "replace")).count("\n")
        place = f"byte 0x{error.object[error.start]:02x} in line {before + 1}"
        name = "UTF-16" if content.startswith(MARKS) else "UTF-8"
        if error.reason in _CUT:
            raise DataError(
                f"{path} is not {name} text, or ends too early ({place}); save it as UTF-8, or get it again."
            ) from None
        raise DataError(f"{path} is not {name} text ({place}); save it as UTF-8.") from None


def read_text(path: Path) -> str:
    r"""A text file whose lines end in \n, however it ends them itself. Raises DataError where it is no text."""
    return _with_newlines(decoded(path, read_bytes(path)))


def read_start(path: Path, size: int) -> str:
    """The first `size` bytes of a file as `read_text` has them; what cannot be decoded is replaced.

    Raises OSError where the file cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(size)
    return _with_newlines(start.decode(encoding(start), "replace"))


def no_text(path: Path) -> str:
    """Why a file is no text, or cannot be read; empty where it is."""
    try:
        decoded(path, path.read_bytes())
    except (OSError, DataError) as error:
        return str(error)
    return ""


def _with_newlines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
