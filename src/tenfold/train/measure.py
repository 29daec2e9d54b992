"""What this machine and this network can do, measured before training: precision, threads, learning rate."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from operator import attrgetter

import torch

from tenfold.environment import kept_memory, torch_threads, usable_threads
from tenfold.images.batch import Batch
from tenfold.models.contract import Model
from tenfold.recipe import Recipe
from tenfold.train.impossible import said_plainly
from tenfold.train.optimizer import clip_gradients, make_optimizer, set_rate

PRECISIONS = ("float32", "bfloat16")
_RANGE = 100  # batches of a range test, at most
_STEPS = 5  # that are timed, at most

Context = Callable[[], AbstractContextManager[object]]


def precision_context(precision: str, device: torch.device) -> Context:
    """A maker of contexts in which the forward pass runs: autocast to bfloat16, or nothing for float32."""
    if precision == "bfloat16":
        return lambda: torch.autocast(device.type, torch.bfloat16)
    return nullcontext


@dataclass(frozen=True)
class Pace:
    """How a network is trained fastest here."""

    precision: str
    threads: int
    """Processor threads; 0 where the processor does not matter."""
    seconds: float
    """Of a training step on one batch, the median."""
    least: float
    """Of the quickest of these steps."""


def measure_pace(model: Model, batch: Batch, recipe: Recipe, device: torch.device) -> Pace:
    """The fastest precision and number of threads for this network here, as far as the recipe leaves them open.

    A copy of the model is trained for a few steps; the model is left as it was. Two threads beside another program
    can be fifty times slower than one (they wait for each other inside each convolution), so half the threads are
    tried too, and precisions with that many. Precisions are compared by their quickest steps, which other programs
    slow down least, threads by the median ones, which have to live with them. bfloat16, and fewer threads, must be at
    least a tenth faster to be taken. A processor without units for bfloat16, where a step can take ten times as long,
    shows that in a small convolution and makes no such step.
    """
    given, counts = recipe.train, _thread_counts(recipe.train.threads, device)

    def pace(precision: str, threads: int) -> Pace:
        with torch_threads(threads), kept_memory(), said_plainly(recipe):
            times = _step_seconds(model, batch, recipe, precision, device)
        return Pace(precision, threads, statistics.median(times), min(times))

    precisions = _worth_trying(device) if given.precision == "auto" else (given.precision,)
    fewest = _quickest([pace(precision, counts[-1]) for precision in precisions], attrgetter("least"))
    others = [pace(fewest.precision, threads) for threads in counts[:-1]]
    return _quickest([*others, fewest], attrgetter("seconds"))


def convolution_speed(precision: str) -> float:
    """GFLOP/s of a small convolution on this processor, the quickest call within 50 ms after one to warm up."""
    kind: torch.dtype = getattr(torch, precision)
    images = torch.randn(8, 64, 32, 32).to(kind).contiguous(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(kind).to(memory_format=torch.channels_last)
    work = 2 * 8 * 64 * 64 * 9 * 32 * 32 / 1e9
    times: list[float] = []
    with torch.inference_mode():
        layer(images)
        while sum(times) < 0.05:
            start = time.perf_counter()
            layer(images)
            times.append(time.perf_counter() - start)
    return work / min(times)


def _worth_trying(device: torch.device) -> tuple[str, ...]:
    if device.type == "cpu" and convolution_speed("bfloat16") < convolution_speed("float32"):
        return ("float32",)
    return PRECISIONS


def _quickest(paces: list[Pace], took: Callable[[Pace], float]) -> Pace:
    """The first, or a later one that is at least a tenth faster by what it `took`."""
    best = paces[0]
    for later in paces[1:]:
        best = later if took(later) < 0.9 * took(best) else best
    return best


def _thread_counts(given: int, device: torch.device) -> tuple[int, ...]:
    every = usable_threads()
    if given or device.type != "cpu":
        return (given,)
    return (every,) if every == 1 else (every, every // 2)


def find_learning_rate(
    model: Model,
    batches: Iterator[Batch],
    recipe: Recipe,
    device: torch.device,
    still: Iterable[Batch] | None = None,
) -> float:
    """A tenth of the learning rate at which the loss is least in a range test (Smith 2017, section 3.3).

    A copy of the model is trained with a rate that grows from 1e-6 to 1 over at most 100 batches, until the smoothed
    loss is four times its least. The steepest slope, which is taken too, was found here to follow the noise. The copy
    starts as the training does, from one pass over the training images as they are, `still`, and lets the same layers
    learn after the same share of the batches. A model that takes no gradient steps has no rate to find: it is given
    none of the batches, and keeps `train.lr`.
    """
    trial = copy.deepcopy(model)
    steps = [step for step in trial.steps() if step.parameters]
    if not steps:
        return recipe.train.lr
    if still is not None:
        trial.eval().begin(batch.to(device) for batch in still)
    trial.train()
    optimizers = [make_optimizer(step, recipe.train) for step in steps]
    rates: list[float] = []
    losses: list[float] = []
    smooth = 0.0
    for index, batch in enumerate(batches):
        rate = 10 ** (-6 + 6 * index / (_RANGE - 1))
        trial.learn(index / _RANGE)
        total = 0.0
        with said_plainly(recipe):
            for step, optimizer in zip(steps, optimizers, strict=True):
                set_rate(optimizer, rate)
                loss = torch.stack(list(step.losses(batch.to(device)).minimize.values())).sum()
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                clip_gradients(step.parameters, recipe.train.clip)
                optimizer.step()
                total += float(loss.detach())
        smooth = 0.9 * smooth + 0.1 * total
        current = smooth / (1 - 0.9 ** (index + 1))
        if not math.isfinite(current) or (losses and current > 4 * min(losses)) or index == _RANGE - 1:
            break
        rates.append(rate)
        losses.append(current)
    return rates[losses.index(min(losses))] / 10 if losses else recipe.train.lr


def _step_seconds(model: Model, batch: Batch, recipe: Recipe, precision: str, device: torch.device) -> list[float]:
    """Seconds of training steps on `batch` after one that warms up: _STEPS, or as many as end within a second."""
    trial = copy.deepcopy(model).to(device).to(memory_format=torch.channels_last).train()
    steps = [step for step in trial.steps() if step.parameters]
    settings = recipe.change(train={"precision": precision}).train
    optimizers = [make_optimizer(step, settings) for step in steps]
    context = precision_context(precision, device)
    moved = batch.to(device)
    times: list[float] = []
    while len(times) < 1 + _STEPS and sum(times[1:]) < 1:
        start = time.perf_counter()
        for step, optimizer in zip(steps, optimizers, strict=True):
            with context():
                loss = torch.stack(list(step.losses(moved).minimize.values())).sum()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        times.append(time.perf_counter() - start)
    return times[1:]
