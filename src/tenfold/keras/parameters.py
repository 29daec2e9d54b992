"""How the parameters of a transformation are drawn, from NumPy's global state and in the order of Keras."""

from __future__ import annotations

from typing import Any

import numpy as np

from tenfold.errors import UsageError


def symmetric(extent: float, name: str, form: str = "a number") -> float:
    """A number from -`extent` to `extent`; 0 without drawing where that is 0.

    Raises TypeError, with the argument's `name` and `form`, where the extent is none.
    """
    if not extent:
        return 0
    try:
        return np.random.uniform(-extent, extent)
    except TypeError as error:
        raise TypeError(f"`{name}` must be {form}, not {extent!r}.") from error


def shift(extent: Any, size: int, name: str) -> float:
    """Pixels of a shift along `size` pixels, either way.

    `extent` is a float (below 1 a share of `size`), an int (whole pixels below it), or a list of values to choose from.
    """
    several = np.ndim(extent) == 1
    if not (len(extent) if several else extent):
        return 0
    if several or (isinstance(extent, int | np.integer) and extent > 0):
        drawn = np.random.choice(extent) * np.random.choice([-1, 1])
    else:
        drawn = symmetric(extent, name, "a number or a list of them")
    return float(drawn * size if (max(extent) if several else extent) < 1 else drawn)


def zoom(low: float, high: float) -> tuple[float, float]:
    """A factor for each direction, x and y."""
    if low == 1 and high == 1:
        return 1, 1
    zx, zy = np.random.uniform(low, high, 2)
    return float(zx), float(zy)


def checked_zoom(zoom_range: Any) -> list[float]:
    """(low, high) of a zoom, from these or from z for (1 - z, 1 + z)."""
    if isinstance(zoom_range, float | int):
        return [1 - zoom_range, 1 + zoom_range]
    if len(zoom_range) == 2 and all(isinstance(value, float | int) for value in zoom_range):
        return [zoom_range[0], zoom_range[1]]
    raise UsageError(f"`zoom_range` must be a number or two numbers (low, high), not {zoom_range}.")


def checked_brightness(brightness_range: Any) -> Any:
    """(low, high) of a brightness as it came, or None."""
    if brightness_range is None or (isinstance(brightness_range, tuple | list) and len(brightness_range) == 2):
        return brightness_range
    raise UsageError(f"`brightness_range` must be two numbers (low, high) or None, not {brightness_range!r}.")
