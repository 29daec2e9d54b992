"""Abstention: limits against slow enumeration, the promise in simulation, and what `tenfold predict` makes of it."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from tenfold.__main__ import main
from tenfold.errors import UsageError
from tenfold.estimate import units_of
from tenfold.metrics import abstention
from tenfold.metrics.abstention import (
    Step,
    accuracy_by_coverage,
    answer_steps,
    choose_step,
    images_needed,
    supported_error,
)
from tenfold.train import train_model
from tests.toys import quick_recipe, shapes_table


@pytest.mark.parametrize(("error", "needed"), [(0.01, 299), (0.02, 149), (0.05, 59), (0.1, 29), (0.5, 5)])
def test_the_rule_of_three(error: float, needed: int) -> None:
    """So many right answers, and no fewer, put the exact upper end at the error or below."""
    assert images_needed(error) == needed
    upper = [1 - 0.05 ** (1 / count) if count else 1.0 for count in (needed - 1, needed)]
    assert upper[1] <= error + 1e-12
    assert upper[0] > error
    right = np.ones(needed, bool)
    assert choose_step(answer_steps(np.linspace(1, 0.5, needed), right), error) is not None
    assert choose_step(answer_steps(np.linspace(1, 0.5, needed - 1), right[1:]), error) is None


@pytest.mark.parametrize(("count", "error"), [(7, 0.3), (400, 0.02), (3000, 0.1), (50_000, 0.1), (5, 0.9)])
def test_probabilities_are_the_binomial_distributions(count: int, error: float) -> None:
    found = abstention._binomial(count, error)
    assert found == pytest.approx(stats.binom.pmf(np.arange(len(found)), count, error), rel=1e-6, abs=1e-13)
    assert found.sum() == pytest.approx(1)


def test_the_chance_that_any_passes_is_that_of_all_outcomes() -> None:
    counts, limits, error = [3, 6, 8, 12], [-1, 0, 1, 2], 0.3
    chance = 0.0
    for outcome in itertools.product((0, 1), repeat=12):
        wrong = [sum(outcome[:count]) for count in counts]
        if any(found <= limit for found, limit in zip(wrong, limits, strict=True)):
            chance += error ** sum(outcome) * (1 - error) ** (12 - sum(outcome))
    assert abstention._any_passes(counts, limits, error) == pytest.approx(chance)


@pytest.mark.parametrize(("count", "error"), [(149, 0.02), (300, 0.02), (551, 0.05), (2000, 0.1)])
def test_limits_are_as_large_as_the_level_allows(count: int, error: float) -> None:
    counts = [number for number in abstention._counts(count) if number >= images_needed(error)]
    limits = abstention._limits(counts, error, 0.05)
    assert abstention._any_passes(counts, limits, error) <= 0.05
    plain = [int(stats.binom.ppf(0.05, number, error)) for number in counts]
    assert all(limit <= most for limit, most in zip(limits, plain, strict=True))
    strict = [
        stats.binom.cdf(limit, number, error) if limit >= 0 else 0.0
        for limit, number in zip(limits, counts, strict=True)
    ]
    assert len(counts) == 1 or max(strict) > 0.05 / len(counts)  # kinder than Bonferroni's
    # Clopper and Pearson's upper end says the same as the limit.
    for limit, number in zip(limits, counts, strict=True):
        if limit >= 0:
            assert stats.beta.ppf(0.95, limit + 1, number - limit) <= error + 1e-12


def risks(wrong: Any, error: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coverage, and the true error of the surest images up to it."""
    place = np.linspace(0, 1, 5001)
    chances = wrong(place, error)
    return place, np.cumsum(chances) / np.arange(1, len(place) + 1)


MODELS = {
    "just too bad, however sure": lambda place, error: np.full_like(place, error * 1.001),
    "worse where less sure": lambda place, error: 0.5 * place**3,
    "good up to half": lambda place, error: np.where(place < 0.5, error / 20, 0.3),
    "wrong where it is surest": lambda place, error: np.where(place < 0.1, 4 * error, 0.7 * error),
    "up and down": lambda place, error: error * (1 + 0.9 * np.sin(12 * place)),
}


@pytest.mark.parametrize("name", MODELS)
def test_the_promise_is_kept_nineteen_times_of_twenty(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, error, count, rounds = np.random.default_rng(1), 0.05, 300, 500
    same = abstention._limits([number for number in abstention._counts(count) if number >= 59], error, 1 - 0.95)
    monkeypatch.setattr(abstention, "_limits", lambda counts, error, chance: same)  # the counts are always these
    place, risk = risks(MODELS[name], error)
    broken = answered = 0
    for _ in range(rounds):
        drawn = rng.random(count)
        right = rng.random(count) >= MODELS[name](drawn, error)
        step = choose_step(answer_steps(1 - drawn, right), error)
        if step is not None:
            answered += 1
            broken += np.interp(1 - step.confidence, place, risk) > error
    assert broken <= 0.065 * rounds  # 0.05 and a standard error and a half
    assert answered > 0.8 * rounds or name not in ("worse where less sure", "good up to half")


def test_steps_are_few_and_count_rightly() -> None:
    rng = np.random.default_rng(2)
    sure = rng.random(2000).round(2)  # many ties
    right = rng.random(2000) < sure
    steps = answer_steps(sure, right)
    assert steps[-1] == Step(sure.min(), 2000, int((~right).sum()))
    assert len(steps) <= 101
    assert len(answer_steps(rng.random(100_000), np.ones(100_000, bool))) < 200
    for step in steps:
        assert step.answered == (sure >= step.confidence).sum()
        assert step.wrong == (~right[sure >= step.confidence]).sum()
    assert [step.answered for step in steps] == sorted({step.answered for step in steps})


def test_of_a_group_one_image_counts() -> None:
    groups = np.array([*np.repeat(["a", "b", "c"], 40), None, None, math.nan], object)
    steps = answer_steps(np.linspace(1, 0.5, 123), np.ones(123, bool), groups)
    assert steps[-1].answered == 3 + 3


def test_the_next_error_that_is_supported() -> None:
    steps = answer_steps(np.linspace(1, 0.5, 60), np.ones(60, bool))
    assert choose_step(steps, 0.02) is None
    assert supported_error(steps, 0.02) == 0.05
    assert supported_error(answer_steps(np.ones(2), np.ones(2, bool)), 0.02) is None
    for wrong in (0, 1, -0.1):
        with pytest.raises(UsageError, match=r"max_error must lie between 0 and 1, for example 0\.02, not"):
            choose_step(steps, wrong)


def test_accuracy_by_coverage_against_sorting() -> None:
    rng = np.random.default_rng(3)
    sure = rng.random(230)
    right = (rng.random(230) < sure).astype(float)
    curve = accuracy_by_coverage(sure, right, units_of(None, 230), 0.95)
    assert len(curve) == 20
    ranked = sorted(zip(sure, right, strict=True), reverse=True)
    for point in curve:
        count = point["accuracy"].n
        assert point["coverage"] == count / 230
        assert point["confidence"] == ranked[count - 1][0]
        assert point["accuracy"].value == pytest.approx(np.mean([hit for _, hit in ranked[:count]]))
        assert point["accuracy"].low < point["accuracy"].high
    assert len(accuracy_by_coverage(np.ones(3), np.ones(3), units_of(None, 3), 0.95)) == 3


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short training on three shapes: 18 validation images."""
    folder = tmp_path_factory.mktemp("abstention")
    train_model(shapes_table(folder / "data"), quick_recipe(), folder / "run")
    return folder / "run"


def test_training_leaves_what_predict_needs(run: Path) -> None:
    fitted = json.loads((run / "model.json").read_text())["calibration"]
    assert fitted["part"] == "validation"
    assert fitted["n"] == fitted["steps"][-1][1] == 18
    assert 0.05 <= fitted["temperature"] <= 20


def pretend(run: Path, steps: list[list[float]]) -> None:
    card = json.loads((run / "model.json").read_text())
    card["calibration"] |= {"steps": steps, "n": steps[-1][1]}
    (run / "model.json").write_text(json.dumps(card))


def test_predict_says_that_it_does_not_know(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = str(run.parent / "data" / "disc")
    assert main(["predict", str(run), photos, "--json"]) == 0
    every = json.loads(capsys.readouterr().out)["images"]
    middle = float(np.median([image["probability"] for image in every]))
    pretend(run, [[middle, 200, 0], [0.0, 400, 200]])
    assert main(["predict", str(run), photos, "--max-error", "2%", "--top-k", "2", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["max_error"] == 0.02
    assert found["least_confidence"] == middle
    assert f"Answers from a confidence of {middle:.3f} on: 400 validation images support at most 2 % wrong." in err
    assert "They also had a say in what was trained (epoch, temperature, which model)" in err
    known = [image["class"] for image in found["images"]]
    assert known == [image["class"] if image["probability"] >= middle else None for image in every]
    assert None in known
    assert set(known) != {None}
    assert [image["top"][0]["class"] for image in found["images"]] == [image["class"] for image in every]
    main(["predict", str(run), photos, "--max-error", "0.02", "--format", "csv"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["class"] or None for row in rows] == known
    assert all(row["probability"] for row in rows)
    main(["predict", str(run), photos, "--max-error", "2 %"])
    assert capsys.readouterr().out.count("I do not know") == known.count(None)


def test_predict_refuses_what_validation_does_not_support(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = str(run.parent / "data" / "disc")

    def refused(*words: str) -> str:
        assert main(["predict", str(run), photos, "--max-error", *words]) == 2
        return capsys.readouterr().err

    pretend(run, [[0.9, 60, 0], [0.5, 61, 0]])
    assert "--max-error 2 % needs at least 149 validation images, all of them answered rightly" in refused("2%")
    assert f"{run} has 61 validation images; they do support 5 %." in refused("0.02")
    pretend(run, [[0.9, 100, 50], [0.5, 400, 200]])
    assert "too many of the surest answers are wrong; train with a larger validation part." in refused("2%")
    assert "max_error must lie between 0 and 1" in refused("200%")
    assert "must be a share, for example 2% or 0.02, not 'few'" in refused("few")
    card = json.loads((run / "model.json").read_text())
    (run / "model.json").write_text(json.dumps({**card, "calibration": {}}))
    assert "--max-error needs what training measures on a validation part" in refused("2%")
    (run / "model.json").write_text(json.dumps(card))
