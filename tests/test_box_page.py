"""The check's page of images with boxes: those in question stand out, whatever is wrong with them."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tenfold.check import Findings, check_table
from tenfold.check.classes import class_findings
from tenfold.check.findings import ABREAST, Evidence, Finding, Marked, gather
from tenfold.commands.doctor import find_browser
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.report.boxed import Drawing, draw_over
from tenfold.report.check_page import check_page
from tenfold.report.findings import findings as section
from tenfold.report.thumbnails import Boxed, Thumbnails
from tests.test_box_findings import SOUND, table_of
from tests.toys import save, scene

CHROMIUM = find_browser()
SIZE = (120, 90)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def drawing_of(*marked: tuple[float, ...], boxes: tuple[tuple[float, ...], ...] = ()) -> Drawing:
    """Of an image of 120 x 90 with `boxes` and others in question."""
    every = np.array([*boxes, *marked], np.float64).reshape(-1, 4)
    return draw_over(SIZE, every, [Marked(0, "cell", *box) for box in marked])


def test_boxes_in_question_are_apart_from_the_others() -> None:
    drawing = drawing_of((10, 10, 50, 60), boxes=((1, 2, 30.25, 40), (60, 5, 100, 80)))
    assert drawing.frame == (0, 0, 120, 90)
    assert drawing.boxes == 3
    assert drawing.others == "M1 2H30.2V40H1zM60 5H100V80H60z"
    [mark] = drawing.marks
    assert (mark.x, mark.y, mark.width, mark.height, mark.ring) == (10, 10, 40, 50, None)
    assert mark.words == "cell 10,10,50,60"
    assert mark.label is not None
    assert mark.label[2] == "cell"


def test_a_click_has_a_ring_and_swapped_corners_are_drawn_as_a_box() -> None:
    [click] = drawing_of((50, 40, 51, 41)).marks
    assert click.ring == (50.5, 40.5, pytest.approx(5.4))
    [swapped] = drawing_of((50, 40, 20, 10)).marks
    assert (swapped.x, swapped.y, swapped.width, swapped.height) == (20, 10, 30, 30)
    assert swapped.words == "cell 50,40,20,10"


def test_what_lies_outside_is_shown_up_to_half_an_image_away_and_pointed_at_beyond() -> None:
    assert drawing_of((100, -20, 150, 50)).frame == (0, -20, 150, 110)
    far = drawing_of((2000, 20, 2100, 60))
    assert far.frame == (0, 0, 180, 90)
    assert far.marks[0].label is not None
    assert far.marks[0].label[2] == "cell →"
    x, y, _ = far.marks[0].label
    assert 0 <= x < 180
    assert 0 < y <= 90
    for box, arrow in (((-900, 5, -800, 9), "←"), ((5, 700, 9, 800), "↓"), ((5, -800, 9, -700), "↑")):
        label = drawing_of(box).marks[0].label
        assert label is not None
        assert label[2] == f"cell {arrow}"
        frame = drawing_of(box).frame
        assert frame[0] <= label[0] <= frame[0] + frame[2]
        assert frame[1] <= label[1] <= frame[1] + frame[3]


def test_labels_are_written_within_the_frame_and_of_the_first_boxes_alone() -> None:
    drawing = drawing_of(*((118 - place, 1, 119, 3) for place in range(5)))
    labels = [mark.label for mark in drawing.marks]
    assert [label is None for label in labels] == [False, False, False, True, True]
    for label in labels[:3]:
        assert label is not None
        assert label[0] + 3 * drawing.letter <= 120
        assert drawing.letter <= label[1] < 90


def broken(folder: Path) -> Table:
    """A table with every finding on boxes, and names that would break a page that does not escape."""
    odd = [
        (0, 50, 50, 40, 60, "x"),
        (1, 50, 30, 51, 31, "x"),
        (2, 100, 80, 150, 99, "x"),
        (2, 900, 80, 950, 99, "x"),
        (3, 13, 10, 60, 50.5, "x"),
        (5, 70, 60, 80, 70, "<b>X&"),
        (4, 100, 30, 118, 88, "x"),
    ]
    table = table_of(folder, [*SOUND[:7], *odd], im4=6)
    Path(table.samples["source"][7]).write_bytes(Path(table.samples["source"][6]).read_bytes())
    return table


def part_of(page: str, kind: str) -> str:
    """The section of a page on one kind of finding."""
    [found] = re.findall(rf'<section id="{kind}".*?</section>', page, re.DOTALL)
    return str(found)


def test_each_finding_on_boxes_shows_them(tmp_path: Path) -> None:
    table = broken(tmp_path)
    findings = check_table(table)
    page = check_page("cells", findings, table)
    assert "<b>X" not in page
    for kind, boxes in (("box_corners", 1), ("box_empty", 1), ("box_outside", 2), ("box_twice", 1)):
        own = part_of(page, kind)
        assert own.count("<svg") == 1, kind
        assert own.count('<rect class="doubt"') == boxes, kind
        assert own.count('<path class="other"') == 1
    assert '<circle class="doubt"' in part_of(page, "box_empty")
    assert "x →" in part_of(page, "box_outside")
    assert 'viewBox="0.0 0.0 180.0 99.0"' in part_of(page, "box_outside")
    copies = part_of(page, "box_copies")
    assert copies.count("<svg") == 2
    assert "1 box<" in copies
    assert "0 boxes<" in copies
    assert "doubt" not in copies
    assert "doubt" not in part_of(page, "no_box")
    small = part_of(page, "small_class")
    assert small.count('<rect class="doubt"') == 1
    assert "&lt;b&gt;X&amp;" in small
    assert "Boxes in question are thick and orange" in page


def test_boxes_before_exif_are_shown_on_the_image_as_it_is_stored_too(tmp_path: Path) -> None:
    table = broken(tmp_path)
    own = part_of(check_page("cells", check_table(table), table), "box_rotated")
    assert own.count("<svg") == 2
    assert own.count('<rect class="doubt"') == 4  # two boxes, on both
    assert "as it is stored" in own
    upright, stored = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("L"), np.float64)
        for text in re.findall(r'href="data:image/jpeg;base64,([^"]+)"', own)
    )
    assert (upright.shape, stored.shape) == ((120, 90), (90, 120))
    with Image.open(table.samples["source"][4]) as image:
        assert np.abs(np.asarray(image.convert("L"), np.float64) - stored).mean() < 5  # Pillow does not turn it
    assert np.abs(np.rot90(stored, -1) - upright).mean() < 5 < np.abs(np.rot90(stored) - upright).mean()


def test_copies_of_nearly_one_name_mark_what_is_in_question(tmp_path: Path) -> None:
    labels = ["Platelets", "platelets ", "RBC"]
    table = table_of(tmp_path, [(place, 9 + place, 9, 50, 50, labels[place % 3]) for place in range(8)])
    findings = check_table(table)
    [item] = findings.find("names").sets
    assert [(box.row, box.label) for box in item.boxes] == [(0, "Platelets"), (1, "platelets ")]
    again = Findings.from_json(json.loads(json.dumps(findings.to_json())))
    assert again.find("names").sets == findings.find("names").sets
    older = findings.to_json()
    for found in older["findings"]:
        for one in found["sets"]:
            del one["boxes"]
    assert Findings.from_json(older).find("names").sets == (item._replace(boxes=()),)


def test_of_many_images_of_a_class_the_boxes_of_those_that_are_shown_are_named() -> None:
    boxes = [(image, 9 * slot, 0, 9 * slot + 8, 8, "x", False) for image in range(50) for slot in range(3)]
    frame = pd.DataFrame(boxes, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    video = Table(make_samples({"source": [f"{n}.jpg" for n in range(50)]}, 50), ("x",), frame)
    [small] = [one for one in class_findings(video, np.zeros(50, np.int64)) if one]  # one block
    [item] = small.sets
    assert item.rows == tuple(range(50))
    assert [box.row for box in item.boxes] == [row for row in range(ABREAST) for _ in range(3)]


def test_a_picture_is_large_where_boxes_are_in_question_and_only_then_their_colors_are_explained(
    tmp_path: Path,
) -> None:
    table = table_of(tmp_path, SOUND)
    Image.new("RGB", (800, 600)).save(table.samples["source"][0])
    look = Boxed(table)
    for marked, width in (((), 128), ((Marked(0, "x", 10, 10, 60, 50),), 400)):
        for upright in (True, False):
            picture = look(0, marked, upright=upright)
            content = base64.b64decode(picture.address.partition(",")[2])
            assert Image.open(io.BytesIO(content)).size == (width, width * 3 // 4)
            assert picture.drawing is not None
            assert picture.drawing.size == (800, 600)
    hashed = table.assign(hash=[f"{row:032x}" for row in range(8)])
    for boxes, told in (((), False), ((Marked(1, "x", 11, 10, 60, 50),), True)):
        sets = (Evidence((0,)), Evidence((1,), boxes=boxes), Evidence((2,), boxes=boxes))
        found = gather(hashed, [Finding("dark", True, 3, "", "", "", sets)])
        run: Any = SimpleNamespace(findings=found.to_json(), table=hashed)
        for page in (check_page("cells", found, hashed), section(run, Thumbnails(hashed)).html):
            assert page.count("<svg") == 3
            assert page.count("Boxes in question are thick and orange") == told


def test_the_report_of_a_run_shows_them_too(tmp_path: Path) -> None:
    table = broken(tmp_path)
    found = check_table(table)
    hashed = table.assign(hash=[found.samples[row].hash if row in found.samples else None for row in range(8)])
    kept = hashed.take([0, 2, 3, 4, 5, 6, 7])
    run: Any = SimpleNamespace(findings=found.to_json(), table=kept)
    html = section(run, Thumbnails(kept)).html
    assert html.count('<rect class="doubt"') >= 6
    assert "im1.jpg is not in the run" in html
    assert "Boxes in question are thick and orange" in html


def test_images_without_boxes_are_shown_as_before(tmp_path: Path) -> None:
    source = str(save(tmp_path / "one.png", scene(1)))
    table = Table(make_samples({"source": [source], "label": ["cat"], "hash": ["0" * 32]}, 1), ("cat",))
    page = check_page("one", gather(table, [Finding("dark", True, 1, "", "", "", (Evidence((0,)),))]), table)
    assert "<svg" not in page
    assert page.count('<img src="data:image/') == 1
    assert "Boxes in question" not in page


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (uv sync)")
    from tests.test_report_browser import OPTIONS

    if CHROMIUM is None:
        pytest.skip("needs a Chromium; tenfold doctor says how to get one")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


def test_the_page_fits_a_phone_and_its_pictures_are_loaded(browser: Any, tmp_path: Path) -> None:
    table = broken(tmp_path / "data")
    path = tmp_path / "check.html"
    path.write_text(check_page("cells", check_table(table), table), encoding="utf-8")
    for width, scheme in ((320, "light"), (375, "dark"), (1200, "light")):
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        said: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.goto(path.as_uri())
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.scrollingElement.scrollWidth - window.innerWidth") <= 0
        assert said == []
        pictures = page.locator(".boxed svg")
        assert pictures.count() >= 8
        for picture in pictures.all():
            assert picture.evaluate("one => one.querySelector('image').getBBox().width > 0")
            assert picture.get_attribute("aria-label")
            if picture.locator(".doubt").count():
                assert picture.bounding_box()["width"] > 200
        page.close()
