"""Policies by name: Tenfold's own, and the published ones with the ops and ranges of torchvision.

Tenfold's own: none, light, standard, strong. Published, each as a function of its settings and under its name:

RandAugment           Cubuk, Zoph, Shlens and Le, NeurIPS 2020, arXiv 1909.13719
TrivialAugment (Wide) Müller and Hutter, ICCV 2021, arXiv 2103.10158
AutoAugment           Cubuk, Zoph, Mane, Vasudevan and Le, CVPR 2019, arXiv 1805.09501, appendix
AugMix                Hendrycks, Mu, Cubuk, Zoph, Gilmer and Lakshminarayanan, ICLR 2020, arXiv 1912.02781

Ranges, numbers of steps and sampling (nearest, black outside; AugMix bilinear) are those of torchvision 0.29. Shifts
are not cut to whole pixels, as nearest sampling rounds them anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tenfold.augment.mix_settings import Mix
from tenfold.augment.policy import Policy
from tenfold.augment.tree import Blend, Chain, Choose, Op, op
from tenfold.errors import UsageError, unknown

_NAMES: dict[str, tuple[str, str]] = {
    "Identity": ("identity", ""),
    "ShearX": ("skew", "x"),
    "ShearY": ("skew", "y"),
    "TranslateX": ("shift", "x"),
    "TranslateY": ("shift", "y"),
    "Rotate": ("rotate", "degrees"),
    "Brightness": ("brightness", "change"),
    "Color": ("saturation", "change"),
    "Contrast": ("contrast_about_mean", "change"),
    "Sharpness": ("sharpness", "change"),
    "Posterize": ("posterize", "bits"),
    "Solarize": ("solarize", "threshold"),
    "AutoContrast": ("autocontrast", ""),
    "Equalize": ("equalize", ""),
    "Invert": ("invert", ""),
}
"""The papers' names of ops -> ours, and the parameter that the magnitude sets."""

_COLORS = ("Brightness", "Color", "Contrast", "Sharpness")
_SIGNED = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", *_COLORS)
_SPACE = (*_SIGNED, "Posterize", "Solarize", "AutoContrast", "Equalize")

# The least and the greatest strength of each op that has one; shifts are shares of the side, but in TrivialAugment.
_USUAL: dict[str, tuple[float, float]] = {
    "ShearX": (0, 0.3),
    "ShearY": (0, 0.3),
    "TranslateX": (0, 150 / 331),
    "TranslateY": (0, 150 / 331),
    "Rotate": (0, 30),
    **dict.fromkeys(_COLORS, (0, 0.9)),
    "Posterize": (8, 4),
    "Solarize": (255, 0),
}
_WIDE: dict[str, tuple[float, float]] = {
    "ShearX": (0, 0.99),
    "ShearY": (0, 0.99),
    "TranslateX": (0, 32),
    "TranslateY": (0, 32),
    "Rotate": (0, 135),
    **dict.fromkeys(_COLORS, (0, 0.99)),
    "Posterize": (8, 2),
    "Solarize": (255, 0),
}
_AUGMIX = _USUAL | {"TranslateX": (0, 1 / 3), "TranslateY": (0, 1 / 3), "Posterize": (4, 0)}

# (op, probability, magnitude from 0 to 9 or None) twice for each sub-policy.
_Sub = tuple[tuple[str, float, int | None], tuple[str, float, int | None]]

_IMAGENET: tuple[_Sub, ...] = (
    (("Posterize", 0.4, 8), ("Rotate", 0.6, 9)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
    (("Posterize", 0.6, 7), ("Posterize", 0.6, 6)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Equalize", 0.4, None), ("Rotate", 0.8, 8)),
    (("Solarize", 0.6, 3), ("Equalize", 0.6, None)),
    (("Posterize", 0.8, 5), ("Equalize", 1.0, None)),
    (("Rotate", 0.2, 3), ("Solarize", 0.6, 8)),
    (("Equalize", 0.6, None), ("Posterize", 0.4, 6)),
    (("Rotate", 0.8, 8), ("Color", 0.4, 0)),
    (("Rotate", 0.4, 9), ("Equalize", 0.6, None)),
    (("Equalize", 0.0, None), ("Equalize", 0.8, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Rotate", 0.8, 8), ("Color", 1.0, 2)),
    (("Color", 0.8, 8), ("Solarize", 0.8, 7)),
    (("Sharpness", 0.4, 7), ("Invert", 0.6, None)),
    (("ShearX", 0.6, 5), ("Equalize", 1.0, None)),
    (("Color", 0.4, 0), ("Equalize", 0.6, None)),
    (("Equalize", 0.4, None), ("Solarize", 0.2, 4)),
    (("Solarize", 0.6, 5), ("AutoContrast", 0.6, None)),
    (("Invert", 0.6, None), ("Equalize", 1.0, None)),
    (("Color", 0.6, 4), ("Contrast", 1.0, 8)),
    (("Equalize", 0.8, None), ("Equalize", 0.6, None)),
)

_CIFAR10: tuple[_Sub, ...] = (
    (("Invert", 0.1, None), ("Contrast", 0.2, 6)),
    (("Rotate", 0.7, 2), ("TranslateX", 0.3, 9)),
    (("Sharpness", 0.8, 1), ("Sharpness", 0.9, 3)),
    (("ShearY", 0.5, 8), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.5, None), ("Equalize", 0.9, None)),
    (("ShearY", 0.2, 7), ("Posterize", 0.3, 7)),
    (("Color", 0.4, 3), ("Brightness", 0.6, 7)),
    (("Sharpness", 0.3, 9), ("Brightness", 0.7, 9)),
    (("Equalize", 0.6, None), ("Equalize", 0.5, None)),
    (("Contrast", 0.6, 7), ("Sharpness", 0.6, 5)),
    (("Color", 0.7, 7), ("TranslateX", 0.5, 8)),
    (("Equalize", 0.3, None), ("AutoContrast", 0.4, None)),
    (("TranslateY", 0.4, 3), ("Sharpness", 0.2, 6)),
    (("Brightness", 0.9, 6), ("Color", 0.2, 8)),
    (("Solarize", 0.5, 2), ("Invert", 0.0, None)),
    (("Equalize", 0.2, None), ("AutoContrast", 0.6, None)),
    (("Equalize", 0.2, None), ("Equalize", 0.6, None)),
    (("Color", 0.9, 9), ("Equalize", 0.6, None)),
    (("AutoContrast", 0.8, None), ("Solarize", 0.2, 8)),
    (("Brightness", 0.1, 3), ("Color", 0.7, 0)),
    (("Solarize", 0.4, 5), ("AutoContrast", 0.9, None)),
    (("TranslateY", 0.9, 9), ("TranslateY", 0.7, 9)),
    (("AutoContrast", 0.9, None), ("Solarize", 0.8, 3)),
    (("Equalize", 0.8, None), ("Invert", 0.1, None)),
    (("TranslateY", 0.7, 9), ("AutoContrast", 0.9, None)),
)


def none() -> Policy:
    """Every image stays as it is."""
    return Policy("none")


def light() -> Policy:
    """Small changes that hardly an image minds: a large crop, a flip, a little color."""
    ops = (
        op("crop", {"scale": [0.8, 1], "aspect": 1.1}),
        op("flip", "horizontal", 0.5),
        op("brightness", 0.1),
        op("contrast", 0.1),
    )
    return Policy("light", ops)


def standard() -> Policy:
    """The default of `tenfold train` from scratch, with the settings of [augment] in a recipe."""
    ops = (
        op("shift", 0.05),
        op("crop", {"scale": [0.5, 1], "aspect": 1.33}),
        op("rotate", 5),
        op("flip", "horizontal", 0.5),
        op("saturation", 0.3),
        op("brightness", 0.3),
        op("contrast", 0.3),
    )
    return Policy("standard", ops, Mix(mixup=0.4, cutmix=1.0))


def strong() -> Policy:
    """More of all: smaller crops, more rotation and color, hue, and a square cut out of every second image."""
    ops = (
        op("shift", 0.1),
        op("crop", {"scale": [0.25, 1], "aspect": 1.5}),
        op("rotate", 15),
        op("shear", {"x": 8, "y": 8}),
        op("flip", "horizontal", 0.5),
        op("saturation", 0.5),
        op("hue", 0.05),
        op("brightness", 0.4),
        op("contrast", 0.4),
        op("grey", True, 0.1),
        op("cutout", [0.2, 0.5], 0.5),
    )
    return Policy("strong", ops, Mix(mixup=0.4, cutmix=1.0))


def randaugment(n: int = 2, m: int = 9) -> Policy:
    """RandAugment: `n` ops of 14 for each image, at magnitude `m` of 0 to 30. Raises UsageError for another."""
    if not (0 <= n <= 64 and 0 <= m <= 30):
        raise UsageError(f"randaugment needs n from 0 to 64 and m from 0 to 30, not n = {n} and m = {m}.")
    ops = tuple(_published(name, _USUAL, 30, m, m) for name in ("Identity", *_SPACE))
    return Policy("randaugment", (Choose(n, n, ops),), fill="constant", interpolation="nearest")


def trivialaugment() -> Policy:
    """TrivialAugment Wide: one op of 14 for each image, its magnitude any of 31 steps."""
    ops = [_published(name, _WIDE, 30, 0, 30) for name in ("Identity", *_SPACE)]
    return Policy("trivialaugment", (Choose(1, 1, tuple(ops)),), fill="constant", interpolation="nearest")


def autoaugment_cifar10() -> Policy:
    """AutoAugment as found on CIFAR-10: one of 25 sub-policies for each image."""
    return _autoaugment("autoaugment-cifar10", _CIFAR10)


def autoaugment_imagenet() -> Policy:
    """AutoAugment as found on ImageNet: one of 25 sub-policies for each image."""
    return _autoaugment("autoaugment-imagenet", _IMAGENET)


def augmix(severity: int = 3, width: int = 3, alpha: float = 1.0) -> Policy:
    """AugMix: the image blended with `width` copies, each changed by 1 to 3 ops of at most `severity` of 10.

    Raises UsageError for a severity that is not from 1 to 10. The loss that the paper adds is no part of it.
    """
    if not 1 <= severity <= 10:
        raise UsageError(f"augmix needs a severity from 1 to 10, not {severity}.")
    ops = tuple(_published(name, _AUGMIX, 9, 0, severity - 1) for name in _SPACE)
    return Policy("augmix", (Blend(width, Choose(1, 3, ops), alpha),), fill="constant")


NAMED: dict[str, Callable[[], Policy]] = {
    "none": none,
    "light": light,
    "standard": standard,
    "strong": strong,
    "randaugment": randaugment,
    "trivialaugment": trivialaugment,
    "autoaugment-cifar10": autoaugment_cifar10,
    "autoaugment-imagenet": autoaugment_imagenet,
    "augmix": augmix,
}
"""Every policy that has a name."""


_READ = "Policy.from_toml(Path({!r})) reads a file"


def named_policy(name: str) -> Policy:
    """The policy of a name, at its paper's settings. Raises UsageError for an unknown one."""
    if name not in NAMED:
        if name.endswith(".toml"):
            names = ", ".join(NAMED)
            raise UsageError(f"A policy's name must be one of {names}, not {name!r}; {_READ.format(name)}.")
        raise unknown("A policy", name, NAMED)
    return NAMED[name]()


def find_policy(name_or_file: str) -> Policy:
    """A policy by its name or, where that ends in .toml, from its file."""
    if name_or_file == "all":
        raise UsageError("A policy must be a name or a .toml file, not 'all', which is every op and needs --safety.")
    return Policy.from_toml(Path(name_or_file)) if name_or_file.endswith(".toml") else named_policy(name_or_file)


def _autoaugment(name: str, table: tuple[_Sub, ...]) -> Policy:
    chains = tuple(
        Chain(tuple(_published(part, _USUAL, 9, level or 0, level or 0, chance) for part, chance, level in pair))
        for pair in table
    )
    return Policy(name, (Choose(1, 1, chains),), fill="constant", interpolation="nearest")


def _published(
    name: str,
    strengths: dict[str, tuple[float, float]],
    last: int,
    first_level: int,
    last_level: int,
    probability: float = 1.0,
) -> Op:
    """An op of a paper: any of the levels first_level to last_level of 0 to `last`, either sign where it has one."""
    ours, parameter = _NAMES[name]
    if name not in strengths:
        return op(ours, True, probability)
    start, end = strengths[name]
    ends = [start + (end - start) * level / last for level in (first_level, last_level)]
    if ours == "shift" and end > 1:
        ours = "shift_pixels"
    steps = last_level - first_level + 1
    table = {"low": min(ends), "high": max(ends), "steps": steps if steps > 1 else 0, "signed": name in _SIGNED}
    return op(ours, {parameter: table}, probability)
