"""Augmented images as files, with a listing that says which op made each and that `tenfold train` reads back.

The listing is `augmented.csv`: `path,label,group,part` as any listing has them (and `x1,y1,x2,y2` where samples are
regions), then `ops`, what was done to the image, `source`, what it was made from, and `copy_of`, the content hash of
that as it is listed, empty for the images themselves. A copy of a copy is one of the image that both go back to. Of
images with boxes it is a listing of boxes, `path,x1,y1,x2,y2,label,ignore,group,part` and these, a line for each box as
the policy has moved it, or one without a box. Clicks (see tenfold.boxes.THIN), of which nothing can be learned, stand
in the lines of the images themselves and in no copy, as the hull of a thin box that is turned is wide. Copies and their
source share a group, so no split can tear them apart, and by `copy_of` it knows the copies, which are for training
alone. An image that is in a validation or test part already has no copy at all.

Copy k of an image is what the k-th epoch of a training with this seed draws for it: see draws.py.
"""

from __future__ import annotations

import csv
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import StringIO
from itertools import compress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from tenfold.augment.feed import boxes_on_canvas, on_canvas
from tenfold.augment.policy import Policy
from tenfold.augment.words import line_of, tell
from tenfold.boxes import CORNERS, THIN, large_enough
from tenfold.draws import draw_keys, hash_numbers
from tenfold.environment import cores
from tenfold.errors import DataError, UsageError
from tenfold.files import write_file
from tenfold.images.content import content_hash, read_bytes
from tenfold.images.prepared import read_sample
from tenfold.images.preprocess import Preprocessing
from tenfold.images.readers.columns import SIDES
from tenfold.images.readers.listing import COPY_OF, read_header, recognizes
from tenfold.images.writers.placed import plain
from tenfold.recipe import check_range

if TYPE_CHECKING:
    from tenfold.images.table import Table

LISTING = "augmented.csv"
COLUMNS = ("path", "label", "group", "part", *CORNERS, "ops", "source", COPY_OF)
OF_BOXES = ("path", *CORNERS, "label", "ignore", "group", "part", "ops", "source", COPY_OF)


@dataclass(frozen=True)
class Saving:
    """What is saved."""

    count: int = 1
    """Copies of each image."""
    seed: int = 0
    resize: bool = False
    """Whether copies are of the preprocessing's size, as training prepares them, and not as large as their source."""
    include_originals: bool = True
    """Whether the listing has the images themselves too, those of the validation and test parts among them."""
    allow_truncated: bool = False

    def __post_init__(self) -> None:
        check_range("count", self.count, 1, 10_000)
        check_range("seed", self.seed, 0, 2**63 - 1)


@dataclass(frozen=True)
class Saved:
    """What was written."""

    listing: Path
    copies: int
    sources: int
    """Images that have copies."""
    originals: int
    """Images in the listing, which are no copies."""
    unreadable: list[str] = field(default_factory=list)
    """Why an image has no copy, a sentence each."""
    notes: list[str] = field(default_factory=list)
    """What copies lack, a sentence each."""


_DECIMALS = 6  # of a pixel
_CLICKS = f"Boxes at most {THIN:g} pixel wide or high, which copies do not have, as nothing is learned of them: {{:,}}."
_CARRIED = {"path", "label", "group", "part", *CORNERS, *SIDES, COPY_OF, "reason"}
"""Columns of a listing whose content the saved one has too, if in another form; rows with a reason are in neither."""


class _Box(NamedTuple):
    """A box of an image."""

    corners: tuple[float, ...]
    """xyxy, pixels."""
    label: str
    ignore: bool


class _Listed(NamedTuple):
    """A sample of the table as the listing speaks of it."""

    row: int
    name: str
    """Of its files, without an ending; no two samples have the same."""
    source: str
    """In words: its file, and which image of that."""
    digest: str
    cells: tuple[str, str, str]
    """Label, group and part."""
    copy_of: str
    """The content hash of the image that it is an augmented copy of itself; empty for an image."""


def save_augmented(
    table: Table,
    policy: Policy,
    preprocessing: Preprocessing,
    folder: str | Path,
    saving: Saving = Saving(),
) -> Saved:
    """Write PNG copies of a table's training images (of all, where it has no parts) and the listing, which comes last.

    The table's samples have hashes. `folder` must be new or empty. Raises UsageError for a folder that is not
    empty, DataError where there is no image to copy or none can be read, OSError where files cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"--save must be a new or an empty folder, and {folder} is not empty; name another.")
    samples = _listed(table)
    wanted = [sample for sample in samples if sample.cells[2] in ("", "train")]
    if table.samples["part"].notna().any():
        wanted = [sample for sample in wanted if sample.cells[2]]
    if not wanted:
        raise DataError("There is no image to copy: the training part is empty.")
    making = _Making(table, policy, _in_rgb(preprocessing), folder, saving, _boxes_of(table))
    lines: list[list[str]] = []
    errors: dict[int, str] = {}
    with ThreadPoolExecutor(cores(), thread_name_prefix="tenfold-augment") as pool:
        for sample, made in zip(wanted, pool.map(making.copies, wanted), strict=True):
            if isinstance(made, DataError):
                errors[sample.row] = str(made)
            else:
                lines += made
    if not lines:
        raise DataError(f"None of the {len(wanted)} images can be read; the first: {next(iter(errors.values()))}")
    originals, written = _originals(making, samples, errors) if saving.include_originals else ([], {})
    every = [[*line[:-1], written.get(line[-1], line[-1])] for line in (*originals, *lines)]
    boxed = table.boxes is not None
    write_file(folder / LISTING, _text(every, OF_BOXES if boxed else COLUMNS))
    images = [line[0] for line in originals if not line[-1]]
    sources, kept = len(wanted) - len(errors), len(set(images) if boxed else images)
    clicks = sum(making.clicks(sample.row) for sample in wanted if sample.row not in errors)
    notes = [_CLICKS.format(clicks)] if clicks else []
    return Saved(folder / LISTING, saving.count * sources, sources, kept, list(errors.values()), notes)


def left_behind(path: str | Path, *, boxed: bool) -> list[str]:
    """The columns of a listing, as it calls them, that the saved one does not carry over; none of what is no listing.

    `boxed`: whether its rows are boxes. Of a listing with copies these are `ops` and `source` too, as the saved one
    says what was done to its own copies.
    """
    path = Path(path)
    header, taken = read_header(path) if recognizes(path) else ([], {})
    if "path" not in header:
        return []
    called = {own: name for name, own in taken.items()}
    return [called.get(name, name) for name in header if name not in _CARRIED and not (boxed and name == "ignore")]


@dataclass(frozen=True)
class _Making:
    """What copies are made from and how. Several threads use it at once."""

    table: Table
    policy: Policy
    preprocessing: Preprocessing
    folder: Path
    saving: Saving
    boxes: dict[int, list[_Box]]
    """By the sample's row; those too of which nothing can be learned."""

    def copies(self, sample: _Listed) -> list[list[str]] | DataError:
        """Write the copies of a sample and give their lines; or why it cannot be read."""
        try:
            image = self.image(sample.row)
        except DataError as error:
            return error
        policy, size, added = self.policy, None, 0
        boxes = self.learnable(sample.row)
        if self.saving.resize:
            image, affine = self.preprocessing.prepare(image)
            boxes = self.on_canvas(boxes, affine)
            policy = on_canvas(self.policy, self.preprocessing)
            size, added = self.preprocessing.sides, len(policy.ops) - len(self.policy.ops)
        lines, digest, corners = list[list[str]](), hash_numbers([sample.digest]), _corners(boxes)
        root = sample.copy_of or sample.digest
        for number in range(self.saving.count):
            keys = draw_keys(self.saving.seed, number, digest)
            changed = policy.batch(image[None], keys, boxes=[corners], size=size)
            name, ops = f"{sample.name}-copy{number + 1}.png", line_of(tell(changed.drawn, 0)[added:])
            self.write(name, changed.images[0])
            left = zip(changed.boxes[0].tolist(), changed.kept[0].tolist(), strict=True)
            moved = [boxes[place]._replace(corners=tuple(box)) for box, place in left]
            lines += (
                [_line(name, sample, root, ops=ops)]
                if self.table.boxes is None
                else _box_lines(name, sample, moved, root, ops)
            )
        return lines

    def learnable(self, row: int) -> list[_Box]:
        """The boxes of a sample that training would learn from, by their size before anything is moved."""
        boxes = self.boxes.get(row, [])
        kept = large_enough(np.array([box.corners for box in boxes], np.float64).reshape(-1, 4))
        return list(compress(boxes, kept))

    def clicks(self, row: int) -> int:
        """How many boxes of a sample are not among them."""
        return len(self.boxes.get(row, ())) - len(self.learnable(row))

    def on_canvas(self, boxes: list[_Box], affine: NDArray[np.float32]) -> list[_Box]:
        """What a canvas, to which the map [2, 3] leads, shows of boxes."""
        canvas, visible = self.preprocessing.canvas_sides, self.policy.visible
        seen = boxes_on_canvas(torch.from_numpy(_corners(boxes)[None]), affine[None], canvas, visible)[0].tolist()
        return [
            box._replace(corners=tuple(own)) for box, own in zip(boxes, seen, strict=True) if not math.isnan(own[0])
        ]

    def image(self, row: int) -> NDArray[np.uint8]:
        """One sample, upright, uint8 [H, W, C]."""
        return read_sample(self.table, row, self.preprocessing, self.saving.allow_truncated)

    def write(self, name: str, pixels: NDArray[np.uint8]) -> None:
        """Write a PNG file."""
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        write_file(self.folder / name, lambda aside: picture.save(aside, "PNG"))


def _boxes_of(table: Table) -> dict[int, list[_Box]]:
    """The boxes of each sample that has some."""
    found: dict[int, list[_Box]] = {}
    if table.boxes is not None:
        for row, *corners, label, ignore in table.boxes[["sample", *CORNERS, "label", "ignore"]].itertuples(
            index=False
        ):
            found.setdefault(int(row), []).append(_Box(tuple(corners), label, ignore))
    return found


def _corners(boxes: list[_Box]) -> NDArray[np.float32]:
    """[B, 4], xyxy."""
    return np.array([box.corners for box in boxes], np.float32).reshape(-1, 4)


def _in_rgb(preprocessing: Preprocessing) -> Preprocessing:
    """Files have red first, whatever the network wants."""
    return replace(preprocessing, channels="rgb") if preprocessing.channels == "bgr" else preprocessing


def _listed(table: Table) -> list[_Listed]:
    """Every sample of the table."""
    columns = table.samples[["source", "row", "hash", "label", "group", "part", "origin", "copy"]].astype(object)
    cells = columns.where(columns.notna(), None).to_numpy()
    found: list[_Listed] = []
    taken: set[str] = set()
    for place, (source, row, digest, label, group, part, origin, is_copy) in enumerate(cells):
        name = PurePath(source).stem + ("" if row is None else f"-{row}")
        if name.casefold() in taken:  # many a data set has a 1.jpg in each class
            name = f"{name}-{digest[:8]}"
        if name.casefold() in taken:
            name = f"{name}-{place}"
        taken.add(name.casefold())
        words = source if row is None else f"{source}, row {row}"
        root = origin if is_copy and origin else ""
        found.append(_Listed(place, name, words, digest, (label or "", group or root or digest, part or ""), root))
    return found


def _originals(
    making: _Making, samples: list[_Listed], errors: dict[int, str]
) -> tuple[list[list[str]], dict[str, str]]:
    """The lines of the images themselves, and of copies that the table has; what is no file of its own is written.

    And the content hashes of what was written, by those of the samples.
    """
    lines, written = [], {}
    parted = making.table.samples["part"].notna().any()
    for sample in samples:
        if sample.row in errors or (parted and not sample.cells[2]):
            continue
        source, row, *corners = making.table.samples[["source", "row", *CORNERS]].iloc[sample.row].astype(object)
        if isinstance(row, int | np.integer):
            path, region = f"{sample.name}.png", [""] * 4
            try:
                making.write(path, making.image(sample.row))
            except DataError as error:
                errors[sample.row] = str(error)
                continue
            written[sample.digest] = content_hash(read_bytes(making.folder / path))
        else:
            path = str(source)
            region = [f"{corner:g}" if isinstance(corner, float) else "" for corner in corners]
        if making.table.boxes is not None:
            lines += _box_lines(path, sample, making.boxes.get(sample.row, []), sample.copy_of)
            continue
        lines.append(_line(path, sample, sample.copy_of, region))
    return lines, written


def _line(path: str, sample: _Listed, copy_of: str, region: list[str] | None = None, ops: str = "") -> list[str]:
    label, group, part = sample.cells
    return [path, label, group, part, *(region or [""] * 4), ops, sample.source, copy_of]


def _box_lines(path: str, sample: _Listed, boxes: list[_Box], copy_of: str, ops: str = "") -> list[list[str]]:
    """A line for each box; one without a box where there is none."""
    _, group, part = sample.cells
    cells = [[*(plain(side, _DECIMALS) for side in box.corners), box.label, str(int(box.ignore))] for box in boxes]
    return [[path, *own, group, part, ops, sample.source, copy_of] for own in cells or [[""] * 6]]


def _text(lines: list[list[str]], columns: tuple[str, ...]) -> str:
    """The listing; columns of regions only where there are some."""
    first, last = columns.index(CORNERS[0]), columns.index(CORNERS[-1]) + 1
    if not any(any(line[first:last]) for line in lines) and columns == COLUMNS:
        lines, columns = [line[:first] + line[last:] for line in lines], columns[:first] + columns[last:]
    text = StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    return text.getvalue()
