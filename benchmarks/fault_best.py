"""A training that chooses its model by itself, killed, for faults.py: the ladder, fine-tuning, the choice between both.

The job is `tenfold train` without --model on 60 small images, colored digits, over the built-in network. In one
case of two what is fine-tuned cannot learn, so that the frozen network stays; in the other it is taken. The command has
no time limit, so nothing that it decides depends on the clock, and the same bits and the same verdict must come out.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
from fault_processes import said, start, strike, waiting_commands
from fault_stage import Skipped, Stage, check, check_whole, command, contents, done, figures, refused
from PIL import Image

from tenfold.errors import DataError
from tenfold.evaluate import ledger
from tenfold.images.readers.digits import load_digits
from tenfold.models.weights import find_weights
from tenfold.recipe import Recipe, write_recipe
from tenfold.run import Run
from tenfold.transfer.best import TUNED, is_undecided

IMAGES, DIGITS = 12, (0, 1, 4, 6, 7)
KINDS = ("finetuned", "frozen")
"""Which network is taken."""
RECIPE = Recipe().change(
    split={"validation": 0.25, "test": 0.15},
    image={"size": 64},
    augment={"policy": "none"},
    train={"epochs": 12, "batch_size": 12, "lr": 0.002, "precision": "float32", "threads": 1, "device": "cpu"},
)
HOPELESS = RECIPE.change(model={"hidden": (4,)}, train={"lr": 1e-9, "epochs": 4})
"""A new head that does not learn."""


def kill_best(stage: Stage, number: int) -> str:
    """Start the command, kill it, go on; gives what would be taken, and where it was when it died."""
    kind = KINDS[number % len(KINDS)]
    straight, life = straight_run(stage, kind)
    folder = stage.root / f"best-{number}"
    run = folder / "run"

    @contextmanager
    def begin() -> Iterator[subprocess.Popen[str]]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        stage.use_cache(folder / "cache")  # so that decoding and features are part of its life
        with waiting_commands(["train", recipe_file(stage, kind), "--out", run]) as [child]:
            start(child)
            yield child

    drawn = strike(begin, stage.draw(number), life)
    where = f"{place(run)}, {kind} taken"
    go_on(stage, run, kind)
    check_same(run, straight, where)
    shutil.rmtree(folder)  # the network's weights are 14 MB
    return said(where, drawn)


@cache
def straight_run(stage: Stage, kind: str) -> tuple[Path, float]:
    """A run of the command that nothing disturbs, and how many seconds it takes once all is imported."""
    try:
        find_weights(RECIPE.transfer.backbone)
    except DataError as error:
        raise Skipped(str(error)) from error
    folder = stage.root / f"best-{kind}"
    stage.use_cache(folder / "cache")
    with waiting_commands(["train", recipe_file(stage, kind), "--out", folder / "run"]) as [child]:
        begun = time.monotonic()
        start(child)
        _, err = child.communicate()
        life = time.monotonic() - begun
    check(child.returncode == 0, err[-400:])
    taken = Run(folder / "run").ladder["finetuning"]["taken"]
    check(taken == kind, f"the {taken} network is taken where it should be the {kind} one")
    return folder / "run", life


@cache
def recipe_file(stage: Stage, kind: str) -> Path:
    """The recipe of the job, its data beside it."""
    file, data = stage.root / f"best-{kind}.toml", stage.root / "best-data"
    if not data.exists():
        write_digits(data)
    recipe = HOPELESS if kind == "frozen" else RECIPE
    write_recipe(recipe.change(data={"path": str(data)}), file)
    return file


def write_digits(folder: Path) -> None:
    """A folder a digit; each image in two colors of its own, or no pretrained network would be tried."""
    draw = np.random.default_rng(0)
    pixels, labels = load_digits()
    for digit in DIGITS:
        (folder / str(digit)).mkdir(parents=True)
        for number, row in enumerate((labels == digit).nonzero()[0][:IMAGES]):
            share = pixels[row].repeat(4, 0).repeat(4, 1)[:, :, None] / 255
            paper, ink = draw.uniform(0, 120, 3), draw.uniform(135, 255, 3)
            image, file = Image.fromarray((paper + share * (ink - paper)).astype(np.uint8)), io.BytesIO()
            image.save(file, "PNG")
            (folder / str(digit) / f"{number:02}.png").write_bytes(file.getvalue())


def place(run: Path) -> str:
    """How far the command had come, by what it has written."""
    if not (run / "recipe.toml").exists():
        return "before the run's folder was whole"
    if not is_undecided(run):
        return "after the choice was made"
    if (run / TUNED / "ladder.json").exists() and not is_undecided(run / TUNED):
        return "after the verdict"
    if (run / TUNED / "recipe.toml").exists():
        return "while fine-tuning"
    return "before fine-tuning" if (run / "model.safetensors").exists() else "while the head was fitted"


def go_on(stage: Stage, run: Path, kind: str) -> None:
    """As whoever finds it does: resume where there is a run, else start anew; where a lock is left, as it says."""
    if not (run / "recipe.toml").exists():
        done(command("train", recipe_file(stage, kind), "--out", run))
        return
    lock = run / "evaluation.lock"
    if lock.exists():
        with patch.object(ledger, "PATIENCE", 0.1):
            refused(command("train", "--resume", run), "one was killed: remove that file")
        lock.unlink()
    check_whole(run)
    done(command("train", "--resume", run))


def check_same(run: Path, straight: Path, where: str) -> None:
    """The run is whole, of the same files, and ended with the weights, the verdict and the figures of the other one."""
    check_whole(run)
    mine, theirs = contents(run), contents(straight)
    check(mine.keys() == theirs.keys(), f"other files, killed {where}: {sorted(mine.keys() ^ theirs.keys())}")
    for name in ("model.safetensors", "model.json", "recipe.toml", "predictions.parquet"):
        check(mine[name] == theirs[name], f"{name} is another, killed {where}")
    check(verdict(run) == verdict(straight), f"another verdict, killed {where}")
    check(figures(run) == figures(straight), f"other figures, killed {where}")


def verdict(run: Path) -> str:
    """What ladder.json says, but for how long anything took."""

    def timeless(found: object) -> object:
        if isinstance(found, dict):
            return {name: timeless(value) for name, value in found.items() if name != "seconds"}
        return [timeless(value) for value in found] if isinstance(found, list) else found

    return json.dumps(timeless(Run(run).ladder))
