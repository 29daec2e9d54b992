"""Images that the network sees as rectangles: the sides, what lies where, and that squares stay as they were.

`as_before` is how a canvas was made when there were squares only, written down again.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tenfold.augment.feed import PlainInput, PolicyInput, boxes_on_canvas, on_canvas
from tenfold.augment.policy import Policy
from tenfold.augment.published import named_policy
from tenfold.augment.save import Saving, save_augmented
from tenfold.augment.tree import op
from tenfold.detect import regions as regions_module
from tenfold.draws import draw_keys
from tenfold.errors import DataError, UsageError
from tenfold.evaluate import evaluate_run
from tenfold.images.content import hashed
from tenfold.images.loader import Drawn
from tenfold.images.preprocess import FITS, Preprocessing, rectangle, size_words
from tenfold.images.resize import resize
from tenfold.models import backbones
from tenfold.models import frozen as frozen_module
from tenfold.models.cost import count_cost
from tenfold.models.detection import detector
from tenfold.models.detection.detector import original_boxes
from tenfold.models.detection.torchvision_detector import TorchvisionDetector
from tenfold.recipe import Recipe
from tenfold.tasks import TASKS
from tenfold.train import choose_settings, start_preprocessing
from tenfold.train.choose import fresh_model, make_card
from tenfold.train.data import noise_batch
from tests.test_detection_models import ToyBackbone
from tests.test_fast_rcnn_training import recipe_of, squares_table
from tests.test_frozen_classifier import ORIGIN
from tests.test_seams import train_killed_and_resumed
from tests.toys import scene

WIDE = Preprocessing("rgb", 416, 416, "squash", "triangle", 7, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), aspect=4 / 3)
ROOM = replace(WIDE, size=96, canvas=113)  # 96 x 128 in 113 x 151: an odd room on both sides
SQUARE = replace(ROOM, aspect=1.0)


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(backbones.BACKBONES, "toy", lambda name: ToyBackbone())
    monkeypatch.setattr(detector, "bare_backbone", lambda name: ToyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (ToyBackbone(), ORIGIN))


# The sides


def test_runs_store_size_and_aspect_so_that_their_sides_may_never_change():
    sides = {
        (416, 1.3333): (352, 480),
        (416, 0.75): (480, 352),
        (416, 1.5): (352, 512),
        (416, 1.7778): (320, 576),
        (512, 1.3333): (448, 608),
        (640, 1.3333): (544, 736),
        (128, 1.3333): (96, 128),
        (224, 2.0): (160, 320),
        (64, 1.3333): (64, 64),
        (24, 1.3333): (24, 24),
        (24, 0.75): (24, 24),
        (416, 1.02): (416, 416),
        (417, 1.0): (417, 417),
    }
    assert {given: rectangle(*given) for given in sides} == sides
    assert (WIDE.sides, WIDE.canvas_sides) == ((352, 480), (352, 480))
    assert (ROOM.sides, ROOM.canvas_sides) == ((96, 128), (113, 151))


@pytest.mark.parametrize("aspect", [0.25, 0.5, 0.75, 1.05, 1.25, 1.5, 1.9, 3.0, 4.0])
def test_a_rectangle_has_about_the_shape_and_the_pixels_asked_for(aspect):
    for size in range(256, 1025, 32):
        height, width = rectangle(size, aspect)
        assert height % 32 == width % 32 == 0
        assert abs(np.log(width / height / aspect)) < 0.15
        assert abs(np.log(height * width / size**2)) < 0.2


def test_sides_in_words():
    assert (size_words(416, 1.0), size_words(416, 1.3333), size_words(64, 1.3333)) == ("416", "480 x 352", "64")


# Squares stay as they were


def as_before(made, image):
    (height, width), canvas = image.shape[:2], made.canvas
    if made.fit == "squash":
        scales, shift = (canvas / width, canvas / height), (0, 0)
        pixels = resize(image, canvas, canvas, made.filter)
    elif made.fit == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        pixels = resize(image[top : top + side, left : left + side], canvas, canvas, made.filter)
        scales, shift = (canvas / side, canvas / side), (-left * (canvas / side), -top * (canvas / side))
    else:
        scale = canvas / max(height, width)
        rows, columns = max(round(height * scale), 1), max(round(width * scale), 1)
        top, left = (canvas - rows) // 2, (canvas - columns) // 2
        pixels = np.full((canvas, canvas, image.shape[2]), made.background, np.uint8)
        pixels[top : top + rows, left : left + columns] = resize(image, rows, columns, made.filter)
        scales, shift = (columns / width, rows / height), (left, top)
    return pixels, np.array([[scales[0], 0, shift[0]], [0, scales[1], shift[1]]], np.float32)


@pytest.mark.parametrize("fit", FITS)
def test_a_square_is_what_it_was_to_the_last_bit(fit):
    made, random = replace(SQUARE, fit=fit), np.random.default_rng(0)
    for shape in [(48, 64), (64, 48), (113, 113), (1, 500), (333, 7), *random.integers(1, 300, (20, 2))]:
        image = random.integers(0, 256, (*shape, 3), dtype=np.uint8)
        for canvas in (96, 113, 128):
            sized = replace(made, canvas=canvas)
            for one, other in zip(sized.prepare(image), as_before(sized, image), strict=True):
                np.testing.assert_array_equal(one, other)
            first = (canvas - 96) // 2
            canvases, affine = (part[None] for part in sized.prepare(image))
            np.testing.assert_array_equal(sized.center(canvases)[0], canvases[0, first : first + 96, first:][:, :96])
            np.testing.assert_array_equal(sized.center_affine(affine)[0], affine[0] - np.float32([[0, 0, first]] * 2))


@pytest.mark.parametrize("canvas", [97, 113, 120])
def test_of_a_square_canvas_a_policy_has_the_same_centre_to_the_last_bit(canvas):
    room, policy = canvas - 96, named_policy("randaugment")
    before = [op("shift_pixels", [0.5, 0.5])] * (room % 2) + [op("zoom", [room / 96, room / 96])]
    keys = draw_keys(0, 0, np.arange(200, dtype=np.uint64))
    one = on_canvas(policy, replace(SQUARE, canvas=canvas)).draw(keys, canvas, canvas, (96, 96))
    other = replace(policy, ops=(*before, *policy.ops)).draw(keys, canvas, canvas, (96, 96))
    np.testing.assert_array_equal(one.total, other.total)
    np.testing.assert_array_equal(one.color, other.color)


def test_what_is_stored_of_a_square_is_what_it_was():
    assert SQUARE.to_json() == {
        "channels": "rgb",
        "size": 96,
        "canvas": 113,
        "fit": "squash",
        "filter": "triangle",
        "background": 7,
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.25, 0.3],
        "origin": "",
        "sixteen_bit_divisor": 256,
    }
    geometry = {
        name: value for name, value in SQUARE.to_json().items() if name not in ("size", "mean", "std", "origin")
    }
    assert SQUARE.geometry() == geometry  # the key of the cache of images, and part of that of their proposals


# What is stored of rectangles


def test_a_rectangle_goes_to_json_and_back():
    stored = json.loads(json.dumps(ROOM.to_json()))
    assert Preprocessing.from_json(stored) == ROOM
    with pytest.raises(DataError, match=r"'s aspect must be of type float, not '1'\.$"):
        Preprocessing.from_json(stored | {"aspect": "1"})
    with pytest.raises(DataError, match=r"preprocessing\.aspect must be from 0\.25 to 4, not 5\.$"):
        Preprocessing.from_json(stored | {"aspect": 5.0})


def test_canvases_of_the_same_sides_are_the_same_in_the_cache_and_others_are_not():
    assert ROOM.geometry()["canvas"] == [113, 151]
    assert ROOM.geometry() == replace(ROOM, aspect=1.33).geometry()
    assert ROOM.geometry() != replace(ROOM, aspect=0.75).geometry()
    assert ROOM.geometry() != SQUARE.geometry()
    assert replace(ROOM, size=64, canvas=64).geometry() == replace(SQUARE, size=64, canvas=64).geometry()


# What lies where


@pytest.mark.parametrize("made", [WIDE, ROOM, replace(ROOM, aspect=0.5)], ids=["wide", "room", "high"])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(480, 640), (640, 480), (300, 301), (97, 640)])
def test_boxes_go_there_and_back(shape, fit, made):
    """Boxes that the network sees whole come back to within 0.01 px, those of the whole image with it."""
    made, (height, width) = replace(made, fit=fit), shape
    random = np.random.default_rng(0)
    first = random.uniform(0, 0.9, (200, 2)) * [width, height]
    boxes = np.concatenate([first, first + random.uniform(0, 1, (200, 2)) * ([width, height] - first)], 1)
    boxes = np.concatenate([boxes, [[0, 0, width, height]]]).astype(np.float32)
    canvas, affine = made.prepare(np.zeros((*shape, 3), np.uint8))
    assert canvas.shape == (*made.canvas_sides, 3)
    moved = made.center_affine(affine[None])
    seen = boxes_on_canvas(torch.from_numpy(boxes)[None], moved, made.sides, 0.0)
    there = ~np.isnan(seen).any(2)[0]
    limits = np.array(made.sides[::-1] * 2)
    assert (seen[0, there] >= 0).all()
    assert (seen[0, there] <= limits).all()
    corners = np.stack([boxes.reshape(-1, 2, 2)[..., 0], boxes.reshape(-1, 2, 2)[..., 1]], -1)
    exact = (corners * moved[0, [0, 1], [0, 1]] + moved[0, :, 2]).reshape(-1, 4)
    whole = ((exact > -1e-3) & (exact < limits + 1e-3)).all(1)
    back = original_boxes(torch.from_numpy(seen[:, whole]), torch.from_numpy(moved))[0].numpy()
    np.testing.assert_allclose(back, boxes[whole], atol=0.01)
    assert whole.sum() > 100 or fit == "crop" or made.canvas > made.size
    if made.canvas == made.size and fit != "crop":
        assert whole.all()


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("shape", [(300, 400), (400, 300), (180, 190)])
def test_a_block_lands_where_the_map_says(shape, fit):
    made, (height, width) = replace(ROOM, fit=fit, background=0), shape
    image = np.zeros((*shape, 3), np.uint8)
    box = np.array([width // 2 - 40, height // 2 - 30, width // 2 + 25, height // 2 + 50])
    image[box[1] : box[3], box[0] : box[2]] = 255
    canvas, affine = made.prepare(image)
    seen = made.center(canvas[None])[0, ..., 0] / 255
    columns, rows = seen.max(0), seen.max(1)  # coverage of each, fractional at the edges
    told = made.center_affine(affine[None])[0] @ np.stack([[box[0], box[1], 1], [box[2], box[3], 1]]).T
    found = [columns @ (np.arange(128) + 0.5) / columns.sum(), rows @ (np.arange(96) + 0.5) / rows.sum()]
    np.testing.assert_allclose(found, told.mean(1), atol=0.12)
    np.testing.assert_allclose([columns.sum(), rows.sum()], told[:, 1] - told[:, 0], atol=0.12)


def test_fits_keep_what_they_promise():
    image = np.full((480, 640, 3), 200, np.uint8)
    assert (replace(WIDE, fit="pad").prepare(image)[0] == 200).mean() > 0.97  # a square would be a quarter background
    assert (replace(WIDE, fit="pad", aspect=1.0).prepare(image)[0] == 200).mean() == 0.75
    for made in (WIDE, replace(WIDE, fit="crop")):
        (x, _, _), (_, y, _) = made.prepare(image)[1]
        assert abs(x / y - 1) < 0.025  # shapes stay true, but for the sides' being multiples of 32


# What training is fed with


def drawn_of(canvases, boxes=None, affine=((1, 0, 0), (0, 1, 0))):
    count = len(canvases)
    keys = draw_keys(0, 0, np.arange(count, dtype=np.uint64))
    targets = {} if boxes is None else {"box": torch.tensor(boxes, dtype=torch.float32).expand(count, -1, -1)}
    return Drawn(canvases, targets, keys, np.tile(np.asarray(affine, np.float32), (count, 1, 1)))


def feed_of(policy, made=ROOM, **settings):
    return PolicyInput(policy, made, lambda epoch: made.size, (), **settings)


@pytest.mark.parametrize("canvas", [96, 97, 113, 120])
def test_a_policy_that_changes_nothing_gives_what_evaluation_sees(canvas):
    made = replace(ROOM, canvas=canvas)
    canvases = np.random.default_rng(0).integers(0, 256, (3, *made.canvas_sides, 3), np.uint8)
    drawn = drawn_of(canvases, [[3.0, 5, 60, 70]], [[0.5, 0, 30], [0, 2, -9]])
    images, targets, affine = feed_of(Policy("none"), made, boxes=("box",))(drawn, 0)
    plain, boxes, maps = PlainInput(made, boxes=("box",))(drawn, 0)
    assert images.shape == (2, 3, 96, 128)
    torch.testing.assert_close(images, plain, atol=1e-4, rtol=0)
    torch.testing.assert_close(affine, maps)
    torch.testing.assert_close(targets["box"], boxes["box"])


def test_boxes_and_pixels_are_changed_together():
    canvases = np.zeros((41, 113, 151, 3), np.uint8)
    canvases[:, 50:70, 60:90] = 255
    plain = replace(ROOM, mean=(0.0,) * 3, std=(1.0,) * 3)
    policy = Policy(
        "far", (op("shift", 0.1), op("crop", {"scale": [0.7, 1], "aspect": 1.2}), op("flip", "horizontal", 0.5))
    )
    images, targets, affine = feed_of(policy, plain, boxes=("box",))(drawn_of(canvases, [[60.0, 50, 90, 70]]), 0)
    for image, box, own in zip(images[:, 0].numpy(), targets["box"][:, 0].numpy(), affine, strict=True):
        rows, columns = np.nonzero(image > 0.5)
        np.testing.assert_allclose(box, [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1.01)
        middle = own @ torch.tensor([75.0, 60, 1])
        np.testing.assert_allclose((box[:2] + box[2:]) / 2, middle, atol=0.5)


def test_images_that_grow_keep_their_shape():
    made = replace(WIDE, size=256, canvas=256)
    feed = PolicyInput(Policy("none"), made, lambda epoch: [128, 192, 256][epoch], ())
    assert [feed.sides(epoch) for epoch in range(3)] == [(96, 128), (160, 224), (224, 288)]
    drawn = drawn_of(np.zeros((2, 224, 288, 3), np.uint8))
    assert [feed(drawn, epoch)[0].shape[2:] for epoch in range(3)] == [(96, 128), (160, 224), (224, 288)]


@pytest.mark.parametrize(
    ("canvas", "out"), [((352, 480), (352, 480)), ((96, 96), (96, 96)), ((300, 400), (224, 224)), ((96, 96), (96, 128))]
)
def test_a_crop_is_stretched_by_its_aspect_and_by_nothing_else(canvas, out):
    """How much wider than high a pixel of the canvas becomes; the crops are so small that no side holds them back."""
    keys = draw_keys(0, 0, np.arange(400, dtype=np.uint64))
    for aspect in (1.1, 1.33):
        crop = Policy("crop", (op("crop", {"scale": [0.2, 0.4], "aspect": aspect}),))
        total = crop.draw(keys, *canvas, out).total
        stretch = np.log(total[:, 1, 1] / total[:, 0, 0])
        assert np.abs(stretch).max() < np.log(aspect) + 1e-9
        assert abs(np.median(stretch)) < 0.1 * np.log(aspect)


@pytest.mark.parametrize("name", ["light", "strong"])
def test_a_device_gives_what_the_compiled_pass_gives(name):
    """The device is the CPU here: the same code; see test_device.py for how near they are."""
    policy = named_policy(name)
    drawn = drawn_of(np.stack([scene(seed, 151, 113) for seed in range(5)]))
    images, _, affine = feed_of(policy)(drawn, 0)
    here, _, same = feed_of(policy, device=torch.device("cpu"))(drawn, 0)
    assert torch.equal(affine, same)
    assert (here - images).abs().mul(255 * torch.tensor(ROOM.std)[:, None, None]).mean() < 0.1


def test_saved_copies_have_its_sides_and_their_boxes(tmp_path):
    table, made = hashed(squares_table(tmp_path)), replace(ROOM, canvas=96)
    saved = save_augmented(table, Policy("none"), made, tmp_path / "out", Saving(resize=True, include_originals=False))
    lines = [line.split(",") for line in saved.listing.read_text().splitlines()[1:]]
    image = np.asarray(Image.open(tmp_path / "out" / lines[0][0]))
    assert image.shape == (96, 128, 3)
    first = table.boxes[["x1", "y1", "x2", "y2"]].to_numpy()[0] * np.array([128 / 80, 96 / 64] * 2)
    np.testing.assert_allclose([float(side) for side in lines[0][1:5]], first, atol=0.01)


# What a recipe chooses


def chosen(table, name="faster-rcnn", **image):
    recipe = recipe_of(name, image={"size": 96, **image})
    return choose_settings(recipe, table.part("train")).image.aspect


def test_a_detector_sees_the_shape_of_its_images(tmp_path):
    table = squares_table(tmp_path)
    for name in ("faster-rcnn", "fast-rcnn", "rcnn"):
        assert chosen(table, name) == 1.25
    assert (chosen(table, aspect=1.0), chosen(table, aspect=1.6)) == (1.0, 1.6)
    recipe = choose_settings(recipe_of("faster-rcnn", image={"size": 96}), table.part("train"))
    assert start_preprocessing(recipe).sides == (96, 128)
    assert start_preprocessing(recipe.change(image={"aspect": 0.0})).sides == (96, 96)  # a run of before rectangles
    assert start_preprocessing(recipe.change(image={"aspect": 2})).to_json()["aspect"] == 2.0


@pytest.mark.parametrize(("sizes", "aspect"), [([(60, 80)] * 9, 1.3333), ([(20, 90)] * 9, 2.0), ([(90, 20)] * 9, 0.5)])
def test_the_median_shape_counts_within_limits(tmp_path, monkeypatch, sizes, aspect):
    table = squares_table(tmp_path)
    shapes = iter([*sizes, *[(80, 60)] * 3])  # a few stand upright
    monkeypatch.setattr("tenfold.train.choose.image_size", lambda content: next(shapes))
    assert chosen(table) == aspect


def test_what_sees_squares_only_says_so(tmp_path):
    table = squares_table(tmp_path)
    wide = Recipe().change(image={"aspect": 1.5, "size": 64}, transfer={"backbone": "toy"})
    classes = hashed(replace(table, boxes=None).assign(label=["a", "b"] * 9)).part("train")
    for name in ("residual", "plain", "finetuned", "frozen"):
        for aspect in (0.0, 1.0):
            assert (
                choose_settings(wide.change(model={"name": name}, image={"aspect": aspect}), classes).image.aspect == 1
            )
        with pytest.raises(
            UsageError, match=rf"^image\.aspect must be 1, or 0, for {name}, which sees squares only, not"
        ):
            choose_settings(wide.change(model={"name": name}), classes)
    with pytest.raises(UsageError, match=r"^image\.aspect must be from 0\.25 to 4, or 0, not 0\.1\.$"):
        Recipe().change(image={"aspect": 0.1})


def test_ssd_sees_squares_and_the_others_of_torchvision_do_not(tmp_path, monkeypatch):
    monkeypatch.setattr("tenfold.models.detection.torchvision_detector.find_source", lambda name, settings: None)
    table = squares_table(tmp_path)
    base = recipe_of("torchvision", image={"size": 320})
    ssd = base.change(transfer={"backbone": "torchvision:ssd300_vgg16"})
    retina = base.change(transfer={"backbone": "torchvision:retinanet_resnet50_fpn"})
    assert TorchvisionDetector.usual.aspect == 0
    assert choose_settings(ssd, table.part("train")).image.aspect == 1
    assert choose_settings(retina, table.part("train")).image.aspect == 1.25
    with pytest.raises(UsageError, match=r"must be 1, or 0, for torchvision:ssd300_vgg16, which sees squares only"):
        choose_settings(ssd.change(image={"aspect": 1.5}), table.part("train"))


def test_what_is_measured_before_training_has_the_rectangle_s_pixels(tmp_path):
    table = hashed(squares_table(tmp_path)).part("train")
    recipe = choose_settings(recipe_of("faster-rcnn", image={"size": 96, "aspect": 1.3333}), table)
    model = fresh_model(make_card(recipe, table, "detection"), recipe)
    assert noise_batch(recipe, table.take(np.arange(2)), TASKS["detection"], model).images.shape == (2, 3, 96, 128)
    square, wide = (count_cost(ToyDense(), *sides).multiply_adds for sides in ((96,), (96, 128)))
    assert wide * 3 == square * 4


class ToyDense(torch.nn.Module):
    """A convolution, as count_cost wants a model."""

    channels, foreknown = 3, None

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 4, 1)

    def batch_outputs(self, batch):
        return {"map": self.layer(batch.images)}


def test_regions_of_an_r_cnn_are_squares_whatever_its_images_are(tmp_path, monkeypatch):
    given = {}
    monkeypatch.setattr(regions_module, "train_model", lambda table, recipe, *rest, **more: given.update(own=recipe))
    recipe = recipe_of("rcnn", image={"aspect": 1.5}, detect={"crop": 16, "finetune": True})
    regions_module.train_regions(squares_table(tmp_path, (4, 2, 1)), recipe, tmp_path / "out")
    assert (given["own"].image.size, given["own"].image.aspect) == (16, 1.0)


# A training


@pytest.mark.parametrize("name", ["faster-rcnn", "fast-rcnn"])
def test_a_detector_learns_is_killed_resumed_predicts_and_is_evaluated_on_rectangles(tmp_path, monkeypatch, name):
    table = squares_table(tmp_path)
    recipe = recipe_of(name, "light", image={"size": 96}, train={"epochs": 2})
    run = train_killed_and_resumed(monkeypatch, table, recipe, tmp_path, "detection")
    assert (run.preprocessing.sides, run.recipe.image.aspect) == ((96, 128), 1.25)
    assert evaluate_run(run, "validation").figures["ap50"].n == 4
    images = [np.asarray(Image.open(source)) for source in table.samples["source"][:3]]
    found = run.predict(images)
    for one in found:
        assert (one["boxes"] >= 0).all()
        assert (one["boxes"] <= np.array([80, 64, 80, 64]) + 1e-3).all()
    assert any((one["boxes"][:, 2] > 66).any() for one in found)  # beyond where a square of the height would end
