"""The task of detection: boxes from a Table to batches, predictions to rows and figures, and what they settle."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from tenfold.augment.policy import Policy
from tenfold.augment.tree import op
from tenfold.errors import UsageError
from tenfold.evaluate import compare_boxes, evaluate_run
from tenfold.images.content import hashed
from tenfold.images.prepared import prepare_table
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.models import MODELS
from tenfold.models.contract import Losses
from tenfold.models.detection.matching import read_truths
from tenfold.report import write_card, write_report
from tenfold.run import load_run
from tenfold.tasks import TASKS
from tenfold.train import start_preprocessing, train_model
from tenfold.train.data import plain_loader, prepare_images, training_loader
from tenfold.train.progress import no_report
from tests.test_seams import BoxNetwork, box_table, move
from tests.toys import quick_recipe, save, scene

TASK = TASKS["detection"]
ROWS = [
    (0, 1, 2, 11, 12, "cat", False),
    (2, 5, 5, 25, 25, "dog", False),
    (2, 30, 5, 50, 25, "cat", True),
    (2, 7, 7, 7, 20, "dog", False),  # no area
]


def table_of(rows=ROWS, images=4, classes=("cat", "dog")):
    columns = {"source": [f"{n}.png" for n in range(images)], "part": ["test"] * images}
    boxes = None if rows is None else pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    return Table(make_samples(columns, images), classes, boxes)


def test_targets_are_padded_and_boxes_of_no_area_left_out():
    targets = TASK.targets(table_of())
    assert targets["boxes"].shape == (4, 2, 4)
    assert targets["boxes"].dtype == np.float32
    assert targets["boxes"][0, 0].tolist() == [1, 2, 11, 12]
    assert np.isnan(targets["boxes"][[0, 1, 1, 3, 3], [1, 0, 1, 0, 1]]).all()
    assert targets["label"].tolist() == [[0, -1], [-1, -1], [1, 0], [-1, -1]]
    assert targets["ignore"].tolist() == [[False, False], [False, False], [False, True], [False, False]]
    assert TASK.targets(table_of(ROWS[:0]))["boxes"].shape == (4, 1, 4)


def test_clicks_are_no_targets_however_an_image_is_turned(tmp_path):
    """A line one pixel wide has a wide hull once it is turned, or seen in a perspective."""
    wide, thin = (3, 20, 30, 21.02, 32, "cat", False), (3, 20, 30, 21, 32, "cat", False)
    low = (1, 20, 30, 32, 30.5, "dog", True)
    for name, values in TASK.targets(table_of([*ROWS, thin, low])).items():
        np.testing.assert_array_equal(values, TASK.targets(table_of())[name])
    table = table_of([wide, *ROWS[:3], thin, low]).assign(part=["train"] * 4)
    for place, source in enumerate(table.samples["source"]):
        save(tmp_path / source, scene(place, 64, 48))
    table = table.assign(source=[str(tmp_path / source) for source in table.samples["source"]])
    for node in (op("rotate", [45, 45]), op("perspective", 0.3)):
        policy = Policy("turned", (node,), visible=0.0).to_dict()
        image = {"size": 64, "margin": 1.0, "fit": "pad", "channels": "rgb", "mean": (0.5,) * 3, "std": (0.25,) * 3}
        recipe = quick_recipe(image=image, augment={"policy": policy})
        prepared = prepare_images(hashed(table), recipe, no_report)
        [batch] = training_loader(recipe, prepared, TASK, lambda epoch: 64).batches(0)
        order = np.argsort(batch.rows)
        assert read_truths(batch).real.sum(1)[order].tolist() == [1, 0, 1, 1]
        assert read_truths(batch).ignored.sum(1)[order].tolist() == [0, 0, 1, 0]


def test_what_cannot_be_learnt_from_is_refused():
    with pytest.raises(UsageError, match="A detector needs images with boxes, and these are not annotated with any"):
        TASK.targets(table_of(None))
    with pytest.raises(UsageError, match="A detector needs at least one box to learn from, and here is none"):
        TASK.targets(table_of(ROWS[:0], classes=()))
    with pytest.raises(UsageError, match=r"Every box needs a label that is one of the classes; one of 2\.png has none"):
        TASK.targets(table_of(classes=("cat",)))


def prediction(*rows):
    """(x1, y1, x2, y2, label, score) each, as a model decodes."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return {
        "boxes": table[:, :4].astype(np.float32),
        "label": table[:, 4].astype(np.int64),
        "score": table[:, 5].astype(np.float32),
    }


def frame_of(predictions, classes=("cat", "dog")):
    rows = [
        {"sample": sample, "instance": instance, **values}
        for sample, one in enumerate(predictions)
        for instance, values in enumerate(TASK.tabulate(one, classes))
    ]
    return pd.DataFrame(rows, columns=None if rows else ["sample", "instance"])


FOUND = [
    prediction((1, 2, 11, 12, 0, 0.875), (80, 80, 90, 90, 1, 0.25)),
    prediction(),
    prediction((5, 5, 25, 24, 1, 0.75), (30, 5, 50, 25, 0, 0.5)),
    prediction(),
]


def test_a_row_a_detection():
    frame = frame_of(FOUND)
    assert list(frame.columns) == ["sample", "instance", "x1", "y1", "x2", "y2", "predicted", "score"]
    assert frame.iloc[0].tolist() == [0, 0, 1, 2, 11, 12, "cat", 0.875]
    assert frame["predicted"].tolist() == ["cat", "dog", "dog", "cat"]


def test_findings_of_all_images():
    findings = TASK.findings(frame_of(FOUND), table_of(), {"score": 0.3})
    assert next(iter(findings.figures)) == "ap50"
    assert findings.figures["ap50"].value == pytest.approx(1)
    assert findings.figures["ap50"].n == 4
    assert findings.details["no_area"] == 1
    assert findings.details["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert [line["ap50"].n for line in findings.details["per_class"]] == [1, 1]
    everything = TASK.findings(frame_of(FOUND), table_of(), {"score": 0.0}).details
    assert everything["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    dog = everything["per_class"][1]
    assert (dog["objects"], dog["shown"], dog["precision"].value, dog["recall"].value) == (1, 2, 0.5, 1)
    nothing = TASK.findings(frame_of([prediction()] * 4), table_of(), {})
    assert nothing.figures["ap50"].value == 0
    assert nothing.figures["ap50"].high > 0


def test_what_findings_refuse():
    with pytest.raises(UsageError, match="The test part has no object that could be found; use tenfold predict"):
        TASK.findings(frame_of(FOUND), table_of(ROWS[2:]), {})
    with pytest.raises(UsageError, match="An option of a detection's figures must be one of level, score, not 'top_k'"):
        TASK.findings(frame_of(FOUND), table_of(), {"top_k": 3})
    with pytest.raises(UsageError, match="score must lie from 0 to 1, not 5"):
        TASK.findings(frame_of(FOUND), table_of(), {"score": 5.0})


def test_what_is_settled_on_the_validation_part():
    settled = TASK.calibrate(FOUND, table_of())
    assert 0.25 < settled["score"] < 0.75  # the false one is left out, both objects are found
    assert settled["temperature"] == 1  # so few say nothing
    assert settled["score_steps"] == []
    assert TASK.calibrate([prediction()] * 4, table_of()) == {}
    assert "score" not in TASK.calibrate([prediction((80, 80, 90, 90, 1, 0.5))] + [prediction()] * 3, table_of())


# Two detectors.


def fake_run(name, predictions, rows, classes=("cat", "dog"), **others):
    """What `compare_boxes` reads of a run."""
    images = len(predictions)
    hashes = [f"{number:032x}" for number in range(images)]
    columns = {"source": [f"{n}.png" for n in range(images)], "part": ["validation"] * images, "hash": hashes}
    boxes = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    frame = frame_of(predictions, classes)
    content = {"task": TASK, "evaluations": {"validation": {}}, "classes": classes, "predictions": lambda part: frame}
    table = Table(make_samples(columns, images), classes, boxes)
    return SimpleNamespace(path=Path(name), table=table, **(content | others))


def pair(images=20, moved=()):
    """A detector that finds every box, and one that sees nothing on every other image."""
    rows = [(n, 10 + n, 10, 50 + n, 50, "cat", False) for n in range(images)]
    good = [prediction((10 + n, 10, 50 + n, 50, 0, 0.9)) for n in range(images)]
    blind = [one if n % 2 else prediction() for n, one in enumerate(good)]
    other = [(n, *((11, 10, 51, 50) if n in moved else row[1:5]), *row[5:]) for n, row in enumerate(rows)]
    return fake_run("good", good, rows), fake_run("blind", blind, other)


def test_the_better_detector_is_named():
    good, blind = pair()
    found = compare_boxes(good, blind)
    assert (found.better, found.n) == ("good", 20)
    assert found.figures["ap50"].difference.value == pytest.approx(0.5, abs=0.01)
    assert found.sentence.startswith("good is better: its AP50 is higher by 0.49")
    assert compare_boxes(blind, good).better == "good"
    assert found.to_json()["figures"]["ap"]["p"] < 0.05
    assert compare_boxes(*pair(moved=(0, 2, 3))).n == 17  # the images whose boxes are the same
    same = compare_boxes(good, good)
    assert same.better is None
    assert same.sentence.startswith("No difference is shown: AP50 is 1.000 and 1.000, which chance alone could explain")


def in_groups(run, groups):
    return SimpleNamespace(**(vars(run) | {"table": run.table.assign(group=groups)}))


def test_what_either_detectors_table_ties_together_counts_as_one():
    """As in the comparison of classifiers: a listing with groups for the one run, without for the other."""
    good, blind = pair()
    tied = [f"g{number // 2 % 5}" for number in range(20)]
    alone = compare_boxes(good, blind).figures["ap50"].difference
    both = compare_boxes(in_groups(good, tied), in_groups(blind, tied)).figures["ap50"].difference
    one, other = compare_boxes(in_groups(good, tied), blind), compare_boxes(good, in_groups(blind, tied))
    assert (alone.method, both.method) == ("paired bootstrap over images", "paired bootstrap over 5 groups")
    for found in (one, other):
        assert found.figures["ap50"].difference == both
    # What the first ties and what the second ties makes one block, along chains.
    first, second = ([f"{(number + shift) // 2}" for number in range(20)] for shift in (0, 1))
    chained = compare_boxes(in_groups(good, first), in_groups(blind, second)).figures["ap50"].difference
    whole = compare_boxes(in_groups(good, ["all"] * 20), in_groups(blind, ["all"] * 20)).figures["ap50"].difference
    assert chained == whole


def test_what_cannot_be_compared():
    good, blind = pair()
    with pytest.raises(UsageError, match="blind has not been evaluated on its validation part; do so first: tenfold"):
        compare_boxes(good, SimpleNamespace(**(vars(blind) | {"evaluations": {}})))
    with pytest.raises(
        UsageError, match=r"good and blind must have the same classes .*one of them alone has dog; train both"
    ):
        compare_boxes(good, SimpleNamespace(**(vars(blind) | {"classes": ("cat",)})))
    with pytest.raises(UsageError, match="Only detectors can be compared by their boxes, and blind is for class"):
        compare_boxes(good, SimpleNamespace(**(vars(blind) | {"task": TASKS["classification"]})))
    with pytest.raises(UsageError, match="at least two validation images with the same boxes in common"):
        compare_boxes(*pair(moved=range(20)))
    empty = {"table": replace(good.table, boxes=good.table.boxes.assign(ignore=True))}
    with pytest.raises(UsageError, match="and none of the 20 that they have holds an object to be found; train them"):
        compare_boxes(*(SimpleNamespace(**(vars(run) | empty)) for run in (good, blind)))
    with pytest.raises(UsageError, match="part must be one of validation, test, not 'train'"):
        compare_boxes(good, blind, "train")


# From end to end.


class Finder(BoxNetwork):
    """The toy that finds the bright square, learning from boxes that were moved for it."""

    def decode(self, outputs, affine):
        found = super().decode(outputs, affine)
        return [
            {"boxes": one["box_xyxy"][None], "score": np.float32([0.9]), "label": np.int64([0])}  # one each
            for one in found
        ]

    def losses(self, batch):
        wanted, found = batch.targets["boxes"][:, 0], self.outputs(batch.images)["boxes"]
        there = wanted.isfinite().all(1)
        assert (batch.targets["label"][:, 0] == 0).all()
        gap = (found - wanted)[there].abs().sum() / max(int(there.sum()), 1)
        return Losses({"box": gap}, {})


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def test_a_detector_goes_through_training_and_evaluation(monkeypatch, tmp_path):
    monkeypatch.setitem(MODELS, "finder", Finder)
    recipe = quick_recipe(
        image={"size": 24, "margin": 1.0},
        model={"name": "finder"},
        augment={"policy": {"op": [{"crop": {"scale": [0.9, 1]}}, {"flip": "horizontal", "probability": 0.5}]}},
        train={"epochs": 10, "lr": 0.05},
    )
    run = train_model(box_table(tmp_path / "boxes"), recipe, tmp_path / "run", task="detection")
    run = load_run(run.path)
    assert 0 < run.calibration["score"] <= 0.9
    evaluation = evaluate_run(run, "test")
    assert evaluation.figures["ap50"].value > 0.3
    assert evaluation.n == len(run.table.part("test"))
    assert evaluation.details["score"] == run.calibration["score"]  # chosen on the validation part
    assert evaluate_run(run, "validation", score=0.2).details["score"] == 0.2
    stored = run.predictions("test")
    assert stored[["x1", "y1", "x2", "y2", "score"]].notna().all(axis=None)
    assert set(stored["predicted"]) == {"square"}
    page, card = write_report(run).read_text("utf-8"), write_card(run).read_text("utf-8")
    for words in (
        "Class by class",
        "Precision, recall and scores",
        "Mistakes by kind",
        "Mistakes in pictures",
    ):
        assert words in page
    assert "square" in card
    empty = {"boxes": np.empty((0, 4), np.float32), "score": np.empty(0, np.float32), "label": np.empty(0, np.int64)}
    monkeypatch.setattr(Finder, "decode", lambda self, outputs, affine: [empty for _ in affine])
    assert evaluate_run(run, "validation").figures["ap50"].value == 0
    assert len(run.predictions("test")) == len(stored)


def loaders(folder):
    """Of the squares to train on, as they are and cropped and turned over; and their boxes in the original images."""
    recipe = quick_recipe(
        image={"size": 24, "margin": 1.0, "fit": "crop", "channels": "rgb", "mean": (0.5,) * 3, "std": (0.5,) * 3},
        augment={"policy": {"op": [{"crop": {"scale": [0.8, 1]}}, {"flip": "horizontal", "probability": 0.5}]}},
    )
    table = box_table(folder)
    prepared = prepare_table(table, start_preprocessing(recipe))
    boxes = TASK.targets(table.part("train"))["boxes"][:, 0]
    plain = plain_loader(recipe, prepared, TASK, "train")
    return plain, training_loader(recipe, prepared, TASK, lambda epoch: 24), torch.from_numpy(boxes)


def test_batches_have_boxes_in_their_own_pixels(tmp_path):
    *both, boxes = loaders(tmp_path / "boxes")
    for loader in both:
        seen = 0
        for batch in loader.batches():
            assert (batch.targets["label"] == 0).all()
            for image, row, box, affine in zip(
                batch.images, batch.rows, batch.targets["boxes"][:, 0], batch.affine, strict=True
            ):
                if box.isfinite().all():
                    torch.testing.assert_close(box, move(boxes[row], affine).clamp(0, 24), atol=1e-3, rtol=0)
                    x, y = ((box[:2] + box[2:]) / 2).long().tolist()
                    assert image[0, y, x] > 0  # the square is bright, and nothing else is
                    seen += 1
        assert seen > 10
