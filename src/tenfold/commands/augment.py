"""tenfold augment: what a policy makes of images, seen, saved, or tried on a trained model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tenfold.commands.options import Whole
from tenfold.commands.output import next_command, say, show_json, show_table, waiting
from tenfold.errors import DataError, UsageError

if TYPE_CHECKING:
    from tenfold.augment.feed import PolicyInput
    from tenfold.augment.policy import Policy
    from tenfold.evaluate.safety import Safety
    from tenfold.images.preprocess import Preprocessing
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe
    from tenfold.run import Run


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
    where the data have parts, of training images only. With --safety, each op is
    done alone to the validation images of a run, and those that turn one class
    into another are named (a 6 turned by 180 degrees); the exit code is 1 where
    the policy does that.

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
    for name, value, least in (("images", images, 1), ("draws", draws, 1), ("count", count, 1), ("size", size, 0)):
        if value < least:
            raise UsageError(f"--{name} must be at least {least}, not {value}.")
    if safety is not None:
        if save is not None:
            raise UsageError("Give either --save or --safety, not both.")
        return _try_ops(safety, data, policy, reader, seed, json)
    if not data:
        raise UsageError("Say what to augment: a folder of images, a listing, a run, a recipe, or digits (built in).")
    source = _read_source(data, policy, size, reader)
    for note in source.notes:
        say(note)
    if save is not None:
        return _save(source, save, count, include_originals, bool(size), seed, json)
    if out.suffix.casefold() not in (".html", ".htm", ".png"):
        raise UsageError(f"--out must end in .html or .png, not {out}.")
    return _show_sheet(source, out, images, draws, seed, json)


@dataclass(frozen=True)
class _Source:
    """Images and what is to be done to them."""

    name: str
    table: Table
    policy: Policy
    asked: str
    """The policy as it was asked for; empty where it was not."""
    preprocessing: Preprocessing
    allow_truncated: bool
    run: Run | None
    notes: tuple[str, ...]

    @property
    def shown(self) -> Table:
        """The images that a policy may change: those of the training part where there are parts."""
        return self.table.part("train") if self.has_parts else self.table

    @property
    def has_parts(self) -> bool:
        return bool(self.table.samples["part"].notna().any())

    @property
    def feed(self) -> PolicyInput:
        from tenfold.augment.feed import PolicyInput

        return PolicyInput(self.policy, self.preprocessing, lambda _: self.preprocessing.size, ("label",))


def _read_source(data: str, policy: str, size: int, reader: str) -> _Source:
    """A run, a recipe, or images."""
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
        return _Source(data, run.table, chosen_policy(recipe.augment), policy, made, truncated, run, ())
    recipe = read_recipe(Path(data)) if data.lower().endswith(".toml") else Recipe().change(data={"path": data})
    if reader != "auto":
        recipe = recipe.change(data={"reader": reader})
    recipe = recipe.change(augment=asked, image={"size": size} if size else {})
    table, notes = _read_parted(recipe)
    training = table.part("train") if table.samples["part"].notna().any() else table
    if not len(training):
        raise DataError(f"{data} has no training images to augment: its training part is empty.")
    with waiting(f"Looking at {data}"):
        recipe = choose_mixing(choose_settings(recipe, training))
    truncated, made = recipe.data.allow_truncated, start_preprocessing(recipe)
    return _Source(data, table, chosen_policy(recipe.augment), policy, made, truncated, None, notes)


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
        return table, table.notes
    entries = {entry.hash: entry for entry in read_split(path)}
    known = [entries.get(digest) for digest in table.samples["hash"]]
    groups = [entry.group if entry else "" for entry in known]
    own = table.samples["group"].astype(object).where(table.samples["group"].notna(), None)
    table = table.assign(
        part=[entry.part or None if entry else None for entry in known],
        group=[mine or theirs or None for mine, theirs in zip(own, groups, strict=True)],
    )
    new = sum(entry is None for entry in known)
    notes = [f"Split: {path}"]
    if new:
        notes.append(f"{new} images are not in {path.name} yet and are left out; tenfold split places them.")
    return table, (*table.notes, *notes)


def _show_sheet(source: _Source, out: Path, images: int, draws: int, seed: int, json: bool) -> int:
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
        write_sheet(out, source.name, source.policy, strips, about)
    if json:
        rows = [
            {"image": strip.name, "label": strip.label, "draws": [draw.words for draw in strip.draws]}
            for strip in strips
        ]
        show_json({"data": source.name, **_policy_json(source.policy), "sheet": out, "size": size, "images": rows})
        return 0
    print(source.policy)
    print(*about)
    print(f"Sheet: {out}")
    if source.run is not None:
        next_command("tenfold", "augment", "--safety", source.name, *_policy_option(source), when="to try each op")
    else:
        next_command("tenfold", "train", source.name, *_policy_option(source))
    return 0


def _save(
    source: _Source, folder: Path, count: int, include_originals: bool, resize: bool, seed: int, json: bool
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
            "of all images, as these data have no split: training will put copies into validation and test parts "
            "beside their source. Run tenfold split first to avoid that"
        )
    if source.policy.mix.is_on:
        say("Mixing (mixup, CutMix) is left to training: a file has one label.")
    if json:
        counted = {"copies": saved.copies, "sources": saved.sources, "originals": saved.originals}
        content = {"data": source.name, **_policy_json(source.policy), "listing": saved.listing, **counted}
        show_json({**content, "split": source.has_parts, "unreadable": saved.unreadable})
        return 0
    print(source.policy)
    print(f"{saved.copies:,} copies of {saved.sources:,} images, {parts}.")
    print(f"Listing: {saved.listing} (originals: {saved.originals:,})")
    next_command("tenfold", "train", saved.listing, "--policy", "none", when="for these images as they are")
    return 0


def _try_ops(path: Path, data: str, policy: str, reader: str, seed: int, json: bool) -> int:
    """Measure how a run's answers change, and fail where the policy turns one class into another."""
    from tenfold.augment.chosen import chosen_policy, read_policy
    from tenfold.evaluate.safety import measure_safety, policy_trials, standard_trials
    from tenfold.run import load_run

    run = load_run(path)
    own = chosen_policy(run.recipe.augment)
    asked = read_policy(policy) if policy not in ("", "all") else own
    trials = standard_trials(asked) if policy == "all" else policy_trials(asked)
    table = _validation_of(run, data, reader)
    with waiting(f"Trying {len(trials)} ops on the validation images"):
        found = measure_safety(run, trials, asked, table, seed=seed)
    if json:
        show_json({"run": path, **_policy_json(asked), **found.to_json()})
    else:
        _show_safety(found, asked)
        next_command("tenfold", "augment", path, "--out", "sheet.html", when="to see what it was fed")
    return 1 if any(tried.trial.in_policy for tried in found.breaking) else 0


def _validation_of(run: Run, data: str, reader: str) -> Table | None:
    """The run's validation images as they lie in `data`; None where no other data are given."""
    if not data or (Path(data) / "model.json").exists() or data.lower().endswith(".toml"):
        return None
    from tenfold.images.content import hashed
    from tenfold.images.readers import read_table

    table = hashed(read_table(data, reader))
    known = run.table.part("validation")
    place = {digest: row for row, digest in enumerate(table.samples["hash"])}
    rows = [(place[digest], row) for row, digest in enumerate(known.samples["hash"]) if digest in place]
    if not rows:
        raise UsageError(
            f"{data} has none of the validation images of {run.path}; give the data that it was trained on."
        )
    here = known.take([row for _, row in rows])
    lying = table.take([row for row, _ in rows]).samples
    return replace(here.assign(source=lying["source"], row=lying["row"]), arrays=table.arrays)


def _show_safety(found: Safety, policy: Policy) -> None:
    for note in found.notes:
        say(note)
    rows = [
        (
            tried.trial.words,
            "yes" if tried.trial.in_policy else "no",
            str(tried.changed),
            f"{flow.start} → {flow.end}" if (flow := next(iter(tried.flows), None)) else "",
            str(flow.answered) if flow else "",
            str(flow.passing) if flow else "",
            tried.verdict,
        )
        for tried in found.ops
    ]
    header = ("Op", f"In {policy.name}", "Answers changed", "Largest flow", "Of that class", "Pass for it", "")
    show_table(header, rows, f"{found.n:,} validation images, of which {found.right:,} are answered rightly unchanged")
    for sentence in found.sentences:
        print(sentence)
    if not found.breaking:
        print("No op turns one class into another, as far as these images can tell.")
    print(
        "Answers that change without one class becoming another show what the model does not know, not a broken label; "
        "an op that it was trained with may break a label unseen."
    )


def _policy_option(source: _Source) -> list[str]:
    return ["--policy", source.asked] if source.asked else []


def _policy_json(policy: Policy) -> dict[str, Any]:
    return {"policy": policy.to_dict(), "words": str(policy)}
