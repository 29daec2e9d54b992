"""Beyond the run's classes: what it makes of images of others, and whether it tells if two are of one class."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from tenfold.metrics.pairs import MOST_COMPARED, RATES, classes_needed
from tenfold.metrics.unknown import RATES as SHARES
from tenfold.report.context import Context, Section, render
from tenfold.report.figures import PERCENT, write_level
from tenfold.report.plots import DASHES, SERIES, draw, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tenfold.run import Run

LEAST_FAR = 0.001
"""Where the axis of false alarms begins, as it has no place for 0."""
SIZE = (4.2, 3.4)
MARKS = {"held_out": "o", "predict": "s"}
"""Thresholds that are marked on the curve; those of the strangers themselves lie on it at their shares."""
_ROUNDING = 1e-9

TERMS = (
    "False alarms (FAR, the false alarm or false accept rate): of images of unknown classes, the share that is given a "
    "class all the same; the lower the better. Named rightly (DIR, the detection and identification rate): of images "
    "of known classes, the share that is given a class, and the right one; the higher the better. Refused: of images "
    f"of known classes, the share that is given none. What these two lack to 100{PERCENT} is given a wrong class."
)
"""What the columns mean, for who meets them for the first time."""
HEADING = Markup(
    '<thead><tr><th scope="col">Threshold</th><th scope="col" class="number">Score</th>'
    '<th scope="col" class="number">False alarms (FAR)</th>'
    '<th scope="col" class="number">Named rightly (DIR)</th>'
    '<th scope="col" class="number">Refused</th></tr></thead>'
)

OPEN_SET = """
{% from "pieces.html.j2" import scroll, estimate %}
<p>{{ "{:,}".format(strangers) }} images of none of the run's classes were shown to it beside the \
{{ "{:,}".format(known) }} of its {{ part }} part. An image gets a class where its score reaches the threshold\
{% if scorer %}; {{ scorer }}{% endif %}.</p>
{% call scroll("Images of other classes") %}
<table class="figures">
{{ heading }}
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ words(row) }}</th><td class="number">{{ "%.3f" | format(row.threshold) }}</td>\
{% for name in ("far", "dir", "refused") %}<td class="number">{{ estimate(name, row[name]) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
<p>{{ terms }}</p>
<div class="plots wide">
<figure><figcaption><b>Named rightly against false alarms</b> up and to the left is better{{ marked }}\
</figcaption>{{ drawing }}</figure>
</div>
{% for sentence in sentences %}
<p>{{ sentence }}</p>
{% endfor %}
<p class="note">Intervals are {{ far.method }} for unknown ones and {{ dir.method }} for known ones, at \
{{ far.level | level }}, of the threshold as it stands. Held-out classes are the run's own training classes, each \
unknown to heads that were fitted without it. "At most a share of these reach it" is what was seen on those very \
images; for other unknown images like the held-out ones only the threshold of predict --false-accept is sure of its \
share, at a level of 95&nbsp;%.</p>
"""

PAIRS = """
{% from "pieces.html.j2" import scroll, estimate %}
<p>Every two images of the {{ part }} part were compared by their features: {{ "{:,}".format(genuine) }} pairs of one \
class and {{ "{:,}".format(impostor) }} of two, of {{ classes }} classes. A pair matches where the cosine reaches the \
threshold.</p>
{% call scroll("Pairs of images") %}
<table class="figures">
<thead><tr><th scope="col">Threshold for a rate of</th><th scope="col" class="number">False matches (FMR)</th>\
<th scope="col" class="number">False non-matches (FNMR)</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ write_rate(row.rate) }}</th>{% for name in ("fmr", "fnmr") %}\
<td class="number">{{ estimate(name, row[name]) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
{% if sentence %}
<p>{{ sentence }}</p>
{% endif %}
<p class="note">Intervals are {{ fmr.method }} for false matches and {{ fnmr.method }} for false non-matches, at \
{{ fmr.level | level }}, of the threshold as it stands, which keeps its rate on these very pairs. Pairs of one group, \
and of copies, are left out, as they would be too easy; of more than {{ "{:,}".format(most) }} images so many are \
compared.</p>
"""


def open_set(context: Context) -> Section | None:
    """The section on images of other classes; None where the part was evaluated without any."""
    found = context.details.get("open_set")
    if not found:
        return None
    first = found["rows"][0]
    marks = any(row["of"] in MARKS for row in found["rows"])
    html = render(
        OPEN_SET,
        part=context.part,
        **{name: found[name] for name in ("strangers", "known", "rows")},
        heading=HEADING,
        terms=TERMS,
        scorer=say_scorer(context.run),
        words=threshold_words,
        marked="; marked is what held-out classes chose, a square where predict takes it" if marks else "",
        drawing=_curve(found),
        sentences=[*filter(None, [say_unsupported(found["supported"])]), *found["left_out"]],
        far=first["far"],
        dir=first["dir"],
    )
    return Section("Images of other classes", html)


def pairs(context: Context) -> Section | None:
    """The section on pairs of images; None where the part was evaluated without them."""
    found = context.details.get("pairs")
    if not found:
        return None
    first = found["rows"][0]
    values = {name: found[name] for name in ("genuine", "impostor", "classes", "rows")}
    words = {
        "sentence": say_unsupported_pairs(found["supported"], found["classes"]),
        "write_rate": write_rate,
        "most": MOST_COMPARED,
    }
    html = render(PAIRS, part=context.part, **values, **words, fmr=first["fmr"], fnmr=first["fnmr"])
    return Section("Pairs of images", html)


def threshold_words(row: Mapping[str, Any]) -> str:
    """What chose a threshold. The first and the last say what was seen on those very images and promise nothing."""
    rate = write_rate(row["rate"])
    words = {
        "held_out": f"at most {rate} of held-out images reach it",
        "predict": f"of predict --false-accept {rate.replace(PERCENT, '%')}",
        "strangers": f"at most {rate} of these images reach it",
    }
    return words[row["of"]]


def say_scorer(run: Run) -> str:
    """Whose the score is that thresholds are of, a clause, where it is not the run's own; else empty."""
    teller = run.teller
    if teller is run:
        return ""
    return f"the score is that of the frozen network in {teller.path.name}, and the class that of the fine-tuned one"


def say_unsupported(supported: float | None) -> str:
    """Which thresholds are not there, and why; nothing where all are."""
    if supported is None:
        return (
            "The run holds nothing that training measures on held-out classes, so that thresholds are those of these "
            "images themselves."
        )
    if supported <= min(SHARES):
        return ""
    return (
        f"predict --false-accept takes no share below {write_rate(supported)}, the least that the held-out classes "
        f"support at a level of 95{PERCENT}."
    )


def say_unsupported_pairs(supported: float, classes: int) -> str:
    """Which false match rates are left out, as so many classes support no lower one, and how many would."""
    lacking = [rate for rate in RATES if rate < supported]
    if not lacking:
        return ""
    needed = " and ".join(f"{write_rate(rate)} needs {classes_needed(rate)}" for rate in lacking)
    return (
        f"Left out: a false match rate of {' and '.join(map(write_rate, lacking))}, as {classes} classes support "
        f"{write_rate(supported)} at best; {needed}: give a part with more classes."
    )


def say_units(row: Mapping[str, Any]) -> str:
    """How the intervals of a row of `open_set_details` were found, and what they count by."""
    far, known = row["far"], row["dir"]
    return f"Intervals at {write_level(far.level)}: {far.method} for unknown images, {known.method} for known ones."


def say_units_of_pairs(row: Mapping[str, Any]) -> str:
    """How the intervals of a row of `pair_details` were found, and what they count by."""
    fmr, fnmr = row["fmr"], row["fnmr"]
    return (
        f"Intervals at {write_level(fmr.level)}: {fmr.method}, for false matches, {fnmr.method} for false non-matches."
    )


def write_rate(rate: float) -> str:
    """ "0.1 %", in tenths of a percent, rounded up."""
    return f"{math.ceil(1000 * rate - _ROUNDING) / 10:g}{PERCENT}"


def _curve(found: Mapping[str, Any]) -> Markup:
    """DIR against FAR, which goes up in steps: between two false alarm rates no threshold has another."""

    def paint(axes: Axes) -> None:
        far = np.maximum(found["curve"]["far"], LEAST_FAR)
        axes.plot(far, found["curve"]["dir"], color=SERIES[0], linestyle=DASHES[0], drawstyle="steps-post")
        for row in found["rows"]:
            if row["of"] in MARKS:
                at = max(row["far"].value, LEAST_FAR), row["dir"].value
                axes.plot(*at, MARKS[row["of"]], color=SERIES[1], markersize=5, clip_on=False)
        axes.set_xscale("log")
        axes.set(xlim=(LEAST_FAR, 1), ylim=(0, 1.005), xlabel="unknown ones given a class", ylabel="named rightly")
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)

    words = "share of known images that are named rightly against the share of unknown ones that are given a class"
    return draw("plot-open-set", words, paint, size=SIZE)
