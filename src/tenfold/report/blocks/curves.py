"""ROC and precision-recall curves, each class against all others.

ROC: Fawcett 2006, https://doi.org/10.1016/j.patrec.2005.10.010. Few classes are told apart by color and dashes; of
many, the weakest are, and the others are grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.report.context import Context, Section, render
from tenfold.report.plots import DASHES, MUTED, RULE, SERIES, draw, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Line = tuple[str, list[float], list[float]]
"""A class, and its points across and up."""
WEAKEST = 3
SIZE = (4.2, 3.8)
GREY_POINTS = 40
"""Points kept of a grey curve, so that hundreds of them stay small."""
CURVES = """
{% if not plots %}
<p>A curve needs images of a class and images of another; this part has not both.</p>
{% else %}
<p>{{ words }}</p>
<div class="plots wide">
{% for title, drawing in plots %}
<figure><figcaption><b>{{ title }}</b></figcaption>{{ drawing }}</figure>
{% endfor %}
</div>
<p class="keys">{% for name, number in key %}\
<span class="key key-{{ "rest" if number is none else number }}">{{ name }}</span>{% endfor %}</p>
{% endif %}
"""
WORDS = "Up and to the left is better in the first drawing, up and to the right in the second. "


def curves(context: Context) -> Section:
    """Both drawings with one legend."""
    roc, recall = (_shown(context, name) for name in ("roc", "precision_recall"))
    if not roc or not recall:
        return Section("ROC and precision-recall curves", render(CURVES, plots=[]))
    colored = _colored(context, [curve["class"] for curve in roc])
    plots = [
        ("Receiver operating characteristic", _roc(roc, colored)),
        ("Precision and recall", _precision_recall(recall, colored)),
    ]
    key: list[tuple[str, int | None]] = [(name, number) for name, number in colored.items()]
    rest = len(roc) - len(colored)
    if rest > 0:
        key.append((f"{rest} other classes", None))
    words = WORDS + (f"In color the {len(colored)} classes with the smallest area under ROC." if rest > 0 else "")
    return Section("ROC and precision-recall curves", render(CURVES, plots=plots, key=key, words=words))


def _shown(context: Context, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = context.details.get(name) or []
    positive = context.details.get("positive")
    return [curve for curve in found if positive is None or curve["class"] == positive]


def _colored(context: Context, names: list[str]) -> dict[str, int]:
    """Class -> number of its color: all of few classes, the weakest of many."""
    if len(names) <= len(SERIES):
        return {name: number for number, name in enumerate(names)}
    areas = {row["class"]: row["roc_auc"].value for row in context.details["per_class"] if row["roc_auc"]}
    weakest = sorted((name for name in names if name in areas), key=lambda name: areas[name])[:WEAKEST]
    return {name: number for number, name in enumerate(weakest)}


def _roc(curves: list[dict[str, Any]], colored: dict[str, int]) -> Any:
    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=":")
        _lines(axes, [(curve["class"], curve["fpr"], curve["tpr"]) for curve in curves], colored)
        _square(axes, "false positives", "true positives (recall)")

    words = f"true positive rate against false positive rate of {len(curves)} classes"
    return draw("plot-roc", words, paint, size=SIZE)


def _precision_recall(curves: list[dict[str, Any]], colored: dict[str, int]) -> Any:
    def paint(axes: Axes) -> None:
        # Between two points of this curve no straight line can be reached: Davis and Goadrich 2006.
        _lines(axes, [_rising(curve) for curve in curves], colored, steps="steps-pre")
        _square(axes, "recall", "precision")

    return draw("plot-precision", f"precision against recall of {len(curves)} classes", paint, size=SIZE)


def _rising(curve: dict[str, Any]) -> Line:
    """The curve from recall 0 to 1; the threshold falls along it."""
    way = 1 if curve["recall"][0] <= curve["recall"][-1] else -1
    return curve["class"], curve["recall"][::way], curve["precision"][::way]


def _lines(axes: Axes, lines: list[Line], colored: dict[str, int], steps: str = "default") -> None:
    for name, x, y in lines:
        if name not in colored:
            kept = np.unique(np.linspace(0, len(x) - 1, min(len(x), GREY_POINTS)).astype(int))
            axes.plot(np.array(x)[kept], np.array(y)[kept], color=RULE, linewidth=0.9, drawstyle=steps)
    for name, x, y in lines:
        if name in colored:
            number = colored[name]
            axes.plot(x, y, color=SERIES[number], linestyle=DASHES[number], drawstyle=steps, clip_on=False)


def _square(axes: Axes, across: str, up: str) -> None:
    axes.set(xlim=(0, 1), ylim=(0, 1.005), xlabel=across, ylabel=up, aspect="equal")
    percent_axis(axes.xaxis)
    percent_axis(axes.yaxis)
