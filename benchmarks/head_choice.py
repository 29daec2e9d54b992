"""Which head to take on the features of one network: what rules of choice give on images that chose nothing.

    python benchmarks/head_choice.py ../shared/data/flowers --per-class 10 20 50 --size 160

Of each class --most images take part, the first of a shuffle. For each draw so many of a class are what there is to
learn from: all heads of the ladder answer them out of fold, one is chosen by each rule, fitted to all of them, and
judged by the images that are left. The rules:

    lowest      the lowest log loss out of fold, as the ladder chooses on one network
    simplest    the first on the ladder within one standard error of it, as it chose until 29 November 2026
    logistic    logistic regression, its strength chosen

Last figures, 29 November 2026, 2 cores of an AMD EPYC without AVX-512 (Zen 3), 8 draws, EfficientNet-Lite0, two views,
mean accuracy in per cent (least to most) and log loss of the images that are left. sw: summer and winter of Yosemite
as two folders (trainA and trainB), --per-class 5 10 30 --most 400; flowers: --size 160:

                   lowest                       simplest                     logistic
    sw, 5          55.4 (50.0 to 64.9)  0.689   51.1 (50.0 to 58.7)  0.694   59.3 (50.6 to 64.9)  0.665
    sw, 10         60.1 (50.0 to 65.5)  0.662   51.9 (50.0 to 65.0)  0.688   64.7 (55.0 to 68.8)  0.636
    sw, 30         68.8 (63.0 to 72.8)  0.599   65.4 (50.0 to 72.3)  0.620   70.3 (67.8 to 72.8)  0.590
    flowers, 10    76.3 (74.1 to 80.5)  0.672   75.3 (70.5 to 80.0)  0.695   76.3 (74.1 to 80.5)  0.672
    flowers, 20    81.4 (79.4 to 83.1)  0.520   80.9 (78.7 to 82.7)  0.533   81.6 (79.4 to 83.4)  0.517
    flowers, 50    85.9 (84.2 to 87.3)  0.395   85.6 (82.9 to 87.3)  0.402   86.0 (84.2 to 88.0)  0.396

So the simplest is never better, and of sw often the majority class; logistic regression without a choice is as good as
the lowest or better, as each choice among few images is one by luck too.
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
