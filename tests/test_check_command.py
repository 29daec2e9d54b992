"""What `tenfold check` says: the command to type next, what is refused at once, and what an answer does not reach."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from tenfold import check
from tenfold.__main__ import main
from tenfold.check import price as prices
from tenfold.check import survey as surveys
from tenfold.check.signature import sign_image, stack_signatures
from tenfold.images import content as contents
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import PARTS
from tenfold.split import read_split
from tenfold.train import train_model
from tests.toys import quick_recipe, save, scene, write_scenes, write_shapes

Capture = pytest.CaptureFixture[str]
PATTERN = r"(patient-\d+)"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def next_words(out: str) -> list[str]:
    """The command that was said to come next."""
    [line] = [line for line in out.splitlines() if line.startswith("Next")]
    return shlex.split(line.split(": ", 1)[1])


def write_patients(folder: Path) -> Path:
    for patient in range(12):
        for number in range(2):
            name = f"patient-{patient}-{'pq'[number]}.png"
            save(folder / "ab"[patient % 2] / name, scene(10 * patient + number))
    return folder


# The next command


def test_the_next_command_keeps_patients_together(tmp_path: Path, capsys: Capture) -> None:
    write_patients(tmp_path / "cells")
    assert main(["check", "cells", "--groups-from", PATTERN, "--reader", "folder"]) == 0
    words = next_words(capsys.readouterr().out)
    assert words == ["tenfold", "split", "cells", f"--groups-from={PATTERN}", "--reader", "folder"]
    assert main(words[1:]) == 0
    parts: dict[str, set[str]] = {}
    for entry in read_split("cells.split.csv"):
        parts.setdefault(entry.group, set()).add(entry.part)
    assert len(parts) == 12
    assert all(len(found) == 1 for found in parts.values())
    words = next_words(capsys.readouterr().out)
    assert words == ["tenfold", "train", "cells", f"--data.group-pattern={PATTERN}", "--data.reader", "folder"]


def test_the_check_to_see_the_images_is_the_same_check(tmp_path: Path, capsys: Capture) -> None:
    folder = write_patients(tmp_path / "cells")
    save(folder / "a" / "patient-0-dark.png", (scene(900) * 0.05).astype(np.uint8))
    assert main(["split", "cells", "--out", "s.csv", "--groups-from", PATTERN]) == 0
    given = ["--groups-from", PATTERN, "--split", "s.csv", "--against", "cells", "--allow-truncated"]
    capsys.readouterr()
    assert main(["check", "cells", *given]) == 1
    words = next_words(capsys.readouterr().out)
    same = ["tenfold", "check", "cells", f"--groups-from={PATTERN}", "--allow-truncated", "--against", "cells"]
    assert words == [*same, "--split", "s.csv", "--page", "check.html"]
    assert main(words[1:]) == 1
    assert next_words(capsys.readouterr().out) == [*same, "--split", "s.csv", "--fix", "repaired.csv"]


def test_what_split_would_not_keep_whole_is_not_promised(tmp_path: Path, capsys: Capture) -> None:
    save(tmp_path / "data" / "train" / "a" / "1.png", scene(0))
    save(tmp_path / "data" / "test" / "a" / "1-resized.png", scene(0)[:, ::-1])
    for number in range(6):
        save(tmp_path / "data" / "train" / "ab"[number % 2] / f"{'pqrstu'[number]}.png", scene(10 + number))
        save(tmp_path / "data" / "test" / "ab"[number % 2] / f"{'vwxyzk'[number]}.png", scene(20 + number))
    assert main(["check", "data"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"Copies +decide +2", out)
    assert "For tenfold split" not in out
    main(["split", "data"])
    said = capsys.readouterr().err
    assert "each kept in one part" not in said
    assert "to several parts, which flatters the result (2)" in said
    assert "tenfold check DATA --fix OUT.csv keeps the later one" in said


# Refused at once


def test_what_cannot_be_listed_is_refused_before_anything_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    images = [save(tmp_path / f"{number}.png", scene(number)).read_bytes() for number in range(4)]
    rows = pa.table({"image": [{"bytes": content, "path": None} for content in images], "label": [0, 1, 0, 1]})
    pa.parquet.write_table(rows, tmp_path / "images.parquet")
    monkeypatch.setattr(check, "look_at_table", None)
    monkeypatch.setattr(check, "check_table", None)
    assert main(["check", "images.parquet", "--fix", "clean.csv"]) == 2
    assert "--fix writes a listing of files" in capsys.readouterr().err
    assert not Path("clean.csv").exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in "run", its images in "shapes" and their parts in "shapes.csv"; some test images are copies."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        folder = write_shapes(place / "shapes", 12)
        parts = {path: PARTS[max(int(path.stem) - 9, 0)] for path in sorted(folder.rglob("*.png"))}
        for name in ("bar", "disc", "ring"):
            copy = folder / name / "copy.png"
            shutil.copy(folder / name / "000.png", copy)
            parts[copy] = "test"
        lines = [f"{path},{path.parent.name},{part}" for path, part in parts.items()]
        (place / "shapes.csv").write_text("\n".join(["path,label,part", *lines]))
        train_model(read_table(place / "shapes.csv"), quick_recipe(train={"epochs": 1}), place / "run")
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained / "run", tmp_path / "run"))


def test_a_run_without_parts_is_refused_at_once(
    trained: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    frame = pd.read_parquet(run / "table.parquet")
    frame["part"] = "train"
    frame.to_parquet(run / "table.parquet")
    monkeypatch.setattr(check, "look_at_table", None)
    monkeypatch.setattr(check, "check_table", None)
    assert main(["check", str(trained / "shapes.csv"), "--price", "run"]) == 2
    assert "--price needs a run with a test or a validation part" in capsys.readouterr().err


# What an answer does not reach


def listing(trained: Path, *parts: str) -> str:
    """The images of these parts of the run alone, under a name of its own."""
    lines = (trained / "shapes.csv").read_text().splitlines()
    kept = [line.rsplit(",", 1)[0] for line in lines[1:] if line.rsplit(",", 1)[1] in parts]
    Path("some.csv").write_text("\n".join(["path,label", *kept]) + "\n")
    return "some.csv"


@pytest.mark.parametrize("option", ["--run", "--price"])
def test_every_file_is_read_once_for_its_hash(
    trained: Path, run: Path, option: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    command = ["check", listing(trained, *PARTS), option, str(run), "--json"]
    main(command)  # from here on the cache knows all images, and the run its answers
    found, digest, hashes = json.loads(capsys.readouterr().out), contents._digest, []

    def count(*content: Any) -> contents.Digest:
        hashes.append(digest(*content))
        return hashes[-1]

    monkeypatch.setattr(contents, "_digest", count)
    main(command)
    assert json.loads(capsys.readouterr().out) == found
    assert len(hashes) == found["images"]


@pytest.mark.parametrize(
    ("option", "part", "lacked"), [("--price", "validation", "30 train"), ("--run", "train", "3 validation")]
)
def test_no_answer_is_given_from_data_that_lack_what_it_compares(
    trained: Path, run: Path, capsys: Capture, option: str, part: str, lacked: str
) -> None:
    assert main(["check", listing(trained, part), option, "run"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{option} compares the images of run with the data, and some.csv has none of its {lacked} images" in said
    assert "so nothing could be found; give the data that it was trained on." in said


def test_other_data_are_no_all_clear(tmp_path: Path, run: Path, capsys: Capture) -> None:
    write_scenes(tmp_path / "other")
    for option in ("--price", "--run"):
        assert main(["check", "other", option, "run"]) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert f"{option} compares the images of run with the data, and other has none of its" in said


def test_what_lacks_is_counted(trained: Path, run: Path, capsys: Capture) -> None:
    path = Path(listing(trained, "train", "test"))
    rows = [line for line in path.read_text().splitlines() if not line.endswith(("copy.png,bar", "ring/003.png,ring"))]
    path.write_text("\n".join(rows) + "\n")
    main(["check", "some.csv", "--price", "run"])
    said = " ".join(capsys.readouterr().err.split())
    assert "some.csv lacks 1 of the 30 train images of run: nothing is found in these." in said
    assert "some.csv lacks 3 of the 3 validation images of run: nothing is found in these." in said
    assert "of the 6 test images" not in said  # the copy has the content of a training image, which is here


def test_without_a_leak_that_reaches_the_run_the_words_are_as_wide_as_the_data(
    trained: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(check, "leaked_hashes", lambda findings, part: set())
    main(["check", listing(trained, "train", "test"), "--price", "run"])
    said = " ".join(capsys.readouterr().err.split())
    assert "No price: no labelled test image of run is leaked by what is here. None was looked at." in said
    assert "nothing flatters it" not in said


def test_a_folder_that_lacks_folds_says_so(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    shutil.copytree(trained / "run", tmp_path / "cv" / "repeat1-fold1")
    main(["check", listing(trained, *PARTS), "--run", "cv"])
    said = " ".join(capsys.readouterr().err.split())
    assert "The folds in cv tested 3 of their 33 images: some are missing" in said
    main(["check", "some.csv", "--run", "cv/repeat1-fold1", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {item["kind"] for item in told["findings"]} & {"judged", "label"}


def test_the_images_of_a_price_are_decoded_once(
    trained: Path, run: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    real, asked = prices.labelled_leaks, []
    monkeypatch.setattr(prices, "labelled_leaks", lambda *all: asked.append(1) or real(*all))
    monkeypatch.setattr(check, "labelled_leaks", prices.labelled_leaks)
    main(["check", str(trained / "shapes.csv"), "--price", "run", "--json"])
    assert json.loads(capsys.readouterr().out)["price"]["leaked"] == 3
    assert len(asked) == 1


# Files that end too early


def test_check_and_split_take_cut_files_as_training_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    folder = write_scenes(tmp_path / "data")
    cut = save(folder / "cat" / "cut.jpg", scene(500))
    cut.write_bytes(cut.read_bytes()[:-1500])
    assert main(["check", "data", "--json"]) == 1
    [unreadable] = json.loads(capsys.readouterr().out)["findings"]
    assert "--allow-truncated takes what is left of a cut one" in unreadable["remedy"]
    assert main(["check", "data", "--allow-truncated", "--fix", "clean.csv"]) == 0
    out = capsys.readouterr().out
    assert "17 images checked. To decide: 0" in out
    assert next_words(out) == ["tenfold", "split", "clean.csv", "--allow-truncated"]
    decode: Any = surveys.decode_image
    opened: list[int] = []
    monkeypatch.setattr(surveys, "decode_image", lambda content, **more: opened.append(1) or decode(content, **more))
    assert main(["split", "data", "--allow-truncated"]) == 0
    assert next_words(capsys.readouterr().out)[-1] == "--data.allow-truncated"
    assert opened == []  # known from the check


# Smaller things


def write_labels(folder: Path) -> Path:
    """Eight images with a box of class 0 each and two with one of class 1; the labels of two of them are damaged."""
    for number in range(8):
        save(folder / "images" / f"{number}.png", scene(number))
        label = folder / "labels" / f"{number}.txt"
        label.parent.mkdir(exist_ok=True)
        box, comma = "0.5 0.5 0.3 0.3", "0.5 0,5 0.3 0.3"
        label.write_text(f"0 {comma if number < 2 else box}\n" + (f"1 {box}\n" if number in (2, 3) else ""))
    (folder / "classes.txt").write_text("red\nwhite\n")
    return folder


def test_boxes_are_counted(tmp_path: Path, capsys: Capture) -> None:
    write_labels(tmp_path / "cells")
    main(["check", "cells"])
    assert "6 images checked, 8 boxes of 2 classes (red 6, white 2). To decide: " in capsys.readouterr().out
    main(["check", "cells", "--json"])
    assert json.loads(capsys.readouterr().out)["boxes"] == {"red": 6, "white": 2}
    assert main(["split", "cells", "--no-check"]) == 0
    assert "6 images, 8 boxes of 2 classes (red 6, white 2)\n" in capsys.readouterr().out
    assert main(["split", "cells", "--no-check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boxes"] == {"red": 6, "white": 2}
    write_scenes(tmp_path / "data")
    main(["check", "data", "--json"])
    assert json.loads(capsys.readouterr().out)["boxes"] is None


def test_what_was_left_out_while_reading_is_in_every_answer(tmp_path: Path, capsys: Capture) -> None:
    write_labels(tmp_path / "cells")
    main(["check", "cells", "--page", "check.html"])
    out, err = capsys.readouterr()
    lost = [line for line in err.splitlines() if "as its annotation is damaged" in line]
    assert len(lost) == 2
    assert re.search(r"notes: \d+\. Said above of the data: 2\.", out)
    page = (tmp_path / "check.html").read_text(encoding="utf-8")
    assert "What was noted of the images (2)" in page
    assert page.count("as its annotation is damaged") == 2
    main(["check", "cells", "--json"])
    assert json.loads(capsys.readouterr().out)["notes"] == lost


def test_folds_name_the_split_that_they_follow(tmp_path: Path, capsys: Capture) -> None:
    write_scenes(tmp_path / "data")
    assert main(["split", "data", "--folds", "2"]) == 0
    assert f"the test part is that of {tmp_path / 'data.split.csv'}" in capsys.readouterr().out


def test_a_survey_has_a_thread_for_each_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = surveys.ThreadPoolExecutor, []
    monkeypatch.setattr(surveys, "ThreadPoolExecutor", lambda count, **more: asked.append(count) or real(count, **more))
    monkeypatch.setattr(surveys, "cores", lambda: 7)
    surveys.survey_table(hashed(read_table(write_scenes(tmp_path / "data", each=2))))
    assert asked == [7]


def test_all_signatures_are_not_copied() -> None:
    signatures = stack_signatures([sign_image(scene(number)) for number in range(3)])
    assert signatures.take([0, 1, 2]) is signatures
    assert np.array_equal(signatures.take([1, 0, 2]).digest, signatures.digest[[1, 0, 2]])
    assert len(signatures.take([])) == 0
