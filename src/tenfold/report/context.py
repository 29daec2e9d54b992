"""What a block of the report may read, and how it makes HTML of it.

Shapes: N images of the evaluated part, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tenfold.estimate import Estimate
from tenfold.metrics.confusion import confusion_matrix
from tenfold.report.figures import figure_label, figure_meaning, write_figure, write_interval, write_level, write_value

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tenfold.report.thumbnails import Thumbnails
    from tenfold.run import Run


class Section(NamedTuple):
    """One part of the page."""

    title: str
    html: Markup


class Answers(NamedTuple):
    """What the model answered on the labelled images of a part, as arrays."""

    sample: NDArray[np.int64]
    """[N], rows of the run's table."""
    truth: NDArray[np.int64]
    """[N], places in the classes."""
    predicted: NDArray[np.int64]
    """[N], places in the classes."""
    probability: NDArray[np.float64]
    """[N], of the predicted class, from 0 to 1."""


@dataclass(frozen=True)
class Context:
    """A run and one of its evaluations."""

    run: Run
    evaluation: dict[str, Any]
    """`{"part", "n", "look", "figures", "details", "unreadable", "unlabeled"}`: evaluation.json with Estimates."""
    thumbnails: Thumbnails

    @property
    def part(self) -> str:
        return str(self.evaluation["part"])

    @property
    def details(self) -> dict[str, Any]:
        details: dict[str, Any] = self.evaluation["details"]
        return details

    @property
    def figures(self) -> dict[str, Estimate]:
        figures: dict[str, Estimate] = self.evaluation["figures"]
        return figures

    @cached_property
    def answers(self) -> Answers:
        """One answer an image, of a task that predicts one class an image."""
        classes = list(self.run.classes)
        place = {name: index for index, name in enumerate(classes)}
        frame = self.run.predictions(self.part, "predicted", "probability")
        frame = frame[frame["label"].isin(classes)]
        probability = np.array(frame["probability"].tolist(), np.float64).reshape(len(frame), -1)
        truth = np.array([place[name] for name in frame["label"]], np.int64)
        predicted = np.array([place[name] for name in frame["predicted"]], np.int64)
        if not np.array_equal(confusion_matrix(truth, predicted, len(classes)), self.details["confusion"]):
            # What is stored is the most probable class; the figures were asked for with a threshold.
            yes = place[self.details["positive"]]
            predicted = np.where(probability[:, yes] >= self.details["threshold"], yes, 1 - yes)
        sample = frame["sample"].to_numpy(np.int64)
        return Answers(sample, truth, predicted, probability[np.arange(len(frame)), predicted])


def render(template: str, **values: object) -> Markup:
    """HTML of a template's text; every value in it is escaped unless it is Markup already."""
    return Markup(_environment().from_string(template).render(**values))


def render_file(file: str, **values: object) -> str:
    """The text of a template file of this package."""
    return _environment().get_template(file).render(**values)


def stylesheet() -> Markup:
    """report.css, to lie inside the page."""
    return Markup((Path(__file__).parent / "report.css").read_text("utf-8"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(label=figure_label, meaning=figure_meaning, level=write_level)
    environment.globals.update(write_value=write_value, write_figure=write_figure, write_interval=write_interval)
    return environment
