"""Does augmentation help: each named policy against none, on flowers at 96 x 96 pixels from scratch.

    python benchmarks/augment_gain.py ../shared/data/flowers --out gain [--epochs 30 | --minutes 1]
    python benchmarks/augment_gain.py ../shared/data/flowers --out gain --per-class 20 --policies none light --seeds 2
    python benchmarks/augment_gain.py show --out gain                        the table, as docs/ has it

Nothing has been run yet but a test of the benchmark itself: there are no figures.

Every training is a line of gain/results.jsonl. What is there is not done again, and a training that was killed goes on
where it was. No training is begun that would not end within --seconds (of the length of the longest one so far; one is
always done): call it again until it says that all is done.

A quarter of the images is the test part and 15 per cent the validation part, the same for every training. A seed draws
the training images of each class, so many as --per-class says, and is that of the training: weights, order and changes.
So two policies with the same seed and number of images differ in nothing but the policy: same training images, same
first weights, same length, same test images. Their difference in accuracy is taken seed by seed; the interval is
Student's t of the five differences, 95 per cent. It holds for these test images and this length of training: how other
images would come out is no part of it, and a policy that changes more may need more epochs than the one that does not.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from tenfold.augment.published import NAMED
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
LEVEL = 0.95
SETTINGS = ("size", "epochs", "minutes")
"""What all trainings of one table must have in common."""


@dataclass(frozen=True)
class Training:
    """One training to be done."""

    per_class: int
    seed: int
    policy: str

    @property
    def name(self) -> str:
        return f"{self.per_class}-seed{self.seed}-{self.policy}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with a folder of images for each class, or the word show")
    parser.add_argument("--out", type=Path, required=True, help="the folder of results.jsonl")
    parser.add_argument("--per-class", nargs="+", type=int, default=[20, 50, 200], help="training images of a class")
    parser.add_argument("--policies", nargs="+", choices=NAMED, default=list(NAMED))
    parser.add_argument("--seeds", type=int, default=5, help="seeds 0, 1, ...")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=0.0, help="of each training")
    length.add_argument("--epochs", type=int, default=0, help="of each training; 0: chosen from its size")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seconds", type=float, default=math.inf, help="when no more training is begun")
    options = parser.parse_args()
    if options.data == "show":
        print(show(read(options.out)))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    ended = train(options)
    print(show(read(options.out)))
    print("all done" if ended else "not all of it yet: call it again")


def train(options: argparse.Namespace) -> bool:
    """Do the trainings that are not done yet, while there is time; whether all of them are done."""
    stop, longest = time.monotonic() + options.seconds, 0.0
    settings = {name: getattr(options, name) for name in SETTINGS}
    parted = None
    for wanted in trainings(options):
        lines = read(options.out)
        check_settings(lines, settings)
        if wanted.name in {line["name"] for line in lines}:
            continue
        if longest and time.monotonic() + longest > stop:
            return False
        if parted is None:
            parted = split_table(hashed(read_table(options.data)), validation=0.15, test=0.25, seed=0)
        start = time.monotonic()
        line = {"name": wanted.name, **vars(wanted), **settings, **measure(wanted, parted, options)}
        line["seconds"] = time.monotonic() - start
        longest = max(longest, line["seconds"])
        with (options.out / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{wanted.name}: {line['hits']} of {line['n']}, {line['seconds']:.0f} s", flush=True)
    return True


def trainings(options: argparse.Namespace) -> Iterator[Training]:
    """Seed by seed, so that what is there after any of them is whole for the seeds before."""
    for seed, per_class, policy in product(range(options.seeds), options.per_class, options.policies):
        yield Training(per_class, seed, policy)


def measure(wanted: Training, parted: Table, options: argparse.Namespace) -> Line:
    """One training, judged on the test part."""
    table = limit_table(parted, wanted.per_class, seed=wanted.seed)
    length = {"epochs": options.epochs, "minutes": options.minutes}
    recipe = Recipe().change(
        image={"size": options.size}, augment={"policy": wanted.policy}, train={"seed": wanted.seed, **length}
    )
    folder = options.out / "runs" / wanted.name
    run = train_or_resume(table, recipe, folder, "classification", no_report)
    accuracy = evaluate_run(run, "test").figures["accuracy"]
    shutil.rmtree(folder)  # so that many fit on a disk
    return {
        "images": len(table.part("train")),
        "hits": round(accuracy.value * accuracy.n),
        "n": accuracy.n,
        "processor": processor_name(),
    }


def check_settings(lines: list[Line], settings: Line) -> None:
    for line in lines:
        found = {name: line[name] for name in SETTINGS}
        if found != settings:
            raise SystemExit(f"--out has trainings with {found}, not {settings}; name another folder.")


def read(folder: Path) -> list[Line]:
    file = folder / "results.jsonl"
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []


def show(lines: list[Line]) -> str:
    """The table in Markdown: a line a policy, its accuracy and its difference from none by images a class."""
    if not lines:
        return "Nothing has been run yet."
    counts = sorted({line["per_class"] for line in lines})
    heads = [f"{count} a class: accuracy | against none" for count in counts]
    rows = [f"| policy | {' | '.join(heads)} |", "|---" * (1 + 2 * len(counts)) + "|"]
    for policy in (name for name in NAMED if name in {line["policy"] for line in lines}):
        cells = [cell for count in counts for cell in judge(lines, count, policy)]
        rows.append(f"| {policy} | {' | '.join(cells)} |")
    length = ", ".join(f"{name} {lines[0][name]:g}" for name in SETTINGS)
    about = f"Accuracy in per cent on {lines[0]['n']} test images, mean of the seeds; difference in points, by seed, "
    about += f"with its {100 * LEVEL:g} % interval (Student's t), and in how many seeds the policy is better. "
    about += f"{length} (0: chosen), {lines[0]['processor']}."
    return "\n".join([*rows, "", about])


def judge(lines: list[Line], per_class: int, policy: str) -> tuple[str, str]:
    """Mean accuracy, and the difference from none, as two cells."""
    own, plain = (accuracies(lines, per_class, name) for name in (policy, "none"))
    if not own:
        return "", ""
    mean = f"{100 * np.mean(list(own.values())):.1f} (n = {len(own)})"
    pairs = np.array([100 * (own[seed] - plain[seed]) for seed in sorted(set(own) & set(plain))])
    if policy == "none" or not len(pairs):
        return mean, ""
    wins = f"better in {(pairs > 0).sum()} of {len(pairs)}"
    if len(pairs) < 2:
        return mean, f"{pairs.mean():+.1f}, {wins}"
    half = student.ppf((1 + LEVEL) / 2, len(pairs) - 1) * pairs.std(ddof=1) / math.sqrt(len(pairs))
    return mean, f"{pairs.mean():+.1f} ({pairs.mean() - half:+.1f} to {pairs.mean() + half:+.1f}), {wins}"


def accuracies(lines: list[Line], per_class: int, policy: str) -> dict[int, float]:
    """Seed -> accuracy."""
    found = [line for line in lines if (line["per_class"], line["policy"]) == (per_class, policy)]
    return {line["seed"]: line["hits"] / line["n"] for line in found}


if __name__ == "__main__":
    main()
