"""Classes in the diagnosis: of unequal size, in other shares in both parts, and without one image recognized."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tenfold.estimate import units_of
from tenfold.train.diagnosis import diagnose
from tenfold.train.diagnosis.case import Case
from tenfold.train.diagnosis.lost import lost_classes
from tenfold.train.evidence import NOTHING, Facts, Measured, Outcome
from tests.test_diagnosis import CLASSES, EPOCHS, alarms, kinds, make_facts, make_outcome, sound_history


def of_classes(*classes: tuple[int, int], loss: float = 0.2, groups: np.ndarray | None = None) -> Outcome:
    """Of each class (images that are right, images)."""
    counts = [count for _, count in classes]
    truth = np.repeat(np.arange(len(classes)), counts)
    right = np.concatenate([np.arange(count) < hits for hits, count in classes])
    units = units_of(groups, len(truth))
    return Outcome(np.full(len(truth), loss), truth, np.where(right, truth, (truth + 1) % len(classes)), units)


def two_classes(training: Outcome, validation: Outcome, images: tuple[int, int], **sections: dict) -> Facts:
    facts = make_facts(Measured(EPOCHS, training, validation), **sections)
    return replace(facts, classes=("frequent", "rare"), images=np.array(images))


WEIGHTS = {"train": {"balance": "weights"}}


def test_balanced_accuracy_counts_every_class_alike():
    seen = of_classes((90, 95), (3, 5), (7, 20))
    found = seen.balanced_accuracy
    assert found.value == pytest.approx(balanced_accuracy_score(seen.truth, seen.predicted))
    assert found.n == 120
    equal = of_classes((80, 100), (80, 100))  # where sizes and shares are equal it is the accuracy
    assert equal.balanced_accuracy.low == pytest.approx(equal.accuracy.low, abs=0.003)
    assert equal.balanced_accuracy.high == pytest.approx(equal.accuracy.high, abs=0.003)
    perfect = of_classes((1900, 1900), (4, 4)).balanced_accuracy  # four images say little
    assert perfect.low < 0.8


def test_the_interval_of_the_balanced_accuracy_holds_the_truth():
    draw, held = np.random.default_rng(0), 0
    for _ in range(400):
        found = of_classes((draw.binomial(285, 0.97), 285), (draw.binomial(15, 0.7), 15)).balanced_accuracy
        held += found.low <= (0.97 + 0.7) / 2 <= found.high
    assert 370 <= held <= 396


def test_with_class_weights_a_network_is_held_against_what_it_was_asked_for():
    """Always naming the class of 95 % is right more often than a network that was weighted against that."""
    alike = of_classes((200, 285), (10, 15)), of_classes((203, 285), (10, 15))
    found = diagnose(sound_history(), two_classes(*alike, (1900, 100), **WEIGHTS))
    assert alarms(found) == ["underfitting"]  # and no overfitting, of parts that are known alike
    assert "68.4 %" in found[0].says
    assert "each class counted alike: most of the error" in found[0].says
    assert "Always naming the same class would get 50.0 %" in found[0].says
    assert found[0].evidence["training_balanced_accuracy"].value == pytest.approx((200 / 285 + 10 / 15) / 2)
    sound = of_classes((931, 950), (49, 50)), of_classes((367, 380), (19, 20))
    assert alarms(diagnose(sound_history(), two_classes(*sound, (1900, 100), **WEIGHTS))) == []
    by_heart = of_classes((950, 950), (50, 50)), of_classes((260, 285), (3, 15))
    found = diagnose(sound_history(), two_classes(*by_heart, (1900, 100), **WEIGHTS))
    assert "overfitting" in kinds(found)


def test_a_network_that_knows_less_than_the_largest_class_has_nothing_by_heart():
    same = of_classes((200, 285), (10, 15))
    found = diagnose(sound_history(), two_classes(same, same, (1900, 100)))
    assert "overfitting" not in kinds(found)


def test_parts_with_the_classes_in_other_shares_are_compared_class_by_class():
    """As with so many training images of each class: the validation part has more of the easy one."""
    training, validation = of_classes((97, 100), (75, 100)), of_classes((276, 285), (11, 15))
    facts = two_classes(training, validation, (100, 100), split={"per_class": 100})
    found = diagnose(sound_history(), facts)
    assert "validation better than training" not in alarms(found)
    [explained] = [one for one in found if one.kind == "validation better than training"]
    assert "and of the classes in other shares. Measured alike: The last weights get 86.0 %" in explained.says
    easier = two_classes(of_classes((97, 100), (83, 100)), of_classes((285, 285), (57, 57)), (100, 100))
    found = diagnose(sound_history(), easier)
    assert "validation better than training" in alarms(found)
    assert "each class counted alike" in found[0].says


def test_a_class_without_a_hit_where_that_is_no_bad_luck():
    seen, own = make_outcome(0.95, 0.2, 60), make_outcome(0.95, 0.2, 15)

    def missing(outcome: Outcome, place: int) -> Outcome:
        """All right but the images of one class."""
        predicted = np.where(outcome.truth == place, (outcome.truth + 1) % 3, outcome.truth)
        return Outcome(outcome.loss, outcome.truth, predicted, outcome.units)

    last = Measured(EPOCHS, make_outcome(0.98, 0.05), missing(seen, 1))
    found = diagnose(sound_history(), make_facts(last, each=missing(own, 1)))
    assert "class never learned" in alarms(found)
    [one] = [one for one in found if one.kind == "class never learned"]
    assert "Not one was recognized of the training and validation images of disc (100 training images)." in one.says
    assert one.evidence["validation_accuracy: disc"].n == 20
    few = Outcome(*(part[:3] for part in (seen.loss, seen.truth, missing(seen, 1).predicted)), units_of(None, 3))
    last = Measured(EPOCHS, make_outcome(0.98, 0.05), few)  # one image of it, wrong: that may be chance
    assert "class never learned" not in kinds(diagnose(sound_history(), make_facts(last, each=own)))


def test_a_class_that_is_known_in_training_alone_is_called_so():
    last = Measured(EPOCHS, make_outcome(0.98, 0.05), of_classes((19, 20), (0, 20), (19, 20)))
    [one] = [
        one
        for one in diagnose(sound_history(), make_facts(last, each=of_classes((5, 5), (3, 5), (5, 5))))
        if one.kind == "class never learned"
    ]
    assert one.says.startswith(
        "Not one was recognized of the validation images of disc (100 training images, known on those alone)."
    )
    both = Measured(EPOCHS, make_outcome(0.98, 0.05), of_classes((19, 20), (0, 20), (0, 20), (19, 20), (20, 20)))
    five = replace(
        make_facts(both, each=of_classes((5, 5), (3, 5), (0, 5), (5, 5), (5, 5))),
        classes=(*CLASSES, "star", "wave"),
        images=np.full(5, 100),
    )
    [one] = [one for one in diagnose(sound_history(), five) if one.kind == "class never learned"]
    assert one.says.startswith(
        "Not one was recognized of the validation images of disc (100 training images, known on those alone), nor of "
        "the training and validation images of ring (100 training images)."
    )


def test_a_class_is_held_against_the_others_alone():
    """Its own misses are no sign that misses are usual: of the others 4 of 4 are right, of all 4 of 12."""
    for validation, lost in ((of_classes((0, 8), (2, 2), (2, 2)), [0]), (of_classes((0, 5), (3, 6), (3, 6)), [])):
        seen = Measured(EPOCHS, make_outcome(0.98, 0.05), validation)
        assert lost_classes(Case(sound_history(), make_facts(seen, each=NOTHING))) == lost


def test_images_of_one_group_are_one_chance_to_be_right():
    groups = np.array([*range(40), *["one scene"] * 10, *range(40, 80)], object)
    together = of_classes((39, 40), (0, 10), (39, 40), groups=groups)
    alone = of_classes((39, 40), (0, 10), (39, 40))
    for seen, is_lost in ((together, False), (alone, True)):
        last = Measured(EPOCHS, make_outcome(0.98, 0.05), seen)
        found = diagnose(sound_history(), make_facts(last, each=NOTHING))
        assert ("class never learned" in kinds(found)) == is_lost
