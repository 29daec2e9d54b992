"""Listings of boxes as users have them: boxes told from regions, the columns of other programs, and whole folders."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tenfold.augment.save import COLUMNS
from tenfold.check import check_table, write_repaired
from tenfold.check.repair import HEADER
from tenfold.errors import DataError
from tenfold.images.readers import box_listing, read_table
from tests.test_box_readers import boxes, image, parts, sheet, thing, voc, write

REGIONS = "Rows of {} are regions, each a sample to classify; with the reader boxes they would be boxes to detect."
BOXES = "Rows of {} are boxes on images; with the reader listing each would be a region to classify."
BASE64 = b64encode(np.random.default_rng(0).bytes(2900)).decode()
TENSORFLOW = "filename,width,height,class,xmin,ymin,xmax,ymax"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / ".cache"))


# Boxes or regions


@pytest.mark.parametrize(
    ("text", "are_boxes"),
    [
        ("path,label,x1,y1,x2,y2\na.jpg,x,10,20,30,60\na.jpg,y,1,2,3,4\nb.jpg,x,1,2,3,4\n", True),
        ("path,label,x1,y1,x2,y2\na.jpg,x,10,20,30,60\na.jpg,y,1,2,3,4\nb.jpg,,,,,\n", True),
        ("path,label,part,x1,y1,x2,y2\na.jpg,x,test,1,2,3,4\na.jpg,y,test,1,2,3,4\n", True),
        ("path,label,x1,y1,x2,y2\na.jpg,x,10,20,30,60\nb.jpg,y,1,2,3,4\n", False),
        ("path,label,x1,y1,x2,y2\na.jpg,x,10,20,30,60\na.jpg,y,1,2,3,4\nb.jpg,x,,,,\n", False),
        ("path,label,x1,y1,x2,y2\na.jpg,x,10,20,30,60\na.jpg,,1,2,3,4\n", False),
        ("path,label,part,x1,y1,x2,y2\na.jpg,x,train,1,2,3,4\na.jpg,y,test,5,2,9,4\n", False),
        ("path,label,group,part,x1,y1,x2,y2\na.jpg,x,,,10,20,30,60\na.jpg,y,,,1,2,3,4\n", False),
        ("path,label,group,reason,x1,y1,x2,y2\na.jpg,x,,,10,20,30,60\na.jpg,y,,,1,2,3,4\n", False),
        ("path,label,x1,y1,x2,y2,ignore\na.jpg,x,10,20,30,60,\n", True),
        ("image,label,x1,y1,x2,y2\na.jpg,x,10,20,30,60\n", True),
    ],
)
def test_what_a_listing_with_corners_is_read_as_is_said(tmp_path: Path, text: str, are_boxes: bool) -> None:
    for name in ("a.jpg", "b.jpg"):
        image(tmp_path / name)
    path = write(tmp_path / "list.csv", text)
    table = read_table(path)
    assert (table.boxes is not None) == are_boxes
    assert (BOXES if are_boxes else REGIONS).format(path) in table.notes
    if "label,group,part" in text:
        assert read_table(path, "boxes").boxes is not None
    assert len(read_table(path, "listing")) == text.count("\n") - 1, "a sample a row"


def test_the_regions_that_tenfold_writes_stay_regions(tmp_path: Path) -> None:
    assert COLUMNS[:4] == ("path", "label", "group", "part"), "by which they are known, as tested above"
    assert HEADER == ("path", "label", "group", "reason")
    for name in ("a.jpg", "b.jpg"):
        image(tmp_path / name)
    rows = [f"{name}.jpg,{label},{x},2,{x + 40},60" for name in "ab" for label, x in (("x", 1), ("y", 50))]
    table = read_table(write(tmp_path / "list.csv", "path,label,x1,y1,x2,y2\n" + "\n".join(rows)), "listing")
    write_repaired(table, check_table(table), tmp_path / "clean.csv")
    again = read_table(tmp_path / "clean.csv")
    assert again.boxes is None
    assert again.samples[["label", "x1"]].equals(table.samples[["label", "x1"]])


# The columns of others


CORNERS = {"a": [(1, 1, 100, 80), (11, 21, 30, 60)], "b": [(5, 6, 7, 8)]}


def as_voc(root: Path) -> Path:
    return voc(root, **{name: sheet(*(thing("x", box) for box in own)) for name, own in CORNERS.items()})


def listed(header: str, folder: str = "") -> str:
    """A listing with these columns of what `as_voc` writes."""
    names = {"path", "filename", "image_path", "image"}
    lines = []
    for name, own in CORNERS.items():
        for box in own:
            cells = dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
            cells |= dict(zip(("x_min", "y_min", "x_max", "y_max"), box, strict=True)) | {"width": 100, "height": 80}
            known = {column: f"{folder}{name}.jpg" if column in names else "x" for column in header.split(",")} | cells
            lines.append(",".join(str(known[column]) for column in header.split(",")))
    return "\n".join([header, *lines]) + "\n"


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (TENSORFLOW, "filename as path, class as label, xmin as x1, ymin as y1, xmax as x2, ymax as y2"),
        ("filename,cell_type,xmin,xmax,ymin,ymax", "filename as path, cell_type as label, xmin as x1"),
        ("image_path,class_name,x_min,y_min,x_max,y_max", "image_path as path, class_name as label, x_min as x1"),
        ("path,label,xmin,ymin,xmax,ymax", "that are taken by our names: xmin as x1"),
    ],
)
def test_columns_of_others_say_what_the_xml_said(tmp_path: Path, header: str, words: str) -> None:
    as_voc(tmp_path)
    wanted = boxes(read_table(tmp_path))
    path = write(tmp_path / "labels.csv", listed(header, "JPEGImages/" if header.startswith("path") else ""))
    table = read_table(path)
    assert boxes(table) == wanted
    assert any(words in note for note in table.notes)
    assert sum("pixels counted from 1, both ends inside" in note for note in table.notes) == 1
    assert not any("not used" in note for note in table.notes)
    assert set(table.said_sizes.values()) == ({(80, 100)} if "width" in header else set())
    assert boxes(read_table(tmp_path)) == wanted, "the XML counts where a folder has both"
    if header.startswith("path"):
        regions = read_table(path, "listing").samples[["x1", "y1", "x2", "y2"]].to_numpy(float)
        assert regions.tolist() == [list(box[:4]) for own in wanted.values() for box in own]


def test_a_listing_of_classes_in_the_names_of_others(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        image(tmp_path / name)
    path = write(tmp_path / "labels.csv", "image;width;class;confidential\na.jpg;9;x;1\nb.jpg;9;y;0\n")
    table = read_table(path)
    assert (table.boxes, table.classes) == (None, ("x", "y"))
    assert table.notes == (
        f"Columns of {path} that are taken by our names: image as path, class as label.",
        f"Columns of {path} that were not used: width, confidential.",
    )


@pytest.mark.parametrize("header", ["image,xmin,ymin,xmax,ymax", ",image_id,width,height,x_min,y_min,x_max,y_max"])
def test_boxes_without_a_column_of_classes_are_of_one(tmp_path: Path, header: str) -> None:
    for name in ("training/a", "training/b", "testing/c"):
        image(tmp_path / f"{name}.jpg")
    start, middle = ("7,", ",100,80") if header.startswith(",") else ("", ".jpg")
    rows = [f"{start}{name}{middle},{corners}" for name, corners in (("a", "11,21,30,60"), ("b", ",,,"))]
    path = write(tmp_path / "train.csv", "\n".join([header, *rows]))
    for place in (path, tmp_path):
        table = read_table(place)
        assert boxes(table) == {"a.jpg": [(10, 20, 30, 60, "object", False)], "b.jpg": []}
        assert f"{path} has no column of classes; its boxes are of one class, called object." in table.notes
    with pytest.raises(DataError, match=r"train\.csv lacks the column label; it needs path,label"):
        read_table(path, "listing")
    write(path, f"{header},species\n{rows[0]},rose\n")
    with pytest.raises(DataError, match=r"train\.csv lacks the column label; .*, species"):  # which may be the class
        read_table(path)


def test_corners_from_zero_are_edges(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    path = write(tmp_path / "labels.csv", f"{TENSORFLOW}\na.jpg,100,80,x,0,5,100,80\na.jpg,100,80,x,10,20,30,60\n")
    table = read_table(path)
    assert boxes(table) == {"a.jpg": [(0, 5, 100, 80, "x", False), (10, 20, 30, 60, "x", False)]}
    note = f"as 1 of 2 boxes begin below 1, where Pascal VOC has none: row 2 of {path} has 0,5,100,80."
    assert any(note in one for one in table.notes), "which row decided"


@pytest.mark.parametrize("corners", ["-inf,5,30,60", "nan,0,30,60", "0,5,30,", "-1,-1,-1,-1", "0,0,0,0", "40,0,9,9"])
def test_a_row_that_is_no_box_does_not_move_the_others(tmp_path: Path, corners: str) -> None:
    for name in "ab":
        image(tmp_path / f"{name}.jpg")
    path = write(tmp_path / "labels.csv", f"{TENSORFLOW}\na.jpg,100,80,x,11,21,30,60\nb.jpg,100,80,x,{corners}\n")
    table = read_table(path)
    assert boxes(table)["a.jpg"] == [(10, 20, 30, 60, "x", False)]
    assert any("pixels counted from 1" in note for note in table.notes)


def test_shares_are_no_pixels(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    path = write(tmp_path / "labels.csv", "filename,class,xmin,ymin,xmax,ymax\na.jpg,x,0.1,0.2,0.5,1\n")
    with pytest.raises(DataError, match=r"No corner in .*labels\.csv is above 1, so they look like shares of"):
        read_table(path)


def test_detections_are_not_taken_for_annotations(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    path = write(tmp_path / "found.csv", "path,class,score,x1,y1,x2,y2\na.jpg,x,0.9,1,2,30,40\n")
    with pytest.raises(DataError, match=r"found\.csv lacks the column label; .*filename,class,xmin,ymin,xmax"):
        read_table(path)
    with pytest.raises(DataError, match=r"lie in no class folders; .*found\.csv holds boxes, it is in no form"):
        read_table(tmp_path)


def test_what_is_missing_or_cut_costs_its_image(tmp_path: Path) -> None:
    for name in "abc":
        image(tmp_path / "images" / f"{name}.jpg")
    lines = [TENSORFLOW, *(f"{name},100,80,x,11,21,30,60" for name in ("a.jpg", "b.jpg", "gone.jpg", "c.jpg"))]
    path = write(tmp_path / "data" / "labels.csv", "\n".join([*lines, "c.jpg,100,80,x,11,2"]))
    table = read_table(path)
    assert boxes(table) == {name: [(10, 20, 30, 60, "x", False)] for name in ("a.jpg", "b.jpg")}
    assert f"Left out of {path}: images that are not in {tmp_path} (1): gone.jpg." in table.notes
    wanted = r"Left out: images/c\.jpg, as its annotation is damaged: Row 6 of .*labels\.csv has x2 ''"
    assert any(re.match(wanted, note) for note in table.notes)
    with pytest.raises(DataError, match=r"None of the 1 images of .*labels\.csv is in .*; the first is gone\.jpg"):
        read_table(write(path, "\n".join([lines[0], lines[3]])))


def test_a_row_with_too_many_cells_costs_its_image(tmp_path: Path) -> None:
    """Which of its cells are cut cannot be known, so it counts for nothing: neither as a box nor as a reason."""
    for name in "abc":
        image(tmp_path / f"{name}.jpg")
    header, sound = "path,x1,y1,x2,y2,label,reason", [f"{name}.jpg,10,20,30,60,x" for name in "abc"]
    text = "\n".join([header, *sound, "c.jpg,1,2,3,4,y, z,why"])
    table = read_table(write(tmp_path / "list.csv", text))
    assert boxes(table) == {name: [(10, 20, 30, 60, "x", False)] for name in ("a.jpg", "b.jpg")}
    wanted = (
        r"Left out: c\.jpg, as its annotation is damaged: Row 5 of .*list\.csv has 8 cells, the header 7; put quotes"
    )
    assert any(re.match(wanted, note) for note in table.notes)
    for header, row in (("path,x1,y1,x2,y2,label", "c, d.jpg,1,2,3,4,y"), (TENSORFLOW, "c, d.jpg,100,80,x,1,2,3,4")):
        with pytest.raises(DataError, match=r"Row 2 of .* cells, the header .; put quotes"):  # of which image?
            read_table(write(tmp_path / "list.csv", f"{header}\n{row}\n"))


@pytest.mark.parametrize("name", [".", "images", "images/"])
def test_a_folder_is_no_image(tmp_path: Path, name: str) -> None:
    image(tmp_path / "images" / "a.jpg")
    rows = ["images/a.jpg,100,80,x,11,21,30,60", f"{name},100,80,x,11,21,30,60"]
    path = write(tmp_path / "labels.csv", "\n".join([TENSORFLOW, *rows]))
    table = read_table(path)
    assert list(boxes(table)) == ["a.jpg"]
    assert f"Left out of {path}: images that are not in {tmp_path} (1): {name}." in table.notes
    with pytest.raises(DataError, match=f"Row 3 of .* names {re.escape(name)}, but there is no file"):
        read_table(path, "listing")


@pytest.mark.parametrize("cell", ["A" * 3000, "/".join(["A" * 300] * 9), "A/" * 5000, BASE64])
def test_a_cell_that_holds_an_image_is_no_path(tmp_path: Path, cell: str) -> None:
    image(tmp_path / "a.jpg")
    text = "{}\na.jpg,x,11,21,30,60\n{},x,11,21,30,60\n"
    with pytest.raises(DataError, match=r"Row 3 of .* names .*, but there is no file") as raised:
        read_table(write(tmp_path / "own.csv", text.format("path,label,x1,y1,x2,y2", cell)))
    assert len(str(raised.value)) < 1000
    table = read_table(write(tmp_path / "labels.csv", text.format("filename,class,xmin,ymin,xmax,ymax", cell)))
    assert list(boxes(table)) == ["a.jpg"]
    assert max(map(len, table.notes)) < 1000


@pytest.mark.parametrize("corners", [{}, {key: [1, 2] for key in ("xmin", "ymin", "xmax", "ymax")}])
def test_the_paths_of_a_parquet_file_are_text(tmp_path: Path, corners: dict[str, list[int]]) -> None:
    for name in "ab":
        image(tmp_path / f"{name}.jpg")
    path, labels = tmp_path / "list.parquet", {"label": ["x", "y"]} | corners
    bytes_ = [(tmp_path / f"{name}.jpg").read_bytes() for name in "ab"]
    pq.write_table(pa.table({"image": pa.array(bytes_, pa.binary()), **labels}), path)
    message = r"The column image of .*list\.parquet must hold the paths of images as text, but holds binary; write the"
    with pytest.raises(DataError, match=message):
        read_table(path)
    names = pa.array(["a.jpg", "b.jpg"])
    for column in (names, names.cast(pa.large_string()), names.dictionary_encode()):
        pq.write_table(pa.table({"image": column, **labels}), path)
        assert len(read_table(path)) == 2


# Folders


def test_a_folder_as_roboflow_writes_it(tmp_path: Path) -> None:
    for part, corners in {"train": "0,5,30,60", "valid": "10,20,30,60", "test": "1,1,3,4"}.items():
        for name in ("some", "bare"):
            image(tmp_path / part / f"{part}-{name}.jpg")
        line = f"{part}-some.jpg,100,80,x,{corners}"
        write(tmp_path / part / "_annotations.csv", f"{TENSORFLOW}\n{line}\n")
    table = read_table(tmp_path)
    assert boxes(table) == {
        "test-some.jpg": [(1, 1, 3, 4, "x", False)],
        "train-some.jpg": [(0, 5, 30, 60, "x", False)],
        "valid-some.jpg": [(10, 20, 30, 60, "x", False)],
    }, "one of the files tells that all count from 0"
    assert list(parts(table).values()) == ["test", "train", "validation"]
    files = "test/_annotations.csv, train/_annotations.csv, valid/_annotations.csv"
    assert f"Boxes of {tmp_path} are read from (3): {files}." in table.notes
    assert any("images without an annotation (3): test/test-bare.jpg, train/" in note for note in table.notes)
    assert not any("no images" in note for note in table.notes), "the listings are no files left out"


def test_a_folder_as_tensorflows_examples_have_it(tmp_path: Path) -> None:
    for part in ("train", "test"):
        image(tmp_path / "images" / part / f"{part}.jpg")
        write(tmp_path / "data" / f"{part}_labels.csv", f"{TENSORFLOW}\n{part}.jpg,100,80,x,11,21,30,60\n")
    table = read_table(tmp_path)
    assert boxes(table) == {f"{part}.jpg": [(10, 20, 30, 60, "x", False)] for part in ("test", "train")}
    assert parts(table) == {"test.jpg": "test", "train.jpg": "train"}


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("train_test_labels.csv", {"a.jpg": "train", "b.jpg": "test", "c.jpg": None}),
        ("labels.csv", {"a.jpg": "train", "b.jpg": "test", "c.jpg": None}),
        ("train_val_labels.csv", {"a.jpg": "train", "b.jpg": "test", "c.jpg": None}),
        ("train/labels.csv", {"a.jpg": "train", "b.jpg": "test", "c.jpg": "train"}),
    ],
)
def test_a_part_is_told_by_the_folder_of_the_image(tmp_path: Path, file: str, wanted: dict[str, str | None]) -> None:
    """A listing's name that tells of two parts tells of none, and so no test image becomes one of training."""
    up, paths = "../" * file.count("/"), ("train/a.jpg", "test/b.jpg", "images/c.jpg")
    for path in paths:
        image(tmp_path / path)
    rows = [f"{up}{path},10,20,30,60,x" for path in paths]
    write(tmp_path / file, "\n".join(["path,x1,y1,x2,y2,label", *rows]))
    assert parts(read_table(tmp_path)) == wanted


def test_a_listing_of_one_part_and_an_image_in_the_folder_of_another_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "test" / "a.jpg")
    path = write(tmp_path / "train_boxes.csv", "path,x1,y1,x2,y2,label\ntest/a.jpg,10,20,30,60,x\n")
    message = (
        r"Row 2 of .*train_boxes\.csv names .*a\.jpg, which by its folder is in the part test, by the listing's name in"
    )
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)
    write(path, "path,x1,y1,x2,y2,label,part\ntest/a.jpg,10,20,30,60,x,val\n")
    assert parts(read_table(tmp_path)) == {"a.jpg": "validation"}


def test_a_folder_of_images_with_a_listing_of_ours(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    path = write(tmp_path / "boxes.csv", "path,x1,y1,x2,y2,label,part\na.jpg,10,20,30,60,x,val\n")
    assert boxes(read_table(tmp_path)) == boxes(read_table(path)) == {"a.jpg": [(10, 20, 30, 60, "x", False)]}
    assert parts(read_table(tmp_path)) == {"a.jpg": "validation"}
    write(tmp_path / "more.csv", path.read_text("utf-8").replace("30", "31"))
    with pytest.raises(DataError, match=r"a\.jpg is annotated more than once below .*give the path of one annotation"):
        read_table(tmp_path)


def test_other_listings_do_not_make_a_folder_one_of_boxes(tmp_path: Path) -> None:
    for name in ("p/1.jpg", "q/1.jpg"):
        image(tmp_path / name)
    write(tmp_path / "list.csv", "path,label\np/1.jpg,p\nq/1.jpg,q\n")
    write(tmp_path / "regions.csv", "path,label,x1,y1,x2,y2\np/1.jpg,p,1,2,3,4\n")
    table = read_table(tmp_path)
    assert (table.boxes, table.classes) == (None, ("p", "q"))


@pytest.mark.parametrize("has_classes", [True, False])
def test_regions_beside_images_do_not_make_a_folder_one_of_boxes(tmp_path: Path, has_classes: bool) -> None:
    """Several regions an image look as boxes do; the file alone is taken for boxes, and the folder if that is said."""
    names = ["p/1.jpg", "q/2.jpg"] if has_classes else ["1.jpg", "2.jpg"]
    for name in names:
        image(tmp_path / name)
    rows = [f"{name},x,{x},2,{x + 40},60" for name in names for x in (1, 50)]
    path = write(tmp_path / "regions.csv", "\n".join(["path,label,x1,y1,x2,y2", *rows]))
    assert box_listing.recognizes(path)
    assert not box_listing.recognizes(tmp_path)
    assert boxes(read_table(path)) == boxes(read_table(tmp_path, "boxes"))
    if has_classes:
        table = read_table(tmp_path)
        assert (table.boxes, table.classes) == (None, ("p", "q"))
        return
    message = r"regions\.csv may hold boxes, or regions of images; for boxes give its path, or name the reader boxes\."
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)
