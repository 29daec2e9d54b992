"""Signature: the small part of an image by which copies of it are found.

A signature is a digest of all pixels, the size, a grey view of the whole image squeezed to a square, and a smaller one
in color: 4,892 bytes an image, so that 100,000 images take half a GiB, and no image is decoded twice for the search.

Shapes: N images, H x W pixels, V the side of the grey view, C that of the colored one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError, UsageError

VERSION = 1
"""Goes up whenever the same image would give another signature; part of the key of stored signatures."""

VIEW, COLORS = 64, 16
"""Sides of the two views, pixels. What JPEG and resizing change is mostly finer than 64 pixels to a side can show."""

SAME_PIXELS = "the same pixels"
"""What is said of two images of one digest."""

_LUMA = np.array([19595, 38470, 7471])  # ITU-R 601 times 65,536, as decode.py has it


@dataclass(frozen=True)
class Signature:
    """What one image is compared by."""

    digest: NDArray[np.uint8]
    """[16], BLAKE2b over the pixels and their shape: equal where every pixel is."""
    size: NDArray[np.int32]
    """[2], height and width."""
    view: NDArray[np.uint8]
    """[V, V], the grey image, both sides squeezed to V."""
    colors: NDArray[np.uint8]
    """[C, C, 3], the same in color, RGB."""


@dataclass(frozen=True)
class Signatures:
    """Signatures of N images, one array a field."""

    digest: NDArray[np.uint8]
    """[N, 16]"""
    size: NDArray[np.int32]
    """[N, 2]"""
    view: NDArray[np.uint8]
    """[N, V, V]"""
    colors: NDArray[np.uint8]
    """[N, C, C, 3]"""

    def __len__(self) -> int:
        return len(self.digest)

    def take(self, rows: NDArray[np.int64] | Sequence[int]) -> Signatures:
        """The signatures at these positions, in this order; these themselves, not a copy, where that is all of them."""
        places = np.asarray(rows, np.int64)
        if np.array_equal(places, np.arange(len(self))):
            return self
        return Signatures(self.digest[places], self.size[places], self.view[places], self.colors[places])

    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Plain arrays by name, for `numpy.savez`."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Signatures:
        """What `to_arrays` gave. Raises DataError where an array is missing or is not what a signature holds."""
        found = {name: np.asarray(arrays[name]) for name in _LAYOUT if name in arrays}
        counts = {len(array) for array in found.values() if array.ndim}
        for name, (shape, dtype) in _LAYOUT.items():
            array = found.get(name)
            if array is None or array.shape[1:] != shape or array.dtype != dtype or len(counts) != 1:
                raise DataError(f"The stored signatures are damaged or of another version ({name}); compute them anew.")
        return cls(**found)


_LAYOUT: dict[str, tuple[tuple[int, ...], type[np.generic]]] = {
    "digest": ((16,), np.uint8),
    "size": ((2,), np.int32),
    "view": ((VIEW, VIEW), np.uint8),
    "colors": ((COLORS, COLORS, 3), np.uint8),
}


def sign_image(image: NDArray[np.uint8]) -> Signature:
    """The signature of an upright image uint8 [H, W, 3], RGB. Safe in several threads.

    Raises UsageError for anything else.
    """
    from tenfold.images.resize import resize  # PyTorch takes seconds to import, and a check from the cache needs none

    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise UsageError(f"sign_image needs an image uint8 [H, W, 3], not {image.dtype} {list(image.shape)}.")
    small = resize(image, VIEW, VIEW)
    step = VIEW // COLORS
    colors = small.reshape(COLORS, step, COLORS, step, 3).mean((1, 3))
    return Signature(
        np.frombuffer(_digest(image), np.uint8),
        np.array(image.shape[:2], np.int32),
        grey(small),
        (colors + 0.5).astype(np.uint8),
    )


def grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma of RGB uint8 [..., 3]: uint8 [...]."""
    luma: NDArray[np.uint8] = ((image @ _LUMA + 32768) >> 16).astype(np.uint8)
    return luma


def stack_signatures(signatures: Sequence[Signature]) -> Signatures:
    """Signatures of single images as arrays, in the same order."""
    return Signatures(
        **{
            name: np.array([getattr(signature, name) for signature in signatures], dtype).reshape(-1, *shape)
            for name, (shape, dtype) in _LAYOUT.items()
        }
    )


def _digest(image: NDArray[np.uint8]) -> bytes:
    digest = blake2b(f"{image.shape}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.digest()
