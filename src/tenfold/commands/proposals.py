"""tenfold proposals: boxes that may hold an object, and how many of the objects they cover."""

from __future__ import annotations

import csv
import json as jsonlib
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.commands.look import watched
from tenfold.commands.options import Whole
from tenfold.commands.output import next_command, say, show_json, show_table
from tenfold.errors import DataError, UsageError
from tenfold.estimate import Estimate, to_json

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.proposals import Coverage, Proposed, Proposer
    from tenfold.run import Run

RESULT = "proposals.json"


def proposals(
    data: str,
    /,
    *,
    method: str = "selective-search",
    version: str = "fast",
    count: Whole = 2000,
    save: Path | None = None,
    out: Path | None = None,
    reader: str = "auto",
    json: bool = False,
) -> int:
    """Propose boxes that may hold an object, and measure how many objects they cover.

    A detector such as R-CNN can find no object that no proposal covers. Of images
    with boxes it gives the recall at an IoU of 0.5, 0.7 and 0.8, the average
    recall over all IoUs from 0.5 and MABO (mean average best overlap), for fewer
    and more boxes, each class and each size, with intervals over images. Images of
    the test part of a run (--method) are in no figure: they are for tenfold
    evaluate, which counts each look. The
    proposals are cached, for all that use them; --save writes them into a file, which
    a training takes as --detect.proposals-from.

    For example:

        tenfold proposals cells
        tenfold proposals cells --version quality --out cells-proposals
        tenfold proposals cells --method windows --count 1000
        tenfold proposals cells --method runs/cells-1 --save cells-rpn.parquet

    Parameters
    ----------
    data
        Images with boxes (Pascal VOC, COCO, YOLO or a listing), or, with --save or --out, any images.
    method
        selective-search, windows (sliding windows), random (boxes anywhere), or the folder of a Faster R-CNN's run,
        whose region proposal network is taken. Windows and random boxes look at nothing but the image's size: what any
        method must beat.
    version
        Of Selective Search: single, fast or quality, with ever more boxes and time.
    count
        Boxes of an image at most, the likeliest ones. A region proposal network gives 1,000 at most.
    save
        Write the boxes into this file, .parquet or .csv, a new one or one of earlier proposals: a row a box with the
        image's path from the file's folder on and the hash of its content, the likeliest first.
    out
        Write the boxes (proposals.parquet), the figures (proposals.json), each object with its best box and their IoU
        (objects.csv) and a page with pictures of them (proposals.html) into this folder: a new or empty one, or one of
        earlier proposals.
    reader
        How to read the data; auto looks at the path.
    json
        Print one JSON object.
    """
    from tenfold.proposals import cover_objects, propose_table, write_proposals

    proposer, run = _proposer(method, version, count)
    _refuse_other(save, out)
    table = _read(data, reader)
    for note in table.notes:
        say(note)
    if out is None and save is None and not _has_objects(table):
        for note in _unread(data, reader, table):
            say(note)
        why = "" if table.boxes is None or not len(table.boxes) else ", as none has an area and is to be found"
        raise UsageError(
            f"{data} has no boxes to measure proposals by{why}; give --save or --out to write proposals all the same."
        )
    with watched(f"Proposing boxes in {data}") as progress:
        proposed = propose_table(table, proposer, workers=1 if run else 0, watch=progress)
    for reason in proposed.unreadable:
        say(f"left out: {reason}")
    judged = proposed if run is None else _judged(run, proposed)
    sealed = len(proposed.table) - len(judged.table)
    coverage = cover_objects(judged.table, judged.boxes, count) if _has_objects(judged.table) else None
    if coverage is None and table.boxes is not None:
        why = "all of them are in that test part" if _has_objects(table) else "none has an area and is to be found"
        say(f"There are no figures of the boxes of these images, as {why}.")
    name = f"{method} ({version})" if method == "selective-search" else f"RPN of {method}" if run else method
    result = _result(data, name, count, proposed, coverage) | {"sealed": sealed}
    if out is not None:
        write_proposals(out / "proposals.parquet", proposed, count)
        _write(out, data, name, judged, coverage, result)
        result["out"] = out
    if save is not None:
        write_proposals(save, proposed, count)
        result["save"] = save
    if json:
        show_json(result)
        return 0
    _show(result, coverage)
    if save is not None and coverage is not None:
        trained = ("tenfold", "train", data, "--model", "fast-rcnn", "--detect.proposals-from", save)
        next_command(*trained, when="to train on these")
    elif save is not None:
        next_command("tenfold", "predict", "RUN", data, "--proposals", save, when="where a run was trained on such")
    elif out is None:
        next_command("tenfold", "proposals", data, "--out", "proposals", when="to see what is not covered")
    return 0


def _read(data: str, reader: str) -> Table:
    """The images; of a folder that nobody has annotated every one in it and below, whatever its classes."""
    from tenfold.images.readers import READERS, read_images, read_table

    path = Path(data).expanduser()
    found = next((name for name, own in READERS.items() if own.recognizes(path)), "")
    return read_images(data) if reader == "auto" and found == "folder" else read_table(data, reader)


def _unread(data: str, reader: str, table: Table) -> list[str]:
    """What a training on these data would say more of files that may hold boxes than this table's notes do."""
    from tenfold.images.readers import read_table

    try:
        notes = read_table(data, reader).notes
    except DataError as error:
        notes = (str(error),)
    return [note for note in notes if note not in table.notes]


def _has_objects(table: Table) -> bool:
    """Whether a box is there that has an area and is to be found."""
    import numpy as np

    from tenfold.boxes import CORNERS, sound_boxes

    if table.boxes is None:
        return False
    sound = sound_boxes(table.boxes[[*CORNERS]].to_numpy(np.float64))
    return bool((sound & ~table.boxes["ignore"].to_numpy(bool)).any())


def _proposer(method: str, version: str, count: int) -> tuple[Proposer, Run | None]:
    """The way to propose boxes, and the run whose network does it, if one does."""
    from tenfold.errors import unknown
    from tenfold.proposals import METHODS, make_proposer

    if method not in METHODS and not Path(method).exists():
        raise unknown("--method, where it is not the folder of a faster-rcnn's run,", method, METHODS)
    if method in METHODS:
        return make_proposer(method, version, count), None
    from tenfold.detect.trained import trained_proposer
    from tenfold.run import load_run

    run = load_run(method, "auto")
    return trained_proposer(run), run


def _judged(run: Run, proposed: Proposed) -> Proposed:
    """The images by which the run's network is measured, which are all but those of its test part; the rest is said.

    A figure on test images shown here would be a look that nobody counts.
    """
    import numpy as np

    from tenfold.models.backbones.taught import image_names, known_rows, taught_by

    table = proposed.table
    if taught := int(known_rows(table, taught_by(run.path).train).sum()):
        say(f"{taught} of these images are those that {run.path} learned from: it finds more in them than in others.")
    sealed = known_rows(table, image_names(run.table.part("test").samples) | _sealed_by_split(run)).to_numpy(bool)
    if sealed.any() and table.boxes is not None:
        say(f"Left out of the figures, as they are in the test part of {run.path}: {sealed.sum()} images.")
    rows = np.flatnonzero(~sealed)
    return replace(proposed, table=table.take(rows), boxes=[proposed.boxes[row] for row in rows])


def _sealed_by_split(run: Run) -> frozenset[str]:
    """The test images of the written split that a run was trained with; that of a fold has none in its own table."""
    from tenfold.split import read_split

    written = (run.path / "recipe.toml").is_file() and run.recipe.split.file
    entries = read_split(Path(written)) if written and Path(written).is_file() else []
    return frozenset(entry.hash for entry in entries if entry.part == "test")


def _refuse_other(file: Path | None, folder: Path | None) -> None:
    """Raise UsageError unless what is to be written is new or empty, or holds earlier proposals."""
    from tenfold.proposals.files import SUFFIXES, is_proposals

    if file is not None and file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"--save must be a file that ends in {' or '.join(SUFFIXES)}, not {file}.")
    if file is not None and file.exists() and not is_proposals(file):
        raise UsageError(f"--save must be a new file, or one of proposals, and {file} is something else.")
    if folder is None or not folder.exists() or (folder / RESULT).exists():
        return
    if not folder.is_dir() or any(folder.iterdir()):
        raise UsageError(f"--out must be a new or empty folder, or one of proposals, and {folder} is something else.")


def _result(data: str, name: str, count: int, proposed: Proposed, coverage: Coverage | None) -> dict[str, Any]:
    found = [min(len(boxes), count) for boxes in proposed.boxes]
    result: dict[str, Any] = {
        "data": data,
        "method": name,
        "count": count,
        "images": len(found),
        "boxes": {"mean": sum(found) / len(found), "least": min(found), "most": max(found)},
        "unreadable": list(proposed.unreadable),
    }
    return result if coverage is None else result | to_json(coverage.to_json())


def _write(
    out: Path,
    data: str,
    name: str,
    judged: Proposed,
    coverage: Coverage | None,
    result: dict[str, Any],
) -> None:
    """Write the figures, and the objects and the page where there are any."""
    from tenfold.files import write_file
    from tenfold.proposals.recall import LINE
    from tenfold.report.proposals_page import proposals_page

    if coverage is not None:
        text = StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(LINE)
        writer.writerows(coverage.lines(judged.table, judged.boxes))
        write_file(out / "objects.csv", text.getvalue())
        write_file(out / "proposals.html", proposals_page(data, name, judged, coverage))
    else:  # those of earlier proposals
        for old in ("objects.csv", "proposals.html"):
            (out / old).unlink(missing_ok=True)
    write_file(out / RESULT, jsonlib.dumps(result, indent=2, ensure_ascii=False))


def _show(result: dict[str, Any], coverage: Coverage | None) -> None:
    boxes = result["boxes"]
    if coverage is not None:
        _show_groups("Boxes", coverage.by_count(), "All objects, by number of boxes")
        _show_groups("Class", list(coverage.by_class().items()), "Each class, with all boxes")
        _show_groups("Size", list(coverage.by_size().items()), "Each size, with all boxes")
        missed = len(coverage.worst())
        print(f"{len(coverage.objects):,} objects, {missed:,} of them covered by no box with an IoU of 0.5.")
    print(
        f"{result['method']}: {boxes['mean']:,.0f} boxes an image ({boxes['least']:,} to {boxes['most']:,}) in "
        f"{result['images']:,} images."
    )
    for name in ("save", "out"):
        if name in result:
            print(f"Written: {result[name]}")


def _show_groups(first: str, groups: Sequence[tuple[object, dict[str, Estimate]]], title: str) -> None:
    """A table with a row a group; intervals stand under their figures."""
    from tenfold.report.figures import figure_label, write_interval, write_value

    rows = [
        [
            f"{group:,}" if isinstance(group, int) else str(group),
            *(f"{write_value(name, each.value)}\n({write_interval(name, each)})" for name, each in figures.items()),
        ]
        for group, figures in groups
    ]
    show_table((first, *map(figure_label, groups[0][1])), rows, title)
