"""tenfold check: what would flatter the result or spoil it, found before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from tenfold.commands.look import watched
from tenfold.commands.output import next_command, say, show_json, show_table
from tenfold.errors import DataError, UsageError

if TYPE_CHECKING:
    from tenfold.check import Finding, Findings, LeakPrice
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
    json: bool = False,
) -> int:
    """Look for what is wrong with images before training on them.

    It finds files that cannot be read, dark, empty and blurred images, copies
    (turned, mirrored, resized, cropped, recolored), shots in a row, one image
    under two labels or in two parts, classes that are too small, boxes of no area,
    outside of the image, drawn twice or before EXIF turned it, and with a run the
    labels that are likely wrong. Each finding has its evidence, its price and its
    remedy. The exit code is 1 where something needs a decision; with --fix, where
    something in the listing that it wrote still does.

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
        A classifier on these data, or the folder of its folds, whose predictions tell which labels are likely wrong.
    fix
        Write a listing that leaves out what is doubtful, with the reason, and gives copies and shots in a row a group;
        it is then checked itself, to say what is left to decide. Of files that stand already only one that --fix wrote
        is written anew.
    page
        Write an HTML page with the images side by side; of files that stand already, only over another such page.
    split
        The split to check for leaks; by default that of --price or --run, or NAME.split.csv beside the data.
    groups_from
        A regular expression on the path below DATA; what its first bracket matches is the image's group.
    reader
        How to read the data; auto looks at the path.
    json
        Print one JSON object.
    """
    from tenfold.check import check_table, is_repaired, write_repaired
    from tenfold.images.readers import read_table

    sources = {"DATA": Path(data), "--against": Path(against) if against else None}
    _refuse_over("--fix", fix, is_repaired, sources)
    _refuse_over("--page", page, _is_page, sources | {"--fix": fix})
    priced, runs = _priced(price), _runs(run)
    table = read_table(data, reader, group_pattern=groups_from)
    other = read_table(against) if against else None
    for note in (*table.notes, *(other.notes if other else ())):
        say(note)
    parts = _parts(data, split, priced or (runs[0] if len(runs) == 1 else None))
    with watched(f"Checking {data}") as progress:
        findings = check_table(table, against=other, parts=parts, runs=runs, progress=progress)
        worth = _worth(priced, findings) if priced else None
    made: dict[str, Any] = {}
    left = findings.decisions
    if fix is not None:
        fixed = write_repaired(table, findings, fix)
        left = _left_in(fix, "listing" if table.boxes is None else "boxes") if fixed["kept"] else left
        made["fix"] = {"listing": fix, **fixed, "to_decide": [finding.title for finding in left]}
    if page is not None:
        _write_page(page, data, findings, table, other, worth)
        made["page"] = page
    if json:
        show_json({"data": data, **findings.to_json(), "price": worth, **made})
    else:
        _show(findings, worth, made)
        if fix is not None:
            next_command("tenfold", "split", fix)
        elif not findings.decisions:
            next_command("tenfold", "split", data)
        elif page is None:
            next_command("tenfold", "check", data, "--page", "check.html", when="to see the images")
        else:
            next_command("tenfold", "check", data, "--fix", "repaired.csv", when="when you have looked at the page")
    return 1 if left else 0


def _left_in(listing: Path, reader: str) -> tuple[Finding, ...]:
    """What needs a decision in a repaired listing, checked as any other; what its images look like is cached."""
    from tenfold.check import check_table
    from tenfold.images.readers import read_table

    with watched(f"Checking {listing}") as progress:
        parts = _parts(str(listing), None, None)
        return check_table(read_table(listing, reader), parts=parts, progress=progress).decisions


def _priced(path: Path | None) -> Run | None:
    if path is None:  # and then PyTorch, which a run needs, is not imported
        return None
    from tenfold.run import load_run

    return load_run(path)


def _classifier(path: Path) -> Run:
    """The run at a path; UsageError where it is a detector."""
    from tenfold.run import load_run

    run = load_run(path)
    if run.task.name == "detection":
        raise UsageError(f"--run counts answers to whole images, and {path} is a detector; leave it out.")
    return run


def _runs(path: Path | None) -> list[Run]:
    """The run, or the runs of the folds in a folder."""
    if path is None:
        return []
    if (path / "model.json").exists():
        return [_classifier(path)]
    folds = sorted(card.parent for card in path.glob("*-fold*/model.json"))
    if not folds:
        raise DataError(f"{path} is neither a run nor a folder of folds; give what `tenfold train` wrote.")
    return [_classifier(fold) for fold in folds]


def _parts(data: str, split: Path | None, run: Run | None) -> Callable[[Table], list[str | None]] | None:
    """The parts of the written split or of a run; None where neither is there."""
    from tenfold.check import parts_of
    from tenfold.split import find_split, read_split

    if split is None and run is not None:
        known = run.table
        return lambda table: parts_of(table, known)
    path = split or find_split(Path(data))
    if path is None:
        return None
    parts = {entry.hash: entry.part or None for entry in read_split(path)}
    return lambda table: [parts.get(digest) for digest in table.samples["hash"]]


def _worth(run: Run, findings: Findings) -> LeakPrice | None:
    """What the leak was worth to the run; said, where there is nothing to price."""
    from tenfold.check import labelled_leaks, leaked_hashes, price_leak

    part = "test" if len(run.table.part("test")) else "validation"
    if not len(run.table.part(part)):
        raise UsageError(f"--price needs a run with a test or a validation part, and {run.path} has neither.")
    leaked = leaked_hashes(findings, part)
    known = labelled_leaks(run, leaked, part)
    kind = "annotated" if run.task.name == "detection" else "labelled"
    if not known.any():
        say(f"No price: no {kind} {part} image of {run.path} is leaked, so nothing flatters it. None was looked at.")
    elif known.all():
        say(
            f"No price: all {kind} {part} images of {run.path} that can be read are leaked, so none is left. "
            "None was looked at."
        )
    return price_leak(run, leaked, part)


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


def _show(findings: Findings, worth: LeakPrice | None, made: dict[str, Any]) -> None:
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
    print(f"{findings.images:,} images checked. To decide: {number}; notes: {notes}.")
    if "fix" in made:
        fixed = made["fix"]
        print(f"Listing: {fixed['listing']} (kept {fixed['kept']:,}, left out {fixed['left_out']:,})")
        print(f"Left to decide in it: {', '.join(fixed['to_decide']) or 'nothing'}.")
    if "page" in made:
        print(f"Page: {made['page']}")
