"""The images that `tenfold augment` shows or saves, and the policy and preprocessing that they get."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.commands.output import waiting
from tenfold.errors import DataError, UsageError

if TYPE_CHECKING:
    from tenfold.augment.feed import PolicyInput
    from tenfold.augment.policy import Policy
    from tenfold.images.preprocess import Preprocessing
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe
    from tenfold.run import Run


@dataclass(frozen=True)
class Source:
    """Images and what is to be done to them."""

    name: str
    table: Table
    policy: Policy
    asked: str
    """The policy as it was asked for; empty where it was not."""
    model: str
    """The network whose training it is."""
    typed: tuple[str, ...]
    """The options of `tenfold train` that make it this training; none of a run."""
    preprocessing: Preprocessing
    allow_truncated: bool
    run: Run | None
    notes: tuple[str, ...]
    path: str = ""
    """Where the images lie; empty of a run, whose table says that of each."""

    @property
    def training(self) -> str:
        """Which training prepares images so, in words, with its verb."""
        return "the run's training prepared" if self.run else f"training with --model {self.model} prepares"

    @property
    def stands_for_any(self) -> bool:
        """Whether the network was left open, and `tenfold train` chooses among several by what it measures."""
        return "--model" in self.typed and self.table.boxes is None

    @property
    def shown(self) -> Table:
        """The images that a policy may change: those of the training part where there are parts."""
        return self.table.part("train") if self.has_parts else self.table

    @property
    def has_parts(self) -> bool:
        return bool(self.table.samples["part"].notna().any())

    @property
    def shown_policy(self) -> Policy:
        """The policy that the sheet shows: images with boxes are not mixed."""
        return self.policy if self.table.boxes is None else unmixed(self.policy)

    @property
    def feed(self) -> PolicyInput:
        """What training would be fed with."""
        from tenfold.augment.feed import PolicyInput

        boxes = self.table.boxes is not None
        mixes: tuple[str, ...] = () if boxes else ("label",)
        moved = ("boxes",) if boxes else ()
        return PolicyInput(self.policy, self.preprocessing, lambda _: self.preprocessing.size, mixes, boxes=moved)


def unmixed(policy: Policy) -> Policy:
    """The policy without its mixing, as where it is not done."""
    from tenfold.augment.mix_settings import UNMIXED

    return replace(policy, mix=UNMIXED)


def read_source(data: str, policy: str, size: int, reader: str) -> Source:
    """A run, a recipe, or images. Where no network is named, it is the one that is trained from scratch.

    `policy`, `size` and `reader` are what was typed, or empty, 0 and "auto".

    Raises UsageError for an unknown policy or a recipe without data, DataError where there is nothing to change.
    """
    from tenfold.augment.chosen import chosen_policy
    from tenfold.recipe import Recipe, read_recipe
    from tenfold.train import choose_mixing, choose_settings, start_preprocessing

    asked: dict[str, Any] = {"policy": policy} if policy else {}
    if (Path(data) / "model.json").exists():
        from tenfold.run import load_run

        run = load_run(data)
        recipe = run.recipe.change(augment=asked)
        made = _resized(run.preprocessing, size) if size else run.preprocessing
        truncated = recipe.data.allow_truncated
        if reader != "auto":
            raise UsageError(f"--reader says how to read images, and {data} is a run; leave it out.")
        chosen, model = chosen_policy(recipe.augment), recipe.model.name
        return Source(data, run.table, chosen, policy, model, (), made, truncated, run, ())
    recipe = read_recipe(Path(data)) if data.lower().endswith(".toml") else Recipe().change(data={"path": data})
    if reader != "auto":
        recipe = recipe.change(data={"reader": reader})
    recipe = recipe.change(augment=asked, image={"size": size} if size else {})
    table, notes = _read_parted(recipe)
    training = table.part("train") if table.samples["part"].notna().any() else table
    if not len(training):
        raise DataError(f"{data} has no training images to augment: its training part is empty.")
    left_open = recipe.model.name == "auto"
    with waiting(f"Looking at {data}"):
        recipe = choose_mixing(choose_settings(recipe, training))
    truncated, made, model = recipe.data.allow_truncated, start_preprocessing(recipe), recipe.model.name
    options = {"--model": model if left_open else "", "--policy": policy, "--size": str(size or "")}
    options["--data.reader"] = "" if reader == "auto" else reader
    typed = tuple(word for name, value in options.items() if value for word in (name, value))
    return Source(
        data, table, chosen_policy(recipe.augment), policy, model, typed, made, truncated, None, notes, recipe.data.path
    )


def _resized(preprocessing: Preprocessing, size: int) -> Preprocessing:
    """Another size, the canvas with it."""
    canvas = max(size, round(size * preprocessing.canvas / preprocessing.size))
    return replace(preprocessing, size=size, canvas=canvas)


def _read_parted(recipe: Recipe) -> tuple[Table, tuple[str, ...]]:
    """The images with the parts of their written split, or of their reader, and what is to be said of it."""
    from tenfold.images.content import hashed
    from tenfold.images.readers import read_table
    from tenfold.split import find_split, read_split

    data = recipe.data
    if not data.path:
        raise UsageError("The recipe names no data; give the images themselves.")
    with waiting(f"Reading {data.path}"):
        table = hashed(read_table(data.path, data.reader, group_pattern=data.group_pattern))
    path = Path(recipe.split.file) if recipe.split.file else find_split(Path(data.path))
    if path is None:
        return _followed(table) if table.samples["part"].notna().any() else table, table.notes
    entries = {entry.hash: entry for entry in read_split(path)}
    known = [entries.get(digest) for digest in table.samples["hash"]]
    groups = [entry.group if entry else "" for entry in known]
    own = table.samples["group"].astype(object).where(table.samples["group"].notna(), None)
    table = table.assign(
        part=[entry.part or None if entry else None for entry in known],
        group=[mine or theirs or None for mine, theirs in zip(own, groups, strict=True)],
    )
    table = _followed(table, [entry is not None and not entry.part for entry in known])
    new = sum(entry is None and not copy for entry, copy in zip(known, table.samples["copy"], strict=True))
    notes = [f"Split: {path}"]
    if new:
        notes.append(f"{new} images are not in {path.name} yet and are left out; tenfold split places them.")
    return table, (*table.notes, *notes)


def _followed(table: Table, left_out: Sequence[bool] = ()) -> Table:
    """The table with augmented copies in training where their image is, but for those that are left out on purpose."""
    from tenfold.split.copies import Followers

    parts = Followers(table).parts([part if isinstance(part, str) else None for part in table.samples["part"]])
    return table.assign(part=[None if out else part for part, out in zip_longest(parts, left_out)])
