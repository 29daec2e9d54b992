"""What `tenfold train`, its card and its report say agrees with each other, and with what can be done next."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tenfold.__main__ import main
from tenfold.commands.ladder import ladder_lines
from tenfold.commands.live import Watch
from tenfold.commands.output import next_look, show_figures
from tenfold.estimate import Estimate, units_of
from tenfold.images.table import BOX_COLUMNS, Table, make_samples
from tenfold.models.heads import Answers
from tenfold.recipe import Recipe
from tenfold.report.card import card
from tenfold.report.figures import write_figure
from tenfold.report.page import commands, page
from tenfold.split import fold_tables
from tenfold.tasks import TASKS
from tenfold.train.diagnosis import diagnose
from tenfold.train.evidence import Measured
from tenfold.train.plan import Plan
from tenfold.train.progress import Progress
from tenfold.train.ranks import Ranks
from tenfold.transfer.rungs import Exam, Tried, choose_rung
from tests.report_run import FakeRun, make_run
from tests.test_diagnosis import make_facts, make_outcome, sound_history

FROZEN = Recipe().change(model={"name": "frozen"})
COUNT = 40


@dataclass
class Weight:
    count: int
    requires_grad: bool

    def numel(self) -> int:
        return self.count


class Frozen:
    def describe(self) -> str:
        return ""

    def parameters(self) -> list[Weight]:
        return [Weight(3_371_008, False), Weight(3_843, True)]


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return make_run(tmp_path, ("a", "b"), each=2, evaluated=())


def in_part(run: FakeRun, part: str) -> FakeRun:
    """The run with all of its images in one part."""
    return replace(run, table=run.table.assign(part=[part] * len(run.table)))


# The ladder


def answers(strength: float, sure: float, wrong: int) -> Answers:
    """COUNT images of class 0, of which so many get the other class, all equally sure."""
    right = np.arange(COUNT) >= wrong
    probability = np.where(right[:, None], [sure, 1 - sure], [1 - sure, sure])
    return Answers(strength, 1.0, probability, -np.log(probability[:, 0]), right.astype(np.float64))


def climbed(first: list[Answers], second: list[Answers], costs: tuple[int, int] = (1, 2)) -> Any:
    names = (("low", "mean"), ("high", "svm"))
    tried = [
        Tried(words, {"backbone": "tiny", "head": head}, cost, own, 3.3)
        for (words, head), cost, own in zip(names, costs, (first, second), strict=True)
    ]
    exam = Exam(np.zeros(COUNT, np.int64), 2, np.arange(COUNT)[None] % 5, units_of(None, COUNT))
    return choose_rung(tried, exam, 4.3)


def test_the_reason_says_what_was_compared_and_what_is_cheaper():
    close = [answers(1.0, 0.8, 5)], [answers(1.0, 0.81, 5)]
    ladder = climbed(*close)
    assert ladder.reason == (
        "low: the best on the cheapest network that, with each at its best strength, is within one standard error of "
        "the lowest log loss, which high has."
    )
    lines = ladder_lines(ladder)
    place = lines.index(f"Chosen: {ladder.reason}")
    assert "so it may call another the lowest" in lines[place + 1]
    assert "however long the fits of heads on it took" in lines[place + 1]
    assert lines[place + 2].startswith("The choice included: ")
    apart = [answers(1.0, 0.6, 15)], [answers(1.0, 0.9, 1)]
    assert climbed(*apart).reason == (
        "high: with each at its best strength its log loss is the lowest, and nothing on a cheaper network is within "
        "one standard error of it."
    )
    for pair in (close, apart):
        assert climbed(*pair, costs=(1, 1)).reason == (
            "high: with each at its best strength its log loss is the lowest."
        ), "heads of one network cost the same"


# Next steps


def trained(parts: dict[str, int], path: str = "my data", **split: float) -> Any:
    """A run of images of two classes, so many a class in each part."""
    labels = [name for name in "ab" for count in parts.values() for _ in range(count)]
    part = [name for _ in "ab" for name, count in parts.items() for _ in range(count)]
    columns = {"source": [f"{n}.png" for n in range(len(labels))], "label": labels, "part": part}
    recipe = Recipe().change(data={"path": path}, split={"file": "my.split.csv", **split})
    return SimpleNamespace(path=Path("run"), recipe=recipe, table=Table(make_samples(columns, len(labels)), ("a", "b")))


@pytest.mark.parametrize(
    ("parts", "split", "said"),
    [
        ({"train": 3, "test": 1}, {}, "Next, when you have done choosing: tenfold evaluate run --part test"),
        (
            {"train": 1},
            {"test": 0.15},
            "Next, as there is no test part: add images of each class, remove my.split.csv and train again",
        ),
        (
            {"train": 6, "validation": 2},
            {"test": 0.0},
            "Next, as there is no test part: remove my.split.csv and train again with --split.test 15%; "
            "or cross-validate: tenfold train 'my data' --folds 5x2",
        ),
    ],
)
def test_the_next_step_names_a_part_that_there_is(parts, split, said, capsys):
    next_look(trained(parts, **split))
    assert capsys.readouterr().out == said + "\n"


@pytest.mark.parametrize(
    ("images", "groups", "folds"), [(2, 0, 2), (4, 0, 4), (9, 0, 5), (9, 3, 3), (1, 0, 0), (9, 1, 0)]
)
@pytest.mark.parametrize("boxed", [True, False])
def test_no_more_folds_are_advised_than_there_can_be(images, groups, folds, boxed, capsys):
    run = trained({"train": images})
    table = run.table.take(range(images)) if boxed else run.table
    group = [f"{n % groups}" for n in range(len(table))] if groups else [None] * len(table)
    table = table.assign(group=group)
    if boxed:
        run.table = replace(table, boxes=pd.DataFrame(columns=list(BOX_COLUMNS)).astype(BOX_COLUMNS))
    else:
        run.table, folds = table, folds if images >= 5 else 0  # of a class
    next_look(run)
    said = capsys.readouterr().out.partition("--folds ")[2].strip()
    assert said == (f"{folds}x2" if folds else "")
    if folds:
        assert len(list(fold_tables(table.assign(hash=[f"{n:032}" for n in range(len(table))]), folds))) == folds


@pytest.mark.parametrize(("part", "typed"), [("validation", "validation"), ("test", "test"), ("train", None)])
def test_card_and_report_name_a_part_that_there_is(run, part, typed):
    run = in_part(run, part)
    text, listed = card(run), [command for _, command in commands(run) if "evaluate" in command]
    if typed is None:
        assert listed == []
        assert "tenfold evaluate" not in text
        assert "It has no validation and no test part: more images of each class" in text
    else:
        assert f"tenfold evaluate . --part {typed}" in text
        [command] = listed
        assert command.endswith(f"--part {typed}")


def test_advice_names_the_data_where_the_recipe_knows_them():
    few = Measured(20, make_outcome(0.99, 0.05, 200, 1), make_outcome(0.8, 0.25, 10, 2))
    [unknown] = [one for one in diagnose(sound_history(), make_facts(few)) if one.kind == "noisy validation"]
    facts = make_facts(few, data={"path": "my data"})
    [known] = [one for one in diagnose(sound_history(), facts) if one.kind == "noisy validation"]
    assert "tenfold train DATA --folds 5x2" in unknown.next
    assert "DATA" not in known.next
    assert known.next == unknown.next.replace(" DATA", " 'my data'")


def test_what_may_hold_boxes_and_is_not_read_is_told_before_a_refusal(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop" / "images").mkdir(parents=True)
    for number in range(3):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / "shop" / "images" / f"{number}.png")
    (tmp_path / "shop" / "other.csv").write_text("ImageID,LabelName,XMin\n0,/m/0,0.1\n")
    for command in (["train", "shop", "--no-check"], ["proposals", "shop"]):
        assert main(command) != 0
        *told, error = capsys.readouterr().err.splitlines()
        assert any("other.csv holds boxes, it is in no form that is read" in line for line in told), command
        assert error.startswith("error: ")
        assert len(told) == len(set(told))
    for image in (tmp_path / "shop" / "images").iterdir():
        image.rename(tmp_path / "shop" / image.name)
    assert main(["proposals", "shop"]) != 0
    assert "other.csv holds boxes, it is in no form that is read" in capsys.readouterr().err


def test_split_says_what_train_would_refuse(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for folder in ("one/daisy", "bare/images", "bare/labels"):
        (tmp_path / folder).mkdir(parents=True)
    for number in range(6):
        for folder in ("one/daisy", "bare/images"):
            Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / folder / f"{number}.png")
        (tmp_path / "bare" / "labels" / f"{number}.txt").write_text("")
    for name, why in (("one", "A classifier needs images of at least two"), ("bare", "A detector needs a box to")):
        assert main(["split", name, "--no-check"]) == 0
        out = capsys.readouterr().out
        assert (tmp_path / f"{name}.split.csv").is_file()
        assert f"tenfold train refuses these images as they are: {why}" in out
        assert "Next" not in out
        assert main(["split", name, "--no-check", "--json"]) == 0
        assert why in json.loads(capsys.readouterr().out)["notes"][-1]


def test_one_class_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one" / "daisy").mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / "one" / "daisy" / f"{number}.png")
    assert main(["train", "one", "--model", "plain", "--no-check"]) == 3
    err = capsys.readouterr().err
    assert err.splitlines()[-1] == (
        "error: A classifier needs images of at least two classes, and all of these are of one, 'daisy'; add images of "
        "another class, in a folder (or with a label) of its own."
    )
    assert "Split" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize(
    ("row", "found"),
    [("", "there is no box on 6 images"), ("0 0.5 0.5 0.1 0.1\n", "none of 6 boxes on 6 images is one")],
)
def test_boxes_of_which_none_can_be_learned_are_refused_before_anything_is_written(
    row, found, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    for name in ("images", "labels"):
        (tmp_path / "cells" / name).mkdir(parents=True)
    for number in range(6):
        Image.new("RGB", (8, 8), (40 * number, 0, 0)).save(tmp_path / "cells" / "images" / f"{number}.png")
        (tmp_path / "cells" / "labels" / f"{number}.txt").write_text(row)
    (tmp_path / "cells" / "notes.md").write_text("other")
    assert main(["train", "cells", "--no-check"]) == 3
    err = capsys.readouterr().err
    assert err.splitlines()[-1] == (
        f"error: A detector needs a box to learn from, over 1 px wide and high and not to be ignored, and {found}; "
        "annotate objects, or put their annotations where they are found."
    )
    assert "files that are no images (1): notes.md" in err  # what was read is told before
    assert "Split" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["cells"]


# Progress


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(0.544801, "33 s"), (5.0, "5 minutes"), (1.0, "1 minute"), (4.87, "4 min 52 s"), (1.9999, "2 min")],
)
def test_a_time_is_written_as_people_say_it(minutes, words):
    heard: list[Progress] = []
    recipe = Recipe().change(image={"size": 64}, train={"minutes": minutes})
    plan = Plan(recipe, TASKS["classification"], Ranks(), time.monotonic(), heard.append, epoch_seconds=1.0)
    plan.settle_epochs()
    assert f" fit into {words} by this first measurement; " in heard[0].text


def test_whose_the_weights_are_is_said_once(capsys):
    whose = "tiny, made by hand; licence CC0-1.0"
    notes = [f"Pretrained network: {whose}", f"Weights: {whose}; ", "other: 1.0 s", "another: 1.0 s"]
    with Watch() as watch:
        for text in [*notes, f"Weights: {whose}; ", f"Weights: {whose}; of another kind"]:
            watch(Progress("note", text))
    said = capsys.readouterr().err.splitlines()
    assert said == [notes[0], *notes[2:], f"Weights: {whose}; of another kind"]


# Figures and words


def error(value: float, high: float) -> dict[str, Estimate]:
    right = Estimate(0.8, 0.376, 0.964, 0.95, 5, "Wilson")
    return {"accuracy": right, "calibration_error": Estimate(value, 0.0, high, 0.95, 5, "bootstrap")}


@pytest.mark.parametrize(
    ("value", "high", "words"), [(0.0, 0.279, "up to 27.9"), (0.0, 1.0, "not known"), (0.05, 0.1, "5.0")]
)
def test_a_calibration_error_that_chance_hides_is_not_called_nothing(run, value, high, words, capsys):
    figures = error(value, high)
    show_figures(figures, "here")
    run.evaluations["validation"] = {
        "part": "validation", "n": 5, "look": 0, "details": {},
        "figures": {name: figure.to_json() for name, figure in figures.items()},
    }  # fmt: skip
    for text in (capsys.readouterr().out, card(run), page(run, {})):
        flat = text.replace("\u00a0", " ")
        assert words in flat
        assert value or " 0.0 % " not in flat
    assert write_figure("accuracy", Estimate(0.0, 0.0, 0.3, 0.95, 5, "Wilson")).startswith("0.0")


def test_sets_that_were_found_are_not_called_groups(run):
    run = make_run(run.path.parent / "more", ("a", "b"), each=4, evaluated=("validation",))
    rows = np.flatnonzero(run.table.samples["part"] == "validation")
    groups = np.full(len(run.table), None, object)
    groups[rows] = [f"alike-{number % 4:012x}" for number in range(len(rows))]
    text = card(replace(run, table=run.table.assign(group=list(groups))))
    assert "These images come from only 4 images or sets of images that belong together: the interval" in text
    assert "No groups were given." in text
    given = np.array([str(name).replace("alike-", "camera ") if name else None for name in groups], object)
    text = card(replace(run, table=run.table.assign(group=list(given))))
    assert "These images come from only 4 groups: the interval" in text
    assert "sets of images" not in text


def test_a_frozen_network_shows_what_was_fitted_and_the_settings_that_count(run):
    frozen: Any = replace(run, recipe=FROZEN, model=Frozen(), history=pd.DataFrame({"step": [0]}))
    said = "3,374,851 parameters, of which 3,843 were fitted"
    text = page(frozen, {})
    assert f"- Network: residual, {said}\n" in card(frozen)
    assert said in text
    assert "<dt>seed</dt>" in text
    assert "<dt>backbone</dt>" in text
    for name in ("optimizer", "lr", "label_smoothing", "thawed", "width", "anchors"):
        assert f"<dt>{name}</dt>" not in text
        assert f"<dt>{name}</dt>" in page(run, {})
