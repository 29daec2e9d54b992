"""What Tenfold raises: one sentence that says which argument, what is allowed, what came and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class TenfoldError(Exception):
    """Any error that Tenfold raises on purpose; its text is one sentence for the user."""


class UsageError(TenfoldError, ValueError):
    """An argument, option or setting is not allowed (exit code 2)."""


class DataError(TenfoldError, ValueError):
    """Data, a run or a file cannot be read or is not what it should be (exit code 3)."""


class TrainingError(TenfoldError, RuntimeError):
    """Training cannot go on, for example because the loss is no longer finite (exit code 1)."""


class Interrupted(TenfoldError):
    """Ctrl-C stopped the work after all of it was saved; the text says how to go on (exit code 130)."""


def unknown(what: str, name: str, allowed: Iterable[str]) -> UsageError:
    """A UsageError for a `name` that is not among `allowed`; the nearest allowed name comes first."""
    names = list(allowed)
    near = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return UsageError(f"{what} must be one of {', '.join(names)}, not {name!r}{hint}")
