"""What a detector's mistakes are, what mending each kind would gain, and what was taken for what.

Shapes: K classes; the matrix is [K + 1, K + 1], rows what is there, columns what was detected, the background last.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenfold.report.blocks.confusion import PAIRS, TABLE_CLASSES, matrix_picture
from tenfold.report.context import Context, Section, render
from tenfold.report.detected import NAMES

MEANINGS = {
    "class": "an object found, but called another class",
    "location": "the right class, overlapping the object by less than half",
    "both": "another class's object, overlapped by less than half",
    "duplicate": "an object that a surer detection had found already",
    "background": "overlaps no object by more than a tenth",
    "missed": "an object that none of the detections is about",
}
"""What each kind of mistake is."""
BETWEEN = ("class", "both")
"""Kinds that need another class."""
ERRORS = """
{% from "pieces.html.j2" import scroll, estimate %}
{% if best %}
<p>Most would be gained by mending <b>{{ names[best] | lower }}</b>: {{ meanings[best] }}.</p>
{% else %}
<p>No mistake costs any average precision.</p>
{% endif %}
{% call scroll("Mistakes by kind") %}
<table class="figures">
<thead><tr><th scope="col">Mistake</th><th scope="col">What it is</th><th scope="col" class="number">Number</th>\
<th scope="col" class="number">Gain in AP50</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{% if row.count %}<a href="#mistakes-{{ row.kind }}">{{ names[row.kind] }}</a>{% else %}\
{{ names[row.kind] }}{% endif %}</th><td>{{ meanings[row.kind] }}</td>\
<td class="number">{{ "{:,}".format(row.count) }}</td><td class="number">{{ estimate("ap50", row.gain) }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p class="note">Numbers are of detections with a score of at least {{ "%.2f" | format(score) }}; the gain is what AP50 \
over all detections would rise by were that kind alone mended (Bolya et al. 2020), so that gains do not add up. A \
name leads to pictures of its kind.</p>
<h3>What was taken for what</h3>
{% if matrix %}
<p class="note" id="confusion-key">Rows: what is there, in the last one nothing. Columns: what was detected, in the \
last one nothing. Color: share of the row.</p>
{% call scroll("What was taken for what") %}
<table class="confusion{{ " many" if classes | length > 8 }}" aria-describedby="confusion-key">
<thead><tr><td></td>{% for name in classes %}
<th scope="col"><span title="{{ name }}">{{ name }}</span></th>
{% endfor %}
<th scope="col"><span><i>missed</i></span></th></tr></thead>
<tbody>
{% for row in matrix %}
<tr><th scope="row"><span title="{{ row.name }}">{% if loop.last %}<i>{{ row.name }}</i>{% else %}{{ row.name }}\
{% endif %}</span></th>
{% for cell in row.cells %}<td class="{{ cell.kind }}" style="--share: {{ cell.share }}"><span>{{ cell.count }}</span>\
</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
{% else %}
<figure class="map"><img src="{{ map }}" alt="What was taken for what, of {{ classes | length }} classes as a picture: \
the stronger the color, the larger the share of the row"><figcaption>Rows: what is there, columns: what was detected, \
both in the order of the table of classes. The last row is of detections where nothing is, the last column of objects \
that were missed. Blue: right; orange: wrong; the stronger, the larger the share of the row.</figcaption></figure>
{% if pairs %}
{% call scroll("Classes taken for others most often", tall=pairs | length > 12) %}
<table>
<thead><tr><th scope="col">What is there</th><th scope="col">Detected as</th><th scope="col" class="number">Objects\
</th><th scope="col" class="number">of</th></tr></thead>
<tbody>
{% for pair in pairs %}
<tr><td>{{ pair.truth }}</td><td>{{ pair.detected }}</td><td class="number">{{ "{:,}".format(pair.count) }}</td>\
<td class="number">{{ "{:,}".format(pair.objects) }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
{% if more_pairs %}<p class="note">The {{ pairs | length }} most frequent ones; {{ more_pairs }} more are rarer.</p>\
{% endif %}
{% else %}
<p>No object was taken for another class's.</p>
{% endif %}
{% endif %}
"""


def detection_errors(context: Context) -> Section:
    """The table of kinds, and the confusion matrix with the background: as a picture where there are many classes."""
    classes = context.details["classes"]
    rows = [row for row in context.details["errors"] if len(classes) > 1 or row["kind"] not in BETWEEN]
    largest = max(rows, key=lambda row: row["gain"].value)
    counts = np.array(context.details["confusion"], np.int64)
    as_table = len(classes) <= TABLE_CLASSES
    pairs = _pairs(counts, classes)
    html = render(
        ERRORS,
        rows=rows,
        names=NAMES,
        meanings=MEANINGS,
        best=largest["kind"] if largest["gain"].value > 0 else None,
        score=context.details["score"],
        classes=classes,
        matrix=_matrix(counts.tolist(), classes) if as_table else None,
        map=None if as_table else matrix_picture(counts),
        pairs=pairs[:PAIRS],
        more_pairs=max(len(pairs) - PAIRS, 0),
    )
    return Section("Mistakes by kind", html)


def _matrix(counts: list[list[int]], classes: list[str]) -> list[dict[str, Any]]:
    """Rows of cells; the corner of background that was not detected stays empty."""
    rows = []
    for place, (name, row) in enumerate(zip([*classes, "nothing"], counts, strict=True)):
        cells = [
            {
                "count": "" if place == column == len(classes) else count,
                "share": round((count / sum(row)) ** 0.5, 3) if count else 0,
                "kind": ("right" if place == column else "wrong") if count else "empty",
            }
            for column, count in enumerate(row)
        ]
        rows.append({"name": name, "cells": cells})
    return rows


def _pairs(counts: NDArray[np.int64], classes: list[str]) -> list[dict[str, Any]]:
    """Classes whose objects were taken for another class's, the most frequent pairs first; without the background."""
    own = counts[:-1, :-1] * ~np.eye(len(classes), dtype=bool)
    pairs = np.argwhere(own)
    order = np.argsort(-own[tuple(pairs.T)], kind="stable")
    return [
        {
            "truth": classes[row],
            "detected": classes[column],
            "count": int(own[row, column]),
            "objects": int(counts[row].sum()),
        }
        for row, column in pairs[order].tolist()
    ]
