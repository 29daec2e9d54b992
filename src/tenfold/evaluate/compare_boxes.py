"""Compare two detectors on the same images: is one better, or was it luck?

Both are judged by what `tenfold evaluate` stored of a part, on the images that both have there with the same boxes. The
figures' differences have intervals from resamples of these images, the same ones for both (see
tenfold.metrics.detection_estimates), and of groups as wholes: what one of the runs ties, belongs together. One is
called better only where the interval of the difference of AP50 excludes zero.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.errors import UsageError, unknown
from tenfold.estimate import check_level, level_percent, to_json, units_of
from tenfold.evaluate.compare import common_groups
from tenfold.images.table import BOX_COLUMNS, PARTS
from tenfold.looks import count_looks, image_hashes
from tenfold.metrics.detection import match_part
from tenfold.metrics.detection_estimates import Compared, compare_detectors
from tenfold.tasks import box_detections, table_objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tenfold.images.table import Table
    from tenfold.metrics.detection_matching import Detections
    from tenfold.run import Run

HEADLINE = "ap50"


@dataclass(frozen=True)
class BoxComparison:
    """What two detectors have in common and in what they differ."""

    part: str
    n: int
    """Images that both were evaluated on, with the same boxes."""
    first: str
    second: str
    figures: dict[str, Compared]
    """AP50 first; differences are first minus second."""

    @property
    def better(self) -> str | None:
        """The run with the higher AP50; None where the interval of the difference holds zero."""
        gap = self.figures[HEADLINE].difference
        return self.first if gap.low > 0 else self.second if gap.high < 0 else None

    @property
    def sentence(self) -> str:
        """The result in words."""
        found = self.figures[HEADLINE]
        gap, chance = found.difference, f"p {'< 0.001' if found.p < 0.001 else f'= {found.p:.3f}'}"
        if self.better is None:
            return (
                f"No difference is shown: AP50 is {found.first.value:.3f} and {found.second.value:.3f}, which chance "
                f"alone could explain ({chance}); in truth the difference may be anything from {gap.low:.3f} to "
                f"{gap.high:.3f} ({level_percent(gap.level)} % interval)."
            )
        low, high = sorted((abs(gap.low), abs(gap.high)))
        return (
            f"{self.better} is better: its AP50 is higher by {abs(gap.value):.3f} ({level_percent(gap.level)} % "
            f"interval {low:.3f} to {high:.3f}), which is more than chance explains ({chance})."
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        content = {name: getattr(self, name) for name in ("part", "n", "first", "second", "better", "sentence")}
        figures = {name: found._asdict() for name, found in self.figures.items()}
        shown: dict[str, Any] = to_json(content | {"figures": figures})
        return shown


def compare_boxes(first: Run, second: Run, part: str = "validation", *, level: float = 0.95) -> BoxComparison:
    """Compare two runs of the detection task.

    Raises UsageError for an unknown part or level, runs of another task or with other classes, runs that have not been
    evaluated on the part, or that have fewer than two images with the same boxes in common.
    """
    check_level(level)
    if part not in PARTS[1:]:
        raise unknown("part", part, PARTS[1:])
    for run in (first, second):
        if run.task.name != "detection":
            raise UsageError(
                f"Only detectors can be compared by their boxes, and {run.path} is for {run.task.name}; "
                "compare_runs is for that."
            )
        if part not in run.evaluations:
            command = f"tenfold evaluate {shlex.quote(str(run.path))}" + (" --part test" if part == "test" else "")
            raise UsageError(f"{run.path} has not been evaluated on its {part} part; do so first: {command}")
    if {*first.classes} != {*second.classes}:
        odd = ", ".join(sorted({*first.classes} ^ {*second.classes}))
        raise UsageError(
            f"{first.path} and {second.path} must have the same classes to be compared, and one of them alone has "
            f"{odd}; train both on the same annotations."
        )
    rows = _common_rows(first, second, part)
    if len(rows) < 2:
        raise UsageError(
            f"{first.path} and {second.path} must have at least two {part} images with the same boxes in common to be "
            f"compared, and have {len(rows)}; train them on one split of the same images."
        )
    table = first.table.take(rows[:, 0])
    objects, _ = table_objects(table)
    if objects.ignore.all():
        raise UsageError(
            f"{first.path} and {second.path} must have {part} images with the same boxes in common to be compared, and "
            f"none of the {len(table)} that they have holds an object to be found; train them on the same annotations."
        )
    matches = [
        match_part(objects, _detections(run, part, own, first.classes), first.classes, len(table)).matches
        for run, own in ((first, rows[:, 0]), (second, rows[:, 1]))
    ]
    groups = [run.table.samples["group"].iloc[own] for run, own in ((first, rows[:, 0]), (second, rows[:, 1]))]
    units = units_of(common_groups(groups).astype(object), len(table))
    looks = _looks(first, second) if part == "test" else 1
    names = _names(first, second)
    return BoxComparison(part, len(table), *names, compare_detectors(matches[0], matches[1], units, level, looks))


def _common_rows(first: Run, second: Run, part: str) -> NDArray[np.int64]:
    """Rows of both runs' tables with the same image and boxes: int64 [N, 2]."""
    one, other = (_contents(run, part) for run in (first, second))
    return np.array([(one[key], other[key]) for key in one if key in other], np.int64).reshape(-1, 2)


def _contents(run: Run, part: str) -> dict[tuple[str, str], int]:
    """(hash, boxes in words) of each image of the part that could be read -> its row."""
    samples, table = run.table.samples, run.table
    unreadable = list(run.evaluations[part].get("unreadable", {}))
    rows = np.flatnonzero((samples["part"] == part) & ~samples["source"].isin(unreadable))
    keys = zip(samples["hash"].iloc[rows], _words(table, rows), strict=True)
    return {(str(digest), words): row for (digest, words), row in zip(keys, rows.tolist(), strict=True)}


def _words(table: Table, rows: NDArray[np.int64]) -> list[str]:
    """The boxes of each image as a text that is the same for the same boxes, to 0.01 px: a layout may round more."""
    assert table.boxes is not None
    lines: dict[int, list[str]] = {}
    for sample, x1, y1, x2, y2, label, ignore in table.boxes[list(BOX_COLUMNS)].itertuples(index=False):
        corners = " ".join(f"{side + 0.0:.2f}" for side in (x1, y1, x2, y2))
        lines.setdefault(int(sample), []).append(repr((corners, str(label), bool(ignore))))
    return ["".join(sorted(lines.get(int(row), []))) for row in rows]


def _detections(run: Run, part: str, rows: NDArray[np.int64], classes: tuple[str, ...]) -> Detections:
    """What a run found on the images of these rows, numbered by their place among them."""
    place = np.full(len(run.table), -1)
    place[rows] = np.arange(len(rows))
    frame = run.predictions(part)
    frame = frame.assign(sample=place[frame["sample"].to_numpy(np.int64)])
    return box_detections(frame[frame["sample"] >= 0], classes)


def _looks(*runs: Run) -> int:
    return max(1, *(count_looks(run.path, image_hashes(run.table.part("test"))) for run in runs))


def _names(first: Run, second: Run) -> tuple[str, str]:
    """The folders' names, or their paths where both have the same name."""
    one, other = first.path.resolve().name, second.path.resolve().name
    return (one, other) if one != other else (str(first.path), str(second.path))
