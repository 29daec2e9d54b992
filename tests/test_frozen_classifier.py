"""FrozenClassifier: from pixels to logits, trained by the one loop, its head fitted at once."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from tenfold.commands.ladder import ladder_lines
from tenfold.errors import DataError, UsageError
from tenfold.evaluate import evaluate_run
from tenfold.images.batch import Batch
from tenfold.models import MODELS
from tenfold.models import frozen as frozen_module
from tenfold.models.cost import count_cost
from tenfold.models.frozen import FrozenClassifier
from tenfold.models.heads import HEADS, best_answers, fit_head, held_out_answers
from tenfold.models.views import VIEWS, cut_view
from tenfold.recipe import Recipe
from tenfold.report import write_report
from tenfold.run import Run, load_run, write_json
from tenfold.split import fold_tables
from tenfold.train import resume_training, train_model
from tenfold.train import start as start_module
from tenfold.train.choose import choose_settings
from tenfold.transfer import settle as settle_module
from tenfold.transfer.settle import settle_head, train_settled
from tests.frozen import PREPROCESSING, TinyBackbone
from tests.toys import quick_recipe, shapes_table

SETTINGS = {
    "backbone": "tiny",
    "weights": "",
    "views": "flip",
    "crop": 0,
    "head": "logistic",
    "strength": 1e-3,
    "sharpness": 1.0,
    "spread": False,
}
ORIGIN = SimpleNamespace(name="tiny", source="made by hand", licence="CC0-1.0", sha256="0" * 64, note="")


@pytest.fixture(autouse=True)
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(frozen_module, "bare_backbone", lambda name: TinyBackbone())
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))


def build(**settings):
    return FrozenClassifier(3, ("a", "b", "c"), SETTINGS | settings).eval()


def batch_of(count=30, size=20, **known):
    torch.manual_seed(1)
    label = torch.eye(3)[torch.arange(count) % 3]
    images = torch.randn(count, 3, size, size) + label[:, :, None, None]
    keys, affine = np.arange(count, dtype=np.uint64), torch.eye(2, 3).expand(count, 2, 3)
    return Batch(images, {"label": label, **known}, np.arange(count), keys, affine)


@pytest.mark.parametrize("name", HEADS)
def test_the_contract_holds(name):
    model, batch = build(head=name, strength=HEADS[name].strengths[-1]), batch_of()
    assert model.steps() == []
    model.fit([batch])
    assert not model.training
    predictions = model.predict(batch.images, batch.affine)
    assert predictions[0]["probability"].sum() == pytest.approx(1)
    losses = model.losses(batch)
    expected = -np.log([found["probability"][place % 3] for place, found in enumerate(predictions)]).mean()
    assert losses.minimize["loss"].item() == pytest.approx(expected, abs=1e-5)
    traced = torch.export.export(model, (batch.images,)).module()
    torch.testing.assert_close(traced(batch.images), model(batch.images))
    again = build(head=name, strength=HEADS[name].strengths[-1])
    again.load_state_dict(model.state_dict())
    assert torch.equal(again(batch.images), model(batch.images))


def test_views_go_through_the_backbone_one_by_one():
    model, images = build(views="crops", crop=15), batch_of().images
    found = model.features(images)
    assert found.shape == (30, 10, 12)
    for place, view in enumerate(VIEWS["crops"]):
        expected = TinyBackbone().eval().features(cut_view(images, view, 15))
        torch.testing.assert_close(found[:, place], expected, atol=1e-5, rtol=1e-4)


def test_the_head_is_that_of_the_features_whatever_the_batches():
    model, batch = build(), batch_of()
    with torch.no_grad():
        features = model.features(batch.images).numpy()
    expected = fit_head("logistic", features, np.arange(30) % 3, 3, 1e-3)
    cut = [
        Batch(batch.images[part], {"label": batch.targets["label"][part]}, batch.rows[part], batch.keys[part], None)
        for part in (slice(0, 12), slice(12, 30))
    ]
    model.fit(cut)
    torch.testing.assert_close(model.head.weight, expected.weight, atol=1e-4, rtol=1e-4)


def test_features_that_are_known_are_not_computed_again():
    model, plain = build(), batch_of()
    with torch.no_grad():
        known = batch_of(features=model.features(plain.images))
    model.backbone.seen = 0
    model.fit([known])
    assert model.batch_outputs(known)["logits"].shape == (30, 3)
    loss = model.losses(known).minimize["loss"]
    assert model.backbone.seen == 0
    assert model.losses(plain).minimize["loss"].item() == pytest.approx(loss.item(), abs=1e-6)
    assert model.backbone.seen == 60


def test_training_mode_never_reaches_the_backbone():
    model = build().train()
    assert model.training
    assert not any(part.training for part in model.backbone.modules())
    before = model.backbone.norm.running_mean.clone()
    model(batch_of().images)
    assert torch.equal(model.backbone.norm.running_mean, before)
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())
    assert count_cost(model, 20).parameters == 3 * 12 + 3


def test_weights_come_with_their_origin(monkeypatch):
    model = build()
    nn.init.zeros_(model.backbone.first.weight)
    said = model.load_pretrained()
    assert said == {"origin": "tiny, made by hand", "licence": "CC0-1.0", "sha256": "0" * 64, "note": ""}
    assert torch.equal(model.backbone.first.weight, TinyBackbone().first.weight)
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (nn.Linear(2, 2), ORIGIN))
    with pytest.raises(DataError, match="The weights of tiny do not fit the backbone 'tiny'"):
        model.load_pretrained()


def test_a_strength_that_is_left_open_is_chosen_by_folds():
    model, batch = build(strength=0.0, sharpness=0.0, head="svm"), batch_of()
    model.fit([batch])
    with torch.no_grad():
        features = model.features(batch.images).numpy()
    truth = np.arange(30) % 3
    folds = np.repeat(np.arange(10), 3)[None] % 5
    best = best_answers(held_out_answers("svm", features, truth, folds, 3))
    expected = fit_head("svm", features, truth, 3, best.strength, sharpness=best.sharpness)
    torch.testing.assert_close(model.head.weight, expected.weight, atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(model.head.sharpness, expected.sharpness, atol=1e-4, rtol=1e-3)


def test_with_a_strength_given_the_sharpness_is_fitted_all_the_same():
    model, batch = build(strength=1e-3, sharpness=0.0, head="svm"), batch_of()
    model.fit([batch])
    with torch.no_grad():
        features = model.features(batch.images).numpy()
    folds = np.repeat(np.arange(10), 3)[None] % 5
    every = held_out_answers("svm", features, np.arange(30) % 3, folds, 3)
    [wanted] = [found for found in every if found.strength == 1e-3]
    assert model.settings["sharpness"] == pytest.approx(wanted.sharpness, rel=1e-2)
    assert model.head.sharpness.item() == pytest.approx(model.settings["sharpness"])
    assert abs(wanted.sharpness - 1) > 0.1  # else nothing was shown
    assert model.settings["strength"] == 1e-3
    calibrated = build(strength=1e-3, sharpness=0.0, head="logistic")
    calibrated.fit([batch])
    assert calibrated.settings["sharpness"] == 0  # its scores need none, and nothing was chosen
    with pytest.raises(UsageError, match=r"transfer\.sharpness must be given for the head mean where no class has two"):
        build(strength=1.0, sharpness=0.0, head="mean").fit([batch_of(3)])
    build(strength=1.0, sharpness=1.0, head="mean").fit([batch_of(3)])


def test_neighbors_need_their_number():
    with pytest.raises(UsageError, match=r"needs their number: set transfer\.strength"):
        build(head="neighbors", strength=0.0)


def test_a_recipe_says_it_all(tmp_path):
    table = shapes_table(tmp_path / "data", 20)
    recipe = Recipe().change(model={"name": "frozen"}, transfer={"backbone": "tiny"}, train={"precision": "float32"})
    run = train_model(table, recipe, tmp_path / "run")
    assert run.recipe.transfer.head == "logistic"
    assert run.recipe.image.mean == PREPROCESSING.mean
    assert run.recipe.image.size == PREPROCESSING.size
    assert run.card["weights"]["licence"] == "CC0-1.0"
    assert not run.recipe.augment.policy.get("op")
    assert torch.equal(run.model.backbone.first.weight, TinyBackbone().first.weight)
    assert evaluate_run(run, "validation").figures["accuracy"].n == len(table.part("validation"))


def test_a_file_of_weights_is_named_in_full(tmp_path, monkeypatch):
    table = shapes_table(tmp_path / "data", 10).part("train")
    (tmp_path / "own.bin").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, wanted in (
        ("own.bin", str(tmp_path / "own.bin")),
        ("~/own.bin", str(tmp_path / "own.bin")),
        ("none.bin", "none.bin"),
        ("", ""),
    ):
        recipe = Recipe().change(model={"name": "frozen"}, transfer={"backbone": "tiny", "weights": given})
        assert choose_settings(recipe, table).transfer.weights == wanted


SVM = Recipe().change(
    model={"name": "frozen"}, transfer={"backbone": "tiny", "head": "svm"}, train={"precision": "float32"}
)


def check_same(one, other):
    assert one.recipe == other.recipe
    assert one.card == other.card
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])


def test_what_the_fit_chooses_stands_in_the_run(tmp_path):
    """So whoever trains on the run's recipe has the same head, and nothing is chosen again."""
    table = shapes_table(tmp_path / "data", 20)
    run = train_model(table, SVM, tmp_path / "run")
    chosen = run.recipe.transfer
    assert chosen.strength in HEADS["svm"].strengths
    assert chosen.sharpness == pytest.approx(run.model.head.sharpness.item())
    assert chosen.sharpness != 1
    assert (run.card["settings"]["strength"], run.card["settings"]["sharpness"]) == (chosen.strength, chosen.sharpness)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frozen_module, "choose_strength", None)
        check_same(run, train_model(table, run.recipe, tmp_path / "again"))


def test_a_kill_while_the_choice_is_written_changes_nothing(tmp_path):
    table = shapes_table(tmp_path / "data", 20)
    straight, write = train_model(table, SVM, tmp_path / "straight"), start_module.write_json

    def killed(path, content):
        if path.name == "model.json" and content["settings"]["strength"]:
            raise SystemExit("power lost")
        write(path, content)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(start_module, "write_json", killed)
        with pytest.raises(SystemExit):
            train_model(table, SVM, tmp_path / "run")
    assert Run(tmp_path / "run").recipe.transfer.strength != Run(tmp_path / "run").card["settings"]["strength"] == 0
    check_same(straight, resume_training(tmp_path / "run"))


# The ladder inside each fold.


OPEN = SVM.change(transfer={"head": "auto"})


@pytest.fixture
def quick(monkeypatch):
    """A ladder of few rungs."""
    heads = ("majority", "mean", "svm")
    monkeypatch.setattr(settle_module, "settle_head", partial(settle_module.settle_head, heads=heads))


def test_what_is_chosen_inside_a_fold_is_chosen_without_its_images(quick, tmp_path):
    """With the labels of the fold turned round, everything about the run stays but what is said of the fold."""
    part = next(fold_tables(shapes_table(tmp_path / "data", 20), 2))
    turned = np.where(
        part.samples["part"] == "validation", np.roll(part.classes, 1)[part.labels()], part.samples["label"]
    )
    one, other = (
        train_settled(table, OPEN, tmp_path / name)
        for name, table in (("one", part), ("other", part.assign(label=turned)))
    )
    assert one.ladder["accuracy"]["n"] == len(part.part("train"))
    assert one.recipe.transfer.head == one.ladder["rungs"][one.ladder["chosen"]]["settings"]["head"] != "auto"
    assert one.recipe.transfer.strength > 0
    assert one.recipe == other.recipe
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name])
    assert one.history["validation_loss"].item() != other.history["validation_loss"].item()


def test_of_a_head_that_is_named_the_licence_is_told_before_an_image_is_decoded(tmp_path):
    heard = []
    named = SVM.change(transfer={"strength": 1.0, "sharpness": 1.0})
    train_settled(shapes_table(tmp_path / "data", 20), named, tmp_path / "run", progress=heard.append)
    texts = [message.text for message in heard]
    first = next(place for place, text in enumerate(texts) if text.startswith("decoding images"))
    assert "Pretrained network: tiny, made by hand; licence CC0-1.0" in texts[:first]
    assert "Weights: tiny, made by hand; licence CC0-1.0" in texts[first:]  # and no more, as there is no note


def test_a_recipe_that_leaves_nothing_open_is_trained_as_it_is(quick, tmp_path):
    table = shapes_table(tmp_path / "data", 20)
    first = train_settled(table, OPEN, tmp_path / "first")
    again = train_settled(table, first.recipe, tmp_path / "again")
    assert again.ladder == {}
    assert again.recipe == first.recipe
    for name, value in first.model.state_dict().items():
        torch.testing.assert_close(again.model.state_dict()[name], value, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", ["strength", "sharpness"])
def test_what_the_ladder_chooses_with_the_head_is_refused(name, tmp_path):
    table = shapes_table(tmp_path / "data", 10)
    sentence = rf"transfer\.{name} must be left open where the ladder chooses the head, and is 0.01; name the head too"
    for recipe, heads in ((OPEN, ("mean", "svm")), (SVM, ("svm",))):
        with pytest.raises(UsageError, match=sentence):
            settle_head(table, recipe.change(transfer={name: 0.01}), heads=heads)
    with pytest.raises(UsageError, match=sentence):
        train_settled(table, OPEN.change(transfer={name: 0.01}), tmp_path / "run")


def test_the_ladder_settles_the_head_without_the_other_parts(tmp_path):
    table = shapes_table(tmp_path / "data", 20)
    recipe = Recipe().change(model={"name": "frozen"}, transfer={"backbone": "tiny"}, train={"precision": "float32"})
    settled, ladder, known, learns = settle_head(table, recipe)
    alone = settle_head(table.part("train"), recipe).ladder
    assert learns
    assert settled.transfer.head == ladder.best.settings["head"]
    assert (settled.transfer.strength, settled.transfer.backbone) == (ladder.best.settings["strength"], "tiny")
    assert ladder.accuracy.n == len(table.part("train"))
    assert alone.accuracy == ladder.accuracy
    run = train_model(table, settled, tmp_path / "run", known=known)
    again = train_model(table, settled, tmp_path / "again")
    assert run.model.backbone.seen == 0
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, again.model.state_dict()[name], atol=1e-4, rtol=1e-3)
    assert run.history["validation_loss"].item() == pytest.approx(again.history["validation_loss"].item(), abs=1e-3)
    assert run.recipe.transfer == settled.transfer
    write_json(run.path / "ladder.json", ladder.to_json())
    evaluate_run(run, "validation")
    page = write_report(run).read_text("utf-8")
    assert "How the head was chosen" in page
    assert "kept the epoch" not in page
    assert ladder.best.words + " (chosen)" in page
    lines = ladder_lines(ladder)
    assert sum(line.startswith("*") for line in lines) == 1
    assert len(lines) == len(ladder.rungs) + 4


def test_a_run_of_it_is_a_run_like_any_other(monkeypatch, tmp_path):
    class Toy(FrozenClassifier):
        def __init__(self, channels, classes, settings):
            super().__init__(channels, classes, settings | SETTINGS | {"head": "neighbors", "strength": 3.0})

    monkeypatch.setitem(MODELS, "toy", Toy)
    table = shapes_table(tmp_path / "data", 20)
    run = train_model(table, quick_recipe(model={"name": "toy"}), tmp_path / "run")
    figure = evaluate_run(run, "validation").figures["accuracy"]
    assert figure.n == len(table.part("validation"))
    kept = load_run(run.path).model.state_dict()
    assert kept["head.rows"].shape == (len(table.part("train")), 12)
    (run.path / "model.safetensors").unlink()  # killed before the end
    again = resume_training(run.path).model.state_dict()
    assert all(torch.equal(kept[name], again[name]) for name in kept)
