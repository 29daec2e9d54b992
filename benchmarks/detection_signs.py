"""The R-CNN papers' comparisons once more: which of them come out as in the papers on other, fewer images.

    python benchmarks/detection_signs.py ../shared/data/bccd --results signs --epochs 10
    python benchmarks/detection_signs.py ../shared/data/bccd --results signs --stages features signs show

One seed, the data's own training and validation part; the test part is not looked at, as these are choices. Each stage
goes on where it was stopped and does nothing twice:

- features: what R-CNN's network, without fine-tuning, sees in the proposals of each image. Those of training images go
  into Tenfold's cache, where a training of R-CNN finds them again, those of validation images into the results' folder.
- signs: SVMs, box regressions and softmaxes fitted to these features, and what they find judged: AP50 and AP, means
  over the classes with 95 % intervals over the images, and the difference to the baseline on the same resamples. The
  baseline is R-CNN as Tenfold has it: SVMs with negatives below an IoU of 0.3, hard ones mined, box regression, all
  proposals. Each sign changes one thing: negatives below 0.5, or only what touches no object of a class; boxes as they
  were proposed; a softmax over the classes and the background; the first 1,000 or 300 proposals, in fit and prediction.
- pool: two trainings of Fast R-CNN by the command line with that seed and as many epochs, --detect.pool pool and align.
- show: the table (detection_signs_show.py, with what the papers say).

The softmax (R-CNN, appendix B) is a logistic regression on the same regions, those with an IoU of 0.5 or more being
objects. Objects count twice, as for the SVMs, and all the background three times what they do together, as in the
paper's batches of 32 and 96; the penalty and the length of the features are the SVMs' too (C = 0.001, 20 on average).

Intervals are over the images alone. Two trainings differ by more than what was changed, even with one seed, so that a
small difference of `pool` says little where its interval excludes 0; and of seven differences at 95 % each, one does so
by chance in up to three of ten such tables. Features of validation images are kept in float16, as those of training
images are, where `tenfold evaluate` has float32.

Last figures, 28 November 2026, one core of an AMD EPYC with AVX-512 bfloat16 units, a training on the other; BCCD, 205
training and 87 validation images, 2,000 proposals, features 2.8 s an image (811 s in all; 2.2 GiB and 0.9 GiB), each
sign 6 to 21 s, the softmax 155; AP50 and AP, and the difference to the baseline with its 95 % interval:

    baseline                  0.739 (0.677 to 0.793), 0.436 (0.398 to 0.475)
    negatives below 0.5       -0.011 (-0.038 to +0.016), -0.003 (-0.020 to +0.014): not measurable here
    negatives only at 0       -0.042 (-0.068 to -0.016), -0.045 (-0.066 to -0.024): as in the paper
    without box regression    -0.064 (-0.101 to -0.027), -0.150 (-0.171 to -0.129): as in the paper
    softmax, not SVMs         +0.031 (-0.000 to +0.062), +0.017 (-0.003 to +0.036): not measurable here
    the first 1,000           -0.002 (-0.034 to +0.029), -0.019 (-0.037 to -0.000): not measurable here
    the first 300             -0.136 (-0.179 to -0.094), -0.097 (-0.123 to -0.070): as in the paper

The stage pool, the same day, 2 cores of an AMD EPYC without AVX-512 (Zen 3), now and then tests beside it, by ten
minutes each then, background from an IoU of 0.1 on as in the paper: pool 0.799 (0.745 to 0.844), 0.480, ten epochs;
align, which is slower, 0.819 (0.766 to 0.863), 0.493, seven epochs: +0.020 (-0.014 to +0.055), +0.013 (-0.009 to
+0.035): not measurable here. By hand, align with all background (detect.background_from 0, the default since), six
epochs: 0.846 (0.794 to 0.887), 0.495; to align as above +0.027 (-0.002 to +0.055), +0.001 (-0.015 to +0.017), and 193
detections of nothing, not 373.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from detection import measured
from detection_signs_regions import (
    Entry,
    Seen,
    Setup,
    Teller,
    file_of,
    find_features,
    note,
    read_entries,
    set_up,
    training_regions,
    write_arrays,
)
from detection_signs_show import show
from numpy.typing import NDArray

from tenfold.estimate import Units, units_of
from tenfold.metrics.detection import match_part
from tenfold.metrics.detection_estimates import Matches, compare_detectors, mean_estimates, measure, resampled
from tenfold.metrics.detection_matching import Detections
from tenfold.models.detection import RCNN
from tenfold.models.detection.coding import PROPOSAL_WEIGHTS, decode_boxes
from tenfold.models.detection.detector import decode_detections
from tenfold.models.detection.region_fits import (
    NEGATIVE_BELOW,
    NORM,
    Linear,
    Regions,
    fit_moves,
    fit_svms,
    length_scale,
)
from tenfold.models.detection.roi import best_boxes
from tenfold.tasks import table_objects

STAGES = ("features", "signs", "pool", "show")
FIGURES = ("ap50", "ap")
TOUCHING = float(np.finfo(np.float32).tiny)
"""An IoU, float32, below it is none."""
OBJECT_FROM, OBJECT_WEIGHT, BACKGROUND_TIMES = 0.5, 2.0, 3.0
C, ROUNDS, NEVER = 1e-3, 1000, -10.0  # of the softmax; the last is the bias of a class without a region


@dataclass(frozen=True)
class Setting:
    """One way to fit and to predict."""

    below: float = NEGATIVE_BELOW
    """The IoU below which negatives of an SVM begin."""
    moves: bool = True
    """Whether boxes are regressed."""
    softmax: bool = False
    first: int = 0
    """So many proposals of an image; 0: all."""


def settings_of(options: argparse.Namespace) -> dict[str, Setting]:
    """Each sign's setting, the baseline first."""
    fewer = [count for count in sorted(options.fewer, reverse=True) if count < options.proposals]
    return {
        "baseline": Setting(),
        "below-0.5": Setting(below=0.5),
        "below-0": Setting(below=TOUCHING),
        "no-moves": Setting(moves=False),
        "softmax": Setting(softmax=True),
        **{f"first-{count}": Setting(first=count) for count in fewer},
    }


# Signs.


def judge_signs(options: argparse.Namespace, setup: Setup) -> None:
    """Fit, predict and judge each sign that is not among the results."""
    train, rows = setup.rows("train"), setup.rows("validation")
    done = {key_of(entry) for entry in read_entries(options)}
    mine = {name: (name, options.proposals, len(train), len(rows)) for name in settings_of(options)}
    if all(key in done for key in mine.values()):
        return
    if not all(file_of(options, setup, row).exists() for row in rows.tolist()):
        raise SystemExit("The features of validation images are not there yet; run the stage features first.")
    fits, part = Fits(training_regions(setup), len(setup.model.classes)), setup.prepared.table.take(rows)
    units = units_of(part.samples["group"].to_numpy(object), len(part))
    baseline: Matches | None = None
    for name, setting in settings_of(options).items():
        if name != "baseline" and mine[name] in done:
            continue
        began, file = time.monotonic(), options.results / "found" / f"{'-'.join(map(str, mine[name]))}.npz"
        facts: Entry = {}
        if mine[name] not in done or not file.exists():
            fitted, facts = fits.fit(name, setting)
            write_arrays(file, predict([file_of(options, setup, row) for row in rows.tolist()], setup.model, fitted))
        with np.load(file) as arrays:
            found = Detections(**arrays)
        matches = match_part(table_objects(part)[0], found, setup.model.classes, len(part)).matches
        baseline = baseline or matches
        if mine[name] not in done:
            entry = {"stage": "signs", "sign": name, **judged(matches, baseline, units), **facts}
            note(options, setup, entry, time.monotonic() - began)


def judged(matches: Matches, baseline: Matches, units: Units) -> Entry:
    """The figures of a sign, and by how much it is better than the baseline; of that itself its figures."""
    if matches is baseline:
        figures = mean_estimates(resampled(partial(measure, matches), units), matches, units, 0.95)
        return {"figures": {name: figures[name].to_json() for name in FIGURES}}
    both = compare_detectors(matches, baseline, units)
    return {
        "figures": {name: both[name].first.to_json() for name in FIGURES},
        "difference": {name: both[name].difference.to_json() for name in FIGURES},
        "p": {name: both[name].p for name in FIGURES},
    }


def key_of(entry: Entry) -> tuple[object, ...]:
    return tuple(entry.get(name) for name in ("sign", "proposals", "train", "judged"))


class Fitted(NamedTuple):
    """What detections are made with."""

    setting: Setting
    scores: Linear
    """[K, D], or of a softmax [K + 1, D], the background last."""
    moves: Linear | None


class Fits:
    """All that is fitted to the regions of the training images."""

    def __init__(self, images: Sequence[Regions], classes: int) -> None:
        self.images, self.classes = images, classes
        self.moves: dict[int, Linear] = {}  # by how many proposals they learn from

    def fit(self, name: str, setting: Setting) -> tuple[Fitted, Entry]:
        """What a sign predicts with, and how many regions that was fitted to."""
        images = [replace(first_of(image, setting.first), negative_below=setting.below) for image in self.images]
        if setting.softmax:
            scores, facts = fit_softmax(images, self.classes)
        else:
            scores = fit_svms(images, self.classes, told(name))
            facts = {"negatives": [sum(len(image.negatives(kind)) for image in images) for kind in range(self.classes)]}
        if setting.moves and setting.first not in self.moves:
            self.moves[setting.first] = fit_moves(images, self.classes, told(name))
        return Fitted(setting, scores, self.moves[setting.first] if setting.moves else None), facts


def fit_softmax(images: Sequence[Regions], classes: int) -> tuple[Linear, Entry]:
    """A logistic regression over the classes and the background, which comes last: weights [K + 1, D]."""
    from sklearn.linear_model import LogisticRegression

    scale, every = length_scale([image.whole for image in images]), [region_kinds(image, classes) for image in images]
    kept = [image.whole[own >= 0].astype(np.float32) for image, own in zip(images, every, strict=True)]
    rows, kinds = np.concatenate(kept), np.concatenate([own[own >= 0] for own in every])
    rows *= scale
    is_object = kinds < classes
    each = OBJECT_WEIGHT * BACKGROUND_TIMES * is_object.sum() / max((~is_object).sum(), 1)
    fitted = LogisticRegression(C=C, max_iter=ROUNDS).fit(rows, kinds, np.where(is_object, OBJECT_WEIGHT, each))
    weight = np.zeros((classes + 1, rows.shape[1]), np.float32)
    bias = np.full(classes + 1, NEVER, np.float32)
    known = fitted.classes_[-len(fitted.coef_) :]  # of two it has the second's row alone, the first's being 0
    bias[fitted.classes_], weight[known] = 0, fitted.coef_ * scale
    bias[known] = fitted.intercept_
    counts = {"objects": int(is_object.sum()), "background": int((~is_object).sum())}
    return Linear(weight, bias), {**counts, "rounds": int(fitted.n_iter_.max()), "c": C, "length": NORM}


def region_kinds(image: Regions, classes: int) -> NDArray[np.int64]:
    """The class of each region by appendix B, int64 [R]: K for the background, -1 for what is of a box to ignore."""
    kinds = np.full(len(image.boxes), classes)
    kinds[image.overlap[:, image.ignore].max(1, initial=0.0) >= OBJECT_FROM] = -1
    own, label = image.overlap[:, ~image.ignore], image.label[~image.ignore]
    if len(label):
        near = own.max(1) >= OBJECT_FROM
        kinds[near] = label[own.argmax(1)[near]]
    return kinds


def first_of(image: Regions, count: int) -> Regions:
    """The image with its first proposals alone, or all for 0, and its true boxes."""
    if not 0 < count < image.proposed:
        return image
    rows = np.concatenate([np.arange(count), np.arange(image.proposed, len(image.boxes))])
    return replace(image, boxes=image.boxes[rows], whole=image.whole[rows], places=image.places[rows])


@torch.no_grad()
def predict(files: Sequence[Path], model: RCNN, fitted: Fitted) -> dict[str, NDArray[Any]]:
    """What is found in the images of the files, numbered by their place, as Detections: in pixels of the originals."""
    every = []
    for file in files:
        with np.load(file) as arrays:
            every.append(found_in(Seen(**arrays), model, fitted))
    image = np.repeat(np.arange(len(every)), [len(found["label"]) for found in every])
    boxes, label, score = (np.concatenate([found[name] for found in every]) for name in ("boxes", "label", "score"))
    return Detections(image, boxes.astype(np.float64), label, score.astype(np.float64))._asdict()


def found_in(seen: Seen, model: RCNN, fitted: Fitted) -> dict[str, NDArray[np.generic]]:
    """What is found in an image, as `RCNN.detect` and `RCNN.decode` do."""
    setting, scores, moves = fitted
    boxes, whole, places = (torch.from_numpy(array[: setting.first or None]).float() for array in seen[:3])
    logits = whole @ torch.from_numpy(scores.weight).T + torch.from_numpy(scores.bias)
    score = logits.softmax(1)[:, :-1] if setting.softmax else logits.sigmoid()
    deltas = torch.zeros(len(boxes), len(model.classes), 4)
    if moves is not None:
        flat = places @ torch.from_numpy(moves.weight).flatten(0, 1).T + torch.from_numpy(moves.bias).flatten()
        deltas = flat.view_as(deltas)
    moved = decode_boxes(deltas, boxes[:, None], PROPOSAL_WEIGHTS)
    height, width = seen.size.tolist()
    found = best_boxes(score, moved, torch.zeros(len(boxes)), 1, (height, width), model.limits)
    return decode_detections(found, torch.from_numpy(seen.affine)[None], 1.0)[0]


def told(name: str) -> Callable[[str, int, int], None]:
    tell = Teller()
    return lambda what, done, of: tell(f"{name}: {what}, {done} of {of}")


# Pooling.


def judge_pooling(options: argparse.Namespace) -> None:
    """Train Fast R-CNN with both ways to cut regions out, and judge them by the validation part."""
    done = {(entry["sign"], entry["epochs"]) for entry in read_entries(options) if entry["stage"] == "pool"}
    folder = options.results / "runs" / f"{options.epochs}-epochs"
    for way in ("pool", "align"):
        if (way, options.epochs) in done:
            continue
        out = folder / way
        began = time.monotonic()
        if not (out / "model.safetensors").exists():
            shutil.rmtree(out, ignore_errors=True)
            wanted = ("--epochs", options.epochs, "--detect.pool", way, "--out", out)
            measured("train", options.data, "--model", "fast-rcnn", "--seed", 0, *wanted)
        tested, _ = measured("evaluate", out, "--part", "validation")
        entry: Entry = {"stage": "pool", "sign": way, "epochs": options.epochs, "judged": tested["n"]}
        entry["figures"] = {each: tested["figures"][each] for each in FIGURES}
        if way == "align":
            both, _ = measured("compare", out, folder / "pool")
            entry["difference"] = {each: both["figures"][each]["difference"] for each in FIGURES}
            entry["p"] = {each: both["figures"][each]["p"] for each in FIGURES}
        note(options, None, entry, time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, required=True, help="the folder of signs.jsonl, features and runs")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--proposals", type=int, default=2000, help="of an image")
    parser.add_argument("--fewer", nargs="*", type=int, default=[1000, 300], help="proposals of the last signs")
    parser.add_argument("--epochs", type=int, default=24, help="of each training of Fast R-CNN")
    parser.add_argument("--train-images", type=int, default=0, help="so many, drawn; 0: all")
    parser.add_argument("--judged-images", type=int, default=0, help="so many validation images, drawn; 0: all")
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    setup = set_up(options) if {"features", "signs"} & {*options.stages} else None
    if setup and "features" in options.stages:
        find_features(options, setup)
    if setup and "signs" in options.stages:
        judge_signs(options, setup)
    if "pool" in options.stages:
        judge_pooling(options)
    if "show" in options.stages:
        show(read_entries(options))


if __name__ == "__main__":
    main()
