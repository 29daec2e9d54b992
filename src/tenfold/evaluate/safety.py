"""When an op breaks the label: how a run's answers change under each op and magnitude, one at a time.

Answers change for two reasons, and only one of them is the op's fault:

- A model that never saw such images does not know them: its answers scatter over the classes, with little confidence,
  or they all collapse into one class, whatever the image was.
- The op makes one class out of another: a 6 turned by 180 degrees is a good 9.

So an op is named where all of this holds for a class A and another class B, of the images that were answered rightly:

1. The images of A that become B *pass for* B: the model is at least as sure of them as of the least sure quarter of the
   real images of B that it knows. Of a class A, more than LEAST pass, by the lower end of the interval.
2. Most of the images of A whose answer changed are answered B: A becomes B, and is not scattered.
3. Of the images that wrongly pass for B, at least FROM_ONE are of A: B is made of A, and is not what the model answers
   to whatever it does not know. (Networks are often sure of images unlike any that they saw: Hein et al. 2019,
   https://arxiv.org/abs/1812.05720; so confidence alone is no sign. Of two classes only, this holds always.)

The interval of 1 is exact and allows for every class and op that was looked at, so that of all the ops that break
nothing, one is named by chance in at most 5 of 100 cases. An op that the run was trained with may go unnamed: the run
has learned to call a turned 6 by its old label.

Shapes: N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.feed import PlainInput, PolicyInput
from tenfold.augment.policy import Policy
from tenfold.draws import draw_keys, epoch_order, hash_numbers
from tenfold.environment import torch_threads, usable_threads
from tenfold.errors import UsageError
from tenfold.estimate import FEWEST_GROUPS, Estimate, Units, level_of_each, to_json, units_of
from tenfold.images.loader import Augment, Drawn
from tenfold.images.prepared import PreparedTable, prepare_table
from tenfold.metrics.intervals import share
from tenfold.run import Run

if TYPE_CHECKING:
    from tenfold.evaluate.trials import Trial
    from tenfold.images.table import Table

LEAST = 0.1
"""Of a class, more images than this must pass for another one, by the interval's lower end."""
FROM_ONE = 0.8
"""Of the images that wrongly pass for a class, at least this share must be of one other class."""
MOST_IMAGES = 2000
_BATCH = 64


@dataclass(frozen=True)
class Flow:
    """Images of one class that are answered as another, after an op."""

    start: str
    end: str
    answered: Estimate
    """Of the images of `start` that were answered rightly before, those that now are answered `end`."""
    passing: Estimate
    """Those that pass for `end`; the interval allows for every op and class."""
    of_changed: float
    """Of the images of `start` whose answer changed, those that are answered `end`."""
    of_passing: float
    """Of the images of other classes that pass for `end`, those of `start`."""

    @property
    def breaks_label(self) -> bool:
        """Whether the op makes `end` out of `start`: see the top of this file."""
        return self.passing.low > LEAST and self.of_changed > 0.5 and self.of_passing >= FROM_ONE


@dataclass(frozen=True)
class OpSafety:
    """What one op at one magnitude did to the answers."""

    trial: Trial
    changed: Estimate
    """Of the images that were answered rightly before, those whose answer is another one now."""
    flows: tuple[Flow, ...]
    """The largest one of each class, those that break the label first; empty where no answer changed."""

    @property
    def breaks(self) -> tuple[Flow, ...]:
        """The flows that say that the op breaks the label."""
        return tuple(flow for flow in self.flows if flow.breaks_label)

    @property
    def verdict(self) -> str:
        """What that means, in words."""
        if self.breaks:
            return "breaks the label: " + ", ".join(f"{flow.start} → {flow.end}" for flow in self.breaks)
        if self.changed.low > LEAST:
            return "many answers change, but no class becomes another: the model does not know such images"
        return ""

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        names = ("start", "end", "answered", "passing", "of_changed", "of_passing", "breaks_label")
        content: dict[str, Any] = to_json(
            {
                "op": self.trial.op.name,
                "words": self.trial.words,
                "in_policy": self.trial.in_policy,
                "changed": self.changed,
                "flows": [{name: getattr(flow, name) for name in names} for flow in self.flows],
                "breaks_label": bool(self.breaks),
                "verdict": self.verdict,
            }
        )
        return content


@dataclass(frozen=True)
class Safety:
    """How a run's answers change under each of several ops."""

    part: str
    n: int
    """Images that were looked at."""
    right: int
    """Those that were answered rightly before any change."""
    ops: tuple[OpSafety, ...]
    notes: list[str] = field(default_factory=list)
    """What a reader has to know, a sentence each."""

    @property
    def breaking(self) -> tuple[OpSafety, ...]:
        """The ops that turn one class into another."""
        return tuple(found for found in self.ops if found.breaks)

    @property
    def sentences(self) -> list[str]:
        """Each flow that breaks the label, in a sentence."""
        return [_sentence(found.trial, flow) for found in self.breaking for flow in found.breaks]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        names = ("part", "n", "right", "sentences", "notes")
        return {name: getattr(self, name) for name in names} | {"ops": [found.to_json() for found in self.ops]}


def measure_safety(
    run: Run,
    trials: Sequence[Trial],
    policy: Policy,
    table: Table | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
) -> Safety:
    """Do each op alone to the run's validation images and compare the answers with those to the images as they are.

    `policy` says how pixels are sampled and filled; `table`, by default the run's own validation part, where these
    images are. At most MOST_IMAGES are looked at, drawn by `seed`, with the threads that the run was trained with. The
    test part is never looked at. Raises UsageError for a run that is no classification, one without validation images,
    and where so few answers are right that no op could be named.
    """
    if run.task.name != "classification":
        raise UsageError(f"Only a classification's answers can be compared so, and {run.path} is a {run.task.name}.")
    if not trials:
        raise UsageError(f"The policy {policy.name} has no op to try; name another, or all.")
    prepared, notes = _prepare(run, run.table.part("validation") if table is None else table, seed)
    truth = prepared.table.labels()
    groups = units_of(prepared.table.samples["group"].to_numpy(object), len(truth))
    if groups.count < FEWEST_GROUPS:  # so few would name nothing, and to stay silent is what would cost here
        few = f"The images are of {groups.count} groups only and counted singly: the signs hold for images like these."
        notes.append(few)
        groups = units_of(None, len(truth))
    threads = min(run.recipe.train.threads or usable_threads(), usable_threads())
    with torch_threads(threads):
        before = _answer(run, prepared, PlainInput(run.preprocessing), seed)
        known = np.flatnonzero(before.argmax(1) == truth)
        notes += _limits(run, truth, known, groups, level, len(trials))
        least = _genuine(truth[known], before[known], len(run.classes))
        found = []
        for trial in trials:
            alone = replace(policy, ops=(trial.op,))
            feed = PolicyInput(alone, run.preprocessing, lambda _: run.preprocessing.size, (), threads)
            after = _answer(run, prepared, feed, seed)[known]
            changed, flows = compare_answers(
                truth[known], after, least, run.classes, groups.take(known), level, looks=len(trials)
            )
            found.append(OpSafety(trial, changed, flows))
    return Safety("validation", len(truth), len(known), tuple(found), notes)


def compare_answers(
    truth: NDArray[np.int64],
    after: NDArray[np.float64],
    least: NDArray[np.float64],
    classes: Sequence[str],
    units: Units,
    level: float = 0.95,
    looks: int = 1,
) -> tuple[Estimate, tuple[Flow, ...]]:
    """What became of images that were answered rightly: the share that changed, and each class's largest flow.

    `truth` [N]; `after` [N, K], probabilities after the op; `least` [K], from which probability on an image passes for
    a class; `looks`: at how many ops so is looked at in all.
    """
    count = len(classes)
    answer = after.argmax(1)
    passes = (answer != truth) & (after.max(1) >= least[answer])
    answered = np.zeros((count, count), np.int64)
    passing = np.zeros((count, count), np.int64)
    np.add.at(answered, (truth, answer), 1)
    np.add.at(passing, (truth[passes], answer[passes]), 1)
    np.fill_diagonal(answered, 0)
    each = level_of_each(level, looks * count)
    flows = []
    for start in np.flatnonzero(answered.sum(1)).tolist():
        end = int(np.lexsort((answered[start], passing[start]))[-1])
        rows = np.flatnonzero(truth == start)
        own, went = units.take(rows), answer[rows] == end
        flow = Flow(
            classes[start],
            classes[end],
            share(went.astype(np.float64), own, level),
            share((went & passes[rows]).astype(np.float64), replace(own, exact=True), each),
            float(answered[start, end] / answered[start].sum()),
            float(passing[start, end] / max(passing[:, end].sum(), 1)),
        )
        flows.append(flow)
    flows.sort(key=lambda flow: (-flow.breaks_label, -flow.passing.value, -flow.answered.value))
    return share((answer != truth).astype(np.float64), units, level), tuple(flows)


def _limits(
    run: Run, truth: NDArray[np.int64], known: NDArray[np.int64], groups: Units, level: float, looks: int
) -> list[str]:
    """What answers to images as they are leave unknown, whatever an op does to them, a sentence each.

    `truth` int64 [N]; `known` int64: the rows that are answered rightly. Raises UsageError where no op could be named.
    """
    each = level_of_each(level, looks * len(run.classes))
    able = []
    for place in np.unique(truth[known]):
        rows = known[truth[known] == place]
        became = np.ones(len(rows))  # if the op made another class of all of them
        if share(became, replace(groups.take(rows), exact=True), each).low > LEAST:
            able.append(place)
    count, all_of_them = len(known), len(truth)
    if not able:
        raise UsageError(
            f"{run.path} answers {count} of its {all_of_them} validation images rightly, of no class enough for an op "
            "to be named whatever it did, so it can tell nothing about ops; take a better run, or more validation "
            "images."
        )
    notes = []
    if unable := [run.classes[place] for place in np.unique(truth) if place not in able]:
        notes.append(
            f"Of {', '.join(unable)} too few images are answered rightly for any op to be named, whatever it does."
        )
    right = np.isin(np.arange(all_of_them), known).astype(np.float64)
    if share(right, groups, level).low <= np.bincount(truth).max() / all_of_them:
        notes.append(
            f"The run answers {count} of {all_of_them} images rightly, "
            "not surely more than are of the commonest class: what it does not name says little."
        )
    return notes


def _genuine(truth: NDArray[np.int64], before: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """From which probability on an image passes for each class: the lower quartile of its own, rightly answered ones.

    `before` float64 [N, K] -> float64 [K]; above 1 where no image of the class is answered rightly.
    """
    least = np.full(count, 2.0)
    for place in np.unique(truth):
        least[place] = np.quantile(before[truth == place, place], 0.25)
    return least


def _prepare(run: Run, table: Table, seed: int) -> tuple[PreparedTable, list[str]]:
    """Some validation images that have a label, as canvases."""
    table = table.take(np.flatnonzero(table.labels() >= 0))
    if not len(table):
        raise UsageError(f"{run.path} has no labelled validation images here; split the data with a validation part.")
    notes = []
    if len(table) > MOST_IMAGES:
        notes.append(f"{MOST_IMAGES:,} of {len(table):,} validation images were drawn to be looked at.")
        order = epoch_order(seed, 0, hash_numbers(table.samples["hash"].tolist()))
        table = table.take(np.sort(order[:MOST_IMAGES]))
    prepared = prepare_table(table, run.preprocessing, allow_truncated=run.recipe.data.allow_truncated)
    return prepared, [*notes, *prepared.unreadable.values()]


def _answer(run: Run, prepared: PreparedTable, feed: Augment, seed: int) -> NDArray[np.float64]:
    """Probabilities float64 [N, K] for images that `feed` makes of the canvases, as it does in training."""
    keys = draw_keys(seed, 0, hash_numbers(prepared.table.samples["hash"].tolist()))
    answers = []
    for start in range(0, len(keys), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(keys)))
        rows = np.append(rows, rows[-1])  # the one after the batch, which nothing is mixed with
        canvases, affine = prepared.canvases.take(rows)
        images, _, moved = feed(Drawn(canvases, {}, keys[rows], affine), 0)
        answers += [prediction["probability"] for prediction in run.model.predict(images.to(run.device), moved)]
    return np.stack(answers).astype(np.float64)


def _sentence(trial: Trial, flow: Flow) -> str:
    low, high = (f"{100 * end:.0f}" for end in (flow.passing.low, flow.passing.high))
    return (
        f"{trial.words} turns {flow.start} into {flow.end}: of {flow.passing.n} images of {flow.start} that were "
        f"answered rightly, {100 * flow.passing.value:.0f} % ({low} to {high}) now pass for {flow.end}."
    )
