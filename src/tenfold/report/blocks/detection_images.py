"""Images with what is there and what was found, those with the most mistakes first."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from tenfold.errors import TenfoldError
from tenfold.images.content import encoded
from tenfold.images.decode import decode_image
from tenfold.report.context import Context, Section, render
from tenfold.report.thumbnails import Thumbnail
from tenfold.tasks import box_detections, table_objects

if TYPE_CHECKING:
    from tenfold.images.table import Table
    from tenfold.metrics.detection import Part

SHOWN = 12
SIDE = 320
"""Longest side of a picture in pixels."""
RIGHT, WRONG, LOST = (0, 114, 178), (213, 94, 0), (230, 159, 0)
"""Okabe and Ito's blue, vermilion and orange."""
IMAGES = """
{% from "pieces.html.j2" import picture %}
{% if items %}
<p>{{ wrong }} of {{ total }} images have a mistake among the detections with a score of at least \
{{ "%.2f" | format(score) }}. Those with the most come first. Look for boxes that are missing or wrong before you \
blame the model.</p>
<ul class="pictures large">
{% for item in items %}
<li>{% call picture(item.thumbnail, item.false ~ " false, " ~ item.missed ~ " missed") %}\
{% if item.false %}<span class="said">{{ item.false }} false</span>{% endif %}\
{% if item.missed %}<span class="said">{{ item.missed }} missed</span>{% endif %}{% endcall %}</li>
{% endfor %}
</ul>
<p class="note">Blue: found. Vermilion: a false detection. Orange, dotted at the corners: an object that was missed.</p>
{% else %}
<p>None of the {{ total }} images has a mistake among the detections with a score of at least \
{{ "%.2f" | format(score) }}.</p>
{% endif %}
"""


class Shown(NamedTuple):
    """The boxes of one image, float [B, 4] in its pixels."""

    found: NDArray[np.float64]
    false: NDArray[np.float64]
    missed: NDArray[np.float64]


def detection_images(context: Context) -> Section:
    """Up to SHOWN images, most mistakes first."""
    from tenfold.metrics.detection import image_mistakes

    table, part = _matched(context)
    score = float(context.details["score"])
    false, missed = image_mistakes(part, score)
    order = np.argsort(-(false + missed), kind="stable")
    order = order[(false + missed)[order] > 0]
    items = [
        {
            "thumbnail": _picture(table, int(row), _boxes(part, int(row), score)),
            "false": int(false[row]),
            "missed": int(missed[row]),
        }
        for row in order[:SHOWN]
    ]
    html = render(IMAGES, items=items, wrong=len(order), total=len(table), score=score)
    return Section("Images with the most mistakes", html)


def _matched(context: Context) -> tuple[Table, Part]:
    """The images that were evaluated, and what was found on them, matched anew."""
    from tenfold.metrics.detection import match_part

    samples = context.run.table.samples
    unreadable = list(context.evaluation.get("unreadable", {}))
    rows = np.flatnonzero((samples["part"] == context.part) & ~samples["source"].isin(unreadable))
    table, place = context.run.table.take(rows), np.full(len(samples), -1)
    place[rows] = np.arange(len(rows))
    frame = context.run.predictions(context.part, "x1", "y1", "x2", "y2", "predicted", "score")
    frame = frame.assign(sample=place[frame["sample"].to_numpy(np.int64)])
    found = box_detections(frame, context.run.classes)
    return table, match_part(table_objects(table)[0], found, context.run.classes, len(table))


def _boxes(part: Part, row: int, score: float) -> Shown:
    from tenfold.metrics.detection import missed_boxes
    from tenfold.metrics.detection_matching import FALSE, FOUND

    own = (part.detections.image == row) & (part.detections.score >= score)
    lost = missed_boxes(part, score) & (part.objects.image == row)
    box, verdict = part.detections.box, part.mistakes.verdict
    return Shown(box[own & (verdict == FOUND)], box[own & (verdict == FALSE)], part.objects.box[lost])


def _picture(table: Table, row: int, shown: Shown) -> Thumbnail:
    """The image with the boxes on it."""
    name = PurePath(table.samples["source"].iloc[row]).name
    try:
        pixels = decode_image(encoded(table, row), channels="rgb", allow_truncated=True, name=name)
    except (TenfoldError, OSError):
        return Thumbnail(name)
    image = Image.fromarray(pixels)
    scale = min(SIDE / max(image.size), 1.0)
    image = image.resize((max(round(image.width * scale), 1), max(round(image.height * scale), 1)))
    pen = ImageDraw.Draw(image)
    for boxes, color in ((shown.found, RIGHT), (shown.false, WRONG), (shown.missed, LOST)):
        for box in (boxes * scale).tolist():
            pen.rectangle(box, outline=color, width=2)
            if color is LOST:  # told apart without color too
                for x, y in ((box[0], box[1]), (box[2], box[1]), (box[2], box[3]), (box[0], box[3])):
                    pen.ellipse((x - 3, y - 3, x + 3, y + 3), fill=color)
    file = BytesIO()
    image.save(file, "JPEG", quality=85, optimize=True)
    return Thumbnail(name, "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode())
