"""An earlier run as the backbone of a new one, which holds all that it needs of it."""

from __future__ import annotations

import html
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tenfold.commands.ladder import ladder_lines
from tenfold.commands.options import chosen_recipe
from tenfold.errors import DataError, UsageError
from tenfold.evaluate import evaluate_run
from tenfold.images.table import Table
from tenfold.models import MODELS
from tenfold.models.backbones import bare_backbone, take_backbone
from tenfold.models.backbones.from_run import read_earlier
from tenfold.models.contract import Model
from tenfold.models.frozen import named_backbone
from tenfold.models.residual import ResidualNetwork
from tenfold.models.weights.places import file_hash
from tenfold.recipe import ModelSettings, Recipe, TransferSettings
from tenfold.report.ladder import ladder as ladder_section
from tenfold.run import Run, load_run
from tenfold.train import loop as loop_module
from tenfold.train import resume_training, train_model
from tenfold.transfer.settle import settle_head
from tests.toys import quick_recipe, shapes_table

QUICK = {"precision": "float32", "threads": 1}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    return shapes_table(tmp_path_factory.mktemp("data"), 12)


@pytest.fixture(scope="module")
def trained(table: Table, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A small network from scratch, which no test changes."""
    recipe = quick_recipe(train={"epochs": 1}, image={"fit": "pad", "background": 9}, augment={"policy": "none"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        return train_model(table, recipe, tmp_path_factory.mktemp("trained") / "first")


@pytest.fixture
def first(trained: Run, tmp_path: Path) -> Run:
    """A copy of it."""
    return Run(Path(shutil.copytree(trained.path, tmp_path / "first")), trained.table)


def with_init(run: Run, model: str = "frozen", **sections: dict) -> Recipe:
    usual = {"transfer": {"init": str(run.path), "strength": 0.01}, "train": QUICK, "augment": {"policy": "none"}}
    return Recipe().change(model={"name": model}, **usual).change(**sections)


def some_images() -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (4, 20, 24, 3), np.uint8))


def answers(run: Run) -> np.ndarray:
    return np.stack([found["probability"] for found in run.predict(some_images())])


@pytest.mark.parametrize("model", ["frozen", "finetuned"])
@pytest.mark.parametrize("kind", ["plain", "residual"])
def test_the_new_run_lives_on_without_the_first(kind: str, model: str, table: Table, tmp_path: Path) -> None:
    sections = {"width": 4, "layers": 1, "activation": "silu", "norm": "group"}
    recipe = quick_recipe(model={"name": kind, **sections}, train={"epochs": 1}, image={"size": 72, "fit": "pad"})
    first = train_model(table, recipe.change(augment={"policy": "none"}), tmp_path / "first")
    wanted, tensors = first.preprocessing, first.model.state_dict()
    run = train_model(table, with_init(first, model, train={**QUICK, "epochs": 2}), tmp_path / "run")
    before = answers(run)
    shutil.rmtree(first.path)
    again = load_run(run.path)
    assert np.array_equal(answers(again), before)
    assert evaluate_run(again).n == len(table.part("validation"))
    found = again.preprocessing
    shape = ("size", "fit", "filter", "channels", "background", "mean", "std")
    assert [getattr(found, name) for name in shape] == [getattr(wanted, name) for name in shape]
    network = again.model.backbone
    assert isinstance(network, torch.nn.Module)
    assert set(map(str, network.state_dict())) == set(
        map(str, bare_backbone(again.recipe.transfer.backbone).state_dict())
    )
    if model == "frozen":
        same = [value for key, value in tensors.items() if not key.startswith("head.")]
        assert all(torch.equal(one, other) for one, other in zip(same, network.state_dict().values(), strict=True))


def test_the_name_of_a_network_from_scratch_says_its_shape(first: Run, table: Table, tmp_path: Path) -> None:
    run = train_model(table, with_init(first), tmp_path / "run")
    name = "plain:channels=3,width=8,layers=2,pool=max,pool_every=1,activation=relu,norm=batch"
    assert run.card["settings"]["backbone"] == run.recipe.transfer.backbone == name
    backbone, _ = take_backbone(first.path)
    model = first.model
    assert isinstance(model, MODELS["plain"])
    images = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(model.head(backbone.features(images)), model(images))
    assert bare_backbone(name).channels == backbone.channels


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("plain", "must be plain:channels=...,width=.*, as a run names it, not 'plain'"),
        ("residual:width=3", "must be residual:channels=...,width=.*, not 'residual:width=3'"),
        ("residual:channels=2,width=4,layers=0,halvings=3,pool=max,activation=relu,norm=batch", "as a run names it"),
        ("residual:channels=3,width=4,layers=0,halvings=9,pool=max,activation=relu,norm=batch", "as a run names it"),
        ("residual:channels=3,width=a,layers=0,halvings=3,pool=max,activation=relu,norm=batch", "width must be int"),
        ("residual:channels=3,width=4,layers=0,halvings=3,pool=max,activation=relu,norm=x", "model.norm"),
        ("residual:channels=3,width=4,layers=0,halvings=3,pool=no,activation=relu,norm=batch", "model.pool"),
        ("residual:channels=3,width=4,layers=0,stem_stride=9,activation=relu,norm=batch", "as a run names it"),
    ],
)
def test_a_name_that_no_run_gives_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        bare_backbone(name)


@pytest.mark.parametrize(("stride", "halvings"), [(1, 3), (2, 4)])
def test_runs_from_before_there_were_halvings_have_the_network_that_they_had(stride: int, halvings: int) -> None:
    name = "residual:channels=3,width=4,layers=0,{},activation=relu,norm=batch"
    before, now = (
        bare_backbone(name.format(of)) for of in (f"stem_stride={stride}", f"halvings={halvings},pool=stride")
    )
    now.load_state_dict(before.state_dict())
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(now.eval().features(images), before.eval().features(images), rtol=0, atol=0)
    settings = asdict(ModelSettings(width=4, pool="max", norm="batch")) | {"stem_stride": stride}
    model = MODELS["residual"](3, ("a", "b"), settings)
    assert isinstance(model, ResidualNetwork)
    assert model.blocks(model.stem(images)).shape[2:] == (32 // 2**halvings, 32 // 2**halvings)


def test_a_recipe_from_before_there_were_halvings_finds_the_network_that_it_names(table: Table, tmp_path: Path) -> None:
    model = {"name": "residual", "width": 4, "layers": 1, "pool": "average"}  # which had no effect then
    run = train_model(table, quick_recipe(model=model, image={"size": 48}, train={"epochs": 1}), tmp_path / "first")
    card = json.loads((run.path / "model.json").read_text("utf-8"))
    del card["settings"]["halvings"]
    card["settings"]["stem_stride"] = 1
    (run.path / "model.json").write_text(json.dumps(card), "utf-8")
    name = "residual:channels=3,width=4,layers=1,stem_stride=1,activation=relu,norm=batch"
    assert take_backbone(run.path)[0].name == name
    backbone, origin = named_backbone(asdict(with_init(run).change(transfer={"backbone": name}).transfer))
    assert (backbone.name, origin.name) == (name, "the run first")


def test_its_weights_come_out_of_a_run_alone(first: Run, tmp_path: Path) -> None:
    save_file({"other.weight": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(UsageError, match="come out of a run: name its folder with --init"):
        take_backbone(first.path)[0].take(tmp_path / "weights.safetensors")


def test_the_card_says_whose_the_weights_are(first: Run, table: Table, tmp_path: Path) -> None:
    run = train_model(table, with_init(first), tmp_path / "second")
    sha256 = file_hash(first.path / "model.safetensors")
    assert run.card["weights"] == {
        "origin": "the run first, trained from scratch",
        "licence": "none stated",
        "sha256": sha256,
        "note": "what the owners of that run's images allow decides",
    }
    third = train_model(table, with_init(run), tmp_path / "third")
    assert third.card["weights"]["origin"] == "the run second, the run first, trained from scratch"
    assert third.recipe.transfer.backbone == run.recipe.transfer.backbone
    told = {"origin": "vgg16, torchvision's VGG-16", "licence": "BSD-3-Clause", "sha256": "0", "note": "of ImageNet"}
    (run.path / "model.json").write_text(json.dumps(run.card | {"weights": told}))
    origin = read_earlier(run.path).origin
    assert str(origin).startswith("the run second: vgg16, torchvision's VGG-16, sha256 ")
    assert (origin.licence, origin.note) == ("BSD-3-Clause", "of ImageNet")


def test_the_ladder_stands_on_it(first: Run, table: Table, tmp_path: Path) -> None:
    settled = settle_head(table, with_init(first, transfer={"strength": 0.0}), heads=("svm",))
    ladder = settled.ladder.to_json()
    run = train_model(table, settled.recipe, tmp_path / "run", known=settled.known, ladder=ladder)
    again = train_model(table, settled.recipe, tmp_path / "again")
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(value, again.model.state_dict()[name], atol=1e-4, rtol=1e-3)
    assert settled.ladder.best.settings["init"] == str(first.path)
    assert settled.ladder.rungs[0].words == "linear SVM, the run first, 2 views"
    count = len(table.part("train"))
    assert settled.ladder.flattered.startswith(
        f"The network of {first.path} learned from {count} of these {count} images, so these figures flatter it; "
    )
    assert settled.ladder.flattered in ladder_lines(settled.ladder)
    section = ladder_section(run)
    assert section is not None
    assert settled.ladder.flattered in html.unescape(section.html)
    assert run.recipe.transfer == replace(settled.recipe.transfer, backbone=run.recipe.transfer.backbone)


def test_a_recipe_repeats_it(first: Run, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = train_model(table, with_init(Run(Path("first"))), "run")
    assert run.recipe.transfer.init == str(first.path)
    again = train_model(table, run.recipe, "again")
    one, other = (load_file(found.path / "model.safetensors") for found in (run, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_stopped_training_goes_on_without_the_first(
    first: Run, table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "CHECKPOINT_SECONDS", 0.0)
    recipe = with_init(first, "finetuned", train={**QUICK, "epochs": 2, "batch_size": 8})
    straight = train_model(table, recipe, tmp_path / "straight")

    def kill(message: object) -> None:
        if getattr(message, "phase", "") == "step" and getattr(message, "step", 0) == 4:
            raise SystemExit

    with pytest.raises(SystemExit):
        train_model(table, recipe, tmp_path / "killed", progress=kill)
    first.path.rename(tmp_path / "elsewhere")
    resumed = resume_training(tmp_path / "killed")
    one, other = (load_file(run.path / "model.safetensors") for run in (straight, resumed))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_without_a_checkpoint_it_says_what_is_missing(first: Run, table: Table, tmp_path: Path) -> None:
    run = train_model(table, with_init(first), tmp_path / "run")
    (run.path / "model.safetensors").unlink()  # killed before the end
    first.path.rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"must be the folder of a run, .* and .*first has none; if the run was moved"):
        resume_training(run.path)


def test_what_it_cannot_be_used_with_is_refused(first: Run, table: Table, tmp_path: Path) -> None:
    out = tmp_path / "run"
    sentence = r"transfer\.init \(--init\) brings a network with its weights, and transfer\.%s names another; drop one"
    with pytest.raises(UsageError, match=sentence % r"backbone \(vgg16\)"):
        train_model(table, with_init(first).change(transfer={"backbone": "vgg16"}), out)
    with pytest.raises(UsageError, match=sentence % r"weights \(my\.pth\)"):
        named_backbone(vars(TransferSettings(init=str(first.path), weights="my.pth")))
    with pytest.raises(
        UsageError, match=r"is for a model on a pretrained network, not for plain; take one of frozen, "
    ):
        train_model(table, with_init(first, "plain"), out)
    assert not out.exists()


def test_a_network_that_sees_grey_is_not_shown_colors(table: Table, tmp_path: Path) -> None:
    grey = quick_recipe(train={"epochs": 1}, image={"channels": "grey"}, augment={"policy": "none"})
    first = train_model(table, grey, tmp_path / "first")
    for channels in ("rgb", "bgr"):
        sentence = r"image\.channels must be grey or auto for the network of .*first, which sees no colors; leave"
        with pytest.raises(UsageError, match=sentence):
            train_model(table, with_init(first, image={"channels": channels}), tmp_path / "run")
    for channels in ("auto", "grey"):
        run = train_model(table, with_init(first, image={"channels": channels}), tmp_path / f"run-{channels}")
        assert run.recipe.image.channels == "grey"


def test_what_is_no_finished_run_is_refused(first: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (first.path / "model.safetensors").rename(tmp_path / "kept")
    with pytest.raises(DataError, match=r"a run whose training has ended; end that of .*first: tenfold train --resume"):
        take_backbone(first.path)
    (tmp_path / "kept").rename(first.path / "model.safetensors")

    class Other(Model):
        pass

    monkeypatch.setitem(MODELS, "other", Other)
    card = first.card
    (first.path / "model.json").write_text(json.dumps(card | {"architecture": "other"}))
    with pytest.raises(UsageError, match="--init must be a run with a backbone or with one of plain, residual, not"):
        take_backbone(first.path)
    settings = card["settings"] | {"width": 16}
    for content in (json.dumps(card | {"settings": settings}), "{}", "[]", "{"):
        (first.path / "model.json").write_text(content)
        with pytest.raises(DataError, match=r"The run .*first \(transfer\.init\) is damaged, or of another version"):
            take_backbone(first.path)


def test_typed_it_takes_the_place_of_a_recipe_s_network(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('[transfer]\nbackbone = "vgg16"\nweights = "vgg.h5"\nviews = "crops"\n')
    found = chosen_recipe(file, {"transfer__init": "runs/a"}).transfer
    assert found == TransferSettings(init="runs/a", views="crops")
    typed = {"transfer__init": "runs/a", "transfer__backbone": "efficientnet-lite0", "transfer__weights": "a.pth"}
    with pytest.raises(UsageError, match=r"give it without --transfer\.backbone and --transfer\.weights\."):
        chosen_recipe(None, typed)
