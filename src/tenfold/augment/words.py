"""What a policy did to one image, in words: each op with its magnitude, and of a blend each changed copy's weight.

    the image itself: 34 %
    chain 1: 22 %
    · skew x 0, y -0.0667
    · rotate -3.33°

A blend (AugMix) is a mean of the image and of copies that ops have changed one after the other. `Drawn.trace` strings
the ops of all copies together, so that nobody can tell which of them belong together, or how much of a copy is seen.

Shapes: K copies.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tenfold.augment.draw import Blending, Drawn

Done = tuple[str, str]
"""An op's name and its magnitude in words."""


class Blended(NamedTuple):
    """A mean of an image and of changed copies of it."""

    weights: list[float]
    """[1 + K], those of the image itself and of its copies; their sum is 1."""
    copies: list[list[Told]]
    """[K], what was done to each copy, in order."""


Told = Done | Blended


def tell(drawn: Drawn, row: int) -> list[Told]:
    """What was done to the image in this row, in order."""
    blends = [step for step in drawn.steps if isinstance(step, Blending)]
    # What a blend's copies had done to them follows as one piece in `done`: the blend stands where its piece begins.
    inside = {id(done): place for place, blend in enumerate(blends) for copy in blend.copies for done in copy.done}
    found, told = list[Told](), set[int]()
    for done in drawn.done:
        place = inside.get(id(done))
        if place is None:
            found += [(done.op.name, done.op.kind.words(done.values[:, at])) for at in np.flatnonzero(done.rows == row)]
        elif place not in told:
            told.add(place)
            found += _blended(blends[place], row)
    return found


def _blended(blend: Blending, row: int) -> list[Blended]:
    """The blend of this image; none where it has none."""
    return [
        Blended(blend.weights[at].tolist(), [tell(copy, row) for copy in blend.copies])
        for at in np.flatnonzero(blend.rows == row)
    ]


def lines_of(told: list[Told]) -> list[str]:
    """A line for each op, as under a picture; of a blend one for each copy too, with its ops below it."""
    lines: list[str] = []
    for one in told:
        if not isinstance(one, Blended):
            lines.append(_op_words(one))
            continue
        lines.append(f"the image itself: {_percent(one.weights[0])}")
        for number, (weight, copy) in enumerate(zip(one.weights[1:], one.copies, strict=True), 1):
            lines.append(f"chain {number}: {_percent(weight)}")
            lines += [f"· {line}" for line in lines_of(copy) or ["unchanged"]]
    return lines


def line_of(told: list[Told]) -> str:
    """All in one line, as in a listing: "rotate 12°; flip horizontal"."""
    return "; ".join(_blend_words(one) if isinstance(one, Blended) else _op_words(one) for one in told)


def _blend_words(blend: Blended) -> str:
    """ "blend of the image itself (34 %), chain 1 (22 %: skew x 0, y -0.0667; rotate -3.33°)"."""
    words = [f"the image itself ({_percent(blend.weights[0])})"]
    for number, (weight, copy) in enumerate(zip(blend.weights[1:], blend.copies, strict=True), 1):
        words.append(f"chain {number} ({_percent(weight)}: {line_of(copy) or 'unchanged'})")
    return f"blend of {', '.join(words)}"


def _op_words(done: Done) -> str:
    name, magnitude = done
    return f"{name.replace('_', ' ')} {magnitude}".strip()


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
