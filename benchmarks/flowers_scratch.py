r"""From images on disk to a trained model, from scratch: Tenfold, fastai and Keras 3, never two at once.

    tenfold split ../shared/data/flowers --out flowers.split.csv
    python benchmarks/flowers_scratch.py ../shared/data/flowers --split flowers.split.csv --results results \
        --fastai-python /tmp/venv-fastai/bin/python --keras-python /tmp/venv-keras/bin/python

Run it with Tenfold's own Python on a machine that does nothing else; benchmarks/peers/README.md makes the other two.
Stages, in this order; name some (`--stages curve show`) to run only those:

    calibrate  2 epochs of each peer's recipes, the first in float32 and bfloat16 and the others in the
               faster one: what an epoch and the rest cost                                                about 17 min
    tune       each peer's three recipes for --tune-minutes; the best on the validation part goes on      about 20 min
    same       one network, no augmentation, the same number of epochs: time alone, three seeds           about 15 min
    curve      accuracy against wall time: budgets x seeds x contenders, the peers with what was tuned    about 200 min
    show       the tables and results/flowers_scratch.png from what is there                              2 s

Wall time runs from the start of the process until the trained model is on disk, in an empty cache; the look at the
test part comes after it. What is done already is skipped, so the benchmark can be stopped and started at will.

Tenfold's lines are of the policy `standard`, the default of training from scratch until 28 November 2026; now it is
`randaugment`, with which the curve was not run.

Last figures of the curve, 27 November 2026, 2 cores of an AMD EPYC with AVX-512 bfloat16 units, PyTorch 2.14.1, fastai
2.8.12, Keras 3.15.1 on TensorFlow 2.21.0, nothing else training beside it; test part, 550 images, in the recipes that
the Xeon below found best, each peer in the precision that is faster for it here (fastai bfloat16, Keras float32):

    seconds and test accuracy, median (least to most), n = 3
    Tenfold  58 s 82.4 % (80.9 to 82.5); 63 s 84.7 % (84.2 to 85.1); 176 s 87.8 % (87.5 to 87.8); 358 s 89.8 %
             (89.8 to 91.1); 718 s 90.9 % (90.2 to 91.6); bfloat16, without the check
    fastai   55 s 67.1 % (65.8 to 69.3); 208 s 76.2 % (75.3 to 76.2); 390 s 81.8 % (81.5 to 82.7); 747 s 85.1 %
             (84.4 to 85.1)
    Keras    45 s 24.4 % (one epoch, all); 163 s 71.5 % (70.2 to 72.2); 346 s 76.5 % (76.2 to 77.1); 642 s 81.1 %
             (80.2 to 81.6)

    With a sixth of the time that fastai took (--minutes 1.08) Tenfold has more than each of fastai's three: 63 s to
    390 s is 0.163; wanted was 0.167. Three machines of this kind made it, an epoch of fastai taking 22 to 24 s on each;
    on a fourth of the same name it took 33 to 36 s.
    What there is lies in benchmarks/results/flowers_scratch_epyc.jsonl; put as results.jsonl into --results it is gone
    on from, on such a machine and with the split of the command above. Tenfold's seed 0 at 1, 3 and 6 minutes filled
    its time less well than the code does since (13 epochs in a minute, 15 since).

    same    on such a machine, 5 epochs at 96 px, batch 64, n = 3 in turns, all in bfloat16, the faster one for each:
            Tenfold 37.9 s (36.6 to 39.5), fastai 59.2 s (52.6 to 59.9), Keras 60.4 s (59.2 to 61.2). Tenfold over the
            faster peer of the same seed: 0.67 (0.61 to 0.72); wanted at most 0.90. In float32, n = 1: fastai 81.3 s,
            Keras 61.7 s.

Before, 24 November 2026, 2 cores of an Intel Xeon with AMX, the same versions, nothing else running:

    same    5 epochs at 96 px, batch 64, n = 3 in turns, each contender in the precision that is faster for it, which
            is bfloat16 for all: Tenfold 42.3 s (39.8 to 43.2), fastai 60.8 s (60.0 to 61.4), Keras 60.2 s (59.8 to
            71.0). Tenfold over the faster peer of the same seed: 0.69 (0.66 to 0.72); wanted at most 0.90. In
            float32, n = 1: fastai 86.4 s, Keras 95.9 s.
    tune    3 minutes each, seed 0, validation part: fastai imagenette 78.9 %, growing 75.7, onecycle 74.4; Keras
            narrow 72.2, cosine 68.2, example 24.5 (two epochs; its running means do not keep up).
    curve   in bfloat16: Tenfold 80.0 % (79.8 to 82.0) after 54 s, n = 3; 89.6 % (both) after
            357 s, n = 2. fastai 65.7 % (65.3 to 66.2) after 63 s, 80.0 % (both) after 370 s, n = 2. Keras 24.4 % after
            74 s, n = 2; 76.5 % after 467 s, n = 1. AdamW in place of Muon: 74.9 % after 57 s, n = 2.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flowers_scratch_show import show
from peers.job import processor

HERE = Path(__file__).resolve().parent
STAGES = ("calibrate", "tune", "same", "curve", "show")
PRECISIONS = ("float32", "bfloat16")
RECIPES = {"fastai": ("onecycle", "imagenette", "growing"), "keras": ("example", "cosine", "narrow")}
PLAIN = "--policy none --train.grow off --image.margin 1"
PLAIN += " --train.optimizer adamw"

Entry = dict[str, Any]
"""What one training gave: the contender's answer, the stage, the budget in minutes, the machine's load before it."""


@dataclass(frozen=True)
class Plan:
    """One training to be done."""

    stage: str
    contender: str
    seed: int = 0
    recipe: str = "default"
    precision: str = "auto"
    epochs: int = 0
    minutes: float = 0.0

    @property
    def name(self) -> str:
        length = f"{self.minutes:g}min" if self.minutes else f"{self.epochs}epochs"
        return "-".join((self.stage, self.contender, self.recipe, self.precision, length, f"seed{self.seed}"))


class Benchmark:
    """The trainings done so far, in results.jsonl, and how to do another one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pythons = {"fastai": options.fastai_python, "keras": options.keras_python}
        self.peers = [name for name, python in self.pythons.items() if python]
        self.recipes = {
            peer: [name for name in RECIPES[peer] if name in options.recipes] or RECIPES[peer] for peer in self.peers
        }
        self.split = hashlib.sha256(options.split.read_bytes()).hexdigest()[:12]
        self.file: Path = options.results / "results.jsonl"
        self.entries: list[Entry] = []
        if self.file.exists():
            self.entries = [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]
        self.failures: list[str] = []

    def done(self, stage: str, **wanted: Any) -> list[Entry]:
        """The trainings of a stage on this split that match."""
        wanted |= {"stage": stage, "split": self.split, "size": self.options.size}
        return [entry for entry in self.entries if all(entry.get(key) == value for key, value in wanted.items())]

    def fastest(self, stage: str, **wanted: Any) -> str:
        """The precision with the shortest epoch among a stage's trainings."""
        found = self.done(stage, **wanted)
        if not found:
            raise SystemExit(f"Nothing in the stage {stage} for {wanted}; run that stage first.")
        return str(min(found, key=lambda entry: float(entry["seconds_per_epoch"]))["precision"])

    def run(self, plan: Plan) -> None:
        """Do one training unless it is done already, and write down what it gave. A failure is named, not fatal."""
        if self.done(plan.stage, name=plan.name):
            return
        load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None
        print(f"{time.strftime('%H:%M:%S')}  {plan.name} (load before: {load})", flush=True)
        try:
            answer = self._tenfold(plan) if plan.contender == "tenfold" else self._peer(plan)
        except subprocess.SubprocessError as error:
            self.failures.append(f"{plan.name}: {error}")
            print(f"          failed: {error}", flush=True)
            return
        about = {"stage": plan.stage, "name": plan.name, "minutes": plan.minutes, "split": self.split, "load": load}
        self.entries.append({**answer, **about, "at": time.strftime("%Y-%m-%dT%H:%M:%S")})
        self.file.parent.mkdir(parents=True, exist_ok=True)
        aside = self.file.with_suffix(".part")
        aside.write_text("".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in self.entries), "utf-8")
        aside.replace(self.file)
        accuracy = answer["test_accuracy"] if answer["test_accuracy"] is not None else answer["validation_accuracy"]
        print(f"          {answer['epochs']} epochs, {answer['total_seconds']:.1f} s, {accuracy:.3f}", flush=True)

    def peer_epochs(self, contender: str, recipe: str, precision: str, minutes: float) -> int:
        """How many epochs fit into the minutes, by the longest training of it so far."""
        known = self.done("calibrate", contender=contender, recipe=recipe, precision=precision)
        known += self.done("tune", contender=contender, recipe=recipe, precision=precision)
        if not known:
            raise SystemExit(
                f"{contender} with {recipe} in {precision} is not calibrated; run the stage calibrate first."
            )
        longest = max(known, key=lambda entry: int(entry["epochs"]))
        rest = longest["total_seconds"] - longest["epochs"] * longest["seconds_per_epoch"]
        count = (60 * minutes - rest) / longest["seconds_per_epoch"]
        return max(1, int(count + 0.5))

    def _peer(self, plan: Plan) -> Entry:
        own = plan.stage != "same"
        epochs = plan.epochs or self.peer_epochs(plan.contender, plan.recipe, plan.precision, plan.minutes)
        out = self.options.results / "runs" / f"{plan.name}.json"
        command = [self.pythons[plan.contender], HERE / "peers" / f"{plan.contender}_flowers.py"]
        command += ["--data", self.options.data, "--split", self.options.split, "--size", self.options.size]
        command += ["--network", "own" if own else "same", "--precision", plan.precision, "--epochs", epochs]
        command += ["--seed", plan.seed, "--out", out, "--augment" if own else "--no-augment"]
        command += ["--recipe", plan.recipe] if own else []
        command += ["--sealed"] if plan.stage in ("calibrate", "tune") else []
        out.parent.mkdir(parents=True, exist_ok=True)
        source = {"PYTHONPATH": str(HERE.parent / "src")}  # Tenfold's network for the stage same
        self._call([*command, "--started", time.time()], plan, source)
        answer: Entry = json.loads(out.read_text("utf-8"))
        return answer

    def _tenfold(self, plan: Plan) -> Entry:
        out = self.options.results / "runs" / plan.name
        shutil.rmtree(out, ignore_errors=True)  # what an interrupted benchmark left
        tenfold = [self.options.tenfold_python, "-m", "tenfold"]
        command = [*tenfold, "train", self.options.data, "--split", self.options.split]
        command += ["--seed", plan.seed, "--out", out, "--json"]
        command += ["--model", "residual"]  # from scratch, as the peers
        command += ["--no-check"]  # no peer looks for copies; it is done once and cached
        command += ["--minutes", self._tenfold_minutes(plan)] if plan.minutes else ["--epochs", plan.epochs]
        command += [*PLAIN.split(), "--size", self.options.size, "--batch-size", 64] if plan.stage == "same" else []
        started = time.time()
        with tempfile.TemporaryDirectory() as cache:
            trained = json.loads(self._call(command, plan, {"TENFOLD_CACHE": cache}))
            total = time.time() - started
            sealed = plan.stage == "calibrate"
            evaluate = [*tenfold, "evaluate", out, "--part", "test", "--json"]
            tested = None if sealed else json.loads(self._call(evaluate, plan, {"TENFOLD_CACHE": cache}))
        return {
            "contender": "tenfold",
            "recipe": plan.recipe,
            "seed": plan.seed,
            "size": self.options.size,
            "total_seconds": total,
            "validation_accuracy": trained["evaluation"]["validation"]["figures"]["accuracy"]["value"],
            "test_accuracy": tested and tested["figures"]["accuracy"]["value"],
            "n_test": tested and tested["n"],
            "processor": processor(),
            **_run_facts(out),
        }

    def _tenfold_minutes(self, plan: Plan) -> float:
        """The budget less what starting the process and ending it cost, as the peers' epochs allow for it too."""
        known = self.done("calibrate", contender="tenfold")
        rest = known[0]["total_seconds"] - known[0]["train_seconds"] if known else 0.0
        return max(0.05, round(plan.minutes - rest / 60, 3))

    def _call(self, command: list[Any], plan: Plan, settings: dict[str, str]) -> str:
        """Run to the end and give what it printed; what it said on the way goes into logs/."""
        log = self.options.results / "logs" / f"{plan.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        limit = 900 + 180 * (plan.minutes or plan.epochs)
        with log.open("w", encoding="utf-8") as errors:
            texts = [str(word) for word in command]
            done = subprocess.run(
                texts, env=os.environ | settings, stdout=subprocess.PIPE, stderr=errors, text=True, timeout=limit
            )
        if done.returncode:
            last = log.read_text("utf-8").strip().splitlines()[-1:]
            raise subprocess.SubprocessError(f"exit code {done.returncode}, {' '.join(last)} (all of it in {log})")
        return done.stdout


def calibrate(bench: Benchmark) -> None:
    """What an epoch costs each peer, in the precision that is the faster one for its first recipe."""
    bench.run(Plan("calibrate", "tenfold", minutes=0.5))
    for contender in bench.peers:
        first, *others = bench.recipes[contender]
        for precision in bench.options.precisions:
            bench.run(Plan("calibrate", contender, recipe=first, precision=precision, epochs=2))
        for recipe in others:
            precision = bench.fastest("calibrate", contender=contender, recipe=first)
            bench.run(Plan("calibrate", contender, recipe=recipe, precision=precision, epochs=2))


def tune(bench: Benchmark) -> None:
    """Each peer's recipes for the same time, judged by the validation part."""
    for contender in bench.peers:
        for recipe in bench.recipes[contender]:
            precision = bench.fastest("calibrate", contender=contender, recipe=recipe)
            bench.run(Plan("tune", contender, recipe=recipe, precision=precision, minutes=bench.options.tune_minutes))


def same(bench: Benchmark) -> None:
    """One network, no augmentation: time alone. Peers in the precision that seed 0 finds faster, Tenfold in its own."""
    for seed in range(bench.options.seeds):
        bench.run(Plan("same", "tenfold", seed, "plain", epochs=bench.options.same_epochs))
        for contender in bench.peers:
            faster = [bench.fastest("same", contender=contender, seed=0)] if seed else bench.options.precisions
            for precision in faster:
                bench.run(Plan("same", contender, seed, "plain", precision, epochs=bench.options.same_epochs))
    counts = {entry["parameters"] for entry in bench.done("same")}
    if len(counts) > 1:
        raise SystemExit(f"The stage same must train one network, but the parameters differ: {sorted(counts)}.")


def curve(bench: Benchmark) -> None:
    """Accuracy against wall time, the contenders in turns, so that a slow hour hits them all."""
    for seed in range(bench.options.seeds):
        for minutes in bench.options.minutes:
            bench.run(Plan("curve", "tenfold", seed, minutes=minutes))
            for contender in bench.peers:
                recipe, *others = bench.recipes[contender]
                precision = bench.fastest("calibrate", contender=contender, recipe=recipe)
                if others:
                    tuned = bench.done("tune", contender=contender)
                    if not tuned:
                        raise SystemExit(f"{contender} is not tuned; run the stages calibrate and tune first.")
                    best = max(tuned, key=lambda entry: float(entry["validation_accuracy"]))
                    recipe, precision = best["recipe"], best["precision"]
                bench.run(Plan("curve", contender, seed, recipe, precision, minutes=minutes))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with a folder of images for each class")
    parser.add_argument("--split", type=Path, required=True, help="CSV file that `tenfold split` wrote")
    parser.add_argument("--results", type=Path, required=True, help="folder for results, logs and the picture")
    parser.add_argument("--fastai-python", type=Path, help="without it fastai is left out")
    parser.add_argument("--keras-python", type=Path, help="without it Keras is left out")
    parser.add_argument("--tenfold-python", type=Path, default=Path(sys.executable))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--minutes", nargs="+", type=float, default=[1, 3, 6, 12], help="budgets of the stage curve")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS, help="those worth a try")
    parser.add_argument("--recipes", nargs="+", default=[], help="one for each peer: what an earlier stage tune found")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... of the stages same and curve")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--tune-minutes", type=float, default=3)
    parser.add_argument("--same-epochs", type=int, default=5)
    bench = Benchmark(parser.parse_args())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped; the same command goes on."))  # ends the child too
    stages = {"calibrate": calibrate, "tune": tune, "same": same, "curve": curve}
    for name in STAGES:
        if name == "show" and name in bench.options.stages:
            show([entry for entry in bench.entries if entry["split"] == bench.split], bench.options.results)
        elif name in bench.options.stages:
            stages[name](bench)
    for failure in bench.failures:
        print(f"Failed: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


def _run_facts(run: Path) -> Entry:
    """What Tenfold chose and did, from the run's folder."""
    import csv

    from tenfold.run import load_run

    recipe = tomllib.loads((run / "recipe.toml").read_text("utf-8"))
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    environment = json.loads((run / "environment.json").read_text("utf-8"))
    return {
        "precision": recipe["train"]["precision"],
        "batch_size": recipe["train"]["batch_size"],
        "epochs": int(last["epoch"]),
        "train_seconds": float(last["seconds"]),
        "parameters": sum(p.numel() for p in load_run(run).model.parameters() if p.requires_grad),
        "versions": environment["packages"],
    }


if __name__ == "__main__":
    sys.exit(main())
