"""The one training loop. It knows a model by its contract only, never which task it is.

Several GPUs: started by torchrun, each process is a rank of PyTorch's DistributedDataParallel and takes its share of
every batch. Why not Lightning Fabric: importing it takes 3.6 s on top of PyTorch's 2.5 s (measured), and what the
loop would use of it (autocast, averaging gradients) is a few lines of PyTorch.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tenfold.draws import draw_keys
from tenfold.environment import kept_memory, torch_threads
from tenfold.errors import Interrupted, TrainingError, UsageError
from tenfold.images.batch import Batch
from tenfold.images.loader import Loader
from tenfold.models.contract import Losses, Model, Step
from tenfold.recipe import Recipe
from tenfold.run import resume_command
from tenfold.train.checkpoint import Row, State, checkpoint_file, save_checkpoint
from tenfold.train.diagnosis import say_diverged
from tenfold.train.impossible import said_plainly
from tenfold.train.interrupt import catch_interrupt
from tenfold.train.measure import precision_context
from tenfold.train.optimizer import AveragedWeights, clip_gradients, make_optimizer, set_rate
from tenfold.train.progress import Progress, Report, several
from tenfold.train.ranks import Ranks
from tenfold.train.schedule import GROWN, Schedule

CHECKPOINT_SECONDS = 30.0
_STEPS_WATCHED, _SLOWED = 8, 4.0  # when so many steps together take so many times as long, there are too many threads
_EARLIER = 0.8  # the share of the epochs after which the curve's last part begins
_VALIDATIONS = 20  # about so many in a long training: more would cost time and tell nothing


@dataclass
class Loop:
    """A training under way."""

    model: Model
    recipe: Recipe
    schedule: Schedule
    train: Loader
    validation: Loader | None
    device: torch.device
    folder: Path
    """The run's folder."""
    save_best: Callable[[dict[str, Tensor]], None]
    """Called with the averaged weights whenever the validation loss is lower than ever."""
    save_history: Callable[[list[Row]], None]
    report: Report
    save_earlier: Callable[[dict[str, Tensor]], None] = lambda tensors: None
    """Called once, with the averaged weights after about four fifths of the epochs: the diagnosis wants them."""
    ranks: Ranks = field(default_factory=Ranks)

    def __post_init__(self) -> None:
        self.state = State()
        self.averaged = AveragedWeights(self.model)
        self.steps = [step for step in self.model.steps() if step.parameters]
        self.optimizers = [make_optimizer(step, self.recipe.train) for step in self.steps]
        self.passes = [self.ranks.wrap(_LossPass(step)) for step in self.steps]
        cuts = self.train.plan(0).cuts
        self.batches = len(cuts) - 1
        if min(np.diff(cuts)) < self.ranks.count:
            smallest = f"Some batches hold only {min(np.diff(cuts))} images"
            raise UsageError(f"{smallest}, too few for {self.ranks.count} processes; set a larger --batch-size.")
        self._latest: deque[float] = deque(maxlen=_STEPS_WATCHED)
        self._quickest = math.inf
        self.context = precision_context(self.recipe.train.precision, self.device)

    @property
    def total(self) -> int:
        """Batches of the whole training; every epoch has as many."""
        return self.schedule.epochs * self.batches

    @property
    def checkpoint(self) -> Path:
        """The file that training goes on from."""
        return checkpoint_file(self.folder)

    def run(self) -> None:
        """Train to the last epoch, the time limit or an early stop; the model then has the averaged weights.

        Raises TrainingError on a loss that is not finite, and Interrupted after Ctrl-C, the checkpoint saved.
        """
        self._before = self.state.seconds
        self._started = self._saved = time.perf_counter()
        self.model.train()
        if not self.checkpoint.exists():
            self._save()
        if self.steps and self.recipe.train.patience and self.validation is None:
            why = "train.patience waits for a lower validation loss, and there is no validation part"
            self.report(Progress("note", f"{why}: training goes on to its last epoch."))
        threads = self.state.threads or self.recipe.train.threads
        with catch_interrupt() as interrupted, torch_threads(threads), kept_memory():
            self._interrupted = interrupted
            while self.steps and self.state.epoch < self.schedule.epochs and not self.ranks.any(self._is_over()):
                self._run_epoch()
        self.model.load_state_dict(self.averaged.state)

    def validate(self, model: Model) -> Row:
        """Mean losses and figures of a model on the validation part, and "loss", the sum of its losses."""
        was = model.training
        model.eval()
        sums: Row = {}
        with torch.no_grad():
            for batch in self.validation.batches() if self.validation else ():
                with self.context():
                    losses = model.losses(batch.to(self.device))
                _add(sums, losses, len(batch))
        model.train(was)
        return _means(sums)

    def _run_epoch(self) -> None:
        images, start = 0, time.perf_counter()
        cuts = self.train.plan(self.state.epoch).cuts
        for batch in self.train.batches(self.state.epoch, self.state.batch, self.ranks.rank, self.ranks.count):
            done = self.state.step / self.total
            rate = self.schedule.rate(done)
            self.model.learn(done)
            whole = cuts[self.state.batch + 1] - cuts[self.state.batch]
            began = time.perf_counter()
            with said_plainly(self.recipe):
                losses = self._step(batch, rate, self.ranks.share(len(batch), whole))
            _add(self.state.sums, losses, len(batch))
            self._watch_threads((time.perf_counter() - began) / self.schedule.share(self.state.epoch))
            self.state.step += 1
            self.state.batch += 1
            self.averaged.update(self.model, self.state.step, self.recipe.train.ema * self.total)
            images += whole
            self._after_step(images / max(time.perf_counter() - start, 1e-9))
            if self.ranks.any(self._is_late()):
                break
        self._finish_epoch(images / max(time.perf_counter() - start, 1e-9))

    def _watch_threads(self, seconds: float) -> None:
        """Halve the threads where training has become many times slower: another program has taken cores.

        `seconds` are those of a step, as at full size. With fewer threads than free cores it goes on at once, where
        it would be fifty times slower; the last bits of the weights are others than with all threads.
        """
        self._latest.append(seconds)
        if self.state.threads < 2 or len(self._latest) < _STEPS_WATCHED:
            return
        now = sum(self._latest)
        self._quickest = min(self._quickest, now)
        if now > max(_SLOWED * self._quickest, 2.0):
            self.state.threads //= 2
            torch.set_num_threads(self.state.threads)
            slower = f"Other programs slow the training down, now {now / self._quickest:.0f} times"
            self.report(Progress("note", f"{slower}; it goes on with {several(self.state.threads, 'thread')}"))
            self._latest.clear()

    def _step(self, batch: Batch, rate: float, share: float) -> Losses:
        """Each of the model's optimizer steps on one batch; what the losses were, all together."""
        key = draw_keys(self.recipe.train.seed, self.state.step, np.zeros(1, np.uint64))
        torch.manual_seed(int(key[0] >> np.uint64(1)))
        batch = batch.to(self.device)
        every = Losses({}, {})
        for step, loss_pass, optimizer in zip(self.steps, self.passes, self.optimizers, strict=True):
            set_rate(optimizer, rate)
            with self.context():
                losses: Losses = loss_pass(batch)
            self._refuse_infinite(losses, rate)
            optimizer.zero_grad()
            (torch.stack(list(losses.minimize.values())).sum() * share).backward()  # type: ignore[no-untyped-call]
            clip_gradients(step.parameters, self.recipe.train.clip)
            optimizer.step()
            every.minimize.update(losses.minimize)
            every.watch.update(losses.watch)
        return every

    def _refuse_infinite(self, losses: Losses, rate: float) -> None:
        state = self.state
        for name, value in losses.minimize.items():
            number = float(value.detach())
            if not math.isfinite(number):
                step = f"step {state.step + 1} of {self.total} (epoch {state.epoch + 1}, learning rate {rate:.3g})"
                before = f", after a mean of {_means(state.sums)['loss']:.3g} in this epoch" if state.sums else ""
                raise TrainingError(say_diverged(self.recipe, f"The loss {name!r} is {number} at {step}{before}"))

    def _after_step(self, speed: float) -> None:
        self.state.seconds = self._before + time.perf_counter() - self._started
        means = _means(self.state.sums)
        self.report(self._message("step", "", means, speed, self._seconds_left()))
        if self.ranks.any(self._interrupted.is_set()):
            self._save()
            raise Interrupted(f"Stopped and saved; go on with: {resume_command(self.folder)}")
        if time.perf_counter() - self._saved > CHECKPOINT_SECONDS:
            self._save()

    def _finish_epoch(self, speed: float) -> None:
        """Note the epoch in the history; validate where it is due, and keep the weights if they are the best."""
        state, size = self.state, self.schedule.size(self.state.epoch)
        self._note_pace()
        state.epoch, state.batch = state.epoch + 1, 0
        row: Row = {"epoch": state.epoch, "step": state.step, "seconds": round(state.seconds, 3)}
        rate = self.schedule.rate((state.step - 1) / self.total)
        row |= {"lr": rate, "size": size, "images_per_second": round(speed, 1)}
        row |= {f"train_{name}": value for name, value in _means(state.sums).items()}
        state.sums = {}
        self._fit_to_time()
        epochs = self.schedule.epochs
        seldom = 1 if self.recipe.train.patience else max(self._spaced, epochs // _VALIDATIONS)
        due = state.epoch % seldom == 0 or state.epoch == epochs
        due = due or self.ranks.any(self._is_over())
        if self.validation is not None and due:
            row |= self._validate_averaged()
        self._set_aside()
        state.rows.append(row)
        if self.ranks.is_first:
            self.save_history(state.rows)
        shown = {name.removeprefix("validation_"): value for name, value in row.items() if "validation" in name}
        text = f"epoch {state.epoch} of {epochs}"
        self.report(self._message("epoch", text, shown or _means({}), speed, 0.0))

    @property
    def _spaced(self) -> int:
        """The least number of epochs between validations: all together they take at most half as long as the training.

        To look at an image takes about a third of what learning from it does.
        """
        count = len(self.validation.canvases) if self.validation else 0
        return max(1, math.ceil(2 * count / (3 * len(self.train.canvases))))

    def _set_aside(self) -> None:
        """Save the weights after _EARLIER of the epochs; again where a time limit has moved the end far away."""
        state, wanted = self.state, max(1, int(_EARLIER * self.schedule.epochs))
        if state.earlier_epoch < wanted <= state.epoch < self.schedule.epochs:
            state.earlier_epoch = state.epoch
            if self.ranks.is_first:
                self.save_earlier(self.averaged.state)

    def _seconds_left(self) -> float:
        """At the speed of late; larger images take longer."""
        state = self.state
        begun = state.batch / self.batches * self.schedule.share(state.epoch)
        pace = state.pace or (state.seconds - state.began) / max(begun, 1e-9)
        return (self.schedule.work(state.epoch) - begun) * pace

    def _note_pace(self) -> None:
        """Take the epoch that ends into the seconds of one at full size."""
        state = self.state
        state.times.append((self.schedule.size(state.epoch), state.seconds - state.began))
        state.pace = self.ranks.first(self.schedule.measure_pace(state.times))
        self.schedule.fixed = self.ranks.first(self.schedule.fixed)
        state.began = state.seconds

    def _fit_to_time(self) -> None:
        """Under a time limit, plan as many epochs as it still allows at the speed of late, fewer or more.

        Once the images have their full size it only plans fewer, so that the learning rate comes down once.
        """
        state, minutes = self.state, self.recipe.train.minutes
        left = minutes * 60 - state.closing - self.ranks.first(state.seconds)
        if not minutes or left <= 0 or (state.most and state.epoch >= state.most):
            return
        planned = self.schedule.epochs
        if state.epoch == planned and (planned > 1 or left < state.pace):
            return  # it came out as planned; one more would begin at a learning rate of nothing
        self.schedule.fit(state.epoch, left, state.pace)
        if state.epoch > planned * GROWN:
            self.schedule.epochs = min(planned, self.schedule.epochs)
        if state.most:
            self.schedule.epochs = min(state.most, self.schedule.epochs)
        state.epochs = self.schedule.epochs = int(self.ranks.first(self.schedule.epochs))

    def _validate_averaged(self) -> Row:
        kept = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.model.load_state_dict(self.averaged.state)
        means = self.validate(self.model)
        self.model.load_state_dict(kept)
        best = math.inf if self.state.best_loss is None else self.state.best_loss
        if self.recipe.train.keep != "last" and means["loss"] < best:  # never where it is not a number
            self.state.best_loss, self.state.best_epoch = means["loss"], self.state.epoch
            if self.ranks.is_first:
                self.save_best(self.averaged.state)
        return {f"validation_{name}": value for name, value in means.items()}

    def _is_over(self) -> bool:
        patience = self.recipe.train.patience if self.validation is not None else 0
        return self._is_late() or (patience > 0 and self.state.epoch - self.state.best_epoch >= patience)

    def _is_late(self) -> bool:
        minutes = self.recipe.train.minutes
        return minutes > 0 and self.state.seconds >= minutes * 60 - self.state.closing

    def _save(self) -> None:
        if self.ranks.is_first:
            save_checkpoint(self.checkpoint, self.state, self.model, self.averaged, self.optimizers)
        self._saved = time.perf_counter()

    def _message(self, phase: str, text: str, means: Row, speed: float, left: float) -> Progress:
        state = self.state
        return Progress(
            "epoch" if phase == "epoch" else "step",
            text,
            epoch=min(state.epoch + (phase == "step"), self.schedule.epochs),
            epochs=self.schedule.epochs,
            step=state.step,
            steps=self.total,
            loss=means.get("loss"),
            accuracy=means.get("accuracy"),
            images_per_second=speed,
            seconds_left=left,
        )


class _LossPass(nn.Module):
    """A step's losses as a module's forward pass, which is what DistributedDataParallel can wrap."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.parameters_of_step = nn.ParameterList(step.parameters)
        self.losses = step.losses

    def forward(self, batch: Batch) -> Losses:
        return self.losses(batch)


def _add(sums: Row, losses: Losses, count: int) -> None:
    """Add a batch's means, weighted by its images; "loss" is the sum of the losses."""
    values = {name: float(value.detach()) for name, value in (losses.minimize | losses.watch).items()}
    values["loss"] = sum(float(value.detach()) for value in losses.minimize.values())
    for name, value in values.items():
        sums[name] = sums.get(name, 0.0) + value * count
    sums["images"] = sums.get("images", 0.0) + count


def _means(sums: Row) -> Row:
    count = sums.get("images", 0.0)
    return {name: value / count for name, value in sums.items() if name != "images"} if count else {}
