"""What is tried on a run: each op alone, at graded magnitudes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.augment.ops import Range
from tenfold.augment.policy import Policy
from tenfold.augment.tree import Op, op, ops_of

if TYPE_CHECKING:
    from tenfold.augment.tree import Node

GRADES = (0.0, 0.25, 0.5 - 1e-9, 0.5, 0.75, 1 - 1e-9)
"""Where in the range of its magnitude an op of a policy is tried: both ends, the middle, and between. From the middle
on, a magnitude that has either sign is positive."""

STANDARD: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("rotate", "degrees", (-45, -15, 15, 45, 180)),
    ("flip", "direction", ("horizontal", "vertical")),
    ("turn", "quarters", (1, 3)),
    ("shift", "x", (-0.2, 0.2)),
    ("shift", "y", (-0.2, 0.2)),
    ("shear", "x", (-30, -15, 15, 30)),
    ("zoom", "both", (-0.3, 0.3)),
    ("zoom", "x", (-0.3, 0.3)),
    ("crop", "scale", (0.1, 0.3, 0.5)),
    ("perspective", "distortion", (0.5,)),
    ("hue", "turn", (-0.25, -0.1, 0.1, 0.25, 0.5)),
    ("saturation", "change", (-1, 1)),
    ("brightness", "change", (-0.5, 0.5)),
    ("contrast", "change", (-0.5, 0.5)),
    ("invert", "", (True,)),
    ("solarize", "threshold", (128,)),
    ("posterize", "bits", (2,)),
    ("equalize", "", (True,)),
    ("cutout", "size", (0.5,)),
)
"""What people do to images in the belief that it keeps the label: op, parameter, magnitudes."""


@dataclass(frozen=True)
class Trial:
    """One op at one magnitude."""

    op: Op
    words: str
    """ "rotate 90°"."""
    in_policy: bool = True
    """Whether the policy can do it."""


def policy_trials(policy: Policy) -> list[Trial]:
    """Every op of a policy, those within choices, chains and blends too, at graded magnitudes.

    Of an op with several parameters (a shift along x and y) each that has a range is graded in turn, the others are
    drawn as the policy draws them.
    """
    trials: dict[tuple[str, tuple[Range, ...]], Trial] = {}
    for node in _ops(policy.ops):
        for trial in _graded(node):  # words tell what is fixed; alike are those that draw the others alike too
            drawn = tuple(given for given in trial.op.ranges if not given.is_fixed)
            trials.setdefault((trial.words, drawn), trial)
    return list(trials.values())


def standard_trials(policy: Policy) -> list[Trial]:
    """The ops of STANDARD, and which of them the policy can do."""
    trials = []
    for name, parameter, values in STANDARD:
        for value in values:
            tried = op(name, _magnitude(name, parameter, value))
            place = [spec.name for spec in tried.kind.parameters].index(parameter) if parameter else -1
            known = any(_reaches(node, tried, place) for node in _ops(policy.ops))
            trials.append(Trial(tried, _words(tried, [place] if parameter else []), known))
    return trials


def _ops(nodes: Sequence[Node]) -> list[Op]:
    """The ops of a policy, wherever they stand in it."""
    return [found for node in nodes for found in ops_of(node)]


def _graded(node: Op) -> list[Trial]:
    """An op at graded magnitudes of each parameter that a caption names and that has a range."""
    sure, parameters = replace(node, probability=1.0), node.kind.parameters
    spoken = [place for place, parameter in enumerate(parameters) if parameter.spoken]
    ranged = [place for place in spoken if not node.ranges[place].is_fixed]
    fixed = [place for place in spoken if place not in ranged and node.ranges[place] != parameters[place].default]
    if not ranged:
        return [Trial(sure, _words(sure, fixed or spoken[:1]))]
    trials = []
    for place in ranged:
        values = parameters[place].values(node.ranges[place], np.array(GRADES)).round(4) + 0.0  # no -0
        tried = [_fixed(sure, place, value) for value in np.unique(values)]
        trials += [Trial(one, _words(one, [place, *fixed])) for one in tried]
    return trials


def _fixed(node: Op, place: int, value: float) -> Op:
    ranges = list(node.ranges)
    ranges[place] = Range(float(value), float(value))
    return replace(node, ranges=tuple(ranges))


def _magnitude(name: str, parameter: str, value: Any) -> Any:
    """What `op` takes for one value of one parameter, no more and no less."""
    if not parameter or isinstance(value, str):
        return value
    content: dict[str, Any] = {parameter: [value, value]}
    return content | ({"aspect": [1, 1]} if name == "crop" else {})


def _reaches(node: Op, tried: Op, place: int) -> bool:
    """Whether an op of a policy can be what was tried, but for parameters that are not the one that matters."""
    if node.name != tried.name:
        return False
    return place < 0 or _holds(node.ranges[place], tried.ranges[place].low)


def _holds(given: Range, value: float) -> bool:
    return given.low <= value <= given.high or (given.signed and given.low <= -value <= given.high)


def _words(node: Op, places: Sequence[int]) -> str:
    """An op with the values of its parameters at `places`, as a caption says it."""
    parameters = node.kind.parameters
    lone = sum(spec.spoken for spec in parameters) == 1
    values = [
        ("" if lone else f"{parameters[place].name} ") + parameters[place].words(node.ranges[place].low)
        for place in places
    ]
    return f"{node.name.replace('_', ' ')} {', '.join(values)}".strip()
