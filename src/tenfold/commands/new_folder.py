"""Where a new run goes that its user gave no folder for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

from tenfold.environment import is_shared


@contextmanager
def new_folder(out: Path | None, data: Path) -> Iterator[Path]:
    """`out`; or runs/NAME-1, or the first number that is free, made at once: what begins meanwhile takes the next.

    It goes again where nothing was written into it. Several processes that train together must name the same folder,
    so that none of them makes it here.
    """
    if out is not None:
        yield out
        return
    folder = _taken(data.resolve().name.split(".")[0] or "images")
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()


def _taken(name: str) -> Path:
    """The first folder that nobody has, made unless that cannot be: whoever writes the run then says so."""
    for number in count(1):
        folder = Path("runs") / f"{name}-{number}"
        if folder.exists():
            continue
        try:
            if not is_shared():
                folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError:
            pass
        return folder
    raise AssertionError("there is always a next number")
