"""A detector's mistakes as pictures: the surest of each kind, and the images with the most of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tenfold.report.context import Context, Section, render
from tenfold.report.detected import NAMES, Detected, counted, examples, found_again, image_boxes, picture
from tenfold.report.outlined import LINES

if TYPE_CHECKING:
    from tenfold.images.table import Table

SHOWN = 12
"""Images that are shown, in rows of ABREAST; one with many boxes has a row of its own."""
ABREAST, MANY = 3, 25
NARROW, WIDE, WIDEST = 210, 300, 900
"""How wide pictures of a mistake, of an image and of one with many boxes usually are on the page, in pixels."""
MEANINGS = {
    "found": "found: the detector's box",
    "true": "the true box",
    "false": "a false detection",
    "missed": "an object that was not found",
}
IMAGES = """
{% from "outlined.html.j2" import outlined, lines %}
{% macro shown(item, words, tall="26rem") %}
<figure class="picture">
{% if item.picture.drawing %}{{ outlined(item.picture.drawing, words, tall) }}{% else %}\
<div class="missing">{{ item.picture.name }} cannot be read</div>{% endif %}
<figcaption>{{ caller() }}</figcaption>
</figure>
{% endmacro %}
<p>Look for true boxes that are missing or wrong before you blame the model. Shown are detections with a score of at \
least {{ "%.2f" | format(score) }}, each with its class and score where there is room; all are told when the pointer \
rests on a box.</p>
{{ lines(legend) }}
{% if kinds %}
<h3>The surest mistakes of each kind</h3>
{% endif %}
{% for kind, own in kinds.items() %}
<h4 id="mistakes-{{ kind }}" style="margin: 1rem 0 0.4rem">{{ names[kind] }}\
{% if own.more %} <small class="quiet">{{ own.shown | length }} of {{ "{:,}".format(own.count) }}</small>\
{% endif %}</h4>
<ul class="pictures" style="grid-template-columns: repeat(auto-fill, minmax(min(46%, 12rem), 1fr))">
{% for item in own.shown %}
<li>{% call shown(item, names[kind] ~ ", " ~ item.picture.name ~ ": " ~ item.words) %}{{ item.words }}\
<small style="display: block">{{ item.picture.name }}</small>{% endcall %}</li>
{% endfor %}
</ul>
{% endfor %}
<h3>Images, those with the most mistakes first</h3>
<p>{{ wrong or "None" }} of the {{ "{:,}".format(total) }} images {{ "have" if wrong > 1 else "has" }} a mistake.\
{% if total > items | length %} Shown are {{ items | length }} of them.{% endif %}</p>
<ul class="pictures large">
{% for item in items %}
<li{% if item.many %} style="grid-column: 1 / -1"{% endif %}>\
{% call shown(item, item.picture.name ~ ": " ~ item.words, "90vh" if item.many else "26rem") %}\
{% if item.false %}<span class="said">{{ item.false }} false</span>{% endif %}\
{% if item.missed %}<span class="said">{{ item.missed }} not found</span>{% endif %}\
{% if not item.false and not item.missed %}<span class="is">no mistake</span>{% endif %}\
{{ item.picture.name }}{% if item.left_out %}; {{ item.left_out }} more boxes are not drawn{% endif %}{% endcall %}</li>
{% endfor %}
</ul>
"""


def detection_images(context: Context) -> Section:
    """Up to EXAMPLES mistakes of each kind, and up to SHOWN images, those with the most mistakes first."""
    from tenfold.metrics.detection import image_mistakes

    table, found = found_again(context)
    false, missed = image_mistakes(found.part, found.score)
    order = np.argsort(-(false + missed), kind="stable")
    html = render(
        IMAGES,
        items=_images(table, found, order.tolist(), false, missed),
        kinds=_kinds(context, table, found),
        names=NAMES,
        legend=[(LINES[kind], words) for kind, words in MEANINGS.items()],
        wrong=int((false + missed > 0).sum()),
        total=len(table),
        score=found.score,
    )
    return Section("Mistakes in pictures", html)


def _images(
    table: Table, found: Detected, order: list[int], false: NDArray[np.int64], missed: NDArray[np.int64]
) -> list[dict[str, Any]]:
    """Images in that order, as many as there is room for."""
    items: list[dict[str, Any]] = []
    room = SHOWN
    for row in order:
        boxes = image_boxes(found, row)
        many = sum(bool(box.label) for box in boxes) > MANY
        room -= ABREAST if many else 1
        if room < 0:
            break
        shown = picture(table, row, boxes, WIDEST if many else WIDE)
        item = {"picture": shown, "many": many, "false": int(false[row]), "missed": int(missed[row])}
        items.append(item | {"words": counted(boxes), "left_out": shown.drawing.left_out if shown.drawing else 0})
    return items


def _kinds(context: Context, table: Table, found: Detected) -> dict[str, dict[str, Any]]:
    """Kind -> its examples, and how many mistakes there are; in the order of the table of kinds."""
    counts = {row["kind"]: row["count"] for row in context.details["errors"]}
    kinds = {}
    for kind, own in examples(found).items():
        shown = [
            {"picture": picture(table, one.row, one.boxes, NARROW, one.boxes[: one.about]), "words": one.words}
            for one in own
        ]
        kinds[kind] = {"shown": shown, "count": counts[kind], "more": counts[kind] > len(shown)}
    return kinds
