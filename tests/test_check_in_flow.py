"""The check within split and train: copies known from the cache, kept in one part, and what was found in the run."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tenfold
from tenfold.__main__ import main
from tenfold.check import check_table, duplicates, findings_of, look_at_table, stored
from tenfold.check.duplicates import Duplicate
from tenfold.check.findings import Evidence, Finding, Findings, gather
from tenfold.check.pairs import Pair, near_pairs
from tenfold.check.signature import Signatures, sign_image, stack_signatures
from tenfold.check.stored import store_folder
from tenfold.commands import look
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import Table, make_samples
from tenfold.recipe import Recipe, read_recipe
from tenfold.report import write_report
from tenfold.run import load_run
from tenfold.split import apply_split, read_split, split_table, write_split
from tests.toys import quick_recipe, save, scene, write_scenes, write_shapes

Capture = pytest.CaptureFixture[str]
TOGETHER = (
    "20 images belong to 10 groups, sets of copies or rows of shots (those with an image in common are one), each kept "
    "in one part."
)
QUICK = "--epochs 1 --model plain --model.width 4 --size 16 --train.precision float32 --train.threads 1".split()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def test_images_without_a_label_take_no_part_in_a_training(tmp_path: Path, capsys: Capture) -> None:
    write_shapes(tmp_path / "shapes")
    files = sorted((tmp_path / "shapes").rglob("*.png"))
    rows = [
        f"{file.relative_to(tmp_path)},{file.parent.name if number else ''},train" for number, file in enumerate(files)
    ]
    rows[1::4] = [row.replace(",train", ",validation") for row in rows[1::4]]
    (tmp_path / "shapes.csv").write_text("\n".join(["path,label,part", *rows, ""]))
    assert main(["train", "shapes.csv", "--no-check", "--out", "run", *QUICK]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"Left out of training and validation, as they have no label (1): {files[0].name}." in said
    assert len(load_run(Path("run")).table) == len(files) - 1


def parts_of(table: Table) -> dict[str, str | None]:
    """The part of each image by its file name."""
    pairs = zip(table.samples["source"], table.samples["part"], strict=True)
    return {Path(source).name: part if isinstance(part, str) else None for source, part in pairs}


def write_copies(folder: Path, numbers: range = range(6)) -> Path:
    """Scenes, each with its mirror image of a smaller size beside it under a name that says nothing."""
    for number in numbers:
        image = Image.fromarray(scene(number))
        save(folder / "ab"[number % 2] / f"{number}-original.png", np.asarray(image))
        smaller = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((100, 75), Image.Resampling.BICUBIC)
        save(folder / "ab"[number % 2] / f"x{97 * (number + 3) % 1000}.png", np.asarray(smaller))
    return folder


def checked(folder: Path) -> Table:
    table = hashed(read_table(folder))
    return check_table(table).keep_together(table)


# Pairs from the cache


def signed(numbers: list[int]) -> tuple[list[np.ndarray], Signatures]:
    """Scenes and their mirror images, by their digests."""
    images = [scene(number) for number in numbers]
    images += [image[:, ::-1] for image in images[::2]]
    signatures = stack_signatures([sign_image(image) for image in images])
    order = np.argsort([digest.tobytes().hex() for digest in signatures.digest])
    return [images[place] for place in order], signatures.take(order)


def named(signatures: Signatures, pairs: list[Pair] | list[Duplicate]) -> set[frozenset[str]]:
    names = [digest.tobytes().hex() for digest in signatures.digest]
    return {frozenset((names[pair.first], names[pair.second])) for pair in pairs}


def test_what_was_compared_is_not_compared_again(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[int, int]] = []
    real = duplicates.find_duplicates

    def counted(signatures: Signatures, against: Signatures | None = None, **more: Any) -> Any:
        compared.append((len(signatures), len(against) if against is not None else 0))
        return real(signatures, against, **more)

    monkeypatch.setattr(duplicates, "find_duplicates", counted)
    images, signatures = signed(list(range(8)))
    first = near_pairs(signatures, images.__getitem__)
    assert len(first) == 4
    assert all(pair.first < pair.second and pair.relation == "mirrored" for pair in first)
    assert near_pairs(signatures, images.__getitem__) == first
    assert compared == [(12, 0)]
    more, both = signed(list(range(10)))
    found = near_pairs(both, more.__getitem__)
    assert compared == [(12, 0), (3, 0), (3, 12)]
    assert len(found) == 5
    assert named(both, found) == named(both, real(both, pixels=more.__getitem__))
    assert len(list(store_folder("pairs").parent.rglob("pairs-*.npz"))) == 1  # the one for fewer images is in this one
    few = both.take(range(0, 15, 2))
    assert named(few, near_pairs(few, more[::2].__getitem__)) < named(both, found)
    assert len(compared) == 3


def test_a_cache_that_cannot_be_written_loses_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    images, signatures = signed([0, 1])
    near_pairs(signatures, images.__getitem__)
    [path] = store_folder("pairs").parent.rglob("pairs-*.npz")
    more, both = signed([0, 1, 2])

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(stored, "write_file", refuse)
        found = near_pairs(both, more.__getitem__)
    assert len(found) == 2
    assert list(path.parent.glob("pairs-*.npz")) == [path]  # what was known before is known still
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        assert near_pairs(both, more.__getitem__) == found
    assert len(list(path.parent.glob("pairs-*.npz"))) == 2


def test_a_damaged_search_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    images, signatures = signed([0, 1])
    first = near_pairs(signatures, images.__getitem__)
    [path] = store_folder("pairs").parent.rglob("pairs-*.npz")
    for content in (b"", path.read_bytes()[:-100], b"PK" + path.read_bytes()):
        path.write_bytes(content)
        assert near_pairs(signatures, images.__getitem__) == first
    assert near_pairs(signatures, images.__getitem__, allow_truncated=True) == first
    assert len(list(store_folder("pairs").parent.rglob("pairs-*.npz"))) == 2
    monkeypatch.setenv("TENFOLD_CACHE_GIB", "0")
    assert near_pairs(signatures, images.__getitem__) == first


def test_a_turn_is_named_from_the_first_image_on() -> None:
    assert Pair(3, 1, "turned by 90°").ordered() == Pair(1, 3, "turned by 270°")
    assert Pair(3, 1, "brighter").ordered() == Pair(1, 3, "darker")
    assert Pair(3, 1, "mirrored").ordered() == Pair(1, 3, "mirrored")


def test_a_second_check_finds_the_same_and_loads_nothing_large(tmp_path: Path) -> None:
    folder = write_copies(tmp_path / "data", range(12))
    first = check_table(read_table(folder)).to_json()
    assert {finding["kind"] for finding in first["findings"]} == {"copies"}
    code = (
        "import sys, json, tenfold; found = tenfold.check_table(tenfold.read_table(sys.argv[1])).to_json();"
        "print(json.dumps([found, sorted({'torch', 'scipy', 'sklearn', 'matplotlib'} & set(sys.modules))]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [json.loads(json.dumps(first)), []]


# Sets and the split


def test_sets_are_named_by_content_and_leave_groups_alone() -> None:
    hashes = [f"{number:x}" * 32 for number in range(9)]
    samples = {"source": [f"/{name}.png" for name in "abcdefghi"], "hash": hashes, "label": ["a"] * 9}
    table = Table(make_samples(samples | {"group": ["g", None, *[None] * 7]}, 9), ("a",))
    sets = {
        "copies": [Evidence((5, 4)), Evidence((4, 2, 7))],
        "bursts": [Evidence((0, 1))],
        "series": [Evidence((3, 8))],
    }
    found = [Finding(kind, False, 2, "", "", "", tuple(items)) for kind, items in sets.items()]
    tied = gather(table, found).keep_together(table)
    assert tied.alike == {hashes[row]: "alike-222222222222" for row in (2, 4, 5, 7)} | {
        hashes[row]: "alike-000000000000" for row in (0, 1)
    }
    assert tied.samples.equals(table.samples)
    order = [8, 3, 0, 5, 1, 7, 4, 2, 6]
    assert gather(table, found).keep_together(table.take(order)).alike == tied.alike
    twice = table.assign(hash=[hashes[0]] * 2 + hashes[2:])
    assert gather(twice, found[1:2]).keep_together(twice).alike == {}  # one content, which ties by itself


def test_near_copies_stay_in_one_part_whatever_they_are_called(tmp_path: Path) -> None:
    table = checked(write_copies(tmp_path / "data", range(10)))
    split = split_table(table, validation=0.3, test=0.3)
    parts = parts_of(split)
    assert set(parts.values()) == {"train", "validation", "test"}
    for number in range(10):
        assert parts[f"{number}-original.png"] == parts[f"x{97 * (number + 3) % 1000}.png"]
    assert TOGETHER in split.notes
    loose = split_table(replace(table, alike={}), validation=0.3, test=0.3)
    assert any(
        parts_of(loose)[f"{n}-original.png"] != parts_of(loose)[f"x{97 * (n + 3) % 1000}.png"] for n in range(10)
    )
    for number, path in enumerate(sorted((tmp_path / "data").rglob("*.png"), key=lambda path: path.name[::-1])):
        path.rename(path.with_name(f"renamed-{'pqrstuvwxyzklmnoabcde'[number]}.png"))
    again = split_table(checked(tmp_path / "data"), validation=0.3, test=0.3)
    assert dict(zip(again.samples["hash"], again.samples["part"], strict=True)) == dict(
        zip(split.samples["hash"], split.samples["part"], strict=True)
    )


def test_check_counts_what_is_kept_together_as_split_does() -> None:
    """Copies and rows of shots that share an image, or a group, are one set for both."""
    hashes = [f"{number:x}" * 32 for number in range(12)]
    samples = {"source": [f"/{name}.png" for name in "abcdefghijkl"], "hash": hashes, "label": ["a"] * 12}
    groups = ["g", None, None, "g", *[None] * 8]
    table = Table(make_samples(samples | {"group": groups}, 12), ("a",))
    sets = {"copies": [Evidence((0, 1)), Evidence((4, 5))], "bursts": [Evidence((1, 2)), Evidence((6, 7, 8))]}
    found = [Finding(kind, False, 2, "", "", "", tuple(items)) for kind, items in sets.items()]
    long = Finding("series", False, 2, "", "", "", (Evidence((9, 10)),))
    findings = gather(table, [*found, long])
    assert findings.together == (4 + 2 + 3, 3, 3)
    said = split_table(findings.keep_together(table)).notes[0]
    assert said == str(findings.together)
    assert said == (
        "9 images belong to 3 groups, sets of copies or rows of shots (those with an image in common are one), each "
        "kept in one part; 3 more are tied to none."
    )
    corners = {name: [0.0] * 12 for name in ("x1", "y1", "x2", "y2")}
    regions = table.assign(source=["/a.png"] * 2 + samples["source"][2:], **corners)
    assert gather(regions, [long]).together == (3, 1, 9)  # the group, and what is of one image


def test_adding_removing_and_renaming_move_no_image_and_copies_follow(tmp_path: Path) -> None:
    folder, file = write_scenes(tmp_path / "data", each=10), tmp_path / "data.split.csv"
    write_split(split_table(checked(folder), validation=0.2, test=0.2), file)
    old = {entry.hash: entry.part for entry in read_split(file)}
    tested = next(Path(entry.path) for entry in read_split(file) if entry.part == "test")
    with Image.open(tmp_path / tested) as image:
        save(folder / tested.parent.name / "copy.jpg", np.asarray(image)[:, ::-1], quality=85)
    (tmp_path / tested).rename((tmp_path / tested).with_name("zebra.png"))
    removed = next(path for path in sorted(folder.rglob("*.png")) if path.name not in ("zebra.png", tested.name))
    removed.unlink()
    now = apply_split(checked(folder), file)
    parts = dict(zip(now.samples["hash"], now.samples["part"], strict=True))
    assert {digest: part for digest, part in parts.items() if digest in old} == {
        digest: part for digest, part in old.items() if digest in parts
    }
    assert len(old.keys() - parts.keys()) == 1
    assert parts_of(now)["copy.jpg"] == "test"
    assert any("1 to test; 1 of them with what they belong to" in note for note in now.notes)


def test_old_images_that_turn_out_copies_are_a_leak_and_stay(tmp_path: Path) -> None:
    folder = write_copies(tmp_path / "data", range(4))
    table, file = hashed(read_table(folder)), tmp_path / "data.split.csv"
    names = [Path(source).name for source in table.samples["source"]]
    given = ["train" if "original" in name else "test" for name in names]
    write_split(table.assign(part=given), file)
    looked = look_at_table(table)
    now = apply_split(findings_of(looked).keep_together(table), file)
    assert [parts_of(now)[name] for name in names] == given
    findings = findings_of(looked, now.samples["part"].tolist())
    assert [(finding.kind, finding.images) for finding in findings.decisions if finding.kind != "small_class"] == [
        ("leak", 8)
    ]
    assert "images that belong together to several parts" in now.notes[0]


# The commands


def test_split_checks_unless_told_not_to(tmp_path: Path, capsys: Capture) -> None:
    write_copies(tmp_path / "data", range(10))
    assert main(["split", "data", "--validation", "0.3", "--test", "0.3"]) == 0
    said = capsys.readouterr()
    assert TOGETHER in said.err
    assert "Next: tenfold train data\n" in said.out
    main(["check", "data"])
    assert f"For tenfold split {TOGETHER}" in capsys.readouterr().out  # both count the same
    with_check = {entry.path: entry for entry in read_split(Path("data.split.csv"))}
    assert all(entry.alike.startswith("alike-") for entry in with_check.values())
    shutil.rmtree(tmp_path / "cache")
    assert main(["split", "data", "--validation", "0.3", "--test", "0.3", "--no-check", "--out", "loose.csv"]) == 0
    said = capsys.readouterr()
    assert "belong to" not in said.err
    assert "Next: tenfold train data --split loose.csv --no-check\n" in said.out
    assert not any(entry.alike for entry in read_split(Path("loose.csv")))
    assert not list((tmp_path / "cache").rglob("*.npz"))


@pytest.fixture(scope="module")
def flowing(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a training on images with copies, one of them dark, and what it said."""
    place = tmp_path_factory.mktemp("flow")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        write_copies(place / "data", range(12))
        save(place / "data" / "a" / "dark.png", (scene(900) * 0.05).astype(np.uint8))
        (place / "data" / "b" / "bad.png").write_bytes(b"no image")
        with contextlib.redirect_stderr(io.StringIO()) as said:
            assert main(["train", "data", "--out", "run", *QUICK]) == 0, said.getvalue()
    return place, said.getvalue()


def test_train_says_in_a_line_what_was_found_and_keeps_it(flowing: tuple[Path, str], tmp_path: Path) -> None:
    place, said = flowing
    [line] = [line for line in said.splitlines() if line.startswith("Check: ")]
    assert line == "Check: 2 to decide, notes: 1; to see them: tenfold check data --page check.html"
    run = load_run(place / "run")
    findings = Findings.from_json(run.findings)
    assert [finding.kind for finding in findings.found] == ["unreadable", "dark", "copies"]
    parts = dict(zip(run.table.samples["hash"], run.table.samples["part"], strict=True))
    for item in findings.found[2].sets:
        one, two = (findings.samples[row] for row in item.rows)
        assert one.part == two.part == parts[one.hash] == parts[two.hash]
    groups = run.table.samples.set_index("hash")["group"]
    assert groups.notna().sum() == 24  # what is alike counts as one in the intervals
    assert "over " in run.evaluations["validation"]["figures"]["accuracy"]["method"]


def test_the_report_shows_what_was_found(flowing: tuple[Path, str], tmp_path: Path) -> None:
    shutil.copytree(flowing[0] / "run", tmp_path / "run")
    text = write_report(load_run(tmp_path / "run")).read_text("utf-8")
    section = text.split('<section id="check"')[1].split("</section>")[0]
    assert "2 findings need a decision in 26 images, and there is 1 note." in section
    assert "Dark images" in section
    assert section.count("data:image/") == 1 + 2 * 6  # the dark one, and the first six sets of two
    assert "bad.png is not in the run" in section or "bad.png cannot be read" in section
    (tmp_path / "run" / "findings.json").unlink()
    assert '<section id="check"' not in write_report(load_run(tmp_path / "run")).read_text("utf-8")


def test_the_recipe_says_whether_to_check(flowing: tuple[Path, str], tmp_path: Path, capsys: Capture) -> None:
    place, _ = flowing
    assert read_recipe(place / "run" / "recipe.toml").data.check is True
    shutil.copytree(place / "data", tmp_path / "data")
    shutil.copy(place / "data.split.csv", tmp_path)
    assert main(["train", "data", "--no-check", "--out", "plain", *QUICK]) == 0
    assert "Check:" not in capsys.readouterr().err
    assert load_run(tmp_path / "plain").findings == {}
    recipe = tmp_path / "plain" / "recipe.toml"
    assert read_recipe(recipe).data.check is False
    assert main(["train", str(recipe), "--out", "again"]) == 0
    assert "Check:" not in capsys.readouterr().err
    assert main(["train", str(recipe), "--check", "--out", "third"]) == 0
    assert "Check: 2 to decide" in capsys.readouterr().err
    assert main(["train", "--resume", "third"]) == 0
    assert load_run(tmp_path / "third").findings["decisions"] == 2


def test_folds_keep_copies_together_and_each_run_its_findings(tmp_path: Path) -> None:
    write_copies(tmp_path / "data", range(12))
    assert main(["train", "data", "--folds", "2", "--out", "cv", *QUICK]) == 0
    runs = sorted((tmp_path / "cv").glob("*-fold*/recipe.toml"))
    assert len(runs) == 2
    for path in runs:
        run = load_run(path.parent)
        findings = Findings.from_json(run.findings)
        assert findings.find("leak") is None
        held = {findings.samples[row].part for item in findings.find("copies").sets for row in item.rows}  # type: ignore[union-attr]
        assert {"train", "validation"} <= held
        for item in findings.find("copies").sets:  # type: ignore[union-attr]
            assert len({findings.samples[row].part for row in item.rows}) == 1


def test_findings_that_are_handed_over_are_kept(tmp_path: Path) -> None:
    table = tenfold.read_table(write_shapes(tmp_path / "shapes", 8))
    findings = tenfold.check_table(table)
    table = tenfold.split_table(findings.keep_together(table), validation=0.2, test=0.2)
    recipe = quick_recipe(train={"epochs": 1})
    run = tenfold.train_model(table, recipe, tmp_path / "run", findings=findings.to_json())
    assert Findings.from_json(run.findings) == findings


# What is said


def test_the_line_names_what_the_check_needs_to_know(tmp_path: Path) -> None:
    findings = check_table(read_table(write_copies(tmp_path / "my data", range(3))))
    recipe = Recipe().change(
        data={"path": str(tmp_path / "my data"), "group_pattern": "(a)", "reader": "folder", "allow_truncated": True},
        split={"file": "other.csv"},
        train={"minutes": 5.0},
    )
    line = look.findings_line(findings, recipe, 11.4, "my data")
    assert line == (
        "Check: 1 to decide, notes: 1; to see them: tenfold check 'my data' --split other.csv '--groups-from=(a)' "
        "--reader folder --allow-truncated --page check.html It took 11 s, which are not of the 5 minutes of training."
    )
    quiet = recipe.change(train={"minutes": 0.0})
    assert look.findings_line(replace(findings, found=()), quiet, 11.4, "x") == "Check: nothing found."


def test_a_long_check_is_told_once_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(look, "SOON", -1.0)
    with look.watched("Checking data", "; --no-check leaves it out") as progress:
        progress(10, 3000)
        progress(20, 3000)
    line = "Checking data: looking at 3,000 images; what is seen of them is cached; --no-check leaves it out\n"
    assert capsys.readouterr().err == line
    monkeypatch.setattr(look, "SOON", 60.0)
    with look.watched("Checking data") as progress:
        progress(10, 3000)
    assert capsys.readouterr().err == ""
