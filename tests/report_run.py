"""A run made by hand for the tests of the report: real image files, made-up but consistent predictions.

Shapes: N images, K classes, E epochs.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tenfold.check import check_table
from tenfold.estimate import Estimate
from tenfold.evaluate.evaluation import Evaluation
from tenfold.images.content import hashed
from tenfold.images.preprocess import Preprocessing
from tenfold.images.table import Table, make_samples
from tenfold.metrics.classification import classification_findings
from tenfold.metrics.unknown import HeldOut
from tenfold.recipe import Recipe
from tenfold.tasks import TASKS, Task
from tenfold.transfer.rungs import Ladder, Rung
from tenfold.transfer.verdict import Change, Verdict


class Parameter:
    """Stands for a torch parameter: the report asks only how many numbers it holds."""

    def numel(self) -> int:
        return 1234


class Network:
    def describe(self) -> str:
        return ""

    def parameters(self) -> list[Parameter]:
        return [Parameter(), Parameter()]


PREPROCESSING = Preprocessing(
    channels="rgb",
    size=64,
    canvas=74,
    fit="crop",
    filter="triangle",
    background=255,
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)


@dataclass
class FakeRun:
    """What the report reads of a Run."""

    path: Path
    table: Table
    history: pd.DataFrame
    evaluations: dict[str, dict[str, Any]] = field(default_factory=dict)
    frames: dict[str, pd.DataFrame] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    diagnosis: list[dict[str, Any]] = field(default_factory=list)
    findings: dict[str, Any] = field(default_factory=dict)
    ladder: dict[str, Any] = field(default_factory=dict)
    unknown: HeldOut | None = None
    task: Task = TASKS["classification"]
    preprocessing: Preprocessing = PREPROCESSING
    model: Network = field(default_factory=Network)
    environment: dict[str, Any] = field(
        default_factory=lambda: {
            "python": "3.11.9",
            "packages": {"torch": "2.14.0", "numpy": "2.4.0"},
            "cores": 2,
            "unreadable": {"x.png": "x.png is no image."},
            "notes": ["1 hidden file was left out: .DS_Store."],
        }
    )

    card: dict[str, Any] = field(
        default_factory=lambda: {
            "architecture": "residual",
            "weights": {"origin": "trained from scratch", "licence": None},
        }
    )

    @property
    def teller(self) -> FakeRun:
        return self

    @property
    def classes(self) -> tuple[str, ...]:
        return self.table.classes

    def predictions(self, part: str, *columns: str) -> pd.DataFrame:
        frame = self.frames[part]
        assert {*columns} <= {*frame}
        return frame


def make_run(
    folder: Path,
    classes: tuple[str, ...],
    *,
    each: int = 10,
    evaluated: tuple[str, ...] = ("validation", "test"),
    look: int = 1,
    epochs: int = 6,
    options: dict[str, Any] | None = None,
    seed: int = 0,
) -> FakeRun:
    """A run with `each` images a class and part, every one a file of the class's own color."""
    generator = np.random.default_rng(seed)
    table = make_table(folder / "images", classes, each, generator)
    run = FakeRun(folder / "run", table, make_history(epochs))
    run.path.mkdir(parents=True)
    for part in evaluated:
        evaluate(run, part, look if part == "test" else 0, options or {}, generator)
    return run


def make_table(folder: Path, classes: tuple[str, ...], each: int, generator: np.random.Generator) -> Table:
    """Every class has `each` images in each part; the first class one and a half times as many."""
    folder.mkdir(parents=True)
    sources, labels, parts = [], [], []
    for number, name in enumerate(classes):
        color = generator.integers(40, 216, 3)
        for part in ("train", "validation", "test"):
            for index in range(each + (each // 2 if number == 0 else 0)):
                noise = generator.integers(-40, 40, (30, 40, 3))
                path = folder / f"{number} {part} {index}.png"
                Image.fromarray((color + noise).clip(0, 255).astype(np.uint8)).resize((80, 60)).save(path)
                sources.append(str(path))
                labels.append(name)
                parts.append(part)
    columns: dict[str, object] = {"source": sources, "label": labels, "part": parts}
    return Table(make_samples(columns, len(sources)), classes)


def make_history(epochs: int) -> pd.DataFrame:
    """E rows, the best epoch the last but one."""
    time = np.arange(1, epochs + 1)
    best = max(epochs - 1, 1)
    return pd.DataFrame(
        {
            "epoch": time,
            "step": time * 10,
            "seconds": time * 2.5,
            "lr": 0.002 * np.sin(np.pi * time / (epochs + 1)),
            "size": np.where(time <= epochs // 2, 48, 64),
            "images_per_second": 812.0,
            "train_loss": 1.6 * np.exp(-time / 8) + 0.4,
            "train_accuracy": 1 - 0.7 * np.exp(-time / 6),
            "validation_loss": 0.3 + 0.1 * np.abs(time - best),
            "validation_accuracy": 0.9 - 0.7 * np.exp(-time / 4),
        }
    )


def evaluate(run: FakeRun, part: str, look: int, options: dict[str, Any], generator: np.random.Generator) -> None:
    """Predictions that are right most of the time, and what tenfold.metrics finds in them."""
    rows = np.flatnonzero(run.table.samples["part"] == part)
    truth = run.table.labels()[rows]
    probability = make_probability(truth, len(run.classes), generator)
    answers = (truth, probability, run.classes, np.full(len(rows), None, object))
    first, _ = classification_findings(*answers, **options)
    figures, details = classification_findings(*answers, looks=max(look, 1), **options)
    widths = [found["accuracy"].high - found["accuracy"].low for found in (figures, first)]
    run.evaluations[part] = Evaluation(part, len(rows), look, figures, details, widened=widths[0] / widths[1]).to_json()
    run.frames[part] = pd.DataFrame(
        {
            "part": part,
            "sample": rows,
            "label": [run.classes[index] for index in truth],
            "predicted": [run.classes[index] for index in probability.argmax(1)],
            "probability": list(probability),
        }
    )


def add_what_training_adds(run: FakeRun) -> None:
    """What `tenfold train` leaves where it climbs: the ladder and its verdict, held-out classes, a check; and speed."""
    sources = run.table.samples["source"]
    shutil.copyfile(sources.iloc[0], sources.iloc[-1])  # for the check to find: the same image twice, of two classes
    run.table = hashed(run.table)
    run.findings = check_table(run.table).to_json()
    right, loss = Estimate(0.9, 0.8, 0.95, 0.95, 40, "Wilson"), Estimate(0.3, 0.2, 0.4, 0.95, 40, "bootstrap")
    settings = {"backbone": "efficientnet-lite0", "head": "linear-svm", "strength": 0.5, "sharpness": 2.0}
    words = (
        "majority class",
        "nearest mean, the image and its mirror image",
        "linear SVM, the image and its mirror image",
    )
    rungs = tuple(Rung(name, settings, loss, right, 0.5) for name in words)
    left_out = ("neighbors: a sentence that says why they were not tried, as long as such sentences may well become.",)
    ladder = Ladder(rungs, 2, "the lowest log loss.", loss, right, 5, 2, 1.5, left_out)
    change = Change(loss, loss, Estimate(-0.01, -0.05, 0.03, 0.95, 40, "paired bootstrap"))
    points = Change(right, right, Estimate(0.02, -0.01, 0.05, 0.95, 40, "paired bootstrap"))
    verdict = Verdict("finetuned", "its log loss is lower.", 40, points, change, 3, 1, 62.0)
    run.ladder = ladder.to_json() | {"finetuning": {"decided": True} | verdict.to_json()}
    known = np.arange(80) % 2 == 0
    score = np.where(known, 0.7, 0.4).astype(np.float32) + np.linspace(0, 0.3, 80, dtype=np.float32)
    run.unknown = HeldOut(score, (np.arange(80) // 2 % 8).astype(np.int32), known, known & (score > 0.75))
    second = {"median": 0.0123, "least": 0.0101, "most": 0.0345}
    speed = {"stages": {"read": second, "network": second, "answer": second}, "total": second, "images": 20}
    for evaluation in run.evaluations.values():
        evaluation["details"]["speed"] = speed | {"device": "cpu", "threads": 2, "proposals_from": ""}


def make_probability(truth: NDArray[np.int64], classes: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """float64 [N, K], rows sum to 1."""
    logits = generator.normal(0, 1.2, (len(truth), classes))
    logits[np.arange(len(truth)), truth] += 2.2 + 0.8 * np.log(classes)
    logits[:, 1] += 0.6  # one class draws the others
    power = np.exp(logits)
    return power / power.sum(1, keepdims=True)
