"""Which images have taught an earlier run's network or had a say in it: they cannot judge what goes on from it.

A run that started from another one (`transfer.init`) holds that one's network, so the images of both count, and so on
along the chain. As the earlier runs may be moved or deleted later, each run keeps the list of theirs, in NOTE.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tenfold.errors import DataError, UsageError
from tenfold.images.table import Table, load_table
from tenfold.recipe import read_recipe

if TYPE_CHECKING:
    import pandas as pd

NOTE = "earlier.json"
"""What a run's folder holds of the runs before it: `Taught.to_json`."""


class Taught(NamedTuple):
    """The images that a network knows, by their hashes and those of the images that they were made from."""

    train: frozenset[str]
    """What it learned from."""
    validation: frozenset[str]
    """What chose in it, as an epoch or a network."""
    gone: tuple[str, ...] = ()
    """The folders of earlier runs of which nothing is known any more."""

    @property
    def every(self) -> frozenset[str]:
        """What it learned from or was chosen by."""
        return self.train | self.validation

    def to_json(self) -> dict[str, Any]:
        """JSON values, of which `from_json` makes the same."""
        return {"train": sorted(self.train), "validation": sorted(self.validation), "gone": list(self.gone)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Taught:
        """Raises KeyError or TypeError for what `to_json` does not give."""
        return cls(frozenset(content["train"]), frozenset(content["validation"]), tuple(content["gone"]))


def taught_by(folder: Path) -> Taught:
    """The images that have taught or judged the network in a run's folder, through its chain of `transfer.init`.

    Those of its test parts are none of them. Raises DataError where the run's table or NOTE is missing or damaged.
    """
    samples = load_table(folder / "table.parquet", ()).samples
    train, validation = (image_names(samples[samples["part"] == part]) for part in ("train", "validation"))
    seen, gone = {folder.resolve()}, tuple[str, ...]()
    while not (folder / NOTE).is_file():
        init = _init_of(folder)
        if not init:
            return Taught(train, validation, gone)
        folder = Path(init)
        if folder.resolve() in seen or not (folder / "table.parquet").is_file():  # or another run in its place
            return Taught(train, validation, (*gone, init))
        seen.add(folder.resolve())
        samples = load_table(folder / "table.parquet", ()).samples
        train |= image_names(samples[samples["part"] == "train"])
        validation |= image_names(samples[samples["part"] == "validation"])
    noted = _read_note(folder / NOTE)
    return Taught(train | noted.train, validation | noted.validation, gone + noted.gone)


def image_names(samples: pd.DataFrame) -> frozenset[str]:
    """What the images of a Table's samples are known by: their hashes, and those of what they were made from."""
    return frozenset([*samples["hash"].dropna(), *samples["origin"].dropna()])


def known_rows(table: Table, images: frozenset[str]) -> pd.Series[bool]:
    """Which samples of a table with hashes are among these images, or made from one of them."""
    return table.samples["hash"].isin(images) | table.samples["origin"].isin(images)


def learn_from(table: Table, init: str) -> tuple[Taught | None, tuple[str, ...]]:
    """What has taught the run that a training on this table starts from, and what there is to say of that, sentences.

    None without `init` (transfer.init). `table` has parts and hashes. Raises UsageError where the run knows images of
    the test part, whose figures would no longer be of images that the model has never seen; DataError as `taught_by`.
    """
    if not init:
        return None, ()
    taught = taught_by(Path(init))
    test, validation = table.part("test"), table.part("validation")
    if count := int(known_rows(test, taught.every).sum()):
        raise UsageError(
            f"transfer.init (--init) must be a run that has seen none of the test images, and {init}, or a run that it "
            f"started from, learned from or chose by {count:,} of these {len(test):,}; train with the split that it "
            "had (--split), or leave --init out."
        )
    said = []
    if count := int(known_rows(validation, taught.train).sum()):
        said.append(
            f"The network of {init} learned from {count:,} of the {len(validation):,} validation images, so figures on "
            "them flatter the model; the split that it was trained with (--split) keeps them apart."
        )
    if taught.gone and len(test):
        said.append(
            f"The network of {init} goes back to {', '.join(taught.gone)}, which is no longer there: whether that "
            "learned from images of the test part is not known."
        )
    return taught, tuple(said)


def _init_of(folder: Path) -> str:
    recipe = folder / "recipe.toml"
    return read_recipe(recipe).transfer.init if recipe.is_file() else ""


def _read_note(path: Path) -> Taught:
    try:
        return Taught.from_json(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}, the images of earlier runs, is damaged ({' '.join(str(error).split())}); train that run again."
        ) from error
