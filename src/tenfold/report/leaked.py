"""What is known of images of a part that the model has seen already, as their copies stand in an earlier part.

It is known from the contents of the run's own images, from what they are augmented copies of (`tenfold augment
--save`), and from the check before training where there was one.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tenfold.check.findings import Findings
from tenfold.check.price import leaked_hashes
from tenfold.images.table import PARTS
from tenfold.words import are

if TYPE_CHECKING:
    import pandas as pd

    from tenfold.run import Run


UNCHECKED = "Whether near copies of these images are among the others was not checked; tenfold check DATA tells."


class Leaked(NamedTuple):
    """The evaluated images of a part that are not new to the model."""

    images: int
    words: str
    """ "3 have a copy in the training or validation part"; empty where none is known."""
    advice: str
    """What that does to the figures, or that no check has looked, and what to type: a sentence, or empty."""


def leaked_images(run: Run, part: str, unreadable: Collection[str] = ()) -> Leaked:
    """The images of a part that are known to have a copy, or one of their group or row of shots, in an earlier part.

    Those that could not be read, by their source, or have no class where images have one, are not counted: they
    are in no figure. Raises DataError where the run's findings are damaged.
    """
    before = PARTS[: PARTS.index(part)]
    samples = run.table.samples
    same = _same_images(samples, before)
    found = Findings.from_json(run.findings) if run.findings else Findings(0)
    copies = same | leaked_hashes(found, part, ("leak",))
    other = leaked_hashes(found, part) - copies
    own = samples[(samples["part"] == part) & ~samples["source"].isin(list(unreadable))]
    own = own if run.task.name == "detection" else own[own["label"].isin(run.classes)]
    count, more = int(own["hash"].isin(copies | other).sum()), bool(own["hash"].isin(other).any())
    if not count:
        return Leaked(0, "", "" if run.findings else UNCHECKED)
    place = f"the {' or '.join(name.replace('train', 'training') for name in before)} part"
    what = "a copy, or an image of the same group or row of shots," if more else "a copy"
    return Leaked(count, f"{count:,} {'has' if are(count) == 'is' else 'have'} {what} in {place}", _advice(run, part))


def _same_images(samples: pd.DataFrame, parts: Sequence[str]) -> set[str]:
    """The hashes of all samples that are one of these parts, its augmented copy, or what it is an augmented copy of."""
    roots, there = samples["hash"].where(~samples["copy"], samples["origin"]), samples["part"].isin(parts)
    known = {*samples["hash"][there].dropna(), *roots[there].dropna()}
    return set(samples["hash"][roots.isin(known) | samples["hash"].isin(known)].dropna())


def _advice(run: Run, part: str) -> str:
    """`tenfold check --price` prices the test part where there is one: of another part it would break the seal."""
    check = f"tenfold check {shlex.quote(run.recipe.data.path or 'DATA')}"
    if part != "test" and len(run.table.part("test")):
        return f"That may flatter the model; {check} --page check.html shows which they are."
    look = ", at the price of one more look at this test part" if part == "test" else ""
    return f"That may flatter the model; {check} --price {shlex.quote(str(run.path))} says by how much{look}."
