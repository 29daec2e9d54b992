"""Watched: a model whose fit goes on for a while after it has seen the images, and tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

Watch = Callable[[str, int, int], None]
"""(what, done, of): called before each of `of` like steps, `done` of them behind it, and after the last."""


def unwatched(what: str, done: int, of: int) -> None:
    """Tell nobody."""


class Watched:
    """A model's first base; whoever fits it may set `watch`."""

    watch: Watch = staticmethod(unwatched)


def watched(watch: Watch, what: str, of: int) -> Iterator[int]:
    """The numbers below `of`, telling of each."""
    for done in range(of):
        watch(what, done, of)
        yield done
    watch(what, of, of)
