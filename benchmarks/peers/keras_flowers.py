r"""Keras 3 from images on disk to a trained model: a contender of benchmarks/flowers_scratch.py.

    python benchmarks/peers/keras_flowers.py --data flowers --split flowers.split.csv --epochs 8 \
        --out result.json --started $(date +%s)

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
    momentum: float = 0.9
    """Of the running means of batch normalization; Keras' default of 0.99 lags in trainings of a few hundred steps."""


RECIPES = {
    "example": Recipe(lr=3e-4, schedule=False, momentum=0.99),
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
    job = read_job(tuple(RECIPES))
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
    write_answer("keras", job, PACKAGES, answer)


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
    features = _residual(maps, recipe, job.size) if job.network == "same" else _xception(maps, recipe)
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
        maps = layers.Conv2D(channels, 3, strides=1 if place else 2, padding="same")(maps)
        maps = layers.Activation("relu")(_norm(maps, recipe))
    for channels in recipe.stages:
        inner = maps
        for _ in range(2):
            inner = layers.SeparableConv2D(channels, 3, padding="same")(layers.Activation("relu")(inner))
            inner = _norm(inner, recipe)
        inner = layers.MaxPooling2D(3, strides=2, padding="same")(inner)
        maps = layers.add([inner, layers.Conv2D(channels, 1, strides=2, padding="same")(maps)])
    maps = layers.Activation("relu")(_norm(layers.SeparableConv2D(1024, 3, padding="same")(maps), recipe))
    return layers.Dropout(0.25)(layers.GlobalAveragePooling2D()(maps))


def _residual(maps: Any, recipe: Recipe, size: int) -> Any:
    """The shapes and the arithmetic of tenfold.models.residual by default: width 32, one block a stage."""
    maps = layers.Activation("relu")(_norm(_convolution(maps, 32, 3, 2 if size >= 72 else 1), recipe))
    for place, channels in enumerate((32, 64, 128, 256)):
        inner = layers.Activation("relu")(_norm(_convolution(maps, channels, 3, 2 if place else 1), recipe))
        inner = _norm(_convolution(inner, channels, 3, 1), recipe, gamma_initializer="zeros")
        if place:
            maps = _norm(_convolution(layers.AveragePooling2D(2, padding="same")(maps), channels, 1, 1), recipe)
        maps = layers.Activation("relu")(layers.add([maps, inner]))
    return layers.GlobalAveragePooling2D()(maps)


def _convolution(maps: Any, channels: int, side: int, stride: int) -> Any:
    convolution = layers.Conv2D(
        channels, side, strides=stride, padding="same", use_bias=False, kernel_initializer="he_normal"
    )
    return convolution(maps)


def _norm(maps: Any, recipe: Recipe, **options: Any) -> Any:
    return layers.BatchNormalization(momentum=recipe.momentum, **options)(maps)


def _test(job: Job, network: keras.Model, images: tf.data.Dataset) -> float:
    found: float = network.evaluate(images.batch(job.batch_size), verbose=0, return_dict=True)["accuracy"]
    return found


if __name__ == "__main__":
    main()
