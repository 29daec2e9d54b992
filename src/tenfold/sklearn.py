"""The same parts behind scikit-learn's interfaces: training as an estimator, the split as a splitter.

    from sklearn.model_selection import cross_val_score
    from tenfold.sklearn import ImageClassifier, StratifiedGroupSplit
    cross_val_score(ImageClassifier(epochs=20), images, labels, groups=plants, cv=StratifiedGroupSplit(5))

Shapes: N images, H x W pixels, C channels (1, 3 or 4), K classes, B blocks.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import BaseCrossValidator
from sklearn.utils import assert_all_finite, check_consistent_length
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from tenfold.draws import draw_keys
from tenfold.errors import DataError, Interrupted, UsageError
from tenfold.recipe import Recipe, check_range, recipe_from
from tenfold.split.deal import deal_folds, gather_blocks

if TYPE_CHECKING:
    from tenfold.images.readers.arrays import ArraySource
    from tenfold.images.table import Table
    from tenfold.run import Run

SETTINGS = {
    "model": ("model", "name"),
    "size": ("image", "size"),
    "epochs": ("train", "epochs"),
    "minutes": ("train", "minutes"),
    "batch_size": ("train", "batch_size"),
    "lr": ("train", "lr"),
    "validation": ("split", "validation"),
    "random_state": ("train", "seed"),
}
"""Parameter of the estimator -> its section and name in a recipe."""


class ImageClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Tenfold's training as a scikit-learn estimator, for cross_val_score, GridSearchCV, Pipeline and clone.

    model, size, epochs, minutes, batch_size, lr: as in a recipe; None: as `recipe` has them.
    validation: share of what `fit` gets that is kept from training. On it the best epoch's weights are chosen and the
        probabilities are calibrated. 0: all is trained on and the last weights are kept, without calibration. None: as
        `recipe` has it; where that leaves it open, as `advise_split` has it for these images without a test part.
    random_state: the seed of weights, order, augmentation and of the draw of the validation part; None: as `recipe`
        has it, which is 0 unless it says otherwise.
    recipe: all other settings: a Recipe, or a dictionary like {"model": {"width": 64}}. Where the images are, how
        they are split and what becomes of unreadable ones is no matter of the recipe here: X and y belong together
        row by row, so an image that cannot be read is an error.
    out: a new folder for the run; None: a temporary one that is removed with the last reference to `run_`.
        Cross-validation and searches fit many copies and need None.

    After `fit`: `classes_` [K], the classes of y, sorted; `run_`, the Run, which `evaluate_run` takes. A pickled
    estimator carries its run's files, which are safetensors, JSON, TOML, CSV and Parquet; images in memory are not
    among them. With several jobs, set {"train": {"threads": 1}}, or each takes all cores.

    `X` is one of
        an array [N, H, W] or [N, H, W, C]: integers from 0 to 255, or floats from 0 to 1;
        a list of such images, whose sizes may differ;
        a list, an array [N] or a column [N, 1] of paths of image files.

    >>> import numpy as np
    >>> from tenfold.sklearn import ImageClassifier
    >>> images = np.random.default_rng(0).integers(0, 50, (24, 8, 8), np.uint8)
    >>> images[::2, 4:] += 150
    >>> labels = ["sea", "sky"] * 12
    >>> classifier = ImageClassifier("plain", epochs=20, recipe={"model": {"width": 8}}).fit(images, labels)
    >>> classifier.score(images, labels)
    1.0
    """

    def __init__(  # noqa: PLR0913 - what scikit-learn is to search over must be a parameter here
        self,
        model: str | None = None,
        *,
        size: int | None = None,
        epochs: int | None = None,
        minutes: float | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        validation: float | None = 0.15,
        random_state: int | None = None,
        recipe: Recipe | dict[str, Any] | None = None,
        out: str | os.PathLike[str] | None = None,
    ) -> None:
        self.model = model
        self.size = size
        self.epochs = epochs
        self.minutes = minutes
        self.batch_size = batch_size
        self.lr = lr
        self.validation = validation
        self.random_state = random_state
        self.recipe = recipe
        self.out = out

    def fit(self, X: ArraySource, y: ArrayLike, groups: Sequence[Any] | None = None) -> Self:
        """Train on N images and their classes, y [N]: text or integers.

        `groups` [N] keeps images of one group, as identical ones always, on one side of the validation split; None in
        it: the image stands alone. Raises ValueError for what cannot be learned from, and what `train_model` raises.
        """
        from tenfold.images.content import hashed
        from tenfold.images.readers import read_table
        from tenfold.split import advise_split, split_table

        classes, codes = _classes_of(y)
        images = _tidy(X)
        check_consistent_length(images, codes)
        if len(classes) < 2:
            raise UsageError(f"y must hold at least two classes, and holds one class, {classes[0]}.")
        recipe = self._full_recipe()
        table = read_table(images, labels=codes.tolist(), groups=groups, classes=[str(name) for name in classes])
        table = hashed(table, recipe.train.threads, unreadable="refuse")
        if recipe.split.validation < 0:  # left open
            recipe = recipe.change(split={"validation": advise_split(table, test=0.0).validation})
        share = recipe.split.validation
        run = self._train(split_table(table, validation=share, test=0, seed=recipe.train.seed), recipe)
        self.classes_, self.run_ = classes, run
        return self

    def predict(self, X: ArraySource) -> NDArray[Any]:
        """The class with the highest probability of each image: [N], of the type of y."""
        best = self.predict_proba(X).argmax(1)
        predicted: NDArray[Any] = self.classes_[best]
        return predicted

    def predict_proba(self, X: ArraySource) -> NDArray[np.float64]:
        """Probabilities float64 [N, K] in the order of `classes_`, calibrated where there was a validation part.

        Raises NotFittedError before `fit`, and ValueError where an image cannot be read.
        """
        check_is_fitted(self)
        images: Any = _tidy(X)
        predictions = self.run_.predict(images) if isinstance(images[0], np.ndarray) else self._predict_files(images)
        return np.stack([prediction["probability"] for prediction in predictions])

    def _predict_files(self, paths: Sequence[str | os.PathLike[str]]) -> Iterator[Any]:
        for _, result in self.run_.predict_files(map(Path, paths)):
            if isinstance(result, DataError):
                raise result
            yield result

    def _full_recipe(self) -> Recipe:
        given = {} if self.recipe is None else self.recipe
        if not isinstance(given, Recipe | dict):
            raise UsageError(f"recipe must be a Recipe or a dictionary of its sections, not {given!r}.")
        recipe = given if isinstance(given, Recipe) else recipe_from(given, "recipe")
        recipe = recipe.change(data={"unreadable": "refuse"}, split={"test": 0.0})
        for parameter, (section, setting) in SETTINGS.items():
            value = getattr(self, parameter)
            if value is not None:
                plain = value.item() if isinstance(value, np.generic) else value  # a search's grid holds NumPy's types
                recipe = recipe.change(**{section: {setting: plain}})
        return recipe

    def _train(self, table: Table, recipe: Recipe) -> Run:
        """The run, in `out` or a temporary folder that goes with it; nothing is left there where training fails."""
        from tenfold.train import train_model

        if self.out is not None:
            return train_model(table, recipe, Path(self.out))
        folder = tempfile.mkdtemp(prefix="tenfold-")
        try:
            run = train_model(table, recipe, folder)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, Interrupted):  # a search takes an Exception for one failed fit, and begins the next
                raise KeyboardInterrupt("Stopped; the run was in a temporary folder, and is gone.") from error
            raise
        return _kept_while_used(run)

    def __getstate__(self) -> dict[str, Any]:
        """The parameters and, once fitted, the classes and the run's files as bytes."""
        state = dict(super().__getstate__())
        if "run_" in state:
            folder = state.pop("run_").path
            files = sorted(path for path in folder.rglob("*") if path.is_file())
            state["_files"] = {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        from tenfold.run import Run

        files: dict[str, bytes] | None = state.get("_files")
        super().__setstate__({name: value for name, value in state.items() if name != "_files"})
        if files is None:
            return
        folder = Path(tempfile.mkdtemp(prefix="tenfold-"))
        self.run_ = _kept_while_used(Run(folder))
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)

    def __sklearn_tags__(self) -> Any:
        # two_d_array stays true, for a column of paths is two-dimensional. Were it false, scikit-learn would skip all
        # of its checks without a word; the tests run them by name.
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        return tags


class StratifiedGroupSplit(BaseCrossValidator):  # type: ignore[misc]
    """Tenfold's split as a scikit-learn splitter: `n_repeats` times `n_splits` folds, each once what is tested on.

    Groups stay whole, and each fold has its share of each class as well as whole groups allow; without groups, to
    within one sample. What X holds does not matter. Where every sample has a group, the folds do not
    depend on the order of the samples; None, NaN and pandas' NA say that a sample stands alone.

    random_state: the seed, from 0 on. None is 0 and not, as with scikit-learn's own splitters that shuffle, other folds
        each time: two models that are compared by one splitter shall be tested on the same folds.

    >>> from tenfold.sklearn import StratifiedGroupSplit
    >>> classes, plants = [0, 0, 1, 1, 0, 0, 1, 1], [1, 1, 1, 1, 2, 2, 3, 3]
    >>> [test.tolist() for _, test in StratifiedGroupSplit(2).split(classes, classes, plants)]
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """

    # scikit-learn's way to say that groups are for this splitter, where metadata are routed.
    __metadata_request__split: ClassVar[dict[str, bool]] = {"groups": True}

    def __init__(self, n_splits: int = 5, n_repeats: int = 1, random_state: int | None = 0) -> None:
        """Raises UsageError for fewer than 2 folds, fewer than 1 repeat, a negative seed, or anything not whole."""
        _check_whole("n_splits", n_splits, 2, 1_000_000)
        _check_whole("n_repeats", n_repeats, 1, 10_000)
        if random_state is not None:
            _check_whole("random_state", random_state, 0, 2**63 - 1)
        self.n_splits = n_splits
        self.n_repeats = n_repeats
        self.random_state = random_state

    def get_n_splits(self, X: object = None, y: object = None, groups: object = None) -> int:
        """How many splits there are."""
        return self.n_splits * self.n_repeats

    def _iter_test_indices(self, X: Any, y: ArrayLike, groups: Sequence[Any] | None) -> Iterator[NDArray[np.int64]]:
        """The rows that are tested on, split by split: all that scikit-learn's `split` wants to know.

        Raises UsageError where there are fewer groups and single samples than folds.
        """
        classes, codes = _classes_of(y)
        blocks = _blocks_of(groups, len(codes))
        count = int(blocks.max()) + 1
        check_range("n_splits, with this many groups and samples without one,", self.n_splits, 2, count)
        counts, seed = gather_blocks(blocks, codes, count), self.random_state or 0
        for repeat in range(self.n_repeats):
            keys = draw_keys(seed, repeat, np.arange(count, dtype=np.uint64))
            dealt = deal_folds(counts, keys, self.n_splits, len(classes))
            for fold in range(self.n_splits):
                yield np.flatnonzero(dealt[blocks] == fold)


def _kept_while_used(run: Run) -> Run:
    """The run, whose folder is removed with the last reference to it, or when Python ends."""
    weakref.finalize(run, shutil.rmtree, run.path, ignore_errors=True)
    return run


def _check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise UsageError unless it is a whole number, of Python or NumPy, in the range."""
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number from {low} on, not {value!r}.")
    check_range(name, int(value), low, high)


def _classes_of(y: ArrayLike) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The classes of y, sorted [K], and each sample's place among them, int64 [N]; ValueError where y has none."""
    column = column_or_1d(y, warn=True)
    assert_all_finite(column, input_name="y")
    check_classification_targets(column)
    classes, codes = np.unique(column, return_inverse=True)
    return classes, codes.astype(np.int64)


def _blocks_of(groups: Sequence[Any] | None, count: int) -> NDArray[np.int64]:
    """The block of each sample, int64 [N] from 0 to B - 1, in the order of the groups' names."""
    if groups is None:
        return np.arange(count)
    plain = [group.item() if isinstance(group, np.generic) else group for group in groups]
    names = [
        f"row {row}"
        if group is None or group is pd.NA or group != group
        else f"group {type(group).__name__} {group}"  # 1 is not "1"
        for row, group in enumerate(plain)
    ]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _tidy(X: Any) -> ArraySource:
    """X as `read_table` takes it: an array or a list of uint8 images, or a list of paths.

    Raises UsageError for anything else.
    """
    if issparse(X) or isinstance(X, str | os.PathLike):
        came = "one path; put it into a list" if isinstance(X, str | os.PathLike) else "a sparse matrix"
        raise UsageError(f"X must be images or a list of paths of images, not {came}.")
    if not isinstance(X, list | tuple) or not all(isinstance(item, str | os.PathLike | np.ndarray) for item in X):
        X = np.asarray(X)
        if X.dtype.kind in "OUT" and X.shape in ((X.size,), (X.size, 1)):  # paths, or images of different sizes
            X = X.ravel().tolist()
    if len(X) == 0:
        raise UsageError("X must hold at least one image; it is empty.")
    if isinstance(X, np.ndarray):
        _check_shape(X.shape[1:], "each image of X")
        return _pixels(X, "X")
    if all(isinstance(item, str | os.PathLike) for item in X):
        return list(X)
    return [_image(item, f"X[{index}]") for index, item in enumerate(X)]


def _image(image: Any, name: str) -> NDArray[np.uint8]:
    if not isinstance(image, np.ndarray):
        raise UsageError(f"{name} must be an array, as other items of X are, not {image!r}.")
    _check_shape(image.shape, name)
    return _pixels(image, name)


def _check_shape(shape: tuple[int, ...], name: str) -> None:
    if len(shape) not in (2, 3) or 0 in shape or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise UsageError(
            f"Reshape your data: {name} must have the shape [H, W] or [H, W, C] with 1, 3 or 4 channels in the last "
            f"axis, not {list(shape)}; where channels come first, np.moveaxis(X, -3, -1) moves them."
        )


def _pixels(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Integers from 0 to 255, or floats from 0 to 1, as uint8 of the same shape."""
    kind = values.dtype.kind
    if values.dtype == np.uint8:
        return values
    allowed = "integers from 0 to 255 or floats from 0 to 1"
    if kind not in "uif":
        reason = "Complex data not supported: " if kind == "c" else ""
        raise UsageError(f"{reason}{name} must hold {allowed}, not {values.dtype}.")
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise UsageError(f"{name} must hold {allowed}, but holds NaN or inf.")
    white = 1 if kind == "f" else 255
    if low < 0 or high > white:
        reason = "Negative values in data: " if low < 0 else ""
        raise UsageError(f"{reason}{name} must hold {allowed}, and has {values.dtype} from {low:g} to {high:g}.")
    return (values * (255 // white)).round().astype(np.uint8)
