"""Beyond the run's classes: images of others, and pairs of images, against slow loops; what is left out; looks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold.__main__ import main
from tenfold.errors import DataError, UsageError
from tenfold.estimate import Estimate
from tenfold.evaluate import evaluate_run, evaluation
from tenfold.evaluate.open_set import find_strangers, part_features
from tenfold.images.prepared import prepare_table
from tenfold.images.readers import read_images, read_table
from tenfold.metrics.open_set import MOST_PEOPLE, people_needed, sure_rate
from tenfold.metrics.pairs import classes_needed, compare_features, compared_rows, pair_details, supported_by
from tenfold.metrics.unknown import Answered, HeldOut, known_score, open_set_details
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.models.finetuned import FineTunedNetwork
from tenfold.recipe import Recipe
from tenfold.report import write_report
from tenfold.run import Run, load_run
from tenfold.split import split_table
from tenfold.train import train_model
from tenfold.transfer.thresholds import identities_needed
from tenfold.transfer.unknown import fit_unknown
from tests.frozen import TinyBackbone
from tests.test_finetuned import SETTINGS
from tests.toys import quick_recipe, save, shapes_table

Capture = pytest.CaptureFixture[str]
ORIGIN = SimpleNamespace(name="tiny", source="made by hand", licence="CC0-1.0", sha256="0" * 64, note="")
COLORS = {
    "blue": (40, 60, 220),
    "green": (40, 200, 60),
    "red": (220, 50, 40),
    "sand": (220, 200, 120),
    "sky": (120, 200, 240),
}
STRANGERS = {"black": (20, 20, 20), "pink": (240, 120, 200), "violet": (120, 40, 160), "white": (235, 235, 235)}


# Figures


def answers(count: int, seed: int, digits: int = 12) -> tuple[Answered, Answered]:
    """Known images of 5 classes and half as many strangers of 4, whose scores are lower; few `digits` give ties."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 5, count).astype(object), rng.integers(0, 4, count // 2).astype(object)
    known = Answered(rng.normal(1, 1, count).round(digits), rng.random(count) < 0.8, kinds[0])
    return known, Answered(rng.normal(0, 1, count // 2).round(digits), np.zeros(count // 2, bool), kinds[1])


def held_out(count: int, seed: int = 0) -> HeldOut:
    """Images of 60 classes, so that a share of 10 % is supported."""
    rng = np.random.default_rng(seed)
    known = np.arange(2 * count) < count
    score = np.where(known, rng.normal(1, 1, 2 * count), rng.normal(0, 1, 2 * count)).astype(np.float32)
    return HeldOut(score, rng.integers(0, 60, 2 * count).astype(np.int32), known, known & (rng.random(2 * count) < 0.9))


def lowest_threshold(scores: list[float], rate: float) -> float:
    """What accepts as many as may be: the lowest number above which the share is at most `rate`."""
    for threshold in sorted(scores):
        if sum(score > threshold for score in scores) <= rate * len(scores):
            return threshold
    raise AssertionError


@pytest.mark.parametrize("digits", [12, 1])
def test_rates_at_thresholds_are_what_a_loop_counts(digits: int) -> None:
    (known, strangers), held = answers(80, 0, digits), held_out(600)
    found = open_set_details(known, strangers, held)
    assert (found["known"], found["strangers"], found["supported"]) == (80, 40, held.supported())
    assert [(row["of"], row["rate"]) for row in found["rows"]] == [
        ("held_out", 0.1),
        ("held_out", 0.01),
        ("predict", 0.1),
        ("strangers", 0.1),
        ("strangers", 0.01),
    ]
    for row in found["rows"]:
        if row["of"] == "predict":
            assert row["threshold"] == held.threshold(row["rate"])
        else:
            scores = held.strangers if row["of"] == "held_out" else strangers.score
            below = lowest_threshold(scores.tolist(), row["rate"])
            assert row["threshold"] == np.nextafter(below, np.inf)
        named = refused = false = 0
        for score, right in zip(known.score, known.right, strict=True):
            named += score >= row["threshold"] and right
            refused += score < row["threshold"]
        for score in strangers.score:
            false += score >= row["threshold"]
        counts = {"dir": (named, 80), "refused": (refused, 80), "far": (false, 40)}
        assert {name: (row[name].value, row[name].n) for name in counts} == {
            name: (pytest.approx(hits / of), of) for name, (hits, of) in counts.items()
        }
        assert [row[name].method for name in counts] == [f"Wilson over {n} groups" for n in (5, 5, 4)]


def test_without_held_out_classes_thresholds_are_those_of_the_strangers() -> None:
    found = open_set_details(*answers(80, 0), None)
    assert [(row["of"], row["rate"]) for row in found["rows"]] == [("strangers", 0.1), ("strangers", 0.01)]
    assert found["supported"] is None


def test_after_several_looks_intervals_are_exact_and_at_the_level() -> None:
    known, strangers = answers(80, 0)
    row = open_set_details(known, strangers, held_out(600), 0.99, exact=True)["rows"][0]
    wider = open_set_details(known, strangers, held_out(600))["rows"][0]
    for name in ("dir", "far", "refused"):
        assert (row[name].level, row[name].method[:15]) == (0.99, "Clopper-Pearson")
        assert row[name].low < wider[name].low < wider[name].value < wider[name].high < row[name].high
    comparisons = compare_features(*directions(6, 5))
    for name in ("fnmr", "fmr"):
        row, wider = (pair_details(comparisons, *how)["rows"][0][name] for how in ((0.99, True), (0.95, False)))
        assert (row.level, row.method[:15]) == (0.99, "Clopper-Pearson")
        assert row.low <= wider.low < wider.high < row.high


@pytest.mark.parametrize("digits", [12, 0])
def test_the_curve_goes_through_what_every_threshold_gives(digits: int) -> None:
    known, strangers = answers(60, 1, digits)
    curve = open_set_details(known, strangers, None)["curve"]
    points = list(zip(curve["far"], curve["dir"], strict=True))
    assert points[0] == (0, 0)
    assert points[-1] == (1, pytest.approx(known.right.mean(), abs=1e-6))
    for threshold in [*known.score, *strangers.score]:
        far = np.mean(strangers.score >= threshold)
        dir_ = np.mean(known.right & (known.score >= threshold))
        # The point lies on the line between two that were kept: both are as far along it.
        assert any(
            left[0] - 1e-6 <= far <= right[0] + 1e-6
            and left[1] - 1e-6 <= dir_ <= right[1] + 1e-6
            and abs((right[0] - left[0]) * (dir_ - left[1]) - (right[1] - left[1]) * (far - left[0])) < 1e-5
            for left, right in pairwise(points)
        )
    nothing = open_set_details(known._replace(right=np.zeros(60, bool)), strangers, None)
    assert nothing["curve"] == {"far": [0.0, 1.0], "dir": [0.0, 0.0]}
    assert nothing["rows"][0]["dir"].value == 0


# Pairs


def directions(classes: int, each: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Unit vectors around a center for each class, of which some are harder; and that none belongs to another."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    spread = np.exp(rng.normal(0, 0.5, classes))[labels, None]
    vectors = rng.normal(0, 1, (classes, 16))[labels] + spread * rng.normal(0, 1, (classes * each, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors, labels, [f"hash {number}" for number in range(len(labels))]


def test_rates_of_pairs_are_what_a_loop_counts() -> None:
    vectors, labels, alike = directions(16, 4)
    alike[1] = alike[0]  # a group of two
    genuine, impostor = [], []
    for one in range(64):
        for other in range(one + 1, 64):
            if alike[one] != alike[other]:
                kind = genuine if labels[one] == labels[other] else impostor
                kind.append(sum(a * b for a, b in zip(vectors[one].tolist(), vectors[other].tolist(), strict=True)))
    found = pair_details(compare_features(vectors, labels, alike))
    assert (found["classes"], found["genuine"], found["impostor"]) == (16, 16 * 6 - 1, 120 * 16)
    assert found["supported"] == 1 / 121
    assert [row["rate"] for row in found["rows"]] == [0.01]
    [row] = found["rows"]
    assert row["threshold"] == pytest.approx(lowest_threshold(impostor, 0.01))
    assert row["fmr"].value == pytest.approx(19 / 1920)  # 1 % of them
    assert row["fnmr"].value == pytest.approx(np.mean([score < row["threshold"] for score in genuine]))
    assert (row["fnmr"].method, row["fmr"].method) == (
        "Wilson over 16 classes",
        "Wilson over 16 classes, two a comparison",
    )


@pytest.mark.parametrize("seed", range(3))
def test_intervals_of_false_non_matches_are_as_wide_as_drawing_classes_makes_them(seed: int) -> None:
    """The subsets bootstrap, by hand: classes are drawn with all their comparisons."""
    vectors, labels, alike = directions(60, 5, seed)
    comparisons = compare_features(vectors, labels, alike)
    row = pair_details(comparisons)["rows"][0]
    genuine = comparisons.first == comparisons.second
    missed = [(comparisons.score < row["threshold"])[genuine & (comparisons.first == name)] for name in range(60)]
    rng = np.random.default_rng(seed)
    drawn = [np.concatenate([missed[name] for name in rng.integers(0, 60, 60)]).mean() for _ in range(2000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    figure: Estimate = row["fnmr"]
    assert figure.high - figure.low == pytest.approx(high - low, rel=0.15)
    single = 2 * 1.96 * np.sqrt(figure.value * (1 - figure.value) / figure.n)
    assert figure.high - figure.low > 1.3 * single


@pytest.mark.parametrize(("classes", "rates"), [(46, [0.01, 0.001]), (45, [0.01]), (15, [0.01]), (14, [1 / 92])])
def test_so_few_classes_support_no_lower_rate(classes: int, rates: list[float]) -> None:
    found = pair_details(compare_features(*directions(classes, 3)))
    assert [row["rate"] for row in found["rows"]] == rates
    assert all(row["fmr"].value <= row["rate"] for row in found["rows"])


def test_of_many_images_each_class_gives_some() -> None:
    labels = np.repeat(np.arange(4), [1, 3, 7, 20])
    hashes = [f"{number:032x}" for number in np.random.default_rng(0).permutation(31)]
    assert compared_rows(labels, hashes).tolist() == list(range(31))
    assert np.bincount(labels[compared_rows(labels, hashes, 7)]).tolist() == [1, 2, 2, 2]
    assert np.bincount(labels[compared_rows(labels, hashes, 12)]).tolist() == [1, 3, 4, 4]
    for most in (7, 12, 20):
        rows = compared_rows(labels, hashes, most)
        assert len(rows) == most
        turned = compared_rows(labels[::-1], hashes[::-1], most)
        assert {hashes[row] for row in rows} == {hashes[30 - row] for row in turned}
        for name in range(4):
            own = sorted(hashes[row] for row in np.flatnonzero(labels == name))
            taken = [hashes[row] for row in rows if labels[row] == name]
            assert sorted(taken) == own[: len(taken)]


# A run


def write_colors(folder: Path, colors: dict[str, tuple[int, int, int]], each: int) -> Path:
    draw = np.random.default_rng(len(colors))
    for name, color in colors.items():
        for number in range(each):
            image = np.full((20, 20, 3), color) + draw.normal(0, 25, 3) + draw.normal(0, 10, (20, 20, 3))
            save(folder / name / f"{number}.png", image.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Five colors, 12 training images each, and what holding them out gave."""
    folder = tmp_path_factory.mktemp("beyond")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(folder / "cache"))
        patch.setattr(frozen_module, "bare_backbone", lambda name: TinyBackbone())
        patch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))
        table = split_table(read_table(write_colors(folder / "data", COLORS, 20)), validation=0.2, test=0.2)
        settings = {"backbone": "tiny", "head": "svm", "strength": 1e-3}
        recipe = Recipe().change(model={"name": "frozen"}, transfer=settings, train={"precision": "float32"})
        run = train_model(table, recipe, folder / "run")
        fit_unknown(run)
        yield run


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """One without an evaluation yet, in a folder of its own."""
    return load_run(shutil.copytree(trained.path, tmp_path / "runs" / "colors"))


@pytest.fixture
def others(tmp_path: Path) -> Path:
    return write_colors(tmp_path / "others", STRANGERS, 8)


def test_a_run_is_judged_on_other_images_as_it_answers_them(run: Run, others: Path) -> None:
    found = evaluate_run(run, "validation", unknown=read_table(others)).details["open_set"]

    def scores(files: list[Path]) -> dict[str, tuple[float, str]]:
        answers = {}
        for path, result in run.predict_files(files):
            assert not isinstance(result, DataError)
            answers[str(path)] = (known_score(result["logits"][None])[0], run.classes[int(result["logits"].argmax())])
        return answers

    part = run.table.part("validation").samples
    known, strange = scores([Path(name) for name in part["source"]]), scores(sorted(others.rglob("*.png")))
    assert (found["known"], found["strangers"]) == (len(known), 32) == (20, 32)
    assert {row["of"] for row in found["rows"]} == {"held_out", "strangers"}  # five classes support no 10 %
    for row in found["rows"]:
        accepted = [score >= row["threshold"] for score, _ in strange.values()]
        named = [score >= row["threshold"] and name == Path(path).parent.name for path, (score, name) in known.items()]
        assert (row["far"].value, row["dir"].value) == (np.mean(accepted), np.mean(named))
        assert (row["far"].method, row["dir"].method) == ("Wilson over 4 classes", "Wilson over 5 classes")
    assert run.evaluations["validation"]["details"]["open_set"]["rows"][0]["far"] == found["rows"][0]["far"].to_json()


def test_pairs_of_a_run_are_compared_by_what_its_head_sees(run: Run) -> None:
    evaluation = evaluate_run(run, "validation", pairs=True)
    table, model = run.table.part("validation"), run.model
    center, rows = model.head.center.numpy(), []
    for path in table.samples["source"]:
        pixels = run.preprocessing.prepare(np.array(Image.open(path)))[0][None]
        images = run.preprocessing.normalize(torch.from_numpy(run.preprocessing.center(pixels).copy()))
        with torch.no_grad():
            views = model.features(images).numpy()[0] - center
        rows.append((views / np.linalg.norm(views, axis=1, keepdims=True)).mean(0))
    vectors = np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    expected = pair_details(compare_features(vectors, table.labels(), table.samples["hash"].tolist()))
    found = evaluation.details["pairs"]
    assert (found["classes"], found["genuine"], found["impostor"]) == (5, 5 * 6, 10 * 16)
    assert found["rows"][0]["rate"] == found["supported"] == 1 / 11
    assert found["rows"][0]["threshold"] == pytest.approx(expected["rows"][0]["threshold"], abs=1e-5)
    assert found["rows"][0]["fnmr"].value == expected["rows"][0]["fnmr"].value
    assert "open_set" not in evaluation.details


@pytest.mark.parametrize("settings", [{}, {"layers": 1}, {"hidden": [5]}])
def test_features_of_a_fine_tuned_network_are_what_its_last_layers_see(
    run: Run, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuned_module, "bare_backbone", lambda name: TinyBackbone())
    model = FineTunedNetwork(3, run.classes, SETTINGS | settings).eval()
    center = 0.0
    if not settings:
        center = 0.1  # the last layer of one alone is that of a frozen network
        model.head.center.fill_(center)
    vars(run)["model"] = model
    prepared = prepare_table(run.table.part("validation"), run.preprocessing)
    found = part_features(run, prepared, np.array([7, 2]))
    for row, vector in zip((7, 2), found, strict=True):
        pixels = run.preprocessing.center(prepared.canvases.image(row)[0][None])
        with torch.no_grad():
            feature = model.features(run.preprocessing.normalize(torch.from_numpy(pixels.copy())))[0].numpy() - center
        assert vector == pytest.approx(feature / np.linalg.norm(feature), abs=1e-5)


def test_groups_stand_together_where_nothing_says_what_the_images_are(run: Run, others: Path) -> None:
    table = read_images(others)
    alone = evaluate_run(run, "validation", unknown=table).details["open_set"]["rows"][0]["far"]
    groups = [Path(source).parent.name for source in table.samples["source"]]
    together = evaluate_run(run, "validation", unknown=table.assign(group=groups)).details["open_set"]["rows"][0]["far"]
    assert (alone.method, together.method) == ("Wilson over images", "Wilson over 4 groups")
    assert alone.value == together.value
    for name in ("black", "pink"):
        shutil.copy(others / name / "0.png", others / name / "again.png")
    copies = evaluate_run(run, "validation", unknown=read_images(others)).details["open_set"]["rows"][0]["far"]
    assert (copies.n, copies.method) == (34, "Wilson over 32 groups")


def test_what_the_run_knows_is_named_and_left_out(run: Run, others: Path) -> None:
    shutil.move(others / "pink", others / "SKY")
    train = run.table.part("train").samples["source"]
    shutil.copy(train[train.str.contains("red")].iloc[0], others / "black" / "own.png")
    held = run.table.part("test").samples["source"].iloc[0]
    shutil.copy(held, others / "white" / "tested.png")
    (others / "white" / "0.png").write_bytes(b"no image")
    found = find_strangers(run, read_table(others))
    assert len(found.table) == 24
    assert found.left_out == (
        f"Left out of the unknown images, as {run.path} knows their class: SKY (8 images).",
        f"Left out of the unknown images, as {run.path} has them among its own: 2 images "
        f"({others / 'black' / 'own.png'}, {others / 'white' / 'tested.png'}).",
    )
    evaluation = evaluate_run(run, "validation", unknown=read_table(others))
    details = evaluation.details["open_set"]
    assert (details["strangers"], details["left_out"]) == (23, [*found.left_out])
    [reason] = details["unreadable"]
    assert str(others / "white" / "0.png") in reason
    for name in ("black", "violet", "white"):
        shutil.rmtree(others / name)
    with pytest.raises(
        UsageError, match=r"none is left of these\. Left out of the unknown images, as .* knows their cl"
    ):
        evaluate_run(run, "validation", unknown=read_table(others))


def test_a_look_at_the_test_part_is_counted_where_it_shows_more(run: Run, others: Path) -> None:
    def look(**options: Any) -> int:
        return evaluate_run(run, "test", **options).look

    table = read_table(others)
    few = table.take(np.arange(16))
    assert [look(unknown=table, pairs=True), look(unknown=table, pairs=True, level=0.9)] == [1, 1]
    assert [look(), look(pairs=True), look(unknown=table), look(unknown=table, pairs=True)] == [1, 1, 1, 1]
    again = evaluate_run(run, "test", unknown=table, pairs=True).details
    # Of other strangers it is a further look only where their thresholds show something else of the part.
    before = [[row[name].value for name in ("dir", "refused")] for row in again["open_set"]["rows"]]
    new = evaluate_run(run, "test", unknown=few, pairs=True)
    after = [[row[name].value for name in ("dir", "refused")] for row in new.details["open_set"]["rows"]]
    assert new.look == 1 + (before != after)
    assert evaluate_run(run, "validation", unknown=few, pairs=True).look == 0


def test_what_is_asked_for_later_is_a_further_look(run: Run, others: Path) -> None:
    def look(**options: Any) -> int:
        return evaluate_run(run, "test", **options).look

    table = read_table(others)
    assert [look(), look(unknown=table), look(pairs=True), look(pairs=True, unknown=table), look()] == [1, 2, 3, 3, 3]
    again = evaluate_run(run, "test", unknown=table, pairs=True).details
    assert again["open_set"]["rows"][0]["dir"].level == pytest.approx(1 - 0.05 / 3)
    assert again["pairs"]["rows"][0]["fnmr"].method.startswith("Clopper-Pearson")
    moved = load_run(shutil.copytree(run.path, run.path.parents[1] / "elsewhere" / "colors"))
    assert [evaluate_run(moved, "test").look, evaluate_run(moved, "test", pairs=True).look] == [3, 3]


def test_what_was_asked_for_stays_while_the_answers_are_the_same(run: Run, others: Path) -> None:
    def stored(part: str = "test") -> dict[str, Any]:
        details: dict[str, Any] = run.evaluations[part]["details"]
        return details

    evaluate_run(run, "validation", pairs=True)
    assert "pairs" in evaluate_run(run, "test", unknown=read_table(others), pairs=True, speed=True).details
    first = stored()
    again = evaluate_run(run, "test", level=0.9)
    assert not {"open_set", "pairs", "speed"} & again.details.keys()
    assert all(stored()[name] == first[name] for name in ("open_set", "pairs", "speed"))
    # Another look makes their intervals wider, and other answers are what they are not of.
    labels = run.table.samples["label"].to_numpy(object, copy=True)
    labels[np.flatnonzero(run.table.samples["part"] == "test")[0]] = "sky"
    other = load_run(shutil.copytree(run.path, run.path.with_name("other")))
    assert evaluate_run(Run(other.path, other.table.assign(label=labels)), "test").look == 2
    assert not {"open_set", "pairs", "speed"} & other.evaluations["test"]["details"].keys()
    assert evaluate_run(run, "test").look == 2
    before, after = (found["pairs"]["rows"][0]["fnmr"] for found in (first, stored()))
    assert (after["value"], after["level"]) == (before["value"], pytest.approx(0.975))
    assert after["high"] - after["low"] > before["high"] - before["low"]
    assert stored()["speed"] == first["speed"]
    assert "pairs" in stored("validation")


def test_what_a_run_cannot_is_refused_before_it_predicts(
    run: Run, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = train_model(shapes_table(tmp_path / "shapes", 10), quick_recipe(train={"epochs": 1}), tmp_path / "plain")
    monkeypatch.setattr(evaluation, "prepare_table", lambda *_, **__: pytest.fail("the part was read"))
    with pytest.raises(UsageError, match="pairs compares the features of a pretrained network"):
        evaluate_run(plain, "validation", pairs=True)
    monkeypatch.setattr(Run, "task", SimpleNamespace(name="detection"))
    with pytest.raises(UsageError, match=r"unknown is for classifiers, .*colors is of the task detection; leave it"):
        evaluate_run(run, "validation", unknown=read_table(others))


def test_what_cannot_be_measured_is_refused_in_one_sentence(run: Run, tmp_path: Path) -> None:
    plain = train_model(shapes_table(tmp_path / "shapes", 10), quick_recipe(train={"epochs": 1}), tmp_path / "plain")
    with pytest.raises(
        UsageError, match=r"pairs compares the features of a pretrained network, and .* of the model plai"
    ):
        evaluate_run(plain, "validation", pairs=True)
    names = run.table.samples["label"]
    two = run.table.assign(label=names.where(names.isin(["red", "sky"])))
    three = run.table.assign(label=names.where(names.isin(["red", "sky", "sand"])))
    alike = run.table.assign(group=names)
    one_alike = three.assign(group=names.where(names == "sand"))
    for table, count in ((two, 2), (alike, 0), (one_alike, 2)):
        with pytest.raises(UsageError, match=rf"pairs needs 3 classes with two images .* has {count} in this part; le"):
            evaluate_run(Run(run.path, table), "validation", pairs=True)
    assert run.evaluations == {}
    row = evaluate_run(Run(run.path, three), "validation", pairs=True).details["pairs"]["rows"][0]
    assert (row["fnmr"].method, row["fmr"].method) == (
        "Wilson over 3 classes",
        "Wilson over 3 classes, two a comparison",
    )


def test_what_is_lost_before_it_is_read_is_named_once(run: Run, others: Path) -> None:
    table = read_table(others).assign(hash=None)
    sources = table.samples["source"].to_numpy(object, copy=True)
    sources[:2], sources[2] = "/gone/twice.png", "/gone/once.png"
    reasons = find_strangers(run, table.assign(source=sources)).unreadable
    assert [reason.partition(" cannot be read: ")[0] for reason in reasons] == [
        "(2 images) /gone/twice.png",
        "/gone/once.png",
    ]


def test_a_run_without_held_out_classes_is_judged_at_the_strangers_thresholds(run: Run, others: Path) -> None:
    (run.path / "unknown.safetensors").unlink()
    found = evaluate_run(run, "validation", unknown=read_table(others)).details["open_set"]
    assert {row["of"] for row in found["rows"]} == {"strangers"}
    page = write_report(run).read_text("utf-8")
    assert "thresholds are those of these images themselves" in page


# The command and the report


def test_the_command_shows_both(run: Run, others: Path, capsys: Capture) -> None:
    (others / "black" / "broken.png").write_bytes(b"no image")
    shutil.move(others / "pink", others / "red")
    assert main(["evaluate", str(run.path), "--unknown", str(others), "--pairs"]) == 1
    out, err = capsys.readouterr()
    assert "24 images of other classes beside 20 of the run's" in out
    assert "at most 10\u00a0% of held-out images reach it" in out
    assert "at most 1\u00a0% of these images reach it" in out
    least = "predict --false-accept takes no share below 24.1\u00a0%, the least that the held-out classes support"
    assert f"{least} at a level of 95\u00a0%. Of as many images each, 10\u00a0% needs about " in err
    assert least not in out
    assert "Wilson over 3 classes for unknown images, Wilson over 5 classes for known ones." in out
    assert "Wilson over 5 classes, two a comparison, for false matches, Wilson over 5 classes for false non-mat" in out
    assert "30 pairs of one class and 160 of two, 5 classes" in out
    lacking = "Left out: a false match rate of 1\u00a0% and 0.1\u00a0%, as 5 classes support 9.1\u00a0% at best; "
    assert f"{lacking}1\u00a0% needs 15 and 0.1\u00a0% needs 46: give a part with more classes." in err
    assert lacking not in out
    assert "knows their class: red (8 images)." in err
    assert "left out: " in err
    assert "broken.png" in err
    (others / "black" / "broken.png").unlink()
    assert main(["evaluate", str(run.path), "--unknown", str(others / "black"), "--json"]) == 0
    details = json.loads(capsys.readouterr().out)["details"]
    assert details["open_set"]["strangers"] == 8
    assert "pairs" not in details
    assert main(["evaluate", str(run.path), "--unknown", str(others / "nothing")]) == 3


def test_what_so_few_classes_do_not_support_is_said_before_the_time_is_spent(
    run: Run, others: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def stop(*given: Any, **options: Any) -> None:
        said.append(capsys.readouterr().err)
        raise UsageError("Enough.")

    monkeypatch.setattr("tenfold.evaluate.evaluate_run", stop)
    assert main(["evaluate", str(run.path), "--unknown", str(others), "--pairs"]) == 2
    [before] = said
    assert "the least that the held-out classes support" in before
    assert "1\u00a0% needs 15 and 0.1\u00a0% needs 46: give a part with more classes." in before


def test_so_many_classes_and_no_fewer_support_a_rate(run: Run) -> None:
    for rate, classes in ((0.01, 15), (0.001, 46), (0.4, 3)):
        assert classes_needed(rate) == classes
        assert supported_by(classes) <= rate < supported_by(classes - 1)
    single = pair_details(compare_features(*directions(16, 2)))["rows"][0]["fnmr"]
    assert single.method == "Wilson over comparisons"  # one of each class
    held = run.unknown
    assert held is not None
    for share in (0.1, 0.05, 0.01):
        needed = held.needed(share)
        each = len(held.strangers) // held.classes
        assert (
            sure_rate(np.repeat(np.arange(needed), each)) <= share < sure_rate(np.repeat(np.arange(needed - 1), each))
        )
    assert held.needed(1e-5) == MOST_PEOPLE + 1
    table = (Path(__file__).parents[1] / "docs" / "open-set.md").read_text("utf-8")
    rates = (0.1, 0.05, 0.01, 0.001)
    for count, words in (
        (lambda rate: people_needed(rate, 10), "`predict --false-accept`"),
        (identities_needed, "`gallery enroll --false-accept`"),
        (classes_needed, "`evaluate --pairs` (FMR)"),
    ):
        assert f"| {words} | {' | '.join(f'{count(rate):,}' for rate in rates)} |" in table


def test_the_report_shows_both(run: Run, others: Path) -> None:
    evaluate_run(run, "validation")
    assert 'id="open_set"' not in write_report(run).read_text("utf-8")
    evaluate_run(run, "validation", unknown=read_table(others), pairs=True)
    page = " ".join(write_report(run).read_text("utf-8").replace("\u00a0", " ").split())
    assert 'id="open_set"' in page
    assert 'id="pairs"' in page
    assert "32 images of none of the run's classes were shown to it beside the 20 of its validation part" in page
    assert "predict --false-accept takes no share below 24.1 %, the least" in page
    assert "where its score reaches the threshold.</p>" in page
    assert 'id="plot-open-set' in page
    assert "30 pairs of one class and 160 of two, of 5 classes" in page
    assert "Wilson over 5 classes, two a comparison" in page
    assert "Intervals are Wilson over 4 classes for unknown ones and Wilson over 5 classes for known ones" in page
    assert "over 4 groups" not in page


def test_a_share_that_is_supported_has_its_threshold_of_predict_in_the_report(run: Run, others: Path) -> None:
    evaluate_run(run, "validation", unknown=read_table(others))
    stored = run.evaluations["validation"]
    found = stored["details"]["open_set"]
    rows = [*found["rows"], found["rows"][0] | {"of": "predict"}]
    stored["details"]["open_set"] = found | {"rows": rows, "supported": 0.005}
    (run.path / "evaluation.json").write_text(json.dumps({"validation": stored}), "utf-8")
    page = write_report(run).read_text("utf-8").replace("\u00a0", " ")
    assert "of predict --false-accept 10%" in page
    assert "takes no share below" not in page
