"""How well the head of a frozen network tells images of unknown classes: ORL faces, 30 people known, 10 strangers.

    python benchmarks/unknown.py ../shared/data/weights/mobilefacenet/MobileFaceNet.onnx [--splits 20]

In each split 30 people are learnt from 5 images each, mirrored views averaged; probes are their other 5 and all 10 of
10 strangers. What `tenfold train --model frozen` does is done: the strength is chosen inside those 150 images, people
are held out in ten folds, and thresholds are those of the people who were held out: the one that keeps 10 % or 1 % of
their images, as a run's report has it, and the one that `tenfold predict --false-accept 10%` takes. DIR and FAR are
what came out on the probes; "kept" says in how many splits FAR was 10 % or less.

Seen on 27 November 2026, mean +- standard deviation over 20 splits, per cent (n = 150 and 100 probes a split):

                                    DIR          FAR          kept
    mean      at 10 %             94.1 +- 2.6   9.2 +- 5.0  13 of 20
    mean      at 1 %              85.4 +- 6.2   1.3 +- 2.1  20 of 20
    mean      --false-accept 10%  90.4 +- 3.5   4.5 +- 5.0  17 of 20
    svm       at 10 %             97.2 +- 1.5  11.2 +- 6.3   9 of 20
    svm       at 1 %              93.0 +- 3.2   1.4 +- 2.3  20 of 20
    svm       --false-accept 10%  95.7 +- 1.7   4.2 +- 5.1  18 of 20
    logistic  at 10 %             96.7 +- 1.7  11.7 +- 6.9   9 of 20
    logistic  at 1 %              91.4 +- 4.4   2.1 +- 3.7  18 of 20
    logistic  --false-accept 10%  94.6 +- 2.3   5.0 +- 6.4  17 of 20

What keeps 10 % of the people who were held out keeps it of others in half of the splits, as it must; FAR of 10 people
varies by itself. Ten folds of people or thirty made no difference.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.environment import processor_name
from tenfold.images.content import hashed
from tenfold.images.prepared import prepare_table
from tenfold.images.readers import read_table
from tenfold.metrics.open_set import threshold_at
from tenfold.metrics.unknown import HeldOut, known_score
from tenfold.models.backbones import make_backbone
from tenfold.models.heads import choose_strength, fit_head
from tenfold.models.views import find_views
from tenfold.recipe import Recipe
from tenfold.train import choose_settings, start_preprocessing
from tenfold.transfer import Extractor, table_features
from tenfold.transfer.unknown import Fit, hold_out

Vectors = NDArray[np.float32]
Numbers = NDArray[np.int64]

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "shared" / "data"))
HEADS = ("mean", "svm", "logistic")
PEOPLE, KNOWN, IMAGES = 40, 30, 5
WAYS = ("at 10 %", "at 1 %", "--false-accept 10%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="MobileFaceNet.onnx")
    parser.add_argument("--splits", type=int, default=20)
    asked = parser.parse_args()
    features, who = faces(asked.weights)
    print(f"{processor_name()}, {asked.splits} splits, mean +- standard deviation, per cent")
    for head in HEADS:
        rates = np.array([split(features, who, head, seed) for seed in range(asked.splits)])  # [splits, 3, 2]
        for way, name in enumerate(WAYS):
            found = rates[:, way]
            dir_, far = (f"{100 * own.mean():5.1f} +- {100 * own.std():4.1f}" for own in found.T)
            kept = int((found[:, 1] <= 0.1).sum())
            print(f"    {head:9} {name:19} DIR {dir_}  FAR {far}  kept {kept} of {asked.splits}", flush=True)


def faces(weights: str) -> tuple[Vectors, Numbers]:
    """Features float32 [400, 2, 128] and people int64 [400]."""
    backbone, origin = make_backbone("mobilefacenet", Path(weights))
    recipe = Recipe().change(model={"name": "frozen"}, transfer={"backbone": "mobilefacenet", "weights": weights})
    table = hashed(read_table(DATA / "orl-faces"))
    preprocessing = start_preprocessing(choose_settings(recipe, table))
    prepared = prepare_table(table, preprocessing)
    extractor = Extractor(backbone, origin.sha256, preprocessing, find_views("flip"))
    return table_features(prepared, extractor), prepared.table.labels()


def split(features: Vectors, who: Numbers, head: str, seed: int) -> list[tuple[float, float]]:
    """DIR and FAR at each of WAYS."""
    rng = np.random.default_rng(seed)
    people = rng.permutation(PEOPLE)
    rows = [rng.permutation(np.flatnonzero(who == person)) for person in people]
    train = np.concatenate([own[:IMAGES] for own in rows[:KNOWN]])
    mated, strange = np.concatenate([own[IMAGES:] for own in rows[:KNOWN]]), np.concatenate(rows[KNOWN:])
    labels, truth = np.repeat(np.arange(KNOWN), IMAGES), np.repeat(np.arange(KNOWN), IMAGES)
    strength = choose_strength(head, features[train], labels, KNOWN).strength
    fitted = fit_head(head, features[train], labels, KNOWN, strength)
    with torch.no_grad():
        known, unknown = (fitted(torch.from_numpy(features[probes])).numpy() for probes in (mated, strange))
    folds = np.tile(np.arange(IMAGES), KNOWN)
    held = hold_out(features[train], labels, folds, np.arange(len(train)), Fit(head, KNOWN, strength, 1.0, False))
    assert held is not None
    right = known.argmax(1) == truth
    return [
        (float(np.mean(right & (known_score(known) >= at))), float(np.mean(known_score(unknown) >= at)))
        for at in thresholds(held)
    ]


def thresholds(held: HeldOut) -> tuple[float, float, float]:
    """One for each of WAYS."""
    return threshold_at(held.strangers, 0.1), threshold_at(held.strangers, 0.01), held.threshold(0.1)


if __name__ == "__main__":
    main()
