"""The check of 100,000 images: what the search by cells finds of what all pairs would give, time and memory.

    until python benchmarks/scale.py WORK; do :; done     about 13 minutes; a stage that is done is not repeated

2026-11-24, Intel Xeon (virtual, 2 cores), CIFAR-10's 60,000 images and 40,000 of Tiny ImageNet, one run each. Seconds
are the processor's, descriptors included: other programs ran beside some stages. Memory is the peak of the process,
of which 1.9 GiB at 100,000 are those of loading the signatures.

    images      by cells             all pairs
    10,000       4 s   1.1 GiB        3 s   1.1 GiB
    25,000      13 s   1.2 GiB       11 s   1.2 GiB
    50,000      30 s   1.4 GiB       42 s   1.4 GiB
    100,000     69 s   1.9 GiB      173 s   1.9 GiB     33 and 82 s on the clock, with nothing beside them

    Of 3,387 pairs that all pairs gave and the judge called copies, the cells had 3,349, 98.9 % (98.5 to 99.2), and 20
    others; of 3,596 images in any copy they named 3,590, 99.8 % (99.6 to 99.9). What is lost are nearly all crops.
    With 16 cells a query instead of 24 and 32 descriptors instead of 64 it was 96.3 % of the pairs, in 22 s.

    `tenfold check` of all, nothing known before: 300 s on the clock and 4.2 GiB, run in turns of 140 s with other
    programs; again, from the cache: 13 s. It named 3,510 images as copies.
    Since then (2026-11-27) the signatures are held 2.4 times at most while copies are sought, not 5.4 times (traced at
    20,000 images): 1.4 GiB less at 100,000, by count; the run of all was not repeated.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.check.candidates import Candidates, describe, find_candidates
from tenfold.check.duplicates import LIKENESS, NEAREST
from tenfold.check.judge import judge_pairs
from tenfold.check.signature import Signatures, sign_image, stack_signatures
from tenfold.environment import processor_name
from tenfold.images.decode import decode_image

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIZES = (10_000, 25_000, 50_000, 100_000)
SHARDS = ("cifar10/data/test", "cifar10/data/train", "tiny-imagenet/data/train")
JUDGED, STAGES_OF_JUDGING = 250_000, 4  # pairs that are judged in one stage, and how many there are

Work = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="a folder for what was found; about 2 GB")
    parser.add_argument("--stage", choices=STAGES, help="this stage, in this process")
    options = parser.parse_args()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    if options.stage:
        found = STAGES[options.stage](work)
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        (work / f"{options.stage}.json").write_text(json.dumps({**found, "GiB": round(memory, 2)}))
        return 0
    for stage in STAGES:
        if not (work / f"{stage}.json").exists():
            # A process of its own, whose peak of memory is that of the stage.
            return subprocess.run([sys.executable, __file__, str(work), "--stage", stage]).returncode or 1
    print(f"{processor_name()}, {os.cpu_count()} cores")
    for stage in STAGES:
        print(stage, (work / f"{stage}.json").read_text())
    return 0


def write_images(work: Path) -> Work:
    """CIFAR-10's test and training images, then Tiny ImageNet's, as one Parquet file, and the signatures of all."""
    from concurrent.futures import ThreadPoolExecutor

    import pyarrow as pa
    import pyarrow.parquet as parquet

    paths = [path for shard in SHARDS for path in sorted(DATA.glob(f"{shard}-*.parquet"))]
    tables = [parquet.read_table(path, columns=["image", "label"]) for path in paths]
    images = [item["bytes"] for table in tables for item in table.column("image").to_pylist()][: SIZES[-1]]
    labels = [
        label + place // 60_000 * 10
        for place, label in enumerate(label for table in tables for label in table.column("label").to_pylist())
    ][: SIZES[-1]]
    stored = pa.table({"image": [{"bytes": item, "path": None} for item in images], "label": labels})
    parquet.write_table(stored, work / "images.parquet")
    with ThreadPoolExecutor() as pool:
        signed = list(pool.map(lambda item: sign_image(decode_image(item, channels="rgb")), images))
    np.savez(work / "signatures.npz", **stack_signatures(signed).to_arrays())
    return {"images": len(images)}


def signatures(work: Path, images: int) -> Signatures:
    """Of the different images among so many, an even sample of all."""
    with np.load(work / "signatures.npz", allow_pickle=False) as arrays:
        every = Signatures.from_arrays(arrays)
    some = every.take(np.linspace(0, len(every) - 1, images).astype(np.int64))
    _, rows = np.unique(np.ascontiguousarray(some.digest).view("V16").ravel(), return_index=True)
    return some.take(np.sort(rows))


def candidates(images: int, by_cells: bool) -> Callable[[Path], Work]:
    """Find the candidates of so many images, by cells or by the product of all."""

    def find(work: Path) -> Work:
        views = signatures(work, images).view
        begun, processor = time.perf_counter(), time.process_time()
        described = describe(views)
        seen = time.perf_counter()
        found = find_candidates(
            described, None, nearest=NEAREST, likeness=LIKENESS, limit=0 if by_cells else sys.maxsize
        )
        done = time.perf_counter()
        np.savez(work / f"{'cells' if by_cells else 'all'}-{images}.npz", **vars(found))
        return {
            "images": len(views),
            "describe, s": round(seen - begun, 1),
            "search, s": round(done - seen, 1),
            "processor, s": round(time.process_time() - processor, 1),
            "pairs": len(found.first),
        }

    return find


def judged(place: int) -> Callable[[Path], Work]:
    """Judge some of the pairs that either search found, by their signatures."""

    def judge(work: Path) -> Work:
        pairs = either(work)
        some = pairs.take(np.arange(place * JUDGED, min((place + 1) * JUDGED, len(pairs.first))))
        signed = signatures(work, SIZES[-1])
        begun = time.perf_counter()
        copies = judge_pairs(some, signed, signed, None)
        spent = time.perf_counter() - begun
        np.save(work / f"copies-{place}.npy", np.array([(pair.first, pair.second) for pair in copies]).reshape(-1, 2))
        return {"pairs": len(some.first), "copies": len(copies), "s": round(spent, 1)}

    return judge


def load(work: Path, name: str) -> Candidates:
    with np.load(work / f"{name}-{SIZES[-1]}.npz", allow_pickle=False) as arrays:
        return Candidates(**arrays)


def keys(pairs: Candidates) -> NDArray[np.int64]:
    return pairs.first * SIZES[-1] + pairs.second


def either(work: Path) -> Candidates:
    """The pairs that all pairs give, and then those that only the cells give."""
    exact, quick = load(work, "all"), load(work, "cells")
    more = quick.take(np.flatnonzero(~np.isin(keys(quick), keys(exact))))
    return Candidates(*(np.concatenate([vars(exact)[name], vars(more)[name]]) for name in vars(exact)))


def recall(work: Path) -> Work:
    """Of the pairs that are copies, which of the two searches had which."""
    assert len(either(work).first) <= STAGES_OF_JUDGING * JUDGED, "some pairs were not judged; raise JUDGED"
    found = np.concatenate([np.load(path) for path in sorted(work.glob("copies-*.npy"))])
    copies = found[:, 0] * SIZES[-1] + found[:, 1]
    exact, quick = (np.isin(copies, keys(load(work, name))) for name in ("all", "cells"))
    images = {int(image) for image in found.ravel()}
    named = {int(image) for image in found[quick].ravel()}
    return {
        "copies among all pairs": int(exact.sum()),
        "of these by cells": int((exact & quick).sum()),
        "only by cells": int((quick & ~exact).sum()),
        "images in copies": len(images),
        "of these images by cells": len(named),
    }


def whole_check(work: Path) -> Work:
    """`tenfold check` of all images with an empty cache, and again with what it left there."""
    environment = {**os.environ, "TENFOLD_CACHE": str(work / f"cache-{time.time():.0f}")}
    command = [sys.executable, "-m", "tenfold", "check", str(work / "images.parquet"), "--json"]
    times = []
    for _ in range(2):
        begun = time.perf_counter()
        done = subprocess.run(command, env=environment, check=False, stdout=subprocess.PIPE)
        times.append(round(time.perf_counter() - begun, 1))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    kinds = {item["kind"]: item["images"] for item in found["findings"]}
    memory = round(used.ru_maxrss / 2**20, 2)
    return {"s": times, "processor, s": round(used.ru_utime + used.ru_stime), "GiB of it": memory, **kinds}


STAGES: dict[str, Callable[[Path], Work]] = {
    "images": write_images,
    **{f"cells {size}": candidates(size, True) for size in SIZES},
    **{f"all {size}": candidates(size, False) for size in SIZES},
    **{f"judge {place}": judged(place) for place in range(STAGES_OF_JUDGING)},
    "recall": recall,
    "check": whole_check,
}


if __name__ == "__main__":
    sys.exit(main())
