"""What a recipe leaves open, chosen from the training part; the run's recipe holds the choices."""

from __future__ import annotations

import statistics
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tenfold.augment.chosen import read_policy
from tenfold.augment.published import named_policy
from tenfold.environment import cores
from tenfold.errors import DataError, UsageError
from tenfold.images.cache import cache_folder
from tenfold.images.content import encoded
from tenfold.images.decode import image_size, is_grey
from tenfold.images.preprocess import Preprocessing, Sides
from tenfold.images.table import Table
from tenfold.models import MODELS, find_model
from tenfold.models.classifier import Classifier
from tenfold.models.contract import Model, Pretrained
from tenfold.models.residual import halvings_for
from tenfold.models.weights.places import file_hash
from tenfold.recipe import DetectSettings, ImageSettings, Recipe
from tenfold.run import FORMAT, build_model
from tenfold.train.amounts import choose_amounts, some_of, with_room
from tenfold.train.background import background_rows
from tenfold.train.optimizer import LEARNING_RATES
from tenfold.train.progress import several

SCRATCH, DETECTOR = "residual", "faster-rcnn"
"""The models that a single training takes where the recipe names none: of images, and of images with boxes."""
TINY_BATCH = 4
"""A batch below it leaves batch normalization too few images: docs/normalization.md has what was measured."""
_SMALL = 64  # pixels of the shorter side of images that hold no more than a handwritten digit does


def choose_settings(recipe: Recipe, training: Table, processes: int = 1) -> Recipe:
    """Fill what does not need a measurement: sizes, channels, policy, epochs, batch size, learning rate, balance.

    Each of the `processes` that train together takes its share of every batch.

    The model "auto" is named as `name_model` says: what else could be tried is for whoever trains more than one.
    """
    count, recipe = len(training), _with_weights(name_model(recipe, training))
    kind = find_model(recipe.model.name)
    _refuse_unread(recipe)
    usual, own = kind.usual, kind.pretrained(asdict(recipe.transfer))
    if recipe.transfer.init and own is None:
        able = ", ".join(name for name, model in MODELS.items() if "transfer" in model.sections)
        raise UsageError(
            f"transfer.init (--init) is for a model on a pretrained network, not for {recipe.model.name}; take one of "
            f"{able}."
        )
    if recipe.model.members > 1 and "transfer" in kind.sections:
        raise UsageError(
            f"model.members must be 1 for {recipe.model.name}, as only networks from scratch, plain and residual, can "
            f"stand side by side, not {recipe.model.members}; name one of these (--model residual), or leave it out."
        )
    recipe = _with_proposals(_at_fixed_size(_as_trained_elsewhere(recipe, own), own) if own else recipe)
    recipe = with_room(recipe, training)
    sizes, grey = _look(training)
    usual_size = usual.size if own else _default_size(statistics.median(map(min, sizes)), usual.size)
    if own and issubclass(kind, Classifier):  # it sees the whole image at the scale that its weights know
        usual_size = min(usual_size, own.preprocessing.size)
    size = recipe.image.size or usual_size
    margin = recipe.image.margin or (1.0 if size < 48 else usual.margin)
    channels = recipe.image.channels if recipe.image.channels != "auto" else ("grey" if grey else "rgb")
    fit = usual.fit if recipe.image.fit == "auto" else recipe.image.fit
    _refuse_whole_views(recipe, size)
    policy = recipe.augment.policy
    if policy == "auto":
        wanted = named_policy(usual.policy)
        policy = (wanted.without("flip") if _is_digits(training) else wanted).to_dict()
    batch, usual_epochs = choose_amounts(recipe, training, usual, processes)
    tiny = smallest_batch(batch, count, processes) < TINY_BATCH and training.boxes is None
    norm = recipe.model.norm if recipe.model.norm != "auto" else "group" if tiny else "batch"
    # A pretrained network soon knows few images by heart: Faster R-CNN on BCCD had AP50 0.91 after 21 epochs and 0.89
    # after 64, its least validation loss half way. From scratch there is no such end in sight.
    epochs = recipe.train.epochs or (0 if recipe.train.minutes and not own else usual_epochs)
    grow = recipe.train.grow if recipe.train.grow != "auto" else ("on" if size >= 48 and not own else "off")
    optimizer = recipe.train.optimizer if recipe.train.optimizer != "auto" else usual.optimizer
    keep = recipe.train.keep if recipe.train.keep != "auto" else "best" if recipe.train.patience else usual.keep
    if recipe.train.patience and keep == "last":
        raise UsageError("train.patience waits for better weights, and train.keep = last keeps none; set keep to best.")
    return recipe.change(
        image={
            "size": size,
            "aspect": _aspect(recipe, own, sizes),
            "margin": margin,
            "channels": channels,
            "fit": fit,
        },
        augment={"policy": read_policy(policy).to_dict()},
        model={"norm": norm},
        train={
            "batch_size": batch,
            "epochs": epochs,
            "grow": grow,
            "optimizer": optimizer,
            "keep": keep,
            "lr": recipe.train.lr or LEARNING_RATES[optimizer] * usual.rate,
            "balance": _balance(recipe, training),
            "workers": recipe.train.workers or max(1, min(8, cores() - 1)),
        },
    )


def smallest_batch(batch: int, count: int, processes: int) -> int:
    """Images of the smallest share of a batch of `count` images: batches are as even as can be, and so are shares."""
    return count // -(-count // batch) // processes


def notes_on_norm(given: Recipe, chosen: Recipe, count: int, processes: int) -> tuple[str, ...]:
    """What to say where batches of `count` images are tiny for batch normalization; in `chosen` nothing is open."""
    model, smallest = chosen.model, smallest_batch(chosen.train.batch_size, count, processes)
    has_norm = "transfer" not in find_model(model.name).sections or (model.name == "finetuned" and model.layers > 0)
    if smallest >= TINY_BATCH or model.norm == "none" or not has_norm:
        return ()
    why = f"batches of {several(smallest, 'image')} are too small for batch normalization (docs/normalization.md)"
    if model.norm == "batch":
        return (f"{why.capitalize()}; set --model.norm group, or a larger --batch-size.",)
    return (f"Group normalization was chosen: {why}.",) if given.model.norm == "auto" else ()


def _refuse_whole_views(recipe: Recipe, size: int) -> None:
    """Raise UsageError for views at the corners that are no smaller than the image: they would all be the same."""
    views, crop = recipe.transfer.views, recipe.transfer.crop
    if recipe.model.name == "frozen" and views in ("corners", "crops") and not 0 < crop < size:
        raise UsageError(
            f"transfer.views = {views} needs views smaller than the image's {size} pixels: set transfer.crop, for "
            f"example to {round(0.8 * size)}, not {crop}."
        )


def _aspect(recipe: Recipe, own: Pretrained | None, sizes: list[Sides]) -> float:
    """Width over height of what the network sees: what the recipe gives, else the model's usual one, that of images of
    `sizes` where it can be shown rectangles.

    Raises UsageError where it can be shown squares only, and the recipe gives another.
    """
    given, model = recipe.image.aspect, recipe.model.name
    if find_model(model).usual.aspect == 1 or (own and own.is_square):
        if given not in (0, 1):
            which = own.backbone if own and own.is_square else model
            raise UsageError(f"image.aspect must be 1, or 0, for {which}, which sees squares only, not {given:g}.")
        return 1.0
    return given or round(min(max(statistics.median(width / height for height, width in sizes), 0.5), 2.0), 4)


def _at_fixed_size(recipe: Recipe, own: Pretrained) -> Recipe:
    """The recipe with the size of a network that can be shown one only, where it leaves that open.

    Raises UsageError where it names another. What the network sees is the whole image, unless the model cuts views out.
    """
    fixed, model, image = own.fixed_size, recipe.model.name, recipe.image.size
    if not fixed:
        return recipe
    seen = {"frozen": "transfer.crop" if recipe.transfer.crop else "image.size", "rcnn": "detect.crop"}
    section, _, name = seen.get(model, "image.size").partition(".")
    given = getattr(getattr(recipe, section), name)
    if given not in (0, fixed):
        option = " (--size)" if section == "image" else ""
        raise UsageError(
            f"{section}.{name}{option} must be {fixed} for {own.backbone}, which takes images of that many pixels "
            f"only, not {given}."
        )
    if recipe.train.grow == "on":
        raise UsageError(
            f"train.grow must be off for {own.backbone}, which takes images of {fixed} pixels only: it cannot begin "
            "with smaller ones."
        )
    around = {"image": {"size": image or round(1.25 * fixed)}} if section == "transfer" else {}  # room for the views
    return recipe.change(**{section: {name: fixed}}, **around)


def _with_weights(recipe: Recipe) -> Recipe:
    """The recipe with the whole path of a file of weights, so that it works from anywhere."""
    given = recipe.transfer.weights
    file = Path(given).expanduser() if given.startswith("~/") else Path(given)
    return recipe.change(transfer={"weights": str(file.absolute())}) if file.is_file() else recipe


def _refuse_unread(recipe: Recipe) -> None:
    """Raise UsageError where the recipe sets something of [detect] that its model does not go by."""
    usual, model = asdict(DetectSettings()), recipe.model.name
    for name, value in asdict(recipe.detect).items():
        if value != usual[name] and name not in find_model(model).reads:
            able = " or ".join(other for other, kind in MODELS.items() if name in kind.reads)
            raise UsageError(f"detect.{name} is for {able}, not for {model}; leave it out, or set --model.")


def _with_proposals(recipe: Recipe) -> Recipe:
    """The recipe with the whole path of a file of proposals, if it names one; refused before anything is decoded."""
    file = recipe.detect.proposals_from
    if file and not Path(file).is_file():
        raise DataError(f"detect.proposals_from must be a file of proposals, and there is no {file}.")
    return recipe.change(detect={"proposals_from": str(Path(file).absolute())}) if file else recipe


def name_model(recipe: Recipe, table: Table) -> Recipe:
    """The recipe with its model named where it was left open: SCRATCH, or DETECTOR where the images have boxes."""
    usual = SCRATCH if table.boxes is None else DETECTOR
    return recipe.change(model={"name": usual}) if recipe.model.name == "auto" else recipe


def refuse_other_task(recipe: Recipe, table: Table) -> None:
    """Raise UsageError where the recipe names a classifier for images with boxes, or a detector for others."""
    name, wanted = recipe.model.name, "classification" if table.boxes is None else "detection"
    if name == "auto" or find_model(name).task not in ({"classification", "detection"} - {wanted}):
        return
    kind, found = "a detector", "these images have no boxes"
    if wanted == "detection":
        kind, found = "a classifier of whole images", "these images have boxes"
    able = ", ".join(other for other, model in MODELS.items() if model.task == wanted)
    raise UsageError(f"model.name (--model) {name} is {kind}, and {found}; take one of {able}, or leave it open.")


def is_small_and_grey(training: Table) -> bool:
    """Whether images are like handwritten digits: every one grey, the shorter side of those looked at 64 px at most.

    Raises DataError where none can be read.
    """
    sizes, grey = _look(training)
    return grey and max(map(min, sizes)) <= _SMALL


def _as_trained_elsewhere(recipe: Recipe, own: Pretrained) -> Recipe:
    """The recipe with the colors of pretrained weights, where it does not give others, and a head.

    A classifier on an earlier run's weights gets its images' size and shape too: they may know no other scale.
    """
    image, wanted, head, init = recipe.image, own.preprocessing, recipe.transfer.head, recipe.transfer.init
    if image.channels == "grey" and len(wanted.mean) > 1:
        raise UsageError(
            f"image.channels must be rgb, bgr or auto for {own.backbone}, which sees colors, not grey; leave it out, "
            f"or train from scratch: --model {SCRATCH}."
        )
    if image.channels in ("rgb", "bgr") and len(wanted.mean) == 1:
        whose = f"the network of {init}" if init else own.backbone
        raise UsageError(f"image.channels must be grey or auto for {whose}, which sees no colors; leave it out.")
    shape = ("size", "fit", "background") if init and issubclass(find_model(recipe.model.name), Classifier) else ()
    return recipe.change(
        image={name: getattr(wanted, name) for name in shape if getattr(image, name) == getattr(ImageSettings(), name)}
        | {
            "channels": wanted.channels if image.channels == "auto" else image.channels,
            "filter": wanted.filter,
            "mean": image.mean or wanted.mean,
            "std": image.std or wanted.std,
        },
        transfer={
            "backbone": own.backbone,
            "init": str(Path(init).absolute()) if init else "",
            "head": "logistic" if head == "auto" else head,
        },
    )


def choose_mixing(recipe: Recipe) -> Recipe:
    """The recipe with the share of mixed images settled by its number of epochs.

    Flowers at 72 px, validation part, AdamW, one run each: 13 epochs 74.2 % without mixing, 73.5 with a quarter; 28
    epochs 82.4 without, 82.0 with a quarter, 80.0 with half.
    """
    mixing = read_policy(recipe.augment.policy).mix
    if recipe.augment.mix_share >= 0 or mixing.share >= 0 or not mixing.is_on:
        return recipe
    epochs = recipe.train.epochs
    return recipe.change(augment={"mix_share": 0.0 if epochs < 20 else 0.25 if epochs < 40 else 0.5})


def shrink_images(recipe: Recipe) -> Recipe:
    """The recipe with images about three quarters as high and wide, the canvas with them."""
    size = max(16, round(recipe.image.size * 0.75 / 8) * 8)
    return recipe.change(image={"size": size})


def model_settings(recipe: Recipe, training: Table) -> dict[str, Any]:
    """The settings that the model is built with, JSON values: the recipe's, and what the loss needs."""
    settings: dict[str, Any] = {}
    for section in find_model(recipe.model.name).sections:
        settings |= asdict(getattr(recipe, section))
    if file := settings.get("proposals_from"):
        settings["proposals_sha256"] = file_hash(Path(file))
    settings["hidden"] = list(recipe.model.hidden)
    settings["label_smoothing"] = recipe.train.label_smoothing
    settings["halvings"] = halvings_for(recipe.image.size)
    if recipe.train.balance == "weights":
        counts = np.bincount(training.labels(), minlength=len(training.classes))
        settings["class_weights"] = (counts.sum() / np.maximum(counts, 1) / len(counts)).round(6).tolist()
    return settings


def make_card(recipe: Recipe, training: Table, task: str) -> dict[str, Any]:
    """The content of model.json."""
    preprocessing = start_preprocessing(recipe)
    return {
        "format": FORMAT,
        "task": task,
        "architecture": recipe.model.name,
        "channels": len(preprocessing.mean),
        "classes": list(training.classes),
        "settings": model_settings(recipe, training),
        "preprocessing": preprocessing.to_json(),
        "weights": {"origin": "trained from scratch", "licence": None},
    }


def fresh_model(card: dict[str, Any], recipe: Recipe) -> Model:
    """The model with its starting weights, which depend on the seed only."""
    torch.manual_seed(recipe.train.seed)
    return build_model(card)


def start_preprocessing(recipe: Recipe) -> Preprocessing:
    """The preprocessing before mean and standard deviation are known (they are 0 and 1)."""
    image = recipe.image
    if image.channels == "auto":
        raise UsageError("image.channels must be grey, rgb or bgr here; choose_settings settles auto.")
    if image.fit == "auto":
        raise UsageError("image.fit must be squash, crop or pad here; choose_settings settles auto.")
    count = 1 if image.channels == "grey" else 3
    for name, values in (("mean", image.mean), ("std", image.std)):
        if values and len(values) != count:
            raise UsageError(f"image.{name} must have {count} numbers for {image.channels} images, not {len(values)}.")
    return Preprocessing(
        channels=image.channels,
        size=image.size,
        canvas=max(image.size, round(image.size * image.margin)),
        fit=image.fit,
        filter=image.filter,
        background=image.background,
        mean=image.mean or (0.0,) * count,
        std=image.std or (1.0,) * count,
        origin="the recipe, which has them from the training part where it gave none",
        aspect=float(image.aspect) or 1.0,  # runs of before have none, and squares
    )


def _look(training: Table) -> tuple[list[Sides], bool]:
    """Height and width of some images, and whether all of them are grey; what cannot be read is passed over here."""
    sizes, greys = [], []
    for row in some_of(len(training)).tolist():
        try:
            content = encoded(training, row)
            sizes.append(image_size(content))
            greys.append(is_grey(content))
        except DataError:
            continue
    if not sizes:
        raise DataError(f"None of the training images can be read; the first is {training.samples['source'].iloc[0]}.")
    return sizes, all(greys) and _all_grey(training)


def _all_grey(training: Table) -> bool:
    """Whether the other images are grey too: one in color among thousands needs a network for color."""
    for row in range(len(training)):
        try:
            if not is_grey(encoded(training, row)):
                return False
        except DataError:
            continue
    return True


def _is_digits(training: Table) -> bool:
    """Whether these are the built-in digits, whose mirror images are no digits."""
    folder = str((cache_folder() / "digits").absolute())
    return all(str(source).startswith(folder) for source in training.samples["source"])


def _default_size(side: float, most: int) -> int:
    """Tiny images are doubled, since networks halve their maps; large ones come down to `most`."""
    wanted = side * 2 if side < 16 else side
    return int(min(most, max(16, round(wanted / 8) * 8)))


def _balance(recipe: Recipe, training: Table) -> str:
    if training.boxes is not None:
        if recipe.train.balance not in ("auto", "none"):
            raise UsageError(
                f"train.balance balances classes of images, and these have boxes; leave it open, not "
                f"{recipe.train.balance}."
            )
        return "none"
    if recipe.train.balance == "background":
        background_rows(training)  # refused before any work
    if recipe.train.balance != "auto":
        return recipe.train.balance
    _, counts = np.unique(training.labels(), return_counts=True)
    return "weights" if counts.max() >= 3 * counts.min() else "none"
