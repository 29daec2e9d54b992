"""Each class of a detector: how many objects, its average precisions, and what is found from the chosen score on."""

from __future__ import annotations

from tenfold.report.context import Context, Section, render
from tenfold.report.crowded import crowded_note

FIGURES = {"ap50": "AP50", "ap": "AP", "ap75": "AP75", "precision": "Precision", "recall": "Recall"}
CLASSES = """
{% from "pieces.html.j2" import scroll, estimate %}
<p>Precision and recall are those of detections with a score of at least {{ "%.2f" | format(score) }}; average \
precision looks at all.</p>
{% call scroll("Figures of each class", tall=rows | length > 40) %}
<table class="figures">
<thead><tr><th scope="col">Class</th><th scope="col" class="number">Objects</th><th scope="col" class="number">Images\
</th>{% for short in figures.values() %}<th scope="col" class="number">{{ short }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row.class }}</th><td class="number">{{ "{:,}".format(row.objects) }}</td>\
<td class="number">{{ "{:,}".format(row.images) }}</td>
{% for name in figures %}<td class="number">{{ estimate(name, row[name]) }}</td>{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p class="note">AP50 and AP75: average precision where an object is found from an overlap (IoU) of 0.5 or 0.75 on; \
AP: the mean over overlaps from 0.5 to 0.95. Below each figure stands its interval{% if level %} at \
{{ level | level }}{% endif %}; a dash where there is nothing to measure it on.\
{% if flat %} {{ "One box of no area was" if flat == 1 else flat ~ " boxes of no area were" }} left out.{% endif %}</p>
{% if crowded %}<p class="note">{{ crowded }}</p>{% endif %}
"""


def detection_classes(context: Context) -> Section:
    """The per-class table."""
    rows = context.details["per_class"]
    levels = [row[name].level for row in rows for name in FIGURES if row[name]]
    html = render(
        CLASSES,
        rows=rows,
        figures=FIGURES,
        score=context.details["score"],
        level=levels[0] if levels else None,
        flat=context.details.get("no_area", 0),
        crowded=crowded_note(context.run, context.details),
    )
    return Section("Class by class", html)
