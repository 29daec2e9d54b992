"""tenfold cache: what was made of images once and runs share: decoded, features, proposals, checks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tenfold.commands.output import readable_bytes, say, show_json, show_table

if TYPE_CHECKING:
    from tenfold.images.cache import Entry


KINDS = {
    "pixels": "Decoded images",
    "features": "Features of images",
    "regions": "Features of regions",
    "proposals": "Proposals",
    "check": "What checks found",
    "": "Of an earlier version, of any kind",
}
"""Kind of an entry -> what it is called, in the order in which kinds are shown."""


def cache(
    *,
    clear: bool = False,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    json: bool = False,
) -> int:
    """Show the cache of decoded images and features, or clear it.

    Images are decoded once, for all runs that prepare them alike; features of
    pretrained networks, proposals and what a check compared are kept too. Clearing
    the cache loses nothing but the time to make all that again; fetched weights
    stay. TENFOLD_CACHE says where it lies, TENFOLD_CACHE_GIB how large it may
    become (0: no cache).

    For example:

        tenfold cache
        tenfold cache --all
        tenfold cache --clear

    Parameters
    ----------
    clear
        Delete all of it; the exit code is 1 where something could not be deleted.
    every
        Show each entry, not the kinds alone.
    json
        Print one JSON object.
    """
    from tenfold.images.cache import cache_entries, cache_folder, cache_limit, clear_cache

    if clear:
        freed, left = clear_cache(), sum(entry.bytes for entry in cache_entries())
        if json:
            show_json({"folder": cache_folder(), "freed": freed, "left": left})
        else:
            print(f"Freed {readable_bytes(freed)} in {cache_folder()}.")
        if left:
            say(f"{readable_bytes(left)} could not be deleted: another program uses it, or it can only be read.")
        return 1 if left else 0
    entries = cache_entries()
    total = sum(entry.bytes for entry in entries)
    if json:
        content = {"folder": cache_folder(), "bytes": total, "limit": cache_limit()}
        show_json(content | {"kinds": _kinds(entries), "entries": [_entry(entry) for entry in entries]})
        return 0
    if entries and every:
        rows = [(entry.path, entry.images, readable_bytes(entry.bytes), _time(entry.used)) for entry in entries]
        show_table(("Entry", "Images", "Size", "Last used"), rows)
    elif entries:
        kinds = [
            (KINDS[kind["kind"]], kind["entries"], readable_bytes(kind["bytes"]), kind["used"], kind["oldest"])
            for kind in _kinds(entries)
        ]
        show_table(("Kind", "Entries", "Size", "Last used", "Oldest use"), kinds)
    print(f"{readable_bytes(total)} of at most {readable_bytes(cache_limit())} in {cache_folder()}.")
    return 0


def _entry(entry: Entry) -> dict[str, object]:
    shown = {"path": entry.path, "kind": entry.kind, "images": entry.images, "bytes": entry.bytes}
    return shown | {"used": _time(entry.used)}


def _kinds(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Number, bytes, and the latest and the earliest last use of the entries of each kind that there is."""
    found = []
    for kind in KINDS:
        own = [entry for entry in entries if entry.kind == kind]
        if own:
            used = [entry.used for entry in own]
            sums = {"kind": kind, "entries": len(own), "bytes": sum(entry.bytes for entry in own)}
            found.append(sums | {"used": _time(max(used)), "oldest": _time(min(used))})
    return found


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
