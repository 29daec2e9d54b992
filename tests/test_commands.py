"""The command line: what is asked of every command, the recipe's settings as options, and the whole path on digits."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from PIL import Image

from tenfold import __main__ as command_line
from tenfold.__main__ import COMMANDS, main, make_app
from tenfold.commands import train as train_command
from tenfold.commands.live import Watch
from tenfold.commands.new_folder import new_folder
from tenfold.commands.options import SHARES, SHORT, chosen_recipe
from tenfold.commands.output import column_widths, counted, readable_bytes, show_json, show_table
from tenfold.commands.train import _stop_told, read_parted
from tenfold.errors import DataError, Interrupted, TenfoldError, TrainingError, UsageError
from tenfold.estimate import Estimate
from tenfold.recipe import PolicySetting, Recipe
from tenfold.run import Run
from tenfold.train.progress import Progress

SETTINGS = [
    (section, setting.name)
    for section, settings in get_type_hints(Recipe).items()
    for setting in dataclasses.fields(settings)
]
QUICK = "--epochs 1 --model plain --model.width 8 --size 16 --batch-size 64 --train.precision float32".split()
ESTIMATE = {"value", "low", "high", "level", "n", "method"}

Capture = pytest.CaptureFixture[str]


def asked(*tokens: str) -> dict[str, Any]:
    """The settings that `tenfold train` is called with."""
    _, bound, _ = make_app("train").parse_args(["train", *tokens])
    return {name: value for name, value in bound.kwargs.items() if "__" in name}


def another(section: str, name: str) -> tuple[list[str], Any]:
    """A value of a setting that is not its default, or a switch turned on, as typed and as the recipe holds it."""
    settings = get_type_hints(Recipe)[section]
    default, hint = getattr(settings(), name), get_type_hints(settings)[name]
    if hint is bool:
        return [], True
    if isinstance(default, tuple):
        return ["2", "3"], tuple(map(get_args(hint)[0], (2, 3)))
    if hint in (str, PolicySetting):
        return ["x"], "x"
    value = next(choice for choice in get_args(hint) or (hint(0.5), hint(1), hint(2)) if choice != default)
    return [str(value)], value


def json_of(capture: Capture) -> dict[str, Any]:
    return json.loads(capture.readouterr().out)


# What holds for every command


@pytest.mark.parametrize("name", COMMANDS)
def test_help_says_what_it_does_with_an_example_and_every_option(name: str, capsys: Capture) -> None:
    assert main([name, "--help"]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: tenfold {name}")
    assert "For example:" in text
    assert f"    tenfold {name}" in text.partition("For example:")[2]
    assert "--json" in text
    app = make_app(name)[name]
    options = app.assemble_argument_collection(parse_docstring=True)
    assert [option.name for option in options if not option.parameter.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_an_unknown_option_names_the_nearest_and_exits_with_2(name: str, capsys: Capture) -> None:
    assert main([name, "x", "y", "--jsom"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: Unknown option: --jsom. Did you mean --json?\n"


def test_help_lists_the_commands_in_the_order_of_the_flow(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"│ {name} ") for name in COMMANDS]
    assert places == sorted(places)
    flow = "check convert split augment proposals weights train extend evaluate compare curve predict gallery"
    assert list(COMMANDS) == [*flow.split(), "report", "cache", "doctor"]


def test_help_loads_nothing_large() -> None:  # how long it takes stands in benchmarks/startup.py
    code = (
        "import sys; from tenfold.__main__ import main; main(['--help']);"
        "large = {'torch', 'pandas', 'numpy', 'matplotlib', 'sklearn', 'PIL', 'pyarrow'} & set(sys.modules);"
        "print(*large, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"


def test_an_option_without_its_dashes_is_named(capsys: Capture) -> None:
    assert main(["cache", "clear"]) == 2
    said = "error: No argument of tenfold cache takes 'clear'; see tenfold cache --help. Did you mean --clear?\n"
    assert capsys.readouterr().err == said


def test_unknown_command_names_the_nearest(capsys: Capture) -> None:
    assert main(["trian"]) == 2
    assert 'Unknown command "trian". Did you mean "train"?' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("no"), 2),
        (DataError("no"), 3),
        (TrainingError("no"), 1),
        (TenfoldError("no"), 1),
        (Interrupted("no"), 130),
        (KeyboardInterrupt(), 130),
        (FileNotFoundError(2, "No such file", "photo"), 3),
        (BrokenPipeError(), 1),
    ],
)
def test_errors_are_one_sentence_with_their_exit_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def fail() -> int:
        raise error

    monkeypatch.setitem(sys.modules, "failing", types.SimpleNamespace(fail=fail))
    monkeypatch.setattr(command_line, "COMMANDS", {"fail": ("failing:fail", "Fails.")})
    monkeypatch.setattr(command_line, "_close_output", lambda: None)  # it would close pytest's own
    assert main(["fail"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    if not isinstance(error, BrokenPipeError):
        assert err.startswith("error: ") == (code != 130)  # whoever stops a command made no error
        assert err.count("\n") == 1


# The recipe's settings as options


@pytest.mark.parametrize(
    "options",
    [
        {setting: f"--{'.'.join(setting)}" for setting in SETTINGS},
        {setting: f"--{'.'.join(setting)}".replace("_", "-") for setting in SETTINGS},
        {setting: SHORT[".".join(setting)] for setting in SETTINGS if ".".join(setting) in SHORT},
    ],
    ids=["underscores", "dashes", "short names"],
)
def test_every_setting_is_an_option(options: dict[tuple[str, str], str]) -> None:
    """Many at once, as each parse takes a while: of any two, one of these holds the one without the other."""
    for bit in range(len(options).bit_length()):
        some = [setting for number, setting in enumerate(options, 1) if number >> bit & 1]
        values = {setting: another(*setting) for setting in some}
        typed = [word for setting in some for word in (options[setting], *values[setting][0])]
        assert asked(*typed) == {"__".join(setting): value for setting, (_, value) in values.items()}


def test_the_short_names_exist() -> None:
    assert set(SHORT) <= {f"{section}.{name}" for section, name in SETTINGS}


def test_options_count_before_the_file_and_the_file_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("[train]\nlr = 0.5\nepochs = 7\n[data]\nallow_truncated = true\n[model]\nhidden = [4]\n")
    recipe = chosen_recipe(file, asked("--lr", "0.25", "--data.allow-truncated=false", "--model.hidden"))
    assert (recipe.train.lr, recipe.train.epochs) == (0.25, 7)
    assert recipe.train.momentum == Recipe().train.momentum
    assert recipe.data.allow_truncated is False
    assert recipe.model.hidden == ()


def test_what_a_run_s_recipe_holds_for_something_else_is_chosen_anew(tmp_path: Path, capsys: Capture) -> None:
    file, other = tmp_path / "run" / "recipe.toml", tmp_path / "recipe.toml"
    for place in (file, other):
        place.parent.mkdir(exist_ok=True)
        place.write_text(
            "[image]\nsize = 224\nmean = [0.5, 0.5, 0.5]\nbackground = 0\n[train]\nlr = 0.04\nepochs = 1\n"
            '[model]\nname = "frozen"\n[transfer]\nbackbone = "vgg16"\nstrength = 8.0\n[augment]\npolicy = "none"\n'
        )
    (file.parent / "model.json").write_text("{}")
    found = chosen_recipe(file, asked("--backbone", "mobilenetv2"))
    assert (found.image.size, found.image.mean, found.transfer.strength) == (0, (), 0.0)
    assert (found.image.background, found.train.lr, found.transfer.backbone) == (0, 0.04, "mobilenetv2")
    said = " ".join(capsys.readouterr().err.split())
    assert (
        "With another transfer.backbone than the run's, what that run had of these is open again: transfer.strength, "
        "image.size, image.mean. Give what is to stay." in said
    )
    found = chosen_recipe(file, asked("--model", "residual", "--epochs", "3"))
    assert found.transfer == Recipe().transfer
    assert (found.train.epochs, found.train.lr, found.augment.policy) == (3, 0.0, "auto")
    assert chosen_recipe(file, asked("--model", "frozen")) == chosen_recipe(file, {})
    assert chosen_recipe(file, asked("--train.optimizer", "sgd")).train.lr == 0.0
    assert chosen_recipe(other, asked("--backbone", "mobilenetv2")).image.size == 224  # no run's: as it was written


@pytest.mark.parametrize(
    ("section", "name", "hint"),
    [
        (section, name, hint)
        for section, settings in get_type_hints(Recipe).items()
        for name, hint in get_type_hints(settings).items()
        if hint in (int, float) or get_args(hint)[:1] in ((int,), (float,))
    ],
)
def test_every_number_has_a_least_and_a_most(section: str, name: str, hint: Any) -> None:
    kind = hint if hint in (int, float) else get_args(hint)[0]
    for bad in (kind(-2), kind(10**20), *([float("nan")] if kind is float else [])):
        with pytest.raises(UsageError, match=rf"{section}\.{name} must be from .* to .*, not "):
            Recipe().change(**{section: {name: bad if hint is kind else (kind(1), bad)}})


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("--train.lrr 1", "Unknown option: --train.lrr. Did you mean --train.lr?"),
        ("--epoch 1", "Unknown option: --epoch. Did you mean --epochs?"),
        ("--learning-rate 1", "Unknown option: --learning-rate. Did you mean --lr?"),
        ("--train.learning_rate=1", "Unknown option: --train.learning_rate. Did you mean --lr?"),
        ("--train.size 64", "Unknown option: --train.size. Did you mean --size?"),
        ("--image.dropout 0.1", "Unknown option: --image.dropout. Did you mean --model.dropout?"),
        ("--quux", "Unknown option: --quux. Did you mean --"),
        ("--model.norm bach", 'Choose from: "auto", "batch", "group", "none". Did you mean "batch"?'),
        ("--epochs 2.5", "Invalid value for --epochs: must be a whole number, not '2.5'."),
        ("--lr abc", 'Invalid value for --lr: unable to convert "abc" into float.'),
        ("--epochs -4", "train.epochs must be from 0 to 1e+06, not -4."),
        ("--train.workers -1", "train.workers must be from 0 to 1024, not -1."),
        ("more", "No argument of tenfold train takes 'more'; see tenfold train --help."),
    ],
)
def test_a_wrong_setting_is_a_sentence_and_2(typed: str, sentence: str, capsys: Capture) -> None:
    assert main(["train", "digits", *typed.split()]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said


def test_a_wrong_key_in_the_file_names_the_nearest(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text("[train]\nepoch = 7\n")
    assert main(["train", str(file)]) == 2
    assert "did you mean 'epochs'?" in capsys.readouterr().err
    for text, near in (
        ("[train]\nlearning_rate = 1", "lr"),
        ("[train]\nsize = 64", "image.size"),
        ("[model]\nimgsz = 64", "image.size"),
        ("[trian]\nlr = 1", "train"),
        ("epochs = 3", "train.epochs"),
        ("learning_rate = 3", "train.lr"),
    ):
        file.write_text(text)
        assert main(["train", str(file)]) == 2
        assert f"; did you mean {near!r}?\n" in capsys.readouterr().err, text
    file.write_text("[train]\nquux = 1")
    assert main(["train", str(file)]) == 2
    assert "; did you mean '" in capsys.readouterr().err  # some name, whatever it is like
    file.write_text("train = [")
    assert main(["train", str(file)]) == 3


def test_train_needs_data_and_resume_no_more(capsys: Capture, tmp_path: Path) -> None:
    assert main(["train"]) == 2
    assert main(["train", "digits", "--resume", str(tmp_path)]) == 2
    assert main(["train", "--resume", str(tmp_path), "--lr", "1"]) == 2
    assert main(["train", "--resume", str(tmp_path)]) == 3
    assert main(["train", str(tmp_path / "none")]) == 3
    assert main(["train", "digits", "--split", str(tmp_path / "none.csv")]) == 2
    assert "there is no" in capsys.readouterr().err


# What is printed


def test_json_is_one_object_with_estimates_in_full(capsys: Capture) -> None:
    show_json({"accuracy": Estimate(0.5, 0.25, 0.75, 0.95, 8, "wilson"), "path": Path("a") / "hoa hồng 🌹"})
    printed = capsys.readouterr().out
    assert json.loads(printed) == {
        "accuracy": {"value": 0.5, "low": 0.25, "high": 0.75, "level": 0.95, "n": 8, "method": "wilson"},
        "path": str(Path("a") / "hoa hồng 🌹"),
    }
    assert "hồng 🌹" in printed
    with pytest.raises(ValueError, match="not JSON compliant"):
        show_json({"loss": float("nan")})


def test_json_is_legal_where_the_console_lacks_the_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    show_json({"class": "hoa hồng 🌹 \udce9"})
    sys.stdout.flush()
    assert json.loads(raw.getvalue().decode("ascii")) == {"class": "hoa hồng 🌹 \udce9"}


def test_tables_print_names_as_they_are(capsys: Capture) -> None:
    show_table(("Class", "Images"), [("[bold]x[/bold]", 3), (":smile:", 12), ("w" * 300, 1)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[2:5]] == [["[bold]x[/bold]", "3"], [":smile:", "12"], ["w" * 300, "1"]]


def test_a_table_in_a_file_is_wrapped_between_words(capsys: Capture) -> None:
    sentence = " ".join(f"word{number}" for number in range(60))
    show_table(("Finding", "Images", "Evidence"), [("Dark images", 12, sentence), ("Copies", 3, "two of them")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert [word for line in lines for word in line.split() if word.startswith("word")] == sentence.split()
    assert [line.strip() for line in lines].count("") == 2  # between the rows, and at the end
    long = "/".join(["folder"] * 30)  # a path is in one piece, however long
    show_table(("Path", "Why"), [(long, sentence)])
    assert long in capsys.readouterr().out.split()


@pytest.mark.parametrize("room", [1, 20, 40, 90, 500])
def test_columns_are_as_wide_as_the_fewest_lines_need(room: int) -> None:
    columns = [["a", "ten letters"], ["", "a sentence of some words that is rather long"], ["b", "12"]]
    words, whole = [7, 8, 2], [11, 44, 2]
    every = [[max(word, -(-size // n)) for word, size in zip(words, whole, strict=True)] for n in range(1, 13)]
    allowed = max(room, 19)  # a tenth more than where no cell is more than twelve lines high
    assert column_widths(columns, room) == next(widths for widths in every if sum(widths) <= allowed)


def test_sizes_read_well() -> None:
    assert [readable_bytes(n) for n in (0, 1023, 1024, 1536, 2**30, 2**52)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "1.5 KiB",
        "1.0 GiB",
        "4096.0 TiB",
    ]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


STEP = Progress(
    "step", epoch=3, epochs=9, step=20, steps=90, loss=0.5, accuracy=0.75, images_per_second=1234, seconds_left=80
)
EPOCH = Progress("epoch", "epoch 9 of 9", epoch=9, epochs=9, step=90, steps=90, loss=0.25, accuracy=0.875)


def test_a_terminal_sees_one_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with Watch() as watch:
        for message in (Progress("note", "plain network"), EPOCH, STEP):
            watch(message)
    seen = terminal.getvalue()
    assert "plain network" in seen
    assert "epoch 3 of 9" in seen
    assert "loss 0.500, accuracy 0.750, validation loss 0.250, accuracy 0.875, 1234 images/s, 1 min 20 s left" in seen


def test_of_several_processes_only_the_first_shows_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("RANK", "1")
    with Watch() as watch:
        watch(STEP)
        watch(Progress("note", "a note"))
    assert terminal.getvalue() == ""


def test_a_terminal_sees_how_many_have_come(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def results(**options: Any) -> list[int]:
        for item in counted(range(30), 30, "Images", **options):
            sys.stdout.write(f"{item}\n")
        return [int(line) for line in capsys.readouterr().out.split()]

    assert results() == list(range(30))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert results() == list(range(30))  # on stdout all the same, which may be a file
    assert "Images" in terminal.getvalue()
    assert "30/30" in terminal.getvalue()
    seen = len(terminal.getvalue())
    assert results(printed=True) == list(range(30))
    assert len(terminal.getvalue()) > seen
    monkeypatch.setattr(sys, "stdout", Terminal())
    seen = len(terminal.getvalue())
    assert list(counted(range(30), 30, "Images", printed=True)) == list(range(30))
    assert len(terminal.getvalue()) == seen


def test_elsewhere_a_plain_line_comes_now_and_then(capsys: Capture) -> None:
    with Watch() as watch:
        for message in (Progress("note", "plain network"), STEP, STEP, dataclasses.replace(EPOCH, epoch=2), EPOCH):
            watch(message)
    assert capsys.readouterr().err.splitlines() == [
        "plain network",
        "epoch 9 of 9 (validation): loss 0.250, accuracy 0.875, 0 images/s, 1 min 20 s left",
    ]


def test_the_next_free_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "hoa hồng-1").mkdir(parents=True)
    for data, name in (("hoa hồng", "hoa hồng-2"), ("list.csv", "list-1"), ("", f"{tmp_path.name}-1")):
        with new_folder(None, Path(data)) as folder:
            assert folder == Path("runs") / name


def test_what_begins_meanwhile_takes_the_next_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with new_folder(None, Path("cells")) as first, new_folder(None, Path("cells")) as second:
        assert [first.name, second.name] == ["cells-1", "cells-2"]
        (second / "recipe.toml").touch()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["cells-2"], "what is empty goes again"
    with new_folder(tmp_path / "own", Path("cells")) as given:
        assert given == tmp_path / "own"
        assert not given.exists()


def test_processes_that_train_together_take_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with new_folder(None, Path("cells")) as first, new_folder(None, Path("cells")) as second:
        assert first == second == Path("runs") / "cells-1"
        assert not first.exists()


def test_a_run_where_no_folder_can_be_made_is_refused_by_what_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").touch()
    with new_folder(None, Path("cells")) as folder:
        assert folder == Path("runs") / "cells-1"


# split


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes with names that few consoles can print, 20 images each, and the folder they are in as the current."""
    draw = np.random.default_rng(0)
    for name in ("hoa hồng 🌹", "lá"):
        (tmp_path / "ảnh" / name).mkdir(parents=True)
        for number in range(20):
            pixels = draw.integers(0, 255, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "ảnh" / name / f"{number % 10}-{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENFOLD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "ảnh"


def parts_of(file: Path) -> dict[str, str]:
    with file.open(encoding="utf-8", newline="") as lines:
        return {row["hash"]: row["part"] for row in csv.DictReader(lines)}


def test_split_writes_shows_and_says_what_is_next(images: Path, capsys: Capture) -> None:
    assert main(["split", "ảnh", "--validation", "0.1", "--test", "0.2"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[-3:] for line in out.splitlines() if line.startswith(("hoa", "lá", "(all)"))] == [
        ["14", "2", "4"],
        ["14", "2", "4"],
        ["28", "4", "8"],
    ]
    assert "tenfold train" in out
    assert len(parts_of(Path("ảnh.split.csv"))) == 40


def test_split_in_json(images: Path, capsys: Capture) -> None:
    assert main(["split", "ảnh", "--out", "mine.csv", "--json"]) == 0
    result = json_of(capsys)
    assert result["files"] == ["mine.csv"]
    assert result["counts"]["(all)"] == {"train": 28, "validation": 6, "test": 6}
    assert result["shares"] == {"validation": 0.15, "test": 0.15}
    assert result["advice"]["half_width"] > 0.1
    assert result["advice"]["training_images_per_class"] == {"least": 14, "most": 14}
    assert result["advice"]["reasons"] == result["notes"][-len(result["advice"]["reasons"]) :]
    assert main(["split", "ảnh", "--out", "mine.csv", "--json"]) == 0
    assert json_of(capsys)["advice"] is None  # the split stands already
    assert main(["split", "ảnh", "--out", "both.csv", "--test", "20%", "--validation", "0.1", "--json"]) == 0
    assert json_of(capsys)["advice"] is None


def test_a_share_may_be_a_percentage(images: Path, capsys: Capture) -> None:
    assert main(["split", "ảnh", "--test", "20%", "--validation", "10 %", "--expect", "80%", "--json"]) == 0
    assert json_of(capsys)["counts"]["(all)"] == {"train": 28, "validation": 4, "test": 8}
    for typed, sentence in (
        ("20", "must be a share, for example 2% or 0.02, not '20'; did you mean 20%?"),
        ("a fifth", "must be a share, for example 2% or 0.02, not 'a fifth'."),
        ("120%", "test must be from 0 to 0.9, not 1.2."),
    ):
        assert main(["split", "ảnh", "--out", "new.csv", "--test", typed]) == 2
        out, err = capsys.readouterr()
        assert sentence in err
        assert (out, err.count("\n")) == ("", 1)
    assert asked("--split.test", "55%", "--augment.mix-share", "50%", "--model.dropout", "0.25") == {
        "split__test": 0.55,
        "augment__mix_share": 0.5,
        "model__dropout": 0.25,
    }
    assert set(SHARES) <= {f"{section}.{name}" for section, name in SETTINGS}


def test_a_stop_outside_the_loop_says_whether_there_is_something_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="before the first step"), _stop_told(tmp_path):
        raise KeyboardInterrupt
    (tmp_path / "recipe.toml").touch()
    with pytest.raises(Interrupted, match="go on with: tenfold train --resume"), _stop_told(tmp_path):
        raise KeyboardInterrupt
    (tmp_path / "model.safetensors").touch()
    whole = "the training is done, and what it gave is seen with: tenfold train --resume"
    with pytest.raises(Interrupted, match=whole), _stop_told(tmp_path):
        raise KeyboardInterrupt
    (tmp_path / "ladder.json").write_text('{"finetuning": {"decided": false}}', "utf-8")  # two are to be compared
    with pytest.raises(Interrupted, match="Ctrl-C; go on with: tenfold train --resume"), _stop_told(tmp_path):
        raise KeyboardInterrupt


def test_a_stop_while_it_evaluates_names_the_run(
    images: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def stop(*given: object) -> None:
        raise KeyboardInterrupt

    command = ["train", "ảnh", "--no-check", "--split.validation", "0.25", "--out", "run", *QUICK]
    said = "Stopped by Ctrl-C; the training is done, and what it gave is seen with: tenfold train --resume run"
    with monkeypatch.context() as patch:
        patch.setattr(train_command, "_evaluation", stop)
        for words in (command, ["train", "--resume", "run"]):
            assert main(words) == 130
            assert said in capsys.readouterr().err
    assert main(["train", "--resume", "run"]) == 0
    assert "run has ended; this is what it gave." in capsys.readouterr().err


def test_split_follows_the_file_that_stands(images: Path) -> None:
    assert main(["split", "ảnh"]) == 0
    before = parts_of(Path("ảnh.split.csv"))
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(images / "lá" / "new.png")
    assert main(["split", "ảnh", "--seed", "5"]) == 0
    after = parts_of(Path("ảnh.split.csv"))
    assert len(after) == len(before) + 1
    assert before.items() <= after.items()


def test_split_says_what_its_options_do_where_the_file_stands(images: Path, capsys: Capture) -> None:
    file = Path("ảnh.split.csv")
    assert main(["split", "ảnh"]) == 0
    out, err = capsys.readouterr()
    assert f"Written to {file.absolute()}" in out
    assert "stands already" not in err
    before = file.read_bytes()
    assert main(["split", "ảnh", "--test", "0.3", "--seed", "1"]) == 0
    out, err = capsys.readouterr()
    assert f"Followed {file.absolute()}" in out
    assert "Written" not in out
    sentence = (
        f"{file.absolute()} stands already and is followed; --validation, --test and --seed hold for new images only. "
        "Remove it to split anew."
    )
    assert sentence in err.splitlines()
    assert file.read_bytes() == before
    assert main(["split", "ảnh", "--json"]) == 0
    assert sentence in json_of(capsys)["notes"]
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(images / "lá" / "new.png")
    assert main(["split", "ảnh"]) == 0
    assert f"Written to {file.absolute()}" in capsys.readouterr().out


def test_train_says_that_the_shares_do_not_move_old_images(images: Path, capsys: Capture) -> None:
    sentence = "is followed; --split.test holds for new images only. Remove it to split anew."
    read_parted("ảnh", {"split__test": 0.3})
    assert sentence not in capsys.readouterr().err
    before = Path("ảnh.split.csv").read_bytes()
    _, table = read_parted("ảnh", {"split__test": 0.15})
    assert sentence in capsys.readouterr().err
    assert len(table.part("test")) == 12
    read_parted("ảnh", {})
    assert "for new images only" not in capsys.readouterr().err
    Path("recipe.toml").write_text('[data]\npath = "ảnh"\n[split]\nvalidation = 0.4\ntest = 0.2\n', "utf-8")
    read_parted("recipe.toml", {})
    assert "--split.validation and --split.test hold for new images only" in capsys.readouterr().err
    assert Path("ảnh.split.csv").read_bytes() == before


def test_train_says_that_shares_change_nothing_where_the_data_give_parts(images: Path, capsys: Capture) -> None:
    rows = [
        f"{file.relative_to(images.parent).as_posix()},{file.parent.name}" for file in sorted(images.rglob("*.png"))
    ]
    parts = ["test" if place % 4 == 0 else "" for place in range(len(rows))]
    lines = [f"{row},{part}" for row, part in zip(rows, parts, strict=True)]
    (images.parent / "list.csv").write_text("\n".join(["path,label,part", *lines, ""]), "utf-8")
    _, table = read_parted("list.csv", {"split__test": 0.5, "split__validation": 0.25})
    assert "list.csv gives the test part itself, and what it gives stands; --split.test changes nothing here. " in (
        capsys.readouterr().err
    )
    assert len(table.part("test")) == parts.count("test")
    read_parted("list.csv", {"split__test": 0.5})
    assert "gives the test part itself" not in capsys.readouterr().err, "the split stands, which is said"


def test_an_image_that_cannot_be_opened_is_left_out_or_refused_as_the_recipe_says(
    images: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = images / "lá" / "large.png"
    large.write_bytes(bytes(5000))
    monkeypatch.setattr("tenfold.images.content.LARGEST_FILE", 4000)
    note = f"Left out: {large} has 0.0 GiB; an image file of more than 1 GiB is not read."
    assert main(["split", "ảnh", "--json"]) == 0
    out, err = capsys.readouterr()
    assert note in err.splitlines()
    assert note in json.loads(out)["notes"]
    assert json.loads(out)["counts"]["lá"] == {"train": 14, "validation": 3, "test": 3}
    _, table = read_parted("ảnh", {})
    assert note in table.notes
    assert note in capsys.readouterr().err.splitlines()
    with pytest.raises(DataError, match=r"1 of 41 images cannot be read; the first: .*large\.png has"):
        read_parted("ảnh", {"data__unreadable": "refuse"})


def test_split_keeps_groups_together(images: Path) -> None:
    assert main(["split", "ảnh", "--group-pattern", r"/(\d)-"]) == 0
    groups: dict[str, set[str]] = {}
    with Path("ảnh.split.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            groups.setdefault(row["group"], set()).add(row["part"])
    assert len(groups) == 10
    assert all(len(parts) == 1 for parts in groups.values())


@pytest.mark.skipif(os.name == "nt", reason="Windows quotes the command in another way")
def test_new_images_need_the_pattern_that_the_old_ones_had(images: Path, capsys: Capture) -> None:
    assert main(["split", "ảnh", "--groups-from", r"/(\d)-"]) == 0
    data, *typed = shlex.split(capsys.readouterr().out.partition("Next: tenfold train ")[2])
    assert data == "ảnh"
    assert asked(*typed) == {"data__group_pattern": r"/(\d)-"}
    before = parts_of(Path("ảnh.split.csv"))
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(images / "lá" / "3-new.png")
    assert main(["split", "ảnh", "--json"]) == 0
    assert parts_of(Path("ảnh.split.csv")) == before
    result = json_of(capsys)
    assert result["counts"]["(all)"]["left out"] == 1
    assert any("have none (1): lá/3-new.png; give --groups-from" in note for note in result["notes"])
    assert main(["split", "ảnh", "--group-pattern", r"/(\d)-"]) == 0
    with Path("ảnh.split.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == 41
    assert len({row["part"] for row in rows if row["group"] == "3"}) == 1


def test_split_limits_the_training_part_in_a_file_of_its_own(images: Path, capsys: Capture) -> None:
    assert main(["split", "ảnh", "--per-class", "3", "--out", "few.csv", "--json"]) == 0
    assert json_of(capsys)["counts"]["(all)"] == {"train": 6, "validation": 6, "test": 6, "left out": 22}
    assert main(["split", "ảnh", "--per-class", "4", "--out", "few.csv"]) == 2
    assert main(["split", "ảnh", "--per-class", "4", "--folds", "3"]) == 2


def test_folds_share_the_test_part_and_validate_each_image_once(images: Path, capsys: Capture) -> None:
    assert main(["split", "ảnh", "--folds", "3", "--repeats", "2", "--json"]) == 0
    files = [Path(name) for name in json_of(capsys)["files"]]
    assert [file.name for file in files] == [f"ảnh-repeat{r}-fold{f}.split.csv" for r in (1, 2) for f in (1, 2, 3)]
    folds = [parts_of(file) for file in files]
    base = parts_of(Path("ảnh.split.csv"))
    for hash_, part in base.items():
        given = [fold[hash_] for fold in folds]
        if part == "test":
            assert given == ["test"] * 6
        else:
            assert sorted(given[:3]) == sorted(given[3:]) == ["train", "train", "validation"]


def test_folds_that_stand_are_not_dealt_anew(images: Path, capsys: Capture) -> None:
    assert main(["split", "ảnh", "--folds", "3"]) == 0
    files = [Path(f"ảnh-fold{number}.split.csv") for number in (1, 2, 3)]
    files[0].unlink()
    before = [file.read_bytes() for file in files[1:]]
    capsys.readouterr()
    assert main(["split", "ảnh", "--folds", "4", "--seed", "9"]) == 2
    assert "ảnh-fold2.split.csv stands already; remove the old folds" in capsys.readouterr().err
    assert [file.read_bytes() for file in files[1:]] == before
    assert not files[0].exists()
    assert main(["split", "ảnh", "--folds", "1000000000"]) == 2  # no billion names are tried first
    assert main(["split", "ảnh", "--folds", "2", "--repeats", "2"]) == 0


@pytest.mark.parametrize(
    ("typed", "sentence", "right"),
    [
        ("--per-class=-3", "--per-class must be from 0 to ", "--per-class=2"),
        ("--folds=1", "--folds, where it is not 0, must be from 2 to 10000, not 1.", "--folds=2"),
        ("--folds=-2", "--folds, where it is not 0, must be from 2 to 10000, not -2.", "--folds=2"),
        ("--folds=41", "k, the number of folds, must be from 2 to ", "--folds=2"),
        ("--folds=3 --repeats=0", "--repeats must be from 1 to 10000, not 0.", "--folds=3"),
        ("--repeats=3", "--repeats deals folds anew, and there are none; give --folds too.", "--folds=3 --repeats=3"),
    ],
)
def test_a_split_that_is_refused_writes_nothing(
    images: Path, capsys: Capture, typed: str, sentence: str, right: str
) -> None:
    before = sorted(images.rglob("*"))
    assert main(["split", "ảnh", *typed.split()]) == 2
    assert sentence in capsys.readouterr().err
    assert sorted(images.rglob("*")) == before
    assert main(["split", "ảnh", *right.split()]) == 0


def test_a_console_without_the_letters_does_not_end_a_command(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "tenfold", "split", "ảnh"]
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert b"Traceback" not in done.stderr
    assert "l\\xe1" in done.stdout.decode("ascii")
    out, err = io.BytesIO(), io.BytesIO()
    for name, raw in (("stdout", out), ("stderr", err)):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding="ascii", write_through=True))
    assert main(["split", "ảnh", "--json"]) == 0
    assert json.loads(out.getvalue().decode("ascii"))["counts"]["(all)"]["train"] == 28
    assert err.getvalue().decode("ascii")


# The whole path, on one small training


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], str]:
    """The folder that digits were trained in, what `train --json` printed, and what it said on stderr."""
    place = tmp_path_factory.mktemp("work")
    printed, said = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(said),
    ):
        patch.chdir(place)
        patch.setenv("TENFOLD_CACHE", str(place / "cache"))
        code = main(["train", "digits", "--split.per-class", "20", "--json", *QUICK])
    assert code == 0, said.getvalue()
    return place, json.loads(printed.getvalue()), said.getvalue()


@pytest.fixture
def work(trained: tuple[Path, dict[str, Any], str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder as the current one."""
    monkeypatch.chdir(trained[0])
    monkeypatch.setenv("TENFOLD_CACHE", str(trained[0] / "cache"))
    return trained[0]


def test_train_leaves_a_run_and_its_validation(trained: tuple[Path, dict[str, Any], str]) -> None:
    place, result, said = trained
    assert result["run"] == str(Path("runs") / "digits-1")
    assert result["images"]["train"] == 200
    accuracy = result["evaluation"]["validation"]["figures"]["accuracy"]
    assert set(accuracy) == ESTIMATE
    assert accuracy["n"] == result["images"]["validation"]
    assert (place / "digits.split.csv").is_file()
    assert "parameters" in said
    assert "epoch 1 of 1 (validation): loss" in said


def test_the_recipe_of_a_run_names_its_split(work: Path) -> None:
    recipe = chosen_recipe(work / "runs" / "digits-1" / "recipe.toml", {})
    assert recipe.data.path == "digits"
    assert Path(recipe.split.file) == work / "digits.split.csv"
    assert recipe.train.epochs == 1


def test_the_recipe_of_a_run_repeats_it(work: Path) -> None:
    assert main(["train", "runs/digits-1/recipe.toml", "--out", "runs/again"]) == 0
    weights = [(work / "runs" / name / "model.safetensors").read_bytes() for name in ("digits-1", "again")]
    assert weights[0] == weights[1]


def test_a_run_that_has_ended_is_resumed_as_it_is(work: Path, capsys: Capture) -> None:
    before = (work / "runs" / "digits-1" / "model.safetensors").stat().st_mtime_ns
    assert main(["train", "--resume", "runs/digits-1", "--json"]) == 0
    assert json_of(capsys)["images"]["train"] == 200
    assert (work / "runs" / "digits-1" / "model.safetensors").stat().st_mtime_ns == before


def test_train_refuses_a_folder_that_holds_a_run(work: Path, capsys: Capture) -> None:
    assert main(["train", "digits", "--out", "runs/digits-1"]) == 2
    assert "out must be a new folder" in capsys.readouterr().err


def test_evaluate_prints_figures_and_the_confusion_matrix(work: Path, capsys: Capture) -> None:
    assert main(["evaluate", "runs/digits-1", "--level", "0.9", "--top-k", "3"]) == 0
    out = capsys.readouterr().out
    assert "Accuracy" in out
    assert "Top-3 accuracy" in out
    assert "90\u00a0% interval" in out
    assert "Truth, then predicted as" in out
    assert "Next: tenfold report" in out


def test_evaluate_counts_its_looks_at_the_test_part(work: Path, capsys: Capture) -> None:
    looks = []
    for _ in range(2):
        assert main(["evaluate", "runs/digits-1", "--part", "test", "--json"]) == 0
        result = json_of(capsys)
        looks.append(result["look"])
        assert all(set(figure) == ESTIMATE for figure in result["figures"].values())
    assert looks == [1, 1]  # the same answers again
    assert main(["evaluate", "runs/digits-1", "--part", "test"]) == 0
    assert "This is look 1 at this test part: no other look at these images is known here" in capsys.readouterr().out


def test_evaluate_refuses_what_it_cannot_do(work: Path) -> None:
    assert main(["evaluate", "runs/digits-1", "--part", "test", "--level", "1.5"]) == 2
    assert main(["evaluate", "runs/digits-1", "--part", "test", "--positive", "typo"]) == 2
    assert main(["evaluate", "runs/digits-1", "--part", "train"]) == 2
    assert main(["evaluate", "runs/digits-1", "--level", "1.5"]) == 2
    assert main(["evaluate", "runs/none"]) == 3


def test_report_writes_its_page(work: Path, capsys: Capture) -> None:
    assert main(["report", "runs/digits-1", "--json"]) == 0
    page = Path(json_of(capsys)["report"])
    assert page.read_text("utf-8").lstrip().lower().startswith("<!doctype html>")
    assert main(["report", "runs/digits-1"]) == 0
    assert str(page) in capsys.readouterr().out


def test_report_opens_the_browser(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert main(["report", "runs/digits-1", "--open"]) == 0
    assert opened == [(work / "runs" / "digits-1" / "report.html").resolve().as_uri()]


@pytest.fixture
def photos(work: Path) -> list[str]:
    """Three digits of the cache, and a file that is none."""
    files = sorted(map(str, (work / "cache" / "digits").rglob("*.png")))[::600]
    (work / "broken.png").write_bytes(b"no image")
    return files


def test_predict_in_json(photos: list[str], capsys: Capture) -> None:
    assert main(["predict", "runs/digits-1", *photos, "--top-k", "2", "--json"]) == 0
    images = json_of(capsys)["images"]
    assert [image["path"] for image in images] == photos
    for image in images:
        first, second = image["top"]
        assert first == {"class": image["class"], "probability": image["probability"]}
        assert 1 >= first["probability"] >= second["probability"] >= 0


def test_predict_says_on_a_terminal_how_far_it_is(
    photos: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert main(["predict", "runs/digits-1", *photos, "--json"]) == 0
    assert [image["path"] for image in json_of(capsys)["images"]] == photos
    assert f"{len(photos)}/{len(photos)}" in terminal.getvalue()


def test_predict_agrees_in_all_its_forms(photos: list[str], capsys: Capture) -> None:
    main(["predict", "runs/digits-1", *photos, "--format", "json"])
    wanted = {image["path"]: image["class"] for image in json_of(capsys)["images"]}
    assert main(["predict", "runs/digits-1", *photos, "--top-k", "2", "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["path", "class", "probability", "class_2", "probability_2"]
    assert {row["path"]: row["class"] for row in rows} == wanted
    assert main(["predict", "runs/digits-1", *photos]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0]: line.split()[1] for line in lines if line.startswith(photos[0][:3])} == wanted


def test_predict_names_what_it_cannot_read_and_goes_on(work: Path, photos: list[str], capsys: Capture) -> None:
    assert main(["predict", "runs/digits-1", "broken.png", "none.png", photos[0], "--json"]) == 1
    out, err = capsys.readouterr()
    assert [image["path"] for image in json.loads(out)["images"]] == photos[:1]
    assert {Path(path).name for path in json.loads(out)["unreadable"]} == {"broken.png", "none.png"}
    assert err.count("error: ") == 2
    assert main(["predict", "runs/digits-1", "broken.png"]) == 1
    assert capsys.readouterr().out == ""  # and no table without a row


def test_predict_says_where_the_run_and_the_images_are_swapped(photos: list[str], capsys: Capture) -> None:
    assert main(["predict", photos[0], "runs/digits-1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        f"error: The run comes before the images, and {photos[0]} is no run but runs/digits-1 is one: "
        f"{shlex.join(['tenfold', 'predict', 'runs/digits-1', photos[0]])}\n"
    )
    assert main(["predict", photos[0], photos[1]]) == 3  # none of the two
    assert "is not a run" in capsys.readouterr().err


def test_predict_walks_folders_and_refuses_empty_ones(work: Path, capsys: Capture, tmp_path: Path) -> None:
    assert main(["predict", "runs/digits-1", str(work / "cache" / "digits" / "0"), "--json"]) == 0
    assert len(json_of(capsys)["images"]) == 178
    assert main(["predict", "runs/digits-1", str(tmp_path)]) == 3
    assert main(["predict", "runs/digits-1", str(work / "broken.png"), "--top-k", "0"]) == 2


def test_predict_reads_a_list_and_loads_no_pandas(work: Path, photos: list[str]) -> None:
    code = (
        "import sys; from tenfold.__main__ import main;"
        "code = main(['predict', 'runs/digits-1', '-', '--format', 'csv']);"
        "print(*{'pandas', 'sklearn', 'matplotlib', 'torchvision'} & set(sys.modules), file=sys.stderr); sys.exit(code)"
    )
    lines = "\r\n".join([*photos, ""]).encode()
    done = subprocess.run([sys.executable, "-c", code], cwd=work, input=lines, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + len(photos)
    assert done.stderr.strip() == b""


@pytest.mark.skipif(os.name == "nt", reason="Windows allows no line break in a name")
def test_predict_reads_a_list_that_ends_each_name_with_nul(
    work: Path, photos: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    odd = work / "line\nbreak.png"
    odd.write_bytes(Path(photos[0]).read_bytes())
    names = [*photos, str(odd)]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\0".join([*names, ""]).encode())))
    assert main(["predict", "runs/digits-1", "-", "--json"]) == 0
    assert [image["path"] for image in json_of(capsys)["images"]] == names


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large.png"
    os.mkfifo(pipe)
    large.write_bytes(b"x" * 2000)
    monkeypatch.setattr("tenfold.images.content.LARGEST_FILE", 1000)
    writer = os.open(pipe, os.O_RDWR)  # who reads the pipe waits for this to close
    closing = threading.Timer(5, os.close, [writer])
    closing.start()
    paths = [pipe, Path(os.devnull), large, Path("nul\0byte"), tmp_path / "none"]
    reasons = [str(error) for _, error in Run(tmp_path).predict_files(paths)]
    assert closing.is_alive()
    closing.cancel()
    os.close(writer)
    assert [name in reason for name, reason in zip(["pipe", os.devnull], reasons, strict=False)] == [True, True]
    assert all("is not a file" in reason for reason in reasons[:2])
    assert "more than 1 GiB is not read" in reasons[2]
    assert "cannot be read: embedded null byte" in reasons[3]
    assert "cannot be read: No such file" in reasons[4]


def test_cache_shows_what_it_holds_and_clears_it(work: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["cache", "--json"]) == 0
    result = json_of(capsys)
    assert result["folder"] == str(work / "cache")
    assert result["bytes"] == sum(entry["bytes"] for entry in result["entries"]) > 0
    assert main(["cache"]) == 0
    assert "of at most" in capsys.readouterr().out
    with monkeypatch.context() as patch:
        patch.setattr("tenfold.images.cache.shutil.rmtree", lambda *_, **__: None)  # as on a disk that can only be read
        assert main(["cache", "--clear"]) == 1
        out, err = capsys.readouterr()
        assert out.startswith("Freed 0 bytes in ")
        assert err.endswith("could not be deleted: another program uses it, or it can only be read.\n")
    assert main(["cache", "--clear", "--json"]) == 0
    cleared = json_of(capsys)
    assert (cleared["freed"], cleared["left"]) == (result["bytes"], 0)
    assert main(["cache", "--json"]) == 0
    assert json_of(capsys)["entries"] == []


def wait_for(found: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signal that interrupts one other process")
def test_ctrl_c_saves_and_says_how_to_go_on(work: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    long = ["--split.per-class", "20", "--no-check", "--train.threads", "1", "--epochs", "2000", *QUICK[2:]]
    command = [sys.executable, "-m", "tenfold", "train", "digits", "--out", str(run), *long]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8")
    wait_for(lambda: (run / "history.csv").exists() or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1].startswith("Stopped and saved; go on with: tenfold train --resume ")
    assert (run / "checkpoint").is_dir()
