"""Detection by the command line: the whole path on a few squares, every form of prediction, and what is refused."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tenfold.__main__ import main
from tenfold.commands.coco_ids import CocoIds
from tenfold.commands.predict_boxes import Seen, _coco
from tenfold.errors import Interrupted
from tenfold.images.readers import read_table
from tenfold.images.table import write_table
from tenfold.models import frozen as frozen_module
from tenfold.models.detection import detector
from tenfold.models.weights import Origin
from tenfold.recipe import Recipe
from tenfold.report.drawn import COLORS, draw_boxes
from tenfold.run import Run, load_run, read_card, write_json
from tenfold.tasks import TASKS
from tenfold.train import resume_training, train_model
from tests.test_detection_models import ToyBackbone

Capture = pytest.CaptureFixture[str]
ESTIMATE = {"value", "low", "high", "level", "n", "method"}
WIDTH, HEIGHT = 96, 72
CLASSES = ("blue", "red")
QUICK = (
    "--epochs 2 --size 64 --batch-size 4 --detect.pyramid-width 16 --detect.units 32 --detect.detections 5 "
    "--train.precision float32 --train.threads 2"
).split()
WITHOUT = "{} is for {}, and runs/boxes-1 is {}; leave it out."


def write_squares(folder: Path, count: int = 12, classes: tuple[str, ...] = CLASSES) -> Path:
    """Colored squares on grey noise, two in an image and in the last one none, with a listing in parts."""
    draw = np.random.default_rng(0)
    folder.mkdir(parents=True)
    rows = [["path", "x1", "y1", "x2", "y2", "label", "part"]]
    for number in range(count):
        image = draw.normal(120, 10, (HEIGHT, WIDTH, 3))
        part = ("train", "train", "validation", "test")[number % 4]
        name = f"{number:02}.png"
        for place, label in enumerate((classes * 2)[:2] if number < count - 1 else ()):
            side = int(draw.integers(16, 30))
            x, y = int(draw.integers(0, 18)) + 48 * place, int(draw.integers(0, HEIGHT - side))
            image[y : y + side, x : x + side] = (30, 30, 220) if label == "blue" else (220, 30, 30)
            rows.append([name, *map(str, (x, y, x + side, y + side)), label, part])
        if number == count - 1:
            rows.append([name, *[""] * 5, part])
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name)
    with (folder / "boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder / "boxes.csv"


def use_toy(patch: pytest.MonkeyPatch) -> None:
    """Three layers in place of a pretrained network, which takes seconds to build."""
    origin = Origin("toy", "made by hand", "none", "0", "it has learned nothing")
    patch.setattr(detector, "bare_backbone", lambda name: ToyBackbone())
    patch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (ToyBackbone(), origin))


@pytest.fixture(autouse=True)
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    use_toy(monkeypatch)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder that squares were trained in, what `train --json` printed, and what it said on stderr."""
    place = tmp_path_factory.mktemp("boxes")
    write_squares(place / "squares")
    for name in "ab":
        (place / "photos" / name).mkdir(parents=True)
        for number in range(6):
            shutil.copy(place / "squares" / f"{number:02}.png", place / "photos" / name / f"{name}{number}.png")
    printed, said = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(said),
    ):
        use_toy(patch)
        patch.chdir(place)
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        code = main(["train", "squares/boxes.csv", "--json", *QUICK])
    assert code == 0, said.getvalue()
    return place, json.loads(printed.getvalue()), said.getvalue()


@pytest.fixture
def work(trained: tuple[Path, dict[str, Any], str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder as the current one."""
    monkeypatch.chdir(trained[0])
    monkeypatch.setenv("TENFOLD_CACHE", str(trained[0] / "cache"))
    return trained[0]


@pytest.fixture
def settled(work: Path, tmp_path: Path) -> Path:
    """A copy of the run whose training chose a score, and measured steps of it."""
    copy = tmp_path / "settled"
    shutil.copytree(work / "runs" / "boxes-1", copy)
    steps = [[0.9, 30, 0, 30.0, None], [0.25, 300, 6, 300.0, None], [0.0, 600, 300, 600.0, None]]
    card = read_card(copy)
    card["calibration"] |= {"temperature": 1.0, "score": 0.25, "score_steps": steps}
    write_json(copy / "model.json", card)
    return copy


def json_of(capture: Capture) -> Any:
    return json.loads(capture.readouterr().out)


def images_of(work: Path) -> list[str]:
    return [str(path) for path in sorted((work / "squares").glob("*.png"))]


def test_train_takes_a_detector_and_says_what_its_anchors_are(trained: tuple[Path, dict[str, Any], str]) -> None:
    place, result, said = trained
    assert result["run"] == str(Path("runs") / "boxes-1")
    assert result["images"] == {"train": 6, "validation": 3, "test": 3}
    assert next(iter(result["evaluation"]["validation"]["figures"])) == "ap50"
    assert set(result["evaluation"]["validation"]["figures"]["ap50"]) == ESTIMATE
    assert {"underfitting", "noisy validation"} & {found["kind"] for found in result["diagnosis"]}
    assert "Network: faster-rcnn, " in said
    assert re.search(r"anchor boxes fitted to the 12 boxes of the training part|the usual anchor boxes", said)
    assert read_card(place / "runs" / "boxes-1")["task"] == "detection"


def test_what_training_prints_ends_with_the_next_command(work: Path, settled: Path, capsys: Capture) -> None:
    assert main(["train", "--resume", str(settled)]) == 0
    out, err = capsys.readouterr()
    assert "AP50" in out
    assert f"tenfold evaluate {settled} --part test" in out
    assert "Detections from a score of 0.250 on give the best F1 there; tenfold predict shows these." in err


def test_evaluate_shows_classes_mistakes_and_what_was_taken_for_what(
    work: Path, settled: Path, capsys: Capture
) -> None:
    assert main(["evaluate", str(settled), "--part", "test"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "3 test images"
    assert "AP50" in out.splitlines()[3]
    assert (
        "What follows counts detections with a score from 0.250 on, the best F1 on the validation part; AP50 looks "
        "at all." in out
    )
    for words in ("Precision", "Mistake", "Nothing there", "Truth, then detected as", "missed", "nothing", "look 1 at"):
        assert words in out
    assert main(["evaluate", str(settled), "--score", "0.6", "--json"]) == 0
    assert json_of(capsys)["details"]["score"] == 0.6
    assert main(["evaluate", str(settled), "--score", "0.6"]) == 0
    assert "with a score from 0.600 on, as it was given; AP50" in capsys.readouterr().out


def test_the_report_and_the_card_speak_of_objects(work: Path, settled: Path, capsys: Capture) -> None:
    assert main(["evaluate", str(settled), "--part", "test", "--json"]) == 0
    assert main(["report", str(settled)]) == 0
    capsys.readouterr()
    page = (settled / "report.html").read_text("utf-8")
    assert "the model&#39;s AP50 is" in page
    assert "where 1 is every object found and nothing else" in page
    for words in ("Class by class", "Mistakes by kind", "nothing in them", "Loss: boxes", "nchor boxes", "2 epochs in"):
        assert words in page
    assert "smoothed labels" not in page
    assert "objects: 2" in page  # of the sheet of what it was fed
    card = (settled / "README.md").read_text("utf-8")
    assert "- Task: detection" in card
    assert "whatever else an image shows is passed over, or taken for one of them" in card
    assert "Its scores were fitted to its validation part" in card


def test_the_report_fits_a_phone_and_is_quiet_in_a_browser(work: Path, settled: Path, capsys: Capture) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (uv sync)")
    from tests.test_report_browser import CHROMIUM, OPTIONS, OVERFLOW, Tab

    if CHROMIUM is None:
        pytest.skip("needs a Chromium; tenfold doctor says how to get one")
    assert main(["evaluate", str(settled), "--json"]) == 0
    assert main(["report", str(settled)]) == 0
    capsys.readouterr()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        tab = Tab(browser, settled / "report.html", viewport={"width": 375, "height": 800})
        assert tab.page.evaluate(OVERFLOW) <= 0
        assert tab.page.locator("#detection_images svg[role=img]").count() >= 1
        assert tab.said == []
        browser.close()


def test_compare_two_detectors(work: Path, settled: Path, capsys: Capture) -> None:
    assert main(["evaluate", "runs/boxes-1", "--json"]) == 0
    assert main(["evaluate", str(settled), "--json"]) == 0
    capsys.readouterr()
    assert main(["train", "squares/boxes.csv", "--json", "--seed", "1", *QUICK, "--out", "runs/other"]) == 0
    capsys.readouterr()
    assert main(["compare", "runs/boxes-1", "runs/other"]) == 0
    out = capsys.readouterr().out
    assert "AP50" in out
    assert "3 validation images, 95\u00a0% intervals" in out
    assert main(["compare", "runs/boxes-1", "runs/boxes-1"]) == 0
    assert "No difference is shown: AP50 is" in capsys.readouterr().out
    assert main(["compare", "runs/boxes-1", "--with", "runs/other", str(settled)]) == 2
    assert "Sets of runs need at least two runs on each side" in capsys.readouterr().err


def test_predict_agrees_in_all_its_forms(work: Path, capsys: Capture, tmp_path: Path) -> None:
    images, every = images_of(work), ["--score", "0"]
    assert main(["predict", "runs/boxes-1", *images, *every, "--json"]) == 0
    found = json_of(capsys)
    assert (found["score"], found["unreadable"]) == (0, {})
    assert [one["path"] for one in found["images"]] == images
    objects = [(one["path"], thing) for one in found["images"] for thing in one["objects"]]
    assert objects
    for _, thing in objects:
        x1, y1, x2, y2 = thing["box"]
        assert 0 <= x1 < x2 <= WIDTH
        assert 0 <= y1 < y2 <= HEIGHT
        assert 0 <= thing["score"] <= 1
        assert thing["class"] in CLASSES

    assert main(["predict", "runs/boxes-1", *images, *every, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["path", "class", "score", "x1", "y1", "x2", "y2"]
    assert [(row["path"], row["class"]) for row in rows] == [(path, thing["class"]) for path, thing in objects]
    assert float(rows[0]["x2"]) == pytest.approx(objects[0][1]["box"][2], abs=0.01)

    assert main(["predict", "runs/boxes-1", *images, *every]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["Path", "Class", "Score", "x1", "y1", "x2", "y2"]
    assert sum(".png" in line for line in table) == len(objects)

    assert main(["predict", "runs/boxes-1", *images, *every, "--format", "coco"]) == 0
    results = json_of(capsys)
    assert len(results) == len(objects)
    (path, thing), first = objects[0], results[0]
    assert (first["image_id"], first["file_name"]) == (int(Path(path).stem), path)
    assert first["category_id"] == 1 + CLASSES.index(thing["class"])
    x1, y1, x2, y2 = thing["box"]
    assert first["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=0.002)

    labels = tmp_path / "labels"
    assert main(["predict", "runs/boxes-1", *images, *every, "--format", "yolo", "--out", str(labels)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"12 text files: {labels}\n"
    assert f"Classes by number, as in {labels / 'classes.txt'}: 0 blue, 1 red." in printed.err
    assert (labels / "classes.txt").read_text() == "blue\nred\n"
    lines = (labels / Path(path).with_suffix(".txt").name).read_text().splitlines()
    kind, *shares = map(float, lines[0].split())
    assert CLASSES[int(kind)] == thing["class"]
    wanted = [(x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT, thing["score"]]
    assert shares == pytest.approx(wanted, abs=1e-5)


def test_predicted_classes_have_the_numbers_that_the_data_declare(
    work: Path, settled: Path, capsys: Capture, tmp_path: Path
) -> None:
    """Of four classes in a data.yaml two have boxes: a program that reads the results goes by its four."""
    table = replace(load_run(settled).table, declared=("red", "green", "blue", "grey"))
    write_table(table, settled / "table.parquet")
    for number in ("00", "01"):
        shutil.copy(work / "squares" / f"{number}.png", tmp_path / f"{number}.png")
    images, numbers = [str(tmp_path / "01.png"), str(tmp_path / "00.png")], {"red": 0, "blue": 2}
    assert main(["predict", str(settled), *images, "--score", "0", "--json"]) == 0
    named = [thing["class"] for one in json_of(capsys)["images"] for thing in one["objects"]]
    assert named
    assert main(["predict", str(settled), *images, "--score", "0", "--format", "coco"]) == 0
    assert [one["category_id"] - 1 for one in json_of(capsys)] == [numbers[name] for name in named]
    out = tmp_path / "labels"
    assert main(["predict", str(settled), *images, "--score", "0", "--format", "yolo", "--out", str(out)]) == 0
    assert "0 red, 1 green, 2 blue, 3 grey." in capsys.readouterr().err
    assert (out / "classes.txt").read_text() == "red\ngreen\nblue\ngrey\n"
    lines = [line for name in ("01.txt", "00.txt") for line in (out / name).read_text().splitlines()]
    assert [int(line.split()[0]) for line in lines] == [numbers[name] for name in named]


def test_evaluate_says_which_boxes_count_for_nothing(settled: Path, capsys: Capture) -> None:
    table = load_run(settled).table
    rows = np.flatnonzero((table.samples["part"] == "validation").to_numpy(bool))
    boxes = table.boxes.copy()
    place = int(np.flatnonzero(boxes["sample"].isin(rows))[0])
    boxes.loc[place, "x2"] = boxes.loc[place, "x1"]
    write_table(replace(table, boxes=boxes), settled / "table.parquet")
    assert main(["evaluate", str(settled)]) == 0
    out = capsys.readouterr().out
    assert "Left out, as they have no area: 1 box, which tenfold check names." in out
    assert "Small, medium and large go by the area of the box.\n" in out


def test_evaluate_says_by_which_areas_objects_are_small(settled: Path, capsys: Capture) -> None:
    table = load_run(settled).table
    held = (table.samples["part"] == "validation").to_numpy(bool)[table.boxes["sample"]]
    given = "the area that an annotation gives, as of a mask, and by that of the box where it gives none"
    for place, words in ((np.flatnonzero(~held)[0], "the area of the box"), (np.flatnonzero(held)[0], given)):
        areas = np.where(np.arange(len(held)) == place, 50.0, np.nan)  # of one box, in another part or in this one
        write_table(replace(table, boxes=table.boxes.assign(area=areas)), settled / "table.parquet")
        assert main(["evaluate", str(settled)]) == 0
        assert f"Small, medium and large go by {words}.\n" in capsys.readouterr().out


def test_coco_results_take_the_ids_of_a_coco_json(work: Path, capsys: Capture, tmp_path: Path) -> None:
    assert main(["convert", "squares/boxes.csv", str(tmp_path / "coco"), "--to", "coco", "--json"]) == 0
    capsys.readouterr()
    ids = tmp_path / "coco" / "annotations" / "instances_test.json"
    content = json.loads(ids.read_text("utf-8"))
    content["images"] = [one | {"id": 100 + one["id"]} for one in content["images"]]
    content["categories"] = [{"id": 7, "name": "red"}, {"id": 9, "name": "blue"}]
    ids.write_text(json.dumps(content), "utf-8")
    places = [str(work / "squares" / one["file_name"]) for one in content["images"]]
    options = ["--score", "0", "--format", "coco", "--ids", str(ids)]
    assert main(["predict", "runs/boxes-1", *places, *options]) == 0
    results = json_of(capsys)
    known = {one["id"]: one["file_name"] for one in content["images"]}
    assert {known[one["image_id"]] for one in results} <= {Path(place).name for place in places}
    assert all(known[one["image_id"]] == Path(one["file_name"]).name for one in results)
    assert {one["category_id"] for one in results} <= {7, 9}
    assert main(["predict", "runs/boxes-1", str(work / "squares" / "00.png"), *options]) == 2
    assert re.search(r"--ids must name each image once, and .*00\.png is there 0 times", capsys.readouterr().err)
    ids.write_text('{"images": [], "categories": [{"id": 7, "name": "red"}]}', "utf-8")
    assert main(["predict", "runs/boxes-1", *places, *options]) == 2
    assert "must have a category of each class of the run; it lacks 'blue'" in capsys.readouterr().err
    ids.write_text("[]", "utf-8")
    assert main(["predict", "runs/boxes-1", *places, *options]) == 3
    assert "is no COCO json with images and categories" in capsys.readouterr().err


def write_ids(
    file: Path, images: dict[str, Any], categories: tuple[str, str] = ("red", "blue"), encoding: str = "utf-8"
) -> Path:
    """A COCO json that gives images their ids, and two categories 7 and 9."""
    content = {
        "images": [{"file_name": name, "id": number} for name, number in images.items()],
        "categories": [{"id": number, "name": name} for number, name in zip((7, 9), categories, strict=True)],
    }
    file.write_text(json.dumps(content), encoding)
    return file


def copies(work: Path, folder: Path, *names: str) -> list[str]:
    """Images of squares by other names below a folder."""
    paths = [folder / name for name in names]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(work / "squares" / f"{number:02}.png", path)
    return [str(path) for path in paths]


IDS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "one for two": (
        {"1.png": 7},
        ("a/1.png", "b/1.png"),
        r"--ids must have an id for each image, and .*a/1\.png and .*b/1\.png would both have 7; name the images in it",
    ),
    "given twice": ({"1.png": 7, "2.png": 7}, ("1.png", "2.png"), r"1\.png and .*2\.png would both have 7; name"),
    "another folder": (
        {"val/1.png": 7},
        ("train/1.png",),
        r"--ids must name each image once, and .*train/1\.png is there 0 times, only val/1\.png\.",
    ),
    "several": (
        {"1.png": 7, "a/1.png": 8},
        ("a/1.png",),
        r"--ids must name each image once, and .* is there 2 times\.",
    ),
}


@pytest.mark.parametrize("name", IDS)
def test_an_id_of_another_image_is_refused_before_anything_is_predicted(
    name: str, work: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, files, words = IDS[name]
    paths, ids = copies(work, tmp_path, *files), write_ids(tmp_path / "ids.json", known)
    monkeypatch.setattr(Run, "predict_files", None)
    assert main(["predict", "runs/boxes-1", *paths, "--score", "0", "--format", "coco", "--ids", str(ids)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.search(words, err.replace("\\", "/"))


@pytest.mark.parametrize("named", ["images/1.png", "/disk/of/another/1.png", "D:\\old\\1.png", "./1.png"])
def test_folders_that_say_nothing_need_not_be_those_of_the_images(named: str, tmp_path: Path) -> None:
    ids = write_ids(tmp_path / "ids.json", {named: 7})
    path = str(tmp_path / "val" / "1.png")
    assert CocoIds.of(ids, ("blue", "red"), [path]).images == {path: 7}


def test_ids_are_found_by_the_names_that_the_reader_of_the_json_knows(
    work: Path, settled: Path, capsys: Capture, tmp_path: Path
) -> None:
    """Accents in two letters, blanks, a byte order mark, ids that are text, the other slash and other dots."""
    card = read_card(settled)
    card["classes"] = ["m\u00e8o", "red"]
    write_json(settled / "model.json", card)
    table = load_run(settled).table
    renamed = table.boxes.replace({"label": {"blue": "m\u00e8o"}})
    write_table(replace(table, classes=("m\u00e8o", "red"), boxes=renamed), settled / "table.parquet")
    files = ("val/me\u0300o.png", "train/2.png", "3.PNG", "4.png")
    paths = copies(work, tmp_path, *files)
    known = {"val\\m\u00e8o.png": "first", "../train/2.png": 2.0, "3.png": 3, "./4.png": "4"}
    ids = write_ids(tmp_path / "ids.json", known, ("red ", "me\u0300o"), "utf-8-sig")
    assert main(["predict", str(settled), *paths, "--score", "0", "--format", "coco", "--ids", str(ids)]) == 0
    results = json_of(capsys)
    assert {one["file_name"]: one["image_id"] for one in results} == dict(zip(paths, known.values(), strict=True))
    assert {one["category_id"] for one in results} <= {7, 9}


def test_an_image_that_is_named_twice_is_predicted_once(work: Path, capsys: Capture) -> None:
    options = ["--score", "0", "--format", "coco"]
    assert main(["predict", "runs/boxes-1", "squares", *options]) == 0
    once = json_of(capsys)
    assert main(["predict", "runs/boxes-1", "squares", "squares/01.png", *options]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == once
    assert f"Named more than once, and taken once (1): {work / 'squares' / '01.png'}." in err


def test_text_files_lie_in_the_folders_that_their_images_lie_in(work: Path, capsys: Capture, tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    copies(work, frames, "a/1.png", "b/1.png", "b/deep/classes.old.png", "2.png")
    for number, given in enumerate(([frames], [frames / "a", frames / "b", frames / "2.png"])):
        labels = tmp_path / f"labels-{number}"
        options = ["--score", "0", "--format", "yolo", "--out", str(labels)]
        assert main(["predict", "runs/boxes-1", *map(str, given), *options]) == 0
        assert capsys.readouterr().out == f"4 text files: {labels}\n"
        texts = {path.relative_to(labels).as_posix() for path in labels.rglob("*.txt")}
        lists = {"classes.txt", "a/classes.txt", "b/classes.txt", "b/deep/classes.txt"}
        assert texts == {"2.txt", "a/1.txt", "b/1.txt", "b/deep/classes.old.txt"} | lists
        assert {(labels / name).read_text() for name in lists} == {"blue\nred\n"}
    assert main(["predict", "runs/boxes-1", str(frames), "--score", "0", "--format", "csv"]) == 0
    found = [Path(row["path"]) for row in csv.DictReader(io.StringIO(capsys.readouterr().out))]
    for path in set(found):
        lines = (labels / path.relative_to(frames)).with_suffix(".txt").read_text().splitlines()
        assert len(lines) == found.count(path)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (("a/1.png", "a/1.PNG"), r"and .*a/1\.png and .*a/1\.PNG would both have 1\.txt; rename one of them, or leave"),
        (("a/1.png", "B/x.png", "b/X.jpg"), r"and .*B/x\.png and .*b/X\.jpg would both have b/X\.txt; rename one of"),
        (("Classes.png",), r"and that of .*Classes\.png would be the list of classes, classes\.txt; rename the image"),
    ],
)
def test_images_that_can_have_no_text_file_of_their_own_are_refused_before_anything_is_predicted(
    files: tuple[str, ...], words: str, work: Path, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = copies(work, tmp_path, *files)
    if len({Path(path).stat().st_ino for path in paths}) < len(paths):
        pytest.skip("needs a disk on which upper and lower case differ")
    monkeypatch.setattr(Run, "predict_files", None)
    assert main(["predict", "runs/boxes-1", *paths, "--format", "yolo", "--out", str(tmp_path / "labels")]) == 2
    assert re.search(f"--format yolo gives each image a text file of its name, {words}", capsys.readouterr().err)
    assert not (tmp_path / "labels").exists()


def test_the_score_is_that_which_training_chose(work: Path, settled: Path, capsys: Capture) -> None:
    path = str(work / "squares" / "00.png")
    assert main(["predict", str(settled), path, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["score"] == 0.25
    assert "Objects from a score of 0.250 on, the best F1 on the validation part; --score sets another." in err
    card = read_card(settled)
    del card["calibration"]["score"]
    write_json(settled / "model.json", card)
    assert main(["predict", str(settled), path, "--json"]) == 0
    assert "Objects from a score of 0.5 on, as training chose none; --score sets another." in capsys.readouterr().err


def test_a_precision_is_one_that_the_validation_part_supports(work: Path, settled: Path, capsys: Capture) -> None:
    path = str(work / "squares" / "00.png")
    assert main(["predict", str(settled), path, "--precision", "95%", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["score"] == 0.25
    assert "Objects from a score of 0.250 on: 300 on 3 validation images support at least 95 % right." in err
    assert main(["predict", str(settled), path, "--precision", "99.9%"]) == 2
    said = f"--precision 99.9 % is more than the 3 validation images of {settled} support; they do support 95 %."
    assert said in capsys.readouterr().err
    card = read_card(settled)
    del card["calibration"]["score_steps"]
    write_json(settled / "model.json", card)
    assert main(["predict", str(settled), path, "--precision", "95%"]) == 2
    assert "--precision needs what training measures on a validation part with at least 20 detections" in (
        capsys.readouterr().err
    )


def test_images_with_nothing_are_named_and_those_that_cannot_be_read_too(work: Path, capsys: Capture) -> None:
    (work / "broken.png").write_bytes(b"no image")
    images = images_of(work)[:5]
    assert main(["predict", "runs/boxes-1", "broken.png", *images, "--score", "1"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"Nothing from a score of 1.000 on in {', '.join(images[:3])} and 2 more." in err
    assert "broken.png" in err


def test_drawn_copies_have_the_images_size_and_names_of_their_own(work: Path, capsys: Capture, tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        shutil.copy(work / "squares" / "00.png", tmp_path / name / "same.png")
    Image.open(work / "squares" / "01.png").save(tmp_path / "a" / "other.jpg")
    command = ["predict", "runs/boxes-1", str(tmp_path / "a"), str(tmp_path / "b"), "--score", "0", "--json"]
    assert main([*command, "--draw", str(tmp_path / "drawn")]) == 0
    assert len(json_of(capsys)["images"]) == 3
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["b_same.png", "other.jpg", "same.png"]
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "same.png"))
    assert drawn.shape == (HEIGHT, WIDTH, 3)
    assert (drawn != np.asarray(Image.open(tmp_path / "a" / "same.png"))).any()
    assert main([*command, "--draw", str(tmp_path / "drawn")]) == 2
    assert "--draw must be a new or an empty folder, and" in capsys.readouterr().err


def test_boxes_are_drawn_in_the_color_of_their_class() -> None:
    image = draw_boxes(np.zeros((50, 60, 3), np.uint8), np.array([[5.0, 20, 30, 40]]), [1], ["word"])
    pixels = np.asarray(image)
    assert pixels.shape == (50, 60, 3)
    assert tuple(pixels[40, 20]) == COLORS[1]
    assert (pixels[41:] == 0).all()
    assert (pixels[:19] != 0).any()  # the word above it
    assert len(
        {
            tuple(np.asarray(draw_boxes(np.zeros((9, 9, 3), np.uint8), np.ones((1, 4)) * 4, [place]))[4, 4])
            for place in range(len(COLORS))
        }
    ) == len(COLORS)


def test_images_of_one_name_have_ids_of_their_own_in_coco_results() -> None:
    row = {"x1": 1.0, "y1": 2.0, "x2": 3.0, "y2": 5.0, "predicted": "b", "score": 0.5}
    seen = [Seen(path, [row]) for path in ("/a/1.jpg", "/b/1.jpg", "/b/2.jpg")]
    found = _coco(seen, ("a", "b"), None)
    assert [one["image_id"] for one in found] == ["/a/1.jpg", "/b/1.jpg", "2.jpg"]
    assert [one["image_id"] for one in _coco(seen[1:], ("a", "b"), None)] == [1, 2]
    assert [one["bbox"] for one in found] == [[1, 2, 2, 3]] * 3


def test_predictions_are_cut_to_the_image() -> None:
    cut = TASKS["detection"].cut
    assert cut is not None
    found = {
        "boxes": np.array([[-5, 2, 20, 30], [1, 2, 3, 4], [60, 0, 90, 10]], np.float32),
        "score": np.array([0.9, 0.5, 0.1], np.float32),
        "label": np.array([0, 1, 0]),
    }
    kept = cut(found, (25, 50))
    assert kept["boxes"].tolist() == [[0, 2, 20, 25], [1, 2, 3, 4]]
    assert kept["score"].tolist() == pytest.approx([0.9, 0.5])
    assert kept["label"].tolist() == [0, 1]


def test_boxes_in_the_padding_are_cut_wherever_a_run_predicts(
    work: Path, settled: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A network that finds one box, the whole input, whose lower fourth is padding."""
    card = read_card(settled)
    card["preprocessing"]["fit"] = "pad"
    write_json(settled / "model.json", card)
    run = load_run(settled)

    def whole(images: Any) -> dict[str, Any]:
        import torch

        size, count = images.shape[2], len(images)
        boxes = torch.tensor([0.0, 0, size, size]).expand(count, 1, 4)
        return {"boxes": boxes, "score": torch.full((count, 1), 0.75), "label": torch.zeros(count, 1).long()}

    monkeypatch.setattr(run.model, "outputs", whole)
    path = work / "squares" / "00.png"
    [(_, found)] = run.predict_files([path])
    assert not isinstance(found, Exception)
    assert found["boxes"].tolist() == [[0, 0, WIDTH, HEIGHT]]
    [found] = run.predict([np.asarray(Image.open(path))])
    assert found["boxes"].tolist() == [[0, 0, WIDTH, HEIGHT]]
    from tenfold.evaluate import evaluate_run

    evaluate_run(run, "validation")
    frame = run.predictions("validation")
    assert frame[["x1", "y1", "x2", "y2"]].to_numpy().tolist() == [[0, 0, WIDTH, HEIGHT]] * 3


REFUSED: dict[str, tuple[list[str], str]] = {
    "top k": (["predict", "R", "I", "--top-k", "2"], WITHOUT.format("--top-k", "a classifier", "a detector")),
    "max error": (
        ["predict", "R", "I", "--max-error", "2%"],
        WITHOUT.format("--max-error", "a classifier", "a detector"),
    ),
    "false accept": (
        ["predict", "R", "I", "--false-accept", "2%"],
        WITHOUT.format("--false-accept", "a classifier", "a detector"),
    ),
    "positive": (["evaluate", "R", "--positive", "red"], WITHOUT.format("--positive", "a classifier", "a detector")),
    "threshold": (
        ["evaluate", "R", "--threshold", "0.3"],
        WITHOUT.format("--threshold", "a classifier", "a detector"),
    ),
    "both": (
        ["predict", "R", "I", "--score", "0.5", "--precision", "95%"],
        "Give either --score or --precision, not both.",
    ),
    "score": (["predict", "R", "I", "--score", "5"], "--score must lie from 0 to 1, not 5."),
    "no folder": (
        ["predict", "R", "I", "--format", "yolo"],
        "--format yolo writes a text file an image into the folder --out; give both or neither.",
    ),
    "no format": (
        ["predict", "R", "I", "--out", "labels"],
        "--format yolo writes a text file an image into the folder --out; give both or neither.",
    ),
    "ids": (["predict", "R", "I", "--ids", "x.json"], "--ids is for --format coco; give both or leave it out."),
    "evaluate score": (["evaluate", "R", "--score", "5"], "score must lie from 0 to 1, not 5."),
    "extend": (["extend", "R", "squares/boxes.csv"], "and runs/boxes-1 is of the model faster-rcnn"),
    "labels": (["check", "photos", "--run", "R"], "runs/boxes-1 is a detector, which tells of boxes, and these images"),
    "safety": (["augment", "--safety", "R"], "Only a classification's answers can be compared so"),
    "folds": (
        ["train", "D", "--folds", "3", "--model", "rcnn", "--detect.finetune"],
        "detect.finetune must be false for a cross-validation, which trains once a fold, and it is true",
    ),
    "curve": (
        ["curve", "D"],
        "A learning curve is for images with a class each, and these have boxes; train a detector by itself.",
    ),
    "classifier": (
        ["train", "D", "--model", "residual"],
        "model.name (--model) residual is a classifier of whole images, and these images have boxes; take one of "
        "faster-rcnn, ",
    ),
    "frozen": (["train", "D", "--model", "frozen"], "model.name (--model) frozen is a classifier of whole images"),
    "detector": (
        ["train", "photos", "--model", "faster-rcnn"],
        "model.name (--model) faster-rcnn is a detector, and these images have no boxes; take one of plain, residual, "
        "frozen, finetuned, or leave it open.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, work: Path, capsys: Capture) -> None:
    words, sentence = REFUSED[name]
    places = {"R": "runs/boxes-1", "I": "squares/00.png", "D": "squares/boxes.csv"}
    assert main([places.get(word, word) for word in words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("error: ") == 1


def test_a_classifier_refuses_what_a_detector_takes(work: Path, capsys: Capture) -> None:
    quick = "--epochs 1 --model plain --model.width 8 --size 16 --train.precision float32 --no-check".split()
    assert main(["train", "photos", "--json", "--out", "runs/classes", *quick]) == 0
    capsys.readouterr()
    for words, option in (
        (["--score", "0.5"], "--score"),
        (["--precision", "95%"], "--precision"),
        (["--draw", "drawn"], "--draw"),
        (["--format", "coco"], "--format coco"),
        (["--format", "yolo", "--out", "labels"], "--out"),
        (["--format", "coco", "--ids", "x.json"], "--ids"),
    ):
        assert main(["predict", "runs/classes", "squares/00.png", *words]) == 2
        sentence = f"error: {option} is for a detector, and runs/classes is a classifier; leave it out.\n"
        assert capsys.readouterr().err == sentence
    assert main(["evaluate", "runs/classes", "--score", "0.5"]) == 2
    assert "--score is for a detector, and runs/classes is a classifier" in capsys.readouterr().err
    assert main(["compare", "runs/boxes-1", "runs/classes"]) == 2
    sentence = "Only runs of one task can be compared: runs/boxes-1 finds boxes, and runs/classes does not."
    assert sentence in capsys.readouterr().err


def test_the_sheet_of_a_policy_shows_the_boxes(work: Path, capsys: Capture, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.html"
    command = ["augment", "squares/boxes.csv", "--size", "96", "--out", str(sheet), "--images", "2", "--json"]
    assert main(command) == 0
    assert "objects: 2" in sheet.read_text("utf-8")
    found = json.loads(capsys.readouterr().out)
    assert (found["size"], found["width"], found["height"]) == (96, 128, 96)


def test_saved_copies_keep_their_boxes(work: Path, capsys: Capture, tmp_path: Path) -> None:
    before = read_table("squares/boxes.csv")
    assert main(["augment", "squares/boxes.csv", "--policy", "none", "--save", str(tmp_path / "same"), "--json"]) == 0
    saved = json_of(capsys)
    assert (saved["copies"], saved["sources"], saved["originals"]) == (6, 6, 12)
    after = read_table(tmp_path / "same" / "augmented.csv")
    assert before.boxes is not None
    assert after.boxes is not None
    corners = ["x1", "y1", "x2", "y2"]

    def boxes_of(table: Any, copies: bool) -> list[list[float]]:
        names = table.samples["source"].iloc[table.boxes["sample"]]
        own = names.str.contains("-copy").to_numpy(bool) == copies
        return sorted(table.boxes[corners].to_numpy()[own].tolist())

    training = before.part("train").boxes
    assert training is not None
    assert boxes_of(after, True) == sorted(training[corners].to_numpy().tolist())
    assert boxes_of(after, False) == sorted(before.boxes[corners].to_numpy().tolist())

    turned = tmp_path / "turned.toml"
    turned.write_text('name = "turned"\n[[ops]]\nop = "flip"\naxis = "horizontal"\nprobability = 1.0\n')
    command = ["augment", "squares/boxes.csv", "--policy", str(turned), "--save", str(tmp_path / "turned"), "--json"]
    if main([*command, "--no-originals"]) == 0:
        flipped = read_table(tmp_path / "turned" / "augmented.csv")
        wanted = training[corners].to_numpy()
        wanted = np.stack([WIDTH - wanted[:, 2], wanted[:, 1], WIDTH - wanted[:, 0], wanted[:, 3]], 1)
        assert flipped.boxes is not None
        assert sorted(flipped.boxes[corners].to_numpy().tolist()) == sorted(wanted.tolist())
    capsys.readouterr()


def test_an_interrupted_detector_goes_on_with_the_same_bits(work: Path, tmp_path: Path) -> None:
    table = read_table("squares/boxes.csv")
    recipe = Recipe().change(
        train={"epochs": 2, "batch_size": 4, "precision": "float32", "threads": 1},
        image={"size": 64},
        detect={"pyramid_width": 16, "units": 32},
    )
    whole = train_model(table, recipe, tmp_path / "whole")

    def stop(message: Any) -> None:
        if message.phase == "epoch" and message.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises((Interrupted, KeyboardInterrupt)):
        train_model(table, recipe, tmp_path / "stopped", progress=stop)
    resume_training(tmp_path / "stopped")
    weights = [(folder / "model.safetensors").read_bytes() for folder in (whole.path, tmp_path / "stopped")]
    assert weights[0] == weights[1]


def put_a_class_before(folder: Path) -> None:
    """Make the classes of YOLO's layout those from 1 on, after one that no box has."""
    settings = folder / "data.yaml"
    names = "".join(f"  {number}: {name}\n" for number, name in enumerate(("green", *CLASSES)))
    settings.write_text(settings.read_text().partition("names:\n")[0] + f"names:\n{names}")
    for file in (folder / "labels").rglob("*.txt"):
        file.write_text("".join(f"{int(line[0]) + 1}{line[1:]}\n" for line in file.read_text().splitlines()))


def test_one_class_a_truncated_file_and_another_layout(work: Path, capsys: Capture, tmp_path: Path) -> None:
    listing = write_squares(tmp_path / "one", classes=("cell",))
    broken = tmp_path / "one" / "00.png"
    broken.write_bytes(broken.read_bytes()[:500])
    assert main(["check", str(listing), "--json"]) in (0, 1)
    capsys.readouterr()
    assert main(["train", str(listing), "--json", *QUICK, "--out", str(tmp_path / "run")]) == 0
    out, err = capsys.readouterr()
    assert "00.png" in err
    assert json.loads(out)["images"]["train"] == 5
    run = Run(tmp_path / "run")
    assert run.classes == ("cell",)
    for layout in ("voc", "yolo"):
        folder = tmp_path / layout
        assert main(["convert", "squares/boxes.csv", str(folder), "--to", layout, "--json"]) == 0
        if layout == "yolo":
            put_a_class_before(folder)
        assert main(["split", str(folder), "--json"]) == 0
        capsys.readouterr()
        assert main(["train", str(folder), "--json", "--epochs", "1", *QUICK[2:], "--out", f"{folder}-run"]) == 0
        assert json_of(capsys)["images"] == {"train": 6, "validation": 3, "test": 3}
        trained = Run(Path(f"{folder}-run"))
        assert trained.classes == CLASSES
        assert trained.table.numbered == (("green", *CLASSES) if layout == "yolo" else CLASSES)
