"""Gallery: embeddings of those who are enrolled. Who is in an image, or none of them; are two the same one?

Each identity is one template (templates.py). Thresholds and what they are worth come from the gallery's own images,
where each identity in turn plays the stranger (thresholds.py). What holds for these images need not hold for others:
strangers seen elsewhere, by other cameras, may be accepted more often, and near copies of an image find each other too
easily (`tenfold check` finds them). As one identity is left out, a stranger meets G - 1 templates instead of G, and
false alarms are fewer by a share 1 / G.

Shapes: N images, G identities, D features, M probes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tenfold.errors import DataError, UsageError
from tenfold.images.readers.labels import natural_key, natural_order
from tenfold.transfer.embed import EmbeddingOrigin, unit_rows
from tenfold.transfer.templates import Whitening, placed, sums_of, whitening_of
from tenfold.transfer.thresholds import FEWEST_IDENTITIES, Point, fit_points
from tenfold.words import listed

if TYPE_CHECKING:
    from tenfold.images.table import Table

FALSE_ACCEPT = 0.01
_NAMED = 3  # images that a sentence names
_BLOCK = 512  # probes that are searched for at a time


class Found(NamedTuple):
    """Who is in an image."""

    identity: str | None
    """None: none of those who are enrolled, or nobody can say."""
    top: list[tuple[str, float]]
    """The most alike identities and their scores, -1 to 1, the highest first."""


class Verdict(NamedTuple):
    """Whether two are the same one."""

    same: bool
    score: float
    """-1 to 1."""
    point: Point
    """The threshold, and what it is worth."""
    nearest: tuple[str, float] | None = None
    """Of an image and an identity: which identity the image is most like, and that score; another one may be nearer
    than one as which the image passes."""


@dataclass(frozen=True, eq=False)
class Gallery:
    """Those who are enrolled. Never changed in place; equal images give an equal gallery in whatever order they came.

    `new_gallery` makes an empty one; gallery_folder.py saves and loads one.
    """

    origin: EmbeddingOrigin
    embeddings: NDArray[np.float32]
    """float32 [N, D], of length 1; by identity, then by hash."""
    whitening: Whitening
    """Of these embeddings."""
    labels: tuple[str, ...] = ()
    """The identity of each image."""
    hashes: tuple[str, ...] = ()
    """Content hash of each image."""
    false_accept: float = FALSE_ACCEPT
    """The share of strangers to accept that thresholds are asked to keep, above 0 and below 1."""
    points: dict[str, Point] = field(default_factory=dict)
    """A threshold for each of QUESTIONS; empty below FEWEST_IDENTITIES identities."""

    def __post_init__(self) -> None:
        if not 0 < self.false_accept < 1:
            raise UsageError(f"A false accept rate must be above 0 and below 1, not {self.false_accept:g}.")

    @cached_property
    def identities(self) -> tuple[str, ...]:
        """The G who are enrolled, in natural order."""
        return tuple(natural_order(set(self.labels)))

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The place in `identities` of each image's identity: int64 [N]."""
        place = {name: number for number, name in enumerate(self.identities)}
        return np.array([place[label] for label in self.labels], np.int64)

    @cached_property
    def templates(self) -> NDArray[np.float32]:
        """One direction an identity: float32 [G, D]."""
        return placed(sums_of(self.embeddings, self.numbers, len(self.identities)), self.whitening)

    def counts(self) -> dict[str, int]:
        """Identity -> how many images it has."""
        return dict(zip(self.identities, np.bincount(self.numbers).tolist(), strict=True))

    def not_enrolled(self, table: Table) -> tuple[Table, list[str]]:
        """The images of a table with hashes that are to be enrolled, by their labels, and a sentence on the others.

        Raises DataError where an image has no label, or is enrolled as another identity already or in the same table.
        """
        known, rows, again = dict(zip(self.hashes, self.labels, strict=True)), list[int](), list[str]()
        columns = (table.samples[name].tolist() for name in ("source", "hash", "label"))
        for row, (source, digest, label) in enumerate(zip(*columns, strict=True)):
            if not isinstance(label, str) or not label.strip():
                raise DataError(f"Nothing says who is in {source}; put it into a folder of that name, or use --as.")
            if known.get(digest, label) != label:
                raise DataError(
                    f"{source} is to be enrolled as {label}, but the same image is one of {known[digest]}; leave it "
                    "out, or remove it there first."
                )
            if digest in known:
                again.append(str(source))
            else:
                rows.append(row)
            known[digest] = label
        note = f"Left out, as these images are enrolled already or given twice: {listed(again, _NAMED)}."
        notes = [note] if again else []
        return table.take(rows), notes

    def refuse_other(self, origin: EmbeddingOrigin) -> None:
        """Raise UsageError unless embeddings of that network can be compared with the gallery's."""
        if not self.origin.agrees(origin):
            raise UsageError(
                f"The gallery's embeddings are of {self.origin}, and cannot be compared with those of {origin}; use "
                "the network that it was made with, or make another gallery."
            )

    def enroll(self, vectors: NDArray[np.floating[Any]], labels: Sequence[str], hashes: Sequence[str]) -> Gallery:
        """The gallery with more images: float [M, D], whose they are, and their content hashes."""
        if not len(vectors) == len(labels) == len(hashes):
            raise UsageError(
                f"enroll needs one label and one hash for each vector, not {len(labels)} and {len(hashes)} for "
                f"{len(vectors)}."
            )
        if not all(label.strip() for label in labels):
            raise UsageError("An identity must have a name.")
        every = [*self.hashes, *hashes]
        if len(set(every)) < len(every):
            twice, _ = Counter(every).most_common(1)[0]
            raise UsageError(f"The image of hash {twice} is enrolled already or given twice; an image counts once.")
        added = unit_rows(self._checked(vectors))
        stacked = np.concatenate([self.embeddings, added]) if len(self.labels) else added
        return self._made(stacked, [*self.labels, *labels], every)

    def remove(self, identities: Iterable[str] = (), hashes: Iterable[str] = ()) -> Gallery:
        """The gallery without these identities and without the images of these hashes."""
        gone, lost = {self._existing(name) for name in identities}, set(hashes)
        if strange := lost - set(self.hashes):
            raise UsageError(f"No image of hash {min(strange)} is enrolled, so it cannot be removed.")
        rows = [
            row
            for row, (label, digest) in enumerate(zip(self.labels, self.hashes, strict=True))
            if label not in gone and digest not in lost
        ]
        return self._made(self.embeddings[rows], [self.labels[row] for row in rows], [self.hashes[row] for row in rows])

    def refit(self, false_accept: float) -> Gallery:
        """The gallery with thresholds for another share of strangers to accept, above 0 and below 1."""
        asked = replace(self, false_accept=false_accept)
        return replace(asked, points=fit_points(self.embeddings, self.numbers, self.hashes, false_accept))

    def search(self, vectors: NDArray[np.float32], top_k: int = 1) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The most alike identities of M probes, float32 [M, D] of length 1: places [M, K] and scores float32 [M, K].

        K is `top_k`, or G where that is less; the highest score comes first, of equal ones the earlier identity.
        Scores depend on how many probes are searched for at once by about 1e-7, as sums are rounded in another order.
        """
        if top_k < 1:
            raise UsageError(f"top_k must be at least 1, not {top_k}.")
        probes = self._placed(vectors)
        found = [self._nearest(probes[start : start + _BLOCK], top_k) for start in range(0, len(probes), _BLOCK)]
        return np.concatenate([places for places, _ in found]), np.concatenate([scores for _, scores in found])

    def identify(self, vectors: NDArray[np.float32], top_k: int = 1) -> list[Found]:
        """Who each of M > 0 probes is, float32 [M, D] of length 1, or none of those who are enrolled.

        Raises UsageError where so few are that no threshold says so; `nearest` needs none.
        """
        threshold = self.point("identify").threshold
        found = self.nearest(vectors, top_k)
        return [Found(each.top[0][0] if each.top[0][1] >= threshold else None, each.top) for each in found]

    def nearest(self, vectors: NDArray[np.float32], top_k: int = 1) -> list[Found]:
        """Who each of M > 0 probes, float32 [M, D] of length 1, is most like, whoever it is: none is named."""
        places, scores = self.search(vectors, top_k)
        rows = zip(places.tolist(), scores.tolist(), strict=True)
        return [
            Found(None, [(self.identities[place], score) for place, score in zip(row, values, strict=True)])
            for row, values in rows
        ]

    def verify_images(self, one: NDArray[np.float32], other: NDArray[np.float32]) -> Verdict:
        """Whether two images, float32 [D] of length 1, are of one identity, enrolled or not."""
        first, second = self._placed(np.stack([one, other]))
        return _verdict(float(first @ second), self.point("verify_images"))

    def verify_identity(self, vector: NDArray[np.float32], identity: str) -> Verdict:
        """Whether an image, float32 [D] of length 1, passes as an enrolled identity; others may be more alike."""
        place = self.identities.index(self._existing(identity))
        [probe] = self._placed(vector[None])
        scores = self.templates @ probe  # [G]
        best = int(scores.argmax())
        best = best if scores[best] > scores[place] else place
        verdict = _verdict(float(scores[place]), self.point("verify_identity"))
        return verdict._replace(nearest=(self.identities[best], float(scores[best])))

    def point(self, question: str) -> Point:
        """The threshold of one of QUESTIONS. Raises UsageError where too few are enrolled to fit one."""
        if question not in self.points:
            raise UsageError(
                f"To tell those who are enrolled from strangers, at least {FEWEST_IDENTITIES} identities must be, not "
                f"{len(self.identities)}; enroll more."
            )
        return self.points[question]

    def _nearest(self, probes: NDArray[np.float32], top_k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        scores = probes @ self.templates.T  # [M, G]
        one = top_k == 1  # twenty times as fast as to sort them all
        places = scores.argmax(1)[:, None] if one else np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
        return places, np.take_along_axis(scores, places, 1)

    def _existing(self, name: str) -> str:
        if name in self.identities:
            return name
        raise UsageError(f"{name!r} is not enrolled in the gallery; its `identities` are all who are.")

    def _checked(self, vectors: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Vectors [M, D] of as many features as those that are enrolled."""
        wide = self.embeddings.shape[1] if self.labels else None
        if vectors.ndim != 2 or not vectors.size or (wide and vectors.shape[1] != wide):
            raise UsageError(f"Embeddings must be [M, {wide or 'D'}], at least one, not {list(vectors.shape)}.")
        return vectors

    def _placed(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        if not self.labels:
            raise UsageError("Nobody is enrolled in the gallery; enroll images first.")
        return placed(self._checked(vectors), self.whitening)

    def _made(self, embeddings: NDArray[np.float32], labels: Sequence[str], hashes: Sequence[str]) -> Gallery:
        """The gallery of these images, in its own order, with its thresholds."""
        if not labels:
            return new_gallery(self.origin, self.false_accept)
        order = sorted(range(len(labels)), key=lambda row: (natural_key(labels[row]), hashes[row]))
        bare = Gallery(
            self.origin,
            embeddings[order],
            self.whitening,
            tuple(labels[row] for row in order),
            tuple(hashes[row] for row in order),
            self.false_accept,
        )
        return replace(bare, whitening=whitening_of(bare.embeddings, bare.numbers)).refit(self.false_accept)


def new_gallery(origin: EmbeddingOrigin, false_accept: float = FALSE_ACCEPT) -> Gallery:
    """A gallery in which nobody is enrolled."""
    nothing = np.empty((0, 0), np.float32)
    return Gallery(origin, nothing, nothing, false_accept=false_accept)


def _verdict(score: float, point: Point) -> Verdict:
    return Verdict(score >= point.threshold, score, point)
