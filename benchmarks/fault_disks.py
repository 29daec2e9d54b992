"""Disks that are full or can only be read, for faults.py: the system itself refuses the write, nothing is pretended."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import chdir
from functools import cache
from pathlib import Path
from unittest.mock import patch

from fault_stage import (
    Disk,
    Skipped,
    Stage,
    check,
    check_kept,
    check_tidy,
    check_whole,
    command,
    contents,
    done,
    refused,
)

from tenfold.run import Run
from tenfold.train import loop

CASES = 16
"""Writes of a training before which the disk is full, spread evenly over all of them."""


@cache
def writes_of_a_training(stage: Stage) -> list[str]:
    """The files that the job writes, a checkpoint after each step among them."""
    with Disk(stage.root / "large") as disk, disk.full_before(0) as names:
        run = stage.fresh(disk.path)
        with patch.object(loop, "CHECKPOINT_SECONDS", 0.0):
            done(stage.train(run))
    return names


def full_disk(stage: Stage, number: int) -> str:
    writes = writes_of_a_training(stage)
    place = 1 + round(number * (len(writes) - 1) / (CASES - 1))
    with Disk(stage.root / f"disk-{number}") as disk:
        run = stage.fresh(disk.path)
        with disk.full_before(place) as names, patch.object(loop, "CHECKPOINT_SECONDS", 0.0):
            refused(stage.train(run), "No space left on device")
        check_whole(run.parent)
        check_tidy(run.parent)
        disk.make_room()
        stage.go_on(run)
    return f"write {place} of {len(writes)}, {names[place - 1]}"


def full_cache(stage: Stage, number: int) -> str:
    size, place = [(4096, 1), (4096, 2), (16, 0), (64, 0)][number]
    with Disk(stage.root / f"cache-disk-{number}", size) as disk:
        run = stage.fresh()
        folder = stage.use_cache(disk.path / "cache")
        with disk.full_before(place):
            refused(stage.train(run), f"decoded images in {folder} cannot be written (No space left on device); make")
        decoded = [name for name in contents(folder) if name.endswith(".npy")]  # a check's are whole, and may be there
        check(not run.exists() and not decoded, "something was written")
        check_tidy(folder)
        disk._mount("-o", "remount,size=4096k")
        if place:
            disk.make_room()
        stage.go_on(run)
    return "only then there was room"


def full_report(stage: Stage, number: int) -> str:
    words, place, name = [
        (("report",), 1, "report.html"),
        (("report",), 2, "README.md"),
        (("evaluate",), 1, "predictions.parquet"),
        (("evaluate",), 2, "evaluation.json"),
        (("evaluate",), 3, "README.md"),
        (("evaluate", "--part", "test"), 0, "ledger.jsonl"),
        (("evaluate", "--part", "test"), 0, "ledger.jsonl"),
    ][number]
    with Disk(stage.root / f"report-disk-{number}") as disk:
        run = stage.ended(disk.path)
        done(command("report", run))
        earlier = (
            b'{"hashes": ["%s"]}\n' % (b"0" * 3900) if number == 6 else b""
        )  # room for some of a line, not for all
        (run.parent / "ledger.jsonl").write_bytes(earlier)
        before = contents(run)
        with disk.full_before(place):
            if not place:
                disk.fill()
            refused(command(words[0], run, *words[1:]), f"{name}")
        check_kept(before, run, "predictions.parquet", "evaluation.json", "report.html")
        check((run.parent / "ledger.jsonl").read_bytes().startswith(earlier), "an earlier look is lost")
        check_whole(run.parent)
        check_tidy(run.parent)
        disk.make_room()
        done(command(words[0], run, *words[1:]))
        check_whole(run.parent)
        if "test" in words:
            check(Run(run).evaluations["test"]["look"] == 1, "the look was counted twice")
    return f"{words[0]}, {name}"


def full_output(stage: Stage, number: int) -> str:
    if not Path("/dev/full").exists():
        raise Skipped("there is no /dev/full")
    run, image = stage.ended(), next(stage.data.glob("*/*.png"))
    words = [("predict", run, image, "--format", "csv"), ("evaluate", run, "--json"), ("cache",), ("cache",)][number]
    before = contents(run)
    with Path("/dev/full").open("w") as full:
        program = [sys.executable, "-m", "tenfold", *map(str, words)]
        settings = os.environ | {"PYTHONUNBUFFERED": "1" if number == 3 else ""}
        child = subprocess.run(program, stdout=full, stderr=subprocess.PIPE, text=True, env=settings)
    check(child.stderr == "error: The output: No space left on device.\n", child.stderr)
    check(child.returncode == 3, f"exit code {child.returncode}")
    check_kept(before, run, "predictions.parquet", "evaluation.json", "README.md")
    done(command(*words))
    return words[0]


def read_only(stage: Stage, number: int) -> str:
    what = ("a new run", "a resume", "evaluate", "a look", "report", "predict", "a whole cache", "no cache", "data")[
        number
    ]
    with Disk(stage.root / f"read-only-{number}") as disk:
        if what == "a new run":
            run = stage.fresh(disk.path)
            with disk.read_only():
                refused(stage.train(run), f"cannot be written to {run} (Read-only file system)")
            stage.go_on(run)
        elif what == "a resume":
            run = stage.stopped(disk.path)
            before = contents(run)
            with disk.read_only():
                told = refused(command("train", "--resume", run), "(Read-only file system); what was written")
            check(f"tenfold train --resume {run}" in told.err, "it does not say how to go on")
            check_kept(before, run)
            stage.go_on(run)
        elif "cache" in what:
            run, folder = stage.fresh(), disk.path / "cache"
            if what == "a whole cache":
                shutil.copytree(stage.cache, folder)
            stage.use_cache(folder)
            with disk.read_only():
                if what == "a whole cache":
                    done(stage.train(run))
                else:
                    refused(
                        stage.train(run), "cannot be written (Read-only file system); make room, point TENFOLD_CACHE"
                    )
                    check(not run.exists(), "a run began")
            stage.go_on(run)
        elif what == "data":
            shutil.copytree(stage.data, disk.path / "data")
            run = stage.fresh()
            with disk.read_only(), chdir(run.parent):
                done(command("train", stage.recipe, "--data.path", disk.path / "data", "--out", run))
            stage.check_same(run)
        else:
            read_only_run(stage, disk, what)
    return what


def read_only_run(stage: Stage, disk: Disk, what: str) -> None:
    """What is asked of a run that has ended: all but an answer to `predict` is to be written."""
    run = stage.ended(disk.path)
    words: tuple[object, ...] = {
        "evaluate": ("evaluate", run),
        "a look": ("evaluate", run, "--part", "test"),
        "report": ("report", run),
        "predict": ("predict", run, stage.data / "0"),
    }[what]
    before = contents(run.parent)
    with disk.read_only():
        if what == "predict":
            done(command(*words))
        else:
            refused(command(*words), "Read-only file system")
    check(contents(run.parent) == before, "something was written")
    done(command(*words))
    stage.check_same(run) if what != "a look" else check(Run(run).evaluations["test"]["look"] == 1, "another look")
