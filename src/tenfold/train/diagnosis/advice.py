"""The next step of each finding: what to type, or to do."""

from __future__ import annotations

import numpy as np

from tenfold.augment.chosen import chosen_policy
from tenfold.estimate import Estimate
from tenfold.models import find_model
from tenfold.recipe import Recipe
from tenfold.split.advice import advised_share
from tenfold.train.diagnosis.case import FAR, usual_rate
from tenfold.train.evidence import Facts


def calm(recipe: Recipe) -> str:
    """Against steps that are too large."""
    train, usual = recipe.train, usual_rate(recipe)
    rate = usual if train.lr >= FAR * usual else train.lr / 10
    options = [f"--lr {rate:.1g}"]
    options += ["--train.clip 1"] if train.clip == 0 else []
    options += ["--model.norm batch"] if recipe.model.norm == "none" else []
    if rate < usual and train.precision == "bfloat16":
        options.append("--train.precision float32")
    return f"Train again with {' '.join(options)}, or let a range test choose: --train.find-lr."


def hurry(recipe: Recipe) -> str:
    """Against steps that are too small."""
    return f"Train again with --lr {usual_rate(recipe):g}, or let a range test choose: --train.find-lr."


def go_on(recipe: Recipe) -> str:
    """Twice the time that there was; a time limit alone leaves a pretrained network at its usual epochs."""
    train, options = recipe.train, []
    if train.minutes:
        options.append(f"--minutes {2 * train.minutes:g}")
    if not train.minutes or "transfer" in find_model(recipe.model.name).sections:
        options.append(f"--epochs {2 * train.epochs}")
    return f"Train again with {' '.join(options)}."


def loosen(recipe: Recipe, *, longer: bool) -> str:
    """For a network that does not know its own training images: time first, then what holds it back, then size."""
    model = recipe.model
    options = ["--model.norm batch"] if model.norm == "none" else []
    options += ["--model.dropout 0"] if model.dropout > 0.3 else []
    options += ["--augment.mix-share 0"] if recipe.augment.mix_share > 0 else []
    options += [f"--model.width {max(32, 2 * model.width)}"] if model.width < 32 or not options else []
    first = f"{go_on(recipe)} If that changes little, with " if longer else "Train again with "
    return f"{first}{' '.join(options)}. Then look at the labels: images that contradict each other cannot be learned."


def tighten(facts: Facts, *, useless: bool) -> str:
    """For a network that knows its training images by heart."""
    recipe = facts.recipe
    if useless:
        return (
            "No epoch was surely better than always naming the largest class: look at whether the labels are right, "
            "and whether they can be seen in the images at all."
        )
    policy = chosen_policy(recipe.augment)
    options = [] if policy.ops else ["--policy standard"]
    options += ["--augment.mix-share 0.5"] if recipe.augment.mix_share <= 0 and (options or policy.mix.is_on) else []
    options += ["--model.dropout 0.3"] if recipe.model.dropout < 0.2 else []
    typed = f" Without them, try {' '.join(options)}." if options else ""
    more = "More training images help most; tenfold curve DATA says how much."
    return f"The run has the weights of epoch {facts.kept.epoch}. {more}{typed}"


def feed(recipe: Recipe, names: list[str]) -> str:
    """For classes that are not learned."""
    step = "" if recipe.train.balance == "sampling" else ", and train again with --train.balance sampling"
    several = "these classes" if len(names) > 1 else f"the class {names[0]}"
    return f"Look at the labels of {several}, add images{step}."


def narrow(apart: Estimate) -> str:
    """What is left to do for a training that has converged; nothing where both parts are known nearly as well."""
    if apart.low < 0.05:
        return ""
    return (
        f"What is left is mostly the gap between both parts, {100 * apart.value:.1f} points "
        f"({100 * apart.low:.1f} to {100 * apart.high:.1f}): more images or stronger augmentation narrow it."
    )


NEARLY = 0.8
"""Of the advised share: what whole groups and rounding may leave of it."""


def widen(facts: Facts, held: int) -> str:
    """For a validation part of `held` images that says too little: a larger one only where Tenfold would advise it.

    How many images there are with the test part, which training does not see, follows from the share that this has.
    """
    trained = int(facts.images.sum())
    images = (trained + held) / (1 - max(facts.recipe.split.test, 0.0))
    typical = float(np.median(facts.images)) * images / trained
    advised = advised_share(round(images), len(facts.images), typical)
    folds = "judge by cross-validation, which measures on each image in turn: tenfold train DATA --folds 5x2"
    if held >= NEARLY * advised * images:
        return (
            "The part is as large as tenfold split advises; more of the images would be missed in training. Add images "
            f"(of other groups, where there are groups), or {folds}"
        )
    percent = f"{100 * advised:.3g}"
    return (
        f"Hold back more of the images; {percent} % is advised (remove the written split, then tenfold split DATA "
        f"--validation {percent}%). Or {folds}"
    )


LOOK_FOR_LEAKS = (
    "Look for copies of training images in the validation part, and for what sets both apart: tenfold check DATA."
)
"""For a validation part that is better known than the training part, both as they are."""


LOOK_AT_BOXES = "tenfold check DATA --page check.html shows what is doubtful about the boxes."
"""For boxes that may be wrong."""


def enlarge(recipe: Recipe) -> str:
    """For a detector that does not find what it has learned from: time first, then larger images."""
    size = 32 * round(1.5 * recipe.image.size / 32)
    return f"{go_on(recipe)} If that changes little, with larger images: --size {size}. {LOOK_AT_BOXES}"


def tighten_boxes(recipe: Recipe) -> str:
    """For a detector that knows its training images by heart."""
    stronger = {"none": "light", "light": "standard", "standard": "strong"}.get(chosen_policy(recipe.augment).name, "")
    typed = f" Without them, try --policy {stronger}." if stronger else ""
    return f"More training images help most.{typed} {LOOK_AT_BOXES}"


def annotate(names: list[str]) -> str:
    """For classes of which no object is found."""
    several = "these classes" if len(names) > 1 else f"the class {names[0]}"
    return f"Look at the boxes of {several}, and add images with such objects. {LOOK_AT_BOXES}"


def narrow_boxes(apart: Estimate) -> str:
    """What is left to do for a detector that has converged; nothing where both parts are known nearly as well."""
    if apart.low < 0.03:
        return ""
    return (
        f"What is left is mostly the gap between both parts, an AP50 of {apart.value:.2f} ({apart.low:.2f} to "
        f"{apart.high:.2f}): more images or stronger augmentation narrow it."
    )


HOLD_BACK = (
    "Add images, or hold back more of them: remove the written split, and tenfold split DATA advises a share of them."
)
"""For a validation part that says too little of a detector."""


def harder(recipe: Recipe) -> str:
    """On what training figures are measured, as the end of a sentence."""
    policy = chosen_policy(recipe.augment)
    mixed = policy.mix.share > 0 and policy.mix.is_on
    kinds = " and ".join(["augmented"] * bool(policy.ops) + ["mixed"] * mixed)
    words = [f"on {kinds} images"] if kinds else []
    words += ["with dropout"] if recipe.model.dropout else []
    words.append("over the whole epoch" + (", by weights that were not averaged yet" if recipe.train.ema else ""))
    return ", ".join(words)
