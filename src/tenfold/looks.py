"""Looks at a test part: how many models its images have judged, and what that does to an interval.

Each is a line of `ledger.jsonl` in the folder that holds the runs, and of the run's own `ledger.jsonl`, which goes with
it where it is copied or moved; tenfold.evaluate.ledger writes both. What counts:

- Images, not names. A look is a further one where it saw at least one image of an earlier look, by the hash of the
  image's bytes or of the image that it was made from. Renaming runs, folders or files, copying or moving them, and
  adding or removing images reset nothing.
- What was shown, not evaluations. The same answers to the same images with the same labels say nothing new, so a model
  that is evaluated again, at another level, from a copy or from new files of the same name, is no further look. Another
  threshold, top_k or positive class is where it shows other figures, and so is one image more, or figures of
  unknown images or of pairs that had not been asked for. Asking for less of what was shown is none.
- Numbers that a run brings along. Its own last line says how many looks there had been where it was; in another folder
  the count goes on from there.
- What is not known cannot count: looks outside of Tenfold, looks in a folder after a run was taken out of it, images
  that were saved anew as other bytes, and `tenfold predict` on images whose labels the reader knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

from tenfold.errors import DataError
from tenfold.estimate import Estimate, clopper_pearson, level_of_each

if TYPE_CHECKING:
    from tenfold.images.table import Table

LEDGER = "ledger.jsonl"

DIGITS = 16
"""Hexadecimal digits of a hash that the ledger keeps: two images of a million share them once in 37 million ledgers."""

_PROPORTIONS = ("Wilson over images", "Clopper-Pearson over images")
_APPROXIMATE = ", approximate"


class Looks(NamedTuple):
    """The looks that are known of at some images."""

    answers: frozenset[str]
    """What each is known by: the hash of what it showed that was new."""
    besides: frozenset[str]
    """The hashes of what else they showed."""
    number: int
    """How many there were; more than `answers` where a run came from a folder that had seen more of them."""


def ledger_path(run: Path) -> Path:
    """The ledger of a run's project: of the nearest folder above the run that has one, else of that which holds it."""
    folders = run.resolve().parents
    found = (folder / LEDGER for folder in folders if (folder / LEDGER).is_file())
    return next(found, folders[0] / LEDGER)


def image_hashes(table: Table) -> list[str]:
    """What a look at these images is known by: their hashes, and those of the images that they were made from."""
    samples = table.samples
    hashes: list[str] = [*samples["hash"].dropna(), *samples["origin"].dropna()]
    return hashes


def looks_at(path: Path, hashes: list[str]) -> Looks:
    """The looks at these images that a project's ledger or one of the runs beside it knows of, as `looks_in` has them.

    The runs' own ledgers tell of those that were copied or moved here and not evaluated yet.
    """
    beside = [ledger for ledger in sorted(path.parent.glob(f"*/{LEDGER}")) if (ledger.parent / "model.json").is_file()]
    return looks_in([path, *beside], hashes)


def looks_in(ledgers: Iterable[Path], hashes: list[str]) -> Looks:
    """The looks of these files that saw at least one of these images; a file that is missing has none.

    A last line without an end does not count: its writer was stopped before it showed anything. A look without a hash
    of its answers is one of its own. Raises DataError where a ledger is damaged.
    """
    wanted = {text[:DIGITS] for text in hashes}
    answers: set[str] = set()
    besides: set[str] = set()
    highest = 0
    for path in ledgers:
        try:
            for text, line in _lines(path):
                if not wanted.isdisjoint(line["hashes"]):
                    answers.add(line.get("answers") or text)
                    besides.update(line.get("besides", ()))
                    highest = max(highest, line.get("look", 0))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"The ledger of looks {path} is damaged: {error}.") from error
    return Looks(frozenset(answers), frozenset(besides), max(len(answers), highest))


def _lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The whole lines of a ledger, as they stand and as what they say."""
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [(text.decode(), json.loads(text)) for text in whole if text.strip()]


def count_looks(path: Path, hashes: list[str]) -> int:
    """How many looks there have been at these images. Raises DataError where a ledger is damaged."""
    return looks_at(path, hashes).number


def for_looks(figure: Estimate, before: int, looks: int) -> Estimate:
    """The interval after `looks` looks of a figure whose own interval allows for `before` of them.

    That of a proportion of images is exact; any other is stretched by the ratio of the normal quantiles, and its
    method says that it is approximate: a new evaluation, which is no further look, makes the one that was simulated.
    """
    if looks <= before:
        return figure
    level = level_of_each(1 - (1 - figure.level) * before, looks)
    if figure.method.startswith(_PROPORTIONS):
        low, high = clopper_pearson(round(figure.value * figure.n), figure.n, level)
        method = figure.method.replace("Wilson", "Clopper-Pearson")
        return Estimate(figure.value, low, high, level, figure.n, method)
    stretch = NormalDist().inv_cdf((1 + level) / 2) / NormalDist().inv_cdf((1 + figure.level) / 2)
    low = figure.value - stretch * (figure.value - figure.low)
    high = figure.value + stretch * (figure.high - figure.value)
    if figure.low >= 0 and figure.high <= 1:
        low, high = max(low, 0.0), min(high, 1.0)
    method = figure.method.removesuffix(_APPROXIMATE) + _APPROXIMATE
    return Estimate(figure.value, low, high, level, figure.n, method)
