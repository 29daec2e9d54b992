"""Detectors on one split with one evaluator: training time, AP on the test part, and images a second.

    python benchmarks/detection.py ../shared/data/bccd --results detection
    python benchmarks/detection.py ../shared/data/bccd --results detection --models faster-rcnn --seeds 2 --minutes 15
    python benchmarks/detection.py ../shared/data/bccd --results finetuned --models rcnn --settings=--detect.finetune
    python benchmarks/detection.py ../shared/data/bccd --results detection --ranks 128 64 32
    python benchmarks/detection.py ../shared/data/bccd --results detection --turns 5

The data's own parts are used (for BCCD those of its ImageSets: 205, 87 and 72 images), each model is trained by the
command line as a user would, with nothing set but the time and --settings (which want --results of their own), and the
test part is looked at once a run. Every training is a line of results.jsonl; what is there is not done again. `speed`
predicts the test images one after another, decoded before, with the network alone, proposals included where a model
needs them from outside. `memory_gib` is the largest resident size of the training's process. `--ranks` trains nothing:
it truncates the heads of the runs that are there (detect.rank; Girshick 2015, section 3.1; not of R-CNN) and shows, on
the validation part, what that changes in AP50, and the seconds that the two layers and the network take an image.
`--turns` trains nothing either: of each model's first run that is there it times each stage of a prediction over test
images, the models one after the other and again, and shows the seconds of each stage, their sum without and with
proposals from outside, and these over Faster R-CNN's.

BCCD's own lists are not clean: `tenfold check` finds a copy of a training image in the test part (1 of 72) and one in
the validation part (1 of 87), and a shot in a row in the latter.

Last figures, 27 November 2026, 2 cores of an AMD EPYC with AVX-512 bfloat16 units, PyTorch 2.14.1, nothing beside it:
Faster R-CNN, --minutes 10, seed 0, 21 epochs at 416 px: AP50 0.911 (0.875 to 0.938, over the 72 test images), AP 0.592
(0.565 to 0.618), AP75 0.688, VOC 2007 0.884; 611 s from start to the evaluated run; 11.4 images a second predicted.
n = 1. It saw squares.

28 November 2026, the same machine, nothing beside it but a noisy neighbor, images in their own shape (480 x 352 px, as
many as before): Faster R-CNN, --minutes 10, seed 0, 23 epochs: AP50 0.919 (0.885 to 0.944), AP 0.593 (0.567 to 0.619),
AP75 0.690, VOC 2007 0.888; 590 s from start to the evaluated run, 3.8 GiB; 15.4 images a second predicted. n = 1.
Wanted are 0.93 within 30 minutes of training, and 10 images a second.

More epochs are too many: on a GPU (NVIDIA H200, the same day), --epochs 64 at 416 px, the commands of this script by
hand and without its --minutes: Faster R-CNN AP50 0.889 (0.844 to 0.925) and 0.890 (0.850 to 0.920), AP 0.564 and 0.579,
seeds 0 and 1, the validation loss lowest after half of the epochs; Fast R-CNN 0.804 (0.743 to 0.856), AP 0.496, seed 0,
platelets 0.68, red cells 0.75, white cells 0.98 (background from an IoU of 0.1 on, as in its paper and here until that
day; see detection_signs.py). So a time limit allows no more than the usual epochs, 24 for these 205 images.

29 November 2026, 2 cores of an AMD EPYC without AVX-512 (Zen 3), RoI align and batch normalization as they are since,
Faster R-CNN, seed 0, --epochs 24 and one thread, other programs beside it: AP50 0.917 (0.876 to 0.947), AP 0.593, AP75
0.678; validation 0.902. With benchmarks/smear.toml (both flips, stronger colors, boxes kept from 0.6 of their area on),
256 regions and a network that learns from the start (--settings "--policy benchmarks/smear.toml --detect.regions 256
--transfer.frozen 0 --transfer.thawed 0.1 --transfer.rate-decay 0.85"), chosen by the validation part (0.909, AP 0.606
and 0.589, paired +0.017, -0.001 to +0.036; AP50 +0.007, -0.016 to +0.030): 0.925 (0.892 to 0.949), AP 0.596, AP75
0.686. The same with seed 1, --minutes 30, two threads and little beside it: 0.923 (0.880 to 0.954), AP 0.608, AP75
0.683; 24 epochs in 1,358 s, 1,426 s from start to the run, 2.7 GiB. So 0.924 of two seeds, and 0.93 is not reached.
1,000 proposals or an overlap of 0.6 change nothing on the validation part (0.899 and 0.902 to 0.902).

Seconds an image, --turns 3 over the runs of these days (Faster R-CNN seed 0, the two below), the same machine, two
threads, median (least to most): Faster R-CNN 0.106 (0.090 to 0.142), Fast R-CNN 0.225 (0.202 to 0.234) without and
0.345 (0.305 to 0.368) with proposals, R-CNN with 1,880 squares 3.53 (3.36 to 3.99) and 3.66 (3.50 to 4.15): 2.1 (1.7 to
2.3) and 32 (28 to 39) times Faster R-CNN without proposals, 3.3 (2.6 to 3.4) and 33 (29 to 41) with them, and R-CNN 16
times Fast R-CNN without them (the paper, on a GPU with VGG-16: 146). Decoded before, Faster R-CNN predicts 8.3 (7.9 to
10.3, n = 5) images a second here, where the machine with AVX-512 predicted 15.4.

--ranks 128 64 32 of Fast R-CNN, validation part, n = 1: whole AP50 0.879, 45 ms an image in the two layers, 204 in the
network; 128: 0.878, 22, 160; 64: 0.869, 17, 159; 32: 0.848, 11, 164.

Fast R-CNN and R-CNN, 28 November 2026, 2 cores of an AMD EPYC without AVX-512 (Zen 3, three to five times slower in
training than the above), n = 1 each, seed 0. Fast R-CNN with all background, --models fast-rcnn --seeds 1 --minutes 60
--settings "--detect.pool align", 24 epochs: AP50 0.884 (0.844 to 0.914, over the 72 test images; platelets 0.818, red
cells 0.845, white cells 0.989), AP 0.565 (0.538 to 0.592), AP75 0.671; validation 0.879 (0.833 to 0.914); trained in
1,652 s, 4.0 GiB. Wanted are 0.88 within 120 minutes. RoI pool, the default, was not run so long.

R-CNN, --models rcnn --seeds 1 --minutes 90 --settings=--detect.finetune: AP50 0.824 (0.778 to 0.863; platelets 0.746,
red cells 0.732, white cells 0.995), AP 0.486 (0.456 to 0.516); validation 0.811 (0.754 to 0.856); trained in 2,165 s
(five epochs of fine-tuning) and 1,047 s, with the evaluation of the validation part 72 minutes, tests beside it half of
the time; 1,880 proposals of an image, as 2,000 did not fit. Wanted are 0.82 within 120 minutes. With --minutes 60 and
three epochs 0.802 (0.754 to 0.842), validation 0.793; without fine-tuning the features of detection_signs.py have 0.739
there. Suppression is not what it misses red cells by: of that run with an overlap of 0.3, 0.4 and 0.5, on the
validation part, 0.793, 0.800 and 0.791.

29 November 2026, another machine of that kind, other trainings and tests beside it throughout. Fast R-CNN again with
seed 1, --train.threads 1: AP50 0.867 (0.826 to 0.899; platelets 0.772, red cells 0.847, white cells 0.982 on the
validation part), AP 0.559 (0.531 to 0.587), AP75 0.632; validation 0.870; 24 epochs in 2,353 s. So 0.876 of two seeds.
R-CNN again with seed 1 in 70 minutes: five epochs of fine-tuning in 1,596 s, then time for 540 proposals of an image in
place of 1,880: AP50 0.731 (0.673 to 0.784), AP 0.409, validation 0.729. So few proposals are what that costs.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tenfold.environment import processor_name

MODELS = ("faster-rcnn", "fast-rcnn", "rcnn")
FIGURES = ("ap50", "ap", "ap75", "voc2007", "ar_100")

Entry = dict[str, Any]


def train(options: argparse.Namespace, model: str, seed: int) -> Entry:
    """One training by the command line, its figures on the test part, and its speed."""
    out = options.results / "runs" / f"{model}-seed{seed}"
    shutil.rmtree(out, ignore_errors=True)
    command = ["train", options.data, "--model", model, "--seed", seed, "--minutes", options.minutes, "--out", out]
    command += [*(["--epochs", options.epochs] if options.epochs else []), *shlex.split(options.settings)]
    began = time.monotonic()
    _, memory = measured(*command)
    seconds = time.monotonic() - began
    tested = tenfold("evaluate", out, "--part", "test")
    return {
        "model": model,
        "seed": seed,
        "settings": options.settings,
        "seconds": round(seconds, 1),
        "n": tested["n"],
        "figures": {name: tested["figures"][name] for name in FIGURES if name in tested["figures"]},
        "images_per_second": round(speed(out, options.data), 2),
        "memory_gib": round(memory, 2),
        "processor": processor_name(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def speed(folder: Path, data: Path) -> float:
    """Images a second that the run predicts, one at a time, after one to warm up."""
    import numpy as np
    from PIL import Image

    from tenfold.run import load_run

    run = load_run(folder)
    sources = run.table.part("test").samples["source"].tolist()[:20]
    images = [np.asarray(Image.open(source).convert("RGB")) for source in sources]
    run.predict(images[:1])
    began = time.perf_counter()
    for image in images:
        run.predict([image])
    return len(images) / (time.perf_counter() - began)


def truncated(folder: Path, rank: int) -> dict[str, Any]:
    """What a run is worth, and how quick it is, with heads of this rank; 0: as they were trained.

    The run stays as it is: a copy of it is truncated, as detect.rank does at the end of a training.
    """
    import torch

    from tenfold.evaluate import evaluate_run
    from tenfold.models.detection.roi import truncate_heads
    from tenfold.run import load_run

    with tempfile.TemporaryDirectory() as place:
        run = load_run(shutil.copytree(folder, Path(place) / "run"))
        if rank:
            truncate_heads(run.model.heads, rank)  # type: ignore[arg-type]
        found = evaluate_run(run, "validation", speed=True)
        times: list[float] = []
        run.model.heads.hidden.register_forward_pre_hook(lambda *_: times.append(-time.perf_counter()))
        run.model.heads.hidden.register_forward_hook(lambda *_: times.append(time.perf_counter()))
        files = run.table.part("validation").samples["source"].map(Path).tolist()[:20]
        list(run.predict_files(files))
    return {
        "rank": rank,
        "ap50": {name: getattr(found.figures["ap50"], name) for name in ("value", "low", "high", "n")},
        "network": found.details["speed"]["stages"]["network"]["median"],
        "layers": sum(times) / len(files),
        "threads": torch.get_num_threads(),
    }


def show_ranks(options: argparse.Namespace) -> None:
    """A line a rank of each Fast R-CNN and Faster R-CNN among the runs."""
    for folder in sorted((options.results / "runs").glob("fast*-rcnn-seed*")):
        for rank in (0, *options.ranks):
            found = truncated(folder, rank)
            ap50 = "{value:.3f} ({low:.3f} to {high:.3f}, n = {n})".format(**found["ap50"])
            layers, network = 1000 * found["layers"], 1000 * found["network"]
            times = f"{layers:.1f} ms an image in the two layers, {network:.0f} ms in the network"
            print(f"{folder.name}, rank {rank or 'whole'}: AP50 {ap50}; {times}, {found['threads']} threads")


def show_turns(options: argparse.Namespace) -> None:
    """The seconds of each stage of a prediction, models in turns, and how many times Faster R-CNN's their sums are."""
    import torch

    from tenfold.evaluate.speed import measure_speed
    from tenfold.run import load_run

    folders = {model: sorted((options.results / "runs").glob(f"{model}-seed*")) for model in MODELS}
    runs = {model: load_run(found[0]) for model, found in folders.items() if found}
    tables = {model: run.table.part("test") for model, run in runs.items()}
    turns: dict[str, list[dict[str, float]]] = {model: [] for model in runs}
    for _ in range(options.turns):
        for model, run in runs.items():
            stages = measure_speed(run, tables[model])["stages"]
            turns[model].append({name: found["median"] for name, found in stages.items()})
    print(f"{processor_name()}, {torch.get_num_threads()} threads; of {options.turns} turns median (least to most)")
    for model, own in turns.items():
        told = [f"{name} {spread([1000 * turn[name] for turn in own])} ms" for name in own[0]]
        print(f"{model} ({runs[model].path.name}): {', '.join(told)}")
        for words, left_out in (("without proposals from outside", ("proposals",)), ("with them", ())):
            sums, base = (
                [sum(seconds for name, seconds in turn.items() if name not in left_out) for turn in turns[which]]
                for which in (model, MODELS[0] if MODELS[0] in turns else model)
            )
            times = spread([one / other for one, other in zip(sums, base, strict=True)])
            print(f"    {words} {spread([1000 * one for one in sums])} ms, {times} times Faster R-CNN's")


def spread(values: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def tenfold(*words: Any) -> Any:
    """What a command answers as JSON."""
    return measured(*words)[0]


def measured(*words: Any) -> tuple[Any, float]:
    """What a command answers as JSON, and the most memory that its process held, GiB."""
    command = [sys.executable, "-m", "tenfold", *(str(word) for word in words), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        answer = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)  # of this child alone, unlike RUSAGE_CHILDREN
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return json.loads(answer), usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 2**30


def show(entries: list[Entry]) -> None:
    """A line a training."""
    for entry in entries:
        figures = ", ".join(
            f"{name} {found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
            for name, found in entry["figures"].items()
        )
        pace = f"{entry['images_per_second']:g} images/s, {entry['processor']}"
        pace += (
            f", {entry['memory_gib']:.1f} GiB in training" if "memory_gib" in entry else ""
        )  # earlier ones have none
        print(f"{entry['model']} seed {entry['seed']}: {figures}; n = {entry['n']}, {entry['seconds']:.0f} s, {pace}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, required=True, help="the folder of results.jsonl and the runs")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS[:2])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=15.0, help="of each training")
    parser.add_argument("--epochs", type=int, default=0, help="at most; 0: the usual number, as far as it fits")
    parser.add_argument("--settings", default="", help="further options of tenfold train, after a =")
    parser.add_argument("--ranks", nargs="+", type=int, help="train nothing; truncate what is there to these")
    parser.add_argument("--turns", type=int, help="train nothing; time the stages of what is there so many times")
    options = parser.parse_args()
    if options.turns:
        show_turns(options)
        return
    if options.ranks:
        show_ranks(options)
        return
    options.results.mkdir(parents=True, exist_ok=True)
    file = options.results / "results.jsonl"
    entries = [json.loads(line) for line in file.read_text("utf-8").splitlines()] if file.exists() else []
    done = {(entry["model"], entry["seed"]) for entry in entries}
    for seed in range(options.seeds):
        for model in options.models:
            if (model, seed) in done:
                continue
            entries.append(train(options, model, seed))
            with file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps(entries[-1], ensure_ascii=False) + "\n")
    show(entries)


if __name__ == "__main__":
    main()
