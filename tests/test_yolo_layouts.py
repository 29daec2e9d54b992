"""YOLO's text files where others put them, in pixels, with lists of parts, and with keypoints."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tenfold.check import check_table
from tenfold.errors import DataError
from tenfold.images.readers import read_table
from tests.test_box_readers import BOX, LINE, boxes, image, parts, write, yolo

FOUND = (*BOX, "x", False)
YAML = "names: [x]\n"


def pair(root: Path, picture: str, label: str, text: str = LINE) -> None:
    image(root / picture)
    write(root / label, text)


# Label files and their images


@pytest.mark.parametrize("settings", ["", YAML])
@pytest.mark.parametrize(
    ("pictures", "labels"),
    [("Images", "Labels"), ("images", "LABELS"), (".", "labels"), ("photos", "labels"), ("photos", "Labels")],
)
def test_label_files_go_with_their_images(tmp_path: Path, pictures: str, labels: str, settings: str) -> None:
    for name in ("a", "b.12.33", "b.12.34"):
        pair(tmp_path, f"{pictures}/{name}.jpg", f"{labels}/{name}.txt")
    pair(tmp_path, f"{pictures}/empty.jpg", f"{labels}/empty.txt", "")
    write(tmp_path / labels / "classes.txt", "x\n")
    if settings:
        write(tmp_path / "data.yaml", settings)
    table = read_table(tmp_path)
    assert boxes(table) == {"a.jpg": [FOUND], "b.12.33.jpg": [FOUND], "b.12.34.jpg": [FOUND], "empty.jpg": []}
    assert table.notes == ()


def test_label_files_in_a_folder_that_the_yaml_does_not_name(tmp_path: Path) -> None:
    write(tmp_path / "data.yaml", YAML)
    for part in ("train", "val"):
        pair(tmp_path, f"images/{part}/1.jpg", f"annotations/{part}/1.txt", LINE if part == "train" else "")
        image(tmp_path / "images" / part / f"{part}.jpg")
    table = read_table(tmp_path)
    assert [len(rows) for rows in boxes(table).values()] == [1, 0, 0]
    assert table.samples["part"].tolist() == ["train", "train", "validation", "validation"]
    assert table.notes == (
        f"Images of {tmp_path} without a label file, taken to show nothing (2): images/train/train.jpg, "
        "images/val/val.jpg.",
    )


def test_parts_with_images_above_and_beside_their_labels(tmp_path: Path) -> None:
    for part, label in (("train", LINE), ("valid", "")):
        pair(tmp_path / "above", f"{part}/1.jpg", f"{part}/labels/1.txt", label)
        pair(tmp_path / "beside", f"{part}/photos/1.jpg", f"{part}/labels/1.txt", label)
        pair(tmp_path / "apart", f"photos/{part}/1.jpg", f"labels/{part}/1.txt", label)
    for name in ("above", "beside", "apart"):
        table = read_table(tmp_path / name)
        assert table.samples["part"].tolist() == ["train", "validation"]
        assert table.boxes["sample"].tolist() == [0], name
        assert table.notes == (f"Nothing in {tmp_path / name} names the classes, so they go by number.",)


def test_label_files_of_no_image_are_named_or_all_refused(tmp_path: Path) -> None:
    yolo(tmp_path, YAML, a=LINE, b=None)
    for name in ("gone", "c"):
        write(tmp_path / "labels" / f"{name}.txt", LINE)
    write(tmp_path / "labels" / "read me.txt", "Labels of cells.\n")
    image(tmp_path / "images" / "c" / "far.jpg")
    table = read_table(tmp_path)
    assert boxes(table) == {"a.jpg": [FOUND], "b.jpg": [], "far.jpg": []}
    assert table.notes[1:] == (
        f"Left out of {tmp_path}: label files without an image of their own (2): labels/c.txt, labels/gone.txt.",
        f"Left out of {tmp_path}: files that are no images (1): labels/read me.txt.",
    )
    (tmp_path / "labels" / "a.txt").unlink()
    message = rf"^None of the 2 label files in {re.escape(str(tmp_path))} goes with an image of its own; the first is "
    with pytest.raises(
        DataError, match=message + r"labels/c\.txt\. Give each the name of its image, and put them into"
    ):
        read_table(tmp_path)
    for name in ("c", "gone"):
        (tmp_path / "labels" / f"{name}.txt").unlink()
    assert len(read_table(tmp_path)) == 3, "with a yaml file all images may show nothing"


def test_a_label_file_is_given_to_no_wrong_image(tmp_path: Path) -> None:
    """Nor one of another part, nor one of a folder whose others have theirs, nor to one of two that are as close."""
    pair(tmp_path, "images/train/a.jpg", "labels/train/a.txt")
    image(tmp_path / "images" / "train" / "b.jpg")
    write(tmp_path / "labels" / "val" / "b.txt", LINE)
    image(tmp_path / "test" / "c.jpg")
    write(tmp_path / "labels" / "train" / "c.txt", LINE)
    for folder in "pq":
        image(tmp_path / folder / "d.jpg")
    write(tmp_path / "labels" / "d.txt", LINE)
    table = read_table(tmp_path)
    assert len(table.boxes) == 1
    (note,) = (note for note in table.notes if "of their own" in note)
    assert note.endswith("(3): labels/d.txt, labels/train/c.txt, labels/val/b.txt.")


# Pixels


@pytest.mark.parametrize("box", ["320 240 200 200", "30 20 50 60"])
def test_labels_in_pixels_are_refused(tmp_path: Path, box: str) -> None:
    yolo(tmp_path, YAML, a=f"0 {box}\n", b=f"0 {box}\n", c=LINE)
    first = rf"^2 of 3 boxes in .* have a value above 4, so they look like pixels; the first, in .*a\.txt, is {box}\."
    with pytest.raises(DataError, match=first + r" Give the center, the width and the height as shares of the image's"):
        read_table(tmp_path)


def test_a_few_boxes_outside_of_their_images_are_for_check(tmp_path: Path) -> None:
    table = read_table(yolo(tmp_path, YAML, a="0 32 0.5 0.2 0.5\n", b="0 2 0.5 3 0.5\n"))
    found = check_table(table).find("box_outside")
    assert found is not None
    assert sum(len(rows.rows) for rows in found.sets) == 2


# Text beside images, and lists of parts


def test_text_beside_images_in_folders_as_labelimg_writes_it(tmp_path: Path) -> None:
    own, above = tmp_path / "own", tmp_path / "above"
    for root in (own, above):
        for part in ("train", "test"):
            pair(root, f"{part}/{part}.jpg", f"{part}/{part}.txt")
    write(own / "train" / "classes.txt", "x\ny\n")
    write(own / "test" / "classes.txt", "x\n")
    write(above / "classes.txt", "x\n")
    for root in (own, above, above / "train"):
        if root.name == "train":
            write(root / "classes.txt", "x\n")
        table = read_table(root)
        names = {"train.jpg": [FOUND]} | ({} if root.name == "train" else {"test.jpg": [FOUND]})
        assert boxes(table) == names
        assert parts(table) == {name: None if root.name == "train" else name[:-4] for name in names}
    assert read_table(own).declared == ("x", "y")
    assert read_table(own).notes == (f"Classes of {own} without a box (1): y.",)
    write(own / "test" / "classes.txt", "y\n")
    with pytest.raises(
        DataError, match=r"test/classes\.txt and .*train/classes\.txt list different classes for the same numbers; put"
    ):
        read_table(own)


def test_the_classes_of_labels_in_folders_of_parts(tmp_path: Path) -> None:
    for part in ("train", "val"):
        pair(tmp_path, f"{part}/images/{part}.jpg", f"{part}/labels/{part}.txt")
        write(tmp_path / part / "labels" / "classes.txt", "x\n")
    table = read_table(tmp_path)
    assert boxes(table) == {"train.jpg": [FOUND], "val.jpg": [FOUND]}
    assert table.notes == ()


def test_class_folders_with_a_list_of_classes_and_captions_stay_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        pair(tmp_path, f"{name}/1.jpg", f"{name}/1.txt", f"a {name} on a sofa, with a hat on\n")
        write(tmp_path / name / "classes.txt", "cat\ndog\n")
    write(tmp_path / "classes.txt", "cat\ndog\n")
    table = read_table(tmp_path)
    assert (table.boxes, table.classes) == (None, ("cat", "dog"))


@pytest.mark.parametrize("inside", [False, True])
def test_darknet_with_its_lists(tmp_path: Path, inside: bool) -> None:
    """Lists name images from above the folder data, wherever that has gone since."""
    root = tmp_path / "sets" / ("data" if inside else "cells")
    for name in "abc":
        pair(root, f"obj/{name}.jpg", f"obj/{name}.txt")
    write(root / "obj.names", "x\n")
    write(root / "obj.data", "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\n")
    write(root / "train.txt", "data/obj/a.jpg\ndata/obj/b.jpg\n")
    for path in (root, root.parent):
        table = read_table(path)
        assert boxes(table) == {"a.jpg": [FOUND], "b.jpg": [FOUND], "c.jpg": [FOUND]}
        assert parts(table) == {"a.jpg": "train", "b.jpg": "train", "c.jpg": None}
        assert table.notes == ()
    write(root / "valid.txt", "data/obj/c.jpg\ndata/obj/gone.jpg\n")
    table = read_table(root)
    assert parts(table) == {"a.jpg": "train", "b.jpg": "train", "c.jpg": "validation"}
    (note,) = table.notes
    assert note.startswith(f"Folders and images of parts that {root} names and that are not there (1): ")
    assert note.endswith("obj/gone.jpg.")


def test_one_list_of_all_images_chooses_no_parts(tmp_path: Path) -> None:
    for name in "ab":
        pair(tmp_path, f"obj/{name}.jpg", f"obj/{name}.txt")
    write(tmp_path / "obj.names", "x\n")
    write(tmp_path / "train.txt", "data/obj/a.jpg\ndata/obj/b.jpg\n")
    assert parts(read_table(tmp_path)) == {"a.jpg": None, "b.jpg": None}


@pytest.mark.parametrize("settings", ["", f"{YAML}train: train.txt\nval: val.txt\n", f"{YAML}path: ..\ntrain: lists"])
def test_lists_of_parts_with_a_yaml_file_and_without(tmp_path: Path, settings: str) -> None:
    """With slashes of Windows; from the list's folder, or from the base where that is another."""
    yolo(tmp_path, "", a=LINE, b=LINE, test=LINE, bare=None)
    write(tmp_path / "labels" / "classes.txt", "x\n")
    home = tmp_path / "lists" if "path" in settings else tmp_path
    if settings:
        write(home / "data.yaml", settings.replace("lists", "lists/train.txt\nval: lists/val.txt"))
    write(home / "train.txt", "images\\a.jpg\r\n")
    write(home / "val.txt", "images\\b.jpg\r\nimages\\bare.jpg\r\n")
    table = read_table(home / "data.yaml" if settings else tmp_path)
    assert boxes(table) == {"a.jpg": [FOUND], "b.jpg": [FOUND], "bare.jpg": [], "test.jpg": [FOUND]}
    assert parts(table) == {"a.jpg": "train", "b.jpg": "validation", "bare.jpg": "validation", "test.jpg": None}
    (note,) = table.notes
    assert note.endswith("taken to show nothing (1): images/bare.jpg.")


def test_a_label_file_called_as_a_part_is_no_list(tmp_path: Path) -> None:
    for name in ("a", "test"):
        pair(tmp_path, f"{name}.jpg", f"{name}.txt")
    write(tmp_path / "classes.txt", "x\n")
    table = read_table(tmp_path)
    assert parts(table) == {"a.jpg": None, "test.jpg": None}
    assert (boxes(table), table.notes) == ({"a.jpg": [FOUND], "test.jpg": [FOUND]}, ())


# Keypoints


@pytest.mark.parametrize(("shape", "points"), [("[3, 2]", "0.9 0.9 0.8 0.8 0 0"), ("[2, 3]", "0.9 0.9 2 0.8 0.8 1")])
def test_keypoints_are_no_polygons(tmp_path: Path, shape: str, points: str) -> None:
    table = read_table(yolo(tmp_path, f"{YAML}kpt_shape: {shape}\n", a=f"{LINE.strip()} {points}\n", b=LINE))
    assert boxes(table) == {"a.jpg": [FOUND], "b.jpg": [FOUND]}
    assert table.notes == ("Keypoints are left out; the boxes alone are read.",)
    write(tmp_path / "labels" / "b.txt", "0 0.1 0.25 0.3 0.25 0.3 0.75 0.1 0.75\n")
    note = read_table(tmp_path).notes[0]
    assert "b.txt, line 1 has 9 values; a box has five, class, x, y, width and height, and 6 more by kpt_shape" in note


@pytest.mark.parametrize("shape", ["17", "[17]", "[17, x]", "[0, 3]"])
def test_a_shape_of_keypoints_that_is_none_is_said(tmp_path: Path, shape: str) -> None:
    with pytest.raises(DataError, match=r"data\.yaml must give kpt_shape as how many keypoints a box has and how many"):
        read_table(yolo(tmp_path, f"{YAML}kpt_shape: {shape}\n", a=LINE))


def test_a_line_of_a_detection_is_told_from_a_box(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"line 1 has 6 values; a box has five, .*\. The sixth may be the score of a detection; take it"
    ):
        read_table(yolo(tmp_path, YAML, a=f"{LINE.strip()} 0.93\n"))


def test_text_beside_images_without_a_list_of_classes_is_told_where_to_put_one(tmp_path: Path) -> None:
    pair(tmp_path, "images/a.jpg", "images/a.txt")
    hint = "beside images with a classes.txt there or in the folder above), or a CSV"
    assert hint in read_table(tmp_path).notes[-1]
    with pytest.raises(DataError, match=r"nor beside images with a classes\.txt there or in the folder above\.$"):
        read_table(tmp_path, "yolo")
    for place in (tmp_path / "images", tmp_path):
        file = write(place / "classes.txt", "x\n")
        assert boxes(read_table(tmp_path)) == {"a.jpg": [FOUND]}
        file.unlink()
