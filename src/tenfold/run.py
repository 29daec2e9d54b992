"""Run: a trained model as a folder, the hinge between training and all that comes after it.

    recipe.toml         every setting, as it was resolved
    table.parquet       the samples used, their parts and hashes (boxes.parquet beside it where there are boxes)
    model.json          architecture, classes, preprocessing, origin and licence of weights, calibration
    model.safetensors   the weights
    history.csv         a row an epoch
    diagnosis.json      what the training says about itself, in words
    environment.json    versions, machine, time
    earlier.json        which images have taught the run that its network comes out of, if it comes out of one
    findings.json       what a check found of the images before training, if there was one
    ladder.json         how the head of a frozen network was chosen, and what fine-tuning changed, where that was done
    unknown.safetensors what images of classes that were held out scored, if that was measured
    checkpoint/         while training; frozen/: the frozen run that a fine-tuned one was compared with, if one was
    predictions.parquet, evaluation.json, ledger.jsonl, report.html, README.md    what comes after

Loading executes nothing from the folder. It works after being moved.
"""

from __future__ import annotations

import html
import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from tenfold.environment import choose_device
from tenfold.errors import DataError, TenfoldError, unknown
from tenfold.estimate import Estimate, from_json
from tenfold.files import write_file
from tenfold.images.preprocess import Preprocessing
from tenfold.images.table import PARTS
from tenfold.looks import say_now
from tenfold.metrics.unknown import HeldOut
from tenfold.models import make_model
from tenfold.models.card import card_fault, network_words
from tenfold.models.contract import Model, Prediction
from tenfold.models.predictor import Canvas, Predictor, predict_files
from tenfold.models.weights.places import file_hash
from tenfold.recipe import Recipe, read_recipe
from tenfold.tasks import TASKS, Task

if TYPE_CHECKING:
    import pandas as pd

    from tenfold.images.table import Table
    from tenfold.proposals import ProposalFile

FORMAT = 1
_FOUND = {"kind", "alarm", "says", "evidence", "next"}
"""What each entry of diagnosis.json holds."""
_EVALUATED = {"part": str, "n": int, "look": int, "figures": dict, "details": dict}
"""What each entry of evaluation.json holds at least, as JSON values; each of its figures is an Estimate."""


class Run:
    """A run's folder, each file read when first needed. `load_run` opens one."""

    def __init__(
        self, path: Path, table: Table | None = None, device: str = "cpu", proposals: str | Path | None = None
    ) -> None:
        """`table` saves reading it again; images in memory are only known through it."""
        self.path = path
        self._table = table
        self._device = device
        self._proposals = proposals

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    def _repr_html_(self) -> str:
        facts: dict[str, Callable[[], str]] = {
            "folder": lambda: str(self.path),
            "network": lambda: network_words(self.card),
            "classes": lambda: ", ".join(self.classes),
            "images": lambda: ", ".join(f"{len(self.table.part(part))} {part}" for part in PARTS),
            "validation part": lambda: say_now(self.evaluations.get("validation", {}), self.path),
            "test part": lambda: say_now(self.evaluations.get("test", {}), self.path),
        }
        rows = ((name, _try_words(words)) for name, words in facts.items())
        cells = (f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in rows if text)
        return f"<table>{''.join(cells)}</table>"

    @cached_property
    def card(self) -> dict[str, Any]:
        """The content of model.json."""
        return read_card(self.path)

    @cached_property
    def recipe(self) -> Recipe:
        """Every setting of the run."""
        return read_recipe(self.path / "recipe.toml")

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes, in the order of the model's outputs."""
        return tuple(self.card["classes"])

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes the network's input."""
        try:
            return Preprocessing.from_json(self.card["preprocessing"])
        except DataError as error:
            raise _damaged(self.path / "model.json", error) from error

    @cached_property
    def task(self) -> Task:
        """What kind of question the model answers."""
        name = self.card.get("task", "")
        if name not in TASKS:
            raise unknown(f"The task in {self.path / 'model.json'}", name, TASKS)
        return TASKS[name]

    @property
    def calibration(self) -> dict[str, Any]:
        """What was fitted to the finished model on the validation part; empty where there was none.

        {"part": "validation", "n": images, "temperature": what logits are divided by, "steps": [[confidence, answered,
        wrong], ...] as tenfold.metrics.abstention has them}, each of the last two where the task has it; of a detection
        "score", from which on F1 is best, and "score_steps" as tenfold.metrics.detection_scores has them. With "others"
        temperature and score were chosen on so many images of the other folds of a cross-validation instead, none of
        them of this run's validation part.
        """
        return dict(self.card.get("calibration", {}))

    @cached_property
    def device(self) -> torch.device:
        """Where the model predicts."""
        return choose_device(self._device)

    @cached_property
    def model(self) -> Model:
        """The trained model, in evaluation mode, on the run's device."""
        model, weights = self._build(), self.path / "model.safetensors"
        try:
            model.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            raise _damaged(weights, error) from error
        model.temperature = float(self.calibration.get("temperature", 1.0))
        return model.eval().to(self.device).to(memory_format=torch.channels_last)

    def _build(self) -> Model:
        """The network that model.json describes, its weights still to come."""
        try:
            return build_model(self.card)
        except TenfoldError as error:  # of another version, or of a package that is not here
            raise DataError(f"{self.path / 'model.json'} cannot be used here: {error}") from error
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError, Warning) as error:
            said = ValueError(f"no network can be made of it ({error!r})")
            raise _damaged(self.path / "model.json", said) from error

    @cached_property
    def table(self) -> Table:
        """The samples of the run with their parts; where the images lie is as it was at training."""
        from tenfold.images.table import load_table

        if self._table is not None:
            return self._table
        return load_table(self.path / "table.parquet", self.classes)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, machine and times."""
        return _read_json(self.path / "environment.json")

    @property
    def history(self) -> pd.DataFrame:
        """A row an epoch: see tenfold.train.loop."""
        return read_frame(self.path / "history.csv", "epoch", "step", "seconds")

    @property
    def diagnosis(self) -> list[dict[str, Any]]:
        """What training found about itself, the gravest first, as JSON values: see tenfold.train.diagnosis.

        Each has "kind", "alarm" (whether something should be done), "says", "evidence" and "next"; none in old runs.
        """
        path = self.path / "diagnosis.json"
        found = _load_json(path) if path.exists() else []
        if not isinstance(found, list) or not all(isinstance(one, dict) and one.keys() >= _FOUND for one in found):
            raise _damaged(path, TypeError("not a list of findings"))
        return found

    @property
    def findings(self) -> dict[str, Any]:
        """What a check found of the images before training, as tenfold.check.Findings.to_json gives it; else empty."""
        return _read_json(self.path / "findings.json") if (self.path / "findings.json").exists() else {}

    @property
    def ladder(self) -> dict[str, Any]:
        """How a head was chosen, as tenfold.transfer.Ladder.to_json gives it; else empty.

        With "finetuning" where that was compared with the frozen network: {"decided": True}, what
        tenfold.transfer.verdict.Verdict.to_json gives, and where it was taken, "kept": the frozen run's folder.
        """
        return _read_json(self.path / "ladder.json") if (self.path / "ladder.json").exists() else {}

    @property
    def unknown(self) -> HeldOut | None:
        """What images score of classes that were held out, as tenfold.transfer.unknown found it; None without that."""
        path = self.path / "unknown.safetensors"
        if not path.exists():
            return None
        try:
            return HeldOut.from_arrays({name: value.numpy() for name, value in load_file(path).items()}, self.classes)
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise _damaged(path, error) from error

    @property
    def teller(self) -> Run:
        """Whose network tells which images are of no class: its own, or the frozen run that a fine-tuned one keeps."""
        kept = self.ladder.get("finetuning", {}).get("kept", "")
        return Run(self.path / Path(kept).name, self._table, self._device) if kept else self

    @property
    def evaluations(self) -> dict[str, Any]:
        """Part -> what `tenfold evaluate` found on it, as JSON values; empty before the first evaluation."""
        path = self.path / "evaluation.json"
        found = _read_json(path) if path.exists() else {}
        if wrong := [part for part, one in found.items() if not _is_evaluation(one)]:
            raise _damaged(path, ValueError(f"what it has of {wrong[0]} is no evaluation"))
        return found

    def predictions(self, part: str, *columns: str) -> pd.DataFrame:
        """The stored predictions of one part, a row a sample and instance.

        Raises DataError where they are missing or damaged, or there are predictions, but not of these `columns`.
        """
        frame = read_frame(self.path / "predictions.parquet", "part", "sample", "label", filled=columns)
        return frame[frame["part"] == part].reset_index(drop=True)

    def predict(self, images: Sequence[NDArray[np.uint8]]) -> list[Prediction]:
        """Predict images in memory: upright uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] arrays, RGB.

        A classification gives "probability" [K], calibrated, and "logits" [K] in the order of `classes`; a detection
        "boxes" float32 [D, 4], xyxy in pixels of the image, cut to it, "score" [D] and "label" [D], the surest first.

        Raises UsageError where proposals come from a file that does not know these very arrays, by their hash.
        """
        return self.predictor.arrays(images)

    def predict_files(self, paths: Iterable[Path]) -> Iterator[tuple[Path, Prediction | DataError]]:
        """Predict image files, in order; for one that cannot be read, or lacks proposals, its error comes instead."""
        return predict_files(paths, lambda: self.predictor)

    def predict_canvases(
        self, images: Iterable[Canvas], boxes: Iterable[NDArray[np.float32]] | None = None
    ) -> Iterator[Prediction]:
        """Predict what `preprocessing.prepare` gave: (pixels, affine) each; boxes may reach into what pads an image.

        `boxes`, float32 [P, 4] in original pixels for each image, are needed where the run takes its proposals from a
        file: those of `proposals`. Raises UsageError where they are not there, or the model must not be told any.
        """
        return self.predictor.canvases(images, boxes)

    @cached_property
    def proposals(self) -> ProposalFile | None:
        """The file that a detector's proposals are looked up in; None: it needs none, or finds them itself."""
        trained = self.card["settings"].get("proposals_from", "")
        if not trained and self._proposals is None:
            return None
        from tenfold.proposals import choose_proposals

        return choose_proposals(self._proposals, trained, self.path)

    @property
    def proposals_note(self) -> str:
        """A sentence where the file that it was trained on, and that `proposals` are of, has changed; else empty."""
        known, file = self.card["settings"].get("proposals_sha256", ""), self.proposals
        if file is None or self._proposals is not None or not known or file_hash(file.path) == known:
            return ""
        return f"{file.path} has changed since {self.path} was trained: its boxes are others now."

    @cached_property
    def predictor(self) -> Predictor:
        """What puts images before the model."""
        find, truncated = self.proposals.of_image if self.proposals else None, self.recipe.data.allow_truncated
        return Predictor(self.model, self.preprocessing, self.device, self.task.cut, truncated, find)


def load_run(path: str | Path, device: str = "cpu", proposals: str | Path | None = None) -> Run:
    """Open a run's folder. Raises DataError where it is none or its training has not ended.

    `device`: auto (the first GPU there is), cpu, cuda, cuda:1, mps. `proposals`: a file of them, for other images.

    >>> import numpy, tenfold
    >>> run = tenfold.load_run("runs/digits")  # as the example of train_model left it
    >>> [prediction] = run.predict([numpy.zeros((8, 8), numpy.uint8)])
    >>> dict(zip(run.classes, prediction["probability"].round(2).tolist()))  # doctest: +ELLIPSIS
    {'0': 0..., '1': 0..., ... '9': 0...}
    """
    folder = Path(path)
    if not (folder / "model.json").is_file():
        if folds := sorted(card.parent for card in folder.glob("*-fold*/model.json")):
            raise DataError(f"{folder} holds the runs of folds, not one run; give one of them, such as {folds[0]}.")
        raise DataError(f"{folder} is not a run: it has no model.json; give the folder that `tenfold train` wrote.")
    run = Run(folder, device=device, proposals=proposals)
    if not (folder / "model.safetensors").is_file():
        if (folder / "history.csv").is_file() and not (folder / "checkpoint").exists():
            again = shlex.join(["tenfold", "train", str(folder / "recipe.toml")])
            raise DataError(f"{folder} has lost model.safetensors, its weights; put it back, or train again: {again}")
        raise DataError(f"The training of {folder} has not ended; go on with: {resume_command(folder)}")
    run.card  # noqa: B018 - a damaged or foreign run is refused here, not later
    return run


def resume_command(folder: Path) -> str:
    """What to type to go on with a run."""
    return f"tenfold train --resume {shlex.quote(str(folder))}"


def read_card(folder: Path) -> dict[str, Any]:
    """The content of a run's model.json. Raises DataError where it is missing, damaged or of another format."""
    path = folder / "model.json"
    content = _read_json(path)
    if content.get("format") != FORMAT:
        found = f"format {content.get('format')}, not {FORMAT}"
        raise DataError(f"{path} has {found}: another version of Tenfold made it.")
    if fault := card_fault(content):
        raise _damaged(path, ValueError(fault))
    return content


def read_frame(path: Path, *columns: str, filled: Iterable[str] = ()) -> pd.DataFrame:
    """A table of a run, .csv or .parquet, with at least these columns, and with those `filled` if it has any row.

    Raises DataError where it is missing or damaged.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, KeyError, RuntimeError) as error:  # pyarrow's errors are of these kinds
        raise _damaged(path, error) from error
    if missing := [name for name in (*columns, *(filled if len(frame) else ())) if name not in frame]:
        raise _damaged(path, ValueError(f"it has no column {', '.join(missing)}"))
    return frame


def build_model(card: dict[str, Any]) -> Model:
    """A fresh model as a run's card describes it."""
    model = make_model(card["architecture"], card["channels"], tuple(card["classes"]), card["settings"])
    model.preprocessing = Preprocessing.from_json(card["preprocessing"])
    return model


def write_weights(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write tensors as safetensors, complete or not at all."""
    tidy = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_file(path, save(tidy))  # save_file hides a full disk behind an error of its own


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write a dictionary or list as JSON that people can read; NaN is refused."""
    write_file(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _try_words(words: Callable[[], str]) -> str:
    """Of a damaged run a notebook shows what can be read, and why the rest cannot."""
    try:
        return words()
    except (DataError, LookupError, TypeError, ValueError, AttributeError) as error:
        return f"not readable: {error}"


def _read_json(path: Path) -> dict[str, Any]:
    if not isinstance(content := _load_json(path), dict):
        raise _damaged(path, TypeError("not a JSON object"))
    return content


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _is_evaluation(value: Any) -> bool:
    """Whether an entry of evaluation.json can be read."""
    if not isinstance(value, dict) or not all(isinstance(value.get(name), kind) for name, kind in _EVALUATED.items()):
        return False
    return all(isinstance(figure, Estimate) for figure in from_json(value["figures"]).values())


def _damaged(path: Path, error: Exception) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path} is missing; the run is incomplete.")
    advice = "; delete it and evaluate again" if path.name in ("predictions.parquet", "evaluation.json") else ""
    return DataError(f"{path} is damaged: {' '.join(str(error).split()).rstrip('.')}{advice}.")
