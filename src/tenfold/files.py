"""Files that are complete or absent: written aside, flushed, then renamed; and who may write them."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tenfold.errors import DataError

PATIENCE = 30.0
"""Seconds to wait for another process that is writing; it needs milliseconds."""

# Windows refuses with the second one while a lock is just being removed.
_TAKEN = (FileExistsError, PermissionError) if os.name == "nt" else FileExistsError


def write_file(path: str | Path, write: Callable[[Path], object] | bytes | str) -> None:
    """Write `path` so that at any moment it holds either the old content or the whole new one.

    `write` is the content, or a function that writes it to the path it is given (a name in the same folder).
    Raises OSError, which names `path`, where the disk is full or the folder read-only; what stood there before is then
    untouched.
    """
    try:
        _write_aside(Path(path), write)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def file_above(path: Path) -> Path | None:
    """What stands in the way of a folder at `path`: a file where a folder above it would have to be; mostly None."""
    above = next((folder for folder in path.absolute().parents if folder.exists()), None)
    return above if above is not None and not above.is_dir() else None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file that only one process can make; unlike the locks of systems it works the same on every disk."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            path.touch(exist_ok=False)
            break
        except _TAKEN as error:
            if time.monotonic() > until:
                raise DataError(
                    f"Another process holds {path}; where none is running, one was killed: remove that file."
                ) from error
            time.sleep(0.02)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _write_aside(path: Path, write: Callable[[Path], object] | bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    aside = Path(name)
    try:
        if callable(write):
            write(aside)
        else:
            aside.write_bytes(write.encode() if isinstance(write, str) else write)
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.chmod(0o666 & ~_umask())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
