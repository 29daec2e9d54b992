"""On a GPU the same comes out as on the CPU; without one these tests skip."""

import numpy as np
import pytest
import torch

from tenfold.augment.device import apply_on_device
from tenfold.augment.ops import OPS
from tenfold.augment.policy import Policy
from tenfold.augment.published import NAMED, named_policy
from tenfold.augment.tree import op
from tenfold.evaluate import evaluate_run
from tenfold.run import load_run
from tenfold.train import resume_training, train_model
from tenfold.transfer import table_features
from tests.frozen import prepared_for, tiny_extractor
from tests.test_device import GREY_LEVELS, drawn_for, magnitude, photos
from tests.test_fast_rcnn_training import recipe_of, squares_table, toy  # noqa: F401 - a fixture
from tests.toys import quick_recipe, shapes_table

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA drives")


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))


def off(policy: Policy, images: np.ndarray, size: tuple[int, int] | None = None) -> np.ndarray:
    """Differences in grey levels between the GPU and the same code on the CPU."""
    drawn, (mean, std) = drawn_for(policy, images, size), GREY_LEVELS
    sent = torch.from_numpy(images).permute(0, 3, 1, 2)
    here = apply_on_device(drawn, sent, mean * 3, std * 3, policy.sampling())
    there = apply_on_device(drawn, sent.cuda(), mean * 3, std * 3, policy.sampling())
    assert there.device.type == "cuda"
    return (there.cpu() - here).abs().numpy()


@pytest.mark.parametrize("name", OPS)
def test_every_op(name):
    found = off(Policy("one", (op(name, magnitude(name)),)), photos())
    assert found.mean() < 0.02
    assert found.max() < 1.1


@pytest.mark.parametrize("name", NAMED)
def test_every_named_policy(name):
    found = off(named_policy(name), photos(16), (32, 36))
    assert found.mean() < 0.1
    assert (found > 1.1).mean() < 0.002


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_network_is_trained_there_and_predicts_the_same_without_it(precision, tmp_path):
    table = shapes_table(tmp_path / "data")
    recipe = quick_recipe(train={"epochs": 14, "lr": 0.04, "precision": precision, "device": "cuda"})
    run = train_model(table, recipe, tmp_path / "run")
    assert run.history["validation_accuracy"].max() > 0.8
    files = table.samples["source"].tolist()[:20]
    here, there = (load_run(run.path, device).predict_files(files) for device in ("cpu", "cuda"))
    for (_, one), (_, other) in zip(here, there, strict=True):
        np.testing.assert_allclose(one["probability"], other["probability"], atol=1e-4)
    assert evaluate_run(load_run(run.path, "auto"), "test").figures["accuracy"].value > 0.6


def test_a_stopped_training_goes_on_there(tmp_path):
    table = shapes_table(tmp_path / "data")
    recipe = quick_recipe(train={"epochs": 4, "precision": "float32", "device": "cuda"})
    whole = train_model(table, recipe, tmp_path / "whole")

    def stop(message):
        if message.phase == "step" and message.step == 5:
            raise SystemExit("power lost")

    with pytest.raises(SystemExit):
        train_model(table, recipe, tmp_path / "run", progress=stop)
    resumed = resume_training(tmp_path / "run")
    assert resumed.history["epoch"].tolist() == whole.history["epoch"].tolist()
    first, second = (run.history["train_loss"].to_numpy() for run in (whole, resumed))
    np.testing.assert_allclose(first, second, rtol=0.02)


def test_features_are_those_of_the_cpu(tmp_path):
    prepared = prepared_for(shapes_table(tmp_path / "data"))
    here = table_features(prepared, tiny_extractor(), device="cpu")
    other = tiny_extractor(digest="1" * 64)  # so that nothing comes from the cache
    np.testing.assert_allclose(table_features(prepared, other, device="cuda"), here, atol=1e-4)


@pytest.mark.parametrize("name", ["faster-rcnn", "fast-rcnn", "rcnn"])
@pytest.mark.usefixtures("toy")
def test_detectors(name, tmp_path):
    table = squares_table(tmp_path)
    run = train_model(table, recipe_of(name, train={"epochs": 8, "device": "cuda"}), tmp_path / "run")
    here, there = (load_run(run.path, device) for device in ("cpu", "cuda"))
    first, second = (evaluate_run(each, "validation").figures["ap50"] for each in (here, there))
    assert first.n == second.n > 0
    assert first.value == pytest.approx(second.value, abs=0.02)
    [(_, one)], [(_, other)] = (each.predict_files(table.samples["source"].tolist()[:1]) for each in (here, there))
    sure = min(len(one["score"]), len(other["score"]), 2)
    np.testing.assert_allclose(one["boxes"][:sure], other["boxes"][:sure], atol=0.1)
