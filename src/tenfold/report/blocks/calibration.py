"""How sure the model is against how often it is right, and what it is worth where it may say that it does not know.

Reliability diagrams: Niculescu-Mizil and Caruana 2005, https://doi.org/10.1145/1102351.1102430; accuracy against
coverage: El-Yaniv and Wiener 2010, https://www.jmlr.org/papers/v11/el-yaniv10a.html.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.estimate import Estimate, units_of
from tenfold.metrics.abstention import Step, choose_step, images_needed
from tenfold.metrics.intervals import share
from tenfold.report.context import Context, Section, render
from tenfold.report.figures import is_unmeasured, write_interval, write_value
from tenfold.report.plots import MUTED, SERIES, draw, percent_axis
from tenfold.words import count

if TYPE_CHECKING:
    from markupsafe import Markup
    from matplotlib.axes import Axes

TITLE = "How sure, and how often right"
ERRORS = (0.01, 0.02, 0.05, 0.1)
"""Shares of wrong answers that the table asks for."""
SIZE = (4.2, 3.8)
CALIBRATION = """
{% from "pieces.html.j2" import scroll, estimate %}
{% if not plots %}
<p>This part was evaluated before calibration was measured; evaluate it again to see it here.</p>
{% else %}
{% for sentence in words %}
<p>{{ sentence }}</p>
{% endfor %}
<div class="plots wide">
{% for title, drawing, note in plots %}
<figure><figcaption><b>{{ title }}</b> {{ note }}</figcaption>{{ drawing }}</figure>
{% endfor %}
</div>
{% endif %}
{% if rows %}
<p>Where a wrong answer costs more than none, the model may say that it does not know: \
<code>tenfold predict RUN IMAGES --max-error 2%</code> gives no class to images of which it is less sure than its \
{{ validation }} allow. {{ seen }}</p>
{% call scroll("Answers at a limited error") %}
<table class="figures">
<thead><tr><th scope="col">At most wrong</th><th scope="col" class="number">Answered from a confidence of</th>\
<th scope="col" class="number">Answered here</th><th scope="col" class="number">Of these wrong</th></tr></thead>
<tbody>
{% for row in rows %}
<tr><th scope="row">{{ row.error }}</th>
{% if row.refused %}<td colspan="3">{{ row.refused }}</td>
{% else %}<td class="number">{{ row.confidence }}</td><td class="number">{{ row.answered }}</td>\
<td class="number">{{ estimate("accuracy", row.wrong) }}</td>
{% endif %}
</tr>
{% endfor %}
</tbody>
</table>
{% endcall %}
{% endif %}
"""


def calibration(context: Context) -> Section:
    """Sentences, the two drawings, and what a limit on wrong answers leaves."""
    details, steps = context.details, [Step(*step) for step in context.run.card.get("calibration", {}).get("steps", ())]
    measured = bool(details.get("reliability") and details.get("coverage"))
    html = render(
        CALIBRATION,
        words=[_verdict(context), _temperature(context)] if measured else [],
        plots=_plots(details) if measured else [],
        rows=_limited(context, steps) if steps else [],
        validation=_validation_images(context, steps[-1].answered) if steps else "",
        seen="Here they are those very images, so that they were right in the table by choice."
        if context.part == "validation"
        else "The test images had no say in it: they show what the promise is worth.",
    )
    return Section(TITLE, html)


def _verdict(context: Context) -> str:
    """Whether the model is too sure, in one sentence."""
    bins = context.details["reliability"]
    sizes = np.array([row["accuracy"].n for row in bins])
    sure = float(sizes @ [row["confidence"] for row in bins] / sizes.sum())
    right = float(sizes @ [row["accuracy"].value for row in bins] / sizes.sum())
    said = f"The model is {write_value('accuracy', sure)} sure on average and right in {write_value('accuracy', right)}"
    error: Estimate | None = context.figures.get("calibration_error")
    if error is None:
        return said + "."
    if is_unmeasured("calibration_error", error):
        return (
            f"{said}. Chance alone makes as much of {count(error.n, 'image')}: that its "
            "probabilities are off at all cannot be told, and they may be off by up to "
            f"{write_value('accuracy', error.high)}."
        )
    width = f"{write_value('accuracy', error.value)} ({write_interval('accuracy', error)}; root mean square)"
    # Chance counts in the difference of these two means, and is taken off the error, which may be the smaller one.
    chance = f"Beyond what chance alone makes of {count(error.n, 'image')}"
    nothing = "" if error.low > 0 else ", which may be nothing: the interval begins at 0"
    return f"{said}. {chance}, its probabilities are off by {width}{nothing}."


def _temperature(context: Context) -> str:
    """What was done to the probabilities, and whether these images had a say in it."""
    fitted: dict[str, Any] = context.run.card.get("calibration", {})
    if "temperature" not in fitted:
        return "The probabilities are as the network gives them: this run has no validation part to fit them to."
    others = fitted.get("others", 0)
    number, kind = (others, "of the other folds") if others else (fitted["n"], "of the validation part")
    images = f"{count(number, 'image')} {kind}"
    if fitted["temperature"] == 1:
        done = f"The probabilities are as the network gives them: {images} gave no reason to change them."
    else:
        way = "less" if fitted["temperature"] > 1 else "more"
        done = (
            f"The probabilities are calibrated: {images} said that the network should be {way} sure, so its logits are "
            f"divided by {fitted['temperature']:.3g}."
        )
    if context.part == "validation" and not others:
        return f"{done} The figures here are of the very images that this was fitted on, and flatter it a little."
    return f"{done} The images here had no say in that."


def _plots(details: dict[str, Any]) -> list[tuple[str, Markup, str]]:
    bins, points = details["reliability"], details["coverage"]
    sizes = [row["accuracy"].n for row in bins]
    least, most = min(sizes), max(sizes)
    each = f"about {most:,}" if most - least <= 1 else f"{least:,} to {most:,}"  # those of one confidence are together
    return [
        (
            "Reliability",
            _reliability(bins),
            f"Each point is {each} images with its interval; below the dotted line the model "
            "is too sure, above it not sure enough.",
        ),
        (
            "Accuracy against coverage",
            _coverage(points),
            "The surest images come first, all of them at the right; with the interval of each point.",
        ),
    ]


def _reliability(bins: list[dict[str, Any]]) -> Markup:
    sure = np.array([row["confidence"] for row in bins])
    found: list[Estimate] = [row["accuracy"] for row in bins]

    def paint(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=":")
        axes.vlines(sure, [item.low for item in found], [item.high for item in found], color=SERIES[0], linewidth=1.2)
        axes.plot(sure, [item.value for item in found], "o", color=SERIES[0], markersize=4.5, clip_on=False)
        least = max(min(float(sure.min()), *(item.low for item in found)) - 0.03, 0.0)
        axes.set(xlim=(least, 1), ylim=(least, 1.005), xlabel="probability of the answer", ylabel="share that is right")
        axes.set_aspect("equal")
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)

    return draw("plot-reliability", f"share that is right against probability in {len(bins)} bins", paint, size=SIZE)


def _coverage(points: list[dict[str, Any]]) -> Markup:
    answered = [row["coverage"] for row in points]
    found: list[Estimate] = [row["accuracy"] for row in points]

    def paint(axes: Axes) -> None:
        low, high = [item.low for item in found], [item.high for item in found]
        axes.fill_between(answered, low, high, color=SERIES[2], alpha=0.2, linewidth=0)
        axes.plot(answered, [item.value for item in found], color=SERIES[2], clip_on=False)
        axes.set(xlim=(0, 1), ylim=(max(min(low) - 0.03, 0.0), 1.005), xlabel="share of the images answered")
        axes.set_ylabel("share of these that is right")
        percent_axis(axes.xaxis)
        percent_axis(axes.yaxis)

    words = f"accuracy from {found[0].value:.3f} of the surest images to {found[-1].value:.3f} of all"
    return draw("plot-coverage", words, paint, size=SIZE)


def _limited(context: Context, steps: list[Step]) -> list[dict[str, Any]]:
    """A line for each of ERRORS: what the validation part supports, and what that gives on the evaluated part."""
    frame = context.run.predictions(context.part, "predicted", "probability")
    frame = frame[frame["label"].isin(list(context.run.classes))]
    sure = np.array([max(row) for row in frame["probability"]])
    wrong = (frame["label"] != frame["predicted"]).to_numpy().astype(np.float64)
    units = units_of(context.run.table.samples["group"].to_numpy(object)[frame["sample"].to_numpy()], len(frame))
    level = next(iter(context.figures.values())).level
    lines = []
    for error in ERRORS:
        line: dict[str, Any] = {"error": f"{100 * error:g} %", "refused": "", "wrong": None}
        step = choose_step(steps, error)
        if step is None:
            line["refused"] = _refused(context, error, steps[-1].answered)
        else:
            rows = np.flatnonzero(sure >= step.confidence)
            line |= {"confidence": f"{step.confidence:.3f}", "answered": f"{len(rows):,} of {len(frame):,}"}
            line["wrong"] = share(wrong[rows], units.take(rows), level) if len(rows) else None
        lines.append(line)
    return lines


def _refused(context: Context, error: float, count: int) -> str:
    needed = images_needed(error)
    if count < needed:
        images = _validation_images(context, count)
        return f"needs at least {needed:,} validation images, all answered rightly; there are {images}"
    return "not supported at any confidence: too many of the surest validation answers are wrong"


def _validation_images(context: Context, count: int) -> str:
    grouped = count < context.run.card["calibration"]["n"]
    return f"{count:,} validation images" + (" (one of each group)" if grouped else "")
