"""Comparisons: the paired tests against SciPy and enumeration, the intervals by simulation, the words by their rule."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq
from scipy.stats import binomtest, permutation_test, ttest_ind
from scipy.stats import t as student

from tenfold.__main__ import main
from tenfold.errors import UsageError
from tenfold.estimate import Estimate, Units, units_of
from tenfold.evaluate import compare_runs
from tenfold.evaluate.compare import Difference, _say_open, paired_differences
from tenfold.evaluate.ledger import record_look
from tenfold.images.table import Table, make_samples
from tenfold.looks import ledger_path
from tenfold.metrics.classification import classification_findings
from tenfold.metrics.intervals import share
from tenfold.metrics.paired import (
    Spread,
    hits_interval,
    loss_interval,
    mcnemar,
    sign_flip,
    split_variance,
    spread_test,
)
from tenfold.recipe import Recipe

CLASSES = ("a", "b", "c")
ALONE = Spread(0.0, 0.0, math.inf)


# Tests


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (3, 9), (0, 6), (40, 70)])
def test_mcnemar_is_the_binomial_test_of_the_discordant_and_the_sign_flip_test_is_it(first: int, second: int) -> None:
    n = first + second
    tails = sum(math.comb(n, k) for k in range(n + 1) if abs(2 * k - n) >= abs(first - second)) / 2**n
    assert mcnemar(first, second) == pytest.approx(tails)
    differences = np.array([1.0] * first + [-1.0] * second + [0.0] * 30)
    assert sign_flip(differences, units_of(None, len(differences))) == pytest.approx(tails)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_the_sign_flip_test_is_that_of_enumeration(grouped: bool, whole: bool) -> None:
    rng = np.random.default_rng(3)
    count = 36 if grouped else 12
    differences = rng.integers(-1, 2, count).astype(float) if whole else rng.standard_normal(count) + 0.3
    units = units_of(np.arange(count).astype(object) // 3 if grouped else None, count)
    sums = np.bincount(units.index, differences)
    sums = sums[sums != 0]
    flipped = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=len(sums))]
    expected = np.mean(np.array(flipped) >= abs(sums.sum()) - 1e-9)
    assert sign_flip(differences, units) == pytest.approx(expected)


def test_the_sign_flip_test_agrees_with_scipys_permutation_test() -> None:
    rng = np.random.default_rng(7)
    first, second = rng.exponential(size=60), rng.exponential(size=60) * 1.25
    expected = permutation_test(
        (first, second),
        lambda one, other: np.mean(one - other),
        permutation_type="samples",
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    )
    units = units_of(None, 60)
    p = sign_flip(first - second, units)
    assert 0.01 < p < 0.9
    assert p == pytest.approx(expected.pvalue, abs=0.012)
    assert sign_flip(first - second, units) == p
    assert sign_flip(np.zeros(5), units_of(None, 5)) == 1


def test_a_group_is_one_coin() -> None:
    differences = np.repeat([1.0, 1.0, 1.0, 1.0, *[0.0] * 8], 10)
    groups = units_of(np.repeat(np.arange(12), 10).astype(object), 120)
    assert sign_flip(differences, units_of(None, 120)) < 1e-9
    assert sign_flip(differences, groups) == 2 / 2**4


def test_the_test_of_sets_is_the_level_at_which_the_interval_ends_at_zero() -> None:
    units, means = units_of(None, 50), np.array([[0.1, 0.2, 0.6], [0.5, 0.6, 1.0]])
    seeds = Spread(0.0, float(means.var(1, ddof=1).sum()) / 3, 4.0)  # of seeds alone it is Welch's test of the runs
    assert spread_test(0.4, seeds, units) == pytest.approx(ttest_ind(*means, equal_var=False).pvalue)
    images = Spread(0.04, 0.0, math.inf)  # and of images alone Student's
    assert spread_test(-0.4, images, units) == pytest.approx(2 * student.sf(2, 49))
    both = Spread(0.01, 0.02, 3.0)
    p = spread_test(0.7, both, units)
    low, high = loss_interval(np.full(50, 0.7), units, both, 1 - p)
    assert (low, high) == (pytest.approx(0.0, abs=1e-9), pytest.approx(1.4))
    assert (spread_test(0.0, both, units), spread_test(0.0, ALONE, units)) == (1.0, 1.0)
    assert (spread_test(1.0, ALONE, units), spread_test(1e9, images, units_of(None, 10**6))) == (0.0, 0.0)


# Intervals


def two_models(rng: np.random.Generator, units: Units, accuracy: float, gap: float, common: float) -> np.ndarray:
    """Right answers [2, N] of two models that tend to err on the same images, and on the same groups."""
    count = len(units.index)
    within = 0.3 if units.grouped else 0.0
    shared = rng.standard_normal(units.count)[units.index] * math.sqrt(within)
    shared = (shared + rng.standard_normal(count) * math.sqrt(1 - within)) * math.sqrt(common)
    own = rng.standard_normal((2, count)) * math.sqrt(1 - common)
    edges = [NormalDist().inv_cdf(value) for value in (accuracy, accuracy - gap)]
    return (shared + own < np.array(edges)[:, None]).astype(float)


@pytest.mark.parametrize(("accuracy", "gap"), [(0.7, 0.0), (0.7, 0.1), (0.95, 0.0), (0.95, 0.05)])
@pytest.mark.parametrize("grouped", [False, True])
def test_paired_intervals_hold_the_truth(accuracy: float, gap: float, grouped: bool) -> None:
    rng = np.random.default_rng([round(100 * accuracy), round(100 * gap), grouped])
    units = units_of(np.arange(150).astype(object) // 5 if grouped else None, 150)
    rounds, covered = 300, 0
    for _ in range(rounds):
        first, second = two_models(rng, units, accuracy, gap, 0.6)
        low, high = hits_interval(first - second, units, ALONE)
        assert -1 <= low < high <= 1
        covered += low <= gap <= high
    assert covered / rounds >= 0.92


def test_two_models_that_never_differ_still_have_an_interval() -> None:
    low, high = hits_interval(np.zeros(200), units_of(None, 200), ALONE)
    assert low == -high
    assert high == pytest.approx(1.96**2 / (200 + 1.96**2), rel=0.01)  # Tango's and Newcombe's


def tango(only_first: int, only_second: int, n: int) -> list[float]:
    """Tango's score interval (1998): where the score test of a difference d just rejects, d = -1 to 1."""

    def score(d: float) -> float:
        b = (2 * n - only_first + only_second) * d - only_first - only_second
        q = (math.sqrt(b * b + 8 * n * only_second * d * (1 - d)) - b) / (4 * n)
        return (only_first - only_second - n * d) / math.sqrt(n * (2 * q + d * (1 - d)))

    value = (only_first - only_second) / n
    return [
        brentq(lambda d: score(d) - 1.959964, -0.999999, value + 1e-9),
        brentq(lambda d: score(d) + 1.959964, value - 1e-9, 0.999999),
    ]


@pytest.mark.parametrize(
    ("first", "second", "n"), [(12, 2, 50), (30, 10, 200), (5, 5, 100), (3, 0, 60), (40, 38, 1000)]
)
def test_without_groups_the_interval_is_near_tangos(first: int, second: int, n: int) -> None:
    differences = np.array([1.0] * first + [-1.0] * second + [0.0] * (n - first - second))
    low, high = tango(first, second, n)
    found = hits_interval(differences, units_of(None, n), ALONE)
    assert found == pytest.approx((low, high), abs=0.12 * (high - low))


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_intervals_of_sets_hold_the_difference_of_the_recipes(runs: int) -> None:
    """Each run has an effect of its own seed and of each image; plain paired intervals forget the seed."""
    rng = np.random.default_rng(runs)
    units, rounds, covered, plain, loss_covered = units_of(None, 150), 300, 0, 0, 0
    for _ in range(rounds):
        image = rng.standard_normal(150)
        seeds = 0.25 * rng.standard_normal((2 * runs, 1))
        noise = rng.standard_normal((2 * runs, 150))
        scores = image + seeds + 0.7 * noise + 1.2
        hits = (scores > 0).astype(float)
        gaps = hits[:runs].mean(0) - hits[runs:].mean(0)
        spread = split_variance(hits[:runs], hits[runs:], units)
        low, high = hits_interval(gaps, units, spread)
        covered += low <= 0 <= high
        low, high = hits_interval(gaps, units, ALONE)
        plain += low <= 0 <= high
        spread = split_variance(scores[:runs], scores[runs:], units)
        low, high = loss_interval(scores[:runs].mean(0) - scores[runs:].mean(0), units, spread)
        loss_covered += low <= 0 <= high
    assert covered / rounds >= 0.92
    assert loss_covered / rounds >= 0.92
    assert plain / rounds < 0.9  # what forgetting the seeds would cost


def test_the_variance_is_split_as_it_was_made() -> None:
    rng = np.random.default_rng(0)
    found = []
    units = units_of(None, 200)
    for _ in range(200):
        scores = 0.1 * rng.standard_normal((8, 1)) + rng.standard_normal(200) + 0.5 * rng.standard_normal((8, 200))
        found.append(split_variance(scores[:4], scores[4:], units)[:2])
    sample, seed = np.mean(found, 0)
    assert sample == pytest.approx(2 * 0.5**2 / 4 / 200, rel=0.05)
    assert seed == pytest.approx(2 * 0.1**2 / 4, rel=0.15)  # never below 0, so a little high
    with pytest.raises(UsageError, match="at least two runs on each side"):
        split_variance(scores[:1], scores[1:], units)


# Runs


class FakeRun(SimpleNamespace):
    """What a comparison reads of a Run."""

    def predictions(self, part: str) -> pd.DataFrame:
        frame: pd.DataFrame = self.frame
        return frame[frame["part"] == part].reset_index(drop=True)


def make_run(
    folder: Path,
    probability: np.ndarray,
    truth: np.ndarray,
    *,
    part: str = "test",
    images: range | None = None,
    classes: tuple[str, ...] = CLASSES,
    groups: Any = None,
    recipe: Recipe | None = None,
) -> FakeRun:
    count = len(truth)
    hashes = [f"{number * 2**70:032x}" for number in (images or range(1, count + 1))]
    labels = [CLASSES[place] if place >= 0 else None for place in truth]
    columns = {"source": hashes, "hash": hashes, "label": labels, "part": part, "group": groups}
    order = [CLASSES.index(name) if name in CLASSES else 0 for name in classes]
    frame = pd.DataFrame(
        {
            "part": part,
            "sample": range(count),
            "hash": hashes,
            "label": labels,
            "probability": list(probability[:, order]),
        }
    )
    return FakeRun(
        path=folder,
        classes=classes,
        table=Table(make_samples(columns, count), classes),
        evaluations={part: {}},
        frame=frame,
        recipe=recipe or Recipe(),
        task=SimpleNamespace(name="classification"),
    )


def answers(truth: np.ndarray, right: np.ndarray, confidence: float = 0.8) -> np.ndarray:
    """Probabilities [N, 3] of a model that is right where `right` is."""
    predicted = np.where(right, truth, (truth + 1) % 3)
    return np.where(np.arange(3) == predicted[:, None], confidence, (1 - confidence) / 2)


TRUTH = np.arange(200) % 3


def pair(tmp_path: Path, only_first: int, only_second: int, **options: Any) -> tuple[FakeRun, FakeRun]:
    """Two runs, of which each alone is right on so many of 200 images; both are on all others but 20."""
    one, other = np.ones(200, bool), np.ones(200, bool)
    one[:20] = other[:20] = False
    other[20 : 20 + only_first] = False
    one[100 : 100 + only_second] = False
    return (
        make_run(tmp_path / "one", answers(TRUTH, one), TRUTH, **options),
        make_run(tmp_path / "other", answers(TRUTH, other), TRUTH, **options),
    )


def test_a_real_difference_is_called_better(tmp_path: Path) -> None:
    one, other = pair(tmp_path, 30, 6)
    found = compare_runs([one], [other], "test")
    gap = found.figures["accuracy"].difference
    assert (found.n, found.table, gap.value) == (200, (144, 30, 6, 20), pytest.approx(24 / 200))
    assert found.figures["accuracy"].p == pytest.approx(binomtest(6, 36).pvalue)
    assert found.mcnemar == found.figures["accuracy"].p
    assert (found.better, gap.low > 0) == ("first", True)
    ends = f"{100 * gap.low:.1f} to {100 * gap.high:.1f}"
    assert found.sentence == (
        f"one is better: it gets 12.0 points more of the images right than other (95 % interval {ends}), which is more "
        "than chance explains (p < 0.001)."
    )
    turned = compare_runs([other], [one], "test")
    assert turned.better == "second"
    assert turned.sentence == found.sentence
    assert turned.figures["accuracy"].difference.low == pytest.approx(-gap.high)
    assert json.loads(json.dumps(found.to_json()))["figures"]["accuracy"]["difference"]["value"] == gap.value


@pytest.mark.parametrize("differ", [(0, 1), (3, 0), (5, 0), (6, 0), (14, 10), (30, 18), (30, 17), (30, 6), (0, 12)])
def test_better_is_said_only_where_the_interval_excludes_zero_and_the_test_agrees(
    tmp_path: Path, differ: tuple[int, int]
) -> None:
    found = compare_runs(*([run] for run in pair(tmp_path, *differ)), "test")
    gap, p = found.figures["accuracy"].difference, found.figures["accuracy"].p
    said = " is better" in found.sentence.split("; the probabilities of")[0]
    assert said == (gap.low > 0 or gap.high < 0) == (found.better is not None)
    assert not said or p <= 0.05
    assert said or found.sentence.startswith("No difference is shown: ")


def test_what_is_no_difference_is_said_without_signs(tmp_path: Path) -> None:
    one, other = pair(tmp_path, 14, 10)
    found = compare_runs([one], [other], "test")
    gap = found.figures["accuracy"].difference
    said = (
        "No difference is shown: one gets 2.0 points more of these images right than other, which chance alone could "
        f"explain (p = {found.figures['accuracy'].p:.3f}); in truth the difference may be anything from "
        f"{-100 * gap.low:.1f} points in favor of other to {100 * gap.high:.1f} points in favor of one (95 % interval)."
    )
    assert found.sentence.partition("; the probabilities")[0].rstrip(".") == said.rstrip(".")
    turned = compare_runs([other], [one], "test").sentence
    assert "one gets 2.0 points more of these images right than other" in turned
    assert (
        f"from {100 * gap.high:.1f} points in favor of one to {-100 * gap.low:.1f} points in favor of other" in turned
    )
    even = compare_runs(*([run] for run in pair(tmp_path, 10, 10)), "test").sentence
    assert "one and other get equally many of these images right (p = 1.000)" in even
    edge = Estimate(0.02, 0.0, 0.05, 0.95, 200, "paired over images")
    barely = _say_open(Difference(edge, edge, edge, 0.06, ALONE), {"first": "one", "second": "other"})
    assert "may be anything from none at all to 5.0 points in favor of one (95 % interval)" in barely


def test_groups_are_flipped_as_wholes_and_mcnemar_is_not_shown(tmp_path: Path) -> None:
    groups = [f"g{row // 10}" for row in range(200)]
    one, other = pair(tmp_path, 30, 6, groups=groups)  # the 30 are those of three groups
    found = compare_runs([one], [other], "test")
    assert found.mcnemar is None
    assert found.figures["accuracy"].difference.method == "paired over 20 groups"
    assert found.figures["accuracy"].p == pytest.approx(sign_flip_by_hand(np.array([10, 10, 10, -6])))
    assert found.better is None


@pytest.mark.parametrize("count", [5, 9])
def test_few_groups_are_groups_too(tmp_path: Path, count: int) -> None:
    one, other = pair(tmp_path, 60, 0, groups=[f"g{row % count}" for row in range(200)])
    found = compare_runs([one], [other], "test")
    assert found.mcnemar is None
    accuracy = found.figures["accuracy"]
    assert accuracy.difference.method.startswith(f"paired over {count} group")
    assert accuracy.p == 2 / 2**count
    assert (found.better is not None) == (count > 5)  # of five groups all the same way has a chance of 1 in 16
    assert any("can hardly be told from so few" in note for note in found.notes)
    for figure in (accuracy.first, accuracy.difference, found.figures["log_loss"].difference):
        assert figure.high - figure.low > 0.02


@pytest.mark.parametrize(("count", "words"), [(1, "of one group only"), (2, "of 2 groups only")])
def test_images_of_one_or_two_groups_are_counted_singly_and_a_note_says_so(
    tmp_path: Path, count: int, words: str
) -> None:
    one, other = pair(tmp_path, 60, 0, groups=[f"g{row % count}" for row in range(200)])
    found = compare_runs([one], [other], "test")
    assert found.mcnemar is None
    assert found.figures["accuracy"].difference.method.startswith("paired over images")
    assert any(words in note and "counted as if each stood alone" in note for note in found.notes)


@pytest.mark.parametrize("groups", [3, 6, 9])
def test_equally_good_models_on_few_groups_are_seldom_told_apart(groups: int) -> None:
    rng = np.random.default_rng(groups)
    units, rounds, rejected, covered = units_of(np.repeat(np.arange(groups), 20).astype(object), 20 * groups), 300, 0, 0
    for _ in range(rounds):
        drift = rng.standard_normal(groups)[units.index] / 2  # a group suits one model more than the other
        first, second = (rng.random(20 * groups) < 1 / (1 + np.exp(-1.5 - sign * drift)) for sign in (1, -1))
        gaps = first.astype(float) - second
        rejected += sign_flip(gaps, units) <= 0.05
        low, high = hits_interval(gaps, units, ALONE)
        covered += low <= 0 <= high
    assert rejected / rounds <= 0.06
    assert covered / rounds >= 0.93


def sign_flip_by_hand(sums: np.ndarray) -> float:
    flipped = [abs(np.dot(signs, sums)) for signs in product((-1, 1), repeat=len(sums))]
    return float(np.mean(np.array(flipped) >= abs(sums.sum())))


def test_images_are_matched_by_hash_and_labels_by_name(tmp_path: Path) -> None:
    one = make_run(tmp_path / "one", answers(TRUTH, TRUTH < 2), TRUTH)
    flipped, places = np.arange(199, -1, -1), range(1, 201)
    other = make_run(
        tmp_path / "other", answers(TRUTH, TRUTH < 1)[flipped], TRUTH[flipped],
        images=[places[row] for row in flipped], classes=("c", "a", "b"),  # type: ignore[arg-type]
    )  # fmt: skip
    found = compare_runs([one], [other], "test")
    assert (found.n, found.table) == (200, (67, 67, 0, 66))
    shifted = make_run(tmp_path / "shifted", answers(TRUTH, TRUTH < 1)[:90], TRUTH[:90], images=range(121, 211))
    labels = compare_runs([one], [shifted], "test")
    # Image 121 is of class 0 in the first run, whose row 120 it is, and row 0 in the other; all agree.
    assert labels.n == 80
    assert "All have 80 images in common, of 90 to 200 in their test parts." in labels.notes
    odd = make_run(tmp_path / "odd", answers(TRUTH, TRUTH < 1), np.where(np.arange(200) < 5, (TRUTH + 1) % 3, TRUTH))
    relabeled = compare_runs([one], [odd], "test")
    assert relabeled.n == 195
    assert "5 more images have other labels in one run than in another and are left out." in relabeled.notes


def test_what_cannot_be_compared_is_refused_in_a_sentence(tmp_path: Path) -> None:
    one, other = pair(tmp_path, 30, 6)
    with pytest.raises(
        UsageError, match=r"one has not been evaluated on its validation part; do so first: tenfold eval"
    ):
        compare_runs([one], [other])
    one.evaluations = {}
    with pytest.raises(UsageError, match=r"first, which is a look at it: tenfold evaluate .*one --part test$"):
        compare_runs([one], [other], "test")
    one, other = pair(tmp_path, 30, 6)
    with pytest.raises(UsageError, match="part must be one of validation, test, not 'train'"):
        compare_runs([one], [other], "train")
    apart = make_run(tmp_path / "apart", answers(TRUTH, TRUTH < 1), TRUTH, images=range(900, 1100))
    with pytest.raises(UsageError, match="at least two labelled test images in common to be compared, and have 0"):
        compare_runs([one], [apart], "test")
    strange = make_run(tmp_path / "strange", answers(TRUTH, TRUTH < 1), TRUTH, classes=("a", "b", "d"))
    with pytest.raises(UsageError, match="must have the same classes to be compared, and only one of them has c, d"):
        compare_runs([one], [strange], "test")
    with pytest.raises(UsageError, match="give the same answers to all images"):
        compare_runs([one], [one], "test")
    third = make_run(tmp_path / "third", answers(TRUTH, TRUTH < 2), TRUTH)
    with pytest.raises(UsageError, match="at least two runs on each side"):
        compare_runs([one], [other, third], "test")
    twice = make_run(tmp_path / "twice", answers(TRUTH, TRUTH < 2), TRUTH)  # a copy of the third under another name
    for sides in (([one, other], [third, twice]), ([third, twice], [one, other])):
        with pytest.raises(UsageError, match=r"third and .*twice give the same answers; each must be a training of it"):
            compare_runs(*sides, "test")
    with pytest.raises(
        UsageError, match=r"other and .*other give the same answers; each must be a training of its own"
    ):
        compare_runs([one, other], [other, third], "test")  # of both sides it would halve the difference
    with pytest.raises(UsageError, match="at least one run on each side"):
        compare_runs([one], [], "test")
    with pytest.raises(UsageError, match="level must lie between 0 and 1"):
        compare_runs([one], [other], "test", level=1)


def test_sets_of_seeds_say_what_is_seed_and_what_is_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)

    def runs(name: str, accuracies: tuple[float, ...], **changes: Any) -> list[FakeRun]:
        return [
            make_run(
                tmp_path / f"{name}{seed}", answers(TRUTH, rng.random(200) < accuracy), TRUTH,
                recipe=Recipe().change(train={"seed": seed, **changes}),
            )
            for seed, accuracy in enumerate(accuracies)
        ]  # fmt: skip

    steady, shaky = runs("a", (0.9, 0.9, 0.9), lr=0.1), runs("b", (0.5, 0.75, 0.95))
    found = compare_runs(steady, shaky, "test")
    variance = found.figures["accuracy"].variance
    assert variance.seed > 5 * variance.sample
    assert found.better is None  # the seeds of the second recipe differ too much to tell
    assert found.figures["accuracy"].p > 0.05  # of flipped signs, which know no seeds, it would be 2e-16
    assert f"which chance alone could explain (p = {found.figures['accuracy'].p:.3f})" in found.sentence
    assert found.figures["accuracy"].first.method == "mean of 3 runs, Wilson over images and seeds"
    assert found.figures["log_loss"].second.method == "mean of 3 runs, bootstrap over images and seeds"
    assert (found.table, found.mcnemar) == (None, None)
    share = round(100 * variance.seed / (variance.seed + variance.sample))
    assert f"{share} % is due to the seed and {100 - share} % to the images" in found.notes[-1]
    clear = compare_runs(steady, runs("c", (0.6, 0.61, 0.6)), "test")
    assert clear.better == "first"
    assert clear.sentence.startswith("a0 (mean of 3 runs) is better")
    mixed = compare_runs(steady[:2] + runs("d", (0.9,)), shaky, "test")
    assert any("differ in more than the seed" in note for note in mixed.notes)


def test_where_the_test_and_the_interval_disagree_chance_is_not_said_to_explain_it(tmp_path: Path) -> None:
    """Six groups of ten, the first better by 1, 1, 1, 1, 1 and 6 images: p = 1 in 32, and the interval holds zero."""
    truth, groups = np.arange(60) % 3, [f"g{row // 10}" for row in range(60)]
    one, other = np.ones(60, bool), np.ones(60, bool)
    for group, count in enumerate((1, 1, 1, 1, 1, 6)):
        other[10 * group : 10 * group + count] = False
    sides = [make_run(tmp_path / name, answers(truth, right), truth, groups=groups) for name, right in
             (("one", one), ("other", other))]  # fmt: skip
    found = compare_runs(sides[:1], sides[1:], "test")
    assert found.figures["accuracy"].p == pytest.approx(2 / 2**6)
    assert found.better is None
    said = found.sentence.split("; in truth")[0]
    assert said == (
        "No difference is shown: one gets 18.3 points more of these images right than other, but the groups differ too "
        "much and are too few to tell whether that is more than chance"
    )
    wide = found.figures["accuracy"]
    names = {"first": "one", "second": "other"}
    alone = wide._replace(difference=replace(wide.difference, method="paired over images"))
    assert "the images on which they differ are too few" in _say_open(alone, names)
    assert "the seeds differ too much" in _say_open(wide._replace(variance=Spread(0.0, 0.1, 2.0)), names)


@pytest.mark.parametrize("runs", [2, 3, 5])
def test_equally_good_recipes_are_seldom_told_apart_by_the_luck_of_their_seeds(runs: int) -> None:
    rng, units, rounds, flipped, told, held, plain = np.random.default_rng(runs), units_of(None, 200), 200, 0, 0, 0, 0
    truth = np.zeros(200, np.int64)
    for _ in range(rounds):
        image, seeds = rng.standard_normal(200), 0.4 * rng.standard_normal((2 * runs, 1))
        hits = image + seeds + 0.7 * rng.standard_normal((2 * runs, 200)) + 1.2 > 0
        sides = np.stack([answers(truth, right) for right in hits])
        found = paired_differences(truth, (sides[:runs], sides[runs:]), units)["accuracy"]
        gaps = hits[:runs].mean(0) - hits[runs:].mean(0)
        flipped += sign_flip((gaps * runs**2).round(), units) <= 0.05
        told += found.p <= 0.05
        wanted = NormalDist().cdf(1.2 / math.sqrt(1 + 0.4**2 + 0.7**2))
        held += found.first.low <= wanted <= found.first.high
        simple = share(hits[:runs].mean(0), units, 0.95)
        plain += simple.low <= wanted <= simple.high
    assert told / rounds <= 0.07
    assert flipped / rounds > 0.2  # what the flipped signs alone would tell apart
    assert held / rounds >= (0.85 if runs == 2 else 0.92)  # two runs hardly know how their seeds differ
    assert plain / rounds < 0.65  # what a side's own interval held without its seeds


def test_what_one_run_knows_to_belong_together_does_so_for_all(tmp_path: Path) -> None:
    """The first knows of one pair of copies; the second, whose images were checked, of rows of ten shots."""
    one, other = pair(tmp_path, 30, 6)
    one.table = one.table.assign(group=["alike-000000000000"] * 2 + [None] * 198)
    other.table = other.table.assign(group=[f"g{row // 10}" for row in range(200)])
    for sides in ((one, other), (other, one)):
        found = compare_runs(*([run] for run in sides), "test")
        assert found.figures["accuracy"].difference.method == "paired over 20 groups"


def test_more_looks_than_runs_are_told_of(tmp_path: Path) -> None:
    one, other = pair(tmp_path, 30, 6)
    hashes = one.table.samples["hash"].tolist()
    for name in ("one", "other"):
        record_look(ledger_path(one.path), one.path, hashes, name)
    assert not any("looks" in note for note in compare_runs([one], [other], "test").notes)
    record_look(ledger_path(one.path), one.path, hashes, "third")
    assert any("have had 3 looks" in note for note in compare_runs([one], [other], "test").notes)
    assert not any("looks" in note for note in compare_runs(*validated(tmp_path), "validation").notes)
    assert len(ledger_path(one.path).read_bytes().splitlines()) == 3  # comparing is none


def validated(tmp_path: Path) -> list[list[FakeRun]]:
    """The same two runs, evaluated on validation images."""
    return [[run] for run in pair(tmp_path, 30, 6, part="validation")]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("looks", [1, 3])
def test_a_sides_own_figures_are_those_of_an_evaluation(tmp_path: Path, looks: int, grouped: bool) -> None:
    """At the level that all looks at the test part need; the paired difference stays at its own."""
    groups = [f"g{row // 4}" for row in range(200)] if grouped else None
    one, other = pair(tmp_path, 30, 6, groups=groups)
    for number in range(looks):
        record_look(ledger_path(one.path), one.path, one.table.samples["hash"].tolist(), f"answers {number}")
    found = compare_runs([one], [other], "test").figures
    names = None if groups is None else np.array(groups, object)
    for side in ("first", "second"):
        run = {"first": one, "second": other}[side]
        probability = np.array(run.frame["probability"].tolist())
        figures, _ = classification_findings(TRUTH, probability, CLASSES, names, looks=looks)
        for name in ("accuracy", "log_loss"):
            shown, wanted = getattr(found[name], side), figures[name]
            assert (shown.low, shown.value, shown.high) == pytest.approx((wanted.low, wanted.value, wanted.high))
            assert (shown.level, shown.n, shown.method) == (wanted.level, wanted.n, wanted.method)
    assert found["accuracy"].first.level == pytest.approx(1 - 0.05 / looks)
    assert found["accuracy"].difference.level == 0.95
    calm = compare_runs(*validated(tmp_path)).figures["accuracy"]
    assert calm.first.level == 0.95
    if not grouped:
        assert found["accuracy"].difference == calm.difference


# The command


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeRun]:
    one, other = pair(tmp_path, 30, 6)
    runs = {"one": one, "other": other}
    monkeypatch.setattr("tenfold.run.load_run", lambda path: runs[Path(path).name])
    return runs


def test_the_command_prints_the_table_and_the_sentence(
    opened: dict[str, FakeRun], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", "one", "other", "--part", "test"]) == 0
    out, err = capsys.readouterr()
    assert "200 test images" in out
    assert "12.0 (" in out.replace("\u00a0", " ")
    assert (
        "Both are right on 144 of the images, one alone on 30, other alone on 6, neither on 20 (McNemar's exact test: "
        "p = 0.0001)."
    ) in out
    assert "one is better: it gets 12.0 points more of the images right than other" in out
    assert "With another seed either recipe may come out otherwise" in err
    assert main(["compare", "one", "other", "--part", "test", "--level", "90%"]) == 0
    assert "(90 % interval" in capsys.readouterr().out
    assert main(["compare", "one", "other", "--part", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["better"] == "first"


def test_the_command_wants_two_runs_or_two_sets(opened: dict[str, FakeRun], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "one", "--part", "test"]) == 2
    assert main(["compare", "one", "other", "one", "--part", "test"]) == 2
    assert "takes two runs, or two sets of runs with --with between them, not 3 runs" in capsys.readouterr().err
    assert main(["compare", "one", "--with", "other", "--part", "test"]) == 0
    assert main(["compare", "one", "--with", "other", "one", "--part", "test"]) == 2
    assert main(["compare", "one", "other"]) == 2
    assert "has not been evaluated on its validation part" in capsys.readouterr().err
