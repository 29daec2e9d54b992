"""Readers: what each layout on the disk, and arrays, become as a Table."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tenfold.errors import DataError, UsageError
from tenfold.images.readers import READERS, Reader, digits, find_images, read_images, read_table
from tenfold.images.readers.labels import class_order, natural_order
from tenfold.images.table import BOX_COLUMNS, COLUMNS, Table, make_samples


def plant(root: Path, *names: str) -> Path:
    """Files under `root`, each holding its own name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def listed(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names(table: Table, root: Path) -> list[str]:
    return [Path(source).relative_to(root).as_posix() for source in table.samples["source"]]


def column(table: Table, name: str) -> list[Any]:
    values = table.samples[name]
    return [None if missing else value for value, missing in zip(values, values.isna(), strict=True)]


def write_hub(path: Path, labels: list[Any], classes: list[str] | None = None, **columns: list[Any]) -> Path:
    """Parquet as `datasets` writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    images = pa.array([{"bytes": bytes([row]), "path": f"p{row // 2}_{row}.jpg"} for row in range(len(labels))], kind)
    rows = pa.table({"image": images, "label": pa.array(labels), **{k: pa.array(v) for k, v in columns.items()}})
    label = {"names": classes, "_type": "ClassLabel"} if classes else {"dtype": "int64", "_type": "Value"}
    described = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    pq.write_table(rows.replace_schema_metadata({"huggingface": json.dumps(described)}), path, row_group_size=2)
    return path


# Every reader


@pytest.fixture
def layouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A small sound example for each reader in READERS."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (plant(tmp_path / "listed", "a.png") / "list.csv").write_text("path,label\na.png,cat\n", "utf-8")
    (tmp_path / "listed" / "boxes.csv").write_text("path,x1,y1,x2,y2,label\na.png,0,0,1,1,cat\n", "utf-8")
    voc = "<annotation><object><name>cat</name><bndbox>{}</bndbox></object></annotation>"
    (plant(tmp_path / "voc", "JPEGImages/a.png", "Annotations/a.xml") / "Annotations" / "a.xml").write_text(
        voc.format("".join(f"<{side}>1</{side}>" for side in ("xmin", "ymin", "xmax", "ymax"))), "utf-8"
    )
    coco = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "cat"}]}
    coco["annotations"] = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]
    (plant(tmp_path / "coco", "images/a.png") / "instances.json").write_text(json.dumps(coco), "utf-8")
    Image.new("L", (8, 8)).save(plant(tmp_path / "yolo", "images/a.png", "labels/a.txt") / "images" / "a.png")
    (tmp_path / "yolo" / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n", "utf-8")
    return {
        "digits": Path("digits"),
        "huggingface": write_hub(tmp_path / "hub" / "train.parquet", [0, 1]),
        "voc": tmp_path / "voc",
        "coco": tmp_path / "coco",
        "yolo": tmp_path / "yolo",
        "boxes": tmp_path / "listed" / "boxes.csv",
        "listing": tmp_path / "listed" / "list.csv",
        "folder": plant(tmp_path / "classes", "cat/1.png", "dog/1.png"),
    }


def test_every_reader_is_tried_and_named_by_its_key(layouts: dict[str, Path]):
    assert layouts.keys() == READERS.keys(), "a new reader needs an example here"
    assert [reader.name for reader in READERS.values()] == list(READERS)


@pytest.mark.parametrize("name", READERS)
def test_contract_of_a_reader(name: str, layouts: dict[str, Path]):
    path = layouts[name]
    assert next(key for key, reader in READERS.items() if reader.recognizes(path)) == name
    table = read_table(path)
    assert {key: str(dtype) for key, dtype in table.samples.dtypes.items()} == COLUMNS
    assert table.samples.index.tolist() == list(range(len(table)))
    assert all(Path(source).is_absolute() and Path(source).is_file() for source in table.samples["source"])
    assert table.samples[["hash", "origin"]].isna().all(axis=None), "nothing is hashed before it is needed"
    if table.boxes is None:
        assert (table.labels() >= 0).all()
        assert set(table.classes) == set(table.samples["label"])
    else:
        assert {key: str(dtype) for key, dtype in table.boxes.dtypes.items()} == BOX_COLUMNS
        assert set(table.classes) == set(table.boxes["label"])
        assert table.samples["label"].isna().all()
    assert read_table(path, name).samples.equals(table.samples), "named or found, it reads the same"


def test_a_toy_reader_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def read(path: Path) -> Table:
        return Table(make_samples({"source": [str(path)], "label": ["toy"]}, 1), classes=("toy",))

    monkeypatch.setitem(READERS, "toy", Reader("toy", lambda path: path.suffix == ".toy", read))
    (tmp_path / "a.toy").touch()
    assert read_table(tmp_path / "a.toy").classes == ("toy",)
    assert read_table(tmp_path, "toy").classes == ("toy",)


def test_unknown_readers_and_paths(tmp_path: Path):
    with pytest.raises(
        UsageError, match=r"reader must be one of auto, digits, .* not 'foldr'; did you mean 'folder'\?"
    ):
        read_table(tmp_path, "foldr")
    with pytest.raises(DataError, match=r"There is no file or folder .*nowhere; give a folder"):
        read_table(tmp_path / "nowhere")
    (tmp_path / "a.zip").touch()
    with pytest.raises(DataError, match=r"a\.zip is none of what can be read"):
        read_table(tmp_path / "a.zip")


@pytest.mark.parametrize("name", [name for name in READERS if name != "digits"])
def test_a_path_that_does_not_fit_a_named_reader(name: str, tmp_path: Path):
    with pytest.raises(DataError, match=str(tmp_path)):
        read_table(tmp_path / "nowhere", name)


def test_natural_order():
    assert natural_order(["s10", "S2", "s1", "b", "a10b2", "a10b10"]) == ["a10b2", "a10b10", "b", "s1", "S2", "s10"]
    assert natural_order(["10", "9", "²", "٣", ""]) == ["", "٣", "9", "10", "²"]
    assert class_order(["b", None, "a", "b"]) == ("a", "b")
    assert class_order(["b", "a"], declared=["z", "b", "a"]) == ("b", "a")
    assert class_order(["b", "a"], declared=["b"]) == ("a", "b")


# A folder for each class


def test_folder_per_class(tmp_path: Path):
    plant(tmp_path, "s10/1.JPG", "s2/b.jpeg", "s2/deeper/a.png", "s1/10.png", "s1/9.png")
    table = read_table(tmp_path)
    assert names(table, tmp_path) == ["s1/9.png", "s1/10.png", "s2/b.jpeg", "s2/deeper/a.png", "s10/1.JPG"]
    assert column(table, "label") == ["s1", "s1", "s2", "s2", "s10"]
    assert table.classes == ("s1", "s2", "s10")
    assert column(table, "part") == column(table, "group") == [None] * 5
    assert table.notes == ()


@pytest.mark.parametrize("validation", ["val", "valid", "validation", "Val"])
def test_part_folders_are_kept_as_given(tmp_path: Path, validation: str):
    plant(tmp_path, "train/cat/1.png", "train/dog/1.png", f"{validation}/cat/2.png", "test/dog/sub/3.png")
    table = read_table(tmp_path)
    found = dict(
        zip(names(table, tmp_path), zip(column(table, "part"), column(table, "label"), strict=True), strict=True)
    )
    assert found == {
        "train/cat/1.png": ("train", "cat"),
        "train/dog/1.png": ("train", "dog"),
        f"{validation}/cat/2.png": ("validation", "cat"),
        "test/dog/sub/3.png": ("test", "dog"),
    }
    assert table.classes == ("cat", "dog")


def test_a_class_may_be_called_test(tmp_path: Path):
    assert read_table(plant(tmp_path, "test/1.png", "other/1.png")).classes == ("other", "test")


def test_part_folders_beside_others_are_refused(tmp_path: Path):
    plant(tmp_path, "train/cat/1.png", "extra/1.png")
    with pytest.raises(DataError, match=r"folders named as parts \(train\) beside others \(extra\)"):
        read_table(tmp_path)


def test_a_folder_around_everything_is_looked_through(tmp_path: Path):
    plant(tmp_path, "archive/flowers/rose/1.png", "archive/flowers/tulip/1.png", "preview.png")
    table = read_table(tmp_path)
    assert table.classes == ("rose", "tulip")
    assert table.notes[0] == f"The class folders lie in {tmp_path / 'archive' / 'flowers'}."
    assert "preview.png" in table.notes[1]
    plant(tmp_path / "archive" / "other", "train/rose/1.png", "test/rose/2.png")
    assert column(read_table(tmp_path / "archive" / "other"), "part") == ["test", "train"]
    plant(tmp_path / "one", "data/train/rose/1.png", "data/test/rose/2.png")
    assert column(read_table(tmp_path / "one"), "part") == ["test", "train"]


def test_a_lone_train_folder_is_a_part(tmp_path: Path):
    assert column(read_table(plant(tmp_path, "train/a/1.png", "train/b/1.png")), "part") == ["train", "train"]


def test_what_is_left_out_is_counted_and_listed(tmp_path: Path):
    plant(tmp_path, "cat/1.png", "dog/1.png", "README", "cat/notes.txt", "stray.png")
    plant(tmp_path, ".DS_Store", "cat/._1.png", ".cache/cat/1.png", "__MACOSX/cat/1.png", "dog/Thumbs.db")
    (tmp_path / "empty" / "nested").mkdir(parents=True)
    (tmp_path / "cat" / "pipe.txt").mkdir()
    notes = "\n".join(read_table(tmp_path).notes)
    assert f"Left out of {tmp_path}: files that are no images (2): cat/notes.txt, README." in notes
    assert "hidden files and folders (5): .cache, .DS_Store, __MACOSX, cat/._1.png, dog/Thumbs.db." in notes
    assert "images outside of the class folders (1): stray.png." in notes
    assert "class folders without an image (1): empty." in notes
    assert len(read_table(tmp_path)) == 2


def test_long_lists_are_cut_short(tmp_path: Path):
    plant(tmp_path, "cat/1.png", *(f"cat/{index}.txt" for index in range(100)))
    (note,) = read_table(tmp_path).notes
    assert note.endswith(
        "(100): cat/0.txt, cat/1.txt, cat/2.txt, cat/3.txt, cat/4.txt, cat/5.txt, cat/6.txt, cat/7.txt and 92 more."
    )


def test_folders_without_classes_say_what_to_do(tmp_path: Path):
    with pytest.raises(DataError, match=r"There are no images in .* \(looked for \.apng, "):
        read_table(tmp_path)
    plant(tmp_path, "1.png")
    with pytest.raises(DataError, match=r"lie in no class folders; make a folder for each class, such as .*daisy"):
        read_table(tmp_path)
    plant(tmp_path / "parts", "train/1.png", "test/1.png")
    with pytest.raises(DataError, match="lie in no class folders"):
        read_table(tmp_path / "parts")


def test_names_in_any_script(tmp_path: Path):
    composed, decomposed = (unicodedata.normalize(form, "Mèo ở Huế") for form in ("NFC", "NFD"))
    plant(tmp_path, f"{decomposed}/{decomposed} 1.png", "猫 🐈/ảnh.png", "קוף/١.png", f"{composed}/2.png")
    table = read_table(tmp_path)
    assert Counter(column(table, "label")) == {composed: 2, "猫 🐈": 1, "קוף": 1}
    assert all(Path(source).is_file() for source in table.samples["source"])
    assert column(read_table(tmp_path, group_pattern="(ả)nh"), "group").count("ả") == 1


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_a_name_that_is_not_unicode_is_left_out(tmp_path: Path):
    plant(tmp_path, "cat/1.png")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/cat/\xff.png")).touch()
    table = read_table(tmp_path)
    assert len(table) == 1
    assert table.notes == (f"Left out of {tmp_path}: names that are not valid Unicode (1): 'cat/\\udcff.png'.",)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not allow such names")
def test_a_path_that_is_not_unicode_is_refused_where_it_is_named(tmp_path: Path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Ren\xe9"))
    plant(odd, "cat/1.png")
    for read in (read_table, read_images):
        with pytest.raises(DataError, match=r"names that are valid Unicode, .* rename '.*Ren\\udce9.*'\.$"):
            read(odd)
    with pytest.raises(DataError, match="names that are valid Unicode"):
        read_images([odd / "cat" / "1.png"])


def link(path: Path, target: Path) -> None:
    try:
        path.symlink_to(target, target_is_directory=target.is_dir())
    except OSError:
        pytest.skip("this system allows no symbolic links")


def test_symbolic_links_are_followed_once(tmp_path: Path):
    root = plant(tmp_path / "data", "zebra/1.png", "cat/1.png")
    plant(tmp_path / "elsewhere", "2.png", "deeper/3.png")
    link(root / "a-link", root / "zebra")  # sorts first, yet the real folder's name counts
    link(root / "dog", tmp_path / "elsewhere")
    link(root / "dog2", tmp_path / "elsewhere")
    link(root / "cat" / "loop", root)
    link(root / "cat" / "up", tmp_path)
    link(root / "cat" / "self", root / "cat" / "self")
    link(root / "cat" / "gone.png", tmp_path / "nowhere.png")
    link(root / "cat" / "other.png", tmp_path / "elsewhere" / "2.png")
    table = read_table(root)
    assert names(table, root) == ["cat/1.png", "cat/other.png", "dog/2.png", "dog/deeper/3.png", "zebra/1.png"]
    notes = "\n".join(table.notes)
    assert "links that lead nowhere (2): cat/gone.png, cat/self." in notes
    assert "links to a folder that was read already or lies above (4): a-link, cat/loop, cat/up, dog2." in notes


def test_an_image_that_is_named_through_a_link_to_its_folder_too_is_taken_once(tmp_path: Path):
    plant(tmp_path, "in/1.png")
    link(tmp_path / "again", tmp_path / "in")
    assert find_images([tmp_path / "in", tmp_path / "again"])[0] == [str(tmp_path / "in" / "1.png")]


def test_links_whose_target_cannot_be_looked_at_lead_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = plant(tmp_path / "data", "cat/1.png", "dog/1.png")
    link(root / "dog" / "secret", tmp_path / "locked")
    (root / "cat" / "long.png").symlink_to("x" * 300)  # the system refuses such a name
    plain = os.stat

    def stat(path: Any, **options: Any) -> Any:
        if os.fspath(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return plain(path, **options)

    monkeypatch.setattr(os, "stat", stat)
    for table in (read_table(root), read_images(root)):
        assert names(table, root) == ["cat/1.png", "dog/1.png"]
        assert any("links that lead nowhere (2): cat/long.png, dog/secret." in note for note in table.notes)


def test_numbers_of_any_length_sort_as_numbers():
    long = ["9" * 5000, "1" + "0" * 5000, "0" * 6000 + "5", "7"]
    assert natural_order(["a10", "a9", "A2", *long]) == [long[2], "7", long[0], long[1], "A2", "a9", "a10"]
    assert natural_order(["s٣", "s٢", "s١٠", "s4"]) == ["s٢", "s٣", "s4", "s١٠"]  # 3, 2, 10 in Arabic digits


def test_a_linked_root_keeps_its_own_name(tmp_path: Path):
    plant(tmp_path / "real", "cat/1.png")
    link(tmp_path / "alias", tmp_path / "real")
    assert names(read_table(tmp_path / "alias"), tmp_path / "alias") == ["cat/1.png"]


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path, "cat/1.png", "dog/1.png")
    plain = os.scandir

    def scandir(path: Path) -> Any:
        if Path(path).name == "dog":
            raise PermissionError(13, "Permission denied")
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"The folder .*dog cannot be listed: Permission denied\."):
        read_table(tmp_path)


def test_relative_paths_and_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path, "data/cat/1.png")
    (tmp_path / "data" / "inner").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path / "data" / "inner")
    assert column(read_table(".."), "source") == column(read_table("~/data"), "source")


# Images to predict


def test_read_images_takes_files_folders_and_lists(tmp_path: Path):
    plant(tmp_path, "in/2.png", "in/deep/10.png", "in/README", "odd.bin")
    table = read_images([tmp_path / "in", str(tmp_path / "odd.bin"), tmp_path / "gone.png"])
    assert names(table, tmp_path) == ["in/2.png", "in/deep/10.png", "odd.bin", "gone.png"]
    assert table.samples["label"].isna().all()
    assert table.classes == ()
    assert table.notes == (f"Left out of {tmp_path / 'in'}: files that are no images (1): README.",)
    assert names(read_images(tmp_path / "odd.bin"), tmp_path) == ["odd.bin"]
    assert find_images([tmp_path / "in"])[0] == [
        str(tmp_path / "in" / "2.png"),
        str(tmp_path / "in" / "deep" / "10.png"),
    ]
    with pytest.raises(DataError, match="There are no images in an empty list"):
        read_images([])
    given = [tmp_path / "in" / "2.png", tmp_path / "in", tmp_path / "in" / "deep" / ".." / "2.png", tmp_path / "in"]
    once, notes = find_images(given)
    assert once == [str(tmp_path / "in" / "2.png"), str(tmp_path / "in" / "deep" / "10.png")]
    assert notes[-1].startswith(f"Named more than once, and taken once (4): {tmp_path / 'in' / '2.png'}, ")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"There are no images in .*empty"):
        read_images(tmp_path / "empty")


# A listing


def write_list(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_text(text, encoding)
    return path


@pytest.mark.parametrize(
    ("name", "mark", "encoding"),
    [
        ("a.csv", ",", "utf-8"),
        ("a.tsv", "\t", "utf-8-sig"),
        ("a.csv", ";", "utf-8"),
        ("a.tsv", "\t", "utf-16"),
    ],
)
def test_listing_of_all_columns(tmp_path: Path, name: str, mark: str, encoding: str):
    plant(tmp_path, "x/a 1.png", "y.png")
    text = 'path,Label,group,part,x1,y1,x2,y2\nx/a 1.png, cat ,p1,val,,,,\n\n"y.png",dog,,,1,2.5,3,4\n'
    table = read_table(write_list(tmp_path / name, text.replace(",", mark), encoding))
    assert names(table, tmp_path) == ["x/a 1.png", "y.png"]
    assert column(table, "label") == ["cat", "dog"]
    assert column(table, "group") == ["p1", None]
    assert column(table, "part") == ["validation", None]
    assert table.samples[["x1", "y1", "x2", "y2"]].to_numpy(float, na_value=np.nan)[1].tolist() == [1, 2.5, 3, 4]
    assert table.samples["x1"].isna().tolist() == [True, False]


def test_parquet_listing_is_told_from_parquet_with_images(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png", "c.png")
    rows = {"path": ["a.png", "b.png", "c.png"], "label": [2.0, 10.0, None], "part": ["train", None, "test"]}
    pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    table = read_table(tmp_path / "list.parquet")
    assert column(table, "label") == ["2", "10", None]
    assert column(table, "part") == ["train", None, "test"]
    assert table.classes == ("2", "10")
    assert column(table, "row") == [None] * 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("label\ncat\n", r"list\.csv lacks the column path; it needs path,label .* but has label\."),
        ("path\na.png\n", "lacks the column label"),
        ("", "lacks the column path; .* but has none"),
        ("path,label\n", "has no rows"),
        ("path,label,x1\na.png,cat,1\n", "lacks the column y1"),
        ("path,label,label\na.png,cat,cat\n", "has the column label more than once"),
        (
            "path,label\na.png,cat\n\ngone.png,dog\n",
            r"Row 4 of .*list\.csv names gone\.png, but there is no file .*gone",
        ),
        ("path,label\n,cat\n", "Row 2 of .* has no path"),
        ("path,label,part\na.png,cat,train\na.png,cat,dev\n", "Row 3 of .* has the part 'dev'; it must be train, "),
        ("path,label\na.png,cat,and,dog\n", "Row 2 of .* has 4 cells, the header 2; put quotes"),
        ("path,label,x1,y1,x2,y2\na.png,cat,3,0,1,4\n", "Row 2 of .* has the region 3,0,1,4; x1,y1,x2,y2 must be four"),
        ("path,label,x1,y1,x2,y2\na.png,cat,1,,2,4\n", "Row 2 of .* has the region 1,,2,4"),
        ("path,label,x1,y1,x2,y2\na.png,cat,0,0,inf,4\n", "Row 2 of .* has the region 0,0,inf,4"),
    ],
)
def test_what_is_wrong_with_a_listing_is_said_with_its_row(tmp_path: Path, text: str, message: str):
    plant(tmp_path, "a.png")
    with pytest.raises(DataError, match=message):
        read_table(write_list(tmp_path / "list.csv", text))


def test_a_listing_that_is_no_text_or_no_parquet(tmp_path: Path):
    (tmp_path / "a.csv").write_bytes("path,label\nmèo.png,mèo\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.csv is not UTF-8 text \(byte 0xe8 in line 2\); save it as UTF-8\."):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.csv").write_bytes(b"path,label\n" + b"a.png,x\n" * 5000 + b"\xe8.png,x\n")
    with pytest.raises(DataError, match=r"\(byte 0xe8 in line 5002\)"):
        read_table(tmp_path / "a.csv")
    (tmp_path / "a.parquet").write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        read_table(tmp_path / "a.parquet")


@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_listing_finds_names_in_either_unicode_form(tmp_path: Path, listed: str, stored: str):
    plant(tmp_path, unicodedata.normalize(stored, "ảnh/của tôi/mèo.png"))
    text = "path,label\n" + unicodedata.normalize(listed, "ảnh/của tôi/mèo.png,mèo\n")
    table = read_table(write_list(tmp_path / "a.csv", text))
    assert Path(table.samples["source"][0]).is_file()
    assert table.classes == (unicodedata.normalize("NFC", "mèo"),)


def test_a_listing_may_point_anywhere_and_notes_what_it_does_not_use(tmp_path: Path):
    plant(tmp_path, "a.png", "lists/b.png")
    text = f"path,label,camera\n../a.png,cat,x\n{tmp_path / 'lists' / 'b.png'},,y\n"
    table = read_table(write_list(tmp_path / "lists" / "a.csv", text))
    assert names(table, tmp_path) == ["a.png", "lists/b.png"]
    assert column(table, "label") == ["cat", None]
    assert table.notes == (f"Columns of {tmp_path / 'lists' / 'a.csv'} that were not used: camera.",)


def test_a_listing_lists_each_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path, *(f"{index % 3}/{index}.png" for index in range(90)))
    text = "path,label\n" + "".join(f"{index % 3}/{index}.png,{index % 3}\n" for index in range(90))
    path = write_list(tmp_path / "a.csv", text)
    calls = Counter[str]()
    for name in ("stat", "listdir", "scandir"):
        plain = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *args, plain=plain, name=name, **options: calls.update([name]) or plain(*args, **options)
        )
    assert len(read_table(path)) == 90
    assert calls.total() < 20


# Parquet in the Hugging Face layout


def test_shards_in_a_folder_with_parts(tmp_path: Path):
    write_hub(tmp_path / "data" / "train-00000-of-00002.parquet", [1, 0, 1], ["dog", "cat", "cow"])
    write_hub(tmp_path / "data" / "train-00001-of-00002.parquet", [0, -1], ["dog", "cat", "cow"])
    write_hub(tmp_path / "data" / "validation-00000-of-00001.parquet", [1], ["dog", "cat", "cow"])
    table = read_table(tmp_path)
    assert column(table, "label") == ["cat", "dog", "cat", "dog", None, "cat"]
    assert column(table, "part") == ["train"] * 5 + ["validation"]
    assert column(table, "row") == [0, 1, 2, 0, 1, 0]
    assert table.classes == ("dog", "cat"), "the order that the schema declares"
    assert table.notes == (f"Classes of {tmp_path} without an image (1): cow.",)


def test_shards_of_one_part_leave_the_part_open(tmp_path: Path):
    write_hub(tmp_path / "train-0.parquet", [10, 9, None])
    table = read_table(tmp_path)
    assert column(table, "part") == [None] * 3
    assert column(table, "label") == ["10", "9", None]
    assert table.classes == ("9", "10")
    write_hub(tmp_path / "test-0.parquet", [9])
    write_hub(tmp_path / "more-0.parquet", [9])
    with pytest.raises(DataError, match=r"The part of .*more-0\.parquet is not clear"):
        read_table(tmp_path)


def test_labels_as_text_groups_and_original_names(tmp_path: Path):
    path = write_hub(tmp_path / "a.parquet", ["dog", "cat", "dog"], group=["p1", None, "p2"])
    assert column(read_table(path), "group") == ["p1", None, "p2"]
    assert read_table(path).classes == ("cat", "dog")
    assert column(read_table(path, group_pattern=r"^(p\d)_"), "group") == ["p0", "p0", "p1"]


def test_parquet_without_labels_or_names(tmp_path: Path):
    pq.write_table(pa.table({"img": pa.array([{"bytes": b"a"}, {"bytes": b"b"}])}), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet")
    assert (column(table, "label"), table.classes) == ([None, None], ())
    with pytest.raises(UsageError, match="group_pattern must match file names"):
        read_table(tmp_path / "a.parquet", group_pattern="(p)")


def test_impossible_labels_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"row 1 has the label 2, but its schema names 2 classes"):
        read_table(write_hub(tmp_path / "a.parquet", [0, 2], ["a", "b"]))
    with pytest.raises(DataError, match=r"row 0 has the label \[0, 1\]; it must be one number or text"):
        read_table(write_hub(tmp_path / "b.parquet", [[0, 1]]))
    with pytest.raises(DataError, match="have no rows"):
        read_table(write_hub(tmp_path / "c.parquet", []))
    with pytest.raises(DataError, match="There is no Parquet file in"):
        read_table(tmp_path / "none", "huggingface")
    pq.write_table(pa.table({"label": [1]}), tmp_path / "d.parquet")
    with pytest.raises(DataError, match=r"d\.parquet has no column of images"):
        read_table(tmp_path / "d.parquet", "huggingface")


# Arrays


def test_arrays_and_lists():
    images = np.zeros((3, 4, 5), np.uint8)
    table = read_table(images, labels=["b", None, "a"], groups=[1, None, "x"])
    assert column(table, "source") == ["images"] * 3
    assert column(table, "row") == [0, 1, 2]
    assert column(table, "label") == ["b", None, "a"]
    assert column(table, "group") == ["1", None, "x"]
    assert table.classes == ("a", "b")
    assert table.arrays["images"] is images
    mixed = [np.zeros((2, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)]
    assert len(read_table(mixed)) == 2


def test_integer_labels_count_into_classes():
    images = np.zeros((3, 4, 5, 3), np.uint8)
    assert column(read_table(images, labels=np.array([2, 10, 0])), "label") == ["2", "10", "0"]
    assert read_table(images, labels=np.array([2, 10, 0])).classes == ("0", "2", "10")
    table = read_table(images, labels=[1, 0, np.nan], classes=["dog", "cat", "cow"])
    assert column(table, "label") == ["cat", "dog", None]
    assert table.classes == ("dog", "cat", "cow")
    assert table.labels().tolist() == [1, 0, -1]


def test_lists_of_paths(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    table = read_table([tmp_path / "a.png", str(tmp_path / "b.png")], labels=["x", "y"])
    assert names(table, tmp_path) == ["a.png", "b.png"]
    assert table.arrays == {}


IMAGES = np.zeros((2, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (IMAGES / 255, {}, r"source must hold uint8 values from 0 to 255, not float64; convert it"),
        ([IMAGES[0], IMAGES[0] > 0], {}, r"source\[1\] must hold uint8 .* not bool"),
        (IMAGES[0], {}, r"source must have the shape \[N, H, W\] or \[N, H, W, C\], not \[4, 4\]"),
        (np.zeros((2, 3, 8, 8), np.uint8), {}, r"channels in its last axis, but an image has the shape \[3, 8, 8\]"),
        ([IMAGES[0], "a.png"], {}, r"source\[1\] must be an array \[H, W\] or \[H, W, C\], not str"),
        ([IMAGES[None]], {}, r"source\[0\] must be an array \[H, W\] or \[H, W, C\], not shape \[1, 2, 4, 4\]"),
        (np.zeros((2, 0, 4), np.uint8), {}, "at least one pixel"),
        ([], {}, "at least one image"),
        (IMAGES, {"labels": ["a"]}, "labels must have one value for each of the 2 images, not 1"),
        (IMAGES, {"groups": ["a"] * 3}, "groups must have one value for each of the 2 images, not 3"),
        (IMAGES, {"labels": [0.5, 1]}, r"labels must hold one text or integer an image, or None, not 0\.5"),
        (IMAGES, {"labels": np.eye(2, dtype=int)}, "labels must hold one text or integer an image"),
        (IMAGES, {"labels": [0, 2], "classes": ["a", "b"]}, "must be from 0 to 1, places in classes; 2 is not"),
        (
            IMAGES,
            {"labels": ["a", "c"], "classes": ["a", "b"]},
            "classes must hold every label of the images; it lacks c",
        ),
        (IMAGES, {"classes": ["a", "a"]}, "classes must not hold a class twice"),
        (IMAGES, {"reader": "folder"}, "reader must be auto for images in memory, not 'folder'"),
        (IMAGES, {"group_pattern": "(a)"}, "group_pattern works on file names, which arrays do not have"),
    ],
)
def test_what_arrays_are_refused(source: Any, options: dict[str, Any], message: str):
    with pytest.raises(UsageError, match=message):
        read_table(source, **options)


def test_labels_of_a_path_are_not_an_argument(tmp_path: Path):
    with pytest.raises(UsageError, match="labels and groups are for images in memory"):
        read_table(plant(tmp_path, "cat/1.png"), labels=["cat"])


# Groups and classes


def test_group_pattern_works_on_the_path_below_the_root(tmp_path: Path):
    plant(tmp_path, "cat/p1_a.png", "cat/p2_a.png", "dog/p1_b.png", "dog/other.png")
    table = read_table(tmp_path, group_pattern=r"^(?:cat|dog)/(p\d+)_")
    assert dict(zip(names(table, tmp_path), column(table, "group"), strict=True)) == {
        "cat/p1_a.png": "p1",
        "cat/p2_a.png": "p2",
        "dog/p1_b.png": "p1",
        "dog/other.png": None,
    }
    write_list(tmp_path / "a.csv", "path,label,group\ncat/p1_a.png,cat,old\n")
    assert column(read_table(tmp_path / "a.csv", group_pattern="^cat/(p1)"), "group") == ["p1"]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a", r"group_pattern must be a regular expression; '\(a' is not"),
        ("a", r"group_pattern must have a bracket around the group, .* not 'a'\."),
        ("(z+)", r"group_pattern must match file names, but '\(z\+\)' matches none, such as 'cat/1\.png'"),
    ],
)
def test_bad_group_patterns(tmp_path: Path, pattern: str, message: str):
    plant(tmp_path, "cat/1.png")
    with pytest.raises(UsageError, match=message):
        read_table(tmp_path, group_pattern=pattern)


def test_classes_may_be_given(tmp_path: Path):
    plant(tmp_path, "cat/1.png", "dog/1.png")
    assert read_table(tmp_path, classes=["dog", "cow", "cat"]).classes == ("dog", "cow", "cat")
    with pytest.raises(UsageError, match="it lacks dog"):
        read_table(tmp_path, classes=["cat"])


# The built-in digits


def test_digits_are_those_of_scikit_learn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from sklearn.datasets import load_digits

    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    bunch = load_digits()
    table = read_table("digits")
    assert len(table) == 1797
    assert table.classes == tuple("0123456789")
    for source, label in zip(table.samples["source"], table.samples["label"], strict=True):
        with Image.open(source) as image:
            assert (image.mode, image.size) == ("L", (8, 8))
            pixels = np.asarray(image)
        place = int(Path(source).name[:4])
        assert label == str(bunch.target[place])
        np.testing.assert_array_equal(pixels, np.floor(bunch.images[place] * 255 / 16 + 0.5))
    assert listed(tmp_path) == ["digits"], "nothing is left beside the folder"


def test_groups_of_digits_are_contiguous_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    table = read_table("digits")
    places = [int(Path(source).name[:4]) for source in table.samples["source"]]
    ordered = [group for _, group in sorted(zip(places, table.samples["group"], strict=True))]
    assert ordered == [f"block-{block:02}" for block in range(1, 14) for _ in range(139 if block < 4 else 138)]
    assert any("blocks" in note for note in table.notes)
    again = read_table(tmp_path / "digits", group_pattern=digits.GROUP_PATTERN)
    assert again.samples["group"].equals(table.samples["group"]), "the files alone say it, too"


def test_processes_that_write_the_digits_at_once_leave_one_complete_folder(tmp_path: Path):
    root = tmp_path / "new" / "digits"
    code = f"from tenfold.images.readers.digits import *; write_digits(Path({str(root)!r}))"
    runs = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    assert listed(root.parent) == ["digits"]
    assert len(list(root.glob("*/*.png"))) == 1797


def test_the_loser_of_a_race_takes_the_winners_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plain = digits._write_files

    def slower(root: Path) -> None:
        plain(root)
        plant(tmp_path / "digits", "winner")

    monkeypatch.setattr(digits, "_write_files", slower)
    assert digits.write_digits(tmp_path / "digits") == tmp_path / "digits"
    assert listed(tmp_path) == ["digits"]
    assert listed(tmp_path / "digits") == ["winner"]


def test_digits_that_are_damaged_or_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    table = read_table("digits")
    Path(table.samples["source"][0]).unlink()
    with pytest.raises(DataError, match="holds 1796 of the 1797 digits; delete that folder"):
        read_table("digits")
    (tmp_path / "file").touch()
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot be written to .*; point TENFOLD_CACHE to a folder that can"):
        read_table("digits")


def test_a_folder_of_ones_own_called_digits_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(plant(tmp_path / "work", "digits/one/1.png"))
    assert read_table("digits").classes == ("one",)
    assert len(read_table("digits", "digits")) == 1797


def test_the_png_of_a_digit_is_the_same_everywhere():
    pixels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    data = digits.grey_png(pixels)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)
    assert data[41:43] == b"\x78\x01", "zlib without compression"
    assert len(data) == 8 + 12 * 3 + 13 + (2 + 5 + 2 * 4 + 4)


# Real data


@pytest.mark.parametrize(
    ("name", "count", "classes", "parts"),
    [
        ("flowers", 3670, ("daisy", "dandelion", "roses", "sunflowers", "tulips"), {None}),
        ("orl-faces", 400, tuple(f"s{number}" for number in range(1, 41)), {None}),
        ("cifar10", 60_000, ("airplane", "automobile", "bird"), {"train", "test"}),
        ("tiny-imagenet", 85_000, ("goldfish", "European fire salamander", "bullfrog"), {"train", "validation"}),
    ],
)
def test_real_data(shared_data: Path, name: str, count: int, classes: tuple[str, ...], parts: set[str | None]):
    if not (shared_data / name).is_dir():
        pytest.skip(f"needs {name}")
    table = read_table(shared_data / name)
    assert len(table) == count
    assert table.classes[: len(classes)] == classes
    assert set(column(table, "part")) == parts
    assert (table.labels() >= 0).all()
    assert len(table.notes) == (1 if (shared_data / name / "README").exists() else 0)


def test_real_images_without_labels(shared_data: Path):
    for name in ("summer2winter", "odd-images"):
        if not (shared_data / name).is_dir():
            pytest.skip(f"needs {name}")
    assert len(read_images(shared_data / "summer2winter" / "trainA")) == 1231
    with pytest.raises(DataError, match="lie in no class folders"):
        read_table(shared_data / "summer2winter" / "trainA")
    odd = read_images(shared_data / "odd-images")
    assert len(odd) + int(odd.notes[0].split("(")[1].split(")")[0]) == len(listed(shared_data / "odd-images"))
