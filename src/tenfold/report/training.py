"""The curves of training: a drawing for each quantity, the best epoch marked, and the learning rate and image size.

Shapes: E epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from markupsafe import Markup

from tenfold.augment.chosen import chosen_policy
from tenfold.report.context import Section, render
from tenfold.report.figures import write_seconds
from tenfold.report.plots import DASHES, MUTED, SERIES, draw, mark_epoch, percent_axis, whole_numbers

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from tenfold.run import Run

PARTS = ("train", "validation")
TITLES = {
    "class": "Loss: classes",
    "box": "Loss: boxes",
    "rpn_class": "Loss: is it an object",
    "rpn_box": "Loss: proposed boxes",
    "region_accuracy": "Regions named rightly",
}
"""Of what a detector records; another quantity is called by its name."""
TRAINING = """
{% if not plots %}
<p>Nothing was recorded epoch by epoch: this model is fitted in one step.</p>
{% else %}
<p>{{ summary }}</p>
{% if harder %}
<p class="note">{{ harder }}</p>
{% endif %}
<div class="plots">
{% for plot in plots %}
<figure><figcaption><b>{{ plot.title }}</b>
{% for name, number in plot.key %}<span class="key key-{{ number }}">{{ name }}</span>{% endfor %}</figcaption>
{{ plot.drawing }}</figure>
{% endfor %}
</div>
{% endif %}
"""


class Plot(NamedTuple):
    """A drawing with its legend: (name, number of its color) each."""

    title: str
    drawing: Markup
    key: list[tuple[str, int]]


def training(run: Run) -> Section:
    """The section on training."""
    history = run.history
    if not history["step"].any():
        return Section("Training", render(TRAINING, plots=[]))
    best = None if run.recipe.train.keep == "last" else best_epoch(history)
    plots = [_quantity(history, name, best, index) for index, name in enumerate(quantities(history))]
    plots.append(_schedule(history, best))
    html = render(TRAINING, plots=plots, summary=_summary(history, best), harder=_harder(run))
    return Section("Training", html)


def best_epoch(history: pd.DataFrame) -> int | None:
    """The epoch with the lowest validation loss, whose weights were kept; None without validation."""
    losses = history.get("validation_loss")
    return None if losses is None or losses.isna().all() else int(history["epoch"].iloc[losses.argmin()])


def quantities(history: pd.DataFrame) -> list[str]:
    """What was recorded of either part, loss and accuracy first."""
    found = {name.split("_", 1)[1] for name in history.columns if name.split("_", 1)[0] in PARTS}
    found = {name for name in found if not _curves(history, name).empty}
    order = ["loss", "accuracy"]
    return sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))


def _curves(history: pd.DataFrame, name: str) -> pd.DataFrame:
    columns = [f"{part}_{name}" for part in PARTS if f"{part}_{name}" in history.columns]
    return history[columns].dropna(axis="columns", how="all")


def _quantity(history: pd.DataFrame, name: str, best: int | None, index: int) -> Plot:
    curves = _curves(history, name)
    parts = [str(column).split("_", 1)[0] for column in curves.columns]

    def paint(axes: Axes) -> None:
        for part, column in zip(parts, curves.columns, strict=True):
            number = 1 - PARTS.index(part)
            known = curves[column].notna()  # long trainings are not validated after every epoch
            x, y = history["epoch"][known].to_numpy(), curves[column][known].to_numpy()
            axes.plot(x, y, color=SERIES[number], linestyle=DASHES[number], marker=_marker(x))
        if best is not None:
            watched = curves[curves.columns[-1]][history["epoch"] == best]
            mark_epoch(axes, best, float(watched.iloc[0]))
        if name.endswith("accuracy"):
            percent_axis(axes.yaxis)
        whole_numbers(axes)
        axes.set_xlabel("epoch")

    ends = "; ".join(
        f"{part} from {curve.iloc[0]:.3f} to {curve.iloc[-1]:.3f}"
        for part, curve in zip(parts, (curves[column].dropna() for column in curves.columns), strict=True)
    )
    words = f"{name} by epoch: {ends}" + (f"; best epoch {best}" if best is not None else "")
    title = TITLES.get(name, name.replace("_", " ").capitalize())
    return Plot(title, draw(f"plot-{index}", words, paint), [(part, 1 - PARTS.index(part)) for part in parts])


def _marker(epochs: NDArray[np.int64]) -> str:
    """A single epoch makes no line, so it is a dot."""
    return "o" if len(epochs) == 1 else ""


def _schedule(history: pd.DataFrame, best: int | None) -> Plot:
    epochs = history["epoch"].to_numpy()
    grows = history["size"].nunique() > 1

    def paint(rate: Axes, size: Axes | None = None) -> None:
        rate.plot(epochs, history["lr"].to_numpy(), color=MUTED, marker=_marker(epochs))
        rate.set_ylabel("learning rate")
        rate.yaxis.set_major_formatter("{x:g}")
        if size is not None:
            size.plot(epochs, history["size"].to_numpy(), drawstyle="steps-mid", color=MUTED)
            size.set_ylabel("pixels")
        for axes in (rate, size) if size is not None else (rate,):
            if best is not None:
                mark_epoch(axes, best)
        last = size or rate
        whole_numbers(last)
        last.set_xlabel("epoch")

    sizes = f"; image size from {history['size'].min():.0f} to {history['size'].max():.0f} pixels" if grows else ""
    words = f"learning rate by epoch, from {history['lr'].iloc[0]:.2g}, at most {history['lr'].max():.2g}{sizes}"
    title = "Learning rate and image size" if grows else "Learning rate"
    return Plot(title, draw("plot-schedule", words, paint, panels=2 if grows else 1), [])


def _summary(history: pd.DataFrame, best: int | None) -> str:
    last = history.iloc[-1]
    time = write_seconds(float(last["seconds"]))
    epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
    text = f"{epochs} in {time}, {last['images_per_second']:,.0f} images a second"
    if best is None and best_epoch(history) is not None:
        return f"{text}. The last weights were kept, as the recipe says (train.keep)."
    if best is None:
        return f"{text}. Without a validation part the last weights were kept."
    lowest = history["validation_loss"].min()
    return (
        f"{text}. Epoch {best} (dotted line) had the lowest validation loss, {lowest:.3f}, and its weights were kept."
    )


def _harder(run: Run) -> str:
    """Why the training curves may look worse, where the diagnosis does not say it, with numbers."""
    if any(found["kind"] == "validation better than training" for found in run.diagnosis):
        return ""
    recipe = run.recipe
    why = []
    mixing = chosen_policy(recipe.augment).mix
    if run.task.mixes and mixing.is_on and mixing.share > 0:
        why.append("mixed images")
    if run.task.mixes and recipe.train.label_smoothing:
        why.append("smoothed labels")
    if not why:
        return ""
    return (
        f"The training curves are measured on {' with '.join(why)}, harder than the validation images: "
        "it is normal that they look worse."
    )
