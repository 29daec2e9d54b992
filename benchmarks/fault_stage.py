"""The stage of faults.py: a small job, an undisturbed run of it, disks that fill up, what must hold after a fault.

Commands run in this process, through the same `main` as on the command line, so that a case takes about a second.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import safetensors.torch

from tenfold.__main__ import main
from tenfold.commands import train as train_command
from tenfold.images.readers.digits import grey_png, load_digits
from tenfold.looks import ledger_path
from tenfold.recipe import Recipe, write_recipe
from tenfold.train import loop
from tenfold.train.progress import Progress

INSIDE = "TENFOLD_FAULTS_INSIDE"
"""Set where disks may be mounted: in a mount namespace of this process's own, which ends with it."""
IMAGES, CLASSES, STEPS = 24, 10, 54
"""Images of each class; steps of the job's training."""
Hook = Callable[[Progress], None]


class Failed(Exception):
    """What must hold after a fault does not."""


class Skipped(Exception):
    """This machine does not allow the fault."""


class PowerLost(BaseException):
    """Ends a training as a kill does: nothing catches it."""


@dataclass(frozen=True)
class Told:
    """What a command left behind on the terminal."""

    code: int
    out: str
    err: str


def check(holds: bool, words: str) -> None:
    if not holds:
        raise Failed(words)


def figures(run: Path) -> str:
    """What evaluation.json says of each part, but for how long a prediction took, or why that is not known."""
    found = json.loads((run / "evaluation.json").read_text("utf-8"))
    for part in found.values():
        for name in ("speed", "no_speed"):
            part["details"].pop(name, None)
    return json.dumps(found)


def command(*words: object, hook: Hook | None = None) -> Told:
    """Run one command of Tenfold; `hook` hears of a training's progress. What main does not catch is a failure."""

    class Watch(train_command.Watch):
        def __call__(self, message: Progress) -> None:
            super().__call__(message)
            if hook is not None:
                hook(message)

    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        patch.object(train_command, "Watch", Watch),
    ):
        code = main([str(word) for word in words])
    return Told(code, out.getvalue(), err.getvalue())


def done(told: Told, code: int = 0) -> Told:
    check(told.code == code, f"exit code {told.code}, not {code}: {told.err[-400:]}")
    check("error:" not in told.err and "Traceback" not in told.err, told.err[-400:])
    return told


def refused(told: Told, words: str, code: int = 3) -> Told:
    """One sentence with these words, last on stderr, and the documented exit code."""
    lines = told.err.splitlines()
    check(told.code == code, f"exit code {told.code}, not {code}: {told.err[-400:]}")
    check(sum(line.startswith("error: ") for line in lines) == 1, f"not one sentence: {told.err[-400:]}")
    check(lines[-1].startswith("error: "), f"the sentence is not the last line: {told.err[-400:]}")
    check(not any(mark in told.err for mark in ("Traceback", "Exception ignored", "Warning")), told.err[-400:])
    check(words in lines[-1], f"no {words!r} in: {lines[-1]}")
    return told


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder; those that a kill left half written have a dot in front and are in no one's way."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


def check_whole(folder: Path) -> None:
    """No file is torn: each can be read to its end."""
    readers: dict[str, Callable[[bytes], object]] = {
        ".json": json.loads,
        ".toml": lambda content: tomllib.loads(content.decode()),
        ".parquet": lambda content: pd.read_parquet(io.BytesIO(content)),
        ".csv": lambda content: check(
            content.endswith(b"\n") and len({*map(len, csv.reader(io.StringIO(content.decode())))}) == 1, "torn"
        ),
        ".jsonl": lambda content: [json.loads(line) for line in content.split(b"\n")[:-1]],  # see tenfold.looks
        ".npy": lambda content: np.load(io.BytesIO(content)),
        ".npz": lambda content: dict(np.load(io.BytesIO(content))),
        ".safetensors": safetensors.torch.load,
        ".html": lambda content: check(content.rstrip().endswith(b"</html>"), "torn"),
        ".md": lambda content: check(content.endswith(b"\n"), "torn"),
    }
    for name, content in contents(folder).items():
        try:
            readers[Path(name).suffix](content)
        except Exception as error:
            raise Failed(f"{name} is torn: {error}") from error


def check_tidy(folder: Path) -> None:
    """Nothing half written is left; a process that is not killed takes it away."""
    left = [path.name for path in folder.rglob(".*")]
    check(not left, f"left over: {left}")


def check_kept(before: dict[str, bytes], folder: Path, *renewed: str) -> None:
    """What was there is there, the same but for the files that may be newer."""
    after = contents(folder)
    for name, content in before.items():
        check(name in after, f"{name} is gone")
        grown = Path(name).name == "ledger.jsonl" and after[name].startswith(content)
        check(after[name] == content or grown or name in renewed, f"{name} has changed")


class Disk:
    """A small disk of its own, a tmpfs; raises Skipped where it may not be mounted."""

    def __init__(self, path: Path, kilobytes: int = 4096) -> None:
        if INSIDE not in os.environ:
            raise Skipped("no disk may be mounted here (unshare --user --mount does not work)")
        self.path = path
        path.mkdir(parents=True)
        self._mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "none")

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *reason: object) -> None:
        subprocess.run(["umount", "-l", str(self.path)], check=True)

    def fill(self) -> None:
        """Take all the room that is left."""
        with contextlib.suppress(OSError), (self.path / "ballast").open("ab", buffering=0) as file:
            while file.write(bytes(4096)) == 4096:
                pass

    def make_room(self) -> None:
        (self.path / "ballast").unlink()

    @contextmanager
    def read_only(self) -> Iterator[None]:
        self._mount("-o", "remount,ro")
        try:
            yield
        finally:
            self._mount("-o", "remount,rw")

    @contextmanager
    def full_before(self, place: int) -> Iterator[list[str]]:
        """Fill the disk just before Tenfold's write number `place` on it (0: never); gives the files asked for."""
        names: list[str] = []
        real = tempfile.mkstemp

        def make(*words: object, **options: object) -> tuple[int, str]:
            if Path(str(options.get("dir"))).is_relative_to(self.path):
                names.append(str(options.get("prefix")).strip("."))
                if len(names) == place:
                    self.fill()
            return real(*words, **options)  # type: ignore[call-overload, no-any-return]

        with patch("tenfold.files.tempfile.mkstemp", make):
            yield names

    def _mount(self, *options: str) -> None:
        subprocess.run(["mount", *options, str(self.path)], check=True)


class Stage:
    """The job and what becomes of it when nothing goes wrong, in a folder `root` of its own."""

    def __init__(self, root: Path, seed: int = 0) -> None:
        self.root, self.seed = root, seed
        self.data, self.recipe, self.cache = root / "data", root / "recipe.toml", root / "cache"
        self.first_cache = root / "first-cache"
        """The cache as the undisturbed run left it; that of the cases also gets their test images."""
        self.cases = 0

    @cached_property
    def undisturbed(self) -> Path:
        """A run that nothing disturbed, and its data, recipe, split and cache."""
        pixels, labels = load_digits()
        for label in range(CLASSES):
            folder = self.data / str(label)
            folder.mkdir(parents=True)
            for number, place in enumerate((labels == label).nonzero()[0][:IMAGES]):
                (folder / f"{number:02}.png").write_bytes(grey_png(pixels[place]))
        recipe = Recipe().change(
            data={"path": str(self.data)},
            split={"validation": 0.2, "test": 0.2},
            image={"size": 16},
            model={"name": "plain", "width": 16, "layers": 2},
            train={"epochs": 6, "batch_size": 16, "precision": "float32", "threads": 1, "device": "cpu"},
        )
        write_recipe(recipe, self.recipe)
        self.use_cache(self.cache)
        done(self.train(self.root / "undisturbed"))
        shutil.copytree(self.cache, self.first_cache)
        return self.root / "undisturbed"

    def train(self, run: Path, *options: object, hook: Hook | None = None) -> Told:
        return command("train", self.recipe, "--out", run, *options, hook=hook)

    def fresh(self, on: Path | None = None) -> Path:
        """A place for the run of a case, which does not exist yet, in a project folder of its own."""
        assert self.undisturbed
        self.use_cache(self.cache)
        ledger_path(self.undisturbed).unlink(missing_ok=True)  # what other cases looked at, beside their common split
        self.cases += 1
        folder = (on or self.root / "cases") / str(self.cases)
        folder.mkdir(parents=True)
        return folder / "run"

    def ended(self, on: Path | None = None) -> Path:
        """A copy of the undisturbed run, in a project folder of its own."""
        run = self.fresh(on)
        shutil.copytree(self.undisturbed, run)
        return run

    def stopped(self, on: Path | None = None, step: int = STEPS // 2) -> Path:
        """A run that lost its power after a step, its checkpoint one step old."""

        def lose(message: Progress) -> None:
            if message.phase == "step" and message.step == step:
                raise PowerLost

        run = self.fresh(on)
        with contextlib.suppress(PowerLost), patch.object(loop, "CHECKPOINT_SECONDS", 0.0):
            self.train(run, hook=lose)
        check((run / "checkpoint" / "state.safetensors").exists(), "the job ended before it was stopped")
        return run

    def draw(self, number: int) -> np.random.Generator:
        """What is drawn in a case."""
        return np.random.default_rng([self.seed, number])

    def use_cache(self, folder: Path) -> Path:
        os.environ["TENFOLD_CACHE"] = str(folder)
        return folder

    @contextmanager
    def vanished(self) -> Iterator[None]:
        """The data are not there."""
        self.lose_data()
        try:
            yield
        finally:
            (self.root / "away").rename(self.data)

    def lose_data(self) -> None:
        self.data.rename(self.root / "away")

    def check_same(self, run: Path) -> None:
        """The run is whole and ended with the bits and figures of the undisturbed one."""
        check_whole(run.parent)
        check(not (run / "checkpoint").exists(), "a checkpoint is left")
        for name in ("model.safetensors", "model.json"):
            check((run / name).read_bytes() == (self.undisturbed / name).read_bytes(), f"{name} is another")
        check(figures(run) == figures(self.undisturbed), "other figures")

    def go_on(self, run: Path) -> None:
        """Resume where there is a run, else start; it must end as if nothing had been."""
        done(command("train", "--resume", run) if (run / "recipe.toml").exists() else self.train(run))
        self.check_same(run)


def enter_namespace() -> None:
    """Start this program again where it may mount disks that nobody else sees, if the machine allows that."""
    words = ["unshare", "--user", "--map-root-user", "--mount"]
    if INSIDE in os.environ or not shutil.which("unshare"):
        return
    if subprocess.run([*words, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0:
        os.environ[INSIDE] = "1"
        os.execvp(words[0], [*words, sys.executable, *sys.argv])
