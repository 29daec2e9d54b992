"""COCO json: `images/` and `annotations/instances_<part>.json`; see readers/coco.py.

Ids count from 1, those of categories in the order of the classes: other ids that the data had are not kept. A box to
ignore is `iscrowd`, the one mark of COCO by which a box is neither to be found nor counted as false. The `area` is the
one that the box was given, as that of a mask, or else the box's. Images without a part are in instances.json, or,
beside others that have one, in instances_rest.json.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tenfold.boxes import box_areas, from_coco, to_coco
from tenfold.images.writers.placed import Place, Placed


def write(images: Sequence[Placed], classes: Sequence[str], folder: Path, place: Place) -> list[str]:
    """Fill an empty folder; gives notes on what the layout cannot hold, here none."""
    for name in ("images", "annotations"):
        (folder / name).mkdir()
    for image in images:
        place(image.source, folder / "images" / image.name)
    categories = [{"id": number, "name": name} for number, name in enumerate(classes, 1)]
    parts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    start = 1
    for number, image in enumerate(images, 1):
        content = parts.setdefault(image.part, {"images": [], "annotations": [], "categories": categories})
        content["images"].append({"id": number, "file_name": image.name, "width": image.width, "height": image.height})
        content["annotations"] += _annotations(image, number, start, classes)
        start += len(image.labels)
    for part, content in parts.items():
        name = f"instances_{part or 'rest'}.json" if len(parts) > 1 or part else "instances.json"
        (folder / "annotations" / name).write_text(json.dumps(content, ensure_ascii=False), "utf-8")
    return []


def _annotations(image: Placed, number: int, start: int, classes: Sequence[str]) -> list[dict[str, Any]]:
    """The boxes of the image of this id, with ids from `start` on."""
    written = to_coco(image.boxes)
    areas = np.where(np.isnan(image.areas), box_areas(from_coco(written)), image.areas)
    columns = zip(written.tolist(), areas.tolist(), image.labels, image.ignore, strict=True)
    return [
        {
            "id": start + place,
            "image_id": number,
            "category_id": classes.index(label) + 1,
            "bbox": [_plain(value) for value in box],
            "area": _plain(area),
            "segmentation": [],
            "iscrowd": int(ignore),
        }
        for place, (box, area, label, ignore) in enumerate(columns)
    ]


def _plain(value: float) -> float | int:
    return int(value) if value.is_integer() else value
