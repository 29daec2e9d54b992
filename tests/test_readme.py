"""What the README tells people to type works, exactly as it stands there but for the number of epochs and folds."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cyclopts import CycloptsError
from PIL import Image

from tenfold.__main__ import main, make_app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def typed(command: str) -> list[str]:
    """The lines of all `sh` blocks that run this command, settings of the environment before it included."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [line for line in lines if re.match(rf"([A-Z_]+=\S+ )*{command}\b", line)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README's reader has one: `flowers`, with a folder a class, `photo.jpg`, `cells` and `slides`."""
    folder = tmp_path_factory.mktemp("reader")
    draw = np.random.default_rng(0)
    for color, name in ((90, "daisy"), (150, "roses"), (210, "tulips")):
        (folder / "flowers" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draw.integers(color - 60, color + 45, (24, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "flowers" / name / f"{number}.jpg")
    Image.fromarray(pixels).save(folder / "photo.jpg")
    for part in ("cells/images", "cells/labels", "slides"):
        (folder / part).mkdir(parents=True)
    for number in range(12):
        pixels = draw.integers(90, 130, (48, 64, 3)).astype(np.uint8)
        pixels[10:30, number * 2 : number * 2 + 20] = (200, 30, 30)
        Image.fromarray(pixels).save(folder / "cells" / "images" / f"{number}.png")
        label = f"0 {(number * 2 + 10) / 64} {20 / 48} {20 / 64} {20 / 48}\n"
        (folder / "cells" / "labels" / f"{number}.txt").write_text(label)
    (folder / "cells" / "data.yaml").write_text("train: images\nnames: [cell]\n")
    Image.fromarray(pixels).save(folder / "slides" / "1.png")
    return folder


@pytest.fixture
def inside(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That folder as the current one."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("TENFOLD_CACHE", str(place / "cache"))
    return place


def in_shell(line: str) -> str:
    """What a line prints in a shell whose PATH begins with this environment's programs."""
    settings = os.environ | {"PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    ran = subprocess.run(line, shell=True, env=settings, capture_output=True, text=True, encoding="utf-8")
    assert ran.returncode == 0, f"{line}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


def in_process(line: str, capture: pytest.CaptureFixture[str]) -> str:
    """The same without a new process, which takes seconds to begin."""
    program, *words = shlex.split(line)
    assert program == "tenfold"
    code, said = main(words), capture.readouterr()
    assert code == 0, f"{line}\n{said.out}{said.err}"
    return said.out


def test_every_shell_line_is_tested():
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
    assert lines
    assert sorted(lines) == sorted(typed("tenfold") + typed("make"))


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    inline = re.findall(r"`(?:[A-Z_]+=\S+ )*make [a-z]+[^`\n]*`", README)
    written = [re.findall(r"make [a-z]+", text)[0] for text in [*typed("make"), *inline]]
    assert {"make demo", "make test"} <= set(written)
    for target in {text.split()[1] for text in written}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"README names `make {target}`"


def test_links_lead_somewhere():
    for page in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / page).read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{page} links to {target}"


def test_the_quick_start_runs(inside: Path, capsys: pytest.CaptureFixture[str]):
    """The first line of two commands, and what sets the environment, in a shell, all others in this process."""
    shown = {typed("tenfold split")[0], typed("tenfold predict")[0]}
    said = {}
    for line in typed("tenfold"):
        short = line + " --epochs 1" if line.startswith("tenfold train") else line
        here = line not in shown and line.startswith("tenfold ")
        said[line] = in_process(short, capsys) if here else in_shell(short)
    assert any(name in said["tenfold predict runs/first photo.jpg"] for name in ("daisy", "roses", "tulips"))
    assert (inside / "drawn" / "1.png").is_file()
    page = inside / "runs" / "first" / "report.html"
    assert "daisy" in page.read_text(encoding="utf-8")


SHOWN = [line for block in blocks("console") for line in block.splitlines() if line.strip()]


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_is_only_shown_has_these_options(line: str):
    """Lines that would need weights, a second data set or minutes: their words are parsed, and nothing is run."""
    program, name, *words = shlex.split(line)
    assert program == "tenfold"
    _, found, _ = make_app(name).parse_args([name, *words], exit_on_error=False, print_error=False)
    assert not [value for value in found.arguments.get("images", ()) if value.startswith("-")]  # predict takes any


def test_what_is_only_shown_is_seen_to_be_wrong():
    for line in ("train flowers --folsd 5x2", "cache clear", "train flowers --model.norm bach"):
        with pytest.raises(CycloptsError):
            make_app().parse_args(shlex.split(line), exit_on_error=False, print_error=False)


@pytest.mark.parametrize("example", blocks("py"))
def test_the_example_for_other_people_s_arrays_runs(example: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path))
    draw = np.random.default_rng(0)
    labels = np.repeat(["dark", "bright"], 15)
    images = [
        draw.integers(0, 90, (12, 12, 3)).astype(np.uint8) + np.uint8(120 * (name == "bright")) for name in labels
    ]
    names = {"images": images, "labels": labels, "plants": np.arange(30) // 3}
    exec(re.sub(r"epochs=\d+", "epochs=1", example).replace("Split(5)", "Split(2)"), names)
    assert len(names["scores"]) == 2
    assert all(0 <= score <= 1 for score in names["scores"])


@pytest.mark.parametrize("example", blocks("python"))
def test_the_python_example_runs(inside: Path, example: str, capsys: pytest.CaptureFixture[str]):
    short, trains = re.subn(r'"epochs": \d+', '"epochs": 1', example)
    exec(short, {})
    said = capsys.readouterr().out
    assert said
    if trains:
        assert "accuracy" in said
        assert (inside / "runs" / "second" / "model.safetensors").is_file()
