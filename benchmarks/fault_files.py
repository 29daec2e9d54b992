"""Files that vanish, are torn or damaged, and a clock that jumps, for faults.py."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from unittest.mock import patch

import numpy as np
from fault_stage import (
    STEPS,
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

from tenfold.images.cache import cache_folder
from tenfold.images.prepared import encoded, prepare_table
from tenfold.run import Run
from tenfold.train.data import prepare_images
from tenfold.train.progress import Progress

DAY = 24 * 60 * 60.0


def vanished(stage: Stage, number: int) -> str:
    cases = (gone_before, gone_decoding, gone_in_an_epoch, gone_resumed, gone_undecoded, gone_evaluated, gone_test)
    cases += (gone_partly, gone_reported)
    cases[number](stage)
    return str(cases[number].__doc__).rstrip(".")


def gone_before(stage: Stage) -> None:
    """Before anything was read."""
    run = stage.fresh()
    with stage.vanished():
        refused(stage.train(run), str(stage.data))
    check(not run.exists(), "a run began")
    stage.go_on(run)


def gone_decoding(stage: Stage) -> None:
    """While they were decoded."""
    run = stage.fresh()
    stage.use_cache(run.parent / "cache")
    with patch("tenfold.images.prepared.encoded", losing(stage, 50)):
        told = stage.train(run)
    (stage.root / "away").rename(stage.data)
    refused(told, "images have vanished since they were first read, for example")
    check(not run.exists(), "a run began on the rest")
    stage.go_on(run)


def losing(stage: Stage, place: int) -> Callable[..., object]:
    """`encoded`, with the data gone before its call number `place`."""
    calls = count(1)

    def read(*words: object) -> object:
        if next(calls) == place:
            stage.lose_data()
        return encoded(*words)  # type: ignore[arg-type]

    return read


def gone_in_an_epoch(stage: Stage) -> None:
    """In the middle of an epoch, with images that are decoded each time."""
    run = stage.fresh()

    def lose(message: Progress) -> None:
        if message.phase == "step" and message.step == STEPS // 2:
            stage.lose_data()

    stage.use_cache(run.parent / "cache")
    with patch.dict("os.environ", TENFOLD_CACHE_GIB="0"):
        told = stage.train(run, hook=lose)
        (stage.root / "away").rename(stage.data)
        refused(told, f"go on with: tenfold train --resume {run}")
        check_whole(run)
        stage.go_on(run)


def gone_resumed(stage: Stage) -> None:
    """Between a kill and the resume, with decoded images in the cache: nothing is missed."""
    run = stage.stopped()
    with stage.vanished():
        stage.go_on(run)


def gone_undecoded(stage: Stage) -> None:
    """Between a kill and the resume, with an empty cache."""
    run = stage.stopped()
    stage.use_cache(run.parent / "cache")
    before = contents(run)
    with stage.vanished():
        refused(command("train", "--resume", run), str(stage.data))
    check_kept(before, run)
    stage.go_on(run)


def gone_evaluated(stage: Stage) -> None:
    """Before an evaluation of decoded images: nothing is missed."""
    run = stage.ended()
    with stage.vanished():
        done(command("evaluate", run))
    stage.check_same(run)


def gone_test(stage: Stage) -> None:
    """Before the test part was ever decoded: no look is counted."""
    run = stage.ended()
    stage.use_cache(run.parent / "cache")
    before = contents(run)
    with stage.vanished():
        refused(command("evaluate", run, "--part", "test"), str(stage.data))
    check_kept(before, run)
    check(not (run.parent / "ledger.jsonl").exists(), "a look was counted")
    done(command("evaluate", run, "--part", "test"))


def gone_partly(stage: Stage) -> None:
    """One image of the test part: it is named, and the others are evaluated."""
    run = stage.ended()
    stage.use_cache(run.parent / "cache")
    table = Run(run).table.part("test")
    source = Path(table.samples["source"].iloc[0])
    away = source.rename(stage.root / "one.png")
    told = command("evaluate", run, "--part", "test")
    away.rename(source)
    check(told.code == 1 and f"left out: {source} cannot be read" in told.err, told.err)
    check(Run(run).evaluations["test"]["n"] == len(table) - 1, "not the others")


def gone_reported(stage: Stage) -> None:
    """Before the report: it has boxes in their place."""
    run = stage.ended()
    with stage.vanished():
        done(command("report", run))
    check_whole(run)


def damage(path: Path, place: int) -> None:
    """Flip the bits of a byte."""
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def damaged_cache(stage: Stage, number: int) -> str:
    run = Run(stage.undisturbed)
    table = run.table.without("test")
    truth = prepare_table(table, run.preprocessing).canvases
    folder = stage.use_cache(stage.root / f"damaged-{number}")
    shutil.copytree(stage.first_cache, folder)
    index = next(path for path in folder.rglob("*.npz") if path.with_suffix(".npy").exists())  # a check's has no pixels
    what = _damage_somehow(index, number, stage.draw(number))
    told: list[Progress] = []
    canvases = prepare_images(table, run.recipe, told.append).canvases
    for row in range(len(table)):
        for found, expected in zip(canvases.image(row), truth.image(row), strict=True):
            check(np.array_equal(found, expected), f"{what}: image {row} is another")
    noticed = any(message.phase == "prepare" for message in told)
    said = sum("was damaged; what it held is decoded again" in message.text for message in told)
    check(said == noticed, f"{what}: noticed {noticed}, said {said} times")
    check(noticed or "header" in what, f"{what} was not noticed")
    again: list[Progress] = []
    prepare_images(table, run.recipe, again.append)
    check(not again, f"{what}: not mended")
    check_tidy(folder)
    return what


def _damage_somehow(index: Path, number: int, draw: np.random.Generator) -> str:
    """Six times an index of another version, then by turns a file cut off and a byte that is another."""
    pixels = index.with_suffix(".npy")
    path = (index, pixels)[number % 2]
    with index.open("rb") as file:
        arrays = dict(np.load(file))
    if number < 6:  # of another version
        missing = list(arrays)[number % len(arrays)]
        renamed = {("other" if name == missing else name): array for name, array in arrays.items()}
        with index.open("wb") as file:
            np.savez(file, **renamed)
        return f"an index without {missing}"
    size = path.stat().st_size
    if number % 4 < 2:
        left = int(draw.integers(0, size))
        path.write_bytes(path.read_bytes()[:left])
        return f"{path.suffix} cut off at {left} of {size}"
    place = int(draw.integers(0, size))
    damage(path, place)
    header = path == pixels and place < size - int(arrays["offsets"][-1] + np.prod(arrays["shapes"][-1]))
    return f"{path.suffix}, {'header, ' if header else ''}byte {place} of {size}"


def clock(stage: Stage, number: int) -> str:
    what, jump = (
        ("a day forward", lambda call: DAY * (call > 0)),
        ("a day backward", lambda call: -DAY * (call > 0)),
        ("to and fro at each look", lambda call: DAY * (-1) ** call),
        ("at 1970", lambda call: -100 * 365 * DAY),
        ("to and fro under a time limit", lambda call: DAY * (-1) ** call),
        ("two days forward between two processes that fill the cache", lambda call: 0.0),
    )[number]
    run = stage.fresh()
    folder = stage.use_cache(run.parent / "cache")
    start = time.monotonic()
    if "between" in what:
        with patch("tenfold.images.prepared.encoded", building_beside(stage, 50)):
            stage.go_on(run)
    else:
        with jumping(jump):
            if "limit" in what:
                done(stage.train(run, "--epochs", 0, "--minutes", 0.1))
            else:
                stage.go_on(run)
            done(command("evaluate", run, "--part", "test"))
    seconds = Run(run).history["seconds"]
    check(seconds.is_monotonic_increasing and 0 < seconds.max() < time.monotonic() - start, f"took {seconds.tolist()}")
    check_tidy(folder)
    return what


@contextmanager
def jumping(jump: Callable[[int], float]) -> Iterator[None]:
    """A clock that is wrong by `jump(n)` seconds when it is looked at for the n-th time; time.monotonic is right."""
    real, looks = time.time, count()

    def now() -> float:
        return max(0.0, real() + jump(next(looks)))

    with patch("time.time", now), patch("time.time_ns", lambda: int(now() * 1e9)):
        yield


def building_beside(stage: Stage, place: int) -> Callable[..., object]:
    """`encoded`; before call number `place` the clock jumps by two days, and another process adds to the cache."""
    calls = count(1)

    def read(*words: object) -> object:
        if next(calls) == place:
            run = Run(stage.undisturbed)
            for file in cache_folder().rglob(".*"):
                os.utime(file, (0, time.time() - 2 * DAY))
            prepare_table(run.table.part("test"), run.preprocessing)
        return encoded(*words)  # type: ignore[arg-type]

    return read


def torn(stage: Stage, number: int) -> str:
    share, name = [
        *((share, "checkpoint/state.safetensors") for share in (0, 0.001, 0.02, 0.5, 0.9, 0.9999)),
        *((share, f"checkpoint/{name}.safetensors") for name in ("best", "earlier") for share in (0, 0.5)),
        *((0.5, name) for name in ("table.parquet", "model.json", "recipe.toml")),
        *(
            (share, name)
            for name in ("model.safetensors", "predictions.parquet", "evaluation.json")
            for share in (0, 0.7)
        ),
    ][number]
    if name.startswith("checkpoint/state"):
        run = stage.stopped()
        cut(run / name, share)
        refused(command("train", "--resume", run), f"{name} is damaged")
        (run / name).unlink()  # as the sentence says
    elif name.startswith("checkpoint"):
        run = stage.fresh()
        told = stage.train(run, hook=lambda message: message.phase == "epoch" and cut_last(run / name, share, message))
        refused(told, f"{name} is damaged")
        shutil.rmtree(run / "checkpoint")
    elif number < 13:
        run = stage.stopped()
        whole = (run / name).read_bytes()
        cut(run / name, share)
        refused(command("train", "--resume", run), name)
        (run / name).write_bytes(whole)
    else:
        torn_result(stage, name, share)
        return f"{name}, {share:.4g} of it left"
    stage.go_on(run)
    return f"{name}, {share:.4g} of it left"


def torn_result(stage: Stage, name: str, share: float) -> None:
    run = stage.ended()
    whole = (run / name).read_bytes()
    cut(run / name, share)
    told = refused(command("evaluate", run, "--part", "test"), f"{name} is damaged")
    check(not (run.parent / "ledger.jsonl").exists(), "a look was counted")
    if "delete it and evaluate again" in told.err:
        (run / name).unlink()
    else:
        (run / name).write_bytes(whole)
    done(command("evaluate", run, "--part", "test"))
    done(command("evaluate", run))
    check(Run(run).evaluations["test"]["look"] == 1, "another look")
    validation, undisturbed = (json.loads(figures(folder))["validation"] for folder in (run, stage.undisturbed))
    check(validation == undisturbed, "other figures")


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def cut_last(path: Path, share: float, message: Progress) -> None:
    """Cut a file off after the last epoch, when it is still to be read."""
    if message.epoch == message.epochs:
        cut(path, share)
