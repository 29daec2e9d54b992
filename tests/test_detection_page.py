"""What people see of a detector: boxes on pictures, mistakes of each kind, curves, and the page of proposals."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tenfold.commands.doctor import find_browser
from tenfold.images.content import hashed
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.metrics.detection import detection_findings
from tenfold.metrics.detection_errors import KINDS
from tenfold.proposals import cover_objects
from tenfold.proposals.stored import Proposed
from tenfold.report.blocks.detection_curves import detection_curves
from tenfold.report.blocks.detection_errors import detection_errors
from tenfold.report.blocks.detection_images import ABREAST, SHOWN, detection_images
from tenfold.report.context import Context, stylesheet
from tenfold.report.drawn import draw_boxes
from tenfold.report.labels import place_labels
from tenfold.report.outlined import LINES, MOST, MOST_LABELS, Box, cut_label, outlined, square_around
from tenfold.report.proposals_page import NAMED_UNREADABLE, SHOWN_IMAGES, proposals_page
from tenfold.report.thumbnails import Thumbnails
from tenfold.tasks import box_detections, table_objects

Row = tuple[Any, ...]
SIZE = (100, 80)
OBJECT, SHIFTED = (10, 10, 50, 50), (30, 10, 70, 50)  # IoU 800 / 2400


# Labels


def slow_shared(one: Sequence[float], other: Sequence[float]) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


@pytest.mark.parametrize(("count", "hidden"), [(3, 0.4), (30, 0.4), (120, 0.15)])
def test_labels_hide_neither_each_other_nor_the_boxes(count: int, hidden: float) -> None:
    draw = np.random.default_rng(count)
    first = draw.uniform(-10, 180, (count, 2))
    boxes = np.concatenate([first, first + draw.uniform(2, 60, (count, 2))], 1)
    sizes = np.stack([draw.uniform(8, 50, count), np.full(count, 9.0)], 1)
    image = (5.0, 0.0, 190.0, 150.0)
    corners = place_labels(boxes, sizes, image, hidden)
    labels = [
        (x, y, x + size[0], y + size[1])
        for (x, y), size in ((spot, size) for spot, size in zip(corners, sizes, strict=True) if spot)
    ]
    assert len(labels) >= min(count, 25) * 0.8
    for place, own in enumerate(labels):
        assert own[0] >= 5
        assert own[2] <= 195 + 1e-9
        assert own[1] >= 0
        assert own[3] <= 150
        assert all(slow_shared(own, other) < 1e-9 for other in labels[:place])
        for box in boxes.tolist():
            assert slow_shared(own, box) <= hidden * (box[2] - box[0]) * (box[3] - box[1]) + 1e-6
    fewer = place_labels(boxes, sizes, image, hidden, 2)
    assert [spot for spot in fewer if spot] == [spot for spot in corners if spot][:2]


def test_a_label_goes_above_then_below_and_one_without_words_nowhere() -> None:
    boxes = np.array([[10.0, 30, 40, 60], [10, 30, 40, 60], [60, 2, 90, 30], [60, 50, 90, 70]])
    sizes = np.array([[20.0, 10], [20, 10], [20, 10], [0, 10]])
    assert place_labels(boxes, sizes, (0, 0, 100, 100), 0.4) == [(10, 20), (10, 60), (60, 30), None]
    assert place_labels(boxes[:1], np.array([[120.0, 10]]), (0, 0, 100, 100), 0.4) == [None]


def test_kinds_of_boxes_differ_in_dashes_or_width_and_words_can_be_read() -> None:
    assert len({(line.dashes, line.width) for line in LINES.values()}) == len(LINES)
    assert len({bool(line.dashes) + (not any(line.dashes[:1])) for line in LINES.values()}) > 1

    def luminance(color: str) -> float:
        channels = np.array([int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ (0.2126, 0.7152, 0.0722))

    for line in LINES.values():
        dark, bright = sorted(map(luminance, (line.tag, line.text)))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5  # https://www.w3.org/TR/WCAG22/#contrast-minimum


def test_a_picture_of_very_many_boxes_stays_small() -> None:
    boxes = [Box("found", (n % 50, n // 50, n % 50 + 9, n // 50 + 9), f"cell {n}", "cell") for n in range(2000)]
    drawing = outlined("data:", (0, 0, 100, 80), boxes, 300)
    assert len(drawing.outlines["found"]) == MOST
    assert drawing.left_out == 2000 - MOST
    assert 0 < len(drawing.tags) <= MOST_LABELS
    assert cut_label("x" * 100) == "x" * 21 + "…"


def test_the_square_around_boxes_lies_in_the_image() -> None:
    assert square_around([Box("true", (40, 30, 60, 40), "")], 100, 80) == (28, 13, 44, 44)
    for corners in ((0, 0, 4, 4), (96, 70, 100, 80), (-20, -20, 300, 300), (200, 200, 220, 220)):
        x, y, wide, high = square_around([Box("true", corners, "")], 100, 80)
        assert 0 <= x <= x + wide <= 100
        assert 0 <= y <= y + high <= 80
        assert min(wide, high) > 0


def test_words_of_predictions_do_not_lie_on_each_other() -> None:
    """Two detections of one object, of which the second's words hid the first's or the other way round."""
    both = np.array([[50.0, 60, 150, 140], [50, 60, 150, 140]])
    pixels = [
        np.asarray(draw_boxes(np.zeros((200, 200, 3), np.uint8), both[:count], [0, 1][:count], ["one", "two"][:count]))
        for count in (1, 2)
    ]
    assert (pixels[0][:58] == pixels[1][:58])[:, :76].all()  # the first's words are as they were
    assert (pixels[0] != pixels[1])[:58].any() or (pixels[0] != pixels[1])[143:].any()  # the second's lie elsewhere


# The report


def context_of(
    folder: Path,
    objects: list[tuple[Any, ...]],
    found: list[tuple[Any, ...]],
    classes: tuple[str, ...],
    images: int = 0,
) -> Context:
    """Of images of SIZE; `objects` are rows of a Table's boxes, `found` (sample, four corners, class, score)."""
    count = images or max(row[0] for row in [*objects, *found]) + 1
    folder.mkdir(parents=True, exist_ok=True)
    sources = [str(folder / f"{n}.png") for n in range(count)]
    for n, source in enumerate(sources):
        Image.fromarray(np.random.default_rng(n).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)).save(source)
    frame = pd.DataFrame(objects, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    table = Table(make_samples({"source": sources, "part": ["test"] * count}, count), classes, frame)
    columns = ["sample", "x1", "y1", "x2", "y2", "predicted", "score"]
    predictions = pd.DataFrame(found, columns=columns)
    own = (table_objects(table)[0], box_detections(predictions, classes))
    figures, details = detection_findings(*own, classes, count, score=0.5, draws=20)
    evaluation = {"part": "test", "n": count, "figures": figures, "details": details}
    run: Any = SimpleNamespace(table=table, classes=classes, predictions=lambda *_: predictions)
    return Context(run, evaluation, Thumbnails(table))


@pytest.fixture
def kinds(tmp_path: Path) -> Context:
    """An image of each kind of mistake, in the order of KINDS from image 1 on; image 0 and 7 have none."""
    objects = [(image, *OBJECT, "cat", False) for image in range(5)]
    objects += [(6, 5, 5, 25, 25, "dog", False), (7, *OBJECT, "dog", True), (4, 60, 40, 90, 70, "dog", False)]
    found = [
        (0, *OBJECT, "cat", 0.95),
        (1, *OBJECT, "dog", 0.8),
        (2, *SHIFTED, "cat", 0.7),
        (3, *SHIFTED, "dog", 0.6),
        (4, *OBJECT, "cat", 0.9),
        (4, 12, 10, 52, 50, "cat", 0.65),
        (4, 60, 40, 90, 70, "dog", 0.99),
        (5, 60, 50, 90, 75, "dog", 0.55),
        (5, 10, 10, 30, 30, "dog", 0.45),  # below the score
    ]
    return context_of(tmp_path, objects, found, ("cat", "dog"))


def drawings(html: str) -> list[tuple[str, dict[str, int], list[str]]]:
    """Of each picture its words, how many boxes it has of each color, and its labels."""
    drawn = []
    for svg in re.findall(r'<svg viewBox="[^"]+" role="img".*?</svg>', html, re.DOTALL):
        [words] = re.findall(r'aria-label="([^"]*)"', svg)
        groups = re.findall(r'<g stroke="([^"]+)".*?</g>', svg, re.DOTALL)
        parts = re.split(r'<g stroke="[^"]+"', svg.partition("<g font-size")[0])[1:]
        colors = {color: part.count("<title>") for color, part in zip(groups, parts, strict=True)}
        names = {line.color: kind for kind, line in LINES.items()}
        drawn.append(
            (words, {names[color]: count for color, count in colors.items()}, re.findall(r">([^<]+)</text>", svg))
        )
    return drawn


def test_each_kind_of_mistake_has_a_picture_that_says_what_is_wrong(kinds: Context) -> None:
    html = str(detection_images(kinds).html)
    for kind, words in {
        "class": "Wrong class, 1.png: dog 0.80, is cat",
        "location": "Badly placed, 2.png: cat 0.70, overlap (IoU) 0.33",
        "both": "Both, 3.png: dog 0.60, overlap (IoU) 0.33 with cat",
        "duplicate": "Twice, 4.png: cat 0.65, found with 0.90 already",
        "background": "Nothing there, 5.png: dog 0.55, where nothing is",
        "missed": "Missed, 3.png: cat, not found",
    }.items():
        own = html.split(f'id="mistakes-{kind}"')[1].split("<h")[0]
        assert f'aria-label="{words}"' in own, kind
    found = {words.split(",")[0]: (boxes, labels) for words, boxes, labels in drawings(html) if "found," not in words}
    assert found["Wrong class"] == ({"false": 1, "missed": 1}, ["dog 0.80", "cat"])
    assert found["Twice"] == ({"true": 2, "found": 1, "false": 1}, ["cat 0.65", "cat", "cat 0.90"])
    assert found["Nothing there"] == ({"false": 1}, ["dog 0.55"])
    table = str(detection_errors(kinds).html)
    for kind in KINDS:
        assert f'<a href="#mistakes-{kind}">' in table
        assert html.count(f'id="mistakes-{kind}"') == 1


def test_images_show_true_boxes_beside_those_found_and_name_all(kinds: Context) -> None:
    html = str(detection_images(kinds).html).split("Images, those with the most mistakes first")[1]
    assert "6 of the 8 images have a mistake." in html
    shown = {words.split(":")[0]: (words, boxes, labels) for words, boxes, labels in drawings(html)}
    assert list(shown) == [f"{n}.png" for n in (1, 2, 3, 4, 5, 6, 0, 7)]
    assert html.count("no mistake") == 2
    assert shown["7.png"][1:] == ({"true": 1}, [])  # to be ignored
    words, boxes, labels = shown["4.png"]
    assert words == "4.png: 2 found, 1 false (cat 0.65), 0 not found"
    assert boxes == {"true": 2, "found": 2, "false": 1}
    assert set(labels) == {"cat 0.65", "dog 0.99", "cat 0.90"}
    assert shown["1.png"][0] == "1.png: 0 found, 1 false (dog 0.80), 1 not found (cat)"
    assert shown["5.png"][1] == {"false": 1}  # the other one is below the score
    legend = str(detection_images(kinds).html).split("<h3>")[0]
    for words in ("the true box", "found: the detector", "a false detection", "an object that was not found"):
        assert words in legend


def test_of_many_mistakes_of_a_kind_the_surest_come_from_different_images(tmp_path: Path) -> None:
    objects = [(image, *OBJECT, "cat", False) for image in range(6)]
    found = [(0, 60, 5 + n, 90, 30 + n, "cat", 0.99 - n / 100) for n in range(6)]
    found += [(image, 60, 50, 90, 75, "cat", 0.9 - image / 50) for image in range(6)]
    html = str(detection_images(context_of(tmp_path, objects, found, ("cat",))).html)
    own = html.split('id="mistakes-background"')[1].split("<h")[0]
    assert re.findall(r'aria-label="Nothing there, (\d)\.png: cat ([\d.]+)', own) == [
        ("0", "0.99"),
        ("1", "0.88"),
        ("2", "0.86"),
        ("3", "0.84"),
    ]
    assert "4 of 12" in own


def test_an_image_that_cannot_be_read_is_named(kinds: Context) -> None:
    Path(kinds.run.table.samples["source"][2]).write_bytes(b"no image")
    html = str(detection_images(kinds).html)
    assert html.count('<div class="missing">2.png cannot be read</div>') == 2
    assert "3.png: 0 found" in html


def test_an_image_with_many_boxes_has_a_row_of_its_own(tmp_path: Path) -> None:
    grid = [(x, y, x + 6, y + 6) for x in range(0, 96, 12) for y in range(8, 76, 12)]
    objects = [(image, *box, "cell", False) for image in range(9) for box in grid]
    found = [(image, *box, "cell", 0.9) for image in range(9) for box in grid[image + 1 :]]
    html = str(detection_images(context_of(tmp_path, objects, found, ("cell",))).html)
    images = html.split("Images, those with the most mistakes first")[1]
    assert images.count("grid-column: 1 / -1") == SHOWN // ABREAST
    assert "9 of the 9 images have a mistake. Shown are 4 of them." in images
    for _, boxes, labels in drawings(images):
        assert sum(boxes.values()) > 80
        assert labels.count("cell") == boxes["missed"]  # what is wrong is named first
        assert len(labels) <= MOST_LABELS
    assert len(html) < 2_000_000


def test_no_mistake_is_said(tmp_path: Path) -> None:
    html = str(
        detection_images(context_of(tmp_path, [(0, *OBJECT, "a", False)], [(0, *OBJECT, "a", 0.9)], ("a",))).html
    )
    assert "None of the 1 images has a mistake" in html
    assert "The surest mistakes" not in html
    assert drawings(html) == [("0.png: 1 found, 0 false, 0 not found", {"true": 1, "found": 1}, ["a 0.90"])]


def many_classes(folder: Path, count: int) -> Context:
    names = tuple(f"kind {n}" for n in range(count))
    objects = [(n % 4, *OBJECT, name, False) for n, name in enumerate(names)]
    found = [(n % 4, *OBJECT, names[(n + 4 * (n < 8)) % count], 0.9) for n in range(count)]
    return context_of(folder, objects, found, names)


def test_of_many_classes_the_matrix_is_a_picture_and_the_pairs_are_named(tmp_path: Path) -> None:
    context = many_classes(tmp_path, 40)
    html = str(detection_errors(context).html)
    assert 'alt="What was taken for what, of 40 classes as a picture' in html
    counts = np.array(context.details["confusion"])[:-1, :-1]
    rows, columns = np.nonzero(counts * (1 - np.eye(40, dtype=int)))
    assert len(rows) > 2
    pairs = re.findall(r"<tr><td>(kind \d+)</td><td>(kind \d+)</td>", html)
    assert set(pairs) == {(f"kind {row}", f"kind {column}") for row, column in zip(rows, columns, strict=True)}
    few = str(detection_errors(many_classes(tmp_path, 20)).html)
    assert 'class="confusion many"' in few
    assert "<img" not in few


def test_one_class_has_no_mistakes_between_classes(tmp_path: Path) -> None:
    context = context_of(tmp_path, [(0, *OBJECT, "a", False)], [(0, *SHIFTED, "a", 0.9)], ("a",))
    html = str(detection_errors(context).html)
    assert "Wrong class" not in html
    assert '<a href="#mistakes-location">Badly placed</a>' in html


def test_curves_of_other_classes_can_be_seen_and_are_counted(tmp_path: Path) -> None:
    html = str(detection_curves(many_classes(tmp_path, 9)).html)
    assert "2 other classes" in html
    assert "Nothing was detected of kind 3, so it has no curve." in html
    assert "In color: the 6 classes with the lowest average precision." in html
    assert "stroke-opacity: 0.45" in html
    whole = str(detection_curves(many_classes(tmp_path, 6)).html)
    assert "other class" not in whole
    assert "no curve" not in whole
    assert "In color" not in whole


# The page of proposals


def proposed_of(folder: Path, images: int, each: int, unreadable: int = 0) -> Proposed:
    """Images of `each` objects, every other of which has a box upon it."""
    objects, boxes = [], []
    for image in range(images):
        draw = np.random.default_rng(image)
        first = draw.uniform(0, (80, 60), (each, 2))
        own = np.concatenate([first, first + draw.uniform(8, 20, (each, 2))], 1)
        objects += [(image, *box, "cell", False) for box in own.tolist()]
        boxes.append(own[::2].astype(np.float32))
    context = context_of(folder, objects, [(0, *OBJECT, "cell", 0.9)], ("cell",), images)
    sentences = tuple(f"{n}.gif cannot be decoded." for n in range(unreadable))
    return Proposed(hashed(context.run.table), boxes, sentences)


def page_of(proposed: Proposed, count: int = 100) -> str:
    return proposals_page("cells", "windows", proposed, cover_objects(proposed.table, proposed.boxes, count))


def test_each_object_is_shown_with_its_best_box(tmp_path: Path) -> None:
    page = page_of(proposed_of(tmp_path, 2, 1, unreadable=1))
    assert "Left out: 1 image that cannot be read" in page
    both = [one for one in drawings(page) if "object" in one[0]]
    words = "1 object, the lowest IoU 1.00; 0 covered by no box, each of the others with its best box"
    assert both == [(f"{n}.png: {words}", {"true": 1, "found": 1}, ["cell 1.00"]) for n in range(2)]
    assert "an object that no box covers" not in page  # where there is none
    assert 'id="missed"' not in page
    assert 'id="coverage' in page
    assert 'class="plots"' not in page_of(proposed_of(tmp_path, 2, 1), 5)  # one number of boxes makes no curve


def test_the_page_of_many_images_and_objects_stays_small(tmp_path: Path) -> None:
    page = page_of(proposed_of(tmp_path, 14, 230, unreadable=500))
    assert len(page) < 3_000_000
    assert page.count("grid-column: 1 / -1") == SHOWN_IMAGES // 2
    assert f"shown are {SHOWN_IMAGES // 2} of 14 images with objects" in page
    assert "Left out: 500 images that cannot be read" in page
    assert page.count("cannot be decoded") == NAMED_UNREADABLE
    assert re.search(r"; \d+ boxes are not drawn", page)
    nothing = [(boxes, labels) for words, boxes, labels in drawings(page) if "object" not in words]
    assert len(nothing) == 36
    assert all(boxes["missed"] == 1 for boxes, _ in nothing)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (uv sync)")
    from tests.test_report_browser import OPTIONS

    chromium = find_browser()
    if chromium is None:
        pytest.skip("needs a Chromium; tenfold doctor says how to get one")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium, args=OPTIONS)
        yield opened
        opened.close()


def test_pages_fit_a_phone_and_labels_their_grounds(browser: Any, kinds: Context, tmp_path: Path) -> None:
    body = "".join(block(kinds).html for block in (detection_curves, detection_errors, detection_images))
    report = f"<!doctype html><style>{stylesheet()}</style><body>{body}</body>"
    for name, html in (("report", report), ("proposals", page_of(proposed_of(tmp_path / "more", 3, 30)))):
        path = tmp_path / f"{name}.html"
        path.write_text(html, encoding="utf-8")
        for width, scheme in ((320, "light"), (1200, "dark")):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            said: list[str] = []
            page.on("console", lambda message, said=said: said.append(message.text))
            page.goto(path.as_uri())
            assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0, (name, width)
            assert said == []
            beyond = page.evaluate(
                """() => [...document.querySelectorAll("svg[role=img] text")]
                .filter(text => text.previousElementSibling?.tagName === "rect" &&
                    text.getBBox().x + text.getBBox().width >
                    text.previousElementSibling.getBBox().x + text.previousElementSibling.getBBox().width)
                .map(text => text.textContent)"""
            )
            assert beyond == []
            page.close()
