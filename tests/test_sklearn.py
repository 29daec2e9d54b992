"""scikit-learn's own checks, run by name on images; searches and copies; and the splitter beside scikit-learn's."""

from __future__ import annotations

import doctest
import gc
import pickle
import pickletools
import tempfile
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from PIL import Image
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from tenfold.errors import DataError, Interrupted, TrainingError, UsageError
from tenfold.evaluate import evaluate_run
from tenfold.images.content import hashed
from tenfold.images.readers import read_table
from tenfold.recipe import Recipe
from tenfold.sklearn import SETTINGS, ImageClassifier, StratifiedGroupSplit
from tenfold.split import advise_split
from tenfold.split.deal import deal_blocks
from tests.toys import SHAPES, draw_shape, quick_recipe

SMALL = quick_recipe(model={"width": 4}, train={"epochs": 1})


@pytest.fixture(scope="module", autouse=True)
def aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images and temporary runs lie where pytest cleans up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENFOLD_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("runs")))
        yield


def shapes(count: int = 6, size: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """`count` images of each shape, uint8 [N, size, size, 3], and their names."""
    generator = np.random.default_rng(0)
    names = np.array([name for _ in range(count) for name in SHAPES])
    return np.stack([draw_shape(name, generator, size) for name in names]), names


X, Y = shapes()


def small(**settings: Any) -> ImageClassifier:
    return ImageClassifier(**{"recipe": SMALL, **settings})


# ---------------------------------------------------------------------------------------- scikit-learn's checks


class RowClassifier(ImageClassifier):
    """Images for checks that bring tables: each row of d numbers is an image [1, d].

    The numbers are pressed between -1 and 1, their sign kept, NaN and infinity too: what of them is allowed is for
    ImageClassifier to say. Only how many there are in a row is held to here, since images may have any size.
    """

    def fit(self, X: Any, y: Any) -> RowClassifier:
        images = self._images(X)
        self.columns_ = images.shape[-1]
        return super().fit(images, y)

    def predict_proba(self, X: Any) -> np.ndarray:
        images = self._images(X)
        if hasattr(self, "columns_") and images.shape[-1] != self.columns_:
            raise ValueError(f"{self.columns_} numbers a row were fitted, not {images.shape[-1]}.")
        return super().predict_proba(images)

    def _images(self, X: Any) -> Any:
        if hasattr(X, "toarray"):
            return X
        rows = np.asarray(X)
        if rows.ndim != 2 or rows.dtype.kind not in "uif":
            return rows
        with np.errstate(invalid="ignore"):  # infinity by infinity
            return np.where(np.isinf(rows), rows, rows / (1 + np.abs(rows)))[:, None, :]


STILL = {"policy": "none"}
ROWS = SMALL.change(image={"fit": "squash"}, augment=STILL)  # a crop or a mirror image of a row is another row

CHECKS: dict[str, dict[str, Any]] = {  # name -> settings that it needs
    "check_classifier_data_not_an_array": {},
    "check_classifiers_classes": {},
    "check_classifiers_one_label": {},
    "check_classifiers_regression_target": {},
    "check_classifiers_train": {"epochs": 5, "lr": 0.05, "batch_size": 16},  # wants 83 % right
    "check_complex_data": {},
    "check_dict_unchanged": {},
    "check_do_not_raise_errors_in_init_or_set_params": {},
    "check_dont_overwrite_parameters": {},
    "check_estimator_cloneable": {},
    "check_estimator_repr": {},
    "check_estimator_sparse_array": {},
    "check_estimator_sparse_matrix": {},
    "check_estimator_sparse_tag": {},
    "check_estimator_tags_renamed": {},
    "check_estimators_dtypes": {},
    "check_estimators_fit_returns_self": {},
    "check_estimators_nan_inf": {},
    "check_estimators_overwrite_params": {},
    "check_estimators_pickle": {},
    "check_estimators_unfitted": {},
    "check_f_contiguous_array_estimator": {},
    "check_fit1d": {},
    "check_fit2d_1feature": {},
    "check_fit2d_1sample": {},
    "check_fit2d_predict1d": {},
    "check_fit_check_is_fitted": {},
    "check_fit_idempotent": {},
    "check_fit_non_negative": {},
    "check_fit_score_takes_y": {},
    "check_get_params_invariance": {},
    "check_methods_sample_order_invariance": {},
    "check_methods_subset_invariance": {},
    "check_mixin_order": {},
    "check_no_attributes_set_in_init": {},
    "check_parameters_default_constructible": {},
    "check_pipeline_consistency": {},
    "check_positive_only_tag_during_fit": {},
    "check_readonly_memmap_input": {},
    "check_requires_y_none": {},
    "check_set_params": {},
    "check_supervised_y_2d": {},
    "check_supervised_y_no_nan": {},
    "check_valid_tag_types": {},
    "check_array_api_input": {},
}

NOT_FOR_IMAGES = {
    "check_classifiers_one_label_sample_weights": "there is no sample_weight",
    "check_dtype_object": "an array of objects holds paths, or images of different sizes, not numbers",
    "check_estimators_empty_data_messages": "wants the words '0 feature(s)'; images have none",
    "check_estimators_partial_fit_n_features": "there is no partial_fit: a training has a beginning and an end",
    "check_n_features_in": "images have no number of features: their sizes may differ",
    "check_n_features_in_after_fitting": "images have no number of features: their sizes may differ",
    "check_non_transformer_estimators_n_iter": "there is no max_iter, and so no n_iter_: run_.history has the epochs",
    "check_decision_proba_consistency": "there is no decision_function",
}


def checks_of(name: str) -> list[Any]:
    """All forms of one check that this scikit-learn runs on a classifier of tables."""
    estimator = RowClassifier(recipe=ROWS, **CHECKS[name])
    every = estimator_checks.estimator_checks_generator(estimator)
    return [check for _, check in every if estimator_checks._check_name(check) == name]


@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learns_check_passes(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")  # else check_array_api_input skips itself
    forms = checks_of(name)
    if not forms:
        pytest.skip(f"scikit-learn {sklearn.__version__} has no such check")
    for check in forms:
        check(RowClassifier(recipe=ROWS, **CHECKS[name]))


def test_every_check_of_scikit_learn_is_run_or_has_its_reason():
    every = estimator_checks.estimator_checks_generator(RowClassifier())
    known = {estimator_checks._check_name(check) for _, check in every}
    assert len(known) > 40
    assert known <= {*CHECKS, *NOT_FOR_IMAGES}
    assert not set(CHECKS) & set(NOT_FOR_IMAGES)


# ---------------------------------------------------------------------------------------- the classifier


def test_it_learns_and_gives_what_the_run_gives():
    images, names = shapes(20)
    test, labels = shapes(40)[0][60:], shapes(40)[1][60:]
    classifier = ImageClassifier(epochs=20, lr=0.08, random_state=3, recipe=SMALL).fit(images, names)
    assert classifier.score(test, labels) > 0.8
    expected = [prediction["probability"] for prediction in classifier.run_.predict(test)]
    np.testing.assert_array_equal(classifier.predict_proba(test), expected)
    evaluation = evaluate_run(classifier.run_, "validation")
    assert evaluation.n == len(classifier.run_.table.part("validation")) == 9
    assert evaluation.figures["accuracy"].low > 0


def test_the_columns_are_the_classes_as_scikit_learn_sorts_them():
    names = np.array(["b10", "b2", "a"])[np.arange(len(X)) % 3]
    classifier = small().fit(X, names)
    assert classifier.classes_.tolist() == ["a", "b10", "b2"] == list(classifier.run_.classes)
    best = classifier.predict_proba(X).argmax(1)
    np.testing.assert_array_equal(classifier.predict(X), np.array(["a", "b10", "b2"])[best])
    for labels in (np.arange(len(X)) % 3 - 1, np.arange(len(X)) % 3 * 2.0, np.arange(len(X)) % 2 == 0):
        fitted = small().fit(X, labels)
        np.testing.assert_array_equal(fitted.classes_, np.unique(labels))
        assert fitted.predict(X).dtype == labels.dtype
        assert list(fitted.run_.classes) == [str(value) for value in np.unique(labels)]


def test_an_image_may_come_in_any_form(tmp_path: Path):
    paths = [tmp_path / f"{row}.png" for row in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(image).save(path)
    forms: dict[str, Any] = {
        "float32": (X / 255).astype(np.float32),
        "float64": X / 255,
        "int64": X.astype(np.int64),
        "nested lists": X.tolist(),
        "list": list(X),
        "tuple of floats": tuple(X / 255),
        "objects": np.array([*X, None], object)[:-1],
        "Fortran": np.asfortranarray(X),
        "paths": paths,
        "texts": [str(path) for path in paths],
        "array of texts": np.array(list(map(str, paths))),
        "series": pd.Series(list(map(str, paths))),
        "column": pd.DataFrame({"path": list(map(str, paths))}),
    }
    expected = small().fit(X, Y)
    for name, images in forms.items():
        np.testing.assert_array_equal(expected.predict_proba(images), expected.predict_proba(X), err_msg=name)
    fitted = small().fit(paths, Y)
    trained = fitted.run_.table.samples["source"]
    assert trained.tolist() == list(map(str, paths))
    np.testing.assert_allclose(fitted.predict_proba(paths).sum(1), 1)


def test_sizes_and_channels_may_differ():
    images = [image[: 10 + row % 5, :, 0] if row % 2 else image for row, image in enumerate(X)]
    probability = small(validation=0).fit(images, Y).predict_proba([X[0], X[1][:, :, 0], X[2][:7]])
    assert probability.shape == (3, 3)


REFUSED: dict[str, tuple[Any, str]] = {
    "one path": ("a.png", "one path; put it into a list"),
    "sparse": (csr_array(np.eye(4)), "not a sparse matrix"),
    "empty": ([], "at least one image"),
    "table": (np.zeros((4, 5)), r"Reshape your data: each image of X .* not \[5\]"),
    "channels first": (
        np.zeros((4, 3, 8, 8)),
        r"last axis, not \[3, 8, 8\]; where channels come first",
    ),
    "no pixel": (np.zeros((4, 0, 8)), "Reshape"),
    "one of them": ([X[0], X[1], X[2], np.zeros(3)], r"X\[3\] must have the shape"),
    "mixed": ([X[0], X[1], X[2], "a.png"], r"X\[3\] must be an array"),
    "brighter than white": (X[:4].astype(float), "floats from 0 to 1, and has float64 from"),
    "16 bits": (X[:4].astype(np.uint16) * 255, "integers from 0 to 255 or floats from 0 to 1, and has uint16"),
    "negative": (-(X[:4] / 255), "Negative values in data"),
    "bool": (X[:4] > 100, "not bool"),
    "complex": (X[:4] * 1j, "Complex data not supported"),
    "NaN": (np.full((4, 8, 8), np.nan), "NaN or inf"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused_in_one_sentence(name: str):
    images, sentence = REFUSED[name]
    with pytest.raises(UsageError, match=sentence):
        small().fit(images, [0, 1, 0, 1])


def test_other_refusals(tmp_path: Path):
    for settings, sentence in (
        ({"epochs": -1}, "train.epochs must be from 0"),
        ({"model": "plane"}, "did you mean 'plain'"),
        ({"random_state": np.random.RandomState(0)}, "train.seed must be int"),
        ({"validation": 1.0}, "split.validation must be"),
        ({"recipe": {"train": {"epoch": 3}}}, "did you mean 'epochs'"),
        ({"recipe": "recipe.toml"}, "recipe must be a Recipe or a dictionary"),
        ({"out": Path(__file__).parent}, "out must be a new or empty folder"),
    ):
        with pytest.raises(UsageError, match=sentence):
            small(**settings).fit(X, Y)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        small().fit(X, Y[:-1])
    with pytest.raises(UsageError, match="groups must have one value for each"):
        small().fit(X, Y, groups=[1, 2])
    with pytest.raises(UsageError, match="at least two classes, and holds one class, 0"):
        small().fit(X, np.zeros(len(X), int))
    with pytest.raises(NotFittedError):
        small().predict(X)
    with pytest.raises(DataError, match=r"no\.png"):
        small().fit([tmp_path / "no.png"] * 4, [0, 1, 0, 1])
    with pytest.raises(DataError, match=r"no\.png"):
        small().fit(X, Y).predict([tmp_path / "no.png"])


def test_settings_go_into_the_recipe_and_the_rest_comes_from_it():
    assert set(SETTINGS) | {"recipe", "out"} == set(ImageClassifier().get_params())
    other = {
        "model": "residual",
        "size": np.int64(24),
        "epochs": 2,
        "minutes": 1,
        "batch_size": 4,
        "lr": np.float32(0.5),
    }
    for given in (SMALL, {"train": {"clip": 3.0}, "model": {"hidden": [4]}}, None):
        recipe = ImageClassifier(**other, random_state=7, validation=0.25, recipe=given)._full_recipe()
        assert (recipe.model.name, recipe.image.size, recipe.split.validation) == ("residual", 24, 0.25)
        train = recipe.train
        assert (train.epochs, train.minutes, train.batch_size, train.lr, train.seed) == (2, 1, 4, 0.5, 7)
    kept = small()._full_recipe()
    assert kept == SMALL.change(data={"unreadable": "refuse"}, split={"validation": 0.15, "test": 0.0})
    assert ImageClassifier(recipe={"train": {"clip": 3.0}})._full_recipe().train.clip == 3
    assert Recipe().change(train={"seed": 0}).train == ImageClassifier()._full_recipe().train


def test_a_share_that_nobody_names_is_advised():
    advised = advise_split(hashed(read_table(X, labels=Y.tolist())), test=0.0).validation
    run = small(validation=None).fit(X, Y).run_
    assert run.recipe.split.validation == advised > 0
    counts = run.table.samples["part"].value_counts()
    assert counts["validation"] == pytest.approx(advised * len(X), abs=len(SHAPES) / 2)
    named = small(validation=None, recipe=SMALL.change(split={"validation": 0.5})).fit(X, Y).run_
    assert (named.table.samples["part"] == "validation").sum() == len(X) / 2


def test_validation_keeps_groups_whole_or_takes_nothing():
    groups = [f"plant {row // 6}" if row < 12 else None for row in range(len(X))]
    table = small(validation=0.3).fit(X, Y, groups).run_.table
    parts = table.samples.assign(group=groups)
    assert (parts.groupby("group")["part"].nunique() == 1).all()
    assert set(parts["part"]) == {"train", "validation"}
    whole = small(validation=0).fit(X, Y)
    assert set(whole.run_.table.samples["part"]) == {"train"}
    assert whole.run_.calibration == {}
    first, second = (small(random_state=seed).fit(X, Y) for seed in (1, 2))
    assert not np.array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(first.predict_proba(X), clone(first).fit(X, Y).predict_proba(X))


def test_searches_pipelines_and_groups_of_a_cross_validation(tmp_path: Path):
    paths = [str(tmp_path / f"{row}.png") for row in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(image).save(path)
    groups = np.arange(len(X)) // 3
    scores = cross_val_score(small(), paths, Y, groups=groups, cv=StratifiedGroupSplit(3), error_score="raise")
    assert scores.shape == (3,)
    ragged = [image[: 12 + row % 4] for row, image in enumerate(X)]
    found = cross_validate(
        small(validation=0.3), ragged, Y, cv=2, params={"groups": groups}, return_estimator=True, return_indices=True
    )
    for fitted, train in zip(found["estimator"], found["indices"]["train"], strict=True):
        assert fitted.run_.table.samples["group"].tolist() == [str(group) for group in groups[train]]
    steps = make_pipeline(FunctionTransformer(lambda images: images[:, ::2, ::2]), small())
    grid = {"imageclassifier__lr": np.array([1e-3, 1e-2]), "imageclassifier__epochs": np.array([1])}
    search = GridSearchCV(steps, grid, cv=2, error_score="raise").fit(X, Y)
    assert search.best_estimator_[-1].run_.recipe.train.lr in grid["imageclassifier__lr"]
    assert search.predict(X).shape == Y.shape


def test_splitter_and_fit_get_groups_by_routing():
    groups = np.arange(len(X)) // 3
    with sklearn.config_context(enable_metadata_routing=True):
        classifier = small().set_fit_request(groups=True)
        asked = {"cv": StratifiedGroupSplit(2), "params": {"groups": groups}}
        found = cross_validate(classifier, X, Y, **asked, return_estimator=True, return_indices=True)
    for fitted, train, test in zip(found["estimator"], *found["indices"].values(), strict=True):
        assert not set(groups[train]) & set(groups[test])
        assert fitted.run_.table.samples["group"].tolist() == [str(group) for group in groups[train]]


# ---------------------------------------------------------------------------------------- the run's folder, copies


def folders() -> set[Path]:
    gc.collect()
    return set(Path(tempfile.gettempdir()).glob("tenfold-*"))


def test_the_temporary_run_lives_as_long_as_it_is_used():
    before = folders()
    classifier = small().fit(X, Y)
    run, first = classifier.run_, classifier.run_.path
    classifier.fit(X, Y)
    assert folders() - before == {first, classifier.run_.path}
    assert len(run.predict(X)) == len(X)
    del run
    assert folders() - before == {classifier.run_.path}
    del classifier
    assert folders() == before


def test_a_copy_has_its_own_files_and_needs_no_torch_object():
    before = folders()
    classifier = small().fit(X, Y)
    expected = classifier.predict_proba(X)
    text = pickle.dumps(classifier)
    named = {str(argument) for opcode, argument, _ in pickletools.genops(text) if "UNICODE" in opcode.name}
    assert not [name for name in named if name.split(".")[0] == "torch"]
    assert {"model.safetensors", "model.json"} <= named
    copies = [pickle.loads(text), deepcopy(classifier)]
    assert len({fitted.run_.path for fitted in [classifier, *copies]}) == 3
    del classifier
    for copied in copies:
        np.testing.assert_array_equal(copied.predict_proba(X), expected)
        assert copied.classes_.tolist() == sorted(SHAPES)
        assert copied.run_.history["epoch"].tolist() == [1]
    del copies, copied
    assert folders() == before
    assert not hasattr(pickle.loads(pickle.dumps(small())), "run_")


def test_a_named_folder_is_kept_and_never_written_twice(tmp_path: Path):
    classifier = small(out=tmp_path / "run").fit(X, Y)
    assert classifier.run_.path == tmp_path / "run"
    with pytest.raises(UsageError, match="out must be a new folder"):
        classifier.fit(X, Y)
    copied = pickle.loads(pickle.dumps(classifier))
    del classifier
    gc.collect()
    assert (tmp_path / "run" / "model.safetensors").is_file()
    assert copied.run_.path != tmp_path / "run"


@pytest.mark.parametrize(
    ("raised", "expected"), [(Interrupted("Stopped"), KeyboardInterrupt), (TrainingError("No"), TrainingError)]
)
def test_a_training_that_fails_leaves_nothing_and_ctrl_c_ends_a_search(
    monkeypatch: pytest.MonkeyPatch, raised: Exception, expected: type[BaseException]
):
    def fail(table: object, recipe: object, folder: str) -> None:
        (Path(folder) / "recipe.toml").write_text("")
        raise raised

    before = folders()
    monkeypatch.setattr("tenfold.train.train_model", fail)
    with pytest.raises(expected):
        cross_val_score(small(), X, Y, cv=2, error_score="raise" if expected is TrainingError else np.nan)
    assert folders() == before


def test_the_examples_say_what_they_say():
    for thing in (ImageClassifier, StratifiedGroupSplit):
        [example] = doctest.DocTestFinder(recurse=False).find(thing, thing.__name__, globs={})
        tried = doctest.DocTestRunner(verbose=False).run(example)
        assert tried.attempted > 0
        assert not tried.failed


# ---------------------------------------------------------------------------------------- the splitter


def grouped(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes and groups: some groups of one class, some of several, sizes uneven."""
    generator = np.random.default_rng(seed)
    classes = generator.integers(2, 6)
    sizes = generator.geometric(1 / generator.integers(2, 9), generator.integers(20, 120))
    shares = generator.dirichlet(np.full(classes, 0.5), len(sizes))
    groups = np.repeat(np.arange(len(sizes)), sizes)
    return np.array([generator.choice(classes, p=shares[group]) for group in groups]), groups


def unevenness(splitter: Any, y: np.ndarray, groups: np.ndarray) -> float:
    """The standard deviation over folds of the share of a class that a fold has, mean over the classes."""
    folds = [test for _, test in splitter.split(y, y, groups)]
    counts = np.array([np.bincount(y[test], minlength=y.max() + 1) for test in folds])
    used = counts.sum(0) > 0
    return float((counts[:, used] / counts[:, used].sum(0)).std(0).mean())


def test_folds_are_as_even_as_those_of_scikit_learn_and_groups_never_cross():
    ours, theirs = [], []
    for seed in range(40):
        y, groups = grouped(seed)
        splitter = StratifiedGroupSplit(5, random_state=seed)
        tested = np.zeros(len(y), int)
        for train, test in splitter.split(y, y, groups):
            assert not set(groups[train]) & set(groups[test])
            assert sorted([*train, *test]) == list(range(len(y)))
            tested[test] += 1
        assert (tested == 1).all()
        ours.append(unevenness(splitter, y, groups))
        theirs.append(unevenness(StratifiedGroupKFold(5, shuffle=True, random_state=seed), y, groups))
    assert np.mean(ours) <= 0.9 * np.mean(theirs)
    assert np.mean(np.array(ours) <= np.array(theirs)) >= 0.75


def even_shares_alone(blocks, keys, folds, classes):
    return deal_blocks(blocks, keys, np.full(folds, 1 / folds), np.zeros((folds, classes), np.int64))


def test_no_fold_is_empty_where_few_groups_hold_many_classes():
    generator = np.random.default_rng(0)
    repaired = 0
    for seed in range(200):
        sizes = generator.integers(1, 60, generator.integers(2, 9))
        groups = np.repeat(np.arange(len(sizes)), sizes)
        y = np.where(generator.random(len(groups)) < 0.3, generator.integers(0, 4, len(groups)), groups % 4)
        splits = StratifiedGroupSplit(int(generator.integers(2, len(sizes) + 1)), random_state=seed)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tenfold.sklearn.deal_folds", even_shares_alone)
            repaired += any(len(test) == 0 for _, test in splits.split(y, y, groups))
        tests = [test for _, test in splits.split(y, y, groups)]
        assert min(map(len, tests)) > 0
        assert sorted(np.concatenate(tests)) == list(range(len(y)))
    assert repaired  # else this test shows nothing


def test_folds_are_repeatable_and_repeats_differ():
    y, groups = grouped(1)
    splitter = StratifiedGroupSplit(4, n_repeats=2, random_state=5)
    assert splitter.get_n_splits() == 8
    assert repr(splitter) == "StratifiedGroupSplit(n_repeats=2, n_splits=4, random_state=5)"
    first, again = ([test.tolist() for _, test in splitter.split(y, y, groups)] for _ in range(2))
    assert first == again
    assert first[:4] != first[4:]
    other = [test.tolist() for _, test in StratifiedGroupSplit(4, random_state=6).split(y, y, groups)]
    assert other != first[:4]
    order = np.random.default_rng(0).permutation(len(y))
    moved = [sorted(order[test].tolist()) for _, test in splitter.split(y, y[order], groups[order])]
    assert moved == first


def test_without_groups_each_class_is_dealt_to_within_one():
    y = np.array(["a"] * 13 + ["b"] * 50 + ["c"] * 7)
    folds = [test for _, test in StratifiedGroupSplit(5).split(np.zeros(len(y)), y)]
    for name, count in zip(*np.unique(y, return_counts=True), strict=True):
        found = [(y[test] == name).sum() for test in folds]
        assert min(found) == count // 5
        assert max(found) == -(-count // 5)
    alone = [test.tolist() for _, test in StratifiedGroupSplit(5).split(y, y, [None] * len(y))]
    assert [len(set(test)) for test in alone] == [14] * 5
    pairs = [f"pair {row // 2}" if row < 60 else np.nan for row in range(len(y))]
    expected = [test.tolist() for _, test in StratifiedGroupSplit(5).split(y, y, pairs)]
    assert all((row ^ 1) in test for test in expected for row in test if row < 60)
    for groups in (pairs[:60] + [pd.NA] * 10, pd.Series(pairs, dtype="string"), pairs[:60] + [None] * 10):
        assert [test.tolist() for _, test in StratifiedGroupSplit(5).split(y, y, groups)] == expected


def test_no_seed_is_a_fixed_one():
    y, groups = grouped(1)
    chosen, usual = (StratifiedGroupSplit(4, random_state=seed).split(y, y, groups) for seed in (None, 0))
    assert [test.tolist() for _, test in chosen] == [test.tolist() for _, test in usual]
    assert StratifiedGroupSplit(random_state=None).random_state is None
    assert StratifiedGroupSplit(np.int64(3), np.int32(2)).get_n_splits() == 6


def test_groups_of_one_name_and_several_types_are_several():
    groups = [1, "1", np.int64(1), np.str_("1"), 2, "2", 1.5, "1.5"]
    y = [0, 1] * 4
    tests = [test.tolist() for _, test in StratifiedGroupSplit(6).split(y, y, groups)]
    assert sorted(tests) == [[0, 2], [1, 3], [4], [5], [6], [7]]


def test_a_splitter_refuses():
    for settings, sentence in (
        ({"n_splits": 1}, "n_splits must be from 2"),
        ({"n_repeats": 0}, "n_repeats must be from 1"),
        ({"random_state": -1}, "random_state must be from 0"),
        ({"n_splits": 2.5}, r"n_splits must be a whole number from 2 on, not 2\.5"),
        ({"n_splits": None}, "n_splits must be a whole number"),
        ({"n_repeats": "2"}, "n_repeats must be a whole number from 1 on, not '2'"),
        ({"n_repeats": True}, "n_repeats must be a whole number"),
        ({"random_state": np.random.RandomState(0)}, "random_state must be a whole number from 0"),
    ):
        with pytest.raises(UsageError, match=sentence):
            StratifiedGroupSplit(**settings)
    with pytest.raises(UsageError, match=r"n_splits, .* must be from 2 to 2, not 3"):
        list(StratifiedGroupSplit(3).split(np.zeros(4), [0, 1, 0, 1], [1, 1, 2, 2]))
    with pytest.raises(ValueError, match="continuous"):
        list(StratifiedGroupSplit(2).split(np.zeros(4), [0.1, 1.2, 0.3, 1.5]))
