"""Recipe: every setting of a run, as nested dataclasses; TOML in, TOML out.

A setting whose value is "auto" (or 0, where 0 has no other meaning) is chosen from the data or by measurement when
training starts; the run's own `recipe.toml` holds what was chosen, so `tenfold train recipe.toml` repeats the run.
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

import tomli_w

from tenfold.errors import DataError, UsageError, nearest, unknown
from tenfold.files import write_file

type_hints = cache(get_type_hints)  # a recipe is checked whenever it changes, and they are text
PolicySetting = str | dict[str, Any]
"""A policy by name or file, or its tables, as in its file."""


@dataclass(frozen=True)
class DataSettings:
    path: str = ""
    """The images: a folder, a listing, a Parquet file, or "digits" (built in)."""
    reader: str = "auto"
    """How to read them: a name in tenfold.images.readers.READERS; auto looks at the path."""
    group_pattern: str = ""
    """A regular expression on the file name; what its first bracket matches is the image's group."""
    allow_truncated: bool = False
    """Accept files that end too early, the missing rows grey in JPEG and black elsewhere."""
    unreadable: Literal["skip", "refuse"] = "skip"
    """What to do with an image that cannot be read: leave it out and name it, or refuse to train."""
    check: bool = True
    """Check the images first: near copies and shots in a row then stay in one part, and what was found is reported."""


@dataclass(frozen=True)
class SplitSettings:
    file: str = ""
    """The split to follow; empty: the one that `tenfold split` wrote for these data, else a new one."""
    validation: float = -1.0
    """Share of the images for validation; -1: advised from how many images, groups and classes there are."""
    test: float = -1.0
    """Share of the images for the test part, sealed until `tenfold evaluate --part test`; -1: advised."""
    per_class: int = 0
    """Training images a class, for few-image studies; 0: all."""


@dataclass(frozen=True)
class ImageSettings:
    size: int = 0
    """Height and width in pixels that the trained network sees, of a rectangle (`aspect`) those of the square of as
    many; 0: from scratch by the images, at most 96 and smaller for a short time; 160 for a pretrained network, or what
    its weights know where that is less; 416 for a detector. "residual" halves its maps at once from 72 on."""
    aspect: float = 0.0
    """Width over height that a detector sees: with 1.33, size 416 is 480 x 352, sides being multiples of 32. 0: of the
    training images (median, 0.5 to 2). All else sees squares, 1, as pretrained weights and the views on them do."""
    margin: float = 0.0
    """Side of the cached canvas over `size`: room for crops; evaluation takes the centre. 0: chosen with the size."""
    fit: Literal["auto", "squash", "crop", "pad"] = "auto"
    """How an image of another shape is fitted in; auto: crop, and squash for a detector, which must see all of it."""
    filter: Literal["triangle", "cubic"] = "triangle"
    """The resize kernel; cubic has a = -0.5. Both antialias."""
    channels: Literal["auto", "grey", "rgb", "bgr"] = "auto"
    """auto: grey where every training image is, else rgb."""
    background: int = 255
    """Grey level from 0 to 255 under transparent pixels and around padded images."""
    mean: tuple[float, ...] = ()
    """Mean of each channel on the 0 to 1 scale; empty: of the training part."""
    std: tuple[float, ...] = ()
    """Standard deviation of each channel on the 0 to 1 scale; empty: of the training part."""


@dataclass(frozen=True)
class AugmentSettings:
    policy: PolicySetting = "auto"
    """What is done to training images: none, light, standard, strong, randaugment, trivialaugment, autoaugment-cifar10,
    autoaugment-imagenet, augmix, or a TOML file; auto: standard, for the built-in digits without its flip, light for a
    detector and none for a frozen network. A run's own recipe has the policy itself here, as tables."""
    mix_share: float = -1.0
    """Share of the images mixed, where the policy has mixup or CutMix; -1: the policy's, else by the epochs, up to half
    in a long training and none in a short one, which it would slow down."""


@dataclass(frozen=True)
class ModelSettings:
    name: str = "auto"
    """A name in tenfold.models.MODELS: "plain" (a stack of convolutions) and "residual" start from scratch, "frozen" is
    a head on a pretrained network's features, "finetuned" trains the pretrained network too. auto: `tenfold train`
    climbs, heads on the frozen network first, then fine-tuning, and keeps the better one (for small grey images, such
    as handwritten digits, it takes "residual"); whatever trains one model only, as `train_model` does, takes
    "residual". Images with boxes want a detector, "faster-rcnn" (auto), "fast-rcnn", "rcnn" or "torchvision"."""
    width: int = 32
    """Hidden units: channels of the first stage; each halving of the maps doubles them, up to 8 times."""
    layers: int = 0
    """Hidden layers: convolutions of the plain network, blocks a stage of the residual one; 0: its default. Of
    "finetuned": new convolutions on the pretrained network, each of `width` channels; 0: none."""
    hidden: tuple[int, ...] = ()
    """Units of fully connected hidden layers before the last."""
    activation: Literal["relu", "leaky_relu", "gelu", "silu", "tanh", "sigmoid"] = "relu"
    """What follows each hidden layer."""
    norm: Literal["auto", "batch", "group", "none"] = "auto"
    """What evens out the values before each activation: the batch, groups of channels, nothing; auto: by batch_size."""
    pool: Literal["max", "average", "stride"] = "max"
    """How maps are halved: by the maximum or average of each 2 x 2, or by strides, which "residual" has for max too."""
    pool_every: int = 1
    """After how many convolutions the plain network halves its maps, and doubles its width."""
    dropout: float = 0.0
    """Share of the units dropped before the last layer."""
    members: int = 1
    """Networks from scratch side by side, each trained by itself, whose mean probability is the answer."""


@dataclass(frozen=True)
class TransferSettings:
    backbone: str = ""
    """The pretrained network: a name in tenfold.models.backbones.BACKBONES, torchvision:NAME or timm:NAME; several with
    commas, or auto: the ladder chooses; auto are those whose weights are here, free for every use, not of faces, at
    most ten times the work. Empty: auto on the ladder; else that of `weights`, or efficientnet-lite0."""
    weights: str = ""
    """A file with its weights; empty: published ones."""
    init: str = ""
    """An earlier run's folder, whose network is taken with its weights instead; the new run holds all of it."""
    views: Literal["center", "flip", "corners", "crops"] = "flip"
    """How a frozen network looks at an image: at all of it; and mirrored; at four corners; at all of these."""
    crop: int = 0
    """Side of a view in pixels, where it is not the whole image; 0: the whole image."""
    spread: bool = False
    """Whether each view of a training image is a row of its own for the head, or their mean is one."""
    head: str = "auto"
    """What is fitted to the features of "frozen": a name in tenfold.models.heads.HEADS; auto: the ladder chooses."""
    strength: float = 0.0
    """How strongly the head is regularized, or how many neighbors it asks; 0: chosen inside the training part."""
    sharpness: float = 0.0
    """What scores of a nearest mean, an SVM or a ridge are multiplied by; 0: chosen, with the strength or by itself."""
    frozen: float = 0.2
    """Share of the training of "finetuned" during which the pretrained network stays as it is."""
    thawed: float = 0.6
    """Share after which all of its stages learn, the last one first; `frozen`, where that is more."""
    rate_decay: float = 0.7
    """What the learning rate of each stage is multiplied by, from the head down."""


@dataclass(frozen=True)
class DetectSettings:
    pyramid: bool = True
    """Look at maps of several strides, made one width by a feature pyramid (Lin et al. 2017); else at one map alone."""
    pyramid_width: int = 96
    """Channels of the pyramid's maps."""
    stride: int = 0
    """Pixels of the image that one pixel of the finest map stands for, or of the only one: 4, 8, 16 or 32; 0: 8 with a
    pyramid, 16 without. 4 is for objects below 16 px, and costs half as much again."""
    fixed_stride: int = 4
    """Stages of the pretrained network up to this stride never learn, which saves time; 0: all of them learn."""
    anchors: int = 3
    """Anchor boxes at each place of a map; without a pyramid three times so many."""
    proposals: int = 0
    """Regions of an image that are looked at; 0: 2,000, of Faster R-CNN's own 300 or three for each of `detections`."""
    proposals_from: str = ""
    """A file of proposals for Fast R-CNN and R-CNN, as docs/proposals.md has it; empty: Selective Search finds them."""
    regions: int = 128
    """Regions of an image that the loss is of, at most a quarter of them objects; of R-CNN the first of validation."""
    background_from: float = 0.0
    """IoU with an object from which on a region may be background; 0.1 in the paper of Fast R-CNN. Not for R-CNN."""
    units: int = 256
    """Units of each of the two fully connected layers that look at a region."""
    rank: int = 0
    """Singular values that are kept of these layers once they are trained (Girshick 2015, section 3.1); 0: all."""
    pool: Literal["auto", "align", "pool"] = "auto"
    """A region is cut out by interpolation (He et al. 2017) or largest values; auto: the latter for Fast R-CNN."""
    score: float = 0.02
    """Detections with a lower score are left out."""
    overlap: float = 0.0
    """Of two detections of a class that overlap more (IoU) the lower goes; 0: 0.5, R-CNN 0.3, torchvision its own."""
    detections: int = 0
    """Detections of an image, at most; 0: twice the boxes of the training image that has most, at least 100."""
    crop: int = 0
    """Pixels of a side of the squares that R-CNN warps its regions to; 0: 64."""
    finetune: bool = False
    """Fine-tune R-CNN's network on regions first, as its paper does, in a run of its own beside it: OUT-regions."""


@dataclass(frozen=True)
class TrainSettings:
    epochs: int = 0
    """Passes over the training part; 0: chosen from its size."""
    minutes: float = 0.0
    """Time for `tenfold train`, or for the training from Python; the schedule is fitted to it. 0: no limit. When both
    are given the shorter one counts. A pretrained network is trained for no more epochs than without it."""
    batch_size: int = 0
    """Images a step; 0: chosen from the number of training images, at most 64; of few images with boxes 2 to 4."""
    lr: float = 0.0
    """Peak learning rate; 0: 0.04 for Muon, 0.005 for AdamW, 0.1 for SGD, about a tenth for a pretrained network."""
    find_lr: bool = False
    """Choose the peak learning rate by a range test before training (Smith 2017)."""
    optimizer: Literal["auto", "muon", "adamw", "sgd"] = "auto"
    """Muon (Jordan et al. 2024), AdamW (Loshchilov and Hutter 2019), Nesterov's SGD; auto: Muon, pretrained AdamW."""
    momentum: float = 0.9
    """Nesterov momentum of Muon and SGD, beta1 of AdamW."""
    weight_decay: float = 0.05
    """Never on biases and normalization."""
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    """How the learning rate rises and falls: along cosines from 1/25, or along a line from 0 and then a cosine."""
    warmup: float = 0.2
    """Share of the steps over which the learning rate rises."""
    label_smoothing: float = 0.1
    """Share of each label that is spread evenly over all classes (Szegedy et al. 2016)."""
    balance: Literal["auto", "none", "weights", "sampling", "background"] = "auto"
    """Against imbalance: class weights in the loss, or drawing all classes equally; auto: weights from 3 to 1 on.
    background: three quarters of each batch are of the class (background), as R-CNN's fine-tuning has it."""
    clip: float = 1.0
    """Largest norm of the gradient; 0: no clipping."""
    ema: float = 0.04
    """Over which share of all steps the weights that are evaluated and kept are averaged; 0: off."""
    grow: Literal["auto", "on", "off"] = "auto"
    """Train on smaller images first, the size growing to `image.size`."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """auto: whichever this machine trains this network faster in, measured at the start."""
    patience: int = 0
    """Epochs without a lower validation loss before training stops; 0: never stops early. It needs `keep` best."""
    keep: Literal["auto", "best", "last"] = "auto"
    """Which weights stay: those of the lowest validation loss, or the last ones; auto: the best, but the last of a
    detector and of a pretrained network that learns too, whose loss rises before its accuracy does."""
    seed: int = 0
    """Another seed gives other first weights, another order of the images and other augmentation."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1, mps."""
    threads: int = 0
    """Processor threads of the network; 0: all cores, or half where that is measured to be faster; and halved again
    where training becomes four times slower on the way."""
    workers: int = 0
    """Threads that decode images and feed a GPU; 0: chosen from the cores."""
    tensorboard: bool = False
    """Write TensorBoard events into the run too; needs the package tensorboard."""


RANGES: dict[str, tuple[float, float]] = {
    "split.validation": (-1, 0.9),
    "split.test": (-1, 0.9),
    "split.per_class": (0, 2**31),
    "image.size": (0, 4096),
    "image.aspect": (0, 4),
    "image.margin": (0, 4),
    "image.background": (0, 255),
    "image.mean": (0, 1),
    "image.std": (1e-6, 1),
    "augment.mix_share": (-1, 1),
    "model.width": (1, 4096),
    "model.layers": (0, 64),
    "model.hidden": (1, 65_536),
    "model.pool_every": (1, 64),
    "model.dropout": (0, 0.99),
    "model.members": (1, 64),
    "transfer.crop": (0, 4096),
    "transfer.strength": (0, 1_000_000),
    "transfer.sharpness": (0, 1_000_000),
    "transfer.frozen": (0, 1),
    "transfer.thawed": (0, 1),
    "transfer.rate_decay": (0.01, 1),
    "detect.pyramid_width": (8, 4096),
    "detect.stride": (0, 64),
    "detect.fixed_stride": (0, 64),
    "detect.anchors": (1, 64),
    "detect.proposals": (0, 100_000),
    "detect.regions": (4, 10_000),
    "detect.background_from": (0, 0.4),
    "detect.units": (1, 65_536),
    "detect.rank": (0, 65_536),
    "detect.score": (0, 1),
    "detect.overlap": (0, 1),
    "detect.detections": (0, 100_000),
    "detect.crop": (0, 1024),
    "train.epochs": (0, 1_000_000),
    "train.minutes": (0, 1_000_000),
    "train.batch_size": (0, 65_536),
    "train.lr": (0, 100),
    "train.momentum": (0, 0.9999),
    "train.weight_decay": (0, 10),
    "train.warmup": (0, 1),
    "train.label_smoothing": (0, 0.99),
    "train.clip": (0, 1_000_000),
    "train.ema": (0, 1),
    "train.patience": (0, 1_000_000),
    "train.seed": (0, 2**63 - 1),
    "train.threads": (0, 1024),
    "train.workers": (0, 1024),
}
"""The least and the most that each number may be; in a tuple, each of its numbers."""
GAPS = {"split.validation": (-1, 0), "split.test": (-1, 0), "augment.mix_share": (-1, 0), "image.aspect": (0, 0.25)}
"""Settings that may be nothing between these two: the first leaves them open, from the second on they are given."""


@dataclass(frozen=True)
class Recipe:
    """Every setting of a run."""

    data: DataSettings = field(default_factory=DataSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    image: ImageSettings = field(default_factory=ImageSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    transfer: TransferSettings = field(default_factory=TransferSettings)
    detect: DetectSettings = field(default_factory=DetectSettings)
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        for part in dataclasses.fields(self):
            _check_types(part.name, getattr(self, part.name))
        for name, (low, high) in RANGES.items():
            value = attrgetter(name)(self)
            for number in value if isinstance(value, tuple) else (value,):
                check_range(name, number, low, high)
        for name, (left_open, least) in GAPS.items():
            if left_open < (value := attrgetter(name)(self)) < least:
                allowed = f"from {least:g} to {RANGES[name][1]:g}, or {left_open:g}"
                raise UsageError(f"{name} must be {allowed}, not {value:g}.")
        check_range("split.validation + split.test", max(self.split.validation, 0) + max(self.split.test, 0), 0, 0.95)

    def change(self, **sections: dict[str, Any]) -> Recipe:
        """The recipe with some settings replaced: `recipe.change(train={"epochs": 3})`."""
        for section, values in sections.items():
            _check_names(section, values, "the recipe")
        changed = {name: dataclasses.replace(getattr(self, name), **values) for name, values in sections.items()}
        return dataclasses.replace(self, **changed)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise a UsageError that names the setting unless low <= value <= high."""
    if not low <= value <= high:
        raise UsageError(f"{name} must be from {low:g} to {high:g}, not {value:g}.")


def read_recipe(path: str | Path) -> Recipe:
    """A recipe from a TOML file; settings that are not in it keep their defaults.

    Raises DataError where the file cannot be read, UsageError for an unknown or impossible setting.
    """
    try:
        content = tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"The recipe {path} cannot be read: {error}.") from error
    return recipe_from(content, str(path))


def recipe_from(content: dict[str, Any], origin: str = "recipe") -> Recipe:
    """A recipe from nested dictionaries, as `recipe_dict` gives them."""
    built = {}
    for section, values in content.items():
        _check_names(section, values, origin)
        tidy = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        built[section] = type_hints(Recipe)[section](**tidy)
    return Recipe(**built)


def recipe_dict(recipe: Recipe) -> dict[str, Any]:
    """Nested dictionaries of every setting, tuples as lists."""
    content: dict[str, Any] = dataclasses.asdict(recipe)
    for values in content.values():
        values.update({name: list(value) for name, value in values.items() if isinstance(value, tuple)})
    return content


def write_recipe(recipe: Recipe, path: str | Path) -> None:
    """Write every setting, defaults included, as TOML."""
    write_file(path, tomli_w.dumps(recipe_dict(recipe)))


def _check_names(section: str, values: Any, origin: str) -> None:
    known = {name: type_hints(settings) for name, settings in type_hints(Recipe).items()}
    every = [*known, *(f"{part}.{name}" for part, names in known.items() for name in names)]
    if section not in known:
        raise unknown(f"A section of {origin}", section, known, nearest(section, every))
    if not isinstance(values, dict):
        raise UsageError(f"[{section}] of {origin} must be a table of settings, not {values!r}.")
    for name in values:
        if name not in known[section]:
            near = nearest(f"{section}.{name}", every).removeprefix(f"{section}.")
            raise unknown(f"A setting in [{section}] of {origin}", name, known[section], near)


def _check_types(section: str, settings: Any) -> None:
    for name, hint in type_hints(type_hints(Recipe)[section]).items():
        value, allowed, kind = getattr(settings, name), get_args(hint), (int, float) if hint is float else hint
        if hint == PolicySetting:
            if not isinstance(value, str | dict):
                raise UsageError(f"{section}.{name} must be a name, a file or the policy's tables, not {value!r}.")
        elif allowed and isinstance(allowed[0], str):
            if value not in allowed:
                raise unknown(f"{section}.{name}", str(value), allowed)
        elif allowed:
            if not isinstance(value, tuple) or not all(isinstance(item, (allowed[0], int)) for item in value):
                raise UsageError(f"{section}.{name} must be a list of {allowed[0].__name__}, not {value!r}.")
        elif not isinstance(value, kind) or isinstance(value, bool) != (hint is bool):
            raise UsageError(f"{section}.{name} must be {hint.__name__}, not {value!r}.")
