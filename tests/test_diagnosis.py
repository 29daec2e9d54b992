"""The diagnosis says what a training was made to show, and nothing of a sound one."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tenfold.commands.train import _diagnosed
from tenfold.estimate import units_of, wilson
from tenfold.recipe import Recipe
from tenfold.report.diagnosis import diagnosis as section
from tenfold.train.diagnosis import Diagnosis, diagnose
from tenfold.train.diagnosis.curves import read_curve
from tenfold.train.diagnosis.validation import _enough
from tenfold.train.evidence import Facts, Measured, Outcome
from tests.report_run import make_run

STILL = {"policy": "none"}
CLASSES = ("bar", "disc", "ring")
EPOCHS = 20
USUAL = {"optimizer": "adamw", "lr": 0.005, "epochs": EPOCHS, "balance": "none", "keep": "best"}


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


def with_validation(history: pd.DataFrame, loss: np.ndarray, accuracy: np.ndarray | float = 0.9) -> pd.DataFrame:
    """The same with another validation loss and accuracy."""
    return history.assign(validation_loss=loss, validation_accuracy=accuracy)


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
        assert kinds(found)[0] in ("converged", "still improving")


def test_still_improving_needs_a_fall_beyond_its_error_and_the_lowest_at_the_end():
    seen = make_outcome(0.92, 0.25, 300, 2)
    last = Measured(EPOCHS, make_outcome(0.99, 0.05), seen)
    earlier = (16, after(seen, 0.06, 0.1, 0))
    [found] = diagnose(sound_history(), make_facts(last, earlier=earlier))
    assert (found.kind, found.alarm) == ("still improving", False)
    assert found.evidence["validation_loss_change"].value == pytest.approx(-0.06)
    assert found.next == "Train again with --epochs 40."
    vague = (16, after(seen, 0.06, 2.0, 0))
    assert kinds(diagnose(sound_history(), make_facts(last, earlier=vague))) == ["converged"]
    before = Measured(18, last.training, after(seen, -0.001, 0.01, 1))  # no lower than the last, but by luck
    near = with_validation(sound_history(), np.r_[np.full(17, 0.31), 0.249, 0.252, 0.25])
    [found] = diagnose(near, make_facts(last, before, earlier))
    assert found.kind == "still improving"
    assert ", and ended near its lowest. " in found.says
    back = with_validation(sound_history(), np.r_[np.full(9, 0.3), 0.2, np.full(9, 0.31), 0.25])
    lower = Measured(10, last.training, after(seen, -0.05, 0.8, 1))  # it fell, but is not where it was
    assert diagnose(back, make_facts(last, lower, earlier)) == []


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
    assert "--policy auto" in found.next
    assert found.next.startswith("The run has the weights of epoch 7. ")
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
    harmed = Measured(EPOCHS, make_outcome(0.85, 0.5, 200), make_outcome(0.82, 0.5))
    assert kinds(diagnose(stuck, make_facts(harmed, train={"lr": 0.5})))[0] == "learning rate too high"
    assert alarms(diagnose(stuck, make_facts(train={"lr": 0.5}))) == []  # it did no harm
    assert alarms(diagnose(sound_history(0.5), make_facts(train={"lr": 0.5}))) == []
    slow = make_history(np.linspace(1.1, 0.8, EPOCHS), 0.0005)
    [found] = diagnose(slow, make_facts(lost, train={"lr": 0.0005}))
    assert found.kind == "learning rate too low"
    assert "--lr 0.005" in found.next
    assert "learning rate too low" not in kinds(
        diagnose(slow, make_facts(lost))
    )  # at the usual rate it is not the rate
    assert alarms(diagnose(sound_history(0.0005), make_facts(train={"lr": 0.0005}))) == []
    short = make_history(np.array([1.3, 1.1, 1.0, 0.95]), 0.0005)
    short["step"] = [30, 35, 40, 45]  # most of the rate was spent in epoch 1: there is no first half to compare with
    assert "learning rate too low" not in kinds(diagnose(short, make_facts(lost, train={"lr": 0.0005})))


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


def test_validation_better_in_the_curves_is_explained_and_on_plain_images_an_alarm():
    history = make_history(sound_history()["train_loss"].to_numpy(), accuracy=0.7)
    facts = make_facts(
        earlier=(16, make_facts().last.validation),
        model={"dropout": 0.3},
        augment={"policy": "standard", "mix_share": 0.5},
    )
    found = diagnose(history, facts)
    assert kinds(found) == ["converged", "validation better than training"]
    assert not found[1].alarm
    assert found[1].next == "Nothing is to be done: go by the validation figures."
    for reason in ("70.0 %", "augmented and mixed", "dropout", "not averaged yet", "99.0 % (96.4 to 99.7)"):
        assert reason in found[1].says
    easier = Measured(EPOCHS, make_outcome(0.88, 0.5), make_outcome(0.97, 0.2))
    found = diagnose(history, make_facts(easier))
    assert alarms(found) == ["validation better than training"]
    assert "tenfold check" in found[0].next


def test_early_stopping_has_converged():
    last = Measured(12, make_outcome(0.99, 0.05), make_outcome(0.92, 0.25))
    kept = Measured(9, make_outcome(0.98, 0.06), after(last.validation, -0.001, 0.1, 0))
    [found] = diagnose(sound_history().iloc[:12], make_facts(last, kept, train={"patience": 3}))
    assert found.kind == "converged"
    assert "3 epochs after the lowest validation loss" in found.says


def test_where_the_last_weights_are_kept_the_history_says_where_the_loss_was_lowest():
    """A fine-tuned network's weights of the lowest loss are gone: kept and last are the same."""
    last = Measured(EPOCHS, make_outcome(1.0, 0.05), make_outcome(0.85, 0.45))
    facts = make_facts(last, earlier=(16, after(last.validation, 0.1, 0.1, 0)), train={"keep": "last"})
    rising = np.r_[0.30, 0.25, np.linspace(0.26, 0.55, 14), 0.52, 0.5, 0.47, 0.45]
    [found] = diagnose(with_validation(sound_history(), rising), facts)
    assert (found.kind, found.alarm) == ("overfitting", True)
    assert "From epoch 2 on the validation loss rose from 0.25 to 0.45, while training went on." in found.says
    assert found.evidence["validation_loss_lowest"] == pytest.approx(0.25)
    assert found.next.startswith("The run has the last weights; --train.keep best keeps those of the lowest")
    surer = np.linspace(0.85, 0.9, EPOCHS)  # more are right than before, which is no harm
    assert diagnose(with_validation(sound_history(), rising, surer), facts) == []
    near = Measured(EPOCHS, make_outcome(0.95, 0.05), make_outcome(0.94, 0.45))  # both parts are known alike
    close = make_facts(near, earlier=(16, after(near.validation, 0.1, 0.1, 0)), train={"keep": "last"})
    assert diagnose(with_validation(sound_history(), rising), close) == []
    falling = with_validation(sound_history(), np.linspace(0.9, 0.45, EPOCHS))
    assert kinds(diagnose(falling, facts)) == ["still improving"]


def test_what_still_moves_has_not_converged():
    last = Measured(EPOCHS, make_outcome(0.99, 0.05), make_outcome(0.92, 0.25, 300, 2))
    risen = (16, after(last.validation, -0.06, 0.1, 0))  # by more than its error, and by much
    rising = with_validation(sound_history(), np.r_[np.full(15, 0.19), 0.19, 0.2, 0.22, 0.24, 0.25], 0.92)
    assert diagnose(rising, make_facts(last, earlier=risen, train={"keep": "last"})) == []
    little = (16, after(last.validation, 0.01, 0.01, 0))  # sure, and of no matter
    [found] = diagnose(sound_history(), make_facts(last, earlier=little))
    assert found.kind == "converged"
    assert found.next.startswith("Nothing holds this training back.")


def test_a_fine_tuning_that_starts_low_and_ends_well_has_no_rate_too_high():
    """With smoothing, its training loss cannot fall far."""
    start = {"model": {"name": "finetuned"}, "train": {"lr": 0.0015, "keep": "last"}}
    history = make_history(np.r_[0.6, np.linspace(0.56, 0.48, EPOCHS - 1)], 0.0015)
    assert alarms(diagnose(history, make_facts(**start))) == []
    lost = Measured(EPOCHS, make_outcome(0.8, 0.6, 200), make_outcome(0.78, 0.6))
    assert alarms(diagnose(history, make_facts(lost, **start)))[0] == "learning rate too high"


def test_one_of_underfitting_and_overfitting_is_said():
    """Most of the error is made on training images, and of what little was learned much is no use elsewhere."""
    facts = make_facts(Measured(EPOCHS, make_outcome(0.7, 0.9, 300), make_outcome(0.45, 1.2, 300)))
    assert kinds(diagnose(sound_history(), facts)) == ["underfitting"]
    lowest = make_outcome(0.45, 1.0)
    last = Measured(EPOCHS, make_outcome(0.7, 0.5), after(lowest, 0.4, 0.8, 0))
    assert kinds(diagnose(sound_history(), make_facts(last, Measured(7, make_outcome(0.6, 0.9), lowest)))) == [
        "overfitting"
    ]


def test_the_best_epoch_is_no_luck_where_none_is_chosen():
    few = Measured(EPOCHS, make_outcome(1.0, 0.01), make_outcome(0.92, 0.2, 20))
    words = "the best epoch is chosen by luck"
    assert words in diagnose(sound_history(), make_facts(few))[0].says
    assert words not in diagnose(sound_history(), make_facts(few, train={"keep": "last"}))[0].says
    closed = pd.DataFrame([{"epoch": 1, "step": 0, "seconds": 0.0, "validation_loss": 0.2}])
    assert words not in diagnose(closed, make_facts(few, model={"name": "frozen"}))[0].says


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
