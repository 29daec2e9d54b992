"""Cross-validation: a run a fold, and an interval that knows that training sets overlap."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import f1_score, log_loss

from tenfold.__main__ import main
from tenfold.commands.folds import read_folds
from tenfold.errors import Interrupted, UsageError
from tenfold.estimate import Estimate, mean_moments, score_interval, trials_interval, units_of, wilson
from tenfold.evaluate import evaluate_folds, evaluate_run
from tenfold.evaluate.folds import _combine, overlap_factor
from tenfold.images.table import stack_tables
from tenfold.metrics.calibration import calibration_error, fit_temperature
from tenfold.metrics.classification import classification_findings
from tenfold.run import Run
from tenfold.split import split_table
from tenfold.train import calibrate as calibrate_module
from tenfold.train import train_folds
from tests.toys import quick_recipe, shapes_table, write_shapes

RECIPE = quick_recipe(train={"epochs": 2})


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return shapes_table(tmp_path_factory.mktemp("folds") / "shapes", 12)


@pytest.fixture(scope="module")
def runs(table, tmp_path_factory):
    return train_folds(table, RECIPE, tmp_path_factory.mktemp("runs") / "cv", folds=3, repeats=2)


def test_every_image_but_the_test_part_is_validated_once_a_repeat(table, runs):
    rest = sorted(table.without("test").samples["hash"])
    for repeat in (runs[:3], runs[3:]):
        assert sorted(digest for run in repeat for digest in run.table.part("validation").samples["hash"]) == rest
    tested = set(table.part("test").samples["hash"])
    assert not any(tested & set(run.table.samples["hash"]) for run in runs)
    assert [run.path.name for run in runs[:4]] == ["repeat1-fold1", "repeat1-fold2", "repeat1-fold3", "repeat2-fold1"]
    assert len({run.recipe.train.seed for run in runs}) == 6


def test_figures_are_pooled_or_averaged_as_said(runs):
    found = evaluate_folds(runs, 3)
    frames = [run.predictions("validation") for run in runs]
    hits = [np.mean(frame["label"] == frame["predicted"]) for frame in frames]
    sizes = [len(frame) for frame in frames]
    accuracy = found.figures["accuracy"]
    assert accuracy.value == pytest.approx(np.average(hits, weights=sizes))
    assert accuracy.low < accuracy.value < accuracy.high
    assert accuracy.method.endswith("folds overlap")
    scores = []
    for start in (0, 3):
        truth = np.concatenate([frame["label"] for frame in frames[start : start + 3]])
        predicted = np.concatenate([frame["predicted"] for frame in frames[start : start + 3]])
        scores.append(f1_score(truth, predicted, average="macro"))
    assert found.figures["macro_f1"].value == pytest.approx(np.mean(scores))
    losses = [
        log_loss(frame["label"], np.array(frame["probability"].tolist()), labels=list(runs[0].classes))
        for frame in frames
    ]
    assert found.figures["log_loss"].value == pytest.approx(np.mean(losses), rel=1e-6)
    assert found.n == sum(sizes[:3])
    assert found.spread["accuracy"] == pytest.approx(hits)


def answers(run):
    """Logits float64 [N, K], labels int64 [N] and probabilities float64 [N, K] of a run's fold, as they are stored."""
    frame = run.predictions("validation")
    labels = np.array([run.classes.index(label) for label in frame["label"]])
    return np.array(frame["logits"].tolist()), labels, np.array(frame["probability"].tolist())


def test_a_folds_temperature_is_that_of_the_other_folds(runs):
    evaluate_folds(runs, 3)
    seen = [answers(run) for run in runs]
    for place, run in enumerate(runs):
        start = place // 3 * 3
        rest = [seen[other] for other in range(start, start + 3) if other != place]
        wanted = fit_temperature(
            np.concatenate([logits for logits, *_ in rest]), np.concatenate([t for _, t, _ in rest])
        )
        stored = Run(run.path).calibration
        assert stored["temperature"] == pytest.approx(wanted, rel=1e-4)
        assert stored["others"] == sum(len(truth) for _, truth, _ in rest)
        assert stored["n"] == len(seen[place][1])
        logits, _, probability = seen[place]
        assert probability == pytest.approx(softmax(logits / stored["temperature"], axis=1), abs=1e-5)
        assert sum(step[1] == stored["n"] for step in stored["steps"]) == 1  # what it may answer is its own fold's
    assert any(run.calibration["temperature"] != 1 for run in runs)  # else nothing was shown


def test_a_fold_has_no_say_in_its_own_probabilities(runs):
    """With all labels of one fold turned round its own temperature stays, and those of the others change."""
    task, repeat = runs[0].task, runs[:3]
    folds = []
    for run in repeat:
        logits, *_ = answers(run)
        own = run.table.take(run.predictions("validation")["sample"].to_numpy())
        folds.append(([{"logits": row} for row in logits], own))

    def temperatures(folds):
        found = []
        for place, (logits, table) in enumerate(folds):
            rest = folds[:place] + folds[place + 1 :]
            others = [one for part, _ in rest for one in part], stack_tables([part for _, part in rest])
            found.append(task.calibrate(logits, table, others)["temperature"])
        return found

    before = temperatures(folds)
    assert before == pytest.approx([run.calibration["temperature"] for run in repeat], rel=1e-4)
    logits, table = folds[0]
    turned = table.assign(label=[table.classes[one["logits"].argmin()] for one in logits])
    after = temperatures([(logits, turned), *folds[1:]])
    assert after[0] == before[0]
    assert after[1] > before[1]
    assert after[2] > before[2]


def test_out_of_fold_figures_do_not_flatter():
    """On average the log loss is not below that of the right temperature, and hardly above it."""
    generator, out, true = np.random.default_rng(0), [], []
    for _ in range(150):
        folds = []
        for _ in range(5):
            truth = generator.integers(0, 4, 40)
            logits = generator.standard_normal((40, 4))
            logits[np.arange(40), truth] += 1.5
            folds.append((3.0 * logits, truth))  # twice as sure as it should be
        for place, (logits, truth) in enumerate(folds):
            rest = folds[:place] + folds[place + 1 :]
            fitted = fit_temperature(np.concatenate([part for part, _ in rest]), np.concatenate([t for _, t in rest]))
            out.append(log_loss(truth, softmax(logits / fitted, axis=1), labels=range(4)))
            true.append(log_loss(truth, softmax(logits / 2, axis=1), labels=range(4)))
    assert np.mean(out) >= np.mean(true) - 1e-3  # no better than the temperature that is right
    assert np.mean(out) < np.mean(true) + 0.02


def test_calibration_is_fitted_once_and_survives_a_kill(table, tmp_path, monkeypatch):
    out = tmp_path / "cv"
    real, written = calibrate_module.write_json, []

    def fail_late(path, content):
        if len(written) == 1:
            raise KeyboardInterrupt
        written.append(path)
        real(path, content)

    monkeypatch.setattr(calibrate_module, "write_json", fail_late)
    with pytest.raises(KeyboardInterrupt):
        train_folds(table, RECIPE, out, folds=2)
    monkeypatch.setattr(calibrate_module, "write_json", real)
    runs = train_folds(table, RECIPE, out, folds=2)
    assert all("others" in run.calibration for run in runs)
    stamps = [(run.path / "model.json").stat().st_mtime_ns for run in runs]
    again = train_folds(table, RECIPE, out, folds=2)
    assert [(run.path / "model.json").stat().st_mtime_ns for run in again] == stamps
    assert [run.calibration for run in again] == [run.calibration for run in runs]


def test_the_calibration_error_is_that_of_all_images_of_a_repeat(runs):
    found = evaluate_folds(runs, 3).figures["calibration_error"]
    values = []
    for repeat in (runs[:3], runs[3:]):
        probability = np.concatenate([answers(run)[2] for run in repeat])
        truth = np.concatenate([answers(run)[1] for run in repeat])
        right = (probability.argmax(1) == truth).astype(float)
        values.append(calibration_error(probability.max(1), right, units_of(None, len(right))).value)
    assert found.value == pytest.approx(np.mean(values))


@pytest.mark.parametrize("df", [None, 1, 2.6, 9, 40])
@pytest.mark.parametrize(("folds", "repeats"), [(5, 1), (5, 2), (10, 3)])
def test_the_interval_is_that_of_fewer_images(folds, repeats, df):
    n, successes = 200, 170
    factor = 1 / repeats + folds / (folds - 1)
    units = units_of(None, n, overlap=overlap_factor(folds, repeats))
    wider = trials_interval(successes, n, units, 0.95, df)
    fewer = wilson(successes / factor, n / factor, 0.95, df)
    assert wider == pytest.approx(fewer, abs=1e-9)


def test_the_interval_is_wider_in_every_kind_of_figure(runs):
    """Open ranges, areas by their own degrees of freedom, calibration: each variance is as many times as large."""
    for run in runs[:3]:
        evaluate_run(run, "validation")
    answered = [answers(run) for run in runs[:3]]
    _, truth, probability = (np.concatenate(part) for part in zip(*answered, strict=True))
    names = runs[0].classes
    alone, wide = (classification_findings(truth, probability, names, overlap=c)[0] for c in (1.0, 2.5))
    units = units_of(None, len(truth))
    for name in ("accuracy", "roc_auc", "macro_f1"):
        for near, far in ((alone[name].low, wide[name].low), (alone[name].high, wide[name].high)):
            if 0 < near < 1 and near != alone[name].value:
                value = alone[name].value
                first, last = ((value - end) ** 2 / (end * (1 - end)) for end in (near, far))
                assert last / first == pytest.approx(2.5, rel=1e-6)
    one = score_interval(1.2, 1.25, 0.01, units, span=(0.0, np.inf))
    same = score_interval(1.2, 1.25, 0.004, replace(units, overlap=2.5), span=(0.0, np.inf))
    assert same == pytest.approx(one)
    assert wide["calibration_error"].high > alone["calibration_error"].high
    assert wide["calibration_error"].value == alone["calibration_error"].value
    assert all(wide[name].value == alone[name].value and wide[name].level == 0.95 for name in alone)


def test_many_folds_many_times_are_as_good_as_their_images():
    assert overlap_factor(10**9, 10**9) == pytest.approx(1, abs=1e-4)
    assert (overlap_factor(5, 2), overlap_factor(5, 1)) == (1.75, 2.25)


def test_the_interval_over_groups_is_that_of_fewer_images_too(tmp_path_factory):
    """Ten groups: Student's quantile grows by the root of the factor, and not as the normal one's level has it."""
    plain = shapes_table(tmp_path_factory.mktemp("grouped") / "shapes", 12)
    table = plain.assign(group=[f"g{row % 10}" for row in range(len(plain))])
    runs = train_folds(split_table(plain.assign(group=table.samples["group"])), quick_recipe(train={"epochs": 1}),
                       tmp_path_factory.mktemp("runs") / "cv", folds=2)  # fmt: skip
    found = evaluate_folds(runs, 2).figures["accuracy"]
    frames = [run.predictions("validation") for run in runs]
    groups = np.concatenate([run.table.samples["group"].to_numpy(object)[frame["sample"]]
                             for run, frame in zip(runs, frames, strict=True)])  # fmt: skip
    hits = np.concatenate([(frame["label"] == frame["predicted"]).to_numpy(float) for frame in frames])
    units = units_of(groups, len(hits))
    mean, variance = mean_moments(hits, units, np.ones(1), np.zeros(1))
    wanted = score_interval(hits.mean(), mean, (1 + 2) * variance, units)
    assert (found.low, found.high) == pytest.approx(wanted)


def test_averaged_figures_keep_to_their_own_range():
    loss = Estimate(0.8, 0.7, 0.99, 0.95, 50, "bootstrap over images")
    assert _combine("log_loss", [loss], [1.2, 1.4]).high == pytest.approx(1.3 + 0.19)
    area = Estimate(0.9, 0.8, 0.95, 0.95, 50, "jackknife over images")
    assert _combine("roc_auc", [area], [0.98, 0.98]).high == 1.0


def test_the_same_call_goes_on_and_another_recipe_is_refused(table, tmp_path):
    out, seen = tmp_path / "cv", []

    def stop(message):
        seen.append(message.text)
        if message.text.startswith("Fold 2"):
            raise Interrupted("stop")

    with pytest.raises(Interrupted):
        train_folds(table, RECIPE, out, folds=2, progress=stop)
    first = (out / "repeat1-fold1" / "model.safetensors").stat().st_mtime_ns
    runs = train_folds(table, RECIPE, out, folds=2)
    assert len(runs) == 2
    assert (out / "repeat1-fold1" / "model.safetensors").stat().st_mtime_ns == first
    with pytest.raises(UsageError, match="holds runs of another recipe"):
        train_folds(table, RECIPE.change(train={"epochs": 3}), out, folds=2)
    with pytest.raises(UsageError, match="other images in its parts"):
        train_folds(table, RECIPE, out, folds=3)
    with pytest.raises(UsageError, match="holds something else"):
        train_folds(table, RECIPE, out / "repeat1-fold1", folds=2)


def test_what_has_no_meaning_with_folds_is_refused(table, tmp_path):
    with pytest.raises(
        UsageError, match=r"^split\.per_class must be 0 for a cross-validation, .*, not 5; leave it out"
    ):
        train_folds(table, RECIPE.change(split={"per_class": 5}), tmp_path / "cv", folds=2)
    with pytest.raises(
        UsageError, match=r"^k, the number of folds, is 2, and of \d+ images there are not two that do no"
    ):
        train_folds(table.assign(group=["one"] * len(table)), RECIPE, tmp_path / "cv", folds=2)
    assert not (tmp_path / "cv").exists()


def test_runs_must_be_whole_repeats(runs):
    with pytest.raises(UsageError, match="not 5 runs for 3 folds"):
        evaluate_folds(runs[:5], 3)
    with pytest.raises(UsageError, match="at least two folds"):
        evaluate_folds(runs, 1)


def test_stacked_tables_keep_their_rows(table):
    one, other = table.take([0, 3]), table.take([5])
    stacked = stack_tables([one, other])
    assert stacked.samples["hash"].tolist() == table.samples["hash"].iloc[[0, 3, 5]].tolist()
    assert stacked.classes == table.classes


@pytest.mark.parametrize(("text", "wanted"), [("5", (5, 1)), ("5x2", (5, 2)), (" 10X3", (10, 3))])
def test_folds_are_read(text, wanted):
    assert read_folds(text) == wanted


@pytest.mark.parametrize("text", ["1", "5x0", "five", "5x", "-5", "5x2x2"])
def test_impossible_folds_are_refused(text):
    with pytest.raises(UsageError, match="--folds must be a number from 2 on"):
        read_folds(text)


def test_the_command_trains_all_folds_and_says_what_the_procedure_is_worth(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 8)
    options = "--size 16 --model plain --model.width 4 --epochs 1 --train.precision float32 --train.threads 1".split()
    assert main(["train", "shapes", "--folds", "2x1", "--out", "cv", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["folds"], found["repeats"]) == (2, 1)
    assert found["figures"]["accuracy"]["n"] == found["n"]
    assert json.loads((tmp_path / "cv" / "folds.json").read_text("utf-8"))["spread"] == found["spread"]
    assert main(["train", "shapes", "--folds", "2x1", "--out", "cv", *options]) == 0
    assert "this procedure at" in capsys.readouterr().out.lower()
