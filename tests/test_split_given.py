"""tenfold split on data that give parts: what was typed and changes nothing is said to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenfold.__main__ import main

Capture = pytest.CaptureFixture[str]


def write(folder: Path, *parts: str) -> str:
    """A listing of 24 images in two classes, with these parts in turns; its name."""
    draw = np.random.default_rng(0)
    lines = ["path,label,part"]
    for number in range(24):
        Image.fromarray(draw.integers(0, 255, (8, 8), np.uint8)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]},{parts[number // 2 % len(parts)]}")
    (folder / "mine.csv").write_text("\n".join(lines), "utf-8")
    return "mine.csv"


@pytest.mark.parametrize(
    ("parts", "typed", "sentence"),
    [
        (
            ("train", "validation", "test"),
            "--validation 0.4 --test 0.1 --seed 5",
            "gives the validation and test parts itself, and what it gives stands; --validation, --test and --seed "
            "change nothing here.",
        ),
        (
            ("train", "test"),
            "--test 0.4 --seed 3",
            "gives the test part itself, and what it gives stands; --test changes",
        ),
        (("train", "validation", "test"), "--seed 5", "gives the validation and test parts itself, and what it gives "),
        (("train", "test"), "--validation 0.2 --seed 3", ""),  # which is taken from training images
        (("train", "validation", "test"), "", ""),
        (("train", "validation", "test"), "--seed 5 --folds 2", ""),  # which deals the folds
        (("",), "--validation 0.4 --test 0.1 --seed 5", ""),
    ],
)
def test_what_changes_nothing_is_said(
    parts: tuple[str, ...], typed: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    data = write(tmp_path, *parts)
    assert main(["split", data, "--no-check", "--json", *typed.split()]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    for part in ("validation", "test"):
        if part in parts and "folds" not in typed:
            assert found["counts"]["(all)"][part] == 24 // len(parts)  # they do stand
    said = [note for note in found["notes"] if "itself, and what it gives stands" in note]
    assert len(said) == bool(sentence)
    assert all(note.startswith(f"{data} {sentence}") and note in captured.err for note in said)
    assert main(["split", data, "--no-check", *typed.split()]) == (2 if "folds" in typed else 0)  # folds are not redone
    assert "itself, and what it gives" not in capsys.readouterr().err  # now the file says what is followed
