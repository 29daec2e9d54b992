"""tenfold curve: would more images help?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenfold.commands.folds import given, named
from tenfold.commands.live import Watch
from tenfold.commands.new_folder import new_folder
from tenfold.commands.options import Whole, with_settings
from tenfold.commands.output import command_line, is_first, next_command, say, show_json, show_table, waiting
from tenfold.errors import Interrupted, UsageError

if TYPE_CHECKING:
    from tenfold.estimate import Estimate
    from tenfold.evaluate import LearningCurve


@with_settings
def curve(
    source: str,
    /,
    *,
    out: Path | None = None,
    steps: Whole = 4,
    seeds: Whole = 2,
    json: bool = False,
    **settings: Any,
) -> int:
    """Train on growing shares of the training images and say what twice as many would bring.

    Each step doubles the images, the last one takes all. With one seed the images
    of a step are among those of the next, an image's copies and its group come
    with it, and all are judged on one validation part. A curve is fitted through
    the errors, with a band. Give the settings that you train with, the model above
    all: what more images bring depends on them.

    For example:

        tenfold curve flowers --minutes 2
        tenfold curve runs/flowers-1/recipe.toml --steps 5 --seeds 3

    Parameters
    ----------
    source
        The images, or a recipe, as for tenfold train.
    out
        The folder of the runs and of curve.json, a new one; by default runs/NAME-NUMBER. Its trainings that are done
        are not done again.
    steps
        How many shares, 3 to 8: with 4 an eighth, a quarter, half and all.
    seeds
        Trainings of each share.
    json
        Print one JSON object.
    settings
        Settings of the recipe, as `with_settings` makes them.
    """
    from tenfold.commands.train import read_parted
    from tenfold.evaluate import evaluate_subsets, say_gain
    from tenfold.evaluate.learning_curve import say_repeated
    from tenfold.run import write_json
    from tenfold.train import train_subsets
    from tenfold.transfer.settle import SETTLED

    if not 3 <= steps <= 8:
        raise UsageError(f"--steps must be from 3 to 8, not {steps}.")
    recipe, table = read_parted(source, settings, of_classes=True)
    recipe = named(table, recipe, settings)
    shares = [0.5**step for step in range(steps)]
    with new_folder(out, Path(recipe.data.path)) as folder:
        try:
            with Watch() as watch:
                runs = train_subsets(
                    table,
                    recipe,
                    folder,
                    shares=shares,
                    seeds=seeds,
                    progress=watch,
                    trainer=SETTLED,
                )
        except (Interrupted, KeyboardInterrupt):
            options = ("--steps", steps, "--seeds", seeds, "--out", folder)
            again = command_line("tenfold", "curve", folder / "recipe.toml", *options)
            raise Interrupted(f"Stopped by Ctrl-C; what is done stays, go on with: {again}") from None
    if not is_first():
        return 0
    with waiting("Evaluating"):
        found = evaluate_subsets(runs)
    copies = int(runs[-1].table.part("train").samples["copy"].sum())
    counted = f"Images are counted; the {copies:,} augmented copies of the training images come beside them."
    notes = [*filter(None, [say_repeated(found), counted if copies else ""]), *given(recipe, "training")]
    content = found.to_json() | {"says": say_gain(found), "notes": notes}
    write_json(folder / "curve.json", content)
    if json:
        show_json({"out": folder, "runs": [run.path for run in runs], **content})
        return 0
    _show(found)
    for note in notes:
        say(note)
    print(say_gain(found))
    print(f"Curve: {folder}")
    next_command("tenfold", "report", runs[-1].path, when="for the run on all images")
    return 0


def _show(found: LearningCurve) -> None:
    """Print what each training reached, and what is expected of as many, twice and four times as many images."""
    from tenfold.report.figures import write_interval, write_level, write_value

    def written(accuracy: Estimate) -> tuple[str, str]:
        return write_value("accuracy", accuracy.value), write_interval("accuracy", accuracy)

    points = sorted(found.points, key=lambda point: (point.images, point.seed))
    rows = [(point.images, point.seed, *written(point.accuracy)) for point in points]
    band = f"{write_level(found.level)} interval"
    show_table(("Training images", "Seed", "Validation accuracy", band), rows)
    expected = [(number, *written(found.accuracy(number))) for number in (found.most, 2 * found.most, 4 * found.most)]
    show_table(("Training images", "Expected accuracy", band), expected)
