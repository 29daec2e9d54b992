"""Copies: augmented copies of images (`tenfold augment --save`), which are for training alone and follow their image.

Parts and folds are dealt to images alone, as if the copies were not there. A copy is then in training where its image
is, and has no part elsewhere. One with the very bytes of an image (its ops left it as it was) is that image once more,
and has no part at all.

Shapes: N samples, M of them images.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError
from tenfold.images.table import PARTS
from tenfold.split.fill import named
from tenfold.split.ties import bonds, texts

if TYPE_CHECKING:
    from tenfold.images.table import Table

_TRAIN = {"train"}

Member = tuple[str, str, Sequence[str]]
"""An image that is not in the table: its hash, its part (empty where it is left out), and its ties."""


def are_copies(table: Table) -> NDArray[np.bool_]:
    """Which samples are augmented copies of images: bool [N]."""
    return table.samples["copy"].to_numpy(bool)


def images_of(table: Table) -> Table:
    """The table without augmented copies; itself where it has none."""
    copies = are_copies(table)
    return table.take(np.flatnonzero(~copies)) if copies.any() else table


class Followers:
    """The copies of a table with hashes, and what they follow.

    `absent` are images that are not in the table, such as lines of a written split.
    """

    def __init__(self, table: Table, absent: Iterable[Member] = ()) -> None:
        self.copies = are_copies(table)
        self.rows: NDArray[np.int64] = np.where(self.copies, -1, np.arange(len(table)))
        """The image that each sample is or is of, int64 [N]; -1 where it is not in the table."""
        self._absent: list[Member] = []
        self._ties: list[list[str]] = []
        self._roots: dict[int, str] = {}
        self._same: set[int] = set()
        if not self.copies.any():
            return
        self._ties, self._hashes = bonds(table), texts(table, "hash")
        images, copies = np.flatnonzero(~self.copies).tolist(), np.flatnonzero(self.copies).tolist()
        first = {self._hashes[row]: row for row in reversed(images)}
        origins = texts(table, "origin")
        of = {self._hashes[row]: origins[row] or "" for row in copies}
        known = {self._hashes[row] for row in copies} - first.keys()
        self._absent = [member for member in absent if member[0] not in known]  # a line of a copy holds nothing else
        for row in copies:
            root = self._roots[row] = _root(origins[row] or "", of, first.keys())
            self._same |= {row} if self._hashes[row] in first else set()
            self.rows[row] = first.get(self._hashes[row], first.get(root, -1))

    def spread(self, parts: Sequence[str | None]) -> list[str | None]:
        """The parts of the images, [M], as those of all samples, [N], None for copies."""
        each = iter(parts)
        return [None if copy else next(each) for copy in self.copies]

    def parts(self, given: Sequence[str | None]) -> list[str | None]:
        """The part of each sample [N] where the images have these, [N]: a copy "train", or None where it has none.

        That of an image in training is in training, unless something else that it has, as its bytes or a group of its
        own, is in another part too. Of one whose image is not known, what it is tied to tells alone.
        """
        found: list[str | None] = [None if copy else part for copy, part in zip(self.copies, given, strict=True)]
        if not self.copies.any():
            return found
        own: dict[str | None, set[str]] = {}
        held: dict[str, set[str]] = {}
        standing = zip(self._hashes, given, self._ties, strict=True)
        images = [cells for cells, copy in zip(standing, self.copies, strict=True) if not copy]
        for digest, part, ties in (*images, *self._absent):
            own.setdefault(digest, set()).add(part or "")
            for tie in ties if part else ():
                held.setdefault(tie, set()).add(part or "")
        for row, root in self._roots.items():
            image = self.rows[row]
            more = set(self._ties[row]) - set(self._ties[image] if image >= 0 else ())
            apart = row in self._same or own.get(root, _TRAIN) - {""} != _TRAIN  # of two files one may be left out
            if not apart and all(held.get(tie, _TRAIN) == _TRAIN for tie in more):
                found[row] = "train"
        return found

    def note(self, table: Table, parts: Sequence[str | None]) -> str:
        """The sentence about the copies that have no part in what `parts` gave; empty where there are none."""
        left = [row for row in self._roots if not parts[row]]
        if not left:
            return ""
        same = len(self._same.intersection(left))
        words = [f"of images that are not in the training part ({len(left) - same})"] if len(left) > same else []
        words += [f"that are the same as an image ({same})"] if same else []
        return f"Left out, augmented copies {' and '.join(words)}: {named(table, np.array(left, np.int64))}."


def _root(origin: str, of: dict[str | None, str], images: Set[str | None]) -> str:
    """The image that a copy of a copy goes back to."""
    seen = {""}
    while origin not in images and origin not in seen and of.get(origin):
        seen.add(origin)
        origin = of[origin]
    return origin


def refuse_copies_alone(table: Table, wanted: Sequence[str] = PARTS[1:]) -> None:
    """Raise DataError where these parts are wanted and all samples are augmented copies."""
    if wanted and len(table) and are_copies(table).all():
        raise DataError(
            f"All {len(table):,} images are augmented copies (tenfold augment --save), and figures on copies say "
            f"nothing of images, so there is none for {' and '.join(wanted)}; list the images themselves too, which "
            "--save does without --no-originals."
        )
