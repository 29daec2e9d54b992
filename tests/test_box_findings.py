"""The check of boxes: what is named, and what is not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tenfold.__main__ import main
from tenfold.boxes import box_iou
from tenfold.check import Findings, check_table, write_repaired
from tenfold.check.box_findings import doubles, excess, swapped, thin
from tenfold.check.classes import class_findings, is_slip, near_names
from tenfold.images.readers import read_table
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.report.check_page import check_page
from tests.test_box_readers import boxes as read_boxes
from tests.toys import save, scene

KINDS = ("box_rotated", "box_size", "box_corners", "box_empty", "box_outside", "box_twice", "box_copies", "no_box")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def table_of(folder: Path, rows: list[tuple], count: int = 8, **turned: int) -> Table:
    """Images of 120 x 90 as they are stored, some of them (im3=6) with an EXIF orientation, and boxes in them."""
    from PIL import Image

    sources = []
    for number in range(count):
        exif = Image.Exif()
        exif[0x0112] = turned.get(f"im{number}", 1)
        sources.append(str(save(folder / f"im{number}.jpg", scene(number), exif=exif, quality=92)))
    frame = pd.DataFrame([(*row, False) for row in rows], columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    return Table(make_samples({"source": sources}, count), tuple(sorted(set(frame["label"]))), frame)


def found(findings: Findings, kind: str) -> dict[int, str]:
    """Row -> words."""
    finding = findings.find(kind)
    return {row: item.words for item in finding.sets for row in item.rows} if finding else {}


SOUND = [(place, 10 + place, 10, 60, 50, "x") for place in range(8)]


def test_sound_boxes_have_no_finding(tmp_path: Path) -> None:
    close = [(0, 0, 0, 120, 90, "x"), (0, -1, -1, 121, 91, "y"), (0, 70, 70, 72, 72, "x"), (0, 70.2, 70, 72, 72, "y")]
    findings = check_table(table_of(tmp_path, [*SOUND, *close], im1=6))
    assert [finding.kind for finding in findings.found if finding.kind in KINDS] == []


def test_each_box_has_the_first_finding_that_fits(tmp_path: Path) -> None:
    odd = [
        (0, 50, 50, 40, 60, "x"),
        (1, 5, 5, 5, 5, "a"),
        (1, 503, 336, 504, 337, "x"),
        (2, 100, 80, 150, 89, "x"),
        (2, 500, 80, 550, 89, "x"),
        (2, 520, 80, 590, 89, "x"),
        (2, 502, 80, 590, 89, "x"),
        (3, 13, 10, 60, 50.5, "x"),
        (3, 13, 10, 60, 50.5, "y"),
    ]
    findings = check_table(table_of(tmp_path, [*SOUND[:7], *odd]))
    assert found(findings, "box_corners") == {0: "x 50,50,40,60"}
    assert found(findings, "box_empty") == {1: "a 5,5,5,5; x 503,336,504,337"}
    assert found(findings, "box_outside") == {2: "x 100,80,150,89; x 500,80,550,89; x 520,80,590,89 and 1 more"}
    assert found(findings, "box_twice") == {3: "x 13,10,60,50.5"}
    assert found(findings, "no_box") == {7: "no box"}
    assert findings.find("no_box").needs_decision is False
    empty = findings.find("box_empty")
    assert empty.needs_decision
    assert empty.evidence == "2 of 16 boxes: at most one pixel wide or high, as from a click."
    left_out = "left out of training and of every figure, so a detector that finds such a thing counts as wrong."
    missed = "1 of up to a pixel can hardly be found: in the test part each counts as missed."
    assert empty.price == f"1 has no area at all and is {left_out} {missed}"
    assert findings.find("box_corners").price == f"They have no area and are {left_out}"
    assert findings.find("one_class") is None
    assert findings.find("small_class").evidence == "Of 2 classes there are fewer than 6 separate images: a (1), y (1)."
    again = Findings.from_json(json.loads(json.dumps(findings.to_json())))
    assert found(again, "box_outside") == found(findings, "box_outside")


def test_boxes_that_were_drawn_before_exif_turned_the_image(tmp_path: Path) -> None:
    rows = [
        *SOUND,
        (0, 80, 60, 118, 88, "x"),
        (2, 80, 60, 118, 88, "x"),
        (3, 80, 60, 400, 88, "x"),
        (5, 5, 100, 80, 118, "x"),
    ]
    table = table_of(tmp_path, rows, im0=6, im1=8, im2=6, im3=5, im4=7, im5=6, im6=3)
    said = {table.samples["source"][row]: size for row, size in ((1, (90, 120)), (2, (120, 90)), (4, (90, 121)))}
    findings = check_table(Table(table.samples, table.classes, table.boxes, said_sizes=said))
    words = "EXIF orientation {}: upright 90 x 120 pixels"
    assert found(findings, "box_rotated") == {0: words.format(6), 1: words.format(8)}
    assert found(findings, "box_outside").keys() == {2, 3}, "the one says the upright size, the other fits neither way"


def test_boxes_that_exif_may_have_left_behind_are_told_of(tmp_path: Path) -> None:
    turned = {"im0": 6, "im1": 8, "im2": 3, "im3": 2, "im4": 6, "im5": 4}  # im6 and im7 are upright
    table = table_of(tmp_path, [row for row in SOUND if row[0] != 5], **turned)
    sources = table.samples["source"].tolist()
    stored = dict.fromkeys(sources, (90, 120))

    def told(**said_sizes: dict[str, tuple[int, int]]) -> Findings:
        return check_table(replace(table, **said_sizes))

    def about(findings: Findings) -> tuple[list[int], list[int], str]:
        note = findings.find("rotated")
        return [item.rows[0] for item in note.sets], [item.rows[0] for item in note.sets if item.boxes], note.remedy

    findings = told(said_sizes=stored)
    assert found(findings, "box_rotated").keys() == {0, 1, 4}
    assert findings.find("box_rotated").evidence.endswith(
        "Of 2 more that EXIF turns, as by 180° or mirrored, no stated size can tell it; their boxes were very likely "
        "drawn on the stored image too."
    )
    rows, doubted, remedy = about(findings)
    assert (rows, doubted) == ([2, 3, 5], [2, 3]), "5 has no box"
    assert remedy.startswith(
        "Look at 2 of them (--page): as other images of the set tell, their boxes were very likely"
    )
    page = check_page("phone", findings, table)
    assert page.partition('<section id="rotated"')[2].count("as it is stored</figcaption>") == 2

    both = told(said_sizes=stored | {sources[4]: (120, 90)})
    assert "their boxes may have been drawn on the stored image too" in both.find("box_rotated").evidence
    assert about(both)[:2] == ([2, 3, 4, 5], [2, 3])

    upright = told(said_sizes=dict.fromkeys((sources[0], sources[1], sources[4]), (120, 90)))
    assert upright.find("box_rotated") is None
    assert about(upright)[2].startswith("Nothing to do for Tenfold")

    unsaid = told()  # as of YOLO
    rows, doubted, remedy = about(unsaid)
    assert (rows, doubted) == ([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4])
    assert remedy.startswith("Look at 5 of them (--page): nothing tells whether their boxes were drawn on the upright")


def test_boxes_for_the_image_in_another_size(tmp_path: Path) -> None:
    rows = [*SOUND[:7], (2, 80, 60, 230, 170, "x"), (3, 50, 40, 110, 80, "x"), (3, 50, 50, 40, 60, "x")]
    table = table_of(tmp_path, rows, im5=6, im6=6)
    sizes = [(60, 80), (89, 121), (180, 240), (60, 80), (100, 240), (120, 90), (180, 240), (45, 60)]
    said = dict(zip(table.samples["source"], sizes, strict=True))
    findings = check_table(replace(table, said_sizes=said))
    assert found(findings, "box_size") == {
        0: "stated 80 x 60 pixels, the image has 120 x 90: it is 1.5 times as wide and high",
        2: "stated 240 x 180 pixels, the image has 120 x 90: it is 0.5 times as wide and high",
        4: "stated 240 x 100 pixels, the image has 120 x 90: it is 0.5 times as wide and 0.9 times as high",
        6: "stated 240 x 180 pixels, the image has 90 x 120: it is 0.375 times as wide and 0.667 times as high",
    }, "1 is a pixel off, 3 has a box beyond the stated size, 5 the size as it is stored, 7 no box"
    finding = findings.find("box_size")
    assert finding.needs_decision
    assert [str(box) for box in finding.sets[1].boxes] == ["x 12,10,60,50", "x 80,60,230,170"]
    first = "The annotations of 4 images of 8 state another size than the image has: "
    assert finding.evidence == f"{first}it is 1.5 times as wide and high in 1 of them."
    assert findings.find("box_outside") is None  # 2 has one, by its size
    assert found(findings, "box_corners").keys() == {3}
    assert check_table(table).find("box_size") is None
    swapped_sides = check_table(replace(table, said_sizes=dict.fromkeys(said, (120, 90))))
    assert found(swapped_sides, "box_size").keys() == {0, 1, 4}
    assert swapped_sides.find("box_size").evidence.endswith("it is 1.33 times as wide and 0.75 times as high.")


def test_doubles_are_those_of_a_slow_search() -> None:
    draw = np.random.default_rng(0)
    corners = draw.integers(0, 6, (300, 4)) * [20.0, 20, 1, 1] + [0, 0, 150, 150]
    owners, labels = draw.integers(0, 5, 300), [str(label) for label in draw.integers(0, 2, 300)]
    slow = set()
    for one in range(300):
        for other in range(one):
            alike = owners[one] == owners[other] and labels[one] == labels[other]
            if alike and box_iou(corners[[one]], corners[[other]])[0, 0] > 0.95:
                slow.add(one)
    assert set(doubles(owners, corners, labels)) == slow
    assert len(slow) > 20


def test_of_no_box_nothing_is_said(tmp_path: Path) -> None:
    none = np.empty((0, 4))
    assert len(swapped(none)) == len(thin(none)) == len(excess(none, np.empty(0), np.empty(0))) == 0
    assert doubles(np.empty(0, np.int64), none, []) == []
    findings = check_table(table_of(tmp_path, []))
    assert findings.find("no_box").images == 8
    assert findings.find("one_class").evidence == "No image has a box."


def test_an_image_that_cannot_be_read_has_no_edge(tmp_path: Path) -> None:
    table = table_of(tmp_path, [*SOUND, (0, 500, 500, 600, 600, "x")])
    Path(table.samples["source"][0]).write_bytes(b"no image")
    findings = check_table(table)
    assert findings.find("unreadable").images == 1
    assert findings.find("box_outside") is None


def test_a_copy_without_the_boxes_of_the_other(tmp_path: Path) -> None:
    table = table_of(tmp_path, SOUND[1:])
    Path(table.samples["source"][0]).write_bytes(Path(table.samples["source"][4]).read_bytes())
    findings = check_table(table)
    assert findings.find("box_copies").images == 1
    assert [item.rows for item in findings.find("box_copies").sets] == [(0, 4)]
    assert findings.find("box_copies").evidence == "1 image without a box is a copy of one that has boxes."


def test_labels_of_nearly_one_name(tmp_path: Path) -> None:
    labels = ["Platelets", "platelets ", "RBC"]
    findings = check_table(table_of(tmp_path, [(place, 9, 9, 50, 50, labels[place % 3]) for place in range(8)]))
    names = findings.find("names")
    assert names.images == 6
    assert names.sets[0].words == "'Platelets' (3) and 'platelets ' (3)"
    assert names.sets[0].rows == (0, 1)


def slips(text: str, letters: str = "abx") -> set[str]:
    """Every text that a letter left out, put in, or another, or two neighbors swapped, makes of a text."""
    places = range(len(text) + 1)
    put_in = {text[:place] + letter + text[place:] for place in places for letter in letters}
    left_out = {text[:place] + text[place + 1 :] for place in places[:-1]}
    other = {text[:place] + letter + text[place + 1 :] for place in places[:-1] for letter in letters}
    swapped = {text[:at] + text[at : at + 2][::-1] + text[at + 2 :] for at in places[:-2]}
    return (put_in | left_out | other | swapped) - {text}


def test_a_slip_is_one_of_all_that_there_are() -> None:
    texts = ["".join(letters) for length in range(5) for letters in product("abx", repeat=length)]
    for one in texts:
        wanted = slips(one)
        assert {other for other in texts if is_slip(one, other)} == wanted.intersection(texts), one
    longer = ["".join(letters) for length in (5, 6) for letters in product("ab", repeat=length)]
    pairs = {frozenset(pair) for pair in near_names(longer)}
    assert pairs == {frozenset((one, other)) for one in longer for other in slips(one, "ab").intersection(longer)}


def test_numbers_and_short_names_are_no_slips() -> None:
    names = ["class 1", "class 2", "class 12", "car", "cart", "cells", "cell", "Kính lúp", "kinh lu", "C0123", "C0132"]
    assert list(near_names(names)) == [("Kính lúp", "kinh lu")]


@pytest.mark.parametrize("has_boxes", [True, False])
def test_a_slip_in_a_label_is_a_note(tmp_path: Path, has_boxes: bool) -> None:
    """A class of under a twentieth of another's number, a letter away from its name."""
    many, few = ("platelets", 42), [("Platlets", 2), ("platelest", 1), ("platelet", 3), ("leukocyte", 1)]
    labels = [label for label, times in (many, *few) for _ in range(times)]
    if has_boxes:
        rows = [(place % 8, 9 + place, 9, 60 + place, 50, label) for place, label in enumerate(labels)]
        table = table_of(tmp_path, rows)
    else:
        table = table_of(tmp_path, [], count=len(labels))
        table = replace(table.assign(label=labels), classes=tuple(sorted(set(labels))), boxes=None)
    findings = class_findings(table, np.arange(len(table)))
    names = next(finding for finding in findings if finding is not None and finding.kind == "slips")
    assert not names.needs_decision
    assert names.images == 3
    assert [item.words for item in names.sets] == [
        "'Platlets' (2) and 'platelets' (42)",
        "'platelest' (1) and 'platelets' (42)",
    ], "of platelet there are too many for a slip"
    assert [len(item.rows) for item in names.sets] == [2, 1]
    assert [labels[row] for item in names.sets for row in item.rows] == [
        "Platlets",
        "Platlets",
        "platelest",
    ] or has_boxes
    assert "over 20 times as large" in names.evidence


def test_slips_and_names_that_are_alike_are_two_findings(tmp_path: Path) -> None:
    """So each has its own place on the page, and neither hides the other."""
    labels = ["platelets"] * 24 + ["Leukocyte"] * 2 + ["leukocyte", "platelest"]
    table = table_of(tmp_path, [(place % 8, 9 + place, 9, 60 + place, 50, one) for place, one in enumerate(labels)])
    findings = check_table(table)
    assert findings.find("names").sets[0].words == "'Leukocyte' (2) and 'leukocyte' (1)"
    assert findings.find("slips").sets[0].words == "'platelest' (1) and 'platelets' (24)"
    ids = re.findall(r'\bid="([^"]+)"', check_page("cells", findings, table))
    assert len(ids) == len(set(ids))
    assert {"names", "slips"} <= set(ids)


def test_a_repaired_listing_keeps_the_boxes(tmp_path: Path) -> None:
    odd = [(0, 50.5, 50, 40, 60, "x"), (7, 1, 2, 3, 4, "y, z")]
    table = table_of(tmp_path, [*SOUND[:6], *odd])
    table = table.assign(part=["train"] * 7 + ["test"])
    table.boxes.loc[0, "ignore"] = True
    Path(table.samples["source"][5]).write_bytes(b"no image")
    write_repaired(table, check_table(table), tmp_path / "clean.csv")
    again = read_table(tmp_path / "clean.csv")
    wanted = read_boxes(table)
    del wanted["im5.jpg"]
    assert read_boxes(again) == wanted
    assert again.samples["part"].tolist() == ["train"] * 6 + ["test"]


def test_bccds_two_clicks_are_named(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not (shared_data / "bccd").is_dir():
        pytest.skip("needs bccd")
    whole = read_table(shared_data / "bccd")
    names = [Path(source).stem for source in whole.samples["source"]]
    few = whole.take([*range(6), *(names.index(f"BloodImage_{number}") for number in ("00338", "00343"))])
    findings = check_table(few)
    empty = findings.find("box_empty")
    assert empty.needs_decision
    assert [item.words for item in empty.sets] == ["RBC 503,336,504,337", "RBC 180,328,181,329"]
    assert [finding.kind for finding in findings.found if finding.kind.startswith("box_")] == ["box_empty"]
    listing = tmp_path / "few.csv"
    write_repaired(few, findings, listing)
    assert main(["check", str(listing), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)["findings"]
    assert "Boxes of no area" in [finding["title"] for finding in told if finding["needs_decision"]]
