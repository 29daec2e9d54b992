"""What a leak was worth to a detector: the figures, their interval, the looks, and what is said."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenfold import check
from tenfold.__main__ import main
from tenfold.check import Findings, price_leak
from tenfold.commands.check import _worth
from tenfold.estimate import units_of
from tenfold.evaluate import evaluate_run
from tenfold.looks import ledger_path
from tenfold.metrics.detection import detection_findings, match_part
from tenfold.metrics.detection_ap50 import ap50_without, images_of
from tenfold.metrics.detection_matching import Detections, Objects
from tenfold.models import MODELS
from tenfold.run import Run, load_run
from tenfold.tasks import box_detections, table_objects
from tenfold.train import train_model
from tests.test_detection_task import Finder
from tests.test_seams import box_table
from tests.toys import quick_recipe

Capture = pytest.CaptureFixture[str]
CLASSES = ("a", "b")


def found_boxes(
    recall: np.ndarray, seed: int = 0, only_leaked: str = "", leaked: np.ndarray | None = None
) -> tuple[Objects, Detections]:
    """Images whose objects are found with these probabilities [N], some false detections among them.

    Objects of the class `only_leaked` are in images of `leaked` alone.
    """
    draw = np.random.default_rng(seed)
    objects, found = [], []
    for image, chance in enumerate(recall):
        for slot in range(4):
            label, box = slot % 2, (20 * slot, 0, 20 * slot + 15, 15)
            there, hit, score, false = draw.random(4)
            if there < 0.7 and not (CLASSES[label] == only_leaked and leaked is not None and not leaked[image]):
                objects.append((image, box, label))
                if hit < chance:
                    found.append((image, box, label, score))
            if false < 0.1:
                found.append((image, (20 * slot, 40, 20 * slot + 15, 55), label, 0.7 * score))
    image, box, label = (np.array(values) for values in zip(*objects, strict=True))
    made = Objects(image, box.astype(np.float64), label, np.zeros(len(image), bool))
    image, box, label, score = (np.array(values) for values in zip(*found, strict=True))
    return made, Detections(image, box.astype(np.float64), label, score)


def slow_ap50(objects: Objects, detections: Detections, times: np.ndarray) -> float:
    """COCO's mean AP at 0.5, each image counting so often, [N]; boxes are the very same or do not touch."""
    areas = []
    for label in np.unique(objects.label):
        own = objects.label == label
        wanted = times[objects.image[own]].sum()
        if not wanted:
            continue
        real = {(image, *box) for image, box in zip(objects.image[own], objects.box[own].tolist(), strict=True)}
        rows = np.flatnonzero(detections.label == label)
        rows = rows[np.argsort(-detections.score[rows], kind="stable")]
        hits = np.array([(detections.image[row], *detections.box[row].tolist()) in real for row in rows], float)
        weight = times[detections.image[rows]]
        right, every = np.cumsum(hits * weight), np.cumsum(weight)
        precision, recall = right / np.maximum(every, 1e-9), right / wanted
        points = np.linspace(0, 1, 101)
        areas.append(np.mean([precision[recall >= point - 1e-12].max(initial=0.0) for point in points]))
    return float(np.mean(areas))


def test_with_and_without_are_the_figures_of_each_and_their_difference_varies_as_in_a_slow_bootstrap() -> None:
    leaked = np.arange(60) < 15
    objects, found = found_boxes(np.where(leaked, 1.0, 0.7))
    part, units = match_part(objects, found, CLASSES, 60), units_of(None, 60)
    told = ap50_without(part, leaked, units)
    assert told.gone == ()
    rest = images_of(part, np.flatnonzero(~leaked))
    for one, estimate in ((part, told.whole), (rest, told.without)):
        figures, _ = detection_findings(one.objects, one.detections, CLASSES, one.images)
        assert estimate.value == pytest.approx(figures["ap50"].value)
        assert estimate.n == one.images
        every = np.ones(one.images)
        assert estimate.value == pytest.approx(slow_ap50(one.objects, one.detections, every))
    assert told.difference.value == pytest.approx(told.whole.value - told.without.value)
    draw, gaps = np.random.default_rng(1), []
    for _ in range(150):
        times = np.bincount(draw.integers(0, 60, 60), minlength=60).astype(float)
        gaps.append(slow_ap50(objects, found, times) - slow_ap50(objects, found, times * ~leaked))
    reach = (told.difference.high - told.difference.low) / 2 / 2.145  # Student's t of 14 degrees of freedom
    assert reach == pytest.approx(np.std(gaps), rel=0.25)
    assert told.difference.low > 0


def test_no_interval_has_zero_width_and_few_leaked_images_say_little() -> None:
    objects, found = found_boxes(np.ones(40))
    found = Detections(*(values[found.box[:, 1] == 0] for values in found))  # none is false
    part, units = match_part(objects, found, CLASSES, 40), units_of(None, 40)
    few, many = (ap50_without(part, np.arange(40) < count, units).difference for count in (2, 20))
    for difference in (few, many):
        assert difference.value == 0
        assert difference.low < -1e-4
        assert difference.high > 1e-4
    groups = units_of(np.repeat(np.arange(10), 4).astype(object), 40)
    assert ap50_without(part, np.arange(40) < 8, groups).difference.method == "paired bootstrap over 10 groups"


def test_a_class_of_which_nothing_is_left_is_in_neither_figure() -> None:
    leaked = np.arange(30) < 10
    objects, found = found_boxes(np.full(30, 0.8), only_leaked="b", leaked=leaked)
    told = ap50_without(match_part(objects, found, CLASSES, 30), leaked, units_of(None, 30))
    assert told.gone == ("b",)
    alone = objects.take(objects.label == 0)
    own = Detections(*(values[found.label == 0] for values in found))
    assert told.whole.value == pytest.approx(slow_ap50(alone, own, np.ones(30)))
    assert told.difference.value == pytest.approx(told.whole.value - told.without.value)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector that finds most squares, and the listing of its images."""
    place = tmp_path_factory.mktemp("priced")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        patch.setitem(MODELS, "finder", Finder)
        table = box_table(place / "boxes")
        recipe = quick_recipe(
            image={"size": 24, "margin": 1.0},
            model={"name": "finder"},
            augment={"policy": "none"},
            train={"epochs": 10, "lr": 0.05},
        )
        train_model(table, recipe, place / "runs" / "one", task="detection")
    boxes = table.boxes
    assert boxes is not None
    with (place / "boxes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "x1", "y1", "x2", "y2", "label", "part"])
        for sample, x1, y1, x2, y2, label in boxes[["sample", "x1", "y1", "x2", "y2", "label"]].itertuples(index=False):
            rows.writerow([table.samples["source"][sample], x1, y1, x2, y2, label, table.samples["part"][sample]])
    return place


@pytest.fixture
def path(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, that nobody has looked at."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(MODELS, "finder", Finder)
    return Path(shutil.copytree(made / "runs", tmp_path / "runs")) / "one"


def test_a_leak_is_priced_by_two_looks(path: Path) -> None:
    run = load_run(path)
    test = run.table.part("test")
    leaked = set(test.samples["hash"][:3])
    assert price_leak(run, set(), "test") is None
    assert price_leak(run, set(run.table.samples["hash"]), "test") is None
    assert not ledger_path(path).exists()
    price = price_leak(run, leaked, "test")
    assert price is not None
    assert (price.part, price.images, price.leaked, price.look, price.figure) == ("test", len(test), 3, 2, "ap50")
    assert [json.loads(line)["images"] for line in ledger_path(path).read_text().splitlines()] == [
        len(test),
        len(test) - 3,
    ]
    frame = run.predictions("test")
    rows = np.flatnonzero((run.table.samples["part"] == "test") & ~run.table.samples["hash"].isin(leaked))
    place = np.full(len(run.table), -1)
    place[rows] = np.arange(len(rows))
    frame = frame.assign(sample=place[frame["sample"]])
    found = box_detections(frame[frame["sample"] >= 0], run.classes)
    figures, _ = detection_findings(table_objects(run.table.take(rows))[0], found, run.classes, len(rows))
    assert price.clean.value == pytest.approx(figures["ap50"].value)
    assert price.whole.value == pytest.approx(run.evaluations["test"]["figures"]["ap50"]["value"])
    assert price.whole.level == price.clean.level == price.worth.level == pytest.approx(0.975)
    assert price_leak(load_run(path), leaked, "test") == price  # the same figures once more are no further look
    other = price_leak(load_run(path), set(test.samples["hash"][:2]), "test")
    assert other is not None
    assert other.look == 3
    assert evaluate_run(load_run(path), "test").look == 3
    free = price_leak(load_run(path), set(run.table.part("validation").samples["hash"][:3]), "validation")
    assert free is not None
    assert (free.look, free.clean.level) == (0, 0.95)


def test_where_none_but_leaked_images_can_be_read_that_is_said_and_no_look_noted(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    run = load_run(path)
    samples = run.table.samples
    leaked = set(run.table.part("test").samples["hash"][:3])
    gone = (samples["part"] == "test") & ~samples["hash"].isin(leaked)
    moved = run.table.assign(source=samples["source"].where(~gone, samples["source"] + ".gone").tolist())
    run = Run(path, moved)
    assert price_leak(run, leaked, "test") is None
    monkeypatch.setattr(check, "leaked_hashes", lambda findings, part: leaked)
    assert _worth(run, "test", Findings(0), whole=True) is None
    assert re.search("No price: all annotated test images of .* are leaked", " ".join(capsys.readouterr().err.split()))
    assert not ledger_path(path).exists()


def test_the_command_says_it_in_ap50(
    made: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    leaked: set[Any] = set(load_run(path).table.part("test").samples["hash"][:3])
    monkeypatch.setattr(check, "leaked_hashes", lambda findings, part: leaked)
    page, command = tmp_path / "check.html", ["check", str(made / "boxes.csv"), "--price", str(path)]
    main([*command, "--page", str(page)])
    out = " ".join(capsys.readouterr().out.split())
    number = r"-?\d\.\d{3}"
    sentence = (
        rf"With the leak AP50 {number}, without {number}: the leak was worth {number} \({number} to {number}\), "
        r"by 3 of \d+ test images\."
    )
    said = re.search(rf"{sentence} Looks at these test images: 2\.", out)
    assert said
    assert re.search(sentence, page.read_text("utf-8"))
    main([*command, "--json"])
    price = json.loads(capsys.readouterr().out)["price"]
    assert (price["figure"], price["gone"]) == ("ap50", [])
    assert re.match(sentence, price["sentence"])
    monkeypatch.setattr(check, "leaked_hashes", lambda findings, part: set())
    main(command)
    assert "No price: no annotated test image of" in " ".join(capsys.readouterr().err.split())
