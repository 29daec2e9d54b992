"""Training: Table + Recipe -> Run.

start.py       the run's folder, from data and recipe to the loop and back
begin.py       how a run's folder begins
folds.py       a run for each fold of a cross-validation
subsets.py     runs on growing shares of the training images
data.py        prepared images and the loaders that training reads
choose.py      what a recipe leaves open, chosen from the images
amounts.py     images a step, epochs, room for detections, by what there is to learn from
background.py  batches of a quarter objects: R-CNN's fine-tuning
passes.py      what is fitted at once, and what is told meanwhile
proposals_in_time.py  as many proposals of an R-CNN as its time allows
measure.py     precision, speed and learning rate, measured on this machine
loop.py        the one training loop
schedule.py    learning rate and image size over the training
optimizer.py   which optimizer steps which weights; clipping, averaged weights
muon.py        the default optimizer
light.py       optimizers that start without PyTorch's compiler
calibrate.py   what is chosen for the finished model: its temperature, a detector's score
events.py      TensorBoard's events
evidence.py    how images as they are came out with the weights of several epochs
diagnosis/     what a training says about itself, in words
checkpoint.py  going on after a stop
ranks.py       several processes
impossible.py  steps that cannot be made, in words
interrupt.py   Ctrl-C
progress.py    what whoever watches is told
"""

from tenfold.train.begin import listing_file, refuse_taken
from tenfold.train.choose import (
    choose_mixing,
    choose_settings,
    is_small_and_grey,
    name_model,
    refuse_other_task,
    start_preprocessing,
)
from tenfold.train.data import prepare_images
from tenfold.train.events import refuse_missing
from tenfold.train.evidence import closing_seconds
from tenfold.train.folds import Trainer, folds_ended, train_folds
from tenfold.train.measure import PRECISIONS, convolution_speed
from tenfold.train.passes import tell_steps
from tenfold.train.progress import Progress, Report, no_report
from tenfold.train.start import Known, compile_kernel, measure_epoch, resume_training, train_model
from tenfold.train.subsets import refuse_boxes, train_subsets

__all__ = [
    "PRECISIONS",
    "Known",
    "Progress",
    "Report",
    "Trainer",
    "choose_mixing",
    "choose_settings",
    "closing_seconds",
    "compile_kernel",
    "convolution_speed",
    "folds_ended",
    "is_small_and_grey",
    "listing_file",
    "measure_epoch",
    "name_model",
    "no_report",
    "prepare_images",
    "refuse_boxes",
    "refuse_missing",
    "refuse_other_task",
    "refuse_taken",
    "resume_training",
    "start_preprocessing",
    "tell_steps",
    "train_folds",
    "train_model",
    "train_subsets",
]
