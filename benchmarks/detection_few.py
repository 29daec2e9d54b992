"""Few images with boxes: which detector is best, and what more steps and the images' own shape are worth to it.

    python benchmarks/detection_few.py ../shared/data/bccd --results few --size 416 --seeds 3
    python benchmarks/detection_few.py ../shared/data/bccd --results steps --settings faster-rcnn before slower square
    python benchmarks/detection_few.py ../shared/data/bccd --results steps8 --settings faster-rcnn before --images 8

Some images of the data's own training part teach, 20 of its validation part are looked at meanwhile, and the others of
that are what AP50 and AP are of; its test part is not looked at. All that is not named in SETTINGS is as Tenfold
chooses it, but for the image's size. Every training is a line of results.jsonl; what is there is not done again.
Differences to the first of --settings are paired, on the same images. Each run lies in a folder of its own, so that
intervals are of one look, and those of differences of two.

Last figures, 28 November 2026, one core of an AMD EPYC with other programs beside it, PyTorch 2.14.1, BCCD, 224 px, 67
images, seed 0, n = 1 each. Of 20 training images: before (180 steps) AP50 0.785 (0.737 to 0.826), AP 0.458 (0.432 to
0.484), 255 s; faster-rcnn (600 steps of the same 1,200 images) AP50 0.800 (0.723 to 0.864), AP 0.481 (0.446 to 0.516),
252 s; slower AP50 0.796 (0.718 to 0.861), AP 0.464 (0.425 to 0.503), so the rate does not go by the size of the batch.
Of 8: before (60 steps of 480 images) AP50 0.572 (0.518 to 0.625), AP 0.269 (0.238 to 0.302), 264 s; faster-rcnn (500
steps of 1,000 images) AP50 0.783 (0.685 to 0.862), AP 0.459 (0.412 to 0.506), 505 s. All of these saw squares.

The same day, --settings faster-rcnn square --seeds 3, 20 images drawn anew for each seed: faster-rcnn (256 x 192 px,
the shape of the images) AP50 0.794, 0.828, 0.823, mean 0.815, AP 0.480, 0.473, 0.494, mean 0.482; square (224 x 224)
AP50 0.800, 0.804, 0.819, mean 0.808, AP 0.481, 0.464, 0.487, mean 0.477; 200 to 234 s each. So the shape is worth less
than the draw of the images, -0.6 to +2.4 points, and costs nothing.

Which of the three, the same day, one core of an AMD EPYC without AVX-512 (Zen 3) with other programs beside it, 20
training images, --size 416 (480 x 352), seed 0, n = 1 each, 67 images, differences paired: faster-rcnn AP50 0.872
(0.818 to 0.912), AP 0.525 (0.488 to 0.562), 755 s; fast-rcnn 0.817 (0.759 to 0.863), 0.473 (0.442 to 0.505), 1,231 s,
to Faster -0.056 (-0.096 to -0.016), -0.052 (-0.080 to -0.023); rcnn, without fine-tuning, 0.682 (0.607 to 0.749), 0.377
(0.341 to 0.415), 2,376 s, to Faster -0.190 (-0.248 to -0.133), -0.148 (-0.183 to -0.112). Faster R-CNN is the best of
them. The intervals are over the images judged, not over the draw of the 20. Afterwards, --settings fast-rcnn aligned:
aligned (RoI align) 0.835 (0.774 to 0.883), 0.498 (0.461 to 0.534), 737 s; to fast-rcnn +0.019 (-0.024 to +0.062),
+0.024 (-0.001 to +0.049): not measurable here, in the direction of detection_signs.py. More ran beside fast-rcnn and
rcnn than beside the other two, so the seconds rank nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

import tenfold
from tenfold.environment import processor_name
from tenfold.evaluate import compare_boxes, evaluate_run
from tenfold.images.table import Table
from tenfold.run import load_run

SETTINGS: dict[str, dict[str, dict[str, Any]]] = {
    "faster-rcnn": {},
    "fast-rcnn": {"model": {"name": "fast-rcnn"}},
    "rcnn": {"model": {"name": "rcnn"}},
    "aligned": {"model": {"name": "fast-rcnn"}, "detect": {"pool": "align"}},  # RoI align, not its paper's pool
    "before": {"train": {"batch_size": 8, "epochs": 60}},  # as was chosen for few images: of 20 they are 180 steps
    "slower": {"train": {"lr": 2e-4}},  # the rate as the root of the batch size
    "square": {"image": {"aspect": 1.0}},  # and not the shape of the images
}
_WATCHED = 20  # validation images that are looked at during the training


def subset(data: Path, count: int, seed: int) -> Table:
    """So many training images, _WATCHED for validation, and as "test" the others of the data's own validation part."""
    table = tenfold.read_table(data)
    parts, draw = table.samples["part"].to_numpy(object), np.random.default_rng(seed)
    training = draw.permutation(np.flatnonzero(parts == "train"))[:count]
    others = draw.permutation(np.flatnonzero(parts == "validation"))
    new = np.full(len(parts), None, object)
    new[training], new[others[:_WATCHED]], new[others[_WATCHED:]] = "train", "validation", "test"
    return table.assign(part=new)


def train(options: argparse.Namespace, name: str, seed: int) -> dict[str, Any]:
    """One training and what it is worth on the images that it has not seen."""
    recipe = tenfold.Recipe().change(
        model={"name": "faster-rcnn"},
        image={"size": options.size},
        train={"seed": seed, "threads": options.threads, "precision": "float32"},
    )
    recipe = recipe.change(**SETTINGS[name])
    began = time.monotonic()
    run = tenfold.train_model(subset(options.data, options.images, seed), recipe, place(options, name, seed))
    seconds = time.monotonic() - began
    found = evaluate_run(run, "test")
    return {
        "settings": name,
        "seed": seed,
        "images": options.images,
        "size": options.size,
        "steps": int(run.history["step"].max()) if len(run.history) else 0,
        "seconds": round(seconds),
        "figures": {each: found.figures[each].to_json() for each in ("ap50", "ap")},
        "processor": processor_name(),
    }


def place(options: argparse.Namespace, name: str, seed: int) -> Path:
    """The folder of a run."""
    return Path(options.results / f"{name}-{seed}" / "run")


def against(options: argparse.Namespace, name: str, seed: int) -> str:
    """How far a run is from that of the first settings, on the same images; empty where that is not there."""
    first, own = (place(options, each, seed) for each in (options.settings[0], name))
    if first == own or not first.exists():
        return ""
    found = compare_boxes(load_run(own), load_run(first), "test").figures
    told = ", ".join(f"{each} {found[each].difference}" for each in ("ap50", "ap"))
    return f"; to {options.settings[0]}: {told}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, required=True, help="the folder of results.jsonl and the runs")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS)[:3])
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "results.jsonl"
    entries = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    done = {(entry["settings"], entry["seed"]) for entry in entries}
    for seed in range(options.seeds):
        for name in options.settings:
            if (name, seed) not in done:
                entries.append(train(options, name, seed))
                with file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(entries[-1]) + "\n")
    for entry in entries:
        told = against(options, entry["settings"], entry["seed"])
        figures = ", ".join(
            f"{name} {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f}, n = {found['n']})"
            for name, found in entry["figures"].items()
        )
        print(
            f"{entry['settings']}, seed {entry['seed']}: {figures}; {entry['steps']} steps, {entry['seconds']} s{told}"
        )


if __name__ == "__main__":
    main()
