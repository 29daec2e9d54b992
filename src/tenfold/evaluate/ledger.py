"""The ledger of looks: every time a test part is evaluated, a line in `ledger.jsonl` beside the runs.

Looks are counted by the images looked at, not by a run's name: a copy or a renamed run resets nothing.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

from tenfold.errors import DataError


def ledger_path(run: Path) -> Path:
    """The ledger of a run's project folder, which is the folder that holds the run."""
    return run.resolve().parent / "ledger.jsonl"


def count_looks(path: Path, hashes: list[str]) -> int:
    """How many earlier looks saw at least one of these images. Raises DataError where the ledger is damaged."""
    wanted = {text[:16] for text in hashes}
    if not path.exists():
        return 0
    try:
        lines = [json.loads(line) for line in path.read_text("utf-8").splitlines() if line.strip()]
        return sum(not wanted.isdisjoint(line["hashes"]) for line in lines)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"The ledger of looks {path} is damaged: {error}.") from error


def record_look(path: Path, run: Path, hashes: list[str]) -> int:
    """Note a look at these images; gives its number, from 1."""
    look = count_looks(path, hashes) + 1
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": run.name,
        "look": look,
        "images": len(hashes),
        "hashes": sorted({text[:16] for text in hashes}),
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
    return look
