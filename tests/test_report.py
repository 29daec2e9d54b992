"""The report says what the run holds, of any number of classes, and nothing in it can act or call out."""

from __future__ import annotations

import base64
import re
import shlex
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tenfold.estimate import Estimate, clopper_pearson, from_json, wilson
from tenfold.evaluate.ledger import record_look
from tenfold.images.table import Table, load_table, make_samples, write_table
from tenfold.looks import ledger_path
from tenfold.recipe import Recipe
from tenfold.report import BLOCKS, write_report
from tenfold.report.blocks.confusion import IN_ALL, IN_CELL, matrix_picture
from tenfold.report.context import Context
from tenfold.report.figures import write_seconds
from tenfold.report.headline import headline
from tenfold.report.page import training_again
from tenfold.report.plots import INK, MUTED, RULE, SERIES
from tenfold.report.thumbnails import Thumbnails
from tenfold.report.training import best_epoch, quantities, training
from tenfold.tasks import TASKS
from tests.report_run import FakeRun, make_history, make_run

VOID = {"meta", "link", "img", "br"}
FLOWERS = ("roses", "tulips", "daisy")


class Page(HTMLParser):
    """A page's elements as (tag, attributes, depth of its parents) and its text; fails where a tag is left open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict[str, str]]] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []
        self.text = " ".join(" ".join(text for _, text in self.texts).replace("\u00a0", " ").split())

    def handle_starttag(self, tag, attrs):
        attributes = {name: value or "" for name, value in attrs}
        attributes["inside"] = " ".join(outer.get("id", "") for _, outer in self.open)
        self.elements.append((tag, attributes))
        if tag not in VOID:
            self.open.append((tag, attributes))

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag):
        assert self.open[-1][0] == tag, f"<{self.open[-1][0]}> is closed by </{tag}>"
        self.open.pop()

    def handle_data(self, data):
        if data.strip() and self.open[-1][0] not in ("style", "title"):
            self.texts.append((self.open[-1][0], data.strip()))

    def all(self, tag: str, **wanted: str) -> list[dict[str, str]]:
        return [found for name, found in self.elements if name == tag and wanted.items() <= found.items()]

    def inside(self, place: str, tag: str) -> list[dict[str, str]]:
        return [found for name, found in self.elements if name == tag and place in found.get("inside", "").split()]


def page_of(run: FakeRun) -> Page:
    return Page(write_report(run).read_text("utf-8"))


def pixels(address: str) -> np.ndarray:
    return np.array(Image.open(BytesIO(base64.b64decode(address.partition(",")[2]))))


@pytest.fixture(scope="module")
def flowers(tmp_path_factory) -> FakeRun:
    return make_run(tmp_path_factory.mktemp("flowers"), FLOWERS, each=20, look=2)


@pytest.fixture(scope="module")
def page(flowers) -> Page:
    return page_of(flowers)


def test_every_task_names_blocks_that_exist():
    assert {name for task in TASKS.values() for name in task.blocks} == set(BLOCKS)


def test_it_says_whose_weights_the_network_started_from(flowers, page):
    assert not page.all("section", id="weights")
    weights = {"origin": "net, file <of>.pth", "licence": "CC-BY-NC-4.0", "sha256": "ab" * 32}
    told = "non-commercial: not for products or paid work"
    shown = page_of(replace(flowers, card=flowers.card | {"weights": weights | {"note": told}}))
    assert shown.all("section", id="weights")
    assert shown.all("a", href="#weights")
    texts = [text for _, text in shown.texts]
    rows = texts[texts.index("Origin") : texts.index("Origin") + 8]
    assert rows == [
        "Origin",
        "net, file <of>.pth",
        "License",
        "CC-BY-NC-4.0",
        "Note",
        f"N{told[1:]}.",
        "sha256",
        "ab" * 32,
    ]
    silent = page_of(replace(flowers, card=flowers.card | {"weights": weights | {"note": ""}}))
    assert "Note" not in [text for _, text in silent.texts]
    write_report(flowers)


def test_the_page_calls_nobody_and_runs_nothing(flowers, page):
    html = (flowers.path / "report.html").read_text("utf-8")
    assert set(re.findall(r"\w+://[\w./]+", html)) == {"http://www.w3.org/1999/xlink"}
    assert "default-src 'none'" in page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert not page.all("script")
    assert not page.all("iframe")
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    places = {found["id"] for _, found in page.elements if "id" in found}
    for tag, found in page.elements:
        assert not any(name.startswith("on") for name in found)
        target = found.get("href", found.get("xlink:href", "data:"))
        assert target.startswith("data:") or target[1:] in places, (tag, target)
        assert found.get("popovertarget", "split") in places
    assert all(name in places for name in re.findall(r"url\(#([^)]+)\)", html))


def test_ids_are_unique(page):
    names = [found["id"] for _, found in page.elements if "id" in found]
    assert len(names) == len(set(names))


def test_writing_twice_gives_the_same_bytes(flowers):
    first = write_report(flowers).read_bytes()
    assert write_report(flowers).read_bytes() == first
    assert len(first) < 3_000_000


def test_the_headline_says_it_in_words(flowers, page):
    truth = flowers.frames["test"]["label"]
    right, count = int((truth == flowers.frames["test"]["predicted"]).sum()), len(truth)
    low, high = (100 * end for end in clopper_pearson(right, count, 0.975))
    assert (
        f"On {count} test images it had never seen, the model named the right class {100 * right / count:.1f} % "
        f"of the time ({low:.1f} to {high:.1f}, 97.5 % Clopper-Pearson) ." in page.text
    )
    low, high = (100 * end for end in wilson(30, 70))
    largest = f"largest class, roses, would be right {3000 / 70:.1f} % of the time ({low:.1f} to {high:.1f})."
    assert largest in page.text


def test_a_second_look_widens_the_interval(flowers, page):
    figure = flowers.evaluations["test"]["figures"]["accuracy"]
    low, high = wilson(round(figure["value"] * figure["n"]), figure["n"])
    times = (figure["high"] - figure["low"]) / (high - low)
    assert times > 1.1
    assert (
        "This test part has had 2 looks: for the intervals of all of them to hold at 95 % together, that of the "
        "accuracy is "
        f"{times:.1f} times as wide as at the first look." in page.text
    )
    assert "choosing the recipe by what an earlier look showed (adaptive re-use)" in page.text


def test_looks_that_came_after_the_evaluation_count(tmp_path):
    run = make_run(tmp_path / "here", FLOWERS, each=4)
    run.table = run.table.assign(hash=[f"{row * 2**70:032x}" for row in range(1, len(run.table) + 1)])
    hashes = run.table.part("test").samples["hash"].tolist()
    record_look(ledger_path(run.path), run.path, hashes, "this one")
    accuracy = run.evaluations["test"]["figures"]["accuracy"]
    assert f"{100 * accuracy['low']:.1f} to {100 * accuracy['high']:.1f}, 95 % Wilson" in page_of(run).text
    for other in ("b", "c"):
        record_look(ledger_path(run.path), run.path, hashes[2:], other)
    level = 1 - 0.05 / 3
    low, high = clopper_pearson(round(accuracy["value"] * accuracy["n"]), accuracy["n"], level)
    text = page_of(run).text
    assert f"{100 * low:.1f} to {100 * high:.1f}, 98.3 % Clopper-Pearson" in text
    assert "This test part has had 3 looks" in text
    assert "2 of these came after this one, which only the headline's interval allows for" in text


def facts_of(run: FakeRun, **changes: object) -> list[str]:
    evaluation = from_json(run.evaluations["test"]) | changes
    return headline(run, Context(run, evaluation, Thumbnails(run.table))).facts


def test_the_first_look_and_unreadable_images_are_named(flowers):
    facts = facts_of(flowers, look=1, unreadable={"a.jpg": "why", "b.jpg": "why"})
    assert facts[1].startswith("This is look 1 at this test part: no other look at these images is known here")
    assert facts[2] == "2 of its images could not be read and are not in the figures."
    assert len(facts_of(flowers)) == 3  # the last one: no check has looked


def test_images_without_a_label_are_named(flowers):
    assert facts_of(flowers, unlabeled=1200)[2] == "1,200 more of its images have no label and are not in the figures."
    assert len(facts_of(flowers, unlabeled=0)) == 3


def test_a_cell_shows_its_own_images(flowers, page):
    """Each class has one color, so the pictures of a cell tell which class they are of."""
    counts = np.array(flowers.evaluations["test"]["details"]["confusion"])
    samples = flowers.table.samples
    colors = [
        pixels_mean(np.array(Image.open(samples["source"][samples["label"] == name].iloc[0]))) for name in FLOWERS
    ]
    for row, column in np.ndindex(3, 3):
        shown = page.inside(f"cell-{row}-{column}", "img")
        assert len(shown) == min(counts[row, column], IN_CELL)
        for image in shown:
            near = [np.abs(pixels_mean(pixels(image["src"])) - color).sum() for color in colors]
            assert int(np.argmin(near)) == row
    buttons = [text for tag, text in page.texts if tag == "button" and text != "Close"]
    assert buttons == [str(count) for count in counts.ravel() if count]


def pixels_mean(image: np.ndarray) -> np.ndarray:
    return image.reshape(-1, 3).mean(0)


def test_classes_in_few_groups_are_named(tmp_path):
    run = make_run(tmp_path, FLOWERS, each=4, evaluated=("test",))
    rows = run.evaluations["test"]["details"]["per_class"]
    assert "few groups" not in page_of(run).text
    for row, groups in zip(rows, (2, 1, 12), strict=True):
        row["recall"]["method"] = f"Wilson over {groups} group{'s' if groups > 1 else ''}"
    assert f"so their intervals are wide: {rows[0]['class']} (2), {rows[1]['class']} (1)." in page_of(run).text


def test_the_per_class_table_holds_every_count_and_interval(flowers, page):
    for row in flowers.evaluations["test"]["details"]["per_class"]:
        counts = " ".join(str(row[name]) for name in ("support", "tp", "fp", "fn", "tn"))
        recall = row["recall"]
        shown = f"{100 * recall['value']:.1f} % {100 * recall['low']:.1f} to {100 * recall['high']:.1f}"
        assert f"{row['class']} {counts} " in page.text
        assert shown in page.text
        assert f"{row['roc_auc']['low']:.3f} to {row['roc_auc']['high']:.3f}" in page.text


def test_the_surest_mistakes_come_first(flowers, page):
    frame = flowers.frames["test"]
    wrong = frame[frame["label"] != frame["predicted"]]
    sure = sorted((max(row) for row in wrong["probability"]), reverse=True)
    shown = page.text.split("The most confident mistakes")[2].split("true class ·")[0]
    assert re.findall(r"[\d.]+ %", shown) == [f"{100 * value:.1f} %" for value in sure[:24]]
    assert f"{len(wrong)} of {len(frame)} images" in shown


def test_probabilities_are_held_against_what_came_of_them(flowers, page):
    """Without a word of calibration in the run's card there is nothing to promise."""
    figure = flowers.evaluations["test"]["figures"]["calibration_error"]
    frame = flowers.frames["test"]
    sure = 100 * np.mean([max(row) for row in frame["probability"]])
    right = 100 * (frame["label"] == frame["predicted"]).mean()
    assert f"The model is {sure:.1f} % sure on average and right in {right:.1f} %" in page.text
    chance = f"Beyond what chance alone makes of {len(frame)} images, its probabilities are off by"
    width = f"{100 * figure['value']:.1f} % ({100 * figure['low']:.1f} to {100 * figure['high']:.1f}; root mean square)"
    assert f"{chance} {width}" in page.text
    assert "this run has no validation part to fit them to." in page.text
    assert "--max-error" not in page.text


@pytest.mark.parametrize("part", ["validation", "test"])
def test_what_a_limit_on_errors_leaves(tmp_path, part):
    run = make_run(tmp_path, FLOWERS, each=20, evaluated=(part,))
    steps = [[0.9, 70, 1], [0.6, 100, 9], [0.2, 120, 60]]
    run.card["calibration"] = {"part": "validation", "n": 150, "temperature": 1.25, "steps": steps}
    page = page_of(run)
    frame = run.frames[part]
    answered = np.array([max(row) for row in frame["probability"]]) >= 0.9
    wrong = (frame["label"] != frame["predicted"])[answered]
    low, high = (100 * end for end in wilson(wrong.sum(), len(wrong)))
    shown = f"10 % 0.900 {len(wrong)} of 70 {100 * wrong.mean():.1f} % {low:.1f} to {high:.1f}"
    assert shown in page.text
    assert (
        "1 % needs at least 299 validation images, all answered rightly; there are 120 validation images" in page.text
    )
    assert "there are 120 validation images (one of each group)" in page.text
    assert "5 % not supported at any confidence" in page.text
    assert (
        "150 images of the validation part said that the network should be less sure, "
        "so its logits are divided by 1.25." in page.text
    )
    assert ("The images here had no say in that." in page.text) == (part == "test")
    assert ("of the very images that this was fitted on, and flatter it a little." in page.text) == (part != "test")
    assert ("they show what the promise is worth" in page.text) == (part == "test")


def test_an_evaluation_of_before_says_to_evaluate_again(tmp_path):
    run = make_run(tmp_path, FLOWERS, each=4)
    for name in ("reliability", "coverage"):
        del run.evaluations["test"]["details"][name]
    assert "This part was evaluated before calibration was measured; evaluate it again" in page_of(run).text


def test_both_parts_stand_in_the_figures(flowers, page):
    for part in ("test", "validation"):
        figure = flowers.evaluations[part]["figures"]["mcc"]
        assert f"{figure['value']:.3f} {figure['low']:.3f} to {figure['high']:.3f}" in page.text


def test_the_split_adds_up(page):
    assert "roses 30 30 30 90 tulips 20 20 20 60 daisy 20 20 20 60 all 70 70 70 210" in page.text
    assert "1 hidden file was left out: .DS_Store. x.png is no image." in page.text
    assert "packages.torch 2.14.0 packages.numpy 2.4.0 cores 2 Repeat it" in page.text


def test_drawings_follow_the_page(flowers):
    html = write_report(flowers).read_text("utf-8")
    drawings = re.findall(r"<svg.*?</svg>", html, re.S)
    assert len(drawings) == 7
    assert html.count("<style") == 1
    for drawing in drawings:
        assert not any(color in drawing.lower() for color in (INK, MUTED, RULE, *SERIES, "#000000", "#ffffff"))
        assert "var(--muted)" in drawing
        assert 'role="img"' in drawing
    assert "best epoch 5" in drawings[0]


def test_what_the_reader_noted_reaches_the_page_of_a_loaded_run(flowers, tmp_path):
    write_table(replace(flowers.table, notes=("Left out of images: hidden (1): .x.",)), tmp_path / "table.parquet")
    loaded = replace(flowers, path=tmp_path, table=load_table(tmp_path / "table.parquet", flowers.classes))
    loaded.environment = loaded.environment | {"notes": ["Left out of images: hidden (1): .x."]}
    page = page_of(loaded)
    assert "What was noted of the images (2) Left out of images: hidden (1): .x. x.png is no image." in page.text
    assert "notes" not in page.text.split("Environment")[2]


def test_the_headline_counts_the_images_that_its_figure_is_of(flowers):
    """Images without a label are predicted as well, and are in no figure."""
    evaluation = from_json(flowers.evaluations["test"])
    more = Context(flowers, evaluation | {"n": evaluation["n"] + 5}, Thumbnails(flowers.table))
    assert headline(flowers, more).sentence.startswith(f"On {evaluation['figures']['accuracy'].n} test images")


def test_names_are_shown_never_obeyed(tmp_path):
    names = ("<script>alert(1)</script>", "Hoa hồng Đà Lạt", "🌷 \"a\" & 'b'")
    run = make_run(tmp_path, names, each=4)
    run = replace(run, environment={"<b>": '"><img src=x onerror=alert(1)>'})
    html = write_report(run).read_text("utf-8")
    page = Page(html)
    assert not page.all("script")
    assert not page.all("img", src="x")
    assert all(name in page.text for name in names)


def test_commands_survive_a_shell(tmp_path):
    run = make_run(tmp_path / "Hoa hồng's & co", ("a", "b"), each=2)
    run = replace(run, recipe=Recipe().change(data={"path": "images"}))
    text = [text for tag, text in page_of(run).texts if tag == "code" and text.startswith("tenfold")]
    assert [shlex.split(line)[2] for line in text] == [
        str(run.path / "recipe.toml"), str(run.path), str(run.path), str(run.path)
    ]  # fmt: skip


def test_a_run_made_in_python_is_made_again_in_python(tmp_path, monkeypatch):
    """Its recipe names no data, so that `tenfold train` of it would only ask what to train on."""
    run = make_run(tmp_path / "Hoa hồng's & co", ("a", "b"), each=2)
    calls = []
    monkeypatch.setattr("tenfold.load_run", lambda path: calls.append(path) or run, raising=False)
    monkeypatch.setattr("tenfold.train_model", lambda *given: calls.append(given), raising=False)
    [code, *others] = [text for tag, text in page_of(run).texts if tag == "code" and "tenfold" in text]
    assert not any("tenfold train" in text for text in (code, *others))
    exec(code, {})
    assert calls == [str(run.path), (run.table, run.recipe, f"{run.path}-again")]


def test_images_in_memory_must_be_handed_over_again(tmp_path):
    run = make_run(tmp_path, ("a", "b"), each=1, evaluated=())
    samples = make_samples({"source": ["pixels"], "row": [0], "part": ["train"]}, 1)
    run = replace(run, table=Table(samples, ("a", "b"), arrays={"pixels": np.zeros((1, 8, 8), np.uint8)}))
    given = []
    train = SimpleNamespace(load_run=lambda path: run, train_model=lambda *words: given.append(words))
    code = training_again(run, Path("runs/a"), "runs/a-again").replace("import tenfold\n", "")
    exec(code, {"tenfold": train, "table": "the table"})
    assert given == [("the table", run.recipe, "runs/a-again")]
    assert "its images were in memory" in code


def test_two_classes_with_a_threshold(tmp_path):
    run = make_run(tmp_path, ("well", "ill"), each=20, options={"positive": "ill", "threshold": 0.2})
    page = page_of(run)
    assert "The positive class is ill : an image is given it from a probability of 0.2 on." in page.text
    answers = Context(run, run.evaluations["test"], Thumbnails(run.table)).answers
    counts = np.zeros((2, 2), int)
    np.add.at(counts, (answers.truth, answers.predicted), 1)
    assert counts.tolist() == run.evaluations["test"]["details"]["confusion"]
    assert (run.frames["test"]["predicted"] != np.array(run.classes)[answers.predicted]).any()


def test_two_hundred_classes(tmp_path):
    run = make_run(tmp_path, tuple(f"person {number}" for number in range(200)), each=1, seed=3, evaluated=("test",))
    page = page_of(run)
    assert (run.path / "report.html").stat().st_size < 3_000_000
    assert not page.all("table", **{"class": "confusion"})
    counts = np.array(run.evaluations["test"]["details"]["confusion"])
    pairs = int((counts * ~np.eye(200, dtype=bool) > 0).sum())
    assert len([text for tag, text in page.texts if tag == "button" and text != "Close"]) == min(pairs, 30)
    assert 0 < len(page.all("img")) < IN_ALL + 30
    assert "197 other classes" in page.text


def test_the_picture_of_a_matrix():
    shown = pixels(matrix_picture(np.array([[3, 0], [2, 2]])))
    assert shown.shape == (1000, 1000, 4)
    right, empty, wrong = shown[10, 10], shown[10, 990], shown[990, 10]
    assert right.tolist() == [0, 114, 178, 255]
    assert empty[3] == 0
    assert wrong[:3].tolist() == [213, 94, 0]
    assert 0 < wrong[3] < 255


@pytest.mark.parametrize("evaluated", [(), ("validation",)])
def test_before_the_test_part_was_looked_at(tmp_path, evaluated):
    page = page_of(make_run(tmp_path, FLOWERS, each=4, evaluated=evaluated))
    assert "The test part (14 images) is still sealed" in page.text
    assert ("has not been evaluated yet" in page.text) == (not evaluated)
    assert ("On 14 validation images held back from training" in page.text) == bool(evaluated)


def test_a_task_without_blocks_shows_every_figure(tmp_path):
    samples = make_samples({"source": [f"{tmp_path}/a.png", f"{tmp_path}/b.png"], "part": ["train", "test"]}, 2)
    run = FakeRun(
        tmp_path, Table(samples), make_history(1).assign(step=0), task=replace(TASKS["classification"], blocks=())
    )
    iou = Estimate(0.71, 0.61, 0.79, 0.9, 1, "bootstrap over images")
    run.evaluations["test"] = {"part": "test", "n": 1, "look": 1, "figures": {"box_iou": iou.to_json()}, "details": {}}
    page = page_of(run)
    assert (
        "On 1 test image it had never seen, the model's Box iou is 0.710 (0.610 to 0.790, 90 % bootstrap) ."
        in page.text
    )
    assert "Box iou 0.710 0.610 to 0.790" in page.text
    assert "Nothing was recorded epoch by epoch" in page.text
    assert "all 1 0 1 2" in page.text


def test_an_image_that_is_gone_leaves_a_box(tmp_path):
    run = make_run(tmp_path, FLOWERS, each=10)
    frame = run.frames["test"]
    row = int(frame["sample"][(frame["label"] != frame["predicted"])].iloc[0])
    source = Path(run.table.samples["source"].iloc[row])
    source.write_bytes(b"no image")
    assert Thumbnails(run.table)[row].address == ""
    source.unlink()
    assert f"{source.name} cannot be read" in page_of(run).text


def test_a_thumbnail_is_the_region_of_its_sample(tmp_path):
    image = np.zeros((20, 30, 3), np.uint8)
    image[5:15, 10:24] = (0, 200, 50)
    table = Table(
        make_samples({"source": ["a", "a"], "row": [0, 0], "x1": [10, None], "y1": [5, None], "x2": [24, None],
                      "y2": [15, None]}, 2), arrays={"a": image[None]},
    )  # fmt: skip
    region, whole = (Thumbnails(table)[row] for row in range(2))
    assert region.tiny
    assert np.array_equal(pixels(region.address), image[5:15, 10:24])
    assert np.array_equal(pixels(whole.address), image)
    assert whole.name == "a, image 0"


def test_a_region_without_a_pixel_leaves_a_box():
    """What training refuses is not shown as a pixel that it never saw."""
    corners = {"x1": [40.0], "y1": [0.0], "x2": [50.0], "y2": [10.0]}
    table = Table(
        make_samples({"source": ["a"], "row": [0], **corners}, 1), arrays={"a": np.zeros((1, 20, 30), np.uint8)}
    )
    assert Thumbnails(table)[0].address == ""


def test_a_large_thumbnail_keeps_its_shape(tmp_path):
    table = Table(make_samples({"source": ["a"], "row": [0]}, 1), arrays={"a": np.full((1, 300, 600), 90, np.uint8)})
    assert pixels(Thumbnails(table)[0].address).shape == (64, 128, 3)


def test_a_curve_of_one_epoch(tmp_path):
    run = make_run(tmp_path, ("a", "b"), each=2, evaluated=(), epochs=1)
    assert len(page_of(run).all("svg")) == 3


def test_curves_without_validation_and_with_other_losses(tmp_path):
    run = make_run(tmp_path, ("a", "b"), each=2, evaluated=())
    history = run.history.drop(columns=["validation_accuracy"]).assign(validation_loss=np.nan, train_cycle=0.5)
    assert quantities(history) == ["loss", "accuracy", "cycle"]
    assert best_epoch(history) is None
    assert "Without a validation part the last weights were kept." in training(replace(run, history=history)).html
    run.history = history
    assert len(page_of(run).all("svg")) == 4


def test_the_best_epoch_has_the_lowest_validation_loss():
    history = make_history(6).assign(validation_loss=[0.9, np.nan, 0.4, np.nan, 0.4, np.nan])
    assert best_epoch(history) == 3


def test_times_are_said_as_people_say_them():
    assert [write_seconds(s) for s in (0.2, 59.4, 60, 3599, 7500)] == [
        "0 s",
        "59 s",
        "1 min 0 s",
        "59 min 59 s",
        "2 h 5 min",
    ]
