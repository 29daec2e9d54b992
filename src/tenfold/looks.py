"""Looks at a test part: how many models its images have judged, and what that does to an interval.

Each is a line of `ledger.jsonl` in the folder that holds the runs; tenfold.evaluate.ledger writes it. What counts:

- Images, not names. A look is a further one where it saw at least one image of an earlier look, by the hash of the
  image's bytes or of the image that it was made from. Renaming runs, folders or files, copying them, and adding or
  removing images reset nothing.
- Answers, not evaluations. The same answers to the same images with the same labels say nothing new, so a model that is
  evaluated again, at another level, from a copy or from new files of the same name, is no further look. Another
  threshold, or one image more, is: these are figures that were not known before.
- What is not known cannot count: looks outside of Tenfold or from another folder, images that were saved anew as other
  bytes, and `tenfold predict` on images whose labels the reader knows.
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING

from tenfold.errors import DataError
from tenfold.estimate import Estimate, clopper_pearson, level_of_each

if TYPE_CHECKING:
    from tenfold.images.table import Table

DIGITS = 16
"""Hexadecimal digits of a hash that the ledger keeps: two images of a million share them once in 37 million ledgers."""

_PROPORTIONS = ("Wilson over images", "Clopper-Pearson over images")
_APPROXIMATE = ", approximate"


def ledger_path(run: Path) -> Path:
    """The ledger of a run's project folder, which is the folder that holds the run."""
    return run.resolve().parent / "ledger.jsonl"


def image_hashes(table: Table) -> list[str]:
    """What a look at these images is known by: their hashes, and those of the images that they were made from."""
    samples = table.samples
    hashes: list[str] = [*samples["hash"].dropna(), *samples["origin"].dropna()]
    return hashes


def looks_at(path: Path, hashes: list[str]) -> set[str]:
    """The different looks of a ledger that saw at least one of these images: the hash of each one's answers.

    A last line without an end does not count: its writer was stopped before it showed anything. A look without a hash
    of its answers is one of its own. Raises DataError where the ledger is damaged.
    """
    wanted = {text[:DIGITS] for text in hashes}
    try:
        whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
        lines = [json.loads(line) for line in whole if line.strip()]
        found = [(place, line) for place, line in enumerate(lines) if not wanted.isdisjoint(line["hashes"])]
        return {line.get("answers") or f"line {place}" for place, line in found}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"The ledger of looks {path} is damaged: {error}.") from error


def count_looks(path: Path, hashes: list[str]) -> int:
    """How many looks there have been at these images. Raises DataError where the ledger is damaged."""
    return len(looks_at(path, hashes))


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
