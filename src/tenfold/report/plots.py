"""matplotlib -> SVG that lies inside the page and follows its colors.

Drawn with stand-in colors, which become CSS variables, so that one drawing serves light, dark and paper. Text stays
text. No class name is ever drawn: legends are HTML, where any script and any length has room.
"""

from __future__ import annotations

import re
from io import StringIO
from typing import TYPE_CHECKING, Any

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, RULE = "#010101", "#020202", "#030303"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colors, told apart with any color vision: https://jfly.uni-koeln.de/color/"""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1.5)), (0, (6, 1.5, 1.5, 1.5)), (0, (9, 2)), (0, (3, 3)))
"""A second way to tell the series apart, in the same order."""

_VARIABLES = {INK: "currentColor", MUTED: "var(--muted)", RULE: "var(--rule)"} | {
    color: f"var(--series-{index})" for index, color in enumerate(SERIES)
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tenfold",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "lines.linewidth": 1.8,
}


def draw(name: str, words: str, paint: Any, *, panels: int = 1, size: tuple[float, float] = (3.4, 2.5)) -> Markup:
    """SVG of what `paint(axes, ...)` draws on `panels` axes, one below another that share their x axis.

    `name` is unique in the page: every id of the drawing begins with it. `words` say what a reader who cannot see the
    drawing should know.
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes: list[Axes] = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
        paint(*axes)
        return _inline(figure, name, words)


def mark_epoch(axes: Axes, epoch: float, value: float | None = None) -> None:
    """A dotted line at the best epoch, and a dot where the curve passes it."""
    axes.axvline(epoch, color=INK, linewidth=0.9, linestyle=":")
    if value is not None:
        axes.plot([epoch], [value], "o", color=INK, markersize=4.5)


def whole_numbers(axes: Axes) -> None:
    """Only whole numbers on the x axis: epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))


def percent_axis(axis: Any) -> None:
    """Shares from 0 to 1, written as percent."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def _rounded(attribute: re.Match[str]) -> str:
    """Coordinates to a hundredth of a point, which halves the drawing's size."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", attribute[0])


def _inline(figure: Figure, name: str, words: str) -> Markup:
    file = StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawing = file.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    drawing = re.sub(r"<metadata>.*?</metadata>", "", drawing, flags=re.S)
    # matplotlib's own style element would reach every element of the page.
    drawing = re.sub(r"<style.*?</style>", "", drawing, flags=re.S)
    drawing = re.sub(r"<g id=\"[^\"]*\"", "<g", drawing)
    drawing = re.sub(r"id=\"([^\"]+)\"", rf'id="{name}-\1"', drawing)
    drawing = re.sub(r"(href=\"#|url\(#)", rf"\1{name}-", drawing)
    drawing = re.sub(r"font-family:[^;\"]*;? ?", "", drawing)
    drawing = re.sub(r'="[^"]*"', _rounded, drawing)
    for color, variable in _VARIABLES.items():
        drawing = drawing.replace(color, variable)
    box = 'viewBox="0 0 {:g} {:g}"'.format(*figure.get_size_inches() * 72)
    space = 'xmlns:xlink="http://www.w3.org/1999/xlink"'
    head = f'<svg class="plot" role="img" aria-label="{escape(words)}" {box} {space}>'
    return Markup(head + re.sub(r"\s*\n\s*", " ", drawing[drawing.index(">") + 1 :]))
