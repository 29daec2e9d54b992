"""tenfold proposals: boxes that may hold an object, and how many of the objects they cover."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.commands.look import watched
from tenfold.commands.options import Whole
from tenfold.commands.output import next_command, say, show_json, show_table
from tenfold.errors import UsageError
from tenfold.estimate import Estimate, to_json

if TYPE_CHECKING:
    from tenfold.proposals import Coverage, Proposed

RESULT = "proposals.json"


def proposals(
    data: str,
    /,
    *,
    method: str = "selective-search",
    version: str = "fast",
    count: Whole = 2000,
    out: Path | None = None,
    reader: str = "auto",
    json: bool = False,
) -> int:
    """Propose boxes that may hold an object, and measure how many objects they cover.

    A detector such as R-CNN can find no object that no proposal covers. Of images
    with boxes it gives the recall at an IoU of 0.5, 0.7 and 0.8, the average
    recall over all IoUs from 0.5 and MABO (mean average best overlap), for fewer
    and more boxes, each class and each size, with intervals over images. The
    proposals are cached, for all that use them.

    For example:

        tenfold proposals cells
        tenfold proposals cells --version quality --out cells-proposals
        tenfold proposals cells --method windows --count 1000

    Parameters
    ----------
    data
        Images with boxes (Pascal VOC, COCO or YOLO), or, with --out, any images.
    method
        selective-search, windows (sliding windows) or random (boxes anywhere). The latter two look at nothing but the
        image's size: what any method must beat.
    version
        Of Selective Search: single, fast or quality, with ever more boxes and time.
    count
        Boxes of an image at most, the likeliest ones.
    out
        Write the boxes (proposals.parquet), the figures (proposals.json) and a page with the best box of each object
        (proposals.html) into this folder: a new or empty one, or one of earlier proposals.
    reader
        How to read the data; auto looks at the path.
    json
        Print one JSON object.
    """
    from tenfold.images.readers import read_table
    from tenfold.proposals import cover_objects, make_proposer, propose_table

    proposer = make_proposer(method, version, count)
    if out is not None:
        _refuse_other(out)
    table = read_table(data, reader)
    for note in table.notes:
        say(note)
    if table.boxes is None and out is None:
        raise UsageError(f"{data} has no boxes to measure proposals by; give --out to write proposals all the same.")
    with watched(f"Proposing boxes in {data}") as progress:
        proposed = propose_table(table, proposer, watch=progress)
    for reason in proposed.unreadable:
        say(f"left out: {reason}")
    coverage = None if table.boxes is None else cover_objects(proposed.table, proposed.boxes, count)
    name = f"{method} ({version})" if method == "selective-search" else method
    result = _result(data, name, count, proposed, coverage)
    if out is not None:
        _write(out, data, name, count, proposed, coverage, result)
        result["out"] = out
    if json:
        show_json(result)
        return 0
    _show(result, coverage)
    if out is None:
        next_command("tenfold", "proposals", data, "--out", "proposals", when="to see what is not covered")
    return 0


def _refuse_other(folder: Path) -> None:
    """Raise a UsageError unless a folder is new, empty or that of earlier proposals."""
    if folder.exists() and not (folder / RESULT).exists() and (not folder.is_dir() or any(folder.iterdir())):
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
    count: int,
    proposed: Proposed,
    coverage: Coverage | None,
    result: dict[str, Any],
) -> None:
    from tenfold.files import write_file
    from tenfold.proposals.files import write_proposals
    from tenfold.report.proposals_page import proposals_page

    write_proposals(out / "proposals.parquet", proposed, count)
    if coverage is not None:
        write_file(out / "proposals.html", proposals_page(data, name, proposed, coverage))
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
    if "out" in result:
        print(f"Written: {result['out']}")


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
