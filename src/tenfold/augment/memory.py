"""Memory for batches that is used again: mapping the pages of a new array of 38 MB costs more than what fills it."""

from __future__ import annotations

import math
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

_KEPT = 4  # buffers that nobody uses: one will do where batches are made and dropped in turns
_ROOM = 16  # a new buffer is larger by this part, since batches differ by an image


class Memory:
    """Hands out arrays, and takes the memory of one back when nothing looks at it any more.

    An array, its views and the tensors made of them keep one owner alive. Its memory is handed out again when the last
    of them is gone, whichever thread drops it: a batch that is kept, waits in a queue or is needed for gradients is
    never written over. Several threads may use it at once.
    """

    def __init__(self) -> None:
        self._free: deque[NDArray[np.float32]] = deque(maxlen=_KEPT)

    def take(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """A C-contiguous array of this shape, holding anything."""
        size = math.prod(shape)
        buffer = self._buffer(size)
        owner = np.frombuffer(buffer.data, np.float32, size)  # views of a mere slice would keep the buffer alone
        weakref.finalize(owner, self._free.append, buffer).atexit = False
        return owner.reshape(shape)

    def _buffer(self, size: int) -> NDArray[np.float32]:
        """Memory for so many numbers: what was given back last and is large enough; smaller ones are let go."""
        while True:
            try:
                buffer = self._free.pop()
            except IndexError:
                return np.empty(size + size // _ROOM + 1, np.float32)
            if buffer.size >= size:
                return buffer
