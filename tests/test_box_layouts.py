"""Sets of boxes as others lay them out: names with dots, several folders, several files of the same boxes, and cuts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tenfold.errors import DataError
from tenfold.images.readers import read_table
from tenfold.images.readers.annotated import Annotated, Box, merged
from tenfold.images.table import Table
from tests.test_box_listings import TENSORFLOW
from tests.test_box_readers import BOX, boxes, coco, image, parts, sheet, thing, voc, write

OWN = [(*BOX, "x", False)]  # what ONE is read as
ONE = thing("x", (11, 21, 30, 60))
OF_COCO = [(10, 20, 40, 80, "x", False)]  # what BOX is read as where it is a bbox


def places(table: Table, root: Path) -> dict[str, str]:
    """Each image below the root -> the classes of its boxes."""
    assert table.boxes is not None
    names = [Path(source).relative_to(root).as_posix() for source in table.samples["source"]]
    found = dict.fromkeys(names, "")
    for sample, label in zip(table.boxes["sample"], table.boxes["label"], strict=True):
        found[names[sample]] += label
    return found


# Names with dots


@pytest.mark.parametrize("name", ["Screenshot_at_10.12.33", "x_jpg.rf.abc", "plant.1"])
def test_a_dot_in_a_filename_without_an_ending_begins_none(tmp_path: Path, name: str) -> None:
    voc(tmp_path, **{name: sheet(ONE, filename=name)})
    assert boxes(read_table(tmp_path)) == {f"{name}.jpg": OWN}


def test_an_annotation_of_a_name_with_a_dot_is_not_of_the_image_before_the_dot(tmp_path: Path) -> None:
    voc(tmp_path, plant=sheet(), **{"plant.1": sheet(ONE, filename="plant.1")})
    assert boxes(read_table(tmp_path)) == {"plant.jpg": [], "plant.1.jpg": OWN}
    (tmp_path / "JPEGImages" / "plant.1.jpg").unlink()
    table = read_table(tmp_path)
    assert boxes(table) == {"plant.jpg": []}
    assert f"Left out of {tmp_path}: annotations without an image (1): Annotations/plant.1.xml." in table.notes


def test_an_id_with_a_dot_in_a_listing_is_a_whole_name(tmp_path: Path) -> None:
    for name in ("plant.1.jpg", "plant.jpg"):
        image(tmp_path / "images" / name)
    path = write(tmp_path / "labels.csv", "image_id,class_name,x_min,y_min,x_max,y_max\nplant.1,x,11,21,30,60\n")
    table = read_table(path)
    assert boxes(table) == {"plant.1.jpg": OWN}
    assert any("image_id as path, class_name as label, x_min as x1" in note for note in table.notes)


# Images of one name


@pytest.mark.parametrize(
    "folders",
    [
        {"images/train": "annotations/train", "images/val": "annotations/val"},
        {"images/cat": "annotations/cat", "images/dog": "annotations/dog"},
        {"images/train": "annotations/train2017", "images/val": "annotations/validation"},
        {"photos/a/b": "Annotations/a/b", "photos/b/b": "Annotations/b/b"},
    ],
)
def test_folders_of_one_name_hold_an_image_and_its_annotation(tmp_path: Path, folders: dict[str, str]) -> None:
    wanted = {}
    for place, (pictures, marks) in enumerate(folders.items()):
        image(tmp_path / pictures / "1.jpg")
        write(tmp_path / marks / "1.xml", sheet(thing(f"c{place}", (11, 21, 30, 60)), filename="1.jpg"))
        wanted[f"{pictures}/1.jpg"] = f"c{place}"
    assert places(read_table(tmp_path, "voc"), tmp_path) == wanted


def test_a_folder_of_the_annotations_own_comes_before_one_of_images(tmp_path: Path) -> None:
    for name in ("pictures/cat/1.jpg", "images/dog/1.jpg"):
        image(tmp_path / name)
    write(tmp_path / "annotations" / "cat" / "1.xml", sheet(ONE))
    assert places(read_table(tmp_path, "voc"), tmp_path) == {"pictures/cat/1.jpg": "x"}


def test_an_image_of_coco_is_known_by_the_folders_that_are_left_of_its_path(tmp_path: Path) -> None:
    for name in ("images/a/1.jpg", "images/b/1.jpg"):
        image(tmp_path / name)
    names = [(1, "data/b/1.jpg"), (2, "data/a/1.jpg")]
    coco(tmp_path / "all.json", names, [(1, 1, BOX, 0), (2, 2, BOX, 0)], [(1, "b"), (2, "a")])
    assert places(read_table(tmp_path), tmp_path) == {"images/a/1.jpg": "a", "images/b/1.jpg": "b"}
    coco(tmp_path / "all.json", [(1, "data/c/1.jpg")], [])
    with pytest.raises(
        DataError, match=r"all\.json may mean images/a/1\.jpg or images/b/1\.jpg; give images of one na"
    ):
        read_table(tmp_path)


def test_an_ending_of_other_case_is_the_same_where_there_is_no_other(tmp_path: Path) -> None:
    image(tmp_path / "coco" / "images" / "IMG_1.JPG")
    coco(tmp_path / "coco" / "all.json", [(1, "IMG_1.jpg")], [(1, 7, BOX, 0)])
    assert boxes(read_table(tmp_path / "coco")) == {"IMG_1.JPG": OF_COCO}
    image(tmp_path / "csv" / "images" / "IMG_1.JPG")
    path = write(tmp_path / "csv" / "labels.csv", f"{TENSORFLOW}\nIMG_1.jpg,100,80,x,11,21,30,60\n")
    assert boxes(read_table(path)) == {"IMG_1.JPG": OWN}
    image(tmp_path / "csv" / "images" / "png" / "IMG_1.png")
    image(tmp_path / "csv" / "images" / "jpg" / "IMG_1.jpg")
    assert list(boxes(read_table(path))) == ["IMG_1.jpg"], "the same ending first"


# Images of one name, of which one is not there


@pytest.mark.parametrize("lead", ["", "./", "data/", "/data/me/", "C:\\x\\"])
@pytest.mark.parametrize("kind", ["coco", "listing", "voc"])
def test_boxes_of_an_image_that_is_not_there_are_not_given_to_one_in_another_folder(
    tmp_path: Path, kind: str, lead: str
) -> None:
    for name in "12":
        image(tmp_path / "images" / "camA" / f"{name}.jpg")
    names = [f"{lead}camA/2.jpg", f"{lead}camB/1.jpg"]
    if kind == "coco":
        coco(tmp_path / "all.json", list(enumerate(names)), [(0, 7, BOX, 0), (1, 7, BOX, 0)])
    elif kind == "listing":
        rows = [f"{name},100,80,x,11,21,30,60" for name in names]
        write(tmp_path / "labels.csv", "\n".join([TENSORFLOW, *rows]))
    else:
        for name in names:
            folder, number = Path(name.replace("\\", "/")).parent.name, Path(name.replace("\\", "/")).stem
            write(tmp_path / "annotations" / folder / f"{number}.xml", sheet(ONE, filename=f"{number}.jpg"))
    table = read_table(tmp_path, "boxes" if kind == "listing" else kind)
    assert places(table, tmp_path) == {"images/camA/2.jpg": "x"}
    what = "annotations without an image (1): annotations/camB/1.xml" if kind == "voc" else "images that are not in"
    assert any(what in note for note in table.notes)
    image(tmp_path / "images" / "camB" / "1.jpg")
    assert len(read_table(tmp_path, "boxes" if kind == "listing" else kind)) == 2


def test_boxes_of_a_training_image_are_not_given_to_one_of_validation(tmp_path: Path) -> None:
    image(tmp_path / "val" / "1.jpg")
    image(tmp_path / "train" / "2.jpg")
    path = coco(tmp_path / "instances_train.json", [(1, "train/1.jpg"), (2, "train2017/2.jpg")], [(1, 7, BOX, 0)])
    table = read_table(tmp_path)
    assert places(table, tmp_path) == {"train/2.jpg": ""}
    assert f"Left out of {tmp_path}: images that are not in {tmp_path} (1): train/1.jpg." in table.notes
    path.unlink()
    write(tmp_path / "annotations" / "train" / "1.xml", sheet(ONE))
    with pytest.raises(DataError, match=r"None of the 1 annotations in .* has an image there"):
        read_table(tmp_path, "voc")


def test_folders_of_other_machines_need_not_be_those_of_the_disk(tmp_path: Path) -> None:
    for name in "12":
        image(tmp_path / "frames" / f"{name}.jpg")
    names = ["/disk1/a/proj/frames/1.jpg", "/disk2/b/stuff/2.jpg"]  # of two annotators
    coco(tmp_path / "all.json", list(enumerate(names)), [(0, 7, BOX, 0), (1, 7, BOX, 0)])
    assert places(read_table(tmp_path), tmp_path) == {"frames/1.jpg": "x", "frames/2.jpg": "x"}
    split = tmp_path / "split"
    for name in ("train/1", "val/2"):
        image(split / f"{name}.jpg")
    coco(split / "all.json", [(0, "/disk/train/1.jpg"), (1, "/disk/train/2.jpg")], [(0, 7, BOX, 0), (1, 7, BOX, 0)])
    assert places(read_table(split), split) == {"train/1.jpg": "x", "val/2.jpg": "x"}


def test_an_image_that_is_taken_for_another_one_is_told(tmp_path: Path) -> None:
    for name in ("train/1", "val/2"):
        image(tmp_path / f"{name}.jpg")
    coco(tmp_path / "all.json", [(0, "train/1.jpg"), (1, "train/2.jpg")], [(0, 7, BOX, 0), (1, 7, BOX, 0)])
    table = read_table(tmp_path)
    assert places(table, tmp_path) == {"train/1.jpg": "x"}
    note = "Images that are not where annotations say, and one of that name is taken for another (1): {}."
    assert note.format("train/2.jpg, not val/2.jpg") in table.notes


def test_annotations_in_a_folder_of_their_own_need_no_word(tmp_path: Path) -> None:
    image(tmp_path / "pics" / "1.jpg")
    write(tmp_path / "annots" / "1.xml", sheet(ONE))
    table = read_table(tmp_path, "voc")
    assert places(table, tmp_path) == {"pics/1.jpg": "x"}
    assert not any("annotations say" in note for note in table.notes)


def test_labels_of_an_image_that_is_not_there_are_not_given_to_one_in_another_folder(tmp_path: Path) -> None:
    for name in ("site1/a", "site1/b"):
        image(tmp_path / "pictures" / f"{name}.jpg")
    for name in ("site1/a", "site2/b"):
        write(tmp_path / "labels" / f"{name}.txt", "0 0.2 0.5 0.2 0.5\n")
    write(tmp_path / "data.yaml", "names: [x]\n")
    assert places(read_table(tmp_path), tmp_path) == {"pictures/site1/a.jpg": "x", "pictures/site1/b.jpg": ""}


def test_an_image_that_is_elsewhere_than_an_annotation_says_is_told(tmp_path: Path) -> None:
    """Nothing else tells whether the folder was renamed or another one was not copied."""
    image(tmp_path / "images" / "camA" / "1.jpg")
    note = "Images that are not where annotations say, and were found elsewhere (1): {}."
    found = {"images/camA/1.jpg": "x"}
    path = coco(tmp_path / "all.json", [(1, "camB/1.jpg")], [(1, 7, BOX, 0)])
    table = read_table(tmp_path)
    assert places(table, tmp_path) == found
    assert note.format("camB/1.jpg as images/camA/1.jpg") in table.notes
    path.unlink()
    path = write(tmp_path / "labels.csv", f"{TENSORFLOW}\ncamB/1.jpg,100,80,x,11,21,30,60\n")
    table = read_table(tmp_path)
    assert places(table, tmp_path) == found
    assert note.format("camB/1.jpg as images/camA/1.jpg") in table.notes
    path.unlink()
    write(tmp_path / "annotations" / "camB" / "1.xml", sheet(ONE))
    image(tmp_path / "images" / "camC" / "2.jpg")
    write(tmp_path / "annotations" / "camC" / "2.xml", sheet(ONE))
    table = read_table(tmp_path, "voc")
    assert places(table, tmp_path) == found | {"images/camC/2.jpg": "x"}
    assert note.format("annotations/camB/1.xml as images/camA/1.jpg") in table.notes


@pytest.mark.parametrize(
    ("named", "there"),
    [
        ("/data/me/data/images/1.jpg", "1.jpg"),
        ("/data/me/test/1.jpg", "train/1.jpg"),
        ("C:\\Users\\me\\camB\\1.jpg", "photos/1.jpg"),
        ("images/1.jpg", "1.jpg"),
        ("images/1.jpg", "camA/1.jpg"),
        ("images/1.jpg", "images/train/1.jpg"),
        ("camB/1.jpg", "images/1.jpg"),
        ("camB/1.jpg", "train/1.jpg"),
        ("camA/1.jpg", "camA/day1/1.jpg"),
        ("camA/images/1.jpg", "all/camA/1.jpg"),
        ("1.jpg", "camA/1.jpg"),
        ("train2017/1.jpg", "training data/train/1.jpg"),
        ("../1.jpg", "train/1.jpg"),
    ],
)
def test_folders_that_tell_no_images_apart_refuse_none(tmp_path: Path, named: str, there: str) -> None:
    for name in (there, "camA/2.jpg"):
        image(tmp_path / name)
    for other in ([], [(2, "camA/2.jpg")]) if "camA" in there or "/" not in there else ([],):
        coco(tmp_path / "all.json", [(1, named), *other], [(1, 7, BOX, 0)])
        assert places(read_table(tmp_path), tmp_path)[there] == "x"
        assert not any("images that are not in" in note for note in read_table(tmp_path).notes)


def test_the_filename_in_an_xml_may_be_of_another_machine(tmp_path: Path) -> None:
    for name in ("camA/1", "camB/1", "camA/2"):
        image(tmp_path / "images" / f"{name}.jpg")
        number = name[-1]
        write(tmp_path / "Annotations" / f"{name}.xml", sheet(ONE, filename=f"D:\\old\\{number}.jpg"))
    assert set(places(read_table(tmp_path, "voc"), tmp_path).values()) == {"x"}


# Several files of the same boxes


def test_a_listing_of_all_images_beside_one_of_each_part(tmp_path: Path) -> None:
    rows = {name: f"{name}.jpg,100,80,x,11,21,30,60" for name in "abc"}
    for name in rows:
        image(tmp_path / "images" / f"{name}.jpg")
    write(tmp_path / "labels.csv", "\n".join([TENSORFLOW, *rows.values()]))
    write(tmp_path / "train_labels.csv", f"{TENSORFLOW}\n{rows['a']}")
    write(tmp_path / "test_labels.csv", f"{TENSORFLOW}\n{rows['b']}")
    table = read_table(tmp_path)
    assert boxes(table) == {f"{name}.jpg": OWN for name in "abc"}
    assert parts(table) == {"a.jpg": "train", "b.jpg": "test", "c.jpg": None}
    note = "Annotated more than once below {} with the same boxes, and read once (2): images/a.jpg, images/b.jpg."
    assert note.format(tmp_path) in table.notes
    write(tmp_path / "test_labels.csv", f"{TENSORFLOW}\n{rows['a']}")
    with pytest.raises(
        DataError, match=r"a\.jpg is annotated more than once below .*, with other boxes or in another p"
    ):
        read_table(tmp_path)


def test_a_coco_json_of_all_images_beside_one_of_each_part(tmp_path: Path) -> None:
    for name in "ab":
        image(tmp_path / "images" / f"{name}.jpg")
    two = [(1, 7, BOX, 0), (1, 8, [1, 2, 3, 4], 0)]
    kinds = [(7, "x"), (8, "y")]
    coco(tmp_path / "annotations.json", [(1, "a.jpg"), (2, "b.jpg")], [*two, (2, 7, BOX, 0)], kinds)
    coco(tmp_path / "train.json", [(1, "a.jpg")], two[::-1], kinds)
    coco(tmp_path / "val.json", [(2, "b.jpg")], [(2, 7, BOX, 0)], kinds)
    table = read_table(tmp_path)
    assert places(table, tmp_path) == {"images/a.jpg": "xy", "images/b.jpg": "x"}
    assert parts(table) == {"a.jpg": "train", "b.jpg": "validation"}
    coco(tmp_path / "val.json", [(2, "b.jpg")], [(2, 8, BOX, 0)], kinds)
    with pytest.raises(DataError, match=r"b\.jpg is annotated more than once"):
        read_table(tmp_path)


def test_the_same_xml_in_two_folders(tmp_path: Path) -> None:
    voc(tmp_path, a=sheet(ONE), b=sheet(ONE))
    write(tmp_path / "xml" / "a.xml", sheet(ONE))
    assert boxes(read_table(tmp_path, "voc")) == {"a.jpg": OWN, "b.jpg": OWN}


@pytest.mark.parametrize(
    ("change", "is_one"),
    [
        ({}, True),
        ({"part": "train"}, True),
        ({"group": "g"}, True),
        ({"size": (80, 100)}, True),
        ({"part": "test"}, False),
        ({"origin": "0" * 32}, False),
        ({"boxes": [Box(*BOX, "x", area=5.0), Box(*BOX, "y")]}, False),
        ({"boxes": [Box(*BOX, "y"), Box(*BOX, "x", area=4.0)]}, True),
        ({"boxes": [Box(*BOX, "y", ignore=True), Box(*BOX, "x", area=4.0)]}, False),
        ({"boxes": []}, False),
    ],
)
def test_annotations_of_an_image_that_agree_are_one(tmp_path: Path, change: dict[str, Any], is_one: bool) -> None:
    """An area that is none is a NaN, which equals no other."""
    source, own = str(tmp_path / "a.jpg"), [Box(*BOX, "x", area=4.0), Box(*BOX, "y", area=float("nan"))]
    first, other = Annotated(source, own), Annotated(source, own)._replace(**change)
    bare = Annotated(str(tmp_path / "b.jpg"), [])
    known = first._replace(part="train") if change == {"part": "test"} else first
    kept, notes = merged(tmp_path, [known, bare, other])
    assert kept == ([known._replace(**change | {"boxes": own}), bare] if is_one else [known, other, bare])
    assert len(notes) == is_one


# COCO


def changed(path: Path, **change: Any) -> Path:
    """A COCO json with other lists; None: without."""
    content = json.loads(path.read_text("utf-8")) | change
    return write(path, json.dumps({key: value for key, value in content.items() if value is not None}))


def test_polygons_of_coco_without_a_bbox_are_read_as_the_boxes_around_them(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    path = coco(tmp_path / "my.json", [(1, "a.jpg")], [])
    halves = [[10, 20, 15, 60, 12, 30], [25, 25, 30.5, 40, 28, 50, 26, 30]]
    marks = [{"segmentation": halves, "area": 300}, {"segmentation": halves, "bbox": []}]
    marks.append({"segmentation": halves, "bbox": [1, 2, 3, 4]})
    changed(
        path, annotations=[{"id": place, "image_id": 1, "category_id": 7, **mark} for place, mark in enumerate(marks)]
    )
    table = read_table(tmp_path)
    assert table.boxes[["x1", "y1", "x2", "y2"]].values.tolist() == [[10, 20, 30.5, 60]] * 2 + [[1, 2, 4, 6]]
    assert table.boxes["area"].iat[0] == 300
    assert f"2 of 3 boxes in {tmp_path} are those around polygons, as no bbox is given." in table.notes


@pytest.mark.parametrize(
    "segmentation",
    [None, [], [[]], [[1, 2, 3, 4]], [[1, 2, 3, 4, 5]], [[1, 2, 3, 4, 5, "6"]], [[1, 2], [3, 4], [5, 6]]],
)
def test_what_is_no_polygon_is_no_box(tmp_path: Path, segmentation: object) -> None:
    image(tmp_path / "a.jpg")
    path = coco(tmp_path / "my.json", [(1, "a.jpg")], [])
    changed(path, annotations=[{"id": 1, "image_id": 1, "category_id": 7, "segmentation": segmentation}])
    with pytest.raises(DataError, match=r"annotation 1 has the bbox None; it must be four numbers"):
        read_table(tmp_path)


def test_a_coco_json_that_was_cut_to_fewer_images(tmp_path: Path) -> None:
    for name in "ab":
        image(tmp_path / f"{name}.jpg")
    path = coco(
        tmp_path / "my.json", [(1, "a.jpg"), (2, "b.jpg")], [(place, 7, BOX, 0) for place in (1, 1, *range(3, 60))]
    )
    table = read_table(tmp_path)
    assert boxes(table) == {"a.jpg": OF_COCO * 2, "b.jpg": []}
    (note,) = table.notes
    strays = "annotations of images that their file does not describe (57): my.json, image 3, my.json, image 4, "
    assert note.startswith(f"Left out of {tmp_path}: {strays}")
    changed(path, images=[{"id": str(number), "file_name": f"{name}.jpg"} for number, name in ((1, "a"), (2, "b"))])
    message = (
        r"annotation 1 has image_id 1, which the file does not describe, and no other annotation has one that it does"
    )
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)


def test_a_coco_json_of_images_to_be_found_is_left_out_beside_others(tmp_path: Path) -> None:
    for name in "ab":
        image(tmp_path / f"{name}.jpg")
    coco(tmp_path / "train.json", [(1, "a.jpg")], [(1, 7, BOX, 0)])
    test = changed(coco(tmp_path / "test.json", [(2, "b.jpg")], []), annotations=None)
    table = read_table(tmp_path)
    assert boxes(table) == {"a.jpg": OF_COCO}
    assert table.notes == (
        f"Left out of {tmp_path}: images without an annotation (1): b.jpg.",
        f"Left out of {tmp_path}: files without a list of annotations (1): test.json.",
    )
    (tmp_path / "train.json").unlink()
    for path in (tmp_path, test):
        with pytest.raises(DataError, match=r"test\.json has no list of annotations; COCO json needs images, anno"):
            read_table(path)


# Folders that are taken for classes


def classes_with(root: Path, layout: str, text: str) -> Path:
    """Two folders of images; `layout` is where the annotation of an image lies in its folder."""
    folder, _, ending = layout.rpartition("/")
    for place in ("site_a", "site_b"):
        for name in "12":
            image(root / place / ("images" if folder else "") / f"{name}.jpg")
            write(root / place / folder / f"{name}{ending}", text)
    return root


@pytest.mark.parametrize("layout", [".xml", "annotations/.xml", "Annotations/.xml"])
def test_class_folders_whose_images_have_voc_are_told_of_it(tmp_path: Path, layout: str) -> None:
    image(tmp_path / "site_c" / "1.jpg")
    table = read_table(classes_with(tmp_path, layout, sheet(ONE)))
    assert (table.boxes, table.classes) == (None, ("site_a", "site_b", "site_c"))
    file = tmp_path / "site_a" / layout.replace(".xml", "1.xml")
    assert table.notes[-1] == (
        "Folders are taken for classes, and no boxes are read; but 4 of 5 images that were looked at have some as "
        f"Pascal VOC has them, as {file}. To read boxes, name the reader voc (--reader voc; for train --data.reader "
        "voc)."
    )
    again = read_table(tmp_path, "voc")
    assert set(places(again, tmp_path).values()) == {"x"}
    assert len(again) == 4


@pytest.mark.parametrize("layout", [".txt", "labels/.txt"])
def test_class_folders_whose_images_have_yolo_are_told_of_it(tmp_path: Path, layout: str) -> None:
    image(tmp_path / "site_c" / "1.jpg")
    table = read_table(classes_with(tmp_path, layout, "0 0.2 0.5 0.2 0.5\n"))
    assert (table.boxes, table.classes) == (None, ("site_a", "site_b", "site_c"))
    assert table.notes[-1].endswith(
        f"1.txt. To read boxes, put a data.yaml with the names of the classes into {tmp_path}."
    )
    write(tmp_path / "data.yaml", "names: [x]\n")
    again = read_table(tmp_path)
    labelled = [label for place, label in places(again, tmp_path).items() if "site_c" not in place]
    assert labelled == ["x"] * 4


def test_a_list_of_classes_that_is_there_is_not_asked_for(tmp_path: Path) -> None:
    image(tmp_path / "site_c" / "1.jpg")
    classes_with(tmp_path, "labels/.txt", "0 0.2 0.5 0.2 0.5\n")
    write(tmp_path / "classes.txt", "x\n")
    table = read_table(tmp_path)
    assert table.boxes is None
    assert table.notes[-1].endswith(
        "1.txt. To read boxes, name the reader yolo (--reader yolo; for train --data.reader yolo)."
    )
    again = places(read_table(tmp_path, "yolo"), tmp_path)
    assert again.pop("site_c/1.jpg") == ""
    assert list(again.values()) == ["x"] * 4


SETS = "Folders of images beside annotations, taken for sets of boxes and not for classes (2): site_a, site_b."


@pytest.mark.parametrize("folder", ["", "around"])
@pytest.mark.parametrize(
    ("layout", "text"),
    [("annotations/.xml", sheet(ONE)), ("Annotations/.xml", sheet(ONE)), ("labels/.txt", "0 0.2 0.5 0.2 0.5\n")],
)
def test_folders_that_all_hold_images_beside_annotations_are_no_classes(
    tmp_path: Path, layout: str, text: str, folder: str
) -> None:
    root = classes_with(tmp_path / "all" / folder, layout, text)
    table = read_table(tmp_path / "all")
    assert list(places(table, root).values()) == (["0"] * 4 if "txt" in layout else ["x"] * 4)
    assert table.notes[-1] == SETS.replace("site", f"{folder}/site" if folder else "site")
    if "txt" in layout:
        (root / "classes.txt").write_text("x\n", "utf-8")
        assert list(places(read_table(tmp_path / "all"), root).values()) == ["x"] * 4
        (root / "classes.txt").rename(root / "site_b" / "classes.txt")
        assert list(places(read_table(tmp_path / "all"), root).values()) == ["x"] * 4
    assert read_table(tmp_path / "all", "folder").boxes is None


@pytest.mark.parametrize("kind", ["coco", "boxes"])
def test_sets_of_boxes_in_other_formats_are_no_classes(tmp_path: Path, kind: str) -> None:
    for place in ("site_a", "site_b"):
        image(tmp_path / place / "images" / "1.jpg")
        if kind == "coco":
            coco(tmp_path / place / "annotations" / "my.json", [(1, "1.jpg")], [(1, 7, BOX, 0)])
        else:
            write(tmp_path / place / "annotations" / "my.csv", f"{TENSORFLOW}\n1.jpg,100,80,x,11,21,30,60\n")
    table = read_table(tmp_path)
    assert places(table, tmp_path) == {"site_a/images/1.jpg": "x", "site_b/images/1.jpg": "x"}
    assert table.notes[-1] == SETS


def test_sets_of_yolo_that_number_their_classes_themselves_are_not_read_as_one(tmp_path: Path) -> None:
    classes_with(tmp_path, "labels/.txt", "0 0.2 0.5 0.2 0.5\n")
    for place, name in (("site_a", "x"), ("site_b", "y")):
        write(tmp_path / place / "data.yaml", f"names: [{name}]\n")
    table = read_table(tmp_path)
    assert table.boxes is None
    assert "put a data.yaml with the names of the classes" in table.notes[-1]


def test_a_label_file_of_several_images_is_told(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.jpg"):
        image(tmp_path / "images" / name)
    for name in "ab":
        write(tmp_path / "labels" / f"{name}.txt", "0 0.2 0.5 0.2 0.5\n")
    write(tmp_path / "data.yaml", "names: [x]\n")
    table = read_table(tmp_path)
    assert boxes(table) == {"a.jpg": OWN, "a.png": OWN, "b.jpg": OWN}
    assert table.notes == ("Label files that were taken for several images (1): labels/a.txt.",)


@pytest.mark.parametrize(
    ("layout", "text"),
    [
        (".xml", "<other/>"),
        (".txt", "a rose, 2 m high\n"),
        (".txt", "1 2 3\n"),
        (".json", "{}"),
        ("labels/.csv", "0 1 2 3 4"),
    ],
)
def test_class_folders_with_other_files_are_told_nothing(tmp_path: Path, layout: str, text: str) -> None:
    notes = read_table(classes_with(tmp_path, layout, text)).notes
    assert not any("To read boxes" in note for note in notes)


def test_few_files_of_boxes_among_many_images_are_no_boxes(tmp_path: Path) -> None:
    classes_with(tmp_path, ".xml", sheet(ONE))
    for name in "34567":
        image(tmp_path / "site_a" / f"{name}.jpg")
    assert not any("To read boxes" in note for note in read_table(tmp_path).notes)
    (tmp_path / "site_a" / "7.jpg").unlink()
    assert "4 of 8 images" in read_table(tmp_path).notes[-1]
