"""Copies: how many of those made of the flowers are found, what else is taken for one; CIFAR-10's test against train.

    python benchmarks/duplicates.py flowers     about 50 s
    python benchmarks/duplicates.py cifar10     about 60 s
    python benchmarks/duplicates.py check       about 20 s: how long `tenfold check` takes on the flowers

2026-11-24, Intel Xeon (virtual, 2 cores, other programs running on both, so the times are too long rather than too
short), one run each:

    408 flowers, 16 copies of each, looked for among all 3,670: 99.85 % found
        100.00 %  turned by 90°, 180°, 270°; mirrored; twice the size; 10 % cut off; 30 % darker; grey; a text as a mark
         99.75 %  half the size; JPEG quality 70 and 50; a plain mark
         99.51 %  JPEG quality 30; 5 % cut off; 30 % brighter
        none of the 6,528 copies was taken for one of another flower
    3,670 flowers among themselves: 26 pairs, 2 images (0.05 %) in a false one; 2 s to decode and sign, 9 s to search
    CIFAR-10, 10,000 test against 50,000 training images: 853 pairs, 522 test images; 13 s to sign, 37 s to search

2026-11-27, AMD EPYC (virtual, 2 cores): the same counts to the last pair; 1.5 and 5.8 s for the flowers, 10 and 52 s
for CIFAR-10 with other programs beside it. Nothing beside it, one run, start of Python included:

    `tenfold check` of 3,670 flowers: 12.6 s with nothing known before, 2.0 and 1.9 s from the cache

The limits were set on other flowers than those copied here, but the false alarms are those of the flowers they were
set on. A pair among the originals counts as a false alarm unless it stands in TWINS, where all those are that looked
like one photo: grey, recolored, cropped and plain repetitions. What is left are two sunflowers in another light. Of
CIFAR-10's pairs, about 130 of the least certain were looked at, and 3 or 4 seemed to be two pictures of one airplane
type; this was before the limits for plain images were made stricter. They were not compared with a published list.
All of these are small enough for the exact search; benchmarks/scale.py says what the search by cells loses.

What it cannot tell from a copy: 19 pairs of the 400 ORL faces, all of one person who held still, 17 of them as if
cropped. None of 1,797 handwritten digits (scikit-learn's, at 8 x 8 and at 28 x 28) is called a copy of another.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tenfold.check.duplicates import Duplicate, find_duplicates
from tenfold.check.signature import Signatures, sign_image, stack_signatures
from tenfold.images.content import content_hash
from tenfold.images.decode import decode_image

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "shared" / "data"))
EVERY, FIRST = 9, 4  # every ninth flower is copied; the limits of judge.py were set on the ones from 0 on
QUALITY = 90  # of the JPEG that a copy is stored as, where its kind names none

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def crop(part: float) -> Change:
    """Cut off a part of each side, all of it at one end that chance picks: the worst place."""

    def change(image: Image.Image, draw: np.random.Generator) -> Image.Image:
        width, height = round(image.width * (1 - part)), round(image.height * (1 - part))
        left, top = draw.integers(2) * (image.width - width), draw.integers(2) * (image.height - height)
        return image.crop((left, top, left + width, top + height))

    return change


def brighten(factor: float) -> Change:
    return lambda image, _: image.point(lambda value: min(round(value * factor), 255))


def resize(factor: float) -> Change:
    return lambda image, _: image.resize(
        (round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC
    )


def turn(how: Image.Transpose) -> Change:
    return lambda image, _: image.transpose(how)


def mark(text: str) -> Change:
    """A box of a twentieth of the area, in one color and somewhere, with a text in another where there is one."""

    def change(image: Image.Image, draw: np.random.Generator) -> Image.Image:
        stretch = draw.uniform(1, 3) if text else 1
        width = round(image.width * (0.05 * stretch) ** 0.5)
        height = round(image.height * (0.05 / stretch) ** 0.5)
        left, top = draw.integers(image.width - width + 1), draw.integers(image.height - height + 1)
        paper, ink = (tuple(color) for color in draw.integers(0, 256, (2, 3)).tolist())
        box = Image.new("RGB", (width, height), paper)
        ImageDraw.Draw(box).text((2, height // 4), text, fill=ink, font_size=max(height // 2, 8))
        image = image.copy()
        image.paste(box, (int(left), int(top)))
        return image

    return change


KINDS: dict[str, tuple[Change, int]] = {
    "turned by 90°": (turn(Image.Transpose.ROTATE_270), QUALITY),
    "turned by 180°": (turn(Image.Transpose.ROTATE_180), QUALITY),
    "turned by 270°": (turn(Image.Transpose.ROTATE_90), QUALITY),
    "mirrored": (turn(Image.Transpose.FLIP_LEFT_RIGHT), QUALITY),
    "half the size": (resize(0.5), QUALITY),
    "twice the size": (resize(2), QUALITY),
    "JPEG quality 70": (lambda image, _: image, 70),
    "JPEG quality 50": (lambda image, _: image, 50),
    "JPEG quality 30": (lambda image, _: image, 30),
    "5 % cut off": (crop(0.05), QUALITY),
    "10 % cut off": (crop(0.10), QUALITY),
    "30 % brighter": (brighten(1.3), QUALITY),
    "30 % darker": (brighten(0.7), QUALITY),
    "grey": (lambda image, _: image.convert("L").convert("RGB"), QUALITY),
    "a plain mark": (mark(""), QUALITY),
    "a text as a mark": (mark("(c) Photo"), QUALITY),
}

_TWINS = """
    b552288a-7abf604b 04c68525-f83ef5f3 caf74f83-18f30871 2c251942-76c74af9 b8ba0fe6-3051e1f3 17db58f5-62db8940
    ce1b4d14-bf658742 ce1b4d14-4605c824 53fca880-97ed932d 53fca880-41285f11 97ed932d-41285f11 8319e63f-780d98c0
    d84ccba9-d84ccba9 87dad030-cf028a21 cad4efdd-053d1083 157cd410-61974da9 8ee6ce0a-228fb6d1 9e04bb80-9e04bb80
    9ab4dd82-9ab4dd82 9c649526-5f404775 45a42eb9-553113e9 7b8d46f4-41574c72 a410e6b7-efc6b0d6 5a65e5ea-9f29675e
    d20e209e-0d104b5e
"""
TWINS = {frozenset(pair.split("-")) for pair in _TWINS.split()}
"""Flowers that are one photo, told by eye: the first 8 digits of their hashes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=["flowers", "cifar10", "check"])
    parser.add_argument("--every", type=int, default=EVERY, help="copy every so manieth flower")
    parser.add_argument("--pairs", type=Path, help="write what was found among the originals to this CSV file")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    if options.data == "flowers":
        flowers(options.every, options.pairs)
    elif options.data == "cifar10":
        cifar10(options.pairs)
    else:
        check()


def check() -> None:
    """Time `tenfold check` on the flowers, as a process of its own: with an empty cache, then from the cache, twice."""
    with tempfile.TemporaryDirectory(prefix="tenfold-") as cache:
        for seen in ("nothing known before", "from the cache", "from the cache"):
            begun = time.perf_counter()
            command = [sys.executable, "-m", "tenfold", "check", str(DATA / "flowers"), "--json"]
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TENFOLD_CACHE": cache})
            spent = time.perf_counter() - begun
            found = json.loads(done.stdout)
            kinds = ", ".join(f"{item['kind']} {item['images']}" for item in found["findings"])
            print(f"{found['images']} flowers, {seen}: {spent:.1f} s, start of Python included; {kinds}")


def flowers(every: int, pairs: Path | None) -> None:
    contents = [path.read_bytes() for path in sorted((DATA / "flowers").glob("*/*.jpg"))]
    hashes = [content_hash(content)[:8] for content in contents]
    begun = time.perf_counter()
    originals = sign_all(contents)
    signed = time.perf_counter()
    found = find_duplicates(originals, pixels=pixels_of(contents))
    done = time.perf_counter()
    print(f"{len(contents)} flowers: {signed - begun:.1f} s to decode and sign, {done - signed:.1f} s to search")
    show(found)
    write(pairs, found, hashes, hashes)
    wrong = [pair for pair in found if frozenset((hashes[pair.first], hashes[pair.second])) not in TWINS]
    images = {image for pair in wrong for image in (pair.first, pair.second)}
    print(f"false alarms: {len(images)} images ({len(images) / len(contents):.2%})")
    chosen = range(FIRST, len(contents), every)
    hits = [copies(kind, contents, chosen, originals, hashes) for kind in KINDS]
    print(f"{'all kinds':20s} found {np.mean(hits):7.2%}")


def copies(
    kind: str, contents: Sequence[bytes], chosen: Sequence[int], originals: Signatures, hashes: Sequence[str]
) -> float:
    """Copy the chosen flowers, look for each copy among all flowers, and give the part whose original was found."""
    change, quality = KINDS[kind]

    def copy(row: int) -> bytes:
        image = change(Image.open(io.BytesIO(contents[row])).convert("RGB"), np.random.default_rng([7, row]))
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return buffer.getvalue()

    with ThreadPoolExecutor() as pool:
        made = list(pool.map(copy, chosen))
    found = find_duplicates(sign_all(made), originals, pixels=pixels_of(made), against_pixels=pixels_of(contents))
    right = {pair.first: pair.relation for pair in found if pair.second == chosen[pair.first]}
    wrong = [
        pair
        for pair in found
        if pair.second != chosen[pair.first]
        and frozenset((hashes[chosen[pair.first]], hashes[pair.second])) not in TWINS
    ]
    recall = len(right) / len(made)
    words = ", ".join(f"{word} {count}" for word, count in Counter(right.values()).most_common(3))
    print(f"{kind:20s} found {recall:7.2%} of {len(made)}, with another flower {len(wrong)}; the original is {words}")
    return recall


def cifar10(pairs: Path | None) -> None:
    test, train = (cifar10_contents(part) for part in ("test", "train"))
    begun = time.perf_counter()
    signatures, others = sign_all(test), sign_all(train)
    signed = time.perf_counter()
    found = find_duplicates(signatures, others, pixels=pixels_of(test), against_pixels=pixels_of(train))
    done = time.perf_counter()
    print(
        f"{len(test)} against {len(train)}: {signed - begun:.0f} s to decode and sign, {done - signed:.0f} s to search"
    )
    show(found)
    print(f"{len({pair.first for pair in found})} of {len(test)} test images have a copy among the training images")
    write(pairs, found, range(len(test)), range(len(train)))


def cifar10_contents(part: str) -> list[bytes]:
    import pyarrow.parquet as parquet

    column = parquet.read_table(next((DATA / "cifar10" / "data").glob(f"{part}-*.parquet"))).column(0)
    return [item["bytes"] for item in column.to_pylist()]


def sign_all(contents: Sequence[bytes]) -> Signatures:
    with ThreadPoolExecutor() as pool:
        return stack_signatures(list(pool.map(lambda content: sign_image(decode(content)), contents)))


def decode(content: bytes) -> NDArray[np.uint8]:
    return decode_image(content, channels="rgb")


def pixels_of(contents: Sequence[bytes]) -> Callable[[int], NDArray[np.uint8]]:
    return lambda row: decode(contents[row])


def show(found: Sequence[Duplicate]) -> None:
    counts = Counter(pair.relation for pair in found).most_common()
    print(f"{len(found)} pairs: " + ", ".join(f"{word} {count}" for word, count in counts))


def write(path: Path | None, found: Sequence[Duplicate], names: Sequence[object], others: Sequence[object]) -> None:
    if path is not None:
        with path.open("w", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(["first", "second", "relation", "distance", "first_row", "second_row"])
            for pair in found:
                ends = names[pair.first], others[pair.second]
                lines.writerow([*ends, pair.relation, pair.distance, pair.first, pair.second])


if __name__ == "__main__":
    main()
