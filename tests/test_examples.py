"""The examples in the docstrings of the five functions of the main path run as they stand, in this order."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import tenfold

MAIN_PATH = ("read_table", "split_table", "train_model", "evaluate_run", "load_run")


def test_the_examples_run_and_say_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each starts without names; all that one leaves for the next is the run in the folder they are in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    for name in MAIN_PATH:
        [example] = doctest.DocTestFinder(recurse=False).find(getattr(tenfold, name), name, globs={})
        said: list[str] = []
        tried = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
        assert tried.attempted > 0, f"{name} has no example"
        assert not tried.failed, "".join(said)
    assert (tmp_path / "runs" / "digits" / "evaluation.json").is_file()
