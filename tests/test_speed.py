"""How long each stage of a prediction takes: each is held against stages that are known to take a while."""

from __future__ import annotations

import json
import shutil
import time
from functools import cache
from types import SimpleNamespace

import pytest
import torch

from tenfold.__main__ import main
from tenfold.evaluate import evaluate_run, speed
from tenfold.images.content import hashed
from tenfold.models import frozen as frozen_module
from tenfold.models.detection import detector
from tenfold.models.detection import rcnn as rcnn_module
from tenfold.report import write_report
from tenfold.run import load_run
from tenfold.train import train_model
from tests.test_detection_models import ToyBackbone
from tests.test_fast_rcnn_training import recipe_of, squares_table
from tests.test_frozen_classifier import ORIGIN
from tests.toys import quick_recipe, shapes_table


@pytest.fixture(autouse=True)
def toy(tmp_path, monkeypatch):
    stand_in(monkeypatch, tmp_path / "cache")


def stand_in(patch, cache):
    """A toy for every backbone, and a cache of its own."""
    patch.setenv("TENFOLD_CACHE", str(cache))
    patch.setattr(detector, "bare_backbone", lambda name: ToyBackbone())
    patch.setattr(rcnn_module, "bare_backbone", lambda name: ToyBackbone())
    patch.setitem(rcnn_module._AT_ONCE, "cpu", 64)  # all 60 regions of an image: a layer is called once for each
    patch.setattr(frozen_module, "make_backbone", lambda name, weights=None: (ToyBackbone(), ORIGIN))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Gives the folder of a detector of that name, which is trained once, for an epoch; no test writes into it."""

    @cache
    def train(name):
        folder = tmp_path_factory.mktemp(name)
        with pytest.MonkeyPatch.context() as patch:
            stand_in(patch, folder / "cache")
            return train_model(squares_table(folder), recipe_of(name, train={"epochs": 1}), folder / "run").path

    return train


class Clock:
    """Stands for the time: it goes on only where a test says so."""

    def __init__(self, monkeypatch):
        self.time = self.computed = 100.0
        seen = SimpleNamespace(
            perf_counter=lambda: self.time, thread_time=lambda: self.computed, monotonic=time.monotonic
        )
        monkeypatch.setattr(speed, "time", seen)

    def slowed(self, function, *seconds, computed=1.0):
        """The function, which takes so many seconds at each call in turn, the last one again and again.

        A share `computed` of them is this thread's.
        """
        left = list(seconds)

        def slow(*given, **named):
            taken = left.pop(0) if len(left) > 1 else left[0]
            self.time, self.computed = self.time + taken, self.computed + computed * taken
            return function(*given, **named)

        return slow


def hooks_of(model):
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in model.modules())


@pytest.mark.parametrize("name", ["faster-rcnn", "fast-rcnn", "rcnn"])
def test_each_stage_is_what_takes_its_time(name, trained, monkeypatch):
    run = load_run(trained(name))
    clock, model = Clock(monkeypatch), run.model
    monkeypatch.setattr(speed, "read_sample", clock.slowed(speed.read_sample, 99, 8, 1, 2, 3))  # 99 to warm up
    monkeypatch.setattr(model, "decode", clock.slowed(model.decode, 0.5))
    model.backbone.layers[0].register_forward_hook(clock.slowed(lambda *_: None, 0.25))
    if name != "faster-rcnn":
        monkeypatch.setattr(model, "propose", clock.slowed(model.propose, 4))
    before = hooks_of(model)
    found = speed.measure_speed(run, hashed(run.table).part("validation"))
    assert hooks_of(model) == before
    assert found["images"] == 4
    stages = found["stages"]
    assert list(stages) == [stage for stage in speed.STAGES if name != "faster-rcnn" or stage != "proposals"]
    assert stages["read"] == {"median": 2.5, "least": 1, "most": 8}
    assert stages["answer"] == {"median": 0.5, "least": 0.5, "most": 0.5}
    assert stages.get("proposals", {"median": 4})["median"] == 4
    assert stages["network"] == {"median": 0.25, "least": 0.25, "most": 0.25}
    rest = 0.75 + (4 if name != "faster-rcnn" else 0)
    assert found["total"] == {"median": 2.5 + rest, "least": 1 + rest, "most": 8 + rest}


def test_whoever_watches_hears_of_the_images_and_is_in_no_time(trained, monkeypatch):
    run = load_run(trained("rcnn"))
    clock, model, heard = Clock(monkeypatch), run.model, []
    watch = clock.slowed(lambda *told: heard.append(told), 7)
    model.watch = watch
    model.backbone.layers[0].register_forward_hook(clock.slowed(lambda *_: None, 0.25))
    found = speed.measure_speed(run, hashed(run.table).part("validation"))
    assert found["stages"]["network"] == {"median": 0.25, "least": 0.25, "most": 0.25}
    assert found["total"]["most"] == 0.25
    assert heard == [("images whose prediction is timed", done, 4) for done in (0, 0, 1, 2, 3, 4)]
    assert model.watch is watch


@pytest.mark.parametrize(("read", "layer", "share"), [(1.0, 1.0, 1.0), (0.5, 1.0, 0.75), (1.0, 0.2, 0.6)])
def test_a_machine_that_was_busy_is_told_beside_the_times(read, layer, share, trained, monkeypatch):
    """Each image is read for 1 s, and a layer takes 1 s; 4 s go to proposals, which other threads may well find."""
    run = load_run(trained("fast-rcnn"))
    clock, model = Clock(monkeypatch), run.model
    monkeypatch.setattr(speed, "read_sample", clock.slowed(speed.read_sample, 1, computed=read))
    monkeypatch.setattr(model, "propose", clock.slowed(model.propose, 4, computed=0.0))
    model.backbone.layers[0].register_forward_hook(clock.slowed(lambda *_: None, 1, computed=layer))
    found = speed.measure_speed(run, hashed(run.table).part("validation"))
    assert found["computed"] == pytest.approx(share)
    if share == 1:
        assert found["disturbed"] == ""
    else:
        assert f"this program computed for {100 * share:.0f} % of the time that was measured" in found["disturbed"]


def test_some_images_are_measured_and_none_is_begun_after_a_while(tmp_path, monkeypatch):
    run = train_model(shapes_table(tmp_path / "data"), quick_recipe(train={"epochs": 1}), tmp_path / "run")
    part = hashed(run.table).part("validation")
    monkeypatch.setattr(speed, "IMAGES", 5)
    assert len(part) > 5
    assert speed.measure_speed(run, part)["images"] == 5
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    assert speed.measure_speed(run, part)["images"] == 1
    assert speed.measure_speed(run, part.take([0]))["images"] == 1


def test_a_model_without_layers_has_all_its_time_in_the_network(tmp_path, monkeypatch):
    run = train_model(shapes_table(tmp_path / "data", 10), quick_recipe(train={"epochs": 1}), tmp_path / "run")
    clock, probability = Clock(monkeypatch), torch.full((1, 3), 1 / 3)
    monkeypatch.setattr(run.model, "outputs", clock.slowed(lambda images: {"logits": probability.log()}, 2))
    stages = speed.measure_speed(run, hashed(run.table).part("validation"))["stages"]
    assert [stages[name]["median"] for name in ("read", "network", "answer")] == [0, 2, 0]


def test_evaluation_measures_it_only_when_asked_and_the_report_shows_it(tmp_path, capsys):
    run = train_model(squares_table(tmp_path), recipe_of(train={"epochs": 1}), tmp_path / "run")
    assert "speed" not in evaluate_run(load_run(run.path), "validation").details
    assert 'id="speed"' not in write_report(load_run(run.path)).read_text("utf-8")
    assert main(["evaluate", str(run.path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["details"]["speed"]
    assert shown == load_run(run.path).evaluations["validation"]["details"]["speed"]
    page = write_report(load_run(run.path)).read_text("utf-8").partition('id="speed"')[2].partition("</section>")[0]
    for stage in ("read", "proposals", "network", "answer"):
        assert f"{shown['stages'][stage]['median']:.3g}" in page
    assert "Medians over 4 images, one after another, after one to warm up" in page
    assert main(["evaluate", str(run.path)]) == 0
    assert "Seconds an image, one after another: " in capsys.readouterr().out
    assert evaluate_run(load_run(run.path), "test").look == 1
    assert evaluate_run(load_run(run.path), "test", speed=True).look == 1  # it shows nothing of the images
    assert "speed" not in evaluate_run(load_run(run.path), "test").details
    assert "speed" in load_run(run.path).evaluations["test"]["details"]  # of the same answers


def test_images_that_moved_away_are_evaluated_from_the_cache_without_their_speed(tmp_path, capsys):
    run = train_model(shapes_table(tmp_path / "data", 10), quick_recipe(train={"epochs": 1}), tmp_path / "run")
    assert main(["evaluate", str(run.path)]) == 0
    measured = load_run(run.path).evaluations["validation"]["details"]["speed"]
    capsys.readouterr()
    shutil.move(tmp_path / "data", tmp_path / "moved")
    assert main(["evaluate", str(run.path)]) == 0
    out, err = capsys.readouterr()
    assert "validation images" in out
    assert "Seconds an image" not in out
    assert "How long a prediction takes is left out: " in err
    details = load_run(run.path).evaluations["validation"]["details"]
    assert str(tmp_path / "data") in details["no_speed"]
    assert details["speed"] == measured  # of the same answers, when it could be measured
    shutil.move(tmp_path / "moved", tmp_path / "data")
    assert main(["evaluate", str(run.path)]) == 0
    assert "no_speed" not in load_run(run.path).evaluations["validation"]["details"]
