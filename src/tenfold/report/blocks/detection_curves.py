"""Precision against recall of each class, and how often a score is right.

Of many classes those with the lowest average precision are in color, and the others grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tenfold.report.context import Context, Section, render
from tenfold.report.plots import DASHES, MUTED, SERIES, draw, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZE = (4.2, 3.8)
_FAINT = 0.45  # opacity of the classes without a color, which are darker than the grid all the same
CURVES = """
{% if not plots %}
<p>A curve needs detections of a class that is there; this part has none.</p>
{% else %}
<p>An object is found where a detection of its class overlaps it by half (IoU 0.5). Up and to the right is better in \
the first drawing{% if error %}; in the second one, scores on the dotted line are as often right as they say: the \
distance from it is {{ write_value("calibration_error", error.value) }} \
({{ write_interval("calibration_error", error) }}){% endif %}.</p>
<div class="plots wide">
{% for title, drawing in plots %}
<figure><figcaption><b>{{ title }}</b></figcaption>{{ drawing }}</figure>
{% endfor %}
</div>
<p class="keys">{% for name, number in key %}\
<span class="key key-{{ number }}">{{ name }}</span>{% endfor %}\
{% if others %}<span class="key" style="--rule: color-mix(in srgb, var(--muted) {{ faint }}%, transparent)">\
{{ others }} other class{{ "" if others == 1 else "es" }}</span>{% endif %}</p>
{% if others %}
<p class="note">In color: the {{ key | length }} classes with the lowest average precision.</p>
{% endif %}
{% if without %}
<p class="note">Nothing was detected of {{ without[:5] | join(", ") }}{% if without | length > 5 %} and \
{{ without | length - 5 }} other classes{% endif %}, so {{ "it has no curve" if without | length == 1 else \
"they have no curves" }}.</p>
{% endif %}
{% endif %}
"""


def detection_curves(context: Context) -> Section:
    """Both drawings, the classes' legend below."""
    curves, reliability = context.details["precision_recall"], context.details["reliability"]
    title = "Precision, recall and scores"
    if not curves:
        return Section(title, render(CURVES, plots=[]))
    colored = _colored(context, [curve["class"] for curve in curves])
    plots = [("Precision and recall", _precision_recall(curves, colored))]
    if reliability:
        plots.append(("Scores", _reliability(reliability["bins"])))
    html = render(
        CURVES,
        plots=plots,
        key=list(colored.items()),
        others=len(curves) - len(colored),
        without=_without(context, {curve["class"] for curve in curves}),
        faint=round(100 * _FAINT),
        error=reliability["error"] if reliability else None,
    )
    return Section(title, html)


def _colored(context: Context, names: list[str]) -> dict[str, int]:
    """Class -> number of its color: all of few classes, those with the lowest average precision of many."""
    found = {row["class"]: row["ap50"].value for row in context.details["per_class"] if row["ap50"]}
    shown = names if len(names) <= len(SERIES) else sorted(names, key=lambda name: found[name])[: len(SERIES)]
    return {name: number for number, name in enumerate(shown)}


def _without(context: Context, drawn: set[str]) -> list[str]:
    """Classes that are there, but have no curve."""
    return [row["class"] for row in context.details["per_class"] if row["objects"] and row["class"] not in drawn]


def _precision_recall(curves: list[dict[str, Any]], colored: dict[str, int]) -> Any:
    def paint(axes: Axes) -> None:
        for curve in sorted(curves, key=lambda curve: curve["class"] in colored):  # the colored ones on top
            number = colored.get(curve["class"])
            style = (
                {"color": MUTED, "linewidth": 0.7, "alpha": _FAINT}
                if number is None
                else {"color": SERIES[number], "linestyle": DASHES[number]}
            )
            axes.plot(curve["recall"], curve["precision"], drawstyle="steps-pre", clip_on=False, **style)
        _square(axes, "recall", "precision")

    return draw("plot-found", f"precision against recall of {len(curves)} classes", paint, size=SIZE)


def _reliability(bins: list[dict[str, Any]]) -> Any:
    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=":")
        x, found = [row["score"] for row in bins], [row["right"] for row in bins]
        axes.vlines(x, [one.low for one in found], [one.high for one in found], color=SERIES[0], linewidth=1.2)
        axes.plot(x, [one.value for one in found], "o", color=SERIES[0], markersize=4.5, clip_on=False)
        _square(axes, "score", "detections that are right")

    return draw("plot-scores", f"share of right detections against their score, {len(bins)} bins", paint, size=SIZE)


def _square(axes: Axes, across: str, up: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.005), xlabel=across, ylabel=up, aspect="equal")
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
