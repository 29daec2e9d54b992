"""How much a training is given: steps enough from few images with boxes, and room for all that is in one."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest
import torch

from tenfold.errors import UsageError
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.models import MODELS
from tenfold.models.contract import Usual
from tenfold.models.detection import RCNN, FasterRCNN
from tenfold.recipe import DetectSettings, Recipe
from tenfold.train import choose_settings, train_model
from tenfold.train.amounts import choose_amounts, most_boxes, notes_on_room, with_room
from tests.test_fast_rcnn_training import recipe_of, squares_table, toy  # noqa: F401 - a fixture


def table_of(count, *boxes):
    """So many training images that are nowhere, the first ones with these numbers of boxes."""
    rows = [(image, 0.0, 0.0, 9.0, 9.0, "cell", False) for image, each in enumerate(boxes) for _ in range(each)]
    frame = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    samples = make_samples({"source": [f"{n}.png" for n in range(count)], "part": ["train"] * count}, count)
    return Table(samples, ("cell",), frame)


def amounts(count, usual=FasterRCNN.usual, processes=1, boxes=True, **train):
    table = table_of(count, 1)
    table = table if boxes else replace(table, boxes=None)
    return choose_amounts(Recipe().change(train=train), table, usual, processes)


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_a_detector_takes_500_steps_in_the_largest_batches_that_allow_it(processes):
    for count in [*range(2 * processes, 130), 205, 399, 400, 1000, 2500, 5000, 20_000]:
        batch, epochs = amounts(count, processes=processes)
        usual = min(60, max(8, 5000 // count))  # the epochs that it would have anyway
        largest = 8 if count < 160 else min(64, 2 ** int(np.log2(count / 20)))
        allowed = [size for size in (64, 32, 16, 8, 4, 2) if 2 * processes <= size <= largest]
        good = [size for size in allowed if usual * -(-count // min(size, count)) >= 500]
        assert batch == min(count, (good or allowed[-1:])[0]), count
        batches = -(-count // batch)
        assert epochs == max(usual, min(-(-500 // batches), 5000 // count)), count
        assert epochs * batches >= 500
        assert count // batches >= processes


def test_what_few_images_come_to():
    assert [amounts(count) for count in (1, 8, 20, 40, 50, 60, 205)] == [
        (1, 500),  # as many epochs as steps
        (2, 125),
        (2, 60),
        (4, 60),
        (4, 60),
        (4, 60),
        (8, 24),  # as it was measured on BCCD
    ]
    assert amounts(100, batch_size=64) == (64, 50)  # 5,000 images are looked at, and no more, in 100 steps
    assert amounts(20, batch_size=5) == (5, 125)
    assert amounts(20, epochs=3) == amounts(20)


def test_of_others_it_is_as_ever():
    assert amounts(20, Usual(), boxes=False) == (8, 150)
    assert amounts(1000, Usual(), boxes=False) == (32, 150)
    assert amounts(5, Usual(), boxes=False) == (5, 150)
    assert amounts(1000, Usual(), boxes=False, balance="background") == (128, 150)
    assert amounts(20, RCNN.usual) == (8, 1)


def test_a_training_takes_them_and_keeps_to_batch_normalization(tmp_path):
    run = train_model(squares_table(tmp_path), recipe_of(train={"batch_size": 0, "epochs": 1}), tmp_path / "run")
    assert run.recipe.train.batch_size == 2
    assert run.recipe.model.norm == "batch"
    assert run.history["step"].max() == 6
    chosen = choose_settings(run.recipe.change(train={"epochs": 0}), run.table.part("train"))
    assert chosen.train.epochs == 84  # of 6 batches


def test_there_is_room_for_twice_the_objects_of_the_fullest_image():
    assert most_boxes(table_of(4, 2, 150, 0, 30)) == 150
    assert most_boxes(table_of(4)) == 0
    faster, fast = (Recipe().change(model={"name": name}) for name in ("faster-rcnn", "fast-rcnn"))
    for table, detections in ((table_of(2, 9), 100), (table_of(3, 2, 150), 300)):
        for recipe in (faster, fast):
            found = with_room(recipe, table).detect
            assert (found.detections, found.proposals) == (detections, 0)  # so that it serves another model too
    given = faster.change(detect={"detections": 20, "proposals": 50})
    assert with_room(given, table_of(1, 150)) == given


def test_room_is_told_of_where_it_is_not_the_usual():
    def told(table, **detect):
        given = Recipe().change(model={"name": "faster-rcnn"}, detect=detect)
        return notes_on_room(given, with_room(given, table), table)

    assert told(table_of(2, 9)) == ()
    assert told(table_of(2, 150)) == ("Up to 300 detections of an image, as a training image has 150 boxes.",)
    assert told(table_of(2, 150), detections=200) == ()
    [warning] = told(table_of(2, 150), detections=100)
    assert warning.startswith("detect.detections allows 100 detections of an image, and a training image has 150 boxes")
    assert warning.endswith("set --detect.detections 300.")


def test_objects_too_small_for_the_network_are_told_of(tmp_path):
    def told(sides, at=(3000, 4000), **image):
        rows = [(0, 0.0, 0.0, side, 500.0, "cell", False) for side in sides]
        boxes = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
        table = replace(table_of(1), boxes=boxes, said_sizes={"0.png": at} if at else {})
        image = {"size": 416, "aspect": 4 / 3, "fit": "squash"} | image
        recipe = Recipe().change(model={"name": "faster-rcnn"}, image=image)
        return notes_on_room(recipe, with_room(recipe, table), table)

    assert told([12, 18, 24]) == (
        "Half of the objects are under 2.2 px wide or high at 480 x 352 px, which the network can hardly tell; set a "
        "larger --size (1600 or more makes them about 8 px), or cut the images into tiles.",
    )
    assert told([12, 18, 24], size=1600) == ()
    assert told([12, 18, 24], at=(300, 400)) == ()
    assert told([40, 40, 300], at=(480, 640)) == told([]) == told([0.5]) == told([12], at=None) == ()
    [hopeless] = told([2, 2, 300])
    assert hopeless.endswith("which the network can hardly tell; cut the images into tiles.")
    [padded] = told([18], at=(1500, 4000), fit="pad")
    [cropped] = told([18], at=(1500, 4000), fit="crop")
    assert "under 2.2 px" in padded
    assert "under 4.2 px" in cropped
    table = squares_table(tmp_path)  # of 80 x 64 px, which no annotation states, with squares of 20 px
    *_, said = notes_on_room(recipe_of(), recipe_of(image={"size": 16, "aspect": 1.0}), table)
    assert said.startswith("Half of the objects are under 4.0 px wide or high at 16 px")


def test_a_detector_finds_as_many_as_there_is_room_for(tmp_path):
    table, heard = squares_table(tmp_path), []
    extra = pd.DataFrame({"sample": [0] * 70, "label": "red", "ignore": False})
    for name, start in (("x1", 2.0), ("y1", 2.0), ("x2", 22.0), ("y2", 22.0)):
        extra[name] = start + np.arange(70) / 4
    table = replace(table, boxes=pd.concat([table.boxes, extra[list(BOX_COLUMNS)]], ignore_index=True))
    run = train_model(table, recipe_of(train={"epochs": 1}), tmp_path / "run", progress=heard.append)
    assert run.recipe.detect.detections == 144
    assert any(
        message.text == "Up to 144 detections of an image, as a training image has 72 boxes." for message in heard
    )
    images = run.model.preprocessing.normalize(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    assert run.model.outputs(images)["boxes"].shape == (1, 144, 4)


def test_truncated_heads_are_refused_where_there_are_none():
    recipe = Recipe().change(model={"name": "rcnn"}, detect={"rank": 8})
    with pytest.raises(
        UsageError, match=r"^detect\.rank is for faster-rcnn or fast-rcnn, not for rcnn; leave it out, or"
    ):
        choose_settings(recipe, table_of(4, 1))


@pytest.mark.parametrize(
    ("model", "setting", "able"),
    [
        ("faster-rcnn", {"finetune": True}, "rcnn"),
        ("auto", {"finetune": True}, "rcnn"),
        ("torchvision", {"proposals": 100}, "faster-rcnn or fast-rcnn or rcnn"),
        ("fast-rcnn", {"anchors": 5}, "faster-rcnn"),
        ("rcnn", {"background_from": 0.1}, "faster-rcnn or fast-rcnn"),
        ("residual", {"score": 0.5}, "faster-rcnn or fast-rcnn or rcnn or torchvision"),
    ],
)
def test_what_a_model_does_not_go_by_is_refused(model, setting, able):
    [name] = setting
    recipe = Recipe().change(model={"name": model}, detect=setting)
    named = "faster-rcnn" if model == "auto" else model
    with pytest.raises(UsageError, match=rf"^detect\.{name} is for {able}, not for {named}; leave it out, or set --mo"):
        choose_settings(recipe, table_of(4, 1))


def test_every_setting_of_detection_is_some_model_s():
    assert {name for kind in MODELS.values() for name in kind.reads} == set(asdict(DetectSettings()))
