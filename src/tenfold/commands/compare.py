"""tenfold compare: whether one run is better than another, on the same images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tenfold.commands.options import Share
from tenfold.commands.output import say, show_json, show_table, waiting
from tenfold.errors import UsageError

if TYPE_CHECKING:
    from tenfold.evaluate import BoxComparison, Comparison
    from tenfold.run import Run


def compare(
    *runs: Path,
    with_: Annotated[tuple[Path, ...], Parameter(name="--with", consume_multiple=True)] = (),
    part: Literal["validation", "test"] = "validation",
    level: Share = 0.95,
    json: bool = False,
) -> int:
    """Tell whether the difference between two runs is real, on the images that both have in a part.

    Give two runs, or with --with two sets of runs: several seeds of one recipe
    against several of another. Both are judged by what `tenfold evaluate` stored,
    so that comparing them is no further look at the test part. One is called
    better only where the interval of the difference excludes zero. Detectors are
    compared by their average precision.

    For example:

        tenfold compare runs/plain-1 runs/residual-1
        tenfold compare runs/a-1 runs/a-2 --with runs/b-1 runs/b-2

    Parameters
    ----------
    runs
        The folders of two runs, or of the first set.
    with_
        The folders of the second set.
    part
        The part whose images are compared.
    level
        Level of the intervals, as 95% or 0.95.
    json
        Print one JSON object.
    """
    from tenfold.evaluate import BoxComparison, compare_runs
    from tenfold.evaluate.compare_boxes import compare_box_runs
    from tenfold.run import load_run

    if not with_ and len(runs) != 2:
        raise UsageError(f"compare takes two runs, or two sets of runs with --with between them, not {len(runs)} runs.")
    first, second = (runs, with_) if with_ else (runs[:1], runs[1:])
    ours, theirs = ([load_run(run) for run in side] for side in (first, second))
    comparison: Comparison | BoxComparison
    if _are_detectors([*ours, *theirs]):
        with waiting("Comparing"):
            comparison = compare_box_runs(ours, theirs, part, level=level)
    else:
        with waiting("Comparing"):
            comparison = compare_runs(ours, theirs, part, level=level)
    if json:
        show_json(comparison.to_json())
    elif isinstance(comparison, BoxComparison):
        _show_boxes(comparison)
    else:
        _show(comparison)
    return 0


def _are_detectors(runs: list[Run]) -> bool:
    """Whether all runs are; UsageError where only some are."""
    tasks = {run.task.name: run.path for run in runs}
    if "detection" not in tasks:
        return False
    if len(tasks) > 1:
        other = next(path for name, path in tasks.items() if name != "detection")
        raise UsageError(
            f"Only runs of one task can be compared: {tasks['detection']} finds boxes, and {other} does not."
        )
    return True


def _show_boxes(comparison: BoxComparison) -> None:
    from tenfold.report.figures import figure_label, write_interval, write_level, write_value

    rows = [
        (
            figure_label(name),
            *(f"{write_value(name, one.value)} ({write_interval(name, one)})" for one in found[:3]),
            f"{found.p:.4f}",
        )
        for name, found in comparison.figures.items()
    ]
    level = write_level(next(iter(comparison.figures.values())).difference.level)
    title = f"{comparison.n} {comparison.part} images, {level} intervals"
    test = "p (bootstrap)" if len(comparison.runs[0]) == 1 else "p (bootstrap, seeds)"
    show_table(("Figure", comparison.first, comparison.second, "Difference, paired", test), rows, title)
    print(comparison.sentence)
    for note in comparison.notes:
        say(note)


def _show(comparison: Comparison) -> None:
    from tenfold.report.figures import PERCENT, figure_label, figure_wording, write_interval, write_level, write_value

    rows = []
    for name, found in comparison.figures.items():
        gap = found.difference
        sides = [
            f"{write_value(name, side.value)} ({write_interval(name, side)})" for side in (found.first, found.second)
        ]
        points = " points" if figure_wording(name).percent else ""
        between = f"{write_value(name, gap.value).removesuffix(PERCENT)} ({write_interval(name, gap)}){points}"
        rows.append((figure_label(name), *sides, between, f"{found.p:.4f}"))
    level = write_level(comparison.figures["accuracy"].difference.level)
    heads = [", ".join(names) for names in (comparison.first, comparison.second)]
    title = f"{comparison.n} {comparison.part} images, {level} intervals"
    test = "p (sign flips)" if len(comparison.first) == 1 else "p (sign flips, seeds)"
    show_table(("Figure", *heads, "Difference, paired", test), rows, title)
    if comparison.table:
        both, first, second, neither = comparison.table
        exact = "" if comparison.mcnemar is None else f" (McNemar's exact test: p = {comparison.mcnemar:.4f})"
        print(
            f"Both are right on {both} of the images, {heads[0]} alone on {first}, {heads[1]} alone on {second}, "
            f"neither on {neither}{exact}."
        )
    print(comparison.sentence)
    for note in comparison.notes:
        say(note)
