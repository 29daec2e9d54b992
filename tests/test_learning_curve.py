"""Would more images help: subsets that grow, and a curve that knows how little it knows."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tenfold.__main__ import main
from tenfold.errors import UsageError
from tenfold.evaluate import fit_learning_curve, say_gain
from tenfold.evaluate.learning_curve import Point
from tenfold.images.readers import read_table
from tenfold.recipe import Recipe
from tenfold.split import shrink_table, split_table
from tenfold.train import train_subsets
from tests.toys import write_shapes


def points_of(a: float, b: float, c: float, sizes=(100, 200, 400, 800), n: int = 2_000, seed: int = 0) -> list[Point]:
    """Trainings whose errors follow a + b (images / 100)^-c, but for the chance of n validation images."""
    generator = np.random.default_rng(seed)
    errors = [a + b * (size / 100) ** -c for size in sizes]
    return [
        Point(size, n - int(generator.binomial(n, error)), n, seed) for size, error in zip(sizes, errors, strict=True)
    ]


@pytest.mark.parametrize(("a", "b", "c"), [(0.0, 0.5, 0.5), (0.05, 0.4, 0.4), (0.2, 0.3, 0.8), (0.0, 0.6, 0.15)])
def test_the_band_holds_the_truth(a, b, c):
    truth = 1 - (a + b * 16**-c)
    held = 0
    for seed in range(40):
        found = fit_learning_curve(points_of(a, b, c, seed=seed)).accuracy(1600)
        held += found.low <= truth <= found.high
    assert held >= 35  # of 40 at 95 %


def test_noise_free_points_are_followed():
    curve = fit_learning_curve(
        [Point(n, round(1e6 * (1 - 0.5 * (n / 100) ** -0.5)), 10**6, 0) for n in (100, 200, 400)]
    )
    assert curve.accuracy(1600).value == pytest.approx(1 - 0.5 / 4, abs=0.025)  # floors are possible too
    assert curve.gain(1600).value == pytest.approx(0.125, abs=0.025)


def test_a_flat_curve_says_that_more_images_hardly_help():
    found = fit_learning_curve(points_of(0.1, 0.0, 1.0, n=20_000))
    assert found.gain(1600).high < 0.01
    assert "would hardly help" in say_gain(found)


def test_a_steep_curve_says_that_more_images_would_help():
    found = fit_learning_curve(points_of(0.0, 0.6, 0.5, n=20_000))
    assert "more images would help" in say_gain(found)
    assert "(1,600 instead of 800)" in say_gain(found)


def test_few_validation_images_leave_it_open():
    found = fit_learning_curve(points_of(0.05, 0.3, 0.4, n=30))
    assert found.gain(1600).high - found.gain(1600).low > 0.02


def test_seeds_that_differ_widen_the_band():
    calm = [Point(size, hits, 1000, seed) for size, hits in ((100, 600), (200, 700), (400, 780)) for seed in (0, 1)]
    wild = [Point(point.images, point.hits + (60 if point.seed else -60), 1000, point.seed) for point in calm]
    one, other = (fit_learning_curve(points).accuracy(800) for points in (calm, wild))
    assert other.high - other.low > one.high - one.low


def test_perfect_runs_have_a_band_of_some_width():
    found = fit_learning_curve([Point(size, 50, 50, 0) for size in (10, 20, 40)]).accuracy(80)
    assert 0 < found.low < found.high <= 1


def test_what_makes_no_curve_is_refused():
    with pytest.raises(UsageError, match="at least three different numbers"):
        fit_learning_curve([Point(10, 5, 10, 0), Point(20, 6, 10, 0)])
    with pytest.raises(UsageError, match="0 <= hits <= n"):
        fit_learning_curve([Point(10, 11, 10, 0), Point(20, 6, 10, 0), Point(40, 6, 10, 0)])


def test_shares_are_nested_and_keep_the_balance(tmp_path):
    table = split_table(read_table(write_shapes(tmp_path / "shapes", 20)))
    parts = [shrink_table(table, share, seed=3) for share in (0.25, 0.5, 1.0)]
    hashes = [set(part.part("train").samples["hash"]) for part in parts]
    assert hashes[0] < hashes[1] < hashes[2] == set(table.part("train").samples["hash"])
    counts = np.bincount(parts[1].part("train").labels())
    assert counts.tolist() == np.ceil(np.bincount(table.part("train").labels()) / 2).tolist()
    assert all(len(part.part("validation")) == len(table.part("validation")) for part in parts)
    with pytest.raises(UsageError, match="share must be above 0"):
        shrink_table(table, 0.0)


def test_a_curve_needs_a_validation_part(tmp_path):
    table = split_table(read_table(write_shapes(tmp_path / "shapes", 6)), validation=0)
    with pytest.raises(UsageError, match="needs a validation part"):
        train_subsets(table, Recipe(), tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_the_command_trains_and_says(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 16)
    options = "--size 16 --model plain --model.width 4 --epochs 1 --train.precision float32 --train.threads 1".split()
    command = ["curve", "shapes", "--steps", "3", "--seeds", "1", "--out", "more", *options]
    assert main([*command, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert len(found["points"]) == len(found["runs"]) == 3
    sizes = [point["images"] for point in found["points"]]
    assert sizes == sorted(sizes)
    assert found["double"] == 2 * sizes[-1]
    assert found["gain"]["low"] <= found["gain"]["value"] <= found["gain"]["high"]
    assert json.loads((tmp_path / "more" / "curve.json").read_text("utf-8"))["says"] == found["says"]
    assert main(command) == 0
    assert found["says"] in capsys.readouterr().out
    assert main(["curve", "shapes", "--steps", "2"]) == 2
