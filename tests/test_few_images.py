"""Three images a class, some of them broken: what cannot be decoded takes no image's place in any part."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from tenfold.__main__ import main
from tenfold.check import look_at_table
from tenfold.commands.readable import without_unreadable
from tenfold.commands.train import read_parted
from tenfold.errors import DataError
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import BOX_COLUMNS
from tenfold.run import load_run
from tenfold.split import read_split, split_table, write_split
from tests.toys import write_scenes

QUICK = "--epochs 1 --model plain --model.width 4 --size 16 --train.precision float32 --train.threads 1".split()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def write_broken(folder: Path) -> list[Path]:
    """Two classes of three images and a broken file each."""
    write_scenes(folder, each=3)
    broken = [folder / name / "broken.png" for name in ("cat", "dog")]
    for path in broken:
        path.write_bytes(f"no image of a {path.parent.name}".encode())
    return broken


def test_what_cannot_be_decoded_is_named_before_the_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = write_broken(tmp_path / "data")
    _, table = read_parted("data", {})
    counts = table.samples.groupby(["label", "part"]).size().to_dict()
    assert counts == {(name, part): 1 for name in ("cat", "dog") for part in ("train", "validation", "test")}
    notes = [note for note in table.notes if note.startswith("Left out: ")]
    assert len(notes) == 2
    assert all(str(path) in note for path, note in zip(broken, notes, strict=True))
    said = capsys.readouterr().err
    assert said.index(notes[1]) < said.index("Split: ")
    assert len(read_split(Path("data.split.csv"))) == 6
    with pytest.raises(DataError, match=r"^2 of 8 images cannot be read; the first: .*broken\.png"):
        read_parted("data", {"data__unreadable": "refuse"})


def test_split_deals_no_broken_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = write_broken(tmp_path / "data")
    assert main(["split", "data"]) == 0
    said = capsys.readouterr().err
    assert all(f"Left out: Cannot decode {path}" in said for path in broken)
    entries = read_split(Path("data.split.csv"))
    assert sorted(entry.part for entry in entries) == sorted(["train", "validation", "test"] * 2)
    assert not [entry.path for entry in entries if "broken" in entry.path]


def test_a_split_that_deals_broken_images_holds_for_the_others(tmp_path: Path) -> None:
    broken = write_broken(tmp_path / "data")
    file = Path("data.split.csv")
    table = split_table(hashed(read_table("data")), validation=0.25, test=0.25)
    write_split(table, file)
    before = {entry.path: entry.part for entry in read_split(file)}
    _, found = read_parted("data", {})
    own = {
        Path(source).relative_to(tmp_path).as_posix(): part
        for source, part in zip(found.samples["source"], found.samples["part"], strict=True)
    }
    assert own == {path: part for path, part in before.items() if "broken" not in path}
    assert {entry.path: entry.part for entry in read_split(file)} == before
    for path in broken:  # put right, they are new images, and no old one moves
        path.write_bytes((path.parent / "0.png").read_bytes())
    _, later = read_parted("data", {})
    assert len(later) == 8


def test_a_copy_that_is_broken_too_is_counted(tmp_path: Path) -> None:
    [cat, dog] = write_broken(tmp_path / "data")
    dog.write_bytes(cat.read_bytes())
    table = hashed(read_table("data"))
    kept = without_unreadable(table, look_at_table(table))
    assert len(kept) == 6
    assert [note.partition(":")[0] for note in kept.notes] == ["Left out (2 images)"]
    digest = table.samples["hash"][table.samples["source"] == str(cat)].iloc[0]
    assert without_unreadable(table, look_at_table(table), refuse=True, known={digest}) is table
    fine = table.take([0])
    assert without_unreadable(fine, look_at_table(fine), refuse=True) is fine


def test_of_many_broken_images_the_first_few_are_told_at_length(tmp_path: Path) -> None:
    write_scenes(tmp_path / "data", each=2)
    for number in range(11):
        (tmp_path / "data" / "cat" / f"b{number}.png").write_bytes(f"broken {number}".encode())
    table = hashed(read_table("data"))
    *told, rest = without_unreadable(table, look_at_table(table)).notes
    assert [f"b{number}.png" in note for number, note in zip((0, 1, 2, 3, 4, 5, 6, 7), told, strict=True)] == [True] * 8
    assert rest == "Left out likewise (3): cat/b8.png, cat/b9.png, cat/b10.png."


def test_a_class_of_broken_images_alone_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_broken(tmp_path / "data")
    (tmp_path / "data" / "owl").mkdir()
    (tmp_path / "data" / "owl" / "0.png").write_bytes(b"no owl")
    said = "Left out of the classes, as no image of them can be read: owl."
    assert main(["train", "data", "--out", "run", *QUICK]) == 0
    assert said in capsys.readouterr().err
    assert load_run("run").classes == ("cat", "dog")
    write_scenes(tmp_path / "more", ("cat", "cow"), each=30)
    (tmp_path / "more" / "owl").mkdir()
    (tmp_path / "more" / "owl" / "0.png").write_bytes(b"no owl")
    assert main(["extend", "run", "more", "--out", "extended", "--json"]) == 0
    out, err = capsys.readouterr()
    assert said in err
    assert json.loads(out)["added"]["classes"] == ["cow"]
    assert load_run("extended").classes == ("cat", "dog", "cow")
    assert main(["extend", "run", "more/owl", "--as", "owl"]) == 3
    assert "None of the new images can be read. Left out: Cannot decode " in capsys.readouterr().err


def test_without_a_check_such_a_class_is_none_either(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What else is broken is found when the images are prepared."""
    write_broken(tmp_path / "data")
    (tmp_path / "data" / "owl").mkdir()
    for number in range(2):
        (tmp_path / "data" / "owl" / f"{number}.png").write_bytes(f"no owl {number}".encode())
    _, table = read_parted("data", {"data__check": False})
    assert table.classes == ("cat", "dog")
    assert table.samples["label"].value_counts().to_dict() == {"cat": 4, "dog": 4}
    said = "Left out of the classes, as no image of them can be read: owl. The first: Cannot decode "
    [note] = [note for note in table.notes if note.startswith("Left out of")]
    assert note.startswith(said)
    assert note in capsys.readouterr().err
    assert [Path(entry.path).parent.name for entry in read_split(Path("data.split.csv"))].count("owl") == 0
    with pytest.raises(DataError, match=r"^No image of these classes can be read: owl; the first: .*0\.png"):
        read_parted("data", {"data__check": False, "data__unreadable": "refuse"})


def test_a_class_is_known_by_boxes_too(tmp_path: Path) -> None:
    """Image 2, of owls and a cat, is broken; a cat is elsewhere too."""
    from tenfold.commands.decodable import without_lost_classes

    write_broken(tmp_path / "data")
    whole = hashed(read_table("data"))
    broken = [row for row, source in enumerate(whole.samples["source"]) if "broken" in source]
    fine = [row for row in range(len(whole)) if row not in broken]
    table = whole.take([*fine[:2], broken[0]]).assign(label=None)
    found = pd.DataFrame({"sample": [0, 1, 2, 2], "label": ["cat", "dog", "owl", "cat"]})
    boxes = found.assign(x1=1.0, y1=1.0, x2=9.0, y2=9.0, ignore=False).astype(BOX_COLUMNS)[[*BOX_COLUMNS]]
    kept = without_lost_classes(replace(table, boxes=boxes, classes=("cat", "dog", "owl")))
    assert kept.classes == ("cat", "dog")
    assert kept.samples["source"].tolist() == whole.samples["source"].iloc[fine[:2]].tolist()
    assert kept.boxes is not None
    assert kept.boxes["label"].tolist() == ["cat", "dog"]
    same = replace(table, boxes=boxes[boxes["label"] != "owl"].reset_index(drop=True), classes=("cat", "dog"))
    assert without_lost_classes(same) is same
    with pytest.raises(DataError, match=r"^No image of these classes can be read: cat; the first"):
        without_lost_classes(whole.take(broken[:1]))


def test_the_run_has_what_could_be_read_and_its_page_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_broken(tmp_path / "data")
    assert main(["train", "data", "--out", "run", "--json", *QUICK]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == {"train": 2, "validation": 2, "test": 2}
    run = load_run("run")
    assert sum("broken.png" in note for note in run.environment["notes"]) == 2
    assert run.findings["findings"][0]["kind"] == "unreadable"
    assert main(["evaluate", "run", "--part", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 2
    assert main(["train", "--resume", "run"]) == 0


def test_minutes_of_any_model_count_from_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tenfold.commands import train as train_command

    write_scenes(tmp_path / "data", each=4)
    late = iter([time.monotonic() - 301])  # as if reading had taken five minutes and a second, and no check
    clock = SimpleNamespace(monotonic=lambda: next(late, time.monotonic()))
    monkeypatch.setattr(train_command, "time", clock)
    monkeypatch.setattr(train_command, "_tell_time", lambda *given: None)
    assert main(["train", "data", "--out", "run", "--minutes", "5", "--policy", "none", *QUICK]) == 2
    assert (
        "The time limit of 300 s was over before the training began; give more (--minutes)" in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()
