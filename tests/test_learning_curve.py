"""Would more images help: subsets that grow, and a curve that knows how little it knows."""

from __future__ import annotations

import json
from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from tenfold.__main__ import main
from tenfold.errors import UsageError
from tenfold.estimate import Estimate, units_of, wilson
from tenfold.evaluate import fit_learning_curve, learning_curve, say_gain
from tenfold.evaluate.learning_curve import Point, images_worth, share_of
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.metrics.intervals import share
from tenfold.recipe import Recipe
from tenfold.run import Run
from tenfold.split import split_table
from tenfold.train import train_subsets
from tenfold.train.subsets import share_tables
from tests.toys import write_shapes


def points_of(a: float, b: float, c: float, sizes=(100, 200, 400, 800), n: int = 2_000, seed: int = 0) -> list[Point]:
    """Trainings whose errors follow a + b (images / 100)^-c, but for the chance of n validation images."""
    generator = np.random.default_rng(seed)
    errors = [a + b * (size / 100) ** -c for size in sizes]
    return [
        Point(size, n - int(generator.binomial(n, error)), n, seed) for size, error in zip(sizes, errors, strict=True)
    ]


def judged_alike(a: float, b: float, c: float, n: int, seed: int, common: float) -> list[Point]:
    """Three trainings at each size, all judged by the same n images, whose hardness makes `common` of an error."""
    generator = np.random.default_rng(seed)
    hardness = generator.normal(size=n)
    points = []
    for number in range(3):
        for size in (100, 200, 400, 800):
            own = np.sqrt(common) * hardness + np.sqrt(1 - common) * generator.normal(size=n)
            hits = n - int(np.sum(own < NormalDist().inv_cdf(a + b * (size / 100) ** -c)))
            points.append(Point(size, hits, n, number))
    return points


@pytest.mark.parametrize(
    ("a", "b", "c"), [(0.0, 0.5, 0.5), (0.0, 0.1, 0.5), (0.05, 0.4, 0.4), (0.2, 0.3, 0.8), (0.0, 0.6, 0.15)]
)
@pytest.mark.parametrize(("n", "common"), [(100, 0.8), (300, 0.5), (1_000, 0.0)])
def test_the_band_holds_the_truth(a, b, c, n, common, monkeypatch):
    for name, count in (("FLOORS", 3), ("EXPONENTS", 3), ("HEIGHTS", 3)):  # a coarser grid is as good, and fast
        monkeypatch.setattr(learning_curve, name, getattr(learning_curve, name)[::count])
    sizes, truth = (800, 1600), [1 - (a + b * (size / 100) ** -c) for size in (800, 1600)]
    held, gained, rounds = np.zeros(2), 0, 60
    for seed in range(rounds):
        curve = fit_learning_curve(judged_alike(a, b, c, n, seed, common))
        bands, gain = [curve.accuracy(size) for size in sizes], curve.gain(1600)
        held += [band.low <= right <= band.high for band, right in zip(bands, truth, strict=True)]
        gained += gain.low <= truth[1] - truth[0] <= gain.high
    assert min(held) >= 0.92 * rounds
    assert gained >= 0.85 * rounds


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
    gain, now, then = found.gain(1600), found.accuracy(800), found.accuracy(1600)
    assert say_gain(found) == (
        "Twice as many training images (1,600 instead of 800) are expected to raise the accuracy by "
        f"{100 * gain.value:.1f} points, from about {100 * now.value:.1f} to {100 * then.value:.1f} %; "
        f"{100 * gain.low:.1f} to {100 * gain.high:.1f} points are possible (95 % band). So more images would help."
    )
    assert then.value - now.value == pytest.approx(gain.value)


def test_the_luck_of_one_training_is_told_where_seeds_show_it():
    """Hits of 1,000 by two seeds: the error's standard deviation is 0.1 of it at each share but the whole."""
    apart = 0.1 * 2**0.5 / 2
    shares = {0.25: 0.4, 0.5: 0.3}
    points = [
        Point(round(800 * share), round(1000 * (1 - error * (1 + sign * apart))), 1000, seed, share=share)
        for share, error in shares.items()
        for seed, sign in enumerate((-1, 1))
    ]
    whole = [Point(800, 780, 1000, seed, share=1.0) for seed in (0, 1)]  # the same images, and the same head
    found = fit_learning_curve(points + whole)
    assert len(found.points) == 5
    error = 1 - found.accuracy(1600).value
    assert found.luck(1600) == pytest.approx(1.96 * 0.1 * error, rel=0.03)
    assert f"band), and one training may differ from that by {100 * found.luck(1600):.1f}. So" in say_gain(found)
    assert fit_learning_curve([*points, replace(whole[0], hits=770), whole[1]]).luck(1600) < found.luck(1600)


def test_few_validation_images_leave_it_open():
    found = fit_learning_curve(points_of(0.05, 0.3, 0.4, n=30))
    assert found.gain(1600).high - found.gain(1600).low > 0.02
    assert "So it is open whether more images help much" in say_gain(found)


def test_seeds_that_differ_widen_the_band():
    calm = [Point(size, hits, 1000, seed) for size, hits in ((100, 600), (200, 700), (400, 780)) for seed in (0, 1)]
    wild = [Point(point.images, point.hits + (60 if point.seed else -60), 1000, point.seed) for point in calm]
    one, other = (fit_learning_curve(points).accuracy(800) for points in (calm, wild))
    assert other.high - other.low > one.high - one.low


def test_seeds_that_differ_where_images_are_few_leave_the_last_points_their_weight():
    """Errors that spread by a fifth of themselves: and the curve still ends at the small ones."""
    errors = {40: (0.30, 0.45), 75: (0.12, 0.18), 150: (0.05, 0.07), 300: (0.019, 0.021)}
    points = [Point(size, round(10_000 * (1 - error)), 10_000, seed)
              for size, pair in errors.items() for seed, error in enumerate(pair)]  # fmt: skip
    found = fit_learning_curve(points)
    assert found.accuracy(300).value == pytest.approx(0.98, abs=0.004)
    assert found.gain(600).high < 0.02  # there is no more to be gained


def test_seeds_are_held_against_each_other_where_groups_make_a_share_of_other_sizes():
    """The spread of a share with sizes 41 and 43 is that of one with 42 twice, and not that of the full share alone."""
    errors = {0.125: (0.26, 0.38), 0.25: (0.18, 0.26), 0.5: (0.13, 0.19), 1.0: (0.119, 0.121)}
    sizes = {0.125: (41, 43), 0.25: (80, 84), 0.5: (163, 161), 1.0: (324, 324)}

    def band(sizes_of, named) -> float:
        points = [Point(images, round(10_000 * (1 - error)), 10_000, seed, share=share if named else 0.0)
                  for share, pair in errors.items()
                  for seed, (error, images) in enumerate(zip(pair, sizes_of[share], strict=True))]  # fmt: skip
        found = fit_learning_curve(points).accuracy(324)
        return found.high - found.low

    same = {share: (sum(pair) / 2,) * 2 for share, pair in sizes.items()}
    assert band(sizes, True) == pytest.approx(band(same, False), rel=0.05)
    assert band(sizes, False) < 0.7 * band(sizes, True)  # where no share is known, as of runs that lie elsewhere


def test_the_share_of_a_run_stands_in_its_folder(tmp_path):
    names = {"share0.125-seed0": 0.125, "share1-seed12": 1.0, "share1e-05-seed3": 1e-05, "run": 0.0, "share-seed1": 0.0}
    assert {name: share_of(Run(tmp_path / name)) for name in names} == names


def test_perfect_runs_have_a_band_of_some_width():
    found = fit_learning_curve([Point(size, 50, 50, 0) for size in (10, 20, 40)]).accuracy(80)
    assert 0 < found.low < found.high <= 1


def test_what_makes_no_curve_is_refused():
    with pytest.raises(UsageError, match="at least three different numbers"):
        fit_learning_curve([Point(10, 5, 10, 0), Point(20, 6, 10, 0)])
    for wrong in (Point(10, 11, 10, 0), Point(10, 5, 10, 0, share=-1.0)):
        with pytest.raises(UsageError, match=r"0 <= hits <= n, n > 0 and share >= 0, not Point"):
            fit_learning_curve([wrong, Point(20, 6, 10, 0), Point(40, 6, 10, 0)])


def test_shares_are_nested_and_keep_the_balance(tmp_path):
    table = split_table(read_table(write_shapes(tmp_path / "shapes", 20)))
    training = table.part("train")
    hashes = [set(part.part("train").samples["hash"]) for part in share_tables(table, [0.25, 0.5, 1.0], seed=3)]
    assert hashes[0] < hashes[1] < hashes[2] == set(training.samples["hash"])
    [half] = share_tables(table, [0.5], seed=3)
    whole = np.bincount(training.labels())
    assert abs(np.bincount(half.part("train").labels()) - whole / 2).max() <= 0.5
    assert len(half.part("validation")) == len(table.part("validation"))
    assert set(half.part("train").samples["hash"]) == hashes[1]
    [other] = share_tables(table, [0.5], seed=4)
    assert set(other.part("train").samples["hash"]) != hashes[1]
    [least] = share_tables(table, [1e-6], seed=3)
    assert np.bincount(least.part("train").labels()).tolist() == [1, 1, 1]


def grouped_table(folder, seed: int, most: int = 6):
    """90 images, all of them training but 9, in groups of 1 to `most` of mixed classes; every tenth one has a copy."""
    generator = np.random.default_rng(seed)
    table = hashed(read_table(write_shapes(folder, 30)))
    hashes = table.samples["hash"].tolist()
    for row in range(0, len(hashes) - 1, 10):
        hashes[row + 1] = hashes[row]
    sizes = generator.integers(1, most + 1, 90)
    groups = np.repeat([f"g{number}" for number in range(90)], sizes)[generator.permutation(90)]
    names = [name if generator.random() < 0.7 else None for name in groups]
    part = ["validation" if row % 10 == 9 else "train" for row in range(90)]
    return table.assign(hash=hashes, group=names, part=part)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_belongs_together_comes_together(tmp_path, seed):
    """Against a slow oracle: whoever shares a hash or a group with a drawn image, in however many steps, is drawn."""
    table = grouped_table(tmp_path / "shapes", seed)
    training, shares = table.part("train").samples, [0.1, 0.2, 0.4, 0.7, 1.0]
    ties = [{f"hash {digest}"} | ({f"group {group}"} if isinstance(group, str) else set())
            for digest, group in zip(training["hash"], training["group"], strict=True)]  # fmt: skip
    before: set[str] = set()
    sizes = []
    for part in share_tables(table, shares, seed=seed):
        drawn = set(part.part("train").samples["source"])
        inside = [source in drawn for source in training["source"]]
        assert before <= drawn
        for one in range(len(ties)):
            assert all(inside[one] == inside[two] for two in range(len(ties)) if ties[one] & ties[two])
        before, sizes = drawn, [*sizes, len(drawn)]
        assert len(part.part("validation")) == len(table.part("validation"))
    assert sizes[-1] == len(training)
    assert np.abs(np.array(sizes) / len(training) - shares).max() < 0.15  # blocks are coarse


def test_a_share_of_groups_is_near_its_size_on_average(tmp_path):
    """Blocks count from their middle, so that large ones make no share larger than it says."""
    table = grouped_table(tmp_path / "shapes", 5, most=9)
    found = [len(share_tables(table, [0.5], seed=seed)[0].part("train")) for seed in range(60)]
    assert np.mean(found) / len(table.part("train")) == pytest.approx(0.5, abs=0.03)


def test_shares_that_are_the_same_images_are_refused_before_any_training(tmp_path):
    table = split_table(read_table(write_shapes(tmp_path / "shapes", 12)))
    labels = table.samples["label"].to_numpy(object)
    part = table.assign(group=np.where(table.samples["part"] == "train", labels, None))  # one group a class
    with pytest.raises(UsageError, match="too few separate images or groups"):
        train_subsets(part, Recipe(), tmp_path / "more")
    assert not (tmp_path / "more").exists()


def test_validation_images_in_groups_count_for_fewer():
    generator = np.random.default_rng(0)
    hits = np.repeat(generator.random(40) < 0.8, 5).astype(float)  # five images of a group are right or wrong together
    names = np.repeat(np.arange(40), 5).astype(object)
    alone, grouped = (share(hits, units_of(groups, 200), 0.95) for groups in (None, names))
    assert images_worth(alone) == pytest.approx(200)
    assert 25 < images_worth(grouped) < 60
    for right, n in ((0, 30), (30, 30), (7, 30)):
        assert images_worth(Estimate(right / n, *wilson(right, n, 0.9), 0.9, n, "")) == pytest.approx(n)
    one, other = (Point(100, 160, 200, 0, worth) for worth in (0.0, 40.0))
    assert (other.accuracy.low, other.accuracy.high) == pytest.approx(wilson(32, 40))
    assert (one.accuracy.low, one.accuracy.high) == pytest.approx(wilson(160, 200))
    curves = [fit_learning_curve([Point(size, round(200 * right), 200, 0, worth)
                                  for size, right in ((100, 0.6), (200, 0.7), (400, 0.78))]).accuracy(800)
              for worth in (0.0, 40.0)]  # fmt: skip
    assert curves[1].high - curves[1].low > curves[0].high - curves[0].low


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
    assert [point["share"] for point in found["points"]] == [0.25, 0.5, 1.0]
    assert found["double"] == 2 * sizes[-1]
    assert found["gain"]["low"] <= found["gain"]["value"] <= found["gain"]["high"]
    assert json.loads((tmp_path / "more" / "curve.json").read_text("utf-8"))["says"] == found["says"]
    assert main(command) == 0
    assert found["says"] in capsys.readouterr().out
    assert main(["curve", "shapes", "--steps", "2"]) == 2
