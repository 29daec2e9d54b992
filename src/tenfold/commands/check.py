"""tenfold check: what would flatter the result or spoil it, found before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tenfold.commands.look import Parts, parts_in, same_images, watched
from tenfold.commands.output import box_counts, box_words, next_command, say, show_json, show_table
from tenfold.errors import DataError, UsageError

if TYPE_CHECKING:
    from tenfold.check import Finding, Findings, LeakPrice, Looked
    from tenfold.images.table import Table
    from tenfold.run import Run


def check(
    data: str,
    /,
    *,
    against: str = "",
    price: Path | None = None,
    run: Path | None = None,
    fix: Path | None = None,
    page: Path | None = None,
    split: Path | None = None,
    groups_from: Annotated[str, Parameter(name=("--groups-from", "--group-pattern"))] = "",
    reader: str = "auto",
    allow_truncated: Annotated[bool, Parameter(negative="")] = False,
    json: bool = False,
) -> int:
    """Look for what is wrong with images before training on them.

    It finds files that cannot be read, dark, empty and blurred images, copies
    (turned, mirrored, resized, cropped, recolored), shots in a row, one image
    under two labels or in two parts, classes that are too small, boxes of no area,
    outside of the image, drawn twice or before EXIF turned it, and with a run the
    labels that are likely wrong, or with a detector's the things that likely lack
    their box. Each finding has its evidence, its price and its remedy. The exit code
    is 1 where something needs a decision; with --fix, where something in the listing
    that it wrote still does.

    For example:

        tenfold check flowers --page check.html
        tenfold check flowers --against flowers-test
        tenfold check flowers --run runs/flowers-1 --fix clean.csv
        tenfold check flowers --price runs/flowers-1

    Parameters
    ----------
    data
        A folder with a folder for each class, a listing (path,label[,group,part]), Parquet with images, images with
        boxes as Pascal VOC, COCO json, YOLO or a listing (path,x1,y1,x2,y2,label), or digits.
    against
        Other data; images that are in both are found.
    price
        Evaluate this run's test part (validation, where it has none) with and without the images that leaked into
        it, by accuracy, or of a detector by AP50. Each of the two is a look at the test part, and counted as one.
    run
        A classifier on these data, or the folder of its folds, whose predictions tell which labels are likely wrong;
        or a detector, which tells where a thing likely lacks its box, and which boxes are likely of another class.
        Only images that it was not trained on are judged: its validation part, or with all folds every image outside
        of the test part.
    fix
        Write a listing that leaves out what is doubtful, with the reason, and gives copies and shots in a row a group,
        also rows too long to be kept together without one; it is then checked itself, to say what is left to decide.
        Of files that stand already only one that --fix wrote is written anew, and the old one, if it differs, kept as
        NAME.bak.
    page
        Write an HTML page with the images side by side; of files that stand already, only over another such page.
    split
        The split to check for leaks; by default that of --price or --run, or NAME.split.csv beside the data.
    groups_from
        A regular expression on the path below DATA; what its first bracket matches is the image's group.
    reader
        How to read the data; auto looks at the path.
    allow_truncated
        Take what there is of files that end too early, as training does with --data.allow-truncated.
    json
        Print one JSON object.
    """
    from tenfold.check import (
        check_table,
        hash_images,
        is_repaired,
        look_at_table,
        refuse_rows,
        refuse_without_boxes,
        write_repaired,
    )
    from tenfold.images.readers import read_table
    from tenfold.images.table import given_areas, lost_areas

    sources = {"DATA": Path(data), "--against": Path(against) if against else None}
    _refuse_over("--fix", fix, is_repaired, sources)
    _refuse_over("--page", page, _is_page, sources | {"--fix": fix})
    priced, runs = _priced(price), _runs(run)
    part = _priced_part(priced) if priced else ""
    table = read_table(data, reader, group_pattern=groups_from)
    if fix is not None:
        refuse_rows(table)
    refuse_without_boxes(table, runs)
    if priced or runs:  # what they lack is told before all images are looked at
        table = hash_images(table)
    other = read_table(against) if against else None
    lacking = list(_lacking(table, data, priced, part, runs, run))
    notes = [*table.notes, *(other.notes if other else ()), *lacking]
    for note in notes:
        say(note)
    parts = _parts(data, split, priced or (runs[0] if len(runs) == 1 else None))
    with watched(f"Checking {data}") as progress:
        looked = look_at_table(table, allow_truncated=allow_truncated, progress=progress)
        findings = check_table(
            table,
            against=other,
            parts=parts,
            runs=runs,
            looked=looked,
            allow_truncated=allow_truncated,
            progress=progress,
        )
        worth = _worth(priced, part, findings, whole=not lacking) if priced else None
    made: dict[str, Any] = {}
    left = findings.decisions
    if fix is not None:
        fixed = write_repaired(table, findings, fix)
        for note in lost_areas(given_areas(table)):
            say(note)
        if fixed["kept"]:
            boxed = table.boxes is not None  # what is doubted of a box stays in the listing, of an image does not
            left = _left_in(fix, "boxes" if boxed else "listing", looked, runs if boxed else [], allow_truncated)
        made["fix"] = {"listing": fix, **fixed, "to_decide": [finding.title for finding in left]}
    if page is not None:
        _write_page(page, data, findings, table, other, worth)
        made["page"] = page
    if json:
        about = {"boxes": box_counts(table), "price": worth, **made, "notes": notes}
        show_json({"data": data, **findings.to_json(), **about})
        return 1 if left else 0
    _show(findings, worth, made, box_counts(table), len(notes))
    same = same_images(groups_from, reader, allow_truncated)
    given = {"--against": against, "--price": price, "--run": run, "--split": split}
    more = [word for name, value in given.items() if value for word in (name, value)]
    again = ["tenfold", "check", data, *same, *more]
    if fix is not None:
        next_command("tenfold", "split", fix, *same_images("", "auto", allow_truncated))
    elif findings.decisions and page is None:
        next_command(*again, "--page", "check.html", when="to see the images")
    elif findings.decisions and not table.samples["row"].notna().any():
        next_command(*again, "--fix", "repaired.csv", when="when you have looked at the page")
    else:
        when = "when you have looked at the page" if findings.decisions else ""
        next_command("tenfold", "split", data, *same, *(["--out", split] if split else []), when=when)
    return 1 if left else 0


def _left_in(listing: Path, reader: str, known: Looked, runs: list[Run], allow_truncated: bool) -> tuple[Finding, ...]:
    """What needs a decision in a repaired listing, checked as any other; what its images look like is known."""
    from tenfold.check import check_table, look_at_table
    from tenfold.images.readers import read_table

    table, parts = read_table(listing, reader), _parts(str(listing), None, None)
    with watched(f"Checking {listing}") as progress:
        looked = look_at_table(table, known=known, allow_truncated=allow_truncated, progress=progress)
    return check_table(table, parts=parts, runs=runs, looked=looked).decisions


def _priced(path: Path | None) -> Run | None:
    if path is None:  # and then PyTorch, which a run needs, is not imported
        return None
    from tenfold.run import load_run

    return load_run(path)


def _priced_part(run: Run) -> str:
    """The part whose figure is priced."""
    part = "test" if len(run.table.part("test")) else "validation"
    if not len(run.table.part(part)):
        raise UsageError(f"--price needs a run with a test or a validation part, and {run.path} has neither.")
    return part


def _lacking(
    table: Table, data: str, priced: Run | None, part: str, runs: list[Run], folder: Path | None
) -> Iterator[str]:
    """What the answer does not reach, as its images are not among the data; raises UsageError where it reaches nothing.

    An image that is not here has no copy and no doubtful label either, and that must not read as an all-clear.
    """
    here = set(table.samples["hash"].dropna()) if priced or runs else set()
    if not here:  # of images none of which can be read, the look at them says so
        return
    if priced:
        for name in dict.fromkeys(("train", "validation", part)):
            known, needed = set(priced.table.part(name).samples["hash"]), name in ("train", part)
            yield from _share_lacking("--price", priced.path, name, known, here, data, needed=needed)
    if runs and folder:
        known = {digest for one in runs for digest in one.table.part("validation").samples["hash"]}
        yield from _share_lacking("--run", folder, "validation", known, here, data, needed=True)
        every = {digest for one in runs for digest in one.table.without("test").samples["hash"]}
        if not (folder / "model.json").exists() and known != every:
            yield (
                f"The folds in {folder} tested {len(known):,} of their {len(every):,} images: some are missing, and "
                "the other images are not judged."
            )


def _share_lacking(
    option: str, run: Path, part: str, known: set[str], here: set[str], data: str, *, needed: bool
) -> Iterator[str]:
    """The sentence about `known` images of a run's part of which some are not `here`."""
    lacking = len(known - here)
    if needed and known and lacking == len(known):
        raise UsageError(
            f"{option} compares the images of {run} with the data, and {data} has none of its {len(known):,} {part} "
            "images, so nothing could be found; give the data that it was trained on."
        )
    if lacking:
        yield f"{data} lacks {lacking:,} of the {len(known):,} {part} images of {run}: nothing is found in these."


def _runs(path: Path | None) -> list[Run]:
    """The run, or the runs of the folds in a folder."""
    if path is None:  # as in `_priced`
        return []
    from tenfold.run import load_run

    if (path / "model.json").exists():
        return [load_run(path)]
    folds = sorted(card.parent for card in path.glob("*-fold*/model.json"))
    if not folds:
        raise DataError(f"{path} is neither a run nor a folder of folds; give what `tenfold train` wrote.")
    return [load_run(fold) for fold in folds]


def _parts(data: str, split: Path | None, run: Run | None) -> Parts | None:
    """The parts of the written split or of a run; None where neither is there."""
    from tenfold.check import parts_of
    from tenfold.split import find_split

    if split is None and run is not None:
        known = run.table
        return lambda table: parts_of(table, known)
    path = split or find_split(Path(data))
    return None if path is None else parts_in(path)


def _worth(run: Run, part: str, findings: Findings, *, whole: bool) -> LeakPrice | None:
    """What the leak was worth to the run; said, where there is nothing to price, as far as the data are `whole`."""
    from tenfold.check import labelled_leaks, leaked_hashes, price_leak

    leaked = leaked_hashes(findings, part)
    worth = price_leak(run, leaked, part)
    if worth is not None:
        return worth
    named = f"{'annotated' if run.task.name == 'detection' else 'labelled'} {part} image"
    if labelled_leaks(run, leaked, part).any():
        said = f"all {named}s of {run.path} that can be read are leaked, so none is left."
    elif whole:
        said = f"no {named} of {run.path} is leaked, so nothing flatters it."
    else:
        said = f"no {named} of {run.path} is leaked by what is here."
    say(f"No price: {said} None was looked at.")
    return None


def _refuse_over(option: str, path: Path | None, ours: Callable[[Path], bool], used: dict[str, Path | None]) -> None:
    """Raise a UsageError where `path` is what another option names, or a file that is not `ours` to write anew."""
    if path is None:
        return
    for other, taken in used.items():
        both = taken is not None and path.exists() and taken.exists()
        if taken is not None and (path.samefile(taken) if both else path.resolve() == taken.resolve()):
            raise UsageError(f"{option} must name a file of its own, not that of {other}, {path}; give another name.")
    if path.exists() and not ours(path):
        raise UsageError(
            f"{option} writes over nothing but what {option} wrote, and {path} is something else; give another name, "
            "or remove it first."
        )


def _is_page(path: Path) -> bool:
    """Whether a file is a page that `--page` wrote, by the title at its start."""
    try:
        with path.open("rb") as file:
            return "· Tenfold check</title>".encode() in file.read(65_536)
    except OSError:
        return False


def _write_page(
    path: Path, data: str, findings: Findings, table: Table, other: Table | None, worth: LeakPrice | None
) -> None:
    from tenfold.files import write_file
    from tenfold.report.check_page import check_page

    write_file(path, check_page(data, findings, table, other, str(worth or "")))


def _show(
    findings: Findings, worth: LeakPrice | None, made: dict[str, Any], boxes: dict[str, int] | None, told: int
) -> None:
    """Print what was found; `told`: sentences that were said of the data before they were looked at."""
    rows = [
        (
            finding.title,
            "decide" if finding.needs_decision else "note",
            finding.images,
            findings.example(finding),
            f"{finding.evidence} {finding.price}",
            finding.remedy,
        )
        for finding in findings.found
    ]
    if rows:
        show_table(("Finding", "", "Images", "Example", "Evidence and price", "Remedy"), rows)
    if worth is not None:
        print(f"{worth} Looks at these test images: {worth.look}." if worth.look else worth)
    number, notes = len(findings.decisions), len(findings.found) - len(findings.decisions)
    if findings.together.sets:
        print(f"For tenfold split {findings.together}")
    checked = f"{findings.images:,} images checked"
    if boxes is not None:
        checked = f"{checked}, {box_words(boxes)}"
    above = f" Said above of the data: {told}." if told else ""
    print(f"{checked}. To decide: {number}; notes: {notes}.{above}")
    if "fix" in made:
        fixed = made["fix"]
        print(f"Listing: {fixed['listing']} (kept {fixed['kept']:,}, left out {fixed['left_out']:,})")
        print(f"Left to decide in it: {', '.join(fixed['to_decide']) or 'nothing'}.")
        if "before" in fixed:
            print(f"What stood there is kept: {fixed['before']}")
    if "page" in made:
        print(f"Page: {made['page']}")
