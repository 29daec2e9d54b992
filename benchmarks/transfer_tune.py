"""What the stage `tune` of transfer.py tries: settings for few images, each of which one command can have.

CANDIDATES: words -> options of `tenfold train`, the cheapest and likeliest first. The estimates are wall seconds of a
training on 2 cores, with 10 and with 50 images a class; the look at the 551 validation images adds 10 s, and 5 s more
for each further view. All together, 2 seeds each: about 130 minutes.

Seen before, 27 November 2026, on a busy machine, validation part, nothing chosen by it:

    frozen      logistic regression on the mean of both mirror images 76.8 +- 1.8 (10 a class, 6 draws of images) and
                84.3 (50, 2 draws), with each of them as a row 77.0 and 84.6; a ridge the same within 0.6; the square
                roots of the features the same; the scores of ImageNet's 1,000 classes in place of the features 1.4 to
                2.1 points less, beside them 0.2 to 0.8 less
    fine-tuned  without mixed images, weights averaged over a quarter of the steps, the images of seed 0: 78.2 with 10
                (40 epochs, 73 s of processors), where its start had 74.6, the weights half way between the two 77.1,
                and the sum of both networks' logits 77.5; at twice the rate and rate_decay 0.9 78.0; 85.3 with 50 (14
                epochs, 124 s). Looked at from both sides the same, at the middle and four corners of 144 px 78.4 and
                84.0: once it has learned from crops, views give nothing. All end at the least loss that smooth labels
                allow on the training images, and with a higher log loss on others than the frozen network has (0.71
                to 0.66, 0.46 to 0.41): what they lack is not steps, but something to learn

Of the candidates below 13 were run on a GPU (NVIDIA H200, 27 November 2026), per cent of the 551 validation images, the
mean of two draws with 10 and with 50 images a class (one draw with 50 where crops are named):

    as it is 74.3, 87.9; averaged 73.8, 87.6; unmixed 72.6, 87.6; unsmoothed 74.6, 88.0; late 72.3, 87.3
    strong 74.5, 87.6; strong, longer 74.6, 88.0; strong, all mixed 75.1, 87.2; strong, slower 74.2, 87.0; strong, even
    73.3, 88.6
    frozen, flip 72.4, 84.6; frozen, crops 144 71.8, 86.6; frozen, crops 128 71.5, 86.0

The two draws of 10 images differ by 8 points, the fine-tuned candidates by 3 and each from another one as it falls, so
that the defaults stay as they are.
"""

from __future__ import annotations

_FROZEN = "--model frozen --transfer.spread"
_TUNED = "--model finetuned --train.ema 0.25"
"""Weights averaged over a quarter of the steps: few images make noisy steps, and the mean of many lies flatter."""
_STRONG = f"{_TUNED} --policy strong --augment.mix-share 0.5"
"""More to learn from each image: smaller crops, turned and colored further, every second one mixed with another."""
_LATE = "--transfer.frozen 0.1 --transfer.thawed 1"
"""The first stages learn late, which saves their backward passes: about two thirds of the time."""

CANDIDATES = {
    # Frozen, 12 and 25 s: how many views, and how large what is in them looks to a network trained on 224 px.
    "frozen, flip": f"{_FROZEN} --transfer.views flip",
    "frozen, crops 144": f"{_FROZEN} --transfer.views crops --transfer.crop 144",
    "frozen, crops 128": f"{_FROZEN} --transfer.views crops --transfer.crop 128",
    "frozen, crops 112": f"{_FROZEN} --transfer.views crops --transfer.crop 112",
    "frozen, nearer": f"{_FROZEN} --transfer.views flip --image.margin 1.15",
    # Fine-tuned, 60 s with 10 images (40 epochs) and 150 s with 50 (24 epochs); the first is what there is.
    "as it is": "--model finetuned",
    "strong": _STRONG,
    "strong, all mixed": f"{_TUNED} --policy strong --augment.mix-share 1",
    # 100 s with 10 images; for 50 "shorter", 75 s: the default of 24 epochs is more than 3 minutes of processors.
    "strong, longer": f"{_STRONG} --epochs 60 {_LATE}",
    "strong, shorter": f"{_STRONG} --epochs 14 {_LATE}",
    # Little but the last stages (the third from the end at 0.03 of the head's rate); slower; and all nearly alike.
    "strong, last stages": f"{_STRONG} --transfer.rate-decay 0.3",
    "strong, slower": f"{_STRONG} --lr 0.0002",
    "strong, even": f"{_STRONG} --transfer.rate-decay 0.9",
    # What the parts of the above are worth.
    "averaged": _TUNED,
    "unmixed": f"{_TUNED} --augment.mix-share 0",
    "late": f"{_TUNED} {_LATE}",
    # The head starts as a fit without smoothing; with it the first steps only take its confidence back.
    "unsmoothed": f"{_TUNED} --train.label-smoothing 0",
    "decayed": f"{_STRONG} --train.weight-decay 0.5",
    "batches of 16": f"{_TUNED} --batch-size 16",
}
