"""Job: what the driver asks of a peer, and what the peer answers. Standard library only: every environment has it."""

from __future__ import annotations

import argparse
import csv
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

PARTS = ("train", "validation", "test")
_UNITS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # what decides the speed of a network, the best first


class Sample(NamedTuple):
    path: str
    label: str


@dataclass(frozen=True)
class Job:
    """One training by one peer: its command line."""

    data: Path
    split: Path
    """CSV with the columns hash,part,label,group,path, as `tenfold split` writes it."""
    network: str
    """own: the peer's own, trained by `recipe`; same: Tenfold's residual network."""
    recipe: str
    precision: str
    epochs: int
    size: int
    batch_size: int
    seed: int
    out: Path
    augment: bool
    sealed: bool
    """Leave the test part alone: for timing and tuning."""
    started: float
    """When the process was started, seconds since 1970, as the driver saw it."""
    samples: dict[str, list[Sample]] = field(default_factory=dict, repr=False)

    @property
    def classes(self) -> list[str]:
        return sorted({sample.label for part in PARTS for sample in self.samples[part]})


@dataclass(frozen=True)
class Answer:
    """What a peer measured; all times in seconds."""

    parameters: int
    """Trainable numbers of the network."""
    train_seconds: float
    """In the epochs, with the validation at the end of each."""
    total_seconds: float
    """From the start of the process until the trained model was on disk."""
    seconds_per_epoch: float
    """What one epoch more would cost."""
    validation_accuracy: float
    test_accuracy: float | None


def read_job(recipes: Sequence[str]) -> Job:
    """The command line of a peer that has these recipes; the first one is the default."""
    parser = argparse.ArgumentParser(description="Train on the images of a written split, then look once at its test.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the images")
    parser.add_argument("--split", type=Path, required=True, help="CSV file: hash,part,label,group,path")
    parser.add_argument("--network", choices=("own", "same"), default="own")
    parser.add_argument("--recipe", choices=recipes, default=recipes[0], help="for --network own")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--size", type=int, default=96, help="side of the images in pixels")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--augment", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--sealed", action="store_true", help="leave the test part alone")
    parser.add_argument("--started", type=float, required=True, help="start of the process, as $(date +%%s) gives it")
    values = vars(parser.parse_args())
    if values["network"] == "same":
        values["recipe"] = "plain"
    return Job(**values, samples=read_samples(values["split"], values["data"]))


def read_samples(split: Path, data: Path) -> dict[str, list[Sample]]:
    """The images of each part, as the split file names them; an empty part leaves an image out."""
    samples: dict[str, list[Sample]] = {part: [] for part in PARTS}
    with split.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            if row["part"]:
                samples[row["part"]].append(Sample(_find(row["path"], (data, split.parent, data.parent)), row["label"]))
    return samples


def write_answer(contender: str, job: Job, packages: Sequence[str], answer: Answer) -> None:
    """Write the result as JSON, whole or not at all."""
    asked = {name: value for name, value in vars(job).items() if isinstance(value, (str, int, bool))}
    counts = {f"n_{part}": len(samples) for part, samples in job.samples.items()}
    versions = {name: version(name) for name in packages}
    result = {"contender": contender, **asked, **counts, **asdict(answer)}
    write_json(job.out, result | {"versions": versions, "processor": processor()})


def write_json(path: Path, content: Any) -> None:
    """Write aside, then rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.part")
    aside.write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")
    aside.replace(path)


def processor() -> str:
    """The processor's name, its cores and its best vector or matrix unit, where the system says so."""
    import platform

    name, units = platform.processor() or platform.machine(), ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text("utf-8", errors="replace").splitlines()
        facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        name = facts.get("model name", name)
        units = next((f", {unit}" for unit in _UNITS if unit in facts.get("flags", "").split()), "")
    return f"{name}, {os.cpu_count()} cores{units}"


def _find(path: str, folders: Sequence[Path]) -> str:
    for folder in folders:
        if (folder / path).exists():  # an absolute path stays what it is
            return str((folder / path).absolute())
    raise SystemExit(f"The split names {path}, which is in none of {', '.join(map(str, folders))}.")
