"""The next step of each finding: what to type, or to do."""

from __future__ import annotations

import numpy as np

from tenfold.augment.chosen import chosen_policy
from tenfold.estimate import Estimate
from tenfold.recipe import Recipe
from tenfold.split.advice import advised_share
from tenfold.train.diagnosis.case import FAR, usual_rate
from tenfold.train.diagnosis.levers import heeded, levers
from tenfold.train.evidence import Facts


def calm(recipe: Recipe) -> str:
    """Against steps that are too large."""
    train, usual = recipe.train, usual_rate(recipe)
    rate = usual if train.lr >= FAR * usual else train.lr / 10
    options = [f"--lr {rate:.1g}"]
    options += ["--train.clip 1"] if train.clip == 0 else []
    options += heeded(recipe, {"model.norm": "--model.norm batch" if recipe.model.norm == "none" else ""})
    if rate < usual and train.precision == "bfloat16":
        options.append("--train.precision float32")
    return f"Train again with {' '.join(options)}, or let a range test choose: --train.find-lr."


def hurry(recipe: Recipe) -> str:
    """Against steps that are too small."""
    return f"Train again with --lr {usual_rate(recipe):g}, or let a range test choose: --train.find-lr."


def go_on(facts: Facts) -> str:
    """Twice the training that there was. Both limits are raised, as a training ends by whichever comes first.

    The recipe's minutes are those that the training had, not those of the command.
    """
    train, epochs = facts.recipe.train, max(facts.recipe.train.epochs, facts.last.epoch)
    minutes = "twice the time (--minutes) and " if train.minutes else ""
    return f"Train again with {minutes}--epochs {2 * epochs}."


OTHER_NETWORK = "on another pretrained network (tenfold weights list names them): --transfer.backbone NAME"
"""For a pretrained network that may be the wrong one."""


def loosen(facts: Facts, *, longer: bool) -> str:
    """For a network that does not know its own training images: time first, then what holds it back, then size."""
    if facts.recipe.model.name == "frozen" and facts.recipe.transfer.head == "majority":
        wrong = "".join(heeded(facts.recipe, {"transfer.backbone": f", or train {OTHER_NETWORK}"}, facts.tried))
        return (
            "The most frequent class is named whatever is shown, which the ladder takes only where no head is better: "
            "so few images do not tell the classes apart, or this network does not see what does. Add images of each "
            f"class (tenfold curve DATA says how much they help){wrong}."
        )
    recipe, model, mix = facts.recipe, facts.recipe.model, chosen_policy(facts.recipe.augment).mix
    tries = heeded(
        recipe,
        {
            "model.norm": "--model.norm batch" if model.norm == "none" else "",
            "model.dropout": "--model.dropout 0" if model.dropout > 0.3 else "",
            "augment.mix_share": "--augment.mix-share 0" if mix.is_on and mix.share > 0 else "",
            "transfer.frozen": "--transfer.frozen 0" if recipe.transfer.frozen > 0 else "",
        },
    )
    if model.width < 32 or not tries:
        tries += heeded(recipe, {"model.width": f"--model.width {max(32, 2 * model.width)}"})
    ways = [f"with {' '.join(tries)}"] if tries else []
    other = {"model.name": "with --model finetuned, so that the network learns too", "transfer.backbone": OTHER_NETWORK}
    ways += heeded(recipe, other, facts.tried)
    first = f"{go_on(facts)} If that changes little," if longer else "Train again"
    first = f"{first} {', or '.join(ways)}. Then look" if ways else f"{go_on(facts)} Then look" if longer else "Look"
    return f"{first} at the labels: images that contradict each other cannot be learned."


def tighten(facts: Facts, *, useless: bool, rose: bool) -> str:
    """For a network that knows its training images by heart; `rose`: from some epoch on, by the validation loss."""
    recipe = facts.recipe
    if useless:
        return (
            "On the validation part the run is not surely better than always naming the same class: look at whether "
            "the labels are right, and whether they can be seen in the images at all."
        )
    mix, is_plain = chosen_policy(recipe.augment).mix, not chosen_policy(recipe.augment).ops
    mixes = is_plain or mix.mixup > 0 or mix.cutmix > 0  # the usual policy does
    whole = recipe.transfer.views in ("center", "flip")
    options = heeded(
        recipe,
        {
            "augment.policy": "--policy auto" if is_plain else "",
            "augment.mix_share": "--augment.mix-share 0.5" if mixes and mix.share < 0.5 else "",
            "model.dropout": "--model.dropout 0.3" if recipe.model.dropout < 0.2 else "",
            "transfer.views": f"--transfer.views crops --transfer.crop {round(0.8 * recipe.image.size)}" * whole,
        },
    )
    ways = [" ".join(options)] if options else []
    ways += heeded(recipe, {"transfer.backbone": f"training {OTHER_NETWORK}"}, facts.tried)
    typed = f" Without them, try {', or '.join(ways)}." if ways else ""
    kept = "The run has the last weights; --train.keep best keeps those of the lowest validation loss. " if rose else ""
    if facts.kept.epoch < facts.last.epoch:
        kept = f"The run has the weights of epoch {facts.kept.epoch}. "
    return f"{kept}More training images help most; tenfold curve DATA says how much.{typed}"


def feed(recipe: Recipe, names: list[str]) -> str:
    """For classes that are not learned."""
    is_sampled = recipe.train.balance == "sampling" or "train.balance" not in levers(recipe)
    several = "these classes" if len(names) > 1 else f"the class {names[0]}"
    if is_sampled:
        return f"Look at the labels of {several}, and add images."
    return f"Look at the labels of {several}, add images, and train again with --train.balance sampling."


def narrow(apart: Estimate, words: str, least: float) -> str:
    """What is left to do for a training that has converged, with the gap between both parts in words.

    Nothing where the gap may be below `least`: both parts are known nearly as well.
    """
    if apart.low < least:
        return ""
    return (
        f"What is left is mostly the gap between both parts, {words}: more images or stronger augmentation narrow it."
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
        f"--validation {percent}%; where the data give the parts, take these out of them first). Or {folds}"
    )


LOOK_FOR_LEAKS = (
    "Look for copies of training images in the validation part, and for what sets both apart: tenfold check DATA."
)
"""For a validation part that is better known than the training part, both as they are."""


ENOUGH = (
    "Nothing holds this training back. Where its figures are too low for their use, more training images are what is "
    "left: tenfold curve DATA says what they bring."
)
"""For a training that has converged, both parts known nearly as well."""


GO_BY_VALIDATION = "Nothing is to be done: go by the validation figures."
"""For a validation part that is better known in the curves alone."""


LOOK_AT_BOXES = "tenfold check DATA --page check.html shows what is doubtful about the boxes."
"""For boxes that may be wrong."""


ENOUGH_WITH_BOXES = (
    "Nothing holds this training back. Where its figures are too low for their use, more or larger training images are "
    "what is left."
)
"""For a detector that has converged, both parts known nearly as well."""


def enlarge(facts: Facts) -> str:
    """For a detector that does not find what it has learned from: time first, then larger images."""
    size = 32 * round(1.5 * facts.recipe.image.size / 32)
    return f"{go_on(facts)} If that changes little, with larger images: --size {size}. {LOOK_AT_BOXES}"


def tighten_boxes(recipe: Recipe) -> str:
    """For a detector that knows its training images by heart."""
    stronger = {"none": "light", "light": "standard", "standard": "strong"}.get(chosen_policy(recipe.augment).name, "")
    typed = f" Without them, try --policy {stronger}." if stronger else ""
    return f"More training images help most.{typed} {LOOK_AT_BOXES}"


def annotate(names: list[str]) -> str:
    """For classes of which no object is found."""
    several = "these classes" if len(names) > 1 else f"the class {names[0]}"
    return f"Look at the boxes of {several}, and add images with such objects. {LOOK_AT_BOXES}"


HOLD_BACK = (
    "Add images, or hold back more of them: remove the written split, and take the parts out of the data where these "
    "give them; tenfold split DATA then advises a share."
)
"""For a validation part that says too little of a detector."""


def harder(recipe: Recipe) -> str:
    """On what training figures are measured, as the end of a sentence."""
    policy = chosen_policy(recipe.augment)
    mixed = policy.mix.share > 0 and policy.mix.is_on
    kinds = " and ".join(["augmented"] * bool(policy.ops) + ["mixed"] * mixed)
    words = [f"on {kinds} images"] if kinds else []
    words += ["with dropout"] if recipe.model.dropout and "model.dropout" in levers(recipe) else []
    drawn = recipe.train.balance == "sampling" and "train.balance" in levers(recipe)
    words += ["with every class drawn equally often"] if drawn else []
    words.append("over the whole epoch" + (", by weights that were not averaged yet" if recipe.train.ema else ""))
    return ", ".join(words)
