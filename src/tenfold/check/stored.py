"""Stored: arrays that a check keeps in the cache folder, beside the decoded images, which are cleared with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tenfold.files import write_file
from tenfold.images.cache import cache_folder, cache_limit

Arrays = dict[str, NDArray[np.generic]]


def store_folder(name: str) -> Path:
    """The folder of all that was found in one way; `name` says in which, versions and settings included."""
    return cache_folder() / "images" / f"check-{text_key(name)[:12]}"


def text_key(text: str) -> str:
    """32 hexadecimal digits that stand for a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def stored_files(folder: Path, kind: str) -> list[Path]:
    """The files of one kind that the cache holds; none where it is switched off."""
    return sorted(folder.glob(f"{kind}-*.npz")) if cache_limit() > 0 else []


def read_arrays(path: Path, *names: str) -> Arrays | None:
    """These arrays of a file; None where it cannot be read. A damaged one is deleted: what it held is found anew."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            content = {name: arrays[name] for name in names}
    except OSError:  # it cannot be read now, which says nothing of it
        return None
    except Exception:  # zipfile, zlib and NumPy have a dozen kinds of errors for a damaged file
        with suppress(OSError):
            path.unlink()
        return None
    with suppress(OSError):
        os.utime(path)  # what was not used for longest goes first
    return content


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]]) -> bool:
    """Keep arrays, one of them `hashes`, an entry an image; whether that was possible.

    A cache that cannot be written costs time, no more.
    """
    if cache_limit() <= 0:
        return False
    try:
        write_file(path, lambda aside: np.savez(aside, **dict(arrays)))  # type: ignore[arg-type]
    except OSError:
        return False
    return True
