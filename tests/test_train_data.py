"""What training reads: where its batches are made."""

import pytest
import torch

from tenfold import environment
from tenfold.environment import torch_threads
from tenfold.images.content import hashed
from tenfold.tasks import TASKS
from tenfold.train import data
from tenfold.train.data import plain_loader, prepare_images, training_loader
from tenfold.train.progress import no_report
from tests.toys import quick_recipe, shapes_table

CROP = {"op": [{"crop": [0.5, 1]}, {"brightness": 0.3}]}
JPEG = {"op": [{"crop": [0.5, 1]}, {"jpeg": [20, 60]}]}


@pytest.fixture(scope="module")
def recipe():
    return quick_recipe(image={"channels": "rgb", "fit": "crop"})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, recipe):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        return prepare_images(
            hashed(shapes_table(tmp_path_factory.mktemp("data"), 10)).without("test"), recipe, no_report
        )


def loaders(recipe, prepared, policy):
    recipe = recipe.change(augment={"policy": policy})
    task = TASKS["classification"]
    return training_loader(recipe, prepared, task, lambda epoch: 16), plain_loader(recipe, prepared, task, "validation")


@pytest.mark.parametrize(("name", "place"), [("cuda", "cuda:2"), ("cuda:1", "cuda:1"), ("mps", None), ("cpu", None)])
def test_a_gpu_makes_its_batches_itself(monkeypatch, recipe, prepared, name, place):
    """No GPU is asked for: it is only said where batches are to be made."""
    monkeypatch.setattr(data, "choose_device", lambda _: torch.device(name))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 2)
    wanted = place and torch.device(place)
    training, validation = loaders(recipe, prepared, CROP)
    assert training.augment.device == validation.augment.device == wanted
    training, _ = loaders(recipe, prepared, JPEG)  # which a GPU would send back to the CPU
    assert training.augment.device is None
    training, _ = loaders(recipe, prepared, "none")
    assert training.augment.device == wanted


def test_training_on_what_a_device_made(monkeypatch, recipe, prepared):
    here = list(loaders(recipe, prepared, CROP)[0].batches(1))
    monkeypatch.setattr(data, "_batch_device", lambda _: torch.device("cpu"))
    for batch, other in zip(here, loaders(recipe, prepared, CROP)[0].batches(1), strict=True):
        assert (batch.images - other.images).abs().max() * 255 < 0.02  # grey levels, as the mean is 0 and the std 1
        assert torch.equal(batch.targets["label"], other.targets["label"])
        assert torch.equal(batch.affine, other.affine)


def test_a_container_says_how_many_threads_augment(monkeypatch, recipe, prepared):
    monkeypatch.setattr(environment, "cores", lambda: 2)
    recipe = recipe.change(train={"threads": 0})
    with torch_threads(3):
        for given, wanted in ((0, 2), (3, 3)):
            training, _ = loaders(recipe.change(train={"threads": given}), prepared, JPEG)
            assert training.augment.threads == wanted
