"""Settings that a model does not go by: they change nothing about it, and one that is typed for it is refused."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tenfold.__main__ import main
from tenfold.commands.options import refuse_unread
from tenfold.errors import UsageError
from tenfold.images.table import Table
from tenfold.models import MODELS
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.recipe import Recipe
from tenfold.run import Run
from tenfold.train import start as start_module
from tenfold.train import train_model
from tests.frozen import TinyBackbone
from tests.toys import shapes_table, write_shapes

ORIGIN = SimpleNamespace(name="tiny", source="made by hand", licence="CC0-1.0", sha256="0" * 64, note="")
CLASSIFIERS = [name for name, kind in MODELS.items() if kind.task == "classification"]
OTHERS = {
    "image.filter": "cubic",
    "augment.policy": "light",
    "augment.mix_share": 0.5,
    "model.width": 8,
    "model.layers": 3,
    "model.hidden": (4,),
    "model.activation": "silu",
    "model.norm": "group",
    "model.pool": "average",
    "model.pool_every": 2,
    "model.dropout": 0.5,
    "transfer.views": "crops",
    "transfer.crop": 14,
    "transfer.spread": True,
    "transfer.head": "svm",
    "transfer.strength": 0.5,
    "transfer.sharpness": 3.0,
    "transfer.frozen": 0.5,
    "transfer.thawed": 0.9,
    "transfer.rate_decay": 0.3,
    "train.epochs": 3,
    "train.lr": 0.5,
    "train.optimizer": "sgd",
    "train.momentum": 0.5,
    "train.weight_decay": 1.0,
    "train.schedule": "cosine",
    "train.warmup": 0.5,
    "train.label_smoothing": 0.5,
    "train.balance": "weights",
    "train.clip": 0.1,
    "train.ema": 0.5,
    "train.grow": "on",
    "train.patience": 2,
    "train.keep": "best",
    "train.tensorboard": True,
}
"""A value of each that is not its default."""


@pytest.fixture(autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (TinyBackbone(), ORIGIN))
    for module in (frozen_module, finetuned_module):
        monkeypatch.setattr(module, "bare_backbone", lambda name: TinyBackbone())


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return shapes_table(tmp_path_factory.mktemp("data"), 12)


def named(model: str) -> Recipe:
    """A recipe of that model that trains for a moment."""
    if model == "frozen":
        transfer, train = {"backbone": "tiny", "head": "logistic"}, {}
    else:
        transfer = {"backbone": "tiny"} if model == "finetuned" else {}
        train = {"epochs": 2, "batch_size": 16}
    small = {"width": 4, "layers": 1} if model in ("plain", "residual") else {}
    exact = {"precision": "float32", "threads": 1, **train}
    augment = {} if model == "frozen" else {"policy": "none"}
    return Recipe().change(
        image={"size": 20}, augment=augment, model={"name": model, **small}, transfer=transfer, train=exact
    )


def changed(recipe: Recipe, names: list[str]) -> Recipe:
    for name in names:
        section, setting = name.split(".")
        recipe = recipe.change(**{section: {setting: OTHERS[name]}})
    return recipe


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_what_a_model_does_not_go_by_changes_nothing(
    model: str, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All at once, but the events, which need another package and are no weights."""
    monkeypatch.setattr(start_module, "compile_kernel", lambda *given: None)  # which takes long, and is not called
    names = [name for name in MODELS[model].unread if name != "train.tensorboard"]
    assert names
    recipes = named(model), changed(named(model), names)
    assert all(attrgetter(name)(recipes[0]) != attrgetter(name)(recipes[1]) for name in names)
    one, other = (train_model(table, recipe, tmp_path / f"run{place}") for place, recipe in enumerate(recipes))
    assert one.recipe.image.filter == other.recipe.image.filter
    weights, same = one.model.state_dict(), other.model.state_dict()
    assert weights.keys() == same.keys()
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    assert one.model.temperature == other.model.temperature


def typed(recipe: Recipe, name: str) -> dict[str, object]:
    return {name.replace(".", "__"): attrgetter(name)(recipe)}


@pytest.mark.parametrize("model", MODELS)
def test_each_is_refused_where_it_is_typed(model: str) -> None:
    recipe = Recipe().change(model={"name": model}, transfer={"head": "logistic" if model == "frozen" else "auto"})
    for name in MODELS[model].unread:
        other = changed(recipe, [name])
        with pytest.raises(UsageError, match=rf"^{name}( \(--[a-z-]+\))? is for .*, not for {model}; leave it out"):
            refuse_unread(other, typed(other, name))
        refuse_unread(other, {})  # as a run's recipe may have it
        refuse_unread(recipe, typed(recipe, name))  # as it is anyway
    refuse_unread(recipe, {"train__seed": 1, "data__path": "flowers"})


@pytest.mark.parametrize(
    ("model", "name", "sentence"),
    [
        ("frozen", "train.epochs", "train.epochs (--epochs) is for plain, residual or finetuned, not for frozen; "),
        ("finetuned", "transfer.views", "transfer.views is for frozen, not for finetuned; leave it out, or set "),
        ("residual", "model.pool_every", "model.pool_every is for plain, not for residual; leave it out, or set "),
        ("plain", "transfer.frozen", "transfer.frozen is for finetuned, not for plain; leave it out, or set --model."),
        ("frozen", "image.filter", "image.filter is for plain or residual, not for frozen; leave it out, or set "),
    ],
)
def test_the_sentence_names_the_models_that_go_by_it(model: str, name: str, sentence: str) -> None:
    recipe = changed(Recipe().change(model={"name": model}), [name])
    with pytest.raises(UsageError) as caught:
        refuse_unread(recipe, typed(recipe, name))
    assert str(caught.value).startswith(sentence)


def test_what_asks_for_nothing_is_taken() -> None:
    recipe = Recipe().change(
        model={"name": "frozen"}, augment={"policy": "none"}, train={"grow": "off", "balance": "none"}
    )
    refuse_unread(recipe, {"augment__policy": "none", "train__grow": "off", "train__balance": "none"})


def test_the_command_refuses_before_it_reads_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 4)
    for words, said in (
        ("train shapes --model frozen --policy strong", "augment.policy (--policy) is for plain, residual or "),
        ("train shapes --folds 2 --model frozen --lr 0.1", "train.lr (--lr) is for plain, residual or finetuned, not "),
        ("curve shapes --model finetuned --transfer.crop 14", "transfer.crop is for frozen, not for finetuned; leave "),
        (
            "train shapes --model frozen --transfer.strength 0.01",
            "transfer.strength must be left open where the ladder chooses the head, and is 0.01; name the head too",
        ),
        ("train shapes --folds 2 --model frozen --transfer.sharpness 2", "transfer.sharpness must be left open where "),
    ):
        assert main(words.split()) == 2
        assert capsys.readouterr().err.startswith(f"error: {said}")
    assert [path.name for path in tmp_path.iterdir()] == ["shapes"]


def test_the_recipe_of_a_run_may_hold_what_is_not_read(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has one epoch, an optimizer and a policy for the frozen network too."""
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 12)
    options = "--model frozen --transfer.backbone tiny --transfer.head mean --no-check --train.precision float32"
    assert main(["train", "shapes", *options.split(), "--out", "run"]) == 0
    assert Run(Path("run")).recipe.train.epochs == 1
    assert main(["train", "run/recipe.toml", "--out", "again"]) == 0
    assert Run(Path("again")).recipe == Run(Path("run")).recipe
    assert capsys.readouterr().out.count("Run: ") == 2
