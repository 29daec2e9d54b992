"""How the loops of this package are compiled: without the lock, kept on disk, and exact.

No liberty is taken with the order of floating-point operations, and none is contracted to one rounding, so that the
same image has the same boxes on every machine.

Numba keeps what it compiled until the file of the function that is called changes and does not look at the files of
others; so compiled functions call only those of their own file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile on the first call ever; later processes load the result from `__pycache__` in a fraction of a second."""
    return cast(Function, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
