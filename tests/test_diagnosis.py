"""The diagnosis says what a training was made to show, and nothing of a sound one."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tenfold.commands.train import _diagnosed
from tenfold.errors import DataError, TrainingError
from tenfold.estimate import Estimate, units_of, wilson
from tenfold.images.readers import read_table
from tenfold.recipe import Recipe
from tenfold.report.diagnosis import diagnosis as section
from tenfold.run import load_run
from tenfold.split import split_table
from tenfold.split.advice import advised_share
from tenfold.train import loop as loop_module
from tenfold.train import resume_training, train_model
from tenfold.train.diagnosis import Diagnosis, diagnose
from tenfold.train.diagnosis.advice import widen
from tenfold.train.diagnosis.curves import blind_loss, change, gap, read_curve
from tenfold.train.diagnosis.validation import _enough
from tenfold.train.evidence import Facts, Measured, Outcome
from tests.report_run import make_run
from tests.toys import quick_recipe, write_shapes

STILL = {"policy": "none"}
CLASSES = ("bar", "disc", "ring")
EPOCHS = 20
USUAL = {"optimizer": "adamw", "lr": 0.005, "epochs": EPOCHS, "balance": "none"}


def make_outcome(
    accuracy: float, loss: float, count: int = 300, seed: int = 0, groups: np.ndarray | None = None
) -> Outcome:
    """Images of which so large a share is right, with a heavy-tailed loss of about that mean."""
    draw = np.random.default_rng(seed)
    truth = np.arange(count) % len(CLASSES)
    wrong = np.arange(count) >= round(accuracy * count)
    return Outcome(draw.gamma(0.5, 2 * loss, count), truth, (truth + wrong) % len(CLASSES), units_of(groups, count))


def after(outcome: Outcome, mean: float, spread: float, seed: int) -> Outcome:
    """The same images, their losses changed by so much on average."""
    step = np.random.default_rng(seed).normal(mean, spread, len(outcome.loss))
    return Outcome(outcome.loss + step - step.mean() + mean, outcome.truth, outcome.predicted, outcome.units)


def make_history(train: np.ndarray, lr: float = 0.005, accuracy: float = 0.9) -> pd.DataFrame:
    """E rows, the rate along a sine."""
    time = np.arange(1, len(train) + 1)
    return pd.DataFrame(
        {
            "epoch": time,
            "step": time * 10,
            "seconds": time * 1.0,
            "lr": lr * np.sin(np.pi * (time - 0.5) / len(train)),
            "train_loss": train,
            "train_accuracy": accuracy,
            "validation_loss": 0.5,
            "validation_accuracy": 0.9,
        }
    )


def sound_history(lr: float = 0.005, noise: float = 0.0, seed: int = 0) -> pd.DataFrame:
    """A loss from 1.1 to 0.3, as trainings go."""
    loss = 0.3 + 0.8 * np.exp(-np.arange(EPOCHS) / 4)
    return make_history(loss + np.random.default_rng(seed).normal(0, noise, EPOCHS), lr)


def make_facts(
    last: Measured | None = None,
    kept: Measured | None = None,
    earlier: tuple[int, Outcome] | None = None,
    each: Outcome | None = None,
    **sections: dict,
) -> Facts:
    """Facts of a training that ended well, but for what is given."""
    recipe = Recipe().change(model={"name": "residual"}, train=USUAL).change(**sections)
    last = last or Measured(EPOCHS, make_outcome(0.99, 0.05, 200, 1), make_outcome(0.92, 0.25, 300, 2))
    return Facts(recipe, CLASSES, np.full(3, 100), last, kept or last, each or last.training, earlier)


def kinds(found: list[Diagnosis]) -> list[str]:
    return [one.kind for one in found]


def alarms(found: list[Diagnosis]) -> list[str]:
    return [one.kind for one in found if one.alarm]


def test_a_change_is_a_paired_t_test():
    draw = np.random.default_rng(0)
    before, later = draw.exponential(1, 40), draw.exponential(1, 40)
    found = change(before, later, units_of(None, 40), 0.9)
    expected = stats.ttest_rel(later, before).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    groups = np.repeat(np.arange(20), 2).astype(object)  # twins: their sums are what varies
    means = (later - before).reshape(20, 2).mean(1)
    expected = stats.ttest_1samp(means, 0).confidence_interval(0.95)
    found = change(before, later, units_of(groups, 40))
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_change_is_never_without_an_error():
    one = np.ones(1)
    assert change(one, one, units_of(None, 1)).high > 1e6
    same = change(np.ones(5), np.ones(5), units_of(None, 5))
    assert same.low < 0 < same.high


def test_a_gap_is_newcombe_s_tenth_method():
    """The first example in the paper: 56 of 70 against 48 of 80."""
    one, other = (
        Estimate(right / count, *wilson(right, count), 0.95, count, "") for right, count in ((56, 70), (48, 80))
    )
    found = gap(one, other)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("balanced", [False, True])
def test_no_blind_network_has_a_lower_loss(smoothing, balanced):
    images = np.array([70, 20, 10, 0])
    weight = np.where(images > 0, 1 / np.maximum(images, 1), 0) if balanced else np.ones(4)
    weight = images * weight / (images * weight).sum()
    targets = (1 - smoothing) * np.eye(4) + smoothing / 4
    found = blind_loss(images, smoothing, balanced=balanced)
    best = weight @ targets
    assert found == pytest.approx(-(best[best > 0] * np.log(best[best > 0])).sum())
    for seed in range(50):
        other = np.random.default_rng(seed).dirichlet(np.ones(4))
        assert found <= -(weight @ targets @ np.log(other)) + 1e-12


def test_sound_trainings_give_no_alarm():
    for seed in range(150):
        draw = np.random.default_rng(seed)
        validation = make_outcome(draw.uniform(0.8, 0.99), draw.uniform(0.05, 0.6), int(draw.integers(120, 600)), seed)
        last = Measured(EPOCHS, make_outcome(draw.uniform(0.93, 1), 0.05, 200, seed + 1), validation)
        lowest = after(validation, draw.uniform(-0.01, 0), 0.1, seed + 2)
        kept = Measured(int(draw.integers(10, 20)), make_outcome(0.97, 0.06, 200, seed + 3), lowest)
        earlier = (16, after(validation, draw.normal(0, 0.005), 0.05, seed + 4))
        found = diagnose(sound_history(noise=0.03, seed=seed), make_facts(last, kept, earlier))
        assert alarms(found) == [], (seed, found)
        assert kinds(found)[:1] == ["converged"]


def test_still_improving_needs_a_fall_beyond_its_error_and_the_lowest_at_the_end():
    seen = make_outcome(0.92, 0.25, 300, 2)
    last = Measured(EPOCHS, make_outcome(0.99, 0.05), seen)
    earlier = (16, after(seen, 0.06, 0.1, 0))
    [found] = diagnose(sound_history(), make_facts(last, earlier=earlier))
    assert (found.kind, found.alarm) == ("still improving", False)
    assert found.evidence["validation_loss_change"].value == pytest.approx(-0.06)
    assert found.next == "Train again with --epochs 40."
    assert diagnose(sound_history(), make_facts(last, earlier=earlier, train={"minutes": 3.0}))[0].next.endswith(
        "--minutes 6."
    )
    vague = (16, after(seen, 0.06, 2.0, 0))
    assert kinds(diagnose(sound_history(), make_facts(last, earlier=vague))) == ["converged"]
    before = Measured(18, last.training, after(seen, -0.001, 0.01, 1))
    assert kinds(diagnose(sound_history(), make_facts(last, before, earlier))) == ["converged"]


def test_a_short_training_is_still_improving_where_its_curve_has_not_bent():
    last = Measured(5, make_outcome(0.8, 0.6, 200), make_outcome(0.75, 0.7))
    straight, bent = np.array([1.1, 1.0, 0.9, 0.8, 0.75]), np.array([1.1, 0.7, 0.65, 0.63, 0.62])
    earlier = (4, after(last.validation, 0.01, 0.1, 0))
    [found] = diagnose(make_history(straight), make_facts(last, earlier=earlier))
    assert found.kind == "still improving"
    assert found.evidence["training_loss_middle"] == pytest.approx(
        np.interp(0.5, [0.0955, 0.345, 0.655, 0.905, 1], straight), abs=1e-3
    )
    assert "still improving" not in kinds(diagnose(make_history(bent), make_facts(last, earlier=earlier)))


def test_overfitting_says_from_when_by_how_much_and_how_far_both_parts_are_apart():
    lowest = make_outcome(0.80, 0.5, 300, 2)
    last = Measured(EPOCHS, make_outcome(1.0, 0.01), after(lowest, 0.3, 0.8, 0))
    kept = Measured(7, make_outcome(0.9, 0.3), lowest)
    [found] = diagnose(sound_history(), make_facts(last, kept, (16, lowest), augment=STILL))
    assert (found.kind, found.alarm) == ("overfitting", True)
    assert "From epoch 7 on the validation loss rose by 0.3 (" in found.says
    assert "20.0 points" in found.says
    assert found.evidence["validation_loss_rise"].level == pytest.approx(1 - 0.05 / EPOCHS)
    assert "--policy standard" in found.next
    forgotten = Measured(7, make_outcome(1.0, 0.001), lowest)  # the training loss did not fall: something else
    assert alarms(diagnose(sound_history(), make_facts(last, forgotten))) == []


def test_learned_by_heart_is_overfitting_though_no_loss_rose():
    last = Measured(EPOCHS, make_outcome(1.0, 0.01), make_outcome(0.4, 1.1, 100))
    found = diagnose(sound_history(), make_facts(last))
    assert kinds(found) == ["overfitting"]
    assert "holds for the training images alone" in found[0].says
    assert "whether the labels are right" in found[0].next


def test_the_lowest_of_many_equal_epochs_is_no_overfitting():
    """All epochs are equally good, the kept one was lucky: the interval allows for that."""
    wrong = 0
    for seed in range(100):
        validation = make_outcome(0.85, 0.5, 100, seed)
        looks = [after(validation, 0, 0, 0)] + [
            Outcome(
                validation.loss + np.random.default_rng(100 * seed + look).normal(0, 0.5, 100),
                validation.truth, validation.predicted, validation.units,
            )
            for look in range(EPOCHS)
        ]  # fmt: skip
        best = min(looks[:-1], key=lambda outcome: outcome.loss.mean())
        last = Measured(EPOCHS, make_outcome(0.99, 0.01), looks[-1])
        wrong += "overfitting" in kinds(
            diagnose(sound_history(), make_facts(last, Measured(5, make_outcome(0.99, 0.05), best)))
        )
    assert wrong <= 5


def test_underfitting_is_an_error_on_the_training_images_themselves():
    last = Measured(EPOCHS, make_outcome(0.6, 0.9, 200), make_outcome(0.55, 1.0))
    found = diagnose(sound_history(), make_facts(last, earlier=(16, last.validation), model={"width": 4}))
    assert kinds(found) == ["underfitting"]
    assert "60.0 % (53.1 to 66.5)" in found[0].says
    assert "--model.width 32" in found[0].next
    falling = after(last.validation, 0.2, 0.1, 0)
    assert kinds(diagnose(sound_history(), make_facts(last, earlier=(16, falling)))) == [
        "underfitting",
        "still improving",
    ]
    better = Measured(EPOCHS, make_outcome(0.8, 0.6, 200), make_outcome(0.72, 1.0))
    falling = after(better.validation, 0.2, 0.1, 0)  # it only needs time, and that is said
    assert kinds(diagnose(sound_history(), make_facts(better, earlier=(16, falling)))) == ["still improving"]
    assert kinds(diagnose(sound_history(), make_facts(better, earlier=(16, better.validation)))) == ["underfitting"]
    fitted = Measured(EPOCHS, make_outcome(0.97, 0.1, 200), make_outcome(0.55, 1.0))
    assert "underfitting" not in kinds(diagnose(sound_history(), make_facts(fitted)))


def test_rates_are_judged_by_the_curve_not_by_their_size():
    lost = Measured(EPOCHS, make_outcome(0.34, 1.1, 200), make_outcome(0.33, 1.1))
    rising = make_history(np.r_[1.1, 1.0, 2.5, 2.0, np.full(16, 1.1)], 0.005)
    [found] = diagnose(rising, make_facts(lost))
    assert found.kind == "learning rate too high"
    assert "rose from 1 in epoch 2 to 2.5 in epoch 3" in found.says
    assert "--lr 0.0005" in found.next
    stuck = make_history(np.r_[np.full(12, 1.08), np.linspace(1.0, 0.4, 8)], 0.5)
    assert kinds(diagnose(stuck, make_facts(train={"lr": 0.5})))[0] == "learning rate too high"
    assert alarms(diagnose(sound_history(0.5), make_facts(train={"lr": 0.5}))) == []
    slow = make_history(np.linspace(1.1, 0.8, EPOCHS), 0.0005)
    [found] = diagnose(slow, make_facts(lost, train={"lr": 0.0005}))
    assert found.kind == "learning rate too low"
    assert "--lr 0.005" in found.next
    assert "learning rate too low" not in kinds(
        diagnose(slow, make_facts(lost))
    )  # at the usual rate it is not the rate
    assert alarms(diagnose(sound_history(0.0005), make_facts(train={"lr": 0.0005}))) == []


def test_diverged_is_no_number_or_a_loss_above_that_of_a_blind_network():
    kept = Measured(3, make_outcome(0.6, 0.9), make_outcome(0.6, 0.9))
    outcome = make_outcome(0.33, 1.1)
    nothing = Outcome(np.full(300, math.nan), outcome.truth, outcome.predicted, outcome.units)
    found = diagnose(sound_history(), make_facts(Measured(EPOCHS, outcome, nothing), kept))
    assert kinds(found) == ["diverged"]
    ran_away = make_history(np.linspace(1.1, 6.0, EPOCHS), 1.0)
    [found] = diagnose(ran_away, make_facts(Measured(EPOCHS, outcome, outcome), kept, train={"lr": 1.0, "clip": 0.0}))
    assert found.kind == "diverged"
    assert "ended at 6, above the 1.1 of looking at no image" in found.says
    assert "--lr 0.005 --train.clip 1" in found.next


def test_too_few_validation_images_and_how_many_would_do():
    for count, noisy in ((3, True), (20, True), (300, False)):
        last = Measured(EPOCHS, make_outcome(1.0, 0.01), make_outcome(0.92, 0.2, count))
        found = diagnose(sound_history(), make_facts(last, earlier=(16, last.validation)))
        assert ("noisy validation" in alarms(found)) == noisy
        assert ("converged" in kinds(found)) != noisy
        advised = found[0].next if noisy else ""
        assert ("Hold back more of the images; 30 % is advised" in advised) == noisy
    for right, count in ((3, 3), (18, 20), (30, 60)):
        share = (right + 2) / (count + 4)
        enough = _enough(make_outcome(right / count, 0.2, count))
        low, high = wilson(share * enough, enough)
        assert (high - low) / 2 == pytest.approx(0.05, abs=0.002)
    groups = np.repeat(np.arange(12), 5).astype(object)
    together = make_outcome(0.5, 0.2, 60, groups=groups)  # whole groups right or wrong
    assert _enough(together) > 3 * _enough(make_outcome(0.5, 0.2, 60))


@pytest.mark.parametrize(("counts", "share"), [([30, 30], 0.15), ([75, 75], 0.3), ([12] * 10, 0.15)])
def test_a_validation_part_as_large_as_advised_is_not_to_be_made_larger(counts, share):
    """What the diagnosis says of a part and what `tenfold split` advises for the same images are not at odds."""
    trained = np.array([round((1 - 2 * share) * count) for count in counts])
    facts = replace(make_facts(split={"validation": share, "test": share}), images=trained)
    held = round(share * sum(counts))
    assert advised_share(sum(counts), len(counts), float(np.median(counts))) == pytest.approx(share)
    said = widen(facts, held)
    assert said.startswith("The part is as large as tenfold split advises; ")
    assert "Add images" in said
    assert "tenfold train DATA --folds 5x2" in said
    smaller = widen(facts, held // 3)
    assert "Hold back more of the images" in smaller
    assert "remove the written split, then tenfold split DATA --validation" in smaller


def test_validation_better_in_the_curves_is_explained_and_on_plain_images_an_alarm():
    history = make_history(sound_history()["train_loss"].to_numpy(), accuracy=0.7)
    facts = make_facts(earlier=(16, make_facts().last.validation), model={"dropout": 0.3}, augment={"mix_share": 0.5})
    found = diagnose(history, facts)
    assert kinds(found) == ["converged", "validation better than training"]
    assert not found[1].alarm
    assert found[1].next == ""
    for reason in ("70.0 %", "augmented and mixed", "dropout", "not averaged yet", "99.0 % (96.4 to 99.7)"):
        assert reason in found[1].says
    easier = Measured(EPOCHS, make_outcome(0.88, 0.5), make_outcome(0.97, 0.2))
    found = diagnose(history, make_facts(easier))
    assert alarms(found) == ["validation better than training"]
    assert "tenfold check" in found[0].next


def test_a_class_without_a_hit_where_that_is_no_bad_luck():
    seen, own = make_outcome(0.95, 0.2, 60), make_outcome(0.95, 0.2, 15)

    def missing(outcome: Outcome, place: int) -> Outcome:
        """All right but the images of one class."""
        predicted = np.where(outcome.truth == place, (outcome.truth + 1) % 3, outcome.truth)
        return Outcome(outcome.loss, outcome.truth, predicted, outcome.units)

    last = Measured(EPOCHS, make_outcome(0.98, 0.05), missing(seen, 1))
    found = diagnose(sound_history(), make_facts(last, each=missing(own, 1)))
    assert "class never learned" in alarms(found)
    assert "disc (100 training images)" in found[0].says
    assert found[0].evidence["validation_accuracy: disc"].n == 20
    few = Outcome(*(part[:3] for part in (seen.loss, seen.truth, missing(seen, 1).predicted)), units_of(None, 3))
    last = Measured(EPOCHS, make_outcome(0.98, 0.05), few)  # one image of it, wrong: that may be chance
    assert "class never learned" not in kinds(diagnose(sound_history(), make_facts(last, each=own)))


def test_early_stopping_has_converged():
    last = Measured(12, make_outcome(0.99, 0.05), make_outcome(0.92, 0.25))
    kept = Measured(9, make_outcome(0.98, 0.06), after(last.validation, -0.001, 0.1, 0))
    [found] = diagnose(sound_history().iloc[:12], make_facts(last, kept, train={"patience": 3}))
    assert found.kind == "converged"
    assert "3 epochs after the lowest validation loss" in found.says


def test_odd_histories_are_survived():
    alone = Measured(1, make_outcome(0.9, 0.2), None)
    closed = pd.DataFrame([{"epoch": 1, "step": 0, "seconds": 0.0, "validation_loss": 0.2}])
    assert diagnose(closed, make_facts(alone)) == []
    assert diagnose(pd.DataFrame(), make_facts(alone)) == []
    assert read_curve(closed) is None
    assert diagnose(sound_history().iloc[:1], make_facts(alone)) == []
    single = Measured(2, make_outcome(1.0, 0.01), make_outcome(1.0, 0.01, 1))
    assert kinds(diagnose(sound_history().iloc[:2], make_facts(single, earlier=(1, single.validation)))) == [
        "noisy validation"
    ]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    os.environ["TENFOLD_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    folder = write_shapes(tmp_path_factory.mktemp("shapes") / "data", 100)
    return split_table(read_table(folder), validation=0.4, test=0.1)


QUICK = quick_recipe(train={"epochs": 12, "optimizer": "adamw", "lr": 0.01}, augment={"mix_share": 0.0})


def without(table, part, label, kept):
    """The table with the first `kept` images of a part, or of one class in it."""
    is_it = (table.samples["part"] == part) & ((table.samples["label"] == label) | (label is None))
    return table.take(np.setdiff1d(np.arange(len(table)), np.flatnonzero(is_it)[kept:]))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_sound_training_gives_no_alarm(shapes, tmp_path, seed):
    run = train_model(shapes, QUICK.change(train={"seed": seed, "lr": 0.02}), tmp_path / "run")
    assert {found["kind"] for found in run.diagnosis} & {"converged", "still improving"}
    assert [found["kind"] for found in run.diagnosis if found["alarm"]] == []


@pytest.mark.parametrize(
    ("kind", "sections"),
    [
        ("learning rate too high", {"train": {"lr": 10.0}}),
        ("learning rate too low", {"train": {"lr": 1e-6}}),
        ("underfitting", {"model": {"width": 1}, "train": {"lr": 0.005}}),
    ],
)
def test_settings_made_to_show_it(shapes, tmp_path, kind, sections):
    run = train_model(shapes, QUICK.change(**sections), tmp_path / "run")
    assert run.diagnosis[0]["kind"] == kind
    assert run.diagnosis[0]["alarm"]


def test_random_labels_are_learned_by_heart(shapes, tmp_path):
    labels = np.random.default_rng(0).permutation(shapes.samples["label"].to_numpy(object))
    recipe = QUICK.change(model={"width": 16, "layers": 3}, augment=STILL, train={"epochs": 25, "label_smoothing": 0.0})
    run = train_model(shapes.assign(label=labels), recipe, tmp_path / "run")
    found = run.diagnosis[0]
    assert found["kind"] == "overfitting"
    rise, apart = found["evidence"]["validation_loss_rise"], found["evidence"]["accuracy_gap"]
    assert 0 < rise["low"] < rise["high"]
    assert apart["low"] > 0.3


def test_three_validation_images_say_little(shapes, tmp_path):
    run = train_model(without(shapes, "validation", None, 3), QUICK, tmp_path / "run")
    assert "noisy validation" in [found["kind"] for found in run.diagnosis]


def test_a_class_of_two_training_images_is_not_learned(shapes, tmp_path):
    recipe = QUICK.change(train={"balance": "none"})
    run = train_model(without(shapes, "train", "disc", 2), recipe, tmp_path / "run")
    [found] = [found for found in run.diagnosis if found["kind"] == "class never learned"]
    assert "disc (2 training images)" in found["says"]


def test_a_diverged_training_says_when_and_what_to_type(shapes, tmp_path):
    recipe = QUICK.change(train={"lr": 100.0, "optimizer": "sgd", "clip": 0.0, "warmup": 0.0}, model={"norm": "none"})
    words = r"is (nan|inf) at step \d+ of .*epoch \d+.*diverged.*--lr 0.1 --train.clip 1 --model.norm batch"
    with pytest.raises(TrainingError, match=words):
        train_model(shapes, recipe, tmp_path / "run")


def test_a_resumed_training_says_the_same(shapes, tmp_path, monkeypatch):
    straight = train_model(shapes, QUICK.change(train={"epochs": 4}), tmp_path / "straight")
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)

    def stop(message):
        if message.phase == "step" and message.epoch == 4:
            raise SystemExit("power lost")

    with pytest.raises(SystemExit):
        train_model(shapes, QUICK.change(train={"epochs": 4}), tmp_path / "run", progress=stop)
    resumed = resume_training(tmp_path / "run")
    assert straight.diagnosis
    assert resumed.diagnosis == straight.diagnosis


def test_what_the_run_holds_is_shown_and_a_damaged_file_named(tmp_path: Path):
    last = Measured(EPOCHS, make_outcome(1.0, 0.01), make_outcome(0.4, 1.1, 40))
    found = [one.to_json() for one in diagnose(sound_history(), make_facts(last))]
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    run = make_run(tmp_path, CLASSES, each=2)
    assert section(run) is None
    run.diagnosis = found
    html = section(run).html
    for one in found:
        assert one["kind"].capitalize() in html
        assert one["kind"] in " ".join(_diagnosed(run))
    assert "40.0\u00a0% (26.3 to 55.4; 95\u00a0% Wilson over images, n = 40)" in html
    assert "tenfold report" in _diagnosed(run)[-1]


def test_a_damaged_diagnosis_is_named(shapes, tmp_path):
    run = train_model(shapes, QUICK.change(train={"epochs": 1}), tmp_path / "run")
    (run.path / "diagnosis.json").write_text('[{"kind": 1}]')
    with pytest.raises(DataError, match=r"diagnosis.json is damaged: not a list of findings"):
        _ = load_run(run.path).diagnosis
    (run.path / "diagnosis.json").unlink()
    assert load_run(run.path).diagnosis == []
