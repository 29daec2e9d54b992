"""Views: the squares of an image that a frozen network is shown, each as it is or mirrored.

A network that is not trained gains by looking more than once: at the middle and at corners, from both sides. (The
lecture's views, which take color or texture away, are another thing: tenfold.augment.views.)

Shapes: N images, C channels, S pixels of an image's side, T of a view's side, V views.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from tenfold.errors import unknown


class View(NamedTuple):
    """Where a square lies in a larger one."""

    down: float
    """0 at the top, 1 at the bottom."""
    right: float
    """0 at the left, 1 at the right."""
    mirrored: bool
    """Left and right are exchanged."""


_CENTER = (View(0.5, 0.5, False),)
_CORNERS = tuple(View(down, right, False) for down in (0.0, 1.0) for right in (0.0, 1.0))


def _both(views: tuple[View, ...]) -> tuple[View, ...]:
    """Each view, then each mirrored."""
    return views + tuple(view._replace(mirrored=True) for view in views)


VIEWS: dict[str, tuple[View, ...]] = {
    "center": _CENTER,
    "flip": _both(_CENTER),
    "corners": _both(_CORNERS),
    "crops": _both(_CENTER + _CORNERS),
}
"""Name -> views: the middle; the middle and its mirror image; four corners and theirs (8); all of these (10)."""


def find_views(name: str) -> tuple[View, ...]:
    """The views of that name; a UsageError names the nearest one."""
    if name not in VIEWS:
        raise unknown("transfer.views", name, VIEWS)
    return VIEWS[name]


def cut_view(images: Tensor, view: View, size: int) -> Tensor:
    """[N, C, S, S] -> [N, C, T, T] with T = `size`, at most S."""
    top, left = (round(place * (images.shape[2] - size)) for place in (view.down, view.right))
    cut = images[:, :, top : top + size, left : left + size]
    return cut.flip(3) if view.mirrored else cut
