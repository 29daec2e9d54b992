"""Does augmentation help: named policies against none, on flowers at 96 x 96 pixels from scratch.

    python benchmarks/augment_gain.py ../shared/data/flowers --results gain
    python benchmarks/augment_gain.py ../shared/data/flowers --results gain --stages confirm show --seconds 3000

Stages, in this order; name some (`--stages show`) to run only those:

    screen    every named policy, 50 images a class, two seeds, judged on the validation part       18 trainings, 16 min
    confirm   none, train's default and the two best others of the screen, with 20, 50 and 200
              images a class and five seeds that the screen did not have, judged on the test part   60 trainings, 48 min
    show      the tables as docs/ has them, from what is there                                                       2 s

Every training is a line of gain/results.jsonl. What is there is not done again, and a training that was killed goes on
where it was, so the benchmark can be stopped and started at will; with --seconds it begins none that would not end in
that time. `--stages confirm --best 7` confirms every policy that `--policies` names, without a screen (135 trainings),
`--epochs` trains longer or shorter than the 60, 40 and 20 epochs with 20, 50 and 200 images a class.

28 November 2026, AMD EPYC with units for bfloat16 (2 cores, a training on each, other programs beside them), all nine
policies confirmed, n = 135 trainings in 219 minutes of one core each (a median of 72 s with 20 images a class, 99
with 50, 102 with 200). Points of accuracy on 917 test images above none, mean of five seeds, with 20, 50 and 200
images a class; behind it their mean on 294 validation images (docs/policies.md has intervals and wins;
benchmarks/results/augment_gain.jsonl has every training):

    none                  57.4, 68.1, 77.5 %                autoaugment-cifar10  +4.3  +2.6  +0.7    +2.9
    light                +1.0  +2.3  +1.4    +1.5            randaugment          +3.4  +3.2  +1.2    +2.9
    standard             +2.0   0.0  -0.7    +0.3            trivialaugment       +2.5  +1.8  +0.2    +1.8
    strong               -5.0  -5.8  -6.5    -5.6            autoaugment-imagenet +0.6  -0.2  -1.1    -0.5
    augmix               -1.0  -0.5  -0.1    -1.2

These are short trainings. At the default length of 150 epochs, with 20, 50 and 200 images a class (`--epochs 150
--policies none standard randaugment`; 42 trainings, n behind each), the same test images:

    none         58.4 % (n = 5), 68.9 % (n = 5), 81.0 % (n = 2)
    standard     63.8 % (n = 5), 75.2 % (n = 5), 85.2 % (n = 5)
    randaugment  63.1 % (n = 5), 73.5 % (n = 5), 84.4 % (n = 5)
    standard above none, test:              +5.4 (+0.2 to +10.7), 5 of 5
                                            +6.3 (+3.3 to +9.4), 5 of 5
                                            +4.2, 2 of 2
    standard above randaugment, test:       +0.7 (-2.6 to +4.0), 3 of 5
                                            +1.8 (+0.2 to +3.3), 5 of 5
                                            +0.7 (-0.4 to +1.9), 4 of 5
    validation, by which it is the default: -0.5 (-6.7 to +5.7), 2 of 5
                                            +3.1 (+0.7 to +5.6), 4 of 5
                                            +1.9 (-1.8 to +5.7), 4 of 5

On the 2,569 training images of `tenfold split flowers`, `--model residual`, one seed, validation accuracy: after a
minute 83.3 and randaugment 83.7 %, after 2.7 minutes 88.0 and 86.4.

Why so. A policy is chosen by what validation images say, and what it is worth is said by images and seeds that had no
part in the choice: of nine policies, the one that looks best on the images that chose it owes some of that to chance.
The screen is at 50 images a class, the middle one of the three.
The parts are the same for all trainings: a quarter of the images for the test, 8 per cent for validation, copies and
shots in a row in one part. A seed draws the training images of each class and is that of the training: first weights,
order and changes. So two policies with the same seed and number of images differ in nothing but the policy, and their
difference in accuracy is taken seed by seed. Its interval is Student's t of these differences, 95 per cent each: with
nine of them in the table one may well miss. It holds for these test images and this length of training: how other
images would come out is no part of it, and a policy that changes more may need more epochs than one that does not.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from tenfold.augment.published import NAMED
from tenfold.check import check_table
from tenfold.environment import processor_name
from tenfold.evaluate import evaluate_run
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.recipe import Recipe
from tenfold.split import limit_table, split_table
from tenfold.train.folds import train_or_resume
from tenfold.train.progress import no_report

Line = dict[str, Any]
STAGES = ("screen", "confirm", "show")
EPOCHS = {20: 60, 50: 40, 200: 20}
"""Of a training, by images a class: multiples of 20, as the validation part is looked at 20 times then."""
SCREENED, SCREEN_SEEDS, CONFIRM_SEEDS = 50, (0, 1), (10, 11, 12, 13, 14)
PLAIN, DEFAULT = "none", "standard"
LEVEL = 0.95


@dataclass(frozen=True)
class Training:
    """One training to be done."""

    stage: str
    per_class: int
    seed: int
    policy: str
    size: int
    epochs: int

    @property
    def name(self) -> str:
        length = f"{self.per_class}-{self.size}px-{self.epochs}epochs"
        return f"{self.stage}-{length}-seed{self.seed}-{self.policy}"


class Benchmark:
    """The trainings done so far, in results.jsonl, and how to do another one."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.file: Path = options.results / "results.jsonl"
        self.lines: list[Line] = []
        if self.file.exists():
            self.lines = [json.loads(line) for line in self.file.read_text("utf-8").splitlines()]
        self.stop = time.monotonic() + options.seconds

    @cached_property
    def table(self) -> Table:
        """The images with their parts, which are the same for all trainings."""
        table = hashed(read_table(self.options.data))
        return split_table(check_table(table).keep_together(table), validation=0.08, test=0.25, seed=0)

    def training(self, stage: str, per_class: int, seed: int, policy: str) -> Training:
        epochs = self.options.epochs or EPOCHS.get(per_class)
        if not epochs:
            raise SystemExit(f"Say with --epochs how long to train on {per_class} images a class.")
        return Training(stage, per_class, seed, policy, self.options.size, epochs)

    def done(self, stage: str) -> list[Line]:
        """The trainings of a stage in the size and the length that are asked for."""
        lines = [line for line in self.lines if line["stage"] == stage and line["size"] == self.options.size]
        return [line for line in lines if line["epochs"] == (self.options.epochs or EPOCHS.get(line["per_class"]))]

    def run(self, stage: str, per_class: int, seed: int, policy: str) -> bool:
        """Do a training unless it is done already; False where there is no time for it."""
        wanted = self.training(stage, per_class, seed, policy)
        if wanted.name in {line["name"] for line in self.lines}:
            return True
        alike = [line["seconds"] for line in self.lines if line["per_class"] == per_class] or [0]
        if time.monotonic() + max(alike) > self.stop:
            return False
        start = time.monotonic()
        line = {"name": wanted.name, **asdict(wanted), **self.measure(wanted)}
        line |= {"seconds": round(time.monotonic() - start, 1), "at": time.strftime("%Y-%m-%dT%H:%M:%S")}
        self.lines.append(line)
        aside = self.file.with_suffix(".part")
        aside.write_text("".join(json.dumps(each) + "\n" for each in self.lines), "utf-8")
        aside.replace(self.file)
        shown = ", ".join(
            f"{part} {line[part][0]} of {line[part][1]}" for part in ("validation", "test") if part in line
        )
        print(f"{line['at'][11:]}  {wanted.name}: {shown}, {line['seconds']:.0f} s", flush=True)
        return True

    def measure(self, wanted: Training) -> Line:
        """Train, and count the right answers: on the validation part, and to confirm also on the test part."""
        recipe = Recipe().change(
            image={"size": wanted.size},
            augment={"policy": wanted.policy},
            train={"seed": wanted.seed, "epochs": wanted.epochs, **self.pace},
        )
        folder = self.options.results / "runs" / wanted.name
        table = limit_table(self.table, wanted.per_class, seed=wanted.seed)
        run = train_or_resume(table, recipe, folder, "classification", no_report)
        hits: Line = {}
        for part in ("validation", "test") if wanted.stage == "confirm" else ("validation",):
            evaluation = evaluate_run(run, part)
            hits[part] = [round(evaluation.figures["accuracy"].value * evaluation.n), evaluation.n]
        pace = {name: getattr(run.recipe.train, name) for name in ("precision", "threads")}
        shutil.rmtree(folder)  # so that many fit on a disk
        return hits | pace | {"images": len(table.part("train")), "processor": processor_name()}

    @property
    def pace(self) -> Line:
        """Precision and threads as the first training measured them: the same for all, and no time for it again."""
        return {name: self.lines[0][name] for name in ("precision", "threads")} if self.lines else {}


def screen(bench: Benchmark) -> bool:
    """Every policy, seed by seed; whether all of it is done."""
    options = bench.options
    return all(
        bench.run("screen", options.screened, seed, policy)
        for seed, policy in product(SCREEN_SEEDS[: options.seeds], options.policies)
    )


def confirm(bench: Benchmark) -> bool:
    """The chosen policies, seed by seed, so that what is there after any of them is whole for the seeds before."""
    policies = chosen(bench.done("screen"), bench.options)
    return all(
        bench.run("confirm", per_class, seed, policy)
        for seed, per_class, policy in product(CONFIRM_SEEDS[: bench.options.seeds], bench.options.per_class, policies)
    )


def chosen(screened: list[Line], options: argparse.Namespace) -> list[str]:
    """No policy, train's default, and the best others on the validation part; all that are named need no screen."""
    if options.best >= len(NAMED) - 2:
        return list(options.policies)
    if PLAIN not in {line["policy"] for line in screened}:
        raise SystemExit("Nothing is screened; run the stage screen first.")
    gains = {policy: float(np.mean(list(differences(screened, policy).values()))) for policy in others(screened)}
    ranked = sorted((policy for policy in gains if policy != DEFAULT), key=lambda policy: -gains[policy])
    return [PLAIN, DEFAULT, *ranked[: options.best]]


def others(lines: list[Line]) -> Iterator[str]:
    """The policies beside none that can be compared with it, in the order of their names in the documentation."""
    return (name for name in NAMED if name != PLAIN and differences(lines, name))


def differences(lines: list[Line], policy: str, part: str = "validation") -> dict[int, float]:
    """Seed -> accuracy with the policy minus that without one, in points."""
    own, plain = (accuracies(lines, name, part) for name in (policy, PLAIN))
    return {seed: own[seed] - plain[seed] for seed in sorted(own.keys() & plain.keys())}


def accuracies(lines: list[Line], policy: str, part: str) -> dict[int, float]:
    """Seed -> accuracy in per cent."""
    return {line["seed"]: 100 * line[part][0] / line[part][1] for line in lines if line["policy"] == policy}


def show(bench: Benchmark) -> None:
    """Two tables in Markdown, and what they are of."""
    screened, confirmed = bench.done("screen"), bench.done("confirm")
    if not screened + confirmed:
        print("Nothing has been run yet.")
    if screened:
        print(f"\nScreen, {about(screened, 'validation')}:\n")
        print(tabled(screened, "validation"))
    if confirmed:
        print(f"\nConfirmed by other seeds, {about(confirmed, 'test')}:\n")
        print(tabled(confirmed, "test"))
        print(
            f"\nIn brackets the {100 * LEVEL:g} % interval of each difference by itself (Student's t over the seeds)."
        )


def about(lines: list[Line], part: str) -> str:
    sizes = sorted({(line["per_class"], line["epochs"]) for line in lines})
    lengths = ", ".join(f"{epochs} epochs at {per_class} a class" for per_class, epochs in sizes)
    what = f"{lines[0]['size']} px, {lengths}, {lines[0][part][1]} {part} images"
    machine = "; ".join(sorted({f"{line['processor']}, {line['precision']}" for line in lines}))
    minutes = sum(line["seconds"] for line in lines) / 60
    return f"{what}, n = {len(lines)} trainings in {minutes:.0f} min, {machine}"


def tabled(lines: list[Line], part: str) -> str:
    """A row a policy: its accuracy, and its difference from none, by images a class."""
    counts = sorted({line["per_class"] for line in lines})
    heads = [f"{count} a class: accuracy | against none" for count in counts]
    rows = [f"| policy | {' | '.join(heads)} |", "|---" * (1 + 2 * len(counts)) + "|"]
    for policy in (name for name in NAMED if name in {line["policy"] for line in lines}):
        cells = [cells_of([line for line in lines if line["per_class"] == count], policy, part) for count in counts]
        rows.append(f"| {policy} | {' | '.join(cells)} |")
    return "\n".join(rows)


def cells_of(lines: list[Line], policy: str, part: str) -> str:
    """Mean accuracy over the seeds, and the paired difference."""
    own = list(accuracies(lines, policy, part).values())
    if not own:
        return " | "
    mean = f"{np.mean(own):.1f} % (n = {len(own)})"
    pairs = np.array(list(differences(lines, policy, part).values()))
    if policy == PLAIN or not len(pairs):
        return f"{mean} | "
    wins = f"better in {(pairs > 0).sum()} of {len(pairs)}"
    if len(pairs) < 3:  # the interval of two differences says nothing
        return f"{mean} | {pairs.mean():+.1f}, {wins}"
    half = student.ppf((1 + LEVEL) / 2, len(pairs) - 1) * pairs.std(ddof=1) / math.sqrt(len(pairs))
    return f"{mean} | {pairs.mean():+.1f} ({pairs.mean() - half:+.1f} to {pairs.mean() + half:+.1f}), {wins}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "data", nargs="?", help="folder with a folder of images for each class; to show, none is needed"
    )
    parser.add_argument("--results", type=Path, required=True, help="the folder of results.jsonl")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument(
        "--policies",
        nargs="+",
        choices=NAMED,
        default=list(NAMED),
        help="of the screen, with none among them; of confirm with --best 7",
    )
    parser.add_argument("--best", type=int, default=2, help="how many are confirmed beside none and the default")
    parser.add_argument("--screened", type=int, default=SCREENED, help="images a class in the screen")
    parser.add_argument("--per-class", nargs="+", type=int, default=list(EPOCHS), help="images a class to confirm with")
    parser.add_argument("--seeds", type=int, default=len(CONFIRM_SEEDS), help="at most so many in each stage")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=0, help="of every training; 0: by images a class")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no training that would not end by then")
    options = parser.parse_args()
    if options.data is None and options.stages != ["show"]:
        parser.error("say where the images are, or --stages show")
    options.results.mkdir(parents=True, exist_ok=True)
    bench = Benchmark(options)
    stages = {"screen": screen, "confirm": confirm}
    ended = all(stages[name](bench) for name in STAGES if name in options.stages and name in stages)
    if "show" in options.stages:
        show(bench)
    if not ended:
        print("Not all of it yet: the same command goes on.")


if __name__ == "__main__":
    main()
