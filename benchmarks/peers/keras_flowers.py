"""Keras 3 from images on disk to a trained model: a contender of benchmarks/flowers_scratch.py.

    python benchmarks/peers/keras_flowers.py --data flowers --split flowers.split.csv --epochs 8 --out result.json

Network `own` is the small Xception of Keras' example "Image classification from scratch"
(https://keras.io/examples/vision/image_classification_from_scratch/), by one of three recipes: the example's own
settings, a tuned optimizer and schedule, and the same for the narrower entry that the example had before 2023.
Network `same` is Tenfold's residual network, written in Keras layers.

Data loading is Keras' own: `image_dataset_from_directory` over folders of links to the images of each part, kept in
memory after the first epoch, augmented by Keras' layers in parallel. The backend is TensorFlow, by far the fastest of
the three on a CPU (measured: see README.md beside this file).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import tensorflow as tf
from job import PARTS, Answer, Job, read_job, write_answer
from keras import layers

PACKAGES = ("keras", "tensorflow-cpu", "numpy")


@dataclass(frozen=True)
class Recipe:
    """What is tuned."""

    lr: float
    schedule: bool = True
    """AdamW, warm-up, a cosine, smooth labels and a zoom; else Adam at one rate, as the example has it."""
    stem: tuple[int, ...] = (128,)
    """Channels of the convolutions at the entry; only the first one halves the maps."""
    stages: tuple[int, ...] = (256, 512, 728)


RECIPES = {
    "example": Recipe(lr=3e-4, schedule=False),
    "cosine": Recipe(lr=1e-3),
    "narrow": Recipe(lr=2e-3, stem=(32, 64), stages=(128, 256, 512, 728)),
}
PLAIN = Recipe(lr=2e-3)
"""For the same network without augmentation, where only time is compared."""


class Stopwatch(keras.callbacks.Callback):  # type: ignore[misc]
    """Seconds of each epoch, validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def main() -> None:
    job, packages = read_job(tuple(RECIPES), PACKAGES)
    recipe = RECIPES[job.recipe] if job.network == "own" else PLAIN
    keras.utils.set_random_seed(job.seed)
    if job.precision == "bfloat16":
        keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    with tempfile.TemporaryDirectory() as folder:
        link_images(job, Path(folder))
        data = {part: read_images(job, Path(folder) / part) for part in PARTS}
        training = feed(job, recipe, data["train"])
        validation = data["validation"].batch(job.batch_size).cache().prefetch(tf.data.AUTOTUNE)
        network = make_network(job, recipe)
        stopwatch = Stopwatch()
        network.fit(training, epochs=job.epochs, validation_data=validation, callbacks=[stopwatch], verbose=0)
        network.save(job.out.with_suffix(".keras"))
        answer = Answer(
            parameters=sum(int(keras.ops.size(weight)) for weight in network.trainable_weights),
            total_seconds=time.time() - job.started,
            train_seconds=sum(stopwatch.seconds),
            seconds_per_epoch=stopwatch.seconds[-1],
            validation_accuracy=network.evaluate(validation, verbose=0, return_dict=True)["accuracy"],
            test_accuracy=None if job.sealed else _test(job, network, data["test"]),
        )
    write_answer("keras", job, packages, answer)


def link_images(job: Job, folder: Path) -> None:
    """Folders part/class/ of links to the images, as `image_dataset_from_directory` wants them."""
    for part in PARTS:
        for label in job.classes:
            (folder / part / label).mkdir(parents=True)
        for number, sample in enumerate(job.samples[part]):
            link = folder / part / sample.label / f"{number:06}{Path(sample.path).suffix}"
            link.symlink_to(sample.path)


def read_images(job: Job, folder: Path) -> tf.data.Dataset:
    """(image float32 [size, size, 3], label one-hot [K]) one by one, in the order of the files."""
    return keras.utils.image_dataset_from_directory(
        folder,
        label_mode="categorical",
        class_names=job.classes,
        batch_size=None,
        image_size=(job.size, job.size),
        shuffle=False,
        crop_to_aspect_ratio=True,
        verbose=False,
    )


def feed(job: Job, recipe: Recipe, images: tf.data.Dataset) -> tf.data.Dataset:
    """Decoded once, then shuffled, put into batches and augmented anew in each epoch."""
    count = len(job.samples["train"])
    batches = images.cache().shuffle(count, seed=job.seed).batch(job.batch_size)
    if job.augment:
        augment = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.1)])
        if recipe.schedule:
            augment.add(layers.RandomZoom(0.2))
        batches = batches.map(lambda image, label: (augment(image, training=True), label), tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE)


def make_network(job: Job, recipe: Recipe) -> keras.Model:
    """The network, compiled with its loss and optimizer."""
    images = keras.Input((job.size, job.size, 3))
    maps = layers.Rescaling(1 / 255)(images)
    features = _residual(maps, job.size) if job.network == "same" else _xception(maps, recipe)
    logits = layers.Dense(len(job.classes), dtype="float32")(features)
    network = keras.Model(images, logits)
    steps = job.epochs * -(-len(job.samples["train"]) // job.batch_size)
    network.compile(
        optimizer=make_optimizer(recipe, steps),
        loss=keras.losses.CategoricalCrossentropy(
            from_logits=True, label_smoothing=0.1 if recipe.schedule and job.augment else 0.0
        ),
        metrics=["accuracy"],
        jit_compile=False,  # measured: XLA is six times slower here
    )
    return network


def make_optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Adam at one rate, or AdamW that warms up over a fifth of the steps and then follows a cosine to zero."""
    if not recipe.schedule:
        return keras.optimizers.Adam(recipe.lr)
    warmup = max(1, steps // 5)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.lr / 25, max(1, steps - warmup), warmup_target=recipe.lr, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=0.05)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _xception(maps: Any, recipe: Recipe) -> Any:
    """Entry, then stages of two separable convolutions with a short cut, each halving the maps."""
    for place, channels in enumerate(recipe.stem):
        maps = _norm_relu(layers.Conv2D(channels, 3, strides=1 if place else 2, padding="same")(maps))
    for channels in recipe.stages:
        inner = maps
        for _ in range(2):
            inner = layers.SeparableConv2D(channels, 3, padding="same")(layers.Activation("relu")(inner))
            inner = layers.BatchNormalization()(inner)
        inner = layers.MaxPooling2D(3, strides=2, padding="same")(inner)
        maps = layers.add([inner, layers.Conv2D(channels, 1, strides=2, padding="same")(maps)])
    maps = _norm_relu(layers.SeparableConv2D(1024, 3, padding="same")(maps))
    return layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(maps))


def _residual(maps: Any, size: int, width: int = 32, stages: Sequence[int] = (1, 2, 4, 8)) -> Any:
    """The shapes and the arithmetic of tenfold.models.residual, one block a stage."""
    maps = _norm_relu(_convolution(maps, width, 3, 2 if size >= 72 else 1))
    for place, factor in enumerate(stages):
        channels, stride = width * factor, 2 if place else 1
        inner = _norm_relu(_convolution(maps, channels, 3, stride))
        inner = layers.BatchNormalization(gamma_initializer="zeros")(_convolution(inner, channels, 3, 1))
        if place:
            maps = _convolution(layers.AveragePooling2D(2, padding="same")(maps), channels, 1, 1)
            maps = layers.BatchNormalization()(maps)
        maps = layers.Activation("relu")(layers.add([maps, inner]))
    return layers.GlobalAveragePooling2D()(maps)


def _convolution(maps: Any, channels: int, side: int, stride: int) -> Any:
    return layers.Conv2D(
        channels, side, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(maps)


def _norm_relu(maps: Any) -> Any:
    return layers.Activation("relu")(layers.BatchNormalization()(maps))


def _test(job: Job, network: keras.Model, images: tf.data.Dataset) -> float:
    found: float = network.evaluate(images.batch(job.batch_size), verbose=0, return_dict=True)["accuracy"]
    return found


if __name__ == "__main__":
    main()
