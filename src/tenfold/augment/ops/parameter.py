"""What an op is: its stage, its parameters with their ranges, and the function that does it.

Shapes: n images that an op acts on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError

Stage = Literal["geometry", "color", "tone", "pixels"]
Spread = Literal["either", "up to", "down to", "exactly", "ratio"]


@dataclass(frozen=True)
class Range:
    """From where a parameter is drawn, evenly."""

    low: float
    high: float
    steps: int = 0
    """So many values from low to high, both included, at equal distances; 0: any value between them."""
    signed: bool = False
    """Either sign, equally often."""

    @property
    def is_fixed(self) -> bool:
        """Whether only one value can come."""
        return self.low == self.high and not self.signed


@dataclass(frozen=True)
class Parameter:
    """One number of an op."""

    name: str
    low: float
    """The least that is allowed."""
    high: float
    """The most that is allowed."""
    spread: Spread = "exactly"
    """What a lone number m means: -m to m (either), 0 to m (up to), m to the most (down to), m, or 1/m to m (ratio)."""
    default: Range | None = None
    """Where it is drawn from if it is not given; None: it must be given."""
    unit: str = ""
    whole: bool = False
    """Whole numbers only."""
    even_in_log: bool = False
    """Even on the logarithmic scale, as ratios are."""
    choices: tuple[str, ...] = ()
    """Names of the values 0, 1, ...; a policy gives one of them."""
    spoken: bool = True
    """Whether a caption names it; places are left out."""

    def widen(self, number: float) -> Range:
        """The range that a lone number stands for."""
        low, high = {
            "either": (-number, number),
            "up to": (min(0.0, self.high), number),
            "down to": (number, self.high),
            "exactly": (number, number),
            "ratio": (1 / number if number else 0.0, number),
        }[self.spread]
        return self.between(low, high)

    def between(self, low: float, high: float) -> Range:
        """The range of all values from low to high that the parameter can have."""
        return Range(float(low), float(high), round(high - low) + 1 if self.whole and math.isfinite(high - low) else 0)

    def check(self, given: Range, where: str, written: str = "") -> None:
        """Raise a UsageError that names the parameter unless its range is allowed; `written` says how that came."""
        least = min(given.low, -given.high) if given.signed else given.low
        if not self.low <= least <= given.high <= self.high or given.low > given.high or given.steps < 0:
            allowed = f"{where} must lie from {self.low:g} to {self.high:g}"
            if least == given.high:
                raise UsageError(f"{allowed}, not {least:g}.")
            came = f"from {least:g} to {given.high:g}{written}"
            raise UsageError(f"{allowed}, the lower number first, not {came}.")
        if given.steps == 1 and given.low < given.high:
            if self.whole and (given.low % 1 or given.high % 1):
                raise UsageError(f"{where} must be whole numbers, not from {given.low:g} to {given.high:g}.")
            raise UsageError(f"{where} needs 2 steps or more from {given.low:g} to {given.high:g}, not 1.")

    def is_plain(self, given: Range) -> bool:
        """Whether values are low + (high - low) * number, for all parameters of an op in one stroke."""
        return given.is_fixed or not (self.even_in_log or given.signed or given.steps)

    def values(self, given: Range, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Uniform numbers [n] in [0, 1) -> values [n], where they are not plain."""
        low, high = given.low, given.high
        if given.signed:  # the first bit is the sign, the others go on
            negative = numbers < 0.5
            numbers = np.where(negative, 2 * numbers, 2 * numbers - 1)
        if given.steps:
            numbers = np.floor(numbers * given.steps) / max(given.steps - 1, 1)
        if self.even_in_log:
            values = np.exp(math.log(low) + (math.log(high) - math.log(low)) * numbers)
        else:
            values = low + (high - low) * numbers
        return np.where(negative, -values, values) if given.signed else values

    def words(self, value: float) -> str:
        """A value as a caption says it."""
        if self.choices:
            return self.choices[int(value)]
        shown = _shown(round(value) if self.whole else value)
        return shown + (self.unit.removesuffix("s") if shown == "1" else self.unit)

    def range_words(self, given: Range) -> str:
        """A range as a description says it."""
        if given.is_fixed:
            return self.words(given.low)
        sign = "either sign of " if given.signed else ""
        if given.low == given.high:
            return sign + self.words(given.high)
        steps = f" in {given.steps} steps" if given.steps and not self.whole else ""
        return f"{sign}{_shown(given.low)} to {_shown(given.high)}{self.unit}{steps}"


def _shown(value: float) -> str:
    """Three digits, or all before the point; 0 without a sign."""
    return f"{value + 0.0:.3g}" if abs(value) < 999.5 else f"{value:.0f}"


@dataclass(frozen=True)
class Kind:
    """What is known about an op of a name."""

    stage: Stage
    """geometry: composed into one matrix; color: into one affine map of the channels; tone: a table of 256 values;
    pixels: needs neighbors or histograms, and so an image of its own."""
    apply: Callable[..., Any]
    """geometry: (frame, *columns [n]), which changes the frame, see geometry.py;
    color: (maps [3, 4, n], *columns) -> maps [3, 4, n]; tone: (*columns) -> uint8 [n, 256];
    pixels: (uint8 [H, W, C], *numbers) -> uint8 [H, W, C]."""
    about: str
    """What it does and where it is from, in words for people."""
    parameters: tuple[Parameter, ...] = ()
    leading: int = 1
    """How many of the parameters, from the first on, a lone number or pair sets."""

    @property
    def lead(self) -> tuple[Parameter, ...]:
        """The parameters that a lone number or pair sets."""
        return self.parameters[: self.leading]

    @property
    def form(self) -> str:
        """What a policy may give for the op, in words."""
        if self.lead and self.lead[0].choices:
            return " or ".join(self.lead[0].choices)
        numbers = "a number, a pair of numbers or a table of parameters"
        return "true" if not self.lead else f"true, {numbers}" if self.has_defaults else numbers

    @property
    def has_defaults(self) -> bool:
        """Whether the op does something when nothing but its name is given."""
        return all(parameter.default for parameter in self.parameters) and not any(
            parameter.spread == "either" for parameter in self.lead
        )

    def words(self, values: NDArray[np.float64]) -> str:
        """What was drawn, float64 [P], as a caption says it."""
        spoken = [pair for pair in zip(self.parameters, values, strict=True) if pair[0].spoken]
        if len(spoken) == 1:
            return spoken[0][0].words(spoken[0][1])
        return ", ".join(f"{parameter.name} {parameter.words(value)}" for parameter, value in spoken)
