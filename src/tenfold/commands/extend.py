"""tenfold extend: more classes or images for a run, its network as it is."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tenfold.commands.decodable import without_lost_classes
from tenfold.commands.live import Watch
from tenfold.commands.look import look_over
from tenfold.commands.new_folder import new_folder
from tenfold.commands.output import next_command, say, show_json, show_table, waiting
from tenfold.commands.predict_classes import tell_least
from tenfold.commands.readable import without_unreadable
from tenfold.commands.split import counts
from tenfold.commands.train import found_in
from tenfold.errors import DataError, UsageError

if TYPE_CHECKING:
    from tenfold.check import Looked
    from tenfold.estimate import Estimate
    from tenfold.evaluate import Evaluation
    from tenfold.images.table import Table
    from tenfold.run import Run
    from tenfold.transfer.extend import Added, Kept
    from tenfold.transfer.verdict import Change

MOST_LISTED = 12
"""Old classes whose recall is printed: those that lost most."""


def extend(
    run: Path,
    data: str,
    /,
    *,
    as_: Annotated[str, Parameter(name="--as")] = "",
    out: Path | None = None,
    groups_from: Annotated[str, Parameter(name=("--groups-from", "--group-pattern"))] = "",
    reader: str = "auto",
    check: Annotated[bool, Parameter(negative="--no-check")] = True,
    json: bool = False,
) -> int:
    """Add classes, or images of known classes, to a run without training its network again.

    A new run is made of the old one's images and the new ones; the old run stays as
    it is. The network is kept and a head of the same kind fitted anew, its strength
    chosen inside the training part, which takes seconds. Old images keep their
    parts, and new ones those that a written split of DATA gives them, or the one
    that the run was trained with, so that test images stay test images; other new
    ones are dealt to the parts as tenfold split would deal them, and those that the
    run has already are left out. What the old classes lost or won is
    shown on the old validation images. Of a run whose network was trained on its
    images (finetuned, residual, plain) the network stays as it was trained, and its
    last layers are replaced; a run of several networks (--model.members) cannot be
    extended.

    For example:

        tenfold extend runs/flowers-1 more-flowers
        tenfold extend runs/flowers-1 lilies --as lily
        tenfold extend runs/parts-1 scratched --out runs/with-scratched

    Parameters
    ----------
    run
        The folder of a run.
    data
        The new images: a folder with a folder for each class, a listing (path,label[,group,part]), or Parquet; with
        --as an image, or a folder of images.
    as_
        The class of all images in and below DATA, a new one or one that the run has.
    out
        The new run's folder; by default runs/NAME-NUMBER.
    groups_from
        A regular expression on the path below DATA; what its first bracket matches is the image's group. By default
        that of the run.
    reader
        How to read the data; auto looks at the path.
    check
        Look for near copies and shots in a row among old and new images, which then stay in one part.
    json
        Print one JSON object.
    """
    from tenfold.run import load_run
    from tenfold.split import find_split
    from tenfold.train import refuse_taken
    from tenfold.transfer.extend import add_images, extend_run, extending_recipe, place_images
    from tenfold.transfer.unknown import fit_unknown

    began = time.monotonic()
    old = load_run(run)
    with new_folder(out, Path(re.sub(r"-\d+$", "", old.path.resolve().name))) as folder:
        refuse_taken(folder)
        with waiting(f"Reading {data}"):
            more = _read(data, as_, reader, groups_from or old.recipe.data.group_pattern)
            more = more if check else _decodable(old, more)
            added = add_images(old, more)
        table, looked = added.table, None
        if check:
            looked, table = look_over(table, data, allow_truncated=old.recipe.data.allow_truncated)
            table = _readable(old, table, looked)
            added = added._replace(classes=tuple(name for name in added.classes if name in table.classes))
        split = find_split(Path(data))
        with waiting("Placing the new images"):
            table = place_images(old, table, [split] if split else [])
        notes = [*table.notes, *_alike(old, added), *filter(None, [_left_out(old, added), extending_recipe(old)[1]])]
        for note in notes:
            say(note)
        findings = found_in(looked, table).to_json() if looked else None
        with Watch() as watch:
            new = extend_run(old, table, folder, progress=watch, findings=findings)
    with waiting("Holding classes out"):
        held = fit_unknown(new)
    evaluation, kept = _judged(old, new)
    seconds = time.monotonic() - began
    if json:
        show_json(_summary(old, new, added, evaluation, kept) | {"notes": notes, "seconds": seconds})
        return 0
    _show(added, evaluation, kept, old)
    if held:
        tell_least(new, held)
    images, classes = _images(len(new.table) - len(old.table)), ", ".join(added.classes) or "none"
    print(f"Run: {new.path}, with {images} more in {seconds:.1f} s; new classes: {classes}")
    if len(new.table.part("test")):
        next_command("tenfold", "evaluate", new.path, "--part", "test", when="when you have done choosing")
    return 0


def _read(data: str, name: str, reader: str, pattern: str) -> Table:
    """The images of DATA with their classes, or all of the class of that name."""
    from tenfold.images.readers import read_images, read_table
    from tenfold.images.readers.folder import absolute, lies_bare
    from tenfold.images.readers.groups import group_by_name
    from tenfold.images.readers.labels import composed

    if not name:
        try:
            return read_table(data, reader, group_pattern=pattern)
        except DataError as error:
            if reader != "auto" or not lies_bare(data):
                raise
            raise DataError(f"{error} Images that are all of one class are read with --as NAME.") from error
    if reader != "auto" or not name.strip():
        raise UsageError("--as takes the name of a class, and is for images and folders of them, without --reader.")
    label, root, table = composed(name.strip()), absolute(data), read_images(data)
    table = replace(table.assign(label=[label] * len(table)), classes=(label,))
    return group_by_name(table, root if root.is_dir() else root.parent, pattern) if pattern else table


def _readable(old: Run, table: Table, looked: Looked) -> Table:
    """The table without new images that the check could not decode, of which its notes tell."""
    kept = without_unreadable(
        table, looked, refuse=old.recipe.data.unreadable == "refuse", known=set(old.table.samples["hash"])
    )
    if len(kept) == len(old.table):
        raise DataError(f"None of the new images can be read. {kept.notes[len(table.notes)]}")
    return kept


def _decodable(old: Run, more: Table) -> Table:
    """The new images without the classes of which none can be decoded, where no check looks at them.

    Their class would be in no fit, and the run would know a name that it never gives.
    """
    from tenfold.images.content import hashed

    data = old.recipe.data
    if set(more.classes) <= set(old.classes):  # what cannot be decoded is found when the images are prepared
        return more
    return without_lost_classes(hashed(more), allow_truncated=data.allow_truncated, refuse=data.unreadable == "refuse")


def _alike(old: Run, added: Added) -> list[str]:
    """What is said of new classes that are called like one of the run's but for capitals."""
    own = {name.casefold(): name for name in old.classes}
    pairs = [(name, own[name.casefold()]) for name in added.classes if name.casefold() in own]
    return [f"{name} is a new class beside {known}, which {old.path} has: capitals count." for name, known in pairs]


def _left_out(old: Run, added: Added) -> str:
    """What is said of new images that the run has already; nothing where there are none."""
    if not added.known:
        return ""
    other = (
        f"; of these {_images(added.relabeled)} under another label, where the run's stays" if added.relabeled else ""
    )
    return f"Left out, as {old.path} has it already: {_images(added.known)}{other}."


def _images(count: int) -> str:
    return f"{count} image{'s'[: count != 1]}"


def _judged(old: Run, new: Run) -> tuple[Evaluation | None, Kept | None]:
    """The new run on its validation part, and what became of the old run's."""
    from tenfold.evaluate import evaluate_run
    from tenfold.report import write_card
    from tenfold.transfer.extend import compare_extended

    with waiting("Evaluating on the validation part"):
        evaluation = evaluate_run(new, "validation") if len(new.table.part("validation")) else None
        write_card(new)
        return evaluation, compare_extended(old, new) if evaluation else None


def _summary(old: Run, new: Run, added: Added, evaluation: Evaluation | None, kept: Kept | None) -> dict[str, Any]:
    return {
        "run": new.path,
        "extends": old.path,
        "images": counts(new.table),
        "added": {"images": len(new.table) - len(old.table), "classes": list(added.classes)},
        "left_out": {"known": added.known, "relabeled": added.relabeled},
        "old": kept,
        "evaluation": {"validation": evaluation.to_json()} if evaluation else {},
    }


def _show(added: Added, evaluation: Evaluation | None, kept: Kept | None, old: Run) -> None:
    """The old validation images before and after, and the new classes."""
    from tenfold.report.figures import figure_label, write_level

    if evaluation is None:
        say("There is no validation part, so nothing says what the old classes lost, nor how good the new ones are.")
        return
    if kept is None:
        say(f"{old.path} has no validation images, so nothing says what the old classes lost.")
    else:
        rows = [(figure_label(name), *_cells(name, found)) for name, found in kept.figures.items()]
        falling = sorted(kept.recall.items(), key=lambda item: item[1].difference.value)
        rows += [(f"Recall of {name}", *_cells("recall", found)) for name, found in falling[:MOST_LISTED]]
        level = write_level(kept.figures["accuracy"].difference.level)
        title = f"The {kept.n} validation images of {old.path}, {level} intervals"
        show_table(("Figure", "Before", "After", "Difference, paired"), rows, title)
        if len(falling) > MOST_LISTED:
            print(f"... and {len(falling) - MOST_LISTED} more classes, which lost less or nothing; --json has all.\n")
    found = [row for row in evaluation.details["per_class"] if row["class"] in added.classes]
    if found:
        rows = [
            (row["class"], row["support"], *(_cell(name, row[name]) for name in ("recall", "precision")))
            for row in found
        ]
        show_table(("New class", "Images", "Recall", "Precision"), rows, f"Among all {evaluation.basis}")
    print(f"Accuracy: {_cell('accuracy', evaluation.figures['accuracy'])} on {evaluation.basis}.\n")


def _cells(name: str, found: Change) -> tuple[str, str, str]:
    from tenfold.report.ladder import write_difference

    return _cell(name, found.before), _cell(name, found.after), write_difference(name, found.difference)


def _cell(name: str, figure: Estimate | None) -> str:
    """A figure with its interval, "84.2 % (80.9 to 87.0)"; a dash where there is nothing that it could be of."""
    from tenfold.report.figures import write_interval, write_value

    return "-" if figure is None else f"{write_value(name, figure.value)} ({write_interval(name, figure)})"
