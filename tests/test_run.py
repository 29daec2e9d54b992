"""A Run shows itself in a notebook, damaged or not, and obeys nothing that it shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenfold.estimate import Estimate
from tenfold.images.table import Table, make_samples, write_table
from tenfold.run import FORMAT, Run, write_json

FIGURE = Estimate(0.8, 0.6, 0.9, 0.95, 20, "Wilson")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """What the notebook's table reads of a run's folder, written by hand."""
    folder = tmp_path / "<run>"
    write_json(folder / "model.json", {"format": FORMAT, "architecture": "plain", "classes": ["<b>a</b>", "b & c"]})
    columns = {"part": ["train"] * 3 + ["test"], "source": list("abcd")}
    write_table(Table(make_samples(columns, 4)), folder / "table.parquet")
    evaluation = {"n": 20, "figures": {"top_2_accuracy": FIGURE.to_json(), "mcc": FIGURE.to_json()}}
    write_json(folder / "evaluation.json", {"test": evaluation})
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


def test_an_empty_folder_is_no_error(tmp_path: Path):
    html = Run(tmp_path)._repr_html_()
    assert html.count("is missing; the run is incomplete.") == 3
    assert json.dumps(html)
