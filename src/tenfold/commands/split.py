"""tenfold split: which image is in which part, written to a file that people can read and edit."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tenfold.commands.learnable import unlearnable
from tenfold.commands.look import look_closely, same_images
from tenfold.commands.options import Share, Whole
from tenfold.commands.output import box_counts, box_words, next_command, say, show_json, show_table, waiting
from tenfold.commands.readable import without_unreadable
from tenfold.errors import UsageError
from tenfold.words import count

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.recipe import SplitSettings
    from tenfold.split import Advice


def split(
    data: str,
    /,
    *,
    out: Path | None = None,
    validation: Share | None = None,
    test: Share | None = None,
    expect: Share = 0.9,
    per_class: Whole = 0,
    groups_from: Annotated[str, Parameter(name=("--groups-from", "--group-pattern"))] = "",
    folds: Whole = 0,
    repeats: Whole = 1,
    seed: Whole = 0,
    reader: str = "auto",
    allow_truncated: Annotated[bool, Parameter(negative="")] = False,
    check: Annotated[bool, Parameter(negative="--no-check")] = True,
    json: bool = False,
) -> int:
    """Divide images into train, validation and test parts.

    The parts are written to a CSV file keyed by the images' content, which you
    may edit and which every other command follows. Identical images, images of
    one group, and what a check finds to be near copies or shots in a row, stay
    together; each class is spread as evenly as that allows.
    Where the file stands already it is followed: no old image moves, new ones
    fill the part that their class lacks most, and --validation, --test and --seed
    hold for those alone; remove the file to split anew. Shares that are not given
    are advised from the images, and the reasons said. Give --groups-from each
    time: without its group a new image is left out. An image that cannot be read
    is left out and named.

    For example:

        tenfold split flowers
        tenfold split cells --groups-from "(patient-[0-9]+)" --test 20%
        tenfold split flowers --per-class 10 --out ten.split.csv
        tenfold split flowers --folds 5

    Parameters
    ----------
    data
        A folder with a folder for each class, a listing (path,label[,group,part]), Parquet with images, or digits.
    out
        The file to write; by default NAME.split.csv beside the data.
    validation
        Share of the images for validation, as 15% or 0.15; without it one that fits these images.
    test
        Share of the images for the test part, as 15% or 0.15; without it one that fits these images.
    expect
        The accuracy that you hope for, as 90% or 0.9: advice says how exactly the test part would measure it.
    per_class
        Training images of each class to keep, for few-image studies; 0: all.
    groups_from
        A regular expression on the path below DATA; what its first bracket matches is the image's group.
    folds
        Write so many files, each with another fold as the validation part and the same test part; 0: no folds.
    repeats
        Deal the folds anew so many times.
    seed
        Another seed deals the images in another way.
    reader
        How to read the data; auto looks at the path.
    allow_truncated
        Check what there is of files that end too early, as training does with --data.allow-truncated.
    check
        Look for near copies and shots in a row; the first time all images are decoded, and compared in pairs.
    json
        Print one JSON object.
    """
    from tenfold.images.content import hashed
    from tenfold.images.readers import read_table
    from tenfold.recipe import SplitSettings, check_range
    from tenfold.split import find_split, limit_table, split_path, write_split

    check_range("--per-class", per_class, 0, 2**31)
    check_range("--folds, where it is not 0,", folds or 2, 2, 10_000)
    check_range("--repeats", repeats, 1, 10_000)
    if repeats > 1 and not folds:
        raise UsageError("--repeats deals folds anew, and there are none; give --folds too.")
    if per_class and folds:
        raise UsageError("Give either --per-class or --folds, not both: with folds, limit the training itself.")
    path = out or find_split(Path(data)) or split_path(Path(data))
    if per_class and path.exists():
        raise UsageError(f"--per-class leaves images out, and {path} stands already; name another file with --out.")
    asked = SplitSettings(
        file=str(path),
        validation=-1.0 if validation is None else validation,
        test=-1.0 if test is None else test,
    )
    before = path.read_bytes() if path.exists() else None
    with waiting(f"Reading {data}"):
        table = hashed(read_table(data, reader, group_pattern=groups_from))
    told: list[str] = []
    if check:
        looked, table, told = look_closely(table, data, allow_truncated, path)
        table = without_unreadable(table, looked)
    for line in told:  # before the split stands
        say(line)
    with waiting(f"Splitting {data}"):
        settings, advice = advised(table, asked, expect)
        parts = set(table.samples["part"].dropna())  # that the data give
        table, is_new = _placed(table, settings, seed)
        table = limit_table(table, per_class, seed=seed) if per_class else table
        files, tables = _folds(table, path, folds, repeats, seed) if folds else ([path], iter(()))
        if is_new or per_class:  # nothing is written before all is known to be possible
            write_split(table, path)
        for file, dealt in zip(files, tables, strict=bool(folds)):
            write_split(dealt, file)
    typed = {"--validation": validation is not None, "--test": test is not None}
    typed["--seed"] = bool(seed) and not (folds or per_class)
    stood = given_note(data, parts, settings, [name for name, is_typed in typed.items() if is_typed])
    if before is not None:
        stood = [standing_note(path, ["--validation", "--test", *([] if folds else ["--seed"])])]
    advice = advice if before is None else None  # it is for a new split
    notes = [*stood, *table.notes, *(advice.reasons if advice else ())]
    for note in notes:
        say(note)
    boxes, why = box_counts(table), unlearnable(table)
    refused = f"tenfold train refuses these images as they are: {why}" if why else ""
    if json:
        shares = {"validation": settings.validation, "test": settings.test}
        reasoned = {"shares": shares, "advice": advice, "notes": [*told, *notes, *filter(None, [refused])]}
        show_json({"files": files, "split": path, "counts": counts(table), "boxes": boxes, **reasoned})
        return 0
    show_counts(table)
    if boxes is not None:
        print(f"{count(len(table), 'image')}, {box_words(boxes)}")
    if folds:
        print(f"Written to {files[0]} and {len(files) - 1} more, one a fold; the test part is that of {path}")
    else:
        print(f"{'Followed' if before == path.read_bytes() else 'Written to'} {path}")
    if refused:
        print(refused)
        return 0
    here = [] if not (out or folds) else ["--split", files[0]]
    same = same_images(groups_from, reader, allow_truncated, train=True)  # new images need their groups too
    next_command("tenfold", "train", data, *here, *same, *([] if check else ["--no-check"]))
    return 0


def settled(table: Table, asked: SplitSettings, expected: float = 0.9) -> tuple[SplitSettings, tuple[str, ...]]:
    """The settings with the shares that were left open, and the reasons; none where `advised` has no advice."""
    settings, advice = advised(table, asked, expected)
    return settings, advice.reasons if advice else ()


def advised(table: Table, asked: SplitSettings, expected: float) -> tuple[SplitSettings, Advice | None]:
    """The settings with the shares that were left open, and the advice on them.

    None where both were given, and where the data give parts, of which it would not be true.
    """
    from tenfold.split import advise_split

    if asked.validation >= 0 and asked.test >= 0:
        return asked, None
    given = {name: share for name in ("validation", "test") if (share := getattr(asked, name)) >= 0}
    advice = advise_split(table, expected=expected, **given)
    whole = not table.samples["part"].notna().any()
    return replace(asked, validation=advice.validation, test=advice.test), advice if whole else None


def parted(table: Table, settings: SplitSettings, seed: int) -> Table:
    """The table with the parts of the written split `settings.file`, which is made where it does not stand.

    What was not in the file yet is placed and written to it.
    """
    from tenfold.split import write_split

    table, is_new = _placed(table, settings, seed)
    if is_new:
        write_split(table, Path(settings.file))
    return table


def _placed(table: Table, settings: SplitSettings, seed: int) -> tuple[Table, bool]:
    """The same table, with nothing written, and whether there is something to be written.

    What another program has written meanwhile holds: it may be training by that already.
    """
    path = Path(settings.file)
    before = path.read_bytes() if path.exists() else None
    placed, is_new = _dealt(table, settings, seed)
    if is_new and path.exists() and path.read_bytes() != before:
        return _dealt(table, settings, seed)
    return placed, is_new


def _dealt(table: Table, settings: SplitSettings, seed: int) -> tuple[Table, bool]:
    """The same, by the file as it stands."""
    from tenfold.split import apply_split, read_split, split_table

    path, validation, test = Path(settings.file), settings.validation, settings.test
    if not path.exists():
        return split_table(table, validation=validation, test=test, seed=seed), True
    known = {entry.hash for entry in read_split(path)}
    table = apply_split(table, path, validation=validation, test=test, seed=seed)
    return table, not known.issuperset(table.samples["hash"][table.samples["part"].notna()])


def standing_note(path: Path, options: list[str]) -> str:
    """The sentence that says what these options do where the split was written before."""
    names = " and ".join(filter(None, [", ".join(options[:-1]), options[-1]]))
    verb = "holds" if len(options) == 1 else "hold"
    return f"{path} stands already and is followed; {names} {verb} for new images only. Remove it to split anew."


def given_note(data: str, parts: Set[str], settings: SplitSettings, typed: list[str]) -> list[str]:
    """The sentence on those options that change nothing, as the data give these parts; none where all do something.

    `typed` are those of --validation, --test and --seed that were, of `train` --split.validation and --split.test.
    """
    held = [name for name in ("validation", "test") if name in parts]
    is_open = any(getattr(settings, name) > 0 for name in ("validation", "test") if name not in held)
    shares = {f"{before}{name}" for name in held for before in ("--", "--split.")}
    idle = [name for name in typed if name in shares or (name == "--seed" and held and not is_open)]
    if not idle:
        return []
    words = " and ".join(filter(None, [", ".join(idle[:-1]), idle[-1]]))
    verb = "change" if idle[1:] else "changes"
    what = f"the {' and '.join(held)} part{'s' if held[1:] else ''}"
    return [
        f"{data} gives {what} itself, and what it gives stands; {words} {verb} nothing here. Take the parts out of the "
        "data to split anew."
    ]


def counts(table: Table) -> dict[str, dict[str, int]]:
    """Images of each class in each part: {class: {part: images}}, "(all)" last."""
    from tenfold.split import part_counts

    frame = part_counts(table)
    return {str(name): {str(part): int(n) for part, n in row.items()} for name, row in frame.iterrows()}


def show_counts(table: Table) -> None:
    """Print the images of each class in each part."""
    rows = counts(table)
    parts = list(rows["(all)"])
    show_table(("Class", *parts), [(name, *(row[part] for part in parts)) for name, row in rows.items()])


def _folds(table: Table, path: Path, folds: int, repeats: int, seed: int) -> tuple[list[Path], Iterator[Table]]:
    """A file a fold, and what is to be written to it; images of the test part are in each as such, so they stay sealed.

    Raises UsageError at once where there cannot be so many, or one of the files stands already.
    """
    from tenfold.split import fold_tables

    tables = fold_tables(table, folds, repeats=repeats, seed=seed)
    files = [_fold_path(path, number, folds, repeats) for number in range(folds * repeats)]
    standing = next((file for file in files if file.exists()), None)
    if standing:
        raise UsageError(
            f"--folds deals every fold anew, and {standing} stands already; remove the old folds, or name another file "
            "with --out."
        )
    return files, (_with_test(table, fold) for fold in tables)


def _with_test(table: Table, fold: Table) -> Table:
    """The whole table with the parts that a fold has, and the test part as it is."""
    parts: Any = table.samples["part"].copy()
    parts[(parts != "test").fillna(True)] = fold.samples["part"].to_numpy()
    return table.assign(part=parts)


def _fold_path(path: Path, number: int, folds: int, repeats: int) -> Path:
    """The file of one fold, counted from 0 through all repeats."""
    name = path.name.removesuffix(".csv").removesuffix(".split")
    repeat = f"-repeat{number // folds + 1}" if repeats > 1 else ""
    return path.with_name(f"{name}{repeat}-fold{number % folds + 1}.split.csv")
