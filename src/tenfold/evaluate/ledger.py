"""The ledger of looks is written: a line in `ledger.jsonl` for each model that is measured on a part of its images.

What counts as a look, and which ledgers there are, stands in tenfold.looks.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tenfold.errors import DataError
from tenfold.files import locked
from tenfold.looks import DIGITS, LEDGER, Looks, ledger_above, looks_at, looks_in


def record_look(path: Path, run: Path, hashes: list[str], answers: str = "", *besides: str, part: str = "test") -> int:
    """Note a look at these images; gives how many different ones there were, this one among them.

    `answers` is a hash of what was shown, and `besides` are those of what was shown with it: where all of it was shown
    before, the look is no further one. Without `answers` it is a further one always. What `path`, the project's
    ledger or that of the run lacks of this, and of the looks that are known, is on the disk when this returns. Several
    processes may call this at once: each gets its own number. `part`, as which the run has the images, is for people
    alone. Raises DataError where a ledger is damaged or cannot be written.
    """
    shown, ledger = [answers, *besides], path
    ledgers = list(dict.fromkeys([path, ledger_above(run), run / LEDGER])) if run.is_dir() else [path]
    try:
        with ExitStack() as locks:
            for lock in sorted({each.with_suffix(".lock") for each in ledgers if each.parent != run}):
                locks.enter_context(locked(lock))
            for ledger in ledgers:
                _cut_torn_line(ledger)
            here = looks_at(run, hashes)
            new = [text for text in shown if not text or (text not in here.answers and text not in here.besides)]
            name = (new or shown)[0]
            look = here.number + bool(new)
            line = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "run": run.name,
                "part": part,
                "look": look,
                "images": len(hashes),
                "answers": name,
                "besides": [text for text in shown if text != name],
                **({"least": look} if here.number > len(here.answers) else {}),
                "known": _known(here, hashes, name),
                "hashes": sorted({text[:DIGITS] for text in hashes}),
            }
            # A name that is no Unicode has lone surrogates; as \udcxx they are legal JSON.
            text = (json.dumps(line, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
            for ledger in ledgers:
                if not _has(looks_in([ledger], hashes), shown, here, look):
                    _append(ledger, text)
    except OSError as error:
        raise DataError(
            f"The look cannot be noted in {ledger} ({error.strerror or error}), so its figures are not shown; see that "
            "the folder can be written to, then evaluate again."
        ) from error
    return look


def _known(here: Looks, hashes: list[str], name: str) -> dict[str, list[str] | None]:
    """The other looks, each with those of the images that it saw; None: all of them."""
    count = len({text[:DIGITS] for text in hashes})
    others = ((answer, seen) for answer, seen in here.answers.items() if answer != name)
    return {answer: None if len(seen) == count else sorted(seen) for answer, seen in others}


def _has(noted: Looks, shown: list[str], here: Looks, look: int) -> bool:
    """Whether a ledger holds what was shown and all looks that are known."""
    told = all(text in noted.answers or text in noted.besides for text in shown)
    return told and noted.number >= look and here.answers.items() <= noted.answers.items()


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
