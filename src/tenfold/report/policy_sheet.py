"""A contact sheet of a policy: images as they are, and draws with the op and its magnitude under each.

The pixels are those that training feeds: canvases of the same preprocessing go through the same PolicyInput. Draw k of
an image is that of the k-th epoch of a training with the same seed.

Shapes: N images, R x S canvas pixels, H x W those that the network sees, C channels.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.augment.chosen import chosen_policy
from tenfold.augment.words import lines_of, tell
from tenfold.draws import draw_keys, epoch_order, hash_numbers
from tenfold.errors import DataError, TenfoldError
from tenfold.files import write_file
from tenfold.images.content import hashed
from tenfold.images.prepared import read_sample
from tenfold.report.contact_sheet import DPI, Cell, contact_sheet
from tenfold.report.context import Section, render, render_file, stylesheet
from tenfold.report.drawn import COLORS, draw_boxes
from tenfold.report.thumbnails import TINY, Thumbnail, data_address
from tenfold.tasks import box_targets

if TYPE_CHECKING:
    from markupsafe import Markup

    from tenfold.augment.feed import PolicyInput
    from tenfold.augment.policy import Policy
    from tenfold.images.table import Table
    from tenfold.run import Run

IMAGES, DRAWS = 4, 5
"""Of the report's sheet."""

_BOX_LINE = 70  # the side of a picture by the width of a box's line: it is shown about 130 px wide

STRIPS = """
{% from "pieces.html.j2" import scroll, picture %}
{% if legend %}
<p class="note">Boxes:{% for color, names in legend %} <span style="display: inline-block; width: 0.8em; \
height: 0.8em; margin-left: 0.6em; border: 2px solid rgb{{ color }}; vertical-align: -0.1em"></span> \
{{ names }}{% endfor %}</p>
{% endif %}
{% call scroll("Images and draws of the policy") %}
{% for strip in strips %}
<div style="display: grid; grid-template-columns: repeat({{ strip.pictures | length }}, minmax(6.6rem, 8rem)); \
gap: 0.8rem; margin-bottom: 1.25rem; break-inside: avoid">
{% for item in strip.pictures %}
{% call picture(item.thumbnail, item.alt) %}\
{% if loop.first %}<span class="named">{{ strip.label }}</span>{{ strip.name }}{% endif %}\
{% for word in item.words %}<span style="display: block">{{ word }}</span>{% endfor %}{% endcall %}
{% endfor %}
</div>
{% endfor %}
{% endcall %}
"""
FED = """
{% if changed %}
<p>{{ words }} Images of the validation and test parts are never changed.</p>
{{ strips }}
<details><summary>The policy in words</summary>
<pre tabindex="0"><code>{{ policy }}</code></pre>
</details>
{% else %}
<p>Training images as they are: the policy {{ policy.name }} changes nothing.</p>
{% endif %}
"""


class Draw(NamedTuple):
    """An image as a network is fed it."""

    pixels: NDArray[np.uint8]
    """[H, W, 3], red first."""
    trace: list[tuple[str, str]]
    """What was done, in order: the op's name and its magnitude in words."""
    told: list[str]
    """The same, a line each, with the chains of a blend and their weights."""
    mixed: str = ""
    """With what it was mixed, in words."""

    @property
    def words(self) -> list[str]:
        """What stands under it, a line each."""
        return [*self.told, *filter(None, [self.mixed])]


class Strip(NamedTuple):
    """An image as it is, and draws of it."""

    name: str
    label: str
    plain: NDArray[np.uint8]
    """[H, W, 3], as evaluation sees it."""
    draws: list[Draw]
    objects: tuple[tuple[int, str], ...] = ()
    """The classes that its boxes are of: place, by which a box has its color, and name. None without boxes."""


class _Shown(NamedTuple):
    """Images that are drawn."""

    canvases: NDArray[np.uint8]
    """[N, R, S, C]."""
    affine: NDArray[np.float32]
    """[N, 2, 3], original -> canvas."""
    boxes: NDArray[Any] | None
    """float32 [N, B, 4] in the original images, rows of NaN for padding; None for images without boxes."""
    label: NDArray[Any] | None
    """int64 [N, B], places in the classes."""

    def objects(self, classes: tuple[str, ...]) -> list[tuple[tuple[int, str], ...]]:
        """The classes of each image's boxes [N]: place and name."""
        if self.label is None:
            return [()] * len(self.canvases)
        return [tuple((place, classes[place]) for place in np.unique(own[own >= 0]).tolist()) for own in self.label]

    def marked(self, pixels: NDArray[np.uint8], boxes: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Pictures uint8 [N, H, W, 3] with the boxes float32 [N, B, 4] that are left on each, a color a class."""
        assert self.label is not None
        width = max(1, round(max(pixels.shape[1:3]) / _BOX_LINE))
        there = ~np.isnan(boxes[..., 0])
        pictures = [
            draw_boxes(image, own[kept], label[kept].tolist(), width=width)
            for image, own, label, kept in zip(pixels, boxes, self.label, there, strict=True)
        ]
        return np.stack([np.asarray(picture) for picture in pictures])


def draw_sheet(
    table: Table, feed: PolicyInput, *, images: int, draws: int, seed: int = 0, allow_truncated: bool = False
) -> list[Strip]:
    """Some images of a table, as many of each class, and what `feed` makes of them in its first epochs.

    Where `feed` mixes, an image is mixed with the one after it on the sheet; in training with any other. Where it moves
    boxes, they are drawn on each. An image that cannot be read is passed over. Raises DataError where none can.
    """
    import torch

    from tenfold.augment.feed import boxes_on_canvas

    part, canvases, affine = _readable(hashed(table), feed, images, seed, allow_truncated)
    labels = [label if isinstance(label, str) else "" for label in part.samples["label"]]
    targets: dict[str, NDArray[Any]] = dict(box_targets(part)) if feed.boxes else {}
    if feed.boxes:
        labels = [f"objects: {count}" for count in (targets["label"] >= 0).sum(1)]
    shown = _Shown(canvases, affine, targets.get("boxes"), targets.get("label"))
    names = [PurePath(source).name for source in part.samples["source"]]
    rows = part.samples["row"]
    names = [
        name if missing else f"{name}, row {row}" for name, row, missing in zip(names, rows, rows.isna(), strict=True)
    ]
    made = feed.preprocessing
    plain = _in_rgb(made.center(canvases), made.channels)
    if shown.boxes is not None:
        seen = boxes_on_canvas(torch.from_numpy(shown.boxes), made.center_affine(affine), made.sides, 0.0)
        plain = shown.marked(plain, seen)
    hashes = hash_numbers(part.samples["hash"].tolist())
    epochs = [_feed(feed, shown, draw_keys(seed, epoch, hashes), epoch, labels) for epoch in range(draws)]
    objects = shown.objects(part.classes)
    return [
        Strip(names[row], labels[row], plain[row], [epoch[row] for epoch in epochs], objects[row])
        for row in range(len(part))
    ]


def legend(strips: list[Strip]) -> list[tuple[tuple[int, int, int], str]]:
    """What the colors of boxes mean: (color, names of its classes), in the order of the classes; none without boxes.

    There are fewer colors than some data have classes, so one may stand for several of them.
    """
    names: dict[tuple[int, int, int], list[str]] = {}
    for place, name in sorted({one for strip in strips for one in strip.objects}):
        names.setdefault(COLORS[place % len(COLORS)], []).append(name)
    return [(color, ", ".join(own)) for color, own in names.items()]


def strips_html(strips: list[Strip]) -> Markup:
    """The sheet as a piece of a page."""
    shown = [{"label": strip.label, "name": strip.name, "pictures": _pictures(strip)} for strip in strips]
    return render(STRIPS, strips=shown, legend=legend(strips))


def sheet_page(name: str, policy: Policy, strips: list[Strip], about: list[str]) -> str:
    """A page of its own on what `policy` does to the data called `name`."""
    return render_file(
        "policy_sheet.html.j2",
        css=stylesheet(),
        name=name,
        policy=policy,
        strips=strips_html(strips),
        about=about,
    )


def write_sheet(path: str | Path, name: str, policy: Policy, strips: list[Strip], about: list[str]) -> str:
    """Write the sheet as an image (.png) or a page. Raises OSError where the file cannot be written.

    What it gives back names, in a sentence, what no font of this computer can write into the image; mostly nothing.
    """
    path = Path(path)
    if path.suffix.casefold() != ".png":
        write_file(path, sheet_page(name, policy, strips, about))
        return ""
    names = {
        name,
        policy.name,
        *(strip.label for strip in strips),
        *(one for strip in strips for _, one in strip.objects),
    }
    rows = [_cells(strip) for strip in strips]
    sheet, called = contact_sheet(f"Policy {policy.name} on {name}", rows, legend(strips), names)
    write_file(path, lambda aside: sheet.save(aside, "PNG", dpi=(DPI, DPI)))
    if not called:
        return ""
    listed = ", ".join(f"{one} ({number})" for one, number in called.items())
    return (
        f"No font of this computer has the letters of some names, which are called otherwise in {path}: {listed}; with "
        "a font for them installed, or in a page (.html), they stand there themselves."
    )


def fed(run: Run) -> Section | None:
    """The report's section on what the model was fed; None where it was fitted in one step."""
    from tenfold.augment.feed import PolicyInput

    if not run.history["step"].any():
        return None
    policy, made = chosen_policy(run.recipe.augment), run.preprocessing
    title = "What the model was fed"
    changed = bool(policy.ops or (policy.mix.is_on and policy.mix.share > 0))
    if not changed:
        return Section(title, render(FED, changed=False, policy=policy))
    feed = PolicyInput(policy, made, lambda _: made.size, run.task.mixes, boxes=run.task.boxes)
    draws = min(DRAWS, len(run.history))
    try:
        strips = draw_sheet(
            run.table.part("train"),
            feed,
            images=IMAGES,
            draws=draws,
            seed=run.recipe.train.seed,
            allow_truncated=run.recipe.data.allow_truncated,
        )
        words, shown = (
            _first_epochs(draws, any(draw.mixed for strip in strips for draw in strip.draws)),
            strips_html(strips),
        )
    except TenfoldError as error:
        words, shown = f"The training images cannot be shown: {error}", render("")
    return Section(title, render(FED, changed=True, words=words, strips=shown, policy=policy))


def _first_epochs(count: int, mixed: bool) -> str:
    epochs = "the first epoch" if count == 1 else f"each of the first {count} epochs"
    other = " A mixed one is shown with the next image of the sheet; training mixed it with another." if mixed else ""
    return f"Some training images, and what {epochs} made of them, at the final size.{other}"


def _readable(
    table: Table, feed: PolicyInput, images: int, seed: int, allow_truncated: bool
) -> tuple[Table, NDArray[np.uint8], NDArray[np.float32]]:
    """So many images that can be read, class by class in turns; canvases uint8 [N, R, S, C], maps to them [N, 2, 3]."""
    rows: list[int] = []
    prepared, error = [], DataError("There is no image to show.")
    for row in _in_turns(table, seed):
        if len(rows) == images:
            break
        try:
            image = read_sample(table, int(row), feed.preprocessing, allow_truncated)
        except DataError as unread:
            error = unread
            continue
        rows.append(int(row))
        prepared.append(feed.preprocessing.prepare(image))
    if not rows:
        raise error
    labels = table.labels()[rows]
    order = np.argsort(labels, kind="stable")
    canvases, affine = (np.stack(values)[order] for values in zip(*prepared, strict=True))
    return table.take(np.array(rows)[order]), canvases, affine


def _in_turns(table: Table, seed: int) -> NDArray[np.int64]:
    """All samples, shuffled, so that the classes take turns: int64 [N]."""
    order = epoch_order(seed, 0, hash_numbers(table.samples["hash"].tolist()))
    labels = table.labels()[order]
    turn = np.zeros(len(order), np.int64)
    for place in np.unique(labels):
        turn[labels == place] = np.arange((labels == place).sum())
    return order[np.argsort(turn, kind="stable")]


def _feed(feed: PolicyInput, shown: _Shown, keys: NDArray[np.uint64], epoch: int, labels: list[str]) -> list[Draw]:
    """What one epoch makes of images with draw keys [N]."""
    import torch

    from tenfold.images.loader import Drawn

    canvases, count, made = shown.canvases, len(shown.canvases), feed.preprocessing
    places = np.arange(count + 1) % count
    targets = {name: torch.eye(count)[places] for name in feed.mixes}
    if shown.boxes is not None:
        targets |= {name: torch.from_numpy(shown.boxes[places]) for name in feed.boxes}
    images, made_of, _ = feed(Drawn(canvases[places], targets, keys[places], shown.affine[places]), epoch)
    mixed = {name: made_of[name] for name in feed.mixes}
    pixels = images.permute(0, 2, 3, 1).numpy() * np.array(made.std, np.float32) + np.array(made.mean, np.float32)
    rgb = _in_rgb(np.rint((255 * pixels).clip(0, 255)).astype(np.uint8), made.channels)
    for name in feed.boxes:
        rgb = shown.marked(rgb, made_of[name].numpy())
    policy, (height, width) = feed.on_canvas, canvases.shape[1:3]
    drawn = policy.draw(keys, height, width, feed.sides(epoch), made.channels)
    traces, told = drawn.trace(), [tell(drawn, row) for row in range(count)]
    added = len(policy.ops) - len(feed.policy.ops)  # that a canvas's centre is taken first is no op of the policy
    shares = next(iter(mixed.values())).diagonal().tolist() if mixed else [1.0] * count
    return [
        Draw(
            rgb[row], traces[row][added:], lines_of(told[row][added:]), _mixing(shares[row], labels[(row + 1) % count])
        )
        for row in range(count)
    ]


def _mixing(share: float, other: str) -> str:
    """What an image of which a share is its own was mixed with."""
    return "" if share > 0.995 else f"mixed: {100 * (1 - share):.0f} % {other}".rstrip()


def _in_rgb(pixels: NDArray[np.uint8], channels: str) -> NDArray[np.uint8]:
    """Pixels as they are shown: [..., C] -> [..., 3], red first."""
    if channels == "grey":
        return np.repeat(pixels, 3, -1)
    return np.ascontiguousarray(pixels[..., ::-1] if channels == "bgr" else pixels)


def _pictures(strip: Strip) -> list[dict[str, Any]]:
    first = {"thumbnail": _thumbnail(strip.name, strip.plain), "alt": f"{strip.label}, as it is", "words": ["as it is"]}
    return [first] + [
        {
            "thumbnail": _thumbnail(f"{strip.name}, draw {number}", draw.pixels),
            "alt": f"{strip.label}: {', '.join(draw.words) or 'unchanged'}",
            "words": draw.words or ["unchanged"],
        }
        for number, draw in enumerate(strip.draws, 1)
    ]


def _thumbnail(name: str, pixels: NDArray[np.uint8]) -> Thumbnail:
    return Thumbnail(name, data_address(pixels), max(pixels.shape[:2]) <= TINY)


def _cells(strip: Strip) -> list[Cell]:
    first = Cell(strip.plain, [strip.label, "as it is"])
    return [first, *(Cell(draw.pixels, draw.words or ["unchanged"]) for draw in strip.draws)]
