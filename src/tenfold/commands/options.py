"""Options that several commands share: whole numbers, shares, and every setting of the recipe.

Each field of the recipe's dataclasses is `--section.name`, the usual ones also `--name`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from cyclopts import Group, Parameter, Token
from docstring_parser import parse_from_object

from tenfold.recipe import PolicySetting, Recipe, read_recipe


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
    "data.check": "--check",
}
"""Settings that have a short name too; they stand first in the help."""


def with_settings(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command that ends with `**settings` an option for each setting of the recipe.

    Only the settings that were typed arrive, as `section__name`; `chosen_recipe` puts them into a recipe.
    """
    signature = inspect.signature(command)
    own = [option for option in signature.parameters.values() if option.kind is not option.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *_options()])  # type: ignore[attr-defined]
    return command


def chosen_recipe(file: Path | None, settings: dict[str, Any]) -> Recipe:
    """The recipe of a TOML file, or else the defaults, with the settings that were typed put over it."""
    recipe = Recipe() if file is None else read_recipe(file)
    sections: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, name = key.split("__")
        sections.setdefault(section, {})[name] = value
    return recipe.change(**sections)


_TYPED = {int: Whole, PolicySetting: str}
"""What is typed for a setting of that type, where it is not the type itself."""


def _options() -> list[inspect.Parameter]:
    usual = Group("Usual settings", sort_key=1)
    options = []
    for place, (section, settings) in enumerate(get_type_hints(Recipe).items()):
        group = Group(f"{section.capitalize()} settings", sort_key=2 + place)
        texts = {field.arg_name: field.description for field in parse_from_object(settings).params}
        for name, hint in get_type_hints(settings).items():
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
