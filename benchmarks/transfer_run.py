"""Trainings of transfer.py: what is to be trained, how it is called and timed, and what is kept of it."""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from peers.job import processor

from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.models.weights.places import find_weights
from tenfold.run import load_run
from tenfold.split import apply_split, limit_table, write_split
from tenfold.split.ties import texts

PEERS = Path(__file__).resolve().parent / "peers"
COLD = ("flowers", "fastai")
"""Stages whose trainings each begin with an empty cache."""

Entry = dict[str, Any]
"""What one training gave: the plan, its accuracy and the images that it gets wrong, seconds, and what was chosen."""


@dataclass(frozen=True)
class Plan:
    """One training to be done."""

    stage: str
    contender: str
    options: str
    """What `tenfold train` is told besides data, split, seed and size; of fastai the recipe."""
    per_class: int
    """Training images of each class."""
    sample: int
    """Which images are drawn, 0, 1, ..."""
    seed: int
    """Of the training."""
    size: int = 0
    """Pixels; 0: what the options say."""
    judged: str = "test"
    """The part of the written split that the trained model is judged by."""
    validated: bool = False
    """Whether the training has the split's validation part to choose by, many times as many images as it trains on."""

    @property
    def name(self) -> str:
        """A name for files, its own also where the options change."""
        words = f"{self.contender}-{self.per_class}-sample{self.sample}-seed{self.seed}-{self.judged}"
        digest = hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()[:6]
        return f"{self.stage}-{words}-{digest}".replace(" ", "_").replace(",", "")


class Ran(NamedTuple):
    """What a process gave, with the seconds that it took."""

    text: str
    wall: float
    processor: float


class Benchmark:
    """The trainings done so far, in results.jsonl, and how to do another one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.file: Path = options.results / "results.jsonl"
        self.entries: list[Entry] = []
        if self.file.exists():
            self.entries = [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]
        self.failures: list[str] = []
        self.tenfold = [sys.executable, "-m", "tenfold"]

    def run(self, plan: Plan, data: Path, split: Path) -> float:
        """Do one training unless it is done already, and write down what it gave: its accuracy.

        A failure is named, not fatal, and counts as 0.
        """
        about = asdict(plan) | {"images": _digest(split)}
        for entry in self.entries:
            if all(entry.get(name) == value for name, value in about.items()):
                return float(entry["accuracy"])
        about["load"] = round(os.getloadavg()[0], 2)
        print(f"{time.strftime('%H:%M:%S')}  {plan.name} (load before: {about['load']})", flush=True)
        try:
            with self._cache(plan) as cache:
                train = self._fastai if plan.stage == "fastai" else self._train
                answer = train(plan, data, split, {"TENFOLD_CACHE": str(cache)})
        except subprocess.SubprocessError as error:
            self.failures.append(f"{plan.name}: {error}")
            print(f"          failed: {error}", flush=True)
            return 0.0
        self.entries.append(about | answer | {"processor": processor(), "at": time.strftime("%Y-%m-%dT%H:%M:%S")})
        aside = self.file.with_suffix(".part")
        aside.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in self.entries), "utf-8")
        aside.replace(self.file)
        times = f"{answer['seconds']:.1f} s, {answer['processor_seconds']:.1f} s of processors"
        print(f"          {answer['accuracy']:.3f} of {answer['n']}, {times}", flush=True)
        return float(answer["accuracy"])

    @contextmanager
    def _cache(self, plan: Plan) -> Iterator[Path]:
        if plan.stage not in COLD:
            yield self.options.results / "cache"
            return
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def _train(self, plan: Plan, data: Path, split: Path, settings: dict[str, str]) -> Entry:
        """`tenfold train`, then `tenfold evaluate --part test`."""
        out = self.options.results / "runs" / plan.name
        shutil.rmtree(out, ignore_errors=True)  # what an interrupted benchmark left
        command = [*self.tenfold, "train", data, "--split", split, "--seed", plan.seed, "--no-check", "--json"]
        command += ["--out", out, *(["--size", plan.size] if plan.size else []), *shlex.split(plan.options)]
        trained = self._call(command, plan.name, settings)
        tested = self._call([*self.tenfold, "evaluate", out, "--part", "test", "--json"], plan.name, settings)
        figure = json.loads(tested.text)["figures"]["accuracy"]
        return {
            "seconds": trained.wall,
            "processor_seconds": trained.processor,
            "test_seconds": tested.wall,
            "test_processor_seconds": tested.processor,
            "accuracy": figure["value"],
            "n": figure["n"],
            **_run_facts(out),
        }

    def _fastai(self, plan: Plan, data: Path, split: Path, settings: dict[str, str]) -> Entry:
        """The peer, on the images of the same split."""
        out = self.options.results / "runs" / f"{plan.name}.json"
        out.parent.mkdir(parents=True, exist_ok=True)
        weights = self.options.weights or find_weights("efficientnet-lite0")
        command = [self.options.fastai_python, PEERS / "fastai_transfer.py", "--data", data, "--split", split]
        command += ["--recipe", plan.options, "--weights", weights, "--size", plan.size, "--seed", plan.seed]
        command += ["--precision", self.options.fastai_precision, "--out", out]
        ran = self._call([*command, "--started", time.time()], plan.name, settings)
        answer: Entry = json.loads(out.read_text("utf-8"))
        seconds = answer.pop("total_seconds")
        return answer | {"seconds": seconds, "test_seconds": ran.wall - seconds}

    def _call(self, command: list[Any], name: str, settings: dict[str, str]) -> Ran:
        """Run to the end; what it said on the way goes into logs/."""
        log = self.options.results / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        texts_of = [str(word) for word in command]
        began, before = time.perf_counter(), _children_seconds()
        with log.open("a", encoding="utf-8") as errors:
            errors.write(f"{shlex.join(texts_of)}\n")
            errors.flush()
            done = subprocess.run(
                texts_of, env=os.environ | settings, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=7200
            )
        wall, used = time.perf_counter() - began, _children_seconds() - before
        if done.returncode:
            last = log.read_text("utf-8").strip().splitlines()[-1:]
            raise subprocess.SubprocessError(f"exit code {done.returncode}, {' '.join(last)} (all of it in {log})")
        return Ran(done.stdout, wall, used)

    def written(self, name: str, data: Path, *shares: Any) -> Path:
        """A split that `tenfold split` writes, once."""
        path: Path = self.options.results / "splits" / f"{name}.split.csv"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            settings = {"TENFOLD_CACHE": str(self.options.results / "cache")}
            self._call([*self.tenfold, "split", data, "--out", path, *shares], f"split-{name}", settings)
        return path

    def few(self, plan: Plan, data: Path) -> Path:
        """The written split with the plan's few training images, what it is judged by as the test part, and no others.

        The part for validation stays where the plan is to be validated.
        """
        whole = self.options.split or self.written(data.name, data, "--validation", "15%", "--test", "15%")
        words = f"{data.name}-{plan.per_class}-sample{plan.sample}-{plan.judged}{'-validated' * plan.validated}"
        path: Path = self.options.results / "splits" / f"{words}.split.csv"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            table = limit_table(apply_split(hashed(read_table(data)), whole), plan.per_class, seed=plan.sample)
            parts = {"train": "train", plan.judged: "test"} | ({"validation": "validation"} if plan.validated else {})
            # A copy of an image that is drawn comes with it: a split gives both the same part.
            pairs = zip(texts(table, "hash"), texts(table, "part"), strict=True)
            held = {digest: part for digest, part in pairs if part}
            table = table.assign(part=[parts.get(held.get(digest) or "") for digest in texts(table, "hash")])
            write_split(table, path)
        return path


def _digest(split: Path) -> str:
    """Which images are trained on and which judge, whatever else a written split says."""
    with split.open(encoding="utf-8-sig", newline="") as file:
        lines = sorted(
            f"{row['hash']} {row['part']}" for row in csv.DictReader(file) if row["part"] in ("train", "test")
        )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


def _children_seconds() -> float:
    """Processor seconds of all children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run_facts(folder: Path) -> Entry:
    """What a run chose, and which test images it gets wrong, by the first digits of their hashes."""
    run = load_run(folder)
    frame = run.predictions("test")
    named = np.array(run.classes, object)[np.stack(frame["probability"].to_list()).argmax(1)]
    recipe = tomllib.loads((folder / "recipe.toml").read_text("utf-8"))
    ladder = folder / "ladder.json"
    rungs = json.loads(ladder.read_text("utf-8")) if ladder.exists() else None
    return {
        "wrong": sorted(str(digest)[:12] for digest in frame["hash"][named != frame["label"].to_numpy(object)]),
        "model": recipe["model"]["name"],
        "chosen": rungs["rungs"][rungs["chosen"]]["words"] if rungs else "",
        "epochs": recipe["train"]["epochs"],
        "precision": recipe["train"]["precision"],
        "versions": json.loads((folder / "environment.json").read_text("utf-8"))["packages"],
    }
