"""Compare two detectors, or two recipes by several runs each, on the same images: is one better, or was it luck?

All are judged by what `tenfold evaluate` stored of a part, on the images that all have there with the same boxes. The
figures' differences have intervals from resamples of these images, the same ones for all (see
tenfold.metrics.detection_estimates), and of groups as wholes: what one of the runs ties, belongs together. One is
called better only where the interval of the difference of AP50 excludes zero.

Shapes: N images that all runs have, R runs of both sides.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.errors import UsageError, unknown
from tenfold.estimate import check_level, level_percent, to_json, units_of
from tenfold.evaluate.compare import check_trainings, common_groups, figure_json, list_runs, run_names, side_name
from tenfold.evaluate.compare_notes import seed_notes
from tenfold.images.table import BOX_COLUMNS, PARTS
from tenfold.looks import count_looks, image_hashes
from tenfold.metrics.detection import match_part
from tenfold.metrics.detection_estimates import Compared, compare_sets
from tenfold.tasks import box_detections, table_objects

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tenfold.images.table import Table
    from tenfold.metrics.detection_matching import Detections
    from tenfold.run import Run

HEADLINE = "ap50"


@dataclass(frozen=True)
class BoxComparison:
    """What two detectors, or two sets of them, have in common and in what they differ."""

    part: str
    n: int
    """Images that all runs were evaluated on, with the same boxes."""
    first: str
    """The run's name; of several runs that of the first and how many there are."""
    second: str
    figures: dict[str, Compared]
    """AP50 first; differences are first minus second."""
    runs: tuple[tuple[str, ...], tuple[str, ...]]
    """The names of each side's runs."""
    notes: list[str] = field(default_factory=list)
    """What a reader of sets has to know of their seeds, a sentence each."""

    @property
    def better(self) -> str | None:
        """The side with the higher AP50; None where the interval of the difference holds zero."""
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
        names = ("part", "n", "first", "second", "runs", "better", "sentence", "notes")
        figures = {name: figure_json(found) for name, found in self.figures.items()}
        shown: dict[str, Any] = to_json({name: getattr(self, name) for name in names} | {"figures": figures})
        return shown


def compare_boxes(first: Run, second: Run, part: str = "validation", *, level: float = 0.95) -> BoxComparison:
    """Compare two runs of the detection task, as `compare_box_runs` compares sets of them."""
    return compare_box_runs([first], [second], part, level=level)


def compare_box_runs(
    first: Sequence[Run], second: Sequence[Run], part: str = "validation", *, level: float = 0.95
) -> BoxComparison:
    """Compare `first` and `second`, one run each of the detection task, or the runs of one recipe with several seeds.

    Raises UsageError for an unknown part or level, runs of another task or with other classes, runs that have not been
    evaluated on the part, or that have fewer than two images with the same boxes in common, one run against several,
    and two runs of sets whose answers are all the same.
    """
    check_level(level)
    if part not in PARTS[1:]:
        raise unknown("part", part, PARTS[1:])
    runs = [*first, *second]
    if not first or not second:
        raise UsageError("A comparison needs at least one run on each side.")
    if (len(first) == 1) != (len(second) == 1):  # compare_sets refuses it too, but after all resamples
        raise UsageError("Sets of runs need at least two runs on each side, so that each shows how its seeds differ.")
    _check_runs(runs, part)
    rows = _common_rows(runs, part)
    if len(rows) < 2:
        raise UsageError(
            f"{list_runs(runs)} must have at least two {part} images with the same boxes in common to be "
            f"compared, and have {len(rows)}; train them on one split of the same images."
        )
    table = runs[0].table.take(rows[:, 0])
    objects, _ = table_objects(table)
    if objects.ignore.all():
        raise UsageError(
            f"{list_runs(runs)} must have {part} images with the same boxes in common to be compared, and "
            f"none of the {len(table)} that they have holds an object to be found; train them on the same annotations."
        )
    classes = runs[0].classes
    found = [_detections(run, part, own, classes) for run, own in zip(runs, rows.T, strict=True)]
    check_trainings(runs, lambda one, other: _alike(found[one], found[other]))
    matches = [match_part(objects, one, classes, len(table)).matches for one in found]
    groups = [run.table.samples["group"].iloc[own] for run, own in zip(runs, rows.T, strict=True)]
    units = units_of(common_groups(groups).astype(object), len(table))
    looks = _looks(runs) if part == "test" else 1
    figures = compare_sets(matches[: len(first)], matches[len(first) :], units, level, looks)
    names = run_names(first, runs), run_names(second, runs)
    notes = seed_notes(first, second, figures[HEADLINE].variance, "AP50") if len(runs) > 2 else []
    return BoxComparison(
        part,
        len(table),
        side_name(names[0]),
        side_name(names[1]),
        figures,
        names,
        notes,
    )


def _check_runs(runs: Sequence[Run], part: str) -> None:
    for run in runs:
        if run.task.name != "detection":
            raise UsageError(
                f"Only detectors can be compared by their boxes, and {run.path} is for {run.task.name}; "
                "compare_runs is for that."
            )
        if part not in run.evaluations:
            command = f"tenfold evaluate {shlex.quote(str(run.path))}" + (" --part test" if part == "test" else "")
            raise UsageError(f"{run.path} has not been evaluated on its {part} part; do so first: {command}")
    for run in runs[1:]:
        if odd := sorted({*runs[0].classes} ^ {*run.classes}):
            raise UsageError(
                f"{runs[0].path} and {run.path} must have the same classes to be compared, and one of them alone has "
                f"{', '.join(odd)}; train both on the same annotations."
            )


def _alike(one: Detections, other: Detections) -> bool:
    """Whether two runs found the very same; where they found nothing, that is a result."""
    return len(one.image) > 0 and all(map(np.array_equal, one, other))


def _common_rows(runs: Sequence[Run], part: str) -> NDArray[np.int64]:
    """Rows of the R runs' tables with the same image and boxes: int64 [N, R]."""
    rows = [_contents(run, part) for run in runs]
    keys = [key for key in rows[0] if all(key in own for own in rows)]
    return np.array([[own[key] for own in rows] for key in keys], np.int64).reshape(-1, len(runs))


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


def _looks(runs: Sequence[Run]) -> int:
    return max(1, *(count_looks(run.path, image_hashes(run.table.part("test"))) for run in runs))
