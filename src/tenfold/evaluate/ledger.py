"""The ledger of looks: every time a test part is evaluated, a line in `ledger.jsonl` in the folder that holds the run.

Looks are counted by the images looked at, not by a run's name: another name, or a copy in the same folder, resets
nothing. A run that is moved to another folder starts a ledger there.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tenfold.errors import DataError

PATIENCE = 30.0
"""Seconds to wait for another evaluation that is writing; it needs milliseconds."""

# Windows refuses with the second one while a lock is just being removed.
_TAKEN = (FileExistsError, PermissionError) if os.name == "nt" else FileExistsError


def ledger_path(run: Path) -> Path:
    """The ledger of a run's project folder, which is the folder that holds the run."""
    return run.resolve().parent / "ledger.jsonl"


def count_looks(path: Path, hashes: list[str]) -> int:
    """How many earlier looks saw at least one of these images. Raises DataError where the ledger is damaged.

    A last line without an end does not count: its writer was stopped before it showed anything.
    """
    wanted = {text[:16] for text in hashes}
    try:
        whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        lines = [json.loads(line) for line in whole if line.strip()]
        return sum(not wanted.isdisjoint(line["hashes"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"The ledger of looks {path} is damaged: {error}.") from error


def record_look(path: Path, run: Path, hashes: list[str]) -> int:
    """Note a look at these images; gives its number, from 1.

    The line is on the disk when this returns. Several processes may call it at once: each gets its own number.
    Raises DataError where the ledger is damaged or cannot be written.
    """
    try:
        with _lock(path.with_suffix(".lock")):
            _cut_torn_line(path)
            look = count_looks(path, hashes) + 1
            line = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "run": run.name,
                "look": look,
                "images": len(hashes),
                "hashes": sorted({text[:16] for text in hashes}),
            }
            # A name that is no Unicode has lone surrogates; as \udcxx they are legal JSON.
            _append(path, (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise DataError(
            f"The look cannot be noted in {path} ({error.strerror or error}), so its figures are not shown; see that "
            "the folder can be written to, then evaluate again."
        ) from error
    return look


def _cut_torn_line(path: Path) -> None:
    """Remove a last line that a killed process or a full disk left without its end."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _append(path: Path, line: bytes) -> None:
    """Write a whole line in one piece, and wait until the disk has it."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
    try:
        if os.write(handle, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Hold a file that only one process can make; unlike the locks of systems it works the same on every disk."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            path.touch(exist_ok=False)
            break
        except _TAKEN as error:
            if time.monotonic() > until:
                raise DataError(
                    f"Another evaluation holds {path}; where none is running, one was killed: remove that file."
                ) from error
            time.sleep(0.02)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
