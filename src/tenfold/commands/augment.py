"""tenfold augment: what a policy makes of images, seen, saved, or tried on a trained model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tenfold.commands.augment_data import Source, read_source, unmixed
from tenfold.commands.options import Whole
from tenfold.commands.output import next_command, say, show_json, waiting
from tenfold.commands.safety import try_ops
from tenfold.errors import UsageError

if TYPE_CHECKING:
    from tenfold.augment.policy import Policy


def augment(
    data: str = "",
    /,
    *,
    policy: str = "",
    images: Whole | None = None,
    draws: Whole | None = None,
    out: Path | None = None,
    save: Path | None = None,
    count: Whole | None = None,
    include_originals: Annotated[bool | None, Parameter(negative="--no-originals")] = None,
    safety: Path | None = None,
    size: Whole | None = None,
    seed: Whole = 0,
    reader: str = "auto",
    json: bool = False,
) -> int:
    """Show or save what a policy makes of images, or find ops that break the label.

    A sheet has a row for each image: as it is, and draws with the op and its
    magnitude under each, prepared as a run's training prepared them, or as training
    from scratch would. With --save, copies are written as files, as large as their
    source (with --size as that training sees them), with a listing augmented.csv
    that `tenfold train` reads; where the data have parts, of training images only,
    and copies stay in training however the listing is split. With --safety, each op is done alone to
    the validation images of a run, and those that turn one class into another are
    named (a 6 turned by 180 degrees); the exit code is 1 where the policy does
    that.

    For example:

        tenfold augment flowers --policy strong
        tenfold augment flowers --policy mine.toml --out sheet.png
        tenfold augment flowers --policy randaugment --save copies --count 5
        tenfold augment flowers --safety runs/flowers-1 --policy all

    Parameters
    ----------
    data
        The images, as for tenfold train; or a run's folder or a recipe, whose policy and preprocessing count. With
        --safety it may be left out: it says where the run's validation images lie now.
    policy
        The name of a policy or a TOML file; by default that of the run or recipe, else what training from scratch
        would choose. With --safety, all: ops that people take for harmless.
    images
        Rows of the sheet, from all classes in turns; by default 6.
    draws
        Draws of each image on the sheet; by default 6.
    out
        The sheet, .html or .png; by default augment.html.
    save
        Write augmented images and their listing into this folder, a new or empty one.
    count
        Copies of each image to save; by default 1.
    include_originals
        List the images themselves too, those of the validation and test parts among them (those are never changed);
        the default with --save.
    safety
        A run whose answers to its validation images tell which ops break the label.
    size
        Height and width that the network sees, of a rectangle those of the square of as many pixels; by default those
        of the run or recipe, else what training from scratch would choose.
    seed
        Another seed chooses other images and draws.
    reader
        How to read the data; auto looks at the path.
    json
        Print one JSON object.
    """
    least_of = {"images": images, "draws": draws, "count": count, "size": size, "seed": seed}
    for name, value in least_of.items():
        least = int(name in ("images", "draws", "count"))
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, not {value}.")
    if safety is not None and save is not None:
        raise UsageError("Give either --save or --safety, not both.")
    originals = "--no-originals" if include_originals is False else "--include-originals"
    given = {"--images": images, "--draws": draws, "--out": out, "--size": size}
    given |= {"--count": count, originals: include_originals}
    _refuse_ignored("--safety" if safety is not None else "--save" if save is not None else "the sheet", given)
    _refuse_policy(policy, safety)
    if safety is not None:
        if not data and reader != "auto":
            raise UsageError("--reader says how to read the data; give the data too, or leave it out.")
        return try_ops(safety, data, policy, reader, seed, json)
    if not data:
        raise UsageError("Say what to augment: a folder of images, a listing, a run, a recipe, or digits (built in).")
    sheet = Path("augment.html") if out is None else out
    if sheet.suffix.casefold() not in (".html", ".htm", ".png"):
        raise UsageError(f"--out must end in .html or .png, not {out}.")
    source = read_source(data, policy, size or 0, reader)
    for note in source.notes:
        say(note)
    if save is not None:
        return _save(source, save, count or 1, include_originals is not False, bool(size), seed, json)
    return _show_sheet(source, sheet, images or 6, draws or 6, seed, json)


_USED_BY = {
    "--images": ("the sheet",),
    "--draws": ("the sheet",),
    "--out": ("the sheet",),
    "--size": ("the sheet", "--save"),
}
"""What an option is for; those that are not here are for --save alone."""


def _refuse_ignored(wanted: str, given: Mapping[str, object]) -> None:
    """Raise UsageError for an option that was given, as its value is not None, and says nothing of what is wanted."""
    for name, value in given.items():
        used_by = _USED_BY.get(name, ("--save",))
        if value is not None and wanted not in used_by:
            raise UsageError(f"{name} is for {' and '.join(used_by)}, not for {wanted}; leave it out.")


def _refuse_policy(policy: str, safety: Path | None) -> None:
    """Raise what is wrong with a policy's name or file, before what takes seconds to load is loaded."""
    if policy == "all":
        if safety is None:
            raise UsageError("--policy all is for --safety; name one policy or a TOML file.")
    elif policy:
        from tenfold.augment.chosen import read_policy

        read_policy(policy)


def _show_sheet(source: Source, out: Path, images: int, draws: int, seed: int, json: bool) -> int:
    from tenfold.report.policy_sheet import draw_sheet, write_sheet

    part = "the training part" if source.has_parts else "all images, as they have no split yet"
    size, (height, width) = source.preprocessing.size, source.preprocessing.sides
    about = [f"Images are drawn from {part}, and prepared as {source.training} them, at {width} x {height} pixels."]
    if source.stands_for_any:
        about.append("Without --model, tenfold train may take a pretrained network, with another size and policy.")
    if source.run is not None and (source.asked or size != source.run.preprocessing.size):
        about.append("The policy or the size is the one given, not the run's.")
    with waiting("Drawing"):
        strips = draw_sheet(
            source.shown,
            source.feed,
            images=images,
            draws=draws,
            seed=seed,
            allow_truncated=source.allow_truncated,
        )
        note = write_sheet(out, source.name, source.shown_policy, strips, about)
    if note:
        say(note)
    if json:
        rows = [
            {"image": strip.name, "label": strip.label, "draws": [draw.words for draw in strip.draws]}
            for strip in strips
        ]
        policy = _policy_json(source.policy, source.shown_policy)
        sides = {"size": size, "width": width, "height": height}
        show_json({"data": source.name, **policy, "model": source.model, "sheet": out, **sides, "images": rows})
        return 0
    print(source.shown_policy)
    print(*about)
    print(f"Sheet: {out}")
    if source.run is None:
        next_command("tenfold", "train", source.name, *source.typed)
    elif source.run.task.name == "classification":
        asked = source.asked or ("" if source.policy.ops else "all")  # of none there is nothing to try
        policy_option = ["--policy", asked] if asked else []
        next_command("tenfold", "augment", "--safety", source.name, *policy_option, when="to try each op")
    return 0


def _save(
    source: Source, folder: Path, count: int, include_originals: bool, resize: bool, seed: int, json: bool
) -> int:
    from tenfold.augment.save import Saving, left_behind, save_augmented
    from tenfold.images.table import given_areas, lost_areas

    saving = Saving(count, seed, resize, include_originals, source.allow_truncated)
    with waiting(f"Augmenting {source.name}"):
        saved = save_augmented(source.table, source.policy, source.preprocessing, folder, saving)
    for reason in saved.unreadable:
        say(f"left out: {reason}")
    for note in (*saved.notes, *lost_areas(given_areas(source.table))):
        say(note)
    if left := left_behind(source.path, boxed=source.table.boxes is not None):
        say(f"{saved.listing} does not carry over these columns of {source.path}: {', '.join(left)}.")
    parts = "of the training part alone, so that no copy of a validation or test image exists"
    if not source.has_parts:
        parts = (
            "of all images, as these data have no split. A split of the listing keeps copies with their image, and "
            "leaves out those of validation and test images; run tenfold split first to make none of these"
        )
    done = unmixed(source.policy)
    if source.policy.mix.is_on:
        say("Mixing (mixup, CutMix) is left to training: a file has one label.")
    if json:
        counted = {"copies": saved.copies, "sources": saved.sources, "originals": saved.originals}
        content = {"data": source.name, **_policy_json(source.policy, done), "listing": saved.listing, **counted}
        show_json({**content, "split": source.has_parts, "unreadable": saved.unreadable})
        return 0
    print(done)
    print(f"{saved.copies:,} copies of {saved.sources:,} images, {parts}.")
    print(f"Listing: {saved.listing} (originals: {saved.originals:,})")
    if not saved.originals:
        print("It holds copies alone, which nothing can be judged by, so tenfold train refuses it.")
        return 0
    next_command("tenfold", "train", saved.listing, "--policy", "none", when="for these images as they are")
    return 0


def _policy_json(policy: Policy, done: Policy) -> dict[str, Any]:
    """The policy, and in words what of it is done."""
    return {"policy": policy.to_dict(), "words": str(done)}
