"""Leaks: copies and groups that lie in two parts, under two labels, or in two data sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from tenfold.check.findings import Evidence, Finding, blocks_of, share
from tenfold.images.table import PARTS
from tenfold.split.copies import are_copies
from tenfold.split.ties import single_groups, texts
from tenfold.words import are, count

if TYPE_CHECKING:
    from tenfold.images.table import Table


LONGEST = 0.6
"""Largest share of a class that a row of shots has and is kept together by itself: the training part can then hold it,
and the other two have something of the class too."""

OTHERS = 2
"""Fewest separate images, copies and rows of shots counted once, that a class has beside such a row: one for each of
the two other parts."""

_PRICED = "--price RUN says by how much"
_HALF_KNOWN = "They show one thing in one light; in two parts the second is half known, which flatters the result"


def set_findings(
    table: Table, copies: Sequence[Evidence], bursts: Sequence[Evidence], scenes: Sequence[Evidence] = ()
) -> list[Finding | None]:
    """The findings on images of one table that belong together, or, as `scenes` numbered in a row, may do so."""
    labels, parts, groups = (texts(table, name) for name in ("label", "part", "group"))
    two = [item for item in copies if len(_values(labels, item)) > 1]
    leaks = [item for item in copies if len(_values(parts, item)) > 1]
    told = {item.rows for item in (*two, *leaks)}
    pictures = _pictures(table, copies)
    plain = {
        item: number for item, number in zip(copies, pictures, strict=True) if number > 1 and item.rows not in told
    }
    united = blocks_of(table, copies)
    new = [item for item in bursts if len(set(united[list(item.rows)].tolist())) > 1]
    blocks = blocks_of(table, [*copies, *bursts]).tolist()
    too_long = _long_blocks(labels, blocks)
    long = [item for item in new if blocks[item.rows[0]] in too_long]
    short = [item for item in new if blocks[item.rows[0]] not in too_long]
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        for name in single_groups(group) if group else ():
            members.setdefault(name, []).append(row)
    torn = [Evidence(tuple(rows), f"group {name}") for name, rows in members.items()]
    torn = [item for item in torn if len(_values(parts, item)) > 1]
    alone = [_two_labels(two, labels), _leak(leaks, parts), _torn(torn, parts), _copies(plain), _augmented(table)]
    free = [item for item in scenes if not all(groups[row] for row in item.rows)]
    free = [item for item in free if len({blocks[row] for row in item.rows}) > 1]
    long, free = ([item for item in loose if _is_open(item, parts)] for loose in (long, free))
    return [*alone, _bursts(short, parts), _series(long, parts), _scenes(free, parts)]


def parts_of(table: Table, known: Table) -> list[str | None]:
    """The part of each sample as another table has it: of the same content in the same place, or of the same content.

    Copies may lie in several parts, so the content alone does not always say which.
    """
    columns = [texts(known, name) for name in ("hash", "source", "part")]
    found: dict[tuple[str | None, ...], str | None] = {}
    for digest, source, part in zip(*columns, strict=True):
        found[digest, source] = part
        found.setdefault((digest,), part)
    pairs = zip(texts(table, "hash"), texts(table, "source"), strict=True)
    return [found.get((digest, source), found.get((digest,))) for digest, source in pairs]


def against_finding(table: Table, sets: Sequence[Evidence], images: int) -> Finding | None:
    """The finding on images that another data set, of so many images, has too."""
    if not sets:
        return None
    number = _images(sets)
    return Finding(
        kind="against",
        needs_decision=True,
        images=number,
        evidence=f"{count(number, 'image')} of {len(table):,} {are(number)} also in the other data ({images:,}).",
        price=f"If a model is trained on one and tested on the other, up to {share(number, len(table))} of what is "
        "tested was seen before.",
        remedy="Leave them out of the training side (--fix leaves them out of DATA).",
        sets=tuple(sets),
    )


def _two_labels(sets: Sequence[Evidence], labels: Sequence[str | None]) -> Finding | None:
    if not sets:
        return None
    named = tuple(item._replace(words=f"{' or '.join(_values(labels, item))}: {item.words}") for item in sets)
    number = _images(sets)
    return Finding(
        kind="two_labels",
        needs_decision=True,
        images=number,
        evidence=f"{count(len(sets), 'picture')} {are(len(sets))} there more than once ({number:,} images) and under "
        "different labels.",
        price="At least one label of each is wrong, or the classes overlap; no model can be right on all of them.",
        remedy="Keep the right label; --fix leaves all of them out.",
        sets=named,
    )


def _leak(sets: Sequence[Evidence], parts: Sequence[str | None]) -> Finding | None:
    if not sets:
        return None
    return Finding(
        kind="leak",
        needs_decision=True,
        images=_images(sets),
        evidence=f"{count(len(sets), 'picture')} {are(len(sets))} in more than one part: {_seen(sets, parts)}.",
        price=f"What was seen in training can be answered from memory, which flatters the result; {_PRICED}.",
        remedy="Remove the written split, and tenfold split keeps each set in one part; where the data give the parts, "
        "--fix keeps the later copy of each.",
        sets=tuple(sets),
    )


def _torn(sets: Sequence[Evidence], parts: Sequence[str | None]) -> Finding | None:
    if not sets:
        return None
    return Finding(
        kind="group_leak",
        needs_decision=True,
        images=_images(sets),
        evidence=f"Of the groups that the data or --groups-from give, {len(sets):,} {are(len(sets))} in more than one "
        f"part: {_seen(sets, parts)}.",
        price=f"Images of one group are alike, so the result says less of groups that are new; {_PRICED}.",
        remedy="Split anew: tenfold split keeps groups together.",
        sets=tuple(sets),
    )


def _pictures(table: Table, sets: Sequence[Evidence]) -> list[int]:
    """How many pictures each set holds, its augmented copies (`tenfold augment --save`) taken for what they are of.

    One where a set is an image and copies that the listing declares; files with the same bytes are two, as ever.
    """
    copies, hashes, origins = are_copies(table).tolist(), texts(table, "hash"), texts(table, "origin")
    found = []
    for item in sets:
        images = [row for row in item.rows if not copies[row]]
        elsewhere = {origins[row] for row in item.rows if copies[row]} - {hashes[row] for row in images}
        found.append(len(images) + len(elsewhere))
    return found


def _copies(sets: Mapping[Evidence, int]) -> Finding | None:
    """From sets, each with its number of pictures."""
    if not sets:
        return None
    number = sum(sets.values())
    return Finding(
        kind="copies",
        needs_decision=False,
        images=number,
        evidence=f"{count(number, 'image')} {are(number)} copies or near copies of one another, in "
        f"{count(len(sets), 'set')}.",
        price=f"The data hold {count(number - len(sets), 'image')} fewer than it seems; in two parts they would leak.",
        remedy="Nothing to do: tenfold split and train keep each set in one part; --fix writes a group for each.",
        sets=tuple(sets),
    )


def _augmented(table: Table) -> Finding | None:
    """A note on the copies that a listing declares: nobody has to find them, and they are no images."""
    copies = are_copies(table)
    if not copies.any():
        return None
    number = int(copies.sum())
    of = len({origin for origin, copy in zip(texts(table, "origin"), copies, strict=True) if copy})
    return Finding(
        kind="augmented",
        needs_decision=False,
        images=number,
        evidence=f"{number:,} of the {len(table):,} {are(number)} augmented copies of {count(of, 'image')}, as the "
        "listing says (copy_of).",
        price="Copies are no further images: for training alone, and of use to nothing that judges.",
        remedy="Nothing to do: tenfold split and train have each in training where its image is, else nowhere.",
    )


def _bursts(sets: Sequence[Evidence], parts: Sequence[str | None]) -> Finding | None:
    if not sets:
        return None
    number, torn = _images(sets), [item for item in sets if len(_values(parts, item)) > 1]
    across = _across(torn, parts)
    return Finding(
        kind="bursts",
        needs_decision=bool(torn),
        images=number,
        evidence=f"{count(number, 'image')} seem to be taken in a row, in {count(len(sets), 'set')}{across}.",
        price=f"{_HALF_KNOWN}; {_PRICED}." if torn else f"{_HALF_KNOWN}.",
        remedy="Remove the written split, and tenfold split keeps each set in one part; --fix gives each a group."
        if torn
        else "Nothing to do: tenfold split and train keep each set in one part; --fix gives each a group.",
        sets=tuple(sorted(sets, key=lambda item: len(_values(parts, item)) < 2)),
    )


def _long_blocks(labels: Sequence[str | None], blocks: Sequence[int]) -> set[int]:
    """The blocks, of what belongs together, that leave too little of a class to other parts.

    Of a class with a single image in the block there is no more to be had by tearing it.
    """
    images = Counter(labels)
    held = Counter(zip(labels, blocks, strict=True))
    separate = Counter(label for label, _ in held)
    return {
        block
        for (label, block), number in held.items()
        if number > 1 and (number > LONGEST * images[label] or separate[label] - 1 < OTHERS)
    }


def _series(sets: Sequence[Evidence], parts: Sequence[str | None]) -> Finding | None:
    if not sets:
        return None
    number, torn = _images(sets), [item for item in sets if len(_values(parts, item)) > 1]
    return Finding(
        kind="series",
        needs_decision=True,
        images=number,
        evidence=f"{count(number, 'image')} seem to be taken in a row, in {count(len(sets), 'set')}, each so much "
        f"of a class that under {100 * (1 - LONGEST):.0f} % of it, or fewer than {OTHERS} separate images, are left "
        f"for other parts: no split keeps them together by itself{_across(torn, parts)}.",
        price=f"{_HALF_KNOWN}; {_PRICED}." if torn else f"{_HALF_KNOWN}.",
        remedy="tenfold check DATA --fix OUT.csv gives each a group, and a split of that listing keeps it in one part; "
        "or name what belongs together with --groups-from; images of other times and places help more.",
        sets=tuple(sorted(sets, key=lambda item: len(_values(parts, item)) < 2)),
    )


def _scenes(sets: Sequence[Evidence], parts: Sequence[str | None]) -> Finding | None:
    """A note: one person in numbered files looks so too, and then each picture is one of its own."""
    if not sets:
        return None
    number, torn = _images(sets), [item for item in sets if len(_values(parts, item)) > 1]
    return Finding(
        kind="scene",
        needs_decision=False,
        images=number,
        evidence=f"{count(number, 'numbered image')} in {count(len(sets), 'row')} {are(number)} alike, near ones no "
        f"more than others, as of a camera that stands still, or of one person{_across(torn, parts)}.",
        price="Frames of one video in two parts flatter the result as copies do; pictures that were taken one by one "
        "do not.",
        remedy="Nothing is tied by itself. Of frames, say what belongs together: --groups-from with a bracket around "
        "what names the video, or a column group in a listing.",
        sets=tuple(sets),
    )


def _is_open(item: Evidence, parts: Sequence[str | None]) -> bool:
    """Whether a split tears a set, or still may: nothing is left to decide once all of it is in one part."""
    return len(_values(parts, item)) > 1 or not all(parts[row] for row in item.rows)


def _across(torn: Sequence[Evidence], parts: Sequence[str | None]) -> str:
    return f", and {len(torn):,} {are(len(torn))} in more than one part: {_seen(torn, parts)}" if torn else ""


def _values(column: Sequence[str | None], item: Evidence) -> list[str]:
    """What a column holds for the images of a set, each value once."""
    return sorted({value for row in item.rows if (value := column[row])})


def _images(sets: Iterable[Evidence]) -> int:
    return len({row for item in sets for row in item.rows})


def _seen(sets: Iterable[Evidence], parts: Sequence[str | None]) -> str:
    """ "12 of 550 test images and 3 of 551 validation images have one in an earlier part"."""
    seen = leaked_rows(sets, parts)
    words = [
        f"{len(rows):,} of {count(list(parts).count(part), f'{part} image')}" for part, rows in seen.items() if rows
    ]
    return f"{' and '.join(words)} have one in an earlier part"


def leaked_rows(sets: Iterable[Evidence], parts: Sequence[str | None]) -> dict[str, set[int]]:
    """The images of the validation and the test part that share a set with an image of an earlier part."""
    place = {part: number for number, part in enumerate(PARTS)}
    leaked: dict[str, set[int]] = {part: set() for part in PARTS[:0:-1]}
    for item in sets:
        standing = [(place[part], row) for row in item.rows if (part := parts[row]) in place]
        first = min((number for number, _ in standing), default=0)
        for number, row in standing:
            if number > first:
                leaked[PARTS[number]].add(row)
    return leaked
