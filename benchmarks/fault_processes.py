"""Processes that are killed, and two that do the same at the same moment, for faults.py."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from unittest.mock import patch

import numpy as np
from fault_files import damage
from fault_stage import (
    Stage,
    check,
    check_kept,
    check_tidy,
    check_whole,
    command,
    contents,
    done,
    figures,
    refused,
)

from tenfold.evaluate import ledger
from tenfold.images.cache import cache_entries, clear_cache
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.looks import ledger_above, ledger_path
from tenfold.recipe import Recipe
from tenfold.run import Run
from tenfold.split import split_table
from tenfold.train import loop, resume_training, train_model

CHECKPOINT_SECONDS = 0.3  # often, so that many kills fall into the writing of one
KILLED = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
if __name__ == "__main__":
    import fault_processes
    fault_processes.train(sys.argv[1])
"""
READY = f"""
import sys
import tenfold.commands.evaluate, tenfold.commands.train, tenfold.evaluate, tenfold.report, tenfold.transfer.best
from tenfold.__main__ import main
from tenfold.train import loop
loop.CHECKPOINT_SECONDS = {CHECKPOINT_SECONDS}
print("ready", flush=True)
sys.stdin.readline()
sys.exit(main(sys.argv[1:]))
"""
"""A command that has imported what takes seconds, and begins when a line comes."""
Begin = Callable[[], AbstractContextManager[subprocess.Popen[str]]]
"""Starts a process of a case, on clean ground."""


def job() -> tuple[Table, Recipe]:
    """What the killed process trains: a small network on 20 images a class, on the CPU."""
    recipe = Recipe().change(
        data={"path": "digits"},
        image={"size": 16},
        model={"name": "plain", "width": 16, "layers": 3},
        train={"epochs": 60, "precision": "float32", "threads": 1, "device": "cpu"},
    )
    return split_table(read_table("digits"), per_class=20), recipe


def train(folder: str) -> None:
    """The whole job, as the child does it."""
    loop.CHECKPOINT_SECONDS = CHECKPOINT_SECONDS
    train_model(*job(), folder)


@cache
def long_run(root: Path) -> tuple[bytes, float]:
    """The weights of an undisturbed job, and how many seconds its process lives."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", KILLED, str(root / "long")], check=True)
    life = time.monotonic() - start
    return (root / "long" / "model.safetensors").read_bytes(), life


def strike(begin: Begin, draw: np.random.Generator, life: float) -> int:
    """Kill a process at a moment drawn evenly from its life; how often that was drawn.

    One that has ended by itself before is no kill: then another is begun, and the moment drawn anew.
    """
    for drawn in count(1):
        with begin() as child:
            with suppress(subprocess.TimeoutExpired):
                child.wait(draw.uniform(0, life))
            child.kill()
            code = child.wait()
        if code == -signal.SIGKILL:
            return drawn
        check(code == 0, f"it ended by itself, with exit code {code}")
    raise AssertionError


def said(where: str, drawn: int) -> str:
    """Where it was when it died, and how many moments were drawn if more than one."""
    return f"{where}; drawn {drawn} times" if drawn > 1 else where


def kill(stage: Stage, number: int) -> str:
    """Start the job, kill it after some seconds, go on; gives where it was when it died."""
    expected, life = long_run(stage.root)
    folder = stage.root / f"killed-{number}"

    @contextmanager
    def begin() -> Iterator[subprocess.Popen[str]]:
        shutil.rmtree(folder, ignore_errors=True)
        yield subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], text=True)

    drawn = strike(begin, stage.draw(number), life)
    check_whole(folder)
    if not (folder / "recipe.toml").exists():
        train(str(folder))
        where = "before the run's folder was whole"
    else:
        where = "before the first step"
        if (folder / "model.safetensors").exists():
            where = "after the model was written"
        elif (folder / "checkpoint" / "state.safetensors").exists():
            where = "with a checkpoint"
        resume_training(folder)
    check((folder / "model.safetensors").read_bytes() == expected, f"other bits, killed {where}")
    return said(where, drawn)


@contextmanager
def waiting_commands(*commands: list[object]) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that have imported all they need, and begin when a line is written to them."""
    pipe = subprocess.PIPE
    children = [
        subprocess.Popen(
            [sys.executable, "-c", READY, *map(str, words)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        for words in commands
    ]
    try:
        for child in children:
            assert child.stdout is not None
            check(child.stdout.readline() == "ready\n", "it did not start")
        yield children
    finally:
        for child in children:
            child.kill()
            child.communicate()


def start(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    child.stdin.write("\n")
    child.stdin.flush()


def builders(stage: Stage, number: int) -> str:
    what = ("an empty cache", "a damaged cache", "a cache that is cleared")[number % 3]
    runs = [stage.fresh(), stage.fresh()]
    folder = stage.use_cache(stage.root / f"cache-{number}")
    if what == "a damaged cache":
        shutil.copytree(stage.first_cache, folder)
        damage(next(folder.rglob("*.npy")), -9)
    with waiting_commands(*(["train", stage.recipe, "--out", run] for run in runs)) as children:
        for child in children:
            start(child)
        while what == "a cache that is cleared" and not any(folder.rglob(".*")):  # none is being written yet
            check(any(child.poll() is None for child in children), "both ended too early")
        if what == "a cache that is cleared":
            clear_cache()
        for child, run in zip(children, runs, strict=True):
            _, err = child.communicate()
            check(child.returncode == 0, err[-400:])
            stage.check_same(run)
    check_tidy(folder)
    alone = [path for path in folder.rglob("*.npy") if not path.with_suffix(".npz").exists()]
    check(not alone, f"left over: {alone}")
    images = sum(entry.images for entry in cache_entries() if entry.path.with_suffix(".npy").exists())
    seen = len(Run(stage.undisturbed).table.without("test"))
    check(what == "a cache that is cleared" or images == seen, f"{images} images are stored, not {seen}")
    return what


@cache
def evaluated(stage: Stage) -> tuple[str, float]:
    """The undisturbed evaluation of the test part, and how many seconds it takes once all is imported."""
    run = stage.ended()
    with waiting_commands(["evaluate", run, "--part", "test"]) as [child]:
        begun = time.monotonic()
        start(child)
        child.wait()
        return figures(run), time.monotonic() - begun


def kill_evaluation(stage: Stage, number: int) -> str:
    expected, life = evaluated(stage)
    run = stage.ended()
    before = contents(run)

    @contextmanager
    def begin() -> Iterator[subprocess.Popen[str]]:
        shutil.rmtree(run.parent)
        shutil.copytree(stage.undisturbed, run)
        with waiting_commands(["evaluate", run, "--part", "test"]) as [child]:
            start(child)
            yield child

    drawn = strike(begin, stage.draw(number), life)
    written = [name for name, content in contents(run.parent).items() if before.get(name[4:]) != content]
    check_kept(before, run, "predictions.parquet", "evaluation.json", "README.md")
    locks = {each.with_suffix(".lock") for each in (ledger_path(run), ledger_above(run))}
    for lock in (*sorted(locks), run / "evaluation.lock"):
        if lock.exists():
            with patch.object(ledger, "PATIENCE", 0.1):
                refused(command("evaluate", run, "--part", "test"), "one was killed: remove that file")
            lock.unlink()
    check_whole(run)
    done(command("evaluate", run, "--part", "test"))
    check(figures(run) == expected, "other figures, or another look")
    check_whole(run.parent)
    return said(f"{len(written)} files were new", drawn)
