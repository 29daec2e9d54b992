"""Options that several commands share: whole numbers, shares, and every setting of the recipe.

Each field of the recipe's dataclasses is `--section.name`, the usual ones also `--name`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter, Token
from docstring_parser import parse_from_object

from tenfold.commands.output import say
from tenfold.errors import UsageError
from tenfold.recipe import DetectSettings, PolicySetting, Recipe, TransferSettings, read_recipe, type_hints

if TYPE_CHECKING:
    from tenfold.run import Run


def _whole(_: object, tokens: Sequence[Token]) -> int:
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"must be a whole number, not {tokens[0].value!r}.") from None


Whole = Annotated[int, Parameter(converter=_whole)]
"""An integer; without this, 2.5 would quietly become 2."""


def _share(_: object, tokens: Sequence[Token]) -> float:
    text = tokens[0].value.strip()
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        raise ValueError(f"must be a share, for example 2% or 0.02, not {text!r}.") from None
    if text.endswith("%"):
        return round(number / 100, 12)  # 55% is 0.55, not 0.55 and a last bit
    if 1 < number <= 100:
        raise ValueError(f"must be a share, for example 2% or 0.02, not {text!r}; did you mean {text}%?")
    return number


Share = Annotated[float, Parameter(converter=_share)]
"""A share of a whole: 2%, or 0.02."""

SHARES = {
    "split.validation",
    "split.test",
    "augment.mix_share",
    "model.dropout",
    "train.warmup",
    "train.label_smoothing",
    "train.ema",
}
"""Settings that are a share of a whole, which may be typed as a percentage."""

SHORT = {
    "model.name": "--model",
    "train.epochs": "--epochs",
    "train.batch_size": "--batch-size",
    "train.lr": "--lr",
    "image.size": "--size",
    "train.seed": "--seed",
    "train.device": "--device",
    "train.minutes": "--minutes",
    "split.file": "--split",
    "augment.policy": "--policy",
    "transfer.backbone": "--backbone",
    "transfer.weights": "--weights",
    "transfer.init": "--init",
    "data.check": "--check",
}
"""Settings that have a short name too; they stand first in the help."""

_OF_HEAD = ("transfer.strength", "transfer.sharpness")
_OF_NETWORK = (*_OF_HEAD, "image.size", "image.channels", "image.mean", "image.std", "image.filter")
CHOSEN_FOR = {
    "train.optimizer": ("train.lr",),
    "transfer.head": _OF_HEAD,
    "transfer.backbone": _OF_NETWORK,
    "transfer.weights": _OF_NETWORK,
    "transfer.init": _OF_NETWORK,
    "model.name": (
        *_OF_NETWORK,
        *("image.aspect", "image.margin", "image.fit", "augment.policy", "augment.mix_share", "model.norm"),
        *("train.epochs", "train.batch_size", "train.lr", "train.optimizer", "train.grow", "train.precision"),
        *("train.keep", "train.balance"),
    ),
}
"""Settings, and those that a run's recipe holds as they were chosen for one of them: for another they are chosen anew.
"""


def with_settings(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command that ends with `**settings` an option for each setting of the recipe.

    Only the settings that were typed arrive, as `section__name`; `chosen_recipe` puts them into a recipe.
    """
    signature = inspect.signature(command)
    own = [option for option in signature.parameters.values() if option.kind is not option.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *_options()])  # type: ignore[attr-defined]
    return command


def chosen_recipe(file: Path | None, settings: dict[str, Any]) -> Recipe:
    """The recipe of a TOML file, or else the defaults, with the settings that were typed put over it.

    Where a file of weights is given and no network, the network is the one that they are of.
    """
    recipe = Recipe() if file is None else read_recipe(file)
    if settings.get("transfer__init"):
        settings = _instead(settings)
    if file is not None and (file.parent / "model.json").is_file():
        settings = _opened(recipe, settings) | settings
    elif (head := settings.get("transfer__head")) and head != recipe.transfer.head:
        settings = {"transfer__strength": 0.0, "transfer__sharpness": 0.0} | settings  # they were of another head
    sections: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, name = key.split("__")
        sections.setdefault(section, {})[name] = value
    recipe = _from_home(recipe.change(**sections))
    return recipe if "transfer__backbone" in settings else _with_network(recipe)


def _opened(recipe: Recipe, settings: dict[str, Any]) -> dict[str, Any]:
    """Where something else is typed than a run's recipe has: what was chosen for that, open again. A note says so."""
    usual, typed = Recipe(), {key.replace("__", "."): value for key, value in settings.items()}
    changed = [name for name, value in typed.items() if name in CHOSEN_FOR and value != attrgetter(name)(recipe)]
    names = [other for name in changed for other in CHOSEN_FOR[name]]
    if "model.name" in changed:
        names += _of_other_models(typed["model.name"])
    held = {name: attrgetter(name)(usual) for name in names if name not in typed}
    held = {name: value for name, value in held.items() if value != attrgetter(name)(recipe)}
    if held:
        say(
            f"With another {' and '.join(changed)} than the run's, what that run had of these is open again: "
            f"{', '.join(held)}. Give what is to stay."
        )
    return {name.replace(".", "__"): value for name, value in held.items()}


def _of_other_models(name: str) -> list[str]:
    """The settings of [transfer] and [detect] that a model does not go by; none where that is no model."""
    from tenfold.models import MODELS

    if name not in MODELS:
        return []
    kind = MODELS[name]
    transfer = [] if "transfer" in kind.sections else [f"transfer.{one.name}" for one in fields(TransferSettings)]
    return transfer + [f"detect.{one.name}" for one in fields(DetectSettings) if one.name not in kind.reads]


def whose_weights(file: str) -> str:
    """The network whose weights a file holds, as `network_of_file` knows it; whoever watches is told."""
    from tenfold.models.backbones import BUILT_IN, network_of_file

    name = network_of_file(Path(file))
    if name != BUILT_IN:
        say(f"Network: {name}, whose weights {file} holds; --backbone names another.")
    return name


def _from_home(recipe: Recipe) -> Recipe:
    """The recipe with whole paths of what it names in the home folder: a shell leaves the ~ of `--init=~/run`."""
    given = {name: getattr(recipe.transfer, name) for name in ("weights", "init")}
    whole = {name: str(Path(path).expanduser()) for name, path in given.items() if path.startswith("~/")}
    return recipe.change(transfer=whole)


def _with_network(recipe: Recipe) -> Recipe:
    """The recipe with the network that its file of weights is of, where it takes one and names none."""
    transfer, model = recipe.transfer, recipe.model.name
    if transfer.backbone or not transfer.weights:
        return recipe
    if model != "auto":
        from tenfold.models import find_model

        if model == "torchvision" or "transfer" not in find_model(model).sections:  # the first has its own networks
            return recipe
    return recipe.change(transfer={"backbone": whose_weights(transfer.weights)})


def _instead(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings, and with --init those that put aside what the recipe names of another network."""
    others = {f"transfer__{name}": getattr(TransferSettings(), name) for name in ("backbone", "weights")}
    if given := [f"--{name.replace('__', '.')}" for name in others if settings.get(name)]:
        raise UsageError(f"--init brings a network with its weights; give it without {' and '.join(given)}.")
    return others | settings


def refuse_unread(recipe: Recipe, settings: Mapping[str, object]) -> None:
    """Raise UsageError for a setting that was typed and that the recipe's model, which it names, does not go by.

    What is typed as it is anyway, or as "none" or "off", asks for nothing. Of a frozen network whose head is left to
    the ladder, what that chooses is refused too, as `refuse_chosen` says.
    """
    from tenfold.models import MODELS, find_model
    from tenfold.transfer.settle import is_open, refuse_chosen

    model = recipe.model.name
    kind, usual = find_model(model), Recipe()
    for name in (key.replace("__", ".") for key in settings):
        if name not in kind.unread or attrgetter(name)(recipe) in (attrgetter(name)(usual), "none", "off"):
            continue
        able = [one for one, other in MODELS.items() if other.task == kind.task and name not in other.unread]
        option = f"{name} ({SHORT[name]})" if name in SHORT else name
        whose = " or ".join(filter(None, [", ".join(able[:-1]), able[-1]]))
        raise UsageError(f"{option} is for {whose}, not for {model}; leave it out, or set --model.")
    if is_open(recipe):
        refuse_chosen(recipe)


def refuse_foreign(run: Run, classes: Mapping[str, object], boxes: Mapping[str, object]) -> None:
    """Raise UsageError for an option that was given, as its value is not None, and is none of what the run is.

    `classes` are those that only a classifier has, `boxes` those that only a detector has.
    """
    is_detector = run.task.name == "detection"
    foreign, wanted, found = (
        (classes, "a classifier", "a detector") if is_detector else (boxes, "a detector", "a classifier")
    )
    if given := [name for name, value in foreign.items() if value is not None]:
        value = f" {foreign[given[0]]}" if given[0] == "--format" else ""
        raise UsageError(f"{given[0]}{value} is for {wanted}, and {run.path} is {found}; leave it out.")


_TYPED = {int: Whole, PolicySetting: str}
"""What is typed for a setting of that type, where it is not the type itself."""


def _options() -> list[inspect.Parameter]:
    usual = Group("Usual settings", sort_key=1)
    options = []
    for place, (section, settings) in enumerate(type_hints(Recipe).items()):
        group = Group(f"{section.capitalize()} settings", sort_key=2 + place)
        texts = {field.arg_name: field.description for field in parse_from_object(settings).params}
        for name, hint in type_hints(settings).items():
            default = getattr(settings(), name)
            names = [f"--{section}.{name}".replace("_", "-")]
            short = SHORT.get(f"{section}.{name}")
            option = Parameter(
                name=[*names, short] if short else names,
                help=texts.get(name),
                group=usual if short else group,
                negative=f"--no-{(short or names[0]).removeprefix('--')}" if default is True else (),
                consume_multiple=isinstance(default, tuple),
            )
            typed = Share if f"{section}.{name}" in SHARES else _TYPED.get(hint, hint)
            options.append(
                inspect.Parameter(
                    f"{section}__{name}",
                    inspect.Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=Annotated[typed, option],
                )
            )
    return options
