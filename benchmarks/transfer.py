r"""What few images are enough for: pretrained networks, the plain baseline, fastai, and networks without pretraining.

    python benchmarks/transfer.py --results results --fastai-python /tmp/venv-fastai/bin/python \
        --faces ../shared/data/weights/mobilefacenet/MobileFaceNet.onnx

Run it with Tenfold's own Python on a machine that does nothing else; benchmarks/peers/README.md makes fastai's.
Stages, in this order; name some (`--stages flowers show`) to run only those:

    tune     settings for few images, those of transfer_tune.py, on the validation part, 2 seeds      about 130 min
    flowers  10 and 50 images a class at 160 px, seeds 0 to 4: --contenders, in turns                 about 75 min
    fastai   fastai's recipes on the validation part, the best of them on the test part, same images  about 60 min
    orl      40 people, 20 random halves of 5 images each: from scratch and on a face network         about 40 min
    cifar    CIFAR-10, 50 images a class, from scratch, 3 samples x 3 seeds, the whole test part      about 500 min
    show     the tables from what is there                                                            2 s

Flowers: one split into 70, 15 and 15 %, written once (`tenfold split`). A training is given so many images of each
class out of its training part, those that `--split.per-class N --seed K` draws, and nothing else: no validation part,
so that whatever is chosen is chosen inside those few images. With --validated the stage flowers keeps that part, by
which `tenfold train` then chooses too; its rows say so. The test part is looked at once a training, after it; the stage
tune leaves it out altogether and looks at the validation part in its place.

Seconds are those of the process that trains, from its start to the trained model on disk: wall time, and processor time
of all its threads and children. For flowers and fastai each begins with an empty cache, for the other stages they share
one; the kernel of augmentation is compiled before. `--no-check`, since the split was made with the check, and no peer
has one. What is done already is skipped, so that the benchmark can be stopped and started at will.

The trainings of these figures lie in benchmarks/results/transfer_epyc.jsonl, those of CIFAR-10 without the images that
each told wrong.

Last figures, 28 November 2026, 2 cores of an AMD EPYC with AVX-512 bfloat16 units, nothing beside it; flowers, 550 test
images, n = 5 draws of training images, per cent, mean +- standard deviation (least to most), wall seconds:

    10 a class   finetuned 79.3 +- 4.2 (72.9 to 83.5), 35 s, 59 of processors; frozen 74.6 +- 2.2, 9 s; plain 76.1 +-
                 2.9, 9 s; fastai, its best recipe, long, 66.8 +- 2.6, 56 s
    50 a class   finetuned 88.2 +- 0.7 (87.6 to 89.3), 78 s, 142 of processors (150 at most); frozen 85.2 +- 0.8, 14 s;
                 plain 84.5 +- 1.4, 12 s; fastai, long, 79.8 +- 1.5, 140 s

Wanted are 80 and 88 below 180 s of processors: 0.7 points are lacking with 10 a class, within the draw of the images.
The same command on another day, other programs beside it at first: finetuned 79.4 and 87.7. With 10 a class the ladder
of frozen took the nearest class mean four times of five, as with 50 images nothing was better by more than a standard
error, and lost 1.5 points to plain, logistic regression without a choice; so it takes the lowest log loss since
(head_choice.py). The stage tune: transfer_tune.py.

Since then, 29 November 2026, 2 cores of an AMD EPYC without AVX-512 (Zen 3), other programs beside it, the same draws:
`tenfold train DATA` with no option (default; without a validation part it is the frozen network that the ladder chose,
logistic regression nine times of ten): 10 a class 76.3 +- 3.6 (70.5 to 79.6), 50 a class 85.2 +- 0.9 (84.5 to 86.5), 26
to 85 s of processors.

Against fastai, paired by image and by training, points with 95 % interval, and the share of its wall time (wanted:
lower end above -1, at most 0.2): frozen +7.8 (4.2 to 11.4), 0.16 with 10 a class and +5.4 (2.9 to 7.8), 0.10 with 50;
finetuned +12.5 (7.3 to 17.9) and +8.4 (6.4 to 10.4), 0.60 and 0.56. fastai's recipe was chosen on the validation part
by one draw (--tune-seeds 1: book, longer, long 61.0, 60.3, 62.6 and 76.4, 80.0, 80.6; 5, 13 and 25 epochs); it computed
in bfloat16, 4 % faster here than float32. The longest was the best, so that one longer still may tell more, in more
time.

200 flowers in five folders, an empty cache, nothing beside it, `tenfold train flowers200 --model frozen`, check,
decoding, ladder and evaluation included (28 November 2026, n = 1): 12.5 s, wanted below 60; `--minutes 0.7`,
fine-tuning included: 44 s.

ORL faces, 28 November 2026, the same machine, other programs beside it at times, 20 halves of 200 images, mean and
standard deviation (least to most), wanted 99.3: from scratch 99.9 +- 0.2 % (99.5 to 100), 112 to 179 s of processors,
--orl-scratch "... --train.threads 1" (one half with both threads and nothing beside it: 85 s); the face network,
frozen, under a linear SVM 99.9 +- 0.2 % (99.0 to 100), 10 to 28 s of processors. Size and epochs of the one and the
views of the other were chosen on halves of other seeds (100 and 101, 200 to 219): there two views had 99.2 +- 0.6, ten
99.98 +- 0.1, and LDA, the nearest mean or logistic regression on two no more than the SVM. With two views the stage had
98.8 +- 0.6 (12 halves).

CIFAR-10, 28 November 2026, two trainings at a time, tests beside them, one network for 1,500 epochs (options of the
entries): the first of the three samples, seeds 0 and 1, 66.0 and 66.4 % of the 10,000 test images, 3,205 and 3,207 s of
processors. Wanted are 66.5 within 3,600. With the settings below, three networks side by side, it has not been run: all
nine trainings are to come; on an AMD EPYC without AVX-512 (Zen 3), which has no units for bfloat16, an epoch of one
network takes 10 s of one core in place of 2.1 (20 epochs in 203 s; the convolutions ran at 58 of the 70 GFLOP a second
that a matrix product there has), so that an hour does not do. Seen while looking for settings, the same day (another
500 images, judged by 3,000 further images of the training part, one standard error 0.9 points; n = 1 each, seconds of
one core). What the options do not say was tried in a copy of models/residual.py; the colors of "wide" (WIDE below,
which the stage trains with) were drawn from 31 steps, as TrivialAugment's are:

    what the images are changed by, width 32, batches of 16, 150 epochs, three stages of blocks, about 150 s, accuracy
    and log loss: `standard` 53.4 %, 1.410; `strong` 52.4, 1.394; affine changes, color, a cut out square and mixup
    54.9, 1.389; TrivialAugment, shift, flip, a square, mixup 53.7, 1.329; RandAugment (2 of magnitude 10) so 55.1,
    1.324; AutoAugment, found on all of CIFAR-10, so 56.8, 1.256; the same affine changes, one or two of
    TrivialAugment's colors, a square, mixup and CutMix for half of the images (below: "wide") 56.6, 1.226
    network, with "wide", 150 epochs: a fourth stage, its map 4 x 4, 60.2, 1.182 (253 s); a fifth 58.5, 1.230; width 64
    with no stage wider than 256, batches of 32, 59.0, 1.224 (405 s)
    with dropout 0.3, four stages 60.1, 1.159, another seed 59.8, 1.181; the last stage's map 8 x 8, as the product has
    it since, 62.2, 1.143 (297 s); averages in place of strides, --model.pool average, 62.5, 1.119 (303 s), averages
    before the convolutions 61.5, 1.154 (242 s); 8 x 8 and averages 63.2, 1.111 (335 s). With both of these SiLU 62.8,
    1.111; two blocks a stage 63.3, 1.100 (626 s); the third stage's map 16 x 16 61.0, 1.143 (446 s); decay 0.2 in place
    of 0.05 59.5, 1.195; every image mixed 61.2, 1.156; AutoAugment found on ImageNet in place of "wide" 62.0, 1.156.
    Averages, but 4 x 4, three networks side by side, the mean of their probabilities, 63.7, 1.068 (827 s); 4 x 4 and
    strides, the map's largest values beside its means, 59.5, 1.183
    8 x 8 and averages, in as much time: one network for 600 epochs 65.0, 1.121 (1,221 s), --model.members 2 for 300
    65.9, 1.077 (1,184 s)
    epochs, with "wide", 4 x 4 and strides: width 32 500 epochs 62.8, 1.163 (815 s); width 64 as above 600 epochs 62.2,
    1.217 (1,649 s); width 32, dropout 0.3, 1,000 epochs 63.3, 1.109 (1,624 s)
    optimizer, with the affine changes, 150 epochs, four stages: Muon 56.0, AdamW 52.4, batches of 64 in place of 16
    53.2; three stages: Muon 54.9, SGD 50.6, rate 0.015 in place of 0.04 53.0, decay 0.3 in place of 0.05 52.5. AdamW
    in a bare loop of PyTorch, three stages of width 64, batches of 50, much the same changes: 52.4

Looking from both sides at the end gave nothing. So what it takes are many kinds of changes, maps that are not halved
too early, averages in place of strides, small batches, epochs, and several networks.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from dataclasses import replace
from pathlib import Path

from transfer_run import Benchmark, Plan
from transfer_show import show
from transfer_tune import CANDIDATES

from tenfold.augment.kernel import compile_passes

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
STAGES = ("tune", "flowers", "fastai", "orl", "cifar", "show")
CONTENDERS = {
    "plain": "--model frozen --transfer.views center --transfer.head logistic",
    "frozen": "--model frozen",
    "frozen, views": "--model frozen --transfer.views crops --transfer.crop 128 --transfer.spread",
    "finetuned": "--model finetuned",
    "default": "",
}
"""What `tenfold train` is told for the flowers, by name: the plain baseline first."""
RECIPES = ("book", "longer", "long")
"""Those of peers/fastai_transfer.py."""
FACES = """name = "faces"
op = [
  { shift = 0.08 }, { zoom = { both = 0.12 } }, { rotate = 10 }, { shear = { x = 6, y = 6 } },
  { perspective = 0.2, probability = 0.5 }, { flip = "horizontal", probability = 0.5 },
  { brightness = 0.2 }, { contrast = 0.2 },
]
"""
"""A policy for faces: small affine changes, and none that cuts a part of a face off."""
WIDE = """name = "wide"
op = [
  { shift = 0.1 }, { zoom = 0.2 }, { rotate = 15 }, { shear = { x = 8, y = 8 } },
  { flip = "horizontal", probability = 0.5 },
  { choose = [1, 2], of = [
    { identity = true }, { autocontrast = true }, { equalize = true },
    { brightness = 0.99 }, { saturation = 0.99 }, { contrast_about_mean = 0.99 }, { sharpness = 0.99 },
    { posterize = { low = 2, high = 8, steps = 31 } }, { solarize = { low = 0, high = 255, steps = 31 } },
  ] },
  { cutout = [0.2, 0.5], probability = 0.5 },
]
mix = { mixup = 0.4, cutmix = 1.0, share = 0.5 }
"""
"""Many kinds of changes, for a few small photos: what the settings seen for CIFAR-10 are called "wide" for."""
CIFAR = (
    "--model residual --model.pool average --model.dropout 0.3 --model.members 3 --batch-size 16 --epochs 550 "
    "--train.threads 1 --train.precision bfloat16"
)
"""One thread, so that two trainings can run at once; as many epochs as an hour of it allows."""
ORL_SCRATCH = "--model residual --size 96 --image.fit pad --epochs 96"
ORL_FACES = (
    "--model frozen --transfer.backbone mobilefacenet --image.fit pad --size 128 --transfer.views crops "
    "--transfer.crop 112"
)
"""Chosen on other halves than those of the stage: see above."""


def tune(bench: Benchmark) -> None:
    """Candidates one after the other, the cheapest and likeliest first, on the validation part."""
    for words, options in CANDIDATES.items():
        if bench.options.candidates and words not in bench.options.candidates:
            continue
        for per_class in bench.options.per_class:
            for seed in range(bench.options.tune_seeds):
                flowers_training(bench, Plan("tune", words, options, per_class, seed, seed, judged="validation"))


def flowers(bench: Benchmark) -> None:
    """The contenders in turns, so that a slow hour hits them all."""
    for seed in range(bench.options.seeds):
        for per_class in bench.options.per_class:
            for name in bench.options.contenders:
                plan = Plan("flowers", name, CONTENDERS[name], per_class, seed, seed)
                flowers_training(bench, replace(plan, validated=bench.options.validated))


def fastai(bench: Benchmark) -> None:
    """Each recipe on the validation part; the best of them, by the mean, on the test part."""
    if not bench.options.fastai_python:
        raise SystemExit("The stage fastai needs --fastai-python; benchmarks/peers/README.md says how to make it.")
    tuned = range(bench.options.tune_seeds)
    for per_class in bench.options.per_class:
        scores = {}
        for name in RECIPES:
            plans = [Plan("fastai", "fastai", name, per_class, seed, seed, judged="validation") for seed in tuned]
            scores[name] = sum(flowers_training(bench, plan) for plan in plans)
        best = max(scores, key=lambda name: scores[name])
        for seed in range(bench.options.seeds):
            flowers_training(bench, Plan("fastai", "fastai", best, per_class, seed, seed))


def orl(bench: Benchmark) -> None:
    """Five images of each person to train on and five to be judged by, dealt anew for each sample."""
    data = bench.options.data / "orl-faces"
    policy = bench.options.results / "faces.toml"
    policy.write_text(FACES, "utf-8")
    ways = {"scratch": f"{bench.options.orl_scratch} --policy {shlex.quote(str(policy))}"}
    if bench.options.faces:
        ways["face network"] = (
            f"{bench.options.orl_faces} --transfer.weights {shlex.quote(str(bench.options.faces))} --transfer.head svm"
        )
    for sample in range(bench.options.samples):
        halves = ("--validation", "0%", "--test", "50%", "--seed", sample, "--no-check")
        split = bench.written(f"orl-{sample}", data, *halves)
        for name, options in ways.items():
            bench.run(Plan("orl", name, options, 5, sample, sample), data, split)


def cifar(bench: Benchmark) -> None:
    """Three samples of the training images, each trained on with each seed."""
    data = bench.options.data / "cifar10"
    policy = bench.options.results / "wide.toml"
    policy.write_text(WIDE, "utf-8")
    options = f"--policy {shlex.quote(str(policy))} {bench.options.cifar}"
    for seed in bench.options.cifar_seeds:
        for sample in range(3):
            drawn = ("--validation", "0%", "--per-class", 50, "--seed", sample, "--no-check")
            split = bench.written(f"cifar-{sample}", data, *drawn)
            bench.run(Plan("cifar", "scratch", options, 50, sample, seed), data, split)


def flowers_training(bench: Benchmark, plan: Plan) -> float:
    """One training on the flowers, or on the folder that is given in their place; its accuracy, 0 where it failed."""
    data = bench.options.flowers or bench.options.data / "flowers"
    plan = replace(plan, size=bench.options.size)
    return bench.run(plan, data, bench.few(plan, data))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with flowers/, orl-faces/ and cifar10/")
    parser.add_argument("--flowers", type=Path, help="another folder in place of the flowers")
    parser.add_argument("--split", type=Path, help="of the flowers, by `tenfold split`; without it one is written")
    parser.add_argument("--results", type=Path, required=True, help="folder for results, splits, runs and logs")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--contenders", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--candidates", nargs="+", choices=list(CANDIDATES), help="of the stage tune; without it all")
    parser.add_argument("--per-class", nargs="+", type=int, default=[10, 50])
    parser.add_argument("--size", type=int, default=160, help="pixels of the flowers")
    parser.add_argument("--seeds", type=int, default=5, help="of the flowers: 0, 1, ..., each with images of its own")
    parser.add_argument("--validated", action="store_true", help="flowers: trainings may choose by the validation part")
    parser.add_argument("--tune-seeds", type=int, default=2)
    parser.add_argument("--samples", type=int, default=20, help="halves of the faces")
    parser.add_argument("--faces", type=Path, help="MobileFaceNet's weights; without them only from scratch")
    parser.add_argument("--orl-scratch", default=ORL_SCRATCH, help="options of tenfold train")
    parser.add_argument("--orl-faces", default=ORL_FACES, help="options of tenfold train")
    parser.add_argument("--cifar", default=CIFAR, help="options of tenfold train")
    seeds = "of CIFAR-10's trainings; some here and others beside, into --results of their own"
    parser.add_argument("--cifar-seeds", nargs="+", type=int, default=[0, 1, 2], help=seeds)
    parser.add_argument("--fastai-python", type=Path, help="without it the stage fastai cannot run")
    parser.add_argument("--fastai-precision", choices=("float32", "bfloat16"), default="float32", help="the faster one")
    parser.add_argument("--weights", type=Path, help="of EfficientNet-Lite0, for fastai; without it the package's")
    bench = Benchmark(parser.parse_args())
    bench.options.results.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped; the same command goes on."))  # ends the child too
    compile_passes()  # once for this machine, so that no training waits for it
    stages = {"tune": tune, "flowers": flowers, "fastai": fastai, "orl": orl, "cifar": cifar}
    for name in STAGES:
        if name == "show" and name in bench.options.stages:
            show(bench.entries)
        elif name in bench.options.stages:
            stages[name](bench)
    for failure in bench.failures:
        print(f"Failed: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
