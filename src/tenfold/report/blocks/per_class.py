"""Each class against all others: counts and figures with their intervals."""

from __future__ import annotations

import re
from typing import Any

from tenfold.estimate import FEWEST_GROUPS, Estimate
from tenfold.report.context import Context, Section, render
from tenfold.words import listed

FIGURES = {
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
    "f1": "F1",
    "roc_auc": "ROC area",
    "average_precision": "PR area",
}
PER_CLASS = """
{% from "pieces.html.j2" import scroll, estimate %}
{% if positive is not none %}
<p>The positive class is <b>{{ positive }}</b>{% if threshold is not none %}: an image is given it from a probability \
of {{ "%.3g" | format(threshold) }} on{% endif %}.</p>
{% endif %}
{% call scroll("Figures of each class", tall=rows | length > 40) %}
<table class="figures">
<thead><tr><th scope="col">Class</th><th scope="col" class="number">Images</th>
{% for name, words in counts %}<th scope="col" class="number"><abbr title="{{ words }}">{{ name }}</abbr></th>\
{% endfor %}
{% for name, short in figures.items() %}<th scope="col" class="number"><abbr title="{{ name | meaning }}">{{ short }}\
</abbr></th>{% endfor %}
</tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row.class }}</th><td class="number">{{ "{:,}".format(row.support) }}</td>
{% for name, _ in counts %}<td class="number">{{ "{:,}".format(row[name | lower]) }}</td>{% endfor %}
{% for name in figures %}<td class="number">{{ estimate(name, row[name]) }}</td>{% endfor %}
</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p class="note">TP, FP, FN, TN: true and false positives and negatives of the class against all others. Below each \
figure stands its interval{% if level %} at {{ level | level }}{% endif %}; a dash where it is not defined, for \
example precision of a class that was never predicted.{{ few }}</p>
"""
COUNTS = (("TP", "true positives"), ("FP", "false positives"), ("FN", "false negatives"), ("TN", "true negatives"))


def per_class(context: Context) -> Section:
    """The per-class table."""
    rows = context.details["per_class"]
    levels = [row[name].level for row in rows for name in FIGURES if row[name]]
    few = _few_groups(rows)
    html = render(
        PER_CLASS,
        rows=rows,
        few=few,
        figures=FIGURES,
        counts=COUNTS,
        level=levels[0] if levels else None,
        positive=context.details.get("positive"),
        threshold=context.details.get("threshold"),
    )
    return Section("Class by class", html)


def counted_by(figure: Estimate) -> int | None:
    """By how many groups a figure's interval counts; None where by images."""
    found = re.search(r"over ([\d,]+) groups?\b", figure.method)
    return int(found[1].replace(",", "")) if found else None


def _few_groups(rows: list[dict[str, Any]]) -> str:
    """Which classes' recall rests on so few groups that it is hardly known, a sentence; empty where none does."""
    found = [(row["class"], counted_by(row["recall"])) for row in rows if row["recall"]]
    named = [f"{name} ({groups})" for name, groups in found if groups is not None and groups < FEWEST_GROUPS]
    if not named:
        return ""
    return (
        f" All images of these classes are of few groups (how many), other groups may do otherwise, and so their "
        f"intervals are wide: {listed(named)}."
    )
