"""Several pretrained networks on one ladder: which are tried, which one is taken, and where one must be named."""

import hashlib
import json
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tenfold.__main__ import main
from tenfold.errors import DataError, UsageError
from tenfold.models import finetuned as finetuned_module
from tenfold.models import frozen as frozen_module
from tenfold.models.backbones import bare_backbone
from tenfold.models.frozen import named_backbone
from tenfold.models.weights import places, published
from tenfold.models.weights.places import Found, kept_path, known_networks, weights_folder
from tenfold.models.weights.published import PUBLISHED, Origin, Published
from tenfold.recipe import Recipe, TransferSettings
from tenfold.report import write_report
from tenfold.report.ladder import COMPARED
from tenfold.run import Run
from tenfold.train import start as start_module
from tenfold.train import train_model
from tenfold.transfer import at_hand as at_hand_module
from tenfold.transfer import best as best_module
from tenfold.transfer.at_hand import multiply_adds, networks_at_hand, refuse_networks, wanted_networks
from tenfold.transfer.best import name_one, resume_best, train_best
from tenfold.transfer.settle import settle_head
from tests.frozen import PREPROCESSING, TinyBackbone
from tests.test_best import check_ended, check_same_bits, failing, stop_at_step
from tests.toys import shapes_table, write_shapes

CONTENT = b"weights"


class Blind(TinyBackbone):
    """Sees larger images, and tells nothing of them; cheaper than the tiny one all the same."""

    name = "blind"
    preprocessing = replace(PREPROCESSING, size=24, canvas=26, mean=(0.1, 0.2, 0.3))

    def features(self, images):
        self.seen += len(images)
        return self.first(images[:, :, :7, :7]).mean((1, 2, 3))[:, None] * torch.zeros(12) + torch.arange(1.0, 13)


class Costly(TinyBackbone):
    """Says what the tiny one does, with more work."""

    name = "costly"

    def __init__(self):
        super().__init__()
        self.more = nn.Conv2d(3, 8, 3, bias=False)

    def features(self, images):
        return super().features(images) + 0 * self.more(images).mean()


NETWORKS = {"tiny": TinyBackbone, "blind": Blind, "costly": Costly}
RECIPE = Recipe().change(
    transfer={"backbone": "costly, blind,tiny"},
    augment={"policy": "none"},
    train={"precision": "float32", "threads": 1, "epochs": 4, "batch_size": 16},
)
FROZEN = RECIPE.change(model={"name": "frozen"})
settle_quickly = partial(settle_head, heads=("majority", "mean"))


def made(name):
    return NETWORKS[name]()


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    """Three networks, whose weights are here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        for module in (frozen_module, finetuned_module):
            patch.setattr(module, "bare_backbone", made)
        origins = {name: Origin(name, "made by hand", "CC0-1.0", "0" * 64) for name in NETWORKS}
        patch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (made(name), origins[name]))
        patch.setattr(best_module, "settle_head", settle_quickly)
        yield


@pytest.fixture(scope="module")
def table(tmp_path_factory, toys):
    return shapes_table(tmp_path_factory.mktemp("shapes") / "data")


# Which networks are tried.


def licensed(name, licence="MIT"):
    return Published(name, f"{name}.pth", hashlib.sha256(CONTENT).hexdigest(), 1.0, licence, "us")


def test_what_is_named_is_tried():
    assert wanted_networks(TransferSettings("efficientnet-lite0")) == (("efficientnet-lite0",), ())
    assert wanted_networks(TransferSettings("vgg16, tiny,vgg16")) == (("vgg16", "tiny"), ())
    assert wanted_networks(TransferSettings("vgg16", weights="own.pth")).names == ("vgg16",)


@pytest.mark.parametrize("wanted", ["auto", "vgg16,tiny"])
@pytest.mark.parametrize("name", ["weights", "init"])
def test_one_networks_weights_are_not_for_several(wanted, name):
    with pytest.raises(UsageError, match=rf"transfer\.{name}.* brings the weights of one network.*\({wanted}\); drop"):
        wanted_networks(TransferSettings(wanted, **{name: "here"}))


@pytest.mark.parametrize("name", ["backbone", "weights", "init"])
def test_a_network_is_not_for_what_is_trained_from_scratch(name):
    recipe = Recipe().change(model={"name": "residual"}, transfer={name: "vgg16"})
    with pytest.raises(
        UsageError, match=rf"^transfer\.{name} \(--{name}\) is for a model on a pretrained network, and res"
    ):
        refuse_networks(recipe)
    refuse_networks(Recipe().change(model={"name": "residual"}))


def test_where_none_is_named_the_ladder_is_climbed_on_what_is_at_hand(here):
    here(*map(licensed, ("efficientnet-lite2", "efficientnet-lite0", "vgg16")))
    assert wanted_networks(TransferSettings()) == networks_at_hand() == wanted_networks(TransferSettings("auto"))
    assert wanted_networks(TransferSettings()).names == ("efficientnet-lite2", "efficientnet-lite0")


@pytest.mark.parametrize("name", ["weights", "init"])
def test_what_brings_its_own_network_leaves_none_open(name):
    assert wanted_networks(TransferSettings(**{name: "here"})) == (("",), ())


def test_without_a_name_it_is_the_network_of_the_file_or_the_built_in_one(tmp_path):
    file = tmp_path / "own.safetensors"
    save_file(bare_backbone("efficientnet-lite2").state_dict(), file)
    assert named_backbone({"backbone": "", "weights": str(file)})[0].name == "efficientnet-lite2"
    assert named_backbone({"backbone": "", "weights": ""})[0].name == "efficientnet-lite0"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Gives a function that puts weights of these networks, free or not, into the cache; there are no others."""
    for name in ("TENFOLD_CACHE", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def put(*files):
        for module in (places, published):
            monkeypatch.setattr(module, "PUBLISHED", files)
        for file in files:
            kept_path(file).parent.mkdir(parents=True, exist_ok=True)
            kept_path(file).write_bytes(CONTENT)

    return put


def test_at_hand_is_what_is_here_and_free_and_quick_and_sees_more_than_faces(here):
    names = ("efficientnet-lite2", "efficientnet-lite0", "mobilenetv2", "mobilefacenet", "vgg16")
    here(*map(licensed, names), licensed("efficientnet-lite1", "CC-BY-NC-4.0"), licensed("mobilenetv2-google", "other"))
    kept_path(licensed("mobilenetv2")).write_bytes(b"damaged")
    found = networks_at_hand()
    assert found.names == ("efficientnet-lite2", "efficientnet-lite0")
    named = "; name it in transfer.backbone to have it tried."
    faces, vgg, licence, other = found.left_out
    assert faces == f"All on mobilefacenet: it was trained on faces{named}"
    assert vgg == f"All on vgg16: it has 40 times the multiply-adds of efficientnet-lite0{named}"
    assert licence.startswith("All on efficientnet-lite1: its weights have the licence CC-BY-NC-4.0 (non-commercial")
    assert other.startswith("All on mobilenetv2-google: its weights have the licence other (its own terms")


def test_without_any_the_sentence_says_how_the_built_in_one_comes_here(here):
    here(licensed("mobilefacenet"))
    with pytest.raises(DataError, match="No weights are published for the backbone efficientnet-lite0"):
        networks_at_hand()
    here(licensed("efficientnet-lite0"))
    kept_path(licensed("efficientnet-lite0")).unlink()
    with pytest.raises(DataError, match="The weights of efficientnet-lite0 are not on this machine"):
        networks_at_hand()


def test_torchvisions_networks_in_the_cache_are_known_its_detectors_are_not(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    before = known_networks()
    assert before == list(dict.fromkeys(file.backbone for file in PUBLISHED))
    for name in ("torchvision--resnet18", "torchvision--densenet121", "torchvision--ssd300_vgg16", "timm--resnet18"):
        (weights_folder() / name).mkdir(parents=True)
    assert known_networks() == [*before, "torchvision:densenet121", "torchvision:resnet18"]


def test_a_network_that_is_no_backbone_is_named(monkeypatch):
    monkeypatch.setattr(at_hand_module, "known_networks", lambda: ["torchvision:densenet121", "torchvision:resnet18"])
    monkeypatch.setattr(
        at_hand_module, "find_published", lambda name: Found(Path(name), "", licensed(name, "BSD-3-Clause"))
    )
    found = networks_at_hand()
    assert found.names == ("torchvision:resnet18",)
    [sentence] = found.left_out
    assert sentence.startswith("All on torchvision:densenet121: The backbone torchvision:densenet121 is no chain of")


def test_multiply_adds_are_those_of_the_paper():
    """Simonyan and Zisserman's VGG-16 by hand: height x width x inputs x outputs x 9 of each convolution."""
    widths = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
    expected = sum(
        (224 // 2**stage) ** 2 * 9 * inputs * outputs
        for stage, row in enumerate(widths)
        for inputs, outputs in pairwise(row)
    )
    assert multiply_adds(bare_backbone("vgg16"), 224) == expected


# Which is taken.


def test_the_better_one_is_taken_with_the_images_that_it_wants(table, toys, tmp_path):
    heard = []
    settled = settle_quickly(table, FROZEN, progress=heard.append)
    assert heard[0].text == "Networks to choose from: costly, blind, tiny"
    assert [rung.words for rung in settled.ladder.rungs] == [
        "majority class",
        "nearest class mean, blind, 2 views",
        "nearest class mean, tiny, 2 views",
        "nearest class mean, costly, 2 views",
    ]
    assert settled.ladder.rungs[0].settings["backbone"] == "blind"
    assert settled.ladder.rungs[2].log_loss == settled.ladder.rungs[3].log_loss
    assert settled.recipe == FROZEN.change(
        transfer={
            "backbone": "tiny",  # costly is no better
            "head": "mean",
            "strength": settled.ladder.best.settings["strength"],
            "sharpness": settled.ladder.best.settings["sharpness"],
        }
    )
    alone = settle_quickly(table, FROZEN.change(transfer={"backbone": "tiny"}))
    assert settled.recipe == alone.recipe
    run = train_model(table, settled.recipe, tmp_path / "run", known=settled.known, ladder=settled.ladder.to_json())
    assert (run.recipe.image.size, run.recipe.image.mean) == (20, PREPROCESSING.mean)
    assert run.card["weights"]["origin"] == "tiny, made by hand"
    check_same_bits(run, train_model(table, alone.recipe, tmp_path / "alone", known=alone.known))
    page = write_report(run).read_text("utf-8")
    assert "nearest class mean, tiny, 2 views (chosen)" in page
    assert COMPARED.replace("'", "&#39;") in page


def test_auto_takes_what_is_at_hand(table, toys, monkeypatch, tmp_path):
    monkeypatch.setattr(at_hand_module, "known_networks", lambda: ["costly", "blind", "absent", "tiny", "foreign"])

    def found(name):
        if name == "absent":
            raise DataError("It is not here.")
        return Found(Path(name), "", licensed(name, "CC-BY-NC-4.0" if name == "foreign" else "MIT"))

    monkeypatch.setattr(at_hand_module, "find_published", found)
    monkeypatch.setattr(at_hand_module, "bare_backbone", made)
    monkeypatch.setattr(at_hand_module, "BUILT_IN", "tiny")
    auto = FROZEN.change(transfer={"backbone": "auto"})
    settled = settle_quickly(table, auto)
    assert settled.recipe.transfer.backbone == "tiny"
    assert len(settled.ladder.rungs) == 4
    [sentence] = settled.ladder.left_out
    assert sentence.startswith("All on foreign: its weights have the licence CC-BY-NC-4.0")
    monkeypatch.setattr(at_hand_module, "FACTOR", 1)
    assert len(settle_quickly(table, auto).ladder.rungs) == 3  # costly is left out too


# The best of several, killed at any moment.


@pytest.fixture(scope="module")
def straight(table, toys, tmp_path_factory):
    heard = []
    run = train_best(table, RECIPE, tmp_path_factory.mktemp("runs") / "straight", progress=heard.append)
    told = [message.text for message in heard if message.phase == "note"]
    assert sum(text.startswith("Weights: tiny, made by hand; licence CC0-1.0") for text in told) == 2
    return run


def test_the_one_that_was_chosen_is_fine_tuned(straight):
    check_ended(straight)
    assert straight.ladder["finetuning"]["decided"]
    assert straight.recipe.transfer.backbone == "tiny"
    assert len(straight.ladder["rungs"]) == 4


@pytest.mark.parametrize("stopped", ["frozen", "fine-tuning"])
def test_a_killed_one_goes_on_with_the_one_that_was_chosen(table, toys, straight, monkeypatch, tmp_path, stopped):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        if stopped == "frozen":
            patch.setattr(start_module, "calibrate", failing(start_module.calibrate, 1))
        with pytest.raises(SystemExit):
            train_best(table, RECIPE, out, progress=stop_at_step(3))
    assert Run(out).ladder["finetuning"]["recipe"]["transfer"]["backbone"] == "tiny"
    monkeypatch.setattr(best_module, "settle_head", None)  # nothing is climbed again
    run = resume_best(out)
    check_ended(run)
    check_same_bits(run, straight)
    assert run.recipe.transfer == straight.recipe.transfer
    mine, theirs = (other.ladder["finetuning"] | {"seconds": 0} for other in (run, straight))
    assert mine == theirs


# Where one network is wanted.


@pytest.mark.parametrize("wanted", ["auto", "tiny,blind"])
def test_one_network_is_asked_for_where_nothing_is_climbed(table, toys, tmp_path, wanted):
    sentence = rf"transfer\.backbone must name one network here, not '{wanted}': only the ladder chooses among several"
    several = RECIPE.change(transfer={"backbone": wanted})
    with pytest.raises(UsageError, match=sentence):
        named_backbone({"backbone": wanted, "weights": ""})
    with pytest.raises(UsageError, match=sentence):
        train_model(table, several.change(model={"name": "finetuned"}), tmp_path / "run")
    with pytest.raises(UsageError, match=sentence):
        train_model(table, several.change(model={"name": "frozen"}, transfer={"head": "svm"}), tmp_path / "run")
    with pytest.raises(UsageError, match=sentence):
        name_one(table, several)
    assert not (tmp_path / "run").exists()


def test_the_command_takes_several(toys, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    write_shapes(tmp_path / "shapes", 12)
    options = "--transfer.backbone blind,tiny --policy none --no-check --split.validation 0.25".split()
    options += "--split.test 0.25 --train.precision float32 --train.threads 1".split()
    assert main(["train", "shapes", "--model", "frozen", "--out", "run", "--json", *options]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)["ladder"]
    taken = found["rungs"][found["chosen"]]["settings"]["backbone"]
    assert Run(tmp_path / "run").recipe.transfer.backbone == taken
    assert "Networks to choose from: blind, tiny" in err
    assert err.count(f"{taken}, made by hand; licence CC0-1.0") == 1  # said by the ladder, not again by the training
    assert main(["train", "shapes", "--model", "finetuned", "--out", "other", *options]) == 2
    assert "transfer.backbone must name one network here, not 'blind,tiny'" in capsys.readouterr().err


@pytest.mark.parametrize("backbone", ["auto,mobilenetv2", "mobilenetv2,"])
def test_a_list_names_each_network(backbone):
    with pytest.raises(UsageError, match=f"several with commas between, or auto alone, not '{backbone}'"):
        wanted_networks(TransferSettings(backbone=backbone))
