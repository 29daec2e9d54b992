"""The sections of the report in their order, and the page around them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tenfold.estimate import Estimate, from_json
from tenfold.images.table import PARTS
from tenfold.recipe import recipe_dict
from tenfold.report.context import Context, Section, render_file, stylesheet
from tenfold.report.diagnosis import diagnosis
from tenfold.report.figures import figure_label, write_level
from tenfold.report.findings import findings
from tenfold.report.headline import headline
from tenfold.report.ladder import ladder
from tenfold.report.open_set import open_set, pairs
from tenfold.report.policy_sheet import fed
from tenfold.report.speed import speed
from tenfold.report.thumbnails import Thumbnails
from tenfold.report.training import training
from tenfold.report.unknown import unknown
from tenfold.report.weights import weights
from tenfold.split.ties import is_found
from tenfold.words import count

if TYPE_CHECKING:
    import pandas as pd

    from tenfold.run import Run


def page(run: Run, blocks: Mapping[str, Callable[[Context], Section]]) -> str:
    """The whole page. `blocks` are those of the run's task, shown where a part has been evaluated."""
    evaluations: dict[str, Any] = from_json(run.evaluations)
    evaluated = [name for name in ("test", "validation") if name in evaluations]
    part = evaluated[0] if evaluated else None
    thumbnails = Thumbnails(run.table)
    context = Context(run, evaluations[part], thumbnails) if part else None
    found, checked, seen = diagnosis(run), findings(run, thumbnails), fed(run)
    climbed, held_out, pretrained = ladder(run), unknown(run), weights(run)
    sections = ({"diagnosis": found} if found else {}) | ({"ladder": climbed} if climbed else {})
    sections |= {"unknown": held_out} if held_out else {}
    sections |= {"weights": pretrained} if pretrained else {}
    sections |= {"training": training(run)} | ({"fed": seen} if seen else {})
    if context is not None:
        sections |= {name: block(context) for name, block in blocks.items()}
        besides = {"open_set": open_set(context), "pairs": pairs(context), "speed": speed(context)}
        sections |= {name: section for name, section in besides.items() if section}
    sections |= {"check": checked} if checked else {}
    environment = dict(run.environment)
    return render_file(
        "report.html.j2",
        css=stylesheet(),
        name=run.path.resolve().name,
        part=part,
        headline=headline(run, context),
        figures=figure_rows(evaluations),
        methods=methods(context.figures) if context else [],
        evaluated=evaluated,
        undefined=context.details.get("undefined", {}) if context else {},
        sections=sections,
        split=split_rows(run),
        groups=group_counts(run),
        together=found_together(run),
        notes=[*environment.pop("notes", []), *environment.pop("unreadable", {}).values()],
        model=run.recipe.model.name,
        recipe={section: _literals(values) for section, values in used_settings(run).items()},
        preprocessing=_literals(run.preprocessing.to_json()),
        parameters=parameter_words(run),
        described=run.model.describe(),
        has_boxes=run.table.boxes is not None,
        environment=flat(environment),
        commands=commands(run),
    )


def figure_rows(evaluations: Mapping[str, Any]) -> list[tuple[str, dict[str, Estimate]]]:
    """Each figure's name with its estimate on every evaluated part."""
    rows: dict[str, dict[str, Estimate]] = {}
    for part, evaluation in evaluations.items():
        for name, figure in evaluation["figures"].items():
            rows.setdefault(name, {})[part] = figure
    return list(rows.items())


def methods(figures: Mapping[str, Estimate]) -> list[tuple[str, str]]:
    """(how intervals were found, the figures found so); those of the most common way are "All others"."""
    found: dict[str, list[str]] = {}
    for name, figure in figures.items():
        how = f"{write_level(figure.level)} {figure.method}, n = {figure.n:,}"
        found.setdefault(how, []).append(figure_label(name))
    rows = sorted(found.items(), key=lambda row: len(row[1]))
    if not rows:
        return []
    *few, (most, names) = rows
    last = "All others" if few else "All" if len(names) > 1 else names[0]
    return [*((how, ", ".join(own)) for how, own in few), (most, last)]


def split_rows(run: Run) -> list[tuple[str, list[int]]]:
    """(class, [images in train, validation, test, all]), the sum of all classes last.

    Where images have boxes, those of a class are those with an object of it.
    """
    if run.table.boxes is not None:
        return _object_rows(run)
    counts = np.array(
        [
            [*np.bincount(labels[labels >= 0], minlength=len(run.classes)), (labels < 0).sum()]
            for labels in (run.table.part(part).labels() for part in PARTS)
        ]
    ).T
    counts = np.hstack([counts, counts.sum(1, keepdims=True)])
    rows = zip([*run.classes, "no label"], counts.tolist(), strict=True) if counts[:-1].any() else ()
    return [*((name, row) for name, row in rows if name in run.classes or any(row)), ("all", counts.sum(0).tolist())]


def _object_rows(run: Run) -> list[tuple[str, list[int]]]:
    """Images with an object of each class, those with none, and all."""
    boxes, samples = run.table.boxes, run.table.samples
    assert boxes is not None
    parts = samples["part"].to_numpy(object)
    own = {name: boxes["sample"].to_numpy()[(boxes["label"] == name).to_numpy(bool)] for name in run.classes}
    own["nothing in them"] = np.setdiff1d(np.arange(len(samples)), boxes["sample"].to_numpy())
    own["all"] = np.arange(len(samples))
    rows = []
    for name, found in own.items():
        each = [int((parts[np.unique(found)] == part).sum()) for part in PARTS]
        if name != "nothing in them" or any(each):
            rows.append((name, [*each, sum(each)]))
    return rows


_SEALED = "Evaluate it on the sealed test part; each look is counted"
_OF_STEPS = (
    "epochs", "lr", "find_lr", "optimizer", "momentum", "weight_decay", "schedule", "warmup", "label_smoothing",
    "balance", "clip", "ema", "grow", "patience", "keep",
)  # fmt: skip
"""Settings in [train] that say how gradient steps are taken."""
_OF_TUNING = ("frozen", "thawed", "rate_decay")
"""Settings in [transfer] that say how a pretrained network is fine-tuned."""


def used_settings(run: Run) -> dict[str, dict[str, Any]]:
    """The settings of the run's recipe by section; a frozen network's without those of steps, new layers and boxes."""
    settings: dict[str, dict[str, Any]] = recipe_dict(run.recipe)
    if run.recipe.model.name != "frozen":
        return settings
    kept = {
        "model": {"name": run.recipe.model.name},
        "transfer": {name: value for name, value in settings["transfer"].items() if name not in _OF_TUNING},
        "train": {name: value for name, value in settings["train"].items() if name not in _OF_STEPS},
    }
    return {name: kept.get(name, values) for name, values in settings.items() if name != "detect"}


def parameter_words(run: Run) -> str:
    """How many numbers the network has; and of one that is fitted at once how many were fitted, the others given."""
    parameters = list(run.model.parameters())
    count = sum(parameter.numel() for parameter in parameters)
    if run.recipe.model.name != "frozen":
        return f"{count:,} parameters"
    fitted = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    return f"{count:,} parameters, of which {fitted:,} were fitted"


def evaluable(run: Run) -> list[str]:
    """The parts that can be evaluated, in the order in which they are looked at."""
    return [part for part in PARTS if part != "train" and len(run.table.part(part))]


def commands(run: Run) -> list[tuple[str, str]]:
    """(what it does, the command), with the run's path as seen from the working folder."""
    path = run.path.resolve()
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    place = shlex.quote(shown.as_posix())
    words = {"validation": "Evaluate it on its validation part", "test": _SEALED}
    return [
        ("Train the same model again", training_again(run, shown, f"{shown.as_posix()}-again")),
        *((words[part], f"tenfold evaluate {place} --part {part}") for part in evaluable(run)[-1:]),
        ("Use it on images", f"tenfold predict {place} photo.jpg"),
        ("Write this page again", f"tenfold report {place}"),
    ]


def training_again(run: Run, folder: Path, out: str) -> str:
    """The command that trains the same model into `out`; lines of Python where the images were handed over there.

    `folder` is the run's, as seen from where the command is given.
    """
    if run.recipe.data.path:
        return shlex.join(["tenfold", "train", (folder / "recipe.toml").as_posix(), "--out", out])
    lines = ["import tenfold", "", f"run = tenfold.load_run({folder.as_posix()!r})"]
    table = "run.table"
    if not all(Path(source).is_absolute() for source in run.table.samples["source"].unique()):
        table = "table"
        lines.append("# `table` is the one that was handed over: its images were in memory, which no run stores.")
    return "\n".join([*lines, f"tenfold.train_model({table}, run.recipe, {out!r})"])


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested values as (dotted name, text)."""
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        rows += flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", _text(value))]
    return rows


def _literals(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(setting, its value as TOML writes it), which for these values is how JSON does."""
    return [(name, json.dumps(value, ensure_ascii=False)) for name, value in values.items()]


def _text(value: object) -> str:
    return ", ".join(str(item) for item in value) if isinstance(value, (list, tuple)) else str(value)


def group_counts(run: Run) -> dict[str, int]:
    """The groups that the data give, in each part; empty where they give none."""
    samples = run.table.samples
    given = samples["group"].notna() & ~_found(run)
    if not given.any():
        return {}
    return {part: int(samples["group"][given & (samples["part"] == part)].nunique()) for part in PARTS}


def found_together(run: Run) -> str:
    """What was found to belong together, a sentence; empty where nothing was."""
    names = run.table.samples["group"][_found(run)]
    if names.empty:
        return ""
    sets = names.nunique()
    return (
        f"{len(names):,} images are copies, shots in a row or of one picture, in {count(sets, 'set')}"
        " that were found; each set counts as one in the intervals."
    )


def _found(run: Run) -> pd.Series[bool]:
    """Which samples have a group that nobody gave."""
    return run.table.samples["group"].map(is_found, na_action="ignore").eq(True)
