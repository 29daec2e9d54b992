"""Fast R-CNN in the one loop: proposals that are found once, move with their image, and are the same in prediction."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tenfold.errors import UsageError
from tenfold.evaluate import evaluate_run
from tenfold.images.content import hashed
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.models import find_model
from tenfold.models import frozen as frozen_module
from tenfold.models.cost import count_cost
from tenfold.models.detection import FastRCNN, detector, outside
from tenfold.models.detection import rcnn as rcnn_module
from tenfold.proposals import stored
from tenfold.run import load_run
from tenfold.tasks import TASKS
from tenfold.train import start_preprocessing, train_model
from tenfold.train.choose import fresh_model, make_card
from tenfold.train.data import (
    noise_batch,
    plain_loader,
    prepare_images,
    rows_loader,
    training_loader,
    with_foreknown,
)
from tenfold.train.progress import no_report
from tests.test_detection_models import ToyBackbone
from tests.test_frozen_classifier import ORIGIN
from tests.test_seams import train_killed_and_resumed
from tests.toys import quick_recipe

TASK = TASKS["detection"]
COLORS = {"red": (220, 40, 40), "green": (40, 200, 60)}


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(detector, "bare_backbone", lambda name: ToyBackbone())
    monkeypatch.setattr(rcnn_module, "bare_backbone", lambda name: ToyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (ToyBackbone(), ORIGIN))


def squares_table(folder, counts=(12, 4, 2)):
    """Images of 80 x 64 px, each with a red and a green square on a grey ground with noise; one has nothing."""
    draw = np.random.default_rng(0)
    rows, sources, folder = [], [], folder / "squares"
    folder.mkdir()
    for number in range(sum(counts)):
        image = np.full((64, 80, 3), 128.0)
        places = [(draw.integers(2, 18), draw.integers(2, 38)), (draw.integers(42, 56), draw.integers(2, 38))]
        for (x, y), (name, color) in zip(places, COLORS.items(), strict=True):
            if number != 1:
                image[y : y + 20, x : x + 20] = color
                rows.append((number, x, y, x + 20, y + 20, name, False))
        sources.append(str(folder / f"{number}.png"))
        Image.fromarray((image + draw.normal(0, 4, image.shape)).clip(0, 255).astype(np.uint8)).save(sources[-1])
    parts = np.repeat(["train", "validation", "test"], counts).tolist()
    frame = pd.DataFrame(rows, columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS)
    return Table(make_samples({"source": sources, "part": parts}, len(parts)), tuple(COLORS), frame)


def recipe_of(name="fast-rcnn", policy="none", **sections):
    detect = {
        "stride": 4,
        "fixed_stride": 2,
        "pyramid_width": 16,
        "units": 32,
        "regions": 32,
        "proposals": 60,
        "crop": 16,
    }
    detect = {key: value for key, value in detect.items() if key in find_model(name).reads}
    return quick_recipe(
        image={"size": 64, "margin": 1.0, "fit": "squash", "channels": "rgb", "mean": (0.5,) * 3, "std": (0.25,) * 3},
        model={"name": name},
        detect=detect,
        transfer={"backbone": "toy", "frozen": 0.0, "thawed": 0.3},
        augment={"policy": policy},
    ).change(train={"batch_size": 4, "lr": 0.003, **sections.pop("train", {})}, **sections)


def prepared_of(table, recipe):
    """The prepared images with their proposals, and the model."""
    table = hashed(table.without("test"))
    prepared = prepare_images(table, recipe, no_report)
    model = fresh_model(make_card(recipe, table.part("train"), "detection"), recipe)
    return with_foreknown(prepared, model, recipe, no_report), model


def test_it_goes_through_the_loop_is_killed_resumed_and_evaluated(tmp_path, monkeypatch):
    made = []
    propose = stored.propose_pixels
    monkeypatch.setattr(stored, "propose_pixels", lambda *given: made.append(0) or propose(*given))
    recipe = recipe_of(policy="light", train={"epochs": 8})
    run = train_killed_and_resumed(monkeypatch, squares_table(tmp_path), recipe, tmp_path, "detection")
    assert len(made) == 16  # of training and validation part, once for three starts
    losses = run.history["train_loss"].to_numpy()
    assert losses[-1] < 0.7 * losses[0]
    assert run.history["validation_loss"].iloc[-1] < run.history["validation_loss"].iloc[0]
    assert evaluate_run(run, "validation").figures["ap50"].n
    image = np.asarray(Image.open(run.table.samples["source"].iloc[0]))
    [found] = run.predict([image])
    [(_, same)] = run.predict_files([tmp_path / "squares" / "0.png"])
    np.testing.assert_array_equal(found["boxes"], same["boxes"])


@pytest.mark.parametrize("name", ["faster-rcnn", "rcnn"])
def test_a_training_part_without_a_box_to_learn_from_is_refused(name, tmp_path):
    table = squares_table(tmp_path)
    boxes = table.boxes.assign(ignore=table.boxes["sample"] < 12)  # all of the training part
    said = r"^table must have a box to learn from in its training part, .* and none of the 22 there is one; annotate"
    with pytest.raises(UsageError, match=said):
        train_model(replace(table, boxes=boxes), recipe_of(name, train={"epochs": 1}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_whoever_watches_hears_of_proposals(tmp_path):
    heard = []
    train_model(squares_table(tmp_path), recipe_of(train={"epochs": 1}), tmp_path / "run", progress=heard.append)
    told = [message for message in heard if "proposals of images" in message.text]
    assert told[-1].step == told[-1].steps == 16
    assert told[-1].text == "proposals of images, 16 of 16: about 0 s left"
    assert any(message.text.startswith("proposals: up to ") for message in heard if message.phase == "note")


@pytest.mark.parametrize("channels", ["rgb", "bgr", "grey"])
@pytest.mark.parametrize(("fit", "margin"), [("squash", 1.0), ("pad", 1.0), ("crop", 1.25)])
def test_prediction_sees_the_proposals_of_training(tmp_path, channels, fit, margin):
    levels = {"mean": (0.5,) * (1 if channels == "grey" else 3), "std": (0.25,) * (1 if channels == "grey" else 3)}
    recipe = recipe_of(image={"channels": channels, "fit": fit, "margin": margin, **levels})
    table = hashed(squares_table(tmp_path).without("test"))
    prepared = prepare_images(table, recipe, no_report)
    preprocessing = start_preprocessing(recipe)
    found = outside.selective_proposals(60).find(prepared, preprocessing, lambda done, of: None)
    known = replace(prepared, known={"proposals": found}, boxes=("proposals",))
    batch = next(iter(plain_loader(recipe, known, TASK, "validation").batches()))
    again = outside.selective_proposer(preprocessing, 60)(batch.images)
    for one, other in zip(batch.targets["proposals"], again, strict=True):
        there, real = ~one.isnan().any(1), (other >= 0).all(1)
        assert there.sum() > 3
        if fit != "crop":  # where boxes are cut at the rim of what is seen, nothing else differs
            assert torch.equal(there, there.sort(descending=True).values)
        torch.testing.assert_close(one[there], other[real], rtol=0, atol=1e-3)


def test_proposals_move_with_their_image_as_true_boxes_do(tmp_path):
    recipe = recipe_of(policy="strong")
    prepared, _ = prepared_of(squares_table(tmp_path), recipe)
    prepared = replace(prepared, known={"proposals": TASK.targets(prepared.table)["boxes"]})
    loader = training_loader(recipe, prepared, TASK, lambda epoch: 64)
    batches = [batch for epoch in range(4) for batch in loader.batches(epoch)]
    for batch in batches:
        torch.testing.assert_close(batch.targets["proposals"], batch.targets["boxes"], equal_nan=True)
    assert any(not torch.equal(batch.affine, batches[0].affine) for batch in batches)


def test_what_is_known_of_images_as_they_are_stays_out_of_augmented_batches(tmp_path):
    recipe = recipe_of(policy="light")
    prepared, _ = prepared_of(squares_table(tmp_path), recipe)
    prepared = replace(prepared, known=prepared.known | {"features": np.zeros((16, 3), np.float32)})
    moved = next(iter(training_loader(recipe, prepared, TASK, lambda epoch: 64).batches(0)))
    plain = next(iter(rows_loader(recipe, prepared, TASK, np.arange(3)).batches()))
    assert moved.targets.keys() == {"boxes", "label", "ignore", "proposals"}
    assert plain.targets.keys() == {*moved.targets, "features"}


def test_proposals_that_are_gone_are_no_regions(tmp_path):
    recipe = recipe_of()
    prepared, model = prepared_of(squares_table(tmp_path), recipe)
    batch = next(iter(plain_loader(recipe, prepared, TASK, "train").batches()))
    gone = batch.targets["proposals"].clone()
    gone[:, 1::2] = torch.nan
    kept = replace(batch, targets=batch.targets | {"proposals": gone[:, ::2]})
    batch = replace(batch, targets=batch.targets | {"proposals": gone})
    model.eval()
    model.proposals = 1000
    for one, other in zip(model.batch_outputs(batch).values(), model.batch_outputs(kept).values(), strict=True):
        torch.testing.assert_close(one, other)
    assert all(value.isfinite() for value in model.losses(batch).minimize.values())


def test_speed_and_cost_are_of_as_many_proposals_as_there_may_be(tmp_path):
    table, recipe = hashed(squares_table(tmp_path)), recipe_of()
    model = fresh_model(make_card(recipe, table.part("train"), "detection"), recipe)
    batch = noise_batch(recipe, table.take(np.arange(4)), TASK, model)
    boxes = batch.targets["proposals"]
    assert boxes.shape == (4, 60, 4)
    assert ((boxes >= 0) & (boxes <= 64)).all()
    assert ((boxes[..., 2:] - boxes[..., :2]) > 0).all()
    many, few = count_cost(model, 64).multiply_adds, 10
    model.foreknown = outside.selective_proposals(few)
    head = sum(layer.weight.numel() for layer in model.heads.modules() if isinstance(layer, torch.nn.Linear))
    assert many - count_cost(model, 64).multiply_adds == (60 - few) * head


def test_without_anything_to_find_proposals_it_says_so():
    settings = {**detector_settings(), "proposals": 5}
    with pytest.raises(UsageError, match="Fast R-CNN needs proposals for its images: hand in its `proposer`, or a"):
        FastRCNN(3, ("a",), settings).outputs(torch.zeros(1, 3, 64, 64))


def detector_settings():
    from tests.test_detection_models import SETTINGS

    return SETTINGS


def test_a_run_s_model_finds_its_own_proposals(tmp_path):
    run = train_model(squares_table(tmp_path), recipe_of(train={"epochs": 1}), tmp_path / "run")
    model = load_run(run.path).model
    assert model.preprocessing == run.preprocessing
    images = model.preprocessing.normalize(torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8))
    assert model.outputs(images)["boxes"].shape == (2, 100, 4)
