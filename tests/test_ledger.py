"""Looks: what counts as one, how the intervals of several hold together, and the seal of the test part."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from scipy.stats import beta, binomtest, chi2, norm
from scipy.stats import t as student

from tenfold import looks as looks_module
from tenfold.__main__ import main
from tenfold.errors import DataError, UsageError
from tenfold.estimate import (
    Estimate,
    clopper_pearson,
    level_of_each,
    mean_moments,
    score_interval,
    trials_interval,
    units_of,
    wilson,
)
from tenfold.evaluate import evaluate_run
from tenfold.evaluate.ledger import record_look
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.looks import count_looks, for_looks, image_hashes, ledger_note, ledger_path
from tenfold.metrics import METRICS
from tenfold.metrics.answers import Answers
from tenfold.metrics.classification import classification_findings
from tenfold.recipe import write_recipe
from tenfold.run import Run, load_run, write_weights
from tenfold.split import split_table, write_split
from tenfold.train import train_model
from tests.toys import quick_recipe, shapes_table, write_shapes

QUICK = {"train": {"epochs": 1}}


# The exact interval


@pytest.mark.parametrize("n", [1, 2, 7, 30, 200, 1000])
@pytest.mark.parametrize("level", [0.8, 0.95, 1 - 0.05 / 3, 1 - 0.05 / 250])
def test_clopper_pearson_agrees_with_scipy(n: int, level: float) -> None:
    for successes in {0, 1, n // 2, n - 1, n}:
        expected = binomtest(successes, n).proportion_ci(level, method="exact")
        assert clopper_pearson(successes, n, level) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_clopper_pearson_with_fewer_degrees_of_freedom_is_korn_and_graubards() -> None:
    ratio = (student.ppf(0.99, 1e9) / student.ppf(0.99, 11)) ** 2
    x, n = 31.5 * ratio, 40.25 * ratio
    expected = beta.ppf(0.01, x, n - x + 1), beta.ppf(0.99, x + 1, n - x)
    assert clopper_pearson(31.5, 40.25, 0.98, df=11) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(UsageError, match="clopper_pearson needs 0 <= successes <= n"):
        clopper_pearson(3, 2)


def test_an_open_span_has_garwoods_interval_the_limit_of_a_wide_one() -> None:
    units = units_of(None, 50, exact=True)
    low, high = score_interval(0.4, 0.5, 0.02, units, 0.99, (0.0, math.inf))
    spread = 0.02 / 0.5
    expected = chi2.ppf(0.005, 2 * 0.4 / spread) / 2, chi2.ppf(0.995, 2 * 0.4 / spread + 2) / 2
    assert (low, high) == pytest.approx((spread * expected[0], spread * expected[1]))
    wide = score_interval(0.4, 0.5, 0.02, units, 0.99, (0.0, 1e7))
    assert (low, high) == pytest.approx(wide, rel=1e-5)
    assert score_interval(0.0, 0.1, 0.0, units, 0.99, (0.0, math.inf))[0] == 0


def test_the_level_of_each_look_is_bonferronis() -> None:
    assert level_of_each(0.95, 1) == pytest.approx(0.95)
    assert level_of_each(0.95, 250) == pytest.approx(0.9998)
    assert level_of_each(0.9, 4) == pytest.approx(0.975)
    with pytest.raises(UsageError, match="looks must be at least 1, not 0"):
        level_of_each(0.95, 0)


@pytest.mark.parametrize("accuracy", [0.6, 0.8, 0.9, 0.95])
def test_the_model_that_looks_best_of_250_is_covered(accuracy: float) -> None:
    """The promise itself: 250 equally good models, 200 images; benchmarks/intervals.py has more rounds."""
    rng = np.random.default_rng(round(100 * accuracy))
    looks, images, rounds = 250, 200, 400
    right = rng.binomial(images, accuracy, (rounds, looks))
    level = level_of_each(0.95, looks)
    ends = np.array([clopper_pearson(count, images, level) for count in range(images + 1)])
    plain = np.array([wilson(count, images) for count in range(images + 1)])
    best = right.max(1)
    covered = (ends[best, 0] <= accuracy) & (accuracy <= ends[best, 1])
    unaware = (plain[best, 0] <= accuracy) & (accuracy <= plain[best, 1])
    assert covered.mean() >= 0.95
    assert unaware.mean() < 0.5  # what forgetting the looks would cost
    every = ((ends[right, 0] <= accuracy) & (accuracy <= ends[right, 1])).all(1)
    assert every.mean() >= 0.95  # not only the best one: all together
    assert np.mean(np.diff(ends[right])) <= 2 * np.mean(np.diff(plain[right]))


@pytest.mark.parametrize(("accuracy", "sharpness"), [(0.8, 1.0), (0.9, 1.0), (0.9, 2.0)])
@pytest.mark.parametrize("name", ["log_loss", "brier", "roc_auc"])
def test_figures_that_are_no_proportions_hold_nearly_so_often(name: str, accuracy: float, sharpness: float) -> None:
    """The best of 250 toys, calibrated or twice as sure; with the added image counted once, 86 % were held."""
    rng, skill = np.random.default_rng(7), math.sqrt(2) * norm.ppf(accuracy)
    metric, level, held, rounds = METRICS[name], level_of_each(0.95, 250), 0, 100

    def drawn(models: int, images: int) -> tuple[np.ndarray, np.ndarray]:
        margin = skill + math.sqrt(2) * rng.standard_normal((models, images))
        return rng.integers(0, 2, (models, images)), 1 / (1 + np.exp(-sharpness * skill * margin))

    def answers(truth: np.ndarray, right: np.ndarray) -> Answers:
        probability = np.where(np.arange(2) == truth[:, None], right[:, None], 1 - right[:, None])
        return Answers(truth, probability, probability.argmax(1), units_of(None, len(truth), exact=True), positive=1)

    def rank(truth: np.ndarray, right: np.ndarray) -> np.ndarray:
        order = np.argsort(-np.where(truth == 1, right, 1 - right), axis=1)
        positive = np.take_along_axis(truth, order, axis=1)
        return -((1 - positive) * np.cumsum(positive, axis=1)).sum(1) / (truth.sum(1) * (1 - truth).sum(1))

    worth = {"log_loss": lambda truth, right: -np.log(right).mean(1), "roc_auc": rank}
    loss = worth.get(name, lambda truth, right: ((1 - right) ** 2).mean(1))
    true = metric.interval(metric, answers(*(part[0] for part in drawn(1, 400_000))), 0.95).value
    for _ in range(rounds):
        truth, right = drawn(250, 200)
        best = int(loss(truth, right).argmin())
        figure = metric.interval(metric, answers(truth[best], right[best]), level)
        assert abs(figure.value) == pytest.approx(abs(loss(truth, right)[best]))
        held += figure.low <= true <= figure.high
    assert held >= 0.91 * rounds


def problem(count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 3, count)
    logits = rng.standard_normal((count, 3))
    logits[np.arange(count), truth] += 2
    odds = np.exp(logits)
    return truth, odds / odds.sum(1, keepdims=True)


@pytest.mark.parametrize("grouped", [False, True])
def test_looks_widen_every_figure_and_one_changes_nothing(grouped: bool) -> None:
    truth, probability = problem()
    groups = np.array([f"g{row // 5}" for row in range(200)], object) if grouped else None
    arguments = (truth, probability, ("a", "b", "c"), groups)
    plain, details = classification_findings(*arguments)
    assert classification_findings(*arguments, looks=1) == (plain, details)
    before = plain
    for looks in (2, 3, 250):
        figures, details = classification_findings(*arguments, looks=looks)
        for name, figure in figures.items():
            assert figure.level == pytest.approx(1 - 0.05 / looks)
            assert figure.value == plain[name].value
            assert figure.low <= before[name].low, (name, looks)
            assert figure.high >= before[name].high, (name, looks)
            times = (figure.high - figure.low) / (plain[name].high - plain[name].low)
            assert 1.1 < times < 3, (name, times)
        assert details["per_class"][0]["recall"].level == pytest.approx(1 - 0.05 / looks)
        before = figures
    right = int((probability.argmax(1) == truth).sum())
    if not grouped:
        figure = figures["accuracy"]
        expected = binomtest(right, 200).proportion_ci(1 - 0.05 / 250, method="exact")
        assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert figure.method == "Clopper-Pearson over images"


def test_groups_count_by_their_effective_number_after_several_looks_too() -> None:
    rng = np.random.default_rng(0)
    names = np.repeat(np.arange(20), 10).astype(object)
    hits = np.repeat(rng.random(20) < 0.8, 10).astype(float)  # a group is all right or all wrong
    units = units_of(names, 200, exact=True)
    mean, variance = mean_moments(hits, units, np.ones(1), np.zeros(1))
    effective = mean * (1 - mean) / variance
    assert effective < 25
    expected = trials_interval(hits.mean() * effective, effective, units, 0.99)
    assert score_interval(hits.mean(), mean, variance, units, 0.99) == pytest.approx(expected)
    assert expected == clopper_pearson(hits.mean() * effective, effective, 0.99, df=19)


def test_later_looks_widen_what_was_found_before() -> None:
    figure = Estimate(0.8, *wilson(400, 500), 0.95, 500, "Wilson over images")
    assert for_looks(figure, 1, 1) is figure
    three = for_looks(figure, 1, 3)
    assert (three.low, three.high) == clopper_pearson(400, 500, three.level)
    assert three.method == "Clopper-Pearson over images"
    assert three.level == pytest.approx(1 - 0.05 / 3)
    pairs = for_looks(replace(figure, method="Wilson over comparisons"), 1, 3)
    assert (pairs.low, pairs.high, pairs.method) == (three.low, three.high, "Clopper-Pearson over comparisons")
    again = for_looks(three, 3, 9)
    assert (again.low, again.high) == pytest.approx(clopper_pearson(400, 500, 1 - 0.05 / 9))
    other = replace(figure, method="bootstrap over images")
    wide = for_looks(other, 1, 9)
    assert (wide.low, wide.high) == pytest.approx(clopper_pearson(400, 500, 1 - 0.05 / 9), abs=0.006)
    assert wide.method == for_looks(wide, 9, 20).method == "bootstrap over images, approximate"
    perfect = for_looks(Estimate(1.0, 0.9, 1.0, 0.95, 30, "bootstrap over images"), 1, 5)
    assert perfect.low < 0.9
    assert perfect.high == 1


# What counts as a look


def test_the_same_answers_are_no_further_look_and_leave_no_line(tmp_path: Path) -> None:
    path = ledger_path(tmp_path / "run")
    hashes = [f"{number * 2**70:032x}" for number in range(1, 9)]

    def look(answers: str, seen: list[str] = hashes) -> int:
        return record_look(path, tmp_path / "run", seen, answers)

    assert [look("a"), look("a"), look("b"), look("a"), look("b"), look("")] == [1, 1, 2, 2, 2, 3]
    assert len(path.read_bytes().splitlines()) == 3
    assert look("a", [*hashes[:1], "f" * 32]) == 3  # it has seen one of these images already
    assert look("d", ["f" * 32]) == 1  # other images than all before
    assert [count_looks(path, hashes[:1]), count_looks(path, ["f" * 32]), count_looks(path, [])] == [3, 1, 0]


def test_a_look_is_a_further_one_where_any_of_it_is_new(tmp_path: Path) -> None:
    run, hashes = tmp_path / "here" / "run", ["e" * 32]
    run.mkdir(parents=True)
    (run / "model.json").touch()

    def look(*shown: str, at: Path = run) -> int:
        return record_look(ledger_path(at), at, hashes, *shown)

    assert [look("a", "b"), look("a"), look("a", "b"), look("b")] == [1, 1, 1, 1]
    moved = shutil.copytree(run, tmp_path / "there" / "run")
    assert [look("a", at=moved), look("a", "b", at=moved)] == [1, 1]
    assert [look("a", "c"), look("c"), look("a", "b", "c"), look("d", "b", "c"), look("d")] == [2, 2, 2, 3, 3]
    assert len(ledger_path(run).read_bytes().splitlines()) == 3
    assert count_looks(ledger_path(run), hashes) == 3
    assert [look("a", "b", at=moved), look("d", "c", at=moved)] == [1, 2]  # those at home are not known there


def test_a_run_that_is_moved_or_copied_brings_its_looks(tmp_path: Path) -> None:
    hashes = [f"{number * 2**70:032x}" for number in range(1, 9)]
    runs = [tmp_path / "project" / name for name in "abc"]
    for run in runs:
        run.mkdir(parents=True)
        (run / "model.json").touch()  # what makes a folder a run

    def look(run: Path) -> int:
        return record_look(ledger_path(run), run, hashes, run.name)

    assert [look(run) for run in runs] == [1, 2, 3]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    runs[2].rename(elsewhere / "c")
    path = ledger_path(elsewhere / "c")
    assert path == elsewhere / "ledger.jsonl"
    assert not path.exists()
    assert count_looks(path, hashes) == 3  # the two others at home count too
    assert look(elsewhere / "c") == 3
    (elsewhere / "d").mkdir()
    (elsewhere / "d" / "model.json").touch()
    assert [look(elsewhere / name) for name in "dcd"] == [4, 4, 4]
    assert [look(runs[0]), look(runs[0])] == [3, 3]
    alone = tmp_path / "alone"
    shutil.copytree(runs[0], alone / "a")
    assert count_looks(ledger_path(alone / "a"), hashes) == 3  # as many as there were when it was evaluated last
    assert count_looks(ledger_path(alone / "a"), ["f" * 32]) == 0


def test_a_look_without_answers_counts_once_though_both_ledgers_have_it(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    path, hashes = ledger_path(tmp_path / "run"), ["e" * 32]
    assert [record_look(path, tmp_path / "run", hashes) for _ in range(3)] == [1, 2, 3]
    assert (tmp_path / "run" / "ledger.jsonl").read_bytes() == path.read_bytes()
    assert count_looks(path, hashes) == 3


def test_the_ledger_is_that_of_the_nearest_folder_that_has_one(tmp_path: Path) -> None:
    run = tmp_path / "project" / "runs" / "deep" / "run"
    run.mkdir(parents=True)
    assert ledger_path(run) == run.parent / "ledger.jsonl"
    (tmp_path / "project" / "ledger.jsonl").touch()
    assert ledger_path(run) == tmp_path / "project" / "ledger.jsonl"
    assert record_look(ledger_path(run), run, ["e" * 32], "a") == 1
    assert ledger_path(run) == tmp_path / "project" / "ledger.jsonl"  # its own is none of the project
    (tmp_path / "project" / "runs" / "ledger.jsonl").touch()
    assert ledger_path(run) == tmp_path / "project" / "runs" / "ledger.jsonl"
    (run / "ledger.jsonl").touch()
    (run / "model.json").touch()
    assert ledger_path(run / "checkpoint" / "finetuned") == ledger_path(run)


def folds(out: Path, split: Path | None = None) -> list[Path]:
    """A folder that passes for one of two folds, made from a written split."""
    runs = project(out, "repeat1-fold1", "repeat1-fold2")
    write_recipe(quick_recipe(split={"file": str(split or "")}), out / "recipe.toml")
    for run in runs:
        parts = out / f"{run.name}.split.csv"
        parts.touch()
        write_recipe(quick_recipe(split={"file": str(parts)}), run / "recipe.toml")
    return runs


def test_runs_of_folds_and_of_shares_count_with_those_of_the_project(tmp_path: Path) -> None:
    hashes, runs = ["e" * 32], tmp_path / "runs"
    (plain,), (one, other) = project(runs, "plain"), folds(runs / "cv")
    (share,) = project(runs / "curve", "share0.5-seed0")
    write_recipe(quick_recipe(), runs / "curve" / "recipe.toml")
    for run in (one, other, share, plain):
        assert ledger_path(run) == runs / "ledger.jsonl"
    assert [noted(run, hashes) for run in (one, plain, other, share, one)] == [1, 2, 3, 4, 4]
    assert not (runs / "cv" / "ledger.jsonl").exists()
    shutil.rmtree(runs / "cv")
    assert count_looks(plain, hashes) == 4
    # In a folder that is none of several a name alone changes nothing.
    (named,) = project(tmp_path / "elsewhere" / "mine", "repeat1-fold1")
    assert ledger_path(named) == named.parent / "ledger.jsonl"


def test_folders_of_images_are_not_looked_into(tmp_path: Path) -> None:
    """The folder of runs may be that of the images too, of which there may be a hundred thousand."""
    (run,) = project(tmp_path, "plain")
    noted(folds(tmp_path / "cv")[0], ["e" * 32])
    (tmp_path / "flowers" / "daisy").mkdir(parents=True)
    read: list[str] = []
    watching = [True]
    sys.addaudithook(lambda event, given: read.append(str(given[0])) if watching and event == "os.scandir" else None)
    try:
        assert count_looks(run, ["e" * 32]) == 1
    finally:
        watching.clear()
    assert str(tmp_path / "cv") in read
    assert not any("flowers" in folder for folder in read)


def test_folds_count_beside_the_split_that_they_were_made_from(tmp_path: Path) -> None:
    split = tmp_path / "images" / "shapes.split.csv"
    split.parent.mkdir()
    split.touch()
    one, other = folds(tmp_path / "runs" / "cv", split)
    assert ledger_path(one) == split.with_name("ledger.jsonl")
    assert ledger_note(one) == ""
    (elsewhere,) = project(tmp_path / "others", "run")
    write_recipe(quick_recipe(split={"file": str(split)}), elsewhere / "recipe.toml")
    assert [noted(run, ["e" * 32]) for run in (one, elsewhere, other)] == [1, 2, 3]
    moved = Path(shutil.copytree(one, tmp_path / "away" / "fold"))  # by itself it still knows whose parts it has
    assert ledger_path(moved) == split.with_name("ledger.jsonl")
    split.unlink()
    assert ledger_path(one) == tmp_path / "runs" / "ledger.jsonl"
    assert "Looks are counted in" in ledger_note(one)


def test_looks_that_a_folder_of_folds_has_already_stay_counted(tmp_path: Path) -> None:
    hashes, runs = ["e" * 32], tmp_path / "runs"
    (plain,), (one, _) = project(runs, "plain"), folds(runs / "cv")
    for name in "ab":  # as earlier versions left it
        record_look(runs / "cv" / "ledger.jsonl", tmp_path / "gone", hashes, name)
    assert [count_looks(one, hashes), count_looks(plain, hashes), noted(plain, hashes)] == [2, 2, 3]
    moved = tmp_path / "moved"
    (new,) = project(moved, "new")
    assert noted(one, hashes) == 4
    (runs / "cv").rename(moved / "cv")
    (moved / "cv" / "ledger.jsonl").unlink()
    assert count_looks(new, hashes) == 4  # by the ledger of the fold


def test_what_a_killed_look_left_in_either_ledger_is_made_whole(tmp_path: Path) -> None:
    run, hashes = tmp_path / "run", ["e" * 32]
    run.mkdir()
    (run / "model.json").touch()
    path, own = ledger_path(run), run / "ledger.jsonl"
    record_look(path, run, hashes, "a")
    whole = path.read_bytes()
    own.write_bytes(whole[:20])  # killed between the two, or within the second
    assert count_looks(path, hashes) == 1
    assert record_look(path, run, hashes, "a") == 1
    assert (path.read_bytes(), len(own.read_bytes().splitlines())) == (whole, 1)
    path.unlink()
    assert record_look(path, run, hashes, "a") == 1
    assert len(path.read_bytes().splitlines()) == len(own.read_bytes().splitlines()) == 1
    own.write_bytes(b"{}\n")
    with pytest.raises(DataError, match=r"The ledger of looks .*run.ledger\.jsonl is damaged"):
        count_looks(path, hashes)


def test_an_image_is_known_by_what_it_was_made_from_too(tmp_path: Path) -> None:
    table = shapes_table(tmp_path, 2)
    table = table.assign(hash=[f"{row * 2**70:032x}" for row in range(1, 7)], origin=["f" * 32, *[None] * 5])
    assert image_hashes(table) == [*table.samples["hash"], "f" * 32]


# What a run brings along


def project(folder: Path, *names: str) -> list[Path]:
    """Folders that pass for runs."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "model.json").touch()
    return [folder / name for name in names]


def noted(run: Path, hashes: list[str], answers: str = "") -> int:
    return record_look(ledger_path(run), run, hashes, answers or run.name)


def test_looks_of_two_projects_are_one_set_whoever_arrives_when(tmp_path: Path) -> None:
    """Where runs arrive, all looks that each knows of count once: neither the larger number alone nor their sum."""
    hashes = [f"{number * 2**70:032x}" for number in range(1, 9)]
    home = project(tmp_path / "home", "a", "b", "c")
    assert [noted(run, hashes) for run in home] == [1, 2, 3]
    (d,) = project(tmp_path / "elsewhere", "d")
    assert noted(d, hashes) == 1
    c = Path(shutil.copytree(home[2], d.with_name("c")))
    assert count_looks(ledger_path(d), hashes) == 4
    (e,) = project(tmp_path / "elsewhere", "e")
    assert [noted(run, hashes) for run in (c, d, e)] == [4, 4, 5]
    assert [noted(run, hashes) for run in home] == [3, 3, 3]  # at home nothing is known of that
    third = project(tmp_path / "third", *"vwxyz")
    assert [noted(run, hashes) for run in third] == [1, 2, 3, 4, 5]
    shutil.copytree(e, third[0].with_name("e"))
    assert [noted(run, hashes) for run in (third[0].with_name("e"), third[0])] == [10, 10]
    shutil.rmtree(tmp_path / "third" / "w")
    assert count_looks(ledger_path(third[0]), hashes) == 10
    alone = Path(shutil.copytree(third[0], tmp_path / "alone" / "v"))
    assert count_looks(ledger_path(alone), hashes) == 10  # it was evaluated again when all were known


def test_looks_at_other_images_are_not_counted_along_with_those_at_these(tmp_path: Path) -> None:
    first, second = ([f"{number * 2**70:032x}" for number in range(start, start + 8)] for start in (1, 100))
    *runs, both, last = project(tmp_path / "project", *(f"run{number}" for number in range(10)), "both", "last")
    assert [noted(run, first) for run in runs] == [*range(1, 11)]
    assert noted(both, first[4:] + second) == 11
    assert [count_looks(ledger_path(both), part) for part in (first, first[4:], second, first[:1])] == [11, 11, 1, 10]
    assert noted(last, second) == 2
    moved = Path(shutil.copytree(both, tmp_path / "moved" / "both"))
    assert [count_looks(ledger_path(moved), part) for part in (first, first[4:], second, first[:1])] == [11, 11, 1, 0]
    assert noted(last, first[3:5]) == 12
    line = json.loads(ledger_path(last).read_bytes().splitlines()[-1])
    assert line["known"] == {**{run.name: None for run in runs}, "both": [f"{5 * 2**70:032x}"[:16]]}


def test_ledgers_of_earlier_versions_count_no_less_than_they_said(tmp_path: Path) -> None:
    hashes = ["e" * 32]
    a, b = project(tmp_path / "project", "a", "b")
    line = {"run": "old", "look": 7, "answers": "old", "besides": [], "hashes": ["e" * 16]}
    (a / "ledger.jsonl").write_text(json.dumps(line) + "\n")  # it came from a folder with six others
    assert [count_looks(ledger_path(b), hashes), noted(b, hashes), noted(b, hashes)] == [7, 8, 8]
    moved = Path(shutil.copytree(b, tmp_path / "moved" / "b"))
    assert [count_looks(ledger_path(moved), hashes), noted(moved, hashes)] == [8, 8]


def test_only_what_is_called_so_is_a_proportion() -> None:
    """F1 has the interval of another figure, stretched; groups that are too few to count by change no counting."""
    truth, probability = problem()
    _, details = classification_findings(truth, probability, ("a", "b", "c"))
    f1 = details["per_class"][0]["f1"]
    assert f1.method == "F1 by Wilson over images"
    later = for_looks(f1, 1, 5)
    assert later.method == "F1 by Wilson over images, approximate"
    exact = clopper_pearson(round(f1.value * f1.n), f1.n, later.level)
    assert (later.low, later.high) != pytest.approx(exact, abs=1e-3)
    assert later.high - later.value == pytest.approx((f1.high - f1.value) * norm.ppf(0.995) / norm.ppf(0.975))
    few = Estimate(0.8, *wilson(400, 500), 0.95, 500, "Wilson over images (2 groups are too few to count by)")
    assert for_looks(few, 1, 3).method == "Clopper-Pearson over images (2 groups are too few to count by)"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return hashed(shapes_table(tmp_path_factory.mktemp("ledger") / "data", 10))


@pytest.fixture(scope="module")
def trained(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Run:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        return train_model(table, quick_recipe(**QUICK), tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy of the run, in a project folder without a ledger."""
    shutil.copytree(trained.path, tmp_path / "project" / "run")
    return load_run(tmp_path / "project" / "run")


def other_model(run: Run, name: str) -> Run:
    """A run beside it whose last layer's bias is another: other answers."""
    folder = run.path.with_name(name)
    shutil.copytree(run.path, folder)
    other = load_run(folder)
    with torch.no_grad():
        bias = [value for key, value in other.model.named_parameters() if key.endswith("bias")][-1]
        bias += torch.arange(len(bias)) * sum(map(ord, name)) / 200
    return other


def test_neither_a_copy_nor_new_names_reset_the_count_nor_add_to_it(run: Run, table: Table) -> None:
    assert evaluate_run(run, "test").look == 1
    renamed = run.path.rename(run.path.with_name("another name"))
    assert evaluate_run(load_run(renamed), "test").look == 1
    copy = shutil.copytree(renamed, renamed.with_name("copy"))
    assert evaluate_run(load_run(copy), "test", level=0.9, top_k=2).look == 1
    # Images at other places, under other names.
    folder = run.path.parent / "images"
    folder.mkdir()
    moved = [
        shutil.copy(source, folder / f"{row}.png") for row, source in enumerate(map(Path, run.table.samples["source"]))
    ]
    elsewhere = Run(copy, run.table.assign(source=[str(path) for path in moved]))
    assert evaluate_run(elsewhere, "test").look == 1
    assert evaluate_run(other_model(load_run(copy), "b"), "test").look == 2
    assert evaluate_run(elsewhere, "test").look == 2  # no further look, but it counts that one


def test_what_a_look_is_known_by_is_what_ledgers_hold_already(run: Run) -> None:
    found = evaluate_run(run, "test")
    figures = {name: round(figure.value, 12) for name, figure in found.figures.items()}
    told = run.predictions("test").drop(columns=["part", "sample", "source", "row"])
    told = told.sort_values(["hash", "instance", "label"]).to_json(orient="split", double_precision=15)
    content = json.dumps([figures, found.details["confusion"]]) + told
    line = json.loads(ledger_path(run.path).read_text())
    assert line["answers"] == hashlib.sha256(content.encode()).hexdigest()[:16]
    assert line["besides"] == []


def test_an_image_more_or_less_or_another_label_is_a_look_and_resets_nothing(run: Run) -> None:
    test = np.flatnonzero(run.table.samples["part"] == "test")
    train = np.flatnonzero(run.table.samples["part"] == "train")
    assert evaluate_run(run, "test").look == 1
    fewer = Run(run.path, run.table.take(np.delete(np.arange(len(run.table)), test[0])))
    assert evaluate_run(fewer, "test").look == 2
    parts = run.table.samples["part"].to_numpy(object, copy=True)
    parts[train[0]] = "test"
    more = evaluate_run(Run(run.path, run.table.assign(part=parts)), "test")
    assert (more.look, more.n) == (3, len(test) + 1)
    labels = run.table.samples["label"].to_numpy(object, copy=True)
    labels[test[0]] = "ring" if labels[test[0]] != "ring" else "disc"
    assert evaluate_run(Run(run.path, run.table.assign(label=labels)), "test").look == 4
    assert evaluate_run(run, "test").look == 4


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two classes, bar and disc."""
    place = tmp_path_factory.mktemp("pair")
    folder = write_shapes(place / "data", 12)
    shutil.rmtree(folder / "ring")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        table = split_table(read_table(folder), validation=0.25, test=0.25)
        return train_model(table, quick_recipe(**QUICK), place / "run")


def test_what_is_said_as_it_is_anyway_is_no_look_and_a_new_figure_is(pair: Run) -> None:
    def looks(**options: object) -> int:
        return evaluate_run(pair, "test", **options).look

    assert looks() == 1
    probability = np.array([row[1] for row in pair.predictions("test")["probability"]])
    assert not np.isin(0.5, probability)
    assert [looks(threshold=0.5), looks(positive="disc"), looks(positive="disc", threshold=0.5, level=0.9)] == [1, 1, 1]
    between = np.sort(probability)[:2].mean()  # all but one image are then a disc
    assert [looks(threshold=between), looks(threshold=between, positive="disc"), looks(threshold=0.5)] == [2, 2, 2]
    assert looks(top_k=1) == 3
    assert looks() == 3


def test_top_k_is_a_look_where_it_shows_another_figure(run: Run) -> None:
    assert [evaluate_run(run, "test", **options).look for options in ({}, {"top_k": 2}, {"top_k": 1})] == [1, 1, 2]


def test_the_second_look_has_the_exact_interval_at_the_stricter_level(run: Run) -> None:
    first = evaluate_run(run, "test")
    assert (first.widened, first.figures["accuracy"].method) == (1.0, "Wilson over images")
    second = evaluate_run(other_model(run, "other"), "test")
    figure = second.figures["accuracy"]
    right = round(figure.value * figure.n)
    expected = binomtest(right, figure.n).proportion_ci(0.975, method="exact")
    assert (figure.low, figure.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    low, high = wilson(right, figure.n)
    assert second.widened == pytest.approx((figure.high - figure.low) / (high - low))
    assert second.widened > 1.1
    stored = load_run(second_path := run.path.with_name("other")).evaluations["test"]
    assert (stored["look"], stored["widened"]) == (2, second.widened), second_path
    assert evaluate_run(run, "validation").figures["accuracy"].method == "Wilson over images"


def test_a_notebook_shows_the_interval_that_all_looks_make(run: Run) -> None:
    first = evaluate_run(run, "test").figures["accuracy"]
    assert f"<td>accuracy {first}, n = {first.n}</td>" in load_run(run.path)._repr_html_()
    evaluate_run(other_model(run, "other"), "test")
    now = for_looks(first, 1, 2)
    assert f"{now}" != f"{first}"
    assert f"<td>accuracy {now}, n = {first.n}</td>" in load_run(run.path)._repr_html_()
    own = evaluate_run(run, "validation").figures["accuracy"]
    assert f"<td>accuracy {own}, n = {own.n}</td>" in load_run(run.path)._repr_html_()


# Looks by other ways


def stored_model(run: Run, name: str, folder: Path | None = None) -> Run:
    """Another model in a folder, as it can be loaded again."""
    other = other_model(run, name)
    write_weights(other.path / "model.safetensors", other.model.state_dict())
    folder = folder or other.path
    folder.parent.mkdir(parents=True, exist_ok=True)
    return load_run(other.path.rename(folder))


def with_split(run: Run, file: Path) -> Run:
    """The run as if its parts were those of that written split."""
    write_split(run.table, file)
    write_recipe(run.recipe.change(split={"file": str(file)}), run.path / "recipe.toml")
    return load_run(run.path)


def test_runs_in_any_folder_have_one_ledger_beside_their_split(run: Run, tmp_path: Path) -> None:
    run = with_split(run, tmp_path / "images" / "shapes.split.csv")
    for number, name in enumerate("abc", 1):
        folder = tmp_path / "experiments" / str(number) / "deep" / "run"
        other = stored_model(run, name, folder)
        assert ledger_path(folder) == tmp_path / "images" / "ledger.jsonl"
        assert ledger_note(folder) == ""
        assert evaluate_run(other, "test").look == number
        assert len((folder.parent / "ledger.jsonl").read_bytes().splitlines()) == 1  # that of its own project
        if name == "b":
            shutil.rmtree(tmp_path / "experiments")  # what was looked at stays looked at
    shutil.rmtree(tmp_path / "images")
    assert count_looks(folder, image_hashes(run.table.part("test"))) == 3


def test_where_looks_elsewhere_are_not_known_that_is_said(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no written split of these images is known" in ledger_note(run.path)
    run = with_split(run, tmp_path / "images" / "shapes.split.csv")
    assert evaluate_run(run, "test").look == 1
    monkeypatch.setattr(looks_module.os, "access", lambda path, mode: False)  # of somebody else
    other = stored_model(run, "other")
    assert ledger_path(other.path) == run.path.with_name("ledger.jsonl")
    assert main(["evaluate", str(other.path), "--part", "test"]) == 0
    out, err = capsys.readouterr()
    assert "This test part has had 2 looks" in out
    assert f"Looks are counted in {run.path.parent} and in its runs alone" in " ".join((out + err).split())


def test_a_look_at_test_images_under_the_name_of_validation_counts(run: Run) -> None:
    swapped = run.table.samples["part"].replace({"validation": "test", "test": "validation"}).tolist()
    for name in "ab":
        other = stored_model(run, name)
        assert evaluate_run(Run(other.path, run.table.assign(part=swapped)), "validation").look == 0
        shutil.rmtree(other.path)  # as one does with a model that is not good enough
    assert evaluate_run(run, "validation").look == 0
    assert evaluate_run(run, "test").look == 3
    assert evaluate_run(stored_model(run, "c"), "validation").look == 0
    assert evaluate_run(run, "test").look == 3


# The seal


def same_weights(one: Run, other: Run) -> bool:
    first, second = (load_file(run.path / "model.safetensors") for run in (one, other))
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def copied(table: Table, folder: Path) -> Table:
    """The same images with the same hashes in files of their own."""
    folder.mkdir()
    files = [
        shutil.copy(source, folder / f"{row}.png") for row, source in enumerate(map(Path, table.samples["source"]))
    ]
    return table.assign(source=[str(path) for path in files])


def test_training_needs_no_test_file_and_sees_no_test_label(trained: Run, table: Table, tmp_path: Path) -> None:
    mine = copied(table, tmp_path / "images")
    test = (mine.samples["part"] == "test").to_numpy(bool)
    for place, source in enumerate(mine.samples["source"][test]):
        if place % 2:
            Path(source).unlink()
        else:
            Path(source).write_bytes(b"no image at all")
    labels = mine.samples["label"].to_numpy(object, copy=True)
    labels[test] = None
    run = train_model(mine.assign(label=labels), quick_recipe(**QUICK), tmp_path / "run")
    assert same_weights(run, trained)
    assert run.environment["unreadable"] == {}
    assert evaluate_run(run, "validation").figures == evaluate_run(trained, "validation").figures


class Sealed:
    """Images in memory of which those of the test part may not be taken."""

    def __init__(self, images: list[np.ndarray], sealed: set[int]) -> None:
        self.images, self.sealed = images, sealed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> np.ndarray:
        assert row not in self.sealed, f"test image {row} was taken"
        return self.images[row]


def test_images_in_memory_are_sealed_too(tmp_path: Path) -> None:
    files = shapes_table(tmp_path / "data", 10)
    images = [np.array(Image.open(source)) for source in files.samples["source"]]
    whole = read_table(images, labels=files.samples["label"].tolist())
    table = hashed(split_table(whole, validation=0.2, test=0.2))
    sealed = set(np.flatnonzero(table.samples["part"] == "test").tolist())
    assert len(sealed) == 6
    (name,) = table.arrays
    guarded = replace(table, arrays={name: Sealed(images, sealed)})
    run = train_model(guarded, quick_recipe(**QUICK), tmp_path / "run")
    assert evaluate_run(run, "validation").n == 6
    with pytest.raises(AssertionError, match="was taken"):  # the guard is no sham: the one way in is `evaluate`
        evaluate_run(run, "test")


def test_what_the_test_images_are_moves_nothing_in_training(table: Table, trained: Run, tmp_path: Path) -> None:
    """Other test images, larger and of another kind: the same recipe, preprocessing and weights."""
    rng = np.random.default_rng(0)
    mine = copied(table, tmp_path / "images")
    for source in mine.part("test").samples["source"]:
        Image.fromarray(rng.integers(0, 256, (90, 70), dtype=np.uint8)).save(source)
    run = train_model(hashed(mine.assign(hash=None)), quick_recipe(**QUICK), tmp_path / "run")
    assert same_weights(run, trained)
    assert run.preprocessing == trained.preprocessing
    assert run.card == trained.card
