"""What detectors tell of boxes: things that lack one, boxes of another class, and what is not for them to say."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenfold.__main__ import main
from tenfold.check import check_table
from tenfold.check.box_labels import box_label_findings, held_out_detections
from tenfold.check.findings import Finding
from tenfold.check.labels import SURE, sure_from
from tenfold.errors import DataError, UsageError
from tenfold.images.readers import read_table
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.metrics.detection_matching import Detections
from tenfold.models import MODELS
from tenfold.run import Run, load_run, write_json
from tenfold.split import split_table
from tenfold.tasks import box_detections
from tenfold.train import train_folds
from tests.test_box_folds import RECIPE, Seer, squares

Capture = pytest.CaptureFixture[str]
CLASSES = ("cat", "dog")
TESTED = 20
Box = tuple[Any, ...]


def table_of(rows: Sequence[Box], images: int = TESTED) -> Table:
    """Images that have a hash, and (image, x1, y1, x2, y2, label[, ignore]) boxes."""
    frame = pd.DataFrame([(*row, False)[:7] for row in rows], columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    columns = {"source": [f"{number}.png" for number in range(images)], "hash": [f"{n:032x}" for n in range(images)]}
    return Table(make_samples(columns, images), tuple(sorted(set(frame["label"]))), frame)


def said(rows: Sequence[Box], images: int = TESTED) -> dict[str, Detections]:
    """(image, x1, y1, x2, y2, label, score) as what a run found in its validation images."""
    frame = pd.DataFrame(rows, columns=["sample", "x1", "y1", "x2", "y2", "predicted", "score"])
    found = {}
    for number in range(images):
        own = box_detections(frame[frame["sample"] == number].assign(sample=0), CLASSES)
        found[f"{number:032x}"] = own
    return found


def told(table: Table, *found: dict[str, Detections]) -> dict[str, list[str]]:
    """Kind -> words of each."""
    return {one.kind: [item.words for item in one.sets] for one in box_label_findings(table, found, CLASSES)}


BOXES = [(n, 10, 10, 30, 40, CLASSES[n % 2]) for n in range(TESTED)]
FOUND = [(n, 11, 10, 30, 40, CLASSES[n % 2], 0.9 - 0.01 * n) for n in range(TESTED)]


def test_a_thing_without_a_box_is_named_with_its_class_and_corners() -> None:
    table = table_of([*BOXES[:3], *BOXES[4:]])
    [finding] = box_label_findings(table, [said(FOUND)], CLASSES)
    assert (finding.kind, finding.needs_decision, finding.images) == ("box_missing", True, 1)
    [item] = finding.sets
    assert (item.rows, item.words) == ((3,), "dog 11,10,30,40 (score 0.87)")
    assert [str(box) for box in item.boxes] == ["dog 11,10,30,40"]
    assert finding.evidence == (
        "1 thing in 1 image is seen where no box is, the surest first: of 20 detections from a score of 0.71 on, in "
        "20 images that the detector was not trained on, 95.0 % found a box of their class."
    )


def test_a_box_of_another_class_is_named() -> None:
    table = table_of([*BOXES[:4], (4, 10, 10, 30, 40, "dog"), *BOXES[5:]])
    [finding] = box_label_findings(table, [said(FOUND)], CLASSES)
    assert (finding.kind, finding.needs_decision, finding.images) == ("box_label", True, 1)
    [item] = finding.sets
    assert (item.rows, item.words) == ((4,), "dog 10,10,30,40 looks like cat (score 0.86)")
    assert item.boxes[0][:2] == (4, "dog")
    both = [*FOUND, (4, 10, 10, 30, 40, "dog", 0.95)]
    assert told(table, said(both)).keys() == {"box_judged"}, "as the detector sees its own class too, and surer"
    assert told(table, said([*FOUND, (4, 10, 10, 30, 40, "dog", 0.5)])).keys() == {"box_label"}


def test_boxes_to_ignore_and_those_of_unknown_classes_absorb_what_lies_on_them() -> None:
    rest = [*BOXES[:3], *BOXES[4:]]
    for box in (
        (3, 10, 10, 30, 40, "dog", True),
        (3, 10, 10, 30, 40, "cat", True),
        (3, 0, 0, 500, 500, "cat", True),
        (3, 10, 10, 30, 40, "lynx"),
    ):
        table = table_of([*rest, box])
        assert told(table, said(FOUND)) == {"box_judged": []}, box
        assert box_label_findings(table, [said(FOUND)], CLASSES)[0].evidence == (
            "No box is doubted, and none is missed: of 19 detections from a score of 0.71 on, in 20 images that the "
            "detector was not trained on, 100.0 % found a box of their class."
        )
    assert told(table_of([*rest, (3, 400, 400, 500, 500, "dog", True)]), said(FOUND)).keys() == {"box_missing"}


def test_neither_a_wrong_place_nor_a_second_detection_is_a_doubt() -> None:
    beside = (3, 22, 10, 42, 40, "dog", 0.99)  # IoU 0.25 with the box
    again = (2, 10, 10, 30, 39, "cat", 0.5)
    assert told(table_of(BOXES), said([*FOUND, beside])) == {"box_judged": []}
    assert told(table_of(BOXES), said([*FOUND, again])) == {"box_judged": []}


def test_one_thing_is_named_once_by_its_surest_class() -> None:
    table = table_of([*BOXES[:3], *BOXES[4:], *((n, 50, 50, 80, 80, "cat") for n in range(TESTED))])
    more = [(n, 50, 50, 80, 80, "cat", 0.95) for n in range(TESTED)]
    found = said([*FOUND, *more, (3, 10, 10, 30, 40, "cat", 0.89)])
    assert told(table, found) == {"box_missing": ["cat 10,10,30,40 (score 0.89)"]}


def test_only_the_surest_detections_say_something() -> None:
    weak = [(n, 60, 60, 80, 80, "cat", 0.3) for n in range(TESTED)]
    assert told(table_of(BOXES), said([*FOUND, *weak[:1]])).keys() == {"box_missing"}
    assert told(table_of(BOXES), said([*FOUND, *weak])) == {"box_judged": []}
    nothing = box_label_findings(table_of(BOXES), [said(weak)], CLASSES)
    assert [(one.kind, one.images) for one in nothing] == [("box_judged", TESTED)]
    assert nothing[0].evidence == (
        "No box could be judged: the doubt of a detector says something only while 85 % of its detections find a box, "
        "and not even its surest do so."
    )
    for found in ([said([])], []):
        assert [one.evidence for one in box_label_findings(table_of(BOXES), found, CLASSES)] == [nothing[0].evidence]
    assert told(table_of([]), said(FOUND)) == {"box_judged": []}


def test_how_sure_is_sure_enough_is_that_of_a_slow_search() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        score, agrees = draw.integers(0, 20, 30) / 20, draw.random(30) < 0.85
        bars = [bar for bar in score if agrees[score >= bar].mean() >= SURE]
        assert sure_from(score, agrees) == min(bars, default=np.inf)


def test_of_several_tests_of_an_image_all_must_doubt_the_same() -> None:
    table = table_of([*BOXES[:3], *BOXES[5:], (4, 10, 10, 30, 40, "dog")])
    assert told(table, said(FOUND), said(FOUND)) == {
        "box_label": ["dog 10,10,30,40 looks like cat (score 0.86)"],
        "box_missing": ["dog 11,10,30,40 (score 0.87)"],
    }
    silent = said([row for row in FOUND if row[0] not in (3, 4)])
    assert told(table, said(FOUND), silent) == {"box_judged": []}
    few = {digest: one for digest, one in silent.items() if int(digest, 16) < 3}
    assert told(table, said(FOUND), few).keys() == {"box_label", "box_missing"}, "the other did not test these images"
    assert told(table, said(FOUND), said(FOUND)).keys() == {"box_label", "box_missing"}


# Runs and the command


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Table]:
    """The folds of a toy that was trained on bright squares, with answers that we gave it, and its images."""
    place = tmp_path_factory.mktemp("boxlabels")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "seer", Seer)
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        table = split_table(squares(place / "squares", empty=()), validation=0.2, test=0.2)
        recipe = RECIPE.change(train={"epochs": 1})
        for run in train_folds(table, recipe, place / "cv", folds=2):
            answer(run)
    return place, table


def answer(run: Run) -> None:
    """Let a run have found every box of all its images, those that it was trained on too, within half a pixel."""
    boxes, samples, parts = run.table.boxes, run.table.samples, []
    assert boxes is not None
    for part in ("train", "validation", "test"):
        own = boxes[boxes["sample"].isin(np.flatnonzero(samples["part"] == part))].reset_index(drop=True)
        frame = own.assign(predicted=own["label"], score=0.9, part=part, instance=0, x1=own["x1"] + 0.5)
        parts.append(frame.assign(**{name: samples[name].iloc[own["sample"]].tolist() for name in ("hash", "source")}))
    pd.concat(parts, ignore_index=True).to_parquet(run.path / "predictions.parquet", index=False)
    evaluation = {"part": "validation", "n": 1, "look": 0, "figures": {}, "details": {}, "unreadable": {}}
    write_json(run.path / "evaluation.json", {"validation": evaluation | {"unlabeled": 0, "widened": 1.0}})


@pytest.fixture
def work(trained: tuple[Path, Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folds as cv and of the first as run, the images, and the current folder."""
    place, _ = trained
    for name in ("cv", "squares"):
        shutil.copytree(place / name, tmp_path / name)
    shutil.copytree(place / "cv" / "repeat1-fold1", tmp_path / "run")
    monkeypatch.setenv("TENFOLD_CACHE", str(place / "cache"))
    monkeypatch.setitem(MODELS, "seer", Seer)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(table: Table, without: Sequence[str] = (), flipped: Sequence[str] = (), ignored: Sequence[str] = ()) -> str:
    """Write the images with their boxes, but of the images with these hashes others."""
    assert table.boxes is not None
    lines = []
    hashes, names = table.samples["hash"].tolist(), [Path(source).name for source in table.samples["source"]]
    for row, x1, y1, x2, y2, label, _ in table.boxes[list(BOX_COLUMNS)].itertuples(index=False, name=None):
        other = {"left": "right", "right": "left"}[label] if hashes[row] in flipped else label
        corners = ["", "", "", "", ""] if hashes[row] in without else [x1, y1, x2, y2, other]
        lines.append([f"squares/{names[row]}", *corners, int(hashes[row] in ignored) if corners[0] != "" else ""])
    with Path("boxes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "x1", "y1", "x2", "y2", "label", "ignore"], *lines])
    return "boxes.csv"


def hashes_of(table: Table, part: str) -> list[str]:
    return sorted(table.part(part).samples["hash"])


def test_of_one_run_its_validation_part_alone_is_judged(work: Path, capsys: Capture) -> None:
    run = load_run(work / "run")
    held, seen = hashes_of(run.table, "validation"), hashes_of(run.table, "train")
    data = listing(run.table, without=[held[0], seen[0]], flipped=[held[1], seen[1]], ignored=[held[2]])
    assert main(["check", data, "--run", "run", "--page", "check.html", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    named = {one["kind"]: one for one in printed["findings"] if one["kind"].startswith("box_")}
    assert named.keys() == {"box_label", "box_missing"}
    for kind, digest in (("box_missing", held[0]), ("box_label", held[1])):
        [item] = named[kind]["sets"]
        assert [printed["samples"][str(row)]["hash"] for row in item["rows"]] == [digest]
        assert len(item["boxes"]) == 1
        assert {"row", "label", "x1", "y1", "x2", "y2"} == item["boxes"][0].keys()
        assert "(score 0.90)" in item["words"]
        section = re.findall(rf'<section id="{kind}".*?</section>', Path("check.html").read_text("utf-8"), re.DOTALL)
        assert section[0].count('<rect class="doubt"') == 1


def test_of_folds_every_image_is_judged_but_those_of_the_test_part(
    work: Path, trained: tuple[Path, Table], capsys: Capture
) -> None:
    table = read_hashed(trained[1])
    rest, sealed = sorted(table.without("test").samples["hash"]), hashes_of(table, "test")
    picked = [digest for path in ("cv/repeat1-fold1", "cv/repeat1-fold2") for digest in [held_by(work / path)]]
    data = listing(table, without=[*picked, sealed[0]])
    main(["check", data, "--run", "cv", "--json"])
    printed = json.loads(capsys.readouterr().out)
    [found] = [one for one in printed["findings"] if one["kind"] == "box_missing"]
    assert sorted(printed["samples"][str(row)]["hash"] for item in found["sets"] for row in item["rows"]) == sorted(
        picked
    )
    assert f"in {len(rest)} images that the detector was not trained on" in found["evidence"]


def held_by(path: Path) -> str:
    return hashes_of(load_run(path).table, "validation")[0]


def read_hashed(table: Table) -> Table:
    from tenfold.check import hash_images

    return hash_images(table)


def test_what_is_doubted_stays_in_the_listing_and_to_decide(work: Path, capsys: Capture) -> None:
    run = load_run(work / "run")
    held = hashes_of(run.table, "validation")
    data = listing(run.table, without=held[:1], flipped=held[1:2])
    assert main(["check", data, "--run", "run", "--fix", "clean.csv", "--json"]) == 1
    printed = json.loads(capsys.readouterr().out)
    assert printed["fix"]["left_out"] == 0
    doubted = ["Boxes whose label is likely wrong", "Things that likely lack their box"]
    assert [title for title in printed["fix"]["to_decide"] if title in doubted] == doubted
    before, after = (read_table(path).boxes for path in (data, "clean.csv"))
    assert before is not None
    assert after is not None
    assert before["label"].tolist() == after["label"].tolist()


def test_without_stored_answers_the_run_is_asked_and_no_look_noted(work: Path) -> None:
    run = load_run(work / "run")
    stored = held_out_detections([run])[0]
    for name in ("evaluation.json", "predictions.parquet"):
        (run.path / name).unlink()
    asked = held_out_detections([load_run(run.path)])[0]
    assert asked.keys() == stored.keys() == set(run.table.part("validation").samples["hash"])
    assert not (run.path / "predictions.parquet").exists()
    assert not list(work.rglob("looks*.jsonl"))


def test_what_is_refused(work: Path, capsys: Capture) -> None:
    run = load_run(work / "run")
    bare = replace(run.table, boxes=None)
    with pytest.raises(UsageError, match="is a detector, which tells of boxes, and these images are not annotated"):
        check_table(bare, runs=[run])
    names = [f"squares/{Path(source).name},a" for source in run.table.samples["source"]]
    Path("bare.csv").write_text("\n".join(["path,label", *names]) + "\n")
    assert main(["check", "bare.csv", "--run", "run"]) == 2
    assert "run is a detector, which tells of boxes" in " ".join(capsys.readouterr().err.split())
    other = load_run(work / "cv" / "repeat1-fold2")
    card = json.loads((other.path / "model.json").read_text("utf-8"))
    write_json(other.path / "model.json", card | {"classes": ["a", "b"]})
    with pytest.raises(DataError, match="must have the same classes"):
        held_out_detections([run, load_run(other.path)])


def test_a_finding_has_all_that_others_have() -> None:
    found: list[Finding] = [
        *box_label_findings(table_of([*BOXES[:3], *BOXES[5:], (4, 10, 10, 30, 40, "dog")]), [said(FOUND)] * 2, CLASSES),
        *box_label_findings(table_of(BOXES), [said(FOUND)], CLASSES),
        *box_label_findings(table_of(BOXES), [said([])], CLASSES),
    ]
    assert [one.kind for one in found] == ["box_label", "box_missing", "box_judged", "box_judged"]
    for one in found:
        assert all(text.endswith(".") for text in (one.evidence, one.price, one.remedy))
        assert one.title
