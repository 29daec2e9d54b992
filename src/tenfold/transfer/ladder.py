"""The ladder: heads on frozen features, the cheapest first, climbed until the time is over; then one is chosen.

Every rung answers the same images by the same repeated folds, stratified by class, which keep together what belongs
together. Its strength is chosen among all that it tries; a rung's figures, and those of the whole choice, are of images
that had no say in what is chosen for them: see choice.py.

Shapes: N images, V views, D features, R repeats of the folds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError, UsageError
from tenfold.estimate import units_of
from tenfold.images.content import hashed
from tenfold.images.prepared import PreparedTable, prepare_table
from tenfold.images.table import Table
from tenfold.models.heads import HEADS, can_hold_out, held_out_answers
from tenfold.split import fold_tables
from tenfold.split.copies import Followers, images_of
from tenfold.split.ties import bonds, grouped, join
from tenfold.tasks import TASKS
from tenfold.train import Progress
from tenfold.transfer.at_hand import multiply_adds
from tenfold.transfer.clock import Clock, OverError
from tenfold.transfer.features import Extractor, Watch, seconds_to_look, table_features, watch_nothing
from tenfold.transfer.rungs import BLIND, Exam, Ladder, Tried, choose_rung
from tenfold.words import count

LADDER = (BLIND, "mean", "neighbors", "svm", "logistic")
"""Names in HEADS, in the order in which they are climbed on each backbone."""
FOLDS = 5
FEW = 1000
"""Images below which folds are dealt twice: with more, once tells enough."""
_BLIND = (
    "But no class has two training images that do not belong together, so each was answered by heads that had seen "
    "nothing of its class: these figures and the choice say little; give images of each class taken on other occasions."
)
_TRIED = 0.25  # share of the images whose decoding tells how long that of the others takes: sizes differ

Tell = Callable[[Progress], None]


def tell_nobody(message: Progress) -> None:
    """Hear nothing."""


class AloneError(UsageError):
    """There is one separate image or group, so that no head could be judged on images apart from its own."""


@dataclass(frozen=True)
class Eye:
    """A backbone with its views, and how a recipe names it."""

    extractor: Extractor
    settings: dict[str, Any]
    """What a recipe's [transfer] says of it: "backbone", "weights", "init", "views", "crop", "spread"."""

    @cached_property
    def cost(self) -> int:
        """Multiply-adds of one image, all views."""
        return multiply_adds(self.extractor.backbone, self.extractor.side) * len(self.extractor.views)


@dataclass(frozen=True)
class Source:
    """Features that rungs can stand on."""

    words: str
    """Backbone and views, as people read them."""
    settings: dict[str, Any]
    """As `Eye.settings`."""
    cost: int
    """Multiply-adds of one image, all views."""
    features: Callable[[Watch], NDArray[np.float32]]
    """Gives float32 [N, V, D]; calls its argument now and then, which may raise to stop it."""


def climb_table(
    table: Table,
    eyes: Sequence[Eye],
    *,
    heads: Sequence[str] = LADDER,
    clock: Clock | None = None,
    seed: int = 0,
    workers: int = 2,
    device: str = "cpu",
    progress: Tell = tell_nobody,
) -> Ladder:
    """Climb the ladder on the training part of a table, over these backbones, the cheapest first.

    By the `clock` what would not end in time is left out and named, decoding and features included; and time is kept
    back in which the rest is decoded and seen, as the images of the training part were, and in which the validation
    part is seen once more, when the run is evaluated. None: no limit. Augmented copies (`tenfold augment --save`) take
    no part, as the choice is by images; nor do images that cannot be read. Where no class has two images that do not
    belong together, the ladder's reason says that the choice rests on nothing. Raises UsageError without a backbone, a
    training part or labels, or where the images of the training part cannot be decoded in time; AloneError where those
    that can be read are fewer than two separate images or groups; DataError where none can be read.
    """
    clock = clock or Clock()
    training = grouped(hashed(table.part("train")))
    validation, table = len(table.part("validation")), images_of(training)
    others = validation + len(training) - len(table)  # copies are decoded later, for the fit alone
    if not eyes:
        raise UsageError("The ladder needs at least one backbone, and none is given.")
    eyes = sorted(eyes, key=lambda eye: eye.cost)
    if not len(table):
        if len(training):
            raise UsageError(
                "The ladder chooses by images, and the training part has augmented copies alone; list the images too, "
                "or name the head instead of auto (--transfer.head logistic)."
            )
        raise UsageError("The table has no training part; split it first, for example with tenfold.split_table.")
    TASKS["classification"].targets(table)  # refuses what cannot be learnt from
    sight = _Sight(others / len(table), validation, workers, device, progress, clock)
    try:
        first = sight.decode(table, eyes[0].extractor)
    except OverError as error:
        raise UsageError(
            f"The time limit of {clock.seconds:g} s is too short to decode the {len(table)} training images; give more."
        ) from error
    table = first[0].table
    _refuse_alone(table)

    def source(eye: Eye) -> Source:
        def features(watch: Watch) -> NDArray[np.float32]:
            prepared, seconds = first if eye is eyes[0] else sight.decode(table, eye.extractor)
            if len(prepared.table) < len(table):
                raise DataError(f"The images have changed meanwhile: {next(iter(prepared.unreadable.values()))}")
            return sight.look(prepared, eye.extractor, watch, seconds)

        views = len(eye.extractor.views)
        init = eye.settings.get("init")  # the network of an earlier run is named by its whole shape, which is no name
        name = f"the run {Path(init).resolve().name}" if init else eye.extractor.backbone.name
        words = f"{name}, {count(views, 'view')}"
        return Source(words, eye.settings, eye.cost, features)

    folds = fold_numbers(table, FOLDS, 2 if len(table) < FEW else 1, seed=seed)
    units = units_of(table.samples["group"].to_numpy(object), len(table))
    exam = Exam(table.labels(), len(table.classes), folds, units)
    ladder = climb([source(eye) for eye in eyes], exam, heads=heads, clock=clock, progress=progress)
    if can_hold_out(exam.labels, join(bonds(table))):
        return ladder
    return replace(ladder, reason=f"{ladder.reason} {_BLIND}")


def _refuse_alone(table: Table) -> None:
    """Raise AloneError where the images, all of which can be read, are one block, which no two folds can share."""
    if not join(bonds(table)).any():
        raise AloneError(
            "The ladder answers images by heads that were fitted to others, and of the training images that can be "
            f"read none stands apart from the rest ({len(table)}); give more images, or name the head "
            "(--model frozen --transfer.head mean)."
        )


@dataclass(frozen=True)
class _Sight:
    """From images to features, against the clock."""

    later: float
    """How much of this comes again for images that take no part in the ladder, as a share of those that do."""
    evaluated: int
    """Images that the network sees once more when the run is evaluated, which takes no features from the cache."""
    workers: int
    device: str
    progress: Tell
    clock: Clock

    def decode(self, table: Table, extractor: Extractor) -> tuple[PreparedTable, float]:
        """The images as an extractor wants them, and the seconds that it took; OverError where time is too short."""
        began = self.clock.tick()

        def told(done: int, of: int) -> None:
            self.progress(Progress("prepare", f"decoding images {done} of {of}", step=done, steps=of))

        prepared = prepare_table(
            table,
            extractor.preprocessing,
            allow_truncated=extractor.allow_truncated,
            workers=self.workers,
            watch=_both(told, self.clock.watch(tried=_TRIED, later=self.later)),
        )
        seconds = self.clock.tick() - began
        self.clock.keep(self.later * seconds)
        return prepared, seconds

    def look(self, prepared: PreparedTable, extractor: Extractor, watch: Watch, decoding: float) -> NDArray[np.float32]:
        """Features float32 [N, V, D] of images that took so many seconds to decode; raises as `decode`."""
        began = self.clock.tick()
        later = self.later + self.evaluated / len(prepared.table)
        in_time = _both(watch, self.clock.watch(warms_up=True, later=later))
        found = table_features(prepared, extractor, device=self.device, watch=in_time)
        seconds = self.later * (decoding + self.clock.tick() - began)
        if self.clock.seconds and self.evaluated:
            seconds += self.evaluated * seconds_to_look(prepared, extractor, self.clock.tick)
        self.clock.keep(seconds)
        return found


def fold_numbers(table: Table, folds: int, repeats: int, *, seed: int = 0) -> NDArray[np.int64]:
    """The fold of each image in each repeat: int64 [R, N], stratified by class, blocks of images whole.

    `table` has hashes and no test part. There are fewer folds where there are fewer blocks. Folds are dealt to images
    alone; an augmented copy has that of its image, so that it is held out with it, and is not to be judged. Raises
    UsageError where there is only one block, DataError where all are such copies.
    """
    count = max(min(folds, int(join(bonds(images_of(table))).max(initial=0)) + 1), 2)
    numbers = np.zeros((repeats, len(table)), np.int64)
    for place, dealt in enumerate(fold_tables(table, count, repeats=repeats, seed=seed)):
        repeat, fold = divmod(place, count)
        trained = (dealt.samples["part"] == "train").to_numpy(bool, na_value=False)
        numbers[repeat, ~trained] = fold
    image = Followers(table).rows
    return np.where(image >= 0, numbers[:, image], numbers)  # a copy that is the same as its image is in no training


def climb(
    sources: Sequence[Source],
    exam: Exam,
    *,
    heads: Sequence[str] = LADDER,
    clock: Clock | None = None,
    progress: Tell = tell_nobody,
) -> Ladder:
    """Climb the rungs of `heads` on each source in turn, the majority class once, and choose one.

    Raises UsageError where there is no time for even one.
    """
    clock = clock or Clock()
    tried: list[Tried] = []
    left_out: list[str] = []
    for number, source in enumerate(sources):
        began, features = clock.tick(), None
        for head in heads:
            if head == BLIND and number:
                continue
            words = _words(head, source)
            try:
                if head != BLIND and features is None:
                    features = source.features(_told(source, clock, progress))
                seen = np.zeros((len(exam.labels), 1, 1), np.float32) if features is None else features
                tried.append(_climbed(head, source, seen, exam, clock, began, progress))
            except OverError:
                left_out.append(f"{words}: there was no time for it.")
                if head != BLIND and features is None:
                    left_out[-1] = f"All on {source.words}: there was no time for the features."
                    break
            else:
                progress(Progress("note", f"{words}: {tried[-1].seconds:.1f} s"))
            began = clock.tick()
    if not tried:
        raise UsageError(f"The time limit of {clock.seconds:g} s was over before the first rung; give more.")
    return choose_rung(tried, exam, clock.spent, left_out)


def _climbed(
    head: str,
    source: Source,
    features: NDArray[np.float32],
    exam: Exam,
    clock: Clock,
    began: float,
    progress: Tell,
) -> Tried:
    """One rung, its seconds counted from `began` on; OverError where there is no time for it."""
    kind, words = HEADS[head], _words(head, source)
    each = 1 + len(kind.strengths)
    pieces = exam.fold_count * len(exam.folds)
    of, fits, done, watch = each * pieces, len(kind.strengths) * pieces, 0, clock.watch()
    if head == "mean":  # a sum a class, and who has the features has paid for all that it needs
        watch = watch_nothing

    def before_fit() -> None:
        nonlocal done
        # What a fold takes is known when it ends: weak penalties, which come last, take longest.
        watch(done if done % each == 0 else 0, of)
        fitted = done - done // each  # this is called once more in each fold, after its last fit
        progress(Progress("prepare", f"{words}: {fitted} of {fits} fits", step=fitted, steps=fits))
        done += 1

    answers = held_out_answers(
        head,
        features,
        exam.labels,
        exam.folds,
        exam.classes,
        spread=bool(source.settings["spread"]),
        before_fit=before_fit,
    )
    return Tried(words, source.settings | {"head": head}, source.cost, answers, clock.tick() - began)


def _words(head: str, source: Source) -> str:
    return HEADS[head].words if head == BLIND else f"{HEADS[head].words}, {source.words}"


def _told(source: Source, clock: Clock, progress: Tell) -> Watch:
    def told(done: int, of: int) -> None:
        progress(Progress("prepare", f"features of {source.words}: {done} of {of}", step=done, steps=of))

    return _both(told, clock.watch(warms_up=True))


def _both(one: Watch, other: Watch) -> Watch:
    """A watch that calls two."""

    def watch(done: int, of: int) -> None:
        one(done, of)
        other(done, of)

    return watch
