"""Counts and lists in sentences: "1 image", "1,200 images", "rose, tulip and 3 more"."""

from __future__ import annotations

from collections.abc import Sequence

LISTED = 8
"""Names in a sentence, where nothing speaks for fewer or more."""


def count(number: int, what: str) -> str:
    """ "1 image", "1,200 images", "2 classes", "3 identities"."""
    if number == 1:
        return f"1 {what}"
    if what.endswith("ty"):
        return f"{number:,} {what[:-1]}ies"
    return f"{number:,} {what}{'es' if what.endswith(('s', 'x')) else 's'}"


def are(number: int) -> str:
    """The verb for so many."""
    return "is" if number == 1 else "are"


def listed(names: Sequence[str], most: int = LISTED, between: str = ", ") -> str:
    """The first `most` names, and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return between.join(names[:most]) + more
