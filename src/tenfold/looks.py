"""Looks at images that judge: how many models they have judged, and what that does to an interval.

Each is a line of the project's `ledger.jsonl`, in the folder that holds the runs; of the one beside the written split;
and of the run's own, which goes with it where it is copied or moved. tenfold.evaluate.ledger writes them. What counts:

- Images, not names. A look is a further one where it saw at least one image of an earlier look, by the hash of the
  image's bytes or of the image that it was made from. Renaming runs, folders or files, copying or moving them, and
  adding or removing images reset nothing.
- Images, not parts. An evaluation of a validation part is a line too. It costs nothing, as validation images are no
  test images; where some are so in another split, these have been looked at.
- What was shown, not evaluations. The same answers to the same images with the same labels say nothing new, so a model
  that is evaluated again, at another level, from a copy or from new files of the same name, is no further look. Another
  threshold, top_k or positive class is where it shows other figures, and so is one image more, or figures of
  unknown images or of pairs that had not been asked for. Asking for less of what was shown is none.
- The looks of all who share a split. The ledger beside the written split (`split.file`) that the run was trained with
  is one for runs in all folders, and stays when they are deleted. Where there is no such file, or it cannot be written,
  the project's alone counts, that of the nearest folder above the run that has one, else of the folder that holds the
  run; `ledger_note` says so. The runs of a folder of folds, or of shares for a learning curve, belong where that
  folder does, and to the split that its recipe names.
- Looks that a run brings along. Each line names all looks at its images that were known then, and which of these images
  each had seen, so that wherever a run arrives, what it knows and what is known there make one set.
- What is not known cannot count: looks outside of Tenfold, looks elsewhere after a run or a split was taken away from
  there, images that were saved anew as other bytes, what a training chose by its validation part and did not show, and
  `tenfold predict` on images whose labels the reader knows.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

from tenfold.errors import DataError
from tenfold.estimate import Estimate, clopper_pearson, from_json, level_of_each
from tenfold.recipe import read_recipe

if TYPE_CHECKING:
    from tenfold.images.table import Table

LEDGER = "ledger.jsonl"

DIGITS = 16
"""Hexadecimal digits of a hash that the ledger keeps: two images of a million share them once in 37 million ledgers."""

_OF_SEVERAL = re.compile(r"repeat\d+-fold\d+|share[^/]+-seed\d+")
"""The names of runs in a folder of folds or of shares, as tenfold.train makes it."""
_PARTS_OF_FOLD = ".split.csv"
_PROPORTIONS = {f"{name} over {of}" for name in ("Wilson", "Clopper-Pearson") for of in ("images", "comparisons")}
_APPROXIMATE = ", approximate"


class Looks(NamedTuple):
    """The looks that are known of at some images."""

    answers: Mapping[str, frozenset[str]]
    """What each is known by, the hash of what it showed that was new -> which of these images it saw."""
    besides: frozenset[str]
    """The hashes of what else they showed."""
    number: int
    """How many there were; more than `answers` where a ledger of an earlier version counted some without names."""


def ledger_path(run: Path) -> Path:
    """The ledger that the most runs share, whose lock is held while a look of this run is noted: see the top."""
    beside = _beside_split(run)
    return beside if beside and _can_write(beside) else ledger_above(run)


def ledger_note(run: Path) -> str:
    """What there is to say where the looks of runs in other folders are not known, a sentence; else empty."""
    if (path := ledger_path(run)) == _beside_split(run):
        return ""
    return (
        f"Looks are counted in {path.parent} and in its runs alone: no written split of these images is known, beside "
        "which all of them could be."
    )


def image_hashes(table: Table) -> list[str]:
    """What a look at these images is known by: their hashes, and those of the images that they were made from."""
    samples = table.samples
    hashes: list[str] = [*samples["hash"].dropna(), *samples["origin"].dropna()]
    return hashes


def looks_at(run: Path, hashes: list[str]) -> Looks:
    """The looks at these images that the project's ledger, the run or one of those beside it knows of.

    The runs' own ledgers tell of those that were copied or moved here and not evaluated yet; so do those that earlier
    versions kept in a folder of folds.
    """
    above, holder = ledger_above(run), run.resolve().parent
    shared = [path for path in (_beside_split(run), above, holder / LEDGER) if path]
    beside = [
        ledger
        for folder in dict.fromkeys((holder, above.parent))
        for inside in (folder, *_those_of_several(folder))
        for ledger in sorted(inside.glob(f"*/{LEDGER}"))
        if _counts_in(folder, ledger.parent)
    ]
    return looks_in([*shared, run / LEDGER, *beside], hashes)


def _those_of_several(folder: Path) -> list[Path]:
    """The folders of folds or shares in a folder. Only in these it is looked for runs: others may hold many images."""
    return [found.parent for found in sorted(folder.glob("*/recipe.toml")) if _holds_several(found.parent)]


def _counts_in(folder: Path, place: Path) -> bool:
    """Whether a ledger there is that of a run in the folder, of a folder of folds in it, or of a run in such a one."""
    if place.parent == folder:
        return (place / "model.json").is_file() or _holds_several(place)
    return (place / "model.json").is_file() and _is_of_several(place)


def _holds_several(folder: Path) -> bool:
    """Whether a folder may be one of folds or shares: it has a recipe, and is no run itself."""
    return (folder / "recipe.toml").is_file() and not (folder / "model.json").is_file()


def _is_of_several(run: Path) -> bool:
    """Whether a run is one of a folder of folds or shares."""
    return _OF_SEVERAL.fullmatch(run.name) is not None and _holds_several(run.parent)


def looks_in(ledgers: Iterable[Path], hashes: list[str]) -> Looks:
    """The looks of these files that saw at least one of these images; a file that is missing has none.

    A last line without an end does not count: its writer was stopped before it showed anything. A look without a hash
    of its answers is one of its own. Raises DataError where a ledger is damaged.
    """
    wanted = frozenset(text[:DIGITS] for text in hashes)
    answers: dict[str, frozenset[str]] = {}
    besides: set[str] = set()
    least, read = 0, set[str]()
    for path in dict.fromkeys(ledgers):
        try:
            for text in _lines(path):
                if (name := hashlib.sha256(text).hexdigest()[:DIGITS]) in read:
                    continue  # a run's own line, which stands in the project's ledger too
                read.add(name)
                line = json.loads(text)
                for answer, images in _told(line, name, wanted):
                    before = answers.get(answer, images)
                    answers[answer] = before if images <= before else before | images
                if not wanted.isdisjoint(line["hashes"]):
                    besides.update(line.get("besides", ()))
                    least = max(least, line.get("least", 0 if "known" in line else line.get("look", 0)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"The ledger of looks {path} is damaged: {error}.") from error
    return Looks(answers, frozenset(besides), max(len(answers), least))


def _told(line: dict[str, Any], name: str, wanted: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Each look that a line tells of, its own first, and which of the wanted images that saw, at least one."""
    images = frozenset(line["hashes"])
    seen = wanted if wanted <= images else wanted & images
    for answer, some in {line.get("answers") or name: None, **line.get("known", {})}.items():
        own = seen if some is None else seen.intersection(some)
        if own:
            yield answer, own


def _lines(path: Path) -> list[bytes]:
    """The whole lines of a ledger."""
    whole = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [text for text in whole if text.strip()]


def count_looks(run: Path, hashes: list[str]) -> int:
    """How many looks there have been at these images. Raises DataError where a ledger is damaged."""
    return looks_at(run, hashes).number


def _beside_split(run: Path) -> Path | None:
    """The ledger beside the written split that a run was trained with, there or not; None where the split is not.

    Of a fold, whose parts stand in a file beside it, that is the split which all folds were made from.
    """
    recipe = run / "recipe.toml"
    split = Path(read_recipe(recipe).split.file) if recipe.is_file() else Path()
    if not (split.is_absolute() and split.is_file()):
        return None
    fold = split.resolve().with_name(split.name.removesuffix(_PARTS_OF_FOLD))
    return _beside_split(fold.parent) if _is_of_several(fold) else fold.parent / LEDGER


def _can_write(ledger: Path) -> bool:
    """Whether a ledger can be written, or a new one and its lock be made, as far as its permissions say."""
    return os.access(ledger.parent, os.W_OK) and (not ledger.exists() or os.access(ledger, os.W_OK))


def ledger_above(run: Path) -> Path:
    """The project's ledger: that of the nearest folder above a run that has one, else of that which holds it.

    A run that is trained within another one, as a fine-tuned network is, belongs to the project of that one; and one
    of a folder of folds or shares to the project of that folder, where other runs judge by the same images.
    """
    below, above = [run.resolve(), *run.resolve().parents], list(run.resolve().parents)
    within = [
        number
        for number, (inner, folder) in enumerate(zip(below, above, strict=False))
        if (folder / "model.json").is_file() or _is_of_several(inner)
    ]
    folders = above[within[-1] + 1 :] if within else above
    found = (folder / LEDGER for folder in folders if (folder / LEDGER).is_file())
    return next(found, folders[0] / LEDGER)


def say_now(evaluation: dict[str, Any], run: Path) -> str:
    """The first figure of one of a run's stored evaluations, in words, its interval as the looks since then make it.

    Empty where there is none.
    """
    figures: dict[str, Estimate] = from_json(evaluation.get("figures", {}))
    for name, figure in figures.items():
        try:
            now, after = for_looks(figure, *_before_and_now(evaluation, run)), ""
        except DataError as error:
            now, after = figure, f"; later looks are not counted, as {error}"
        return f"{name.replace('_', ' ')} {now}, n = {figure.n}{after}"
    return ""


def _before_and_now(evaluation: dict[str, Any], run: Path) -> tuple[int, int]:
    """For how many looks an evaluation's intervals allow, and how many there have been by now."""
    if evaluation["part"] != "test":
        return 1, 1
    from tenfold.images.table import load_table

    test = load_table(run / "table.parquet", ()).part("test")
    return max(int(evaluation["look"]), 1), count_looks(run, image_hashes(test))


def for_looks(figure: Estimate, before: int, looks: int) -> Estimate:
    """The interval after `looks` looks of a figure whose own interval allows for `before` of them.

    That of a proportion of images is exact; any other is stretched by the ratio of the normal quantiles, and its
    method says that it is approximate: a new evaluation, which is no further look, makes the one that was simulated.
    """
    if looks <= before:
        return figure
    level = level_of_each(1 - (1 - figure.level) * before, looks)
    if figure.method.partition(" (")[0] in _PROPORTIONS:  # in brackets, why groups were not counted by
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
