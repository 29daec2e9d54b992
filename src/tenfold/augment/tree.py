"""The tree of a policy: ops, and choices, chains and blends of them; TOML values in and out, and words.

A node is one table of a policy file: exactly one key is an op's name, or `choose`, `chain` or `blend`.

Shapes: n images, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.ops import OPS, Kind, Parameter, Range
from tenfold.augment.ops import OTHER_NAMES as _OTHER_NAMES
from tenfold.errors import UsageError, unknown


@dataclass(frozen=True)
class Op:
    """One op and from where its parameters are drawn. `op` makes one from a magnitude."""

    name: str
    """A name in tenfold.augment.ops.OPS."""
    ranges: tuple[Range, ...] = ()
    """One for each of the op's parameters, in their order."""
    probability: float = 1.0
    """Of being done to an image."""

    def __post_init__(self) -> None:
        if self.name not in OPS:
            raise _unknown_op("An op", self.name)
        check_probability(self.probability, self.name)
        if len(self.ranges) != len(self.kind.parameters):
            raise UsageError(f"{self.name} has {len(self.kind.parameters)} parameters, not {len(self.ranges)}.")
        for parameter, given in zip(self.kind.parameters, self.ranges, strict=True):
            parameter.check(given, _called(self.name, parameter))

    @cached_property
    def kind(self) -> Kind:
        return OPS[self.name]

    @cached_property
    def span(self) -> int:
        """How many numbers of an image's stream it owns."""
        return 1 + len(self.ranges)

    def values(self, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
        """Uniform numbers float64 [P, n] in [0, 1) -> values [P, n] of its P parameters."""
        values: NDArray[np.float64] = self._lows + self._widths * numbers
        for place in self._special:
            values[place] = self.kind.parameters[place].values(self.ranges[place], numbers[place])
        return values

    @cached_property
    def _lows(self) -> NDArray[np.float64]:
        return np.array([given.low for given in self.ranges]).reshape(-1, 1)

    @cached_property
    def _widths(self) -> NDArray[np.float64]:
        return np.array([given.high - given.low for given in self.ranges]).reshape(-1, 1)

    @cached_property
    def _special(self) -> list[int]:
        pairs = zip(self.kind.parameters, self.ranges, strict=True)
        return [place for place, (parameter, given) in enumerate(pairs) if not parameter.is_plain(given)]

    @cached_property
    def is_fused(self) -> bool:
        """Whether it is part of one pass over the pixels: geometry or linear color."""
        return self.kind.stage in ("geometry", "color")


@dataclass(frozen=True)
class Choose:
    """So many of `of`, one after the other, each drawn anew and with equal chances for each image."""

    low: int
    """At least so many."""
    high: int
    """At most so many."""
    of: tuple[Node, ...]
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_probability(self.probability, "choose")
        if not 0 <= self.low <= self.high <= 64:
            raise UsageError(f"choose must be from 0 to 64, the lower number first, not {self.low} to {self.high}.")
        if not self.of:
            raise UsageError("choose needs a list `of` of at least one op to choose from.")

    @cached_property
    def slot(self) -> int:
        """Numbers that each of the chosen owns, the choice among them."""
        return 1 + max(node.span for node in self.of)

    @cached_property
    def span(self) -> int:
        return 2 + self.high * self.slot

    @cached_property
    def is_fused(self) -> bool:
        return all(node.is_fused for node in self.of)


@dataclass(frozen=True)
class Chain:
    """Several nodes, one after the other: what a choice can choose at once."""

    of: tuple[Node, ...]
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_probability(self.probability, "chain")

    @cached_property
    def span(self) -> int:
        return 1 + sum(node.span for node in self.of)

    @cached_property
    def is_fused(self) -> bool:
        return all(node.is_fused for node in self.of)


@dataclass(frozen=True)
class Blend:
    """A weighted mean of the image and of changed copies of it, each by ops chosen as `change` says.

    AugMix, Hendrycks et al. 2020, algorithm 1: the copies' weights are Dirichlet(alpha), that of all of them
    together Beta(alpha, alpha).
    """

    copies: int
    change: Choose
    alpha: float = 1.0
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_probability(self.probability, "blend")
        if not 1 <= self.copies <= 64:
            raise UsageError(f"blend must be from 1 to 64 copies, not {self.copies}.")
        if not 0.05 <= self.alpha <= 100:  # below, all weights may be 0
            raise UsageError(f"blend's alpha must be from 0.05 to 100, not {self.alpha:g}.")
        if self.change.probability != 1:
            raise UsageError("blend's change must have probability 1; give the probability to the blend or to its ops.")

    @cached_property
    def span(self) -> int:
        return 3 + self.copies * (1 + self.change.span)

    @property
    def is_fused(self) -> bool:
        return False


Node = Op | Choose | Chain | Blend

_KEYS: dict[str, tuple[str, ...]] = {
    "choose": ("of", "probability"),
    "chain": ("probability",),
    "blend": ("of", "depth", "alpha", "probability"),
}
"""Nodes that hold others, and the keys that may stand beside theirs."""

_RANGE_KEYS = ("low", "high", "steps", "signed")


def op(name: str, magnitude: object = True, probability: float = 1.0) -> Op:
    """An op from what a policy file gives for it: a number, a pair, a table of parameters, a name, or True.

    Raises UsageError for an unknown op or parameter and for a magnitude that does not fit.
    """
    if name not in OPS:
        raise _unknown_op("An op", name)
    return Op(name, _read_magnitude(name, magnitude), _number(f"{name}'s probability", probability))


def read_node(table: object, where: str = "the policy") -> Node:
    """A node from its table. Raises UsageError that names the wrong key and the nearest allowed one."""
    if not isinstance(table, Mapping):
        raise UsageError(f"An op of {where} must be a table, not {table!r}.")
    kinds = [key for key in table if key in OPS or key in _KEYS]
    head = kinds[0] if kinds else ""
    allowed = _KEYS.get(head, ("probability",))
    for key in table:
        if key not in {*kinds, *allowed}:
            raise _unknown_op(
                f"A key of {head} in {where}" if head else f"An op of {where}", key, allowed if head else ()
            )
    if len(kinds) != 1:
        raise UsageError(
            f"Each op of {where} must be a table with exactly one op, not {' and '.join(kinds) or 'an empty one'}."
        )
    probability = _number(f"{head}'s probability", table.get("probability", 1.0))
    if head in OPS:
        return op(head, table[head], probability)
    if head == "chain":
        return Chain(_read_inside(head, head, table[head], where), probability)
    nodes = _read_inside(head, "of", table.get("of"), where)
    if head == "choose":
        return Choose(*_counts("choose", table[head]), nodes, probability)
    change = Choose(*_counts("blend's depth", table.get("depth", [1, 3])), nodes)
    copies, most = _counts("blend", table[head])
    if copies != most:
        raise UsageError(f"blend must be a whole number of copies, not {table[head]!r}.")
    return Blend(copies, change, _number("blend's alpha", table.get("alpha", 1.0)), probability)


def read_nodes(tables: Iterable[object], where: str = "the policy", called: str = "Op") -> tuple[Node, ...]:
    """Nodes from their tables. The UsageError of one begins with its number, from 1 on: "Op 3: its op 1: ..."."""
    nodes = []
    for number, table in enumerate(tables, 1):
        try:
            nodes.append(read_node(table, where))
        except UsageError as error:
            raise UsageError(f"{called} {number}: {error}") from error
    return tuple(nodes)


def write_node(node: Node) -> dict[str, Any]:
    """The table of a node, in its shortest form: the inverse of `read_node`."""
    content: dict[str, Any]
    if isinstance(node, Op):
        content = {node.name: _write_magnitude(node)}
    elif isinstance(node, Chain):
        content = {"chain": [write_node(part) for part in node.of]}
    elif isinstance(node, Choose):
        content = {"choose": _write_counts(node), "of": [write_node(part) for part in node.of]}
    else:
        content = {
            "blend": node.copies,
            "depth": _write_counts(node.change),
            "alpha": tidy(node.alpha),
            "of": [write_node(part) for part in node.change.of],
        }
    return content if node.probability == 1 else {**content, "probability": tidy(node.probability)}


def describe_node(node: Node) -> list[str]:
    """A node in words, one line for it and one, indented, for each node inside."""
    often = "" if node.probability == 1 else f", on {100 * node.probability:.3g} % of the images"
    if isinstance(node, Op):
        spoken = [pair for pair in zip(node.kind.parameters, node.ranges, strict=True) if pair[0].spoken]
        lone = len(spoken) == 1
        texts = [("" if lone else f"{spec.name} ") + spec.range_words(given) for spec, given in spoken]
        return [node.name + (f": {', '.join(texts)}" if texts else "") + often]
    if isinstance(node, Chain):
        head, inside = f"one after the other{often}:", node.of
    elif isinstance(node, Choose):
        head, inside = f"{_count_words(node)} of these, drawn anew for each image{often}:", node.of
    else:
        count = _count_words(node.change)
        head = f"blended with {node.copies} copies (alpha {node.alpha:.3g}), each changed by {count} of these{often}:"
        inside = node.change.of
    return [head, *(f"  {line}" for part in inside for line in describe_node(part))]


def ops_of(node: Node) -> list[Op]:
    """Every op in a node."""
    if isinstance(node, Op):
        return [node]
    inside = node.change.of if isinstance(node, Blend) else node.of
    return [found for part in inside for found in ops_of(part)]


def check_probability(value: float, name: str) -> None:
    """Raise a UsageError unless 0 <= value <= 1."""
    if not 0 <= value <= 1:
        raise UsageError(f"{name}'s probability must be from 0 to 1, not {value:g}.")


def tidy(number: float) -> int | float:
    """20 rather than 20.0."""
    return int(number) if number.is_integer() else number


def _read_inside(head: str, key: str, tables: object, where: str) -> tuple[Node, ...]:
    """The nodes that a choice, chain or blend holds under `key`."""
    if not isinstance(tables, list | tuple):
        came = "and has none" if tables is None else f"not {tables!r}"
        raise UsageError(f"{head} needs a list of ops, as {key} = [{{ rotate = 20 }}], {came}.")
    return read_nodes(tables, where, "its op")


def _read_magnitude(name: str, value: object) -> tuple[Range, ...]:
    kind = OPS[name]
    if isinstance(value, Mapping) and not {"low", "high"} & set(value):
        for key in value:
            if key not in {parameter.name for parameter in kind.parameters}:
                raise unknown(f"A parameter of {name}", str(key), [parameter.name for parameter in kind.parameters])
        given = {spec.name: _read_range(name, spec, value[spec.name]) for spec in kind.parameters if spec.name in value}
    elif value is True and kind.has_defaults:
        given = {}
    elif isinstance(value, bool) or not kind.lead:
        raise UsageError(f"{name} must be {kind.form}, not {str(value).lower()}.")
    else:
        given = {spec.name: _read_range(name, spec, value) for spec in kind.lead}
    ranges = [given.get(parameter.name, parameter.default) for parameter in kind.parameters]
    for parameter, found in zip(kind.parameters, ranges, strict=True):
        if found is None:
            raise UsageError(f"{name} needs its parameter {parameter.name}.")
    return tuple(found for found in ranges if found is not None)


def _read_range(name: str, parameter: Parameter, value: object) -> Range:
    where = _called(name, parameter)
    if parameter.choices:
        if value not in parameter.choices:
            raise unknown(where, str(value), parameter.choices)
        place = float(parameter.choices.index(str(value)))
        return Range(place, place)
    if isinstance(value, Mapping):
        for key in value:
            if key not in _RANGE_KEYS:
                raise unknown(f"A key of {where}", str(key), _RANGE_KEYS)
        if not {"low", "high"} <= set(value):
            raise UsageError(f"{where} as a table needs low and high, not {', '.join(value) or 'nothing'}.")
        steps, signed = value.get("steps", 0), value.get("signed", False)
        if type(steps) is not int or type(signed) is not bool:
            raise UsageError(f"{where} needs a whole number of steps and signed as true or false, not {dict(value)}.")
        return Range(_number(where, value["low"]), _number(where, value["high"]), steps, signed)
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise UsageError(f"{where} must be a number or a pair [low, high], not {list(value)}.")
        return parameter.between(_number(where, value[0]), _number(where, value[1]))
    number = _number(where, value)
    given = parameter.widen(number)
    parameter.check(given, where, f", which {number:g} means here")
    return given


def _write_magnitude(node: Op) -> Any:
    kind = node.kind
    pairs = list(zip(kind.parameters, node.ranges, strict=True))
    if kind.has_defaults and all(given == parameter.default for parameter, given in pairs):
        return True
    count = len(kind.lead)
    written = [_write_range(parameter, given) for parameter, given in pairs]
    rest = all(given == parameter.default for parameter, given in pairs[count:])
    if rest and all(value == written[0] for value in written[:count]):
        return written[0]
    changed = [(pair[0].name, value) for pair, value in zip(pairs, written, strict=True) if pair[1] != pair[0].default]
    return dict(changed) or {kind.parameters[0].name: written[0]}


def _write_range(parameter: Parameter, given: Range) -> Any:
    if parameter.choices:
        return parameter.choices[int(given.low)]
    for number in (given.high, given.low):
        if parameter.widen(number) == given:
            return tidy(number)
    pair = [tidy(given.low), tidy(given.high)]
    if parameter.between(given.low, given.high) == given:
        return pair
    table: dict[str, Any] = {"low": pair[0], "high": pair[1]}
    return table | ({"steps": given.steps} if given.steps else {}) | ({"signed": True} if given.signed else {})


def _counts(where: str, value: object) -> tuple[int, int]:
    """A whole number, or a pair of them, as the least and the most."""
    pair = value if isinstance(value, list | tuple) else [value, value]
    numbers = [number for number in pair if isinstance(number, int) and not isinstance(number, bool)]
    if len(numbers) != 2 or len(pair) != 2:
        raise UsageError(f"{where} must be a whole number or a pair of them, not {value!r}.")
    return numbers[0], numbers[1]


def _write_counts(node: Choose) -> int | list[int]:
    return node.low if node.low == node.high else [node.low, node.high]


def _count_words(node: Choose) -> str:
    return str(node.low) if node.low == node.high else f"{node.low} to {node.high}"


def _number(where: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"{where} must be a finite number, not {value!r}.")
    return float(value)


def _called(name: str, parameter: Parameter) -> str:
    return f"{name}'s {parameter.name}"


def _unknown_op(what: str, name: str, allowed: Iterable[str] = ()) -> UsageError:
    """The nearest name, or ours where another library's is given."""
    bare = name.lower().replace("_", "").removeprefix("random").removesuffix("range")
    ours = _OTHER_NAMES.get(bare) or [known for known in OPS if known.replace("_", "") == bare]
    if ours and not allowed:
        called = " and ".join(map(repr, ours))
        return UsageError(f"{what} must be one of ours, not {name!r}; here it is called {called}.")
    return unknown(what, name, allowed or [*OPS, *_KEYS])
