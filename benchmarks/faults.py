"""What goes wrong on real machines, provoked: a training killed at random moments must end with the same bits.

    python benchmarks/faults.py [--kills 50] [--seed 0]

A child process trains on 200 of the built-in digits and is killed (SIGKILL; on Windows TerminateProcess) at a moment
drawn evenly from its whole life: while it imports, decodes, trains in the middle of an epoch, writes a checkpoint or
its last files. The training then goes on in this process. Counted is how often the final weights equal those of an
undisturbed training, bit by bit, and where the kills fell.

Last figures, 24 November 2026, 2 cores of an Intel Xeon with AMX: 50 of 50 with the same bits; 19 died with a
checkpoint, 10 before the first step, 9 before the run's folder was whole, 3 after the model was written, 9 had ended.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from tenfold.environment import processor_name
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.recipe import Recipe
from tenfold.split import split_table
from tenfold.train import loop, resume_training, train_model

CHECKPOINT_SECONDS = 0.3  # often, so that many kills fall into the writing of one
CHILD = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
if __name__ == "__main__":
    import faults
    faults.train(sys.argv[1])
"""


def job() -> tuple[Table, Recipe]:
    """What is trained: a small network on 20 images a class, on the CPU."""
    recipe = Recipe().change(
        data={"path": "digits"},
        image={"size": 16},
        model={"name": "plain", "width": 16, "layers": 3},
        train={"epochs": 60, "precision": "float32", "threads": 1, "device": "cpu"},
    )
    return split_table(read_table("digits"), per_class=20), recipe


def train(folder: str) -> None:
    """The whole job, as the child does it."""
    loop.CHECKPOINT_SECONDS = CHECKPOINT_SECONDS
    train_model(*job(), folder)


def kill_once(folder: Path, seconds: float) -> str:
    """Start the job, kill it after so many seconds, go on; gives where it was when it died."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)])
    time.sleep(seconds)
    ended = child.poll() is not None
    child.kill()
    child.wait()
    if not (folder / "recipe.toml").exists():
        train(str(folder))
        return "before the run's folder was whole"
    if (folder / "model.safetensors").exists():
        where = "after the end" if ended else "after the model was written"
    else:
        where = (
            "with a checkpoint" if (folder / "checkpoint" / "state.safetensors").exists() else "before the first step"
        )
    resume_training(folder)
    return where


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = np.random.default_rng(options.seed)
    places: Counter[str] = Counter()
    same = 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        start = time.monotonic()
        subprocess.run([sys.executable, "-c", CHILD, str(root / "undisturbed")], check=True)
        life = time.monotonic() - start
        expected = (root / "undisturbed" / "model.safetensors").read_bytes()
        print(f"{processor_name()}; an undisturbed training lives {life:.1f} s", flush=True)
        for kill in range(options.kills):
            seconds = float(draw.uniform(0, life))
            place = kill_once(root / str(kill), seconds)
            equal = (root / str(kill) / "model.safetensors").read_bytes() == expected
            places[place] += 1
            same += equal
            print(
                f"kill {kill + 1} after {seconds:.2f} s, {place}: {'same bits' if equal else 'OTHER BITS'}", flush=True
            )
    print(f"{same} of {options.kills} with the same bits; killed " + ", ".join(f"{n} {p}" for p, n in places.items()))
    return 0 if same == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
