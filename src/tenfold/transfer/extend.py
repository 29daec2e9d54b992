"""Extend: a run, and images that it does not have -> a new run that knows them too, on the old one's network.

The network stays as it is, so that only a head has to be fitted anew: of the same kind, its strength chosen again. What
the old run holds in its parts stays there, as in a written split; so does what another written split has, and the
other new images are dealt as `tenfold split` deals new ones, so that copies, groups and sets of what is alike stay
together. The old run is not changed.

Shapes: N images, K classes.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from tenfold.errors import DataError, UsageError
from tenfold.estimate import to_json, units_of
from tenfold.evaluate.compare import paired_differences, stored_answers
from tenfold.files import write_file
from tenfold.images.content import hashed
from tenfold.images.prepared import prepare_table
from tenfold.images.readers.labels import natural_order
from tenfold.images.table import PARTS, Table, stack_tables
from tenfold.models.backbones import OWN
from tenfold.models.frozen import named_backbone
from tenfold.recipe import Recipe, TrainSettings, TransferSettings
from tenfold.run import Run
from tenfold.split import Entry, apply_split, read_split, write_split
from tenfold.split.fill import LEFT_OUT, noted, tied_parts, torn_note
from tenfold.split.ties import bond, bonds, is_found, texts
from tenfold.train import Report, listing_file, no_report, refuse_taken, train_model
from tenfold.transfer.ladder import LADDER
from tenfold.transfer.settle import is_open, settle_head
from tenfold.transfer.verdict import Change
from tenfold.words import listed

HEAD = "logistic"
"""What is fitted to the features of a network that had another kind of last layer."""
_PART = "validation"
_STRICTEST = (LEFT_OUT, "test", "validation", "train")


class Added(NamedTuple):
    """A run's images and new ones."""

    table: Table
    """The run's images, their parts left out, and then the new ones, with the parts that the reader found."""
    classes: tuple[str, ...]
    """Those that the run does not have."""
    known: int
    """Images that the run has already."""
    relabeled: int
    """Of these, those that had another label among the new images; they keep the run's."""


@dataclass(frozen=True)
class Kept:
    """What became of the answers to those validation images that the old run was judged by."""

    n: int
    figures: dict[str, Change]
    """"accuracy" and "log_loss"."""
    recall: dict[str, Change]
    """Of each class that the old run knows and that has such images."""

    def to_json(self) -> dict[str, Any]:
        """JSON values: each change as {"before", "after", "difference"}."""
        changes = {"figures": self.figures, "recall": self.recall}
        shown = {name: {key: vars(found) for key, found in part.items()} for name, part in changes.items()}
        content: dict[str, Any] = to_json({"n": self.n, **shown})
        return content


def add_images(old: Run, more: Table) -> Added:
    """The images of a run and, of another table, those that it does not have.

    Raises UsageError where the run cannot be extended, or there is nothing new; DataError where images of the run are
    neither where they were nor in the cache, or no new one can be read.
    """
    _refuse(old)
    _refuse_lost(old)
    more = hashed(more)
    held = dict(zip(texts(old.table, "hash"), texts(old.table, "label"), strict=True))
    pairs = list(zip(texts(more, "hash"), texts(more, "label"), strict=True))
    fresh = more.take([row for row, (digest, _) in enumerate(pairs) if digest not in held])
    relabeled = sum(digest in held and label not in (None, held[digest]) for digest, label in pairs)
    if not len(fresh):
        raise UsageError(f"{old.path} has all of these {len(more)} images already; give images that it does not have.")
    classes = tuple(natural_order({label for label in texts(fresh, "label") if label} - set(old.classes)))
    every = (*old.classes, *classes)
    kept = _ungrouped(old.table)
    both = stack_tables([replace(part, classes=every) for part in (kept.assign(part=[None] * len(kept)), fresh)])
    return Added(replace(both, notes=more.notes), classes, len(more) - len(fresh), relabeled)


def place_images(old: Run, table: Table, splits: Iterable[Path] = ()) -> Table:
    """The table of `add_images` with parts, as `tenfold split` gives them to images that a written split lacks.

    What a written split says of a new image holds, so that no test image of it is trained on: of `splits`, and of the
    one that the run was trained with, as a run of a cross-validation has no test part itself. Where two differ, the
    stricter holds: left out, test, validation, train. An image that such a part would tear from another part's is left
    out. What a check found to be alike (`table.alike`) stays together; `notes` say what was left out.
    """
    split, kept = old.recipe.split, old.table.samples["part"]
    validation, test = (
        share if share >= 0 else float((kept == part).mean())
        for part, share in ((_PART, split.validation), ("test", split.test))
    )
    given, note = _given(old, table, splits)
    table = _without_torn(noted(table, note, _lost_split(old)), old, given)
    with TemporaryDirectory(prefix="tenfold-") as folder:
        written = Path(folder) / old.path.resolve().name
        if given:
            write_file(written, _split_text(given))
        write_split(_ungrouped(old.table), written)
        return apply_split(table, written, validation=validation, test=test, seed=old.recipe.train.seed)


def extending_recipe(old: Run) -> tuple[Recipe, str]:
    """The recipe that extends a run, its head's strength open; and what there is to say of the network, a sentence.

    The network of a run of the model "frozen" is that of its recipe, where those weights are still here: then its
    features are in the cache. Else it is taken out of the run. The head "majority" is left open, as it looks at no
    image and so could never tell a class that is added.
    """
    recipe, frozen = old.recipe, old.card["architecture"] == "frozen"
    lasting = {name: getattr(recipe.train, name) for name in ("seed", "device", "threads", "workers")}
    made = Recipe(recipe.data, replace(recipe.split, per_class=0), recipe.image, train=TrainSettings(**lasting))
    made = made.change(model={"name": "frozen"})
    if not frozen:
        transfer = TransferSettings(init=_full(old.path), views="center", head=HEAD)
        return replace(made, transfer=transfer), (
            f"The network that {old.path} trained stays as it is from here on, and a new last layer, a logistic "
            "regression, is fitted to its features."
        )
    blind = recipe.transfer.head == "majority"
    looks = replace(recipe.transfer, strength=0.0, sharpness=0.0, head="auto" if blind else recipe.transfer.head)
    said = f"{old.path} gives every image its most frequent class, so that the ladder is climbed anew." if blind else ""
    if _has_weights(old):
        return replace(made, transfer=looks), said
    inside = replace(looks, backbone=TransferSettings().backbone, weights="", init=_full(old.path))
    gone = (
        f"The weights that {old.path} started from are no longer on this machine, so those inside it are taken, and "
        "the features are computed anew."
    )
    return replace(made, transfer=inside), f"{gone} {said}".rstrip()


def extend_run(
    old: Run,
    table: Table,
    out: str | Path,
    *,
    progress: Report = no_report,
    findings: dict[str, Any] | None = None,
) -> Run:
    """Fit a head of the old run's kind to the training part of a table of `place_images`, and leave a run in `out`.

    The kind is chosen by the ladder where the old one looks at no image.

    Old and new images lie in different places, so its recipe reads them from a list that is written into the run before
    the fit, where all of them are files of their own; `resume_settled` goes on after a kill. `progress` and `findings`
    as for `train_model`. Raises UsageError where `out` is taken, DataError for a new class without a
    training image, and what `settle_head` and `train_model` raise.
    """
    folder = Path(out)
    refuse_taken(folder)
    taught = {*old.classes, *texts(table.part("train"), "label")}
    if lost := [name for name in table.classes if name not in taught]:
        raise DataError(
            f"No image of {listed(lost)} is in the training part, so {old.path} cannot learn to name it; give more "
            "images, or parts that leave some for training."
        )
    recipe, _ = extending_recipe(old)
    in_files = not table.samples["row"].notna().any()
    where = {"path": str(listing_file(folder)), "reader": "listing"} if in_files else {"path": "", "reader": "auto"}
    recipe = recipe.change(data={**where, "group_pattern": ""}, split={"file": ""})
    heads = LADDER if is_open(recipe) else (recipe.transfer.head,)
    settled = settle_head(table, recipe, heads=heads, progress=progress)
    return train_model(table, settled.recipe, folder, progress=progress, findings=findings, known=settled.known)


def compare_extended(old: Run, new: Run, level: float = 0.95) -> Kept | None:
    """The old run's validation images before and after, by what `evaluate_run` stored; None where there are none.

    Raises UsageError where one of the runs was not evaluated on its validation part.
    """
    if not len(old.table.part(_PART)):
        return None
    after, before = (stored_answers(run, _PART, run.classes) for run in (new, old))
    images = before.index.intersection(after.index, sort=False)
    if not len(images):
        return None
    truth = before.loc[images, "truth"].to_numpy(np.int64)
    units = units_of(before.loc[images, "group"].to_numpy(object), len(images))
    sides = [np.stack(frame.loc[images, "probability"].to_list())[None] for frame in (after, before)]
    recall = {}
    for place, name in enumerate(old.classes):
        rows = np.flatnonzero(truth == place)
        if len(rows):
            own = [side[:, rows] for side in sides]
            found = paired_differences(truth[rows], own, units.take(rows), level)
            recall[name] = Change.of(found["accuracy"])
    whole = paired_differences(truth, sides, units, level)
    return Kept(len(images), {name: Change.of(found) for name, found in whole.items()}, recall)


def _refuse(old: Run) -> None:
    """Raise UsageError where a run cannot be extended."""
    kind = old.card["architecture"]
    if old.task.name != "classification" or not ("backbone" in old.card["settings"] or kind in OWN):
        raise UsageError(
            f"A run can be extended where its network is a classifier's and can stay as it is (frozen, finetuned, "
            f"{', '.join(OWN)}), and {old.path} is of the model {kind}; train on old and new images together instead."
        )
    if (members := old.card["settings"].get("members", 1)) > 1:
        raise UsageError(
            f"A run can be extended where it has one network, whose features a new last layer is fitted to, and "
            f"{old.path} has {members} (--model.members {members}); train on old and new images together instead."
        )
    if len(old.table.part(_PART)):
        stored_answers(old, _PART, old.classes)  # to be compared with later; better refused now


def _refuse_lost(old: Run) -> None:
    """Raise DataError where images of a run have gone whose pixels are not in the cache either."""
    seen = old.table.without("test")
    prepared = prepare_table(seen, old.preprocessing, allow_truncated=old.recipe.data.allow_truncated)
    if prepared.unreadable:
        reason = next(iter(prepared.unreadable.values())).rstrip(".")
        raise DataError(
            f"{len(prepared.unreadable)} of the {len(seen)} images that {old.path} learnt and was judged from are "
            f"neither where they were nor in the cache; bring them back: {reason}."
        )


def _has_weights(old: Run) -> bool:
    """Whether the weights that a run's recipe names are on this machine, and still those that the run has."""
    try:
        _, origin = named_backbone(asdict(old.recipe.transfer))
    except DataError:
        return False
    return bool(origin.sha256 == old.card["weights"].get("sha256"))


def _ungrouped(table: Table) -> Table:
    """A run's table as it was before the sets that a check found became groups: what only looks alike is no group."""
    groups, hashes = texts(table, "group"), texts(table, "hash")
    sets = {row: group for row, group in enumerate(groups) if group and is_found(group)}
    own = [None if row in sets else group for row, group in enumerate(groups)]
    alike = {digest: group for row, group in sets.items() if (digest := hashes[row])}
    return replace(table.assign(group=own), alike=table.alike | alike)


def _given(old: Run, table: Table, splits: Iterable[Path]) -> tuple[list[Entry], str]:
    """What written splits say of images that a run does not have, the table's or tied to these; and that in words."""
    own = Path(old.recipe.split.file)
    files = dict.fromkeys(path.resolve() for path in (*splits, own) if path.is_file())
    held, here = {*texts(old.table, "hash")}, {*texts(table, "hash")}
    lines = [(path, entry) for path in files for entry in read_split(path) if entry.hash not in held]
    ties = {name for names in bonds(table) for name in names}
    ties |= {name for _, entry in lines if entry.hash in here for name in bond(entry.hash, entry.group, entry.alike)}
    found: dict[str, Entry] = {}
    for _, entry in lines:
        if not ties.isdisjoint(bond(entry.hash, entry.group, entry.alike)):
            other = found.get(entry.hash, entry)
            found[entry.hash] = min(other, entry, key=lambda each: _STRICTEST.index(each.part))
    counts = Counter(entry.part for digest, entry in found.items() if digest in here and entry.part)
    if not counts:
        return list(found.values()), ""
    names = " and ".join(dict.fromkeys(path.name for path, entry in lines if entry.hash in here))
    each = ", ".join(f"{counts[part]} to {part}" for part in PARTS if counts[part])
    return list(found.values()), f"The parts that {names} gives to new images hold: {each}."


def _without_torn(table: Table, old: Run, given: list[Entry]) -> Table:
    """The table without the new images whose given part is another than that of what they belong to; a note says so."""
    hashes, new = texts(table, "hash"), {entry.hash: entry.part for entry in given}
    known = dict(zip(texts(old.table, "hash"), texts(old.table, "part"), strict=True)) | new
    ties = bonds(table) + [bond(entry.hash, entry.group, entry.alike) for entry in given]
    tied = tied_parts(ties, [known.get(digest) for digest in hashes] + [entry.part for entry in given])
    torn = [row for row, digest in enumerate(hashes) if new.get(digest or "") and len(tied[row]) > 1]
    kept = np.setdiff1d(np.arange(len(table)), torn)
    return noted(table.take(kept), torn_note(table, np.array(torn, np.int64))) if torn else table


def _lost_split(old: Run) -> str:
    """What is said where a run has no test part and the split that may have one is gone; else nothing."""
    file = old.recipe.split.file
    if not file or Path(file).is_file() or len(old.table.part("test")):
        return ""
    return f"The split that {old.path} was trained with, {file}, is gone: its test images are not known as such."


def _split_text(entries: list[Entry]) -> str:
    """A written split of these lines."""
    text = StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([Entry._fields, *entries])
    return text.getvalue()


def _full(path: Path) -> str:
    return str(path.absolute())
