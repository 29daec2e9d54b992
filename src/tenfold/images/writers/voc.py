"""Pascal VOC: `JPEGImages/`, `Annotations/*.xml` and, where there are parts, `ImageSets/Main/*.txt`.

See readers/voc.py. Corners are whole pixels wherever they were. A box to ignore is `difficult`. The layout has no place
for an area other than the box's, nor for the numbers of classes, or one without a box.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np

from tenfold.boxes import to_voc
from tenfold.images.readers.labels import class_order
from tenfold.images.table import lost_areas
from tenfold.images.writers.placed import Place, Placed, plain
from tenfold.words import listed


def write(images: Sequence[Placed], classes: Sequence[str], folder: Path, place: Place) -> list[str]:
    """Fill an empty folder; gives notes on what the layout cannot hold."""
    for name in ("JPEGImages", "Annotations"):
        (folder / name).mkdir()
    for image in images:
        place(image.source, folder / "JPEGImages" / image.name)
        (folder / "Annotations" / Path(image.name).with_suffix(".xml")).write_bytes(_annotation(image))
    lists: dict[str, list[str]] = {}
    for image in images:
        for part in (image.part, *(["trainval"] if image.part in ("train", "val") else [])) if image.part else ():
            lists.setdefault(part, []).append(Path(image.name).stem)
    if lists:
        (folder / "ImageSets" / "Main").mkdir(parents=True)
    for part, stems in lists.items():
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text("".join(f"{stem}\n" for stem in stems), "utf-8")
    return [*lost_areas(np.concatenate([image.areas for image in images])), *_lost_order(images, classes)]


def _lost_order(images: Sequence[Placed], classes: Sequence[str]) -> list[str]:
    """The sentence about classes whose numbers will be others; none where what is read back has the same."""
    found = class_order(label for image in images for label in image.labels)
    if found == tuple(classes):
        return []
    return [
        f"Pascal VOC has no list of classes: read back, they are those with a box, in natural order "
        f"({listed(found) or 'none'}), not as here ({listed(classes)}); what is then written as YOLO or COCO has other "
        "numbers for them."
    ]


def _annotation(image: Placed) -> bytes:
    root = Element("annotation")
    SubElement(root, "folder").text = "JPEGImages"
    SubElement(root, "filename").text = image.name
    size = SubElement(root, "size")
    for name, side in (("width", image.width), ("height", image.height), ("depth", 3)):
        SubElement(size, name).text = str(side)
    SubElement(root, "segmented").text = "0"
    for corners, label, ignore in zip(to_voc(image.boxes).tolist(), image.labels, image.ignore, strict=True):
        item = SubElement(root, "object")
        about = {"name": label, "pose": "Unspecified", "truncated": "0", "difficult": str(int(ignore))}
        for name, text in about.items():
            SubElement(item, name).text = text
        box = SubElement(item, "bndbox")
        for name, value in zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True):
            SubElement(box, name).text = plain(value)
    indent(root, "\t")
    written: bytes = tostring(root, "utf-8")
    return written + b"\n"
