"""What a detector's mistakes are, what mending each kind would gain, and what was taken for what."""

from __future__ import annotations

from typing import Any

from tenfold.report.context import Context, Section, render

TABLE_CLASSES = 25
"""Up to so many classes the confusion matrix is shown; beyond, no screen holds it."""
WORDS = {
    "class": ("Wrong class", "an object found, but called another class"),
    "location": ("Badly placed", "the right class, overlapping the object by less than half"),
    "both": ("Both", "another class's object, overlapped by less than half"),
    "duplicate": ("Twice", "an object that a surer detection had found already"),
    "background": ("Nothing there", "overlaps no object by more than a tenth"),
    "missed": ("Missed", "an object that none of the detections is about"),
}
ERRORS = """
{% from "pieces.html.j2" import scroll, estimate %}
{% if best %}
<p>Most would be gained by mending <b>{{ best[0] | lower }}</b>: {{ best[1] }}.</p>
{% else %}
<p>No mistake costs any average precision.</p>
{% endif %}
{% call scroll("Mistakes by kind") %}
<table class="figures">
<thead><tr><th scope="col">Mistake</th><th scope="col">What it is</th><th scope="col" class="number">Number</th>\
<th scope="col" class="number">Gain in AP50</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ words[row.kind][0] }}</th><td>{{ words[row.kind][1] }}</td>\
<td class="number">{{ "{:,}".format(row.count) }}</td><td class="number">{{ estimate("ap50", row.gain) }}</td></tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p class="note">Numbers are of detections with a score of at least {{ "%.2f" | format(score) }}; the gain is what AP50 \
over all detections would rise by were that kind alone mended (Bolya et al. 2020), so that gains do not add up.</p>
{% if confusion %}
{% call scroll("What was taken for what") %}
<table class="confusion{{ " many" if classes | length > 8 }}">
<thead><tr><td></td>{% for name in classes %}
<th scope="col"><span title="{{ name }}">{{ name }}</span></th>
{% endfor %}
<th scope="col"><span>missed</span></th></tr></thead>
<tbody>
{% for row in confusion %}
<tr><th scope="row"><span title="{{ row.name }}">{{ row.name }}</span></th>
{% for cell in row.cells %}<td class="{{ cell.kind }}" style="--share: {{ cell.share }}"><span>{{ cell.count }}</span>\
</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p class="note">Rows: what is there. Columns: what was detected.</p>
{% endif %}
"""


def detection_errors(context: Context) -> Section:
    """The table of kinds, and the confusion matrix with the background."""
    rows = context.details["errors"]
    largest = max(rows, key=lambda row: row["gain"].value)
    classes = context.details["classes"]
    html = render(
        ERRORS,
        rows=rows,
        words=WORDS,
        best=WORDS[largest["kind"]] if largest["gain"].value > 0 else None,
        score=context.details["score"],
        classes=classes,
        confusion=_matrix(context.details["confusion"], classes) if len(classes) <= TABLE_CLASSES else None,
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
