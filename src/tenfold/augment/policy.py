"""Policy: an augmentation as data; a TOML file that can be carried to another data set.

    policy = Policy.from_toml("mine.toml")
    print(policy)
    changed = policy(image, boxes, key=draw_key)

What it does to an image depends on the image's draw key only (see draws.py), not on the batch.

Shapes: N images H x W, C channels (1: grey, 3: RGB); output h x w; B boxes, B' of them kept; P points, P' kept; K
classes.
"""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeGuard, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenfold.augment.apply import Sampling, apply, apply_normalized
from tenfold.augment.boxes import Boxes, Kept, Points, move_boxes, move_points
from tenfold.augment.draw import Drawn, Fill, Interpolation, Size, draw
from tenfold.augment.mix_settings import UNMIXED, Mix
from tenfold.augment.ops import OPS
from tenfold.augment.tree import Node, Op, describe_node, read_nodes, tidy, write_node
from tenfold.draws import Keys
from tenfold.errors import DataError, UsageError, unknown
from tenfold.files import write_file
from tenfold.images.pixels import Channels
from tenfold.recipe import check_range


class Augmented(NamedTuple):
    """An image after a policy."""

    image: NDArray[np.uint8]
    """[h, w, C]"""
    boxes: Boxes
    """float32 [B', 4], pixels of the output, x1 < x2, y1 < y2; empty without boxes."""
    kept: Kept
    """int64 [B']: which boxes these are."""
    points: Points
    """float32 [P', 2]"""
    kept_points: Kept
    """int64 [P']"""
    trace: list[tuple[str, str]]
    """What was done, in order: the op's name and its magnitude in words."""


class AugmentedBatch(NamedTuple):
    """Images after a policy."""

    images: NDArray[np.uint8]
    """[N, h, w, C]"""
    boxes: list[Boxes]
    """One array for each image, as in Augmented; empty without boxes."""
    kept: list[Kept]
    drawn: Drawn
    """What was done: `drawn.trace()` says it in words, for each image."""
    points: list[Points]
    """One array for each image, as in Augmented; empty without points."""
    kept_points: list[Kept]


class MixedBatch(NamedTuple):
    """Images after mixing."""

    images: NDArray[Any]
    """[N, H, W, C], of the dtype that came in."""
    labels: NDArray[np.float32]
    """[N, K]: what each image is of; a row sums to what it summed to before, or lies between two such sums."""
    shares: NDArray[np.float32]
    """[N]: how much of each image is its own, 1 where it is not mixed."""


@dataclass(frozen=True)
class Policy:
    """An augmentation: ops in order, each with a probability and from where its magnitude is drawn."""

    name: str
    ops: tuple[Node, ...] = ()
    mix: Mix = UNMIXED
    fill: Fill = "reflect"
    """What lies outside an image that has moved: its nearest pixel, a constant, the image mirrored or repeated."""
    value: tuple[float, ...] = (0.0,)
    """The grey level of a constant fill, 0 to 255: one, or one a channel, red first."""
    interpolation: Interpolation = "bilinear"
    visible: float = 0.3
    """Share of a box's area that must still be seen, else it is dropped."""

    def __post_init__(self) -> None:
        for name, hint in (("fill", Fill), ("interpolation", Interpolation)):
            if getattr(self, name) not in get_args(hint):
                raise unknown(f"A policy's {name}", str(getattr(self, name)), get_args(hint))
        if len(self.value) not in (1, 3):
            raise UsageError(f"A policy's value must be one grey level or three, not {list(self.value)}.")
        for level in self.value:
            check_range("A policy's value", level, 0, 255)
        check_range("A policy's visible", self.visible, 0, 1)

    def __call__(
        self,
        image: NDArray[np.uint8],
        boxes: ArrayLike | None = None,
        *,
        key: int,
        points: ArrayLike | None = None,
        size: Size | None = None,
    ) -> Augmented:
        """One image uint8 [H, W, C] -> the image, and its boxes and points, after the policy.

        `boxes` float32 [B, 4] (xyxy, pixels) and `points` float32 [P, 2], or lists of such rows, move with the
        geometry, but for that inside a blend, whose copies have no boxes. `key`: see tenfold.draws.draw_keys. `size`:
        height and width of the output, those of the image unless given. Raises UsageError for another form of them.
        """
        if not (_is_bytes(image) and image.ndim == 3 and image.shape[2] in (1, 3)):
            raise UsageError(
                f"The image must be an array uint8 [H, W, C] with 1 or 3 channels, not {_form(image)}; "
                "np.asarray makes one of a PIL image, and image[..., None] of one [H, W]."
            )
        given: list[ArrayLike] = [np.empty((0, 4), np.float32) if boxes is None else boxes]
        places: list[ArrayLike] = [np.empty((0, 2), np.float32) if points is None else points]
        if not 0 <= key < 2**64:
            raise UsageError(f"key must be a whole number from 0 to 2**64 - 1, as draw_keys gives, not {key}.")
        made = self.batch(image[None], np.array([key], np.uint64), boxes=given, points=places, size=size)
        moved = made.boxes[0], made.kept[0], made.points[0], made.kept_points[0]
        return Augmented(made.images[0], *moved, made.drawn.trace()[0])

    def batch(
        self,
        images: NDArray[np.uint8],
        keys: Keys,
        *,
        boxes: Sequence[ArrayLike] | None = None,
        points: Sequence[ArrayLike] | None = None,
        size: Size | None = None,
        threads: int = 1,
    ) -> AugmentedBatch:
        """Images uint8 [N, H, W, C] with their keys uint64 [N] -> what the policy makes of each, but for its mixing.

        `boxes`, `points`: one float32 [B, 4] (xyxy, pixels), one float32 [P, 2] for each image. The result for an
        image is the same alone and in any batch. Mixing needs labels: see `mix_batch`. Raises UsageError for another
        form of the images, keys, boxes or points.
        """
        _check_images(images)
        for name, given in (("keys", keys), ("lists of boxes", boxes), ("lists of points", points)):
            if given is not None and len(given) != len(images):
                raise UsageError(f"{len(images)} images need as many {name}, not {len(given)}.")
        drawn = self._drawn_for(images, keys, size)
        result = apply(drawn, images, self.sampling(threads))
        moved = [
            move_boxes(own, matrix, drawn.size, self.visible)
            for own, matrix in zip(() if boxes is None else boxes, drawn.total, strict=boxes is not None)
        ]
        placed = [
            move_points(own, matrix, drawn.size)
            for own, matrix in zip(() if points is None else points, drawn.total, strict=points is not None)
        ]
        boxed = [own for own, _ in moved], [kept for _, kept in moved]
        return AugmentedBatch(result, *boxed, drawn, [own for own, _ in placed], [kept for _, kept in placed])

    def batch_normalized(
        self,
        images: NDArray[np.uint8],
        keys: Keys,
        *,
        mean: Sequence[float],
        std: Sequence[float],
        layout: Literal["NHWC", "NCHW"] = "NHWC",
        size: Size | None = None,
        threads: int = 1,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Images uint8 [N, H, W, C] with their keys uint64 [N] -> (changed pixels / 255 - mean) / std, for a network.

        float32 [N, h, w, C], or [N, C, h, w] with the layout NCHW. `mean` and `std` [C] are on the 0 to 1 scale. Where
        the policy `is_fused` this is one pass over the pixels, and values are not cut to 0 to 255 before. The changes
        are those of `batch` with these keys; where boxes and points go, `draw` says without touching a pixel. Written
        to `out` where given, C-contiguous, of the result's shape: a large new array for each batch can cost more than
        the pass. Raises UsageError for another form of the images, keys or `out`, and a std that is not above 0.
        """
        _check_images(images)
        if len(keys) != len(images):
            raise UsageError(f"{len(images)} images need as many keys, not {len(keys)}.")
        if layout not in ("NHWC", "NCHW"):
            raise unknown("layout", str(layout), ("NHWC", "NCHW"))
        if not (np.isfinite([*mean, *std]).all() and min(std, default=1.0) > 0):
            raise UsageError(f"mean and std must be finite, std above 0, not {list(mean)} and {list(std)}.")
        drawn = self._drawn_for(images, keys, size)
        return apply_normalized(drawn, images, tuple(mean), tuple(std), layout, self.sampling(threads), out)

    def mix_batch(
        self, images: NDArray[Any], labels: NDArray[Any], keys: Keys, *, classes: int = 0, share: float = -1.0
    ) -> MixedBatch:
        """The policy's mixup or CutMix, done to a batch that `batch` or `batch_normalized` has changed.

        `images`: uint8 or float32 [N, H, W, C]; each is mixed with the one after it, the last with the first.
        `labels`: float [N, K], what each is of, or whole numbers [N] from 0 to `classes` - 1. `share`, from 0 to 1, is
        that of the images to be mixed, and is needed where the policy leaves it to training (`policy.mix.share` is -1).
        `keys` uint64 [N] are those of `batch`: mixing takes the numbers of their streams that come after the ops', as
        training does. Bytes are rounded to nearest. Without mixing (`policy.mix.is_on`) all stay as they are.
        Raises UsageError for another form of any of them.
        """
        from tenfold.augment.mix import mix_arrays

        mixing = self.mix if share == -1 else dataclasses.replace(self.mix, share=share)
        return MixedBatch(*mix_arrays(images, labels, _checked_keys(keys), mixing, self.span, classes))

    def draw(
        self, keys: Keys, height: int, width: int, out_size: Size | None = None, channels: Channels = "rgb"
    ) -> Drawn:
        """What is to be done to images of this size with these keys uint64 [N], before any pixel is touched.

        Where `is_fused`, `matrices` float64 [N, 3, 3] and `color` float32 [N, C, C + 1] of the result say all of it.
        """
        return draw(self.ops, _checked_keys(keys), (height, width), out_size or (height, width), channels)

    def sampling(self, threads: int = 1) -> Sampling:
        """How its pixels are sampled."""
        return Sampling(self.fill, self.value, self.interpolation, threads)

    @property
    def span(self) -> int:
        """How many numbers of a key's stream the ops own; mixing takes the next ones."""
        return sum(node.span for node in self.ops)

    @property
    def is_fused(self) -> bool:
        """Whether one pass over the pixels does all of it: geometry and linear color only."""
        return all(node.is_fused for node in self.ops)

    def without(self, *names: str) -> Policy:
        """The policy without its outermost ops of these names, as where a mirrored image has another label."""
        for name in names:
            if name not in OPS:
                raise unknown("An op", name, OPS)
        left = tuple(node for node in self.ops if not (isinstance(node, Op) and node.name in names))
        return dataclasses.replace(self, ops=left)

    @classmethod
    def from_toml(cls, source: str | Path) -> Policy:
        """A policy from a file (a Path, or a str without "=") or from a TOML text.

        Raises DataError where it cannot be read or is empty, UsageError for an unknown or impossible setting; it names
        the file and the op's number, from 1 on, and for an unknown name the nearest one.
        """
        is_text = isinstance(source, str) and "=" in source
        called = "The policy" if is_text else f"The policy {source}"
        try:
            content = tomllib.loads(str(source) if is_text else Path(source).read_text("utf-8"))
        except OSError as error:
            raise DataError(f"{called} cannot be read: {error.strerror or error}.") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DataError(f"{called} cannot be read: {error}.") from error
        if not content:
            raise DataError(f"{called} is empty; write an [[op]] into it, or a name if it is to change nothing.")
        if is_text:
            return cls.from_dict(content, "the policy")
        try:
            return cls.from_dict(content, Path(source).stem)
        except UsageError as error:
            raise UsageError(f"{called} cannot be used: {error}") from error

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], name: str = "policy") -> Policy:
        """A policy from the tables of its file; without a name of its own it is called `name`."""
        allowed = [field.name if field.name != "ops" else "op" for field in dataclasses.fields(cls)]
        for key in content:
            if key not in allowed:
                raise unknown("A setting of a policy", key, allowed)
        settings: dict[str, Any] = {"name": name, **content}
        tables, mix = settings.pop("op", []), settings.pop("mix", {})
        if not isinstance(tables, list) or not isinstance(mix, dict):
            raise UsageError("A policy's ops must be tables [[op]], and its mixing a table [mix].")
        for key, value in mix.items():
            if key not in Mix.__dataclass_fields__:
                raise unknown("A setting of [mix]", key, Mix.__dataclass_fields__)
            settings.setdefault("mixing", {})[key] = _float(f"mix.{key}", value)
        if "visible" in settings:
            settings["visible"] = _float("A policy's visible", settings["visible"])
        if "value" in settings:
            levels = settings["value"] if isinstance(settings["value"], list) else [settings["value"]]
            settings["value"] = tuple(_float("A policy's value", level) for level in levels)
        if not isinstance(settings["name"], str):
            raise UsageError(f"A policy's name must be text, not {settings['name']!r}.")
        return cls(ops=read_nodes(tables), mix=Mix(**settings.pop("mixing", {})), **settings)

    def to_dict(self) -> dict[str, Any]:
        """The tables of its file; settings at their defaults are left out, but for name, fill and interpolation."""
        content: dict[str, Any] = {"name": self.name, "fill": self.fill}
        if self.fill == "constant" or self.value != Policy.value:
            content["value"] = [tidy(level) for level in self.value]
        content["interpolation"] = self.interpolation
        if self.visible != Policy.visible:
            content["visible"] = tidy(self.visible)
        if self.ops:
            content["op"] = [write_node(node) for node in self.ops]
        if self.mix != UNMIXED:
            content["mix"] = {name: tidy(value) for name, value in dataclasses.asdict(self.mix).items()}
        return content

    def to_toml(self) -> str:
        """The text of its file: `Policy.from_toml` of it is equal to the policy."""
        content = self.to_dict()
        tables = [("[[op]]", table) for table in content.pop("op", [])]
        tables += [("[mix]", content.pop("mix"))] if "mix" in content else []
        blocks = [_toml_lines(content), *(f"{head}\n{_toml_lines(table)}" for head, table in tables)]
        return "\n".join(blocks)

    def write(self, path: str | Path) -> None:
        """Write its file."""
        write_file(path, self.to_toml())

    def __str__(self) -> str:
        return self.describe()

    def describe(self) -> str:
        """The policy in words."""
        outside = (
            f"grey level {', '.join(f'{level:g}' for level in self.value)}" if self.fill == "constant" else self.fill
        )
        lines = [f"Policy {self.name} (outside the image: {outside}; {self.interpolation} sampling)"]
        lines += [f"  {line}" for node in self.ops for line in describe_node(node)]
        if not self.ops:
            lines.append("  no op: every image stays as it is")
        if self.mix.is_on:
            names = [name for name in ("mixup", "cutmix") if getattr(self.mix, name)]
            kinds = " or ".join(f"{name} (Beta {getattr(self.mix, name):g})" for name in names)
            share = f"{100 * self.mix.share:g} % of the images"
            if self.mix.share == -1:
                share = "a share of the images chosen by training"
            where = "training, Policy.mix_batch, MixCollate"
            lines.append(f"  mixes images with labels ({where}): {kinds}, {share}")
        return "\n".join(lines)

    def _drawn_for(self, images: NDArray[np.uint8], keys: Keys, size: Size | None) -> Drawn:
        """What is to be done to images uint8 [N, H, W, C]."""
        height, width, channels = images.shape[1:]
        return self.draw(keys, height, width, size, "grey" if channels == 1 else "rgb")


def _check_images(images: object) -> None:
    """A UsageError unless these are uint8 [N, H, W, C] with 1 or 3 channels."""
    if not (_is_bytes(images) and images.ndim == 4 and images.shape[3] in (1, 3)):
        raise UsageError(
            f"The images must be one array uint8 [N, H, W, C] with 1 or 3 channels, not {_form(images)}; "
            "np.stack makes one of a list, and a policy comes before pixels become floats."
        )


def _is_bytes(images: object) -> TypeGuard[NDArray[np.uint8]]:
    return isinstance(images, np.ndarray) and images.dtype == np.uint8


def _form(given: object) -> str:
    """The dtype and the shape of an array, the type of anything else."""
    return f"{given.dtype} {list(given.shape)}" if isinstance(given, np.ndarray) else type(given).__name__


def _checked_keys(keys: Keys) -> Keys:
    """Draw keys as uint64 [N], whatever whole numbers they came as."""
    given = np.asarray(keys)
    if given.ndim != 1 or given.dtype.kind not in "ui" or (given < 0).any():
        raise UsageError(
            "The keys must be whole numbers [N] from 0 to 2**64 - 1, as tenfold.draws.draw_keys gives, "
            f"not {given.dtype} {list(given.shape)}{' below 0' if given.dtype.kind == 'i' else ''}."
        )
    return given.astype(np.uint64)


def _toml_lines(table: Mapping[str, Any]) -> str:
    return "".join(f"{name} = {_toml_value(value, name == 'of')}\n" for name, value in table.items())


def _toml_value(value: Any, on_lines: bool = False) -> str:
    """A value in one line, as op after op in a file reads best; a list of ops has one a line."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {_toml_value(part)}" for name, part in value.items()) + " }"
    if isinstance(value, list):
        parts = [_toml_value(part) for part in value]
        return "[\n" + "".join(f"  {part},\n" for part in parts) + "]" if on_lines else f"[{', '.join(parts)}]"
    return json.dumps(value, ensure_ascii=False)  # text, numbers, true and false are written alike in both


def _float(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"{name} must be a number, not {value!r}.")
    return float(value)
