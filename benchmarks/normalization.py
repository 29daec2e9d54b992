"""What normalization does: none, batch or group, by batch size and learning rate; and how layers' inputs drift.

    python benchmarks/normalization.py --results results [--data ../shared/data/flowers] [--stages digits drift show]

    digits    the plain network on the built-in digits, 32 images a class: {none, batch, group} x batch size
              {2, 4, 8, 32, 128} x learning rate {0.0005, 0.002, 0.008, 0.03}, five seeds: 300 trainings
    flowers   the residual network on the flowers at 32 px, 100 images a class: the same grid
    drift     mean and spread of what each activation is given on one fixed batch, step by step, with batch
              normalization and with none (the internal covariate shift of Ioffe and Szegedy 2015,
              https://arxiv.org/abs/1502.03167; that its removal is why batch normalization helps is disputed by
              Santurkar et al. 2018, https://arxiv.org/abs/1805.11604)
    show      the tables, those of docs/normalization.md among them, and the picture results/normalization.png

All trainings of a data set see the same number of images, so that a batch of 2 makes 16 times the steps of one of 32.
"Steps to target" is the first validation at the target accuracy. What is done is skipped: stop and start at will.

Last figures, 27 November 2026, 2 cores of an AMD EPYC, one of them for this and other programs beside it; 300 trainings
of each, three hours in all. Validation accuracy in per cent at the best rate of each, median of five seeds:

    batch size      2     4     8     32    128
    digits  none    97.1  96.0  96.4  96.0  91.3
            batch   96.8  96.4  96.0  96.4  94.9
            group   96.8  96.4  96.4  96.0  90.3
    flowers none    53.4  57.5  56.4  57.9  52.8
            batch   55.9  61.9  62.6  62.4  60.1
            group   57.5  58.3  58.8  55.7  50.8

At a batch of 2 photos, group normalization at the same rate ended higher than batch normalization with all five seeds
(5.4 points, 1.6 to 14.3, at 0.002), so `train` takes it below a batch of 4. All rates, the steps, and the drift:
docs/normalization.md. The trainings lie in benchmarks/results/normalization.jsonl; put as results.jsonl into --results
they are shown again.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.environment import processor_name
from tenfold.errors import TrainingError
from tenfold.evaluate import evaluate_run
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.models import find_model
from tenfold.recipe import Recipe
from tenfold.split import limit_table, split_table
from tenfold.train import train_model

NORMS, SIZES, RATES, SEEDS = ("none", "batch", "group"), (2, 4, 8, 32, 128), (0.0005, 0.002, 0.008, 0.03), range(5)
STAGES = ("digits", "flowers", "drift", "show")
TARGETS = {"digits": 0.9, "flowers": 0.5}
STILL = {"policy": "none"}
SAME = {"precision": "float32", "grow": "off", "label_smoothing": 0.0, "device": "cpu"}
RECIPES = {
    "digits": Recipe().change(
        data={"path": "digits"},
        image={"size": 16, "margin": 1.0},
        augment=STILL,
        model={"name": "plain", "width": 16, "layers": 3},
        train={"epochs": 12, "optimizer": "adamw"} | SAME,
    ),
    "flowers": Recipe().change(
        image={"size": 32, "margin": 1.0},
        augment=STILL,
        model={"name": "residual", "width": 16},
        train={"epochs": 12, "optimizer": "adamw"} | SAME,
    ),
}
Entry = dict[str, Any]


def table_of(data: str, folder: str, seed: int) -> Table:
    """Few images a class, so that thousands of trainings are possible; another seed splits in another way."""
    table = read_table("digits" if data == "digits" else folder)
    return limit_table(split_table(table, seed=seed), 32 if data == "digits" else 100, seed=seed)


def train_once(data: str, table: Table, norm: str, size: int, rate: float, seed: int, folder: Path) -> Entry:
    """One training of the grid: final validation accuracy, and steps to the target (None where it is not reached)."""
    settings = {"batch_size": size, "lr": rate, "seed": seed}
    recipe = RECIPES[data].change(model={"norm": norm}, train=settings)
    shutil.rmtree(folder, ignore_errors=True)
    known = {"data": data, "norm": norm, "batch_size": size, "lr": rate, "seed": seed}
    try:
        run = train_model(table, recipe, folder)
    except TrainingError as error:  # the loss is no longer finite
        return known | {"accuracy": None, "steps": None, "error": str(error)}
    history = run.history.dropna(subset=["validation_accuracy"])
    reached = history["step"][history["validation_accuracy"] >= TARGETS[data]]
    accuracy = evaluate_run(run, "validation").figures["accuracy"].value
    return known | {"accuracy": accuracy, "steps": int(reached.iloc[0]) if len(reached) else None}


def run_grid(data: str, options: argparse.Namespace) -> None:
    """Every training of the grid that is not in results.jsonl yet; seeds outermost, so that a part of it is of use."""
    path: Path = options.results / "results.jsonl"
    done = {_key(entry) for entry in _read(path)}
    for seed in SEEDS:
        table = None
        for norm, size, rate in product(NORMS, SIZES, RATES):
            if (data, norm, size, rate, seed) in done:
                continue
            table = table_of(data, str(options.data), seed) if table is None else table
            entry = train_once(data, table, norm, size, rate, seed, options.results / "run")
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry | {"processor": processor_name()}) + "\n")
            print(entry, flush=True)


def drift(options: argparse.Namespace) -> None:
    """Train the plain network step by step and note what each activation is given for one fixed batch."""
    images, labels = _digit_tensors()
    found: Entry = {"processor": processor_name()}
    for norm in ("none", "batch"):
        torch.manual_seed(0)
        settings = vars(RECIPES["digits"].model) | {"norm": norm, "layers": 4}
        model = find_model("plain")(1, tuple("0123456789"), settings)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
        found[norm] = [_watch(model, images[:256])]
        generator = torch.Generator().manual_seed(0)
        for _ in range(150):
            rows = torch.randint(256, len(images), (32,), generator=generator)
            loss = nn.functional.cross_entropy(model(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found[norm].append(_watch(model, images[:256]))
    (options.results / "drift.json").write_text(json.dumps(found), "utf-8")


def _digit_tensors() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None]
    images = nn.functional.interpolate((images - images.mean()) / images.std(), scale_factor=2)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order], torch.tensor(digits.target)[order]


@torch.no_grad()
def _watch(model: nn.Module, images: Tensor) -> list[tuple[float, float]]:
    """Mean and standard deviation of what each activation is given, in order, as in the paper's figure 1."""
    seen: list[tuple[float, float]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        seen.append((float(inputs[0].mean()), float(inputs[0].std())))

    hooks = [layer.register_forward_pre_hook(note) for layer in model.modules() if isinstance(layer, nn.ReLU)]
    momenta = [(layer, layer.momentum) for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer, _ in momenta:
        layer.momentum = 0.0  # looking changes nothing
    model(images)
    for layer, momentum in momenta:
        layer.momentum = momentum
    for hook in hooks:
        hook.remove()
    return seen


def show(options: argparse.Namespace) -> None:
    """A table for each data set: of each norm and batch size the best learning rate, by the median over seeds."""
    entries = _read(options.results / "results.jsonl")
    print(f"Processors: {', '.join(sorted({entry['processor'] for entry in entries}))}")
    for data in sorted({entry["data"] for entry in entries}):
        print(f"\n{data}: median (lowest to highest) validation accuracy, at the best rate; rates within a point of it")
        for norm, size in product(NORMS, SIZES):
            scores = {rate: _scores(entries, data, norm, size, rate) for rate in RATES}
            scores = {rate: values for rate, values in scores.items() if values}
            if not scores:
                continue
            best = max(scores, key=lambda rate: median(scores[rate]))
            good = [rate for rate in scores if median(scores[rate]) >= median(scores[best]) - 0.01]
            steps = [
                entry["steps"]
                for entry in entries
                if _key(entry)[:4] == (data, norm, size, best) and entry["steps"] is not None
            ]
            values = scores[best]
            print(
                f"{norm:6} batch {size:3}  n = {len(values)}  {median(values):.3f} ({min(values):.3f} to "
                f"{max(values):.3f}) at {best:g}; good: {', '.join(f'{rate:g}' for rate in good)}; steps to "
                f"{TARGETS[data]:.0%}: {median(steps) if steps else 'never'} (n = {len(steps)})"
            )
        print("\nMedian validation accuracy in per cent, by the peak learning rate:\n")
        print(page_table(entries, data, percent))
        print(f"\nMedian steps to {TARGETS[data]:.0%}; never: half of the seeds or more do not get there:\n")
        print(page_table(entries, data, steps_to_target))
    draw(entries, options.results)


def page_table(entries: list[Entry], data: str, cell: Callable[[list[Entry]], str]) -> str:
    """A table in Markdown, a row for each batch size and norm, a column for each rate, as in docs/normalization.md."""
    lines = [
        f"| batch size | normalization | {' | '.join(f'{rate:g}' for rate in RATES)} |",
        "|---|---|" + "---|" * len(RATES),
    ]
    for size, norm in product(SIZES, NORMS):
        cells = [[entry for entry in entries if _key(entry)[:4] == (data, norm, size, rate)] for rate in RATES]
        if any(cells):
            lines.append(f"| {size} | {norm} | {' | '.join(cell(found) if found else '' for found in cells)} |")
    return "\n".join(lines)


def percent(entries: list[Entry]) -> str:
    """The median accuracy; a training that diverged counts as 0."""
    return f"{100 * median(entry['accuracy'] or 0.0 for entry in entries):.1f}"


def steps_to_target(entries: list[Entry]) -> str:
    """The median of the steps, over all seeds, and how many of them get there where that is not all."""
    reached = [entry["steps"] for entry in entries if entry["steps"] is not None]
    middle = median(math.inf if entry["steps"] is None else entry["steps"] for entry in entries)
    words = "never" if math.isinf(middle) else f"{middle:g}"
    return words if len(reached) == len(entries) else f"{words} ({len(reached)} of {len(entries)})"


def draw(entries: list[Entry], results: Path) -> None:
    """Accuracy by batch size at the best rate, and the drift of the layers' inputs."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    kinds = sorted({entry["data"] for entry in entries})
    path = results / "drift.json"
    drifts = json.loads(path.read_text("utf-8")) if path.exists() else {}
    figure, axes = plt.subplots(1, len(kinds) + 2 * bool(drifts), figsize=(16, 4), layout="constrained", squeeze=False)
    for panel, data in zip(axes[0], kinds, strict=False):
        for norm in NORMS:
            best = [
                max(
                    (median(found) for rate in RATES if (found := _scores(entries, data, norm, size, rate))),
                    default=None,
                )
                for size in SIZES
            ]
            panel.plot(
                [str(size) for size in SIZES], [np.nan if value is None else value for value in best], "o-", label=norm
            )
        panel.set(title=f"{data}: accuracy at the best rate", xlabel="batch size")
        panel.legend()
    for panel, norm in zip(axes[0][len(kinds) :], ("none", "batch"), strict=False):
        if norm in drifts:
            for layer, values in enumerate(np.array(drifts[norm]).transpose(1, 0, 2)):
                panel.plot(values[:, 0], label=f"layer {layer + 1}, mean")
                panel.fill_between(
                    range(len(values)), *(values[:, 0] + side * values[:, 1] for side in (-1, 1)), alpha=0.1
                )
            panel.set(title=f"what activations are given, norm: {norm}", xlabel="step")
            panel.legend()
    figure.savefig(results / "normalization.png", dpi=110)
    print(f"\nPicture: {results / 'normalization.png'}")


def _scores(entries: list[Entry], data: str, norm: str, size: int, rate: float) -> list[float]:
    """Final accuracies over seeds; a training that diverged counts as 0."""
    return [entry["accuracy"] or 0.0 for entry in entries if _key(entry)[:4] == (data, norm, size, rate)]


def _key(entry: Entry) -> tuple[Any, ...]:
    return tuple(entry[name] for name in ("data", "norm", "batch_size", "lr", "seed"))


def _read(path: Path) -> list[Entry]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def stages(options: argparse.Namespace) -> Iterator[str]:
    """Do the stages that were asked for, in their order."""
    options.results.mkdir(parents=True, exist_ok=True)
    for name in (name for name in STAGES if name in options.stages):
        if name in RECIPES:
            run_grid(name, options)
        else:
            {"drift": drift, "show": show}[name](options)
        yield name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data" / "flowers")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    for name in stages(parser.parse_args()):
        print(f"{name}: done", flush=True)


if __name__ == "__main__":
    main()
