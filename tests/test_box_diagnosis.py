"""The diagnosis of detectors says what a training was made to show, and nothing of a sound one."""

from __future__ import annotations

import json
import re
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from tenfold.commands.train import _diagnosed
from tenfold.estimate import Estimate, units_of
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.metrics.detection import detection_findings
from tenfold.metrics.detection_ap50 import ap50, ap50_change
from tenfold.metrics.detection_estimates import compare_detectors
from tenfold.models import MODELS
from tenfold.recipe import Recipe
from tenfold.report import write_report
from tenfold.report.diagnosis import diagnosis as section
from tenfold.tasks import TASKS
from tenfold.train import train_model
from tenfold.train.diagnosis import Diagnosis, diagnose, say_diverged
from tenfold.train.diagnosis.case import usual_rate
from tenfold.train.evidence import NOTHING, Examiner, Facts, Measured, Outcome
from tests.report_run import make_run
from tests.test_detection_task import FOUND, Finder, prediction, table_of
from tests.test_seams import box_table
from tests.toys import quick_recipe

CLASSES = ("platelet", "red", "white")
EPOCHS = 20
RATE = 0.0004
RECIPE = Recipe().change(
    model={"name": "faster-rcnn"},
    image={"size": 416},
    augment={"policy": "light"},
    train={"optimizer": "adamw", "lr": RATE, "epochs": EPOCHS, "balance": "none", "keep": "last"},
)


@cache
def seen(recall: float, images: int = 90, place: int = 0, lost: str = "", scarce: int = 1000) -> Outcome:
    """Images of cells of which so large a share is found, the same cells wherever `place` is the same.

    Of the class `lost` none is found, and there is none after the first `scarce` images. An object that is found at
    one recall is found at every higher one.
    """
    draw = np.random.default_rng(place)
    rows, predictions = [], []
    for image in range(images):
        found = []
        for slot, name in enumerate(("red", "red", "red", "white", "platelet")):
            there, hit, score, false = draw.random(4)
            box = (40 * slot, 10, 40 * slot + 30, 40)
            if there < 0.7 and (name != lost or image < scarce):
                rows.append((image, *box, name, False))
                if hit < recall and name != lost:
                    found.append((*box, CLASSES.index(name), 0.3 + 0.7 * score))
            if false < 0.05:
                found.append((40 * slot, 60, 40 * slot + 30, 90, CLASSES.index(name), 0.5 * score))
        predictions.append(prediction(*found))
    frame = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    table = Table(make_samples({"source": [f"{n}.png" for n in range(images)]}, images), CLASSES, frame)
    scores, units = TASKS["detection"].scores(predictions, table), units_of(None, images)
    return Outcome(scores.loss, scores.truth, scores.predicted, units.take(scores.image), scores.part, units)


def make_history(train: np.ndarray, validation: np.ndarray | None = None, lr: float = RATE) -> pd.DataFrame:
    """E rows, the rate along a sine, as history.csv has them of a detector."""
    time = np.arange(1, len(train) + 1)
    rows = {
        "epoch": time,
        "step": 25 * time,
        "seconds": 30.0 * time,
        "lr": lr * np.sin(np.pi * (time - 0.5) / len(train)),
        "size": 416,
        "train_class": 0.6 * train,
        "train_box": 0.4 * train,
        "train_loss": train,
        "train_region_accuracy": 0.9,
        "validation_loss": np.linspace(0.8, 0.6, len(train)) if validation is None else validation,
    }
    return pd.DataFrame(rows)


def sound_history(lr: float = RATE, noise: float = 0.0, rise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """A training loss from 1.6 to 0.5, and one of validation that rises by a share of it from epoch 8 on."""
    draw, time = np.random.default_rng(seed), np.arange(EPOCHS)
    train = 0.5 + 1.1 * np.exp(-time / 4) + draw.normal(0, noise, EPOCHS)
    validation = 0.7 + 0.7 * np.exp(-time / 2) + 0.7 * rise * np.clip((time - 7) / 12, 0, 1)
    return make_history(train, validation + draw.normal(0, noise, EPOCHS), lr)


def make_facts(
    training: Outcome | None = None,
    validation: Outcome | None = None,
    earlier: tuple[int, Outcome] | None = None,
    each: Outcome | None = None,
    **sections: dict,
) -> Facts:
    """Facts of a training that ended well, but for what is given."""
    training = training or seen(0.97, place=1)
    last = Measured(EPOCHS, training, validation or seen(0.93))
    return Facts(RECIPE.change(**sections), CLASSES, np.full(3, 100), last, last, each or training, earlier)


def kinds(found: list[Diagnosis]) -> list[str]:
    return [one.kind for one in found]


def alarms(found: list[Diagnosis]) -> list[str]:
    return [one.kind for one in found if one.alarm]


def test_each_image_and_class_is_judged_by_whether_one_of_its_objects_was_found():
    scores = TASKS["detection"].scores(FOUND, table_of())
    assert scores.image.tolist() == [0, 2]  # the cat of image 2 is to be ignored
    assert scores.truth.tolist() == scores.predicted.tolist() == [0, 1]
    rows = [(0, 0, 0, 10, 10, "cat", False), (0, 20, 0, 30, 10, "cat", False), (1, 0, 0, 10, 10, "dog", False)]
    scores = TASKS["detection"].scores([prediction((0, 0, 10, 10, 0, 0.03)), prediction()], table_of(rows, 2))
    assert scores.loss.tolist() == [0.5, 1]
    assert scores.predicted.tolist() == [0, -1]


def test_ap50_alone_is_that_of_all_figures():
    one, units = seen(0.8), units_of(None, 90)
    figures, _ = detection_findings(one.part.objects, one.part.detections, CLASSES, 90)
    assert ap50(one.part.matches, units) == figures["ap50"]
    better = seen(0.9)
    compared = compare_detectors(one.part.matches, better.part.matches, units)["ap50"].difference
    change = ap50_change(one.part.matches, better.part.matches, units)
    assert change.value == pytest.approx(-compared.value)
    assert (change.low, change.high) == pytest.approx((-compared.high, -compared.low))


def test_sound_trainings_give_no_alarm():
    for seed in range(12):
        draw = np.random.default_rng(seed)
        recall = float(draw.uniform(0.8, 0.97))
        last, before = seen(recall, place=seed), seen(recall - float(draw.uniform(-0.004, 0.004)), place=seed)
        training = seen(min(recall + float(draw.uniform(0, 0.05)), 0.99), place=seed + 100)
        history = sound_history(noise=0.03, rise=float(draw.uniform(0, 0.3)), seed=seed)
        found = diagnose(history, make_facts(training, last, (16, before)))
        assert alarms(found) == [], (seed, found)
        assert kinds(found) in (["converged"], ["still improving"])


def test_a_rising_loss_alone_is_no_overfitting():
    history, earlier = sound_history(rise=0.8), (16, seen(0.93))
    assert alarms(diagnose(history, make_facts(seen(0.95, place=1), earlier=earlier))) == []
    [found] = diagnose(history, make_facts(seen(0.995, place=1), seen(0.85), (16, seen(0.85))))
    assert (found.kind, found.alarm) == ("overfitting", True)
    assert "From epoch 8 on the validation loss rose from 0.7" in found.says
    lowest = history["validation_loss"].min()
    assert found.evidence["validation_loss_lowest"] == pytest.approx(lowest)
    assert found.evidence["validation_loss_last"] == pytest.approx(history["validation_loss"].iloc[-1])
    assert found.evidence["ap50_gap"].value == pytest.approx(
        found.evidence["training_ap50"].value - found.evidence["validation_ap50"].value
    )
    assert "Without them, try --policy standard." in found.next
    apart = make_facts(seen(0.995, place=1), seen(0.89), (16, seen(0.89)))  # by less than is learned by heart
    assert alarms(diagnose(history, apart)) == ["overfitting"]
    assert alarms(diagnose(sound_history(rise=0.02), apart)) == []


def test_learned_by_heart_is_overfitting_though_no_loss_rose():
    found = diagnose(sound_history(), make_facts(seen(1.0, place=1), seen(0.55)))
    assert alarms(found) == ["overfitting"]
    assert "holds for the training images alone" in found[0].says
    assert "validation_loss_lowest" not in found[0].evidence


def test_still_improving_is_a_rise_of_ap50_beyond_its_error_or_a_curve_that_has_not_bent():
    [found] = diagnose(sound_history(), make_facts(earlier=(16, seen(0.85))))
    assert (found.kind, found.alarm) == ("still improving", False)
    assert "From epoch 16 to 20 AP50 on the validation part rose by 0.0" in found.says
    assert found.evidence["validation_ap50_change"].low > 0
    assert found.next == "Train again with --epochs 40."
    straight = make_history(np.linspace(1.6, 0.8, 6))
    assert kinds(diagnose(straight, make_facts(earlier=(4, seen(0.93))))) == ["still improving"]
    rising = make_history(np.linspace(1.6, 0.8, 6), np.linspace(0.6, 0.62, 6))
    assert kinds(diagnose(rising, make_facts(earlier=(4, seen(0.93))))) == ["converged"]


def test_a_sure_change_of_ap50_is_not_called_converged():
    facts = make_facts(seen(0.9, place=1), seen(0.86), (16, seen(0.97)))
    assert diagnose(sound_history(), facts) == []  # it fell
    rose = make_facts(earlier=(16, seen(0.85)), train={"keep": "best"})
    kept = Measured(15, rose.last.training, rose.last.validation)
    assert diagnose(sound_history(), replace(rose, kept=kept)) == []


def test_early_stopping_has_converged():
    facts = make_facts(train={"patience": 3})
    kept = Measured(15, facts.last.training, facts.last.validation)
    stopped = Facts(facts.recipe, CLASSES, facts.images, facts.last, kept, facts.each)
    [found] = diagnose(sound_history(), stopped)
    assert found.kind == "converged"
    assert "stopped 5 epochs after the lowest validation loss" in found.says


def test_underfitting_is_missed_objects_in_the_training_images_themselves():
    found = diagnose(sound_history(), make_facts(seen(0.35, place=1), seen(0.3), (16, seen(0.3))))
    assert kinds(found) == ["underfitting"]
    assert "most of the error is made on images that it learned from" in found[0].says
    assert "--epochs 40. If that changes little, with larger images: --size 640." in found[0].next
    better = seen(0.35, place=1), seen(0.35), (16, seen(0.2))  # it only needs time, and that is said
    assert kinds(diagnose(sound_history(), make_facts(*better))) == ["still improving"]


def test_rates_are_judged_by_the_curve_and_what_is_usual_for_the_model():
    lost = seen(0.0, place=1), seen(0.0)
    rising = make_history(np.r_[1.6, 1.2, 2.5, 2.0, np.full(16, 1.1)])
    [found] = diagnose(rising, make_facts(*lost))
    assert found.kind == "learning rate too high"
    assert (
        "rose from 1.2 in epoch 2 to 2.5 in epoch 3, with a learning rate of 0.0004 (the usual one here is 0.0004)"
        in (found.says)
    )
    assert "--lr 4e-05" in found.next
    assert "training_ap50" in found.evidence
    [found] = diagnose(sound_history(0.02), make_facts(*lost, train={"lr": 0.02}))
    assert "knows its own training images no better than by chance" in found.says
    assert "--lr 0.0004" in found.next
    assert alarms(diagnose(sound_history(0.02), make_facts(train={"lr": 0.02}))) == []
    slow = make_history(np.linspace(1.6, 1.2, EPOCHS), lr=4e-6)
    [found] = diagnose(slow, make_facts(seen(0.4, place=1), seen(0.4), train={"lr": 4e-6}))
    assert found.kind == "learning rate too low"
    assert "Train again with --lr 0.0004" in found.next


def test_diverged_is_a_loss_above_that_of_the_first_epoch():
    away = make_history(np.linspace(1.6, 6.0, EPOCHS), lr=0.02)
    [found] = diagnose(away, make_facts(seen(0.0, place=1), seen(0.0), train={"lr": 0.02, "clip": 0.0}))
    assert found.kind == "diverged"
    assert "ended at 6, above the 1.6 of its first epoch" in found.says
    assert "loss_without_looking" not in found.evidence
    assert "--lr 0.0004 --train.clip 1" in found.next
    assert "the usual one here is 0.0004" in say_diverged(RECIPE, "The loss is nan")


def test_the_usual_rate_is_that_of_the_model():
    for name, model in MODELS.items():
        assert usual_rate(RECIPE.change(model={"name": name})) == pytest.approx(0.005 * model.usual.rate)
    assert usual_rate(RECIPE) == pytest.approx(RATE)


def test_a_class_never_found_where_that_is_no_bad_luck():
    validation, each = seen(0.95, lost="white"), seen(0.95, 6, place=1, lost="white")
    found = diagnose(sound_history(), make_facts(validation=validation, each=each))
    assert "class never learned" in alarms(found)
    [one] = [one for one in found if one.kind == "class never learned"]
    assert "of white (100 training images)" in one.says
    images = len(np.unique(validation.part.objects.image[validation.part.objects.label == 2]))
    figure = one.evidence["validation_images_found: white"]
    assert (figure.value, figure.n) == (0, images)
    assert "add images with such objects" in one.next
    scarce = seen(0.95, lost="white", scarce=2)  # in one image or two, which may be chance
    assert 0 < (scarce.part.objects.label == 2).sum() <= 2
    assert "class never learned" not in kinds(diagnose(sound_history(), make_facts(validation=scarce)))


def test_a_class_is_held_against_the_others_alone():
    few = seen(0.95, 12, lost="red")  # missed 12 times; of the others 11 of 15 are found, of all 11 of 27
    assert (few.hits.sum(), len(few.truth)) == (11, 27)
    found = diagnose(sound_history(), make_facts(validation=few, each=NOTHING))
    [one] = [one for one in found if one.kind == "class never learned"]
    assert "of red (100 training images)" in one.says


@pytest.mark.parametrize("classes", [CLASSES, ("cell",)])
def test_where_nothing_is_found_at_all_that_is_said(classes):
    rows = [(image, 0, 0, 30, 30, classes[image % len(classes)], False) for image in range(30)]
    frame = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    table = Table(make_samples({"source": [f"{n}.png" for n in range(30)]}, 30), classes, frame)
    scores, units = TASKS["detection"].scores([prediction((40, 40, 50, 50, 0, 0.9))] * 30, table), units_of(None, 30)
    outcome = Outcome(scores.loss, scores.truth, scores.predicted, units, scores.part, units)
    found = diagnose(sound_history(), replace(make_facts(outcome, outcome), classes=classes))
    [one] = [one for one in found if one.kind == "class never learned"]
    assert "Not one object was found, at any score, in 30 training and 30 validation images." in one.says
    assert one.alarm
    assert one.evidence["validation_ap50"].value == 0


def looked_at(monkeypatch: pytest.MonkeyPatch, table: Table) -> Examiner:
    """One whose outcomes are the rows that it looks at."""
    monkeypatch.setattr(Examiner, "_outcome", lambda self, rows: SimpleNamespace(truth=rows))
    hashes = [f"{place:032x}" for place in range(len(table))]
    prepared = SimpleNamespace(table=table.assign(hash=hashes, part=["train"] * len(table)))
    return Examiner(None, RECIPE, prepared, TASKS["detection"], None, nullcontext)


def test_images_with_an_object_are_looked_at_however_rare_they_are(monkeypatch):
    rows = [(7, 0, 0, 9, 9, "red", False), (250, 0, 0, 9, 9, "red", False), (9, 0, 0, 9, 9, "red", True)]
    frame = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    few = Table(make_samples({"source": [f"{n}.png" for n in range(300)]}, 300), ("red",), frame)
    seen_rows = looked_at(monkeypatch, few).measure(1).training.truth
    assert {7, 250} <= set(seen_rows)
    assert 20 <= len(seen_rows) <= 22
    every = pd.DataFrame([(n, 0, 0, 9, 9, "red", False) for n in range(300)], columns=list(BOX_COLUMNS))
    assert len(looked_at(monkeypatch, replace(few, boxes=every.astype(BOX_COLUMNS))).measure(1).training.truth) == 20


def test_of_many_classes_few_images_of_each_are_looked_at(monkeypatch):
    for classes, images in ((80, 100), (150, 150), (4, 20)):
        names = tuple(f"{place:03}" for place in range(classes))
        rows = [(n, 0, 0, 9, 9, names[n % classes], False) for n in range(10 * classes)]
        frame = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
        table = Table(make_samples({"source": [f"{n}.png" for n in range(len(rows))]}, len(rows)), names, frame)
        chosen = looked_at(monkeypatch, table).each_class().truth
        counts = np.bincount(chosen % classes, minlength=classes)
        assert len(chosen) == images
        assert counts.max() - counts.min() <= 1


def test_too_few_validation_images_and_how_many_would_do():
    for images, is_noisy in ((6, True), (90, False)):
        few = seen(0.85, images)
        found = diagnose(sound_history(), make_facts(validation=few, earlier=(16, few)))
        assert ("noisy validation" in alarms(found)) == is_noisy
        assert ("converged" in kinds(found)) != is_noisy
    [one] = [
        one for one in diagnose(sound_history(), make_facts(validation=seen(0.85, 6))) if one.kind == "noisy validation"
    ]
    figure = one.evidence["validation_ap50"]
    side = max(figure.value - figure.low, figure.high - figure.value)
    assert one.evidence["images_that_would_do"] == np.ceil(6 * (side / 0.05) ** 2)
    assert "6 validation images say little" in one.says
    assert "take the parts out of the data where these give them; tenfold split DATA then advises" in one.next


def test_validation_that_is_better_known_than_training_is_an_alarm():
    found = diagnose(sound_history(), make_facts(seen(0.75, place=1), seen(1.0)))
    assert alarms(found) == ["validation better than training"]
    assert "copies of training images" in found[0].next


def test_odd_histories_are_survived_and_what_was_not_looked_at_has_no_finding():
    nothing = Measured(1, NOTHING, None)
    assert diagnose(pd.DataFrame(), Facts(RECIPE, CLASSES, np.full(3, 9), nothing, nothing, NOTHING)) == []
    alone = Measured(1, seen(0.9, place=1), None)
    facts = Facts(RECIPE, CLASSES, np.full(3, 9), alone, alone, alone.training)
    assert diagnose(pd.DataFrame(), facts) == []
    assert diagnose(sound_history().iloc[:1], facts) == []
    bare = sound_history().drop(columns="validation_loss")
    assert alarms(diagnose(bare, make_facts(seen(1.0, place=1), seen(0.55)))) == ["overfitting"]


def test_what_the_run_holds_is_shown(tmp_path: Path):
    facts = make_facts(seen(0.995, place=1), seen(0.7), (16, seen(0.7)))
    found = [one.to_json() for one in diagnose(sound_history(rise=0.8), facts)]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    run = make_run(tmp_path, CLASSES, each=2)
    run.diagnosis = found
    html = section(run).html
    assert "Overfitting" in html
    assert "Validation AP50" in html
    assert "bootstrap over images, n = 90" in html
    assert "overfitting" in " ".join(_diagnosed(run))


def test_a_class_is_named_as_it_is_called(tmp_path: Path):
    run = make_run(tmp_path, CLASSES, each=2)
    names = ("validation_images_found: RBC_big", "training_accuracy: RBC_ap50", "validation_ap50: accuracy")
    one = Diagnosis("class never learned", "", dict.fromkeys(names, Estimate(0.25, 0, 0.5, 0.95, 9, "Wilson")))
    run.diagnosis = [one.to_json()]
    written = dict(re.findall("<dt>(.*?)</dt><dd>(.*?) ", section(run).html))
    assert written == {
        "Validation images found: RBC_big": "0.25",
        "Training accuracy: RBC_ap50": "25.0\u00a0%",
        "Validation AP50: accuracy": "0.25",
    }


def test_a_detector_that_was_trained_has_a_diagnosis_in_its_report(monkeypatch, tmp_path):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(MODELS, "finder", Finder)
    recipe = quick_recipe(
        image={"size": 24, "margin": 1.0},
        model={"name": "finder"},
        augment={"policy": "none"},
        train={"epochs": 10, "lr": 0.05, "keep": "last"},
    )
    run = train_model(box_table(tmp_path / "boxes"), recipe, tmp_path / "run", task="detection")
    assert run.diagnosis
    figures = run.diagnosis[0]["evidence"]
    assert 0 <= figures["validation_ap50"]["value"] <= 1
    page = write_report(run).read_text("utf-8")
    assert run.diagnosis[0]["kind"].capitalize() in page
    monkeypatch.setattr(Finder, "steps", lambda self: [])  # fitted at once: it is not looked at again
    still = train_model(box_table(tmp_path / "again"), recipe, tmp_path / "still", task="detection")
    assert still.diagnosis == []
