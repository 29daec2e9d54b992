"""Writers of boxes and `tenfold convert`: what is written is read back as it was, from each layout to each."""

from __future__ import annotations

import csv
import json
import os
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tenfold.__main__ import main
from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import BOX_COLUMNS, Table, load_table, make_samples, write_table
from tenfold.images.writers import WRITERS, write_boxes
from tenfold.images.writers.placed import link_file, plain, unique_names
from tenfold.split import split_table, write_split
from tests.test_box_readers import image

CLASSES = ("hoa hồng", "no", "10", "cell 2")

Known = dict[str, tuple[str | None, list[tuple[object, ...]]]]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def box_table(root: Path, *, parts: tuple[str | None, ...] = ("train", "validation", "test", None)) -> Table:
    """Images of many sizes, one turned by EXIF, one with nothing in it; boxes in hundredths of a pixel, some odd."""
    draw = np.random.default_rng(0)
    sources, rows = [], []
    for place in range(8):
        width, height = draw.integers(40, 120, 2).tolist()
        sources.append(str(image(root / f"{place % 3}" / f"{place // 3}.jpg", (width, height), 6 if place == 2 else 1)))
        for number in range(place % 4):
            corners = (draw.integers(0, 100 * min(width, height), (2, 2)) / 100).tolist()
            (x1, y1), (x2, y2) = np.sort(corners, 0).tolist()
            rows.append((place, x1, y1, x2, y2, CLASSES[(place + number) % 4], False))
    rows += [(7, 5, 5, 5, 5, "10", False), (7, 9, 9, 3, 3, "10", False), (7, -4.25, 3, 300, 9, "10", False)]
    frame = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    samples = make_samples({"source": sources, "part": [parts[place % len(parts)] for place in range(8)]}, 8)
    return Table(samples, ("10", "cell 2", "hoa hồng", "no"), frame)


def known(table: Table) -> Known:
    """What a table says, by the content of its images: part, and boxes as they come."""
    table = hashed(table)
    part = table.samples["part"].astype(object).where(table.samples["part"].notna(), None).tolist()
    found: Known = {digest: (part[row], []) for row, digest in enumerate(table.samples["hash"])}
    assert table.boxes is not None
    for sample, *box in table.boxes.itertuples(index=False, name=None):
        found[table.samples["hash"][sample]][1].append(tuple(box))
    return found


def same(found: Known, wanted: Known, off: float) -> None:
    assert found.keys() == wanted.keys()
    for digest, (part, boxes) in wanted.items():
        assert found[digest][0] == part
        assert [box[4:] for box in found[digest][1]] == [box[4:] for box in boxes]
        for one, other in zip(found[digest][1], boxes, strict=True):
            np.testing.assert_allclose(one[:4], other[:4], rtol=0, atol=off)


@pytest.mark.parametrize("parts", [("train", "validation", "test", None), ("train", "test"), (None,)])
@pytest.mark.parametrize(("first", "second"), list(product(WRITERS, WRITERS)))
def test_round_trips_through_all_pairs(tmp_path: Path, first: str, second: str, parts: tuple[str | None, ...]) -> None:
    table = box_table(tmp_path / "images", parts=parts)
    write_boxes(table, tmp_path / "one", first)
    once = read_table(tmp_path / "one")
    write_boxes(once, tmp_path / "two", second)
    twice = read_table(tmp_path / "two")
    for found in (once, twice):
        same(known(found), known(table), 0)
        assert set(found.classes) == set(table.classes)
    if first != "voc" and second != "voc":
        assert twice.classes == table.classes, "COCO and YOLO keep the order"


@pytest.mark.parametrize("layout", WRITERS)
def test_any_float_comes_back_to_a_hundredth_of_a_pixel_and_nearer(tmp_path: Path, layout: str) -> None:
    table = box_table(tmp_path / "images")
    corners = table.boxes[["x1", "y1", "x2", "y2"]] * np.pi
    table.boxes[["x1", "y1", "x2", "y2"]] = corners
    write_boxes(table, tmp_path / "out", layout)
    same(known(read_table(tmp_path / "out")), known(table), 1e-6 if layout == "yolo" else 1e-8)


@pytest.mark.parametrize("layout", WRITERS)
def test_boxes_to_ignore(tmp_path: Path, layout: str) -> None:
    table = box_table(tmp_path / "images")
    ignore = np.arange(len(table.boxes)) % 3 == 0
    table.boxes["ignore"] = ignore
    written = write_boxes(table, tmp_path / "out", layout)
    found = read_table(tmp_path / "out").boxes
    if layout == "yolo":
        assert not found["ignore"].any()
        assert len(found) == len(table.boxes) - ignore.sum()
        assert f"Boxes to ignore, for which YOLO has no mark, and which are left out: {ignore.sum()}." in written.notes
    else:
        assert found["ignore"].sum() == ignore.sum()
        assert written.notes == ()


def test_areas_of_masks_stay_in_coco_and_are_said_to_be_lost_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = box_table(tmp_path / "images")
    areas = np.where(
        np.arange(len(table.boxes)) % 2, np.random.default_rng(1).uniform(0.1, 5000, len(table.boxes)) / 7, np.nan
    )
    given = int(np.isfinite(areas).sum())
    table.boxes["area"] = areas
    table.boxes["ignore"] = np.arange(len(areas)) % 3 == 0
    assert write_boxes(table, tmp_path / "coco", "coco").notes == ()
    once = read_table(tmp_path / "coco")
    assert list(once.boxes) == [*BOX_COLUMNS, "area"]
    write_boxes(once, tmp_path / "again", "coco")
    twice = read_table(tmp_path / "again")
    for found in (once, twice):  # its own area exactly, NaN that of the box
        exact = known(found)
        for digest, (_, boxes) in known(table).items():
            np.testing.assert_array_equal([box[6] for box in exact[digest][1]], [box[6] for box in boxes])
    assert known(once).keys() == known(twice).keys()
    lost = f"the areas of {given} boxes, as of masks, by which COCO's small, medium and large go."
    for layout in ("voc", "yolo"):
        notes = write_boxes(once, tmp_path / layout, layout).notes
        assert sum(note.endswith(lost) for note in notes) == 1
        assert "area" not in read_table(tmp_path / layout).boxes
    for command in (["check", "--fix", "fixed.csv"], ["augment", "--policy", "standard", "--save", "copies"]):
        name, *options, out = command
        main([name, str(tmp_path / "coco"), *options, str(tmp_path / out)])
        assert lost in capsys.readouterr().err


def test_bccd_through_all_layouts(shared_data: Path, tmp_path: Path) -> None:
    if not (shared_data / "bccd").is_dir():
        pytest.skip("needs bccd")
    whole = read_table(shared_data / "bccd")
    names = [Path(source).stem for source in whole.samples["source"]]
    rows = [0, 50, 200, *(names.index(f"BloodImage_{number}") for number in ("00338", "00343"))]
    table = whole.take(rows)
    for first, second in product(WRITERS, WRITERS):
        write_boxes(table, tmp_path / f"{first}-{second}" / "1", first)
        write_boxes(read_table(tmp_path / f"{first}-{second}" / "1"), tmp_path / f"{first}-{second}" / "2", second)
        same(known(read_table(tmp_path / f"{first}-{second}" / "2")), known(table), 0)


# Numbers of classes


def yolo_of(folder: Path, settings: str) -> Path:
    """Two images with boxes of the classes 0 and 2 in YOLO's layout."""
    for name in "ab":
        image(folder / "images" / f"{name}.jpg")
        label = folder / "labels" / f"{name}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 0.5 0.5 0.25 0.5\n2 0.5 0.5 0.5 0.5\n")
    if settings:
        (folder / "data.yaml").write_text(settings)
    return folder


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ("names: [person, car, dog, cat]\n", ("person", "car", "dog", "cat")),
        ("nc: 4\n", tuple("0123")),
        ("", tuple("012")),
    ],
)
def test_a_class_keeps_its_number_where_others_have_no_box(
    tmp_path: Path, settings: str, names: tuple[str, ...]
) -> None:
    table = read_table(yolo_of(tmp_path / "in", settings))
    assert table.classes == (names[0], names[2])
    assert table.take([1]).numbered == table.numbered == names
    write_boxes(table, tmp_path / "yolo", "yolo")
    assert yaml.safe_load((tmp_path / "yolo" / "data.yaml").read_text())["names"] == dict(enumerate(names))
    lines = (tmp_path / "yolo" / "labels" / "a.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "2"]
    write_boxes(read_table(tmp_path / "yolo"), tmp_path / "coco", "coco")
    content = json.loads((tmp_path / "coco" / "annotations" / "instances.json").read_text())
    assert [category["name"] for category in content["categories"]] == list(names)
    assert [annotation["category_id"] for annotation in content["annotations"]] == [1, 3, 1, 3]
    assert read_table(tmp_path / "coco").numbered == names
    write_table(table, tmp_path / "table.parquet")
    again = load_table(tmp_path / "table.parquet", table.classes)
    assert again.numbered == names
    assert again.boxes.equals(table.boxes)
    table.boxes.to_parquet(tmp_path / "boxes.parquet", index=False)
    older = load_table(tmp_path / "table.parquet", table.classes)
    assert (older.declared, older.numbered) == ((), table.classes)


def test_classes_beyond_those_declared_go_by_their_order(tmp_path: Path) -> None:
    table = read_table(yolo_of(tmp_path / "in", "names: [person, car, dog]\n"), classes=["zebra", "dog", "person"])
    assert table.numbered == table.classes == ("zebra", "dog", "person")


def test_an_order_that_is_asked_for_is_the_one_that_is_written(tmp_path: Path) -> None:
    order = ("dog", "car", "person")
    table = read_table(yolo_of(tmp_path / "in", "names: [person, car, dog]\n"), classes=order)
    assert table.numbered == table.classes == order
    write_boxes(table, tmp_path / "out", "yolo")
    assert yaml.safe_load((tmp_path / "out" / "data.yaml").read_text())["names"] == dict(enumerate(order))
    lines = (tmp_path / "out" / "labels" / "a.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["2", "0"]


def test_categories_of_coco_keep_their_order_over_all_files_and_not_their_ids(tmp_path: Path) -> None:
    categories = {"train": {1: "person", 90: "brush"}, "val": {1: "person", 18: "dog", 90: "brush"}}
    for part, own in categories.items():
        image(tmp_path / "images" / f"{part}.jpg")
        content = {
            "images": [{"id": 1, "file_name": f"{part}.jpg"}],
            "annotations": [{"id": key, "image_id": 1, "category_id": key, "bbox": [1, 2, 30, 40]} for key in own],
            "categories": [{"id": key, "name": name} for key, name in own.items()],
        }
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
    table = read_table(tmp_path)
    assert table.numbered == table.classes == ("person", "dog", "brush")
    write_boxes(table, tmp_path / "out", "coco")
    written = json.loads((tmp_path / "out" / "annotations" / "instances_train.json").read_text())["categories"]
    assert written == [{"id": place, "name": name} for place, name in enumerate(table.classes, 1)]


# What others find in the files


def test_coco_is_what_pycocotools_expects(tmp_path: Path) -> None:
    table = box_table(tmp_path / "images", parts=(None,))
    write_boxes(table, tmp_path / "out", "coco")
    content = json.loads((tmp_path / "out" / "annotations" / "instances.json").read_text("utf-8"))
    assert [category["name"] for category in content["categories"]] == list(table.classes)
    assert [annotation["id"] for annotation in content["annotations"]] == list(range(1, len(table.boxes) + 1))
    assert {"id", "image_id", "category_id", "bbox", "area", "iscrowd", "segmentation"} == set(
        content["annotations"][0]
    )
    turned = content["images"][2]
    assert (turned["width"], turned["height"]) == read_upright(table, 2)


def read_upright(table: Table, row: int) -> tuple[int, int]:
    from PIL import Image, ImageOps

    with Image.open(table.samples["source"][row]) as stored:
        return ImageOps.exif_transpose(stored).size


def test_yolo_is_what_ultralytics_expects(tmp_path: Path) -> None:
    table = box_table(tmp_path / "images", parts=("train", "test"))
    written = write_boxes(table, tmp_path / "out", "yolo")
    settings = yaml.safe_load((tmp_path / "out" / "data.yaml").read_text("utf-8"))
    assert settings == {
        "train": "images/train",
        "test": "images/test",
        "names": {0: "10", 1: "cell 2", 2: "hoa hồng", 3: "no"},
    }
    assert "There is no part val, which Ultralytics asks for." in written.notes
    assert "Images with a box outside or of no area, which Ultralytics refuses: 1." in written.notes
    for part in ("train", "test"):
        stems = {path.stem for path in (tmp_path / "out" / "images" / part).iterdir()}
        assert stems == {path.stem for path in (tmp_path / "out" / "labels" / part).iterdir()}


def test_voc_lists(tmp_path: Path) -> None:
    write_boxes(box_table(tmp_path / "images"), tmp_path / "out", "voc")
    lists = {path.stem: path.read_text().split() for path in (tmp_path / "out" / "ImageSets" / "Main").iterdir()}
    assert sorted(lists["trainval"]) == sorted(lists["train"] + lists["val"])
    assert {name: len(stems) for name, stems in lists.items()} == {"train": 2, "val": 2, "test": 2, "trainval": 4}


# Files


def test_names_stay_where_they_can(tmp_path: Path) -> None:
    paths = ["/d/train/1.jpg", "/d/test/1.jpg", "/d/test/1.PNG", "/d/train/1.JPG", "/d/a b.c.jpg"]
    assert unique_names(paths) == ["1.jpg", "test_1.jpg", "d_test_1.PNG", "train_1.JPG", "a b.c.jpg"]
    assert unique_names(["/1.jpg", "/1.png", "/1.gif"]) == ["1.jpg", "1_2.png", "1_3.gif"]
    assert [plain(value) for value in (3.0, 0.25, -0.0, 1e-12, 1234567.125)] == ["3", "0.25", "0", "0", "1234567.125"]


def test_images_are_linked_or_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = box_table(tmp_path / "images")
    first = Path(table.samples["source"][0])
    write_boxes(table, tmp_path / "linked", "voc")
    write_boxes(table, tmp_path / "copied", "voc", copy=True)
    assert (tmp_path / "linked" / "JPEGImages" / "0.jpg").samefile(first)
    copied = tmp_path / "copied" / "JPEGImages" / "0.jpg"
    assert not copied.samefile(first)
    assert copied.read_bytes() == first.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    write_boxes(table, tmp_path / "elsewhere", "voc")
    assert (tmp_path / "elsewhere" / "JPEGImages" / "0.jpg").is_symlink()
    same(known(read_table(tmp_path / "elsewhere")), known(table), 0)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(DataError, match=r"0\.jpg cannot be linked from .* \(Invalid cross-device link\); use --copy"):
        link_file(str(first), tmp_path / "x.jpg")


def test_a_folder_is_complete_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> list[str]:
        raise KeyboardInterrupt

    table = box_table(tmp_path / "images")
    (tmp_path / "out").mkdir()
    monkeypatch.setitem(WRITERS, "voc", stop)
    with pytest.raises(KeyboardInterrupt):
        write_boxes(table, tmp_path / "out", "voc")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out"]
    write_boxes(table, tmp_path / "out", "coco")
    with pytest.raises(UsageError, match=r"out is there already; give the name of a new folder\."):
        write_boxes(table, tmp_path / "out", "coco")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    table = box_table(tmp_path / "images")
    with pytest.raises(UsageError, match=r"layout must be one of voc, coco, yolo, not 'vok'; did you mean 'voc'\?"):
        write_boxes(table, tmp_path / "out", "vok")
    with pytest.raises(UsageError, match="Only images with boxes can be converted, and these have none; read boxes as"):
        write_boxes(Table(table.samples), tmp_path / "out", "voc")
    with pytest.raises(UsageError, match="Only images that are files of their own can be converted"):
        write_boxes(table.assign(row=range(8)), tmp_path / "out", "voc")
    for source in table.samples["source"][1:]:
        Path(source).write_bytes(b"no image")
    assert write_boxes(table, tmp_path / "out", "voc").images == 1
    Path(table.samples["source"][0]).write_bytes(b"no image")
    with pytest.raises(DataError, match="None of the 8 images can be read, so there is nothing to write"):
        write_boxes(table, tmp_path / "more", "voc")


# What has no place


@pytest.mark.parametrize("layout", WRITERS)
def test_groups_and_copies_that_are_lost_are_said(tmp_path: Path, layout: str) -> None:
    table = box_table(tmp_path / "images", parts=(None,))
    groups = ["a", "a", "b", None, "b", "a", "alone", None]
    told = "Left out, as the layout has no place for it: {}."
    advice = " A later split would tear these apart: run tenfold split first, so that parts are written."
    notes = {
        name: write_boxes(table.assign(**more), tmp_path / name, layout).notes
        for name, more in {
            "plain": {},
            "single": {"group": [*"abcdefgh"]},
            "grouped": {"group": groups},
            "copied": {"copy": [False] * 7 + [True]},
            "both": {"group": groups, "copy": [False] * 6 + [True] * 2},
            "parted": {"group": groups, "part": ["train", "validation"] * 3 + [None] * 2},
        }.items()
    }
    assert sum(map(len, notes.values())) == (4 if layout != "yolo" else 4 + 6)
    assert not any("Left out" in note for name in ("plain", "single") for note in notes[name])
    for name, lost in {
        "grouped": "the groups of 5 images (2 groups)",
        "copied": "that 1 image is an augmented copy of others",
        "both": "the groups of 5 images (2 groups) and that 2 images are augmented copies of others",
    }.items():
        assert told.format(lost) + advice in notes[name]
    assert told.format("the groups of 5 images (2 groups)") in notes["parted"]


def test_a_group_of_which_one_image_is_left_is_not_said(tmp_path: Path) -> None:
    table = box_table(tmp_path / "images", parts=(None,)).assign(group=["a", "a", *[None] * 6])
    Path(table.samples["source"][1]).write_bytes(b"no image")
    notes = write_boxes(table, tmp_path / "out", "coco").notes
    assert [note.split(":")[0] for note in notes] == ["Left out"]
    assert "groups" not in notes[0]


@pytest.mark.parametrize(
    ("names", "back"), [("[zebra, dog, apple]", "apple, zebra"), ("[apple, dog, zebra]", "apple, zebra")]
)
def test_voc_says_that_classes_get_other_numbers(tmp_path: Path, names: str, back: str) -> None:
    table = read_table(yolo_of(tmp_path / "in", f"names: {names}\n"))
    (note,) = write_boxes(table, tmp_path / "voc", "voc").notes
    assert note == (
        f"Pascal VOC has no list of classes: read back, they are those with a box, in natural order ({back}), not as "
        f"here ({names[1:-1]}); what is then written as YOLO or COCO has other numbers for them."
    )
    assert ", ".join(read_table(tmp_path / "voc").numbered) == back
    in_order = read_table(yolo_of(tmp_path / "more", "names: [apple, none, zebra]\n")).take([0])
    assert write_boxes(in_order, tmp_path / "coco", "coco").notes == ()
    same_order = read_table(tmp_path / "voc")
    assert write_boxes(same_order, tmp_path / "again", "voc").notes == ()


def test_an_image_with_two_endings_keeps_its_part_in_voc(tmp_path: Path) -> None:
    for name in ("photo.jpg.png", "other.png"):
        image(tmp_path / "images" / name)
    lines = "photo.jpg.png,1,2,9,9,a,test\nother.png,1,2,9,9,a,train\n"
    (tmp_path / "images" / "boxes.csv").write_text(f"path,x1,y1,x2,y2,label,part\n{lines}")
    table = read_table(tmp_path / "images" / "boxes.csv")
    for layout in WRITERS:
        write_boxes(table, tmp_path / layout, layout)
        same(known(read_table(tmp_path / layout)), known(table), 1e-6)
    main_list = tmp_path / "voc" / "ImageSets" / "Main" / "train.txt"
    main_list.write_text("other.png\n")
    same(known(read_table(tmp_path / "voc")), known(table), 0)


# The command


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_boxes(box_table(tmp_path / "images"), tmp_path / "voc", "voc")
    assert main(["convert", str(tmp_path / "voc"), str(tmp_path / "yolo"), "--to", "yolo", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["boxes"], told["layout"]) == (8, 15, "yolo")
    assert main(["convert", str(tmp_path / "yolo"), str(tmp_path / "coco")]) == 0
    out = capsys.readouterr().out
    assert f"8 images with 15 boxes of 4 classes: {tmp_path / 'coco'}" in out
    assert f"Next: tenfold check {tmp_path / 'coco'}" in out
    assert main(["convert", str(tmp_path / "yolo"), str(tmp_path / "coco")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_the_written_split_says_the_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_boxes(box_table(tmp_path / "images", parts=(None,)), tmp_path / "voc", "voc")
    split = split_table(read_table(tmp_path / "voc"), validation=0.25, test=0.25)
    write_split(split, tmp_path / "voc.split.csv")
    assert main(["convert", str(tmp_path / "voc"), str(tmp_path / "coco"), "--to", "coco"]) == 0
    assert "voc.split.csv" in capsys.readouterr().err
    same(known(read_table(tmp_path / "coco")), known(split), 0)
    with (tmp_path / "voc.split.csv").open() as file:
        assert len(list(csv.reader(file))) == 9
