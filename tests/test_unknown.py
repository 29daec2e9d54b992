"""None of these: classes held out, a threshold for a share of them, and what a run and its commands make of it."""

from __future__ import annotations

import csv
import io
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tenfold.__main__ import main
from tenfold.commands.predict_classes import least_percent
from tenfold.commands.train import _finish
from tenfold.errors import DataError
from tenfold.estimate import from_json
from tenfold.evaluate import evaluate_run
from tenfold.images.readers import read_table
from tenfold.images.table import Table, write_table
from tenfold.metrics.open_set import MOST_PEOPLE, people_needed, sure_rate, sure_threshold
from tenfold.metrics.unknown import HeldOut, known_score
from tenfold.models import frozen as frozen_module
from tenfold.models.heads import HEADS, fit_head
from tenfold.recipe import Recipe
from tenfold.report import write_report
from tenfold.report.context import Context
from tenfold.report.open_set import open_set
from tenfold.report.thumbnails import Thumbnails
from tenfold.report.unknown import unknown as unknown_section
from tenfold.run import Run, load_run
from tenfold.split import split_table
from tenfold.train import train_model
from tenfold.transfer import unknown as unknown_module
from tenfold.transfer.unknown import Fit, fit_unknown, hold_out, why_not
from tests.frozen import TinyBackbone
from tests.test_heads import clouds
from tests.toys import quick_recipe, save, shapes_table, write_shapes

ORIGIN = SimpleNamespace(name="tiny", source="made by hand", licence="CC0-1.0", sha256="0" * 64, note="")
COLORS = {
    "blue": (40, 60, 220),
    "green": (40, 200, 60),
    "red": (220, 50, 40),
    "sand": (220, 200, 120),
    "sky": (120, 200, 240),
}


def alone(count: int) -> np.ndarray:
    return np.arange(count)


# Holding out


def test_a_score_is_the_lead_over_the_mean_of_all_others() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (20, 5)).astype(np.float32)
    for row, score in zip(logits.tolist(), known_score(logits), strict=True):
        best = max(row)
        assert score == pytest.approx(best - (sum(row) - best) / 4)


@pytest.mark.parametrize("name", ["mean", "neighbors", "logistic"])
def test_every_image_is_answered_by_a_head_that_never_saw_it(name: str) -> None:
    """Against the plainest loop: a head for each fold of images, and one without each class."""
    features, labels = clouds(classes=4, count=40)
    folds, strength = np.arange(40) // 4 % 5, HEADS[name].strengths[1 if name == "neighbors" else -1]
    found = hold_out(features, labels, folds, alone(40), Fit(name, 4, strength, 2.0, False))
    assert found is not None
    expected = []
    for known, dealt in ((True, folds), (False, labels)):
        for fold in range(dealt.max() + 1):
            rows = dealt == fold
            head = fit_head(name, features[~rows], labels[~rows], 4, strength, sharpness=2.0)
            logits = head(torch.from_numpy(features[rows])).detach().numpy()
            for row, label in zip(logits, labels[rows], strict=True):
                there = [place for place in range(4) if known or place != label]
                best = max(there, key=lambda place: row[place])
                expected.append((known_score(row[None, there])[0], label, known, known and best == label))
    score, label, known, right = map(np.array, zip(*expected, strict=True))
    assert found.score == pytest.approx(score, abs=1e-5)
    assert [found.label.tolist(), found.known.tolist(), found.right.tolist()] == [*map(list, (label, known, right))]
    assert (found.classes, len(found.strangers)) == (4, 40)


def test_many_classes_are_held_out_in_ten_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels = clouds(classes=25, count=100)
    fits = []

    def counted(name: str, rows: np.ndarray, truth: np.ndarray, *rest: object, **settings: object) -> object:
        fits.append(len(np.unique(truth)))
        return fit_head(name, rows, truth, *rest, **settings)

    monkeypatch.setattr(unknown_module, "fit_head", counted)
    found = hold_out(features, labels, np.arange(100) // 25, alone(100), Fit("mean", 25, 1.0, 1.0, False))
    assert found is not None
    assert fits == [25] * 4 + [22] * 5 + [23] * 5
    assert (found.classes, int(found.known.sum()), len(found.strangers)) == (25, 100, 100)


def test_of_a_group_of_unknown_images_one_counts() -> None:
    features, labels = clouds(classes=4, count=40)
    units = np.where(np.arange(40) < 20, np.arange(40) % 4, np.arange(40))  # five of each class are one
    found = hold_out(features, labels, np.arange(40) // 4 % 5, units, Fit("mean", 4, 1.0, 1.0, False))
    assert found is not None
    assert np.bincount(found.label[~found.known]).tolist() == [6] * 4
    assert found.known.sum() == 40


def test_a_class_that_lies_in_one_fold_says_nothing_of_known_images() -> None:
    features, labels = clouds(classes=4, count=40)
    folds = np.where(labels == 3, 0, np.arange(40) // 4 % 5)
    found = hold_out(features, labels, folds, alone(40), Fit("mean", 4, 1.0, 1.0, False))
    assert found is not None
    assert np.bincount(found.label[found.known], minlength=4).tolist() == [10, 10, 10, 0]
    assert np.bincount(found.label[~found.known]).tolist() == [10] * 4
    assert hold_out(features, labels, labels, alone(40), Fit("mean", 4, 1.0, 1.0, False)) is None


def test_what_would_take_too_long_is_left() -> None:
    features, labels = clouds(classes=4, count=40)
    how = Fit("mean", 4, 1.0, 1.0, False)
    assert hold_out(features, labels, labels, alone(40), how, seconds=1e-9) is None
    assert hold_out(features[:0], labels[:0], labels[:0], alone(0), how, seconds=0.0) is None  # not even begun


def test_new_classes_are_accepted_as_rarely_as_was_asked() -> None:
    """Clouds by the hundred: fitted on some classes, judged on others, with the head that is fitted to all of them."""
    accepted, named = [], []
    for seed in range(20):
        features, labels = clouds(classes=80, width=12, count=1200, views=1, spread=0.5, seed=seed)
        own = labels < 40
        folds = np.arange(own.sum()) // 40 % 5
        how = Fit("mean", 40, 1.0, 10.0, False)
        found = hold_out(features[own], labels[own], folds, alone(int(own.sum())), how)
        assert found is not None
        head = fit_head("mean", features[own], labels[own], 40, 1.0, sharpness=10.0)
        score = known_score(head(torch.from_numpy(features[~own])).detach().numpy())
        threshold = found.threshold(0.1)
        accepted.append(float(np.mean(score >= threshold)))
        named.append(found.figures(threshold)["dir"].value)
    assert np.mean(accepted) < 0.1
    assert np.mean(named) > 2 * np.mean(accepted)


def of_sizes(sizes: list[int]) -> HeldOut:
    """Classes held out, with so many images each, and an image of each that is known; no score matters."""
    label = np.repeat(np.arange(len(sizes), dtype=np.int32), [size + 1 for size in sizes])
    known = np.r_[True, label[1:] != label[:-1]]
    return HeldOut(np.zeros(len(label), np.float32), label, known, known)


@pytest.mark.parametrize("sizes", [[1000] + [10] * 29, [100] * 5 + [10] * 15, [40, 20, 13, 10, 8]])
def test_classes_with_unequal_numbers_of_images_need_more_of_them(sizes: list[int]) -> None:
    """Held against whole sets of the same classes, all again and again: what k - 1 of them lack and k have."""
    held, count, shares = of_sizes(sizes), len(sizes), (0.1, 0.05, 0.01)
    few = [share for share in shares if share < held.supported()]
    assert few
    for share in few:
        whole = range(1, 100)
        sets = next(k for k in whole if sure_rate(np.repeat(np.arange(k * count), np.tile(sizes, k))) <= share)
        assert (sets - 1) * count < held.needed(share) <= sets * count
        assert held.needed(share) > count
    assert held.needed(held.supported()) == count


def test_equal_classes_need_as_many_as_people_of_so_many_images() -> None:
    for count, each in ((5, 10), (20, 10), (12, 1)):
        for share in (0.05, 0.01):
            assert of_sizes([each] * count).needed(share) == max(people_needed(share, each), count)
    assert of_sizes([8, 100]).needed(0.01) > of_sizes([54, 54]).needed(0.01) == people_needed(0.01, 54)
    assert of_sizes([1] * (MOST_PEOPLE + 2)).needed(1e-9) == MOST_PEOPLE + 1


# What is stored


def example(count: int = 200) -> HeldOut:
    """Known images score 0 to 1, unknown ones -1 to 0.5; a tenth of the known ones are named wrongly."""
    known = np.arange(2 * count) < count
    score = np.concatenate([np.linspace(0, 1, count), np.linspace(-1, 0.5, count)]).astype(np.float32)
    label = (np.arange(2 * count) % 5).astype(np.int32)
    return HeldOut(score, label, known, known & (np.arange(2 * count) % 10 > 0))


def test_figures_are_those_of_the_threshold() -> None:
    held = example()
    figures = held.figures(0.25)
    assert figures["dir"].value == pytest.approx(np.mean((held.score[:200] >= 0.25) & held.right[:200]))
    assert figures["far"].value == pytest.approx(np.mean(held.score[200:] >= 0.25))
    assert figures["dir"].method == figures["far"].method == held.refused(0.25).method == "Wilson over 5 classes"
    assert held.refused(0.25).value == pytest.approx(np.mean(held.score[:200] < 0.25))
    for rate, found in held.at_rates().items():
        assert found["far"].value <= rate < found["far"].value + 1 / 200
    said = held.to_json()
    people = held.label[~held.known]
    assert (said["classes"], said["images"], said["supported"]) == (5, 200, sure_rate(people))
    assert said["at_far"]["0.01"]["dir"] == held.at_rates()[0.01]["dir"].to_json()
    assert held.threshold(0.3) == sure_threshold(held.strangers, people, 0.3)


@pytest.mark.parametrize(
    ("name", "values", "sentence"),
    [
        ("score", np.full(400, np.nan, np.float32), "scores or classes that cannot be"),
        ("score", np.zeros(400, np.int32), "'score' is not what training writes"),
        ("right", np.zeros(3, bool), "'right' is not what training writes"),
        ("label", np.full(400, 5, np.int32), "scores or classes that cannot be"),
        ("label", np.full(400, -1, np.int32), "scores or classes that cannot be"),
        ("known", np.ones(400, bool), "it lacks images of known or of unknown classes"),
        ("right", np.ones(400, bool), "unknown classes that were named rightly"),
    ],
)
def test_what_is_stored_comes_back_and_nothing_else(name: str, values: np.ndarray, sentence: str) -> None:
    arrays = example().arrays()
    again = HeldOut.from_arrays(arrays, "abcde")
    assert all(np.array_equal(again.arrays()[field], arrays[field]) for field in arrays)
    with pytest.raises(ValueError, match=sentence):
        HeldOut.from_arrays(arrays | {name: values}, "abcde")
    with pytest.raises(KeyError):
        HeldOut.from_arrays({"score": arrays["score"]}, "abcde")


# A run


@pytest.fixture(autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, tmp_path_factory.getbasetemp() / "cache")


def stand_in(patch: pytest.MonkeyPatch, cache: Path) -> None:
    """The tiny backbone for every other, and a cache of its own."""
    patch.setenv("TENFOLD_CACHE", str(cache))
    patch.setattr(frozen_module, "bare_backbone", lambda name: TinyBackbone())
    patch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))


def write_colors(folder: Path, each: int) -> Path:
    draw = np.random.default_rng(0)
    for name, color in COLORS.items():
        for number in range(each):
            image = np.full((20, 20, 3), color) + draw.normal(0, 25, 3) + draw.normal(0, 10, (20, 20, 3))
            save(folder / name / f"{number}.png", image.clip(0, 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Five colors, 12 training images each, which no test changes."""
    folder = tmp_path_factory.mktemp("trained")
    table = split_table(read_table(write_colors(folder / "data", 20)), validation=0.2, test=0.2)
    settings = {"backbone": "tiny", "head": "svm", "strength": 1e-3}
    recipe = Recipe().change(model={"name": "frozen"}, transfer=settings, train={"precision": "float32"})
    with pytest.MonkeyPatch.context() as patch:
        stand_in(patch, tmp_path_factory.getbasetemp() / "cache")
        return train_model(table, recipe, folder / "run")


@pytest.fixture
def run(trained: Run, tmp_path: Path) -> Run:
    """A copy of it and of its images."""
    before, samples = trained.path.parent, trained.table.samples
    shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    own = samples["source"].str.replace(str(before), str(tmp_path), regex=False)
    table = replace(trained.table, samples=samples.assign(source=own))
    write_table(table, tmp_path / "run" / "table.parquet")
    return Run(tmp_path / "run", table)


def test_a_run_keeps_what_was_found(run: Run, tmp_path: Path) -> None:
    assert run.unknown is None
    found = fit_unknown(run)
    assert found is not None
    assert (found.classes, len(found.strangers), int(found.known.sum())) == (5, 60, 60)
    backbone = run.model.backbone
    assert isinstance(backbone, TinyBackbone)
    backbone.seen = 0
    again = fit_unknown(run)
    assert backbone.seen == 0  # the features come from the cache
    moved = load_run(shutil.move(run.path, tmp_path / "moved"))
    for kept in (again, moved.unknown):
        assert kept is not None
        assert all(np.array_equal(values, kept.arrays()[name]) for name, values in found.arrays().items())


def test_scores_are_those_that_the_run_gives_to_images(run: Run) -> None:
    """Out of fold a score is not that of the run's own head, but of its kind: not of another scale."""
    found = fit_unknown(run)
    assert found is not None
    files = [Path(source) for source in run.table.part("train").samples["source"]]
    own = [known_score(result["logits"][None])[0] for _, result in run.predict_files(files)]
    assert np.median(own) == pytest.approx(np.median(found.score[found.known]), rel=0.3)
    assert np.median(found.strangers) < np.median(own)


def test_a_strength_that_was_left_open_is_chosen_as_in_training(run: Run, tmp_path: Path) -> None:
    recipe = run.recipe.change(transfer={"strength": 0.0})
    assert fit_unknown(train_model(run.table, recipe, tmp_path / "open")) is not None


def test_what_is_damaged_is_refused(run: Run) -> None:
    fit_unknown(run)
    path = run.path / "unknown.safetensors"
    arrays = load_file(path)
    save_file({**arrays, "label": torch.full_like(arrays["label"], 9)}, path)
    with pytest.raises(DataError, match=r"unknown\.safetensors is damaged: it has scores or classes that cannot be\."):
        _ = run.unknown
    save_file({"score": arrays["score"]}, path)
    with pytest.raises(DataError, match=r"unknown\.safetensors is damaged"):
        _ = run.unknown
    path.write_bytes(b"no tensors")
    with pytest.raises(DataError, match=r"unknown\.safetensors is damaged"):
        _ = run.unknown


def test_where_it_cannot_be_done_nothing_is_stored(run: Run, tmp_path: Path) -> None:
    assert fit_unknown(run, seconds=0.0) is None
    for name, change in (("majority", {"transfer": {"head": "majority"}}), ("plain", {"model": {"name": "plain"}})):
        recipe = run.recipe.change(**change) if name == "majority" else quick_recipe()
        assert fit_unknown(train_model(run.table, recipe, tmp_path / name)) is None
    for name in ("blue", "red"):
        shutil.copytree(tmp_path / "data" / name, tmp_path / "two" / name)
    few = split_table(read_table(tmp_path / "two"), validation=0.2, test=0.2)
    assert fit_unknown(train_model(few, run.recipe, tmp_path / "few")) is None
    assert not list(tmp_path.glob("*/unknown.safetensors"))


def test_why_it_cannot_be_done_is_the_reason_that_applies(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And each is a reason that `fit_unknown` holds to."""

    def trained(name: str, table: Table, **changes: Any) -> Run:
        return train_model(table, run.recipe.change(**changes), tmp_path / name)

    earlier = trained("earlier", run.table)
    recipe = earlier.path / "recipe.toml"
    gone = json.dumps(str(tmp_path / "moved"))
    recipe.write_text(recipe.read_text("utf-8").replace('init = ""', f"init = {gone}"), "utf-8")
    few = run.table.take(np.flatnonzero(run.table.samples["label"].isin(["blue", "red", "green"])))
    found = {
        "its head, majority, does not": trained("majority", run.table, transfer={"head": "majority"}),
        "an earlier run has trained its network": Run(earlier.path),
        "it was trained on 3 classes, and no fewer than 4 will do": trained("few", few),
        "all training images of each class belong": trained("one", run.table.assign(group=run.table.samples["label"])),
    }
    for reason, of in found.items():
        assert fit_unknown(of) is None
        assert main(["predict", str(of.path), str(tmp_path / "data"), "--false-accept", "30%"]) == 2
        sentence = capsys.readouterr().err
        assert f"has none of it: {reason}" in sentence
        assert not any(other in sentence for other in found if other != reason)
    assert why_not(run) == ""


def test_reading_the_features_takes_of_the_time_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, read = SimpleNamespace(now=1000.0), unknown_module._training_features

    def slowly(*given: object) -> object:
        clock.now += 60
        return read(*given)

    monkeypatch.setattr(unknown_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(unknown_module, "_training_features", slowly)
    assert fit_unknown(run, seconds=0.0) is None
    assert fit_unknown(run, seconds=-1.0) is None
    assert clock.now == 1000  # no image was looked at
    assert fit_unknown(run, seconds=59.0) is None
    assert fit_unknown(run, seconds=61.0) is not None


def test_of_images_that_all_belong_together_none_is_held_out(run: Run, tmp_path: Path) -> None:
    together = run.table.assign(group="one camera")
    assert fit_unknown(train_model(together, run.recipe, tmp_path / "together")) is None


def test_of_two_groups_one_image_each_counts(run: Run, tmp_path: Path) -> None:
    cameras = [f"{part} {row % 2}" for row, part in enumerate(run.table.samples["part"])]
    found = fit_unknown(train_model(run.table.assign(group=cameras), run.recipe, tmp_path / "cameras"))
    assert found is not None
    assert np.bincount(found.label[~found.known]).tolist() == [2] * 5


def test_a_network_of_an_earlier_run_must_be_as_it_was_published(run: Run, tmp_path: Path) -> None:
    def with_init(folder: Path, init: object) -> Run:
        """A copy of the run that says that its network is of another."""
        shutil.copytree(run.path, folder)
        text = (folder / "recipe.toml").read_text("utf-8")
        (folder / "recipe.toml").write_text(text.replace('init = ""', f"init = {json.dumps(str(init))}"), "utf-8")
        return Run(folder)

    assert fit_unknown(with_init(tmp_path / "extended", run.path)) is not None
    assert fit_unknown(with_init(tmp_path / "again", tmp_path / "extended")) is not None
    assert fit_unknown(with_init(tmp_path / "gone", tmp_path / "moved")) is None
    assert fit_unknown(with_init(tmp_path / "self", tmp_path / "self")) is None
    plain = train_model(shapes_table(tmp_path / "shapes"), quick_recipe(), tmp_path / "plain")
    assert fit_unknown(with_init(tmp_path / "trained", plain.path)) is None
    assert fit_unknown(with_init(tmp_path / "twice", tmp_path / "trained")) is None


def test_the_report_tells_of_it(run: Run) -> None:
    assert 'id="unknown"' not in write_report(run).read_text("utf-8")
    fit_unknown(run)
    page = write_report(run).read_text("utf-8")
    assert 'id="unknown"' in page
    assert "60 images of 5 unknown classes" in " ".join(page.split())
    assert "at most 1\u00a0% of held-out images reach it" in page
    assert "may be easier to tell from them, or harder" in " ".join(page.split())


# tenfold predict


def pretend(run: Run, threshold: float) -> None:
    """1,000 images of unknown classes, of which none reaches the threshold, and as many known ones, which all do."""
    score = np.concatenate([np.full(1000, threshold + 1), np.full(1000, threshold)]).astype(np.float32)
    known = np.arange(2000) < 1000
    label = (np.arange(2000) % 5).astype(np.int32)
    arrays = HeldOut(score, label, known, known.copy()).arrays()
    save_file({name: torch.from_numpy(values) for name, values in arrays.items()}, run.path / "unknown.safetensors")


def test_predict_says_none_of_these(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, command = str(tmp_path / "data"), ["predict", str(run.path), str(tmp_path / "data")]
    scores = [
        known_score(found["logits"][None])[0]
        for _, found in run.predict_files(sorted(Path(photos).rglob("*")))
        if not isinstance(found, DataError)
    ]
    middle = float(np.float32(np.median(scores)))
    pretend(run, middle)
    assert main([*command, "--json"]) == 0
    every = json.loads(capsys.readouterr().out)["images"]
    assert "score" not in every[0]
    assert main([*command, "--false-accept", "10%", "--json"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["false_accept"] == 0.1
    assert found["least_score"] == pytest.approx(middle)
    assert f"Images get a class from a score of {middle:.3f} on. 0.0 % of 1000 images of 5 classes that training" in err
    assert "reach it, so that, at a level of 95 %, at most 10 % of images of unknown classes like these do." in err
    assert "Of images of known classes 100.0 % (" in err
    assert "group" not in err  # there are none
    known = [image["score"] > middle for image in found["images"]]
    assert {True, False} == set(known)
    assert [image["known"] for image in found["images"]] == known
    expected = [image["class"] if own else None for image, own in zip(every, known, strict=True)]
    assert [image["class"] for image in found["images"]] == expected
    assert [image["top"] for image in found["images"]] == [image["top"] for image in every]
    main([*command, "--false-accept", "0.1", "--format", "csv", "--top-k", "2"])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["path", "class", "probability", "class_2", "probability_2", "score", "known"]
    assert [row["class"] or None for row in rows] == expected
    assert [row["known"] for row in rows] == ["yes" if own else "no" for own in known]
    main([*command, "--false-accept", "10%"])
    out = capsys.readouterr().out
    assert out.count("none of these") == known.count(False)
    assert "I do not know" not in out


def test_a_fine_tuned_run_asks_the_frozen_network_that_it_keeps(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another network stands for the fine-tuned one: its answers are given, where the frozen one knows the image."""
    tuned = train_model(run.table, quick_recipe(train={"epochs": 1}), tmp_path / "tuned")
    own = ["predict", str(tuned.path), str(tmp_path / "data"), "--json"]
    assert main([*own, "--false-accept", "30%"]) == 2
    assert "is of the model plain; train with --model frozen." in capsys.readouterr().err
    fit_unknown(run)
    shutil.copytree(run.path, tuned.path / "frozen")
    (tuned.path / "ladder.json").write_text(json.dumps({"finetuning": {"decided": True, "kept": "frozen"}}), "utf-8")
    assert main(own) == 0
    plain = json.loads(capsys.readouterr().out)["images"]
    assert main(["predict", str(run.path), str(tmp_path / "data"), "--json", "--false-accept", "30%"]) == 0
    frozen = json.loads(capsys.readouterr().out)["images"]
    assert main([*own, "--false-accept", "30%"]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)["images"]
    assert [image["score"] for image in found] == pytest.approx([image["score"] for image in frozen])
    assert [image["known"] for image in found] == [image["known"] for image in frozen]
    assert {image["known"] for image in found} == {True, False}
    assert [image["top"] for image in found] == [image["top"] for image in plain]
    wanted = [image["class"] if known["known"] else None for image, known in zip(plain, frozen, strict=True)]
    assert [image["class"] for image in found] == wanted
    assert all(one["top"] != other["top"] for one, other in zip(plain, frozen, strict=True))
    assert f"All of that is of the frozen network in {tuned.path / 'frozen'}, which gives the score." in err
    (tmp_path / "data" / "broken.png").write_bytes(b"no image")
    assert main([*own, "--false-accept", "30%"]) == 1
    assert len(json.loads(capsys.readouterr().out)["unreadable"]) == 1


def test_a_fine_tuned_run_is_judged_as_it_answers(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The score of the frozen network that it keeps, and its own names, also in the report."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    tuned = train_model(run.table, quick_recipe(train={"epochs": 1}), tmp_path / "tuned")
    fit_unknown(run)
    shutil.copytree(run.path, tuned.path / "frozen")
    (tuned.path / "ladder.json").write_text(json.dumps({"finetuning": {"decided": True, "kept": "frozen"}}), "utf-8")
    tuned, others = load_run(tuned.path), write_shapes(tmp_path / "others", 4)
    part = tuned.table.part("validation").samples
    known, strange = [Path(source) for source in part["source"]], sorted(others.rglob("*.png"))

    def logits(of: Run, paths: list[Path]) -> np.ndarray:
        found = [answer for _, answer in of.predict_files(paths)]
        return np.array([answer["logits"] for answer in found if not isinstance(answer, DataError)])

    score, theirs = (known_score(logits(run, paths)) for paths in (known, strange))
    right = np.array(tuned.classes)[logits(tuned, known).argmax(1)] == part["label"].to_numpy(str)
    found = evaluate_run(tuned, "validation", unknown=read_table(others)).details["open_set"]
    assert {row["of"] for row in found["rows"]} == {"held_out", "strangers"}
    for row in found["rows"]:
        assert row["far"].value == np.mean(theirs >= row["threshold"])
        assert row["dir"].value == np.mean(right & (score >= row["threshold"]))
    section = unknown_section(tuned)
    assert section is not None
    page = " ".join(section.html.split())
    assert "60 images of 5 unknown classes" in page
    assert "All of that is of the frozen network in <code>frozen</code>, which gives the score, while the fine-" in page
    assert main(["evaluate", str(tuned.path), "--unknown", str(others)]) == 0
    clause = "; the score is that of the frozen network in frozen, and the class that of the fine-tuned one"
    assert f" of the run's{clause}\n" in capsys.readouterr().out
    stored = from_json(tuned.evaluations["validation"])
    shown = open_set(Context(tuned, stored, Thumbnails(tuned.table)))
    assert shown is not None
    page = " ".join(shown.html.split())
    assert f"An image gets a class where its score reaches the threshold{clause}.</p>" in page
    Path(known[0]).unlink()
    shutil.rmtree(tmp_path / "cache")
    assert len(evaluate_run(tuned, "validation", unknown=read_table(others)).unreadable) == 1


def test_with_both_options_an_unknown_image_is_none_of_these(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pretend(run, 1e6)
    card = json.loads((run.path / "model.json").read_text("utf-8"))
    card["calibration"] |= {"steps": [[0.0, 400, 0]], "n": 400}
    (run.path / "model.json").write_text(json.dumps(card), "utf-8")
    photos = str(tmp_path / "data" / "red")
    assert main(["predict", str(run.path), photos, "--false-accept", "10%", "--max-error", "2%"]) == 0
    assert capsys.readouterr().out.count("none of these") == 20
    pretend(run, -1e6)
    card["calibration"] |= {"steps": [[1.0, 400, 0]], "n": 400}
    (run.path / "model.json").write_text(json.dumps(card), "utf-8")
    assert main(["predict", str(run.path), photos, "--false-accept", "10%", "--max-error", "2%"]) == 0
    assert capsys.readouterr().out.count("I do not know") == 20


def test_without_time_training_says_that_no_class_was_held_out(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    left_out = "Left out: holding classes out, which predict --false-accept needs, as no time was left for it; "
    left_out += f"to do it now: tenfold train --resume {run.path}"
    assert _finish(run, json=False, evaluated=False, deadline=time.monotonic()) == 0
    assert left_out in capsys.readouterr().err
    assert run.unknown is None
    assert main(["train", "--resume", str(run.path)]) == 0
    said = capsys.readouterr()
    assert left_out not in said.err
    [command] = [line for line in said.err.splitlines() if line.startswith("Images of no known class: ")]
    assert f"tenfold predict {run.path} IMAGES --false-accept {least_percent(run.unknown):g}% says so" in command


def test_predict_refuses_what_cannot_be_supported(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(of: Run, share: str) -> str:
        assert main(["predict", str(of.path), str(tmp_path / "data"), "--false-accept", share]) == 2
        return capsys.readouterr().err

    needs = f"--false-accept needs what training measures on classes that it holds out, and {run.path} has none of it: "
    why = "training did not come to it, as it was stopped or had no time left; to do it now: "
    assert refused(run, "5%") == f"error: {needs}{why}tenfold train --resume {run.path}.\n"
    fit_unknown(run)
    sentence = refused(run, "5%")
    assert f"--false-accept 5 % is less than {run.path} supports: 60 images of 5 classes that training" in sentence
    assert "held out support 24.1 % at best, as a share is only as sure as there are classes" in sentence
    assert "; 5 % needs about 18 classes with as many images each: give --false-accept 24.1%, or train on m" in sentence
    assert main(["predict", str(run.path), str(tmp_path / "data"), "--false-accept", "24.1%"]) == 0
    capsys.readouterr()
    assert "A false accept rate must be above 0 and below 1" in refused(run, "200%")
    plain = train_model(shapes_table(tmp_path / "shapes"), quick_recipe(), tmp_path / "plain")
    assert "is of the model plain; train with --model frozen." in refused(plain, "5%")
    assert main(["predict", str(run.path), "x.jpg", "--false-acept", "1%"]) == 2
    assert "Did you mean --false-accept?" in capsys.readouterr().err
