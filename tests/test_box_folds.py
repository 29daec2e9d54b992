"""Cross-validation of detectors: all held-out images together, what a fold has no say in, and folds with nothing."""

from __future__ import annotations

import json
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from safetensors.torch import load_file

from tenfold.__main__ import main
from tenfold.errors import Interrupted, UsageError
from tenfold.evaluate import evaluate_folds
from tenfold.images.table import BOX_COLUMNS, Table, make_samples, stack_tables
from tenfold.models import MODELS
from tenfold.models.contract import Losses
from tenfold.report import write_report
from tenfold.run import Run, read_card
from tenfold.split import split_table
from tenfold.tasks import TASKS
from tenfold.train import calibrate as calibrate_module
from tenfold.train import train_folds
from tests.test_detect_commands import QUICK, use_toy, write_squares
from tests.test_fast_rcnn_training import recipe_of, squares_table
from tests.test_seams import BoxNetwork
from tests.toys import quick_recipe

TASK = TASKS["detection"]
CLASSES = ("left", "right")
RECIPE = quick_recipe(
    image={"size": 24, "margin": 1.0, "fit": "squash"},
    model={"name": "seer"},
    augment={"policy": "none"},
    train={"epochs": 2, "lr": 0.05},
)


class Seer(BoxNetwork):
    """Finds the bright square but where it is high up, names the half it is in, and errs beside it now and then."""

    task = "detection"

    def decode(self, outputs, affine):
        found = []
        for prediction in super().decode(outputs, affine):
            box = prediction["box_xyxy"]
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            kept = np.array([y > 18, y > 18 and x > 50])
            found.append(
                {
                    "boxes": np.stack([box, box + 20])[kept].astype(np.float32),
                    "score": np.float32([0.4 + 0.005 * x, 0.9 - 0.005 * y])[kept],
                    "label": np.int64([x > 50, x > 50])[kept],
                }
            )
        return found

    def losses(self, batch):
        wanted, found = batch.targets["boxes"][:, 0], self.outputs(batch.images)["boxes"]
        there = wanted.isfinite().all(1)
        return Losses({"box": (found - wanted)[there].abs().sum() / max(int(there.sum()), 1)}, {})


def squares(folder, images=36, groups=12, empty=(0, 13), holding=None):
    """One bright square in each image but the `empty` ones, of the class of its half; images in groups; unsplit.

    With `holding` only the images of these groups have one.
    """
    draw, boxes, sources = np.random.default_rng(0), [], []
    folder.mkdir(parents=True)
    for number in range(images):
        image = np.zeros((60, 100, 3), np.uint8)
        x, y = draw.integers(25, 66), draw.integers(5, 46)
        if number not in empty and (holding is None or number % groups in holding):
            image[y : y + 10, x : x + 10] = 255
            boxes.append((number, x, y, x + 10, y + 10, CLASSES[int(x > 45)], False))
        image[0, 0] = number  # no two are the same bytes
        sources.append(str(folder / f"{number}.png"))
        Image.fromarray(image).save(sources[-1])
    columns = {"source": sources, "group": [f"g{number % groups}" for number in range(images)]}
    frame = pd.DataFrame(boxes, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    return Table(make_samples(columns, images), CLASSES, frame)


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("boxfolds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, "seer", Seer)
        patch.setenv("TENFOLD_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def table(place):
    return split_table(squares(place / "squares"), validation=0.2, test=0.2)


@pytest.fixture(scope="module")
def runs(table, place):
    return train_folds(table, RECIPE, place / "cv", folds=3, repeats=2)


@pytest.fixture(scope="module")
def found(runs):
    return evaluate_folds(runs, 3)


def test_groups_stay_whole_and_the_test_part_is_in_no_fold(table, runs):
    rest = sorted(table.without("test").samples["hash"])
    for repeat in (runs[:3], runs[3:]):
        assert sorted(digest for run in repeat for digest in run.table.part("validation").samples["hash"]) == rest
        groups = [set(run.table.part("validation").samples["group"]) for run in repeat]
        assert sum(map(len, groups)) == len(set.union(*groups)) == table.without("test").samples["group"].nunique()
    assert all(run.task is TASK for run in runs)


def coco_stats(runs):
    """AP and AP50 by pycocotools' own summary, of all images of the folds and what was detected in them."""
    truths, detections, start = {"images": [], "annotations": [], "categories": []}, [], 0
    truths["categories"] = [{"id": number, "name": name} for number, name in enumerate(CLASSES)]
    for run in runs:
        rows = np.flatnonzero(run.table.samples["part"] == "validation")
        truths["images"] += [{"id": int(row) + start} for row in rows]
        for box in run.table.boxes.itertuples(index=False):
            if box.sample in rows:
                width, height = box.x2 - box.x1, box.y2 - box.y1
                truths["annotations"].append(
                    {
                        "id": len(truths["annotations"]) + 1,
                        "image_id": box.sample + start,
                        "category_id": CLASSES.index(box.label),
                        "bbox": [box.x1, box.y1, width, height],
                        "area": width * height,
                        "iscrowd": 0,
                    }
                )
        for box in run.predictions("validation").itertuples(index=False):
            detections.append(
                {
                    "image_id": box.sample + start,
                    "category_id": CLASSES.index(box.predicted),
                    "bbox": [box.x1, box.y1, box.x2 - box.x1, box.y2 - box.y1],
                    "score": box.score,
                }
            )
        start += len(run.table)
    known = COCO()
    known.dataset = truths
    known.createIndex()
    rule = COCOeval(known, known.loadRes(detections), "bbox")
    rule.evaluate()
    rule.accumulate()
    rule.summarize()
    return rule.stats[:2]


def test_all_held_out_images_are_one_evaluation(runs, found, capsys):
    """Those in which nothing was detected count, and so do those in which nothing is."""
    stats = np.array([coco_stats(runs[:3]), coco_stats(runs[3:])])
    assert found.figures["ap"].value == pytest.approx(stats[:, 0].mean(), abs=1e-9)
    assert found.figures["ap50"].value == pytest.approx(stats[:, 1].mean(), abs=1e-9)
    assert 0.1 < found.figures["ap50"].value < 0.9  # else little was shown
    held = runs[:3]
    silent = sum(len(run.table.part("validation")) - run.predictions("validation")["sample"].nunique() for run in held)
    assert silent > 2
    assert found.n == found.figures["ap50"].n == sum(len(run.table.part("validation")) for run in held)
    each = [run.evaluations["validation"]["figures"]["ap50"]["value"] for run in runs]
    assert found.spread["ap50"] == pytest.approx(each)


def independent(runs):
    """The figures of a repeat as if one model had answered all images."""
    frames, tables, start = [], [], 0
    for run in runs:
        rows = np.flatnonzero(run.table.samples["part"] == "validation")
        frame, place = run.predictions("validation"), np.full(len(run.table), -1)
        place[rows] = np.arange(len(rows)) + start
        frames.append(frame.assign(sample=place[frame["sample"]]))
        tables.append(run.table.take(rows))
        start += len(rows)
    return TASK.findings(pd.concat(frames, ignore_index=True), stack_tables(tables), {}).figures


def test_the_interval_is_that_of_fewer_images(runs):
    """Wilson's ends t solve (p - t)^2 = a t (1 - t), with a = quantile^2 x variance, whatever the quantile is of."""
    found = evaluate_folds(runs[:3], 3).figures
    alone = independent(runs[:3])
    assert list(found) == list(alone)
    for name, figure in found.items():
        one = alone[name]
        assert figure.value == pytest.approx(one.value)
        for end, other in ((figure.low, one.low), (figure.high, one.high)):
            if 1e-6 < other < 1 - 1e-6 and abs(other - one.value) > 1e-6:
                wider, narrow = ((figure.value - t) ** 2 / (t * (1 - t)) for t in (end, other))
                assert wider / narrow == pytest.approx(1 + 3 / 2, rel=1e-6)
    assert found["ap50"].method.endswith("groups, folds overlap")


def test_the_estimand_is_said_and_stored(runs, found):
    content = json.loads(json.dumps(found.to_json()))
    trained = round(np.mean([len(run.table.part("train")) for run in runs]))
    assert content["n_train"] == trained
    assert content["estimand"].startswith(f"What models of this recipe, each trained on {trained} such images, reach ")
    assert content["basis"] == f"this procedure at {trained} training images, by 3 folds, 2 times, {found.n} images"


def joined(folds):
    return list(chain.from_iterable(predictions for predictions, _ in folds)), stack_tables([own for _, own in folds])


def test_scores_are_settled_on_the_other_folds(runs, found):
    seen = [calibrate_module._fold(run) for run in runs]
    for place, run in enumerate(runs):
        start = place // 3 * 3
        rest = [seen[other] for other in range(start, start + 3) if other != place]
        wanted = TASK.calibrate(*joined(rest))
        stored = Run(run.path).calibration
        assert stored["others"] == sum(len(own) for _, own in rest)
        assert stored["n"] == len(seen[place][1])
        assert {name: stored[name] for name in ("temperature", "score")} == pytest.approx(
            {name: wanted[name] for name in ("temperature", "score")}
        )
        assert run.evaluations["validation"]["details"]["score"] == stored["score"]


def test_a_fold_has_no_say_in_its_own_score(runs):
    """Where nothing of a fold is right its own score stays, and those of the others change."""
    seen = [calibrate_module._fold(run) for run in runs[:3]]

    def scores(folds):
        found = []
        for place, (own, images) in enumerate(folds):
            found.append(TASK.calibrate(own, images, joined(folds[:place] + folds[place + 1 :])))
        return found

    before = scores(seen)
    predictions, own = seen[0]
    wrong = [one | {"label": 1 - one["label"]} for one in predictions]
    after = scores([(wrong, own), *seen[1:]])
    assert {name: after[0][name] for name in ("temperature", "score")} == {
        name: before[0][name] for name in ("temperature", "score")
    }
    assert all(late["temperature"] > early["temperature"] for late, early in zip(after[1:], before[1:], strict=True))


def test_steps_are_of_the_run_s_own_fold():
    """What a precision can be promised from is measured on what this very model answered."""
    box, label = np.float32([[1, 1, 9, 9]]), np.int64([0])
    own = [{"boxes": box, "score": np.float32([0.5 + 0.01 * n]), "label": label} for n in range(24)]
    others = [one | {"score": one["score"] / 2} for one in own]
    rows = [(n, 1, 1, 9, 9, "left", False) for n in range(24)]
    frame = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    images = Table(make_samples({"source": [f"{n}.png" for n in range(24)]}, 24), CLASSES, frame)
    fitted = TASK.calibrate(own, images, (others, images))
    assert fitted["score"] < 0.3  # of the others, whose every detection is right
    assert fitted["score_steps"]
    assert all(step[0] > 0.4 for step in fitted["score_steps"])


def test_a_stopped_cross_validation_goes_on_to_the_same_bits(table, runs, place, monkeypatch):
    out = place / "stopped"

    def stop(message):
        if message.text.startswith("Fold 2"):
            raise Interrupted("stop")

    with pytest.raises(Interrupted):
        train_folds(table, RECIPE, out, folds=3, progress=stop)
    real = calibrate_module.write_json
    monkeypatch.setattr(calibrate_module, "write_json", lambda path, content: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):  # all are trained, and none is calibrated on the others
        train_folds(table, RECIPE, out, folds=3)
    monkeypatch.setattr(calibrate_module, "write_json", real)
    again = train_folds(table, RECIPE, out, folds=3)
    for one, other in zip(runs, again, strict=False):
        left, right = (load_file(run.path / "model.safetensors") for run in (one, other))
        assert all(torch.equal(left[name], right[name]) for name in left)
        assert other.calibration == one.calibration
    assert evaluate_folds(again, 3).figures == evaluate_folds(runs[:3], 3).figures


def test_a_fold_without_objects_counts_for_what_is_falsely_found(place):
    """Three groups, of which one holds no square: its fold has no figures, and its images are in those of all."""
    table = squares(place / "bare", 18, groups=3, empty=(), holding=(0, 1))
    runs = train_folds(table.assign(part=["train"] * 18), RECIPE, place / "cv-bare", folds=3)
    found = evaluate_folds(runs, 3)
    assert (found.n, len(found.spread["ap50"])) == (18, 2)
    bare = next(run for run in runs if set(run.table.part("validation").samples["group"]) == {"g2"})
    assert "validation" not in bare.evaluations
    assert "others" in bare.calibration
    with pytest.raises(UsageError, match="The validation part has no object that could be found"):
        evaluate_folds([bare, bare], 2)


def test_what_would_leak_or_is_no_one_training_is_refused(table, runs, place):
    learned = RECIPE.change(transfer={"init": str(runs[0].path)})
    seen = len(table.without("test"))
    with pytest.raises(UsageError, match=rf"seen none of these images, and .*learned from or chose by {seen} of them"):
        train_folds(table, learned, place / "leak", folds=3)
    staged = RECIPE.change(model={"name": "rcnn"}, detect={"finetune": True})
    with pytest.raises(UsageError, match=r"detect\.finetune must be false for a cross-validation"):
        train_folds(table, staged, place / "staged", folds=3)
    assert not (place / "leak").exists()
    assert not (place / "staged").exists()


def test_proposals_are_found_for_what_scores_are_settled_on(tmp_path, monkeypatch):
    """Fast R-CNN looks at boxes that its batches bring along, here from a file."""
    use_toy(monkeypatch)
    table, file = squares_table(tmp_path, (8, 0, 2)), tmp_path / "proposals.csv"
    corners = [f"{source},{x},4,{x + 24},44" for source in table.samples["source"] for x in (0, 20, 40, 56)]
    file.write_text("\n".join(["image,x1,y1,x2,y2", *corners]), encoding="utf-8")
    recipe = recipe_of(train={"epochs": 1}).change(detect={"proposals_from": str(file)})
    runs = train_folds(table, recipe, tmp_path / "cv", folds=2)
    assert [run.calibration["n"] for run in runs] == [run.calibration["others"] for run in reversed(runs)]
    found = evaluate_folds(runs, 2)
    assert (found.n, found.n_train, next(iter(found.figures))) == (8, 4, "ap50")


def test_the_command_says_what_the_procedure_is_worth(tmp_path, monkeypatch, capsys):
    use_toy(monkeypatch)
    monkeypatch.chdir(tmp_path)
    write_squares(tmp_path / "squares")
    typed = ["train", "squares/boxes.csv", "--folds", "2", "--out", "cv", "--policy", "none", *QUICK]
    assert main([*typed, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["folds"], found["repeats"], found["n"], found["n_train"]) == (2, 1, 9, 4)
    assert next(iter(found["figures"])) == "ap50"
    assert found["figures"]["ap50"]["method"].endswith("folds overlap")
    stored = json.loads((tmp_path / "cv" / "folds.json").read_text("utf-8"))
    assert {name: found[name] for name in stored} == stored
    assert all("others" in read_card(tmp_path / path)["calibration"] for path in found["runs"])
    assert main(typed) == 0  # nothing is trained again
    out, said = capsys.readouterr()
    assert "This procedure at 4 training images, by 2 folds, 9 images" in " ".join(out.split())
    assert "AP50 of the 2 models, each on its own fold: " in said
    assert "Model: faster-rcnn, as the images have boxes" in said
    run = Run(tmp_path / found["runs"][0])
    assert "AP50" in write_report(run).read_text("utf-8")


def test_an_impossible_option_is_not_taken_for_a_fold_without_objects(runs):
    with pytest.raises(UsageError, match="An option of a detection's figures must be one of level, score"):
        evaluate_folds(runs[:3], 3, top_k=2)
