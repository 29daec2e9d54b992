"""Selective Search against OpenCV contrib's: time on one thread, and what as many boxes cover.

    uv venv opencv && uv pip install --python opencv/bin/python opencv-contrib-python-headless
    python benchmarks/proposals.py --opencv-python opencv/bin/python --bccd DATA/bccd --flowers DATA/flowers

2026-11-27, AMD EPYC (virtual, 2 cores, other programs on the second), opencv-contrib-python-headless 5.0.0.93, OpenCV's
results against those of our version "fast"; --step 6 --mosaics 6, 2 min 20 s; medians (range):

                             ours                      OpenCV fast              OpenCV quality
    12 blood smears          0.083 s (0.079 to 0.101)  0.959 s (0.893 to 1.03)  3.16 s (2.90 to 3.35)
      boxes                  2,156 (1,545 to 2,308)    940 (638 to 1,113)       1,980 (1,272 to 2,540)
      times as fast                                    11.4 (9.8 to 12.4)       38.7 (34.6 to 40.7)
    6 mosaics of flowers     0.091 s (0.089 to 0.097)  1.016 s (1.005 to 1.06)  3.52 s (3.31 to 3.64)
      boxes                  4,170 (3,706 to 4,482)    1,728 (1,536 to 1,954)   6,146 (5,555 to 7,528)
      times as fast                                    11.1 (10.9 to 11.4)      37.0 (34.4 to 40.4)

    the smears' 151 objects, as many boxes of both (ours, OpenCV, difference with its interval):
      recall at IoU 0.5      0.980, 0.881: +0.099 (+0.039 to +0.161)   0.993, 0.947: +0.046 (+0.014 to +0.081)
      recall at IoU 0.7      0.675, 0.523: +0.152 (+0.065 to +0.245)   0.755, 0.695: +0.060 (-0.032 to +0.146)
      recall at IoU 0.8      0.298, 0.298: +0.000 (-0.076 to +0.085)   0.384, 0.411: -0.026 (-0.063 to +0.018)
      average recall         0.478, 0.409: +0.069 (+0.035 to +0.103)   0.530, 0.502: +0.028 (-0.006 to +0.060)
      MABO                   0.742, 0.714: +0.027 (-0.001 to +0.055)   0.756, 0.757: -0.001 (-0.016 to +0.016)
    the first 300 boxes:
      average recall         0.320, 0.263: +0.056 (+0.020 to +0.092)   0.320, 0.304: +0.016 (-0.025 to +0.055)
      MABO                   0.591, 0.609: -0.018 (-0.086 to +0.038)   0.591, 0.659: -0.068 (-0.129 to -0.015)

So OpenCV is ahead in one place, the MABO of a few boxes: it puts regions of the segmentation first, the paper (and we)
those of the hierarchy's top, so that the small platelets, a third of MABO, come later.

Both look at the same pixels, 500 wide: BCCD's blood smears scaled down (every --step-th of the test list), and mosaics
of four flower photos, for the time alone. OpenCV runs in an environment and a process of its own, which measures its
own time; both are warm, take turns image by image, and have one thread. Boxes are compared at equal number: of each
image the first n of both, n being the smaller of both numbers or, in the rows below, a number that both have. Intervals
are 95 %, of differences by bootstrap over images.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 500
COUNTS = (100, 300, 1000)
RESAMPLES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opencv-python", required=True, help="a Python that has opencv-contrib-python")
    parser.add_argument("--bccd", type=Path, required=True, help="BCCD in Pascal VOC's layout")
    parser.add_argument("--flowers", type=Path, help="a folder of folders of photos")
    parser.add_argument("--step", type=int, default=4, help="every which test image is taken")
    parser.add_argument("--mosaics", type=int, default=8)
    parser.add_argument("--pairs", nargs="*", default=["fast:fast", "fast:quality"], help="ours:theirs")
    options = parser.parse_args()
    cells, objects, labels = read_cells(options.bccd, options.step)
    flowers = make_mosaics(options.flowers, options.mosaics) if options.flowers else []
    print(f"{len(cells)} blood smears, {len(flowers)} mosaics, {WIDTH} pixels wide; {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(options.opencv_python, Path(folder), [*cells, *flowers])
        for pair in options.pairs:
            ours, theirs = pair.split(":")
            print(f"\ntenfold {ours} against OpenCV {theirs}")
            runs = [turn(peer, ours, theirs, place) for place in range(len(cells) + len(flowers))]
            show_times("blood smears", runs[: len(cells)])
            if flowers:
                show_times("mosaics of flowers", runs[len(cells) :])
            show_cover(runs[: len(cells)], objects, labels)
        peer.close()


class Peer:
    """OpenCV in a process of its own: it is told a version and the number of an image, and answers when it is done."""

    def __init__(self, python: str, folder: Path, images: list[np.ndarray]) -> None:
        self.images = images
        for place, image in enumerate(images):
            np.save(folder / f"{place}.npy", image)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        command = [python, __file__, "peer", str(folder), str(len(images))]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, version: str, place: int) -> dict[str, Any]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{version} {place}\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def serve(folder: Path, count: int) -> None:
    """The other process: needs OpenCV and NumPy alone."""
    import cv2

    cv2.setNumThreads(1)
    cv2.setUseOptimized(True)
    images = [np.ascontiguousarray(np.load(folder / f"{place}.npy")[..., ::-1]) for place in range(count)]

    def search(version: str, image: np.ndarray) -> np.ndarray:
        machine = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
        machine.setBaseImage(image)
        switch = {
            "fast": machine.switchToSelectiveSearchFast,
            "quality": machine.switchToSelectiveSearchQuality,
            "single": machine.switchToSingleStrategy,
        }
        switch[version]()
        return machine.process()

    search("single", images[0])
    for line in sys.stdin:
        version, place = line.split()
        begun = time.perf_counter()
        rectangles = search(version, images[int(place)])
        seconds = time.perf_counter() - begun
        print(json.dumps({"seconds": seconds, "boxes": rectangles.tolist()}), flush=True)


def turn(peer: Peer, ours: str, theirs: str, place: int) -> dict[str, Any]:
    """Both on one image: seconds and boxes of each."""
    from tenfold.proposals import selective_search

    selective_search(peer.images[place][:64, :64], ours)  # compiled or loaded before the clock runs
    answer = peer.ask(theirs, place)
    begun = time.perf_counter()
    boxes = selective_search(peer.images[place], ours, place)
    seconds = time.perf_counter() - begun
    rectangles = np.array(answer["boxes"], np.float32)
    return {
        "ours": (seconds, boxes),
        "theirs": (answer["seconds"], np.concatenate([rectangles[:, :2], rectangles[:, :2] + rectangles[:, 2:]], 1)),
    }


def show_times(name: str, runs: list[dict[str, Any]]) -> None:
    ratios = [run["theirs"][0] / run["ours"][0] for run in runs]
    print(f"  {name}: ours {spread(runs, 'ours')}; OpenCV {spread(runs, 'theirs')}")
    print(f"    times as fast: median {statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})")


def spread(runs: list[dict[str, Any]], who: str) -> str:
    seconds, boxes = [run[who][0] for run in runs], [len(run[who][1]) for run in runs]
    middle = f"{statistics.median(seconds):.3f} s ({min(seconds):.3f} to {max(seconds):.3f})"
    return f"{middle}, {statistics.median(boxes):.0f} boxes ({min(boxes)} to {max(boxes)})"


def show_cover(runs: list[dict[str, Any]], objects: list[np.ndarray], labels: list[np.ndarray]) -> None:
    """Recall and MABO of both at equal numbers of boxes, and the differences."""
    least = min(min(len(run["ours"][1]), len(run["theirs"][1])) for run in runs)
    for count in (*(count for count in COUNTS if count <= least), None):
        figures, best = {}, {}
        for who in ("ours", "theirs"):
            best[who], images, names = overlaps(runs, who, objects, labels, count)
            figures[who] = cover(best[who], images, names)
        title = f"first {count}" if count else "as many as both have"
        print(f"  {title}: figure, ours, OpenCV, difference (95 %)")
        gaps = differences(best, images, names)
        for name, value in figures["ours"].items():
            low, high = gaps[name]
            gap = value - figures["theirs"][name]
            print(f"    {name:15s} {value:.3f}  {figures['theirs'][name]:.3f}  {gap:+.3f} ({low:+.3f} to {high:+.3f})")


def overlaps(
    runs: list[dict[str, Any]], who: str, objects: list[np.ndarray], labels: list[np.ndarray], count: int | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each object's highest IoU, its image and its class."""
    from tenfold.metrics.proposals import best_overlaps

    found = []
    for run, truth in zip(runs, objects, strict=True):
        most = count or min(len(run["ours"][1]), len(run["theirs"][1]))
        found.append(best_overlaps(truth, run[who][1], (most,))[0][:, 0])
    images = np.repeat(np.arange(len(objects)), [len(truth) for truth in objects])
    return np.concatenate(found), images, np.concatenate(labels)


def cover(best: np.ndarray, images: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    from tenfold.metrics.proposals import proposal_figures

    return {name: figure.value for name, figure in proposal_figures(best, images, labels).items()}


def differences(best: dict[str, np.ndarray], images: np.ndarray, labels: np.ndarray) -> dict[str, tuple[float, float]]:
    """The middle 95 % of ours minus theirs when images are drawn anew."""
    draw = np.random.default_rng(0)
    places = [np.flatnonzero(images == image) for image in np.unique(images)]
    found = [list(plain(best, labels, np.concatenate([places[i] for i in drawn]))) for drawn in drawings(draw, places)]
    names = ["recall_50", "recall_70", "recall_80", "average_recall", "mabo"]
    ends = np.quantile(np.array(found), [0.025, 0.975], axis=0).T.tolist()
    return {name: (low, high) for name, (low, high) in zip(names, ends, strict=True)}


def drawings(draw: np.random.Generator, places: list[np.ndarray]) -> Iterator[np.ndarray]:
    for _ in range(RESAMPLES):
        yield draw.integers(0, len(places), len(places))


def plain(best: dict[str, np.ndarray], labels: np.ndarray, rows: np.ndarray) -> Iterator[float]:
    """The figures' differences, as plain means."""
    ours, theirs, names = best["ours"][rows], best["theirs"][rows], labels[rows]
    for threshold in (0.5, 0.7, 0.8):
        yield float((ours >= threshold).mean() - (theirs >= threshold).mean())
    yield float(np.maximum(2 * ours - 1, 0).mean() - np.maximum(2 * theirs - 1, 0).mean())
    yield float(np.mean([(ours - theirs)[names == name].mean() for name in np.unique(names)]))


def read_cells(folder: Path, step: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Images uint8 [H, W, 3] of the test list, WIDTH wide; the objects of each, float [Q, 4], and their classes."""
    from tenfold.boxes import sound_boxes
    from tenfold.images.content import hashed
    from tenfold.images.readers import read_table
    from tenfold.images.resize import resize
    from tenfold.proposals.stored import read_pixels

    table = hashed(read_table(folder).part("test"))
    table = table.take(range(0, len(table), step))
    assert table.boxes is not None
    images, objects, labels = [], [], []
    for row in range(len(table)):
        pixels = read_pixels(table, row)
        frame = table.boxes[table.boxes["sample"] == row]
        corners = frame[["x1", "y1", "x2", "y2"]].to_numpy()
        sound = sound_boxes(corners)
        factor = WIDTH / pixels.shape[1]
        images.append(resize(pixels, round(pixels.shape[0] * factor), WIDTH))
        objects.append(corners[sound] * factor)
        labels.append(np.array([table.classes.index(name) for name in frame["label"][sound]], np.int64))
    return images, objects, labels


def make_mosaics(folder: Path, count: int) -> list[np.ndarray]:
    """uint8 [375, 500, 3] of four photos each."""
    from PIL import Image

    paths = sorted(folder.glob("*/*.jpg"))
    draw = np.random.default_rng(0)
    mosaics = []
    for _ in range(count):
        tiles = []
        for place in draw.integers(0, len(paths), 4):
            photo = Image.open(paths[place]).convert("RGB")
            tiles.append(np.asarray(photo.resize((WIDTH // 2, 188), Image.Resampling.BICUBIC)))
        rows = [np.concatenate(tiles[:2], 1), np.concatenate(tiles[2:], 1)]
        mosaics.append(np.ascontiguousarray(np.concatenate(rows)[:375]))
    return mosaics


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        serve(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        main()
