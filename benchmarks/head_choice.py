"""Which head to take on the features of one network: what rules of choice give on images that chose nothing.

    python benchmarks/head_choice.py ../shared/data/flowers --per-class 10 20 50 --size 160

Of each class --most images take part, the first of a shuffle. For each draw so many of a class are what there is to
learn from: all heads of the ladder answer them out of fold, one is chosen by each rule, fitted to all of them, and
judged by the images that are left. The rules:

    lowest      the lowest log loss out of fold, as the ladder chooses on one network
    simplest    the first on the ladder within one standard error of it, as it chose until 29 November 2026
    logistic    logistic regression, its strength chosen

Last figures, 29 November 2026, 2 cores of an AMD EPYC without AVX-512 (Zen 3), 8 draws, EfficientNet-Lite0, two views,
mean accuracy in per cent and log loss of the images that are left (of tiny20 with 30 a class 5 draws). sw: summer and
winter of Yosemite as two folders (trainA and trainB), --most 400; flowers: --most 160 --size 160; tiny20: 20 classes of
Tiny ImageNet, --most 80:

                   lowest         simplest       logistic
    sw, 5          54.4  0.687    52.9  0.685    59.3  0.664
    sw, 10         59.0  0.666    53.2  0.687    64.7  0.636
    sw, 30         69.3  0.588    65.5  0.620    70.2  0.579
    flowers, 10    76.3  0.669    75.9  0.681    76.3  0.669
    flowers, 20    81.2  0.527    80.8  0.544    81.7  0.520
    flowers, 50    85.7  0.402    85.6  0.402    85.9  0.396
    tiny20, 5      77.9  0.773    77.9  0.773    77.9  0.773
    tiny20, 10     82.0  0.613    82.0  0.613    82.0  0.613
    tiny20, 30     85.6  0.501    85.5  0.505    85.6  0.501

So the simplest is never better and at times guesses (the majority class of sw, 6 of 8 draws with 5 and 10); logistic
regression without a choice was the best of all three, as each choice among few images is one by luck too.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from tenfold.estimate import units_of
from tenfold.images.content import hashed
from tenfold.images.prepared import prepare_table
from tenfold.images.readers import read_table
from tenfold.images.table import Table
from tenfold.models.backbones import make_backbone
from tenfold.models.heads import Answers, best_answers, fit_head, held_out_answers
from tenfold.models.views import find_views
from tenfold.recipe import Recipe
from tenfold.train.choose import choose_settings, start_preprocessing
from tenfold.transfer.choice import choose_candidate
from tenfold.transfer.features import Extractor, table_features
from tenfold.transfer.ladder import FEW, FOLDS, LADDER, fold_numbers
from tenfold.transfer.rungs import Exam

COSTS = {"lowest": [0] * len(LADDER), "simplest": list(range(len(LADDER)))}
"""What a rule says that each head costs, in the ladder's order."""
RULES = (*COSTS, "logistic")

Tested = tuple[float, float]
"""Accuracy and log loss."""


def drawn(table: Table, each: int, seed: int) -> NDArray[np.int64]:
    """Places of so many images of each class."""
    random, labels = np.random.default_rng(seed), table.labels()
    return np.concatenate([random.permutation(np.flatnonzero(labels == k))[:each] for k in range(len(table.classes))])


def features_of(table: Table, size: int) -> NDArray[np.float32]:
    """What the built-in network gives for all images."""
    transfer = {"backbone": "efficientnet-lite0"}
    chosen = choose_settings(Recipe().change(model={"name": "frozen"}, transfer=transfer, image={"size": size}), table)
    backbone, origin = make_backbone(chosen.transfer.backbone)
    look = find_views(chosen.transfer.views), chosen.transfer.crop
    extractor = Extractor(backbone, origin.sha256, start_preprocessing(chosen), *look)
    return table_features(prepare_table(table, extractor.preprocessing, workers=2), extractor)


def chosen_by(rule: str, answers: list[list[Answers]], exam: Exam) -> tuple[str, Answers]:
    """The head and its answers that a rule takes."""
    if rule in LADDER:
        return rule, best_answers(answers[LADDER.index(rule)])
    columns = [(place, own) for place, all_own in enumerate(answers) for own in all_own]
    costs = np.array([COSTS[rule][place] for place, _ in columns], np.int64)
    losses = np.stack([own.loss for _, own in columns], 1)
    place, taken = columns[choose_candidate(losses, costs, exam.units, exam.widen)]
    return LADDER[place], taken


def judged(
    head: str, taken: Answers, features: NDArray[np.float32], table: Table, learned: NDArray[np.int64]
) -> Tested:
    """Accuracy and log loss of a head that is fitted to some images, over the others."""
    labels, rest = table.labels(), np.setdiff1d(np.arange(len(table)), learned)
    sharpness, classes = taken.sharpness or 1.0, len(table.classes)
    fitted = fit_head(head, features[learned], labels[learned], classes, taken.strength, sharpness=sharpness)
    with torch.inference_mode():
        logits = fitted(torch.from_numpy(features[rest])).double()
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels[rest]))
    return float((logits.argmax(1).numpy() == labels[rest]).mean()), float(loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a folder with a folder for each class")
    parser.add_argument("--per-class", type=int, nargs="+", default=[10, 20, 50])
    parser.add_argument("--most", type=int, default=160, help="images of a class that take part")
    parser.add_argument("--size", type=int, default=0, help="pixels; 0: the usual size")
    parser.add_argument("--draws", type=int, default=8)
    options = parser.parse_args()
    table = hashed(read_table(options.data))
    table = table.take(np.sort(drawn(table, options.most, 0)))
    table = table.assign(part=["train"] * len(table))
    features, labels, classes = features_of(table, options.size), table.labels(), len(table.classes)
    for each in options.per_class:
        found: dict[str, list[Tested]] = {rule: [] for rule in RULES}
        for draw in range(options.draws):
            learned = drawn(table, each, 100 + draw)
            own = table.take(learned)
            folds = fold_numbers(own, FOLDS, 2 if len(own) < FEW else 1, seed=draw)
            exam = Exam(own.labels(), classes, folds, units_of(None, len(own)))
            asked = features[learned], labels[learned], folds, classes
            answers = [held_out_answers(head, *asked) for head in LADDER]
            for rule in RULES:
                head, taken = chosen_by(rule, answers, exam)
                found[rule].append(judged(head, taken, features, table, learned))
                print(f"{each} a class, draw {draw}, {rule}: {head}, {found[rule][-1][0]:.3f}", flush=True)
        for rule, all_found in found.items():
            hits, losses = np.array(all_found).T
            spread = f"{hits.min():.3f} to {hits.max():.3f}"
            print(f"{each} a class, {rule}: accuracy {hits.mean():.3f} ({spread}), log loss {losses.mean():.3f}")


if __name__ == "__main__":
    main()
