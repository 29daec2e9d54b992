"""Compare two runs, or two recipes by several runs each, on the same images: is the difference real?

Images are the same where their hashes are. Answers are those that `evaluate_run` stored, so a comparison is no look of
its own; the tests and intervals are in tenfold.metrics.paired.

Shapes: N images that all runs have, R runs of one side.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import UsageError, unknown
from tenfold.estimate import Estimate, Units, check_level, level_of_each, level_percent, to_json, units_of
from tenfold.evaluate.compare_notes import common_notes, group_notes, look_notes, seed_notes
from tenfold.evaluate.evaluation import PARTS
from tenfold.looks import count_looks, image_hashes
from tenfold.metrics import METRICS
from tenfold.metrics.answers import Answers
from tenfold.metrics.intervals import mean_estimate, share
from tenfold.metrics.paired import (
    Spread,
    hits_interval,
    loss_interval,
    mcnemar,
    over_seeds,
    sign_flip,
    split_variance,
    spread_test,
)
from tenfold.metrics.probability import log_losses
from tenfold.run import Run
from tenfold.split.ties import join

if TYPE_CHECKING:
    import pandas as pd

    from tenfold.metrics.detection_estimates import Compared


class Difference(NamedTuple):
    """One figure of both sides, and how far they are apart."""

    first: Estimate
    """Of several runs their mean, its interval over their seeds too. On a test part it allows for all looks."""
    second: Estimate
    difference: Estimate
    """First minus second; the interval is paired, and with several runs a side it allows for their seeds too."""
    p: float
    """Of the sign-flip test, two-sided; of sets of runs the larger of that and of one that knows seeds too."""
    variance: Spread

    @property
    def real(self) -> bool:
        """Whether the paired interval excludes zero."""
        return not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True)
class Comparison:
    """What two runs, or two sets of them, are worth against one another."""

    part: str
    """validation or test."""
    n: int
    """Images that all runs have in this part."""
    first: tuple[str, ...]
    """The runs' names."""
    second: tuple[str, ...]
    figures: dict[str, Difference]
    """"accuracy" and "log_loss"."""
    table: tuple[int, int, int, int] | None = None
    """Images that both, only the first, only the second and neither get right; None for sets of runs."""
    mcnemar: float | None = None
    """The p-value of McNemar's exact test; None for sets, and where images are in groups, however few."""
    notes: list[str] = field(default_factory=list)
    """What a reader has to know, a sentence each."""

    @property
    def better(self) -> str | None:
        """The side that has the higher accuracy beyond chance: "first", "second", or None."""
        return _leader("accuracy", self.figures["accuracy"])

    @property
    def sentence(self) -> str:
        """Whether the difference is real, in one sentence for a reader who knows no statistics."""
        names = {"first": side_name(self.first), "second": side_name(self.second)}
        found, loss = self.figures["accuracy"], self.figures["log_loss"]
        said = _say_better(found, names, self.better) if self.better else _say_open(found, names)
        leader = _leader("log_loss", loss)
        if leader is None or leader == self.better:
            return f"{said}."
        low, high = sorted((abs(loss.difference.low), abs(loss.difference.high)))
        return (
            f"{said}; the probabilities of {names[leader]} are better, though: their log loss is lower by {low:.3f} to "
            f"{high:.3f} ({_say_p(loss.p)})."
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        names = ("part", "n", "first", "second", "better", "sentence", "table", "mcnemar", "notes")
        figures = {name: figure_json(found) for name, found in self.figures.items()}
        content: dict[str, Any] = to_json({name: getattr(self, name) for name in names} | {"figures": figures})
        return content


def compare_runs(
    first: Sequence[Run], second: Sequence[Run], part: str = "validation", *, level: float = 0.95
) -> Comparison:
    """Compare `first` and `second`, one run each, or the runs of one recipe with several seeds each.

    Raises UsageError for an unknown part or level, runs that have not been evaluated on the part, whose classes differ
    or that have fewer than two images in common, one run against several, runs whose answers are all the same, and two
    such runs on one side; DataError where a file of a run is damaged.
    """
    check_level(level)
    if part not in PARTS:
        raise unknown("part", part, PARTS)
    runs = [*first, *second]
    if not first or not second:
        raise UsageError("A comparison needs at least one run on each side.")
    _check_classes(runs)
    frames = [stored_answers(run, part, runs[0].classes) for run in runs]
    common = reduce(lambda one, other: one.intersection(other, sort=False), (frame.index for frame in frames))
    labels = np.stack([frame.loc[common, "truth"].to_numpy(np.int64) for frame in frames])
    agreed = (labels == labels[0]).all(0)
    truth, images = labels[0][agreed], common[agreed]
    if len(images) < 2:
        raise UsageError(
            f"{list_runs(runs)} must have at least two labelled {part} images in common to be compared, and have "
            f"{len(images)}; train them on one split of the same images."
        )
    probability = np.stack([np.stack(frame.loc[images, "probability"].to_list()) for frame in frames])
    groups = common_groups([frame.loc[images, "group"] for frame in frames])
    units, blocks = units_of(groups.astype(object), len(images)), len(np.unique(groups))
    sides = (probability[: len(first)], probability[len(first) :])
    hits, losses = ([score(truth, side) for side in sides] for score in (_hits, _losses))
    check_trainings(runs, lambda one, other: np.array_equal(probability[one], probability[other]))
    if all(np.array_equal(*(scores.mean(0) for scores in pair)) for pair in (hits, losses)):
        raise UsageError(f"{list_runs(runs)} give the same answers to all images, so there is nothing to compare.")
    looks = _looks(runs) if part == "test" else 1
    figures = paired_differences(truth, sides, units, level, looks)
    table = _cross_table(*hits) if len(runs) == 2 else None
    return Comparison(
        part,
        len(images),
        run_names(first, runs),
        run_names(second, runs),
        figures,
        table,
        mcnemar(table[1], table[2]) if table and blocks == len(images) else None,
        common_notes([len(frame) for frame in frames], part, len(images), int((~agreed).sum()))
        + look_notes(looks, len(runs))
        + seed_notes(first, second, figures["accuracy"].variance)
        + group_notes(blocks),
    )


def paired_differences(
    truth: NDArray[np.int64], sides: Sequence[NDArray[np.float64]], units: Units, level: float = 0.95, looks: int = 1
) -> dict[str, Difference]:
    """ "accuracy" and "log_loss" of two sides' probabilities for the same images, float64 [R, N, K] each.

    K may differ, as where one side knows more classes. `looks`: of each side's own figures, see tenfold.looks.
    """
    hits, losses = ([score(truth, side) for side in sides] for score in (_hits, _losses))
    shown = [_figures(side, truth, replace(units, exact=looks > 1), level_of_each(level, looks)) for side in sides]
    return {
        "accuracy": _accuracy(shown, hits, units, level),
        "log_loss": _log_loss(shown, losses, units, level),
    }


def common_groups(groups: Sequence[Iterable[object]]) -> NDArray[np.int64]:
    """The group of each image, int64 [N], by the same N images' groups of all runs: what one ties, belongs together.

    A run that was trained without a check knows of fewer copies.
    """
    rows = zip(*groups, strict=True)
    return join([f"{run} {name}" for run, name in enumerate(row) if isinstance(name, str)] for row in rows)


def check_trainings(runs: Sequence[Run], alike: Callable[[int, int], bool]) -> None:
    """Raise UsageError where two of several runs answer alike, told by their places: one training given twice."""
    if len(runs) == 2:
        return  # that they answer alike is a result
    for one, other in combinations(range(len(runs)), 2):
        if alike(one, other):
            twice = list_runs([runs[one], runs[other]])
            raise UsageError(f"{twice} give the same answers; each must be a training of its own.")


def _looks(runs: Sequence[Run]) -> int:
    """How many looks there have been at the test images, 1 at least."""
    return max(1, *(count_looks(run.path, image_hashes(run.table.part("test"))) for run in runs))


def _cross_table(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Images that both, only the first, only the second and neither get right, of float64 [1, N] each."""
    one, other = (hits[0].astype(bool) for hits in (first, second))
    cells = (one & other, one & ~other, ~one & other, ~one & ~other)
    both, only_first, only_second, neither = (int(cell.sum()) for cell in cells)
    return both, only_first, only_second, neither


def stored_answers(run: Run, part: str, classes: tuple[str, ...]) -> pd.DataFrame:
    """What a run answered, one row a labelled image: index `hash`; `truth`, `probability` float64 [K], `group`."""
    if part not in run.evaluations:
        command = f"tenfold evaluate {shlex.quote(str(run.path))}" + (" --part test" if part == "test" else "")
        look = ", which is a look at it" if part == "test" else ""
        raise UsageError(f"{run.path} has not been evaluated on its {part} part; do so first{look}: {command}")
    frame = run.predictions(part)
    place = {name: index for index, name in enumerate(classes)}
    order = [run.classes.index(name) for name in classes]
    groups = run.table.samples["group"].to_numpy(object)[frame["sample"].to_numpy(np.int64)]
    frame = frame.assign(
        truth=[place.get(label, -1) for label in frame["label"]],
        probability=list(np.array(frame["probability"].tolist(), np.float64)[:, order]),
        group=groups,
    )
    known = frame[frame["truth"] >= 0].drop_duplicates("hash")
    return known.set_index("hash")[["truth", "probability", "group"]]


def _check_classes(runs: Sequence[Run]) -> None:
    for run in runs:
        if run.task.name != "classification":
            raise UsageError(f"Only classifications can be compared, and {run.path} is a {run.task.name}.")
        if other := sorted({*run.classes} ^ {*runs[0].classes}):
            raise UsageError(
                f"{runs[0].path} and {run.path} must have the same classes to be compared, and only one of them has "
                f"{', '.join(other)}."
            )


def _hits(truth: NDArray[np.int64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 where a run is right, float64 [R, N], of its probabilities [R, N, K]."""
    right: NDArray[np.float64] = (probability.argmax(2) == truth).astype(np.float64)
    return right


def _losses(truth: NDArray[np.int64], probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log losses, float64 [R, N], of probabilities [R, N, K]."""
    return np.stack([log_losses(truth, one, truth) for one in probability])


def _figures(
    probability: NDArray[np.float64], truth: NDArray[np.int64], units: Units, level: float
) -> dict[str, Estimate]:
    """A side's own figures, the means over its runs, from float64 [R, N, K]: of one run what `evaluate_run` shows."""
    runs = [Answers(truth, one, one.argmax(1), units) for one in probability]
    answered = ([getattr(run, name) for run in runs] for name in ("truth", "predicted", "second"))
    losses, right, wrong = (
        np.stack([log_losses(label, one, label) for label, one in zip(labels, probability, strict=True)])
        for labels in answered
    )
    doubt, hits, span = 1 - probability.max(2).mean(0), _hits(truth, probability), METRICS["log_loss"].span
    loss = mean_estimate(losses.mean(0), right.mean(0), wrong.mean(0), doubt, units, level, span)
    return {
        "accuracy": _over_seeds(share(hits.mean(0), units, level), hits, units, METRICS["accuracy"].span),
        "log_loss": _over_seeds(loss, losses, units, span),
    }


def _over_seeds(figure: Estimate, scores: NDArray[np.float64], units: Units, span: tuple[float, float]) -> Estimate:
    return figure if len(scores) == 1 else over_seeds(figure, scores, units, span)


def _accuracy(
    shown: Sequence[dict[str, Estimate]], hits: Sequence[NDArray[np.float64]], units: Units, level: float
) -> Difference:
    """From both sides' figures and right answers, float64 [R, N] each."""
    first, second = hits
    spread, gaps = split_variance(first, second, units), first.mean(0) - second.mean(0)
    whole = (gaps * len(first) * len(second)).round()  # counts of runs, so that the test is exact
    p = _test(sign_flip(whole, units), first, float(gaps.mean()), spread, units)
    found = _difference(gaps, hits_interval(gaps, units, spread, level), p, level, f"paired {units.words}")
    return Difference(shown[0]["accuracy"], shown[1]["accuracy"], found, p, spread)


def _log_loss(
    shown: Sequence[dict[str, Estimate]], losses: Sequence[NDArray[np.float64]], units: Units, level: float
) -> Difference:
    """From both sides' figures and log losses, float64 [R, N] each."""
    first, second = losses
    spread, gaps = split_variance(first, second, units), first.mean(0) - second.mean(0)
    if not spread.sample:  # the same difference for every image: as uncertain as an exponential one
        spread = spread._replace(sample=float(gaps.mean()) ** 2 / units.count)
    p = _test(sign_flip(gaps, units), first, float(gaps.mean()), spread, units)
    found = _difference(gaps, loss_interval(gaps, units, spread, level), p, level, f"paired {units.words}")
    return Difference(shown[0]["log_loss"], shown[1]["log_loss"], found, p, spread)


def _test(flipped: float, runs: NDArray[np.float64], difference: float, spread: Spread, units: Units) -> float:
    """The p-value: that of flipped signs, and of sets, of which `runs` are one, at least that which knows seeds too."""
    return flipped if len(runs) == 1 else max(flipped, spread_test(difference, spread, units))


def _difference(gaps: NDArray[np.float64], ends: tuple[float, float], p: float, level: float, method: str) -> Estimate:
    """The mean difference; where the test does not reject that there is none, its interval holds zero."""
    low, high = ends
    if p > 1 - level:
        low, high = min(low, 0.0), max(high, 0.0)
    return Estimate(float(gaps.mean()), low, high, level, len(gaps), method)


def _leader(name: str, found: Difference) -> str | None:
    if not found.real:
        return None
    return "first" if (found.difference.value > 0) == (name == "accuracy") else "second"


def run_names(side: Sequence[Run], runs: Sequence[Run]) -> tuple[str, ...]:
    """The folders' names, or their paths where two have the same name."""
    short = [run.path.resolve().name for run in runs]
    return tuple(run.path.resolve().name if len(set(short)) == len(short) else str(run.path) for run in side)


def side_name(names: tuple[str, ...]) -> str:
    """What a side is called: its run, or the first one and how many there are."""
    return names[0] if len(names) == 1 else f"{names[0]} (mean of {len(names)} runs)"


def list_runs(runs: Sequence[Run]) -> str:
    """The folders of two runs or more, in words."""
    return ", ".join(str(run.path) for run in runs[:-1]) + f" and {runs[-1].path}"


def _say_better(found: Difference, names: dict[str, str], better: str) -> str:
    gap, (other,) = found.difference, {*names} - {better}
    low, high = sorted((abs(100 * gap.low), abs(100 * gap.high)))
    return (
        f"{names[better]} is better: it gets {100 * abs(gap.value):.1f} points more of the images right than "
        f"{names[other]} ({level_percent(gap.level)} % interval {low:.1f} to {high:.1f}), which is more than chance "
        f"explains ({_say_p(found.p)})"
    )


def _say_open(found: Difference, names: dict[str, str]) -> str:
    gap = found.difference
    ahead, behind = (names["first"], names["second"])[:: 1 if gap.value > 0 else -1]
    more = f"{100 * abs(gap.value):.1f}"
    seen = f"{ahead} gets {more} points more of these images right than {behind}"
    if more == "0.0":
        seen = f"{names['first']} and {names['second']} get equally many of these images right ({_say_p(found.p)})"
    elif found.p > 1 - gap.level:
        seen += f", which chance alone could explain ({_say_p(found.p)})"
    else:  # not the test, but how far the interval reaches
        seen += f", but {_what_differs(found)} to tell whether that is more than chance"
    ends = (-gap.low, names["second"]), (gap.high, names["first"])
    low, high = (
        f"{100 * end:.1f} points in favor of {name}" if 100 * end >= 0.05 else "none at all" for end, name in ends
    )
    return (
        f"No difference is shown: {seen}; in truth the difference may be anything from {low} to {high} "
        f"({level_percent(gap.level)} % interval)"
    )


def _what_differs(found: Difference) -> str:
    if found.variance.seed:
        return "the seeds differ too much and are too few"
    if "groups" in found.difference.method.partition("(")[0]:
        return "the groups differ too much and are too few"
    return "the images on which they differ are too few"


def _say_p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def figure_json(found: Difference | Compared) -> dict[str, Any]:
    """A figure of both sides for `to_json`."""
    variance = {"sample": found.variance.sample, "seed": found.variance.seed}
    return {
        "first": found.first,
        "second": found.second,
        "difference": found.difference,
        "p": found.p,
        "variance": variance,
    }
