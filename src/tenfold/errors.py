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


_CALLED = {
    "image_size": "size",
    "img_size": "size",
    "imgsz": "size",
    "learning_rate": "lr",
    "resolution": "size",
    "time": "minutes",
}
"""What other programs call a setting -> its name here, where the letters do not tell."""


def unknown(what: str, name: str, allowed: Iterable[str], near: str = "") -> UsageError:
    """A UsageError for a `name` that is not among `allowed`; `near` is what was meant, else a name like it."""
    names = list(allowed)
    alike = [near] if near else get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {alike[0]!r}?" if alike else "."
    return UsageError(f"{what} must be one of {', '.join(names)}, not {name!r}{hint}")


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Which of the options or settings that there are, such as --image.size, --size or image.size, was meant.

    One that has this very name in whatever section, or the name that it has elsewhere; else the one most like it.
    """
    names = sorted(allowed, key=len, reverse=True)  # so that the shortest of one name counts
    known = {_bare(one): one for one in names}
    meant = _CALLED.get(_bare(name), _bare(name))
    return known[meant] if meant in known else get_close_matches(name, names, n=1, cutoff=0)[0]


def _bare(name: str) -> str:
    """The name without its section and the dashes of an option."""
    return name.strip("-").rpartition(".")[2].replace("-", "_")
