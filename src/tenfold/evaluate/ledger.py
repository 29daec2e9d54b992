"""The ledger of looks is written: a line in `ledger.jsonl` for each model that is measured on a test part.

What counts as a look stands in tenfold.looks. The line goes into the project's ledger and into the run's own.
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
from tenfold.looks import DIGITS, LEDGER, looks_at, looks_in

PATIENCE = 30.0
"""Seconds to wait for another evaluation that is writing; it needs milliseconds."""

# Windows refuses with the second one while a lock is just being removed.
_TAKEN = (FileExistsError, PermissionError) if os.name == "nt" else FileExistsError


def record_look(path: Path, run: Path, hashes: list[str], answers: str = "", *besides: str) -> int:
    """Note a look at these images; gives how many different ones there were, this one among them.

    `answers` is a hash of what was shown, and `besides` are those of what was shown with it: where all of it was shown
    before, the look is no further one. Without `answers` it is a further one always. What the project's ledger, `path`,
    or that of the run lacks of this is on the disk when this returns. Several processes may call this at once: each
    gets its own number. Raises DataError where a ledger is damaged or cannot be written.
    """
    own = run / LEDGER
    ledgers = [path, own] if run.is_dir() else [path]
    try:
        with locked(path.with_suffix(".lock")):
            for ledger in ledgers:
                _cut_torn_line(ledger)
            here, brought = looks_at(path, hashes), looks_in([own], hashes)
            known = here.answers | brought.answers
            shown = [answers, *besides]
            new = [text for text in shown if text not in known | here.besides | brought.besides]
            name = (new or shown)[0]
            look = max(here.number, brought.number, len(known)) + bool(new)
            line = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "run": run.name,
                "look": look,
                "images": len(hashes),
                "answers": name,
                "besides": [text for text in shown if text != name],
                "hashes": sorted({text[:DIGITS] for text in hashes}),
            }
            # A name that is no Unicode has lone surrogates; as \udcxx they are legal JSON.
            text = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
            for ledger in ledgers:
                noted = looks_in([ledger], hashes)
                if noted.number < look or not noted.answers | noted.besides >= {*shown}:
                    _append(ledger, text)
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
                    f"Another evaluation holds {path}; where none is running, one was killed: remove that file."
                ) from error
            time.sleep(0.02)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
