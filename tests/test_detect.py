"""Regions as samples of a classifier, against a loop; and the network that is fine-tuned on them inside an R-CNN."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tenfold.augment.chosen import read_policy
from tenfold.detect import BACKGROUND, region_table, train_rcnn, train_regions
from tenfold.detect import regions as regions_module
from tenfold.detect.regions import named_regions
from tenfold.errors import DataError, UsageError
from tenfold.images.content import hashed
from tenfold.models import backbones
from tenfold.models import frozen as frozen_module
from tenfold.proposals import Proposed, make_proposer, propose_table, write_proposals
from tenfold.run import load_run
from tests.detecting import iou
from tests.test_detection_models import ToyBackbone
from tests.test_fast_rcnn_training import recipe_of, squares_table
from tests.test_frozen_classifier import ORIGIN


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(backbones.BACKBONES, "toy", lambda name: ToyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (ToyBackbone(), ORIGIN))


def proposed_of(table, seed=0):
    """Boxes near the true ones and anywhere."""
    table, draw, found = hashed(table), np.random.default_rng(seed), []
    for row in range(len(table)):
        true = table.boxes[table.boxes["sample"] == row][["x1", "y1", "x2", "y2"]].to_numpy()
        near = np.repeat(true, 8, 0) + draw.normal(0, 2, (8 * len(true), 4))
        first = draw.uniform(0, 50, (150, 2))
        found.append(np.concatenate([near, np.hstack([first, first + draw.uniform(5, 25, (150, 2))])]).astype("f4"))
    return Proposed(table, found)


def share_inside(box, other):
    """How much of a box lies in another one."""
    sides = [max(0.0, min(box[side + 2], other[side + 2]) - max(box[side], other[side])) for side in (0, 1)]
    return sides[0] * sides[1] / ((box[2] - box[0]) * (box[3] - box[1]))


def test_regions_are_named_by_what_they_overlap_most(tmp_path):
    table = squares_table(tmp_path)
    extra = pd.DataFrame({"sample": [0], "x1": [30.0], "y1": [2.0], "x2": [50.0], "y2": [22.0]})
    extra = pd.concat([extra, pd.DataFrame({"sample": [1], "x1": [0.0], "y1": [0.0], "x2": [70.0], "y2": [60.0]})])
    crowd = pd.concat([table.boxes, extra.assign(label="red", ignore=True)], ignore_index=True)
    flat = crowd.iloc[[0]].assign(x2=crowd["x1"].iloc[0])
    table = replace(table, boxes=pd.concat([crowd, flat], ignore_index=True))
    proposed = proposed_of(table)
    for row in (0, 1, 2):
        every, kinds = named_regions(proposed.table, row, proposed.boxes[row])
        frame = table.boxes[(table.boxes["sample"] == row) & (table.boxes["x1"] < table.boxes["x2"])]
        true = list(frame.itertuples(index=False))
        assert len(every) == len(proposed.boxes[row]) + sum(not box.ignore for box in true)
        for box, kind in zip(every.tolist(), kinds, strict=True):
            overlap = {other: iou(box, other[1:5]) for other in true if not other.ignore}
            best = max(overlap, key=overlap.get, default=None)
            if best is not None and overlap[best] >= 0.5:
                assert table.classes[kind] == best.label
            elif any(other.ignore and share_inside(box, other[1:5]) >= 0.5 for other in true):
                assert kind == -1
            else:
                assert kind == 2


def test_a_click_is_no_object(tmp_path):
    table = squares_table(tmp_path)
    click = table.boxes.iloc[[0]].assign(x1=60.0, y1=60.0, x2=61.0, y2=61.0)
    proposed = proposed_of(table)
    near = np.array([[60.0, 60, 61, 61], [59.9, 60, 61, 61]], np.float32)
    proposed = replace(proposed, boxes=[np.concatenate([near, proposed.boxes[0]]), *proposed.boxes[1:]])
    clicked = replace(table, boxes=pd.concat([table.boxes, click], ignore_index=True))
    for one, other in zip(
        named_regions(proposed.table, 0, proposed.boxes[0]), named_regions(clicked, 0, proposed.boxes[0]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_what_the_recipe_says_of_policy_balance_and_batches_holds(tmp_path):
    table = squares_table(tmp_path, (6, 3, 1))
    recipe = recipe_of("rcnn", detect={"crop": 16}, train={"epochs": 1, "batch_size": 8})
    given = train_regions(table, recipe.change(train={"balance": "none"}), tmp_path / "given").recipe
    assert (given.train.balance, given.train.batch_size) == ("none", 8)
    assert read_policy(given.augment.policy).ops == ()
    open_recipe = recipe.change(train={"batch_size": 0}, augment={"policy": "auto"})
    left_open = train_regions(table, open_recipe, tmp_path / "open")
    assert [node.name for node in read_policy(left_open.recipe.augment.policy).ops] == [
        "flip",
        "brightness",
        "contrast",
    ]
    assert left_open.recipe.train.balance == "background"
    assert left_open.recipe.train.batch_size == min(128, len(left_open.table.part("train"))) > 64


def test_three_of_the_background_for_each_of_an_object(tmp_path):
    table = squares_table(tmp_path)
    table.samples.loc[3, "group"] = "a burst"
    proposed = proposed_of(table)
    regions = region_table(proposed)
    samples = regions.samples
    assert regions.classes == ("red", "green", BACKGROUND)
    assert regions.boxes is None
    for row, own in samples.groupby("origin", sort=False):
        image = proposed.table.samples[proposed.table.samples["hash"] == row].iloc[0]
        objects = int((own["label"] != BACKGROUND).sum())
        assert objects <= 32
        assert len(own) - objects == 3 * max(objects, 1)
        assert set(own["part"]) == {image["part"]}
        assert set(own["group"]) == {"a burst" if image.name == 3 else row}
    corners = samples[["x1", "y1", "x2", "y2"]].to_numpy(np.float64)
    share = 16 / 195
    sides = (corners[:, 2:] - corners[:, :2]) / (1 + 2 * share)
    inner = corners + np.hstack([sides, -sides]) * share
    rows = {name: place for place, name in enumerate(proposed.table.samples["hash"])}
    for origin, box in zip(samples["origin"], inner, strict=True):
        every, _ = named_regions(proposed.table, rows[origin], proposed.boxes[rows[origin]])
        assert np.abs(every - box).max(1).min() < 1e-4
    assert region_table(proposed).samples.equals(samples)
    assert not region_table(proposed, seed=1).samples.equals(samples)
    alone = Proposed(proposed.table.take([4]), [proposed.boxes[4]])
    own = samples[samples["origin"] == proposed.table.samples["hash"].iloc[4]].reset_index(drop=True)
    assert region_table(alone).samples[["x1", "label"]].equals(own[["x1", "label"]])


def test_images_without_boxes_are_refused(tmp_path):
    proposed = proposed_of(squares_table(tmp_path))
    with pytest.raises(UsageError, match="table must have boxes to cut regions by, and its images are not annotated"):
        region_table(Proposed(replace(proposed.table, boxes=None), proposed.boxes))


def renamed(table, old, new):
    boxes = table.boxes.assign(label=table.boxes["label"].where(table.boxes["label"] != old, new))
    return replace(table, boxes=boxes, classes=tuple(new if name == old else name for name in table.classes))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda table: replace(table, boxes=None),
            "table must have boxes to cut regions by, and its images are not annotated with any; read annotated",
        ),
        (
            lambda table: replace(table, classes=("red",)),
            r"Every box needs a label that is one of the classes; one of .*0\.png has none\.",
        ),
        (
            lambda table: renamed(table, "red", BACKGROUND),
            r"table must have no class \(background\), as regions without an object are called so, and it has one; "
            "give that class another name.",
        ),
        (
            lambda table: table.assign(part=["validation"] * 9 + ["test"]),
            "table must have a training part, and none of its 10 images is in it; split it first, for example with "
            "tenfold.split_table.",
        ),
        (
            lambda table: replace(table, boxes=table.boxes.assign(ignore=True)),
            "over 1 px wide and high and not to be ignored, and none of the 10 there is one; annotate objects there, "
            "or move images that have some into it.",
        ),
        (
            lambda table: replace(table, boxes=table.boxes.assign(x2=table.boxes["x1"] + 1)),
            "table must have a box to learn from in its training part, .* none of the 10 there is one",
        ),
        (lambda table: replace(table, boxes=table.boxes[table.boxes["sample"] > 5]), "none of the 0 there is one"),
    ],
    ids=["no boxes", "no label", "a class called background", "no training part", "ignored", "clicks", "elsewhere"],
)
def test_a_table_that_regions_cannot_be_of_is_refused_before_an_image_is_decoded(change, said, tmp_path, monkeypatch):
    monkeypatch.setattr(regions_module, "prepare_images", lambda *_: pytest.fail("images were decoded"))
    table = change(squares_table(tmp_path, (6, 3, 1)))
    for train in (train_regions, train_rcnn):
        with pytest.raises(UsageError, match=said):
            train(table, recipe_of("rcnn"), tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_recipe_of_another_model_and_folders_that_are_taken_are_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr(regions_module, "prepare_images", lambda *_: pytest.fail("images were decoded"))
    table, taken = squares_table(tmp_path, (6, 3, 1)), tmp_path / "run-regions"
    for train in (train_regions, train_rcnn):
        with pytest.raises(UsageError, match=r"model\.name must be rcnn .* and it is faster-rcnn; set --model rcnn"):
            train(table, recipe_of("faster-rcnn"), tmp_path / "other")
    taken.mkdir()
    (taken / "recipe.toml").write_text("", "utf-8")
    with pytest.raises(UsageError, match=r"out must be a new folder, and .*run-regions holds a run; name another"):
        train_regions(table, recipe_of("rcnn"), taken)
    said = r"out must leave .*run-regions free .*; name another than .*run, or train the R-CNN on .* with --init .*-reg"
    with pytest.raises(UsageError, match=said):
        train_rcnn(table, recipe_of("rcnn"), tmp_path / "run")


def test_proposals_without_background_are_refused_but_for_another_balance(tmp_path):
    table, file = hashed(squares_table(tmp_path, (6, 3, 1))), tmp_path / "p.parquet"
    true = [table.boxes[table.boxes["sample"] == row] for row in range(len(table))]
    boxes = [own[["x1", "y1", "x2", "y2"]].to_numpy(np.float32) for own in true]
    boxes[1] = np.array([[0, 0, 30, 30]], np.float32)  # the image in which nothing is
    write_proposals(file, Proposed(table, boxes), 10)
    recipe = recipe_of("rcnn", detect={"crop": 16, "proposals_from": str(file)}, train={"epochs": 1, "batch_size": 8})
    with pytest.raises(
        UsageError,
        match=r"The proposals must hold 3 regions of background in the training part, .* by 0\.5 \(IoU\), and those of "
        r".*p\.parquet hold 1; give more proposals, or set train\.balance to none\.",
    ):
        train_regions(table, recipe, tmp_path / "refused")
    run = train_regions(table, recipe.change(train={"balance": "none"}), tmp_path / "run")
    assert run.classes == ("red", "green", BACKGROUND)


def test_an_r_cnn_takes_the_network_that_was_fine_tuned(tmp_path):
    table = squares_table(tmp_path, (6, 3, 1))
    detect = {"crop": 16, "proposals": 40, "finetune": True}
    recipe = recipe_of("rcnn", detect=detect, train={"epochs": 1, "batch_size": 16})
    heard = []
    run = train_rcnn(table, recipe, tmp_path / "run", progress=heard.append)
    regions = load_run(tmp_path / "run-regions")
    assert regions.classes == ("red", "green", BACKGROUND)
    assert regions.card["architecture"] == "finetuned"
    assert regions.preprocessing.size == 16
    assert any(message.text.startswith("proposals of images, 9 of 9") for message in heard)
    assert set(regions.table.samples["part"]) == {"train", "validation"}
    found = propose_table(table.without("test"), make_proposer())
    found = replace(found, boxes=[boxes[:40] for boxes in found.boxes])  # those that the R-CNN looks at
    assert len(regions.table) == len(region_table(found, recipe.train.seed))
    assert regions.recipe.train.balance == "background"  # a quarter objects, and no class weighs more
    assert "class_weights" not in regions.card["settings"]
    assert run.recipe.transfer.init == str(regions.path.absolute())
    one, other = (load_file(path / "model.safetensors") for path in (regions.path, run.path))
    names = [name for name in one if name.startswith("backbone.")]
    assert names
    assert all(torch.equal(one[name], other[name]) for name in names)
    with pytest.raises(UsageError, match="out must be a new folder"):
        train_rcnn(table, recipe, tmp_path / "run")


def test_regions_have_the_one_size_of_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(ToyBackbone, "fixed_size", property(lambda self: 24))
    recipe = recipe_of("rcnn", train={"epochs": 1, "batch_size": 16}).change(detect={"crop": 0})
    run = train_rcnn(squares_table(tmp_path, (6, 3, 1)), recipe.change(detect={"finetune": True}), tmp_path / "run")
    assert run.recipe.detect.crop == 24
    assert load_run(tmp_path / "run-regions").preprocessing.size == 24


def test_both_stages_take_proposals_from_a_file(tmp_path):
    table, file = squares_table(tmp_path, (6, 3, 1)), tmp_path / "p.parquet"
    found = propose_table(table, make_proposer("random", count=40))
    write_proposals(file, found, 40)
    detect = {"crop": 16, "proposals": 40, "finetune": True, "proposals_from": str(file)}
    recipe = recipe_of("rcnn", detect=detect, train={"epochs": 1, "batch_size": 16})
    run = train_rcnn(table, recipe, tmp_path / "run")
    regions = load_run(tmp_path / "run-regions")
    expected = region_table(Proposed(found.table.take(range(9)), found.boxes[:9]), recipe.train.seed).samples
    seen = regions.table.samples
    assert len(seen) == len(expected)
    corners = [frame[["x1", "y1", "x2", "y2"]].to_numpy(np.float64) for frame in (seen, expected)]
    np.testing.assert_allclose(*corners, atol=1e-3)
    assert run.recipe.detect.proposals_from == str(file)
    assert regions.recipe.detect.proposals_from == ""


@pytest.mark.parametrize("given", [False, True])
def test_an_image_that_cannot_be_read_is_left_out_or_refused(given, tmp_path):
    table, file = squares_table(tmp_path, (6, 3, 1)), tmp_path / "p.parquet"
    (tmp_path / "squares" / "3.png").write_bytes(b"no image")
    write_proposals(file, propose_table(table, make_proposer("random", count=40)), 40)
    detect = {"crop": 16, "proposals_from": str(file) if given else ""}
    recipe = recipe_of("rcnn", detect=detect, train={"epochs": 1, "batch_size": 16})
    with pytest.raises(DataError, match=r"1 images cannot be read: .*3\.png"):
        train_regions(table, recipe.change(data={"unreadable": "refuse"}), tmp_path / "refused")
    heard = []
    run = train_regions(table, recipe, tmp_path / "run", progress=heard.append)
    assert any(message.text.startswith("left out: ") and "3.png" in message.text for message in heard)
    assert len(run.table.samples["origin"].unique()) == 8


def test_a_whole_detector_is_no_backbone():
    pytest.importorskip("torchvision")
    with pytest.raises(UsageError, match=r"torchvision:ssd300_vgg16 is a whole detector, which only --model"):
        backbones.bare_backbone("torchvision:ssd300_vgg16")
