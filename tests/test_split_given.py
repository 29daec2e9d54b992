"""tenfold split on data that give parts: what was typed and changes nothing is said to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tenfold import split as split_module
from tenfold.__main__ import main
from tenfold.commands.split import parted
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.recipe import SplitSettings
from tenfold.split import read_split

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


@pytest.mark.parametrize("stands", [False, True])
def test_what_another_program_writes_meanwhile_holds(
    stands: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two trainings of other seeds deal the same images, of a split that stands the new ones, at the same time."""
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    table, file = hashed(read_table(write(tmp_path, ""))), tmp_path / "mine.split.csv"
    settings = SplitSettings(file=str(file), validation=0.3, test=0.2)
    if stands:
        parted(table.take(range(12)), settings, 0)
    name = "apply_split" if stands else "split_table"
    deal = getattr(split_module, name)

    def meanwhile(*given: object, **options: object) -> Table:
        found: Table = deal(*given, **options)
        monkeypatch.setattr(split_module, name, deal)
        theirs.append(parted(table, settings, 1))  # by another program, which trains on from there
        return found

    theirs: list[Table] = []
    alone = tmp_path / "alone.split.csv"
    if stands:
        alone.write_bytes(file.read_bytes())
    own = parted(table, replace(settings, file=str(alone)), 0).samples["part"]
    monkeypatch.setattr(split_module, name, meanwhile)
    ours = parted(table, settings, 0)
    assert own.tolist() != theirs[0].samples["part"].tolist()  # else nothing was shown
    assert ours.samples["part"].tolist() == theirs[0].samples["part"].tolist()
    written = {entry.hash: entry.part for entry in read_split(file)}
    assert [written[digest] for digest in table.samples["hash"]] == theirs[0].samples["part"].tolist()
