"""What `tenfold predict` does with a detector: the objects in each image, their boxes and scores."""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tenfold.commands.coco_ids import CocoIds, Id
from tenfold.commands.output import counted, say, show_json, show_table
from tenfold.errors import DataError, UsageError
from tenfold.words import listed

if TYPE_CHECKING:
    from tenfold.models.contract import Prediction
    from tenfold.report.lettering import Lettering
    from tenfold.run import Run

USUAL = 0.5
"""The score from which on objects are shown where training chose none."""
_ROUND = (0.99, 0.98, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)  # precisions that are named where the wanted one has no support
CLASS_LIST = "classes.txt"
"""The file beside YOLO's text files that names the class of each number, a line each."""
_NAMED = 3  # images named in a message
_LISTED = 12  # classes that a message lists
_QUALITY = 92  # of a JPEG


class Asked(NamedTuple):
    """What was asked for."""

    form: str
    """table, csv, json, coco or yolo."""
    score: float | None
    precision: float | None
    draw: Path | None
    out: Path | None
    ids: Path | None
    given: Sequence[str]
    """The files and folders in which the images were found."""


class Seen(NamedTuple):
    """An image and what was found in it, from the wanted score on."""

    path: str
    rows: list[dict[str, Any]]
    """{"x1", "y1", "x2", "y2", "predicted", "score"} each, the surest first."""


def show_boxes(run: Run, paths: list[str], asked: Asked, failed: dict[str, str]) -> None:
    """Print or write what is found in each image; those that cannot be read go into `failed`."""
    from tenfold.boxes import CORNERS

    _refuse(asked)
    least = _least_score(run, asked)
    names = CocoIds.of(asked.ids, run.classes, paths) if asked.ids is not None else None
    texts = _text_files(paths, asked.given) if asked.out is not None else {}
    predicted = counted(run.predict_files(map(Path, paths)), len(paths), "Images", printed=asked.form == "csv")
    seen = _seen(run, predicted, least, failed)
    if asked.draw is not None:
        seen = _drawn(run, seen, asked.draw, paths)
    if asked.form == "csv":
        seen = _printed(seen)
    found = list(seen)
    _say_empty(found, least)
    if asked.form == "json":
        images = [{"path": one.path, "objects": [_object(row) for row in one.rows]} for one in found]
        show_json({"run": run.path, "score": least, "images": images, "unreadable": failed})
    elif asked.form == "coco":
        print(json.dumps(_coco(found, run.table.numbered, names)))
    elif asked.out is not None:
        _write_yolo(found, run.table.numbered, asked.out, texts)
    elif asked.form == "table" and (rows := [_line(one.path, row) for one in found for row in one.rows]):
        show_table(("Path", "Class", "Score", *CORNERS), rows)
    if asked.draw is not None:
        say(f"Drawn: {asked.draw}")


def _refuse(asked: Asked) -> None:
    """Raise UsageError for options that do not go together, or folders that hold something."""
    if asked.score is not None and asked.precision is not None:
        raise UsageError("Give either --score or --precision, not both.")
    if asked.score is not None and not 0 <= asked.score <= 1:
        raise UsageError(f"--score must lie from 0 to 1, not {asked.score:g}.")
    if (asked.form == "yolo") != (asked.out is not None):
        raise UsageError("--format yolo writes a text file an image into the folder --out; give both or neither.")
    if asked.ids is not None and asked.form != "coco":
        raise UsageError("--ids is for --format coco; give both or leave it out.")
    for option, folder in (("--draw", asked.draw), ("--out", asked.out)):
        if folder is not None and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise UsageError(f"{option} must be a new or an empty folder, and {folder} holds something; name another.")


def _least_score(run: Run, asked: Asked) -> float:
    """The score from which on objects are shown, which is told where it was not given."""
    if asked.score is not None:
        return asked.score
    if asked.precision is not None:
        return _supported(run, asked.precision)
    chosen = run.calibration.get("score")
    if chosen is None:
        say(f"Objects from a score of {USUAL} on, as training chose none; --score sets another.")
        return USUAL
    say(f"Objects from a score of {chosen:.3f} on, the best F1 on the validation part; --score sets another.")
    return float(chosen)


def _supported(run: Run, precision: float) -> float:
    """From which score on so many are right, as the validation part supports it; UsageError where it does not."""
    from tenfold.metrics.detection_scores import ScoreStep, choose_score

    steps = [ScoreStep(*step) for step in run.calibration.get("score_steps", ())]
    if not steps:
        raise UsageError(
            "--precision needs what training measures on a validation part with at least 20 detections, and "
            f"{run.path} has none of it; train with a larger validation part, or give --score."
        )
    step, wanted = choose_score(steps, precision), f"{100 * precision:.4g} %"
    images = f"{run.calibration['n']} validation images"
    if step is None:
        other = next((share for share in _ROUND if share < precision and choose_score(steps, share)), None)
        advice = "train with a larger validation part" if other is None else f"they do support {100 * other:g} %"
        raise UsageError(f"--precision {wanted} is more than the {images} of {run.path} support; {advice}.")
    say(f"Objects from a score of {step.score:.3f} on: {step.shown} on {images} support at least {wanted} right.")
    return step.score


def _seen(
    run: Run, predicted: Iterable[tuple[Path, Prediction | DataError]], least: float, failed: dict[str, str]
) -> Iterator[Seen]:
    """What is found in each image that can be read; the others are told of and go into `failed`."""
    for path, prediction in predicted:
        if isinstance(prediction, DataError):
            failed[str(path)] = str(prediction)
            say(f"error: {prediction}")
            continue
        rows = run.task.tabulate(prediction, run.classes)
        yield Seen(str(path), [row for row in rows if row["score"] >= least])


def _say_empty(found: list[Seen], least: float) -> None:
    """Images without an object have no row, so they are named."""
    empty = [one.path for one in found if not one.rows]
    if empty:
        say(f"Nothing from a score of {least:.3f} on in {listed(empty, _NAMED)}.")


def _object(row: dict[str, Any]) -> dict[str, Any]:
    return {"class": row["predicted"], "score": row["score"], "box": _corners(row)}


def _corners(row: dict[str, Any]) -> list[float]:
    from tenfold.boxes import CORNERS

    return [row[name] for name in CORNERS]


def _line(path: str, row: dict[str, Any]) -> list[object]:
    return [path, row["predicted"], row["score"], *(f"{corner:.1f}" for corner in _corners(row))]


def _printed(seen: Iterable[Seen]) -> Iterator[Seen]:
    """Pass everything on, and print it as CSV as soon as it is known, a line an object; corners to 0.01 pixels."""
    from tenfold.boxes import CORNERS

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["path", "class", "score", *CORNERS])
    for one in seen:
        for row in one.rows:
            corners = (f"{corner:.2f}" for corner in _corners(row))
            writer.writerow([one.path, row["predicted"], f"{row['score']:.6f}", *corners])
        sys.stdout.flush()
        yield one


def _coco(found: list[Seen], classes: tuple[str, ...], names: CocoIds | None) -> list[dict[str, Any]]:
    """COCO's results (https://cocodataset.org/#format-results), with the file's name besides.

    Categories count from 1 in the order of the classes, as `convert` writes them, but for the ids of `names`. Without
    these an image is called after its file, or by its whole path where two files have the same name.
    """
    counted_from_1: dict[str, Id] = {name: place for place, name in enumerate(classes, 1)}
    categories = names.categories if names else counted_from_1
    stems = [Path(one.path).stem for one in found]
    numbered = all(stem.isascii() and stem.isdigit() for stem in stems) and len({*map(int, stems)}) == len(stems)
    files, results = Counter(Path(one.path).name for one in found), []
    for one, stem in zip(found, stems, strict=True):
        called = one.path if files[Path(one.path).name] > 1 else Path(one.path).name
        image = names.images[one.path] if names else int(stem) if numbered else called
        for row in one.rows:
            x1, y1, x2, y2 = _corners(row)
            box = [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
            content = {"image_id": image, "category_id": categories[row["predicted"]], "bbox": box}
            results.append(content | {"score": round(row["score"], 6), "file_name": one.path})
    return results


def _text_files(paths: Sequence[str], given: Sequence[str]) -> dict[str, Path]:
    """YOLO's text file of each image, from the folder --out on: its name, in the folders below those that were given.

    So a program finds it, which goes by the name. Raises UsageError where two would be the same.
    """
    from tenfold.images.readers.folder import absolute

    tops = [path if path.is_dir() else path.parent for path in map(absolute, given)]
    above = len([*takewhile(lambda names: len({*names}) == 1, zip(*map(_pieces, tops), strict=False))])
    texts = {path: Path(*_pieces(Path(path))[above:]).with_suffix(".txt") for path in paths}
    owners = dict[str, str]()
    for path, text in texts.items():
        if text.name.casefold() == CLASS_LIST:
            raise UsageError(
                f"--format yolo gives each image a text file of its name, and that of {path} would be the list of "
                f"classes, {CLASS_LIST}; rename the image, or leave it out."
            )
        # Most disks of Windows and macOS take A.txt and a.txt for one.
        if (other := owners.setdefault(str(text).casefold(), path)) != path:
            raise UsageError(
                f"--format yolo gives each image a text file of its name, and {other} and {path} would both have "
                f"{text}; rename one of them, or leave it out."
            )
    return texts


def _pieces(path: Path) -> tuple[str, ...]:
    """The disk's letter, where disks have such, and the folders and the name of an absolute path."""
    return path.drive.strip(":\\/"), *path.parts[1:]


def _write_yolo(found: list[Seen], classes: tuple[str, ...], folder: Path, texts: dict[str, Path]) -> None:
    """A text file an image, as Ultralytics writes them: number of the class, center, width and height, score.

    The classes by number stand in classes.txt in each folder of such, where annotation programs look for them.
    """
    import numpy as np

    from tenfold.boxes import to_yolo
    from tenfold.files import write_file
    from tenfold.images.content import read_bytes
    from tenfold.images.decode import image_size

    for one in found:
        boxes = np.array([_corners(row) for row in one.rows], np.float64).reshape(-1, 4)
        shares = to_yolo(boxes, *image_size(read_bytes(one.path), one.path)).tolist()
        lines = (
            " ".join([str(classes.index(row["predicted"])), *(f"{value:.6f}" for value in (*share, row["score"]))])
            for row, share in zip(one.rows, shares, strict=True)
        )
        write_file(folder / texts[one.path], "".join(f"{line}\n" for line in lines))
    for place in {Path(), *(texts[one.path].parent for one in found)}:
        write_file(folder / place / CLASS_LIST, "".join(f"{name}\n" for name in classes))
    say(f"Classes by number, as in {folder / CLASS_LIST}: {_numbers(classes, classes)}.")
    print(f"{len(found):,} text files: {folder}")


def _numbers(names: Sequence[str], classes: tuple[str, ...]) -> str:
    """The first of some classes, each after its number in classes.txt."""
    return listed([f"{classes.index(name)} {name}" for name in names], _LISTED)


def _called(run: Run, lettering: Lettering) -> dict[str, str]:
    """What stands at the boxes of each class: its name, or its number where no font has the letters, which is told."""
    classes = run.table.numbered
    unwritten = [name for name in run.classes if not lettering.has(name)]
    if unwritten:
        say(
            "No font of this computer has the letters of some classes, at whose boxes their number stands: "
            f"{_numbers(unwritten, classes)}; with a font for them installed, their names will."
        )
    return {name: str(classes.index(name)) if name in unwritten else name for name in run.classes}


def _drawn(run: Run, seen: Iterable[Seen], folder: Path, paths: list[str]) -> Iterator[Seen]:
    """Pass everything on, and write each image with its boxes into the folder."""
    import numpy as np

    from tenfold.files import write_file
    from tenfold.images.content import read_bytes
    from tenfold.images.decode import decode_image
    from tenfold.images.writers.placed import unique_names
    from tenfold.report.drawn import draw_boxes
    from tenfold.report.lettering import Lettering

    lettering = Lettering(run.classes)
    called = _called(run, lettering)
    names, truncated = dict(zip(paths, unique_names(paths), strict=True)), run.recipe.data.allow_truncated
    for one in seen:
        pixels = decode_image(read_bytes(one.path), channels="rgb", allow_truncated=truncated, name=one.path)
        boxes = np.array([_corners(row) for row in one.rows], np.float64).reshape(-1, 4)
        colors = [run.classes.index(row["predicted"]) for row in one.rows]
        words = [f"{called[row['predicted']]} {row['score']:.2f}" for row in one.rows]
        picture = draw_boxes(pixels, boxes, colors, words, lettering=lettering)
        name = Path(names[one.path])
        is_jpeg = name.suffix.casefold() in (".jpg", ".jpeg")
        content = BytesIO()
        picture.save(content, "JPEG" if is_jpeg else "PNG", **({"quality": _QUALITY} if is_jpeg else {}))
        write_file(folder / (name if is_jpeg else name.with_suffix(".png")), content.getvalue())
        yield one
