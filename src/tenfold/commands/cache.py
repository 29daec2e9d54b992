"""tenfold cache: the decoded images and frozen features that runs share."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from tenfold.commands.output import readable_bytes, show_json, show_table

if TYPE_CHECKING:
    from tenfold.images.cache import Entry


def cache(*, clear: bool = False, json: bool = False) -> int:
    """Show the cache of decoded images and features, or clear it.

    Images are decoded once, for all runs that prepare them alike. Clearing the
    cache loses nothing but the time to decode them again. TENFOLD_CACHE says
    where it lies, TENFOLD_CACHE_GIB how large it may become (0: no cache).

    For example:

        tenfold cache
        tenfold cache --clear

    Parameters
    ----------
    clear
        Delete every decoded image.
    json
        Print one JSON object.
    """
    from tenfold.images.cache import cache_entries, cache_folder, cache_limit, clear_cache

    if clear:
        freed = clear_cache()
        if json:
            show_json({"folder": cache_folder(), "freed": freed})
        else:
            print(f"Freed {readable_bytes(freed)} in {cache_folder()}.")
        return 0
    entries = cache_entries()
    total = sum(entry.bytes for entry in entries)
    if json:
        content = {"folder": cache_folder(), "bytes": total, "limit": cache_limit()}
        show_json(content | {"entries": [_entry(entry) for entry in entries]})
        return 0
    if entries:
        rows = [(entry.path, entry.images, readable_bytes(entry.bytes), _time(entry.used)) for entry in entries]
        show_table(("Entry", "Images", "Size", "Last used"), rows)
    print(f"{readable_bytes(total)} of at most {readable_bytes(cache_limit())} in {cache_folder()}.")
    return 0


def _entry(entry: Entry) -> dict[str, object]:
    return {"path": entry.path, "images": entry.images, "bytes": entry.bytes, "used": _time(entry.used)}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
