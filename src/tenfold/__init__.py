"""Tenfold turns a folder of a few images a class into a classifier whose accuracy you can believe.

A Table comes in, a Run comes out, and whatever comes after training reads only the Run:

    import tenfold
    table = tenfold.split_table(tenfold.read_table("flowers"))
    run = tenfold.train_best(table, tenfold.Recipe(), "runs/first")
    evaluation = tenfold.evaluate_run(run, "test")

The files, in the order in which data flows; each imports only those above it (`commands/` imports inside functions):

    __init__.py     this map, the version, the few public names
    errors.py       what Tenfold raises: one sentence each
    words.py        counts and lists in sentences
    files.py        files that are complete or absent
    environment.py  where and with what a run was made; which device computes
    draws.py        random choices as functions of (seed, epoch, image hash, draw)
    boxes.py        box formats, areas, overlaps, clipping
    estimate.py     a figure with its interval
    metrics/        arrays -> figures
    recipe.py       every setting, as dataclasses; TOML in and out
    images/         disk -> Table -> batches: readers, decoding, resizing, preprocessing, cache, loader
    split/          Table -> Table with parts
    augment/        policies, the fused kernel, the GPU path, mixing, whitening, the lecture's views
    proposals/      image -> boxes that may hold an object: Selective Search, windows; what they cover
    models/         every network: plain, residual, pretrained backbones, heads; weights
    tasks.py        what differs between tasks, one literal a task
    looks.py        how many models a test part has judged, and what that does to an interval
    run.py          a trained model as a folder: save, load, predict
    train/          Table + Recipe -> Run: the one loop
    evaluate/       Run + part -> Evaluation; the ledger of looks at the test part
    transfer/       frozen features, the ladder of heads on them, the gallery
    check/          Table -> findings: what would spoil or flatter the result, its price and its remedy
    detect/         detection whose training has several stages: R-CNN
    report/         Run -> one self-contained HTML page
    sklearn.py      training and the split behind scikit-learn's interfaces
    keras/          ImageDataGenerator and its helpers, as Keras had them
    commands/       one thin file a command
    __main__.py     the list of commands
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenfold.check import check_table
    from tenfold.estimate import Estimate
    from tenfold.evaluate import evaluate_run
    from tenfold.images.readers import read_table
    from tenfold.images.table import Table
    from tenfold.recipe import Recipe
    from tenfold.run import Run, load_run
    from tenfold.split import split_table
    from tenfold.train import train_model
    from tenfold.transfer.best import train_best

__version__ = "0.1.0"

__all__ = [
    "Estimate",
    "Recipe",
    "Run",
    "Table",
    "check_table",
    "evaluate_run",
    "load_run",
    "read_table",
    "split_table",
    "train_best",
    "train_model",
]

_HOMES = {
    "Estimate": "estimate",
    "Recipe": "recipe",
    "Run": "run",
    "Table": "images.table",
    "check_table": "check",
    "evaluate_run": "evaluate",
    "load_run": "run",
    "read_table": "images.readers",
    "split_table": "split",
    "train_best": "transfer.best",
    "train_model": "train",
}


def __getattr__(name: str) -> object:
    """Import a public name from its file when it is first asked for, so that `import tenfold` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tenfold' has no attribute {name!r}")
    return getattr(import_module(f"tenfold.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
