"""tenfold augment: what a policy makes of images, seen, saved, or tried on a trained model."""

from __future__ import annotations

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
    images: Whole = 6,
    draws: Whole = 6,
    out: Path = Path("augment.html"),
    save: Path | None = None,
    count: Whole = 1,
    include_originals: Annotated[bool, Parameter(negative="--no-originals")] = True,
    safety: Path | None = None,
    size: Whole = 0,
    seed: Whole = 0,
    reader: str = "auto",
    json: bool = False,
) -> int:
    """Show or save what a policy makes of images, or find ops that break the label.

    A sheet has a row for each image: as it is, and draws with the op and its
    magnitude under each, prepared as training prepares them. With --save, copies
    are written as files, as large as their source (with --size squares, as
    training sees them), with a listing augmented.csv that `tenfold train` reads;
    where the data have parts, of training images only, and copies stay in
    training however the listing is split. With --safety, each op is done alone to
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
        The name of a policy or a TOML file; by default what training would choose, or did. With --safety, all: ops
        that people take for harmless.
    images
        Rows of the sheet, from all classes in turns.
    draws
        Draws of each image.
    out
        The sheet, .html or .png.
    save
        Write augmented images and their listing into this folder, a new or empty one.
    count
        Copies of each image to save.
    include_originals
        List the images themselves too, those of the validation and test parts among them (those are never changed).
    safety
        A run whose answers to its validation images tell which ops break the label.
    size
        Height and width that the network sees; by default what training would choose, or did.
    seed
        Another seed chooses other images and draws.
    reader
        How to read the data; auto looks at the path.
    json
        Print one JSON object.
    """
    least_of = (("images", images, 1), ("draws", draws, 1), ("count", count, 1), ("size", size, 0), ("seed", seed, 0))
    for name, value, least in least_of:
        if value < least:
            raise UsageError(f"--{name} must be at least {least}, not {value}.")
    if safety is not None:
        if save is not None:
            raise UsageError("Give either --save or --safety, not both.")
        return try_ops(safety, data, policy, reader, seed, json)
    if not data:
        raise UsageError("Say what to augment: a folder of images, a listing, a run, a recipe, or digits (built in).")
    source = read_source(data, policy, size, reader)
    for note in source.notes:
        say(note)
    if save is not None:
        return _save(source, save, count, include_originals, bool(size), seed, json)
    if out.suffix.casefold() not in (".html", ".htm", ".png"):
        raise UsageError(f"--out must end in .html or .png, not {out}.")
    return _show_sheet(source, out, images, draws, seed, json)


def _show_sheet(source: Source, out: Path, images: int, draws: int, seed: int, json: bool) -> int:
    from tenfold.report.policy_sheet import draw_sheet, write_sheet

    part = "the training part" if source.has_parts else "all images, as they have no split yet"
    size = source.preprocessing.size
    about = [f"Images are drawn from {part}, and prepared as training prepares them, at {size} x {size} pixels."]
    with waiting("Drawing"):
        strips = draw_sheet(
            source.shown,
            source.feed,
            images=images,
            draws=draws,
            seed=seed,
            allow_truncated=source.allow_truncated,
        )
        write_sheet(out, source.name, source.shown_policy, strips, about)
    if json:
        rows = [
            {"image": strip.name, "label": strip.label, "draws": [draw.words for draw in strip.draws]}
            for strip in strips
        ]
        policy = _policy_json(source.policy, source.shown_policy)
        show_json({"data": source.name, **policy, "sheet": out, "size": size, "images": rows})
        return 0
    print(source.shown_policy)
    print(*about)
    print(f"Sheet: {out}")
    if source.run is not None:
        next_command("tenfold", "augment", "--safety", source.name, *_policy_option(source), when="to try each op")
    else:
        next_command("tenfold", "train", source.name, *_policy_option(source))
    return 0


def _save(
    source: Source, folder: Path, count: int, include_originals: bool, resize: bool, seed: int, json: bool
) -> int:
    from tenfold.augment.save import Saving, save_augmented

    saving = Saving(count, seed, resize, include_originals, source.allow_truncated)
    with waiting(f"Augmenting {source.name}"):
        saved = save_augmented(source.table, source.policy, source.preprocessing, folder, saving)
    for reason in saved.unreadable:
        say(f"left out: {reason}")
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


def _policy_option(source: Source) -> list[str]:
    return ["--policy", source.asked] if source.asked else []


def _policy_json(policy: Policy, done: Policy) -> dict[str, Any]:
    """The policy, and in words what of it is done."""
    return {"policy": policy.to_dict(), "words": str(done)}
