"""Sets of detectors: their means by hand, the seeds' share by its formula, and what is refused."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import t as student

from tenfold.__main__ import main
from tenfold.errors import UsageError
from tenfold.estimate import units_of
from tenfold.evaluate import compare_boxes
from tenfold.evaluate.compare_boxes import compare_box_runs
from tenfold.metrics.detection import match_part
from tenfold.metrics.detection_estimates import Compared, Matches, compare_detectors, compare_sets, measure, resampled
from tenfold.metrics.detection_matching import Detections, Objects
from tenfold.recipe import Recipe
from tests.test_detection_task import fake_run, prediction

IMAGES, DRAWS = 20, 200
ROWS = [(n, 10 + n, 10, 50 + n, 50, "cat", False) for n in range(IMAGES)]
STEADY, SHAKY = (range(19), range(1, 20)), (range(3), range(2, 18))
"""The images, one object each, in which each run of a recipe finds it."""


def finder(name: str, found: Any, seed: int = 0, **changes: Any) -> SimpleNamespace:
    """A run that finds the objects of some images, and nothing else."""
    every = [prediction((10 + n, 10, 50 + n, 50, 0, 0.9)) if n in found else prediction() for n in range(IMAGES)]
    recipe = Recipe().change(train={"seed": seed, **changes})
    return fake_run(name, every, ROWS, recipe=recipe)


def sides(*found: Any, names: str = "ab") -> list[list[SimpleNamespace]]:
    return [
        [finder(f"{name}{seed}", images, seed) for seed, images in enumerate(side)]
        for name, side in zip(names, found, strict=True)
    ]


def matches_of(*found: Any) -> list[Matches]:
    boxes = np.array([row[1:5] for row in ROWS], float)
    zeros = np.zeros(IMAGES, np.int64)
    objects = Objects(np.arange(IMAGES), boxes, zeros, zeros.astype(bool))
    every = [np.array(sorted(images), np.int64) for images in found]
    return [
        match_part(objects, Detections(one, boxes[one], zeros[one], np.full(len(one), 0.9)), ["cat"], IMAGES).matches
        for one in every
    ]


def ap50(images: Any) -> float:
    """All that is found is right, so that the precision is 1 at those of 101 recalls that are reached, and 0 beyond."""
    return float(np.mean(np.linspace(0, 1, 101) <= len(images) / IMAGES))


def spread_by_hand(first: list[Matches], second: list[Matches]) -> tuple[float, float, float]:
    """The variance of the difference of AP50 by images and by seeds, and the degrees of freedom of the latter."""
    units, means, seeds = units_of(None, IMAGES), [], []
    for place, side in enumerate((first, second)):
        runs = [resampled(partial(measure, run), units, DRAWS, 0, place) for run in side]
        values = [float(run.value["ap50"][0, 0]) for run in runs]
        drawn = np.stack([run.drawn["ap50"][:, 0] for run in runs])
        means.append(drawn.mean(0))
        R = len(runs)
        by_images = np.mean([np.var(row - drawn.mean(0), ddof=1) for row in drawn]) * R / (R - 1)
        between = np.var(values, ddof=1)
        seeds.append((max(between - by_images, 0) / R, between / R, R - 1))
    own, found, df = np.array(seeds).T
    return float(np.var(means[0] - means[1])), own.sum(), found.sum() ** 2 / (found**2 / df).sum()


def test_a_sides_figure_is_the_mean_of_its_runs():
    found = compare_box_runs(*sides(STEADY, SHAKY)).figures
    means = [np.mean([ap50(images) for images in side]) for side in (STEADY, SHAKY)]
    for name in ("ap50", "ap75", "ap"):  # each box is found exactly, so they are the same at every overlap
        gap = found[name].difference
        assert (found[name].first.value, found[name].second.value) == pytest.approx(tuple(means))
        assert gap.value == pytest.approx(means[0] - means[1])
        assert gap.n == IMAGES
        assert gap.low < gap.value < gap.high
    assert found["ap50"].first.method == "mean of 2 runs, bootstrap over images and seeds"
    assert found["ap50"].difference.method == "paired bootstrap over images"


@pytest.mark.parametrize("second", [SHAKY, (range(4), range(2, 18), range(5, 14))])
def test_what_the_seeds_add_is_that_of_classifiers(second: Any):
    """A variance over resamples in place of that over images, and everything else as in tenfold.metrics.paired."""
    ours, theirs = matches_of(*STEADY), matches_of(*second)
    found = compare_sets(ours, theirs, units_of(None, IMAGES), draws=DRAWS)["ap50"]
    sample, seed, df = spread_by_hand(ours, theirs)
    assert found.variance == pytest.approx((sample, seed, df))
    assert seed > 0
    reach = math.hypot(student.ppf(0.975, IMAGES - 1) * math.sqrt(sample), student.ppf(0.975, df) * math.sqrt(seed))
    gap = found.difference
    wanted = (max(gap.value - reach, -1), min(gap.value + reach, 1))
    assert (gap.low, gap.high) == pytest.approx(wanted)
    # The p-value is the level at which the interval ends at zero.
    p = found.p / 2
    ends = student.isf(p, IMAGES - 1) * math.sqrt(sample), student.isf(p, df) * math.sqrt(seed)
    assert math.hypot(*ends) == pytest.approx(abs(gap.value))


def test_one_run_a_side_is_compared_by_images_alone():
    ours, theirs = matches_of(range(18), range(10))
    units = units_of(None, IMAGES)
    found = compare_detectors(ours, theirs, units, draws=DRAWS)
    drawn = [resampled(partial(measure, run), units, DRAWS, 0, place).drawn for place, run in enumerate((ours, theirs))]
    for name in ("ap50", "ap", "ap75"):
        gap = found[name].difference
        error = float((drawn[0][name] - drawn[1][name]).std())
        reach = student.ppf(0.975, IMAGES - 1) * error
        assert (gap.low, gap.high) == pytest.approx((gap.value - reach, min(gap.value + reach, 1)))
        assert found[name].p == pytest.approx(2 * student.sf(gap.value / error, IMAGES - 1))
        assert found[name].variance == (pytest.approx(error**2), 0, math.inf)
        assert found[name].first.method == "bootstrap over images"
    one, other = finder("one", range(18)), finder("other", range(10))
    compared = compare_box_runs([one], [other])
    assert compared == compare_boxes(one, other)
    assert (compared.first, compared.runs, compared.notes) == ("one", (("one",), ("other",)), [])


def width(found: Compared, part: str) -> float:
    side = getattr(found, part)
    return float(side.high - side.low)


def test_seeds_that_differ_widen_the_interval_and_leave_open_what_images_alone_would_not():
    """Two recipes find as much on the average; the seeds of one are worlds apart."""
    calm = [set(range(10)) - {n} for n in (0, 9)], [set(range(19)) - {n} for n in (0, 18)]
    wild = [set(range(1)), set(range(17))], calm[1]
    steady, shaky = (compare_box_runs(*sides(*both)).figures["ap50"] for both in (calm, wild))
    assert steady.difference.value == pytest.approx(shaky.difference.value)
    assert shaky.variance.seed > 10 * steady.variance.seed
    assert width(shaky, "difference") > 2 * width(steady, "difference")
    assert width(shaky, "first") > 1.5 * width(steady, "first")
    told, open_ = (compare_box_runs(*sides(*both)) for both in (calm, wild))
    assert (told.better, open_.better) == ("b0 (mean of 2 runs)", None)
    assert told.sentence.startswith("b0 (mean of 2 runs) is better: its AP50 is higher by 0.4")
    assert steady.p < 0.05 < shaky.p
    assert f"which chance alone could explain (p = {shaky.p:.3f})" in open_.sentence


def test_recipes_of_equal_worth_are_seldom_told_apart_by_the_luck_of_their_seeds():
    rng, units, rounds, told, plain = np.random.default_rng(0), units_of(None, IMAGES), 40, 0, 0
    for _ in range(rounds):
        easy = rng.standard_normal(IMAGES)
        every = easy + 0.8 * rng.standard_normal((6, 1)) + 0.5 * rng.standard_normal((6, IMAGES)) > 0
        runs = matches_of(*(np.flatnonzero(found) for found in every))
        found = compare_sets(runs[:3], runs[3:], units, draws=100)["ap50"]
        told += found.p <= 0.05
        reach = student.ppf(0.975, IMAGES - 1) * math.sqrt(found.variance.sample)
        plain += abs(found.difference.value) > reach
    assert told / rounds <= 0.1
    assert plain / rounds > 0.2  # what would be told apart without the seeds


def test_a_reader_of_sets_is_told_what_is_due_to_the_seeds():
    found = compare_box_runs(*sides(STEADY, SHAKY))
    variance = found.figures["ap50"].variance
    share = round(100 * variance.seed / (variance.seed + variance.sample))
    assert found.notes == [
        f"Of the variance of the difference in AP50 {share} % is due to the seed and {100 - share} % to the images: "
        "more seeds would narrow the interval most."
    ]
    ours, theirs = sides(STEADY, SHAKY)
    ours[1] = finder("a1", STEADY[1], 1, lr=0.1)
    assert "The recipes of a0, a1 differ in more than the seed" in compare_box_runs(ours, theirs).notes[-1]


def test_images_are_those_that_all_runs_have_and_ties_those_of_any():
    ours, theirs = sides(STEADY, SHAKY)
    rows = [(n, row[1] + (n < 3), *row[2:]) for n, row in enumerate(ROWS)]
    theirs[1].table = fake_run("b1", [prediction()] * IMAGES, rows).table
    found = compare_box_runs(ours, theirs)
    assert found.n == 17
    assert found.figures["ap50"].first.n == 17
    ours, theirs = sides(STEADY, SHAKY)
    theirs[1].table = theirs[1].table.assign(group=[f"g{n // 2}" for n in range(IMAGES)])
    assert compare_box_runs(ours, theirs).figures["ap50"].difference.method == "paired bootstrap over 10 groups"


def test_sets_that_cannot_be_compared():
    (one, two), (third, fourth) = sides(STEADY, SHAKY)
    for both in (([one], [third, fourth]), ([one, two], [third])):
        with pytest.raises(UsageError, match="Sets of runs need at least two runs on each side, so that each shows"):
            compare_box_runs(*both)
    for nothing in (([], [one]), ([one, two], [])):
        with pytest.raises(UsageError, match="A comparison needs at least one run on each side"):
            compare_box_runs(*nothing)
    twin = finder("twin", SHAKY[1])
    for both in (([one, two], [fourth, twin]), ([one, twin], [third, fourth])):
        with pytest.raises(UsageError, match=r"give the same answers; each must be a training of its own\."):
            compare_box_runs(*both)
    with pytest.raises(UsageError, match="a0 and a0 give the same answers"):
        compare_box_runs([one, two], [one, third])
    silent = [finder(name, ()) for name in ("s", "t")]  # two that find nothing may well be two trainings
    assert compare_box_runs([one, two], silent).better == "a0 (mean of 2 runs)"
    apart = [fake_run("apart", [prediction()] * IMAGES, [(*row[:3], row[3] + 9, *row[4:]) for row in ROWS])]
    with pytest.raises(UsageError, match="a0, a1, b0 and apart must have at least two validation images with the same"):
        compare_box_runs([one, two], [third, *apart])
    with pytest.raises(UsageError, match="b1 has not been evaluated on its validation part; do so first: tenfold"):
        compare_box_runs([one, two], [third, SimpleNamespace(**(vars(fourth) | {"evaluations": {}}))])
    with pytest.raises(UsageError, match=r"a0 and b1 must have the same classes to be compared, .* alone has dog"):
        compare_box_runs([one, two], [third, SimpleNamespace(**(vars(fourth) | {"classes": ("cat",)}))])
    with pytest.raises(UsageError, match="at least two runs on each side"):
        compare_sets(matches_of(*STEADY), matches_of(range(5)), units_of(None, IMAGES), draws=5)


def test_the_command_takes_sets_of_detectors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    runs = {run.path.name: run for side in sides(STEADY, SHAKY) for run in side}
    monkeypatch.setattr("tenfold.run.load_run", lambda path: runs[Path(path).name])
    asked = ["compare", "a0", "a1", "--with", "b0", "b1"]
    monkeypatch.setenv("COLUMNS", "200")
    assert main(asked) == 0
    out, err = capsys.readouterr()
    for words in ("20 validation images", "a0 (mean of 2 runs)", "b0 (mean of 2 runs)", "p (bootstrap, seeds)"):
        assert words in out
    assert "No difference is shown: AP50 is " in out
    assert "% is due to the seed" in err
    assert main([*asked, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["runs"] == [["a0", "a1"], ["b0", "b1"]]
    assert content["figures"]["ap50"]["variance"]["seed"] > 0
    assert main(["compare", "a0", "--with", "b0"]) == 0
    out, err = capsys.readouterr()
    assert "mean of" not in out
    assert "p (bootstrap)" in out
    assert err == ""
    assert main(["compare", "a0", "--with", "b0", "b1"]) == 2
    assert "at least two runs on each side" in capsys.readouterr().err
