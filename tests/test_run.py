"""A Run shows itself in a notebook, damaged or not, and obeys nothing that it shows."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tenfold.__main__ import main
from tenfold.errors import DataError
from tenfold.estimate import Estimate
from tenfold.evaluate.evaluation import _stored
from tenfold.images.table import Table, make_samples, write_table
from tenfold.recipe import Recipe, write_recipe
from tenfold.run import FORMAT, Run, build_model, load_run, read_card, write_json, write_weights
from tests.report_run import PREPROCESSING

FIGURE = Estimate(0.8, 0.6, 0.9, 0.95, 20, "Wilson")
CARD = {
    "format": FORMAT,
    "task": "classification",
    "architecture": "plain",
    "channels": 3,
    "classes": ["<b>a</b>", "b & c"],
    "settings": {},
    "preprocessing": {},
    "weights": {"origin": "trained from scratch", "licence": None},
}
FIGURES = {"top_2_accuracy": FIGURE.to_json(), "mcc": FIGURE.to_json()}
EVALUATION = {"part": "test", "n": 20, "look": 1, "figures": FIGURES, "details": {}}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """What the notebook's table reads of a run's folder, written by hand."""
    folder = tmp_path / "<run>"
    write_json(folder / "model.json", CARD)
    columns = {"part": ["train"] * 3 + ["test"], "source": list("abcd")}
    write_table(Table(make_samples(columns, 4)), folder / "table.parquet")
    write_json(folder / "evaluation.json", {"test": EVALUATION})
    return Run(folder)


def test_it_shows_what_it_is_and_how_good(run: Run):
    html = run._repr_html_()
    assert "&lt;run&gt;</td>" in html
    for name, text in {
        "network": "plain",
        "classes": "&lt;b&gt;a&lt;/b&gt;, b &amp; c",
        "images": "3 train, 0 validation, 1 test",
        "test part": "top 2 accuracy 0.800 (0.600 to 0.900), n = 20",
    }.items():
        assert f"<tr><th>{name}</th><td>{text}</td></tr>" in html
    assert "validation part" not in html


@pytest.mark.parametrize("file", ["model.json", "table.parquet", "evaluation.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b'{"test": 1, "format": 1, "classes": 3}'])
def test_a_damaged_file_is_named_and_the_rest_is_shown(run: Run, file: str, content: bytes):
    (run.path / file).write_bytes(content)
    html = Run(run.path)._repr_html_()
    assert ("not readable: " in html) == (file != "evaluation.json" or content != b"{}")
    assert ("<td>plain</td>" in html) == (file != "model.json")
    assert ("top 2 accuracy" in html) == (file != "evaluation.json")


def test_a_run_that_ended_and_lost_its_weights_is_not_said_to_go_on(run: Run):
    with pytest.raises(DataError, match="has not ended; go on with: tenfold train --resume"):
        load_run(run.path)
    (run.path / "history.csv").write_text("epoch\n1\n")
    with pytest.raises(DataError, match=r"has lost model\.safetensors, its weights; put it back, or train again: "):
        load_run(run.path)
    (run.path / "checkpoint").mkdir()
    with pytest.raises(DataError, match="has not ended"):
        load_run(run.path)


def test_an_empty_folder_is_no_error(tmp_path: Path):
    html = Run(tmp_path)._repr_html_()
    assert html.count("is missing; the run is incomplete.") == 3
    assert json.dumps(html)


@pytest.mark.parametrize("name", [name for name in CARD if name != "format"])
def test_a_card_that_lacks_something_is_refused_at_once(run: Run, name: str):
    (run.path / "model.safetensors").touch()
    assert load_run(run.path).card == CARD
    for card in ({key: value for key, value in CARD.items() if key != name}, CARD | {name: None}):
        write_json(run.path / "model.json", card)
        for read in (load_run, read_card):
            with pytest.raises(DataError, match=rf"model\.json is damaged: it has no '{name}', or one that is no "):
                read(run.path)


@pytest.mark.parametrize(
    "calibration",
    [[], {"temperature": 0}, {"temperature": "warm"}, {"steps": [[0.9, 10]]}, {"steps": 3}, {"steps": [None]}],
)
def test_a_calibration_that_cannot_be_used_is_refused(run: Run, calibration: object):
    (run.path / "model.safetensors").touch()
    write_json(run.path / "model.json", CARD | {"calibration": calibration})
    with pytest.raises(DataError, match=r"model\.json is damaged: its 'calibration' is not what training writes"):
        load_run(run.path)


def write_network(run: Run) -> dict[str, Any]:
    """A small network in the run; gives its card."""
    model = {"name": "plain", "width": 4, "layers": 1, "norm": "batch"}
    settings = asdict(Recipe().change(model=model).model) | {"stem_stride": 1}
    card = CARD | {"settings": settings | {"hidden": []}, "preprocessing": PREPROCESSING.to_json()}
    write_weights(run.path / "model.safetensors", build_model(card).state_dict())
    write_json(run.path / "model.json", card)
    return card


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {}}, r"is damaged: no network can be made of it \(KeyError\('activation'\)\)\.$"),
        ({"settings": {"width": -1}}, r"is damaged: no network can be made of it \("),
        ({"channels": 0}, r"is damaged: no network can be made of it \("),
        ({"architecture": "resdual"}, r"cannot be used here: model\.name must be one of .*did you mean 'residual'\?$"),
        ({"preprocessing": {"size": 64}}, "cannot be used here: The stored preprocessing must have the fields "),
    ],
)
def test_a_card_of_which_no_network_can_be_made_is_named(run: Run, change: dict[str, Any], message: str):
    card = write_network(run)
    assert load_run(run.path).model.classes == run.classes
    change = {name: card[name] | value if name == "settings" and value else value for name, value in change.items()}
    write_json(run.path / "model.json", card | change)
    with pytest.raises(DataError, match=rf"^{re.escape(str(run.path))}.model\.json {message}"):
        _ = load_run(run.path).model


def test_weights_of_another_network_are_named(run: Run):
    card = write_network(run)
    write_json(run.path / "model.json", card | {"settings": card["settings"] | {"width": 8}})
    with pytest.raises(DataError, match=r"model\.safetensors is damaged: .*size mismatch"):
        _ = load_run(run.path).model
    (run.path / "model.safetensors").write_bytes(b"short")
    with pytest.raises(DataError, match=r"model\.safetensors is damaged"):
        _ = load_run(run.path).model


@pytest.mark.parametrize("values", [{}, {"size": 64}, PREPROCESSING.to_json() | {"size": "64"}])
def test_a_preprocessing_that_is_none_is_named_with_its_file(run: Run, values: dict[str, Any]):
    write_json(run.path / "model.json", CARD | {"preprocessing": values})
    with pytest.raises(DataError, match=r"model\.json is damaged: The stored preprocessing"):
        _ = Run(run.path).preprocessing


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        [],
        {name: value for name, value in EVALUATION.items() if name != "details"},
        EVALUATION | {"n": "20"},
        EVALUATION | {"figures": {"accuracy": 0.8}},
        EVALUATION | {"figures": {"accuracy": {"value": 0.8, "low": 0.7}}},
    ],
)
def test_an_evaluation_that_is_none_is_named(run: Run, wrong: object, capsys: pytest.CaptureFixture[str]):
    write_network(run)
    assert run.evaluations == {"test": EVALUATION}
    write_json(run.path / "evaluation.json", {"validation": EVALUATION, "test": wrong})
    assert main(["report", str(run.path)]) == 3
    said = f"{run.path / 'evaluation.json'} is damaged: what it has of test is no evaluation; delete it and evaluate"
    assert capsys.readouterr().err == f"error: {said} again.\n"


def test_probabilities_are_calibrated_and_logits_are_not(run: Run):
    """A run without a temperature, as of before, has probabilities as the network gives them."""
    card = write_network(run)
    write_recipe(Recipe(), run.path / "recipe.toml")
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    found = {}
    for temperature in (None, 1.0, 2.5):
        fitted = {} if temperature is None else {"calibration": {"temperature": temperature}}
        write_json(run.path / "model.json", card | fitted)
        [prediction] = load_run(run.path).predict([image])
        found[temperature] = prediction
        assert prediction["logits"].tolist() == found[None]["logits"].tolist()
    power = np.exp(found[None]["logits"].astype(np.float64) / 2.5)
    assert found[2.5]["probability"] == pytest.approx(power / power.sum())
    assert found[1.0]["probability"].tolist() == found[None]["probability"].tolist()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no table", b"PAR1" + bytes(100) + b"PAR1"])
def test_damaged_predictions_are_named_wherever_they_are_read(run: Run, content: bytes):
    path = run.path / "predictions.parquet"
    path.write_bytes(content)
    damaged = r"predictions\.parquet is damaged: .*; delete it and evaluate again\.$"
    with pytest.raises(DataError, match=damaged):
        run.predictions("test")
    with pytest.raises(DataError, match=damaged):
        _stored(run)
    assert path.read_bytes() == content


def test_a_file_of_other_columns_is_damaged_too(run: Run):
    pd.DataFrame({"part": ["test"]}).to_parquet(run.path / "predictions.parquet")
    with pytest.raises(DataError, match=r"predictions\.parquet is damaged: it has no column sample, label;"):
        run.predictions("test")
    rows = pd.DataFrame({"part": ["validation"], "sample": [0], "label": ["a"]})
    rows[:0].to_parquet(run.path / "predictions.parquet")
    assert not len(run.predictions("test", "score"))  # where nothing was detected there are no such columns
    rows.to_parquet(run.path / "predictions.parquet")
    with pytest.raises(DataError, match=r"predictions\.parquet is damaged: it has no column score;"):
        run.predictions("test", "score")
    (run.path / "history.csv").write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(DataError, match=r"history\.csv is damaged: it has no column step, seconds\.$"):
        _ = run.history
    (run.path / "history.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"history\.csv is damaged"):
        _ = run.history
