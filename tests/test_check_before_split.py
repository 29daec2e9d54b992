"""What would flatter a result is said before a split stands, with its price and a remedy; and the listing of --fix."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenfold import check
from tenfold.__main__ import main
from tenfold.check import check_table, duplicates, findings_of, look_at_table
from tenfold.check import survey as surveys
from tenfold.commands import look
from tenfold.commands import split as splitting
from tenfold.commands.train import read_parted
from tenfold.images.readers import read_table
from tenfold.split import read_split
from tests.toys import save, scene, write_scenes

Capture = pytest.CaptureFixture[str]
ROWS = "Long rows of shots: 64 images seem to be taken in a row, in 4 sets, each so much of a class"
STILL = "Numbered images of one scene: 20 numbered images in 2 rows are alike, near ones no more than others"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def moving(seed: int, count: int, width: int = 120, height: int = 90) -> Iterator[np.ndarray]:
    """Frames in which 40 discs and boxes go each its own way, so that none is a copy of the one before."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    ground = draw.uniform(60, 180, 3)
    turns = draw.uniform(0, 2 * np.pi, 40)
    ways = 3 * np.stack([np.cos(turns), np.sin(turns)], 1)
    starts, reaches = draw.uniform(0, (width, height), (40, 2)), draw.uniform(8, 30, 40)
    colors, boxed = draw.uniform(0, 255, (40, 3)), draw.random(40) < 0.5
    for number in range(count):
        image = np.full((height, width, 3), ground)
        for start, way, reach, color, is_box in zip(starts, ways, reaches, colors, boxed, strict=True):
            left, top = np.abs((start + number * way) % (2 * width, 2 * height) - (width, height))
            far = np.maximum(abs(x - left), abs(y - top)) if is_box else np.hypot(x - left, y - top)
            image[far < reach] = color
        yield (image + draw.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


def still(seed: int, count: int, width: int = 120, height: int = 90) -> Iterator[np.ndarray]:
    """Frames of a camera that stands still: soft light and shade, and 40 small discs that are elsewhere in each."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    (across, down), (left, top) = draw.uniform(0.5, 1.5, 2), draw.random(2)
    ground = 127 + 70 * np.cos(np.pi * (across * x / width + left)) * np.cos(np.pi * (down * y / height + top))
    for _ in range(count):
        image = np.repeat(ground[..., None], 3, 2)
        for _ in range(40):
            left, top = draw.uniform(0, (width, height))
            image[np.hypot(x - left, y - top) < draw.uniform(3, 6)] += draw.uniform(-70, 70, 3)
        yield (image + draw.normal(0, 3, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of two videos each, 16 frames long; and scenes beside two still cameras of ten frames."""
    place = tmp_path_factory.mktemp("videos")
    for number, name in enumerate(("a/one", "a/two", "b/one", "b/two")):
        for frame, image in enumerate(moving(number, 16)):
            save(place / "videos" / f"{name}_{frame:04}.png", image)
    write_scenes(place / "cameras", ("a", "b"), 12)
    for number, name in enumerate("ab"):
        for path in (place / "cameras" / name).iterdir():
            path.rename(path.with_name("pqrstuvwxyzklm"[int(path.stem)] + ".png"))  # no numbers
        for frame, image in enumerate(still(number, 10)):
            save(place / "cameras" / name / f"cam_{frame}.png", image)
    return place


@pytest.fixture
def videos(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written / "videos", tmp_path / "videos"))


@pytest.fixture
def cameras(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written / "cameras", tmp_path / "cameras"))


def groups_in(listing: str) -> dict[str, set[str]]:
    """The groups of a listing -> the names of its videos."""
    found: dict[str, set[str]] = {}
    with Path(listing).open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found.setdefault(row["group"], set()).add(row["path"].rsplit("_", 1)[0])
    return found


def parts_by_video(split: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for entry in read_split(split):
        found.setdefault(entry.path.rsplit("_", 1)[0], set()).add(entry.part)
    return found


# Long rows of shots: videos


def test_few_long_videos_need_a_decision_before_there_is_a_split(videos: Path, capsys: Capture) -> None:
    assert main(["check", "videos", "--json"]) == 1
    [series] = [item for item in json.loads(capsys.readouterr().out)["findings"] if item["kind"] == "series"]
    assert series["needs_decision"]
    assert "second is half known, which flatters the result" in series["price"]
    assert "--fix OUT.csv gives each a group" in series["remedy"]


@pytest.mark.parametrize("command", ["split", "train"])
def test_split_and_train_say_so_before_the_split_stands(
    videos: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    said: list[tuple[str, bool]] = []
    for place in (look, splitting):
        monkeypatch.setattr(place, "say", lambda line: said.append((line, Path("videos.split.csv").exists())))
    if command == "split":
        assert main(["split", "videos"]) == 0
    else:
        read_parted("videos", {"model__name": "plain"})
    [stood] = [stood for line, stood in said if line.startswith(ROWS)]
    assert not stood
    assert Path("videos.split.csv").exists()  # it is said, and stops nothing
    assert any(len(parts) > 1 for parts in parts_by_video("videos.split.csv").values())


def test_the_remedy_keeps_each_video_in_one_part_and_is_quiet_from_then_on(videos: Path, capsys: Capture) -> None:
    main(["check", "videos", "--fix", "clean.csv", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert "Long rows of shots" not in told["fix"]["to_decide"]
    groups = groups_in("clean.csv")
    assert sorted(map(sorted, groups.values())) == [[f"videos/{name}"] for name in ("a/one", "a/two", "b/one", "b/two")]
    assert "" not in groups
    assert main(["split", "clean.csv"]) == 0
    assert "Long rows" not in capsys.readouterr().err
    assert all(len(parts) == 1 for parts in parts_by_video("clean.csv.split.csv").values())
    assert main(["split", "videos", "--groups-from", r"(\w+)_\d+", "--out", "named.csv"]) == 0
    assert "Long rows" not in capsys.readouterr().err


def test_a_split_that_keeps_each_video_whole_leaves_nothing_to_decide(videos: Path, capsys: Capture) -> None:
    looked = look_at_table(read_table(videos))
    sources = looked.data.table.samples["source"]
    whole = ["test" if "two_" in source else "train" for source in sources]
    assert findings_of(looked, whole).find("series") is None
    torn = findings_of(looked, ["test" if source.endswith("5.png") else "train" for source in sources]).find("series")
    assert torn is not None
    assert "and 4 are in more than one part" in torn.evidence
    main(["split", "videos"])
    lines = Path("videos.split.csv").read_text("utf-8").splitlines()
    made = [line.split(",") for line in lines[1:]]
    text = [",".join([digest, "test" if "two_" in line[2] else "train", *line]) for digest, _, *line in made]
    Path("videos.split.csv").write_text("\n".join([lines[0], *text]) + "\n", "utf-8")
    capsys.readouterr()
    assert main(["split", "videos"]) == 0
    assert "Long rows" not in capsys.readouterr().err


# One scene: a camera that stands still, or one person


def test_a_still_camera_is_told_and_tied_by_nobody(cameras: Path, capsys: Capture) -> None:
    assert main(["check", "cameras", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [item["kind"] for item in told["findings"]] == ["scene"]
    assert [len(item["rows"]) for item in told["findings"][0]["sets"]] == [10, 10]
    assert "--groups-from" in told["findings"][0]["remedy"]
    assert main(["split", "cameras"]) == 0
    assert STILL in capsys.readouterr().err
    assert not any(entry.alike for entry in read_split("cameras.split.csv"))
    assert main(["split", "cameras", "--json", "--out", "other.csv"]) == 0
    assert json.loads(capsys.readouterr().out)["notes"][0].startswith(STILL)
    assert main(["split", "cameras", "--groups-from", "(?:(cam)_|([a-z])[.])", "--out", "named.csv"]) == 0
    assert "one scene" not in capsys.readouterr().err


def test_pictures_of_one_person_in_numbered_files_stop_no_work(shared_data: Path) -> None:
    folder = shared_data / "orl-faces"
    paths = [folder / f"s{person}" / f"{number}.pgm" for person in (1, 2, 3, 4, 6, 7) for number in range(1, 11)]
    findings = check_table(read_table(paths, labels=[path.parent.name for path in paths]))
    assert findings.decisions == ()
    scene_note = findings.find("scene")
    assert scene_note is not None
    assert all(len({findings.samples[row].label for row in item.rows}) == 1 for item in scene_note.sets)
    tied = findings.find("bursts")
    assert tied is None or not {row for item in tied.sets for row in item.rows} & {
        row for item in scene_note.sets for row in item.rows
    }


# The listing of --fix


def two_pairs(folder: Path) -> Path:
    """Ten scenes of each class; of two of "b" there is a copy."""
    write_scenes(folder, ("a", "b"), 10)
    for number in (100, 101):
        save(folder / "b" / f"copy-{'pq'[number - 100]}.png", scene(number)[:, ::-1])
    return folder


def test_a_new_pair_does_not_change_the_names_of_the_others(tmp_path: Path, capsys: Capture) -> None:
    folder = two_pairs(tmp_path / "data")
    main(["check", "data", "--fix", "clean.csv"])
    assert main(["split", "clean.csv"]) == 0
    first = {name: group for group, names in groups_in("clean.csv").items() for name in names if group}
    save(folder / "a" / "0-copy.png", scene(0)[:, ::-1])
    save(folder / "b" / "third.png", np.asarray(Image.fromarray(scene(101)).resize((200, 150))))
    main(["check", "data", "--fix", "clean.csv"])
    again = {name: group for group, names in groups_in("clean.csv").items() for name in names if group}
    assert len(set(first.values())) == 2
    assert len(set(again.values())) == 3
    assert again["data/b/copy-p.png"] == first["data/b/copy-p.png"] == first["data/b/0.png"]
    capsys.readouterr()
    assert main(["split", "clean.csv"]) == 0
    said = capsys.readouterr().err
    assert "several parts" not in said
    assert "Left out" not in said
    parts = {entry.path: entry.part for entry in read_split("clean.csv.split.csv")}
    assert parts["data/b/third.png"] == parts["data/b/1.png"] == parts["data/b/copy-q.png"] != ""


def test_after_the_last_copy_is_gone_new_images_need_no_group(tmp_path: Path, capsys: Capture) -> None:
    folder = two_pairs(tmp_path / "data")
    main(["check", "data", "--fix", "clean.csv"])
    assert main(["split", "clean.csv"]) == 0
    for name in "pq":
        (folder / "b" / f"copy-{name}.png").unlink()
    save(folder / "a" / "new.png", scene(500))
    main(["check", "data", "--fix", "clean.csv"])
    assert set(groups_in("clean.csv")) == {""}
    capsys.readouterr()
    assert main(["split", "clean.csv"]) == 0
    assert "groups-from" not in capsys.readouterr().err
    assert {entry.path: entry.part for entry in read_split("clean.csv.split.csv")}["data/a/new.png"]


def test_what_was_put_right_by_hand_is_kept_beside_the_new_listing(tmp_path: Path, capsys: Capture) -> None:
    folder = write_scenes(tmp_path / "data", each=8)
    save(folder / "cat" / "dark.png", (scene(900) * 0.05).astype(np.uint8))
    main(["check", "data", "--fix", "clean.csv"])
    main(["check", "data", "--fix", "clean.csv"])
    assert not Path("clean.csv.bak").exists()  # the same again
    by_hand = Path("clean.csv").read_text("utf-8").replace("cat/dark.png,cat", "cat/dark.png,dog")
    for name in ("clean.csv.bak", "clean.csv.bak2"):
        Path("clean.csv").write_text(by_hand, "utf-8")
        capsys.readouterr()
        main(["check", "data", "--fix", "clean.csv"])
        assert f"What stood there is kept: {name}" in capsys.readouterr().out
        assert Path(name).read_text("utf-8") == by_hand
    assert "cat/dark.png,cat" in Path("clean.csv").read_text("utf-8")


def test_without_a_cache_a_repair_decodes_and_compares_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE_GIB", "0")
    write_scenes(tmp_path / "data", each=8)
    decoded, compared = [], []
    decode, find = surveys.decode_image, duplicates.find_duplicates
    monkeypatch.setattr(surveys, "decode_image", lambda content, **more: decoded.append(1) or decode(content, **more))
    monkeypatch.setattr(duplicates, "find_duplicates", lambda *all, **more: compared.append(1) or find(*all, **more))
    assert main(["check", "data", "--fix", "clean.csv"]) == 0
    assert (len(decoded), len(compared)) == (16, 1)


def test_what_is_known_of_a_table_is_what_a_check_of_the_listing_finds(tmp_path: Path) -> None:
    folder = two_pairs(tmp_path / "data")
    save(folder / "a" / "dark.png", (scene(900) * 0.05).astype(np.uint8))
    save(folder / "a" / "same.png", scene(3))
    known = look_at_table(read_table(folder))
    check.write_repaired(read_table(folder), findings_of(known), tmp_path / "clean.csv")
    listing = read_table(tmp_path / "clean.csv")
    quick, anew = look_at_table(listing, known=known), look_at_table(listing)
    assert sorted(quick.copies) == sorted(anew.copies)
    assert len(quick.copies) == 3
    assert findings_of(quick) == findings_of(anew)
    assert quick.data.survey.hashes == anew.data.survey.hashes
    for name, array in anew.data.survey.signatures.to_arrays().items():
        assert np.array_equal(array, quick.data.survey.signatures.to_arrays()[name])
    save(folder / "b" / "new.png", scene(0)[:, ::-1])  # something that was not looked at
    more = look_at_table(read_table(folder), known=known)
    assert len(more.copies) == 4
