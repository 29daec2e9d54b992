"""Watched: a model that takes long for an image, and for its fit after the images, and tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from tenfold.models.contract import Model

Watch = Callable[[str, int, int], None]
"""(what, done, of): called before each of `of` like steps, `done` of them behind it, and after the last."""

IMAGES = "images"
"""What a model calls the images of one batch, of which there may be others."""


def unwatched(what: str, done: int, of: int) -> None:
    """Tell nobody."""


class Watched:
    """A model's first base; whoever fits it or has it look at images may set `watch`."""

    watch: Watch = staticmethod(unwatched)


def watched(watch: Watch, what: str, of: int) -> Iterator[int]:
    """The numbers below `of`, telling of each."""
    for done in range(of):
        watch(what, done, of)
        yield done
    watch(what, of, of)


def watch_of(model: Model) -> Watch:
    """Whom a model tells."""
    return model.watch if isinstance(model, Watched) else unwatched


@contextmanager
def watching(model: Model, watch: Watch) -> Iterator[None]:
    """Have a model tell `watch` meanwhile; one that tells nothing does not."""
    if not isinstance(model, Watched):
        yield
        return
    before, model.watch = model.watch, watch
    try:
        yield
    finally:
        model.watch = before


def looking(model: Model, what: str, of: int) -> AbstractContextManager[None]:
    """Have a model tell of `of` images, called `what`, that it sees in several batches; one that tells nothing does
    not.
    """
    return watching(model, _across(watch_of(model), what, of))


def _across(watch: Watch, what: str, of: int) -> Watch:
    """What counts the images of batches on, up to `of`; all else is told as it comes."""
    behind = 0

    def tell(name: str, done: int, count: int) -> None:
        nonlocal behind
        if name != IMAGES:
            watch(name, done, count)
            return
        watch(what, min(behind + done, of), of)
        behind += count if done == count else 0

    return tell
