"""Proposals from a file: what it may look like, training on it, and predicting with it."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tenfold.__main__ import main
from tenfold.errors import DataError, UsageError
from tenfold.evaluate import evaluate_run, evaluation
from tenfold.images.content import content_hash, hashed
from tenfold.images.readers import read_images
from tenfold.models import frozen as frozen_module
from tenfold.models.detection import detector, outside
from tenfold.models.detection import rcnn as rcnn_module
from tenfold.proposals import Proposed, files, make_proposer, propose_table, read_proposals, write_proposals
from tenfold.run import load_run
from tenfold.train import resume_training, start_preprocessing, train_model
from tenfold.train.data import prepare_images
from tenfold.train.progress import no_report
from tests.test_detection_models import ToyBackbone
from tests.test_fast_rcnn_training import recipe_of, squares_table
from tests.test_frozen_classifier import ORIGIN

WIDTH, HEIGHT = 80, 64


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(detector, "bare_backbone", lambda name: ToyBackbone())
    monkeypatch.setattr(rcnn_module, "bare_backbone", lambda name: ToyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (ToyBackbone(), ORIGIN))


def write_images(folder: Path, count: int = 3) -> Path:
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(draw.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def write_rows(path: Path, header: str, *rows: str) -> Path:
    path.write_text("\n".join([header, *rows, ""]), encoding="utf-8")
    return path


# The file


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_is_written_comes_back_by_content_wherever_the_images_lie(suffix, tmp_path):
    table = read_images(write_images(tmp_path / "images"))
    proposed = propose_table(table, make_proposer("random", count=50))
    path = tmp_path / "lists" / f"proposals{suffix}"
    write_proposals(path, proposed, 40)
    frame = pd.read_parquet(path) if suffix == ".parquet" else pd.read_csv(path)
    assert list(frame.columns) == ["image", "hash", "x1", "y1", "x2", "y2"]
    assert set(frame["image"]) == {f"../images/{number}.png" for number in range(3)}
    moved = shutil.move(tmp_path / "images", tmp_path / "elsewhere" / "under another name")
    found = read_proposals(path).of_table(hashed(read_images(moved)))
    assert found.left_out == 0
    for ours, theirs in zip(proposed.boxes, found.boxes, strict=True):
        np.testing.assert_array_equal(ours[:40], theirs)


def test_an_image_in_which_nothing_was_proposed_comes_back_too(tmp_path):
    table = hashed(read_images(write_images(tmp_path / "images", 2)))
    box = np.array([[1, 2, 30, 40]], np.float32)
    for suffix in (".parquet", ".csv"):
        write_proposals(tmp_path / f"p{suffix}", Proposed(table, [box[:0], box]), 10)
        found = read_proposals(tmp_path / f"p{suffix}").of_table(table)
        assert [len(own) for own in found.boxes] == [0, 1]
        assert found.left_out == 0


def test_a_path_is_enough_and_moves_with_the_file(tmp_path):
    images = write_images(tmp_path / "set" / "images", 2)
    file = write_rows(
        tmp_path / "set" / "boxes.csv",
        "x1,y1,x2,y2,image,tool",
        "1,2,11,12,images/1.png,any",
        f"3,4,13,14.5,{images / '0.png'},any",
        "5,6,15,16,./images/../images/1.png,any",
    )
    found = read_proposals(file).of_table(hashed(read_images(images))).boxes
    assert [own.tolist() for own in found] == [[[3, 4, 13, 14.5]], [[1, 2, 11, 12], [5, 6, 15, 16]]]
    shutil.move(tmp_path / "set", tmp_path / "other")
    moved = tmp_path / "other" / "images" / "1.png"
    own = read_proposals(tmp_path / "other" / "boxes.csv").of_image(moved.read_bytes(), str(moved), (HEIGHT, WIDTH))
    assert own.tolist() == [[1, 2, 11, 12], [5, 6, 15, 16]]


def test_the_hash_counts_where_there_is_one(tmp_path):
    images = write_images(tmp_path / "images", 2)
    digest = content_hash((images / "1.png").read_bytes())
    rows = ("images/0.png,,1,1,9,9", f"images/0.png,{digest},2,2,8,8", f"images/0.png,{digest.upper()},3,3,7,7")
    file = write_rows(tmp_path / "boxes.csv", "image,hash,x1,y1,x2,y2", *rows)
    found = read_proposals(file).of_table(hashed(read_images(images))).boxes
    assert [own.tolist() for own in found] == [[[1, 1, 9, 9]], [[2, 2, 8, 8], [3, 3, 7, 7]]]


def test_the_best_score_comes_first_and_equal_ones_in_their_order(tmp_path):
    images, draw = write_images(tmp_path / "images", 2), np.random.default_rng(1)
    scores = draw.integers(0, 5, 40).tolist()  # many ties
    rows = [(number % 2, number, score) for number, score in enumerate(scores)]
    lines = [f"images/{image}.png,{number},0,{number + 5},9,{score}" for image, number, score in rows]
    file = write_rows(tmp_path / "boxes.csv", "image,x1,y1,x2,y2,score", *lines)
    found = read_proposals(file).of_table(hashed(read_images(images))).boxes
    for image, own in enumerate(found):
        expected = sorted((row for row in rows if row[0] == image), key=lambda row: -row[2])
        assert own[:, 0].tolist() == [number for _, number, _ in expected]


def test_boxes_are_cut_to_the_image_and_what_is_no_box_is_counted(tmp_path):
    draw, rows = np.random.default_rng(2), []
    for _ in range(300):
        rows.append([float(value) for value in draw.integers(-30, 110, 4)])
    rows += [[math.nan, 0, 5, 5], [0, 0, math.inf, 5], [0, 0, 5, -math.inf]]
    images = write_images(tmp_path / "images", 1)
    frame = pd.DataFrame(rows, columns=["x1", "y1", "x2", "y2"])
    frame.assign(image="images/0.png").to_parquet(tmp_path / "boxes.parquet")
    found = read_proposals(tmp_path / "boxes.parquet").of_table(hashed(read_images(images)))
    expected, lost = [], 0
    for x1, y1, x2, y2 in rows:
        cut = [min(max(x1, 0), WIDTH), min(max(y1, 0), HEIGHT), min(max(x2, 0), WIDTH), min(max(y2, 0), HEIGHT)]
        if all(map(math.isfinite, (x1, y1, x2, y2))) and cut[0] < cut[2] and cut[1] < cut[3]:
            expected.append(cut)
        else:
            lost += 1
    assert found.boxes[0].tolist() == expected
    assert found.left_out == lost > 100


def test_a_row_without_corners_says_that_there_is_nothing(tmp_path):
    images = write_images(tmp_path / "images", 2)
    file = write_rows(tmp_path / "b.csv", "image,x1,y1,x2,y2", "images/0.png,,,,", "images/1.png,1,1,2,2")
    found = read_proposals(file).of_table(hashed(read_images(images)))
    assert [len(own) for own in found.boxes] == [0, 1]
    assert found.left_out == 0


def test_images_that_the_file_lacks_are_counted_and_one_is_named(tmp_path):
    images = write_images(tmp_path / "images", 3)
    file = read_proposals(write_rows(tmp_path / "b.csv", "image,x1,y1,x2,y2", "images/1.png,1,1,2,2"))
    message = r"b\.csv has no proposals for 2 of 3 images, for example \S+0\.png; give a file that has some for all of"
    with pytest.raises(DataError, match=message):
        file.of_table(hashed(read_images(images)))
    with pytest.raises(DataError, match="has no proposals for 2 of 4 images, for example"):
        file.refuse_lacking([str(images / f"{number}.png") for number in range(4)])  # one of which is not there
    file.refuse_lacking([str(images / "1.png")])
    with pytest.raises(DataError, match=r"has no proposals for 1 of 1 images, for example \S+0\.png"):
        file.of_image((images / "0.png").read_bytes(), str(images / "0.png"), (HEIGHT, WIDTH))
    with pytest.raises(UsageError, match=r"b\.csv has no proposals for an image in memory, whose .* `predict_files`"):
        file.of_image(np.zeros((4, 4), np.uint8), None, (4, 4))


def test_sizes_are_read_side_by_side(tmp_path, monkeypatch):
    table, both = hashed(read_images(write_images(tmp_path / "images", 2))), Barrier(2)

    def size(table, row):
        both.wait(timeout=20)  # one thread alone would never get any further
        return HEIGHT, WIDTH

    file = write_rows(tmp_path / "b.csv", "image,x1,y1,x2,y2", "images/0.png,1,1,3,3", "images/1.png,2,2,999,999")
    monkeypatch.setattr(files, "sample_size", size)
    monkeypatch.setattr(files, "cores", lambda: 2)
    heard = []
    found = read_proposals(file).of_table(table, lambda done, of: heard.append((done, of)))
    assert [own.tolist() for own in found.boxes] == [[[1, 1, 3, 3]], [[2, 2, WIDTH, HEIGHT]]]
    assert heard == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "b.csv",
            "image,x1,y1,x2\na.png,1,1,2\n",
            r"cannot be read as proposals \(image or hash, x1, y1, x2, y2\): it",
        ),
        ("b.csv", "x1,y1,x2,y2\n1,1,2,2\n", "it has neither a column image nor a column hash"),
        ("b.csv", "image,x1,y1,x2,y2\na.png,1,1,two,2\n", "cannot be read as proposals .*two"),
        ("b.csv", "", "cannot be read as proposals"),
        ("b.parquet", "nothing", "cannot be read as proposals"),
        ("c.parquet", None, "cannot be read as proposals .*: No such file or directory"),
    ],
)
def test_other_files_are_refused_in_one_sentence(name, content, message, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        read_proposals(tmp_path / name)


def test_another_ending_is_refused(tmp_path):
    nothing = Proposed(read_images(write_images(tmp_path / "images")), [])
    for use in (read_proposals, lambda path: write_proposals(path, nothing, 1)):
        with pytest.raises(UsageError, match=r"A file of proposals must end in \.parquet or \.csv, not .*b\.json"):
            use(tmp_path / "b.json")


# Training and prediction


def written_as_found(table, recipe, path):
    """A file with what Selective Search finds in what the network sees of each image, in original pixels."""
    table = hashed(table)
    prepared = prepare_images(table, recipe, no_report)
    found = outside.selective_proposals(60).find(prepared, start_preprocessing(recipe), lambda done, of: None)
    boxes = [own[~np.isnan(own).any(1)] for own in found]
    write_proposals(path, Proposed(prepared.table, boxes), 60)
    return path


@pytest.mark.parametrize("name", ["fast-rcnn", "rcnn"])
def test_training_on_a_file_of_what_selective_search_finds_is_training_with_it(name, tmp_path):
    table, recipe = squares_table(tmp_path), recipe_of(name, "light", train={"epochs": 2})
    file = written_as_found(table, recipe, tmp_path / "found.parquet")
    heard = []
    searched = train_model(table, recipe, tmp_path / "searched")
    given = train_model(
        table, recipe.change(detect={"proposals_from": str(file)}), tmp_path / "given", progress=heard.append
    )
    means = [run.history.filter(regex="^(train|validation)_").to_numpy() for run in (searched, given)]
    assert means[0].size
    np.testing.assert_allclose(*means, rtol=1e-3)
    seen = read_proposals(file).of_table(hashed(table).without("test")).boxes
    rows = sum(len(own) for own in seen)
    said = f"its proposals come from the file {file} ({rows:,} of 16 images)"
    assert said in [message.text for message in heard]
    one, other = (evaluate_run(load_run(run.path), "test") for run in (searched, given))
    assert one.figures["ap50"].value == pytest.approx(other.figures["ap50"].value, abs=1e-3)
    assert other.details["no_boxes"] == 0
    assert "no_boxes" not in one.details
    run = load_run(given.path)
    assert run.model.describe() == f"its proposals come from the file {file}"
    test = run.table.part("test").samples["source"].tolist()
    stored = run.predictions("test")
    for (path, found), pixels in zip(run.predict_files(map(Path, test)), map(Image.open, test), strict=True):
        own = stored[stored["source"] == str(path)]
        np.testing.assert_allclose(found["score"], own["score"], atol=1e-4)
        np.testing.assert_allclose(found["boxes"], own[["x1", "y1", "x2", "y2"]], atol=1e-2)
        with pytest.raises(UsageError, match="has no proposals for an image in memory"):
            run.predict([np.asarray(pixels)])  # by content these are other bytes than the file's


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Squares, a file of random boxes of all of them, and a Fast R-CNN that was trained on these for a moment."""
    place = tmp_path_factory.mktemp("given")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        patch.setattr(detector, "bare_backbone", lambda name: ToyBackbone())
        patch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (ToyBackbone(), ORIGIN))
        table = squares_table(place)
        write_proposals(place / "p.parquet", propose_table(table, make_proposer("random", count=30)), 30)
        recipe = recipe_of(train={"epochs": 1}, detect={"proposals_from": str(place / "p.parquet"), "score": 0.0})
        train_model(table, recipe, place / "run")
    return place


def test_other_images_need_another_file(trained, tmp_path, capsys):
    run, photos = trained / "run", write_images(tmp_path / "photos", 2)
    assert main(["predict", str(run), str(photos), "--json"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "p.parquet has no proposals for 2 of 2 images, for example " in err
    assert err.endswith("to its run, where it evaluates or predicts, as --proposals.\n")
    assert main(["proposals", str(photos), "--method", "random", "--save", str(tmp_path / "new.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["save"] == str(tmp_path / "new.csv")
    assert main(["predict", str(run), str(photos), "--proposals", str(tmp_path / "new.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["images"]
    expected = load_run(run, proposals=tmp_path / "new.csv").predict_files(sorted(photos.glob("*.png")))
    for one, (path, prediction) in zip(found, expected, strict=True):
        assert one["path"] == str(path)
        assert one["objects"]
        top = one["objects"][0]
        np.testing.assert_allclose(top["box"], prediction["boxes"][0], atol=1e-3)


def test_the_run_s_own_images_need_no_option_until_the_file_is_gone(trained, tmp_path, capsys):
    squares = str(trained / "squares")
    assert main(["predict", str(trained / "run"), squares, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["images"]) == 18
    assert main(["evaluate", str(trained / "run"), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert before["details"]["speed"]["proposals_from"] == str(trained / "p.parquet")
    assert list(before["details"]["speed"]["stages"]) == ["read", "network", "answer"]
    run = Path(shutil.copytree(trained / "run", tmp_path / "run"))
    card = (run / "model.json").read_text("utf-8").replace("p.parquet", "gone.parquet")
    (run / "model.json").write_text(card, "utf-8")
    assert main(["evaluate", str(run)]) == 3
    err = capsys.readouterr().err
    assert f"{run} takes its proposals from a file, and {trained / 'gone.parquet'} is not there; give one with" in err
    assert main(["evaluate", str(run), "--proposals", str(trained / "p.parquet"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["figures"] == before["figures"]


def test_rows_that_are_no_box_are_told(trained, tmp_path, capsys):
    frame = pd.read_parquet(trained / "p.parquet")
    flat = frame.groupby("image").head(1).assign(x2=0.0)
    pd.concat([flat, frame]).to_csv(tmp_path / "p.csv", index=False)
    assert main(["evaluate", str(trained / "run"), "--proposals", str(tmp_path / "p.csv")]) == 0
    assert "4 proposals of these images are no box in their image, and were left out." in capsys.readouterr().err


def test_a_run_that_finds_its_proposals_takes_no_file(trained, tmp_path, capsys, monkeypatch):
    run = train_model(squares_table(tmp_path), recipe_of(train={"epochs": 1}), tmp_path / "run")
    (run.path / "model.safetensors").write_bytes(b"not read")
    monkeypatch.setattr(evaluation, "prepare_table", None)  # nor are images decoded
    for line in (["evaluate", str(run.path)], ["predict", str(run.path), str(tmp_path / "nowhere")]):
        assert main([*line, "--proposals", str(trained / "p.parquet")]) == 2
        assert "is for a run that was trained on proposals from a file, and" in capsys.readouterr().err


def test_a_file_that_changed_since_the_training_is_told(trained, tmp_path, capsys):
    known = load_run(trained / "run").card["settings"]["proposals_sha256"]
    assert known == hashlib.sha256((trained / "p.parquet").read_bytes()).hexdigest()
    run, file = Path(shutil.copytree(trained / "run", tmp_path / "run")), tmp_path / "p.parquet"
    card = (run / "model.json").read_text("utf-8").replace(str(trained / "p.parquet"), str(file))
    (run / "model.json").write_text(card, "utf-8")
    shutil.copyfile(trained / "p.parquet", file)
    assert main(["evaluate", str(run), "--json"]) == 0
    assert "has changed" not in capsys.readouterr().err
    pd.read_parquet(file).assign(x1=0.0).to_parquet(file, index=False)
    said = f"{file} has changed since {run} was trained: its boxes are others now."
    for line in (["evaluate", str(run)], ["predict", str(run), str(trained / "squares")]):
        assert main([*line, "--json"]) == 0
        assert said in capsys.readouterr().err
        assert main([*line, "--json", "--proposals", str(file)]) == 0  # whoever names it knows it
        assert "has changed" not in capsys.readouterr().err


def test_a_training_goes_on_with_the_same_file_alone(tmp_path):
    table, file = squares_table(tmp_path), tmp_path / "p.parquet"
    write_proposals(file, propose_table(table, make_proposer("random", count=30)), 30)

    def kill(message):
        if message.phase == "step":
            raise SystemExit

    recipe = recipe_of(train={"epochs": 1}, detect={"proposals_from": str(file)})
    with pytest.raises(SystemExit):
        train_model(table, recipe, tmp_path / "run", progress=kill)
    kept = file.rename(tmp_path / "kept.parquet")
    with pytest.raises(DataError, match=r"p\.parquet, which is not there; put it back, then go on\."):
        resume_training(tmp_path / "run")
    pd.read_parquet(kept).assign(x1=0.0).to_parquet(file, index=False)
    with pytest.raises(DataError, match=r"p\.parquet is no longer the file of proposals that this training began with"):
        resume_training(tmp_path / "run")
    kept.replace(file)
    resume_training(tmp_path / "run")
    assert evaluate_run(load_run(tmp_path / "run")).n == 4


def test_a_model_that_takes_fewer_still_says_how_many_there_were(tmp_path):
    settings = {"proposals_from": "p.csv", "proposals": 40}
    model = rcnn_module.RCNN(3, ("red",), asdict(recipe_of("rcnn").detect) | {"backbone": "toy", "init": ""} | settings)
    model.file.counts = " (80 of 2 images, 3 rows that are no box in their image left out)"
    said = model.describe()
    model.take_proposals(10)
    assert (model.describe(), model.file.count) == (said, 10)


def test_a_file_that_lacks_images_stops_the_training(trained, tmp_path):
    frame = pd.read_parquet(trained / "p.parquet")
    frame[frame["image"] != "squares/3.png"].to_parquet(tmp_path / "p.parquet")
    table = squares_table(tmp_path)
    recipe = recipe_of(train={"epochs": 1}, detect={"proposals_from": str(tmp_path / "p.parquet")})
    with pytest.raises(DataError, match=r"p\.parquet has no proposals for 1 of 16 images, for example \S+3\.png; give"):
        train_model(table, recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_alone_says_that_its_proposals_come_from_a_file(trained):
    import torch

    with pytest.raises(UsageError, match=r"The proposals of this Fast R-CNN come from the file \S+p\.parquet, and no"):
        load_run(trained / "run").model.outputs(torch.zeros(1, 3, 64, 64))


def test_prepared_images_need_their_boxes(trained):
    run = load_run(trained / "run")
    source = run.table.samples["source"].iloc[0]
    canvas = run.preprocessing.prepare(np.asarray(Image.open(source)))
    with pytest.raises(UsageError, match=r"boxes must be given for prepared images: .* \(run\.proposals\.of_table"):
        run.predict_canvases([canvas])
    boxes = run.proposals.of_image(Path(source).read_bytes(), source, (HEIGHT, WIDTH))
    [found] = run.predict_canvases([canvas], [boxes])
    [(_, expected)] = run.predict_files([Path(source)])
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-4)


# The command


def test_save_writes_over_nothing_but_proposals(tmp_path, capsys):
    photos = write_images(tmp_path / "photos", 2)
    other = write_rows(tmp_path / "notes.csv", "path,label", "a.png,cat")
    line = ["proposals", str(photos), "--method", "random", "--count", "7", "--save"]
    assert main([*line, str(other)]) == 2
    assert f"--save must be a new file, or one of proposals, and {other} is something else." in capsys.readouterr().err
    assert other.read_text() == "path,label\na.png,cat\n"
    more = pd.DataFrame([["a.png", "0" * 32, 1, 1, 2, 2, "cat"]], columns=[*files.COLUMNS, "label"])
    more.to_csv(tmp_path / "truth.csv", index=False)  # can be read as proposals, and is not ours to write over
    more.to_parquet(tmp_path / "predictions.parquet", index=False)
    for name in ("truth.csv", "predictions.parquet"):
        before = (tmp_path / name).read_bytes()
        assert main([*line, str(tmp_path / name)]) == 2
        assert "--save must be a new file, or one of proposals, and" in capsys.readouterr().err
        assert (tmp_path / name).read_bytes() == before
    write_rows(tmp_path / "p.csv", ",".join(files.COLUMNS), "the header tells, and nothing else is read")
    assert main([*line, str(tmp_path / "p.txt")]) == 2
    assert "--save must be a file that ends in .parquet or .csv, not" in capsys.readouterr().err
    for name in ("p.csv", "p.csv", "p.parquet", "p.parquet"):
        assert main([*line, str(tmp_path / name)]) == 0
    out = capsys.readouterr().out
    assert f"Written: {tmp_path / 'p.csv'}" in out
    assert f"tenfold predict RUN {photos} --proposals {tmp_path / 'p.csv'}" in out
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["photos/0.png"] * 7 + ["photos/1.png"] * 7


def test_a_trained_network_proposes(tmp_path, capsys):
    import torch

    table = squares_table(tmp_path)
    recipe = recipe_of("faster-rcnn", train={"epochs": 2}, image={"fit": "pad"}, detect={"proposals": 25})
    run = train_model(table, recipe, tmp_path / "run")
    squares, file = tmp_path / "squares", tmp_path / "p.parquet"
    line = ["proposals", str(squares), "--method", str(run.path), "--count", "20", "--save", str(file), "--json"]
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["method"] == f"RPN of {run.path}"
    assert f"12 of these images are those that {run.path} learned from" in err
    given, model, made = read_proposals(file), load_run(run.path).model, load_run(run.path).preprocessing
    for source in table.samples["source"]:
        pixels = np.asarray(Image.open(source))
        canvas, affine = made.prepare(pixels)
        with torch.no_grad():
            boxes = model.propose(made.normalize(torch.from_numpy(made.center(canvas[None]))))[0].double().numpy()
        expected = []
        for x1, y1, x2, y2 in boxes[boxes[:, 0] >= 0]:
            (sx, _, tx), (_, sy, ty) = affine.astype(float)
            back = [(x1 - tx) / sx, (y1 - ty) / sy, (x2 - tx) / sx, (y2 - ty) / sy]
            cut = np.clip(back, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT])
            if cut[0] < cut[2] and cut[1] < cut[3]:
                expected.append(cut)
        found = given.of_image(Path(source).read_bytes(), source, pixels.shape[:2])
        count = min(len(expected), 20)
        np.testing.assert_allclose(found[:count], expected[:count], atol=1e-3)
    canvas, boxes = made.prepare(pixels), np.zeros((1, 4), np.float32)
    with pytest.raises(UsageError, match="boxes is for a model that must be told where to look, and this one is not"):
        load_run(run.path).predict_canvases([canvas], [boxes])
    given = recipe_of(train={"epochs": 1}, detect={"proposals_from": str(file.rename(tmp_path / "gone.parquet"))})
    other = train_model(table, given, tmp_path / "other")
    (tmp_path / "gone.parquet").unlink()
    assert main(["proposals", str(squares), "--method", str(other.path), "--save", str(file)]) == 2
    err = capsys.readouterr().err
    assert "or the run of a faster-rcnn, which has a region proposal network; " in err
    assert err.endswith("is of fast-rcnn.\n")
    assert main(["proposals", str(squares), "--method", str(run.path) + "-1", "--save", str(file)]) == 2
    assert "--method, where it is not the folder of a faster-rcnn's run, must be one of sel" in capsys.readouterr().err
