"""Readers of boxes: what Pascal VOC, COCO json, YOLO and listings become, and what is said of those that are wrong."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import ExifTags, Image
from pycocotools.cocoeval import COCOeval

from tenfold.__main__ import main
from tenfold.check import check_table
from tenfold.errors import DataError
from tenfold.images.readers import read_table
from tenfold.images.readers.annotated import nested_folders
from tenfold.images.table import BOX_COLUMNS, Table, load_table, stack_tables, write_table
from tenfold.metrics.detection_matching import AREAS
from tenfold.split import limit_table, split_table
from tenfold.tasks import table_objects

BOX = (10, 20, 30, 60)


def image(path: Path, size: tuple[int, int] = (100, 80), orientation: int = 1) -> Path:
    """A picture of width and height `size`, whose bytes no other path has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(zlib.crc32(str(path).encode())).integers(0, 255, (size[1], size[0], 3), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    Image.fromarray(pixels).save(path, **({} if path.suffix == ".bmp" else {"exif": exif}))
    return path


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def boxes(table: Table) -> dict[str, list[tuple[Any, ...]]]:
    """File name -> its boxes as (x1, y1, x2, y2, label, ignore)."""
    assert table.boxes is not None
    assert {name: str(dtype) for name, dtype in table.boxes.dtypes.items()} == BOX_COLUMNS
    found: dict[str, list[tuple[Any, ...]]] = {Path(source).name: [] for source in table.samples["source"]}
    for row in table.boxes.itertuples(index=False, name=None):
        found[Path(table.samples["source"][row[0]]).name].append(row[1:])
    return found


def parts(table: Table) -> dict[str, str | None]:
    values = table.samples["part"].astype(object).where(table.samples["part"].notna(), None)
    return dict(zip((Path(source).name for source in table.samples["source"]), values, strict=True))


# Pascal VOC


def sheet(*objects: str, size: tuple[int, int] | None = (100, 80), filename: str = "") -> str:
    side = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    return f"<annotation>\n<filename>{filename}</filename>\n{side}\n" + "\n".join(objects) + "\n</annotation>\n"


def thing(label: str, corners: Sequence[object], difficult: int = 0, more: str = "") -> str:
    names = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    sides = "".join(f"\n<{name}>{value}</{name}>" for name, value in names)
    return f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>{sides}</bndbox>{more}</object>"


def voc(root: Path, **sheets: str) -> Path:
    for name, text in sheets.items():
        image(root / "JPEGImages" / f"{name}.jpg")
        write(root / "Annotations" / f"{name}.xml", text)
    return root


def test_voc_is_read_with_parts_and_difficult_ones(tmp_path: Path) -> None:
    head = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>"
    voc(
        tmp_path,
        a=sheet(thing("RBC", (1, 1, 100, 80)), thing("cell 10", (11, 21, 30, 60), 1, head)),
        b=sheet(),
        c=sheet(thing("cell 2", (1.5, 2.25, 3.5, 4))),
        d=sheet(thing("cell 2", (1, 1, 5, 5))),
        e=sheet(thing("cell 2", (1, 1, 5, 5))),
    )
    lists = tmp_path / "ImageSets" / "Main"
    for name, text in {"train": "a\n", "val": "b\n", "trainval": "a\nb\nd\n", "test": "c\nlost\n"}.items():
        write(lists / f"{name}.txt", text)
    write(lists / "RBC_train.txt", "a  1\n")
    table = read_table(tmp_path)
    assert boxes(table) == {
        "a.jpg": [(0, 0, 100, 80, "RBC", False), (*BOX, "cell 10", True)],
        "b.jpg": [],
        "c.jpg": [(0.5, 1.25, 3.5, 4, "cell 2", False)],
        "d.jpg": [(0, 0, 5, 5, "cell 2", False)],
        "e.jpg": [(0, 0, 5, 5, "cell 2", False)],
    }
    assert table.classes == ("cell 2", "cell 10", "RBC")
    assert parts(table) == {"a.jpg": "train", "b.jpg": "validation", "c.jpg": "test", "d.jpg": "train", "e.jpg": None}
    assert "In a list of ImageSets/Main, without an annotation (1): lost." in table.notes
    assert set(table.said_sizes.values()) == {(80, 100)}


def test_voc_beside_the_images_and_in_other_folders(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        image(tmp_path / "beside" / part / "a.b.jpg")
        write(tmp_path / "beside" / part / "a.b.xml", sheet(thing("x", (11, 21, 30, 60))))
    table = read_table(tmp_path / "beside")
    assert table.samples["part"].tolist() == ["train", "validation"]
    assert len(table.boxes) == 2
    image(tmp_path / "kaggle" / "images" / "a.png")
    image(tmp_path / "kaggle" / "masks" / "a.png")
    write(tmp_path / "kaggle" / "annotations" / "a.xml", sheet(thing("x", (11, 21, 30, 60))))
    assert [Path(source).parent.name for source in read_table(tmp_path / "kaggle").samples["source"]] == ["images"]
    image(tmp_path / "parted" / "images" / "test" / "a.jpg")
    write(tmp_path / "parted" / "Annotations" / "a.xml", sheet())
    assert parts(read_table(tmp_path / "parted")) == {"a.jpg": "test"}
    voc(tmp_path / "archive" / "VOCdevkit" / "VOC2007", a=sheet(thing("x", (11, 21, 30, 60))))
    voc(tmp_path / "archive" / "VOCdevkit" / "VOC2012", b=sheet(thing("x", (11, 21, 30, 60))))
    assert len(read_table(tmp_path / "archive")) == len(read_table(tmp_path / "archive" / "VOCdevkit")) == 2


def test_what_voc_leaves_out_is_said(tmp_path: Path) -> None:
    voc(tmp_path, a=sheet(thing("x", (1, 1, 5, 5)), filename="a.jpg"), named=sheet(filename="other.png"))
    (tmp_path / "JPEGImages" / "named.jpg").rename(tmp_path / "JPEGImages" / "other.png")
    image(tmp_path / "JPEGImages" / "bare.jpg")
    image(tmp_path / "JPEGImages" / "a.bmp")
    image(tmp_path / "SegmentationClass" / "a.png")
    write(tmp_path / "Annotations" / "gone.xml", sheet())
    write(tmp_path / "Annotations" / "else.xml", "<other/>")
    write(tmp_path / "ImageSets" / "Main" / "train.txt", "a\n")
    write(tmp_path / "ImageSets" / "Main" / "test.txt", "a\n")
    table = read_table(tmp_path)
    assert parts(table) == {"a.jpg": "test", "other.png": None}
    assert table.notes == (
        f"Left out of {tmp_path}: images without an annotation (1): JPEGImages/bare.jpg.",
        f"Left out of {tmp_path}: annotations without an image (1): Annotations/gone.xml.",
        "In several lists of ImageSets/Main, and put in the later part (1): a.",
        f"Left out of {tmp_path}: files that are no images (1): Annotations/else.xml.",
    )


LAUGHS = '<?xml version="1.0"?>\n<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>\n<annotation>&b;</annotation>'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (sheet(thing("x", (1, "ten", 5, 5))), r"a\.xml, line 6 has ymin 'ten', which must be a number"),
        (sheet(thing("x", (1, 1, "nan", 5))), r"a\.xml, line 7 has xmax 'nan', which must be a number"),
        (
            sheet(thing("x", (1, 1, 5, "1e99"))),
            r"a\.xml, line 8 has ymax '1e99', which must be a number, at most 1e\+09",
        ),
        (sheet(thing("x", (1, 1, 5, ""))), r"line 8 has ymax ''"),
        (sheet(thing("", (1, 1, 5, 5))), r"a\.xml, line 4 has an object without a name"),
        (sheet("<object><name>x</name></object>"), r"line 4 has an object without a bndbox; it needs both"),
        (sheet("<object><name>x</name><bndbox/></object>"), r"line 4 has a bndbox without xmin; it needs xmin, ymin, "),
        (
            sheet(thing("x", (1, 1, 5, 5)))[:150],
            r"a\.xml, line \d+ is damaged, or the file ends too early \(\w.*\); put",
        ),
        ("", r"a\.xml, line 1 is damaged, or the file ends too early \(no element found\)"),
        (LAUGHS, r"a\.xml, line 2 declares a document type, which is not read; delete it\."),
    ],
)
def test_what_is_wrong_with_voc_is_said_with_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(voc(tmp_path, a=text), "voc")
    for name in "bc":
        voc(tmp_path, **{name: sheet(thing("x", (11, 21, 30, 60)))})
    table = read_table(tmp_path)
    assert boxes(table) == {"b.jpg": [(*BOX, "x", False)], "c.jpg": [(*BOX, "x", False)]}, "a is no background"
    (note,) = table.notes
    assert re.match(rf"Left out: JPEGImages/a\.jpg, as its annotation is damaged: .*{message}", note)


def test_mostly_damaged_annotations_are_refused(tmp_path: Path) -> None:
    good = sheet(thing("x", (11, 21, 30, 60)))
    voc(tmp_path, a=good[:150], b=good[:90], c=good)
    with pytest.raises(
        DataError, match=r"^2 of 3 annotations in .* are damaged, too many to leave out; the first: .*a\.x"
    ):
        read_table(tmp_path)
    voc(tmp_path, d=good)
    assert set(boxes(read_table(tmp_path))) == {"c.jpg", "d.jpg"}, "half"
    write(tmp_path / "more" / "a.xml", sheet())
    assert set(boxes(read_table(tmp_path))) == {"c.jpg", "d.jpg"}, (
        "a second, empty annotation of a makes no background of it"
    )
    many = {f"m{place}": good[:150] for place in range(10)} | {f"n{place}": good for place in range(12)}
    table = read_table(voc(tmp_path / "many", **many))
    assert len(table.notes) == 9
    assert table.notes[-1] == "Left out likewise (2): JPEGImages/m8.jpg, JPEGImages/m9.jpg."


def test_a_damaged_annotation_is_said_by_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    good = sheet(thing("x", (11, 21, 30, 60)))
    folder = voc(tmp_path / "set", **{f"i{place}": good if place else good[:150] for place in range(10)})
    for command in ("check", "split"):
        assert main([command, str(folder), "--json"]) in (0, 1)
        out, err = capsys.readouterr()
        assert "Left out: JPEGImages/i0.jpg, as its annotation is damaged: " in err
        assert "i0.xml, line " in err
    assert sum(json.loads(out)["counts"]["(all)"].values()) == 9


def test_lists_of_parts_by_other_names_and_in_other_folders(tmp_path: Path) -> None:
    for folder, name in (("ImageSets/Main", "valid"), ("ImageSets/Main", "validation"), ("ImageSets", "val")):
        root = tmp_path / folder.replace("/", "-") / name
        voc(root, a=sheet(), b=sheet())
        write(root / folder / "train.txt", "a\n")
        write(root / folder / f"{name}.txt", "b\n")
        write(root / "ImageSets" / "Layout" / "test.txt", "a\nb\n")
        table = read_table(root)
        assert parts(table) == {"a.jpg": "train", "b.jpg": "validation"}
        assert table.notes == ()
    voc(tmp_path / "none", a=sheet(), b=sheet())
    write(tmp_path / "none" / "ImageSets" / "Layout" / "train.txt", "a\n")
    table = read_table(tmp_path / "none")
    assert parts(table) == {"a.jpg": None, "b.jpg": None}
    assert table.notes == (
        "Lists of parts that are not in ImageSets/Main, and are not read (1): ImageSets/Layout/train.txt.",
    )


def test_voc_without_images_or_annotations(tmp_path: Path) -> None:
    write(tmp_path / "no" / "Annotations" / "a.xml", sheet())
    with pytest.raises(
        DataError, match=r"None of the 1 annotations in .*no has an image there; the first is Ann.*a\.xml"
    ):
        read_table(tmp_path / "no")
    image(tmp_path / "none" / "a.jpg")
    with pytest.raises(
        DataError, match=r"There are no Pascal VOC annotations in .*none: no XML file whose root is <anno"
    ):
        read_table(tmp_path / "none", "voc")
    for folder in "pq":
        image(tmp_path / "two" / folder / "a.jpg")
    write(tmp_path / "two" / "Annotations" / "a.xml", sheet())
    with pytest.raises(
        DataError, match=r"a\.xml may mean p/a\.jpg or q/a\.jpg; give images of one name different names"
    ):
        read_table(tmp_path / "two")
    voc(tmp_path / "twice", a=sheet())
    write(tmp_path / "twice" / "JPEGImages" / "a.xml", sheet(thing("x", (1, 1, 5, 5))))
    with pytest.raises(
        DataError, match=r"a\.jpg is annotated more than once below .*twice, with other boxes or in another part; keep"
    ):
        read_table(tmp_path / "twice")


# COCO


def coco(
    path: Path, images: list[Any], annotations: list[Any], categories: Sequence[tuple[int, str]] = ((7, "x"),)
) -> Path:
    content = {
        "images": [{"id": number, "file_name": name, "width": 100, "height": 80} for number, name in images],
        "annotations": [
            {"id": place, "image_id": owner, "category_id": kind, "bbox": bbox, "iscrowd": crowd}
            for place, (owner, kind, bbox, crowd) in enumerate(annotations, 1)
        ],
        "categories": [{"id": number, "name": name} for number, name in categories],
    }
    return write(path, json.dumps(content))


def test_coco_of_several_parts(tmp_path: Path) -> None:
    kinds = ((90, "person"), (3, "wheel"), (17, "dog"), (1, "never"))
    for name in ("train2017/1.jpg", "train2017/2.jpg", "val2017/1.jpg", "val2017/bare.jpg"):
        image(tmp_path / name)
    train = [(12, 17, [10, 20, 20, 40], 0), (12, 90, [0.1, 0.2, 0.6, 0.5], 1)]
    coco(tmp_path / "annotations" / "instances_train2017.json", [(12, "1.jpg"), (700, "2.jpg")], train, kinds)
    coco(tmp_path / "annotations" / "instances_val2017.json", [(3, "1.jpg"), (4, "gone.jpg")], [(3, 3, BOX, 0)], kinds)
    write(tmp_path / "annotations" / "captions_val2017.json", json.dumps({"images": [], "annotations": []}))
    table = read_table(tmp_path)
    names = [Path(source).relative_to(tmp_path).as_posix() for source in table.samples["source"]]
    assert names == ["train2017/1.jpg", "train2017/2.jpg", "val2017/1.jpg"]
    assert table.samples["part"].tolist() == ["train", "train", "validation"]
    assert table.boxes.values.tolist() == [
        [0, *BOX, "dog", False],
        [0, 0.1, 0.2, 0.7, 0.7, "person", True],
        [2, 10, 20, 40, 80, "wheel", False],
    ]
    assert table.classes == ("wheel", "dog", "person"), "by id"
    assert f"Left out of {tmp_path}: images that are not in {tmp_path} (1): gone.jpg." in table.notes
    assert f"Left out of {tmp_path}: images without an annotation (1): val2017/bare.jpg." in table.notes
    assert f"Classes of {tmp_path} without a box (1): never." in table.notes
    alone = read_table(tmp_path / "annotations" / "instances_val2017.json")
    assert parts(alone) == {"1.jpg": "validation"}


def test_an_image_of_a_coco_json_without_a_part_has_that_of_its_folder(tmp_path: Path) -> None:
    for name in ("train/1.jpg", "test/2.jpg"):
        image(tmp_path / name)
    coco(tmp_path / "all.json", [(1, "train/1.jpg"), (2, "test/2.jpg")], [(1, 3, BOX, 0), (2, 3, BOX, 0)], ((3, "a"),))
    assert parts(read_table(tmp_path)) == {"1.jpg": "train", "2.jpg": "test"}


def with_areas(path: Path, areas: Sequence[Any]) -> Path:
    """A COCO json whose annotations are given these areas; None: none."""
    content = json.loads(path.read_text("utf-8"))
    for annotation, area in zip(content["annotations"], areas, strict=True):
        annotation.update({} if area is None else {"area": area})
    return write(path, json.dumps(content))


def test_areas_of_coco_stay_where_they_are_not_those_of_boxes(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg", (100, 80), 6)  # turned by EXIF: an area stays what it is
    large, click = [0, 0, 80, 100], [5, 5, 0, 0]
    given = [(large, 7000.5), (large, 8000), (large, 9000), (large, None), (large, 1e-3), (click, 0)]
    wrong = [(large, 0), (large, -3), (large, True), (large, "7000"), (large, 1e11)]
    boxes = [(1, 7, bbox, place == 2) for place, (bbox, _) in enumerate([*given, *wrong])]
    path = coco(tmp_path / "my.json", [(1, "a.jpg")], boxes)
    with_areas(path, [area for _, area in [*given, *wrong]])
    table = read_table(tmp_path)
    assert list(table.boxes) == [*BOX_COLUMNS, "area"]
    assert table.boxes["area"].dtype == np.float64
    areas = table.boxes["area"].astype(object).where(table.boxes["area"].notna(), None).tolist()
    assert areas == [7000.5, None, 9000, None, 1e-3, *[None] * 6]
    (note,) = (note for note in table.notes if "area" in note)
    assert note == (
        f"5 of 11 boxes in {tmp_path} are given an area that is no number of pixels above 0; theirs is that of the "
        "box, and pycocotools' figures for small, medium and large objects may be others."
    )
    ends = COCOeval(iouType="bbox").params.areaRng
    assert [list(AREAS[name]) for name in ("all", "small", "medium", "large")] == ends


def test_objects_of_a_table_have_the_areas_that_they_are_given(tmp_path: Path) -> None:
    for name in "ab":
        image(tmp_path / f"{name}.jpg")
    boxes = [(1, 7, BOX, 0), (1, 7, [3, 3, 0, 9], 0), (2, 7, BOX, 1), (2, 7, [0, 0, 4, 5], 0)]
    path = coco(tmp_path / "my.json", [(1, "a.jpg"), (2, "b.jpg")], boxes)
    assert table_objects(read_table(tmp_path))[0].area is None
    with_areas(path, [200.25, 0, 300, None])
    table = read_table(tmp_path)
    objects, flat = table_objects(table)
    assert flat == 1
    assert objects.area.tolist() == [200.25, 300, 20]
    write_table(table, tmp_path / "run" / "table.parquet")
    again = load_table(tmp_path / "run" / "table.parquet", table.classes)
    pd.testing.assert_frame_equal(again.boxes, table.boxes)
    older = table.boxes.drop(columns="area")
    older.to_parquet(tmp_path / "run" / "boxes.parquet", index=False)
    assert table_objects(load_table(tmp_path / "run" / "table.parquet", table.classes))[0].area is None
    together = stack_tables([replace(table, boxes=older), table.take([1])])
    assert table_objects(together)[0].area[-2:].tolist() == [300, 20]


def test_coco_as_roboflow_and_as_one_file(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        image(tmp_path / "robo" / part / "a.jpg")
        coco(tmp_path / "robo" / part / "_annotations.coco.json", [(0, "a.jpg")], [(0, 7, BOX, 0)])
    assert read_table(tmp_path / "robo").samples["part"].tolist() == ["test", "train", "validation"]
    image(tmp_path / "one" / "pictures" / "a.jpg")
    file = coco(tmp_path / "one" / "my.json", [(0, "pictures\\a.jpg")], [])
    for path in (file, tmp_path / "one"):
        table = read_table(path)
        assert boxes(table) == {"a.jpg": []}
        assert parts(table) == {"a.jpg": None}
        assert table.boxes is not None, "annotated, with nothing in it"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text[:-40],
            r"my\.json, line 1 is damaged, or the file ends too early \(.*column \d+\); get it again",
        ),
        (lambda text: text.replace("[10, 20,", "[10, NaN,"), r"my\.json holds NaN, which is no number"),
        (
            lambda text: text.replace("[10, 20,", '[10, "b",'),
            r"annotation 1 has the bbox \[10, 'b', 30, 60\]; it must be",
        ),
        (lambda text: text.replace("[10, 20,", "[10, 1e999,"), r"annotation 1 has the bbox \[10, inf, 30, 60\]"),
        (lambda text: text.replace("[10, 20,", "["), r"annotation 1 has the bbox \[30, 60\]; it must be four numbers"),
        (lambda text: text.replace('"bbox"', '"box"'), r"annotation 1 has the bbox None"),
        (
            lambda text: text.replace('"image_id": 0', '"image_id": 5'),
            r"annotation 1 has image_id 5, which the file does",
        ),
        (lambda text: text.replace('"category_id": 7', '"category_id": [7]'), r"has category_id \[7\], which the file"),
        (lambda text: text.replace('"file_name"', '"name"'), r"my\.json, image 1 lacks an id or a file_name"),
        (
            lambda text: text.replace('"annotations"', '"marks"'),
            r"my\.json has no list of annotations; COCO json needs",
        ),
        (
            lambda text: text.replace('"images": [', '"images": [{"id": 0, "file_name": "b"}, '),
            r"image id 0 more than once",
        ),
        (lambda text: text.replace("a.jpg", "c.jpg"), r"None of the 1 images of .* is in .*; the first is c\.jpg"),
        (lambda text: '{"images": [' + "[" * 100_000, r"my\.json cannot be read as json: "),
    ],
)
def test_what_is_wrong_with_coco_is_said(tmp_path: Path, change: Any, message: str) -> None:
    image(tmp_path / "a.jpg")
    file = coco(tmp_path / "my.json", [(0, "a.jpg")], [(0, 7, list(BOX), 0)])
    write(file, change(file.read_text("utf-8")))
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("mark", "left", "message"),
    [
        (
            {"image_id": 1, "category_id": 7, "segmentation": {"size": [80, 100], "counts": [8000]}},
            "b.jpg",
            r"annotation 9 has the bbox N",
        ),
        ({"image_id": 1, "category_id": 7, "bbox": [1, None, 3, 4]}, "b.jpg", r"annotation 9 has the bbox \[1, None"),
        ({"image_id": 1, "category_id": 8, "bbox": BOX}, "b.jpg", r"annotation 9 has category_id 8, which the file"),
        ({"image_id": [1], "category_id": 7, "bbox": BOX}, r"my.json, image '\[1\]'", r"annotation 9 has image_id \[1"),
    ],
)
def test_one_damaged_mark_of_coco_leaves_out_its_image(
    tmp_path: Path, mark: dict[str, Any], left: str, message: str
) -> None:
    for name in "abc":
        image(tmp_path / f"{name}.jpg")
    names = [(0, "a.jpg"), (1, "b.jpg"), (2, "c.jpg")]
    file = coco(tmp_path / "my.json", names, [(place, 7, list(BOX), 0) for place in range(3)])
    content = json.loads(file.read_text("utf-8"))
    write(file, json.dumps(content | {"annotations": [*content["annotations"], {"id": 9} | mark]}))
    table = read_table(tmp_path)
    own = [(10, 20, 40, 80, "x", False)]
    assert boxes(table) == {name: own for _, name in names if name != left}
    (note,) = table.notes
    assert re.match(rf"Left out: {left}, as its annotation is damaged: .*my\.json, {message}", note)


def test_coco_with_numbers_as_names_and_ids_of_pandas(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    file = coco(
        tmp_path / "my.json", [(1, "a.jpg")], [(1, 2, list(BOX), 0), (1, 10, list(BOX), 0)], ((10, "b"), (2, "a"))
    )
    content = json.loads(file.read_text("utf-8"))
    content["categories"] = [{"id": 10.0, "name": 5}, {"id": 2.0, "name": 12}]
    content["annotations"][0]["image_id"] = 1.0
    write(file, json.dumps(content))
    table = read_table(tmp_path)
    assert table.classes == ("12", "5"), "by id"
    assert len(table.boxes) == 2


@pytest.mark.parametrize("folder", ["json", "ann", "bbox", "labels", "Marks"])
def test_coco_and_voc_in_folders_of_any_name(tmp_path: Path, folder: str) -> None:
    image(tmp_path / "coco" / "images" / "a.jpg")
    file = coco(tmp_path / "coco" / folder / "my.json", [(0, "a.jpg")], [(0, 7, list(BOX), 0)])
    for path in (tmp_path / "coco", *([file] if folder != "Marks" else [])):
        assert boxes(read_table(path)) == {"a.jpg": [(10, 20, 40, 80, "x", False)]}
    image(tmp_path / "voc" / "images" / "a.jpg")
    write(tmp_path / "voc" / folder / "a.xml", sheet(thing("x", (11, 21, 30, 60))))
    assert boxes(read_table(tmp_path / "voc")) == {"a.jpg": [(*BOX, "x", False)]}


def test_coco_of_nothing(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"There is no COCO json in .*: no file with the keys images, annotations, cat"):
        read_table(tmp_path, "coco")
    coco(tmp_path / "my.json", [], [])
    with pytest.raises(DataError, match=r"There are no annotated images in .* \(looked for \.apng"):
        read_table(tmp_path)
    coco(tmp_path / "my.json", [(0, "a.jpg")], [])
    coco(tmp_path / "more.json", [(0, "a.jpg")], [(0, 7, list(BOX), 0)])
    with pytest.raises(
        DataError, match=r"a\.jpg is annotated more than once below .*give the path of one annotation file"
    ):
        read_table(tmp_path)


# YOLO


def yolo(root: Path, settings: str = "names: [x, 'y']\n", **labels: str | None) -> Path:
    for name, text in labels.items():
        image(root / "images" / f"{name}.jpg")
        if text is not None:
            write(root / "labels" / f"{name}.txt", text)
    if settings:
        write(root / "data.yaml", settings)
    return root


LINE = "0 0.2 0.5 0.2 0.5\n"  # BOX in an image of 100 x 80
BOMB = "names: [x]\na: &a [z]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{last}'] * 9)}]\n" for last, name in pairwise("abcdefghijklmnop")
)
BOMB += "train: [*p]\n"  # nine times as large with each of its lines


def test_yolo_with_empty_and_missing_label_files(tmp_path: Path) -> None:
    polygon = "1 0.1 0.25 0.3 0.25 0.3 0.75 0.1 0.75\n"
    yolo(tmp_path, "names:\n  0: x\n  1: no\n  2: never\ntrain: images\n", a=LINE + "\n" + polygon, b="", c=None)
    table = read_table(tmp_path)
    assert boxes(table) == {"a.jpg": [(*BOX, "x", False), (*BOX, "no", False)], "b.jpg": [], "c.jpg": []}
    assert table.classes == ("x", "no"), "a class called no is no truth value"
    assert parts(table) == {"a.jpg": "train", "b.jpg": "train", "c.jpg": "train"}
    assert table.notes == (
        f"Images of {tmp_path} without a label file, taken to show nothing (1): images/c.jpg.",
        "Polygons are read as the boxes around them.",
        f"Classes of {tmp_path} without a box (1): never.",
    )


def test_yolo_boxes_are_of_the_upright_image(tmp_path: Path) -> None:
    yolo(tmp_path, a=LINE)
    image(tmp_path / "images" / "a.jpg", (80, 100), orientation=6)
    assert boxes(read_table(tmp_path)) == {"a.jpg": [(*BOX, "x", False)]}


def test_yolo_parts(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        image(tmp_path / "robo" / part / "images" / "a.jpg")
        write(tmp_path / "robo" / part / "labels" / "a.txt", LINE)
    write(tmp_path / "robo" / "data.yaml", "train: ../train/images\nval: ../valid/images\ntest:\nnc: 1\nnames: ['x']\n")
    table = read_table(tmp_path / "robo")
    assert table.samples["part"].tolist() == ["train", "validation"]
    assert table.notes == ()
    write(tmp_path / "lists" / "train.txt", "./images/a.jpg\nimages/gone.jpg\n")
    yolo(
        tmp_path / "lists",
        "path: .\ntrain: [train.txt]\nval: images/none\nnc: 2\n",
        a=LINE,
        b="1 .5 .5 .1 .1\n",
        c=None,
    )
    table = read_table(tmp_path / "lists" / "data.yaml")
    assert parts(table) == {"a.jpg": "train", "b.jpg": None}, "c is in no part and has no labels"
    assert table.classes == ("0", "1")
    assert any(
        "that are not there (2): " in note and "gone.jpg" in note and "images/none" in note for note in table.notes
    )


def test_one_folder_as_train_and_val_is_no_part(tmp_path: Path) -> None:
    table = read_table(yolo(tmp_path, "path: /gone\ntrain: images\nval: images\nnames: [x]\n", a=LINE, b=LINE))
    assert parts(table) == {"a.jpg": None, "b.jpg": None}
    assert "train and validation are the same images, which are in no part yet." in table.notes


@pytest.mark.parametrize(
    "settings", ['"names": ["x"]', "'nc' : 1", '{"train": "images", "names": ["x"]}', "\n{names: [x]}"]
)
def test_yolo_settings_in_quotes_and_braces(tmp_path: Path, settings: str) -> None:
    image(tmp_path / "pictures" / "a.jpg")
    write(tmp_path / "pictures" / "a.txt", LINE)
    write(tmp_path / "data.yaml", settings.replace("images", "pictures"))
    assert boxes(read_table(tmp_path)) == {"a.jpg": [(*BOX, "0" if "nc" in settings else "x", False)]}


@pytest.mark.parametrize("stray", ["other:\n  names: [x]\n", "{other: 1}", "renames: [x]", "- {name: x}"])
def test_other_yaml_files_are_no_settings_of_yolo(tmp_path: Path, stray: str) -> None:
    for folder in "pq":
        image(tmp_path / folder / "1.png")
    write(tmp_path / "other.yaml", stray)
    assert read_table(tmp_path).classes == ("p", "q")


def test_yolo_without_settings(tmp_path: Path) -> None:
    image(tmp_path / "plain" / "images" / "train" / "a.jpg")
    write(tmp_path / "plain" / "labels" / "train" / "a.txt", "10 0.2 0.5 0.2 0.5\n2 0.2 0.5 0.2 0.5\n")
    table = read_table(tmp_path / "plain")
    assert table.classes == ("2", "10")
    assert parts(table) == {"a.jpg": "train"}
    assert f"Nothing in {tmp_path / 'plain'} names the classes, so they go by number." in table.notes
    image(tmp_path / "beside" / "a.jpg")
    write(tmp_path / "beside" / "a.txt", LINE)
    write(tmp_path / "beside" / "classes.txt", "cell\nrest\n")
    assert boxes(read_table(tmp_path / "beside")) == {"a.jpg": [(*BOX, "cell", False)]}


@pytest.mark.parametrize(
    ("settings", "label", "message"),
    [
        ("names: [x]\n", LINE + "0 0.5 0.5\n", r"a\.txt, line 2 has 3 values; a box has five"),
        ("names: [x]\n", "0 0.5 0.5 0.1 0.1 0.9\n", r"a\.txt, line 1 has 6 values"),
        ("names: [x]\n", "0 0.5 0.5 nan 0.1\n", r"a\.txt, line 1 has the value 'nan', which must be a number"),
        ("names: [x]\n", "1 0.5 0.5 0.1 0.1\n", r"line 1 has the class 1; it must be a whole number from 0 to 0"),
        ("names: [x]\n", "0.5 0.5 0.5 0.1 0.1\n", r"line 1 has the class 0\.5"),
        ("", "-1 0.5 0.5 0.1 0.1\n", r"line 1 has the class -1; it must be a whole number from 0 on"),
        (
            "names: [x\ntrain: images\n",
            LINE,
            r"data\.yaml, line \d is damaged, or the file ends too early \(.*\); put it",
        ),
        ("names:\n  1: x\n", LINE, r"data\.yaml must name the classes under names, as a list or by number from 0 on"),
        ("names: x\n", LINE, r"data\.yaml must name the classes"),
        (
            "nc: 3\nnames: [x]\n",
            LINE,
            r"data\.yaml gives nc, the number of classes, as 3, and 1 under names; make them agree",
        ),
        (
            "names: [x]\n",
            f"x{' 1.5' * 14}\n",
            r"a\.txt, line 1 looks like KITTI, the name of a class and 14 values, which is not read; convert",
        ),
        (BOMB, LINE, r"data\.yaml must give train as a path or a list of paths; put it right"),
        ("names: &a [x]\nnc: !!python/object:os.system [x]\n", LINE, r"^$"),
    ],
)
def test_what_is_wrong_with_yolo_is_said_with_file_and_line(
    tmp_path: Path, settings: str, label: str, message: str
) -> None:
    yolo(tmp_path, settings, a=label)
    if message == "^$":
        assert read_table(tmp_path).classes == ("x",), "no object is built, whatever a file asks for"
        return
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)
    if "yaml" not in message:
        yolo(tmp_path, b=LINE, c=LINE, d="", settings=settings)
        table = read_table(tmp_path)
        assert {name: len(own) for name, own in boxes(table).items()} == {"b.jpg": 1, "c.jpg": 1, "d.jpg": 0}
        note = next(note for note in table.notes if note.startswith("Left out"))
        assert re.match(rf"Left out: images/a\.jpg, as its annotation is damaged: .*{message}", note)


def test_yolo_images_that_cannot_be_read_and_files_that_are_no_text(tmp_path: Path) -> None:
    yolo(tmp_path, a=LINE, b=LINE)
    (tmp_path / "images" / "b.jpg").write_bytes(b"no image")
    table = read_table(tmp_path)
    assert {name: len(own) for name, own in boxes(table).items()} == {"a.jpg": 1, "b.jpg": 0}
    (note,) = (note for note in table.notes if "b.jpg" in note)
    assert note.startswith("The boxes of an image cannot be placed, and it is to be left out: Cannot decode ")
    unreadable = check_table(table).find("unreadable")
    assert unreadable is not None
    assert [Path(table.samples["source"][row]).name for row in unreadable.sets[0].rows] == ["b.jpg"]
    (tmp_path / "labels" / "b.txt").unlink()
    (tmp_path / "labels" / "a.txt").write_bytes(b"\xff\xfe0")
    message = r"a\.txt is not UTF-16 text, or ends too early \(byte 0x30 in line 1\); save it as UTF-8, or get it again"
    with pytest.raises(DataError, match=message):
        read_table(tmp_path)
    with pytest.raises(DataError, match=r"There are no YOLO labels in .*images: neither a data\.yaml nor text files"):
        read_table(tmp_path / "images", "yolo")
    write(tmp_path / "empty" / "data.yaml", "names: [x]\ntrain: images\n")
    with pytest.raises(DataError, match=r"There are no annotated images in .*empty \(looked for \.apng"):
        read_table(tmp_path / "empty")
    write(tmp_path / "more" / "a.yaml", "names: [x]")
    write(tmp_path / "more" / "b.yaml", "names: [x]")
    with pytest.raises(DataError, match=r"more holds a\.yaml and b\.yaml; give the path of the one that is meant"):
        read_table(tmp_path / "more")


# A listing of boxes


LISTED = """path,x1,y1,x2,y2,label,part,group,ignore
a.jpg,10,20,30,60,x,train,p1,
b.jpg,,,,,,val,,
a.jpg,30,20,10,60,y 10,train,p1,1
"""


@pytest.mark.parametrize("kind", ["csv", "tsv", "parquet"])
def test_a_listing_of_boxes(tmp_path: Path, kind: str) -> None:
    for name in ("a.jpg", "b.jpg"):
        image(tmp_path / name)
    path = write(tmp_path / f"list.{kind}", LISTED.replace(",", "\t") if kind == "tsv" else LISTED)
    if kind == "parquet":
        rows = [line.split(",") for line in LISTED.splitlines()]
        columns = {name: [row[place] or None for row in rows[1:]] for place, name in enumerate(rows[0])}
        columns |= {side: [float(x) if x else None for x in columns[side]] for side in ("x1", "y1", "x2", "y2")}
        pq.write_table(pa.table(columns), path)
    table = read_table(path)
    assert boxes(table) == {"a.jpg": [(*BOX, "x", False), (30, 20, 10, 60, "y 10", True)], "b.jpg": []}
    assert parts(table) == {"a.jpg": "train", "b.jpg": "validation"}
    assert table.samples["group"].iat[0] == "p1"
    assert table.notes == (
        f"Rows of {path} are boxes on images; with the reader listing each would be a region to classify.",
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "a.jpg,1,2,3,b,x,,,",
            r"Row 2 of .*list\.csv has y2 'b', which must be a number, at most 1e\+09; put it right",
        ),
        ("a.jpg,1,2,3,,x,,,", r"Row 2 of .* has y2 ''"),
        ("a.jpg,1,2,3,inf,x,,,", r"Row 2 of .* has y2 'inf'"),
        ("a.jpg,1,2,3,4,,,,", r"Row 2 of .* has a box without a label; a box needs both"),
        ("a.jpg,,,,,x,,,", r"Row 2 of .* has a label without a box"),
        ("a.jpg,1,2,3,4,x,,,maybe", r"Row 2 of .* has ignore 'maybe'; it must be 1 or 0"),
        (
            "a.jpg,1,2,3,4,x,,,\na.jpg,1,2,3,4,x,test,,",
            r"Row 3 of .* gives a\.jpg another part or group than a row above",
        ),
    ],
)
def test_what_is_wrong_with_a_listing_of_boxes_is_said_with_its_row(tmp_path: Path, row: str, message: str) -> None:
    image(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path / "list.csv", f"{LISTED.splitlines()[0]}\n{row}\n"))
    with pytest.raises(DataError, match=r"plain\.csv lacks the columns x1,y1,x2,y2 of boxes; it has path, label"):
        read_table(write(tmp_path / "plain.csv", "path,label\na.jpg,x\n"), "boxes")


# Text


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_a_byte_order_mark_tells_how_text_is_read(tmp_path: Path, encoding: str) -> None:
    yolo(tmp_path / "yolo", "names: [mèo]\n", a=LINE)
    image(tmp_path / "darknet" / "a.jpg")
    write(tmp_path / "darknet" / "a.txt", LINE)
    write(tmp_path / "darknet" / "classes.txt", "mèo\n")
    image(tmp_path / "coco" / "a.jpg")
    coco(tmp_path / "coco" / "my.json", [(0, "a.jpg")], [(0, 7, [10, 20, 20, 40], 0)], [(7, "mèo")])
    image(tmp_path / "csv" / "a.jpg")
    write(tmp_path / "csv" / "list.csv", "path,x1,y1,x2,y2,label\na.jpg,10,20,30,60,mèo\n")
    voc(tmp_path / "voc", a=sheet(thing("mèo", (11, 21, 30, 60))))
    write(tmp_path / "voc" / "ImageSets" / "Main" / "test.txt", "a\n")
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    for file in (file for file in tmp_path.rglob("*") if file.suffix in (".txt", ".yaml", ".json", ".csv", ".xml")):
        file.write_bytes((mark + file.read_text("utf-8")).encode(encoding))
    for name in ("yolo", "darknet", "coco", "csv", "voc"):
        assert boxes(read_table(tmp_path / name)) == {"a.jpg": [(*BOX, "mèo", False)]}, name
    assert parts(read_table(tmp_path / "voc")) == {"a.jpg": "test"}


@pytest.mark.parametrize("header", ["filename,width,height,class,xmin,ymin,xmax,ymax", "path,label,x1,y1,x2,y2"])
def test_a_listing_that_is_not_unicode_is_said_of_its_folder_too(tmp_path: Path, header: str) -> None:
    image(tmp_path / "images" / "a.jpg")
    row = "images/a.jpg,100,80,mèo,11,21,30,60" if "width" in header else "images/a.jpg,mèo,11,21,30,60"
    (tmp_path / "list.csv").write_bytes(f"{header}\n{row}\n".encode("cp1252"))
    message = r"list\.csv is not UTF-8 text \(byte 0xe8 in line 2\); save it as UTF-8\."
    with pytest.raises(DataError, match=message):
        read_table(tmp_path / "list.csv")
    if "width" in header:
        for reader in ("auto", "boxes"):
            with pytest.raises(DataError, match=message):
                read_table(tmp_path, reader)
    else:  # which may be regions of images
        assert re.search(f"No boxes are read: .*{message}", read_table(tmp_path).notes[-1])


def test_annotations_that_are_not_unicode_are_said_to_be(tmp_path: Path) -> None:
    good = sheet(thing("x", (11, 21, 30, 60)))
    folder = voc(tmp_path / "voc", a=good, b=good, c=good)
    latin = sheet(thing("mèo", (11, 21, 30, 60)))
    file = folder / "Annotations" / "a.xml"
    file.write_bytes(latin.encode("latin-1"))
    note = r"annotation is damaged: .*a\.xml is not UTF-8 text \(byte 0xe8 in line 4\); save it as UTF-8\."
    assert re.search(note, read_table(folder).notes[0])
    file.write_bytes(b'<?xml version="1.0" encoding="ISO-8859-1"?>\n' + latin.encode("latin-1"))
    assert boxes(read_table(folder))["a.jpg"] == [(*BOX, "mèo", False)]
    file.write_bytes(
        b'<?xml version="1.0" encoding="ISO-8859-1"?>\n' + latin.replace("</size>", "<&>").encode("latin-1")
    )
    assert re.search(r"a\.xml, line 4 is damaged, or the file ends too early", read_table(folder).notes[0])
    image(tmp_path / "coco" / "a.jpg")
    file = coco(tmp_path / "coco" / "my.json", [(0, "a.jpg")], [(0, 7, list(BOX), 0)], [(7, "meo")])
    file.write_bytes(file.read_text("utf-8").replace("meo", "mèo").encode("latin-1"))
    with pytest.raises(DataError, match=r"my\.json is not UTF-8 text \(byte 0xe8 in line 1\); save it as UTF-8\."):
        read_table(tmp_path / "coco")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_they_do_anywhere(tmp_path: Path, end: str) -> None:
    yolo(tmp_path, "", a=LINE + "1 .5 .5 .1 .1\n0 .2 .5 .2 .5\n", b="", c="")
    for name, text in {
        "labels/classes": "x\ny\n",
        "train": "images/a.jpg\nimages/b.jpg\n",
        "val": "images/c.jpg\n",
    }.items():
        write(tmp_path / f"{name}.txt", text)
    voc(tmp_path / "voc", a=sheet(), b=sheet())
    write(tmp_path / "voc" / "ImageSets" / "Main" / "test.txt", "a\nb\n")
    for file in tmp_path.rglob("*.txt"):
        file.write_bytes(file.read_bytes().replace(os.linesep.encode(), b"\n").replace(b"\n", end.encode()))
    voc_folder = (tmp_path / "voc").rename(tmp_path.with_name(f"{tmp_path.name}-voc"))
    table = read_table(tmp_path)
    assert [box[4] for box in boxes(table)["a.jpg"]] == ["x", "y", "x"]
    assert parts(table) == {"a.jpg": "train", "b.jpg": "train", "c.jpg": "validation"}
    assert parts(read_table(voc_folder)) == {"a.jpg": "test", "b.jpg": "test"}


# All


def test_formats_in_one_folder_are_joined_and_said(tmp_path: Path) -> None:
    voc(tmp_path, a=sheet(thing("x", (1, 1, 5, 5))), v=sheet(), w=sheet(thing("z", (1, 1, 5, 5))))
    yolo(tmp_path, "names: [x, 'y']\ntrain: images\n", b=LINE, c="", n=None)
    image(tmp_path / "images" / "k.jpg")
    coco(tmp_path / "my.json", [(0, "b.jpg"), (1, "k.jpg")], [(0, 7, list(BOX), 0)], [(7, "y")])
    write(tmp_path / "labels" / "k.txt", LINE)
    (tmp_path / "JPEGImages" / "a.jpg").rename(tmp_path / "images" / "a.jpg")
    write(tmp_path / "labels" / "a.txt", LINE)
    table = read_table(tmp_path)
    assert boxes(table) == {
        "a.jpg": [(0, 0, 5, 5, "x", False)],
        "b.jpg": [(10, 20, 40, 80, "y", False)],
        "c.jpg": [],
        "k.jpg": [],
        "v.jpg": [],
        "w.jpg": [(0, 0, 5, 5, "z", False)],
    }
    assert parts(table) == {
        "a.jpg": "train",
        "b.jpg": "train",
        "c.jpg": "train",
        "k.jpg": "train",
        "v.jpg": None,
        "w.jpg": None,
    }
    assert table.notes == (
        f"{tmp_path} has annotations in several formats; images taken from each: Pascal VOC 3, COCO 2, YOLO 1; those "
        "that have others too, which are not read: 3. Name one reader to take its format alone.",
        "Images to which another format gives other boxes than those that are taken (3): images/a.jpg, images/b.jpg, "
        "images/k.jpg.",
        f"Left out of {tmp_path}: images without an annotation (1): images/n.jpg.",
    )
    (tmp_path / "labels" / "a.txt").unlink()
    assert parts(read_table(tmp_path))["a.jpg"] == "train", "data.yaml says so, and VOC nothing"
    assert {name: len(read_table(tmp_path, name)) for name in ("voc", "coco", "yolo")} == {
        "voc": 3,
        "coco": 2,
        "yolo": 5,
    }


@pytest.mark.parametrize(
    ("text", "differs"),
    [
        ("0 0.2 0.5 0.2 0.5\n1 0.55 0.5 0.1 0.1\n", False),
        ("1 0.55 0.5 0.1 0.1\n0 0.21 0.5 0.2 0.5\n", False),  # in another order, and one a pixel further
        ("0 0.22 0.5 0.2 0.5\n1 0.55 0.5 0.1 0.1\n", True),
        ("1 0.2 0.5 0.2 0.5\n0 0.55 0.5 0.1 0.1\n", True),
        ("0 0.2 0.5 0.2 0.5\n", True),
        ("0 0.2 0.5 0.2 0.5\n1 0.55 0.5 0.1 0.1\n1 0.55 0.5 0.1 0.1\n", True),
    ],
)
@pytest.mark.parametrize("names", ["names: [x, z]\n", ""])
def test_formats_that_disagree_about_an_image_are_said(tmp_path: Path, text: str, differs: bool, names: str) -> None:
    voc(tmp_path, a=sheet(thing("x", (11, 21, 30, 60)), thing("z", (51, 37, 60, 44))))
    (tmp_path / "JPEGImages").rename(tmp_path / "images")
    yolo(tmp_path, names, a=text)
    differs = differs and (bool(names) or not text.startswith("1 0.2"))  # without names the boxes alone are compared
    notes = read_table(tmp_path).notes
    assert any("gives other boxes than those that are taken (1): images/a.jpg." in note for note in notes) == differs
    assert any("which are not read: 1." in note for note in notes)


def test_a_listing_beside_other_annotations_gives_the_boxes_of_the_rest(tmp_path: Path) -> None:
    voc(tmp_path, a=sheet(thing("x", (1, 1, 5, 5))), b=sheet(thing("x", (1, 1, 5, 5))))
    for name in ("c", "d", "e"):
        image(tmp_path / "JPEGImages" / f"{name}.jpg")
    rows = "JPEGImages/b.jpg,1,2,3,4,y\nJPEGImages/c.jpg,1,2,3,4,y\nJPEGImages/d.jpg,,,,,\n"
    listing = write(tmp_path / "more.csv", f"path,x1,y1,x2,y2,label\n{rows}")
    table = read_table(tmp_path)
    own = [(0, 0, 5, 5, "x", False)]
    assert boxes(table) == {"a.jpg": own, "b.jpg": own, "c.jpg": [(1, 2, 3, 4, "y", False)], "d.jpg": []}
    assert table.notes[:3] == (
        f"{tmp_path} has annotations in several formats; images taken from each: Pascal VOC 2, CSV 2; those that have "
        "others too, which are not read: 1. Name one reader to take its format alone.",
        "Images to which another format gives other boxes than those that are taken (1): JPEGImages/b.jpg.",
        f"Left out of {tmp_path}: images without an annotation (1): JPEGImages/e.jpg.",
    )
    write(listing, f"path,x1,y1,x2,y2,label\n{rows}JPEGImages/f.jpg,1,2,3,4,y\n")
    table = read_table(tmp_path)
    assert (boxes(table)["a.jpg"], len(table)) == (own, 2), "a path of our own form that is not there refuses a listing"
    assert any(note.startswith("Left out: the CSV annotations, as they cannot be read: ") for note in table.notes)


def test_a_damaged_annotation_beside_one_of_another_format(tmp_path: Path) -> None:
    good = sheet(thing("x", (11, 21, 30, 60)))
    for name in "abcd":
        image(tmp_path / "images" / f"{name}.jpg")
        write(tmp_path / "Annotations" / f"{name}.xml", good if name in "cd" else good[:150])
    write(tmp_path / "labels" / "a.txt", LINE)
    write(tmp_path / "labels" / "b.txt", "")
    write(tmp_path / "data.yaml", "names: [y]\ntrain: images\n")
    table = read_table(tmp_path)
    own = [(*BOX, "x", False)]
    assert boxes(table) == {"a.jpg": [(*BOX, "y", False)], "c.jpg": own, "d.jpg": own}, "b is no background"
    assert any(note.startswith("Left out: images/b.jpg, as its annotation is damaged: ") for note in table.notes)
    assert any(note.startswith("images/a.jpg is taken as YOLO has it; another annotation is d") for note in table.notes)
    write(tmp_path / "Annotations" / "d.xml", good[:150])
    table = read_table(tmp_path)
    assert set(boxes(table)) == {"a.jpg", "b.jpg"}, "c has no label file, and is no background"
    assert any(
        "Left out: the Pascal VOC annotations, as they cannot be read: 3 of 4 anno" in note for note in table.notes
    )


def test_classes_without_names_do_not_join_those_with(tmp_path: Path) -> None:
    voc(tmp_path, a=sheet(thing("x", (11, 21, 30, 60))))
    yolo(tmp_path, "", b=LINE, c="")
    table = read_table(tmp_path)
    assert boxes(table) == {"a.jpg": [(*BOX, "x", False)], "c.jpg": []}
    assert "Left out, as their YOLO labels have numbers and no names for classes (1): images/b.jpg." in table.notes
    assert sum("b.jpg" in note for note in table.notes) == 1


def test_stray_files_do_not_make_a_folder_one_of_boxes(tmp_path: Path) -> None:
    strays = {
        "desktop.xml": "<desktop/>",
        "annotations.xml": "<annotations><annotation ><object/></annotation></annotations>",
        "cut.xml": "<anno",
    }
    yolo(tmp_path / "yolo", a=LINE)
    for folder in "pq":
        image(tmp_path / "classes" / folder / "1.png")
        write(tmp_path / "classes" / folder / "1.xml", sheet(thing("x", (1, 1, 5, 5))))
    for root in ("yolo", "classes"):
        for name, text in strays.items():
            write(tmp_path / root / name, text)
    assert boxes(read_table(tmp_path / "yolo")) == {"a.jpg": [(*BOX, "x", False)]}
    table = read_table(tmp_path / "classes")
    assert (table.boxes, table.classes) == (None, ("p", "q"))
    voc(tmp_path / "wide", a="")
    (tmp_path / "wide" / "Annotations" / "a.xml").write_bytes(sheet(thing("x", (11, 21, 30, 60))).encode("utf-16"))
    assert boxes(read_table(tmp_path / "wide")) == {"a.jpg": [(*BOX, "x", False)]}


def test_yolo_as_cvat_writes_it(tmp_path: Path) -> None:
    for part in ("train", "valid"):
        image(tmp_path / f"obj_{part.title()}_data" / "far" / f"{part}.jpg")
        write(tmp_path / f"obj_{part.title()}_data" / "far" / f"{part}.txt", LINE)
        write(tmp_path / f"{part}.txt", f"data/obj_{part.title()}_data/{part}.jpg\n")
        write(tmp_path / "obj.names", "cell\n")
        write(tmp_path / "obj.data", "classes = 1\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n")
        table = read_table(tmp_path)
        assert boxes(table)[f"{part}.jpg"] == [(*BOX, "cell", False)]
        assert table.notes == ()
        assert parts(table) == (
            {"train.jpg": None} if part == "train" else {"train.jpg": "train", "valid.jpg": "validation"}
        )


def test_a_folder_whose_boxes_are_in_no_known_form_is_told_so(tmp_path: Path) -> None:
    image(tmp_path / "one" / "images" / "a.jpg")
    write(tmp_path / "one" / "README.txt", "")
    assert read_table(tmp_path / "one").notes[1:] == ()
    write(tmp_path / "one" / "marks" / "a.json", '{"shapes": []}')
    hint = r"If .*a\.json holds boxes, it is in no form that is read: Pascal VOC \(.*COCO json \(images, anno"
    assert re.search(hint, read_table(tmp_path / "one").notes[-1])
    image(tmp_path / "flat" / "a.jpg")
    write(tmp_path / "flat" / "a.json", "{}")
    with pytest.raises(DataError, match=rf"lie in no class folders; .*path,label\. {hint}"):
        read_table(tmp_path / "flat")


def test_a_folder_of_classes_stays_one(tmp_path: Path) -> None:
    for name in ("images/1.png", "labels/1.png", "train/1.png"):
        image(tmp_path / name)
    write(tmp_path / "classes.txt", "images\nlabels\n")
    write(tmp_path / "notes.json", "{}")
    table = read_table(tmp_path)
    assert table.boxes is None
    assert table.classes == ("images", "labels", "train")


def test_folders_that_cannot_be_listed_are_no_error_yet(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert [path.name for path in nested_folders(tmp_path)] == [tmp_path.name, "a", "b"]
    with pytest.raises(DataError, match="There is no file or folder"):
        read_table(tmp_path / "nowhere")


def few_per_class(table: Table, number: int) -> set[str]:
    limited = limit_table(table, number, seed=1)
    return set(limited.samples["source"][limited.samples["part"] == "train"])


def test_few_training_images_of_each_class_of_boxes(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    labels = [sorted(set(draw.choice(list("xxxxyyz"), 3))) for _ in range(60)]
    rows = [f"{place}.png,1,1,9,9,{label},train" for place, own in enumerate(labels) for label in own]
    for place in range(60):
        image(tmp_path / f"{place}.png", (20, 20))
    table = read_table(write(tmp_path / "list.csv", "path,x1,y1,x2,y2,label,part\n" + "\n".join(rows)))
    kept = {number: few_per_class(table, number) for number in (2, 5, 9, 100)}
    assert kept[2] < kept[5] < kept[9] < kept[100]
    for number, sources in kept.items():
        for label in "xyz":
            images = {source for source in sources if label in labels[int(Path(source).stem)]}
            assert len(images) >= min(number, sum(label in own for own in labels))
    assert len(kept[5]) <= 15


def test_bccd_is_read_and_split_evenly(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = shared_data / "bccd"
    if not folder.is_dir():
        pytest.skip("needs bccd")
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    table = read_table(folder)
    assert (len(table), len(table.boxes)) == (364, 4888)
    assert table.classes == ("Platelets", "RBC", "WBC")
    assert table.samples["part"].value_counts().to_dict() == {"train": 205, "validation": 87, "test": 72}
    assert np.isfinite(table.boxes[["x1", "y1", "x2", "y2"]]).all(axis=None)
    assert os.sep + "JPEGImages" + os.sep in table.samples["source"].iat[0]
    split = split_table(table.assign(part=[None] * 364), seed=3)
    owners = split.samples["part"].to_numpy(object)[split.boxes["sample"]]
    for label, rows in split.boxes.assign(part=owners).groupby("label"):
        shares = rows["part"].value_counts(normalize=True)
        assert abs(shares["validation"] - 0.15) < 0.02, label
        assert abs(shares["test"] - 0.15) < 0.02, label
