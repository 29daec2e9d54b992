"""YOLO: `images/<part>/`, `labels/<part>/` and `data.yaml`; see readers/yolo.py.

An image with nothing in it has an empty label file. The layout has no mark for a box to ignore, so these are left out
and counted, and no place for an area other than the box's. Without parts `train` and `val` are the same folder, since
Ultralytics asks for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from tenfold.boxes import clip_boxes, sound_boxes, to_yolo
from tenfold.images.table import lost_areas
from tenfold.images.writers.placed import Place, Placed, plain

_DECIMALS = 10


def write(images: Sequence[Placed], classes: Sequence[str], folder: Path, place: Place) -> list[str]:
    """Fill an empty folder; gives notes on what the layout cannot hold."""
    parts = {image.part for image in images}
    places = {part: part or ("rest" if len(parts) > 1 else "") for part in parts}
    for name in places.values():
        (folder / "images" / name).mkdir(parents=True, exist_ok=True)
        (folder / "labels" / name).mkdir(parents=True, exist_ok=True)
    for image in images:
        name = places[image.part]
        place(image.source, folder / "images" / name / image.name)
        (folder / "labels" / name / Path(image.name).with_suffix(".txt")).write_text(_lines(image, classes), "utf-8")
    settings: dict[str, object] = {part: f"images/{part}" for part in ("train", "val", "test") if part in parts}
    if not settings:
        settings |= {"train": "images", "val": "images"}
    settings["names"] = dict(enumerate(classes))
    text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
    (folder / "data.yaml").write_text(text, "utf-8")
    return _notes(images, settings)


def _lines(image: Placed, classes: Sequence[str]) -> str:
    shares = to_yolo(image.boxes, image.height, image.width).tolist()
    return "".join(
        " ".join([str(classes.index(label)), *(plain(value, _DECIMALS) for value in values)]) + "\n"
        for values, label, ignore in zip(shares, image.labels, image.ignore, strict=True)
        if not ignore
    )


def _notes(images: Sequence[Placed], settings: dict[str, object]) -> list[str]:
    ignored = sum(sum(image.ignore) for image in images)
    refused = sum(
        bool(
            (
                ~sound_boxes(image.boxes) | (clip_boxes(image.boxes, image.height, image.width) != image.boxes).any(1)
            ).any()
        )
        for image in images
    )
    missing = [part for part in ("train", "val") if part not in settings]
    return [
        *([f"Boxes to ignore, for which YOLO has no mark, and which are left out: {ignored}."] if ignored else []),
        *lost_areas(np.concatenate([image.areas for image in images])),
        *([f"Images with a box outside or of no area, which Ultralytics refuses: {refused}."] if refused else []),
        *([f"There is no part {' and no part '.join(missing)}, which Ultralytics asks for."] if missing else []),
    ]
