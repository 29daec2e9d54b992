"""How soon a command answers: `import tenfold`, `tenfold --help`, one image predicted, several times in turns.

    python benchmarks/startup.py RUN IMAGE [--times 7]

Seconds from the start of a process to its end, on a warm disk: each is done once before it counts. PyTorch's own import
is timed beside them, as most of a prediction is that.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

from tenfold.environment import processor_name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("image")
    parser.add_argument("--times", type=int, default=7)
    options = parser.parse_args()
    commands = {
        "Python alone": ["-c", ""],
        "import tenfold": ["-c", "import tenfold"],
        "tenfold --help": ["-m", "tenfold", "--help"],
        "import torch": ["-c", "import torch"],
        "tenfold predict RUN IMAGE": ["-m", "tenfold", "predict", options.run, options.image, "--device", "cpu"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(1 + options.times):
        for name, words in commands.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    print(
        f"{processor_name()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}, {options.times} times in turns"
    )
    for name, (_, *counted) in seconds.items():
        print(f"{name:26} {statistics.median(counted):6.3f} s ({min(counted):.3f} to {max(counted):.3f})")


if __name__ == "__main__":
    main()
