"""What the diagnosis says of a training on augmented copies: it counts images, and names copies beside them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from tenfold.images.table import Table
from tenfold.train.diagnosis import diagnose
from tenfold.train.diagnosis.advice import widen
from tenfold.train.diagnosis.case import Case
from tenfold.train.diagnosis.curves import blind_loss
from tenfold.train.evidence import Examiner, Measured
from tests.test_copies import with_copies
from tests.test_diagnosis import EPOCHS, make_facts, make_outcome, sound_history
from tests.test_diagnosis_classes import of_classes
from tests.test_split import table_of


def examiner_of(table: Table) -> Examiner:
    prepared: Any = SimpleNamespace(table=table)
    nothing: Any = None
    return Examiner(nothing, make_facts().recipe, prepared, nothing, nothing, nothing)


def test_images_and_copies_are_counted_apart_and_images_alone_are_looked_at():
    table = table_of(["a", "a", "b"]).assign(part=["train"] * 3)
    training = with_copies(table, 3, parts=True)
    images, copies = examiner_of(training).counts()
    assert (images.tolist(), copies.tolist()) == ([2, 1], [6, 3])
    assert sorted(examiner_of(training)._shuffled().tolist()) == [0, 1, 2]
    alone = training.take(np.flatnonzero(training.samples["copy"]))
    images, copies = examiner_of(alone).counts()
    assert (images.tolist(), copies.tolist()) == ([6, 3], [0, 0])
    assert len(examiner_of(alone)._shuffled()) == 9


def test_a_class_that_was_never_learned_is_told_with_its_images_and_their_copies():
    training, validation = of_classes((60, 60), (60, 60), (0, 40)), of_classes((50, 50), (50, 50), (0, 30))
    facts = make_facts(Measured(EPOCHS, training, validation))
    facts = replace(facts, images=np.array([60, 60, 40]), copies=np.array([180, 180, 120]))
    [lost] = [one for one in diagnose(sound_history(), facts) if one.kind == "class never learned"]
    assert f"{facts.classes[2]} (40 training images and 120 copies of them)" in lost.says
    [lost] = [one for one in diagnose(sound_history(), replace(facts, copies=None)) if one.kind == lost.kind]
    assert f"{facts.classes[2]} (40 training images)" in lost.says


def test_advice_on_the_validation_part_is_about_images():
    """10 of 50 images of each class are held back, as advised; copies of the others take nothing from that."""
    counts = [40, 40, 40]
    last = Measured(EPOCHS, make_outcome(0.99, 0.05, 120, 1), make_outcome(0.92, 0.25, 30, 2))
    table = table_of([name for name in "abc" for _ in range(40)]).assign(part=["train"] * 120)
    images, copies = examiner_of(with_copies(table, 9, parts=True)).counts()
    facts = replace(make_facts(last, split={"validation": 0.2, "test": 0.0}), images=images, copies=copies)
    assert widen(facts, 30) == widen(replace(facts, images=np.array(counts), copies=None), 30)
    assert widen(facts, 30) != widen(replace(facts, images=images + copies), 30)


def test_the_loss_of_looking_at_no_image_is_that_of_all_that_was_trained_on():
    facts = replace(make_facts(), images=np.array([10, 10, 10]), copies=np.array([90, 0, 0]))
    smoothing = facts.recipe.train.label_smoothing
    assert Case(sound_history(), facts).blind == blind_loss(np.array([100, 10, 10]), smoothing, balanced=False)
