"""As many proposals of an R-CNN as its time allows: by a clock that goes on with each region that the network sees."""

import re
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tenfold import detect as detect_module
from tenfold.detect import regions as regions_module
from tenfold.errors import UsageError
from tenfold.evaluate import evaluate_run
from tenfold.models.detection import RCNN
from tenfold.recipe import read_recipe
from tenfold.run import load_run
from tenfold.tasks import TASKS
from tenfold.train import plan as plan_module
from tenfold.train import proposals_in_time, train_model
from tenfold.train import start as start_module
from tenfold.train.plan import Plan
from tenfold.train.proposals_in_time import Work
from tenfold.transfer import time_left
from tests.test_fast_rcnn_training import recipe_of, squares_table, toy  # noqa: F401 - a fixture
from tests.test_rcnn import build

REGION, SEARCH = 0.02, 0.25


@pytest.fixture
def clock(monkeypatch):
    """Seconds of the clock, and how many regions the network saw in all; nothing else takes any time."""
    told = SimpleNamespace(now=1000.0, regions=0, most=0)
    look, propose = RCNN.look, RCNN.propose

    def slow_look(self, images, regions, *watch):
        told.now += REGION * len(regions)
        told.regions += len(regions)
        counts = torch.bincount(regions[:, 0].long())
        told.most = max(told.most, int(counts.max()) if len(regions) else 0)
        return look(self, images, regions, *watch)

    def slow_propose(self, images):
        told.now += SEARCH * len(images)
        return propose(self, images)

    monkeypatch.setattr(RCNN, "look", slow_look)
    monkeypatch.setattr(RCNN, "propose", slow_propose)
    for module in (proposals_in_time, plan_module, start_module, regions_module, time_left):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: told.now))
    monkeypatch.setattr(proposals_in_time, "_FEWEST", 10)
    monkeypatch.setattr(proposals_in_time, "_FIT", 0.0)
    monkeypatch.setattr(proposals_in_time, "_REST", 0.0)
    monkeypatch.setattr(start_module, "count_cost", lambda *given: "")  # it looks at 2,000 regions of noise
    return told


def rcnn_recipe(minutes, proposals=0):
    return recipe_of("rcnn", train={"minutes": minutes}, detect={"crop": 16, "proposals": proposals})


def test_the_limit_holds_and_fewer_proposals_are_taken_everywhere(tmp_path, clock, monkeypatch):
    heard, table = [], squares_table(tmp_path)
    train_model(table, rcnn_recipe(60), tmp_path / "whole", progress=lambda message: heard.append(message.text))
    evaluate_run(load_run(tmp_path / "whole"), "validation")
    whole = clock.now - 1000
    [said] = [text for text in heard if "the R-CNN takes about" in text]
    assert said.startswith("With 2,000 proposals of an image the R-CNN takes about ")
    assert said.endswith(" min of the time limit are left")
    assert " (images to learn from: 12, to validate: 4), and 5" in said

    measured = clock.regions
    clock.now, clock.most, limit = 1000.0, 0, round(0.6 * whole)
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "another"))  # where no feature is known yet
    run = train_model(table, rcnn_recipe(limit / 60), tmp_path / "run", progress=lambda told: heard.append(told.text))
    count = run.card["settings"]["proposals"]
    assert 10 <= count < 2000
    assert count % 10 == 0
    assert read_recipe(run.path / "recipe.toml").detect.proposals == count
    assert any(
        f": the first {count} of each image are taken, here and in prediction; give more" in one for one in heard
    )
    evaluate_run(load_run(run.path), "validation")
    assert 0.75 * limit < clock.now - 1000 <= limit
    assert clock.regions > measured

    clock.most = 0
    load_run(run.path).predict([np.asarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3)), np.uint8)])
    assert 0 < clock.most <= count


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, clock, monkeypatch):
    table = squares_table(tmp_path)
    with pytest.raises(
        UsageError, match=r"give more \(--minutes\), or take fewer images: not even 10 proposals fit\.$"
    ):
        train_model(table, rcnn_recipe(0.1), tmp_path / "run")
    with pytest.raises(
        UsageError, match=r"With 60 proposals .*; give more \(--minutes\), or set --detect\.proposals \d+\.$"
    ):
        train_model(table, rcnn_recipe(0.4, 60), tmp_path / "run")
    with pytest.raises(UsageError, match=r"With 6 proposals .*, or take fewer images: not even 6 proposals fit\.$"):
        train_model(table, rcnn_recipe(0.05, 6), tmp_path / "run")
    monkeypatch.setattr(plan_module.Plan, "_seconds_left", lambda self: -1.0)
    with pytest.raises(UsageError, match=r"The time limit was over before the R-CNN saw its first region; give more"):
        train_model(table, rcnn_recipe(1), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_more_than_a_sample_is_timed(tmp_path, clock, monkeypatch):
    table, seen = squares_table(tmp_path), []
    monkeypatch.setattr(proposals_in_time, "_SAMPLE", 7)
    monkeypatch.setattr(
        proposals_in_time.Work, "seconds", lambda self, most: seen.append((clock.regions, self.region)) or 0.0
    )
    train_model(table, rcnn_recipe(60), tmp_path / "run")
    [(regions, pace)] = seen
    assert regions == 7 * (3 + 3)
    assert pace == pytest.approx(REGION)


def test_without_a_limit_nothing_is_measured(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(proposals_in_time, "_measure", None)
    run = train_model(squares_table(tmp_path), rcnn_recipe(0, 60), tmp_path / "run")
    assert run.card["settings"]["proposals"] == 60


def test_the_work_is_that_of_a_loop_over_images():
    draw = np.random.default_rng(0)
    for _ in range(20):
        training, validation = draw.integers(0, 900, 7), draw.integers(0, 900, 3)
        work = Work(training, validation, (5, 4), 100, *draw.uniform(0.001, 0.01, 2), draw.uniform(0, 0.2))
        spent = {}
        for most in range(100, 1001, 10):
            spent[most] = proposals_in_time._REST + 5 * (work.region + work.fit) + 4 * work.region
            for has in training.tolist():
                spent[most] += min(has, most) * (work.region + work.fit)
            for has in validation.tolist():
                spent[most] += (2 * min(has, most) + min(has, most, 100)) * work.region + work.search
            assert work.seconds(most) == pytest.approx(spent[most])
        seconds = draw.uniform(min(spent.values()) * 0.9, max(spent.values()) * 1.1)
        assert work.most(seconds, 1000) == max((most for most in spent if spent[most] <= seconds), default=0)


@pytest.mark.parametrize("theirs", [1e-6, 0.005, 1.0], ids=["all", "some", "none"])
@pytest.mark.parametrize("own", [1e-6, 0.005, 1.0])
def test_of_several_processes_the_first_decides_for_all(theirs, own, monkeypatch):
    """Or one refuses by its own clock, and the others wait for it for ever."""

    def settle(first, region):
        every = np.full(12, 2000), np.full(4, 2000), (0, 0)
        monkeypatch.setattr(proposals_in_time, "_measure", lambda *given: Work(*every, 100, region, 0.0, 0.0))
        heard, model, ranks = [], build(proposals=0), SimpleNamespace(first=first)
        plan = Plan(rcnn_recipe(1), TASKS["detection"], ranks, time.monotonic(), heard.append)
        try:
            plan.settle_proposals(model, None)
        except UsageError as error:
            return 0, str(error)
        return model.proposals, heard[0].text

    said = []
    count, text = settle(lambda number: said.append(number) or number, theirs)
    assert (count == 0, count == 2000) == (theirs == 1.0, theirs == 1e-6)
    heard = iter(said)
    assert settle(lambda number: next(heard), own) == (count, text)
    assert next(heard, None) is None  # or what the first says next would be taken for this


def test_both_trainings_of_a_fine_tuning_share_the_limit(tmp_path, clock, monkeypatch):
    given, heard = [], []

    def first(table, recipe, out, *, progress):
        given.append(recipe.train.minutes)
        clock.now += 200
        return SimpleNamespace(path=out)

    def second(table, recipe, out, *, progress, findings):
        given.append(recipe.train.minutes)

    monkeypatch.setattr(regions_module, "train_regions", first)
    monkeypatch.setattr(regions_module, "train_model", second)
    recipe = rcnn_recipe(10).change(detect={"finetune": True})
    detect_module.train_rcnn(squares_table(tmp_path), recipe, tmp_path / "run", progress=heard.append)
    assert given == [5, round(10 - 200 / 60 - 0.005, 2)]
    assert ", with half of the time, 5 minutes, in " in heard[0].text


@pytest.mark.parametrize("late", [False, True])
def test_refused_between_both_trainings_it_says_how_to_go_on(tmp_path, clock, monkeypatch, late):
    def first(table, recipe, out, *, progress):
        clock.now += 660 * late
        return SimpleNamespace(path=out)

    def second(*given, **options):
        raise UsageError("Give more (--minutes), or take fewer images.")

    monkeypatch.setattr(regions_module, "train_regions", first)
    monkeypatch.setattr(regions_module, "train_model", second)
    why = "or try again: what was read is cached" if late else "or take fewer images"
    on = f"--model rcnn --init {tmp_path / 'run-regions'} and minutes for the R-CNN alone in the place of"
    says = f"{why}; the first of the two trainings is done: go on with {on} --detect.finetune."
    recipe = rcnn_recipe(10).change(detect={"finetune": True})
    with pytest.raises(UsageError, match=f"{re.escape(says)}$"):
        detect_module.train_rcnn(squares_table(tmp_path), recipe, tmp_path / "run")


def test_proposals_are_of_the_minutes_of_a_fine_tuning(tmp_path, clock, monkeypatch):
    given = []
    found = regions_module.propose_table

    def slow(*arguments, **options):
        clock.now += 30
        return found(*arguments, **options)

    monkeypatch.setattr(regions_module, "propose_table", slow)
    monkeypatch.setattr(
        regions_module, "train_model", lambda table, recipe, *rest, **options: given.append(recipe.train.minutes)
    )
    detect_module.train_regions(squares_table(tmp_path), rcnn_recipe(2), tmp_path / "run")
    assert given == [1.5]
    with pytest.raises(UsageError, match=r"The time limit of 30 s was over before the training began; give more"):
        detect_module.train_regions(hashless(tmp_path / "more"), rcnn_recipe(0.5), tmp_path / "run")


def hashless(folder):
    folder.mkdir()
    return squares_table(folder)
