"""Drawing: keys -> what is done to each image, with geometry composed into matrices and color into affine maps.

All that follows from the keys is done here, for the whole batch at once; apply.py, or a GPU, only carries it out. A
pass is one sampling of the pixels and one affine map of the channels. Ops that need more (a tone curve, neighbors, a
histogram) end the pass of the images that have them.

Shapes: N images, n of them; D numbers of a stream; out h x w; C channels; P parameters; K copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.ops import Kind
from tenfold.augment.ops.color import LUMA
from tenfold.augment.ops.geometry import Frame
from tenfold.augment.tree import Blend, Chain, Choose, Node, Op
from tenfold.draws import Keys, uniforms
from tenfold.images.pixels import Channels

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Size = tuple[int, int]
"""Height and width."""

_PLAIN = np.eye(3, 4)
"""No change of color."""

Fill = Literal["nearest", "constant", "reflect", "wrap"]
Interpolation = Literal["nearest", "bilinear", "bicubic"]


class Pass(NamedTuple):
    """Sample some images anew: matrices float64 [n, 3, 3], color float32 [n, C, C + 1]."""

    rows: Rows
    matrices: Array
    color: NDArray[np.float32]
    moved: bool
    """Whether they have been sampled before: else their pixels are those that came in."""


class Tone(NamedTuple):
    """Put some images through tables: uint8 [n, 256]."""

    rows: Rows
    tables: NDArray[np.uint8]


class Pixels(NamedTuple):
    """Do an op of the pixels to some images: values float64 [n, P]."""

    rows: Rows
    name: str
    values: Array


class Blending(NamedTuple):
    """Put the mean of an image (first) and its changed copies into its place: weights float64 [n, 1 + K]."""

    rows: Rows
    weights: Array
    copies: tuple[Drawn, ...]


Step = Pass | Tone | Pixels | Blending


class Done(NamedTuple):
    """What was drawn for one op: values float64 [P, n]."""

    rows: Rows
    op: Op
    values: Array


@dataclass(frozen=True)
class Drawn:
    """What is to be done to N images: `steps`, mostly none, and then one last pass over all of them."""

    size: Size
    """Of the output."""
    channels: Channels
    steps: tuple[Step, ...]
    matrices: Array
    """float64 [N, 3, 3]: the last pass's maps from output to input pixels, edges at integers."""
    color: NDArray[np.float32]
    """float32 [N, C, C + 1]: the last pass's affine maps of grey levels 0 to 255."""
    moved: NDArray[np.bool_]
    """[N]: whether the steps have sampled an image before the last pass."""
    total: Array
    """float64 [N, 3, 3]: from output pixels to those of the images that came in, all passes together."""
    done: tuple[Done, ...]

    def trace(self) -> list[list[tuple[str, str]]]:
        """What was done to each image, in order: the op's name and its magnitude in words."""
        lists: list[list[tuple[str, str]]] = [[] for _ in self.matrices]
        for rows, node, values in self.done:
            for row, numbers in zip(rows, values.T, strict=True):
                lists[row].append((node.name, node.kind.words(numbers)))
        return lists


def draw(nodes: Sequence[Node], keys: Keys, in_size: Size, size: Size, channels: Channels = "rgb") -> Drawn:
    """What `nodes` do to images with these draw keys [N], of `in_size`, whose output has `size`.

    Each node owns a span of each key's stream, in their order, so that one more at the end changes no other.
    """
    state = _State(len(keys), in_size, size, channels)
    numbers = np.ascontiguousarray(uniforms(keys, sum(node.span for node in nodes)).T)
    _draw_chain(nodes, state, np.arange(len(keys)), numbers)
    return state.finish()


def _draw_chain(nodes: Sequence[Node], state: _State, rows: Rows, numbers: Array) -> None:
    """`numbers` float64 [D, N]: what the nodes own of the streams of all N images."""
    start = 0
    for node in nodes:
        own = numbers[start : start + node.span]
        start += node.span
        active = rows
        if node.probability < 1:
            active = rows[own[0, rows] < node.probability]
        if len(active):
            _draw_node(node, state, active, own[1:])


def _draw_node(node: Node, state: _State, rows: Rows, numbers: Array) -> None:
    if isinstance(node, Op):
        picked = numbers[: node.span - 1]
        state.add(node, rows, node.values(picked if len(rows) == state.count else picked[:, rows]))
    elif isinstance(node, Chain):
        _draw_chain(node.of, state, rows, numbers)
    elif isinstance(node, Choose):
        _draw_choice(node, state, rows, numbers)
    else:
        _draw_blend(node, state, rows, numbers)


def _draw_choice(node: Choose, state: _State, rows: Rows, numbers: Array) -> None:
    count = node.low + np.floor(numbers[0] * (node.high - node.low + 1)).astype(np.int64)
    for place in range(node.high):
        own = numbers[1 + place * node.slot : 1 + (place + 1) * node.slot]
        chosen = np.floor(own[0] * len(node.of)).astype(np.int64)
        for index, part in enumerate(node.of):
            picked = rows[(chosen[rows] == index) & (place < count[rows])]
            if len(picked):
                _draw_chain([part], state, picked, own[1:])


def _draw_blend(node: Blend, state: _State, rows: Rows, numbers: Array) -> None:
    heads, rest = numbers[: 2 + node.copies], numbers[2 + node.copies :]
    own, copies = _gamma(heads[0], node.alpha), _gamma(heads[1], node.alpha)
    shares = _gamma(heads[2:], node.alpha)
    weights = np.concatenate([(own / (own + copies))[None], shares / shares.sum(0) * (copies / (own + copies))])
    drawn = []
    for place in range(node.copies):
        copy = _State(state.count, state.size, state.size, state.channels)
        _draw_chain([node.change], copy, rows, rest[place * node.change.span : (place + 1) * node.change.span])
        drawn.append(copy.finish())
    state.blend(rows, weights.T[rows], tuple(drawn))


def _gamma(numbers: Array, alpha: float) -> Array:
    """Uniform numbers -> the gamma distribution of shape alpha, by its inverse.

    Several of them over their sum are Dirichlet(alpha).
    """
    if alpha == 1:
        return -np.log1p(-numbers)
    from scipy.special import gammaincinv

    return np.asarray(gammaincinv(alpha, numbers), np.float64)


class _State:
    """What has been drawn for N images so far and not yet put into a step."""

    def __init__(self, count: int, in_size: Size, size: Size, channels: Channels) -> None:
        self.count, self.in_size, self.size, self.channels = count, in_size, size, channels
        self.steps: list[Step] = []
        self.done: list[Done] = []
        self.shape = size[1] / size[0]
        self.frame = Frame.whole(count, *in_size, self.shape)
        self.color = _repeat(_PLAIN, count)
        self.moved = np.zeros(count, np.bool_)
        self.pending = np.ones(count, np.bool_)
        """Which images have a pass to come before any op of the pixels; at first all, as none has the output's size."""

    def add(self, node: Op, rows: Rows, values: Array) -> None:
        """One op for some images: values float64 [P, n]."""
        self.done.append(Done(rows, node, values))
        kind = node.kind
        if kind.stage == "pixels":
            self._flush(rows)
            self.steps.append(Pixels(rows, node.name, values.T))
        elif kind.stage == "tone":
            self._flush(rows)
            self.steps.append(Tone(rows, kind.apply(*values)))
        else:
            self.pending[rows] = True
            self._compose(kind, rows, values)

    def blend(self, rows: Rows, weights: Array, copies: tuple[Drawn, ...]) -> None:
        """Blend images with copies. Each copy is drawn for all N images, and taken for these rows."""
        self._flush(rows)
        self.steps.append(Blending(rows, weights, copies))
        for copy in copies:
            self.done += copy.done

    def finish(self) -> Drawn:
        """All that is left becomes the last pass."""
        matrices = self.frame.matrices(self.size)
        total = self._total(matrices) if self.steps else matrices
        color = _for_channels(self.color, self.channels)
        return Drawn(self.size, self.channels, tuple(self.steps), matrices, color, self.moved, total, tuple(self.done))

    def _compose(self, kind: Kind, rows: Rows, values: Array) -> None:
        every = len(rows) == self.count
        if kind.stage == "color" and every:
            self.color = kind.apply(self.color, *values)
        elif kind.stage == "color":
            self.color[:, :, rows] = kind.apply(self.color[:, :, rows], *values)
        elif every:
            kind.apply(self.frame, *values)
        else:
            frame = self.frame.take(rows)
            kind.apply(frame, *values)
            self.frame.put(rows, frame)

    def _flush(self, rows: Rows) -> None:
        """Put what is pending for some images into steps, so that their pixels are there."""
        rows = rows[self.pending[rows]]
        for moved in (False, True):
            part = rows[self.moved[rows] == moved]
            if len(part):
                matrices = self.frame.take(part).matrices(self.size)
                color = _for_channels(self.color[:, :, part], self.channels)
                self.steps.append(Pass(part, matrices, color, moved))
        self.frame.put(rows, Frame.whole(len(rows), *self.size, self.shape))
        self.color[:, :, rows] = _PLAIN[:, :, None]
        self.moved[rows], self.pending[rows] = True, False

    def _total(self, last: Array) -> Array:
        """All passes of each image together: float64 [N, 3, 3]."""
        total = np.tile(np.eye(3), (self.count, 1, 1))
        for step in self.steps:
            if isinstance(step, Pass):
                total[step.rows] = total[step.rows] @ step.matrices
        return total @ last


def _repeat(array: Array, count: int) -> Array:
    """One array for all images, the images last."""
    return np.broadcast_to(array[..., None], (*array.shape, count)).copy()


def _for_channels(color: Array, channels: Channels) -> NDArray[np.float32]:
    """Maps of red, green and blue [3, 4, n] -> maps of the image's own channels, float32 [n, C, C + 1]."""
    if channels == "grey":
        color = np.stack([LUMA @ color[:, :3].sum(1), LUMA @ color[:, 3]])[None]
    elif channels == "bgr":
        color = color[::-1][:, [2, 1, 0, 3]]
    return np.ascontiguousarray(color.transpose(2, 0, 1), np.float32)
