"""Keras' own `fit`, `evaluate` and `predict` on the iterators of `tenfold.keras`."""

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import tenfold.keras as ours

pytestmark = pytest.mark.filterwarnings("ignore")  # what Keras and PyTorch warn of is not ours

COUNT, SHAPE = 11, (8, 8, 3)


@pytest.fixture(scope="module")
def keras(theirs: ModuleType) -> ModuleType:
    """Imported already, with PyTorch below it."""
    return sys.modules["keras"]


@pytest.fixture(scope="module")
def model(keras: ModuleType) -> Any:
    layers = [keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=["accuracy"], jit_compile=False)
    return model


IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, *SHAPE), np.uint8)
LABELS = np.arange(COUNT) % 2
GENERATOR = ours.ImageDataGenerator(rescale=1 / 255)


def test_a_model_learns_from_an_iterator(keras, model):
    generator = ours.ImageDataGenerator(rotation_range=20, horizontal_flip=True, rescale=1 / 255)
    flow = generator.flow(IMAGES, LABELS, batch_size=4)
    assert isinstance(flow, ours.NumpyArrayIterator)
    assert isinstance(flow, keras.utils.PyDataset)
    steps = []
    count = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: steps.append(batch))
    checked = GENERATOR.flow(IMAGES, LABELS, shuffle=False)
    history = model.fit(flow, epochs=2, validation_data=checked, callbacks=[count], verbose=0)
    assert steps == [0, 1, 2] * 2  # an epoch is all images, the last batch a smaller one
    assert len(history.history["val_loss"]) == 2


def test_an_iterator_gives_a_model_what_arrays_give_it(model):
    weights = np.arange(COUNT) + 1.0
    flow = GENERATOR.flow(IMAGES, LABELS, batch_size=4, shuffle=False)
    np.testing.assert_allclose(model.predict(flow, verbose=0), model.predict(IMAGES / 255, verbose=0), atol=1e-5)
    flow = GENERATOR.flow(IMAGES, LABELS, batch_size=COUNT, shuffle=True, sample_weight=weights)
    expected = model.evaluate(IMAGES / 255, LABELS, sample_weight=weights, batch_size=COUNT, verbose=0)
    np.testing.assert_allclose(model.evaluate(flow, verbose=0), expected, rtol=1e-4)


def test_iterators_of_files_do_it_too(keras, model, tmp_path):
    for number, image in enumerate(IMAGES):
        (tmp_path / str(LABELS[number])).mkdir(exist_ok=True)
        ours.save_img(tmp_path / str(LABELS[number]) / f"{number:02}.png", image, scale=False)
    names = [f"{label}/{number:02}.png" for number, label in enumerate(LABELS)]
    table = pd.DataFrame({"filename": names, "class": LABELS.astype(str)})
    given = {"target_size": SHAPE[:2], "class_mode": "sparse", "batch_size": 4, "shuffle": False}
    of_table = GENERATOR.flow_from_dataframe(table, tmp_path, **given)
    of_folder = GENERATOR.flow_from_directory(tmp_path, **given)
    expected = model.predict(IMAGES / 255, verbose=0)
    np.testing.assert_allclose(model.predict(of_table, verbose=0), expected, atol=1e-5)
    np.testing.assert_allclose(
        model.predict(of_folder, verbose=0), expected[np.argsort(LABELS, kind="stable")], atol=1e-5
    )
    for flow in (of_table, of_folder):
        assert isinstance(flow, keras.utils.PyDataset)
        assert len(model.fit(flow, verbose=0).history["loss"]) == 1


def test_without_keras_an_iterator_is_nothing_else(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    assert type(GENERATOR.flow(IMAGES)) is ours.NumpyArrayIterator
    assert GENERATOR.flow(IMAGES)[0].shape == IMAGES.shape


def test_a_subclass_that_is_a_keras_dataset_already_stays_what_it_is(keras):
    class Own(ours.NumpyArrayIterator, keras.utils.PyDataset):
        pass

    flow = Own(IMAGES, LABELS, GENERATOR)
    assert type(flow) is Own
    assert flow.workers == 1
